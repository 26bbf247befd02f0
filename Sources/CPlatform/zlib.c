#include "platform_zlib.h"

#ifdef IOTO_ZLIB

#include <string.h>
#include <zlib.h>

/** A window of 16 KB and little state: batches are small, and so is the device. */
enum { LEVEL = 6, WINDOW_BITS = 14, MEMORY_LEVEL = 6 };

bool platform_zlib(void) { return true; }

size_t platform_deflate(const uint8_t *in, size_t size, uint8_t *out, size_t capacity)
{
    z_stream stream;
    memset(&stream, 0, sizeof stream);
    if (deflateInit2(&stream, LEVEL, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK) return 0;
    stream.next_in = (Bytef *) in;
    stream.avail_in = (uInt) size;
    stream.next_out = out;
    stream.avail_out = (uInt) capacity;
    int code = deflate(&stream, Z_FINISH);
    deflateEnd(&stream);
    return code == Z_STREAM_END ? capacity - stream.avail_out : 0;
}

size_t platform_inflate(const uint8_t *in, size_t size, uint8_t *out, size_t capacity)
{
    z_stream stream;
    memset(&stream, 0, sizeof stream);
    if (inflateInit(&stream) != Z_OK) return 0;
    stream.next_in = (Bytef *) in;
    stream.avail_in = (uInt) size;
    stream.next_out = out;
    stream.avail_out = (uInt) capacity;
    int code = inflate(&stream, Z_FINISH);
    size_t left = stream.avail_in;
    inflateEnd(&stream);
    return code == Z_STREAM_END && left == 0 ? capacity - stream.avail_out : 0;
}

#else

bool platform_zlib(void) { return false; }

size_t platform_deflate(const uint8_t *in, size_t size, uint8_t *out, size_t capacity)
{
    (void) in, (void) size, (void) out, (void) capacity;
    return 0;
}

size_t platform_inflate(const uint8_t *in, size_t size, uint8_t *out, size_t capacity)
{
    (void) in, (void) size, (void) out, (void) capacity;
    return 0;
}

#endif
