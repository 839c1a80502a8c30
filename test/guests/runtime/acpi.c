/*
 * Just enough of ACPI 6.4: RSDP (§5.2.5), RSDT and XSDT (§5.2.7-8), FADT (§5.2.9), MADT (§5.2.12), MCFG (PCI firmware
 * specification §4.1.2). _S5 is found in the DSDT by its name and the encoding of a package of small integers
 * (§20.2.5), since a guest this small has no AML interpreter. Every table's checksum must be right.
 */
#include "acpi.h"
#include "exit.h"
#include "machine.h"
#include "memory.h"
#include "start-info.h"

struct __attribute__((packed)) header {
  char signature[4];
  u32 length;
  u8 revision, checksum;
  char oem[26];
};

/* Byte offsets into the tables. */
enum { RSDP_REVISION = 15, RSDP_RSDT = 16, RSDP_LENGTH = 20, RSDP_XSDT = 24, RSDP_V1_BYTES = 20, RSDP_V2_BYTES = 36 };
enum { FADT_DSDT = 40, FADT_SCI = 46, FADT_SMI_COMMAND = 48, FADT_ACPI_ENABLE = 52 };
enum {
  FADT_PM1A_EVENT = 56,
  FADT_PM1A_CONTROL = 64,
  FADT_PM1B_CONTROL = 68,
  FADT_PM_TIMER = 76,
  FADT_PM1_EVENT_BYTES = 88,
  FADT_FLAGS = 112,
  FADT_RESET = 116,
  FADT_RESET_VALUE = 128,
  FADT_X_DSDT = 140
};
enum { FADT_FLAG_TIMER_32_BITS = 1 << 8, FADT_FLAG_RESET = 1 << 10 };
enum { MADT_ENTRIES = 44, MADT_LOCAL_APIC = 0, MADT_ENABLED = 1 };
enum { MCFG_ENTRIES = 44, MCFG_ENTRY_BYTES = 16 };
enum { AML_PACKAGE = 0x12, AML_BYTE = 0x0a, AML_ONE = 0x01 };
#define MAX_TABLE_BYTES 0x100000u
#define BIOS_START 0xe0000ul
#define BIOS_END 0x100000ul

static struct acpi found;

static u32 read32(const u8 *at) { return (u32)at[0] | (u32)at[1] << 8 | (u32)at[2] << 16 | (u32)at[3] << 24; }
static u64 read64(const u8 *at) { return read32(at) | (u64)read32(at + 4) << 32; }

static bool sums_to_zero(const u8 *bytes, u32 length) {
  u8 sum = 0;
  for (u32 i = 0; i < length; i++) sum = (u8)(sum + bytes[i]);
  return sum == 0;
}

static const u8 *find_rsdp(void) {
  if (start_info->rsdp != 0) return (const u8 *)start_info->rsdp;
  for (u64 at = BIOS_START; at < BIOS_END; at += 16)
    if (memcmp((const void *)at, "RSD PTR ", 8) == 0 && sums_to_zero((const u8 *)at, RSDP_V1_BYTES))
      return (const u8 *)at;
  return NULL;
}

static const struct header *table_at(u64 address) {
  const struct header *table = (const struct header *)address;
  map_physical(address, sizeof *table);
  check(table->length >= sizeof *table && table->length <= MAX_TABLE_BYTES, "ACPI table at 0x%lx has length %u",
        address, table->length);
  map_physical(address, table->length);
  check(sums_to_zero((const u8 *)table, table->length), "ACPI table at 0x%lx has a wrong checksum", address);
  return table;
}

static u8 small_integer(const u8 **at) {
  if (**at == AML_BYTE) return *at += 2, (*at)[-1];
  return *(*at)++ <= AML_ONE ? (*at)[-1] : 0;
}

static void read_s5(const struct header *dsdt) {
  const u8 *at = (const u8 *)(dsdt + 1), *end = (const u8 *)dsdt + dsdt->length - 12;
  found.dsdt = (const u8 *)dsdt;
  found.dsdt_bytes = dsdt->length;
  for (; at < end; at++) {
    if (memcmp(at, "_S5_", 4) != 0 || at[4] != AML_PACKAGE) continue;
    at += 5;
    at += 1 + (*at >> 6); /* package length */
    at++;                 /* element count */
    found.sleep_type_a = small_integer(&at);
    found.sleep_type_b = small_integer(&at);
    return;
  }
}

