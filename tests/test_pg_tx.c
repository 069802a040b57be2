/* test_pg_tx.c - transactions, savepoints, batches, retry. Run it by `tests/pg.sh ./test_pg_tx [names]`. */
#define _GNU_SOURCE 1
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include "pg_fibers.h"
#include "test.h"
#include "pg_kit.h"

static chopin_pg *with_table(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1 });
    run(db, "drop table if exists tx; create table tx (id int primary key, v int)");
    return db;
}
static void begin_costs_no_round_trip(void) {
    chopin_pg *db = with_table();
    chopin_pg *tx = chopin_pg_begin(db, NULL);
    CHECK_EQ_INT(chopin_pg_exec(tx, "insert into tx values (1, 1)"), 1);
    uint64_t sends = chopin_pg_stats(db).sends;
    chopin_pg *other = chopin_pg_begin(db, NULL);
    CHECK_EQ_INT(chopin_pg_stats(db).sends, sends);
    chopin_pg_close(other);
    CHECK_EQ_INT(number(db, "select count(*) from tx"), 0);
    CHECK_EQ_INT(chopin_pg_commit(tx), 0);
    CHECK_EQ_INT(number(db, "select count(*) from tx"), 1);
    chopin_pg_close(tx);
    tx = chopin_pg_begin(db, NULL);
    CHECK_EQ_INT(chopin_pg_commit(tx), 0);                     // nothing was done in it
    chopin_pg_close(tx);
    closed(db);
}
static void what_is_not_committed_is_rolled_back(void) {
    chopin_pg *db = with_table();
    chopin_pg *tx = chopin_pg_begin(db, NULL);
    CHECK_EQ_INT(chopin_pg_exec(tx, "insert into tx values (1, 1)"), 1);
    chopin_pg_close(tx);
    CHECK_EQ_INT(number(db, "select count(*) from tx"), 0);
    tx = chopin_pg_begin(db, NULL);
    CHECK_EQ_INT(chopin_pg_exec(tx, "insert into tx values (1, 1)"), 1);
    CHECK_EQ_INT(chopin_pg_rollback(tx), 0);
    CHECK_EQ_INT(chopin_pg_exec(tx, "insert into tx values (2, 1)"), 1);     // a new BEGIN travels with it
    CHECK_EQ_INT(chopin_pg_commit(tx), 0);
    chopin_pg_close(tx);
    CHECK_EQ_INT(number(db, "select id from tx"), 2);
    closed(db);
}
static void the_first_error_stays_and_commit_gives_it(void) {
    chopin_pg *db = with_table();
    chopin_pg *tx = chopin_pg_begin(db, NULL);
    CHECK_EQ_INT(chopin_pg_exec(tx, "insert into tx values (1, 1)"), 1);
    CHECK_EQ_INT(chopin_pg_exec(tx, "insert into tx values (1, 2)"), CHOPIN_PG_SERVER);
    CHECK_EQ_INT(chopin_pg_exec(tx, "insert into tx values (3, 2)"), CHOPIN_PG_SERVER);
    CHECK(chopin_pg_is_unique(chopin_pg_error_of(tx), "tx_pkey"));
    CHECK_EQ_INT(chopin_pg_commit(tx), CHOPIN_PG_SERVER);
    CHECK(state_is(tx, "23505"));
    chopin_pg_close(tx);
    tx = chopin_pg_begin(db, NULL);                            // nobody looked at the error of a send: the COMMIT answers with it
    chopin_pg_send(tx, "insert into tx values (1, 1)");
    chopin_pg_send(tx, "select 1/0");
    CHECK_EQ_INT(chopin_pg_commit(tx), CHOPIN_PG_SERVER);
    CHECK(state_is(tx, "22012"));
    chopin_pg_close(tx);
    CHECK_EQ_INT(number(db, "select count(*) from tx"), 0);
    closed(db);
}
static void a_deferred_constraint_fails_the_commit(void) {
    chopin_pg *db = with_table();
    run(db, "drop table if exists tx2; create table tx2 (id int references tx deferrable initially deferred)");
    chopin_pg *tx = chopin_pg_begin(db, NULL);
    CHECK_EQ_INT(chopin_pg_exec(tx, "insert into tx2 values (5)"), 1);
    CHECK_EQ_INT(chopin_pg_commit(tx), CHOPIN_PG_SERVER);
    CHECK(state_is(tx, "23503"));
    chopin_pg_close(tx);
    CHECK_EQ_INT(chopin_pg_exec(db, "insert into tx2 values (5)"), CHOPIN_PG_SERVER);      // alone: at its Sync
    CHECK(state_is(db, "23503"));
    run(db, "drop table tx2");
    closed(db);
}
static void savepoints_take_back_their_part(void) {
    chopin_pg *db = with_table();
    chopin_pg *tx = chopin_pg_begin(db, NULL);
    chopin_pg *early = chopin_pg_begin(tx, NULL);              // before the outer one has begun
    CHECK_EQ_INT(chopin_pg_exec(early, "insert into tx values (1, 1)"), 1);
    chopin_pg *deep = chopin_pg_begin(early, NULL);
    CHECK_EQ_INT(chopin_pg_exec(deep, "select 1/0"), CHOPIN_PG_SERVER);
    chopin_pg_close(deep);
    CHECK_EQ_INT(chopin_pg_exec(early, "insert into tx values (2, 1)"), 1);
    CHECK_EQ_INT(chopin_pg_commit(early), 0);
    chopin_pg_close(early);
    chopin_pg *gone = chopin_pg_begin(tx, NULL);
    CHECK_EQ_INT(chopin_pg_exec(gone, "insert into tx values (3, 1)"), 1);
    chopin_pg_close(gone);
    CHECK_EQ_INT(chopin_pg_commit(tx), 0);
    chopin_pg_close(tx);
    CHECK_EQ_INT(number(db, "select sum(id) from tx"), 3);
    closed(db);
}
static void words_of_transactions_are_refused(void) {
    chopin_pg *db = with_table();
    chopin_pg *tx = chopin_pg_begin(db, NULL);
    CHECK_EQ_INT(chopin_pg_exec(db, "begin"), CHOPIN_PG_UNSAFE);
    CHECK_EQ_INT(chopin_pg_exec(tx, "commit"), CHOPIN_PG_UNSAFE);
    chopin_pg_close(tx);
    chopin_pg *ro = chopin_pg_begin(db, &(chopin_pg_tx){ .isolation = CHOPIN_PG_SERIALIZABLE, .read_only = true, .deferrable = true });
    CHECK_EQ_INT(chopin_pg_exec(ro, "insert into tx values (1, 1)"), CHOPIN_PG_SERVER);
    CHECK(state_is(ro, "25006"));
    chopin_pg_close(ro);
    CHECK_EQ_INT(chopin_pg_stats(db).closed, 0);               // we asked for it: no reason to replace the pool
    closed(db);
}
static void serialization_failures_are_tried_again(void) {
    chopin_pg *db = with_table();
    run(db, "insert into tx values (1, 0)");
    chopin_pg *a = chopin_pg_begin(db, &(chopin_pg_tx){ .isolation = CHOPIN_PG_REPEATABLE_READ });
    int rounds = 0;
    do {
        rounds++;
        CHECK(number(a, "select v from tx where id = 1") >= 0);
        if (rounds < 3) CHECK_EQ_INT(chopin_pg_exec(db, "update tx set v = v + 10 where id = 1"), 1);
        chopin_pg_exec(a, "update tx set v = v + 1 where id = 1");
    } while (chopin_pg_commit(a) < 0 && chopin_pg_retry(a, 5));
    CHECK_EQ_INT(chopin_pg_code(a), 0);
    CHECK_EQ_INT(rounds, 3);
    chopin_pg_close(a);
    CHECK_EQ_INT(number(db, "select v from tx"), 21);
    a = chopin_pg_begin(db, NULL);
    chopin_pg_exec(a, "select 1/0");
    CHECK(chopin_pg_commit(a) < 0 && !chopin_pg_retry(a, 5));
    chopin_pg_close(a);
    closed(db);
}
static void a_batch_is_all_or_nothing_in_one_round_trip(void) {
    chopin_pg *db = with_table();
    chopin_pg_ready(db);
    chopin_pg *b = chopin_pg_batch(db);
    for (int i = 0; i < 100; i++) chopin_pg_send(b, "insert into tx values ($1, $2)", i, i);
    uint64_t sends = chopin_pg_stats(db).sends;
    CHECK_EQ_INT(chopin_pg_commit(b), 0);
    CHECK(chopin_pg_stats(db).sends - sends <= 1);
    chopin_pg_close(b);
    b = chopin_pg_batch(db);
    for (int i = 0; i < 1000; i++) chopin_pg_send(b, "insert into tx values ($1, 0)", i == 700 ? 50 : 1000 + i);      // too many for a shared one
    CHECK_EQ_INT(chopin_pg_commit(b), CHOPIN_PG_SERVER);
    CHECK_EQ_INT(chopin_pg_error_of(b)->statement, 700);
    chopin_pg_close(b);
    b = chopin_pg_batch(db);
    chopin_pg_send(b, "insert into tx values ($1, 0)", 5000);
    chopin_pg_send(b, "insert into tx values ($1::int, 0)", "no number");
    chopin_pg_send(b, "insert into tx values ($1, 0)", (int64_t)1 << 40);       // known type: cannot even be encoded
    CHECK(chopin_pg_commit(b) < 0);
    chopin_pg_close(b);
    CHECK_EQ_INT(number(db, "select count(*) from tx"), 100);
    chopin_pg *tx = chopin_pg_begin(db, NULL);
    b = chopin_pg_batch(tx);
    chopin_pg_rows *r = chopin_pg_send(b, "insert into tx values (9999, 1) returning id");
    CHECK_EQ_INT(chopin_pg_commit(b), 0);
    CHECK(chopin_pg_next(r));
    CHECK_EQ_INT(chopin_pg_i32(r, 0), 9999);
    chopin_pg_close(b);
    chopin_pg_close(tx);
    CHECK_EQ_INT(number(db, "select count(*) from tx"), 100);
    closed(db);
}
/* What was cancelled, or read too early, fails the commit before anything has left. */
static void a_batch_with_an_error_is_not_sent(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1 });
    run(db, "drop table if exists unsent; create table unsent (a int)");
    for (int way = 0; way < 4; way++) {
        chopin_pg *b = chopin_pg_batch(db);
        chopin_pg_rows *r = chopin_pg_send(b, "insert into unsent values ($1)", way);
        chopin_pg_rows *second = chopin_pg_send(b, "insert into unsent values ($1)", way);
        if (way == 0) chopin_pg_cancel(r);
        if (way == 1) CHECK_EQ_INT(chopin_pg_next(r), 0);
        if (way == 2) chopin_pg_send(b, "begin");
        if (way == 3) chopin_pg_cancel(second);
        CHECK(chopin_pg_commit(b) < 0);
        if (way == 0 || way == 3) CHECK_EQ_INT(chopin_pg_code(b), CHOPIN_PG_CANCELED);
        chopin_pg_close(b);
        CHECK_EQ_INT(number(db, "select count(*) from unsent"), 0);
    }
    closed(db);
}
/* One that cannot be encoded spoils those before it, and no transaction around has begun. */
static void a_batch_that_cannot_be_sent_begins_nothing(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1, .exclusive = 1 });
    run(db, "drop table if exists unsent; create table unsent (a int)");
    chopin_pg *first = chopin_pg_begin(db, NULL);
    for (int i = 0; i < 2; i++) CHECK_EQ_INT(chopin_pg_exec(first, "insert into unsent values ($1)", 1), 1);          // int4, it knows now
    CHECK_EQ_INT(chopin_pg_rollback(first), 0);
    chopin_pg_close(first);
    chopin_pg *outer = chopin_pg_begin(db, NULL), *inner = chopin_pg_begin(outer, NULL), *b = chopin_pg_batch(inner);
    chopin_pg_rows *good = chopin_pg_send(b, "insert into unsent values ($1)", 1), *bad = chopin_pg_send(b, "insert into unsent values ($1)", INT64_MAX);
    CHECK(chopin_pg_commit(b) < 0);
    CHECK_EQ_INT(chopin_pg_error_of(b)->statement, 1);
    CHECK(chopin_pg_end(good) < 0 && chopin_pg_end(bad) < 0);
    chopin_pg_close(b);
    chopin_pg_close(inner);
    CHECK_EQ_INT(chopin_pg_exec(outer, "insert into unsent values (2)"), 1);
    CHECK_EQ_INT(chopin_pg_rollback(outer), 0);
    chopin_pg_close(outer);
    CHECK_EQ_INT(number(db, "select count(*) from unsent"), 0);
    closed(db);
}
/* What is sent is the caller's again at once, whether it is kept in the result or in memory of its own. */
static void sent_statements_of_any_size_are_copied(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1 });
    char sql[200], text[16];
    for (int size = 30; size < 150; size++) {
        chopin_pg *b = chopin_pg_batch(db);
        snprintf(sql, sizeof sql, "select $1::int, $2::text --%*s", size - 27, "x");
        snprintf(text, sizeof text, "t%d", size);
        chopin_pg_rows *two = chopin_pg_send(b, sql, size, text);
        snprintf(sql, sizeof sql, "select %3d --%*s", size, size - 13, "x");
        chopin_pg_rows *none = chopin_pg_send(b, sql);
        memset(sql, '!', sizeof sql);
        memset(text, '!', sizeof text);
        CHECK_EQ_INT(chopin_pg_commit(b), 0);
        snprintf(text, sizeof text, "t%d", size);
        CHECK(chopin_pg_next(two) && chopin_pg_i32(two, 0) == size && chopin_pg_text(two, 1).len == strlen(text));
        CHECK(memcmp(chopin_pg_text(two, 1).ptr, text, strlen(text)) == 0);
        CHECK(chopin_pg_next(none) && chopin_pg_i32(none, 0) == size);
        chopin_pg_close(b);
    }
    closed(db);
}
static void a_stale_batch_is_sent_again(void) {
    chopin_pg *db = with_table();
    for (int i = 0; i < 3; i++) CHECK_EQ_INT(chopin_pg_exec(db, "select * from tx"), 0);
    chopin_pg *other = open_pool((chopin_pg_options){ .shared = 1 });
    run(other, "alter table tx add w text");
    chopin_pg_close(other);
    chopin_pg *b = chopin_pg_batch(db);
    chopin_pg_send(b, "insert into tx values (1, 1)");
    chopin_pg_rows *r = chopin_pg_send(b, "select * from tx");
    CHECK_EQ_INT(chopin_pg_commit(b), 0);
    CHECK(chopin_pg_next(r));
    CHECK_EQ_INT(chopin_pg_columns(r), 3);
    chopin_pg_close(b);
    CHECK_EQ_INT(number(db, "select count(*) from tx"), 1);
    closed(db);
}
static void the_deadline_of_a_transaction_covers_all_of_it(void) {
    chopin_pg *db = with_table();
    chopin_pg *tx = chopin_pg_begin(db, &(chopin_pg_tx){ .ms = 150 });
    CHECK_EQ_INT(chopin_pg_exec(tx, "insert into tx values (1, 1)"), 1);
    CHECK_EQ_INT(chopin_pg_exec(tx, "select pg_sleep(5)"), CHOPIN_PG_TIMEOUT);
    CHECK(chopin_pg_commit(tx) < 0);
    chopin_pg_close(tx);
    CHECK_EQ_INT(number(db, "select count(*) from tx"), 0);
    CHECK_EQ_INT(number(db, "select count(*) from pg_locks where relation = 'tx'::regclass and mode = 'RowExclusiveLock'"), 0);
    run(db, "drop table tx");
    closed(db);
}
int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    if (!getenv("CHOPIN_PG_URL")) { printf("SKIPPED no server: run by tests/pg.sh\n"); return 77; }
    RUN(begin_costs_no_round_trip);
    RUN(what_is_not_committed_is_rolled_back);
    RUN(the_first_error_stays_and_commit_gives_it);
    RUN(a_deferred_constraint_fails_the_commit);
    RUN(savepoints_take_back_their_part);
    RUN(words_of_transactions_are_refused);
    RUN(serialization_failures_are_tried_again);
    RUN(a_batch_is_all_or_nothing_in_one_round_trip);
    RUN(a_batch_with_an_error_is_not_sent);
    RUN(a_batch_that_cannot_be_sent_begins_nothing);
    RUN(sent_statements_of_any_size_are_copied);
    RUN(a_stale_batch_is_sent_again);
    RUN(the_deadline_of_a_transaction_covers_all_of_it);
    return TEST_END();
}
