/*
    A firmware's disk is full: a small tmpfs where one can be mounted, and in any case a limit of the process on the size of
    its files. Every call must fail cleanly, as full; reads must go on; nothing that was stored may be lost, nothing that
    failed may be there; and when space returns, without the database being closed, so must service.
 */
#define _GNU_SOURCE
#include "support/device.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define DISK_BYTES (3 * 1024 * 1024)
#define BALLAST_BYTES (1024 * 1024)

static bool isDisk;
static char folder[2048];

/** A tmpfs that this process alone sees. */
static bool mountDisk(void)
{
    uid_t user = getuid();
    if (unshare(CLONE_NEWNS) != 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
        int map = open("/proc/self/uid_map", O_WRONLY);
        if (map < 0 || dprintf(map, "0 %d 1", (int) user) < 0) return false;
        close(map);
    }
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return false;
    return mount("tmpfs", folder, "tmpfs", 0, format("size=%d", DISK_BYTES)) == 0;
}

static const char *ballast(void) { return format("%s/ballast", folder); }

static void fill(void)
{
    if (isDisk) {
        char *text = repeat('b', BALLAST_BYTES);
        writeFile(ballast(), text);
        free(text);
    } else {
        signal(SIGXFSZ, SIG_IGN);
        struct rlimit limit = {DISK_BYTES / 2, RLIM_INFINITY};
        setrlimit(RLIMIT_FSIZE, &limit);
    }
}

static void makeSpace(void)
{
    if (isDisk) {
        EXPECT(unlink(ballast()) == 0);
    } else {
        struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
        setrlimit(RLIMIT_FSIZE, &limit);
    }
}

static int told;

static void onFull(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params, const char *cmd,
                   int events)
{
    (void) arg;
    (void) db;
    (void) model;
    (void) params;
    (void) cmd;
    if (events == DB_ON_FULL && dbField(item, "id") != NULL) told++;
}

static Db *openThere(void)
{
    Db *db = dbOpen(format("%s/full.db", folder), testData("schema.json5"), 0);
    if (db != NULL) dbAddContext(db, "deviceId", "d1");
    return db;
}

static void liveOnAFullDisk(const char *what)
{
    char *text = repeat('x', 2000);
    Db *db = openThere();
    REQUIRE(db != NULL);
    EXPECT_CODE(dbAddTrigger(db, onFull, NULL, NULL, DB_ON_FULL), 0);
    fill();
    told = 0;
    int made = 0, code = 0;
    while (made < 5000 && (code = create(db, "Note", DB_PROPS("id", format("%04d", made), "text", text))) == 0) made++;
    EXPECT_CODE(code, DB_ERR_FULL);
    EXPECT_ERROR_NAMES("full.db: the disk is full");
    /* On the disk the log may fill what is left, as the file can't grow to take it over. */
    EXPECT(made > (isDisk ? 30 : 300));
    note("%d items on %s", made, what);
    /* What needs less may still find room; what has failed must not be there, and what has not must. */
    int refused = 0, removed = 0;
    bool isChanged = false;
    for (int attempt = 0; attempt < 50; attempt++) {
        code = create(db, "Note", DB_PROPS("id", format("%04d", made), "text", text));
        if (code == 0) made++;
        EXPECT(code == 0 || code == DB_ERR_FULL);
        refused += code != 0;
        code = update(db, "Note", DB_PROPS("id", "0000", "text", "changed"));
        EXPECT(code == 0 || code == DB_ERR_FULL);
        isChanged = isChanged || code == 0;
        code = dbRemove(db, "Note", DB_PROPS("id", "0001"), NULL);
        EXPECT(code == 0 || code == 1 || code == DB_ERR_FULL);
        if (code > 0) removed++;
    }
    EXPECT(refused > 0);
    EXPECT_CODE(dbBegin(db), 0);
    code = 0;
    for (int index = 0; index < 40 && code == 0; index++) {
        code = create(db, "Local", DB_PROPS("id", format("%d", index), "text", text));
    }
    int committed = dbCommit(db);
    EXPECT(code == DB_ERR_FULL || committed == DB_ERR_FULL);
    claim("on %s changes fail as full", what);

    EXPECT_NUMBER(count(db, "Note", NULL), made - removed);
    EXPECT_NUMBER(count(db, "Local", NULL), 0);
    EXPECT(!exists(db, "Note", DB_PROPS("id", format("%04d", made))));
    char *stored = dbGetField(db, "Note", "text", DB_PROPS("id", "0000"), NULL);
    EXPECT_TEXT(stored, isChanged ? "changed" : text);
    dbFree(stored);
    claim("on %s reads go on, and see what was stored and nothing else", what);

    makeSpace();
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "beyond", "text", text)), 0);
    EXPECT_CODE(update(db, "Note", DB_PROPS("id", "0000", "text", "changed")), 0);
    EXPECT_NUMBER(dbRemove(db, "Note", DB_PROPS("id", "0001"), NULL), 1 - removed);
    EXPECT_CODE(dbBegin(db), 0);
    EXPECT_CODE(create(db, "Local", DB_PROPS("id", "a")), 0);
    EXPECT_CODE(dbCommit(db), 0);
    claim("on %s service resumes when space returns", what);

    dbClose(db);
    EXPECT(told >= refused);
    db = openThere();
    REQUIRE(db != NULL);
    EXPECT_NUMBER(count(db, "Note", NULL), made);
    EXPECT(exists(db, "Note", DB_PROPS("id", "beyond")) && !exists(db, "Note", DB_PROPS("id", "0001")));
    EXPECT_NUMBER(count(db, "Local", NULL), 1);
    dbClose(db);
    claim("on %s nothing is lost", what);

    fill();
    for (int attempt = 0; attempt < 20; attempt++) {
        char *name = strdup(format("%s/%d.db", folder, attempt));
        db = dbOpen(name, testData("schema.json5"), 0);
        if (db == NULL) EXPECT(dbGetErrorCode() == DB_ERR_FULL || dbGetErrorCode() == DB_ERR_IO);
        dbClose(db);
        free(name);
    }
    makeSpace();
    claim("on %s a database opens, or fails cleanly", what);
    free(text);
}

static int firmware(char **argv)
{
    childBegin(argv);
    isDisk = strcmp(argv[3], "disk") == 0;
    snprintf(folder, sizeof folder, "%s", scratch(argv[3]));
    if (mkdir(folder, 0700) != 0) return 1;
    if (isDisk && !mountDisk()) {
        printf("no disk: %s\n", strerror(errno));
        return 0;
    }
    liveOnAFullDisk(isDisk ? "a full disk" : "a file system with limits");
    return scenarioEnd();
}

int main(int argc, char **argv)
{
    if (argc > 3 && strcmp(argv[1], "firmware") == 0) return firmware(argv);
    scenarioBegin();
    const char *modes[] = {"disk", "limit"};
    for (int mode = 0; mode < 2; mode++) {
        char line[1024];
        Child child = childStartSelf("firmware", (const char *[]){modes[mode], NULL});
        while (childLine(&child, line, sizeof line)) note("%s", line);
        EXPECT_NUMBER(childWait(&child), 0);
        childCloseOutput(&child);
        claim("a firmware lives on a full %s", modes[mode]);
    }
    return scenarioEnd();
}
