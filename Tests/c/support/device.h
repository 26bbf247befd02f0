/**
 * @file device.h
 * The firmware of a scenario: an agent for device d1 of account a1, its configuration, and what its triggers told.
 */
#ifndef DEVICE_H
#define DEVICE_H

#include "check.h"
#include "services.h"
#include "spy.h"

/** A delay that no scenario lives to see: nothing goes up before it is asked for. */
#define SYNC_NEVER "10m"
/** A delay that no scenario waits for. */
#define SYNC_SOON "50ms"

/** How long a scenario waits for what must happen, in milliseconds: far more than it takes, for slow machines. */
#define PATIENCE_MS 20000

/** Open the agent of `database` in the scratch folder; NULL on failure. */
Io *deviceOpen(const char *database, int brokerPort, const char *syncDelay);
/** The same under another schema. */
Io *deviceOpenUnder(const char *schema, const char *database, int brokerPort, const char *syncDelay);
/** Write the schema `name` in the scratch folder: that of the scenarios with the text `from`, which it has, replaced. */
void schemaWith(const char *name, const char *from, const char *to);
/** Open and start it; ends the scenario on failure. */
Io *deviceStart(const char *database, int brokerPort, const char *syncDelay);
/** Its status. */
IoStatus deviceStatus(Io *io);
/** Whether nothing is left to send. */
bool deviceIsFlushed(Io *io);

/** What a trigger was told, and how often. */
typedef struct Witness Witness;

/** Add a trigger for a model (NULL: every one) that writes down what it is told. Freed after the database is closed. */
Witness *witnessAdd(Db *db, const char *model, int events);
/** Number of calls with this command, model, id and origin; NULL stands for any, and -1 for any origin. */
int witnessCount(Witness *witness, const char *cmd, const char *model, const char *id, int origin);
/** Wall of text of every call in order, "create Note a local\nupdate Note a remote\n", valid until the next call. */
const char *witnessText(Witness *witness);
void witnessFree(Witness *witness);

/** Begin the role of a child: line buffered output, the parent's scratch folder, the log to stdout. */
void childBegin(char **argv);

#endif /* DEVICE_H */
