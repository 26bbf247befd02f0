/*
    Somebody who may publish on the device's topics says what he likes: items of models that do not come down, as messages
    of version 1 and as pages of version 2 with the true history and cursor; forged acknowledgements; dates at the end of
    time; and noise of every kind. Then he does the same on the topics of the cloud, in the device's name. On neither side
    may an item change, a pending change be lost, a trigger fire or a process die; and replication must go on afterwards.
 */
#include "support/device.h"

#include <cjson/cJSON.h>

static const char *const guarded[] = {"Reading", "Secret", "Report", "Local"};
static const char *const keys[] = {"reading#r", "secret#r", "report#r", "local#r"};

/** A version of now, by a writer that nobody knows. */
static const char *versionNow(void) { return format("%012llx0000-00000000000e7171", (unsigned long long) wall_ms()); }

static void sayVersion1(Spy *spy)
{
    static const char *const verbs[] = {"UPSERT", "INSERT", "MODIFY", "REMOVE"};
    static const char *const stems[] = {"ioto/device/d1/sync", "ioto/account/a1/sync", "ioto/account/all/sync"};
    for (size_t model = 0; model < sizeof guarded / sizeof *guarded; model++) {
        for (size_t verb = 0; verb < sizeof verbs / sizeof *verbs; verb++) {
            for (size_t stem = 0; stem < sizeof stems / sizeof *stems; stem++) {
                EXPECT(spySay(spy, format("%s/%s", stems[stem], verbs[verb]),
                              format("{\"_type\":\"%s\",\"sk\":\"%s\",\"id\":\"r\",\"deviceId\":\"d1\",\"accountId\":\"a1\","
                                     "\"text\":\"evil\",\"updated\":\"2099-01-01T00:00:00.000Z\"}",
                                     guarded[model], keys[model])));
            }
        }
    }
}

/** A page for the guarded models, as the hub would send it. */
static void sayPage(Spy *spy, const char *stream, const char *history, int64_t previous, int64_t cursor, bool isReset)
{
    char *page = malloc(8192);
    if (page == NULL) abort();
    char *end = page;
    end += sprintf(end, "{\"v\":2,\"stream\":\"%s\",\"history\":\"%s\",\"prev\":%lld,\"cursor\":%lld,\"more\":false,"
                        "\"reset\":%s,\"time\":\"%.16s\",\"changes\":[",
                   stream, history, (long long) previous, (long long) cursor, isReset ? "true" : "false", versionNow());
    for (size_t model = 0; model < sizeof guarded / sizeof *guarded; model++) {
        end += sprintf(end, "%s{\"cmd\":\"%s\",\"key\":\"%s\",\"ver\":\"%s\",\"item\":{\"_type\":\"%s\",\"sk\":\"%s\","
                            "\"id\":\"r\",\"deviceId\":\"d1\",\"text\":\"evil\"}}",
                       model > 0 ? "," : "", model % 2 == 0 ? "upsert" : "remove", keys[model], versionNow(), guarded[model],
                       keys[model]);
    }
    sprintf(end, "]}");
    EXPECT(spySay(spy, "ioto/device/d1/sync/BATCH", page));
    free(page);
}

static void sayForgedPages(Spy *spy)
{
    static const char *const streams[] = {"device/d1", "account/a1", "all", "device/d2", "", "../x"};
    for (size_t stream = 0; stream < sizeof streams / sizeof *streams; stream++) {
        sayPage(spy, streams[stream], "0123456789abcdef", 5000, 5001, false);
        sayPage(spy, streams[stream], "ffffffffffffffff", INT64_MAX - 1, INT64_MAX, false);
        sayPage(spy, streams[stream], "0123456789abcdef", 7, 3, false);
        sayPage(spy, streams[stream], "0123456789abcdef", -1, 5, false);
        sayPage(spy, streams[stream], "0123456789abcdef", 0, 1, true);
    }
    EXPECT(spySay(spy, "ioto/device/d1/sync/BATCH", "{\"v\":2,\"ask\":true}"));
}

