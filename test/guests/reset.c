/*
 * reset: restarts the machine. Each run prints the same first line, so that a VMM which really restarts the guest
 * shows it again and again; `count=N` makes the Nth start end with success instead. Starts are counted in CMOS RAM,
 * which survives a reset of a PC, or with `store=disk` in the last sector of the first virtio disk, for a VMM that
 * makes all its devices anew.
 *
 * Options: by=i8042 (default) | acpi | cf9 | triple; count=N; store=cmos (default) | disk.
 */
#include "runtime/blk.h"
#include "runtime/cpu.h"
#include "runtime/exit.h"
#include "runtime/machine.h"
#include "runtime/power.h"
#include "runtime/print.h"
#include "runtime/start-info.h"
#include "runtime/start.h"
#include "runtime/time.h"

/* CMOS bytes that no PC firmware uses for itself; the second proves that the first is ours. */
enum { CMOS_COUNT = 0x70, CMOS_PROOF = 0x71, MAX_COUNT = 200 };
#define DISK_PROOF 0x7465736572206f6eul

static u8 cmos_read(u8 index) {
  out8(PORT_RTC_INDEX, index);
  return in8(PORT_RTC_DATA);
}
static void cmos_write(u8 index, u8 value) {
  out8(PORT_RTC_INDEX, index);
  out8(PORT_RTC_DATA, value);
}

static u8 next_by_cmos(u64 last) {
  u8 count = cmos_read(CMOS_COUNT);
  if (cmos_read(CMOS_PROOF) + count != 0xff || count >= last) count = 0;
  count++;
  cmos_write(CMOS_COUNT, count);
  cmos_write(CMOS_PROOF, (u8)(0xff - count));
  return count;
}

static u8 next_by_disk(u64 last) {
  static struct blk disk;
  blk_open(&disk, 0, 0, BY_POLLING, 8, 1, 1, SECTOR_BYTES);
  u64 sector = disk.sectors - 1, *words = (u64 *)disk.requests[0].data;
  check(blk_run(&disk, BLK_IN, sector, SECTOR_BYTES) == BLK_OK, "cannot read sector %lu", sector);
  if (words[0] != DISK_PROOF || words[1] >= last) words[1] = 0;
  words[0] = DISK_PROOF;
  u8 count = (u8)++words[1];
  check(blk_run(&disk, BLK_OUT, sector, SECTOR_BYTES) == BLK_OK, "cannot write sector %lu", sector);
  virtio_reset(&disk.device);
  return count;
}

void guest_main(void) {
  u64 last = option_number("count", 0);
  if (last > MAX_COUNT) usage("count is at most %u", MAX_COUNT);
  if (last != 0) {
    u8 count = option_is("store", "disk") ? next_by_disk(last) : next_by_cmos(last);
    print("reset: start %u of %lu\n", count, last);
    if (count == last) return;
  } else {
    print("reset: resetting\n");
  }
  if (!option_given("by") || option_is("by", "i8042")) reset_by_i8042();
  else if (option_is("by", "acpi")) check(reset_by_acpi(), "the ACPI tables name no reset register");
  else if (option_is("by", "cf9")) reset_by_reset_control();
  else if (option_is("by", "triple")) triple_fault();
  else usage("by= is i8042, acpi, cf9 or triple");
  delay_microseconds(1000000);
  fail("still running a second after the reset");
}
