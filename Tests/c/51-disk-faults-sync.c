/*
    A short replication again and again, each time with another of SQLite's writes and syncs failing on the device: a note goes up
    until the cloud has it, a setting of the cloud comes down. Once the agent is connected, and goes on with the same handle all
    the time; once it is opened with both still to come. Both sides must come to hold the same without being asked or started
    again: each note whose call returned success and no other, and the setting.
 */
#include "support/device.h"
#include "support/disk.h"

/** The disk is quiet when it was for so long: an acknowledgement goes to it 100 ms late. */
#define QUIET_MS 250
/** More writes and syncs than a round has. */
#define CALLS_MAX 40
/** Rounds without a fault, to count them. */
#define CLEAN_ROUNDS 3
/** Rounds in which a write or sync is waited for, to fail it. */
#define TURNS_MAX 5
/** More notes than all rounds create. */
#define NOTES_MAX (2 * (CALLS_MAX * TURNS_MAX + CLEAN_ROUNDS) + 1)
/** More than it takes on a slow machine, CMakeLists.txt has it too. */
#define SECONDS_MAX 800
#define DATABASE "faults.db"

/** The notes that calls returned success for. */
static char kept[NOTES_MAX][16];
static int keptCount;
/** Calls of the firmware that failed, and writes and syncs that did. */
static int refused, met, metSyncs;

/** Create a note; one that could not be stored must not be there. */
static void put(Db *db, const char *id)
{
    int code = create(db, "Note", DB_PROPS("id", id, "text", format("text of %s", id)));
    if (code == 0) {
        REQUIRE(keptCount < NOTES_MAX);
        snprintf(kept[keptCount++], sizeof *kept, "%s", id);
    } else {
        refused++;
        EXPECT_CODE(code, DB_ERR_IO);
        EXPECT(!exists(db, "Note", DB_PROPS("id", id)));
    }
}

static bool hasSetting(Db *db, const char *value)
{
    char *text = dbGetField(db, "Setting", "value", DB_PROPS("id", "s"), NULL);
    bool isIt = text != NULL && strcmp(text, value) == 0;
    dbFree(text);
    return isIt;
}

static bool putSetting(const char *value)
{
    return cloudPut("Setting", format("{\"id\":\"s\",\"deviceId\":\"d1\",\"value\":\"%s\"}", value));
}

/** Whether the cloud's digest of the device's stream is the device's. */
static bool isEqual(Db *db)
{
    IoDigest mine = {.size = sizeof mine};
    EXPECT_CODE(ioDigest(db, "device/d1", &mine, NULL, NULL), 0);
    char *theirs = cloudDigest("device/d1", false);
    char line[256];
    snprintf(line, sizeof line, "%s device/d1 items=%lld\n", mine.value, (long long) mine.items);
    bool isSame = theirs != NULL && strcmp(line, theirs) == 0;
    if (!isSame) note("device: %.*s, cloud: %s", (int) strcspn(line, "\n"), line, theirs != NULL ? theirs : "nothing\n");
    free(theirs);
    return isSame;
}

static void awaitQuiet(void)
{
    int64_t deadline_ms = clock_ms() + PATIENCE_MS;
    for (int before = -1; before != diskCalls() && clock_ms() < deadline_ms; pause_ms(QUIET_MS)) before = diskCalls();
}

/** Both sides hold the same, by themselves: the notes that were stored and no other, and the setting. */
static void converge(Io *io, const char *value)
{
    Db *db = ioGetDb(io);
    EXPECT_WITHIN(PATIENCE_MS, deviceIsFlushed(io));
    EXPECT_WITHIN(PATIENCE_MS, hasSetting(db, value));
    awaitQuiet();
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    EXPECT_NUMBER(deviceStatus(io).rejectedItems, 0);
    EXPECT_NUMBER(count(db, "Note", NULL), keptCount);
    if (keptCount > 0) EXPECT(exists(db, "Note", DB_PROPS("id", kept[keptCount - 1])));
    EXPECT(isEqual(db));
}

/** Take the fault back; returns how many writes and syncs there were since it was planted. */
static int mend(void)
{
    int total = diskCalls();
    met += diskFailures();
    metSyncs += diskSyncFailures();
    diskFail(0, 0, DISK_BROKEN);
    return total;
}

