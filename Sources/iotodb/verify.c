/*
 * Commands that compare the database with the cloud: digest.
 */
#include "iotodb.h"

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

int runDigest(Session *session)
{
    const char *stream = session->arguments[0];
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
