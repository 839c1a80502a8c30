/*
 * smp: starts every other CPU by INIT and startup IPIs. Each CPU prints its APIC id by LAPIC and by CPUID and its
 * topology (CPUID leaf 0xB), adds to one counter with locked instructions against all the others, and answers an
 * interrupt that the first CPU sends to it; the totals must be exact and no APIC id may appear twice.
 *
 * The CPUs are those of the MADT; without ACPI tables, ids 0 to N-1 where N is CPUID's count of logical processors.
 * Options: cpus=N expects exactly N; all starts them with one broadcast; rounds=N additions by each CPU (default
 * 1000).
 */
#include "runtime/acpi.h"
#include "runtime/apic.h"
#include "runtime/cpu.h"
#include "runtime/exit.h"
#include "runtime/interrupts.h"
#include "runtime/print.h"
#include "runtime/smp.h"
#include "runtime/start-info.h"
#include "runtime/start.h"
#include "runtime/time.h"

enum { IPI_VECTOR = 0x50, CPUID_TOPOLOGY = 0xb, LEVEL_SMT = 1, LEVEL_CORE = 2, PATIENCE_MS = 30000 };

static volatile u32 counter, finished, ipi_count[MAX_CPUS];
static bool seen[MAX_CPUS];
static u32 rounds;

struct topology {
  u32 x2apic_id, logical_processors, thread_shift, package_shift;
};

static struct topology topology(void) {
  struct topology t = {cpuid(1, 0).ebx >> 24, cpuid(1, 0).ebx >> 16 & 0xff, 0, 0};
  if (cpuid(0, 0).eax < CPUID_TOPOLOGY || cpuid(CPUID_TOPOLOGY, 0).ebx == 0) return t;
  for (u32 level = 0; level < 8; level++) {
    struct cpuid r = cpuid(CPUID_TOPOLOGY, level);
    u32 type = r.ecx >> 8 & 0xff;
    if (type == 0) break;
    t.x2apic_id = r.edx;
    if (type == LEVEL_SMT) t.thread_shift = r.eax & 31;
    t.package_shift = r.eax & 31;
    t.logical_processors = r.ebx & 0xffff;
  }
  return t;
}

/* What every CPU does once it runs; the first CPU as well. */
static void introduce(const char *role) {
  u32 id = lapic_id();
  struct topology t = topology();
  print_lock();
  print("%s apic %u cpuid %u x2apic %u thread-shift %u package-shift %u logical %u\n", role, id, cpuid(1, 0).ebx >> 24,
        t.x2apic_id, t.thread_shift, t.package_shift, t.logical_processors);
  check(id == cpuid(1, 0).ebx >> 24 && id == t.x2apic_id, "the APIC ids differ");
  check(!seen[id], "APIC id %u appears twice", id);
  seen[id] = true;
  print_unlock();
}

static void add(void) {
  for (u32 i = 0; i < rounds; i++) __asm__ volatile("lock incl %0" : "+m"(counter)::"cc");
}

static void on_ipi(struct trap_frame *frame) {
  (void)frame;
  ipi_count[lapic_id()]++;
  lapic_eoi();
}

static void run_processor(u32 slot) {
  (void)slot;
  interrupts_load();
  lapic_enable();
  introduce("cpu");
  add();
  __atomic_fetch_add(&finished, 1, __ATOMIC_SEQ_CST);
  for (;;) wait_for_interrupt();
}

static void await(const char *what, volatile u32 *value, u32 wanted) {
  u64 deadline = deadline_in(PATIENCE_MS);
  while (*value < wanted) {
    check(!expired(deadline), "%s: %u of %u", what, *value, wanted);
    delay_microseconds(50);
  }
  check(*value == wanted, "%s: %u, more than %u", what, *value, wanted);
}

static u32 find_processors(u8 ids[MAX_CPUS]) {
  const struct acpi *tables = acpi();
  u32 count = tables->cpu_count;
  for (u32 i = 0; i < count; i++) ids[i] = tables->cpu_apic_ids[i];
  if (count == 0) {
    count = topology().logical_processors;
    check(count < MAX_CPUS, "CPUID claims %u logical processors", count);
    if (count == 0) count = 1;
    for (u32 i = 0; i < count; i++) ids[i] = (u8)i;
  }
  print("smp: %u cpus by %s\n", count, tables->cpu_count > 0 ? "the MADT" : "CPUID");
  u32 wanted = (u32)option_number("cpus", count);
  check(wanted == count, "expected %u cpus", wanted);
  return count;
}

void guest_main(void) {
  static u8 ids[MAX_CPUS];
  rounds = (u32)option_number("rounds", 1000);
  on_vector(IPI_VECTOR, on_ipi);
  lapic_enable();
  u32 count = find_processors(ids), self = lapic_id();
  introduce("boot cpu");
  smp_prepare(count - 1, run_processor);
  if (option_given("all")) {
    smp_start_all();
  } else {
    for (u32 i = 0; i < count; i++)
      if (ids[i] != self) smp_start(ids[i]);
  }
  add();
  await("cpus finished", &finished, count - 1);
  check(smp_started() == count - 1, "%u cpus started", smp_started());
  check(counter == rounds * count, "the counter is %u instead of %u", counter, rounds * count);
  for (u32 i = 0; i < count; i++) {
    check(seen[ids[i]], "the cpu with APIC id %u is another one", ids[i]);
    if (ids[i] == self) continue;
    lapic_send(ids[i], ICR_FIXED | ICR_LEVEL_ASSERT | IPI_VECTOR);
    await("interrupts answered", &ipi_count[ids[i]], 1);
  }
  print("smp %u ok: counter %u\n", count, counter);
}
