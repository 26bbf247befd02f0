/* A scan through SQLite takes most of its time for a cursor's steps and for a pread(2) a page. Here the pages come in runs, and
 * one without the bytes that are looked for is left at a glance.
 *
 * Nothing here takes a lock: SQLite's reader has the snapshot, and what it has does not change (sqlite.org/walformat.html, 2.3).
 * Frames up to its last stay in the log and are moved from there alone to the database file, which gets none beyond it.
 * Pages that may be moved at this moment are read from the log. */
#include "platform_tree.h"

#include <stdlib.h>
#include <string.h>

#include "fast.h"
#include "page.h"
#include "platform.h"

enum {
    RUN = 16,          /* pages that are read at a time */
    GAP_MAX = 2,       /* pages of others that are read with them */
    DEPTH_MAX = 20,    /* as SQLite has it */
    PAYLOAD_MAX = 2 * 1024 * 1024,
    KEY_MAX = 1024,
    FRAMES_MAX = 8192, /* frames of the log that are kept in mind */
    /* Of the log, its frames and its index (sqlite.org/walformat.html, 1.2, 1.3 and 2.2). */
    LOG_HEAD = 32,
    FRAME_HEAD = 24,
    INDEX_HEAD = 34,
    INDEX_BLOCK = 4096,
};

struct level {
    /* 2 * i: the page below cell i, which comes before it; 2 * i + 1: the cell. */
    uint32_t step, cells;
    uint8_t page[PAGE];
};

struct platform_tree {
    platform_pages pages;
    int64_t model;
    uint8_t *needle;
    size_t needle_bytes;
    /* Pages that stand in the log, in order: the number of the page above that of the frame. */
    uint64_t *logged;
    size_t logged_count;
    /* A row that has pages of its own. */
    uint8_t *payload;
    size_t payload_room;
    /* Key of the last row that was given. */
    uint8_t last[2 * KEY_MAX];
    size_t last_hash, last_sort;
    bool has_last;
    const uint8_t *leaf;
    uint32_t leaf_cell, leaf_cells;
    uint32_t run_first, run_count;
    int depth;
    struct level levels[DEPTH_MAX];
    uint8_t overflow[PAGE];
    uint8_t run[RUN * PAGE];
};

/* MARK: The pages */

static int compare_logged(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *) a, right = *(const uint64_t *) b;
    return left < right ? -1 : left > right;
}

/* Finds out which pages stand in the log. */
static bool read_index(platform_tree *self)
{
    const platform_pages *pages = &self->pages;
    size_t count = pages->frames - pages->moved;
    if (pages->moved > pages->frames || count > FRAMES_MAX) {
        return false;
    }
    if (count == 0) {
        return true;
    }
    self->logged = malloc(count * sizeof *self->logged);
    if (self->logged == NULL) {
        return false;
    }
    const uint32_t *block = NULL;
    int known = -1;
    for (uint32_t frame = pages->moved; frame < pages->frames; frame++) {
        /* Counted from 0. The first block has the index's head in the place of its first entries. */
        uint32_t place = frame + INDEX_HEAD;
        if (known != (int) (place / INDEX_BLOCK)) {
            known = (int) (place / INDEX_BLOCK);
            block = pages->index(pages->database, known);
            if (block == NULL) {
                return false;
            }
        }
        uint32_t page = __atomic_load_n(&block[place % INDEX_BLOCK], __ATOMIC_RELAXED);
        self->logged[self->logged_count++] = (uint64_t) page << 32 | frame;
    }
    qsort(self->logged, count, sizeof *self->logged, compare_logged);
    return true;
}

/* Reads pages: those that stand in the log over what the file has of them. */
static bool read_pages(const platform_tree *self, uint32_t first, uint32_t count, uint8_t *out)
{
    const platform_pages *pages = &self->pages;
    if (first == 0) {
        return false;
    }
    int code = pages->read(pages->database, out, (int) (count * PAGE), (int64_t) (first - 1) * PAGE);
    size_t low = 0, high = self->logged_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (self->logged[middle] >> 32 < first) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    uint32_t logged = 0;
    for (; low < self->logged_count && self->logged[low] >> 32 < first + count; low++) {
        uint64_t entry = self->logged[low];
        /* The last frame of a page counts. */
        if (low + 1 < self->logged_count && self->logged[low + 1] >> 32 == entry >> 32) {
            continue;
        }
        int64_t offset = LOG_HEAD + (int64_t) (uint32_t) entry * (FRAME_HEAD + PAGE) + FRAME_HEAD;
        if (pages->read(pages->log, out + ((uint32_t) (entry >> 32) - first) * PAGE, PAGE, offset) != 0) {
            return false;
        }
        logged++;
    }
    /* The file may end before a page that it will get from the log; a page of others may lie between two that are read. */
    return code == 0 || (code > 0 && (count > 1 || logged > 0));
}

