{
  "targets": [
    {
      "target_name": "tsvmm",
      "sources": [
        "native/addon.cc",
        "native/environment.cc",
        "native/calls.cc",
        "native/memory.cc",
        "native/guard.cc",
        "native/loop_watch.cc",
        "native/fd_watch.cc",
        "native/layouts.cc"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=9", "NAPI_DISABLE_CPP_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED"],
      "cflags_cc": ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Wno-unused-parameter", "-fvisibility=hidden"],
      "cflags!": ["-O3"],
      "ldflags": ["-Wl,-z,nodelete", "-Wl,-z,relro,-z,now"]
    }
  ]
}
