#include "simulated_files.h"

#include <stdlib.h>
#include <string.h>

/* --- Memory --- */

void buffer_resize(buffer *buffer, int64_t size)
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

void buffer_put(buffer *buffer, const uint8_t *bytes, int64_t size, int64_t offset)
{
    if (offset + size > buffer->size)
        buffer_resize(buffer, offset + size);
    memcpy(buffer->bytes + offset, bytes, (size_t) size);
}

void pending_append(file *file, const void *bytes, int64_t size, int64_t offset)
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

void pending_clear(file *file)
{
    while (file->first) {
        pending *next = file->first->next;
        free(file->first->bytes);
        free(file->first);
        file->first = next;
    }
    file->last = NULL;
}

void pending_keep(file *file, const pending *entry)
{
    if (entry->bytes)
        buffer_put(&file->durable, entry->bytes, entry->size, entry->offset);
    else
        buffer_resize(&file->durable, entry->size);
}

uint64_t disk_draw(uint64_t *state)
{
    uint64_t value = *state += 0x9E3779B97F4A7C15u;
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
    return value ^ (value >> 31);
}

/* --- Fate --- */

int disk_decide(handle *handle, simulated_disk_operation operation, int64_t bytes, int otherwise)
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
    int code = disk_decide(self, SIMULATED_DISK_WRITE, amount, SQLITE_IOERR_WRITE);
    if (code != SQLITE_OK)
        return code;
    buffer_put(&self->file->now, bytes, amount, offset);
    pending_append(self->file, bytes, amount, offset);
    return SQLITE_OK;
}

static int file_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    handle *self = (handle *) base;
    int code = disk_decide(self, SIMULATED_DISK_TRUNCATE, size, SQLITE_IOERR_TRUNCATE);
    if (code != SQLITE_OK)
        return code;
    buffer_resize(&self->file->now, size);
    pending_append(self->file, NULL, size, 0);
    return SQLITE_OK;
}

void disk_sync_directory(simulated_disk *disk)
{
    for (int index = 0; index < FILES_MAX; index++) {
        file *file = &disk->files[index];
        file->exists_durably = file->exists;
        if (file->exists)
            continue;
        buffer_resize(&file->durable, 0);
        pending_clear(file);
    }
}

static int file_sync(sqlite3_file *base, int flags)
{
    (void) flags;
    handle *self = (handle *) base;
    int code = disk_decide(self, SIMULATED_DISK_SYNC, 0, SQLITE_IOERR_FSYNC);
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
                pending_keep(file, entry);
            is_kept = !is_kept;
        }
        pending_clear(file);
        return code;
    }
    for (pending *entry = file->first; entry; entry = entry->next)
        pending_keep(file, entry);
    pending_clear(file);
    /* The first sync of a log or a journal syncs the directory, too (os_unix.c, UNIXFILE_DIRSYNC). */
    if (file->is_new && strchr(file->name, '-'))
        disk_sync_directory(file->disk);
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

void file_free_regions(file *file)
{
    for (int index = 0; index < file->region_count; index++)
        sqlite3_free(file->regions[index]);
    file->region_count = 0;
}

void file_free_former_regions(file *file)
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
        file_free_regions(self->file);
    return SQLITE_OK;
}

static int file_close(sqlite3_file *base)
{
    handle *self = (handle *) base;
    if (!is_gone(self))
        drop_level(self, SQLITE_LOCK_NONE);
    return SQLITE_OK;
}

const sqlite3_io_methods FILE_METHODS = {
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
