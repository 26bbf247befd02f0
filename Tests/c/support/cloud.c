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

void cloudStart(Cloud *cloud)
{
    const char *log = scratch("cloud.log");
    int before = readyCount(log);
    const char *arguments[] = {program(), "serve", "--store", store(), "--schema", testData("schema.json5"), "--broker",
                               format("mqtt://127.0.0.1:%d", cloud->brokerPort), NULL};
    cloud->child = childStart(arguments, log, false);
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
                                            testData("schema.json5"), "--model", model, last, NULL};
    return childRun(arguments, scratch("items.log"), out_text);
}

bool cloudPut(const char *model, const char *json) { return items("put", model, json, NULL) == 0; }

bool cloudRemove(const char *model, const char *json) { return items("remove", model, json, NULL) == 0; }

static bool isOf(const cJSON *item, const char *model)
{
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(item, "_type");
    return cJSON_IsString(type) && strcmp(type->valuestring, model) == 0;
}

int64_t cloudCount(const char *model)
{
    char *text = NULL;
    int64_t found = 0;
    if (items("list", model, "--json", &text) != 0) found = -1;
    char *position = NULL;
    for (char *line = strtok_r(text, "\n", &position); line != NULL && found >= 0; line = strtok_r(NULL, "\n", &position)) {
        cJSON *item = cJSON_Parse(line);
        if (isOf(item, model)) found++;
        cJSON_Delete(item);
    }
    free(text);
    return found;
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

char *cloudField(const char *model, const char *id, const char *field)
{
    char *text = NULL;
    char *result = NULL;
    char *position = NULL;
    items("list", model, "--json", &text);
    for (char *line = strtok_r(text, "\n", &position); line != NULL; line = strtok_r(NULL, "\n", &position)) {
        cJSON *item = cJSON_Parse(line);
        const cJSON *itemId = cJSON_GetObjectItemCaseSensitive(item, "id");
        if (isOf(item, model) && cJSON_IsString(itemId) && strcmp(itemId->valuestring, id) == 0) {
            free(result);
            result = copyField(item, field);
        }
        cJSON_Delete(item);
    }
    free(text);
    return result;
}

bool cloudFieldIs(const char *model, const char *id, const char *field, const char *value)
{
    char *text = cloudField(model, id, field);
    bool isEqual = text != NULL && strcmp(text, value) == 0;
    free(text);
    return isEqual;
}

bool cloudHas(const char *model, const char *id) { return cloudFieldIs(model, id, "id", id); }
