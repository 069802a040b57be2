/* test_pg_fibers.c - many fibers on few connections: wake-ups shuffled by a seed, fibers that are told to give up or simply never come back, scopes swept.
 *
 * Run it by `tests/pg.sh ./test_pg_fibers [names]`. CHOPIN_TEST_SEEDS=n tries n seeds instead of 6. A fiber that "dies" is left inside a wait for ever, as chopin.h
 * leaves one whose handler crashed; its scope is closed by somebody else. */
#define _GNU_SOURCE 1
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include "pg_fibers.h"
#include "test.h"

/* ---- tools ---- */
static void quiet(void *ctx, chopin_pg_level level, const char *text) { (void)ctx; (void)level; (void)text; }

static struct { long bytes, blocks; } held;
static void *counting(void *ctx, void *p, size_t old, size_t n) {
    (void)ctx;
    held.bytes  += (long)n - (long)old;
    held.blocks += (n && !p) - (p && !n);
    if (!n) { free(p); return NULL; }
    return realloc(p, n);
}

static struct {
    chopin_pg *db;
    long       waits, die_at;                 // die_at: which wait is the last one of its fiber; 0: nobody dies
    chopin_pg *scope[FIBERS_MOST];            // of each fiber
    chopin_pg *dead[FIBERS_MOST];
    int        dead_count, left, wrong, right, failed, killed;
} t;

/* The words of pg_fibers.h, except that one fiber may never come back from its wait. */
static int wait_or_die(void *ctx, int fd, int events, int64_t deadline_ms) {
    bool real = fibers.current >= 0 && !(events & (CHOPIN_PG_WAKE | CHOPIN_PG_TICKET));
    if (real && t.die_at && ++t.waits == t.die_at && t.scope[fibers.current]) {
        t.dead[t.dead_count++] = t.scope[fibers.current];
        t.scope[fibers.current] = NULL;
        t.killed++;
        t.left--;
        fibers_leave(FIBER_OVER);             // does not return
    }
    return fibers_wait(ctx, fd, events, deadline_ms);
}

static chopin_pg *open_pool(chopin_pg_options o) {
    o.url = getenv("CHOPIN_PG_URL");
    o.no_env = true;
    o.log  = quiet;
    o.wait = wait_or_die;
    o.alloc = counting;
    return chopin_pg_open(&o);
}

static void swept(void) {
    while (t.dead_count) chopin_pg_close(t.dead[--t.dead_count]);
}
static void janitor(void *arg) {
    (void)arg;
    while (t.left > 0) {
        swept();
        fibers_sleep(1);
    }
    swept();
}

/* ---- one request of each kind; its answer must be its own ---- */
static void judge(bool right, bool ok) { if (!ok) t.failed++; else if (right) t.right++; else t.wrong++; }

