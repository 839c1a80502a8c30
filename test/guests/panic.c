/*
 * panic: tells the pvpanic device (QEMU docs/specs/pvpanic.rst) that the guest's system has crashed, after some last
 * words on the console, then stays halted: what happens next is the VMM's decision.
 *
 * Options: event=N writes another value than 1 (2 = crashed and kdump takes over); then=hang | reset tells nobody, as a
 * kernel without the device's driver, and stays halted or resets.
 */
#include "runtime/cpu.h"
#include "runtime/exit.h"
#include "runtime/machine.h"
#include "runtime/power.h"
#include "runtime/print.h"
#include "runtime/start-info.h"
#include "runtime/start.h"

void guest_main(void) {
  u8 events = in8(PORT_PVPANIC);
  print("panic: device offers events 0x%x\n", events);
  if (events == 0xff || events == 0) usage("no pvpanic device answers at port 0x%x", PORT_PVPANIC);
  print("Kernel panic - not syncing: as the test asked\n");
  if (option_is("then", "hang")) halt_forever();
  if (option_is("then", "reset")) reset_by_i8042();
  out8(PORT_PVPANIC, (u8)option_number("event", PVPANIC_PANICKED));
  print("panic: still running\n");
  halt_forever();
}
