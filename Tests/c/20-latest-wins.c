/*
    A connected firmware changes items several times before its first flush: it updates one twice, creates and removes
    another, and changes a third thirty times. Only the last state of each may reach the cloud: the second update, no
    trace of the removed item, one message for the third; and nothing that came between may be seen on the wire.
 */
#include "support/device.h"

int main(void)
{
    scenarioBegin();
    Services services = servicesStart();
    Spy *spy = spyStart(services.broker.port);
    Io *io = deviceStart("latest.db", services.broker.port, SYNC_NEVER);
    Db *db = ioGetDb(io);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    claim("device and cloud meet");

    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "twice", "text", "first-state")), 0);
    EXPECT_CODE(update(db, "Note", DB_PROPS("id", "twice", "text", "second-state")), 0);
    EXPECT_CODE(update(db, "Note", DB_PROPS("id", "twice", "text", "third-state")), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "brief", "text", "brief-state")), 0);
    EXPECT_NUMBER(dbRemove(db, "Note", DB_PROPS("id", "brief"), NULL), 1);
    for (int index = 0; index < 30; index++) {
        EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", "busy", "text", format("busy-%d.", index)), NULL), 0);
    }
    pause_ms(500);
    EXPECT_NUMBER(spyCount(spy, NULL, "-state"), 0);
    EXPECT(!cloudHas("Note", "twice"));
    claim("nothing goes up before the flush");

    EXPECT_CODE(ioSyncUp(io, PATIENCE_MS), 0);
    EXPECT(cloudFieldIs("Note", "twice", "text", "third-state"));
    EXPECT_NUMBER(spyCount(spy, NULL, "first-state") + spyCount(spy, NULL, "second-state"), 0);
    EXPECT_NUMBER(spyCount(spy, "syncToDynamo", "third-state"), 1);
    claim("of several updates before the first flush the cloud gets the last, once");

    EXPECT(!cloudHas("Note", "brief"));
    EXPECT_NUMBER(spyCount(spy, NULL, "brief-state"), 0);
    claim("of an item made and removed before the first flush the cloud keeps nothing");

    EXPECT(cloudFieldIs("Note", "busy", "text", "busy-29."));
    EXPECT_NUMBER(spyCount(spy, NULL, "busy-"), 1);
    EXPECT_NUMBER(cloudCount("Note"), 2);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    claim("thirty changes of one item are one change on the wire");

    EXPECT_NUMBER(dbRemove(db, "Note", DB_PROPS("id", "busy"), NULL), 1);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "busy", "text", "again")), 0);
    EXPECT_NUMBER(dbRemove(db, "Note", DB_PROPS("id", "twice"), NULL), 1);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT(cloudFieldIs("Note", "busy", "text", "again"));
    EXPECT(!cloudHas("Note", "twice"));
    EXPECT_NUMBER(count(db, "Note", NULL), 1);
    claim("a removal reaches the cloud, and an item removed and made again is there");

    ioClose(io);
    spyStop(spy);
    servicesStop(&services);
    return scenarioEnd();
}
