/* pg_fibers.h - a tiny scheduler that speaks the words of chopin_pg_options.wait, for tests and benches; include it behind chopin_pg.h.
 *
 *     fibers_add(work, arg);  ...  fibers_run();       // until all have returned
 *     options.wait = fibers_wait;                      // outside a fiber it blocks in poll()
 *
 * The order in which runnable fibers go is shuffled by fibers.seed; 0 keeps it first come, first served. fibers_kill(i): from its next wait on, fiber i
 * is told to give up, as chopin.h does when a client has gone. */
#ifndef CHOPIN_PG_FIBERS_H
#define CHOPIN_PG_FIBERS_H
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define FIBERS_LEAVE(save, to, size) __sanitizer_start_switch_fiber(save, to, size)
#define FIBERS_ENTER(saved)          __sanitizer_finish_switch_fiber(saved, NULL, NULL)
#else
#define FIBERS_LEAVE(save, to, size) ((void)0)
#define FIBERS_ENTER(saved)          ((void)0)
#endif
#pragma GCC diagnostic ignored "-Wunused-function"

enum { FIBERS_MOST = 512, FIBERS_TICKETS = 1 << 16,
#if defined(__SANITIZE_ADDRESS__)
       FIBERS_STACK = 512 << 10
#else
       FIBERS_STACK = 64 << 10                          // what chopin.h gives them
#endif
};
typedef enum fiber_state { FIBER_FREE, FIBER_READY, FIBER_TURN, FIBER_SOCKET, FIBER_PARKED, FIBER_OVER } fiber_state;
typedef struct fiber {
    ucontext_t  context;
    fiber_state state;
    void      (*work)(void *arg);
    void       *arg, *fake_stack;
    char       *stack;
    int         fd, events, ticket, result;
    int64_t     deadline_ms;
    bool        killed;
} fiber;

static struct {
    fiber       all[FIBERS_MOST];
    int         count, current, running, next_ticket;    // current: -1 outside
    bool        woken[FIBERS_TICKETS];
    ucontext_t  loop;
    void       *loop_fake;
    const void *loop_stack;
    size_t      loop_size;
    uint64_t    seed;
    int         lazy_ms;                                    // looks at sockets only so long after it could have: what was asked is answered by then
    long        polls, switches;
} fibers = { .current = -1 };

static int64_t fibers_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}
static uint64_t fibers_random(void) {
    fibers.seed ^= fibers.seed << 13;
    fibers.seed ^= fibers.seed >> 7;
    fibers.seed ^= fibers.seed << 17;
    return fibers.seed;
}

static void fibers_main(void) {
    fiber *f = &fibers.all[fibers.current];
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(NULL, &fibers.loop_stack, &fibers.loop_size);
#endif
    f->work(f->arg);
    f->state = FIBER_OVER;
    FIBERS_LEAVE(NULL, fibers.loop_stack, fibers.loop_size);
    swapcontext(&f->context, &fibers.loop);
}
/* By itself: getcontext() is one of those that return twice. */
static __attribute__((noinline)) void fibers_prepare(fiber *f) {
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->stack + 4096;
    f->context.uc_stack.ss_size = FIBERS_STACK;
    makecontext(&f->context, fibers_main, 0);
}
static int fibers_add(void (*work)(void *arg), void *arg) {
    int i = 0;
    while (i < fibers.count && fibers.all[i].state != FIBER_FREE) i++;
    if (i >= FIBERS_MOST) abort();
    if (i == fibers.count) fibers.count++;
    fiber *f = &fibers.all[i];
    char  *stack = f->stack;
    if (!stack) {
        stack = mmap(NULL, FIBERS_STACK + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stack == MAP_FAILED || mprotect(stack, 4096, PROT_NONE)) abort();      // running over the end is a fault, not a riddle
    }
    *f = (fiber){ .state = FIBER_READY, .work = work, .arg = arg, .stack = stack };
    fibers_prepare(f);
    return i;
}
static void fibers_kill(int i) {
    fibers.all[i].killed = true;
    if (fibers.all[i].state == FIBER_SOCKET || fibers.all[i].state == FIBER_PARKED) { fibers.all[i].state = FIBER_READY; fibers.all[i].result = -1; }
}
static void fibers_switch(int i) {
    fiber *f = &fibers.all[i];
    fibers.current = i;
    fibers.switches++;
    FIBERS_LEAVE(&fibers.loop_fake, f->stack + 4096, FIBERS_STACK);
    swapcontext(&fibers.loop, &f->context);
    FIBERS_ENTER(fibers.loop_fake);
    fibers.current = -1;
    if (f->state == FIBER_OVER) { f->state = FIBER_FREE; fibers.running--; }
}
/* Leaves the running fiber until the loop comes back to it. */
static int fibers_leave(fiber_state state) {
    fiber *f = &fibers.all[fibers.current];
    f->state = state;
    f->result = 0;
    FIBERS_LEAVE(&f->fake_stack, fibers.loop_stack, fibers.loop_size);
    swapcontext(&f->context, &fibers.loop);
    FIBERS_ENTER(f->fake_stack);
    return f->killed ? -1 : f->result;
}

