/*
    A device on a metered link has a backlog of telemetry and a daily budget, and then there is an alarm. The alarm must be in the
    cloud, the telemetry stop at its budget, and the status say what is held back; a status callback is told as it happens, also
    of the progress of a long catch-up. The same for a budget of the whole device, and for windows of the day.
 */
#include "support/device.h"

#include <pthread.h>

#define READINGS 300

static const char schema[] =
    "{format: 'onetable:1.1.0', version: '1', indexes: {primary: {hash: 'pk', sort: 'sk'}},"
    " models: {"
    "  Reading: {pk: {value: 'device#${deviceId}'}, sk: {value: 'reading#${id}'}, deviceId: {type: 'string'},"
    "   id: {type: 'string', required: true}, text: {type: 'string'}},"
    "  Alarm: {pk: {value: 'device#${deviceId}'}, sk: {value: 'alarm#${id}'}, deviceId: {type: 'string'},"
    "   id: {type: 'string', required: true}, text: {type: 'string'}}},"
    " process: {Reading: {sync: 'both', dailyBytes: 10000}, Alarm: {sync: 'up', priority: 10}}}";

typedef struct Told {
    pthread_mutex_t lock;
    int calls, held, caughtUp, elsewhere;
    int64_t done, total;
    bool hasFallen;
    Io *io;
} Told;

static void tell(void *context, Io *io, const IoStatus *status)
{
    Told *told = context;
    pthread_mutex_lock(&told->lock);
    told->calls++;
    told->held += status->held;
    told->caughtUp += status->caughtUp;
    if (io != told->io || status->size != sizeof *status) told->elsewhere++;
    told->hasFallen = told->hasFallen || (status->catchUpTotal == told->total && status->catchUpDone < told->done);
    if (status->catchUpTotal > 0) told->total = status->catchUpTotal;
    told->done = status->catchUpDone;
    pthread_mutex_unlock(&told->lock);
    /* What a callback must not do, and what it may. */
    ioStop(io);
    if (dbGetErrorCode() != DB_ERR_MISUSE) told->elsewhere++;
    ioClose(io);
    if (dbGetErrorCode() != DB_ERR_MISUSE) told->elsewhere++;
    IoStatus own = {.size = sizeof own};
    if (ioGetStatus(io, &own) != 0) told->elsewhere++;
}

static Told read1(Told *told)
{
    pthread_mutex_lock(&told->lock);
    Told copy = *told;
    pthread_mutex_unlock(&told->lock);
    return copy;
}

static Io *openMetered(const char *database, int port)
{
    char schemaPath[256], path[256];
    snprintf(schemaPath, sizeof schemaPath, "%s", scratch("metered.json5"));
    snprintf(path, sizeof path, "%s", scratch(database));
    return ioOpen(format("{deviceId: 'd1', accountId: 'a1', database: {path: '%s', schema: '%s', syncDelay: '50ms', syncLimit: '2K'},"
                         " mqtt: {endpoint: '127.0.0.1', port: %d}}",
                         path, schemaPath, port));
}

static bool alarmIsFirst(void *context, const DbPending *change)
{
    *(bool *) context = strcmp(change->model, "Alarm") == 0 && change->queued_ms > 1600000000000;
    return false;
}

static void metered(Broker *broker)
{
    Told told = {.lock = PTHREAD_MUTEX_INITIALIZER};
    Io *io = told.io = openMetered("metered.db", broker->port);
    REQUIRE(io != NULL);
    Db *db = ioGetDb(io);
    for (int index = 0; index < READINGS; index++) {
        EXPECT_CODE(create(db, "Reading", DB_PROPS("id", format("r%03d", index), "text", "0123456789")), 0);
    }
    pause_ms(20);
    EXPECT_CODE(create(db, "Alarm", DB_PROPS("id", "fire", "text", "now")), 0);
    bool isFirst = false;
    EXPECT_CODE(dbEachPending(db, alarmIsFirst, &isFirst), 1);
    EXPECT(isFirst);
    IoStatus status = deviceStatus(io);
    EXPECT_NUMBER(status.pendingItems, READINGS + 1);
    EXPECT(status.pendingBytes > READINGS * 40 && status.pendingBytes < READINGS * 100);
    EXPECT(status.oldestPending_ms >= 20 && status.oldestPending_ms < 60000);
    EXPECT(!status.held && status.conflicts == 0);
    claim("an alarm is sent before a backlog, and the status weighs what waits");

    EXPECT_CODE(ioSetStatusProc(NULL, tell, &told), DB_ERR_MISUSE);
    EXPECT_CODE(ioSetStatusProc(io, tell, &told), 0);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_WITHIN(PATIENCE_MS, cloudHas("Alarm", "fire"));
    EXPECT_WITHIN(PATIENCE_MS, deviceStatus(io).held);
    pause_ms(500);
    int64_t sent = cloudCount("Reading");
    note("%lld readings went", (long long) sent);
    EXPECT(sent > 10 && sent < READINGS / 2);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, READINGS - sent);
    EXPECT_CODE(ioSyncUp(io, 300), DB_ERR_TIMEOUT);
    EXPECT_NUMBER(cloudCount("Reading"), sent);
    EXPECT_CODE(create(db, "Alarm", DB_PROPS("id", "flood", "text", "now")), 0);
    EXPECT_WITHIN(PATIENCE_MS, cloudHas("Alarm", "flood"));
    EXPECT(read1(&told).held > 0 && read1(&told).caughtUp > 0);
    claim("telemetry stops at its budget, alarms pass, and the status callback tells of it");

    ioStop(io);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_WITHIN(PATIENCE_MS, deviceStatus(io).caughtUp && deviceStatus(io).held);
    EXPECT_NUMBER(cloudCount("Reading"), sent);
    EXPECT_CODE(ioSetStatusProc(io, NULL, NULL), 0);
    int calls = read1(&told).calls;
    ioClose(io);
    EXPECT_NUMBER(read1(&told).calls, calls);
    EXPECT_NUMBER(told.elsewhere, 0);
    io = openMetered("metered.db", broker->port);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_WITHIN(PATIENCE_MS, deviceStatus(io).caughtUp && deviceStatus(io).held);
    EXPECT_NUMBER(cloudCount("Reading"), sent);
    ioClose(io);
    claim("neither a stop nor a restart makes more of the budget; a callback that is taken away is not called");
}

