#include "pages.h"

#include <stdlib.h>
#include <string.h>

#include "fast.h"

enum {
    PAYLOAD_MAX = 2 * 1024 * 1024,
    FRAMES_MAX = 8192, /* frames of the log that are kept in mind */
    /* Of the log, its frames and its index (sqlite.org/walformat.html, 1.2, 1.3 and 2.2). */
    LOG_HEAD = 32,
    FRAME_HEAD = 24,
    INDEX_HEAD = 34,
    INDEX_BLOCK = 4096,
};

static int compare_logged(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *) a, right = *(const uint64_t *) b;
    return left < right ? -1 : left > right;
}

/* Finds out which pages stand in the log. */
static bool read_index(pages *self)
{
    const platform_pages *pages = &self->files;
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
bool pages_read(const pages *self, uint32_t first, uint32_t count, uint8_t *out)
{
    const platform_pages *pages = &self->files;
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

/* Whether the file is as the library makes it: the size of its pages, none of which keeps room for others, and UTF-8. */
static bool is_known(const uint8_t *head)
{
    return page_short(head + 16) == PAGE && head[20] == 0 && page_number(head + 56) == 1;
}

bool pages_open(pages *self, const platform_pages *files)
{
    self->files = *files;
    self->logged = NULL;
    self->logged_count = 0;
    self->payload = NULL;
    self->payload_room = 0;
    return read_index(self) && pages_read(self, 1, 1, self->overflow) && is_known(self->overflow);
}

void pages_close(pages *self)
{
    free(self->logged);
    free(self->payload);
    self->logged = NULL;
    self->payload = NULL;
}

/* MARK: Rows */

bool cell_find(const uint8_t *page, size_t first, size_t at, cell *out)
{
    const uint8_t *end = page + PAGE;
    uint64_t bytes;
    size_t taken = at >= first && at < PAGE ? page_varint(page + at, end, &bytes) : 0;
    if (taken == 0 || bytes > PAYLOAD_MAX) {
        return false;
    }
    out->record = page + at + taken;
    out->bytes = (size_t) bytes;
    out->local = page_local((size_t) bytes, PAGE_KEYS_LOCAL_MAX);
    return out->local + (out->local < out->bytes ? 4 : 0) <= (size_t) (end - out->record);
}

bool cell_gather(pages *self, cell *cell)
{
    size_t local = cell->local, bytes = cell->bytes;
    if (local == bytes) {
        return true;
    }
    if (bytes > self->payload_room) {
        free(self->payload);
        self->payload = malloc(bytes);
        self->payload_room = self->payload != NULL ? bytes : 0;
        if (self->payload == NULL) {
            return false;
        }
    }
    memcpy(self->payload, cell->record, local);
    uint32_t next = page_number(cell->record + local);
    while (local < bytes) {
        size_t part = bytes - local < PAGE - 4 ? bytes - local : PAGE - 4;
        if (!pages_read(self, next, 1, self->overflow)) {
            return false;
        }
        memcpy(self->payload + local, self->overflow + 4, part);
        local += part;
        next = page_number(self->overflow);
    }
    cell->record = self->payload;
    cell->local = bytes;
    return true;
}

/* Columns of `item`. */
enum { HASH, SORT, MODEL, TIME, WRITER, POSITION, JSON, COLUMNS };

FAST bool cell_read(const cell *cell, platform_row *row)
{
    const uint8_t *record = cell->record, *end = record + cell->bytes;
    uint64_t head, types[COLUMNS];
    const uint8_t *values[COLUMNS];
    size_t at = page_varint(record, end, &head);
    if (at == 0 || head > cell->bytes) {
        return false;
    }
    const uint8_t *value = record + head;
    for (int column = 0; column < COLUMNS; column++) {
        size_t taken = page_varint(record + at, record + head, &types[column]);
        uint64_t type = types[column];
        bool is_text = type >= 13 && type % 2 == 1;
        bool has_text = column == HASH || column == SORT || column == JSON;
        bool may_be_null = column == WRITER || column == POSITION;
        if (taken == 0 || is_text != has_text || (!is_text && (type == 7 || type > 9 || (type == 0 && !may_be_null)))) {
            return false;
        }
        at += taken;
        uint64_t width = is_text ? (type - 13) / 2 : page_width(type);
        if (width > (uint64_t) (end - value)) {
            return false;
        }
        values[column] = value;
        value += width;
    }
    /* Behind them there may be columns that nobody asks for here. All of them are as long as the row is. */
    while (at < head) {
        uint64_t type;
        size_t taken = page_varint(record + at, record + head, &type);
        uint64_t width = type >= 12 ? (type - 12) / 2 : page_width(type);
        if (taken == 0 || width > (uint64_t) (end - value)) {
            return false;
        }
        at += taken;
        value += width;
    }
    if (value != end) {
        return false;
    }
    row->hash = values[HASH];
    row->hash_bytes = (size_t) (types[HASH] - 13) / 2;
    row->sort = values[SORT];
    row->sort_bytes = (size_t) (types[SORT] - 13) / 2;
    row->json = values[JSON];
    row->json_bytes = (size_t) (types[JSON] - 13) / 2;
    row->model = page_integer(values[MODEL], types[MODEL]);
    row->time = (uint64_t) page_integer(values[TIME], types[TIME]);
    row->writer = (uint64_t) page_integer(values[WRITER], types[WRITER]);
    row->position = page_integer(values[POSITION], types[POSITION]);
    row->has_writer = types[WRITER] != 0;
    row->has_position = types[POSITION] != 0;
    return true;
}
