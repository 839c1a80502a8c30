/*
 * exits: causes exits in a tight loop and counts the time stamp counter's ticks, for benchmarks and for comparison with
 * other loops around KVM_RUN. Options: by=pio reads the serial port's scratch register, by=pci port 0xCFC, by=mmio the vendor
 * id of the host bridge in the ECAM window; count=N (default 10000), after warm=N that are not counted (default 0).
 */
#include "runtime/cpu.h"
#include "runtime/exit.h"
#include "runtime/machine.h"
#include "runtime/memory.h"
#include "runtime/print.h"
#include "runtime/start-info.h"
#include "runtime/start.h"

enum { PORT_SCRATCH = 0x3ff, PORT_CONFIG_ADDRESS = 0xcf8, PORT_CONFIG_DATA = 0xcfc };
static const u64 ecam = 0xe0000000;

enum access { BY_PIO, BY_PCI, BY_MMIO };

static u32 cause_exits(enum access by, u32 count) {
  u32 value = 0;
  if (by == BY_MMIO)
    for (u32 i = 0; i < count; i++) value = mmio_read32(ecam);
  else if (by == BY_PCI)
    for (u32 i = 0; i < count; i++) value = in32(PORT_CONFIG_DATA);
  else
    for (u32 i = 0; i < count; i++) value = in8(PORT_SCRATCH);
  return value;
}

void guest_main(void) {
  u32 count = (u32)option_number("count", 10000), warm = (u32)option_number("warm", 0);
  enum access by = option_is("by", "mmio") ? BY_MMIO : option_is("by", "pci") ? BY_PCI : BY_PIO;
  if (by == BY_PIO && !option_is("by", "pio")) usage("exits by=pio|pci|mmio [count=N] [warm=N]");
  if (by == BY_MMIO) map_physical(ecam, 4096);
  if (by == BY_PCI) out32(PORT_CONFIG_ADDRESS, 0x80000000);
  out8(PORT_SCRATCH, 0x5a);
  cause_exits(by, warm);
  u64 start = rdtsc();
  u32 value = cause_exits(by, count);
  u64 ticks = rdtsc() - start;
  check(by != BY_PIO || value == 0x5a, "the scratch register reads 0x%x", value);
  print("exits ok: %u round trips, %lu ticks, last 0x%x\n", count, ticks, value);
}
