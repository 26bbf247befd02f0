/*
    Each model of the schema has its direction, and both sides change items against it: the device a `down` model, the
    cloud an `up` model, and each of them models that may not exist there. What may not travel must not be seen on the
    wire nor on the other side, and the device must hold its own state; what may travel does so meanwhile.
 */
#include "support/device.h"

static void deviceGoesAgainst(Io *io, Spy *spy)
{
    Db *db = ioGetDb(io);
    EXPECT(cloudPut("Setting", "{\"id\":\"s\",\"deviceId\":\"d1\",\"value\":\"of the cloud\"}"));
    EXPECT_WITHIN(PATIENCE_MS, exists(db, "Setting", DB_PROPS("id", "s")));
    EXPECT_CODE(update(db, "Setting", DB_PROPS("id", "s", "value", "marker-down-changed")), 0);
    EXPECT_CODE(create(db, "Setting", DB_PROPS("id", "own", "value", "marker-down-created")), 0);
    EXPECT_CODE(create(db, "Local", DB_PROPS("id", "l", "text", "marker-local")), 0);
    EXPECT_CODE(create(db, "Secret", DB_PROPS("id", "x", "text", "marker-secret")), 0);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    EXPECT_CODE(create(db, "Reading", DB_PROPS("id", "r", "text", "reading-passes", "value", "1")), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT(cloudFieldIs("Setting", "s", "value", "of the cloud"));
    EXPECT(!cloudHas("Setting", "own"));
    EXPECT_NUMBER(spyCount(spy, "syncToDynamo", "marker-down"), 0);
    claim("a change of a sync: 'down' model on the device does not go up");

    EXPECT_NUMBER(spyCount(spy, NULL, "marker-local"), 0);
    EXPECT(!cloudHas("Local", "l"));
    claim("nor does one of a sync: 'none' model");

    EXPECT_NUMBER(spyCount(spy, NULL, "marker-secret"), 0);
    claim("nor one of an enable: 'device' model, whatever its sync says");

    EXPECT(cloudFieldIs("Reading", "r", "text", "reading-passes"));
    claim("what may go up does so meanwhile");

    EXPECT_CODE(create(db, "Report", DB_PROPS("id", "r", "text", "marker-report")), DB_ERR_DENIED);
    EXPECT_ERROR_NAMES("Report");
    EXPECT_NUMBER(spyCount(spy, NULL, "marker-report"), 0);
    claim("an enable: 'cloud' model can't be made on the device");

    EXPECT_NUMBER(dbRemove(db, "Setting", DB_PROPS("id", "s"), NULL), 1);
    EXPECT_CODE(ioSyncUp(io, PATIENCE_MS), 0);
    EXPECT(cloudHas("Setting", "s"));
    claim("a removal of a sync: 'down' item on the device does not go up");
}

static void cloudGoesAgainst(Io *io, Witness *witness)
{
    Db *db = ioGetDb(io);
    int before = witnessCount(witness, NULL, NULL, NULL, -1);
    EXPECT(cloudPut("Reading", "{\"id\":\"r\",\"deviceId\":\"d1\",\"text\":\"of the cloud\",\"value\":2}"));
    EXPECT(cloudPut("Reading", "{\"id\":\"r2\",\"deviceId\":\"d1\",\"text\":\"of the cloud\",\"value\":2}"));
    EXPECT(cloudPut("Local", "{\"id\":\"l\",\"deviceId\":\"d1\",\"text\":\"of the cloud\"}"));
    EXPECT(cloudPut("Report", "{\"id\":\"r\",\"deviceId\":\"d1\",\"text\":\"of the cloud\"}"));
    EXPECT(!cloudPut("Secret", "{\"id\":\"x\",\"deviceId\":\"d1\",\"text\":\"of the cloud\"}"));
    EXPECT(cloudPut("Setting", "{\"id\":\"last\",\"deviceId\":\"d1\",\"value\":\"passes\"}"));
    EXPECT_WITHIN(PATIENCE_MS, exists(db, "Setting", DB_PROPS("id", "last")));
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    char *text = dbGetString(db, "Reading", "text", DB_PROPS("id", "r"), "");
    EXPECT_TEXT(text, "reading-passes");
    dbFree(text);
    EXPECT_NUMBER(count(db, "Reading", NULL), 1);
    claim("a change of a sync: 'up' model in the cloud does not come down");

    text = dbGetString(db, "Local", "text", DB_PROPS("id", "l"), "");
    EXPECT_TEXT(text, "marker-local");
    dbFree(text);
    text = dbGetString(db, "Secret", "text", DB_PROPS("id", "x"), "");
    EXPECT_TEXT(text, "marker-secret");
    dbFree(text);
    EXPECT_NUMBER(witnessCount(witness, NULL, NULL, NULL, -1), before + 1);
    claim("nor does one of a model that stays where it is");

    EXPECT(cloudRemove("Reading", "{\"id\":\"r\",\"deviceId\":\"d1\"}"));
    EXPECT(cloudRemove("Setting", "{\"id\":\"last\",\"deviceId\":\"d1\"}"));
    EXPECT_WITHIN(PATIENCE_MS, !exists(db, "Setting", DB_PROPS("id", "last")));
    EXPECT(exists(db, "Reading", DB_PROPS("id", "r")));
    claim("a removal follows the same direction");
}

int main(void)
{
    scenarioBegin();
    Services services = servicesStart();
    Spy *spy = spyStart(services.broker.port);
    Io *io = deviceStart("direction.db", services.broker.port, SYNC_SOON);
    Witness *witness = witnessAdd(ioGetDb(io), NULL, DB_ON_REMOTE);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    deviceGoesAgainst(io, spy);
    cloudGoesAgainst(io, witness);
    ioClose(io);
    witnessFree(witness);
    spyStop(spy);
    servicesStop(&services);
    return scenarioEnd();
}
