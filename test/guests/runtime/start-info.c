/* Start info, memory map and command line options. */
#include "start-info.h"
#include "exit.h"
#include "memory.h"

enum { START_INFO_MAGIC = 0x336ec578, MAX_REGIONS = 128 };

const struct start_info *start_info;

void start_info_init(u64 address) {
  start_info = (const struct start_info *)address;
  check(start_info->magic == START_INFO_MAGIC, "start info at 0x%lx has magic 0x%x", address, start_info->magic);
}

const char *command_line(void) { return start_info->command_line != 0 ? (const char *)start_info->command_line : ""; }

u32 memory_region_count(void) {
  if (start_info->version < 1 || start_info->memory_map == 0) return 0;
  check(start_info->memory_map_entries <= MAX_REGIONS, "%u memory map entries", start_info->memory_map_entries);
  return start_info->memory_map_entries;
}

const struct memory_region *memory_region(u32 index) {
  return (const struct memory_region *)start_info->memory_map + index;
}

const char *option_text(const char *name, size_t *length) {
  size_t name_length = text_length(name);
  for (const char *word = command_line(); *word != 0;) {
    while (*word == ' ') word++;
    size_t n = 0;
    while (word[n] != 0 && word[n] != ' ') n++;
    if (n >= name_length && memcmp(word, name, name_length) == 0) {
      if (n == name_length) return *length = 0, word + n;
      if (word[name_length] == '=') return *length = n - name_length - 1, word + name_length + 1;
    }
    word += n;
  }
  return NULL;
}

bool option_given(const char *name) {
  size_t length;
  return option_text(name, &length) != NULL;
}

bool option_is(const char *name, const char *value) {
  size_t length;
  const char *text = option_text(name, &length);
  return text != NULL && length == text_length(value) && memcmp(text, value, length) == 0;
}

u64 option_number(const char *name, u64 otherwise) {
  size_t length;
  const char *text = option_text(name, &length);
  if (text == NULL) return otherwise;
  u64 value = 0, base = 10;
  size_t i = 0;
  if (length > 2 && text[0] == '0' && text[1] == 'x') base = 16, i = 2;
  if (i == length) usage("option %s needs a number", name);
  for (; i < length; i++) {
    char c = text[i];
    u64 digit = c >= '0' && c <= '9' ? (u64)(c - '0') : c >= 'a' && c <= 'f' ? (u64)(c - 'a' + 10) : base;
    if (digit >= base) usage("option %s needs a number", name);
    value = value * base + digit;
  }
  return value;
}

bool option_lists(const char *name, const char *word, bool otherwise) {
  size_t length, n = text_length(word);
  const char *text = option_text(name, &length);
  if (text == NULL) return otherwise;
  for (size_t at = 0; at < length;) {
    size_t end = at;
    while (end < length && text[end] != ',') end++;
    if (end - at == n && memcmp(text + at, word, n) == 0) return true;
    at = end + 1;
  }
  return false;
}
