#include "simulated_disk.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

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

static void resize(buffer *buffer, int64_t size)
{
    if (size > buffer->capacity) {
        int64_t capacity = buffer->capacity ? buffer->capacity : 4096;
        while (capacity < size)
            capacity *= 2;
        buffer->bytes = realloc(buffer->bytes, (size_t) capacity);
        if (!buffer->bytes)
            abort();
        buffer->capacity = capacity;
    }
    if (size > buffer->size)
        memset(buffer->bytes + buffer->size, 0, (size_t) (size - buffer->size));
    buffer->size = size;
}

static void put(buffer *buffer, const uint8_t *bytes, int64_t size, int64_t offset)
{
    if (offset + size > buffer->size)
        resize(buffer, offset + size);
    memcpy(buffer->bytes + offset, bytes, (size_t) size);
}

static void append_pending(file *file, const void *bytes, int64_t size, int64_t offset)
{
    pending *entry = calloc(1, sizeof *entry);
    if (!entry)
        abort();
    if (bytes) {
        entry->bytes = malloc((size_t) size);
        if (!entry->bytes)
            abort();
        memcpy(entry->bytes, bytes, (size_t) size);
    }
    entry->size = size;
    entry->offset = offset;
    if (file->last)
        file->last->next = entry;
    else
        file->first = entry;
    file->last = entry;
}

static void clear_pending(file *file)
{
    while (file->first) {
        pending *next = file->first->next;
        free(file->first->bytes);
        free(file->first);
        file->first = next;
    }
    file->last = NULL;
}

static void keep(file *file, const pending *entry)
{
    if (entry->bytes)
        put(&file->durable, entry->bytes, entry->size, entry->offset);
    else
        resize(&file->durable, entry->size);
}

static uint64_t draw(uint64_t *state)
{
    uint64_t value = *state += 0x9E3779B97F4A7C15u;
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
    return value ^ (value >> 31);
}

/* --- Fate --- */

static int decide(handle *handle, simulated_disk_operation operation, int64_t bytes, int otherwise)
{
    simulated_disk *disk = handle->file->disk;
    if (disk->is_dead || handle->epoch != disk->epoch)
        return otherwise;
    int code = disk->fate(disk->context, operation, handle->file->name, bytes);
    if (code == SIMULATED_DISK_CUT) {
        disk->is_dead = true;
        return otherwise;
    }
    return code;
}

static bool is_gone(const handle *handle)
{
    return handle->file->disk->is_dead || handle->epoch != handle->file->disk->epoch;
}

/* --- Files --- */

static int file_read(sqlite3_file *base, void *out, int amount, sqlite3_int64 offset)
{
    handle *self = (handle *) base;
    if (is_gone(self))
        return SQLITE_IOERR_READ;
    const buffer *now = &self->file->now;
    int64_t available = now->size - offset;
    if (available >= amount) {
        memcpy(out, now->bytes + offset, (size_t) amount);
        return SQLITE_OK;
    }
    memset(out, 0, (size_t) amount);
    if (available > 0)
        memcpy(out, now->bytes + offset, (size_t) available);
    return SQLITE_IOERR_SHORT_READ;
}

static int file_write(sqlite3_file *base, const void *bytes, int amount, sqlite3_int64 offset)
{
    handle *self = (handle *) base;
    int code = decide(self, SIMULATED_DISK_WRITE, amount, SQLITE_IOERR_WRITE);
    if (code != SQLITE_OK)
        return code;
    put(&self->file->now, bytes, amount, offset);
    append_pending(self->file, bytes, amount, offset);
    return SQLITE_OK;
}

static int file_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    handle *self = (handle *) base;
    int code = decide(self, SIMULATED_DISK_TRUNCATE, size, SQLITE_IOERR_TRUNCATE);
    if (code != SQLITE_OK)
        return code;
    resize(&self->file->now, size);
    append_pending(self->file, NULL, size, 0);
    return SQLITE_OK;
}

static void sync_directory(simulated_disk *disk)
{
    for (int index = 0; index < FILES_MAX; index++) {
        file *file = &disk->files[index];
        file->exists_durably = file->exists;
        if (file->exists)
            continue;
        resize(&file->durable, 0);
        clear_pending(file);
    }
}

