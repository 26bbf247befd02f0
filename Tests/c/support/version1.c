#include "check.h"
#include "version1.h"

#include <cjson/cJSON.h>
#include <mosquitto.h>
#include <pthread.h>
#include <time.h>

#define ANSWER_TIMEOUT_MS 10000
#define STAMP_SIZE 32

struct Service1 {
    struct mosquitto *client;
    pthread_mutex_t lock;
    bool isGranted, answersUp, answersDown;
    const char *withheld;
    /** By key: `at`, the time of the last change by the service's clock; the `item`; `removed`, if it is. */
    cJSON *rows;
    /** Every change that has come, in order. */
    cJSON *changes;
    int64_t sequence, last_ms;
    int questions, unfit, extended;
    char timestamp[STAMP_SIZE], told[STAMP_SIZE];
    cJSON *tellings;
};

static const char *textOf(const cJSON *object, const char *member)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, member));
    return text != NULL ? text : "";
}

/** The service's clock: later at each call. */
static void stamp(Service1 *service, char out[STAMP_SIZE])
{
    int64_t now_ms = wall_ms();
    service->last_ms = now_ms > service->last_ms ? now_ms : service->last_ms + 1;
    time_t seconds = (time_t) (service->last_ms / 1000);
    struct tm parts;
    char day[24];
    gmtime_r(&seconds, &parts);
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(out, STAMP_SIZE, "%s.%03dZ", day, (int) (service->last_ms % 1000));
}

/** Publish an object and free it. */
static void publish(Service1 *service, const char *owner, const char *verb, cJSON *payload)
{
    char *text = cJSON_PrintUnformatted(payload);
    if (text == NULL) abort();
    char topic[128];
    snprintf(topic, sizeof topic, "ioto/%s/sync/%s", owner, verb);
    mosquitto_publish(service->client, NULL, topic, (int) strlen(text), text, 1, false);
    cJSON_free(text);
    cJSON_Delete(payload);
}

/* ---- What the device says ---- */

static bool isStamp(const char *text)
{
    static const char shape[] = "0000-00-00T00:00:00.000Z";
    if (strlen(text) != sizeof shape - 1) return false;
    for (size_t index = 0; index < sizeof shape - 1; index++) {
        bool isDigit = text[index] >= '0' && text[index] <= '9';
        if (shape[index] == '0' ? !isDigit : text[index] != shape[index]) return false;
    }
    return true;
}

static bool isChange(const cJSON *change)
{
    static const char *const commands[] = {"create", "update", "upsert", "remove"};
    const char *key = textOf(change, "key");
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(change, "item");
    bool isCommand = false;
    for (size_t index = 0; index < sizeof commands / sizeof *commands; index++) {
        isCommand = isCommand || strcmp(textOf(change, "cmd"), commands[index]) == 0;
    }
    return isCommand && *key != '\0' && cJSON_IsObject(item) && strcmp(textOf(item, "sk"), key) == 0 &&
           *textOf(item, "_type") != '\0' && !cJSON_HasObjectItem(item, "pk") && strcmp(textOf(item, "deviceId"), "d1") == 0 &&
           strcmp(textOf(item, "accountId"), "a1") == 0 && isStamp(textOf(item, "updated"));
}

/** Take an item, whose owner is the table from now on, in the place of the one of its key. */
static cJSON *store(Service1 *service, const char *at, cJSON *item, bool isRemoved)
{
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "at", at);
    cJSON_AddItemToObject(row, "item", item);
    if (isRemoved) cJSON_AddTrueToObject(row, "removed");
    cJSON_DeleteItemFromObjectCaseSensitive(service->rows, textOf(item, "sk"));
    cJSON_AddItemToObject(service->rows, textOf(item, "sk"), row);
    return row;
}

static void receiveChanges(Service1 *service, const cJSON *message)
{
    const cJSON *sequence = cJSON_GetObjectItemCaseSensitive(message, "seq");
    const cJSON *changes = cJSON_GetObjectItemCaseSensitive(message, "changes");
    const cJSON *change;
    bool isFit = cJSON_IsNumber(sequence) && cJSON_GetArraySize(changes) > 0;
    bool isExtended = cJSON_GetArraySize(message) > 2;
    cJSON *keys = cJSON_CreateArray();
    char now[STAMP_SIZE];
    stamp(service, now);
    if (isFit) service->sequence = (int64_t) sequence->valuedouble;
    cJSON_ArrayForEach(change, changes)
    {
        bool isOne = isChange(change);
        isFit = isFit && isOne;
        isExtended = isExtended || cJSON_GetArraySize(change) > 3;
        cJSON_AddItemToArray(service->changes, cJSON_Duplicate(change, true));
        const char *key = textOf(change, "key");
        if (!isOne || !service->answersUp || (service->withheld != NULL && strcmp(service->withheld, key) == 0)) continue;
        cJSON *item = cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(change, "item"), true);
        store(service, now, item, strcmp(textOf(change, "cmd"), "remove") == 0);
        cJSON_AddItemToArray(keys, cJSON_CreateString(key));
    }
    service->unfit += !isFit;
    service->extended += isExtended;
    if (cJSON_GetArraySize(keys) == 0) {
        cJSON_Delete(keys);
        return;
    }
    cJSON *answer = cJSON_CreateObject();
    cJSON_AddNumberToObject(answer, "seq", (double) service->sequence);
    cJSON_AddItemToObject(answer, "keys", keys);
    cJSON_AddStringToObject(answer, "updated", now);
    publish(service, "device/d1", "SYNC", answer);
}

