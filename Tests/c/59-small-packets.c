/*
    The hub's broker takes packets of 128 KB, as some services do, and items have up to 256 KB. They come down in parts all the same,
    as pages unasked, as answers and to all devices of an account at once; what is behind them comes, and so does what
    overrules a change of the device. So it is whether the broker tells of its packets (`max_packet_size`, MQTT 5), or just drops what
    is larger (`message_size_limit`); and with packets that hold a tenth of that.
 */
#include "support/device.h"

/** Room that the other properties of an item take, in bytes. */
#define ROOM 1024
#define ITEM_MAX (256 * 1024 - ROOM)

static const char SCHEMA[] =
    "{ version: '1', indexes: { primary: { hash: 'pk', sort: 'sk' } },\n"
    "  process: { Setting: { sync: 'down' }, Notice: { sync: 'down' }, Note: { sync: 'both' } },\n"
    "  models: {\n"
    "    Setting: { pk: { type: 'string', value: 'device#${deviceId}' }, sk: { type: 'string', value: 'setting#${id}' },\n"
    "      id: { type: 'string', required: true }, deviceId: { type: 'string', required: true }, value: { type: 'string' } },\n"
    "    Notice: { pk: { type: 'string', value: 'account#${accountId}' }, sk: { type: 'string', value: 'notice#${id}' },\n"
    "      id: { type: 'string', required: true }, accountId: { type: 'string', required: true }, value: { type: 'string' } },\n"
    "    Note: { pk: { type: 'string', value: 'device#${deviceId}' }, sk: { type: 'string', value: 'note#${id}' },\n"
    "      id: { type: 'string', required: true }, deviceId: { type: 'string', required: true }, text: { type: 'string' } } } }\n";

static void cloudPutLarge(const char *model, const char *owner, const char *id, const char *field, const char *text)
{
    FILE *file = fopen(scratch("large.json5"), "w");
    REQUIRE(file != NULL);
    fprintf(file, "{%s, id: '%s', %s: '%s'}", owner, id, field, text);
    fclose(file);
    REQUIRE(cloudPutFile(model, scratch("large.json5")));
}

static bool deviceSays(Io *io, const char *model, const char *id, const char *field, const char *text)
{
    DbItem *item = dbGet(ioGetDb(io), model, DB_PROPS("id", id), NULL);
    bool isSo = item != NULL && dbField(item, field) != NULL && strcmp(dbField(item, field), text) == 0;
    dbFreeItem(item);
    return isSo;
}

static Io *start(const char *id, const char *compress, int port)
{
    Io *io = ioOpen(format("{ deviceId: '%s', accountId: 'a1',\n"
                           "  database: { path: '%s', schema: '%s', syncDelay: '50ms', compress: '%s' },\n"
                           "  mqtt: { endpoint: '127.0.0.1', port: %d } }\n",
                           id, scratch(format("%s.db", id)), scratch("schema.json5"), compress, port));
    REQUIRE(io != NULL);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    return io;
}

/** A name for an item, of a group of them. */
typedef struct Name {
    char text[32];
} Name;

static Name name(const char *group, const char *item)
{
    Name name;
    snprintf(name.text, sizeof name.text, "%s-%s", group, item);
    return name;
}

/** To one device, while it is there and while it is away. */
static void downToOne(Io *io, const char *group, const char *large)
{
    Name live = name(group, "live"), behind = name(group, "live-behind");
    cloudPutLarge("Setting", "deviceId: 'd1'", live.text, "value", large);
    REQUIRE(cloudPut("Setting", format("{deviceId: 'd1', id: '%s', value: 'small'}", behind.text)));
    EXPECT_WITHIN(PATIENCE_MS, deviceSays(io, "Setting", behind.text, "value", "small"));
    EXPECT_WITHIN(PATIENCE_MS, deviceSays(io, "Setting", live.text, "value", large));
    ioStop(io);
    Name away = name(group, "away");
    behind = name(group, "away-behind");
    cloudPutLarge("Setting", "deviceId: 'd1'", away.text, "value", large);
    REQUIRE(cloudPut("Setting", format("{deviceId: 'd1', id: '%s', value: 'small'}", behind.text)));
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_WITHIN(PATIENCE_MS, deviceSays(io, "Setting", behind.text, "value", "small"));
    EXPECT_WITHIN(PATIENCE_MS, deviceSays(io, "Setting", away.text, "value", large));
}

/** To both devices of the account. */
static void downToAll(Io *one, Io *other, const char *group, const char *large)
{
    Name id = name(group, "all"), behind = name(group, "all-behind");
    cloudPutLarge("Notice", "accountId: 'a1'", id.text, "value", large);
    REQUIRE(cloudPut("Notice", format("{accountId: 'a1', id: '%s', value: 'small'}", behind.text)));
    EXPECT_WITHIN(PATIENCE_MS, deviceSays(one, "Notice", behind.text, "value", "small"));
    EXPECT_WITHIN(PATIENCE_MS, deviceSays(one, "Notice", id.text, "value", large));
    EXPECT_WITHIN(PATIENCE_MS, deviceSays(other, "Notice", behind.text, "value", "small"));
    EXPECT_WITHIN(PATIENCE_MS, deviceSays(other, "Notice", id.text, "value", large));
}

/** The device has changed an item while it was away, and the cloud later. */
static void conflict(Io *io, const char *group, const char *large)
{
    Name id = name(group, "met");
    ioStop(io);
    EXPECT_CODE(dbSet(ioGetDb(io), "Note", DB_JSON(format("{id: '%s', text: 'device'}", id.text)), NULL), 0);
    pause_ms(20);
    cloudPutLarge("Note", "deviceId: 'd1'", id.text, "text", large);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT_WITHIN(PATIENCE_MS, deviceSays(io, "Note", id.text, "text", large));
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    EXPECT_NUMBER(deviceStatus(io).rejectedItems, 0);
}

static void run(const char *setting, const char *compress, const char *group)
{
    Services services = servicesStartWith(setting);
    Io *one = start("d1", compress, services.broker.port), *other = start("d2", compress, services.broker.port);
    char *large = repeat(group[0], ITEM_MAX);
    downToOne(one, group, large);
    downToAll(one, other, group, large);
    conflict(one, group, large);
    free(large);
    ioClose(one);
    ioClose(other);
    servicesStop(&services);
}

int main(void)
{
    scenarioBegin();
    writeFile(scratch("schema.json5"), SCHEMA);
    cloudUseSchema(scratch("schema.json5"));
    run("max_packet_size 131072", "none", "a");
    claim("what is larger than the packets of a broker that tells of them comes down, and what is behind it");
    run("message_size_limit 131072", "none", "b");
    claim("so it does where the broker drops what is larger");
    run("max_packet_size 13000", "none", "c");
    claim("so it does in many parts");
    run("max_packet_size 131072", "zlib", "d");
    claim("so it does to devices that read compressed messages");
    cloudUsePackets("20K");
    run("message_size_limit 20480", "none", "e");
    claim("so it does where the cloud is told of the packets, and the broker drops what is larger");
    return scenarioEnd();
}
