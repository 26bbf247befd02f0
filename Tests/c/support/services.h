/**
 * @file services.h
 * What a device talks to in most scenarios: a broker and a cloud at it.
 */
#ifndef SERVICES_H
#define SERVICES_H

#include "broker.h"
#include "cloud.h"

typedef struct Services {
    Broker broker;
    Cloud cloud;
} Services;

/** Start both and wait until they answer; skips the scenario when there is no ioto-cloud. */
Services servicesStart(void);
/** The same with one more line of the broker's configuration. */
Services servicesStartWith(const char *setting);
/** Stop both in good order, the cloud first. */
void servicesStop(Services *services);

#endif /* SERVICES_H */
