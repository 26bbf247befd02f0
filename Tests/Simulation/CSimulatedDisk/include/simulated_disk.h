/* A disk in memory, as an SQLite VFS of its own: it forgets what was not synced when its power is cut. One thread at a time
 * uses a disk. */
#ifndef IOTO_SIMULATED_DISK_H
#define IOTO_SIMULATED_DISK_H

#include <stdbool.h>
#include <stdint.h>

typedef struct simulated_disk simulated_disk;

typedef enum {
    SIMULATED_DISK_WRITE = 0,
    SIMULATED_DISK_SYNC = 1,
    SIMULATED_DISK_TRUNCATE = 2,
    SIMULATED_DISK_DELETE = 3,
} simulated_disk_operation;

/* What becomes of an operation: 0 it is done, positive it fails with that SQLite code, SIMULATED_DISK_CUT the machine dies
 * before it is done. */
enum { SIMULATED_DISK_CUT = -1 };
typedef int (*simulated_disk_fate)(void *context, simulated_disk_operation operation, const char *file, int64_t bytes);

/* Make an empty disk and register it as the VFS `name`. NULL when memory is short. */
simulated_disk *simulated_disk_new(const char *name, simulated_disk_fate fate, void *context);
/* Every handle has to be closed before. */
void simulated_disk_free(simulated_disk *disk);

/* Whether the machine has died since the last boot: every call on its files fails. */
bool simulated_disk_is_dead(const simulated_disk *disk);
/* The process ends: its handles are of no use from now on, the files stay as they are. */
void simulated_disk_kill(simulated_disk *disk);
/* The power goes: of what was not synced `seed` tells what is kept: all, nothing, some writes, or some sectors of them. */
void simulated_disk_cut_power(simulated_disk *disk, uint64_t seed);
/* Files can be opened again. */
void simulated_disk_boot(simulated_disk *disk);

/* Whether a sync that fails loses part of what it should have synced, and the next one does not tell: as Linux does. */
void simulated_disk_set_forgets(simulated_disk *disk, bool forgets);

/* Whether anything written is not synced. */
bool simulated_disk_is_synced(const simulated_disk *disk);
/* Bytes of all files. */
int64_t simulated_disk_bytes(const simulated_disk *disk);
/* Replace the files of `target` by those of `source`, as an image of it: what was not synced is as if it were. */
void simulated_disk_copy(simulated_disk *target, const simulated_disk *source);

#endif
