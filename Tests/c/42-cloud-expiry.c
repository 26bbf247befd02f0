/*
    Leases have an end, on the device and in the cloud: whoever comes to it first, it is gone from both. The cloud's removal does not
    undo what a device that was away has made of the lease in time.
 */
#include "support/device.h"

static const char schema[] =
    "{format: 'onetable:1.1.0', version: '1.0.0', indexes: {primary: {hash: 'pk', sort: 'sk'}},\n"
    " process: {Lease: {sync: 'both'}},\n"
    " models: {Lease: {pk: {value: 'device#${deviceId}'}, sk: {value: 'lease#${id}'}, deviceId: {type: 'string', required: true},\n"
    "  id: {type: 'string', required: true}, text: {type: 'string'}, until: {type: 'date', ttl: true}}}}\n";

static Io *start(const char *schemaPath, int port)
{
    Io *io = deviceOpenUnder(schemaPath, "lease.db", port, SYNC_SOON);
    REQUIRE(io != NULL);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    return io;
}

static bool putLease(const char *id, int64_t until_ms)
{
    return cloudPut("Lease", format("{\"id\":\"%s\",\"deviceId\":\"d1\",\"until\":%lld}", id, (long long) until_ms));
}

int main(void)
{
    scenarioBegin();
    const char *path = strdup(scratch("lease.json5"));
    writeFile(path, schema);
    cloudUseSchema(path);
    Services services = servicesStart();

    Io *io = start(path, services.broker.port);
    Db *db = ioGetDb(io);
    Witness *witness = witnessAdd(db, "Lease", DB_ON_CHANGE);
    int64_t now_ms = wall_ms();
    EXPECT(putLease("short", now_ms + 10000));
    EXPECT(putLease("long", now_ms + 3600000));
    EXPECT_WITHIN(PATIENCE_MS, exists(db, "Lease", DB_PROPS("id", "short")) && exists(db, "Lease", DB_PROPS("id", "long")));
    EXPECT_CODE(create(db, "Lease", DB_PROPS("id", "own", "until", format("%lld", (long long) now_ms + 10000))), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT_WITHIN(PATIENCE_MS, cloudCount("Lease") == 1);
    EXPECT(cloudHas("Lease", "long"));
    EXPECT_WITHIN(PATIENCE_MS, count(db, "Lease", NULL) == 1 && witnessCount(witness, "remove", "Lease", NULL, -1) == 2);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT_NUMBER(witnessCount(witness, "remove", "Lease", "short", -1), 1);
    EXPECT_NUMBER(witnessCount(witness, "remove", "Lease", "own", -1), 1);
    EXPECT(cloudAgrees(db, "Lease"));
    claim("an item that expires is gone from the cloud and the device, and told of once");

    int64_t until_ms = wall_ms() + 15000;
    EXPECT(putLease("kept", until_ms));
    EXPECT_WITHIN(PATIENCE_MS, exists(db, "Lease", DB_PROPS("id", "kept")));
    ioClose(io);
    witnessFree(witness);
    io = deviceOpenUnder(path, "lease.db", services.broker.port, SYNC_SOON);
    REQUIRE(io != NULL);
    db = ioGetDb(io);
    int64_t more_ms = wall_ms() + 3600000;
    EXPECT_CODE(update(db, "Lease", DB_PROPS("id", "kept", "text", "extended", "until", format("%lld", (long long) more_ms))), 0);
    ioClose(io);
    EXPECT(wall_ms() < until_ms);
    EXPECT_WITHIN(PATIENCE_MS, !cloudHas("Lease", "kept"));
    io = start(path, services.broker.port);
    db = ioGetDb(io);
    EXPECT(exists(db, "Lease", DB_PROPS("id", "kept")));
    EXPECT_WITHIN(PATIENCE_MS, cloudFieldIs("Lease", "kept", "text", "extended"));
    EXPECT_NUMBER(count(db, "Lease", NULL), 2);
    EXPECT(cloudAgrees(db, "Lease"));
    claim("a lease that a device has extended in time outlives its removal in the cloud");

    ioClose(io);
    servicesStop(&services);
    free((void *) path);
    return scenarioEnd();
}
