/* Ports, memory without RAM, PCI configuration and MSI-X tables. */
#include "fuzz.h"
#include "hostile.h"
#include "runtime/acpi.h"
#include "runtime/cpu.h"
#include "runtime/exit.h"
#include "runtime/machine.h"
#include "runtime/memory.h"
#include "runtime/start-info.h"

enum { SAVED_BYTES = 256, REPEATED_MAX = 64, PAGE = 4096, MSIX_CONTROL = 2, MSIX_TABLE_WORDS = 4 };
enum { GUEST_START = 0x1000, VECTOR_MASK = 0xff, FIRST_HARMLESS_VECTOR = 0x30 };
#define ENABLE 0x80000000u
#define MSI_ADDRESS 0xfee00000u
#define TOP_OF_FIRMWARE 0xfff00000ul

struct fuzz_machine fuzz_machine;
static u32 saved[PCI_MAX_FUNCTIONS][SAVED_BYTES / 4];

static u32 below(struct fuzzer *f, u32 limit) { return random_under(&f->random, limit); }

u64 fuzz_value(struct fuzzer *f) {
  u64 value = random_edge(&f->random);
  if (f->wild) return value;
  u32 low = (u32)value;
  if (low >= GUEST_START && low < fuzz_machine.arena) low |= (u32)fuzz_machine.arena;
  return (value & ~0xfffffffful) | low;
}

u64 fuzz_address(struct fuzzer *f, u32 alignment) {
  u64 size = fuzz_machine.arena_end - fuzz_machine.arena, at;
  switch (below(f, 12)) {
    case 0: at = fuzz_machine.windows[below(f, fuzz_machine.window_count)].start + below(f, PAGE); break;
    case 1: at = random_next(&f->random) | 1ul << (32 + below(f, 32)); break;
    case 2: at = fuzz_machine.ram_end - below(f, PAGE); break;
    case 3: at = 0ul - 1 - below(f, PAGE); break;
    default: at = fuzz_machine.arena + random_next(&f->random) % size;
  }
  return at & ~(u64)(alignment - 1);
}

static void add_window(u64 start, u64 size) {
  check(fuzz_machine.window_count < FUZZ_MAX_WINDOWS, "too many windows");
  map_physical(start, size);
  fuzz_machine.windows[fuzz_machine.window_count++] = (struct window){start, size};
}

/* The upper half of RAM below 4 GiB: what the guest itself uses is at its lower end. */
static void find_arena(void) {
  for (u32 i = 0; i < memory_region_count(); i++) {
    const struct memory_region *r = memory_region(i);
    u64 end = r->start + r->size;
    if (r->type == MEMORY_RAM && end <= FOUR_GIB && end > fuzz_machine.ram_end) fuzz_machine.ram_end = end;
  }
  fuzz_machine.arena_end = fuzz_machine.ram_end;
  fuzz_machine.arena = 1ul << 25; /* a single bit, which fuzz_value() sets */
  check(fuzz_machine.ram_end > fuzz_machine.arena + (1 << 20), "not enough memory for an arena");
  check(heap_mark() < fuzz_machine.arena, "the guest lies in its own arena");
}

static void find_bars(void) {
  fuzz_machine.function_count = pci_scan(fuzz_machine.functions);
  for (u32 i = 0; i < fuzz_machine.function_count; i++) {
    for (u32 b = 0; b < PCI_BARS; b++) {
      struct pci_bar bar;
      if (pci_read_bar(fuzz_machine.functions[i], b, &bar) && !bar.io) add_window(bar.address, bar.size);
    }
  }
  u64 ecam = acpi()->ecam_base;
  if (ecam != 0) add_window(ecam, (u64)(acpi()->ecam_last_bus + 1) << 20);
}

void fuzz_find_machine(struct victim *victims, u32 count) {
  fuzz_machine.victims = victims;
  fuzz_machine.victim_count = count;
  check(count > 0, "no virtio devices");
  find_arena();
  if (victims[0].device.registers == 0) find_bars();
  for (u32 i = 0; i < count; i++)
    if (victims[i].device.registers != 0) add_window(victims[i].device.registers, PAGE);
  add_window(fuzz_machine.ram_end, DEVICE_HOLE_START - fuzz_machine.ram_end);
  add_window(DEVICE_HOLE_START, IOAPIC_BASE - DEVICE_HOLE_START);
  add_window(IOAPIC_BASE + PAGE, LAPIC_BASE - IOAPIC_BASE - PAGE);
  add_window(LAPIC_BASE + PAGE, TOP_OF_FIRMWARE - LAPIC_BASE - PAGE);
  add_window(TOP_OF_FIRMWARE, FOUR_GIB - TOP_OF_FIRMWARE);
  add_window(FOUR_GIB, PAGE);
  add_window(1ul << 36, PAGE);
}

