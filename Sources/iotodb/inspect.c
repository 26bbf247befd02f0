/*
 * Commands on the database as a whole: models, stats, outbox, check, vacuum.
 */
#include "iotodb.h"

#include <stdlib.h>
#include <string.h>

const DbModel *nextModel(Session *session, size_t *index)
{
    const DbModel *model;
    while ((model = dbModelAt(session->db, (*index)++)) != NULL) {
        if (strcmp(dbModelEnable(model), "cloud") != 0) return model;
    }
    return NULL;
}

int runModels(Session *session)
{
    const Options *options = &session->options;
    Table table = {.columns = options->isCounting ? 4 : 3};
    if (!options->isJson) {
        tableCell(&table, "MODEL");
        tableCell(&table, "ENABLE");
        tableCell(&table, "SYNC");
        if (options->isCounting) tableCell(&table, "ITEMS");
    }
    const DbModel *model;
    for (size_t index = 0; (model = dbModelAt(session->db, index)) != NULL; index++) {
        int64_t items = options->isCounting ? dbCount(session->db, dbModelName(model), NULL, NULL) : 0;
        if (items < 0) return failed();
        if (options->isJson) {
            printf("{\"model\":");
            putJsonString(stdout, dbModelName(model));
            printf(",\"enable\":\"%s\",\"sync\":\"%s\"", dbModelEnable(model), dbModelSync(model));
            if (options->isCounting) printf(",\"items\":%lld", (long long) items);
            puts("}");
            continue;
        }
        tableCell(&table, dbModelName(model));
        tableCell(&table, dbModelEnable(model));
        tableCell(&table, dbModelSync(model));
        if (options->isCounting) tableNumber(&table, items);
    }
    if (!options->isJson) tablePrint(&table);
    return EXIT_DONE;
}

/* Outbox */

typedef struct Outbox {
    const Options *options;
    Table table;
    uint32_t count;
} Outbox;

static void putPendingJson(const DbPending *change)
{
    const char *json = dbItemJson(change->item);
    printf("{\"model\":");
    putJsonString(stdout, change->model);
    printf(",\"cmd\":\"%s\",\"queued\":\"%s\",\"changed\":\"%s\"", change->cmd, isoTime(change->queued_ms),
           isoTime(change->changed_ms));
    if (change->refused_ms > 0) {
        printf(",\"number\":%lld,\"refused\":\"%s\",\"code\":%d,\"reason\":", (long long) change->id,
               isoTime(change->refused_ms), (int) change->code);
        putJsonString(stdout, change->reason);
    }
    fputs(",\"item\":", stdout);
    putJson(stdout, (Slice){json, strlen(json)});
    puts("}");
}

static bool listChange(void *context, const DbPending *change)
{
    Outbox *outbox = context;
    outbox->count++;
    if (outbox->options->isJson) {
        putPendingJson(change);
    } else {
        if (outbox->options->isRejected) tableNumber(&outbox->table, change->id);
        tableCell(&outbox->table, isoTime(change->queued_ms));
        tableCell(&outbox->table, change->cmd);
        tableCell(&outbox->table, change->model);
        if (outbox->options->isRejected) {
            tableNumber(&outbox->table, change->code);
            tableCell(&outbox->table, change->reason);
        }
        tableCell(&outbox->table, dbItemJson(change->item));
        // A queue may be long: it is printed in parts.
        if (outbox->count % PAGE_ITEMS == 0) tablePrint(&outbox->table);
    }
    return outbox->options->limit == 0 || outbox->count < outbox->options->limit;
}

int runOutbox(Session *session)
{
    bool isRejected = session->options.isRejected;
    Outbox outbox = {.options = &session->options, .table = {.columns = isRejected ? 7 : 4}};
    if (!session->options.isJson) {
        if (isRejected) tableCell(&outbox.table, "NUMBER");
        tableCell(&outbox.table, "QUEUED");
        tableCell(&outbox.table, "CHANGE");
        tableCell(&outbox.table, "MODEL");
        if (isRejected) {
            tableCell(&outbox.table, "CODE");
            tableCell(&outbox.table, "REASON");
        }
        tableCell(&outbox.table, "ITEM");
    }
    int count = isRejected ? dbEachRejected(session->db, listChange, &outbox)
                           : dbEachPending(session->db, listChange, &outbox);
    if (!session->options.isJson) tablePrint(&outbox.table);
    return count < 0 ? failed() : EXIT_DONE;
}

