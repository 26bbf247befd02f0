/*
    A firmware opens a database that does not exist yet, and works with single items and with sets of them: create, get,
    find, update, set, remove. Each call must do what its name says and nothing to any other item; what is not there must
    be told by its own code, and what is there twice must be told as such.
 */
#include "support/check.h"

static void itemsAreMade(Db *db)
{
    DbItem *item = dbCreate(db, "Note", DB_PROPS("id", "a", "text", "first", "count", "1"), NULL);
    REQUIRE(item != NULL);
    EXPECT_TEXT(dbField(item, "id"), "a");
    EXPECT_TEXT(dbField(item, "text"), "first");
    EXPECT_TEXT(dbField(item, "deviceId"), "d1");
    EXPECT_TEXT(dbItemModel(item), "Note");
    dbFreeItem(item);
    claim("dbCreate returns the item as it is stored, with the device's context");

    item = dbGet(db, "Note", DB_PROPS("id", "a"), NULL);
    EXPECT_TEXT(dbField(item, "text"), "first");
    EXPECT_NUMBER(dbFieldNumber(item, "count", -1), 1);
    dbFreeItem(item);
    claim("dbGet finds an item by what its key is made of");

    EXPECT(dbCreate(db, "Note", DB_PROPS("id", "a", "text", "again"), NULL) == NULL);
    EXPECT_FAILED(DB_ERR_EXISTS);
    item = dbGet(db, "Note", DB_PROPS("id", "a"), NULL);
    EXPECT_TEXT(dbField(item, "text"), "first");
    dbFreeItem(item);
    claim("dbCreate refuses a key that is taken, and leaves the item alone");

    EXPECT(dbGet(db, "Note", DB_PROPS("id", "none"), NULL) == NULL);
    EXPECT_FAILED(DB_ERR_NOT_FOUND);
    EXPECT(dbGet(db, "Local", DB_PROPS("id", "a"), NULL) == NULL);
    EXPECT_FAILED(DB_ERR_NOT_FOUND);
    EXPECT(dbGet(db, "Note", DB_PROPS("text", "first"), NULL) == NULL);
    EXPECT_FAILED(DB_ERR_KEY);
    claim("dbGet tells an item that is not there from a key that is not whole");
}

static void itemsAreChanged(Db *db)
{
    DbItem *item = dbUpdate(db, "Note", DB_PROPS("id", "a", "text", "second"), NULL);
    EXPECT_TEXT(dbField(item, "text"), "second");
    EXPECT_NUMBER(dbFieldNumber(item, "count", -1), 1);
    dbFreeItem(item);
    claim("dbUpdate changes what it is given and keeps the rest");

    EXPECT_CODE(update(db, "Note", DB_PROPS("id", "a", "count", NULL)), 0);
    item = dbGet(db, "Note", DB_PROPS("id", "a"), NULL);
    EXPECT_TEXT(dbField(item, "count"), NULL);
    EXPECT_TEXT(dbField(item, "text"), "second");
    dbFreeItem(item);
    EXPECT_CODE(update(db, "Note", DB_JSON("{ id: 'a', text: null, count: 2 }")), 0);
    item = dbGet(db, "Note", DB_PROPS("id", "a"), NULL);
    EXPECT_TEXT(dbField(item, "text"), NULL);
    EXPECT_NUMBER(dbFieldNumber(item, "count", -1), 2);
    dbFreeItem(item);
    claim("a NULL value takes a property away");

    EXPECT_CODE(update(db, "Note", DB_PROPS("id", "none", "text", "x")), DB_ERR_NOT_FOUND);
    EXPECT(!exists(db, "Note", DB_PROPS("id", "none")));
    claim("dbUpdate does not make an item");

    item = dbUpdate(db, "Note", DB_PROPS("id", "b", "text", "made"), DB_PARAMS(.upsert = true));
    EXPECT_TEXT(dbField(item, "text"), "made");
    dbFreeItem(item);
    item = dbCreate(db, "Note", DB_PROPS("id", "b", "count", "7"), DB_PARAMS(.upsert = true));
    EXPECT_NUMBER(dbFieldNumber(item, "count", -1), 7);
    dbFreeItem(item);
    EXPECT_NUMBER(count(db, "Note", DB_PROPS("id", "b")), 1);
    claim("with upsert dbUpdate makes an item and dbCreate changes one");

    EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", "c", "text", "set"), NULL), 0);
    EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", "c", "count", "3"), NULL), 0);
    item = dbGet(db, "Note", DB_PROPS("id", "c"), NULL);
    EXPECT_TEXT(dbField(item, "text"), "set");
    EXPECT_NUMBER(dbFieldNumber(item, "count", -1), 3);
    dbFreeItem(item);
    claim("dbSet makes an item and then changes it");
}

