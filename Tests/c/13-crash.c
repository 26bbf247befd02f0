/*
    A firmware creates, updates and removes items as fast as it can, and tells each call that returned through a pipe. It
    is killed with SIGKILL at a random moment, ten times over. After each death the database must open, hold every change
    that was told, and at most the one change more whose return it did not live to tell.
 */
#include "support/device.h"

#include <signal.h>
#include <unistd.h>

#define DEATHS 10

/*
    The firmware's life is a row of operations, counted from 0: the operations 3n, 3n + 1 and 3n + 2 create item n, change
    item n - 1 and remove item n - 2. So the state after any number of operations is known.
 */
static int operate(Db *db, int operation)
{
    int step = operation / 3;
    switch (operation % 3) {
    case 0:
        return create(db, "Note", DB_PROPS("id", format("%d", step), "text", "new"));
    case 1:
        return step < 1 ? 0 : update(db, "Note", DB_PROPS("id", format("%d", step - 1), "text", "changed"));
    default:
        return step < 2 ? 0 : dbRemove(db, "Note", DB_PROPS("id", format("%d", step - 2)), NULL) - 1;
    }
}

/** What the text of an item is after `done` operations; NULL: it does not exist. */
static const char *textAfter(int done, int item)
{
    if (3 * item >= done || 3 * (item + 2) + 2 < done) return NULL;
    return 3 * (item + 1) + 1 < done ? "changed" : "new";
}

static bool isStateAfter(Db *db, int done)
{
    bool isEqual = true;
    int64_t expected = 0;
    for (int item = done > 15 ? done / 3 - 5 : 0; item <= done / 3 + 2; item++) {
        const char *text = textAfter(done, item);
        char *stored = dbGetField(db, "Note", "text", DB_PROPS("id", format("%d", item)), NULL);
        if (text != NULL) expected++;
        isEqual = isEqual && (text == NULL) == (stored == NULL) && (text == NULL || strcmp(text, stored) == 0);
        dbFree(stored);
    }
    return isEqual && count(db, "Note", NULL) == expected;
}

static int firmware(char **argv)
{
    childBegin(argv);
    Db *db = openScratch("crash.db", strcmp(argv[3], "normal") == 0 ? DB_DURABILITY_NORMAL : 0);
    if (db == NULL) return 1;
    for (int operation = 0; operate(db, operation) == 0; operation++) printf("did %d\n", operation);
    return 1;
}

/** Run the firmware, kill it after a while, which begins with its start or with its first operation; returns the number of
 *  operations told. */
static int liveAndDie(const char *mode, bool isAtWork)
{
    char line[64];
    int last = -1;
    int64_t life_ms = 20 + rand() % 200, deadline_ms = isAtWork ? INT64_MAX : clock_ms() + life_ms;
    Child child = childStartSelf("firmware", (const char *[]){mode, NULL});
    while (clock_ms() < deadline_ms && childLine(&child, line, sizeof line)) {
        if (sscanf(line, "did %d", &last) == 1 && deadline_ms == INT64_MAX) deadline_ms = clock_ms() + life_ms;
    }
    childSignal(&child, SIGKILL);
    while (childLine(&child, line, sizeof line)) sscanf(line, "did %d", &last);
    EXPECT_NUMBER(childWait(&child), 128 + SIGKILL);
    childCloseOutput(&child);
    return last + 1;
}

int main(int argc, char **argv)
{
    if (argc > 3 && strcmp(argv[1], "firmware") == 0) return firmware(argv);
    scenarioBegin();
    unsigned seed = (unsigned) getpid();
    srand(seed);
    note("seed %u", seed);
    const char *modes[] = {"full", "normal"};
    for (int mode = 0; mode < 2; mode++) {
        int total = 0;
        for (int death = 0; death < DEATHS; death++) {
            int told = liveAndDie(modes[mode], death % 2 != 0);
            Db *db = openScratch("crash.db", 0);
            REQUIRE(db != NULL);
            if (!EXPECT(isStateAfter(db, told) || isStateAfter(db, told + 1))) note("%d operations were told", told);
            EXPECT(dbRemove(db, "Note", NULL, DB_PARAMS(.many = true)) >= 0);
            dbClose(db);
            total += told;
        }
        EXPECT(total > 0);
        note("%d operations before %d deaths", total, DEATHS);
        claim("with durability %s every change that returned is there after SIGKILL, and no more", modes[mode]);
    }
    return scenarioEnd();
}
