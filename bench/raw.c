#include "raw.h"

#include <string.h>

#include "sql.h"

void rawOpen(Raw *raw, const char *path, bool isFull, bool isIndexed)
{
    memset(raw, 0, sizeof *raw);
    raw->handle = sqlOpen(path);
    sqlRun(raw->handle, "PRAGMA journal_mode = WAL");
    sqlRun(raw->handle, isFull ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
    sqlRun(raw->handle, "CREATE TABLE IF NOT EXISTS item(key TEXT PRIMARY KEY, json) WITHOUT ROWID");
    if (isIndexed) sqlRun(raw->handle, "CREATE INDEX IF NOT EXISTS item_code ON item(json_extract(json, '$.code'))");
    raw->begin = sqlPrepare(raw->handle, "BEGIN IMMEDIATE");
    raw->commit = sqlPrepare(raw->handle, "COMMIT");
    raw->create = sqlPrepare(raw->handle, "INSERT INTO item(key, json) VALUES(?1, ?2)");
    raw->update = sqlPrepare(raw->handle, "UPDATE item SET json = json_set(json, '$.count', ?2) WHERE key = ?1");
    raw->get = sqlPrepare(raw->handle, "SELECT json_extract(json, '$.severity') FROM item WHERE key = ?1");
    raw->find = sqlPrepare(raw->handle, "SELECT key, json FROM item WHERE json_extract(json, '$.code') = ?1");
}

void rawClose(Raw *raw)
{
    sqlite3_stmt *statements[] = {raw->begin, raw->commit, raw->create, raw->update, raw->get, raw->find};
    for (size_t index = 0; index < sizeof statements / sizeof *statements; index++) sqlite3_finalize(statements[index]);
    sqlCheck(raw->handle, sqlite3_close(raw->handle), SQLITE_OK);
}

void rawBegin(Raw *raw) { sqlStep(raw->begin); }
void rawCommit(Raw *raw) { sqlStep(raw->commit); }

void rawCreate(Raw *raw, const char *key, const char *json, int jsonBytes)
{
    sqlite3_bind_text(raw->create, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_text(raw->create, 2, json, jsonBytes, SQLITE_STATIC);
    sqlStep(raw->create);
}

void rawUpdate(Raw *raw, const char *key, int64_t count)
{
    sqlite3_bind_text(raw->update, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_int64(raw->update, 2, count);
    sqlStep(raw->update);
    if (sqlite3_changes(raw->handle) != 1) fail("SQLite: no such item");
}

int rawGet(Raw *raw, const char *key)
{
    sqlite3_bind_text(raw->get, 1, key, -1, SQLITE_STATIC);
    sqlCheck(raw->handle, sqlite3_step(raw->get), SQLITE_ROW);
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
