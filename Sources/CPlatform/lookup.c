#include <stdlib.h>
#include <string.h>

#include "fast.h"
#include "pages.h"

enum { DEPTH_MAX = 20, BUCKETS = 512, NONE = UINT16_MAX };

/* A page that is kept. */
struct kept {
    uint32_t page;
    uint16_t next;
    bool is_used;
};

struct platform_lookup {
    pages pages;
    uint32_t root;
    uint32_t kept_max, kept_count, hand;
    uint16_t buckets[BUCKETS];
    struct kept *kept;
    uint8_t *contents; /* of those */
    uint8_t page[PAGE];
};

platform_lookup *platform_lookup_new(uint32_t pages_max)
{
    platform_lookup *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    self->kept_max = pages_max < 1 ? 1 : pages_max < NONE ? pages_max : NONE - 1;
    self->kept = malloc(self->kept_max * sizeof *self->kept);
    /* The kernel gives what is used of it. */
    self->contents = malloc((size_t) self->kept_max * PAGE);
    if (self->kept == NULL || self->contents == NULL) {
        platform_lookup_free(self);
        return NULL;
    }
    return self;
}

void platform_lookup_free(platform_lookup *self)
{
    if (self != NULL) {
        pages_close(&self->pages);
        free(self->kept);
        free(self->contents);
        free(self);
    }
}

bool platform_lookup_begin(platform_lookup *self, const platform_pages *files, uint32_t root)
{
    pages_close(&self->pages);
    self->root = root;
    self->kept_count = 0;
    self->hand = 0;
    memset(self->buckets, 0xFF, sizeof self->buckets);
    return pages_open(&self->pages, files);
}

static uint16_t *bucket(platform_lookup *self, uint32_t page)
{
    return &self->buckets[page * UINT32_C(0x9E3779B9) >> 23];
}

/* The place of a page that gives way: the next that was not used since the hand passed it. */
static uint32_t give_way(platform_lookup *self)
{
    while (true) {
        uint32_t place = self->hand;
        struct kept *kept = &self->kept[place];
        self->hand = place + 1 < self->kept_max ? place + 1 : 0;
        if (kept->is_used) {
            kept->is_used = false;
            continue;
        }
        uint16_t *link = bucket(self, kept->page);
        while (*link != place) {
            link = &self->kept[*link].next;
        }
        *link = kept->next;
        return place;
    }
}

/* A page, which stays until the next one is asked for; NULL: it can't be read. */
static const uint8_t *get(platform_lookup *self, uint32_t page)
{
    uint16_t *first = bucket(self, page);
    for (uint16_t place = *first; place != NONE; place = self->kept[place].next) {
        if (self->kept[place].page == page) {
            self->kept[place].is_used = true;
            return self->contents + (size_t) place * PAGE;
        }
    }
    if (!pages_read(&self->pages, page, 1, self->page)) {
        return NULL;
    }
    if (self->page[0] == PAGE_KEYS_ABOVE) {
        uint32_t place = self->kept_count < self->kept_max ? self->kept_count++ : give_way(self);
        self->kept[place] = (struct kept) {page, *first, false};
        *first = (uint16_t) place;
        memcpy(self->contents + (size_t) place * PAGE, self->page, PAGE);
    }
    return self->page;
}

struct key {
    const uint8_t *hash, *sort;
    size_t hash_bytes, sort_bytes;
};

static int compare(const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes)
{
    size_t bytes = a_bytes < b_bytes ? a_bytes : b_bytes;
    int order = bytes > 0 ? memcmp(a, b, bytes) : 0;
    return order != 0 ? order : a_bytes < b_bytes ? -1 : a_bytes > b_bytes;
}

/* Compares a key with a row's; false: that can't be read. */
FAST static bool compare_cell(platform_lookup *self, const struct key *key, cell *cell, int *out)
{
    uint64_t head = 0, hash = 0, sort = 0;
    /* What of the row stands in the page most often has its key. */
    while (true) {
        const uint8_t *record = cell->record, *end = record + cell->local;
        size_t at = page_varint(record, end, &head);
        size_t hash_taken = page_varint(record + at, end, &hash);
        size_t sort_taken = page_varint(record + at + hash_taken, end, &sort);
        if (at == 0 || hash_taken == 0 || sort_taken == 0 || hash < 13 || hash % 2 == 0 || sort < 13 || sort % 2 == 0) {
            return false;
        }
        uint64_t hash_bytes = (hash - 13) / 2, sort_bytes = (sort - 13) / 2;
        if (head <= cell->bytes && hash_bytes <= cell->bytes && sort_bytes <= cell->bytes
            && head + hash_bytes + sort_bytes <= cell->local) {
            const uint8_t *text = record + head;
            *out = compare(key->hash, key->hash_bytes, text, (size_t) hash_bytes);
            if (*out == 0) {
                *out = compare(key->sort, key->sort_bytes, text + hash_bytes, (size_t) sort_bytes);
            }
            return true;
        }
        if (cell->local == cell->bytes || !cell_gather(&self->pages, cell)) {
            return false;
        }
    }
}

int platform_lookup_find(platform_lookup *self, const void *hash, size_t hash_bytes, const void *sort, size_t sort_bytes,
                         platform_row *row)
{
    struct key key = {hash, sort, hash_bytes, sort_bytes};
    uint32_t number = self->root;
    for (int depth = 0; depth <= DEPTH_MAX; depth++) {
        const uint8_t *page = number > 0 ? get(self, number) : NULL;
        bool is_leaf = page != NULL && page[0] == PAGE_KEYS;
        if (page == NULL || (!is_leaf && page[0] != PAGE_KEYS_ABOVE)) {
            return -1;
        }
        uint32_t head = is_leaf ? 8 : 12, low = 0, high = page_short(page + 3);
        uint32_t count = high, first = head + 2 * count;
        /* Only a tree without rows has a page without. */
        if (first > PAGE || (count == 0 && depth > 0)) {
            return -1;
        }
        while (low < high) {
            uint32_t middle = low + (high - low) / 2;
            cell cell;
            int order;
            if (!cell_find(page, first, page_short(page + head + 2 * middle) + (is_leaf ? 0 : 4), &cell)
                || !compare_cell(self, &key, &cell, &order)) {
                return -1;
            }
            if (order == 0) {
                return cell_gather(&self->pages, &cell) && cell_read(&cell, row) ? 1 : -1;
            }
            if (order < 0) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        if (is_leaf) {
            return 0;
        }
        uint32_t at = low < count ? page_short(page + 12 + 2 * low) : 8;
        number = at <= PAGE - 4 ? page_number(page + at) : 0;
    }
    return -1;
}
