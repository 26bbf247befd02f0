/* Writes an item's JSON straight from pairs of C texts, where none of them has to be judged. */
#ifndef IOTO_PLATFORM_ITEM_H
#define IOTO_PLATFORM_ITEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    /* A text that stands in the item as it is, in quotes. */
    PLATFORM_FIELD_TEXT,
    /* A number of at most 18 digits, without an exponent. */
    PLATFORM_FIELD_NUMBER,
    /* true, false, 1 or 0. */
    PLATFORM_FIELD_BOOLEAN,
    /* Somebody else's: its value is given as JSON. */
    PLATFORM_FIELD_MADE,
    /* Is not in the item. */
    PLATFORM_FIELD_NONE,
    /* A text that is read, of a date as it is stored: 2026-11-20T23:40:48.312Z. */
    PLATFORM_FIELD_DATE
};

/* A field of a model. */
typedef struct platform_field {
    /* Not escaped, as its name need not be. */
    const char *name;
    size_t name_bytes;
    /* The only texts that are allowed, with a NUL behind each and one at the end; NULL: every one is. */
    const char *allowed;
    int32_t kind;
} platform_field;

/* What an item has in a field: a text that was given, or, when `made` is not 0, JSON that begins before that place of what
 * was made for the item; else nothing. */
typedef struct platform_given {
    const char *text;
    size_t made;
    size_t bytes;
    /* In a change: it has to be what the item has already. */
    bool is_fixed;
} platform_given;

/* Find the field of each pair. False when a name or a text is NULL, and when a name is no field's or is given twice. */
bool platform_item_match(const platform_field *fields, size_t count, const char *const *texts, size_t text_count,
                         platform_given *values);
/* Bytes that the values take at most, in an item of nothing else. */
size_t platform_item_bytes(const platform_field *fields, size_t count, const platform_given *values);
/* Write the item. Returns its bytes; 0 when a text is not of its field's kind, or has to be escaped. `is_ascii`: no byte is
 * beyond ASCII. */
size_t platform_item_write(const platform_field *fields, size_t count, const platform_given *values, const char *made,
                           char *out, bool *is_ascii);
/* Write an item with values in the place of those that it has. The item is as this library writes it, its fields in their
 * order and then others. Returns the bytes, at most those of the item and of platform_item_bytes(); 0 as above, when the item
 * lacks one of the fields, and when it is not so written. */
size_t platform_item_update(const platform_field *fields, size_t count, const platform_given *values, const char *made,
                            const char *item, size_t item_bytes, char *out, bool *is_ascii);
/* Read the members of an item that stand between `at` and `limit` as this library writes them: without spaces, names in the
 * fields' order, texts without escapes, each value of its field's kind. `values` gets where they are: of a text what is between
 * its quotes. Returns the place of the bracket that closes the item, NULL when it is not so written. */
const char *platform_item_read(const platform_field *fields, size_t count, const char *at, const char *limit,
                               platform_given *values, bool *is_ascii);

#endif
