/* Interrupt controllers: the local APIC in xAPIC mode, the IOAPIC, and the two 8259 PICs. */
#ifndef GUEST_APIC_H
#define GUEST_APIC_H

#include "types.h"

enum {
  LAPIC_ID = 0x20,
  LAPIC_VERSION = 0x30,
  LAPIC_EOI = 0xb0,
  LAPIC_SPURIOUS = 0xf0,
  LAPIC_ICR_LOW = 0x300,
  LAPIC_ICR_HIGH = 0x310,
  LAPIC_LVT_TIMER = 0x320,
  LAPIC_LVT_LINT0 = 0x350,
  LAPIC_TIMER_INITIAL = 0x380,
  LAPIC_TIMER_CURRENT = 0x390,
  LAPIC_TIMER_DIVIDE = 0x3e0,
};

enum {
  LVT_DELIVERY_EXTINT = 7 << 8,
  LVT_MASKED = 1 << 16,
  LVT_TIMER_PERIODIC = 1 << 17,
  LVT_TIMER_TSC_DEADLINE = 2 << 17,
  TIMER_DIVIDE_BY_16 = 3
};
enum {
  ICR_FIXED = 0 << 8,
  ICR_INIT = 5 << 8,
  ICR_STARTUP = 6 << 8,
  ICR_LEVEL_ASSERT = 1 << 14,
  ICR_ALL_BUT_SELF = 3 << 18
};

u32 lapic_read(u32 reg);
void lapic_write(u32 reg, u32 value);
u32 lapic_id(void);
/* Software-enables this CPU's LAPIC (Intel SDM vol. 3 §10.4.7.2). */
void lapic_enable(void);
void lapic_eoi(void);
/* Writes the interrupt command register and waits until it is accepted. */
void lapic_send(u32 apic_id, u32 command);

enum { TRIGGER_EDGE = 0, TRIGGER_LEVEL = 1 };
/* Delivers IOAPIC pin `pin` to the calling CPU as `vector`, unmasked. */
void ioapic_route(u32 pin, u8 vector, int trigger);
void ioapic_mask(u32 pin);
u32 ioapic_pin_count(void);

/* Moves the PICs to vectors 0x20-0x2F with every line masked. */
void pic_init(void);
void pic_unmask(u32 irq);
void pic_mask_all(void);
void pic_eoi(u32 irq);
enum { PIC_FIRST_VECTOR = 0x20 };

#endif
