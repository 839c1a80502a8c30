/*
 * Random accesses to PCI configuration space, to the registers in the BARs of virtio functions, and to the hole below
 * 4 GiB, where most addresses are nobody's. Configuration is put back afterwards; that the devices work again is for
 * the caller to prove.
 *
 * Functions that are bridges (class 06) are fuzzed too, unless `skip-bridges` is given: on a PC chipset their
 * registers can unmap RAM or hide it behind SMRAM, which kills the guest on real hardware as well.
 */
#include "hostile.h"
#include "runtime/acpi.h"
#include "runtime/cpu.h"
#include "runtime/exit.h"
#include "runtime/machine.h"
#include "runtime/memory.h"
#include "runtime/pci.h"
#include "runtime/print.h"
#include "runtime/start-info.h"
#include "runtime/virtio.h"

enum { SAVED_BYTES = 256, CLASS_BRIDGE = 0x06 };
#define ENABLE 0x80000000u

static u32 choose_functions(pci_function functions[PCI_MAX_FUNCTIONS]) {
  pci_function all[PCI_MAX_FUNCTIONS];
  u32 found = pci_scan(all), count = 0;
  for (u32 i = 0; i < found; i++)
    if (pci_read16(all[i], PCI_CLASS) >> 8 != CLASS_BRIDGE || !option_given("skip-bridges"))
      functions[count++] = all[i];
  check(count > 0, "no PCI functions");
  return count;
}

static void quiet_all(const pci_function *functions, u32 count) {
  for (u32 i = 0; i < count; i++)
    pci_write(functions[i], PCI_COMMAND, 2, pci_read16(functions[i], PCI_COMMAND) & (u16)~COMMAND_MASTER);
}

static void write_random(pci_function f) {
  u32 size = random_size(), reg = random_below(PCI_CONFIG_BYTES) & ~(size - 1), value = (u32)random_nasty();
  /* No DMA and no MSI while registers hold junk: it would be this guest that overwrites itself. */
  if (reg <= PCI_COMMAND && reg + size > PCI_COMMAND) value &= ~((u32)COMMAND_MASTER << (8 * (PCI_COMMAND - reg)));
  if (random_below(2)) pci_write(f, reg, size, value);
  else ecam_write(f, reg, size, value);
}

/* The address port takes only whole words; narrower accesses beside it, and data accesses across its end, are junk. */
static void abuse_address_port(pci_function f) {
  switch (random_below(5)) {
    case 0: out8((u16)(PORT_PCI_ADDRESS + (random_below(2) ? 0 : 2)), (u8)random64()); break; /* 0xCF9 resets */
    case 1: out16(PORT_PCI_ADDRESS + 2, (u16)random64()); break;
    case 2: out32(PORT_PCI_ADDRESS, (u32)random64() & ~ENABLE), out32(PORT_PCI_DATA, (u32)random64()); break;
    case 3: out32(PORT_PCI_ADDRESS, ENABLE | (u32)f << 8 | 0xfc), in16(PORT_PCI_DATA + 3); break;
    default:
      out32(PORT_PCI_ADDRESS, 0x7f000000u | ENABLE | (u32)(31 << 11 | 7 << 8)), out32(PORT_PCI_DATA, (u32)random64());
      break;
  }
}

static void read_random(pci_function f) {
  u32 size = random_size();
  if (random_below(2)) pci_read(f, random_below(PCI_CONFIG_BYTES) & ~(size - 1), size);
  else ecam_read(f, random_below(ECAM_CONFIG_BYTES) & ~(size - 1), size);
  ecam_read((pci_function)random_below((u32)(acpi()->ecam_last_bus + 1) << 8), random_below(ECAM_CONFIG_BYTES) & ~3u,
            4);
}

