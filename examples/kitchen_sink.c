/* kitchen_sink.c - one route per feature; what tests/live.py and conformance suites talk to.
   cc -O2 -pthread examples/kitchen_sink.c -o kitchen_sink && ./kitchen_sink
   Try: ./kitchen_sink routes                               the table of everything below
        curl -i -d 'a body' http://127.0.0.1:8080/echo      curl -i http://127.0.0.1:8080/crash */
#define CHOPIN_IMPLEMENTATION
#include "../chopin.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- replies ---- */

CHOPIN_GET(plaintext, "/plaintext") { return chopin_bytes_static(c, 200, "text/plain", CHOPIN_STR("Hello, World!")); }
CHOPIN_GET(json,      "/json")      { return chopin_jsonf(c, 200, "{message:%s}", "Hello, World!"); }
CHOPIN_GET(ping,      "/ping")      { return chopin_text(c, 200, "pong\n"); }
CHOPIN_GET(admin,     "/admin")     { return chopin_text(c, 200, "admin\n"); }       // what smuggled requests try to reach
CHOPIN_GET(html,      "/html")      { return chopin_html(c, 200, "<!doctype html><title>hi</title><p>hi\n"); }
CHOPIN_GET(redirect,  "/redirect")  { return chopin_redirect(c, 303, "/ping"); }
CHOPIN_HEAD(head,     "/head")      { chopin_set(c, "X-Answers", "HEAD alone"); return chopin_empty(c, 200); }

CHOPIN_GET(status, "/status/:code") {
    int64_t code;
    if (chopin_get_i64(c, CHOPIN_FROM_PARAM, "code", &code)) return 0;
    if (code < 200 || code > 599) return chopin_fail(c, 400, "200 to 599");
    return chopin_empty(c, (int)code);
}

/* Owned bytes: Chopin calls free() once they are sent. "abc...zabc...", so that a test sees a missing or a doubled piece. */
CHOPIN_GET(large, "/large/:bytes") {
    uint64_t size;
    if (chopin_get_u64(c, CHOPIN_FROM_PARAM, "bytes", &size)) return 0;
    if (size > 64u << 20) return chopin_fail(c, 400, "64 MiB at most");
    char *text = malloc(size + 1);
    if (!text) return chopin_fail(c, 503, "no memory");
    for (size_t i = 0; i < size; i++) text[i] = (char)('a' + i % 26);
    return chopin_bytes_owned(c, 200, "text/plain", (chopin_str){ text, (size_t)size }, free, text);
}

CHOPIN_GET(early_hints, "/early-hints") {
    chopin_early_hints(c, (const char *const[]){ "</style.css>; rel=preload; as=style", NULL });
    return chopin_text(c, 200, "after the hints\n");
}

/* ---- the request ---- */

CHOPIN_GET(user, "/user/:id") { return chopin_bytes(c, 200, "text/plain; charset=utf-8", chopin_param(c, "id")); }
CHOPIN_GET(rest, "/rest/*all") { return chopin_bytes(c, 200, "text/plain; charset=utf-8", chopin_param(c, "all")); }

CHOPIN_GET(query, "/query") {
    chopin_str x;
    if (chopin_get_str(c, CHOPIN_FROM_QUERY, "x", &x)) return 0;
    return chopin_bytes(c, 200, "text/plain; charset=utf-8", x);
}

/* The getters answer 400 with the name of what is wrong; the `_or` kind takes its default. */
CHOPIN_GET(typed, "/typed/:id<u64>") {
    static const char *const colours[] = { "red", "green", "blue", NULL };
    uint64_t id;
    double   ratio;
    bool     on;
    int      colour;
    if (chopin_get_u64(c, CHOPIN_FROM_PARAM, "id", &id) || chopin_get_f64(c, CHOPIN_FROM_QUERY, "ratio", &ratio)
        || chopin_get_bool(c, CHOPIN_FROM_QUERY, "on", &on) || chopin_get_enum(c, CHOPIN_FROM_QUERY, "colour", colours, &colour)) return 0;
    return chopin_jsonf(c, 200, "{id:%llu,ratio:%f,on:%b,colour:%s,page:%lld}", (unsigned long long)id, ratio, on, colours[colour],
                        (long long)chopin_get_i64_or(c, CHOPIN_FROM_QUERY, "page", 1));
}

/* All request headers, one a line, as they came. */
CHOPIN_GET(headers, "/headers") {
    chopin_str name, value, all = CHOPIN_STR("");
    for (size_t at = 0; chopin_header_each(c, &at, &name, &value); ) {
        all = chopin_printf(c, "%.*s%.*s: %.*s\n", CHOPIN_FMT(all), CHOPIN_FMT(name), CHOPIN_FMT(value));
    }
    return chopin_bytes(c, 200, "text/plain", all);
}

