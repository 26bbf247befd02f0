/*
    The largest item that may be stored comes down, with a small one behind it: as a page, as the answer to a change that it
    overrules, compressed and plain. Up goes what fits a message of a device; what does not is refused and keeps nothing waiting,
    with a broker that takes small packets, too, whether it tells so (MQTT 5) or the configuration does.
 */
#include "support/device.h"

/** Room that the other properties of an item and what goes with it in a message take, in bytes. */
#define ROOM 1024
#define ITEM_MAX (256 * 1024 - ROOM)
#define MESSAGE_MAX (120 * 1024 - ROOM)
#define SMALL_PACKET 20000

static void cloudPutLarge(const char *model, const char *id, const char *field, const char *text)
{
    FILE *file = fopen(scratch("large.json5"), "w");
    REQUIRE(file != NULL);
    fprintf(file, "{deviceId: 'd1', id: '%s', %s: '%s'}", id, field, text);
    fclose(file);
    REQUIRE(cloudPutFile(model, scratch("large.json5")));
}

static bool deviceSays(Db *db, const char *model, const char *id, const char *field, const char *text)
{
    DbItem *item = dbGet(db, model, DB_PROPS("id", id), NULL);
    bool isSo = item != NULL && dbField(item, field) != NULL && strcmp(dbField(item, field), text) == 0;
    dbFreeItem(item);
    return isSo;
}

static const char *configuration(const char *compress, int port, const char *mqtt)
{
    return format("{ deviceId: 'd1', accountId: 'a1',\n"
                  "  database: { path: '%s', schema: '%s', syncDelay: '50ms', syncLimit: '100K', compress: '%s' },\n"
                  "  mqtt: { endpoint: '127.0.0.1', port: %d%s } }\n",
                  scratch("large.db"), testData("schema.json5"), compress, port, mqtt);
}

static Io *start(const char *compress, int port, const char *mqtt)
{
    Io *io = ioOpen(configuration(compress, port, mqtt));
    REQUIRE(io != NULL);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    return io;
}

/** Changes of the cloud, while the device is there and while it is away. */
static void down(Io *io, char letter)
{
    Db *db = ioGetDb(io);
    char *large = repeat(letter, ITEM_MAX);
    cloudPutLarge("Setting", "live", "value", large);
    REQUIRE(cloudPut("Setting", "{deviceId: 'd1', id: 'behind-live', value: 'small'}"));
    EXPECT_WITHIN(PATIENCE_MS, deviceSays(db, "Setting", "behind-live", "value", "small"));
    EXPECT_WITHIN(PATIENCE_MS, deviceSays(db, "Setting", "live", "value", large));
    ioStop(io);
    cloudPutLarge("Setting", "away", "value", large);
    cloudPutLarge("Setting", "away-too", "value", large);
    REQUIRE(cloudPut("Setting", "{deviceId: 'd1', id: 'behind-away', value: 'small'}"));
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_WITHIN(PATIENCE_MS, deviceSays(db, "Setting", "behind-away", "value", "small"));
    EXPECT_WITHIN(PATIENCE_MS, deviceSays(db, "Setting", "away", "value", large));
    EXPECT_WITHIN(PATIENCE_MS, deviceSays(db, "Setting", "away-too", "value", large));
    free(large);
}

/** Both sides change items while the device is away; the cloud's changes are the later ones, and large. */
static void conflict(Io *io, char letter)
{
    Db *db = ioGetDb(io);
    char *large = repeat(letter, ITEM_MAX);
    ioStop(io);
    for (int index = 0; index < 3; index++) {
        const char *id = format("met-%d", index);
        EXPECT_CODE(dbSet(db, "Note", DB_JSON(format("{id: '%s', text: 'device'}", id)), NULL), 0);
        pause_ms(20);
        cloudPutLarge("Note", format("met-%d", index), "text", large);
    }
    EXPECT_CODE(dbSet(db, "Note", DB_JSON("{id: 'alone', text: 'device'}"), NULL), 0);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    for (int index = 0; index < 3; index++) {
        EXPECT_WITHIN(PATIENCE_MS, deviceSays(db, "Note", format("met-%d", index), "text", large));
    }
    EXPECT(cloudFieldIs("Note", "alone", "text", "device"));
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    free(large);
}