/* The byte at which something begins or ends, or any. */
static u64 offset_in(struct fuzzer *f, const struct window *w) {
  switch (below(f, 4)) {
    case 0: return below(f, w->size < PAGE ? (u32)w->size : PAGE);
    case 1: return w->size - 1 - below(f, 16);
    default: return random_next(&f->random) % w->size;
  }
}

void fuzz_memory(struct fuzzer *f) {
  const struct window *w = &fuzz_machine.windows[below(f, fuzz_machine.window_count)];
  u64 at = w->start + offset_in(f, w), value = fuzz_value(f);
  u32 size = 1u << below(f, 4);
  f->memory_accesses++;
  if (f->wild && below(f, 8) == 0) at = (below(f, 2) ? LAPIC_BASE : IOAPIC_BASE) + (below(f, PAGE) & ~3u);
  if (below(f, 4) != 0) at &= ~(u64)(size - 1);
  if (at + size > w->start + w->size && !f->wild) return; /* what follows a window may be the guest's */
  if (below(f, 3) == 0) {
    if (size == 1) mmio_read8(at);
    else if (size == 2) mmio_read16(at);
    else if (size == 4) mmio_read32(at);
    else (void)*(volatile u64 *)at;
  } else {
    if (size == 1) mmio_write8(at, (u8)value);
    else if (size == 2) mmio_write16(at, (u16)value);
    else if (size == 4) mmio_write32(at, (u32)value);
    else *(volatile u64 *)at = value;
  }
}

/* String instructions move many items in one exit. */
static void repeat(struct fuzzer *f, u16 port, u32 size, u64 buffer, u64 count, bool in) {
  if (in && size == 1) __asm__ volatile("rep insb" : "+D"(buffer), "+c"(count) : "d"(port) : "memory");
  else if (in) __asm__ volatile("rep insl" : "+D"(buffer), "+c"(count) : "d"(port) : "memory");
  else if (size == 1) __asm__ volatile("rep outsb" : "+S"(buffer), "+c"(count) : "d"(port) : "memory");
  else __asm__ volatile("rep outsw" : "+S"(buffer), "+c"(count) : "d"(port) : "memory");
  f->port_accesses += (u32)count;
}

void fuzz_ports(struct fuzzer *f) {
  u32 size = 1u << below(f, 3), port = random_port(&f->random, size);
  f->port_accesses++;
  if (port == NO_PORT || (!f->wild && is_avoided(port, size))) return;
  if (below(f, 8) == 0 && (f->wild || !is_dangerous(port, 4))) {
    u64 buffer = fuzz_machine.arena + below(f, 1 << 20);
    repeat(f, (u16)port, size, buffer, below(f, REPEATED_MAX), below(f, 2));
  } else if (below(f, 3) == 0) {
    if (size == 1) in8((u16)port);
    else if (size == 2) in16((u16)port);
    else in32((u16)port);
  } else if (f->wild) {
    u32 value = (u32)random_edge(&f->random);
    if (size == 1) out8((u16)port, (u8)value);
    else if (size == 2) out16((u16)port, (u16)value);
    else out32((u16)port, value);
  } else {
    write_port((u16)port, size, (u32)random_edge(&f->random));
  }
}

static pci_function any_function(struct fuzzer *f) {
  return below(f, 8) == 0 ? (pci_function)random_next(&f->random)
                          : fuzz_machine.functions[below(f, fuzz_machine.function_count)];
}

/* Into the address port by one CPU, out of the data port by another: each meets what the other has chosen. */
static void by_ports(struct fuzzer *f, pci_function to, u32 reg, u32 size, u32 value) {
  if (below(f, 4) != 0) out32(PORT_PCI_ADDRESS, (below(f, 16) == 0 ? 0 : ENABLE) | (u32)to << 8 | (reg & 0xfc));
  u16 port = (u16)(PORT_PCI_DATA + (reg & 3));
  if (below(f, 3) == 0) size == 1 ? in8(port) : size == 2 ? in16(port) : in32(port);
  else if (size == 1) out8(port, (u8)value);
  else if (size == 2) out16(port, (u16)value);
  else out32(port, value);
}

static void by_ecam(struct fuzzer *f, pci_function to, u32 reg, u32 size, u32 value) {
  u64 at = acpi()->ecam_base + ((u64)to << 12) + reg;
  if (to >> 8 > acpi()->ecam_last_bus) return;
  if (below(f, 3) == 0) size == 1 ? mmio_read8(at) : size == 2 ? mmio_read16(at) : mmio_read32(at);
  else if (size == 1) mmio_write8(at, (u8)value);
  else if (size == 2) mmio_write16(at, (u16)value);
  else mmio_write32(at, value);
}

