/*
 * An engineer at a device's console: iotodb, the installed program, through every command, while the firmware (this process)
 * has the database open and writes; and with command lines that are wrong.
 */
#include "support/tool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const commands[] = {"models", "list",  "get",    "find",  "set",     "update", "remove",  "export", "import",
                                       "stats",  "outbox", "retry", "discard", "digest", "explain", "check", "vacuum"};
#define COMMANDS (sizeof commands / sizeof commands[0])

/** The man page that was installed with the program. */
static const char *manual(void)
{
    static char page[65536];
    char path[1024];
    const char *program = toolProgram(), *name = strrchr(program, '/');
    snprintf(path, sizeof path, "%.*s/../share/man/man1/iotodb.1", (int) (name - program), program);
    FILE *file = fopen(path, "r");
    REQUIRE(file != NULL);
    page[fread(page, 1, sizeof page - 1, file)] = '\0';
    fclose(file);
    return page;
}

/** Whether the manual has each of the options that the last run printed help about, `  -x, --name`. */
static bool hasOptions(const char *page)
{
    int found = 0, missing = 0;
    for (const char *line = toolOutput; (line = strstr(line, "\n  -")) != NULL; line += 5) {
        // As the page writes it: -C, \fB\-\-create\fR.
        char written[64] = "";
        const char *name = strstr(line, "--");
        if (name == NULL) break;
        for (size_t size = 0; *name > ' ' && size < sizeof written - 2; name++) {
            if (*name == '-') written[size++] = '\\';
            written[size++] = *name;
        }
        found++;
        if (strstr(page, format("\\-%c\\fR, \\fB%s\\fR", line[4], written)) != NULL) continue;
        note("the manual lacks %s", written);
        missing++;
    }
    return found > 5 && missing == 0;
}

static void helpAndManual(void)
{
    EXPECT_NUMBER(toolBare("--help", NULL), 0);
    int listed = 0;
    for (const char *line = strstr(toolOutput, "Commands:"); (line = strchr(line, '\n')) != NULL && line[1] == ' '; line++) listed++;
    EXPECT_NUMBER(listed, COMMANDS);
    for (size_t index = 0; index < COMMANDS; index++) EXPECT(toolPrinted(format("\n  %s ", commands[index])));
    const char *page = manual();
    for (size_t index = 0; index < COMMANDS; index++) {
        EXPECT_NUMBER(toolBare(commands[index], "--help", NULL), 0);
        EXPECT(toolPrinted(format("Usage: iotodb %s ", commands[index])));
        EXPECT(strstr(page, format("\n\\fB%s\\fR ", commands[index])) != NULL);
        EXPECT(hasOptions(page));
    }
    EXPECT_NUMBER(toolBare("--version", NULL), 0);
    EXPECT(toolPrinted(format("iotodb %s (libioto %s)", IOTO_VERSION, ioVersion())));
    claim("--help, also of each command, and --version answer, and the man page has every command and option");
}

static void wrongLines(void)
{
    EXPECT_NUMBER(toolBare(NULL), 2);
    EXPECT_NUMBER(toolBare("frobnicate", "state.db", NULL), 2);
    EXPECT(toolComplained("unknown command 'frobnicate'"));
    EXPECT_NUMBER(toolBare("list", NULL), 2);
    EXPECT_NUMBER(toolBare("list", "--frobnicate", "state.db", NULL), 2);
    EXPECT_NUMBER(toolBare("list", "--many", "state.db", NULL), 2);
    EXPECT(toolComplained("no option -m"));
    EXPECT_NUMBER(toolBare("list", "--limit=-1", "state.db", NULL), 2);
    EXPECT_NUMBER(toolBare("list", "--limit=99999999999999999999", "state.db", NULL), 2);
    EXPECT_NUMBER(toolBare("list", "--context=deviceId", "state.db", NULL), 2);
    EXPECT_NUMBER(toolBare("list", "--fields=a,,b", "state.db", NULL), 2);
    EXPECT(toolComplained("'a,,b'"));
    EXPECT_NUMBER(toolBare("remove", "state.db", "Note", NULL), 2);
    EXPECT_NUMBER(toolBare("check", "state.db", "more", NULL), 2);
    claim("a command line that is wrong gives exit code 2");

    EXPECT_NUMBER(tool("list", scratch("none.db"), NULL), 1);
    EXPECT_NUMBER(tool("set", scratch("none.db"), "Note", "id=a", NULL), 1);
    EXPECT(access(scratch("none.db"), F_OK) != 0);
    EXPECT_NUMBER(toolBare("list", scratch("none.db"), NULL), 1);
    writeFile(scratch("text.db"), "this is no database, but long enough to be taken for one by its size alone ..........."
                                  "...........................................................................");
    EXPECT_NUMBER(tool("list", scratch("text.db"), NULL), 1);
    EXPECT_NUMBER(toolBare("list", scratch("text.db"), NULL), 1);
    EXPECT(toolComplained("--schema"));
    claim("a database that is none fails, and none is made");
}

