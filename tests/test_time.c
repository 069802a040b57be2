/* test_time.c - the timer wheel against a naive model, dates against strftime().
 * Build: cc -O1 -g tests/test_time.c -o build/test_time -pthread -lm */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER
#include "test.h"

static chopin__wheel wheel;

static void wheel_start(int64_t now) {
    memset(&wheel, 0, sizeof wheel);
    wheel.now = now;
}

/* ---- one timer ---- */

/* Lets time pass as the loop does: sleep to the next moment of interest, at most to `until`, and look. When did `t` fire? */
static int64_t fires_at(chopin__timer *t, int64_t until) {
    for (;;) {
        int64_t now = chopin__wheel_next(&wheel);
        if (now > until) return -1;
        CHECK(now > wheel.now);
        chopin__timer *got = chopin__wheel_fire(&wheel, now);
        if (got) { CHECK(got == t && !got->link); return now; }
    }
}

static void a_timer_fires_at_its_moment(void) {
    static const int64_t waits[] = { 1, 2, 63, 64, 65, 127, 128, 4095, 4096, 4097, 8191, 262143, 262144, 262145, 16515071, 16515072, 16515073, 16777215, 16777216, 16777217,
                                     86400000, (int64_t)1 << 31, (int64_t)1 << 40 };
    static const int64_t starts[] = { 0, 1, 63, 64, 1000000, 4095, 262143, 16777215, ((int64_t)1 << 40) - 1 };
    for (size_t s = 0; s < sizeof starts / sizeof starts[0]; s++) {
        for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
            chopin__timer t = { .link = NULL };
            wheel_start(starts[s]);
            chopin__timer_set(&wheel, &t, starts[s] + waits[i]);
            CHECK_EQ_INT(fires_at(&t, INT64_MAX - 1), starts[s] + waits[i]);
            CHECK(chopin__wheel_fire(&wheel, starts[s] + waits[i]) == NULL);
        }
    }
}

static void what_is_due_already_fires_next(void) {
    chopin__timer t = { .link = NULL };
    wheel_start(5000);
    chopin__timer_set(&wheel, &t, 4000);
    CHECK_EQ_INT(chopin__wheel_next(&wheel), 5001);
    CHECK(chopin__wheel_fire(&wheel, 5000) == NULL);         // no loop that feeds itself within one turn
    CHECK(chopin__wheel_fire(&wheel, 5001) == &t);
}

static void an_empty_wheel_never_wakes(void) {
    chopin__timer t = { .link = NULL };
    wheel_start(1000);
    CHECK_EQ_INT(chopin__wheel_next(&wheel), CHOPIN__NEVER);
    chopin__timer_set(&wheel, &t, CHOPIN__NEVER);
    CHECK(!t.link);
    CHECK_EQ_INT(chopin__wheel_next(&wheel), CHOPIN__NEVER);
    chopin__timer_stop(&t);                                  // stopping what is not filed is fine
    CHECK(chopin__wheel_fire(&wheel, (int64_t)1 << 50) == NULL);
    CHECK_EQ_INT(wheel.now, (int64_t)1 << 50);
}

static void putting_off_costs_one_store(void) {
    chopin__timer t = { .link = NULL };
    wheel_start(0);
    chopin__timer_set(&wheel, &t, 100);
    chopin__timer **link = t.link;
    for (int64_t due = 101; due < 100000; due += 7) {
        chopin__timer_set(&wheel, &t, due);
        CHECK(t.link == link && t.filed <= 100);             // not touched
    }
    CHECK_EQ_INT(fires_at(&t, 1000000), 99998);
    chopin__timer_set(&wheel, &t, wheel.now + 5000);         // sooner than filed: at once
    chopin__timer_set(&wheel, &t, wheel.now + 50);
    CHECK_EQ_INT(fires_at(&t, 1000000), 99998 + 50);
    chopin__timer_set(&wheel, &t, wheel.now + 50);
    chopin__timer_set(&wheel, &t, CHOPIN__NEVER);
    CHECK_EQ_INT(fires_at(&t, 1000000), -1);
    CHECK(!t.link);
}

