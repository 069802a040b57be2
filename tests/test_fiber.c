/* test_fiber.c - the >>fiber room alone under a small worker made of fibers, then whole servers whose handlers wait: scripted clients, virtual time.
 * Built with CHOPIN_NO_FIBERS it tests what holds without them. `test_fiber scenario` prints replies that both builds must give alike. */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER
#include "test.h"
#include "kit.h"
#include <fenv.h>
#include <semaphore.h>
#include <sys/wait.h>

// ThreadSanitizer allows about 8000 fibers.
#if defined(CHOPIN__FIBER_TSAN)
enum { MANY = 4000, SWITCHES = 100000 };
#else
enum { MANY = 10000, SWITCHES = 1000000 };
#endif

/* ---- a worker: a queue of jobs (call a handler, wake a fiber), run by a loop that owns no locals ---- */

typedef struct world world;
typedef struct task {
    void          (*handler)(world *w, unsigned number);   // NULL: wake `fiber`
    chopin__fiber  *fiber;
    unsigned        number;
} task;

struct world {
    chopin__fibers pool;
    task           jobs[2 * MANY + 16];
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
        task *next = &w->jobs[w->first++];
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
    w->jobs[w->end++] = (task){ handler, NULL, number };
}

static void wake_all(world *w) {
    for (unsigned i = 0; i < w->parked_count; i++) {
        w->jobs[w->end++] = (task){ NULL, w->parked[i], 0 };
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

static const int caught[] = { SIGSEGV, SIGBUS, SIGABRT };
static struct sigaction faults_before[3];

static void catch_faults(void) {
    static char stack[64 * 1024];
    stack_t on = { .ss_sp = stack, .ss_size = sizeof stack };
    struct sigaction act;
    memset(&act, 0, sizeof act);
    act.sa_sigaction = on_fault;
    act.sa_flags     = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    CHECK(sigaltstack(&on, NULL) == 0);
    for (size_t i = 0; i < 3; i++) {
        CHECK(sigaction(caught[i], &act, &faults_before[i]) == 0);
    }
}

static void leave_faults(void) {
    for (size_t i = 0; i < 3; i++) {
        sigaction(caught[i], &faults_before[i], NULL);
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

#if defined(CHOPIN__BACKTRACE)
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

static void rally(uint64_t rounds) {
    match m = { .rounds = rounds };
    CHECK(chopin__fibers_init(&m.pool, 0, 2, ping_pong, &m));
    chopin__fiber_enter(&m.pool);
    CHECK(m.done == rounds);
    chopin__fibers_done(&m.pool);
}

static void a_million_switches(void) {
    rally(SWITCHES / 2);
}

static void *play_a_while(void *arg) {
    rally(SWITCHES / 20);
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

#else

static void without_fibers_there_is_nothing_to_take(void) {
    world *w = start(1);
    CHECK(chopin__fiber_take(&w->pool) == NULL);
    chopin__fiber_give(&w->pool, NULL);
    CHECK(!chopin__fiber_overflowed(&w->pool, w->pool.current, NULL) && chopin__fiber_depth(w->pool.current) == 0);
    (void)park, (void)wake_all, (void)recurse, (void)chopin__fiber_switch;
    stop(w);
}

#endif

/* ---- whole servers: scripted clients on one worker, time that jumps ---- */

/* Plays `count` clients at once and says how it went for the worker; what they got stays in .out until play_done(). */
static chopin_counters play(chopin_app *app, chopin__script_client *clients, size_t count) {
    chopin__server *s = chopin__server_of(app);
    chopin__port  **ports = calloc(count, sizeof *ports);
    chopin__script  script = { .clients = clients, .count = count, .port = ports };
    chopin_worker  *w = NULL;
    chopin_counters n = { 0 };
    if (!CHECK(posix_memalign((void **)&w, 64, (sizeof *w + 63) & ~(size_t)63) == 0)) { free(ports); return n; }
    CHECK(chopin__server_freeze(s) == CHOPIN_OK);
    if (CHECK(chopin__worker_init(w, &s->site, 0, &chopin__script_ops, &script))) {
        w->server = s;
        CHECK(chopin__script_run(s, &script, w));
        CHECK(!script.stuck && w->parked_count == 0 && w->connections == 0);
        n = (chopin_counters){ .requests = w->counts.requests, .parked = w->counts.parked, .faults = w->counts.faults, .closed = w->counts.closed };
    }
    chopin__worker_done(w);
    free(w);
    free(ports);
    return n;
}

static chopin_str got(const chopin__script_client *c) { return (chopin_str){ c->out ? c->out : "", c->out_len }; }

static void play_done(chopin__script_client *clients, size_t count) {
    for (size_t i = 0; i < count; i++) free(clients[i].out);
    memset(clients, 0, count * sizeof *clients);
}

static chopin_str text(const char *z) { return (chopin_str){ z, strlen(z) }; }

#define ASK(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

/* What handlers leave behind, in the order in which it happened. */
static char   trail[4096];
static size_t trail_len;

static void note(const char *what) { trail_len += (size_t)snprintf(trail + trail_len, sizeof trail - trail_len, "%s ", what); }
static void note_arg(void *what)   { note(what); }
static void forget(void)           { trail_len = 0; trail[0] = 0; }

static int plain(chopin_ctx *c) { return chopin_text(c, 200, "plain"); }

static int64_t param_i64(chopin_ctx *c, const char *name) {
    int64_t value = -1;
    return chopin_get_i64(c, CHOPIN_FROM_PARAM, name, &value) == CHOPIN_OK ? value : -1;
}

static int nap(chopin_ctx *c) {
    int rc = chopin_sleep(c, param_i64(c, "ms"));
    return rc < 0 ? rc : chopin_textf(c, 200, "slept %lld", (long long)param_i64(c, "ms"));
}

/* -- the rest of a batch -- */

static int ran[10], finish[10], finished_count;

static int hit(chopin_ctx *c) {
    int64_t i = param_i64(c, "i");
    ran[i]++;
    if (i == 2) chopin_sleep(c, 50);
    finish[finished_count++] = (int)i;
    return chopin_textf(c, 200, "hit %d", (int)i);
}

static void rest_of_the_batch_was_run_once(void) {
    CHECK_EQ_INT(finished_count, 10);
    for (int i = 0; i < 10; i++) CHECK_EQ_INT(ran[i], 1);
#if !defined(CHOPIN_NO_FIBERS)
    CHECK_EQ_INT(finish[9], 2);
#endif
    memset(ran, 0, sizeof ran);
    finished_count = 0;
}

static void rest_of_the_batch_runs_once(void) {
    chopin_options o = kit_options();
    o.loop_warn_ms = -1;
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/hit/:i", hit, NULL);
    chopin__script_client clients[10] = { { .keep_open = false } };
    char ask[10][64];
    for (int i = 0; i < 10; i++) {
        snprintf(ask[i], sizeof ask[i], ASK("/hit/%d"), i);
        clients[i].in = text(ask[i]);
    }
    CHECK_EQ_INT(play(app, clients, 10).requests, 10);
    for (int i = 0; i < 10; i++) {
        char want[16];
        snprintf(want, sizeof want, "hit %d", i);
        CHECK_EQ_INT(kit_count(got(&clients[i]), "HTTP/1.1 "), 1);
        CHECK_STR(kit_body(got(&clients[i])), want);
    }
    rest_of_the_batch_was_run_once();
    play_done(clients, 10);
    chopin_free(app);
}

/* The same with ten sockets that one epoll_wait reports. */
static void rest_of_an_epoll_batch_runs_once(void) {
    chopin_options o = kit_options();
    o.loop_warn_ms = -1;
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/hit/:i", hit, NULL);
    chopin_listen(app, "127.0.0.1:0");
    if (!CHECK_EQ_INT(chopin_open(app), CHOPIN_OK)) { chopin_free(app); return; }
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)chopin_port(app, 0)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fds[10];
    for (int i = 0; i < 10; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        CHECK(connect(fds[i], (struct sockaddr *)&to, sizeof to) == 0);
    }
    while (chopin_counters_of(app).accepted < 10 && CHECK(chopin_step(app, 10000) == 1)) { }
    for (int i = 0; i < 10; i++) {
        char ask[64];
        int  n = snprintf(ask, sizeof ask, ASK("/hit/%d"), i);
        CHECK_EQ_INT(write(fds[i], ask, (size_t)n), n);
    }
    while (finished_count < 10 && CHECK(chopin_step(app, 10000) == 1)) { }
    for (int i = 0; i < 10; i++) {
        char    reply[512], want[16];
        ssize_t n = read(fds[i], reply, sizeof reply);
        snprintf(want, sizeof want, "hit %d", i);
        CHECK_STR(kit_body((chopin_str){ reply, n > 0 ? (size_t)n : 0 }), want);
        CHECK(recv(fds[i], reply, sizeof reply, MSG_DONTWAIT) < 0);
        close(fds[i]);
    }
    rest_of_the_batch_was_run_once();
    chopin_close(app);
    chopin_free(app);
}

/* -- views -- */

/* Takes views, parks three times while others use the buffers, and looks again. */
static int keep_views(chopin_ctx *c) {
    chopin_str id = chopin_param(c, "id"), q = chopin_query(c, "q"), header = chopin_header(c, "X-Long"), target = chopin_target(c), cookie = chopin_cookie(c, "k");
    chopin_str body = chopin_body(c);
    for (int i = 0; i < 3; i++) CHECK_EQ_INT(chopin_sleep(c, 2), CHOPIN_OK);
    CHECK_STR(q, "a b");
    CHECK_STR(cookie, "v1");
    CHECK(header.len == 300 && header.ptr[0] == 'h' && header.ptr[299] == 'h');
    CHECK(target.len > 10 && memcmp(target.ptr, "/keep/", 6) == 0);
    CHECK_STR(chopin_header(c, "x-after"), "still here");
    return chopin_textf(c, 200, "id=%.*s body=%.*s", CHOPIN_FMT(id), CHOPIN_FMT(body));
}

static void views_survive_parking(void) {
    char long_value[301], bytes[2048];
    memset(long_value, 'h', 300);
    long_value[300] = 0;
    size_t len = 0;
    for (int i = 0; i < 2; i++) {
        len += (size_t)snprintf(bytes + len, sizeof bytes - len, "POST /keep/n%d?q=a%%20b HTTP/1.1\r\nHost: x\r\nX-Long: %s\r\nCookie: k=v1\r\nX-After: still here\r\nContent-Length: 9\r\n\r\nbody no %d", i, long_value, i);
    }
    len += (size_t)snprintf(bytes + len, sizeof bytes - len, ASK("/plain") "%s", "DELETE /keep/x HTTP/1.1\r\nHost: x\r\n\r\n");
    const size_t steps[] = { 0, 1, 7, 400, 500 };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        chopin_options o = kit_options();
        o.read_buffer = 1024;                                // small, so that it is soon used again
        chopin_app *app = chopin_new(&o);
        chopin_route(app, "POST", "/keep/:id", keep_views, NULL);
        chopin_route(app, "GET", "/plain", plain, NULL);
        chopin__script_client clients[4];
        memset(clients, 0, sizeof clients);
        for (size_t k = 0; k < 4; k++) clients[k] = (chopin__script_client){ .in = { bytes, len }, .read_step = steps[(i + k) % 5] };
        CHECK_EQ_INT(play(app, clients, 4).requests, 16);
        for (size_t k = 0; k < 4; k++) {
            const char *a = memmem(got(&clients[k]).ptr, clients[k].out_len, "id=n0 body=body no 0", 20), *b = memmem(got(&clients[k]).ptr, clients[k].out_len, "id=n1 body=body no 1", 20);
            const char *p = memmem(got(&clients[k]).ptr, clients[k].out_len, "plain", 5);
            CHECK(a && b && p && a < b);
            CHECK_EQ_INT(kit_count(got(&clients[k]), "HTTP/1.1 200"), 3);
            CHECK_EQ_INT(kit_count(got(&clients[k]), "HTTP/1.1 501"), 1);
        }
        play_done(clients, 4);
        chopin_free(app);
    }
}

/* -- every exit runs what was deferred, the last first -- */

static int cleanups(chopin_ctx *c) {
    chopin_defer(c, note_arg, (void *)(uintptr_t)"first");
    chopin_defer(c, note_arg, (void *)(uintptr_t)"second");
    chopin_str how = chopin_param(c, "how");
    if (chopin__equal(how, CHOPIN_STR("reply")))    return chopin_text(c, 200, "ok");
    if (chopin__equal(how, CHOPIN_STR("nothing")))  return 0;
    if (chopin__equal(how, CHOPIN_STR("negative"))) return CHOPIN_SYSTEM;
    if (chopin__equal(how, CHOPIN_STR("panic")))    chopin_panic(c, "as the test %s", "wants");
    if (chopin__equal(how, CHOPIN_STR("late")))     { chopin_sleep(c, 2); chopin_panic(c, "later"); }
    if (chopin__equal(how, CHOPIN_STR("after")))    { chopin_text(c, 200, "sent"); chopin_panic(c, "after the reply"); }
    if (chopin__equal(how, CHOPIN_STR("sleep")))    { int rc = chopin_sleep(c, 3600000); note(rc == CHOPIN_TIMEOUT ? "timeout" : rc == CHOPIN_GONE ? "gone" : "?"); return rc; }
    return 0;
}

static void deferred_cleanups_run_on_every_exit(void) {
    const struct { const char *how; int status; const char *trail; } exits[] = {
        { "reply", 200, "second first " }, { "nothing", 500, "second first " }, { "negative", 500, "second first " },
        { "panic", 500, "second first " }, { "late", 500, "second first " }, { "after", 200, "second first " },
#if !defined(CHOPIN_NO_FIBERS)
        { "sleep", 503, "timeout second first " },
#endif
    };
    chopin_options o = kit_options();
    o.handler_timeout_ms = 60000;
    for (size_t i = 0; i < sizeof exits / sizeof *exits; i++) {
        chopin_app *app = chopin_new(&o);
        app->site->logger.level = (chopin_level)(CHOPIN_ERROR + 1);
        chopin_route(app, "GET", "/exit/:how", cleanups, NULL);
        chopin_route(app, "GET", "/plain", plain, NULL);
        char ask[200];
        snprintf(ask, sizeof ask, ASK("/exit/%s") ASK("/plain"), exits[i].how);
        forget();
        chopin_str reply = kit_play_z(app, ask);
        CHECK_EQ_INT(kit_status(reply), exits[i].status);
        CHECK_EQ_INT(kit_count(reply, "HTTP/1.1 "), 2);
        CHECK(kit_has(reply, "\r\n\r\nplain"));
        CHECK_STR(text(trail), exits[i].trail);
        chopin_free(app);
    }
}

/* -- other threads -- */

typedef struct other {
    chopin_handle handle;
    pthread_t     thread;
    int           posted, woke, answer;
    bool          seen;                  // fn was called with a request
} other;

static void wake_it(chopin_ctx *c, void *arg) {
    other *job = arg;
    job->seen = c != NULL;
    job->answer = 42;
    if (c) chopin_wake(c);
}

static void *post_later(void *arg) {
    other *job = arg;
    usleep(10000);
    job->posted = chopin_post(job->handle, wake_it, job);
    return NULL;
}

static int ask_a_thread(chopin_ctx *c) {
    other job = { .handle = chopin_handle_of(c) };
    if (!CHECK(pthread_create(&job.thread, NULL, post_later, &job) == 0)) return -1;
    job.woke = chopin_park(c, -1);
    pthread_join(job.thread, NULL);
    CHECK_EQ_INT(job.posted, CHOPIN_OK);
    CHECK_EQ_INT(job.woke, CHOPIN_OK);
    CHECK(job.seen);
    return chopin_textf(c, 200, "answer %d", job.answer);
}

static int wake_first(chopin_ctx *c) {
    chopin_wake(c);
    CHECK_EQ_INT(chopin_park(c, -1), CHOPIN_OK);              // not lost
    other   again;
    int64_t before = chopin_now_ms(c);
    memset(&again, 0, sizeof again);
    CHECK_EQ_INT(chopin_post(chopin_handle_of(c), wake_it, &again), CHOPIN_OK);
    CHECK_EQ_INT(chopin_sleep(c, 30), CHOPIN_OK);
    CHECK(chopin_now_ms(c) >= before + 30);                  // it comes during the sleep, but is for chopin_park() alone
    CHECK_EQ_INT(chopin_park(c, -1), CHOPIN_OK);
    CHECK_EQ_INT(chopin_park(c, chopin_now_ms(c) + 5), CHOPIN_TIMEOUT);
    return chopin_text(c, 200, "awake");
}

static void post_reaches_a_parked_handler(void) {
    chopin_options o = kit_options();
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/ask", ask_a_thread, NULL);
    chopin_route(app, "GET", "/first", wake_first, NULL);
    chopin_str reply = kit_play_z(app, ASK("/ask") ASK("/first"));
    CHECK(kit_has(reply, "answer 42") && kit_has(reply, "awake"));
    chopin_free(app);
}

static other        stale;
static int          stale_post, stale_calls;
static void count_stale(chopin_ctx *c, void *arg) { (void)arg; stale_calls += c == NULL ? 1 : 100; }

static int leave_a_handle(chopin_ctx *c) {
    stale.handle = chopin_handle_of(c);
    CHECK_EQ_INT(chopin_post(stale.handle, count_stale, NULL), CHOPIN_OK);   // read when this request is over
    return chopin_text(c, 200, "left");
}

static int post_to_the_last(chopin_ctx *c) {
    stale_post = chopin_post(stale.handle, count_stale, NULL);
    return chopin_text(c, 200, "posted");
}

static void posts_to_an_ended_request_do_nothing(void) {
    chopin_options o = kit_options();
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/leave", leave_a_handle, NULL);
    chopin_route(app, "GET", "/post", post_to_the_last, NULL);
    stale_calls = stale_post = 0;
    CHECK_EQ_INT(kit_count(kit_play_z(app, ASK("/leave") ASK("/post")), "HTTP/1.1 200"), 2);   // the same connection, another request
    CHECK_EQ_INT(stale_post, CHOPIN_GONE);
    CHECK_EQ_INT(stale_calls, 1);
    chopin_free(app);
}

/* -- descriptors -- */

static int pipe_fds[2];

static int read_pipe(chopin_ctx *c) {
    char byte = '?';
    CHECK_EQ_INT(chopin_wait_fd(c, pipe_fds[0], CHOPIN_READ, chopin_now_ms(c) + 5), CHOPIN_TIMEOUT);
    CHECK_EQ_INT(chopin_wait_fd(c, pipe_fds[1], CHOPIN_WRITE, -1), CHOPIN_WRITE);
    note("waiting");
#if defined(CHOPIN_NO_FIBERS)
    CHECK_EQ_INT(write(pipe_fds[1], "x", 1), 1);              // nobody else could
#endif
    CHECK_EQ_INT(chopin_wait_fd(c, pipe_fds[0], CHOPIN_READ, -1), CHOPIN_READ);
    CHECK_EQ_INT(read(pipe_fds[0], &byte, 1), 1);
    note("read");
    return chopin_textf(c, 200, "got %c", byte);
}

static int write_pipe(chopin_ctx *c) {
    note("write");
#if !defined(CHOPIN_NO_FIBERS)
    CHECK_EQ_INT(write(pipe_fds[1], "x", 1), 1);
#endif
    return chopin_text(c, 200, "written");
}

static void wait_fd_waits_for_a_pipe(void) {
    chopin_options o = kit_options();
    o.loop_warn_ms = -1;
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/read", read_pipe, NULL);
    chopin_route(app, "GET", "/write", write_pipe, NULL);
    if (!CHECK(pipe2(pipe_fds, O_NONBLOCK | O_CLOEXEC) == 0)) return;
    chopin__script_client clients[2] = { { .in = text(ASK("/read")) }, { .in = text(ASK("/write")), .starts_at = 1000100 } };
    forget();
    play(app, clients, 2);
    CHECK_STR(kit_body(got(&clients[0])), "got x");
    CHECK_STR(kit_body(got(&clients[1])), "written");
#if defined(CHOPIN_NO_FIBERS)
    CHECK_STR(text(trail), "waiting read write ");
#else
    CHECK_STR(text(trail), "waiting write read ");
#endif
    play_done(clients, 2);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    chopin_free(app);
}

static void outside_a_handler_a_wait_is_a_poll(void) {
    if (!CHECK(pipe2(pipe_fds, O_NONBLOCK | O_CLOEXEC) == 0)) return;
    CHECK_EQ_INT(chopin_wait(NULL, pipe_fds[0], CHOPIN_READ, chopin__clock_ms() + 2), 0);
    CHECK_EQ_INT(chopin_wait(NULL, pipe_fds[1], CHOPIN_WRITE, -1), CHOPIN_WRITE);
    CHECK_EQ_INT(write(pipe_fds[1], "x", 1), 1);
    CHECK_EQ_INT(chopin_wait(NULL, pipe_fds[0], CHOPIN_READ, -1), CHOPIN_READ);
    CHECK_EQ_INT(chopin_wait(NULL, 0, CHOPIN_TURN, -1), 0);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

/* -- the build without fibers answers alike: what `test_fiber scenario` prints -- */

static int body_back(chopin_ctx *c) {
    chopin_str body = chopin_body(c);
    if (!body.ptr) return CHOPIN_ANSWERED;
    chopin_sleep(c, 2);
    return chopin_bytes(c, 201, "text/plain", body);
}

static int around(chopin_ctx *c) {
    chopin_sleep(c, 1);
    int rc = chopin_next(c);
    chopin_sleep(c, 1);
    chopin_set(c, "X-Around", "yes");
    return rc;
}

static int add_one(void *arg) { return ++*(int *)arg; }
static int offloads(chopin_ctx *c) {
    int n = 41, rc = chopin_offload(c, add_one, &n);
    return chopin_textf(c, 200, "%d %d", n, rc);
}

static const char *const scenario[] = {
    ASK("/plain") ASK("/nap/3") ASK("/plain") ASK("/none") "HEAD /nap/1 HTTP/1.1\r\nHost: x\r\n\r\n" ASK("/around") "PUT /plain HTTP/1.0\r\n\r\n" ASK("/never"),
    "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" "POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n" ASK("/offload"),
    "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n",
    "POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "POST /plain HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\nGET /never HTTP/1.1\r\nHost: x\r\n" ASK("/plain"),
    ASK("/exit/nothing") ASK("/exit/panic") ASK("/exit/late") ASK("/exit/negative") ASK("/exit/after") ASK("/first"),
};

/* Request ids differ from run to run: their digits become '#'. */
static void print_reply(FILE *to, chopin_str reply) {
    for (size_t i = 0; i < reply.len; i++) {
        bool id = i >= 9 && memmem(reply.ptr + (i >= 24 ? i - 24 : 0), i >= 24 ? 24 : i, "request ", 8) && isxdigit((unsigned char)reply.ptr[i]);
        fputc(id ? '#' : reply.ptr[i], to);
    }
    fputs("\n====\n", to);
}

static void print_scenario(FILE *to) {
    const size_t steps[] = { 0, 1, 13 };
    chopin_options o = kit_options();
    o.no_date = true;
    o.max_body = 100;
    o.loop_warn_ms = -1;
    for (size_t i = 0; i < sizeof scenario / sizeof *scenario; i++) {
        for (size_t step = 0; step < 3; step++) {
            chopin_app *app = chopin_new(&o);
            app->site->logger.level = (chopin_level)(CHOPIN_ERROR + 1);
            chopin_use(app, "/around", around);
            chopin_route(app, "GET", "/plain", plain, NULL);
            chopin_route(app, "GET", "/around", plain, NULL);
            chopin_route(app, "POST", "/plain", plain, NULL);
            chopin_route(app, "GET", "/nap/:ms", nap, NULL);
            chopin_route(app, "POST", "/body", body_back, NULL);
            chopin_route(app, "GET", "/offload", offloads, NULL);
            chopin_route(app, "GET", "/exit/:how", cleanups, NULL);
            chopin_route(app, "GET", "/first", wake_first, NULL);
            forget();
            print_reply(to, chopin_test_request(app, text(scenario[i]), &(chopin_test_options){ .read_step = steps[step], .write_step = steps[step] }));
            fprintf(to, "%s\n", trail);
            chopin_free(app);
        }
    }
}

#if !defined(CHOPIN_NO_FIBERS)

static void no_fibers_build_behaves_the_same(void) {
    static char ours[200000], theirs[200000];
    char  dir[] = "/tmp/chopin_fiber_XXXXXX", command[2000];
    const char *cc = getenv("CC") ? getenv("CC") : "cc";
    if (access(__FILE__, R_OK) != 0) { printf("note: %s is not here: not compared\n", __FILE__); return; }
    snprintf(command, sizeof command, "command -v %s >/dev/null", cc);
    if (system(command) != 0) { printf("note: no compiler: not compared\n"); return; }
    if (!CHECK(mkdtemp(dir) != NULL)) return;
    snprintf(command, sizeof command, "%s -O0 -w -DCHOPIN_NO_FIBERS '-DCHOPIN_HEADER=\"%s\"' '%s' -o %s/t -pthread -lm && %s/t scenario > %s/out", cc, CHOPIN_HEADER, __FILE__, dir, dir, dir);
    CHECK_EQ_INT(system(command), 0);
    snprintf(command, sizeof command, "%s/out", dir);
    FILE  *in = fopen(command, "r"), *out = fmemopen(ours, sizeof ours, "w");
    size_t n = in ? fread(theirs, 1, sizeof theirs - 1, in) : 0;
    if (in) fclose(in);
    theirs[n] = 0;
    print_scenario(out);
    long len = ftell(out);
    fclose(out);
    if (!CHECK(len > 3000 && n == (size_t)len && memcmp(ours, theirs, n) == 0)) {
        size_t at = 0;
        while (ours[at] && ours[at] == theirs[at]) at++;
        printf("they differ at %zu of %ld and %zu:\n--- with:\n%.300s\n--- without:\n%.300s\n", at, len, n, ours + (at > 100 ? at - 100 : 0), theirs + (at > 100 ? at - 100 : 0));
    }
    snprintf(command, sizeof command, "rm -r %s", dir);
    CHECK_EQ_INT(system(command), 0);
}

/* -- many -- */

static int64_t last_due, woken_count;

static int in_order(chopin_ctx *c) {
    int64_t due = chopin_now_ms(c) + param_i64(c, "ms");
    CHECK_EQ_INT(chopin_sleep(c, param_i64(c, "ms")), CHOPIN_OK);
    CHECK_EQ_INT(chopin_now_ms(c), due);
    CHECK(due >= last_due);
    last_due = due;
    woken_count++;
    return chopin_text(c, 200, "up");
}

static void ten_thousand_parked_wake_in_deadline_order(void) {
    chopin_options o = kit_options();
    o.read_buffer = o.max_head = 1024;                       // each parked request keeps one
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/nap/:ms", in_order, NULL);
    chopin__script_client *clients = calloc(MANY, sizeof *clients);
    char (*ask)[64] = calloc(MANY, sizeof *ask);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(ask[i], sizeof ask[i], ASK("/nap/%u"), 1 + i * 7919 % 500 * 11);
        clients[i].in = text(ask[i]);
    }
    last_due = woken_count = 0;
    CHECK_EQ_INT(play(app, clients, MANY).parked, MANY);
    CHECK_EQ_INT(woken_count, MANY);
    for (size_t i = 0; i < MANY; i++) CHECK_EQ_INT(kit_status(got(&clients[i])), 200);
    play_done(clients, MANY);
    free(clients);
    free(ask);
    chopin_free(app);
}

/* A client library that finds no room gives up: the request has its 503 whatever the handler says then. */
static int asks_for_too_much(chopin_ctx *c) {
    chopin_worker *w = chopin_worker_of(c);
    int ticket = chopin_wait(w, 0, CHOPIN_TICKET, -1);
    CHECK(ticket >= 0);
    CHECK_EQ_INT(chopin_wait(w, ticket, CHOPIN_PARK, chopin_now_ms(c) + 100), CHOPIN_FULL);
    return chopin_text(c, 200, "never seen");
}

static void full_waits_of_clients_are_503(void) {
    chopin_options o = kit_options();
    o.max_parked = 1;
    chopin_app *app = chopin_new(&o);
    app->site->logger.level = (chopin_level)(CHOPIN_ERROR + 1);
    chopin_route(app, "GET", "/nap/:ms", nap, NULL);
    chopin_route(app, "GET", "/ask", asks_for_too_much, NULL);
    chopin__script_client clients[2];
    memset(clients, 0, sizeof clients);
    clients[0].in = text(ASK("/nap/100"));
    clients[1].in = text(ASK("/ask"));
    CHECK_EQ_INT(play(app, clients, 2).requests, 2);
    CHECK_EQ_INT(kit_status(got(&clients[0])), 200);
    CHECK_EQ_INT(kit_status(got(&clients[1])), 503);
    play_done(clients, 2);
    chopin_free(app);
}

static void max_parked_is_503(void) {
    chopin_options o = kit_options();
    o.max_parked = 2;
    chopin_app *app = chopin_new(&o);
    app->site->logger.level = (chopin_level)(CHOPIN_ERROR + 1);
    chopin_route(app, "GET", "/nap/:ms", nap, NULL);
    chopin_route(app, "GET", "/plain", plain, NULL);
    chopin__script_client clients[7];
    memset(clients, 0, sizeof clients);
    for (int i = 0; i < 7; i++) clients[i].in = text(i == 4 ? ASK("/plain") : ASK("/nap/100") ASK("/plain"));
    clients[5].starts_at = clients[6].starts_at = 1000200;    // when the first two are done
    CHECK_EQ_INT(play(app, clients, 7).requests, 13);
    const int want[7] = { 200, 200, 503, 503, 200, 200, 200 };
    for (int i = 0; i < 7; i++) {
        CHECK_EQ_INT(kit_status(got(&clients[i])), want[i]);
        CHECK(kit_has(got(&clients[i]), "\r\n\r\nplain"));    // whatever the answer, the connection goes on
    }
    play_done(clients, 7);
    chopin_free(app);
}

/* -- clients that leave -- */

static int64_t gone_after;

static int wait_somehow(chopin_ctx *c) {
    int64_t    from = chopin_now_ms(c);
    chopin_str how = chopin_param(c, "how");
    int        rc = 0;
    chopin_defer(c, note_arg, (void *)(uintptr_t)"cleanup");
    if (chopin__equal(how, CHOPIN_STR("sleep"))) rc = chopin_sleep(c, 3600000);
    if (chopin__equal(how, CHOPIN_STR("park")))  rc = chopin_park(c, -1);
    if (chopin__equal(how, CHOPIN_STR("fd")))    rc = chopin_wait_fd(c, pipe_fds[0], CHOPIN_READ, -1);
    if (chopin__equal(how, CHOPIN_STR("wait")))  rc = chopin_wait(chopin_worker_of(c), chopin_wait(chopin_worker_of(c), 0, CHOPIN_TICKET, -1), CHOPIN_PARK, -1);
    if (chopin__equal(how, CHOPIN_STR("body")))  rc = chopin_body(c).ptr ? 1 : CHOPIN_GONE;
    note(rc == CHOPIN_GONE ? "gone" : rc == CHOPIN_CANCELED ? "canceled" : "?");
    if (rc == CHOPIN_GONE) CHECK(chopin_gone(c));
    CHECK(chopin_sleep(c, 1) == (chopin_gone(c) ? CHOPIN_GONE : rc));        // and so says every further wait
    gone_after = chopin_now_ms(c) - from;
    return rc;
}

static void gone_client_wakes_its_handler(void) {
    const char *const ways[] = { "sleep", "park", "fd", "wait", "body" };
    chopin_options o = kit_options();
    o.body_stall_ms = o.min_body_rate = -1;
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "POST", "/wait/:how", wait_somehow, NULL);
    if (!CHECK(pipe2(pipe_fds, O_NONBLOCK | O_CLOEXEC) == 0)) return;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char ask[100];
        snprintf(ask, sizeof ask, "POST /wait/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", ways[i], i == 4 ? 10 : 2, "ab");
        forget();
        chopin__script_client client = { .in = text(ask), .reset = true };
        CHECK_EQ_INT(play(app, &client, 1).closed, 1);
        CHECK_STR(text(trail), "gone cleanup ");
        CHECK(gone_after < 1000);
        CHECK_EQ_INT(client.out_len, 0);
        play_done(&client, 1);
    }
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    chopin_free(app);
}

static int stop_now(chopin_ctx *c) {
    chopin_stop(chopin_app_user(c));
    return chopin_text(c, 200, "stopping");
}

static void drain_deadline_cancels_waits(void) {
    const char *const ways[] = { "sleep", "park", "fd", "wait" };
    if (!CHECK(pipe2(pipe_fds, O_NONBLOCK | O_CLOEXEC) == 0)) return;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char ask[100];
        chopin_options o = kit_options();
        o.drain_timeout_ms = 30;                             // some waits here are real
        chopin_app *app = chopin_new(&o);
        app->site->options.user = app;
        app->site->logger.level = (chopin_level)(CHOPIN_ERROR + 1);
        chopin_route(app, "GET", "/wait/:how", wait_somehow, NULL);
        chopin_route(app, "GET", "/nap/:ms", nap, NULL);
        chopin_route(app, "GET", "/stop", stop_now, NULL);
        snprintf(ask, sizeof ask, ASK("/wait/%s"), ways[i]);
        chopin__script_client clients[3] = { { .in = text(ask) }, { .in = text(ASK("/nap/10")), .keep_open = true }, { .in = text(ASK("/stop")), .keep_open = true } };
        forget();
        play(app, clients, 3);
        CHECK_STR(text(trail), "canceled cleanup ");
        CHECK(gone_after >= 30 && gone_after < 1030);
        CHECK(kit_status(got(&clients[0])) >= 500);
        CHECK_STR(kit_body(got(&clients[1])), "slept 10");   // in flight, and in time
        CHECK(kit_has(got(&clients[1]), "Connection: close\r\n"));
        CHECK_STR(kit_body(got(&clients[2])), "stopping");
        play_done(clients, 3);
        chopin_free(app);
    }
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

/* A test call whose handler waits for nothing comes back, and nothing is lost. */
static void a_wait_without_end_ends_with_the_test_call(void) {
    chopin_options o = kit_options();
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/wait/:how", wait_somehow, NULL);
    forget();
    chopin_test_request(app, text(ASK("/wait/wait")), &(chopin_test_options){ .keep_open = true });
    CHECK(strstr(trail, "gone cleanup ") || strstr(trail, "canceled cleanup "));
    chopin_free(app);
}

static void handler_timeout_ends_waits(void) {
    chopin_options o = kit_options();
    chopin_app *app = chopin_new(&o);
    app->site->logger.level = (chopin_level)(CHOPIN_ERROR + 1);
    chopin_route(app, "GET", "/nap/:ms", nap, &(chopin_route_options){ .handler_timeout_ms = 50 });
    CHECK_EQ_INT(kit_status(kit_play_z(app, ASK("/nap/49"))), 200);
    CHECK_EQ_INT(kit_status(kit_play_z(app, ASK("/nap/51"))), 503);
    chopin_free(app);
}

/* -- the thread pool -- */

static sem_t job_runs, job_may_end;

static int blocking_job(void *arg) {
    sem_post(&job_runs);
    while (sem_wait(&job_may_end) != 0) { }
    return *(int *)arg + 1;
}

static int offload_first(chopin_ctx *c) {
    int n = 1;
    return chopin_textf(c, 200, "job %d", chopin_offload(c, blocking_job, &n));
}

/* The second is queued behind the first, which runs; there is no place for the third, which lets both end. */
static int offload_second(chopin_ctx *c) {
    int n = 2;
    while (sem_wait(&job_runs) != 0) { }
    return chopin_textf(c, 200, "job %d", chopin_offload(c, blocking_job, &n));
}

static int offload_third(chopin_ctx *c) {
    int n = 3, rc = chopin_offload(c, blocking_job, &n);
    CHECK_EQ_INT(rc, CHOPIN_FULL);
    CHECK_EQ_INT(chopin_reply_status(c), 503);
    sem_post(&job_may_end);
    sem_post(&job_may_end);
    return rc;
}

static void offload_queue_full_is_503(void) {
    chopin_options o = kit_options();
    o.offload_threads = o.offload_queue = 1;
    o.loop_warn_ms = -1;
    chopin_app *app = chopin_new(&o);
    app->site->logger.level = (chopin_level)(CHOPIN_ERROR + 1);
    sem_init(&job_runs, 0, 0);
    sem_init(&job_may_end, 0, 0);
    chopin_route(app, "GET", "/1", offload_first, NULL);
    chopin_route(app, "GET", "/2", offload_second, NULL);
    chopin_route(app, "GET", "/3", offload_third, NULL);
    chopin__script_client clients[3] = { { .in = text(ASK("/1")) }, { .in = text(ASK("/2")) }, { .in = text(ASK("/3")) } };
    play(app, clients, 3);
    CHECK_STR(kit_body(got(&clients[0])), "job 2");
    CHECK_STR(kit_body(got(&clients[1])), "job 3");
    CHECK_EQ_INT(kit_status(got(&clients[2])), 503);
    play_done(clients, 3);
    chopin_free(app);
}

static int offload_and_look(chopin_ctx *c) {
    int n = 6;
    chopin_defer(c, note_arg, (void *)(uintptr_t)"cleanup");
    int rc = chopin_offload(c, blocking_job, &n);
    CHECK_EQ_INT(rc, 7);                                     // it is never abandoned: `n` lives here
    CHECK(chopin_gone(c));
    CHECK_EQ_INT(chopin_offload(c, blocking_job, &n), CHOPIN_GONE);
    note("looked");
    return chopin_text(c, 200, "to nobody");
}

static int release_job(chopin_ctx *c) {
    sem_post(&job_may_end);
    return chopin_text(c, 200, "released");
}

static void client_gone_during_offload(void) {
    chopin_options o = kit_options();
    chopin_app *app = chopin_new(&o);
    sem_init(&job_runs, 0, 0);
    sem_init(&job_may_end, 0, 0);
    chopin_route(app, "GET", "/job", offload_and_look, NULL);
    chopin_route(app, "GET", "/release", release_job, NULL);
    chopin_route(app, "GET", "/plain", plain, NULL);
    chopin__script_client clients[3] = { { .in = text(ASK("/job")), .reset = true }, { .in = text(ASK("/release")), .starts_at = 1000030 }, { .in = text(ASK("/plain")), .starts_at = 1000015 } };
    forget();
    CHECK_EQ_INT(play(app, clients, 3).closed, 3);
    CHECK_STR(text(trail), "looked cleanup ");
    CHECK_EQ_INT(clients[0].out_len, 0);
    CHECK_STR(kit_body(got(&clients[2])), "plain");           // while the job ran
    play_done(clients, 3);
    chopin_free(app);
}

/* -- the vocabulary of chopin_wait() -- */

static int ticket;

static int park_on_ticket(chopin_ctx *c) {
    chopin_worker *w = chopin_worker_of(c);
    ticket = chopin_wait(w, 0, CHOPIN_TICKET, -1);
    CHECK(ticket >= 0);
    note("parks");
    CHECK_EQ_INT(chopin_wait(w, ticket, CHOPIN_PARK, -1), 1);
    note("woken");
    CHECK_EQ_INT(chopin_wait(w, ticket, CHOPIN_WAKE, -1), CHOPIN_MISSING);   // used up
    CHECK_EQ_INT(chopin_wait(w, ticket, CHOPIN_PARK, -1), CHOPIN_MISSING);
    CHECK_EQ_INT(chopin_wait(w, -1, CHOPIN_WAKE, -1), CHOPIN_MISSING);
    int mine = chopin_wait(w, 0, CHOPIN_TICKET, -1), theirs = chopin_wait(w, 0, CHOPIN_TICKET, -1);
    CHECK(mine != theirs && mine != ticket);
    CHECK_EQ_INT(chopin_wait(w, mine, CHOPIN_WAKE, -1), CHOPIN_OK);
    CHECK_EQ_INT(chopin_wait(w, mine, CHOPIN_PARK, -1), 1);                  // a wake that came first is not lost
    int64_t now = chopin_now_ms(c);
    CHECK_EQ_INT(chopin_wait(w, theirs, CHOPIN_PARK, now + 500), 0);
    CHECK_EQ_INT(chopin_now_ms(c), now + 500);
    return chopin_text(c, 200, "parked");
}

static int wake_ticket(chopin_ctx *c) {
    note("wakes");
    CHECK_EQ_INT(chopin_wait(chopin_worker_of(c), ticket, CHOPIN_WAKE, -1), CHOPIN_OK);
    return chopin_text(c, 200, "did");
}

static void tickets_park_and_wake(void) {
    chopin_options o = kit_options();
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/park", park_on_ticket, NULL);
    chopin_route(app, "GET", "/wake", wake_ticket, NULL);
    chopin__script_client clients[2] = { { .in = text(ASK("/park")) }, { .in = text(ASK("/wake")), .starts_at = 1000050 } };
    forget();
    play(app, clients, 2);
    CHECK_STR(text(trail), "parks wakes woken ");
    CHECK_STR(kit_body(got(&clients[0])), "parked");
    CHECK_STR(kit_body(got(&clients[1])), "did");
    play_done(clients, 2);
    chopin_free(app);
}

static int take_turns(chopin_ctx *c) {
    char    what[16];
    int64_t i = param_i64(c, "i"), now = chopin_now_ms(c);
    for (int round = 0; round < 3; round++) {
        snprintf(what, sizeof what, "%d%c", (int)i, 'a' + round);
        note(what);
        CHECK_EQ_INT(chopin_wait(chopin_worker_of(c), 0, CHOPIN_TURN, -1), CHOPIN_OK);
    }
    CHECK_EQ_INT(chopin_now_ms(c), now);                     // it takes turns, not time
    return chopin_text(c, 200, "turned");
}

static void a_turn_lets_everybody_else_go_first(void) {
    chopin_options o = kit_options();
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/turn/:i", take_turns, NULL);
    chopin__script_client clients[3] = { { .in = text(ASK("/turn/1")) }, { .in = text(ASK("/turn/2")) }, { .in = text(ASK("/turn/3")) } };
    forget();
    play(app, clients, 3);
    CHECK_STR(text(trail), "1a 2a 3a 1b 2b 3b 1c 2c 3c ");
    for (int i = 0; i < 3; i++) CHECK_STR(kit_body(got(&clients[i])), "turned");
    play_done(clients, 3);
    chopin_free(app);
}

static int turns_of_the_gone(chopin_ctx *c) {
    int rc = 0, turns = 0;
    while (rc == CHOPIN_OK && turns++ < 100) rc = chopin_wait(chopin_worker_of(c), 0, CHOPIN_TURN, -1);
    note(rc == CHOPIN_GONE && (chopin_query(c, "more").ptr || !c->w->turn) ? "gone" : "?");   // the only one has left no trace in the list
    return rc;
}

static void a_client_may_leave_between_turns(void) {
    chopin_options o = kit_options();
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/turns", turns_of_the_gone, NULL);
    chopin__script_client clients[3] = { { .in = text(ASK("/turns")), .reset = true } };
    forget();
    CHECK_EQ_INT(play(app, clients, 1).closed, 1);
    CHECK_STR(text(trail), "gone ");
    play_done(clients, 1);
    for (int i = 0; i < 3; i++) clients[i] = (chopin__script_client){ .in = text(ASK("/turns?more")), .reset = true };
    forget();
    CHECK_EQ_INT(play(app, clients, 3).closed, 3);
    CHECK_STR(text(trail), "gone gone gone ");
    play_done(clients, 3);
    chopin_free(app);
}

static int read_and_write(chopin_ctx *c) {
    chopin_worker *w = chopin_worker_of(c);
    char byte;
    CHECK_EQ_INT(chopin_wait(w, pipe_fds[0], CHOPIN_READ, chopin_now_ms(c) + 3), 0);
    CHECK_EQ_INT(chopin_wait(w, pipe_fds[1], CHOPIN_READ | CHOPIN_WRITE, -1), CHOPIN_WRITE);
    CHECK_EQ_INT(write(pipe_fds[1], "x", 1), 1);
    CHECK_EQ_INT(chopin_wait(w, pipe_fds[0], CHOPIN_READ, -1), CHOPIN_READ);
    CHECK_EQ_INT(read(pipe_fds[0], &byte, 1), 1);
    close(pipe_fds[1]);
    CHECK(chopin_wait(w, pipe_fds[0], CHOPIN_READ, -1) & CHOPIN_READ);       // the end of the stream is something to read
    return chopin_text(c, 200, "both");
}

static void wait_speaks_of_descriptors(void) {
    chopin_options o = kit_options();
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/", read_and_write, NULL);
    if (!CHECK(pipe2(pipe_fds, O_NONBLOCK | O_CLOEXEC) == 0)) return;
    chopin_str reply = kit_play_z(app, ASK("/"));
    CHECK_STR(kit_body(reply), "both");
    close(pipe_fds[0]);
    chopin_free(app);
}

/* -- registers, over a whole server -- */

static int hold_on(chopin_ctx *c) {
    const int mine = roundings[param_i64(c, "i") % 4];
    CHECK_EQ_INT(fegetround(), FE_TONEAREST);
    fesetround(mine);
    double d = (double)param_i64(c, "i"), e = d * 3, f = d * 5;
    for (int n = 0; n < 3; n++) {
        CHECK_EQ_INT(chopin_sleep(c, 5), CHOPIN_OK);
        e += d;
        f += d;
        CHECK_EQ_INT(fegetround(), mine);
    }
    CHECK(e == d * 6 && f == d * 8);
    fesetround(FE_TONEAREST);
    return chopin_text(c, 200, "held");
}

static void fp_modes_survive_waits_of_handlers(void) {
    chopin_options o = kit_options();
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/hold/:i", hold_on, NULL);
    chopin__script_client clients[20];
    char ask[20][64];
    memset(clients, 0, sizeof clients);
    for (int i = 0; i < 20; i++) {
        snprintf(ask[i], sizeof ask[i], ASK("/hold/%d"), i);
        clients[i].in = text(ask[i]);
    }
    play(app, clients, 20);
    for (int i = 0; i < 20; i++) CHECK_STR(kit_body(got(&clients[i])), "held");
    play_done(clients, 20);
    chopin_free(app);
}

/* -- faults -- */

static char last_error[2000];

static void keep_errors(void *user, chopin_level level, const char *line) {
    (void)user;
    if (level == CHOPIN_ERROR && !strstr(line, "  #")) snprintf(last_error, sizeof last_error, "%s", line);
}

static int die(chopin_ctx *c) {
    chopin_str how = chopin_param(c, "how");
    chopin_defer(c, note_arg, (void *)(uintptr_t)"cleanup");
    if (chopin_query(c, "late").ptr) CHECK_EQ_INT(chopin_sleep(c, 3), CHOPIN_OK);
    switch (how.ptr[0]) {
    case 'p': chopin_panic(c, "enough"); break;
    case 'n': *(volatile unsigned *)eight = 1; break;
    case 'a': abort();
    case 'i': raise(SIGILL); break;
    case 'f': raise(SIGFPE); break;
    case 'b': raise(SIGBUS); break;
    default:  sink = recurse(0); break;
    }
    return chopin_text(c, 200, "alive");
}

static void dies_alone(const char *how, const char *words) {
    chopin_options o = kit_options();
    o.contain_faults = true;
    o.log = keep_errors;
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/die/:how", die, NULL);
    chopin_route(app, "GET", "/nap/:ms", nap, NULL);
    char ask[100], late[100];
    snprintf(ask, sizeof ask, ASK("/die/%s") ASK("/nap/1"), how);
    snprintf(late, sizeof late, ASK("/die/%s?late=1") ASK("/nap/1"), how);
    void *stack = chopin__signal_stack();
    chopin__signals_take(chopin__server_of(app));
    for (int round = 0; round < 3; round++) {
        chopin__script_client clients[4] = { { .in = text(ASK("/nap/2") ASK("/nap/2")) }, { .in = text(ask) }, { .in = text(late) }, { .in = text(ASK("/nap/9")) } };
        forget();
        last_error[0] = 0;
        chopin_counters n = play(app, clients, 4);
        CHECK_EQ_INT(n.requests, 7);
        CHECK_EQ_INT(n.faults, how[0] == 'p' ? 0 : 2);
        CHECK_EQ_INT(kit_count(got(&clients[0]), "HTTP/1.1 200"), 2);
        for (int i = 1; i < 3; i++) {
            CHECK_EQ_INT(kit_status(got(&clients[i])), 500);
            CHECK_EQ_INT(kit_count(got(&clients[i]), "HTTP/1.1 200"), 1);    // the connection lives
        }
        CHECK_STR(kit_body(got(&clients[3])), "slept 9");
        CHECK_STR(text(trail), "cleanup cleanup ");
        CHECK(strstr(last_error, words) && strstr(last_error, "/die/:how"));
        play_done(clients, 4);
    }
    chopin__signals_return(chopin__server_of(app));
    chopin__signal_stack_free(stack);
    chopin_free(app);
}

static void panic_and_crash_cost_one_request(void) {
    dies_alone("panic", "enough");
    dies_alone("null", "SIGSEGV");
    dies_alone("abort", "abort()");
    dies_alone("ill", "SIGILL");
    dies_alone("fpe", "SIGFPE");
    dies_alone("bus", "SIGBUS");
}

static void overflow_hits_the_guard_page(void) {
    dies_alone("overflow", "stack overflow (raise chopin_options.stack_size, or the route's)");
}

static void no_containment_is_no_containment(void) {
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = { 0, 0 };
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, SIG_DFL);
        chopin_options o = kit_options();
        chopin_app *app = chopin_new(&o);
        chopin_route(app, "GET", "/die/:how", die, NULL);
        chopin_test_request(app, text(ASK("/die/null")), NULL);
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}
#endif

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "scenario") == 0) {
        print_scenario(stdout);
        return 0;
    }
    TEST_ONLY(argc, argv);
    alarm(300);                                              // a handler that is never woken must not hang the whole run
    catch_faults();
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
    if (switches_are_ours_alone) RUN(an_overflow_inside_the_switch_is_the_handlers);
    RUN(retired_fibers_are_used_again);
