// The main thread's doorbell: an eventfd as a libuv poll handle (contract §1.9).
//
// One-shot: the handle is stopped before the callback runs and armed again by TypeScript when it has drained the source
// within its budget. An async cleanup hook closes the handle before the environment ends.
#include <errno.h>
#include <stdlib.h>

#include "runtime.h"
#include "shim.h"
#include "uv_weak.h"

namespace tsvmm {

namespace {

struct Watch {
  uv_poll_t poll;
  napi_env env;
  napi_ref callback;
  napi_async_context context;
  napi_async_cleanup_hook_handle hook;
  bool closing;
};

void OnReadable(uv_poll_t* handle, int, int) {
  auto* watch = static_cast<Watch*>(handle->data);
  uv_poll_stop(handle);
  napi_env env = watch->env;
  napi_handle_scope scope;
  napi_open_handle_scope(env, &scope);
  napi_value callback = nullptr, global = nullptr, result = nullptr;
  napi_get_reference_value(env, watch->callback, &callback);
  napi_get_global(env, &global);
  if (callback != nullptr) napi_make_callback(env, watch->context, global, callback, 0, nullptr, &result);
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (pending) {
    napi_value error = nullptr;
    napi_get_and_clear_last_exception(env, &error);
    napi_fatal_exception(env, error);
  }
  napi_close_handle_scope(env, scope);
}

void OnClosed(uv_handle_t* handle) {
  auto* watch = static_cast<Watch*>(handle->data);
  napi_delete_reference(watch->env, watch->callback);
  napi_async_destroy(watch->env, watch->context);
  if (watch->hook != nullptr) napi_remove_async_cleanup_hook(watch->hook);
  free(watch);
}

// Poll before descriptor: the caller closes the fd only after this.
void Close(Watch* watch) {
  if (watch->closing) return;
  watch->closing = true;
  uv_close(reinterpret_cast<uv_handle_t*>(&watch->poll), OnClosed);
}

Watch* Unwrap(napi_env env, napi_value value) {
  void* data = nullptr;
  napi_valuetype type;
  if (value == nullptr || napi_typeof(env, value, &type) != napi_ok || type != napi_external) return nullptr;
  napi_get_value_external(env, value, &data);
  return static_cast<Watch*>(data);
}

}  // namespace

// watchFd(fd, callback) -> handle, stopped; or undefined if libuv refuses the descriptor
static napi_value WatchFd(napi_env env, napi_callback_info info) {
  Arguments<2> a(env, info);
  uv_loop_t* loop = nullptr;
  if (uv_poll_init == nullptr || napi_get_uv_event_loop(env, &loop) != napi_ok) return nullptr;
  auto* watch = Make<Watch>();
  if (uv_poll_init(loop, &watch->poll, static_cast<int>(a.at(env, 0))) != 0) {
    free(watch);
    return nullptr;
  }
  watch->env = env;
  watch->poll.data = watch;
  napi_create_reference(env, a.values[1], 1, &watch->callback);
  napi_value name = nullptr;
  napi_create_string_utf8(env, "tsvmm:doorbell", NAPI_AUTO_LENGTH, &name);
  napi_async_init(env, nullptr, name, &watch->context);
  napi_add_async_cleanup_hook(
      env, [](napi_async_cleanup_hook_handle, void* data) { Close(static_cast<Watch*>(data)); }, watch, &watch->hook);
  napi_value handle = nullptr;
  napi_create_external(env, watch, nullptr, nullptr, &handle);
  return handle;
}

// armFd(handle): call back once when the descriptor is readable
static napi_value ArmFd(napi_env env, napi_callback_info info) {
  Arguments<1> a(env, info);
  Watch* watch = Unwrap(env, a.values[0]);
  if (watch == nullptr || watch->closing) return NumberOf(env, -EINVAL);
  return NumberOf(env, uv_poll_start(&watch->poll, UV_READABLE, OnReadable));
}

// refFd(handle, on): whether the handle keeps the event loop alive
static napi_value RefFd(napi_env env, napi_callback_info info) {
  Arguments<2> a(env, info);
  Watch* watch = Unwrap(env, a.values[0]);
  if (watch == nullptr || watch->closing) return NumberOf(env, -EINVAL);
  auto* handle = reinterpret_cast<uv_handle_t*>(&watch->poll);
  if (a.at(env, 1) != 0) uv_ref(handle);
  else uv_unref(handle);
  return NumberOf(env, 0);
}

// unwatchFd(handle): once only; the handle must not be used afterwards
static napi_value UnwatchFd(napi_env env, napi_callback_info info) {
  Arguments<1> a(env, info);
  Watch* watch = Unwrap(env, a.values[0]);
  if (watch == nullptr || watch->closing) return NumberOf(env, -EINVAL);
  Close(watch);
  return NumberOf(env, 0);
}

void ExportFdWatch(napi_env env, Napi::Object exports) {
  Export(env, exports, "watchFd", WatchFd);
  Export(env, exports, "armFd", ArmFd);
  Export(env, exports, "refFd", RefFd);
  Export(env, exports, "unwatchFd", UnwatchFd);
}

}  // namespace tsvmm
