/*
    A cloud team hands over its OneTable schema in two files, with everything that OneTable has. The firmware must meet the
    rules that the cloud's applications meet: values that have to match an expression, objects that are changed in part,
    secrets that do not show, an end of life in DynamoDB's seconds, names that are other ones in the cloud, members that are
    computed. A mistake in a file must be named with file and line, so that it can be found in the field.
 */
#include "support/check.h"

#include <cjson/cJSON.h>

static const char *common = "{\n"
                            "  params: {isoDates: true},\n"
                            "  models: {\n"
                            "    Unit: {\n"
                            "      mac: {type: 'string', validate: '/^[0-9a-f]{4}$/i'},\n"
                            "      pin: {type: 'string', hidden: true},\n"
                            "    },\n"
                            "  },\n"
                            "}\n";

static const char *schema =
    "{\n"
    "  format: 'onetable:1.1.0', version: '1.0.0', blend: ['common.json5'],\n"
    "  indexes: {primary: {hash: 'pk', sort: 'sk'}},\n"
    "  models: {\n"
    "    Unit: {\n"
    "      pk: {value: 'device#${deviceId}'}, sk: {value: 'unit#${id}'},\n"
    "      deviceId: {type: 'string', required: true}, id: {type: 'string', required: true},\n"
    "      mail: {type: 'string', map: 'data.mail'}, tags: {type: 'array', enum: ['hot', 'cold']},\n"
    "      net: {type: 'object', schema: {\n"
    "        host: {type: 'string', required: true}, port: {type: 'number', default: 80},\n"
    "        url: {value: '${host}:${port}'},\n"
    "      }},\n"
    "      label: {value: 'unit ${id}'}, quiet: {type: 'string', filter: false},\n"
    "      expires: {type: 'date', ttl: true},\n"
    "    },\n"
    "  },\n"
    "}\n";

static void expressionsAreMatched(Db *db)
{
    EXPECT_CODE(create(db, "Unit", DB_PROPS("id", "1", "mac", "BEef")), 0);
    EXPECT_CODE(create(db, "Unit", DB_PROPS("id", "2", "mac", "beefs")), DB_ERR_FIELD);
    EXPECT_ERROR_NAMES("does not match /^[0-9a-f]{4}$/i");
    EXPECT_CODE(dbSetField(db, "Unit", "mac", "x", DB_PROPS("id", "1"), NULL), DB_ERR_FIELD);
    EXPECT_CODE(create(db, "Unit", DB_JSON("{id: '2', tags: ['hot', 'wet']}")), DB_ERR_FIELD);
    EXPECT_ERROR_NAMES("tags.1");
    claim("a value has to match its expression, and an element its enum");
}

static void objectsAreChangedInPart(Db *db)
{
    EXPECT_CODE(update(db, "Unit", DB_JSON("{id: '1', net: {port: 8}}")), DB_ERR_FIELD);
    EXPECT_ERROR_NAMES("net.host");
    EXPECT_CODE(update(db, "Unit", DB_JSON("{id: '1', net: {host: 'h'}}")), 0);
    EXPECT_CODE(update(db, "Unit", DB_PROPS("id", "1", "net", "{port: 8}")), 0);
    DbItem *item = dbGet(db, "Unit", DB_PROPS("id", "1"), NULL);
    EXPECT_TEXT(dbField(item, "net.host"), "h");
    EXPECT_NUMBER(dbFieldNumber(item, "net.port", 0), 8);
    EXPECT_TEXT(dbField(item, "net.url"), "h:8");
    dbFreeItem(item);
    claim("an object is laid over the stored one, and what is computed in it follows");

    EXPECT_CODE(update(db, "Unit", DB_PROPS("id", "1", "net", "{port: null}")), 0);
    item = dbGet(db, "Unit", DB_PROPS("id", "1"), NULL);
    EXPECT(dbField(item, "net.port") == NULL);
    EXPECT_TEXT(dbField(item, "net.host"), "h");
    dbFreeItem(item);
    claim("null takes a member away");
}

