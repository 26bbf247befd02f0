#define _GNU_SOURCE
#include "platform.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/stat.h>
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

struct platform_mutex {
    pthread_mutex_t mutex;
};

platform_mutex *platform_mutex_new(bool recursive)
{
    platform_mutex *self = malloc(sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, recursive ? PTHREAD_MUTEX_RECURSIVE : PTHREAD_MUTEX_NORMAL);
    pthread_mutex_init(&self->mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return self;
}

void platform_mutex_free(platform_mutex *self)
{
    if (self != NULL) {
        pthread_mutex_destroy(&self->mutex);
        free(self);
    }
}

void platform_mutex_lock(platform_mutex *self) { pthread_mutex_lock(&self->mutex); }

void platform_mutex_unlock(platform_mutex *self) { pthread_mutex_unlock(&self->mutex); }

struct platform_condition {
    pthread_cond_t condition;
};

platform_condition *platform_condition_new(void)
{
    platform_condition *self = malloc(sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&self->condition, &attributes);
    pthread_condattr_destroy(&attributes);
    return self;
}

void platform_condition_free(platform_condition *self)
{
    if (self != NULL) {
        pthread_cond_destroy(&self->condition);
        free(self);
    }
}

void platform_condition_wait(platform_condition *self, platform_mutex *mutex)
{
    pthread_cond_wait(&self->condition, &mutex->mutex);
}

bool platform_condition_wait_for(platform_condition *self, platform_mutex *mutex, int64_t timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    if (timeout_ms > 1000000000) {
        timeout_ms = 1000000000; /* eleven days: what a 32-bit time_t can still add up */
    }
    if (timeout_ms < 0) {
        timeout_ms = 0;
    }
    until.tv_sec += (time_t) (timeout_ms / 1000);
    until.tv_nsec += (long) (timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec += 1;
    }
    return pthread_cond_timedwait(&self->condition, &mutex->mutex, &until) != ETIMEDOUT;
}

void platform_condition_broadcast(platform_condition *self) { pthread_cond_broadcast(&self->condition); }

struct platform_thread {
    pthread_t thread;
    void (*run)(void *context);
    void *context;
};

static void *thread_main(void *argument)
{
    platform_thread *self = argument;
    self->run(self->context);
    return NULL;
}

int platform_thread_start(platform_thread **out, const char *name, void (*run)(void *), void *context)
{
    *out = NULL;
    platform_thread *self = malloc(sizeof *self);
    if (self == NULL) {
        return ENOMEM;
    }
    self->run = run;
    self->context = context;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&self->thread, NULL, thread_main, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0) {
        free(self);
        return code;
    }
    pthread_setname_np(self->thread, name);
    *out = self;
    return 0;
}

void platform_thread_join(platform_thread *self)
{
    pthread_join(self->thread, NULL);
    free(self);
}

uintptr_t platform_thread_id(void)
{
    /* pthread_self() is given again to a later thread, which must not be taken for one that is gone. */
    static uintptr_t last;
    static _Thread_local uintptr_t mine;
    if (mine == 0) {
        mine = __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
    }
    return mine;
}

int platform_event_new(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

void platform_event_signal(int event_fd)
{
    uint64_t one = 1;
    /* Fails only when the counter is full, and then the event is signalled already. */
    ssize_t written = write(event_fd, &one, sizeof one);
    (void) written;
}

void platform_event_clear(int event_fd)
{
    uint64_t count;
    ssize_t got = read(event_fd, &count, sizeof count);
    (void) got;
}

void platform_close(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

int platform_poll(int event_fd, int fd, bool want_write, int64_t timeout_ms)
{
    struct pollfd set[2] = {
        {.fd = event_fd, .events = POLLIN},
        {.fd = fd, .events = (short) (POLLIN | (want_write ? POLLOUT : 0))},
    };
    int timeout = timeout_ms < 0 ? -1 : timeout_ms > 2000000000 ? 2000000000 : (int) timeout_ms;
    if (poll(set, 2, timeout) <= 0) {
        return 0;
    }
    int ready = 0;
    if (set[0].revents != 0) {
        ready |= PLATFORM_EVENT;
    }
    /* An error or a hang-up shows as readable: the read that follows reports it. */
    if (set[1].revents & (POLLIN | POLLERR | POLLHUP | POLLNVAL)) {
        ready |= PLATFORM_READABLE;
    }
    if (set[1].revents & POLLOUT) {
        ready |= PLATFORM_WRITABLE;
    }
    return ready;
}

bool platform_contains(const void *whole, size_t whole_bytes, const void *part, size_t part_bytes)
{
    return memmem(whole, whole_bytes, part, part_bytes) != NULL;
}

int platform_compare(const void *a, const void *b, size_t bytes) { return memcmp(a, b, bytes); }

void platform_free(void *memory) { free(memory); }

int platform_read_file(const char *path, size_t bytes_max, uint8_t **out_data, size_t *out_bytes)
{
    *out_data = NULL;
    *out_bytes = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    size_t capacity = 4096, bytes = 0;
    uint8_t *data = malloc(capacity);
    int code = data == NULL ? ENOMEM : 0;
    while (code == 0) {
        if (bytes == capacity) {
            uint8_t *larger = capacity > bytes_max ? NULL : realloc(data, capacity * 2);
            if (larger == NULL) {
                code = capacity > bytes_max ? EFBIG : ENOMEM;
                break;
            }
            data = larger;
            capacity *= 2;
        }
        ssize_t got = read(fd, data + bytes, capacity - bytes);
        if (got < 0) {
            if (errno != EINTR) {
                code = errno;
            }
        } else if (got == 0) {
            break;
        } else {
            bytes += (size_t) got;
        }
    }
    close(fd);
    if (code == 0 && bytes > bytes_max) {
        code = EFBIG;
    }
    if (code != 0) {
        free(data);
        return code;
    }
    *out_data = data;
    *out_bytes = bytes;
    return 0;
}

int64_t platform_file_size(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? (int64_t) info.st_size : -1;
}

int platform_remove_file(const char *path)
{
    return unlink(path) == 0 || errno == ENOENT ? 0 : errno;
}

static int sync_path(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    int code = fsync(fd) == 0 ? 0 : errno;
    close(fd);
    return code;
}

int platform_sync_file(const char *path) { return sync_path(path, O_RDONLY); }

/* Make the names in a file's folder durable. */
static int sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return sync_path(".", O_RDONLY | O_DIRECTORY);
    }
    char *folder = strndup(path, slash == path ? 1 : (size_t) (slash - path));
    if (folder == NULL) {
        return ENOMEM;
    }
    int code = sync_path(folder, O_RDONLY | O_DIRECTORY);
    free(folder);
    return code == EINVAL ? 0 : code; /* a file system without folders to sync */
}

