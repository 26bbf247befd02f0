/* Reads the rows of a damaged database file of the library, page by page, without the trees that lead to them
 * (sqlite.org/fileformat2.html): a row is lost when its own page is, and not with one above it. To which table a page belongs
 * is told by the pages above it and once more by the pointer map, which also tells the pages that hold only what was removed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "page.h"
#include "platform.h"

#define DEPTH_MAX 24
#define COLUMNS_MAX 11
#define PAYLOAD_MAX (1024 * 1024)
/* A page of the pointer map, and the pages that it is of. */
#define MAP_SPAN (PAGE / 5 + 1)
/* Pages of no table: free ones and roots, and those that lie behind a row. */
#define IS_FREE 0xFFFFFFFFu
#define IS_OVERFLOW 0xFFFFFFFEu

/* The tables in the order of `platform_table`: their root pages, which never move, and the types of their columns: t text,
 * i whole number, n number or NULL, r row id; o a text or NULL, or not there. */
static const struct {
    uint32_t root;
    const char *types;
} tables[] = {{3, "ttiinnto"}, {4, "ttiinnto"}, {6, "rtt"}, {7, "rtt"}, {8, "rti"}, {11, "rittinititi"}, {12, "ti"}};
#define TABLES ((int) (sizeof tables / sizeof tables[0]))

struct salvage {
    const platform_file *file;
    uint32_t pages;
    uint32_t known; /* pages of which the file says something: it may lack its end */
    uint32_t *parents; /* of each; 0: not known */
    platform_row_proc row;
    void *context;
    uint32_t damaged;
    uint8_t page[PAGE];
    uint8_t payload[PAYLOAD_MAX];
};

static bool read_page(struct salvage *self, uint32_t page, uint8_t *out)
{
    return self->file->read(self->file->file, out, PAGE, (int64_t) (page - 1) * PAGE) == 0;
}

/* The table that a page belongs to: -1 none, -2 not to be told. */
static int table_of(const struct salvage *self, uint32_t page)
{
    for (int depth = 0; depth < DEPTH_MAX; depth++) {
        for (int i = 0; i < TABLES; i++) {
            if (tables[i].root == page) {
                return i;
            }
        }
        if (page <= 12) {
            return -1; /* another root */
        }
        page = self->parents[page];
        if (page == IS_FREE || page == IS_OVERFLOW) {
            return -1;
        }
        if (page == 0 || page > self->known) {
            return -2;
        }
    }
    return -2;
}

/* Hands over a row that is one of the table. */
static bool give(struct salvage *self, int table, int64_t row_id, const uint8_t *record, size_t bytes, bool *is_sound)
{
    platform_value values[COLUMNS_MAX] = {{0}};
    const char *types = tables[table].types;
    size_t count = strlen(types);
    uint64_t head, serial;
    size_t at = page_varint(record, record + bytes, &head);
    *is_sound = false;
    if (at == 0 || head > bytes) {
        return true;
    }
    size_t body = (size_t) head;
    for (size_t i = 0; i < count; i++) {
        bool is_optional = types[i] == 'o';
        if (is_optional && at == head) {
            values[i].is_null = true;
            break;
        }
        size_t taken = page_varint(record + at, record + head, &serial);
        platform_value *value = &values[i];
        if (taken == 0) {
            return true;
        }
        at += taken;
        bool is_text = serial >= 13 && serial % 2 == 1;
        uint64_t width = is_text ? (serial - 13) / 2 : page_width(serial);
        if (width > bytes - body || (!is_text && (serial == 7 || serial > 9))
            || (is_optional ? serial != 0 && !is_text : (types[i] == 't') != is_text)
            || (serial == 0 && types[i] != 'n' && types[i] != 'r' && !is_optional)) {
            return true;
        }
        value->is_null = serial == 0;
        if (is_text) {
            value->bytes = record + body;
            value->count = (size_t) width;
        } else {
            value->number = page_integer(record + body, serial);
        }
        if (types[i] == 'r') {
            value->number = row_id;
            value->is_null = false;
        }
        body += (size_t) width;
    }
    *is_sound = at == head && body == bytes;
    return !*is_sound || self->row(self->context, table, values, (int) count);
}

/* Returns the payload of a cell, NULL when it is damaged. */
static const uint8_t *payload(struct salvage *self, const uint8_t *at, size_t bytes, bool is_index)
{
    if (bytes > PAYLOAD_MAX) {
        return NULL;
    }
    size_t local = page_local(bytes, is_index ? PAGE_KEYS_LOCAL_MAX : PAGE_ROWS_LOCAL_MAX);
    const uint8_t *end = self->page + PAGE;
    if (local + (local < bytes ? 4 : 0) > (size_t) (end - at)) {
        return NULL;
    }
    if (local == bytes) {
        return at;
    }
    memcpy(self->payload, at, local);
    uint32_t next = page_number(at + local);
    while (local < bytes) {
        uint8_t page[PAGE];
        size_t part = bytes - local < PAGE - 4 ? bytes - local : PAGE - 4;
        if (next < 2 || next > self->pages || (self->parents[next] != 0 && self->parents[next] != IS_OVERFLOW)
            || !read_page(self, next, page)) {
            return NULL;
        }
        memcpy(self->payload + local, page + 4, part);
        local += part;
        next = page_number(page);
    }
    return self->payload;
}

