/* fuzz_pg_number.c - text to floats as strtod() has it, and back: the shortest text reads back as the same bits. Times and intervals: read, written, read.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined fuzz_pg_number.c -o fuzz_pg_number && ./fuzz_pg_number -max_total_time=60
 *
 * First byte: what the rest is. */
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"

static void must(bool ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "broken: %s\n", what);
    abort();
}

/* What we call a number strtod() does too, in the C locale. */
static void floats_from_text(chopin_str s) {
    char   text[512];
    double d;
    float  f;
    if (s.len >= sizeof text) return;
    memcpy(text, s.ptr, s.len);
    text[s.len] = 0;
    int rc = chopin_pg__read_f64(s, &d), rf = chopin_pg__read_f32(s, &f);
    if (rc == CHOPIN_PG_TYPE || rf == CHOPIN_PG_TYPE) { must(rc == rf, "a number to one, not to the other"); return; }
    for (char *p = text; *p; p++) if (*p == ' ' || (*p >= '\t' && *p <= '\r')) *p = p == text || p[-1] == ' ' ? ' ' : *p;
    char  *end;
    double want = strtod(text, &end);
    float  wantf = strtof(text, NULL);
    if (rc == 0) must(want == d || (want != want && d != d), "not the nearest double");
    else must(isinf(want) || want == 0, "RANGE without reason");
    if (rf == 0) must(wantf == f || (wantf != wantf && f != f), "not the nearest float");
    else must(isinf(wantf) || wantf == 0, "RANGE without reason (float)");
}

static void floats_from_bits(const uint8_t *bytes, size_t len) {
    char     text[64];
    double   d, back;
    float    f, backf;
    if (len < 12) return;
    memcpy(&d, bytes, 8);
    memcpy(&f, bytes + 8, 4);
    chopin_pg__pen pen = { .ptr = text, .cap = sizeof text };
    chopin_pg__pen_f64(&pen, d);
    must(pen.len < 26 && chopin_pg__read_f64(chopin_pg__str(text, pen.len), &back) == 0 && (memcmp(&back, &d, 8) == 0 || (d != d && back != back)), "double, text, double");
    text[pen.len] = 0;
    if (d == d && d - d == 0) {
        char shorter[64];
        int  digits = 0;
        for (const char *p = text; *p && *p != 'e'; p++) digits += chopin_pg__is_digit(*p);
        snprintf(shorter, sizeof shorter, "%.16e", d);
        must(digits <= 17 || !strchr(text, 'e'), "more than 17 digits");
    }
    pen = (chopin_pg__pen){ .ptr = text, .cap = sizeof text };
    chopin_pg__pen_f32(&pen, f);
    must(pen.len < 26 && chopin_pg__read_f32(chopin_pg__str(text, pen.len), &backf) == 0 && (memcmp(&backf, &f, 4) == 0 || (f != f && backf != backf)), "float, text, float");
}

static void times(chopin_str s) {
    char    text[128];
    int32_t days, days2;
    int64_t us, us2;
    chopin_clock    clock, clock2;
    chopin_interval interval, interval2;
    chopin_pg__pen  pen = { .ptr = text, .cap = sizeof text };
    if (chopin_pg__read_date(s, &days) == 0) {
        chopin_pg__pen_date(&pen, days);
        must(chopin_pg__read_date(chopin_pg__str(text, pen.len), &days2) == 0 && days2 == days, "date");
    }
    pen.len = 0;
    if (chopin_pg__read_stamp(s, &us) == 0) {
        chopin_pg__pen_stamp(&pen, us, true);
        must(chopin_pg__read_stamp(chopin_pg__str(text, pen.len), &us2) == 0 && us2 == us, "stamp");
    }
    pen.len = 0;
    if (chopin_pg__read_clock(s, &clock) == 0) {
        chopin_pg__pen_clock(&pen, &clock);
        must(chopin_pg__read_clock(chopin_pg__str(text, pen.len), &clock2) == 0 && clock.us == clock2.us && clock.east == clock2.east && clock.zoned == clock2.zoned, "clock");
    }
    for (int iso = 0; iso < 2 && chopin_pg__read_interval(s, &interval) == 0; iso++) {
        pen.len = 0;
        if (iso) chopin_pg__pen_interval_iso(&pen, &interval); else chopin_pg__pen_interval(&pen, &interval);
        must(chopin_pg__read_interval(chopin_pg__str(text, pen.len), &interval2) == 0, "interval is not read back");
        must(interval.us == interval2.us && interval.days == interval2.days && interval.months == interval2.months, "interval");
    }
}

/* Any day of any year is itself. */
static void calendar(const uint8_t *bytes, size_t len) {
    char    text[128];
    int32_t days, back;
    int64_t us, us2;
    chopin_interval v = { 0 }, v2;
    if (len < 16) return;
    memcpy(&days, bytes, 4);
    memcpy(&us, bytes, 8);
    memcpy(&v, bytes, 16);
    chopin_pg__pen pen = { .ptr = text, .cap = sizeof text };
    chopin_pg__pen_date(&pen, days);
    if (chopin_pg__read_date(chopin_pg__str(text, pen.len), &back) == 0) must(back == days, "day");
    pen.len = 0;
    chopin_pg__pen_stamp(&pen, us, true);
    must(chopin_pg__read_stamp(chopin_pg__str(text, pen.len), &us2) == 0 && us2 == us, "microsecond");
    for (int iso = 0; iso < 2; iso++) {
        pen.len = 0;
        if (iso) chopin_pg__pen_interval_iso(&pen, &v); else chopin_pg__pen_interval(&pen, &v);
        must(chopin_pg__read_interval(chopin_pg__str(text, pen.len), &v2) == 0 && v.us == v2.us && v.days == v2.days && v.months == v2.months, "span");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    if (len == 0) return 0;
    uint8_t *copy = malloc(len);
    memcpy(copy, data + 1, len - 1);
    switch (data[0] & 3) {
    case 0:  floats_from_text(chopin_pg__str(copy, len - 1)); break;
    case 1:  floats_from_bits(copy, len - 1); break;
    case 2:  times(chopin_pg__str(copy, len - 1)); break;
    default: calendar(copy, len - 1); break;
    }
    free(copy);
    return 0;
}
