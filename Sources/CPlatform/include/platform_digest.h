/* A hash that both ends of replication compute alike, of what an item is and not of how it is written. */
#ifndef IOTO_PLATFORM_DIGEST_H
#define IOTO_PLATFORM_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* SipHash-2-4 with 128 bits of output, under the key 00 01 .. 0f: the first eight bytes of it and the last, the lowest first. */
void platform_digest(const uint8_t *bytes, size_t count, uint64_t out[2]);

/* Add the hash of an item to `sum`, modulo 2^64 for each half. docs/SYNC-PROTOCOL.md, Digest, defines it.
 *
 * `name` is hashed in front of the item. `body` is its JSON object, with texts as the library writes them. `sets` has the names of
 * its properties that are sets, as JSON strings one after the other. Returns false when the body is not JSON. */
bool platform_digest_item(
    const uint8_t *name, size_t name_count, const uint8_t *body, size_t count, const uint8_t *sets, size_t sets_count, uint64_t sum[2]);

#endif
