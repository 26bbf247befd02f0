/*
    A device and a service that speaks version 1 of the protocol alone, played by the scenario. What the device creates, updates and
    removes goes up as that version documents it, and nothing of a later one with it, once the service is known; what is not
    acknowledged comes again, by itself and after a restart. What the service says of items is stored, its removals remove, and
    triggers are told of each once, also where it is said twice. What came while the device was away is asked for from the time
    that the service told last.
 */
#include "support/device.h"
#include "support/version1.h"

#include <cjson/cJSON.h>

#define DATABASE "version1.db"

static bool isSetting(Db *db, const char *id, const char *expected)
{
    char *value = dbGetString(db, "Setting", "value", DB_PROPS("id", id), NULL);
    bool isEqual = value != NULL && strcmp(value, expected) == 0;
    dbFree(value);
    return isEqual;
}

static const char *setting(const char *id, const char *value)
{
    return format("{\"_type\":\"Setting\",\"sk\":\"setting#%s\",\"id\":\"%s\",\"deviceId\":\"d1\",\"accountId\":\"a1\",\"value\":\"%s\"}",
                  id, id, value);
}

/** The last change of a key is of this command, and its item has these members, `updated`, and, as the schema wants, `created`. */
static bool isLast(Service1 *service, const char *cmd, const char *key, const char *members)
{
    char *text = service1Change(service, NULL, key);
    cJSON *change = text != NULL ? cJSON_Parse(text) : NULL;
    cJSON *item = cJSON_GetObjectItemCaseSensitive(change, "item");
    const char *said = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(change, "cmd"));
    bool isEqual = said != NULL && strcmp(said, cmd) == 0 && cJSON_HasObjectItem(item, "updated");
    cJSON_DeleteItemFromObjectCaseSensitive(item, "updated");
    cJSON_DeleteItemFromObjectCaseSensitive(item, "created");
    cJSON *expected = cJSON_Parse(members);
    REQUIRE(expected != NULL);
    isEqual = isEqual && cJSON_Compare(item, expected, true);
    if (!isEqual) note("%s: %s", key, text != NULL ? text : "no change");
    cJSON_Delete(expected);
    cJSON_Delete(change);
    free(text);
    return isEqual;
}

static void meets(Io *io, Service1 *service)
{
    EXPECT_CODE(ioSyncDown(io, PATIENCE_MS), 0);
    EXPECT(deviceStatus(io).caughtUp);
    char *since = service1Timestamp(service);
    EXPECT_TEXT(since, "1970-01-01T00:00:00.000Z");
    free(since);
    claim("a new device asks for everything, and has caught up when the service says so");

    service1Answer(service, true, false);
    EXPECT_CODE(ioSyncDown(io, 500), DB_ERR_TIMEOUT);
    service1Answer(service, true, true);
    EXPECT_CODE(ioSyncDown(io, PATIENCE_MS), 0);
    claim("a question that is not answered is asked again");
}

static void goesUp(Io *io, Service1 *service)
{
    Db *db = ioGetDb(io);
    int extended = service1Extended(service);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "a", "text", "made", "count", "1")), 0);
    EXPECT_CODE(create(db, "Reading", DB_PROPS("id", "r", "value", "21.5")), 0);
    EXPECT_CODE(create(db, "Local", DB_PROPS("id", "l", "text", "stays")), 0);
    EXPECT_CODE(create(db, "Secret", DB_PROPS("id", "x", "text", "stays")), 0);
    EXPECT_CODE(ioSyncUp(io, PATIENCE_MS), 0);
    EXPECT(isLast(service, "upsert", "note#a",
                  "{\"_type\":\"Note\",\"sk\":\"note#a\",\"id\":\"a\",\"deviceId\":\"d1\",\"accountId\":\"a1\",\"text\":\"made\","
                  "\"count\":1}"));
    EXPECT(service1Is(service, "reading#r", "value", "21.5"));
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    claim("what is created goes up whole, under the documented members, and is cleared by the answer");

    int64_t sequence = service1Sequence(service);
    EXPECT_CODE(update(db, "Note", DB_PROPS("id", "a", "text", "changed")), 0);
    EXPECT_CODE(ioSyncUp(io, PATIENCE_MS), 0);
    EXPECT(isLast(service, "upsert", "note#a",
                  "{\"_type\":\"Note\",\"sk\":\"note#a\",\"id\":\"a\",\"deviceId\":\"d1\",\"accountId\":\"a1\",\"text\":\"changed\","
                  "\"count\":1}"));
    EXPECT(service1Sequence(service) > sequence);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    claim("an update goes up whole, in a message of a higher number");

    EXPECT_CODE(dbRemove(db, "Note", DB_PROPS("id", "a"), NULL), 1);
    EXPECT_CODE(ioSyncUp(io, PATIENCE_MS), 0);
    EXPECT(isLast(service, "remove", "note#a",
                  "{\"_type\":\"Note\",\"sk\":\"note#a\",\"id\":\"a\",\"deviceId\":\"d1\",\"accountId\":\"a1\"}"));
    EXPECT(!service1Has(service, "note#a"));
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    claim("a removal goes up");

    EXPECT_NUMBER(service1Heard(service, NULL, "local#l") + service1Heard(service, NULL, "secret#x"), 0);
    EXPECT_NUMBER(service1Unfit(service), 0);
    EXPECT_NUMBER(service1Extended(service), extended);
    claim("without what stays on the device, and without a member of a later version");
}

