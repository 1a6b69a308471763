/* Replaces fork(2) with a function that fails with EAGAIN while a file exists. The live tests
 * preload this library.
 *
 * FORK_EAGAIN names the file. Only a process that was itself forked fails to fork, so the parent
 * can still fork its fork server. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int depth;
static char *file;

__attribute__((constructor)) static void remember(void)
{
    const char *name = getenv("FORK_EAGAIN");
    file = name ? strdup(name) : NULL;
}

pid_t fork(void)
{
    static pid_t (*real)(void);
    if (depth > 0 && file && access(file, F_OK) == 0) {
        errno = EAGAIN;
        return -1;
    }
    if (!real)
        real = (pid_t (*)(void))dlsym(RTLD_NEXT, "fork");
    pid_t pid = real();
    if (pid == 0)
        depth++;
    return pid;
}
