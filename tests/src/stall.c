/* Stands in front of system calls of the program under test, and has them wait
   or fail for as long as a file is there.

   accept.PID  accept4 of this process waits
   birth       epoll_create1 of every worker waits
   barren      epoll_create1 of every worker fails */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static char folder[512];

/* Early, because a program may move its environment. */
__attribute__((constructor)) static void remember_folder(void)
{
    const char *value = getenv("PGSKEIN_STALL");
    snprintf(folder, sizeof folder, "%s", value ? value : "/nonexistent");
}

static int is_there(const char *name)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static int is_worker(void)
{
    char name[16] = "";
    prctl(PR_GET_NAME, name);
    return strncmp(name, "pgskein: worker", 15) == 0;
}

int accept4(int socket, struct sockaddr *address, socklen_t *length, int flags)
{
    int (*next)(int, struct sockaddr *, socklen_t *, int) = dlsym(RTLD_NEXT, "accept4");
    char name[32];
    snprintf(name, sizeof name, "accept.%d", (int)getpid());
    while (is_there(name))
        usleep(1000);
    return next(socket, address, length, flags);
}

int epoll_create1(int flags)
{
    int (*next)(int) = dlsym(RTLD_NEXT, "epoll_create1");
    while (is_worker() && is_there("birth"))
        usleep(1000);
    if (is_worker() && is_there("barren")) {
        errno = EMFILE;
        return -1;
    }
    return next(flags);
}
