/*
    A device that is told to compress talks to a cloud that can: from the cloud's first answer on, batches up and pages down are
    no JSON on the wire, and a fraction of its size; everything arrives as it was. A device that is not told so is sent plain
    JSON, by the same cloud.
 */
#include "support/device.h"

#define ITEMS 300

/** Bytes of MQTT payload, both ways, that it takes to send the items and to get as many from the cloud. */
static int64_t bytesOf(const char *compress, int port, Spy *spy)
{
    const char *config = format("{ deviceId: 'd1', accountId: 'a1',\n"
                                "  database: { path: '%s', schema: '%s', syncDelay: '10m', compress: '%s' },\n"
                                "  mqtt: { endpoint: '127.0.0.1', port: %d } }\n",
                                scratch(format("%s.db", compress)), testData("schema.json5"), compress, port);
    Io *io = ioOpen(config);
    REQUIRE(io != NULL);
    Db *db = ioGetDb(io);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    int64_t before = deviceStatus(io).sentBytes;
    EXPECT_CODE(dbBegin(db), 0);
    for (int index = 0; index < ITEMS; index++) {
        EXPECT_CODE(create(db, "Reading", DB_PROPS("id", format("%s-%d", compress, index), "value", format("%d", index % 7),
                                                   "text", format("reading of the %s kind, all alike", compress))), 0);
    }
    EXPECT_CODE(dbCommit(db), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    int64_t bytes = deviceStatus(io).sentBytes - before;
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 0);
    bool isPlain = spyCount(spy, "syncToDynamo", format("of the %s kind", compress)) > 0;
    EXPECT(isPlain == (strcmp(compress, "none") == 0));
    ioClose(io);
    return bytes;
}

int main(void)
{
    scenarioBegin();
    Services services = servicesStart();
    Spy *spy = spyStart(services.broker.port);
    EXPECT(ioOpen("{deviceId: 'd1', database: {compress: 'gzip'}}") == NULL);
    EXPECT_FAILED(DB_ERR_CONFIG);
    int64_t plain = bytesOf("none", services.broker.port, spy);
    int64_t small = bytesOf("zlib", services.broker.port, spy);
    note("%lld bytes plain, %lld compressed", (long long) plain, (long long) small);
    EXPECT(small * 4 < plain);
    EXPECT_NUMBER(cloudCount("Reading"), 2 * ITEMS);
    EXPECT(cloudFieldIs("Reading", "zlib-299", "text", "reading of the zlib kind, all alike"));
    claim("a batch is compressed if both ends want it, and only then");
    spyStop(spy);
    servicesStop(&services);
    return scenarioEnd();
}
