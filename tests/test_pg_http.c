/* test_pg_http.c - chopin_pg.h under chopin.h: fibers of one worker share connections, and no way to leave a handler leaves one dirty.
 * Run it by `tests/pg.sh ./test_pg_http`; compile with -pthread. */
#define CHOPIN_IMPLEMENTATION
#include "../chopin.h"
#include "../chopin_pg.h"
#include "test.h"
#include "pg_web.h"

enum { CLIENTS = 64 };

/* ---- the server: a pool per worker, a scope per request ---- */

static int worker_start(chopin_worker *w, void *user) {
    (void)user;
    chopin_pg *pool = chopin_pg_open(&(chopin_pg_options){ .url = getenv("CHOPIN_PG_URL"), .no_env = true, .wait = chopin_wait, .wait_ctx = w, .shared = 2, .exclusive = 4,
                                                           .application_name = "worker", .log = quiet, .grace_ms = 1000 });
    chopin_worker_set_user(w, pool);
    return chopin_pg_ready(pool);
}
static void worker_stop(chopin_worker *w, void *user) { (void)user; chopin_pg_close(chopin_worker_get_user(w)); }
static void scope_close(void *scope) { chopin_pg_close(scope); }
static chopin_pg *db(chopin_ctx *c) {
    chopin_pg *scope = chopin_user(c);
    if (scope) return scope;
    scope = chopin_pg_scope(chopin_worker_user(c), 10000);
    chopin_set_user(c, scope);
    chopin_defer(c, scope_close, scope);
    return scope;
}

CHOPIN_GET(ask, "/ask/:id<i64>") {
    int64_t id = chopin_get_i64_or(c, CHOPIN_FROM_PARAM, "id", 0);
    chopin_pg_rows *r = chopin_pg_query(db(c), "select $1::int8", id), *twin = chopin_pg_send(db(c), "select $1::int8 * 2", id);
    if (!chopin_pg_next(r)) return chopin_fail(c, 503, chopin_pg_why(r));
    if (!chopin_pg_next(twin)) return chopin_fail(c, 503, chopin_pg_why(twin));
    return chopin_textf(c, 200, "%lld %lld", (long long)chopin_pg_i64(r, 0), (long long)chopin_pg_i64(twin, 0));
}
CHOPIN_GET(tx, "/tx/:id<i64>") {
    int64_t id = chopin_get_i64_or(c, CHOPIN_FROM_PARAM, "id", 0);
    chopin_pg *t = chopin_pg_begin(db(c), NULL);
    chopin_pg_exec(t, "insert into http_log values ($1)", id);
    if (chopin_pg_commit(t) < 0) return chopin_fail(c, 503, chopin_pg_why(t));
    return chopin_textf(c, 200, "%lld", (long long)id);
}
CHOPIN_GET(slow, "/slow") {
    int64_t rc = chopin_pg_exec(db(c), "select pg_sleep(1.2)");
    return rc < 0 ? chopin_fail(c, 503, chopin_pg_why(db(c))) : chopin_text(c, 200, "slept");
}
CHOPIN_GET(slow_tx, "/slowtx") {
    chopin_pg *t = chopin_pg_begin(db(c), NULL);
    chopin_pg_exec(t, "insert into http_log values (-1)");
    chopin_pg_exec(t, "select pg_sleep(1.2)");
    chopin_pg_commit(t);
    return chopin_text(c, 200, "done");
}
/* Everything open, nothing finished. */
static void litter(chopin_ctx *c) {
    chopin_pg *t = chopin_pg_begin(db(c), NULL);
    chopin_pg_exec(t, "insert into http_log values (-2)");
    chopin_pg_query(db(c), "select generate_series(1, 1000)");
    chopin_pg_send(db(c), "select 1");
    chopin_pg *pin = chopin_pg_pin(db(c));
    chopin_pg_exec(pin, "set statement_timeout = 7777");
    chopin_pg_copy *in = chopin_pg_copy_raw(db(c), "copy http_log from stdin");
    chopin_pg_copy_bytes(in, "-3\n", 3);
}
CHOPIN_GET(forget, "/forget")     { litter(c); return chopin_text(c, 200, "forgot"); }
CHOPIN_GET(panics, "/panic")      { litter(c); chopin_panic(c, "as told"); }
static volatile uintptr_t nowhere = 8;                       // the compiler must not know
CHOPIN_GET(fault, "/fault")       { litter(c); *(volatile int *)nowhere = 1; return chopin_text(c, 200, "?"); }
CHOPIN_GET(hold, "/hold") { usleep(10000); return chopin_text(c, 200, "held"); }
CHOPIN_GET(stats, "/stats") {
    chopin_pg_counters s = chopin_pg_stats(chopin_worker_user(c));
    return chopin_textf(c, 200, "%llu %llu %llu %d %d %d", (unsigned long long)s.queries, (unsigned long long)s.sends, (unsigned long long)s.receives, s.shared, s.exclusive, s.in_flight);
}

