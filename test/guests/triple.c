/* triple: an exception with no IDT to deliver it, nor the double fault that follows (Intel SDM vol. 3 §6.15, #DF). */
#include "runtime/print.h"
#include "runtime/exit.h"
#include "runtime/power.h"
#include "runtime/start.h"

void guest_main(void) {
  print("triple: faulting\n");
  triple_fault();
}
