/*
    A firmware gives properties in the three ways there are: as pairs of texts, as JSON5 text, and as a cJSON object. The
    three must make the same item. It finds items by operators. Text that is no JSON must be refused with the place of the
    fault, and a malformed set of pairs must be refused too.
 */
#include "support/check.h"

#include <cjson/cJSON.h>

static void threeWaysMakeTheSame(Db *db)
{
    const char *same = "{\"id\":\"x\",\"label\":\"Pump\",\"level\":21.5,\"active\":false}";
    cJSON *object = cJSON_Parse(same);
    const DbProps *ways[] = {
        DB_PROPS("id", "x", "label", "Pump", "level", "21.5", "active", "false"),
        DB_JSON(same),
        DB_JSON("// JSON5\n{ id: 'x', label: \"Pump\", level: +21.50, active: false, /* and */ }"),
        DB_CJSON(object),
    };
    for (size_t index = 0; index < sizeof ways / sizeof *ways; index++) {
        DbItem *item = dbCreate(db, "Gauge", ways[index], NULL);
        EXPECT(item != NULL);
        EXPECT_TEXT(dbField(item, "label"), "Pump");
        EXPECT(dbFieldDouble(item, "level", 0) == 21.5);
        EXPECT_TEXT(dbField(item, "active"), "false");
        cJSON *tree = dbItemToCJSON(item);
        EXPECT(cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(tree, "level")));
        EXPECT(cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(tree, "active")));
        EXPECT(cJSON_IsString(cJSON_GetObjectItemCaseSensitive(tree, "label")));
        cJSON_Delete(tree);
        tree = cJSON_Parse(dbItemJson(item));
        EXPECT(cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(tree, "level")));
        cJSON_Delete(tree);
        dbFreeItem(item);
        EXPECT_NUMBER(dbRemove(db, "Gauge", DB_PROPS("id", "x"), NULL), 1);
    }
    EXPECT_TEXT(cJSON_GetStringValue(cJSON_GetObjectItem(object, "label")), "Pump");
    cJSON_Delete(object);
    claim("pairs, JSON, JSON5 and cJSON make the same item, and the cJSON object stays the caller's");
}

static void operatorsSelect(Db *db)
{
    for (int level = 0; level < 10; level++) {
        const char *id = format("o%d", level);
        EXPECT_CODE(create(db, "Gauge", DB_JSON(format("{id: '%s', label: 'L%d', level: %d}", id, level, level * 10))), 0);
    }
    EXPECT_NUMBER(count(db, "Gauge", DB_JSON("{level: 50}")), 1);
    EXPECT_NUMBER(count(db, "Gauge", DB_JSON("{level: {'=': 50}}")), 1);
    EXPECT_NUMBER(count(db, "Gauge", DB_JSON("{level: {'<>': 50}}")), 9);
    EXPECT_NUMBER(count(db, "Gauge", DB_JSON("{level: {'<': 50}}")), 5);
    EXPECT_NUMBER(count(db, "Gauge", DB_JSON("{level: {'<=': 50}}")), 6);
    EXPECT_NUMBER(count(db, "Gauge", DB_JSON("{level: {'>': 50}}")), 4);
    EXPECT_NUMBER(count(db, "Gauge", DB_JSON("{level: {'>=': 50}}")), 5);
    EXPECT_NUMBER(count(db, "Gauge", DB_JSON("{level: {between: [20, 40]}}")), 3);
    EXPECT_NUMBER(count(db, "Gauge", DB_JSON("{label: {begins: 'L'}}")), 10);
    EXPECT_NUMBER(count(db, "Gauge", DB_JSON("{label: {begins: 'L3'}, level: {'>': 10}}")), 1);
    claim("operators select by any field, numbers as numbers");

    EXPECT_NUMBER(count(db, "Gauge", DB_JSON("{id: {begins: 'o'}}")), 10);
    EXPECT_NUMBER(count(db, "Gauge", DB_JSON("{id: {'>=': 'o7'}}")), 3);
    EXPECT_NUMBER(count(db, "Gauge", DB_JSON("{id: {between: ['o2', 'o4']}}")), 3);
    claim("operators select by the field that the key is made of");

    EXPECT_CODE(update(db, "Gauge", DB_JSON("{id: 'o1', place: {floor: 2}}")), 0);
    EXPECT_NUMBER(count(db, "Gauge", DB_JSON("{place: {floor: 2}}")), 1);
    EXPECT_NUMBER(count(db, "Gauge", DB_JSON("{place: {floor: 3}}")), 0);
    EXPECT_NUMBER(dbCount(db, "Gauge", DB_JSON("{level: {'~': 1}}"), NULL), DB_ERR_FIELD);
    EXPECT_NUMBER(dbCount(db, "Gauge", DB_JSON("{label: {beginsWith: 'L'}}"), NULL), DB_ERR_FIELD);
    EXPECT_ERROR_NAMES("label");
    EXPECT_CODE(dbRemove(db, "Gauge", DB_JSON("{id: {from: 'o1'}}"), DB_PARAMS(.many = true)), DB_ERR_FIELD);
    EXPECT(dbFind(db, "Gauge", DB_JSON("{level: {between: [1]}}"), NULL) == NULL);
    EXPECT(dbGetErrorCode() < 0);
    EXPECT(dbFind(db, "Gauge", DB_JSON("{label: {begins: 1}}"), NULL) == NULL);
    EXPECT(dbGetErrorCode() < 0);
    claim("an object that is no operator is a value like others, which has to fit; an operator without its operand is refused");
}