static void ask(chopin_pg *s, int id) {
    chopin_pg_rows *r = chopin_pg_query(s, "select $1::int, $2::text", id, "x");
    bool row = chopin_pg_next(r), right = row && chopin_pg_i32(r, 0) == id;
    judge(right, chopin_pg_end(r) == 1 && row);
}
static void ask_two(chopin_pg *s, int id) {
    chopin_pg_rows *a = chopin_pg_send(s, "select $1::int * 2", id), *b = chopin_pg_send(s, "select $1::int * 3, repeat('y', 1000)", id);
    bool row_b = chopin_pg_next(b), right = row_b && chopin_pg_i32(b, 0) == id * 3;
    bool row_a = chopin_pg_next(a);
    right = right && row_a && chopin_pg_i32(a, 0) == id * 2;
    int64_t ea = chopin_pg_end(a), eb = chopin_pg_end(b);
    judge(right, ea == 1 && eb == 1 && row_a && row_b);
}
static void in_transaction(chopin_pg *s, int id) {
    chopin_pg *tx = chopin_pg_begin(s, NULL);
    int64_t put = chopin_pg_exec(tx, "insert into fibers values ($1)", id);
    int64_t got = chopin_pg_i64(chopin_pg_value(tx, "select count(*) from fibers where id = $1", id), 0);
    int rc = chopin_pg_rollback(tx);
    bool ok = put == 1 && rc == 0 && chopin_pg_code(tx) == 0;
    judge(got == 1, ok);
    chopin_pg_close(tx);
}
static void in_batch(chopin_pg *s, int id) {
    chopin_pg *b = chopin_pg_batch(s);
    chopin_pg_rows *r[5];
    for (int i = 0; i < 5; i++) r[i] = chopin_pg_send(b, "select $1::int + $2::int", id, i);
    int rc = chopin_pg_commit(b);
    bool right = true;
    for (int i = 0; i < 5 && rc == 0; i++) right = right && chopin_pg_next(r[i]) && chopin_pg_i32(r[i], 0) == id + i;
    judge(right, rc == 0);
    chopin_pg_close(b);
}
static void in_stream(chopin_pg *s, int id) {
    chopin_pg_rows *r = chopin_pg_stream(s, id % 2 ? 7 : 0, "select g + $1::int from generate_series(0, 30) g", id);
    int n = 0;
    bool right = true;
    while (chopin_pg_next(r)) right = right && chopin_pg_i32(r, 0) == id + n++;
    int64_t rc = chopin_pg_end(r);
    judge(right && n == 31, rc >= 0);
}
static void in_copy(chopin_pg *s, int id) {
    chopin_pg_copy *c = chopin_pg_copy_in(s, "fibers", "id");
    for (int i = 0; i < 20; i++) chopin_pg_copy_row(c, id);
    int rc = id % 2 ? chopin_pg_copy_fail(c, "changed my mind") : chopin_pg_copy_end(c) == 20 ? 0 : -1;
    judge(true, rc == 0);
}
static void request(void *arg) {
    int me = fibers.current, base = (int)(intptr_t)arg * 1000;
    static void (*const kinds[])(chopin_pg *, int) = { ask, ask_two, in_transaction, ask, in_batch, in_stream, in_copy };
    for (int i = 0; i < 4; i++) {
        t.scope[me] = chopin_pg_scope(t.db, 20000);
        kinds[(base / 1000 + i * 3) % 7](t.scope[me], base + i);
        chopin_pg *s = t.scope[me];
        t.scope[me] = NULL;                   // a fiber that dies while its scope is closed has been swept already
        chopin_pg_close(s);
    }
    t.left--;
}

static void crowd(int fibers_wanted, uint64_t seed, long die_at) {
    t.waits = 0;
    t.die_at = die_at;
    t.left = fibers_wanted;
    t.wrong = t.right = t.failed = t.dead_count = 0;
    memset(t.scope, 0, sizeof t.scope);
    fibers.seed = seed;
    for (int i = 0; i < fibers_wanted; i++) fibers_add(request, (void *)(intptr_t)(i + 1));
    fibers_add(janitor, NULL);
    fibers_run();
    fibers.seed = 0;
    t.die_at = 0;
}
static bool all_idle(chopin_pg *db) {
    for (int i = 0; i < 100; i++) {
        chopin_pg_exec(db, "select 1");
        chopin_pg_counters c = chopin_pg_stats(db);
        if (c.in_flight == 0 && c.waiting == 0 && c.idle + c.connecting == c.shared + c.exclusive) return true;
        usleep(10000);
    }
    return false;
}
static void setup(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1 });
    chopin_pg_rows *r = chopin_pg_script(db, "drop table if exists fibers; create unlogged table fibers (id int)");
    chopin_pg_end(r);
    chopin_pg_close(db);
}
static int seeds(void) { return getenv("CHOPIN_TEST_SEEDS") ? atoi(getenv("CHOPIN_TEST_SEEDS")) : 6; }

