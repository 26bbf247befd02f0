/*
    Replication through ioto.h and ioto-cloud, against a bare libmosquitto client on the same broker in the same run.

    A round of the bare client is a round trip for each batch of `syncLimit`: published with QoS 1 and published back by another
    process. Rounds take turns; a figure is the median of the rounds' ratios.

    Neither the bare client nor its echo keeps anything. What a figure would be with the durable work alone, by SQLite's C API on both
    sides, is its floor (floor.h): latency.p50.floor and up.drain.floor, to the same rounds of the bare client. Floors have no bars: what
    a figure has above its floor is ours.

    Broker and bare client send without Nagle's delay, which is the hardest to keep up with. As they come, both have it: those are
    the figures of --untuned, whose names end so; that delay alone would decide their floors.
 */
#include "bench.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ioto.h>

#include "bare.h"
#include "floor.h"
#include "sql.h"

#define SYNC_LIMIT 10240
#define ITEM_BYTES 230
#define WAIT_MS 600000
#define ROUNDS_MAX 9

static struct {
    uint32_t changes, backlog, creates, pending;
    int rounds, trips, idle_s;
} size = {.changes = 10000, .backlog = 1000000, .creates = 20000, .pending = 100000, .rounds = 5, .trips = 400, .idle_s = 60};

static const char *folder, *program, *only;
static int port;

static bool wants(const char *name) { return only == NULL || strncmp(name, only, strlen(only)) == 0; }

static const char *path(const char *name)
{
    static char buffers[8][1024];
    static int next;
    char *buffer = buffers[next++ % 8];
    snprintf(buffer, sizeof buffers[0], "%s/%s", folder, name);
    return buffer;
}

/** `database` and `more` are further settings of the database, and of mqtt, or "". */
static Io *agentOpen(const char *file, const char *device, const char *delay, const char *database, const char *more)
{
    char config[2048];
    snprintf(config, sizeof config,
             "{ deviceId: '%s', accountId: 'bench', database: { path: '%s', schema: '" SCHEMA_FOLDER "/sync.json5',"
             " syncDelay: '%s', syncLimit: '10K'%s }, mqtt: { endpoint: '127.0.0.1', port: %d, prefix: ''%s } }",
             device, file, delay, database, port, more);
    Io *io = ioOpen(config);
    if (io == NULL) fail("ioOpen: %s", dbGetError(NULL));
    return io;
}

/** Print a figure, named for what the run is like. */
static void print(const char *name, double value, const char *unit)
{
    char text[64];
    snprintf(text, sizeof text, "%s%s", name, isTuned ? "" : ".untuned");
    figure(text, value, unit);
}

static void must(int code, const char *call)
{
    if (code < 0) fail("%s: %s", call, dbGetError(NULL));
}

static void createOne(Db *db, uint32_t number)
{
    Fault fault;
    faultMake(&fault, number);
    DbItem *item = dbCreate(db, "Report",
                            DB_PROPS("id", fault.id, "site", fault.site, "code", fault.code, "severity", fault.severity,
                                     "message", fault.message, "count", fault.count, "value", fault.value, "open",
                                     fault.open, "at", fault.at),
                            NULL);
    if (item == NULL) fail("dbCreate: %s", dbGetError(db));
    dbFreeItem(item);
}

static void fill(Db *db, uint32_t first, uint32_t count)
{
    for (uint32_t index = 0; index < count; index++) {
        if (index % 1000 == 0) must(dbBegin(db), "dbBegin");
        createOne(db, first + index);
        if (index % 1000 == 999 || index + 1 == count) must(dbCommit(db), "dbCommit");
    }
}

