/* test_pg_tfb.c - examples/tfb.c keeps the rules of the benchmarks it is for: counts, clamping, escaping, real writes, a cache that a PUT empties.
 * Run it by `tests/pg.sh ./test_pg_tfb`; compile with -pthread. */
#define main tfb_main
#include "../examples/tfb.c"
#undef main
#include "test.h"
#include "pg_web.h"

static int count_text(const char *text, const char *what) {
    int n = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at += strlen(what)) n++;
    return n;
}
/* A reply with its head. */
static const char *ask(const char *method, const char *path, const char *body) {
    int fd = dial();
    request_with(fd, method, path, body);
    const char *text = reply_text(fd);
    close(fd);
    return text;
}
static bool has(const char *text, const char *what) {
    bool found = strstr(text, what) != NULL;
    if (!found) printf("  no \"%s\" in: %.400s\n", what, text);
    return found;
}
/* The two numbers of the object at `*at`, which moves behind it. */
static bool next_world(const char **at, int *id, int *number) {
    const char *from = strstr(*at, "{\"id\":");
    if (!from || sscanf(from, "{\"id\":%d,\"randomNumber\":%d}", id, number) != 2) return false;
    *at = from + 1;
    return true;
}

static void plaintext_and_json_need_no_database(void) {
    int status;
    CHECK(strcmp(get("/plaintext", &status), "Hello, World!") == 0);
    CHECK(strcmp(get("/json", &status), "{\"message\":\"Hello, World!\"}") == 0);
    const char *text = ask("GET", "/json", NULL);
    CHECK(has(text, "\r\nServer: ") && has(text, "\r\nDate: ") && has(text, "Content-Type: application/json"));
}
static void db_gives_one_row_of_the_table(void) {
    int seen = 0, last = 0;
    for (int i = 0; i < 20; i++) {
        char sql[100];
        int  id = 0, number = 0;
        const char *text = ask("GET", "/db", NULL), *at = text;
        CHECK(has(text, "Content-Type: application/json"));
        if (!CHECK(next_world(&at, &id, &number))) return;
        snprintf(sql, sizeof sql, "select randomnumber from world where id = %d", id);
        CHECK_EQ_INT(number, direct(sql));
        seen += id != last;
        last = id;
    }
    CHECK(seen > 15);                                          // other rows each time
}
static void counts_are_clamped(void) {
    static const struct { const char *path; int count; } wanted[] = {
        { "/queries", 1 }, { "/queries?queries=", 1 }, { "/queries?queries=x", 1 }, { "/queries?queries=0", 1 }, { "/queries?queries=-3", 1 }, { "/queries?queries=1", 1 },
        { "/queries?queries=20", 20 }, { "/queries?queries=500", 500 }, { "/queries?queries=501", 500 }, { "/queries?queries=1000000", 500 },
        { "/updates?queries=x", 1 }, { "/updates?queries=0", 1 }, { "/updates?queries=501", 500 },
        { "/cached-queries?count=", 1 }, { "/cached-queries?count=7", 7 }, { "/cached-queries?count=501", 500 },
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        int status;
        const char *body = get(wanted[i].path, &status);
        CHECK_EQ_INT(status, 200);
        CHECK(body[0] == '[' && body[strlen(body) - 1] == ']');
        if (count_text(body, "{\"id\":") != wanted[i].count) printf("  %s\n", wanted[i].path);
        CHECK_EQ_INT(count_text(body, "{\"id\":"), wanted[i].count);
    }
}
static void queries_ask_once_for_each(void) {
    int status;
    int64_t before = direct("select coalesce(sum(seq_tup_read + idx_tup_fetch), 0) from pg_stat_user_tables where relname = 'world'");
    get("/queries?queries=500", &status);
    int64_t after = before;
    for (int i = 0; i < 100 && after < before + 500; i++) {    // the server's statistics come late
        usleep(100000);
        get("/db", &status);
        after = direct("select coalesce(sum(seq_tup_read + idx_tup_fetch), 0) from pg_stat_user_tables where relname = 'world'");
    }
    CHECK(after >= before + 500);
}
static void updates_are_written(void) {
    char  sql[100];
    int   id, number, status, wrong = 0, n = 0;
    char *body = strdup(get("/updates?queries=20", &status));
    const char *at = body;
    for (; next_world(&at, &id, &number); n++) {
        snprintf(sql, sizeof sql, "select randomnumber from world where id = %d", id);
        wrong += direct(sql) != number || number < 1 || number > 10000;
    }
    CHECK_EQ_INT(n, 20);
    CHECK_EQ_INT(wrong, 0);
    free(body);
}
static void updates_at_once_do_not_lock_each_other_out(void) {
    int fds[16], status, good = 0;
    for (int i = 0; i < 16; i++) { fds[i] = dial(); request(fds[i], "/updates?queries=500"); }
    for (int i = 0; i < 16; i++) { reply(fds[i], &status); good += status == 200; close(fds[i]); }
    CHECK_EQ_INT(good, 16);
}
static void fortunes_are_sorted_and_escaped(void) {
    const char *text = ask("GET", "/fortunes", NULL);
    CHECK(has(text, "Content-Type: text/html; charset=utf-8"));
    CHECK(has(text, "<!DOCTYPE html><html><head><title>Fortunes</title></head><body><table><tr><th>id</th><th>message</th></tr><tr><td>"));
    CHECK(has(text, "</td></tr></table></body></html>"));
    CHECK_EQ_INT(count_text(text, "<tr><td>"), 13);
    CHECK(has(text, "<tr><td>0</td><td>Additional fortune added at request time.</td></tr>"));
    CHECK(has(text, "<td>&lt;script&gt;alert(&quot;This must be shown as text.&quot;)&lt;/script&gt;</td>"));
    CHECK(has(text, "Tabs &amp; spaces: &lt;both&gt; are &quot;right&quot;, said nobody&#39;s linter."));
    CHECK(has(text, "<td>七転び八起き</td></tr></table>"));
    CHECK(strstr(text, "<script>") == NULL);
    CHECK(strstr(text, "<td>11</td>") < strstr(text, "<td>1</td>") && strstr(text, "<td>1</td>") < strstr(text, "<td>0</td>"));
}
static void cached_queries_stop_asking(void) {
    int status;
    for (int i = 0; i < 300; i++) get("/cached-queries?count=500", &status);
    unsigned long long before, after;
    CHECK(sscanf(get("/asked", &status), "%llu", &before) == 1);
    get("/cached-queries?count=500", &status);
    CHECK(sscanf(get("/asked", &status), "%llu", &after) == 1);
    CHECK(after - before <= 5);                // 150,000 draws of 10,000: at most a few are new
}
CHOPIN_GET(asked, "/asked") { return chopin_textf(c, 200, "%llu", (unsigned long long)chopin_pg_stats(state_of(c)->pool).queries); }

