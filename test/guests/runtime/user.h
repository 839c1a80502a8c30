/* Ring 3: where ring 0 is emulated, only user mode runs at full speed. */
#ifndef GUEST_USER_H
#define GUEST_USER_H

#include "types.h"

/* Lets ring 3 use [start, start + size), which is mapped, in whole pages of 2 MiB. */
void user_allow(u64 start, u64 size);
/* The caller goes on in ring 3, on the same stack, with interrupts disabled. What it may use: the image and the heap,
   and what was allowed; no ports, and so no printing, which some hosts refuse there whatever the I/O privilege
   level. */
void user_begin(void);
/* Back in ring 0; nothing to do there. fail() and usage() do it themselves. */
void user_end(void);

#endif
