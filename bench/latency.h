/* latency.h - what the load generators share: the clock, the histogram of latencies, the end of their report */
#ifndef LATENCY_H
#define LATENCY_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- latencies: a histogram with 64 steps an octave, so within 1.6 % -------------------------------------- */

enum { STEP_BITS = 6, STEPS = 1 << STEP_BITS, SLOTS = 64 << STEP_BITS, SLICE_NS = 100000000, SLICES = 6000 };

typedef struct { uint64_t count[SLOTS], total, slowest; } histogram;

static histogram all_latencies, of_slice;
static uint64_t  slice_end;
static double    slice_p99[SLICES];      // microseconds, one for each tenth of a second that is over
static int       slices;

static void add(histogram *h, uint64_t ns) {
    int slot = (int)ns;
    if (ns >= STEPS) {
        int shift = 63 - __builtin_clzll(ns) - STEP_BITS;
        slot = ((shift + 1) << STEP_BITS) + (int)(ns >> shift) - STEPS;
    }
    h->count[slot]++;
    h->total++;
    if (ns > h->slowest) h->slowest = ns;
}

static double slot_ns(int slot) {
    if (slot < STEPS) return slot;
    int shift = (slot >> STEP_BITS) - 1;
    return (double)((uint64_t)((slot & (STEPS - 1)) + STEPS) << shift);
}

static double quantile_us(const histogram *h, double q) {
    uint64_t seen = 0, wanted = (uint64_t)(q * (double)h->total);
    if (!h->total) return 0;
    for (int i = 0; i < SLOTS; i++) {
        seen += h->count[i];
        if (seen > wanted) return slot_ns(i) / 1e3;
    }
    return (double)h->slowest / 1e3;
}

static void end_slice(uint64_t now) {
    if (of_slice.total && slices < SLICES) slice_p99[slices++] = quantile_us(&of_slice, .99);
    memset(&of_slice, 0, sizeof of_slice);
    slice_end = now + SLICE_NS;
}

static void record(uint64_t now, uint64_t ns) {
    if (now >= slice_end) end_slice(now);
    add(&all_latencies, ns);
    add(&of_slice, ns);
}

static int by_value(const void *a, const void *b) {
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* The median of the p99s of tenths of a second: a pause of the machine spoils one of them, not the result. */
static double p99_of_slices(void) {
    if (!slices) return quantile_us(&all_latencies, .99);
    qsort(slice_p99, (size_t)slices, sizeof *slice_p99, by_value);
    return slice_p99[slices / 2];
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
    const histogram *h = &all_latencies;
    printf("\"p50\": %.2f, \"p90\": %.2f, \"p99\": %.2f, \"p999\": %.2f, \"max\": %.2f, \"p99_slices\": %.2f, ", quantile_us(h, .5),
           quantile_us(h, .9), quantile_us(h, .99), quantile_us(h, .999), (double)h->slowest / 1e3, p99_of_slices());
    printf("\"cl_user\": %.4f, \"cl_sys\": %.4f}\n", last->user - first->user, last->sys - first->sys);
}
#endif
