// The shim's shared declarations: mechanism only, no policy, no device, no retry.
//
// Every function answers as the kernel does, a result or -errno, and TypeScript decides what it means. The addon loads
// in any number of isolates (Node-API, context-aware); what must be one per process is process-global here, guarded by
// a lock, and outlives every isolate (the addon is linked with -z nodelete, see docs/architecture.md).
#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>

namespace tsvmm {

// A number, or the address of a view's or buffer's first byte; anything else is 0. Trust: the caller is our own
// TypeScript, which keeps the view alive for the length of the call.
int64_t ArgumentOf(napi_env env, napi_value value);

inline napi_value NumberOf(napi_env env, int64_t value) {
  napi_value result = nullptr;
  napi_create_int64(env, value, &result);
  return result;
}

// What the calling environment holds until it is dropped or the environment ends (environment.cc).
enum class Held { kFd, kMapping, kGuard, kCut };
void Hold(napi_env env, Held kind, int64_t value);
// Strikes it off, or answers that it is not this environment's.
bool Drop(napi_env env, Held kind, int64_t value);
int ReleaseMapping(uintptr_t address);
void ReleaseGuard(size_t slot);
void MakeCut(int64_t handle);

// The version of what TypeScript calls here; src/host/native.ts has the same. One that is left over from another version of
// tsvmm is refused by it.
constexpr int kAbi = 4;

// Signal sent to a vCPU thread to make KVM_RUN return; 0 until KickSignal() has chosen one.
int KickSignalNumber();

void ExportEnvironment(napi_env env, Napi::Object exports);
void ExportCalls(napi_env env, Napi::Object exports);
void ExportMaking(napi_env env, Napi::Object exports);
void ExportMemory(napi_env env, Napi::Object exports);
void ExportGuard(napi_env env, Napi::Object exports);
void ExportCut(napi_env env, Napi::Object exports);
void ExportLoopWatch(napi_env env, Napi::Object exports);
void ExportFdWatch(napi_env env, Napi::Object exports);
void ExportLayouts(napi_env env, Napi::Object exports);

// Defines `name` on `exports` as a plain Node-API function: the C++ wrapper costs a few ns a call, these are hot.
void Export(napi_env env, Napi::Object exports, const char* name, napi_callback callback);

template <size_t N>
struct Arguments {
  napi_value values[N];
  size_t count = N;
  Arguments(napi_env env, napi_callback_info info) {
    for (auto& value : values) value = nullptr;
    napi_get_cb_info(env, info, &count, values, nullptr, nullptr);
  }
  int64_t at(napi_env env, size_t index) const {
    return index < count ? ArgumentOf(env, values[index]) : 0;
  }
};

}  // namespace tsvmm