/** Mean length of an item's JSON, as the library gives it. */
static double jsonBytes(Db *db)
{
    double bytes = 0;
    DbList *list = dbFind(db, "Report", NULL, DB_PARAMS(.limit = 1000));
    if (list == NULL || dbListCount(list) == 0) fail("dbFind: %s", dbGetError(db));
    for (size_t index = 0; index < dbListCount(list); index++) {
        const char *text = dbItemJson(dbListItem(list, index));
        bytes += (double) strlen(text);
    }
    bytes /= (double) dbListCount(list);
    dbFreeList(list);
    return bytes;
}

static int cloud;

static void cloudStart(void)
{
    const char *ioto = getenv("IOTO_CLOUD");
    char broker[64], store[1100], line[256];
    const char *log = path("cloud.log");
    if (ioto == NULL) fail("IOTO_CLOUD does not name an ioto-cloud");
    snprintf(broker, sizeof broker, "mqtt://127.0.0.1:%d", port);
    snprintf(store, sizeof store, "sqlite:%s", path("cloud.db"));
    unlink(log);
    cloud = programStart((const char *[]){ioto, "serve", "--store", store, "--schema", SCHEMA_FOLDER "/sync.json5", "--broker",
                                          broker, "--log-level", "warning", NULL}, log);
    for (int turn = 0; turn < 1000; turn++) {
        FILE *file = fopen(log, "r");
        while (file != NULL && fgets(line, sizeof line, file) != NULL) {
            if (strncmp(line, "ioto-cloud: ready", 17) != 0) continue;
            fclose(file);
            return;
        }
        if (file != NULL) fclose(file);
        usleep(20000);
    }
    fail("ioto-cloud does not start, see %s", log);
}

/* ---------------------------------------------------------------------------------------------------------------- */

/** Bytes on the wire of one change, as a part of the item's JSON. */
static void wire(const char *name, const char *compression)
{
    if (!wants(name)) return;
    progress("%s", name);
    removeDatabase(path("device.db"));
    Io *io = agentOpen(path("device.db"), name, "10m", compression, "");
    must(ioStart(io), "ioStart");
    must(ioSync(io, WAIT_MS), "ioSync");
    // Those that the hub has answered are past: it is known by now what it can read.
    createOne(ioGetDb(io), size.changes);
    must(ioSync(io, WAIT_MS), "ioSync");
    ioStop(io);
    fill(ioGetDb(io), 0, size.changes);
    earStart(port);
    must(ioStart(io), "ioStart");
    must(ioSyncUp(io, WAIT_MS), "ioSyncUp");
    usleep(500000);
    double bytes = (double) earBytes() / size.changes;
    earStop();
    print(name, bytes / jsonBytes(ioGetDb(io)), "ratio");
    ioClose(io);
}

/** Seconds in which a device of the floor drains as many items. */
static double floorDrained(uint32_t round)
{
    Floor *device = floorOpen(path("floor.db"), ITEM_BYTES);
    floorFill(device, round * size.changes, size.changes);
    double seconds = floorDrain(device, port, SYNC_LIMIT);
    floorClose(device);
    return seconds;
}

