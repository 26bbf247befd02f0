/**
 * @file sql.h
 * Calls of SQLite that succeed or end the program.
 */
#ifndef SQL_H
#define SQL_H

#include <sqlite3.h>

#include "bench.h"

static inline void sqlCheck(sqlite3 *db, int code, int expected)
{
    if (code != expected) fail("SQLite: %s", sqlite3_errmsg(db));
}

static inline sqlite3 *sqlOpen(const char *path)
{
    sqlite3 *db = NULL;
    sqlCheck(db, sqlite3_open(path, &db), SQLITE_OK);
    return db;
}

static inline void sqlRun(sqlite3 *db, const char *sql) { sqlCheck(db, sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK); }

static inline sqlite3_stmt *sqlPrepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    sqlCheck(db, sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL), SQLITE_OK);
    return statement;
}

/** Run a statement that returns no rows. */
static inline void sqlStep(sqlite3_stmt *statement)
{
    sqlCheck(sqlite3_db_handle(statement), sqlite3_step(statement), SQLITE_DONE);
    sqlite3_reset(statement);
}

#endif