/* ---- claims ---- */
static void every_answer_is_ones_own_in_any_order(void) {
    setup();
    for (int seed = 1; seed <= seeds(); seed++) {
        t.db = open_pool((chopin_pg_options){ .shared = 2, .exclusive = 3 });
        crowd(40, (uint64_t)seed * 7919, 0);
        CHECK_EQ_INT(t.wrong, 0);
        CHECK_EQ_INT(t.failed, 0);
        CHECK_EQ_INT(t.right, 160);
        CHECK(all_idle(t.db));
        chopin_pg_close(t.db);
        CHECK_EQ_INT(held.blocks, 0);
        CHECK_EQ_INT(held.bytes, 0);
    }
}
static void one_query(void *arg) {
    chopin_pg *s = chopin_pg_scope(t.db, 5000);
    ask(s, (int)(intptr_t)arg);
    chopin_pg_close(s);
}
static void many_queries_share_few_calls(void) {
    t.db = open_pool((chopin_pg_options){ .shared = 1 });
    CHECK_EQ_INT(chopin_pg_exec(t.db, "select $1::int, $2::text", 1, "x"), 1);
    bool good = false;
    fibers.lazy_ms = 100;                                       // else how many answers a receive finds is up to the machine
    for (int attempt = 0; attempt < 10 && !good; attempt++) {
        chopin_pg_counters a = chopin_pg_stats(t.db);
        t.left = 64;
        memset(t.scope, 0, sizeof t.scope);
        for (int i = 0; i < 64; i++) fibers_add(one_query, (void *)(intptr_t)i);
        fibers_run();
        chopin_pg_counters b = chopin_pg_stats(t.db);
        CHECK(b.queries - a.queries == 64);
        CHECK(b.sends - a.sends <= 2);
        CHECK(b.receives - a.receives <= 64);
        good = b.receives - a.receives <= 10;
    }
    CHECK(good);
    fibers.lazy_ms = 0;
    chopin_pg_close(t.db);
}
static void a_fiber_may_die_at_any_wait(void) {
    long coarse = seeds() < 6 ? 4 : 1, at = 1, step = coarse;      // the short form tries every fourth wait
    int  runs = 0, killed = 0;
    for (int reached = 1; reached; at += step, runs++) {
        if (at > 60) step = 7 * coarse;
        t.db = open_pool((chopin_pg_options){ .shared = 2, .exclusive = 2, .grace_ms = 1500 });
        t.killed = 0;
        crowd(14, (uint64_t)at * 31 + 5, at);
        killed += t.killed;
        reached = t.killed;
        CHECK_EQ_INT(t.wrong, 0);
        if (!CHECK(t.failed <= 14)) printf("  died at wait %ld: %d failed\n", at, t.failed);      // neighbours of a connection that had to be closed
        if (!CHECK(all_idle(t.db))) {
            chopin_pg_counters c = chopin_pg_stats(t.db);
            printf("  died at wait %ld: %d shared, %d exclusive, %d idle, %d in flight, %d waiting\n", at, c.shared, c.exclusive, c.idle, c.in_flight, c.waiting);
        }
        chopin_pg_close(t.db);
        if (!CHECK(held.blocks == 0)) printf("  died at wait %ld: %ld blocks leak\n", at, held.blocks);
        held.blocks = held.bytes = 0;
        if (at > 600) break;
    }
    CHECK(killed > 60 / coarse);
    (void)runs;
}
/* Nobody waits here: sending alone must not. */
static void sends_never_wait(void) {
    t.db = open_pool((chopin_pg_options){ .shared = 1 });
    CHECK_EQ_INT(chopin_pg_ready(t.db), 0);
    long before = t.waits;
    t.die_at = 1000000000;
    chopin_pg *s = chopin_pg_scope(t.db, 1000);
    chopin_pg_rows *r[10];
    for (int i = 0; i < 10; i++) r[i] = chopin_pg_send(s, "select $1::int", i);
    CHECK_EQ_INT(t.waits, before);
    for (int i = 9; i >= 0; i--) {
        CHECK(chopin_pg_next(r[i]));
        CHECK_EQ_INT(chopin_pg_i32(r[i], 0), i);
    }
    t.die_at = 0;
    chopin_pg_close(s);
    chopin_pg_close(t.db);
}
static void slow(void *arg) {
    chopin_pg *s = chopin_pg_scope(t.db, 0);
    chopin_pg_rows *r = chopin_pg_query(s, "select repeat('z', 10000) from generate_series(1, 2000)");
    CHECK(chopin_pg_next(r));
    fibers_sleep(600);                        // 20 MB wait for us on a shared connection
    while (chopin_pg_next(r)) {}
    *(int *)arg = chopin_pg_code(r);
    chopin_pg_close(s);
    t.left--;
}
static void quick(void *arg) {
    (void)arg;
    fibers_sleep(50);
    chopin_pg *s = chopin_pg_scope(t.db, 5000);
    for (int i = 0; i < 10; i++) ask(s, i);
    chopin_pg_close(s);
    t.left--;
}
static void an_unread_result_holds_up_nobody_for_long(void) {
    int code = 0;
    t.db = open_pool((chopin_pg_options){ .shared = 1, .stall_ms = 200 });
    t.right = t.wrong = t.failed = 0;
    t.left = 2;
    fibers_add(slow, &code);
    fibers_add(quick, NULL);
    fibers_run();
    CHECK_EQ_INT(t.right, 10);
    CHECK_EQ_INT(code, CHOPIN_PG_TIMEOUT);
    CHECK_EQ_INT(chopin_pg_exec(t.db, "select 1"), 1);
    chopin_pg_close(t.db);
    CHECK_EQ_INT(held.blocks, 0);
}
static void late(void *arg) {
    chopin_pg *s = chopin_pg_scope(t.db, 60);
    chopin_pg_rows *r = chopin_pg_query(s, "select pg_sleep(5)");
    *(int *)arg = chopin_pg_code(r);
    chopin_pg_close(s);
}
static void behind(void *arg) {
    (void)arg;
    fibers_sleep(10);
    chopin_pg *s = chopin_pg_scope(t.db, 8000);
    ask(s, 77);
    chopin_pg_close(s);
}
static void a_deadline_never_hits_the_neighbour(void) {
    int code = 0;
    t.db = open_pool((chopin_pg_options){ .shared = 1 });
    CHECK_EQ_INT(chopin_pg_ready(t.db), 0);
    t.right = t.wrong = t.failed = 0;
    fibers_add(late, &code);
    fibers_add(behind, NULL);
    fibers_run();
    CHECK_EQ_INT(code, CHOPIN_PG_TIMEOUT);
    CHECK_EQ_INT(t.right, 1);
    CHECK_EQ_INT(t.failed + t.wrong, 0);
    chopin_pg_close(t.db);
}
static void big(void *arg) {
    static char bytes[3 << 20];
    int id = (int)(intptr_t)arg;
    memset(bytes, 'a', sizeof bytes);
    chopin_pg *s = chopin_pg_scope(t.db, 30000);
    chopin_str text = { bytes, sizeof bytes };
    chopin_pg_rows *r = chopin_pg_query(s, "select $1::int, length($2::text), $2::text", id, text);
    bool row = chopin_pg_next(r);
    bool right = row && chopin_pg_i32(r, 0) == id && chopin_pg_i32(r, 1) == (int)sizeof bytes && chopin_pg_text(r, 2).len == sizeof bytes;
    judge(right, chopin_pg_end(r) == 1);
    chopin_pg_close(s);
}
static void full_sockets_in_both_directions_do_not_deadlock(void) {
    t.db = open_pool((chopin_pg_options){ .shared = 1, .stall_ms = 20000 });
    t.right = t.wrong = t.failed = 0;
    for (int i = 0; i < 8; i++) fibers_add(big, (void *)(intptr_t)i);
    fibers_run();
    CHECK_EQ_INT(t.wrong + t.failed, 0);
    CHECK_EQ_INT(t.right, 8);
    chopin_pg_close(t.db);
    CHECK_EQ_INT(held.blocks, 0);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    if (!getenv("CHOPIN_PG_URL")) { printf("SKIPPED no server: run by tests/pg.sh\n"); return 77; }
    RUN(every_answer_is_ones_own_in_any_order);
    RUN(many_queries_share_few_calls);
    RUN(sends_never_wait);
    RUN(a_fiber_may_die_at_any_wait);
    RUN(an_unread_result_holds_up_nobody_for_long);
    RUN(a_deadline_never_hits_the_neighbour);
    RUN(full_sockets_in_both_directions_do_not_deadlock);
    return TEST_END();
}
