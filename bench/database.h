/**
 * @file database.h
 * The device database through ioto.h against the same durable work by SQLite's C API: what the parts of the benchmark share.
 *
 * Both sides take turns, and who begins changes from round to round; a figure is the median of one side's rounds over the
 * median of the other's. What belongs to a process of its own, memory and bytes to the disk, is measured in one.
 */
#ifndef DATABASE_H
#define DATABASE_H

#include "bench.h"

#include <ioto.h>

#include "raw.h"

enum { ROUNDS_MAX = 9 };

/** How much of everything. */
struct size {
    uint32_t items, itemsMany, hot, full, gets, getsHot, updates, updatesPaused, updatesDisk, batch;
    int rounds, finds, opens;
};
extern struct size size;

/** This program. */
extern const char *program;
extern uint64_t seed;
/** Every item once, so that neither side is charged for making it. */
extern Fault *faults;
extern char (*jsons)[320];
extern char (*keys)[40];

/** Where a file of the benchmark stands; valid for eight more calls. */
const char *path(const char *name);
/** Whether a figure is asked for. */
bool wants(const char *name);

Db *iotoOpen(const char *name, const char *schema, int flags);
void iotoCreate(Db *db, const char *model, const Fault *fault);
void iotoUpdate(Db *db, const char *id, uint32_t count);
size_t iotoGet(Db *db, const char *id);
/** Number of items with that code. */
int iotoFind(Db *db, const char *code, const DbParams *params);

/** Both sides of one comparison. */
typedef struct Sides {
    Db *db;
    Raw raw;
    const char *model;
    /** What a round works on: a stretch of the items, or `count` of the first `items` at random. */
    uint32_t first, items, count;
    const DbParams *params;
} Sides;

Sides sidesOpen(const char *name, const char *schema, bool isFull, bool isIndexed);
void sidesClose(Sides *sides);

typedef double Work(Sides *sides);
/** Run a round: the value of `work`, which is operations a second or, when it returns less than 0, seconds. */
double rate(Sides *sides, Work *work);
/** Alternate the rounds of both sides, and print the three figures. `step`: the items that a round moves on by. */
void compare(const char *name, const char *unit, Sides *sides, Work *ioto, Work *raw, int rounds, uint32_t step);
/** Print the medians of both sides, and their ratio. */
void figures(const char *name, const char *unit, double ioto, double raw);

/** The comparisons. The first one's items are the ones that all others work on. */
void compareCreates(void);
void compareChanges(void);
void compareGets(void);
void compareIndexed(void);
void measureProcesses(void);
/** What a process of its own measures, and prints as numbers. */
int probe(int count, char **arguments);

#endif
