/**
 * @file database.h
 * The device database through ioto.h against the same durable work by SQLite's C API: what the parts of the benchmark share.
 *
 * Both sides take turns, and who begins changes. A round of what writes is cut into slices for that, so that what else the
 * machine does meets both alike; in a round of what reads, each has its caches to itself. A figure is the median of the rounds' ratios. What belongs to a process of its own, memory
 * and bytes to the disk, is measured in one.
 */
#ifndef DATABASE_H
#define DATABASE_H

#include "bench.h"

#include <ioto.h>

#include "raw.h"

enum { ROUNDS_MAX = 9, SLICES = 10 };

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
    /** The items that a slice of a round moves on by. */
    uint32_t step;
    const DbParams *params;
} Sides;

Sides sidesOpen(const char *name, const char *schema, bool isFull, bool isIndexed);
void sidesClose(Sides *sides);

/** Work on a slice: returns the operations done, or a value of its own below 0, of a round that is one slice. */
typedef double Work(Sides *sides);
/** Do a round of both sides that is not measured. */
void warm(Sides *sides, Work *ioto, Work *raw);
/** Run rounds of `slices` slices, in which both sides take turns, and print the three figures. */
void compare(const char *name, const char *unit, Sides *sides, Work *ioto, Work *raw, int rounds, uint32_t slices);
/** Print the medians of both sides, and their ratio. */
void figures(const char *name, const char *unit, double ioto, double raw, double ratio);

/** The comparisons. The first one's items are the ones that all others work on. */
void compareCreates(void);
void compareChanges(void);
void compareGets(void);
void compareIndexed(void);
void measureProcesses(void);
/** What a process of its own measures, and prints as numbers. */
int probe(int count, char **arguments);

#endif