/** All that was stored is in the file, once it is opened again. */
static void checkFile(void)
{
    Db *db = openScratch(DATABASE, 0);
    REQUIRE(db != NULL);
    for (int index = 0; index < keptCount; index++) {
        if (!EXPECT(exists(db, "Note", DB_PROPS("id", kept[index])))) note("%s is missing", kept[index]);
    }
    EXPECT_NUMBER(count(db, "Note", NULL), keptCount);
    EXPECT_NUMBER(dbCheck(db, NULL, NULL), 0);
    EXPECT(isEqual(db));
    dbClose(db);
}

/** What a round works with: the agent, while it is open, and its broker. */
typedef struct Device {
    Io *io;
    int port;
} Device;

typedef void (*Work)(Device *device, int first);

/** A number for every round, in its note and its setting. */
static int roundNumber;

/** One note up, then one setting down, with the `first`th write or sync failing; 0: none. */
static void workConnected(Device *device, int first)
{
    const char *name = format("r%d", ++roundNumber);
    diskFail(first, 1, DISK_BROKEN);
    put(ioGetDb(device->io), name);
    EXPECT_WITHIN(PATIENCE_MS, deviceIsFlushed(device->io));
    awaitQuiet();
    EXPECT(putSetting(name));
    converge(device->io, name);
}

/** The agent is opened with a note to go up and a setting to come down, and the `first`th write or sync from there on fails. */
static void workOpening(Device *device, int first)
{
    const char *name = format("r%d", ++roundNumber);
    ioStop(device->io);
    put(ioGetDb(device->io), name);
    ioClose(device->io);
    EXPECT(putSetting(name));
    diskFail(first, 1, DISK_BROKEN);
    device->io = deviceOpen(DATABASE, device->port, SYNC_SOON);
    if (device->io == NULL) {
        EXPECT_FAILED(DB_ERR_IO);
        refused++;
        device->io = deviceOpen(DATABASE, device->port, SYNC_SOON);
    }
    REQUIRE(device->io != NULL);
    EXPECT_CODE(ioStart(device->io), 0);
    converge(device->io, name);
}

static void failEach(Device *device, Work work, const char *name)
{
    int64_t begin_ms = clock_ms();
    met = metSyncs = refused = 0;
    // Rounds differ: the log begins anew now and then, and two things may go to the disk in one commit.
    int fewest = CALLS_MAX, most = 0;
    for (int turn = 0; turn < CLEAN_ROUNDS; turn++) {
        work(device, 0);
        int total = mend();
        if (total < fewest) fewest = total;
        if (total > most) most = total;
    }
    EXPECT(fewest > 0 && most <= CALLS_MAX);
    for (int first = 1; first <= most && first <= CALLS_MAX; first++) {
        int before = met, turns = first <= fewest ? TURNS_MAX : 1;
        for (int turn = 0; turn < turns && met == before; turn++) {
            work(device, first);
            mend();
        }
        if (first <= fewest && !EXPECT(met == before + 1)) note("%s: none was the write or sync %d of %d", name, first, fewest);
    }
    EXPECT(metSyncs > 0 && metSyncs < met);
    note("%s: %d to %d writes and syncs; %d failed, of these %d syncs, the firmware was told of %d; %lld ms", name, fewest, most,
         met, metSyncs, refused, (long long) (clock_ms() - begin_ms));
}

int main(void)
{
    scenarioBegin();
    scenarioSeconds(SECONDS_MAX);
    diskInstall();
    scenarioLog(IO_LOG_ERROR); // Warnings are what is planted here
    Services services = servicesStart();
    Device device = {deviceStart(DATABASE, services.broker.port, SYNC_SOON), services.broker.port};
    put(ioGetDb(device.io), "first");
    EXPECT(putSetting("first"));
    converge(device.io, "first");

    failEach(&device, workConnected, "connected");
    EXPECT(refused > 0);
    claim("each write and sync of a connected agent in turn: both sides agree again by themselves");
    failEach(&device, workOpening, "opening");
    claim("so for each of an agent that is opened and catches up");

    ioClose(device.io);
    checkFile();
    claim("the file has what was stored, and nothing of what was not");
    servicesStop(&services);
    return scenarioEnd();
}