/* A value from outside becomes a header: the setter refuses what would split the reply. */
CHOPIN_GET(reflect, "/reflect") {
    if (chopin_set_str(c, "X-Reflect", chopin_query(c, "x")) < 0) return chopin_fail(c, 400, "not a header value");
    return chopin_text(c, 200, "see X-Reflect\n");
}

CHOPIN_GET(cookies_set, "/cookies/set") {
    chopin_set_cookie(c, "session", "s3cret", NULL);                                   // Path=/, HttpOnly, Secure, SameSite=Lax
    chopin_set_cookie(c, "theme", "dark", &(chopin_cookie_options){ .max_age_s = 3600, .no_http_only = true, .no_secure = true });
    return chopin_text(c, 200, "two cookies\n");
}
CHOPIN_GET(cookies_read, "/cookies/read") { return chopin_textf(c, 200, "theme=%.*s\n", CHOPIN_FMT(chopin_cookie(c, "theme"))); }

CHOPIN_GET(peer, "/peer") {
    return chopin_jsonf(c, 200, "{peer:%q,port:%d,client:%q,request_id:%q}", chopin_peer_address(c), chopin_peer_port(c), chopin_client_address(c), chopin_request_id(c));
}

/* ---- bodies ---- */

CHOPIN_POST(echo, "/echo") {
    chopin_str body = chopin_body(c);
    return body.ptr ? chopin_bytes(c, 200, "application/octet-stream", body) : 0;        // absent: answered already
}

CHOPIN_POST(form, "/form") {
    chopin_str name = chopin_form(c, "name");
    return name.ptr ? chopin_textf(c, 200, "Hello, %.*s!\n", CHOPIN_FMT(name)) : chopin_fail(c, 400, "the form wants a name");
}

CHOPIN_POST(trailer, "/trailer") {
    if (!chopin_body(c).ptr) return 0;
    return chopin_bytes(c, 200, "text/plain", chopin_trailer(c, "X-Sum"));
}

CHOPIN_POST(unread, "/unread") { return chopin_text(c, 200, "I have not looked\n"); }

/* One line for each part of a form: its name, the name of its file made safe, its type, its bytes. */
static int upload_parts(chopin_ctx *c) {
    char   text[4096], buf[4096];
    size_t len = 0;
    int    rc;
    for (chopin_part p; (rc = chopin_next_part(c, &p)) > 0; ) {
        int64_t n, bytes = 0;
        while ((n = chopin_part_read(c, buf, sizeof buf)) > 0) bytes += n;
        if (n < 0) return 0;
        int more = snprintf(text + len, sizeof text - len, "%.*s [%.*s] %.*s %lld\n", CHOPIN_FMT(p.name), CHOPIN_FMT(p.safe_name), CHOPIN_FMT(p.type), (long long)bytes);
        len = more > 0 && (size_t)more < sizeof text - len ? len + (size_t)more : len;
    }
    return rc < 0 ? 0 : chopin_bytes(c, 200, "text/plain; charset=utf-8", (chopin_str){ text, len });
}

/* Mounted by hand: its limit is its own. */
static int upload(chopin_ctx *c) {
    chopin_str type = chopin_header_of(c, CHOPIN_H_CONTENT_TYPE);
    if (type.len > 10 && memcmp(type.ptr, "multipart/", 10) == 0) return upload_parts(c);
    chopin_str body = chopin_body(c);
    return body.ptr ? chopin_textf(c, 200, "%zu bytes\n", body.len) : 0;
}

/* Streams: a body of any size is counted and forgotten, a reply of any size is made as it is sent. */
static int count_body(chopin_ctx *c) {
    char    *buf = chopin_alloc(c, 65536);
    uint64_t bytes = 0;
    int64_t  n;
    while (buf && (n = chopin_read(c, buf, 65536)) > 0) bytes += (uint64_t)n;
    return !buf || n < 0 ? 0 : chopin_textf(c, 200, "%llu bytes\n", (unsigned long long)bytes);
}

CHOPIN_GET(stream, "/stream/:n") {
    int64_t lines = chopin_get_i64_or(c, CHOPIN_FROM_PARAM, "n", 10);
    int     rc = chopin_begin(c, 200, "text/plain");
    for (int64_t i = 0; i < lines && rc == CHOPIN_OK; i++) rc = chopin_writef(c, "line %lld\n", (long long)i);
    return rc;
}

CHOPIN_GET(download, "/download/:bytes") {
    uint64_t size;
    char    *buf = chopin_alloc(c, 65536);
    if (!buf || chopin_get_u64(c, CHOPIN_FROM_PARAM, "bytes", &size)) return 0;
    int rc = chopin_begin_sized(c, 200, "application/octet-stream", size);
    for (uint64_t left = size, n; left && rc == CHOPIN_OK; left -= n) rc = chopin_write(c, buf, (size_t)(n = left < 65536 ? left : 65536));
    return rc;
}

