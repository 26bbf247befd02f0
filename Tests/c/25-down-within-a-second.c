/*
    A firmware is connected and waits; later it is connected and busy. A person changes a setting in the cloud, with the
    command line and while the cloud serves, ten times, and removes it. Each change must have fired the firmware's trigger
    within one second after the command is done, once.
 */
#include "support/device.h"
#include "support/toil.h"

#include <pthread.h>

#define ROUNDS 10

typedef struct Seen {
    pthread_mutex_t lock;
    char value[32];
    int64_t at_ms;
    int calls;
} Seen;

static void onSetting(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params, const char *cmd,
                      int events)
{
    Seen *seen = arg;
    const char *value = dbField(item, "value");
    (void) db;
    (void) model;
    (void) params;
    (void) events;
    pthread_mutex_lock(&seen->lock);
    snprintf(seen->value, sizeof seen->value, "%s", strcmp(cmd, "remove") == 0 ? "removed" : value != NULL ? value : "");
    seen->at_ms = clock_ms();
    seen->calls++;
    pthread_mutex_unlock(&seen->lock);
}

/** When the trigger saw this value, or 0. */
static int64_t seenAt(Seen *seen, const char *value)
{
    pthread_mutex_lock(&seen->lock);
    int64_t at_ms = strcmp(seen->value, value) == 0 ? seen->at_ms : 0;
    pthread_mutex_unlock(&seen->lock);
    return at_ms;
}

/** Change the setting, ten times and then away, and wait each time for the trigger; returns the longest wait. */
static int64_t changeAndWait(Seen *seen, const char *name)
{
    int64_t worst_ms = 0;
    for (int round = 0; round <= ROUNDS; round++) {
        char value[32];
        bool isLast = round == ROUNDS;
        if (isLast) {
            snprintf(value, sizeof value, "removed");
            EXPECT(cloudRemove("Setting", "{\"id\":\"s\",\"deviceId\":\"d1\"}"));
        } else {
            snprintf(value, sizeof value, "%s %d", name, round);
            EXPECT(cloudPut("Setting", format("{\"id\":\"s\",\"deviceId\":\"d1\",\"value\":\"%s\"}", value)));
        }
        int64_t done_ms = clock_ms();
        EXPECT_WITHIN(PATIENCE_MS, seenAt(seen, value) > 0);
        int64_t took_ms = seenAt(seen, value) - done_ms;
        EXPECT(took_ms < 1000);
        if (took_ms > worst_ms) worst_ms = took_ms;
    }
    note("worst of %d changes: %lld ms", ROUNDS + 1, (long long) worst_ms);
    return worst_ms;
}

int main(void)
{
    static Seen seen = {.lock = PTHREAD_MUTEX_INITIALIZER};
    scenarioBegin();
    Services services = servicesStart();
    Io *io = deviceStart("down.db", services.broker.port, SYNC_SOON);
    Db *db = ioGetDb(io);
    EXPECT_CODE(dbAddTrigger(db, onSetting, "Setting", &seen, DB_ON_REMOTE), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);

    EXPECT(changeAndWait(&seen, "idle") < 1000);
    claim("a change in the cloud fires the trigger of a waiting device within one second");
    EXPECT_NUMBER(seen.calls, ROUNDS + 1);
    EXPECT_NUMBER(count(db, "Setting", NULL), 0);
    claim("and each fires once");

    Toil *toil = toilStart(db);
    EXPECT(changeAndWait(&seen, "busy") < 1000);
    EXPECT_NUMBER(toilEnd(toil), 0);
    EXPECT_NUMBER(seen.calls, 2 * (ROUNDS + 1));
    claim("the same holds for a device that sends a hundred changes a second");

    ioClose(io);
    servicesStop(&services);
    return scenarioEnd();
}
