/* A driver for virtio, over PCI (modern interface only, virtio 1.2 §4.1) or MMIO (§4.2). */
#ifndef GUEST_VIRTIO_H
#define GUEST_VIRTIO_H

#include "pci.h"
#include "cpu.h"
#include "virtio-mmio.h"
#include "types.h"

enum { VIRTIO_VENDOR = 0x1af4, VIRTIO_FIRST_DEVICE = 0x1040 };
enum { VIRTIO_NET = 1, VIRTIO_BLK = 2, VIRTIO_CONSOLE = 3, VIRTIO_RNG = 4 };

/* Device status (§2.1). */
enum {
  STATUS_ACKNOWLEDGE = 1,
  STATUS_DRIVER = 2,
  STATUS_DRIVER_OK = 4,
  STATUS_FEATURES_OK = 8,
  STATUS_NEEDS_RESET = 64,
  STATUS_FAILED = 128,
};

#define FEATURE_INDIRECT (1ul << 28)
#define FEATURE_EVENT_INDEX (1ul << 29)
#define FEATURE_VERSION_1 (1ul << 32)

/* Offsets in the common configuration structure (§4.1.4.3). */
enum {
  COMMON_DEVICE_FEATURE_SELECT = 0,
  COMMON_DEVICE_FEATURE = 4,
  COMMON_DRIVER_FEATURE_SELECT = 8,
  COMMON_DRIVER_FEATURE = 12,
  COMMON_CONFIG_VECTOR = 16,
  COMMON_QUEUE_COUNT = 18,
  COMMON_STATUS = 20,
  COMMON_CONFIG_GENERATION = 21,
  COMMON_QUEUE_SELECT = 22,
  COMMON_QUEUE_SIZE = 24,
  COMMON_QUEUE_VECTOR = 26,
  COMMON_QUEUE_ENABLE = 28,
  COMMON_QUEUE_NOTIFY_OFFSET = 30,
  COMMON_QUEUE_DESCRIPTORS = 32,
  COMMON_QUEUE_DRIVER = 40,
  COMMON_QUEUE_DEVICE = 48,
  COMMON_BYTES = 56,
};
enum { NO_VECTOR = 0xffff };

/* Interrupt status bits (§4.1.4.5). */
enum { ISR_QUEUE = 1, ISR_CONFIG = 2 };

/* BY_EDGE is what a virtio-mmio device does instead of both others. */
enum interrupt_mode { BY_POLLING, BY_MSIX, BY_INTX, BY_EDGE };
enum { VIRTIO_MAX_QUEUES = 8, VIRTIO_MAX_DEVICES = 8 };

struct virtio_device {
  u64 registers;         /* of virtio-mmio; 0: the device is a PCI function */
  u32 line;              /* virtio-mmio's interrupt */
  bool level;
  pci_function function;
  u32 type;
  u64 common, notify, isr, config; /* addresses */
  u32 notify_multiplier, notify_bytes, config_bytes;
  u64 offered, features;
  enum interrupt_mode mode;
  struct msix msix;
  u8 first_vector; /* configuration changes; queue n has first_vector + 1 + n */
  volatile u32 interrupts[1 + VIRTIO_MAX_QUEUES];
  volatile u32 spurious; /* INTx with nothing in the ISR */
  u32 intx_pin;          /* the IOAPIC pin that an interrupt last came in on, not by message */
};

/* The `index`th device of a type, among virtio-mmio devices where the machine announces some, else on the PCI bus; false
   when there is none. Finds the structures, changes nothing else. */
bool virtio_find(struct virtio_device *device, u32 type, u32 index);
void virtio_reset(struct virtio_device *device);
/* Reset, ACKNOWLEDGE, DRIVER, features (those of `wanted` that are offered, VERSION_1 always), FEATURES_OK,
   interrupts. */
void virtio_begin(struct virtio_device *device, u64 wanted, enum interrupt_mode mode);
void virtio_driver_ok(struct virtio_device *device);
/* Lets interrupts in until one has been counted, since work may have been found finished without sleeping; gives up
   after 2 s, and after 2 ms where none are expected. */
void virtio_settle(const struct virtio_device *device, const volatile u32 *counter);
/* What the command line asks for: by=msix (default) | intx | poll. */
enum interrupt_mode virtio_mode_option(void);

/* The registers that both transports have, each at its own place and width; vectors are PCI's alone. */
enum virtio_register {
  VIRTIO_DEVICE_FEATURE_SELECT,
  VIRTIO_DEVICE_FEATURE,
  VIRTIO_DRIVER_FEATURE_SELECT,
  VIRTIO_DRIVER_FEATURE,
  VIRTIO_STATUS,
  VIRTIO_GENERATION,
  VIRTIO_QUEUE_SELECT,
  VIRTIO_QUEUE_SIZE_MAX, /* PCI: the size, until it is written */
  VIRTIO_QUEUE_SIZE,
  VIRTIO_QUEUE_ENABLE,
  VIRTIO_QUEUE_DESCRIPTORS, /* this and the next two: low half, high half */
  VIRTIO_QUEUE_DRIVER,
  VIRTIO_QUEUE_DEVICE,
  VIRTIO_CONFIG_VECTOR,
  VIRTIO_QUEUE_VECTOR,
  VIRTIO_REGISTERS
};
/* 0 where the transport has no such register. */
u64 virtio_register_address(const struct virtio_device *device, enum virtio_register reg);
u32 virtio_read(const struct virtio_device *device, enum virtio_register reg);
void virtio_write(const struct virtio_device *device, enum virtio_register reg, u32 value);
/* One of the three addresses of the selected queue. */
void virtio_write_address(const struct virtio_device *device, enum virtio_register reg, u64 value);

u8 virtio_status(const struct virtio_device *device);
void virtio_set_status(const struct virtio_device *device, u8 status);
/* Changes with the configuration. */
u32 virtio_generation(const struct virtio_device *device);
/* Rings a queue's doorbell; `address` is the queue's own where it has one. */
static inline void virtio_ring(const struct virtio_device *device, u64 address, u16 queue) {
  if (device->registers != 0) mmio_write32(address, queue);
  else mmio_write16(address, queue);
}
/* Of the selected queue. */
u64 virtio_notify_address(const struct virtio_device *device);
u64 virtio_offered_features(const struct virtio_device *device);
void virtio_select_queue(const struct virtio_device *device, u16 index);

#endif
