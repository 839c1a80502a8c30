/*
 * MSI-X (virtio 1.2 §4.1.4.3, §4.1.5.1.2), INTx (§4.1.4.5) and the edges of virtio-mmio (§4.2.3.4). Which IOAPIC pin a
 * function's INTx arrives at is in AML, which this runtime does not interpret; so all PCI pins are routed here and the one
 * that fires is remembered.
 */
#include "virtio-interrupts.h"
#include "apic.h"
#include "cpu.h"
#include "exit.h"
#include "interrupts.h"
#include "machine.h"
#include "start-info.h"
#include "time.h"

enum {
  FIRST_MSIX_VECTOR = 0x60,
  VECTORS_PER_DEVICE = 1 + VIRTIO_MAX_QUEUES,
  FIRST_INTX_VECTOR = 0xe0,
  SHORT_SETTLE_MS = 2,
  LONG_SETTLE_MS = 2000
};

static struct virtio_device *devices[VIRTIO_MAX_DEVICES];
static u32 device_count;

enum interrupt_mode virtio_mode_option(void) {
  if (!option_given("by") || option_is("by", "msix")) return BY_MSIX;
  if (option_is("by", "intx")) return BY_INTX;
  if (option_is("by", "poll")) return BY_POLLING;
  usage("by= is msix, intx or poll");
}

void virtio_settle(const struct virtio_device *d, const volatile u32 *counter) {
  u64 deadline = deadline_in(d->mode == BY_POLLING ? SHORT_SETTLE_MS : LONG_SETTLE_MS);
  enable_interrupts();
  while (*counter == 0 && !expired(deadline)) cpu_relax();
  disable_interrupts();
}

static void on_msix(struct trap_frame *frame) {
  u32 n = (u32)frame->vector - FIRST_MSIX_VECTOR;
  devices[n / VECTORS_PER_DEVICE]->interrupts[n % VECTORS_PER_DEVICE]++;
  lapic_eoi();
}

static void on_intx(struct trap_frame *frame) {
  for (u32 i = 0; i < device_count; i++) {
    struct virtio_device *d = devices[i];
    if (d->mode != BY_INTX) continue;
    u8 isr = mmio_read8(d->isr); /* reading acknowledges and lowers the line */
    if (isr == 0) d->spurious++;
    else d->intx_pin = (u32)frame->vector - FIRST_INTX_VECTOR;
    if (isr & ISR_CONFIG) d->interrupts[0]++;
    if (isr & ISR_QUEUE) d->interrupts[1]++;
  }
  lapic_eoi();
}

/* Acknowledged before the queues are looked at, as Linux does: what comes in between sets the bit again. */
static void on_edge(struct trap_frame *frame) {
  for (u32 i = 0; i < device_count; i++) {
    struct virtio_device *d = devices[i];
    if (d->mode != BY_EDGE || d->line != frame->vector - FIRST_INTX_VECTOR) continue;
    u32 status = mmio_read32(d->registers + MMIO_INTERRUPT_STATUS);
    mmio_write32(d->registers + MMIO_INTERRUPT_ACK, status);
    if (status == 0) d->spurious++;
    d->intx_pin = d->line;
    if (status & ISR_CONFIG) d->interrupts[0]++;
    if (status & ISR_QUEUE) d->interrupts[1]++;
  }
  lapic_eoi();
}

static u32 slot_of(struct virtio_device *d) {
  for (u32 i = 0; i < device_count; i++)
    if (devices[i] == d) return i;
  check(device_count < VIRTIO_MAX_DEVICES, "more than %u virtio devices", VIRTIO_MAX_DEVICES);
  devices[device_count] = d;
  return device_count++;
}

static void begin_msix(struct virtio_device *d) {
  check(msix_open(d->function, &d->msix), "the device has no MSI-X capability");
  d->first_vector = (u8)(FIRST_MSIX_VECTOR + slot_of(d) * VECTORS_PER_DEVICE);
  msix_enable(&d->msix, true, true);
  for (u32 i = 0; i < VECTORS_PER_DEVICE && i < d->msix.count; i++) {
    on_vector((u8)(d->first_vector + i), on_msix);
    msix_program(&d->msix, i, (u8)(d->first_vector + i));
  }
  msix_enable(&d->msix, true, false);
  mmio_write16(d->common + COMMON_CONFIG_VECTOR, 0);
  check(mmio_read16(d->common + COMMON_CONFIG_VECTOR) == 0, "the device refuses a vector for configuration changes");
}

static void begin_intx(struct virtio_device *d) {
  slot_of(d);
  for (u32 pin = PCI_INTX_FIRST_GSI; pin <= PCI_INTX_LAST_GSI; pin++) {
    on_vector((u8)(FIRST_INTX_VECTOR + pin), on_intx);
    ioapic_route(pin, (u8)(FIRST_INTX_VECTOR + pin), TRIGGER_LEVEL);
  }
}

static void begin_edge(struct virtio_device *d) {
  check(d->line < IOAPIC_PINS, "interrupt line %u", d->line);
  slot_of(d);
  on_vector((u8)(FIRST_INTX_VECTOR + d->line), on_edge);
  ioapic_route(d->line, (u8)(FIRST_INTX_VECTOR + d->line), d->level ? TRIGGER_LEVEL : TRIGGER_EDGE);
}

void virtio_interrupts_begin(struct virtio_device *d, enum interrupt_mode mode) {
  d->mode = mode;
  lapic_enable();
  if (d->registers != 0) {
    if (mode == BY_POLLING) return;
    d->mode = BY_EDGE;
    begin_edge(d);
    return;
  }
  /* Looked for once: that takes a hundred accesses. */
  if (mode != BY_MSIX && (d->msix.count != 0 || msix_open(d->function, &d->msix))) msix_enable(&d->msix, false, false);
  u16 command = pci_read16(d->function, PCI_COMMAND) & (u16)~COMMAND_INTX_DISABLE;
  pci_write(d->function, PCI_COMMAND, 2, mode == BY_INTX ? command : command | COMMAND_INTX_DISABLE);
  if (mode == BY_MSIX) begin_msix(d);
  if (mode == BY_INTX) begin_intx(d);
}

u32 virtio_queue_vector(struct virtio_device *d, u16 queue) {
  if (d->mode != BY_MSIX) return 1;
  u16 entry = (u16)(1 + queue);
  if (entry >= d->msix.count) entry = (u16)(d->msix.count - 1); /* share the last one */
  mmio_write16(d->common + COMMON_QUEUE_VECTOR, entry);
  check(mmio_read16(d->common + COMMON_QUEUE_VECTOR) == entry, "the device refuses vector %u for queue %u", entry,
        queue);
  return entry;
}
