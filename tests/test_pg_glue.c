/* test_pg_glue.c - >>glue: pools of workers and scopes of requests, under chopin.h's in-process test; no server is needed. Compile with -pthread. */
#define CHOPIN_IMPLEMENTATION
#include "../chopin.h"
#include "../chopin_pg.h"
#include "test.h"

static char logged[500];
static void hear(void *ctx, chopin_pg_level level, const char *text) { (void)ctx; (void)level; snprintf(logged, sizeof logged, "%s", text); }
static void quiet(void *user, chopin_level level, const char *text) { (void)user; (void)level; (void)text; }

static size_t in_use;
static void *counted(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    (void)ctx;
    in_use += new_size - old_size;
    return chopin_pg__heap_default(NULL, ptr, old_size, new_size);
}
static chopin_pg_options nowhere(void) {
    return (chopin_pg_options){ .url = "host=/nonexistent/directory user=u", .no_env = true, .log = hear, .alloc = counted, .connect_ms = 200, .acquire_ms = 200 };
}

static chopin_pg *seen;
static int query(chopin_ctx *c) {
    seen = chopin_pg_of(c);
    if (seen != chopin_pg_of(c)) return chopin_text(c, 500, "two scopes\n");
    chopin_pg_rows *r = chopin_pg_query(seen, "select 1");
    int rc = chopin_pg_next(r);
    return chopin_text(c, rc ? 200 : chopin_pg_http(chopin_pg_code(r)), chopin_pg_why(r));           // r is left to the scope
}
static int twice(chopin_ctx *c) {
    chopin_pg *scope = chopin_pg_of(c);
    if (scope == chopin_pg_worker_pool(chopin_worker_of(c))) return chopin_text(c, 500, "the pool itself\n");
    return chopin_pg_of(c) == scope ? chopin_text(c, 200, "same\n") : chopin_text(c, 500, "other\n");
}
static int fails(chopin_ctx *c) { (void)chopin_pg_of(c); return -1; }

static chopin_str ask(chopin_pg_options *o, int (*handler)(chopin_ctx *), int times) {
    static char reply[3000];
    chopin_app *app = chopin_new(&(chopin_options){ .on_worker_start = chopin_pg_worker_start, .on_worker_stop = chopin_pg_worker_stop, .user = o, .log = quiet, .no_env = true });
    chopin_route(app, "GET", "/", handler, NULL);
    chopin_str got = { NULL, 0 };
    for (int i = 0; i < times; i++) got = chopin_test_request(app, CHOPIN_STR("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.0\r\n\r\n"), NULL);
    snprintf(reply, sizeof reply, "%.*s", CHOPIN_FMT(got));
    chopin_free(app);
    return chopin_pg__str_z(reply);
}
static bool has(chopin_str reply, const char *part) {
    bool found = strstr(reply.ptr, part) != NULL;
    if (!found) printf("   reply: %s\n", reply.ptr);
    return found;
}

static void one_request_has_one_scope(void) {
    chopin_pg_options o = nowhere();
    CHECK(has(ask(&o, twice, 1), "same"));
    CHECK_EQ_INT(in_use, 0);
}
static void a_server_that_is_down_is_a_503(void) {
    chopin_pg_options o = nowhere();
    CHECK(has(ask(&o, query, 1), "503"));
    CHECK_EQ_INT(in_use, 0);                                 // the result nobody ended went with its scope
}
static void a_handler_that_fails_leaves_nothing(void) {
    chopin_pg_options o = nowhere();
    CHECK(has(ask(&o, fails, 3), "500"));
    CHECK_EQ_INT(in_use, 0);
}
static void wrong_options_stop_the_start(void) {
    chopin_pg_options o = nowhere();
    o.url = "host=/tmp sslmode=yes";
    logged[0] = 0;
    CHECK_EQ_INT(ask(&o, twice, 1).len, 0);
    CHECK(strstr(logged, "sslmode") != NULL);
    CHECK_EQ_INT(in_use, 0);
}
static int outside(chopin_ctx *c) { return chopin_text(c, chopin_pg_http(chopin_pg_code(chopin_pg_of(c))), "x"); }
static void without_a_pool_it_says_so(void) {
    chopin_app *app = chopin_new(&(chopin_options){ .log = quiet, .no_env = true });
    chopin_route(app, "GET", "/", outside, NULL);
    chopin_str got = chopin_test_request(app, CHOPIN_STR("GET / HTTP/1.0\r\n\r\n"), NULL);
    CHECK(got.len > 12 && memcmp(got.ptr + 9, "503", 3) == 0);
    chopin_free(app);
}
static void statuses_become_http_statuses(void) {
    CHECK_EQ_INT(chopin_pg_http(0), 200);
    CHECK_EQ_INT(chopin_pg_http(7), 200);
    CHECK_EQ_INT(chopin_pg_http(CHOPIN_PG_TIMEOUT), 504);
    CHECK_EQ_INT(chopin_pg_http(CHOPIN_PG_POOL), 503);
    CHECK_EQ_INT(chopin_pg_http(CHOPIN_PG_CONFLICT), 409);
    CHECK_EQ_INT(chopin_pg_http(CHOPIN_PG_SERVER), 500);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(one_request_has_one_scope);
    RUN(a_server_that_is_down_is_a_503);
    RUN(a_handler_that_fails_leaves_nothing);
    RUN(wrong_options_stop_the_start);
    RUN(without_a_pool_it_says_so);
    RUN(statuses_become_http_statuses);
    return TEST_END();
}
