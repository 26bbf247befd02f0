/*
    A firmware stores items, keys and nestings at the documented limits and one beyond. At the limit all must be kept
    exactly; beyond it the call must fail as a limit, with nothing stored and the item before it untouched.
 */
#include "support/check.h"

#define ITEM_BYTES_MAX (256 * 1024)
#define KEY_BYTES_MAX 1024
/* 64, less what a message lays around an item. */
#define NESTING_MAX 56

/** What an item of Local with this id takes beside its text. */
static size_t overhead(Db *db, const char *id)
{
    DbItem *item = dbCreate(db, "Local", DB_PROPS("id", id, "text", ""), NULL);
    size_t bytes = strlen(dbItemJson(item));
    dbFreeItem(item);
    EXPECT_NUMBER(dbRemove(db, "Local", DB_PROPS("id", id), NULL), 1);
    return bytes;
}

static void itemsAreLimited(Db *db)
{
    size_t room = ITEM_BYTES_MAX - overhead(db, "big");
    char *text = repeat('t', room + 1);
    EXPECT_CODE(create(db, "Local", DB_PROPS("id", "big", "text", text)), DB_ERR_LIMIT);
    EXPECT(!exists(db, "Local", DB_PROPS("id", "big")));
    text[room] = '\0';
    EXPECT_CODE(create(db, "Local", DB_PROPS("id", "big", "text", text)), 0);
    char *stored = dbGetField(db, "Local", "text", DB_PROPS("id", "big"), NULL);
    EXPECT(stored != NULL && strcmp(stored, text) == 0);
    dbFree(stored);
    claim("an item of 256 KB is kept, and one of a byte more is refused");

    text[room] = 't';
    EXPECT_CODE(update(db, "Local", DB_PROPS("id", "big", "text", text)), DB_ERR_LIMIT);
    EXPECT_CODE(dbSetField(db, "Local", "extra", "{}", DB_PROPS("id", "big"), NULL), DB_ERR_LIMIT);
    stored = dbGetField(db, "Local", "text", DB_PROPS("id", "big"), NULL);
    EXPECT(stored != NULL && strlen(stored) == room);
    dbFree(stored);
    free(text);
    claim("an item does not grow beyond 256 KB by an update");

    text = repeat('t', 8 * ITEM_BYTES_MAX);
    EXPECT(create(db, "Local", DB_PROPS("id", "huge", "text", text)) < 0);
    EXPECT(create(db, "Local", DB_PROPS("id", text, "text", "x")) < 0);
    EXPECT(create(db, text, DB_PROPS("id", "huge")) < 0);
    EXPECT(create(db, "Local", DB_JSON(text)) < 0);
    EXPECT(dbSetField(db, "Local", text, "x", DB_PROPS("id", "big"), NULL) < 0);
    EXPECT(dbGetField(db, "Local", text, DB_PROPS("id", "big"), NULL) == NULL);
    EXPECT(dbFind(db, "Local", NULL, DB_PARAMS(.next = text)) == NULL);
    DbItem *item = dbGet(db, "Local", DB_PROPS("id", "big"), NULL);
    EXPECT_TEXT(dbField(item, text), NULL);
    dbFreeItem(item);
    free(text);
    EXPECT_NUMBER(count(db, "Local", NULL), 1);
    claim("texts of 2 MB in any place are refused");
}

static void keysAreLimited(Db *db)
{
    size_t room = KEY_BYTES_MAX - strlen("local#");
    char *id = repeat('k', room + 1);
    EXPECT_CODE(create(db, "Local", DB_PROPS("id", id)), DB_ERR_LIMIT);
    EXPECT(!exists(db, "Local", DB_PROPS("id", id)));
    id[room] = '\0';
    EXPECT_CODE(create(db, "Local", DB_PROPS("id", id)), 0);
    EXPECT(exists(db, "Local", DB_PROPS("id", id)));
    EXPECT_NUMBER(dbRemove(db, "Local", DB_PROPS("id", id), NULL), 1);
    free(id);
    claim("a key of 1 KB is kept, and one of a byte more is refused");
}

/** An item of Local whose `extra` makes it nest `depth` deep, itself counted. */
static int createNested(Db *db, int depth)
{
    char *json = calloc(1, (size_t) depth * 8 + 64);
    if (json == NULL) abort();
    char *end = json + sprintf(json, "{id:'deep',extra:");
    for (int level = 1; level < depth; level++) end += sprintf(end, "{a:");
    end += sprintf(end, "1");
    for (int level = 0; level < depth; level++) *end++ = '}';
    int code = create(db, "Local", DB_JSON(json));
    free(json);
    return code;
}

static void nestingIsLimited(Db *db)
{
    EXPECT_CODE(createNested(db, NESTING_MAX), 0);
    DbItem *item = dbGet(db, "Local", DB_PROPS("id", "deep"), NULL);
    EXPECT(item != NULL);
    dbFreeItem(item);
    EXPECT_NUMBER(dbRemove(db, "Local", DB_PROPS("id", "deep"), NULL), 1);
    EXPECT(createNested(db, NESTING_MAX + 1) < 0);
    EXPECT(createNested(db, 1000) < 0);
    EXPECT(createNested(db, 100000) < 0);
    EXPECT(!exists(db, "Local", DB_PROPS("id", "deep")));
    claim("an item nested 56 deep is kept, and a deeper one is refused");
}

static void manyPropertiesAreKept(Db *db)
{
    enum { PROPERTIES = 2000 };
    char *json = malloc(PROPERTIES * 24 + 64);
    if (json == NULL) abort();
    char *end = json + sprintf(json, "{id:'wide',extra:{");
    for (int index = 0; index < PROPERTIES; index++) end += sprintf(end, "p%d:%d,", index, index);
    sprintf(end, "}}");
    EXPECT_CODE(create(db, "Local", DB_JSON(json)), 0);
    free(json);
    DbItem *item = dbGet(db, "Local", DB_PROPS("id", "wide"), NULL);
    EXPECT_NUMBER(dbFieldNumber(item, "extra.p0", -1), 0);
    EXPECT_NUMBER(dbFieldNumber(item, "extra.p1999", -1), 1999);
    dbFreeItem(item);
    claim("an object of 2000 members is kept");
}

int main(void)
{
    scenarioBegin();
    Db *db = openScratch("limits.db", 0);
    REQUIRE(db != NULL);
    itemsAreLimited(db);
    keysAreLimited(db);
    nestingIsLimited(db);
    manyPropertiesAreKept(db);
    dbClose(db);
    return scenarioEnd();
}
