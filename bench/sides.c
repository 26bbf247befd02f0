/* The two sides of a comparison, and how their rounds alternate. */
#include "database.h"

#include <stdio.h>
#include <string.h>

Db *iotoOpen(const char *name, const char *schema, int flags)
{
    char schemaPath[1024];
    snprintf(schemaPath, sizeof schemaPath, "%s/%s", SCHEMA_FOLDER, schema);
    Db *db = dbOpen(name, schemaPath, flags);
    if (db == NULL) fail("dbOpen: %s", dbGetError(NULL));
    return db;
}

void iotoCreate(Db *db, const char *model, const Fault *fault)
{
    DbItem *item = dbCreate(db, model,
                            DB_PROPS("id", fault->id, "site", fault->site, "code", fault->code, "severity", fault->severity,
                                     "message", fault->message, "count", fault->count, "value", fault->value, "open",
                                     fault->open, "at", fault->at),
                            NULL);
    if (item == NULL) fail("dbCreate: %s", dbGetError(db));
    dbFreeItem(item);
}

void iotoUpdate(Db *db, const char *id, uint32_t count)
{
    char text[16];
    snprintf(text, sizeof text, "%u", count);
    DbItem *item = dbUpdate(db, "Fault", DB_PROPS("id", id, "count", text), NULL);
    if (item == NULL) fail("dbUpdate: %s", dbGetError(db));
    dbFreeItem(item);
}

size_t iotoGet(Db *db, const char *id)
{
    DbItem *item = dbGet(db, "Fault", DB_PROPS("id", id), NULL);
    if (item == NULL) fail("dbGet: %s", dbGetError(db));
    const char *severity = dbField(item, "severity");
    if (severity == NULL) fail("dbField: no field");
    size_t length = strlen(severity);
    dbFreeItem(item);
    return length;
}

int iotoFind(Db *db, const char *code, const DbParams *params)
{
    DbList *list = dbFind(db, "Fault", DB_PROPS("code", code), params);
    if (list == NULL) fail("dbFind: %s", dbGetError(db));
    int count = (int) dbListCount(list);
    dbFreeList(list);
    return count;
}

Sides sidesOpen(const char *name, const char *schema, bool isFull, bool isIndexed)
{
    char file[64];
    Sides sides = {.model = "Fault"};
    snprintf(file, sizeof file, "%s.ioto.db", name);
    sides.db = iotoOpen(path(file), schema, isFull ? 0 : DB_DURABILITY_NORMAL);
    snprintf(file, sizeof file, "%s.raw.db", name);
    rawOpen(&sides.raw, path(file), isFull, isIndexed);
    return sides;
}

void sidesClose(Sides *sides)
{
    dbClose(sides->db);
    rawClose(&sides->raw);
}

void figures(const char *name, const char *unit, double ioto, double raw)
{
    char line[64];
    snprintf(line, sizeof line, "%s.ioto", name);
    figure(line, ioto, unit);
    snprintf(line, sizeof line, "%s.raw", name);
    figure(line, raw, unit);
    figure(name, ioto / raw, "ratio");
}

double rate(Sides *sides, Work *work)
{
    double start = now();
    double count = work(sides);
    return count < 0 ? -count : count / (now() - start);
}

void compare(const char *name, const char *unit, Sides *sides, Work *ioto, Work *raw, int rounds, uint32_t step)
{
    double iotos[ROUNDS_MAX], raws[ROUNDS_MAX];
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
    figures(name, unit, median(iotos, rounds), median(raws, rounds));
}
