/* Stands in front of system calls of the program under test, and has them wait
   or fail for as long as a file is there.

   accept.PID  accept4 of this process waits
   birth       epoll_create1 of every worker waits
   barren      epoll_create1 of every worker fails
   newer       what a worker offers to another has a field that nobody knows, as
               if a later program had written it */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
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

/* An offer: UInt32 length of what follows, version, kind 1, UInt32 number, cargo,
   number of descriptors, body. It is one write, and its descriptors go along. */
ssize_t sendmsg(int socket, const struct msghdr *message, int flags)
{
    ssize_t (*next)(int, const struct msghdr *, int) = dlsym(RTLD_NEXT, "sendmsg");
    static const unsigned char field[] = {0x7f, 0xff, 0, 0, 0, 1, 'x'};
    static unsigned char frame[65536];
    const struct iovec *whole = message->msg_iov;
    size_t length = message->msg_iovlen == 1 ? whole->iov_len : 0;
    const unsigned char *bytes = length ? whole->iov_base : NULL;
    if (!is_worker() || !message->msg_controllen || length < 12
        || length + sizeof field > sizeof frame || bytes[5] != 1 || !is_there("newer"))
        return next(socket, message, flags);
    memcpy(frame, bytes, length);
    memcpy(frame + length, field, sizeof field);
    size_t follows = length + sizeof field - 4;
    for (int at = 0; at < 4; at++)
        frame[at] = follows >> (24 - 8 * at);
    struct iovec longer = {frame, length + sizeof field};
    struct msghdr changed = *message;
    changed.msg_iov = &longer;
    changed.msg_iovlen = 1;
    ssize_t written = next(socket, &changed, flags);
    return written > (ssize_t)length ? (ssize_t)length : written;
}
