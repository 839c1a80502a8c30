// What libstdc++ would give: a lock, and memory. std::mutex and `new` would bind the addon to libstdc++ and to one C
// library's pthread_mutex_t, and the same file is to load beside glibc and beside musl (docs/decisions/0008).
#pragma once

#include <linux/futex.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

namespace tsvmm {

// U. Drepper, "Futexes Are Tricky", §6. May be a global: it needs no constructor at run time and no destructor.
class Lock {
 public:
  void Take() {
    uint32_t seen = kFree;
    if (state_.compare_exchange_strong(seen, kHeld)) return;
    if (seen != kAwaited) seen = state_.exchange(kAwaited);
    while (seen != kFree) {
      syscall(SYS_futex, &state_, FUTEX_WAIT_PRIVATE, kAwaited, nullptr);  // EINTR and EAGAIN: look again
      seen = state_.exchange(kAwaited);
    }
  }
  void Give() {
    if (state_.exchange(kFree) == kAwaited) syscall(SYS_futex, &state_, FUTEX_WAKE_PRIVATE, 1);
  }

 private:
  static constexpr uint32_t kFree = 0, kHeld = 1, kAwaited = 2;
  std::atomic<uint32_t> state_{kFree};
};

// Holds a lock to the end of a block.
class Locked {
 public:
  explicit Locked(Lock& lock) : lock_(lock) { lock_.Take(); }
  ~Locked() { lock_.Give(); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  Lock& lock_;
};

// A zeroed T, which free() gives back. Without memory the process ends, as it does when V8 has none.
template <typename T>
T* Make() {
  auto* made = static_cast<T*>(calloc(1, sizeof(T)));
  if (made == nullptr) abort();
  return made;
}

}  // namespace tsvmm