static void a_sleep_of_any_length_loses_no_timer(void) {
    chopin__timer t[200];
    memset(t, 0, sizeof t);
    wheel_start(12345);
    for (int i = 0; i < 200; i++) chopin__timer_set(&wheel, &t[i], 12345 + (int64_t)i * i * i * 3);
    int64_t last = 0;
    int     fired = 0;
    for (chopin__timer *got; (got = chopin__wheel_fire(&wheel, (int64_t)1 << 45)) != NULL; fired++) {
        CHECK(got->due >= last);                             // in order, although all are late
        last = got->due;
    }
    CHECK_EQ_INT(fired, 200);
}

static void a_clock_that_steps_back_moves_nothing(void) {
    chopin__timer t = { .link = NULL };
    wheel_start(1000);
    chopin__timer_set(&wheel, &t, 1100);
    CHECK(chopin__wheel_fire(&wheel, 500) == NULL);
    CHECK_EQ_INT(wheel.now, 1000);
    CHECK(chopin__wheel_fire(&wheel, 1099) == NULL);
    CHECK(chopin__wheel_fire(&wheel, 1100) == &t);
}

/* ---- many, against a model that looks at each of them ---- */
enum { TIMERS = 400 };
static chopin__timer timer[TIMERS];
static int64_t       model[TIMERS];                          // when it is due; NEVER: not set

static int64_t random_wait(uint64_t *seed) {
    unsigned bits = (unsigned)(chopin__random_next(seed) % 25);
    return (int64_t)(chopin__random_next(seed) & (((uint64_t)1 << bits) - 1));
}

static void random_change(uint64_t *seed, int64_t now) {
    size_t i = (size_t)(chopin__random_next(seed) % TIMERS);
    unsigned what = (unsigned)(chopin__random_next(seed) % 10);
    if (what == 0) {
        chopin__timer_stop(&timer[i]);
        model[i] = CHOPIN__NEVER;
    } else if (what == 1) {
        chopin__timer_set(&wheel, &timer[i], CHOPIN__NEVER);
        model[i] = CHOPIN__NEVER;
    } else if (what < 5 && model[i] != CHOPIN__NEVER) {      // put off
        model[i] += random_wait(seed);
        chopin__timer_set(&wheel, &timer[i], model[i]);
    } else {
        model[i] = now + random_wait(seed);
        chopin__timer_set(&wheel, &timer[i], model[i]);
        if (model[i] <= now) model[i] = now + 1;
    }
}

/* Everything that fires is due and expected, and nothing that is due stays behind. */
static void compare(int64_t now) {
    for (chopin__timer *t; (t = chopin__wheel_fire(&wheel, now)) != NULL; ) {
        size_t i = (size_t)(t - timer);
        CHECK(i < TIMERS && model[i] <= now);
        model[i] = CHOPIN__NEVER;
    }
    int64_t next = CHOPIN__NEVER;
    for (size_t i = 0; i < TIMERS; i++) {
        if (model[i] < next) next = model[i];
    }
    CHECK(next > now);
    CHECK(chopin__wheel_next(&wheel) <= next);               // early is allowed, late is not
}

static void play_random(uint64_t seed, int64_t ticks, int64_t most_step) {
    int64_t now = (int64_t)(chopin__random_next(&seed) >> 24), end = now + ticks;
    wheel_start(now);
    memset(timer, 0, sizeof timer);
    for (size_t i = 0; i < TIMERS; i++) model[i] = CHOPIN__NEVER;
    while (now < end) {
        for (int n = (int)(chopin__random_next(&seed) % 4); n > 0; n--) random_change(&seed, now);
        now += 1 + (int64_t)(chopin__random_next(&seed) % (uint64_t)most_step);
        compare(now);
    }
}

static void the_wheel_matches_a_naive_model(void) {
    play_random(1, 1 << 15, 1);                              // every tick looked at
    play_random(2, 1 << 20, 40);
    play_random(3, 1 << 20, 300);                            // beyond the first ring at once
    play_random(4, 1 << 26, 10000);
    play_random(5, (int64_t)1 << 33, 1000000);               // and beyond the last
}

