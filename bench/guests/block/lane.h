/* One queue and the requests that it keeps in flight. */
#ifndef BLOCK_LANE_H
#define BLOCK_LANE_H

#include "histogram.h"
#include "runtime/blk.h"
#include "runtime/random.h"

/* What to do; the same for every lane. */
struct workload {
  u32 bytes;  /* of a request */
  u64 blocks; /* of that size on the disk */
  u32 depth;
  bool random, event_index;
  u32 read_percent;
  u32 seed; /* of the pattern on the disk; see content.c */
};

struct slot {
  struct blk_header header;
  volatile u8 status;
  u8 *in, *out; /* where it reads to, and what it writes */
  u64 started;
};

struct lane {
  struct virtqueue queue;
  struct slot *slots;
  u8 slot_of[QUEUE_MAX_SIZE]; /* by the head of its chain */
  struct random random;
  u64 next_block;
  u32 in_flight;
};

void lane_open(struct lane *lane, struct virtio_device *device, const struct workload *w, u32 index, u32 lanes);
/* Its buffers, which take too long where ring 0 is emulated: for ring 3. */
void lane_allocate(struct lane *lane, const struct workload *w);
/* Publishes a request without a doorbell. */
void lane_submit(struct lane *lane, const struct workload *w, u32 slot, u32 type, u64 block, u64 now);
/* The next request of the workload. */
void lane_submit_next(struct lane *lane, const struct workload *w, u32 slot, u64 now);
/* Takes one finished request, which must have succeeded; false when there is none. */
bool lane_complete(struct lane *lane, const struct workload *w, u32 *slot);
/* One request from start to end, with nothing else in flight. */
struct slot *lane_run(struct lane *lane, const struct workload *w, u32 type, u64 block);

#endif
