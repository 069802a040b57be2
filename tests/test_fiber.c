/* test_fiber_switch.c - the >>fiber room alone: a small worker made of fibers, and what must hold for it.

   cc -std=c11 -O2 test_fiber_switch.c -pthread -lm && ./a.out        all tests
   ./a.out bench                                             ns per round trip */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#define CHOPIN_ASSERT(x) ((x) ? (void)0 : (fprintf(stderr, "%s:%d: assertion failed: %s\n", __FILE__, __LINE__, #x), abort()))

#include "fiber.h"

#include <fenv.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#if defined(__GLIBC__)
#include <execinfo.h>
#endif

#define CHECK(x) ((x) ? (void)0 : (fprintf(stderr, "%s:%d: %s: not so: %s\n", __FILE__, __LINE__, __func__, #x), exit(1)))

// ThreadSanitizer allows about 8000 fibers, and emulators are slow.
#if defined(CHOPIN__FIBER_TSAN)
enum { MANY = 4000, SWITCHES = 100000 };
#else
enum { MANY = 10000, SWITCHES = 1000000 };
#endif

/* ---- a worker: a queue of jobs (call a handler, wake a fiber), run by a loop that owns no locals ---- */

typedef struct world world;
typedef struct job {
    void          (*handler)(world *w, unsigned number);   // NULL: wake `fiber`
    chopin__fiber  *fiber;
    unsigned        number;
} job;

struct world {
    chopin__fibers pool;
    job            jobs[2 * MANY + 16];
    unsigned       first, end;           // of the jobs not yet done
    unsigned       finished;             // handlers that returned
    unsigned       refused;              // handlers that could not park
    unsigned       faults;               // retired
    bool           overflow;             // the last fault lay in the guard
    int            left;                 // times the loop came back from leave
    chopin__fiber *parked[MANY];
    unsigned       parked_count;
};

static world the_world;   // signal handlers know no other way

static void loop(void *arg) {
    world *w = arg;
    for (;;) {
        if (w->first == w->end) {
            if (chopin__fiber_leave(&w->pool)) {
                return;
            }
            w->left++;
            continue;
        }
        job *next = &w->jobs[w->first++];
        if (next->handler != NULL) {
            next->handler(w, next->number);
            w->finished++;
        } else {
            chopin__fiber_give(&w->pool, w->pool.current);
            chopin__fiber_switch(&w->pool, next->fiber);
        }
    }
}

static bool park(world *w) {
    chopin__fiber *me = w->pool.current, *next = chopin__fiber_take(&w->pool);
    if (next == NULL) {
        w->refused++;
        return false;
    }
    w->parked[w->parked_count++] = me;
    chopin__fiber_switch(&w->pool, next);
    CHECK(w->pool.current == me);
    return true;
}

static void call(world *w, void (*handler)(world *w, unsigned number), unsigned number) {
    w->jobs[w->end++] = (job){ handler, NULL, number };
}

static void wake_all(world *w) {
    for (unsigned i = 0; i < w->parked_count; i++) {
        w->jobs[w->end++] = (job){ NULL, w->parked[i], 0 };
    }
    w->parked_count = 0;
}

static void run(world *w) {
    chopin__fiber_enter(&w->pool);
    CHECK(w->first == w->end);
    w->first = w->end = 0;
}

static world *start(unsigned max) {
    world *w = &the_world;
    memset(w, 0, sizeof *w);
    CHECK(chopin__fibers_init(&w->pool, 64 * 1024, max, loop, w));
    return w;
}

static void stop(world *w) {
    CHECK(w->pool.current == NULL);
    chopin__fibers_done(&w->pool);
}

/* ---- claims that hold with and without fibers ---- */

static void count_one(world *w, unsigned number) {
    (void)w, (void)number;
}

static void a_handler_that_never_waits_is_a_plain_call(void) {
    world *w = start(4);
    for (int round = 1; round <= 3; round++) {
        for (unsigned i = 0; i < 100; i++) {
            call(w, count_one, i);
        }
        run(w);
        CHECK(w->finished == 100u * (unsigned)round && w->pool.count == 1);
    }
    stop(w);
}

static void panic(world *w, unsigned number) {
    volatile char frame[3000];
    memset((void *)frame, (int)number, sizeof frame);
    w->faults++;
    chopin__fiber_retire(&w->pool);
}

