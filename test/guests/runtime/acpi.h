/* The ACPI facts that guests use, read from the machine's tables; machine.h's constants when there are none. */
#ifndef GUEST_ACPI_H
#define GUEST_ACPI_H

#include "types.h"

struct acpi {
  bool found;                      /* an RSDP was there and its table list checked out */
  u32 pm1a_control, pm1b_control;  /* ports; 0 = none */
  u32 pm1a_event, pm1_event_bytes; /* status, then enable register */
  u32 pm_timer;
  bool pm_timer_is_32_bits;
  u32 smi_command;               /* port; 0 = the machine is always in ACPI mode */
  u8 acpi_enable;                /* what to write there */
  u8 sleep_type_a, sleep_type_b; /* S5 */
  u32 sci;
  bool reset_supported;
  u8 reset_space, reset_value; /* space: 0 memory, 1 port */
  u64 reset_address;
  u64 ecam_base;
  u8 ecam_first_bus, ecam_last_bus;
  u32 cpu_count; /* enabled local APICs of the MADT */
  u8 cpu_apic_ids[256];
  const u8 *dsdt;
  u32 dsdt_bytes;
  u32 table_count;
  char tables[24][4]; /* signatures, for printing */
};

const struct acpi *acpi(void);

#endif
