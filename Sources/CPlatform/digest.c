#include "platform.h"
#include "platform_digest.h"

#include <string.h>

/* Aumasson, Bernstein: SipHash, a fast short-input PRF (2012), with the finalization for 128 bits of its authors. */

typedef struct hasher {
    uint64_t v[4];
    uint64_t block;
    size_t count;
} hasher;

static uint64_t rotated(uint64_t word, int bits) { return word << bits | word >> (64 - bits); }

static void mix(hasher *hash, int rounds)
{
    uint64_t *v = hash->v;
    while (rounds-- > 0) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotated(v[1], 13) ^ v[0];
        v[3] = rotated(v[3], 16) ^ v[2];
        v[0] = rotated(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rotated(v[1], 17) ^ v[2];
        v[3] = rotated(v[3], 21) ^ v[0];
        v[2] = rotated(v[2], 32);
    }
}

static void begin(hasher *hash)
{
    const uint64_t low = 0x0706050403020100, high = 0x0f0e0d0c0b0a0908;
    *hash = (hasher){.v = {low ^ 0x736f6d6570736575, high ^ 0x646f72616e646f6d ^ 0xee, low ^ 0x6c7967656e657261,
                         high ^ 0x7465646279746573}};
}

static void feed(hasher *hash, uint8_t byte)
{
    hash->block |= (uint64_t) byte << 8 * (hash->count++ & 7);
    if (hash->count & 7) return;
    hash->v[3] ^= hash->block;
    mix(hash, 2);
    hash->v[0] ^= hash->block;
    hash->block = 0;
}

static void feed_all(hasher *hash, const uint8_t *bytes, size_t count)
{
    while (count-- > 0) feed(hash, *bytes++);
}

static void feed_number(hasher *hash, uint64_t number)
{
    for (int bits = 0; bits < 64; bits += 8) feed(hash, (uint8_t) (number >> bits));
}

/* Add what it comes to to `sum`. */
static void end(hasher *hash, uint64_t sum[2])
{
    const uint64_t *v = hash->v;
    uint8_t length = (uint8_t) hash->count;
    while ((hash->count & 7) != 7) feed(hash, 0);
    feed(hash, length);
    hash->v[2] ^= 0xee;
    mix(hash, 4);
    sum[0] += v[0] ^ v[1] ^ v[2] ^ v[3];
    hash->v[1] ^= 0xdd;
    mix(hash, 4);
    sum[1] += v[0] ^ v[1] ^ v[2] ^ v[3];
}

void platform_digest(const uint8_t *bytes, size_t count, uint64_t out[2])
{
    hasher hash;
    begin(&hash);
    feed_all(&hash, bytes, count);
    out[0] = out[1] = 0;
    end(&hash, out);
}

/* MARK: Items */

/* Deeper than the parser lets anything be. */
enum { DEPTH_MAX = 80, EXPONENT_MAX = 1000000 };

typedef struct reader_state {
    /* What is read next; NULL: it is not JSON. */
    const uint8_t *next, *end;
    const uint8_t *sets;
    size_t sets_count;
    int depth;
} reader_state;

static uint8_t peek(const reader_state *reader) { return reader->next != NULL && reader->next < reader->end ? *reader->next : 0; }

static bool take(reader_state *reader, uint8_t byte)
{
    if (peek(reader) != byte) return false;
    reader->next++;
    return true;
}

static bool is_digit(uint8_t byte) { return byte >= '0' && byte <= '9'; }

/* A text as it is written, its quotes included. */
static void read_text(reader_state *reader, hasher *hash)
{
    const uint8_t *start = reader->next;
    if (!take(reader, '"')) {
        reader->next = NULL;
        return;
    }
    while (peek(reader) != '"') {
        if (peek(reader) == 0) reader->next = NULL;
        if (reader->next == NULL) return;
        reader->next += *reader->next == '\\' ? 2 : 1;
    }
    reader->next++;
    feed_all(hash, start, (size_t) (reader->next - start));
}

