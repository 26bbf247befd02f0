/*
    Firmware whose first start loads its settings from a file, and whose engineer prints what is there.
 */
#include "support/device.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static Db *db;
static char printed[4096];

/** What a function prints to stdout, in `printed`. */
static void capture(void (*print)(const void *), const void *argument)
{
    fflush(stdout);
    int console = dup(STDOUT_FILENO);
    REQUIRE(freopen(scratch("printed"), "w", stdout) != NULL);
    print(argument);
    fflush(stdout);
    dup2(console, STDOUT_FILENO);
    close(console);
    FILE *file = fopen(scratch("printed"), "r");
    REQUIRE(file != NULL);
    printed[fread(printed, 1, sizeof printed - 1, file)] = '\0';
    fclose(file);
}

static void printAll(const void *unused) { (void) unused, dbPrint(db); }
static void printItem(const void *item) { dbPrintItem(item); }
static void printList(const void *list) { dbPrintList(list); }

static int loadText(const char *text)
{
    writeFile(scratch("data.json5"), text);
    return dbLoadData(db, scratch("data.json5"));
}

static void loads(void)
{
    EXPECT_CODE(loadText("{ // what a new device has\n"
                         "  Note: [{ id: 'a', text: 'one' }, { id: 'b', count: 2 }],\n"
                         "  Local: { id: 'x', extra: { deep: [1, 2] } } }"), 0);
    EXPECT_NUMBER(count(db, "Note", NULL), 2);
    EXPECT_NUMBER(count(db, "Local", NULL), 1);
    EXPECT_CODE(loadText("{ Note: [{ id: 'a', count: 7 }] }"), 0);
    DbItem *item = dbGet(db, "Note", DB_PROPS("id", "a"), NULL);
    EXPECT(item != NULL);
    EXPECT_TEXT(dbField(item, "text"), "one");
    EXPECT_TEXT(dbField(item, "count"), "7");
    dbFreeItem(item);
    DbStats stats = {.size = sizeof stats};
    EXPECT_CODE(dbGetStats(db, &stats), 0);
    EXPECT_NUMBER(stats.outboxItems, 2);
    claim("a file's items are created, or changed when they are there, and wait for the cloud");

    EXPECT_CODE(loadText("{ Note: [{ id: 'c' },\n { id: 'd', count: 'many' }] }"), DB_ERR_FIELD);
    EXPECT_ERROR_NAMES("data.json5:2");
    EXPECT_CODE(loadText("{ Note: [{ id: 'c' }],\n\n Nothing: [{ id: 'd' }] }"), DB_ERR_MODEL);
    EXPECT_ERROR_NAMES("data.json5:3");
    EXPECT_CODE(loadText("{ Note: [{ id: 'c' }, 17] }"), DB_ERR_JSON);
    EXPECT_CODE(loadText("{ Note: [{ id: 'c' }"), DB_ERR_JSON);
    EXPECT_ERROR_NAMES("data.json5");
    EXPECT_CODE(loadText("[]"), DB_ERR_JSON);
    EXPECT_CODE(dbLoadData(db, scratch("none.json5")), DB_ERR_IO);
    EXPECT_CODE(dbLoadData(db, NULL), DB_ERR_MISUSE);
    EXPECT_CODE(dbLoadData(NULL, scratch("data.json5")), DB_ERR_MISUSE);
    EXPECT_NUMBER(count(db, "Note", NULL), 2);
    claim("of a file with something wrong nothing is taken, and the place is named");

    EXPECT_CODE(dbBegin(db), 0);
    EXPECT_CODE(loadText("{ Note: { id: 'e' } }"), 0);
    EXPECT_NUMBER(count(db, "Note", NULL), 3);
    EXPECT_CODE(dbRollback(db), 0);
    EXPECT_NUMBER(count(db, "Note", NULL), 2);
    claim("within a transaction a file is a part of it");
}

static void prints(void)
{
    capture(printAll, NULL);
    EXPECT(strstr(printed, "Note {") != NULL && strstr(printed, "\"text\":\"one\"") != NULL);
    EXPECT(strstr(printed, "Local {") != NULL && strstr(printed, "\"deep\":[1,2]") != NULL);
    int lines = 0;
    for (const char *at = printed; *at != '\0'; at++) lines += *at == '\n';
    EXPECT_NUMBER(lines, 3);
    DbItem *item = dbGet(db, "Note", DB_PROPS("id", "b"), NULL);
    capture(printItem, item);
    EXPECT_TEXT(printed, format("Note %s\n", dbItemJson(item)));
    dbFreeItem(item);
    DbList *list = dbFind(db, "Note", NULL, NULL);
    capture(printList, list);
    EXPECT(strstr(printed, "\"a\"") != NULL && strstr(printed, "\"b\"") != NULL);
    dbFreeList(list);
    capture(printItem, NULL);
    EXPECT_TEXT(printed, "");
    capture(printList, NULL);
    EXPECT_TEXT(printed, "");
    for (int index = 0; index < 150; index++) {
        EXPECT_CODE(create(db, "Local", DB_PROPS("id", format("%d", index))), 0);
    }
    capture(printAll, NULL);
    EXPECT(strlen(printed) == sizeof printed - 1);
    claim("all items, one, and those of a list are printed, a line each");
}

static void *printOnThread(void *unused)
{
    (void) unused;
    dbPrint(db);
    fflush(stdout);
    return NULL;
}

static void *closeOnThread(void *isClosed)
{
    dbClose(db);
    *(atomic_bool *) isClosed = true;
    return NULL;
}

/** stdout is a pipe that nobody reads at first, so that printing takes as long as the scenario likes. */
static void closesWhilePrinting(void)
{
    char *text = repeat('p', 200000);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "long", "text", text)), 0);
    free(text);
    fflush(stdout);
    int console = dup(STDOUT_FILENO), ends[2];
    REQUIRE(pipe(ends) == 0);
    dup2(ends[1], STDOUT_FILENO);
    close(ends[1]);
    pthread_t printing, closing;
    atomic_bool isClosed = false;
    bool isStarted = pthread_create(&printing, NULL, printOnThread, NULL) == 0;
    pause_ms(200);
    isStarted = isStarted && pthread_create(&closing, NULL, closeOnThread, &isClosed) == 0;
    pause_ms(200);
    bool isEarly = isClosed;
    static char buffer[65536];
    int lines = 0;
    ssize_t size = 0;
    /* 151 of Local, 2 of Note before, and the long one. */
    struct pollfd set = {.fd = ends[0], .events = POLLIN};
    while (isStarted && lines < 154 && poll(&set, 1, PATIENCE_MS) > 0 && (size = read(ends[0], buffer, sizeof buffer)) > 0) {
        for (ssize_t at = 0; at < size; at++) lines += buffer[at] == '\n';
    }
    if (isStarted) pthread_join(printing, NULL), pthread_join(closing, NULL);
    dup2(console, STDOUT_FILENO);
    close(console);
    close(ends[0]);
    EXPECT(isStarted && !isEarly && isClosed);
    EXPECT_NUMBER(lines, 154);
    claim("dbClose waits for what another thread prints");
}

int main(void)
{
    scenarioBegin();
    db = openScratch("state.db", 0);
    REQUIRE(db != NULL);
    loads();
    prints();
    closesWhilePrinting();
    return scenarioEnd();
}
