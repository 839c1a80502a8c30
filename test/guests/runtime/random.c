#include "random.h"

void random_begin(struct random *random, u64 seed, u64 stream) {
  random->state = seed * 0x9e3779b97f4a7c15ul + stream * 0xd1b54a32d192ed03ul + 0x1234567;
  if (random->state == 0) random->state = 1;
}

u64 random_next(struct random *random) {
  u64 s = random->state;
  s ^= s >> 12;
  s ^= s << 25;
  s ^= s >> 27;
  random->state = s;
  return s * 0x2545f4914f6cdd1dul;
}

u32 random_under(struct random *random, u32 limit) { return (u32)((random_next(random) >> 32) * limit >> 32); }

u64 random_edge(struct random *random) {
  switch (random_under(random, 6)) {
    case 0: return 0;
    case 1: return ~0ul;
    case 2: return 1ul << random_under(random, 64);
    case 3: return random_under(random, 16);
    case 4: return (1ul << random_under(random, 64)) - 1;
    default: return random_next(random);
  }
}
