// V8 asks the kernel to leave its heap out of forks (MADV_DONTFORK), since a child of Node.js ordinarily does nothing but
// start a program. A child that is to go on needs it.
#define _GNU_SOURCE
#include "fork.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct range {
    uintptr_t begin, end;
};

static int hex(const char **at, uintptr_t *number)
{
    const char *from = *at;
    for (*number = 0;; (*at)++) {
        char c = **at;
        if (c >= '0' && c <= '9')
            *number = *number << 4 | (uintptr_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            *number = *number << 4 | (uintptr_t)(c - 'a' + 10);
        else
            return *at > from;
    }
}

// `begin-end rights …` opens the description of a mapping; its flags come below, as words of two letters.
static int is_mapping(const char *line, struct range *range)
{
    struct range found;
    if (!hex(&line, &found.begin) || *line++ != '-' || !hex(&line, &found.end) || *line != ' ')
        return 0;
    *range = found;
    return 1;
}

static int is_left_out(const char *line)
{
    return strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " dc") != NULL;
}

const char *copy_heap(void)
{
    FILE *maps = fopen("/proc/self/smaps", "re");
    if (maps == NULL)
        return "/proc/self/smaps cannot be read";
    // First all, then change: each change may split or join what is being listed.
    struct range range = {0, 0}, *ranges = NULL;
    size_t count = 0, room = 0;
    char line[512];
    int begins = 1;
    const char *failure = NULL;
    while (failure == NULL && fgets(line, sizeof line, maps) != NULL) {
        if (begins && !is_mapping(line, &range) && is_left_out(line)) {
            if (count == room) {
                room = 2 * room + 64;
                struct range *more = realloc(ranges, room * sizeof *ranges);
                if (more == NULL) {
                    failure = "out of memory";
                    continue;
                }
                ranges = more;
            }
            ranges[count++] = range;
        }
        // Names of files may be longer than the line that is read at once.
        begins = strchr(line, '\n') != NULL;
    }
    fclose(maps);
    for (size_t at = 0; at < count && failure == NULL; at++)
        if (madvise((void *)ranges[at].begin, ranges[at].end - ranges[at].begin, MADV_DOFORK) != 0)
            failure = "madvise(MADV_DOFORK) failed";
    free(ranges);
    return failure;
}
