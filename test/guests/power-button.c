/*
 * power-button: does what an operating system does when its ACPI power button is pressed: takes the SCI, clears the
 * event and powers off (ACPI §4.8.2.2.1.1, §4.8.3.1).
 *
 * Options: ignore=N presses are only reported before one powers off.
 */
#include "runtime/acpi.h"
#include "runtime/apic.h"
#include "runtime/cpu.h"
#include "runtime/exit.h"
#include "runtime/interrupts.h"
#include "runtime/power.h"
#include "runtime/print.h"
#include "runtime/start-info.h"
#include "runtime/start.h"
#include "runtime/time.h"

enum { VECTOR = 0x49, PM1_POWER_BUTTON = 1 << 8, PM1_SCI_ENABLE = 1, ENABLE_MS = 3000 };

static u16 status_port, enable_port;
static volatile u32 presses, other_interrupts;

static void on_sci(struct trap_frame *frame) {
  (void)frame;
  if (in16(status_port) & PM1_POWER_BUTTON) {
    out16(status_port, PM1_POWER_BUTTON); /* clears it, and lowers the line */
    presses++;
  } else {
    other_interrupts++;
  }
  lapic_eoi();
}

static void enter_acpi_mode(const struct acpi *tables) {
  if (in16((u16)tables->pm1a_control) & PM1_SCI_ENABLE) return;
  if (tables->smi_command == 0) fail("SCI_EN is clear and there is no SMI command port");
  out8((u16)tables->smi_command, tables->acpi_enable);
  u64 deadline = deadline_in(ENABLE_MS);
  while ((in16((u16)tables->pm1a_control) & PM1_SCI_ENABLE) == 0)
    check(!expired(deadline), "the machine does not enter ACPI mode");
}

void guest_main(void) {
  const struct acpi *tables = acpi();
  if (tables->pm1a_event == 0 || tables->pm1_event_bytes < 4) usage("this machine has no PM1a event registers");
  u64 ignored = option_number("ignore", 0);
  status_port = (u16)tables->pm1a_event;
  enable_port = (u16)(tables->pm1a_event + tables->pm1_event_bytes / 2);
  enter_acpi_mode(tables);
  lapic_enable();
  on_vector(VECTOR, on_sci);
  ioapic_route(tables->sci, VECTOR, TRIGGER_LEVEL);
  out16(status_port, PM1_POWER_BUTTON);
  out16(enable_port, PM1_POWER_BUTTON);
  check(in16(enable_port) & PM1_POWER_BUTTON, "the power button event does not enable");
  print("power-button: waiting\n");
  for (u32 reported = 0;;) {
    while (presses == reported) wait_for_interrupt();
    print("power-button: press %u\n", ++reported);
    check(other_interrupts == 0, "%u interrupts without a press", other_interrupts);
    if (reported > ignored) break;
  }
  print("power-button: powering off\n");
  power_off();
  delay_microseconds(1000000);
  fail("still running a second after S5");
}
