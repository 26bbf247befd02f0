/**
 * @file raw.h
 * The same work by SQLite's C API, as a careful C program does it: prepared statements, a write-ahead log, one statement a
 * transaction unless said otherwise.
 */
#ifndef RAW_H
#define RAW_H

#include <stdbool.h>
#include <stdint.h>

#include <sqlite3.h>

typedef struct Raw {
    sqlite3 *handle;
    sqlite3_stmt *begin, *commit, *create, *update, *get, *find, *count;
} Raw;

/** Open, and make what is missing. `isFull`: synchronous=FULL, else NORMAL. `isIndexed`: with an index on `$.code`. */
void rawOpen(Raw *raw, const char *path, bool isFull, bool isIndexed);
void rawClose(Raw *raw);
void rawBegin(Raw *raw);
void rawCommit(Raw *raw);
void rawCreate(Raw *raw, const char *key, const char *json, int jsonBytes);
/** Set one field of one item. */
void rawUpdate(Raw *raw, const char *key, int64_t count);
/** Length of one field of one item. */
int rawGet(Raw *raw, const char *key);
/** Number of items with that code, each of which has been read. */
int rawFind(Raw *raw, const char *code);

#endif
