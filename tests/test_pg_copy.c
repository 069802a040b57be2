/* test_pg_copy.c - COPY both ways, and how it ends. Run it by `tests/pg.sh ./test_pg_copy [names]`. */
#define _GNU_SOURCE 1
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include "pg_fibers.h"
#include "test.h"
#include "pg_kit.h"

static chopin_pg *with_table(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1, .exclusive = 2 });
    run(db, "drop table if exists cp; create table cp (id int, t text, b bytea, n numeric)");
    return db;
}
static void typed_rows_arrive(void) {
    chopin_pg *db = with_table();
    chopin_pg_copy *c = chopin_pg_copy_in(db, "cp", "id, t, b, n");
    CHECK_EQ_INT(chopin_pg_code(c), 0);
    for (int i = 0; i < 5000; i++) CHECK_EQ_INT(chopin_pg_copy_row(c, i, i % 3 ? "tab\there" : "", chopin_pg_as_bytes("\0\1\377", 3), chopin_pg_as_decimal(i, 2)), 0);
    CHECK_EQ_INT(chopin_pg_copy_row(c, 7, CHOPIN_PG_NULL, CHOPIN_PG_NULL, CHOPIN_PG_NULL), 0);
    CHECK_EQ_INT(chopin_pg_copy_end(c), 5001);
    CHECK_EQ_INT(number(db, "select count(*) from cp where t = E'tab\\there' and b = '\\x0001ff'"), 3333);
    CHECK_EQ_INT(number(db, "select sum(n * 100)::int8 from cp"), 4999LL * 5000 / 2);
    c = chopin_pg_copy_in(db, "cp", NULL);                     // no row at all
    CHECK_EQ_INT(chopin_pg_copy_end(c), 0);
    closed(db);
}
static void types_without_codec_travel_as_escaped_text(void) {
    chopin_pg *db = with_table();
    run(db, "drop table if exists cp2; create table cp2 (id int, a aclitem, t text, b bytea)");
    chopin_pg_copy *c = chopin_pg_copy_in(db, "cp2", "id, a, t, b");
    CHECK_EQ_INT(chopin_pg_copy_row(c, 1, "=r/tester", "a\tb\nc\\d\re\\.", chopin_pg_as_bytes("\0\\\377", 3)), 0);
    CHECK_EQ_INT(chopin_pg_copy_row(c, 2, CHOPIN_PG_NULL, "\\N", CHOPIN_PG_NULL), 0);
    CHECK_EQ_INT(chopin_pg_copy_end(c), 2);
    CHECK_EQ_INT(number(db, "select count(*) from cp2 where id = 1 and t = E'a\\tb\\nc\\\\d\\re\\\\.' and b = '\\x005cff'"), 1);
    CHECK_EQ_INT(number(db, "select count(*) from cp2 where id = 2 and a is null and t = E'\\\\N' and b is null"), 1);
    run(db, "drop table cp2");
    closed(db);
}
static void lines_and_bytes_are_taken_as_they_are(void) {
    chopin_pg *db = with_table();
    chopin_pg_copy *c = chopin_pg_copy_raw(db, "copy cp (id, t) from stdin");
    chopin_str line[2] = { CHOPIN_STR("1"), CHOPIN_STR("\\.") }, null[2] = { CHOPIN_STR("2"), { NULL, 0 } };
    CHECK_EQ_INT(chopin_pg_copy_line(c, line, 2), 0);
    CHECK_EQ_INT(chopin_pg_copy_line(c, null, 2), 0);
    CHECK_EQ_INT(chopin_pg_copy_end(c), 2);
    CHECK_EQ_INT(number(db, "select count(*) from cp where t = E'\\\\.' or t is null"), 2);
    c = chopin_pg_copy_raw(db, "copy cp (id, t) from stdin (format csv)");
    static char csv[400000];
    size_t n = 0;
    for (int i = 0; i < 20000; i++) n += (size_t)snprintf(csv + n, sizeof csv - n, "%d,\"q\"\"%d\"\n", i, i);
    CHECK_EQ_INT(chopin_pg_copy_bytes(c, csv, n), 0);
    CHECK_EQ_INT(chopin_pg_copy_end(c), 20000);
    closed(db);
}
static void the_servers_refusal_stops_it_and_the_next_query_is_right(void) {
    chopin_pg *db = with_table();
    for (int i = 0; i < 3; i++) {
        chopin_pg_copy *c = chopin_pg_copy_raw(db, "copy cp (id) from stdin");
        int sent = 0;
        chopin_pg_copy_bytes(c, "1\nnonsense\n", 11);
        for (; sent < 300000; sent++) if (chopin_pg_copy_bytes(c, "123456\n", 7) < 0) break;
        CHECK(sent < 300000);                                  // seen while sending
        CHECK_EQ_INT(chopin_pg_copy_end(c), CHOPIN_PG_SERVER);
        CHECK(state_is(db, "22P02"));
        CHECK_EQ_INT(number(db, "select 1"), 1);
    }
    CHECK_EQ_INT(number(db, "select count(*) from cp"), 0);
    chopin_pg_copy *c = chopin_pg_copy_in(db, "cp", "nothere");
    CHECK_EQ_INT(chopin_pg_code(c), CHOPIN_PG_SERVER);
    CHECK_EQ_INT(chopin_pg_copy_row(c, 1), CHOPIN_PG_SERVER);
    CHECK_EQ_INT(chopin_pg_copy_end(c), CHOPIN_PG_SERVER);
    c = chopin_pg_copy_raw(db, "select 1");
    CHECK_EQ_INT(chopin_pg_copy_end(c), CHOPIN_PG_ARG);
    CHECK_EQ_INT(number(db, "select 2"), 2);
    closed(db);
}
static void a_row_that_cannot_be_encoded_leaves_nothing(void) {
    chopin_pg *db = with_table();
    chopin_pg_copy *c = chopin_pg_copy_in(db, "cp", "id, t");
    CHECK_EQ_INT(chopin_pg_copy_row(c, 1, "one"), 0);
    CHECK_EQ_INT(chopin_pg_copy_row(c, (int64_t)1 << 40, "two"), CHOPIN_PG_RANGE);
    CHECK(strstr(chopin_pg_why(c), "row 2") && strstr(chopin_pg_why(c), "\"id\""));
    CHECK_EQ_INT(chopin_pg_copy_row(c, 3, "three"), CHOPIN_PG_RANGE);
    CHECK_EQ_INT(chopin_pg_copy_end(c), CHOPIN_PG_RANGE);
    c = chopin_pg_copy_in(db, "cp", "id, t");
    CHECK_EQ_INT(chopin_pg_copy_row(c, 1), CHOPIN_PG_ARG);
    CHECK_EQ_INT(chopin_pg_copy_end(c), CHOPIN_PG_ARG);
    CHECK_EQ_INT(number(db, "select count(*) from cp"), 0);
    closed(db);
}
static void abandoning_is_safe(void) {
    chopin_pg *db = with_table();
    chopin_pg_copy *c = chopin_pg_copy_in(db, "cp", "id");
    for (int i = 0; i < 100000; i++) chopin_pg_copy_row(c, i);
    CHECK_EQ_INT(chopin_pg_copy_fail(c, "changed my mind"), 0);
    CHECK_EQ_INT(number(db, "select count(*) from cp"), 0);
    chopin_pg *s = chopin_pg_scope(db, 0);
    c = chopin_pg_copy_in(s, "cp", "id");
    for (int i = 0; i < 100; i++) chopin_pg_copy_row(c, i);
    chopin_pg_close(s);                                        // never ended
    CHECK_EQ_INT(number(db, "select count(*) from cp"), 0);
    chopin_pg *tx = chopin_pg_begin(db, NULL);
    c = chopin_pg_copy_in(tx, "cp", "id");
    CHECK_EQ_INT(chopin_pg_copy_row(c, 1), 0);
    CHECK_EQ_INT(chopin_pg_exec(tx, "select 1"), CHOPIN_PG_ARG);      // a query inside would kill the session
    chopin_pg_close(tx);
    CHECK_EQ_INT(number(db, "select count(*) from cp"), 0);
    chopin_pg_stats(db);
    closed(db);
}
static void copy_in_a_transaction_goes_with_it(void) {
    chopin_pg *db = with_table();
    chopin_pg *tx = chopin_pg_begin(db, NULL);
    chopin_pg_copy *c = chopin_pg_copy_in(tx, "cp", "id");
    for (int i = 0; i < 10; i++) chopin_pg_copy_row(c, i);
    CHECK_EQ_INT(chopin_pg_copy_end(c), 10);
    CHECK_EQ_INT(number(tx, "select count(*) from cp"), 10);
    CHECK_EQ_INT(number(db, "select count(*) from cp"), 0);
    CHECK_EQ_INT(chopin_pg_commit(tx), 0);
    CHECK_EQ_INT(number(db, "select count(*) from cp"), 10);
    chopin_pg_close(tx);
    closed(db);
}
static void pieces_and_rows_come_out(void) {
    chopin_pg *db = with_table();
    run(db, "insert into cp select g, 'x' || g, '\\x01', g / 4.0 from generate_series(1, 20000) g");
    chopin_pg_rows *r = chopin_pg_copy_out(db, "copy cp (id, t) to stdout (format csv)");
    size_t lines = 0;
    while (chopin_pg_next(r)) {
        chopin_str s = chopin_pg_text(r, 0);
        for (size_t i = 0; i < s.len; i++) lines += s.ptr[i] == '\n';
    }
    CHECK_EQ_INT(chopin_pg_end(r), 20000);
    CHECK_EQ_INT(lines, 20000);
    static const char *const forms[] = { "copy cp to stdout (format binary)", "copy (select id, t, b, n from cp order by id) to stdout (format binary)", "copy cp (id, t, b, n) to stdout with binary" };
    for (size_t i = 0; i < 3; i++) {
        int64_t sum = 0;
        int n = 0;
        r = chopin_pg_copy_out(db, forms[i]);
        while (chopin_pg_next(r)) {
            sum += chopin_pg_i32(r, 0);
            n += chopin_pg_text(r, 1).ptr[0] == 'x' && chopin_pg_bytes(r, 2).len == 1;
        }
        if (chopin_pg_code(r)) printf("  %s: %s\n", forms[i], chopin_pg_why(r));
        CHECK_EQ_INT(n, 20000);
        CHECK_EQ_INT(sum, 20000LL * 20001 / 2);
        CHECK_EQ_INT(chopin_pg_end(r), 20000);
    }
    r = chopin_pg_copy_out(db, "copy cp to stdout");           // not read to its end
    CHECK(chopin_pg_next(r));
    chopin_pg_end(r);
    CHECK_EQ_INT(number(db, "select 3"), 3);
    r = chopin_pg_copy_out(db, "select 1");
    CHECK(!chopin_pg_next(r));
    CHECK_EQ_INT(chopin_pg_end(r), CHOPIN_PG_ARG);
    r = chopin_pg_copy_out(db, "copy (select 1/0) to stdout");
    CHECK(!chopin_pg_next(r));
    CHECK_EQ_INT(chopin_pg_end(r), CHOPIN_PG_SERVER);
    closed(db);
}
static void copy_by_the_wrong_door_is_refused_and_clean(void) {
    chopin_pg *db = with_table();
    chopin_pg *pin = chopin_pg_pin(db);
    CHECK_EQ_INT(chopin_pg_exec(db, "copy cp from stdin"), CHOPIN_PG_UNSAFE);
    CHECK_EQ_INT(chopin_pg_exec(pin, "copy cp from stdin"), CHOPIN_PG_ARG);
    CHECK_EQ_INT(number(pin, "select 1"), 1);
    CHECK_EQ_INT(chopin_pg_exec(pin, "copy cp to stdout"), CHOPIN_PG_ARG);
    CHECK_EQ_INT(number(pin, "select 2"), 2);
    chopin_pg_rows *r = chopin_pg_script(pin, "select 1; copy cp from stdin; select 2");
    while (chopin_pg_next_result(r)) {}
    CHECK_EQ_INT(chopin_pg_end(r), CHOPIN_PG_ARG);
    CHECK_EQ_INT(number(pin, "select 3"), 3);
    chopin_pg_close(pin);
    run(db, "drop table cp");
    closed(db);
}
int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    if (!getenv("CHOPIN_PG_URL")) { printf("SKIPPED no server: run by tests/pg.sh\n"); return 77; }
    RUN(typed_rows_arrive);
    RUN(types_without_codec_travel_as_escaped_text);
    RUN(lines_and_bytes_are_taken_as_they_are);
    RUN(the_servers_refusal_stops_it_and_the_next_query_is_right);
    RUN(a_row_that_cannot_be_encoded_leaves_nothing);
    RUN(abandoning_is_safe);
    RUN(copy_in_a_transaction_goes_with_it);
    RUN(pieces_and_rows_come_out);
    RUN(copy_by_the_wrong_door_is_refused_and_clean);
    return TEST_END();
}
