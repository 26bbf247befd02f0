/*
    A device whose flash takes long to make a change durable: this program's own fdatasync and fsync are what SQLite calls, and
    they end when they are told to. While one thread waits for that, others read: by key, by an index and by a scan. All of
    them end before the flash does.
 */
#define _DEFAULT_SOURCE
#include "support/check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

/** The flash goes on by itself after this: a reader that waits for it must not wait for ever. */
#define SYNC_MS_MAX 10000

static atomic_bool isSlow;
static atomic_int waiting;
static atomic_int overdue;

static int synchronize(long call, int file)
{
    if (atomic_load(&isSlow)) {
        atomic_fetch_add(&waiting, 1);
        int64_t end_ms = clock_ms() + SYNC_MS_MAX;
        while (atomic_load(&isSlow) && clock_ms() < end_ms) pause_ms(5);
        if (atomic_load(&isSlow)) atomic_fetch_add(&overdue, 1);
        atomic_fetch_sub(&waiting, 1);
    }
    return (int) syscall(call, file);
}

int fdatasync(int file) { return synchronize(SYS_fdatasync, file); }
int fsync(int file) { return synchronize(SYS_fsync, file); }

static void *writeOnce(void *argument)
{
    int code = dbSet(argument, "Fault", DB_PROPS("id", "a", "severity", "low"), NULL);
    return code == 0 ? argument : NULL;
}

int main(void)
{
    scenarioBegin();
    Db *db = dbOpen(scratch("slow.db"), testData("indexes.json5"), 0);
    REQUIRE(db != NULL && dbAddContext(db, "deviceId", "d1") == 0);
    for (int index = 0; index < 50; index++) {
        EXPECT_CODE(create(db, "Fault", DB_PROPS("id", index == 0 ? "a" : format("b%d", index), "severity", "high", "at", "2026-11-01")), 0);
    }
    for (int round = 0; round < 3; round++) {
        pthread_t writer;
        void *result = NULL;
        atomic_store(&isSlow, true);
        REQUIRE(pthread_create(&writer, NULL, writeOnce, db) == 0);
        EXPECT_WITHIN(5000, atomic_load(&waiting) > 0);
        EXPECT(exists(db, "Fault", DB_PROPS("id", "a")));
        EXPECT(exists(db, "Fault", DB_PROPS("id", "b1")));
        EXPECT(dbCount(db, "Fault", DB_PROPS("severity", "high"), DB_PARAMS(.index = "gs1")) >= 49);
        EXPECT_NUMBER(dbCount(db, "Fault", NULL, DB_PARAMS(.filter = "begins_with(${id}, {b})")), 49);
        EXPECT(atomic_load(&waiting) > 0 && atomic_load(&overdue) == 0);
        atomic_store(&isSlow, false);
        pthread_join(writer, &result);
        EXPECT(result == db);
    }
    claim("readers do not wait for a writer's sync");
    dbClose(db);
    return scenarioEnd();
}
