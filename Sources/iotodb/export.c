/*
 * export: items as JSON lines, `{"model":NAME,"item":{...}}`.
 */
#include "iotodb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/** Write the items of a model page by page: none of them are kept. */
static int exportModel(Session *session, const char *model, FILE *file, Progress *progress, int64_t *count)
{
    DbList *list = NULL;
    do {
        // What the schema hides belongs to the item all the same.
        DbList *page = dbFind(session->db, model, NULL,
                              DB_PARAMS(.limit = PAGE_ITEMS, .next = dbNext(session->db, list), .hidden = true));
        int code = page == NULL ? failed() : EXIT_DONE;
        dbFreeList(list);
        list = page;
        if (code != EXIT_DONE) return code;
        const DbItem *item;
        size_t index;
        for (DB_ITERATE(list, item, index)) {
            const char *json = dbItemJson(item);
            fputs("{\"model\":", file);
            putJsonString(file, model);
            fputs(",\"item\":", file);
            putJson(file, (Slice){json, strlen(json)});
            fputs("}\n", file);
        }
        *count += (int64_t) dbListCount(list);
        // A bar would be drawn through lines that go to the same terminal.
        if (file != stdout) progressShow(progress, *count, *count);
    } while (dbNext(session->db, list) != NULL && ferror(file) == 0);
    dbFreeList(list);
    return EXIT_DONE;
}

/** About how many items there are to write: some come and go meanwhile. */
static int64_t itemCount(Session *session)
{
    DbStats stats = {.size = sizeof stats};
    if (session->argumentCount == 0) return dbGetStats(session->db, &stats) == 0 ? stats.items : 0;
    int64_t items = 0;
    for (int index = 0; index < session->argumentCount; index++) {
        int64_t found = dbCount(session->db, session->arguments[index], NULL, NULL);
        if (found > 0) items += found;
    }
    return items;
}

static int exportModels(Session *session, FILE *file, int64_t *count)
{
    Progress progress;
    int code = EXIT_DONE;
    progressBegin(&progress, session, 0);
    if (progress.isShown && file != stdout) progress.total = itemCount(session);
    for (int index = 0; index < session->argumentCount && code == EXIT_DONE; index++) {
        code = exportModel(session, session->arguments[index], file, &progress, count);
    }
    const DbModel *model;
    for (size_t index = 0; session->argumentCount == 0 && code == EXIT_DONE;) {
        model = nextModel(session, &index);
        if (model == NULL) break;
        code = exportModel(session, dbModelName(model), file, &progress, count);
    }
    progressEnd(&progress);
    return code;
}

/** Bring a file to the disk and close it. */
static bool closeFile(FILE *file)
{
    bool isWhole = fflush(file) == 0 && ferror(file) == 0 && fsync(fileno(file)) == 0;
    return fclose(file) == 0 && isWhole;
}

int runExport(Session *session)
{
    int64_t count = 0;
    const char *path = session->options.output;
    if (path == NULL) return exportModels(session, stdout, &count);
    // The file gets its name when it is whole: an older export is there until then.
    static const char suffix[] = ".part";
    char *part = allocate(NULL, strlen(path) + sizeof suffix);
    strcat(strcpy(part, path), suffix);
    FILE *file = fopen(part, "w");
    int code = EXIT_FAILED;
    if (file == NULL) {
        complain("%s: %s", part, strerror(errno));
    } else {
        code = exportModels(session, file, &count);
        if (!closeFile(file) && code == EXIT_DONE) code = complain("%s: %s", part, strerror(errno));
        if (code == EXIT_DONE && rename(part, path) != 0) code = complain("%s: %s", path, strerror(errno));
        if (code != EXIT_DONE) unlink(part);
    }
    if (code == EXIT_DONE && session->options.isJson) {
        printf("{\"exported\":%lld}\n", (long long) count);
    } else if (code == EXIT_DONE && !session->options.isQuiet) {
        printf("%lld items exported\n", (long long) count);
    }
    free(part);
    return code;
}
