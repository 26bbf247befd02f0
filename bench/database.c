/*
    The device database through ioto.h, against the same durable work by SQLite's C API on the same file system.

    Both sides take turns, and who begins changes from round to round; a figure is the median of one side's rounds over the
    median of the other's. What belongs to a process of its own, memory and bytes to the disk, is measured in one.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ioto.h>

#include "raw.h"

enum { ROUNDS_MAX = 9 };

static struct {
    uint32_t items, itemsMany, hot, full, gets, getsHot, updates, updatesPaused, updatesDisk, batch;
    int rounds, finds, opens;
} size = {
    .items = 100000,
    .itemsMany = 1000000,
    .hot = 10000,
    .full = 300,
    .gets = 100000,
    .getsHot = 200000,
    .updates = 20000,
    .updatesPaused = 100000,
    .updatesDisk = 20000,
    .batch = 100,
    .rounds = 5,
    .finds = 3,
    .opens = 9,
};

static const char *folder;
static const char *program;
static uint64_t seed = 42;
/** Every item once, so that neither side is charged for making it. */
static Fault *faults;
static char (*jsons)[320];
static char (*keys)[40];

static const char *path(const char *name)
{
    static char buffers[8][1024];
    static int next;
    char *buffer = buffers[next++ % 8];
    snprintf(buffer, sizeof buffers[0], "%s/%s", folder, name);
    return buffer;
}

static Db *iotoOpen(const char *name, const char *schema, int flags)
{
    char schemaPath[1024];
    snprintf(schemaPath, sizeof schemaPath, "%s/%s", SCHEMA_FOLDER, schema);
    Db *db = dbOpen(name, schemaPath, flags);
    if (db == NULL) fail("dbOpen: %s", dbGetError(NULL));
    return db;
}

static void iotoCreate(Db *db, const char *model, const Fault *fault)
{
    DbItem *item = dbCreate(db, model,
                            DB_PROPS("id", fault->id, "site", fault->site, "code", fault->code, "severity", fault->severity,
                                     "message", fault->message, "count", fault->count, "value", fault->value, "open",
                                     fault->open, "at", fault->at),
                            NULL);
    if (item == NULL) fail("dbCreate: %s", dbGetError(db));
    dbFreeItem(item);
}

static void iotoUpdate(Db *db, const char *id, uint32_t count)
{
    char text[16];
    snprintf(text, sizeof text, "%u", count);
    DbItem *item = dbUpdate(db, "Fault", DB_PROPS("id", id, "count", text), NULL);
    if (item == NULL) fail("dbUpdate: %s", dbGetError(db));
    dbFreeItem(item);
}

static size_t iotoGet(Db *db, const char *id)
{
    DbItem *item = dbGet(db, "Fault", DB_PROPS("id", id), NULL);
    if (item == NULL) fail("dbGet: %s", dbGetError(db));
    const char *severity = dbField(item, "severity");
    if (severity == NULL) fail("dbField: no field");
    size_t length = strlen(severity);
    dbFreeItem(item);
    return length;
}

static int iotoFind(Db *db, const char *code, const DbParams *params)
{
    DbList *list = dbFind(db, "Fault", DB_PROPS("code", code), params);
    if (list == NULL) fail("dbFind: %s", dbGetError(db));
    int count = (int) dbListCount(list);
    dbFreeList(list);
    return count;
}

/* ---------------------------------------------------------------------------------------------------------------- */

/** Both sides of one comparison. */
typedef struct Sides {
    Db *db;
    Raw raw;
    const char *model;
    /** What a round works on: a stretch of the items, or `count` of the first `items` at random. */
    uint32_t first, items, count;
    const DbParams *params;
} Sides;

static Sides sidesOpen(const char *name, const char *schema, bool isFull, bool isIndexed)
{
    char file[64];
    Sides sides = {.model = "Fault"};
    snprintf(file, sizeof file, "%s.ioto.db", name);
    sides.db = iotoOpen(path(file), schema, isFull ? 0 : DB_DURABILITY_NORMAL);
    snprintf(file, sizeof file, "%s.raw.db", name);
    rawOpen(&sides.raw, path(file), isFull, isIndexed);
    return sides;
}

static void sidesClose(Sides *sides)
{
    dbClose(sides->db);
    rawClose(&sides->raw);
}

typedef double Work(Sides *sides);

/** Run a round: the value of `work`, which is operations a second or, when it returns less than 0, seconds. */
static double rate(Sides *sides, Work *work)
{
    double start = now();
    double count = work(sides);
    return count < 0 ? -count : count / (now() - start);
}

