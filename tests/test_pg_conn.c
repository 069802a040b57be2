/* test_pg_conn.c - one connection: bytes in any portion, blocks, the statement cache, how it is made. Run it by `tests/pg.sh ./test_pg_conn [names]`.
 * send and recv are replaced: they take and give as little as a test wants, and are interrupted now and then. */
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>
static size_t portion;                                         // bytes of one send or recv; 0: all
static unsigned io_calls;
static ssize_t small_send(int fd, const void *p, size_t n, int flags) {
    if (portion && ++io_calls % 3 == 0) { errno = EINTR; return -1; }
    if (portion && io_calls % 7 == 0) { errno = EAGAIN; return -1; }
    return send(fd, p, portion && n > portion ? portion : n, flags);
}
static ssize_t small_recv(int fd, void *p, size_t n, int flags) {
    if (portion && ++io_calls % 3 == 0) { errno = EINTR; return -1; }
    return recv(fd, p, portion && n > portion ? portion : n, flags);
}
#define CHOPIN_PG__SYS_SOCKET(domain, type, protocol)         socket(domain, type, protocol)
#define CHOPIN_PG__SYS_CONNECT(fd, address, size)             connect(fd, address, size)
#define CHOPIN_PG__SYS_SETSOCKOPT(fd, level, name, value, n)  setsockopt(fd, level, name, value, n)
#define CHOPIN_PG__SYS_GETSOCKOPT(fd, level, name, value, n)  getsockopt(fd, level, name, value, n)
#define CHOPIN_PG__SYS_GETSOCKNAME(fd, address, size)         getsockname(fd, address, size)
#define CHOPIN_PG__SYS_SEND(fd, bytes, n, flags)              small_send(fd, bytes, n, flags)
#define CHOPIN_PG__SYS_SENDMSG(fd, message, flags)            sendmsg(fd, message, flags)
#define CHOPIN_PG__SYS_RECV(fd, bytes, n, flags)              small_recv(fd, bytes, n, flags)
#define CHOPIN_PG__SYS_POLL(fds, n, ms)                       poll(fds, n, ms)
#define CHOPIN_PG__SYS_CLOSE(fd)                              close(fd)
#define CHOPIN_PG__SYS_FCNTL(fd, command, value)              fcntl(fd, command, value)
#define CHOPIN_PG__SYS_SHUTDOWN(fd, how)                      shutdown(fd, how)
#define CHOPIN_PG__SYS_OPEN(path, flags)                      open(path, flags)
#define CHOPIN_PG__SYS_READ(fd, bytes, n)                     read(fd, bytes, n)
#define CHOPIN_PG__SYS_FSTAT(fd, status)                      fstat(fd, status)
#define CHOPIN_PG__SYS_GETADDRINFO(host, service, hints, out) getaddrinfo(host, service, hints, out)
#define CHOPIN_PG__SYS_CLOCK(time)                            clock_gettime(CLOCK_MONOTONIC, time)
#define CHOPIN_PG__SYS_PIPE(fds)                              pipe(fds)
static bool collide;                                           // all texts have one hash
#define CHOPIN_PG__SQL_HASH(seed, sql) (collide ? 4711u : chopin_pg__hash((seed), (sql).ptr, (sql).len))
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include "test.h"

static void quiet(void *ctx, chopin_pg_level level, const char *text) { (void)ctx; (void)level; (void)text; }
static long blocks, fail_at, allocs;
static void *counting(void *ctx, void *p, size_t old, size_t n) {
    (void)ctx; (void)old;
    if (!n) { blocks -= p != NULL; free(p); return NULL; }
    if (fail_at && ++allocs == fail_at) return NULL;
    blocks += p == NULL;
    return realloc(p, n);
}
static chopin_pg *open_pool(chopin_pg_options o) {
    if (!o.url) o.url = getenv("CHOPIN_PG_URL");
    o.no_env = true;
    if (!o.log) o.log = quiet;
    o.alloc = counting;
    if (!o.shared) o.shared = 1;
    return chopin_pg_open(&o);
}
static int64_t number(chopin_pg *h, const char *sql) {
    chopin_pg_rows *r = chopin_pg_value(h, sql);
    int64_t n = chopin_pg_i64(r, 0);
    if (chopin_pg_end(r) < 0) printf("  %s: %s\n", sql, chopin_pg_why(h));
    return n;
}
static void closed(chopin_pg *db) {
    chopin_pg_close(db);
    CHECK_EQ_INT(blocks, 0);
    blocks = 0;
}

