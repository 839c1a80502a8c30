/* MSI-X: PCI Local Bus 3.0 §6.8.2. Message format: Intel SDM vol. 3 §10.11. */
#include "apic.h"
#include "cpu.h"
#include "exit.h"
#include "machine.h"
#include "memory.h"
#include "pci.h"

enum { CONTROL = 2, TABLE = 4, PENDING = 8 };
enum { CONTROL_SIZE = 0x7ff, CONTROL_MASK_ALL = 1 << 14, CONTROL_ENABLE = 1 << 15 };
enum {
  ENTRY_BYTES = 16,
  ENTRY_ADDRESS = 0,
  ENTRY_ADDRESS_HIGH = 4,
  ENTRY_DATA = 8,
  ENTRY_CONTROL = 12,
  ENTRY_MASKED = 1
};

static u64 locate(pci_function f, u32 reg, u64 size) {
  u32 where = pci_read32(f, reg);
  struct pci_bar bar;
  check(pci_read_bar(f, where & 7, &bar), "MSI-X structure in BAR %u, which does not exist", where & 7);
  u64 offset = where & ~7u;
  check(offset + size <= bar.size, "MSI-X structure of 0x%lx bytes at 0x%lx exceeds its BAR", size, offset);
  map_physical(bar.address + offset, size);
  return bar.address + offset;
}

bool msix_open(pci_function f, struct msix *msix) {
  u8 capability = pci_find_capability(f, CAPABILITY_MSIX);
  if (capability == 0) return false;
  *msix = (struct msix){.function = f, .capability = capability};
  msix->count = (pci_read16(f, capability + CONTROL) & CONTROL_SIZE) + 1u;
  msix->table = locate(f, capability + TABLE, msix->count * ENTRY_BYTES);
  msix->pending = locate(f, capability + PENDING, (msix->count + 63) / 64 * 8);
  return true;
}

void msix_enable(const struct msix *msix, bool enable, bool mask_all) {
  u16 control = pci_read16(msix->function, msix->capability + CONTROL) & (u16) ~(CONTROL_ENABLE | CONTROL_MASK_ALL);
  control |= (u16)((enable ? CONTROL_ENABLE : 0) | (mask_all ? CONTROL_MASK_ALL : 0));
  pci_write(msix->function, msix->capability + CONTROL, 2, control);
}

void msix_program(const struct msix *msix, u32 index, u8 vector) {
  check(index < msix->count, "MSI-X entry %u of %u", index, msix->count);
  u64 entry = msix->table + index * ENTRY_BYTES;
  mmio_write32(entry + ENTRY_CONTROL, ENTRY_MASKED);
  mmio_write32(entry + ENTRY_ADDRESS, (u32)LAPIC_BASE | lapic_id() << 12);
  mmio_write32(entry + ENTRY_ADDRESS_HIGH, 0);
  mmio_write32(entry + ENTRY_DATA, vector);
  mmio_write32(entry + ENTRY_CONTROL, 0);
}

void msix_mask(const struct msix *msix, u32 index, bool masked) {
  mmio_write32(msix->table + index * ENTRY_BYTES + ENTRY_CONTROL, masked ? ENTRY_MASKED : 0);
}

bool msix_is_pending(const struct msix *msix, u32 index) {
  return mmio_read32(msix->pending + index / 32 * 4) >> index % 32 & 1;
}
