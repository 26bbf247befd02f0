/* Open a database, hear of its changes, create an item and find it again. Run it beside quickstart.json5, its schema. */
#include <ioto.h>
#include <stdio.h>

static void onFault(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params, const char *cmd,
                    int events)
{
    printf("%s %s: %s\n", cmd, dbModelName(model), dbItemJson(item));
}

int main(void)
{
    Db *db = dbOpen("quickstart.db", "quickstart.json5", 0);
    if (db == NULL) {
        fprintf(stderr, "%s\n", dbGetError(NULL));
        return 1;
    }
    dbAddTrigger(db, onFault, "Fault", NULL, DB_ON_CHANGE);

    DbItem *fault = dbCreate(db, "Fault", DB_PROPS("severity", "critical", "message", "Pump 2 runs dry"), NULL);
    if (fault == NULL) fprintf(stderr, "%s\n", dbGetError(NULL));
    dbFreeItem(fault);

    DbList *list = dbFind(db, "Fault", DB_PROPS("severity", "critical"), DB_PARAMS(.limit = 20));
    const DbItem *item;
    size_t index;
    for (DB_ITERATE(list, item, index)) printf("found %s: %s\n", dbField(item, "id"), dbField(item, "message"));
    dbFreeList(list);
    dbClose(db);
    return 0;
}
