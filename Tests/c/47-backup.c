/*
    A firmware makes backups while it goes on writing, puts one in the place of a state it wants to leave, and recovers a file
    that a bad block has damaged. A backup must be whole; a damaged file must be reported and never be replaced until the
    firmware asks for it; then all that can be read must be there, and the damaged file beside it.
 */
#include "support/device.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#define ITEMS 2000

typedef struct Writer {
    Db *db;
    pthread_t thread;
    atomic_bool isOver;
    int pairs, code;
} Writer;

/** Two items in each transaction: a backup has both or none. */
static void *writePairs(void *argument)
{
    Writer *writer = argument;
    while (!writer->isOver && writer->code == 0) {
        const char *id = format("%d", writer->pairs++);
        dbBegin(writer->db);
        writer->code = create(writer->db, "Note", DB_PROPS("id", id));
        if (writer->code == 0) writer->code = create(writer->db, "Local", DB_PROPS("id", id));
        if (dbCommit(writer->db) < 0) writer->code = dbGetErrorCode();
    }
    return NULL;
}

static void *saveOften(void *argument)
{
    Writer *writer = argument;
    for (int round = 0; round < 10 && writer->code == 0; round++) {
        writer->code = dbSave(writer->db, scratch("backup.db"));
    }
    return NULL;
}

/** Two firmware threads have the same place in mind. */
static void backupsAtOnce(Db *db)
{
    Writer savers[3];
    for (int index = 0; index < 3; index++) {
        savers[index] = (Writer){.db = db};
        REQUIRE(pthread_create(&savers[index].thread, NULL, saveOften, &savers[index]) == 0);
    }
    for (int index = 0; index < 3; index++) {
        pthread_join(savers[index].thread, NULL);
        EXPECT_CODE(savers[index].code, 0);
    }
    Db *copy = openScratch("backup.db", DB_READ_ONLY);
    REQUIRE(copy != NULL);
    EXPECT_NUMBER(count(copy, "Note", NULL), count(db, "Note", NULL));
    EXPECT_NUMBER(dbCheck(copy, NULL, NULL), 0);
    dbClose(copy);
    claim("backups that go to one place at once don't spoil each other");
}

static void backup(void)
{
    Db *db = openScratch("state.db", DB_DURABILITY_NORMAL);
    REQUIRE(db != NULL);
    Writer writer = {.db = db};
    REQUIRE(pthread_create(&writer.thread, NULL, writePairs, &writer) == 0);
    for (int round = 0; round < 5; round++) {
        EXPECT_CODE(dbSave(db, scratch("backup.db")), 0);
        Db *copy = openScratch("backup.db", DB_READ_ONLY);
        REQUIRE(copy != NULL);
        EXPECT_NUMBER(count(copy, "Note", NULL), count(copy, "Local", NULL));
        EXPECT_NUMBER(dbCheck(copy, NULL, NULL), 0);
        dbClose(copy);
    }
    writer.isOver = true;
    pthread_join(writer.thread, NULL);
    EXPECT_CODE(writer.code, 0);
    EXPECT(writer.pairs > 5);
    claim("a backup beside a writer is the state of one moment");

    EXPECT_CODE(dbSave(db, NULL), DB_ERR_MISUSE);
    EXPECT_CODE(dbSave(db, scratch("state.db")), DB_ERR_MISUSE);
    EXPECT_CODE(dbSave(db, scratch("none/backup.db")), DB_ERR_IO);
    EXPECT_CODE(dbBegin(db), 0);
    EXPECT_CODE(dbSave(db, scratch("backup.db")), DB_ERR_MISUSE);
    EXPECT_CODE(dbRollback(db), 0);
    claim("a backup that can't be made says why");
    backupsAtOnce(db);

    int64_t notes = count(db, "Note", NULL);
    EXPECT_CODE(dbSave(db, scratch("backup.db")), 0);
    EXPECT(dbRemove(db, "Note", DB_PROPS("id", "0"), NULL) == 1);
    dbClose(db);
    REQUIRE(rename(scratch("backup.db"), scratch("state.db")) == 0);
    db = openScratch("state.db", 0);
    REQUIRE(db != NULL);
    EXPECT_NUMBER(count(db, "Note", NULL), notes);
    DbStats stats = {.size = sizeof stats};
    EXPECT_CODE(dbGetStats(db, &stats), 0);
    EXPECT_NUMBER(stats.outboxItems, notes);
    dbClose(db);
    claim("a backup in the database's place has its items and its changes that wait");
}