/** Alternate the rounds of both sides, and print the three figures. `step`: the items that a round moves on by. */
static void compare(const char *name, const char *unit, Sides *sides, Work *ioto, Work *raw, int rounds, uint32_t step)
{
    double iotos[ROUNDS_MAX], raws[ROUNDS_MAX];
    char line[64];
    for (int round = 0; round < rounds; round++) {
        progress("%s: round %d of %d", name, round + 1, rounds);
        uint64_t start = seed;
        if (round % 2 == 0) {
            iotos[round] = rate(sides, ioto);
            seed = start;
            raws[round] = rate(sides, raw);
        } else {
            raws[round] = rate(sides, raw);
            seed = start;
            iotos[round] = rate(sides, ioto);
        }
        sides->first += step;
    }
    double left = median(iotos, rounds), right = median(raws, rounds);
    snprintf(line, sizeof line, "%s.ioto", name);
    figure(line, left, unit);
    snprintf(line, sizeof line, "%s.raw", name);
    figure(line, right, unit);
    figure(name, left / right, "ratio");
}

/* ---------------------------------------------------------------------------------------------------------------- */

static double iotoCreates(Sides *sides)
{
    for (uint32_t index = 0; index < sides->count; index++) iotoCreate(sides->db, sides->model, &faults[sides->first + index]);
    return sides->count;
}

static double rawCreates(Sides *sides)
{
    for (uint32_t index = sides->first; index < sides->first + sides->count; index++) {
        rawCreate(&sides->raw, keys[index], jsons[index], (int) strlen(jsons[index]));
    }
    return sides->count;
}

static double iotoBatches(Sides *sides)
{
    for (uint32_t index = 0; index < sides->count; index++) {
        if (index % size.batch == 0 && dbBegin(sides->db) != 0) fail("dbBegin: %s", dbGetError(sides->db));
        iotoCreate(sides->db, sides->model, &faults[sides->first + index]);
        if ((index + 1) % size.batch == 0 && dbCommit(sides->db) != 0) fail("dbCommit: %s", dbGetError(sides->db));
    }
    return sides->count;
}

static double rawBatches(Sides *sides)
{
    for (uint32_t index = sides->first; index < sides->first + sides->count; index++) {
        if ((index - sides->first) % size.batch == 0) rawBegin(&sides->raw);
        rawCreate(&sides->raw, keys[index], jsons[index], (int) strlen(jsons[index]));
        if ((index - sides->first + 1) % size.batch == 0) rawCommit(&sides->raw);
    }
    return sides->count;
}

static double iotoUpdates(Sides *sides)
{
    for (uint32_t index = 0; index < sides->count; index++) {
        iotoUpdate(sides->db, faults[randomBelow(&seed, sides->items)].id, randomBelow(&seed, 1000));
    }
    return sides->count;
}

static double rawUpdates(Sides *sides)
{
    for (uint32_t index = 0; index < sides->count; index++) {
        rawUpdate(&sides->raw, keys[randomBelow(&seed, sides->items)], randomBelow(&seed, 1000));
    }
    return sides->count;
}

/** Items of a working set lie anywhere in the database. */
static uint32_t spread(const Sides *sides, uint32_t number) { return number * (size.items / sides->items); }

static double iotoGets(Sides *sides)
{
    size_t bytes = 0;
    for (uint32_t index = 0; index < sides->count; index++) {
        bytes += iotoGet(sides->db, faults[spread(sides, randomBelow(&seed, sides->items))].id);
    }
    return bytes > 0 ? sides->count : 0;
}

static double rawGets(Sides *sides)
{
    int bytes = 0;
    for (uint32_t index = 0; index < sides->count; index++) {
        bytes += rawGet(&sides->raw, keys[spread(sides, randomBelow(&seed, sides->items))]);
    }
    return bytes > 0 ? sides->count : 0;
}

static void findCode(char *code, size_t bytes) { snprintf(code, bytes, "E%03u", randomBelow(&seed, CODES)); }

static double iotoFinds(Sides *sides)
{
    int found = 0;
    for (uint32_t index = 0; index < sides->count; index++) {
        char code[8];
        findCode(code, sizeof code);
        found += iotoFind(sides->db, code, sides->params);
    }
    if (found < (int) (sides->count * size.items / CODES / 2)) fail("dbFind found %d items", found);
    return sides->count;
}

static double rawFinds(Sides *sides)
{
    int found = 0;
    for (uint32_t index = 0; index < sides->count; index++) {
        char code[8];
        findCode(code, sizeof code);
        found += rawFind(&sides->raw, code);
    }
    if (found < (int) (sides->count * size.items / CODES / 2)) fail("SQLite found %d items", found);
    return sides->count;
}

