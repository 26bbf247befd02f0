/*
    The same work again and again, each time with another of SQLite's writes and syncs failing: the first, the second, and so
    on to the last; once, and from there on; broken, torn, full. A call that returned success must hold, in the handle and
    after the next opening; one that failed must be whole or absent; an item that has changed must wait for the cloud; and the
    file must be sound. Then an agent works with the cloud while its disk fails every other moment, and both must agree in
    the end, each change applied.
 */
#include "support/device.h"
#include "support/disk.h"
#include "support/toil.h"

#define NOTES 6
#define ABSENT (-1)

#define FAILED_MAX 8

/** What a note may hold: the last count that was stored for sure, or that of a call that failed after it: a commit whose sync
 *  failed may stand in the log all the same, and be found by the next opening. */
typedef struct Note {
    int sure, failed[FAILED_MAX], failedCount;
} Note;

static Note notes[NOTES];
static int failedCalls;

static int held(Db *db, int id)
{
    DbItem *item = dbGet(db, "Note", DB_PROPS("id", format("n%d", id)), NULL);
    int count = item != NULL ? (int) dbFieldNumber(item, "count", ABSENT) : ABSENT;
    if (item == NULL && dbGetErrorCode() != DB_ERR_NOT_FOUND) count = -2;
    dbFreeItem(item);
    return count;
}

static void took(int id, int count, int code)
{
    if (code >= 0) {
        notes[id] = (Note){.sure = count};
    } else if (code != DB_ERR_NOT_FOUND) {
        failedCalls++;
        REQUIRE(notes[id].failedCount < FAILED_MAX);
        notes[id].failed[notes[id].failedCount++] = count;
        EXPECT(code == DB_ERR_IO || code == DB_ERR_FULL);
    }
}

static void set(Db *db, int id, int count)
{
    took(id, count, dbSet(db, "Note", DB_PROPS("id", format("n%d", id), "count", format("%d", count)), NULL));
}

static void unset(Db *db, int id)
{
    int code = dbRemove(db, "Note", DB_PROPS("id", format("n%d", id)), NULL);
    if (code != 0) took(id, ABSENT, code); // Nothing was removed when there was nothing
}

/** Two notes or none. */
static void setTwo(Db *db, int id, int other, int count)
{
    int code = dbBegin(db);
    for (int turn = 0; turn < 2 && code >= 0; turn++) {
        code = dbSet(db, "Note", DB_PROPS("id", format("n%d", turn == 0 ? id : other), "count", format("%d", count)), NULL);
    }
    if (code >= 0) {
        code = dbCommit(db);
    } else {
        dbRollback(db);
    }
    took(id, count, code);
    took(other, count, code);
}

static void work(const char *path)
{
    Db *db = openScratch(path, 0);
    if (db == NULL) {
        failedCalls++;
        return;
    }
    for (int id = 0; id < NOTES; id++) set(db, id, 10 + id);
    set(db, 0, 20);
    unset(db, 1);
    setTwo(db, 2, 3, 30);
    unset(db, 2);
    set(db, 1, 40);
    setTwo(db, 4, 5, 50);
    // A large one, of overflow pages.
    char *text = repeat('x', 20000);
    int code = dbSet(db, "Note", DB_PROPS("id", "n5", "count", "60", "text", text), NULL);
    took(5, 60, code);
    free(text);
    for (int id = 0; id < NOTES; id++) {
        int count = held(db, id);
        if (!EXPECT(count == notes[id].sure)) note("the handle: n%d has %d, not %d", id, count, notes[id].sure);
    }
    dbClose(db);
}

static bool onPending(void *context, const DbPending *change)
{
    bool *isPending = context;
    const char *id = dbField(change->item, "id");
    if (id != NULL && id[0] == 'n') isPending[atoi(id + 1) % NOTES] = true;
    return true;
}

static void reset(const char *path)
{
    remove(scratch(path));
    remove(scratch(format("%s-wal", path)));
    remove(scratch(format("%s-shm", path)));
    for (int id = 0; id < NOTES; id++) notes[id] = (Note){.sure = ABSENT};
    failedCalls = 0;
}

