/*
    A firmware works offline for a week: its clock, which this program gives it, begins seven days ago and moves on with each of
    100,000 changes, the clock's step over midnight and a reboot each day included. Then the broker is there. All that it did must
    be in the cloud, in its last state, with what the cloud changed in that week on the device; and nothing is sent twice.
 */
#define _DEFAULT_SOURCE // syscall()

#include "support/device.h"
#include "support/proxy.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define DAYS 7
#define CHANGES 100000
#define DAY_MS (24 * 3600 * INT64_C(1000))
#define SETTINGS 20

static volatile int64_t behind_ms;

/** The library's clocks, and everybody's in this process: a program's function goes before the C library's. */
int clock_gettime(clockid_t source, struct timespec *out)
{
    int code = (int) syscall(SYS_clock_gettime, source, out);
    if (source == CLOCK_REALTIME && behind_ms != 0) {
        int64_t wall_ms = (int64_t) out->tv_sec * 1000 + out->tv_nsec / 1000000 - behind_ms;
        out->tv_sec = (time_t) (wall_ms / 1000);
        out->tv_nsec = (long) (wall_ms % 1000) * 1000000;
    }
    return code;
}

static int readings, notes;

/** Change number `index`: 6 of 10 are new readings, 3 change one of 2000 notes, 1 removes one. */
static int change(Db *db, int index)
{
    int kind = index % 10;
    if (kind < 6) {
        readings++;
        return dbSet(db, "Reading", DB_PROPS("id", format("r%06d", index), "value", format("%d", index), "text",
                                             "coolant pressure is below the lower limit at pump 17"), DB_PARAMS(.upsert = true));
    }
    notes++;
    const char *id = format("n%d", (index / 10 * 3 + kind) % 2000);
    if (kind < 9) return dbSet(db, "Note", DB_PROPS("id", id, "count", format("%d", index)), DB_PARAMS(.upsert = true));
    int code = dbRemove(db, "Note", DB_PROPS("id", id), NULL);
    return code == DB_ERR_NOT_FOUND ? 0 : code;
}

static void week(int port)
{
    int64_t begin_ms = clock_ms();
    int failures = 0;
    for (int day = 0; day < DAYS; day++) {
        Io *io = deviceStart("week.db", port, "1s");
        Db *db = ioGetDb(io);
        int end = (int) ((int64_t) CHANGES * (day + 1) / DAYS);
        if (dbBegin(db) != 0) failures++;
        for (int index = (int) ((int64_t) CHANGES * day / DAYS); index < end; index++) {
            int64_t left_ms = DAYS * DAY_MS - index * (DAYS * DAY_MS / CHANGES);
            behind_ms = left_ms; // The real clock moves on beside it
            if (change(db, index) < 0) failures++;
            if (index % 50 == 49 && (dbCommit(db) != 0 || dbBegin(db) != 0)) failures++;
        }
        if (dbCommit(db) != 0) failures++;
        ioClose(io);
    }
    behind_ms = 0;
    EXPECT_NUMBER(failures, 0);
    note("a week took %lld ms", (long long) (clock_ms() - begin_ms));
}

typedef struct Progress {
    int64_t done, total;
    int steps;
    bool hasFallen;
} Progress;

static void onStatus(void *context, Io *io, const IoStatus *status)
{
    (void) io;
    Progress *progress = context;
    if (status->catchUpDone > progress->done) progress->steps++;
    if (status->catchUpDone < progress->done) progress->hasFallen = true;
    progress->done = status->catchUpDone;
    progress->total = status->catchUpTotal;
}

/** A firmware with an empty database. */
static void comesBack(int port)
{
    Progress progress = {0};
    Io *io = deviceOpen("new.db", port, SYNC_SOON);
    REQUIRE(io != NULL);
    Db *db = ioGetDb(io);
    EXPECT_CODE(ioSetStatusProc(io, onStatus, &progress), 0);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_CODE(ioSyncDown(io, 300000), 0);
    EXPECT(count(db, "Note", NULL) > 1000);
    EXPECT(cloudAgrees(db, "Note"));
    EXPECT_NUMBER(count(db, "Setting", NULL), SETTINGS);
    ioClose(io);
    note("%lld of %lld entries in %d steps", (long long) progress.done, (long long) progress.total, progress.steps);
    EXPECT(progress.steps > 2 && !progress.hasFallen && progress.done == progress.total && progress.total > 0);
    claim("a new flash gets its notes back, page by page, and is told how far it has come");
}

int main(void)
{
    scenarioBegin();
    scenarioSeconds(800);
    scenarioLog(IO_LOG_ERROR); // A broker that is away is warned of again and again
    Broker broker = brokerMake();
    Cloud cloud = cloudMake(broker.port);
    Proxy *proxy = proxyStart(broker.port);
    behind_ms = DAYS * DAY_MS;
    week(proxyPort(proxy));
    claim("a week offline: 100,000 changes, and no call fails");

    for (int index = 0; index < SETTINGS; index++) {
        EXPECT(cloudPut("Setting", format("{\"id\":\"s%d\",\"deviceId\":\"d1\",\"value\":\"of the week\"}", index)));
    }
    brokerStart(&broker);
    cloudStart(&cloud);
    int64_t begin_ms = clock_ms();
    Io *io = deviceStart("week.db", proxyPort(proxy), SYNC_SOON);
    Db *db = ioGetDb(io);
    int64_t pending = deviceStatus(io).pendingItems;
    EXPECT_CODE(ioSync(io, 300000), 0);
    IoStatus status = deviceStatus(io);
    note("%lld pending changes took %lld ms and %lld bytes", (long long) pending, (long long) (clock_ms() - begin_ms),
         (long long) proxyBytesUp(proxy));
    EXPECT(pending > CHANGES / 2);
    EXPECT_NUMBER(status.pendingItems, 0);
    EXPECT_NUMBER(status.rejectedItems, 0);
    EXPECT_NUMBER(status.sentItems, pending);
    claim("it catches up, and each pending change is acknowledged once");
    EXPECT_NUMBER(count(db, "Reading", NULL), readings);
    EXPECT(cloudAgrees(db, "Reading"));
    EXPECT(cloudAgrees(db, "Note"));
    EXPECT_NUMBER(count(db, "Setting", NULL), SETTINGS);
    EXPECT(cloudAgrees(db, "Setting"));
    claim("both sides hold the same");
    ioClose(io);
    comesBack(proxyPort(proxy));
    cloudStop(&cloud);
    proxyStop(proxy);
    brokerStop(&broker);
    return scenarioEnd();
}
