// Temporary files of dead instances.
#define _GNU_SOURCE
#include "fork.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DESCRIPTORS = 16, PATH_BYTES = 4096 };

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about, (void)kind, (void)where;
    remove(path);
    return 0;
}

void remove_all(const char *path)
{
    // Mostly it is an empty folder.
    if (rmdir(path) != 0 && errno != ENOENT)
        nftw(path, remove_one, DESCRIPTORS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static char **ours;
static size_t count;
static int is_noted;

static int is_ours(const char *name)
{
    for (size_t at = 0; at < count; at++)
        if (strcmp(ours[at], name) == 0)
            return 1;
    return 0;
}

static void note(const char *name)
{
    char **more = realloc(ours, (count + 1) * sizeof *ours);
    char *copy = strdup(name);
    if (more != NULL)
        ours = more;
    if (more != NULL && copy != NULL)
        ours[count++] = copy;
}

void tidy_around(const char *scratch)
{
    char folder[PATH_BYTES], path[2 * PATH_BYTES];
    const char *end = strrchr(scratch, '/');
    if (end == NULL || end == scratch || (size_t)(end - scratch) >= sizeof folder)
        return;
    memcpy(folder, scratch, (size_t)(end - scratch));
    folder[end - scratch] = '\0';
    DIR *listed = opendir(folder);
    if (listed == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(listed)) != NULL;) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        if (!is_noted) {
            note(name);
        } else if (!is_ours(name)) {
            snprintf(path, sizeof path, "%s/%s", folder, name);
            remove_all(path);
        }
    }
    closedir(listed);
    is_noted = 1;
}
