/*
 * The command line: options, --help, --version.
 */
#include "iotodb.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

typedef struct Option {
    char letter;
    const char *name;
    /** What its argument is called; NULL: it takes none. */
    const char *argument;
    const char *help;
} Option;

/** Letters of the options that every command takes. */
#define COMMON_OPTIONS "scjqhV"

static const Option options[] = {
    {'s', "schema", "FILE", "the OneTable schema; schema.json5 beside the database unless given"},
    {'c', "context", "NAME=VALUE", "a value that keys are made of, as deviceId; may be repeated"},
    {'j', "json", NULL, "JSON, one object a line"},
    {'q', "quiet", NULL, "no summary and no progress bar"},
    {'h', "help", NULL, "this text; after a command, about that command"},
    {'V', "version", NULL, "versions of the tool and of the library"},
    {'n', "limit", "COUNT", "at most so many items"},
    {'t', "next", "TOKEN", "go on after the page that ended with this token"},
    {'r', "reverse", NULL, "from the last key to the first"},
    {'f', "fields", "NAME,...", "only these fields; a name may be a path, network.dns.0"},
    {'i', "index", "NAME", "search in this index of the schema, in its order"},
    {'w', "filter", "CONDITION", "only items that meet it: '${count} > {5} and ${seen} = {true}'"},
    {'H', "hidden", NULL, "also what the schema hides, and the key attributes"},
    {'m', "many", NULL, "remove every item that matches"},
    {'C', "create", NULL, "make the database when there is none"},
    {'k', "keep-going", NULL, "read over lines that can't be imported"},
    {'a', "all", NULL, "count the items of each model too, which reads them all"},
    {'R', "rejected", NULL, "the changes that the cloud refused"},
    {'l', "list", NULL, "a line for each item first, model by model, in the order of the keys"},
    {'o', "output", "FILE", "write to this file, which appears when it is whole"},
};
#define OPTION_COUNT (sizeof options / sizeof options[0])

#define PROPERTIES_HELP                                                                                                \
    "PROPERTIES are NAME=VALUE pairs, whose values are converted to the type of their field, or one JSON5 object.\n"

const Command commands[] = {
    {"models", "DATABASE", "the models of the schema", "Prints each model with where its items exist and how they travel.\n",
     "a", 0, 0, false, runModels},
    {"list", "DATABASE [MODEL]", "the items of a model, or of every model",
     "Prints items in the order of their keys.\n", "ntrfHiw", 0, 1, false, runList},
    {"get", "DATABASE MODEL PROPERTIES", "the item that has a key",
     PROPERTIES_HELP "They give the whole key. With --fields of one name its value alone is printed.\n"
                     "Exits with 1 when there is no such item or field.\n",
     "fH", 1, INT32_MAX, false, runGet},
    {"find", "DATABASE MODEL [PROPERTIES]", "the items that match",
     PROPERTIES_HELP "In JSON5 a value may be an operator: {count: {'>=': 3}, id: {begins: 'a'}}; also =, <, <=, >, <> and\n"
                     "between: [from, to]. Exits with 1 when nothing matches.\n",
     "ntrfHiw", 1, INT32_MAX, false, runFind},
    {"set", "DATABASE MODEL PROPERTIES", "create an item, or change it when it exists",
     PROPERTIES_HELP "Properties that are not named stay. Prints the item as stored.\n", "C", 1, INT32_MAX, true, runSet},
    {"update", "DATABASE MODEL PROPERTIES", "change an item that exists",
     PROPERTIES_HELP "They give the whole key. In JSON5 null takes a property away: {id: 'a', note: null}.\n", "", 2,
     INT32_MAX, true, runUpdate},
    {"remove", "DATABASE MODEL PROPERTIES", "remove an item, or with --many every match",
     PROPERTIES_HELP "Exits with 1 when nothing matches, or when several items match and --many is not given.\n", "miw", 2,
     INT32_MAX, true, runRemove},
    {"export", "DATABASE [MODEL...]", "write items as JSON lines",
     "A line is {\"model\":NAME,\"item\":{...}}: what import reads. Without MODEL every model is written.\n", "o", 0,
     INT32_MAX, false, runExport},
    {"import", "DATABASE [FILE [MODEL]]", "read items from JSON lines",
     "FILE - or none is standard input. A line is {\"model\":NAME,\"item\":{...}}, or, with MODEL, the item alone. Items that\n"
     "exist are changed. Some hundred items make a transaction; the first line that fails ends the import and takes\n"
     "back its transaction, unless --keep-going is given.\n",
     "Ck", 0, 2, true, runImport},
    {"stats", "DATABASE", "sizes and counts", "Prints the size of the files, and what they hold. With --all it counts items.\n",
     "a", 0, 0, false, runStats},
    {"outbox", "DATABASE", "the changes that wait for the cloud",
     "Prints them in the order in which they are sent; with --rejected those that the cloud refused.\n", "nR", 0, 0, false,
     runOutbox},
    {"retry", "DATABASE NUMBER [PROPERTIES]", "send a refused change again",
     PROPERTIES_HELP "They are changed first. The number is the one that outbox --rejected prints.\n", "", 1, INT32_MAX, true,
     runRetry},
    {"discard", "DATABASE NUMBER...", "forget refused changes", "The items stay as they are on the device.\n", "", 1, INT32_MAX,
     true, runDiscard},
    {"digest", "DATABASE STREAM", "sum up a stream, to compare it with the cloud",
     "STREAM is device/ID, account/ID or all. `ioto-cloud digest` prints the same digest of the same items. Where they differ,\n"
     "--list on both sides finds the items by diff; changes that wait for the cloud make them differ as well.\n",
     "l", 1, 1, false, runDigest},
    {"explain", "DATABASE MODEL PROPERTIES", "the last versions of an item",
     PROPERTIES_HELP "They give the whole key, also of an item that was removed. A line a version, the newest first; each took the\n"
     "place of those below. The man page says what the words mean.\n",
     "", 2, INT32_MAX, false, runExplain},
    {"check", "DATABASE", "look for damage",
     "Checks the file's structure, every item and its key, and the outbox. Exits with 1 when there is damage.\n", "", 0, 0,
     false, runCheck},
    {"vacuum", "DATABASE", "give free space back to the file system", "Removed items leave free space in the file.\n", "", 0,
     0, true, runVacuum},
};
const size_t commandCount = sizeof commands / sizeof commands[0];

