#include "platform_item.h"

#include <string.h>

#include "fast.h"

/* Whether a name is a field's. Compared byte by byte: most are short, and most are the one that is expected. */
FAST static bool is_named(const platform_field *field, const char *name)
{
    for (size_t at = 0; at < field->name_bytes; at++) {
        if (name[at] != field->name[at]) {
            return false;
        }
    }
    return name[field->name_bytes] == '\0';
}

FAST bool platform_item_match(const platform_field *fields, size_t count, const char *const *texts, size_t text_count,
                         platform_given *values)
{
    memset(values, 0, count * sizeof *values);
    size_t next = 0;
    for (size_t at = 0; at + 1 < text_count; at += 2) {
        const char *name = texts[at], *text = texts[at + 1];
        if (name == NULL || text == NULL) {
            return false;
        }
        /* Most callers give them in the schema's order. */
        size_t tried = 0;
        while (fields[next].kind == PLATFORM_FIELD_NONE || !is_named(&fields[next], name)) {
            if (++tried > count) {
                return false;
            }
            next = next + 1 < count ? next + 1 : 0;
        }
        if (values[next].text != NULL) {
            return false;
        }
        values[next].text = text;
        values[next].bytes = strlen(text);
        next = next + 1 < count ? next + 1 : 0;
    }
    return true;
}

enum { BYTES_MAX = 1 << 24 };

FAST size_t platform_item_bytes(const platform_field *fields, size_t count, const platform_given *values)
{
    size_t bytes = 2;
    for (size_t at = 0; at < count; at++) {
        if (values[at].text != NULL || values[at].made != 0) {
            /* Quotes, colon and comma; quotes of a text, or `false` in the place of `0`. */
            bytes += fields[at].name_bytes + values[at].bytes + 4 + (values[at].made != 0 ? 0 : 4);
        }
        /* Far beyond any item; a sum of long texts must not come round on 32 bits. */
        if (bytes > BYTES_MAX) {
            return BYTES_MAX;
        }
    }
    return bytes;
}

/* The highest bit of some byte is set when one of eight is a control character, a quote or a backslash. */
FAST static uint64_t escapes(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t quotes = word ^ ones * '"', slashes = word ^ ones * '\\';
    return (((word - ones * 0x20) & ~word) | ((quotes - ones) & ~quotes) | ((slashes - ones) & ~slashes)) & ones << 7;
}

#ifdef HAS_VECTORS
/* The same of a text of at least 16 bytes, the last of them once more where they are not a multiple. */
FAST static bool copy_long(char *out, const char *text, size_t bytes, uint64_t *seen)
{
    places bad = ALL(0), all = ALL(0), some;
    for (size_t at = 0;; at += sizeof some) {
        if (at > bytes - sizeof some) {
            at = bytes - sizeof some;
        }
        memcpy(&some, text + at, sizeof some);
        memcpy(out + at, &some, sizeof some);
        bad |= (places) (some < ALL(0x20)) | (places) (some == ALL('"')) | (places) (some == ALL('\\'));
        all |= some;
        if (at == bytes - sizeof some) {
            break;
        }
    }
    *seen |= ((words) all)[0] | ((words) all)[1];
    return !HAS_ANY(bad);
}
#endif

/* Copy a text that needs no escape. Returns the end, or NULL. `seen` gathers its bytes. */
FAST static char *copy_text(char *out, const char *text, size_t bytes, uint64_t *seen)
{
    uint64_t bad = 0, all = 0, word;
#ifdef HAS_VECTORS
    if (bytes >= sizeof(places)) {
        return copy_long(out, text, bytes, seen) ? out + bytes : NULL;
    }
#endif
    if (bytes >= sizeof word) {
        for (size_t at = 0;; at += sizeof word) {
            if (at > bytes - sizeof word) {
                at = bytes - sizeof word;
            }
            memcpy(&word, text + at, sizeof word);
            memcpy(out + at, &word, sizeof word);
            bad |= escapes(word);
            all |= word;
            if (at == bytes - sizeof word) {
                break;
            }
        }
    } else if (bytes >= sizeof(uint32_t)) {
        uint32_t first, last;
        memcpy(&first, text, sizeof first);
        memcpy(&last, text + bytes - sizeof last, sizeof last);
        memcpy(out, &first, sizeof first);
        memcpy(out + bytes - sizeof last, &last, sizeof last);
        all = (uint64_t) first << 32 | last;
        bad = escapes(all);
    } else {
        word = UINT64_C(0x2020202020202020);
        for (size_t at = 0; at < bytes; at++) {
            out[at] = text[at];
            word = word << 8 | (uint8_t) text[at];
        }
        bad = escapes(word);
        all = word;
    }
    *seen |= all;
    return bad ? NULL : out + bytes;
}

