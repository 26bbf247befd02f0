/*
    sysmon: firmware that watches its own machine.

    It reads the machine's sensors at an interval and stores each reading as a Sample, raises an Alert when a limit is
    passed, obeys the Settings that the cloud sends down, and executes its Commands. The library does the rest: what is
    stored here goes up when there is a way, however often this process, the broker or the cloud dies.

    The triggers only wake the main loop, which reads what it needs from the database: so a command that arrived before a
    crash is executed after it, by the same lines as any other.
 */
#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700
#endif

#include "sensors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <ioto.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define INTERVAL_MS_DEFAULT 5000
#define INTERVAL_MS_MIN 50
#define INTERVAL_MS_MAX 3600000
#define SAMPLES_MAX_DEFAULT 100000
/* How long the end waits for the cloud's acknowledgement; the shorter one when there is no link, and need not be one. */
#define FAREWELL_TIMEOUT_MS 10000
#define FAREWELL_OFFLINE_MS 1000
#define JSON_BYTES_MAX 1024

typedef struct Options {
    const char *config;
    int64_t interval_ms;
    /** End after this many samples; 0: never. */
    int64_t count;
    bool isOfflineOk;
} Options;

/** What the cloud has set, or the defaults. */
typedef struct Settings {
    int64_t interval_ms;
    int64_t samples_max;
    double cpu_limit, memory_limit, temperature_limit;
} Settings;

typedef struct Monitor {
    Io *io;
    Db *db;
    Options options;
    Settings settings;
    SensorCounters counters;
    /** Number of the last sample, also of earlier runs, and how many are kept. */
    int64_t last_id, samples_kept;
    /** Samples of this run. */
    int64_t samples_taken;
    IoLink link;
} Monitor;

/* ---- Saying what happens ---- */

static int64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t monotonic_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** One line with the time of day, from whatever thread. */
static void say(const char *format, ...)
{
    struct tm parts;
    char clock[16], line[JSON_BYTES_MAX];
    time_t now = time(NULL);
    va_list arguments;
    localtime_r(&now, &parts);
    strftime(clock, sizeof clock, "%H:%M:%S", &parts);
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    printf("%s %s\n", clock, line);
    fflush(stdout);
}

static void onLog(void *context, IoLogLevel level, const char *message)
{
    say("%s: %s", level <= IO_LOG_ERROR ? "error" : level == IO_LOG_WARNING ? "warning" : "info", message);
}

static void sayFailure(const char *what) { say("%s failed: %s", what, dbGetError(NULL)); }

/* ---- Being woken: signals and triggers write one byte into a pipe that the main loop waits for ---- */

enum { WAKE_READ, WAKE_WRITE };
static int wakePipe[2];
static volatile sig_atomic_t isEnding;

static void wake(void)
{
    int error = errno;
    // A full pipe wakes as well as one byte more.
    if (write(wakePipe[WAKE_WRITE], "w", 1) < 0) errno = error;
    errno = error;
}

static void onSignal(int signal)
{
    isEnding = 1;
    wake();
}

static void onRemoteChange(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params,
                           const char *cmd, int events)
{
    const char *what = dbField(item, "value");
    if (what == NULL) what = dbField(item, "action");
    say("cloud: %s %s %s %s", cmd, dbModelName(model), dbField(item, "id"), what != NULL ? what : "");
    wake();
}

static void onRejected(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params,
                       const char *cmd, int events)
{
    say("the cloud refuses %s %s: %s", dbModelName(model), dbField(item, "id"), dbTriggerReason(item));
}

/** Wait for a byte, or this long; whether there was one. */
static bool sleepUntilWoken(int64_t timeout_ms)
{
    char bytes[64];
    bool isWoken = false;
    struct pollfd wait = {.fd = wakePipe[WAKE_READ], .events = POLLIN};
    poll(&wait, 1, timeout_ms > 0 ? (int) timeout_ms : 0);
    while (read(wakePipe[WAKE_READ], bytes, sizeof bytes) > 0) isWoken = true;
    return isWoken;
}

static bool prepareToBeWoken(void)
{
    struct sigaction action = {.sa_handler = onSignal};
    if (pipe(wakePipe) != 0) return false;
    fcntl(wakePipe[WAKE_READ], F_SETFL, O_NONBLOCK);
    fcntl(wakePipe[WAKE_WRITE], F_SETFL, O_NONBLOCK);
    sigemptyset(&action.sa_mask);
    return sigaction(SIGTERM, &action, NULL) == 0 && sigaction(SIGINT, &action, NULL) == 0;
}

/* ---- Device ---- */