/* The page below a cell, which comes before it. */
static uint32_t child(const struct level *level, uint32_t place)
{
    uint32_t at = place < level->cells ? page_short(level->page + 12 + 2 * place) : 8;
    return at <= PAGE - 4 ? page_number(level->page + at) : 0;
}

/* The page that the walk goes down to. Those that come after it are read with it where they stand behind it. */
static const uint8_t *read_child(platform_tree *self, uint32_t page)
{
    if (page - self->run_first >= self->run_count) {
        uint32_t last = page;
        if (self->depth > 0) {
            const struct level *level = &self->levels[self->depth - 1];
            for (uint32_t place = (level->step + 1) / 2; place <= level->cells; place++) {
                uint32_t next = child(level, place);
                if (next <= last || next - last > GAP_MAX + 1 || next - page >= RUN) {
                    break;
                }
                last = next;
            }
        }
        self->run_count = 0;
        if (!read_pages(self, page, last - page + 1, self->run)) {
            return NULL;
        }
        self->run_first = page;
        self->run_count = last - page + 1;
    }
    return self->run + (page - self->run_first) * PAGE;
}

/* MARK: Rows */

/* Whether a row of the leaf may be looked for. */
FAST static bool may_have(const platform_tree *self, const uint8_t *page, uint32_t cells)
{
    if (self->needle == NULL) {
        return true;
    }
    for (uint32_t cell = 0; cell < cells; cell++) {
        uint32_t at = page_short(page + 8 + 2 * cell);
        if (at > PAGE - 4) {
            return true;
        }
        uint32_t bytes = page[at] < 0x80 ? page[at] : page[at + 1] < 0x80 ? (page[at] & 0x7Fu) << 7 | page[at + 1] : PAGE;
        if (bytes > PAGE_KEYS_LOCAL_MAX) {
            return true;
        }
    }
    uint32_t start = page_short(page + 5);
    return start > PAGE || platform_may_contain(page + start, PAGE - start, self->needle, self->needle_bytes);
}

/* The whole of a row of which the page has the beginning; NULL: it can't be read. */
static const uint8_t *gather(platform_tree *self, const uint8_t *at, size_t bytes, size_t local)
{
    if (bytes > PAYLOAD_MAX) {
        return NULL;
    }
    if (bytes > self->payload_room) {
        free(self->payload);
        self->payload = malloc(bytes);
        self->payload_room = self->payload != NULL ? bytes : 0;
        if (self->payload == NULL) {
            return NULL;
        }
    }
    memcpy(self->payload, at, local);
    uint32_t next = page_number(at + local);
    while (local < bytes) {
        size_t part = bytes - local < PAGE - 4 ? bytes - local : PAGE - 4;
        if (!read_pages(self, next, 1, self->overflow)) {
            return NULL;
        }
        memcpy(self->payload + local, self->overflow + 4, part);
        local += part;
        next = page_number(self->overflow);
    }
    return self->payload;
}

/* Columns of `item`. */
enum { HASH, SORT, MODEL, TIME, WRITER, POSITION, JSON, COLUMNS };

/* Reads a row. 1: it is one of those that are looked for; 0: it is not; -1: it is none. */
FAST static int read_row(const platform_tree *self, const uint8_t *record, size_t bytes, platform_row *row)
{
    const uint8_t *end = record + bytes;
    uint64_t head, types[COLUMNS];
    const uint8_t *values[COLUMNS];
    size_t at = page_varint(record, end, &head);
    if (at == 0 || head > bytes) {
        return -1;
    }
    const uint8_t *value = record + head;
    for (int column = 0; column < COLUMNS; column++) {
        size_t taken = page_varint(record + at, record + head, &types[column]);
        uint64_t type = types[column];
        bool is_text = type >= 13 && type % 2 == 1;
        bool has_text = column == HASH || column == SORT || column == JSON;
        bool may_be_null = column == WRITER || column == POSITION;
        if (taken == 0 || is_text != has_text || (!is_text && (type == 7 || type > 9 || (type == 0 && !may_be_null)))) {
            return -1;
        }
        at += taken;
        uint64_t width = is_text ? (type - 13) / 2 : page_width(type);
        if (width > (uint64_t) (end - value)) {
            return -1;
        }
        values[column] = value;
        value += width;
    }
    if (page_integer(values[MODEL], types[MODEL]) != self->model) {
        return 0;
    }
    row->json = values[JSON];
    row->json_bytes = (size_t) (types[JSON] - 13) / 2;
    if (self->needle != NULL && !platform_may_contain(row->json, row->json_bytes, self->needle, self->needle_bytes)) {
        return 0;
    }
    row->hash = values[HASH];
    row->hash_bytes = (size_t) (types[HASH] - 13) / 2;
    row->sort = values[SORT];
    row->sort_bytes = (size_t) (types[SORT] - 13) / 2;
    row->time = (uint64_t) page_integer(values[TIME], types[TIME]);
    row->writer = (uint64_t) page_integer(values[WRITER], types[WRITER]);
    row->has_writer = types[WRITER] != 0;
    return 1;
}

