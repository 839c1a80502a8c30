/* virtio-blk requests (virtio 1.2 §5.2.6) on one split queue that is polled: no interrupt is ever asked for (§2.7.7). */
#include "lane.h"
#include "content.h"
#include "runtime/cpu.h"
#include "runtime/exit.h"
#include "runtime/memory.h"
#include "runtime/time.h"

/* How far ahead used_event is, and how near it may come: further than anything that can be in flight. */
enum { EVENT_AHEAD = 0x8000, EVENT_NEAR = 0x4000 };
enum { PATIENCE_MS = 10000, DATA_ALIGNMENT = 4096 };

/* With the event index the flags must stay 0 and used_event alone says when to interrupt (§2.7.7.1): never. */
static void put_off_interrupts(struct lane *lane) {
  volatile u16 *used_event = &lane->queue.available->ring[lane->queue.size];
  if ((u16)(*used_event - lane->queue.next_used) < EVENT_NEAR) *used_event = (u16)(lane->queue.next_used + EVENT_AHEAD);
}

void lane_open(struct lane *lane, struct virtio_device *d, const struct workload *w, u32 index, u32 lanes) {
  virtqueue_open(&lane->queue, d, (u16)index, QUEUE_MAX_SIZE);
  if (w->depth * (lane->queue.indirect != NULL ? 1u : 3u) > lane->queue.size)
    usage("depth %u does not fit a queue of %u", w->depth, lane->queue.size);
  if (w->event_index) {
    lane->queue.available->flags = 0;
    put_off_interrupts(lane);
  }
  random_begin(&lane->random, 1, index);
  lane->next_block = w->blocks / lanes * index; /* each its own part of the disk */
}

void lane_allocate(struct lane *lane, const struct workload *w) {
  lane->slots = allocate(w->depth * sizeof *lane->slots, 16);
  for (u32 i = 0; i < w->depth; i++) {
    struct slot *s = &lane->slots[i];
    s->in = s->out = allocate(w->bytes, DATA_ALIGNMENT);
    if (w->read_percent == 100) continue;
    if (w->read_percent > 0) s->out = allocate(w->bytes, DATA_ALIGNMENT); /* what was read would be written */
    content_fill(w, s->out);
  }
}

void lane_submit(struct lane *lane, const struct workload *w, u32 slot, u32 type, u64 block, u64 now) {
  struct slot *s = &lane->slots[slot];
  s->header = (struct blk_header){type, 0, block * (w->bytes / SECTOR_BYTES)};
  s->status = BLK_PENDING;
  s->started = now;
  if (type == BLK_OUT) content_stamp(s->out, block);
  struct buffer buffers[] = {
      {&s->header, sizeof s->header, false},
      {type == BLK_OUT ? s->out : s->in, w->bytes, type == BLK_IN},
      {(void *)&s->status, 1, true},
  };
  lane->slot_of[virtqueue_add(&lane->queue, buffers, ARRAY_LENGTH(buffers))] = (u8)slot;
  lane->in_flight++;
}

void lane_submit_next(struct lane *lane, const struct workload *w, u32 slot, u64 now) {
  bool reads = w->read_percent == 100 || (w->read_percent > 0 && random_under(&lane->random, 100) < w->read_percent);
  u64 block = w->random ? random_under(&lane->random, (u32)w->blocks) : lane->next_block;
  if (!w->random) lane->next_block = block + 1 == w->blocks ? 0 : block + 1;
  lane_submit(lane, w, slot, reads ? BLK_IN : BLK_OUT, block, now);
  if (!reads) content_remember(block);
}

bool lane_complete(struct lane *lane, const struct workload *w, u32 *slot) {
  u16 head;
  u32 length;
  if (!virtqueue_take(&lane->queue, &head, &length)) return false;
  if (w->event_index) put_off_interrupts(lane);
  lane->in_flight--;
  *slot = lane->slot_of[head];
  struct slot *s = &lane->slots[*slot];
  check(s->status == BLK_OK, "request of type %u at sector %lu: status %u", s->header.type, s->header.sector,
        s->status);
  check(length == (s->header.type == BLK_IN ? w->bytes + 1 : 1), "request of type %u: used length %u", s->header.type,
        length);
  return true;
}

struct slot *lane_run(struct lane *lane, const struct workload *w, u32 type, u64 block) {
  u32 slot = 0;
  lane_submit(lane, w, slot, type, block, 0);
  virtqueue_kick(&lane->queue);
  for (u64 deadline = deadline_in(PATIENCE_MS); !lane_complete(lane, w, &slot); cpu_relax())
    check(!expired(deadline), "a request at block %lu does not finish", block);
  return &lane->slots[slot];
}
