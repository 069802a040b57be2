/* pg_ours.c - the same work by chopin_pg.h, as an application would write it.
   cc -O2 bench/pg_ours.c -o pg_ours && tests/pg.sh ./pg_ours one 1 2 unix one */
#define _GNU_SOURCE 1
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include "pg_bench.h"

static chopin_pg *db;
static int late_depth;             // 0: read as soon as something is there

static int late_wait(void *ctx, int fd, int events, int64_t deadline_ms) {
    (void)ctx;
    if (!(events & (CHOPIN_PG_READ | CHOPIN_PG_WRITE))) return events & CHOPIN_PG_TICKET ? 1 : 0;
    int64_t left = deadline_ms < 0 ? -1 : deadline_ms - bench_ns(CLOCK_MONOTONIC) / 1000000;
    int got = bench_late(fd, (events & CHOPIN_PG_READ ? POLLIN : 0) | (events & CHOPIN_PG_WRITE ? POLLOUT : 0), deadline_ms < 0 ? -1 : left < 0 ? 0 : (int)left, late_depth);
    return ((got & ~POLLOUT ? CHOPIN_PG_READ : 0) | (got & ~POLLIN ? CHOPIN_PG_WRITE : 0)) & events;
}
static const char *url_of(const char *transport) {
    return getenv(!strcmp(transport, "scram") ? "CHOPIN_PG_SCRAM_URL" : !strcmp(transport, "tcp") ? "CHOPIN_PG_TCP_URL" : "CHOPIN_PG_URL");
}
static void dial(bench *b) {
    db = chopin_pg_open(&(chopin_pg_options){ .url = url_of(b->transport), .shared = 1, .exclusive = 1, .wait = late_depth ? late_wait : NULL });
    chopin_pg_rows *r = chopin_pg_value(db, "select pg_backend_pid()");
    int pid = chopin_pg_i32(r, 0);
    if (chopin_pg_end(r) < 0) BENCH_DIE("%s", chopin_pg_why(db));
    bench_pin(b, pid);
}
static void check(bench *b, chopin_pg_rows *r, int id) {
    if (!chopin_pg_next(r) || chopin_pg_i32(r, 0) != id || chopin_pg_i32(r, 1) != id * 7) b->wrong++;
    if (chopin_pg_end(r) != 1) b->wrong++;
}

static void one(bench *b) {
    b->depth = 1;
    dial(b);
    for (int warm = 200; warm >= 0; ) {
        if (warm-- == 0) bench_start(b);
        do {
            int id = bench_id();
            check(b, chopin_pg_query(db, BENCH_SQL, id), id);
            b->done++;
        } while (warm < 0 && bench_more(b));
    }
    bench_stop(b);
}
static void one_round(bench *b, chopin_pg *h, chopin_pg_rows **rows, int *ids) {
    for (int i = 0; i < b->depth; i++) rows[i] = chopin_pg_send(h, BENCH_SQL, ids[i] = bench_id());
}
static void read_round(bench *b, chopin_pg_rows **rows, const int *ids) {
    for (int i = 0; i < b->depth; i++) check(b, rows[i], ids[i]);
    b->done += b->depth;
}
static void each_round(bench *b, chopin_pg_rows **rows, int *ids) {
    one_round(b, db, rows, ids);
    read_round(b, rows, ids);
}
static void batch_round(bench *b, chopin_pg_rows **rows, int *ids) {
    chopin_pg *batch = chopin_pg_batch(db);
    one_round(b, batch, rows, ids);
    if (chopin_pg_commit(batch) < 0) BENCH_DIE("%s", chopin_pg_why(batch));
    read_round(b, rows, ids);
    chopin_pg_close(batch);
}
static void queries(bench *b, void (*round)(bench *, chopin_pg_rows **, int *)) {
    chopin_pg_rows *rows[1024];
    int ids[1024];
    if (b->depth < 1 || b->depth > 1024) BENCH_DIE("a depth of 1 to 1024");
    dial(b);
    for (int i = 0; i < 200; i++) round(b, rows, ids);
    bench_start(b);
    while (bench_more(b)) round(b, rows, ids);
    bench_stop(b);
}
static void one_sync(bench *b)  { queries(b, batch_round); }
static void each(bench *b)      { queries(b, each_round); }
static void each_late(bench *b) { late_depth = b->depth; queries(b, each_round); }

