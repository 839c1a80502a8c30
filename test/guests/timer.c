/*
 * timer: counts interrupts of the PIT (through the IOAPIC), of the LAPIC timer (periodic, then by TSC deadline where
 * the CPU has it), and reads the ACPI PM timer and the kvmclock page twice.
 *
 * Options: ticks=N interrupts of each kind (default 10), at 100 Hz.
 */
#include "runtime/acpi.h"
#include "runtime/apic.h"
#include "runtime/cpu.h"
#include "runtime/exit.h"
#include "runtime/interrupts.h"
#include "runtime/kvmclock.h"
#include "runtime/machine.h"
#include "runtime/memory.h"
#include "runtime/print.h"
#include "runtime/start-info.h"
#include "runtime/start.h"
#include "runtime/time.h"

enum { PIT_VECTOR = 0x30, LAPIC_VECTOR = 0x31, HERTZ = 100, MILLISECONDS_PER_TICK = 1000 / HERTZ, PATIENCE = 100 };
enum { PM_TIMER_HERTZ = 3579545, MAX_ATTEMPTS = 20 };
enum { MSR_TSC_DEADLINE = 0x6e0, CPUID_1_ECX_TSC_DEADLINE = 1 << 24 };

static volatile u32 pit_ticks, lapic_ticks;
static u64 last_tick;

static void on_pit(struct trap_frame *frame) {
  (void)frame;
  pit_ticks++;
  last_tick = rdtsc();
  lapic_eoi();
}

static void on_lapic(struct trap_frame *frame) {
  (void)frame;
  lapic_ticks++;
  last_tick = rdtsc();
  lapic_eoi();
}

/* Sleeps until `counter` reaches `count`; answers the milliseconds since `start`. */
static u64 wait_for_ticks(const char *name, volatile u32 *counter, u32 count, u64 start) {
  u64 deadline = start + (u64)count * MILLISECONDS_PER_TICK * PATIENCE * tsc_per_millisecond();
  while (*counter < count) {
    check(!expired(deadline), "%s: %u interrupts of %u", name, *counter, count);
    /* The first interrupt is awaited awake, so that a timer that never fires is reported; the others end a hlt. */
    if (*counter > 0) {
      wait_for_interrupt();
    } else {
      enable_interrupts();
      for (int i = 0; i < 100; i++) cpu_relax();
      disable_interrupts();
    }
  }
  return (last_tick - start) / tsc_per_millisecond();
}

static void try_pit(u32 ticks) {
  on_vector(PIT_VECTOR, on_pit);
  ioapic_route(PIT_GSI, PIT_VECTOR, TRIGGER_EDGE);
  u64 start = rdtsc();
  pit_start(PIT_CHANNEL0_MODE2, PIT_HERTZ / HERTZ);
  u64 passed = wait_for_ticks("pit", &pit_ticks, ticks, start);
  ioapic_mask(PIT_GSI);
  print("pit: %u interrupts in %lu ms\n", pit_ticks, passed);
}

static void try_lapic_periodic(u32 ticks) {
  on_vector(LAPIC_VECTOR, on_lapic);
  lapic_write(LAPIC_TIMER_DIVIDE, TIMER_DIVIDE_BY_16);
  lapic_write(LAPIC_LVT_TIMER, LVT_MASKED | LAPIC_VECTOR);
  lapic_write(LAPIC_TIMER_INITIAL, ~0u);
  delay_microseconds(MILLISECONDS_PER_TICK * 1000);
  u32 per_tick = ~0u - lapic_read(LAPIC_TIMER_CURRENT);
  check(per_tick > 0, "the LAPIC timer does not count");
  lapic_write(LAPIC_LVT_TIMER, LVT_TIMER_PERIODIC | LAPIC_VECTOR);
  u64 start = rdtsc();
  lapic_write(LAPIC_TIMER_INITIAL, per_tick);
  u64 passed = wait_for_ticks("lapic", &lapic_ticks, ticks, start);
  lapic_write(LAPIC_LVT_TIMER, LVT_MASKED | LAPIC_VECTOR);
  lapic_write(LAPIC_TIMER_INITIAL, 0);
  print("lapic: %u interrupts in %lu ms, %u counts each\n", lapic_ticks, passed, per_tick);
}