static void setsAreFound(Db *db)
{
    for (int index = 9; index >= 0; index--) {
        EXPECT_CODE(create(db, "Local", DB_PROPS("id", format("l%d", index), "text", index % 2 ? "odd" : "even")), 0);
    }
    DbList *list = dbFind(db, "Local", NULL, NULL);
    const DbItem *item;
    size_t index;
    EXPECT_NUMBER(dbListCount(list), 10);
    for (DB_ITERATE(list, item, index)) EXPECT_TEXT(dbField(item, "id"), format("l%zu", index));
    EXPECT_NUMBER(index, 10);
    EXPECT(dbListItem(list, 10) == NULL);
    EXPECT(dbListItem(list, SIZE_MAX) == NULL);
    dbFreeList(list);
    claim("dbFind gives every item of one model, in the order of the key");

    EXPECT_NUMBER(count(db, "Local", DB_PROPS("text", "odd")), 5);
    EXPECT_NUMBER(count(db, "Local", DB_PROPS("id", "l3", "text", "odd")), 1);
    EXPECT_NUMBER(count(db, "Local", DB_PROPS("id", "l3", "text", "even")), 0);
    EXPECT_NUMBER(count(db, "Setting", NULL), 0);
    claim("dbFind selects by key and by other properties; nothing found is an empty list");

    DbItem *first = dbFindOne(db, "Local", DB_PROPS("text", "odd"), NULL);
    EXPECT_TEXT(dbField(first, "id"), "l1");
    dbFreeItem(first);
    EXPECT(dbFindOne(db, "Local", DB_PROPS("text", "neither"), NULL) == NULL);
    EXPECT_FAILED(DB_ERR_NOT_FOUND);
    claim("dbFindOne gives the first, or says that there is none");
}

static void itemsAreRemoved(Db *db)
{
    EXPECT_NUMBER(dbRemove(db, "Local", DB_PROPS("id", "l0"), NULL), 1);
    EXPECT_NUMBER(dbRemove(db, "Local", DB_PROPS("id", "l0"), NULL), 0);
    EXPECT_NUMBER(count(db, "Local", NULL), 9);
    claim("dbRemove removes the item it names, once");

    EXPECT_CODE(dbRemove(db, "Local", DB_PROPS("text", "odd"), NULL), DB_ERR_AMBIGUOUS);
    EXPECT_NUMBER(count(db, "Local", NULL), 9);
    EXPECT_NUMBER(dbRemove(db, "Local", DB_PROPS("text", "odd"), DB_PARAMS(.many = true, .limit = 2)), 2);
    EXPECT_NUMBER(count(db, "Local", DB_PROPS("text", "odd")), 3);
    EXPECT_NUMBER(dbRemove(db, "Local", DB_PROPS("text", "odd"), DB_PARAMS(.many = true)), 3);
    EXPECT_NUMBER(count(db, "Local", NULL), 4);
    claim("dbRemove refuses to remove several items unless it is told so, and honours its limit");

    EXPECT_CODE(create(db, "Local", DB_PROPS("id", "l0", "text", "new")), 0);
    DbItem *item = dbGet(db, "Local", DB_PROPS("id", "l0"), NULL);
    EXPECT_TEXT(dbField(item, "text"), "new");
    dbFreeItem(item);
    EXPECT_NUMBER(count(db, "Note", NULL), 3);
    claim("a removed key can be used again, and other models are untouched");
}

int main(void)
{
    scenarioBegin();
    Db *db = openScratch("items.db", 0);
    REQUIRE(db != NULL);
    EXPECT_TEXT(dbModelName(dbGetModel(db, "Note")), "Note");
    claim("dbOpen makes a database");
    itemsAreMade(db);
    itemsAreChanged(db);
    setsAreFound(db);
    itemsAreRemoved(db);
    dbClose(db);
    return scenarioEnd();
}
