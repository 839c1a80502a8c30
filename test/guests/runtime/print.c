/*
 * Serial output on the 16550 at 0x3F8, by polling. A full FIFO of 16 bytes is written each time the transmitter
 * reports itself empty (16550D datasheet §8.4), so that a character costs little more than one exit.
 */
#include "print.h"
#include "uart.h"

enum { MAX_POLLS = 1000000 };

static int room; /* bytes that still fit in the transmit FIFO */
static volatile u8 lock;

void serial_init(void) {
  uart_write(UART_LINE_CONTROL, LCR_8N1);
  uart_write(UART_INTERRUPT_ENABLE, 0);
  uart_write(UART_FIFO_CONTROL, FCR_ENABLE | FCR_CLEAR_BOTH);
  uart_write(UART_MODEM_CONTROL, MCR_DTR | MCR_RTS | MCR_OUT2);
  room = 0;
}

void serial_write(const char *bytes, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (room == 0) {
      for (int polls = 0; polls < MAX_POLLS; polls++) {
        if (uart_read(UART_LINE_STATUS) & LSR_TRANSMITTER_EMPTY) break;
        cpu_relax();
      }
      room = UART_FIFO_BYTES;
    }
    uart_write(UART_DATA, (u8)bytes[i]);
    room--;
  }
}

struct sink {
  char *into;
  size_t size, used;
};

static void put(struct sink *sink, char c) {
  if (sink->used < sink->size) sink->into[sink->used++] = c;
}

static void put_number(struct sink *sink, u64 value, unsigned base, bool negative, int width, char fill) {
  char digits[24];
  int count = 0;
  do {
    digits[count++] = "0123456789abcdef"[value % base];
    value /= base;
  } while (value != 0);
  if (negative) digits[count++] = '-';
  for (int i = count; i < width; i++) put(sink, fill);
  while (count > 0) put(sink, digits[--count]);
}

size_t format_text(char *into, size_t size, const char *f, va_list arguments) {
  struct sink sink = {into, size, 0};
  for (; *f != 0; f++) {
    if (*f != '%') {
      put(&sink, *f);
      continue;
    }
    f++;
    char fill = ' ';
    int width = 0, longs = 0;
    if (*f == '0') fill = *f++;
    while (*f >= '0' && *f <= '9') width = width * 10 + (*f++ - '0');
    while (*f == 'l') longs++, f++;
    switch (*f) {
      case 's': {
        const char *s = va_arg(arguments, const char *);
        while (*s != 0) put(&sink, *s++);
        break;
      }
      case 'c': put(&sink, (char)va_arg(arguments, int)); break;
      case 'd': {
        int64_t v = longs ? va_arg(arguments, int64_t) : va_arg(arguments, int);
        put_number(&sink, v < 0 ? 0 - (u64)v : (u64)v, 10, v < 0, width, fill);
        break;
      }
      case 'u':
      case 'x': {
        u64 v = longs ? va_arg(arguments, u64) : va_arg(arguments, u32);
        put_number(&sink, v, *f == 'u' ? 10 : 16, false, width, fill);
        break;
      }
      case 0: return sink.used;
      default: put(&sink, *f);
    }
  }
  return sink.used;
}

void print_list(const char *format, va_list arguments) {
  char text[512];
  serial_write(text, format_text(text, sizeof text, format, arguments));
}

void print(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  print_list(format, arguments);
  va_end(arguments);
}

void print_lock(void) {
  while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE) != 0) cpu_relax();
}

void print_unlock(void) { __atomic_store_n(&lock, 0, __ATOMIC_RELEASE); }
