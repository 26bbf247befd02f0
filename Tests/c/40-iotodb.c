/*
 * An engineer at a device's console: iotodb, the installed program, through every command, while the firmware (this process)
 * has the database open; then with what is wrong: command lines, lines of an import, a damaged file.
 */
#include "support/check.h"
#include "support/process.h"

#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define IMPORTED 1200

static const char *program;
/** Standard output of the last run, and its standard error. */
static char *output;
static char *errors;

/** Path of a database in the scratch folder. Unlike scratch() it stays: it is used again after many others. */
#define PATH(name) keepPath((char[256]){0}, (name))

static const char *keepPath(char buffer[256], const char *name)
{
    snprintf(buffer, 256, "%s/%s.db", scratchFolder(), name);
    return buffer;
}

static char *readFile(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = calloc(1, 1 << 20);
    if (file != NULL) {
        text[fread(text, 1, (1 << 20) - 1, file)] = '\0';
        fclose(file);
    }
    return text;
}

/** Run iotodb with these arguments, under the schema of the scenarios and as device d1; returns its exit code. */
static int run(const char *command, ...)
{
    const char *arguments[CHILD_ARGUMENTS_MAX] = {program, command, "--schema", testData("schema.json5"), "--context",
                                                  "deviceId=d1"};
    size_t count = 6;
    va_list list;
    va_start(list, command);
    do {
        arguments[count] = va_arg(list, const char *);
    } while (arguments[count++] != NULL && count < CHILD_ARGUMENTS_MAX - 1);
    va_end(list);
    free(output);
    free(errors);
    unlink(scratch("errors.txt"));
    int code = childRun(arguments, scratch("errors.txt"), &output);
    errors = readFile(scratch("errors.txt"));
    if (errors[0] != '\0') note("iotodb %s: %.300s", command, errors);
    return code;
}

/** Run iotodb with nothing but these arguments. */
static int runBare(const char *first, const char *second, const char *third)
{
    free(output);
    free(errors);
    unlink(scratch("errors.txt"));
    int code = childRun((const char *const[]){program, first, second, third, NULL}, scratch("errors.txt"), &output);
    errors = readFile(scratch("errors.txt"));
    return code;
}

static bool prints(const char *part)
{
    if (output != NULL && strstr(output, part) != NULL) return true;
    note("printed: %.600s", output != NULL ? output : "nothing");
    return false;
}

static bool complains(const char *part)
{
    if (strstr(errors, part) != NULL) return true;
    note("complained: %.600s", errors);
    return false;
}

static int lines(const char *text)
{
    int count = 0;
    for (; *text != '\0'; text++) count += *text == '\n';
    return count;
}