/** Messages that are of no protocol; `stem` is a topic that ends before its verb. */
static void sayNoise(Spy *spy, const char *stem)
{
    static const char *const verbs[] = {"SYNC", "SYNCDOWN", "BATCH", "UPSERT", "REMOVE", "syncToDynamo", "syncDown", "offline",
                                        "", "x/y", "\xe2\x82\xac"};
    static const char *const noises[] = {
        "", " ", "{", "}", "[]", "null", "0", "\"\"", "{}", "{\"v\":2}", "{\"v\":2,\"changes\":7}", "{\"v\":2,\"seq\":\"x\"}",
        "{\"v\":99999999999999999999}", "{\"v\":2,\"seq\":1e400,\"changes\":[]}", "{\"_type\":7}", "{\"_type\":\"Nothing\"}",
        "{\"v\":2,\"stream\":\"device/d1\",\"history\":\"xyz\",\"prev\":{},\"cursor\":[],\"time\":null,\"changes\":{}}",
        "{\"v\":2,\"stream\":\"device/d1\",\"history\":\"0000000000000000\",\"prev\":0,\"cursor\":0,"
        "\"time\":\"ffffffffffffffff\",\"changes\":[null,1,\"\",[],{},{\"item\":{}}]}",
        "{\"v\":2,\"seq\":1,\"time\":\"ffffffffffffffff\",\"vers\":[\"\",null,{}],\"rejected\":[7],\"again\":{}}",
        "{\"v\":2,\"seq\":1,\"replica\":\"0000000000000001\",\"account\":7,\"cursors\":{\"device/d1\":{\"history\":"
        "\"0000000000000000\",\"cursor\":9223372036854775807},\"device/d2\":7}}",
        "{\"v\":2,\"seq\":1,\"replica\":\"0000000000000001\",\"changes\":[null,7,{\"cmd\":\"upsert\"},{\"item\":[]}]}",
        "{\"seq\":1,\"changes\":[{\"cmd\":\"format\",\"item\":{\"_type\":\"Note\"}}]}", "\xff\xfe\x80", "{\"a\":\"\xc3\"}",
        "{\"updated\":\"9999-12-31T23:59:59.999Z\"}", "{\"updated\":-1}", "{\"timestamp\":{}}",
    };
    const unsigned char binary[] = {0, 1, 2, 0xff, 0, '{', '}', 0};
    char *deep = repeat('[', 200000);
    char *huge = repeat('x', 1500000);
    for (size_t verb = 0; verb < sizeof verbs / sizeof *verbs; verb++) {
        const char *topic = format("%s%s", stem, verbs[verb]);
        for (size_t noise = 0; noise < sizeof noises / sizeof *noises; noise++) EXPECT(spySay(spy, topic, noises[noise]));
        EXPECT(spyPublish(spy, topic, binary, sizeof binary));
        EXPECT(spySay(spy, topic, deep));
    }
    memcpy(huge, "{\"v\":2,\"x\":\"", 12);
    EXPECT(spySay(spy, format("%sBATCH", stem), huge));
    EXPECT(spySay(spy, format("%ssyncToDynamo", stem), huge));
    free(deep);
    free(huge);
}

static void sayForgedChanges(Spy *spy)
{
    static const struct {
        const char *model, *key, *id, *device;
    } items[] = {
        {"Setting", "setting#s", "s", "d1"}, {"Setting", "setting#forged", "forged", "d1"},
        {"Report", "report#r", "r", "d1"},   {"Secret", "secret#forged", "forged", "d1"},
        {"Local", "local#forged", "forged", "d1"}, {"Note", "note#stolen", "stolen", "d2"},
        {"Note", "note#other", "mismatch", "d1"},  {"Nothing", "nothing#x", "x", "d1"},
    };
    static const char *const topics[] = {"$aws/rules/IotoDevice/ioto/service/d1/db/syncToDynamo",
                                         "ioto/service/d1/db/syncToDynamo"};
    for (size_t index = 0; index < 2 * sizeof items / sizeof *items; index++) {
        size_t item = index / 2;
        EXPECT(spySay(spy, topics[index % 2],
                      format("{\"v\":2,\"seq\":%zu,\"replica\":\"00000000000e7171\",\"account\":\"a1\",\"changes\":[{\"cmd\":"
                             "\"upsert\",\"key\":\"%s\",\"ver\":\"%s\",\"item\":{\"_type\":\"%s\",\"sk\":\"%s\",\"id\":\"%s\","
                             "\"deviceId\":\"%s\",\"text\":\"evil\",\"value\":\"evil\"}}]}",
                             index, items[item].key, versionNow(), items[item].model, items[item].key, items[item].id,
                             items[item].device)));
    }
    EXPECT(spySay(spy, topics[0],
                  format("{\"v\":2,\"seq\":99,\"replica\":\"00000000000e7171\",\"account\":\"a1\",\"changes\":[{\"cmd\":"
                         "\"remove\",\"key\":\"setting#s\",\"ver\":\"%s\",\"item\":{\"_type\":\"Setting\",\"sk\":\"setting#s\","
                         "\"id\":\"s\",\"deviceId\":\"d1\"}}]}",
                         versionNow())));
}

