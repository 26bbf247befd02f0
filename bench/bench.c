#include "bench.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double) time.tv_sec + (double) time.tv_nsec / 1e9;
}

uint64_t randomNext(uint64_t *seed)
{
    /* splitmix64 (Steele, Lea, Flood, 2014) */
    uint64_t value = (*seed += 0x9E3779B97F4A7C15u);
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
    return value ^ (value >> 31);
}

uint32_t randomBelow(uint64_t *seed, uint32_t limit) { return (uint32_t) (((randomNext(seed) >> 32) * limit) >> 32); }

static int compareDoubles(const void *left, const void *right)
{
    double a = *(const double *) left, b = *(const double *) right;
    return a < b ? -1 : a > b ? 1 : 0;
}

double median(double *values, int count)
{
    qsort(values, (size_t) count, sizeof *values, compareDoubles);
    return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

void figure(const char *name, double value, const char *unit)
{
    printf("%s %.*f %s\n", name, value >= 1000 ? 0 : value >= 100 ? 1 : 3, value, unit);
    fflush(stdout);
}

void progress(const char *format, ...)
{
    bool isTerminal = isatty(STDERR_FILENO) != 0;
    va_list arguments;
    va_start(arguments, format);
    fputs(isTerminal ? "\r\x1b[K" : "", stderr);
    vfprintf(stderr, format, arguments);
    fputs(isTerminal ? "" : "\n", stderr);
    va_end(arguments);
    fflush(stderr);
}

void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("\nbench: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("\n", stderr);
    va_end(arguments);
    exit(1);
}

/** The number behind a name in a file of /proc/self, or -1. */
static int64_t processNumber(const char *path, const char *name)
{
    char line[256];
    long long value = -1;
    FILE *file = fopen(path, "r");
    if (file == NULL) return -1;
    size_t length = strlen(name);
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, length) == 0 && line[length] == ':') value = atoll(line + length + 1);
    }
    fclose(file);
    return value;
}

int64_t residentBytes(void) { return processNumber("/proc/self/status", "VmRSS") * 1024; }

int64_t writtenBytes(void) { return processNumber("/proc/self/io", "write_bytes"); }

/** 2026-01-01T00:00:00Z: the first item's time; each is one second later. */
static const int64_t firstTime_ms = 1767225600000;

void faultId(char *id, uint32_t number)
{
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    uint64_t seed = number, high = randomNext(&seed), low = randomNext(&seed);
    uint64_t time = (uint64_t) firstTime_ms + (uint64_t) number * 1000;
    for (int place = 9; place >= 0; place--, time >>= 5) id[place] = digits[time & 31];
    for (int place = 17; place >= 10; place--, high >>= 5) id[place] = digits[high & 31];
    for (int place = 25; place >= 18; place--, low >>= 5) id[place] = digits[low & 31];
    id[ULID_CHARACTERS] = 0;
}

void faultMake(Fault *fault, uint32_t number)
{
    static const char *const severities[] = {"info", "warning", "critical"};
    uint64_t seed = number + 1000000007u;
    faultId(fault->id, number);
    snprintf(fault->site, sizeof fault->site, "plant-%u/line-%u", randomBelow(&seed, 9) + 1, randomBelow(&seed, 9) + 1);
    snprintf(fault->code, sizeof fault->code, "E%03u", randomBelow(&seed, CODES));
    snprintf(fault->message, sizeof fault->message, "coolant pressure is below the lower limit at pump %u", randomBelow(&seed, 90) + 10);
    snprintf(fault->count, sizeof fault->count, "%u", randomBelow(&seed, 1000));
    snprintf(fault->value, sizeof fault->value, "%u.%u", randomBelow(&seed, 90) + 10, randomBelow(&seed, 9) + 1);
    fault->severity = severities[randomBelow(&seed, 3)];
    fault->open = randomBelow(&seed, 2) == 0 ? "true" : "false";
    time_t seconds = (time_t) (firstTime_ms / 1000 + number);
    struct tm date;
    gmtime_r(&seconds, &date);
    strftime(fault->at, sizeof fault->at, "%Y-%m-%dT%H:%M:%S.000Z", &date);
}

int faultJson(const Fault *fault, char *out, size_t bytes)
{
    return snprintf(out, bytes,
                    "{\"id\":\"%s\",\"site\":\"%s\",\"code\":\"%s\",\"severity\":\"%s\",\"message\":\"%s\",\"count\":%s,"
                    "\"value\":%s,\"open\":%s,\"at\":\"%s\"}",
                    fault->id, fault->site, fault->code, fault->severity, fault->message, fault->count, fault->value,
                    fault->open, fault->at);
}

void removeDatabase(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    char name[4096];
    for (int index = 0; index < 3; index++) {
        snprintf(name, sizeof name, "%s%s", path, suffixes[index]);
        unlink(name);
    }
}
