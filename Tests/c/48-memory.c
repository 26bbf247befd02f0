/*
    A firmware keeps one model in memory alone and lets the changes of another gather there. The first must never reach the
    disk; those of the second must be read at once by every call, reach the disk together, in time and whenever the firmware
    waits for what is stored, and a crash may take what was gathered last and nothing else.
 */
#include "support/device.h"

#include <stdatomic.h>
#include <unistd.h>

static const char schema[] =
    "{format: 'onetable:1.1.0', version: '1', indexes: {primary: {hash: 'pk', sort: 'sk'}}, models: {"
    "Live: {pk: {value: 'p'}, sk: {value: 'live#${id}'}, id: {type: 'string'}, value: {type: 'number'}},"
    "Sample: {pk: {value: 'p'}, sk: {value: 'sample#${id}'}, id: {type: 'string'}, value: {type: 'number'}},"
    "Brief: {pk: {value: 'p'}, sk: {value: 'brief#${id}'}, id: {type: 'string'}, value: {type: 'number'}},"
    "Fault: {pk: {value: 'p'}, sk: {value: 'fault#${id}'}, id: {type: 'string'}},"
    "}, process: {Live: {mem: true}, Sample: {sync: 'up', delay: '1h'}, Brief: {delay: '200ms'}, Fault: {sync: 'up'}}}";

static Db *open(const char *name)
{
    writeFile(scratch("memory.json5"), schema);
    Db *db = dbOpen(scratch(name), scratch("memory.json5"), 0);
    REQUIRE(db != NULL);
    return db;
}

static DbStats stats(Db *db)
{
    DbStats out = {.size = sizeof out};
    EXPECT_CODE(dbGetStats(db, &out), 0);
    return out;
}

static int set(Db *db, const char *model, int id, int value)
{
    return dbSet(db, model, DB_PROPS("id", format("%d", id), "value", format("%d", value)), DB_PARAMS(.upsert = true));
}

static int64_t value(Db *db, const char *model, int id)
{
    return dbGetNum(db, model, "value", DB_PROPS("id", format("%d", id)), -1);
}

static atomic_int refusals;

static void onFull(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params, const char *cmd,
                   int events)
{
    (void) arg, (void) db, (void) model, (void) params, (void) cmd;
    if (events == DB_ON_FULL && strncmp(dbTriggerReason(item), "refused: ", 9) == 0) refusals++;
}

static atomic_int complaints;

static void onLog(void *context, IoLogLevel level, const char *message)
{
    (void) context;
    note("log %d: %s", (int) level, message);
    complaints++;
}

static void memoryAlone(void)
{
    Db *db = open("alone.db");
    DbStats before = stats(db);
    for (int round = 0; round < 200; round++) EXPECT_CODE(set(db, "Live", round % 20, round), 0);
    EXPECT_NUMBER(count(db, "Live", NULL), 20);
    EXPECT(value(db, "Live", 7) == 187);
    EXPECT_NUMBER(stats(db).bytesWritten, before.bytesWritten);
    EXPECT_NUMBER(stats(db).fsyncs, before.fsyncs);
    EXPECT_NUMBER(stats(db).items, 20);
    dbClose(db);
    db = open("alone.db");
    EXPECT_NUMBER(count(db, "Live", NULL), 0);
    claim("items of a model in memory are written nowhere, and are gone when the database is closed");

    EXPECT_CODE(dbBegin(db), 0);
    EXPECT_CODE(set(db, "Live", 1, 1), 0);
    EXPECT_CODE(create(db, "Fault", DB_PROPS("id", "1")), 0);
    EXPECT_CODE(dbRollback(db), 0);
    EXPECT_NUMBER(count(db, "Live", NULL), 0);
    EXPECT_NUMBER(count(db, "Fault", NULL), 0);
    claim("a transaction takes both back");

    EXPECT_CODE(dbAddTrigger(db, onFull, "Live", NULL, DB_ON_FULL), 0);
    DbLimits limits = {.size = sizeof limits, .memoryBytes = 256 * 1024};
    EXPECT_CODE(dbSetLimits(db, &limits), 0);
    ioSetLog(onLog, NULL, IO_LOG_ERROR);
    int code = 0, items = 0;
    while (items < 10000 && (code = set(db, "Live", items, items)) == 0) items++;
    EXPECT_CODE(code, DB_ERR_FULL);
    EXPECT_ERROR_NAMES("the models in memory have as much as they may");
    EXPECT(stats(db).memoryBytes <= limits.memoryBytes && items > 100);
    EXPECT_NUMBER(stats(db).refused, 1);
    EXPECT_WITHIN(5000, atomic_load(&refusals) == 1);
    EXPECT_NUMBER(count(db, "Live", NULL), items);
    EXPECT_NUMBER(atomic_load(&complaints), 0);
    scenarioLog(IO_LOG_WARNING);
    EXPECT_NUMBER(dbRemove(db, "Live", NULL, DB_PARAMS(.many = true)), items);
    EXPECT_CODE(set(db, "Live", 1, 1), 0);
    dbClose(db);
    claim("memory has a limit, which is told, and a removal makes room");
}

