/*
 * A disk that is only read may hold the pattern of the guest virtio-blk: 32-bit word i of sector s is
 * s * 128 + i + seed, mod 2^32. A disk that is written holds ~block, then the same words in every block, wherever we
 * have written.
 */
#include "content.h"
#include "runtime/exit.h"

enum { REMEMBERED = 128, LOOKS = 64, WORDS_PER_SECTOR = SECTOR_BYTES / 4 };

static u64 remembered[REMEMBERED];
static u32 writes;

static u64 filler(u32 word) { return word * 0x9e3779b97f4a7c15ul; }

void content_fill(const struct workload *w, u8 *data) {
  for (u32 i = 1; i < w->bytes / 8; i++) ((u64 *)data)[i] = filler(i);
}

void content_remember(u64 block) { remembered[writes++ % REMEMBERED] = block; }

static void check_written(const struct workload *w, const u8 *data, u64 block) {
  const u64 *words = (const u64 *)data;
  for (u32 i = 0; i < w->bytes / 8; i++)
    check(words[i] == (i == 0 ? ~block : filler(i)), "block %lu word %u is 0x%lx", block, i, words[i]);
}

static void check_pattern(const struct workload *w, const u8 *data, u64 block) {
  u32 value = (u32)(block * (w->bytes / SECTOR_BYTES) * WORDS_PER_SECTOR) + w->seed;
  for (u32 i = 0; i < w->bytes / 4; i++, value++)
    check(((const u32 *)data)[i] == value, "block %lu word %u is 0x%x instead of 0x%x", block, i,
          ((const u32 *)data)[i], value);
}

u32 content_check(struct lane *lane, const struct workload *w) {
  if (w->read_percent == 100) {
    if (w->seed == 0) return 0;
    for (u32 i = 0; i < LOOKS; i++) {
      u64 block = random_under(&lane->random, (u32)w->blocks);
      check_pattern(w, lane_run(lane, w, BLK_IN, block)->in, block);
    }
    return LOOKS;
  }
  u32 count = writes < REMEMBERED ? writes : REMEMBERED;
  for (u32 i = 0; i < count; i++) check_written(w, lane_run(lane, w, BLK_IN, remembered[i])->in, remembered[i]);
  return count;
}
