/*
    A firmware and a cloud work without a pause while the broker between them is killed with SIGKILL, with all it had not
    saved, and started again, five times over. Both must find their way back by themselves, and at the end they must hold
    the same items, those changed in the cloud meanwhile included.
 */
#include "support/device.h"
#include "support/toil.h"

#define DEATHS 5

int main(void)
{
    scenarioBegin();
    Broker broker = brokerMake();
    Cloud cloud = cloudMake(broker.port);
    brokerStart(&broker);
    cloudStart(&cloud);
    Io *io = deviceStart("broker-death.db", broker.port, SYNC_SOON);
    Db *db = ioGetDb(io);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    Toil *toil = toilStart(db);
    for (int death = 0; death < DEATHS; death++) {
        pause_ms(500 + death * 200);
        brokerKill(&broker);
        const char *setting = format("{\"id\":\"s%d\",\"deviceId\":\"d1\",\"value\":\"of death %d\"}", death % 2, death);
        EXPECT(cloudPut("Setting", setting));
        pause_ms(200);
        brokerStart(&broker);
    }
    pause_ms(300);
    EXPECT_NUMBER(toilEnd(toil), 0);
    claim("the firmware's calls do not notice the death of the broker");

    EXPECT_CODE(ioSync(io, 2 * PATIENCE_MS), 0);
    IoStatus status = deviceStatus(io);
    EXPECT_NUMBER(status.pendingItems, 0);
    EXPECT_NUMBER(status.rejectedItems, 0);
    EXPECT(status.connections >= 2);
    EXPECT(cloudAgrees(db, "Note"));
    claim("device and cloud find their way back, and hold the same notes");
    EXPECT_WITHIN(PATIENCE_MS, cloudAgrees(db, "Setting"));
    EXPECT_NUMBER(count(db, "Setting", NULL), 2);
    claim("settings changed while the broker was dead have come down");
    ioClose(io);
    cloudStop(&cloud);
    brokerStop(&broker);
    return scenarioEnd();
}
