/* Handles for C: addresses in a table that is never freed, so that a call on a handle that is closed, or on a pointer that
 * never was one, is told instead of followed; and the count of the calls under way, so that closing can wait for them. */
#ifndef IOTO_PLATFORM_HANDLE_H
#define IOTO_PLATFORM_HANDLE_H

#include <stdbool.h>

/* Handles that may be open at the same time. */
#define PLATFORM_HANDLES_MAX 256

/* Kinds of handles; a call on one of another kind is told too. */
enum { PLATFORM_HANDLE_DATABASE = 1, PLATFORM_HANDLE_AGENT = 2 };

typedef struct platform_handle platform_handle;

/* Open a handle for `object`, which is not NULL. NULL when PLATFORM_HANDLES_MAX are open. */
platform_handle *platform_handle_open(int kind, void *object);

/* Handles that a thread can be within calls on, one within the other. */
#define PLATFORM_CALLS_NESTED_MAX 8

/* Begin a call on a handle: returns its object, or NULL when the handle is not open. A call within a call on the same
 * handle, a trigger's for one, is part of it and goes on while the handle is being closed: `out_is_counted` is then false,
 * and the call is not ended. */
void *platform_call_begin(platform_handle *handle, int kind, bool *out_is_counted);
/* End a call that was counted. */
void platform_call_end(platform_handle *handle);

/* Mark what the library itself runs for a handle, on a thread that the closing waits for. Returns false, and is not to be
 * ended, when the thread is within a call on the handle. */
bool platform_inside_begin(platform_handle *handle);
void platform_inside_end(void);
/* Whether the calling thread is within a call on the handle. */
bool platform_is_inside(const platform_handle *handle);

/* Close in two steps. The first refuses calls from now on, and returns the object, or NULL when the handle is not open. */
void *platform_handle_shut(platform_handle *handle, int kind);
/* Wait for the calls under way. */
void platform_handle_drain(platform_handle *handle);
/* Give the place back. */
void platform_handle_free(platform_handle *handle);

#endif