static void bytes_may_come_and_go_in_any_portion(void) {
    static const size_t portions[] = { 1, 2, 7, 100 };
    for (size_t i = 0; i < sizeof portions / sizeof *portions; i++) {
        portion = portions[i];
        chopin_pg *db = open_pool((chopin_pg_options){ .url = getenv("CHOPIN_PG_SCRAM_URL") });
        for (int use = 0; use < 3; use++) {
            chopin_pg_rows *r = chopin_pg_query(db, "select g, repeat('x', 300), $1::text from generate_series(1, 20) g", "hello");
            int n = 0;
            while (chopin_pg_next(r)) if (chopin_pg_i32(r, 0) == n + 1 && chopin_pg_text(r, 1).len == 300) n++;
            CHECK_EQ_INT(n, 20);
            CHECK_EQ_INT(chopin_pg_end(r), 20);
        }
        portion = 0;
        closed(db);
    }
}
static void large_rows_are_put_together_and_given_back(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1 });
    static const int sizes[] = { 1, 65000, 65461, 65472, 65500, 65536, 131072, 1000000, 20000000 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        chopin_pg_rows *r = chopin_pg_query(db, "select repeat('a', $1::int) || g from generate_series(1, 3) g", sizes[i]);
        int n = 0;
        while (chopin_pg_next(r)) {
            chopin_str s = chopin_pg_text(r, 0);
            CHECK(s.len == (size_t)sizes[i] + 1 && s.ptr[0] == 'a' && s.ptr[s.len - 1] == '1' + n++);
        }
        CHECK_EQ_INT(chopin_pg_end(r), 3);
    }
    closed(db);
}
static void views_stay_while_others_read_on(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1 });
    chopin_pg_rows *a = chopin_pg_send(db, "select repeat('a', 60000)"), *b = chopin_pg_send(db, "select repeat('b', 60000) from generate_series(1, 50)"), *c = chopin_pg_send(db, "select 7");
    CHECK(chopin_pg_next(a));
    chopin_str view = chopin_pg_text(a, 0);
    CHECK(chopin_pg_next(c));
    CHECK_EQ_INT(chopin_pg_i32(c, 0), 7);
    int n = 0;
    while (chopin_pg_next(b)) n += chopin_pg_text(b, 0).len == 60000;
    CHECK_EQ_INT(n, 50);
    for (size_t i = 0; i < view.len; i++) if (view.ptr[i] != 'a') { CHECK(false); break; }
    CHECK_EQ_INT(view.len, 60000);
    chopin_pg_end(a); chopin_pg_end(b); chopin_pg_end(c);
    closed(db);
}
static void a_warm_query_allocates_nothing(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1 });
    for (int i = 0; i < 50; i++) {
        chopin_pg_rows *w = chopin_pg_query(db, "select $1::int, $2::text", i, "text");
        chopin_pg_next(w);
        CHECK_EQ_INT(chopin_pg_end(w), 1);
    }
    uint64_t before = chopin_pg_stats(db).allocations, sends = chopin_pg_stats(db).sends, receives = chopin_pg_stats(db).receives;
    for (int i = 0; i < 500; i++) {
        chopin_pg_rows *r = chopin_pg_query(db, "select $1::int, $2::text", i, "text");
        chopin_pg_next(r);
        CHECK_EQ_INT(chopin_pg_i32(r, 0), i);
        chopin_pg_end(r);
    }
    CHECK_EQ_INT(chopin_pg_stats(db).allocations - before, 0);
    CHECK_EQ_INT(chopin_pg_stats(db).sends - sends, 500);
    CHECK(chopin_pg_stats(db).receives - receives <= 510);
    closed(db);
}
static void the_cache_forgets_the_oldest_and_closes_it(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1, .statement_cache = 5 });
    char sql[64];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 12; i++) {
            snprintf(sql, sizeof sql, "select %d", i);
            CHECK_EQ_INT(number(db, sql), i);
        }
    }
    CHECK(number(db, "select count(*) from pg_prepared_statements") <= 6);
    CHECK(chopin_pg_stats(db).evicted >= 30);
    closed(db);
}
static void texts_of_one_hash_stay_apart(void) {
    collide = true;
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1 });
    for (int i = 0; i < 4; i++) {
        CHECK_EQ_INT(number(db, "select 1 as a"), 1);
        CHECK_EQ_INT(number(db, "select 2 as a"), 2);
        CHECK_EQ_INT(number(db, "select 3 as abc"), 3);        // these two stay among the texts that were judged lately, side by side
        CHECK_EQ_INT(number(db, "select 4 as abcd"), 4);
    }
    CHECK_EQ_INT(chopin_pg_stats(db).prepared, 4);
    closed(db);
    collide = false;
}

