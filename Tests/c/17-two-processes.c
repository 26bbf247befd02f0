/*
    Two programs have the same database open, as a firmware and its maintenance tool do. Each keeps what it read last in
    memory. Whatever one commits, the other must read from the moment on that the call has returned: never the state that it
    remembers. They change and read the same item by turns, then remove and create it, and one of them is killed in between.
 */
#include "support/device.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROUNDS 1500
/** Changes that one program makes while the other watches. */
#define WATCHED 3000

/** Do what the parent asks for, line by line: set <n>, get, remove, race. */
static int other(char **argv)
{
    char line[64];
    childBegin(argv);
    Db *db = openScratch("shared.db", DB_DURABILITY_NORMAL);
    if (db == NULL) return 1;
    printf("ready\n");
    int from = open(argv[3], O_RDONLY);
    FILE *input = from < 0 ? NULL : fdopen(from, "r");
    if (input == NULL) return 1;
    while (fgets(line, sizeof line, input) != NULL) {
        int number = 0;
        if (sscanf(line, "set %d", &number) == 1) {
            printf("%d\n", create(db, "Note", DB_PROPS("id", "a", "count", format("%d", number))) == 0 ||
                               update(db, "Note", DB_PROPS("id", "a", "count", format("%d", number))) == 0);
        } else if (strcmp(line, "get\n") == 0) {
            printf("%d\n", (int) dbGetNum(db, "Note", "count", DB_PROPS("id", "a"), -1));
        } else if (strcmp(line, "remove\n") == 0) {
            printf("%d\n", dbRemove(db, "Note", DB_PROPS("id", "a"), NULL));
        } else if (strcmp(line, "race\n") == 0) {
            for (number = 1; number <= WATCHED; number++) {
                if (update(db, "Note", DB_PROPS("id", "a", "count", format("%d", number))) != 0) break;
            }
            printf("%d\n", number - 1);
        }
    }
    dbClose(db);
    return 0;
}

typedef struct Other {
    Child child;
    FILE *input;
} Other;

static Other otherStart(void)
{
    Other it = {.input = NULL};
    const char *pipe = scratch("requests");
    unlink(pipe);
    REQUIRE(mkfifo(pipe, 0600) == 0);
    it.child = childStartSelf("other", (const char *[]){pipe, NULL});
    REQUIRE(childAwaitLine(&it.child, "ready"));
    it.input = fopen(pipe, "w");
    REQUIRE(it.input != NULL);
    setvbuf(it.input, NULL, _IOLBF, 0);
    return it;
}

static int answer(Other *it)
{
    char line[64] = "";
    return childLine(&it->child, line, sizeof line) ? atoi(line) : -1000;
}

static int ask(Other *it, const char *request)
{
    fprintf(it->input, "%s\n", request);
    return answer(it);
}

static int here(Db *db) { return (int) dbGetNum(db, "Note", "count", DB_PROPS("id", "a"), -1); }

/** The same through an item: the way that the cache of items is first on. */
static int hereByItem(Db *db)
{
    DbItem *item = dbGet(db, "Note", DB_PROPS("id", "a"), NULL);
    int number = item == NULL ? -1 : (int) dbFieldNumber(item, "count", -1);
    dbFreeItem(item);
    return number;
}

static void turns(Db *db, Other *it)
{
    bool isSeenHere = true, isSeenThere = true, isKept = true;
    for (int round = 0; round < ROUNDS; round++) {
        isSeenHere = isSeenHere && ask(it, format("set %d", 2 * round)) == 1 && hereByItem(db) == 2 * round;
        isKept = isKept && hereByItem(db) == 2 * round && here(db) == 2 * round;
        isSeenThere = isSeenThere && update(db, "Note", DB_PROPS("id", "a", "count", format("%d", 2 * round + 1))) == 0 &&
                      ask(it, "get") == 2 * round + 1;
        isKept = isKept && hereByItem(db) == 2 * round + 1 && ask(it, "get") == 2 * round + 1;
    }
    EXPECT(isSeenHere);
    EXPECT(isSeenThere);
    EXPECT(isKept);
    claim("what either program has changed is what the other reads next");

    EXPECT_NUMBER(ask(it, "remove"), 1);
    EXPECT_NUMBER(hereByItem(db), -1);
    EXPECT_NUMBER(ask(it, "set 5"), 1);
    EXPECT_NUMBER(hereByItem(db), 5);
    EXPECT_NUMBER(dbRemove(db, "Note", DB_PROPS("id", "a"), NULL), 1);
    EXPECT_NUMBER(ask(it, "get"), -1);
    claim("an item that either has removed is gone for the other");
}

static void watch(Db *db, Other *it)
{
    EXPECT_NUMBER(ask(it, "set 0"), 1);
    fprintf(it->input, "race\n");
    int last = 0, reads = 0;
    bool isOrdered = true;
    while (last < WATCHED && reads < 100000000) {
        int number = hereByItem(db);
        isOrdered = isOrdered && number >= last;
        last = number;
        reads++;
        // Own commits in between must not hide those of the other.
        if (reads % 1000 == 0) isOrdered = isOrdered && dbSet(db, "Note", DB_PROPS("id", "b", "count", "1"), NULL) == 0;
        if (!isOrdered) break;
    }
    EXPECT(isOrdered);
    EXPECT_NUMBER(answer(it), WATCHED);
    EXPECT_NUMBER(hereByItem(db), WATCHED);
    note("%d reads while the other changed the item %d times", reads, WATCHED);
    claim("a program that reads while the other writes never sees an item go back");
}

static void death(Db *db)
{
    for (int round = 0; round < 5; round++) {
        Other it = otherStart();
        EXPECT_NUMBER(ask(&it, "set 0"), 1);
        EXPECT_NUMBER(hereByItem(db), 0);
        fprintf(it.input, "race\n");
        pause_ms(5 + rand() % 40);
        childSignal(&it.child, SIGKILL);
        childWait(&it.child);
        fclose(it.input);
        childCloseOutput(&it.child);
        int seen = hereByItem(db), again = here(db);
        EXPECT_NUMBER(seen, again);
        EXPECT_CODE(update(db, "Note", DB_PROPS("id", "a", "count", "7")), 0);
        EXPECT_NUMBER(hereByItem(db), 7);
        it = otherStart();
        EXPECT_NUMBER(ask(&it, "get"), 7);
        fclose(it.input);
        EXPECT_NUMBER(childWait(&it.child), 0);
        childCloseOutput(&it.child);
    }
    claim("the death of one program leaves the other with the truth");
}

int main(int argc, char **argv)
{
    if (argc > 3 && strcmp(argv[1], "other") == 0) return other(argv);
    scenarioBegin();
    srand((unsigned) getpid());
    Db *db = openScratch("shared.db", DB_DURABILITY_NORMAL);
    REQUIRE(db != NULL);
    Other it = otherStart();
    turns(db, &it);
    watch(db, &it);
    fclose(it.input);
    EXPECT_NUMBER(childWait(&it.child), 0);
    childCloseOutput(&it.child);
    death(db);
    dbClose(db);
    return scenarioEnd();
}
