// Kicks: what makes a thread leave KVM_RUN. And the loop watch, which kicks a vCPU worker for Node's sake.
//
// A worker blocked in KVM_RUN is deaf to Node: process.exit, reports, heap snapshots, the inspector and terminate()
// would wait for ever. Whatever Node wants of a worker reaches its event loop's backend descriptor, so one thread per
// process (all signals blocked) watches those and kicks (contract §1.1). The signal's handler is empty and installed
// without SA_RESTART: its only effect is EINTR. Where the user may queue no more real-time signals, SIGURG does the same
// (docs/decisions/0010-when-no-signal-can-be-queued.md).
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

#include "runtime.h"
#include "shim.h"
#include "uv_weak.h"

namespace tsvmm {

namespace {

struct Watched {
  uint64_t id;
  Watched* next;
  pid_t thread;
  std::atomic<uint8_t>* immediate_exit;  // in the vCPU's kvm_run page; mapped until unwatchLoop()
  int backend;
};

Lock table;
Watched* loops = nullptr;  // one for each vCPU worker
uint64_t next_id = 1;
int epoll = -1;
std::atomic<int> kick_signal{0};

void OnKick(int) {}

// The link to the loop of that id; to nullptr if it has ended.
Watched** Find(uint64_t id) {
  Watched** at = &loops;
  while (*at != nullptr && (*at)->id != id) at = &(*at)->next;
  return at;
}

int Install(int signal) {
  struct sigaction action = {};
  action.sa_handler = OnKick;
  return sigaction(signal, &action, nullptr) == -1 ? -errno : 0;
}

// RLIMIT_SIGPENDING is for signals that must be queued: a standard one is only marked (signal(7)), whatever the limit.
// SIGURG does nothing by default, so we take it from nobody; one who handles it hears of it once more, and KVM_RUN ends
// with EINTR all the same.
int SendUnqueued(pid_t thread) {
  struct sigaction current;
  if (sigaction(SIGURG, nullptr, &current) == -1) return -errno;
  const bool drops = !(current.sa_flags & SA_SIGINFO) && (current.sa_handler == SIG_DFL || current.sa_handler == SIG_IGN);
  if (const int failed = drops ? Install(SIGURG) : 0) return failed;
  return syscall(SYS_tgkill, getpid(), thread, SIGURG) == -1 ? -errno : 0;
}

int KickHeld(uint64_t id) {
  Watched* watched = *Find(id);
  if (watched == nullptr) return -ENOENT;
  watched->immediate_exit->store(1);  // before the signal: an entry after it returns at once
  if (syscall(SYS_tgkill, getpid(), watched->thread, kick_signal.load()) == 0) return 0;
  return errno == EAGAIN ? SendUnqueued(watched->thread) : -errno;
}

void WatchThread(void*) {
  struct epoll_event events[64];
  for (;;) {
    const int count = epoll_wait(epoll, events, 64, -1);
    Locked locked(table);
    for (int i = 0; i < count; i++) KickHeld(events[i].data.u64);
  }
}

int StartThread() {
  if (epoll >= 0) return 0;
  const int fd = epoll_create1(EPOLL_CLOEXEC);
  if (fd == -1) return -errno;
  epoll = fd;
  // By system call: pthread_sigmask would need a newer glibc than Node itself does (GLIBC_2.32, the floor is 2.28).
  uint64_t all = ~0ull, old = 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, sizeof all);
  uv_thread_t thread;
  const int result = uv_thread_create(&thread, WatchThread, nullptr);
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, nullptr, sizeof old);
  if (result != 0) {
    close(epoll);
    epoll = -1;
  }
  return result;
}

int Unwatch(uint64_t id) {
  Locked locked(table);
  Watched** at = Find(id);
  Watched* watched = *at;
  if (watched == nullptr) return -ENOENT;
  epoll_ctl(epoll, EPOLL_CTL_DEL, watched->backend, nullptr);
  *at = watched->next;
  free(watched);
  return 0;
}

void OnEnvironmentEnd(void* id) { Unwatch(reinterpret_cast<uint64_t>(id)); }

}  // namespace

int KickSignalNumber() { return kick_signal.load(); }

