/* The program: its arguments, and what it works with. */
#include "database.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct size size = {
    .items = 100000,
    .itemsMany = 1000000,
    .hot = 10000,
    .full = 300,
    .gets = 100000,
    .getsHot = 200000,
    .updates = 20000,
    .updatesPaused = 100000,
    .updatesDisk = 20000,
    .batch = 100,
    .rounds = 5,
    .finds = 3,
    .opens = 9,
};

static const char *folder;
const char *program;
uint64_t seed = 42;
Fault *faults;
char (*jsons)[320];
char (*keys)[40];

const char *path(const char *name)
{
    static char buffers[8][1024];
    static int next;
    char *buffer = buffers[next++ % 8];
    snprintf(buffer, sizeof buffers[0], "%s/%s", folder, name);
    return buffer;
}

static const char *only;
/** Leave the databases where they are, to be looked at. */
static bool isKept;

bool wants(const char *name) { return only == NULL || strncmp(only, name, strlen(only)) == 0; }

static void makeItems(void)
{
    faults = calloc(size.items, sizeof *faults);
    jsons = calloc(size.items, sizeof *jsons);
    keys = calloc(size.items, sizeof *keys);
    if (faults == NULL || jsons == NULL || keys == NULL) fail("out of memory");
    size_t bytes = 0;
    for (uint32_t index = 0; index < size.items; index++) {
        faultMake(&faults[index], index);
        bytes += (size_t) faultJson(&faults[index], jsons[index], sizeof jsons[0]);
        snprintf(keys[index], sizeof keys[0], "fault#%s", faults[index].id);
    }
    figure("item.bytes", (double) bytes / size.items, "B");
}

static void clean(void)
{
    static const char *const names[] = {"fault", "full", "synced", "batch", "indexed", "many"};
    for (size_t index = 0; index < sizeof names / sizeof *names; index++) {
        char name[64];
        snprintf(name, sizeof name, "%s.ioto.db", names[index]);
        removeDatabase(path(name));
        snprintf(name, sizeof name, "%s.raw.db", names[index]);
        removeDatabase(path(name));
    }
}

/** Fewer of everything: whether it works, not how fast it is. */
static void makeQuick(void)
{
    size.items = 21000;
    size.itemsMany = 100000;
    size.hot = 5000;
    size.full = 50;
    size.gets = 20000;
    size.getsHot = 20000;
    size.updates = 2000;
    size.updatesPaused = 10000;
    size.updatesDisk = 2000;
    size.rounds = 3;
    size.opens = 3;
}

int main(int count, char **arguments)
{
    program = arguments[0];
    if (count > 1 && strcmp(arguments[1], "--probe") == 0) return probe(count - 2, arguments + 2);
    for (int index = 1; index < count; index++) {
        if (strcmp(arguments[index], "--quick") == 0) {
            makeQuick();
        } else if (strncmp(arguments[index], "--figure=", 9) == 0) {
            only = arguments[index] + 9;
        } else if (strcmp(arguments[index], "--keep") == 0) {
            isKept = true;
        } else if (folder == NULL) {
            folder = arguments[index];
        } else {
            folder = NULL;
            break;
        }
    }
    if (folder == NULL) {
        fprintf(stderr, "usage: bench-database [--quick] [--keep] [--figure=NAME] FOLDER\n");
        return 2;
    }
    clean();
    makeItems();
    compareCreates();
    compareChanges();
    compareGets();
    compareIndexed();
    measureProcesses();
    if (!isKept) clean();
    progress("done\n");
    return 0;
}
