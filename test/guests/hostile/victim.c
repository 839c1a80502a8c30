/* Virtio devices under attack; see victim.h. */
#include "victim.h"
#include "runtime/blk.h"
#include "runtime/cpu.h"
#include "runtime/exit.h"
#include "runtime/memory.h"
#include "runtime/time.h"

enum { PAGE_BYTES = 4096, CANARY = 0x5c, STATUS_AT = sizeof(struct blk_header) };

const char *const outcome_names[OUTCOMES] = {"ignored", "used", "needs-reset"};

u32 victims_find(struct victim victims[MAX_VICTIMS]) {
  static const struct {
    u32 type;
    u16 queue;
    const char *name;
  } kinds[] = {{VIRTIO_RNG, 0, "rng"}, {VIRTIO_BLK, 0, "blk"}, {VIRTIO_CONSOLE, 1, "console"}};
  u32 count = 0;
  for (u32 k = 0; k < ARRAY_LENGTH(kinds); k++) {
    for (u32 i = 0; count < MAX_VICTIMS && virtio_find(&victims[count].device, kinds[k].type, i); i++) {
      victims[count].name = kinds[k].name;
      victims[count++].queue_index = kinds[k].queue;
    }
  }
  return count;
}

void victim_begin(struct victim *v, u64 features) {
  virtio_reset(&v->device);
  if (v->mark == 0) v->mark = heap_mark();
  heap_release(v->mark);
  u8 *canaries = allocate(3 * PAGE_BYTES, PAGE_BYTES);
  memset(canaries, CANARY, 3 * PAGE_BYTES);
  v->data = canaries + PAGE_BYTES;
  v->header = allocate(STATUS_AT + 16, 16); /* type 0, sector 0: a read */
  v->queue = (struct virtqueue){0};
  virtio_begin(&v->device, features, BY_POLLING);
}

void victim_ready(struct victim *v) {
  virtqueue_open(&v->queue, &v->device, v->queue_index, VICTIM_QUEUE_SIZE);
  virtio_driver_ok(&v->device);
}

void put_descriptor(struct victim *v, u16 at, u64 address, u32 length, u16 flags, u16 next) {
  v->queue.descriptors[at] = (struct descriptor){address, length, flags, next};
}

u16 put_valid_chain(struct victim *v) {
  switch (v->device.type) {
    case VIRTIO_BLK:
      put_descriptor(v, 0, (u64)v->header, sizeof(struct blk_header), DESCRIPTOR_NEXT, 1);
      put_descriptor(v, 1, (u64)v->data, SECTOR_BYTES, DESCRIPTOR_WRITE | DESCRIPTOR_NEXT, 2);
      put_descriptor(v, 2, (u64)v->header + STATUS_AT, 1, DESCRIPTOR_WRITE, 0);
      return 1;
    case VIRTIO_CONSOLE:
      v->data[0] = '.';
      put_descriptor(v, 0, (u64)v->data, 1, 0, 0);
      return 0;
    default: put_descriptor(v, 0, (u64)v->data, 32, DESCRIPTOR_WRITE, 0); return 0;
  }
}

void offer_head(struct victim *v, u16 head) {
  v->queue.available->ring[v->queue.published % v->queue.size] = head;
  compiler_barrier();
  v->queue.available->index = ++v->queue.published;
}

void ring_doorbell(struct victim *v) {
  full_barrier();
  virtio_ring(&v->device, v->queue.notify_address, v->queue_index);
}

enum outcome victim_outcome(struct victim *v, u64 milliseconds) {
  u64 deadline = deadline_in(milliseconds);
  /* One look after the deadline: this CPU may have been kept from running while the device answered. */
  for (bool late = false;; late = expired(deadline)) {
    if (virtio_status(&v->device) & STATUS_NEEDS_RESET) return NEEDS_RESET;
    if (v->queue.used != NULL && v->queue.used->index != 0) return USED;
    if (late) return IGNORED;
  }
}

/* One instruction: where ring 0 is emulated, a loop of 512 rounds costs milliseconds. */
static bool page_is_canary(const u8 *page) {
  u64 words = PAGE_BYTES / 8;
  bool same;
  __asm__ volatile("repe scasq"
                   : "+D"(page), "+c"(words), "=@ccz"(same)
                   : "a"(0x0101010101010101ul * CANARY)
                   : "memory");
  return same;
}

void victim_check_canaries(const struct victim *v) {
  check(page_is_canary(v->data - PAGE_BYTES) && page_is_canary(v->data + DATA_BYTES),
        "%s: the device wrote outside its buffers", v->name);
}

void victim_recover(struct victim *v) {
  victim_begin(v, 0);
  victim_ready(v);
  struct buffer chain[3];
  u32 count = 0;
  u16 data = put_valid_chain(v);
  for (u16 i = 0; i <= data + (v->device.type == VIRTIO_BLK); i++) {
    const struct descriptor *d = &v->queue.descriptors[i];
    chain[count++] = (struct buffer){(void *)d->address, d->length, d->flags & DESCRIPTOR_WRITE};
  }
  for (u16 i = 0; i < v->queue.size; i++)
    v->queue.descriptors[i].next = i + 1; /* the free list that the chain overwrote */
  v->header[STATUS_AT] = BLK_PENDING;
  virtqueue_add(&v->queue, chain, count);
  virtqueue_kick(&v->queue);
  u16 head;
  u32 length;
  virtqueue_await(&v->queue, &head, &length);
  if (v->device.type == VIRTIO_BLK)
    check(v->header[STATUS_AT] == BLK_OK, "blk: a read after the attack has status %u", v->header[STATUS_AT]);
  if (v->device.type == VIRTIO_RNG) check(length > 0, "rng: nothing read after the attack");
  victim_check_canaries(v);
  virtio_reset(&v->device);
}
