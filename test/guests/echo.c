/*
 * echo: reads lines from the serial port and writes each back as "echo: LINE". Both directions run on interrupt 4 and
 * use the FIFOs: the receiver asks for an interrupt at 14 bytes or on the character timeout, the transmitter is
 * refilled with up to 16 bytes whenever it reports itself empty (16550D datasheet §8.5-8.7).
 *
 * The line "quit" ends the guest; "count" prints the numbers so far; "burst N" writes N numbered lines.
 * Options: by=ioapic (default) | pic | poll.
 */
#include "runtime/apic.h"
#include "runtime/exit.h"
#include "runtime/interrupts.h"
#include "runtime/memory.h"
#include "runtime/print.h"
#include "runtime/start-info.h"
#include "runtime/start.h"
#include "runtime/uart.h"

enum { VECTOR = 0x40, RING_BYTES = 65536, LINE_BYTES = 1024, MAX_CAUSES = 64 };

struct ring {
  u8 bytes[RING_BYTES];
  u32 head, tail;
}; /* free-running; head is where the producer writes */

static struct ring input, output;
static bool by_pic, by_poll;
static u8 enabled_interrupts;
static struct {
  u32 lines, bytes, interrupts, received, timeouts, transmitter, overruns, lost, longest_burst;
} counts;

static u32 used(const struct ring *ring) { return ring->head - ring->tail; }

static void enable_uart_interrupts(u8 bits) {
  if (bits == enabled_interrupts || by_poll) return;
  enabled_interrupts = bits;
  uart_write(UART_INTERRUPT_ENABLE, bits);
}

static void receive(void) {
  u32 burst = 0;
  for (;;) {
    u8 status = uart_read(UART_LINE_STATUS);
    if (status & LSR_OVERRUN) counts.overruns++;
    if ((status & LSR_DATA_READY) == 0) break;
    u8 byte = uart_read(UART_DATA);
    if (used(&input) == RING_BYTES) counts.lost++;
    else input.bytes[input.head++ % RING_BYTES] = byte;
    if (++burst == UART_FIFO_BYTES * 4) break; /* a host that never pauses must not keep us in here */
  }
  counts.bytes += burst;
  if (burst > counts.longest_burst) counts.longest_burst = burst;
}

/* Call only when the transmitter has said that it is empty. */
static void refill_transmitter(void) {
  for (int i = 0; i < UART_FIFO_BYTES && used(&output) > 0; i++)
    uart_write(UART_DATA, output.bytes[output.tail++ % RING_BYTES]);
  if (used(&output) == 0) enable_uart_interrupts(IER_RECEIVED | IER_LINE_STATUS);
}

static void on_uart(struct trap_frame *frame) {
  (void)frame;
  counts.interrupts++;
  for (int i = 0;; i++) {
    u8 id = uart_read(UART_INTERRUPT_ID);
    if (id & IIR_NONE) break;
    if (i == MAX_CAUSES) { /* leave, but make a new edge for what is still pending */
      uart_write(UART_INTERRUPT_ENABLE, 0);
      uart_write(UART_INTERRUPT_ENABLE, enabled_interrupts);
      break;
    }
    switch (id & IIR_CAUSE) {
      case IIR_RECEIVED:
        counts.received++;
        receive();
        break;
      case IIR_TIMEOUT:
        counts.timeouts++;
        receive();
        break;
      case IIR_TRANSMITTER_EMPTY:
        counts.transmitter++;
        refill_transmitter();
        break;
      case IIR_LINE_STATUS:
        if (uart_read(UART_LINE_STATUS) & LSR_OVERRUN) counts.overruns++;
        break;
      default: break;
    }
  }
  if (by_pic) pic_eoi(SERIAL_IRQ);
  else lapic_eoi();
}

static void poll(void) {
  receive();
  if (used(&output) > 0 && (uart_read(UART_LINE_STATUS) & LSR_TRANSMITTER_EMPTY)) refill_transmitter();
}

