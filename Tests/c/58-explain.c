/*
    A support engineer is told that a value is not what somebody set. Both sides tell of the item what its last versions were, who
    wrote them, when, how they came, and which of them gave way to which, so that the conflict behind it is seen from either end.
 */
#include "support/device.h"
#include "support/tool.h"

#include <cjson/cJSON.h>

/** A version as "by path fate", and whether the story has it at `index`. */
static bool says(const char *json, int index, const char *cmd, const char *by, const char *path, const char *fate)
{
    cJSON *story = cJSON_Parse(json);
    const cJSON *version = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(story, "versions"), index);
    static const char *const names[] = {"cmd", "by", "path", "fate"};
    const char *wanted[] = {cmd, by, path, fate};
    bool isSo = version != NULL;
    for (int name = 0; name < 4 && isSo; name++) {
        const char *found = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(version, names[name]));
        isSo = found != NULL && strcmp(found, wanted[name]) == 0;
        if (!isSo) note("version %d: %s is %s", index, names[name], found != NULL ? found : "missing");
    }
    cJSON_Delete(story);
    return isSo;
}

/** The item that the story is of, for the cloud's tool. */
static const char note1[] = "{\"deviceId\":\"d1\",\"id\":\"1\"}";

/** What ioExplain() tells, as the cloud's tool writes it. */
typedef struct Story {
    char text[2048];
    size_t length;
} Story;

static void take(void *context, const IoVersion *version)
{
    Story *story = context;
    EXPECT(version->size >= sizeof *version && strlen(version->version) == 33 && version->time_ms > 1600000000000);
    story->length += (size_t) snprintf(
        story->text + story->length, sizeof story->text - story->length,
        "%s{\"cmd\":\"%s\",\"by\":\"%s\",\"path\":\"%s\",\"fate\":\"%s\"}", story->text[story->length - 1] == '}' ? "," : "",
        version->isRemoval ? "remove" : "upsert", version->isOwn ? "device" : "other", version->path, version->fate);
}

/** The device's story of Note 1, freed by the caller. */
static char *deviceStory(Db *db)
{
    Story *story = calloc(1, sizeof *story);
    if (story == NULL) abort();
    story->length = (size_t) snprintf(story->text, sizeof story->text, "{\"versions\":[");
    EXPECT(ioExplain(db, "Note", DB_PROPS("id", "1"), take, story) > 0);
    strcat(story->text, "]}");
    char *text = malloc(sizeof story->text);
    if (text == NULL) abort();
    strcpy(text, story->text);
    free(story);
    return text;
}

static int versions(const char *json)
{
    cJSON *story = cJSON_Parse(json);
    int count = cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(story, "versions"));
    cJSON_Delete(story);
    return count;
}

static char *cloudStory(const char *model, const char *json)
{
    const char *arguments[] = {getenv("IOTO_CLOUD"), "explain", "--store", format("sqlite:%s", scratch("cloud.db")), "--schema",
                               testData("schema.json5"), "--model", model, "--json", json, NULL};
    char *text = NULL;
    EXPECT_NUMBER(childRun(arguments, scratch("explain.log"), &text), 0);
    return text;
}

static void ofWhatNeverWas(Db *db)
{
    Story none = {.length = 1};
    EXPECT_CODE(ioExplain(db, "Note", DB_PROPS("id", "1"), take, &none), DB_ERR_NOT_FOUND);
    EXPECT_CODE(ioExplain(db, "Nothing", DB_PROPS("id", "1"), take, &none), DB_ERR_MODEL);
    EXPECT_CODE(ioExplain(db, "Note", NULL, take, &none), DB_ERR_KEY);
    EXPECT_CODE(ioExplain(db, "Note", DB_PROPS("id", "1"), NULL, NULL), DB_ERR_MISUSE);
    EXPECT_CODE(ioExplain(NULL, "Note", NULL, take, &none), DB_ERR_MISUSE);
    claim("of what never was there is nothing to tell");
}

static void ofANewItem(Io *io)
{
    Db *db = ioGetDb(io);
    EXPECT_CODE(create(db, "Note", DB_PROPS("id", "1", "text", "base")), 0);
    char *story = deviceStory(db);
    EXPECT(says(story, 0, "upsert", "device", "waiting", "current"));
    EXPECT_NUMBER(versions(story), 1);
    free(story);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    story = deviceStory(db);
    EXPECT(says(story, 0, "upsert", "device", "acknowledged", "current"));
    free(story);
    char *theirs = cloudStory("Note", note1);
    EXPECT(says(theirs, 0, "upsert", "device d1", "up", "current"));
    free(theirs);
    claim("a new item waits, then the cloud has it from the device");
}

