// Generic kernel calls: syscall, ioctl, KVM_RUN, and copies between a raw address and a JavaScript view.
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "shim.h"

namespace tsvmm {

int64_t ArgumentOf(napi_env env, napi_value value) {
  if (value == nullptr) return 0;
  napi_valuetype type;
  if (napi_typeof(env, value, &type) != napi_ok) return 0;
  if (type == napi_number) {
    int64_t number = 0;
    napi_get_value_int64(env, value, &number);
    return number;
  }
  if (type != napi_object) return 0;
  void* data = nullptr;
  bool is = false;
  if (napi_is_typedarray(env, value, &is) == napi_ok && is) {
    napi_get_typedarray_info(env, value, nullptr, nullptr, &data, nullptr, nullptr);
  } else if (napi_is_dataview(env, value, &is) == napi_ok && is) {
    napi_get_dataview_info(env, value, nullptr, &data, nullptr, nullptr);
  } else if (napi_is_arraybuffer(env, value, &is) == napi_ok && is) {
    napi_get_arraybuffer_info(env, value, &data, nullptr);
  }
  return static_cast<int64_t>(reinterpret_cast<intptr_t>(data));
}

// syscall(number, a, b, c, d, e, f) -> result or -errno
static napi_value Syscall(napi_env env, napi_callback_info info) {
  Arguments<7> a(env, info);
  long result = syscall(a.at(env, 0), a.at(env, 1), a.at(env, 2), a.at(env, 3), a.at(env, 4), a.at(env, 5), a.at(env, 6));
  return NumberOf(env, result == -1 ? -errno : result);
}

// syscallBy(Float64Array of 7) -> result or -errno: number and arguments from memory. For hot paths: an address or offset that
// is an argument of a JavaScript function is an object on V8's heap.
static napi_value SyscallBy(napi_env env, napi_callback_info info) {
  Arguments<1> a(env, info);
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, a.values[0], &type, &length, &data, nullptr, nullptr) != napi_ok) return NumberOf(env, -EINVAL);
  if (type != napi_float64_array || length < 7) return NumberOf(env, -EINVAL);
  const auto* words = static_cast<const double*>(data);  // in bounds: checked here; doubles are aligned as V8 aligns them
  const auto at = [words](size_t i) { return static_cast<long>(words[i]); };
  long result = syscall(at(0), at(1), at(2), at(3), at(4), at(5), at(6));
  return NumberOf(env, result == -1 ? -errno : result);
}

// ioctl(fd, request, argument) -> result or -errno
static napi_value Ioctl(napi_env env, napi_callback_info info) {
  Arguments<3> a(env, info);
  int result = ioctl(static_cast<int>(a.at(env, 0)), static_cast<unsigned long>(a.at(env, 1)), a.at(env, 2));
  return NumberOf(env, result == -1 ? -errno : result);
}

// run(vcpuFd) -> 0 or -errno. EINTR goes back to TypeScript: a kick must reach the run loop.
static napi_value Run(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument;
  int32_t fd = -1;
  napi_get_cb_info(env, info, &count, &argument, nullptr, nullptr);
  napi_get_value_int32(env, argument, &fd);
  int result = ioctl(fd, KVM_RUN, 0);
  napi_value value = nullptr;
  napi_create_int32(env, result == -1 ? -errno : result, &value);
  return value;
}

// ring(eventfd) -> 0 or -errno: adds 1 to an eventfd
static napi_value Ring(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument;
  int32_t fd = -1;
  napi_get_cb_info(env, info, &count, &argument, nullptr, nullptr);
  napi_get_value_int32(env, argument, &fd);
  const uint64_t one = 1;
  ssize_t result = write(fd, &one, sizeof one);
  return NumberOf(env, result < 0 ? -errno : 0);
}

// eventSink() -> address of a 64-bit word that stays for as long as the process, where counters of eventfds may be
// dropped: an operation that outlives its thread writes nowhere else.
static napi_value EventSink(napi_env env, napi_callback_info info) {
  static uint64_t word = 0;
  return NumberOf(env, reinterpret_cast<intptr_t>(&word));
}

// addressOf(view) -> address
static napi_value AddressOf(napi_env env, napi_callback_info info) {
  Arguments<1> a(env, info);
  return NumberOf(env, a.at(env, 0));
}

struct Span {
  uint8_t* data = nullptr;
  size_t length = 0;
  Span(napi_env env, napi_value value) {
    void* p = nullptr;
    bool is = false;
    if (value != nullptr && napi_is_typedarray(env, value, &is) == napi_ok && is) {
      napi_typedarray_type type;
      if (napi_get_typedarray_info(env, value, &type, &length, &p, nullptr, nullptr) != napi_ok || type != napi_uint8_array)
        length = 0;
    }
    data = static_cast<uint8_t*>(p);
  }
};

// copyOut(address, target: Uint8Array): memory at `address` into the view. The caller has checked the range against
// guest RAM; a page that the host cannot supply is answered by the guard (guard.cc).
static napi_value CopyOut(napi_env env, napi_callback_info info) {
  Arguments<2> a(env, info);
  Span target(env, a.values[1]);
  if (target.length > 0) memcpy(target.data, reinterpret_cast<const void*>(a.at(env, 0)), target.length);
  return nullptr;
}

// copyIn(address, source: Uint8Array): the view's bytes to memory at `address`
static napi_value CopyIn(napi_env env, napi_callback_info info) {
  Arguments<2> a(env, info);
  Span source(env, a.values[1]);
  if (source.length > 0) memcpy(reinterpret_cast<void*>(a.at(env, 0)), source.data, source.length);
  return nullptr;
}

void ExportCalls(napi_env env, Napi::Object exports) {
  Export(env, exports, "syscall", Syscall);
  Export(env, exports, "syscallBy", SyscallBy);
  Export(env, exports, "ioctl", Ioctl);
  Export(env, exports, "run", Run);
  Export(env, exports, "ring", Ring);
  Export(env, exports, "eventSink", EventSink);
  Export(env, exports, "addressOf", AddressOf);
  Export(env, exports, "copyOut", CopyOut);
  Export(env, exports, "copyIn", CopyIn);
}

}  // namespace tsvmm
