/* Leads the CPUs through the rounds of the part "fuzz": all at random, then all at rest while everything must work. */
#include "fuzz.h"
#include "hostile.h"
#include "runtime/acpi.h"
#include "runtime/apic.h"
#include "runtime/cpu.h"
#include "runtime/exit.h"
#include "runtime/power.h"
#include "runtime/print.h"
#include "runtime/smp.h"
#include "runtime/start-info.h"
#include "runtime/time.h"

enum { FUZZ_MAX_CPUS = 8, REST_PATIENCE_MS = 60000, DEFAULT_ROUNDS = 4 };

static struct fuzzer fuzzers[FUZZ_MAX_CPUS];
static u32 iterations_each;
static volatile u32 round_number, resting;

/* What chance says next; the rarer kinds undo what the frequent ones need. */
static void fuzz_once(struct fuzzer *f) {
  switch (random_under(&f->random, 16)) {
    case 0: fuzz_start(f); break;
    case 1:
    case 2: fuzz_ports(f); break;
    case 3:
    case 4:
    case 5: fuzz_memory(f); break;
    case 6:
    case 7: fuzz_configuration(f); break;
    case 8: fuzz_msix(f); break;
    case 9:
    case 10: fuzz_virtio(f); break;
    default: fuzz_rings(f);
  }
}

static void fuzz_round(struct fuzzer *f) {
  for (u32 i = 0; i < iterations_each; i++) fuzz_once(f);
  __atomic_fetch_add(&resting, 1, __ATOMIC_SEQ_CST);
}

static void fuzz_other(u32 slot) {
  struct fuzzer *f = &fuzzers[1 + slot];
  for (u32 seen = 0;; seen++) {
    while (round_number == seen) cpu_relax();
    fuzz_round(f);
  }
}

static void reset_other(u32 slot) {
  struct fuzzer *f = &fuzzers[1 + slot];
  for (;;) {
    fuzz_start(f);
    fuzz_rings(f);
  }
}

static u32 start_others(void (*work)(u32 slot)) {
  u64 seed = option_number("seed", 1);
  bool wild = option_given("wild");
  const struct acpi *tables = acpi();
  lapic_enable();
  u32 self = lapic_id(), count = tables->cpu_count > FUZZ_MAX_CPUS ? FUZZ_MAX_CPUS : tables->cpu_count, others = 0;
  for (u32 i = 0; i < FUZZ_MAX_CPUS; i++) {
    fuzzers[i] = (struct fuzzer){.cpu = i, .wild = wild};
    random_begin(&fuzzers[i].random, seed, i);
  }
  check(smp_started() == 0, "the parts races and fuzz both want the other CPUs: choose one");
  if (count > 1) smp_prepare(count - 1, work);
  for (u32 i = 0; i < tables->cpu_count && others < count - 1; i++) {
    if (tables->cpu_apic_ids[i] == self) continue;
    smp_start(tables->cpu_apic_ids[i]);
    others++;
  }
  u64 deadline = deadline_in(REST_PATIENCE_MS);
  while (smp_started() < others) check(!expired(deadline), "%u of %u CPUs started", smp_started(), others);
  return 1 + others;
}

void attack_everything(struct victim *victims, u32 count, u32 iterations) {
  u32 rounds = (u32)option_number("rounds", DEFAULT_ROUNDS);
  iterations_each = iterations;
  choose_avoided();
  fuzz_find_machine(victims, count);
  fuzz_save();
  u32 cpus = start_others(fuzz_other);
  for (u32 i = 0; i < count; i++) victims[i].mark = 0; /* the other CPUs' stacks lie behind the old mark */
  for (u32 n = 1; n <= rounds; n++) {
    resting = 0;
    round_number = n;
    fuzz_round(&fuzzers[0]);
    u64 deadline = deadline_in(REST_PATIENCE_MS);
    while (resting < cpus) check(!expired(deadline), "round %u: only %u of %u CPUs come to rest", n, resting, cpus);
    fuzz_restore();
    serial_init();
    for (u32 i = 0; i < count; i++) victim_recover(&victims[i]);
    print("fuzz: round %u of %u, %u virtio devices work again\n", n, rounds, count);
  }
  struct fuzzer sum = {0};
  for (u32 i = 0; i < cpus; i++) {
    const struct fuzzer *f = &fuzzers[i];
    sum.port_accesses += f->port_accesses, sum.memory_accesses += f->memory_accesses, sum.starts += f->starts;
    sum.configuration_accesses += f->configuration_accesses, sum.register_accesses += f->register_accesses;
    sum.rings += f->rings;
  }
  print("fuzz: %u cpus: %u ports, %u memory, %u configuration, %u registers, %u starts, %u rings\n", cpus,
        sum.port_accesses, sum.memory_accesses, sum.configuration_accesses, sum.register_accesses, sum.starts, sum.rings);
}

void reset_for_ever(struct victim *victims, u32 count) {
  bool reboots = option_given("reboot");
  fuzz_find_machine(victims, count);
  fuzz_save();
  u32 cpus = start_others(reset_other);
  print("resets: %u cpus\n", cpus);
  u64 deadline = deadline_in(option_number("reboot", 0));
  while (!reboots || !expired(deadline)) {
    fuzz_start(&fuzzers[0]);
    fuzz_rings(&fuzzers[0]);
  }
  reset_by_i8042();
  fail("still running after the reset");
}
