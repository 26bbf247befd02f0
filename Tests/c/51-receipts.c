/*
    A firmware asks of each change what has become of it: it is stored, on its way, durable in the cloud, refused with code and
    reason, or overtaken by the cloud. The answer outlives the process, and is never given too early: while the cloud is
    stopped, nothing is durable. What is refused keeps nothing else waiting, is heard of by a trigger, and can be listed, sent
    again, changed and forgotten, by calls and by iotodb.
 */
#include "support/device.h"
#include "support/tool.h"

#include <stdatomic.h>

static int state(Io *io, int64_t receipt)
{
    IoReceipt out = {.size = sizeof out};
    int code = ioGetReceipt(io, receipt, &out);
    return code < 0 ? code : (int) out.state;
}

static void ofWhatArrives(Io *io, Cloud *cloud)
{
    Db *db = ioGetDb(io);
    int64_t receipt = -1;
    cloudPause(cloud);
    DbItem *item = dbCreate(db, "Note", DB_PROPS("id", "a", "text", "one"), DB_PARAMS(.receipt = &receipt));
    EXPECT(item != NULL);
    dbFreeItem(item);
    EXPECT(receipt > 0);
    EXPECT_NUMBER(state(io, receipt), IO_RECEIPT_STORED);
    EXPECT_CODE(ioWaitReceipt(io, receipt, 300), DB_ERR_TIMEOUT);
    EXPECT_WITHIN(PATIENCE_MS, state(io, receipt) == IO_RECEIPT_SENT);
    claim("a receipt says stored, then sent, and not durable before the cloud has it");

    cloudResume(cloud);
    EXPECT_CODE(ioWaitReceipt(io, receipt, PATIENCE_MS), 0);
    EXPECT_NUMBER(state(io, receipt), IO_RECEIPT_DURABLE);
    EXPECT(cloudFieldIs("Note", "a", "text", "one"));
    claim("durable means that the cloud has it");

    int64_t update = 0, removal = 0, local = -1, failure = -1;
    item = dbUpdate(db, "Note", DB_PROPS("id", "a", "text", "two"), DB_PARAMS(.receipt = &update));
    dbFreeItem(item);
    EXPECT_NUMBER(dbRemove(db, "Note", DB_PROPS("id", "a"), DB_PARAMS(.receipt = &removal)), 1);
    EXPECT_CODE(ioWaitReceipt(io, removal, PATIENCE_MS), 0);
    EXPECT_CODE(ioWaitReceipt(io, update, PATIENCE_MS), 0);
    EXPECT(!cloudHas("Note", "a"));
    EXPECT_CODE(dbSet(db, "Local", DB_PROPS("id", "a"), DB_PARAMS(.receipt = &local)), 0);
    EXPECT_NUMBER(local, 0);
    EXPECT(dbCreate(db, "Nothing", DB_PROPS("id", "a"), DB_PARAMS(.receipt = &failure)) == NULL);
    EXPECT_NUMBER(state(io, 0), DB_ERR_NOT_FOUND);
    EXPECT_NUMBER(state(io, 12345), DB_ERR_NOT_FOUND);
    EXPECT_CODE(ioWaitReceipt(io, 12345, 10), DB_ERR_NOT_FOUND);
    claim("updates and removals have receipts, and what does not go to the cloud has none");
}

/** Counted when the reason is there. */
static atomic_int refusals;
static char reason[160], command[16];

static void onRejected(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params, const char *cmd,
                       int events)
{
    (void) arg, (void) db, (void) model, (void) params, (void) events;
    snprintf(command, sizeof command, "%s", cmd);
    snprintf(reason, sizeof reason, "%s", dbTriggerReason(item));
    refusals++;
}

typedef struct Letters {
    int count;
    int64_t last;
    char text[64], reason[160];
    int code;
} Letters;

static bool readLetter(void *context, const DbPending *change)
{
    Letters *letters = context;
    letters->count++;
    letters->last = change->id;
    letters->code = change->code;
    snprintf(letters->text, sizeof letters->text, "%s", dbField(change->item, "value") != NULL ? dbField(change->item, "value") : "");
    snprintf(letters->reason, sizeof letters->reason, "%s", change->reason);
    return true;
}

static Letters letters(Db *db)
{
    Letters found = {0};
    EXPECT(dbEachRejected(db, readLetter, &found) >= 0);
    return found;
}

/** Runs iotodb under the schema that lets settings go up; its exit code. */
static int change(const char *verb, const char *argument, const char *more)
{
    return tool(verb, "--schema", scratch("both.json5"), scratch("receipts.db"), argument, more, NULL);
}

