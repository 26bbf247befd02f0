#include "broker.h"
#include "check.h"

#include <sys/stat.h>

#define START_TIMEOUT_MS 10000

Broker brokerMake(void)
{
    Broker broker = {.port = freePort(), .child = {0, NULL}};
    const char *state = scratch("broker");
    mkdir(state, 0700);
    // "user root": without it a Mosquitto that root starts gives up its rights, and with them the scratch folder.
    writeFile(scratch("mosquitto.conf"), format("listener %d 127.0.0.1\n"
                                                "allow_anonymous true\n"
                                                "user root\n"
                                                "persistence true\n"
                                                "persistence_location %s/\n"
                                                "autosave_on_changes true\n"
                                                "autosave_interval 1\n"
                                                "max_queued_messages 0\n",
                                                broker.port, state));
    return broker;
}

void brokerLaunch(Broker *broker)
{
    const char *program = getenv("MOSQUITTO");
    if (program == NULL || *program == '\0') program = "mosquitto";
    const char *arguments[] = {program, "-c", scratch("mosquitto.conf"), NULL};
    broker->child = childStart(arguments, scratch("mosquitto.log"), false);
}

void brokerStart(Broker *broker)
{
    brokerLaunch(broker);
    int64_t deadline_ms = clock_ms() + START_TIMEOUT_MS;
    while (!portAnswers(broker->port) && clock_ms() < deadline_ms) pause_ms(20);
    REQUIRE(portAnswers(broker->port));
}

void brokerStop(Broker *broker) { childStop(&broker->child); }

void brokerKill(Broker *broker) { childKill(&broker->child); }
