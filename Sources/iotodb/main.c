/*
 * main(): opens the database that the command line names, and runs its command.
 */
#include "iotodb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void hearLog(void *context, IoLogLevel level, const char *message)
{
    (void) context, (void) level;
    fputs("iotodb: ", stderr);
    putText(stderr, message);
    fputc('\n', stderr);
}

/** The schema's file: as given, or schema.json5 in the folder of the database. Freed by the caller. */
static char *schemaPath(const Session *session)
{
    static const char name[] = "schema.json5";
    const char *slash = strrchr(session->path, '/');
    size_t folder = slash == NULL ? 0 : (size_t) (slash - session->path) + 1;
    const char *given = session->options.schema;
    char *path = allocate(NULL, given != NULL ? strlen(given) + 1 : folder + sizeof name);
    if (given != NULL) return strcpy(path, given);
    memcpy(path, session->path, folder);
    memcpy(path + folder, name, sizeof name);
    return path;
}

static int openDatabase(Session *session)
{
    const Options *options = &session->options;
    // Opening would make the file: a mistyped name must not leave an empty database behind.
    if (!options->isCreating && access(session->path, F_OK) != 0) {
        return complain("%s: %s", session->path, strerror(errno));
    }
    char *schema = schemaPath(session);
    if (options->schema == NULL && access(schema, F_OK) != 0) {
        complain("%s: %s; name the schema by --schema", schema, strerror(errno));
        free(schema);
        return EXIT_FAILED;
    }
    session->db = dbOpen(session->path, schema, session->command->isWriting ? 0 : DB_READ_ONLY);
    free(schema);
    if (session->db == NULL) return failed();
    for (size_t index = 0; index < options->contextCount; index += 2) {
        if (dbAddContext(session->db, options->context[index], options->context[index + 1]) != 0) return failed();
    }
    return EXIT_DONE;
}

int main(int argc, char **argv)
{
    Session session = {0};
    switch (parseOptions(argc, argv, &session)) {
    case PARSED_DONE: return endOutput(EXIT_DONE);
    case PARSED_USAGE: return EXIT_USAGE;
    case PARSED_RUN: break;
    }
    // Warnings are of the schema: the firmware's log has them.
    ioSetLog(hearLog, NULL, IO_LOG_ERROR);
    int code = openDatabase(&session);
    if (code == EXIT_DONE) code = session.command->run(&session);
    dbClose(session.db);
    for (size_t index = 0; index < session.options.contextCount; index += 2) free(session.options.context[index]);
    return endOutput(code);
}
