#include "bench.h"

#include "../Tests/c/support/ports.h"
#include "bare.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mosquitto.h>

#define HOST "127.0.0.1"

bool isTuned = true;

const Echo bareEcho = {"echo", "bench/echo/to", "bench/echo/from", "bench/echo/ready"};

int programStart(const char *const *arguments, const char *log)
{
    pid_t process = fork();
    if (process < 0) fail("fork: %s", strerror(errno));
    if (process == 0) {
        int handle = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (handle >= 0) {
            dup2(handle, STDOUT_FILENO);
            dup2(handle, STDERR_FILENO);
        }
        execvp(arguments[0], (char *const *) (uintptr_t) arguments);
        _exit(127);
    }
    return (int) process;
}

void programStop(int process, int signal)
{
    kill(process, signal);
    waitpid(process, NULL, 0);
}

static int broker;

static void brokerStop(void)
{
    if (broker != 0) programStop(broker, SIGTERM);
    broker = 0;
}

int brokerStart(const char *folder)
{
    char file[1024], log[1024];
    const char *program = getenv("MOSQUITTO");
    int port = freePort();
    snprintf(file, sizeof file, "%s/mosquitto.conf", folder);
    snprintf(log, sizeof log, "%s/mosquitto.log", folder);
    FILE *settings = fopen(file, "w");
    if (settings == NULL) fail("%s: %s", file, strerror(errno));
    fprintf(settings, "listener %d " HOST "\nallow_anonymous true\nset_tcp_nodelay %s\nmax_queued_messages 0\n", port,
            isTuned ? "true" : "false");
    fclose(settings);
    const char *arguments[] = {program != NULL && *program != '\0' ? program : "mosquitto", "-c", file, NULL};
    broker = programStart(arguments, log);
    // It gives up being root, and with it the signal of its parent's death.
    atexit(brokerStop);
    for (int turn = 0; turn < 500 && !portAnswers(port); turn++) usleep(20000);
    if (!portAnswers(port)) fail("the broker does not start, see %s", log);
    return port;
}

/* ---------------------------------------------------------------------------------------------------------------- */

struct mosquitto *bareConnect(int port, void *object)
{
    static bool isReady;
    if (!isReady) mosquitto_lib_init();
    isReady = true;
    struct mosquitto *made = mosquitto_new(NULL, true, object);
    if (made == NULL) fail("mosquitto_new");
    if (isTuned) mosquitto_int_option(made, MOSQ_OPT_TCP_NODELAY, 1);
    if (mosquitto_connect(made, HOST, port, 60) != MOSQ_ERR_SUCCESS) fail("the broker can't be reached");
    return made;
}

static void onCount(struct mosquitto *self, void *object, int id, int count, const int *granted)
{
    (void) self;
    (void) id;
    (void) count;
    (void) granted;
    if (*(int *) object == 0) *(int *) object = 1; // A retained message may come before
}

void bareSubscribe(struct mosquitto *self, const char *topic, int *isGranted)
{
    mosquitto_subscribe_callback_set(self, onCount);
    mosquitto_subscribe(self, NULL, topic, 1);
    while (!*isGranted) {
        if (mosquitto_loop(self, 100, 1) != MOSQ_ERR_SUCCESS) fail("the broker does not grant '%s'", topic);
    }
}

void bareLoop(struct mosquitto *self)
{
    if (mosquitto_loop(self, 1000, 1) != MOSQ_ERR_SUCCESS) fail("the bare client has lost the broker");
}

void bareDisconnect(struct mosquitto *self)
{
    mosquitto_disconnect(self);
    mosquitto_destroy(self);
}

void echoServe(const Echo *echo, int port, BareHeard *onMessage, void *object)
{
    struct mosquitto *self = bareConnect(port, object);
    mosquitto_message_callback_set(self, onMessage);
    bareSubscribe(self, echo->to, object);
    mosquitto_publish(self, NULL, echo->ready, 0, NULL, 1, true);
    while (mosquitto_loop(self, -1, 1) == MOSQ_ERR_SUCCESS) continue;
    mosquitto_destroy(self);
}

static void onEcho(struct mosquitto *self, void *object, const struct mosquitto_message *message)
{
    (void) object;
    mosquitto_publish(self, NULL, bareEcho.from, message->payloadlen, message->payload, 1, false);
}

void bareServe(int port)
{
    int isGranted = 0;
    echoServe(&bareEcho, port, onEcho, &isGranted);
}

static void onReady(struct mosquitto *self, void *object, const struct mosquitto_message *message)
{
    (void) self;
    (void) message;
    *(int *) object = 2;
}

int echoStart(const Echo *echo, const char *program, int port, const char *file)
{
    char mode[32], text[16];
    int state = 0;
    snprintf(mode, sizeof mode, "--%s%s", isTuned ? "" : "untuned-", echo->mode);
    snprintf(text, sizeof text, "%d", port);
    int process = programStart((const char *[]){program, mode, text, file, NULL}, "/dev/null");
    struct mosquitto *self = bareConnect(port, &state);
    mosquitto_message_callback_set(self, onReady);
    bareSubscribe(self, echo->ready, &state);
    while (state < 2) {
        if (mosquitto_loop(self, 100, 1) != MOSQ_ERR_SUCCESS) fail("the echo does not start");
    }
    mosquitto_destroy(self);
    return process;
}

typedef struct Bare {
    int isGranted, echoes;
} Bare;

static void onAnswer(struct mosquitto *self, void *object, const struct mosquitto_message *message)
{
    (void) self;
    (void) message;
    ((Bare *) object)->echoes++;
}

double bareRun(int port, int count, size_t size, double *out_seconds)
{
    Bare bare = {0, 0};
    char *payload = malloc(size);
    if (payload == NULL) fail("memory");
    memset(payload, 'x', size);
    double begin = now();
    struct mosquitto *self = bareConnect(port, &bare);
    mosquitto_message_callback_set(self, onAnswer);
    bareSubscribe(self, bareEcho.from, &bare.isGranted);
    for (int index = 0; index < count; index++) {
        double start = now();
        mosquitto_publish(self, NULL, bareEcho.to, (int) size, payload, 1, false);
        while (bare.echoes <= index) bareLoop(self);
        if (out_seconds != NULL) out_seconds[index] = now() - start;
    }
    double seconds = now() - begin;
    bareDisconnect(self);
    free(payload);
    return seconds;
}

/* ---------------------------------------------------------------------------------------------------------------- */

static struct mosquitto *ear;
static atomic_llong heard;

static void onHeard(struct mosquitto *self, void *object, const struct mosquitto_message *message)
{
    (void) self;
    (void) object;
    // Fixed header with a length of three bytes, topic with its length, packet id.
    atomic_fetch_add(&heard, message->payloadlen + (long long) strlen(message->topic) + 1 + 3 + 2 + 2);
}

void earStart(int port)
{
    static int isGranted;
    heard = 0;
    isGranted = 0;
    ear = bareConnect(port, &isGranted);
    mosquitto_message_callback_set(ear, onHeard);
    bareSubscribe(ear, "ioto/service/+/db/#", &isGranted);
    mosquitto_loop_start(ear);
}

int64_t earBytes(void) { return heard; }

void earStop(void)
{
    mosquitto_disconnect(ear);
    mosquitto_loop_stop(ear, false);
    mosquitto_destroy(ear);
}
