/* latency.h - what the load generators share: the clock, the histogram of latencies, the end of their report */
#ifndef LATENCY_H
#define LATENCY_H
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- latencies: a histogram with 64 steps an octave, so within 1.6 % -------------------------------------- */

enum { STEP_BITS = 6, STEPS = 1 << STEP_BITS, SLOTS = 64 << STEP_BITS };

static uint64_t histogram[SLOTS], slowest;

static void record(uint64_t ns) {
    if (ns > slowest) slowest = ns;
    if (ns < STEPS) {
        histogram[ns]++;
        return;
    }
    int shift = 63 - __builtin_clzll(ns) - STEP_BITS;
    histogram[((shift + 1) << STEP_BITS) + (int)(ns >> shift) - STEPS]++;
}

static double slot_ns(int slot) {
    if (slot < STEPS) return slot;
    int shift = (slot >> STEP_BITS) - 1;
    return (double)((uint64_t)((slot & (STEPS - 1)) + STEPS) << shift);
}

static double quantile_us(double q) {
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < SLOTS; i++) total += histogram[i];
    if (!total) return 0;
    uint64_t wanted = (uint64_t)(q * (double)total);
    for (int i = 0; i < SLOTS; i++) {
        seen += histogram[i];
        if (seen > wanted) return slot_ns(i) / 1e3;
    }
    return (double)slowest / 1e3;
}

/* ---- the report ------------------------------------------------------------------------------------------ */

typedef struct { uint64_t ns; double user, sys; } moment;

static moment moment_at(uint64_t now) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (moment){ now, (double)u.ru_utime.tv_sec + (double)u.ru_utime.tv_usec / 1e6,
                          (double)u.ru_stime.tv_sec + (double)u.ru_stime.tv_usec / 1e6 };
}

static double seconds_between(const moment *first, const moment *last) { return (double)(last->ns - first->ns) / 1e9; }

/* The last members of the line of JSON: latencies in microseconds, CPU seconds of the generator itself. */
static void print_latencies(const moment *first, const moment *last) {
    printf("\"p50\": %.2f, \"p90\": %.2f, \"p99\": %.2f, \"p999\": %.2f, \"max\": %.2f, ", quantile_us(.5),
           quantile_us(.9), quantile_us(.99), quantile_us(.999), (double)slowest / 1e3);
    printf("\"cl_user\": %.4f, \"cl_sys\": %.4f}\n", last->user - first->user, last->sys - first->sys);
}
#endif
