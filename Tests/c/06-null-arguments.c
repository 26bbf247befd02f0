/*
    A firmware passes NULL in every place of every function, one place at a time and all at once. The process must live,
    each call must fail as misuse where the header does not allow NULL, and afterwards the database must hold what it held.
 */
#include "support/check.h"

/** The arguments of one call; a bit of `absent` makes the argument of that place NULL. */
typedef struct Arguments {
    Db *db;
    const char *model;
    const char *field;
    const char *value;
    const DbProps *props;
    const DbParams *params;
} Arguments;

enum { NO_DB = 1, NO_MODEL = 2, NO_FIELD = 4, NO_VALUE = 8, NO_PROPS = 16, NO_PARAMS = 32, ALL = 63 };

static void ignoreLog(void *context, IoLogLevel level, const char *message) { (void) context, (void) level, (void) message; }

static int drop(DbItem *item)
{
    if (item == NULL) return dbGetErrorCode();
    dbFreeItem(item);
    return 0;
}

static int dropList(DbList *list)
{
    if (list == NULL) return dbGetErrorCode();
    dbFreeList(list);
    return 0;
}

static int dropText(char *text)
{
    if (text == NULL) return dbGetErrorCode();
    dbFree(text);
    return 0;
}

static int callCreate(Arguments a) { return drop(dbCreate(a.db, a.model, a.props, a.params)); }
static int callGet(Arguments a) { return drop(dbGet(a.db, a.model, a.props, a.params)); }
static int callFind(Arguments a) { return dropList(dbFind(a.db, a.model, a.props, a.params)); }
static int callFindOne(Arguments a) { return drop(dbFindOne(a.db, a.model, a.props, a.params)); }
static int callUpdate(Arguments a) { return drop(dbUpdate(a.db, a.model, a.props, a.params)); }
static int callSet(Arguments a) { return dbSet(a.db, a.model, a.props, a.params); }
static int callSetField(Arguments a) { return dbSetField(a.db, a.model, a.field, a.value, a.props, a.params); }
static int callSetString(Arguments a) { return dbSetString(a.db, a.model, a.field, a.value, a.props, a.params); }
static int callSetBool(Arguments a) { return dbSetBool(a.db, a.model, a.field, true, a.props, a.params); }
static int callSetNum(Arguments a) { return dbSetNum(a.db, a.model, a.field, 1, a.props, a.params); }
static int callSetDouble(Arguments a) { return dbSetDouble(a.db, a.model, a.field, 1.5, a.props, a.params); }
static int callSetDate(Arguments a) { return dbSetDate(a.db, a.model, a.field, 1, a.props, a.params); }
static int callGetField(Arguments a) { return dropText(dbGetField(a.db, a.model, a.field, a.props, a.params)); }
static int callGetModel(Arguments a) { return dbGetModel(a.db, a.model) != NULL ? 0 : dbGetErrorCode(); }
static int callAddContext(Arguments a) { return dbAddContext(a.db, a.field, a.value); }

/** Places that may not be NULL; `drop` frees what comes back, so a success is 0. */
static const struct {
    const char *name;
    int (*call)(Arguments);
    /** NULL in any of these is DB_ERR_MISUSE. */
    int needed;
    /** NULL in any of these is some failure: the key, or the model's context, is not whole. */
    int fails;
} calls[] = {
    {"dbCreate", callCreate, NO_DB | NO_MODEL, NO_PROPS},
    {"dbGet", callGet, NO_DB | NO_MODEL, NO_PROPS},
    {"dbFind", callFind, NO_DB | NO_MODEL, 0},
    {"dbFindOne", callFindOne, NO_DB | NO_MODEL, 0},
    {"dbUpdate", callUpdate, NO_DB | NO_MODEL, NO_PROPS},
    {"dbSet", callSet, NO_DB | NO_MODEL, NO_PROPS},
    {"dbSetField", callSetField, NO_DB | NO_MODEL | NO_FIELD, NO_PROPS},
    {"dbSetString", callSetString, NO_DB | NO_MODEL | NO_FIELD, NO_PROPS},
    {"dbSetBool", callSetBool, NO_DB | NO_MODEL | NO_FIELD, NO_PROPS},
    {"dbSetNum", callSetNum, NO_DB | NO_MODEL | NO_FIELD, NO_PROPS},
    {"dbSetDouble", callSetDouble, NO_DB | NO_MODEL | NO_FIELD, NO_PROPS},
    {"dbSetDate", callSetDate, NO_DB | NO_MODEL | NO_FIELD, NO_PROPS},
    {"dbGetField", callGetField, NO_DB | NO_MODEL | NO_FIELD, NO_PROPS},
    {"dbGetModel", callGetModel, NO_DB | NO_MODEL, 0},
    {"dbAddContext", callAddContext, NO_DB | NO_FIELD, 0},
};