CHOPIN_GET(sse, "/sse") {
    int64_t count = chopin_get_i64_or(c, CHOPIN_FROM_QUERY, "n", 5);
    int     rc = chopin_sse(c);
    for (int64_t i = 0; i < count && rc == CHOPIN_OK; i++) {
        rc = chopin_sse_send(c, "tick", "%lld", (long long)i);
        if (rc == CHOPIN_OK) rc = chopin_sleep(c, 10);
    }
    return rc;
}

CHOPIN_GET(ws, "/ws") {
    chopin_ws *ws = chopin_ws_accept(c, &(chopin_ws_options){ .protocols = "echo.v2, echo.v1" });
    for (chopin_ws_message m; chopin_ws_recv(ws, &m) == CHOPIN_OK; ) chopin_ws_send(ws, m.kind, m.data);
    return 0;
}

/* Subscribes to the topic in the path; what one says all hear. */
CHOPIN_GET(topic, "/ws/topic/:name") {
    chopin_str name = chopin_printf(c, "%.*s", CHOPIN_FMT(chopin_param(c, "name")));
    chopin_ws *ws = chopin_ws_accept(c, NULL);
    chopin_ws_subscribe(ws, name.ptr);
    for (chopin_ws_message m; chopin_ws_recv(ws, &m) == CHOPIN_OK; ) chopin_ws_broadcast(chopin_app_of(c), name.ptr, m.kind, m.data);
    return 0;
}

/* HttpArena's baseline: the sum of `a`, `b` and, with POST, a number in the body. */
static int baseline(chopin_ctx *c, int64_t more) {
    int64_t a, b, sum;
    if (chopin_get_i64(c, CHOPIN_FROM_QUERY, "a", &a) || chopin_get_i64(c, CHOPIN_FROM_QUERY, "b", &b)) return 0;
    if (__builtin_add_overflow(a, b, &sum) || __builtin_add_overflow(sum, more, &sum)) return chopin_fail(c, 400, "the sum does not fit");
    return chopin_textf(c, 200, "%lld", (long long)sum);
}
CHOPIN_GET(baseline_get, "/baseline11") { return baseline(c, 0); }
CHOPIN_POST(baseline_post, "/baseline11") {
    chopin_str body = chopin_body(c);
    if (!body.ptr) return 0;
    return baseline(c, strtoll(chopin_printf(c, "%.*s", CHOPIN_FMT(body)).ptr, NULL, 10));
}

/* ---- waiting ---- */

static int nap(chopin_ctx *c) {
    int64_t ms;
    if (chopin_get_i64(c, CHOPIN_FROM_PARAM, "ms", &ms)) return 0;
    if (ms < 0 || ms > 60000) return chopin_fail(c, 400, "0 to 60000 ms");
    int rc = chopin_sleep(c, ms);
    return rc < 0 ? rc : chopin_textf(c, 200, "slept %lld ms\n", (long long)ms);
}
CHOPIN_GET(nap_sleep, "/sleep/:ms") { return nap(c); }
CHOPIN_GET(nap_delay, "/delay/:ms") { return nap(c); }                                   // HttpArena's name for it

/* Work that would hold the loop runs on the pool; the argument may live on the parked handler's stack. */
static int add_up(void *arg) {
    uint64_t *n = arg, sum = 0;
    for (uint64_t i = 1; i <= *n; i++) sum += i;
    *n = sum;
    return 0;
}
CHOPIN_GET(offload, "/offload") {
    uint64_t n = 1000;
    int rc = chopin_offload(c, add_up, &n);
    return rc < 0 ? rc : chopin_textf(c, 200, "%llu\n", (unsigned long long)n);
}

/* A thread of ours works; chopin_post() brings the news to the loop, which wakes the handler. Whoever comes last frees the job: the handler
   when it has the news, else the message (its request has ended), else the thread (there was nobody left to post to). */
typedef struct job { chopin_handle handle; char text[32]; bool done; } job;
static void job_done(chopin_ctx *c, void *arg) {
    job *j = arg;
    if (!c) { free(j); return; }
    j->done = true;
    chopin_wake(c);
}
static void *job_run(void *arg) {
    job *j = arg;
    snprintf(j->text, sizeof j->text, "from another thread\n");
    if (chopin_post(j->handle, job_done, j) < 0) free(j);
    return NULL;
}
static bool job_start(job *j) {
    pthread_t thread;
    return pthread_create(&thread, NULL, job_run, j) == 0 && pthread_detach(thread) == 0;
}
CHOPIN_GET(post, "/post") {
    job *j = calloc(1, sizeof *j);
    if (j) j->handle = chopin_handle_of(c);
    if (!j || !job_start(j)) { free(j); return chopin_fail(c, 503, "no thread"); }
    int rc = chopin_park(c, -1);
    if (!j->done) return rc < 0 ? rc : CHOPIN_STATE;                                     // the client is gone: the message will find nobody
    rc = chopin_text(c, 200, chopin_printf(c, "%s", j->text).ptr);
    free(j);
    return rc;
}

