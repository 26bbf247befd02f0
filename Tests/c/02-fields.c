/*
    A firmware keeps values of every type: texts, whole numbers to the last of 64 bits, fractions, booleans, dates, arrays
    and objects. It sets them one by one with the typed calls and reads them back, from the database and from a snapshot.
    Each must come back as the same value; what is not there must come back as the caller's default.
 */
#include "support/check.h"

#include <float.h>
#include <math.h>

static void singleFieldsAreSet(Db *db)
{
    const DbProps *gauge = DB_PROPS("id", "g");
    EXPECT_CODE(dbSetField(db, "Gauge", "label", "Boiler", gauge, NULL), 0);
    EXPECT_CODE(dbSetBool(db, "Gauge", "active", false, gauge, NULL), 0);
    EXPECT_CODE(dbSetNum(db, "Gauge", "ticks", INT64_MAX, gauge, NULL), 0);
    EXPECT_CODE(dbSetDouble(db, "Gauge", "level", 21.1, gauge, NULL), 0);
    EXPECT_CODE(dbSetDate(db, "Gauge", "seenAt", 1795218048312, gauge, NULL), 0);
    EXPECT_CODE(dbSetString(db, "Gauge", "unit", "bar", gauge, NULL), 0);
    claim("each typed dbSet call succeeds on an item that exists");

    EXPECT(!dbGetBool(db, "Gauge", "active", gauge, true));
    EXPECT_NUMBER(dbGetNum(db, "Gauge", "ticks", gauge, 0), INT64_MAX);
    EXPECT(dbGetDouble(db, "Gauge", "level", gauge, 0) == 21.1);
    EXPECT_NUMBER(dbGetDate(db, "Gauge", "seenAt", gauge, 0), 1795218048312);
    char *text = dbGetString(db, "Gauge", "unit", gauge, "none");
    EXPECT_TEXT(text, "bar");
    dbFree(text);
    text = dbGetField(db, "Gauge", "label", gauge, NULL);
    EXPECT_TEXT(text, "Boiler");
    dbFree(text);
    text = dbGetField(db, "Gauge", "ticks", gauge, NULL);
    EXPECT_TEXT(text, "9223372036854775807");
    dbFree(text);
    claim("each typed dbGet call reads back the same value, whole numbers to 64 bits");

    const double doubles[] = {0.1, -0.0, 1e300, DBL_MIN, DBL_MAX, -123456.789, 1.0 / 3};
    for (size_t index = 0; index < sizeof doubles / sizeof *doubles; index++) {
        EXPECT_CODE(dbSetDouble(db, "Gauge", "level", doubles[index], gauge, NULL), 0);
        EXPECT(dbGetDouble(db, "Gauge", "level", gauge, 7) == doubles[index]);
    }
    const int64_t whole[] = {0, -1, INT64_MIN, INT64_C(9007199254740993), INT64_C(4294967296)};
    for (size_t index = 0; index < sizeof whole / sizeof *whole; index++) {
        EXPECT_CODE(dbSetNum(db, "Gauge", "ticks", whole[index], gauge, NULL), 0);
        EXPECT_NUMBER(dbGetNum(db, "Gauge", "ticks", gauge, 7), whole[index]);
    }
    claim("numbers at the border of their type come back exactly");

    EXPECT_CODE(dbSetDouble(db, "Gauge", "level", NAN, gauge, NULL), DB_ERR_FIELD);
    EXPECT_CODE(dbSetDouble(db, "Gauge", "level", INFINITY, gauge, NULL), DB_ERR_FIELD);
    EXPECT_CODE(dbSetDouble(db, "Gauge", "level", -INFINITY, gauge, NULL), DB_ERR_FIELD);
    EXPECT(dbGetDouble(db, "Gauge", "level", gauge, 7) == 1.0 / 3);
    claim("NaN and infinity are refused, and the value stays");
}

