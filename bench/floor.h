/**
 * @file floor.h
 * What the durable work of replication costs by itself: the bare client stores items as a device does before it publishes them, and
 * the process that publishes them back has stored them as the cloud does. Both have the tables of the product with their indexes
 * in SQLite, `synchronous=FULL`, and none of its code: items are bytes that nobody writes, reads or checks.
 */
#ifndef FLOOR_H
#define FLOOR_H

#include <stddef.h>
#include <stdint.h>

#include "bare.h"

extern const Echo floorEcho;

/** Its work, with a new database in this file; returns when the connection ends. */
void floorServe(int port, const char *path);

/** A device with its database. */
typedef struct Floor Floor;

/** Make one with a new database, for items of so many bytes. */
Floor *floorOpen(const char *path, size_t item_bytes);
void floorClose(Floor *device);
/** Store items `first` and following, each with its row in the outbox. */
void floorFill(Floor *device, uint32_t first, uint32_t count);
/**
 * Store and publish items one by one, each when the echo of the one before is there.
 *
 * @param out_seconds  The time of each, from before its transaction.
 */
void floorTrips(Floor *device, int port, uint32_t first, int count, double *out_seconds);
/**
 * Publish what is in the outbox in messages of up to `message_bytes`, and delete the rows that are answered, while others are under way.
 *
 * @return Seconds from before the connection until the outbox is empty.
 */
double floorDrain(Floor *device, int port, size_t message_bytes);

#endif
