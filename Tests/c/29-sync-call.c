/*
    A firmware asks for synchronization in every state of its link: before the start, with the broker away, with the cloud
    away, and with both there. ioSync must return when the cloud has acknowledged, or after its timeout and not much later,
    or at once; and ioGetStatus must tell the counts that follow.
 */
#include "support/device.h"

#include <unistd.h>

/** ioSync's answer, with the expectation that it takes between these times. */
static int syncWithin(Io *io, int timeout_ms, int64_t least_ms, int64_t most_ms)
{
    int64_t before_ms = clock_ms();
    int code = ioSync(io, timeout_ms);
    int64_t took_ms = clock_ms() - before_ms;
    if (!EXPECT(took_ms >= least_ms && took_ms <= most_ms)) note("ioSync took %lld ms", (long long) took_ms);
    return code;
}

static void withoutBroker(Io *io)
{
    Db *db = ioGetDb(io);
    EXPECT_CODE(syncWithin(io, 1000, 0, 500), DB_ERR_OFFLINE);
    EXPECT_CODE(ioStart(io), 0);
    for (int index = 0; index < 3; index++) {
        EXPECT_CODE(create(db, "Note", DB_PROPS("id", format("n%d", index), "text", "x")), 0);
    }
    EXPECT_CODE(syncWithin(io, 300, 290, 2000), DB_ERR_TIMEOUT);
    EXPECT_CODE(ioSyncUp(io, 100), DB_ERR_TIMEOUT);
    EXPECT_CODE(ioSyncDown(io, 100), DB_ERR_TIMEOUT);
    EXPECT_CODE(syncWithin(io, 0, 0, 500), 0);
    EXPECT_CODE(ioFlushSync(io), 0);
    IoStatus status = deviceStatus(io);
    EXPECT(status.link == IO_LINK_CONNECTING || status.link == IO_LINK_WAITING);
    EXPECT(!status.caughtUp);
    EXPECT_NUMBER(status.pendingItems, 3);
    EXPECT_NUMBER(status.sentItems, 0);
    EXPECT_NUMBER(status.connections, 0);
    EXPECT_NUMBER(status.lastUp_ms, 0);
    EXPECT(status.lastError < 0 && status.lastErrorText[0] != '\0');
    note("last error %d: %s", status.lastError, status.lastErrorText);
    claim("without a broker ioSync times out, keeps its time, and the status says why");
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
size_t __sanitizer_get_current_allocated_bytes(void);
#endif

/** Bytes of memory that this process has in use. */
static int64_t memoryUsed(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    // They have memory of their own, and keep what is freed.
    return (int64_t) __sanitizer_get_current_allocated_bytes();
#else
    long long pages = 0, used = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    REQUIRE(file != NULL && fscanf(file, "%lld %lld", &pages, &used) == 2);
    fclose(file);
    return used * sysconf(_SC_PAGESIZE);
#endif
}

static void manyCallsOffline(Io *io)
{
    int64_t before_ms = clock_ms(), before = memoryUsed(), receipt = 0;
    EXPECT_CODE(dbSet(ioGetDb(io), "Note", DB_PROPS("id", "n0", "text", "z"), DB_PARAMS(.receipt = &receipt)), 0);
    int failures = 0;
    for (int call = 0; call < 100000; call++) {
        failures += (call % 3 == 0 ? ioFlushSync(io) : ioSync(io, 0)) != 0;
        if (call % 10 == 0) failures += ioWaitReceipt(io, receipt, 0) != DB_ERR_TIMEOUT;
    }
    EXPECT_NUMBER(failures, 0);
    ioStop(io);
    int64_t took_ms = clock_ms() - before_ms, grown = memoryUsed() - before;
    EXPECT(took_ms < PATIENCE_MS);
    EXPECT(grown < 4 * 1024 * 1024);
    note("100,000 calls took %lld ms and %lld bytes", (long long) took_ms, (long long) grown);
    EXPECT_CODE(ioStart(io), 0);
    claim("what is asked for without a wait is asked for once, however often: it takes neither time nor memory");
}

static void withoutCloud(Io *io)
{
    EXPECT_WITHIN(PATIENCE_MS, deviceStatus(io).link == IO_LINK_CONNECTED);
    EXPECT_CODE(syncWithin(io, 500, 490, 2000), DB_ERR_TIMEOUT);
    IoStatus status = deviceStatus(io);
    EXPECT(!status.caughtUp);
    EXPECT_NUMBER(status.pendingItems, 3);
    EXPECT_NUMBER(status.sentItems, 0);
    EXPECT_NUMBER(status.connections, 1);
    claim("with a broker and no cloud ioSync times out: what the broker has taken is not acknowledged");
}

static void withCloud(Io *io)
{
    Db *db = ioGetDb(io);
    int64_t before_ms = wall_ms();
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    IoStatus status = deviceStatus(io);
    EXPECT(status.caughtUp);
    EXPECT_NUMBER(status.pendingItems, 0);
    EXPECT_NUMBER(status.rejectedItems, 0);
    EXPECT_NUMBER(status.sentItems, 3);
    EXPECT(status.sentBytes > 0 && status.receivedBytes > 0);
    EXPECT(status.lastUp_ms >= before_ms && status.lastUp_ms <= wall_ms());
    EXPECT_NUMBER(cloudCount("Note"), 3);
    claim("with the cloud ioSync returns when it has acknowledged, and the status counts");

    EXPECT(cloudPut("Setting", "{\"id\":\"s\",\"deviceId\":\"d1\",\"value\":\"1\"}"));
    EXPECT_CODE(ioSyncDown(io, PATIENCE_MS), 0);
    EXPECT(exists(db, "Setting", DB_PROPS("id", "s")));
    EXPECT_CODE(update(db, "Note", DB_PROPS("id", "n0", "text", "y")), 0);
    EXPECT_NUMBER(dbRemove(db, "Note", DB_PROPS("id", "n1"), NULL), 1);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 2);
    EXPECT_CODE(ioSyncUp(io, PATIENCE_MS), 0);
    status = deviceStatus(io);
    EXPECT_NUMBER(status.pendingItems, 0);
    EXPECT_NUMBER(status.sentItems, 5);
    EXPECT_NUMBER(status.receivedItems, 1);
    EXPECT(status.lastDown_ms >= before_ms && status.lastDown_ms <= wall_ms());
    EXPECT_CODE(syncWithin(io, PATIENCE_MS, 0, 5000), 0);
    claim("each way can be asked for alone, and with nothing to do it returns soon");

    EXPECT_CODE(create(db, "Reading", DB_PROPS("value", "1.5")), 0);
    EXPECT_CODE(ioFlushSync(io), 0);
    EXPECT_WITHIN(PATIENCE_MS, deviceIsFlushed(io));
    EXPECT_NUMBER(cloudCount("Reading"), 1);
    claim("ioFlushSync sends without waiting");
}

