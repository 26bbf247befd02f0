/*
    The cloud changes items while the device's database is as large as it may be. None of it may be lost, the device must say
    why it does not come, and must not ask for it all the time; once the firmware has made room it must arrive, though
    nothing new happens in the cloud.
 */
#include "support/device.h"

#define SETTINGS 10
/** Longest wait before the device asks again, and a little. */
#define ROOM_MS 75000

int main(void)
{
    scenarioBegin();
    Services services = servicesStart();
    Io *io = deviceStart("full.db", services.broker.port, SYNC_SOON);
    Db *db = ioGetDb(io);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    DbLimits limits = {.size = sizeof limits, .fileBytes = 300 * 1024};
    EXPECT_CODE(dbSetLimits(db, &limits), 0);
    char *text = repeat('x', 2000);
    int items = 0;
    while (create(db, "Local", DB_PROPS("id", format("%d", items), "text", text)) == 0) items++;
    EXPECT_FAILED(DB_ERR_FULL);
    Spy *spy = spyStart(services.broker.port);
    for (int index = 0; index < SETTINGS; index++) {
        EXPECT(cloudPut("Setting", format("{\"id\":\"%d\",\"deviceId\":\"d1\",\"value\":\"%s\"}", index, text)));
    }
    EXPECT_WITHIN(PATIENCE_MS, deviceStatus(io).lastError == DB_ERR_FULL);
    EXPECT(strstr(deviceStatus(io).lastErrorText, "as large as it may be") != NULL);
    pause_ms(2000);
    EXPECT_NUMBER(count(db, "Setting", NULL), 0);
    EXPECT(spyCount(spy, "db/syncDown", NULL) <= 3);
    spyStop(spy);
    claim("what finds no room is told, and not asked for all the time");

    EXPECT_NUMBER(dbRemove(db, "Local", NULL, DB_PARAMS(.many = true)), items);
    EXPECT_WITHIN(ROOM_MS, count(db, "Setting", NULL) == SETTINGS);
    claim("it comes once there is room");
    free(text);
    ioClose(io);
    servicesStop(&services);
    return scenarioEnd();
}
