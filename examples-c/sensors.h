/**
 * @file sensors.h
 * The sensors that every Linux machine has: /proc and the thermal zones of /sys.
 */
#ifndef SENSORS_H
#define SENSORS_H

#include <stdbool.h>
#include <stdint.h>

/** Counters that only grow, as the kernel keeps them. */
typedef struct SensorCounters {
    int64_t at_ms;
    uint64_t cpu_busy, cpu_total;
    uint64_t net_in_bytes, net_out_bytes;
    uint64_t disk_read_bytes, disk_write_bytes;
} SensorCounters;

/** What the sensors say at one moment. Rates are since the reading before. */
typedef struct SensorReading {
    double cpu_percent;
    double memory_percent;
    int64_t memory_available_bytes;
    double net_in_per_s, net_out_per_s;
    double disk_read_per_s, disk_write_per_s;
    /** Of the hottest zone; only when hasTemperature. */
    double temperature_celsius;
    bool hasTemperature;
} SensorReading;

/** Take the counters from which the first reading's rates count. */
void sensorsStart(SensorCounters *counters);
/** Read every sensor; one that the machine does not have reads as 0. Moves `counters` on. */
void sensorsRead(SensorCounters *counters, SensorReading *out);
/** Bytes of memory of the machine. */
int64_t sensorsMemoryTotal(void);

#endif /* SENSORS_H */
