/* LAPIC timer in periodic mode (Intel SDM vol. 3 §10.5.4), measured over a millisecond. */
#include "watchdog.h"
#include "apic.h"
#include "exit.h"
#include "interrupts.h"
#include "time.h"

enum { WATCHDOG_VECTOR = 0x2f };

static volatile u32 ticks;

static void on_tick(struct trap_frame *frame) {
  (void)frame;
  ticks++;
  lapic_eoi();
}

u32 watchdog_ticks(void) { return ticks; }

void watchdog_start(void) {
  static bool started;
  if (started) return;
  started = true;
  lapic_enable();
  on_vector(WATCHDOG_VECTOR, on_tick);
  lapic_write(LAPIC_TIMER_DIVIDE, TIMER_DIVIDE_BY_16);
  lapic_write(LAPIC_LVT_TIMER, LVT_MASKED | WATCHDOG_VECTOR);
  lapic_write(LAPIC_TIMER_INITIAL, ~0u);
  delay_microseconds(1000);
  u64 period = (u64)(~0u - lapic_read(LAPIC_TIMER_CURRENT)) * WATCHDOG_PERIOD_MS;
  check(period > 0, "the LAPIC timer does not count");
  lapic_write(LAPIC_LVT_TIMER, LVT_TIMER_PERIODIC | WATCHDOG_VECTOR);
  lapic_write(LAPIC_TIMER_INITIAL, period > ~0u ? ~0u : (u32)period);
}
