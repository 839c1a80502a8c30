/* Time by the TSC, whose frequency is measured once against the PIT. */
#ifndef GUEST_TIME_H
#define GUEST_TIME_H

#include "types.h"

enum { PIT_HERTZ = 1193182 };
enum { PIT_CHANNEL0_MODE2 = 0x34, PIT_CHANNEL0_MODE0 = 0x30, PIT_LATCH_CHANNEL0 = 0x00 };

/* Sets channel 0's mode and count (8254 datasheet). */
void pit_start(u8 mode, u16 count);
u16 pit_count(void);

u64 tsc_per_millisecond(void);
void delay_microseconds(u64 microseconds);
/* A TSC value `milliseconds` from now, for expired(). */
u64 deadline_in(u64 milliseconds);
bool expired(u64 deadline);
/* How long to wait for what has to come, unless the host has so much else to do: the option await=N, else 10000. */
u64 patience_ms(void);

#endif
