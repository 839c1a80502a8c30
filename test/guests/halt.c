/*
 * halt: prints one line and sleeps for ever with interrupts enabled, as an idle operating system does. Nothing wakes
 * it: the VMM must be able to stop it, pause it and ask it for its state while it sleeps.
 */
#include "runtime/cpu.h"
#include "runtime/print.h"
#include "runtime/start.h"

void guest_main(void) {
  print("halt: sleeping\n");
  for (;;) wait_for_interrupt();
}
