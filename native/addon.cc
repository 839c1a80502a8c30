// Module entry: gathers the functions of the shim. Runs once in every isolate that loads the addon.
#include "shim.h"

namespace tsvmm {

void Export(napi_env env, Napi::Object exports, const char* name, napi_callback callback) {
  napi_value function = nullptr;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function);
  napi_set_named_property(env, exports, name, function);
}

static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  ExportEnvironment(env, exports);  // first: its cleanup hook is the last to run
  ExportCalls(env, exports);
  ExportMaking(env, exports);
  ExportMemory(env, exports);
  ExportGuard(env, exports);
  ExportCut(env, exports);
  ExportLoopWatch(env, exports);
  ExportFdWatch(env, exports);
  ExportLayouts(env, exports);
  napi_set_named_property(env, exports, "abi", NumberOf(env, kAbi));
  return exports;
}

NODE_API_MODULE(tsvmm, Init)

}  // namespace tsvmm
