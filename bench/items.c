/* Creating, changing, getting and finding items. */
#include "database.h"

#include <stdio.h>
#include <string.h>

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

void compareCreates(void)
{
    // Its items are the ones that all that follows works on: made whether the figure is asked for or not.
    Sides sides = sidesOpen("fault", "schema.json5", false, false);
    sides.count = size.items / (uint32_t) size.rounds;
    sides.step = sides.count / SLICES;
    compare("create.normal", "op/s", &sides, iotoCreates, rawCreates, size.rounds, SLICES);
    sidesClose(&sides);
    if (wants("create.full")) {
        sides = sidesOpen("full", "schema.json5", true, false);
        sides.count = size.full;
        sides.step = sides.count / SLICES;
        compare("create.full", "op/s", &sides, iotoCreates, rawCreates, size.rounds, SLICES);
        sidesClose(&sides);
    }
    if (wants("create.synced")) {
        sides = sidesOpen("synced", "schema.json5", false, false);
        sides.model = "Report";
        sides.count = size.items / (uint32_t) size.rounds;
        sides.step = sides.count / SLICES;
        compare("create.synced", "op/s", &sides, iotoCreates, rawCreates, size.rounds, SLICES);
        sidesClose(&sides);
    }
    if (wants("create.batch")) {
        sides = sidesOpen("batch", "schema.json5", false, false);
        sides.count = size.items / (uint32_t) size.rounds;
        sides.step = sides.count / SLICES;
        compare("create.batch", "op/s", &sides, iotoBatches, rawBatches, size.rounds, SLICES);
        sidesClose(&sides);
    }
}

void compareChanges(void)
{
    Sides sides = sidesOpen("fault", "schema.json5", false, false);
    sides.items = size.items;
    if (wants("update.normal")) {
        sides.count = size.updates;
        compare("update.normal", "op/s", &sides, iotoUpdates, rawUpdates, size.rounds, SLICES);
    }
    if (wants("pause.max")) {
        sides.count = size.updatesPaused;
        compare("pause.max", "ms", &sides, iotoPause, rawPause, size.rounds, 1);
    }
    sidesClose(&sides);
}

void compareGets(void)
{
    Sides sides = sidesOpen("fault", "schema.json5", false, false);
    if (wants("get.hot")) {
        sides.items = size.hot;
        sides.count = size.getsHot;
        // Once before, so that the working set is hot on both sides.
        warm(&sides, iotoGets, rawGets);
        compare("get.hot", "op/s", &sides, iotoGets, rawGets, size.rounds, 1);
    }
    if (wants("get.uniform")) {
        sides.items = size.items;
        sides.count = size.gets;
        compare("get.uniform", "op/s", &sides, iotoGets, rawGets, size.rounds, 1);
    }
    if (wants("find.scan")) {
        sides.count = (uint32_t) size.finds;
        compare("find.scan", "op/s", &sides, iotoFinds, rawFinds, size.rounds, 1);
    }
    sidesClose(&sides);
}

void compareIndexed(void)
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
    compare("find.indexed", "op/s", &sides, iotoFinds, rawFinds, size.rounds, 1);
    sidesClose(&sides);
}
