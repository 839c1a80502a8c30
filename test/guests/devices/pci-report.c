/*
 * PCI functions as a human reads them, and two checks that no single device can make: that mechanism 1 and ECAM show
 * the same registers (PCI Express 5.0 §7.2), and that a BAR moves as a whole (PCI Local Bus 3.0 §6.2.5).
 */
#include "pci-report.h"
#include "runtime/cpu.h"
#include "runtime/exit.h"
#include "runtime/machine.h"
#include "runtime/memory.h"
#include "runtime/pci.h"
#include "runtime/print.h"
#include "runtime/start-info.h"
#include "runtime/virtio.h"

enum { HEADER_BYTES = 64, MAX_CAPABILITIES = 48, VIRTIO_COMMON = 1, EXTENDED_START = 0x100 };
#define HIGH_BAR_ALIGNMENT 0x100000ul

static void report_bars(pci_function f) {
  for (u32 i = 0; i < PCI_BARS; i++) {
    struct pci_bar bar;
    if (!pci_read_bar(f, i, &bar)) continue;
    check((bar.size & (bar.size - 1)) == 0, "BAR %u has the size 0x%lx", i, bar.size);
    check((bar.address & (bar.size - 1)) == 0, "BAR %u at 0x%lx is not aligned to 0x%lx", i, bar.address, bar.size);
    print("  bar %u: %s%s%s 0x%lx size 0x%lx\n", i, bar.io ? "io" : "memory", bar.wide ? " 64" : "",
          bar.prefetchable ? " prefetchable" : "", bar.address, bar.size);
  }
}

static void report_capabilities(pci_function f) {
  u8 at = pci_next_capability(f, 0);
  for (int i = 0; at != 0; i++, at = pci_next_capability(f, at)) {
    check(i < MAX_CAPABILITIES, "the capability list loops");
    u8 id = pci_read8(f, at);
    print("  capability 0x%02x at 0x%02x", id, at);
    if (id == CAPABILITY_MSIX)
      print(" msix %u vectors, table 0x%x, pending 0x%x", (pci_read16(f, at + 2u) & 0x7ff) + 1, pci_read32(f, at + 4u),
            pci_read32(f, at + 8u));
    if (id == CAPABILITY_VENDOR && pci_read16(f, PCI_VENDOR) == VIRTIO_VENDOR)
      print(" virtio structure %u bar %u offset 0x%x length 0x%x", pci_read8(f, at + 3u), pci_read8(f, at + 4u),
            pci_read32(f, at + 8u), pci_read32(f, at + 12u));
    print("\n");
  }
}

/* Registers that may change by themselves are left out: none in the header but the status word's interrupt bit. */
static void compare_mechanisms(pci_function f) {
  for (u32 reg = 0; reg < HEADER_BYTES; reg += 4) {
    u32 mask = reg == PCI_COMMAND ? ~((u32)STATUS_INTERRUPT << 16) : ~0u;
    u32 ports = pci_read32(f, reg) & mask, memory = ecam_read(f, reg, 4) & mask;
    check(ports == memory, "register 0x%x of %02x:%02x.%u: 0x%x by ports, 0x%x by ECAM", reg, f >> 8, f >> 3 & 31,
          f & 7, ports, memory);
  }
  for (u32 reg = 0; reg < 16; reg++) {
    check(pci_read8(f, reg) == ecam_read(f, reg, 1) || reg == PCI_STATUS, "byte register 0x%x differs", reg);
    if (reg % 2 == 0 && reg != PCI_STATUS)
      check(pci_read16(f, reg) == ecam_read(f, reg, 2), "word register 0x%x differs", reg);
  }
  /* Writing by one mechanism shows in the other: the interrupt line register holds any value. */
  u8 line = pci_read8(f, PCI_INTERRUPT_LINE);
  if (pci_read8(f, PCI_INTERRUPT_PIN) == 0) return;
  ecam_write(f, PCI_INTERRUPT_LINE, 1, line ^ 0x5a);
  check(pci_read8(f, PCI_INTERRUPT_LINE) == (line ^ 0x5a), "a write by ECAM does not show at the ports");
  pci_write(f, PCI_INTERRUPT_LINE, 1, line);
  check(ecam_read(f, PCI_INTERRUPT_LINE, 1) == line, "a write by ports does not show in ECAM");
}

u32 pci_report(void) {
  pci_function functions[PCI_MAX_FUNCTIONS];
  u32 count = pci_scan(functions);
  check(count > 0, "no PCI functions");
  for (u32 i = 0; i < count; i++) {
    pci_function f = functions[i];
    print("pci %02x:%02x.%u %04x:%04x class %04x revision %u command 0x%x irq %u pin %u\n", f >> 8, f >> 3 & 31, f & 7,
          pci_read16(f, PCI_VENDOR), pci_read16(f, PCI_DEVICE), pci_read16(f, PCI_CLASS), pci_read8(f, PCI_REVISION),
          pci_read16(f, PCI_COMMAND), pci_read8(f, PCI_INTERRUPT_LINE), pci_read8(f, PCI_INTERRUPT_PIN));
    report_bars(f);
    report_capabilities(f);
    compare_mechanisms(f);
  }
  /* A function that does not exist reads as all ones, by both. */
  pci_function absent = 31 << 3 | 7;
  for (u32 i = 0; i < count; i++)
    if (functions[i] == absent) return count;
  check(pci_read32(absent, 0) == ~0u && ecam_read(absent, 0, 4) == ~0u, "an absent function answers");
  return count;
}

