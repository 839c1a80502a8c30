/* Device discovery, status and features: virtio 1.2 §3.1.1, §4.1.4, §4.2.2. Interrupts are in virtio-interrupts.c. */
#include "virtio.h"
#include "cpu.h"
#include "exit.h"
#include "machine.h"
#include "memory.h"
#include "time.h"
#include "virtio-interrupts.h"

/* struct virtio_pci_cap (§4.1.4). */
enum { CAP_TYPE = 3, CAP_BAR = 4, CAP_OFFSET = 8, CAP_LENGTH = 12, CAP_NOTIFY_MULTIPLIER = 16 };
enum { TYPE_COMMON = 1, TYPE_NOTIFY = 2, TYPE_ISR = 3, TYPE_DEVICE = 4, TYPE_PCI_ACCESS = 5 };
enum { RESET_PATIENCE_MS = 5000, MAX_CAPABILITIES = 48 };

static void find_structures(struct virtio_device *d) {
  u8 at = pci_next_capability(d->function, 0);
  for (int i = 0; at != 0; i++, at = pci_next_capability(d->function, at)) {
    check(i < MAX_CAPABILITIES, "the capability list loops");
    if (pci_read8(d->function, at) != CAPABILITY_VENDOR) continue;
    u8 type = pci_read8(d->function, at + CAP_TYPE);
    if (type == 0 || type >= TYPE_PCI_ACCESS) continue;
    u32 offset = pci_read32(d->function, at + CAP_OFFSET), length = pci_read32(d->function, at + CAP_LENGTH);
    struct pci_bar bar;
    check(pci_read_bar(d->function, pci_read8(d->function, at + CAP_BAR), &bar), "virtio structure %u in a missing BAR",
          type);
    check((u64)offset + length <= bar.size && !bar.io, "virtio structure %u exceeds its BAR", type);
    if (bar.address == 0) {
      pci_place_bars(d->function);
      check(pci_read_bar(d->function, pci_read8(d->function, at + CAP_BAR), &bar) && bar.address != 0,
            "virtio structure %u in a BAR without an address", type);
    }
    u64 address = bar.address + offset;
    map_physical(address, length);
    if (type == TYPE_COMMON) {
      check(length >= COMMON_BYTES, "common configuration of %u bytes", length);
      d->common = address;
    }
    if (type == TYPE_NOTIFY) {
      d->notify = address;
      d->notify_bytes = length;
      d->notify_multiplier = pci_read32(d->function, at + CAP_NOTIFY_MULTIPLIER);
    }
    if (type == TYPE_ISR) d->isr = address;
    if (type == TYPE_DEVICE) d->config = address, d->config_bytes = length;
  }
  check(d->common != 0 && d->notify != 0 && d->isr != 0, "a virtio structure is missing");
}

static bool find_mmio(struct virtio_device *d, u32 type, u32 index, const struct virtio_mmio_place *places, u32 count) {
  for (u32 i = 0; i < count; i++) {
    u64 at = places[i].registers;
    check(mmio_read32(at + MMIO_MAGIC) == MMIO_MAGIC_VALUE, "no virtio-mmio device at 0x%lx", at);
    if (mmio_read32(at + MMIO_DEVICE_ID) != type || index-- != 0) continue;
    check(mmio_read32(at + MMIO_VERSION) == 2, "virtio-mmio version %u", mmio_read32(at + MMIO_VERSION));
    *d = (struct virtio_device){
        .registers = at,
        .line = places[i].line,
        .level = places[i].level,
        .type = type,
        .config = at + MMIO_CONFIG,
        .config_bytes = places[i].bytes - MMIO_CONFIG,
    };
    return true;
  }
  return false;
}