static void printOptions(const char *letters)
{
    for (size_t index = 0; index < OPTION_COUNT; index++) {
        const Option *option = &options[index];
        if (strchr(letters, option->letter) == NULL) continue;
        char name[64];
        snprintf(name, sizeof name, "--%s%s%s", option->name, option->argument != NULL ? " " : "",
                 option->argument != NULL ? option->argument : "");
        printf("  -%c, %-21s %s\n", option->letter, name, option->help);
    }
}

static void printHelp(const Command *command)
{
    if (command != NULL) {
        printf("Usage: iotodb %s [OPTIONS] %s\n\n%s: %s.\n%s\nOptions:\n", command->name, command->synopsis, command->name,
               command->summary, command->details);
        printOptions(command->options);
        printOptions(COMMON_OPTIONS);
        return;
    }
    puts("Usage: iotodb COMMAND [OPTIONS] DATABASE [ARGUMENTS]\n\n"
         "Looks into a device database and changes it, also while the firmware has it open.\n\nCommands:");
    for (size_t index = 0; index < commandCount; index++) {
        printf("  %-8s %-28s %s\n", commands[index].name, commands[index].synopsis, commands[index].summary);
    }
    puts("\nOptions of every command:");
    printOptions(COMMON_OPTIONS);
    puts("\nExit codes: 0 done, 1 not found or failed, 2 the command line is wrong.\n"
         "`iotodb COMMAND --help` tells more; so does the man page, iotodb(1).");
}

int usageError(const Command *command, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    complain("%s", text);
    fprintf(stderr, "Try: iotodb %s%s--help\n", command != NULL ? command->name : "", command != NULL ? " " : "");
    return EXIT_USAGE;
}

static bool addContext(Options *out, const char *text)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text || out->contextCount == 2 * CONTEXT_MAX) return false;
    char *name = allocate(NULL, strlen(text) + 1);
    strcpy(name, text);
    name[equals - text] = '\0';
    out->context[out->contextCount++] = name;
    out->context[out->contextCount++] = name + (equals - text) + 1;
    return true;
}

/** Cut the list at its commas, in place. */
static bool addFields(Options *out, char *text)
{
    // Before it is cut, so that it can be named as it was given.
    size_t size = strlen(text);
    if (size == 0 || text[0] == ',' || text[size - 1] == ',' || strstr(text, ",,") != NULL) return false;
    for (char *name = text; name != NULL;) {
        char *comma = strchr(name, ',');
        if (comma != NULL) *comma++ = '\0';
        if (out->fieldCount == FIELDS_MAX) return false;
        out->fields[out->fieldCount++] = name;
        name = comma;
    }
    return true;
}

