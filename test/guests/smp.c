/*
 * smp: starts every other CPU by INIT and startup IPIs. Each CPU prints its APIC id by LAPIC and by CPUID and its
 * topology (CPUID leaf 0xB), adds to one counter with locked instructions against all the others, and answers an
 * interrupt that the first CPU sends to it; the totals must be exact and no APIC id may appear twice.
 *
 * With cores=N (in a socket) and threads=N (in a core), the I-th CPU of the MADT must decode as the I-th thread, core and
 * socket, by leaf 0xB, and AMD's leaf 0x8000001E must agree.
 *
 * The CPUs are those of the MADT, or with table=mp of the MP table; without ACPI tables, ids 0 to N-1 where N is CPUID's
 * count of logical processors. Options: cpus=N expects exactly N; all starts them with one broadcast; rounds=N additions
 * by each CPU (default 1000).
 */
#include "runtime/acpi.h"
#include "runtime/apic.h"
#include "runtime/cpu.h"
#include "runtime/exit.h"
#include "runtime/interrupts.h"
#include "runtime/machine.h"
#include "runtime/mp.h"
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

enum { CPUID_AMD_MAX = 0x80000000, CPUID_AMD_TOPOLOGY = 0x8000001e };
static u8 ids[MAX_CPUS];
static u32 processor_count, cores, threads;

/* Are we where the MADT's order puts us? */
static void check_place(u32 id, const struct topology *t) {
  u32 cpu = 0;
  while (cpu < processor_count && ids[cpu] != id) cpu++;
  u32 socket = cpu / threads / cores, core = cpu / threads % cores, thread = cpu % threads;
  u32 core_bits = t->package_shift - t->thread_shift;
  check(id >> t->package_shift == socket && (id >> t->thread_shift & ((1u << core_bits) - 1)) == core &&
            (id & ((1u << t->thread_shift) - 1)) == thread && t->logical_processors == cores * threads,
        "APIC id %u is not socket %u core %u thread %u", id, socket, core, thread);
  if (cpuid(CPUID_AMD_MAX, 0).eax < CPUID_AMD_TOPOLOGY) return;
  struct cpuid r = cpuid(CPUID_AMD_TOPOLOGY, 0);
  if (r.eax == 0 && r.ebx == 0 && id != 0) return; /* there, but empty: no AMD CPU */
  check(r.eax == id && (r.ebx & 0xff) == core && (r.ebx >> 8 & 0xff) == threads - 1 && (r.ecx & 0xff) == socket,
        "leaf 0x8000001E of APIC id %u says 0x%x 0x%x 0x%x", id, r.eax, r.ebx, r.ecx);
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
  if (cores > 0) check_place(id, &t);
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

/* What a kernel without ACPI starts from: its CPUs, and where ISA interrupts arrive. */
static u32 find_by_mp_table(void) {
  const struct mp *mp = mp_table();
  check(mp != NULL, "the machine has no MP table");
  for (u32 i = 0; i < mp->cpu_count; i++) ids[i] = mp->cpu_apic_ids[i];
  check(mp->boot_apic_id == lapic_id(), "the boot CPU is %u by the MP table", mp->boot_apic_id);
  check(mp->ioapic == IOAPIC_BASE, "the IOAPIC is at 0x%lx by the MP table", mp->ioapic);
  check(mp->isa_pin[0] == PIT_GSI && mp->isa_pin[SERIAL_IRQ] == SERIAL_IRQ, "timer at pin %d, serial port at pin %d",
        mp->isa_pin[0], mp->isa_pin[SERIAL_IRQ]);
  check(mp->local_interrupts >= 2, "LINT0 and LINT1 are not in the MP table");
  print("smp: %u cpus by the MP table, %u pci interrupts\n", mp->cpu_count, mp->pci_interrupts);
  return mp->cpu_count;
}

static u32 find_processors(void) {
  if (option_is("table", "mp")) return find_by_mp_table();
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
  rounds = (u32)option_number("rounds", 1000);
  on_vector(IPI_VECTOR, on_ipi);
  lapic_enable();
  u32 count = find_processors(), self = lapic_id();
  processor_count = count;
  cores = (u32)option_number("cores", 0);
  threads = (u32)option_number("threads", 1);
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
