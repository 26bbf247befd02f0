/*
    Device and cloud change the same items while they do not hear of each other. What becomes of each is the schema's word:
    by the versions, the cloud's, the fields of both, or what the firmware's callback makes of both. Whichever way, both sides
    end with the same, and the firmware is told with both versions.
 */
#include "support/device.h"

typedef struct Told {
    int conflicts;
    char winner[64], loser[64];
} Told;

static void onConflict(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params, const char *cmd,
                       int events)
{
    (void) db, (void) model, (void) params, (void) cmd, (void) events;
    Told *told = arg;
    const DbItem *loser = dbTriggerLoser(item);
    snprintf(told->winner, sizeof told->winner, "%s", dbField(item, "text"));
    snprintf(told->loser, sizeof told->loser, "%s", loser != NULL ? dbField(loser, "text") : "");
    told->conflicts++;
}

static Told told;
static int asked;
static Io *agent;

static void resolve(void *arg, Db *db, const DbModel *model, const DbItem *mine, const DbItem *theirs, DbConflict *conflict)
{
    (void) db;
    asked++;
    EXPECT_TEXT(arg, "argument");
    EXPECT_TEXT(dbModelName(model), "Plan");
    EXPECT_CODE(dbResolve(conflict, DB_PROPS("id", "other")), DB_ERR_KEY);
    EXPECT_CODE(dbResolve(conflict, DB_PROPS("text", format("%s+%s", dbField(mine, "text"), dbField(theirs, "text")))), 0);
    EXPECT_CODE(dbResolve(NULL, NULL), DB_ERR_MISUSE);
    /* It runs on the thread that these would wait for. */
    ioStop(agent);
    EXPECT_FAILED(DB_ERR_MISUSE);
    EXPECT_ERROR_NAMES("callback");
    ioClose(agent);
    EXPECT_FAILED(DB_ERR_MISUSE);
}

static bool deviceSays(Db *db, const char *model, const char *id, const char *text)
{
    DbItem *item = dbGet(db, model, DB_PROPS("id", id), NULL);
    bool isSo = item != NULL && dbField(item, "text") != NULL && strcmp(dbField(item, "text"), text) == 0;
    dbFreeItem(item);
    return isSo;
}

/** Change an item on both sides while neither hears of the other; the later one is written last. */
static void meet(Io *io, const char *model, const char *mine, const char *theirs, bool isMineLater)
{
    Db *db = ioGetDb(io);
    ioStop(io);
    const char *theirProps = format("{\"deviceId\":\"d1\",\"id\":\"1\",%s}", theirs);
    const char *myProps = format("{\"id\":\"1\",%s}", mine);
    if (!isMineLater) EXPECT_CODE(dbSet(db, model, DB_JSON(myProps), NULL), 0);
    pause_ms(20);
    EXPECT(cloudPut(model, theirProps));
    pause_ms(20);
    if (isMineLater) EXPECT_CODE(dbSet(db, model, DB_JSON(myProps), NULL), 0);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
}

static void laterWins(Io *io)
{
    Db *db = ioGetDb(io);
    meet(io, "Note", "text:'device'", "\"text\":\"cloud\"", false);
    EXPECT(deviceSays(db, "Note", "1", "cloud"));
    EXPECT(cloudFieldIs("Note", "1", "text", "cloud"));
    EXPECT_WITHIN(PATIENCE_MS, told.conflicts >= 1);
    EXPECT_TEXT(told.winner, "cloud");
    EXPECT_TEXT(told.loser, "device");
    claim("latest: the cloud's later change wins, and the firmware is told both");

    meet(io, "Note", "text:'device-2'", "\"text\":\"cloud-2\"", true);
    EXPECT(deviceSays(db, "Note", "1", "device-2"));
    EXPECT_WITHIN(PATIENCE_MS, cloudFieldIs("Note", "1", "text", "device-2"));
    EXPECT_WITHIN(PATIENCE_MS, told.conflicts >= 2);
    EXPECT_TEXT(told.winner, "device-2");
    EXPECT_TEXT(told.loser, "cloud-2");
    EXPECT_NUMBER(deviceStatus(io).conflicts, 2);
    claim("latest: the device's later change wins, and the firmware is told what it has taken the place of");
}

static void cloudWins(Io *io)
{
    Db *db = ioGetDb(io);
    meet(io, "Order", "text:'device'", "\"text\":\"cloud\"", true);
    EXPECT_WITHIN(PATIENCE_MS, deviceSays(db, "Order", "1", "cloud"));
    EXPECT(cloudFieldIs("Order", "1", "text", "cloud"));
    claim("cloud: the cloud's change wins though the device's is later");
}