/* Within six seconds the worker's connections are all idle, outside transactions. A pool looks after what is on its way back whenever it is used. */
static bool settles(void) {
    int64_t busy = 1;
    int status;
    for (int i = 0; i < 120 && busy; i++) {
        get("/ask/1", &status);
        busy = direct("select count(*) from pg_stat_activity where application_name = 'worker' and state <> 'idle'");
        if (busy) usleep(50000);
    }
    return busy == 0;
}

/* ---- tests ---- */

static void answers_belong_to_their_questions(void) {
    int fds[CLIENTS], status, wrong = 0;
    for (int i = 0; i < CLIENTS; i++) fds[i] = dial();
    for (int round = 0; round < 60; round++) {
        char path[64], want[64];
        for (int i = 0; i < CLIENTS; i++) { snprintf(path, sizeof path, "/ask/%d", round * 1000 + i); request(fds[i], path); }
        for (int i = 0; i < CLIENTS; i++) {
            const char *body = reply(fds[i], &status);
            snprintf(want, sizeof want, "%d %d", round * 1000 + i, (round * 1000 + i) * 2);
            if ((status != 200 || strcmp(body, want)) && wrong++ < 3) printf("  %d: \"%s\", expected \"%s\"\n", status, body, want);
        }
    }
    CHECK_EQ_INT(wrong, 0);
    for (int i = 0; i < CLIENTS; i++) close(fds[i]);
}
/* While /hold keeps the worker busy the others' requests pile up, so that they are one turn. How many answers a receive finds is up to the machine, which may
 * run the backend and the worker in turn for each: one good try in ten will do. */
