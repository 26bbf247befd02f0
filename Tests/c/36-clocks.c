/*
    A firmware's clock, which this program gives it, is wrong: it begins in 1970, or is hours behind, hours ahead, or years ahead;
    then it steps back while the firmware runs. Whoever writes with knowledge of what the other side has written has the last word,
    nothing is lost, and once the cloud has told the time, the times that people are shown are right.
 */
#define _DEFAULT_SOURCE // syscall(), timegm()

#include "support/device.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define HOUR_MS (3600 * INT64_C(1000))
#define YEAR_MS (365 * 24 * HOUR_MS)
/** As a time of day may be off that the cloud has told. */
#define OFF_MS_MAX 60000

static volatile int64_t off_ms;

static int64_t true_ms(void)
{
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/** The library's clocks, and everybody's in this process: a program's function goes before the C library's. */
int clock_gettime(clockid_t source, struct timespec *out)
{
    int code = (int) syscall(SYS_clock_gettime, source, out);
    if (source == CLOCK_REALTIME && off_ms != 0) {
        int64_t wall_ms = (int64_t) out->tv_sec * 1000 + out->tv_nsec / 1000000 + off_ms;
        out->tv_sec = (time_t) (wall_ms / 1000);
        out->tv_nsec = (long) (wall_ms % 1000) * 1000000;
    }
    return code;
}

/** Unix milliseconds of "2026-11-20T23:40:48.312Z"; -1: it is no such text. */
static int64_t parsed(const char *text)
{
    struct tm parts = {0};
    int millisecond = 0;
    if (text == NULL || sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ", &parts.tm_year, &parts.tm_mon, &parts.tm_mday, &parts.tm_hour,
                               &parts.tm_min, &parts.tm_sec, &millisecond) != 7) return -1;
    parts.tm_year -= 1900;
    parts.tm_mon -= 1;
    return (int64_t) timegm(&parts) * 1000 + millisecond;
}

static int64_t updated(Db *db, const char *id)
{
    DbItem *item = dbGet(db, "Note", DB_PROPS("id", id), NULL);
    int64_t time = parsed(item != NULL ? dbField(item, "updated") : NULL);
    dbFreeItem(item);
    return time;
}

static bool isRight(int64_t time_ms)
{
    int64_t now_ms = true_ms();
    return time_ms > now_ms - OFF_MS_MAX && time_ms < now_ms + OFF_MS_MAX;
}

static bool cloudIsRight(const char *id)
{
    char *text = cloudField("Note", id, "updated");
    int64_t time = parsed(text);
    free(text);
    return isRight(time);
}

static bool deviceSays(Db *db, const char *id, const char *text)
{
    DbItem *item = dbGet(db, "Note", DB_PROPS("id", id), NULL);
    bool isSo = item != NULL && dbField(item, "text") != NULL && strcmp(dbField(item, "text"), text) == 0;
    dbFreeItem(item);
    return isSo;
}

static void set(Db *db, const char *id, const char *text)
{
    EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", id, "text", text), DB_PARAMS(.upsert = true)), 0);
}

static void cloudSet(const char *id, const char *text)
{
    EXPECT(cloudPut("Note", format("{\"id\":\"%s\",\"deviceId\":\"d1\",\"text\":\"%s\"}", id, text)));
}

/** A firmware starts with such a clock, and has never met the cloud. */
static void startsWith(int64_t wrong_ms, const char *name, int port)
{
    const char *database = format("%s.db", name), *early = format("%s-early", name), *shared = format("%s-shared", name);
    char first[32], second[32];
    snprintf(first, sizeof first, "%s", early);
    snprintf(second, sizeof second, "%s", shared);
    cloudSet(second, "cloud 0");
    off_ms = wrong_ms;
    Io *io = deviceOpen(database, port, SYNC_SOON);
    REQUIRE(io != NULL);
    Db *db = ioGetDb(io);
    set(db, first, "one");
    set(db, first, "two");
    EXPECT(!isRight(updated(db, first)));
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT(deviceSays(db, first, "two") && cloudFieldIs("Note", first, "text", "two"));
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    EXPECT_NUMBER(deviceStatus(io).rejectedItems, 0);
    claim("%s: nothing is lost, and the order stays", name);

    EXPECT(isRight(updated(db, first)) && cloudIsRight(first));
    claim("%s: the time that people see is right once it is known", name);

    EXPECT(deviceSays(db, second, "cloud 0"));
    set(db, second, "device 1");
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT(cloudFieldIs("Note", second, "text", "device 1"));
    EXPECT(isRight(updated(db, second)) && cloudIsRight(second));
    cloudSet(second, "cloud 2");
    EXPECT_WITHIN(PATIENCE_MS, deviceSays(db, second, "cloud 2"));
    set(db, second, "device 3");
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT(cloudFieldIs("Note", second, "text", "device 3"));
    cloudSet(second, "cloud 4");
    EXPECT_WITHIN(PATIENCE_MS, deviceSays(db, second, "cloud 4"));
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT(cloudFieldIs("Note", second, "text", "cloud 4"));
    claim("%s: the device's clock does not decide who wins", name);
    ioClose(io);
    off_ms = 0;
}

static void stepsBack(int port)
{
    Io *io = deviceStart("step.db", port, SYNC_SOON);
    set(ioGetDb(io), "step", "before");
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    off_ms = -24 * HOUR_MS;
    set(ioGetDb(io), "step", "after the step");
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT(cloudFieldIs("Note", "step", "text", "after the step"));
    ioClose(io);
    io = deviceOpen("step.db", port, SYNC_SOON);
    REQUIRE(io != NULL);
    set(ioGetDb(io), "step", "after a restart");
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT(cloudFieldIs("Note", "step", "text", "after a restart") && deviceSays(ioGetDb(io), "step", "after a restart"));
    EXPECT(cloudIsRight("step"));
    EXPECT_CODE(dbRemove(ioGetDb(io), "Note", DB_PROPS("id", "step"), NULL), 1);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT(!cloudHas("Note", "step"));
    EXPECT(cloudAgrees(ioGetDb(io), "Note"));
    ioClose(io);
    off_ms = 0;
    claim("a step back while it runs, and over a restart, keeps the order");
}

int main(void)
{
    scenarioBegin();
    Services services = servicesStart();
    startsWith(5000 - true_ms(), "1970", services.broker.port);
    startsWith(-5 * HOUR_MS, "hours-behind", services.broker.port);
    startsWith(3 * HOUR_MS, "hours-ahead", services.broker.port);
    startsWith(10 * YEAR_MS, "years-ahead", services.broker.port);
    stepsBack(services.broker.port);
    servicesStop(&services);
    return scenarioEnd();
}
