/*
    A firmware closes its database while other threads are in the middle of calls on it, and calls on what is closed, what
    never was open, and what is of another kind. Calls under way must end as ever, later ones must fail as misuse, and
    nothing may crash (the sanitizers watch).
 */
#include "support/device.h"

#include <pthread.h>
#include <stdatomic.h>

#define ROUNDS 30
#define CALLERS 4

typedef struct Caller {
    Db *db;
    pthread_t thread;
    int index;
    int calls;
    int code;
} Caller;

static bool acceptsAll(void *context, const DbItem *item)
{
    (void) context;
    return item != NULL;
}

static void *callUntilClosed(void *argument)
{
    Caller *caller = argument;
    for (; caller->code == 0; caller->calls++) {
        char id[16];
        snprintf(id, sizeof id, "%d", caller->calls % 10);
        switch ((caller->calls + caller->index) % 4) {
        case 0:
            caller->code = dbSet(caller->db, "Note", DB_PROPS("id", id, "text", "x"), NULL);
            break;
        case 1: {
            DbList *list = dbFind(caller->db, "Note", NULL, DB_PARAMS(.where = acceptsAll));
            if (list == NULL) caller->code = dbGetErrorCode();
            dbFreeList(list);
            break;
        }
        case 2: {
            DbItem *item = dbGet(caller->db, "Note", DB_PROPS("id", "kept"), NULL);
            if (item == NULL) caller->code = dbGetErrorCode();
            dbFreeItem(item);
            break;
        }
        default:
            if (dbBegin(caller->db) != 0 || create(caller->db, "Local", DB_PROPS("id", "x")) != 0 ||
                dbRollback(caller->db) != 0) {
                caller->code = dbGetErrorCode();
            }
        }
    }
    return NULL;
}

static void onChange(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params, const char *cmd,
                     int events)
{
    (void) model;
    (void) params;
    (void) cmd;
    (void) events;
    if (!exists(db, "Note", DB_PROPS("id", "kept")) || dbField(item, "id") == NULL) *(int *) arg = 1;
}

static void closeUnderLoad(void)
{
    int triggerFailed = 0;
    for (int round = 0; round < ROUNDS; round++) {
        Db *db = openScratch("load.db", DB_DURABILITY_NORMAL);
        REQUIRE(db != NULL);
        REQUIRE(dbSet(db, "Note", DB_PROPS("id", "kept"), NULL) == 0);
        if (round % 2) EXPECT_CODE(dbAddTrigger(db, onChange, "Note", &triggerFailed, DB_ON_CHANGE), 0);
        Caller callers[CALLERS];
        for (int index = 0; index < CALLERS; index++) {
            callers[index] = (Caller){.db = db, .index = index};
            REQUIRE(pthread_create(&callers[index].thread, NULL, callUntilClosed, &callers[index]) == 0);
        }
        pause_ms(5 + round % 5 * 5);
        dbClose(db);
        for (int index = 0; index < CALLERS; index++) {
            pthread_join(callers[index].thread, NULL);
            EXPECT_CODE(callers[index].code, DB_ERR_MISUSE);
        }
    }
    claim("dbClose waits for calls under way, and later ones are misuse");
    EXPECT_NUMBER(triggerFailed, 0);
    Db *db = openScratch("load.db", 0);
    EXPECT(exists(db, "Note", DB_PROPS("id", "kept")));
    EXPECT_NUMBER(count(db, "Local", NULL), 0);
    dbClose(db);
    claim("triggers work to the last, and the database is whole");
}