/* Reads the rows of the page that has been read; false: the caller wants no more. */
static bool read_rows(struct salvage *self, int table)
{
    const uint8_t *page = self->page;
    bool is_index = tables[table].types[0] != 'r', is_leaf = page[0] == (is_index ? PAGE_KEYS : PAGE_ROWS);
    if (!is_leaf && page[0] != (is_index ? PAGE_KEYS_ABOVE : PAGE_ROWS_ABOVE)) {
        self->damaged |= 1u << table;
        return true;
    }
    size_t head = is_leaf ? 8 : 12, count = page_short(page + 3);
    bool is_sound = head + 2 * count <= PAGE;
    for (size_t i = 0; i < count && head + 2 * i + 2 <= PAGE; i++) {
        const uint8_t *end = page + PAGE, *at = page + page_short(page + head + 2 * i);
        bool is_cell = at >= page + head && at + 4 < end;
        if (is_cell && !is_leaf) {
            uint32_t child = page_number(at);
            is_cell = child > 1 && child <= self->pages;
            at += 4;
        }
        if (is_cell && (is_leaf || is_index)) {
            uint64_t bytes = 0, row_id = 0;
            size_t taken = page_varint(at, end, &bytes);
            const uint8_t *record = NULL;
            at += taken;
            if (taken > 0 && !is_index) {
                taken = page_varint(at, end, &row_id);
                at += taken;
            }
            if (taken > 0 && bytes <= PAYLOAD_MAX) {
                record = payload(self, at, (size_t) bytes, is_index);
            }
            is_cell = record != NULL;
            if (is_cell && !give(self, table, (int64_t) row_id, record, (size_t) bytes, &is_cell)) {
                return false;
            }
        }
        is_sound = is_sound && is_cell;
    }
    if (!is_leaf) {
        uint32_t last = page_number(page + 8);
        is_sound = is_sound && last > 1 && last <= self->pages;
    }
    if (!is_sound) {
        self->damaged |= 1u << table;
    }
    return true;
}

/* Learns which page stands above which, from the pointer map and where that is silent from the pages themselves. */
static void read_parents(struct salvage *self)
{
    uint8_t *page = self->page;
    for (uint32_t map = 2; map <= self->pages; map += MAP_SPAN) {
        self->parents[map] = IS_FREE;
        if (!read_page(self, map, page)) {
            continue;
        }
        for (uint32_t i = 0; i < MAP_SPAN - 1; i++) {
            uint8_t kind = page[5 * i];
            uint32_t parent = page_number(page + 5 * i + 1);
            self->parents[map + 1 + i] = kind == 1 || kind == 2 ? IS_FREE
                : kind == 3 || kind == 4           ? IS_OVERFLOW
                : kind == 5 && parent > 2          ? parent
                                               : 0;
        }
    }
    for (uint32_t above = 3; above <= self->pages; above++) {
        if (!read_page(self, above, page) || (page[0] != PAGE_KEYS_ABOVE && page[0] != PAGE_ROWS_ABOVE)) {
            continue;
        }
        size_t count = page_short(page + 3);
        for (size_t i = 0; i <= count && 14 + 2 * i <= PAGE; i++) {
            size_t at = i == count ? 8 : page_short(page + 12 + 2 * i);
            uint32_t child = at + 4 <= PAGE ? page_number(page + at) : 0;
            if (child > 2 && child <= self->pages && self->parents[child] == 0) {
                self->parents[child] = above;
            }
        }
    }
}

int platform_salvage(const platform_file *file, platform_row_proc row, void *context, uint32_t *out_damaged)
{
    *out_damaged = ~(uint32_t) 0;
    if (file->bytes / PAGE >= IS_OVERFLOW - MAP_SPAN) {
        return EFBIG;
    }
    struct salvage *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return ENOMEM;
    }
    self->file = file;
    self->pages = (uint32_t) (file->bytes / PAGE);
    self->row = row;
    self->context = context;
    self->known = self->pages + MAP_SPAN;
    self->parents = calloc((size_t) self->known + 1, sizeof *self->parents);
    int code = self->parents == NULL ? ENOMEM : 0;
    if (code == 0) {
        read_parents(self);
        for (int i = 0; i < TABLES; i++) {
            self->damaged |= tables[i].root > self->pages ? 1u << i : 0;
        }
        for (uint32_t page = 3; page <= self->pages; page++) {
            int table = table_of(self, page);
            if (table == -1) {
                continue;
            }
            if (table == -2 || !read_page(self, page, self->page)) {
                self->damaged = ~(uint32_t) 0;
            } else if (!read_rows(self, table)) {
                break;
            }
        }
        *out_damaged = self->damaged;
    }
    free(self->parents);
    free(self);
    return code;
}