static void storeDevice(Monitor *monitor, const char *state)
{
    char json[JSON_BYTES_MAX];
    snprintf(json, sizeof json, "{state: '%s', intervalMs: %" PRId64 ", samples: %" PRId64 "}", state,
             monitor->settings.interval_ms, monitor->last_id);
    if (dbSet(monitor->db, "Device", DB_JSON(json), NULL) != 0) sayFailure("storing the device");
}

static void introduceDevice(Monitor *monitor)
{
    struct utsname system;
    char name[256], cores[24], memory[24], started[24];
    if (uname(&system) != 0) return;
    snprintf(name, sizeof name, "%.80s %.80s %.80s", system.sysname, system.release, system.machine);
    snprintf(cores, sizeof cores, "%ld", sysconf(_SC_NPROCESSORS_ONLN));
    snprintf(memory, sizeof memory, "%" PRId64, sensorsMemoryTotal());
    snprintf(started, sizeof started, "%" PRId64, wall_ms());
    const DbProps *device = DB_PROPS("host", system.nodename, "system", name, "cores", cores, "memoryTotal", memory,
                                     "started", started);
    if (dbSet(monitor->db, "Device", device, NULL) != 0) sayFailure("storing the device");
}

/* ---- Settings ---- */

static double setting(Monitor *monitor, const char *id, double defaultValue, double least, double most)
{
    double value = dbGetDouble(monitor->db, "Setting", "value", DB_PROPS("id", id), defaultValue);
    if (value >= least && value <= most) return value;
    say("setting %s = %g is out of range; %g counts", id, value, defaultValue);
    return defaultValue;
}

static void readSettings(Monitor *monitor)
{
    Settings *settings = &monitor->settings;
    int64_t before_ms = settings->interval_ms;
    settings->interval_ms = (int64_t) setting(monitor, "intervalMs", (double) monitor->options.interval_ms, INTERVAL_MS_MIN,
                                              INTERVAL_MS_MAX);
    settings->samples_max = (int64_t) setting(monitor, "samplesMax", SAMPLES_MAX_DEFAULT, 1, 1e9);
    settings->cpu_limit = setting(monitor, "cpuLimit", 95, 0, 100);
    settings->memory_limit = setting(monitor, "memoryLimit", 95, 0, 100);
    settings->temperature_limit = setting(monitor, "temperatureLimit", 85, 0, 200);
    if (before_ms == settings->interval_ms) return;
    say("sampling every %" PRId64 " ms", settings->interval_ms);
    storeDevice(monitor, "running");
}

/* ---- Samples ---- */

/** Go on counting where an earlier run ended. */
static void countSamples(Monitor *monitor)
{
    int64_t count = dbCount(monitor->db, "Sample", NULL, NULL);
    DbItem *last = dbFindOne(monitor->db, "Sample", NULL, DB_PARAMS(.reverse = true));
    monitor->samples_kept = count > 0 ? count : 0;
    monitor->last_id = dbFieldNumber(last, "id", 0);
    dbFreeItem(last);
    if (count > 0) say("%" PRId64 " samples of earlier runs, the last is %" PRId64, count, monitor->last_id);
}

/** Remove the oldest samples beyond the limit. */
static void dropOldSamples(Monitor *monitor)
{
    while (monitor->samples_kept > monitor->settings.samples_max) {
        DbItem *oldest = dbFindOne(monitor->db, "Sample", NULL, NULL);
        const char *id = dbField(oldest, "id");
        int removed = id != NULL ? dbRemove(monitor->db, "Sample", DB_PROPS("id", id), NULL) : 0;
        dbFreeItem(oldest);
        if (removed != 1) return;
        monitor->samples_kept--;
    }
}

/** Keep the alert of one metric in step with its value; it changes only when the limit is passed, either way. */
static void watch(Monitor *monitor, const char *id, double value, double limit)
{
    char json[JSON_BYTES_MAX];
    const char *state = value > limit ? "raised" : "cleared";
    char *stored = dbGetString(monitor->db, "Alert", "state", DB_PROPS("id", id), "cleared");
    bool isSame = stored != NULL && strcmp(stored, state) == 0;
    dbFree(stored);
    if (isSame) return;
    snprintf(json, sizeof json, "{id: '%s', state: '%s', value: %.1f, limit: %.1f}", id, state, value, limit);
    if (dbSet(monitor->db, "Alert", DB_JSON(json), NULL) != 0) {
        sayFailure("storing an alert");
        return;
    }
    say("alert %s: %s is %.1f, the limit %.1f", state, id, value, limit);
}

