/* Fixed-width names and the few macros that every file of the runtime uses. */
#ifndef GUEST_TYPES_H
#define GUEST_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define ARRAY_LENGTH(a) (sizeof(a) / sizeof((a)[0]))

/* Keeps the compiler from moving memory accesses; x86 keeps loads and stores in order by itself. */
#define compiler_barrier() __asm__ volatile("" ::: "memory")

/* Store, then load of another address, in that order: the one reordering x86 allows (virtio 1.2 §2.7.13.3). Not mfence,
   which belongs to SSE2 and which an emulated ring 0 may not know. */
#define full_barrier() __asm__ volatile("lock orl $0, (%%rsp)" ::: "memory", "cc")

#endif
