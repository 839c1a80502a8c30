/*
 * reset: restarts the machine. Each run prints the same first line, so that a VMM which really restarts the guest shows it
 * again and again; `count=N` makes the Nth start power off instead, counting in CMOS RAM, which survives a reset.
 *
 * Options: by=i8042 (default) | acpi | cf9 | triple; count=N.
 */
#include "runtime/cpu.h"
#include "runtime/exit.h"
#include "runtime/machine.h"
#include "runtime/power.h"
#include "runtime/print.h"
#include "runtime/start-info.h"
#include "runtime/start.h"
#include "runtime/time.h"

/* CMOS bytes that no PC firmware uses for itself; the second proves that the first is ours. */
enum { CMOS_COUNT = 0x70, CMOS_PROOF = 0x71 };

static u8 cmos_read(u8 index) {
  out8(PORT_RTC_INDEX, index);
  return in8(PORT_RTC_DATA);
}
static void cmos_write(u8 index, u8 value) {
  out8(PORT_RTC_INDEX, index);
  out8(PORT_RTC_DATA, value);
}

static u8 count_this_start(void) {
  u8 count = cmos_read(CMOS_COUNT);
  if (cmos_read(CMOS_PROOF) + count != 0xff || count == 0xff) count = 0;
  count++;
  cmos_write(CMOS_COUNT, count);
  cmos_write(CMOS_PROOF, (u8)(0xff - count));
  return count;
}

void guest_main(void) {
  u64 last = option_number("count", 0);
  if (last != 0) {
    u8 count = count_this_start();
    print("reset: start %u of %lu\n", count, last);
    if (count >= last) {
      cmos_write(CMOS_COUNT, 0);
      cmos_write(CMOS_PROOF, 0);
      exit_machine(EXIT_OK);
    }
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