/** The part of the day, UTC, from `from` to `to` hours from now, as the configuration has it. */
static const char *hours(int from, int to)
{
    int hour = (int) (wall_ms() / 3600000 % 24);
    return format("%02d:00-%02d:00", (hour + from + 24) % 24, (hour + to) % 24);
}

static Io *openWith(const char *database, int port, const char *more)
{
    char schemaPath[256], path[256];
    snprintf(schemaPath, sizeof schemaPath, "%s", scratch("free.json5"));
    snprintf(path, sizeof path, "%s", scratch(database));
    Io *io = ioOpen(format("{deviceId: 'd2', accountId: 'a1', database: {path: '%s', schema: '%s', syncDelay: '50ms', syncLimit: '2K', %s},"
                           " mqtt: {endpoint: '127.0.0.1', port: %d}}",
                           path, schemaPath, more, port));
    REQUIRE(io != NULL);
    return io;
}

/** Make `count` readings and an alarm, and wait for the alarm, and for `more` readings or until the rest is held back. */
static void works(const char *name, int port, const char *more, int count, bool isHeld)
{
    Io *io = openWith(format("%s.db", name), port, more);
    for (int index = 0; index < count; index++) {
        EXPECT_CODE(create(ioGetDb(io), "Reading", DB_PROPS("id", format("%s%03d", name, index), "text", "0123456789")), 0);
    }
    EXPECT_CODE(create(ioGetDb(io), "Alarm", DB_PROPS("id", name, "text", "now")), 0);
    int64_t before = cloudCount("Reading");
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_WITHIN(PATIENCE_MS, cloudHas("Alarm", name));
    if (isHeld) {
        EXPECT_WITHIN(PATIENCE_MS, deviceStatus(io).held);
        pause_ms(500);
        int64_t sent = cloudCount("Reading") - before;
        note("%s: %lld readings went", name, (long long) sent);
        EXPECT(strstr(more, "dailyBytes") != NULL ? sent > 10 && sent < count / 2 : sent == 0);
        EXPECT_NUMBER(deviceStatus(io).pendingItems, count - sent);
    } else {
        EXPECT_CODE(ioSyncUp(io, PATIENCE_MS), 0);
        EXPECT_NUMBER(cloudCount("Reading") - before, count);
        EXPECT(!deviceStatus(io).held);
    }
    ioClose(io);
}

static void useWindow(const char *window)
{
    char text[2048];
    snprintf(text, sizeof text, "%s", schema);
    char *place = strstr(text, "dailyBytes: 10000");
    REQUIRE(place != NULL);
    snprintf(place, sizeof text - (size_t) (place - text), "%s%s%s%s", *window != '\0' ? "window: '" : "", window,
             *window != '\0' ? "'" : "priority: 0", strstr(schema, "dailyBytes: 10000") + strlen("dailyBytes: 10000"));
    writeFile(scratch("free.json5"), text);
}

static void ofTheWholeDevice(Broker *broker)
{
    useWindow("");
    works("budget", broker->port, "dailyBytes: '10K'", READINGS, true);
    claim("a budget of the whole device holds telemetry back and lets alarms pass");
    works("shut", broker->port, format("window: '%s'", hours(3, 6)), 20, true);
    works("open", broker->port, format("window: '%s'", hours(-3, 3)), 20, false);
    claim("so does a window of the whole device, as long as it is shut");
    useWindow(hours(3, 6));
    works("modelshut", broker->port, "sizeMax: '100M'", 20, true);
    useWindow(hours(-3, 3));
    works("modelopen", broker->port, "sizeMax: '100M'", 20, false);
    claim("and the window of a model");
}

static void progress(Broker *broker)
{
    Told told = {.lock = PTHREAD_MUTEX_INITIALIZER};
    Io *io = told.io = openMetered("reader.db", broker->port);
    REQUIRE(io != NULL);
    EXPECT_CODE(ioSetStatusProc(io, tell, &told), 0);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_WITHIN(PATIENCE_MS, deviceStatus(io).caughtUp);
    EXPECT_WITHIN(PATIENCE_MS, read1(&told).caughtUp > 0);
    IoStatus status = deviceStatus(io);
    EXPECT(status.catchUpTotal > 10 && status.catchUpDone == status.catchUpTotal);
    EXPECT(read1(&told).total == status.catchUpTotal && !read1(&told).hasFallen && read1(&told).done == status.catchUpTotal);
    EXPECT_NUMBER(count(ioGetDb(io), "Reading", NULL), cloudCount("Reading"));
    ioClose(io);
    EXPECT_NUMBER(told.elsewhere, 0);
    claim("a catch-up tells how far it has come, to its end");
}

int main(void)
{
    scenarioBegin();
    writeFile(scratch("metered.json5"), schema);
    cloudUseSchema(scratch("metered.json5"));
    Services services = servicesStart();
    metered(&services.broker);
    progress(&services.broker);
    ofTheWholeDevice(&services.broker);
    servicesStop(&services);
    return scenarioEnd();
}
