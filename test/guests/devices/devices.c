/*
 * devices: prints what the machine is made of and checks the parts that guests take for granted: the PCI functions by
 * both configuration mechanisms, their capabilities and BARs, that a BAR can be moved, the serial port's self-tests
 * that drivers use to recognise a 16550, the clock, the i8042, ACPI tables and CPUID's hypervisor leaves.
 *
 * Options: skip=LIST of pci, move, serial, rtc, i8042, acpi, cpuid.
 */
#include "pci-report.h"
#include "runtime/acpi.h"
#include "runtime/cpu.h"
#include "runtime/exit.h"
#include "runtime/interrupts.h"
#include "runtime/machine.h"
#include "runtime/memory.h"
#include "runtime/print.h"
#include "runtime/start-info.h"
#include "runtime/start.h"
#include "runtime/time.h"
#include "runtime/uart.h"

static void report_cpuid(void) {
  char vendor[13] = {0}, hypervisor[13] = {0};
  struct cpuid leaf0 = cpuid(0, 0), leaf1 = cpuid(1, 0), leaf_hypervisor = cpuid(0x40000000, 0);
  memcpy(vendor, &leaf0.ebx, 4);
  memcpy(vendor + 4, &leaf0.edx, 4);
  memcpy(vendor + 8, &leaf0.ecx, 4);
  memcpy(hypervisor, &leaf_hypervisor.ebx, 12);
  bool present = leaf1.ecx >> 31;
  print("cpuid: vendor %s, max leaf 0x%x, signature 0x%x, hypervisor bit %u", vendor, leaf0.eax, leaf1.eax, present);
  if (present)
    print(", hypervisor %s, max 0x%x, features 0x%x", hypervisor, leaf_hypervisor.eax, cpuid(0x40000001, 0).eax);
  print("\n");
  struct cpuid extended = cpuid(0x80000000, 0);
  if (extended.eax >= 0x80000008) print("cpuid: %u physical address bits\n", cpuid(0x80000008, 0).eax & 0xff);
}

static void report_acpi(void) {
  const struct acpi *tables = acpi();
  if (!tables->found) {
    print("acpi: none\n");
    return;
  }
  print("acpi:");
  for (u32 i = 0; i < tables->table_count; i++)
    print(" %c%c%c%c", tables->tables[i][0], tables->tables[i][1], tables->tables[i][2], tables->tables[i][3]);
  print("; sci %u, pm1a 0x%x, s5 %u, ecam 0x%lx buses %u-%u, cpus %u", tables->sci, tables->pm1a_control,
        tables->sleep_type_a, tables->ecam_base, tables->ecam_first_bus, tables->ecam_last_bus, tables->cpu_count);
  if (tables->reset_supported)
    print(", reset space %u 0x%lx value 0x%x", tables->reset_space, tables->reset_address, tables->reset_value);
  print("\n");
}

/* CMOS RTC (MC146818A datasheet): register B says whether the fields are binary and count 24 hours. */
static u8 rtc_field(u8 index, bool binary) {
  out8(PORT_RTC_INDEX, index);
  u8 v = in8(PORT_RTC_DATA);
  return binary ? v : (u8)((v >> 4) * 10 + (v & 15));
}

static void report_rtc(void) {
  enum {
    SECONDS = 0,
    MINUTES = 2,
    HOURS = 4,
    DAY = 7,
    MONTH = 8,
    YEAR = 9,
    STATUS_A = 10,
    STATUS_B = 11,
    STATUS_D = 13,
    CENTURY = 0x32
  };
  enum { UPDATING = 0x80, IS_24_HOURS = 2, IS_BINARY = 4, VALID = 0x80, MAX_TRIES = 100000 };
  bool binary = rtc_field(STATUS_B, true) & IS_BINARY;
  check(rtc_field(STATUS_B, true) & IS_24_HOURS, "the clock counts 12 hours");
  check(rtc_field(STATUS_D, true) & VALID, "the clock's battery is flat");
  for (int i = 0; rtc_field(STATUS_A, true) & UPDATING; i++) check(i < MAX_TRIES, "the clock updates for ever");
  u32 year = rtc_field(YEAR, binary), century = rtc_field(CENTURY, binary);
  year += century >= 19 && century <= 21 ? century * 100 : 2000;
  u8 month = rtc_field(MONTH, binary), day = rtc_field(DAY, binary), hour = rtc_field(HOURS, binary);
  u8 minute = rtc_field(MINUTES, binary), second = rtc_field(SECONDS, binary);
  check(month >= 1 && month <= 12 && day >= 1 && day <= 31 && hour < 24 && minute < 60 && second < 61,
        "the clock's fields are out of range");
  print("rtc: %04u-%02u-%02uT%02u:%02u:%02uZ\n", year, month, day, hour, minute, second);
  u64 deadline = deadline_in(3000);
  while (rtc_field(SECONDS, binary) == second) check(!expired(deadline), "the clock stands still");
}