/** Change the file behind the library's back. */
static void damage(const char *path, const char *sql)
{
    sqlite3 *raw = NULL;
    EXPECT_NUMBER(sqlite3_open(path, &raw), SQLITE_OK);
    sqlite3_busy_timeout(raw, 5000);
    EXPECT_NUMBER(sqlite3_exec(raw, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(raw);
}

static void helpAndUsage(void)
{
    static const char *const names[] = {"models", "list",   "get",   "find",   "set",   "update", "remove",
                                        "export", "import", "stats", "outbox", "check", "vacuum"};
    EXPECT_NUMBER(runBare("--help", NULL, NULL), 0);
    for (size_t index = 0; index < sizeof names / sizeof names[0]; index++) EXPECT(prints(format("\n  %s ", names[index])));
    for (size_t index = 0; index < sizeof names / sizeof names[0]; index++) {
        EXPECT_NUMBER(runBare(names[index], "--help", NULL), 0);
        EXPECT(prints(format("Usage: iotodb %s ", names[index])));
    }
    EXPECT_NUMBER(runBare("--version", NULL, NULL), 0);
    EXPECT(prints(format("iotodb %s (libioto %s)", IOTO_VERSION, ioVersion())));
    claim("--help, also of each command, and --version answer");

    EXPECT_NUMBER(runBare(NULL, NULL, NULL), 2);
    EXPECT_NUMBER(runBare("frobnicate", "state.db", NULL), 2);
    EXPECT(complains("unknown command 'frobnicate'"));
    EXPECT_NUMBER(runBare("list", NULL, NULL), 2);
    EXPECT_NUMBER(runBare("list", "--frobnicate", "state.db"), 2);
    EXPECT_NUMBER(runBare("list", "--many", "state.db"), 2);
    EXPECT(complains("no option -m"));
    EXPECT_NUMBER(runBare("list", "--limit=-1", "state.db"), 2);
    EXPECT_NUMBER(runBare("list", "--limit=99999999999999999999", "state.db"), 2);
    EXPECT_NUMBER(runBare("list", "--context=deviceId", "state.db"), 2);
    EXPECT_NUMBER(runBare("list", "--fields=a,,b", "state.db"), 2);
    EXPECT_NUMBER(runBare("remove", "state.db", "Note"), 2);
    EXPECT_NUMBER(runBare("check", "state.db", "more"), 2);
    claim("a command line that is wrong gives exit code 2");

    EXPECT_NUMBER(run("list", scratch("none.db"), NULL), 1);
    EXPECT_NUMBER(run("set", scratch("none.db"), "Note", "id=a", NULL), 1);
    EXPECT(access(scratch("none.db"), F_OK) != 0);
    EXPECT_NUMBER(runBare("list", scratch("none.db"), NULL), 1);
    writeFile(scratch("text.db"), "this is no database, but long enough to be taken for one by its size alone ..........."
                                  "...........................................................................");
    EXPECT_NUMBER(run("list", scratch("text.db"), NULL), 1);
    EXPECT_NUMBER(runBare("list", scratch("text.db"), NULL), 1);
    EXPECT(complains("--schema"));
    claim("a database that is none fails, and none is made");
}

static void setAndGet(Db *db)
{
    const char *path = PATH("state");
    EXPECT_NUMBER(run("set", path, "Note", "id=a", "text=first", "count=3", NULL), 0);
    EXPECT(prints("first"));
    DbItem *item = dbGet(db, "Note", DB_PROPS("id", "a"), NULL);
    EXPECT_NUMBER(dbFieldNumber(item, "count", 0), 3);
    EXPECT_TEXT(dbField(item, "deviceId"), "d1");
    dbFreeItem(item);
    EXPECT_NUMBER(run("set", path, "Note", "{id: 'b', text: 'second', count: 12345678901234567, at: {deep: [1, 'x']}}", NULL), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "c", "text", "of the firmware", "count", "-1")), 0);
    claim("set creates items that the firmware reads");

    EXPECT_NUMBER(run("get", path, "Note", "id=b", "--json", NULL), 0);
    EXPECT(prints("\"count\":12345678901234567") && lines(output) == 1);
    EXPECT_NUMBER(run("get", path, "Note", "id=b", "--fields", "count", NULL), 0);
    EXPECT_TEXT(output, "12345678901234567\n");
    EXPECT_NUMBER(run("get", path, "Note", "id=b", "-f", "at.deep.1", NULL), 0);
    EXPECT_TEXT(output, "x\n");
    EXPECT_NUMBER(run("get", path, "Note", "id=b", "-f", "at.deep.2", NULL), 1);
    EXPECT_NUMBER(run("get", path, "Note", "{id: 'b'}", "-j", "-f", "text,at.deep,none", NULL), 0);
    EXPECT_TEXT(output, "{\"text\":\"second\",\"at.deep\":[1,\"x\"]}\n");
    EXPECT_NUMBER(run("get", path, "Note", "id=none", NULL), 1);
    EXPECT(complains("no such item"));
    EXPECT_NUMBER(run("get", path, "Note", "count=3", NULL), 1);
    EXPECT(complains("model \"Note\": attribute 'sk' needs property 'id'"));
    const char *without[] = {program, NULL, path, "Note", "id=b", "--schema", testData("schema.json5"), NULL};
    for (without[1] = "get"; without[1] != NULL; without[1] = strcmp(without[1], "get") == 0 ? "set" : NULL) {
        unlink(scratch("errors.txt"));
        free(output);
        free(errors);
        EXPECT_NUMBER(childRun(without, scratch("errors.txt"), &output), 1);
        errors = readFile(scratch("errors.txt"));
        EXPECT(complains("deviceId") && complains("--context NAME=VALUE"));
    }
    EXPECT_NUMBER(run("get", path, "Note", "id", NULL), 2);
    EXPECT_NUMBER(run("get", path, "Note", "{id: ", NULL), 1);
    EXPECT_NUMBER(run("get", path, "Nothing", "id=a", NULL), 1);
    claim("get prints an item or one field, exactly as stored");
}

