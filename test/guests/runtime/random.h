/* Random numbers from a seed: xorshift64*. The same seed draws the same; each CPU has its own. */
#ifndef GUEST_RANDOM_H
#define GUEST_RANDOM_H

#include "types.h"

struct random {
  u64 state;
};

/* `stream` tells apart what shares a seed. */
void random_begin(struct random *random, u64 seed, u64 stream);
u64 random_next(struct random *random);
u32 random_under(struct random *random, u32 limit);
/* Mostly edge values: zero, all ones, single bits, small numbers; sometimes anything. */
u64 random_edge(struct random *random);

#endif
