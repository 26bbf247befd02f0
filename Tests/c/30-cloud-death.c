/*
    A firmware works without a pause while the cloud is killed with SIGKILL and started again, five times over, with
    settings changed in the cloud while it is dead. At the end both sides must hold the same items, each change that was
    acknowledged must be in the cloud's store, and the triggers must have seen the last value of each setting.
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
    Io *io = deviceStart("cloud-death.db", broker.port, SYNC_SOON);
    Db *db = ioGetDb(io);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    Toil *toil = toilStart(db);
    for (int death = 0; death < DEATHS; death++) {
        pause_ms(300 + death * 100);
        cloudKill(&cloud);
        const char *setting = format("{\"id\":\"s%d\",\"deviceId\":\"d1\",\"value\":\"of death %d\"}", death % 2, death);
        EXPECT(cloudPut("Setting", setting));
        pause_ms(300);
        cloudStart(&cloud);
    }
    pause_ms(300);
    EXPECT_NUMBER(toilEnd(toil), 0);
    claim("the device does not notice the death of the cloud");

    EXPECT_CODE(ioSync(io, 2 * PATIENCE_MS), 0);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    EXPECT_NUMBER(deviceStatus(io).rejectedItems, 0);
    EXPECT(cloudAgrees(db, "Note"));
    claim("after the last death both sides hold the same notes");
    EXPECT_WITHIN(PATIENCE_MS, cloudAgrees(db, "Setting"));
    EXPECT_NUMBER(count(db, "Setting", NULL), 2);
    claim("settings changed while the cloud was dead have come down");

    cloudKill(&cloud);
    EXPECT(cloudAgrees(db, "Note"));
    claim("what was acknowledged is in the cloud's store, even after its death");
    ioClose(io);
    brokerStop(&broker);
    return scenarioEnd();
}