// kickSignal() -> signal number or -errno. Chooses, once, a real-time signal nobody uses, and checks at each call that
// it is still ours.
static napi_value KickSignal(napi_env env, napi_callback_info info) {
  Locked locked(table);
  struct sigaction current;
  if (const int chosen = kick_signal.load()) {
    sigaction(chosen, nullptr, &current);
    return NumberOf(env, current.sa_handler == OnKick ? chosen : -EBUSY);
  }
  for (int number = SIGRTMAX - 2; number > SIGRTMIN; number--) {
    if (sigaction(number, nullptr, &current) == -1 || (current.sa_flags & SA_SIGINFO) || current.sa_handler != SIG_DFL) continue;
    if (const int failed = Install(number)) return NumberOf(env, failed);
    kick_signal.store(number);
    return NumberOf(env, number);
  }
  return NumberOf(env, -EBUSY);
}

// watchLoop(immediateExit) -> id or -errno, for the calling thread. `immediateExit` is the address of that byte in the
// vCPU's mapped kvm_run page. Ends with unwatchLoop() or with the calling environment.
static napi_value WatchLoop(napi_env env, napi_callback_info info) {
  Arguments<1> a(env, info);
  if (uv_backend_fd == nullptr) return NumberOf(env, -ENOSYS);
  uv_loop_t* loop = nullptr;
  napi_get_uv_event_loop(env, &loop);
  uint64_t id;
  {
    Locked locked(table);
    if (kick_signal.load() == 0) return NumberOf(env, -EINVAL);
    if (const int failed = StartThread()) return NumberOf(env, failed);
    auto* watched = Make<Watched>();
    id = next_id++;
    *watched = {id, loops, static_cast<pid_t>(syscall(SYS_gettid)), reinterpret_cast<std::atomic<uint8_t>*>(a.at(env, 0)), uv_backend_fd(loop)};
    struct epoll_event event = {};
    event.events = EPOLLIN | EPOLLET;
    event.data.u64 = id;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, watched->backend, &event) == -1) {
      const int error = errno;
      free(watched);
      return NumberOf(env, -error);
    }
    loops = watched;
  }
  napi_add_env_cleanup_hook(env, OnEnvironmentEnd, reinterpret_cast<void*>(id));
  return NumberOf(env, static_cast<int64_t>(id));
}

// unwatchLoop(id) -> 0 or -errno; after it returns nobody touches that kvm_run page or thread any more
static napi_value UnwatchLoop(napi_env env, napi_callback_info info) {
  Arguments<1> a(env, info);
  const uint64_t id = a.at(env, 0);
  // A worker serves one machine after another; a hook of another environment than this one is not found, and has run.
  napi_remove_env_cleanup_hook(env, OnEnvironmentEnd, reinterpret_cast<void*>(id));
  return NumberOf(env, Unwatch(id));
}

// kick(id) -> 0 or -errno: immediate_exit = 1, then the signal. From any thread; -ENOENT once the watch has ended.
static napi_value Kick(napi_env env, napi_callback_info info) {
  Arguments<1> a(env, info);
  Locked locked(table);
  return NumberOf(env, KickHeld(a.at(env, 0)));
}

// backendFd() -> the calling environment's uv_backend_fd, or -errno
static napi_value BackendFd(napi_env env, napi_callback_info info) {
  if (uv_backend_fd == nullptr) return NumberOf(env, -ENOSYS);
  uv_loop_t* loop = nullptr;
  napi_get_uv_event_loop(env, &loop);
  return NumberOf(env, uv_backend_fd(loop));
}

static napi_value ThreadId(napi_env env, napi_callback_info info) { return NumberOf(env, syscall(SYS_gettid)); }

void ExportLoopWatch(napi_env env, Napi::Object exports) {
  Export(env, exports, "kickSignal", KickSignal);
  Export(env, exports, "watchLoop", WatchLoop);
  Export(env, exports, "unwatchLoop", UnwatchLoop);
  Export(env, exports, "kick", Kick);
  Export(env, exports, "backendFd", BackendFd);
  Export(env, exports, "threadId", ThreadId);
}

}  // namespace tsvmm