static void writes_are_shared_by_the_fibers_of_a_turn(void) {
    unsigned long long q0, s0, r0, q1, s1, r1;
    int  status, fds[CLIENTS], hold = dial();
    bool good = false;
    for (int i = 0; i < CLIENTS; i++) fds[i] = dial();
    for (int attempt = 0; attempt < 10 && !good; attempt++) {
        CHECK(sscanf(get("/stats", &status), "%llu %llu %llu", &q0, &s0, &r0) == 3);
        for (int round = 0; round < 10; round++) {
            request(hold, "/hold");
            for (int i = 0; i < CLIENTS; i++) request(fds[i], "/ask/5");
            for (int i = 0; i < CLIENTS; i++) { reply(fds[i], &status); CHECK_EQ_INT(status, 200); }
            reply(hold, &status);
        }
        CHECK(sscanf(get("/stats", &status), "%llu %llu %llu", &q1, &s1, &r1) == 3);
        printf("  %llu queries, %llu sends, %llu receives\n", q1 - q0, s1 - s0, r1 - r0);
        CHECK(q1 - q0 == 2 * 10 * CLIENTS);
        CHECK(r1 - r0 <= q1 - q0);
        good = (s1 - s0) * 4 <= q1 - q0 && (r1 - r0) * 2 <= q1 - q0;
    }
    CHECK(good);
    for (int i = 0; i < CLIENTS; i++) close(fds[i]);
    close(hold);
}
static void transactions_wait_for_their_turn(void) {
    int fds[CLIENTS], status, wrong = 0;
    for (int i = 0; i < CLIENTS; i++) fds[i] = dial();
    for (int i = 0; i < CLIENTS; i++) { char path[64]; snprintf(path, sizeof path, "/tx/%d", i); request(fds[i], path); }
    for (int i = 0; i < CLIENTS; i++) if (atoi(reply(fds[i], &status)) != i || status != 200) wrong++;
    CHECK_EQ_INT(wrong, 0);
    CHECK_EQ_INT(direct("select count(distinct id) from http_log where id >= 0"), CLIENTS);
    for (int i = 0; i < CLIENTS; i++) close(fds[i]);
    CHECK(settles());
}
static void clients_that_leave_take_their_queries_with_them(void) {
    static const char *const paths[] = { "/slow", "/slowtx" };
    for (int k = 0; k < 2; k++) {
        int fds[6], status;
        for (int i = 0; i < 6; i++) { fds[i] = dial(); request(fds[i], paths[k]); }
        usleep(300000);
        struct linger reset = { 1, 0 };                       // a FIN alone could be a client that still listens
        for (int i = 0; i < 6; i++) { setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &reset, sizeof reset); close(fds[i]); }
        usleep(100000);
        const char *body = get("/ask/77", &status);
        if (!CHECK(strcmp(body, "77 154") == 0)) printf("  after %s: %d %s\n", paths[k], status, body);
        if (!CHECK(settles())) printf("  after %s: %lld are still at work\n", paths[k], (long long)direct("select count(*) from pg_stat_activity where application_name = 'worker' and state <> 'idle'"));
    }
    CHECK_EQ_INT(direct("select count(*) from http_log where id = -1"), 0);
}
static void handlers_that_end_badly_leave_clean_connections(void) {
    static const char *const paths[] = { "/forget", "/panic", "/fault" };
    for (int k = 0; k < 3; k++) {
        int status;
        for (int i = 0; i < 8; i++) {
            get(paths[k], &status);
            CHECK_EQ_INT(status, k == 0 ? 200 : 500);
            CHECK(strcmp(get("/ask/78", &status), "78 156") == 0);
        }
        if (!CHECK(settles())) printf("  after %s\n", paths[k]);
    }
    CHECK_EQ_INT(direct("select count(*) from http_log where id < -1"), 0);
    int status, shared = 99, exclusive = 99, flying = 99;
    CHECK(sscanf(get("/stats", &status), "%*u %*u %*u %d %d %d", &shared, &exclusive, &flying) == 3);
    CHECK(shared <= 2 && exclusive <= 4);
    CHECK(flying <= 2);                                       // an answer nobody waits for is read with the next one on its connection
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    if (!getenv("CHOPIN_PG_URL")) { printf("SKIPPED test_pg_http: no server; run it by tests/pg.sh\n0 passed, 0 failed\n"); return 77; }
    web_app = chopin_new(&(chopin_options){ .workers = 1, .quiet = true, .no_env = true, .no_signals = true, .contain_faults = true, .max_faults = 100,
                                        .log = web_hush, .on_worker_start = worker_start, .on_worker_stop = worker_stop });
    chopin_mount_all(web_app);
    direct("select 1 from (select 1) x");
    chopin_pg *pg = chopin_pg_open(&(chopin_pg_options){ .url = getenv("CHOPIN_PG_URL"), .no_env = true, .log = quiet });
    if (chopin_pg_exec(pg, "create table http_log (id int8)") < 0) printf("%s\n", chopin_pg_why(pg));
    web_start();
    RUN(answers_belong_to_their_questions);
    RUN(writes_are_shared_by_the_fibers_of_a_turn);
    RUN(transactions_wait_for_their_turn);
    RUN(clients_that_leave_take_their_queries_with_them);
    RUN(handlers_that_end_badly_leave_clean_connections);
    web_stop();
    chopin_pg_exec(pg, "drop table http_log");
    chopin_pg_close(pg);
    return TEST_END();
}
