/**
 * @file toil.h
 * A thread of firmware that changes notes without a pause, while the scenario kills what it depends on.
 */
#ifndef TOIL_H
#define TOIL_H

#include "check.h"

typedef struct Toil Toil;

/** Start: every ten milliseconds one of forty notes is created, updated or removed. */
Toil *toilStart(Db *db);
/** End and free it; returns the number of calls that failed, and prints how many were made. */
int toilEnd(Toil *toil);

#endif /* TOIL_H */
