/*
    A firmware sets limits and goes on changing items until it meets them. Each call beyond a limit must fail as full and
    change nothing, or make room as the schema says; it must be told by a trigger and counted; what is reserved must stay
    usable; and when the limit is lifted, or room is made, everything must go on.
 */
#include "support/device.h"

static const char schema[] =
    "{format: 'onetable:1.1.0', version: '1', indexes: {primary: {hash: 'pk', sort: 'sk'}}, models: {"
    "Log: {pk: {value: 'p'}, sk: {value: 'log#${id}'}, id: {type: 'string'}, text: {type: 'string'}},"
    "Sample: {pk: {value: 'p'}, sk: {value: 'sample#${id}'}, id: {type: 'string'}, text: {type: 'string'}},"
    "Bounded: {pk: {value: 'p'}, sk: {value: 'bounded#${id}'}, id: {type: 'string'}, text: {type: 'string'}},"
    "Alarm: {pk: {value: 'p'}, sk: {value: 'alarm#${id}'}, id: {type: 'string'}, text: {type: 'string'}},"
    "}, process: {Log: {sync: 'up'}, Sample: {sync: 'up', onFull: 'dropOldest'}, %s"
    "Bounded: {sync: 'up', outboxLimit: 2, onFull: 'dropOldest'}}}";

static Db *open(const char *name, bool hasReserve)
{
    char text[2048];
    snprintf(text, sizeof text, schema, hasReserve ? "Alarm: {sync: 'up', reserve: true}," : "");
    writeFile(scratch("ceilings.json5"), text);
    return dbOpen(scratch(name), scratch("ceilings.json5"), DB_DURABILITY_NORMAL);
}

static DbStats stats(Db *db)
{
    DbStats out = {.size = sizeof out};
    EXPECT_CODE(dbGetStats(db, &out), 0);
    return out;
}

typedef struct Told {
    int refused, dropped, other;
    char last[64];
} Told;

static void onFull(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params, const char *cmd,
                   int events)
{
    Told *told = arg;
    (void) db;
    (void) model;
    (void) params;
    (void) cmd;
    const char *reason = dbTriggerReason(item);
    if (events != DB_ON_FULL || dbField(item, "id") == NULL) {
        told->other++;
    } else if (strncmp(reason, "refused: ", 9) == 0) {
        told->refused++;
    } else if (strncmp(reason, "dropped: ", 9) == 0) {
        told->dropped++;
        snprintf(told->last, sizeof told->last, "%s", dbField(item, "id"));
    }
}

static void outboxItems(void)
{
    Told told = {0};
    Db *db = open("outbox.db", false);
    REQUIRE(db != NULL);
    EXPECT_CODE(dbAddTrigger(db, onFull, NULL, &told, DB_ON_FULL), 0);
    DbLimits limits = {.size = sizeof limits, .outboxItems = 4};
    EXPECT_CODE(dbSetLimits(db, &limits), 0);
    for (int index = 0; index < 4; index++) EXPECT_CODE(create(db, "Log", DB_PROPS("id", format("%d", index))), 0);
    EXPECT_CODE(create(db, "Log", DB_PROPS("id", "4")), DB_ERR_FULL);
    EXPECT(!exists(db, "Log", DB_PROPS("id", "4")));
    EXPECT_CODE(update(db, "Log", DB_PROPS("id", "0", "text", "waits already")), 0);
    EXPECT_CODE(create(db, "Alarm", DB_PROPS("id", "stays here")), 0);
    EXPECT_CODE(create(db, "Sample", DB_PROPS("id", "none of its own to drop")), DB_ERR_FULL);
    EXPECT_NUMBER(dbRemove(db, "Log", DB_PROPS("id", "1"), NULL), 1);
    EXPECT_NUMBER(stats(db).outboxItems, 4);
    EXPECT_NUMBER(stats(db).refused, 2);
    claim("a change beyond the outbox's items is refused, one of an item that waits already is not");

    limits.outboxItems = 6;
    EXPECT_CODE(dbSetLimits(db, &limits), 0);
    for (int index = 0; index < 5; index++) EXPECT_CODE(create(db, "Sample", DB_PROPS("id", format("%d", index))), 0);
    EXPECT_NUMBER(stats(db).outboxItems, 6);
    EXPECT_NUMBER(stats(db).dropped, 3);
    EXPECT_NUMBER(count(db, "Sample", NULL), 5);
    EXPECT_NUMBER(count(db, "Log", NULL), 3);
    claim("of a model with dropOldest the oldest changes give way, and the items stay");

    EXPECT_CODE(dbSetLimits(db, NULL), 0);
    EXPECT_CODE(create(db, "Log", DB_PROPS("id", "4")), 0);
    for (int index = 0; index < 5; index++) EXPECT_CODE(create(db, "Bounded", DB_PROPS("id", format("%d", index))), 0);
    EXPECT_NUMBER(stats(db).outboxItems, 9);
    claim("a lifted limit is gone, and a model's own limit holds without any");
    dbClose(db);
    EXPECT_NUMBER(told.refused, 2);
    EXPECT_NUMBER(told.dropped, 6);
    EXPECT_NUMBER(told.other, 0);
    EXPECT_TEXT(told.last, "2");
    claim("triggers are told what was refused and what was dropped");
}

