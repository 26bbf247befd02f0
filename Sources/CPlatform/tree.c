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
#include "pages.h"
#include "platform.h"

enum {
    RUN = 16,       /* pages that are read at a time */
    GAP_MAX = 2,    /* pages of others that are read with them */
    DEPTH_MAX = 20, /* as SQLite has it */
    KEY_MAX = 1024,
};

struct level {
    /* 2 * i: the page below cell i, which comes before it; 2 * i + 1: the cell. */
    uint32_t step, cells;
    uint8_t page[PAGE];
};

struct platform_tree {
    pages pages;
    int64_t model;
    uint8_t *needle;
    size_t needle_bytes;
    /* Key of the last row that was given. */
    uint8_t last[2 * KEY_MAX];
    size_t last_hash, last_sort;
    bool has_last;
    const uint8_t *leaf;
    uint32_t leaf_cell, leaf_cells;
    uint32_t run_first, run_count;
    int depth;
    struct level levels[DEPTH_MAX];
    uint8_t run[RUN * PAGE];
};

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
        if (!pages_read(&self->pages, page, last - page + 1, self->run)) {
            return NULL;
        }
        self->run_first = page;
        self->run_count = last - page + 1;
    }
    return self->run + (page - self->run_first) * PAGE;
}

/* Whether a row of the leaf may be looked for. */
FAST static bool may_have(const platform_tree *self, const uint8_t *page, uint32_t cells)
{
    if (self->needle == NULL) {
        return true;
    }
    uint32_t start = page_short(page + 5);
    for (uint32_t cell = 0; cell < cells; cell++) {
        uint32_t at = page_short(page + 8 + 2 * cell);
        if (at < start || at > PAGE - 4) {
            return true;
        }
        uint32_t bytes = page[at] < 0x80 ? page[at] : page[at + 1] < 0x80 ? (page[at] & 0x7Fu) << 7 | page[at + 1] : PAGE;
        if (bytes > PAGE_KEYS_LOCAL_MAX) {
            return true;
        }
    }
    return start > PAGE || platform_may_contain(page + start, PAGE - start, self->needle, self->needle_bytes);
}

/* Reads a row. 1: it is one of those that are looked for; 0: it is not; -1: it can't be read. */
FAST static int read_row(platform_tree *self, const uint8_t *page, size_t first, size_t at, platform_row *row)
{
    cell cell;
    if (!cell_find(page, first, at, &cell) || !cell_gather(&self->pages, &cell) || !cell_read(&cell, row)) {
        return -1;
    }
    return row->model == self->model
        && (self->needle == NULL || platform_may_contain(row->json, row->json_bytes, self->needle, self->needle_bytes));
}

/* Goes down to a page. */
static bool enter(platform_tree *self, uint32_t number)
{
    const uint8_t *page = read_child(self, number);
    if (page == NULL) {
        return false;
    }
    uint32_t cells = page_short(page + 3);
    /* Only a tree without rows has a page without. */
    if (cells == 0 && self->depth > 0) {
        return false;
    }
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
            code = read_row(self, self->leaf, 8 + 2 * self->leaf_cells, at, row);
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
                code = read_row(self, level->page, 12 + 2 * level->cells, page_short(level->page + 12 + 2 * (step / 2)) + 4, row);
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

platform_tree *platform_tree_open(const platform_pages *files, uint32_t root, int64_t model, const void *needle,
                                  size_t needle_bytes)
{
    platform_tree *self = malloc(sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    memset(self, 0, offsetof(platform_tree, levels));
    self->model = model;
    self->needle_bytes = needle_bytes;
    if (needle != NULL) {
        self->needle = malloc(needle_bytes + 1);
        if (self->needle != NULL) {
            memcpy(self->needle, needle, needle_bytes);
        }
    }
    if (!pages_open(&self->pages, files) || (needle != NULL && self->needle == NULL) || !enter(self, root)) {
        platform_tree_close(self);
        return NULL;
    }
    return self;
}

void platform_tree_close(platform_tree *self)
{
    if (self != NULL) {
        pages_close(&self->pages);
        free(self->needle);
        free(self);
    }
}