/** Read the sensors and store what they say; whether that succeeded. */
static bool takeSample(Monitor *monitor)
{
    SensorReading now;
    char json[JSON_BYTES_MAX], temperature[48] = "";
    sensorsRead(&monitor->counters, &now);
    if (now.hasTemperature) snprintf(temperature, sizeof temperature, ", temperature: %.1f", now.temperature_celsius);
    snprintf(json, sizeof json,
             "{id: '%010" PRId64 "', at: %" PRId64 ", cpu: %.1f, memory: %.1f, memoryAvailable: %" PRId64
             ", netIn: %.0f, netOut: %.0f, diskRead: %.0f, diskWrite: %.0f%s}",
             monitor->last_id + 1, wall_ms(), now.cpu_percent, now.memory_percent, now.memory_available_bytes,
             now.net_in_per_s, now.net_out_per_s, now.disk_read_per_s, now.disk_write_per_s, temperature);
    DbItem *sample = dbCreate(monitor->db, "Sample", DB_JSON(json), NULL);
    if (sample == NULL) {
        sayFailure("storing a sample");
        return false;
    }
    dbFreeItem(sample);
    monitor->last_id++;
    monitor->samples_taken++;
    monitor->samples_kept++;
    say("sample %" PRId64 ": cpu %.1f %%, memory %.1f %%, net in %.1f out %.1f KB/s, disk read %.1f write %.1f KB/s",
        monitor->last_id, now.cpu_percent, now.memory_percent, now.net_in_per_s / 1024, now.net_out_per_s / 1024,
        now.disk_read_per_s / 1024, now.disk_write_per_s / 1024);
    watch(monitor, "cpu", now.cpu_percent, monitor->settings.cpu_limit);
    watch(monitor, "memory", now.memory_percent, monitor->settings.memory_limit);
    if (now.hasTemperature) watch(monitor, "temperature", now.temperature_celsius, monitor->settings.temperature_limit);
    dropOldSamples(monitor);
    return true;
}

/* ---- Commands ---- */

/** Execute one command; its result in words. */
static bool execute(Monitor *monitor, const char *action, char *out_result, size_t size)
{
    if (strcmp(action, "ping") == 0) {
        snprintf(out_result, size, "pong");
        return true;
    }
    if (strcmp(action, "snapshot") == 0) {
        bool isTaken = takeSample(monitor);
        snprintf(out_result, size, isTaken ? "sample %010" PRId64 : "no sample after %010" PRId64, monitor->last_id);
        return isTaken;
    }
    if (strcmp(action, "status") == 0) {
        storeDevice(monitor, "running");
        snprintf(out_result, size, "%" PRId64 " samples, one every %" PRId64 " ms", monitor->samples_kept,
                 monitor->settings.interval_ms);
        return true;
    }
    snprintf(out_result, size, "unknown action");
    return false;
}

/**
 * Execute every command that is still new. A crash between execution and update executes a command again at the next
 * start: actions must bear that, as these do.
 */
static void executeCommands(Monitor *monitor)
{
    DbList *list = dbFind(monitor->db, "Command", DB_PROPS("state", "new"), NULL);
    const DbItem *command;
    size_t index;
    for (DB_ITERATE(list, command, index)) {
        char result[128];
        const char *action = dbField(command, "action");
        const char *id = dbField(command, "id");
        // What comes from the cloud is stored as it is: `required` is asked of what is written here.
        bool isDone = execute(monitor, action != NULL ? action : "", result, sizeof result);
        const DbProps *outcome = DB_PROPS("id", id, "state", isDone ? "done" : "failed", "result", result);
        DbItem *updated = dbUpdate(monitor->db, "Command", outcome, NULL);
        if (updated == NULL) sayFailure("answering a command");
        dbFreeItem(updated);
        say("command %s %s: %s", id, action, result);
    }
    dbFreeList(list);
}

/* ---- Life ---- */

/** Say when the link to the cloud comes and goes. */
static void watchLink(Monitor *monitor)
{
    IoStatus status = {.size = sizeof status};
    if (ioGetStatus(monitor->io, &status) != 0) return;
    bool isConnected = status.link == IO_LINK_CONNECTED;
    if (isConnected != (monitor->link == IO_LINK_CONNECTED)) {
        say("%s, %" PRId64 " changes pending%s%s", isConnected ? "connected" : "offline", status.pendingItems,
            isConnected || status.lastError == 0 ? "" : ": ", isConnected ? "" : status.lastErrorText);
    }
    monitor->link = status.link;
}

