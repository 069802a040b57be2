/* test_pg_listen.c - LISTEN and NOTIFY. Run it by `tests/pg.sh ./test_pg_listen [names]`. */
#define _GNU_SOURCE 1
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include "pg_fibers.h"
#include "test.h"
#include "pg_kit.h"

static void notes_arrive_in_order_with_their_text(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1 });
    chopin_pg_listener *l = chopin_pg_listen(db, "jobs");
    chopin_pg_note n;
    CHECK_EQ_INT(chopin_pg_code(l), 0);
    CHECK_EQ_INT(chopin_pg_wait_note(l, &n, 20), 0);
    for (int i = 0; i < 50; i++) {
        char text[32];
        snprintf(text, sizeof text, "it's %d", i);
        CHECK_EQ_INT(chopin_pg_notify(db, "jobs", text), 0);
    }
    for (int i = 0; i < 50; i++) {
        char text[32];
        snprintf(text, sizeof text, "it's %d", i);
        if (!CHECK_EQ_INT(chopin_pg_wait_note(l, &n, 2000), 1)) break;
        CHECK_STR(n.payload, text);
        CHECK_STR(n.channel, "jobs");
        CHECK(n.pid > 0 && !n.gap);
    }
    CHECK_EQ_INT(chopin_pg_notify(db, "jobs", NULL), 0);
    CHECK_EQ_INT(chopin_pg_wait_note(l, &n, 2000), 1);
    CHECK_EQ_INT(n.payload.len, 0);
    CHECK_EQ_INT(chopin_pg_wait_note(l, &n, 20), 0);
    chopin_pg_unlisten(l);
    closed(db);
}
static void names_are_data_and_limits_are_named(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1 });
    chopin_pg_listener *l = chopin_pg_listen(db, "a\"b;drop");
    chopin_pg_note n;
    CHECK_EQ_INT(chopin_pg_listen_also(l, "Second"), 0);
    CHECK_EQ_INT(chopin_pg_notify(db, "a\"b;drop", "');create table x();--"), 0);
    CHECK_EQ_INT(chopin_pg_wait_note(l, &n, 2000), 1);
    CHECK_STR(n.payload, "');create table x();--");
    CHECK_EQ_INT(chopin_pg_notify(db, "Second", "x"), 0);
    CHECK_EQ_INT(chopin_pg_wait_note(l, &n, 2000), 1);
    CHECK_STR(n.channel, "Second");
    char name[65], *payload = calloc(1, 8001);
    memset(name, 'n', 64);
    name[64] = 0;
    memset(payload, 'p', 8000);
    CHECK_EQ_INT(chopin_pg_listen_also(l, name), CHOPIN_PG_ARG);
    CHECK_EQ_INT(chopin_pg_notify(db, name, "x"), CHOPIN_PG_ARG);
    CHECK_EQ_INT(chopin_pg_notify(db, "Second", payload), CHOPIN_PG_ARG);
    payload[7999] = name[63] = 0;
    CHECK_EQ_INT(chopin_pg_notify(db, "Second", payload), 0);
    CHECK_EQ_INT(chopin_pg_wait_note(l, &n, 2000), 1);
    CHECK_EQ_INT(n.payload.len, 7999);
    CHECK_EQ_INT(chopin_pg_listen_also(l, name), 0);
    free(payload);
    chopin_pg_unlisten(l);
    closed(db);
}
static void a_broken_connection_comes_back_with_a_gap(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1 });
    chopin_pg_listener *l = chopin_pg_listen(db, "jobs");
    chopin_pg_note n;
    for (int i = 0; i < 2; i++) {
        CHECK_EQ_INT(number(db, "select count(pg_terminate_backend(pid)) from pg_stat_activity where query like 'listen %'"), 1);
        CHECK_EQ_INT(chopin_pg_wait_note(l, &n, 5000), 1);
        CHECK(n.gap);
        CHECK_EQ_INT(chopin_pg_notify(db, "jobs", "again"), 0);
        CHECK_EQ_INT(chopin_pg_wait_note(l, &n, 2000), 1);
        CHECK(!n.gap);
        CHECK_STR(n.payload, "again");
    }
    CHECK_EQ_INT(chopin_pg_stats(db).reconnects, 2);
    chopin_pg_unlisten(l);
    closed(db);
}
static void a_transactions_notes_come_with_its_commit(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1 });
    chopin_pg_listener *l = chopin_pg_listen(db, "jobs");
    chopin_pg_note n;
    chopin_pg *tx = chopin_pg_begin(db, NULL);
    CHECK_EQ_INT(chopin_pg_notify(tx, "jobs", "tx"), 0);
    CHECK_EQ_INT(chopin_pg_wait_note(l, &n, 50), 0);
    CHECK_EQ_INT(chopin_pg_commit(tx), 0);
    chopin_pg_close(tx);
    CHECK_EQ_INT(chopin_pg_wait_note(l, &n, 2000), 1);
    chopin_pg *b = chopin_pg_batch(db);
    CHECK_EQ_INT(chopin_pg_notify(b, "jobs", "batch"), 0);
    CHECK_EQ_INT(chopin_pg_commit(b), 0);
    chopin_pg_close(b);
    CHECK_EQ_INT(chopin_pg_wait_note(l, &n, 2000), 1);
    CHECK_STR(n.payload, "batch");
    chopin_pg_close(db);                                       // the listener goes with it
    CHECK_EQ_INT(blocks, 0);
}
static void too_many_unread_notes_are_a_gap(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1 });
    chopin_pg_listener *l = chopin_pg_listen(db, "jobs");
    chopin_pg_note n;
    CHECK_EQ_INT(chopin_pg_exec(db, "select pg_notify('jobs', g::text) from generate_series(1, 6000) g"), 6000);
    int notes = 0, gaps = 0;
    while (chopin_pg_wait_note(l, &n, 200) > 0) { notes += !n.gap; gaps += n.gap; }
    CHECK(notes + (int)chopin_pg_stats(db).notes_dropped == 6000);
    CHECK(gaps >= (chopin_pg_stats(db).notes_dropped > 0));
    chopin_pg_unlisten(l);
    closed(db);
}

