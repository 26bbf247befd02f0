/**
 * @file disk.h
 * A disk that fails on command: an SQLite VFS over the system's own, to be installed before the database is opened.
 */
#ifndef DISK_H
#define DISK_H

#include <stdbool.h>

/** How a call fails. */
typedef enum DiskFault {
    /** A write stores nothing; a sync does nothing. SQLITE_IOERR_WRITE, SQLITE_IOERR_FSYNC. */
    DISK_BROKEN,
    /** A write stores its first half. */
    DISK_TORN,
    /** SQLITE_FULL; syncs succeed. */
    DISK_FULL
} DiskFault;

/** Make it the VFS of every database that is opened from now on. */
void diskInstall(void);
/**
 * Fail from the `first`th write or sync on (1: the next), so many of them; 0 takes every fault back. Counts from the call on.
 *
 * @param count  Number of calls that fail; negative: all.
 */
void diskFail(int first, int count, DiskFault fault);
/** Number of writes and syncs since the last diskFail(). */
int diskCalls(void);
/** Number of them that failed. */
int diskFailures(void);
/** Number of those that were syncs. */
int diskSyncFailures(void);

#endif /* DISK_H */
