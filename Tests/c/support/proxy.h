/**
 * @file proxy.h
 * A network that can be cut, slowed and swallowed: a TCP proxy of the scenario's own between a client and its broker.
 */
#ifndef PROXY_H
#define PROXY_H

#include <stddef.h>
#include <stdint.h>

typedef struct Proxy Proxy;

/** Listen on a port of its own and pass every connection on to `port` of 127.0.0.1, on a thread. */
Proxy *proxyStart(int port);
/** Close every connection, stop listening, free. */
void proxyStop(Proxy *proxy);
/** The port that clients connect to. */
int proxyPort(const Proxy *proxy);

/** Close every connection with a reset. */
void proxyCut(Proxy *proxy);
/** Refuse (true) new connections, or take them again: those that are made are closed at once. */
void proxyRefuse(Proxy *proxy, int isRefusing);
/** Swallow (true) every byte of every connection in both directions, without a word to either end: a cable that is pulled. */
void proxySwallow(Proxy *proxy, int isSwallowing);
/** Pass bytes on `delay_ms` after they came, each way. */
void proxyDelay(Proxy *proxy, int delay_ms);
/** Pass at most so many bytes a second on, each way of each connection; 0: no limit. */
void proxyThrottle(Proxy *proxy, int bytes_per_second);

/** Be a broker of MQTT 3.1.1 alone: answer a CONNECT of MQTT 5 with "unacceptable protocol version" (1), or hang up on it (2). */
void proxyRefuseVersion5(Proxy *proxy, int how);
/** Copy the first bytes that the last client has sent; returns their number. */
size_t proxyFirstBytes(Proxy *proxy, void *out, size_t size);

/** Bytes that have been passed on to the broker, and from it. */
int64_t proxyBytesUp(Proxy *proxy);
int64_t proxyBytesDown(Proxy *proxy);
/** Connections taken so far. */
int proxyConnections(Proxy *proxy);

#endif /* PROXY_H */