int platform_replace_file(const char *from, const char *to)
{
    return rename(from, to) == 0 ? sync_folder(to) : errno;
}

static char *beside(char *buffer, size_t bytes, const char *path, const char *suffix)
{
    snprintf(buffer, bytes, "%s%s", path, suffix);
    return buffer;
}

int platform_remove_database(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    char name[PATH_MAX];
    int code = 0;
    for (int i = 0; i < 4 && code == 0; i++) {
        code = platform_remove_file(beside(name, sizeof name, path, suffixes[i]));
    }
    return code;
}

int platform_exchange_database(const char *path, const char *part, char *kept, size_t kept_bytes)
{
    char log[PATH_MAX], kept_log[PATH_MAX];
    int code = EEXIST;
    for (int number = 1; number <= 1000 && code == EEXIST; number++) {
        snprintf(kept, kept_bytes, "%s.corrupt-%d", path, number);
        /* A second name, so that there is a file at `path` at any time; where the file system has none to give, the name alone. */
        code = link(path, kept) == 0 ? 0 : errno;
        if (code == EPERM || code == EOPNOTSUPP || code == ENOSYS || code == EMLINK) {
            code = access(kept, F_OK) == 0 ? EEXIST : rename(path, kept) == 0 ? 0 : errno;
        }
    }
    if (code != 0 || (code = sync_folder(kept)) != 0) {
        return code;
    }
    /* A log of the damaged file must not be taken for the new one's. */
    if (rename(beside(log, sizeof log, path, "-wal"), beside(kept_log, sizeof kept_log, kept, "-wal")) != 0 && errno != ENOENT) {
        return errno;
    }
    code = platform_remove_file(beside(log, sizeof log, path, "-shm"));
    return code != 0 ? code : platform_replace_file(part, path);
}

bool platform_is_full(int code) { return code == ENOSPC || code == EDQUOT || code == EFBIG; }

void platform_log(const char *line, size_t bytes)
{
    ssize_t written = write(STDERR_FILENO, line, bytes);
    (void) written;
}

const char *platform_error_text(int code, char *buffer, size_t bytes)
{
#if defined(__GLIBC__)
    return strerror_r(code, buffer, bytes); /* the GNU form, which may return a static text */
#else
    return strerror_r(code, buffer, bytes) == 0 ? buffer : "unknown error";
#endif
}

static pthread_once_t thread_value_once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_value_key;

struct thread_value {
    void *value;
    void (*destroy)(void *value);
};

static void thread_value_end(void *argument)
{
    struct thread_value *slot = argument;
    slot->destroy(slot->value);
    free(slot);
}

static void thread_value_start(void) { pthread_key_create(&thread_value_key, thread_value_end); }

void *platform_thread_value(void)
{
    pthread_once(&thread_value_once, thread_value_start);
    struct thread_value *slot = pthread_getspecific(thread_value_key);
    return slot == NULL ? NULL : slot->value;
}

void platform_thread_value_set(void *value, void (*destroy)(void *value))
{
    pthread_once(&thread_value_once, thread_value_start);
    struct thread_value *slot = pthread_getspecific(thread_value_key);
    if (slot == NULL) {
        slot = malloc(sizeof *slot);
        if (slot == NULL) {
            destroy(value);
            return;
        }
        pthread_setspecific(thread_value_key, slot);
    } else if (slot->value != value) {
        slot->destroy(slot->value);
    }
    slot->value = value;
    slot->destroy = destroy;
}

int platform_format_double(double value, char *out)
{
    for (int digits = 15; digits <= 17; digits++) {
        int length = snprintf(out, 32, "%.*g", digits, value);
        if (digits == 17 || strtod(out, NULL) == value) {
            /* The firmware may have set a locale whose decimal point is a comma. */
            for (int i = 0; i < length; i++) {
                if (out[i] == ',') {
                    out[i] = '.';
                }
            }
            return length;
        }
    }
    return 0;
}

double platform_parse_double(const char *text)
{
    static locale_t c_locale = (locale_t) 0;
    locale_t locale = __atomic_load_n(&c_locale, __ATOMIC_ACQUIRE);
    if (locale == (locale_t) 0) {
        locale = newlocale(LC_ALL_MASK, "C", (locale_t) 0);
        if (locale == (locale_t) 0) {
            return strtod(text, NULL);
        }
        locale_t none = (locale_t) 0;
        if (!__atomic_compare_exchange_n(&c_locale, &none, locale, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            freelocale(locale);
            locale = none;
        }
    }
    return strtod_l(text, NULL, locale);
}
