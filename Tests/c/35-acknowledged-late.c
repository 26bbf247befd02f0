/*
    A firmware sends its changes one by one, each acknowledged before the next. An acknowledgement has no commit and no wait for the
    disk of its own: it is stored with the next change, or a moment later. Whatever asks meanwhile is told that nothing waits; a firmware
    that dies in that moment sends the change again, which the cloud knows; one that stops has it stored.
 */
#include "support/device.h"

#include <signal.h>
#include <sqlite3.h>

#define CHANGES 40

/** What the file itself has in the outbox, as another process sees it. */
static int rowsThatWait(void)
{
    sqlite3 *raw = NULL;
    sqlite3_stmt *statement = NULL;
    int count = -1;
    EXPECT_NUMBER(sqlite3_open_v2(scratch("late.db"), &raw, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    sqlite3_busy_timeout(raw, 5000);
    if (sqlite3_prepare_v2(raw, "SELECT count(*) FROM outbox", -1, &statement, NULL) == SQLITE_OK) {
        if (sqlite3_step(statement) == SQLITE_ROW) count = sqlite3_column_int(statement, 0);
    }
    sqlite3_finalize(statement);
    sqlite3_close(raw);
    return count;
}

static bool isEmptied(void) { return rowsThatWait() == 0; }

static DbStats statsOf(Db *db)
{
    DbStats stats = {.size = sizeof stats};
    EXPECT_CODE(dbGetStats(db, &stats), 0);
    return stats;
}

/** Make the change that has this text, and see it acknowledged. */
static int sendOne(Io *io, const char *id, const char *text)
{
    int code = dbSet(ioGetDb(io), "Note", DB_PROPS("id", id, "text", text), NULL);
    return code < 0 ? code : ioSyncUp(io, PATIENCE_MS);
}

/** Sends one change, and dies on the spot when it is acknowledged, the last of the process's own acts. */
static int firmware(char **argv)
{
    childBegin(argv);
    Io *io = deviceStart("late.db", atoi(argv[3]), SYNC_SOON);
    if (ioSync(io, PATIENCE_MS) != 0 || sendOne(io, "fatal", argv[4]) != 0) return 1;
    raise(SIGKILL);
    return 1;
}

static void costsNoCommit(Io *io)
{
    DbStats before = statsOf(ioGetDb(io));
    int waiting = 0;
    for (int index = 0; index < CHANGES; index++) {
        EXPECT_CODE(sendOne(io, "often", format("text %d", index)), 0);
        waiting += deviceStatus(io).pendingItems != 0;
        IoDigest digest = {.size = sizeof digest};
        waiting += ioDigest(ioGetDb(io), "device/d1", &digest, NULL, NULL) != 0 || digest.pendingItems != 0;
    }
    EXPECT_NUMBER(waiting, 0);
    DbStats after = statsOf(ioGetDb(io));
    EXPECT_NUMBER(after.outboxItems, 0);
    note("%d changes: %lld commits, %lld calls of fsync", CHANGES, (long long) (after.commits - before.commits),
         (long long) (after.fsyncs - before.fsyncs));
    // A machine that stands still for a moment has some of them stored by themselves.
    EXPECT(after.commits - before.commits < CHANGES + CHANGES / 2);
    EXPECT(after.fsyncs - before.fsyncs < CHANGES + CHANGES / 2 + 4);
    claim("an acknowledgement that comes alone has no commit of its own, and what asks is told that nothing waits");

    EXPECT_WITHIN(PATIENCE_MS, isEmptied());
    claim("a moment later the file says so as well");
}

static void stopStoresIt(Io *io)
{
    for (int round = 0; round < 5; round++) {
        EXPECT_CODE(sendOne(io, "stopped", format("round %d", round)), 0);
        ioStop(io);
        EXPECT_NUMBER(rowsThatWait(), 0);
        EXPECT_CODE(ioStart(io), 0);
        EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    }
    claim("and when the agent stops at once");
}

static void transactionHoldsNothingUp(Io *io)
{
    Db *db = ioGetDb(io);
    EXPECT_CODE(sendOne(io, "held", "sent"), 0);
    EXPECT_CODE(dbBegin(db), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "rolled", "text", "back")), 0);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 1);
    pause_ms(300);
    EXPECT_CODE(dbRollback(db), 0);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    EXPECT_WITHIN(PATIENCE_MS, isEmptied());
    claim("a transaction that is rolled back takes nothing with it");
}

static void deathSendsItAgain(int port, Spy *spy)
{
    for (int round = 0; round < 5; round++) {
        const char *text = format("fatal-%d.", round);
        Child child = childStartSelf("die", (const char *[]){format("%d", port), text, NULL});
        char line[256];
        while (childLine(&child, line, sizeof line)) note("child: %s", line);
        EXPECT(childWait(&child) != 0);
        childCloseOutput(&child);
        EXPECT(cloudFieldIs("Note", "fatal", "text", text));
    }
    Io *io = deviceOpen("late.db", port, SYNC_SOON);
    Witness *witness = witnessAdd(ioGetDb(io), "Note", DB_ON_CHANGE);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    EXPECT_NUMBER(deviceStatus(io).conflicts, 0);
    EXPECT_NUMBER(witnessCount(witness, NULL, "Note", NULL, -1), 0);
    int sendings = 0;
    for (int round = 0; round < 5; round++) {
        int count = spyCount(spy, "syncToDynamo", format("fatal-%d.", round));
        EXPECT(count == 1 || count == 2);
        sendings += count;
    }
    EXPECT(sendings > 5);
    EXPECT(cloudAgrees(ioGetDb(io), "Note"));
    claim("a firmware that dies in between sends the change once more, and nobody is told of it twice");
    ioClose(io);
    EXPECT_NUMBER(rowsThatWait(), 0);
    witnessFree(witness);
}

int main(int argc, char **argv)
{
    if (argc > 4) return firmware(argv);
    scenarioBegin();
    Broker broker = brokerMake();
    Cloud cloud = cloudMake(broker.port);
    brokerStart(&broker);
    cloudStart(&cloud);
    Spy *spy = spyStart(broker.port);
    Io *io = deviceStart("late.db", broker.port, SYNC_SOON);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    costsNoCommit(io);
    stopStoresIt(io);
    transactionHoldsNothingUp(io);
    ioClose(io);
    deathSendsItAgain(broker.port, spy);
    spyStop(spy);
    cloudStop(&cloud);
    brokerStop(&broker);
    return scenarioEnd();
}
