/*
    A firmware asks questions: by expressions as OneTable writes them, for some fields alone, for a number alone; and
    walks through an index page by page while items come and go.
 */
#include "support/check.h"

static Db *openIndexed(void)
{
    Db *db = dbOpen(scratch("queries.db"), testData("indexes.json5"), DB_DURABILITY_NORMAL);
    if (db != NULL) dbAddContext(db, "deviceId", "d1");
    return db;
}

static int64_t found(Db *db, const char *filter)
{
    return dbCount(db, "Fault", NULL, DB_PARAMS(.filter = filter));
}

static void expectWrong(Db *db, const char *filter, int code, const char *part)
{
    EXPECT_CODE((int) found(db, filter), code);
    EXPECT_FAILED(code);
    EXPECT_ERROR_NAMES(part);
}

#define ITEMS 90

/** Walk through the index; each page's last item is removed, when it is not one of those that stay, and another is added. */
static void walk(Db *db, bool isReverse)
{
    int times[ITEMS] = {0}, pages = 0;
    DbList *list = NULL;
    do {
        DbList *page = dbFind(db, "Fault", DB_PROPS("severity", "walk"),
                              DB_PARAMS(.index = "gs1", .limit = 7, .next = dbNext(db, list), .reverse = isReverse));
        dbFreeList(list);
        list = page;
        if (!EXPECT(list != NULL)) return;
        const DbItem *item;
        size_t index;
        const char *last = NULL;
        for (DB_ITERATE(list, item, index)) {
            int number = (int) dbFieldNumber(item, "count", -1);
            if (number >= 0 && number < ITEMS) times[number]++;
            last = dbField(item, "id");
        }
        if (last != NULL && last[0] == 'x') EXPECT_NUMBER(dbRemove(db, "Fault", DB_PROPS("id", last), NULL), 1);
        for (int more = 0; more < 3; more++) {
            const char *id = format("x%d%d", pages, more), *at = format("2026-11-%02d", 1 + (pages + more * 7) % 10);
            EXPECT_CODE(dbSet(db, "Fault", DB_PROPS("id", id, "severity", "walk", "at", at), NULL), 0);
        }
        pages++;
    } while (dbNext(db, list) != NULL && pages < 200);
    dbFreeList(list);
    bool isRight = true;
    for (int index = 0; index < ITEMS; index++) isRight = isRight && times[index] == 1;
    EXPECT(isRight);
    note("%d pages", pages);
}

static void filters(Db *db)
{
    EXPECT_NUMBER(found(db, "${severity} = {critical} and ${count} > {5}"), 2);
    EXPECT_NUMBER(found(db, "(${severity} = {low} or ${seen} = {true}) and not ${count} = {5}"), 1);
    EXPECT_NUMBER(found(db, "${count} between {5} and {7} AND attribute_exists(${seen})"), 2);
    EXPECT_NUMBER(found(db, "begins_with(${net.ip}, {10.}) or contains(${tags}, {cold})"), 1);
    EXPECT_NUMBER(found(db, "${net.dns.1} = {y} and size(${net.dns}) = {2}"), 1);
    EXPECT_NUMBER(found(db, "${severity} in ({low}, {middle})"), 1);
    EXPECT_NUMBER(found(db, "attribute_not_exists(${at}) or ${at} > {2026-11-01}"), 3);
    claim("a filter says what OneTable's where says");

    EXPECT_NUMBER(dbCount(db, "Fault", NULL, DB_PARAMS(.filter = "${severity} = @{s}", .substitutions = DB_PROPS("s", "low"))), 1);
    EXPECT_NUMBER(dbCount(db, "Fault", NULL, DB_PARAMS(.filter = "${count} in (@{...n})",
                                                       .substitutions = DB_JSON("{n: [5, 7, 8]}"))), 2);
    claim("substitutions stand for values");
}

