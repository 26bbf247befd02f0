/*
    What each attribute of the schema does to an item, as docs/SCHEMA.md says: a value that fits, one that does not, and one at
    the border. Every attribute must have all three, and every row must come out to the letter.
 */
#include "support/check.h"

static const char schema[] =
    "{format: 'onetable:1.1.0', version: '1', indexes: {primary: {hash: 'pk', sort: 'sk'}}, params: {isoDates: true}, models: {A: {"
    "pk: {value: 'd'}, sk: {value: 'a#${id}#${kind}'}, id: {}, kind: {encode: ['sk', '#', 2], default: 'k'},"
    "string: {}, number: {type: 'number'}, boolean: {type: 'boolean'}, date: {type: 'date'}, object: {type: 'object'},"
    "array: {type: 'array'}, set: {type: 'set'}, binary: {type: 'binary'}, buffer: {type: 'buffer'},"
    "enum: {enum: ['low', 'high']}, enums: {type: 'set', enum: ['p', 'q']},"
    "value: {value: '${string}-${number:3}', hidden: false}, validate: {validate: '/^[a-z]{2,3}$/'},"
    "schema: {type: 'object', schema: {e: {enum: ['a', 'b']}, need: {required: true, default: 'n'}, filter: {filter: false}}},"
    "items: {type: 'array', items: {type: 'number'}}, at: {type: 'date', isoDates: false}, nulls: {nulls: true},"
    "whole: {type: 'object', partial: false, schema: {a: {}, b: {}}}, hidden: {hidden: true}, filter: {filter: false},"
    "unique: {unique: true}, scope: {unique: true, scope: '${string}'}, ttl: {type: 'date', ttl: true}, map: {map: 'm.p'}},"
    "B: {pk: {value: 'd'}, sk: {value: 'b#${id}'}, id: {generate: 'uid(64)'}, required: {required: true},"
    "default: {type: 'number', default: 5}, generate: {generate: 'uid(1)'}, uuid: {uuid: true}}}}";

typedef enum Kind { FITS = 1, FAILS = 2, BORDER = 4 } Kind;

typedef struct Row {
    const char *attribute;
    Kind kind;
    const char *model, *given;
    /** Part of the item as JSON, or of the error. */
    const char *expected;
} Row;

