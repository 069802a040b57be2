/* test_pg_server.c - against real servers: every mistake of the Rust client (r01 ... r30, PG.md section 5), real trouble, pgbouncer.
 *
 * Run it by `tests/pg.sh ./test_pg_server [names]`; without a server it says SKIPPED and ends with 77. Compile with -DCHOPIN_PG_OPENSSL -lssl -lcrypto for
 * the parts on TLS. CHOPIN_TEST_LONG=1 runs the long forms (a minute of random deadlines),
 * CHOPIN_TEST_QUERIES=n sends n queries instead of 100,000. Compile with -pthread. */
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include "pg_fibers.h"
#include "test.h"

#define FAIL(what) test__check(false, __FILE__, __LINE__, "not " what)

/* ---- tools ------------------------------------------------------------------------------------------------------------------------------------------ */

static const char *env(const char *name) { const char *v = getenv(name); return v && *v ? v : NULL; }
static void quiet(void *ctx, chopin_pg_level level, const char *text) { (void)ctx; (void)level; (void)text; }

static chopin_pg *open_with(const char *url, chopin_pg_options o) {
    o.url = url;
    o.no_env = true;
    if (!o.log) o.log = quiet;
    return chopin_pg_open(&o);
}
static chopin_pg *open_url(const char *url)  { return open_with(url, (chopin_pg_options){ .shared = 2 }); }
static chopin_pg *open_main(void)            { return open_url(env("CHOPIN_PG_URL")); }
static chopin_pg *open_fibers(const char *url, chopin_pg_options o) { o.wait = fibers_wait; return open_with(url, o); }

static int64_t now_ms(void) { return fibers_now(); }
static void    sleep_ms(int ms) { struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 }; while (nanosleep(&t, &t)) { } }

