/*
    A trigger works slowly while another thread of the firmware removes it and frees what it works on. dbRemoveTrigger
    must return only when the trigger no longer runs, and it must never run again, however many changes wait for it.
 */
#include "support/check.h"

#include <pthread.h>

#define ROUNDS 20

typedef struct Work {
    pthread_mutex_t lock;
    int started;
    int ended;
    bool isFreed;
    bool wasUsedAfter;
} Work;

static void workSlowly(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params, const char *cmd,
                       int events)
{
    Work *work = arg;
    (void) db;
    (void) model;
    (void) item;
    (void) params;
    (void) cmd;
    (void) events;
    pthread_mutex_lock(&work->lock);
    work->started++;
    if (work->isFreed) work->wasUsedAfter = true;
    pthread_mutex_unlock(&work->lock);
    pause_ms(15);
    pthread_mutex_lock(&work->lock);
    work->ended++;
    if (work->isFreed) work->wasUsedAfter = true;
    pthread_mutex_unlock(&work->lock);
}

static bool hasStarted(Work *work)
{
    pthread_mutex_lock(&work->lock);
    bool result = work->started > 0;
    pthread_mutex_unlock(&work->lock);
    return result;
}

int main(void)
{
    static Work works[ROUNDS];
    scenarioBegin();
    Db *db = openScratch("removal.db", DB_DURABILITY_NORMAL);
    REQUIRE(db != NULL);
    for (int round = 0; round < ROUNDS; round++) {
        Work *work = &works[round];
        pthread_mutex_init(&work->lock, NULL);
        EXPECT_CODE(dbAddTrigger(db, workSlowly, "Note", work, DB_ON_CHANGE), 0);
        for (int index = 0; index < 5; index++) {
            EXPECT_CODE(create(db, "Note", DB_PROPS("id", format("%d-%d", round, index))), 0);
        }
        EXPECT_WITHIN(5000, hasStarted(work));
        pause_ms(round % 4 * 5);
        EXPECT_NUMBER(dbRemoveTrigger(db, workSlowly, "Note", work), 1);
        pthread_mutex_lock(&work->lock);
        EXPECT_NUMBER(work->started, work->ended);
        work->isFreed = true;
        pthread_mutex_unlock(&work->lock);
    }
    claim("dbRemoveTrigger waits for a trigger that runs on another thread");

    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "after")), 0);
    dbClose(db);
    for (int round = 0; round < ROUNDS; round++) {
        EXPECT(!works[round].wasUsedAfter);
        EXPECT(works[round].started >= 1 && works[round].started <= 5);
        pthread_mutex_destroy(&works[round].lock);
    }
    claim("a removed trigger is never called again, though changes waited for it");
    return scenarioEnd();
}
