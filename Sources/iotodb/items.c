/*
 * Commands on items: list, get, find, set, update, remove.
 */
#include "iotodb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/** Fields that are asked for by name are never hidden. */
static bool isWhole(const Options *options)
{
    return options->isHidden || options->fieldCount > 0;
}

static bool isObject(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '{';
}

int readProperties(Session *session, int first, Properties *out)
{
    int count = session->argumentCount - first;
    char **arguments = session->arguments + first;
    *out = (Properties){.props = {.size = sizeof(DbProps)}};
    if (count == 1 && isObject(arguments[0])) {
        out->props.json = arguments[0];
        return EXIT_DONE;
    }
    out->texts = allocate(NULL, 2 * (size_t) count * sizeof out->texts[0]);
    for (; out->count < count; out->count++) {
        const char *argument = arguments[out->count];
        const char *equals = strchr(argument, '=');
        if (equals == NULL || equals == argument || isObject(argument)) {
            return usageError(session->command, "'%s' is neither NAME=VALUE nor the one JSON5 object", argument);
        }
        char *text = strcpy(allocate(NULL, strlen(argument) + 1), argument);
        text[equals - argument] = '\0';
        out->texts[2 * out->count] = text;
        out->texts[2 * out->count + 1] = text + (equals - argument) + 1;
    }
    out->props.pairs = (const char *const *) out->texts;
    out->props.count = 2 * (uint32_t) count;
    return EXIT_DONE;
}

void freeProperties(Properties *properties)
{
    for (int index = 0; index < properties->count; index++) free(properties->texts[2 * index]);
    free(properties->texts);
}

/** Print what dbFind() finds, page by page. Returns an exit code, and the number of items in `out_count`. */
static int printFound(Session *session, const char *model, const DbProps *props, ItemPrinter *printer, int64_t *out_count)
{
    const Options *options = &session->options;
    int64_t left = options->limit > 0 ? (int64_t) options->limit : INT64_MAX;
    char *next = options->next != NULL ? strcpy(allocate(NULL, strlen(options->next) + 1), options->next) : NULL;
    bool hasMore = true;
    while (hasMore && left > 0) {
        uint32_t limit = left < PAGE_ITEMS ? (uint32_t) left : PAGE_ITEMS;
        DbList *list = dbFind(session->db, model, props,
                              DB_PARAMS(.limit = limit, .next = next, .reverse = options->isReverse, .index = options->index,
                                        .filter = options->filter, .hidden = isWhole(options)));
        free(next);
        next = NULL;
        if (list == NULL) return failed();
        printItems(printer, list);
        *out_count += (int64_t) dbListCount(list);
        left -= (int64_t) dbListCount(list);
        const char *token = dbNext(session->db, list);
        hasMore = token != NULL;
        if (hasMore) next = strcpy(allocate(NULL, strlen(token) + 1), token);
        dbFreeList(list);
    }
    // Standard output is the items' alone: programs read it.
    if (hasMore && !options->isQuiet) fflush(stdout), fprintf(stderr, "more: --next '%s'\n", next);
    free(next);
    return EXIT_DONE;
}

static int listAll(Session *session)
{
    const DbModel *model;
    for (size_t index = 0; (model = nextModel(session, &index)) != NULL;) {
        ItemPrinter printer = {.session = session, .isMixed = true};
        DbItem *first = dbFindOne(session->db, dbModelName(model), NULL, NULL);
        if (first == NULL && dbGetErrorCode() != DB_ERR_NOT_FOUND) return failed();
        if (first == NULL) continue;
        dbFreeItem(first);
        if (!session->options.isJson) printf("%s:\n", dbModelName(model));
        int64_t count = 0;
        int code = printFound(session, dbModelName(model), NULL, &printer, &count);
        endItems(&printer);
        if (code != EXIT_DONE) return code;
        if (!session->options.isJson) putchar('\n');
    }
    return EXIT_DONE;
}

int runList(Session *session)
{
    if (session->argumentCount == 0) {
        if (session->options.next == NULL) return listAll(session);
        return usageError(session->command, "list: --next needs a model");
    }
    ItemPrinter printer = {.session = session};
    int64_t count = 0;
    int code = printFound(session, session->arguments[0], NULL, &printer, &count);
    endItems(&printer);
    return code;
}

