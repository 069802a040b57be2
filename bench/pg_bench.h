/* pg_bench.h - what pg_floor.c, pg_libpq.c and pg_ours.c share: the clock, the counters, pinning, one line of JSON.
 *
 *     PROGRAM CASE DEPTH SECONDS TRANSPORT PINNING        e.g.  pg_floor one 1 2 unix one
 *
 * TRANSPORT: unix, tcp. PINNING: one (client and backend on CPU 0), split (backend on CPU 1), free. The server is the one of tests/pg.sh.
 * Calls and allocations are counted by standing before libc's, so that libpq's are seen too; it costs all three programs the same. */
#ifndef PG_BENCH_H
#define PG_BENCH_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef struct bench {
    const char *name, *transport, *pinning;
    int         depth;
    double      seconds;
    // counted by the case
    int64_t     done;             // queries, rows or connections
    int64_t     wrong;            // answers that were not the right ones
    int         backend;          // process id of the server's end
    // measured
    int64_t     start_ns, until_ns, cpu_ns, user_us, backend_ns, calls, mallocs;
    long        rss_kb;
} bench;

typedef struct bench_case { const char *name; void (*run)(bench *b); } bench_case;

static int64_t bench__calls, bench__mallocs;

/* ---- standing before libc ---- */
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);
void *malloc(size_t n)               { bench__mallocs++; return __libc_malloc(n); }
void *calloc(size_t n, size_t size)  { bench__mallocs++; return __libc_calloc(n, size); }
void *realloc(void *p, size_t n)     { bench__mallocs++; return __libc_realloc(p, n); }
ssize_t send(int fd, const void *p, size_t n, int flags)       { bench__calls++; return syscall(SYS_sendto, fd, p, n, flags, NULL, 0); }
ssize_t sendmsg(int fd, const struct msghdr *m, int flags)     { bench__calls++; return syscall(SYS_sendmsg, fd, m, flags); }
ssize_t recv(int fd, void *p, size_t n, int flags)             { bench__calls++; return syscall(SYS_recvfrom, fd, p, n, flags, NULL, NULL); }
int     poll(struct pollfd *p, nfds_t n, int ms)               { bench__calls++; return (int)syscall(SYS_poll, p, n, ms); }

/* ---- time ---- */
static inline int64_t bench_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
static inline int64_t bench_user_us(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (int64_t)u.ru_utime.tv_sec * 1000000 + u.ru_utime.tv_usec;
}
/* CPU time of a process that is not ours, from the scheduler. */
static inline int64_t bench_cpu_of(int pid) {
    char path[64];
    long long ns = 0;
    snprintf(path, sizeof path, "/proc/%d/schedstat", pid);
    FILE *f = pid > 0 ? fopen(path, "r") : NULL;
    if (!f) return 0;
    if (fscanf(f, "%lld", &ns) != 1) ns = 0;
    fclose(f);
    return ns;
}

/* ---- the next id asked for: the same sequence in all programs ---- */
static uint32_t bench__seed = 1;
static inline int bench_id(void) {
    bench__seed = bench__seed * 1664525u + 1013904223u;
    return (int)(bench__seed >> 8) % 10000 + 1;
}

static inline void bench_pin_to(int pid, int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(pid, sizeof set, &set);
}
/* Once the connection stands: `backend` is its process. */
static inline void bench_pin(bench *b, int backend) {
    b->backend = backend;
    if (!strcmp(b->pinning, "free")) return;
    bench_pin_to(0, 0);
    if (backend > 0) bench_pin_to(backend, !strcmp(b->pinning, "one") || sysconf(_SC_NPROCESSORS_ONLN) < 2 ? 0 : 1);
}

