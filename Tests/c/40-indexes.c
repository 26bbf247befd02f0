/*
    A firmware asks for the critical faults of a day, by an index. The index follows what is created, changed and removed,
    stands in order, survives the firmware's death with the items that it leads to, and is there at once when a new version
    of the firmware brings a schema with another index.
 */
#include "support/device.h"

#include <signal.h>

static Db *openIndexed(const char *schema)
{
    Db *db = dbOpen(scratch("indexes.db"), schema, DB_DURABILITY_NORMAL);
    if (db != NULL) dbAddContext(db, "deviceId", "d1");
    return db;
}

static const char *at(int day) { return format("2026-11-%02dT00:00:00.000Z", day); }

/** The ids that a find gives, joined. */
static const char *ids(Db *db, const DbProps *props, const DbParams *params)
{
    static char joined[4096];
    DbList *list = dbFind(db, "Fault", props, params);
    const DbItem *item;
    size_t index, size = 0;
    joined[0] = '\0';
    if (list == NULL) return NULL;
    for (DB_ITERATE(list, item, index)) {
        size += (size_t) snprintf(joined + size, sizeof joined - size, "%s%s", index > 0 ? " " : "", dbField(item, "id"));
    }
    dbFreeList(list);
    return joined;
}

static void fill(Db *db)
{
    EXPECT_CODE(create(db, "Fault", DB_PROPS("id", "a", "severity", "critical", "at", at(3), "level", "2")), 0);
    EXPECT_CODE(create(db, "Fault", DB_PROPS("id", "b", "severity", "critical", "at", at(1), "level", "1")), 0);
    EXPECT_CODE(create(db, "Fault", DB_PROPS("id", "c", "severity", "low", "at", at(2))), 0);
    EXPECT_CODE(create(db, "Fault", DB_PROPS("id", "d", "severity", "critical", "at", at(2))), 0);
    EXPECT_CODE(create(db, "Fault", DB_PROPS("id", "e")), 0);
}

/** Writes forty faults, says so, and waits for its death. */
static int firmware(char **argv)
{
    childBegin(argv);
    Db *db = openIndexed(testData("indexes.json5"));
    for (int index = 0; db != NULL && index < 40; index++) {
        const char *id = format("x%02d", index);
        if (create(db, "Fault", DB_PROPS("id", id, "severity", "critical", "at", at(5))) != 0) return 1;
    }
    printf("written\n");
    for (;;) pause_ms(1000);
}

typedef struct Progress {
    int steps, ends;
    long long last, made;
    bool isOrdered;
} Progress;

static void watch(void *context, IoLogLevel level, const char *message)
{
    Progress *progress = context;
    const char *step = strstr(message, "the indexes are made anew: "), *end = strstr(message, "made anew, from ");
    if (level != IO_LOG_INFO) return;
    if (step != NULL) {
        long long count = atoll(strrchr(step, ':') + 1);
        progress->isOrdered = progress->isOrdered && count == progress->last + 10000 && progress->ends == 0;
        progress->last = count;
        progress->steps++;
    } else if (end != NULL) {
        progress->made = atoll(end + strlen("made anew, from "));
        progress->ends++;
    }
}

/** A schema with another index, and 20,001 items. */
static void rebuild(void)
{
    Progress progress = {.isOrdered = true};
    Db *db = openIndexed(scratch("next.json5"));
    REQUIRE(db != NULL && dbBegin(db) == 0);
    for (int index = (int) dbCount(db, "Fault", NULL, NULL); index < 20001; index++) {
        if (create(db, "Fault", DB_PROPS("id", format("m%d", index), "severity", "low")) != 0) break;
    }
    EXPECT_CODE(dbCommit(db), 0);
    dbClose(db);
    ioSetLog(watch, &progress, IO_LOG_INFO);
    db = openIndexed(testData("indexes.json5"));
    ioSetLog(NULL, NULL, IO_LOG_WARNING);
    REQUIRE(db != NULL);
    EXPECT_NUMBER(progress.steps, 2);
    EXPECT(progress.isOrdered);
    EXPECT(progress.ends >= 1);
    EXPECT_NUMBER(progress.made, 20001);
    dbClose(db);
    progress = (Progress){.isOrdered = true};
    ioSetLog(watch, &progress, IO_LOG_INFO);
    db = openIndexed(testData("indexes.json5"));
    ioSetLog(NULL, NULL, IO_LOG_WARNING);
    dbClose(db);
    EXPECT_NUMBER(progress.steps + progress.ends, 0);
    claim("the log tells how far the making of indexes has come, and of none when nothing is to be made");
}

