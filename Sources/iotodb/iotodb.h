/**
 * @file iotodb.h
 * The command-line tool for device databases: what its files share. It knows the library by ioto.h alone.
 */
#ifndef IOTODB_H
#define IOTODB_H

#include <ioto.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#if defined(__GNUC__)
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))
#else
#define PRINTF_LIKE(text, first)
#endif

/** Exit codes, documented in the man page. */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/** Most --context options, and most fields of --fields. */
#define CONTEXT_MAX 16
#define FIELDS_MAX 64
/** Items that are read from the database at a time. */
#define PAGE_ITEMS 500

/** What the command line says, beside the arguments. */
typedef struct Options {
    const char *schema;
    /** Names and values in turn, for dbAddContext(). */
    char *context[2 * CONTEXT_MAX];
    size_t contextCount;
    char *fields[FIELDS_MAX];
    size_t fieldCount;
    /** 0: no limit. */
    uint32_t limit;
    const char *next;
    const char *index;
    const char *filter;
    const char *output;
    bool isJson, isQuiet, isReverse, isMany, isCreating, isContinuing, isCounting, isRejected, isHidden, isListing;
} Options;

typedef struct Command Command;

/** One run of the tool. */
typedef struct Session {
    const Command *command;
    Options options;
    /** File of the database. */
    const char *path;
    Db *db;
    /** What follows the database on the command line. */
    char **arguments;
    int argumentCount;
} Session;

struct Command {
    const char *name;
    /** Arguments as --help shows them. */
    const char *synopsis;
    const char *summary;
    /** Paragraphs of its own --help. */
    const char *details;
    /** Letters of the options that it takes beside those that every command takes. */
    const char *options;
    /** Fewest and most arguments after the database. */
    int argumentsMin, argumentsMax;
    /** It changes the database. */
    bool isWriting;
    /** Returns an exit code. */
    int (*run)(Session *session);
};

extern const Command commands[];
extern const size_t commandCount;

/* items.c */
int runList(Session *session);
int runGet(Session *session);
int runFind(Session *session);
int runSet(Session *session);
int runUpdate(Session *session);
int runRemove(Session *session);
int runRetry(Session *session);
int runDiscard(Session *session);
/* export.c, import.c */
int runExport(Session *session);
int runImport(Session *session);
/* inspect.c */
int runModels(Session *session);
int runStats(Session *session);
int runOutbox(Session *session);
int runCheck(Session *session);
int runVacuum(Session *session);
/* verify.c */
int runDigest(Session *session);
int runExplain(Session *session);

/* items.c */

/** The properties on the command line, in the form that the library takes. */
typedef struct Properties {
    DbProps props;
    /** Copies of the pairs, cut at their `=`. */
    char **texts;
    int count;
} Properties;

/** Read the arguments from `first` on; EXIT_USAGE when they are not properties. */
int readProperties(Session *session, int first, Properties *out);
void freeProperties(Properties *properties);

/* options.c */

/** What is to be done after the command line has been read. */
typedef enum Parsed { PARSED_RUN, PARSED_DONE, PARSED_USAGE } Parsed;
/** Read the command line. --help and --version are answered at once. */
Parsed parseOptions(int argc, char **argv, Session *out);
/** A complaint about the command line, with a hint; returns EXIT_USAGE. */
int usageError(const Command *command, const char *format, ...) PRINTF_LIKE(2, 3);

/* report.c */

/** Print the library's last error; returns EXIT_FAILED. */
int failed(void);
/** Print an error of the tool's own; returns EXIT_FAILED. */
int complain(const char *format, ...) PRINTF_LIKE(1, 2);
/** A text for people: control characters, which could steer a terminal, are shown as escapes. */
void putText(FILE *file, const char *text);
/** The same, or only its width (`file` NULL); stops before `widthMax` columns (0: no bound). Returns its width. */
size_t layText(FILE *file, const char *text, size_t widthMax);
/** malloc() and realloc() that end the program when memory is short. */
void *allocate(void *old, size_t size);

/* inspect.c */

/** Visit every model that may have items here. */
const DbModel *nextModel(Session *session, size_t *index);

/* json.c: just enough to take the members of valid JSON apart. Nothing is converted. */

/** A part of a text. */
typedef struct Slice {
    const char *start;
    size_t length;
} Slice;

bool sliceIs(Slice slice, const char *text);
/** The value that begins at `text`, after white space; `length` 0 when there is none. */
Slice jsonValue(const char *text);
/**
 * Go through the members of an object.
 *
 * @param cursor    At the object's text before the first call.
 * @param out_name  Name without its quotes, escapes as they are.
 * @return Whether there was one more.
 */
bool jsonMember(const char **cursor, Slice *out_name, Slice *out_value);
/** The value at a path, "network.dns.0"; `length` 0 when there is none. */
Slice jsonAt(const char *text, const char *path);
/** A string without its quotes and escapes, NUL-terminated, freed by the caller; NULL when it is no string. */
char *jsonDecode(Slice string);

/* output.c */

/** Whether standard output is a terminal, and how wide it is. */
bool isTerminal(void);
/** A slice of JSON on one line. */
void putJson(FILE *file, Slice json);
/** A text as a JSON string. */
void putJsonString(FILE *file, const char *text);
/** Unix milliseconds as ISO 8601 in UTC, "" for 0; one of 4 buffers used in turn. */
const char *isoTime(int64_t time_ms);

/** A table: cells are gathered, then printed in columns of their widest cell. */
typedef struct Table {
    size_t columns;
    char **cells;
    size_t count, capacity;
    /** Columns of numbers stand at the right: a bit each. */
    uint64_t numeric;
} Table;

void tableCell(Table *table, const char *text);
void tableNumber(Table *table, int64_t number);
/** Print the rows and forget them. The first row is the head. */
void tablePrint(Table *table);

/** An item: one line of JSON, or a name and a value a line. */
void putItem(Session *session, const DbItem *item);
/** Prints items as a table, or as JSON, one a line. */
typedef struct ItemPrinter {
    Session *session;
    /** The columns of the last page: their names. */
    char *columns[FIELDS_MAX];
    size_t columnCount;
    /** JSON lines name the model. */
    bool isMixed;
} ItemPrinter;
void printItems(ItemPrinter *printer, const DbList *list);
void endItems(ItemPrinter *printer);
/** Flush standard output; EXIT_FAILED with a message when it could not be written, else `code`. */
int endOutput(int code);

/** A bar on standard error when that is a terminal, else nothing. */
typedef struct Progress {
    bool isShown;
    int64_t total;
    int64_t shown_ms;
} Progress;
void progressBegin(Progress *progress, Session *session, int64_t total);
void progressShow(Progress *progress, int64_t done, int64_t items);
/** Take the bar away. */
void progressEnd(Progress *progress);

#endif /* IOTODB_H */
