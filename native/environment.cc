// What an environment holds in the process until it gives it back or ends: descriptors, mappings, guard slots.
//
// A worker may be terminated in the middle of anything, and no JavaScript of it runs any more then. Node has joined its
// own workers by the time its cleanup hooks run, so nobody uses what is left; it is given back in reverse order, each
// thing once: whoever gives it back before strikes it off first (contract §1.11). One list per environment, used by its
// thread alone.
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime.h"
#include "shim.h"

namespace tsvmm {

namespace {

struct Holding {
  Held kind;
  int64_t value;
  Holding* before;
};

struct Holdings {
  Holding* last;
};

Holdings* HoldingsOf(napi_env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return static_cast<Holdings*>(data);
}

void GiveBack(const Holding& holding) {
  switch (holding.kind) {
    case Held::kFd: close(static_cast<int>(holding.value)); break;
    case Held::kMapping: ReleaseMapping(static_cast<uintptr_t>(holding.value)); break;
    case Held::kGuard: ReleaseGuard(static_cast<size_t>(holding.value)); break;
    case Held::kCut: MakeCut(holding.value); break;
  }
}

// Registered when the addon is loaded, so it runs after the hooks of everything that was made later: polls stop before
// their descriptors close.
void OnEnvironmentEnd(void* data) {
  auto* holdings = static_cast<Holdings*>(data);
  while (Holding* last = holdings->last) {
    holdings->last = last->before;
    GiveBack(*last);
    free(last);
  }
}

struct Closing {
  napi_async_work work;
  napi_deferred deferred;
  int fd;
};

void OnClosed(napi_env env, napi_status, void* data) {
  auto* closing = static_cast<Closing*>(data);
  napi_value nothing = nullptr;
  napi_get_undefined(env, &nothing);
  napi_resolve_deferred(env, closing->deferred, nothing);
  napi_delete_async_work(env, closing->work);
  free(closing);
}

}  // namespace

void Hold(napi_env env, Held kind, int64_t value) {
  Holdings* holdings = HoldingsOf(env);
  auto* holding = Make<Holding>();
  *holding = {kind, value, holdings->last};
  holdings->last = holding;
}

bool Drop(napi_env env, Held kind, int64_t value) {
  for (Holding** at = &HoldingsOf(env)->last; *at != nullptr; at = &(*at)->before) {
    Holding* holding = *at;
    if (holding->kind != kind || holding->value != value) continue;
    *at = holding->before;
    free(holding);
    return true;
  }
  return false;
}

// openFd(number, a, b, c, d, e, f) -> descriptor or -errno: a system call that makes a descriptor, which the calling
// environment holds. In one call: between two the environment might be terminated.
static napi_value OpenFd(napi_env env, napi_callback_info info) {
  Arguments<7> a(env, info);
  long result = syscall(a.at(env, 0), a.at(env, 1), a.at(env, 2), a.at(env, 3), a.at(env, 4), a.at(env, 5), a.at(env, 6));
  if (result == -1) return NumberOf(env, -errno);
  Hold(env, Held::kFd, result);
  return NumberOf(env, result);
}

// closeFd(fd) -> 0 or -errno; EINTR or not, the descriptor is gone
static napi_value CloseFd(napi_env env, napi_callback_info info) {
  Arguments<1> a(env, info);
  const int fd = static_cast<int>(a.at(env, 0));
  Drop(env, Held::kFd, fd);
  return NumberOf(env, close(fd) == -1 ? -errno : 0);
}

// closeFdLater(fd) -> promise: closes it on libuv's thread pool, since closing may wait for the kernel
static napi_value CloseFdLater(napi_env env, napi_callback_info info) {
  Arguments<1> a(env, info);
  auto* closing = Make<Closing>();
  closing->fd = static_cast<int>(a.at(env, 0));
  napi_value promise = nullptr, name = nullptr;
  napi_create_promise(env, &closing->deferred, &promise);
  napi_create_string_utf8(env, "tsvmm:close", NAPI_AUTO_LENGTH, &name);
  napi_create_async_work(
      env, nullptr, name, [](napi_env, void* data) { close(static_cast<Closing*>(data)->fd); }, OnClosed, closing, &closing->work);
  Drop(env, Held::kFd, closing->fd);
  napi_queue_async_work(env, closing->work);
  return promise;
}

// giveFd(fd) -> 0 or -ENOENT: whoever it is given to closes it
static napi_value GiveFd(napi_env env, napi_callback_info info) {
  Arguments<1> a(env, info);
  return NumberOf(env, Drop(env, Held::kFd, a.at(env, 0)) ? 0 : -ENOENT);
}

void ExportEnvironment(napi_env env, Napi::Object exports) {
  auto* holdings = Make<Holdings>();
  napi_set_instance_data(env, holdings, [](napi_env, void* data, void*) { free(data); }, nullptr);
  napi_add_env_cleanup_hook(env, OnEnvironmentEnd, holdings);
  Export(env, exports, "openFd", OpenFd);
  Export(env, exports, "closeFd", CloseFd);
  Export(env, exports, "closeFdLater", CloseFdLater);
  Export(env, exports, "giveFd", GiveFd);
}

}  // namespace tsvmm
