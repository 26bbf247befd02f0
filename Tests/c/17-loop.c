/*
    A firmware has triggers run on its own loop. They must run there and nowhere else, in commit order, each once; the
    descriptor must be readable as long as something waits and not longer; a bounded dispatch must end; and writers must
    neither fill the memory nor wait for a loop that is busy writing.
 */
#include "support/device.h"

#include <poll.h>
#include <pthread.h>

#define QUEUE_MAX 4096

typedef struct Log {
    pthread_t thread;
    int calls;
    int elsewhere;
    int disordered;
    int64_t last;
    int pause_ms;
    int nested;
} Log;

static void record(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params, const char *cmd,
                   int events)
{
    Log *log = arg;
    (void) model;
    (void) params;
    (void) cmd;
    (void) events;
    if (!pthread_equal(pthread_self(), log->thread)) log->elsewhere++;
    int64_t number = dbFieldNumber(item, "count", -1);
    if (number <= log->last) log->disordered++;
    log->last = number;
    log->calls++;
    if (log->pause_ms > 0) pause_ms(log->pause_ms);
    if (dbDispatch(db, -1) != 0) log->nested++;
}

static bool isReadable(int fd)
{
    struct pollfd set = {.fd = fd, .events = POLLIN};
    return poll(&set, 1, 0) == 1;
}

static int write1(Db *db, int number)
{
    char text[16];
    snprintf(text, sizeof text, "%d", number);
    return dbSet(db, "Note", DB_PROPS("id", "a", "count", text), NULL);
}

static void onTheLoop(void)
{
    Log log = {.thread = pthread_self()};
    Db *db = openScratch("loop.db", DB_DURABILITY_NORMAL);
    REQUIRE(db != NULL);
    EXPECT_CODE(dbDispatch(db, 0), DB_ERR_MISUSE);
    EXPECT_CODE(dbAddTrigger(db, record, "Note", &log, DB_ON_CHANGE), 0);
    int fd = dbGetFd(db);
    EXPECT(fd >= 0);
    EXPECT_NUMBER(dbGetFd(db), fd);
    EXPECT(!isReadable(fd));
    EXPECT_NUMBER(dbDispatch(db, -1), 0);
    for (int number = 1; number <= 5; number++) EXPECT_CODE(write1(db, number), 0);
    pause_ms(50);
    EXPECT_NUMBER(log.calls, 0);
    EXPECT(isReadable(fd));
    claim("nothing runs before the loop asks, and the descriptor is readable");

    EXPECT_NUMBER(dbDispatch(db, 0), 1);
    EXPECT_NUMBER(log.calls, 1);
    EXPECT(isReadable(fd));
    EXPECT_NUMBER(dbDispatch(db, -1), 4);
    EXPECT(!isReadable(fd));
    EXPECT_NUMBER(dbDispatch(db, 1000), 0);
    EXPECT_NUMBER(log.calls, 5);
    claim("a dispatch runs what waits, as much as it may, and the descriptor follows");

    log.pause_ms = 20;
    for (int number = 6; number <= 25; number++) EXPECT_CODE(write1(db, number), 0);
    int64_t start_ms = clock_ms();
    int called = dbDispatch(db, 50);
    EXPECT(called >= 1 && called < 20 && clock_ms() - start_ms >= 50);
    log.pause_ms = 0;
    claim("a dispatch ends when its time is up");

    Db *later = db;
    dbClose(later);
    EXPECT_NUMBER(log.calls, 25);
    EXPECT_NUMBER(log.elsewhere, 0);
    EXPECT_NUMBER(log.disordered, 0);
    EXPECT_NUMBER(log.nested, 0);
    claim("dbClose runs the rest: all ran once, in order, on this thread alone, and not within each other");
}

static void takenOver(void)
{
    Log log = {0};
    Db *db = openScratch("over.db", DB_DURABILITY_NORMAL);
    REQUIRE(db != NULL);
    log.thread = pthread_self();
    EXPECT_CODE(dbAddTrigger(db, record, "Note", &log, DB_ON_CHANGE), 0);
    log.pause_ms = 10;
    for (int number = 1; number <= 20; number++) EXPECT_CODE(write1(db, number), 0);
    int fd = dbGetFd(db);
    int before = log.calls;
    pause_ms(50);
    EXPECT_NUMBER(log.calls, before);
    EXPECT_NUMBER(log.elsewhere, before);
    EXPECT_NUMBER(isReadable(fd), before < 20);
    EXPECT_NUMBER(dbDispatch(db, -1), 20 - before);
    dbClose(db);
    EXPECT_NUMBER(log.calls, 20);
    EXPECT_NUMBER(log.elsewhere, before);
    EXPECT_NUMBER(log.disordered, 0);
    claim("the loop takes over from the library's thread, and nothing is lost or told twice");
}

