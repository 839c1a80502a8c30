/*
 * The part "fuzz": several CPUs at once do random things to the whole machine. What each needs to know of it, and the
 * kinds of things they do.
 *
 * A guest that lets devices write wherever chance says soon overwrites itself. So, unless `wild` is given, what is RAM of
 * a random address is the arena, where nothing of the guest is, and what ends the machine by design is left out.
 */
#ifndef GUEST_FUZZ_H
#define GUEST_FUZZ_H

#include "runtime/random.h"
#include "victim.h"

enum { FUZZ_MAX_WINDOWS = 64, FUZZ_QUEUES = 2, FUZZ_RING_SIZE = 16, FUZZ_TABLE_ENTRIES = 8 };

struct fuzzer {
  struct random random;
  u32 cpu;
  bool wild; /* this CPU may end the machine */
  u32 port_accesses, memory_accesses, configuration_accesses, register_accesses, starts, rings;
};

/* Addresses that are not RAM, or should not be. */
struct window {
  u64 start, size;
};

struct fuzz_machine {
  struct victim *victims;
  u32 victim_count;
  u64 arena, arena_end; /* RAM in which devices may write */
  u64 ram_end;
  struct window windows[FUZZ_MAX_WINDOWS];
  u32 window_count;
  pci_function functions[PCI_MAX_FUNCTIONS]; /* none without a PCI bus */
  u32 function_count;
};
extern struct fuzz_machine fuzz_machine;

/* Finds all of the above; `victims` are found already. */
void fuzz_find_machine(struct victim *victims, u32 count);

/* Any value; one that devices may take for an address within the guest is moved into the arena. */
u64 fuzz_value(struct fuzzer *f);
/* For descriptors and rings: mostly in the arena, sometimes nowhere. */
u64 fuzz_address(struct fuzzer *f, u32 alignment);

/* One random thing each. */
void fuzz_ports(struct fuzzer *f);
void fuzz_memory(struct fuzzer *f);
void fuzz_configuration(struct fuzzer *f);
void fuzz_msix(struct fuzzer *f);
/* A register of a virtio device. */
void fuzz_virtio(struct fuzzer *f);
/* The steps of a driver up to DRIVER_OK, its queues in the arena; other CPUs come in between. */
void fuzz_start(struct fuzzer *f);
/* Descriptors, indirect tables, indices and doorbells of queues as fuzz_start() places them. */
void fuzz_rings(struct fuzzer *f);

/* What is put back between rounds: the configuration of PCI functions as it was at first. */
void fuzz_save(void);
void fuzz_restore(void);

/* `iterations` things on each CPU in each of `rounds`; after a round everything must work. */
void attack_everything(struct victim *victims, u32 count, u32 iterations);
/* Every CPU starts and resets devices with work in flight, for ever; with `reboot`, the first one resets the machine
   after that many milliseconds. */
void reset_for_ever(struct victim *victims, u32 count);

#endif
