#define _GNU_SOURCE
#include "platform.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fast.h"

/* A place at which the part may begin has two of its bytes where they belong, which those beside a text's quotes seldom
 * have by chance. For texts as short as items are this is several times faster than memmem(). */
FAST bool platform_contains(const void *whole, size_t whole_bytes, const void *part, size_t part_bytes)
{
    if (part_bytes < 2) {
        return part_bytes == 0 || memchr(whole, *(const uint8_t *) part, whole_bytes) != NULL;
    }
    if (whole_bytes < part_bytes) {
        return false;
    }
    const uint8_t *at = whole, *wanted = part;
    size_t first = part_bytes > 3 ? 1 : 0, second = part_bytes - 1 - first, left = whole_bytes - part_bytes + 1;
    const places first_all = ALL(wanted[first]), second_all = ALL(wanted[second]);
    while (left > 0) {
        size_t step = left < sizeof(places) ? left : sizeof(places);
        if (step == sizeof(places)) {
            places firsts, seconds;
            memcpy(&firsts, at + first, sizeof firsts);
            memcpy(&seconds, at + second, sizeof seconds);
            places differences = (firsts ^ first_all) | (seconds ^ second_all);
            if (!HAS_ZERO(differences)) {
                at += step;
                left -= step;
                continue;
            }
        }
        left -= step;
        for (; step > 0; step--, at++) {
            if (at[first] == wanted[first] && at[second] == wanted[second] && memcmp(at, part, part_bytes) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* Texts with escapes are few: their backslashes are looked for in the same pass. */
FAST bool platform_may_contain(const void *whole, size_t whole_bytes, const void *part, size_t part_bytes)
{
    const uint8_t *at = whole;
    size_t left = whole_bytes;
#ifdef HAS_VECTORS
    enum { STEPS = 4, STRIDE = STEPS * sizeof(places) };
    const uint8_t *wanted = part;
    size_t first = part_bytes > 3 ? 1 : 0, second = part_bytes - 1 - first;
    if (part_bytes >= 2 && left >= part_bytes + STRIDE) {
        const places first_all = ALL(wanted[first]), second_all = ALL(wanted[second]), slash_all = ALL('\\');
        if (*at == '\\') {
            return true;
        }
        for (; left >= part_bytes + STRIDE - 1; at += STRIDE, left -= STRIDE) {
            places hits = ALL(0);
#pragma GCC unroll 4
            for (size_t step = 0; step < STEPS; step++) {
                places firsts, seconds;
                memcpy(&firsts, at + first + step * sizeof firsts, sizeof firsts);
                memcpy(&seconds, at + second + step * sizeof seconds, sizeof seconds);
                hits |= ((places) (firsts == first_all) & (places) (seconds == second_all)) | (places) (firsts == slash_all);
            }
            if (!HAS_ANY(hits)) {
                continue;
            }
            for (size_t place = 0; place < STRIDE; place++) {
                if (at[first + place] == '\\' ||
                    (at[first + place] == wanted[first] && memcmp(at + place, part, part_bytes) == 0)) {
                    return true;
                }
            }
        }
    }
#endif
    return platform_contains(at, left, part, part_bytes) || memchr(at, '\\', left) != NULL;
}

FAST size_t platform_copy_ascii(void *out, size_t room, const char *text)
{
    size_t bytes = strlen(text);
    if (bytes > room) {
        return 0;
    }
    uint8_t seen = 0;
    for (size_t at = 0; at < bytes; at++) {
        seen |= (uint8_t) text[at];
    }
    memcpy(out, text, bytes);
    return seen < 0x80 ? bytes : 0;
}

int platform_compare(const void *a, const void *b, size_t bytes) { return memcmp(a, b, bytes); }

size_t platform_length(const char *text) { return strlen(text); }

bool platform_equal(const char *a, const char *b) { return strcmp(a, b) == 0; }

/* The nibbles of 8 digits, one a byte, the first one highest; false: some are none. */
FAST static bool hex_nibbles(const uint8_t *digits, uint64_t *out)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t text;
    memcpy(&text, digits, sizeof text);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    text = __builtin_bswap64(text);
#endif
    /* Bit 6 tells the letters, which stand 39 above where the digits would go on: what it comes to, written again, is the text. */
    uint64_t nibbles = (text & 0x0F * ones) + (text >> 6 & ones) * 9;
    uint64_t letters = (nibbles + 6 * ones) >> 4 & ones;
    *out = nibbles;
    return (nibbles & 0xF0 * ones) == 0 && nibbles + '0' * ones + letters * 39 == text;
}

static uint32_t hex_joined(uint64_t nibbles)
{
    nibbles = (nibbles | nibbles >> 4) & 0x00FF00FF00FF00FFu;
    nibbles = (nibbles | nibbles >> 8) & 0x0000FFFF0000FFFFu;
    return (uint32_t) (nibbles | nibbles >> 16);
}

FAST bool platform_hexadecimal(const void *digits, uint64_t *out)
{
    uint64_t high, low;
    if (!hex_nibbles(digits, &high) || !hex_nibbles((const uint8_t *) digits + 8, &low)) return false;
    *out = (uint64_t) hex_joined(high) << 32 | hex_joined(low);
    return true;
}

FAST static uint64_t hash_bytes(uint64_t state, const uint8_t *at, size_t bytes)
{
    state ^= bytes;
    while (bytes > 0) {
        uint64_t word = 0;
        size_t step = bytes < sizeof word ? bytes : sizeof word;
        memcpy(&word, at, step);
        state = (state ^ word) * 0x9E3779B97F4A7C15u;
        state ^= state >> 29;
        at += step;
        bytes -= step;
    }
    return state;
}

FAST uint32_t platform_hash(uint64_t seed, const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
    uint64_t state = hash_bytes(hash_bytes(seed, a, a_bytes), b, b_bytes);
    return (uint32_t) (state ^ (state >> 32));
}

/* The locale of numbers in JSON, whatever the firmware has set; none without memory for it. */
static locale_t number_locale(void)
{
    static locale_t c_locale = (locale_t) 0;
    locale_t locale = __atomic_load_n(&c_locale, __ATOMIC_ACQUIRE);
    if (locale == (locale_t) 0) {
        locale = newlocale(LC_ALL_MASK, "C", (locale_t) 0);
        locale_t none = (locale_t) 0;
        if (locale != none && !__atomic_compare_exchange_n(&c_locale, &none, locale, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            freelocale(locale);
            locale = none;
        }
    }
    return locale;
}

int platform_format_double(double value, char *out)
{
    locale_t locale = number_locale(), former = locale == (locale_t) 0 ? locale : uselocale(locale);
    int length = 0;
    for (int digits = 15; digits <= 17; digits++) {
        length = snprintf(out, 32, "%.*g", digits, value);
        if (strtod(out, NULL) == value) {
            break;
        }
    }
    if (locale != (locale_t) 0) {
        uselocale(former);
    }
    return length;
}

double platform_parse_double(const char *text)
{
    locale_t locale = number_locale();
    return locale == (locale_t) 0 ? strtod(text, NULL) : strtod_l(text, NULL, locale);
}
