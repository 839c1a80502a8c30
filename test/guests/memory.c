/*
 * memory: prints the memory map that the loader gives and checks the RAM in it. At the edges of every RAM region, of
 * every GiB, and at pages strewn over it, each page's words are overwritten with a pattern made of their own
 * addresses; only when all are written are they verified, so that RAM which appears at two addresses is found.
 * Contents are put back.
 *
 * Options: pages=N pages a region (default 16), besides its edges.
 */
#include "runtime/memory.h"
#include "runtime/exit.h"
#include "runtime/machine.h"
#include "runtime/print.h"
#include "runtime/start-info.h"
#include "runtime/start.h"

enum { PAGE_BYTES = 4096, WORDS = PAGE_BYTES / sizeof(u64), MAX_PROBES = 1024 };
#define GIB 0x40000000ul
#define LOW_MEMORY_END 0x100000ul

struct probe {
  u64 *page, *saved;
};

extern u8 guest_end[];
static struct probe probes[MAX_PROBES];
static u32 probe_count;
static u64 heap_reserve_end; /* our own image, stack, tables and heap lie below this */

static u64 pattern(u64 address) { return address * 0x9e3779b97f4a7c15ul ^ 0x5aa5c33c0ff00ff0ul; }

static void add_probe(u64 page, u64 start, u64 end) {
  page &= ~(u64)(PAGE_BYTES - 1);
  if (page < start || page + PAGE_BYTES > end) return;
  if (page < LOW_MEMORY_END) return; /* the loader's start info and tables, firmware data */
  if (page < heap_reserve_end) return;
  for (u32 i = 0; i < probe_count; i++)
    if ((u64)probes[i].page == page) return;
  check(probe_count < MAX_PROBES, "more than %u pages to check", MAX_PROBES);
  map_physical(page, PAGE_BYTES);
  probes[probe_count++].page = (u64 *)page;
}

static void choose_probes(u64 start, u64 end, u64 pages) {
  add_probe(start + PAGE_BYTES - 1, start, end);
  add_probe(end - PAGE_BYTES, start, end);
  for (u64 edge = (start / GIB + 1) * GIB; edge < end; edge += GIB) {
    add_probe(edge - PAGE_BYTES, start, end);
    add_probe(edge, start, end);
  }
  for (u64 i = 1; i <= pages; i++) add_probe(start + (end - start) / (pages + 1) * i, start, end);
}

static void overwrite(void) {
  for (u32 p = 0; p < probe_count; p++) {
    for (u32 w = 0; w < WORDS; w++) {
      volatile u64 *word = &probes[p].page[w];
      probes[p].saved[w] = *word;
      *word = pattern((u64)word);
    }
  }
}

static void verify(void) {
  for (u32 p = 0; p < probe_count; p++) {
    for (u32 w = 0; w < WORDS; w++) {
      volatile u64 *word = &probes[p].page[w];
      check(*word == pattern((u64)word), "at 0x%lx: wrote 0x%lx, read 0x%lx", (u64)word, pattern((u64)word), *word);
    }
  }
  /* Backwards: if two probes were the same RAM, the first one saved is the true content. */
  for (u32 p = probe_count; p-- > 0;) memcpy(probes[p].page, probes[p].saved, PAGE_BYTES);
}

/* An access may straddle two pages, and the last byte of a region is RAM as well. */
static void check_odd_accesses(u64 start, u64 end) {
  if (end - start < 2 * PAGE_BYTES || end <= heap_reserve_end || end <= LOW_MEMORY_END) return;
  map_physical(end - 2 * PAGE_BYTES, 2 * PAGE_BYTES);
  volatile u64 *across = (volatile u64 *)(end - PAGE_BYTES - 3);
  u64 kept = *across;
  *across = 0x0123456789abcdef;
  check(*across == 0x0123456789abcdef && *(volatile u8 *)(end - PAGE_BYTES) == 0x89, "a word across 0x%lx reads 0x%lx",
        end - PAGE_BYTES, *across);
  *across = kept;
  volatile u8 *last = (volatile u8 *)(end - 1);
  u8 byte = *last;
  u8 other = byte ^ 0xa5;
  *last = other;
  check(*last == other, "the last byte at 0x%lx does not keep a value", end - 1);
  *last = byte;
}

void guest_main(void) {
  u64 pages = option_number("pages", 16), total = 0;
  u32 count = memory_region_count();
  check(count > 0, "the start info has no memory map");
  for (u32 i = 0; i < count; i++) {
    const struct memory_region *r = memory_region(i);
    print("memory 0x%012lx-0x%012lx type %u\n", r->start, r->start + r->size - 1, r->type);
    if (r->size == 0) continue; /* QEMU's microvm ends its map with one */
    check(r->start + r->size > r->start, "region %u wraps", i);
    for (u32 j = 0; j < i; j++) {
      const struct memory_region *o = memory_region(j);
      check(r->start >= o->start + o->size || o->start >= r->start + r->size, "regions %u and %u overlap", j, i);
    }
    if (r->type != MEMORY_RAM) continue;
    check(r->start + r->size <= DEVICE_HOLE_START || r->start >= FOUR_GIB, "RAM region %u reaches into the device hole",
          i);
    total += r->size;
  }
  /* Saved pages come from the heap, and page tables from below it; neither is probed. */
  heap_reserve_end = (u64)allocate(0, PAGE_BYTES) + (MAX_PROBES + 1) * PAGE_BYTES;
  for (u32 i = 0; i < count; i++) {
    const struct memory_region *r = memory_region(i);
    if (r->type != MEMORY_RAM) continue;
    choose_probes(r->start, r->start + r->size, pages);
    check_odd_accesses(r->start, r->start + r->size);
  }
  check(probe_count > 0, "no RAM to check above 0x%lx", heap_reserve_end);
  for (u32 p = 0; p < probe_count; p++) probes[p].saved = allocate(PAGE_BYTES, PAGE_BYTES);
  check((u64)allocate(0, 1) <= heap_reserve_end, "the guest used more heap than it set aside");
  overwrite();
  verify();
  print("memory ok: %lu MiB, %u pages checked, highest 0x%lx\n", total >> 20, probe_count,
        (u64)probes[probe_count - 1].page);
}
