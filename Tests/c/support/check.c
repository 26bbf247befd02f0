#include "check.h"
#include "process.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATH_BYTES_MAX 4096
#define BUFFERS 16

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int claimCount;
static int claimsFailed;
static int expectationsFailed; // since the last claim

static char folder[PATH_BYTES_MAX / 2];
static bool folderIsOurs;

/* ---- Scenario ---- */

static void onWatchdog(int signal)
{
    static const char text[] = "not ok - the scenario ends in time\n";
    (void) signal;
    if (write(STDOUT_FILENO, text, sizeof text - 1) < 0) _exit(2);
    childrenKill();
    _exit(1);
}

static void printLog(void *context, IoLogLevel level, const char *message)
{
    (void) context;
    note("log %d: %s", (int) level, message);
}

void scenarioBegin(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGALRM, onWatchdog);
    signal(SIGPIPE, SIG_IGN);
    alarm(SCENARIO_SECONDS_MAX);
    scenarioLog(IO_LOG_WARNING);
}

void scenarioLog(IoLogLevel level) { ioSetLog(printLog, NULL, level); }

void scenarioSeconds(unsigned seconds) { alarm(seconds); }

static uint64_t seed;

void scenarioSeed(void)
{
    const char *given = getenv("IOTO_TEST_SEED");
    seed = given != NULL && *given != '\0' ? strtoull(given, NULL, 10) : (uint64_t) wall_ms() % 1000000007u;
    note("IOTO_TEST_SEED=%llu", (unsigned long long) seed);
}

uint32_t randomBelow(uint32_t limit)
{
    // splitmix64 (Steele, Lea, Flood, 2014)
    uint64_t value = (seed += 0x9E3779B97F4A7C15u);
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
    return (uint32_t) ((((value ^ (value >> 31)) >> 32) * limit) >> 32);
}

int scenarioEnd(void)
{
    if (expectationsFailed > 0) claim("expectations after the last claim hold");
    printf("1..%d\n", claimCount);
    return claimsFailed == 0 ? 0 : 1;
}

void scenarioSkip(const char *reason)
{
    printf("1..0 # SKIP %s\n", reason);
    exit(77);
}

void scenarioAbandon(const char *reason)
{
    claim("the scenario can go on: %s", reason);
    exit(scenarioEnd());
}

void claim(const char *format, ...)
{
    pthread_mutex_lock(&lock);
    bool holds = expectationsFailed == 0;
    expectationsFailed = 0;
    claimCount++;
    if (!holds) claimsFailed++;
    printf("%s %d - ", holds ? "ok" : "not ok", claimCount);
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    pthread_mutex_unlock(&lock);
}

void note(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    flockfile(stdout);
    fputs("# ", stdout);
    vprintf(format, arguments);
    putchar('\n');
    funlockfile(stdout);
    va_end(arguments);
}

/* ---- Expectations ---- */

static bool fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

static bool fail(const char *file, int line, const char *format, ...)
{
    pthread_mutex_lock(&lock);
    expectationsFailed++;
    pthread_mutex_unlock(&lock);
    const char *name = strrchr(file, '/');
    va_list arguments;
    va_start(arguments, format);
    flockfile(stdout);
    printf("#   %s:%d: ", name ? name + 1 : file, line);
    vprintf(format, arguments);
    putchar('\n');
    funlockfile(stdout);
    va_end(arguments);
    return false;
}

bool expectThat(bool isMet, const char *text, const char *file, int line)
{
    if (isMet) return true;
    return fail(file, line, "expected %s (last error %d: %s)", text, dbGetErrorCode(), dbGetError(NULL));
}

bool expectText(const char *actual, const char *expected, const char *text, const char *file, int line)
{
    if (actual == NULL && expected == NULL) return true;
    if (actual != NULL && expected != NULL && strcmp(actual, expected) == 0) return true;
    return fail(file, line, "%s is \"%.200s\", expected \"%.200s\"", text, actual ? actual : "(NULL)",
                expected ? expected : "(NULL)");
}

bool expectNumber(int64_t actual, int64_t expected, const char *text, const char *file, int line)
{
    if (actual == expected) return true;
    return fail(file, line, "%s is %lld, expected %lld", text, (long long) actual, (long long) expected);
}

bool expectCode(int actual, int expected, const char *text, const char *file, int line)
{
    if (actual == expected) return true;
    return fail(file, line, "%s is %d, expected %d (last error: %s)", text, actual, expected, dbGetError(NULL));
}

