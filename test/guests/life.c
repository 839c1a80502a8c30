/*
 * life: a guest that goes on for ever and would notice if it were not one life. In every round it verifies part of its
 * memory and writes it anew, waits for an interrupt of the PIT, asks a virtio-rng device for bytes, and looks whether any clock
 * has gone back. Its other CPUs do the same with memory of their own.
 *
 * It obeys lines from the serial port: "who NAME" gives it a name, which is written into its memory with everything it
 * writes from then on; "say" prints "life: NAME, round N, ticks N, entropy X, generation G of N, stops N" (X: 8 bytes, drawn then; G:
 * the first 8 bytes of the generation identifier when it was last told of one, which was so often; stops: how often the
 * paravirtual clock said that the host had stopped it), "jump" allows the clocks one step of any size forward, "end" ends it with "life ok: N rounds".
 *
 * Options: pages=N pages for each CPU (default 64); cpus=N (default 1); by=msix | intx | poll; rng=none; jump=N: the most
 * milliseconds that a clock may step between two rounds (default: any); hertz=N: rounds in a second (default 200), fewer for
 * a guest that is one of many; await=N (runtime/time.h).
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
#include "runtime/smp.h"
#include "runtime/start-info.h"
#include "runtime/start.h"
#include "runtime/time.h"
#include "runtime/uart.h"
#include "runtime/virtqueue.h"
#include "runtime/watchdog.h"

enum { GENERATION_VECTOR = 0x32, GENERATION_GSI = 12 };
enum { TIMER_VECTOR = 0x31, FEWEST_HERTZ = 20, PAGE_WORDS = 512, PER_ROUND = 16, FEW_BARKS = 4, SAMPLES = 9, MAX_NAME = 32, LINE_BYTES = 64 };
#define SCRAMBLE 0x9e3779b97f4a7c15ul

struct life {
  u64 *pages;
  u64 *written; /* of each page: what it was last filled from */
  u32 next;
  volatile u32 rounds;
  u64 last_tsc, last_clock;
};

static struct life lives[MAX_CPUS];
static u32 pages, cpus, hertz;
static volatile u32 ticks;
static volatile u64 name_hash;
static char name[MAX_NAME] = "first";
static struct clock_page *clock_page;
static u32 stops;
static struct virtio_device device;
static struct virtqueue queue;
static bool has_rng;
static u64 most_jump_ms;
static volatile bool may_jump;

static void on_tick(struct trap_frame *frame) {
  (void)frame;
  ticks++;
  lapic_eoi();
}

static const u64 *generation_id;
static u64 generation;
static volatile u32 generations;

/* By the generic event device: read at once, as a driver does. */
static void on_generation(struct trap_frame *frame) {
  (void)frame;
  check(*generation_id != generation, "told of a generation that is the last one: %lx", generation);
  generation = *generation_id;
  generations++;
  lapic_eoi();
}

/* Name (ADDR, Package () {DWord low, 0}) behind the _CID that drivers look for; a real one interprets the AML. */
static void find_generation(void) {
  static const char id[] = "VM_Gen_Counter", addr[] = "ADDR\x12";
  const struct acpi *tables = acpi();
  const u8 *dsdt = tables->dsdt, *end = dsdt == NULL ? NULL : dsdt + tables->dsdt_bytes - 32;
  while (dsdt < end && memcmp(dsdt, id, sizeof id) != 0) dsdt++;
  while (dsdt < end && memcmp(dsdt, addr, sizeof addr - 1) != 0) dsdt++;
  if (dsdt >= end) return;
  u32 low;
  memcpy(&low, dsdt + sizeof addr - 1 + 3, sizeof low); /* package length, count, DWordPrefix */
  generation_id = (const u64 *)(u64)low;
  generation = *generation_id;
  on_vector(GENERATION_VECTOR, on_generation);
  ioapic_route(GENERATION_GSI, GENERATION_VECTOR, TRIGGER_EDGE);
}

/* The PIT: the LAPIC's timer is the watchdog's, which checks it. */
static void start_ticking(void) {
  on_vector(TIMER_VECTOR, on_tick);
  ioapic_route(PIT_GSI, TIMER_VECTOR, TRIGGER_EDGE);
  pit_start(PIT_CHANNEL0_MODE2, PIT_HERTZ / hertz);
  watchdog_start();
}

static u64 word(u64 seed, u32 page, u32 at) { return (seed + page) * SCRAMBLE + at; }

/* The first and the last word of a page and some between: all of them would take an emulator long. */
static void each_word(struct life *life, u32 page, bool writes, u64 seed) {
  u64 *words = life->pages + (size_t)page * PAGE_WORDS;
  for (u32 i = 0; i < SAMPLES; i++) {
    u32 at = i * (PAGE_WORDS - 1) / (SAMPLES - 1);
    if (writes) words[at] = word(seed, page, at);
    else
      check(words[at] == word(seed, page, at), "page %u of this life holds 0x%lx at %u, and not 0x%lx", page, words[at],
            at, word(seed, page, at));
  }
}

static void tend(struct life *life) {
  for (u32 i = 0; i < PER_ROUND; i++) {
    u32 page = life->next;
    life->next = (page + 1) % pages;
    if (life->written[page] != 0) each_word(life, page, false, life->written[page]);
    life->written[page] = (name_hash ^ ((u64)life->rounds << 8)) | 1;
    each_word(life, page, true, life->written[page]);
  }
}

