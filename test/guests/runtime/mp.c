/* Searches the BIOS's area for the floating pointer (§4.1), checks both sums and every length (§4.2, §4.3). */
#include "mp.h"
#include "exit.h"
#include "machine.h"
#include "memory.h"

enum { POINTER_BYTES = 16, POINTER_TABLE = 4, HEADER_BYTES = 44, TABLE_LENGTH = 4, TABLE_ENTRIES = 34, TABLE_LAPIC = 36 };
enum { PROCESSOR = 0, BUS = 1, IOAPIC = 2, IO_INTERRUPT = 3, LOCAL_INTERRUPT = 4, TYPES = 5 };
enum { PROCESSOR_ENABLED = 1, PROCESSOR_BOOT = 2, INTERRUPT_INT = 0, MAX_BUSES = 256 };
#define SEARCH_START 0xf0000ul
#define SEARCH_END 0x100000ul

static struct mp found;
static bool is_isa[MAX_BUSES], is_pci[MAX_BUSES];

static u32 read32(const u8 *at) { return (u32)at[0] | (u32)at[1] << 8 | (u32)at[2] << 16 | (u32)at[3] << 24; }

static bool sums_to_zero(const u8 *bytes, u32 length) {
  u8 sum = 0;
  for (u32 i = 0; i < length; i++) sum = (u8)(sum + bytes[i]);
  return sum == 0;
}

static void read_processor(const u8 *at) {
  if ((at[3] & PROCESSOR_ENABLED) == 0) return;
  if (at[3] & PROCESSOR_BOOT) found.boot_apic_id = at[1];
  check(found.cpu_count < sizeof found.cpu_apic_ids, "too many processors in the MP table");
  found.cpu_apic_ids[found.cpu_count++] = at[1];
}

static void read_interrupt(const u8 *at) {
  check(is_isa[at[4]] || is_pci[at[4]], "an interrupt of bus %u, which does not exist", at[4]);
  check(at[6] == found.ioapic_id && at[7] < IOAPIC_PINS, "an interrupt at pin %u of IOAPIC %u", at[7], at[6]);
  if (at[1] != INTERRUPT_INT) return;
  if (is_pci[at[4]]) found.pci_interrupts++;
  else found.isa_pin[at[5]] = at[7];
}

static void read_entries(const u8 *at, const u8 *end, u32 count) {
  static const u8 bytes[TYPES] = {20, 8, 8, 8, 8};
  for (u8 last = 0; count > 0; count--) {
    u8 type = *at;
    check(at < end && type < TYPES && type >= last && at + bytes[type] <= end, "MP table: entry of type %u", type);
    last = type;
    if (type == PROCESSOR) read_processor(at);
    if (type == BUS) {
      is_isa[at[1]] = memcmp(at + 2, "ISA   ", 6) == 0;
      is_pci[at[1]] = memcmp(at + 2, "PCI   ", 6) == 0;
      check(is_isa[at[1]] || is_pci[at[1]], "MP table: a bus that is neither ISA nor PCI");
    }
    if (type == IOAPIC) found.ioapic_id = at[1], found.ioapic = read32(at + 4);
    if (type == IO_INTERRUPT) read_interrupt(at);
    if (type == LOCAL_INTERRUPT) found.local_interrupts++;
    at += bytes[type];
  }
  check(at == end, "MP table: %lu bytes left over", (u64)(end - at));
}

const struct mp *mp_table(void) {
  for (u64 at = SEARCH_START; at < SEARCH_END; at += POINTER_BYTES) {
    const u8 *pointer = (const u8 *)at;
    if (memcmp(pointer, "_MP_", 4) != 0 || !sums_to_zero(pointer, POINTER_BYTES)) continue;
    const u8 *table = (const u8 *)(u64)read32(pointer + POINTER_TABLE);
    u32 length = (u32)table[TABLE_LENGTH] | (u32)table[TABLE_LENGTH + 1] << 8;
    check(memcmp(table, "PCMP", 4) == 0 && length >= HEADER_BYTES && sums_to_zero(table, length), "MP table at 0x%lx",
          (u64)table);
    check(read32(table + TABLE_LAPIC) == LAPIC_BASE, "MP table: local APICs at 0x%x", read32(table + TABLE_LAPIC));
    found = (struct mp){0};
    for (u32 i = 0; i < ARRAY_LENGTH(found.isa_pin); i++) found.isa_pin[i] = -1;
    u32 count = (u32)table[TABLE_ENTRIES] | (u32)table[TABLE_ENTRIES + 1] << 8;
    read_entries(table + HEADER_BYTES, table + length, count);
    return &found;
  }
  return NULL;
}
