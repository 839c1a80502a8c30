// A descriptor that takes long to make: by an ioctl of another one, and ioctls of its own, on libuv's thread pool.
//
// A KVM machine takes one to four milliseconds, mostly waiting for grace periods of the kernel. Who wants it first gets to it
// first: the thread that asked may find its pool busy, takes the word back and makes the calls itself (src/kvm/vm.ts).
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "runtime.h"
#include "shim.h"

namespace tsvmm {

namespace {

constexpr uint32_t kMostCalls = 16;

// Shared with TypeScript (src/kvm/vm-making.ts): who has it, the descriptor or -errno, the call that failed or -1, its errno.
struct Words {
  int32_t taken, fd, failed, error;
};
constexpr int32_t kByPool = 1;

struct Making {
  napi_async_work work;
  napi_deferred deferred;
  napi_ref arguments, shared;  // whose memory is used meanwhile
  Words* words;
  int parent;
  uint32_t count;
  struct {
    unsigned long request;
    int64_t argument;
  } calls[kMostCalls];
};

int Ioctl(int fd, unsigned long request, int64_t argument) {
  int result;
  do result = ioctl(fd, request, argument);
  while (result == -1 && errno == EINTR);  // a signal, a profiler's for one
  return result == -1 ? -errno : result;
}

void OnPool(napi_env, void* data) {
  const auto* making = static_cast<Making*>(data);
  Words& words = *making->words;
  int32_t nobody = 0;
  if (!__atomic_compare_exchange_n(&words.taken, &nobody, kByPool, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return;
  words.fd = Ioctl(making->parent, making->calls[0].request, making->calls[0].argument);
  for (uint32_t i = 1; words.fd >= 0 && i < making->count; i++) {
    const int result = Ioctl(words.fd, making->calls[i].request, making->calls[i].argument);
    if (result >= 0) continue;
    words.failed = static_cast<int32_t>(i);
    words.error = -result;
    return;
  }
}

// On the thread that asked, also when its environment ends: Node waits for what its pool has.
void OnMade(napi_env env, napi_status, void* data) {
  auto* making = static_cast<Making*>(data);
  if (making->words->fd >= 0) Hold(env, Held::kFd, making->words->fd);
  napi_value nothing = nullptr;
  napi_get_undefined(env, &nothing);
  napi_resolve_deferred(env, making->deferred, nothing);
  napi_delete_reference(env, making->arguments);
  napi_delete_reference(env, making->shared);
  napi_delete_async_work(env, making->work);
  free(making);
}

}  // namespace

// makeLater(parent, [request, argument, ...], words: Int32Array of 4 in shared memory) -> promise, when nothing more happens
static napi_value MakeLater(napi_env env, napi_callback_info info) {
  Arguments<3> a(env, info);
  auto* making = Make<Making>();
  making->parent = static_cast<int>(a.at(env, 0));
  making->words = reinterpret_cast<Words*>(a.at(env, 2));
  *making->words = {0, -1, -1, 0};
  uint32_t length = 0;
  napi_get_array_length(env, a.values[1], &length);
  making->count = length / 2 < kMostCalls ? length / 2 : kMostCalls;
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
  napi_create_string_utf8(env, "tsvmm:make", NAPI_AUTO_LENGTH, &name);
  napi_create_async_work(env, nullptr, name, OnPool, OnMade, making, &making->work);
  napi_queue_async_work(env, making->work);
  return promise;
}

void ExportMaking(napi_env env, Napi::Object exports) { Export(env, exports, "makeLater", MakeLater); }

}  // namespace tsvmm
