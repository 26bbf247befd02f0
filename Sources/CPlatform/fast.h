/* The library is built for size; this is for what every item goes through. */
#ifndef IOTO_FAST_H
#define IOTO_FAST_H

#include <stdint.h>

#if defined(__GNUC__) && !defined(__clang__)
#define FAST __attribute__((optimize("O2")))
#else
#define FAST
#endif

/* Places that are looked at together. */
#if defined(__SSE2__) || defined(__aarch64__)
#define HAS_VECTORS 1
typedef uint8_t places __attribute__((vector_size(16)));
typedef uint64_t words __attribute__((vector_size(16)));
#define ALL(byte) ((places){0} + (byte))
#define HAS_ANY(bytes) ((((words) (bytes))[0] | ((words) (bytes))[1]) != 0)
#define HAS_ZERO(bytes) HAS_ANY((bytes) == 0)
#else
typedef uint64_t places;
#define ONES UINT64_C(0x0101010101010101)
#define ALL(byte) (ONES * (byte))
#define HAS_ZERO(bytes) ((((bytes) - ONES) & ~(bytes) & (ONES << 7)) != 0)
#endif

#endif
