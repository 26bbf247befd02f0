/*
    A developer writes configurations, right and wrong, in files and as text. The right ones must open an agent with its
    database; the wrong ones must be refused with file and line, before anything is made. An agent that is not started
    must keep every change for later, and must be closed without loss.
 */
#include "support/device.h"

#include <sys/stat.h>
#include <unistd.h>

static Io *openFile(const char *text)
{
    writeFile(scratch("ioto.json5"), text);
    return ioOpen(scratch("ioto.json5"));
}

/** A path as it reads from any folder. */
static const char *absolute(const char *path)
{
    char folder[2048];
    return path[0] == '/' || getcwd(folder, sizeof folder) == NULL ? path : format("%s/%s", folder, path);
}

static void wrongOnesAreRefused(void)
{
    static const struct {
        const char *text;
        const char *names[2];
    } wrong[] = {
        {"", {"ioto.json5", NULL}},
        {"[]", {"ioto.json5", NULL}},
        {"{\n  deviceId: 'd1'\n  accountId: 'a1'\n}", {"ioto.json5", "line 3"}},
        {"{\n  accountId: 'a1',\n  database: { path: 'x.db', schema: 'schema.json5' },\n  mqtt: { endpoint: 'h' },\n}",
         {"ioto.json5", "deviceId"}},
        {"{\n  deviceId: 17,\n  accountId: 'a1',\n  database: { path: 'x.db', schema: 'schema.json5' },\n}",
         {"ioto.json5:2", "deviceId"}},
        {"{\n  deviceId: 'd1',\n  database: 'x.db',\n}", {"ioto.json5:3", "database"}},
        {"{\n  deviceId: 'd1', accountId: 'a1',\n  database: {\n    path: 'x.db', schema: 'schema.json5',\n"
         "    syncDelay: 'soon',\n  },\n}",
         {"ioto.json5:5", "syncDelay"}},
        {"{\n  deviceId: 'd1', accountId: 'a1',\n  database: {\n    path: 'x.db', schema: 'schema.json5',\n"
         "    syncLimit: '-1K',\n  },\n}",
         {"ioto.json5:5", "syncLimit"}},
        {"{\n  deviceId: 'd1', accountId: 'a1',\n  database: {\n    path: 'x.db', schema: 'schema.json5',\n"
         "    durability: 'perhaps',\n  },\n}",
         {"ioto.json5:5", "durability"}},
        {"{\n  deviceId: 'd1', accountId: 'a1',\n  database: { path: 'x.db', schema: 'schema.json5' },\n"
         "  mqtt: { endpoint: 'h', port: 65536 },\n}",
         {"ioto.json5:4", "port"}},
        {"{\n  deviceId: 'd1/#', accountId: 'a1',\n  database: { path: 'x.db', schema: 'schema.json5' },\n"
         "  mqtt: { endpoint: 'h' },\n}",
         {"ioto.json5:2", "deviceId"}},
    };
    for (size_t index = 0; index < sizeof wrong / sizeof *wrong; index++) {
        Io *io = openFile(wrong[index].text);
        if (!EXPECT(io == NULL)) note("accepted: %s", wrong[index].text);
        ioClose(io);
        EXPECT_FAILED(DB_ERR_CONFIG);
        for (size_t name = 0; name < 2 && wrong[index].names[name] != NULL; name++) {
            EXPECT_ERROR_NAMES(wrong[index].names[name]);
        }
    }
    EXPECT(access(scratch("x.db"), F_OK) != 0);
    claim("a configuration that is not valid is refused with file, line and name, and no database is made");

    EXPECT(ioOpen(scratch("absent.json5")) == NULL);
    EXPECT(dbGetErrorCode() == DB_ERR_CONFIG || dbGetErrorCode() == DB_ERR_IO);
    EXPECT_ERROR_NAMES("absent.json5");
    EXPECT(ioOpen("") == NULL);
    EXPECT(dbGetErrorCode() < 0);
    EXPECT(ioOpen("  {") == NULL);
    EXPECT_FAILED(DB_ERR_CONFIG);
    claim("a configuration that can't be read is refused by name");

    writeFile(scratch("bad-schema.json5"), "{\n  indexes: { primary: { hash: 'pk' } },\n  models: { A: 1 }\n}");
    EXPECT(openFile("{ deviceId: 'd1', accountId: 'a1', database: { path: 'x.db', schema: 'bad-schema.json5' },"
                    "  mqtt: { endpoint: 'h' } }") == NULL);
    EXPECT_FAILED(DB_ERR_SCHEMA);
    EXPECT_ERROR_NAMES("bad-schema.json5:3");
    claim("a schema that is not valid is refused through the agent too");
}

