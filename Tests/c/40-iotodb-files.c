/*
 * An engineer moves items in and out of a device's database by iotodb, looks at what waits for the cloud, and at what is wrong with
 * a database or with a file of items.
 */
#include "support/tool.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define IMPORTED 1200

static void transfer(Db *db)
{
    const char *path = PATH("state");
    FILE *file = fopen(scratch("in.jsonl"), "w");
    REQUIRE(file != NULL);
    for (int index = 0; index < IMPORTED; index++) {
        fprintf(file, "{\"model\":\"%s\", \"item\":{\"id\":\"i%04d\",\"count\":%d,\"text\":\"\\\"}\\u00e9 {\"}}\n",
                index % 2 == 0 ? "Note" : "Local", index, index);
    }
    fclose(file);
    EXPECT_NUMBER(tool("import", path, scratch("in.jsonl"), NULL), 0);
    EXPECT(toolPrinted(format("%d items imported, 0 failed", IMPORTED)));
    EXPECT_NUMBER(count(db, "Note", NULL), IMPORTED / 2);
    DbItem *item = dbGet(db, "Note", DB_PROPS("id", "i0002"), NULL);
    EXPECT_TEXT(dbField(item, "text"), "\"}\xc3\xa9 {");
    dbFreeItem(item);
    claim("import reads JSON lines into a database that is open");

    EXPECT_NUMBER(tool("export", path, "--output", scratch("out.jsonl"), NULL), 0);
    EXPECT(toolPrinted(format("%d items exported", IMPORTED)));
    EXPECT(access(scratch("out.jsonl.part"), F_OK) != 0);
    EXPECT_NUMBER(tool("import", scratch("copy.db"), scratch("out.jsonl"), "--create", "--json", NULL), 0);
    EXPECT_TEXT(toolOutput, format("{\"imported\":%d,\"failed\":0}\n", IMPORTED));
    EXPECT_NUMBER(tool("export", scratch("copy.db"), "Local", NULL), 0);
    EXPECT_NUMBER(toolLines(), IMPORTED / 2);
    EXPECT_NUMBER(tool("export", path, "--output", scratch("no/such/folder"), NULL), 1);
    EXPECT_NUMBER(tool("export", path, "Nothing", NULL), 1);
    claim("what export writes, import reads");

    writeFile(scratch("bad.jsonl"), "{\"model\":\"Note\",\"item\":{\"id\":\"x1\"}}\n\n"
                                    "{\"model\":\"Note\",\"item\":{\"id\":\"x2\",\"count\":\"many\"}}\n"
                                    "{\"model\":\"Nothing\",\"item\":{}}\n{\"item\":{},\"model\":7}\n{\"model\":\"Note\"\n"
                                    "[1\n{\"\\\n{\"model\":\"Note\",\"item\":{}} x\n"
                                    "{\"item\" : {\"id\" : \"x3\"} , \"model\" : \"Note\"} \r\n");
    EXPECT_NUMBER(tool("import", path, scratch("bad.jsonl"), NULL), 1);
    EXPECT(toolComplained("bad.jsonl:3: ") && toolPrinted("0 items imported, 1 failed"));
    EXPECT(!exists(db, "Note", DB_PROPS("id", "x1")));
    claim("a line that fails takes its transaction back and is named");
    EXPECT_NUMBER(tool("import", path, scratch("bad.jsonl"), "--keep-going", NULL), 1);
    EXPECT(toolPrinted("2 items imported, 7 failed") && toolComplained("bad.jsonl:9: "));
    EXPECT(exists(db, "Note", DB_PROPS("id", "x1")) && exists(db, "Note", DB_PROPS("id", "x3")));
    claim("with --keep-going the good lines are stored");

    writeFile(scratch("bare.jsonl"), "{id: 'y1', count: 1}\n{\"id\":\"y2\"}");
    EXPECT_NUMBER(tool("import", path, scratch("bare.jsonl"), "Note", "-q", NULL), 0);
    EXPECT_TEXT(toolOutput, "");
    EXPECT(exists(db, "Note", DB_PROPS("id", "y2")));
    char *longest = repeat('[', 3 * 1024 * 1024);
    writeFile(scratch("long.jsonl"), longest);
    free(longest);
    EXPECT_NUMBER(tool("import", path, scratch("long.jsonl"), NULL), 1);
    EXPECT(toolComplained("long.jsonl:1: the line is longer"));
    EXPECT_NUMBER(tool("import", path, scratch("none.jsonl"), NULL), 1);
    EXPECT_NUMBER(tool("import", path, scratchFolder(), NULL), 1);
    claim("import reads bare items of a model, and refuses what is no text");
}