/* ---- mistakes ---- */

CHOPIN_GET(panic,     "/panic")     { chopin_panic(c, "somebody asked for it"); }
CHOPIN_GET(forgotten, "/forgotten") { (void)c; return 0; }                               // 500, and the log names this route
CHOPIN_GET(twice,     "/twice")     { chopin_text(c, 200, "first\n"); return chopin_text(c, 200, "second\n"); }
CHOPIN_GET(negative,  "/negative")  { (void)c; return CHOPIN_SYSTEM; }
CHOPIN_GET(crash_abort, "/crash/abort") { (void)c; abort(); }

static int *volatile nowhere;
CHOPIN_GET(crash, "/crash") { *nowhere = 1; return chopin_text(c, 200, "not reached\n"); }

static volatile int bottom = 1 << 30;
static int sink(int depth) {
    volatile char frame[1024];
    frame[0] = (char)depth;
    if (depth == bottom) return 0;
    return sink(depth + 1) + frame[0];
}
CHOPIN_GET(crash_stack, "/crash/stack") { return chopin_textf(c, 200, "%d\n", sink(0)); }

/* ---- groups, middleware ---- */

static int marks(chopin_ctx *c) {
    int rc = chopin_next(c);
    chopin_add(c, "X-Chain", chopin_use_data(c));
    return rc;
}
static int bouncer(chopin_ctx *c) {
    return chopin_query(c, "secret").ptr ? chopin_next(c) : chopin_fail(c, 403, "say the secret");
}
static int inside(chopin_ctx *c)  { return chopin_text(c, 200, chopin_group_user(c)); }
static int welcome(chopin_ctx *c) { return chopin_text(c, 200, "welcome\n"); }

static void mount_group(chopin_app *app) {
    static char outer[] = "outer", inner[] = "inner", who[] = "in the group\n";
    static const chopin_handler guards[] = { bouncer, NULL };
    chopin_group *group = chopin_group_new(app, "/group");
    chopin_group_set_user(group, who);
    chopin_use_with(group, "/", marks, outer);
    chopin_use_with(group, "/deep", marks, inner);
    chopin_route(group, "GET", "/",        inside, NULL);
    chopin_route(group, "GET", "/deep",    inside, NULL);
    chopin_route(group, "GET", "/private", inside, &(chopin_route_options){ .use = guards });
}

static void mount_ready_made(chopin_app *app) {
    chopin_fixed(app, "/health", "text/plain", "OK\n");
    chopin_fixed_with(app, "/fixed", &(chopin_fixed_options){ .body = CHOPIN_STR("ready bytes\n"), .cache_control = "public, max-age=60", .headers = "X-Kind: fixed\r\n" });
    chopin_cors(app, "/cors", &(chopin_cors_options){ .origins = "https://a.test, https://b.test", .credentials = true });
    chopin_route(app, "GET", "/cors", welcome, NULL);
    chopin_limit(app, "/limited", &(chopin_limit_options){ .per_second = 0.1, .burst = 3 });
    chopin_route(app, "GET", "/limited", welcome, NULL);
    chopin_origin_check(app, "/origin", NULL);
    chopin_route(app, "POST", "/origin", welcome, NULL);
}

/* Takes "--docroot FOLDER" out of the arguments; chopin_main() knows nothing of it. */
static const char *take_docroot(int *argc, char **argv) {
    for (int i = 1; i + 1 < *argc; i++) {
        if (strcmp(argv[i], "--docroot") != 0) continue;
        const char *folder = argv[i + 1];
        memmove(&argv[i], &argv[i + 2], (size_t)(*argc - i - 1) * sizeof *argv);
        *argc -= 2;
        return folder;
    }
    return NULL;
}

int main(int argc, char **argv) {
    const char *docroot = take_docroot(&argc, argv);
    chopin_app *app = chopin_new(&(chopin_options){ .contain_faults = true });
    if (docroot) chopin_files(app, "/static", docroot, &(chopin_files_options){ .listing = true, .precompressed = true, .cache_control = "public, max-age=60" });
    chopin_route(app, "POST", "/sink", count_body, &(chopin_route_options){ .max_body = CHOPIN_NO_LIMIT });
    mount_group(app);
    mount_ready_made(app);
    chopin_route(app, "POST", "/upload", upload, &(chopin_route_options){ .max_body = 16 << 20 });
    return chopin_main(argc, argv, app);
}
