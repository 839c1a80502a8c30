/*
 * Finds virtio-mmio devices as Linux's virtio_mmio does: by ACPI, or by words of the command line. AML is not interpreted:
 * after the id LNRO0005 the next 32-bit fixed memory and extended interrupt descriptors (ACPI 6.5 §6.4.3.4, §6.4.3.6) are
 * the device's.
 */
#include "virtio-mmio.h"
#include "acpi.h"
#include "exit.h"
#include "memory.h"
#include "start-info.h"

enum { MEMORY32_FIXED = 0x86, EXTENDED_INTERRUPT = 0x89, SEARCHED = 96, EDGE_TRIGGERED = 1 << 1, ACTIVE_LOW = 1 << 2 };

static u32 read32(const u8 *at) { return (u32)at[0] | (u32)at[1] << 8 | (u32)at[2] << 16 | (u32)at[3] << 24; }

/* A descriptor of `tag` whose body is `length` bytes long, after `at`. */
static const u8 *descriptor(const u8 *at, const u8 *end, u8 tag, u8 length) {
  for (const u8 *last = at + SEARCHED; at < last && at + 3 + length <= end; at++)
    if (at[0] == tag && at[1] == length && at[2] == 0) return at + 3;
  fail("a virtio-mmio device of the DSDT without its resources");
}

static u32 by_acpi(struct virtio_mmio_place *places) {
  const u8 *at = acpi()->dsdt, *end = at + acpi()->dsdt_bytes;
  u32 count = 0;
  for (; at + 8 <= end && at != NULL; at++) {
    if (memcmp(at, "LNRO0005", 8) != 0) continue;
    check(count < MMIO_MAX_DEVICES, "more than %u virtio-mmio devices", MMIO_MAX_DEVICES);
    const u8 *memory = descriptor(at, end, MEMORY32_FIXED, 9), *interrupt = descriptor(memory, end, EXTENDED_INTERRUPT, 6);
    check((interrupt[0] & ACTIVE_LOW) == 0, "interrupt flags 0x%x", interrupt[0]);
    bool level = (interrupt[0] & EDGE_TRIGGERED) == 0;
    places[count++] = (struct virtio_mmio_place){read32(memory + 1), read32(memory + 5), read32(interrupt + 2), level};
  }
  return count;
}

static u64 number(const char **at) {
  u64 value = 0, base = 10;
  if ((*at)[0] == '0' && (*at)[1] == 'x') base = 16, *at += 2;
  for (;; (*at)++) {
    char c = **at;
    u64 digit = c >= '0' && c <= '9' ? (u64)(c - '0') : c >= 'a' && c <= 'f' ? (u64)(c - 'a' + 10) : base;
    if (digit >= base) break;
    value = value * base + digit;
  }
  if (**at == 'K') value *= 1024, (*at)++;
  return value;
}

static u32 by_command_line(struct virtio_mmio_place *places) {
  static const char prefix[] = "virtio_mmio.device=";
  const size_t length = sizeof prefix - 1;
  u32 count = 0;
  for (const char *word = command_line(); *word != 0;) {
    if (text_length(word) >= length && memcmp(word, prefix, length) == 0) {
      check(count < MMIO_MAX_DEVICES, "more than %u virtio-mmio devices", MMIO_MAX_DEVICES);
      const char *at = word + length;
      u32 bytes = (u32)number(&at);
      check(*at++ == '@', "a virtio_mmio.device= without an address");
      u64 base = number(&at);
      check(*at++ == ':', "a virtio_mmio.device= without an interrupt");
      places[count++] = (struct virtio_mmio_place){base, bytes, (u32)number(&at), false};
    }
    while (*word != 0 && *word != ' ') word++;
    while (*word == ' ') word++;
  }
  return count;
}

u32 virtio_mmio_places(struct virtio_mmio_place places[MMIO_MAX_DEVICES]) {
  struct virtio_mmio_place others[MMIO_MAX_DEVICES];
  u32 count = by_acpi(places), words = by_command_line(others);
  check(count == 0 || words == 0, "virtio-mmio devices are announced twice: %u by ACPI, %u by words", count, words);
  if (words == 0) return count;
  memcpy(places, others, sizeof others);
  return words;
}