int runFind(Session *session)
{
    Properties properties;
    ItemPrinter printer = {.session = session};
    int64_t count = 0;
    int code = readProperties(session, 1, &properties);
    if (code == EXIT_DONE) code = printFound(session, session->arguments[0], &properties.props, &printer, &count);
    endItems(&printer);
    freeProperties(&properties);
    return code == EXIT_DONE && count == 0 ? EXIT_FAILED : code;
}

/** One field alone, for scripts. */
static int printField(Session *session, const DbItem *item)
{
    Slice value = jsonAt(dbItemJson(item), session->options.fields[0]);
    if (value.length == 0) return EXIT_FAILED;
    char *text = jsonDecode(value);
    if (text == NULL) {
        putJson(stdout, value);
    } else if (isTerminal()) {
        putText(stdout, text);
    } else {
        fputs(text, stdout);
    }
    putchar('\n');
    free(text);
    return EXIT_DONE;
}

int runGet(Session *session)
{
    Properties properties;
    DbItem *item = NULL;
    int code = readProperties(session, 1, &properties);
    if (code == EXIT_DONE) {
        item = dbGet(session->db, session->arguments[0], &properties.props,
                     DB_PARAMS(.hidden = isWhole(&session->options)));
        if (item == NULL) {
            code = failed();
        } else if (session->options.fieldCount == 1 && !session->options.isJson) {
            code = printField(session, item);
        } else {
            putItem(session, item);
        }
    }
    dbFreeItem(item);
    freeProperties(&properties);
    return code;
}

static int change(Session *session, bool isUpsert)
{
    Properties properties;
    int code = readProperties(session, 1, &properties);
    if (code == EXIT_DONE) {
        DbItem *item = dbUpdate(session->db, session->arguments[0], &properties.props, DB_PARAMS(.upsert = isUpsert));
        if (item == NULL) {
            code = failed();
        } else if (!session->options.isQuiet) {
            putItem(session, item);
        }
        dbFreeItem(item);
    }
    freeProperties(&properties);
    return code;
}

int runSet(Session *session)
{
    return change(session, true);
}

int runUpdate(Session *session)
{
    return change(session, false);
}

int runRemove(Session *session)
{
    Properties properties;
    int code = readProperties(session, 1, &properties);
    if (code == EXIT_DONE) {
        const Options *options = &session->options;
        const DbParams *params = DB_PARAMS(.many = options->isMany, .index = options->index, .filter = options->filter);
        int count = dbRemove(session->db, session->arguments[0], &properties.props, params);
        if (count < 0) {
            code = failed();
        } else {
            if (session->options.isJson) {
                printf("{\"removed\":%d}\n", count);
            } else if (!session->options.isQuiet) {
                printf("%d removed\n", count);
            }
            code = count > 0 ? EXIT_DONE : EXIT_FAILED;
        }
    }
    freeProperties(&properties);
    return code;
}

/* Refused changes */

static bool readNumber(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return text[0] != '\0' && *end == '\0' && errno == 0;
}

int runRetry(Session *session)
{
    int64_t number;
    if (!readNumber(session->arguments[0], &number)) {
        return usageError(session->command, "retry: '%s' is no number", session->arguments[0]);
    }
    Properties properties;
    int code = readProperties(session, 1, &properties);
    if (code == EXIT_DONE) {
        const DbProps *props = session->argumentCount > 1 ? &properties.props : NULL;
        if (dbRetryRejected(session->db, number, props, NULL) != 0) code = failed();
    }
    freeProperties(&properties);
    return code;
}

int runDiscard(Session *session)
{
    int64_t number;
    for (int index = 0; index < session->argumentCount; index++) {
        if (!readNumber(session->arguments[index], &number)) {
            return usageError(session->command, "discard: '%s' is no number", session->arguments[index]);
        }
    }
    for (int index = 0; index < session->argumentCount; index++) {
        (void) readNumber(session->arguments[index], &number);
        if (dbDiscardRejected(session->db, number) != 0) return failed();
    }
    return EXIT_DONE;
}
