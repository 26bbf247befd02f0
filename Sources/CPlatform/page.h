/* What a page of a database file of the library is made of (sqlite.org/fileformat2.html, 1.6 and 2.1). */
#ifndef IOTO_PAGE_H
#define IOTO_PAGE_H

#include <stddef.h>
#include <stdint.h>

enum {
    PAGE = 4096,
    /* Kinds of pages: of a table WITHOUT ROWID or an index, and of another table. */
    PAGE_KEYS_ABOVE = 0x02,
    PAGE_ROWS_ABOVE = 0x05,
    PAGE_KEYS = 0x0A,
    PAGE_ROWS = 0x0D,
    /* What of a row the page has at most where keys are, and at least, when the rest stands in pages of its own. */
    PAGE_KEYS_LOCAL_MAX = (PAGE - 12) * 64 / 255 - 23,
    PAGE_ROWS_LOCAL_MAX = PAGE - 35,
    PAGE_LOCAL_MIN = (PAGE - 12) * 32 / 255 - 23,
};

static inline uint32_t page_short(const uint8_t *at) { return (uint32_t) at[0] << 8 | at[1]; }

static inline uint32_t page_number(const uint8_t *at) { return page_short(at) << 16 | page_short(at + 2); }

/* Returns the bytes taken, 0 when there are too few. */
static inline size_t page_varint(const uint8_t *at, const uint8_t *end, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < 9 && at + i < end; i++) {
        if (i == 8) {
            *out = value << 8 | at[i];
            return 9;
        }
        value = value << 7 | (at[i] & 0x7F);
        if (at[i] < 0x80) {
            *out = value;
            return i + 1;
        }
    }
    return 0;
}

/* Bytes of a row that stand in its page. */
static inline size_t page_local(size_t bytes, size_t local_max)
{
    if (bytes <= local_max) {
        return bytes;
    }
    size_t local = PAGE_LOCAL_MIN + (bytes - PAGE_LOCAL_MIN) % (PAGE - 4);
    return local <= local_max ? local : PAGE_LOCAL_MIN;
}

/* Bytes of a number of a type that is no text and no blob. */
static inline size_t page_width(uint64_t type)
{
    static const uint8_t widths[] = {0, 1, 2, 3, 4, 6, 8};
    return type < sizeof widths ? widths[type] : 0;
}

/* A number of that type: NULL and 0 are 0. */
static inline int64_t page_integer(const uint8_t *at, uint64_t type)
{
    size_t width = page_width(type);
    if (width == 0) {
        return type == 9;
    }
    uint64_t bits = at[0] & 0x80 ? ~UINT64_C(0) : 0;
    for (size_t i = 0; i < width; i++) {
        bits = bits << 8 | at[i];
    }
    return (int64_t) bits;
}

#endif