/** Run an import, or an export, of out.jsonl whose standard error is a terminal, and return what the terminal got. */
static const char *runOnTerminal(const char *command, const char *path, const char *option)
{
    static char seen[65536];
    size_t size = 0;
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (!EXPECT(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0)) return "";
    pid_t child = fork();
    if (child == 0) {
        int terminal = open(ptsname(master), O_RDWR | O_NOCTTY), nothing = open("/dev/null", O_WRONLY);
        dup2(terminal, STDERR_FILENO);
        dup2(nothing, STDOUT_FILENO);
        close(terminal);
        close(master);
        const char *way = strcmp(command, "export") == 0 ? "--output" : "--context=accountId=a1";
        execl(toolProgram(), toolProgram(), command, path, way, scratch("out.jsonl"), "--schema", testData("schema.json5"), "--context",
              "deviceId=d1", option, (char *) NULL);
        _exit(127);
    }
    /* At the child's end the terminal's other side is gone, which is an error here. */
    ssize_t got;
    while (size < sizeof seen - 1 && (got = read(master, seen + size, sizeof seen - 1 - size)) > 0) size += (size_t) got;
    seen[size] = '\0';
    close(master);
    int status = -1;
    EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return seen;
}

static void progress(void)
{
    const char *path = PATH("state");
    const char *seen = runOnTerminal("import", path, NULL);
    EXPECT(strstr(seen, "\r[") != NULL && strstr(seen, " items") != NULL);
    EXPECT(strcmp(seen + strlen(seen) - 4, "\r\x1b[K") == 0);
    EXPECT_TEXT(runOnTerminal("import", path, "--quiet"), "");
    EXPECT_NUMBER(tool("import", path, scratch("out.jsonl"), NULL), 0);
    EXPECT_TEXT(toolErrors, "");
    seen = runOnTerminal("export", path, NULL);
    EXPECT(strstr(seen, "\r[") != NULL && strstr(seen, "%  ") != NULL);
    EXPECT(strcmp(seen + strlen(seen) - 4, "\r\x1b[K") == 0);
    EXPECT_TEXT(runOnTerminal("export", path, "--quiet"), "");
    EXPECT_NUMBER(tool("export", path, "--output", scratch("out.jsonl"), NULL), 0);
    EXPECT_TEXT(toolErrors, "");
    claim("import and export show a bar on a terminal, take it away at the end, and nowhere else");
}

static bool stopAtTwo(void *context, const DbPending *change)
{
    int *calls = context;
    EXPECT(change->size == sizeof(DbPending) && change->code == 0 && change->refused_ms == 0);
    EXPECT_TEXT(change->reason, "");
    EXPECT(change->queued_ms > 0 && change->changed_ms >= change->queued_ms);
    return ++*calls < 2;
}

