/* What the loader passes in: struct hvm_start_info of the PVH boot ABI (Xen
   xen/include/public/arch-x86/hvm/start_info.h). */
#ifndef GUEST_START_INFO_H
#define GUEST_START_INFO_H

#include "types.h"

struct start_info {
  u32 magic, version, flags, module_count;
  u64 modules, command_line, rsdp;
  u64 memory_map; /* from here on version 1 */
  u32 memory_map_entries, reserved;
};

struct memory_region {
  u64 start, size;
  u32 type, reserved; /* type as in e820 */
};
enum { MEMORY_RAM = 1 };

extern const struct start_info *start_info;

/* Called once by runtime_start(). */
void start_info_init(u64 address);

const char *command_line(void);
u32 memory_region_count(void);
const struct memory_region *memory_region(u32 index);

/* Options are words of the command line: "name" or "name=value". Words that a guest does not know are ignored, since
   VMMs add their own. */
bool option_given(const char *name);
u64 option_number(const char *name, u64 otherwise);
/* True when `name=word` or `name=...,word,...` is given, or when name is not given and `otherwise` holds. */
bool option_lists(const char *name, const char *word, bool otherwise);
/* The value's first character and its length; NULL when the option is not given. */
const char *option_text(const char *name, size_t *length);
bool option_is(const char *name, const char *value);

#endif