/* Sign, digits without zeros at either end, and the exponent of ten: the same for every way to write the number. */
static void read_number(reader_state *reader, hasher *hash)
{
    bool is_negative = take(reader, '-'), is_started = false, is_fraction = false;
    int64_t exponent = 0, written = 0, zeros = 0;
    while (is_digit(peek(reader)) || peek(reader) == '.') {
        uint8_t byte = *reader->next++;
        if (byte == '.') {
            is_fraction = true;
            continue;
        }
        if (is_fraction) exponent--;
        zeros++;
        if (byte == '0') continue;
        if (!is_started && is_negative) feed(hash, '-');
        while (is_started && --zeros > 0) feed(hash, '0');
        zeros = 0;
        is_started = true;
        feed(hash, byte);
    }
    if (take(reader, 'e') || take(reader, 'E')) {
        bool is_small = take(reader, '-');
        if (!is_small) take(reader, '+');
        while (is_digit(peek(reader))) {
            if (written < EXPONENT_MAX) written = written * 10 + *reader->next - '0';
            reader->next++;
        }
        if (is_small) written = -written;
    }
    feed(hash, 'e');
    feed_number(hash, is_started ? (uint64_t) (exponent + zeros + written) : 0);
}

static void read_value(reader_state *reader, hasher *hash, bool is_set);

/* Members, or elements of a set: the sum of their hashes. */
static void read_unordered(reader_state *reader, hasher *hash, bool is_set)
{
    const uint8_t close = is_set ? ']' : '}';
    uint64_t sum[2] = {0, 0}, none[2] = {0, 0};
    reader->next++;
    if (!take(reader, close)) {
        do {
            hasher part;
            begin(&part);
            const uint8_t *name = reader->next;
            bool is_implied = false, is_set_of_item = false;
            if (!is_set) {
                read_text(reader, &part);
                if (!take(reader, ':')) reader->next = NULL;
                if (reader->next == NULL) return;
                feed(&part, ':');
                size_t count = (size_t) (reader->next - 1 - name);
                /* What every item of a stream has by being in it. */
                is_implied = reader->depth == 1 && (count == 10 ? memcmp(name, "\"deviceId\"", 10) == 0
                                                               : count == 11 && memcmp(name, "\"accountId\"", 11) == 0);
                is_set_of_item = reader->depth == 1 && reader->sets_count > 0 && peek(reader) == '['
                              && platform_contains(reader->sets, reader->sets_count, name, count);
            }
            read_value(reader, &part, is_set_of_item);
            end(&part, is_implied ? none : sum);
        } while (take(reader, ','));
        if (!take(reader, close)) reader->next = NULL;
    }
    feed(hash, is_set ? '(' : '{');
    feed_number(hash, sum[0]);
    feed_number(hash, sum[1]);
}

static void read_array(reader_state *reader, hasher *hash)
{
    reader->next++;
    feed(hash, '[');
    if (!take(reader, ']')) {
        do {
            read_value(reader, hash, false);
            feed(hash, ',');
        } while (take(reader, ','));
        if (!take(reader, ']')) reader->next = NULL;
    }
    feed(hash, ']');
}

static void read_value(reader_state *reader, hasher *hash, bool is_set)
{
    uint8_t byte = peek(reader);
    if (++reader->depth > DEPTH_MAX) reader->next = NULL;
    if (reader->next == NULL) {
    } else if (byte == '"') {
        read_text(reader, hash);
    } else if (byte == '{' || is_set) {
        read_unordered(reader, hash, is_set);
    } else if (byte == '[') {
        read_array(reader, hash);
    } else if (is_digit(byte) || byte == '-') {
        read_number(reader, hash);
    } else {
        /* true, false, null */
        const uint8_t *start = reader->next;
        while (peek(reader) >= 'a' && peek(reader) <= 'z') feed(hash, *reader->next++);
        if (reader->next == start) reader->next = NULL;
    }
    reader->depth--;
}

bool platform_digest_item(
    const uint8_t *name, size_t name_count, const uint8_t *body, size_t count, const uint8_t *sets, size_t sets_count, uint64_t sum[2])
{
    reader_state reader = {.next = body, .end = body + count, .sets = sets, .sets_count = sets_count};
    hasher hash;
    begin(&hash);
    feed_all(&hash, name, name_count);
    if (peek(&reader) != '{') return false;
    read_value(&reader, &hash, false);
    if (reader.next != reader.end) return false;
    end(&hash, sum);
    return true;
}
