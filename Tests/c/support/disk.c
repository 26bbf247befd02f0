#include "disk.h"
#include "check.h"

#include <pthread.h>
#include <sqlite3.h>

typedef struct File {
    sqlite3_file base;
    /** The system's, behind this one in memory. */
    sqlite3_file *real;
} File;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int calls, failures, syncFailures, firstFault, faultCount;
static DiskFault faultKind;
static sqlite3_vfs *system_;
static sqlite3_vfs shim;

/** Count a call; whether it is to fail. */
static bool isFailing(bool isSync)
{
    pthread_mutex_lock(&lock);
    calls++;
    bool isFault = firstFault > 0 && calls >= firstFault && (faultCount < 0 || calls < firstFault + faultCount) &&
                   !(isSync && faultKind == DISK_FULL);
    if (isFault) failures++;
    if (isFault && isSync) syncFailures++;
    pthread_mutex_unlock(&lock);
    return isFault;
}

#define REAL(file) (((File *) (file))->real)

static int closeFile(sqlite3_file *file) { return REAL(file)->pMethods->xClose(REAL(file)); }

static int readFile(sqlite3_file *file, void *out, int size, sqlite3_int64 offset)
{
    return REAL(file)->pMethods->xRead(REAL(file), out, size, offset);
}

static int writeTo(sqlite3_file *file, const void *bytes, int size, sqlite3_int64 offset)
{
    if (!isFailing(false)) return REAL(file)->pMethods->xWrite(REAL(file), bytes, size, offset);
    if (faultKind == DISK_FULL) return SQLITE_FULL;
    if (faultKind == DISK_TORN) REAL(file)->pMethods->xWrite(REAL(file), bytes, size / 2, offset);
    return SQLITE_IOERR_WRITE;
}

static int truncateFile(sqlite3_file *file, sqlite3_int64 size) { return REAL(file)->pMethods->xTruncate(REAL(file), size); }

static int sync(sqlite3_file *file, int flags)
{
    return isFailing(true) ? SQLITE_IOERR_FSYNC : REAL(file)->pMethods->xSync(REAL(file), flags);
}

static int fileSize(sqlite3_file *file, sqlite3_int64 *out) { return REAL(file)->pMethods->xFileSize(REAL(file), out); }

static int lockFile(sqlite3_file *file, int level) { return REAL(file)->pMethods->xLock(REAL(file), level); }

static int unlockFile(sqlite3_file *file, int level) { return REAL(file)->pMethods->xUnlock(REAL(file), level); }

static int checkLock(sqlite3_file *file, int *out) { return REAL(file)->pMethods->xCheckReservedLock(REAL(file), out); }

static int control(sqlite3_file *file, int code, void *argument)
{
    return REAL(file)->pMethods->xFileControl(REAL(file), code, argument);
}

static int sectorSize(sqlite3_file *file) { return REAL(file)->pMethods->xSectorSize(REAL(file)); }

static int characteristics(sqlite3_file *file) { return REAL(file)->pMethods->xDeviceCharacteristics(REAL(file)); }

static int shmMap(sqlite3_file *file, int region, int size, int extend, void volatile **out)
{
    return REAL(file)->pMethods->xShmMap(REAL(file), region, size, extend, out);
}

static int shmLock(sqlite3_file *file, int offset, int count, int flags)
{
    return REAL(file)->pMethods->xShmLock(REAL(file), offset, count, flags);
}

static void shmBarrier(sqlite3_file *file) { REAL(file)->pMethods->xShmBarrier(REAL(file)); }

static int shmUnmap(sqlite3_file *file, int isDeleting) { return REAL(file)->pMethods->xShmUnmap(REAL(file), isDeleting); }

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = closeFile,
    .xRead = readFile,
    .xWrite = writeTo,
    .xTruncate = truncateFile,
    .xSync = sync,
    .xFileSize = fileSize,
    .xLock = lockFile,
    .xUnlock = unlockFile,
    .xCheckReservedLock = checkLock,
    .xFileControl = control,
    .xSectorSize = sectorSize,
    .xDeviceCharacteristics = characteristics,
    .xShmMap = shmMap,
    .xShmLock = shmLock,
    .xShmBarrier = shmBarrier,
    .xShmUnmap = shmUnmap,
};

static int openFile(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *outFlags)
{
    (void) vfs;
    File *opened = (File *) file;
    opened->real = (sqlite3_file *) (opened + 1);
    int code = system_->xOpen(system_, name, opened->real, flags, outFlags);
    // Left without methods, it is not closed.
    opened->base.pMethods = code == SQLITE_OK ? &methods : NULL;
    return code;
}

void diskInstall(void)
{
    system_ = sqlite3_vfs_find(NULL);
    REQUIRE(system_ != NULL);
    shim = *system_;
    shim.zName = "failing";
    shim.szOsFile = (int) sizeof(File) + system_->szOsFile;
    shim.xOpen = openFile;
    REQUIRE(sqlite3_vfs_register(&shim, 1) == SQLITE_OK);
}

void diskFail(int first, int count, DiskFault fault)
{
    pthread_mutex_lock(&lock);
    calls = failures = syncFailures = 0;
    firstFault = first;
    faultCount = count;
    faultKind = fault;
    pthread_mutex_unlock(&lock);
}

static int locked(const int *number)
{
    pthread_mutex_lock(&lock);
    int value = *number;
    pthread_mutex_unlock(&lock);
    return value;
}

int diskCalls(void) { return locked(&calls); }

int diskFailures(void) { return locked(&failures); }

int diskSyncFailures(void) { return locked(&syncFailures); }
