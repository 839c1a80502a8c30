/* Reset and power-off. */
#include "power.h"
#include "acpi.h"
#include "cpu.h"
#include "machine.h"

enum { RESET_CONTROL_SYSTEM = 0x02, RESET_CONTROL_FULL = 0x06, SPACE_MEMORY = 0, SPACE_IO = 1 };

void reset_by_i8042(void) { out8(PORT_I8042_COMMAND, I8042_PULSE_RESET); }

bool reset_by_acpi(void) {
  const struct acpi *tables = acpi();
  if (!tables->reset_supported) return false;
  if (tables->reset_space == SPACE_IO) out8((u16)tables->reset_address, tables->reset_value);
  else if (tables->reset_space == SPACE_MEMORY) mmio_write8(tables->reset_address, tables->reset_value);
  else return false;
  return true;
}

void reset_by_reset_control(void) {
  out8(PORT_RESET_CONTROL, RESET_CONTROL_SYSTEM);
  out8(PORT_RESET_CONTROL, RESET_CONTROL_FULL);
}

void triple_fault(void) {
  const struct __attribute__((packed)) {
    u16 limit;
    u64 base;
  } nothing = {0, 0};
  __asm__ volatile("lidt %0\n\tud2" ::"m"(nothing));
  __builtin_unreachable();
}

void power_off(void) {
  const struct acpi *tables = acpi();
  u16 port_a = (u16)tables->pm1a_control, port_b = (u16)tables->pm1b_control;
  u16 kept = in16(port_a) & (u16) ~(PM1_SLEEP_ENABLE | 7 << PM1_SLEEP_TYPE_SHIFT);
  out16(port_a, (u16)(kept | tables->sleep_type_a << PM1_SLEEP_TYPE_SHIFT | PM1_SLEEP_ENABLE));
  if (port_b != 0) out16(port_b, (u16)(tables->sleep_type_b << PM1_SLEEP_TYPE_SHIFT | PM1_SLEEP_ENABLE));
}
