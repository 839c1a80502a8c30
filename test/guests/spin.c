/*
 * spin: prints one line and loops for ever with interrupts disabled, without a single exit. Only a signal to the vCPU
 * thread gets control back.
 */
#include "runtime/print.h"
#include "runtime/start.h"

void guest_main(void) {
  print("spin: looping\n");
  for (;;) __asm__ volatile("");
}
