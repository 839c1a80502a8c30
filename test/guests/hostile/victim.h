/* A virtio device under attack: set up by the rules as far as an attack wants, watched for its answer, used again. */
#ifndef GUEST_VICTIM_H
#define GUEST_VICTIM_H

#include "runtime/virtqueue.h"

enum outcome { IGNORED, USED, NEEDS_RESET, OUTCOMES };
extern const char *const outcome_names[OUTCOMES];

enum { VICTIM_QUEUE_SIZE = 16, DATA_BYTES = 4096, MAX_VICTIMS = 8 };

struct victim {
  struct virtio_device device;
  const char *name; /* "blk", "console", "rng" */
  u16 queue_index;  /* the queue under attack */
  struct virtqueue queue;
  u64 mark;   /* heap before an attack */
  u8 *data;   /* what chains point to; the pages around it are canaries */
  u8 *header; /* a valid blk header, and the status byte behind it */
};

/* The blk, console and rng devices of the machine. */
u32 victims_find(struct victim victims[MAX_VICTIMS]);

/* Reset and negotiation, no queue yet; polling. Frees what the last attack allocated. */
void victim_begin(struct victim *v, u64 features);
/* The queue by the rules, and DRIVER_OK. */
void victim_ready(struct victim *v);

/* Raw access for attacks on a ready queue. */
void put_descriptor(struct victim *v, u16 at, u64 address, u32 length, u16 flags, u16 next);
/* A valid chain for this device in descriptors 0..n; answers which of them is the data buffer. */
u16 put_valid_chain(struct victim *v);
void offer_head(struct victim *v, u16 head);
void ring_doorbell(struct victim *v);

/* Watches for `milliseconds` (0: one look) whether the device asks for a reset or uses a buffer. */
enum outcome victim_outcome(struct victim *v, u64 milliseconds);
/* Canaries whole? */
void victim_check_canaries(const struct victim *v);
/* Reset, set up by the rules, one honest request: it must succeed. */
void victim_recover(struct victim *v);

#endif