static int64_t fileSize(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 ? (int64_t) status.st_size : -1;
}

/** Damage a page, of which 0 has the header. */
static void spoil(const char *path, int page)
{
    int fd = open(path, O_WRONLY);
    char *spoiled = repeat('#', 4096);
    REQUIRE(fd >= 0 && pwrite(fd, spoiled, 4096, page * 4096) == 4096);
    close(fd);
    free(spoiled);
}

static void recovery(void)
{
    Db *db = openScratch("damaged.db", 0);
    REQUIRE(db != NULL);
    EXPECT_CODE(dbBegin(db), 0);
    for (int index = 0; index < ITEMS; index++) {
        EXPECT_CODE(create(db, "Note", DB_PROPS("id", format("%d", index), "text", "as it was written")), 0);
    }
    EXPECT_CODE(dbCommit(db), 0);
    dbClose(db);
    db = openScratch("damaged.db", DB_RECOVER);
    REQUIRE(db != NULL);
    EXPECT_NUMBER(count(db, "Note", NULL), ITEMS);
    dbClose(db);
    EXPECT(fileSize(scratch("damaged.db.corrupt-1")) < 0);
    claim("a sound file is left as it is");

    spoil(scratch("damaged.db"), 0);
    spoil(scratch("damaged.db"), 30);
    int64_t size = fileSize(scratch("damaged.db"));
    EXPECT(openScratch("damaged.db", 0) == NULL);
    EXPECT_NUMBER(dbGetErrorCode(), DB_ERR_CORRUPT);
    EXPECT(openScratch("damaged.db", DB_OPEN_RESET) == NULL);
    EXPECT_NUMBER(fileSize(scratch("damaged.db")), size);
    claim("a damaged file is reported, and not replaced, not even by a reset");

    db = openScratch("damaged.db", DB_RECOVER);
    REQUIRE(db != NULL);
    int64_t found = count(db, "Note", NULL);
    EXPECT(found >= ITEMS - 100 && found < ITEMS);
    EXPECT_NUMBER(dbCheck(db, NULL, NULL), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "later")), 0);
    dbClose(db);
    EXPECT_NUMBER(fileSize(scratch("damaged.db.corrupt-1")), size);
    db = openScratch("damaged.db", 0);
    REQUIRE(db != NULL);
    EXPECT_NUMBER(count(db, "Note", NULL), found + 1);
    dbClose(db);
    claim("what can be read is recovered, and the damaged file is kept beside it");
}

/** A name without a folder is one of the working directory's. */
static void inTheWorkingDirectory(void)
{
    REQUIRE(chdir(scratchFolder()) == 0);
    Db *db = openScratch("at.db", 0);
    REQUIRE(db != NULL);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "a")), 0);
    EXPECT_CODE(dbSave(db, "bare.db"), 0);
    dbClose(db);
    db = dbOpen("bare.db", testData("schema.json5"), 0);
    REQUIRE(db != NULL);
    dbAddContext(db, "deviceId", "d1");
    EXPECT(exists(db, "Note", DB_PROPS("id", "a")));
    dbClose(db);
    spoil("bare.db", 0);
    EXPECT(dbOpen("bare.db", testData("schema.json5"), 0) == NULL);
    db = dbOpen("bare.db", testData("schema.json5"), DB_RECOVER);
    EXPECT(db != NULL);
    dbClose(db);
    claim("a name without a folder is saved to and recovered in the working directory");
}

int main(void)
{
    scenarioBegin();
    ioSetLog(NULL, NULL, 0);
    backup();
    recovery();
    inTheWorkingDirectory();
    return scenarioEnd();
}