bool virtio_find(struct virtio_device *d, u32 type, u32 index) {
  static struct virtio_mmio_place places[MMIO_MAX_DEVICES];
  static u32 place_count;
  if (place_count == 0) place_count = virtio_mmio_places(places);
  if (place_count != 0) return find_mmio(d, type, index, places, place_count);
  /* Looked for once: that takes hundreds of accesses. */
  static pci_function functions[PCI_MAX_FUNCTIONS];
  static u32 count;
  if (count == 0) count = pci_scan(functions);
  for (u32 i = 0; i < count; i++) {
    if (pci_read32(functions[i], PCI_VENDOR) != (VIRTIO_VENDOR | (VIRTIO_FIRST_DEVICE + type) << 16)) continue;
    if (index-- != 0) continue;
    *d = (struct virtio_device){.function = functions[i], .type = type};
    u16 command = pci_read16(functions[i], PCI_COMMAND);
    pci_write(functions[i], PCI_COMMAND, 2, command | COMMAND_MEMORY | COMMAND_MASTER);
    find_structures(d);
    return true;
  }
  return false;
}

struct register_place {
  u16 offset;
  u8 bytes;
};
static const struct register_place pci_registers[VIRTIO_REGISTERS] = {
    [VIRTIO_DEVICE_FEATURE_SELECT] = {COMMON_DEVICE_FEATURE_SELECT, 4},
    [VIRTIO_DEVICE_FEATURE] = {COMMON_DEVICE_FEATURE, 4},
    [VIRTIO_DRIVER_FEATURE_SELECT] = {COMMON_DRIVER_FEATURE_SELECT, 4},
    [VIRTIO_DRIVER_FEATURE] = {COMMON_DRIVER_FEATURE, 4},
    [VIRTIO_STATUS] = {COMMON_STATUS, 1},
    [VIRTIO_GENERATION] = {COMMON_CONFIG_GENERATION, 1},
    [VIRTIO_QUEUE_SELECT] = {COMMON_QUEUE_SELECT, 2},
    [VIRTIO_QUEUE_SIZE_MAX] = {COMMON_QUEUE_SIZE, 2},
    [VIRTIO_QUEUE_SIZE] = {COMMON_QUEUE_SIZE, 2},
    [VIRTIO_QUEUE_ENABLE] = {COMMON_QUEUE_ENABLE, 2},
    [VIRTIO_QUEUE_DESCRIPTORS] = {COMMON_QUEUE_DESCRIPTORS, 4},
    [VIRTIO_QUEUE_DRIVER] = {COMMON_QUEUE_DRIVER, 4},
    [VIRTIO_QUEUE_DEVICE] = {COMMON_QUEUE_DEVICE, 4},
    [VIRTIO_CONFIG_VECTOR] = {COMMON_CONFIG_VECTOR, 2},
    [VIRTIO_QUEUE_VECTOR] = {COMMON_QUEUE_VECTOR, 2},
};
static const struct register_place mmio_registers[VIRTIO_REGISTERS] = {
    [VIRTIO_DEVICE_FEATURE_SELECT] = {MMIO_DEVICE_FEATURES_SELECT, 4},
    [VIRTIO_DEVICE_FEATURE] = {MMIO_DEVICE_FEATURES, 4},
    [VIRTIO_DRIVER_FEATURE_SELECT] = {MMIO_DRIVER_FEATURES_SELECT, 4},
    [VIRTIO_DRIVER_FEATURE] = {MMIO_DRIVER_FEATURES, 4},
    [VIRTIO_STATUS] = {MMIO_STATUS, 4},
    [VIRTIO_GENERATION] = {MMIO_CONFIG_GENERATION, 4},
    [VIRTIO_QUEUE_SELECT] = {MMIO_QUEUE_SELECT, 4},
    [VIRTIO_QUEUE_SIZE_MAX] = {MMIO_QUEUE_SIZE_MAX, 4},
    [VIRTIO_QUEUE_SIZE] = {MMIO_QUEUE_SIZE, 4},
    [VIRTIO_QUEUE_ENABLE] = {MMIO_QUEUE_READY, 4},
    [VIRTIO_QUEUE_DESCRIPTORS] = {MMIO_QUEUE_DESCRIPTORS, 4},
    [VIRTIO_QUEUE_DRIVER] = {MMIO_QUEUE_DRIVER, 4},
    [VIRTIO_QUEUE_DEVICE] = {MMIO_QUEUE_DEVICE, 4},
};

