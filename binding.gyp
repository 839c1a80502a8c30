{
  "targets": [
    {
      "target_name": "tsvmm",
      "sources": [
        "native/addon.cc",
        "native/environment.cc",
        "native/calls.cc",
        "native/making.cc",
        "native/memory.cc",
        "native/guard.cc",
        "native/cut.cc",
        "native/loop_watch.cc",
        "native/fd_watch.cc",
        "native/layouts.cc"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=9", "NAPI_DISABLE_CPP_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED"],
      # mmap() and not glibc's own name mmap64(): 64-bit Linux has one kind of file offset.
      "defines!": ["_FILE_OFFSET_BITS=64", "_LARGEFILE_SOURCE"],
      "cflags_cc": [
        "-std=c++17", "-O2", "-Wall", "-Wextra", "-Wno-unused-parameter", "-fvisibility=hidden",
        "-ffunction-sections", "-fdata-sections"
      ],
      "cflags!": ["-O3"],
      # Nothing of libstdc++ is used, so that the file loads beside glibc and beside musl (docs/decisions/0008).
      "ldflags": ["-Wl,-z,nodelete", "-Wl,-z,relro,-z,now", "-Wl,--gc-sections", "-nodefaultlibs"],
      "libraries": ["-lc"],
      "conditions": [
        ["target_arch=='arm64'", { "cflags_cc": ["-mno-outline-atomics"] }]
      ]
    }
  ]
}