static void listAndFind(Db *db)
{
    const char *path = PATH("state");
    EXPECT_NUMBER(run("list", path, "Note", NULL), 0);
    EXPECT(prints("of the firmware") && lines(output) == 4);
    EXPECT_NUMBER(run("list", path, "Note", "--json", "--reverse", "-f", "id", NULL), 0);
    EXPECT_TEXT(output, "{\"id\":\"c\"}\n{\"id\":\"b\"}\n{\"id\":\"a\"}\n");
    EXPECT_NUMBER(run("list", path, "Note", "--json", "--limit", "2", "-f", "id", NULL), 0);
    EXPECT(complains("--next '[\"device#d1\",\"note#b\"]'"));
    EXPECT_NUMBER(run("list", path, "Note", "-j", "--next", "[\"device#d1\",\"note#b\"]", "-f", "id", NULL), 0);
    EXPECT_TEXT(output, "{\"id\":\"c\"}\n");
    EXPECT_NUMBER(run("list", path, "Note", "--next", "nonsense", NULL), 1);
    EXPECT_NUMBER(run("list", path, "Note", "-f", "id,text", NULL), 0);
    EXPECT_TEXT(output, "id  text\na   first\nb   second\nc   of the firmware\n");
    EXPECT_NUMBER(run("list", path, "--json", NULL), 0);
    EXPECT(prints("{\"model\":\"Note\",\"item\":{\"id\":\"a\","));
    claim("list prints pages in key order");

    EXPECT_NUMBER(run("find", path, "Note", "count=3", "-j", "-f", "id", NULL), 0);
    EXPECT_TEXT(output, "{\"id\":\"a\"}\n");
    EXPECT_NUMBER(run("find", path, "Note", "{count: {'>': 0}}", "-j", "-f", "id", NULL), 0);
    EXPECT_TEXT(output, "{\"id\":\"a\"}\n{\"id\":\"b\"}\n");
    EXPECT_NUMBER(run("find", path, "Note", "text=none", NULL), 1);
    EXPECT_NUMBER(run("find", path, "Note", "--filter", "${count} > {0} and begins_with(${text}, {sec})", "-j", "-f", "id", NULL),
                  0);
    EXPECT_TEXT(output, "{\"id\":\"b\"}\n");
    EXPECT_NUMBER(run("find", path, "Note", "id=a", "-w", "${at.deep.1} = {x}", NULL), 1);
    EXPECT_NUMBER(run("list", path, "Note", "--filter", "${at.deep.1} = {x}", "-j", "-f", "id", NULL), 0);
    EXPECT_TEXT(output, "{\"id\":\"b\"}\n");
    EXPECT_NUMBER(run("find", path, "Note", "-w", "${count} >", NULL), 1);
    EXPECT(complains("position 11"));
    EXPECT_NUMBER(run("remove", path, "Note", "{}", "--many", "-w", "${count} = {99}", NULL), 1);
    EXPECT_NUMBER(count(db, "Note", NULL), 3);
    EXPECT_NUMBER(run("find", path, "Note", "--index", "gs7", NULL), 1);
    EXPECT(complains("gs7"));
    claim("find filters, and says by its exit code when nothing matches");
}

