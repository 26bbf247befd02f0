/*
    Six threads of a firmware work on one database at the same time: two write items of their own and one that they
    share, one reads all of them again and again, one adds and removes triggers, and two save, check, tidy and configure the
    whole of it. No call may fail, no snapshot may be half of a change, and at the end every item must hold what its writer
    wrote last.
 */
#include "support/check.h"

#include <pthread.h>

#define ROUNDS 300
#define ITEMS 10

typedef struct Worker {
    Db *db;
    pthread_t thread;
    char name;
    int failures;
    int fired;
} Worker;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool isOver;

static bool goesOn(void)
{
    pthread_mutex_lock(&lock);
    bool result = !isOver;
    pthread_mutex_unlock(&lock);
    return result;
}

static void *writeItems(void *argument)
{
    Worker *worker = argument;
    for (int round = 0; round < ROUNDS; round++) {
        char id[16], number[16], text[64];
        snprintf(id, sizeof id, "%c%d", worker->name, round % ITEMS);
        snprintf(number, sizeof number, "%d", round);
        snprintf(text, sizeof text, "round %d", round);
        if (dbSet(worker->db, "Note", DB_PROPS("id", id, "count", number, "text", text), NULL) != 0) worker->failures++;
        if (dbSet(worker->db, "Note", DB_PROPS("id", "shared", "count", number, "text", text), NULL) != 0) {
            worker->failures++;
        }
        snprintf(id, sizeof id, "gone-%c", worker->name);
        if (round % 3 == 0 && create(worker->db, "Local", DB_PROPS("id", id)) != 0) worker->failures++;
        if (round % 3 == 2 && dbRemove(worker->db, "Local", DB_PROPS("id", id), NULL) != 1) worker->failures++;
    }
    return NULL;
}

static void *readItems(void *argument)
{
    Worker *worker = argument;
    while (goesOn()) {
        DbList *list = dbFind(worker->db, "Note", NULL, NULL);
        const DbItem *item;
        size_t index;
        if (list == NULL) worker->failures++;
        for (DB_ITERATE(list, item, index)) {
            char expected[64];
            snprintf(expected, sizeof expected, "round %lld", (long long) dbFieldNumber(item, "count", -1));
            const char *text = dbField(item, "text");
            if (text == NULL || strcmp(text, expected) != 0) worker->failures++;
        }
        dbFreeList(list);
    }
    return NULL;
}

static void onChange(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params, const char *cmd,
                     int events)
{
    Worker *worker = arg;
    (void) db;
    (void) model;
    (void) item;
    (void) params;
    (void) cmd;
    (void) events;
    pthread_mutex_lock(&lock);
    worker->fired++;
    pthread_mutex_unlock(&lock);
}

static void *changeTriggers(void *argument)
{
    Worker *worker = argument;
    while (goesOn()) {
        if (dbAddTrigger(worker->db, onChange, "Note", worker, DB_ON_CHANGE) != 0) worker->failures++;
        pause_ms(1);
        if (dbRemoveTrigger(worker->db, onChange, "Note", worker) != 1) worker->failures++;
    }
    return NULL;
}

static bool countPending(void *context, const DbPending *change)
{
    return change->size == sizeof *change && ++*(int *) context < 5;
}