static void read_fadt(const struct header *table) {
  const u8 *fadt = (const u8 *)table;
  found.sci = fadt[FADT_SCI] | (u32)fadt[FADT_SCI + 1] << 8;
  found.pm1a_control = read32(fadt + FADT_PM1A_CONTROL);
  found.pm1b_control = read32(fadt + FADT_PM1B_CONTROL);
  found.pm1a_event = read32(fadt + FADT_PM1A_EVENT);
  found.pm1_event_bytes = fadt[FADT_PM1_EVENT_BYTES];
  found.pm_timer = read32(fadt + FADT_PM_TIMER);
  found.pm_timer_is_32_bits = read32(fadt + FADT_FLAGS) & FADT_FLAG_TIMER_32_BITS;
  found.smi_command = read32(fadt + FADT_SMI_COMMAND);
  found.acpi_enable = fadt[FADT_ACPI_ENABLE];
  if (table->length > FADT_RESET_VALUE && (read32(fadt + FADT_FLAGS) & FADT_FLAG_RESET) != 0) {
    found.reset_supported = true;
    found.reset_space = fadt[FADT_RESET];
    found.reset_address = read64(fadt + FADT_RESET + 4);
    found.reset_value = fadt[FADT_RESET_VALUE];
  }
  u64 dsdt = table->length >= FADT_X_DSDT + 8 ? read64(fadt + FADT_X_DSDT) : 0;
  if (dsdt == 0) dsdt = read32(fadt + FADT_DSDT);
  if (dsdt != 0) read_s5(table_at(dsdt));
}

static void read_madt(const struct header *table) {
  const u8 *at = (const u8 *)table + MADT_ENTRIES, *end = (const u8 *)table + table->length;
  for (; at + 2 <= end && at[1] >= 2; at += at[1])
    if (at[0] == MADT_LOCAL_APIC && (read32(at + 4) & MADT_ENABLED) != 0 && found.cpu_count < sizeof found.cpu_apic_ids)
      found.cpu_apic_ids[found.cpu_count++] = at[3];
}

static void read_table(const struct header *table) {
  if (found.table_count < ARRAY_LENGTH(found.tables)) memcpy(found.tables[found.table_count++], table->signature, 4);
  if (memcmp(table->signature, "FACP", 4) == 0) read_fadt(table);
  if (memcmp(table->signature, "APIC", 4) == 0) read_madt(table);
  if (memcmp(table->signature, "MCFG", 4) == 0 && table->length >= MCFG_ENTRIES + MCFG_ENTRY_BYTES) {
    const u8 *entry = (const u8 *)table + MCFG_ENTRIES;
    found.ecam_base = read64(entry);
    found.ecam_first_bus = entry[10];
    found.ecam_last_bus = entry[11];
  }
}

static void read_tables(const u8 *rsdp) {
  check(memcmp(rsdp, "RSD PTR ", 8) == 0 && sums_to_zero(rsdp, RSDP_V1_BYTES), "no RSDP at 0x%lx", (u64)rsdp);
  bool wide = rsdp[RSDP_REVISION] >= 2 && read64(rsdp + RSDP_XSDT) != 0;
  check(!wide || (read32(rsdp + RSDP_LENGTH) >= RSDP_V2_BYTES && sums_to_zero(rsdp, RSDP_V2_BYTES)),
        "RSDP has a wrong extended checksum");
  const struct header *list = table_at(wide ? read64(rsdp + RSDP_XSDT) : read32(rsdp + RSDP_RSDT));
  const u8 *at = (const u8 *)(list + 1), *end = (const u8 *)list + list->length;
  found.ecam_base = 0;
  for (; at + (wide ? 8 : 4) <= end; at += wide ? 8 : 4) read_table(table_at(wide ? read64(at) : read32(at)));
  found.found = true;
}

const struct acpi *acpi(void) {
  static bool searched;
  if (searched) return &found;
  searched = true;
  found = (struct acpi){
      .pm1a_control = PORT_PM1A_CONTROL,
      .pm1a_event = PORT_PM1A_EVENT,
      .pm1_event_bytes = 4,
      .pm_timer = PORT_PM_TIMER,
      .sleep_type_a = SLEEP_TYPE_S5,
      .sci = SCI_GSI,
      .ecam_base = ECAM_BASE,
      .ecam_last_bus = 255,
  };
  const u8 *rsdp = find_rsdp();
  if (rsdp != NULL) read_tables(rsdp);
  return &found;
}
