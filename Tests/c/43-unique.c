/*
    No two ports have one MAC address, and no two of a board one slot: whoever comes second is told which field it is, also
    when many threads try at once.
 */
#include "support/check.h"

#include <pthread.h>

#define THREADS 8
#define ROUNDS 50

typedef struct Racer {
    Db *db;
    int number, won, lost, failed;
} Racer;

static void *race(void *argument)
{
    Racer *racer = argument;
    for (int round = 0; round < ROUNDS; round++) {
        char id[32], mac[32];
        snprintf(id, sizeof id, "r%d-%d", racer->number, round);
        snprintf(mac, sizeof mac, "race%d", round);
        int code = create(racer->db, "Port", DB_PROPS("id", id, "mac", mac));
        if (code == 0) {
            racer->won++;
        } else if (code == DB_ERR_EXISTS) {
            racer->lost++;
        } else {
            racer->failed++;
        }
    }
    return NULL;
}

int main(void)
{
    scenarioBegin();
    Db *db = dbOpen(scratch("unique.db"), testData("indexes.json5"), DB_DURABILITY_NORMAL);
    REQUIRE(db != NULL);
    dbAddContext(db, "deviceId", "d1");

    EXPECT_CODE(create(db, "Port", DB_PROPS("id", "1", "mac", "aa")), 0);
    EXPECT_CODE(create(db, "Port", DB_PROPS("id", "2", "mac", "aa")), DB_ERR_EXISTS);
    EXPECT_ERROR_NAMES("mac");
    EXPECT(!exists(db, "Port", DB_PROPS("id", "2")));
    EXPECT_CODE(create(db, "Port", DB_PROPS("id", "2", "mac", "bb")), 0);
    EXPECT_CODE(update(db, "Port", DB_PROPS("id", "2", "mac", "aa")), DB_ERR_EXISTS);
    EXPECT_CODE(dbSetField(db, "Port", "mac", "aa", DB_PROPS("id", "2"), NULL), DB_ERR_EXISTS);
    EXPECT_CODE(update(db, "Port", DB_PROPS("id", "1", "mac", "aa")), 0);
    EXPECT_CODE(create(db, "Port", DB_PROPS("id", "3")), 0);
    EXPECT_CODE(create(db, "Port", DB_PROPS("id", "4")), 0);
    claim("a unique value is taken by one item, and by none when there is no value");

    EXPECT_NUMBER(dbRemove(db, "Port", DB_PROPS("id", "1"), NULL), 1);
    EXPECT_CODE(update(db, "Port", DB_PROPS("id", "2", "mac", "aa")), 0);
    EXPECT_CODE(create(db, "Port", DB_PROPS("id", "5", "mac", "bb")), 0);
    claim("a removal, and a change, give a value free");

    EXPECT_CODE(create(db, "Port", DB_PROPS("id", "6", "board", "x", "slot", "1")), 0);
    EXPECT_CODE(create(db, "Port", DB_PROPS("id", "7", "board", "y", "slot", "1")), 0);
    EXPECT_CODE(create(db, "Port", DB_PROPS("id", "8", "board", "x", "slot", "1")), DB_ERR_EXISTS);
    EXPECT_ERROR_NAMES("slot");
    EXPECT_CODE(update(db, "Port", DB_PROPS("id", "7", "board", "x")), DB_ERR_EXISTS);
    claim("a value is unique within its scope");

    EXPECT_CODE(dbBegin(db), 0);
    EXPECT_CODE(create(db, "Port", DB_PROPS("id", "9", "mac", "cc")), 0);
    EXPECT_CODE(create(db, "Port", DB_PROPS("id", "10", "mac", "cc")), DB_ERR_EXISTS);
    EXPECT_CODE(dbCommit(db), 0);
    EXPECT(exists(db, "Port", DB_PROPS("id", "9")));
    EXPECT(!exists(db, "Port", DB_PROPS("id", "10")));
    claim("a value that is refused leaves the transaction as it was");

    pthread_t threads[THREADS];
    Racer racers[THREADS];
    for (int index = 0; index < THREADS; index++) {
        racers[index] = (Racer){.db = db, .number = index};
        REQUIRE(pthread_create(&threads[index], NULL, race, &racers[index]) == 0);
    }
    int won = 0, lost = 0, failed = 0;
    for (int index = 0; index < THREADS; index++) {
        pthread_join(threads[index], NULL);
        won += racers[index].won;
        lost += racers[index].lost;
        failed += racers[index].failed;
    }
    EXPECT_NUMBER(won, ROUNDS);
    EXPECT_NUMBER(lost, ROUNDS * (THREADS - 1));
    EXPECT_NUMBER(failed, 0);
    claim("of many threads that want one value one gets it");

    dbClose(db);
    return scenarioEnd();
}
