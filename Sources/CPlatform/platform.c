#define _GNU_SOURCE
#include "platform.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static int64_t clock_ms(clockid_t id)
{
    struct timespec now;
    if (clock_gettime(id, &now) != 0) {
        return 0;
    }
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t platform_wall_ms(void) { return clock_ms(CLOCK_REALTIME); }

int64_t platform_monotonic_ms(void) { return clock_ms(CLOCK_BOOTTIME); }

void platform_random(void *buffer, size_t bytes)
{
    uint8_t *at = buffer;
    while (bytes > 0) {
        ssize_t got = getrandom(at, bytes, 0);
        if (got < 0) {
            if (errno == EINTR) {
                continue;
            }
            /* ENOSYS, on a kernel before 3.17: the clock keeps identifiers apart, and nothing here is a secret. */
            uint64_t seed = (uint64_t) clock_ms(CLOCK_REALTIME) * 6364136223846793005u + (uintptr_t) at;
            for (size_t i = 0; i < bytes; i++) {
                seed = seed * 6364136223846793005u + 1442695040888963407u;
                at[i] = (uint8_t) (seed >> 56);
            }
            return;
        }
        at += got;
        bytes -= (size_t) got;
    }
}

#ifdef IOTO_PROVIDE_ARC4RANDOM
/* Embedded Swift seeds its hashing from arc4random_buf(3), which glibc has from 2.36 on only. The shipped library brings
 * its own, kept local by the version script, so that it loads on older systems too. */
void arc4random_buf(void *buffer, size_t bytes);
void arc4random_buf(void *buffer, size_t bytes) { platform_random(buffer, bytes); }
#endif

#ifdef IOTO_PROVIDE_PARTIAL_DEALLOCATION
/* Called when a class's initializer throws, its stored properties destroyed already. That of the Embedded runtime (Swift
 * 6.3), a weak symbol, leaves the instance itself allocated. An instance is its class, then its reference count, whose
 * highest bit says that it is not on the heap. No class of the library has a superclass with properties of its own. */
void swift_deallocPartialClassInstance(void *object, void *class, size_t bytes, size_t alignment_mask);
void swift_deallocPartialClassInstance(void *object, void *class, size_t bytes, size_t alignment_mask)
{
    const intptr_t *header = object;
    (void) class;
    (void) bytes;
    (void) alignment_mask;
    if (header[1] >= 0) {
        free(object);
    }
}
#endif

#ifdef IOTO_PROVIDE_ALLOCATION
/* Embedded Swift takes all its memory from posix_memalign(3), even with the alignment that malloc() gives. glibc does that
 * by far slower than malloc(), and past its caches for each thread. The shipped library brings its own, kept local by the
 * version script. */
int posix_memalign(void **out, size_t alignment, size_t bytes)
{
    void *memory = alignment <= 2 * sizeof(void *) ? malloc(bytes) : aligned_alloc(alignment, (bytes + alignment - 1) & ~(alignment - 1));
    if (memory == NULL) {
        return ENOMEM;
    }
    *out = memory;
    return 0;
}
#endif

void platform_free(void *memory) { free(memory); }

void platform_log(const char *line, size_t bytes)
{
    ssize_t written = write(STDERR_FILENO, line, bytes);
    (void) written;
}

void platform_print(const char *first, const char *second) { printf("%s %s\n", first, second); }

const char *platform_error_text(int code, char *buffer, size_t bytes)
{
#if defined(__GLIBC__)
    return strerror_r(code, buffer, bytes); /* the GNU form, which may return a static text */
#else
    return strerror_r(code, buffer, bytes) == 0 ? buffer : "unknown error";
#endif
}