/* Their places in the bytes of a known statement are filled in without a look at anything else. */
static const char sum[] = "select $1::int8 + $2::int4";
static int64_t added(chopin_pg *db, int64_t wide, int64_t narrow) {
    chopin_pg_rows *r = chopin_pg_value(db, sum, wide, narrow);
    int64_t n = chopin_pg_i64(r, 0);
    return chopin_pg_end(r) < 0 ? chopin_pg_code(db) : n;
}
static void integers_keep_their_range_in_a_known_statement(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1 });
    for (int i = 0; i < 3; i++) CHECK_EQ_INT(added(db, 40, 2), 42);
    CHECK_EQ_INT(added(db, INT64_MAX, -1), INT64_MAX - 1);
    CHECK_EQ_INT(added(db, INT64_MIN, INT32_MAX), INT64_MIN + INT32_MAX);
    CHECK_EQ_INT(added(db, 0, INT32_MIN), INT32_MIN);
    CHECK_EQ_INT(added(db, 0, (int64_t)INT32_MAX + 1), CHOPIN_PG_RANGE);
    CHECK(strstr(chopin_pg_why(db), "$2") != NULL);
    CHECK_EQ_INT(added(db, 0, (int64_t)INT32_MIN - 1), CHOPIN_PG_RANGE);
    CHECK_EQ_INT(added(db, 1, 2), 3);
    chopin_pg_rows *r = chopin_pg_value(db, sum, "100", (char *)NULL);           // something else than integers
    CHECK(chopin_pg_is_null(r, 0));
    CHECK_EQ_INT(chopin_pg_end(r), 1);
    r = chopin_pg_value(db, sum, "100", 11);
    CHECK_EQ_INT(chopin_pg_i64(r, 0), 111);
    CHECK_EQ_INT(chopin_pg_end(r), 1);
    CHECK_EQ_INT(chopin_pg_stats(db).prepared, 1);
    closed(db);
}