static void updateAndRemove(Db *db)
{
    const char *path = PATH("state");
    EXPECT_NUMBER(run("update", path, "Note", "{id: 'a', text: null, count: 4}", "-j", NULL), 0);
    EXPECT(prints("\"count\":4") && strstr(output, "first") == NULL);
    EXPECT_NUMBER(run("update", path, "Note", "id=none", "count=4", NULL), 1);
    EXPECT_NUMBER(run("update", path, "Note", "id=a", "count=many", NULL), 1);
    EXPECT(complains("count"));
    EXPECT_NUMBER(run("set", path, "Report", "id=a", NULL), 1);
    claim("update changes what exists, under the schema's rules");

    EXPECT_CODE(create(db, "Local", DB_PROPS("id", "esc", "text", "\x1b[31mred\xc2\x9b")), 0);
    EXPECT_NUMBER(run("list", path, "Local", NULL), 0);
    EXPECT(prints("\\x1b[31mred\\x9b") && strchr(output, '\x1b') == NULL);
    claim("an item does not steer the terminal");

    EXPECT_NUMBER(run("remove", path, "Note", "{count: {'>': 0}}", NULL), 1);
    EXPECT_NUMBER(count(db, "Note", NULL), 3);
    EXPECT_NUMBER(run("remove", path, "Note", "{count: {'>': 0}}", "--many", NULL), 0);
    EXPECT(prints("2 removed"));
    EXPECT_NUMBER(run("remove", path, "Note", "id=a", NULL), 1);
    EXPECT_NUMBER(run("remove", path, "Note", "id=c", "--json", NULL), 0);
    EXPECT_TEXT(output, "{\"removed\":1}\n");
    EXPECT_NUMBER(count(db, "Note", NULL), 0);
    claim("remove removes one, or many when it is told to");
}

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
    EXPECT_NUMBER(run("import", path, scratch("in.jsonl"), NULL), 0);
    EXPECT(prints(format("%d items imported, 0 failed", IMPORTED)));
    EXPECT_NUMBER(count(db, "Note", NULL), IMPORTED / 2);
    DbItem *item = dbGet(db, "Note", DB_PROPS("id", "i0002"), NULL);
    EXPECT_TEXT(dbField(item, "text"), "\"}\xc3\xa9 {");
    dbFreeItem(item);
    claim("import reads JSON lines into a database that is open");

    EXPECT_NUMBER(run("export", path, "--output", scratch("out.jsonl"), NULL), 0);
    EXPECT(prints(format("%d items exported", IMPORTED + 1)));
    EXPECT(access(scratch("out.jsonl.part"), F_OK) != 0);
    EXPECT_NUMBER(run("import", scratch("copy.db"), scratch("out.jsonl"), "--create", "--json", NULL), 0);
    EXPECT_TEXT(output, format("{\"imported\":%d,\"failed\":0}\n", IMPORTED + 1));
    EXPECT_NUMBER(run("export", scratch("copy.db"), "Local", NULL), 0);
    EXPECT_NUMBER(lines(output), IMPORTED / 2 + 1);
    EXPECT_NUMBER(run("export", path, "--output", scratch("no/such/folder"), NULL), 1);
    EXPECT_NUMBER(run("export", path, "Nothing", NULL), 1);
    claim("what export writes, import reads");

    writeFile(scratch("bad.jsonl"), "{\"model\":\"Note\",\"item\":{\"id\":\"x1\"}}\n\n"
                                    "{\"model\":\"Note\",\"item\":{\"id\":\"x2\",\"count\":\"many\"}}\n"
                                    "{\"model\":\"Nothing\",\"item\":{}}\n{\"item\":{},\"model\":7}\n{\"model\":\"Note\"\n"
                                    "[1\n{\"\\\n{\"model\":\"Note\",\"item\":{}} x\n"
                                    "{\"item\" : {\"id\" : \"x3\"} , \"model\" : \"Note\"} \r\n");
    EXPECT_NUMBER(run("import", path, scratch("bad.jsonl"), NULL), 1);
    EXPECT(complains("bad.jsonl:3: ") && prints("0 items imported, 1 failed"));
    EXPECT(!exists(db, "Note", DB_PROPS("id", "x1")));
    claim("a line that fails takes its transaction back and is named");
    EXPECT_NUMBER(run("import", path, scratch("bad.jsonl"), "--keep-going", NULL), 1);
    EXPECT(prints("2 items imported, 7 failed") && complains("bad.jsonl:9: "));
    EXPECT(exists(db, "Note", DB_PROPS("id", "x1")) && exists(db, "Note", DB_PROPS("id", "x3")));
    claim("with --keep-going the good lines are stored");

    writeFile(scratch("bare.jsonl"), "{id: 'y1', count: 1}\n{\"id\":\"y2\"}");
    EXPECT_NUMBER(run("import", path, scratch("bare.jsonl"), "Note", "-q", NULL), 0);
    EXPECT_TEXT(output, "");
    EXPECT(exists(db, "Note", DB_PROPS("id", "y2")));
    char *longest = repeat('[', 3 * 1024 * 1024);
    writeFile(scratch("long.jsonl"), longest);
    free(longest);
    EXPECT_NUMBER(run("import", path, scratch("long.jsonl"), NULL), 1);
    EXPECT(complains("long.jsonl:1: the line is longer"));
    EXPECT_NUMBER(run("import", path, scratch("none.jsonl"), NULL), 1);
    EXPECT_NUMBER(run("import", path, scratchFolder(), NULL), 1);
    claim("import reads bare items of a model, and refuses what is no text");
}

