#include "platform_handle.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* `state` is the number of calls under way, and above it one of these. */
#define IS_OPEN (UINT32_C(1) << 30)
#define IS_SHUT (UINT32_C(1) << 31)

/* One cache line each, so that threads on two databases don't slow each other down. */
struct platform_handle {
    _Alignas(64) _Atomic uint32_t state;
    int kind;
    void *object;
    platform_handle *next;
};

static platform_handle table[PLATFORM_HANDLES_MAX];

/* Guards the list of free places and the places taken so far, and is what `drained` waits on. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t drained = PTHREAD_COND_INITIALIZER;
/* Places given back, the oldest first: an address is used again as late as possible. */
static platform_handle *first_free, *last_free;
static size_t taken;

/* The handles that the calling thread is within calls on, the innermost last. */
static _Thread_local struct {
    unsigned depth;
    platform_handle *handles[PLATFORM_CALLS_NESTED_MAX];
} inside;

platform_handle *platform_handle_open(int kind, void *object)
{
    pthread_mutex_lock(&lock);
    platform_handle *handle = NULL;
    if (taken < PLATFORM_HANDLES_MAX) {
        handle = &table[taken++];
    } else if (first_free != NULL) {
        handle = first_free;
        first_free = handle->next;
    }
    if (handle != NULL) {
        handle->kind = kind;
        handle->object = object;
        /* Added, since a call on the place's former handle may be about to find that it is closed. */
        atomic_fetch_add_explicit(&handle->state, IS_OPEN, memory_order_release);
    }
    pthread_mutex_unlock(&lock);
    return handle;
}

/* Whether a pointer of the firmware's is one into the table. */
static bool is_place(const platform_handle *handle)
{
    uintptr_t offset = (uintptr_t) handle - (uintptr_t) table;
    return offset < sizeof table && offset % sizeof *table == 0;
}

static void leave(platform_handle *handle)
{
    uint32_t before = atomic_fetch_sub_explicit(&handle->state, 1, memory_order_acq_rel);
    if ((before & IS_SHUT) != 0) {
        pthread_mutex_lock(&lock);
        pthread_cond_broadcast(&drained);
        pthread_mutex_unlock(&lock);
    }
}

bool platform_is_inside(const platform_handle *handle)
{
    for (unsigned at = 0; at < inside.depth; at++) {
        if (inside.handles[at] == handle) {
            return true;
        }
    }
    return false;
}

bool platform_inside_begin(platform_handle *handle)
{
    if (inside.depth == PLATFORM_CALLS_NESTED_MAX || platform_is_inside(handle)) {
        return false;
    }
    inside.handles[inside.depth++] = handle;
    return true;
}

void platform_inside_end(void) { inside.depth--; }

void *platform_call_begin(platform_handle *handle, int kind, bool *out_is_counted)
{
    *out_is_counted = false;
    if (!is_place(handle)) {
        return NULL;
    }
    if (inside.depth > 0 && platform_is_inside(handle)) {
        return handle->kind == kind ? handle->object : NULL;
    }
    uint32_t before = atomic_fetch_add_explicit(&handle->state, 1, memory_order_acquire);
    if ((before & IS_OPEN) == 0 || handle->kind != kind || inside.depth == PLATFORM_CALLS_NESTED_MAX) {
        leave(handle);
        return NULL;
    }
    inside.handles[inside.depth++] = handle;
    *out_is_counted = true;
    return handle->object;
}

void platform_call_end(platform_handle *handle)
{
    inside.depth--;
    leave(handle);
}

void *platform_handle_shut(platform_handle *handle, int kind)
{
    if (!is_place(handle)) {
        return NULL;
    }
    void *object = NULL;
    pthread_mutex_lock(&lock);
    uint32_t state = atomic_load_explicit(&handle->state, memory_order_relaxed);
    if ((state & IS_OPEN) != 0 && handle->kind == kind) {
        object = handle->object;
        atomic_fetch_add_explicit(&handle->state, IS_SHUT - IS_OPEN, memory_order_acq_rel);
    }
    pthread_mutex_unlock(&lock);
    return object;
}

void platform_handle_drain(platform_handle *handle)
{
    pthread_mutex_lock(&lock);
    while ((atomic_load_explicit(&handle->state, memory_order_acquire) & (IS_OPEN - 1)) != 0) {
        pthread_cond_wait(&drained, &lock);
    }
    pthread_mutex_unlock(&lock);
}

void platform_handle_free(platform_handle *handle)
{
    pthread_mutex_lock(&lock);
    handle->object = NULL;
    atomic_fetch_and_explicit(&handle->state, ~IS_SHUT, memory_order_release);
    handle->next = NULL;
    if (first_free == NULL) {
        first_free = handle;
    } else {
        last_free->next = handle;
    }
    last_free = handle;
    pthread_mutex_unlock(&lock);
}