static void drainAndCatchUp(void)
{
    if (!wants("up.drain") && !wants("up.drain.floor") && !wants("down.catchup")) return;
    double up[ROUNDS_MAX], down[ROUNDS_MAX], floor[ROUNDS_MAX], bare[ROUNDS_MAX];
    double upRatio[ROUNDS_MAX], downRatio[ROUNDS_MAX], floorRatio[ROUNDS_MAX];
    int batches = (int) (size.changes * ITEM_BYTES + SYNC_LIMIT - 1) / SYNC_LIMIT;
    for (int round = 0; round < size.rounds; round++) {
        char device[16];
        progress("up.drain, down.catchup: round %d of %d", round + 1, size.rounds);
        snprintf(device, sizeof device, "d%d", round);
        removeDatabase(path("device.db"));
        removeDatabase(path("other.db"));
        Io *io = agentOpen(path("device.db"), device, "10m", "", "");
        fill(ioGetDb(io), 0, size.changes);
        bare[round] = bareRun(port, batches, SYNC_LIMIT, NULL);
        double start = now();
        must(ioStart(io), "ioStart");
        must(ioSyncUp(io, WAIT_MS), "ioSyncUp");
        up[round] = now() - start;
        if (round == 0) print("item.json", jsonBytes(ioGetDb(io)), "bytes");
        ioClose(io);
        io = agentOpen(path("other.db"), device, "10m", "", "");
        start = now();
        must(ioStart(io), "ioStart");
        must(ioSyncDown(io, WAIT_MS), "ioSyncDown");
        down[round] = now() - start;
        DbList *list = dbFind(ioGetDb(io), "Report", NULL, DB_PARAMS(.count = true));
        if (list == NULL || dbListCount(list) != size.changes) fail("the catch-up ended with %zu items", dbListCount(list));
        dbFreeList(list);
        ioClose(io);
        floor[round] = isTuned ? floorDrained((uint32_t) round) : 0;
        upRatio[round] = up[round] / bare[round];
        downRatio[round] = down[round] / bare[round];
        floorRatio[round] = floor[round] / bare[round];
    }
    print("up.drain.bare", median(bare, size.rounds), "s");
    print("up.drain.ioto", median(up, size.rounds), "s");
    print("up.drain", median(upRatio, size.rounds), "ratio");
    print("down.catchup.ioto", median(down, size.rounds), "s");
    print("down.catchup", median(downRatio, size.rounds), "ratio");
    if (!isTuned) return;
    print("up.drain.floor.c", median(floor, size.rounds), "s");
    print("up.drain.floor", median(floorRatio, size.rounds), "ratio");
}

static void latency(void)
{
    if (!wants("latency.p50") && !wants("latency.p50.floor")) return;
    double *ours = calloc((size_t) size.trips, sizeof *ours), *bare = calloc((size_t) size.trips, sizeof *bare);
    double *floor = calloc((size_t) size.trips, sizeof *floor);
    if (ours == NULL || bare == NULL || floor == NULL) fail("memory");
    Floor *device = isTuned ? floorOpen(path("floor.db"), ITEM_BYTES) : NULL;
    uint32_t first = (uint32_t) size.rounds * size.changes; // Behind those of the drains
    removeDatabase(path("device.db"));
    Io *io = agentOpen(path("device.db"), "latency", "0", "", "");
    must(ioStart(io), "ioStart");
    must(ioSync(io, WAIT_MS), "ioSync");
    progress("latency.p50");
    for (int trip = 0, chunk = size.trips / 4; trip < size.trips; trip += chunk) {
        bareRun(port, chunk, ITEM_BYTES, bare + trip);
        for (int index = trip; index < trip + chunk; index++) {
            double start = now();
            createOne(ioGetDb(io), (uint32_t) index);
            must(ioSyncUp(io, WAIT_MS), "ioSyncUp");
            ours[index] = now() - start;
        }
        if (device != NULL) floorTrips(device, port, first + (uint32_t) trip, chunk, floor + trip);
    }
    ioClose(io);
    double left = median(ours, size.trips), right = median(bare, size.trips), least = median(floor, size.trips);
    print("latency.p50.bare", right * 1000, "ms");
    print("latency.p50.ioto", left * 1000, "ms");
    print("latency.p50", left / right, "ratio");
    if (device != NULL) {
        print("latency.p50.floor.c", least * 1000, "ms");
        print("latency.p50.floor", least / right, "ratio");
    }
    floorClose(device);
    free(ours);
    free(bare);
    free(floor);
}

static void sql(const char *file, const char *text)
{
    sqlite3 *db = sqlOpen(file);
    sqlRun(db, text);
    sqlite3_close(db);
}

static double fileBytes(const char *file)
{
    struct stat status;
    return stat(file, &status) == 0 ? (double) status.st_size : 0;
}