static void a_panic_costs_one_request_and_no_stack(void) {
    world *w = start(1);   // not even a second fiber is needed
    for (unsigned i = 0; i < 100; i++) {
        call(w, i % 2 ? panic : count_one, i);
    }
    run(w);
    CHECK(w->faults == 50 && w->finished == 50 && w->pool.count == 1);
    stop(w);
}

static volatile uintptr_t eight = 8;
static volatile uint64_t  sink;

static void write_to_null(world *w, unsigned number) {
    (void)w;
    *(volatile unsigned *)eight = number;
}

static void call_abort(world *w, unsigned number) {
    (void)w, (void)number;
    abort();
}

static uint64_t recurse(uint64_t depth) {
    volatile char frame[512];
    frame[depth % sizeof frame] = 1;
    sink = depth;
    return depth == UINT64_MAX ? 0 : recurse(depth + 1) + (uint64_t)frame[sink % sizeof frame];
}

static void on_fault(int sig, siginfo_t *info, void *context) {
    (void)context;
    world *w = &the_world;
    w->faults++;
    w->overflow = sig == SIGSEGV && chopin__fiber_overflowed(&w->pool, w->pool.current, info->si_addr);
    if (w->parked_count > 0 && w->parked[w->parked_count - 1] == w->pool.current) {
        w->parked_count--;   // it faulted on its way out: there is nobody to wake
    }
    chopin__fiber_retire(&w->pool);
}

static void catch_faults(void) {
    static char stack[64 * 1024];
    stack_t on = { .ss_sp = stack, .ss_size = sizeof stack };
    struct sigaction act;
    memset(&act, 0, sizeof act);
    act.sa_sigaction = on_fault;
    act.sa_flags     = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    CHECK(sigaltstack(&on, NULL) == 0);
    const int signals[] = { SIGSEGV, SIGBUS, SIGABRT };
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        CHECK(sigaction(signals[i], &act, NULL) == 0);
    }
}

static void a_fault_costs_one_request(void (*handler)(world *, unsigned), bool overflow) {
    world *w = start(1);
    for (unsigned i = 0; i < 20; i++) {
        call(w, i % 2 ? handler : count_one, i);
    }
    run(w);
    CHECK(w->faults == 10 && w->finished == 10 && w->pool.count == 1 && w->overflow == overflow);
    stop(w);
    sigset_t blocked;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    CHECK(!sigismember(&blocked, SIGSEGV) && !sigismember(&blocked, SIGABRT));
}

static void a_null_write_costs_one_request(void) {
    a_fault_costs_one_request(write_to_null, false);
}

static void an_abort_costs_one_request(void) {
    a_fault_costs_one_request(call_abort, false);
}

#if !defined(CHOPIN_NO_FIBERS)

/* ---- claims about fibers ---- */

#if defined(CHOPIN__FIBER_ASAN)
static const bool large_frames_are_on_the_stack = false;   // but perhaps in ASan's heap
#else
static const bool large_frames_are_on_the_stack = true;
#endif
#if defined(CHOPIN__FIBER_ASAN) || defined(CHOPIN__FIBER_TSAN)
static const bool switches_are_ours_alone = false;   // a fault inside their half of a switch is not forgiven
#else
static const bool switches_are_ours_alone = true;
#endif

static uint64_t order;

static void wait_once(world *w, unsigned number) {
    char text[64];
    snprintf(text, sizeof text, "request %u", number);
    CHECK(park(w));
    CHECK(strtoul(text + 8, NULL, 10) == number);
    CHECK(order == number);
    order++;
}

static void ten_thousand_parked_wake_in_order(void) {
    world *w = start(MANY + 1);
    for (int round = 0; round < 3; round++) {
        order = 0;
        for (unsigned i = 0; i < MANY; i++) {
            call(w, wait_once, i);
        }
        run(w);
        CHECK(w->parked_count == MANY && w->pool.count == MANY + 1 && w->finished == (unsigned)round * MANY);
        wake_all(w);
        run(w);
        CHECK(order == MANY && w->pool.count == MANY + 1);
        CHECK(w->pool.warm_count == CHOPIN__FIBER_WARM && w->pool.cold_count == MANY - CHOPIN__FIBER_WARM);
    }
    stop(w);
}

static size_t resident(const chopin__fiber *f, size_t page) {
    unsigned char map[256] = { 0 };
    size_t pages = 0;
    CHECK(mincore((void *)f->low, f->size, map) == 0);
    for (size_t i = 0; i < f->size / page; i++) {
        pages += map[i] & 1;
    }
    return pages;
}

