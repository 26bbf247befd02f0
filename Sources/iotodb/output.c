/*
 * What is printed: tables for people, one JSON object a line for programs.
 */
#include "iotodb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/** Widest column of a table on a terminal. */
#define CELL_WIDTH_MAX 40
#define PROGRESS_WIDTH 30
#define PROGRESS_EVERY_MS 100

bool isTerminal(void)
{
    return isatty(STDOUT_FILENO) == 1;
}

void putJson(FILE *file, Slice json)
{
    // In JSON a line break is white space: inside a string it is escaped.
    for (size_t index = 0; index < json.length; index++) {
        char byte = json.start[index];
        fputc(byte == '\n' || byte == '\r' ? ' ' : byte, file);
    }
}

void putJsonString(FILE *file, const char *text)
{
    fputc('"', file);
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char) *text;
        if (byte == '"' || byte == '\\') {
            fprintf(file, "\\%c", byte);
        } else if (byte < 0x20 || byte == 0x7F) {
            fprintf(file, "\\u%04x", byte);
        } else {
            fputc(byte, file);
        }
    }
    fputc('"', file);
}

const char *isoTime(int64_t time_ms)
{
    static char buffers[4][40];
    static size_t next;
    char *buffer = buffers[next++ % 4];
    time_t seconds = (time_t) (time_ms / 1000);
    struct tm parts;
    buffer[0] = '\0';
    if (time_ms <= 0 || gmtime_r(&seconds, &parts) == NULL) return buffer;
    size_t length = strftime(buffer, 30, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(buffer + length, 40 - length, ".%03dZ", (int) (time_ms % 1000));
    return buffer;
}

/* Tables */

void tableCell(Table *table, const char *text)
{
    if (table->count == table->capacity) {
        table->capacity = table->capacity > 0 ? 2 * table->capacity : 64;
        table->cells = allocate(table->cells, table->capacity * sizeof table->cells[0]);
    }
    table->cells[table->count] = strcpy(allocate(NULL, strlen(text) + 1), text);
    table->count++;
}

void tableNumber(Table *table, int64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long) number);
    table->numeric |= (uint64_t) 1 << (table->count % table->columns % 64);
    tableCell(table, text);
}

static void putSpaces(size_t count)
{
    while (count-- > 0) putchar(' ');
}

static void printCell(const Table *table, size_t index, size_t widest, bool isBounded)
{
    size_t column = index % table->columns;
    const char *text = table->cells[index];
    size_t width = layText(NULL, text, 0);
    bool isCut = isBounded && width > CELL_WIDTH_MAX;
    bool isRight = (table->numeric >> (column % 64) & 1) != 0;
    if (isCut) width = layText(NULL, text, CELL_WIDTH_MAX - 1) + 1;
    if (column > 0) putSpaces(2);
    if (isRight) putSpaces(widest - width);
    layText(stdout, text, isCut ? CELL_WIDTH_MAX - 1 : 0);
    if (isCut) fputs("…", stdout);
    if (column + 1 == table->columns) {
        putchar('\n');
    } else if (!isRight) {
        putSpaces(widest - width);
    }
}

void tablePrint(Table *table)
{
    bool isBounded = isTerminal();
    size_t *widest = allocate(NULL, table->columns * sizeof widest[0]);
    memset(widest, 0, table->columns * sizeof widest[0]);
    for (size_t index = 0; index < table->count; index++) {
        size_t width = layText(NULL, table->cells[index], 0);
        if (isBounded && width > CELL_WIDTH_MAX) width = CELL_WIDTH_MAX;
        if (width > widest[index % table->columns]) widest[index % table->columns] = width;
    }
    for (size_t index = 0; index < table->count; index++) {
        printCell(table, index, widest[index % table->columns], isBounded);
        free(table->cells[index]);
    }
    free(widest);
    free(table->cells);
    *table = (Table){.columns = table->columns};
}

/* Items */

/** The fields that are asked for, as a JSON object of those that the item has. */
static void putJsonFields(const Options *options, const char *json)
{
    bool isFirst = true;
    putchar('{');
    for (size_t index = 0; index < options->fieldCount; index++) {
        Slice value = jsonAt(json, options->fields[index]);
        if (value.length == 0) continue;
        if (!isFirst) putchar(',');
        isFirst = false;
        putJsonString(stdout, options->fields[index]);
        putchar(':');
        putJson(stdout, value);
    }
    putchar('}');
}

static void putJsonItem(const Session *session, const DbItem *item, bool hasModel)
{
    const char *json = dbItemJson(item);
    if (hasModel) {
        fputs("{\"model\":", stdout);
        putJsonString(stdout, dbItemModel(item));
        fputs(",\"item\":", stdout);
    }
    if (session->options.fieldCount > 0) {
        putJsonFields(&session->options, json);
    } else {
        putJson(stdout, (Slice){json, strlen(json)});
    }
    fputs(hasModel ? "}\n" : "\n", stdout);
}