static bool isText(Db *db, const char *model, const char *id, const char *expected)
{
    char *text = dbGetString(db, model, "text", DB_PROPS("id", id), NULL);
    bool isEqual = expected == NULL ? text == NULL : text != NULL && strcmp(text, expected) == 0;
    dbFree(text);
    return isEqual;
}

/** The guarded items are as the device made them. */
static bool isUnharmed(Db *db)
{
    return isText(db, "Reading", "r", "good") && isText(db, "Secret", "r", "good") && isText(db, "Local", "r", "good") &&
           count(db, "Reading", NULL) == 1 && count(db, "Secret", NULL) == 1 && count(db, "Local", NULL) == 1 &&
           count(db, "Note", NULL) == 1 && !exists(db, "Report", DB_PROPS("id", "r"));
}

/** Replication works both ways: a setting comes down, a note goes up. */
static bool goesOn(Io *io, const char *name)
{
    Db *db = ioGetDb(io);
    bool isPut = cloudPut("Setting", format("{\"id\":\"%s\",\"deviceId\":\"d1\",\"value\":\"comes\"}", name));
    EXPECT_WITHIN(PATIENCE_MS, exists(db, "Setting", DB_PROPS("id", name)));
    EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", "n", "text", name), NULL), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    return isPut && cloudFieldIs("Note", "n", "text", name);
}

static void deviceIsAttacked(Io *io, Cloud *cloud, Spy *spy)
{
    Db *db = ioGetDb(io);
    Witness *witness = witnessAdd(db, NULL, DB_ON_REMOTE | DB_ON_REJECTED);
    sayVersion1(spy);
    sayForgedPages(spy);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT(isUnharmed(db));
    EXPECT_TEXT(witnessText(witness), "");
    EXPECT(goesOn(io, "s-after-pages"));
    claim("items of models that do not come down are not taken, in either version of the protocol");

    sayNoise(spy, "ioto/device/d1/sync/");
    sayNoise(spy, "ioto/account/a1/sync/");
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT(isUnharmed(db));
    EXPECT(goesOn(io, "s-after-noise"));
    EXPECT_NUMBER(witnessCount(witness, NULL, NULL, NULL, -1), 2);
    claim("noise of every kind changes nothing, and the device goes on");

    cloudPause(cloud);
    EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", "n", "text", "unacknowledged"), NULL), 0);
    EXPECT_CODE(ioFlushSync(io), 0);
    EXPECT_WITHIN(PATIENCE_MS, spyCount(spy, "syncToDynamo", "unacknowledged") > 0);
    for (int sequence = 0; sequence < 3; sequence++) {
        EXPECT(spySay(spy, "ioto/device/d1/sync/SYNC",
                      format("{\"v\":2,\"seq\":%d,\"keys\":[\"note#n\"],\"updated\":\"2099-01-01T00:00:00.000Z\",\"time\":"
                             "\"%.16s\",\"vers\":[\"%s\"]}",
                             sequence, versionNow(), versionNow())));
        EXPECT(spySay(spy, "ioto/device/d1/sync/SYNC", "{\"seq\":1,\"keys\":[\"note#n\"],\"updated\":\"2099-01-01\"}"));
    }
    pause_ms(300);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 1);
    cloudResume(cloud);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT(cloudFieldIs("Note", "n", "text", "unacknowledged"));
    claim("an acknowledgement of a version that was never sent clears nothing");
    ioStop(io);
    EXPECT_NUMBER(witnessCount(witness, NULL, NULL, NULL, -1), 2);
    EXPECT_NUMBER(deviceStatus(io).rejectedItems, 0);
    ioClose(io);
    witnessFree(witness);
}

