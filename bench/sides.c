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

void figures(const char *name, const char *unit, double ioto, double raw, double ratio)
{
    char line[64];
    snprintf(line, sizeof line, "%s.ioto", name);
    figure(line, ioto, unit);
    snprintf(line, sizeof line, "%s.raw", name);
    figure(line, raw, unit);
    figure(name, ratio, "ratio");
}

/** What a side has done of a round: operations and seconds, or a value below 0 and nothing else. */
typedef struct Done {
    double count, seconds;
} Done;

static void add(Done *done, Sides *sides, Work *work)
{
    double start = now();
    done->count += work(sides);
    done->seconds += now() - start;
}

static double value(const Done *done) { return done->count < 0 ? -done->count : done->count / done->seconds; }

void warm(Sides *sides, Work *ioto, Work *raw)
{
    Done done = {0, 0};
    add(&done, sides, ioto);
    add(&done, sides, raw);
}

void compare(const char *name, const char *unit, Sides *sides, Work *ioto, Work *raw, int rounds, uint32_t slices)
{
    double iotos[ROUNDS_MAX], raws[ROUNDS_MAX], ratios[ROUNDS_MAX];
    uint32_t count = sides->count;
    sides->count = count / slices;
    for (int round = 0; round < rounds; round++) {
        Done done[2] = {{0, 0}, {0, 0}};
        progress("%s: round %d of %d", name, round + 1, rounds);
        for (uint32_t slice = 0; slice < slices; slice++) {
            uint64_t start = seed;
            for (int turn = 0; turn < 2; turn++) {
                bool isIoto = (((uint32_t) round + slice) % 2 == 0) == (turn == 0);
                seed = start;
                add(&done[isIoto], sides, isIoto ? ioto : raw);
            }
            sides->first += sides->step;
        }
        iotos[round] = value(&done[1]);
        raws[round] = value(&done[0]);
        ratios[round] = iotos[round] / raws[round];
    }
    sides->count = count;
    figures(name, unit, median(iotos, rounds), median(raws, rounds), median(ratios, rounds));
}