static void malformedIsRefused(Db *db)
{
    const char *malformed[] = {"",     "   ",       "{",          "}",         "{id:}",      "{id: 'x'",     "{id: 'x}",
                               "[1]",  "'x'",       "12",         "{id: NaN}", "{id: 'x'}}", "{id: 'x', ,}", "{'id' 'x'}",
                               "nope", "{id:'\\0'}", "{id: 'a\nb'}", "{id: /*}", "{id: \xff}", "{id: 0x}",     "null"};
    for (size_t index = 0; index < sizeof malformed / sizeof *malformed; index++) {
        EXPECT(dbCreate(db, "Note", DB_JSON(malformed[index]), NULL) == NULL);
        if (!EXPECT(dbGetErrorCode() < 0)) note("accepted: %s", malformed[index]);
    }
    EXPECT_NUMBER(count(db, "Note", NULL), 0);
    claim("text that is no JSON object is refused");

    EXPECT_CODE(create(db, "Note", DB_JSON("{\n  id: 'x',\n  text: 'y'\n  count: 1\n}")), DB_ERR_JSON);
    EXPECT_ERROR_NAMES("line 4");
    claim("the error of JSON text names the line");

    const char *odd[] = {"id", "x", "text"};
    const char *noName[] = {NULL, "x"};
    EXPECT(dbCreate(db, "Note", &(DbProps){.size = sizeof(DbProps), .count = 3, .pairs = odd}, NULL) == NULL);
    EXPECT_FAILED(DB_ERR_MISUSE);
    EXPECT(dbCreate(db, "Note", &(DbProps){.size = sizeof(DbProps), .count = 2, .pairs = noName}, NULL) == NULL);
    EXPECT_FAILED(DB_ERR_MISUSE);
    EXPECT(dbCreate(db, "Note", &(DbProps){.size = sizeof(DbProps), .count = 2, .pairs = NULL}, NULL) == NULL);
    EXPECT_FAILED(DB_ERR_MISUSE);
    EXPECT(dbCreate(db, "Note", &(DbProps){.size = 0}, NULL) == NULL);
    EXPECT_FAILED(DB_ERR_MISUSE);
    EXPECT_NUMBER(count(db, "Note", NULL), 0);
    claim("an odd number of texts, a name that is NULL and a structure without a size are misuse");

    cJSON *array = cJSON_CreateArray();
    EXPECT(dbCreate(db, "Note", DB_CJSON(array), NULL) == NULL);
    EXPECT(dbGetErrorCode() < 0);
    cJSON_Delete(array);
    cJSON *deep = cJSON_CreateObject();
    cJSON *inner = deep;
    for (int depth = 0; depth < 100; depth++) inner = cJSON_AddObjectToObject(inner, "extra");
    EXPECT(dbCreate(db, "Local", DB_CJSON(deep), NULL) == NULL);
    EXPECT(dbGetErrorCode() < 0);
    cJSON_Delete(deep);
    claim("a cJSON value that is no object, or nested too deeply, is refused");
}

int main(void)
{
    scenarioBegin();
    Db *db = openScratch("properties.db", 0);
    REQUIRE(db != NULL);
    threeWaysMakeTheSame(db);
    operatorsSelect(db);
    malformedIsRefused(db);
    dbClose(db);
    return scenarioEnd();
}
