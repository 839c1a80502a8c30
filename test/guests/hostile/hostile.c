/*
 * hostile: a guest that breaks every rule it knows and must break nothing but itself. Each part ends with the devices
 * reset and used again by the rules; the last line is "hostile survived: ...".
 *
 * Options: seed=N; iterations=N of each random part (default 2000); parts=LIST of rings, status, ports,
 * configuration, bars, holes, races (default these), fuzz and resets (see fuzz.h); patience=MS to watch for an answer to
 * each attack (default 20); skip=NAME,... leaves out attacks of the part rings, only=NAME,... leaves out all others;
 * avoid=LOW-HIGH,... leaves out ports and skip-bridges PCI bridges, see ports.c and pci-fuzz.c.
 */
#include "hostile.h"
#include "attacks.h"
#include "fuzz.h"
#include "runtime/apic.h"
#include "runtime/exit.h"
#include "runtime/print.h"
#include "runtime/random.h"
#include "runtime/start-info.h"
#include "runtime/start.h"
#include "runtime/time.h"

enum { RACE_SHARE = 20 };

struct random random_source;

u64 random64(void) { return random_next(&random_source); }
u32 random_below(u32 limit) { return random_under(&random_source, limit); }
u64 random_nasty(void) { return random_edge(&random_source); }
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
  random_begin(&random_source, seed, 0);
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
  if (option_lists("parts", "fuzz", false)) attack_everything(victims, victim_count, iterations);
  if (option_lists("parts", "resets", false)) reset_for_ever(victims, victim_count);
  recover_all("end");
  print("hostile survived: seed %lu, %u iterations\n", seed, iterations);
}