static void setAndGet(Db *db)
{
    const char *path = PATH("state");
    EXPECT_NUMBER(tool("set", path, "Note", "id=a", "text=first", "count=3", NULL), 0);
    EXPECT(toolPrinted("first"));
    DbItem *item = dbGet(db, "Note", DB_PROPS("id", "a"), NULL);
    EXPECT_NUMBER(dbFieldNumber(item, "count", 0), 3);
    EXPECT_TEXT(dbField(item, "deviceId"), "d1");
    dbFreeItem(item);
    EXPECT_NUMBER(tool("set", path, "Note", "{id: 'b', text: 'second', count: 12345678901234567, at: {deep: [1, 'x']}}", NULL), 0);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "c", "text", "of the firmware", "count", "-1")), 0);
    claim("set creates items that the firmware reads");

    EXPECT_NUMBER(tool("get", path, "Note", "id=b", "--json", NULL), 0);
    EXPECT(toolPrinted("\"count\":12345678901234567") && toolLines() == 1);
    EXPECT_NUMBER(tool("get", path, "Note", "id=b", "--fields", "count", NULL), 0);
    EXPECT_TEXT(toolOutput, "12345678901234567\n");
    EXPECT_NUMBER(tool("get", path, "Note", "id=b", "-f", "at.deep.1", NULL), 0);
    EXPECT_TEXT(toolOutput, "x\n");
    EXPECT_NUMBER(tool("get", path, "Note", "id=b", "-f", "at.deep.2", NULL), 1);
    EXPECT_NUMBER(tool("get", path, "Note", "{id: 'b'}", "-j", "-f", "text,at.deep,none", NULL), 0);
    EXPECT_TEXT(toolOutput, "{\"text\":\"second\",\"at.deep\":[1,\"x\"]}\n");
    EXPECT_NUMBER(tool("get", path, "Note", "id=none", NULL), 1);
    EXPECT(toolComplained("no such item"));
    EXPECT_NUMBER(tool("get", path, "Note", "count=3", NULL), 1);
    EXPECT(toolComplained("model \"Note\": attribute 'sk' needs property 'id'"));
    for (int write = 0; write < 2; write++) {
        EXPECT_NUMBER(toolBare(write == 0 ? "get" : "set", path, "Note", "id=b", "--schema", testData("schema.json5"), NULL), 1);
        EXPECT(toolComplained("deviceId") && toolComplained("--context NAME=VALUE"));
    }
    EXPECT_NUMBER(tool("get", path, "Note", "id", NULL), 2);
    EXPECT_NUMBER(tool("get", path, "Note", "{id: ", NULL), 1);
    EXPECT_NUMBER(tool("get", path, "Nothing", "id=a", NULL), 1);
    claim("get prints an item or one field, exactly as stored");
}

