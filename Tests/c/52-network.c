/*
    A firmware and a cloud work over networks that are cut, refuse, swallow, delay and throttle, by a proxy before each of
    them. Whatever the network does, calls into the database do not wait for it, the status tells of it, and both sides hold
    the same when it is over.
 */
#include "support/device.h"
#include "support/proxy.h"
#include "support/toil.h"

#define KEEPALIVE_MS 5000
#define CUTS 25
#define LARGE_BYTES 60000
#define CALL_MS_MAX 2000
#define FOUND_MS_MAX (2 * KEEPALIVE_MS + 3000)

static Proxy *near; // before the device
static Proxy *far;  // before the cloud

static IoLink linkOf(Io *io) { return deviceStatus(io).link; }

static void agree(Io *io, const char *when)
{
    EXPECT_CODE(ioSync(io, 3 * PATIENCE_MS), 0);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    EXPECT_NUMBER(deviceStatus(io).rejectedItems, 0);
    EXPECT(cloudAgrees(ioGetDb(io), "Note"));
    EXPECT_WITHIN(PATIENCE_MS, cloudAgrees(ioGetDb(io), "Setting"));
    claim("both sides agree after %s", when);
}

static void isCut(Io *io)
{
    Toil *toil = toilStart(ioGetDb(io));
    for (int cut = 0; cut < CUTS; cut++) {
        pause_ms(randomBelow(400));
        proxyCut(randomBelow(3) == 0 ? far : near);
        if (cut % 8 == 4) EXPECT(cloudPut("Setting", format("{\"id\":\"cut\",\"deviceId\":\"d1\",\"value\":\"%d\"}", cut)));
    }
    proxyRefuse(near, true);
    proxyCut(near);
    EXPECT_WITHIN(PATIENCE_MS, linkOf(io) == IO_LINK_WAITING);
    EXPECT(deviceStatus(io).lastError != 0);
    pause_ms(500);
    proxyRefuse(near, false);
    EXPECT_NUMBER(toilEnd(toil), 0);
    agree(io, "connections were cut and refused");
}

/** Swallow everything; returns how long it took until the agent found out, or no bound when a call took too long. */
static int64_t swallow(void *agent)
{
    Io *io = agent;
    Db *db = ioGetDb(io);
    proxySwallow(near, true);
    int64_t begin_ms = clock_ms(), longest_ms = 0;
    while (linkOf(io) == IO_LINK_CONNECTED && clock_ms() < begin_ms + 4 * KEEPALIVE_MS) {
        int64_t call_ms = clock_ms();
        EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", "swallowed", "count", format("%lld", (long long) call_ms)), NULL), 0);
        if (clock_ms() - call_ms > longest_ms) longest_ms = clock_ms() - call_ms;
        pause_ms(50);
    }
    int64_t found_ms = clock_ms() - begin_ms;
    note("the dead link is found out after %lld ms; the longest call took %lld ms", (long long) found_ms, (long long) longest_ms);
    EXPECT(linkOf(io) != IO_LINK_CONNECTED);
    proxySwallow(near, false);
    proxyCut(near); // What was half swallowed is of no use
    agree(io, "a dead link");
    return longest_ms < CALL_MS_MAX ? found_ms : INT64_MAX;
}

static void isSwallowed(Io *io)
{
    EXPECT(swallow(io) < FOUND_MS_MAX);
    claim("a link that swallows everything is found out by the keepalive, and no call waits for it");
}

static void isDelayed(Io *io)
{
    proxyDelay(near, 300);
    proxyDelay(far, 200);
    Toil *toil = toilStart(ioGetDb(io));
    int64_t before = deviceStatus(io).sentItems;
    pause_ms(4000);
    EXPECT(deviceStatus(io).sentItems > before);
    EXPECT_NUMBER(toilEnd(toil), 0);
    agree(io, "a second's round trip");
    proxyDelay(near, 0);
    proxyDelay(far, 0);
}

static void isThrottled(Io *io)
{
    Db *db = ioGetDb(io);
    char *text = repeat('x', LARGE_BYTES);
    proxyThrottle(near, 40000);
    int64_t before = proxyBytesUp(near), begin_ms = clock_ms();
    int64_t connections = deviceStatus(io).connections;
    for (int index = 0; index < 5; index++) {
        EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", format("large%d", index), "text", text), NULL), 0);
    }
    free(text);
    EXPECT_CODE(ioSyncUp(io, 3 * PATIENCE_MS), 0);
    int64_t bytes = proxyBytesUp(near) - before;
    note("%d bytes took %lld ms and %lld bytes on the wire", 5 * LARGE_BYTES, (long long) (clock_ms() - begin_ms),
         (long long) bytes);
    EXPECT(bytes < 5 * LARGE_BYTES * 3 / 2); // Not sent again and again while the first try is on its way
    EXPECT_NUMBER(deviceStatus(io).connections, connections);
    proxyThrottle(near, 0);
    agree(io, "a slow link");
}

int main(void)
{
    scenarioBegin();
    scenarioSeed();
    Broker broker = brokerMake();
    brokerStart(&broker);
    near = proxyStart(broker.port);
    far = proxyStart(broker.port);
    Cloud cloud = cloudMake(proxyPort(far));
    cloudStart(&cloud);
    Io *io = ioOpen(format("{ deviceId: 'd1', accountId: 'a1',"
                           "  database: { path: '%s', schema: '%s', syncDelay: '%s' },"
                           "  mqtt: { endpoint: '127.0.0.1', port: %d, keepalive: '%dms' } }",
                           scratch("network.db"), testData("schema.json5"), SYNC_SOON, proxyPort(near), KEEPALIVE_MS));
    REQUIRE(io != NULL);
    REQUIRE(ioStart(io) == 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    isCut(io);
    isSwallowed(io);
    isDelayed(io);
    isThrottled(io);
    ioClose(io);
    cloudStop(&cloud);
    proxyStop(near);
    proxyStop(far);
    brokerStop(&broker);
    return scenarioEnd();
}