static Db *databaseOpen(const char *file)
{
    Db *db = dbOpen(file, SCHEMA_FOLDER "/sync.json5", DB_DURABILITY_NORMAL);
    if (db == NULL) fail("dbOpen: %s", dbGetError(NULL));
    dbAddContext(db, "deviceId", "d1");
    return db;
}

static const char *const emptyOutbox = "DELETE FROM outbox; UPDATE item SET position = NULL; VACUUM";

static void backlog(void)
{
    if (!wants("create.backlog")) return;
    const char *full = path("full.db"), *empty = path("empty.db");
    char copy[2200];
    removeDatabase(full);
    removeDatabase(empty);
    Db *with = databaseOpen(full);
    for (uint32_t done = 0; done < size.backlog; done += 100000) {
        progress("create.backlog: %u of %u", done, size.backlog);
        fill(with, done, size.backlog - done < 100000 ? size.backlog - done : 100000);
    }
    dbClose(with);
    sql(full, "VACUUM");
    snprintf(copy, sizeof copy, "cp '%s' '%s'", full, empty);
    if (system(copy) != 0) fail("%s", copy);
    sql(empty, emptyOutbox);
    double ratios[ROUNDS_MAX], times[2][ROUNDS_MAX];
    with = databaseOpen(full);
    Db *without = databaseOpen(empty);
    for (int round = 0; round < size.rounds; round++) {
        progress("create.backlog: round %d of %d", round + 1, size.rounds);
        for (int turn = 0; turn < 2; turn++) {
            bool isFull = (round + turn) % 2 == 0;
            double start = now();
            for (uint32_t index = 0; index < size.creates; index++) {
                createOne(isFull ? with : without, size.backlog + (uint32_t) round * size.creates + index);
            }
            times[isFull][round] = now() - start;
        }
        ratios[round] = times[1][round] / times[0][round];
    }
    dbClose(with);
    dbClose(without);
    print("create.backlog.with", median(times[1], size.rounds) / size.creates * 1e6, "us");
    print("create.backlog.without", median(times[0], size.rounds) / size.creates * 1e6, "us");
    print("create.backlog", median(ratios, size.rounds), "ratio");
    removeDatabase(full);
    removeDatabase(empty);
}

static void outbox(void)
{
    if (!wants("outbox.bytes")) return;
    progress("outbox.bytes");
    const char *file = path("outbox.db");
    removeDatabase(file);
    Db *db = databaseOpen(file);
    fill(db, 0, size.pending);
    dbClose(db);
    sql(file, "VACUUM");
    double with = fileBytes(file);
    sql(file, emptyOutbox);
    print("outbox.bytes", (with - fileBytes(file)) / size.pending, "bytes");
    removeDatabase(file);
}

/* ---------------------------------------------------------------------------------------------------------------- */

/** Voluntary context switches of all threads of a process: the times that one of them went to sleep. */
static int64_t sleeps(int process)
{
    char name[300], line[256];
    int64_t total = 0;
    long long value;
    snprintf(name, sizeof name, "/proc/%d/task", process);
    DIR *threads = opendir(name);
    if (threads == NULL) fail("%s can't be read", name);
    for (struct dirent *thread = readdir(threads); thread != NULL; thread = readdir(threads)) {
        if (thread->d_name[0] == '.') continue;
        snprintf(name, sizeof name, "/proc/%d/task/%s/status", process, thread->d_name);
        FILE *file = fopen(name, "r");
        while (file != NULL && fgets(line, sizeof line, file) != NULL) {
            if (sscanf(line, "voluntary_ctxt_switches: %lld", &value) == 1) total += value;
        }
        if (file != NULL) fclose(file);
    }
    closedir(threads);
    return total;
}

/** A firmware that is connected and has nothing to do. */
static int idleRun(const char *in, int at)
{
    folder = in;
    port = at;
    Io *io = agentOpen(path("idle.db"), "idle", "0", "", ", keepalive: '60s'");
    must(ioStart(io), "ioStart");
    createOne(ioGetDb(io), 1);
    must(ioSync(io, WAIT_MS), "ioSync");
    for (;;) pause();
    return 0;
}

