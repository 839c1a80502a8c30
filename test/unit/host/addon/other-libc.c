/*
 * Loads the addon into a process of another C library than Node's here and uses it: as much of Node-API as that takes,
 * and calls that depend on the C library's structures (sigaction, siginfo_t, the signal numbers). Built with musl-gcc, and
 * with gcc as the control.
 *
 *   other-libc ADDON      prints what each call answered, a line each, and the C libraries in the process
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A JavaScript value, as far as the addon can tell. */
typedef struct value *napi_value;
typedef napi_value (*napi_callback)(void *env, void *info);
struct value {
	enum { undefined = 0, number = 3, object = 6, function = 7 } type; /* napi_valuetype */
	int64_t integer;
	napi_callback callback;
	struct property {
		const char *name;
		napi_value value;
		struct property *next;
	} *properties;
	void *bytes; /* a Uint8Array's, or an ArrayBuffer's */
	size_t length;
	int is_array;
	void (*finalize)(void *env, void *data, void *hint);
};
struct call {
	size_t count;
	napi_value arguments[8];
};

#define API __attribute__((visibility("default")))

static napi_value make(int type)
{
	napi_value made = calloc(1, sizeof *made);
	made->type = type;
	return made;
}

static napi_value of(int64_t integer)
{
	napi_value made = make(number);
	made->integer = integer;
	return made;
}

API int napi_create_object(void *env, napi_value *result) { *result = make(object); return 0; }
API int napi_create_int64(void *env, int64_t n, napi_value *result) { *result = of(n); return 0; }
API int napi_create_int32(void *env, int32_t n, napi_value *result) { *result = of(n); return 0; }
API int napi_typeof(void *env, napi_value value, int *type) { *type = value->type; return 0; }
API int napi_get_value_int64(void *env, napi_value value, int64_t *n) { *n = value->integer; return 0; }
API int napi_get_value_int32(void *env, napi_value value, int32_t *n) { *n = (int32_t)value->integer; return 0; }
API int napi_is_typedarray(void *env, napi_value value, _Bool *is) { *is = value->is_array; return 0; }
API int napi_is_dataview(void *env, napi_value value, _Bool *is) { *is = 0; return 0; }
API int napi_is_arraybuffer(void *env, napi_value value, _Bool *is) { *is = !value->is_array && value->bytes; return 0; }

API int napi_create_function(void *env, const char *name, size_t length, napi_callback callback, void *data,
			     napi_value *result)
{
	*result = make(function);
	(*result)->callback = callback;
	return 0;
}

API int napi_set_named_property(void *env, napi_value target, const char *name, napi_value value)
{
	struct property *made = malloc(sizeof *made);
	*made = (struct property){ name, value, target->properties };
	target->properties = made;
	return 0;
}

API int napi_get_cb_info(void *env, void *info, size_t *count, napi_value *values, napi_value *self, void **data)
{
	struct call *call = info;
	for (size_t i = 0; i < *count; i++)
		values[i] = i < call->count ? call->arguments[i] : NULL;
	*count = call->count;
	return 0;
}

API int napi_get_typedarray_info(void *env, napi_value value, int *type, size_t *length, void **bytes,
				 napi_value *buffer, size_t *offset)
{
	if (type)
		*type = 1; /* napi_uint8_array */
	if (length)
		*length = value->length;
	*bytes = value->bytes;
	return 0;
}

API int napi_get_arraybuffer_info(void *env, napi_value value, void **bytes, size_t *length)
{
	*bytes = value->bytes;
	return 0;
}

API int napi_create_external_arraybuffer(void *env, void *bytes, size_t length,
					 void (*finalize)(void *, void *, void *), void *hint, napi_value *result)
{
	*result = make(object);
	(*result)->bytes = bytes;
	(*result)->length = length;
	(*result)->finalize = finalize;
	return 0;
}

static void *instance;
API int napi_set_instance_data(void *env, void *data, void *finalize, void *hint) { instance = data; return 0; }
API int napi_get_instance_data(void *env, void **data) { *data = instance; return 0; }
API int napi_add_env_cleanup_hook(void *env, void (*hook)(void *), void *data) { return 0; }
API int napi_get_uv_event_loop(void *env, void **loop) { return 9; }