static int file_sync(sqlite3_file *base, int flags)
{
    (void) flags;
    handle *self = (handle *) base;
    int code = decide(self, SIMULATED_DISK_SYNC, 0, SQLITE_IOERR_FSYNC);
    if (is_gone(self))
        return code;
    file *file = self->file;
    if (code != SQLITE_OK && !file->disk->forgets)
        return code;
    if (code != SQLITE_OK) {
        /* As Linux does it: what could not be written is forgotten, and the next sync says that all is well. */
        bool is_kept = true;
        for (pending *entry = file->first; entry; entry = entry->next) {
            if (is_kept)
                keep(file, entry);
            is_kept = !is_kept;
        }
        clear_pending(file);
        return code;
    }
    for (pending *entry = file->first; entry; entry = entry->next)
        keep(file, entry);
    clear_pending(file);
    /* The first sync of a log or a journal syncs the directory, too (os_unix.c, UNIXFILE_DIRSYNC). */
    if (file->is_new && strchr(file->name, '-'))
        sync_directory(file->disk);
    file->is_new = false;
    file->exists_durably = true;
    return SQLITE_OK;
}

static int file_size(sqlite3_file *base, sqlite3_int64 *out_size)
{
    handle *self = (handle *) base;
    if (is_gone(self))
        return SQLITE_IOERR_FSTAT;
    *out_size = self->file->now.size;
    return SQLITE_OK;
}

static void drop_level(handle *self, int level)
{
    file *file = self->file;
    if (level < SQLITE_LOCK_EXCLUSIVE && file->exclusive == self)
        file->exclusive = NULL;
    if (level < SQLITE_LOCK_PENDING && file->pending_lock == self)
        file->pending_lock = NULL;
    if (level < SQLITE_LOCK_RESERVED && file->reserved == self)
        file->reserved = NULL;
    if (level < SQLITE_LOCK_SHARED && self->level >= SQLITE_LOCK_SHARED)
        file->shared_count--;
    self->level = level;
}

static int file_lock(sqlite3_file *base, int level)
{
    handle *self = (handle *) base;
    file *file = self->file;
    if (is_gone(self))
        return SQLITE_IOERR_LOCK;
    if (self->level >= level)
        return SQLITE_OK;
    if (level == SQLITE_LOCK_SHARED) {
        if (file->pending_lock || file->exclusive)
            return SQLITE_BUSY;
        file->shared_count++;
        self->level = level;
        return SQLITE_OK;
    }
    if (level == SQLITE_LOCK_RESERVED) {
        if (file->reserved)
            return SQLITE_BUSY;
        file->reserved = self;
        self->level = level;
        return SQLITE_OK;
    }
    if ((file->reserved && file->reserved != self) || (file->pending_lock && file->pending_lock != self))
        return SQLITE_BUSY;
    file->pending_lock = self;
    self->level = SQLITE_LOCK_PENDING;
    if (file->shared_count > 1)
        return SQLITE_BUSY;
    file->exclusive = self;
    self->level = SQLITE_LOCK_EXCLUSIVE;
    return SQLITE_OK;
}

static int file_unlock(sqlite3_file *base, int level)
{
    handle *self = (handle *) base;
    if (!is_gone(self) && level < self->level)
        drop_level(self, level);
    return SQLITE_OK;
}

static int file_is_reserved(sqlite3_file *base, int *out)
{
    handle *self = (handle *) base;
    *out = self->file->reserved || self->file->exclusive;
    return SQLITE_OK;
}

static int file_control(sqlite3_file *base, int operation, void *argument)
{
    (void) base, (void) operation, (void) argument;
    return SQLITE_NOTFOUND;
}

static int file_sector_size(sqlite3_file *base)
{
    (void) base;
    return 4096;
}

