/*
    A firmware watches what its database writes and takes. The counters must fit what it does; the file must shrink after
    removals, by itself and when asked, in steps between which other threads write.
 */
#include "support/device.h"

#include <pthread.h>
#include <stdatomic.h>

#define ITEMS 3000

static DbStats stats(Db *db)
{
    DbStats out = {.size = sizeof out};
    EXPECT_CODE(dbGetStats(db, &out), 0);
    return out;
}

static void counters(void)
{
    Db *db = openScratch("counters.db", 0);
    REQUIRE(db != NULL);
    DbStats before = stats(db);
    for (int index = 0; index < 10; index++) EXPECT_CODE(create(db, "Note", DB_PROPS("id", format("%d", index))), 0);
    DbStats after = stats(db);
    EXPECT_NUMBER(after.items, 10);
    EXPECT_NUMBER(after.outboxItems, 10);
    EXPECT(after.outboxBytes > 10 * 20);
    EXPECT_NUMBER(after.commits - before.commits, 10);
    EXPECT(after.fsyncs - before.fsyncs >= 10 && after.fsyncs - before.fsyncs <= 30);
    EXPECT(after.bytesWritten - before.bytesWritten >= 10 * 4096);
    EXPECT(after.fileBytes > 0 && after.logBytes > 0);
    claim("each durable change is an fsync and some pages");

    before = after;
    EXPECT(exists(db, "Note", DB_PROPS("id", "1")) && count(db, "Note", NULL) == 10);
    after = stats(db);
    EXPECT_NUMBER(after.bytesWritten - before.bytesWritten, 0);
    EXPECT_NUMBER(after.fsyncs - before.fsyncs, 0);
    claim("reads write nothing");
    EXPECT(after.cacheHits > before.cacheHits);
    EXPECT(after.cacheBytes > 0 && after.cacheBytes < 11 * 1024 * 1024);
    claim("what reads find in memory is counted");
    EXPECT_NUMBER(dbRemove(db, "Note", DB_PROPS("id", "1"), NULL), 1);
    after = stats(db);
    EXPECT_NUMBER(after.items, 9);
    EXPECT_NUMBER(after.tombstones, 1);
    EXPECT_NUMBER(after.rejectedItems, 0);
    DbStats old = {.size = offsetof(DbStats, tombstones)};
    EXPECT_CODE(dbGetStats(db, &old), 0);
    EXPECT_NUMBER(old.items, 9);
    EXPECT_NUMBER(old.tombstones, 0);
    claim("a caller of an older header gets what it has room for");
    dbClose(db);

    db = openScratch("normal.db", DB_DURABILITY_NORMAL);
    before = stats(db);
    for (int index = 0; index < 50; index++) EXPECT_CODE(create(db, "Local", DB_PROPS("id", format("%d", index))), 0);
    EXPECT_NUMBER(stats(db).fsyncs - before.fsyncs, 0);
    dbClose(db);
    claim("with normal durability small changes are no fsync");
}

static void fillAndEmpty(Db *db, const char *kept)
{
    char *text = repeat('x', 1000);
    EXPECT_CODE(dbBegin(db), 0);
    for (int index = 0; index < ITEMS; index++) {
        EXPECT_CODE(create(db, "Local", DB_PROPS("id", format("%04d", index), "text", text)), 0);
    }
    EXPECT_CODE(dbCommit(db), 0);
    EXPECT_CODE(dbSet(db, "Local", DB_PROPS("id", kept, "text", text), DB_PARAMS(.upsert = true)), 0);
    EXPECT_NUMBER(dbRemove(db, "Local", DB_JSON("{id: {between: ['0000', '9999']}}"), DB_PARAMS(.many = true)), ITEMS);
    free(text);
}

typedef struct Other {
    Db *db;
    pthread_t thread;
    atomic_int calls;
    int code;
    atomic_bool mayWrite, isOver;
} Other;

static void *writeBeside(void *argument)
{
    Other *other = argument;
    while (!other->isOver && other->code == 0) {
        if (!other->mayWrite) continue;
        other->code = dbSet(other->db, "Note", DB_PROPS("id", "beside"), NULL);
        other->calls++;
    }
    return NULL;
}