/* From here on it counts; the case has warmed itself up. */
static inline void bench_start(bench *b) {
    b->done = b->wrong = 0;
    b->backend_ns = -bench_cpu_of(b->backend);
    bench__calls = bench__mallocs = 0;
    b->user_us = -bench_user_us();
    b->cpu_ns = -bench_ns(CLOCK_PROCESS_CPUTIME_ID);
    b->start_ns = bench_ns(CLOCK_MONOTONIC);
    b->until_ns = b->start_ns + (int64_t)(b->seconds * 1e9);
}
static inline bool bench_more(const bench *b) { return bench_ns(CLOCK_MONOTONIC) < b->until_ns; }
/* The most memory that was resident since exec(), in KiB (ru_maxrss would remember whoever forked us). */
static inline long bench_rss_kb(void) {
    char line[128];
    long kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f)) if (sscanf(line, "VmHWM: %ld", &kb) == 1) break;
    if (f) fclose(f);
    return kb;
}
static inline void bench_stop(bench *b) {
    b->cpu_ns += bench_ns(CLOCK_PROCESS_CPUTIME_ID);
    b->user_us += bench_user_us();
    b->calls = bench__calls;
    b->mallocs = bench__mallocs;
    b->until_ns = bench_ns(CLOCK_MONOTONIC);
    b->backend_ns += bench_cpu_of(b->backend);
    b->rss_kb = bench_rss_kb();
}

/* After poll() said readable, the backend keeps the CPU for as long as `depth` answers take it, so that one recv finds more: what a server does that has
 * other work and reads PostgreSQL last in a turn. */
static inline int bench_late(int fd, int events, int ms, int depth) {
    struct pollfd p = { .fd = fd, .events = (short)events };
    struct timespec pause = { 0, 9000L * depth };
    int ready = poll(&p, 1, ms);
    if (ready > 0 && (p.revents & POLLIN)) nanosleep(&pause, NULL);
    return p.revents;
}

static inline int bench_report(const bench *b, const char *client) {
    double n = b->done > 0 ? (double)b->done : 1;
    printf("{\"client\":\"%s\",\"case\":\"%s\",\"depth\":%d,\"transport\":\"%s\",\"pinning\":\"%s\",\"done\":%lld,\"wrong\":%lld,\"seconds\":%.3f,"
           "\"cpu_us\":%.4f,\"user_us\":%.4f,\"backend_us\":%.4f,\"calls\":%.4f,\"mallocs\":%.4f,\"rss_kb\":%ld}\n",
           client, b->name, b->depth, b->transport, b->pinning, (long long)b->done, (long long)b->wrong, (double)(b->until_ns - b->start_ns) / 1e9,
           (double)b->cpu_ns / 1e3 / n, (double)b->user_us / n, (double)b->backend_ns / 1e3 / n, (double)b->calls / n, (double)b->mallocs / n, b->rss_kb);
    return b->wrong == 0 && b->done > 0 ? 0 : 1;
}

static inline int bench_main(int argc, char **argv, const char *client, const bench_case *cases, size_t count) {
    bench b = { .name = argc > 1 ? argv[1] : "one", .depth = argc > 2 ? atoi(argv[2]) : 1, .seconds = argc > 3 ? atof(argv[3]) : 1,
                .transport = argc > 4 ? argv[4] : "unix", .pinning = argc > 5 ? argv[5] : "one" };
    if (!getenv("CHOPIN_PG_SOCKETS")) { fprintf(stderr, "run it as: tests/pg.sh %s ...\n", argv[0]); return 2; }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(cases[i].name, b.name)) continue;
        cases[i].run(&b);
        return bench_report(&b, client);
    }
    return 3;                     // this client does not have that case
}
#define BENCH_MAIN(client, cases) int main(int argc, char **argv) { return bench_main(argc, argv, client, cases, sizeof cases / sizeof *cases); }

#define BENCH_SQL "select id, n from world where id = $1"
#define BENCH_BIG "select id, n, t from big"

/* Ends the program: a bench that cannot do its work has nothing to say. */
#define BENCH_DIE(...) (fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), exit(1))

#endif