static int file_characteristics(sqlite3_file *base)
{
    (void) base;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* --- Shared memory --- */

static void free_regions(file *file)
{
    for (int index = 0; index < file->region_count; index++)
        sqlite3_free(file->regions[index]);
    file->region_count = 0;
}

static void free_former_regions(file *file)
{
    for (int index = 0; index < file->former_count; index++)
        sqlite3_free(file->former_regions[index]);
    file->former_count = 0;
}

static int shm_map(sqlite3_file *base, int region, int size, int extend, void volatile **out)
{
    handle *self = (handle *) base;
    file *file = self->file;
    *out = NULL;
    if (is_gone(self) || region >= REGION_MAX)
        return SQLITE_IOERR_SHMMAP;
    while (file->region_count <= region) {
        if (!extend)
            return SQLITE_OK;
        void *memory = sqlite3_malloc(size);
        if (!memory)
            return SQLITE_NOMEM;
        memset(memory, 0, (size_t) size);
        file->regions[file->region_count++] = memory;
    }
    *out = file->regions[region];
    return SQLITE_OK;
}

static int shm_lock(sqlite3_file *base, int offset, int count, int flags)
{
    handle *self = (handle *) base;
    file *file = self->file;
    if (is_gone(self))
        return SQLITE_IOERR_SHMLOCK;
    for (int slot = offset; slot < offset + count; slot++) {
        uint16_t bit = (uint16_t) (1 << slot);
        if (flags & SQLITE_SHM_UNLOCK)
            continue;
        if (file->shm_exclusive[slot] && file->shm_exclusive[slot] != self)
            return SQLITE_BUSY;
        if (flags & SQLITE_SHM_EXCLUSIVE && file->shm_shared[slot] > (self->shared & bit ? 1 : 0))
            return SQLITE_BUSY;
    }
    for (int slot = offset; slot < offset + count; slot++) {
        uint16_t bit = (uint16_t) (1 << slot);
        if (flags & SQLITE_SHM_UNLOCK) {
            if (self->shared & bit)
                file->shm_shared[slot]--;
            if (file->shm_exclusive[slot] == self)
                file->shm_exclusive[slot] = NULL;
            self->shared &= (uint16_t) ~bit;
            self->exclusive &= (uint16_t) ~bit;
        } else if (flags & SQLITE_SHM_SHARED) {
            if (!(self->shared & bit))
                file->shm_shared[slot]++;
            self->shared |= bit;
        } else {
            file->shm_exclusive[slot] = self;
            self->exclusive |= bit;
        }
    }
    return SQLITE_OK;
}

static void shm_barrier(sqlite3_file *base)
{
    (void) base;
}

static int shm_unmap(sqlite3_file *base, int delete_flag)
{
    handle *self = (handle *) base;
    if (is_gone(self))
        return SQLITE_OK;
    shm_lock(base, 0, LOCKS, SQLITE_SHM_UNLOCK | SQLITE_SHM_SHARED);
    if (delete_flag)
        free_regions(self->file);
    return SQLITE_OK;
}

static int file_close(sqlite3_file *base)
{
    handle *self = (handle *) base;
    if (!is_gone(self))
        drop_level(self, SQLITE_LOCK_NONE);
    return SQLITE_OK;
}

static const sqlite3_io_methods METHODS = {
    .iVersion = 2,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_is_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
    .xShmMap = shm_map,
    .xShmLock = shm_lock,
    .xShmBarrier = shm_barrier,
    .xShmUnmap = shm_unmap,
};

/* --- The disk --- */

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
        resize(&file->now, 0);
        append_pending(file, NULL, 0, 0);
    }
    self->base.pMethods = &METHODS;
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
    int code = decide(&self, SIMULATED_DISK_DELETE, 0, SQLITE_IOERR_DELETE);
    if (code != SQLITE_OK)
        return code;
    file->exists = false;
    resize(&file->now, 0);
    if (is_synced)
        sync_directory(disk);
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
        clear_pending(file);
        free_regions(file);
        free_former_regions(file);
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
        free_former_regions(file);
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
    uint64_t way = draw(&random) % 4;
    for (int index = 0; index < FILES_MAX; index++) {
        file *file = &disk->files[index];
        if (file->name[0] == 0)
            continue;
        for (pending *entry = file->first; entry; entry = entry->next) {
            if (way == 0 || (way == 2 && draw(&random) % 2))
                continue;
            if (way == 3 && entry->bytes) {
                /* Sectors of one write reach the disk in any order. */
                for (int64_t start = 0; start < entry->size; start += SECTOR) {
                    int64_t size = entry->size - start < SECTOR ? entry->size - start : SECTOR;
                    if (draw(&random) % 2)
                        put(&file->durable, entry->bytes + start, size, entry->offset + start);
                }
            } else {
                keep(file, entry);
            }
        }
        clear_pending(file);
        /* A directory entry that was not synced may be there or not. */
        if (file->exists != file->exists_durably && draw(&random) % 2)
            file->exists_durably = file->exists;
        file->exists = file->exists_durably;
        if (!file->exists)
            resize(&file->durable, 0);
        resize(&file->now, 0);
        put(&file->now, file->durable.bytes, file->durable.size, 0);
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
        clear_pending(to);
        strcpy(to->name, from->name);
        to->disk = target;
        to->exists = to->exists_durably = from->exists;
        resize(&to->now, 0);
        resize(&to->durable, 0);
        if (from->exists && from->now.size > 0) {
            put(&to->now, from->now.bytes, from->now.size, 0);
            put(&to->durable, from->now.bytes, from->now.size, 0);
        }
    }
}
