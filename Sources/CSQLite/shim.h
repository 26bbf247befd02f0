#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* SQLITE_TRANSIENT and SQLITE_STATIC are casts that Swift does not import. */
static inline int ioto_sqlite_bind_text(sqlite3_stmt *stmt, int index, const void *text, int bytes)
{
    return sqlite3_bind_text(stmt, index, (const char *) text, bytes, SQLITE_TRANSIENT);
}

/* NULL stands for an empty text, and not for SQL's NULL. */
static inline int ioto_sqlite_bind_text_static(sqlite3_stmt *stmt, int index, const void *text, int bytes)
{
    return sqlite3_bind_text(stmt, index, text == NULL ? "" : (const char *) text, bytes, SQLITE_STATIC);
}

/* Of CPlatform. */
bool platform_may_contain(const void *whole, size_t whole_bytes, const void *part, size_t part_bytes);

/* has(text, part): whether the text has the part in it, or a backslash, which may begin another way to write it. What is no
 * text, and every text when the part is NULL, has it. */
static void ioto_sqlite_has(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void) count;
    bool has = true;
    if (sqlite3_value_type(values[0]) == SQLITE_TEXT) {
        /* As a blob: a text would be copied to be given a NUL. */
        const void *text = sqlite3_value_blob(values[0]), *part = sqlite3_value_blob(values[1]);
        size_t text_bytes = (size_t) sqlite3_value_bytes(values[0]), part_bytes = (size_t) sqlite3_value_bytes(values[1]);
        has = text == NULL || part == NULL || platform_may_contain(text, text_bytes, part, part_bytes);
    }
    sqlite3_result_int(context, has);
}

static inline int ioto_sqlite_add_functions(sqlite3 *database)
{
    return sqlite3_create_function_v2(database, "has", 2, SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY, NULL,
                                      ioto_sqlite_has, NULL, NULL, NULL);
}

/*
 * Makes a log's file longer that ends where its frames end: by as much as it has, 16 KB at least and 256 KB at most. `room` is how long
 * the file is then. Not after a transaction that has made it much longer itself, which its wait for the disk is a small part of.
 * Returns the number of bytes written.
 */
static inline int ioto_sqlite_reserve(sqlite3_file *file, const sqlite3_io_methods *methods, int64_t end, const void *zeros,
                                      int zeros_bytes, int64_t *room)
{
    sqlite3_int64 size = 0;
    bool is_large = end - *room > 65536;
    if (methods->xFileSize(file, &size) != SQLITE_OK) {
        return 0;
    }
    *room = size;
    int bytes = end < size || is_large ? 0 : size < 16384 ? 16384 : size > 262144 ? 262144 : (int) size, done = 0;
    while (done < bytes) {
        int step = bytes - done < zeros_bytes ? bytes - done : zeros_bytes;
        if (methods->xWrite(file, zeros, step, size + done) != SQLITE_OK) {
            methods->xTruncate(file, size);
            return done;
        }
        done += step;
    }
    *room = size + done;
    return done;
}

/* Has SQLite not count its memory, for which it locks a mutex each time. Before anything else is done with it, or in vain. */
static inline void ioto_sqlite_uncounted(void) { (void) sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); }

/*
 * Waits until the disk has what is committed in the log. A database that has none waits with each commit.
 */
static inline int ioto_sqlite_sync_log(sqlite3 *database)
{
    sqlite3_file *file = NULL;
    int code = sqlite3_file_control(database, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file);
    if (code != SQLITE_OK || file == NULL || file->pMethods == NULL) {
        return code;
    }
    return file->pMethods->xSync(file, SQLITE_SYNC_NORMAL);
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

/* Frames of the log that are not in the database file (nBackfill, sqlite.org/walformat.html, 2.1.2). */
static inline uint32_t ioto_log_rest(const void *shared, const ioto_log_header *header)
{
    uint32_t moved = __atomic_load_n((const uint32_t *) shared + 24, __ATOMIC_RELAXED);
    return moved < ioto_log_header_frames(header) ? ioto_log_header_frames(header) - moved : 0;
}

/*
 * Whether a reader that stays where it is keeps nobody from emptying the log: it is short, or every frame of it is in the
 * database already, and then readers don't use it.
 */
static inline bool ioto_log_is_short(const void *shared, const ioto_log_header *header, uint32_t frames_max)
{
    return ioto_log_header_frames(header) < frames_max || ioto_log_rest(shared, header) == 0;
}

/*
 * A connection's files: of the database and, in WAL mode once it was read, of the log. NULL where one can't be had.
 */
static inline void *ioto_sqlite_file(sqlite3 *database, bool is_log)
{
    sqlite3_file *file = NULL;
    int code = sqlite3_file_control(database, "main", is_log ? SQLITE_FCNTL_JOURNAL_POINTER : SQLITE_FCNTL_FILE_POINTER, &file);
    return code == SQLITE_OK && file != NULL && file->pMethods != NULL ? file : NULL;
}

/* For `platform_pages` and `platform_file`. */
static inline int ioto_sqlite_read(void *of, void *out, int bytes, int64_t offset)
{
    sqlite3_file *file = (sqlite3_file *) of;
    int code = file->pMethods->xRead(file, out, bytes, offset);
    return code == SQLITE_OK ? 0 : code == SQLITE_IOERR_SHORT_READ ? 1 : -1;
}

/*
 * Locks a file for its connection alone; SQLITE_BUSY when another one has it, of this process or any other: in WAL mode each
 * of them holds a lock for as long as it is open. SQLite knows nothing of it; to close the connection ends it.
 */
static inline int ioto_sqlite_lock(void *of)
{
    sqlite3_file *file = (sqlite3_file *) of;
    int code = file->pMethods->xLock(file, SQLITE_LOCK_SHARED);
    return code == SQLITE_OK ? file->pMethods->xLock(file, SQLITE_LOCK_EXCLUSIVE) : code;
}

static inline const void *ioto_sqlite_log_index(void *of, int block)
{
    enum { block_bytes = 32768 };
    sqlite3_file *file = (sqlite3_file *) of;
    void volatile *start = NULL;
    int code = file->pMethods->xShmMap(file, block, block_bytes, 0, &start);
    return code == SQLITE_OK ? (const void *) start : NULL;
}

/*
 * Of the log of a reader's snapshot, the frames that are in the database file as well (nBackfill). They are told only as long
 * as the snapshot is the last one, so that the log has not begun anew: who begins it changes both copies of the header first.
 */
static inline bool ioto_log_moved(const void *shared, const ioto_log_header *snapshot, uint32_t *out)
{
    *out = __atomic_load_n((const uint32_t *) shared + 24, __ATOMIC_ACQUIRE);
    return ioto_log_header_is(shared, snapshot) && ioto_log_header_is((const uint32_t *) shared + 12, snapshot);
}