u64 virtio_register_address(const struct virtio_device *d, enum virtio_register reg) {
  if (d->registers == 0) return d->common + pci_registers[reg].offset;
  return mmio_registers[reg].bytes == 0 ? 0 : d->registers + mmio_registers[reg].offset;
}

u32 virtio_read(const struct virtio_device *d, enum virtio_register reg) {
  u64 at = virtio_register_address(d, reg);
  u8 bytes = d->registers != 0 ? 4 : pci_registers[reg].bytes;
  return bytes == 1 ? mmio_read8(at) : bytes == 2 ? mmio_read16(at) : mmio_read32(at);
}

void virtio_write(const struct virtio_device *d, enum virtio_register reg, u32 value) {
  u64 at = virtio_register_address(d, reg);
  u8 bytes = d->registers != 0 ? 4 : pci_registers[reg].bytes;
  if (bytes == 1) mmio_write8(at, (u8)value);
  else if (bytes == 2) mmio_write16(at, (u16)value);
  else mmio_write32(at, value);
}

/* 64-bit fields are written as two halves, which every device must take (§4.1.3.1). */
void virtio_write_address(const struct virtio_device *d, enum virtio_register reg, u64 value) {
  u64 at = virtio_register_address(d, reg);
  mmio_write32(at, (u32)value);
  mmio_write32(at + 4, (u32)(value >> 32));
}

u8 virtio_status(const struct virtio_device *d) { return (u8)virtio_read(d, VIRTIO_STATUS); }
void virtio_set_status(const struct virtio_device *d, u8 status) { virtio_write(d, VIRTIO_STATUS, status); }
u32 virtio_generation(const struct virtio_device *d) { return virtio_read(d, VIRTIO_GENERATION); }
void virtio_select_queue(const struct virtio_device *d, u16 index) { virtio_write(d, VIRTIO_QUEUE_SELECT, index); }

u64 virtio_notify_address(const struct virtio_device *d) {
  if (d->registers != 0) return d->registers + MMIO_QUEUE_NOTIFY;
  return d->notify + (u64)mmio_read16(d->common + COMMON_QUEUE_NOTIFY_OFFSET) * d->notify_multiplier;
}

u64 virtio_offered_features(const struct virtio_device *d) {
  virtio_write(d, VIRTIO_DEVICE_FEATURE_SELECT, 0);
  u64 low = virtio_read(d, VIRTIO_DEVICE_FEATURE);
  virtio_write(d, VIRTIO_DEVICE_FEATURE_SELECT, 1);
  return low | (u64)virtio_read(d, VIRTIO_DEVICE_FEATURE) << 32;
}

static void accept_features(const struct virtio_device *d) {
  for (u32 word = 0; word < 2; word++) {
    virtio_write(d, VIRTIO_DRIVER_FEATURE_SELECT, word);
    virtio_write(d, VIRTIO_DRIVER_FEATURE, (u32)(d->features >> (32 * word)));
  }
}

/* Over PCI a device may take its time: the driver waits until status reads 0 (§4.1.4.3.2). Over MMIO no driver looks: the
   reset is over when the write is. */
void virtio_reset(struct virtio_device *d) {
  virtio_set_status(d, 0);
  if (d->registers != 0) {
    check(virtio_status(d) == 0, "the device goes on after its reset");
    return;
  }
  u64 deadline = deadline_in(RESET_PATIENCE_MS);
  while (virtio_status(d) != 0) check(!expired(deadline), "the device does not finish its reset");
}

void virtio_begin(struct virtio_device *d, u64 wanted, enum interrupt_mode mode) {
  virtio_reset(d);
  virtio_set_status(d, STATUS_ACKNOWLEDGE);
  virtio_set_status(d, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
  d->offered = virtio_offered_features(d);
  check(d->offered & FEATURE_VERSION_1, "the device does not offer VERSION_1 but 0x%lx", d->offered);
  d->features = (d->offered & wanted) | FEATURE_VERSION_1;
  accept_features(d);
  virtio_set_status(d, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
  check(virtio_status(d) & STATUS_FEATURES_OK, "the device refuses the features 0x%lx", d->features);
  virtio_interrupts_begin(d, mode);
}

void virtio_driver_ok(struct virtio_device *d) {
  virtio_set_status(d, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
}
