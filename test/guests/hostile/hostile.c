/*
 * hostile: a guest that breaks every rule it knows and must break nothing but itself. Each part ends with the devices
 * reset and used again by the rules; the last line is "hostile survived: ...".
 *
 * Options: seed=N; iterations=N of each random part (default 2000); parts=LIST of rings, status, ports,
 * configuration, bars, holes, races (default all); patience=MS to watch for an answer to each attack (default 20);
 * skip=NAME,... leaves out attacks of the part rings, only=NAME,... leaves out all others; avoid=LOW-HIGH,... leaves out
 * ports and skip-bridges PCI bridges, see ports.c and pci-fuzz.c.
 */
#include "hostile.h"
#include "attacks.h"
#include "runtime/apic.h"
#include "runtime/exit.h"
#include "runtime/print.h"
#include "runtime/start-info.h"
#include "runtime/start.h"
#include "runtime/time.h"

enum { RACE_SHARE = 20 };

static u64 state;

u64 random64(void) {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * 0x2545f4914f6cdd1dul;
}

u32 random_below(u32 limit) { return (u32)((random64() >> 32) * limit >> 32); }

u64 random_nasty(void) {
  switch (random_below(6)) {
    case 0: return 0;
    case 1: return ~0ul;
    case 2: return 1ul << random_below(64);
    case 3: return random_below(16);
    case 4: return (1ul << random_below(64)) - 1;
    default: return random64();
  }
}

u32 random_size(void) { return 1u << random_below(3); }

static struct victim victims[MAX_VICTIMS];
static u32 victim_count;

static void recover_all(const char *after) {
  for (u32 i = 0; i < victim_count; i++) victim_recover(&victims[i]);
  print("%s: %u virtio devices work again\n", after, victim_count);
}

void guest_main(void) {
  u64 seed = option_number("seed", 1);
  u32 iterations = (u32)option_number("iterations", 2000);
  u64 patience = option_number("patience", 20);
  state = seed * 0x9e3779b97f4a7c15ul + 0x1234567;
  if (state == 0) state = 1;
  tsc_per_millisecond(); /* before the ports part upsets the PIT */
  victim_count = victims_find(victims);
  print("hostile: seed %lu, %u iterations, %u virtio devices\n", seed, iterations, victim_count);
  recover_all("start");
  if (option_lists("parts", "rings", true)) attack_rings(victims, victim_count, patience);
  if (option_lists("parts", "status", true)) attack_status(victims, victim_count, iterations);
  if (option_lists("parts", "configuration", true)) {
    attack_configuration(iterations);
    recover_all("configuration");
  }
  if (option_lists("parts", "bars", true)) {
    attack_bars(iterations);
    recover_all("bars");
  }
  if (option_lists("parts", "holes", true)) attack_holes(iterations);
  if (option_lists("parts", "ports", true)) attack_ports(iterations);
  if (option_lists("parts", "races", true)) attack_races(victims, victim_count, iterations / RACE_SHARE);
  recover_all("end");
  print("hostile survived: seed %lu, %u iterations\n", seed, iterations);
}
