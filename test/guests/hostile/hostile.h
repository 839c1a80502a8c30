/* The parts of the guest `hostile` and what they share. */
#ifndef GUEST_HOSTILE_H
#define GUEST_HOSTILE_H

#include "runtime/types.h"

/* xorshift64* seeded from the command line: the same seed does the same things. */
u64 random64(void);
u32 random_below(u32 limit);
/* Mostly edge values: zero, all ones, single bits, small numbers; sometimes anything. */
u64 random_nasty(void);
u32 random_size(void); /* 1, 2 or 4 */

/* Each answers after `iterations` tries; the machine must still work then. */
void attack_ports(u32 iterations);
void attack_configuration(u32 iterations);
void attack_bars(u32 iterations);
void attack_holes(u32 iterations);

#endif