/* What the Linux 8250 driver's autoconfig does: scratch register, loopback of the modem lines, loopback of data,
   FIFOs. */
static void check_serial(void) {
  uart_write(UART_SCRATCH, 0x5a);
  check(uart_read(UART_SCRATCH) == 0x5a, "no scratch register");
  while ((uart_read(UART_LINE_STATUS) & LSR_IDLE) == 0) cpu_relax();
  uart_write(UART_FIFO_CONTROL, FCR_ENABLE | FCR_CLEAR_BOTH);
  bool fifos = (uart_read(UART_INTERRUPT_ID) & IIR_FIFOS) == IIR_FIFOS;
  uart_write(UART_MODEM_CONTROL, MCR_LOOP | MCR_OUT2 | MCR_RTS);
  u8 lines = uart_read(UART_MODEM_STATUS) & 0xf0;
  u32 received = 0, wrong = 0;
  for (u8 i = 0; i < UART_FIFO_BYTES; i++) uart_write(UART_DATA, (u8)(0xa0 + i));
  u64 deadline = deadline_in(1000);
  while (received < UART_FIFO_BYTES && !expired(deadline)) {
    if ((uart_read(UART_LINE_STATUS) & LSR_DATA_READY) == 0) continue;
    wrong += uart_read(UART_DATA) != 0xa0 + received++;
  }
  u8 status = uart_read(UART_LINE_STATUS);
  uart_write(UART_LINE_CONTROL, LCR_DLAB | LCR_8N1);
  uart_write(UART_DATA, 0x0c);
  uart_write(UART_INTERRUPT_ENABLE, 0);
  u8 divisor_low = uart_read(UART_DATA), divisor_high = uart_read(UART_INTERRUPT_ENABLE);
  uart_write(UART_DATA, 1);
  serial_init();
  check(fifos, "the FIFOs do not enable");
  check(lines == 0x90, "looped modem lines read 0x%02x instead of 0x90", lines);
  check(received == UART_FIFO_BYTES && wrong == 0, "of %u looped bytes %u came back, %u wrong", UART_FIFO_BYTES,
        received, wrong);
  check((status & (LSR_DATA_READY | LSR_OVERRUN)) == 0, "line status 0x%02x after loopback", status);
  check(divisor_low == 0x0c && divisor_high == 0, "the divisor reads %u", divisor_low | divisor_high << 8);
  print("serial: 16550A, scratch, loopback of lines and of %u bytes, divisor\n", received);
}

/* A guest's driver probes the controller and must get a quick answer: self test and the configuration byte. */
static void check_i8042(void) {
  enum {
    OUTPUT_FULL = 1,
    INPUT_FULL = 2,
    SELF_TEST = 0xaa,
    SELF_TEST_PASSED = 0x55,
    READ_CONFIG = 0x20,
    PATIENCE_MS = 500
  };
  if (in8(PORT_I8042_COMMAND) == 0xff) {
    print("i8042: absent\n");
    return;
  }
  for (int i = 0; i < 16 && (in8(PORT_I8042_COMMAND) & OUTPUT_FULL); i++) in8(PORT_I8042_DATA);
  const u8 commands[] = {SELF_TEST, READ_CONFIG};
  u8 answers[2];
  for (u32 i = 0; i < 2; i++) {
    u64 deadline = deadline_in(PATIENCE_MS);
    out8(PORT_I8042_COMMAND, commands[i]);
    while ((in8(PORT_I8042_COMMAND) & OUTPUT_FULL) == 0)
      check(!expired(deadline), "no answer to i8042 command 0x%x", commands[i]);
    answers[i] = in8(PORT_I8042_DATA);
  }
  check(answers[0] == SELF_TEST_PASSED, "i8042 self test answers 0x%x", answers[0]);
  print("i8042: self test passed, configuration 0x%02x\n", answers[1]);
}

void guest_main(void) {
  if (!option_lists("skip", "cpuid", false)) report_cpuid();
  if (!option_lists("skip", "acpi", false)) report_acpi();
  if (!option_lists("skip", "serial", false)) check_serial();
  if (!option_lists("skip", "rtc", false)) report_rtc();
  if (!option_lists("skip", "i8042", false)) check_i8042();
  if (!option_lists("skip", "pci", false)) {
    u32 functions = pci_report();
    print("pci: %u functions, both mechanisms agree\n", functions);
    if (!option_lists("skip", "move", false)) pci_move_bars();
  }
  print("devices ok\n");
}
