/*
    An operator asks whether a device and the cloud hold the same. Both sum up what they have of a stream: the sums are equal when
    all has come through, differ while either side has something that the other has not, and the list of the items tells what
    it is. The tools print the same lines, so that diff finds it.
 */
#include "support/device.h"
#include "support/tool.h"

#include <unistd.h>

#define MODELS 4

static IoDigest digest(Db *db, const char *stream)
{
    IoDigest out = {.size = sizeof out};
    EXPECT_CODE(ioDigest(db, stream, &out, NULL, NULL), 0);
    return out;
}

/** Whether the cloud's digest of the stream is the device's. */
static bool isEqual(Db *db, const char *stream)
{
    IoDigest mine = digest(db, stream);
    char *theirs = cloudDigest(stream, false);
    char line[256];
    snprintf(line, sizeof line, "%s %s items=%lld\n", mine.value, stream, (long long) mine.items);
    bool isSame = theirs != NULL && strcmp(line, theirs) == 0;
    if (!isSame) note("device: %.*s, cloud: %s", (int) strcspn(line, "\n"), line, theirs != NULL ? theirs : "nothing\n");
    free(theirs);
    return isSame;
}

typedef struct Listing {
    int count, most;
    char last[64];
} Listing;

static bool listItem(void *context, const char *model, const char *hash, const char *sort, const char *value)
{
    Listing *listing = context;
    EXPECT(model[0] != '\0' && strcmp(hash, "device#d1") == 0 && strlen(value) == 32);
    snprintf(listing->last, sizeof listing->last, "%s", sort);
    return ++listing->count < listing->most;
}

/** What iotodb prints of the database, freed by the caller. */
static char *toolDigest(const char *database)
{
    EXPECT_NUMBER(tool("digest", "--list", scratch(database), "device/d1", NULL), 0);
    char *text = toolOutput;
    toolOutput = NULL;
    return text;
}

static void ofNothing(Db *db)
{
    IoDigest empty = digest(db, NULL);
    EXPECT_TEXT(empty.value, "00000000000000000000000000000000");
    EXPECT_NUMBER(empty.items, 0);
    EXPECT_NUMBER(empty.pendingItems, 0);
    claim("nothing has the digest 0");
}

/** Returns the digest of what both sides hold. */
static IoDigest ofWhatTravels(Io *io)
{
    Db *db = ioGetDb(io);
    ioStop(io);
    static const char *const models[MODELS] = {"Reading", "Note", "Plan", "Profile"};
    for (size_t index = 0; index < MODELS; index++) {
        for (int id = 0; id < 30; id++) {
            const char *props = format("{ id: '%d', text: 'é \\\"%d\\\"', %s: %d.50 }", id, id,
                                       strcmp(models[index], "Reading") == 0 ? "value" : "count", id);
            EXPECT_CODE(create(db, models[index], DB_JSON(props)), 0);
        }
    }
    EXPECT_CODE(create(db, "Local", DB_PROPS("id", "1", "text", "stays here")), 0);
    EXPECT_CODE(create(db, "Secret", DB_PROPS("id", "1", "text", "stays here")), 0);
    EXPECT(cloudPut("Setting", "{\"deviceId\":\"d1\",\"id\":\"1\",\"value\":\"from the cloud\"}"));
    EXPECT(cloudPut("Note", "{\"deviceId\":\"d1\",\"id\":\"cloud\",\"count\":1e2,\"unknown\":{\"b\":[1.0,null],\"a\":true}}"));
    EXPECT(cloudPut("Note", "{\"deviceId\":\"d2\",\"id\":\"other\",\"text\":\"another device's\"}"));
    EXPECT(!isEqual(db, "device/d1"));
    EXPECT_NUMBER(digest(db, NULL).pendingItems, 30 * MODELS);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT(isEqual(db, "device/d1"));
    IoDigest synced = digest(db, NULL);
    EXPECT_NUMBER(synced.items, 30 * MODELS + 2);
    EXPECT_NUMBER(synced.pendingItems, 0);
    EXPECT(synced.history != 0 && synced.cursor > 0);
    EXPECT(isEqual(db, "all") && isEqual(db, "account/a1"));
    claim("after synchronization both sides have the same digest, of what travels and is the device's");
    return synced;
}

