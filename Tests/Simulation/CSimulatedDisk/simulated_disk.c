#include "simulated_files.h"

#include <stdlib.h>
#include <string.h>

static file *find(simulated_disk *disk, const char *name, bool make)
{
    for (int index = 0; index < FILES_MAX; index++) {
        if (strcmp(disk->files[index].name, name) == 0)
            return &disk->files[index];
    }
    if (!make || strlen(name) >= NAME_MAX_BYTES)
        return NULL;
    for (int index = 0; index < FILES_MAX; index++) {
        file *file = &disk->files[index];
        if (file->name[0] == 0) {
            strcpy(file->name, name);
            file->disk = disk;
            return file;
        }
    }
    return NULL;
}

static int disk_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *base, int flags, int *out_flags)
{
    simulated_disk *disk = vfs->pAppData;
    handle *self = (handle *) base;
    memset(self, 0, sizeof *self);
    if (!name || disk->is_dead)
        return SQLITE_CANTOPEN;
    file *file = find(disk, name, flags & SQLITE_OPEN_CREATE);
    if (!file || (!file->exists && !(flags & SQLITE_OPEN_CREATE)))
        return SQLITE_CANTOPEN;
    if (!file->exists) {
        file->exists = file->is_new = true;
        buffer_resize(&file->now, 0);
        pending_append(file, NULL, 0, 0);
    }
    self->base.pMethods = &FILE_METHODS;
    self->file = file;
    self->epoch = disk->epoch;
    if (out_flags)
        *out_flags = flags;
    return SQLITE_OK;
}

static int disk_delete(sqlite3_vfs *vfs, const char *name, int is_synced)
{
    simulated_disk *disk = vfs->pAppData;
    if (disk->is_dead)
        return SQLITE_IOERR_DELETE;
    file *file = find(disk, name, false);
    if (!file || !file->exists)
        return SQLITE_IOERR_DELETE_NOENT;
    handle self = {.file = file, .epoch = disk->epoch};
    int code = disk_decide(&self, SIMULATED_DISK_DELETE, 0, SQLITE_IOERR_DELETE);
    if (code != SQLITE_OK)
        return code;
    file->exists = false;
    buffer_resize(&file->now, 0);
    if (is_synced)
        disk_sync_directory(disk);
    return SQLITE_OK;
}

static int disk_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    (void) flags;
    simulated_disk *disk = vfs->pAppData;
    const file *file = find(disk, name, false);
    *out = file && file->exists && (flags != SQLITE_ACCESS_EXISTS || file->now.size > 0);
    return disk->is_dead ? SQLITE_IOERR_ACCESS : SQLITE_OK;
}

static int disk_full_pathname(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
    (void) vfs;
    if (strlen(name) >= (size_t) size)
        return SQLITE_CANTOPEN;
    strcpy(out, name);
    return SQLITE_OK;
}

static int disk_randomness(sqlite3_vfs *vfs, int count, char *out)
{
    (void) vfs;
    memset(out, 7, (size_t) count);
    return count;
}

static int disk_sleep(sqlite3_vfs *vfs, int microseconds)
{
    (void) vfs;
    return microseconds;
}

static int disk_time(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
    (void) vfs;
    *out = 212000000000000;
    return SQLITE_OK;
}

static int disk_time_double(sqlite3_vfs *vfs, double *out)
{
    (void) vfs;
    *out = 2453000.5;
    return SQLITE_OK;
}

static int disk_last_error(sqlite3_vfs *vfs, int size, char *out)
{
    (void) vfs, (void) size, (void) out;
    return 0;
}

simulated_disk *simulated_disk_new(const char *name, simulated_disk_fate fate, void *context)
{
    simulated_disk *disk = calloc(1, sizeof *disk);
    if (!disk || strlen(name) >= NAME_MAX_BYTES) {
        free(disk);
        return NULL;
    }
    strcpy(disk->name, name);
    disk->fate = fate;
    disk->context = context;
    disk->vfs = (sqlite3_vfs) {
        .iVersion = 2,
        .szOsFile = sizeof(handle),
        .mxPathname = NAME_MAX_BYTES - 8,
        .zName = disk->name,
        .pAppData = disk,
        .xOpen = disk_open,
        .xDelete = disk_delete,
        .xAccess = disk_access,
        .xFullPathname = disk_full_pathname,
        .xRandomness = disk_randomness,
        .xSleep = disk_sleep,
        .xCurrentTime = disk_time_double,
        .xGetLastError = disk_last_error,
        .xCurrentTimeInt64 = disk_time,
    };
    sqlite3_vfs_register(&disk->vfs, 0);
    return disk;
}

