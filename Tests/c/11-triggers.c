/*
    A firmware adds triggers and changes items. Each trigger must be told every change of its model, after the commit, in
    commit order, with the item before and after and who made it; none may be told of a call that failed or changed
    nothing. A trigger must be free to call the database, and to add and remove triggers, itself included.
 */
#include "support/device.h"

#include <pthread.h>

/** Counts and texts that a trigger leaves behind; read after dbClose, which waits for triggers. */
typedef struct Log {
    int calls;
    char text[4096];
    pthread_t thread;
} Log;

static void record(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params, const char *cmd,
                   int events)
{
    Log *log = arg;
    const char *before = dbField(dbTriggerBefore(item), "text");
    const char *after = dbField(item, "text");
    size_t used = strlen(log->text);
    snprintf(log->text + used, sizeof log->text - used, "%s %s %s: %s -> %s;", cmd, dbModelName(model), dbField(item, "id"),
             dbTriggerBefore(item) == NULL ? "nothing" : before != NULL ? before : "-", after != NULL ? after : "-");
    log->calls++;
    log->thread = pthread_self();
    bool isRight = db != NULL && params == NULL && (events & DB_ON_CHANGE) != 0 && (events & DB_ON_REMOTE) == 0 &&
                   dbTriggerOrigin(item) == DB_ORIGIN_LOCAL && strcmp(dbItemModel(item), dbModelName(model)) == 0 &&
                   strcmp(dbTriggerReason(item), "") == 0;
    if (!isRight) log->calls += 1000;
}

static void changesAreTold(void)
{
    static Log notes, all, remote;
    Db *db = openScratch("told.db", 0);
    REQUIRE(db != NULL);
    EXPECT_CODE(dbAddTrigger(db, record, "Note", &notes, DB_ON_CHANGE), 0);
    EXPECT_CODE(dbAddCallback(db, record, NULL, &all, DB_ON_COMMIT), 0);
    EXPECT_CODE(dbAddTrigger(db, record, NULL, &remote, DB_ON_REMOTE | DB_ON_REJECTED), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "a", "text", "one")), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "a", "text", "refused")), DB_ERR_EXISTS);
    EXPECT_CODE(update(db, "Note", DB_PROPS("id", "a", "text", "two")), 0);
    EXPECT_CODE(update(db, "Note", DB_PROPS("id", "none", "text", "refused")), DB_ERR_NOT_FOUND);
    EXPECT_CODE(create(db, "Local", DB_PROPS("id", "l", "text", "other")), 0);
    EXPECT_CODE(dbSetString(db, "Note", "text", "three", DB_PROPS("id", "a"), NULL), 0);
    EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", "b", "text", "made"), NULL), 0);
    EXPECT_NUMBER(dbRemove(db, "Note", DB_PROPS("id", "a"), NULL), 1);
    EXPECT_NUMBER(dbRemove(db, "Note", DB_PROPS("id", "a"), NULL), 0);
    dbClose(db);
    EXPECT_TEXT(notes.text, "create Note a: nothing -> one;update Note a: one -> two;update Note a: two -> three;"
                            "create Note b: nothing -> made;remove Note a: three -> three;");
    claim("a trigger is told each change of its model, in order, with the item before, and no failure");
    EXPECT_NUMBER(all.calls, 6);
    EXPECT(strstr(all.text, "create Local l: nothing -> other;") != NULL);
    claim("a trigger without a model is told the changes of every model");
    EXPECT_NUMBER(remote.calls, 0);
    claim("a trigger for remote and rejected changes is not told local ones");
    EXPECT(!pthread_equal(notes.thread, pthread_self()));
    EXPECT(pthread_equal(notes.thread, all.thread));
    claim("triggers run on the library's one dispatcher thread");
}

static void sameTriggerTwice(void)
{
    static Log log;
    Db *db = openScratch("twice.db", 0);
    REQUIRE(db != NULL);
    EXPECT_CODE(dbAddTrigger(db, record, "Note", &log, DB_ON_CHANGE), 0);
    EXPECT_CODE(dbAddTrigger(db, record, "Note", &log, DB_ON_CHANGE), 0);
    EXPECT_CODE(dbAddTrigger(db, record, NULL, &log, DB_ON_CHANGE), 0);
    EXPECT_NUMBER(dbRemoveTrigger(db, record, "Local", &log), 0);
    EXPECT_NUMBER(dbRemoveTrigger(db, record, "Note", NULL), 0);
    EXPECT_NUMBER(dbRemoveTrigger(db, record, "Note", &log), 2);
    EXPECT_NUMBER(dbRemoveTrigger(db, record, "Note", &log), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "a")), 0);
    dbClose(db);
    EXPECT_NUMBER(log.calls, 1);
    claim("a trigger is removed by exactly what it was added with, however often");
}