static double iotoPause(Sides *sides)
{
    double longest = 0;
    for (uint32_t index = 0; index < sides->count; index++) {
        double start = now();
        iotoUpdate(sides->db, faults[randomBelow(&seed, sides->items)].id, randomBelow(&seed, 1000));
        double seconds = now() - start;
        if (seconds > longest) longest = seconds;
    }
    return -longest * 1000;
}

static double rawPause(Sides *sides)
{
    double longest = 0;
    for (uint32_t index = 0; index < sides->count; index++) {
        double start = now();
        rawUpdate(&sides->raw, keys[randomBelow(&seed, sides->items)], randomBelow(&seed, 1000));
        double seconds = now() - start;
        if (seconds > longest) longest = seconds;
    }
    return -longest * 1000;
}

/* ---------------------------------------------------------------------------------------------------------------- */

/** What a process of its own measures, and prints as numbers. */
static int probe(int count, char **arguments)
{
    if (count == 1 && strcmp(arguments[0], "bare") == 0) {
        printf("%lld\n", (long long) residentBytes());
        return 0;
    }
    if (count != 5) return 2;
    const char *kind = arguments[0], *file = arguments[1];
    uint32_t items = (uint32_t) atol(arguments[2]), operations = (uint32_t) atol(arguments[3]);
    char id[ULID_CHARACTERS + 1], key[40];
    uint64_t sequence = (uint64_t) atol(arguments[4]);
    if (strcmp(kind, "open") == 0) {
        faultId(id, items / 3);
        double start = now();
        Db *db = iotoOpen(file, "schema.json5", DB_DURABILITY_NORMAL);
        iotoGet(db, id);
        double milliseconds = (now() - start) * 1000;
        int64_t first = residentBytes();
        for (uint32_t index = 0; index < operations; index++) {
            faultId(id, randomBelow(&sequence, items));
            iotoGet(db, id);
        }
        printf("%f %lld %lld\n", milliseconds, (long long) first, (long long) residentBytes());
        dbClose(db);
    } else if (strcmp(kind, "disk-ioto") == 0) {
        Db *db = iotoOpen(file, "schema.json5", DB_DURABILITY_NORMAL);
        int64_t start = writtenBytes();
        for (uint32_t index = 0; index < operations; index++) {
            faultId(id, randomBelow(&sequence, items));
            iotoUpdate(db, id, randomBelow(&sequence, 1000));
        }
        dbClose(db);
        printf("%lld\n", (long long) (writtenBytes() - start));
    } else if (strcmp(kind, "disk-raw") == 0) {
        Raw raw;
        rawOpen(&raw, file, false, false);
        int64_t start = writtenBytes();
        for (uint32_t index = 0; index < operations; index++) {
            faultId(id, randomBelow(&sequence, items));
            snprintf(key, sizeof key, "fault#%s", id);
            rawUpdate(&raw, key, randomBelow(&sequence, 1000));
        }
        rawClose(&raw);
        printf("%lld\n", (long long) (writtenBytes() - start));
    } else {
        return 2;
    }
    return 0;
}

/** Run a probe: the numbers that it prints. */
static void runProbe(const char *kind, const char *file, uint32_t items, uint32_t operations, int sequence, double *out,
                     int count)
{
    char command[4096];
    snprintf(command, sizeof command, "'%s' --probe %s '%s' %u %u %d", program, kind, file, items, operations, sequence);
    if (file == NULL) snprintf(command, sizeof command, "'%s' --probe %s", program, kind);
    FILE *pipe = popen(command, "r");
    for (int index = 0; index < count; index++) {
        if (pipe == NULL || fscanf(pipe, "%lf", &out[index]) != 1) fail("the probe '%s' failed", kind);
    }
    if (pclose(pipe) != 0) fail("the probe '%s' failed", kind);
}

/** Bytes to the disk per random update, by processes that have the files to themselves. */
static void compareDisk(const char *name, const char *iotoPath, const char *rawPath, uint32_t items)
{
    double iotos[ROUNDS_MAX], raws[ROUNDS_MAX];
    char line[64];
    for (int round = 0; round < size.rounds; round++) {
        progress("%s: round %d of %d", name, round + 1, size.rounds);
        runProbe("disk-ioto", iotoPath, items, size.updatesDisk, round, &iotos[round], 1);
        runProbe("disk-raw", rawPath, items, size.updatesDisk, round, &raws[round], 1);
    }
    double left = median(iotos, size.rounds) / size.updatesDisk, right = median(raws, size.rounds) / size.updatesDisk;
    if (right <= 0) {
        progress("%s: the kernel counts no bytes written to this file system; left out", name);
        return;
    }
    snprintf(line, sizeof line, "%s.ioto", name);
    figure(line, left, "B");
    snprintf(line, sizeof line, "%s.raw", name);
    figure(line, right, "B");
    figure(name, left / right, "ratio");
}

