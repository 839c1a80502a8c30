/* Serial output: a small printf. Lines of several CPUs are kept apart by print_lock()/print_unlock(). */
#ifndef GUEST_PRINT_H
#define GUEST_PRINT_H

#include <stdarg.h>
#include "types.h"

/* 8 data bits, no parity, FIFOs on and cleared, interrupts off. Called at start and after tests that upset the port. */
void serial_init(void);
void serial_write(const char *bytes, size_t count);

/* %s %c %d %u %x with an optional zero-filled or blank-filled width and an l or ll for 64 bits, and %%. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
void print_list(const char *format, va_list arguments);
size_t format_text(char *into, size_t size, const char *format, va_list arguments);

void print_lock(void);
void print_unlock(void);

#endif