static int64_t drain(bench *b, chopin_pg_rows *r) {
    int64_t sum = 0;
    while (chopin_pg_next(r)) {
        sum += chopin_pg_i32(r, 0) + chopin_pg_i32(r, 1) + (int64_t)chopin_pg_text(r, 2).len;
        b->done++;
    }
    if (chopin_pg_end(r) < 0) BENCH_DIE("%s", chopin_pg_why(db));
    return sum;
}
/* The backend of an exclusive connection is another process: found by a pin, which then gives it back for the stream. */
static void dial_exclusive(bench *b) {
    dial(b);
    chopin_pg *pin = chopin_pg_pin(db);
    chopin_pg_rows *r = chopin_pg_value(pin, "select pg_backend_pid()");
    int pid = chopin_pg_i32(r, 0);
    chopin_pg_end(r);
    chopin_pg_close(pin);
    bench_pin(b, pid);
}
static void rows(bench *b) {
    int64_t sum = 0;
    dial_exclusive(b);
    sum = drain(b, chopin_pg_stream(db, 0, BENCH_BIG));              // prepares it on that connection: from now on in binary
    bench_start(b);
    do sum += drain(b, chopin_pg_stream(db, 0, BENCH_BIG)); while (bench_more(b));
    bench_stop(b);
    if (sum == 0) b->wrong++;
}
static void copy_out(bench *b) {
    int64_t sum = 0;
    dial_exclusive(b);
    bench_start(b);
    do {
        chopin_pg_rows *r = chopin_pg_copy_out(db, "copy (select id, n from big) to stdout (format binary)");
        while (chopin_pg_next(r)) { sum += chopin_pg_i32(r, 0) + chopin_pg_i32(r, 1); b->done++; }
        if (chopin_pg_end(r) < 0) BENCH_DIE("%s", chopin_pg_why(db));
    } while (bench_more(b));
    bench_stop(b);
    if (sum == 0) b->wrong++;
}
static void copy_in(bench *b) {
    dial_exclusive(b);
    bench_start(b);
    do {
        if (chopin_pg_exec(db, "truncate sink") < 0) BENCH_DIE("%s", chopin_pg_why(db));
        chopin_pg_copy *c = chopin_pg_copy_in(db, "sink", "id, n");
        for (int i = 0; i < 100000; i++) chopin_pg_copy_row(c, i, i);
        if (chopin_pg_copy_end(c) != 100000) b->wrong++;
        b->done += 100000;
    } while (bench_more(b));
    bench_stop(b);
}
/* A new pool each time, the key derived anew; and a pool that replaces its connection, whose key it has. */
static void connects(bench *b) {
    b->transport = "scram";
    bench_pin(b, 0);
    bench_start(b);
    while (bench_more(b)) {
        db = chopin_pg_open(&(chopin_pg_options){ .url = url_of(b->transport) });
        if (chopin_pg_ready(db) < 0) BENCH_DIE("%s", chopin_pg_why(db));
        chopin_pg_close(db);
        b->done++;
    }
    bench_stop(b);
}
static void reconnects(bench *b) {
    b->transport = "scram";
    dial(b);
    bench_start(b);
    while (bench_more(b)) {
        chopin_pg_expire(db);
        if (chopin_pg_ready(db) < 0) BENCH_DIE("%s", chopin_pg_why(db));
        b->done++;
    }
    bench_stop(b);
    if (chopin_pg_stats(db).connects < (uint64_t)b->done) b->wrong++;
}

static const bench_case cases[] = {
    { "one", one }, { "one_sync", one_sync }, { "each", each }, { "each_late", each_late }, { "rows", rows }, { "copy_out", copy_out }, { "copy_in", copy_in },
    { "connect", connects }, { "reconnect", reconnects },
};
BENCH_MAIN("ours", cases)