static int fibers_outside(int fd, int events, int64_t deadline_ms) {
    struct pollfd p = { .fd = fd, .events = (short)((events & CHOPIN_PG_READ ? POLLIN : 0) | (events & CHOPIN_PG_WRITE ? POLLOUT : 0)) };
    if (!(events & (CHOPIN_PG_READ | CHOPIN_PG_WRITE))) return 0;
    int64_t left = deadline_ms < 0 ? -1 : deadline_ms - fibers_now();
    int n = poll(&p, 1, deadline_ms < 0 ? -1 : left < 0 ? 0 : (int)left);
    if (n <= 0) return 0;
    return ((p.revents & ~POLLOUT ? CHOPIN_PG_READ : 0) | (p.revents & ~POLLIN ? CHOPIN_PG_WRITE : 0)) & events;
}
static int fibers_wait(void *ctx, int fd, int events, int64_t deadline_ms) {
    (void)ctx;
    if (events & CHOPIN_PG_WAKE) {
        fibers.woken[fd % FIBERS_TICKETS] = true;
        for (int i = 0; i < fibers.count; i++) {
            fiber *f = &fibers.all[i];
            if (f->state == FIBER_PARKED && f->ticket == fd) { f->state = FIBER_READY; f->result = 1; }
        }
        return 0;
    }
    if (events & CHOPIN_PG_TICKET) { int t = ++fibers.next_ticket; fibers.woken[t % FIBERS_TICKETS] = false; return t; }
    if (fibers.current < 0) return fibers_outside(fd, events, deadline_ms);
    fiber *f = &fibers.all[fibers.current];
    if (f->killed) return -1;
    if (events & CHOPIN_PG_TURN) return fibers_leave(FIBER_TURN);
    f->deadline_ms = deadline_ms;
    if (events & CHOPIN_PG_PARK) {
        if (fibers.woken[fd % FIBERS_TICKETS]) { fibers.woken[fd % FIBERS_TICKETS] = false; return 1; }
        f->ticket = fd;
        int rc = fibers_leave(FIBER_PARKED);
        fibers.woken[fd % FIBERS_TICKETS] = false;
        return rc;
    }
    f->fd = fd;
    f->events = events;
    return fibers_leave(FIBER_SOCKET);
}
/* Pauses the running fiber. */
static void fibers_sleep(int ms) { fibers_wait(NULL, fibers_wait(NULL, 0, CHOPIN_PG_TICKET, -1), CHOPIN_PG_PARK, fibers_now() + ms); }

/* Runs each fiber in this state once, in shuffled order; false when there was none. */
static bool fibers_round(fiber_state state) {
    int list[FIBERS_MOST], n = 0;
    for (int i = 0; i < fibers.count; i++) if (fibers.all[i].state == state) list[n++] = i;
    for (int i = n - 1; fibers.seed && i > 0; i--) {
        int j = (int)(fibers_random() % (uint64_t)(i + 1)), t = list[i];
        list[i] = list[j];
        list[j] = t;
    }
    for (int i = 0; i < n; i++) if (fibers.all[list[i]].state == state) fibers_switch(list[i]);
    return n > 0;
}
/* Sockets and deadlines; waits when `block`. */
static void fibers_look(bool block) {
    static struct pollfd p[FIBERS_MOST];
    static int owner[FIBERS_MOST];
    int     n = 0;
    int64_t soonest = INT64_MAX, now = fibers_now();
    for (int i = 0; i < fibers.count; i++) {
        fiber *f = &fibers.all[i];
        if (f->state != FIBER_SOCKET && f->state != FIBER_PARKED) continue;
        if (f->deadline_ms >= 0 && f->deadline_ms < soonest) soonest = f->deadline_ms;
        if (f->state != FIBER_SOCKET) continue;
        p[n] = (struct pollfd){ .fd = f->fd, .events = (short)((f->events & CHOPIN_PG_READ ? POLLIN : 0) | (f->events & CHOPIN_PG_WRITE ? POLLOUT : 0)) };
        owner[n++] = i;
    }
    int64_t left = !block ? 0 : soonest == INT64_MAX ? 30000 : soonest > now ? soonest - now : 0;
    fibers.polls++;
    if (block && fibers.lazy_ms) poll(NULL, 0, fibers.lazy_ms);
    int ready = poll(p, (nfds_t)n, left > 30000 ? 30000 : (int)left);
    if (block && ready == 0 && soonest == INT64_MAX) { fprintf(stderr, "pg_fibers.h: %d fibers wait for ever\n", fibers.running); abort(); }
    for (int i = 0; i < n; i++) {
        fiber *f = &fibers.all[owner[i]];
        if (ready <= 0 || !p[i].revents) continue;
        f->result = ((p[i].revents & ~POLLOUT ? CHOPIN_PG_READ : 0) | (p[i].revents & ~POLLIN ? CHOPIN_PG_WRITE : 0)) & f->events;
        f->state = FIBER_READY;
    }
    now = fibers_now();
    for (int i = 0; i < fibers.count; i++) {
        fiber *f = &fibers.all[i];
        if ((f->state == FIBER_SOCKET || f->state == FIBER_PARKED) && f->deadline_ms >= 0 && f->deadline_ms <= now) { f->state = FIBER_READY; f->result = 0; }
    }
}
static void fibers_run(void) {
    fibers.running = 0;
    for (int i = 0; i < fibers.count; i++) fibers.running += fibers.all[i].state != FIBER_FREE;
    while (fibers.running > 0) {
        while (fibers_round(FIBER_READY)) { }
        if (fibers.running == 0) break;
        bool turn = false;
        for (int i = 0; i < fibers.count; i++) turn |= fibers.all[i].state == FIBER_TURN;
        fibers_look(!turn);                             // sockets first: TURN means after everybody
        while (fibers_round(FIBER_READY)) { }
        fibers_round(FIBER_TURN);
    }
}
#endif
