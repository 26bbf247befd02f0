#include "cloud.h"
#include "check.h"

#include <cjson/cJSON.h>
#include <signal.h>

#define START_TIMEOUT_MS 20000
#define ARGUMENTS_MAX 16

static const char *program(void)
{
    const char *path = getenv("IOTO_CLOUD");
    return path != NULL && *path != '\0' ? path : NULL;
}

static const char *store(void) { return format("sqlite:%s", scratch("cloud.db")); }

static char schemaPath[256];

static const char *schemaFile(void) { return schemaPath[0] != '\0' ? schemaPath : testData("schema.json5"); }

void cloudUseSchema(const char *path) { snprintf(schemaPath, sizeof schemaPath, "%s", path); }

static const char *packetSize;

void cloudUsePackets(const char *size) { packetSize = size; }

Cloud cloudMake(int brokerPort)
{
    if (program() == NULL) scenarioSkip("IOTO_CLOUD does not name an ioto-cloud executable");
    return (Cloud){.brokerPort = brokerPort, .child = {0, NULL}};
}

/** Number of times that a log tells of readiness: one for each start. */
static int readyCount(const char *path)
{
    char line[1024];
    int ready = 0;
    FILE *file = fopen(path, "r");
    if (file == NULL) return 0;
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "ioto-cloud: ready", 17) == 0) ready++;
    }
    fclose(file);
    return ready;
}

void cloudLaunch(Cloud *cloud)
{
    const char *arguments[] = {program(), "serve", "--store", store(), "--schema", schemaFile(), "--broker",
                               format("mqtt://127.0.0.1:%d", cloud->brokerPort),
                               packetSize != NULL ? "--packet-size" : NULL, packetSize, NULL};
    cloud->child = childStart(arguments, scratch("cloud.log"), false);
}

void cloudStart(Cloud *cloud)
{
    const char *log = scratch("cloud.log");
    int before = readyCount(log);
    cloudLaunch(cloud);
    int64_t deadline_ms = clock_ms() + START_TIMEOUT_MS;
    while (readyCount(log) == before && clock_ms() < deadline_ms) pause_ms(20);
    REQUIRE(readyCount(log) > before);
}

void cloudStop(Cloud *cloud) { EXPECT_NUMBER(childStop(&cloud->child), 0); }

void cloudKill(Cloud *cloud) { childKill(&cloud->child); }

void cloudPause(Cloud *cloud) { childSignal(&cloud->child, SIGSTOP); }

void cloudResume(Cloud *cloud) { childSignal(&cloud->child, SIGCONT); }

/** Run `ioto-cloud items <verb> ... <rest>`. */
static int items(const char *verb, const char *model, const char *last, char **out_text)
{
    const char *arguments[ARGUMENTS_MAX] = {program(), "items", verb, "--store", store(), "--schema",
                                            schemaFile(), "--model", model, last, NULL};
    return childRun(arguments, scratch("items.log"), out_text);
}

bool cloudPut(const char *model, const char *json) { return items("put", model, json, NULL) == 0; }

bool cloudPutFile(const char *model, const char *path)
{
    const char *arguments[] = {"/bin/sh", "-c", "file=$1; shift; exec \"$@\" <\"$file\"", "sh", path, program(), "items", "put",
                               "--store", store(), "--schema", schemaFile(), "--model", model, "-", NULL};
    return childRun(arguments, scratch("items.log"), NULL) == 0;
}

bool cloudRemove(const char *model, const char *json) { return items("remove", model, json, NULL) == 0; }

static bool isOf(const cJSON *item, const char *model)
{
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(item, "_type");
    return cJSON_IsString(type) && strcmp(type->valuestring, model) == 0;
}

cJSON *cloudItems(const char *model)
{
    char *text = NULL;
    char *position = NULL;
    cJSON *list = items("list", model, "--json", &text) == 0 ? cJSON_CreateArray() : NULL;
    char *line = list == NULL ? NULL : strtok_r(text, "\n", &position);
    for (; line != NULL; line = strtok_r(NULL, "\n", &position)) {
        cJSON *item = cJSON_Parse(line);
        if (isOf(item, model)) {
            cJSON_AddItemToArray(list, item);
        } else {
            cJSON_Delete(item);
        }
    }
    free(text);
    return list;
}

int64_t cloudCount(const char *model)
{
    cJSON *list = cloudItems(model);
    int64_t found = list == NULL ? -1 : cJSON_GetArraySize(list);
    cJSON_Delete(list);
    return found;
}

