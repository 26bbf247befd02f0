/**
 * @file ports.h
 * TCP ports of 127.0.0.1, for scenarios and benchmarks.
 */
#ifndef PORTS_H
#define PORTS_H

#include <stdbool.h>

/** A port that nobody listens on; ends the program when there is none. */
int freePort(void);
/** Whether somebody listens on the port. */
bool portAnswers(int port);

#endif /* PORTS_H */
