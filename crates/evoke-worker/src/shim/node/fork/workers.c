// Threads are not copied by a fork, so a task that V8 hands to one of its workers is never done in the child. With
// --single-threaded it waits for none, but still hands out some that it could do without (of a full collection, in V8 11),
// and a thread of `worker_threads` does not end before all are done. V8 hands out as many as the platform says it has workers
// for. That is asked through a virtual function, whose entry is replaced here.
#define _GNU_SOURCE
#include "fork.h"

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ENTRIES = 64 };

static int none(void *platform)
{
    (void)platform;
    return 0;
}

int no_worker_threads(void)
{
    void **table = dlsym(RTLD_DEFAULT, "_ZTVN4node12NodePlatformE");
    void *count = dlsym(RTLD_DEFAULT, "_ZN4node12NodePlatform21NumberOfWorkerThreadsEv");
    if (table == NULL || count == NULL)
        return 0;
    for (int at = 0; at < ENTRIES; at++) {
        if (table[at] != count)
            continue;
        uintptr_t size = (uintptr_t)sysconf(_SC_PAGESIZE);
        void *page = (void *)((uintptr_t)&table[at] & ~(size - 1));
        if (mprotect(page, size, PROT_READ | PROT_WRITE) != 0)
            return 0;
        table[at] = (void *)none;
        mprotect(page, size, PROT_READ);
        return 1;
    }
    return 0;
}
