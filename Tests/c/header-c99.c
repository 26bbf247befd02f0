/* The header alone, before any other: what it needs it includes. Every macro and every kind of call compiles as strict
 * C99, and NULL, wherever it is passed, is answered with an error code. */
#include <ioto.h>

#include <stdio.h>
#include <string.h>

static int failures;

static void expect(bool isMet, const char *what)
{
    if (!isMet) {
        printf("not met: %s\n", what);
        failures++;
    }
}

static bool every(void *context, const DbItem *item)
{
    return context == NULL && item != NULL;
}

static void trigger(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params, const char *cmd,
                    int events)
{
    (void) arg, (void) db, (void) model, (void) item, (void) params, (void) cmd, (void) events;
}

static void hear(void *context, IoLogLevel level, const char *message)
{
    (void) context, (void) level, (void) message;
}

int main(void)
{
    ioSetLog(hear, NULL, IO_LOG_DEBUG);
    expect(strcmp(ioVersion(), IOTO_VERSION) == 0, "header and library are of one version");

    const DbProps *pairs = DB_PROPS("id", "1", "text", NULL);
    expect(pairs->size == sizeof(DbProps) && pairs->count == 4 && pairs->pairs[3] == NULL, "DB_PROPS counts its texts");
    expect(strcmp(DB_JSON("{id: 1}")->json, "{id: 1}") == 0, "DB_JSON holds its text");
    expect(DB_CJSON(NULL)->object == NULL, "DB_CJSON holds its object");
    const DbParams *params = DB_PARAMS(.limit = 20, .reverse = true, .where = every);
    expect(params->size == sizeof(DbParams) && params->limit == 20 && params->next == NULL, "DB_PARAMS sets what is named");

    expect(dbOpen(NULL, NULL, DB_OPEN_RESET | DB_DURABILITY_NORMAL) == NULL, "dbOpen of NULL fails");
    expect(dbGetErrorCode() == DB_ERR_MISUSE && dbGetError(NULL)[0] != '\0', "and says why");
    expect(dbCreate(NULL, "Note", pairs, params) == NULL, "dbCreate on NULL fails");
    expect(dbSetNum(NULL, "Note", "count", INT64_MAX, pairs, NULL) == DB_ERR_MISUSE, "dbSetNum on NULL fails");
    expect(dbAddTrigger(NULL, trigger, NULL, NULL, DB_ON_CHANGE | DB_ON_REJECTED) == DB_ERR_MISUSE,
           "dbAddTrigger on NULL fails");
    expect(dbTriggerOrigin(NULL) == DB_ORIGIN_LOCAL, "no item came from the cloud");

    expect(dbModelCount(NULL) == 0 && dbModelAt(NULL, 0) == NULL, "NULL has no models");
    expect(dbModelEnable(NULL)[0] == '\0' && dbModelSync(NULL)[0] == '\0', "no model is enabled nowhere");
    expect(dbEachPending(NULL, NULL, NULL) == DB_ERR_MISUSE, "dbEachPending on NULL fails");
    expect(dbCheck(NULL, NULL, NULL) == DB_ERR_MISUSE && dbVacuum(NULL) == DB_ERR_MISUSE, "dbCheck and dbVacuum too");

    size_t index;
    const DbItem *item;
    for (DB_ITERATE(NULL, item, index)) {
        expect(false, "NULL is an empty list");
    }
    dbFreeItem(NULL);
    dbFreeList(NULL);
    dbFree(NULL);
    dbClose(NULL);

    IoStatus status = {.size = sizeof status};
    expect(ioOpen(NULL) == NULL, "ioOpen of NULL fails");
    expect(ioGetStatus(NULL, &status) == DB_ERR_MISUSE && status.link == IO_LINK_STOPPED, "ioGetStatus of NULL fails");
    ioClose(NULL);
    return failures == 0 ? 0 : 1;
}