FAST static bool is_allowed(const char *allowed, const char *text)
{
    for (; *allowed != '\0'; allowed += strlen(allowed) + 1) {
        if (strcmp(allowed, text) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether this is a number as JSON writes it; -0 is not. */
FAST static bool is_number(const char *text, size_t bytes)
{
    size_t digits = 0, at = text[0] == '-', point = 0;
    if (text[at] == '0' && (at > 0 || (bytes > 1 && text[1] != '.'))) {
        return false;
    }
    for (; at < bytes; at++) {
        if (text[at] == '.' && point == 0 && digits > 0) {
            point = at;
        } else if (text[at] >= '0' && text[at] <= '9') {
            digits++;
        } else {
            return false;
        }
    }
    return digits > 0 && digits <= 18 && (point == 0 || point != bytes - 1);
}

/* JSON's word for a boolean, or NULL. */
static const char *boolean(const char *text)
{
    if (strcmp(text, "true") == 0 || strcmp(text, "1") == 0) {
        return "true";
    }
    return strcmp(text, "false") == 0 || strcmp(text, "0") == 0 ? "false" : NULL;
}

/* Copy a short text, as names and numbers are, by moves that may overlap. */
FAST static inline char *append(char *out, const char *text, size_t bytes)
{
    uint64_t first, last;
    uint32_t front, back;
    if (bytes > 2 * sizeof first) {
        memcpy(out, text, bytes);
    } else if (bytes >= sizeof first) {
        memcpy(&first, text, sizeof first);
        memcpy(&last, text + bytes - sizeof last, sizeof last);
        memcpy(out, &first, sizeof first);
        memcpy(out + bytes - sizeof last, &last, sizeof last);
    } else if (bytes >= sizeof front) {
        memcpy(&front, text, sizeof front);
        memcpy(&back, text + bytes - sizeof back, sizeof back);
        memcpy(out, &front, sizeof front);
        memcpy(out + bytes - sizeof back, &back, sizeof back);
    } else {
        for (size_t at = 0; at < bytes; at++) {
            out[at] = text[at];
        }
    }
    return out + bytes;
}

/* Write a value. Returns the end, or NULL when it is not of its field's kind. */
FAST static char *write_value(char *end, const platform_field *field, const platform_given *value, const char *made,
                         uint64_t *seen)
{
    const char *text = value->text;
    if (value->made != 0) {
        return append(end, made + value->made - 1, value->bytes);
    }
    switch (field->kind) {
    case PLATFORM_FIELD_TEXT:
        if (field->allowed != NULL && !is_allowed(field->allowed, text)) {
            return NULL;
        }
        *end++ = '"';
        end = copy_text(end, text, value->bytes, seen);
        if (end != NULL) {
            *end++ = '"';
        }
        return end;
    case PLATFORM_FIELD_NUMBER:
        return is_number(text, value->bytes) ? append(end, text, value->bytes) : NULL;
    case PLATFORM_FIELD_BOOLEAN:
        text = boolean(text);
        if (text == NULL) {
            return NULL;
        }
        memcpy(end, text, 4);
        if (*text == 't') {
            return end + 4;
        }
        end[4] = 'e';
        return end + 5;
    default:
        return NULL;
    }
}

static bool is_ascii_alone(uint64_t seen) { return (seen & UINT64_C(0x8080808080808080)) == 0; }

FAST size_t platform_item_write(const platform_field *fields, size_t count, const platform_given *values,
                           const char *made, char *out, bool *is_ascii)
{
    char *end = out;
    uint64_t seen = 0;
    for (size_t at = 0; at < count; at++) {
        if (values[at].text == NULL && values[at].made == 0) {
            continue;
        }
        *end = end == out ? '{' : ',';
        end[1] = '"';
        end = append(end + 2, fields[at].name, fields[at].name_bytes);
        *end++ = '"';
        *end++ = ':';
        end = write_value(end, &fields[at], &values[at], made, &seen);
        if (end == NULL) {
            return 0;
        }
    }
    if (end == out) {
        *end++ = '{';
    }
    *end++ = '}';
    *is_ascii = is_ascii_alone(seen);
    return (size_t) (end - out);
}

/* The end of a string that begins before `at`, past its quote; `limit` when it has none. */
static const char *string_end(const char *at, const char *limit)
{
    while (at < limit && *at != '"') {
        at += *at == '\\' && limit - at > 1 ? 2 : 1;
    }
    return at < limit ? at + 1 : limit;
}

/* The end of the value at `at`, which a comma or a bracket follows; `limit` when there is none. */
static const char *value_end(const char *at, const char *limit)
{
    size_t depth = 0;
    while (at < limit) {
        char byte = *at;
        if (byte == '"') {
            at = string_end(at + 1, limit);
            continue;
        }
        if (depth == 0 && (byte == ',' || byte == '}' || byte == ']')) {
            return at;
        }
        depth += byte == '{' || byte == '[';
        depth -= byte == '}' || byte == ']';
        at++;
    }
    return limit;
}

size_t platform_item_update(const platform_field *fields, size_t count, const platform_given *values,
                            const char *made, const char *item, size_t item_bytes, char *out, bool *is_ascii)
{
    if (item_bytes < 2 || item[0] != '{') {
        return 0;
    }
    const char *at = item + 1, *limit = item + item_bytes;
    char *end = out;
    size_t place = 0, missing = 0;
    uint64_t seen = 0;
    for (size_t field = 0; field < count; field++) {
        missing += values[field].text != NULL || values[field].made != 0;
    }
    while (at < limit && *at == '"') {
        const char *name = at + 1, *value = string_end(name, limit);
        size_t bytes = (size_t) (value - 1 - name), found = place;
        if (limit - value < 2 || *value != ':') {
            return 0;
        }
        const char *after = value_end(++value, limit);
        if (after == limit || after == value) {
            return 0;
        }
        while (found < count && (fields[found].name_bytes != bytes || memcmp(fields[found].name, name, bytes) != 0)) {
            found++;
        }
        if (found == count) {
            /* A property that is no field stands behind them, or the fields are in another order. */
            for (size_t before = 0; before < place; before++) {
                if (fields[before].name_bytes == bytes && memcmp(fields[before].name, name, bytes) == 0) {
                    return 0;
                }
            }
            place = count;
        } else {
            place = found + 1;
        }
        const platform_given *given = found < count ? &values[found] : NULL;
        *end = end == out ? '{' : ',';
        end++;
        if (given == NULL || (given->text == NULL && given->made == 0)) {
            end = append(end, at, (size_t) (after - at));
        } else {
            end = append(end, at, (size_t) (value - at));
            char *written = write_value(end, &fields[found], given, made, &seen);
            size_t length = (size_t) (after - value);
            if (written == NULL ||
                (given->is_fixed && ((size_t) (written - end) != length || memcmp(end, value, length) != 0))) {
                return 0;
            }
            end = written;
            missing--;
        }
        at = *after == ',' ? after + 1 : after;
    }
    if (missing > 0 || at + 1 != limit || *at != '}' || at[-1] == ',' || end == out) {
        return 0;
    }
    *end++ = '}';
    *is_ascii = is_ascii_alone(seen);
    return (size_t) (end - out);
}

/* The quote that ends a text without escapes, or NULL. */
FAST static const char *text_end(const char *at, const char *limit, uint64_t *seen)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t word;
    while ((size_t) (limit - at) >= sizeof word) {
        memcpy(&word, at, sizeof word);
        if (escapes(word) != 0) {
            break;
        }
        *seen |= word & ones << 7;
        at += sizeof word;
    }
    for (; at < limit; at++) {
        uint8_t byte = (uint8_t) *at;
        if (byte == '"') {
            return at;
        }
        if (byte == '\\' || byte < 0x20) {
            return NULL;
        }
        *seen |= byte;
    }
    return NULL;
}

/* The end of a value of a field's kind that is no text, or NULL. */
FAST static const char *scalar_end(int32_t kind, const char *at, const char *limit)
{
    if (kind == PLATFORM_FIELD_BOOLEAN) {
        size_t rest = (size_t) (limit - at);
        if (rest >= 4 && memcmp(at, "true", 4) == 0) {
            return at + 4;
        }
        return rest >= 5 && memcmp(at, "false", 5) == 0 ? at + 5 : NULL;
    }
    const char *end = at;
    while (end < limit && (*end == '-' || *end == '.' || (*end >= '0' && *end <= '9'))) {
        end++;
    }
    /* Of at least one byte, and a byte follows. */
    return end > at && end < limit && is_number(at, (size_t) (end - at)) ? end : NULL;
}

/* Whether this is a date in the stored form; of the last days of a month it is not told. */
static bool is_date(const char *text, size_t bytes)
{
    static const char form[] = "0000-00-00T00:00:00.000Z";
    if (bytes != sizeof form - 1) {
        return false;
    }
    for (size_t at = 0; at < bytes; at++) {
        if (form[at] == '0' ? text[at] < '0' || text[at] > '9' : text[at] != form[at]) {
            return false;
        }
    }
    const char *month = text + 5, *day = text + 8;
    return memcmp(month, "01", 2) >= 0 && memcmp(month, "12", 2) <= 0 && memcmp(day, "01", 2) >= 0 &&
           memcmp(day, "28", 2) <= 0 && memcmp(text + 11, "23", 2) <= 0 && text[14] <= '5' && text[17] <= '5';
}

static bool is_read(int32_t kind) { return kind <= PLATFORM_FIELD_BOOLEAN || kind == PLATFORM_FIELD_DATE; }

FAST const char *platform_item_read(const platform_field *fields, size_t count, const char *at, const char *limit,
                                    platform_given *values, bool *is_ascii)
{
    uint64_t seen = 0;
    size_t place = 0;
    memset(values, 0, count * sizeof *values);
    while (at < limit && *at == '"') {
        const platform_field *field;
        at++;
        for (;; place++) {
            if (place == count) {
                return NULL;
            }
            field = &fields[place];
            if (is_read(field->kind) && (size_t) (limit - at) > field->name_bytes + 2 &&
                at[field->name_bytes] == '"' && memcmp(at, field->name, field->name_bytes) == 0) {
                break;
            }
        }
        at += field->name_bytes + 1;
        if (*at++ != ':') {
            return NULL;
        }
        const char *start = at;
        bool is_text = field->kind == PLATFORM_FIELD_TEXT || field->kind == PLATFORM_FIELD_DATE;
        if (is_text) {
            if (*at != '"' || (at = text_end(++start, limit, &seen)) == NULL ||
                (field->kind == PLATFORM_FIELD_DATE && !is_date(start, (size_t) (at - start)))) {
                return NULL;
            }
        } else if ((at = scalar_end(field->kind, at, limit)) == NULL) {
            return NULL;
        }
        values[place].text = start;
        values[place].bytes = (size_t) (at - start);
        place++;
        at += is_text;
        if (at < limit && *at == ',') {
            at++;
            /* A member follows. */
            if (at == limit || *at != '"') {
                return NULL;
            }
        } else {
            break;
        }
    }
    *is_ascii = is_ascii_alone(seen);
    return at < limit && *at == '}' ? at : NULL;
}