/* The loop wakes for a moment of interest and finds nothing: that must stay rare. */
static void false_alarms_are_few(void) {
    chopin__timer t = { .link = NULL };
    int wakes = 0;
    wheel_start(777);
    chopin__timer_set(&wheel, &t, 777 + 86400000);           // in a day: six times around the last ring
    while (!chopin__wheel_fire(&wheel, chopin__wheel_next(&wheel))) wakes++;
    CHECK(wakes < 40);
    chopin__timer set = { .link = NULL };                    // ten thousand requests of one keep-alive connection
    int64_t now = wheel.now;
    wakes = 0;
    for (int i = 0; i < 10000; i++) {
        now += 10;
        while (chopin__wheel_next(&wheel) <= now) { CHECK(!chopin__wheel_fire(&wheel, now)); wakes++; }
        chopin__timer_set(&wheel, &set, now + 60000);
    }
    CHECK(wakes < 20);
}

/* ---- dates ---- */

static void check_date(int64_t at) {
    char   want[64], got[32] = "";
    struct tm tm;
    time_t t = (time_t)at;
    chopin__date_format(got, at);
    strftime(want, sizeof want, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&t, &tm));
    if (!CHECK(strcmp(got, want) == 0)) printf("%lld: %s, expected %s\n", (long long)at, got, want);
}

static void dates_match_strftime(void) {
    int64_t last = sizeof(time_t) == 8 ? 253402300799 : INT32_MAX;       // the end of the year 9999
    for (int64_t day = 0; day * 86400 + 86399 <= last && day < 60000; day++) { check_date(day * 86400); check_date(day * 86400 + 86399); }
    for (int64_t at = 0; at <= last; at += 86400 * 31 + 12345) check_date(at);
    for (int64_t at = 1700000000; at < 1700000000 + 90000; at += 7) check_date(at);
    check_date(951782400);                                   // 29 February 2000
    check_date(last);
}

static void the_preset_is_patched_in_place(void) {
    chopin__preset p;
    chopin__preset_init(&p, "chopin", false, 0);
    CHECK(strstr(p.text, "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n") != NULL);
    uint32_t len = p.len;
    chopin__preset_date(&p, 784111777);
    CHECK(strstr(p.text, "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n") != NULL);   // the example of RFC 9110 5.6.7
    CHECK_EQ_INT(p.len, len);
    CHECK_EQ_INT(strlen(p.text), len);
    chopin__preset_init(&p, "", true, 0);
    CHECK_STR(((chopin_str){ p.text, p.len }), "HTTP/1.1 200 OK\r\n");
}

static void rates_and_deadlines_do_not_overflow(void) {
    CHECK_EQ_INT(chopin__rate_due(1000, 0, 1024), 11000);                // ten seconds are free
    CHECK_EQ_INT(chopin__rate_due(1000, 20480, 1024), 21000);
    CHECK_EQ_INT(chopin__rate_due(1000, 0, -1), CHOPIN__NEVER);
    CHECK(chopin__rate_due(1000, UINT64_MAX, 1) > 1000);
    CHECK(chopin__rate_due(INT64_MAX / 4, UINT64_MAX / 4, 1) > INT64_MAX / 4);
    CHECK_EQ_INT(chopin__after(5, -1), CHOPIN__NEVER);
    CHECK_EQ_INT(chopin__after(5, 10), 15);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(a_timer_fires_at_its_moment);
    RUN(what_is_due_already_fires_next);
    RUN(an_empty_wheel_never_wakes);
    RUN(putting_off_costs_one_store);
    RUN(a_sleep_of_any_length_loses_no_timer);
    RUN(a_clock_that_steps_back_moves_nothing);
    RUN(the_wheel_matches_a_naive_model);
    RUN(false_alarms_are_few);
    RUN(dates_match_strftime);
    RUN(the_preset_is_patched_in_place);
    RUN(rates_and_deadlines_do_not_overflow);
    return TEST_END();
}
