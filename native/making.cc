// A descriptor that takes long to make: by an ioctl of another one, and ioctls of its own, on libuv's thread pool.
//
// A KVM machine takes one to four milliseconds, mostly waiting for grace periods of the kernel. The thread that asked may find
// that its pool has not come to it yet, takes it back and makes the calls itself (src/kvm/vm.ts).
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "runtime.h"
#include "shim.h"

namespace tsvmm {

namespace {

struct Call {
  unsigned long request;
  int64_t argument;
};

// TypeScript's (src/kvm/vm-making.ts): the descriptor or -errno, the call that failed or -1, its errno.
struct Words {
  int32_t fd, failed, error;
};

// Belongs to its promise, and goes with that.
struct Making {
  napi_async_work work;
  napi_deferred deferred;
  napi_ref arguments, shared;  // whose memory is used meanwhile
  Words* words;
  Call* calls;
  int parent;
  uint32_t count;
  bool over;
};

int Ioctl(int fd, const Call& call) {
  int result;
  do result = ioctl(fd, call.request, call.argument);
  while (result == -1 && errno == EINTR);  // a signal, a profiler's for one
  return result == -1 ? -errno : result;
}

void OnPool(napi_env, void* data) {
  const auto* making = static_cast<Making*>(data);
  Words& words = *making->words;
  words.fd = Ioctl(making->parent, making->calls[0]);
  for (uint32_t i = 1; words.fd >= 0 && i < making->count; i++) {
    const int result = Ioctl(words.fd, making->calls[i]);
    if (result >= 0) continue;
    words.failed = static_cast<int32_t>(i);
    words.error = -result;
    return;
  }
}

// On the thread that asked, also when its environment ends: Node waits for what its pool has, and for what it is still to get.
void OnOver(napi_env env, napi_status, void* data) {
  auto* making = static_cast<Making*>(data);
  making->over = true;
  if (making->words->fd >= 0) Hold(env, Held::kFd, making->words->fd);
  napi_value nothing = nullptr;
  napi_get_undefined(env, &nothing);
  napi_delete_reference(env, making->arguments);
  napi_delete_reference(env, making->shared);
  napi_delete_async_work(env, making->work);
  napi_resolve_deferred(env, making->deferred, nothing);
}

void Free(napi_env, void* data, void*) {
  auto* making = static_cast<Making*>(data);
  free(making->calls);
  free(making);
}

}  // namespace

// makeLater(parent, [request, argument, ...], words: Int32Array of 3) -> promise, when nothing more happens
static napi_value MakeLater(napi_env env, napi_callback_info info) {
  Arguments<3> a(env, info);
  auto* making = Make<Making>();
  making->parent = static_cast<int>(a.at(env, 0));
  making->words = reinterpret_cast<Words*>(a.at(env, 2));
  *making->words = {-1, -1, 0};
  uint32_t length = 0;
  napi_get_array_length(env, a.values[1], &length);
  making->count = length / 2;
  making->calls = static_cast<Call*>(calloc(making->count, sizeof(Call)));
  if (making->calls == nullptr) abort();
  for (uint32_t i = 0; i < making->count; i++) {
    napi_value request = nullptr, argument = nullptr;
    napi_get_element(env, a.values[1], 2 * i, &request);
    napi_get_element(env, a.values[1], 2 * i + 1, &argument);
    making->calls[i] = {static_cast<unsigned long>(ArgumentOf(env, request)), ArgumentOf(env, argument)};
  }
  napi_create_reference(env, a.values[1], 1, &making->arguments);
  napi_create_reference(env, a.values[2], 1, &making->shared);
  napi_value promise = nullptr, name = nullptr;
  napi_create_promise(env, &making->deferred, &promise);
  napi_wrap(env, promise, making, Free, nullptr, nullptr);
  napi_create_string_utf8(env, "tsvmm:make", NAPI_AUTO_LENGTH, &name);
  napi_create_async_work(env, nullptr, name, OnPool, OnOver, making, &making->work);
  napi_queue_async_work(env, making->work);
  return promise;
}

// takeBack(promise of makeLater) -> 1 if the pool has not begun, and will not; 0 if it has, or if it is over
static napi_value TakeBack(napi_env env, napi_callback_info info) {
  Arguments<1> a(env, info);
  void* data = nullptr;
  if (napi_unwrap(env, a.values[0], &data) != napi_ok) return NumberOf(env, -EINVAL);
  const auto* making = static_cast<Making*>(data);
  return NumberOf(env, !making->over && napi_cancel_async_work(env, making->work) == napi_ok);
}

void ExportMaking(napi_env env, Napi::Object exports) {
  Export(env, exports, "makeLater", MakeLater);
  Export(env, exports, "takeBack", TakeBack);
}

}  // namespace tsvmm