static void outbox(void)
{
    const char *path = PATH("outbox");
    Db *db = openScratch("outbox.db", 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "p1", "text", "waits")), 0);
    EXPECT_CODE(create(db, "Reading", DB_PROPS("id", "p2", "value", "1")), 0);
    EXPECT_CODE(create(db, "Local", DB_PROPS("id", "p3")), 0);
    EXPECT_CODE(update(db, "Note", DB_PROPS("id", "p1", "text", "waits on")), 0);
    EXPECT_CODE(dbRemove(db, "Reading", DB_PROPS("id", "p2"), NULL), 1);
    EXPECT_NUMBER(tool("outbox", path, "--json", NULL), 0);
    EXPECT_NUMBER(toolLines(), 2);
    EXPECT(strncmp(toolOutput, "{\"model\":\"Note\",\"cmd\":\"put\",", 28) == 0 && toolPrinted("waits on"));
    EXPECT(toolPrinted("{\"model\":\"Reading\",\"cmd\":\"remove\",") && toolPrinted("\"id\":\"p2\""));
    EXPECT_NUMBER(tool("outbox", path, "--limit", "1", NULL), 0);
    EXPECT_NUMBER(toolLines(), 2);
    EXPECT_NUMBER(tool("outbox", path, "--rejected", "-j", NULL), 0);
    EXPECT_TEXT(toolOutput, "");
    int calls = 0;
    EXPECT_CODE(dbEachPending(db, stopAtTwo, &calls), 2);
    EXPECT_CODE(dbEachPending(db, NULL, NULL), DB_ERR_MISUSE);
    EXPECT_CODE(dbEachRejected(NULL, stopAtTwo, NULL), DB_ERR_MISUSE);
    claim("outbox prints what waits for the cloud");

    for (int index = 0; index < 250; index++) EXPECT_CODE(create(db, "Note", DB_PROPS("text", "more")), 0);
    EXPECT_NUMBER(tool("outbox", path, "--json", NULL), 0);
    EXPECT_NUMBER(toolLines(), 252);
    EXPECT_NUMBER(tool("stats", path, "--all", "--json", NULL), 0);
    EXPECT(toolPrinted("\"pendingItems\":252,") && toolPrinted("\"rejectedItems\":0,") && toolPrinted("\"Local\":1"));
    EXPECT_NUMBER(tool("stats", path, NULL), 0);
    EXPECT(toolPrinted("pendingItems"));
    claim("a long outbox is listed whole, and stats counts it");

    damage(path, "INSERT INTO rejected SELECT position, model, hash, sort, time, writer, 0, json, -202, 'too \"hot\"', "
                 "1700000000000 FROM item WHERE position IN (SELECT min(position) FROM outbox)");
    EXPECT_NUMBER(tool("outbox", path, "--rejected", "--json", NULL), 0);
    EXPECT(toolPrinted("\"refused\":\"2023-11-14T22:13:20.000Z\",\"code\":-202,\"reason\":\"too \\\"hot\\\"\",\"item\":{"));
    EXPECT_NUMBER(tool("outbox", path, "-R", NULL), 0);
    EXPECT(toolPrinted("too \"hot\"") && toolLines() == 2);
    claim("outbox --rejected prints what the cloud refused, and why");
    dbClose(db);
}

static void countReport(void *context, const char *problem)
{
    if (problem[0] != '\0') (*(int *) context)++;
}

static void damaged(void)
{
    const char *path = PATH("damaged");
    Db *db = openScratch("damaged.db", 0);
    for (int index = 0; index < 4; index++) EXPECT_CODE(create(db, "Note", DB_PROPS("id", format("d%d", index))), 0);
    EXPECT_NUMBER(tool("check", path, NULL), 0);
    EXPECT(toolPrinted("sound"));
    damage(path, "UPDATE item SET json = '{\"id\":}' WHERE sort = 'note#d0'");
    damage(path, "UPDATE item SET json = replace(json, '\"d1\"', '\"d2\"') WHERE sort = 'note#d1' AND json LIKE '%\"id\":%'");
    damage(path, "DELETE FROM item WHERE sort = 'note#d3'");
    damage(path, "INSERT INTO item(hash, sort, model, time, json) VALUES('h', 's', 9999, 0, 'of no model')");
    EXPECT_NUMBER(tool("check", path, NULL), 1);
    EXPECT(toolPrinted("'note#d0'") && toolPrinted("'note#d1'") && toolPrinted("outbox: the change of 'device#d1' 'note#d3'"));
    EXPECT(toolComplained("problems"));
    int calls = 0;
    int problems = dbCheck(db, countReport, &calls);
    EXPECT(problems >= 3 && problems == calls);
    EXPECT_CODE(dbCheck(db, NULL, NULL), problems);
    EXPECT_NUMBER(tool("check", path, "--json", NULL), 1);
    EXPECT(toolPrinted(format("{\"problems\":%d}\n", problems)));
    claim("check names items that are no JSON or under another key, and changes that lead nowhere");

    damage(path, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) "
                 "INSERT INTO outbox SELECT i, 'nobody', 'x' || i FROM n");
    EXPECT_CODE(dbCheck(db, NULL, NULL), 100);
    dbClose(db);
    claim("check ends after a hundred problems");

    int file = open(path, O_RDWR);
    EXPECT(file >= 0);
    EXPECT(pwrite(file, "damage damage damage damage damage damage", 41, 4096 * 2) == 41);
    EXPECT(pwrite(file, "damage damage damage damage damage damage", 41, 4096 * 3 + 8) == 41);
    close(file);
    EXPECT_NUMBER(tool("check", path, NULL), 1);
    claim("check tells a damaged file from a sound one");
}

int main(void)
{
    scenarioBegin();
    Db *db = openScratch("state.db", 0);
    REQUIRE(db != NULL);
    transfer(db);
    progress();
    dbClose(db);
    outbox();
    damaged();
    toolFree();
    return scenarioEnd();
}