static void outboxBytes(void)
{
    Db *db = open("bytes.db", false);
    REQUIRE(db != NULL);
    char *big = repeat('x', 900), *small = repeat('x', 100);
    DbLimits limits = {.size = sizeof limits, .outboxBytes = 2048};
    EXPECT_CODE(dbSetLimits(db, &limits), 0);
    EXPECT_CODE(create(db, "Log", DB_PROPS("id", "1", "text", big)), 0);
    EXPECT_CODE(create(db, "Log", DB_PROPS("id", "2", "text", big)), 0);
    EXPECT_CODE(create(db, "Log", DB_PROPS("id", "3", "text", big)), DB_ERR_FULL);
    EXPECT_CODE(update(db, "Log", DB_PROPS("id", "1", "text", small)), 0);
    EXPECT_CODE(create(db, "Log", DB_PROPS("id", "3", "text", big)), 0);
    EXPECT_CODE(update(db, "Log", DB_PROPS("id", "1", "text", big)), DB_ERR_FULL);
    EXPECT(stats(db).outboxBytes <= 2048);
    DbItem *item = dbGet(db, "Log", DB_PROPS("id", "1"), NULL);
    EXPECT_TEXT(dbField(item, "text"), small);
    dbFreeItem(item);
    claim("the outbox's bytes are those of the items as they are now");

    EXPECT_CODE(dbBegin(db), 0);
    EXPECT_CODE(create(db, "Alarm", DB_PROPS("id", "a")), 0);
    EXPECT_CODE(dbSetLimits(db, NULL), DB_ERR_MISUSE);
    EXPECT_CODE(create(db, "Log", DB_PROPS("id", "4", "text", big)), DB_ERR_FULL);
    EXPECT_CODE(update(db, "Log", DB_PROPS("id", "2", "text", small)), 0);
    EXPECT_CODE(create(db, "Log", DB_PROPS("id", "4", "text", small)), 0);
    EXPECT_CODE(dbCommit(db), 0);
    EXPECT(exists(db, "Log", DB_PROPS("id", "4")) && exists(db, "Alarm", DB_PROPS("id", "a")));
    claim("a refused call leaves a transaction as it was");
    dbClose(db);
    free(big);
    free(small);
}

static void reserve(void)
{
    Db *db = open("reserve.db", true);
    REQUIRE(db != NULL);
    DbLimits limits = {.size = sizeof limits, .outboxItems = 16};
    EXPECT_CODE(dbSetLimits(db, &limits), 0);
    int made = 0;
    while (made < 20 && create(db, "Log", DB_PROPS("id", format("%d", made))) == 0) made++;
    EXPECT_NUMBER(made, 14);
    EXPECT_CODE(create(db, "Alarm", DB_PROPS("id", "1")), 0);
    EXPECT_CODE(create(db, "Alarm", DB_PROPS("id", "2")), 0);
    EXPECT_CODE(create(db, "Alarm", DB_PROPS("id", "3")), DB_ERR_FULL);
    claim("an eighth is kept for models marked reserve");
    dbClose(db);
}

