/**
 * @file check.h
 * What every scenario stands on: claims, a clock, a scratch folder.
 *
 * A scenario is a program. It makes expectations, and sums them up in claims, one line each in the Test Anything Protocol:
 *
 *     EXPECT(item != NULL);
 *     EXPECT_TEXT(dbField(item, "text"), "hello");
 *     claim("an item reads back as it was written");    // ok 1 - an item reads back as it was written
 *
 * A failed expectation prints where and what, and turns the next claim into `not ok`.
 */
#ifndef CHECK_H
#define CHECK_H

#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ioto.h>

/** Longest a scenario may take before its watchdog ends it, children included. */
#define SCENARIO_SECONDS_MAX 120

/** Begin a scenario: starts the watchdog, and sends the warnings of the library's log to stdout as comments. */
void scenarioBegin(void);
/** Send the library's log to stdout as comments, down to this level; also for a child. */
void scenarioLog(IoLogLevel level);
/** Give a long scenario so many seconds from now instead of SCENARIO_SECONDS_MAX. */
void scenarioSeconds(unsigned seconds);
/** Seed the scenario's random numbers from the environment variable IOTO_TEST_SEED, or from the clock, and print it. */
void scenarioSeed(void);
/** A random number below `limit`. */
uint32_t randomBelow(uint32_t limit);
/** End a scenario: prints the plan; returns main's exit code, 0 when every claim held. */
int scenarioEnd(void);
/** Print a plan of nothing with its reason, and exit with 77, which CTest counts as skipped. */
void scenarioSkip(const char *reason);

/** Print one claim, `ok` when every expectation since the last claim held. */
void claim(const char *format, ...) __attribute__((format(printf, 1, 2)));
/** Print a comment line. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

bool expectThat(bool isMet, const char *text, const char *file, int line);
bool expectText(const char *actual, const char *expected, const char *text, const char *file, int line);
bool expectNumber(int64_t actual, int64_t expected, const char *text, const char *file, int line);
bool expectCode(int actual, int expected, const char *text, const char *file, int line);

/** A condition holds. Each of these returns whether it did. */
#define EXPECT(condition) expectThat((condition), #condition, __FILE__, __LINE__)
/** A text equals another; NULL equals NULL only. */
#define EXPECT_TEXT(actual, expected) expectText((actual), (expected), #actual, __FILE__, __LINE__)
/** A whole number equals another. */
#define EXPECT_NUMBER(actual, expected) expectNumber((int64_t) (actual), (int64_t) (expected), #actual, __FILE__, __LINE__)
/** A call that returns an int succeeded with this result, or failed with this code. */
#define EXPECT_CODE(call, code) expectCode((call), (code), #call, __FILE__, __LINE__)
/** The calling thread's last failure has this code; follows a call that returned NULL. */
#define EXPECT_FAILED(code) expectCode(dbGetErrorCode(), (code), "dbGetErrorCode()", __FILE__, __LINE__)
/** The text of the last failure names something. */
#define EXPECT_ERROR_NAMES(part) expectNames(dbGetError(NULL), (part), __FILE__, __LINE__)
bool expectNames(const char *text, const char *part, const char *file, int line);

/** A condition becomes true within a time; it is tried again and again, and so must be cheap or patient. */
#define EXPECT_WITHIN(timeout_ms, condition)                                                                          \
    do {                                                                                                              \
        int64_t deadline_ms_ = clock_ms() + (timeout_ms);                                                             \
        bool isMet_ = (condition);                                                                                    \
        while (!isMet_ && clock_ms() < deadline_ms_) {                                                                \
            pause_ms(20);                                                                                             \
            isMet_ = (condition);                                                                                     \
        }                                                                                                             \
        expectThat(isMet_, #condition " within " #timeout_ms " ms", __FILE__, __LINE__);                              \
    } while (0)

/** An expectation without which the scenario makes no sense: prints the claim that fails and ends the program. */
#define REQUIRE(condition)                                                                                            \
    do {                                                                                                              \
        if (!EXPECT(condition)) scenarioAbandon(#condition);                                                          \
    } while (0)
void scenarioAbandon(const char *reason);

/** Monotonic milliseconds. */
int64_t clock_ms(void);
/** Wall clock, Unix milliseconds. */
int64_t wall_ms(void);
void pause_ms(int64_t duration_ms);

/** Path of a file in the scratch folder of this scenario, which is removed at its end. One of 16 buffers of the thread, used in turn. */
const char *scratch(const char *name);
/** Path of a file in Tests/c/data (environment variable TEST_DATA). One of the same 16 buffers. */
const char *testData(const char *name);
/** Let a child of this program work in the scratch folder of its parent, without removing it. */
void scratchAdopt(const char *folder);
/** The scratch folder itself. */
const char *scratchFolder(void);
/** Write a whole file; ends the scenario when it can't. */
void writeFile(const char *path, const char *text);
/** printf into one of the same 16 buffers, cut at 4 KB. */
const char *format(const char *format, ...) __attribute__((format(printf, 1, 2)));
/** A text of `length` times `character`, freed by the caller. */
char *repeat(char character, size_t length);

/** Create or update an item and drop the snapshot: 0 or the code of the failure. */
int create(Db *db, const char *model, const DbProps *props);
int update(Db *db, const char *model, const DbProps *props);
/** Number of items of a model that match, or -1. */
int64_t count(Db *db, const char *model, const DbProps *props);
/** Whether the item that `props` names exists. */
bool exists(Db *db, const char *model, const DbProps *props);
/** Open the database `name` of the scratch folder under the schema of Tests/c/data, as device d1 of account a1. */
Db *openScratch(const char *name, int flags);
/** Open it under a schema of the scratch folder that has `validate`; skips the scenario where the library has no PCRE2. */
Db *openWithPatterns(const char *name, const char *schema);

#endif /* CHECK_H */
