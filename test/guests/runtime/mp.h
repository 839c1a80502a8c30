/* The MP configuration table (Intel MultiProcessor Specification 1.4 §4), as a kernel without ACPI reads it. */
#ifndef GUEST_MP_H
#define GUEST_MP_H

#include "types.h"

struct mp {
  u32 cpu_count, boot_apic_id;
  u8 cpu_apic_ids[256];
  u8 ioapic_id;
  u64 ioapic;
  int isa_pin[256]; /* pin at which an ISA interrupt arrives, by its number; -1 = none */
  u32 pci_interrupts, local_interrupts;
};

/* NULL when the machine has no table; one that is wrong is a failure. */
const struct mp *mp_table(void);

#endif
