/* Registers of the 16550 at 0x3F8 (16550D datasheet §8), as far as guests use them. */
#ifndef GUEST_UART_H
#define GUEST_UART_H

#include "cpu.h"
#include "machine.h"

enum {
  UART_DATA = 0,
  UART_INTERRUPT_ENABLE = 1,
  UART_INTERRUPT_ID = 2, /* read */
  UART_FIFO_CONTROL = 2, /* write */
  UART_LINE_CONTROL = 3,
  UART_MODEM_CONTROL = 4,
  UART_LINE_STATUS = 5,
  UART_MODEM_STATUS = 6,
  UART_SCRATCH = 7,
};

enum { IER_RECEIVED = 1, IER_TRANSMITTER_EMPTY = 2, IER_LINE_STATUS = 4 };
enum {
  IIR_NONE = 1,
  IIR_CAUSE = 0x0f,
  IIR_TRANSMITTER_EMPTY = 2,
  IIR_RECEIVED = 4,
  IIR_LINE_STATUS = 6,
  IIR_TIMEOUT = 0xc,
  IIR_FIFOS = 0xc0
};
enum { FCR_ENABLE = 1, FCR_CLEAR_BOTH = 6, FCR_TRIGGER_14 = 0xc0 };
enum { LCR_8N1 = 3, LCR_DLAB = 0x80 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 16 };
enum { LSR_DATA_READY = 1, LSR_OVERRUN = 2, LSR_TRANSMITTER_EMPTY = 0x20, LSR_IDLE = 0x40 };
enum { UART_FIFO_BYTES = 16 };

static inline u8 uart_read(u16 reg) { return in8((u16)(PORT_SERIAL + reg)); }
static inline void uart_write(u16 reg, u8 value) { out8((u16)(PORT_SERIAL + reg), value); }

#endif
