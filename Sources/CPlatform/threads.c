#define _GNU_SOURCE
#include "platform.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

struct platform_mutex {
    pthread_mutex_t mutex;
};

platform_mutex *platform_mutex_new(void)
{
    platform_mutex *self = malloc(sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    pthread_mutex_init(&self->mutex, NULL);
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

static pthread_once_t thread_value_once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_value_key;
/* Whether there was a key left for it: without one nothing is kept. */
static bool has_thread_value;

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

static void thread_value_start(void) { has_thread_value = pthread_key_create(&thread_value_key, thread_value_end) == 0; }

static struct thread_value *thread_value(void)
{
    pthread_once(&thread_value_once, thread_value_start);
    return has_thread_value ? pthread_getspecific(thread_value_key) : NULL;
}

void *platform_thread_value(void)
{
    struct thread_value *slot = thread_value();
    return slot == NULL ? NULL : slot->value;
}

void platform_thread_value_set(void *value, void (*destroy)(void *value))
{
    struct thread_value *slot = thread_value();
    if (slot == NULL) {
        slot = has_thread_value ? malloc(sizeof *slot) : NULL;
        if (slot == NULL || pthread_setspecific(thread_value_key, slot) != 0) {
            free(slot);
            destroy(value);
            return;
        }
    } else if (slot->value != value) {
        slot->destroy(slot->value);
    }
    slot->value = value;
    slot->destroy = destroy;
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
