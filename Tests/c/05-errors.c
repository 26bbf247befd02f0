/*
    A developer makes the mistakes that developers make: schemas that are no JSON5 or no schema, files that are not there
    or are no database, models that do not exist. Each must be refused by a code of its own and a line of text that names
    the place; errors of one thread must not show in another, and nothing that is on disk may suffer.
 */
#include "support/check.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define MODELS(body) "{\n  format: 'onetable:1.1.0',\n  indexes: { primary: { hash: 'pk', sort: 'sk' } },\n" body "\n}\n"
#define KEYS "pk: { type: 'string', value: 'x' }, sk: { type: 'string', value: 'fault#${id}' }, id: { type: 'string' },"

static void schemasAreRefused(void)
{
    static const struct {
        const char *text;
        const char *names[3];
    } schemas[] = {
        {"", {"broken.json5", NULL, NULL}},
        {"[]", {"broken.json5", NULL, NULL}},
        {"{\n  indexes: {\n    primary: { hash: 'pk', sort: 'sk' }\n  }\n  models: {}\n}", {"broken.json5", "line 5", NULL}},
        {"{\n  models: { A: {} }\n}", {"broken.json5", "indexes", NULL}},
        {MODELS("  models: {\n    Fault: {\n      " KEYS "\n      severity: { type: 'strng' },\n    },\n  },"),
         {"broken.json5:7", "model \"Fault\"", "severity"}},
        {MODELS("  models: {\n    Fault: {\n      " KEYS "\n      severity: 'string',\n    },\n  },"),
         {"broken.json5:7", "model \"Fault\"", "severity"}},
        {MODELS("  models: {\n    Fault: { id: { type: 'string' } },\n  },"), {"broken.json5:5", "model \"Fault\"", NULL}},
        {MODELS("  models: {\n    Fault: 17,\n  },"), {"broken.json5:5", "Fault", NULL}},
        {MODELS("  process: { Fault: { sync: 'sideways' } },\n  models: { Fault: { " KEYS " } },"),
         {"broken.json5:4", "Fault", "sideways"}},
        {MODELS("  process: { Fault: { enable: 'nowhere' } },\n  models: { Fault: { " KEYS " } },"),
         {"broken.json5:4", "Fault", "nowhere"}},
        {MODELS("  process: { Fault: { sync: 'up' } },\n  control: { Fault: { sync: 'down' } },\n"
                "  models: { Fault: { " KEYS " } },"),
         {"broken.json5:", "process", "control"}},
    };
    for (size_t index = 0; index < sizeof schemas / sizeof *schemas; index++) {
        writeFile(scratch("broken.json5"), schemas[index].text);
        Db *db = dbOpen(scratch("refused.db"), scratch("broken.json5"), 0);
        if (!EXPECT(db == NULL)) note("accepted schema %zu: %s", index, schemas[index].text);
        dbClose(db);
        EXPECT_FAILED(DB_ERR_SCHEMA);
        for (size_t name = 0; name < 3 && schemas[index].names[name] != NULL; name++) {
            EXPECT_ERROR_NAMES(schemas[index].names[name]);
        }
    }
    EXPECT(access(scratch("refused.db"), F_OK) != 0);
    claim("a schema that is not valid is refused with file, line, model and field, and no database is made");

    EXPECT(dbOpen(scratch("refused.db"), scratch("absent.json5"), 0) == NULL);
    EXPECT_FAILED(DB_ERR_IO);
    EXPECT_ERROR_NAMES("absent.json5");
    EXPECT(dbOpen(scratch("refused.db"), scratchFolder(), 0) == NULL);
    EXPECT(dbGetErrorCode() < 0);
    claim("a schema that can't be read is refused by name");

    writeFile(scratch("deep.json5"), "");
    FILE *file = fopen(scratch("deep.json5"), "w");
    for (int depth = 0; depth < 100000; depth++) fputs("{a:", file);
    fclose(file);
    EXPECT(dbOpen(scratch("refused.db"), scratch("deep.json5"), 0) == NULL);
    EXPECT(dbGetErrorCode() < 0);
    claim("a schema that nests without end is refused");

    writeFile(scratch("odd.json5"), MODELS("  unheard: 1,\n  control: { Fault: { sync: 'up' } },\n"
                                           "  models: { Fault: { " KEYS " x: { type: 'string', unheard: 2 } } },"));
    Db *db = dbOpen(scratch("odd.db"), scratch("odd.json5"), 0);
    EXPECT(db != NULL);
    EXPECT_CODE(create(db, "Fault", DB_PROPS("id", "1", "x", "y")), 0);
    dbClose(db);
    claim("keys that nobody knows are no error, and control stands for process");
}

/** IOTO_BARE says that the library under test was built without PCRE2. */
static void expressionsNeedPCRE2(void)
{
    bool isBare = getenv("IOTO_BARE") != NULL;
    writeFile(scratch("pattern.json5"), MODELS("  models: { Fault: { " KEYS "\n      mac: { validate: '/^[0-9a-f]+$/' } } },"));
    Db *db = dbOpen(scratch("pattern.db"), scratch("pattern.json5"), 0);
    EXPECT(db == NULL || !isBare);
    if (db == NULL) {
        EXPECT_FAILED(DB_ERR_SCHEMA);
        EXPECT_ERROR_NAMES("pattern.json5:5: model \"Fault\": field \"mac\": validate: 'validate' needs PCRE2, which this library was "
                           "built without");
        EXPECT(access(scratch("pattern.db"), F_OK) != 0);
    } else {
        EXPECT_CODE(create(db, "Fault", DB_PROPS("id", "1", "mac", "xyz")), DB_ERR_FIELD);
        EXPECT_CODE(create(db, "Fault", DB_PROPS("id", "1", "mac", "09af")), 0);
    }
    dbClose(db);
    claim("an expression is matched, or refused with its place by a library without PCRE2");
}