/** Do what the cloud has asked for since the last look. */
static void obey(Monitor *monitor, int64_t *due_ms)
{
    int64_t interval_ms = monitor->settings.interval_ms;
    readSettings(monitor);
    // A new interval counts from the last sample.
    *due_ms += monitor->settings.interval_ms - interval_ms;
    executeCommands(monitor);
}

static void run(Monitor *monitor)
{
    int64_t due_ms = monotonic_ms() + monitor->settings.interval_ms;
    obey(monitor, &due_ms); // what an earlier life has left
    while (!isEnding && (monitor->options.count == 0 || monitor->samples_taken < monitor->options.count)) {
        int64_t wait_ms = due_ms - monotonic_ms();
        watchLink(monitor);
        if (wait_ms > 0) {
            // Not for longer than a second: the state of the link is looked at here, not heard from ioSetStatusProc().
            if (sleepUntilWoken(wait_ms < 1000 ? wait_ms : 1000)) obey(monitor, &due_ms);
            continue;
        }
        takeSample(monitor);
        due_ms += monitor->settings.interval_ms;
        // After a standstill there is one sample, not one for each that was missed.
        if (due_ms < monotonic_ms()) due_ms = monotonic_ms() + monitor->settings.interval_ms;
    }
}

/** End in good order; the process's exit code. */
static int end(Monitor *monitor)
{
    storeDevice(monitor, "stopped");
    watchLink(monitor);
    bool isHopeless = monitor->options.isOfflineOk && monitor->link != IO_LINK_CONNECTED;
    int code = ioSync(monitor->io, isHopeless ? FAREWELL_OFFLINE_MS : FAREWELL_TIMEOUT_MS);
    IoStatus status = {.size = sizeof status};
    ioGetStatus(monitor->io, &status);
    if (code == 0) {
        say("everything is in the cloud: %" PRId64 " changes sent, %" PRId64 " received", status.sentItems,
            status.receivedItems);
    } else {
        say("%" PRId64 " changes are kept for the next run: %s", status.pendingItems, dbGetError(NULL));
    }
    ioClose(monitor->io);
    say("ended after %" PRId64 " samples", monitor->samples_taken);
    return code == 0 || monitor->options.isOfflineOk ? 0 : 1;
}

static bool parse(int argc, char **argv, Options *out)
{
    *out = (Options){.config = NULL, .interval_ms = INTERVAL_MS_DEFAULT};
    for (int index = 1; index < argc; index++) {
        const char *name = argv[index];
        if (strcmp(name, "--offline-ok") == 0) {
            out->isOfflineOk = true;
            continue;
        }
        const char *value = index + 1 < argc ? argv[++index] : NULL;
        if (value == NULL) return false;
        char *rest = NULL;
        long long number = strtoll(value, &rest, 10);
        bool isNumber = *value != '\0' && *rest == '\0';
        if (strcmp(name, "--config") == 0) {
            out->config = value;
        } else if (strcmp(name, "--interval-ms") == 0 && isNumber && number >= INTERVAL_MS_MIN && number <= INTERVAL_MS_MAX) {
            out->interval_ms = number;
        } else if (strcmp(name, "--count") == 0 && isNumber && number >= 0) {
            out->count = number;
        } else {
            return false;
        }
    }
    return out->config != NULL;
}

int main(int argc, char **argv)
{
    Monitor monitor = {.link = IO_LINK_STOPPED};
    if (!parse(argc, argv, &monitor.options)) {
        fprintf(stderr, "usage: sysmon --config FILE [--interval-ms N] [--count N] [--offline-ok]\n");
        return 2;
    }
    ioSetLog(onLog, NULL, IO_LOG_WARNING);
    monitor.io = prepareToBeWoken() ? ioOpen(monitor.options.config) : NULL;
    if (monitor.io == NULL) {
        fprintf(stderr, "sysmon: %s\n", dbGetError(NULL));
        return 1;
    }
    monitor.db = ioGetDb(monitor.io);
    say("sysmon with libioto %s", ioVersion());
    countSamples(&monitor);
    introduceDevice(&monitor);
    readSettings(&monitor);
    dbAddTrigger(monitor.db, onRemoteChange, "Setting", NULL, DB_ON_REMOTE);
    dbAddTrigger(monitor.db, onRemoteChange, "Command", NULL, DB_ON_REMOTE);
    dbAddTrigger(monitor.db, onRejected, NULL, NULL, DB_ON_REJECTED);
    sensorsStart(&monitor.counters);
    if (ioStart(monitor.io) != 0) sayFailure("starting replication");
    run(&monitor);
    return end(&monitor);
}
