/*
    Two hundred times a random one of the firmware, the cloud and the broker dies by SIGKILL at a random moment, at work or
    while it starts, and starts again, while the firmware changes notes without a pause and settings change in the cloud.
    The firmware tells of each call before and after it. At the end the device must hold the last state that was told of
    every note, or that of the one call which death cut short, and both sides must hold the same.

    IOTO_TEST_SEED repeats a run's decisions, IOTO_TEST_ROUNDS changes their number.
 */
#include "support/device.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#define ROUNDS 200
#define NOTES 40
#define SETTINGS 5
#define LIFE_MS_MAX 500
#define GONE (-1)

/** What the firmware told of a note: the count it has, GONE, and that of a call whose end was not told. */
typedef struct Told {
    int count;
    bool isOpen;
    int next;
} Told;

static Told told[NOTES];
static int calls;

/** The role of the firmware: works until death. */
static void firmware(char **argv)
{
    childBegin(argv);
    int port = atoi(argv[3]), serial = atoi(argv[4]);
    Io *io = deviceStart("deaths.db", port, SYNC_SOON);
    Db *db = ioGetDb(io);
    for (;; serial++) {
        int id = (serial * 7) % NOTES;
        const char *name = format("n%d", id);
        bool isRemoval = serial % 11 == 10;
        printf("do %d %d\n", id, isRemoval ? GONE : serial);
        int code;
        if (isRemoval) {
            code = dbRemove(db, "Note", DB_PROPS("id", name), NULL);
        } else {
            code = dbSet(db, "Note", DB_PROPS("id", name, "count", format("%d", serial)), NULL);
        }
        if (code < 0 && code != DB_ERR_NOT_FOUND) {
            printf("failed %d %s\n", code, dbGetError(db));
        } else {
            printf("did %d\n", id);
        }
        pause_ms(2);
    }
}

/** Take down what the firmware says. */
static void hear(const char *line)
{
    int id, value;
    if (sscanf(line, "do %d %d", &id, &value) == 2) {
        told[id].next = value;
        told[id].isOpen = true;
    } else if (sscanf(line, "did %d", &id) == 1) {
        told[id].count = told[id].next;
        told[id].isOpen = false;
        calls++;
    } else {
        note("firmware: %s", line);
        EXPECT(strncmp(line, "failed", 6) != 0);
    }
}

/** Read what the firmware says for some time, or, when it is dead, to the end. */
static void hearFor(Child *device, int duration_ms, bool isDead)
{
    static char buffer[8192];
    static size_t used;
    int64_t deadline_ms = clock_ms() + duration_ms;
    int handle = fileno(device->output);
    for (;;) {
        int64_t left_ms = deadline_ms - clock_ms();
        struct pollfd set = {.fd = handle, .events = POLLIN};
        if (!isDead && (left_ms <= 0 || poll(&set, 1, (int) left_ms) <= 0)) return;
        ssize_t got = read(handle, buffer + used, sizeof buffer - used - 1);
        if (got <= 0) break;
        used += (size_t) got;
        char *end, *line = buffer;
        while ((end = memchr(line, '\n', used - (size_t) (line - buffer))) != NULL) {
            *end = '\0';
            hear(line);
            line = end + 1;
        }
        used -= (size_t) (line - buffer);
        memmove(buffer, line, used);
    }
    used = 0; // A line that death cut off
    if (isDead) return;
    EXPECT(!"the firmware ends by itself");
}

static Child deviceLaunch(int port, int round)
{
    return childStartSelf("work", (const char *[]){format("%d", port), format("%d", (round + 1) * 10000), NULL});
}

static void checkTold(Db *db)
{
    for (int id = 0; id < NOTES; id++) {
        DbItem *item = dbGet(db, "Note", DB_PROPS("id", format("n%d", id)), NULL);
        int count = item != NULL ? (int) dbFieldNumber(item, "count", GONE) : GONE;
        dbFreeItem(item);
        if (EXPECT(count == told[id].count || (told[id].isOpen && count == told[id].next))) continue;
        note("note %d: told %d, perhaps %d, has %d", id, told[id].count, told[id].isOpen ? told[id].next : told[id].count, count);
    }
}