/* The rest of what the addon binds to is not called here. */
#define UNUSED(name) API int name(void) { fprintf(stderr, #name " was called\n"); abort(); }
UNUSED(napi_add_async_cleanup_hook) UNUSED(napi_create_async_work) UNUSED(napi_queue_async_work)
UNUSED(napi_delete_async_work) UNUSED(napi_create_promise) UNUSED(napi_resolve_deferred) UNUSED(napi_get_undefined)
UNUSED(napi_async_destroy) UNUSED(napi_async_init) UNUSED(napi_cancel_async_work)
UNUSED(napi_get_array_length) UNUSED(napi_get_element) UNUSED(napi_unwrap) UNUSED(napi_wrap)
UNUSED(napi_close_handle_scope) UNUSED(napi_create_external) UNUSED(napi_create_reference) UNUSED(napi_create_string_utf8)
UNUSED(napi_delete_reference) UNUSED(napi_detach_arraybuffer) UNUSED(napi_fatal_exception)
UNUSED(napi_get_and_clear_last_exception) UNUSED(napi_get_dataview_info) UNUSED(napi_get_global)
UNUSED(napi_get_reference_value) UNUSED(napi_get_value_external) UNUSED(napi_is_exception_pending)
UNUSED(napi_make_callback) UNUSED(napi_open_handle_scope) UNUSED(napi_remove_async_cleanup_hook)
UNUSED(napi_remove_env_cleanup_hook)

static napi_value exports;

static napi_value get(napi_value from, const char *name)
{
	for (struct property *p = from->properties; p; p = p->next)
		if (strcmp(p->name, name) == 0)
			return p->value;
	fprintf(stderr, "the addon has no %s\n", name);
	exit(1);
}

static int64_t invoke(const char *name, struct call call)
{
	napi_value result = get(exports, name)->callback(NULL, &call);
	return result ? result->integer : 0;
}

#define CALL(name, ...)                                                                         \
	invoke(name, (struct call){ sizeof((napi_value[]){ __VA_ARGS__ }) / sizeof(napi_value), \
				    { __VA_ARGS__ } })
#define SAY(what, ...) printf("%s: %ld\n", what, (long)(__VA_ARGS__))

static void libraries(void)
{
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "r");
	while (fgets(line, sizeof line, maps)) {
		char *name = strrchr(line, '/');
		if (name && strstr(line, "r-xp"))
			printf("library: %s", name + 1);
	}
	fclose(maps);
}

int main(int argc, char **argv)
{
	void *addon = dlopen(argv[1], RTLD_NOW);
	if (!addon) {
		fprintf(stderr, "%s\n", dlerror());
		return 1;
	}
	napi_value (*init)(void *, napi_value) = dlsym(addon, "napi_register_module_v1");
	exports = init(NULL, make(object));
	SAY("abi", get(exports, "abi")->integer);
	SAY("getpid", CALL("syscall", of(SYS_getpid)) == getpid());
	SAY("EBADF", CALL("syscall", of(SYS_close), of(-1)));
	SAY("ioctl", CALL("ioctl", of(-1), of(0), of(0)));
	SAY("threadId", CALL("threadId", of(0)) == getpid());
	SAY("backendFd", CALL("backendFd", of(0)));

	/* kickSignal(): sigaction() and the real-time signals of this C library. */
	int kick = (int)CALL("kickSignal", of(0));
	SAY("kickSignal", kick > SIGRTMIN && kick < SIGRTMAX && CALL("kickSignal", of(0)) == kick);
	SAY("kick is harmless", raise(kick));

	/* Memory over a file that becomes shorter than it: the guard answers the SIGBUS. */
	int file = memfd_create("other-libc", 0);
	SAY("ftruncate", ftruncate(file, 16384));
	int64_t address = CALL("mapMemory", of(16384), of(PROT_READ | PROT_WRITE), of(MAP_SHARED), of(file), of(0), of(1 << 21));
	SAY("aligned", address > 0 && address % (1 << 21) == 0);
	static int32_t failed;
	SAY("guard", CALL("guard", of(address), of(16384), of(4096), of((intptr_t)&failed), of(-1)));
	SAY("ftruncate", ftruncate(file, 0));
	unsigned char byte[1] = { 7 };
	napi_value target = make(object);
	target->bytes = byte;
	target->length = 1;
	target->is_array = 1;
	CALL("copyOut", of(address + 4096), target);
	SAY("read behind the end", byte[0]);
	SAY("failed", failed);
	SAY("unguard", CALL("unguard", of(0)));

	/* openFd(): held by the environment, given back once. */
	int64_t opened = CALL("openFd", of(SYS_dup), of(file));
	SAY("openFd", opened > file);
	SAY("closeFd", CALL("closeFd", of(opened)));

	/* wrapMemory(): a holder more, given up by its finalizer. */
	napi_value buffer = get(exports, "wrapMemory")->callback(NULL, &(struct call){ 2, { of(address), of(4096) } });
	SAY("holders", CALL("memoryHolders", of(address)));
	SAY("release", CALL("releaseMemory", of(address)));
	buffer->finalize(NULL, buffer->bytes, NULL);
	SAY("holders", CALL("memoryHolders", of(address)));
	SAY("release", CALL("releaseMemory", of(address)));
	libraries();
	return 0;
}