/** Tell the device what a row holds: a removal is named by `_type` and `sk` alone. */
static void tell(Service1 *service, const char *owner, const char *verb, const cJSON *row)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(row, "item");
    cJSON *told = cJSON_HasObjectItem(row, "removed") ? cJSON_CreateObject() : cJSON_Duplicate(item, true);
    if (cJSON_HasObjectItem(row, "removed")) {
        cJSON_AddStringToObject(told, "_type", textOf(item, "_type"));
        cJSON_AddStringToObject(told, "sk", textOf(item, "sk"));
    }
    publish(service, owner, verb, told);
}

static void receiveQuestion(Service1 *service, const cJSON *message)
{
    const char *since = textOf(message, "timestamp");
    service->questions++;
    service->unfit += !isStamp(since);
    service->extended += cJSON_GetArraySize(message) > 1;
    snprintf(service->timestamp, sizeof service->timestamp, "%s", since);
    if (!service->answersDown) return;
    const cJSON *row;
    cJSON_ArrayForEach(row, service->rows)
    {
        if (strcmp(textOf(row, "at"), since) <= 0) continue;
        tell(service, "device/d1", cJSON_HasObjectItem(row, "removed") ? "REMOVE" : "UPSERT", row);
    }
    stamp(service, service->told);
    cJSON_AddItemToArray(service->tellings, cJSON_CreateString(service->told));
    cJSON *end = cJSON_CreateObject();
    cJSON_AddStringToObject(end, "updated", service->told);
    publish(service, "device/d1", "SYNCDOWN", end);
}

static void onMessage(struct mosquitto *client, void *context, const struct mosquitto_message *message)
{
    Service1 *service = context;
    (void) client;
    const char *verb = strrchr(message->topic, '/') + 1;
    cJSON *json = cJSON_ParseWithLength(message->payload, (size_t) message->payloadlen);
    pthread_mutex_lock(&service->lock);
    if (strcmp(verb, "syncToDynamo") == 0) {
        receiveChanges(service, json);
    } else if (strcmp(verb, "syncDown") == 0) {
        receiveQuestion(service, json);
    }
    pthread_mutex_unlock(&service->lock);
    cJSON_Delete(json);
}

/* ---- Session ---- */

static void onConnect(struct mosquitto *client, void *context, int code)
{
    (void) context;
    if (code == 0) mosquitto_subscribe(client, NULL, "$aws/rules/IotoDevice/ioto/service/d1/db/+", 1);
}

static void onSubscribe(struct mosquitto *client, void *context, int id, int count, const int *granted)
{
    Service1 *service = context;
    (void) client;
    (void) id;
    (void) count;
    (void) granted;
    pthread_mutex_lock(&service->lock);
    service->isGranted = true;
    pthread_mutex_unlock(&service->lock);
}

static bool isGranted(Service1 *service)
{
    pthread_mutex_lock(&service->lock);
    bool result = service->isGranted;
    pthread_mutex_unlock(&service->lock);
    return result;
}

Service1 *service1Start(int port)
{
    Service1 *service = calloc(1, sizeof *service);
    if (service == NULL) abort();
    pthread_mutex_init(&service->lock, NULL);
    service->rows = cJSON_CreateObject();
    service->tellings = cJSON_CreateArray();
    service->changes = cJSON_CreateArray();
    service->sequence = -1;
    service->answersUp = service->answersDown = true;
    mosquitto_lib_init();
    service->client = mosquitto_new(NULL, true, service);
    REQUIRE(service->client != NULL);
    mosquitto_message_callback_set(service->client, onMessage);
    mosquitto_subscribe_callback_set(service->client, onSubscribe);
    mosquitto_connect_callback_set(service->client, onConnect);
    REQUIRE(mosquitto_connect(service->client, "127.0.0.1", port, 60) == MOSQ_ERR_SUCCESS);
    REQUIRE(mosquitto_loop_start(service->client) == MOSQ_ERR_SUCCESS);
    EXPECT_WITHIN(ANSWER_TIMEOUT_MS, isGranted(service));
    return service;
}

void service1Stop(Service1 *service)
{
    if (service == NULL) return;
    mosquitto_disconnect(service->client);
    mosquitto_loop_stop(service->client, true);
    mosquitto_destroy(service->client);
    mosquitto_lib_cleanup();
    cJSON_Delete(service->rows);
    cJSON_Delete(service->tellings);
    cJSON_Delete(service->changes);
    pthread_mutex_destroy(&service->lock);
    free(service);
}

