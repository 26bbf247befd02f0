/**
 * @file bare.h
 * What a bare libmosquitto client needs for the same bytes: it publishes with QoS 1, and another process publishes each message
 * back. And an ear that counts what passes the broker. All of it in the loop of one thread, but the ear.
 */
#ifndef BARE_H
#define BARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Whether broker and bare clients send small packets without delay (TCP_NODELAY), which neither does as it comes. Set it first. */
extern bool isTuned;

/** Start a broker in `folder` and wait until it answers; it ends with this process. Returns its port. */
int brokerStart(const char *folder);
/** Start a program that ends with this process, its output appended to `log`. Returns its process id. */
int programStart(const char *const *arguments, const char *log);
/** End a program by a signal. */
void programStop(int process, int signal);

struct mosquitto;
struct mosquitto_message;

/** Connect. `object` is the callbacks', and begins with an int for bareSubscribe(). */
struct mosquitto *bareConnect(int port, void *object);
/** Subscribe, and wait until that is granted: `isGranted` is 0 before. */
void bareSubscribe(struct mosquitto *self, const char *topic, int *isGranted);
/** Send and hear what there is; waits for it for up to a second. */
void bareLoop(struct mosquitto *self);
void bareDisconnect(struct mosquitto *self);

/** Told of a message. */
typedef void BareHeard(struct mosquitto *self, void *object, const struct mosquitto_message *message);

/** A process that answers what is published: how this program is called for it, and its topics. */
typedef struct Echo {
    const char *mode, *to, *from, *ready;
} Echo;

/** The one that publishes each message back. */
extern const Echo bareEcho;

/** Start one, and wait until it hears; `file` is its argument, or NULL. Returns its process id. */
int echoStart(const Echo *echo, const char *program, int port, const char *file);
/** The work of one, in the callback; returns when the connection ends. `object` as for bareConnect(). */
void echoServe(const Echo *echo, int port, BareHeard *onMessage, void *object);
/** The work of the bare one. */
void bareServe(int port);

/**
 * Connect, publish `count` messages of `size` bytes, each when the echo of the one before is there, and disconnect.
 *
 * @param out_seconds  The time of each round trip; may be NULL.
 * @return Seconds from before the connection to the last echo.
 */
double bareRun(int port, int count, size_t size, double *out_seconds);

/** Bytes of the MQTT packets that devices have sent to the hub since earStart(). */
void earStart(int port);
int64_t earBytes(void);
void earStop(void);

#endif
