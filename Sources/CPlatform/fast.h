/* The library is built for size; this is for what every item goes through. */
#ifndef IOTO_FAST_H
#define IOTO_FAST_H

#if defined(__GNUC__) && !defined(__clang__)
#define FAST __attribute__((optimize("O2")))
#else
#define FAST
#endif

#endif