static void everyPlaceIsNull(Db *db)
{
    for (size_t index = 0; index < sizeof calls / sizeof *calls; index++) {
        for (int absent = 1; absent <= ALL; absent++) {
            Arguments arguments = {
                .db = absent & NO_DB ? NULL : db,
                .model = absent & NO_MODEL ? NULL : "Local",
                .field = absent & NO_FIELD ? NULL : "text",
                .value = absent & NO_VALUE ? NULL : "value",
                .props = absent & NO_PROPS ? NULL : DB_PROPS("id", "null"),
                .params = absent & NO_PARAMS ? NULL : DB_PARAMS(.upsert = true),
            };
            int code = calls[index].call(arguments);
            bool isMet = true;
            if (absent & calls[index].needed) {
                isMet = EXPECT_CODE(code, DB_ERR_MISUSE);
            } else if (absent & calls[index].fails) {
                isMet = EXPECT(code < 0);
            }
            if (!isMet) note("%s with places %d NULL", calls[index].name, absent);
        }
        claim("%s bears NULL in every place", calls[index].name);
    }
    EXPECT_NUMBER(dbRemove(NULL, "Local", DB_PROPS("id", "x"), NULL), DB_ERR_MISUSE);
    EXPECT_NUMBER(dbRemove(db, NULL, DB_PROPS("id", "x"), NULL), DB_ERR_MISUSE);
    EXPECT_NUMBER(dbRemove(NULL, NULL, NULL, NULL), DB_ERR_MISUSE);
    EXPECT(dbRemove(db, "Note", NULL, NULL) <= 0);
    claim("dbRemove bears NULL in every place, and without properties removes nothing by accident");
}

static void gettersFallBack(Db *db)
{
    for (int absent = 1; absent < 16; absent++) {
        Db *base = absent & 1 ? NULL : db;
        const char *model = absent & 2 ? NULL : "Note";
        const char *field = absent & 4 ? NULL : "text";
        const DbProps *props = absent & 8 ? NULL : DB_PROPS("id", "kept");
        EXPECT(dbGetBool(base, model, field, props, true));
        EXPECT_NUMBER(dbGetNum(base, model, field, props, -9), -9);
        EXPECT(dbGetDouble(base, model, field, props, 0.5) == 0.5);
        EXPECT_NUMBER(dbGetDate(base, model, field, props, 9), 9);
        char *text = dbGetString(base, model, field, props, "default");
        EXPECT_TEXT(text, "default");
        dbFree(text);
        EXPECT(dbGetString(base, model, field, props, NULL) == NULL);
    }
    claim("the typed getters give their default for NULL in any place");
}

static void readersBearNull(Db *db)
{
    EXPECT_TEXT(dbField(NULL, "text"), NULL);
    EXPECT_TEXT(dbField(NULL, NULL), NULL);
    EXPECT(dbFieldBool(NULL, NULL, true));
    EXPECT_NUMBER(dbFieldNumber(NULL, "count", 3), 3);
    EXPECT(dbFieldDouble(NULL, NULL, 0.5) == 0.5);
    EXPECT_NUMBER(dbFieldDate(NULL, NULL, 4), 4);
    EXPECT_TEXT(dbItemJson(NULL), "{}");
    EXPECT(dbItemToCJSON(NULL) == NULL);
    EXPECT_TEXT(dbItemModel(NULL), "");
    EXPECT_TEXT(dbModelName(NULL), "");
    EXPECT_NUMBER(dbListCount(NULL), 0);
    EXPECT(dbListItem(NULL, 0) == NULL);
    EXPECT_TEXT(dbNext(NULL, NULL), NULL);
    EXPECT_TEXT(dbNext(db, NULL), NULL);
    EXPECT(dbTriggerBefore(NULL) == NULL);
    EXPECT_NUMBER(dbTriggerOrigin(NULL), DB_ORIGIN_LOCAL);
    EXPECT_TEXT(dbTriggerReason(NULL), "");
    DbItem *item = dbGet(db, "Note", DB_PROPS("id", "kept"), NULL);
    EXPECT_TEXT(dbField(item, NULL), NULL);
    EXPECT_NUMBER(dbFieldNumber(item, NULL, 5), 5);
    EXPECT(dbTriggerBefore(item) == NULL);
    EXPECT_TEXT(dbTriggerReason(item), "");
    dbFreeItem(item);
    claim("functions that read an item, a list or a model bear NULL");

    dbFreeItem(NULL);
    dbFreeList(NULL);
    dbFree(NULL);
    dbClose(NULL);
    ioClose(NULL);
    ioStop(NULL);
    claim("functions that free, stop or close bear NULL");
}

