/* A slow periodic LAPIC timer interrupt, so that a guest which sleeps for an interrupt that never comes can say so. */
#ifndef GUEST_WATCHDOG_H
#define GUEST_WATCHDOG_H

#include "types.h"

enum { WATCHDOG_PERIOD_MS = 500 };

/* Starts it once; further calls do nothing. Uses the LAPIC timer and vector 0x2f. */
void watchdog_start(void);
/* How often it has fired. */
u32 watchdog_ticks(void);

#endif
