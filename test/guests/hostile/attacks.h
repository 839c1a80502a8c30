/* Named attacks on a virtio device. */
#ifndef GUEST_ATTACKS_H
#define GUEST_ATTACKS_H

#include "victim.h"

struct attack {
  const char *name;
  u64 features; /* to negotiate, where offered; the attack is left out where they are not */
  void (*run)(struct victim *v);
};

extern const struct attack setup_attacks[], chain_attacks[];
extern const u32 setup_attack_count, chain_attack_count;

/* Runs all of them, each followed by a recovery; prints one line an attack. */
void attack_rings(struct victim *victims, u32 count, u64 patience);
/* Status bytes in any order, features nobody offered, vectors that do not exist. */
void attack_status(struct victim *victims, u32 count, u32 iterations);
/* Another CPU rewrites the descriptors while the device reads them; does nothing on one CPU. */
void attack_races(struct victim *victims, u32 count, u32 iterations);

#endif
