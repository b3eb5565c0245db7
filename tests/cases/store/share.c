/* A network share, simulated for one process: files named kb.db cannot be locked (NOLOCK), or their shared memory cannot
 * be mapped (NOSHM). Built with: cc -shared -fPIC -o share.so share.c -ldl */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int named(int descriptor, const char *part) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, part) != NULL;
}

static int control(const char *name, int descriptor, int command, void *argument) {
    int (*real)(int, int, ...) = dlsym(RTLD_NEXT, name);
    int locks = command == F_SETLK || command == F_SETLKW || command == F_GETLK;
    if (locks && getenv("NOLOCK") && named(descriptor, "kb.db")) {
        errno = ENOLCK;
        return -1;
    }
    return real(descriptor, command, argument);
}

#define CONTROL(name)                                   \
    int name(int descriptor, int command, ...) {        \
        va_list rest;                                   \
        va_start(rest, command);                        \
        void *argument = va_arg(rest, void *);          \
        va_end(rest);                                   \
        return control(#name, descriptor, command, argument); \
    }
CONTROL(fcntl)
CONTROL(fcntl64)

#define MAP(name)                                                                              \
    void *name(void *at, size_t length, int protection, int flags, int descriptor, off_t from) { \
        void *(*real)(void *, size_t, int, int, int, off_t) = dlsym(RTLD_NEXT, #name);         \
        if (descriptor >= 0 && flags & MAP_SHARED && getenv("NOSHM") && named(descriptor, "-shm")) { \
            errno = ENODEV;                                                                    \
            return MAP_FAILED;                                                                 \
        }                                                                                      \
        return real(at, length, protection, flags, descriptor, from);                          \
    }
MAP(mmap)
MAP(mmap64)
