/*
    A firmware leaves to the schema what the schema knows: defaults, generated ids, values made from other fields, required
    fields, choices, times of creation and change, and the context of the device. Each rule must be applied when an item
    is made and when it is changed, and a property that does not fit must be refused by name, with nothing stored.
 */
#include "support/check.h"

static void valuesAreFilledIn(Db *db)
{
    int64_t before_ms = wall_ms();
    DbItem *item = dbCreate(db, "Gauge", DB_PROPS("label", "Pump"), NULL);
    int64_t after_ms = wall_ms();
    REQUIRE(item != NULL);
    EXPECT_TEXT(dbField(item, "kind"), "temperature");
    EXPECT_TEXT(dbField(item, "unit"), "C");
    EXPECT_NUMBER(dbFieldNumber(item, "ticks", -1), 0);
    EXPECT(dbFieldBool(item, "active", false));
    claim("defaults are filled in, each in its own type");

    const char *id = dbField(item, "id");
    EXPECT(id != NULL && strlen(id) == 26 && strspn(id, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") == 26);
    DbItem *second = dbCreate(db, "Gauge", DB_PROPS("label", "Pump"), NULL);
    EXPECT(second != NULL && id != NULL && strcmp(id, dbField(second, "id")) != 0);
    dbFreeItem(second);
    claim("a generated id is a ULID, and another one each time");

    EXPECT_TEXT(dbField(item, "title"), "Pump in C");
    claim("a value is made from other fields");

    int64_t created_ms = dbFieldDate(item, "created", 0);
    EXPECT(created_ms >= before_ms && created_ms <= after_ms);
    EXPECT_NUMBER(dbFieldDate(item, "updated", 0), created_ms);
    EXPECT(dbField(item, "created") != NULL && strlen(dbField(item, "created")) == 24);
    pause_ms(5);
    DbItem *changed = dbUpdate(db, "Gauge", DB_PROPS("id", id, "unit", "bar"), NULL);
    EXPECT_NUMBER(dbFieldDate(changed, "created", 0), created_ms);
    EXPECT(dbFieldDate(changed, "updated", 0) > created_ms);
    claim("created stays, and updated follows the change");

    EXPECT_TEXT(dbField(changed, "title"), "Pump in bar");
    dbFreeItem(changed);
    dbFreeItem(item);
    claim("a value made from other fields follows them");

    item = dbCreate(db, "Gauge", DB_PROPS("label", "x", "unit", "K", "kind", "flow", "active", "false", "ticks", "3"), NULL);
    EXPECT_TEXT(dbField(item, "unit"), "K");
    EXPECT_TEXT(dbField(item, "kind"), "flow");
    EXPECT(!dbFieldBool(item, "active", true));
    EXPECT_NUMBER(dbFieldNumber(item, "ticks", -1), 3);
    dbFreeItem(item);
    claim("what the caller gives goes before a default");
}

static void contextIsUsed(Db *db)
{
    DbItem *item = dbCreate(db, "Note", DB_PROPS("id", "mine", "deviceId", "d99"), NULL);
    EXPECT_TEXT(dbField(item, "deviceId"), "d1");
    dbFreeItem(item);
    EXPECT(exists(db, "Note", DB_PROPS("id", "mine")));
    claim("the context overrides what the caller passes");

    EXPECT_CODE(dbAddContext(db, "deviceId", "d2"), 0);
    EXPECT(!exists(db, "Note", DB_PROPS("id", "mine")));
    EXPECT_NUMBER(count(db, "Note", NULL), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "mine", "text", "of d2")), 0);
    EXPECT_CODE(dbAddContext(db, "deviceId", "d1"), 0);
    EXPECT_NUMBER(count(db, "Note", NULL), 1);
    item = dbGet(db, "Note", DB_PROPS("id", "mine"), NULL);
    EXPECT_TEXT(dbField(item, "text"), NULL);
    dbFreeItem(item);
    claim("the context is part of the key: two devices have two items");

    EXPECT_CODE(dbAddContext(db, "deviceId", NULL), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "lost")), DB_ERR_FIELD);
    EXPECT_ERROR_NAMES("deviceId");
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "found", "deviceId", "d3")), 0);
    EXPECT_NUMBER(count(db, "Note", NULL), 3);
    EXPECT_CODE(dbAddContext(db, "deviceId", "d1"), 0);
    claim("without a context value the caller's counts, and is required");
}

static void misfitsAreRefused(Db *db)
{
    static const struct {
        const char *json;
        const char *field;
    } misfits[] = {
        {"{id: 'm'}", "label"},
        {"{id: 'm', label: null}", "label"},
        {"{id: 'm', label: 'x', kind: 'sound'}", "kind"},
        {"{id: 'm', label: 'x', level: 'high'}", "level"},
        {"{id: 'm', label: 'x', level: [1]}", "level"},
        {"{id: 'm', label: 'x', active: 'perhaps'}", "active"},
        {"{id: 'm', label: 'x', seenAt: 'yesterday'}", "seenAt"},
        {"{id: 'm', label: 'x', tags: {a: 1}}", "tags"},
        {"{id: 'm', label: 'x', network: [1]}", "network"},
        {"{id: 'm', label: {a: 1}}", "label"},
    };
    const size_t misfitCount = sizeof misfits / sizeof *misfits;
    for (size_t index = 0; index < misfitCount; index++) {
        EXPECT_CODE(create(db, "Gauge", DB_JSON(misfits[index].json)), DB_ERR_FIELD);
        EXPECT_ERROR_NAMES("Gauge");
        EXPECT_ERROR_NAMES(misfits[index].field);
        EXPECT(!exists(db, "Gauge", DB_PROPS("id", "m")));
    }
    claim("an item with a property that does not fit is refused by model and field");

    EXPECT_CODE(create(db, "Gauge", DB_PROPS("id", "m", "label", "x", "level", "1")), 0);
    for (size_t index = 1; index < misfitCount; index++) {
        EXPECT_CODE(update(db, "Gauge", DB_JSON(misfits[index].json)), DB_ERR_FIELD);
        EXPECT_ERROR_NAMES(misfits[index].field);
    }
    EXPECT_CODE(dbSetField(db, "Gauge", "level", "high", DB_PROPS("id", "m"), NULL), DB_ERR_FIELD);
    EXPECT_CODE(dbSetField(db, "Gauge", "label", NULL, DB_PROPS("id", "m"), NULL), DB_ERR_FIELD);
    EXPECT_CODE(dbSetString(db, "Gauge", "kind", "sound", DB_PROPS("id", "m"), NULL), DB_ERR_FIELD);
    DbItem *item = dbGet(db, "Gauge", DB_PROPS("id", "m"), NULL);
    EXPECT_TEXT(dbField(item, "label"), "x");
    EXPECT_NUMBER(dbFieldNumber(item, "level", 0), 1);
    dbFreeItem(item);
    claim("a change that does not fit is refused, and the item stays as it was");

    EXPECT_CODE(create(db, "Local", DB_PROPS("text", "no id")), DB_ERR_FIELD);
    EXPECT_ERROR_NAMES("id");
    claim("a field of the key that is neither given nor generated is required");
}

int main(void)
{
    scenarioBegin();
    Db *db = openScratch("rules.db", 0);
    REQUIRE(db != NULL);
    valuesAreFilledIn(db);
    contextIsUsed(db);
    misfitsAreRefused(db);
    dbClose(db);
    return scenarioEnd();
}