static void fileSize(void)
{
    Db *db = open("size.db", true);
    REQUIRE(db != NULL);
    char *text = repeat('x', 500);
    DbLimits limits = {.size = sizeof limits, .fileBytes = 512 * 1024, .cacheBytes = 256 * 1024};
    EXPECT_CODE(dbSetLimits(db, &limits), 0);
    int made = 0;
    while (made < 2000 && create(db, "Log", DB_PROPS("id", format("%04d", made), "text", text)) == 0) made++;
    EXPECT_FAILED(DB_ERR_FULL);
    EXPECT(made > 400 && made < 1000);
    EXPECT_NUMBER(count(db, "Log", NULL), made);
    int alarms = 0;
    while (alarms < 2000 && create(db, "Alarm", DB_PROPS("id", format("%04d", alarms), "text", text)) == 0) alarms++;
    EXPECT_FAILED(DB_ERR_FULL);
    EXPECT(alarms > 20);
    EXPECT_ERROR_NAMES("size.db: the database is as large as it may be");
    EXPECT_NUMBER(count(db, "Alarm", NULL), alarms);
    EXPECT(stats(db).refused >= 2);
    note("%d items and %d of the reserve in 512 KB", made, alarms);
    claim("the file's size is met: %s, a reserve is kept, and every call fails cleanly", "DB_ERR_FULL");

    EXPECT_NUMBER(dbRemove(db, "Log", DB_JSON("{id: {begins: '00'}}"), DB_PARAMS(.many = true)), 100);
    EXPECT_CODE(create(db, "Alarm", DB_PROPS("id", "again", "text", text)), 0);
    dbClose(db);
    db = open("size.db", true);
    EXPECT_NUMBER(count(db, "Log", NULL), made - 100);
    EXPECT_NUMBER(count(db, "Alarm", NULL), alarms + 1);
    EXPECT(stats(db).fileBytes <= 512 * 1024);
    claim("removals make room, and nothing that was stored is lost");
    dbClose(db);
    free(text);
}

/** Memory for items and pages after every item was read, as text and on its own. */
static int64_t memoryOfReads(Db *db, int items)
{
    for (int index = 0; index < items; index++) EXPECT(exists(db, "Log", DB_PROPS("id", format("%04d", index))));
    EXPECT_NUMBER(dbCount(db, "Log", NULL, DB_PARAMS(.filter = "contains(${text}, {y})")), 0);
    return stats(db).cacheBytes;
}

static void memoryOfPages(void)
{
    enum { ITEMS = 4000, CACHE_BYTES = 512 * 1024 };
    Db *db = open("cache.db", false);
    REQUIRE(db != NULL);
    char *text = repeat('x', 500);
    EXPECT_CODE(dbBegin(db), 0);
    for (int index = 0; index < ITEMS; index++) {
        EXPECT_CODE(create(db, "Log", DB_PROPS("id", format("%04d", index), "text", text)), 0);
    }
    EXPECT_CODE(dbCommit(db), 0);
    free(text);
    int64_t without = memoryOfReads(db, ITEMS);
    DbLimits limits = {.size = sizeof limits, .cacheBytes = CACHE_BYTES};
    EXPECT_CODE(dbSetLimits(db, &limits), 0);
    int64_t with = memoryOfReads(db, ITEMS);
    note("%lld bytes without a limit, %lld with one of %d", (long long) without, (long long) with, CACHE_BYTES);
    EXPECT(without > 2 * CACHE_BYTES && with <= CACHE_BYTES && with > 0);
    EXPECT_CODE(dbSetLimits(db, NULL), 0);
    EXPECT(memoryOfReads(db, ITEMS) > 2 * CACHE_BYTES);
    dbClose(db);
    claim("what was read is kept in no more memory than is allowed, and nothing fails for it");
}

static void misuse(void)
{
    Db *db = open("misuse.db", false);
    DbLimits limits = {.size = sizeof limits, .fileBytes = -1};
    EXPECT_CODE(dbSetLimits(NULL, &limits), DB_ERR_MISUSE);
    EXPECT_CODE(dbSetLimits(db, &limits), DB_ERR_MISUSE);
    limits.size = 0;
    EXPECT_CODE(dbSetLimits(db, &limits), DB_ERR_MISUSE);
    DbStats out = {.size = 0};
    EXPECT_CODE(dbGetStats(db, &out), DB_ERR_MISUSE);
    EXPECT_CODE(dbGetStats(db, NULL), DB_ERR_MISUSE);
    EXPECT_CODE(dbGetStats(NULL, &out), DB_ERR_MISUSE);
    claim("limits and statistics that make no sense are misuse");
    dbClose(db);
}

int main(void)
{
    scenarioBegin();
    outboxItems();
    outboxBytes();
    reserve();
    fileSize();
    memoryOfPages();
    misuse();
    return scenarioEnd();
}