static atomic_bool isStopping;
static atomic_int written;

static void *writeOn(void *argument)
{
    while (!atomic_load(&isStopping)) {
        if (create(argument, "Note", DB_PROPS("text", "meanwhile")) == 0) atomic_fetch_add(&written, 1);
    }
    return NULL;
}

static void besideWriter(Db *db)
{
    const char *path = PATH("state");
    pthread_t thread;
    int64_t before = count(db, "Note", DB_PROPS("text", "meanwhile"));
    EXPECT_NUMBER(pthread_create(&thread, NULL, writeOn, db), 0);
    EXPECT_NUMBER(run("import", path, scratch("out.jsonl"), NULL), 0);
    EXPECT_NUMBER(run("list", path, "Note", "--limit", "10", NULL), 0);
    EXPECT_NUMBER(run("set", path, "Note", "id=beside", NULL), 0);
    EXPECT_NUMBER(run("remove", path, "Note", "id=beside", NULL), 0);
    EXPECT_NUMBER(run("vacuum", path, NULL), 0);
    EXPECT_NUMBER(run("check", path, NULL), 0);
    atomic_store(&isStopping, true);
    pthread_join(thread, NULL);
    EXPECT(atomic_load(&written) > 0);
    EXPECT_NUMBER(count(db, "Note", DB_PROPS("text", "meanwhile")) - before, atomic_load(&written));
    claim("every command works while the firmware writes, and loses nothing of it");
}

