/*
    A firmware is killed with SIGKILL: once with changes that were never sent, once with changes that were sent and not
    acknowledged, and then several times at random moments of busy work. Each time it starts again. Every change of a call
    that returned must arrive in the cloud, and what was acknowledged must not be sent again.
 */
#include "support/device.h"

#include <signal.h>
#include <unistd.h>

#define READINGS 20
#define DEATHS 5

/** SIGUSR1 is taken by sigwait() alone, in whatever thread of the library it would arrive. */
static sigset_t blockGo(void)
{
    sigset_t go;
    sigemptyset(&go);
    sigaddset(&go, SIGUSR1);
    sigprocmask(SIG_BLOCK, &go, NULL);
    return go;
}

/** Roles: "collect" stores readings and waits for its death; "deliver" sends what is pending; "toil" works until death. */
static int firmware(char **argv)
{
    childBegin(argv);
    sigset_t go = blockGo(); // before the library makes its threads
    int port = atoi(argv[3]);
    bool isToil = strcmp(argv[1], "toil") == 0;
    Io *io = deviceStart("death.db", port, isToil ? SYNC_SOON : SYNC_NEVER);
    Db *db = ioGetDb(io);
    if (strcmp(argv[1], "collect") == 0) {
        int got;
        if (ioSync(io, PATIENCE_MS) != 0) return 1;
        puts("connected");
        if (strcmp(argv[4], "sent") == 0) sigwait(&go, &got);
        for (int index = 0; index < READINGS; index++) {
            const char *text = format("%s-%d.", argv[4], index);
            if (create(db, "Reading", DB_PROPS("id", text, "text", text)) != 0) return 1;
        }
        if (strcmp(argv[4], "sent") == 0) ioFlushSync(io);
        puts("stored");
        for (;;) pause_ms(1000);
    }
    for (int index = 0; isToil; index++) {
        if (dbSet(db, "Note", DB_PROPS("id", format("%s-%d", argv[4], index / 3), "count", format("%d", index)), NULL) != 0) {
            return 1;
        }
        printf("set %d\n", index);
        pause_ms(3);
    }
    printf("pending %lld\n", (long long) deviceStatus(io).pendingItems);
    int code = ioSync(io, PATIENCE_MS);
    printf("left %lld\n", (long long) deviceStatus(io).pendingItems);
    ioClose(io);
    return code == 0 ? 0 : 1;
}

/** Start the firmware that collects, wait until it has stored, and kill it. */
static void collectAndDie(int port, const char *name)
{
    Child child = childStartSelf("collect", (const char *[]){format("%d", port), name, NULL});
    EXPECT(childAwaitLine(&child, "stored"));
    childKill(&child);
    childCloseOutput(&child);
}

/** Run the firmware that delivers; returns how many changes it found pending. */
static int deliver(int port)
{
    int pending = -1;
    int left = -1;
    char line[256];
    Child child = childStartSelf("deliver", (const char *[]){format("%d", port), NULL});
    while (childLine(&child, line, sizeof line)) {
        sscanf(line, "pending %d", &pending);
        sscanf(line, "left %d", &left);
        if (line[0] == '#') note("child: %s", line + 1);
    }
    EXPECT_NUMBER(childWait(&child), 0);
    EXPECT_NUMBER(left, 0);
    childCloseOutput(&child);
    return pending;
}

static void diesBeforeSending(int port, Spy *spy)
{
    collectAndDie(port, "unsent");
    EXPECT_NUMBER(cloudCount("Reading"), 0);
    EXPECT_NUMBER(deliver(port), READINGS);
    EXPECT_NUMBER(cloudCount("Reading"), READINGS);
    claim("changes pending at SIGKILL arrive after the restart");

    for (int index = 0; index < READINGS; index++) {
        EXPECT_NUMBER(spyCount(spy, "syncToDynamo", format("\"unsent-%d.\"", index)), 1);
    }
    EXPECT_NUMBER(deliver(port), 0);
    EXPECT_NUMBER(spyCount(spy, "syncToDynamo", "\"unsent-0.\""), 1);
    EXPECT_NUMBER(cloudCount("Reading"), READINGS);
    claim("each is sent once, and not again by the next run");
}

static void diesBeforeTheAck(int port, Spy *spy, Cloud *cloud)
{
    Child child = childStartSelf("collect", (const char *[]){format("%d", port), "sent", NULL});
    EXPECT(childAwaitLine(&child, "connected"));
    cloudPause(cloud);
    childSignal(&child, SIGUSR1);
    EXPECT(childAwaitLine(&child, "stored"));
    EXPECT_WITHIN(PATIENCE_MS, spyCount(spy, "syncToDynamo", "\"sent-0.\"") > 0);
    childKill(&child);
    childCloseOutput(&child);
    cloudResume(cloud);
    EXPECT_NUMBER(deliver(port), READINGS);
    EXPECT_NUMBER(cloudCount("Reading"), 2 * READINGS);
    EXPECT_NUMBER(deliver(port), 0);
    claim("changes sent and not acknowledged at SIGKILL are in the cloud, each as one item");
}

static void diesAnywhere(int port)
{
    int told[DEATHS];
    for (int death = 0; death < DEATHS; death++) {
        char line[256];
        Child child = childStartSelf("toil", (const char *[]){format("%d", port), format("t%d", death), NULL});
        int64_t deadline_ms = clock_ms() + 200 + rand() % 800;
        told[death] = -1;
        while (clock_ms() < deadline_ms && childLine(&child, line, sizeof line)) sscanf(line, "set %d", &told[death]);
        childSignal(&child, SIGKILL);
        while (childLine(&child, line, sizeof line)) sscanf(line, "set %d", &told[death]);
        childWait(&child);
        childCloseOutput(&child);
        EXPECT(told[death] >= 0);
    }
    deliver(port);
    for (int death = 0; death < DEATHS; death++) {
        char *text = cloudField("Note", format("t%d-%d", death, told[death] / 3), "count");
        int stored = text != NULL ? atoi(text) : -1;
        // One more call may have succeeded without living to tell.
        if (!EXPECT(stored == told[death] || stored == told[death] + 1)) {
            note("death %d: told %d, the cloud has %s", death, told[death], text != NULL ? text : "nothing");
        }
        free(text);
    }
    claim("after deaths at random moments the cloud has the last change of every life");

    Db *db = openScratch("death.db", 0);
    REQUIRE(db != NULL);
    EXPECT(cloudAgrees(db, "Note"));
    EXPECT(cloudAgrees(db, "Reading"));
    dbClose(db);
    claim("both sides hold the same");
}

int main(int argc, char **argv)
{
    if (argc > 3) return firmware(argv);
    scenarioBegin();
    unsigned seed = (unsigned) getpid();
    srand(seed);
    note("seed %u", seed);
    Services services = servicesStart();
    Spy *spy = spyStart(services.broker.port);
    diesBeforeSending(services.broker.port, spy);
    diesBeforeTheAck(services.broker.port, spy, &services.cloud);
    diesAnywhere(services.broker.port);
    spyStop(spy);
    servicesStop(&services);
    return scenarioEnd();
}
