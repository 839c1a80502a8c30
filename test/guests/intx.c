/*
 * intx: two virtio-pci devices on one INTx line, a disk and an entropy source, with MSI-X off (virtio 1.2 §4.1.4.5, PCI
 * Local Bus 3.0 §2.2.6, §6.2.2-3). A level line stays up while any of its devices wants it: an interrupt that nobody
 * acknowledges comes again and again, one that was masked comes when it is unmasked, and one device's acknowledgement
 * takes nothing from the other.
 *
 * Options: disk=N (0), which disk shares the line; rounds=N (50).
 */
#include "runtime/apic.h"
#include "runtime/blk.h"
#include "runtime/cpu.h"
#include "runtime/exit.h"
#include "runtime/interrupts.h"
#include "runtime/machine.h"
#include "runtime/memory.h"
#include "runtime/print.h"
#include "runtime/start-info.h"
#include "runtime/start.h"
#include "runtime/time.h"

enum { LINE_VECTOR = 0xb0, PATIENCE_MS = 5000, QUIET_US = 2000, STORM = 100, BYTES = 64 };

static struct blk disk;
static struct virtio_device rng;
static struct virtqueue entropy;
static u8 *bytes;
static volatile u32 fired, pins, disk_interrupts, rng_interrupts;
static volatile u32 unanswered; /* how many more are let go without looking at a device */
static volatile bool leave_rng; /* the entropy source is not acknowledged */

static void on_line(struct trap_frame *frame) {
  fired++;
  pins |= 1u << (frame->vector - LINE_VECTOR);
  if (unanswered > 0) unanswered--;
  else {
    if (mmio_read8(disk.device.isr) & ISR_QUEUE) disk_interrupts++;
    if (!leave_rng && mmio_read8(rng.isr) & ISR_QUEUE) rng_interrupts++;
  }
  lapic_eoi();
}

static void let_in(void) {
  enable_interrupts();
  delay_microseconds(QUIET_US);
  disable_interrupts();
}

static void await(const char *what, const volatile u32 *counter, u32 wanted) {
  u64 deadline = deadline_in(PATIENCE_MS);
  enable_interrupts();
  while (*counter < wanted) check(!expired(deadline), "%s: %u interrupts of %u", what, *counter, wanted);
  disable_interrupts();
}

static void ask_rng(void) {
  virtqueue_add(&entropy, &(struct buffer){bytes, BYTES, true}, 1);
  virtqueue_kick(&entropy);
}

/* Until the buffer is used, with interrupts off. */
static void take_rng(void) {
  u16 head;
  u32 length;
  for (u64 deadline = deadline_in(PATIENCE_MS); !virtqueue_take(&entropy, &head, &length);)
    check(!expired(deadline), "no entropy");
}

static void ask_disk(void) {
  blk_submit(&disk, &disk.requests[0], BLK_IN, 0, SECTOR_BYTES);
  virtqueue_kick(&disk.queue);
}

static void take_disk(void) {
  u16 head;
  u32 length;
  for (u64 deadline = deadline_in(PATIENCE_MS); !virtqueue_take(&disk.queue, &head, &length);)
    check(!expired(deadline), "no answer from the disk");
  disk.requests[0].in_flight = false;
  check(disk.requests[0].status == BLK_OK, "disk: status %u", disk.requests[0].status);
}

/* A line that is raised while another CPU acknowledges may rise once more for nothing; one that stays up never gets quiet. */
static void expect_quiet(const char *when) {
  u32 before = fired;
  for (u32 tries = 0; tries < 3; tries++) {
    before = fired;
    let_in();
    if (tries > 0 && fired == before) return;
  }
  check(false, "%s: %u interrupts that nobody asked for", when, fired - before);
}

static void open_devices(void) {
  blk_open(&disk, (u32)option_number("disk", 0), 0, BY_INTX, 16, 1, 1, SECTOR_BYTES);
  if (!virtio_find(&rng, VIRTIO_RNG, 0)) usage("no virtio-rng device");
  virtio_begin(&rng, 0, BY_INTX);
  virtqueue_open(&entropy, &rng, 0, 16);
  virtio_driver_ok(&rng);
  bytes = allocate(BYTES, 16);
  for (u32 pin = PCI_INTX_FIRST_GSI; pin <= PCI_INTX_LAST_GSI; pin++) {
    on_vector((u8)(LINE_VECTOR + pin), on_line);
    ioapic_route(pin, (u8)(LINE_VECTOR + pin), TRIGGER_LEVEL);
  }
}

