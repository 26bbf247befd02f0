/*
    A firmware changes several items in one transaction. All of it must be kept by dbCommit and none of it after
    dbRollback, a failed call, a kill, or a dbClose: items, the queue for the cloud, receipts and triggers alike. Meanwhile other
    threads read what was there before, and their changes wait.
 */
#include "support/device.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

static void allOrNothing(void)
{
    Db *db = openScratch("all.db", 0);
    REQUIRE(db != NULL);
    Witness *witness = witnessAdd(db, NULL, DB_ON_CHANGE);
    EXPECT_CODE(dbBegin(db), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "a", "text", "one")), 0);
    EXPECT_CODE(create(db, "Local", DB_PROPS("id", "b")), 0);
    EXPECT_CODE(update(db, "Note", DB_PROPS("id", "a", "text", "two")), 0);
    EXPECT_NUMBER(count(db, "Note", NULL), 1);
    char *text = dbGetField(db, "Note", "text", DB_PROPS("id", "a"), NULL);
    EXPECT_TEXT(text, "two");
    dbFree(text);
    claim("within a transaction its thread sees its own changes");
    pause_ms(50);
    EXPECT_TEXT(witnessText(witness), "");
    EXPECT_CODE(dbCommit(db), 0);
    EXPECT_WITHIN(PATIENCE_MS, strcmp(witnessText(witness), "create Note a local\ncreate Local b local\n"
                                                            "update Note a local\n") == 0);
    EXPECT_NUMBER(count(db, "Note", NULL), 1);
    claim("a commit keeps every change, and triggers run after it, once, in order");

    EXPECT_CODE(dbBegin(db), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "c")), 0);
    EXPECT_NUMBER(dbRemove(db, "Note", DB_PROPS("id", "a"), NULL), 1);
    EXPECT_CODE(dbRollback(db), 0);
    EXPECT(exists(db, "Note", DB_PROPS("id", "a")));
    EXPECT(!exists(db, "Note", DB_PROPS("id", "c")));
    claim("a rollback takes every change back");

    EXPECT_CODE(dbBegin(db), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "a")), DB_ERR_EXISTS);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "d")), 0);
    EXPECT_CODE(dbCommit(db), 0);
    EXPECT(exists(db, "Note", DB_PROPS("id", "d")));
    claim("a call that is refused leaves the transaction as it was");
    dbClose(db);
    EXPECT_NUMBER(witnessCount(witness, "create", "Note", "c", DB_ORIGIN_LOCAL), 0);
    EXPECT_NUMBER(witnessCount(witness, "remove", NULL, NULL, DB_ORIGIN_LOCAL), 0);
    witnessFree(witness);
    claim("no trigger tells what was rolled back");
}

static void misuse(void)
{
    Db *db = openScratch("misuse.db", DB_DURABILITY_NORMAL);
    REQUIRE(db != NULL);
    EXPECT_CODE(dbBegin(NULL), DB_ERR_MISUSE);
    EXPECT_CODE(dbCommit(NULL), DB_ERR_MISUSE);
    EXPECT_CODE(dbRollback(NULL), DB_ERR_MISUSE);
    EXPECT_CODE(dbCommit(db), DB_ERR_MISUSE);
    EXPECT_CODE(dbRollback(db), DB_ERR_MISUSE);
    EXPECT_CODE(dbBegin(db), 0);
    EXPECT_CODE(dbBegin(db), DB_ERR_MISUSE);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "a")), 0);
    EXPECT_CODE(dbCommit(db), 0);
    EXPECT_CODE(dbCommit(db), DB_ERR_MISUSE);
    EXPECT_NUMBER(count(db, "Note", NULL), 1);
    claim("a transaction in a transaction, or the end of none, is misuse");

    EXPECT_CODE(dbBegin(db), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "b")), 0);
    dbClose(db);
    db = openScratch("misuse.db", DB_READ_ONLY);
    REQUIRE(db != NULL);
    EXPECT_NUMBER(count(db, "Note", NULL), 1);
    EXPECT_CODE(dbBegin(db), DB_ERR_READ_ONLY);
    dbClose(db);
    claim("dbClose rolls a forgotten transaction back");
}

typedef struct Other {
    Db *db;
    pthread_t thread;
    int64_t seen;
    int64_t written_ms;
    int code;
} Other;

static void *readOnce(void *argument)
{
    Other *other = argument;
    other->seen = count(other->db, "Note", NULL);
    return NULL;
}

static void *writeOnce(void *argument)
{
    Other *other = argument;
    other->code = create(other->db, "Note", DB_PROPS("id", "other"));
    other->written_ms = clock_ms();
    return NULL;
}

static void otherThreads(void)
{
    Db *db = openScratch("threads.db", 0);
    REQUIRE(db != NULL);
    Other reader = {.db = db, .seen = -1}, writer = {.db = db, .code = -1};
    EXPECT_CODE(dbBegin(db), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "mine")), 0);
    REQUIRE(pthread_create(&writer.thread, NULL, writeOnce, &writer) == 0);
    REQUIRE(pthread_create(&reader.thread, NULL, readOnce, &reader) == 0);
    pthread_join(reader.thread, NULL);
    EXPECT_NUMBER(reader.seen, 0);
    claim("another thread's read does not wait, and sees the database as it was");
    pause_ms(150);
    int64_t commit_ms = clock_ms();
    EXPECT_CODE(dbCommit(db), 0);
    pthread_join(writer.thread, NULL);
    EXPECT_CODE(writer.code, 0);
    EXPECT(writer.written_ms >= commit_ms);
    EXPECT_NUMBER(count(db, "Note", NULL), 2);
    dbClose(db);
    claim("another thread's change waits for the commit");
}