/** A value as people read it: strings without quotes. */
static char *readable(Slice value)
{
    char *text = jsonDecode(value);
    if (text != NULL) return text;
    text = allocate(NULL, value.length + 1);
    memcpy(text, value.start, value.length);
    text[value.length] = '\0';
    return text;
}

static void fieldLine(Table *table, const char *name, Slice value)
{
    char *text = readable(value);
    tableCell(table, name);
    tableCell(table, text);
    free(text);
}

void putItem(Session *session, const DbItem *item)
{
    const Options *options = &session->options;
    if (options->isJson) {
        putJsonItem(session, item, false);
        return;
    }
    const char *json = dbItemJson(item);
    Table table = {.columns = 2};
    for (size_t index = 0; index < options->fieldCount; index++) {
        fieldLine(&table, options->fields[index], jsonAt(json, options->fields[index]));
    }
    Slice name, value;
    for (const char *cursor = json; options->fieldCount == 0 && jsonMember(&cursor, &name, &value);) {
        char *text = jsonDecode((Slice){name.start - 1, name.length + 2});
        fieldLine(&table, text != NULL ? text : "", value);
        free(text);
    }
    tablePrint(&table);
}

static bool hasColumn(char *const *columns, size_t count, Slice name)
{
    for (size_t index = 0; index < count; index++) {
        if (sliceIs(name, columns[index])) return true;
    }
    return false;
}

/** The columns of a page: the fields asked for, or every one that an item of it has. */
static size_t pageColumns(const Options *options, const DbList *list, char **columns)
{
    size_t count = 0, index;
    for (; count < options->fieldCount; count++) {
        columns[count] = strcpy(allocate(NULL, strlen(options->fields[count]) + 1), options->fields[count]);
    }
    if (count > 0) return count;
    const DbItem *item;
    for (DB_ITERATE(list, item, index)) {
        Slice name, value;
        for (const char *cursor = dbItemJson(item); jsonMember(&cursor, &name, &value);) {
            if (count == FIELDS_MAX || hasColumn(columns, count, name)) continue;
            columns[count] = allocate(NULL, name.length + 1);
            memcpy(columns[count], name.start, name.length);
            columns[count++][name.length] = '\0';
        }
    }
    return count;
}

static void printTable(ItemPrinter *printer, const DbList *list)
{
    Table table = {.columns = printer->columnCount};
    for (size_t column = 0; column < printer->columnCount; column++) tableCell(&table, printer->columns[column]);
    const DbItem *item;
    size_t index;
    for (DB_ITERATE(list, item, index)) {
        for (size_t column = 0; column < printer->columnCount; column++) {
            Slice value = jsonAt(dbItemJson(item), printer->columns[column]);
            char *text = readable(value);
            if (value.length > 0 && (value.start[0] == '-' || (value.start[0] >= '0' && value.start[0] <= '9'))) {
                table.numeric |= (uint64_t) 1 << (column % 64);
            }
            tableCell(&table, text);
            free(text);
        }
    }
    tablePrint(&table);
}

void printItems(ItemPrinter *printer, const DbList *list)
{
    const DbItem *item;
    size_t index;
    if (printer->session->options.isJson) {
        for (DB_ITERATE(list, item, index)) putJsonItem(printer->session, item, printer->isMixed);
        return;
    }
    if (dbListCount(list) == 0) return;
    endItems(printer);
    printer->columnCount = pageColumns(&printer->session->options, list, printer->columns);
    if (printer->columnCount > 0) printTable(printer, list);
}

void endItems(ItemPrinter *printer)
{
    while (printer->columnCount > 0) free(printer->columns[--printer->columnCount]);
}

int endOutput(int code)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0) return code;
    return complain("standard output: %s", strerror(errno));
}

/* Progress */

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void progressBegin(Progress *progress, Session *session, int64_t total)
{
    *progress = (Progress){.isShown = !session->options.isQuiet && isatty(STDERR_FILENO) == 1, .total = total};
}

void progressShow(Progress *progress, int64_t done, int64_t items)
{
    int64_t now = now_ms();
    if (!progress->isShown || now - progress->shown_ms < PROGRESS_EVERY_MS) return;
    progress->shown_ms = now;
    if (progress->total <= 0) {
        fprintf(stderr, "\r%lld items\033[K", (long long) items);
        return;
    }
    int64_t part = done < progress->total ? done * PROGRESS_WIDTH / progress->total : PROGRESS_WIDTH;
    fputs("\r[", stderr);
    for (int64_t index = 0; index < PROGRESS_WIDTH; index++) fputc(index < part ? '#' : '.', stderr);
    int percent = (int) (done < progress->total ? done * 100 / progress->total : 100);
    fprintf(stderr, "] %3d %%  %lld items\033[K", percent, (long long) items);
}

void progressEnd(Progress *progress)
{
    if (progress->isShown && progress->shown_ms > 0) fputs("\r\033[K", stderr);
}
