/* virtio-blk requests: header, data, status byte (virtio 1.2 §5.2.6). */
#include "blk.h"
#include "cpu.h"
#include "exit.h"
#include "memory.h"

enum { CONFIG_CAPACITY = 0 };

u64 blk_capacity(const struct virtio_device *d) {
  for (;;) { /* a 64-bit field needs two reads; the generation tells whether they belong together (§2.5.1) */
    u32 generation = virtio_generation(d);
    u64 value = mmio_read32(d->config + CONFIG_CAPACITY) | (u64)mmio_read32(d->config + CONFIG_CAPACITY + 4) << 32;
    if (virtio_generation(d) == generation) return value;
  }
}

void blk_open(struct blk *blk, u32 index, u64 wanted, enum interrupt_mode mode, u16 queue_size, u32 depth, u32 segments,
              u32 buffer_bytes) {
  *blk = (struct blk){.depth = depth, .segments = segments, .buffer_bytes = buffer_bytes};
  if (depth < 1 || depth > BLK_MAX_DEPTH) usage("depth is 1 to %u", BLK_MAX_DEPTH);
  if (segments < 1 || segments > BLK_MAX_SEGMENTS) usage("segments is 1 to %u", BLK_MAX_SEGMENTS);
  if (!virtio_find(&blk->device, VIRTIO_BLK, index)) usage("no virtio-blk device number %u", index);
  virtio_begin(&blk->device, wanted | BLK_FEATURE_BLK_SIZE, mode);
  virtqueue_open(&blk->queue, &blk->device, 0, queue_size);
  virtio_driver_ok(&blk->device);
  blk->sectors = blk_capacity(&blk->device);
  blk->read_only = blk->device.features & BLK_FEATURE_RO;
  blk->requests = allocate(depth * sizeof *blk->requests, 16);
  for (u32 i = 0; i < depth; i++) blk->requests[i].data = allocate(buffer_bytes, SECTOR_BYTES);
}

/* Whether the data of a request is the driver's, for the device to read. */
static bool is_output(u32 type) { return type == BLK_OUT || type == BLK_DISCARD || type == BLK_WRITE_ZEROES; }

void blk_submit(struct blk *blk, struct blk_request *r, u32 type, u64 sector, u32 data_bytes) {
  check(!r->in_flight && data_bytes <= blk->buffer_bytes, "request of %u bytes", data_bytes);
  struct buffer buffers[2 + BLK_MAX_SEGMENTS];
  u32 count = 0;
  r->header = (struct blk_header){type, 0, sector};
  r->status = BLK_PENDING;
  r->data_bytes = data_bytes;
  buffers[count++] = (struct buffer){&r->header, sizeof r->header, false};
  for (u32 at = 0; at < data_bytes;) {
    /* Pieces of uneven length when there are several: they need not be whole sectors (§5.2.6.1). */
    u32 piece = data_bytes / blk->segments + (count % 2 == 0 ? 8 : 0);
    if (count == blk->segments || piece == 0 || piece > data_bytes - at) piece = data_bytes - at;
    buffers[count++] = (struct buffer){r->data + at, piece, !is_output(type)};
    at += piece;
  }
  buffers[count++] = (struct buffer){(void *)&r->status, 1, true};
  r->head = virtqueue_add(&blk->queue, buffers, count);
  r->in_flight = true;
}

struct blk_request *blk_complete(struct blk *blk) {
  u16 head;
  u32 length;
  virtqueue_await(&blk->queue, &head, &length);
  for (u32 i = 0; i < blk->depth; i++) {
    struct blk_request *r = &blk->requests[i];
    if (!r->in_flight || r->head != head) continue;
    r->in_flight = false;
    blk->completed++;
    u32 writable = 1 + (is_output(r->header.type) ? 0 : r->data_bytes);
    check(r->status != BLK_PENDING, "request of type %u at sector %lu finished without a status", r->header.type,
          r->header.sector);
    check(length >= 1 && length <= writable, "request of type %u: used length %u of %u", r->header.type, length,
          writable);
    if (r->status == BLK_OK && r->header.type == BLK_IN)
      check(length == writable, "read of %u bytes: used length %u", r->data_bytes, length);
    return r;
  }
  fail("no request has head %u", head);
}

u8 blk_run(struct blk *blk, u32 type, u64 sector, u32 data_bytes) {
  blk_submit(blk, &blk->requests[0], type, sector, data_bytes);
  virtqueue_kick(&blk->queue);
  return blk_complete(blk)->status;
}