/** One of the calls that are about more than an item; whether it went well. */
static bool callAnother(Worker *worker, int turn)
{
    Db *db = worker->db;
    DbStats stats = {.size = sizeof stats};
    DbLimits limits = {.size = sizeof limits, .outboxItems = 100000 + turn, .cacheBytes = turn % 2 == 0 ? 0 : 1024 * 1024};
    int pending = 0;
    switch (turn % 14) {
    case 0: return dbSave(db, scratch(format("backup-%c.db", worker->name))) == 0;
    case 1: return dbVacuum(db) >= 0;
    case 2: return dbCheck(db, NULL, NULL) == 0;
    case 3: return dbLoadData(db, scratch("load.json5")) == 0;
    case 4: return dbRemoveExpired(db, true) == 0;
    case 5: return dbGetStats(db, &stats) == 0 && stats.commits > 0;
    case 6: return dbSetLimits(db, &limits) == 0;
    case 7: return dbEachPending(db, countPending, &pending) == pending;
    case 8: return dbEachRejected(db, countPending, &pending) == 0;
    case 9: return dbAddContext(db, "accountId", "a1") == 0;
    case 10: return dbCount(db, "Note", NULL, DB_PARAMS(.filter = "${count} >= {0}")) >= 0;
    case 11: return dbBegin(db) == 0 && dbSetNum(db, "Gauge", "level", turn, DB_PROPS("id", "g"), NULL) == 0 && dbCommit(db) == 0;
    case 12: return dbBegin(db) == 0 && dbRemove(db, "Gauge", NULL, DB_PARAMS(.many = true)) == 1 && dbRollback(db) == 0;
    default: return dbGetModel(db, "Note") != NULL && dbGetNum(db, "Gauge", "level", DB_PROPS("id", "g"), -1) >= 0;
    }
}

static void *callOthers(void *argument)
{
    Worker *worker = argument;
    // Each call, whatever the others have come to by then.
    for (int turn = 0; turn < 28 || goesOn(); turn++) {
        worker->fired++;
        if (callAnother(worker, turn + worker->name)) continue;
        note("call %d: %s", (turn + worker->name) % 14, dbGetError(worker->db));
        worker->failures++;
    }
    return NULL;
}

#define WORKERS 6

int main(void)
{
    scenarioBegin();
    Db *db = openScratch("threads.db", DB_DURABILITY_NORMAL);
    REQUIRE(db != NULL);
    writeFile(scratch("load.json5"), "{Gauge: {id: 'g', label: 'loaded', level: 1}}");
    EXPECT_CODE(dbLoadData(db, scratch("load.json5")), 0);
    Worker workers[WORKERS] = {{.db = db, .name = 'a'}, {.db = db, .name = 'b'}, {.db = db, .name = 'r'}, {.db = db, .name = 't'},
                               {.db = db, .name = 'x'}, {.db = db, .name = 'z'}};
    void *(*const works[WORKERS])(void *) = {writeItems, writeItems, readItems, changeTriggers, callOthers, callOthers};
    for (int index = 0; index < WORKERS; index++) {
        REQUIRE(pthread_create(&workers[index].thread, NULL, works[index], &workers[index]) == 0);
    }
    pthread_join(workers[0].thread, NULL);
    pthread_join(workers[1].thread, NULL);
    pthread_mutex_lock(&lock);
    isOver = true;
    pthread_mutex_unlock(&lock);
    for (int index = 2; index < WORKERS; index++) pthread_join(workers[index].thread, NULL);

    EXPECT_NUMBER(workers[0].failures, 0);
    EXPECT_NUMBER(workers[1].failures, 0);
    claim("two threads write, and no call fails");
    EXPECT_NUMBER(workers[2].failures, 0);
    claim("a third reads, and no snapshot is half of a change");
    EXPECT_NUMBER(workers[3].failures, 0);
    EXPECT(workers[3].fired > 0);
    claim("a fourth adds and removes triggers, which fire while they are there");

    EXPECT_NUMBER(workers[4].failures + workers[5].failures, 0);
    note("%d and %d calls beside", workers[4].fired, workers[5].fired);
    claim("two more save, check, tidy and configure the database meanwhile");

    EXPECT_NUMBER(count(db, "Note", NULL), 2 * ITEMS + 1);
    EXPECT_NUMBER(count(db, "Local", NULL), 0);
    for (int index = 0; index < 2 * ITEMS; index++) {
        const char *id = format("%c%d", index < ITEMS ? 'a' : 'b', index % ITEMS);
        EXPECT_NUMBER(dbGetNum(db, "Note", "count", DB_PROPS("id", id), -1), ROUNDS - ITEMS + index % ITEMS);
    }
    EXPECT_NUMBER(dbGetNum(db, "Note", "count", DB_PROPS("id", "shared"), -1), ROUNDS - 1);
    claim("at the end every item holds what was written last");
    dbClose(db);
    return scenarioEnd();
}
