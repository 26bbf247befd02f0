#include "check.h"
#include "spy.h"

#include <mosquitto.h>
#include <pthread.h>

#define ANSWER_TIMEOUT_MS 10000

typedef struct Heard {
    struct Heard *next;
    char *topic;
    /** The payload with each NUL made a '?', so that it can be searched as text. */
    char *payload;
} Heard;

struct Spy {
    struct mosquitto *client;
    pthread_mutex_t lock;
    Heard *heard;
    int granted;
    int acknowledged;
};

static char *copy(const char *text, size_t size)
{
    char *result = malloc(size + 1);
    if (result == NULL) abort();
    if (size > 0) memcpy(result, text, size);
    for (size_t index = 0; index < size; index++) {
        if (result[index] == '\0') result[index] = '?';
    }
    result[size] = '\0';
    return result;
}

static void onMessage(struct mosquitto *client, void *context, const struct mosquitto_message *message)
{
    Spy *spy = context;
    Heard *heard = malloc(sizeof *heard);
    (void) client;
    if (heard == NULL) abort();
    heard->topic = copy(message->topic, strlen(message->topic));
    heard->payload = copy(message->payload, (size_t) message->payloadlen);
    pthread_mutex_lock(&spy->lock);
    heard->next = spy->heard;
    spy->heard = heard;
    pthread_mutex_unlock(&spy->lock);
}

static void onSubscribe(struct mosquitto *client, void *context, int id, int count, const int *granted)
{
    Spy *spy = context;
    (void) client;
    (void) id;
    (void) count;
    (void) granted;
    pthread_mutex_lock(&spy->lock);
    spy->granted++;
    pthread_mutex_unlock(&spy->lock);
}

static void onPublish(struct mosquitto *client, void *context, int id)
{
    Spy *spy = context;
    (void) client;
    (void) id;
    pthread_mutex_lock(&spy->lock);
    spy->acknowledged++;
    pthread_mutex_unlock(&spy->lock);
}

static void onConnect(struct mosquitto *client, void *context, int code)
{
    (void) context;
    if (code != 0) return;
    mosquitto_subscribe(client, NULL, "#", 1);
    mosquitto_subscribe(client, NULL, "$aws/#", 1);
}

/** Read one of the spy's counters under its lock. */
static int counter(Spy *spy, const int *value)
{
    pthread_mutex_lock(&spy->lock);
    int result = *value;
    pthread_mutex_unlock(&spy->lock);
    return result;
}

Spy *spyStart(int port)
{
    Spy *spy = calloc(1, sizeof *spy);
    if (spy == NULL) abort();
    pthread_mutex_init(&spy->lock, NULL);
    mosquitto_lib_init();
    spy->client = mosquitto_new(NULL, true, spy);
    REQUIRE(spy->client != NULL);
    mosquitto_message_callback_set(spy->client, onMessage);
    mosquitto_subscribe_callback_set(spy->client, onSubscribe);
    mosquitto_publish_callback_set(spy->client, onPublish);
    mosquitto_connect_callback_set(spy->client, onConnect);
    mosquitto_reconnect_delay_set(spy->client, 1, 1, false);
    REQUIRE(mosquitto_connect(spy->client, "127.0.0.1", port, 60) == MOSQ_ERR_SUCCESS);
    REQUIRE(mosquitto_loop_start(spy->client) == MOSQ_ERR_SUCCESS);
    EXPECT_WITHIN(ANSWER_TIMEOUT_MS, counter(spy, &spy->granted) >= 2);
    return spy;
}

void spyStop(Spy *spy)
{
    if (spy == NULL) return;
    mosquitto_disconnect(spy->client);
    mosquitto_loop_stop(spy->client, true);
    mosquitto_destroy(spy->client);
    mosquitto_lib_cleanup();
    while (spy->heard != NULL) {
        Heard *next = spy->heard->next;
        free(spy->heard->topic);
        free(spy->heard->payload);
        free(spy->heard);
        spy->heard = next;
    }
    pthread_mutex_destroy(&spy->lock);
    free(spy);
}

static bool isWanted(const Heard *heard, const char *topicPart, const char *text)
{
    return (topicPart == NULL || strstr(heard->topic, topicPart) != NULL) &&
           (text == NULL || strstr(heard->payload, text) != NULL);
}

int spyCount(Spy *spy, const char *topicPart, const char *text)
{
    int matches = 0;
    pthread_mutex_lock(&spy->lock);
    for (const Heard *heard = spy->heard; heard != NULL; heard = heard->next) {
        if (isWanted(heard, topicPart, text)) matches++;
    }
    pthread_mutex_unlock(&spy->lock);
    return matches;
}

char *spyLast(Spy *spy, const char *topicPart, const char *text)
{
    char *payload = NULL;
    pthread_mutex_lock(&spy->lock);
    const Heard *heard = spy->heard;
    while (heard != NULL && !isWanted(heard, topicPart, text)) heard = heard->next;
    if (heard != NULL) payload = copy(heard->payload, strlen(heard->payload));
    pthread_mutex_unlock(&spy->lock);
    return payload;
}

bool spyPublish(Spy *spy, const char *topic, const void *payload, size_t size)
{
    int before = counter(spy, &spy->acknowledged);
    if (mosquitto_publish(spy->client, NULL, topic, (int) size, payload, 1, false) != MOSQ_ERR_SUCCESS) return false;
    int64_t deadline_ms = clock_ms() + ANSWER_TIMEOUT_MS;
    while (counter(spy, &spy->acknowledged) == before && clock_ms() < deadline_ms) pause_ms(2);
    return counter(spy, &spy->acknowledged) > before;
}

bool spySay(Spy *spy, const char *topic, const char *payload) { return spyPublish(spy, topic, payload, strlen(payload)); }
