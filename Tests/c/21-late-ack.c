/*
    A firmware sends a change while the cloud stands still (SIGSTOP), and changes the item again before any
    acknowledgement. Then the cloud goes on and acknowledges the first state. That late acknowledgement must not discard
    the second state, nor a removal made in the same way: both must be sent, and the cloud must end with them.
 */
#include "support/device.h"

int main(void)
{
    scenarioBegin();
    Services services = servicesStart();
    Spy *spy = spyStart(services.broker.port);
    Io *io = deviceStart("late.db", services.broker.port, SYNC_NEVER);
    Db *db = ioGetDb(io);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "doomed", "text", "alive")), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT(cloudHas("Note", "doomed"));
    claim("device and cloud meet");

    cloudPause(&services.cloud);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "a", "text", "early-state")), 0);
    EXPECT_CODE(update(db, "Note", DB_PROPS("id", "doomed", "text", "doomed-state")), 0);
    EXPECT_CODE(ioFlushSync(io), 0);
    EXPECT_WITHIN(PATIENCE_MS, spyCount(spy, "syncToDynamo", "early-state") >= 1);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 2);
    claim("a change on the wire is pending until it is acknowledged");

    EXPECT_CODE(update(db, "Note", DB_PROPS("id", "a", "text", "late-state")), 0);
    EXPECT_NUMBER(dbRemove(db, "Note", DB_PROPS("id", "doomed"), NULL), 1);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 2);
    cloudResume(&services.cloud);
    EXPECT_CODE(ioSyncUp(io, PATIENCE_MS), 0);
    EXPECT(cloudFieldIs("Note", "a", "text", "late-state"));
    EXPECT(spyCount(spy, "syncToDynamo", "late-state") >= 1);
    claim("an update made while the previous one is unacknowledged is not discarded by the late ack");

    EXPECT(!cloudHas("Note", "doomed"));
    EXPECT(!exists(db, "Note", DB_PROPS("id", "doomed")));
    claim("nor is a removal");

    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    EXPECT(cloudAgrees(db, "Note"));
    claim("both sides hold the same");

    ioClose(io);
    spyStop(spy);
    servicesStop(&services);
    return scenarioEnd();
}
