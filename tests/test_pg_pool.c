/* test_pg_pool.c - connections shared, borrowed, given back, replaced. Run it by `tests/pg.sh ./test_pg_pool [names]`. */
#define _GNU_SOURCE 1
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include "pg_fibers.h"
#include "test.h"
#include "pg_kit.h"

static void exclusive_ones_are_used_again(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .exclusive = 3 });
    int64_t pid = 0;
    for (int i = 0; i < 5; i++) {
        chopin_pg *pin = chopin_pg_pin(db);
        int64_t now = number(pin, "select pg_backend_pid()");
        CHECK(!pid || now == pid);
        pid = now;
        chopin_pg_close(pin);
    }
    CHECK_EQ_INT(chopin_pg_stats(db).exclusive, 1);
    CHECK_EQ_INT(chopin_pg_stats(db).connects, 1);
    closed(db);
}
/* Their whole answer comes at once, as that of a query does; but they have a connection, or a transaction, to give back. */
static void short_streams_give_their_connection_back(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .exclusive = 1 });
    for (int fetch = 0; fetch <= 100; fetch += 50) {
        for (int i = 0; i < 4; i++) {
            int64_t sum = 0;
            chopin_pg_rows *r = chopin_pg_stream(db, fetch, "select g from generate_series(1, $1::int) g", 5);
            while (chopin_pg_next(r)) sum += chopin_pg_i32(r, 0);
            CHECK_EQ_INT(chopin_pg_end(r), 5);
            CHECK_EQ_INT(sum, 15);
            CHECK_EQ_INT(chopin_pg_stats(db).idle, 1);
        }
    }
    closed(db);
}
static void a_pin_is_reset_when_it_changed_its_session(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .exclusive = 1 });
    chopin_pg *pin = chopin_pg_pin(db);
    CHECK(chopin_pg_exec(pin, "set statement_timeout = 12345") >= 0);
    CHECK(chopin_pg_exec(pin, "create temp table mine (a int)") >= 0);
    CHECK(chopin_pg_exec(pin, "prepare mine as select 1") >= 0);
    int64_t pid = number(pin, "select pg_backend_pid()");
    chopin_pg_close(pin);
    pin = chopin_pg_pin(db);
    CHECK_EQ_INT(number(pin, "select pg_backend_pid()"), pid);
    CHECK_EQ_INT(number(pin, "select count(*) from pg_settings where name = 'statement_timeout' and setting = '12345'"), 0);
    CHECK_EQ_INT(number(pin, "select count(*) from pg_class where relname = 'mine'"), 0);
    chopin_pg_close(pin);
    closed(db);
}
static void what_comes_back_in_the_middle_is_cleaned(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .exclusive = 1 });
    for (int i = 0; i < 3; i++) {
        chopin_pg *tx = chopin_pg_begin(db, NULL);
        CHECK_EQ_INT(chopin_pg_exec(tx, "select 1"), 1);
        if (i) chopin_pg_send(tx, i == 1 ? "select 1/0" : "select pg_sleep(10)");
        int64_t from = now_ms();
        chopin_pg_close(tx);
        CHECK(now_ms() - from < 1500);
        chopin_pg *pin = chopin_pg_pin(db);
        CHECK_EQ_INT(number(pin, "select 5"), 5);
        CHECK_EQ_INT(number(pin, "select count(*) from pg_stat_activity where state like 'idle in%' and pid <> pg_backend_pid() and application_name = ''"), 0);
        chopin_pg_close(pin);
    }
    CHECK_EQ_INT(chopin_pg_stats(db).exclusive, 1);
    closed(db);
}

