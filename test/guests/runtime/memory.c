/*
 * Behind the guest's image lie a pool of page tables and then the heap, up to the end of the RAM region they are in.
 * Mapping is in 2 MiB pages under the tables of boot.S (Intel SDM vol. 3 §4.5), one page directory a GiB.
 */
#include "memory.h"
#include "exit.h"
#include "machine.h"
#include "start-info.h"

extern u8 guest_end[];
extern u64 boot_pml4[512];

enum { PAGE_PRESENT_WRITABLE = 3, PAGE_LARGE = 0x80, TABLE_BYTES = 4096, TABLE_POOL_BYTES = 128 * TABLE_BYTES };
#define LARGE_PAGE 0x200000ul
#define ADDRESS_MASK 0x000ffffffffff000ul
/* When the loader gives no memory map: enough for any guest, present in any machine worth testing. */
#define HEAP_LIMIT_WITHOUT_MAP 0x1000000ul

/* String instructions, by words where the size allows: where ring 0 is emulated, each repetition costs. */
void *memset(void *to, int value, size_t count) {
  void *at = to;
  size_t words = count / 8, rest = count % 8;
  __asm__ volatile("rep stosq" : "+D"(at), "+c"(words) : "a"((u8)value * 0x0101010101010101ul) : "memory");
  __asm__ volatile("rep stosb" : "+D"(at), "+c"(rest) : "a"(value) : "memory");
  return to;
}

void *memcpy(void *to, const void *from, size_t count) {
  void *at = to;
  size_t words = count / 8, rest = count % 8;
  __asm__ volatile("rep movsq" : "+D"(at), "+S"(from), "+c"(words)::"memory");
  __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(rest)::"memory");
  return to;
}

void *memmove(void *to, const void *from, size_t count) {
  if ((u64)to <= (u64)from || (u64)to >= (u64)from + count) return memcpy(to, from, count);
  for (size_t i = count; i > 0; i--) {
    ((u8 *)to)[i - 1] = ((const u8 *)from)[i - 1];
    compiler_barrier(); /* or the compiler sees a memmove here and calls this function */
  }
  return to;
}

int memcmp(const void *a, const void *b, size_t count) {
  const u8 *x = a, *y = b;
  for (size_t i = 0; i < count; i++)
    if (x[i] != y[i]) return x[i] - y[i];
  return 0;
}

size_t text_length(const char *text) {
  size_t n = 0;
  while (text[n] != 0) n++;
  return n;
}

static u64 heap_next, heap_limit;

static void find_heap(void) {
  heap_next = (u64)guest_end + TABLE_POOL_BYTES;
  heap_limit = HEAP_LIMIT_WITHOUT_MAP;
  for (u32 i = 0; i < memory_region_count(); i++) {
    const struct memory_region *r = memory_region(i);
    if (r->type == MEMORY_RAM && r->start <= heap_next && heap_next < r->start + r->size)
      heap_limit = r->start + r->size;
  }
}

u64 heap_mark(void) {
  if (heap_next == 0) find_heap();
  return heap_next;
}

u64 heap_end(void) {
  if (heap_next == 0) find_heap();
  return heap_limit;
}

void heap_release(u64 mark) {
  check(mark >= (u64)guest_end + TABLE_POOL_BYTES && mark <= heap_next, "no heap mark: 0x%lx", mark);
  heap_next = mark;
}

void *allocate(size_t size, size_t alignment) {
  if (heap_next == 0) find_heap();
  u64 start = (heap_next + alignment - 1) & ~((u64)alignment - 1);
  check(size <= heap_limit && start <= heap_limit - size, "no %lu bytes of memory left below 0x%lx", (u64)size,
        heap_limit);
  heap_next = start + size;
  return memset((void *)start, 0, size);
}

static u64 *next_table(u64 *entry) {
  static u32 taken;
  if ((*entry & 1) == 0) {
    check(taken < TABLE_POOL_BYTES / TABLE_BYTES, "no page tables left");
    *entry = (u64)memset(guest_end + taken++ * TABLE_BYTES, 0, TABLE_BYTES) | PAGE_PRESENT_WRITABLE;
  }
  return (u64 *)(*entry & ADDRESS_MASK);
}

void map_physical(u64 start, u64 size) {
  u64 end = start + size;
  check(size > 0 && end > start && end <= 1ul << 47, "cannot map 0x%lx bytes at 0x%lx", size, start);
  for (u64 page = start & ~(LARGE_PAGE - 1); page < end; page += LARGE_PAGE) {
    if (page < FOUR_GIB) continue;
    u64 *pdpt = next_table(&boot_pml4[page >> 39 & 511]);
    u64 *pd = next_table(&pdpt[page >> 30 & 511]);
    pd[page >> 21 & 511] = page | PAGE_PRESENT_WRITABLE | PAGE_LARGE;
  }
  compiler_barrier();
}