/* ---------------------------------------------------------------------------------------------------------------- */

static const char *only;
/** Leave the databases where they are, to be looked at. */
static bool isKept;

/** Whether a figure is asked for. */
static bool wants(const char *name) { return only == NULL || strncmp(only, name, strlen(only)) == 0; }

static void makeItems(void)
{
    faults = calloc(size.items, sizeof *faults);
    jsons = calloc(size.items, sizeof *jsons);
    keys = calloc(size.items, sizeof *keys);
    if (faults == NULL || jsons == NULL || keys == NULL) fail("out of memory");
    size_t bytes = 0;
    for (uint32_t index = 0; index < size.items; index++) {
        faultMake(&faults[index], index);
        bytes += (size_t) faultJson(&faults[index], jsons[index], sizeof jsons[0]);
        snprintf(keys[index], sizeof keys[0], "fault#%s", faults[index].id);
    }
    figure("item.bytes", (double) bytes / size.items, "B");
}

static void create(void)
{
    // Its items are the ones that all that follows works on: made whether the figure is asked for or not.
    Sides sides = sidesOpen("fault", "schema.json5", false, false);
    sides.count = size.items / (uint32_t) size.rounds;
    compare("create.normal", "op/s", &sides, iotoCreates, rawCreates, size.rounds, sides.count);
    sidesClose(&sides);
    if (wants("create.full")) {
        sides = sidesOpen("full", "schema.json5", true, false);
        sides.count = size.full;
        compare("create.full", "op/s", &sides, iotoCreates, rawCreates, size.rounds, sides.count);
        sidesClose(&sides);
    }
    if (wants("create.synced")) {
        sides = sidesOpen("synced", "schema.json5", false, false);
        sides.model = "Report";
        sides.count = size.items / (uint32_t) size.rounds;
        compare("create.synced", "op/s", &sides, iotoCreates, rawCreates, size.rounds, sides.count);
        sidesClose(&sides);
    }
    if (wants("create.batch")) {
        sides = sidesOpen("batch", "schema.json5", false, false);
        sides.count = size.items / (uint32_t) size.rounds;
        compare("create.batch", "op/s", &sides, iotoBatches, rawBatches, size.rounds, sides.count);
        sidesClose(&sides);
    }
}

static void change(void)
{
    Sides sides = sidesOpen("fault", "schema.json5", false, false);
    sides.items = size.items;
    if (wants("update.normal")) {
        sides.count = size.updates;
        compare("update.normal", "op/s", &sides, iotoUpdates, rawUpdates, size.rounds, 0);
    }
    if (wants("pause.max")) {
        sides.count = size.updatesPaused;
        compare("pause.max", "ms", &sides, iotoPause, rawPause, size.rounds, 0);
    }
    sidesClose(&sides);
}

static void get(void)
{
    Sides sides = sidesOpen("fault", "schema.json5", false, false);
    if (wants("get.hot")) {
        sides.items = size.hot;
        sides.count = size.getsHot;
        // Once before, so that the working set is hot on both sides.
        rate(&sides, iotoGets);
        rate(&sides, rawGets);
        compare("get.hot", "op/s", &sides, iotoGets, rawGets, size.rounds, 0);
    }
    if (wants("get.uniform")) {
        sides.items = size.items;
        sides.count = size.gets;
        compare("get.uniform", "op/s", &sides, iotoGets, rawGets, size.rounds, 0);
    }
    if (wants("find.scan")) {
        sides.count = (uint32_t) size.finds;
        compare("find.scan", "op/s", &sides, iotoFinds, rawFinds, size.rounds, 0);
    }
    sidesClose(&sides);
}

static void findIndexed(void)
{
    if (!wants("find.indexed")) return;
    Sides sides = sidesOpen("indexed", "indexed.json5", false, true);
    progress("find.indexed: making %u items", size.items);
    sides.count = size.items;
    rawBegin(&sides.raw);
    rawCreates(&sides);
    rawCommit(&sides.raw);
    iotoCreates(&sides);
    sides.params = DB_PARAMS(.index = "gs1");
    sides.count = (uint32_t) size.finds * 20;
    compare("find.indexed", "op/s", &sides, iotoFinds, rawFinds, size.rounds, 0);
    sidesClose(&sides);
}

