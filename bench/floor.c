#include "floor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mosquitto.h>

#include "sql.h"

#define HASH "device#d1"
/** Of the first item; one takes the next even number, as times of versions are. */
#define TIME_FIRST 0x0192D1A05F2C0000
/** Items that the cloud's side stores in one transaction, or a few more: those of whole messages. */
#define TRANSACTION_ITEMS 500
/** Messages that are not answered. */
#define IN_FLIGHT_MAX 48
/** More than the pages of a log that waits for its checkpoint, and of a transaction. */
#define LOG_MEGABYTES 20

const Echo floorEcho = {"floor", "bench/floor/to", "bench/floor/from", "bench/floor/ready"};

/** Begins a message. Behind it each item has its Lengths, its sort key and its body. */
typedef struct Head {
    /** Place of its last item in the outbox. */
    int64_t position;
    int32_t number;
    /** It is stored at once, with what came before. */
    int32_t isLast;
} Head;

typedef struct Lengths {
    uint16_t key, body;
} Lengths;

/** A new database, of which no commit makes the log's file longer: ioto-cloud writes zeros into it for that, too. */
static sqlite3 *databaseMake(const char *path, const char *tables)
{
    static const char zeros[1024 * 1024];
    char log[1200];
    removeDatabase(path);
    sqlite3 *db = sqlOpen(path);
    sqlRun(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -16384");
    sqlRun(db, tables);
    sqlRun(db, "BEGIN IMMEDIATE");
    snprintf(log, sizeof log, "%s-wal", path);
    int file = open(log, O_WRONLY | O_APPEND);
    bool isWritten = file >= 0;
    for (int index = 0; isWritten && index < LOG_MEGABYTES; index++) isWritten = write(file, zeros, sizeof zeros) == sizeof zeros;
    if (!isWritten || fsync(file) != 0 || close(file) != 0) fail("%s: %s", log, strerror(errno));
    sqlRun(db, "COMMIT; PRAGMA wal_checkpoint(RESTART)");
    return db;
}

/** The statements are finalized with it. */
static void databaseClose(sqlite3 *db)
{
    for (sqlite3_stmt *one = sqlite3_next_stmt(db, NULL); one != NULL; one = sqlite3_next_stmt(db, NULL)) sqlite3_finalize(one);
    sqlCheck(db, sqlite3_close(db), SQLITE_OK);
}

static void bindText(sqlite3_stmt *statement, int place, const char *text)
{
    sqlite3_bind_text(statement, place, text, -1, SQLITE_STATIC);
}

/* ---- The cloud ---- */

static const char cloudTables[] =
    "CREATE TABLE item(id INTEGER PRIMARY KEY, hash TEXT NOT NULL, sort TEXT NOT NULL, model TEXT NOT NULL,"
    " time INTEGER NOT NULL, writer INTEGER NOT NULL, removed INTEGER, json TEXT NOT NULL, owner TEXT NOT NULL, stream TEXT,"
    " marks TEXT, own INTEGER NOT NULL DEFAULT 0, stamps TEXT, trail TEXT, position INTEGER,"
    " committed INTEGER NOT NULL DEFAULT 0, UNIQUE(hash, sort)) STRICT;"
    "CREATE INDEX item_model ON item(model, hash, sort) WHERE removed IS NULL;"
    "CREATE INDEX item_removed ON item(removed) WHERE removed IS NOT NULL;"
    "CREATE UNIQUE INDEX item_feed ON item(stream, position) WHERE position IS NOT NULL;"
    "CREATE TABLE head(stream TEXT PRIMARY KEY NOT NULL, position INTEGER NOT NULL, moved INTEGER NOT NULL,"
    " floor INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE UNIQUE INDEX head_moved ON head(moved)";

typedef struct Hub {
    int isGranted; // First, for bareConnect()
    sqlite3 *db;
    sqlite3_stmt *begin, *commit, *item, *head;
    int64_t position;
    /** Items of the transaction that is open. */
    int items;
} Hub;

static void hubOpen(Hub *hub, const char *path)
{
    *hub = (Hub){.db = databaseMake(path, cloudTables)};
    hub->begin = sqlPrepare(hub->db, "BEGIN IMMEDIATE");
    hub->commit = sqlPrepare(hub->db, "COMMIT");
    hub->item = sqlPrepare(hub->db, "INSERT INTO item(sort, json, position, time, committed, hash, model, writer, owner, stream)"
                                    " VALUES(?1, ?2, ?3, ?4, ?4, ?5, 'Report', ?6, 'd1', ?7) ON CONFLICT(hash, sort) DO NOTHING");
    bindText(hub->item, 5, HASH);
    sqlite3_bind_int64(hub->item, 6, TIME_FIRST);
    bindText(hub->item, 7, "device/d1");
    hub->head = sqlPrepare(hub->db, "INSERT INTO head(stream, position, moved, floor)"
                                    " VALUES(?1, ?2, (SELECT coalesce(max(moved), 0) + 1 FROM head), 0)"
                                    " ON CONFLICT(stream) DO UPDATE SET position = excluded.position, moved = excluded.moved");
    bindText(hub->head, 1, "device/d1");
}

static void hubStore(Hub *hub, const char *bytes, const char *end)
{
    if (hub->items == 0) sqlStep(hub->begin);
    while (bytes < end) {
        Lengths lengths;
        memcpy(&lengths, bytes, sizeof lengths);
        const char *key = bytes + sizeof lengths, *body = key + lengths.key;
        sqlite3_bind_text(hub->item, 1, key, lengths.key, SQLITE_STATIC);
        sqlite3_bind_text(hub->item, 2, body, lengths.body, SQLITE_STATIC);
        sqlite3_bind_int64(hub->item, 3, ++hub->position);
        sqlite3_bind_int64(hub->item, 4, TIME_FIRST + 2 * hub->position);
        sqlStep(hub->item);
        if (sqlite3_changes(hub->db) != 1) fail("an item came twice");
        bytes = body + lengths.body;
        hub->items++;
    }
}

/** Stores the items; the last message of a transaction is published back when that is on the disk, and answers those before it. */
static void onItems(struct mosquitto *self, void *object, const struct mosquitto_message *message)
{
    Hub *hub = object;
    Head head;
    memcpy(&head, message->payload, sizeof head);
    hubStore(hub, (const char *) message->payload + sizeof head, (const char *) message->payload + message->payloadlen);
    if (hub->items < TRANSACTION_ITEMS && !head.isLast) return;
    sqlite3_bind_int64(hub->head, 2, hub->position);
    sqlStep(hub->head);
    sqlStep(hub->commit);
    hub->items = 0;
    mosquitto_publish(self, NULL, floorEcho.from, message->payloadlen, message->payload, 1, false);
}

void floorServe(int port, const char *path)
{
    Hub hub;
    // As ioto-cloud does: it locks a mutex each time.
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    hubOpen(&hub, path);
    echoServe(&floorEcho, port, onItems, &hub);
    databaseClose(hub.db);
}

/* ---- The device ---- */

static const char deviceTables[] =
    "CREATE TABLE item(hash TEXT NOT NULL, sort TEXT NOT NULL, model INTEGER NOT NULL, time INTEGER NOT NULL, writer INTEGER,"
    " position INTEGER, json TEXT NOT NULL, trail TEXT, PRIMARY KEY(hash, sort)) WITHOUT ROWID;"
    "CREATE TABLE outbox(position INTEGER PRIMARY KEY, hash TEXT NOT NULL, sort TEXT NOT NULL)";

struct Floor {
    int isGranted; // First, for bareConnect()
    sqlite3 *db;
    sqlite3_stmt *begin, *commit, *item, *outbox, *read, *clear;
    char *body;
    size_t bodyBytes;
    /** The message that is made. */
    char *bytes;
    size_t size, sizeMax;
    /** Messages that are sent, and the last one that is answered. */
    int32_t sent, answered;
    /** Places in the outbox: of the last row, of the last one that is sent, and that is answered. */
    int64_t last, positionSent, positionAnswered;
};

Floor *floorOpen(const char *path, size_t item_bytes)
{
    Floor *device = calloc(1, sizeof *device);
    if (device == NULL || (device->body = malloc(item_bytes)) == NULL) fail("memory");
    memset(device->body, 'x', item_bytes);
    device->bodyBytes = item_bytes;
    device->db = databaseMake(path, deviceTables);
    device->begin = sqlPrepare(device->db, "BEGIN IMMEDIATE");
    device->commit = sqlPrepare(device->db, "COMMIT");
    device->item = sqlPrepare(device->db, "INSERT INTO item(hash, sort, json, model, time, position) VALUES(?1, ?2, ?3, 1, ?4, ?4)");
    device->outbox = sqlPrepare(device->db, "INSERT INTO outbox(hash, sort, position) VALUES(?1, ?2, ?3)");
    device->read = sqlPrepare(device->db, "SELECT o.position, o.sort, i.json FROM outbox AS o"
                                          " JOIN item AS i ON i.hash = o.hash AND i.sort = o.sort WHERE o.position > ?1 ORDER BY 1");
    device->clear = sqlPrepare(device->db, "DELETE FROM outbox WHERE position <= ?1");
    bindText(device->item, 1, HASH);
    bindText(device->outbox, 1, HASH);
    return device;
}

void floorClose(Floor *device)
{
    if (device == NULL) return;
    databaseClose(device->db);
    free(device->body);
    free(device);
}

static void keyMake(char *key, size_t bytes, uint32_t number)
{
    char id[ULID_CHARACTERS + 1];
    faultId(id, number);
    snprintf(key, bytes, "report#%s", id);
}

static void store(Floor *device, const char *key)
{
    device->last = device->last == 0 ? TIME_FIRST : device->last + 2;
    bindText(device->item, 2, key);
    sqlite3_bind_text(device->item, 3, device->body, (int) device->bodyBytes, SQLITE_STATIC);
    sqlite3_bind_int64(device->item, 4, device->last);
    sqlStep(device->item);
    bindText(device->outbox, 2, key);
    sqlite3_bind_int64(device->outbox, 3, device->last);
    sqlStep(device->outbox);
}

void floorFill(Floor *device, uint32_t first, uint32_t count)
{
    char key[40];
    sqlStep(device->begin);
    for (uint32_t index = 0; index < count; index++) {
        keyMake(key, sizeof key, first + index);
        store(device, key);
    }
    sqlStep(device->commit);
    sqlRun(device->db, "PRAGMA wal_checkpoint(RESTART)");
}

/** Add an item to the message, if it has room for it. */
static bool add(Floor *device, const char *key, size_t keyBytes, const char *body, size_t bodyBytes)
{
    Lengths lengths = {(uint16_t) keyBytes, (uint16_t) bodyBytes};
    if (device->size + sizeof lengths + keyBytes + bodyBytes > device->sizeMax) return false;
    char *place = device->bytes + device->size;
    memcpy(place, &lengths, sizeof lengths);
    memcpy(place + sizeof lengths, key, keyBytes);
    memcpy(place + sizeof lengths + keyBytes, body, bodyBytes);
    device->size += sizeof lengths + keyBytes + bodyBytes;
    return true;
}

/** Fill the message with the next rows of the outbox. */
static void gather(Floor *device)
{
    sqlite3_bind_int64(device->read, 1, device->positionSent);
    while (sqlite3_step(device->read) == SQLITE_ROW) {
        const char *key = (const char *) sqlite3_column_text(device->read, 1);
        const char *body = (const char *) sqlite3_column_text(device->read, 2);
        if (key == NULL || body == NULL) fail("SQLite: no text");
        if (!add(device, key, (size_t) sqlite3_column_bytes(device->read, 1), body, (size_t) sqlite3_column_bytes(device->read, 2))) break;
        device->positionSent = sqlite3_column_int64(device->read, 0);
    }
    sqlite3_reset(device->read);
}

/** Publish the message, and begin the next one. */
static void publish(Floor *device, struct mosquitto *client)
{
    Head head = {device->positionSent, ++device->sent, device->positionSent == device->last};
    if (device->size == sizeof head) fail("a message has no room for an item");
    memcpy(device->bytes, &head, sizeof head);
    mosquitto_publish(client, NULL, floorEcho.to, (int) device->size, device->bytes, 1, false);
    device->size = sizeof head;
}

static void onAnswer(struct mosquitto *self, void *object, const struct mosquitto_message *message)
{
    Floor *device = object;
    Head head;
    (void) self;
    memcpy(&head, message->payload, sizeof head);
    device->answered = head.number;
    device->positionAnswered = head.position;
}

static struct mosquitto *begin(Floor *device, int port, size_t message_bytes)
{
    device->isGranted = 0;
    device->sent = device->answered = 0;
    device->sizeMax = message_bytes;
    device->size = sizeof(Head);
    if ((device->bytes = malloc(message_bytes)) == NULL) fail("memory");
    struct mosquitto *client = bareConnect(port, device);
    mosquitto_int_option(client, MOSQ_OPT_SEND_MAXIMUM, IN_FLIGHT_MAX);
    mosquitto_message_callback_set(client, onAnswer);
    bareSubscribe(client, floorEcho.from, &device->isGranted);
    return client;
}

static void end(Floor *device, struct mosquitto *client)
{
    bareDisconnect(client);
    free(device->bytes);
}

void floorTrips(Floor *device, int port, uint32_t first, int count, double *out_seconds)
{
    char key[40];
    struct mosquitto *client = begin(device, port, sizeof(Head) + sizeof(Lengths) + sizeof key + device->bodyBytes);
    for (int index = 0; index < count; index++) {
        keyMake(key, sizeof key, first + (uint32_t) index);
        double start = now();
        sqlStep(device->begin);
        store(device, key);
        sqlStep(device->commit);
        device->positionSent = device->last;
        add(device, key, strlen(key), device->body, device->bodyBytes);
        publish(device, client);
        while (device->answered < device->sent) bareLoop(client);
        out_seconds[index] = now() - start;
    }
    end(device, client);
}

double floorDrain(Floor *device, int port, size_t message_bytes)
{
    double start = now();
    struct mosquitto *client = begin(device, port, message_bytes);
    for (int64_t cleared = 0; cleared < device->last; ) {
        while (device->positionSent < device->last && device->sent - device->answered < IN_FLIGHT_MAX) {
            gather(device);
            publish(device, client);
        }
        bareLoop(client);
        if (device->positionAnswered == cleared) continue;
        cleared = device->positionAnswered;
        sqlite3_bind_int64(device->clear, 1, cleared);
        sqlStep(device->clear);
    }
    double seconds = now() - start;
    end(device, client);
    return seconds;
}
