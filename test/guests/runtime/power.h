/* The ways to reset a PC and to switch it off. Each answers when the machine ignored it. */
#ifndef GUEST_POWER_H
#define GUEST_POWER_H

#include "types.h"

void reset_by_i8042(void);
/* Through the FADT's reset register; false when the tables name none (ACPI §4.8.3.6). */
bool reset_by_acpi(void);
/* Through the chipset's port 0xCF9, as Linux does with reboot=pci. */
void reset_by_reset_control(void);
__attribute__((noreturn)) void triple_fault(void);
/* S5 through the PM1 control registers (ACPI §4.8.3.2.1). */
void power_off(void);

#endif
