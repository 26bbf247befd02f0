#include <sqlite3.h>

/* SQLITE_TRANSIENT and SQLITE_STATIC are casts that Swift does not import. */
static inline int ioto_sqlite_bind_text(sqlite3_stmt *stmt, int index, const void *text, int bytes)
{
    return sqlite3_bind_text(stmt, index, (const char *) text, bytes, SQLITE_TRANSIENT);
}

static inline int ioto_sqlite_bind_text_static(sqlite3_stmt *stmt, int index, const void *text, int bytes)
{
    return sqlite3_bind_text(stmt, index, (const char *) text, bytes, SQLITE_STATIC);
}
