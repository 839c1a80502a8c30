/* The TSC is measured over 5 ms of PIT channel 0, read by latch commands, so that no interrupt is needed. */
#include "time.h"
#include "cpu.h"
#include "exit.h"
#include "machine.h"

enum { CALIBRATION_TICKS = PIT_HERTZ / 200, MAX_POLLS = 1000000 };

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

u64 tsc_per_millisecond(void) {
  if (tsc_rate != 0) return tsc_rate;
  pit_start(PIT_CHANNEL0_MODE2, 0); /* 65536 ticks, 55 ms */
  u16 first = pit_count(), passed = 0;
  u64 start = rdtsc();
  for (int polls = 0; passed < CALIBRATION_TICKS; polls++) {
    check(polls < MAX_POLLS, "PIT channel 0 does not count");
    passed = (u16)(first - pit_count());
  }
  tsc_rate = (rdtsc() - start) * PIT_HERTZ / passed / 1000;
  check(tsc_rate > 0, "the TSC does not count");
  return tsc_rate;
}

u64 deadline_in(u64 milliseconds) { return rdtsc() + milliseconds * tsc_per_millisecond(); }
bool expired(u64 deadline) { return (int64_t)(rdtsc() - deadline) >= 0; }

void delay_microseconds(u64 microseconds) {
  u64 end = rdtsc() + microseconds * tsc_per_millisecond() / 1000;
  while (!expired(end)) cpu_relax();
}
