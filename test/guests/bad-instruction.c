/*
 * bad-instruction: makes KVM give up with KVM_EXIT_INTERNAL_ERROR, by an access to device memory with an instruction
 * that its emulator does not know: an x87 load of 80 bits. A VMM without such limits (QEMU's TCG) just executes it.
 */
#include "runtime/cpu.h"
#include "runtime/exit.h"
#include "runtime/machine.h"
#include "runtime/print.h"
#include "runtime/start.h"

void guest_main(void) {
  print("bad-instruction: executing\n");
  __asm__ volatile("clts\n\tfldt (%0)" ::"r"(DEVICE_HOLE_START + 0x10000000ul));
  print("bad-instruction: executed\n");
}
