/*
    Sessions end by themselves: from the moment they expire no call shows them, soon after they are gone from the file, and a
    trigger has heard of each.
 */
#include "support/check.h"

#include <pthread.h>
#include <time.h>

typedef struct Heard {
    pthread_mutex_t lock;
    int expired, others;
    char last[32];
} Heard;

static void hear(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params, const char *cmd, int events)
{
    Heard *heard = arg;
    (void) db, (void) model, (void) params;
    pthread_mutex_lock(&heard->lock);
    if (events == (DB_ON_EXPIRED | DB_ON_CHANGE | DB_ON_COMMIT) && strcmp(cmd, "remove") == 0) {
        heard->expired++;
        snprintf(heard->last, sizeof heard->last, "%s", dbField(item, "id"));
    } else {
        heard->others++;
    }
    pthread_mutex_unlock(&heard->lock);
}

static int expired(Heard *heard)
{
    pthread_mutex_lock(&heard->lock);
    int result = heard->expired;
    pthread_mutex_unlock(&heard->lock);
    return result;
}

static Db *openSessions(int flags)
{
    Db *db = dbOpen(scratch("expiry.db"), testData("indexes.json5"), flags);
    if (db != NULL) dbAddContext(db, "deviceId", "d1");
    return db;
}

static int session(Db *db, const char *id, int64_t expires_ms)
{
    return create(db, "Session", DB_PROPS("id", id, "user", "u", "expires", format("%lld", (long long) expires_ms)));
}

int main(void)
{
    scenarioBegin();
    Heard heard = {.lock = PTHREAD_MUTEX_INITIALIZER};
    Db *db = openSessions(DB_DURABILITY_NORMAL);
    REQUIRE(db != NULL);
    EXPECT_CODE(dbAddTrigger(db, hear, "Session", &heard, DB_ON_EXPIRED), 0);

    int64_t now_ms = wall_ms();
    EXPECT_CODE(session(db, "soon", now_ms + 3000), 0);
    EXPECT_CODE(session(db, "later", now_ms + 3600000), 0);
    EXPECT(exists(db, "Session", DB_PROPS("id", "soon")));
    EXPECT_NUMBER(dbCount(db, "Session", NULL, NULL), 2);
    DbItem *item = dbGet(db, "Session", DB_PROPS("id", "soon"), NULL);
    int64_t expires_ms = dbFieldNumber(item, "expires", 0) * 1000;
    EXPECT(expires_ms >= now_ms + 3000 && expires_ms < now_ms + 4000);
    dbFreeItem(item);
    claim("an item is there until its time is over");

    while (wall_ms() < expires_ms) pause_ms(10);
    EXPECT(!exists(db, "Session", DB_PROPS("id", "soon")));
    EXPECT_NUMBER(dbCount(db, "Session", NULL, NULL), 1);
    EXPECT_NUMBER(dbCount(db, "Session", NULL, DB_PARAMS(.filter = "${user} = {u}")), 1);
    EXPECT_CODE(update(db, "Session", DB_PROPS("id", "soon", "user", "v")), DB_ERR_NOT_FOUND);
    EXPECT_NUMBER(dbRemove(db, "Session", DB_PROPS("id", "soon"), NULL), 0);
    claim("from then on no call shows it");

    EXPECT_WITHIN(10000, expired(&heard) == 1);
    EXPECT_TEXT(heard.last, "soon");
    claim("it is removed, and the trigger told, without a call");

    EXPECT_CODE(session(db, "past", now_ms - 5000), 0);
    EXPECT(!exists(db, "Session", DB_PROPS("id", "past")));
    EXPECT_CODE(session(db, "past", now_ms + 3600000), 0);
    EXPECT(exists(db, "Session", DB_PROPS("id", "past")));
    EXPECT_WITHIN(10000, expired(&heard) == 2);
    claim("an expired item gives way to a new one of its key");

    dbRemoveTrigger(db, hear, "Session", &heard);
    EXPECT_CODE(dbBegin(db), 0);
    for (int index = 0; index < 500; index++) EXPECT_CODE(session(db, format("n%d", index), wall_ms() - 1000), 0);
    EXPECT_CODE(dbCommit(db), 0);
    int removed = dbRemoveExpired(db, false);
    EXPECT(removed >= 0 && removed <= 500);
    EXPECT_NUMBER(dbRemoveExpired(db, true), 0);
    EXPECT_NUMBER(dbCount(db, "Session", NULL, NULL), 2);
    claim("dbRemoveExpired leaves no expired item");
    dbClose(db);

    db = openSessions(DB_READ_ONLY);
    REQUIRE(db != NULL);
    EXPECT_CODE(dbRemoveExpired(db, false), DB_ERR_READ_ONLY);
    EXPECT_CODE(dbRemoveExpired(NULL, false), DB_ERR_MISUSE);
    EXPECT_NUMBER(dbCount(db, "Session", NULL, NULL), 2);
    claim("a database that is only read removes nothing");

    dbClose(db);
    return scenarioEnd();
}
