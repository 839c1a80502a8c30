/* Intel SDM vol. 3 chapter 10 (local APIC), 82093AA (IOAPIC), 8259A. */
#include "apic.h"
#include "cpu.h"
#include "exit.h"
#include "interrupts.h"
#include "machine.h"

enum { SPURIOUS_ENABLE = 1 << 8, ICR_PENDING = 1 << 12, MAX_POLLS = 1000000 };
enum { IOAPIC_SELECT = 0x00, IOAPIC_WINDOW = 0x10, IOAPIC_REG_VERSION = 1, IOAPIC_REG_REDIRECTION = 0x10 };
enum { REDIRECTION_LEVEL = 1 << 15, REDIRECTION_MASKED = 1 << 16 };
enum { ICW1_INIT_ICW4 = 0x11, ICW3_PRIMARY = 1 << 2, ICW3_SECONDARY = 2, ICW4_8086 = 1, OCW2_EOI = 0x20 };

u32 lapic_read(u32 reg) { return mmio_read32(LAPIC_BASE + reg); }
void lapic_write(u32 reg, u32 value) { mmio_write32(LAPIC_BASE + reg, value); }
u32 lapic_id(void) { return lapic_read(LAPIC_ID) >> 24; }
void lapic_eoi(void) { lapic_write(LAPIC_EOI, 0); }
void lapic_enable(void) { lapic_write(LAPIC_SPURIOUS, SPURIOUS_ENABLE | SPURIOUS_VECTOR); }

void lapic_send(u32 apic_id, u32 command) {
  lapic_write(LAPIC_ICR_HIGH, apic_id << 24);
  lapic_write(LAPIC_ICR_LOW, command);
  for (int polls = 0; lapic_read(LAPIC_ICR_LOW) & ICR_PENDING; polls++) {
    check(polls < MAX_POLLS, "interrupt command 0x%x to CPU %u stays pending", command, apic_id);
    cpu_relax();
  }
}

static u32 ioapic_read(u32 reg) {
  mmio_write32(IOAPIC_BASE + IOAPIC_SELECT, reg);
  return mmio_read32(IOAPIC_BASE + IOAPIC_WINDOW);
}
static void ioapic_write(u32 reg, u32 value) {
  mmio_write32(IOAPIC_BASE + IOAPIC_SELECT, reg);
  mmio_write32(IOAPIC_BASE + IOAPIC_WINDOW, value);
}

u32 ioapic_pin_count(void) { return (ioapic_read(IOAPIC_REG_VERSION) >> 16 & 0xff) + 1; }

void ioapic_route(u32 pin, u8 vector, int trigger) {
  ioapic_write(IOAPIC_REG_REDIRECTION + 2 * pin + 1, lapic_id() << 24);
  ioapic_write(IOAPIC_REG_REDIRECTION + 2 * pin, vector | (trigger == TRIGGER_LEVEL ? REDIRECTION_LEVEL : 0));
}
void ioapic_mask(u32 pin) {
  u32 entry = ioapic_read(IOAPIC_REG_REDIRECTION + 2 * pin);
  ioapic_write(IOAPIC_REG_REDIRECTION + 2 * pin, entry | REDIRECTION_MASKED);
}

void pic_mask_all(void) {
  out8(PORT_PIC1_DATA, 0xff);
  out8(PORT_PIC2_DATA, 0xff);
}

void pic_init(void) {
  out8(PORT_PIC1_COMMAND, ICW1_INIT_ICW4);
  out8(PORT_PIC2_COMMAND, ICW1_INIT_ICW4);
  out8(PORT_PIC1_DATA, PIC_FIRST_VECTOR);
  out8(PORT_PIC2_DATA, PIC_FIRST_VECTOR + 8);
  out8(PORT_PIC1_DATA, ICW3_PRIMARY);
  out8(PORT_PIC2_DATA, ICW3_SECONDARY);
  out8(PORT_PIC1_DATA, ICW4_8086);
  out8(PORT_PIC2_DATA, ICW4_8086);
  pic_mask_all();
}

void pic_unmask(u32 irq) {
  if (irq >= 8) {
    out8(PORT_PIC2_DATA, in8(PORT_PIC2_DATA) & (u8) ~(1 << (irq - 8)));
    irq = 2; /* the cascade */
  }
  out8(PORT_PIC1_DATA, in8(PORT_PIC1_DATA) & (u8) ~(1 << irq));
}

void pic_eoi(u32 irq) {
  if (irq >= 8) out8(PORT_PIC2_COMMAND, OCW2_EOI);
  out8(PORT_PIC1_COMMAND, OCW2_EOI);
}