/* Where the common configuration lies in a BAR of a virtio function; false when not in this one. */
static bool find_common(pci_function f, u32 bar, u32 *offset) {
  u8 at = pci_next_capability(f, 0);
  for (int i = 0; at != 0 && i < MAX_CAPABILITIES; i++, at = pci_next_capability(f, at)) {
    if (pci_read8(f, at) != CAPABILITY_VENDOR || pci_read8(f, at + 3u) != VIRTIO_COMMON || pci_read8(f, at + 4u) != bar)
      continue;
    *offset = pci_read32(f, at + 8u);
    return true;
  }
  return false;
}

/* A free place: above 4 GiB for a 64-bit BAR (behind all RAM and other BARs), else just below the lowest BAR in the
   hole. */
static u64 find_place(const pci_function *functions, u32 count, const struct pci_bar *moving, bool high) {
  u64 lowest = FOUR_GIB, highest = FOUR_GIB;
  for (u32 i = 0; i < memory_region_count(); i++) {
    const struct memory_region *r = memory_region(i);
    if (r->type == MEMORY_RAM && r->start + r->size > highest) highest = r->start + r->size;
  }
  for (u32 i = 0; i < count; i++) {
    for (u32 b = 0; b < PCI_BARS; b++) {
      struct pci_bar bar;
      if (!pci_read_bar(functions[i], b, &bar) || bar.io || bar.address == 0) continue;
      if (bar.address < lowest) lowest = bar.address;
      if (bar.address + bar.size > highest) highest = bar.address + bar.size;
    }
  }
  if (high) return (highest + HIGH_BAR_ALIGNMENT + moving->size - 1) & ~(moving->size - 1);
  u64 below = (lowest & ~(moving->size - 1)) - moving->size;
  if (below >= DEVICE_HOLE_START) return below;
  u64 top = 0;
  for (u32 i = 0; i < count; i++) {
    for (u32 b = 0; b < PCI_BARS; b++) {
      struct pci_bar bar;
      if (pci_read_bar(functions[i], b, &bar) && !bar.io && bar.address < FOUR_GIB && bar.address + bar.size > top)
        top = bar.address + bar.size;
    }
  }
  return (top + moving->size - 1) & ~(moving->size - 1);
}

/* The first queue's maximum size is a good witness: neither 0 nor all ones, and the same after a move. */
static u32 witness(u64 bar_address, u32 offset) {
  mmio_write16(bar_address + offset + COMMON_QUEUE_SELECT, 0);
  return mmio_read16(bar_address + offset + COMMON_QUEUE_SIZE);
}

static void move(pci_function f, u32 index, const struct pci_bar *bar, u64 target, u32 offset) {
  map_physical(bar->address, bar->size);
  map_physical(target, bar->size);
  u32 before = witness(bar->address, offset);
  check(before != 0 && before != 0xffff, "BAR %u shows a queue size of %u", index, before);
  pci_write_bar(f, index, bar, target);
  struct pci_bar now;
  check(pci_read_bar(f, index, &now) && now.address == target, "BAR %u reads 0x%lx after moving to 0x%lx", index,
        now.address, target);
  check(witness(target, offset) == before, "BAR %u does not answer at 0x%lx", index, target);
  u32 left = witness(bar->address, offset);
  check(left != before, "BAR %u still answers at 0x%lx", index, bar->address);
  /* With decoding off it answers nowhere. */
  u16 command = pci_read16(f, PCI_COMMAND);
  pci_write(f, PCI_COMMAND, 2, command & (u16)~COMMAND_MEMORY);
  u32 disabled = witness(target, offset);
  pci_write(f, PCI_COMMAND, 2, command);
  check(disabled != before, "BAR %u answers with memory decoding off", index);
  check(witness(target, offset) == before, "BAR %u does not come back with memory decoding", index);
  pci_write_bar(f, index, bar, bar->address);
  check(witness(bar->address, offset) == before, "BAR %u does not answer back at 0x%lx", index, bar->address);
  print("  moved bar %u of %02x:%02x.%u from 0x%lx to 0x%lx and back, old place reads 0x%x\n", index, f >> 8,
        f >> 3 & 31, f & 7, bar->address, target, left);
}

void pci_move_bars(void) {
  pci_function functions[PCI_MAX_FUNCTIONS];
  u32 count = pci_scan(functions), moved = 0;
  for (u32 i = 0; i < count; i++) {
    if (pci_read16(functions[i], PCI_VENDOR) != VIRTIO_VENDOR) continue;
    pci_write(functions[i], PCI_COMMAND, 2, pci_read16(functions[i], PCI_COMMAND) | COMMAND_MEMORY);
    for (u32 b = 0; b < PCI_BARS; b++) {
      struct pci_bar bar;
      u32 offset;
      if (!pci_read_bar(functions[i], b, &bar) || bar.io || !find_common(functions[i], b, &offset)) continue;
      move(functions[i], b, &bar, find_place(functions, count, &bar, false), offset);
      if (bar.wide) move(functions[i], b, &bar, find_place(functions, count, &bar, true), offset);
      moved++;
    }
  }
  print("pci: %u bars moved\n", moved);
}