static void filesAreRefused(void)
{
    char *noise = repeat('?', 20000);
    writeFile(scratch("noise.db"), noise);
    free(noise);
    EXPECT(dbOpen(scratch("noise.db"), testData("schema.json5"), 0) == NULL);
    EXPECT_FAILED(DB_ERR_CORRUPT);
    EXPECT_ERROR_NAMES("noise.db");
    EXPECT(dbOpen(scratchFolder(), testData("schema.json5"), 0) == NULL);
    EXPECT(dbGetErrorCode() < 0);
    EXPECT(dbOpen("/nowhere/at/all.db", testData("schema.json5"), 0) == NULL);
    EXPECT(dbGetErrorCode() < 0);
    EXPECT_ERROR_NAMES("/nowhere/at/all.db");
    EXPECT(dbOpen(scratch("absent.db"), testData("schema.json5"), DB_READ_ONLY) == NULL);
    EXPECT(dbGetErrorCode() < 0);
    EXPECT(access(scratch("absent.db"), F_OK) != 0);
    claim("a file that is no database, or can't be one, is refused by name");

    FILE *file = fopen(scratch("noise.db"), "rb");
    char first[4] = "";
    EXPECT(file != NULL && fread(first, 1, 3, file) == 3);
    if (file != NULL) fclose(file);
    EXPECT_TEXT(first, "???");
    claim("a file that is no database is not written to");
}

static void callsAreRefused(Db *db)
{
    const char *models[] = {"", "note", "Nothing", "Note ", "_unique", "sqlite_master", "\xe2\x82\xac"};
    for (size_t index = 0; index < sizeof models / sizeof *models; index++) {
        const char *model = models[index];
        const DbProps *props = DB_PROPS("id", "x");
        EXPECT(dbGetModel(db, model) == NULL);
        EXPECT_FAILED(DB_ERR_MODEL);
        EXPECT_CODE(create(db, model, props), DB_ERR_MODEL);
        EXPECT(dbGet(db, model, props, NULL) == NULL);
        EXPECT_FAILED(DB_ERR_MODEL);
        EXPECT(dbFind(db, model, props, NULL) == NULL);
        EXPECT_FAILED(DB_ERR_MODEL);
        EXPECT_CODE(update(db, model, props), DB_ERR_MODEL);
        EXPECT_CODE(dbSet(db, model, props, NULL), DB_ERR_MODEL);
        EXPECT_CODE(dbSetField(db, model, "text", "x", props, NULL), DB_ERR_MODEL);
        EXPECT_CODE(dbRemove(db, model, props, NULL), DB_ERR_MODEL);
        EXPECT_NUMBER(dbGetNum(db, model, "count", props, -7), -7);
    }
    EXPECT_CODE(create(db, "Nothing", DB_PROPS("id", "x")), DB_ERR_MODEL);
    EXPECT_ERROR_NAMES("Nothing");
    claim("a model that the schema does not have is refused by name");

    EXPECT_CODE(create(db, "Report", DB_PROPS("id", "x", "text", "y")), DB_ERR_DENIED);
    EXPECT_ERROR_NAMES("Report");
    EXPECT_CODE(dbSet(db, "Report", DB_PROPS("id", "x", "text", "y"), NULL), DB_ERR_DENIED);
    claim("a model that exists in the cloud only can't be made on the device");

    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "kept")), 0);
    EXPECT(dbFind(db, "Note", NULL, DB_PARAMS(.next = "no token")) == NULL);
    EXPECT_FAILED(DB_ERR_MISUSE);
    EXPECT(exists(db, "Note", DB_PROPS("id", "kept")));
    claim("a token that is none is misuse");

    const int codes[] = {DB_OK, DB_ERR_MISUSE, DB_ERR_NOT_FOUND, DB_ERR_STORAGE, DB_ERR_SCHEMA, DB_ERR_REJECTED, 1, -9999};
    for (size_t index = 0; index < sizeof codes / sizeof *codes; index++) {
        const char *text = ioStrError(codes[index]);
        EXPECT(text != NULL && *text != '\0');
    }
    EXPECT_TEXT(ioStrError(DB_ERR_NOT_FOUND), "item not found");
    EXPECT_TEXT(ioVersion(), IOTO_VERSION);
    claim("every code has a text, unknown ones too");
}

static void *failElsewhere(void *argument)
{
    Db *db = argument;
    bool isClean = dbGetErrorCode() == DB_OK && strcmp(dbGetError(NULL), "") == 0;
    bool failed = dbGet(db, "Nothing", DB_PROPS("id", "x"), NULL) == NULL && dbGetErrorCode() == DB_ERR_MODEL;
    return isClean && failed ? db : NULL;
}

static void errorsBelongToThreads(Db *db)
{
    pthread_t thread;
    void *result = NULL;
    EXPECT(dbGet(db, "Note", DB_PROPS("id", "absent"), NULL) == NULL);
    REQUIRE(pthread_create(&thread, NULL, failElsewhere, db) == 0);
    pthread_join(thread, &result);
    EXPECT(result == db);
    EXPECT_FAILED(DB_ERR_NOT_FOUND);
    EXPECT(strstr(dbGetError(db), "Nothing") == NULL);
    claim("the last error is the calling thread's own");
}

int main(void)
{
    scenarioBegin();
    schemasAreRefused();
    expressionsNeedPCRE2();
    filesAreRefused();
    Db *db = openScratch("errors.db", 0);
    REQUIRE(db != NULL);
    callsAreRefused(db);
    errorsBelongToThreads(db);
    dbClose(db);
    return scenarioEnd();
}