static void wrongFilters(Db *db)
{
    expectWrong(db, "${severity} = critical", DB_ERR_MISUSE, "position 15");
    expectWrong(db, "${severity} = {critical} and", DB_ERR_MISUSE, "position 29");
    expectWrong(db, "${count} > {many}", DB_ERR_FIELD, "count");
    expectWrong(db, "", DB_ERR_MISUSE, "position 1");
    char *deep = repeat('(', 4000);
    expectWrong(db, deep, DB_ERR_LIMIT, "filter");
    free(deep);
    char *longText = repeat(' ', 9000);
    expectWrong(db, longText, DB_ERR_LIMIT, "filter");
    free(longText);
    claim("a filter that is not valid is an error that names the position");
}

static void fieldsAndCounts(Db *db)
{
    DbItem *item = dbFindOne(db, "Fault", DB_PROPS("id", "a"), DB_PARAMS(.fields = "id, net.ip"));
    EXPECT_TEXT(dbItemJson(item), "{\"id\":\"a\",\"net\":{\"ip\":\"10.0.0.1\"}}");
    dbFreeItem(item);
    item = dbGet(db, "Fault", DB_PROPS("id", "a"), DB_PARAMS(.fields = "count"));
    EXPECT_TEXT(dbItemJson(item), "{\"count\":7}");
    dbFreeItem(item);
    EXPECT(dbFindOne(db, "Fault", NULL, DB_PARAMS(.fields = "id,,count")) == NULL);
    EXPECT_FAILED(DB_ERR_MISUSE);
    claim("items have the fields that are asked for");

    DbList *list = dbFind(db, "Fault", DB_PROPS("severity", "critical"), DB_PARAMS(.count = true));
    EXPECT_NUMBER(dbListCount(list), 2);
    EXPECT(dbListItem(list, 0) == NULL);
    EXPECT(dbNext(db, list) == NULL);
    dbFreeList(list);
    EXPECT_NUMBER(dbCount(db, "Fault", NULL, NULL), 3);
    EXPECT_NUMBER(dbCount(db, "Fault", NULL, DB_PARAMS(.limit = 2)), 2);
    EXPECT_NUMBER(dbCount(db, "Nothing", NULL, NULL), DB_ERR_MODEL);
    EXPECT_NUMBER(dbCount(NULL, "Fault", NULL, NULL), DB_ERR_MISUSE);
    claim("a count counts");
}

static void pages(Db *db)
{
    for (int index = 0; index < ITEMS; index++) {
        const char *id = format("k%02d", index), *number = format("%d", index), *at = format("2026-11-%02d", 1 + index % 5);
        EXPECT_CODE(create(db, "Fault", DB_PROPS("id", id, "severity", "walk", "count", number, "at", at)), 0);
    }
    walk(db, false);
    walk(db, true);
    claim("pages of an index show every item that stays once, while others come and go");

    DbList *list = dbFind(db, "Fault", DB_PROPS("severity", "walk"), DB_PARAMS(.index = "gs1", .limit = 1));
    EXPECT(dbFind(db, "Fault", NULL, DB_PARAMS(.next = dbNext(db, list))) == NULL);
    EXPECT_FAILED(DB_ERR_MISUSE);
    dbFreeList(list);
    claim("a token of one index is refused by another");

    EXPECT(dbRemove(db, "Fault", DB_PROPS("severity", "walk"), DB_PARAMS(.index = "gs1", .filter = "${count} >= {0}", .many = true)) == ITEMS);
    EXPECT_NUMBER(dbCount(db, "Fault", NULL, DB_PARAMS(.filter = "begins_with(${id}, {k})")), 0);
    claim("a removal selects by index and filter");
}

int main(void)
{
    scenarioBegin();
    Db *db = openIndexed();
    REQUIRE(db != NULL);
    EXPECT_CODE(create(db, "Fault", DB_JSON("{id: 'a', severity: 'critical', count: 7, seen: true, tags: ['hot'],"
                                            " net: {ip: '10.0.0.1', dns: ['x', 'y']}}")), 0);
    EXPECT_CODE(create(db, "Fault", DB_JSON("{id: 'b', severity: 'critical', count: 10, at: '2026-11-02'}")), 0);
    EXPECT_CODE(create(db, "Fault", DB_JSON("{id: 'c', severity: 'low', count: 5, seen: false}")), 0);
    filters(db);
    wrongFilters(db);
    fieldsAndCounts(db);
    pages(db);
    dbClose(db);
    return scenarioEnd();
}