static void checkAfter(const char *path)
{
    bool isPending[NOTES] = {false};
    Db *db = openScratch(path, 0);
    if (!EXPECT(db != NULL)) return;
    for (int id = 0; id < NOTES; id++) {
        int count = held(db, id);
        bool isAllowed = count == notes[id].sure;
        for (int index = 0; index < notes[id].failedCount; index++) isAllowed = isAllowed || count == notes[id].failed[index];
        if (!EXPECT(isAllowed)) note("the file: n%d has %d, for sure was %d", id, count, notes[id].sure);
    }
    // Both of a transaction, or neither.
    EXPECT((held(db, 4) == 50) == (held(db, 5) == 50) || held(db, 5) == 60);
    EXPECT(dbEachPending(db, onPending, isPending) >= 0);
    for (int id = 0; id < NOTES; id++) EXPECT(held(db, id) == ABSENT || isPending[id]);
    EXPECT_NUMBER(dbCheck(db, NULL, NULL), 0);
    EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", "n0", "count", "99"), NULL), 0);
    EXPECT_NUMBER(held(db, 0), 99);
    dbClose(db);
}

static void failEach(DiskFault fault, int count, const char *name)
{
    int seen = 0, unseen = 0;
    reset("faults.db");
    diskFail(0, 0, fault);
    work("faults.db");
    int total = diskCalls();
    EXPECT_NUMBER(failedCalls, 0);
    checkAfter("faults.db");
    for (int index = 1; index <= total; index++) {
        reset("faults.db");
        diskFail(index, count, fault);
        work("faults.db");
        bool isHit = diskFailures() > 0;
        diskFail(0, 0, fault);
        if (isHit && failedCalls > 0) seen++;
        if (isHit && failedCalls == 0) unseen++;
        checkAfter("faults.db");
    }
    note("%s: %d writes and syncs; %d failures were told, %d needed not be", name, total, seen, unseen);
    EXPECT(seen > 0);
    claim("each write and sync in turn, %s: nothing is lost, halved or damaged", name);
}

static void failWhileReplicating(void)
{
    Services services = servicesStart();
    Io *io = deviceStart("replica.db", services.broker.port, SYNC_SOON);
    Db *db = ioGetDb(io);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    int failed = 0, counts[NOTES] = {0};
    for (int round = 0; round < 60; round++) {
        static const DiskFault faults[] = {DISK_BROKEN, DISK_TORN, DISK_FULL};
        diskFail(1 + (int) randomBelow(12), 1 + (int) randomBelow(6), faults[randomBelow(3)]);
        if (round % 10 == 5) {
            EXPECT(cloudPut("Setting", format("{\"id\":\"s%d\",\"deviceId\":\"d1\",\"value\":\"%d\"}", round % 3, round)));
        }
        for (int turn = 0; turn < 10; turn++) {
            int id = (int) randomBelow(NOTES);
            int code = dbSet(db, "Note", DB_PROPS("id", format("n%d", id), "count", format("%d", round * 10 + turn)), NULL);
            if (code < 0) failed++;
            if (code >= 0) counts[id] = round * 10 + turn;
            pause_ms(5);
        }
    }
    diskFail(0, 0, DISK_BROKEN);
    note("%d of 600 calls failed", failed);
    EXPECT(failed > 10 && failed < 590);
    EXPECT_CODE(ioSync(io, 3 * PATIENCE_MS), 0);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    EXPECT_NUMBER(deviceStatus(io).rejectedItems, 0);
    EXPECT_NUMBER(dbCheck(db, NULL, NULL), 0);
    for (int id = 0; id < NOTES; id++) {
        if (counts[id] > 0) EXPECT_NUMBER(held(db, id), counts[id]);
    }
    EXPECT(cloudAgrees(db, "Note"));
    EXPECT_WITHIN(PATIENCE_MS, cloudAgrees(db, "Setting"));
    claim("an agent whose disk fails at random moments agrees with the cloud in the end");
    ioClose(io);
    servicesStop(&services);
}

int main(void)
{
    scenarioBegin();
    scenarioSeconds(800);
    scenarioSeed();
    diskInstall();
    scenarioLog(IO_LOG_ERROR); // Warnings are what is planted here
    failEach(DISK_BROKEN, 1, "broken once");
    failEach(DISK_BROKEN, -1, "broken from there on");
    failEach(DISK_TORN, 1, "torn once");
    failEach(DISK_FULL, 1, "full once");
    failEach(DISK_FULL, -1, "full from there on");
    failWhileReplicating();
    return scenarioEnd();
}
