/*
 * Where things are: the ports and addresses that tsvmm and QEMU's PC machines share. What differs between them is
 * found through the ACPI tables (acpi.c); the values here are what is used when a machine has no tables.
 */
#ifndef GUEST_MACHINE_H
#define GUEST_MACHINE_H

enum {
  PORT_PIC1_COMMAND = 0x20,
  PORT_PIC1_DATA = 0x21,
  PORT_PIT_CHANNEL0 = 0x40,
  PORT_PIT_COMMAND = 0x43,
  PORT_I8042_DATA = 0x60,
  PORT_I8042_COMMAND = 0x64,
  PORT_RTC_INDEX = 0x70,
  PORT_RTC_DATA = 0x71,
  PORT_FAST_A20 = 0x92,
  PORT_PIC2_COMMAND = 0xa0,
  PORT_PIC2_DATA = 0xa1,
  PORT_APM_COMMAND = 0xb2,
  PORT_DEBUG_EXIT = 0xf4,
  PORT_SERIAL = 0x3f8,
  PORT_PVPANIC = 0x505,
  PORT_FW_CFG = 0x510,
  PORT_PM1A_EVENT = 0x600,
  PORT_PM1A_CONTROL = 0x604,
  PORT_PM_TIMER = 0x608,
  PORT_PCI_ADDRESS = 0xcf8,
  PORT_RESET_CONTROL = 0xcf9,
  PORT_PCI_DATA = 0xcfc,
};

enum {
  SERIAL_IRQ = 4,
  SCI_GSI = 9,
  PIT_GSI = 2, /* ISA IRQ 0 arrives at IOAPIC pin 2 on every PC */
  PCI_INTX_FIRST_GSI = 16,
  PCI_INTX_LAST_GSI = 23,
  IOAPIC_PINS = 24,
};

#define LAPIC_BASE 0xfee00000ul
#define IOAPIC_BASE 0xfec00000ul
#define ECAM_BASE 0xe0000000ul
#define DEVICE_HOLE_START 0xc0000000ul
#define FOUR_GIB 0x100000000ul

/* ACPI §4.8.3.2.1: PM1 control. S5 on tsvmm is type 5; QEMU's is 0, read from its DSDT. */
enum { PM1_SLEEP_TYPE_SHIFT = 10, PM1_SLEEP_ENABLE = 0x2000, SLEEP_TYPE_S5 = 5 };

enum { I8042_PULSE_RESET = 0xfe };
enum { PVPANIC_PANICKED = 1 };

/* What a guest writes to the debug exit port; a VMM that follows QEMU ends with (value << 1) | 1. */
enum { EXIT_OK = 0, EXIT_CHECK_FAILED = 1, EXIT_TRAP = 2, EXIT_USAGE = 3 };

#endif
