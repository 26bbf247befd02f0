/*
    One device, two databases: the flash of a device is cloned, an older state of it is put back, a second firmware is started
    under the same id with a database of its own. The one that comes with what is over is fenced, and says so: it keeps its
    changes and disturbs nobody, until it is told to go on. Then everything of both is in the cloud.
 */
#include "support/device.h"

#include <stdatomic.h>
#include <unistd.h>

static void copyFile(const char *from, const char *to)
{
    char buffer[65536];
    size_t size;
    FILE *source = fopen(from, "rb"), *target = fopen(to, "wb");
    REQUIRE(source != NULL && target != NULL);
    while ((size = fread(buffer, 1, sizeof buffer, source)) > 0) REQUIRE(fwrite(buffer, 1, size, target) == size);
    fclose(source);
    fclose(target);
}

/** A database that is closed is one file. */
static void copyDatabase(const char *from, const char *to)
{
    char source[256];
    snprintf(source, sizeof source, "%s", scratch(from));
    copyFile(source, scratch(to));
}

static void work(const char *database, int port, const char *id)
{
    Io *io = deviceStart(database, port, SYNC_SOON);
    EXPECT_CODE(create(ioGetDb(io), "Note", DB_PROPS("id", id, "text", database)), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    ioClose(io);
}

static void expectFenced(Io *io)
{
    EXPECT_WITHIN(PATIENCE_MS, deviceStatus(io).link == IO_LINK_FENCED);
    IoStatus status = deviceStatus(io);
    EXPECT_NUMBER(status.lastError, DB_ERR_FENCED);
    EXPECT(strstr(status.lastErrorText, "another database") != NULL);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), DB_ERR_FENCED);
}

/** Calls that said that it is fenced; those that came after it was not. */
static atomic_int fences, returns;

static void onStatus(void *context, Io *io, const IoStatus *status)
{
    (void) context, (void) io;
    if (status->link == IO_LINK_FENCED && status->lastError == DB_ERR_FENCED) fences++;
    if (status->link == IO_LINK_CONNECTED && status->lastError == 0) returns++;
}

static void clone(Broker *broker)
{
    work("original.db", broker->port, "before");
    copyDatabase("original.db", "clone.db");
    work("original.db", broker->port, "after");
    Io *original = deviceStart("original.db", broker->port, SYNC_SOON);
    EXPECT_CODE(ioSync(original, PATIENCE_MS), 0);

    Io *io = deviceOpen("clone.db", broker->port, SYNC_SOON);
    REQUIRE(io != NULL);
    EXPECT_CODE(ioSetStatusProc(io, onStatus, NULL), 0);
    EXPECT_CODE(ioStart(io), 0);
    expectFenced(io);
    EXPECT_WITHIN(PATIENCE_MS, fences == 1);
    int64_t receipt = 0;
    EXPECT_CODE(dbSet(ioGetDb(io), "Note", DB_PROPS("id", "cloned", "text", "kept"), DB_PARAMS(.receipt = &receipt)), 0);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 1);
    int64_t before_ms = clock_ms();
    EXPECT_CODE(ioWaitReceipt(io, receipt, PATIENCE_MS), DB_ERR_FENCED);
    EXPECT_CODE(ioWaitReceipt(io, receipt, 0), DB_ERR_FENCED);
    EXPECT(clock_ms() - before_ms < PATIENCE_MS / 2);
    claim("a clone is fenced, says so, also to its callback, and works on by itself");

    /* The broker has thrown the original out once, when the clone came. */
    EXPECT_CODE(create(ioGetDb(original), "Note", DB_PROPS("id", "undisturbed", "text", "x")), 0);
    EXPECT_CODE(ioSync(original, PATIENCE_MS), 0);
    EXPECT_NUMBER(deviceStatus(original).link, IO_LINK_CONNECTED);
    EXPECT(cloudHas("Note", "undisturbed") && !cloudHas("Note", "cloned"));
    int64_t connections = deviceStatus(original).connections;
    ioClose(io);
    io = deviceOpen("clone.db", broker->port, SYNC_SOON);
    REQUIRE(io != NULL);
    fences = returns = 0;
    EXPECT_CODE(ioSetStatusProc(io, onStatus, NULL), 0);
    EXPECT_CODE(ioStart(io), 0);
    pause_ms(500);
    EXPECT_NUMBER(fences, 1);
    EXPECT_NUMBER(returns, 0);
    EXPECT_NUMBER(deviceStatus(io).link, IO_LINK_FENCED);
    EXPECT_NUMBER(deviceStatus(io).connections, 0);
    EXPECT_NUMBER(deviceStatus(original).connections, connections);
    claim("the original goes on, and a restart of the clone does not disturb it");

    EXPECT_CODE(ioRejoin(NULL), DB_ERR_MISUSE);
    EXPECT_CODE(ioRejoin(io), 0);
    EXPECT_CODE(ioWaitReceipt(io, receipt, PATIENCE_MS), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT_NUMBER(deviceStatus(io).link, IO_LINK_CONNECTED);
    EXPECT_WITHIN(PATIENCE_MS, returns > 0);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    EXPECT(cloudHas("Note", "cloned"));
    EXPECT_NUMBER(count(ioGetDb(io), "Note", NULL), 4);
    EXPECT(cloudAgrees(ioGetDb(io), "Note"));
    EXPECT_WITHIN(PATIENCE_MS, deviceStatus(original).link == IO_LINK_FENCED);
    claim("ioRejoin makes it the device: what both have written is there, and the original is fenced in turn");
    ioClose(original);
    ioClose(io);
}