/* A value that needs memory gives it back with the next row, however short the way to that one is. */
static void long_results_need_memory_for_one_row(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1 });
    for (int round = 0; round < 2; round++) {
        int64_t sum_of = 0, rows = 0;
        uint64_t before = chopin_pg_stats(db).allocations;
        chopin_pg_rows *r = chopin_pg_query(db, "select i, i::numeric from generate_series(1, 20000) i");
        while (chopin_pg_next(r)) {
            sum_of += chopin_pg_i32(r, 0);
            rows += chopin_pg_numeric(r, 1).len > 0;
        }
        CHECK_EQ_INT(chopin_pg_end(r), 20000);
        CHECK_EQ_INT(rows, 20000);
        CHECK_EQ_INT(sum_of, 20000LL * 20001 / 2);
        CHECK(chopin_pg_stats(db).allocations - before <= 40);
    }
    closed(db);
}
static void followers_of_a_statement_that_fails_see_the_true_error(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1 });
    CHECK_EQ_INT(chopin_pg_ready(db), 0);
    chopin_pg_rows *r[5];
    for (int i = 0; i < 5; i++) r[i] = chopin_pg_send(db, "select nothere from nowhere");
    for (int i = 0; i < 5; i++) {
        CHECK(!chopin_pg_next(r[i]));
        CHECK(strcmp(chopin_pg_error_of(r[i])->sqlstate, "42P01") == 0);
        chopin_pg_end(r[i]);
    }
    CHECK_EQ_INT(number(db, "select 3"), 3);
    closed(db);
}
static void without_names_everything_works_too(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1, .statement_cache = -1 });
    for (int i = 0; i < 5; i++) {
        chopin_pg_rows *r = chopin_pg_query(db, "select $1::int8 * 2, $2::bytea", (int64_t)i, chopin_pg_as_bytes("\0\1", 2));
        CHECK(chopin_pg_next(r));
        CHECK_EQ_INT(chopin_pg_i64(r, 0), i * 2);
        CHECK_EQ_INT(chopin_pg_end(r), 1);
    }
    CHECK_EQ_INT(number(db, "select count(*) from pg_prepared_statements"), 0);
    closed(db);
}
static int64_t now_ms(void) { return chopin_pg__clock_ms(); }
static void a_silent_server_costs_connect_ms(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof a;
    CHECK(bind(fd, (struct sockaddr *)&a, n) == 0 && listen(fd, 5) == 0 && getsockname(fd, (struct sockaddr *)&a, &n) == 0);
    char url[128];
    snprintf(url, sizeof url, "postgres://u@127.0.0.1:%d/d?sslmode=disable", ntohs(a.sin_port));
    chopin_pg *db = open_pool((chopin_pg_options){ .url = url, .connect_ms = 150 });
    int64_t from = now_ms();
    CHECK_EQ_INT(chopin_pg_ready(db), CHOPIN_PG_TIMEOUT);
    CHECK(now_ms() - from >= 140 && now_ms() - from < 1500);
    closed(db);
    close(fd);
}
static void the_next_host_is_tried(void) {
    char url[256];
    snprintf(url, sizeof url, "host=127.0.0.1,%s port=1,%s user=tester dbname=postgres sslmode=disable", getenv("CHOPIN_PG_SOCKETS"), getenv("CHOPIN_PG_PORT"));
    chopin_pg *db = open_pool((chopin_pg_options){ .url = url });
    CHECK_EQ_INT(number(db, "select 4"), 4);
    closed(db);
    strncat(url, " target_session_attrs=read-only", sizeof url - strlen(url) - 1);
    db = open_pool((chopin_pg_options){ .url = url });
    CHECK_EQ_INT(chopin_pg_ready(db), CHOPIN_PG_CONNECT);
    CHECK(strstr(chopin_pg_why(db), "target_session_attrs") != NULL);
    closed(db);
    *strstr(url, " target_session_attrs") = 0;
    strncat(url, " target_session_attrs=prefer-standby", sizeof url - strlen(url) - 1);
    db = open_pool((chopin_pg_options){ .url = url });
    CHECK_EQ_INT(number(db, "select 5"), 5);
    closed(db);
}
static void each_allocation_may_fail(void) {
    int good = 0;
    for (long at = 1; at < 400 && good < 3; at++) {
        allocs = 0;
        fail_at = at;
        chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1 });
        chopin_pg_rows *r = chopin_pg_query(db, "select $1::int, repeat('x', 100000), $2::text", 5, "y");
        bool row = chopin_pg_next(r), right = row && chopin_pg_i32(r, 0) == 5 && chopin_pg_text(r, 1).len == 100000;
        int64_t rc = chopin_pg_end(r);
        chopin_pg *tx = chopin_pg_begin(db, NULL), *b = chopin_pg_batch(db);
        int64_t in = chopin_pg_exec(tx, "select 1");
        chopin_pg_commit(tx);
        chopin_pg_send(b, "select 2");
        chopin_pg_commit(b);
        chopin_pg_close(b);
        chopin_pg_close(tx);
        if (rc == 1) CHECK(right);
        good += rc == 1 && in == 1 && allocs < at;
        fail_at = 0;
        int after = chopin_pg_code(db) == CHOPIN_PG_MEMORY && !db->pool ? 0 : chopin_pg_ready(db);
        if (after < 0 && chopin_pg_code(db) != CHOPIN_PG_MEMORY && chopin_pg_code(db) != CHOPIN_PG_ARG) { CHECK(false); printf("  allocation %ld: %s\n", at, chopin_pg_why(db)); }
        chopin_pg_close(db);
        if (blocks) { CHECK(false); printf("  allocation %ld: %ld blocks leak\n", at, blocks); }
        blocks = 0;
    }
    CHECK(good > 0);
}
static void notices_and_settings_come_at_any_time(void) {
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1 });
    chopin_pg *pin = chopin_pg_pin(db);
    chopin_pg_end(chopin_pg_script(pin, "do $$ begin raise notice 'one'; raise warning 'two'; end $$; set time zone 'UTC'; select 1"));
    CHECK_EQ_INT(chopin_pg_stats(db).notices, 2);
    CHECK_STR(chopin_pg__setting_get(pin->conn, "TimeZone"), "UTC");
    CHECK(chopin_pg_exec(pin, "set client_encoding = 'LATIN1'") >= 0);
    chopin_pg_rows *r = chopin_pg_query(pin, "select 'x'::text");
    CHECK(chopin_pg_next(r));
    chopin_pg_text(r, 0);
    CHECK(chopin_pg_end(r) < 0);                               // text of another encoding is not trusted
    chopin_pg_close(pin);
    closed(db);
}

