/*
 * Commands that compare the database with the cloud, and tell how it came to what it holds: digest, explain.
 */
#include "iotodb.h"

#include <stdlib.h>
#include <string.h>

static bool putItemDigest(void *context, const char *model, const char *hash, const char *sort, const char *value)
{
    const Session *session = context;
    if (session->options.isJson) fputs("{\"model\":", stdout);
    if (session->options.isJson) {
        putJsonString(stdout, model);
        fputs(",\"hash\":", stdout);
        putJsonString(stdout, hash);
        fputs(",\"sort\":", stdout);
        putJsonString(stdout, sort);
        printf(",\"digest\":\"%s\"}\n", value);
    } else {
        printf("%s %s ", value, model);
        putJsonString(stdout, hash);
        putchar(' ');
        putJsonString(stdout, sort);
        putchar('\n');
    }
    return !ferror(stdout);
}

static bool isStream(const char *text)
{
    static const char *const owners[] = {"device/", "account/"};
    for (size_t index = 0; index < sizeof owners / sizeof owners[0]; index++) {
        size_t size = strlen(owners[index]);
        if (strncmp(text, owners[index], size) == 0) return text[size] != '\0';
    }
    return strcmp(text, "all") == 0;
}

int runDigest(Session *session)
{
    const char *stream = session->arguments[0];
    if (!isStream(stream)) return usageError(session->command, "digest: '%s' is no stream", stream);
    IoDigest digest = {.size = sizeof digest};
    IoDigestProc proc = session->options.isListing ? putItemDigest : NULL;
    if (ioDigest(session->db, stream, &digest, proc, session) != 0) return failed();
    if (session->options.isJson) {
        fputs("{\"stream\":", stdout);
        putJsonString(stdout, stream);
        printf(",\"digest\":\"%s\",\"items\":%lld,\"history\":\"%016llx\",\"cursor\":%lld,\"pending\":%lld}\n", digest.value,
               (long long) digest.items, (unsigned long long) digest.history, (long long) digest.cursor,
               (long long) digest.pendingItems);
        return EXIT_DONE;
    }
    printf("%s ", digest.value);
    putText(stdout, stream);
    printf(" items=%lld\n", (long long) digest.items);
    if (digest.pendingItems > 0 && !session->options.isQuiet) {
        complain("%lld changes wait for the cloud", (long long) digest.pendingItems);
    }
    return EXIT_DONE;
}

/** What ioExplain() tells, on its way to a table or to JSON. */
typedef struct Story {
    Session *session;
    Table table;
    int count;
    char *reason;
} Story;

static void putVersion(void *context, const IoVersion *version)
{
    Story *story = context;
    const char *cmd = version->isRemoval ? "remove" : "upsert", *by = version->isOwn ? "device" : "other";
    if (story->session->options.isJson) {
        printf("{\"ver\":\"%s\",\"time\":\"%s\",\"cmd\":\"%s\",\"by\":\"%s\",\"path\":\"%s\",\"fate\":\"%s\"", version->version,
               isoTime(version->time_ms), cmd, by, version->path, version->fate);
        if (version->reason[0] != '\0') {
            fputs(",\"reason\":", stdout);
            putJsonString(stdout, version->reason);
        }
        puts("}");
        return;
    }
    const char *const cells[] = {isoTime(version->time_ms), cmd, by, version->path, version->fate};
    for (size_t column = 0; column < story->table.columns; column++) tableCell(&story->table, cells[column]);
    if (version->reason[0] == '\0') return;
    free(story->reason);
    story->reason = strcpy(allocate(NULL, strlen(version->reason) + 1), version->reason);
}

int runExplain(Session *session)
{
    static const char *const heads[] = {"TIME", "CHANGE", "BY", "PATH", "FATE"};
    Story story = {.session = session, .table = {.columns = sizeof heads / sizeof *heads}};
    Properties properties;
    int code = readProperties(session, 1, &properties);
    for (size_t column = 0; column < story.table.columns && !session->options.isJson; column++) {
        tableCell(&story.table, heads[column]);
    }
    if (code == EXIT_DONE && ioExplain(session->db, session->arguments[0], &properties.props, putVersion, &story) < 0) {
        code = failed();
    }
    if (code == EXIT_DONE && !session->options.isJson) tablePrint(&story.table);
    if (story.reason != NULL) {
        fputs("Rejected: ", stdout);
        putText(stdout, story.reason);
        putchar('\n');
    }
    free(story.reason);
    freeProperties(&properties);
    return code;
}
