#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700
#endif

#include "sensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The unit of /proc/diskstats, whatever the disk's own (kernel documentation, admin-guide/iostats). */
#define SECTOR_BYTES 512
#define THERMAL_ZONES_MAX 64

static int64_t monotonic_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/** /proc/stat: `cpu user nice system idle iowait irq softirq steal ...`, in ticks. */
static void readCPU(SensorCounters *counters)
{
    uint64_t ticks[8] = {0};
    FILE *file = fopen("/proc/stat", "r");
    if (file == NULL) return;
    int found = fscanf(file, "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
                       &ticks[0], &ticks[1], &ticks[2], &ticks[3], &ticks[4], &ticks[5], &ticks[6], &ticks[7]);
    fclose(file);
    counters->cpu_total = 0;
    for (int index = 0; index < found && index < 8; index++) counters->cpu_total += ticks[index];
    counters->cpu_busy = counters->cpu_total - ticks[3] - ticks[4];
}

/** /proc/net/dev: two lines of heading, then `name: bytes-in and seven more, bytes-out and seven more`. */
static void readNetwork(SensorCounters *counters)
{
    char line[512];
    FILE *file = fopen("/proc/net/dev", "r");
    if (file == NULL) return;
    counters->net_in_bytes = counters->net_out_bytes = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        uint64_t in = 0, out = 0;
        char *colon = strchr(line, ':');
        if (colon == NULL) continue;
        *colon = '\0';
        const char *name = line + strspn(line, " ");
        int found = sscanf(colon + 1, "%" SCNu64 " %*u %*u %*u %*u %*u %*u %*u %" SCNu64, &in, &out);
        if (found < 2 || strcmp(name, "lo") == 0) continue;
        counters->net_in_bytes += in;
        counters->net_out_bytes += out;
    }
    fclose(file);
}

/** Partitions are counted in their disk, and loop and RAM disks in what they lie on. */
static bool isWholeDisk(const char *name)
{
    char path[128];
    if (strncmp(name, "loop", 4) == 0 || strncmp(name, "ram", 3) == 0 || strncmp(name, "dm-", 3) == 0) return false;
    snprintf(path, sizeof path, "/sys/block/%s", name);
    return access(path, F_OK) == 0;
}

/** /proc/diskstats: `major minor name reads merged sectors ms writes merged sectors ...`. */
static void readDisks(SensorCounters *counters)
{
    char line[512];
    FILE *file = fopen("/proc/diskstats", "r");
    if (file == NULL) return;
    counters->disk_read_bytes = counters->disk_write_bytes = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        char name[64];
        uint64_t read = 0, written = 0;
        int found = sscanf(line, "%*u %*u %63s %*u %*u %" SCNu64 " %*u %*u %*u %" SCNu64, name, &read, &written);
        if (found < 3 || !isWholeDisk(name)) continue;
        counters->disk_read_bytes += read * SECTOR_BYTES;
        counters->disk_write_bytes += written * SECTOR_BYTES;
    }
    fclose(file);
}

/** /proc/meminfo: `MemTotal: n kB`, and what can be had without swapping. */
static void readMemory(int64_t *out_total_bytes, int64_t *out_available_bytes)
{
    char line[256];
    *out_total_bytes = *out_available_bytes = 0;
    FILE *file = fopen("/proc/meminfo", "r");
    if (file == NULL) return;
    while (fgets(line, sizeof line, file) != NULL) {
        int64_t kilobytes = 0;
        if (sscanf(line, "MemTotal: %" SCNd64, &kilobytes) == 1) *out_total_bytes = kilobytes * 1024;
        if (sscanf(line, "MemAvailable: %" SCNd64, &kilobytes) == 1) *out_available_bytes = kilobytes * 1024;
    }
    fclose(file);
}

/** The thermal zones, in thousandths of a degree; machines without any have no such folder. */
static void readTemperature(SensorReading *out)
{
    for (int zone = 0; zone < THERMAL_ZONES_MAX; zone++) {
        char path[64];
        long milli = 0;
        snprintf(path, sizeof path, "/sys/class/thermal/thermal_zone%d/temp", zone);
        FILE *file = fopen(path, "r");
        if (file == NULL) return;
        int found = fscanf(file, "%ld", &milli);
        fclose(file);
        double celsius = (double) milli / 1000;
        // Zones that are switched off report 0 or an absurdity.
        if (found != 1 || celsius <= 0 || celsius > 200) continue;
        if (!out->hasTemperature || celsius > out->temperature_celsius) out->temperature_celsius = celsius;
        out->hasTemperature = true;
    }
}

/** Growth of a counter per second; 0 when it has been set back. */
static double rate(uint64_t now, uint64_t before, int64_t elapsed_ms)
{
    return now > before && elapsed_ms > 0 ? (double) (now - before) * 1000 / (double) elapsed_ms : 0;
}

void sensorsStart(SensorCounters *counters)
{
    memset(counters, 0, sizeof *counters);
    counters->at_ms = monotonic_ms();
    readCPU(counters);
    readNetwork(counters);
    readDisks(counters);
}

void sensorsRead(SensorCounters *counters, SensorReading *out)
{
    int64_t total_bytes;
    SensorCounters before = *counters;
    memset(out, 0, sizeof *out);
    sensorsStart(counters);
    int64_t elapsed_ms = counters->at_ms - before.at_ms;
    if (counters->cpu_total > before.cpu_total && counters->cpu_busy >= before.cpu_busy) {
        out->cpu_percent = 100 * (double) (counters->cpu_busy - before.cpu_busy) /
                           (double) (counters->cpu_total - before.cpu_total);
    }
    out->net_in_per_s = rate(counters->net_in_bytes, before.net_in_bytes, elapsed_ms);
    out->net_out_per_s = rate(counters->net_out_bytes, before.net_out_bytes, elapsed_ms);
    out->disk_read_per_s = rate(counters->disk_read_bytes, before.disk_read_bytes, elapsed_ms);
    out->disk_write_per_s = rate(counters->disk_write_bytes, before.disk_write_bytes, elapsed_ms);
    readMemory(&total_bytes, &out->memory_available_bytes);
    if (total_bytes > 0) out->memory_percent = 100 * (1 - (double) out->memory_available_bytes / (double) total_bytes);
    readTemperature(out);
}

int64_t sensorsMemoryTotal(void)
{
    int64_t total_bytes, available_bytes;
    readMemory(&total_bytes, &available_bytes);
    return total_bytes;
}
