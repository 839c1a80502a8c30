/* The ways a guest ends, and the checks that end it early. */
#ifndef GUEST_EXIT_H
#define GUEST_EXIT_H

#include "types.h"

/* Through the debug exit port, else by an i8042 reset, else halted. */
__attribute__((noreturn)) void exit_machine(u8 value);

/* Prints "FAIL: ..." and ends with EXIT_CHECK_FAILED. */
__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...);
/* Prints "usage: ..." and ends with EXIT_USAGE: an option is wrong, or the machine lacks the device asked for. */
__attribute__((noreturn, format(printf, 1, 2))) void usage(const char *format, ...);

#define check(condition, ...)                                                                                          \
  do {                                                                                                                 \
    if (!(condition)) fail(__VA_ARGS__);                                                                               \
  } while (0)

__attribute__((noreturn)) void halt_forever(void);

#endif