/* As read_row(), of a cell that begins at `at` in a page. */
static int read_cell(platform_tree *self, const uint8_t *page, size_t at, platform_row *row)
{
    const uint8_t *end = page + PAGE;
    uint64_t bytes;
    size_t taken = at < PAGE ? page_varint(page + at, end, &bytes) : 0;
    if (taken == 0 || bytes > PAYLOAD_MAX) {
        return -1;
    }
    const uint8_t *record = page + at + taken;
    size_t local = page_local((size_t) bytes, PAGE_KEYS_LOCAL_MAX);
    if (local + (local < bytes ? 4 : 0) > (size_t) (end - record)) {
        return -1;
    }
    if (local < bytes) {
        record = gather(self, record, (size_t) bytes, local);
    }
    return record != NULL ? read_row(self, record, (size_t) bytes, row) : -1;
}

/* MARK: The walk */

/* Goes down to a page. */
static bool enter(platform_tree *self, uint32_t number)
{
    const uint8_t *page = read_child(self, number);
    if (page == NULL) {
        return false;
    }
    uint32_t cells = page_short(page + 3);
    if (page[0] == PAGE_KEYS && 8 + 2 * cells <= PAGE) {
        self->leaf = page;
        self->leaf_cell = 0;
        self->leaf_cells = may_have(self, page, cells) ? cells : 0;
        return true;
    }
    if (page[0] != PAGE_KEYS_ABOVE || 12 + 2 * cells > PAGE || self->depth == DEPTH_MAX) {
        return false;
    }
    struct level *level = &self->levels[self->depth++];
    memcpy(level->page, page, PAGE);
    level->cells = cells;
    level->step = 0;
    return true;
}

static int next_row(platform_tree *self, platform_row *row)
{
    while (true) {
        int code = 0;
        if (self->leaf_cell < self->leaf_cells) {
            uint32_t at = page_short(self->leaf + 8 + 2 * self->leaf_cell++);
            code = read_cell(self, self->leaf, at, row);
        } else if (self->depth == 0) {
            return 0;
        } else {
            struct level *level = &self->levels[self->depth - 1];
            uint32_t step = level->step++;
            if (step > 2 * level->cells) {
                self->depth--;
            } else if (step % 2 == 0) {
                code = enter(self, child(level, step / 2)) ? 0 : -1;
            } else {
                code = read_cell(self, level->page, page_short(level->page + 12 + 2 * (step / 2)) + 4, row);
            }
        }
        if (code != 0) {
            return code;
        }
    }
}

int platform_tree_next(platform_tree *self, platform_row *row)
{
    int code = next_row(self, row);
    if (code > 0 && row->hash_bytes <= KEY_MAX && row->sort_bytes <= KEY_MAX) {
        self->last_hash = row->hash_bytes;
        self->last_sort = row->sort_bytes;
        self->has_last = true;
        memcpy(self->last, row->hash, row->hash_bytes);
        memcpy(self->last + KEY_MAX, row->sort, row->sort_bytes);
        return 1;
    }
    if (code != 0) {
        row->hash = self->has_last ? self->last : NULL;
        row->hash_bytes = self->last_hash;
        row->sort = self->last + KEY_MAX;
        row->sort_bytes = self->last_sort;
        code = -1;
    }
    return code;
}

/* Whether the file is as the library makes it: the size of its pages, none of which keeps room for others, and UTF-8. */
static bool is_known(const uint8_t *head)
{
    return page_short(head + 16) == PAGE && head[20] == 0 && page_number(head + 56) == 1;
}

platform_tree *platform_tree_open(const platform_pages *pages, uint32_t root, int64_t model, const void *needle,
                                  size_t needle_bytes)
{
    platform_tree *self = malloc(sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    memset(self, 0, offsetof(platform_tree, levels));
    self->pages = *pages;
    self->model = model;
    self->needle_bytes = needle_bytes;
    if (needle != NULL) {
        self->needle = malloc(needle_bytes + 1);
        if (self->needle != NULL) {
            memcpy(self->needle, needle, needle_bytes);
        }
    }
    if ((needle != NULL && self->needle == NULL) || !read_index(self) || !read_pages(self, 1, 1, self->overflow)
        || !is_known(self->overflow) || !enter(self, root)) {
        platform_tree_close(self);
        return NULL;
    }
    return self;
}

void platform_tree_close(platform_tree *self)
{
    if (self != NULL) {
        free(self->needle);
        free(self->logged);
        free(self->payload);
        free(self);
    }
}