/** Vacuum the file while another thread writes; returns how often that wrote meanwhile. */
static int vacuumBeside(Db *db)
{
    fillAndEmpty(db, "kept");
    EXPECT(stats(db).freeBytes > 2 * 1024 * 1024);
    Other other = {.db = db};
    REQUIRE(pthread_create(&other.thread, NULL, writeBeside, &other) == 0);
    // Not before: its commits give space back by themselves.
    other.mayWrite = true;
    EXPECT(dbVacuum(db) >= 0);
    int beside = other.calls;
    other.isOver = true;
    pthread_join(other.thread, NULL);
    EXPECT_CODE(other.code, 0);
    note("%d calls beside", beside);
    return beside;
}

static void asked(void)
{
    Db *db = openScratch("asked.db", DB_DURABILITY_NORMAL);
    REQUIRE(db != NULL);
    fillAndEmpty(db, "kept");
    EXPECT(dbVacuum(db) > 2 * 1024 * 1024);
    // 2 MB are 512 pages, four steps, between which others write; were there one step, they would write before and after it.
    // On a busy machine the other thread may sleep through all of them.
    int beside = 0;
    for (int times = 0; times < 5 && beside < 3; times++) beside = vacuumBeside(db);
    EXPECT(beside >= 3);
    EXPECT_NUMBER(stats(db).freeBytes, 0);
    EXPECT_CODE(dbBegin(db), 0);
    EXPECT_CODE(dbVacuum(db), DB_ERR_MISUSE);
    EXPECT_CODE(dbRollback(db), 0);
    dbClose(db);
    db = openScratch("asked.db", 0);
    EXPECT(stats(db).fileBytes < 256 * 1024);
    EXPECT(exists(db, "Local", DB_PROPS("id", "kept")));
    EXPECT_NUMBER(count(db, "Local", NULL), 1);
    dbClose(db);
    claim("dbVacuum gives the file's free space back, while another thread writes");
}

static atomic_bool isReading, isVacuumed;
static bool wasInTime;

/** A reader that stays with an item until the vacuum is over, or for longer than that may take. */
static bool readLong(void *context, const DbItem *item)
{
    (void) context, (void) item;
    isReading = true;
    int64_t until_ms = clock_ms() + 5000;
    while (!isVacuumed && clock_ms() < until_ms) pause_ms(5);
    wasInTime = isVacuumed;
    return true;
}

static void *findLong(void *db)
{
    dbFreeItem(dbFindOne(db, "Local", NULL, DB_PARAMS(.where = readLong)));
    return NULL;
}

static void besideAReader(void)
{
    Db *db = openScratch("reader.db", DB_DURABILITY_NORMAL);
    REQUIRE(db != NULL);
    fillAndEmpty(db, "kept");
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, findLong, db) == 0);
    EXPECT_WITHIN(5000, isReading);
    EXPECT(dbVacuum(db) > 2 * 1024 * 1024);
    isVacuumed = true;
    pthread_join(thread, NULL);
    EXPECT(wasInTime);
    EXPECT_CODE(dbSet(db, "Local", DB_PROPS("id", "kept"), NULL), 0);
    EXPECT(dbVacuum(db) >= 0);
    EXPECT(stats(db).fileBytes < 256 * 1024 && stats(db).logBytes == 0);
    dbClose(db);
    claim("dbVacuum waits for nobody who reads, and empties the log when nobody does");
}

static void byItself(void)
{
    Db *db = openScratch("itself.db", DB_DURABILITY_NORMAL);
    REQUIRE(db != NULL);
    fillAndEmpty(db, "kept");
    int64_t free_bytes = stats(db).freeBytes;
    for (int index = 0; index < 400; index++) EXPECT_CODE(dbSet(db, "Local", DB_PROPS("id", "kept"), NULL), 0);
    EXPECT(stats(db).freeBytes < free_bytes / 2);
    dbClose(db);
    claim("after removals the file shrinks with the commits that follow");
}

int main(void)
{
    scenarioBegin();
    counters();
    asked();
    besideAReader();
    byItself();
    return scenarioEnd();
}
