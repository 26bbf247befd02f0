/* What the device modules need of the operating system: threads, clocks, random bytes, files. Linux, glibc or musl. */
#ifndef IOTO_PLATFORM_H
#define IOTO_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Clocks in milliseconds. The monotonic clock counts while the machine sleeps (CLOCK_BOOTTIME). */
int64_t platform_wall_ms(void);
int64_t platform_monotonic_ms(void);

/* Fill `buffer` from getrandom(2). */
void platform_random(void *buffer, size_t bytes);

/* A mutex, made recursive when asked. NULL when memory is short. */
typedef struct platform_mutex platform_mutex;
platform_mutex *platform_mutex_new(void);
void platform_mutex_free(platform_mutex *mutex);
void platform_mutex_lock(platform_mutex *mutex);
void platform_mutex_unlock(platform_mutex *mutex);

/* A condition variable. Time that the machine sleeps does not count. */
typedef struct platform_condition platform_condition;
platform_condition *platform_condition_new(void);
void platform_condition_free(platform_condition *condition);
void platform_condition_wait(platform_condition *condition, platform_mutex *mutex);
/* Returns false when `timeout_ms` passed. */
bool platform_condition_wait_for(platform_condition *condition, platform_mutex *mutex, int64_t timeout_ms);
void platform_condition_broadcast(platform_condition *condition);

/* A thread with every signal blocked, so that the firmware's handlers run on its own threads. Returns 0 or an errno. */
typedef struct platform_thread platform_thread;
int platform_thread_start(platform_thread **out, const char *name, void (*run)(void *context), void *context);
/* Wait for the thread's end and free it. */
void platform_thread_join(platform_thread *thread);
/* A value that names the calling thread, never 0 and never that of another, even when one of the two is gone. */
uintptr_t platform_thread_id(void);

/* An eventfd that wakes platform_poll(). Negative on failure. */
int platform_event_new(void);
void platform_event_signal(int event_fd);
void platform_event_clear(int event_fd);
void platform_close(int fd);

enum { PLATFORM_READABLE = 1, PLATFORM_WRITABLE = 2, PLATFORM_EVENT = 4 };
/* Wait for `event_fd`, and for `fd` (negative: none) to be readable or, when asked, writable. `timeout_ms` negative: for
 * ever. Returns a sum of PLATFORM_*, 0 at the timeout. */
int platform_poll(int event_fd, int fd, bool want_write, int64_t timeout_ms);

/* memcmp() and free(), which Swift takes from here rather than from a C library module. */
int platform_compare(const void *a, const void *b, size_t bytes);
void platform_free(void *memory);
/* Whether `part` stands somewhere in `whole`. */
bool platform_contains(const void *whole, size_t whole_bytes, const void *part, size_t part_bytes);
/* Whether `part` or a backslash stands in it. */
bool platform_may_contain(const void *whole, size_t whole_bytes, const void *part, size_t part_bytes);
/* Copy a text without its NUL. Returns its bytes; 0 when they are more than `room`, or one is beyond ASCII. */
size_t platform_copy_ascii(void *out, size_t room, const char *text);
/* strlen(), and strcmp() that tells equality alone. */
size_t platform_length(const char *text);
bool platform_equal(const char *a, const char *b);
/* The number that 16 lower-case hexadecimal digits write; false: they are none. */
bool platform_hexadecimal(const void *digits, uint64_t *out);
/* A hash of two byte strings, for tables in memory: it depends on the seed, and is never stored. */
uint32_t platform_hash(uint64_t seed, const void *a, size_t a_bytes, const void *b, size_t b_bytes);

/* Read a whole file into memory from malloc(). Returns 0 or an errno; EFBIG when it is larger than `bytes_max`. */
int platform_read_file(const char *path, size_t bytes_max, uint8_t **out_data, size_t *out_bytes);
/* Size of a file in bytes, or -1. */
int64_t platform_file_size(const char *path);
/* Remove a file; 0 also when there was none, or an errno. */
int platform_remove_file(const char *path);
/* Put a file in the place of another, which need not be there, and make that durable. Returns 0 or an errno. */
int platform_replace_file(const char *from, const char *to);
/* Remove a database file and those that SQLite puts beside it, as platform_remove_file(). */
int platform_remove_database(const char *path);
/* Put the database file `part` in the place of the one at `path`, which is kept, with its log, as `<path>.corrupt-1` or the
 * first number after it that is free; `kept` gets that name. Returns 0 or an errno; EEXIST when 1000 names are taken. */
int platform_exchange_database(const char *path, const char *part, char *kept, size_t kept_bytes);
/* Write a file's content to the disk. Returns 0 or an errno. */
int platform_sync_file(const char *path);
/* Tables of a database file, as far as platform_salvage() reads them. */
enum {
    PLATFORM_ITEM,
    PLATFORM_TOMBSTONE,
    PLATFORM_OUTBOX,
    PLATFORM_PARKED,
    PLATFORM_MODEL,
    PLATFORM_REJECTED,
    PLATFORM_META,
    PLATFORM_TABLES
};
/* A column: a text where `bytes` is not NULL. */
typedef struct platform_value {
    int64_t number;
    const uint8_t *bytes;
    size_t count;
    bool is_null;
} platform_value;
/* A file that is open elsewhere, and how it is read: 0: all bytes are; else they are not. */
typedef struct platform_file {
    void *file;
    int (*read)(void *file, void *out, int bytes, int64_t offset);
    int64_t bytes;
} platform_file;
/* Returns whether to go on. */
typedef bool (*platform_row_proc)(void *context, int table, const platform_value *values, int count);
/* Give every readable row of a damaged database file to `row`, in no order. Returns 0 or an errno, and in `out_damaged` a bit
 * for each table of which rows may be missing. */
int platform_salvage(const platform_file *file, platform_row_proc row, void *context, uint32_t *out_damaged);

/* Whether an errno says that there is no room: on the disk, by a quota, or by the process's limit. */
bool platform_is_full(int code);
/* Whether an errno says that there is a file of that name. */
bool platform_is_taken(int code);
/* Write a line to stderr in one write. */
void platform_log(const char *line, size_t bytes);
/* Write a line of two words to stdout. */
void platform_print(const char *first, const char *second);
/* Text of an errno, in `buffer` or static. */
const char *platform_error_text(int code, char *buffer, size_t bytes);

/* A pointer kept for each thread and handed to `destroy` when the thread ends. */
void *platform_thread_value(void);
void platform_thread_value_set(void *value, void (*destroy)(void *value));

/* Shortest text that reads back as the same double, at most 32 bytes with the NUL. Returns its length. */
int platform_format_double(double value, char *out);
/* Read a double from text that is known to be a JSON number. */
double platform_parse_double(const char *text);

#endif
