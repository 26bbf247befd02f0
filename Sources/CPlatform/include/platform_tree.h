/* Reads rows of the table `item` from the pages of its tree, beside SQLite and of a snapshot that SQLite holds. */
#ifndef IOTO_PLATFORM_TREE_H
#define IOTO_PLATFORM_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The pages of a snapshot, for as long as SQLite's reader holds it: those of the frames `moved` + 1 to `frames` stand in the
 * log, all others in the database file. */
typedef struct platform_pages {
    /* Read from a file. 0: all bytes are read; 1: the file has no more, and zeros stand in their place; -1: it failed. */
    int (*read)(void *file, void *out, int bytes, int64_t offset);
    /* A block of the log's index, which the processes share; NULL: it can't be had. */
    const void *(*index)(void *database, int block);
    void *database, *log;
    uint32_t frames, moved;
} platform_pages;

typedef struct platform_row {
    const uint8_t *hash, *sort, *json;
    size_t hash_bytes, sort_bytes, json_bytes;
    int64_t model, position;
    uint64_t time, writer;
    bool has_writer, has_position;
} platform_row;

/* A walk over the rows of a model, in the order of their keys. With a needle, over those alone whose JSON has it in it, or a
 * backslash. */
typedef struct platform_tree platform_tree;
/* NULL when that can't be done: memory is short, or the file or the log is not as the library makes it. The needle is copied;
 * NULL: none. */
platform_tree *platform_tree_open(const platform_pages *pages, uint32_t root, int64_t model, const void *needle,
                                  size_t needle_bytes);
/* Go to the next row, which stays until the next call. 1: there is one; 0: there is none; -1: what comes behind the last one, of
 * which `row` then has the key, or NULL, has to be read in another way: an error, which that will tell. */
int platform_tree_next(platform_tree *tree, platform_row *row);
void platform_tree_close(platform_tree *tree);

/* Finds rows by their keys. It keeps the pages above the leaves, so that a row takes one read. */
typedef struct platform_lookup platform_lookup;
/* NULL when memory is short. At most `pages_max` pages are kept. */
platform_lookup *platform_lookup_new(uint32_t pages_max);
void platform_lookup_free(platform_lookup *lookup);
/* Turn to a snapshot, after which no page of the last one is known; false: as platform_tree_open(). */
bool platform_lookup_begin(platform_lookup *lookup, const platform_pages *pages, uint32_t root);
/* Find a row, which stays until the next call. 1: it is there; 0: it is not; -1: it can't be told here. */
int platform_lookup_find(platform_lookup *lookup, const void *hash, size_t hash_bytes, const void *sort, size_t sort_bytes,
                         platform_row *row);

#endif
