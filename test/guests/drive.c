/*
 * drive: watches a disk whose medium and size change while it is in use. Reads its first and last sector over and over, and
 * prints what it finds whenever that is new: the capacity, whether a configuration interrupt has told of it, and the first
 * word of both sectors. Writes a counter to the second sector (write), so that there always is something to be made durable.
 *
 * Options: until=SECTORS: the capacity at which it ends; reset=SECTORS: at which it resets the machine; write; by=...
 */
#include "runtime/blk.h"
#include "runtime/exit.h"
#include "runtime/power.h"
#include "runtime/print.h"
#include "runtime/start-info.h"
#include "runtime/start.h"

enum { CONFIG_INTERRUPTS = 0 };

struct finding {
  u64 sectors;
  u32 told;
  u8 first_status, last_status;
  u32 first, last;
};

static struct blk disk;

static u8 read_word(u64 sector, u32 *word) {
  u8 status = blk_run(&disk, BLK_IN, sector, SECTOR_BYTES);
  *word = status == BLK_OK ? *(u32 *)disk.requests[0].data : 0;
  return status;
}

/* Both halves of the capacity are of one configuration (§2.5.3). */
static u64 capacity(void) {
  for (;;) {
    u32 before = virtio_generation(&disk.device);
    u64 sectors = blk_capacity(&disk.device);
    if (virtio_generation(&disk.device) == before) return sectors;
  }
}

static bool is_same(const struct finding *a, const struct finding *b) {
  return a->sectors == b->sectors && a->told == b->told && a->first_status == b->first_status &&
         a->last_status == b->last_status && a->first == b->first && a->last == b->last;
}

static struct finding look(void) {
  struct finding found = {.told = disk.device.interrupts[CONFIG_INTERRUPTS], .sectors = capacity()};
  found.first_status = read_word(0, &found.first);
  found.last_status = read_word(found.sectors == 0 ? 0 : found.sectors - 1, &found.last);
  return found;
}

void guest_main(void) {
  u64 until = option_number("until", 0), reset = option_number("reset", ~0ul);
  blk_open(&disk, (u32)option_number("device", 0), BLK_FEATURE_FLUSH, virtio_mode_option(), 16, 1, 1, SECTOR_BYTES);
  struct finding before = {.sectors = ~0ul};
  for (u32 round = 0; before.sectors != until; round++) {
    struct finding found = look();
    if (option_given("write") && found.sectors > 1) {
      *(u32 *)disk.requests[0].data = round + 1;
      blk_run(&disk, BLK_OUT, 1, SECTOR_BYTES);
    }
    if (found.sectors == capacity() && !is_same(&found, &before)) {
      print("drive: %lu sectors (told %u times), status %u 0x%x, status %u 0x%x\n", found.sectors, found.told,
            found.first_status, found.first, found.last_status, found.last);
      before = found;
    }
    if (found.sectors == reset) reset_by_i8042();
  }
  print("drive ok\n");
}
