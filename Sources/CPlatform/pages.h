/* Pages of a snapshot, and the rows of `item` in them. */
#ifndef IOTO_PAGES_H
#define IOTO_PAGES_H

#include "page.h"
#include "platform_tree.h"

typedef struct pages {
    platform_pages files;
    /* Pages that stand in the log, in order: the number of the page above that of the frame. */
    uint64_t *logged;
    size_t logged_count;
    /* A row that has pages of its own, and one of these. */
    uint8_t *payload;
    size_t payload_room;
    uint8_t overflow[PAGE];
} pages;

/* False when memory is short, or file or log are not as the library makes them. To be closed in any case. */
bool pages_open(pages *self, const platform_pages *files);
void pages_close(pages *self);
bool pages_read(const pages *self, uint32_t first, uint32_t count, uint8_t *out);

/* A row where it stands. */
typedef struct cell {
    const uint8_t *record;
    /* `local` of them stand in the page. */
    size_t bytes, local;
} cell;
/* Find the row that begins at a place of a page, whose first one may begin at `first`; false: there is none. */
bool cell_find(const uint8_t *page, size_t first, size_t at, cell *out);
/* Get all of a row together; false: it can't be read. */
bool cell_gather(pages *self, cell *cell);
/* Read a row that is together; false: it is not one of `item`. */
bool cell_read(const cell *cell, platform_row *row);

#endif