/** What `once`, `chain` and `adder` need to know. */
typedef struct Inside {
    int calls;
    int code;
    int64_t found;
    Log late;
} Inside;

static void once(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params, const char *cmd,
                 int events)
{
    Inside *inside = arg;
    (void) item;
    (void) params;
    (void) cmd;
    (void) events;
    inside->calls++;
    inside->code = dbRemoveTrigger(db, once, dbModelName(model), arg);
}

static void chain(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params, const char *cmd,
                  int events)
{
    Inside *inside = arg;
    int64_t next = dbFieldNumber(item, "count", 0) + 1;
    char number[24];
    (void) model;
    (void) params;
    (void) cmd;
    (void) events;
    inside->calls++;
    inside->found = count(db, "Note", NULL);
    snprintf(number, sizeof number, "%lld", (long long) next);
    if (next <= 10 && create(db, "Note", DB_PROPS("id", number, "count", number)) != 0) inside->code = dbGetErrorCode();
    if (next <= 10 && !exists(db, "Note", DB_PROPS("id", number))) inside->code = -1;
    if (dbSetNum(db, "Local", "extra.seen", next, DB_PROPS("id", "tally"), DB_PARAMS(.upsert = true)) != 0) {
        inside->code = dbGetErrorCode();
    }
}

static void adder(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params, const char *cmd,
                  int events)
{
    Inside *inside = arg;
    (void) model;
    (void) item;
    (void) params;
    (void) cmd;
    (void) events;
    if (inside->calls++ == 0) inside->code = dbAddTrigger(db, record, "Note", &inside->late, DB_ON_CHANGE);
}

static void triggersCallTheDatabase(void)
{
    static Inside self, chained, adding;
    Db *db = openScratch("inside.db", DB_DURABILITY_NORMAL);
    REQUIRE(db != NULL);
    EXPECT_CODE(dbAddTrigger(db, once, "Note", &self, DB_ON_CHANGE), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "x", "count", "100")), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "y", "count", "100")), 0);
    dbClose(db);
    EXPECT_NUMBER(self.calls, 1);
    EXPECT_NUMBER(self.code, 1);
    claim("a trigger that removes itself is not called again");

    db = openScratch("inside.db", DB_OPEN_RESET | DB_DURABILITY_NORMAL);
    EXPECT_CODE(dbAddTrigger(db, chain, "Note", &chained, DB_ON_CHANGE), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "1", "count", "1")), 0);
    EXPECT_WITHIN(PATIENCE_MS, dbGetNum(db, "Local", "extra.seen", DB_PROPS("id", "tally"), 0) == 11);
    dbClose(db);
    EXPECT_NUMBER(chained.calls, 10);
    EXPECT_NUMBER(chained.code, 0);
    EXPECT_NUMBER(chained.found, 10);
    claim("a trigger reads and writes the database, and its own changes fire triggers");

    db = openScratch("inside.db", DB_OPEN_RESET | DB_DURABILITY_NORMAL);
    EXPECT_CODE(dbAddTrigger(db, adder, "Note", &adding, DB_ON_CHANGE), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "first")), 0);
    pause_ms(200);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "second")), 0);
    dbClose(db);
    EXPECT_NUMBER(adding.code, 0);
    EXPECT_TEXT(adding.late.text, "create Note second: nothing -> -;");
    claim("a trigger adds another, which is told what is committed afterwards");
}

static void ofAnotherModel(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params, const char *cmd,
                           int events)
{
    (void) arg, (void) db, (void) model, (void) item, (void) params, (void) cmd, (void) events;
}

static bool countPending(void *context, const DbPending *change)
{
    (void) change;
    ++*(int *) context;
    return true;
}

