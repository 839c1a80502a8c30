/* Runs the named attacks, the status attacks and the races against each victim. */
#include "attacks.h"
#include "hostile.h"
#include "runtime/acpi.h"
#include "runtime/apic.h"
#include "runtime/cpu.h"
#include "runtime/exit.h"
#include "runtime/print.h"
#include "runtime/smp.h"
#include "runtime/start-info.h"
#include "runtime/time.h"

enum { RACE_ENTRIES = 4, START_PATIENCE_MS = 10000 };

static void run_all(struct victim *v, const struct attack *attacks, u32 count, u64 patience, u32 tally[OUTCOMES]) {
  for (u32 i = 0; i < count; i++) {
    const struct attack *a = &attacks[i];
    if ((a->features & ~virtio_offered_features(&v->device)) || option_lists("skip", a->name, false)) continue;
    if (!option_lists("only", a->name, true)) continue;
    victim_begin(v, a->features);
    a->run(v);
    enum outcome outcome = victim_outcome(v, patience);
    victim_check_canaries(v);
    victim_recover(v);
    tally[outcome]++;
    print("rings %s %s: %s, recovered\n", v->name, a->name, outcome_names[outcome]);
  }
}

void attack_rings(struct victim *victims, u32 count, u64 patience) {
  for (u32 i = 0; i < count; i++) {
    u32 tally[OUTCOMES] = {0};
    run_all(&victims[i], setup_attacks, setup_attack_count, patience, tally);
    run_all(&victims[i], chain_attacks, chain_attack_count, patience, tally);
    print("rings %s done: %u ignored, %u used, %u needs-reset\n", victims[i].name, tally[IGNORED], tally[USED],
          tally[NEEDS_RESET]);
  }
}

/* Features that were not offered: FEATURES_OK must not stick (§3.1.1 step 5-6). */
static bool accepts_wrong_features(struct victim *v) {
  virtio_reset(&v->device);
  virtio_set_status(&v->device, STATUS_ACKNOWLEDGE);
  virtio_set_status(&v->device, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
  u64 wrong = ~virtio_offered_features(&v->device) & 0x3ful << 40; /* bits that no version defines */
  for (u32 word = 0; word < 2; word++) {
    virtio_write(&v->device, VIRTIO_DRIVER_FEATURE_SELECT, word);
    virtio_write(&v->device, VIRTIO_DRIVER_FEATURE, (u32)((wrong | FEATURE_VERSION_1) >> (32 * word)));
  }
  virtio_set_status(&v->device, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
  return virtio_status(&v->device) & STATUS_FEATURES_OK;
}

static void check_vectors(struct victim *v) {
  const u16 wrong[] = {v->device.msix.count != 0 ? (u16)v->device.msix.count : 0x800, 0x7ff, 0xfffe};
  for (u32 i = 0; i < ARRAY_LENGTH(wrong); i++) {
    virtio_write(&v->device, VIRTIO_CONFIG_VECTOR, wrong[i]);
    virtio_write(&v->device, VIRTIO_QUEUE_VECTOR, wrong[i]);
    u32 config = virtio_read(&v->device, VIRTIO_CONFIG_VECTOR), queue = virtio_read(&v->device, VIRTIO_QUEUE_VECTOR);
    check(config == NO_VECTOR && queue == NO_VECTOR, "%s: vector %u reads back as %u and %u", v->name, wrong[i], config,
          queue);
  }
}

void attack_status(struct victim *victims, u32 count, u32 iterations) {
  for (u32 i = 0; i < count; i++) {
    struct victim *v = &victims[i];
    bool accepted = accepts_wrong_features(v);
    if (v->device.registers == 0) {
      msix_open(v->device.function, &v->device.msix);
      check_vectors(v);
    }
    virtio_reset(&v->device);
    virtio_select_queue(&v->device, v->queue_index);
    u64 notify = virtio_notify_address(&v->device);
    for (u32 n = 0; n < iterations; n++) {
      virtio_set_status(&v->device, (u8)random64());
      if (random_below(4) == 0) virtio_write(&v->device, VIRTIO_DRIVER_FEATURE_SELECT, (u32)random_nasty());
      if (random_below(4) == 0) virtio_write(&v->device, VIRTIO_DRIVER_FEATURE, (u32)random_nasty());
      if (random_below(4) == 0) virtio_select_queue(&v->device, (u16)random_below(4));
      if (random_below(4) == 0) virtio_write(&v->device, VIRTIO_QUEUE_ENABLE, random_below(3));
      if (random_below(8) == 0) virtio_reset(&v->device);
      virtio_ring(&v->device, notify, (u16)random_below(4));
    }
    victim_recover(v);
    print("status %s: %u writes, features nobody offered %s, recovered\n", v->name, iterations,
          accepted ? "accepted" : "refused");
  }
}

static struct descriptor *volatile raced; /* what the other CPU rewrites; NULL = rest */
static volatile bool resting = true;      /* its answer: it holds no pointer of ours */

/* Between two looks of the device a descriptor turns from honest to hostile and back. */
static void rewrite_for_ever(u32 slot) {
  (void)slot;
  for (u32 n = 0;; n++) {
    struct descriptor *d = raced;
    resting = d == NULL;
    if (d == NULL) continue;
    volatile struct descriptor *victim = &d[n % RACE_ENTRIES];
    struct descriptor honest = {victim->address, victim->length, victim->flags, victim->next};
    victim->address = 0x0000e00000000000ul;
    victim->length = 0xffffffff;
    victim->next = 0xfff0;
    victim->flags = (u16)(honest.flags ^ (DESCRIPTOR_NEXT | DESCRIPTOR_WRITE));
    victim->address = honest.address;
    victim->length = honest.length;
    victim->next = honest.next;
    victim->flags = honest.flags;
  }
}

static void race_victim(struct victim *v, u32 iterations) {
  u32 tally[OUTCOMES] = {0};
  for (u32 n = 0; n < iterations; n++) {
    victim_begin(v, 0);
    victim_ready(v);
    put_valid_chain(v);
    raced = v->queue.descriptors;
    while (resting) cpu_relax(); /* until it has seen that */
    for (u16 i = 0; i < v->queue.size; i++) offer_head(v, 0);
    ring_doorbell(v);
    tally[victim_outcome(v, 2)]++;
    raced = NULL;
    while (!resting) cpu_relax(); /* so that it does not write into rings that are given back */
    virtio_reset(&v->device);
    victim_check_canaries(v);
  }
  victim_recover(v);
  print("races %s: %u ignored, %u used, %u needs-reset, recovered\n", v->name, tally[IGNORED], tally[USED],
        tally[NEEDS_RESET]);
}

void attack_races(struct victim *victims, u32 count, u32 iterations) {
  const struct acpi *tables = acpi();
  lapic_enable();
  u32 self = lapic_id(),
      other = tables->cpu_count > 1 ? tables->cpu_apic_ids[tables->cpu_apic_ids[0] == self ? 1 : 0] : self;
  if (other == self) {
    print("races: only one cpu\n");
    return;
  }
  if (smp_started() == 0) {
    smp_prepare(1, rewrite_for_ever);
    smp_start(other);
    u64 deadline = deadline_in(START_PATIENCE_MS);
    while (smp_started() == 0) check(!expired(deadline), "cpu %u did not start", other);
  }
  for (u32 i = 0; i < count; i++) {
    victims[i].mark = 0; /* the other CPU's stack lies behind the old mark */
    race_victim(&victims[i], iterations);
  }
}
