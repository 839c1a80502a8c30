/*
 * gaps: how long the machine stands still, as its guest sees it. It reads the time stamp counter without pause, from ring 3,
 * which runs at full speed also where ring 0 is emulated, and keeps the longest time between two looks. The host reads and
 * writes what it keeps in memory: no exit disturbs it.
 *
 * Option: pages=N to be written to, at first and when the host asks (default 0).
 */
#include "runtime/cpu.h"
#include "runtime/memory.h"
#include "runtime/print.h"
#include "runtime/start-info.h"
#include "runtime/start.h"
#include "runtime/time.h"
#include "runtime/user.h"

enum { PAGE_BYTES = 4096 };

struct control {
  volatile u64 longest; /* ticks; the host sets it to 0 to begin anew */
  volatile u64 looks;
  volatile u64 to_write; /* pages, by the host; 0 when that is done */
  volatile u64 written;  /* by the guest: what it writes next is another value */
};

static struct control *control;
static u64 pages;
static volatile u8 *room;

static void write_pages(void) {
  u64 count = control->to_write < pages ? control->to_write : pages;
  control->written++;
  for (u64 page = 0; page < count; page++) *(volatile u64 *)(room + page * PAGE_BYTES) = control->written + page;
  control->to_write = 0;
}

void guest_main(void) {
  pages = option_number("pages", 0);
  control = allocate(PAGE_BYTES, PAGE_BYTES);
  if (pages > 0) room = allocate(pages * PAGE_BYTES, PAGE_BYTES);
  control->to_write = pages;
  write_pages();
  print("gaps: control at 0x%lx, room at 0x%lx, tsc %lu kHz\n", (u64)control, (u64)room, tsc_per_millisecond());
  user_begin();
  for (u64 last = rdtsc();; control->looks++) {
    if (control->to_write != 0) {
      write_pages();
      last = rdtsc();
    }
    u64 now = rdtsc();
    if (now - last > control->longest) control->longest = now - last;
    last = now;
  }
}