/** Kill one of the three, again and again, and change settings of the cloud between. */
static void die(Services *services, int rounds, int settings[SETTINGS])
{
    int deaths[3] = {0, 0, 0};
    Child device = deviceLaunch(services->broker.port, 0);
    int64_t start_ms = clock_ms();
    for (int round = 1; round <= rounds; round++) {
        // Lives of all lengths, down to those that end while they begin.
        hearFor(&device, (int) (randomBelow(4) == 0 ? randomBelow(60) : randomBelow(LIFE_MS_MAX)), false);
        uint32_t victim = randomBelow(5);
        if (victim < 2) {
            childSignal(&device, SIGKILL);
            hearFor(&device, 0, true);
            childWait(&device);
            childCloseOutput(&device);
            device = deviceLaunch(services->broker.port, round);
            deaths[0]++;
        } else if (victim < 4) {
            cloudKill(&services->cloud);
            cloudLaunch(&services->cloud);
            deaths[1]++;
        } else {
            brokerKill(&services->broker);
            brokerLaunch(&services->broker);
            deaths[2]++;
        }
        if (round % 20 == 0) {
            int index = (round / 20) % SETTINGS;
            settings[index] = round;
            EXPECT(cloudPut("Setting", format("{\"id\":\"s%d\",\"deviceId\":\"d1\",\"value\":\"%d\"}", index, round)));
        }
    }
    note("%d calls; deaths of the firmware %d, the cloud %d, the broker %d; %lld s", calls, deaths[0], deaths[1], deaths[2],
         (long long) (clock_ms() - start_ms) / 1000);
    EXPECT(calls > rounds);
    childSignal(&device, SIGKILL);
    hearFor(&device, 0, true);
    childWait(&device);
    childCloseOutput(&device);
    claim("the firmware's calls never fail");
}

static void agreeInTheEnd(int port, const int settings[SETTINGS])
{
    EXPECT_WITHIN(PATIENCE_MS, portAnswers(port));
    Io *io = deviceStart("deaths.db", port, SYNC_SOON);
    Db *db = ioGetDb(io);
    EXPECT_NUMBER(dbCheck(db, NULL, NULL), 0);
    checkTold(db);
    claim("the device has all that was told before each death");

    EXPECT_CODE(ioSync(io, 3 * PATIENCE_MS), 0);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    EXPECT_NUMBER(deviceStatus(io).rejectedItems, 0);
    checkTold(db);
    EXPECT(cloudAgrees(db, "Note"));
    claim("both sides hold the same notes");
    for (int index = 0; index < SETTINGS; index++) {
        if (settings[index] == 0) continue;
        EXPECT_WITHIN(PATIENCE_MS, exists(db, "Setting", DB_PROPS("id", format("s%d", index))));
        DbItem *item = dbGet(db, "Setting", DB_PROPS("id", format("s%d", index)), NULL);
        EXPECT_TEXT(dbField(item, "value"), format("%d", settings[index]));
        dbFreeItem(item);
    }
    EXPECT(cloudAgrees(db, "Setting"));
    claim("both sides hold the last setting of the cloud");
    ioClose(io);
}

int main(int argc, char **argv)
{
    if (argc > 3) firmware(argv);
    scenarioBegin();
    scenarioSeconds(800);
    scenarioSeed();
    const char *given = getenv("IOTO_TEST_ROUNDS");
    int rounds = given != NULL && atoi(given) > 0 ? atoi(given) : ROUNDS;
    int settings[SETTINGS] = {0};
    for (int id = 0; id < NOTES; id++) told[id].count = GONE;

    Services services = servicesStart();
    die(&services, rounds, settings);
    agreeInTheEnd(services.broker.port, settings);
    servicesStop(&services);
    return scenarioEnd();
}