static void wait_deep(world *w, unsigned number) {
    volatile char frame[40000];
    memset((void *)frame, 1, sizeof frame);
    CHECK(park(w) && frame[number] == 1);
}

static void cold_fibers_return_their_pages_and_warm_ones_do_not(void) {
    world *w = start(8);
    w->pool.warm_max = 1;
    for (int round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 3; i++) {
            call(w, wait_deep, i);
        }
        run(w);
        wake_all(w);
        run(w);
        CHECK(w->pool.warm_count == 1 && w->pool.cold_count == 2 && w->finished == 3u * (unsigned)(round + 1));
    }
    if (!large_frames_are_on_the_stack) {
        stop(w);
        return;
    }
    CHECK(resident(w->pool.loop, w->pool.page_size) >= 40000 / w->pool.page_size);   // parked deep, not given since
    CHECK(chopin__fiber_depth(w->pool.loop) >= 40000);
    for (chopin__fiber *f = w->pool.cold; f != NULL; f = f->next) {
        CHECK(resident(f, w->pool.page_size) <= 20000 / w->pool.page_size);   // first: measuring reads all pages
        CHECK(chopin__fiber_depth(f) < 20000);
    }
    stop(w);
}

static void max_reached_is_null_and_the_handler_goes_on(void) {
    world *w = start(3);
    order = 0;
    for (unsigned i = 0; i < 2; i++) {
        call(w, wait_once, i);
    }
    run(w);
    CHECK(chopin__fiber_take(&w->pool) == NULL);
    wake_all(w);
    run(w);
    CHECK(w->finished == 2 && w->pool.warm_count == 2);
    chopin__fiber *a = chopin__fiber_take(&w->pool), *b = chopin__fiber_take(&w->pool);
    CHECK(a != NULL && b != NULL && a != b && chopin__fiber_take(&w->pool) == NULL);
    stop(w);
}

/* More values than there are registers, live across a park. */
__attribute__((noinline)) static void hold_registers(world *w, uint64_t s, double d) {
    uint64_t a = s * 3, b = s * 5, c = s * 7, e = s * 11, f = s * 13, g = s * 17, h = s * 19, i = s * 23, j = s * 29, k = s * 31, l = s * 37, m = s * 41;
    double   o = d * 3, q = d * 5, r = d * 7, t = d * 11, u = d * 13, v = d * 17, x = d * 19, y = d * 23, z = d * 29;
    for (int n = 0; n < 3; n++) {
        CHECK(park(w));
        a += s, b += s, c += s, e += s, f += s, g += s, h += s, i += s, j += s, k += s, l += s, m += s;
        o += d, q += d, r += d, t += d, u += d, v += d, x += d, y += d, z += d;
    }
    CHECK(a == s * 6 && b == s * 8 && c == s * 10 && e == s * 14 && f == s * 16 && g == s * 20);
    CHECK(h == s * 22 && i == s * 26 && j == s * 32 && k == s * 34 && l == s * 40 && m == s * 44);
    CHECK(o == d * 6 && q == d * 8 && r == d * 10 && t == d * 14 && u == d * 16 && v == d * 20 && x == d * 22 && y == d * 26 && z == d * 32);
}

static const int roundings[] = { FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO };

static void hold_modes(world *w, unsigned number) {
    CHECK(fegetround() == FE_TONEAREST);
    const int mine = roundings[number % 4];
    fesetround(mine);
    hold_registers(w, number + 1, (double)(number + 1));
    CHECK(fegetround() == mine);
    fesetround(FE_TONEAREST);
}

static void registers_and_fp_modes_survive(void) {
    world *w = start(100);
    for (unsigned i = 0; i < 99; i++) {
        call(w, hold_modes, i);
    }
    for (int round = 0; round < 4; round++) {
        run(w);
        CHECK(fegetround() == FE_TONEAREST);
        wake_all(w);
    }
    CHECK(w->finished == 99);
    stop(w);
}

static void upset_modes_and_die(world *w, unsigned number) {
    fesetround(FE_UPWARD);
    write_to_null(w, number);
}

static void a_retired_fiber_has_the_modes_of_the_thread(void) {
    world *w = start(2);
    order = 0;
    call(w, upset_modes_and_die, 1);
    call(w, hold_modes, 0);
    for (int round = 0; round < 4; round++) {
        run(w);
        CHECK(fegetround() == FE_TONEAREST);
        wake_all(w);
    }
    CHECK(w->finished == 1 && w->faults == 1);
    stop(w);
}

