/**
 * @file cloud.h
 * An ioto-cloud of the scenario's own, with its store in the scratch folder, and the questions a scenario asks of it.
 */
#ifndef CLOUD_H
#define CLOUD_H

#include "process.h"

#include <ioto.h>

typedef struct Cloud {
    int brokerPort;
    Child child;
} Cloud;

/** Skip the scenario when there is no ioto-cloud (environment variable IOTO_CLOUD). */
Cloud cloudMake(int brokerPort);
/** Serve under this schema instead of that of the scenarios. */
void cloudUseSchema(const char *path);
/** Tell it how large the broker's packets may be, which does not tell itself; NULL: do not. The text is not copied. */
void cloudUsePackets(const char *size);
/** Start `ioto-cloud serve` and wait until it says that it is ready. */
void cloudStart(Cloud *cloud);
/** Start it and do not wait. */
void cloudLaunch(Cloud *cloud);
/** SIGTERM and wait. */
void cloudStop(Cloud *cloud);
/** SIGKILL. */
void cloudKill(Cloud *cloud);
/** SIGSTOP and SIGCONT: the cloud neither reads nor acknowledges meanwhile. */
void cloudPause(Cloud *cloud);
void cloudResume(Cloud *cloud);

/** `items put`: create or replace an item; whether it succeeded. */
bool cloudPut(const char *model, const char *json);
/** The same with the item in a file: an argument has 128 KB at most. */
bool cloudPutFile(const char *model, const char *path);
/** `items remove`. */
bool cloudRemove(const char *model, const char *json);
/** Every item of a model as a cJSON array, freed by the caller; NULL when they can't be listed. */
struct cJSON *cloudItems(const char *model);
/** Number of items of a model, or -1 when they can't be listed. */
int64_t cloudCount(const char *model);
/** One field of the item of `model` with this id as text, freed by the caller; NULL when there is no such item or field. */
char *cloudField(const char *model, const char *id, const char *field);
/** Whether the item of `model` with this id has this text in its field. */
bool cloudFieldIs(const char *model, const char *id, const char *field, const char *value);
/** Whether the cloud has an item of `model` with this id. */
bool cloudHas(const char *model, const char *id);
/** Whether both sides hold the same items of a model: the same ids, with the same text, value and count. */
bool cloudAgrees(Db *db, const char *model);
/** What `ioto-cloud digest` prints of a stream, also with --list; freed by the caller, NULL when it fails. */
char *cloudDigest(const char *stream, bool isListing);

#endif /* CLOUD_H */
