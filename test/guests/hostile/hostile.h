/* The parts of the guest `hostile` and what they share. */
#ifndef GUEST_HOSTILE_H
#define GUEST_HOSTILE_H

#include "runtime/random.h"

extern struct random random_source;
/* Seeded from the command line: the same seed does the same things. */
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

/* Which ports end the machine by design, or hide the report: see ports.c. Choose before asking. */
enum { NO_PORT = 0x10000 };
void choose_avoided(void);
bool is_avoided(u32 port, u32 size);
bool is_dangerous(u32 port, u32 size);
/* Half of them where devices are; NO_PORT when the access would not fit. */
u32 random_port(struct random *random, u32 size);
/* But for what resets. */
void write_port(u16 port, u32 size, u32 value);

#endif