static void eat_the_stack(world *w, unsigned number) {
    (void)w;
    sink = recurse(number);
}

static void an_overflow_hits_the_guard(void) {
    a_fault_costs_one_request(eat_the_stack, true);
    world *w = start(1);
    const chopin__fiber *f = w->pool.loop;
    CHECK(chopin__fiber_depth(f) < 20000);   // fresh: only the struct and nothing below
    CHECK(!chopin__fiber_overflowed(&w->pool, f, (void *)f->low));
    CHECK(chopin__fiber_overflowed(&w->pool, f, (void *)(f->low - 1)));
    CHECK(chopin__fiber_overflowed(&w->pool, f, (void *)(f->low - CHOPIN__FIBER_GUARD)));
    CHECK(!chopin__fiber_overflowed(&w->pool, f, (void *)(f->low - w->pool.guard_size - 1)));
    stop(w);
}

/* Parks with ever less stack left, so that the overflow happens in all places of the switch. */
__attribute__((noinline)) static void park_at(world *w, uintptr_t left) {
    volatile char frame[32];
    frame[0] = (char)left;
    if ((uintptr_t)frame > w->pool.current->low + left) {
        park_at(w, left);
    } else {
        park(w);
    }
    sink = (uint64_t)frame[0];
}

static void park_near_the_end(world *w, unsigned number) {
    park_at(w, number);
}

static void an_overflow_inside_the_switch_is_the_handlers(void) {
    world *w = start(200);
    for (unsigned left = 2048; left > 64; left -= 16) {
        call(w, park_near_the_end, left);
        run(w);
        wake_all(w);
        run(w);
    }
    CHECK(w->faults > 0 && w->overflow && w->faults + w->finished == 124);
    stop(w);
}

static void park_then_die(world *w, unsigned number) {
    CHECK(park(w));
    switch (number % 4) {
    case 0:  panic(w, number); break;
    case 1:  write_to_null(w, number); break;
    case 2:  call_abort(w, number); break;
    default: eat_the_stack(w, number); break;
    }
}

static void retired_fibers_are_used_again(void) {
    world *w = start(41);
    for (int round = 0; round < 5; round++) {
        for (unsigned i = 0; i < 40; i++) {
            call(w, park_then_die, i);
        }
        run(w);
        wake_all(w);
        run(w);
        order = 0;
        for (unsigned i = 0; i < 40; i++) {
            call(w, wait_once, i);
        }
        run(w);
        wake_all(w);
        run(w);
        CHECK(order == 40 && w->faults == 40u * (unsigned)(round + 1) && w->pool.count == 41 && w->pool.warm_count == 40);
    }
    stop(w);
}

#if defined(__GLIBC__)
static int frames;

__attribute__((noinline)) static void trace(world *w, unsigned number) {
    void *pc[64];
    (void)w, (void)number;
    frames = backtrace(pc, 64);
    for (int i = 0; getenv("TRACE") && i < frames; i++) {
        fprintf(stderr, "  #%d %p\n", i, pc[i]);
    }
}

static void a_backtrace_ends_at_the_entry(void) {
    world *w = start(4);
    order = 0;
    call(w, trace, 0);
    call(w, wait_once, 0);
    call(w, trace, 0);   // the loop on a second fiber
    run(w);
    wake_all(w);
    run(w);
    CHECK(w->finished == 3);
#if !defined(__arm__) && !defined(__OPTIMIZE__)
    CHECK(frames >= 3);   // trace, loop, start
#endif
    CHECK(frames < 10);
    stop(w);
}
#endif

static void leave_and_enter_continue_the_same_fiber(void) {
    world *w = start(4);
    order = 0;
    call(w, wait_once, 0);
    run(w);
    const chopin__fiber *second = w->pool.loop;
    for (int i = 0; i < 10; i++) {
        run(w);
        CHECK(w->pool.loop == second);
    }
    wake_all(w);
    run(w);
    CHECK(w->pool.loop != second && w->pool.warm == second && w->left >= 10);
    stop(w);
}

/* ---- two fibers that do nothing but switch ---- */

typedef struct match {
    chopin__fibers pool;
    chopin__fiber *server;
    uint64_t       rounds, done;
} match;