static void what_is_sent_beyond_the_depth_travels_together(void) {
    enum { MANY = 500 };
    chopin_pg *db = open_pool((chopin_pg_options){ .shared = 1 });
    chopin_pg_rows *r[MANY];
    int wrong = 0;
    CHECK_EQ_INT(chopin_pg_ready(db), 0);
    CHECK_EQ_INT(chopin_pg_end(chopin_pg_query(db, "select $1::int", 0)), 1);
    uint64_t before = chopin_pg_stats(db).sends;
    for (int i = 0; i < MANY; i++) r[i] = chopin_pg_send(db, "select $1::int", i);
    for (int i = 0; i < MANY; i++) {
        wrong += !chopin_pg_next(r[i]) || chopin_pg_i32(r[i], 0) != i;
        wrong += chopin_pg_end(r[i]) != 1;
    }
    CHECK_EQ_INT(wrong, 0);
    CHECK(chopin_pg_stats(db).sends - before <= 20);           // 128 at a time, not one by one
    chopin_pg_close(db);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    if (!getenv("CHOPIN_PG_URL")) { printf("SKIPPED no server: run by tests/pg.sh\n"); return 77; }
    RUN(bytes_may_come_and_go_in_any_portion);
    RUN(large_rows_are_put_together_and_given_back);
    RUN(views_stay_while_others_read_on);
    RUN(a_warm_query_allocates_nothing);
    RUN(the_cache_forgets_the_oldest_and_closes_it);
    RUN(texts_of_one_hash_stay_apart);
    RUN(integers_keep_their_range_in_a_known_statement);
    RUN(long_results_need_memory_for_one_row);
    RUN(followers_of_a_statement_that_fails_see_the_true_error);
    RUN(without_names_everything_works_too);
    RUN(a_silent_server_costs_connect_ms);
    RUN(the_next_host_is_tried);
    RUN(each_allocation_may_fail);
    RUN(notices_and_settings_come_at_any_time);
    RUN(what_is_sent_beyond_the_depth_travels_together);
    return TEST_END();
}
