// Mappings with a process-wide count: one for the environment that mapped, one for every ArrayBuffer over it in any isolate.
//
// A mapping goes away when the last of them lets go, so no isolate can be left with a view of unmapped memory, or of
// whatever is mapped at that address next (contract §4.13).
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4  // headers older than Linux 5.7
#endif

#include "runtime.h"
#include "shim.h"

namespace tsvmm {

namespace {

struct Mapping {
  uintptr_t address;
  size_t length;
  size_t holders;
  Mapping* next;
};

Lock table;
Mapping* mappings = nullptr;  // a handful for each machine, and looked at only when one is mapped, wrapped or given up

// The link to the mapping that contains [address, address + length); to nullptr if there is none.
Mapping** Find(uintptr_t address, size_t length) {
  Mapping** at = &mappings;
  for (; *at != nullptr; at = &(*at)->next) {
    const size_t offset = address - (*at)->address;  // wraps to more than any length below its start
    if (offset < (*at)->length && length <= (*at)->length - offset) break;
  }
  return at;
}

// A new mapping, held once by the calling environment; its address.
napi_value HoldMapping(napi_env env, void* p, size_t length) {
  auto* mapping = Make<Mapping>();
  {
    Locked locked(table);
    *mapping = {reinterpret_cast<uintptr_t>(p), length, 1, mappings};
    mappings = mapping;
  }
  Hold(env, Held::kMapping, reinterpret_cast<intptr_t>(p));
  return NumberOf(env, reinterpret_cast<intptr_t>(p));
}

void Finalize(napi_env, void* data, void*) { ReleaseMapping(reinterpret_cast<uintptr_t>(data)); }

}  // namespace

// One hold less on the mapping that contains `address`; the last holder unmaps.
int ReleaseMapping(uintptr_t address) {
  Locked locked(table);
  Mapping** at = Find(address, 0);
  Mapping* mapping = *at;
  if (mapping == nullptr) return -EINVAL;
  if (--mapping->holders > 0) return 0;
  *at = mapping->next;
  const int result = munmap(reinterpret_cast<void*>(mapping->address), mapping->length) == -1 ? -errno : 0;
  free(mapping);
  return result;
}

// mapMemory(length, protection, flags, fd, offset, alignment) -> address or -errno; held once by the calling environment.
// `alignment` (a power of two, or 0) places the mapping on a multiple of it.
static napi_value MapMemory(napi_env env, napi_callback_info info) {
  Arguments<6> a(env, info);
  size_t length = a.at(env, 0), alignment = a.at(env, 5);
  int protection = a.at(env, 1), flags = a.at(env, 2), fd = a.at(env, 3);
  if (length == 0 || (alignment & (alignment - 1)) != 0) return NumberOf(env, -EINVAL);
  void* hint = nullptr;
  uintptr_t reserved = 0;
  if (alignment > 4096) {
    // Reserve with room to spare, map over the aligned part, return the rest.
    void* p = mmap(nullptr, length + alignment, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return NumberOf(env, -errno);
    reserved = reinterpret_cast<uintptr_t>(p);
    uintptr_t aligned = (reserved + alignment - 1) & ~(alignment - 1);
    if (aligned > reserved) munmap(p, aligned - reserved);
    munmap(reinterpret_cast<void*>(aligned + length), reserved + alignment - aligned);
    hint = reinterpret_cast<void*>(aligned);
    flags |= MAP_FIXED;
  }
  void* p = mmap(hint, length, protection, flags, fd, a.at(env, 4));
  if (p == MAP_FAILED) {
    int error = errno;
    if (hint != nullptr) munmap(hint, length);
    return NumberOf(env, -error);
  }
  return HoldMapping(env, p, length);
}

// moveMemory(address, length) -> address or -errno: the pages of part of one mapping move elsewhere, held once by the
// calling environment. What is mapped there stays, without them. Any private mapping since Linux 5.13.
static napi_value MoveMemory(napi_env env, napi_callback_info info) {
  Arguments<2> a(env, info);
  const uintptr_t from = a.at(env, 0);
  const size_t length = a.at(env, 1), unit = 0x200000;
  // Page tables move as a whole to where they are aligned alike. Only a hint: MREMAP_FIXED unmaps what is there, and then may fail.
  void* room = mmap(nullptr, length + unit, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  uintptr_t hint = 0;
  if (room != MAP_FAILED) {
    const auto begin = reinterpret_cast<uintptr_t>(room);
    hint = begin + ((from - begin) & (unit - 1));
    munmap(room, length + unit);
  }
  const long to = syscall(SYS_mremap, from, length, length, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, hint);
  return to == -1 ? NumberOf(env, -errno) : HoldMapping(env, reinterpret_cast<void*>(to), length);
}

// releaseMemory(address) -> 0 or -errno: gives up the calling environment's hold, once; the last holder unmaps.
static napi_value ReleaseMemory(napi_env env, napi_callback_info info) {
  Arguments<1> a(env, info);
  const int64_t address = a.at(env, 0);
  return NumberOf(env, Drop(env, Held::kMapping, address) ? ReleaseMapping(address) : -EINVAL);
}

// wrapMemory(address, length) -> ArrayBuffer over mapped memory, or undefined if the range is not inside one mapping
static napi_value WrapMemory(napi_env env, napi_callback_info info) {
  Arguments<2> a(env, info);
  uintptr_t address = a.at(env, 0);
  size_t length = a.at(env, 1);
  {
    Locked locked(table);
    Mapping* mapping = *Find(address, length);
    if (length == 0 || mapping == nullptr) return nullptr;
    mapping->holders++;
  }
  napi_value buffer = nullptr;
  if (napi_create_external_arraybuffer(env, reinterpret_cast<void*>(address), length, Finalize, nullptr, &buffer) != napi_ok) {
    ReleaseMapping(address);
    return nullptr;
  }
  return buffer;
}

// detach(buffer): every view of it becomes empty; the hold is given up when the collector runs the finalizer
static napi_value Detach(napi_env env, napi_callback_info info) {
  Arguments<1> a(env, info);
  return NumberOf(env, napi_detach_arraybuffer(env, a.values[0]) == napi_ok ? 0 : -EINVAL);
}

// memoryHolders(address) -> how many hold the mapping there, 0 if there is none
static napi_value MemoryHolders(napi_env env, napi_callback_info info) {
  Arguments<1> a(env, info);
  Locked locked(table);
  Mapping* mapping = *Find(a.at(env, 0), 0);
  return NumberOf(env, mapping == nullptr ? 0 : static_cast<int64_t>(mapping->holders));
}

void ExportMemory(napi_env env, Napi::Object exports) {
  Export(env, exports, "mapMemory", MapMemory);
  Export(env, exports, "moveMemory", MoveMemory);
  Export(env, exports, "releaseMemory", ReleaseMemory);
  Export(env, exports, "wrapMemory", WrapMemory);
  Export(env, exports, "detach", Detach);
  Export(env, exports, "memoryHolders", MemoryHolders);
}

}  // namespace tsvmm