/** The strongest forgery: the attacker has heard the device's history and cursor. */
static void deviceIsAttackedWithItsOwnCursor(int port, Spy *spy)
{
    Io *io = deviceStart("hostile.db", port, SYNC_SOON);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    char *request = spyLast(spy, "syncDown", "\"device/d1\"");
    cJSON *tree = cJSON_Parse(request);
    const cJSON *cursors = cJSON_GetObjectItemCaseSensitive(tree, "cursors");
    const cJSON *own = cJSON_GetObjectItemCaseSensitive(cursors, "device/d1");
    const char *history = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(own, "history"));
    const cJSON *cursor = cJSON_GetObjectItemCaseSensitive(own, "cursor");
    REQUIRE(history != NULL && cJSON_IsNumber(cursor));
    int64_t position = (int64_t) cursor->valuedouble;
    sayPage(spy, "device/d1", history, position, position, false);
    sayPage(spy, "device/d1", history, position, position + 1, false);
    sayPage(spy, "device/d1", history, 0, position + 2, false);
    pause_ms(500);
    EXPECT(isUnharmed(ioGetDb(io)));
    cJSON_Delete(tree);
    free(request);
    ioClose(io);
    claim("not even with the true history and cursor is such an item taken");
}

static void cloudIsAttacked(Spy *spy)
{
    sayForgedChanges(spy);
    EXPECT(spySay(spy, "ioto/service/d1/db/syncDown", "{\"v\":2,\"seq\":1,\"replica\":\"00000000000e7171\",\"account\":\"a2\","
                                                      "\"cursors\":{\"account/a2\":{\"history\":\"0000000000000000\","
                                                      "\"cursor\":0}}}"));
    sayNoise(spy, "ioto/service/d1/db/");
    sayNoise(spy, "$aws/rules/IotoDevice/ioto/service/d1/db/");
    sayNoise(spy, "ioto/service//db/");
    sayNoise(spy, "ioto/service/d1/");
}

static void cloudIsUnharmed(void)
{
    EXPECT(cloudFieldIs("Setting", "s", "value", "good"));
    EXPECT(cloudFieldIs("Report", "r", "text", "good"));
    EXPECT(!cloudHas("Setting", "forged"));
    EXPECT(!cloudHas("Secret", "forged"));
    EXPECT(!cloudHas("Local", "forged"));
    EXPECT(!cloudHas("Note", "mismatch"));
    EXPECT(!cloudFieldIs("Note", "stolen", "deviceId", "d2"));
}

int main(void)
{
    scenarioBegin();
    Services services = servicesStart();
    Spy *spy = spyStart(services.broker.port);
    EXPECT(cloudPut("Report", "{\"id\":\"r\",\"deviceId\":\"d1\",\"text\":\"good\"}"));
    EXPECT(cloudPut("Setting", "{\"id\":\"s\",\"deviceId\":\"d1\",\"value\":\"good\"}"));
    Io *io = deviceStart("hostile.db", services.broker.port, SYNC_NEVER);
    for (size_t model = 0; model < sizeof guarded / sizeof *guarded; model++) {
        int expected = strcmp(guarded[model], "Report") == 0 ? DB_ERR_DENIED : 0;
        EXPECT_CODE(create(ioGetDb(io), guarded[model], DB_PROPS("id", "r", "text", "good")), expected);
    }
    EXPECT_CODE(create(ioGetDb(io), "Note", DB_PROPS("id", "n", "text", "good")), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    claim("device and cloud meet");

    deviceIsAttacked(io, &services.cloud, spy);
    cloudIsAttacked(spy);
    cloudIsUnharmed();
    claim("forged changes and noise in the device's name change nothing in the cloud");
    io = deviceStart("hostile.db", services.broker.port, SYNC_SOON);
    EXPECT(goesOn(io, "s-after-all"));
    ioClose(io);
    claim("the cloud goes on");
    deviceIsAttackedWithItsOwnCursor(services.broker.port, spy);

    spyStop(spy);
    servicesStop(&services);
    return scenarioEnd();
}
