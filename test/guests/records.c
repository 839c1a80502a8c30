/*
 * records: writes numbered records to a virtio disk, one after the other, and prints a number only when the device has said
 * that the record is safe. Whatever happens to the host then, every record that was printed must be on the disk.
 *
 * Record n begins at slot n mod slots, of 8 sectors each, and is 1 + n mod 7 sectors long: little-endian 32-bit words, the
 * first is n, the i-th n * 2654435761 + i mod 2^32. A record is so known as a whole by its number, which says more than a
 * checksum.
 *
 * Options: cache=flush (FLUSH after each record), through (the driver turns the write cache off by CONFIG_WCE), declined
 * (the driver takes neither feature), unsafe (writes only: printed records may be lost); from=N (1): the first number;
 * count=N: how many, else for ever; stay: sleeps after them, as a guest does that has nothing to do; slots=N (1024); by=...;
 * device=N.
 */
#include "runtime/blk.h"
#include "runtime/cpu.h"
#include "runtime/exit.h"
#include "runtime/print.h"
#include "runtime/start-info.h"
#include "runtime/start.h"

enum { SLOT_SECTORS = 8, SHORTEST = 1, LENGTHS = 7, WORDS_PER_SECTOR = SECTOR_BYTES / 4, CONFIG_WRITEBACK = 32 };
enum { SCRAMBLE = 2654435761u };
#define BLK_FEATURE_CONFIG_WCE (1ul << 11)

static struct blk disk;

static void run(u32 type, u64 sector, u32 bytes) {
  u8 status = blk_run(&disk, type, sector, bytes);
  check(status == BLK_OK, "request of type %u at sector %lu: status %u", type, sector, status);
}

static void write_record(u32 number, u32 slots) {
  u32 sectors = SHORTEST + number % LENGTHS, *word = (u32 *)disk.requests[0].data;
  word[0] = number;
  for (u32 i = 1; i < sectors * WORDS_PER_SECTOR; i++) word[i] = number * SCRAMBLE + i;
  run(BLK_OUT, (u64)(number % slots) * SLOT_SECTORS, sectors * SECTOR_BYTES);
}

void guest_main(void) {
  bool flush = !option_given("cache") || option_is("cache", "flush"), through = option_is("cache", "through");
  bool declined = option_is("cache", "declined"), unsafe = option_is("cache", "unsafe");
  if (!flush && !through && !declined && !unsafe) usage("cache= is flush, through, declined or unsafe");
  u64 wanted = declined ? 0 : BLK_FEATURE_FLUSH | (through ? BLK_FEATURE_CONFIG_WCE : 0);
  u32 from = (u32)option_number("from", 1), count = (u32)option_number("count", 0);
  u32 slots = (u32)option_number("slots", 1024);

  blk_open(&disk, (u32)option_number("device", 0), wanted, virtio_mode_option(), 16, 1, 1, SLOT_SECTORS * SECTOR_BYTES);
  if ((disk.device.features & wanted) != wanted) usage("the disk offers 0x%lx only", disk.device.offered);
  if (slots == 0 || (u64)slots * SLOT_SECTORS > disk.sectors) usage("%u slots are not on the disk", slots);
  if (through) mmio_write8(disk.device.config + CONFIG_WRITEBACK, 0);

  print("records: from %u\n", from);
  for (u32 number = from; count == 0 || number - from < count; number++) {
    write_record(number, slots);
    if (flush) run(BLK_FLUSH, 0, 0);
    print("record %u\n", number);
  }
  print("records ok: %u\n", count);
  while (option_given("stay")) wait_for_interrupt();
}