static void listAndFind(Db *db)
{
    const char *path = PATH("state");
    EXPECT_NUMBER(tool("list", path, "Note", NULL), 0);
    EXPECT(toolPrinted("of the firmware") && toolLines() == 4);
    EXPECT_NUMBER(tool("list", path, "Note", "--json", "--reverse", "-f", "id", NULL), 0);
    EXPECT_TEXT(toolOutput, "{\"id\":\"c\"}\n{\"id\":\"b\"}\n{\"id\":\"a\"}\n");
    EXPECT_NUMBER(tool("list", path, "Note", "--json", "--limit", "2", "-f", "id", NULL), 0);
    EXPECT(toolComplained("--next '[\"device#d1\",\"note#b\"]'"));
    EXPECT_NUMBER(tool("list", path, "Note", "-j", "--next", "[\"device#d1\",\"note#b\"]", "-f", "id", NULL), 0);
    EXPECT_TEXT(toolOutput, "{\"id\":\"c\"}\n");
    EXPECT_NUMBER(tool("list", path, "Note", "--next", "nonsense", NULL), 1);
    EXPECT_NUMBER(tool("list", path, "Note", "-f", "id,text", NULL), 0);
    EXPECT_TEXT(toolOutput, "id  text\na   first\nb   second\nc   of the firmware\n");
    EXPECT_NUMBER(tool("list", path, "--json", NULL), 0);
    EXPECT(toolPrinted("{\"model\":\"Note\",\"item\":{\"id\":\"a\","));
    claim("list prints pages in key order");

    EXPECT_NUMBER(tool("find", path, "Note", "count=3", "-j", "-f", "id", NULL), 0);
    EXPECT_TEXT(toolOutput, "{\"id\":\"a\"}\n");
    EXPECT_NUMBER(tool("find", path, "Note", "{count: {'>': 0}}", "-j", "-f", "id", NULL), 0);
    EXPECT_TEXT(toolOutput, "{\"id\":\"a\"}\n{\"id\":\"b\"}\n");
    EXPECT_NUMBER(tool("find", path, "Note", "text=none", NULL), 1);
    EXPECT_NUMBER(tool("find", path, "Note", "--filter", "${count} > {0} and begins_with(${text}, {sec})", "-j", "-f", "id", NULL),
                  0);
    EXPECT_TEXT(toolOutput, "{\"id\":\"b\"}\n");
    EXPECT_NUMBER(tool("find", path, "Note", "id=a", "-w", "${at.deep.1} = {x}", NULL), 1);
    EXPECT_NUMBER(tool("list", path, "Note", "--filter", "${at.deep.1} = {x}", "-j", "-f", "id", NULL), 0);
    EXPECT_TEXT(toolOutput, "{\"id\":\"b\"}\n");
    EXPECT_NUMBER(tool("find", path, "Note", "-w", "${count} >", NULL), 1);
    EXPECT(toolComplained("position 11"));
    EXPECT_NUMBER(tool("remove", path, "Note", "{}", "--many", "-w", "${count} = {99}", NULL), 1);
    EXPECT_NUMBER(count(db, "Note", NULL), 3);
    EXPECT_NUMBER(tool("find", path, "Note", "--index", "gs7", NULL), 1);
    EXPECT(toolComplained("gs7"));
    claim("find filters, and says by its exit code when nothing matches");
}

