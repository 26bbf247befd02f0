/*
    A firmware is connected to its broker before there is any cloud: what it says goes to nobody, and no broker keeps it.
    It works on. Then the cloud is started for the first time, with a setting that waits for the device. Without a
    reconnection, a restart or a further change everything must meet: the changes go up, and the setting comes down.
 */
#include "support/device.h"

int main(void)
{
    scenarioBegin();
    Broker broker = brokerMake();
    Cloud cloud = cloudMake(broker.port);
    brokerStart(&broker);
    Io *io = deviceStart("late-cloud.db", broker.port, SYNC_SOON);
    Db *db = ioGetDb(io);
    EXPECT_WITHIN(PATIENCE_MS, deviceStatus(io).link == IO_LINK_CONNECTED);
    for (int index = 0; index < 20; index++) {
        EXPECT_CODE(create(db, "Note", DB_PROPS("id", format("n%d", index), "text", "early")), 0);
    }
    pause_ms(500);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 20);
    EXPECT_CODE(update(db, "Note", DB_PROPS("id", "n0", "text", "changed")), 0);
    EXPECT(cloudPut("Setting", "{\"id\":\"s\",\"deviceId\":\"d1\",\"value\":\"waits\"}"));
    claim("without a cloud every change stays pending, whatever the broker has taken");

    cloudStart(&cloud);
    int64_t before_ms = clock_ms();
    EXPECT_WITHIN(PATIENCE_MS, deviceIsFlushed(io) && deviceStatus(io).caughtUp);
    note("after %lld ms", (long long) (clock_ms() - before_ms));
    EXPECT(exists(db, "Setting", DB_PROPS("id", "s")));
    EXPECT_NUMBER(cloudCount("Note"), 20);
    EXPECT(cloudAgrees(db, "Note"));
    EXPECT_NUMBER(deviceStatus(io).connections, 1);
    claim("when the cloud comes for the first time both sides meet by themselves");

    ioClose(io);
    cloudStop(&cloud);
    brokerStop(&broker);
    return scenarioEnd();
}