static void deviceWins(Services *services)
{
    cloudStop(&services->cloud);
    schemaWith("device.json5", "resolve: 'cloud' }", "resolve: 'device' }");
    cloudUseSchema(scratch("device.json5"));
    cloudStart(&services->cloud);
    Io *io = deviceOpenUnder(scratch("device.json5"), "conflicts.db", services->broker.port, SYNC_NEVER);
    REQUIRE(io != NULL);
    Db *db = ioGetDb(io);
    told = (Told){0};
    EXPECT_CODE(dbAddTrigger(db, onConflict, NULL, &told, DB_ON_CONFLICT), 0);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    meet(io, "Order", "text:'device-1'", "\"text\":\"cloud-1\"", false);
    EXPECT_WITHIN(PATIENCE_MS, deviceSays(db, "Order", "1", "device-1") && cloudFieldIs("Order", "1", "text", "device-1"));
    EXPECT_WITHIN(PATIENCE_MS, told.conflicts >= 1);
    EXPECT_TEXT(told.winner, "device-1");
    EXPECT_TEXT(told.loser, "cloud-1");
    claim("device: the device's change wins though the cloud's is later, and the firmware is told both");

    meet(io, "Order", "text:'device-2'", "\"text\":\"cloud-2\"", true);
    EXPECT_WITHIN(PATIENCE_MS, deviceSays(db, "Order", "1", "device-2") && cloudFieldIs("Order", "1", "text", "device-2"));
    EXPECT(cloudPut("Order", "{\"deviceId\":\"d1\",\"id\":\"1\",\"text\":\"known\"}"));
    EXPECT_WITHIN(PATIENCE_MS, deviceSays(db, "Order", "1", "known"));
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT(cloudFieldIs("Order", "1", "text", "known"));
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    EXPECT_WITHIN(PATIENCE_MS, cloudAgrees(db, "Order"));
    ioClose(io);
    claim("device: so does a later one, and what meets no change of the device comes down");
}

static void callbackDecides(Io *io)
{
    Db *db = ioGetDb(io);
    meet(io, "Plan", "text:'device'", "\"text\":\"cloud\"", true);
    EXPECT_WITHIN(PATIENCE_MS, deviceSays(db, "Plan", "1", "device+cloud"));
    EXPECT_WITHIN(PATIENCE_MS, cloudFieldIs("Plan", "1", "text", "device+cloud"));
    EXPECT_NUMBER(asked, 1);
    claim("callback: the item becomes what the firmware makes of both, on both sides");

    meet(io, "Plan", "text:'a'", "\"text\":\"b\"", false);
    EXPECT_WITHIN(PATIENCE_MS, deviceSays(db, "Plan", "1", "a+b"));
    EXPECT_WITHIN(PATIENCE_MS, cloudFieldIs("Plan", "1", "text", "a+b"));
    claim("callback: also when the cloud's change is the later one");
}

static void fieldsMerge(Io *io)
{
    Db *db = ioGetDb(io);
    meet(io, "Profile", "text:'device'", "\"value\":\"cloud\"", true);
    EXPECT_WITHIN(PATIENCE_MS, cloudFieldIs("Profile", "1", "text", "device"));
    EXPECT_WITHIN(PATIENCE_MS, cloudFieldIs("Profile", "1", "value", "cloud"));
    DbItem *item = dbGet(db, "Profile", DB_PROPS("id", "1"), NULL);
    EXPECT(item != NULL);
    EXPECT_TEXT(dbField(item, "text"), "device");
    EXPECT_TEXT(dbField(item, "value"), "cloud");
    dbFreeItem(item);
    meet(io, "Profile", "text:'device-2'", "\"value\":\"cloud-2\"", false);
    EXPECT_WITHIN(PATIENCE_MS, cloudFieldIs("Profile", "1", "text", "device-2"));
    EXPECT(cloudFieldIs("Profile", "1", "value", "cloud-2"));
    claim("fields: changes of different fields of one item both survive, on both sides alike");

    meet(io, "Profile", "text:'mine', count: 1", "\"text\":\"theirs\"", false);
    EXPECT_WITHIN(PATIENCE_MS, cloudFieldIs("Profile", "1", "count", "1"));
    EXPECT(cloudFieldIs("Profile", "1", "text", "theirs"));
    EXPECT_WITHIN(PATIENCE_MS, deviceSays(db, "Profile", "1", "theirs"));
    claim("fields: of one field the later change wins, and the rest survives");
}

static void withoutACallback(Io *io)
{
    Db *db = ioGetDb(io);
    ioStop(io);
    EXPECT_CODE(dbSetResolver(db, NULL, NULL), 0);
    EXPECT_CODE(ioStart(io), 0);
    meet(io, "Plan", "text:'x'", "\"text\":\"y\"", false);
    EXPECT_WITHIN(PATIENCE_MS, deviceSays(db, "Plan", "1", "y"));
    EXPECT_CODE(dbSetResolver(NULL, resolve, NULL), DB_ERR_MISUSE);
    claim("without a callback the later one wins");
}

int main(void)
{
    scenarioBegin();
    Services services = servicesStart();
    Io *io = deviceStart("conflicts.db", services.broker.port, SYNC_NEVER);
    Db *db = ioGetDb(io);
    agent = io;
    EXPECT_CODE(dbAddTrigger(db, onConflict, NULL, &told, DB_ON_CONFLICT), 0);
    EXPECT_CODE(dbSetResolver(db, resolve, (void *) "argument"), 0);
    static const char *const models[] = {"Note", "Order", "Plan", "Profile"};
    for (size_t index = 0; index < 4; index++) {
        EXPECT_CODE(create(db, models[index], DB_PROPS("id", "1", "text", "base")), 0);
    }
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    claim("both sides have the items");
    laterWins(io);
    cloudWins(io);
    callbackDecides(io);
    fieldsMerge(io);
    withoutACallback(io);
    for (size_t index = 0; index < 4; index++) EXPECT_WITHIN(PATIENCE_MS, cloudAgrees(db, models[index]));
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    claim("both sides hold the same");
    ioClose(io);
    deviceWins(&services);
    servicesStop(&services);
    return scenarioEnd();
}