static void whole(Db *db)
{
    const char *path = PATH("state");
    EXPECT_NUMBER(run("models", path, NULL), 0);
    EXPECT(prints("Setting  both    down\n") && prints("Secret   device  none\n") && prints("Report   cloud   none\n"));
    EXPECT_NUMBER(run("models", path, "--json", "--all", NULL), 0);
    EXPECT(prints(format("{\"model\":\"Local\",\"enable\":\"both\",\"sync\":\"none\",\"items\":%lld}\n",
                         (long long) count(db, "Local", NULL))));
    EXPECT_NUMBER(dbModelCount(db), 10);
    EXPECT_TEXT(dbModelName(dbModelAt(db, 0)), "Reading");
    EXPECT(dbModelAt(db, 10) == NULL && dbModelAt(db, SIZE_MAX) == NULL);
    claim("models tells what the schema has");

    dbRemove(db, "Note", NULL, DB_PARAMS(.many = true));
    EXPECT_NUMBER(run("vacuum", path, "--json", NULL), 0);
    EXPECT(strcmp(output, "{\"bytes\":0}\n") != 0);
    EXPECT_NUMBER(run("vacuum", path, "--json", NULL), 0);
    EXPECT_TEXT(output, "{\"bytes\":0}\n");
    EXPECT_CODE(dbBegin(db), 0);
    EXPECT_NUMBER(dbVacuum(db), DB_ERR_MISUSE);
    EXPECT_CODE(dbRollback(db), 0);
    Db *reader = dbOpen(path, testData("schema.json5"), DB_READ_ONLY);
    EXPECT_NUMBER(dbVacuum(reader), DB_ERR_READ_ONLY);
    EXPECT_CODE(dbCheck(reader, NULL, NULL), 0);
    dbClose(reader);
    claim("vacuum gives the space of removed items back");
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
    EXPECT_NUMBER(run("outbox", path, "--json", NULL), 0);
    EXPECT_NUMBER(lines(output), 2);
    EXPECT(strncmp(output, "{\"model\":\"Note\",\"cmd\":\"put\",", 28) == 0 && prints("waits on"));
    EXPECT(prints("{\"model\":\"Reading\",\"cmd\":\"remove\",") && prints("\"id\":\"p2\""));
    EXPECT_NUMBER(run("outbox", path, "--limit", "1", NULL), 0);
    EXPECT_NUMBER(lines(output), 2);
    EXPECT_NUMBER(run("outbox", path, "--rejected", "-j", NULL), 0);
    EXPECT_TEXT(output, "");
    int calls = 0;
    EXPECT_CODE(dbEachPending(db, stopAtTwo, &calls), 2);
    EXPECT_CODE(dbEachPending(db, NULL, NULL), DB_ERR_MISUSE);
    EXPECT_CODE(dbEachRejected(NULL, stopAtTwo, NULL), DB_ERR_MISUSE);
    claim("outbox prints what waits for the cloud");

    for (int index = 0; index < 250; index++) EXPECT_CODE(create(db, "Note", DB_PROPS("text", "more")), 0);
    EXPECT_NUMBER(run("outbox", path, "--json", NULL), 0);
    EXPECT_NUMBER(lines(output), 252);
    EXPECT_NUMBER(run("stats", path, "--all", "--json", NULL), 0);
    EXPECT(prints("\"pendingItems\":252,") && prints("\"rejectedItems\":0,") && prints("\"Local\":1"));
    EXPECT_NUMBER(run("stats", path, NULL), 0);
    EXPECT(prints("pendingItems"));
    claim("a long outbox is listed whole, and stats counts it");

    damage(path, "INSERT INTO rejected SELECT position, model, hash, sort, time, writer, 0, json, -202, 'too \"hot\"', "
                 "1700000000000 FROM item WHERE position IN (SELECT min(position) FROM outbox)");
    EXPECT_NUMBER(run("outbox", path, "--rejected", "--json", NULL), 0);
    EXPECT(prints("\"refused\":\"2023-11-14T22:13:20.000Z\",\"code\":-202,\"reason\":\"too \\\"hot\\\"\",\"item\":{"));
    EXPECT_NUMBER(run("outbox", path, "-R", NULL), 0);
    EXPECT(prints("too \"hot\"") && lines(output) == 2);
    claim("outbox --rejected prints what the cloud refused, and why");
    dbClose(db);
}

static void countReport(void *context, const char *problem)
{
    if (problem[0] != '\0') (*(int *) context)++;
}

static void hidden(void)
{
    const char *path = PATH("hidden"), *schema = PATH("hidden.schema");
    writeFile(schema, "{format: 'onetable:1.1.0', version: '1', indexes: {primary: {hash: 'pk', sort: 'sk'}}, models: {User: {"
                      "pk: {type: 'string', value: 'user#'}, sk: {type: 'string', value: 'user#${id}'},"
                      "id: {type: 'string', required: true}, pin: {type: 'string', hidden: true}}}}");
    EXPECT_NUMBER(run("set", path, "-C", "-s", schema, "User", "id=u", "pin=1234", NULL), 0);
    EXPECT(strstr(output, "1234") == NULL);
    EXPECT_NUMBER(run("list", path, "-s", schema, "User", "--json", NULL), 0);
    EXPECT(strstr(output, "1234") == NULL);
    EXPECT_NUMBER(run("list", path, "-s", schema, "User", "--json", "--hidden", NULL), 0);
    EXPECT(prints("1234"));
    EXPECT_NUMBER(run("export", path, "-s", schema, "-o", scratch("hidden.jsonl"), NULL), 0);
    EXPECT_NUMBER(run("import", scratch("unhidden.db"), "-C", "-s", schema, scratch("hidden.jsonl"), NULL), 0);
    EXPECT_NUMBER(run("get", scratch("unhidden.db"), "-s", schema, "User", "id=u", "-f", "pin", NULL), 0);
    EXPECT_TEXT(output, "1234\n");
    claim("what the schema hides is shown on demand, and is part of an export");
}

