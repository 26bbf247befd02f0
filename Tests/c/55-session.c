/*
    The session with the broker: its version, its keepalive and its beginning. A device speaks MQTT 5 and falls back to 3.1.1 with a
    broker that refuses 5 or hangs up on it. When nothing changes, all threads of the process together wake no more often than
    the keepalive makes them. A device that came before the cloud ever did is heard soon after the cloud comes. A broker that ends
    every connection is come to again after longer and longer waits. A death is told by the last will. And a store is served
    by one process, which ends on SIGTERM even when it was started with that blocked.
 */
#include "support/device.h"
#include "support/proxy.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEEPALIVE_S 5
#define IDLE_S 16
/** The least that a device waits after its third try: it draws from the upper half of 5, 10, 20 seconds. */
#define NEXT_TRY_MS 10000

static Io *openAt(const char *database, int port, const char *more)
{
    Io *io = ioOpen(format("{ deviceId: 'd1', accountId: 'a1', database: { path: '%s', schema: '%s', syncDelay: '%s' },"
                           "  mqtt: { endpoint: '127.0.0.1', port: %d%s } }",
                           scratch(database), testData("schema.json5"), SYNC_SOON, port, more));
    REQUIRE(io != NULL);
    REQUIRE(ioStart(io) == 0);
    return io;
}

/** Level of the protocol in the last CONNECT that passed. */
static int level(Proxy *proxy)
{
    unsigned char first[16];
    return proxyFirstBytes(proxy, first, sizeof first) > 9 && memcmp(first + 4, "MQTT", 4) == 0 ? first[8] : -1;
}

/** Whether the last CONNECT that passed asks for the session that there is, and leaves the broker a will. */
static bool keepsSessionAndWill(Proxy *proxy)
{
    unsigned char first[16];
    return proxyFirstBytes(proxy, first, sizeof first) > 9 && (first[9] & 0x06) == 0x04;
}