static void singleFieldsAreMissing(Db *db)
{
    const DbProps *gauge = DB_PROPS("id", "g");
    const DbProps *nobody = DB_PROPS("id", "nobody");
    EXPECT_CODE(dbSetField(db, "Gauge", "tags", NULL, gauge, NULL), 0);
    EXPECT(dbGetField(db, "Gauge", "tags", gauge, NULL) == NULL);
    EXPECT_FAILED(DB_ERR_NOT_FOUND);
    EXPECT(dbGetField(db, "Gauge", "label", nobody, NULL) == NULL);
    EXPECT_FAILED(DB_ERR_NOT_FOUND);
    EXPECT(dbGetBool(db, "Gauge", "active", nobody, true));
    EXPECT_NUMBER(dbGetNum(db, "Gauge", "ticks", nobody, -5), -5);
    EXPECT_NUMBER(dbGetNum(db, "Gauge", "label", gauge, -5), -5);
    EXPECT(dbGetDouble(db, "Gauge", "level", nobody, 2.5) == 2.5);
    EXPECT_NUMBER(dbGetDate(db, "Gauge", "seenAt", nobody, 99), 99);
    char *text = dbGetString(db, "Gauge", "unit", nobody, "none");
    EXPECT_TEXT(text, "none");
    dbFree(text);
    EXPECT(dbGetString(db, "Gauge", "unit", nobody, NULL) == NULL);
    claim("what is missing comes back as the default of the caller");

    EXPECT_CODE(dbSetField(db, "Local", "text", "x", nobody, NULL), DB_ERR_NOT_FOUND);
    EXPECT_CODE(dbSetField(db, "Local", "text", "x", nobody, DB_PARAMS(.upsert = true)), 0);
    text = dbGetField(db, "Local", "text", nobody, NULL);
    EXPECT_TEXT(text, "x");
    dbFree(text);
    claim("dbSetField makes an item with upsert only");
}

static void snapshotsAreRead(Db *db)
{
    DbItem *item = dbCreate(db, "Gauge",
                            DB_JSON("{ id: 's', label: 'Pump', level: -2.5, ticks: 12345678901234567, active: true,"
                                    "  seenAt: '2026-11-20T23:40:48.312Z', tags: ['a', 'b', 3],"
                                    "  network: { ip: '10.0.0.7', dns: ['1.1.1.1', '8.8.8.8'], mtu: 1500, up: false } }"),
                            NULL);
    REQUIRE(item != NULL);
    EXPECT_TEXT(dbField(item, "label"), "Pump");
    EXPECT_TEXT(dbField(item, "active"), "true");
    EXPECT_TEXT(dbField(item, "ticks"), "12345678901234567");
    EXPECT_TEXT(dbField(item, "tags"), "[\"a\",\"b\",3]");
    EXPECT_TEXT(dbField(item, "nothing"), NULL);
    EXPECT_NUMBER(dbFieldNumber(item, "ticks", 0), 12345678901234567);
    EXPECT_NUMBER(dbFieldNumber(item, "level", 0), -2);
    EXPECT(dbFieldDouble(item, "level", 0) == -2.5);
    EXPECT(dbFieldBool(item, "active", false));
    EXPECT_NUMBER(dbFieldDate(item, "seenAt", 0), 1795218048312);
    claim("a snapshot gives each field by its type");

    EXPECT_TEXT(dbField(item, "network.ip"), "10.0.0.7");
    EXPECT_TEXT(dbField(item, "network.dns.1"), "8.8.8.8");
    EXPECT_TEXT(dbField(item, "network.dns.2"), NULL);
    EXPECT_TEXT(dbField(item, "network.ip.deeper"), NULL);
    EXPECT_NUMBER(dbFieldNumber(item, "network.mtu", 0), 1500);
    EXPECT(!dbFieldBool(item, "network.up", true));
    EXPECT_NUMBER(dbFieldNumber(item, "tags.2", 0), 3);
    EXPECT_TEXT(dbField(item, ""), NULL);
    EXPECT_TEXT(dbField(item, "."), NULL);
    EXPECT_TEXT(dbField(item, "network."), NULL);
    EXPECT_TEXT(dbField(item, "tags.99999999999999999999"), NULL);
    EXPECT_TEXT(dbField(item, "tags.-1"), NULL);
    claim("a path reaches into objects and arrays, and no further");

    EXPECT_CODE(dbSetField(db, "Gauge", "network.dns.0", "9.9.9.9", DB_PROPS("id", "s"), NULL), 0);
    EXPECT_CODE(update(db, "Gauge", DB_PROPS("id", "s", "network.ip", "10.0.0.8")), 0);
    EXPECT_TEXT(dbField(item, "network.ip"), "10.0.0.7");
    dbFreeItem(item);
    item = dbGet(db, "Gauge", DB_PROPS("id", "s"), NULL);
    EXPECT_TEXT(dbField(item, "network.dns.0"), "9.9.9.9");
    EXPECT_TEXT(dbField(item, "network.dns.1"), "8.8.8.8");
    EXPECT_TEXT(dbField(item, "network.ip"), "10.0.0.8");
    EXPECT_NUMBER(dbFieldNumber(item, "network.mtu", 0), 1500);
    dbFreeItem(item);
    claim("a path changes one value within a field, and a snapshot taken before does not change");
}

