/*
 * The TSC is measured over 5 ms of PIT channel 0, read by latch commands, so that no interrupt is needed. Between a reading
 * of the one and of the other the host may run something else for longer than that, which would make a second last for as
 * long as you like: each count is read between two readings of the TSC, and of some measurements the surest one counts.
 */
#include "time.h"
#include "cpu.h"
#include "exit.h"
#include "machine.h"
#include "start-info.h"

enum { CALIBRATION_TICKS = PIT_HERTZ / 200, MAX_POLLS = 1000000, MAX_MEASUREMENTS = 20, UNSURE_PER_MILLE = 50 };

static u64 tsc_rate; /* per millisecond; 0 = not measured yet */

void pit_start(u8 mode, u16 count) {
  out8(PORT_PIT_COMMAND, mode);
  out8(PORT_PIT_CHANNEL0, (u8)count);
  out8(PORT_PIT_CHANNEL0, (u8)(count >> 8));
}

u16 pit_count(void) {
  out8(PORT_PIT_COMMAND, PIT_LATCH_CHANNEL0);
  u16 low = in8(PORT_PIT_CHANNEL0);
  return (u16)(low | in8(PORT_PIT_CHANNEL0) << 8);
}

struct reading {
  u64 before, after; /* TSC */
  u16 count;
};

static struct reading read_both(void) {
  u64 before = rdtsc();
  u16 count = pit_count();
  return (struct reading){before, rdtsc(), count};
}

/* Answers the rate, and how much of the time it is not sure of, in thousandths. */
static u64 measure(u64 *unsure) {
  struct reading first = read_both(), last = first;
  u64 previous = first.before;
  u16 passed = 0;
  for (int polls = 0; passed < CALIBRATION_TICKS; polls++) {
    check(polls < MAX_POLLS, "PIT channel 0 does not count");
    previous = last.before;
    last = read_both();
    passed = (u16)(first.count - last.count);
  }
  u64 total = last.after - first.before;
  /* With the time since the last look but one: the count may have gone round in it. */
  *unsure = ((first.after - first.before) + (last.after - previous)) * 1000 / total;
  return total * PIT_HERTZ / passed / 1000;
}

u64 tsc_per_millisecond(void) {
  if (tsc_rate != 0) return tsc_rate;
  pit_start(PIT_CHANNEL0_MODE2, 0); /* 65536 ticks, 55 ms */
  u64 least = ~0ul;
  for (int attempt = 0; attempt < MAX_MEASUREMENTS && least > UNSURE_PER_MILLE; attempt++) {
    u64 unsure, rate = measure(&unsure);
    if (unsure >= least) continue;
    least = unsure;
    tsc_rate = rate;
  }
  check(tsc_rate > 0, "the TSC does not count");
  return tsc_rate;
}

u64 deadline_in(u64 milliseconds) { return rdtsc() + milliseconds * tsc_per_millisecond(); }
bool expired(u64 deadline) { return (int64_t)(rdtsc() - deadline) >= 0; }

void delay_microseconds(u64 microseconds) {
  u64 end = rdtsc() + microseconds * tsc_per_millisecond() / 1000;
  while (!expired(end)) cpu_relax();
}

u64 patience_ms(void) {
  static u64 patience;
  if (patience == 0) patience = option_number("await", 10000);
  return patience;
}
