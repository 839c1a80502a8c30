/* PCI Local Bus 3.0 §3.2.2.3.2 (mechanism 1), §6.1 (header), §6.2.5 (BARs); PCI Express 5.0 §7.2.2 (ECAM). */
#include "pci.h"
#include "acpi.h"
#include "cpu.h"
#include "exit.h"
#include "machine.h"
#include "memory.h"

#define ADDRESS_ENABLE 0x80000000u
#define NO_DEVICE 0xffff
/* In the device hole of every machine, where nobody has put anything as long as no firmware has placed BARs. */
#define PLACES_START 0xd0000000ul
#define PLACES_END 0xd8000000ul
enum { BAR_IO = 1, BAR_TYPE_64 = 4, BAR_TYPE_MASK = 6, BAR_PREFETCHABLE = 8, MAX_CAPABILITIES = 48 };

static u16 select(pci_function f, u32 reg) {
  out32(PORT_PCI_ADDRESS, ADDRESS_ENABLE | (u32)f << 8 | (reg & 0xfc));
  return (u16)(PORT_PCI_DATA + (reg & 3));
}

u32 pci_read(pci_function f, u32 reg, u32 size) {
  u16 port = select(f, reg);
  return size == 1 ? in8(port) : size == 2 ? in16(port) : in32(port);
}

void pci_write(pci_function f, u32 reg, u32 size, u32 value) {
  u16 port = select(f, reg);
  if (size == 1) out8(port, (u8)value);
  else if (size == 2) out16(port, (u16)value);
  else out32(port, value);
}

u64 ecam_address(pci_function f, u32 reg) {
  const struct acpi *tables = acpi();
  check(tables->ecam_base != 0, "the ACPI tables name no ECAM region");
  u32 bus = f >> 8;
  check(bus >= tables->ecam_first_bus && bus <= tables->ecam_last_bus, "bus %u is outside ECAM", bus);
  u64 address = tables->ecam_base + ((u64)(f - (tables->ecam_first_bus << 8)) << 12) + reg;
  map_physical(address, 4);
  return address;
}

u32 ecam_read(pci_function f, u32 reg, u32 size) {
  u64 a = ecam_address(f, reg);
  return size == 1 ? mmio_read8(a) : size == 2 ? mmio_read16(a) : mmio_read32(a);
}

void ecam_write(pci_function f, u32 reg, u32 size, u32 value) {
  u64 a = ecam_address(f, reg);
  if (size == 1) mmio_write8(a, (u8)value);
  else if (size == 2) mmio_write16(a, (u16)value);
  else mmio_write32(a, value);
}

u32 pci_scan(pci_function functions[PCI_MAX_FUNCTIONS]) {
  u32 count = 0, buses = 1;
  u8 bus_list[16] = {0};
  for (u32 b = 0; b < buses; b++) {
    for (u32 device = 0; device < 32; device++) {
      for (u32 number = 0; number < 8; number++) {
        pci_function f = (pci_function)(bus_list[b] << 8 | device << 3 | number);
        if (pci_read16(f, PCI_VENDOR) == NO_DEVICE) {
          if (number == 0) break;
          continue;
        }
        check(count < PCI_MAX_FUNCTIONS, "more than %u PCI functions", PCI_MAX_FUNCTIONS);
        functions[count++] = f;
        u8 header = pci_read8(f, PCI_HEADER_TYPE);
        u8 secondary = (header & 0x7f) == HEADER_BRIDGE ? pci_read8(f, PCI_SECONDARY_BUS) : 0;
        if (secondary > bus_list[b] && buses < ARRAY_LENGTH(bus_list)) bus_list[buses++] = secondary;
        if (number == 0 && (header & HEADER_MULTIFUNCTION) == 0) break;
      }
    }
  }
  return count;
}