static void updateAndRemove(Db *db)
{
    const char *path = PATH("state");
    EXPECT_NUMBER(tool("update", path, "Note", "{id: 'a', text: null, count: 4}", "-j", NULL), 0);
    EXPECT(toolPrinted("\"count\":4") && strstr(toolOutput, "first") == NULL);
    EXPECT_NUMBER(tool("update", path, "Note", "id=none", "count=4", NULL), 1);
    EXPECT_NUMBER(tool("update", path, "Note", "id=a", "count=many", NULL), 1);
    EXPECT(toolComplained("count"));
    EXPECT_NUMBER(tool("set", path, "Report", "id=a", NULL), 1);
    claim("update changes what exists, under the schema's rules");

    EXPECT_CODE(create(db, "Local", DB_PROPS("id", "esc", "text", "\x1b[31mred\xc2\x9b")), 0);
    EXPECT_NUMBER(tool("list", path, "Local", NULL), 0);
    EXPECT(toolPrinted("\\x1b[31mred\\x9b") && strchr(toolOutput, '\x1b') == NULL);
    claim("an item does not steer the terminal");

    EXPECT_NUMBER(tool("remove", path, "Note", "{count: {'>': 0}}", NULL), 1);
    EXPECT_NUMBER(count(db, "Note", NULL), 3);
    EXPECT_NUMBER(tool("remove", path, "Note", "{count: {'>': 0}}", "--many", NULL), 0);
    EXPECT(toolPrinted("2 removed"));
    EXPECT_NUMBER(tool("remove", path, "Note", "id=a", NULL), 1);
    EXPECT_NUMBER(tool("remove", path, "Note", "id=c", "--json", NULL), 0);
    EXPECT_TEXT(toolOutput, "{\"removed\":1}\n");
    EXPECT_NUMBER(count(db, "Note", NULL), 0);
    claim("remove removes one, or many when it is told to");
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

/** A command that works beside the firmware, with two arguments after the database, and its exit code. */
typedef struct Call {
    const char *command, *first, *second;
    int code;
} Call;

static void besideWriter(Db *db)
{
    char *lines = calloc(1, 32768), *end = lines;
    REQUIRE(lines != NULL);
    for (int index = 0; index < 400; index++) end += sprintf(end, "{\"model\":\"Note\",\"item\":{\"id\":\"i%d\"}}\n", index);
    writeFile(scratch("in.jsonl"), lines);
    free(lines);
    char in[256], out[256];
    snprintf(in, sizeof in, "%s", scratch("in.jsonl"));
    snprintf(out, sizeof out, "--output=%s", scratch("out.jsonl"));
    const Call calls[] = {
        {"import", in, NULL, 0}, {"models", "--all", NULL, 0}, {"list", "Note", "--limit=10", 0}, {"get", "Note", "id=i7", 0},
        {"find", "Note", "{id: {begins: 'i39'}}", 0}, {"set", "Note", "id=beside", 0}, {"update", "Note", "{id: 'beside', count: 1}", 0},
        {"explain", "Note", "id=beside", 0}, {"remove", "Note", "id=beside", 0}, {"export", out, NULL, 0}, {"stats", "--all", NULL, 0},
        {"outbox", "--limit=3", NULL, 0}, {"retry", "999", NULL, 1}, {"discard", "999", NULL, 1}, {"digest", "device/d1", NULL, 0},
        {"check", NULL, NULL, 0}, {"vacuum", NULL, NULL, 0},
    };
    const char *path = PATH("state");
    pthread_t thread;
    EXPECT_NUMBER(pthread_create(&thread, NULL, writeOn, db), 0);
    EXPECT_NUMBER(sizeof calls / sizeof calls[0], COMMANDS);
    for (size_t index = 0; index < sizeof calls / sizeof calls[0]; index++) {
        const Call *call = &calls[index];
        int before = atomic_load(&written);
        EXPECT_NUMBER(tool(call->command, path, call->first, call->second, NULL), call->code);
        EXPECT(toolOutput[0] != '\0' || toolErrors[0] != '\0');
        EXPECT_WITHIN(20000, atomic_load(&written) > before);
        if (call->code != 0) continue;
        // What is removed is not there a second time.
        EXPECT_NUMBER(tool(call->command, "--json", path, call->first, call->second, NULL), strcmp(call->command, "remove") == 0);
        EXPECT(toolOutput[0] == '{');
    }
    atomic_store(&isStopping, true);
    pthread_join(thread, NULL);
    EXPECT_NUMBER(count(db, "Note", DB_PROPS("text", "meanwhile")), atomic_load(&written));
    EXPECT_NUMBER(count(db, "Note", DB_JSON("{id: {begins: 'i'}}")), 400);
    claim("every command works while the firmware writes, and loses nothing of it");
}

static void whole(Db *db)
{
    const char *path = PATH("state");
    EXPECT_NUMBER(tool("models", path, NULL), 0);
    EXPECT(toolPrinted("Setting  both    down\n") && toolPrinted("Secret   device  none\n") && toolPrinted("Report   cloud   none\n"));
    EXPECT_NUMBER(tool("models", path, "--json", "--all", NULL), 0);
    EXPECT(toolPrinted(format("{\"model\":\"Local\",\"enable\":\"both\",\"sync\":\"none\",\"items\":%lld}\n",
                         (long long) count(db, "Local", NULL))));
    EXPECT_NUMBER(dbModelCount(db), 10);
    EXPECT_TEXT(dbModelName(dbModelAt(db, 0)), "Reading");
    EXPECT(dbModelAt(db, 10) == NULL && dbModelAt(db, SIZE_MAX) == NULL);
    claim("models tells what the schema has");

    static const char *const wrong[] = {"", "devices", "device/", "account", "All", "all/x"};
    for (size_t index = 0; index < sizeof wrong / sizeof wrong[0]; index++) EXPECT_NUMBER(tool("digest", path, wrong[index], NULL), 2);
    EXPECT(toolComplained("'all/x' is no stream"));
    EXPECT_NUMBER(tool("digest", path, "account/a1", NULL), 0);
    EXPECT_NUMBER(tool("digest", path, "all", NULL), 0);
    claim("digest takes the streams that there are");

    dbRemove(db, "Note", NULL, DB_PARAMS(.many = true));
    EXPECT_NUMBER(tool("vacuum", path, "--json", NULL), 0);
    EXPECT(strcmp(toolOutput, "{\"bytes\":0}\n") != 0);
    EXPECT_NUMBER(tool("vacuum", path, "--json", NULL), 0);
    EXPECT_TEXT(toolOutput, "{\"bytes\":0}\n");
    EXPECT_CODE(dbBegin(db), 0);
    EXPECT_NUMBER(dbVacuum(db), DB_ERR_MISUSE);
    EXPECT_CODE(dbRollback(db), 0);
    Db *reader = dbOpen(path, testData("schema.json5"), DB_READ_ONLY);
    EXPECT_NUMBER(dbVacuum(reader), DB_ERR_READ_ONLY);
    EXPECT_CODE(dbCheck(reader, NULL, NULL), 0);
    dbClose(reader);
    claim("vacuum gives the space of removed items back");
}

static void hidden(void)
{
    const char *path = PATH("hidden"), *schema = PATH("hidden.schema");
    writeFile(schema, "{format: 'onetable:1.1.0', version: '1', indexes: {primary: {hash: 'pk', sort: 'sk'}}, models: {User: {"
                      "pk: {type: 'string', value: 'user#'}, sk: {type: 'string', value: 'user#${id}'},"
                      "id: {type: 'string', required: true}, pin: {type: 'string', hidden: true}}}}");
    EXPECT_NUMBER(tool("set", path, "-C", "-s", schema, "User", "id=u", "pin=1234", NULL), 0);
    EXPECT(strstr(toolOutput, "1234") == NULL);
    EXPECT_NUMBER(tool("list", path, "-s", schema, "User", "--json", NULL), 0);
    EXPECT(strstr(toolOutput, "1234") == NULL);
    EXPECT_NUMBER(tool("list", path, "-s", schema, "User", "--json", "--hidden", NULL), 0);
    EXPECT(toolPrinted("1234"));
    EXPECT_NUMBER(tool("export", path, "-s", schema, "-o", scratch("hidden.jsonl"), NULL), 0);
    EXPECT_NUMBER(tool("import", scratch("unhidden.db"), "-C", "-s", schema, scratch("hidden.jsonl"), NULL), 0);
    EXPECT_NUMBER(tool("get", scratch("unhidden.db"), "-s", schema, "User", "id=u", "-f", "pin", NULL), 0);
    EXPECT_TEXT(toolOutput, "1234\n");
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
        EXPECT_NUMBER(tool("set", path, "-C", "-s", schema, "Fault", format("id=%c", 'a' + index), "severity=high",
                          format("at=%s", times[index]), NULL), 0);
    }
    EXPECT_NUMBER(tool("find", path, "-s", schema, "Fault", "severity=high", "-i", "gs1", "-j", "-f", "id", NULL), 0);
    EXPECT_TEXT(toolOutput, "{\"id\":\"b\"}\n{\"id\":\"c\"}\n{\"id\":\"a\"}\n");
    EXPECT_NUMBER(tool("remove", path, "-s", schema, "Fault", "severity=high", "-m", "-i", "gs1", "-w", "${at} > {2026-11-01}",
                      NULL), 0);
    EXPECT(toolPrinted("2 removed"));
    claim("find and remove search in an index");
}

int main(void)
{
    scenarioBegin();
    helpAndManual();
    wrongLines();
    Db *db = openScratch("state.db", 0);
    REQUIRE(db != NULL);
    setAndGet(db);
    listAndFind(db);
    updateAndRemove(db);
    besideWriter(db);
    whole(db);
    dbClose(db);
    EXPECT_NUMBER(tool("list", scratch("state.db"), "Local", "--limit", "1", "-j", NULL), 0);
    EXPECT_NUMBER(toolLines(), 1);
    claim("a database that nobody has open is read too");
    hidden();
    indexed();
    toolFree();
    return scenarioEnd();
}