static void idle(void)
{
    if (!wants("idle.wakeups")) return;
    char text[16];
    removeDatabase(path("idle.db"));
    snprintf(text, sizeof text, "%d", port);
    int process = programStart((const char *[]){program, "--idle", folder, text, NULL}, path("idle.log"));
    progress("idle.wakeups: %d s", size.idle_s + 3);
    sleep(3);
    int64_t before = sleeps(process);
    sleep((unsigned) size.idle_s);
    double total = (double) (sleeps(process) - before);
    programStop(process, SIGKILL);
    // One PINGREQ and its answer in 60 s.
    double allowed = 2.0 * ((size.idle_s + 59) / 60);
    print("idle.wakeups.all", total, "wakeups");
    print("idle.wakeups", total > allowed ? total - allowed : 0, "wakeups");
    removeDatabase(path("idle.db"));
}

static void clean(void)
{
    static const char *const names[] = {"device.db", "other.db", "cloud.db", "full.db",        "empty.db",
                                        "outbox.db", "idle.db",  "floor.db", "floor-cloud.db"};
    static const char *const files[] = {"cloud.db-serve", "cloud.log", "idle.log", "mosquitto.log", "mosquitto.conf"};
    for (size_t index = 0; index < sizeof names / sizeof *names; index++) removeDatabase(path(names[index]));
    for (size_t index = 0; index < sizeof files / sizeof *files; index++) unlink(path(files[index]));
}

/** Whether this program is called as a process that answers; it is none any more when this returns. */
static bool answers(int count, char **arguments)
{
    if (count < 3 || strncmp(arguments[1], "--", 2) != 0) return false;
    isTuned = strncmp(arguments[1], "--untuned-", 10) != 0;
    const char *mode = arguments[1] + (isTuned ? 2 : 10);
    if (strcmp(mode, bareEcho.mode) == 0) {
        bareServe(atoi(arguments[2]));
    } else if (strcmp(mode, floorEcho.mode) == 0 && count == 4) {
        floorServe(atoi(arguments[2]), arguments[3]);
    } else {
        return false;
    }
    return true;
}

int main(int count, char **arguments)
{
    program = arguments[0];
    if (answers(count, arguments)) return 0;
    if (count == 4 && strcmp(arguments[1], "--idle") == 0) return idleRun(arguments[2], atoi(arguments[3]));
    for (int index = 1; index < count; index++) {
        if (strcmp(arguments[index], "--quick") == 0) {
            size.changes = 1000;
            size.backlog = 20000;
            size.creates = size.pending = 2000;
            size.rounds = 3;
            size.trips = 40;
            size.idle_s = 10;
        } else if (strcmp(arguments[index], "--untuned") == 0) {
            isTuned = false;
            size.rounds = 1;
            size.trips = 40;
        } else if (strncmp(arguments[index], "--figure=", 9) == 0) {
            only = arguments[index] + 9;
        } else {
            folder = arguments[index];
        }
    }
    if (folder == NULL) {
        fprintf(stderr, "usage: bench-sync [--quick] [--untuned] [--figure=NAME] FOLDER\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    ioSetLog(NULL, NULL, IO_LOG_ERROR);
    clean();
    port = brokerStart(folder);
    cloudStart();
    int echo = echoStart(&bareEcho, program, port, NULL);
    int floor = isTuned ? echoStart(&floorEcho, program, port, path("floor-cloud.db")) : 0;
    drainAndCatchUp();
    latency();
    if (!isTuned) only = "-";
    wire("wire.plain", "");
    wire("wire.compressed", ", compress: 'zlib'");
    programStop(echo, SIGKILL);
    if (floor != 0) programStop(floor, SIGKILL);
    idle();
    programStop(cloud, SIGTERM);
    backlog();
    outbox();
    clean();
    progress("done\n");
    return 0;
}
