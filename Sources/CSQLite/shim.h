#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* SQLITE_TRANSIENT and SQLITE_STATIC are casts that Swift does not import. */
static inline int ioto_sqlite_bind_text(sqlite3_stmt *stmt, int index, const void *text, int bytes)
{
    return sqlite3_bind_text(stmt, index, (const char *) text, bytes, SQLITE_TRANSIENT);
}

static inline int ioto_sqlite_bind_text_static(sqlite3_stmt *stmt, int index, const void *text, int bytes)
{
    return sqlite3_bind_text(stmt, index, (const char *) text, bytes, SQLITE_STATIC);
}

/*
 * The header of the WAL-index (sqlite.org/walformat.html, 2.1 and 2.1.1), which every commit of every process changes:
 * two that are equal are of the same state of the database, since the sum over all frames of the log is part of it.
 */
typedef struct ioto_log_header {
    uint32_t words[12];
} ioto_log_header;

/* Counter of commits, and frames in the log: the third and the fifth word. */
static inline uint32_t ioto_log_header_change(const ioto_log_header *header) { return header->words[2]; }
static inline uint32_t ioto_log_header_frames(const ioto_log_header *header) { return header->words[4]; }

/*
 * Where the header stands in the memory that the processes share; valid while the connection is open. NULL when it can't
 * be had. The database has to be in WAL mode, and a transaction must have read it. It is asked of SQLite, as to open the
 * file a second time would drop the process's locks when it is closed.
 */
static inline const void *ioto_sqlite_log_header(sqlite3 *database)
{
    enum { region_bytes = 32768 };
    sqlite3_file *file = NULL;
    if (sqlite3_file_control(database, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK || file == NULL ||
        file->pMethods == NULL || file->pMethods->iVersion < 2 || file->pMethods->xShmMap == NULL) {
        return NULL;
    }
    void volatile *region = NULL;
    if (file->pMethods->xShmMap(file, 0, region_bytes, 0, &region) != SQLITE_OK) {
        return NULL;
    }
    return (const void *) region;
}

static inline void ioto_log_header_read(const void *shared, ioto_log_header *out)
{
    for (int index = 0; index < 12; index++) {
        out->words[index] = __atomic_load_n((const uint32_t *) shared + index, __ATOMIC_RELAXED);
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
}

static inline bool ioto_log_header_is(const void *shared, const ioto_log_header *known)
{
    uint32_t difference = 0;
    for (int index = 0; index < 12; index++) {
        difference |= __atomic_load_n((const uint32_t *) shared + index, __ATOMIC_RELAXED) ^ known->words[index];
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return difference == 0;
}

/*
 * Whether a reader that stays where it is keeps nobody from emptying the log: it is short, or every frame of it is in the
 * database already (nBackfill, sqlite.org/walformat.html, 2.1.2), and then readers don't use it.
 */
static inline bool ioto_log_is_short(const void *shared, const ioto_log_header *header, uint32_t frames_max)
{
    uint32_t backfilled = __atomic_load_n((const uint32_t *) shared + 24, __ATOMIC_RELAXED);
    return ioto_log_header_frames(header) < frames_max || backfilled >= ioto_log_header_frames(header);
}
