/* What belongs to a process of its own: its memory, how soon it has the database open, and the bytes that it writes. */
#include "database.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int probe(int count, char **arguments)
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
    figures(name, "B", left, right, left / right);
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

void measureProcesses(void)
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
