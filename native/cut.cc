// What becomes of a machine's memory when the thread that supplies its pages ends before its time.
//
// Other threads may wait in the kernel for pages that nobody will supply, and Node joins them one after the other. At the end
// of that thread's environment all of the memory is mapped over with a file that has no bytes, and whoever waits is woken to
// find a SIGBUS or EFAULT instead of zeroes (src/memory/user-faults.ts says why; contract §4.11).
#include <errno.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "runtime.h"
#include "shim.h"

namespace tsvmm {

namespace {

struct Cut {
  uintptr_t address;
  size_t length;
  int empty, faults;
};

}  // namespace

void MakeCut(int64_t value) {
  auto* cut = reinterpret_cast<Cut*>(value);
  void* at = reinterpret_cast<void*>(cut->address);
  const int flags = MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE;
  if (mmap(at, cut->length, PROT_READ | PROT_WRITE, flags, cut->empty, 0) != MAP_FAILED) {
    struct uffdio_range range = {cut->address, cut->length};
    ioctl(cut->faults, UFFDIO_WAKE, &range);
  }
  free(cut);
}

// cutAtEnd(address, length, emptyFile, faults) -> handle: the descriptors and the range stay for as long as this thread runs
static napi_value CutAtEnd(napi_env env, napi_callback_info info) {
  Arguments<4> a(env, info);
  auto* cut = Make<Cut>();
  *cut = {static_cast<uintptr_t>(a.at(env, 0)), static_cast<size_t>(a.at(env, 1)), static_cast<int>(a.at(env, 2)),
          static_cast<int>(a.at(env, 3))};
  const auto handle = reinterpret_cast<int64_t>(cut);
  Hold(env, Held::kCut, handle);
  return NumberOf(env, handle);
}

// dropCut(handle) -> 0 or -ENOENT
static napi_value DropCut(napi_env env, napi_callback_info info) {
  Arguments<1> a(env, info);
  const int64_t handle = a.at(env, 0);
  if (!Drop(env, Held::kCut, handle)) return NumberOf(env, -ENOENT);
  free(reinterpret_cast<void*>(handle));
  return NumberOf(env, 0);
}

void ExportCut(napi_env env, Napi::Object exports) {
  Export(env, exports, "cutAtEnd", CutAtEnd);
  Export(env, exports, "dropCut", DropCut);
}

}  // namespace tsvmm
