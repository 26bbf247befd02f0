/*
    A firmware has been offline for long: 100,000 changes wait for the cloud. What it does meanwhile must cost about what it costs
    without them, in bytes that are read and written: creates, updates, gets, removals and questions for the status. And an alarm of today, and
    what comes from the cloud, must not wait until the backlog is worked off.
 */
#include "support/device.h"

#define BACKLOG 100000
#define CALLS 500

static const char schema[] =
    "{format: 'onetable:1.1.0', version: '1', indexes: {primary: {hash: 'pk', sort: 'sk'}},"
    " models: {"
    "  Reading: {pk: {value: 'device#${deviceId}'}, sk: {value: 'reading#${id}'}, deviceId: {type: 'string'},"
    "   id: {type: 'string', required: true}, text: {type: 'string'}},"
    "  Alarm: {pk: {value: 'device#${deviceId}'}, sk: {value: 'alarm#${id}'}, deviceId: {type: 'string'},"
    "   id: {type: 'string', required: true}, text: {type: 'string'}},"
    "  Setting: {pk: {value: 'device#${deviceId}'}, sk: {value: 'setting#${id}'}, deviceId: {type: 'string'},"
    "   id: {type: 'string', required: true}, value: {type: 'string'}},"
    "  Local: {pk: {value: 'device#${deviceId}'}, sk: {value: 'local#${id}'}, deviceId: {type: 'string'},"
    "   id: {type: 'string', required: true}, text: {type: 'string'}}},"
    " process: {Reading: {sync: 'up'}, Alarm: {sync: 'up', priority: 10}, Setting: {sync: 'down'}}}";

static Io *openAgent(const char *database, int port)
{
    char path[256];
    snprintf(path, sizeof path, "%s", scratch(database));
    Io *io = ioOpen(format("{deviceId: 'd1', accountId: 'a1', database: {path: '%s', schema: '%s', syncDelay: '50ms', durability: 'normal'},"
                           " mqtt: {endpoint: '127.0.0.1', port: %d}}",
                           path, scratch("backlog.json5"), port));
    REQUIRE(io != NULL);
    return io;
}

/** Items of a model: those that go up wait, those that are local do not. */
static void fill(Db *db, const char *model)
{
    int failures = 0;
    for (int index = 0; index < BACKLOG; index++) {
        if (index % 1000 == 0 && dbBegin(db) != 0) failures++;
        if (create(db, model, DB_PROPS("id", format("old%06d", index), "text", "coolant pressure is below the limit")) != 0) failures++;
        if (index % 1000 == 999 && dbCommit(db) != 0) failures++;
    }
    EXPECT_NUMBER(failures, 0);
}

/** An agent that is opened anew, so that nothing of what it has made is left to be written. */
static Io *filled(const char *database, int port, const char *model)
{
    Io *io = openAgent(database, port);
    fill(ioGetDb(io), model);
    ioClose(io);
    return openAgent(database, port);
}

/** Bytes that this process has read and written by calls of the system. */
static int64_t moved(void)
{
    char line[128];
    long long value;
    int64_t total = 0;
    FILE *file = fopen("/proc/self/io", "r");
    if (file == NULL) scenarioSkip("/proc/self/io can't be read");
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "rchar: %lld", &value) == 1 || sscanf(line, "wchar: %lld", &value) == 1) total += value;
    }
    fclose(file);
    return total;
}

static int64_t cost(Io *io)
{
    Db *db = ioGetDb(io);
    int failures = 0;
    deviceStatus(io); // The first one weighs what waits
    EXPECT_CODE(create(db, "Reading", DB_PROPS("id", "warm", "text", "up")), 0);
    int64_t before = moved();
    for (int index = 0; index < CALLS; index++) {
        const char *id = format("recent%06d", index);
        if (create(db, "Reading", DB_PROPS("id", id, "text", "coolant pressure is above the limit")) != 0) failures++;
        if (update(db, "Reading", DB_PROPS("id", id, "text", "coolant pressure is fine")) != 0) failures++;
        if (!exists(db, "Reading", DB_PROPS("id", id))) failures++;
        if (index % 2 == 0 && dbRemove(db, "Reading", DB_PROPS("id", id), NULL) != 1) failures++;
        if (deviceStatus(io).pendingItems < index) failures++;
    }
    int64_t bytes = moved() - before;
    EXPECT_NUMBER(failures, 0);
    return bytes / CALLS;
}

int main(void)
{
    scenarioBegin();
    writeFile(scratch("backlog.json5"), schema);
    cloudUseSchema(scratch("backlog.json5"));
    Services services = servicesStart();
    // As large a database, of which nothing waits.
    Io *without = filled("without.db", services.broker.port, "Local"), *with = filled("with.db", services.broker.port, "Reading");
    EXPECT_NUMBER(deviceStatus(without).pendingItems, 0);
    EXPECT_NUMBER(deviceStatus(with).pendingItems, BACKLOG);
    int64_t bytes[2] = {cost(without), cost(with)};
    note("bytes of a round of calls: %lld without a backlog, %lld with one", (long long) bytes[0], (long long) bytes[1]);
    // Its tree is a page or two deeper; whoever looks through it reads megabytes.
    EXPECT(bytes[0] > 0 && bytes[1] * 2 <= bytes[0] * 3);
    ioClose(without);
    claim("a backlog does not slow what the firmware does");

    EXPECT_CODE(create(ioGetDb(with), "Alarm", DB_PROPS("id", "fire", "text", "now")), 0);
    EXPECT(cloudPut("Setting", "{\"id\":\"s\",\"deviceId\":\"d1\",\"value\":\"urgent\"}"));
    Witness *witness = witnessAdd(ioGetDb(with), "Setting", DB_ON_REMOTE);
    EXPECT_CODE(ioStart(with), 0);
    int64_t receipt = 0, left = 0;
    while (left == 0 && !exists(ioGetDb(with), "Setting", DB_PROPS("id", "s"))) pause_ms(1);
    left = deviceStatus(with).pendingItems;
    note("%lld changes wait when the setting is there", (long long) left);
    EXPECT(left > 0);
    EXPECT_CODE(dbSet(ioGetDb(with), "Alarm", DB_PROPS("id", "flood", "text", "now"), DB_PARAMS(.upsert = true, .receipt = &receipt)), 0);
    EXPECT_CODE(ioWaitReceipt(with, receipt, PATIENCE_MS), 0);
    left = deviceStatus(with).pendingItems;
    note("%lld changes wait when the alarm is in the cloud", (long long) left);
    EXPECT(left > 0);
    EXPECT(cloudHas("Alarm", "fire") && cloudHas("Alarm", "flood"));
    claim("an alarm does not wait behind it, nor does what comes from the cloud");

    EXPECT_CODE(ioSync(with, 6 * PATIENCE_MS), 0);
    EXPECT_NUMBER(cloudCount("Reading"), BACKLOG + CALLS / 2 + 1);
    EXPECT_NUMBER(witnessCount(witness, NULL, "Setting", "s", DB_ORIGIN_REMOTE), 1);
    ioClose(with);
    witnessFree(witness);
    claim("and all of it arrives");
    servicesStop(&services);
    return scenarioEnd();
}
