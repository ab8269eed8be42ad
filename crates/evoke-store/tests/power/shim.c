/* A disk that forgets what was not synced.
 *
 * Preloaded into a process, it notes before each change below EVOKE_POWER_DIR what undoes it, in files below
 * EVOKE_POWER_LOG, and forgets the note when the change is synced: writes when their file is, names when their directory
 * is. What is noted when the process is killed is what a power cut may take; tests/it/power.rs undoes it, newest first.
 *
 *   EVOKE_POWER_SYNC=ignore   syncs do nothing: the control, which has to fail
 *   EVOKE_POWER_SYNC=fail:N   the N-th fdatasync or fsync of a file, and each after it, gives EIO and syncs nothing
 *   EVOKE_POWER_WRITE=short   every third write writes half of what it should
 *   EVOKE_POWER_WRITE=full:N  from the N-th write on: ENOSPC, until there is a file EVOKE_POWER_LOG/space
 *   EVOKE_POWER_SKIP=PATH     what is below is left alone: nothing durable is there
 *
 * Notes: one file each, LOG/<number>: a line "kind device inode offset size length" and bytes. A hard link
 * LOG/inode-<device>-<inode> keeps each file within reach under whatever name. Files -shm and lock are not durable and
 * left alone. Changes through mmap are not seen: the store makes none. Programs that the process starts run without it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static const char *dir, *side, *skip;
static size_t dir_len, skip_len;
static long number, syncs, writes, fail_sync = -1, full_write = -1;
static int ignore_sync, short_writes;

/* What is noted and not synced, by number. */
#define NOTES (1 << 20)
static struct note { dev_t dev; ino_t ino; long number; } notes[NOTES];
static long noted;

__attribute__((constructor)) static void start(void) {
    dir = getenv("EVOKE_POWER_DIR");
    side = getenv("EVOKE_POWER_LOG");
    skip = getenv("EVOKE_POWER_SKIP");
    dir_len = dir ? strlen(dir) : 0;
    skip_len = skip ? strlen(skip) : 0;
    unsetenv("LD_PRELOAD");
    const char *sync = getenv("EVOKE_POWER_SYNC"), *write = getenv("EVOKE_POWER_WRITE");
    if (sync && !strcmp(sync, "ignore")) ignore_sync = 1;
    if (sync && !strncmp(sync, "fail:", 5)) fail_sync = atol(sync + 5);
    if (write && !strcmp(write, "short")) short_writes = 1;
    if (write && !strncmp(write, "full:", 5)) full_write = atol(write + 5);
}

/* The calls as the kernel has them, so that nothing here meets itself. */
static long raw_open(const char *path, int flags, int mode) { return syscall(SYS_openat, AT_FDCWD, path, flags, mode); }
static void die(const char *what) { dprintf(2, "power shim: %s: %s\n", what, strerror(errno)); abort(); }

static int below(const char *path) {
    if (!dir || strncmp(path, dir, dir_len) || (path[dir_len] != '/' && path[dir_len])) return 0;
    if (skip && !strncmp(path, skip, skip_len)) return 0;
    size_t len = strlen(path);
    return !(len > 4 && !strcmp(path + len - 4, "-shm")) && !(len > 5 && !strcmp(path + len - 5, "/lock"));
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, PATH_MAX - 1);
    if (len <= 0) return 0;
    path[len] = 0;
    return 1;
}

static int watched(int fd) {
    char path[PATH_MAX];
    return dir && path_of(fd, path) && below(path);
}

static void keep(long n, dev_t dev, ino_t ino) {
    if (noted == NOTES) { errno = ENOMEM; die("too many notes"); }
    notes[noted++] = (struct note){dev, ino, n};
}

/* Writes a note: `of` decides which sync makes it forgotten. */
static void note(char kind, const struct stat *of, long long offset, long long size, const void *bytes, size_t len) {
    char path[PATH_MAX], head[256];
    snprintf(path, sizeof path, "%s/%ld", side, ++number);
    int fd = raw_open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd < 0) die(path);
    int n = snprintf(head, sizeof head, "%c %llu %llu %lld %lld %zu\n", kind, (unsigned long long)of->st_dev,
                     (unsigned long long)of->st_ino, offset, size, len);
    struct iovec parts[2] = {{head, n}, {(void *)bytes, len}};
    if (syscall(SYS_writev, fd, parts, 2) != (long)(n + len)) die(path);
    syscall(SYS_close, fd);
    keep(number, of->st_dev, of->st_ino);
}

static void hold(const char *path, const struct stat *of) {
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%s/inode-%llu-%llu", side, (unsigned long long)of->st_dev, (unsigned long long)of->st_ino);
    if (syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, name, 0) && errno != EEXIST && errno != ENOENT) die(name);
}

static void forget(const struct stat *of) {
    long kept = 0;
    for (long n = 0; n < noted; n++) {
        if (notes[n].dev == of->st_dev && notes[n].ino == of->st_ino) {
            char path[PATH_MAX];
            snprintf(path, sizeof path, "%s/%ld", side, notes[n].number);
            syscall(SYS_unlinkat, AT_FDCWD, path, 0);
        } else notes[kept++] = notes[n];
    }
    noted = kept;
}

/* Before `len` bytes at `offset` of a file change. */
static void before_write(int fd, long long offset, size_t len) {
    struct stat st;
    char path[PATH_MAX];
    if (syscall(SYS_fstat, fd, &st)) die("fstat");
    if (path_of(fd, path)) hold(path, &st);
    char *old = malloc(len ? len : 1);
    size_t have = 0;
    /* The file may be open for writing only. */
    int reader = raw_open(path, O_RDONLY, 0);
    while (reader >= 0 && have < len) {
        long got = syscall(SYS_pread64, reader, old + have, len - have, offset + (long long)have);
        if (got <= 0) break;
        have += got;
    }
    if (reader >= 0) syscall(SYS_close, reader);
    note('w', &st, offset, st.st_size, old, have);
    free(old);
}

