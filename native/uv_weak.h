// libuv as Node carries it, by weak reference: a runtime that loads the addon without libuv gets a clear refusal from
// TypeScript instead of a failed dlopen (contract §1.10).
#pragma once

#include <uv.h>

#pragma weak uv_backend_fd
#pragma weak uv_thread_create
#pragma weak uv_poll_init
#pragma weak uv_poll_start
#pragma weak uv_poll_stop
#pragma weak uv_close
#pragma weak uv_ref
#pragma weak uv_unref