static void rightOnesOpen(void)
{
    mkdir(scratch("etc"), 0700);
    writeFile(scratch("etc/ioto.json5"),
              format("// The firmware's configuration.\n{\n  deviceId: 'd7', accountId: 'a7',\n"
                     "  database: { path: '../state.db', schema: '%s', syncDelay: '2 secs', syncLimit: 20000,\n"
                     "              durability: 'normal' },\n"
                     "  mqtt: { endpoint: '127.0.0.1', port: 1, username: null, password: null, keepalive: 30 },\n"
                     "  unheard: { of: true },\n}\n",
                     absolute(testData("schema.json5"))));
    Io *io = ioOpen(scratch("etc/ioto.json5"));
    REQUIRE(io != NULL);
    EXPECT(access(scratch("state.db"), F_OK) == 0);
    Db *db = ioGetDb(io);
    DbItem *item = dbCreate(db, "Note", DB_PROPS("id", "a"), NULL);
    EXPECT_TEXT(dbField(item, "deviceId"), "d7");
    dbFreeItem(item);
    claim("paths are relative to the file, and the device's id is the context of its database");

    IoStatus status = {.size = sizeof status};
    EXPECT_CODE(create(db, "Reading", DB_PROPS("id", "r", "value", "1")), 0);
    EXPECT_CODE(create(db, "Setting", DB_PROPS("id", "s", "value", "1")), 0);
    EXPECT_CODE(create(db, "Local", DB_PROPS("id", "l")), 0);
    EXPECT_CODE(create(db, "Secret", DB_PROPS("id", "x")), 0);
    EXPECT_CODE(ioGetStatus(io, &status), 0);
    EXPECT_NUMBER(status.link, IO_LINK_STOPPED);
    EXPECT_NUMBER(status.pendingItems, 2);
    EXPECT_NUMBER(status.connections, 0);
    EXPECT(!status.caughtUp);
    claim("an agent that is not started counts what is to go up, and nothing else");

    EXPECT_CODE(ioSync(io, 0), DB_ERR_OFFLINE);
    EXPECT_CODE(ioSync(io, 100), DB_ERR_OFFLINE);
    EXPECT_CODE(ioSyncUp(io, 100), DB_ERR_OFFLINE);
    EXPECT_CODE(ioSyncDown(io, 100), DB_ERR_OFFLINE);
    claim("an agent that is not started can't synchronize, and says so");
    ioStop(io);
    ioClose(io);

    io = ioOpen(scratch("etc/ioto.json5"));
    REQUIRE(io != NULL);
    status.size = sizeof status;
    EXPECT_CODE(ioGetStatus(io, &status), 0);
    EXPECT_NUMBER(status.pendingItems, 2);
    EXPECT_NUMBER(count(ioGetDb(io), "Local", NULL), 1);
    ioClose(io);
    claim("what is to go up is kept over a restart");
}

/** Whether a text ends with a whole character; of the ones here, each lead byte has one byte more. */
static bool endsWhole(const char *text)
{
    size_t length = strlen(text);
    return length > 0 && ((unsigned char) text[length - 1] & 0xC0) != 0xC0;
}

static void longTextsAreCut(void)
{
    for (int odd = 0; odd < 2; odd++) {
        char host[512] = "x";
        for (size_t at = (size_t) odd; at < 400; at += 2) memcpy(host + at, "\xC3\xA4", 3);
        Io *io = ioOpen(format("{deviceId: 'd1', database: {path: '%s', schema: '%s'}, mqtt: {endpoint: '%s', port: 1}}",
                               scratch("cut.db"), absolute(testData("schema.json5")), host));
        REQUIRE(io != NULL);
        EXPECT_CODE(ioStart(io), 0);
        EXPECT_WITHIN(PATIENCE_MS, deviceStatus(io).lastError != 0);
        IoStatus status = deviceStatus(io);
        EXPECT(strlen(status.lastErrorText) >= sizeof status.lastErrorText - 2);
        EXPECT(endsWhole(status.lastErrorText));
        ioClose(io);
    }
    claim("a text that is longer than its place is cut where a character ends");
}

int main(void)
{
    scenarioBegin();
    wrongOnesAreRefused();
    rightOnesOpen();
    longTextsAreCut();
    return scenarioEnd();
}