static void restored(Broker *broker)
{
    work("flash.db", broker->port, "first");
    copyDatabase("flash.db", "image.db");
    work("flash.db", broker->port, "second");
    Io *io = deviceStart("flash.db", broker->port, SYNC_SOON);
    EXPECT_CODE(update(ioGetDb(io), "Note", DB_PROPS("id", "first", "text", "changed later")), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    ioClose(io);
    copyDatabase("image.db", "flash.db");

    io = deviceStart("flash.db", broker->port, SYNC_SOON);
    expectFenced(io);
    EXPECT(!exists(ioGetDb(io), "Note", DB_PROPS("id", "second")));
    EXPECT_CODE(ioRejoin(io), 0);
    EXPECT_CODE(create(ioGetDb(io), "Note", DB_PROPS("id", "third", "text", "x")), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT(exists(ioGetDb(io), "Note", DB_PROPS("id", "second")));
    EXPECT(cloudHas("Note", "third") && cloudFieldIs("Note", "first", "text", "changed later"));
    EXPECT(cloudAgrees(ioGetDb(io), "Note"));
    ioClose(io);
    claim("an older state is fenced; ioRejoin brings back what it had written since, and loses nothing");
}

static void secondFirmware(Broker *broker)
{
    Io *first = deviceStart("flash.db", broker->port, SYNC_SOON);
    EXPECT_CODE(ioSync(first, PATIENCE_MS), 0);
    Io *second = deviceStart("second.db", broker->port, SYNC_SOON);
    EXPECT_WITHIN(PATIENCE_MS, deviceStatus(first).link == IO_LINK_FENCED || deviceStatus(second).link == IO_LINK_FENCED);
    EXPECT_NUMBER(deviceStatus(first).link, IO_LINK_FENCED);
    EXPECT_CODE(ioSync(second, PATIENCE_MS), 0);
    EXPECT(cloudAgrees(ioGetDb(second), "Note"));
    ioClose(first);
    claim("the same id started with another database: the new one takes over, the old one is fenced");

    IoStatus before = deviceStatus(second);
    EXPECT_CODE(ioRejoin(second), 0);
    EXPECT_WITHIN(PATIENCE_MS, deviceStatus(second).connections > before.connections);
    EXPECT_CODE(ioSync(second, PATIENCE_MS), 0);
    EXPECT(cloudAgrees(ioGetDb(second), "Note"));
    ioClose(second);
    claim("ioRejoin of a database that is not fenced does no harm");
}

static Io *startAs(const char *account, int port)
{
    const char *config = format("{ deviceId: 'd2', accountId: '%s',\n"
                                "  database: { path: '%s', schema: '%s', syncDelay: '50ms' },\n"
                                "  mqtt: { endpoint: '127.0.0.1', port: %d } }\n",
                                account, scratch("account.db"), testData("schema.json5"), port);
    Io *io = ioOpen(config);
    REQUIRE(io != NULL);
    EXPECT_CODE(ioStart(io), 0);
    return io;
}

static void otherAccount(Broker *broker)
{
    Io *io = startAs("a1", broker->port);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT_NUMBER(deviceStatus(io).lastError, 0);
    ioClose(io);

    io = startAs("a2", broker->port);
    EXPECT_CODE(create(ioGetDb(io), "Note", DB_PROPS("id", "account", "text", "kept")), 0);
    EXPECT_WITHIN(PATIENCE_MS, deviceStatus(io).lastError == DB_ERR_DENIED);
    EXPECT(strstr(deviceStatus(io).lastErrorText, "another account") != NULL);
    EXPECT_NUMBER(deviceStatus(io).link, IO_LINK_CONNECTED);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 1);
    ioClose(io);
    claim("a device that names another account than its first is told, and keeps what it has");

    io = startAs("a1", broker->port);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT_NUMBER(deviceStatus(io).lastError, 0);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    ioClose(io);
    claim("with the right one it goes on");
}

int main(void)
{
    scenarioBegin();
    Services services = servicesStart();
    clone(&services.broker);
    restored(&services.broker);
    secondFirmware(&services.broker);
    otherAccount(&services.broker);
    servicesStop(&services);
    return scenarioEnd();
}
