/*
 * Taking JSON apart without converting it: numbers stay as they are written, to the last digit.
 */
#include "iotodb.h"

#include <stdlib.h>
#include <string.h>

bool sliceIs(Slice slice, const char *text)
{
    return strlen(text) == slice.length && memcmp(slice.start, text, slice.length) == 0;
}

static const char *skipSpace(const char *text)
{
    return text + strspn(text, " \t\r\n");
}

/** Behind a string that begins at `text`; NULL when it does not end. */
static const char *skipString(const char *text)
{
    for (text++; *text != '"'; text++) {
        if (*text == '\\') text++;
        if (*text == '\0') return NULL;
    }
    return text + 1;
}

Slice jsonValue(const char *text)
{
    const char *start = skipSpace(text);
    const char *end = start;
    size_t depth = 0;
    do {
        if (*end == '"') {
            end = skipString(end);
            if (end == NULL) return (Slice){start, 0};
        } else if (*end == '{' || *end == '[') {
            depth++, end++;
        } else if (*end == '}' || *end == ']') {
            if (depth == 0) break;
            depth--, end++;
        } else if (depth > 0) {
            if (*end++ == '\0') return (Slice){start, 0};
        } else {
            end += strcspn(end, " \t\r\n,:{}[]\"");
        }
    } while (depth > 0);
    return (Slice){start, (size_t) (end - start)};
}

bool jsonMember(const char **cursor, Slice *out_name, Slice *out_value)
{
    const char *text = skipSpace(*cursor);
    if (*text != '{' && *text != ',') return false;
    Slice name = jsonValue(text + 1);
    if (name.length < 2 || name.start[0] != '"') return false;
    text = skipSpace(name.start + name.length);
    if (*text != ':') return false;
    *out_value = jsonValue(text + 1);
    *out_name = (Slice){name.start + 1, name.length - 2};
    *cursor = skipSpace(out_value->start + out_value->length);
    return out_value->length > 0;
}

/** The element of an array at `index`. */
static Slice jsonElement(const char *text, unsigned long index)
{
    Slice value = {text, 0};
    for (text = skipSpace(text); *text == '[' || *text == ','; index--) {
        value = jsonValue(text + 1);
        if (value.length == 0 || index == 0) return value;
        text = skipSpace(value.start + value.length);
    }
    return (Slice){text, 0};
}

Slice jsonAt(const char *text, const char *path)
{
    size_t length = strcspn(path, ".");
    Slice found = {text, 0};
    if (*skipSpace(text) == '[') {
        char *end;
        unsigned long index = strtoul(path, &end, 10);
        if (path[0] >= '0' && path[0] <= '9' && end == path + length) found = jsonElement(text, index);
    } else {
        Slice name, value;
        for (const char *cursor = text; found.length == 0 && jsonMember(&cursor, &name, &value);) {
            if (sliceIs(name, path)) return value;
            if (name.length == length && memcmp(name.start, path, length) == 0) found = value;
        }
    }
    return found.length == 0 || path[length] == '\0' ? found : jsonAt(found.start, path + length + 1);
}

/** Write a code point as UTF-8; returns the number of bytes. */
static size_t putCodePoint(char *out, unsigned long code)
{
    if (code < 0x80) return out[0] = (char) code, 1;
    size_t count = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t index = count - 1; index > 0; index--, code >>= 6) out[index] = (char) (0x80 | (code & 0x3F));
    out[0] = (char) ((0xF00 >> count) | code);
    return count;
}

/** The four digits behind `\u`. */
static unsigned long hexadecimal(const char *text, const char *end)
{
    char digits[5] = "";
    if (end - text >= 4) memcpy(digits, text, 4);
    return strtoul(digits, NULL, 16);
}

char *jsonDecode(Slice string)
{
    if (string.length < 2 || string.start[0] != '"') return NULL;
    const char *end = string.start + string.length - 1;
    // No escape is shorter than what it stands for.
    char *text = allocate(NULL, string.length), *out = text;
    for (const char *in = string.start + 1; in < end;) {
        if (*in != '\\') {
            *out++ = *in++;
            continue;
        }
        static const char names[] = "bfnrt", values[] = "\b\f\n\r\t";
        const char *name = strchr(names, in[1]);
        if (in[1] != 'u') {
            *out++ = name != NULL ? values[name - names] : in[1];
            in += 2;
            continue;
        }
        unsigned long code = hexadecimal(in + 2, end);
        in += end - in < 6 ? end - in : 6;
        if (code >= 0xD800 && code < 0xDC00 && end - in >= 6 && in[0] == '\\' && in[1] == 'u') {
            code = 0x10000 + ((code - 0xD800) << 10) + ((hexadecimal(in + 2, end) - 0xDC00) & 0x3FF);
            in += 6;
        }
        out += putCodePoint(out, code == 0 ? 0xFFFD : code);
    }
    *out = '\0';
    return text;
}
