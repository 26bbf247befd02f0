/*
    A firmware walks through a hundred items, page by page, forwards and backwards, with a filter of its own, while items
    come and go: among them the very item that its page token stands on. Every item that was there all the time must be
    seen exactly once, and no token may be lost with its item.
 */
#include "support/check.h"

#define ITEMS 100

typedef struct Seen {
    int times[ITEMS];
    int pages;
    int last;
    bool isOrdered;
} Seen;

static void fill(Db *db)
{
    dbRemove(db, "Note", NULL, DB_PARAMS(.many = true));
    for (int index = 0; index < ITEMS; index++) {
        EXPECT_CODE(create(db, "Note", DB_PROPS("id", format("n%03d", index), "count", format("%d", index))), 0);
    }
}

static void see(Seen *seen, const DbList *list, bool isReverse)
{
    const DbItem *item;
    size_t index;
    seen->pages++;
    for (DB_ITERATE(list, item, index)) {
        int number = (int) dbFieldNumber(item, "count", -1);
        if (number < 0 || number >= ITEMS) continue;
        seen->times[number]++;
        if (seen->last >= 0 && (isReverse ? number >= seen->last : number <= seen->last)) seen->isOrdered = false;
        seen->last = number;
    }
}

/** Walk to the end; `onPage` may change the database between two pages. */
static Seen walk(Db *db, DbParams params, void (*onPage)(Db *, const DbList *))
{
    Seen seen = {.last = -1, .isOrdered = true};
    DbList *list = NULL;
    do {
        const char *token = dbNext(db, list);
        params.next = token;
        DbList *page = dbFind(db, "Note", NULL, &params);
        dbFreeList(list);
        list = page;
        if (!EXPECT(list != NULL)) break;
        EXPECT(params.limit == 0 || dbListCount(list) <= params.limit);
        see(&seen, list, params.reverse);
        if (onPage != NULL) onPage(db, list);
    } while (dbNext(db, list) != NULL && seen.pages < 1000);
    dbFreeList(list);
    return seen;
}

static bool sawEachOnce(const Seen *seen, int step)
{
    bool isRight = true;
    for (int index = 0; index < ITEMS; index++) isRight = isRight && seen->times[index] == (index % step == 0 ? 1 : 0);
    return isRight;
}

static void removeLast(Db *db, const DbList *list)
{
    size_t size = dbListCount(list);
    if (size == 0) return;
    const char *id = dbField(dbListItem(list, size - 1), "id");
    EXPECT_NUMBER(dbRemove(db, "Note", DB_PROPS("id", id), NULL), 1);
}

static bool isThird(void *context, const DbItem *item)
{
    ++*(int *) context;
    return dbFieldNumber(item, "count", 0) % 3 == 0;
}

int main(void)
{
    scenarioBegin();
    Db *db = openScratch("paging.db", 0);
    REQUIRE(db != NULL);

    const uint32_t limits[] = {1, 7, 50, 99, 100, 101};
    fill(db);
    for (size_t index = 0; index < sizeof limits / sizeof *limits; index++) {
        Seen seen = walk(db, (DbParams){.size = sizeof(DbParams), .limit = limits[index]}, NULL);
        EXPECT(sawEachOnce(&seen, 1) && seen.isOrdered);
        EXPECT_NUMBER(seen.pages, (ITEMS + limits[index] - 1) / limits[index]);
        seen = walk(db, (DbParams){.size = sizeof(DbParams), .limit = limits[index], .reverse = true}, NULL);
        EXPECT(sawEachOnce(&seen, 1) && seen.isOrdered);
    }
    claim("pages of any size show every item once, in order, forwards and backwards");

    Seen seen = walk(db, (DbParams){.size = sizeof(DbParams)}, NULL);
    EXPECT(sawEachOnce(&seen, 1));
    EXPECT_NUMBER(seen.pages, 1);
    claim("without a limit everything is one page, and there is no next one");

    seen = walk(db, (DbParams){.size = sizeof(DbParams), .limit = 9}, removeLast);
    EXPECT(sawEachOnce(&seen, 1) && seen.isOrdered);
    EXPECT_NUMBER(count(db, "Note", NULL), ITEMS - (ITEMS + 8) / 9);
    fill(db);
    seen = walk(db, (DbParams){.size = sizeof(DbParams), .limit = 9, .reverse = true}, removeLast);
    EXPECT(sawEachOnce(&seen, 1) && seen.isOrdered);
    claim("a token survives the removal of the item it stands on");

    int asked = 0;
    fill(db);
    seen = walk(db, (DbParams){.size = sizeof(DbParams), .limit = 5, .where = isThird, .whereContext = &asked}, NULL);
    EXPECT(sawEachOnce(&seen, 3) && seen.isOrdered);
    EXPECT(asked >= ITEMS);
    claim("a filter in C fills its pages, and sees every item");

    DbItem *one = dbFindOne(db, "Note", NULL, DB_PARAMS(.where = isThird, .whereContext = &asked, .reverse = true));
    EXPECT_TEXT(dbField(one, "id"), "n099");
    dbFreeItem(one);
    EXPECT_NUMBER(dbRemove(db, "Note", NULL, DB_PARAMS(.many = true, .where = isThird, .whereContext = &asked)), 34);
    EXPECT_NUMBER(count(db, "Note", NULL), ITEMS - 34);
    claim("a filter in C selects for dbFindOne and dbRemove too");

    dbClose(db);
    return scenarioEnd();
}
