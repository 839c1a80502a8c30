#include "histogram.h"

u64 histogram_percentile(const struct histogram *h, u32 share) {
  u64 rank = (h->count * share + 999) / 1000, seen = 0;
  for (u32 i = 0; i < HISTOGRAM_BUCKETS; i++) {
    seen += h->buckets[i];
    if (seen < rank || seen == 0) continue;
    u32 exponent = i < 2 * HISTOGRAM_STEPS ? 0 : i / HISTOGRAM_STEPS - 1;
    u64 middle = ((u64)(i - exponent * HISTOGRAM_STEPS) << exponent) + ((1ul << exponent) >> 1);
    return middle < h->most ? middle : h->most;
  }
  return h->most;
}
