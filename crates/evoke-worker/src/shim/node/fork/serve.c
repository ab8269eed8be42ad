// A zygote's loop. Nothing of Node.js runs in it, so that what the instances share stays as it is, and no memory appears that
// a fork would leave out. shim/python/evoke/_zygote.py is the same for CPython.
#define _GNU_SOURCE
#include "fork.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FORK = 10, REAP = 11, STOP = 9, HELLO = 24, EXITED = 25 };
enum { HEADER_BYTES = 9, PATH_BYTES = 4096, DESCRIPTORS = 3 };
// As many signals as would end all instances, were one of them to send it to everybody.
static const int SIGNALS[] = {SIGHUP, SIGINT, SIGTERM};
enum { SIGNALS_COUNT = 3 };

struct instance {
    struct instance *next;
    uint32_t number;
    pid_t pid;
    char scratch[];
};

static struct instance *instances;
static struct sigaction handlers[SIGNALS_COUNT];
static unsigned char bytes[HEADER_BYTES + PATH_BYTES];
static size_t filled;
static int fds[DESCRIPTORS];
static size_t fds_count;

static uint32_t number_at(const unsigned char *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void put(unsigned char *at, uint32_t number)
{
    for (int byte = 0; byte < 4; byte++)
        at[byte] = (unsigned char)(number >> 8 * byte);
}

static void send_all(const unsigned char *frame, size_t length)
{
    for (size_t at = 0; at < length;) {
        ssize_t sent = send(CHANNEL, frame + at, length - at, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            _exit(0); // the host is gone
        at += sent > 0 ? (size_t)sent : 0;
    }
}

static void say(unsigned char kind, uint32_t number, const unsigned char *payload, size_t length)
{
    unsigned char frame[HEADER_BYTES + 4];
    put(frame, (uint32_t)length);
    put(frame + 4, number);
    frame[8] = kind;
    memcpy(frame + HEADER_BYTES, payload, length);
    send_all(frame, HEADER_BYTES + length);
}

static void close_fds(void)
{
    while (fds_count > 0)
        close(fds[--fds_count]);
}

// What a new process does first: it gets what a started one has.
static void become(pid_t zygote, const char *scratch)
{
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != zygote)
        _exit(0);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (int at = 0; at < SIGNALS_COUNT; at++)
        sigaction(SIGNALS[at], &handlers[at], NULL);
    static const int places[DESCRIPTORS] = {CHANNEL, 1, 2};
    for (int at = 0; at < DESCRIPTORS; at++)
        if (dup2(fds[at], places[at]) < 0)
            _exit(1);
    close_fds();
    fcntl(CHANNEL, F_SETFD, FD_CLOEXEC);
    be_alone();
    mkdir(scratch, 0700);
    say(HELLO, 0, NULL, 0);
    fcntl(CHANNEL, F_SETFL, O_NONBLOCK);
}

// The new process's folder in the new process; NULL in this one.
static const char *make(uint32_t number, const unsigned char *path, size_t length)
{
    struct instance *made = calloc(1, sizeof *made + length + 1);
    if (made == NULL || fds_count != DESCRIPTORS)
        _exit(1);
    made->number = number;
    memcpy(made->scratch, path, length);
    if (instances == NULL)
        tidy_around(made->scratch);
    pid_t zygote = getpid();
    made->pid = fork();
    if (made->pid == 0) {
        become(zygote, made->scratch);
        return made->scratch;
    }
    close_fds();
    if (made->pid < 0) {
        dprintf(2, "evoke: this process could not be forked: %s\n", strerror(errno));
        free(made);
        return NULL;
    }
    made->next = instances;
    instances = made;
    return NULL;
}

static int is_instance(pid_t pid)
{
    for (struct instance *at = instances; at != NULL; at = at->next)
        if (at->pid == pid)
            return 1;
    return 0;
}

// What dead instances left behind, which the host has killed.
static void reap_strangers(void)
{
    for (;;) {
        siginfo_t dead;
        dead.si_pid = 0;
        int waited = waitid(P_ALL, 0, &dead, WEXITED | WNOHANG | WNOWAIT);
        // The turn of an instance comes when the host says so.
        if (waited != 0 || dead.si_pid == 0 || is_instance(dead.si_pid))
            return;
        waitpid(dead.si_pid, NULL, 0);
    }
}

static void reap(uint32_t number)
{
    struct instance **at = &instances;
    while (*at != NULL && (*at)->number != number)
        at = &(*at)->next;
    struct instance *dead = *at;
    unsigned char payload[4];
    size_t length = 0;
    if (dead != NULL) {
        *at = dead->next;
        int status = 0;
        kill(dead->pid, SIGKILL); // nothing, for one that is dead
        if (waitpid(dead->pid, &status, 0) == dead->pid) {
            put(payload, (uint32_t)(WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status)));
            length = sizeof payload;
        }
        remove_all(dead->scratch);
        if (instances == NULL)
            // What they have left beside their own folders, where the next ones would find it.
            tidy_around(dead->scratch);
        free(dead);
    }
    say(EXITED, number, payload, length);
    reap_strangers();
}

static void receive(void)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(DESCRIPTORS * sizeof(int))];
    } control;
    struct iovec into = {bytes + filled, sizeof bytes - filled};
    struct msghdr message = {.msg_iov = &into, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(CHANNEL, &message, MSG_CMSG_CLOEXEC);
    if (got <= 0) {
        if (got < 0 && errno == EINTR)
            return;
        _exit(0); // the host is gone
    }
    filled += (size_t)got;
    for (struct cmsghdr *at = CMSG_FIRSTHDR(&message); at != NULL; at = CMSG_NXTHDR(&message, at)) {
        if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS)
            continue;
        close_fds();
        fds_count = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        if (fds_count > DESCRIPTORS)
            _exit(1);
        memcpy(fds, CMSG_DATA(at), fds_count * sizeof(int));
    }
}

const char *serve(const void *ready, size_t length)
{
    struct sigaction ignore;
    memset(&ignore, 0, sizeof ignore);
    ignore.sa_handler = SIG_IGN;
    for (int at = 0; at < SIGNALS_COUNT; at++)
        sigaction(SIGNALS[at], &ignore, &handlers[at]);
    fcntl(CHANNEL, F_SETFL, 0);
    send_all(ready, length);
    for (;;) {
        receive();
        size_t begin = 0;
        while (filled - begin >= HEADER_BYTES) {
            const unsigned char *frame = bytes + begin;
            size_t length = number_at(frame);
            uint32_t number = number_at(frame + 4);
            if (length > PATH_BYTES - 1)
                _exit(1);
            if (filled - begin < HEADER_BYTES + length)
                break;
            begin += HEADER_BYTES + length;
            if (frame[8] == FORK) {
                const char *scratch = make(number, frame + HEADER_BYTES, length);
                if (scratch != NULL)
                    return scratch;
            } else if (frame[8] == REAP) {
                reap(number);
            } else if (frame[8] == STOP) {
                _exit(0);
            }
        }
        memmove(bytes, bytes + begin, filled - begin);
        filled -= begin;
    }
}