void service1Answer(Service1 *service, bool isUp, bool isDown)
{
    pthread_mutex_lock(&service->lock);
    service->answersUp = isUp;
    service->answersDown = isDown;
    pthread_mutex_unlock(&service->lock);
}

void service1Withhold(Service1 *service, const char *key)
{
    pthread_mutex_lock(&service->lock);
    service->withheld = key;
    pthread_mutex_unlock(&service->lock);
}

/* ---- What the service says ---- */

void service1PutAt(Service1 *service, const char *owner, const char *verb, const char *json)
{
    cJSON *item = cJSON_Parse(json);
    REQUIRE(item != NULL);
    char now[STAMP_SIZE];
    pthread_mutex_lock(&service->lock);
    stamp(service, now);
    cJSON_AddStringToObject(item, "updated", now);
    tell(service, owner, verb, store(service, now, item, strcmp(verb, "REMOVE") == 0));
    pthread_mutex_unlock(&service->lock);
}

void service1Put(Service1 *service, const char *verb, const char *json) { service1PutAt(service, "device/d1", verb, json); }

void service1Remove(Service1 *service, const char *model, const char *key)
{
    service1Put(service, "REMOVE", format("{\"_type\":\"%s\",\"sk\":\"%s\"}", model, key));
}

void service1Repeat(Service1 *service, const char *verb, const char *key)
{
    pthread_mutex_lock(&service->lock);
    tell(service, "device/d1", verb, cJSON_GetObjectItemCaseSensitive(service->rows, key));
    pthread_mutex_unlock(&service->lock);
}

void service1Say(Service1 *service, const char *verb, const char *payload)
{
    cJSON *json = cJSON_Parse(payload);
    REQUIRE(json != NULL);
    publish(service, "device/d1", verb, json);
}

/* ---- Questions of the scenario ---- */

bool service1Has(Service1 *service, const char *key)
{
    pthread_mutex_lock(&service->lock);
    const cJSON *row = cJSON_GetObjectItemCaseSensitive(service->rows, key);
    bool result = row != NULL && !cJSON_HasObjectItem(row, "removed");
    pthread_mutex_unlock(&service->lock);
    return result;
}

bool service1Is(Service1 *service, const char *key, const char *member, const char *value)
{
    pthread_mutex_lock(&service->lock);
    const cJSON *row = cJSON_GetObjectItemCaseSensitive(service->rows, key);
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(row, "item"), member);
    bool result = cJSON_IsNumber(found) ? found->valuedouble == strtod(value, NULL)
                                        : cJSON_IsString(found) && strcmp(found->valuestring, value) == 0;
    pthread_mutex_unlock(&service->lock);
    return result;
}

bool service1HasTold(Service1 *service, const char *time)
{
    bool result = false;
    const cJSON *telling;
    pthread_mutex_lock(&service->lock);
    cJSON_ArrayForEach(telling, service->tellings) result = result || strcmp(cJSON_GetStringValue(telling), time) == 0;
    pthread_mutex_unlock(&service->lock);
    return result;
}

/** The number of such changes, and the last one. Under the lock. */
static int find(Service1 *service, const char *cmd, const char *key, const cJSON **last)
{
    int matches = 0;
    const cJSON *change;
    cJSON_ArrayForEach(change, service->changes)
    {
        if (cmd != NULL && strcmp(textOf(change, "cmd"), cmd) != 0) continue;
        if (key != NULL && strcmp(textOf(change, "key"), key) != 0) continue;
        matches++;
        *last = change;
    }
    return matches;
}

int service1Heard(Service1 *service, const char *cmd, const char *key)
{
    const cJSON *last = NULL;
    pthread_mutex_lock(&service->lock);
    int matches = find(service, cmd, key, &last);
    pthread_mutex_unlock(&service->lock);
    return matches;
}

char *service1Change(Service1 *service, const char *cmd, const char *key)
{
    const cJSON *last = NULL;
    pthread_mutex_lock(&service->lock);
    char *text = find(service, cmd, key, &last) > 0 ? cJSON_PrintUnformatted(last) : NULL;
    pthread_mutex_unlock(&service->lock);
    return text;
}

static int number(Service1 *service, const int *value)
{
    pthread_mutex_lock(&service->lock);
    int result = *value;
    pthread_mutex_unlock(&service->lock);
    return result;
}

static char *copy(Service1 *service, const char *text)
{
    pthread_mutex_lock(&service->lock);
    char *result = strdup(text);
    pthread_mutex_unlock(&service->lock);
    return result;
}

int64_t service1Sequence(Service1 *service)
{
    pthread_mutex_lock(&service->lock);
    int64_t result = service->sequence;
    pthread_mutex_unlock(&service->lock);
    return result;
}

int service1Questions(Service1 *service) { return number(service, &service->questions); }
int service1Unfit(Service1 *service) { return number(service, &service->unfit); }
int service1Extended(Service1 *service) { return number(service, &service->extended); }
char *service1Timestamp(Service1 *service) { return copy(service, service->timestamp); }
char *service1Told(Service1 *service) { return copy(service, service->told); }