static void isNotAnswered(Io *io, Service1 *service)
{
    Db *db = ioGetDb(io);
    service1Withhold(service, "note#c");
    EXPECT_CODE(dbBegin(db), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "b", "text", "answered")), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "c", "text", "not answered")), 0);
    EXPECT_CODE(dbCommit(db), 0);
    EXPECT_WITHIN(PATIENCE_MS, service1Has(service, "note#b") && deviceStatus(io).pendingItems == 1);
    service1Say(service, "SYNC", format("{\"seq\":%lld,\"keys\":[\"note#c\"],\"updated\":\"2099-01-01T00:00:00.000Z\"}",
                                        (long long) service1Sequence(service) + 1000));
    service1Say(service, "SYNC", format("{\"seq\":%lld,\"keys\":[\"note#z\",7],\"updated\":\"2099-01-01T00:00:00.000Z\"}",
                                        (long long) service1Sequence(service)));
    EXPECT_CODE(ioSyncUp(io, 500), DB_ERR_TIMEOUT);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 1);
    claim("an answer clears the keys that it names, if it is to the message that they were sent in");

    int answered = service1Heard(service, NULL, "note#b");
    int unanswered = service1Heard(service, NULL, "note#c");
    EXPECT_WITHIN(PATIENCE_MS, service1Heard(service, NULL, "note#c") > unanswered);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 1);
    service1Withhold(service, NULL);
    EXPECT_CODE(ioSyncUp(io, PATIENCE_MS), 0);
    EXPECT(service1Is(service, "note#c", "text", "not answered"));
    EXPECT_NUMBER(service1Heard(service, NULL, "note#b"), answered);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    claim("what is not answered comes again until it is, and what was answered does not");
}

static void comesDown(Io *io, Service1 *service)
{
    Db *db = ioGetDb(io);
    Witness *witness = witnessAdd(db, NULL, DB_ON_REMOTE);
    int heard = service1Heard(service, NULL, NULL);
    service1Put(service, "INSERT", setting("1", "inserted"));
    service1Put(service, "UPSERT", setting("2", "upserted"));
    service1PutAt(service, "account/a1", "UPSERT", setting("3", "for the account"));
    service1PutAt(service, "account/all", "UPSERT", setting("4", "for all"));
    service1Put(service, "UPSERT", "{\"_type\":\"Note\",\"sk\":\"note#d\",\"id\":\"d\",\"deviceId\":\"d1\",\"text\":\"from above\"}");
    service1Put(service, "MODIFY", setting("1", "modified"));
    service1Repeat(service, "MODIFY", "setting#1");
    EXPECT_WITHIN(PATIENCE_MS, isSetting(db, "1", "modified"));
    EXPECT_WITHIN(PATIENCE_MS, isSetting(db, "2", "upserted"));
    EXPECT_WITHIN(PATIENCE_MS, isSetting(db, "3", "for the account"));
    EXPECT_WITHIN(PATIENCE_MS, isSetting(db, "4", "for all"));
    EXPECT_WITHIN(PATIENCE_MS, exists(db, "Note", DB_PROPS("id", "d", "text", "from above")));
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT_TEXT(witnessText(witness), "create Setting 1 remote\ncreate Setting 2 remote\ncreate Setting 3 remote\n"
                                      "create Setting 4 remote\ncreate Note d remote\nupdate Setting 1 remote\n");
    claim("items of every verb are stored, and triggers are told of each once, though it is said twice and asked for again");

    service1Remove(service, "Setting", "setting#2");
    service1Repeat(service, "REMOVE", "setting#2");
    service1Remove(service, "Note", "note#d");
    EXPECT_WITHIN(PATIENCE_MS, !exists(db, "Note", DB_PROPS("id", "d")));
    EXPECT(!exists(db, "Setting", DB_PROPS("id", "2")));
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT_NUMBER(witnessCount(witness, "remove", "Setting", "2", DB_ORIGIN_REMOTE), 1);
    EXPECT_NUMBER(witnessCount(witness, "remove", "Note", "d", DB_ORIGIN_REMOTE), 1);
    EXPECT_NUMBER(witnessCount(witness, NULL, NULL, NULL, -1), 8);
    EXPECT_NUMBER(count(db, "Setting", NULL), 3);
    claim("a removal that names type and sort key alone removes, and triggers are told of it once");

    EXPECT_NUMBER(service1Heard(service, NULL, NULL), heard);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    claim("nothing of that goes back up");
    ioStop(io);
    ioClose(io);
    witnessFree(witness);
}