static bool setLimit(Options *out, const char *text)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || number == 0 || number > UINT32_MAX) return false;
    out->limit = (uint32_t) number;
    return true;
}

/** Take one option over; false when its argument is not valid. */
static bool takeOption(Options *out, int letter, char *argument)
{
    switch (letter) {
    case 's': out->schema = argument; break;
    case 'c': return addContext(out, argument);
    case 'j': out->isJson = true; break;
    case 'q': out->isQuiet = true; break;
    case 'n': return setLimit(out, argument);
    case 't': out->next = argument; break;
    case 'r': out->isReverse = true; break;
    case 'f': return addFields(out, argument);
    case 'i': out->index = argument; break;
    case 'w': out->filter = argument; break;
    case 'H': out->isHidden = true; break;
    case 'm': out->isMany = true; break;
    case 'C': out->isCreating = true; break;
    case 'k': out->isContinuing = true; break;
    case 'a': out->isCounting = true; break;
    case 'R': out->isRejected = true; break;
    case 'l': out->isListing = true; break;
    case 'o': out->output = argument; break;
    default: break;
    }
    return true;
}

static const Command *findCommand(const char *name)
{
    for (size_t index = 0; index < commandCount; index++) {
        if (strcmp(commands[index].name, name) == 0) return &commands[index];
    }
    return NULL;
}

/** Hand the operands over: command, database, arguments. */
static Parsed takeOperands(Session *out, int count, char **operands)
{
    const Command *command = out->command;
    if (command == NULL) return usageError(NULL, "a command is missing"), PARSED_USAGE;
    if (count < 2) return usageError(command, "%s: the database is missing", command->name), PARSED_USAGE;
    out->path = operands[1];
    out->arguments = operands + 2;
    out->argumentCount = count - 2;
    if (out->argumentCount < command->argumentsMin) {
        return usageError(command, "%s: arguments are missing: %s", command->name, command->synopsis), PARSED_USAGE;
    }
    if (out->argumentCount > command->argumentsMax) {
        const char *extra = out->arguments[command->argumentsMax];
        return usageError(command, "%s: '%s' is one argument too many", command->name, extra), PARSED_USAGE;
    }
    return PARSED_RUN;
}

Parsed parseOptions(int argc, char **argv, Session *out)
{
    struct option names[OPTION_COUNT + 1] = {{0}};
    char letters[2 * OPTION_COUNT + 1] = "";
    size_t length = 0;
    for (size_t index = 0; index < OPTION_COUNT; index++) {
        const Option *option = &options[index];
        bool hasArgument = option->argument != NULL;
        names[index] = (struct option){option->name, hasArgument ? required_argument : no_argument, NULL, option->letter};
        letters[length++] = option->letter;
        if (hasArgument) letters[length++] = ':';
    }
    // Which options there may be is known by the command, wherever it stands: their letters are judged after it.
    char seen[OPTION_COUNT + 1] = "";
    bool isHelp = false;
    int letter;
    while ((letter = getopt_long(argc, argv, letters, names, NULL)) != -1) {
        if (letter == '?') return usageError(NULL, "the options are listed by --help"), PARSED_USAGE;
        if (letter == 'V') return printf("iotodb %s (libioto %s)\n", IOTO_VERSION, ioVersion()), PARSED_DONE;
        isHelp = isHelp || letter == 'h';
        if (strchr(seen, letter) == NULL) seen[strlen(seen)] = (char) letter;
        if (!takeOption(&out->options, letter, optarg)) {
            return usageError(NULL, "option -%c: '%s' is not valid", letter, optarg), PARSED_USAGE;
        }
    }
    int count = argc - optind;
    if (count > 0) {
        out->command = findCommand(argv[optind]);
        if (out->command == NULL) return usageError(NULL, "unknown command '%s'", argv[optind]), PARSED_USAGE;
    }
    if (isHelp) return printHelp(out->command), PARSED_DONE;
    for (const char *option = seen; out->command != NULL && *option != '\0'; option++) {
        if (strchr(COMMON_OPTIONS, *option) != NULL || strchr(out->command->options, *option) != NULL) continue;
        return usageError(out->command, "%s: there is no option -%c", out->command->name, *option), PARSED_USAGE;
    }
    return takeOperands(out, count, argv + optind);
}
