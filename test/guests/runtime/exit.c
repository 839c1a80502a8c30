/* Ending the machine; see machine.h for what the values mean. */
#include "exit.h"
#include "cpu.h"
#include "machine.h"
#include "print.h"
#include "user.h"

void halt_forever(void) {
  for (;;) {
    disable_interrupts();
    halt();
  }
}

void exit_machine(u8 value) {
  out8(PORT_DEBUG_EXIT, value);
  out8(PORT_I8042_COMMAND, I8042_PULSE_RESET);
  halt_forever();
}

static __attribute__((noreturn)) void end_with(const char *label, u8 value, const char *format, va_list arguments) {
  user_end();
  print("%s: ", label);
  print_list(format, arguments);
  print("\n");
  exit_machine(value);
}

void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  end_with("FAIL", EXIT_CHECK_FAILED, format, arguments);
}

void usage(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  end_with("usage", EXIT_USAGE, format, arguments);
}