static void textsAreKept(Db *db)
{
    const char *texts[] = {"", " ", "\"quoted\" \\ back", "line\nline\ttab\x01", "Gr\xc3\xbc\xc3\x9f"
                           "e \xe2\x82\xac \xf0\x9f\x98\x80", "null", "12", "${id} #", "'; DROP TABLE items; --", "%s%n%x"};
    for (size_t index = 0; index < sizeof texts / sizeof *texts; index++) {
        EXPECT_CODE(dbSet(db, "Local", DB_PROPS("id", "text", "text", texts[index]), NULL), 0);
        char *text = dbGetField(db, "Local", "text", DB_PROPS("id", "text"), NULL);
        EXPECT_TEXT(text, texts[index]);
        dbFree(text);
        EXPECT_NUMBER(count(db, "Local", DB_PROPS("text", texts[index])), 1);
    }
    claim("any UTF-8 text is kept byte for byte, and found again");

    const char *ids[] = {" ", "a b", "#", "a#b#c", "%", "_", "'", "\"", "\xe2\x82\xac", "${id}"};
    for (size_t index = 0; index < sizeof ids / sizeof *ids; index++) {
        EXPECT_CODE(create(db, "Local", DB_PROPS("id", ids[index], "text", "key")), 0);
        EXPECT(exists(db, "Local", DB_PROPS("id", ids[index])));
    }
    EXPECT_NUMBER(count(db, "Local", DB_PROPS("text", "key")), (int64_t) (sizeof ids / sizeof *ids));
    claim("any text makes a key");

    const char *broken[] = {"\xff", "a\xc3", "\xed\xa0\x80", "\xc0\x80", "\xf5\x80\x80\x80"};
    for (size_t index = 0; index < sizeof broken / sizeof *broken; index++) {
        EXPECT(dbSet(db, "Local", DB_PROPS("id", "broken", "text", broken[index]), NULL) < 0);
    }
    EXPECT(!exists(db, "Local", DB_PROPS("id", "broken")));
    claim("what is not UTF-8 is refused");
}

int main(void)
{
    scenarioBegin();
    Db *db = openScratch("fields.db", 0);
    REQUIRE(db != NULL);
    REQUIRE(create(db, "Gauge", DB_PROPS("id", "g", "label", "x")) == 0);
    singleFieldsAreSet(db);
    singleFieldsAreMissing(db);
    snapshotsAreRead(db);
    textsAreKept(db);
    dbClose(db);
    return scenarioEnd();
}
