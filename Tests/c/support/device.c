#include "device.h"

#include <pthread.h>

#define WITNESS_TEXT_MAX 16384
#define SCHEMA_BYTES_MAX 65536

typedef struct Testimony {
    struct Testimony *next;
    char cmd[16];
    char model[32];
    char id[64];
    int origin;
} Testimony;

struct Witness {
    pthread_mutex_t lock;
    Testimony *first;
    Testimony *last;
    char text[WITNESS_TEXT_MAX];
};

/* ---- Agent ---- */

Io *deviceOpen(const char *database, int brokerPort, const char *syncDelay)
{
    return deviceOpenUnder(testData("schema.json5"), database, brokerPort, syncDelay);
}

Io *deviceOpenUnder(const char *schema, const char *database, int brokerPort, const char *syncDelay)
{
    return ioOpen(format("{\n"
                         "    deviceId: 'd1', accountId: 'a1',\n"
                         "    database: { path: '%s', schema: '%s', syncDelay: '%s' },\n"
                         "    mqtt: { endpoint: '127.0.0.1', port: %d },\n"
                         "}\n",
                         scratch(database), schema, syncDelay, brokerPort));
}

void schemaWith(const char *name, const char *from, const char *to)
{
    static char text[SCHEMA_BYTES_MAX];
    FILE *file = fopen(testData("schema.json5"), "r");
    REQUIRE(file != NULL);
    size_t size = fread(text, 1, sizeof text - 1, file);
    REQUIRE(size < sizeof text - 1);
    fclose(file);
    text[size] = '\0';
    const char *place = strstr(text, from);
    REQUIRE(place != NULL);
    file = fopen(scratch(name), "w");
    REQUIRE(file != NULL);
    fprintf(file, "%.*s%s%s", (int) (place - text), text, to, place + strlen(from));
    fclose(file);
}

Io *deviceStart(const char *database, int brokerPort, const char *syncDelay)
{
    Io *io = deviceOpen(database, brokerPort, syncDelay);
    REQUIRE(io != NULL);
    REQUIRE(ioStart(io) == 0);
    return io;
}

IoStatus deviceStatus(Io *io)
{
    IoStatus status;
    memset(&status, 0, sizeof status);
    status.size = sizeof status;
    EXPECT_CODE(ioGetStatus(io, &status), 0);
    return status;
}

bool deviceIsFlushed(Io *io) { return deviceStatus(io).pendingItems == 0; }

/* ---- Witness ---- */

static void copyText(char *out, size_t size, const char *text) { snprintf(out, size, "%s", text != NULL ? text : ""); }

static void onTrigger(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params, const char *cmd,
                      int events)
{
    Witness *witness = arg;
    Testimony *testimony = calloc(1, sizeof *testimony);
    (void) db;
    (void) params;
    (void) events;
    if (testimony == NULL) abort();
    copyText(testimony->cmd, sizeof testimony->cmd, cmd);
    copyText(testimony->model, sizeof testimony->model, dbModelName(model));
    copyText(testimony->id, sizeof testimony->id, dbField(item, "id"));
    testimony->origin = (int) dbTriggerOrigin(item);
    pthread_mutex_lock(&witness->lock);
    if (witness->last != NULL) {
        witness->last->next = testimony;
    } else {
        witness->first = testimony;
    }
    witness->last = testimony;
    pthread_mutex_unlock(&witness->lock);
}

Witness *witnessAdd(Db *db, const char *model, int events)
{
    Witness *witness = calloc(1, sizeof *witness);
    if (witness == NULL) abort();
    pthread_mutex_init(&witness->lock, NULL);
    EXPECT_CODE(dbAddTrigger(db, onTrigger, model, witness, events), 0);
    return witness;
}

static bool matches(const char *text, const char *wanted) { return wanted == NULL || strcmp(text, wanted) == 0; }

int witnessCount(Witness *witness, const char *cmd, const char *model, const char *id, int origin)
{
    int found = 0;
    pthread_mutex_lock(&witness->lock);
    for (const Testimony *one = witness->first; one != NULL; one = one->next) {
        if (matches(one->cmd, cmd) && matches(one->model, model) && matches(one->id, id) &&
            (origin < 0 || one->origin == origin)) {
            found++;
        }
    }
    pthread_mutex_unlock(&witness->lock);
    return found;
}

const char *witnessText(Witness *witness)
{
    size_t used = 0;
    pthread_mutex_lock(&witness->lock);
    witness->text[0] = '\0';
    for (const Testimony *one = witness->first; one != NULL && used < WITNESS_TEXT_MAX - 1; one = one->next) {
        int wrote = snprintf(witness->text + used, WITNESS_TEXT_MAX - used, "%s %s %s %s\n", one->cmd, one->model, one->id,
                             one->origin == DB_ORIGIN_REMOTE ? "remote" : "local");
        if (wrote > 0) used += (size_t) wrote;
    }
    pthread_mutex_unlock(&witness->lock);
    return witness->text;
}

void witnessFree(Witness *witness)
{
    if (witness == NULL) return;
    while (witness->first != NULL) {
        Testimony *next = witness->first->next;
        free(witness->first);
        witness->first = next;
    }
    pthread_mutex_destroy(&witness->lock);
    free(witness);
}

/* ---- Child ---- */

void childBegin(char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    scratchAdopt(argv[2]);
    scenarioLog(IO_LOG_WARNING);
}