static u32 find_shared_pin(void) {
  ask_disk();
  await("the disk alone", &disk_interrupts, 1);
  take_disk();
  u32 of_disk = pins;
  pins = 0;
  ask_rng();
  await("the entropy source alone", &rng_interrupts, 1);
  take_rng();
  if (pins != of_disk) usage("the disk's line is 0x%x, the entropy source's 0x%x: name another disk", of_disk, pins);
  u32 pin = 0;
  while ((pins >> pin & 1) == 0) pin++;
  check(pins == 1u << pin, "interrupts came on the pins 0x%x", pins);
  print("intx: both at pin %u\n", pin);
  return pin;
}

static void both_at_once(void) {
  u32 rounds = (u32)option_number("rounds", 50);
  for (u32 i = 0; i < rounds; i++) {
    u32 from_disk = disk_interrupts, from_rng = rng_interrupts;
    ask_disk();
    ask_rng();
    await("the disk beside the entropy source", &disk_interrupts, from_disk + 1);
    await("the entropy source beside the disk", &rng_interrupts, from_rng + 1);
    take_disk();
    take_rng();
  }
  expect_quiet("after all was acknowledged");
  print("intx shared: %u rounds\n", rounds);
}

/* The IOAPIC holds the interrupt back; the line stays up and is seen again when the pin is opened. */
static void masked_in_the_ioapic(u32 pin) {
  ioapic_mask(pin);
  u32 before = rng_interrupts;
  ask_rng();
  take_rng();
  let_in();
  check(rng_interrupts == before, "an interrupt through a masked pin");
  ioapic_route(pin, (u8)(LINE_VECTOR + pin), TRIGGER_LEVEL);
  await("after the pin was unmasked", &rng_interrupts, before + 1);
  expect_quiet("after the pin was unmasked");
  print("intx masked pin: held back, then delivered\n");
}

static void disabled_in_the_function(void) {
  u16 command = pci_read16(rng.function, PCI_COMMAND);
  pci_write(rng.function, PCI_COMMAND, 2, command | COMMAND_INTX_DISABLE);
  u32 before = fired;
  ask_rng();
  take_rng();
  let_in();
  check(fired == before, "an interrupt of a function that has it disabled");
  check(pci_read16(rng.function, PCI_STATUS) & STATUS_INTERRUPT, "PCI status does not show the pending interrupt");
  ask_disk(); /* the neighbour is not touched by that */
  u32 from_disk = disk_interrupts;
  leave_rng = true;
  await("the disk while its neighbour is disabled", &disk_interrupts, from_disk + 1);
  take_disk();
  leave_rng = false;
  u32 from_rng = rng_interrupts;
  pci_write(rng.function, PCI_COMMAND, 2, command);
  await("after the function was enabled", &rng_interrupts, from_rng + 1);
  check((pci_read16(rng.function, PCI_STATUS) & STATUS_INTERRUPT) == 0, "PCI status still shows an interrupt");
  expect_quiet("after the function was enabled");
  print("intx disabled function: held back, then delivered\n");
}

static void storm(void) {
  u32 before = fired;
  unanswered = STORM;
  ask_rng();
  take_rng();
  await("unanswered interrupts", &fired, before + STORM + 1);
  check(unanswered == 0, "%u unanswered interrupts are missing", unanswered);
  expect_quiet("after the storm");
  print("intx storm: %u times again until acknowledged\n", STORM);
}

static void one_acknowledged(void) {
  leave_rng = true;
  u32 from_disk = disk_interrupts, from_rng = rng_interrupts, before = fired;
  ask_rng();
  take_rng();
  ask_disk();
  await("the disk", &disk_interrupts, from_disk + 1);
  take_disk();
  await("the line that the entropy source still holds", &fired, before + STORM);
  check(disk_interrupts == from_disk + 1 && rng_interrupts == from_rng, "an interrupt was counted twice");
  leave_rng = false;
  await("the entropy source at last", &rng_interrupts, from_rng + 1);
  expect_quiet("after both were acknowledged");
  print("intx neighbours: the line stays up for the one that waits\n");
}

void guest_main(void) {
  open_devices();
  u32 pin = find_shared_pin();
  both_at_once();
  masked_in_the_ioapic(pin);
  disabled_in_the_function();
  storm();
  one_acknowledged();
  print("intx ok: %u interrupts\n", fired);
}