static const Row rows[] = {
    {"string", FITS, "A", "{string: 'x'}", "\"string\":\"x\""},
    {"string", FAILS, "A", "{string: {}}", "field \"string\": {} is not a text"},
    {"string", BORDER, "A", "{string: 5.0}", "\"string\":\"5.0\""},
    {"number", FITS, "A", "{number: -1.5}", "\"number\":-1.5"},
    {"number", FAILS, "A", "{number: ''}", "field \"number\": \"\" is not a number"},
    {"number", BORDER, "A", "{number: 123456789012345678901234567890.123456789}", "\"number\":123456789012345678901234567890.123456789"},
    {"boolean", FITS, "A", "{boolean: 'true'}", "\"boolean\":true"},
    {"boolean", FAILS, "A", "{boolean: 2}", "field \"boolean\": 2 is not a boolean"},
    {"boolean", BORDER, "A", "{boolean: 0}", "\"boolean\":false"},
    {"date", FITS, "A", "{date: '2024-01-01T00:00:00+01:00'}", "\"date\":\"2023-12-31T23:00:00.000Z\""},
    {"date", FAILS, "A", "{date: '2023-02-29'}", "field \"date\": \"2023-02-29\" is not a date"},
    {"date", BORDER, "A", "{date: 253402300799999}", "\"date\":\"9999-12-31T23:59:59.999Z\""},
    {"date", FAILS, "A", "{date: 253402300800000}", "is not a date of the years 0 to 9999"},
    {"object", FITS, "A", "{object: {a: [1]}}", "\"object\":{\"a\":[1]}"},
    {"object", FAILS, "A", "{object: []}", "field \"object\": [] is not an object"},
    {"object", BORDER, "A", "{object: '{}'}", "\"object\":{}"},
    {"array", FITS, "A", "{array: [1, 'a']}", "\"array\":[1,\"a\"]"},
    {"array", FAILS, "A", "{array: {}}", "field \"array\": {} is not an array"},
    {"array", BORDER, "A", "{array: []}", "\"array\":[]"},
    {"set", FITS, "A", "{set: ['a', 'b', 'a']}", "\"set\":[\"a\",\"b\"]"},
    {"set", FAILS, "A", "{set: {}}", "field \"set\": {} is not"},
    {"set", BORDER, "A", "{set: []}", "\"set\":[]"},
    {"binary", FITS, "A", "{binary: 'AAEC'}", "\"binary\":\"AAEC\""},
    {"binary", FAILS, "A", "{binary: 'AAE'}", "field \"binary\": \"AAE\" is not base64 text"},
    {"binary", BORDER, "A", "{binary: ''}", "\"binary\":\"\""},
    {"buffer", FITS, "A", "{buffer: 'AA=='}", "\"buffer\":\"AA==\""},
    {"buffer", FAILS, "A", "{buffer: 'A'}", "field \"buffer\": \"A\" is not base64 text"},
    {"buffer", BORDER, "A", "{buffer: ''}", "\"buffer\":\"\""},
    {"required", FITS, "B", "{required: 'x'}", "\"required\":\"x\""},
    {"required", FAILS, "B", "{}", "field \"required\": is required"},
    {"required", FAILS, "B", "{required: null}", "field \"required\": is required"},
    {"required", BORDER, "B", "{required: ''}", "\"required\":\"\""},
    {"default", FITS, "B", "{required: 'x'}", "\"default\":5"},
    {"default", FAILS, "B", "{required: 'x', default: 'many'}", "field \"default\": \"many\" is not a number"},
    {"default", BORDER, "B", "{required: 'x', default: 0}", "\"default\":0"},
    {"generate", FITS, "B", "{required: 'x', generate: 'own'}", "\"generate\":\"own\""},
    {"generate", FAILS, "B", "{required: 'x', generate: []}", "field \"generate\": [] is not a text"},
    {"generate", BORDER, "B", "{required: 'x'}", "\"generate\":\""},
    {"uuid", FITS, "B", "{required: 'x'}", "\"uuid\":\""},
    {"uuid", FAILS, "B", "{required: 'x', uuid: {}}", "field \"uuid\": {} is not a text"},
    {"uuid", BORDER, "B", "{required: 'x', uuid: ''}", "\"uuid\":\"\""},
    {"enum", FITS, "A", "{enum: 'high'}", "\"enum\":\"high\""},
    {"enum", FAILS, "A", "{enum: 'High'}", "field \"enum\": \"High\" is none of the values of its enum"},
    {"enum", BORDER, "A", "{enums: ['q', 'p', 'q']}", "\"enums\":[\"q\",\"p\"]"},
    {"enum", FAILS, "A", "{enums: ['p', 'r']}", "field \"enums.1\": \"r\" is none of the values of its enum"},
    {"value", FITS, "A", "{string: 's', number: 7}", "\"value\":\"s-007\""},
    {"value", FAILS, "A", "{string: 's', number: 7, value: 'other'}", "\"value\""},
    {"value", BORDER, "A", "{string: 's', number: 7.0}", "\"value\":\"s-007\""},
    {"validate", FITS, "A", "{validate: 'ab'}", "\"validate\":\"ab\""},
    {"validate", FAILS, "A", "{validate: 'abcd'}", "field \"validate\": \"abcd\" does not match /^[a-z]{2,3}$/"},
    {"validate", FAILS, "A", "{validate: 'ab\\n'}", "does not match"},
    {"validate", BORDER, "A", "{validate: 'abc'}", "\"validate\":\"abc\""},
    {"schema", FITS, "A", "{schema: {e: 'a'}}", "\"schema\":{\"e\":\"a\",\"need\":\"n\"}"},
    {"schema", FAILS, "A", "{schema: {e: 'c'}}", "field \"schema.e\": \"c\" is none of the values of its enum"},
    {"schema", BORDER, "A", "{schema: {}}", "\"schema\":{\"need\":\"n\"}"},
    {"items", FITS, "A", "{items: [1, '2']}", "\"items\":[1,2]"},
    {"items", FAILS, "A", "{items: [1, 'x']}", "field \"items.1\": \"x\" is not a number"},
    {"items", BORDER, "A", "{items: []}", "\"items\":[]"},
    {"isoDates", FITS, "A", "{at: '2024-01-01T00:00:00Z'}", "\"at\":1704067200000"},
    {"isoDates", FAILS, "A", "{at: 'soon'}", "field \"at\": \"soon\" is not a date"},
    {"isoDates", BORDER, "A", "{at: '0000-01-01T00:00:00.000Z'}", "\"at\":-62167219200000"},
    {"nulls", FITS, "A", "{nulls: null}", "\"nulls\":null"},
    {"nulls", FAILS, "A", "{nulls: {}}", "field \"nulls\": {} is not a text"},
    {"nulls", BORDER, "A", "{nulls: ''}", "\"nulls\":\"\""},
    {"partial", FITS, "A", "{whole: {a: '1'}}", "\"whole\":{\"a\":\"1\"}"},
    {"partial", FAILS, "A", "{whole: 5}", "field \"whole\": 5 is not an object"},
    {"partial", BORDER, "A", "{whole: {}}", "\"whole\":{}"},
    {"hidden", FITS, "A", "{hidden: 'x', string: 's'}", "\"string\":\"s\"}"},
    {"hidden", FAILS, "A", "{hidden: {}}", "field \"hidden\": {} is not a text"},
    {"hidden", BORDER, "A", "{hidden: null}", "\"kind\":\"k\"}"},
    {"filter", FITS, "A", "{filter: 'x'}", "\"filter\":\"x\""},
    {"filter", FAILS, "A", "{filter: []}", "field \"filter\": [] is not a text"},
    {"filter", BORDER, "A", "{schema: {filter: 'x'}}", "\"filter\":\"x\""},
    {"unique", FITS, "A", "{unique: 'U'}", "\"unique\":\"U\""},
    {"unique", FAILS, "A", "{unique: 'taken'}", "field \"unique\": another item has the value \"taken\""},
    {"unique", BORDER, "A", "{unique: null}", "\"kind\":\"k\"}"},
    {"scope", FITS, "A", "{scope: 'taken', string: 'elsewhere'}", "\"scope\":\"taken\""},
    {"scope", FAILS, "A", "{scope: 'taken', string: 'here'}", "field \"scope\": another item has the value \"taken\""},
    {"scope", FAILS, "A", "{scope: 'taken'}", "field \"scope\": a property of its scope is missing"},
    {"scope", BORDER, "A", "{scope: 'taken', string: ''}", "\"scope\":\"taken\""},
    {"ttl", FITS, "A", "{ttl: '2100-01-01T00:00:00.001Z'}", "\"ttl\":4102444801"},
    {"ttl", FAILS, "A", "{ttl: 'soon'}", "field \"ttl\": \"soon\" is not a date"},
    {"ttl", BORDER, "A", "{ttl: 99999999999}", "\"ttl\":99999999999"},
    {"map", FITS, "A", "{map: 'x'}", "\"map\":\"x\""},
    {"map", FAILS, "A", "{map: {}}", "field \"map\": {} is not a text"},
    {"map", BORDER, "A", "{map: '', 'string': 's'}", "\"map\":\"\""},
    {"encode", FITS, "A", "{kind: 'x'}", "\"kind\":\"x\""},
    {"encode", FAILS, "A", "{kind: ''}", "field \"kind\": is empty, but part of the key"},
    {"encode", BORDER, "A", "{kind: 'x#y'}", "\"kind\":\"x#y\""},
};