static void once(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params, const char *cmd,
                 int events)
{
    (void) item;
    (void) params;
    (void) cmd;
    (void) events;
    ++*(int *) arg;
    dbClose(db);
    if (dbGetErrorCode() != DB_ERR_MISUSE || dbRemoveTrigger(db, once, dbModelName(model), arg) != 1) *(int *) arg += 100;
}

static void removesItself(void)
{
    int calls = 0;
    Db *db = openScratch("itself.db", DB_DURABILITY_NORMAL);
    REQUIRE(db != NULL && dbGetFd(db) >= 0);
    EXPECT_CODE(dbAddTrigger(db, once, "Note", &calls, DB_ON_CHANGE), 0);
    for (int number = 1; number <= 3; number++) EXPECT_CODE(write1(db, number), 0);
    EXPECT(dbDispatch(db, -1) >= 1);
    EXPECT_NUMBER(calls, 1);
    dbClose(db);
    EXPECT_NUMBER(calls, 1);
    claim("a trigger on the loop removes itself, and closes nothing");
}

typedef struct Writer {
    Db *db;
    pthread_t thread;
    int first;
    int code;
    bool isDone;
} Writer;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *writeMany(void *argument)
{
    Writer *writer = argument;
    for (int number = writer->first; number < writer->first + QUEUE_MAX + 100 && writer->code == 0; number++) {
        writer->code = write1(writer->db, number);
    }
    pthread_mutex_lock(&lock);
    writer->isDone = true;
    pthread_mutex_unlock(&lock);
    return NULL;
}

static bool isDone(Writer *writer)
{
    pthread_mutex_lock(&lock);
    bool result = writer->isDone;
    pthread_mutex_unlock(&lock);
    return result;
}

static void bounded(void)
{
    Log log = {.thread = pthread_self()};
    Db *db = openScratch("bounded.db", DB_DURABILITY_NORMAL);
    REQUIRE(db != NULL);
    EXPECT_CODE(dbAddTrigger(db, record, "Note", &log, DB_ON_CHANGE), 0);
    EXPECT(dbGetFd(db) >= 0);
    Writer own = {.db = db, .first = 1}, other = {.db = db, .first = QUEUE_MAX + 101};
    writeMany(&own);
    EXPECT_CODE(own.code, 0);
    EXPECT(log.calls > 0 && log.calls <= 101);
    claim("on the loop's thread a full queue is delivered by the call that fills it");

    REQUIRE(pthread_create(&other.thread, NULL, writeMany, &other) == 0);
    pause_ms(100);
    EXPECT(!isDone(&other));
    EXPECT_WITHIN(30000, dbDispatch(db, -1) >= 0 && isDone(&other));
    pthread_join(other.thread, NULL);
    EXPECT_CODE(other.code, 0);
    EXPECT(dbDispatch(db, -1) >= 0);
    EXPECT_NUMBER(log.calls, 2 * (QUEUE_MAX + 100));
    EXPECT_NUMBER(log.disordered, 0);
    EXPECT_NUMBER(log.elsewhere, 0);
    claim("other threads wait for the loop, and every change is told");

    Writer last = {.db = db, .first = 1};
    log.last = 0;
    REQUIRE(pthread_create(&last.thread, NULL, writeMany, &last) == 0);
    pause_ms(200);
    dbClose(db);
    pthread_join(last.thread, NULL);
    EXPECT(last.code == 0 || last.code == DB_ERR_MISUSE);
    EXPECT_NUMBER(log.elsewhere, 0);
    claim("dbClose does not wait for a writer that waits for the loop");
}

static void ofAnAgent(void)
{
    Log log = {.thread = pthread_self()};
    Io *io = deviceOpen("agent.db", freePort(), SYNC_NEVER);
    REQUIRE(io != NULL);
    Db *db = ioGetDb(io);
    EXPECT_CODE(ioDispatch(io, 0), DB_ERR_MISUSE);
    EXPECT_CODE(dbAddTrigger(db, record, "Note", &log, DB_ON_CHANGE), 0);
    int fd = ioGetFd(io);
    EXPECT(fd >= 0 && fd == dbGetFd(db) && !isReadable(fd));
    for (int number = 1; number <= 3; number++) EXPECT_CODE(write1(db, number), 0);
    EXPECT(isReadable(fd));
    EXPECT_NUMBER(ioDispatch(io, 0), 1);
    EXPECT_NUMBER(ioDispatch(io, -1), 2);
    EXPECT(!isReadable(fd));
    for (int number = 4; number <= 5; number++) EXPECT_CODE(write1(db, number), 0);
    ioClose(io);
    EXPECT_NUMBER(log.calls, 5);
    EXPECT_NUMBER(log.elsewhere + log.disordered + log.nested, 0);
    claim("an agent's loop gets its triggers in the same way, and the rest when it is closed");
}

int main(void)
{
    scenarioBegin();
    onTheLoop();
    takenOver();
    removesItself();
    bounded();
    ofAnAgent();
    return scenarioEnd();
}
