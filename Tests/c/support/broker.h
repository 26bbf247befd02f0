/**
 * @file broker.h
 * A Mosquitto of the scenario's own, on a free loopback port, with its persistence in the scratch folder.
 */
#ifndef BROKER_H
#define BROKER_H

#include "process.h"

typedef struct Broker {
    int port;
    Child child;
} Broker;

/** Choose a port and write the configuration; nothing runs yet. The first broker's port stays the same over restarts. */
Broker brokerMake(void);
/** Start, or start again, and wait until it answers. */
void brokerStart(Broker *broker);
/** Start it and do not wait. */
void brokerLaunch(Broker *broker);
/** SIGTERM: an orderly end, which saves its state. */
void brokerStop(Broker *broker);
/** SIGKILL. */
void brokerKill(Broker *broker);

#endif /* BROKER_H */
