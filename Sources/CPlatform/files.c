#define _GNU_SOURCE
#include "platform.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int platform_read_file(const char *path, size_t bytes_max, uint8_t **out_data, size_t *out_bytes)
{
    *out_data = NULL;
    *out_bytes = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    size_t capacity = 4096, bytes = 0;
    uint8_t *data = malloc(capacity);
    int code = data == NULL ? ENOMEM : 0;
    while (code == 0) {
        if (bytes == capacity) {
            uint8_t *larger = capacity > bytes_max ? NULL : realloc(data, capacity * 2);
            if (larger == NULL) {
                code = capacity > bytes_max ? EFBIG : ENOMEM;
                break;
            }
            data = larger;
            capacity *= 2;
        }
        ssize_t got = read(fd, data + bytes, capacity - bytes);
        if (got < 0) {
            if (errno != EINTR) {
                code = errno;
            }
        } else if (got == 0) {
            break;
        } else {
            bytes += (size_t) got;
        }
    }
    close(fd);
    if (code == 0 && bytes > bytes_max) {
        code = EFBIG;
    }
    if (code != 0) {
        free(data);
        return code;
    }
    *out_data = data;
    *out_bytes = bytes;
    return 0;
}

int64_t platform_file_size(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? (int64_t) info.st_size : -1;
}

int platform_remove_file(const char *path)
{
    return unlink(path) == 0 || errno == ENOENT ? 0 : errno;
}

static int sync_path(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    int code = fsync(fd) == 0 ? 0 : errno;
    close(fd);
    return code;
}

int platform_sync_file(const char *path) { return sync_path(path, O_RDONLY); }

/* Make the names in a file's folder durable. */
static int sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? strdup(".") : strndup(path, slash == path ? 1 : (size_t) (slash - path));
    if (folder == NULL) {
        return ENOMEM;
    }
    int code = sync_path(folder, O_RDONLY | O_DIRECTORY);
    free(folder);
    return code == EINVAL ? 0 : code; /* a file system without folders to sync */
}

int platform_replace_file(const char *from, const char *to)
{
    return rename(from, to) == 0 ? sync_folder(to) : errno;
}

static char *beside(char *buffer, size_t bytes, const char *path, const char *suffix)
{
    snprintf(buffer, bytes, "%s%s", path, suffix);
    return buffer;
}

int platform_remove_database(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    char name[PATH_MAX];
    int code = 0;
    for (int i = 0; i < 4 && code == 0; i++) {
        code = platform_remove_file(beside(name, sizeof name, path, suffixes[i]));
    }
    return code;
}

int platform_exchange_database(const char *path, const char *part, char *kept, size_t kept_bytes)
{
    char log[PATH_MAX], kept_log[PATH_MAX];
    int code = EEXIST;
    for (int number = 1; number <= 1000 && code == EEXIST; number++) {
        snprintf(kept, kept_bytes, "%s.corrupt-%d", path, number);
        /* A second name, so that there is a file at `path` at any time; where the file system has none to give, the name alone. */
        code = link(path, kept) == 0 ? 0 : errno;
        if (code == EPERM || code == EOPNOTSUPP || code == ENOSYS || code == EMLINK) {
            code = access(kept, F_OK) == 0 ? EEXIST : rename(path, kept) == 0 ? 0 : errno;
        }
    }
    if (code != 0 || (code = sync_folder(kept)) != 0) {
        return code;
    }
    /* A log of the damaged file must not be taken for the new one's. */
    if (rename(beside(log, sizeof log, path, "-wal"), beside(kept_log, sizeof kept_log, kept, "-wal")) != 0 && errno != ENOENT) {
        return errno;
    }
    code = platform_remove_file(beside(log, sizeof log, path, "-shm"));
    return code != 0 ? code : platform_replace_file(part, path);
}

bool platform_is_full(int code) { return code == ENOSPC || code == EDQUOT || code == EFBIG; }

bool platform_is_taken(int code) { return code == EEXIST; }