/** Changes of the device, of which one is larger than a message may be: `group` names them. */
static void up(Io *io, const char *group, size_t message_bytes)
{
    Db *db = ioGetDb(io);
    int64_t rejected = deviceStatus(io).rejectedItems;
    char *fits = repeat('f', message_bytes - ROOM), *large = repeat('l', message_bytes);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", format("%s-fits", group), "text", fits)), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", format("%s-too-large", group), "text", large)), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", format("%s-behind", group), "text", "small")), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT(cloudFieldIs("Note", format("%s-fits", group), "text", fits));
    EXPECT(cloudHas("Note", format("%s-behind", group)) && !cloudHas("Note", format("%s-too-large", group)));
    EXPECT_NUMBER(deviceStatus(io).rejectedItems, rejected + 1);
    free(fits);
    free(large);
}

/** With a broker that takes small packets: one message may hold less than `syncLimit` says. */
static void upInSmallPackets(const char *group, const char *mqtt)
{
    // Not format(): `mqtt` may be in the buffer that it would use.
    char setting[40];
    snprintf(setting, sizeof setting, "max_packet_size %d", SMALL_PACKET);
    Services services = servicesStartWith(setting);
    Io *io = start("none", services.broker.port, mqtt);
    ioStop(io);
    char *text = repeat('b', 5000);
    for (int index = 0; index < 20; index++) {
        EXPECT_CODE(create(ioGetDb(io), "Note", DB_PROPS("id", format("%s-%d", group, index), "text", text)), 0);
    }
    free(text);
    EXPECT_CODE(ioStart(io), 0);
    up(io, group, SMALL_PACKET);
    EXPECT(cloudHas("Note", format("%s-0", group)) && cloudHas("Note", format("%s-19", group)));
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    EXPECT_NUMBER(deviceStatus(io).connections, 2);
    ioClose(io);
    servicesStop(&services);
}

/** With a broker that takes next to nothing there is no use in a connection; nothing is refused for its sake. */
static void waitsForLargerPackets(void)
{
    Services services = servicesStartWith("max_packet_size 500");
    Io *io = ioOpen(configuration("none", services.broker.port, ""));
    REQUIRE(io != NULL);
    int64_t rejected = deviceStatus(io).rejectedItems;
    EXPECT_CODE(create(ioGetDb(io), "Note", DB_PROPS("id", "waits", "text", "small")), 0);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_WITHIN(PATIENCE_MS, deviceStatus(io).lastError == DB_ERR_LIMIT);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 1);
    EXPECT_NUMBER(deviceStatus(io).rejectedItems, rejected);
    EXPECT_NUMBER(deviceStatus(io).connections, 0);
    ioClose(io);
    servicesStop(&services);
}

/** With one that takes large packets, whose size the configuration has, every item that may be stored goes up. */
static void upInLargePackets(void)
{
    Services services = servicesStart();
    Io *io = start("none", services.broker.port, ", packetSize: '1M'");
    char *large = repeat('L', ITEM_MAX);
    EXPECT_CODE(create(ioGetDb(io), "Note", DB_PROPS("id", "largest", "text", large)), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT(cloudFieldIs("Note", "largest", "text", large) && cloudHas("Note", "waits"));
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    free(large);
    ioClose(io);
    servicesStop(&services);
}

int main(void)
{
    scenarioBegin();
    Services services = servicesStart();
    Io *io = start("none", services.broker.port, "");
    down(io, 'x');
    claim("the largest item comes down, and what is behind it");
    conflict(io, 'y');
    claim("it comes also where it overrules a change of the device");
    up(io, "message", MESSAGE_MAX + ROOM);
    claim("up goes what fits a message; what does not is refused, and what is behind it goes");
    ioClose(io);
    io = start("zlib", services.broker.port, "");
    down(io, 'c');
    conflict(io, 'd');
    claim("compressed messages carry the same");
    ioClose(io);
    servicesStop(&services);
    upInSmallPackets("told", "");
    claim("a broker that tells of small packets gets small messages; what fits none is refused");
    upInSmallPackets("known", format(", version: '3.1.1', packetSize: %d", SMALL_PACKET));
    claim("so does one that can't tell, by the configuration");
    waitsForLargerPackets();
    claim("a broker whose packets hold no message is no connection; what waits for it waits on");
    upInLargePackets();
    claim("by the configuration the largest item goes up as well");
    return scenarioEnd();
}