bool pci_read_bar(pci_function f, u32 index, struct pci_bar *bar) {
  u32 bars = (pci_read8(f, PCI_HEADER_TYPE) & 0x7f) == HEADER_BRIDGE ? 2 : PCI_BARS;
  if (index >= bars) return false;
  for (u32 i = 0; i < index; i++) {
    u32 type = pci_read32(f, PCI_BAR0 + 4 * i) & (BAR_IO | BAR_TYPE_MASK);
    if (type == BAR_TYPE_64 && ++i == index) return false;
  }
  u32 reg = PCI_BAR0 + 4 * index, low = pci_read32(f, reg), high = 0, size_high = 0;
  bar->io = low & BAR_IO;
  bar->wide = !bar->io && (low & BAR_TYPE_MASK) == BAR_TYPE_64;
  bar->prefetchable = !bar->io && (low & BAR_PREFETCHABLE);
  u32 flags = bar->io ? 3 : 15;
  u16 command = pci_read16(f, PCI_COMMAND);
  pci_write(f, PCI_COMMAND, 2, command & (u16) ~(COMMAND_IO | COMMAND_MEMORY));
  if (bar->wide) high = pci_read32(f, reg + 4);
  pci_write(f, reg, 4, 0xffffffff);
  u32 size_low = pci_read32(f, reg) & ~flags;
  if (bar->wide) {
    pci_write(f, reg + 4, 4, 0xffffffff);
    size_high = pci_read32(f, reg + 4);
    pci_write(f, reg + 4, 4, high);
  }
  pci_write(f, reg, 4, low);
  pci_write(f, PCI_COMMAND, 2, command);
  if (size_low == 0 && size_high == 0) return false;
  u64 mask = bar->wide ? (u64)size_high << 32 | size_low
             : bar->io ? size_low | 0xffffffffffff0000ul
                       : size_low | 0xffffffff00000000ul;
  bar->size = ~mask + 1;
  bar->address = (u64)high << 32 | (low & ~flags);
  return true;
}

void pci_write_bar(pci_function f, u32 index, const struct pci_bar *bar, u64 address) {
  u16 command = pci_read16(f, PCI_COMMAND);
  pci_write(f, PCI_COMMAND, 2, command & (u16) ~(COMMAND_IO | COMMAND_MEMORY));
  pci_write(f, PCI_BAR0 + 4 * index, 4, (u32)address);
  if (bar->wide) pci_write(f, PCI_BAR0 + 4 * index + 4, 4, (u32)(address >> 32));
  pci_write(f, PCI_COMMAND, 2, command);
}

void pci_place_bars(pci_function f) {
  static u64 next = PLACES_START;
  for (u32 i = 0; i < PCI_BARS; i++) {
    struct pci_bar bar;
    if (!pci_read_bar(f, i, &bar) || bar.io || bar.address != 0) continue;
    u64 address = (next + bar.size - 1) & ~(bar.size - 1);
    check(address + bar.size <= PLACES_END, "no room for a BAR of 0x%lx bytes", bar.size);
    pci_write_bar(f, i, &bar, address);
    next = address + bar.size;
  }
}

u8 pci_next_capability(pci_function f, u8 after) {
  if (after == 0 && (pci_read16(f, PCI_STATUS) & STATUS_CAPABILITIES) == 0) return 0;
  u8 next = pci_read8(f, after == 0 ? PCI_CAPABILITIES : after + 1u) & 0xfc;
  check(next == 0 || next >= 0x40, "%02x:%02x.%u: a capability at 0x%x lies in the header", f >> 8, f >> 3 & 31, f & 7,
        next);
  return next;
}

u8 pci_find_capability(pci_function f, u8 id) {
  u8 at = pci_next_capability(f, 0);
  for (int i = 0; at != 0; i++, at = pci_next_capability(f, at)) {
    check(i < MAX_CAPABILITIES, "%02x:%02x.%u: the capability list loops", f >> 8, f >> 3 & 31, f & 7);
    if (pci_read8(f, at) == id) return at;
  }
  return 0;
}
