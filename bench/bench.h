/**
 * @file bench.h
 * What the benchmarks stand on: a clock, random numbers that are the same in every run, medians, and what the kernel knows
 * of this process. A figure is one line on stdout, `name value unit`; progress goes to stderr.
 */
#ifndef BENCH_H
#define BENCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Monotonic time in seconds. */
double now(void);

/** The next number of a sequence that its seed alone decides. */
uint64_t randomNext(uint64_t *seed);
/** A number below `limit`. */
uint32_t randomBelow(uint64_t *seed, uint32_t limit);

/** Middle of `count` values, which are sorted by this. */
double median(double *values, int count);

/** Print a figure. */
void figure(const char *name, double value, const char *unit);
/** Print a line of progress, over the last one on a terminal. */
void progress(const char *format, ...) __attribute__((format(printf, 1, 2)));
/** End the program: something did not work that has to. */
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/** Resident memory of this process in bytes. */
int64_t residentBytes(void);
/** Bytes that this process has caused to be written to a disk, as the kernel counts them. */
int64_t writtenBytes(void);

/** Characters of a ULID, and the bytes of its text. */
#define ULID_CHARACTERS 26
/** Most characters that a value of an item has. */
#define VALUE_BYTES 64
/** Codes that items have: each is found in 1 % of them. */
#define CODES 100

/** The item of a number: the same number gives the same item. */
typedef struct Fault {
    char id[ULID_CHARACTERS + 1];
    char site[VALUE_BYTES], code[8], message[VALUE_BYTES], count[12], value[16], at[32];
    const char *severity, *open;
} Fault;

/** Make item `number`. */
void faultMake(Fault *fault, uint32_t number);
/** Make the id of item `number` alone. */
void faultId(char *id, uint32_t number);
/** Write the JSON that ioto stores for it. Returns its length. */
int faultJson(const Fault *fault, char *out, size_t bytes);

/** Remove a database with its log. */
void removeDatabase(const char *path);

#endif
