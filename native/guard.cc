// The SIGBUS guard: a page of guest RAM that the host cannot supply ends one VM, not the process.
//
// A truncated backing file, a huge page shortage or a disk error under a mapping is a SIGBUS that kills Node. For
// addresses in a guarded range the handler marks that VM failed, maps a zero page over the fault, rings its eventfd and
// returns; every other address goes to the handler that was there before (contract §4.10). The table is read without
// locks: a handler may take none.
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>

#include "runtime.h"
#include "shim.h"

namespace tsvmm {

namespace {

constexpr size_t kSlots = 4096;

struct Range {
  std::atomic<uintptr_t> start{0};  // 0: free
  std::atomic<uintptr_t> end{0};
  std::atomic<size_t> page{0};
  std::atomic<std::atomic<int32_t>*> failed{nullptr};
  std::atomic<int> doorbell{0};  // all zeroes: the table takes no room in the file
};

Range ranges[kSlots];
std::atomic<size_t> used{0};
Lock table;
struct sigaction previous;
bool installed = false;

void OnSigbus(int signal, siginfo_t* info, void* context) {
  const int error = errno;
  const uintptr_t fault = reinterpret_cast<uintptr_t>(info->si_addr);
  const size_t count = used.load(std::memory_order_acquire);
  for (size_t i = 0; i < count; i++) {
    const uintptr_t start = ranges[i].start.load(std::memory_order_acquire);
    if (start == 0 || fault < start || fault >= ranges[i].end.load(std::memory_order_acquire)) continue;
    const size_t page = ranges[i].page.load(std::memory_order_acquire);
    void* at = reinterpret_cast<void*>(fault & ~(page - 1));
    // First: who reads these zeroes, on whichever thread, can see afterwards that they are none of the guest's.
    if (auto* word = ranges[i].failed.load(std::memory_order_acquire)) word->store(1);
    if (mmap(at, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) break;
    const int doorbell = ranges[i].doorbell.load(std::memory_order_acquire);
    const uint64_t one = 1;
    if (doorbell >= 0 && write(doorbell, &one, sizeof one) < 0) { /* a full counter has rung already */ }
    errno = error;
    return;
  }
  if (previous.sa_flags & SA_SIGINFO) return previous.sa_sigaction(signal, info, context);
  if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) return previous.sa_handler(signal);
  struct sigaction fallback = {};
  fallback.sa_handler = SIG_DFL;
  sigaction(SIGBUS, &fallback, nullptr);  // the access faults again and ends the process as it would have
}

}  // namespace

void ReleaseGuard(size_t slot) {
  Locked locked(table);
  ranges[slot].start.store(0);
  ranges[slot].failed.store(nullptr);
  ranges[slot].doorbell.store(-1);
}

// guard(address, length, pageSize, failedWord, doorbell) -> slot or -errno. `failedWord` is the address of an aligned
// 32-bit word that stays mapped until unguard().
static napi_value Guard(napi_env env, napi_callback_info info) {
  Arguments<5> a(env, info);
  const uintptr_t start = a.at(env, 0);
  const size_t length = a.at(env, 1), page = a.at(env, 2);
  if (start == 0 || length == 0 || page == 0 || (page & (page - 1)) != 0) return NumberOf(env, -EINVAL);
  Locked locked(table);
  if (!installed) {
    struct sigaction action = {};
    action.sa_sigaction = OnSigbus;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    if (sigaction(SIGBUS, &action, &previous) == -1) return NumberOf(env, -errno);
    installed = true;
  }
  size_t slot = 0;
  while (slot < kSlots && ranges[slot].start.load() != 0) slot++;
  if (slot == kSlots) return NumberOf(env, -ENOSPC);
  ranges[slot].end.store(start + length);
  ranges[slot].page.store(page);
  ranges[slot].failed.store(reinterpret_cast<std::atomic<int32_t>*>(a.at(env, 3)));
  ranges[slot].doorbell.store(static_cast<int>(a.at(env, 4)));
  ranges[slot].start.store(start, std::memory_order_release);  // last: the handler looks at this one first
  if (slot >= used.load()) used.store(slot + 1, std::memory_order_release);
  Hold(env, Held::kGuard, static_cast<int64_t>(slot));
  return NumberOf(env, static_cast<int64_t>(slot));
}

// unguard(slot) -> 0 or -errno
static napi_value Unguard(napi_env env, napi_callback_info info) {
  Arguments<1> a(env, info);
  const int64_t slot = a.at(env, 0);
  if (!Drop(env, Held::kGuard, slot)) return NumberOf(env, -EINVAL);
  ReleaseGuard(static_cast<size_t>(slot));
  return NumberOf(env, 0);
}

void ExportGuard(napi_env env, Napi::Object exports) {
  Export(env, exports, "guard", Guard);
  Export(env, exports, "unguard", Unguard);
}

}  // namespace tsvmm