/** The device's schema lets settings go up, the cloud's does not. */
static void ofWhatIsRefused(int port)
{
    schemaWith("both.json5", "Setting: { sync: 'down' }", "Setting: { sync: 'both' }");
    Io *io = deviceOpenUnder(scratch("both.json5"), "receipts.db", port, SYNC_SOON);
    REQUIRE(io != NULL);
    Db *db = ioGetDb(io);
    EXPECT_CODE(dbAddTrigger(db, onRejected, NULL, NULL, DB_ON_REJECTED), 0);
    EXPECT_CODE(ioStart(io), 0);
    int64_t bad = 0, good = 0;
    DbItem *item = dbCreate(db, "Setting", DB_PROPS("id", "s1", "value", "v1"), DB_PARAMS(.receipt = &bad));
    dbFreeItem(item);
    item = dbCreate(db, "Note", DB_PROPS("id", "behind", "text", "it"), DB_PARAMS(.receipt = &good));
    dbFreeItem(item);
    EXPECT_CODE(ioWaitReceipt(io, good, PATIENCE_MS), 0);
    claim("one bad record does not block the rest");

    EXPECT_CODE(ioWaitReceipt(io, bad, PATIENCE_MS), DB_ERR_REJECTED);
    EXPECT_ERROR_NAMES("Setting");
    IoReceipt out = {.size = sizeof out};
    EXPECT_CODE(ioGetReceipt(io, bad, &out), 0);
    EXPECT_NUMBER(out.state, IO_RECEIPT_REJECTED);
    EXPECT(out.code < 0 && strstr(out.reason, "Setting") != NULL);
    EXPECT_WITHIN(PATIENCE_MS, refusals == 1);
    EXPECT(strstr(reason, "Setting") != NULL);
    EXPECT_TEXT(command, "update");
    EXPECT_NUMBER(deviceStatus(io).rejectedItems, 1);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    Letters found = letters(db);
    EXPECT_NUMBER(found.count, 1);
    EXPECT_TEXT(found.text, "v1");
    EXPECT(found.code == out.code && strcmp(found.reason, out.reason) == 0);
    claim("a rejection is heard of: by receipt, trigger, status and list");

    EXPECT_CODE(dbRetryRejected(db, found.last, DB_PROPS("value", "v2"), DB_PARAMS(.receipt = &bad)), 0);
    EXPECT_NUMBER(letters(db).count, 0);
    EXPECT_CODE(ioWaitReceipt(io, bad, PATIENCE_MS), DB_ERR_REJECTED);
    found = letters(db);
    EXPECT_NUMBER(found.count, 1);
    EXPECT_TEXT(found.text, "v2");
    EXPECT_CODE(dbRetryRejected(db, 1, NULL, NULL), DB_ERR_NOT_FOUND);
    EXPECT_CODE(dbDiscardRejected(db, 1), DB_ERR_NOT_FOUND);
    EXPECT_CODE(dbDiscardRejected(db, found.last), 0);
    EXPECT_NUMBER(letters(db).count, 0);
    EXPECT(exists(db, "Setting", DB_PROPS("id", "s1")));
    claim("a dead letter is edited, sent again and discarded by calls");

    // The second one of the update may be told of later than its receipt.
    EXPECT_WITHIN(PATIENCE_MS, refusals == 2);
    EXPECT_CODE(dbRemove(db, "Setting", DB_PROPS("id", "s1"), NULL), 1);
    EXPECT_WITHIN(PATIENCE_MS, refusals == 3);
    EXPECT_TEXT(command, "remove");
    EXPECT_CODE(dbDiscardRejected(db, letters(db).last), 0);
    claim("a refused removal is told as one");

    EXPECT_CODE(dbSet(db, "Setting", DB_PROPS("id", "s1", "value", "v3"), NULL), 0);
    EXPECT_WITHIN(PATIENCE_MS, letters(db).count == 1);
    ioClose(io);
    Db *closed = dbOpen(scratch("receipts.db"), scratch("both.json5"), DB_READ_ONLY);
    REQUIRE(closed != NULL);
    found = letters(closed);
    dbClose(closed);
    EXPECT_NUMBER(change("retry", "x", NULL), 2);
    EXPECT_NUMBER(change("retry", "1", NULL), 1);
    EXPECT_NUMBER(change("retry", format("%lld", (long long) found.last), "value=v4"), 0);
    io = deviceOpenUnder(scratch("both.json5"), "receipts.db", port, SYNC_SOON);
    REQUIRE(io != NULL);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 1);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_WITHIN(PATIENCE_MS, letters(ioGetDb(io)).count == 1);
    found = letters(ioGetDb(io));
    EXPECT_TEXT(found.text, "v4");
    ioClose(io);
    EXPECT_NUMBER(change("discard", format("%lld", (long long) found.last), "x"), 2);
    EXPECT_NUMBER(change("discard", format("%lld", (long long) found.last), NULL), 0);
    EXPECT_NUMBER(change("discard", format("%lld", (long long) found.last), NULL), 1);
    claim("a dead letter is edited, sent again and discarded by iotodb");
}

int main(void)
{
    scenarioBegin();
    Services services = servicesStart();
    Io *io = deviceStart("receipts.db", services.broker.port, SYNC_SOON);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    ofWhatArrives(io, &services.cloud);

    ioStop(io);
    int64_t receipt = 0;
    DbItem *item = dbCreate(ioGetDb(io), "Note", DB_PROPS("id", "later", "text", "x"), DB_PARAMS(.receipt = &receipt));
    dbFreeItem(item);
    EXPECT_CODE(ioWaitReceipt(io, receipt, 100), DB_ERR_OFFLINE);
    ioClose(io);
    io = deviceStart("receipts.db", services.broker.port, SYNC_SOON);
    EXPECT_CODE(ioWaitReceipt(io, receipt, PATIENCE_MS), 0);
    ioClose(io);
    claim("a receipt keeps its meaning over a restart");

    ofWhatIsRefused(services.broker.port);
    servicesStop(&services);
    toolFree();
    return scenarioEnd();
}
