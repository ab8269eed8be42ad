// What JavaScript sees of it; shim/node/zygote.cjs is the only one that looks.
#define _GNU_SOURCE
#include "fork.h"

#include <sys/syscall.h>
#include <unistd.h>

// noWorkers(): before there is anything to do for workers. Whether it worked.
static napi_value no_workers(napi_env env, napi_callback_info info)
{
    (void)info;
    if (!no_worker_threads())
        napi_throw_error(env, NULL, "this Node.js does not say how many worker threads it has");
    return NULL;
}

// zygote(ready): says so to the host, forks instances, and returns in each of them with its folder for temporary files.
static napi_value zygote(napi_env env, napi_callback_info info)
{
    struct uv_loop_s *loop;
    size_t count = 1, length = 0;
    napi_value argument, scratch;
    void *ready = NULL;
    napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
    const char *failure = copy_heap();
    if (failure == NULL && napi_get_buffer_info(env, argument, &ready, &length) != 0)
        failure = "there is nothing to say to the host";
    if (failure == NULL && napi_get_uv_event_loop(env, &loop) != 0)
        failure = "it has no event loop";
    if (failure != NULL) {
        napi_throw_error(env, NULL, failure);
        return NULL;
    }
    const char *path = serve(ready, length);
    if (uv_loop_fork(loop) != 0 || napi_create_string_utf8(env, path, (size_t)-1, &scratch) != 0)
        _exit(1);
    return scratch;
}

// random(): 32 bits that no other process has.
static napi_value random_bits(napi_env env, napi_callback_info info)
{
    (void)info;
    uint32_t bits = 0;
    napi_value number;
    if (syscall(SYS_getrandom, &bits, sizeof bits, 0) != sizeof bits || napi_create_uint32(env, bits, &number) != 0) {
        napi_throw_error(env, NULL, "the kernel gives no random numbers");
        return NULL;
    }
    return number;
}

// exit(status): at once. The way out that Node.js itself takes waits for threads that are not there.
static napi_value leave(napi_env env, napi_callback_info info)
{
    size_t count = 1;
    napi_value argument;
    int32_t status = 0;
    napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
    napi_get_value_int32(env, argument, &status);
    _exit(status);
}

static void export(napi_env env, napi_value exports, const char *name, napi_callback callback)
{
    napi_value function;
    if (napi_create_function(env, name, (size_t)-1, callback, NULL, &function) == 0)
        napi_set_named_property(env, exports, name, function);
}

__attribute__((visibility("default"))) napi_value napi_register_module_v1(napi_env env, napi_value exports)
{
    export(env, exports, "noWorkers", no_workers);
    export(env, exports, "zygote", zygote);
    export(env, exports, "random", random_bits);
    export(env, exports, "exit", leave);
    return exports;
}
