/**
 * @file version1.h
 * A service that speaks version 1 of the protocol and nothing else, for device d1 of account a1: a client of the broker with a table of
 * items. It knows only what that version documents, and keeps a record of what does not fit it.
 */
#ifndef VERSION1_H
#define VERSION1_H

#include <stdbool.h>
#include <stdint.h>

typedef struct Service1 Service1;

/** Connect to the broker and subscribe; returns when the broker has granted it. It answers everything until told otherwise. */
Service1 *service1Start(int port);
/** Disconnect and free. */
void service1Stop(Service1 *service);
/** Whether it answers syncToDynamo (with SYNC) and syncDown (with items and SYNCDOWN). What it does not answer it does not store. */
void service1Answer(Service1 *service, bool isUp, bool isDown);
/** Neither store nor acknowledge changes of this key, but the others of their message; NULL: all. The text is not copied. */
void service1Withhold(Service1 *service, const char *key);

/** Store an item under the time of now, and tell the device in a message of this verb; its members but `updated` stand in `json`. */
void service1Put(Service1 *service, const char *verb, const char *json);
/** The same, told on another topic than the device's own: "account/a1" or "account/all". */
void service1PutAt(Service1 *service, const char *owner, const char *verb, const char *json);
/** Remove an item, and tell the device in a REMOVE of `_type` and `sk` alone. */
void service1Remove(Service1 *service, const char *model, const char *key);
/** Tell the device the item, or the removal, of this key once more, as it was told. */
void service1Repeat(Service1 *service, const char *verb, const char *key);
/** Tell the device something, on its own topic. */
void service1Say(Service1 *service, const char *verb, const char *payload);

/** Whether it has the item. */
bool service1Has(Service1 *service, const char *key);
/** Whether the item has this text, or number, in a member. */
bool service1Is(Service1 *service, const char *key, const char *member, const char *value);
/** How often a change of the key has come, answered or not; NULL stands for any `cmd` and `key`. */
int service1Heard(Service1 *service, const char *cmd, const char *key);
/** The last such change as text, `{"cmd":...}`, freed by the caller; NULL when none has come. */
char *service1Change(Service1 *service, const char *cmd, const char *key);
/** `seq` of the last syncToDynamo, or -1. */
int64_t service1Sequence(Service1 *service);
/** Number of syncDown that have come, and `timestamp` of the last one, freed by the caller. */
int service1Questions(Service1 *service);
char *service1Timestamp(Service1 *service);
/** The time of its last SYNCDOWN, freed by the caller. */
char *service1Told(Service1 *service);
/** Whether a SYNCDOWN has had this time. */
bool service1HasTold(Service1 *service, const char *time);
/** Messages that do not have all that version 1 documents, and those with more than that. */
int service1Unfit(Service1 *service);
int service1Extended(Service1 *service);

#endif /* VERSION1_H */