void attack_configuration(u32 iterations) {
  static u32 saved[PCI_MAX_FUNCTIONS][SAVED_BYTES / 4];
  pci_function functions[PCI_MAX_FUNCTIONS];
  u32 count = choose_functions(functions);
  for (u32 i = 0; i < count; i++)
    for (u32 reg = 0; reg < SAVED_BYTES; reg += 4) saved[i][reg / 4] = pci_read32(functions[i], reg);
  quiet_all(functions, count);
  for (u32 n = 0; n < iterations; n++) {
    pci_function f = functions[random_below(count)];
    if (random_below(8) == 0) abuse_address_port(f);
    else if (random_below(4) == 0) read_random(f);
    else write_random(f);
  }
  for (u32 i = 0; i < count; i++) {
    pci_write(functions[i], PCI_COMMAND, 2, 0);
    for (u32 reg = SAVED_BYTES - 4; reg > PCI_COMMAND; reg -= 4) pci_write(functions[i], reg, 4, saved[i][reg / 4]);
    pci_write(functions[i], PCI_COMMAND, 2, (u16)saved[i][PCI_COMMAND / 4]);
    u32 vendor = pci_read32(functions[i], PCI_VENDOR);
    check(vendor == saved[i][0], "function 0x%x changed its vendor and device from 0x%x to 0x%x", functions[i],
          saved[i][0], vendor);
    for (u32 bar = 0; bar < PCI_BARS; bar++) {
      u32 reg = PCI_BAR0 + 4 * bar;
      check(pci_read32(functions[i], reg) == saved[i][reg / 4], "BAR %u of function 0x%x does not take its value back",
            bar, functions[i]);
    }
  }
  print("configuration: %u accesses to %u functions\n", iterations, count);
}

/* A read one time in four; else a write of `size` bytes, or now and then of 8. */
static void access_memory(u64 at, u32 size, u64 value) {
  if (random_below(4) == 0) size == 1 ? mmio_read8(at) : size == 2 ? mmio_read16(at) : mmio_read32(at);
  else if (size == 1) mmio_write8(at, (u8)value);
  else if (size == 2) mmio_write16(at, (u16)value);
  else if (random_below(4) == 0) *(volatile u64 *)(at & ~7ul) = value;
  else mmio_write32(at, (u32)value);
}

void attack_bars(u32 iterations) {
  pci_function functions[PCI_MAX_FUNCTIONS];
  struct {
    pci_function f;
    struct pci_bar bar;
  } targets[PCI_MAX_FUNCTIONS];
  u32 found = pci_scan(functions), count = 0;
  for (u32 i = 0; i < found; i++) {
    if (pci_read16(functions[i], PCI_VENDOR) != VIRTIO_VENDOR) continue;
    pci_write(functions[i], PCI_COMMAND, 2,
              (pci_read16(functions[i], PCI_COMMAND) | COMMAND_MEMORY) & (u16)~COMMAND_MASTER);
    for (u32 b = 0; b < PCI_BARS && count < PCI_MAX_FUNCTIONS; b++) {
      struct pci_bar bar;
      if (!pci_read_bar(functions[i], b, &bar) || bar.io) continue;
      map_physical(bar.address, bar.size);
      targets[count].f = functions[i];
      targets[count++].bar = bar;
    }
  }
  for (u32 n = 0; n < iterations && count > 0; n++) {
    const struct pci_bar *bar = &targets[random_below(count)].bar;
    u32 size = random_size();
    /* Half of the accesses go to the first 256 bytes, where the registers are; some straddle a page or are not
       aligned. */
    u64 offset = random_below(2) ? random_below(256) : random64() % bar->size;
    if (random_below(8) != 0) offset &= ~(u64)(size - 1);
    if (offset + size > bar->size) continue;
    access_memory(bar->address + offset, size, random_nasty());
  }
  for (u32 i = 0; i < count; i++)
    pci_write(targets[i].f, PCI_COMMAND, 2, pci_read16(targets[i].f, PCI_COMMAND) | COMMAND_MASTER);
  print("bars: %u accesses to %u bars\n", iterations, count);
}

void attack_holes(u32 iterations) {
  u32 done = 0;
  u64 ecam = acpi()->ecam_base, ecam_end = ecam + ((u64)(acpi()->ecam_last_bus + 1) << 20);
  for (u32 n = 0; n < iterations; n++) {
    u64 at = DEVICE_HOLE_START + random64() % (FOUR_GIB - DEVICE_HOLE_START - 8);
    if (at + 8 > IOAPIC_BASE) continue; /* interrupt controllers, firmware */
    if (at + 8 > ecam && at < ecam_end) continue;
    done++;
    access_memory(at, random_size(), random64());
  }
  print("holes: %u accesses\n", done);
}