bool expectNames(const char *text, const char *part, const char *file, int line)
{
    if (text != NULL && strstr(text, part) != NULL) return true;
    return fail(file, line, "the error \"%s\" does not name \"%s\"", text ? text : "(NULL)", part);
}

/* ---- Clock ---- */

static int64_t read_ms(clockid_t source)
{
    struct timespec now;
    clock_gettime(source, &now);
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clock_ms(void) { return read_ms(CLOCK_MONOTONIC); }

int64_t wall_ms(void) { return read_ms(CLOCK_REALTIME); }

void pause_ms(int64_t duration_ms)
{
    struct timespec left = {.tv_sec = (time_t) (duration_ms / 1000), .tv_nsec = (long) (duration_ms % 1000) * 1000000L};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
}

/* ---- Texts and files ---- */

static char *nextBuffer(void)
{
    static _Thread_local char buffers[BUFFERS][PATH_BYTES_MAX];
    static _Thread_local unsigned next;
    return buffers[next++ % BUFFERS];
}

/** Remove a folder of files and of folders of files: what a scenario leaves is no deeper. */
static void removeFolder(const char *path, int depth)
{
    DIR *entries = opendir(path);
    if (entries == NULL) return;
    struct dirent *entry;
    while ((entry = readdir(entries)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        char inner[PATH_BYTES_MAX];
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        if (unlink(inner) != 0 && depth < 4) removeFolder(inner, depth + 1);
    }
    closedir(entries);
    rmdir(path);
}

static void removeScratch(void)
{
    childrenKill();
    if (folderIsOurs) removeFolder(folder, 0);
}

const char *scratchFolder(void)
{
    if (folder[0] == '\0') {
        const char *base = getenv("TMPDIR");
        snprintf(folder, sizeof folder, "%s/ioto-test-XXXXXX", base != NULL && *base != '\0' ? base : "/tmp");
        if (mkdtemp(folder) == NULL) {
            fprintf(stderr, "%s: %s\n", folder, strerror(errno));
            exit(1);
        }
        folderIsOurs = true;
        atexit(removeScratch);
    }
    return folder;
}

void scratchAdopt(const char *path) { snprintf(folder, sizeof folder, "%s", path); }

const char *scratch(const char *name) { return format("%s/%s", scratchFolder(), name); }

const char *testData(const char *name)
{
    const char *base = getenv("TEST_DATA");
    return format("%s/%s", base != NULL ? base : "Tests/c/data", name);
}

void writeFile(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL || fputs(text, file) == EOF || fclose(file) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
}

const char *format(const char *format, ...)
{
    char *buffer = nextBuffer();
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(buffer, PATH_BYTES_MAX, format, arguments);
    va_end(arguments);
    return buffer;
}

char *repeat(char character, size_t length)
{
    char *text = malloc(length + 1);
    if (text == NULL) abort();
    memset(text, character, length);
    text[length] = '\0';
    return text;
}

/* ---- Database ---- */

int create(Db *db, const char *model, const DbProps *props)
{
    DbItem *item = dbCreate(db, model, props, NULL);
    if (item == NULL) return dbGetErrorCode();
    dbFreeItem(item);
    return 0;
}

int update(Db *db, const char *model, const DbProps *props)
{
    DbItem *item = dbUpdate(db, model, props, NULL);
    if (item == NULL) return dbGetErrorCode();
    dbFreeItem(item);
    return 0;
}

int64_t count(Db *db, const char *model, const DbProps *props)
{
    DbList *list = dbFind(db, model, props, NULL);
    if (list == NULL) return -1;
    int64_t found = (int64_t) dbListCount(list);
    dbFreeList(list);
    return found;
}

bool exists(Db *db, const char *model, const DbProps *props)
{
    DbItem *item = dbGet(db, model, props, NULL);
    if (item == NULL) return false;
    dbFreeItem(item);
    return true;
}

Db *openScratch(const char *name, int flags)
{
    Db *db = dbOpen(scratch(name), testData("schema.json5"), flags);
    if (db != NULL) {
        dbAddContext(db, "deviceId", "d1");
        dbAddContext(db, "accountId", "a1");
    }
    return db;
}

Db *openWithPatterns(const char *name, const char *schema)
{
    Db *db = dbOpen(scratch(name), scratch(schema), 0);
    if (db == NULL && strstr(dbGetError(NULL), "needs PCRE2") != NULL) scenarioSkip("the library was built without PCRE2");
    REQUIRE(db != NULL);
    return db;
}