char *cloudDigest(const char *stream, bool isListing)
{
    const char *arguments[ARGUMENTS_MAX] = {program(), "digest", "--store", store(), "--schema", schemaFile(), "--stream",
                                            stream, isListing ? "--list" : NULL, NULL};
    char *text = NULL;
    if (childRun(arguments, scratch("digest.log"), &text) == 0) return text;
    free(text);
    return NULL;
}

static char *copyField(const cJSON *item, const char *field)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(item, field);
    if (value == NULL) return NULL;
    char *printed = cJSON_IsString(value) ? NULL : cJSON_PrintUnformatted(value);
    const char *text = printed != NULL ? printed : value->valuestring;
    char *copy = malloc(strlen(text) + 1);
    if (copy == NULL) abort();
    strcpy(copy, text);
    cJSON_free(printed);
    return copy;
}

/** The item with this id, within the list. */
static const cJSON *find(const cJSON *list, const char *id)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        const char *itemId = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "id"));
        if (itemId != NULL && strcmp(itemId, id) == 0) return item;
    }
    return NULL;
}

char *cloudField(const char *model, const char *id, const char *field)
{
    cJSON *list = cloudItems(model);
    char *text = copyField(find(list, id), field);
    cJSON_Delete(list);
    return text;
}

bool cloudFieldIs(const char *model, const char *id, const char *field, const char *value)
{
    char *text = cloudField(model, id, field);
    bool isEqual = text != NULL && strcmp(text, value) == 0;
    free(text);
    return isEqual;
}

bool cloudHas(const char *model, const char *id) { return cloudFieldIs(model, id, "id", id); }

/** Whether a field of both sides has the same text, or is on neither. */
static bool isSame(const cJSON *item, const DbItem *local, const char *field)
{
    char *text = copyField(item, field);
    const char *localText = dbField(local, field);
    bool isEqual = text == NULL ? localText == NULL : localText != NULL && strcmp(text, localText) == 0;
    free(text);
    return isEqual;
}

static int compareIds(const void *left, const void *right)
{
    const cJSON *one = *(const cJSON *const *) left, *other = *(const cJSON *const *) right;
    const char *id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(one, "id"));
    const char *otherId = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(other, "id"));
    return strcmp(id != NULL ? id : "", otherId != NULL ? otherId : "");
}

/** The items of a list in the order of their ids. */
static const cJSON **sorted(const cJSON *list, size_t count)
{
    const cJSON **items = calloc(count + 1, sizeof *items);
    if (items == NULL) abort();
    const cJSON *item = list->child;
    for (size_t index = 0; index < count; index++, item = item->next) items[index] = item;
    qsort(items, count, sizeof *items, compareIds);
    return items;
}

bool cloudAgrees(Db *db, const char *model)
{
    static const char *const fields[] = {"text", "value", "count"};
    cJSON *list = cloudItems(model);
    DbList *local = dbFind(db, model, NULL, NULL);
    bool isEqual = list != NULL && local != NULL;
    size_t count = isEqual ? (size_t) cJSON_GetArraySize(list) : 0;
    if (isEqual && count != dbListCount(local)) {
        note("%s: the cloud has %zu, the device %zu", model, count, dbListCount(local));
        isEqual = false;
    }
    const cJSON **others = isEqual ? sorted(list, count) : NULL;
    const DbItem *item;
    size_t index;
    for (DB_ITERATE(local, item, index)) {
        if (!isEqual) break;
        cJSON id = {.type = cJSON_String, .string = (char *) (uintptr_t) "id",
                    .valuestring = (char *) (uintptr_t) dbField(item, "id")};
        cJSON probe = {.type = cJSON_Object, .child = &id};
        const cJSON *wanted = &probe;
        const cJSON **found = bsearch(&wanted, others, count, sizeof *others, compareIds);
        isEqual = found != NULL;
        if (!isEqual) note("%s %s: not in the cloud", model, id.valuestring);
        for (size_t field = 0; field < sizeof fields / sizeof *fields && isEqual; field++) {
            isEqual = isSame(*found, item, fields[field]);
            if (!isEqual) note("%s %s: %s differs", model, id.valuestring, fields[field]);
        }
    }
    free(others);
    dbFreeList(local);
    cJSON_Delete(list);
    return isEqual;
}