/** Calls what changes, saves, tidies and tells of the database as a whole; the sum of what went wrong. */
static void callEverything(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params, const char *cmd,
                           int events)
{
    Inside *inside = arg;
    (void) model, (void) item, (void) params, (void) cmd, (void) events;
    DbLimits limits = {.size = sizeof limits, .outboxItems = 1000};
    DbStats stats = {.size = sizeof stats};
    int wrong = 0, pending = 0;
    wrong += dbBegin(db) != 0 || create(db, "Local", DB_PROPS("id", "kept")) != 0 || dbCommit(db) != 0;
    wrong += dbBegin(db) != 0 || create(db, "Local", DB_PROPS("id", "not kept")) != 0 || dbRollback(db) != 0;
    wrong += dbSave(db, scratch("inside-backup.db")) != 0;
    wrong += dbLoadData(db, scratch("inside.json5")) != 0;
    wrong += dbRemoveExpired(db, true) != 0;
    wrong += dbVacuum(db) < 0;
    wrong += dbCheck(db, NULL, NULL) != 0;
    wrong += dbSetLimits(db, &limits) != 0 || dbGetStats(db, &stats) != 0 || stats.items == 0;
    wrong += dbEachPending(db, countPending, &pending) < 1 || pending < 1;
    wrong += dbEachRejected(db, countPending, &pending) != 0;
    wrong += dbAddContext(db, "accountId", "a1") != 0;
    wrong += dbAddTrigger(db, ofAnotherModel, "Plan", NULL, DB_ON_CHANGE) != 0;
    wrong += dbRemoveTrigger(db, ofAnotherModel, "Plan", NULL) != 1;
    wrong += count(db, "Local", NULL) != 2;
    wrong += dbRemove(db, "Local", NULL, DB_PARAMS(.many = true)) != 2;
    if (wrong != 0) note("%s: %s", ioStrError(dbGetErrorCode()), dbGetError(db));
    dbClose(db);
    wrong += dbGetErrorCode() != DB_ERR_MISUSE;
    inside->code += wrong;
    inside->calls++;
}

static void triggersCallEverything(bool isOnLoop)
{
    writeFile(scratch("inside.json5"), "{Local: [{id: 'loaded'}]}");
    static Inside inside;
    inside = (Inside){0};
    Db *db = openScratch("everything.db", DB_OPEN_RESET | DB_DURABILITY_NORMAL);
    REQUIRE(db != NULL);
    if (isOnLoop) EXPECT(dbGetFd(db) >= 0);
    EXPECT_CODE(dbAddTrigger(db, callEverything, "Note", &inside, DB_ON_CHANGE), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "1")), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "2")), 0);
    if (isOnLoop) EXPECT_NUMBER(dbDispatch(db, -1), 2);
    dbClose(db);
    EXPECT_NUMBER(inside.calls, 2);
    EXPECT_NUMBER(inside.code, 0);
    claim("a trigger on %s may call what works on the whole database, and closes nothing", isOnLoop ? "the loop" : "the thread");
}

static void orderIsKept(void)
{
    Db *db = openScratch("order.db", DB_DURABILITY_NORMAL);
    REQUIRE(db != NULL);
    Witness *witness = witnessAdd(db, "Note", DB_ON_CHANGE);
    char *expected = malloc(16384);
    if (expected == NULL) abort();
    char *end = expected;
    for (int index = 0; index < 200; index++) {
        EXPECT_CODE(create(db, "Note", DB_PROPS("id", format("%d", index))), 0);
        end += sprintf(end, "create Note %d local\n", index);
    }
    EXPECT_NUMBER(dbRemove(db, "Note", DB_JSON("{id: {begins: '1'}}"), DB_PARAMS(.many = true)), 111);
    dbClose(db);
    EXPECT(strncmp(witnessText(witness), expected, strlen(expected)) == 0);
    EXPECT_NUMBER(witnessCount(witness, "remove", "Note", NULL, DB_ORIGIN_LOCAL), 111);
    free(expected);
    witnessFree(witness);
    claim("two hundred changes are told in commit order, and dbClose waits for the last");
}

int main(void)
{
    scenarioBegin();
    changesAreTold();
    sameTriggerTwice();
    triggersCallTheDatabase();
    triggersCallEverything(false);
    triggersCallEverything(true);
    orderIsKept();
    return scenarioEnd();
}
