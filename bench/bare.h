/**
 * @file bare.h
 * What a bare libmosquitto client needs for the same bytes: it publishes with QoS 1, and another process publishes each message
 * back. And an ear that counts what passes the broker.
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

/** Start the process that publishes each message back. */
int echoStart(const char *program, int port);
/** Its work; returns when the connection ends. */
void echoRun(int port);

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