/* Stats */

static bool takeOldest(void *context, const DbPending *change)
{
    int64_t *oldest_ms = context;
    if (*oldest_ms == 0 || change->queued_ms < *oldest_ms) *oldest_ms = change->queued_ms;
    return true;
}

/** A line of the table, or a member of the JSON object. */
static void putStatistic(Session *session, Table *table, const char *name, int64_t number)
{
    if (session->options.isJson) {
        printf(",\"%s\":%lld", name, (long long) number);
    } else {
        tableCell(table, name);
        tableNumber(table, number);
    }
}

static int putItemCounts(Session *session, Table *table)
{
    const DbModel *model;
    bool isFirst = true;
    if (session->options.isJson) fputs(",\"items\":{", stdout);
    for (size_t index = 0; (model = nextModel(session, &index)) != NULL; isFirst = false) {
        int64_t items = dbCount(session->db, dbModelName(model), NULL, NULL);
        if (items < 0) return failed();
        if (session->options.isJson) {
            if (!isFirst) putchar(',');
            putJsonString(stdout, dbModelName(model));
            printf(":%lld", (long long) items);
        } else {
            char name[300];
            snprintf(name, sizeof name, "items.%s", dbModelName(model));
            tableCell(table, name);
            tableNumber(table, items);
        }
    }
    if (session->options.isJson) putchar('}');
    return EXIT_DONE;
}

int runStats(Session *session)
{
    Table table = {.columns = 2};
    DbStats stats = {.size = sizeof stats};
    int64_t oldest_ms = 0;
    if (dbGetStats(session->db, &stats) < 0) return failed();
    if (dbEachPending(session->db, takeOldest, &oldest_ms) < 0) return failed();
    if (session->options.isJson) {
        fputs("{\"path\":", stdout);
        putJsonString(stdout, session->path);
    }
    putStatistic(session, &table, "fileBytes", stats.fileBytes);
    putStatistic(session, &table, "freeBytes", stats.freeBytes);
    putStatistic(session, &table, "logBytes", stats.logBytes);
    putStatistic(session, &table, "models", (int64_t) dbModelCount(session->db));
    putStatistic(session, &table, "allItems", stats.items);
    putStatistic(session, &table, "removedItems", stats.tombstones);
    putStatistic(session, &table, "pendingItems", stats.outboxItems);
    putStatistic(session, &table, "pendingBytes", stats.outboxBytes);
    putStatistic(session, &table, "rejectedItems", stats.rejectedItems);
    if (session->options.isJson) {
        printf(",\"oldestPending\":%s%s%s", oldest_ms > 0 ? "\"" : "", oldest_ms > 0 ? isoTime(oldest_ms) : "null",
               oldest_ms > 0 ? "\"" : "");
    } else if (oldest_ms > 0) {
        tableCell(&table, "oldestPending");
        tableCell(&table, isoTime(oldest_ms));
    }
    int code = session->options.isCounting ? putItemCounts(session, &table) : EXIT_DONE;
    if (session->options.isJson) puts("}");
    if (!session->options.isJson) tablePrint(&table);
    return code;
}

/* Upkeep */

static void putProblem(void *context, const char *problem)
{
    const Session *session = context;
    if (session->options.isJson) {
        fputs("{\"problem\":", stdout);
        putJsonString(stdout, problem);
        puts("}");
    } else {
        putText(stdout, problem);
        putchar('\n');
    }
}

int runCheck(Session *session)
{
    int count = dbCheck(session->db, putProblem, session);
    if (count < 0) return failed();
    if (session->options.isJson) {
        printf("{\"problems\":%d}\n", count);
    } else if (count > 0) {
        complain("%s: %d problems", session->path, count);
    } else if (!session->options.isQuiet) {
        printf("%s: sound\n", session->path);
    }
    return count > 0 ? EXIT_FAILED : EXIT_DONE;
}

int runVacuum(Session *session)
{
    int64_t bytes = dbVacuum(session->db);
    if (bytes < 0) return failed();
    if (session->options.isJson) {
        printf("{\"bytes\":%lld}\n", (long long) bytes);
    } else if (!session->options.isQuiet) {
        printf("%lld bytes given back\n", (long long) bytes);
    }
    return EXIT_DONE;
}
