/* A log-linear histogram of times: 64 steps to each power of two, so that a percentile is right within 1.6 %. */
#ifndef BLOCK_HISTOGRAM_H
#define BLOCK_HISTOGRAM_H

#include "runtime/types.h"

enum { HISTOGRAM_SHIFT = 6, HISTOGRAM_STEPS = 1 << HISTOGRAM_SHIFT };
enum { HISTOGRAM_BUCKETS = (64 - HISTOGRAM_SHIFT + 1) * HISTOGRAM_STEPS };

struct histogram {
  u64 count, most;
  u32 buckets[HISTOGRAM_BUCKETS];
};

/* Values below 2 * HISTOGRAM_STEPS have a bucket each. */
static inline void histogram_add(struct histogram *h, u64 value) {
  u32 exponent = value < HISTOGRAM_STEPS ? 0 : 63 - HISTOGRAM_SHIFT - (u32)__builtin_clzl(value);
  h->buckets[exponent * HISTOGRAM_STEPS + (u32)(value >> exponent)]++;
  h->count++;
  if (value > h->most) h->most = value;
}

/* The value that `share` of a thousand do not exceed: the middle of its bucket. */
u64 histogram_percentile(const struct histogram *h, u32 share);

#endif