static void closeTwice(void)
{
    Db *db = openScratch("twice.db", 0);
    REQUIRE(db != NULL);
    dbClose(db);
    dbClose(db);
    EXPECT_FAILED(DB_ERR_MISUSE);
    EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", "a"), NULL), DB_ERR_MISUSE);
    EXPECT(dbFind(db, "Note", NULL, NULL) == NULL);
    EXPECT_FAILED(DB_ERR_MISUSE);
    EXPECT_CODE(dbBegin(db), DB_ERR_MISUSE);
    EXPECT_CODE(dbAddContext(db, "deviceId", "d1"), DB_ERR_MISUSE);
    Db *other = openScratch("other.db", 0);
    EXPECT(other != db);
    EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", "a"), NULL), DB_ERR_MISUSE);
    dbClose(other);
    claim("a closed database is told, also while another is open");

    long nothing[64] = {0};
    EXPECT_CODE(dbSet((Db *) nothing, "Note", DB_PROPS("id", "a"), NULL), DB_ERR_MISUSE);
    EXPECT_CODE(dbSet((Db *) 1, "Note", DB_PROPS("id", "a"), NULL), DB_ERR_MISUSE);
    EXPECT_CODE(ioStart((Io *) nothing), DB_ERR_MISUSE);
    dbClose((Db *) nothing);
    EXPECT_FAILED(DB_ERR_MISUSE);
    db = openScratch("twice.db", 0);
    EXPECT_CODE(dbSet((Db *) ((char *) db + 8), "Note", DB_PROPS("id", "a"), NULL), DB_ERR_MISUSE);
    EXPECT_CODE(ioStart((Io *) db), DB_ERR_MISUSE);
    ioClose((Io *) db);
    EXPECT_FAILED(DB_ERR_MISUSE);
    EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", "a"), NULL), 0);
    dbClose(db);
    claim("a pointer that is no handle, or one of another kind, is told and not followed");
}

static void closeFromTrigger(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params,
                             const char *cmd, int events)
{
    (void) model;
    (void) item;
    (void) params;
    (void) cmd;
    (void) events;
    dbClose(db);
    *(int *) arg = dbGetErrorCode();
}

static bool closeFromWhere(void *context, const DbItem *item)
{
    dbClose(context);
    return item != NULL && dbGetErrorCode() == DB_ERR_MISUSE;
}

static void closeFromWithin(void)
{
    int code = 0;
    Db *db = openScratch("within.db", 0);
    REQUIRE(db != NULL);
    EXPECT_CODE(dbAddTrigger(db, closeFromTrigger, NULL, &code, DB_ON_CHANGE), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "a")), 0);
    DbList *list = dbFind(db, "Note", NULL, DB_PARAMS(.where = closeFromWhere, .whereContext = db));
    EXPECT_NUMBER(dbListCount(list), 1);
    dbFreeList(list);
    dbClose(db);
    EXPECT_CODE(code, DB_ERR_MISUSE);
    claim("a trigger and a where function can't close their database");
}

static void *syncForLong(void *argument)
{
    Caller *caller = argument;
    caller->code = ioSync((Io *) caller->db, 60000);
    return NULL;
}

static void closeAgent(void)
{
    Io *io = deviceStart("agent.db", freePort(), SYNC_NEVER);
    Db *db = ioGetDb(io);
    dbClose(db);
    EXPECT_FAILED(DB_ERR_MISUSE);
    EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", "a"), NULL), 0);
    claim("the database of an agent is not closed by dbClose");

    Caller syncing = {.db = (Db *) io}, changing = {.db = db};
    REQUIRE(create(db, "Note", DB_PROPS("id", "kept")) == 0);
    REQUIRE(pthread_create(&syncing.thread, NULL, syncForLong, &syncing) == 0);
    REQUIRE(pthread_create(&changing.thread, NULL, callUntilClosed, &changing) == 0);
    pause_ms(100);
    int64_t start_ms = clock_ms();
    ioClose(io);
    EXPECT(clock_ms() - start_ms < PATIENCE_MS);
    pthread_join(syncing.thread, NULL);
    pthread_join(changing.thread, NULL);
    EXPECT_CODE(syncing.code, DB_ERR_OFFLINE);
    EXPECT_CODE(changing.code, DB_ERR_MISUSE);
    EXPECT_CODE(ioStart(io), DB_ERR_MISUSE);
    EXPECT(ioGetDb(io) == NULL);
    ioClose(io);
    EXPECT_FAILED(DB_ERR_MISUSE);
    claim("ioClose ends calls that wait for the cloud, and later ones are misuse");
}

static void *startAndStop(void *argument)
{
    Caller *caller = argument;
    for (int round = 0; round < 200; round++) {
        if ((round + caller->index) % 2 == 0) {
            if (ioStart((Io *) caller->db) != 0) caller->code = dbGetErrorCode();
        } else {
            ioStop((Io *) caller->db);
        }
    }
    return NULL;
}

static void stopFromTrigger(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params,
                            const char *cmd, int events)
{
    (void) db, (void) model, (void) item, (void) params, (void) cmd, (void) events;
    Caller *caller = arg;
    ioStop((Io *) caller->db);
    caller->code = dbGetErrorCode();
}