static void fillMany(const char *iotoPath, const char *rawPath)
{
    Fault fault;
    char json[320], key[40];
    Raw raw;
    Db *db = iotoOpen(iotoPath, "schema.json5", DB_DURABILITY_NORMAL);
    rawOpen(&raw, rawPath, false, false);
    for (uint32_t index = 0; index < size.itemsMany; index++) {
        if (index % 10000 == 0) {
            if (index % 100000 == 0) progress("open.1m: making items, %u of %u", index, size.itemsMany);
            rawBegin(&raw);
            if (dbBegin(db) != 0) fail("dbBegin: %s", dbGetError(db));
        }
        faultMake(&fault, index);
        iotoCreate(db, "Fault", &fault);
        snprintf(key, sizeof key, "fault#%s", fault.id);
        rawCreate(&raw, key, json, faultJson(&fault, json, sizeof json));
        if (index % 10000 == 9999 || index + 1 == size.itemsMany) {
            rawCommit(&raw);
            if (dbCommit(db) != 0) fail("dbCommit: %s", dbGetError(db));
        }
    }
    dbClose(db);
    rawClose(&raw);
}

static void many(void)
{
    if (wants("disk.100k")) compareDisk("disk.100k", path("fault.ioto.db"), path("fault.raw.db"), size.items);
    if (!wants("open.1m") && !wants("rss.open") && !wants("rss.gets") && !wants("disk.1m")) return;
    const char *iotoPath = path("many.ioto.db"), *rawPath = path("many.raw.db");
    fillMany(iotoPath, rawPath);
    double opens[ROUNDS_MAX], first[ROUNDS_MAX], after[ROUNDS_MAX], bare[ROUNDS_MAX];
    for (int round = 0; round < size.opens; round++) {
        double out[3];
        progress("open.1m: round %d of %d", round + 1, size.opens);
        runProbe("bare", NULL, 0, 0, 0, &bare[round], 1);
        runProbe("open", iotoPath, size.itemsMany, 200000, round, out, 3);
        opens[round] = out[0];
        first[round] = out[1];
        after[round] = out[2];
    }
    double process = median(bare, size.opens);
    figure("open.1m", median(opens, size.opens), "ms");
    figure("rss.bare", process / 1e6, "MB");
    figure("rss.open", (median(first, size.opens) - process) / 1e6, "MB");
    figure("rss.gets", median(after, size.opens) / 1e6, "MB");
    if (wants("disk.1m")) compareDisk("disk.1m", iotoPath, rawPath, size.itemsMany);
}

static void clean(void)
{
    static const char *const names[] = {"fault", "full", "synced", "batch", "indexed", "many"};
    for (size_t index = 0; index < sizeof names / sizeof *names; index++) {
        char name[64];
        snprintf(name, sizeof name, "%s.ioto.db", names[index]);
        removeDatabase(path(name));
        snprintf(name, sizeof name, "%s.raw.db", names[index]);
        removeDatabase(path(name));
    }
}

/** Fewer of everything: whether it works, not how fast it is. */
static void makeQuick(void)
{
    size.items = 21000;
    size.itemsMany = 100000;
    size.hot = 5000;
    size.full = 50;
    size.gets = 20000;
    size.getsHot = 20000;
    size.updates = 2000;
    size.updatesPaused = 10000;
    size.updatesDisk = 2000;
    size.rounds = 3;
    size.opens = 3;
}

int main(int count, char **arguments)
{
    program = arguments[0];
    if (count > 1 && strcmp(arguments[1], "--probe") == 0) return probe(count - 2, arguments + 2);
    for (int index = 1; index < count; index++) {
        if (strcmp(arguments[index], "--quick") == 0) {
            makeQuick();
        } else if (strncmp(arguments[index], "--figure=", 9) == 0) {
            only = arguments[index] + 9;
        } else if (strcmp(arguments[index], "--keep") == 0) {
            isKept = true;
        } else if (folder == NULL) {
            folder = arguments[index];
        } else {
            folder = NULL;
            break;
        }
    }
    if (folder == NULL) {
        fprintf(stderr, "usage: bench-database [--quick] [--keep] [--figure=NAME] FOLDER\n");
        return 2;
    }
    clean();
    makeItems();
    create();
    change();
    get();
    findIndexed();
    many();
    if (!isKept) clean();
    progress("done\n");
    return 0;
}