/** Whether both ways of asking for a property are refused. */
static bool isRefusedInFinds(Db *db, const char *property, const char *filter)
{
    return dbCount(db, "A", DB_PROPS(property, "x"), NULL) == DB_ERR_MISUSE &&
           dbCount(db, "A", NULL, DB_PARAMS(.filter = filter)) == DB_ERR_MISUSE;
}

int main(void)
{
    scenarioBegin();
    writeFile(scratch("schema.json5"), schema);
    Db *db = openWithPatterns("attributes.db", "schema.json5");
    EXPECT_CODE(create(db, "A", DB_PROPS("id", "first", "unique", "taken", "scope", "taken", "string", "here")), 0);
    const size_t count = sizeof rows / sizeof rows[0];
    for (size_t index = 0, kinds = 0; index < count; index++) {
        const Row *row = &rows[index];
        const char *given = format("{id: 'i', %s", row->given + 1);
        DbItem *item = dbCreate(db, row->model, DB_JSON(given), NULL);
        const char *found = item != NULL ? dbItemJson(item) : dbGetError(NULL);
        if (!EXPECT((item == NULL) == (row->kind == FAILS)) || !EXPECT(strstr(found, row->expected) != NULL)) {
            note("%s: %s gave %s", row->attribute, row->given, found);
        }
        dbFreeItem(item);
        EXPECT(dbRemove(db, row->model, DB_PROPS("id", "i"), DB_PARAMS(.many = true)) == (row->kind == FAILS ? 0 : 1));
        kinds |= row->kind;
        if (index + 1 < count && strcmp(rows[index + 1].attribute, row->attribute) == 0) continue;
        EXPECT_NUMBER(kinds, FITS | FAILS | BORDER);
        claim("'%s' takes what fits, up to the border, and nothing else", row->attribute);
        kinds = 0;
    }

    EXPECT(isRefusedInFinds(db, "filter", "${filter} = {x}"));
    EXPECT(isRefusedInFinds(db, "schema.filter", "attribute_exists(${schema.filter})"));
    EXPECT_NUMBER(dbCount(db, "A", DB_PROPS("string", "here"), NULL), 1);
    claim("'filter: false' keeps a property out of finds");

    EXPECT_CODE(update(db, "A", DB_PROPS("id", "first", "kind", "k", "hidden", "secret")), 0);
    DbItem *item = dbGet(db, "A", DB_PROPS("id", "first", "kind", "k"), NULL);
    EXPECT(strstr(dbItemJson(item), "secret") == NULL);
    EXPECT_TEXT(dbField(item, "hidden"), "secret");
    dbFreeItem(item);
    item = dbGet(db, "A", DB_PROPS("id", "first", "kind", "k"), DB_PARAMS(.hidden = true));
    EXPECT(strstr(dbItemJson(item), "\"hidden\":\"secret\"") != NULL && strstr(dbItemJson(item), "\"sk\":\"a#first#k\"") != NULL);
    dbFreeItem(item);
    claim("'hidden' hides a property until it is asked for");

    EXPECT_CODE(dbSetField(db, "A", "whole", "{a: '1', b: '2'}", DB_PROPS("id", "first", "kind", "k"), NULL), 0);
    EXPECT_CODE(dbSetField(db, "A", "whole", "{b: '3'}", DB_PROPS("id", "first", "kind", "k"), NULL), 0);
    EXPECT_CODE(dbSetField(db, "A", "schema", "{e: 'a', need: 'n'}", DB_PROPS("id", "first", "kind", "k"), NULL), 0);
    EXPECT_CODE(dbSetField(db, "A", "schema", "{need: 'm'}", DB_PROPS("id", "first", "kind", "k"), NULL), 0);
    item = dbGet(db, "A", DB_PROPS("id", "first", "kind", "k"), NULL);
    EXPECT_TEXT(dbField(item, "whole"), "{\"b\":\"3\"}");
    EXPECT_TEXT(dbField(item, "schema"), "{\"e\":\"a\",\"need\":\"m\"}");
    dbFreeItem(item);
    claim("'partial: false' has an object replaced, which else is laid over the stored one");

    char *longest = repeat('u', 1024), *longer = repeat('u', 1025);
    EXPECT_CODE(create(db, "A", DB_PROPS("id", "longest", "unique", longest)), 0);
    EXPECT_CODE(create(db, "A", DB_PROPS("id", "longer", "unique", longer)), DB_ERR_LIMIT);
    free(longest);
    free(longer);
    claim("a unique value has 1024 bytes at most");
    dbClose(db);
    return scenarioEnd();
}