static void secretsDoNotShow(Db *db)
{
    EXPECT_CODE(create(db, "Unit", DB_PROPS("id", "3", "pin", "1234", "mail", "a@b")), 0);
    DbItem *item = dbGet(db, "Unit", DB_PROPS("id", "3"), NULL);
    EXPECT_TEXT(dbItemJson(item), "{\"deviceId\":\"d1\",\"id\":\"3\",\"mail\":\"a@b\"}");
    EXPECT_TEXT(dbField(item, "pin"), "1234");
    EXPECT_TEXT(dbField(item, "label"), "unit 3");
    cJSON *object = dbItemToCJSON(item);
    EXPECT(object != NULL && cJSON_GetObjectItem(object, "pin") == NULL);
    cJSON_Delete(object);
    dbFreeItem(item);
    claim("hidden and computed properties are in no JSON of the item, and found by name");

    item = dbGet(db, "Unit", DB_PROPS("id", "3"), DB_PARAMS(.hidden = true));
    object = dbItemToCJSON(item);
    EXPECT_TEXT(cJSON_GetStringValue(cJSON_GetObjectItem(object, "pin")), "1234");
    EXPECT_TEXT(cJSON_GetStringValue(cJSON_GetObjectItem(object, "sk")), "unit#3");
    EXPECT_TEXT(cJSON_GetStringValue(cJSON_GetObjectItem(object, "pk")), "device#d1");
    cJSON_Delete(object);
    dbFreeItem(item);
    DbList *list = dbFind(db, "Unit", DB_PROPS("id", "3"), DB_PARAMS(.hidden = true));
    EXPECT(dbListCount(list) == 1 && strstr(dbItemJson(dbListItem(list, 0)), "\"pin\":\"1234\"") != NULL);
    dbFreeList(list);
    claim("a call that asks for hidden properties gets the whole item");

    EXPECT(dbFind(db, "Unit", DB_PROPS("quiet", "x"), NULL) == NULL);
    EXPECT_FAILED(DB_ERR_MISUSE);
    EXPECT_CODE(create(db, "Unit", DB_PROPS("id", "4", "data", "x")), DB_ERR_FIELD);
    claim("a find can't ask for a property that is no filter, nor a call set the cloud's name of one");
}

static void timeOfExpiryIsInSeconds(Db *db)
{
    const int64_t expires_ms = 4102444800312;
    EXPECT_CODE(create(db, "Unit", DB_PROPS("id", "5")), 0);
    EXPECT_CODE(dbSetDate(db, "Unit", "expires", expires_ms, DB_PROPS("id", "5"), NULL), 0);
    EXPECT_NUMBER(dbGetNum(db, "Unit", "expires", DB_PROPS("id", "5"), 0), 4102444801);
    EXPECT_NUMBER(dbGetDate(db, "Unit", "expires", DB_PROPS("id", "5"), 0), 4102444801000);
    EXPECT_CODE(dbSetNum(db, "Unit", "expires", 4102444801, DB_PROPS("id", "5"), NULL), 0);
    EXPECT_NUMBER(dbGetDate(db, "Unit", "expires", DB_PROPS("id", "5"), 0), 4102444801000);
    claim("a time of expiry is stored in seconds, and read as a date in milliseconds");
}

static void mistakesAreNamed(void)
{
    writeFile(scratch("common.json5"), "{models: {\n\nUnit: {mac: {\nvalidate: '/(/'}}}}");
    EXPECT(dbOpen(scratch("wrong.db"), scratch("schema.json5"), 0) == NULL);
    EXPECT_FAILED(DB_ERR_SCHEMA);
    EXPECT_ERROR_NAMES("common.json5:4: model \"Unit\": field \"mac\": validate: ");
    writeFile(scratch("common.json5"), "{blend: './schema.json5'}");
    EXPECT(dbOpen(scratch("wrong.db"), scratch("schema.json5"), 0) == NULL);
    EXPECT_ERROR_NAMES("common.json5:1: blend: ");
    claim("a mistake in an included file is named with file, line, model and field");
}

int main(void)
{
    scenarioBegin();
    writeFile(scratch("common.json5"), common);
    writeFile(scratch("schema.json5"), schema);
    Db *db = openWithPatterns("onetable.db", "schema.json5");
    dbAddContext(db, "deviceId", "d1");
    expressionsAreMatched(db);
    objectsAreChangedInPart(db);
    secretsDoNotShow(db);
    timeOfExpiryIsInSeconds(db);
    dbClose(db);
    mistakesAreNamed();
    return scenarioEnd();
}