static void async_db_filters_and_clamps(void) {
    int status;
    const char *body = get("/async-db?min=10&max=50&limit=5", &status);
    CHECK(has(body, "\"count\":5}") && count_text(body, "\"rating\"") == 5 && has(body, "\"tags\" : ["));
    CHECK(has(get("/async-db?min=-5&max=-1", &status), "{\"items\":[],\"count\":0}"));
    CHECK(has(get("/async-db?limit=0", &status), "\"count\":1}"));
    CHECK(has(get("/async-db?limit=900", &status), "\"count\":50}"));
    CHECK(has(get("/async-db?limit=x", &status), "\"count\":50}"));
}
static void crud_lists_pages(void) {
    int status;
    const char *body = get("/crud/items?category=electronics&page=1&limit=5", &status);
    CHECK(has(body, "\"total\":5,\"page\":1,\"limit\":5}") && count_text(body, "\"rating\"") == 5);
    char first[40];
    snprintf(first, sizeof first, "%.30s", body);
    CHECK(strncmp(get("/crud/items?category=electronics&page=2&limit=5", &status), first, strlen(first)) != 0);
    CHECK(has(get("/crud/items?limit=999", &status), "\"limit\":50}"));
    CHECK(has(get("/crud/items?category=none", &status), "{\"items\":[],\"total\":0,\"page\":1,\"limit\":10}"));
}
static void crud_caches_until_a_write(void) {
    CHECK(has(ask("GET", "/crud/items/42", NULL), "X-Cache: MISS"));
    CHECK(has(ask("GET", "/crud/items/42", NULL), "X-Cache: HIT"));
    CHECK(has(ask("GET", "/crud/items/42", NULL), "\"id\" : 42"));
    usleep(250000);
    CHECK(has(ask("GET", "/crud/items/42", NULL), "X-Cache: MISS"));
    CHECK(has(ask("POST", "/crud/items", "{\"id\":200001,\"name\":\"Bench \\\"Test\\\"\",\"category\":\"test\",\"price\":25,\"quantity\":10}"), "HTTP/1.1 201"));
    CHECK(has(ask("GET", "/crud/items/200001", NULL), "\"name\" : \"Bench \\\"Test\\\"\""));
    CHECK(has(ask("PUT", "/crud/items/200001", "{\"name\":\"Updated\",\"price\":30,\"quantity\":5}"), "HTTP/1.1 200"));
    const char *text = ask("GET", "/crud/items/200001", NULL);
    CHECK(has(text, "X-Cache: MISS") && has(text, "\"name\" : \"Updated\"") && has(text, "\"price\" : 30"));
}
static void crud_refuses_what_cannot_be(void) {
    CHECK(has(ask("GET", "/crud/items/999999", NULL), "HTTP/1.1 404"));
    CHECK(has(ask("GET", "/crud/items/99999999999", NULL), "HTTP/1.1 404"));
    CHECK(has(ask("PUT", "/crud/items/999999", "{\"name\":\"x\",\"price\":1,\"quantity\":1}"), "HTTP/1.1 404"));
    CHECK(has(ask("PUT", "/crud/items/1", "{}"), "HTTP/1.1 400"));
    CHECK(has(ask("POST", "/crud/items", "{\"id\":"), "HTTP/1.1 400"));
    CHECK(has(ask("POST", "/crud/items", "{\"id\":7}"), "HTTP/1.1 400"));
}
static void without_a_database_only_its_routes_fail(void) {
    int status;
    chopin_app *with = web_app;
    setenv("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none?connect_timeout=1", 1);
    web_app = chopin_new(&(chopin_options){ .workers = 1, .quiet = true, .no_env = true, .no_signals = true, .log = web_hush, .on_worker_start = worker_start, .on_worker_stop = worker_stop });
    chopin_mount_all(web_app);
    pthread_t thread = web_thread;
    web_start();
    CHECK(strcmp(get("/plaintext", &status), "Hello, World!") == 0);
    get("/db", &status);
    CHECK_EQ_INT(status, 503);
    CHECK(has(get("/async-db", &status), "{\"items\":[],\"count\":0}"));
    web_stop();
    web_app = with;
    web_thread = thread;
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    if (!getenv("CHOPIN_PG_URL")) { printf("SKIPPED test_pg_tfb: no server; run it by tests/pg.sh\n0 passed, 0 failed\n"); return 77; }
    setenv("DATABASE_URL", getenv("CHOPIN_PG_URL"), 1);
    CHECK_EQ_INT(create(), 0);
    CHECK_EQ_INT(create(), 0);                                 // twice does no harm
    slot *cache = calloc(SLOTS, sizeof *cache);
    for (int i = 0; i < SLOTS; i++) pthread_mutex_init(&cache[i].lock, NULL);
    web_app = chopin_new(&(chopin_options){ .workers = 1, .quiet = true, .no_env = true, .no_signals = true, .log = web_hush, .user = cache,
                                            .on_worker_start = worker_start, .on_worker_stop = worker_stop });
    chopin_mount_all(web_app);
    web_start();
    RUN(plaintext_and_json_need_no_database);
    RUN(db_gives_one_row_of_the_table);
    RUN(counts_are_clamped);
    RUN(queries_ask_once_for_each);
    RUN(updates_are_written);
    RUN(updates_at_once_do_not_lock_each_other_out);
    RUN(fortunes_are_sorted_and_escaped);
    RUN(cached_queries_stop_asking);
    RUN(async_db_filters_and_clamps);
    RUN(crud_lists_pages);
    RUN(crud_caches_until_a_write);
    RUN(crud_refuses_what_cannot_be);
    RUN(without_a_database_only_its_routes_fail);
    web_stop();
    free(cache);
    chopin_pg *pg = chopin_pg_open(&(chopin_pg_options){ .url = getenv("CHOPIN_PG_URL"), .no_env = true, .log = quiet });
    chopin_pg_exec(pg, "drop table world, fortune, items");
    chopin_pg_close(pg);
    return TEST_END();
}