static void startsAndStops(void)
{
    Io *io = deviceOpen("starts.db", freePort(), SYNC_NEVER);
    Caller callers[CALLERS];
    for (int index = 0; index < CALLERS; index++) {
        callers[index] = (Caller){.db = (Db *) io, .index = index};
        REQUIRE(pthread_create(&callers[index].thread, NULL, startAndStop, &callers[index]) == 0);
    }
    for (int index = 0; index < CALLERS; index++) {
        pthread_join(callers[index].thread, NULL);
        EXPECT_CODE(callers[index].code, 0);
    }
    ioStop(io);
    EXPECT_NUMBER(deviceStatus(io).link, IO_LINK_STOPPED);
    EXPECT_CODE(ioSync(io, 0), DB_ERR_OFFLINE);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_WITHIN(PATIENCE_MS, deviceStatus(io).link != IO_LINK_STOPPED);
    claim("any thread may start and stop an agent, also at the same time");

    Caller trigger = {.db = (Db *) io};
    EXPECT_CODE(dbAddTrigger(ioGetDb(io), stopFromTrigger, NULL, &trigger, DB_ON_CHANGE), 0);
    EXPECT_CODE(create(ioGetDb(io), "Note", DB_PROPS("id", "a")), 0);
    ioClose(io);
    EXPECT_CODE(trigger.code, DB_ERR_MISUSE);
    claim("a trigger can't stop its agent");
}

/** An agent whose thread is kept in the status callback, so that a stop of it does not end. */
typedef struct Gate {
    Io *io;
    atomic_bool isKept, isOpen;
    atomic_int code;
} Gate;

static void keepAgent(void *context, Io *io, const IoStatus *status)
{
    (void) io, (void) status;
    Gate *gate = context;
    gate->isKept = true;
    while (!gate->isOpen) pause_ms(1);
}

static void *stopKept(void *argument)
{
    ioStop(((Gate *) argument)->io);
    return NULL;
}

/** Starts the agent until that fails: at first nothing stops it. */
static void startFromTrigger(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params,
                             const char *cmd, int events)
{
    (void) db, (void) model, (void) item, (void) params, (void) cmd, (void) events;
    Gate *gate = arg;
    int code = 0;
    while (code == 0 && !gate->isOpen) code = ioStart(gate->io);
    gate->code = code;
}

static void startBesideAStop(void)
{
    Gate gate = {.io = deviceOpen("kept.db", freePort(), SYNC_NEVER)};
    pthread_t stopper;
    EXPECT_CODE(ioSetStatusProc(gate.io, keepAgent, &gate), 0);
    EXPECT_CODE(dbAddTrigger(ioGetDb(gate.io), startFromTrigger, NULL, &gate, DB_ON_CHANGE), 0);
    EXPECT_CODE(ioStart(gate.io), 0);
    EXPECT_WITHIN(PATIENCE_MS, gate.isKept);
    EXPECT_CODE(create(ioGetDb(gate.io), "Note", DB_PROPS("id", "a")), 0);
    REQUIRE(pthread_create(&stopper, NULL, stopKept, &gate) == 0);
    EXPECT_WITHIN(PATIENCE_MS, gate.code != 0);
    EXPECT_CODE(gate.code, DB_ERR_OFFLINE);
    gate.isOpen = true;
    pthread_join(stopper, NULL);
    ioClose(gate.io);
    claim("a trigger that starts an agent does not wait for who stops it");
}

static void manyHandles(void)
{
    enum { MOST = 256 };
    static Db *all[MOST];
    int opened = 0;
    /* Handles are places in a table: all of them can be used, and used again. */
    for (int turn = 0; turn < 2; turn++) {
        for (opened = 0; opened < MOST; opened++) {
            all[opened] = dbOpen(scratch("read.db"), testData("schema.json5"), opened == 0 ? 0 : DB_READ_ONLY);
            if (all[opened] == NULL) break;
        }
        EXPECT_NUMBER(opened, MOST);
        EXPECT(dbOpen(scratch("read.db"), testData("schema.json5"), DB_READ_ONLY) == NULL);
        EXPECT_FAILED(DB_ERR_LIMIT);
        while (opened > 0) dbClose(all[--opened]);
    }
    claim("256 databases can be open, and one more is refused");
}

int main(void)
{
    scenarioBegin();
    closeUnderLoad();
    closeTwice();
    closeFromWithin();
    closeAgent();
    startsAndStops();
    startBesideAStop();
    manyHandles();
    return scenarioEnd();
}