static void ping_pong(void *arg) {
    match *m = arg;
    if (m->server == NULL) {   // the first fiber serves, the second answers for ever
        m->server = m->pool.current;
        chopin__fiber *other = chopin__fiber_take(&m->pool);
        for (; m->done < m->rounds; m->done++) {
            chopin__fiber_switch(&m->pool, other);
        }
        chopin__fiber_leave(&m->pool);
    }
    for (;;) {
        chopin__fiber_switch(&m->pool, m->server);
    }
}

static double play(uint64_t rounds) {
    match m = { .rounds = rounds };
    struct timespec a, b;
    CHECK(chopin__fibers_init(&m.pool, 0, 2, ping_pong, &m));
    clock_gettime(CLOCK_MONOTONIC, &a);
    chopin__fiber_enter(&m.pool);
    clock_gettime(CLOCK_MONOTONIC, &b);
    CHECK(m.done == rounds);
    chopin__fibers_done(&m.pool);
    return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / (double)rounds;
}

static void a_million_switches(void) {
    play(SWITCHES / 2);
}

static void *play_a_while(void *arg) {
    play(SWITCHES / 20);
    return arg;
}

static void pools_of_several_threads_do_not_meet(void) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_create(&threads[i], NULL, play_a_while, NULL) == 0);
    }
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

static void no_memory_is_false(void) {
    chopin__fibers p;
    CHECK(!chopin__fibers_init(&p, SIZE_MAX / 18, 1, loop, NULL) && errno != 0);
    chopin__fibers_done(&p);
}

static void park_only(world *w, unsigned number) {
    (void)number;
    park(w);
}

static double park_and_wake(unsigned waiting, int rounds) {
    world *w = start(waiting + 1);
    struct timespec a, b;
    for (int i = -1; i < rounds; i++) {
        if (i == 0) {
            clock_gettime(CLOCK_MONOTONIC, &a);
        }
        for (unsigned n = 0; n < waiting; n++) {
            call(w, park_only, n);
        }
        run(w);
        wake_all(w);
        run(w);
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    stop(w);
    return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / (double)rounds / waiting;
}

static void bench(void) {
    for (int i = 0; i < 3; i++) {
        printf("ping-pong %.1f ns a round trip; park and wake: 1 waiting %.1f ns, 10 %.1f ns, 100 %.1f ns, 1000 %.1f ns, 10000 %.1f ns\n",
               play(20000000), park_and_wake(1, 1000000), park_and_wake(10, 300000), park_and_wake(100, 30000), park_and_wake(1000, 3000), park_and_wake(10000, 50));
    }
}

#endif

#define RUN(test) (test(), printf("ok %s\n", #test), fflush(stdout))

int main(int argc, char **argv) {
    catch_faults();
#if !defined(CHOPIN_NO_FIBERS)
    if (argc > 1 && strcmp(argv[1], "bench") == 0) {
        bench();
        return 0;
    }
#endif
    (void)argc, (void)argv;
    RUN(a_handler_that_never_waits_is_a_plain_call);
    RUN(a_panic_costs_one_request_and_no_stack);
    RUN(a_null_write_costs_one_request);
    RUN(an_abort_costs_one_request);
#if !defined(CHOPIN_NO_FIBERS)
    RUN(a_million_switches);
    RUN(pools_of_several_threads_do_not_meet);
    RUN(no_memory_is_false);
    RUN(ten_thousand_parked_wake_in_order);
    RUN(cold_fibers_return_their_pages_and_warm_ones_do_not);
    RUN(max_reached_is_null_and_the_handler_goes_on);
    RUN(leave_and_enter_continue_the_same_fiber);
    RUN(registers_and_fp_modes_survive);
    RUN(a_retired_fiber_has_the_modes_of_the_thread);
    RUN(an_overflow_hits_the_guard);
    if (switches_are_ours_alone) {
        RUN(an_overflow_inside_the_switch_is_the_handlers);
    }
    RUN(retired_fibers_are_used_again);
#if defined(__GLIBC__)
    RUN(a_backtrace_ends_at_the_entry);
#endif
#else
    world *w = start(1);
    CHECK(chopin__fiber_take(&w->pool) == NULL);
    chopin__fiber_give(&w->pool, NULL);
    CHECK(!chopin__fiber_overflowed(&w->pool, w->pool.current, NULL) && chopin__fiber_depth(w->pool.current) == 0);
    (void)park, (void)wake_all, (void)recurse, (void)chopin__fiber_switch;
    stop(w);
#endif
    return 0;
}