/* Waits until something may have changed. Called with interrupts disabled, and returns so. */
static void wait(void) {
  if (by_poll) poll();
  else wait_for_interrupt();
}

static void queue_text(const u8 *text, u32 length) {
  for (u32 i = 0; i < length; i++) {
    while (used(&output) == RING_BYTES) wait();
    output.bytes[output.head++ % RING_BYTES] = text[i];
  }
  /* Enabling the interrupt while the transmitter is empty raises it at once (datasheet §8.6.2), which starts the
     flow. */
  enable_uart_interrupts(IER_RECEIVED | IER_LINE_STATUS | IER_TRANSMITTER_EMPTY);
}

static void queue_format(const char *format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  queue_text((u8 *)text, (u32)format_text(text, sizeof text, format, arguments));
  va_end(arguments);
}

static void queue_counts(void) {
  queue_format("echo counts: lines %u bytes %u interrupts %u received %u timeouts %u transmitter %u overruns %u lost "
               "%u burst %u\n",
               counts.lines, counts.bytes, counts.interrupts, counts.received, counts.timeouts, counts.transmitter,
               counts.overruns, counts.lost, counts.longest_burst);
}

/* "burst N": lines that cost no input, to fill whatever the host keeps of output. */
static void queue_burst(const u8 *digits, u32 length) {
  u32 count = 0;
  for (u32 i = 0; i < length && digits[i] >= '0' && digits[i] <= '9' && count < 100000; i++)
    count = count * 10 + (u32)(digits[i] - '0');
  for (u32 i = 0; i < count; i++) queue_format("burst line %u\n", i);
}

static void set_up(void) {
  by_poll = option_is("by", "poll");
  by_pic = option_is("by", "pic");
  if (option_given("by") && !by_poll && !by_pic && !option_is("by", "ioapic")) usage("by= is ioapic, pic or poll");
  uart_write(UART_FIFO_CONTROL, FCR_ENABLE | FCR_CLEAR_BOTH | FCR_TRIGGER_14);
  check((uart_read(UART_INTERRUPT_ID) & IIR_FIFOS) == IIR_FIFOS, "the serial port has no FIFOs");
  if (by_poll) return;
  lapic_enable();
  if (by_pic) {
    on_vector(PIC_FIRST_VECTOR + SERIAL_IRQ, on_uart);
    lapic_write(LAPIC_LVT_LINT0, LVT_DELIVERY_EXTINT);
    pic_unmask(SERIAL_IRQ);
  } else {
    on_vector(VECTOR, on_uart);
    ioapic_route(SERIAL_IRQ, VECTOR, TRIGGER_EDGE);
  }
}

void guest_main(void) {
  set_up();
  enable_uart_interrupts(IER_RECEIVED | IER_LINE_STATUS);
  queue_format("echo ready\n");
  u8 line[LINE_BYTES];
  u32 length = 0;
  bool quit = false;
  while (!quit) {
    while (used(&input) == 0) wait();
    u8 byte = input.bytes[input.tail++ % RING_BYTES];
    if (byte != '\n' && byte != '\r') {
      if (length < LINE_BYTES) line[length++] = byte;
      continue;
    }
    if (length == 0) continue; /* the second half of CR LF, or an empty line */
    quit = length == 4 && memcmp(line, "quit", 4) == 0;
    if (length == 5 && memcmp(line, "count", 5) == 0) {
      queue_counts();
    } else if (length > 6 && memcmp(line, "burst ", 6) == 0) {
      queue_burst(line + 6, length - 6);
    } else if (!quit) {
      counts.lines++;
      queue_format("echo: ");
      queue_text(line, length);
      queue_text((const u8 *)"\n", 1);
    }
    length = 0;
  }
  queue_counts();
  queue_format("echo done\n");
  while (used(&output) > 0) wait();
}