/* `SELECT` of one number, blocking; a failure is -1 and a failed check. */
static int64_t number(chopin_pg *db, const char *sql) {
    chopin_pg_rows *r = chopin_pg_value(db, sql);
    int64_t n = chopin_pg_i64(r, 0);
    if (chopin_pg_end(r) < 0) { printf("  %s: %s\n", sql, chopin_pg_why(db)); FAIL("a number"); return -1; }
    return n;
}
static bool text_is(chopin_pg *db, const char *sql, const char *want) {
    chopin_pg_rows *r = chopin_pg_value(db, sql);
    chopin_str s = chopin_pg_text(r, 0);
    bool same = s.ptr && s.len == strlen(want) && memcmp(s.ptr, want, s.len) == 0;
    if (!same) printf("  %s: \"%.*s\", expected \"%s\" (%s)\n", sql, CHOPIN_FMT(s), want, chopin_pg_why(r));
    chopin_pg_end(r);
    return same;
}
static int64_t must(chopin_pg *db, const char *sql) {
    chopin_pg_rows *r = chopin_pg_script(db, sql);
    do { while (chopin_pg_next(r)) { } } while (chopin_pg_next_result(r));
    int64_t rc = chopin_pg_end(r);
    if (rc < 0) { printf("  %s: %s\n", sql, chopin_pg_why(db)); FAIL("done"); }
    return rc;
}
static bool state_is(const chopin_pg_error *e, const char *code) {
    if (strcmp(e->sqlstate, code) != 0) printf("  SQLSTATE is \"%s\", expected %s: %s\n", e->sqlstate, code, e->why ? e->why : "");
    return strcmp(e->sqlstate, code) == 0;
}
/* The statement fails with this SQLSTATE and the connection goes on. */
static bool fails_with(chopin_pg *db, const char *sql, const char *code) {
    chopin_pg_rows *r = chopin_pg_query(db, sql);
    while (chopin_pg_next(r)) { }
    bool same = chopin_pg_code(r) < 0 && state_is(chopin_pg_error_of(r), code);
    chopin_pg_end(r);
    return same;
}
static int64_t ask(chopin_pg *db, int64_t id) {             // what came back must be what was asked; -1 and a status otherwise
    chopin_pg_rows *r = chopin_pg_query(db, "select $1::int8", id);
    int64_t got = chopin_pg_next(r) ? chopin_pg_i64(r, 0) : -1;
    int64_t rc = chopin_pg_end(r);
    return rc < 0 ? rc : got == id ? 0 : 1;
}
static void control(const char *what) {
    char line[300];
    snprintf(line, sizeof line, "%s %s", env("CHOPIN_PG_CTL"), what);
    if (system(line) != 0) printf("  %s failed\n", line);
}
static int descriptors(void) {
    int n = 0;
    for (int fd = 3; fd < 1024; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}
/* "host=... port=..." changed: the url of tests/pg.sh with another user, password or parameter. */
static const char *url_of(const char *user, const char *more) {
    static char url[2][512];
    static int  at;
    at ^= 1;
    snprintf(url[at], sizeof url[at], "postgresql://%s@127.0.0.1:%s/postgres?%s", user, env("CHOPIN_PG_PORT"), more);
    return url[at];
}

/* ---- the mistakes of the Rust client ------------------------------------------------------------------------------------------------------------------ */

static void r01_a_query_past_its_timeout_never_answers_the_next(void) {
    chopin_pg *db = open_with(env("CHOPIN_PG_URL"), (chopin_pg_options){ .query_ms = 150, .shared = 1 });
    int64_t from = now_ms();
    chopin_pg_rows *r = chopin_pg_query(db, "select 1111 from pg_sleep(3)");
    while (chopin_pg_next(r)) FAIL("a row");
    CHECK_EQ_INT(chopin_pg_end(r), CHOPIN_PG_TIMEOUT);
    CHECK(now_ms() - from < 2500);
    for (int i = 0; i < 20; i++) CHECK_EQ_INT(ask(db, 2000 + i), 0);
    chopin_pg_close(db);
}
static void r02_there_is_no_default_limit(void) {
    chopin_pg *db = open_main();
    CHECK_EQ_INT(number(db, "select 1 from pg_sleep(6)"), 1);
    chopin_pg_close(db);
}
static void r02_a_server_silent_at_startup_is_left_in_time(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof a;
    char url[100];
    CHECK(bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 5) == 0 && getsockname(fd, (struct sockaddr *)&a, &n) == 0);
    snprintf(url, sizeof url, "postgresql://x@127.0.0.1:%d/x?sslmode=disable", ntohs(a.sin_port));
    chopin_pg *db = open_with(url, (chopin_pg_options){ .connect_ms = 300, .acquire_ms = 5000 });
    int64_t from = now_ms();
    int rc = chopin_pg_ready(db);
    CHECK(rc == CHOPIN_PG_TIMEOUT || rc == CHOPIN_PG_CONNECT);
    CHECK(now_ms() - from < 2000);
    chopin_pg_close(db);
    close(fd);
}
static void r03_copy_with_a_bad_row_fails_and_the_next_query_is_right(void) {
    chopin_pg *db = open_main();
    must(db, "create table r03 (id int, t text)");
    chopin_pg_copy *c = chopin_pg_copy_raw(db, "copy r03 from stdin");
    chopin_pg_copy_bytes(c, "1\tone\n", 6);
    chopin_pg_copy_bytes(c, "two\ttwo\n", 8);
    for (int i = 0; i < 1000; i++) chopin_pg_copy_bytes(c, "3\tthree\n", 8);
    CHECK_EQ_INT(chopin_pg_copy_end(c), CHOPIN_PG_SERVER);
    CHECK(state_is(chopin_pg_error_of(db), "22P02"));
    for (int i = 0; i < 5; i++) CHECK_EQ_INT(ask(db, i), 0);
    CHECK_EQ_INT(number(db, "select count(*) from r03"), 0);
    c = chopin_pg_copy_raw(db, "copy r03 from stdin");      // dropped half way
    chopin_pg_copy_bytes(c, "4\tfour\n", 7);
    chopin_pg_copy_fail(c, "changed my mind");
    CHECK_EQ_INT(ask(db, 7), 0);
    chopin_pg *s = chopin_pg_scope(db, 0);
    c = chopin_pg_copy_raw(s, "copy r03 from stdin");       // forgotten: the scope ends it
    chopin_pg_copy_bytes(c, "5\tfive\n", 7);
    chopin_pg_close(s);
    CHECK_EQ_INT(number(db, "select count(*) from r03"), 0);
    must(db, "drop table r03");
    chopin_pg_close(db);
}
static void r04_copy_rows_keep_every_byte(void) {
    chopin_pg *db = open_main();
    static const char *const values[] = { "tab\there", "line\nfeed", "back\\slash", "\\N", "\\.", "", "\r\n", "plain", "\\t", "f\xc3\xbcnf" };
    enum { N = sizeof values / sizeof *values };
    must(db, "create table r04 (i int, t text);"
             "create function r04_notice() returns trigger language plpgsql as $$ begin raise notice 'begun'; return null; end $$;"
             "create trigger r04_t before insert on r04 for each statement execute function r04_notice()");
    for (int way = 0; way < 2; way++) {
        must(db, "truncate r04");
        int64_t from = now_ms();
        chopin_pg_copy *c = way == 0 ? chopin_pg_copy_in(db, "r04", "i, t") : chopin_pg_copy_raw(db, "copy r04 (i, t) from stdin");
        for (int i = 0; i < N; i++) {
            char       digits[16];
            chopin_str line[2] = { { digits, (size_t)snprintf(digits, sizeof digits, "%d", i) }, { values[i], strlen(values[i]) } };
            if (way == 0) chopin_pg_copy_row(c, i, values[i]); else chopin_pg_copy_line(c, line, 2);
        }
        chopin_str last[2] = { CHOPIN_STR("99"), { NULL, 0 } };
        if (way == 0) chopin_pg_copy_row(c, 99, CHOPIN_PG_NULL); else chopin_pg_copy_line(c, last, 2);
        CHECK_EQ_INT(chopin_pg_copy_end(c), N + 1);
        CHECK(now_ms() - from < 2000);
        chopin_pg_rows *r = chopin_pg_query(db, "select i, t from r04 order by i");
        for (int i = 0; i < N && CHECK(chopin_pg_next(r)); i++) { CHECK_EQ_INT(chopin_pg_i32(r, 0), i); CHECK_STR(chopin_pg_text(r, 1), values[i]); }
        CHECK(chopin_pg_next(r) && chopin_pg_is_null(r, 1));
        CHECK_EQ_INT(chopin_pg_end(r), N + 1);
    }
    must(db, "drop table r04; drop function r04_notice()");
    chopin_pg_close(db);
}
static bool next_note(chopin_pg_listener *l, chopin_pg_note *n) {
    int rc = chopin_pg_wait_note(l, n, 3000);
    while (rc == 1 && n->gap) rc = chopin_pg_wait_note(l, n, 3000);
    if (rc != 1) printf("  no note: %d, %s\n", rc, chopin_pg_why(l));
    return rc == 1;
}
static void r05_payloads_and_names_are_data(void) {
    static const char *const payloads[] = { "it's", "');create table r05_evil();--", "", "back\\slash" };
    chopin_pg *db = open_main();
    chopin_pg_listener *l = chopin_pg_listen(db, "a\"b");
    chopin_pg_note n;
    char big[8001];
    CHECK_EQ_INT(chopin_pg_wait_note(l, &n, 200), 0);       // by now it listens
    for (int i = 0; i < 4; i++) {
        CHECK_EQ_INT(chopin_pg_notify(db, "a\"b", payloads[i]), 0);
        if (CHECK(next_note(l, &n))) { CHECK_STR(n.payload, payloads[i]); CHECK_STR(n.channel, "a\"b"); }
    }
    CHECK_EQ_INT(number(db, "select count(*) from pg_class where relname = 'r05_evil'"), 0);
    memset(big, 'x', sizeof big);
    big[7999] = 0;
    CHECK_EQ_INT(chopin_pg_notify(db, "a\"b", big), 0);
    if (CHECK(next_note(l, &n))) CHECK_EQ_INT(n.payload.len, 7999);
    big[7999] = 'x'; big[8000] = 0;
    CHECK_EQ_INT(chopin_pg_notify(db, "a\"b", big), CHOPIN_PG_ARG);
    big[64] = 0;
    CHECK_EQ_INT(chopin_pg_notify(db, big, ""), CHOPIN_PG_ARG);
    chopin_pg_listener *bad = chopin_pg_listen(db, big);
    CHECK_EQ_INT(chopin_pg_wait_note(bad, &n, 100), CHOPIN_PG_ARG);
    chopin_pg_unlisten(bad);
    chopin_pg_unlisten(l);
    CHECK_EQ_INT(ask(db, 5), 0);
    chopin_pg_close(db);
}
static void r06_numbers_fit_or_say_which_parameter(void) {
    chopin_pg *db = open_main();
    must(db, "create table r06 (b bigint, s smallint, r real, n numeric, d double precision, i int)");
    for (int use = 0; use < 3; use++) {                     // text, then binary
        CHECK_EQ_INT(chopin_pg_exec(db, "insert into r06 values ($1, $2, $3, $4, $5, $6)", 7, (int64_t)8, 1.5, 2.25, 3, (int64_t)-9), 1);
        chopin_pg_rows *r = chopin_pg_query(db, "select * from r06");
        CHECK(chopin_pg_next(r));
        CHECK(chopin_pg_i64(r, 0) == 7 && chopin_pg_i16(r, 1) == 8 && chopin_pg_f32(r, 2) == 1.5f && chopin_pg_decimal(r, 3, 2) == 225 && chopin_pg_f64(r, 4) == 3.0);
        CHECK_EQ_INT(chopin_pg_i32(r, 5), -9);
        CHECK_EQ_INT(chopin_pg_end(r), 1);
        must(db, "truncate r06");
        chopin_pg_rows *w = chopin_pg_query(db, "insert into r06 (s) values ($1)", (int64_t)70000);
        int64_t rc = chopin_pg_end(w);
        CHECK(rc == CHOPIN_PG_RANGE || rc == CHOPIN_PG_SERVER);
        CHECK(state_is(chopin_pg_error_of(db), "22003"));
        if (use > 0) CHECK(strstr(chopin_pg_why(db), "$1") != NULL);
        CHECK_EQ_INT(ask(db, 6), 0);
    }
    must(db, "drop table r06");
    chopin_pg_close(db);
}
static int64_t many_params(chopin_pg *db, int n) {
    size_t cap = 40 + (size_t)n * 7, len = 0;
    char *sql = malloc(cap);
    chopin_pg_param *p = malloc(sizeof *p * (size_t)n);
    len += (size_t)snprintf(sql + len, cap - len, "select cardinality(array[");
    for (int i = 0; i < n; i++) {
        len += (size_t)snprintf(sql + len, cap - len, i ? ",$%d" : "$%d", i + 1);
        p[i] = chopin_pg_param_of("x");
    }
    len += (size_t)snprintf(sql + len, cap - len, "])");
    chopin_pg_rows *r = chopin_pg_query_args(db, (chopin_str){ sql, len }, p, n);
    int64_t got = chopin_pg_next(r) ? chopin_pg_i64(r, 0) : -1, rc = chopin_pg_end(r);
    free(sql);
    free(p);
    return rc < 0 ? rc : got;
}
static void r07_long_and_many_parameters(void) {
    chopin_pg *db = open_main();
    char *text = malloc(70001);
    memset(text, 'q', 70000);
    text[70000] = 0;
    for (int use = 0; use < 2; use++) {
        chopin_pg_rows *r = chopin_pg_query(db, "select length($1), $1::text", text);
        CHECK(chopin_pg_next(r) && chopin_pg_i32(r, 0) == 70000 && chopin_pg_text(r, 1).len == 70000);
        CHECK_EQ_INT(chopin_pg_end(r), 1);
    }
    free(text);
    CHECK_EQ_INT(many_params(db, 40000), 40000);
    CHECK_EQ_INT(many_params(db, 65535), 65535);
    CHECK_EQ_INT(many_params(db, 65536), CHOPIN_PG_ARG);
    CHECK(strstr(chopin_pg_why(db), "65535") != NULL || strstr(chopin_pg_why(db), "arrays") != NULL);
    CHECK_EQ_INT(ask(db, 7), 0);
    chopin_pg_close(db);
}
static void r08_small_numerics_are_exact(void) {
    chopin_pg *db = open_main();
    for (int use = 0; use < 2; use++) {
        CHECK(text_is(db, "select 0.00001234", "0.00001234"));
        CHECK(text_is(db, "select -0.00005", "-0.00005"));
        CHECK(text_is(db, "select 100000000000000000000.0001", "100000000000000000000.0001"));
        CHECK(text_is(db, "select 0.0000", "0.0000"));
    }
    chopin_pg_close(db);
}
static void r09_every_type_reads_as_the_server_writes_it(void) {
    static const char *const sql[] = {
        "array['2024-01-31','infinity']::date[]", "array[1.50,null,'NaN']::numeric[]", "int4range(1,5)", "box '((1,2),(3,4))'", "timetz '12:30:00+02'",
        "row(1,'a')", "array['a,b','c\"d',null,'NULL','']", "'{1,2}'::int4multirange::text", "interval '1 mon 2 days -03:04:05.6'", "inet '10.0.0.1/8'",
        "'fe80::1/64'::inet", "macaddr '08:00:2b:01:02:03'", "b'101'", "point '(1,2)'", "tsrange('2024-01-01', null)", "'{\"a\": [1, 2]}'::jsonb", "'\\xdeadbeef'::bytea",
        "circle '<(1,2),3>'", "time '24:00'", "timestamptz '2024-05-06 07:08:09.123456+00'", "date '0044-03-15 BC'", "'(1,\"x y\")'::tid::text", "uuid '00112233-4455-6677-8899-aabbccddeeff'",
    };
    chopin_pg *db = open_main();
    for (size_t i = 0; i < sizeof sql / sizeof *sql; i++) {
        for (int use = 0; use < 2; use++) {
            char both[300];
            if (strstr(sql[i], "multirange") && atoi(env("CHOPIN_PG_VERSION")) < 14) continue;
            if (strstr(sql[i], "multirange") || strstr(sql[i], "tid")) continue;      // of the type oracle
            snprintf(both, sizeof both, "select v, v::text from (select %s as v) s", sql[i]);
            chopin_pg_rows *r = chopin_pg_query(db, both);
            if (!CHECK(chopin_pg_next(r))) printf("  %s: %s\n", sql[i], chopin_pg_why(r));
            chopin_str ours = chopin_pg_text(r, 0), theirs = chopin_pg_text(r, 1);
            if (ours.len != theirs.len || (ours.len && memcmp(ours.ptr, theirs.ptr, ours.len))) {
                printf("  %s: ours \"%.*s\", the server's \"%.*s\" (use %d, %s)\n", sql[i], CHOPIN_FMT(ours), CHOPIN_FMT(theirs), use, chopin_pg_why(r));
                FAIL("the same");
            }
            chopin_pg_end(r);
        }
    }
    chopin_pg_close(db);
}
static void r10_odd_types_and_infinities(void) {
    chopin_pg *db = open_main();
    for (int use = 0; use < 2; use++) {
        chopin_pg_rows *r = chopin_pg_query(db, "select 'tester=r/tester'::aclitem, 4000000000::oid, '{{1,2},{3,4}}'::int[], 'infinity'::date, 5");
        if (!CHECK(chopin_pg_next(r))) printf("  %s\n", chopin_pg_why(r));
        CHECK_STR(chopin_pg_text(r, 0), "tester=r/tester");
        CHECK(chopin_pg_u32(r, 1) == 4000000000u);
        int32_t size[6], sum = 0;
        CHECK_EQ_INT(chopin_pg_dims(r, 2, size, NULL), 2);
        CHECK(size[0] == 2 && size[1] == 2);
        for (chopin_pg_rows *a = chopin_pg_array(r, 2); chopin_pg_next(a); ) sum = sum * 10 + chopin_pg_i32(a, 0);
        CHECK_EQ_INT(sum, 1234);
        CHECK(chopin_pg_date(r, 3).days == INT32_MAX);
        CHECK_EQ_INT(chopin_pg_i32(r, 4), 5);
        CHECK_EQ_INT(chopin_pg_end(r), 1);
    }
    chopin_pg_close(db);
}
static void r11_stale_plans_and_lost_names_heal_unseen(void) {
    chopin_pg *db = open_with(env("CHOPIN_PG_URL"), (chopin_pg_options){ .shared = 1 }), *other = open_main();
    must(other, "drop table if exists r11; create table r11 (a int); insert into r11 values (1)");
    for (int use = 0; use < 3; use++) CHECK_EQ_INT(number(db, "select * from r11"), 1);
    must(other, "alter table r11 alter a type bigint, add b text; update r11 set b = 'x'");
    chopin_pg_rows *r = chopin_pg_query(db, "select * from r11");
    CHECK(chopin_pg_next(r));
    CHECK_EQ_INT(chopin_pg_columns(r), 2);
    CHECK_EQ_INT(chopin_pg_i64(r, 0), 1);
    CHECK_EQ_INT(chopin_pg_end(r), 1);
    must(db, "deallocate all");
    chopin_pg *pin = chopin_pg_pin(db);                     // the same on one connection that we know
    for (int use = 0; use < 3; use++) CHECK_EQ_INT(number(pin, "select count(*) from r11"), 1);
    CHECK(chopin_pg_exec(pin, "deallocate all") >= 0);
    for (int use = 0; use < 2; use++) CHECK_EQ_INT(number(pin, "select count(*) from r11"), 1);
    CHECK(chopin_pg_exec(pin, "discard all") >= 0);
    CHECK_EQ_INT(number(pin, "select count(*) from r11"), 1);
    chopin_pg_close(pin);
    must(other, "drop table r11");
    CHECK_EQ_INT(ask(db, 11), 0);
    chopin_pg_close(other);
    chopin_pg_close(db);
}
static void r11_a_function_that_drops_our_names_heals(void) {
    chopin_pg *db = open_with(env("CHOPIN_PG_URL"), (chopin_pg_options){ .shared = 1 });
    for (int i = 0; i < 3; i++) CHECK_EQ_INT(ask(db, i), 0);
    CHECK(chopin_pg_exec(db, "do $$ begin execute 'deallocate all'; end $$") >= 0);     // the first word is harmless
    for (int i = 0; i < 3; i++) CHECK_EQ_INT(ask(db, i), 0);
    chopin_pg_close(db);
}
static void r12_a_wrong_password_is_named(void) {
    static const char *const roles[] = { "r_md5", "r_clear", "r_scram" };
    for (int i = 0; i < 3; i++) {
        char user[60];
        snprintf(user, sizeof user, "%s:wrong", roles[i]);
        chopin_pg *db = open_with(url_of(user, "sslmode=disable"), (chopin_pg_options){ .allow_password = true });
        CHECK_EQ_INT(chopin_pg_ready(db), CHOPIN_PG_AUTH);
        CHECK(state_is(chopin_pg_error_of(db), "28P01"));
        chopin_pg_close(db);
    }
    chopin_pg *db = open_url(url_of("nobody_here:x", "sslmode=disable"));
    CHECK(chopin_pg_ready(db) == CHOPIN_PG_AUTH);
    chopin_pg_close(db);
}
static void r12_every_way_to_log_in_works(void) {
    static const char *const names[] = { "CHOPIN_PG_URL", "CHOPIN_PG_TCP_URL", "CHOPIN_PG_MD5_URL", "CHOPIN_PG_CLEAR_URL", "CHOPIN_PG_SCRAM_URL", "CHOPIN_PG_PREP_URL" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        chopin_pg *db = open_with(env(names[i]), (chopin_pg_options){ .allow_password = true });
        if (!CHECK(chopin_pg_ready(db) == 0)) printf("  %s: %s\n", names[i], chopin_pg_why(db));
        CHECK_EQ_INT(ask(db, 12), 0);
        chopin_pg_close(db);
    }
}
static void r12_databases_that_are_not_there_are_named(void) {
    char url[300];
    snprintf(url, sizeof url, "postgresql://tester@/no_such_database?host=%s&port=%s", env("CHOPIN_PG_SOCKETS"), env("CHOPIN_PG_PORT"));
    chopin_pg *db = open_url(url);
    CHECK(chopin_pg_ready(db) < 0);
    CHECK(state_is(chopin_pg_error_of(db), "3D000"));
    chopin_pg_close(db);
}
static void r13_no_password_in_clear_over_tcp(void) {
    chopin_pg *db = open_url(env("CHOPIN_PG_CLEAR_URL"));
    CHECK_EQ_INT(chopin_pg_ready(db), CHOPIN_PG_AUTH);
    CHECK(strstr(chopin_pg_why(db), "s3cret") == NULL);
    chopin_pg_close(db);
    db = open_url(url_of("tester", "sslmode=verfy-full"));
    CHECK_EQ_INT(chopin_pg_ready(db), CHOPIN_PG_ARG);
    chopin_pg_close(db);
    db = open_url("postgresql://tester@198.51.100.7/postgres");          // not local, no TLS said: never silently clear
#if !defined(CHOPIN_PG_OPENSSL)
    CHECK_EQ_INT(chopin_pg_ready(db), CHOPIN_PG_TLS);
    CHECK(strstr(chopin_pg_why(db), "sslmode") != NULL);
#endif
    chopin_pg_close(db);
}
static void r14_a_pin_leaves_nothing_behind(void) {
    chopin_pg *db = open_with(env("CHOPIN_PG_URL"), (chopin_pg_options){ .exclusive = 1 });
    for (int i = 0; i < 3; i++) {
        chopin_pg *pin = chopin_pg_pin(db);
        if (i == 1) CHECK(chopin_pg_exec(pin, "set statement_timeout = 12345") >= 0);
        if (i == 2) CHECK(text_is(pin, "show statement_timeout", "0"));
        CHECK(chopin_pg_exec(pin, "begin") >= 0);
        if (i == 0) CHECK(fails_with(pin, "select 1/0", "22012"));
        chopin_pg_close(pin);
        pin = chopin_pg_pin(db);
        CHECK_EQ_INT(number(pin, "select 5"), 5);
        CHECK(text_is(pin, "show statement_timeout", "0"));
        chopin_pg_close(pin);
    }
    CHECK_EQ_INT(number(db, "select count(*) from pg_stat_activity where state like 'idle in%'"), 0);
    chopin_pg_close(db);
}
static void r14_shared_connections_refuse_words_that_stay(void) {
    static const char *const words[] = { "begin", "START transaction", "commit", "end", "rollback", "abort", "savepoint x", "release x", "prepare p as select 1", "execute p",
        "deallocate p", "set a.b = 1", " \n-- comment\n/* and /* nested */ */ SET a.b = 1", "reset all", "listen x", "unlisten *", "declare c cursor for select 1", "fetch c", "close c",
        "lock table pg_class", "discard all", "copy pg_class to stdout", "load 'x'", "(((set a.b = 1" };
    chopin_pg *db = open_main();
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        int64_t rc = chopin_pg_exec(db, words[i]);
        if (rc != CHOPIN_PG_UNSAFE) printf("  %s: %s\n", words[i], chopin_pg_status_name((int)rc));
        CHECK_EQ_INT(rc, CHOPIN_PG_UNSAFE);
    }
    CHECK_EQ_INT(chopin_pg_exec(db, "(select 1)"), 1);
    CHECK_EQ_INT(chopin_pg_stats(db).queries < 40, 1);
    chopin_pg_close(db);
}
static void r15_an_empty_pool_answers_in_time(void) {
    chopin_pg *db = open_with(env("CHOPIN_PG_URL"), (chopin_pg_options){ .exclusive = 2, .acquire_ms = 200 });
    chopin_pg *a = chopin_pg_pin(db), *b = chopin_pg_pin(db), *c = chopin_pg_pin(db);
    CHECK_EQ_INT(ask(a, 1), 0);
    CHECK_EQ_INT(ask(b, 2), 0);
    CHECK(number(a, "select pg_backend_pid()") != number(b, "select pg_backend_pid()"));
    int64_t from = now_ms();
    CHECK_EQ_INT(ask(c, 3), CHOPIN_PG_POOL);
    CHECK(now_ms() - from < 2000);                         // a blocking program is told at once: only it could give one back
    chopin_pg_close(a);
    CHECK_EQ_INT(ask(c, 3), 0);
    chopin_pg_close(b);
    chopin_pg_close(c);
    chopin_pg_close(db);
}
/* Fibers that want the only exclusive connection get it in the order they asked. */
static chopin_pg *r15_db;
static int r15_order[8], r15_n;
static void r15_work(void *arg) {
    int me = (int)(intptr_t)arg;
    fibers_sleep(me * 20);
    chopin_pg *pin = chopin_pg_pin(r15_db);
    CHECK_EQ_INT(ask(pin, me), 0);
    r15_order[r15_n++] = me;
    CHECK_EQ_INT(chopin_pg_exec(pin, "select pg_sleep(0.15)"), 1);
    chopin_pg_close(pin);
}
static void r15_waiters_are_served_in_order(void) {
    r15_db = open_fibers(env("CHOPIN_PG_URL"), (chopin_pg_options){ .exclusive = 1 });
    r15_n = 0;
    for (int i = 0; i < 6; i++) fibers_add(r15_work, (void *)(intptr_t)i);
    fibers_run();
    CHECK_EQ_INT(r15_n, 6);
    for (int i = 0; i < r15_n; i++) CHECK_EQ_INT(r15_order[i], i);
    chopin_pg_close(r15_db);
}
static void r16_large_values_and_their_cap(void) {
    chopin_pg *db = open_main();
    chopin_pg_rows *r = chopin_pg_query(db, "select repeat('x', 20000000)");
    CHECK(chopin_pg_next(r) && chopin_pg_text(r, 0).len == 20000000);
    CHECK_EQ_INT(chopin_pg_end(r), 1);
    char *big = malloc(20000001);
    memset(big, 'y', 20000000);
    big[20000000] = 0;
    r = chopin_pg_query(db, "select length($1)", big);
    CHECK(chopin_pg_next(r) && chopin_pg_i32(r, 0) == 20000000);
    CHECK_EQ_INT(chopin_pg_end(r), 1);
    free(big);
    chopin_pg_close(db);
    db = open_with(env("CHOPIN_PG_URL"), (chopin_pg_options){ .max_message = 1 << 20 });
    r = chopin_pg_query(db, "select repeat('x', 20000000)");
    while (chopin_pg_next(r)) { }
    CHECK(chopin_pg_end(r) < 0);
    CHECK_EQ_INT(ask(db, 16), 0);
    chopin_pg_close(db);
}
static void r18_scripts_keep_their_results_apart(void) {
    chopin_pg *db = open_main();
    chopin_pg_rows *r = chopin_pg_script(db, "select 1; select 'a'");
    CHECK(chopin_pg_next(r) && chopin_pg_i32(r, 0) == 1);
    CHECK(!chopin_pg_next(r));
    CHECK(chopin_pg_next_result(r));
    if (CHECK(chopin_pg_next(r))) CHECK_STR(chopin_pg_text(r, 0), "a");
    CHECK(!chopin_pg_next(r) && !chopin_pg_next_result(r));
    CHECK(chopin_pg_end(r) >= 0);
    r = chopin_pg_one(db, "select g from generate_series(1,2) g");
    CHECK_EQ_INT(chopin_pg_end(r), CHOPIN_PG_TOO_MANY);
    r = chopin_pg_one(db, "select 3 where false");
    CHECK_EQ_INT(chopin_pg_next(r), 0);
    CHECK_EQ_INT(chopin_pg_end(r), 0);
    r = chopin_pg_script(db, "select 1; select 1/0; select 2");
    CHECK(chopin_pg_next(r) && chopin_pg_i32(r, 0) == 1);
    while (chopin_pg_next_result(r)) while (chopin_pg_next(r)) { }
    CHECK_EQ_INT(chopin_pg_end(r), CHOPIN_PG_SERVER);
    CHECK_EQ_INT(ask(db, 18), 0);
    chopin_pg_close(db);
}
static void r19_odd_urls_are_read_and_never_printed(void) {
    char out[4096];
    chopin_pg *db = open_url("postgres://u%40x:p%3A%2Fverysecret@[::1]:5433/d?sslmode=disable");
    chopin_pg_config(db, out, sizeof out);
    CHECK(strstr(out, "u@x") && strstr(out, "5433") && strstr(out, "::1"));
    CHECK(!strstr(out, "verysecret"));
    int rc = chopin_pg_ready(db);
    CHECK(rc < 0 && !strstr(chopin_pg_why(db), "verysecret"));
    chopin_pg_close(db);
    db = open_url("postgres://u:verysecret@host:notaport/d");
    CHECK_EQ_INT(chopin_pg_ready(db), CHOPIN_PG_ARG);
    CHECK(!strstr(chopin_pg_why(db), "verysecret"));
    chopin_pg_close(db);
}
static void r21_a_killed_idle_connection_is_replaced_unseen(void) {
    chopin_pg *db = open_with(env("CHOPIN_PG_URL"), (chopin_pg_options){ .shared = 1 }), *other = open_main();
    int64_t pid = number(db, "select pg_backend_pid()");
    chopin_pg_rows *r = chopin_pg_query(other, "select pg_terminate_backend($1)", pid);
    CHECK(chopin_pg_next(r) && chopin_pg_bool(r, 0));
    chopin_pg_end(r);
    sleep_ms(2000);
    CHECK_EQ_INT(ask(db, 21), 0);
    CHECK(number(db, "select pg_backend_pid()") != pid);
    chopin_pg_close(other);
    chopin_pg_close(db);
}
static void r22_large_values_under_tls(void) {
#if defined(CHOPIN_PG_OPENSSL)
    if (!env("CHOPIN_PG_TLS_URL")) { printf("SKIPPED r22: the server has no TLS\n"); return; }
    chopin_pg *db = open_url(env("CHOPIN_PG_TLS_URL"));
    if (!CHECK(chopin_pg_ready(db) == 0)) printf("  %s\n", chopin_pg_why(db));
    CHECK(number(db, "select count(*) from pg_stat_ssl where pid = pg_backend_pid() and ssl") == 1);
    char *big = malloc(5000001);
    for (int i = 0; i < 5000000; i++) big[i] = (char)('a' + i * 7 % 26);
    big[5000000] = 0;
    for (int use = 0; use < 3; use++) {
        chopin_pg_rows *r = chopin_pg_query(db, "select $1::text", big);
        CHECK(chopin_pg_next(r));
        chopin_str s = chopin_pg_text(r, 0);
        CHECK(s.len == 5000000 && memcmp(s.ptr, big, s.len) == 0);
        CHECK_EQ_INT(chopin_pg_end(r), 1);
    }
    free(big);
    chopin_pg *s = chopin_pg_scope(db, 200);
    CHECK_EQ_INT(chopin_pg_exec(s, "select pg_sleep(5)"), CHOPIN_PG_TIMEOUT);       // the cancel goes over TLS too
    chopin_pg_close(s);
    CHECK_EQ_INT(ask(db, 22), 0);
    chopin_pg_close(db);
#else
    printf("SKIPPED r22: compiled without CHOPIN_PG_OPENSSL\n");
#endif
}
static void r13_tls_is_what_the_mode_says(void) {
#if defined(CHOPIN_PG_OPENSSL)
    if (!env("CHOPIN_PG_TLS_URL")) return;
    static const struct { const char *more; bool good; } cases[] = {
        { "sslmode=require", true }, { "sslmode=prefer", true }, { "sslmode=allow", true }, { "sslmode=disable", false },
        { "sslmode=verify-full", false }, { "sslmode=verify-ca", false }, { "sslmode=verify-full&sslrootcert=%s", false }, { "sslmode=verify-ca&sslrootcert=%s", true },
        { "sslmode=require&channel_binding=require", true }, { "sslmode=disable&channel_binding=require", false }, { "sslmode=require&sslrootcert=%s", true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char more[300], url[600];
        const char *mark = strstr(cases[i].more, "%s");
        snprintf(more, sizeof more, "%.*s%s", mark ? (int)(mark - cases[i].more) : (int)strlen(cases[i].more), cases[i].more, mark ? env("CHOPIN_PG_CA") : "");
        snprintf(url, sizeof url, "postgresql://r_tls:s3cret%%2Fpa%%3Ass%%40w%%25rd@wrong.example:%s/postgres?hostaddr=127.0.0.1&%s", env("CHOPIN_PG_PORT"), more);
        chopin_pg *db = open_url(url);
        int rc = chopin_pg_ready(db);
        if ((rc == 0) != cases[i].good) { printf("  %s: %s, %s\n", more, chopin_pg_status_name(rc), chopin_pg_why(db)); FAIL("as the mode says"); }
        chopin_pg_close(db);
    }
    char url[900];
    snprintf(url, sizeof url, "postgresql://r_cert@localhost:%s/postgres?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert=%s&sslcert=%s&sslkey=%s",
             env("CHOPIN_PG_PORT"), env("CHOPIN_PG_CA"), env("CHOPIN_PG_CERT"), env("CHOPIN_PG_KEY"));
    chopin_pg *db = open_url(url);
    if (!CHECK(chopin_pg_ready(db) == 0)) printf("  client certificate: %s\n", chopin_pg_why(db));
    CHECK(text_is(db, "select current_user", "r_cert"));
    chopin_pg_close(db);
#else
    printf("SKIPPED r13 on TLS: compiled without CHOPIN_PG_OPENSSL\n");
#endif
}

/* ---- the security record: the parts that need a server ----------------------------------------------------------------------------------------------- */

static void a_parameter_of_four_gigabytes_is_refused_unsent(void) {
#if SIZE_MAX > UINT32_MAX
    size_t n = (size_t)4 * 1024 * 1024 * 1024 + 8;
    void *p = mmap(NULL, n, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    chopin_pg *db = open_main();
    CHECK_EQ_INT(ask(db, 1), 0);
    if (p != MAP_FAILED) {
        uint64_t before = chopin_pg_stats(db).bytes_out;
        chopin_pg_rows *r = chopin_pg_query(db, "select length($1)", chopin_pg_as_bytes(p, n));
        CHECK_EQ_INT(chopin_pg_end(r), CHOPIN_PG_ARG);
        CHECK(chopin_pg_stats(db).bytes_out == before);
        munmap(p, n);
    }
    CHECK_EQ_INT(ask(db, 2), 0);
    chopin_pg_close(db);
#endif
}
static void values_never_become_text(void) {
    chopin_pg *db = open_main();
    for (int use = 0; use < 2; use++) {
        chopin_pg_rows *r = chopin_pg_query(db, "select 10 -$1::int, $2::text", -1, "'; drop table x; --");
        CHECK(chopin_pg_next(r) && chopin_pg_i32(r, 0) == 11);
        CHECK_STR(chopin_pg_text(r, 1), "'; drop table x; --");
        chopin_pg_end(r);
    }
    CHECK(chopin_pg_query_args(db, CHOPIN_STR("select 1\0; drop table x"), NULL, 0) != NULL);
    chopin_pg_rows *r = chopin_pg_query_args(db, CHOPIN_STR("select 1\0 x"), NULL, 0);
    CHECK(chopin_pg_end(r) < 0);
    r = chopin_pg_query(db, "select $1::text", CHOPIN_STR("a\0b"));
    CHECK(chopin_pg_end(r) < 0);
    r = chopin_pg_query(db, "select $1::text", "\xff\xfe");
    CHECK(chopin_pg_end(r) < 0);
    CHECK(state_is(chopin_pg_error_of(db), "22021"));
    CHECK_EQ_INT(ask(db, 3), 0);
    chopin_pg_close(db);
}
static void errors_carry_everything_the_server_said(void) {
    chopin_pg *db = open_main();
    char text[2000];
    must(db, "create table e1 (id int primary key, n int check (n > 0), p int references e1); insert into e1 values (1, 1, null)");
    CHECK(chopin_pg_exec(db, "insert into e1 values ($1, $2, null)", 1, 1) == CHOPIN_PG_SERVER);
    const chopin_pg_error *e = chopin_pg_error_of(db);
    CHECK(chopin_pg_is_unique(e, "e1_pkey") && chopin_pg_is_unique(e, NULL) && !chopin_pg_is_fk(e, NULL));
    CHECK_STR(e->table, "e1");
    CHECK_STR(e->schema, "public");
    CHECK(e->detail.len > 0 && e->retry == CHOPIN_PG_RETRY_NEVER);
    CHECK(chopin_pg_exec(db, "insert into e1 values (2, -1, null)") == CHOPIN_PG_SERVER && chopin_pg_is_check(chopin_pg_error_of(db), "e1_n_check"));
    CHECK(chopin_pg_exec(db, "insert into e1 values (2, 1, 77)") == CHOPIN_PG_SERVER && chopin_pg_is_fk(chopin_pg_error_of(db), NULL));
    CHECK(chopin_pg_exec(db, "insert into e1 values (null, 1, 1)") == CHOPIN_PG_SERVER && chopin_pg_is_not_null(chopin_pg_error_of(db), "id"));
    CHECK(chopin_pg_exec(db, "select 1,\n  nothere from e1") == CHOPIN_PG_SERVER);
    e = chopin_pg_error_of(db);
    CHECK_EQ_INT(e->position, 13);
    chopin_pg_error_text(e, text, sizeof text);
    CHECK(strstr(text, "\n  nothere from e1\n  ^") != NULL || strstr(text, "^") != NULL);
    CHECK_EQ_INT(chopin_pg_exec(db, "select $1 + $2", 1, 2) < 0, 1);
    CHECK(strstr(chopin_pg_why(db), "::") != NULL);
    must(db, "drop table e1");
    chopin_pg_close(db);
}

/* ---- transactions, batches, streams ------------------------------------------------------------------------------------------------------------------- */

static void transactions_commit_roll_back_and_nest(void) {
    chopin_pg *db = open_main();
    must(db, "create table t1 (id int)");
    chopin_pg *tx = chopin_pg_begin(db, &(chopin_pg_tx){ .isolation = CHOPIN_PG_REPEATABLE_READ });
    CHECK_EQ_INT(chopin_pg_exec(tx, "insert into t1 values (1)"), 1);
    CHECK(text_is(tx, "show transaction_isolation", "repeatable read"));
    chopin_pg *inner = chopin_pg_begin(tx, NULL);
    CHECK_EQ_INT(chopin_pg_exec(inner, "insert into t1 values (2)"), 1);
    CHECK(fails_with(inner, "select 1/0", "22012"));
    chopin_pg_close(inner);
    inner = chopin_pg_begin(tx, NULL);
    CHECK_EQ_INT(chopin_pg_exec(inner, "insert into t1 values (3)"), 1);
    CHECK_EQ_INT(chopin_pg_commit(inner), 0);
    chopin_pg_close(inner);
    CHECK_EQ_INT(number(db, "select count(*) from t1"), 0);
    CHECK_EQ_INT(chopin_pg_commit(tx), 0);
    chopin_pg_close(tx);
    CHECK_EQ_INT(number(db, "select sum(id) from t1"), 4);
    tx = chopin_pg_begin(db, NULL);
    CHECK_EQ_INT(chopin_pg_exec(tx, "delete from t1"), 2);
    chopin_pg_close(tx);                                    // not committed
    CHECK_EQ_INT(number(db, "select count(*) from t1"), 2);
    tx = chopin_pg_begin(db, NULL);
    CHECK(fails_with(tx, "select 1/0", "22012"));
    CHECK(chopin_pg_commit(tx) < 0);
    chopin_pg_close(tx);
    tx = chopin_pg_begin(db, &(chopin_pg_tx){ .read_only = true });
    CHECK(fails_with(tx, "insert into t1 values (9)", "25006"));
    chopin_pg_close(tx);
    CHECK_EQ_INT(ask(db, 1), 0);
    must(db, "drop table t1");
    chopin_pg_close(db);
}
/* Two transactions that lock in opposite order: one gets 40P01, retries, and both are done. */
static chopin_pg *dead_db;
static int dead_tries, dead_done;
static void dead_work(void *arg) {
    int me = (int)(intptr_t)arg;
    chopin_pg *tx = chopin_pg_begin(dead_db, NULL);
    do {
        dead_tries++;
        chopin_pg_exec(tx, "update dead set n = n + 1 where id = $1", me);
        fibers_sleep(100);
        chopin_pg_exec(tx, "update dead set n = n + 1 where id = $1", 1 - me);
    } while (chopin_pg_commit(tx) < 0 && chopin_pg_retry(tx, 5));
    if (chopin_pg_code(tx) == 0) dead_done++;
    else printf("  %s\n", chopin_pg_why(tx));
    chopin_pg_close(tx);
}
static void deadlocks_are_retried(void) {
    dead_db = open_fibers(env("CHOPIN_PG_URL"), (chopin_pg_options){ .setup = "set deadlock_timeout = '50ms'" });
    must(dead_db, "create table dead (id int primary key, n int); insert into dead values (0, 0), (1, 0)");
    dead_tries = dead_done = 0;
    for (int i = 0; i < 2; i++) fibers_add(dead_work, (void *)(intptr_t)i);
    fibers_run();
    CHECK_EQ_INT(dead_done, 2);
    CHECK(dead_tries >= 3);
    CHECK_EQ_INT(number(dead_db, "select sum(n) from dead"), 4);
    must(dead_db, "drop table dead");
    chopin_pg_close(dead_db);
}
static void a_batch_is_all_or_nothing(void) {
    chopin_pg *db = open_main();
    must(db, "create table b1 (id int primary key, t text)");
    chopin_pg *b = chopin_pg_batch(db);
    for (int i = 0; i < 500; i++) chopin_pg_send(b, "insert into b1 values ($1, $2)", i, "x");
    chopin_pg_rows *r = chopin_pg_send(b, "select count(*) from b1");
    CHECK_EQ_INT(chopin_pg_commit(b), 0);
    CHECK(chopin_pg_next(r) && chopin_pg_i64(r, 0) == 500);
    chopin_pg_end(r);
    chopin_pg_close(b);
    b = chopin_pg_batch(db);
    for (int i = 500; i < 510; i++) chopin_pg_send(b, "insert into b1 values ($1, $2)", i == 507 ? 3 : i, "y");
    CHECK_EQ_INT(chopin_pg_commit(b), CHOPIN_PG_SERVER);
    CHECK_EQ_INT(chopin_pg_error_of(b)->statement, 7);
    chopin_pg_close(b);
    b = chopin_pg_batch(db);
    chopin_pg_send(b, "insert into b1 values (900, 'never')");
    chopin_pg_close(b);                                     // not committed
    b = chopin_pg_batch(db);                                // larger than any buffer of ours: part of it has left when it is dropped
    char *big = malloc(100001);
    memset(big, 'z', 100000);
    big[100000] = 0;
    for (int i = 1000; i < 1050; i++) chopin_pg_send(b, "insert into b1 values ($1, $2)", i, big);
    chopin_pg_close(b);
    free(big);
    CHECK_EQ_INT(number(db, "select count(*) from b1"), 500);
    must(db, "drop table b1");
    chopin_pg_close(db);
}
static void big_parameters_in_a_batch_do_not_deadlock(void) {        // both sides full: the server answers 1 MB to each statement of 1 MB
    chopin_pg *db = open_main();
    char *big = malloc(1000001);
    memset(big, 'w', 1000000);
    big[1000000] = 0;
    chopin_pg *s = chopin_pg_scope(db, 20000), *b = chopin_pg_batch(s);
    for (int i = 0; i < 40; i++) chopin_pg_send(b, "select $1::text", big);
    CHECK_EQ_INT(chopin_pg_commit(b), 0);
    chopin_pg_close(b);
    chopin_pg_rows *r[20];
    for (int i = 0; i < 20; i++) r[i] = chopin_pg_send(s, "select $1::text", big);
    for (int i = 0; i < 20; i++) { CHECK(chopin_pg_next(r[i]) && chopin_pg_text(r[i], 0).len == 1000000); CHECK_EQ_INT(chopin_pg_end(r[i]), 1); }
    chopin_pg_close(s);
    free(big);
    CHECK_EQ_INT(ask(db, 1), 0);
    chopin_pg_close(db);
}
static long rss_kb(void) {
    long pages = 0, size;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f) { if (fscanf(f, "%ld %ld", &size, &pages) != 2) pages = 0; fclose(f); }
    return pages * 4;
}
static void streams_keep_memory_flat(void) {
    chopin_pg *db = open_main();
    for (int fetch = 0; fetch <= 1000; fetch += 1000) {
        CHECK_EQ_INT(ask(db, 1), 0);
        long before = rss_kb(), most = 0;
        int64_t n = 0, sum = 0, want = 1000000;
        chopin_pg_rows *r = chopin_pg_stream(db, fetch, "select g, repeat('x', 20) from generate_series(1, 1000000) g");
        while (chopin_pg_next(r)) {
            sum += chopin_pg_i64(r, 0);
            if (++n % 100000 == 0 && rss_kb() > most) most = rss_kb();
        }
        CHECK_EQ_INT(chopin_pg_end(r), want);
        CHECK(n == want && sum == want * (want + 1) / 2);
        if (most - before > 4096) printf("  fetch %d: %ld KiB before, %ld while streaming\n", fetch, before, most);
        CHECK(most - before <= 4096);
        r = chopin_pg_stream(db, fetch, "select g from generate_series(1, 1000000) g");
        for (int i = 0; i < 3; i++) chopin_pg_next(r);
        chopin_pg_cancel(r);
        CHECK(chopin_pg_end(r) < 0);
        CHECK_EQ_INT(ask(db, 2), 0);
    }
    chopin_pg_close(db);
}
static void copy_goes_both_ways(void) {
    chopin_pg *db = open_main();
    must(db, "create table c1 (id int, v bigint, t text, d date, n numeric)");
    chopin_pg_copy *c = chopin_pg_copy_in(db, "c1", "id, v, t, n");
    for (int i = 0; i < 20000; i++) chopin_pg_copy_row(c, i, (int64_t)i * 5000000000, "text", i % 3 ? chopin_pg_as_decimal(i, 2) : chopin_pg_param_of(i));
    CHECK_EQ_INT(chopin_pg_copy_end(c), 20000);
    CHECK_EQ_INT(number(db, "select sum(v) / 5000000000 from c1"), 19999 * 10000);
    for (int binary = 0; binary < 2; binary++) {
        int64_t rows = 0, bytes = 0;
        chopin_pg_rows *r = chopin_pg_copy_out(db, binary ? "copy (select id, v from c1) to stdout (format binary)" : "copy c1 to stdout (format csv)");
        for (; chopin_pg_next(r); rows++) {
            if (binary) CHECK(chopin_pg_i32(r, 0) * INT64_C(5000000000) == chopin_pg_i64(r, 1));
            else bytes += (int64_t)chopin_pg_text(r, 0).len;
        }
        CHECK_EQ_INT(chopin_pg_end(r), 20000);
        CHECK(binary ? rows == 20000 : bytes > 200000);
    }
    c = chopin_pg_copy_raw(db, "copy c1 (id, t) from stdin (format csv)");
    chopin_pg_copy_bytes(c, "1,\"a \"\"quoted\"\" one\"\n2", 22);
    chopin_pg_copy_bytes(c, ",x\n", 3);
    CHECK_EQ_INT(chopin_pg_copy_end(c), 2);
    chopin_pg_rows *out = chopin_pg_copy_out(db, "copy c1 to stdout");
    chopin_pg_next(out);
    chopin_pg_end(out);                                     // left early
    CHECK_EQ_INT(ask(db, 1), 0);
    must(db, "drop table c1");
    chopin_pg_close(db);
}
static void listeners_come_back_and_say_that_they_missed_something(void) {
    chopin_pg *db = open_main();
    chopin_pg_listener *l = chopin_pg_listen(db, "jobs");
    chopin_pg_note n;
    CHECK_EQ_INT(chopin_pg_listen_also(l, "more"), 0);
    CHECK_EQ_INT(chopin_pg_wait_note(l, &n, 200), 0);
    CHECK_EQ_INT(chopin_pg_notify(db, "more", "1"), 0);
    if (CHECK(next_note(l, &n))) { CHECK_STR(n.channel, "more"); CHECK_STR(n.payload, "1"); }
    CHECK(number(db, "select count(pg_terminate_backend(pid)) from pg_stat_activity where pid <> pg_backend_pid() and query ilike '%listen%'") >= 1);
    int rc = 0;
    bool gap = false;
    for (int i = 0; i < 20 && !gap; i++) { rc = chopin_pg_wait_note(l, &n, 500); gap = rc == 1 && n.gap; }
    CHECK(gap);
    CHECK_EQ_INT(chopin_pg_notify(db, "jobs", "2"), 0);
    if (CHECK(next_note(l, &n))) CHECK_STR(n.payload, "2");
    chopin_pg_unlisten(l);
    chopin_pg_close(db);
}

/* ---- real trouble -------------------------------------------------------------------------------------------------------------------------------------- */

/* The time until a query is right again; -1: not within `ms`. Wrong answers are failures at once. */
static int64_t recovers(chopin_pg *db, int ms) {
    int64_t from = now_ms();
    do {
        chopin_pg *s = chopin_pg_scope(db, 1000);
        int64_t rc = ask(s, from);
        chopin_pg_close(s);
        if (rc > 0) { FAIL("the right answer"); return -1; }
        if (rc == 0) return now_ms() - from;
        sleep_ms(20);
    } while (now_ms() - from < ms);
    return -1;
}
/* Until the server has noticed that a backend was killed and throws everybody out: before that a new connection still works, and is lost a moment later. */
static bool thrown_out(chopin_pg *watch) {
    int64_t from = now_ms();
    while (ask(watch, 1) == 0 && now_ms() - from < 10000) sleep_ms(1);
    sleep_ms(50);
    return now_ms() - from < 10000;
}
static void recovers_from_a_killed_sibling(void) {          // kill -9 of one backend: the server throws everybody out, with WARNING 57P02 and EOF
    control("start");
    chopin_pg *db = open_url(env("CHOPIN_PG_SPARE_URL"));
    for (int round = 0; round < 2; round++) {
        CHECK_EQ_INT(ask(db, 1), 0);
        chopin_pg *pin = chopin_pg_pin(db), *other = open_url(env("CHOPIN_PG_SPARE_URL")), *watch = chopin_pg_pin(other);
        int64_t victim = number(pin, "select pg_backend_pid()");
        CHECK_EQ_INT(ask(watch, 1), 0);
        chopin_pg_rows *r[10];
        for (int i = 0; i < 10; i++) r[i] = chopin_pg_send(db, i == 0 ? "select $1::int8 from pg_sleep(0.5)" : "select $1::int8", (int64_t)i);
        chopin_pg_exec(db, "select 1 from pg_sleep(0.05)");
        CHECK(kill((pid_t)victim, SIGKILL) == 0);
        CHECK(thrown_out(watch));
        chopin_pg_close(other);
        for (int i = 0; i < 10; i++) {
            bool row = chopin_pg_next(r[i]);
            if (row) CHECK_EQ_INT(chopin_pg_i64(r[i], 0), i);
            int64_t rc = chopin_pg_end(r[i]);
            CHECK(rc == 1 || rc == CHOPIN_PG_LOST || rc == CHOPIN_PG_SERVER || rc == CHOPIN_PG_CONNECT);
        }
        CHECK(chopin_pg_exec(pin, "select 1") < 0);
        chopin_pg_close(pin);
        CHECK(recovers(db, 10000) >= 0);
    }
    chopin_pg_close(db);
}
static void recovers_from_restarts(void) {
    static const char *const modes[] = { "restart fast", "restart immediate" };
    control("start");
    for (int i = 0; i < 2; i++) {
        chopin_pg *db = open_url(env("CHOPIN_PG_SPARE_URL"));
        chopin_pg_listener *l = chopin_pg_listen(db, "x");
        chopin_pg_note n;
        CHECK_EQ_INT(chopin_pg_wait_note(l, &n, 100), 0);
        CHECK_EQ_INT(ask(db, 1), 0);
        chopin_pg *tx = chopin_pg_begin(db, NULL);
        CHECK_EQ_INT(ask(tx, 2), 0);
        control(modes[i]);
        CHECK(ask(tx, 3) < 0);
        CHECK(chopin_pg_commit(tx) < 0);
        chopin_pg_close(tx);
        CHECK(recovers(db, 10000) >= 0);
        bool gap = false;
        for (int k = 0; k < 20 && !gap; k++) gap = chopin_pg_wait_note(l, &n, 500) == 1 && n.gap;
        CHECK(gap);
        chopin_pg_unlisten(l);
        chopin_pg_close(db);
    }
}
static void a_server_that_is_down_is_named_and_comes_back(void) {
    control("stop");
    chopin_pg *db = open_with(env("CHOPIN_PG_SPARE_URL"), (chopin_pg_options){ .connect_ms = 500, .acquire_ms = 800 });
    int64_t from = now_ms();
    int64_t rc = ask(db, 1);
    CHECK(rc == CHOPIN_PG_CONNECT || rc == CHOPIN_PG_TIMEOUT || rc == CHOPIN_PG_POOL);
    CHECK(now_ms() - from < 3000);
    control("start");
    CHECK(recovers(db, 10000) >= 0);
    chopin_pg_close(db);
}
static void a_commit_without_answer_is_lost_and_not_retried(void) {       // r20
    control("start");
    chopin_pg *db = open_url(env("CHOPIN_PG_SPARE_URL"));
    must(db, "drop table if exists r20; create table r20 (id int);"
             "create or replace function die() returns trigger language plpgsql as $$ begin execute 'copy (select 1) to program ''kill -9 $PPID'''; return null; end $$;"
             "create constraint trigger r20_t after insert on r20 deferrable initially deferred for each row execute function die()");
    chopin_pg *tx = chopin_pg_begin(db, NULL);
    int tries = 0;
    do {
        tries++;
        CHECK_EQ_INT(chopin_pg_exec(tx, "insert into r20 values (1)"), 1);
    } while (chopin_pg_commit(tx) < 0 && chopin_pg_retry(tx, 5) && tries < 3);
    CHECK_EQ_INT(tries, 1);
    CHECK_EQ_INT(chopin_pg_code(tx), CHOPIN_PG_LOST);
    CHECK(chopin_pg_error_of(tx)->retry == CHOPIN_PG_RETRY_UNKNOWN);
    chopin_pg_close(tx);
    CHECK(recovers(db, 10000) >= 0);
    must(db, "drop table if exists r20; drop function if exists die()");      // fsync is off: the crash may have taken them along
    chopin_pg_close(db);
}
static void a_stopped_backend_does_not_hold_anybody(void) {
    chopin_pg *db = open_with(env("CHOPIN_PG_URL"), (chopin_pg_options){ .shared = 1, .grace_ms = 300 });
    int64_t pid = number(db, "select pg_backend_pid()"), from = now_ms();
    CHECK(kill((pid_t)pid, SIGSTOP) == 0);
    chopin_pg *s = chopin_pg_scope(db, 300);
    CHECK_EQ_INT(ask(s, 1), CHOPIN_PG_TIMEOUT);
    chopin_pg_close(s);
    CHECK(now_ms() - from < 2000);
    CHECK(recovers(db, 3000) >= 0);
    kill((pid_t)pid, SIGCONT);
    for (int i = 0; i < 50; i++) CHECK_EQ_INT(ask(db, i), 0);
    chopin_pg_close(db);
}
static void the_servers_own_timeouts_are_told_apart(void) {
    chopin_pg *db = open_with(env("CHOPIN_PG_URL"), (chopin_pg_options){ .shared = 1 });
    chopin_pg *pin = chopin_pg_pin(db);
    CHECK(chopin_pg_exec(pin, "set statement_timeout = 100") >= 0);
    CHECK(fails_with(pin, "select pg_sleep(2)", "57014"));
    CHECK_EQ_INT(ask(pin, 1), 0);
    CHECK(chopin_pg_exec(pin, "set statement_timeout = 0") >= 0);
    CHECK(chopin_pg_exec(pin, "set idle_session_timeout = 200") >= 0);
    sleep_ms(600);
    CHECK(ask(pin, 2) < 0);
    CHECK(state_is(chopin_pg_error_of(pin), "57P05"));
    chopin_pg_close(pin);
    must(db, "create table lt (id int); insert into lt values (1)");
    chopin_pg *tx = chopin_pg_begin(db, NULL), *second = chopin_pg_begin(db, NULL);
    CHECK_EQ_INT(chopin_pg_exec(tx, "update lt set id = 2"), 1);
    CHECK(chopin_pg_exec(second, "set local lock_timeout = 100") >= 0);
    CHECK(fails_with(second, "update lt set id = 3", "55P03"));
    chopin_pg_close(second);
    CHECK(chopin_pg_exec(tx, "set local idle_in_transaction_session_timeout = 200") >= 0);
    sleep_ms(600);
    CHECK(chopin_pg_commit(tx) < 0);
    CHECK(state_is(chopin_pg_error_of(tx), "25P03"));
    chopin_pg_close(tx);
    CHECK_EQ_INT(number(db, "select id from lt"), 1);
    must(db, "drop table lt");
    chopin_pg_close(db);
}
static void idle_connections_that_the_server_closed_are_replaced(void) {
    chopin_pg *db = open_with(env("CHOPIN_PG_URL"), (chopin_pg_options){ .shared = 1, .setup = "set idle_session_timeout = 300" });
    for (int i = 0; i < 3; i++) { CHECK_EQ_INT(ask(db, i), 0); sleep_ms(1400); }
    chopin_pg_close(db);
}
static void a_full_server_is_named(void) {
    chopin_pg *first = open_with(env("CHOPIN_PG_FEW_URL"), (chopin_pg_options){ .shared = 1 });
    CHECK_EQ_INT(chopin_pg_ready(first), 0);
    chopin_pg *db = open_with(env("CHOPIN_PG_FEW_URL"), (chopin_pg_options){ .shared = 1, .connect_ms = 500, .acquire_ms = 500 });
    CHECK(chopin_pg_ready(db) < 0);
    CHECK(state_is(chopin_pg_error_of(db), "53300"));
    chopin_pg_close(first);
    CHECK(recovers(db, 3000) >= 0);
    chopin_pg_close(db);
}
static void settings_of_setup_hold_on_every_connection(void) {
    chopin_pg *db = open_with(env("CHOPIN_PG_URL"), (chopin_pg_options){ .setup = "set search_path = pg_catalog; set extra_float_digits = 0", .application_name = "tests" });
    CHECK(text_is(db, "show search_path", "pg_catalog"));
    CHECK(text_is(db, "show application_name", "tests"));
    chopin_pg *pin = chopin_pg_pin(db);
    CHECK(chopin_pg_exec(pin, "set search_path = public") >= 0);
    chopin_pg_close(pin);
    pin = chopin_pg_pin(db);
    CHECK(text_is(pin, "show search_path", "pg_catalog"));  // also after DISCARD ALL
    chopin_pg_close(pin);
    chopin_pg_close(db);
}

/* 1500 cancels that race with the end of their query, on the connection that the next query uses at once. */
static void racing_cancels_never_hit_the_next_query(void) {
    chopin_pg *db = open_with(env("CHOPIN_PG_URL"), (chopin_pg_options){ .shared = 1, .exclusive = 1 });
    int hit = 0, canceled = 0, finished = 0, wrong = 0;
    for (int i = 0; i < 1500; i++) {
        chopin_pg_rows *r = chopin_pg_send(db, "select $1::int8 from pg_sleep(0.0005)", (int64_t)i);
        struct timespec t = { 0, (long)(i % 30) * 40000 };
        if (i % 3 == 0) { chopin_pg *s = chopin_pg_scope(db, 1); chopin_pg_rows *late = chopin_pg_query(s, "select 1 from pg_sleep(0.002)"); chopin_pg_end(late); chopin_pg_close(s); }
        nanosleep(&t, NULL);
        chopin_pg_cancel(r);
        int64_t rc = chopin_pg_end(r);
        if (rc >= 0) finished++; else canceled++;
        int64_t next = ask(db, 700000 + i);
        if (next < 0) { if (hit++ < 3) printf("  query %d: %s\n", i, chopin_pg_why(db)); }
        if (next > 0) wrong++;
    }
    if (hit || wrong) printf("  %d canceled, %d finished, %d neighbours hit, %d wrong\n", canceled, finished, hit, wrong);
    CHECK_EQ_INT(hit, 0);
    CHECK_EQ_INT(wrong, 0);
    CHECK(canceled > 0);
    chopin_pg_close(db);
}

/* ---- fibers ------------------------------------------------------------------------------------------------------------------------------------------------ */

static struct { chopin_pg *db; int64_t until, asked, right, wrong, failed, timeouts; int left, kill_every; } load;

static void load_query(chopin_pg *db, int64_t id) {
    chopin_pg_rows *r = chopin_pg_query(db, "select $1::int8, $2::text", id, "x");
    bool row = chopin_pg_next(r);
    int64_t got = row ? chopin_pg_i64(r, 0) : -1, rc = chopin_pg_end(r);
    load.asked++;
    if (row && got != id) load.wrong++;
    else if (rc == 1 && row) load.right++;
    else if (rc == CHOPIN_PG_TIMEOUT) load.timeouts++;
    else if (load.failed++ < 3) printf("  %s\n", chopin_pg_why(db));
}
static void load_count(void *arg) {
    int64_t base = (int64_t)(intptr_t)arg * 1000000;
    while (load.left > 0) { load.left--; load_query(load.db, base + load.left); }
}
static void load_ask(int queries) {
    load.left  = queries;
    load.right = load.wrong = load.failed = load.timeouts = 0;
    for (int i = 0; i < 64; i++) fibers_add(load_count, (void *)(intptr_t)(i + 1));
    fibers_run();
    CHECK_EQ_INT(load.right, queries);
    CHECK_EQ_INT(load.wrong + load.failed + load.timeouts, 0);
}
static void a_hundred_thousand_answers_belong_to_their_questions(void) {
    int queries = env("CHOPIN_TEST_QUERIES") ? atoi(env("CHOPIN_TEST_QUERIES")) : 100000;          // `make soak`: ten million
    load.db = open_fibers(env("CHOPIN_PG_URL"), (chopin_pg_options){ .shared = 2 });
    fibers.seed = 12345;
    load_ask(queries);
    chopin_pg_counters before = chopin_pg_stats(load.db);
    fibers.lazy_ms = 5;                                     // else how many answers a receive finds, and so how many ask again at once, is up to the machine
    load_ask(10000);
    fibers.lazy_ms = 0;
    fibers.seed = 0;
    chopin_pg_counters s = chopin_pg_stats(load.db);
    uint64_t sends = s.sends - before.sends;
    if (!CHECK(sends * 4 <= 10000)) printf("  %llu sends for 10000 queries\n", (unsigned long long)sends);        // 64 deep: at least four queries a write
    chopin_pg_close(load.db);
}
static void load_deadlines(void *arg) {
    int64_t id = (int64_t)(intptr_t)arg * 1000000;
    while (now_ms() < load.until) {
        int ms = (int)(fibers_random() % 80);
        chopin_pg *s = chopin_pg_scope(load.db, ms + 1);
        if (fibers_random() % 16 == 0) {
            chopin_pg_rows *r = chopin_pg_query(s, "select $1::int8 from pg_sleep($2::float8 / 1000)", ++id, (int)(fibers_random() % 20));
            bool row = chopin_pg_next(r);
            if (row && chopin_pg_i64(r, 0) != id) load.wrong++;
            int64_t rc = chopin_pg_end(r);
            load.asked++;
            if (rc == 1) load.right++; else if (rc == CHOPIN_PG_TIMEOUT) load.timeouts++; else if (load.failed++ < 3) printf("  %s\n", chopin_pg_why(s));
        } else load_query(s, ++id);
        chopin_pg_close(s);
        if (fibers_random() % 8 == 0) fibers_sleep((int)(fibers_random() % 20));
    }
}
static void random_deadlines_never_mix_answers(void) {
    load = (__typeof__(load)){ .until = now_ms() + (env("CHOPIN_TEST_LONG") ? 60000 : 8000) };
    load.db = open_fibers(env("CHOPIN_PG_URL"), (chopin_pg_options){ .shared = 4, .grace_ms = 500 });
    fibers.seed = 777;
    for (int i = 0; i < 200; i++) fibers_add(load_deadlines, (void *)(intptr_t)(i + 1));
    fibers_run();
    fibers.seed = 0;
    CHECK_EQ_INT(load.wrong, 0);
    CHECK(load.right > 500);
    CHECK(load.timeouts > 0);
    printf("  random deadlines: %lld asked, %lld right, %lld too late, %lld otherwise failed\n", (long long)load.asked, (long long)load.right, (long long)load.timeouts, (long long)load.failed);
    CHECK(load.failed * 20 < load.asked);
    CHECK_EQ_INT(ask(load.db, 5), 0);
    chopin_pg_close(load.db);
}
/* Fibers killed at a random wait; their scopes are swept, the others never notice. */
static void load_killed(void *arg) {
    int64_t id = (int64_t)(intptr_t)arg * 1000000;
    chopin_pg *s = chopin_pg_scope(load.db, 2000);
    for (int i = 0; i < 20; i++) {
        chopin_pg_rows *r = chopin_pg_query(s, "select $1::int8", ++id);
        bool row = chopin_pg_next(r);
        int64_t got = row ? chopin_pg_i64(r, 0) : -1, rc = chopin_pg_end(r);
        if (row && rc == 1) { if (got == id) load.right++; else load.wrong++; } else load.failed++;
        if (rc == CHOPIN_PG_CANCELED) break;
        if (i == 10) {
            chopin_pg *tx = chopin_pg_begin(s, NULL);
            chopin_pg_exec(tx, "select 1");
            if (id % 2) chopin_pg_close(tx);                // else the scope finds it
        }
    }
    chopin_pg_close(s);
    load.left--;
}
static void load_killer(void *arg) {
    (void)arg;
    while (load.left > 1) {
        int victim = (int)(fibers_random() % (uint64_t)fibers.count);
        if (fibers.all[victim].work == load_killed && fibers.all[victim].state != FIBER_FREE) fibers_kill(victim);
        fibers_sleep(1);
    }
    load.left--;
}
static void killed_fibers_leave_clean_connections(void) {
    int before = descriptors();
    load = (__typeof__(load)){ .left = 201 };
    load.db = open_fibers(env("CHOPIN_PG_URL"), (chopin_pg_options){ .shared = 2, .exclusive = 4 });
    fibers.seed = 4242;
    for (int i = 0; i < 200; i++) fibers_add(load_killed, (void *)(intptr_t)(i + 1));
    fibers_add(load_killer, NULL);
    fibers_run();
    fibers.seed = 0;
    CHECK_EQ_INT(load.wrong, 0);
    CHECK(load.right > 0);
    CHECK_EQ_INT(ask(load.db, 5), 0);
    CHECK_EQ_INT(number(load.db, "select count(*) from pg_stat_activity where state like 'idle in%'"), 0);
    chopin_pg_close(load.db);
    CHECK_EQ_INT(descriptors(), before);
}
static void load_under_trouble(void *arg) {
    int64_t id = (int64_t)(intptr_t)arg * 1000000;
    while (now_ms() < load.until) {
        chopin_pg *s = chopin_pg_scope(load.db, 500);
        chopin_pg_rows *r = chopin_pg_query(s, "select $1::int8", ++id);
        bool row = chopin_pg_next(r);
        int64_t got = row ? chopin_pg_i64(r, 0) : -1, rc = chopin_pg_end(r);
        load.asked++;
        if (row && got != id) load.wrong++; else if (rc == 1 && row) load.right++; else load.failed++;
        chopin_pg_close(s);
        if (rc < 0) fibers_sleep(5);
    }
}
static void load_shooter(void *arg) {
    (void)arg;
    while (now_ms() < load.until) {
        fibers_sleep(150);
        char line[600];
        snprintf(line, sizeof line, "%s/psql -qXAt '%s' -c \"select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'target'\" >/dev/null 2>&1",
                 env("CHOPIN_PG_BIN"), env("CHOPIN_PG_URL"));
        if (system(line) != 0) load.failed += 0;
    }
}
static void backends_shot_under_load_mix_nothing_up(void) {
    load = (__typeof__(load)){ .until = now_ms() + 4000 };
    load.db = open_fibers(env("CHOPIN_PG_URL"), (chopin_pg_options){ .shared = 2, .application_name = "target" });
    fibers.seed = 99;
    for (int i = 0; i < 50; i++) fibers_add(load_under_trouble, (void *)(intptr_t)(i + 1));
    fibers_add(load_shooter, NULL);
    fibers_run();
    fibers.seed = 0;
    CHECK_EQ_INT(load.wrong, 0);
    CHECK(load.right > 1000);
    printf("  under fire: %lld right, %lld failed\n", (long long)load.right, (long long)load.failed);
    CHECK(recovers(load.db, 3000) >= 0);
    chopin_pg_close(load.db);
}
static void full_work(void *arg) {
    int me = (int)(intptr_t)arg;
    chopin_pg *s = chopin_pg_scope(load.db, me % 2 ? 5000 : 50), *pin = chopin_pg_pin(s);
    int64_t rc = ask(pin, me);
    if (rc > 0) load.wrong++;
    if (rc == 0) { load.right++; chopin_pg_exec(pin, "select pg_sleep(0.02)"); }
    else if (rc == CHOPIN_PG_TIMEOUT || rc == CHOPIN_PG_POOL) load.timeouts++;
    else load.failed++;
    chopin_pg_close(pin);
    chopin_pg_close(s);
}
static void a_full_pool_with_waiters_that_give_up(void) {
    load = (__typeof__(load)){ .left = 0 };
    load.db = open_fibers(env("CHOPIN_PG_URL"), (chopin_pg_options){ .exclusive = 2, .max_waiting = 60 });
    for (int i = 0; i < 80; i++) fibers_add(full_work, (void *)(intptr_t)i);
    fibers_run();
    CHECK_EQ_INT(load.wrong, 0);
    CHECK_EQ_INT(load.failed, 0);
    CHECK(load.right >= 20);
    CHECK(load.timeouts >= 18);                             // those beyond max_waiting at once
    CHECK_EQ_INT(chopin_pg_stats(load.db).waiting, 0);
    CHECK_EQ_INT(ask(load.db, 3), 0);
    chopin_pg_close(load.db);
}
static void a_closed_pool_gives_everything_back(void) {
    int before = descriptors();
    for (int i = 0; i < 10; i++) {
        chopin_pg *db = open_main();
        CHECK_EQ_INT(ask(db, i), 0);
        chopin_pg_pin(db);
        chopin_pg_begin(db, NULL);
        chopin_pg *tx = chopin_pg_begin(db, NULL);
        chopin_pg_exec(tx, "select 1");
        chopin_pg_send(db, "select 1");
        chopin_pg_listen(db, "x");
        chopin_pg_close(db);                                // with all that still open
    }
    CHECK_EQ_INT(descriptors(), before);
    chopin_pg *db = open_main();
    sleep_ms(200);
    CHECK_EQ_INT(number(db, "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() and application_name = ''"), 0);
    chopin_pg_close(db);
}
static void queries_allocate_nothing_once_warm(void) {
    chopin_pg *db = open_main();
    for (int i = 0; i < 50; i++) CHECK_EQ_INT(ask(db, i), 0);
    uint64_t before = chopin_pg_stats(db).allocations, sends = chopin_pg_stats(db).sends, receives = chopin_pg_stats(db).receives;
    for (int i = 0; i < 1000; i++) CHECK_EQ_INT(ask(db, i), 0);
    CHECK_EQ_INT(chopin_pg_stats(db).allocations - before, 0);
    CHECK_EQ_INT(chopin_pg_stats(db).sends - sends, 1000);
    CHECK(chopin_pg_stats(db).receives - receives <= 2000);
    chopin_pg_close(db);
}

/* A pool per thread and nothing shared: for the thread sanitizer. */
static void *thread_work(void *arg) {
    int64_t base = (int64_t)(intptr_t)arg * 100000, *wrong = calloc(1, sizeof *wrong);
    chopin_pg *db = open_main();
    for (int i = 0; i < 300; i++) *wrong += ask(db, base + i) != 0;
    chopin_pg *s = chopin_pg_scope(db, 100);
    *wrong += chopin_pg_exec(s, "select pg_sleep(3)") != CHOPIN_PG_TIMEOUT;
    chopin_pg_close(s);
    *wrong += ask(db, base) != 0;
    chopin_pg_close(db);
    return wrong;
}
static void threads_have_a_pool_each(void) {
    pthread_t t[4];
    for (int i = 0; i < 4; i++) pthread_create(&t[i], NULL, thread_work, (void *)(intptr_t)(i + 1));
    for (int i = 0; i < 4; i++) {
        void *wrong;
        pthread_join(t[i], &wrong);
        CHECK_EQ_INT(*(int64_t *)wrong, 0);
        free(wrong);
    }
}

/* ---- pgbouncer ----------------------------------------------------------------------------------------------------------------------------------------- */

static void through_bouncer(int statement_cache) {
    chopin_pg *db = open_with(env("CHOPIN_PG_BOUNCER_URL"), (chopin_pg_options){ .statement_cache = statement_cache, .shared = 2, .exclusive = 3, .acquire_ms = 3000 });
    chopin_pg *direct = open_main();
    must(direct, "drop table if exists pb; create table pb (id int, t text)");
    for (int i = 0; i < 30; i++) if (!CHECK(ask(db, i) == 0)) { printf("  %s\n", chopin_pg_why(db)); break; }
    chopin_pg_rows *r = chopin_pg_query(db, "select $1::int8, $2::text, $3::numeric, $4::date", INT64_MIN, "it's", chopin_pg_as_decimal(-12345, 2), "2024-02-29");
    if (CHECK(chopin_pg_next(r))) {
        CHECK(chopin_pg_i64(r, 0) == INT64_MIN);
        CHECK_STR(chopin_pg_text(r, 1), "it's");
        CHECK_EQ_INT(chopin_pg_decimal(r, 2, 2), -12345);
        CHECK_STR(chopin_pg_text(r, 3), "2024-02-29");
    }
    CHECK_EQ_INT(chopin_pg_end(r), 1);
    for (int i = 0; i < 5; i++) {
        chopin_pg *tx = chopin_pg_begin(db, NULL);
        CHECK_EQ_INT(chopin_pg_exec(tx, "insert into pb values ($1, $2)", i, "tx"), 1);
        chopin_pg *inner = chopin_pg_begin(tx, NULL);
        CHECK(fails_with(inner, "select 1/0", "22012"));
        chopin_pg_close(inner);
        if (i % 2 == 0) CHECK_EQ_INT(chopin_pg_commit(tx), 0);
        chopin_pg_close(tx);
    }
    CHECK_EQ_INT(number(db, "select count(*) from pb"), 3);
    chopin_pg_copy *c = chopin_pg_copy_in(db, "pb", "id, t");
    for (int i = 0; i < 100; i++) chopin_pg_copy_row(c, i, "copied");
    int64_t rc = chopin_pg_copy_end(c);
    if (rc != 100) printf("  copy: %s\n", chopin_pg_why(db));
    CHECK_EQ_INT(rc, 100);
    chopin_pg_rows *out = chopin_pg_copy_out(db, "copy (select id from pb order by id limit 3) to stdout");
    size_t bytes = 0;
    while (chopin_pg_next(out)) bytes += chopin_pg_text(out, 0).len;
    CHECK_EQ_INT(chopin_pg_end(out), 3);
    CHECK_EQ_INT(bytes, 6);
    chopin_pg *b = chopin_pg_batch(db);
    for (int i = 0; i < 20; i++) chopin_pg_send(b, "insert into pb values ($1, 'batch')", i);
    CHECK_EQ_INT(chopin_pg_commit(b), 0);
    chopin_pg_close(b);
    CHECK_EQ_INT(number(db, "select count(*) from pb where t = 'batch'"), 20);
    chopin_pg_rows *st = chopin_pg_stream(db, 7, "select g from generate_series(1,50) g");
    int64_t sum = 0;
    while (chopin_pg_next(st)) sum += chopin_pg_i32(st, 0);
    CHECK_EQ_INT(chopin_pg_end(st), 50);
    CHECK_EQ_INT(sum, 1275);
    for (int i = 0; i < 3; i++) {
        chopin_pg *s = chopin_pg_scope(db, 150);
        CHECK_EQ_INT(chopin_pg_exec(s, "select pg_sleep(3)"), CHOPIN_PG_TIMEOUT);
        chopin_pg_close(s);
        CHECK(recovers(db, 4000) >= 0);
    }
    CHECK_EQ_INT(number(direct, "select count(*) from pg_stat_activity where query like 'select pg_sleep(3)%' and state = 'active'"), 0);
    must(direct, "drop table pb");
    chopin_pg_close(direct);
    chopin_pg_close(db);
}
static void pgbouncer_is_detected(void)        { if (!env("CHOPIN_PG_BOUNCER_URL")) { printf("SKIPPED pgbouncer: not installed\n"); return; } through_bouncer(0); }
static void pgbouncer_without_names(void)      { if (env("CHOPIN_PG_BOUNCER_URL")) through_bouncer(-1); }

/* Two clients with the same names for different statements behind one server connection. */
static void pgbouncer_never_mixes_names(void) {
    if (!env("CHOPIN_PG_BOUNCER_URL")) return;
    chopin_pg *a = open_url(env("CHOPIN_PG_BOUNCER_URL")), *b = open_url(env("CHOPIN_PG_BOUNCER_URL"));
    for (int i = 0; i < 50; i++) {
        chopin_pg_rows *ra = chopin_pg_query(a, "select 'a', $1::int8", (int64_t)i), *rb = NULL;
        if (CHECK(chopin_pg_next(ra))) { CHECK_STR(chopin_pg_text(ra, 0), "a"); CHECK_EQ_INT(chopin_pg_i64(ra, 1), i); }
        CHECK_EQ_INT(chopin_pg_end(ra), 1);
        rb = chopin_pg_query(b, "select 'b', $1::int8 * 2", (int64_t)i);
        if (CHECK(chopin_pg_next(rb))) { CHECK_STR(chopin_pg_text(rb, 0), "b"); CHECK_EQ_INT(chopin_pg_i64(rb, 1), i * 2); }
        CHECK_EQ_INT(chopin_pg_end(rb), 1);
    }
    chopin_pg_close(a);
    chopin_pg_close(b);
}
static void pgbouncer_refuses_what_needs_a_session(void) {
    if (!env("CHOPIN_PG_BOUNCER_URL")) return;
    chopin_pg *db = open_url(env("CHOPIN_PG_BOUNCER_URL"));
    chopin_pg_note n;
    chopin_pg_listener *l = chopin_pg_listen(db, "jobs");
    int rc = chopin_pg_wait_note(l, &n, 1000);
    if (rc >= 0 || !strstr(chopin_pg_why(l), "pool")) printf("  listen: %d, %s\n", rc, chopin_pg_why(l));
    CHECK(rc < 0 && strstr(chopin_pg_why(l), "pool") != NULL);
    chopin_pg_unlisten(l);
    chopin_pg *pin = chopin_pg_pin(db);
    int64_t set = chopin_pg_exec(pin, "set search_path = pg_catalog");
    if (set >= 0) printf("  SET on a pin behind a transaction pooler was let through\n");
    CHECK_EQ_INT(set, CHOPIN_PG_UNSAFE);
    chopin_pg_close(pin);
    CHECK_EQ_INT(ask(db, 3), 0);
    chopin_pg_close(db);
    db = open_url(env("CHOPIN_PG_SESSION_URL"));            // a session pooler keeps what a session needs
    CHECK_EQ_INT(ask(db, 4), 0);
    chopin_pg_close(db);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!env("CHOPIN_PG_URL")) { printf("SKIPPED test_pg_server: no server; run it by tests/pg.sh\n0 passed, 0 failed\n"); return 77; }
    RUN(r01_a_query_past_its_timeout_never_answers_the_next);
    RUN(r02_there_is_no_default_limit);
    RUN(r02_a_server_silent_at_startup_is_left_in_time);
    RUN(r03_copy_with_a_bad_row_fails_and_the_next_query_is_right);
    RUN(r04_copy_rows_keep_every_byte);
    RUN(r05_payloads_and_names_are_data);
    RUN(r06_numbers_fit_or_say_which_parameter);
    RUN(r07_long_and_many_parameters);
    RUN(r08_small_numerics_are_exact);
    RUN(r09_every_type_reads_as_the_server_writes_it);
    RUN(r10_odd_types_and_infinities);
    RUN(r11_stale_plans_and_lost_names_heal_unseen);
    RUN(r11_a_function_that_drops_our_names_heals);
    RUN(r12_a_wrong_password_is_named);
    RUN(r12_every_way_to_log_in_works);
    RUN(r12_databases_that_are_not_there_are_named);
    RUN(r13_no_password_in_clear_over_tcp);
    RUN(r13_tls_is_what_the_mode_says);
    RUN(r14_a_pin_leaves_nothing_behind);
    RUN(r14_shared_connections_refuse_words_that_stay);
    RUN(r15_an_empty_pool_answers_in_time);
    RUN(r15_waiters_are_served_in_order);
    RUN(r16_large_values_and_their_cap);
    RUN(r18_scripts_keep_their_results_apart);
    RUN(r19_odd_urls_are_read_and_never_printed);
    RUN(a_commit_without_answer_is_lost_and_not_retried);
    RUN(r21_a_killed_idle_connection_is_replaced_unseen);
    RUN(r22_large_values_under_tls);
    RUN(a_parameter_of_four_gigabytes_is_refused_unsent);
    RUN(values_never_become_text);
    RUN(errors_carry_everything_the_server_said);
    RUN(transactions_commit_roll_back_and_nest);
    RUN(deadlocks_are_retried);
    RUN(a_batch_is_all_or_nothing);
    RUN(big_parameters_in_a_batch_do_not_deadlock);
    RUN(streams_keep_memory_flat);
    RUN(copy_goes_both_ways);
    RUN(listeners_come_back_and_say_that_they_missed_something);
    RUN(recovers_from_a_killed_sibling);
    RUN(recovers_from_restarts);
    RUN(a_server_that_is_down_is_named_and_comes_back);
    RUN(a_stopped_backend_does_not_hold_anybody);
    RUN(the_servers_own_timeouts_are_told_apart);
    RUN(idle_connections_that_the_server_closed_are_replaced);
    RUN(a_full_server_is_named);
    RUN(settings_of_setup_hold_on_every_connection);
    RUN(racing_cancels_never_hit_the_next_query);
    RUN(a_hundred_thousand_answers_belong_to_their_questions);
    RUN(random_deadlines_never_mix_answers);
    RUN(killed_fibers_leave_clean_connections);
    RUN(backends_shot_under_load_mix_nothing_up);
    RUN(a_full_pool_with_waiters_that_give_up);
    RUN(a_closed_pool_gives_everything_back);
    RUN(queries_allocate_nothing_once_warm);
    RUN(threads_have_a_pool_each);
    RUN(pgbouncer_is_detected);
    RUN(pgbouncer_without_names);
    RUN(pgbouncer_never_mixes_names);
    RUN(pgbouncer_refuses_what_needs_a_session);
    return TEST_END();
}
