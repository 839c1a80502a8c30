/* poweroff: switches the machine off by ACPI S5, with the ports and the sleep type that the tables give. */
#include "runtime/acpi.h"
#include "runtime/exit.h"
#include "runtime/power.h"
#include "runtime/print.h"
#include "runtime/start.h"
#include "runtime/time.h"

void guest_main(void) {
  const struct acpi *tables = acpi();
  print("poweroff: PM1a control at 0x%x, S5 is type %u (%s)\n", tables->pm1a_control, tables->sleep_type_a,
        tables->found ? "from the ACPI tables" : "no ACPI tables");
  if (tables->pm1a_control == 0) usage("this machine has no PM1a control register (hardware-reduced ACPI)");
  power_off();
  delay_microseconds(1000000);
  fail("still running a second after S5");
}