static struct { chopin_pg *db; int got, sent; } many;
static void hear(void *arg) {
    (void)arg;
    chopin_pg *s = chopin_pg_scope(many.db, 10000);
    chopin_pg_listener *l = chopin_pg_listen(s, "fib");
    for (chopin_pg_note n; many.got < 20 && chopin_pg_wait_note(l, &n, 5000) > 0; ) many.got++;
    chopin_pg_unlisten(l);
    chopin_pg_close(s);
}
static void tell(void *arg) {
    (void)arg;
    fibers_sleep(100);
    for (int i = 0; i < 20; i++) many.sent += chopin_pg_notify(many.db, "fib", "x") == 0;
}
static void a_fiber_listens_while_others_work(void) {
    many.db = open_pool((chopin_pg_options){ .shared = 1, .wait = fibers_wait });
    fibers_add(hear, NULL);
    fibers_add(tell, NULL);
    fibers_run();
    CHECK_EQ_INT(many.sent, 20);
    CHECK_EQ_INT(many.got, 20);
    closed(many.db);
}
int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    if (!getenv("CHOPIN_PG_URL")) { printf("SKIPPED no server: run by tests/pg.sh\n"); return 77; }
    RUN(notes_arrive_in_order_with_their_text);
    RUN(names_are_data_and_limits_are_named);
    RUN(a_broken_connection_comes_back_with_a_gap);
    RUN(a_transactions_notes_come_with_its_commit);
    RUN(too_many_unread_notes_are_a_gap);
    RUN(a_fiber_listens_while_others_work);
    return TEST_END();
}