#if defined(CHOPIN__BACKTRACE)
    RUN(a_backtrace_ends_at_the_entry);
#endif
#else
    RUN(without_fibers_there_is_nothing_to_take);
#endif
    leave_faults();

    RUN(rest_of_the_batch_runs_once);
    RUN(rest_of_an_epoll_batch_runs_once);
    RUN(views_survive_parking);
    RUN(deferred_cleanups_run_on_every_exit);
    RUN(post_reaches_a_parked_handler);
    RUN(posts_to_an_ended_request_do_nothing);
    RUN(wait_fd_waits_for_a_pipe);
    RUN(outside_a_handler_a_wait_is_a_poll);
#if !defined(CHOPIN_NO_FIBERS)
    RUN(ten_thousand_parked_wake_in_deadline_order);
    RUN(max_parked_is_503);
    RUN(full_waits_of_clients_are_503);
    RUN(gone_client_wakes_its_handler);
    RUN(drain_deadline_cancels_waits);
    RUN(a_wait_without_end_ends_with_the_test_call);
    RUN(handler_timeout_ends_waits);
    RUN(offload_queue_full_is_503);
    RUN(client_gone_during_offload);
    RUN(tickets_park_and_wake);
    RUN(a_turn_lets_everybody_else_go_first);
    RUN(a_client_may_leave_between_turns);
    RUN(wait_speaks_of_descriptors);
    RUN(fp_modes_survive_waits_of_handlers);
    RUN(panic_and_crash_cost_one_request);
    RUN(overflow_hits_the_guard_page);
    if (switches_are_ours_alone) RUN(no_containment_is_no_containment);   // sanitizers end the process their own way
    RUN(no_fibers_build_behaves_the_same);
#endif
    return TEST_END();
}