static void try_tsc_deadline(u32 ticks) {
  if ((cpuid(1, 0).ecx & CPUID_1_ECX_TSC_DEADLINE) == 0) {
    print("tsc-deadline: absent\n");
    return;
  }
  lapic_ticks = 0;
  lapic_write(LAPIC_LVT_TIMER, LVT_TIMER_TSC_DEADLINE | LAPIC_VECTOR);
  full_barrier();
  u64 start = rdtsc();
  for (u32 i = 1; i <= ticks; i++) {
    wrmsr(MSR_TSC_DEADLINE, rdtsc() + MILLISECONDS_PER_TICK * tsc_per_millisecond());
    wait_for_ticks("tsc-deadline", &lapic_ticks, i, start);
  }
  lapic_write(LAPIC_LVT_TIMER, LVT_MASKED | LAPIC_VECTOR);
  print("tsc-deadline: %u interrupts in %lu ms\n", lapic_ticks, (last_tick - start) / tsc_per_millisecond());
}

/* ACPI §4.8.3.3: 3.579545 MHz, 24 bits or 32. */
static void try_pm_timer(void) {
  const struct acpi *tables = acpi();
  if (tables->pm_timer == 0) {
    print("pm-timer: absent\n");
    return;
  }
  u32 mask = tables->pm_timer_is_32_bits ? ~0u : 0xffffff;
  for (int attempt = 1;; attempt++) { /* being descheduled between two reads spoils one, so several are tried */
    u64 start = rdtsc();
    u32 first = in32((u16)tables->pm_timer);
    delay_microseconds(MILLISECONDS_PER_TICK * 1000);
    u32 passed = (in32((u16)tables->pm_timer) - first) & mask;
    u64 microseconds = (rdtsc() - start) * 1000 / tsc_per_millisecond(),
        expected = microseconds * PM_TIMER_HERTZ / 1000000;
    bool plausible = passed > expected * 8 / 10 && passed < expected * 12 / 10;
    check(plausible || attempt < MAX_ATTEMPTS, "the PM timer counts %u in %lu us instead of %lu", passed, microseconds,
          expected);
    if (!plausible) continue;
    print("pm-timer: %u ticks in %lu us\n", passed, microseconds);
    return;
  }
}

enum { GENERAL_PROTECTION = 13, WRMSR_BYTES = 2 };

static volatile u32 refused_wrmsrs;

static void on_refused_wrmsr(struct trap_frame *frame) {
  frame->rip += WRMSR_BYTES;
  refused_wrmsrs++;
}

static void try_kvmclock(void) {
  struct clock_page *page = allocate(64, 64);
  if (!kvm_is_there()) {
    print("kvmclock: absent\n");
    return;
  }
  if (!kvmclock_is_offered()) {
    on_vector(GENERAL_PROTECTION, on_refused_wrmsr);
    wrmsr(MSR_KVM_SYSTEM_TIME_NEW, (u64)page | KVM_CLOCK_ENABLE);
    print("kvmclock: masked, its register %s\n", refused_wrmsrs > 0 ? "refused" : "works");
    return;
  }
  u32 *wall = allocate(16, 16);
  wrmsr(MSR_KVM_WALL_CLOCK_NEW, (u64)wall);
  wrmsr(MSR_KVM_SYSTEM_TIME_NEW, (u64)page | KVM_CLOCK_ENABLE);
  u64 first = kvmclock_nanoseconds(page);
  delay_microseconds(MILLISECONDS_PER_TICK * 1000);
  u64 second = kvmclock_nanoseconds(page);
  check(second > first, "kvmclock goes from %lu to %lu", first, second);
  print("kvmclock: %lu us passed, version %u, flags 0x%x, boot at %u s\n", (second - first) / 1000, page->version,
        page->flags, wall[1]);
  wrmsr(MSR_KVM_SYSTEM_TIME_NEW, 0);
}

void guest_main(void) {
  u32 ticks = (u32)option_number("ticks", 10);
  lapic_enable();
  print("timer: tsc runs at %lu kHz\n", tsc_per_millisecond());
  try_pit(ticks);
  try_lapic_periodic(ticks);
  try_tsc_deadline(ticks);
  try_pm_timer();
  try_kvmclock();
  print("timer ok: %u unexpected interrupts\n", unexpected_interrupts());
}
