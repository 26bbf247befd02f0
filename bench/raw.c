#include "raw.h"

#include <string.h>

#include "bench.h"

static void check(Raw *raw, int code, int expected)
{
    if (code != expected) fail("SQLite: %s", sqlite3_errmsg(raw->handle));
}

static void run(Raw *raw, const char *sql) { check(raw, sqlite3_exec(raw->handle, sql, NULL, NULL, NULL), SQLITE_OK); }

static sqlite3_stmt *prepare(Raw *raw, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    check(raw, sqlite3_prepare_v3(raw->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL), SQLITE_OK);
    return statement;
}

void rawOpen(Raw *raw, const char *path, bool isFull, bool isIndexed)
{
    memset(raw, 0, sizeof *raw);
    check(raw, sqlite3_open(path, &raw->handle), SQLITE_OK);
    run(raw, "PRAGMA journal_mode = WAL");
    run(raw, isFull ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
    run(raw, "CREATE TABLE IF NOT EXISTS item(key TEXT PRIMARY KEY, json) WITHOUT ROWID");
    if (isIndexed) run(raw, "CREATE INDEX IF NOT EXISTS item_code ON item(json_extract(json, '$.code'))");
    raw->begin = prepare(raw, "BEGIN IMMEDIATE");
    raw->commit = prepare(raw, "COMMIT");
    raw->create = prepare(raw, "INSERT INTO item(key, json) VALUES(?1, ?2)");
    raw->update = prepare(raw, "UPDATE item SET json = json_set(json, '$.count', ?2) WHERE key = ?1");
    raw->get = prepare(raw, "SELECT json_extract(json, '$.severity') FROM item WHERE key = ?1");
    raw->find = prepare(raw, "SELECT key, json FROM item WHERE json_extract(json, '$.code') = ?1");
}

void rawClose(Raw *raw)
{
    sqlite3_stmt *statements[] = {raw->begin, raw->commit, raw->create, raw->update, raw->get, raw->find};
    for (size_t index = 0; index < sizeof statements / sizeof *statements; index++) sqlite3_finalize(statements[index]);
    check(raw, sqlite3_close(raw->handle), SQLITE_OK);
}

static void step(Raw *raw, sqlite3_stmt *statement)
{
    check(raw, sqlite3_step(statement), SQLITE_DONE);
    sqlite3_reset(statement);
}

void rawBegin(Raw *raw) { step(raw, raw->begin); }
void rawCommit(Raw *raw) { step(raw, raw->commit); }

void rawCreate(Raw *raw, const char *key, const char *json, int jsonBytes)
{
    sqlite3_bind_text(raw->create, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_text(raw->create, 2, json, jsonBytes, SQLITE_STATIC);
    step(raw, raw->create);
}

void rawUpdate(Raw *raw, const char *key, int64_t count)
{
    sqlite3_bind_text(raw->update, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_int64(raw->update, 2, count);
    step(raw, raw->update);
    if (sqlite3_changes(raw->handle) != 1) fail("SQLite: no such item");
}

int rawGet(Raw *raw, const char *key)
{
    sqlite3_bind_text(raw->get, 1, key, -1, SQLITE_STATIC);
    check(raw, sqlite3_step(raw->get), SQLITE_ROW);
    if (sqlite3_column_text(raw->get, 0) == NULL) fail("SQLite: no field");
    int length = sqlite3_column_bytes(raw->get, 0);
    sqlite3_reset(raw->get);
    return length;
}

int rawFind(Raw *raw, const char *code)
{
    int count = 0;
    sqlite3_bind_text(raw->find, 1, code, -1, SQLITE_STATIC);
    while (sqlite3_step(raw->find) == SQLITE_ROW) {
        if (sqlite3_column_text(raw->find, 0) == NULL || sqlite3_column_text(raw->find, 1) == NULL) fail("SQLite: no text");
        count++;
    }
    sqlite3_reset(raw->find);
    return count;
}
