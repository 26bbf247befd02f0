/* What the disk is made of: files, what of them is synced, and the handles that processes have of them. */
#ifndef SIMULATED_FILES_H
#define SIMULATED_FILES_H

#include "simulated_disk.h"

#include <sqlite3.h>

enum { SECTOR = 512, LOCKS = 8, REGION_MAX = 64, FILES_MAX = 8, NAME_MAX_BYTES = 64 };

typedef struct buffer {
    uint8_t *bytes;
    int64_t size, capacity;
} buffer;

/* A write, or with `bytes` NULL a change of the file's size, that is not synced. */
typedef struct pending {
    struct pending *next;
    uint8_t *bytes;
    int64_t offset;
    int64_t size;
} pending;

typedef struct file file;

typedef struct handle {
    sqlite3_file base;
    file *file;
    uint64_t epoch;
    int level;
    uint16_t shared, exclusive;
} handle;

struct file {
    simulated_disk *disk;
    char name[NAME_MAX_BYTES];
    bool exists, exists_durably;
    /* Since it was made nothing has synced the directory. */
    bool is_new;
    buffer now, durable;
    pending *first, *last;
    /* Locks of the file: how many handles have each level at least, and the locks of the shared memory. */
    int shared_count;
    handle *reserved, *pending_lock, *exclusive;
    int shm_shared[LOCKS];
    handle *shm_exclusive[LOCKS];
    void *regions[REGION_MAX];
    int region_count;
    /* Of the process that died last: what is left of it may still look there. */
    void *former_regions[REGION_MAX];
    int former_count;
};

struct simulated_disk {
    sqlite3_vfs vfs;
    char name[NAME_MAX_BYTES];
    simulated_disk_fate fate;
    void *context;
    file files[FILES_MAX];
    uint64_t epoch;
    bool is_dead;
    bool forgets;
};

/* --- Memory --- */

void buffer_resize(buffer *buffer, int64_t size);
void buffer_put(buffer *buffer, const uint8_t *bytes, int64_t size, int64_t offset);
/* A write that is not synced, or with `bytes` NULL a change of the size. */
void pending_append(file *file, const void *bytes, int64_t size, int64_t offset);
void pending_clear(file *file);
/* Makes it durable. */
void pending_keep(file *file, const pending *entry);
/* The next of a sequence of random numbers. */
uint64_t disk_draw(uint64_t *state);

/* --- Files --- */

/* What becomes of an operation; `otherwise` on a disk that is dead. */
int disk_decide(handle *handle, simulated_disk_operation operation, int64_t bytes, int otherwise);
void disk_sync_directory(simulated_disk *disk);
/* Shared memory, of the process that lives and of those that died. */
void file_free_regions(file *file);
void file_free_former_regions(file *file);

/* What SQLite calls for an open file, a `handle`. */
extern const sqlite3_io_methods FILE_METHODS;

#endif /* SIMULATED_FILES_H */