static void look_at_clock(const char *which, u64 *last, u64 now, u64 per_millisecond) {
  check(now >= *last, "%s went back from %lu to %lu", which, *last, now);
  bool jumped = *last != 0 && most_jump_ms != 0 && (now - *last) / per_millisecond > most_jump_ms;
  check(!jumped || may_jump, "%s went on by %lu ms at once", which, (now - *last) / per_millisecond);
  *last = now;
}

static void look_at_clocks(struct life *life) {
  look_at_clock("the TSC", &life->last_tsc, rdtsc(), tsc_per_millisecond());
  if (clock_page == NULL) return;
  look_at_clock("kvmclock", &life->last_clock, kvmclock_nanoseconds(clock_page), 1000000);
  if (kvmclock_was_stopped(clock_page)) stops++;
}

static void live_elsewhere(u32 slot) {
  struct life *life = &lives[slot + 1];
  interrupts_load();
  lapic_enable();
  for (;; life->rounds++) {
    tend(life);
    life->last_tsc = rdtsc();
    for (int i = 0; i < 1000; i++) cpu_relax();
  }
}

static u64 draw(void) {
  if (!has_rng) return 0;
  static u64 *bytes;
  if (bytes == NULL) bytes = allocate(8, 8);
  *bytes = 0;
  virtqueue_add(&queue, &(struct buffer){bytes, 8, true}, 1);
  virtqueue_kick(&queue);
  u16 head;
  u32 length;
  virtqueue_await(&queue, &head, &length);
  check(length == 8 && *bytes != 0, "%u bytes of entropy: 0x%lx", length, *bytes);
  return *bytes;
}

static bool begins(const char *line, const char *with) { return memcmp(line, with, text_length(with)) == 0; }

static void obey(const char *line) {
  if (begins(line, "who ")) {
    size_t length = text_length(line + 4);
    memcpy(name, line + 4, length + 1);
    u64 hash = 1;
    for (size_t i = 0; i < length; i++) hash = hash * SCRAMBLE + (u8)name[i];
    name_hash = hash << 20;
    print("life: now %s\n", name);
  } else if (begins(line, "say")) {
    print("life: %s, round %u, ticks %u, entropy %lx, generation %lx of %u, stops %u\n", name, lives[0].rounds, ticks,
          draw(), generation, generations, stops);
  } else if (begins(line, "jump")) {
    may_jump = true;
    print("life: may jump\n");
  } else if (begins(line, "end")) {
    for (u32 cpu = 0; cpu < cpus; cpu++) check(lives[cpu].rounds > 0, "cpu %u has not lived", cpu);
    print("life ok: %u rounds\n", lives[0].rounds);
    exit_machine(0);
  } else {
    fail("what is \"%s\"?", line);
  }
}

static void listen(void) {
  static char line[LINE_BYTES];
  static u32 length;
  while ((uart_read(UART_LINE_STATUS) & LSR_DATA_READY) != 0) {
    char c = (char)uart_read(UART_DATA);
    if (c == '\n') {
      line[length] = 0;
      length = 0;
      obey(line);
    } else if (length < MAX_NAME) {
      line[length++] = c;
    }
  }
}

static void begin_life(u32 cpu) {
  lives[cpu].pages = allocate((size_t)pages * PAGE_WORDS * sizeof(u64), PAGE_WORDS * sizeof(u64));
  lives[cpu].written = allocate(pages * sizeof(u64), 8);
}

void guest_main(void) {
  pages = (u32)option_number("pages", 64);
  cpus = (u32)option_number("cpus", 1);
  most_jump_ms = option_number("jump", 0);
  hertz = (u32)option_number("hertz", 200);
  if (hertz < FEWEST_HERTZ) usage("hertz is %u at least", FEWEST_HERTZ);
  if (pages < PER_ROUND || cpus < 1 || cpus > MAX_CPUS) usage("pages is %u at least, cpus 1 to %u", PER_ROUND, MAX_CPUS);
  lapic_enable();
  for (u32 cpu = 0; cpu < cpus; cpu++) begin_life(cpu);
  if (kvmclock_is_offered()) {
    clock_page = allocate(64, 64);
    wrmsr(MSR_KVM_SYSTEM_TIME_NEW, (u64)clock_page | KVM_CLOCK_ENABLE);
  }
  has_rng = !option_is("rng", "none") && virtio_find(&device, VIRTIO_RNG, 0);
  if (has_rng) {
    virtio_begin(&device, FEATURE_EVENT_INDEX, virtio_mode_option());
    virtqueue_open(&queue, &device, 0, 8);
    virtio_driver_ok(&device);
  }
  find_generation();
  if (cpus > 1) {
    smp_prepare(cpus - 1, live_elsewhere);
    smp_start_all();
  }
  start_ticking();
  print("life: begins\n");
  for (struct life *life = &lives[0];; life->rounds++) {
    tend(life);
    if (life->rounds % 8 == 0) draw();
    look_at_clocks(life);
    u32 before = ticks;
    u64 deadline = deadline_in(patience_ms());
    /* Whoever stood still for long may find time gone and its interrupts still to come. */
    for (u32 barks = watchdog_ticks(); ticks == before; wait_for_interrupt())
      check(watchdog_ticks() - barks < FEW_BARKS || !expired(deadline), "no interrupt of the PIT after %u", before);
    listen();
  }
}
