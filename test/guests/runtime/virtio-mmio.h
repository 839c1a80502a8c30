/* Virtio over MMIO, version 2 (virtio 1.2 §4.2): registers, and where the machine says that devices are. */
#ifndef GUEST_VIRTIO_MMIO_H
#define GUEST_VIRTIO_MMIO_H

#include "types.h"

enum {
  MMIO_MAGIC = 0x00,
  MMIO_VERSION = 0x04,
  MMIO_DEVICE_ID = 0x08,
  MMIO_DEVICE_FEATURES = 0x10,
  MMIO_DEVICE_FEATURES_SELECT = 0x14,
  MMIO_DRIVER_FEATURES = 0x20,
  MMIO_DRIVER_FEATURES_SELECT = 0x24,
  MMIO_QUEUE_SELECT = 0x30,
  MMIO_QUEUE_SIZE_MAX = 0x34,
  MMIO_QUEUE_SIZE = 0x38,
  MMIO_QUEUE_READY = 0x44,
  MMIO_QUEUE_NOTIFY = 0x50,
  MMIO_INTERRUPT_STATUS = 0x60,
  MMIO_INTERRUPT_ACK = 0x64,
  MMIO_STATUS = 0x70,
  MMIO_QUEUE_DESCRIPTORS = 0x80,
  MMIO_QUEUE_DRIVER = 0x90,
  MMIO_QUEUE_DEVICE = 0xa0,
  MMIO_CONFIG_GENERATION = 0xfc,
  MMIO_CONFIG = 0x100,
};
enum { MMIO_MAGIC_VALUE = 0x74726976, MMIO_MAX_DEVICES = 32 };

struct virtio_mmio_place {
  u64 registers;
  u32 bytes, line; /* the IOAPIC pin */
  bool level;      /* as QEMU has it; tsvmm's lines and those of words are edges */
};

/* The places that the DSDT announces (LNRO0005) or, without ACPI, the command line (virtio_mmio.device=SIZE@BASE:IRQ);
   both at once is a failure. A place may be empty: device id 0. */
u32 virtio_mmio_places(struct virtio_mmio_place places[MMIO_MAX_DEVICES]);

#endif