static void onNothing(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params, const char *cmd,
                      int events)
{
    (void) arg;
    (void) db;
    (void) model;
    (void) item;
    (void) params;
    (void) cmd;
    (void) events;
}

static void triggersAndAgentsBearNull(Db *db)
{
    EXPECT_CODE(dbAddTrigger(NULL, onNothing, "Note", NULL, DB_ON_CHANGE), DB_ERR_MISUSE);
    EXPECT_CODE(dbAddTrigger(db, NULL, "Note", NULL, DB_ON_CHANGE), DB_ERR_MISUSE);
    EXPECT_CODE(dbAddTrigger(NULL, NULL, NULL, NULL, 0), DB_ERR_MISUSE);
    EXPECT_CODE(dbAddCallback(NULL, NULL, NULL, NULL, DB_ON_CHANGE), DB_ERR_MISUSE);
    EXPECT_CODE(dbAddTrigger(db, onNothing, "Nothing", NULL, DB_ON_CHANGE), DB_ERR_MODEL);
    EXPECT_CODE(dbRemoveTrigger(NULL, onNothing, "Note", NULL), DB_ERR_MISUSE);
    EXPECT_CODE(dbRemoveTrigger(db, NULL, "Note", NULL), DB_ERR_MISUSE);
    EXPECT_NUMBER(dbRemoveTrigger(db, onNothing, NULL, NULL), 0);
    EXPECT_CODE(dbGetFd(NULL), DB_ERR_MISUSE);
    EXPECT_CODE(dbDispatch(NULL, 0), DB_ERR_MISUSE);
    EXPECT_CODE(ioGetFd(NULL), DB_ERR_MISUSE);
    EXPECT_CODE(ioDispatch(NULL, 0), DB_ERR_MISUSE);
    claim("triggers bear NULL");

    IoStatus status = {.size = sizeof status};
    EXPECT(ioOpen(NULL) == NULL);
    EXPECT_FAILED(DB_ERR_MISUSE);
    EXPECT(ioGetDb(NULL) == NULL);
    EXPECT_CODE(ioStart(NULL), DB_ERR_MISUSE);
    EXPECT_CODE(ioSync(NULL, 0), DB_ERR_MISUSE);
    EXPECT_CODE(ioSync(NULL, 100), DB_ERR_MISUSE);
    EXPECT_CODE(ioSyncUp(NULL, 0), DB_ERR_MISUSE);
    EXPECT_CODE(ioSyncDown(NULL, 0), DB_ERR_MISUSE);
    EXPECT_CODE(ioFlushSync(NULL), DB_ERR_MISUSE);
    EXPECT_CODE(ioGetStatus(NULL, &status), DB_ERR_MISUSE);
    Io *io = ioOpen(format("{deviceId: 'd1', accountId: 'a1', database: {path: '%s', schema: '%s'}, mqtt: {endpoint: "
                           "'127.0.0.1', port: 1}}",
                           scratch("null-agent.db"), testData("schema.json5")));
    EXPECT(io != NULL);
    EXPECT_CODE(ioGetStatus(io, NULL), DB_ERR_MISUSE);
    status.size = 0;
    EXPECT_CODE(ioGetStatus(io, &status), DB_ERR_MISUSE);
    ioClose(io);
    for (int level = -1; level <= 9; level++) ioSetLog(ignoreLog, NULL, (IoLogLevel) level);
    ioSetLog(NULL, NULL, IO_LOG_WARNING);
    claim("agents bear NULL, and the log any level");

    EXPECT(dbOpen(NULL, NULL, 0) == NULL);
    EXPECT_FAILED(DB_ERR_MISUSE);
    EXPECT(dbOpen(scratch("x.db"), NULL, 0) == NULL);
    EXPECT_FAILED(DB_ERR_MISUSE);
    EXPECT(dbOpen(NULL, testData("schema.json5"), 0) == NULL);
    EXPECT_FAILED(DB_ERR_MISUSE);
    claim("dbOpen bears NULL");
}

int main(void)
{
    scenarioBegin();
    Db *db = openScratch("null.db", 0);
    REQUIRE(db != NULL);
    REQUIRE(create(db, "Note", DB_PROPS("id", "kept")) == 0);
    REQUIRE(create(db, "Note", DB_PROPS("id", "kept too")) == 0);
    everyPlaceIsNull(db);
    gettersFallBack(db);
    readersBearNull(db);
    triggersAndAgentsBearNull(db);
    EXPECT_NUMBER(count(db, "Note", NULL), 2);
    EXPECT(count(db, "Local", NULL) <= 1);
    claim("the database holds what it held");
    dbClose(db);
    return scenarioEnd();
}
