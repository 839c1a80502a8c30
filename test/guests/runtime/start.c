/* From boot.S to the guest's own guest_main(); a guest that returns has succeeded. */
#include "start.h"
#include "apic.h"
#include "exit.h"
#include "interrupts.h"
#include "machine.h"
#include "print.h"
#include "start-info.h"

void runtime_start(u64 start_info_address);

void runtime_start(u64 start_info_address) {
  serial_init();
  start_info_init(start_info_address);
  interrupts_init();
  pic_init(); /* firmware leaves its timer interrupt on, at a vector that is an exception's */
  guest_main();
  exit_machine(EXIT_OK);
}
