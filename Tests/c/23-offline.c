/*
    A firmware works while there is no broker: for the whole run of a process, which ends in an orderly way, and for a
    part of a run. The next run finds the broker. Every change must be there and arrive, the cloud must end with what the
    device holds, and stopping must not take long for want of a broker.
 */
#include "support/device.h"

#define CLOSE_MS_MAX 3000

/** How long closing takes while the agent tries to connect. */
static int64_t closeOffline(void *port)
{
    Io *io = deviceStart("offline.db", atoi(port), SYNC_SOON);
    ioSync(io, 300);
    int64_t before_ms = clock_ms();
    ioClose(io);
    return clock_ms() - before_ms;
}

/** Create ten notes, update three, remove two, and end in good order without a broker. */
static int workOffline(char **argv)
{
    childBegin(argv);
    Io *io = deviceStart("offline.db", atoi(argv[3]), SYNC_SOON);
    Db *db = ioGetDb(io);
    for (int index = 0; index < 10; index++) {
        if (create(db, "Note", DB_PROPS("id", format("n%d", index), "text", "made offline")) != 0) return 1;
    }
    for (int index = 0; index < 3; index++) {
        if (update(db, "Note", DB_PROPS("id", format("n%d", index), "text", "changed offline")) != 0) return 1;
    }
    if (dbRemove(db, "Note", DB_PROPS("id", "n8"), NULL) != 1 || dbRemove(db, "Note", DB_PROPS("id", "n9"), NULL) != 1) return 1;
    printf("sync %d\n", ioSync(io, 300));
    ioClose(io);
    printf("close %s\n", closeOffline(argv[3]) < CLOSE_MS_MAX ? "soon" : "late");
    return 0;
}

static int workOnline(char **argv)
{
    childBegin(argv);
    Io *io = deviceStart("offline.db", atoi(argv[3]), SYNC_SOON);
    int code = ioSync(io, PATIENCE_MS);
    printf("left %lld\n", (long long) deviceStatus(io).pendingItems);
    ioClose(io);
    return code == 0 ? 0 : 1;
}

static void brokerIsDownForOneRun(Broker *broker, Cloud *cloud)
{
    char port[16];
    snprintf(port, sizeof port, "%d", broker->port);
    Child child = childStartSelf("offline", (const char *[]){port, NULL});
    EXPECT(childAwaitLine(&child, format("sync %d", DB_ERR_TIMEOUT)));
    EXPECT(childAwaitLine(&child, "close soon"));
    EXPECT_NUMBER(childWait(&child), 0);
    childCloseOutput(&child);
    claim("a firmware works, and ends in good order and in time, without a broker");

    brokerStart(broker);
    cloudStart(cloud);
    child = childStartSelf("online", (const char *[]){port, NULL});
    EXPECT(childAwaitLine(&child, "left 0"));
    EXPECT_NUMBER(childWait(&child), 0);
    childCloseOutput(&child);
    EXPECT_NUMBER(cloudCount("Note"), 8);
    EXPECT(cloudFieldIs("Note", "n0", "text", "changed offline"));
    EXPECT(cloudFieldIs("Note", "n7", "text", "made offline"));
    EXPECT(!cloudHas("Note", "n9"));
    claim("with the broker down for a whole run, everything arrives in the next");
}

static void brokerGoesDuringARun(Broker *broker, Cloud *cloud)
{
    Io *io = deviceStart("offline.db", broker->port, SYNC_SOON);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    brokerStop(broker);
    Db *db = ioGetDb(io);
    EXPECT_CODE(update(db, "Note", DB_PROPS("id", "n5", "text", "after the broker")), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "n10", "text", "after the broker")), 0);
    EXPECT_NUMBER(dbRemove(db, "Note", DB_PROPS("id", "n0"), NULL), 1);
    EXPECT_WITHIN(PATIENCE_MS, deviceStatus(io).link != IO_LINK_CONNECTED);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 3);
    ioStop(io);
    EXPECT_NUMBER(deviceStatus(io).link, IO_LINK_STOPPED);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 3);
    ioClose(io);
    claim("changes made after the broker went are pending over an orderly stop");

    brokerStart(broker);
    io = deviceStart("offline.db", broker->port, SYNC_SOON);
    EXPECT_NUMBER(count(ioGetDb(io), "Note", NULL), 8);
    EXPECT_WITHIN(PATIENCE_MS, deviceIsFlushed(io));
    EXPECT(cloudFieldIs("Note", "n5", "text", "after the broker"));
    EXPECT(cloudFieldIs("Note", "n10", "text", "after the broker"));
    EXPECT(!cloudHas("Note", "n0"));
    EXPECT(cloudAgrees(ioGetDb(io), "Note"));
    ioClose(io);
    claim("an orderly stop while offline loses none of them");
    cloudStop(cloud);
}

static void stoppedAndStartedAgain(Broker *broker, Cloud *cloud)
{
    cloudStart(cloud);
    Io *io = deviceStart("offline.db", broker->port, SYNC_SOON);
    Db *db = ioGetDb(io);
    for (int round = 0; round < 5; round++) {
        EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", "rounds", "count", format("%d", round)), NULL), 0);
        EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
        EXPECT(cloudFieldIs("Note", "rounds", "count", format("%d", round)));
        ioStop(io);
        ioStop(io);
        EXPECT_CODE(ioSync(io, 100), DB_ERR_OFFLINE);
        EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", "stopped", "count", format("%d", round)), NULL), 0);
        EXPECT_CODE(ioStart(io), 0);
        EXPECT_CODE(ioStart(io), 0);
    }
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT(cloudFieldIs("Note", "stopped", "count", "4"));
    EXPECT(deviceStatus(io).connections >= 5);
    ioClose(io);
    cloudStop(cloud);
    claim("an agent stops and starts again, as often as it is told");
}

int main(int argc, char **argv)
{
    if (argc > 3) return strcmp(argv[1], "offline") == 0 ? workOffline(argv) : workOnline(argv);
    scenarioBegin();
    Broker broker = brokerMake();
    Cloud cloud = cloudMake(broker.port);
    brokerIsDownForOneRun(&broker, &cloud);
    brokerGoesDuringARun(&broker, &cloud);
    stoppedAndStartedAgain(&broker, &cloud);
    brokerStop(&broker);
    return scenarioEnd();
}
