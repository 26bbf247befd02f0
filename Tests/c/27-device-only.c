/*
    A firmware keeps secrets in an `enable: 'device'` model, and works as firmware does: it creates, changes and removes
    them, online and offline, restarts, synchronizes, and mixes them with items that do travel. A client that hears the
    whole wire must never hear a secret, nor its key, nor the name of its model.
 */
#include "support/device.h"

static void workWithSecrets(Io *io, const char *name)
{
    Db *db = ioGetDb(io);
    for (int index = 0; index < 20; index++) {
        const char *id = format("secret-key-%s-%d", name, index);
        EXPECT_CODE(create(db, "Secret", DB_PROPS("id", id, "text", "secret-text")), 0);
        EXPECT_CODE(create(db, "Note", DB_PROPS("id", format("note-%s-%d", name, index), "text", "open-text")), 0);
        if (index % 2 == 0) EXPECT_CODE(update(db, "Secret", DB_PROPS("id", id, "text", "secret-change")), 0);
        if (index % 3 == 0) EXPECT_NUMBER(dbRemove(db, "Secret", DB_PROPS("id", id), NULL), 1);
    }
}

int main(void)
{
    scenarioBegin();
    Services services = servicesStart();
    Spy *spy = spyStart(services.broker.port);

    Io *io = deviceOpen("secret.db", services.broker.port, SYNC_SOON);
    REQUIRE(io != NULL);
    workWithSecrets(io, "before");
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 20);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    workWithSecrets(io, "online");
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    ioStop(io);
    workWithSecrets(io, "offline");
    ioClose(io);
    io = deviceStart("secret.db", services.broker.port, SYNC_SOON);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT_NUMBER(dbRemove(ioGetDb(io), "Note", NULL, DB_PARAMS(.many = true)), 60);
    EXPECT(dbRemove(ioGetDb(io), "Secret", NULL, DB_PARAMS(.many = true)) > 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    ioClose(io);
    EXPECT_WITHIN(PATIENCE_MS, spyCount(spy, NULL, "open-text") > 0);
    EXPECT_NUMBER(cloudCount("Note"), 0);
    claim("what may travel did, the removals included");

    EXPECT_NUMBER(spyCount(spy, NULL, "secret-"), 0);
    EXPECT_NUMBER(spyCount(spy, NULL, "Secret"), 0);
    EXPECT_NUMBER(spyCount(spy, "secret", NULL) + spyCount(spy, "Secret", NULL), 0);
    claim("no secret, no key of one and no name of their model was ever on the wire");

    spyStop(spy);
    servicesStop(&services);
    return scenarioEnd();
}
