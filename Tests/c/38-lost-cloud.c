/*
    The cloud's store is put back in an older state, and later it is lost altogether. Device and cloud must come to hold the same again:
    what the device wrote of models that go up is given back, removals among it, and of what only comes down the cloud's state counts.
    One device is connected all the time, and one is away.
 */
#include "support/device.h"

#include <stdio.h>

#define NOTES 400

static void set(Io *io, const char *model, const char *id, const char *text)
{
    EXPECT_CODE(dbSet(ioGetDb(io), model, DB_PROPS("id", id, "text", text), DB_PARAMS(.upsert = true)), 0);
}

static void tell(const char *id, const char *value)
{
    EXPECT(cloudPut("Setting", format("{\"id\":\"%s\",\"deviceId\":\"d1\",\"value\":\"%s\"}", id, value)));
}

static bool settingIs(Io *io, const char *id, const char *value)
{
    char *text = dbGetString(ioGetDb(io), "Setting", "value", DB_PROPS("id", id), "");
    bool isSo = text != NULL && strcmp(text, value) == 0;
    dbFree(text);
    return isSo;
}

static int copies(const char *command)
{
    const char *arguments[] = {getenv("IOTO_CLOUD"), command, "--store", format("sqlite:%s", scratch("cloud.db")), scratch("copy.db"), NULL};
    return childRun(arguments, scratch("copies.log"), NULL);
}

static void loseStore(void)
{
    remove(scratch("cloud.db"));
    remove(scratch("cloud.db-wal"));
    remove(scratch("cloud.db-shm"));
}

static void agree(Io *io)
{
    EXPECT_CODE(ioSync(io, 2 * PATIENCE_MS), 0);
    EXPECT_WITHIN(PATIENCE_MS, cloudAgrees(ioGetDb(io), "Note") && cloudAgrees(ioGetDb(io), "Reading"));
    EXPECT_WITHIN(PATIENCE_MS, cloudAgrees(ioGetDb(io), "Setting"));
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    EXPECT_NUMBER(deviceStatus(io).rejectedItems, 0);
    EXPECT_NUMBER(dbCheck(ioGetDb(io), NULL, NULL), 0);
}

static Io *work(Services *services)
{
    Io *io = deviceStart("lost.db", services->broker.port, SYNC_SOON);
    for (int index = 0; index < NOTES; index++) set(io, "Note", format("n%d", index), "before");
    set(io, "Reading", "r0", "before");
    tell("kept", "before");
    tell("changed", "before");
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT_NUMBER(copies("backup"), 0);
    claim("the store is copied while it is served");

    set(io, "Note", "n0", "after");
    set(io, "Note", "new", "after");
    set(io, "Reading", "r1", "after");
    EXPECT_CODE(dbRemove(ioGetDb(io), "Note", DB_PROPS("id", "n1"), NULL), 1);
    tell("changed", "after");
    tell("new", "after");
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT_WITHIN(PATIENCE_MS, settingIs(io, "changed", "after") && settingIs(io, "new", "after"));
    EXPECT(!cloudHas("Note", "n1"));
    return io;
}

static void isPutBack(Services *services, Io *io)
{
    cloudStop(&services->cloud);
    loseStore();
    EXPECT_NUMBER(copies("restore"), 0);
    EXPECT(cloudHas("Note", "n1") && !cloudHas("Note", "new"));
    cloudStart(&services->cloud);
    EXPECT_WITHIN(PATIENCE_MS, cloudHas("Note", "new"));
    agree(io);
    EXPECT(cloudFieldIs("Note", "n0", "text", "after") && cloudHas("Reading", "r1"));
    EXPECT(!cloudHas("Note", "n1") && !exists(ioGetDb(io), "Note", DB_PROPS("id", "n1")));
    EXPECT_NUMBER(cloudCount("Note"), NOTES);
    claim("of a store that was put back the device gives back what it wrote since, and its removals stay");

    EXPECT(settingIs(io, "changed", "before") && settingIs(io, "kept", "before"));
    EXPECT(!exists(ioGetDb(io), "Setting", DB_PROPS("id", "new")));
    claim("what only comes down is as the cloud has it");
    tell("changed", "again");
    EXPECT_WITHIN(PATIENCE_MS, settingIs(io, "changed", "again"));
    claim("and goes on from there");
}

static void isLost(Services *services, Io *io)
{
    ioClose(io);
    cloudStop(&services->cloud);
    loseStore();
    cloudStart(&services->cloud);
    tell("first", "of the new store");
    io = deviceStart("lost.db", services->broker.port, SYNC_SOON);
    EXPECT_WITHIN(PATIENCE_MS, cloudHas("Reading", "r0"));
    agree(io);
    EXPECT_NUMBER(cloudCount("Note"), NOTES);
    EXPECT_NUMBER(cloudCount("Reading"), 2);
    EXPECT_NUMBER(count(ioGetDb(io), "Setting", NULL), 1);
    EXPECT(settingIs(io, "first", "of the new store"));
    claim("a store that is lost while the device is away gets all that the device has of it");

    char *cloud = cloudDigest("device/d1", false);
    IoDigest device = {.size = sizeof device};
    EXPECT_CODE(ioDigest(ioGetDb(io), NULL, &device, NULL, NULL), 0);
    EXPECT(cloud != NULL && strstr(cloud, device.value) != NULL);
    free(cloud);
    ioClose(io);
    claim("both sides have the same digest");
}

int main(void)
{
    scenarioBegin();
    Services services = servicesStart();
    Io *io = work(&services);
    isPutBack(&services, io);
    isLost(&services, io);
    servicesStop(&services);
    return scenarioEnd();
}
