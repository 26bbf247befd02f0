/*
 * Compare a device database with the cloud's: both must hold the same items, field by field.
 *
 *     ioto-cloud items list --store sqlite:cloud.db --schema schema.json5 --json | compare schema.json5 device.db MODEL...
 *
 * Prints a line for each model, and the items that one side alone has. Exits with 0 when the sides are equal, 1 when they
 * differ, 2 when they can't be compared.
 */
#define _POSIX_C_SOURCE 200809L

#include <cjson/cJSON.h>
#include <ioto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the cloud's form of an item has beside the item's own fields, as the schema names it. */
static const char *const attributes[] = {"pk", "sk", "_type"};

/* Differences shown for each model; all are counted. */
enum { SHOWN_MAX = 5 };

/* Items as JSON text with their fields in order, so that equal items are equal texts. */
typedef struct Side {
    char **texts;
    size_t count;
} Side;

static void die(const char *what)
{
    fprintf(stderr, "compare: %s\n", what);
    exit(2);
}

static int compareNames(const void *a, const void *b)
{
    return strcmp((*(cJSON *const *) a)->string, (*(cJSON *const *) b)->string);
}

static void sortFields(cJSON *value)
{
    int count = cJSON_GetArraySize(value);
    if (count == 0) {
        return;
    }
    for (cJSON *child = value->child; child != NULL; child = child->next) {
        sortFields(child);
    }
    if (!cJSON_IsObject(value)) {
        return;
    }
    cJSON **fields = malloc((size_t) count * sizeof *fields);
    if (fields == NULL) {
        die("out of memory");
    }
    for (int i = 0; i < count; i++) {
        fields[i] = cJSON_DetachItemFromArray(value, 0);
    }
    qsort(fields, (size_t) count, sizeof *fields, compareNames);
    for (int i = 0; i < count; i++) {
        cJSON_AddItemToArray(value, fields[i]);
    }
    free(fields);
}

static void add(Side *side, cJSON *item)
{
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++) {
        cJSON_DeleteItemFromObjectCaseSensitive(item, attributes[i]);
    }
    sortFields(item);
    char *text = cJSON_PrintUnformatted(item);
    char **texts = realloc(side->texts, (side->count + 1) * sizeof *texts);
    if (text == NULL || texts == NULL) {
        die("out of memory");
    }
    texts[side->count++] = text;
    side->texts = texts;
}

static int compareTexts(const void *a, const void *b)
{
    return strcmp(*(char *const *) a, *(char *const *) b);
}

static void finish(Side *side)
{
    if (side->count > 0) {
        qsort(side->texts, side->count, sizeof *side->texts, compareTexts);
    }
}

static void release(Side *side)
{
    for (size_t i = 0; i < side->count; i++) {
        free(side->texts[i]);
    }
    free(side->texts);
}

static Side readDevice(Db *db, const char *model)
{
    Side side = {NULL, 0};
    DbList *list = dbFind(db, model, NULL, NULL);
    if (list == NULL) {
        die(dbGetError(db));
    }
    const DbItem *item;
    size_t index;
    for (DB_ITERATE(list, item, index)) {
        cJSON *object = dbItemToCJSON(item);
        add(&side, object);
        cJSON_Delete(object);
    }
    dbFreeList(list);
    finish(&side);
    return side;
}

static Side readCloud(const cJSON *items, const char *model)
{
    Side side = {NULL, 0};
    const cJSON *item;
    cJSON_ArrayForEach(item, items)
    {
        const char *type = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "_type"));
        if (type != NULL && strcmp(type, model) == 0) {
            cJSON *copy = cJSON_Duplicate(item, true);
            add(&side, copy);
            cJSON_Delete(copy);
        }
    }
    finish(&side);
    return side;
}

/* The cloud's items, one JSON object a line, as an array. */
static cJSON *readLines(FILE *file)
{
    cJSON *items = cJSON_CreateArray();
    char *line = NULL;
    size_t capacity = 0;
    while (getline(&line, &capacity, file) > 0) {
        cJSON *item = cJSON_Parse(line);
        if (item == NULL) {
            die("a line of the cloud's list is not JSON");
        }
        cJSON_AddItemToArray(items, item);
    }
    free(line);
    return items;
}

static void showOnly(const char *where, const char *text, size_t shown)
{
    if (shown < SHOWN_MAX) {
        printf("    %s only: %s\n", where, text);
    }
}

/* Walks both sorted sides side by side; returns the number of items that one side alone has. */
static size_t compareModel(const char *model, const Side *device, const Side *cloud)
{
    size_t differences = 0, d = 0, c = 0;
    while (d < device->count || c < cloud->count) {
        int order = d == device->count  ? 1
                    : c == cloud->count ? -1
                                        : strcmp(device->texts[d], cloud->texts[c]);
        if (order == 0) {
            d++;
            c++;
        } else if (order < 0) {
            showOnly("device", device->texts[d++], differences++);
        } else {
            showOnly("cloud", cloud->texts[c++], differences++);
        }
    }
    printf("%-12s device %5zu, cloud %5zu: %s\n", model, device->count, cloud->count, differences == 0 ? "equal" : "DIFFERENT");
    return differences;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: compare SCHEMA DATABASE MODEL... < cloud's items, one JSON object a line\n");
        return 2;
    }
    Db *db = dbOpen(argv[2], argv[1], DB_READ_ONLY);
    if (db == NULL) {
        die(dbGetError(NULL));
    }
    cJSON *items = readLines(stdin);
    size_t differences = 0;
    for (int i = 3; i < argc; i++) {
        Side device = readDevice(db, argv[i]), cloud = readCloud(items, argv[i]);
        differences += compareModel(argv[i], &device, &cloud);
        release(&device);
        release(&cloud);
    }
    cJSON_Delete(items);
    dbClose(db);
    return differences == 0 ? 0 : 1;
}
