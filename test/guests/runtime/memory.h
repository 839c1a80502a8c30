/* Memory: the C library's four functions, a heap that grows and is given back as a stack, and mapping of physical
   addresses above 4 GiB. */
#ifndef GUEST_MEMORY_H
#define GUEST_MEMORY_H

#include "types.h"

void *memset(void *to, int value, size_t count);
void *memcpy(void *to, const void *from, size_t count);
void *memmove(void *to, const void *from, size_t count);
int memcmp(const void *a, const void *b, size_t count);
size_t text_length(const char *text);

/* Zeroed, physically contiguous memory below 4 GiB; virtual and physical addresses are the same. */
void *allocate(size_t size, size_t alignment);
/* Everything allocated since heap_mark() is given back by heap_release(). */
u64 heap_mark(void);
void heap_release(u64 mark);
/* Where the heap can grow to. */
u64 heap_end(void);

/* Makes [start, start + size) accessible at its own address; nothing to do below 4 GiB. */
void map_physical(u64 start, u64 size);

#endif
