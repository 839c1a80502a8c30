/* Starting application processors. The constants are shared with ap-trampoline.S. */
#ifndef GUEST_SMP_H
#define GUEST_SMP_H

#define AP_TRAMPOLINE 0x8000
#define AP_STACK_SHIFT 13

#ifndef __ASSEMBLER__
#include "types.h"

enum { MAX_CPUS = 256 };

/* Copies the trampoline and makes room for `count` application processors; each then runs `entry(slot)` once
   started. */
void smp_prepare(u32 count, void (*entry)(u32 slot));
/* INIT, then two startup IPIs (Intel SDM vol. 3 §8.4.4.1) to one CPU. */
void smp_start(u32 apic_id);
/* The same to all others at once. */
void smp_start_all(void);
/* How many have come up. */
u32 smp_started(void);
#endif

#endif