static int receiptState(Io *io, int64_t receipt)
{
    IoReceipt out = {.size = sizeof out};
    int code = ioGetReceipt(io, receipt, &out);
    return code < 0 ? code : (int) out.state;
}

static bool countPending(void *context, const DbPending *change)
{
    (*(int *) context)++;
    return change->item != NULL;
}

static int pendingCount(Db *db)
{
    int found = 0;
    EXPECT(dbEachPending(db, countPending, &found) >= 0);
    return found;
}

typedef struct Asker {
    Io *io;
    pthread_t thread;
    int64_t receipt;
    int state;
} Asker;

static void *askOnce(void *argument)
{
    Asker *asker = argument;
    asker->state = receiptState(asker->io, asker->receipt);
    return NULL;
}

static void receipts(void)
{
    Io *io = deviceOpen("receipts.db", freePort(), SYNC_NEVER);
    REQUIRE(io != NULL);
    Db *db = ioGetDb(io);
    int64_t first = 0, second = 0, third = 0, failed = -1, removal = 0;
    EXPECT_CODE(dbBegin(db), 0);
    EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", "a"), DB_PARAMS(.receipt = &first)), 0);
    EXPECT(dbCreate(db, "Note", DB_PROPS("id", "a"), DB_PARAMS(.receipt = &failed)) == NULL);
    EXPECT_NUMBER(failed, 0);
    EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", "b"), DB_PARAMS(.receipt = &second)), 0);
    Asker asker = {.io = io, .receipt = first};
    REQUIRE(pthread_create(&asker.thread, NULL, askOnce, &asker) == 0);
    pthread_join(asker.thread, NULL);
    EXPECT_NUMBER(asker.state, DB_ERR_NOT_FOUND);
    EXPECT_CODE(dbCommit(db), 0);
    EXPECT_NUMBER(receiptState(io, first), IO_RECEIPT_STORED);
    EXPECT_NUMBER(receiptState(io, second), IO_RECEIPT_STORED);
    EXPECT_NUMBER(pendingCount(db), 2);
    claim("receipts are there with the commit, not before");

    EXPECT_CODE(dbBegin(db), 0);
    EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", "c"), DB_PARAMS(.receipt = &third)), 0);
    EXPECT_NUMBER(dbRemove(db, "Note", NULL, DB_PARAMS(.many = true, .receipt = &removal)), 3);
    EXPECT(third > second && removal > third);
    EXPECT_CODE(dbRollback(db), 0);
    EXPECT_NUMBER(receiptState(io, third), DB_ERR_NOT_FOUND);
    EXPECT_NUMBER(receiptState(io, removal), DB_ERR_NOT_FOUND);
    EXPECT_NUMBER(receiptState(io, first), IO_RECEIPT_STORED);
    EXPECT_NUMBER(pendingCount(db), 2);
    claim("a rollback takes receipts back, and changes from the queue");

    EXPECT_CODE(dbBegin(db), 0);
    EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", "d"), DB_PARAMS(.receipt = &third)), 0);
    ioClose(io);
    io = deviceOpen("receipts.db", freePort(), SYNC_NEVER);
    REQUIRE(io != NULL);
    EXPECT_NUMBER(receiptState(io, third), DB_ERR_NOT_FOUND);
    EXPECT_NUMBER(receiptState(io, second), IO_RECEIPT_STORED);
    int64_t later = 0;
    EXPECT_CODE(dbSet(ioGetDb(io), "Note", DB_PROPS("id", "e"), DB_PARAMS(.receipt = &later)), 0);
    EXPECT(later > third && later > removal);
    EXPECT_NUMBER(receiptState(io, removal), DB_ERR_NOT_FOUND);
    ioClose(io);
    claim("the number of a receipt that was taken back is not given again");
}

/** Commits pairs of items for ever, and tells each pair. */
static int firmware(char **argv)
{
    childBegin(argv);
    Db *db = openScratch("pairs.db", 0);
    if (db == NULL) return 1;
    for (int pair = 0;; pair++) {
        if (dbBegin(db) != 0) return 1;
        for (int half = 0; half < 2; half++) {
            if (create(db, half ? "Note" : "Reading", DB_PROPS("id", format("%d", pair))) != 0) return 1;
        }
        if (dbCommit(db) != 0) return 1;
        printf("did %d\n", pair);
    }
}

static void deathsWithin(void)
{
    for (int death = 0; death < 5; death++) {
        char line[64];
        int told = -1;
        Child child = childStartSelf("firmware", (const char *[]){NULL});
        while (told < 5 + death && childLine(&child, line, sizeof line)) sscanf(line, "did %d", &told);
        pause_ms(rand() % 5);
        childSignal(&child, SIGKILL);
        while (childLine(&child, line, sizeof line)) sscanf(line, "did %d", &told);
        childWait(&child);
        childCloseOutput(&child);
        Db *db = openScratch("pairs.db", 0);
        REQUIRE(db != NULL);
        int64_t notes = count(db, "Note", NULL), readings = count(db, "Reading", NULL);
        EXPECT_NUMBER(notes, readings);
        EXPECT(notes == told + 1 || notes == told + 2);
        EXPECT(dbRemove(db, "Note", NULL, DB_PARAMS(.many = true)) >= 0);
        EXPECT(dbRemove(db, "Reading", NULL, DB_PARAMS(.many = true)) >= 0);
        dbClose(db);
    }
    claim("SIGKILL leaves whole transactions, and every one that was committed");
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "firmware") == 0) return firmware(argv);
    scenarioBegin();
    srand((unsigned) getpid());
    allOrNothing();
    misuse();
    otherThreads();
    receipts();
    deathsWithin();
    return scenarioEnd();
}