static void delayed(void)
{
    Db *db = open("delayed.db");
    DbStats before = stats(db);
    for (int round = 0; round < 200; round++) EXPECT_CODE(set(db, "Sample", round % 20, round), 0);
    EXPECT(value(db, "Sample", 7) == 187);
    EXPECT_NUMBER(stats(db).bytesWritten, before.bytesWritten);
    EXPECT_NUMBER(stats(db).outboxItems, 0);
    EXPECT_NUMBER(count(db, "Sample", NULL), 20);
    DbStats after = stats(db);
    EXPECT_NUMBER(after.outboxItems, 20);
    EXPECT(after.fsyncs - before.fsyncs <= 2);
    note("200 changes: %lld bytes, %lld fsyncs", (long long) (after.bytesWritten - before.bytesWritten),
         (long long) (after.fsyncs - before.fsyncs));
    claim("changes of a model with a delay are read at once, and committed together for a find");

    EXPECT_CODE(set(db, "Sample", 30, 30), 0);
    EXPECT_CODE(dbSave(db, scratch("backup.db")), 0);
    Db *copy = open("backup.db");
    EXPECT(value(copy, "Sample", 30) == 30);
    dbClose(copy);
    EXPECT_CODE(set(db, "Sample", 31, 31), 0);
    dbClose(db);
    db = open("delayed.db");
    EXPECT(value(db, "Sample", 31) == 31);
    dbClose(db);
    claim("a backup and a close commit them");
}

/** Has each of these calls commit what has gathered. */
static void ofAnAgent(void)
{
    writeFile(scratch("memory.json5"), schema);
    static int (*const calls[])(Io *io, int timeout_ms) = {ioSync, ioSyncUp, ioSyncDown};
    Io *io = deviceOpenUnder(scratch("memory.json5"), "agent.db", freePort(), SYNC_NEVER);
    REQUIRE(io != NULL);
    Db *db = ioGetDb(io);
    int waiting = 0;
    for (size_t index = 0; index < sizeof calls / sizeof calls[0]; index++) {
        EXPECT_CODE(set(db, "Sample", waiting, 1), 0);
        EXPECT_NUMBER(stats(db).outboxItems, waiting);
        EXPECT_CODE(calls[index](io, 0), DB_ERR_OFFLINE);
        EXPECT_NUMBER(stats(db).outboxItems, ++waiting);
    }
    EXPECT_CODE(set(db, "Sample", waiting, 1), 0);
    EXPECT_CODE(ioFlushSync(io), DB_ERR_OFFLINE);
    EXPECT_NUMBER(stats(db).outboxItems, ++waiting);
    EXPECT_CODE(set(db, "Sample", waiting, 1), 0);
    EXPECT_CODE(dbBegin(db), 0);
    EXPECT_CODE(dbRollback(db), 0);
    EXPECT(value(db, "Sample", waiting) == 1);
    EXPECT_NUMBER(stats(db).outboxItems, waiting);
    EXPECT_CODE(dbBegin(db), 0);
    EXPECT_CODE(dbCommit(db), 0);
    EXPECT_NUMBER(stats(db).outboxItems, ++waiting);
    EXPECT_CODE(set(db, "Sample", waiting, 1), 0);
    ioClose(io);
    db = open("agent.db");
    EXPECT_NUMBER(stats(db).outboxItems, waiting + 1);
    dbClose(db);
    claim("whatever asks the agent to synchronize commits them, and so do a transaction that commits and the agent's end");
}

static int firmware(char **argv)
{
    childBegin(argv);
    Db *db = open("crash.db");
    Witness *witness = witnessAdd(db, "Brief", DB_ON_CHANGE);
    set(db, "Brief", 1, 1);
    int64_t until_ms = clock_ms() + 10000;
    while (witnessCount(witness, "create", "Brief", "1", -1) == 0 && clock_ms() < until_ms) pause_ms(10);
    create(db, "Fault", DB_PROPS("id", "1"));
    set(db, "Sample", 1, 1);
    set(db, "Sample", 2, 2);
    puts("done");
    fflush(stdout);
    pause(); // until it is killed
    return 1;
}

static void crash(void)
{
    Child child = childStartSelf("firmware", (const char *[]){NULL});
    EXPECT(childAwaitLine(&child, "done"));
    childKill(&child);
    childCloseOutput(&child);
    Db *db = open("crash.db");
    EXPECT(exists(db, "Brief", DB_PROPS("id", "1")));
    EXPECT(exists(db, "Fault", DB_PROPS("id", "1")));
    EXPECT_NUMBER(count(db, "Sample", NULL), 0);
    EXPECT_NUMBER(dbCheck(db, NULL, NULL), 0);
    dbClose(db);
    claim("a crash takes the changes of the last delay, and nothing else");
}

int main(int argc, char **argv)
{
    if (argc > 2) return firmware(argv);
    scenarioBegin();
    memoryAlone();
    delayed();
    ofAnAgent();
    crash();
    return scenarioEnd();
}