static void manyItems(Io *io)
{
    Db *db = ioGetDb(io);
    for (int index = 0; index < 500; index++) {
        EXPECT_CODE(create(db, "Reading", DB_PROPS("id", format("many%03d", index), "value", format("%d", index))), 0);
    }
    char *large = repeat('l', 100000);
    for (int index = 0; index < 5; index++) {
        EXPECT_CODE(create(db, "Reading", DB_PROPS("id", format("large%d", index), "text", large)), 0);
    }
    free(large);
    EXPECT_CODE(ioSyncUp(io, PATIENCE_MS), 0);
    EXPECT_NUMBER(cloudCount("Reading"), 506);
    EXPECT(cloudAgrees(db, "Reading"));
    claim("five hundred items and five of 100 KB go up within one ioSyncUp");
}

int main(void)
{
    scenarioBegin();
    Broker broker = brokerMake();
    Cloud cloud = cloudMake(broker.port);
    Io *io = deviceOpen("sync.db", broker.port, SYNC_NEVER);
    REQUIRE(io != NULL);
    withoutBroker(io);
    manyCallsOffline(io);
    brokerStart(&broker);
    withoutCloud(io);
    cloudStart(&cloud);
    withCloud(io);
    manyItems(io);
    ioClose(io);
    cloudStop(&cloud);
    brokerStop(&broker);
    return scenarioEnd();
}
