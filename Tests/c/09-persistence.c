/*
    A firmware ends and starts again, many times. What it stored must be there as it was; a database open for reading only
    must be read by several at once and changed by none; a reset must empty it; and a schema that has grown a field or
    lost a model must open the old file.
 */
#include "support/check.h"

#include <unistd.h>

static const char *smaller = "{\n"
                             "  indexes: { primary: { hash: 'pk', sort: 'sk' } },\n"
                             "  models: {\n"
                             "    Local: {\n"
                             "      pk: { type: 'string', value: 'device#${deviceId}' },\n"
                             "      sk: { type: 'string', value: 'local#${id}' },\n"
                             "      id: { type: 'string', required: true },\n"
                             "      deviceId: { type: 'string', required: true },\n"
                             "      text: { type: 'string' },\n"
                             "      later: { type: 'number', default: 5 },\n"
                             "    },\n"
                             "  },\n"
                             "}\n";

static void itemsOutliveTheProcess(void)
{
    for (int round = 0; round < 10; round++) {
        Db *db = openScratch("kept.db", 0);
        REQUIRE(db != NULL);
        EXPECT_NUMBER(count(db, "Note", NULL), round);
        EXPECT_CODE(create(db, "Note", DB_PROPS("id", format("r%d", round), "text", "kept", "count", "12345678901234567")), 0);
        dbClose(db);
    }
    EXPECT(access(scratch("kept.db-wal"), F_OK) != 0);
    Db *db = openScratch("kept.db", 0);
    DbItem *item = dbGet(db, "Note", DB_PROPS("id", "r0"), NULL);
    EXPECT_TEXT(dbField(item, "text"), "kept");
    EXPECT_NUMBER(dbFieldNumber(item, "count", 0), 12345678901234567);
    dbFreeItem(item);
    dbClose(db);
    claim("items outlive the closing of the database, which leaves one file");
}

static void readersChangeNothing(void)
{
    Db *db = openScratch("kept.db", DB_READ_ONLY);
    Db *second = openScratch("kept.db", DB_READ_ONLY);
    REQUIRE(db != NULL && second != NULL);
    EXPECT_NUMBER(count(db, "Note", NULL), 10);
    EXPECT_NUMBER(count(second, "Note", NULL), 10);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "x")), DB_ERR_READ_ONLY);
    EXPECT_CODE(update(db, "Note", DB_PROPS("id", "r0", "text", "x")), DB_ERR_READ_ONLY);
    EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", "r0", "text", "x"), NULL), DB_ERR_READ_ONLY);
    EXPECT_CODE(dbSetNum(db, "Note", "count", 1, DB_PROPS("id", "r0"), NULL), DB_ERR_READ_ONLY);
    EXPECT_CODE(dbRemove(db, "Note", DB_PROPS("id", "r0"), NULL), DB_ERR_READ_ONLY);
    EXPECT_NUMBER(count(db, "Note", NULL), 10);
    dbClose(second);
    dbClose(db);
    EXPECT(openScratch("kept.db", DB_READ_ONLY | DB_OPEN_RESET) == NULL);
    EXPECT(dbGetErrorCode() < 0);
    claim("a database open for reading only is read and not changed");
}

static void twoWorkOnOneFile(void)
{
    Db *writer = openScratch("kept.db", 0);
    Db *reader = openScratch("kept.db", DB_READ_ONLY);
    Db *other = openScratch("kept.db", 0);
    REQUIRE(writer != NULL && reader != NULL && other != NULL);
    EXPECT_CODE(create(writer, "Note", DB_PROPS("id", "seen")), 0);
    EXPECT(exists(reader, "Note", DB_PROPS("id", "seen")));
    EXPECT_CODE(create(other, "Note", DB_PROPS("id", "seen")), DB_ERR_EXISTS);
    EXPECT_NUMBER(dbRemove(other, "Note", DB_PROPS("id", "seen"), NULL), 1);
    EXPECT(!exists(writer, "Note", DB_PROPS("id", "seen")));
    dbClose(other);
    dbClose(reader);
    dbClose(writer);
    claim("what one commits another sees, in the same file");
}

static void schemasChange(void)
{
    Db *db = openScratch("grown.db", 0);
    REQUIRE(db != NULL);
    EXPECT_CODE(create(db, "Local", DB_PROPS("id", "old", "text", "of old")), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "old")), 0);
    dbClose(db);

    writeFile(scratch("smaller.json5"), smaller);
    db = dbOpen(scratch("grown.db"), scratch("smaller.json5"), 0);
    REQUIRE(db != NULL);
    dbAddContext(db, "deviceId", "d1");
    EXPECT_NUMBER(count(db, "Local", NULL), 1);
    EXPECT(dbFind(db, "Note", NULL, NULL) == NULL);
    EXPECT_FAILED(DB_ERR_MODEL);
    DbItem *item = dbCreate(db, "Local", DB_PROPS("id", "new"), NULL);
    EXPECT_NUMBER(dbFieldNumber(item, "later", 0), 5);
    dbFreeItem(item);
    EXPECT_CODE(update(db, "Local", DB_PROPS("id", "old", "later", "6")), 0);
    dbClose(db);

    db = openScratch("grown.db", 0);
    EXPECT_NUMBER(count(db, "Local", NULL), 2);
    EXPECT_NUMBER(count(db, "Note", NULL), 1);
    dbClose(db);
    claim("a file opens under a schema that gained a field and lost a model, and nothing is lost");
}

static void resetEmpties(void)
{
    Db *db = openScratch("kept.db", DB_OPEN_RESET);
    REQUIRE(db != NULL);
    EXPECT_NUMBER(count(db, "Note", NULL), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "r0")), 0);
    dbClose(db);
    db = openScratch("kept.db", DB_DURABILITY_NORMAL);
    REQUIRE(db != NULL);
    EXPECT_NUMBER(count(db, "Note", NULL), 1);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "r1")), 0);
    dbClose(db);
    db = openScratch("kept.db", 0);
    EXPECT_NUMBER(count(db, "Note", NULL), 2);
    dbClose(db);
    claim("a reset empties the database, and either durability outlives closing");
}

int main(void)
{
    scenarioBegin();
    itemsOutliveTheProcess();
    readersChangeNothing();
    twoWorkOnOneFile();
    schemasChange();
    resetEmpties();
    return scenarioEnd();
}
