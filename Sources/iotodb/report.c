/*
 * What every command needs to fail well: errors, texts that a terminal does not obey, memory.
 */
#include "iotodb.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/** Bytes of the character at `text` that a terminal would obey: C0, DEL, and C1 as UTF-8 has it; 0: a plain one. */
static size_t controlLength(const char *text)
{
    unsigned char byte = (unsigned char) text[0], second = (unsigned char) (byte != '\0' ? text[1] : 0);
    if (byte < 0x20 || byte == 0x7F) return 1;
    return byte == 0xC2 && second >= 0x80 && second < 0xA0 ? 2 : 0;
}

size_t layText(FILE *file, const char *text, size_t widthMax)
{
    size_t width = 0;
    while (*text != '\0') {
        size_t control = controlLength(text);
        size_t step = control > 0 ? 4 : 1;
        if (widthMax > 0 && width + step > widthMax) break;
        width += step;
        if (control > 0) {
            if (file != NULL) fprintf(file, "\\x%02x", (unsigned char) text[control - 1]);
            text += control;
            continue;
        }
        // A character with the bytes that continue it takes one column.
        do {
            if (file != NULL) fputc(*text, file);
            text++;
        } while (((unsigned char) *text & 0xC0) == 0x80);
    }
    return width;
}

void putText(FILE *file, const char *text)
{
    layText(file, text, 0);
}

int failed(void)
{
    const char *text = dbGetError(NULL);
    if (text[0] == '\0') text = ioStrError(dbGetErrorCode());
    // The firmware sets such values once, and a person may not know that they are part of the key.
    bool isMissing = strstr(text, "needs property '") != NULL || strstr(text, ": is required") != NULL;
    return complain("%s%s", text, isMissing ? "; a value that the items share is given by --context NAME=VALUE" : "");
}

int complain(const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fflush(stdout);
    fputs("iotodb: ", stderr);
    putText(stderr, text);
    fputc('\n', stderr);
    return EXIT_FAILED;
}

void *allocate(void *old, size_t size)
{
    void *memory = realloc(old, size > 0 ? size : 1);
    if (memory == NULL) {
        fputs("iotodb: out of memory\n", stderr);
        exit(EXIT_FAILED);
    }
    return memory;
}
