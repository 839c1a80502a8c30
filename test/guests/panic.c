/*
 * panic: tells the pvpanic device (QEMU docs/specs/pvpanic.rst) that the guest's system has crashed, after some last
 * words on the console, then stays halted: what happens next is the VMM's decision.
 *
 * Options: event=N writes another value than 1 (2 = crashed and kdump takes over).
 */
#include "runtime/cpu.h"
#include "runtime/exit.h"
#include "runtime/machine.h"
#include "runtime/print.h"
#include "runtime/start-info.h"
#include "runtime/start.h"

void guest_main(void) {
  u8 events = in8(PORT_PVPANIC);
  print("panic: device offers events 0x%x\n", events);
  if (events == 0xff || events == 0) usage("no pvpanic device answers at port 0x%x", PORT_PVPANIC);
  print("Kernel panic - not syncing: as the test asked\n");
  out8(PORT_PVPANIC, (u8)option_number("event", PVPANIC_PANICKED));
  print("panic: still running\n");
  halt_forever();
}
