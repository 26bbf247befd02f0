/**
 * @file platform_zlib.h
 * Compression of messages by zlib, where the library is built with it (IOTO_ZLIB).
 */
#ifndef PLATFORM_ZLIB_H
#define PLATFORM_ZLIB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Whether there is zlib. */
bool platform_zlib(void);
/** Compress into `out`; the size, or 0 when it does not fit or can't be done. */
size_t platform_deflate(const uint8_t *in, size_t size, uint8_t *out, size_t capacity);
/** The reverse; 0 as well when `in` is no zlib stream that ends with its last byte. */
size_t platform_inflate(const uint8_t *in, size_t size, uint8_t *out, size_t capacity);

#endif /* PLATFORM_ZLIB_H */
