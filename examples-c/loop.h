/*
    What the four loop examples have in common: a database whose trigger prints what it is told, and a change now and then.
    Only how they wait differs.
 */
#ifndef LOOP_H
#define LOOP_H

#include <ioto.h>
#include <stdio.h>
#include <stdlib.h>

/* How often a sample is taken, how many, and how long triggers may keep the loop at a time. */
#define SAMPLE_MS 50
#define SAMPLES 5
#define TRIGGERS_MS_MAX 10

typedef struct Sampler {
    Db *db;
    int taken;
    int told;
} Sampler;

static void onSample(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params, const char *cmd,
                     int events)
{
    Sampler *sampler = arg;
    sampler->told++;
    printf("%s %s %s: %s\n", cmd, dbModelName(model), dbField(item, "id"), dbField(item, "message"));
}

/* Opens the database and adds the trigger; ends the program on failure. */
static inline void samplerOpen(Sampler *sampler)
{
    sampler->db = dbOpen(NAME ".db", "quickstart.json5", DB_OPEN_RESET);
    if (sampler->db == NULL ||
        dbAddTrigger(sampler->db, onSample, "Fault", sampler, DB_ON_CHANGE) != 0) {
        fprintf(stderr, NAME ": %s\n", dbGetError(NULL));
        exit(1);
    }
}

/* Takes one sample. */
static inline void samplerTake(Sampler *sampler)
{
    char text[32];
    snprintf(text, sizeof text, "sample %d", ++sampler->taken);
    if (dbSet(sampler->db, "Fault", DB_PROPS("id", "latest", "message", text), NULL) != 0) {
        fprintf(stderr, NAME ": %s\n", dbGetError(NULL));
        exit(1);
    }
}

static inline bool samplerIsDone(const Sampler *sampler) { return sampler->told >= SAMPLES; }

/* Closes the database; returns main's exit code. */
static inline int samplerClose(Sampler *sampler)
{
    dbClose(sampler->db);
    return sampler->told == sampler->taken && sampler->told == SAMPLES ? 0 : 1;
}

#endif
