/*
 * import: JSON lines into the database, some hundred items a transaction. Lines are gathered before it begins, so that it never
 * waits for whoever writes them: the firmware's changes wait for it.
 */
#include "iotodb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/** Longest line: an item of the greatest size, whose every character is an escape. */
#define LINE_BYTES_MAX (2 * 1024 * 1024)
/** What is gathered for one transaction. */
#define BATCH_LINES 500
#define BATCH_BYTES (1024 * 1024)
/** Pause between two transactions, in milliseconds, in which the firmware gets at the database: it tries every 3. */
#define BATCH_PAUSE_MS 4

typedef struct Line {
    char *text;
    int64_t number;
} Line;

typedef struct Import {
    Session *session;
    FILE *file;
    /** Of the file, in messages. */
    const char *name;
    /** Of every line, or NULL. */
    const char *model;
    Line lines[BATCH_LINES];
    size_t count, bytes;
    /** Lines read. */
    int64_t number;
    int64_t imported, failed;
} Import;

typedef enum Reading { READING_LINE, READING_END, READING_FAILED } Reading;

static int lineFailed(Import *import, int64_t number, const char *message)
{
    import->failed++;
    return complain("%s:%lld: %s", import->name, (long long) number, message);
}

/** Read a line, without its end, as text that the caller frees. */
static Reading readLine(Import *import, char **out_text, size_t *out_length)
{
    size_t capacity = 256, length = 0;
    char *text = allocate(NULL, capacity);
    const char *fault = NULL;
    int byte;
    import->number++;
    while ((byte = getc(import->file)) != EOF && byte != '\n') {
        if (byte == '\0') fault = "the line holds a NUL";
        if (length + 1 >= LINE_BYTES_MAX) fault = "the line is longer than 2 MiB";
        if (fault != NULL) continue;
        if (length + 1 == capacity) text = allocate(text, capacity *= 2);
        text[length++] = (char) byte;
    }
    text[length] = '\0';
    *out_text = text;
    *out_length = length;
    if (ferror(import->file) != 0) fault = strerror(errno);
    if (fault == NULL) return byte == EOF && length == 0 ? READING_END : READING_LINE;
    lineFailed(import, import->number, fault);
    return READING_FAILED;
}

/** Gather the lines of a batch. Returns an exit code; no lines: the file is at its end. */
static int gather(Import *import)
{
    while (import->count < BATCH_LINES && import->bytes < BATCH_BYTES) {
        char *text;
        size_t length;
        Reading reading = readLine(import, &text, &length);
        if (reading == READING_LINE && text[strspn(text, " \t\r")] != '\0') {
            import->lines[import->count++] = (Line){text, import->number};
            import->bytes += length;
            continue;
        }
        free(text);
        if (reading == READING_END) break;
        bool isFatal = !import->session->options.isContinuing || ferror(import->file) != 0;
        if (reading == READING_FAILED && isFatal) return EXIT_FAILED;
    }
    return EXIT_DONE;
}

/** Take `{"model":NAME,"item":{...}}` apart; false when it is something else. */
static bool takeEnvelope(char *line, char **out_model, char **out_item)
{
    Slice name, value, item = {NULL, 0};
    const char *cursor = line;
    *out_model = NULL;
    while (jsonMember(&cursor, &name, &value)) {
        if (sliceIs(name, "item")) item = value;
        if (sliceIs(name, "model")) {
            free(*out_model);
            *out_model = jsonDecode(value);
        }
    }
    bool isWhole = *cursor == '}' && cursor[1 + strspn(cursor + 1, " \t\r")] == '\0';
    if (isWhole && *out_model != NULL && item.length > 0) {
        *out_item = line + (item.start - line);
        (*out_item)[item.length] = '\0';
        return true;
    }
    free(*out_model);
    return false;
}

static int importLine(Import *import, const Line *line)
{
    char *model = NULL, *item = line->text;
    if (import->model == NULL && !takeEnvelope(line->text, &model, &item)) {
        return lineFailed(import, line->number, "the line is not {\"model\":NAME,\"item\":{...}}");
    }
    const char *name = import->model != NULL ? import->model : model;
    int result = dbSet(import->session->db, name, DB_JSON(item), NULL);
    free(model);
    if (result < 0) return lineFailed(import, line->number, dbGetError(NULL));
    return EXIT_DONE;
}

static void dropLines(Import *import)
{
    while (import->count > 0) free(import->lines[--import->count].text);
    import->bytes = 0;
}

/** Store what is gathered, all or nothing. */
static int storeLines(Import *import)
{
    Db *db = import->session->db;
    int64_t imported = 0;
    if (dbBegin(db) != 0) return failed();
    for (size_t index = 0; index < import->count; index++) {
        if (importLine(import, &import->lines[index]) == EXIT_DONE) {
            imported++;
        } else if (!import->session->options.isContinuing) {
            dbRollback(db);
            return EXIT_FAILED;
        }
    }
    if (dbCommit(db) != 0) return failed();
    import->imported += imported;
    return EXIT_DONE;
}

static int64_t fileBytes(FILE *file)
{
    struct stat status;
    return fstat(fileno(file), &status) == 0 && S_ISREG(status.st_mode) ? (int64_t) status.st_size : 0;
}

static void yield(void)
{
    nanosleep(&(struct timespec){.tv_nsec = BATCH_PAUSE_MS * 1000000L}, NULL);
}

static int importFile(Import *import)
{
    Progress progress;
    int code = EXIT_DONE;
    progressBegin(&progress, import->session, fileBytes(import->file));
    while (code == EXIT_DONE) {
        code = gather(import);
        if (code != EXIT_DONE || import->count == 0) break;
        if (import->imported > 0) yield();
        code = storeLines(import);
        dropLines(import);
        progressShow(&progress, progress.total > 0 ? (int64_t) ftello(import->file) : 0, import->imported);
    }
    dropLines(import);
    progressEnd(&progress);
    return code;
}

int runImport(Session *session)
{
    const char *path = session->argumentCount > 0 ? session->arguments[0] : "-";
    bool isStandard = strcmp(path, "-") == 0;
    Import *import = allocate(NULL, sizeof *import);
    *import = (Import){.session = session, .file = isStandard ? stdin : fopen(path, "r")};
    import->name = isStandard ? "standard input" : path;
    import->model = session->argumentCount > 1 ? session->arguments[1] : NULL;
    int code = EXIT_FAILED;
    if (import->file == NULL) {
        complain("%s: %s", path, strerror(errno));
    } else {
        code = importFile(import);
        if (!isStandard) fclose(import->file);
        if (session->options.isJson) {
            printf("{\"imported\":%lld,\"failed\":%lld}\n", (long long) import->imported, (long long) import->failed);
        } else if (!session->options.isQuiet) {
            printf("%lld items imported, %lld failed\n", (long long) import->imported, (long long) import->failed);
        }
    }
    if (import->failed > 0) code = EXIT_FAILED;
    free(import);
    return code;
}
