/**
 * @file spy.h
 * A client that hears every message of the broker, and says what it likes: for scenarios about the wire itself.
 */
#ifndef SPY_H
#define SPY_H

#include <stdbool.h>
#include <stddef.h>

typedef struct Spy Spy;

/** Connect to the broker and subscribe to everything, `$aws/` included; returns when the broker has granted it. */
Spy *spyStart(int port);
/** Disconnect and free. */
void spyStop(Spy *spy);
/** Number of messages whose topic contains `topicPart` and whose payload contains `text`; NULL stands for any. */
int spyCount(Spy *spy, const char *topicPart, const char *text);
/** The payload of the last message that spyCount() would count, freed by the caller; NULL when there was none. */
char *spyLast(Spy *spy, const char *topicPart, const char *text);
/** Publish with QoS 1; whether the broker acknowledged it. */
bool spyPublish(Spy *spy, const char *topic, const void *payload, size_t size);
/** The same with a text. */
bool spySay(Spy *spy, const char *topic, const char *payload);

#endif /* SPY_H */