/** By an index of the schema, in its order. */
static void indexed(void)
{
    const char *path = PATH("indexed");
    char schema[512];
    snprintf(schema, sizeof schema, "%s", testData("indexes.json5"));
    static const char *const times[] = {"2026-11-03", "2026-11-01", "2026-11-02"};
    for (int index = 0; index < 3; index++) {
        EXPECT_NUMBER(run("set", path, "-C", "-s", schema, "Fault", format("id=%c", 'a' + index), "severity=high",
                          format("at=%s", times[index]), NULL), 0);
    }
    EXPECT_NUMBER(run("find", path, "-s", schema, "Fault", "severity=high", "-i", "gs1", "-j", "-f", "id", NULL), 0);
    EXPECT_TEXT(output, "{\"id\":\"b\"}\n{\"id\":\"c\"}\n{\"id\":\"a\"}\n");
    EXPECT_NUMBER(run("remove", path, "-s", schema, "Fault", "severity=high", "-m", "-i", "gs1", "-w", "${at} > {2026-11-01}",
                      NULL), 0);
    EXPECT(prints("2 removed"));
    claim("find and remove search in an index");
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
        const char *output = strcmp(command, "export") == 0 ? "--output" : "--context=accountId=a1";
        execl(program, program, command, path, output, scratch("out.jsonl"), "--schema", testData("schema.json5"), "--context",
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
    EXPECT_NUMBER(run("import", path, scratch("out.jsonl"), NULL), 0);
    EXPECT_TEXT(errors, "");
    seen = runOnTerminal("export", path, NULL);
    EXPECT(strstr(seen, "\r[") != NULL && strstr(seen, "%  ") != NULL);
    EXPECT(strcmp(seen + strlen(seen) - 4, "\r\x1b[K") == 0);
    EXPECT_TEXT(runOnTerminal("export", path, "--quiet"), "");
    EXPECT_NUMBER(run("export", path, "--output", scratch("out.jsonl"), NULL), 0);
    EXPECT_TEXT(errors, "");
    claim("import and export show a bar on a terminal, take it away at the end, and nowhere else");
}

static void damaged(void)
{
    const char *path = PATH("damaged");
    Db *db = openScratch("damaged.db", 0);
    for (int index = 0; index < 4; index++) EXPECT_CODE(create(db, "Note", DB_PROPS("id", format("d%d", index))), 0);
    EXPECT_NUMBER(run("check", path, NULL), 0);
    EXPECT(prints("sound"));
    damage(path, "UPDATE item SET json = '{\"id\":}' WHERE sort = 'note#d0'");
    damage(path, "UPDATE item SET json = replace(json, '\"d1\"', '\"d2\"') WHERE sort = 'note#d1' AND json LIKE '%\"id\":%'");
    damage(path, "DELETE FROM item WHERE sort = 'note#d3'");
    damage(path, "INSERT INTO item(hash, sort, model, time, json) VALUES('h', 's', 9999, 0, 'of no model')");
    EXPECT_NUMBER(run("check", path, NULL), 1);
    EXPECT(prints("'note#d0'") && prints("'note#d1'") && prints("outbox: the change of 'device#d1' 'note#d3'"));
    EXPECT(complains("problems"));
    int calls = 0;
    int problems = dbCheck(db, countReport, &calls);
    EXPECT(problems >= 3 && problems == calls);
    EXPECT_CODE(dbCheck(db, NULL, NULL), problems);
    EXPECT_NUMBER(run("check", path, "--json", NULL), 1);
    EXPECT(prints(format("{\"problems\":%d}\n", problems)));
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
    EXPECT_NUMBER(run("check", path, NULL), 1);
    claim("check tells a damaged file from a sound one");
}

int main(void)
{
    scenarioBegin();
    program = getenv("IOTODB");
    if (program == NULL) scenarioSkip("IOTODB does not name the program");
    helpAndUsage();
    Db *db = openScratch("state.db", 0);
    REQUIRE(db != NULL);
    setAndGet(db);
    listAndFind(db);
    updateAndRemove(db);
    transfer(db);
    progress();
    besideWriter(db);
    whole(db);
    dbClose(db);
    EXPECT_NUMBER(run("list", scratch("state.db"), "Local", "--limit", "1", "-j", NULL), 0);
    EXPECT_NUMBER(lines(output), 1);
    claim("a database that nobody has open is read too");
    outbox();
    hidden();
    indexed();
    damaged();
    free(output);
    free(errors);
    return scenarioEnd();
}
