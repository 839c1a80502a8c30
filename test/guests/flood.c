/*
 * flood: asks the first virtio disk for its beginning again and again, for ever, into one buffer: with many long requests the
 * neighbour that nobody wants, with few short ones the one who suffers. Options: bytes=N a request (default 512), depth=N
 * requests in flight (default 1, at most 64).
 */
#include "runtime/blk.h"
#include "runtime/exit.h"
#include "runtime/memory.h"
#include "runtime/print.h"
#include "runtime/start-info.h"
#include "runtime/start.h"

static struct virtio_device device;
static struct virtqueue queue;
static struct blk_header header = {.type = BLK_IN};
static u8 status;

void guest_main(void) {
  u32 bytes = (u32)option_number("bytes", SECTOR_BYTES), depth = (u32)option_number("depth", 1);
  if (bytes == 0 || bytes % SECTOR_BYTES != 0 || depth == 0 || depth > BLK_MAX_DEPTH) usage("flood [bytes=N] [depth=N]");
  if (!virtio_find(&device, VIRTIO_BLK, 0)) usage("flood needs a virtio disk");
  virtio_begin(&device, BLK_FEATURE_FLUSH, BY_POLLING);
  virtqueue_open(&queue, &device, 0, QUEUE_MAX_SIZE);
  virtio_driver_ok(&device);
  void *data = allocate(bytes, SECTOR_BYTES);
  const struct buffer buffers[] = {{&header, sizeof header, false}, {data, bytes, true}, {&status, 1, true}};
  for (u32 i = 0; i < depth; i++) virtqueue_add(&queue, buffers, 3);
  virtqueue_kick(&queue);
  print("flood: %u requests of %u bytes\n", depth, bytes);
  for (;;) {
    u16 head;
    u32 length;
    while (!virtqueue_take(&queue, &head, &length)) {
    }
    check(status == BLK_OK && length == bytes + 1, "status %u, %u bytes", status, length);
    virtqueue_add(&queue, buffers, 3);
    virtqueue_kick(&queue);
  }
}