void simulated_disk_free(simulated_disk *disk)
{
    sqlite3_vfs_unregister(&disk->vfs);
    for (int index = 0; index < FILES_MAX; index++) {
        file *file = &disk->files[index];
        pending_clear(file);
        file_free_regions(file);
        file_free_former_regions(file);
        free(file->now.bytes);
        free(file->durable.bytes);
    }
    free(disk);
}

bool simulated_disk_is_dead(const simulated_disk *disk)
{
    return disk->is_dead;
}

/* The kernel frees what the process held. */
static void release(simulated_disk *disk)
{
    disk->epoch++;
    disk->is_dead = true;
    for (int index = 0; index < FILES_MAX; index++) {
        file *file = &disk->files[index];
        file_free_former_regions(file);
        memcpy(file->former_regions, file->regions, sizeof file->regions);
        file->former_count = file->region_count;
        file->region_count = 0;
        file->shared_count = 0;
        file->reserved = file->pending_lock = file->exclusive = NULL;
        memset(file->shm_shared, 0, sizeof file->shm_shared);
        memset(file->shm_exclusive, 0, sizeof file->shm_exclusive);
    }
}

void simulated_disk_kill(simulated_disk *disk)
{
    release(disk);
}

void simulated_disk_cut_power(simulated_disk *disk, uint64_t seed)
{
    uint64_t random = seed;
    release(disk);
    uint64_t way = disk_draw(&random) % 4;
    for (int index = 0; index < FILES_MAX; index++) {
        file *file = &disk->files[index];
        if (file->name[0] == 0)
            continue;
        for (pending *entry = file->first; entry; entry = entry->next) {
            if (way == 0 || (way == 2 && disk_draw(&random) % 2))
                continue;
            if (way == 3 && entry->bytes) {
                /* Sectors of one write reach the disk in any order. */
                for (int64_t start = 0; start < entry->size; start += SECTOR) {
                    int64_t size = entry->size - start < SECTOR ? entry->size - start : SECTOR;
                    if (disk_draw(&random) % 2)
                        buffer_put(&file->durable, entry->bytes + start, size, entry->offset + start);
                }
            } else {
                pending_keep(file, entry);
            }
        }
        pending_clear(file);
        /* A directory entry that was not synced may be there or not. */
        if (file->exists != file->exists_durably && disk_draw(&random) % 2)
            file->exists_durably = file->exists;
        file->exists = file->exists_durably;
        if (!file->exists)
            buffer_resize(&file->durable, 0);
        buffer_resize(&file->now, 0);
        buffer_put(&file->now, file->durable.bytes, file->durable.size, 0);
    }
}

void simulated_disk_set_forgets(simulated_disk *disk, bool forgets)
{
    disk->forgets = forgets;
}

void simulated_disk_boot(simulated_disk *disk)
{
    disk->is_dead = false;
}

bool simulated_disk_is_synced(const simulated_disk *disk)
{
    for (int index = 0; index < FILES_MAX; index++) {
        if (disk->files[index].first)
            return false;
    }
    return true;
}

int64_t simulated_disk_bytes(const simulated_disk *disk)
{
    int64_t total = 0;
    for (int index = 0; index < FILES_MAX; index++)
        total += disk->files[index].now.size;
    return total;
}

void simulated_disk_copy(simulated_disk *target, const simulated_disk *source)
{
    for (int index = 0; index < FILES_MAX; index++) {
        file *to = &target->files[index];
        const file *from = &source->files[index];
        pending_clear(to);
        strcpy(to->name, from->name);
        to->disk = target;
        to->exists = to->exists_durably = from->exists;
        buffer_resize(&to->now, 0);
        buffer_resize(&to->durable, 0);
        if (from->exists && from->now.size > 0) {
            buffer_put(&to->now, from->now.bytes, from->now.size, 0);
            buffer_put(&to->durable, from->now.bytes, from->now.size, 0);
        }
    }
}
