/*
    While a device is away, the cloud's data is changed: settings are made, changed twice and removed, notes of the device
    are changed and removed, some of it while the cloud does not even serve. At its next start the device must receive all
    of it in one catch-up, apply each change once, and fire triggers that say the changes are remote. Nothing may come again.
 */
#include "support/device.h"

static void becomeAcquainted(int port)
{
    Io *io = deviceStart("away.db", port, SYNC_SOON);
    Db *db = ioGetDb(io);
    for (int index = 0; index < 5; index++) {
        EXPECT_CODE(create(db, "Note", DB_PROPS("id", format("n%d", index), "text", "of the device", "count", "1")), 0);
        EXPECT(cloudPut("Setting", format("{\"id\":\"s%d\",\"deviceId\":\"d1\",\"value\":\"first\"}", index)));
    }
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT_WITHIN(PATIENCE_MS, count(db, "Setting", NULL) == 5);
    EXPECT_NUMBER(cloudCount("Note"), 5);
    ioClose(io);
    claim("device and cloud hold five notes and five settings");
}

static void changeTheCloud(void)
{
    EXPECT(cloudPut("Setting", "{\"id\":\"s0\",\"deviceId\":\"d1\",\"value\":\"second\"}"));
    EXPECT(cloudPut("Setting", "{\"id\":\"s0\",\"deviceId\":\"d1\",\"value\":\"third\"}"));
    EXPECT(cloudRemove("Setting", "{\"id\":\"s1\",\"deviceId\":\"d1\"}"));
    EXPECT(cloudPut("Setting", "{\"id\":\"s5\",\"deviceId\":\"d1\",\"value\":\"new\"}"));
    EXPECT(cloudPut("Note", "{\"id\":\"n0\",\"deviceId\":\"d1\",\"text\":\"of the cloud\",\"count\":2}"));
    EXPECT(cloudRemove("Note", "{\"id\":\"n1\",\"deviceId\":\"d1\"}"));
    EXPECT(cloudPut("Note", "{\"id\":\"n9\",\"deviceId\":\"d1\",\"text\":\"of the cloud\"}"));
    EXPECT(cloudPut("Setting", "{\"id\":\"s0\",\"deviceId\":\"d2\",\"value\":\"of another device\"}"));
}

static void deviceReturns(int port)
{
    Io *io = deviceOpen("away.db", port, SYNC_SOON);
    REQUIRE(io != NULL);
    Db *db = ioGetDb(io);
    Witness *remote = witnessAdd(db, NULL, DB_ON_REMOTE);
    Witness *every = witnessAdd(db, NULL, DB_ON_CHANGE);
    EXPECT(!deviceStatus(io).caughtUp);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_CODE(ioSyncDown(io, PATIENCE_MS), 0);
    EXPECT(deviceStatus(io).caughtUp);
    char *value = dbGetString(db, "Setting", "value", DB_PROPS("id", "s0"), "");
    EXPECT_TEXT(value, "third");
    dbFree(value);
    EXPECT(!exists(db, "Setting", DB_PROPS("id", "s1")));
    EXPECT(exists(db, "Setting", DB_PROPS("id", "s5")));
    EXPECT_NUMBER(dbGetNum(db, "Note", "count", DB_PROPS("id", "n0"), 0), 2);
    EXPECT(!exists(db, "Note", DB_PROPS("id", "n1")));
    EXPECT(exists(db, "Note", DB_PROPS("id", "n9")));
    EXPECT(cloudAgrees(db, "Note"));
    claim("what was changed and removed in the cloud meanwhile is there when ioSyncDown returns");

    EXPECT_NUMBER(count(db, "Setting", NULL), 5);
    EXPECT_NUMBER(count(db, "Setting", DB_PROPS("value", "of another device")), 0);
    claim("what belongs to another device does not come");

    EXPECT_WITHIN(PATIENCE_MS, witnessCount(remote, NULL, NULL, NULL, -1) >= 6);
    // Six, and the removal of s6, of which the device had never heard.
    EXPECT_NUMBER(deviceStatus(io).receivedItems, 7);
    pause_ms(500);
    EXPECT_NUMBER(witnessCount(remote, "update", "Setting", "s0", DB_ORIGIN_REMOTE), 1);
    EXPECT_NUMBER(witnessCount(remote, "remove", "Setting", "s1", DB_ORIGIN_REMOTE), 1);
    EXPECT_NUMBER(witnessCount(remote, "create", "Setting", "s5", DB_ORIGIN_REMOTE), 1);
    EXPECT_NUMBER(witnessCount(remote, "update", "Note", "n0", DB_ORIGIN_REMOTE), 1);
    EXPECT_NUMBER(witnessCount(remote, "remove", "Note", "n1", DB_ORIGIN_REMOTE), 1);
    EXPECT_NUMBER(witnessCount(remote, "create", "Note", "n9", DB_ORIGIN_REMOTE), 1);
    EXPECT_NUMBER(witnessCount(remote, NULL, NULL, NULL, -1), 6);
    EXPECT_NUMBER(witnessCount(every, NULL, NULL, NULL, -1), 6);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    claim("each change came once, and fired triggers that say it is remote");
    ioClose(io);
    witnessFree(remote);
    witnessFree(every);

    io = deviceOpen("away.db", port, SYNC_SOON);
    REQUIRE(io != NULL);
    every = witnessAdd(ioGetDb(io), NULL, DB_ON_CHANGE);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT_NUMBER(deviceStatus(io).receivedItems, 0);
    ioClose(io);
    EXPECT_TEXT(witnessText(every), "");
    witnessFree(every);
    claim("at the start after that nothing comes again");
}

static void bothChangeTheSame(int port)
{
    Io *io = deviceOpen("away.db", port, SYNC_SOON);
    REQUIRE(io != NULL);
    Db *db = ioGetDb(io);
    EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", "n2", "text", "device first"), NULL), 0);
    pause_ms(50);
    EXPECT(cloudPut("Note", "{\"id\":\"n2\",\"deviceId\":\"d1\",\"text\":\"cloud last\"}"));
    EXPECT(cloudPut("Note", "{\"id\":\"n3\",\"deviceId\":\"d1\",\"text\":\"cloud first\"}"));
    pause_ms(50);
    EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", "n3", "text", "device last"), NULL), 0);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT_WITHIN(PATIENCE_MS, cloudAgrees(db, "Note"));
    EXPECT(cloudFieldIs("Note", "n2", "text", "cloud last"));
    EXPECT(cloudFieldIs("Note", "n3", "text", "device last"));
    ioClose(io);
    claim("of two changes of one item the later wins, on both sides");
}

int main(void)
{
    scenarioBegin();
    Services services = servicesStart();
    becomeAcquainted(services.broker.port);
    cloudStop(&services.cloud);
    changeTheCloud();
    cloudStart(&services.cloud);
    EXPECT(cloudPut("Setting", "{\"id\":\"s6\",\"deviceId\":\"d1\",\"value\":\"brief\"}"));
    EXPECT(cloudRemove("Setting", "{\"id\":\"s6\",\"deviceId\":\"d1\"}"));
    claim("the cloud's items can be changed while it serves, and while it does not");
    deviceReturns(services.broker.port);
    bothChangeTheSame(services.broker.port);
    servicesStop(&services);
    return scenarioEnd();
}
