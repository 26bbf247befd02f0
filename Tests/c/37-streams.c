/*
    Some items of the cloud are a device's, some an account's, some everybody's. Two devices of one account and one of another are
    there, or come later. Each item must come to whom it is for, as it is made, changed and removed, and to nobody else.
 */
#include "support/device.h"

#define DEVICES 3

static const char schema[] =
    "{format: 'onetable:1.1.0', version: '1', indexes: {primary: {hash: 'pk', sort: 'sk'}},"
    " models: {"
    "  Own: {pk: {value: 'device#${deviceId}'}, sk: {value: 'own#${id}'}, deviceId: {type: 'string'},"
    "   id: {type: 'string', required: true}, value: {type: 'string'}},"
    "  Site: {pk: {value: 'account#${accountId}'}, sk: {value: 'site#${id}'}, accountId: {type: 'string'},"
    "   id: {type: 'string', required: true}, value: {type: 'string'}},"
    "  Bulletin: {pk: {value: 'bulletin'}, sk: {value: 'bulletin#${id}'},"
    "   id: {type: 'string', required: true}, value: {type: 'string'}}},"
    " process: {Own: {sync: 'down'}, Site: {sync: 'down'}, Bulletin: {sync: 'down'}}}";

static const char *const devices[DEVICES] = {"d1", "d2", "d3"}, *const accounts[DEVICES] = {"a1", "a1", "a2"};
static Io *agents[DEVICES];

static void start(int index, int port)
{
    agents[index] = ioOpen(format("{deviceId: '%s', accountId: '%s', database: {path: '%s', schema: '%s', syncDelay: '50ms'},"
                                  " mqtt: {endpoint: '127.0.0.1', port: %d}}",
                                  devices[index], accounts[index], scratch(format("%s.db", devices[index])), scratch("streams.json5"),
                                  port));
    REQUIRE(agents[index] != NULL);
    REQUIRE(ioStart(agents[index]) == 0);
    EXPECT_CODE(ioSyncDown(agents[index], PATIENCE_MS), 0);
}

static bool has(int index, const char *model, const char *id, const char *value)
{
    DbList *list = dbFind(ioGetDb(agents[index]), model, DB_PROPS("id", id), NULL);
    bool isSo = list != NULL && dbListCount(list) == 1 && strcmp(dbField(dbListItem(list, 0), "value"), value) == 0;
    dbFreeList(list);
    return isSo;
}

static int64_t held(int index, const char *model) { return count(ioGetDb(agents[index]), model, NULL); }

static void expectEach(const char *value)
{
    for (int index = 0; index < DEVICES; index++) {
        EXPECT_WITHIN(PATIENCE_MS, has(index, "Bulletin", "b", value));
        EXPECT_WITHIN(PATIENCE_MS, has(index, "Site", accounts[index], value));
        EXPECT_WITHIN(PATIENCE_MS, has(index, "Own", devices[index], value));
        EXPECT_NUMBER(held(index, "Bulletin"), 1);
        EXPECT_NUMBER(held(index, "Site"), 1);
        EXPECT_NUMBER(held(index, "Own"), 1);
    }
}

static void say(const char *value)
{
    EXPECT(cloudPut("Bulletin", format("{\"id\":\"b\",\"value\":\"%s\"}", value)));
    EXPECT(cloudPut("Site", format("{\"id\":\"a1\",\"accountId\":\"a1\",\"value\":\"%s\"}", value)));
    EXPECT(cloudPut("Site", format("{\"id\":\"a2\",\"accountId\":\"a2\",\"value\":\"%s\"}", value)));
    for (int index = 0; index < DEVICES; index++) {
        EXPECT(cloudPut("Own", format("{\"id\":\"%s\",\"deviceId\":\"%s\",\"value\":\"%s\"}", devices[index], devices[index], value)));
    }
}

int main(void)
{
    scenarioBegin();
    writeFile(scratch("streams.json5"), schema);
    cloudUseSchema(scratch("streams.json5"));
    Services services = servicesStart();
    int port = services.broker.port;
    start(0, port);
    start(2, port);
    say("first");
    start(1, port);
    expectEach("first");
    claim("devices that are there, and one that comes later, get what is theirs, their account's and everybody's");

    say("second");
    expectEach("second");
    ioStop(agents[1]);
    say("third");
    EXPECT_CODE(ioStart(agents[1]), 0);
    EXPECT_CODE(ioSyncDown(agents[1], PATIENCE_MS), 0);
    expectEach("third");
    claim("changes reach all of them and nobody else, also one that was away");

    ioStop(agents[0]);
    EXPECT(cloudRemove("Bulletin", "{\"id\":\"b\"}"));
    EXPECT(cloudRemove("Site", "{\"id\":\"a1\",\"accountId\":\"a1\"}"));
    EXPECT_CODE(ioStart(agents[0]), 0);
    EXPECT_CODE(ioSyncDown(agents[0], PATIENCE_MS), 0);
    for (int index = 0; index < DEVICES; index++) {
        EXPECT_WITHIN(PATIENCE_MS, held(index, "Bulletin") == 0);
        EXPECT_WITHIN(PATIENCE_MS, held(index, "Site") == (index == 2));
        EXPECT_NUMBER(held(index, "Own"), 1);
    }
    claim("so do removals, and the other account keeps what it has");
    for (int index = 0; index < DEVICES; index++) ioClose(agents[index]);
    servicesStop(&services);
    return scenarioEnd();
}
