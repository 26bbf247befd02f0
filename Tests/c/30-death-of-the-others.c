/*
    A firmware works without a pause while what it depends on is killed with SIGKILL, with all it had not saved, and started
    again, five times over: first the cloud, then the broker in between. Settings are changed in the cloud meanwhile. At the end
    both sides must hold the same items, and each change that was acknowledged must be in the cloud's store.
 */
#include "support/device.h"
#include "support/toil.h"

#define DEATHS 5

static void killCloud(Services *services) { cloudKill(&services->cloud); }
static void startCloud(Services *services) { cloudStart(&services->cloud); }
static void killBroker(Services *services) { brokerKill(&services->broker); }
static void startBroker(Services *services) { brokerStart(&services->broker); }

/** `end` and `begin` something five times, each time a little later, while the device of `database` works. */
static Io *outlive(Services *services, const char *database, void (*end)(Services *), void (*begin)(Services *))
{
    Io *io = deviceStart(database, services->broker.port, SYNC_SOON);
    Db *db = ioGetDb(io);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    Toil *toil = toilStart(db);
    for (int death = 0; death < DEATHS; death++) {
        pause_ms(300 + death * 150);
        end(services);
        const char *setting = format("{\"id\":\"s%d\",\"deviceId\":\"d1\",\"value\":\"%s %d\"}", death % 2, database, death);
        EXPECT(cloudPut("Setting", setting));
        pause_ms(300);
        begin(services);
    }
    pause_ms(300);
    EXPECT_NUMBER(toilEnd(toil), 0);

    EXPECT_CODE(ioSync(io, 2 * PATIENCE_MS), 0);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    EXPECT_NUMBER(deviceStatus(io).rejectedItems, 0);
    EXPECT(cloudAgrees(db, "Note"));
    EXPECT_WITHIN(PATIENCE_MS, cloudAgrees(db, "Setting"));
    EXPECT_NUMBER(count(db, "Setting", NULL), 2);
    return io;
}

int main(void)
{
    scenarioBegin();
    Services services = servicesStart();
    Io *io = outlive(&services, "cloud-death.db", killCloud, startCloud);
    claim("the device does not notice the death of the cloud, and gets what was changed there meanwhile");

    cloudKill(&services.cloud);
    EXPECT(cloudAgrees(ioGetDb(io), "Note"));
    claim("what was acknowledged is in the cloud's store, even after its death");
    ioClose(io);
    cloudStart(&services.cloud);

    io = outlive(&services, "cloud-death.db", killBroker, startBroker);
    EXPECT(deviceStatus(io).connections >= 2);
    claim("device and cloud find their way back after the broker's death");
    ioClose(io);
    servicesStop(&services);
    return scenarioEnd();
}