static struct { chopin_pg *db; int order[16], served, pool_errors, held; } line;
static void stand_in_line(void *arg) {
    int me = (int)(intptr_t)arg;
    chopin_pg *s = chopin_pg_scope(line.db, 0), *pin = chopin_pg_pin(s);
    fibers_sleep(me * 3);
    if (number(pin, "select 1") == 1) line.order[line.served++] = me;
    fibers_sleep(30);
    chopin_pg_close(pin);
    chopin_pg_close(s);
}
static void waiters_are_served_first_come_first(void) {
    line.db = open_pool((chopin_pg_options){ .exclusive = 1, .wait = fibers_wait });
    line.served = 0;
    CHECK_EQ_INT(chopin_pg_ready(line.db), 0);
    for (int i = 0; i < 8; i++) fibers_add(stand_in_line, (void *)(intptr_t)i);
    fibers_run();
    CHECK_EQ_INT(line.served, 8);
    for (int i = 0; i < 8; i++) CHECK_EQ_INT(line.order[i], i);
    CHECK_EQ_INT(chopin_pg_stats(line.db).connects, 2);
    closed(line.db);
}
static void hold(void *arg) {
    (void)arg;
    chopin_pg *pin = chopin_pg_pin(line.db);
    CHECK_EQ_INT(number(pin, "select 4711"), 4711);
    fibers_sleep(400);
    chopin_pg_close(pin);
}
static void wait_in_vain(void *arg) {
    fibers_sleep(30);
    chopin_pg *s = chopin_pg_scope(line.db, (intptr_t)arg), *pin = chopin_pg_pin(s);
    int64_t from = now_ms();
    int64_t rc = chopin_pg_exec(pin, "select 1");
    line.pool_errors += rc == CHOPIN_PG_POOL && strstr(chopin_pg_why(pin), "4711") && now_ms() - from < 250;
    chopin_pg_close(s);
}
static void waiting_ends_with_a_reason(void) {
    line.db = open_pool((chopin_pg_options){ .exclusive = 1, .acquire_ms = 100, .max_waiting = 2, .wait = fibers_wait });
    line.pool_errors = 0;
    fibers_add(hold, NULL);
    fibers_add(wait_in_vain, (void *)(intptr_t)0);
    fibers_add(wait_in_vain, (void *)(intptr_t)50);
    fibers_add(wait_in_vain, (void *)(intptr_t)0);             // the third is one too many
    fibers_run();
    CHECK_EQ_INT(line.pool_errors, 3);
    CHECK(chopin_pg_stats(line.db).acquire_timeouts == 3);
    closed(line.db);
}
static void a_blocking_program_is_told_at_once(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .exclusive = 1 });
    chopin_pg *a = chopin_pg_pin(db), *b = chopin_pg_pin(db);
    CHECK_EQ_INT(number(a, "select 1"), 1);
    int64_t from = now_ms();
    CHECK_EQ_INT(chopin_pg_exec(b, "select 1"), CHOPIN_PG_POOL);
    CHECK(now_ms() - from < 100);
    chopin_pg_close(a);
    CHECK_EQ_INT(chopin_pg_exec(b, "select 1"), 1);
    closed(db);
}
static void a_dead_idle_connection_is_replaced_unseen(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1 }), *other = open_pool((chopin_pg_options){ .shared = 1 });
    chopin_pg *pin = chopin_pg_pin(db);
    CHECK_EQ_INT(number(db, "select 1") + number(pin, "select 1"), 2);
    chopin_pg_close(pin);
    CHECK_EQ_INT(number(other, "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"), 2);
    usleep(1200000);
    CHECK_EQ_INT(number(db, "select 2"), 2);
    pin = chopin_pg_pin(db);
    CHECK_EQ_INT(number(pin, "select 3"), 3);
    chopin_pg_close(pin);
    CHECK_EQ_INT(chopin_pg_stats(db).lost, 0);
    chopin_pg_close(db);
    closed(other);
}
static void expired_and_old_connections_are_replaced(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1 });
    int64_t pid = number(db, "select pg_backend_pid()");
    chopin_pg_rows *r = chopin_pg_query(db, "select g from generate_series(1, 1000) g");
    CHECK(chopin_pg_next(r));
    chopin_pg_expire(db);
    int n = 1;
    while (chopin_pg_next(r)) n++;
    CHECK_EQ_INT(n, 1000);                                     // what runs goes on
    chopin_pg_end(r);
    CHECK(number(db, "select pg_backend_pid()") != pid);
    closed(db);
    db = open_pool((chopin_pg_options){ .shared = 1, .lifetime_ms = 50, .idle_ms = -1 });
    pid = number(db, "select pg_backend_pid()");
    usleep(80000);
    CHECK(number(db, "select pg_backend_pid()") != pid);
    closed(db);
    db = open_pool((chopin_pg_options){ .idle_ms = 50 });
    chopin_pg *pin = chopin_pg_pin(db);
    number(pin, "select 1");
    chopin_pg_close(pin);
    usleep(80000);
    number(db, "select 1");
    CHECK_EQ_INT(chopin_pg_stats(db).exclusive, 0);
    closed(db);
}
static void bad_options_answer_every_call(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .url = "postgres://x:secret@host:notaport/db" });
    CHECK_EQ_INT(chopin_pg_code(db), CHOPIN_PG_ARG);
    CHECK(!strstr(chopin_pg_why(db), "secret"));
    CHECK_EQ_INT(chopin_pg_exec(db, "select 1"), CHOPIN_PG_ARG);
    chopin_pg_rows *r = chopin_pg_query(db, "select 1");
    CHECK(!chopin_pg_next(r) && chopin_pg_code(r) == CHOPIN_PG_ARG);
    chopin_pg *tx = chopin_pg_begin(db, NULL), *b = chopin_pg_batch(tx);
    CHECK_EQ_INT(chopin_pg_exec(tx, "select 1"), CHOPIN_PG_ARG);
    chopin_pg_send(b, "select 1");
    CHECK_EQ_INT(chopin_pg_commit(b), CHOPIN_PG_ARG);
    chopin_pg_copy *c = chopin_pg_copy_in(db, "t", NULL);
    CHECK_EQ_INT(chopin_pg_copy_end(c), CHOPIN_PG_ARG);
    chopin_pg_listener *l = chopin_pg_listen(db, "x");
    chopin_pg_note n;
    CHECK_EQ_INT(chopin_pg_wait_note(l, &n, 10), CHOPIN_PG_ARG);
    closed(db);
    db = open_pool((chopin_pg_options){ .url = "postgres://u@127.0.0.1:1/d?sslmode=disable" });
    int64_t from = now_ms();
    CHECK_EQ_INT(chopin_pg_exec(db, "select 1"), CHOPIN_PG_CONNECT);      // refused: known at once
    CHECK(now_ms() - from < 500);
    closed(db);
}
static void *nothing(void *ctx, void *p, size_t old, size_t n) { (void)ctx; (void)p; (void)old; (void)n; return NULL; }
static void without_any_memory_there_is_still_an_answer(void) {
    chopin_pg *db = chopin_pg_open(&(chopin_pg_options){ .url = "postgres://u@localhost/d", .alloc = nothing });
    CHECK_EQ_INT(chopin_pg_code(db), CHOPIN_PG_MEMORY);
    CHECK(strlen(chopin_pg_why(db)) > 0);
    CHECK_EQ_INT(chopin_pg_exec(db, "select 1"), CHOPIN_PG_MEMORY);
    chopin_pg_rows *r = chopin_pg_query(chopin_pg_scope(db, 5), "select 1");
    CHECK_EQ_INT(chopin_pg_next(r), 0);
    CHECK_EQ_INT(chopin_pg_i32(r, 0), 0);
    CHECK_EQ_INT(chopin_pg_end(r), CHOPIN_PG_MEMORY);
    chopin_pg *tx = chopin_pg_begin(db, NULL);
    CHECK_EQ_INT(chopin_pg_commit(tx), CHOPIN_PG_MEMORY);
    CHECK_EQ_INT(chopin_pg_copy_end(chopin_pg_copy_in(db, "t", NULL)), CHOPIN_PG_MEMORY);
    chopin_pg_note n;
    CHECK_EQ_INT(chopin_pg_wait_note(chopin_pg_listen(db, "x"), &n, 1), CHOPIN_PG_MEMORY);
    CHECK_EQ_INT(chopin_pg_notify(db, "x", "y"), CHOPIN_PG_MEMORY);
    CHECK_EQ_INT(chopin_pg_end(chopin_pg_stream(db, 5, "select 1")), CHOPIN_PG_MEMORY);
    chopin_pg_close(tx);
    chopin_pg_close(db);
}
static struct { int kinds[16]; int64_t rows; char sql[64]; } heard;
static void hear(void *ctx, const chopin_pg_event *e) {
    (void)ctx;
    heard.kinds[e->kind]++;
    if (e->kind == CHOPIN_PG_ON_END) {
        heard.rows += e->rows;
        snprintf(heard.sql, sizeof heard.sql, "%.*s", CHOPIN_FMT(e->sql));
    }
}
static void events_tell_what_happens(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1, .on_event = hear });
    for (int i = 0; i < 3; i++) chopin_pg_exec(db, "select * from generate_series(1, 5)");
    chopin_pg *pin = chopin_pg_pin(db);
    number(pin, "select 1");
    chopin_pg_close(pin);
    CHECK_EQ_INT(heard.kinds[CHOPIN_PG_ON_CONNECT], 2);
    CHECK_EQ_INT(heard.kinds[CHOPIN_PG_ON_PREPARE], 2);
    CHECK_EQ_INT(heard.kinds[CHOPIN_PG_ON_QUERY], 4);
    CHECK_EQ_INT(heard.kinds[CHOPIN_PG_ON_END], 4);
    CHECK_EQ_INT(heard.kinds[CHOPIN_PG_ON_ACQUIRE], 1);
    CHECK_EQ_INT(heard.kinds[CHOPIN_PG_ON_RELEASE], 1);
    CHECK_EQ_INT(heard.rows, 16);
    CHECK(strcmp(heard.sql, "select 1") == 0);
    closed(db);
}
/* A callback that asks the same pool: its statement is none of the group of the one it is told of. */
static struct { chopin_pg *db; int64_t rc; int calls; } nosy;
static void ask_back(void *ctx, const chopin_pg_event *e) {
    (void)ctx;
    if (e->kind != CHOPIN_PG_ON_QUERY || nosy.calls++) return;
    nosy.rc = chopin_pg_exec(nosy.db, "select 1");
}
static void a_callback_may_ask_the_pool(void) {
    nosy.db = open_pool((chopin_pg_options){ .shared = 1, .on_event = ask_back });
    CHECK(chopin_pg_exec(nosy.db, "select 1/0") < 0);
    CHECK(state_is(nosy.db, "22012"));
    CHECK(nosy.calls > 1);
    CHECK_EQ_INT(nosy.rc, 1);
    closed(nosy.db);
}