static void speaks(int port, int refusal, const char *more, int expected, const char *text)
{
    Proxy *proxy = proxyStart(port);
    proxyRefuseVersion5(proxy, refusal);
    Io *io = openAt("version.db", proxyPort(proxy), more);
    const char *id = format("v%d%d%s", refusal, expected, *more == '\0' ? "" : "x");
    EXPECT_CODE(dbSet(ioGetDb(io), "Note", DB_PROPS("id", id, "text", "version"), DB_PARAMS(.upsert = true)), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT_NUMBER(level(proxy), expected);
    EXPECT(keepsSessionAndWill(proxy));
    EXPECT(cloudHas("Note", id));
    ioStop(io);
    EXPECT(cloudPut("Setting", format("{\"id\":\"%s\",\"deviceId\":\"d1\",\"value\":\"kept\"}", id)));
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_WITHIN(PATIENCE_MS, exists(ioGetDb(io), "Setting", DB_PROPS("id", id)));
    ioClose(io);
    proxyStop(proxy);
    claim("%s", text);
}

/* ---- Wakeups ---- */

static void firmware(char **argv)
{
    childBegin(argv);
    Io *io = openAt("idle.db", atoi(argv[3]), format(", keepalive: %d", KEEPALIVE_S));
    if (dbSet(ioGetDb(io), "Note", DB_PROPS("id", "idle", "text", "x"), DB_PARAMS(.upsert = true)) != 0) _exit(1);
    if (ioSync(io, PATIENCE_MS) != 0) _exit(1);
    puts("idle");
    for (;;) pause();
}

static int64_t sleeps(pid_t process)
{
    char line[256];
    long long value;
    int64_t total = 0;
    const char *folder = format("/proc/%d/task", (int) process);
    DIR *threads = opendir(folder);
    REQUIRE(threads != NULL);
    for (struct dirent *thread = readdir(threads); thread != NULL; thread = readdir(threads)) {
        if (thread->d_name[0] == '.') continue;
        FILE *file = fopen(format("%s/%s/status", folder, thread->d_name), "r");
        while (file != NULL && fgets(line, sizeof line, file) != NULL) {
            if (sscanf(line, "voluntary_ctxt_switches: %lld", &value) == 1) total += value;
        }
        if (file != NULL) fclose(file);
    }
    closedir(threads);
    return total;
}

static void isIdle(int port)
{
    Spy *spy = spyStart(port);
    Child child = childStartSelf("idle", (const char *[]){format("%d", port), NULL});
    EXPECT(childAwaitLine(&child, "idle"));
    pause_ms(1000);
    int64_t before = sleeps(child.pid);
    pause_ms(IDLE_S * 1000);
    int64_t woken = sleeps(child.pid) - before;
    note("%lld wakeups in %d s", (long long) woken, IDLE_S);
    // To send a PINGREQ, and to read its answer.
    EXPECT(woken <= 2 * ((IDLE_S + KEEPALIVE_S - 1) / KEEPALIVE_S));
    EXPECT(woken > 0);
    EXPECT_NUMBER(spyCount(spy, "service/d1/db/offline", NULL), 0);
    childKill(&child);
    childCloseOutput(&child);
    claim("an idle device wakes no more often than the keepalive");
    EXPECT_WITHIN(PATIENCE_MS, spyCount(spy, "service/d1/db/offline", NULL) == 1);
    spyStop(spy);
    claim("its death is told by its last will");
}

/* ---- Connections that do not last ---- */

static void isCutSoon(int port)
{
    Proxy *proxy = proxyStart(port);
    Io *io = openAt("cut.db", proxyPort(proxy), "");
    int64_t end_ms = clock_ms() + 6000;
    while (clock_ms() < end_ms) {
        pause_ms(20);
        if (deviceStatus(io).link == IO_LINK_CONNECTED) proxyCut(proxy);
    }
    int connections = proxyConnections(proxy);
    note("%d connections in 6 s", connections);
    // It waits for the upper half of 1, 2, 4, 8 seconds: the fifth comes after 7.5 s.
    EXPECT(connections >= 2 && connections <= 4);
    EXPECT(deviceStatus(io).lastError != 0);
    EXPECT_CODE(dbSet(ioGetDb(io), "Note", DB_PROPS("id", "cut", "text", "x"), DB_PARAMS(.upsert = true)), 0);
    EXPECT_CODE(ioSync(io, 2 * PATIENCE_MS), 0);
    EXPECT(cloudHas("Note", "cut"));
    ioClose(io);
    proxyStop(proxy);
    claim("a broker that ends every connection is come to again after longer and longer waits");
}

/* ---- The cloud ---- */

static void comesFirst(void)
{
    Broker broker = brokerMake();
    Cloud cloud = cloudMake(broker.port);
    brokerStart(&broker);
    Spy *spy = spyStart(broker.port);
    Io *io = deviceStart("first.db", broker.port, SYNC_SOON);
    EXPECT_CODE(dbSet(ioGetDb(io), "Note", DB_PROPS("id", "first", "text", "contact"), DB_PARAMS(.upsert = true)), 0);
    EXPECT_WITHIN(2 * PATIENCE_MS, spyCount(spy, "ioto/service/d1", "contact") == 3);
    int64_t tried_ms = clock_ms();
    cloudStart(&cloud);
    EXPECT_WITHIN(PATIENCE_MS, deviceIsFlushed(io));
    note("heard %lld ms after its third try", (long long) (clock_ms() - tried_ms));
    EXPECT(clock_ms() - tried_ms < NEXT_TRY_MS);
    claim("a device that came before the cloud is heard as soon as there is one, not at its own next try");
    spyStop(spy);
    ioClose(io);

    const char *arguments[] = {getenv("IOTO_CLOUD"), "serve", "--store", format("sqlite:%s", scratch("cloud.db")), "--schema",
                               testData("schema.json5"), "--broker", format("mqtt://127.0.0.1:%d", broker.port), NULL};
    const char *log = scratch("second.log");
    EXPECT_NUMBER(childRun(arguments, log, NULL), 1);
    char line[512], last[512] = "";
    FILE *file = fopen(log, "r");
    REQUIRE(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) memcpy(last, line, sizeof last);
    fclose(file);
    if (!EXPECT(strstr(last, "another ioto-cloud serves this store") != NULL)) note("it says: %s", last);
    claim("a second cloud on the same store is refused, with the reason");
    cloudStop(&cloud);

    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    cloudStart(&cloud);
    sigprocmask(SIG_UNBLOCK, &stop, NULL);
    EXPECT_NUMBER(childStop(&cloud.child), 0);
    claim("a cloud that was started with SIGTERM blocked ends on it");
    brokerStop(&broker);
}

int main(int argc, char **argv)
{
    if (argc > 3) firmware(argv);
    scenarioBegin();
    comesFirst();
    Services services = servicesStart();
    speaks(services.broker.port, 0, "", 5, "a device speaks MQTT 5, and its session outlives a connection");
    speaks(services.broker.port, 1, "", 4, "it speaks 3.1.1 with a broker that refuses MQTT 5");
    speaks(services.broker.port, 2, "", 4, "and with one that hangs up on it");
    speaks(services.broker.port, 0, ", version: '3.1.1'", 4, "and when it is told to");
    isIdle(services.broker.port);
    isCutSoon(services.broker.port);
    servicesStop(&services);
    return scenarioEnd();
}
