// The add-on that forks Node.js: what its files share, and the little of Node-API and libuv that they use. These are declared
// here because both are stable by promise, and so nothing but a C compiler is needed to build it.
#ifndef EVOKE_FORK_H
#define EVOKE_FORK_H

#include <stddef.h>
#include <stdint.h>

// https://nodejs.org/api/n-api.html, version 1 but where another is named. Zero is success.
typedef struct napi_env__ *napi_env;
typedef struct napi_value__ *napi_value;
typedef struct napi_callback_info__ *napi_callback_info;
typedef napi_value (*napi_callback)(napi_env, napi_callback_info);
extern int napi_create_function(napi_env, const char *, size_t, napi_callback, void *, napi_value *);
extern int napi_set_named_property(napi_env, napi_value, const char *, napi_value);
extern int napi_get_cb_info(napi_env, napi_callback_info, size_t *, napi_value *, napi_value *, void **);
extern int napi_get_value_int32(napi_env, napi_value, int32_t *);
extern int napi_get_buffer_info(napi_env, napi_value, void **, size_t *);
extern int napi_create_uint32(napi_env, uint32_t, napi_value *);
extern int napi_create_string_utf8(napi_env, const char *, size_t, napi_value *);
extern int napi_throw_error(napi_env, const char *, const char *);
struct uv_loop_s;
extern int napi_get_uv_event_loop(napi_env, struct uv_loop_s **); // version 2

// https://docs.libuv.org/en/v1.x/loop.html
extern int uv_loop_fork(struct uv_loop_s *);

// The socket to the host; docs/reference/worker-protocol.md describes what is said on it.
enum { CHANNEL = 3 };

// copied.c: makes V8's heap part of what a fork copies. Why it could not be done, or NULL.
const char *copy_heap(void);
// workers.c: has V8 do everything on its own thread. Whether that worked.
int no_worker_threads(void);
// serve.c: says `ready` to the host, and forks instances for as long as it wants. Returns in each of them, with its folder for
// temporary files.
const char *serve(const void *ready, size_t length);
// alone.c: puts this process out of reach of its siblings, and them out of its own.
void be_alone(void);
// tidy.c
void remove_all(const char *path);
// What is in the folder that `scratch` is in: noted when first called. Removes what was added, when called again.
void tidy_around(const char *scratch);

#endif