/* Idle is the time since the end of the last query, not since its beginning. */
static void a_long_query_does_not_make_its_connection_idle(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1, .idle_ms = 200 });
    for (int i = 0; i < 5; i++) {
        CHECK_EQ_INT(number(db, "select 2"), 2);               // just before it, so that the long one takes the short way
        CHECK_EQ_INT(number(db, "select 1 from pg_sleep(0.3)"), 1);
    }
    CHECK_EQ_INT(chopin_pg_stats(db).connects, 1);
    closed(db);
}
int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    if (!getenv("CHOPIN_PG_URL")) { printf("SKIPPED no server: run by tests/pg.sh\n"); return 77; }
    RUN(exclusive_ones_are_used_again);
    RUN(short_streams_give_their_connection_back);
    RUN(a_pin_is_reset_when_it_changed_its_session);
    RUN(what_comes_back_in_the_middle_is_cleaned);
    RUN(waiters_are_served_first_come_first);
    RUN(waiting_ends_with_a_reason);
    RUN(a_blocking_program_is_told_at_once);
    RUN(a_dead_idle_connection_is_replaced_unseen);
    RUN(expired_and_old_connections_are_replaced);
    RUN(bad_options_answer_every_call);
    RUN(without_any_memory_there_is_still_an_answer);
    RUN(events_tell_what_happens);
    RUN(a_callback_may_ask_the_pool);
    RUN(a_long_query_does_not_make_its_connection_idle);
    return TEST_END();
}