static void ofALostConflict(Io *io)
{
    Db *db = ioGetDb(io);
    ioStop(io);
    EXPECT_CODE(update(db, "Note", DB_PROPS("id", "1", "text", "by the device, earlier")), 0);
    pause_ms(20);
    EXPECT(cloudPut("Note", "{\"deviceId\":\"d1\",\"id\":\"1\",\"text\":\"by the cloud, later\"}"));
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    char *story = deviceStory(db);
    EXPECT(says(story, 0, "upsert", "other", "down", "current"));
    EXPECT(says(story, 1, "upsert", "device", "unsent", "lost"));
    EXPECT(says(story, 2, "upsert", "device", "acknowledged", "overwritten"));
    EXPECT_NUMBER(versions(story), 3);
    free(story);
    claim("the device tells the conflict that it lost");

    char *theirs = cloudStory("Note", note1);
    EXPECT(says(theirs, 0, "upsert", "cloud", "cloud", "current"));
    // Whether the device's change came before the device heard of the cloud's is a race.
    int last = versions(theirs) - 1;
    EXPECT(last == 1 || (last == 2 && says(theirs, 1, "upsert", "device d1", "up", "refused")));
    EXPECT(says(theirs, last, "upsert", "device d1", "up", "overwritten"));
    free(theirs);
}

static void ofAConflictThatIsWon(Io *io)
{
    Db *db = ioGetDb(io);
    ioStop(io);
    EXPECT(cloudPut("Note", "{\"deviceId\":\"d1\",\"id\":\"1\",\"text\":\"by the cloud, earlier\"}"));
    pause_ms(20);
    EXPECT_CODE(update(db, "Note", DB_PROPS("id", "1", "text", "by the device, later")), 0);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT_WITHIN(PATIENCE_MS, cloudFieldIs("Note", "1", "text", "by the device, later"));
    char *theirs = cloudStory("Note", note1);
    EXPECT(says(theirs, 0, "upsert", "device d1", "up", "current"));
    // Lost, unless the device had heard of it before it sent its own.
    EXPECT(says(theirs, 1, "upsert", "cloud", "cloud", "lost") || says(theirs, 1, "upsert", "cloud", "cloud", "overwritten"));
    EXPECT(says(theirs, 2, "upsert", "cloud", "cloud", "overwritten"));
    free(theirs);
    claim("the cloud tells its side, and what the device overwrote");
}

static void ofARemoval(Io *io)
{
    Db *db = ioGetDb(io);
    EXPECT_CODE(dbRemove(db, "Note", DB_PROPS("id", "1"), NULL), 1);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    char *story = deviceStory(db);
    EXPECT(says(story, 0, "remove", "device", "acknowledged", "current"));
    EXPECT(says(story, 1, "upsert", "device", "acknowledged", "overwritten"));
    EXPECT_NUMBER(versions(story), 5);
    free(story);
    char *theirs = cloudStory("Note", note1);
    EXPECT(says(theirs, 0, "remove", "device d1", "up", "current"));
    EXPECT_NUMBER(versions(theirs), 5);
    free(theirs);
    claim("a removed item is told too, of its last five versions");
}

static bool tells(const char *line)
{
    EXPECT_NUMBER(tool("explain", scratch("explain.db"), "Note", "id=1", NULL), 0);
    return strstr(toolOutput, "TIME") == toolOutput && strstr(toolOutput, line) != NULL;
}

static void asATable(void)
{
    // Another process hears of an acknowledgement once it is on the disk, a moment later.
    EXPECT_WITHIN(PATIENCE_MS, tells("acknowledged  current\n"));
    claim("iotodb prints it as a table");
}

int main(void)
{
    scenarioBegin();
    Services services = servicesStart();
    Io *io = deviceStart("explain.db", services.broker.port, SYNC_NEVER);
    Db *db = ioGetDb(io);
    ofWhatNeverWas(db);
    ofANewItem(io);
    ofALostConflict(io);
    ofAConflictThatIsWon(io);
    ofARemoval(io);
    asATable();
    ioClose(io);
    servicesStop(&services);
    toolFree();
    return scenarioEnd();
}