static void finds(Db *db)
{
    EXPECT_TEXT(ids(db, DB_PROPS("severity", "critical"), DB_PARAMS(.index = "gs1")), "b d a");
    EXPECT_TEXT(ids(db, DB_PROPS("severity", "critical"), DB_PARAMS(.index = "gs1", .reverse = true)), "a d b");
    EXPECT_TEXT(ids(db, DB_PROPS("severity", "critical"), DB_PARAMS(.index = "gs1", .limit = 2)), "b d");
    EXPECT_TEXT(ids(db, NULL, DB_PARAMS(.index = "gs1")), "b d a c");
    EXPECT_TEXT(ids(db, NULL, DB_PARAMS(.index = "ls1")), "b a");
    claim("a find by an index has its order, and the items that have its attributes");

    EXPECT_TEXT(ids(db, DB_JSON("{severity: 'critical', at: {'>=': '2026-11-02'}}"), DB_PARAMS(.index = "gs1")), "d a");
    EXPECT_TEXT(ids(db, DB_JSON("{severity: 'critical', gs1sk: {begins: 'at#2026-11-01'}}"), DB_PARAMS(.index = "gs1")), "b");
    EXPECT_TEXT(ids(db, DB_JSON("{level: {between: ['1', '1']}}"), DB_PARAMS(.index = "ls1")), "b");
    claim("operators on the sort attribute select by key");
}

static void follows(Db *db)
{
    EXPECT_CODE(update(db, "Fault", DB_PROPS("id", "c", "severity", "critical")), 0);
    EXPECT_CODE(update(db, "Fault", DB_PROPS("id", "a", "severity", NULL)), 0);
    EXPECT_NUMBER(dbRemove(db, "Fault", DB_PROPS("id", "b"), NULL), 1);
    EXPECT_TEXT(ids(db, DB_PROPS("severity", "critical"), DB_PARAMS(.index = "gs1")), "c d");
    claim("an index follows updates and removals");

    EXPECT(ids(db, NULL, DB_PARAMS(.index = "gs7")) == NULL);
    EXPECT_FAILED(DB_ERR_MISUSE);
    EXPECT_ERROR_NAMES("gs7");
    DbList *none = dbFind(db, "Port", NULL, DB_PARAMS(.index = "gs1"));
    EXPECT(none == NULL);
    EXPECT_FAILED(DB_ERR_KEY);
    EXPECT_ERROR_NAMES("Port");
    claim("an index that is not there is an error that names it");

    EXPECT_CODE(dbBegin(db), 0);
    EXPECT_CODE(update(db, "Fault", DB_PROPS("id", "d", "severity", "low")), 0);
    EXPECT_TEXT(ids(db, DB_PROPS("severity", "critical"), DB_PARAMS(.index = "gs1")), "c");
    EXPECT_CODE(dbRollback(db), 0);
    EXPECT_TEXT(ids(db, DB_PROPS("severity", "critical"), DB_PARAMS(.index = "gs1")), "c d");
    claim("an index follows a transaction and its rollback");
}

/** Another process writes and dies; closes the database. */
static void outlivesItsWriter(Db *db)
{
    Child child = childStartSelf("firmware", (const char *[]){NULL});
    EXPECT(childAwaitLine(&child, "written"));
    childKill(&child);
    childCloseOutput(&child);
    DbList *list = dbFind(db, "Fault", DB_PROPS("severity", "critical"), DB_PARAMS(.index = "gs1"));
    EXPECT_NUMBER(dbListCount(list), 42);
    EXPECT_NUMBER(dbCount(db, "Fault", NULL, NULL), 44);
    dbFreeList(list);
    claim("what another process wrote before it died is in the index and in the items alike");
    dbClose(db);
}

static void changesWithTheSchema(void)
{
    writeFile(scratch("next.json5"),
              "{format: 'onetable:1.1.0', version: '2.0.0',"
              " indexes: {primary: {hash: 'pk', sort: 'sk'}, gs2: {hash: 'kind'}},"
              " models: {Fault: {pk: {value: 'device#${deviceId}'}, sk: {value: 'fault#${id}'},"
              " kind: {value: 'kind#${severity}'}, deviceId: {type: 'string'}, id: {type: 'string'},"
              " severity: {type: 'string'}, at: {type: 'date'}}}}");
    Db *db = openIndexed(scratch("next.json5"));
    REQUIRE(db != NULL);
    EXPECT_NUMBER(dbCount(db, "Fault", DB_PROPS("severity", "critical"), DB_PARAMS(.index = "gs2")), 42);
    EXPECT(ids(db, NULL, DB_PARAMS(.index = "gs1")) == NULL);
    dbClose(db);
    db = openIndexed(testData("indexes.json5"));
    REQUIRE(db != NULL);
    EXPECT_NUMBER(dbCount(db, "Fault", DB_PROPS("severity", "critical"), DB_PARAMS(.index = "gs1")), 42);
    claim("a schema with another index finds it made, and so does the old one when it comes back");

    dbClose(db);
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "firmware") == 0) return firmware(argv);
    scenarioBegin();
    Db *db = openIndexed(testData("indexes.json5"));
    REQUIRE(db != NULL);
    fill(db);
    finds(db);
    follows(db);
    outlivesItsWriter(db);
    changesWithTheSchema();
    rebuild();
    return scenarioEnd();
}