/** What happened above while the device was away: the broker has some of it, the service tells all when it is asked. */
static Io *comesBack(int port, Service1 *service, const char *before)
{
    service1Put(service, "UPSERT", setting("5", "meanwhile"));
    service1Remove(service, "Setting", "setting#3");
    Io *io = deviceOpen(DATABASE, port, SYNC_SOON);
    REQUIRE(io != NULL);
    Witness *witness = witnessAdd(ioGetDb(io), NULL, DB_ON_REMOTE);
    int questions = service1Questions(service);
    service1Answer(service, true, false);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_WITHIN(PATIENCE_MS, service1Questions(service) > questions);
    char *since = service1Timestamp(service);
    if (!EXPECT(service1HasTold(service, since) && strcmp(since, before) > 0)) note("%s, %s", before, since);
    claim("after a restart it asks from the time that the service told last");

    service1Answer(service, true, true);
    EXPECT_CODE(ioSyncDown(io, PATIENCE_MS), 0);
    EXPECT(isSetting(ioGetDb(io), "5", "meanwhile"));
    EXPECT(!exists(ioGetDb(io), "Setting", DB_PROPS("id", "3")));
    EXPECT_NUMBER(witnessCount(witness, "create", "Setting", "5", DB_ORIGIN_REMOTE), 1);
    EXPECT_NUMBER(witnessCount(witness, "remove", "Setting", "3", DB_ORIGIN_REMOTE), 1);
    EXPECT_NUMBER(witnessCount(witness, NULL, NULL, NULL, -1), 2);
    claim("it gets what it has missed, each once");
    ioStop(io);
    ioClose(io);
    witnessFree(witness);
    free(since);
    return deviceStart(DATABASE, port, SYNC_SOON);
}

static void isRestarted(Io *io, int port, Service1 *service)
{
    Db *db = ioGetDb(io);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    service1Answer(service, false, true);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "e", "text", "new")), 0);
    EXPECT_CODE(update(db, "Note", DB_PROPS("id", "b", "text", "newer")), 0);
    EXPECT_CODE(dbRemove(db, "Note", DB_PROPS("id", "c"), NULL), 1);
    EXPECT_CODE(ioSyncUp(io, 1000), DB_ERR_TIMEOUT);
    EXPECT_WITHIN(PATIENCE_MS, service1Heard(service, "remove", "note#c") > 0);
    EXPECT(!service1Has(service, "note#e") && service1Has(service, "note#c"));
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 3);
    ioClose(io);

    io = deviceOpen(DATABASE, port, SYNC_SOON);
    REQUIRE(io != NULL);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 3);
    claim("what the service has not answered is pending, also after a restart");

    service1Answer(service, true, true);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_WITHIN(PATIENCE_MS, deviceIsFlushed(io));
    EXPECT_CODE(ioSyncUp(io, PATIENCE_MS), 0);
    EXPECT(service1Is(service, "note#e", "text", "new"));
    EXPECT(service1Is(service, "note#b", "text", "newer"));
    EXPECT(!service1Has(service, "note#c"));
    EXPECT_NUMBER(service1Unfit(service), 0);
    ioClose(io);
    claim("and is sent by itself then");
}

int main(void)
{
    scenarioBegin();
    Broker broker = brokerMake();
    brokerStart(&broker);
    Service1 *service = service1Start(broker.port);
    Io *io = deviceStart(DATABASE, broker.port, SYNC_SOON);
    meets(io, service);
    goesUp(io, service);
    isNotAnswered(io, service);
    char *before = service1Told(service);
    comesDown(io, service);
    io = comesBack(broker.port, service, before);
    free(before);
    isRestarted(io, broker.port, service);
    service1Stop(service);
    brokerStop(&broker);
    return scenarioEnd();
}