static void ofWhatChangedOffline(Io *io, const IoDigest *synced)
{
    Db *db = ioGetDb(io);
    ioStop(io);
    EXPECT_CODE(update(db, "Note", DB_PROPS("id", "7", "text", "changed offline")), 0);
    EXPECT(!isEqual(db, "device/d1"));
    EXPECT_NUMBER(digest(db, NULL).items, synced->items);
    EXPECT_NUMBER(digest(db, NULL).pendingItems, 1);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT(isEqual(db, "device/d1"));
    claim("a change offline makes them differ, until it has come through");

    ioStop(io);
    EXPECT_CODE(dbRemove(db, "Plan", DB_PROPS("id", "3"), NULL), 1);
    EXPECT(cloudRemove("Setting", "{\"deviceId\":\"d1\",\"id\":\"1\"}"));
    EXPECT(!isEqual(db, "device/d1"));
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT(isEqual(db, "device/d1"));
    EXPECT_NUMBER(digest(db, NULL).items, synced->items - 2);
    claim("so do removals on either side");
}

static void ofTheTools(Io *io)
{
    char *mine = toolDigest("digest.db");
    char *theirs = cloudDigest("device/d1", true);
    EXPECT(mine != NULL && theirs != NULL && strlen(mine) > 1000);
    EXPECT_TEXT(mine, theirs);
    free(mine);
    EXPECT(cloudPut("Note", "{\"deviceId\":\"d1\",\"id\":\"7\",\"count\":8}"));
    ioStop(io);
    mine = toolDigest("digest.db");
    free(theirs);
    theirs = cloudDigest("device/d1", true);
    ioStart(io);
    if (EXPECT(mine != NULL && theirs != NULL)) {
        char *left, *right;
        int differences = 0;
        const char *a = strtok_r(mine, "\n", &left), *b = strtok_r(theirs, "\n", &right);
        for (; a != NULL && b != NULL; a = strtok_r(NULL, "\n", &left), b = strtok_r(NULL, "\n", &right)) {
            if (strcmp(a, b) == 0) continue;
            differences++;
            EXPECT(strstr(a, "\"note#7\"") != NULL || strstr(a, " device/d1 items=") != NULL);
        }
        EXPECT(a == NULL && b == NULL);
        // The device may have been told already.
        EXPECT(differences == 2 || differences == 0);
    }
    free(mine);
    free(theirs);
    claim("the lists of the tools differ in the items alone that differ");
}

static void ofEachItem(Db *db)
{
    Listing listing = {.most = INT32_MAX};
    IoDigest out = {.size = sizeof out};
    EXPECT_CODE(ioDigest(db, "device/d1", &out, listItem, &listing), 0);
    EXPECT_NUMBER(listing.count, out.items);
    listing = (Listing){.most = 2};
    EXPECT_CODE(ioDigest(db, "device/d1", &out, listItem, &listing), 0);
    EXPECT_NUMBER(listing.count, 2);
    EXPECT_NUMBER(out.items, 2);
    claim("each item is told, until the firmware has enough");
}

static void isRefused(Db *db)
{
    IoDigest small = {.size = offsetof(IoDigest, history), .history = 77};
    EXPECT_CODE(ioDigest(db, NULL, &small, NULL, NULL), 0);
    EXPECT(small.items > 0 && small.history == 77);
    IoDigest out = {.size = sizeof out};
    EXPECT_CODE(ioDigest(NULL, "all", &out, NULL, NULL), DB_ERR_MISUSE);
    EXPECT_CODE(ioDigest(db, "all", NULL, NULL, NULL), DB_ERR_MISUSE);
    out.size = 0;
    EXPECT_CODE(ioDigest(db, "all", &out, NULL, NULL), DB_ERR_MISUSE);
    EXPECT_CODE(ioDigest(db, "\xff", &small, NULL, NULL), DB_ERR_MISUSE);
    Db *bare = dbOpen(scratch("bare.db"), testData("schema.json5"), 0);
    EXPECT_CODE(ioDigest(bare, NULL, &small, NULL, NULL), DB_ERR_MISUSE);
    dbClose(bare);
    claim("what is not valid is refused");
}

int main(void)
{
    scenarioBegin();
    Services services = servicesStart();
    Io *io = deviceStart("digest.db", services.broker.port, SYNC_NEVER);
    Db *db = ioGetDb(io);
    ofNothing(db);
    IoDigest synced = ofWhatTravels(io);
    ofWhatChangedOffline(io, &synced);
    ofTheTools(io);
    ofEachItem(db);
    isRefused(db);
    ioClose(io);
    servicesStop(&services);
    toolFree();
    return scenarioEnd();
}
