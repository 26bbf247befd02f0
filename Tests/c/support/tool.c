#include "tool.h"

#include <sqlite3.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#define OUTPUT_BYTES_MAX (1 << 20)

char *toolOutput, *toolErrors;

const char *toolProgram(void)
{
    const char *program = getenv("IOTODB");
    if (program == NULL) scenarioSkip("IOTODB does not name the program");
    return program;
}

void toolFree(void)
{
    free(toolOutput);
    free(toolErrors);
    toolOutput = toolErrors = NULL;
}

static char *readErrors(void)
{
    FILE *file = fopen(scratch("errors.txt"), "r");
    char *text = calloc(1, OUTPUT_BYTES_MAX);
    REQUIRE(text != NULL);
    if (file != NULL) {
        text[fread(text, 1, OUTPUT_BYTES_MAX - 1, file)] = '\0';
        fclose(file);
    }
    return text;
}

/** Run with the arguments that are there, and those of the list up to its NULL. */
static int run(const char *arguments[CHILD_ARGUMENTS_MAX], size_t count, va_list list)
{
    while (count < CHILD_ARGUMENTS_MAX - 1 && arguments[count - 1] != NULL) arguments[count++] = va_arg(list, const char *);
    arguments[count] = NULL;
    toolFree();
    unlink(scratch("errors.txt"));
    int code = childRun(arguments, scratch("errors.txt"), &toolOutput);
    toolErrors = readErrors();
    if (toolErrors[0] != '\0') note("iotodb %s: %.300s", arguments[1] != NULL ? arguments[1] : "", toolErrors);
    return code;
}

int tool(const char *command, ...)
{
    const char *arguments[CHILD_ARGUMENTS_MAX] = {toolProgram(), command, "--schema", testData("schema.json5"), "--context",
                                                  "deviceId=d1"};
    va_list list;
    va_start(list, command);
    int code = run(arguments, 6, list);
    va_end(list);
    return code;
}

int toolBare(const char *command, ...)
{
    const char *arguments[CHILD_ARGUMENTS_MAX] = {toolProgram(), command};
    va_list list;
    va_start(list, command);
    int code = run(arguments, 2, list);
    va_end(list);
    return code;
}

bool toolPrinted(const char *part)
{
    if (toolOutput != NULL && strstr(toolOutput, part) != NULL) return true;
    note("printed: %.600s", toolOutput != NULL ? toolOutput : "nothing");
    return false;
}

bool toolComplained(const char *part)
{
    if (strstr(toolErrors, part) != NULL) return true;
    note("complained: %.600s", toolErrors);
    return false;
}

int toolLines(void)
{
    int count = 0;
    for (const char *text = toolOutput; text != NULL && *text != '\0'; text++) count += *text == '\n';
    return count;
}

const char *keepPath(char buffer[256], const char *name)
{
    snprintf(buffer, 256, "%s/%s.db", scratchFolder(), name);
    return buffer;
}

void damage(const char *path, const char *sql)
{
    sqlite3 *raw = NULL;
    EXPECT_NUMBER(sqlite3_open(path, &raw), SQLITE_OK);
    sqlite3_busy_timeout(raw, 5000);
    EXPECT_NUMBER(sqlite3_exec(raw, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(raw);
}
