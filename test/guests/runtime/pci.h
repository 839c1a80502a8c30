/* PCI configuration by both mechanisms, BARs, capabilities and MSI-X. */
#ifndef GUEST_PCI_H
#define GUEST_PCI_H

#include "types.h"

/* A function's address: bus << 8 | device << 3 | function. */
typedef u16 pci_function;

enum {
  PCI_VENDOR = 0x00,
  PCI_DEVICE = 0x02,
  PCI_COMMAND = 0x04,
  PCI_STATUS = 0x06,
  PCI_REVISION = 0x08,
  PCI_CLASS = 0x0a,
  PCI_HEADER_TYPE = 0x0e,
  PCI_BAR0 = 0x10,
  PCI_SECONDARY_BUS = 0x19,
  PCI_SUBSYSTEM_VENDOR = 0x2c,
  PCI_CAPABILITIES = 0x34,
  PCI_INTERRUPT_LINE = 0x3c,
  PCI_INTERRUPT_PIN = 0x3d,
};
enum { COMMAND_IO = 1, COMMAND_MEMORY = 2, COMMAND_MASTER = 4, COMMAND_INTX_DISABLE = 1 << 10 };
enum { STATUS_INTERRUPT = 1 << 3, STATUS_CAPABILITIES = 1 << 4 };
enum { HEADER_MULTIFUNCTION = 0x80, HEADER_BRIDGE = 1, CLASS_PCI_BRIDGE = 0x0604 };
enum { CAPABILITY_MSIX = 0x11, CAPABILITY_VENDOR = 0x09 };
enum { PCI_BARS = 6, PCI_MAX_FUNCTIONS = 64, PCI_CONFIG_BYTES = 256, ECAM_CONFIG_BYTES = 4096 };

/* Configuration mechanism 1, ports 0xCF8 and 0xCFC. `size` is 1, 2 or 4. */
u32 pci_read(pci_function f, u32 reg, u32 size);
void pci_write(pci_function f, u32 reg, u32 size, u32 value);
static inline u8 pci_read8(pci_function f, u32 reg) { return (u8)pci_read(f, reg, 1); }
static inline u16 pci_read16(pci_function f, u32 reg) { return (u16)pci_read(f, reg, 2); }
static inline u32 pci_read32(pci_function f, u32 reg) { return pci_read(f, reg, 4); }

/* The enhanced mechanism: where the MCFG table says. */
u64 ecam_address(pci_function f, u32 reg);
u32 ecam_read(pci_function f, u32 reg, u32 size);
void ecam_write(pci_function f, u32 reg, u32 size, u32 value);

/* All functions, those behind bridges included; answers how many there are. */
u32 pci_scan(pci_function functions[PCI_MAX_FUNCTIONS]);

struct pci_bar {
  u64 address, size;
  bool io, wide, prefetchable;
};
/* False when the BAR does not exist (or is the upper half of the one before it). Sizes it with decoding off. */
bool pci_read_bar(pci_function f, u32 index, struct pci_bar *bar);
void pci_write_bar(pci_function f, u32 index, const struct pci_bar *bar, u64 address);

/* Gives memory BARs without an address one in the device hole: qboot.rom leaves that to the operating system. */
void pci_place_bars(pci_function f);

/* The next capability after `after` (0 = the first); 0 = none. Bounded: a list that loops ends the guest. */
u8 pci_next_capability(pci_function f, u8 after);
u8 pci_find_capability(pci_function f, u8 id);

struct msix {
  pci_function function;
  u8 capability;
  u32 count;
  u64 table, pending;
};
/* False when the function has no MSI-X capability. Maps the table; does not enable anything. */
bool msix_open(pci_function f, struct msix *msix);
void msix_enable(const struct msix *msix, bool enable, bool mask_all);
/* Entry `index` delivers `vector` to this CPU. */
void msix_program(const struct msix *msix, u32 index, u8 vector);
void msix_mask(const struct msix *msix, u32 index, bool masked);
bool msix_is_pending(const struct msix *msix, u32 index);

#endif
