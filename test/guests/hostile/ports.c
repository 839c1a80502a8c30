/*
 * Random reads and writes of all 65536 ports at every width. Left out is what ends or stops the machine by design:
 * the debug exit, pvpanic, the resets (i8042 pulse, 0x92, 0xCF9, the ACPI reset register), the sleep bit of PM1
 * control, SMI commands; PCI configuration, which is a part of its own; the serial data register (junk in the output
 * would hide the report); and what `avoid=LOW-HIGH,...` (hexadecimal) names for machines with more such ports.
 */
#include "hostile.h"
#include "runtime/acpi.h"
#include "runtime/cpu.h"
#include "runtime/exit.h"
#include "runtime/machine.h"
#include "runtime/print.h"
#include "runtime/start-info.h"
#include "runtime/uart.h"

struct range {
  u32 first, last;
};
enum {
  MAX_AVOIDED = 32,
  I8042_WRITE_OUTPUT_PORT = 0xd1,
  I8042_FIRST_PULSE = 0xf0,
  RESET_CONTROL_LAST = PORT_PCI_DATA + 3
};

static struct range avoided[MAX_AVOIDED];
static u32 avoided_count;

/* Where devices are dense, so that most tries meet something. */
static const struct range busy[] = {{0x00, 0xff},   {0x170, 0x177}, {0x1f0, 0x1f7}, {0x2e8, 0x2ff},
                                    {0x3b0, 0x3ff}, {0x4d0, 0x4d1}, {0x500, 0x6ff}, {0xc00, 0xd00}};

static void avoid(u32 first, u32 last) {
  check(avoided_count < MAX_AVOIDED, "too many port ranges to avoid");
  avoided[avoided_count++] = (struct range){first, last};
}

static u32 parse_hex(const char **at, const char *end) {
  u32 value = 0;
  for (; *at < end; (*at)++) {
    char c = **at;
    if (c >= '0' && c <= '9') value = value << 4 | (u32)(c - '0');
    else if (c >= 'a' && c <= 'f') value = value << 4 | (u32)(c - 'a' + 10);
    else break;
  }
  return value;
}

static void avoid_option(void) {
  size_t length;
  const char *at = option_text("avoid", &length), *end = at + length;
  while (at != NULL && at < end) {
    u32 first = parse_hex(&at, end);
    if (at >= end || *at++ != '-') usage("avoid=LOW-HIGH,... in hexadecimal");
    avoid(first, parse_hex(&at, end));
    if (at < end && *at++ != ',') usage("avoid=LOW-HIGH,... in hexadecimal");
  }
}

void choose_avoided(void) {
  const struct acpi *tables = acpi();
  avoided_count = 0;
  avoid(PORT_DEBUG_EXIT, PORT_DEBUG_EXIT + 3);
  avoid(PORT_PVPANIC, PORT_PVPANIC);
  avoid(PORT_FAST_A20, PORT_FAST_A20);
  avoid(PORT_APM_COMMAND, PORT_APM_COMMAND + 1);
  avoid(PORT_PCI_ADDRESS, RESET_CONTROL_LAST);
  avoid(PORT_SERIAL, PORT_SERIAL);
  if (tables->reset_supported && tables->reset_space == 1 && tables->reset_address != PORT_I8042_COMMAND)
    avoid((u32)tables->reset_address, (u32)tables->reset_address);
  if (tables->pm1a_control != 0)
    avoid(tables->pm1a_control + 1, tables->pm1a_control + 1); /* the byte with the sleep bit */
  if (tables->pm1b_control != 0) avoid(tables->pm1b_control + 1, tables->pm1b_control + 1);
  avoid_option();
}

bool is_avoided(u32 port, u32 size) {
  for (u32 i = 0; i < avoided_count; i++)
    if (port <= avoided[i].last && port + size > avoided[i].first) return true;
  return false;
}

void write_port(u16 port, u32 size, u32 value) {
  if (port <= PORT_I8042_COMMAND && port + size > PORT_I8042_COMMAND) {
    if (size != 1) return;
    u8 command = (u8)value;
    if (command >= I8042_FIRST_PULSE || command == I8042_WRITE_OUTPUT_PORT) return;
  }
  if (size == 1) out8(port, (u8)value);
  else if (size == 2) out16(port, (u16)value);
  else out32(port, value);
}

/* Ports whose every byte matters: what a string instruction writes there is not looked at one by one. */
bool is_dangerous(u32 port, u32 size) {
  return is_avoided(port, size) || (port <= PORT_I8042_COMMAND && port + size > PORT_I8042_COMMAND);
}

u32 random_port(struct random *random, u32 size) {
  const struct range *r = &busy[random_under(random, ARRAY_LENGTH(busy))];
  u32 port = random_under(random, 2) ? random_under(random, 0x10000)
                                     : r->first + random_under(random, r->last - r->first + 1);
  return port + size > 0x10000 ? NO_PORT : port;
}

void attack_ports(u32 iterations) {
  choose_avoided();
  u32 writes = 0, reads = 0;
  for (u32 n = 0; n < iterations; n++) {
    u32 size = random_size(), port = random_port(&random_source, size);
    if (port == NO_PORT || is_avoided(port, size)) continue;
    if (random_below(4) == 0) {
      reads++;
      if (size == 1) in8((u16)port);
      else if (size == 2) in16((u16)port);
      else in32((u16)port);
    } else {
      writes++;
      write_port((u16)port, size, (u32)random_nasty());
    }
    if (n % (iterations / 4 + 1) == iterations / 4) {
      serial_init(); /* whatever was done to the port we report through */
      print("ports: %u of %u\n", n, iterations);
    }
  }
  serial_init();
  print("ports: %u writes, %u reads\n", writes, reads);
}