void fuzz_configuration(struct fuzzer *f) {
  if (fuzz_machine.function_count == 0) return;
  pci_function to = any_function(f);
  u32 size = 1u << below(f, 3), reg = below(f, SAVED_BYTES) & ~(size - 1), value = (u32)fuzz_value(f);
  f->configuration_accesses++;
  switch (below(f, 6)) {
    case 0: /* a BAR somewhere else, while its queues are live */
      reg = PCI_BAR0 + 4 * below(f, 2);
      value = below(f, 2) ? (u32)fuzz_address(f, PAGE) : saved[0][reg / 4];
      size = 4;
      break;
    case 1: /* decoding, bus mastering, INTx */
      reg = PCI_COMMAND;
      value = below(f, 4) == 0 ? (u32)random_next(&f->random) : COMMAND_MEMORY | COMMAND_MASTER;
      size = 2;
      break;
    case 2: { /* back to where it was */
      u32 n = below(f, fuzz_machine.function_count);
      to = fuzz_machine.functions[n];
      reg = PCI_BAR0 + 4 * below(f, 2);
      value = saved[n][reg / 4];
      size = 4;
      break;
    }
    default: break;
  }
  if (below(f, 2)) by_ports(f, to, reg, size, value);
  else by_ecam(f, to, below(f, 16) == 0 ? below(f, ECAM_CONFIG_BYTES) & ~(size - 1) : reg, size, value);
}

/* Messages that arrive are fixed or lowest priority, to vectors nobody has enabled interrupts for; unless wild. */
static u32 message_data(struct fuzzer *f) {
  u32 data = (u32)random_next(&f->random);
  if (f->wild) return data;
  data = (data & ~(7u << 8) & ~VECTOR_MASK) | (FIRST_HARMLESS_VECTOR + below(f, VECTOR_MASK - FIRST_HARMLESS_VECTOR));
  return below(f, 2) ? data : data | 1u << 8;
}

void fuzz_msix(struct fuzzer *f) {
  const struct victim *v = &fuzz_machine.victims[below(f, fuzz_machine.victim_count)];
  const struct msix *msix = &v->device.msix;
  if (v->device.registers != 0) return;
  f->configuration_accesses++;
  u32 entry = below(f, 16) == 0 ? below(f, PAGE / 16) : below(f, msix->count + 1), word = below(f, MSIX_TABLE_WORDS);
  u64 at = msix->table + 16ul * entry + 4ul * word;
  switch (below(f, 8)) {
    case 0:
      pci_write(v->device.function, msix->capability + MSIX_CONTROL, 2,
                below(f, 2) ? (u32)random_next(&f->random) : 0x8000);
      break;
    case 1: mmio_read32(at); break;
    case 2: mmio_write32(msix->pending + 4ul * below(f, 4), (u32)random_next(&f->random)); break;
    case 3: msix_mask(msix, below(f, msix->count), below(f, 2)); break;
    default:
      if (word == 0) mmio_write32(at, below(f, 2) ? MSI_ADDRESS | below(f, 1 << 20) : (u32)random_edge(&f->random));
      else if (word == 1) mmio_write32(at, below(f, 2) ? 0 : (u32)random_edge(&f->random));
      else mmio_write32(at, word == 2 ? message_data(f) : below(f, 2));
  }
}

void fuzz_save(void) {
  for (u32 i = 0; i < fuzz_machine.function_count; i++)
    for (u32 reg = 0; reg < SAVED_BYTES; reg += 4) saved[i][reg / 4] = pci_read32(fuzz_machine.functions[i], reg);
  for (u32 i = 0; i < fuzz_machine.victim_count; i++) {
    struct virtio_device *d = &fuzz_machine.victims[i].device;
    if (d->registers == 0) check(msix_open(d->function, &d->msix), "a device without MSI-X");
  }
}

void fuzz_restore(void) {
  for (u32 i = 0; i < fuzz_machine.function_count; i++) {
    pci_function to = fuzz_machine.functions[i];
    pci_write(to, PCI_COMMAND, 2, 0);
    for (u32 reg = SAVED_BYTES - 4; reg > PCI_COMMAND; reg -= 4) pci_write(to, reg, 4, saved[i][reg / 4]);
    pci_write(to, PCI_COMMAND, 2, (u16)saved[i][PCI_COMMAND / 4]);
    for (u32 reg = 0; reg < PCI_COMMAND; reg += 4)
      check(pci_read32(to, reg) == saved[i][reg / 4], "function 0x%x has changed its identity", to);
  }
}