/* Before a name in a directory changes: the path, and for what was there before a link that keeps it. */
static void before_name(char kind, const char *path, const char *other) {
    char folder[PATH_MAX], both[2 * PATH_MAX + 2];
    struct stat st;
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash) *slash = 0;
    if (syscall(SYS_newfstatat, AT_FDCWD, folder, &st, 0)) die(folder);
    struct stat old;
    const char *gone = kind == 'r' ? other : path;
    if (kind != 'c' && !syscall(SYS_newfstatat, AT_FDCWD, gone, &old, AT_SYMLINK_NOFOLLOW) && S_ISREG(old.st_mode)) {
        char name[PATH_MAX];
        snprintf(name, sizeof name, "%s/kept-%ld", side, number + 1);
        if (syscall(SYS_linkat, AT_FDCWD, gone, AT_FDCWD, name, 0)) die(name);
    }
    int len = snprintf(both, sizeof both, "%s\n%s\n", path, other ? other : "");
    note(kind, &st, 0, 0, both, len);
}

static int refuses(size_t *len) {
    writes++;
    if (full_write >= 0 && writes >= full_write) {
        char path[PATH_MAX];
        struct stat st;
        snprintf(path, sizeof path, "%s/space", side);
        if (syscall(SYS_newfstatat, AT_FDCWD, path, &st, 0)) { errno = ENOSPC; return 1; }
    }
    if (short_writes && writes % 3 == 0 && *len > 1) *len /= 2;
    return 0;
}

static ssize_t change(int fd, const void *bytes, size_t len, long long offset, int at) {
    if (!watched(fd)) return at ? syscall(SYS_pwrite64, fd, bytes, len, offset) : syscall(SYS_write, fd, bytes, len);
    pthread_mutex_lock(&turn);
    ssize_t done = -1;
    if (!refuses(&len)) {
        before_write(fd, at ? offset : syscall(SYS_lseek, fd, 0, SEEK_CUR), len);
        done = at ? syscall(SYS_pwrite64, fd, bytes, len, offset) : syscall(SYS_write, fd, bytes, len);
    }
    int error = errno;
    pthread_mutex_unlock(&turn);
    errno = error;
    return done;
}

ssize_t write(int fd, const void *bytes, size_t len) { return change(fd, bytes, len, 0, 0); }
ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset) { return change(fd, bytes, len, offset, 1); }
ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t offset) { return change(fd, bytes, len, offset, 1); }

int ftruncate64(int fd, off64_t size) {
    if (!watched(fd)) return syscall(SYS_ftruncate, fd, size);
    pthread_mutex_lock(&turn);
    struct stat st;
    if (syscall(SYS_fstat, fd, &st)) die("fstat");
    before_write(fd, size, st.st_size > size ? st.st_size - size : 0);
    int done = syscall(SYS_ftruncate, fd, size);
    pthread_mutex_unlock(&turn);
    return done;
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

static int sync_file(int fd, int call) {
    if (!watched(fd)) return syscall(call, fd);
    pthread_mutex_lock(&turn);
    struct stat st;
    int done = 0;
    if (syscall(SYS_fstat, fd, &st)) die("fstat");
    if (!S_ISDIR(st.st_mode)) syncs++;
    if (fail_sync >= 0 && syncs >= fail_sync) { errno = EIO; done = -1; }
    else if (!ignore_sync) forget(&st);
    pthread_mutex_unlock(&turn);
    return done;
}
int fsync(int fd) { return sync_file(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_file(fd, SYS_fdatasync); }

static int open_named(int at, const char *path, int flags, int mode) {
    if (!dir || !(flags & O_CREAT) || !below(path)) return syscall(SYS_openat, at, path, flags, mode);
    pthread_mutex_lock(&turn);
    struct stat st;
    int is_new = syscall(SYS_newfstatat, at, path, &st, 0) != 0;
    if (is_new) before_name('c', path, 0);
    int fd = syscall(SYS_openat, at, path, flags, mode);
    int error = errno;
    pthread_mutex_unlock(&turn);
    errno = error;
    return fd;
}
#define MODE(flags) int mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list list; va_start(list, flags); mode = va_arg(list, int); va_end(list); }
int open(const char *path, int flags, ...) { MODE(flags) return open_named(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return open_named(AT_FDCWD, path, flags | O_LARGEFILE, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags) return open_named(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags) return open_named(at, path, flags | O_LARGEFILE, mode); }

int mkdir(const char *path, mode_t mode) {
    int watch = dir && below(path);
    pthread_mutex_lock(&turn);
    struct stat st;
    if (watch && syscall(SYS_newfstatat, AT_FDCWD, path, &st, 0)) before_name('c', path, 0);
    int done = syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    int error = errno;
    pthread_mutex_unlock(&turn);
    errno = error;
    return done;
}

int rename(const char *from, const char *to) {
    if (!dir || !below(from)) return syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
    pthread_mutex_lock(&turn);
    /* Noted with the directory it goes to; undone, the new name is gone and what had it before is back. The old name
     * stays gone: nobody asks for what was not finished. */
    before_name('r', to, to);
    int done = syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
    pthread_mutex_unlock(&turn);
    return done;
}

int unlink(const char *path) {
    if (!dir || !below(path)) return syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    pthread_mutex_lock(&turn);
    before_name('u', path, 0);
    int done = syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    pthread_mutex_unlock(&turn);
    return done;
}
