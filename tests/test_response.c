/* test_response.c - replies as a client sees them: framing, sizes, headers, errors, who is told about mistakes.
 * Build: cc -O1 -g tests/test_response.c -o build/test_response -pthread -lm */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER
#include "test.h"
#include "kit.h"

/* ---- what every test needs ---- */

static char said[65536];                                     // what the app has logged since log_reset()

static void log_reset(void) { said[0] = 0; }
static void remember(void *user, chopin_level level, const char *text) {
    size_t n = strlen(said);
    (void)user;
    snprintf(said + n, sizeof said - n, "%d %s\n", (int)level, text);
}

static chopin_options listening(void) {
    chopin_options o = kit_options();
    o.quiet = false;
    o.log = remember;
    o.no_date = true;
    return o;
}

static int pass(chopin_ctx *c) { return chopin_next(c); }

/* An app with one route for GET and POST; `covered`: with middleware around it, so that the reply is held until that has returned. */
#define app_of(handler, covered)   app_named(handler, #handler, covered)
#define reply_of(handler, covered) reply_named(handler, #handler, covered)
static chopin_app *app_named(chopin_handler handler, const char *name, bool covered) {
    chopin_options o = listening();
    chopin_app *app = chopin_new(&o);
    chopin_route_at(app, "GET", "/x", handler, NULL, name, __FILE__, __LINE__);
    if (covered) chopin_use(app, "/", pass);
    log_reset();
    return app;
}

static chopin_str get(chopin_app *app, const char *path) {
    char request[512];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: t\r\n\r\n", path);
    return kit_play_z(app, request);
}

/* The reply of one handler, copied: it outlives its app. */
static chopin_str reply_named(chopin_handler handler, const char *name, bool covered) {
    static char copy[1 << 16];
    chopin_app *app = app_named(handler, name, covered);
    chopin_str  reply = get(app, "/x");
    size_t      n = reply.len < sizeof copy ? reply.len : sizeof copy;
    if (n) memcpy(copy, reply.ptr, n);
    chopin_free(app);
    return (chopin_str){ copy, n };
}

/* ---- control bytes ---- */

static char hostile_byte;
static int  entry;
enum { SET, SET_STR, ADD, SETF, SETF_NUL, REDIRECT, COOKIE_NAME, COOKIE_VALUE, COOKIE_PATH, COOKIE_DOMAIN, TYPE_OF_BYTES, TYPE_OF_STATIC, TYPE_BY_SET, NAME, HINT, ENTRIES };

static int hostile_call(chopin_ctx *c, const char *value, size_t len) {
    const char *hints[] = { value, NULL };
    switch (entry) {
    case SET:            return chopin_set(c, "X-Bad", value);
    case SET_STR:        return chopin_set_str(c, "X-Bad", (chopin_str){ value, len });
    case ADD:            return chopin_add(c, "X-Bad", value);
    case SETF:           return chopin_setf(c, "X-Bad", "%s", value);
    case SETF_NUL:       return chopin_setf(c, "X-Bad", "a%cb", 0);
    case REDIRECT:       return chopin_redirect(c, 302, value);
    case COOKIE_NAME:    return chopin_set_cookie(c, value, "v", NULL);
    case COOKIE_VALUE:   return chopin_set_cookie(c, "bad", value, NULL);
    case COOKIE_PATH:    return chopin_set_cookie(c, "bad", "v", &(chopin_cookie_options){ .path = value });
    case COOKIE_DOMAIN:  return chopin_set_cookie(c, "bad", "v", &(chopin_cookie_options){ .domain = value });
    case TYPE_OF_BYTES:  return chopin_bytes(c, 200, value, CHOPIN_STR("x"));
    case TYPE_OF_STATIC: return chopin_bytes_static(c, 200, value, CHOPIN_STR("x"));
    case TYPE_BY_SET:    return chopin_set(c, "Content-Type", value);
    case NAME:           return chopin_set(c, value, "v");
    case HINT:           return chopin_early_hints(c, hints);
    default:             return CHOPIN_OK;
    }
}

static int hostile(chopin_ctx *c) {
    const char value[] = { '/', 'a', hostile_byte, 'E', 'v', 'i', 'l', ':', 'y', 0 };
    CHECK_EQ_INT(hostile_call(c, value, 9), CHOPIN_INVALID);
    CHECK_EQ_INT(chopin_reply_status(c), 0);                 // refusing is not answering
    return chopin_text(c, 200, "fine");
}

static void refuses_control_bytes(void) {
    for (entry = 0; entry < ENTRIES; entry++) {
        for (int byte = 0; byte < 128; byte++) {
            bool control = (byte < 0x20 && byte != '\t') || byte == 0x7f;
            bool as_text = entry != SET_STR && entry != SETF_NUL;
            if (!control || (byte == 0 && as_text) || (entry == SETF_NUL && byte)) continue;
            hostile_byte = (char)byte;
            chopin_str reply = reply_of(hostile, false);
            CHECK_EQ_INT(kit_status(reply), 200);
            CHECK(!kit_has(reply, "Evil") && !kit_has(reply, "X-Bad"));
        }
    }
}

static void set_up_refuses_control_bytes(void) {
    static const struct { const char *cache, *origin, *headers, *type; } bad[] = {
        { "a\r\nEvil: y", NULL, NULL, NULL }, { NULL, "a\r\nEvil: y", NULL, NULL }, { NULL, NULL, "A: b\r\nEvil", NULL }, { NULL, NULL, "A: b\n", NULL },
        { NULL, NULL, "A: \x01\r\n", NULL },  { NULL, NULL, ": b\r\n", NULL },      { NULL, NULL, NULL, "a\r\nEvil: y" }, { NULL, NULL, "A B: c\r\n", NULL },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        chopin_options o = listening();
        chopin_app *app = chopin_new(&o);
        chopin_fixed_options f = { .body = CHOPIN_STR("x"), .cache_control = bad[i].cache, .allow_origin = bad[i].origin, .headers = bad[i].headers, .type = bad[i].type };
        if (!CHECK_EQ_INT(chopin_fixed_with(app, "/f", &f), CHOPIN_INVALID)) printf("case %zu\n", i);
        chopin_free(app);
    }
    static const chopin_cors_options cors[] = {
        { .origins = "*", .methods = "GET\r\nEvil: y" }, { .origins = "*", .headers = "A\nB" }, { .origins = "*", .expose = "A\x7f" }, { .origins = "a\r\nb" },
        { .origins = "https://a.test\r\nEvil: y" },
    };
    for (size_t i = 0; i < sizeof cors / sizeof cors[0]; i++) {
        chopin_options o = listening();
        chopin_app *app = chopin_new(&o);
        if (!CHECK_EQ_INT(chopin_cors(app, "/", &cors[i]), CHOPIN_INVALID)) printf("case %zu\n", i);
        chopin_free(app);
    }
}

static int framing_headers(chopin_ctx *c) {
    static const char *const ours[] = { "Content-Length", "transfer-encoding", "CONNECTION", "Date" };
    for (size_t i = 0; i < 4; i++) {
        CHECK_EQ_INT(chopin_set(c, ours[i], "5"), CHOPIN_INVALID);
        CHECK_EQ_INT(chopin_add(c, ours[i], "5"), CHOPIN_INVALID);
    }
    return chopin_text(c, 200, "four");
}

static void framing_headers_belong_to_the_server(void) {
    chopin_str reply = reply_of(framing_headers, false);
    CHECK_EQ_INT(kit_count(reply, "Content-Length"), 1);
    CHECK(kit_has(reply, "Content-Length: 4\r\n") && !kit_has(reply, "5\r\n"));
    chopin_options o = listening();
    chopin_app *app = chopin_new(&o);
    CHECK_EQ_INT(chopin_fixed_with(app, "/f", &(chopin_fixed_options){ .body = CHOPIN_STR("x"), .headers = "Content-Length: 7\r\n" }), CHOPIN_INVALID);
    chopin_free(app);
}

/* ---- HEAD, and statuses without a body ---- */

static char *big;                                            // BIG bytes of a pattern
#define BIG ((16u << 20) + 16)

static void make_big(void) {
    big = malloc(BIG);
    for (size_t i = 0; i < BIG; i++) big[i] = (char)('a' + (i * 7 + i / 251) % 26);
}

static int  plain(chopin_ctx *c)   { return chopin_text(c, 200, "hello"); }
static int  large(chopin_ctx *c)   { return chopin_bytes(c, 200, "text/plain", (chopin_str){ big, 300000 }); }
static int  kept(chopin_ctx *c)    { return chopin_bytes_static(c, 200, "text/plain", (chopin_str){ big, 300000 }); }
static int  created(chopin_ctx *c) { chopin_set(c, "Location", "/x/1"); return chopin_jsonf(c, 201, "{id:%d}", 1); }
static int  missing(chopin_ctx *c) { return chopin_fail(c, 404, "no such thing"); }
static int  broken(chopin_ctx *c)  { (void)c; return CHOPIN_SYSTEM; }
static int  nothing(chopin_ctx *c) { return chopin_empty(c, 204); }

/* Does the reply to HEAD equal the head of the reply to GET, to the byte, and nothing more? */
static bool head_matches(chopin_app *app, const char *path) {
    char request[256];
    chopin_str reply = get(app, path), body = kit_body(reply);
    size_t     head = reply.len - body.len;
    char      *want = malloc(head + 1);
    memcpy(want, reply.ptr, head);
    // A second request behind it proves that no byte of a body follows.
    snprintf(request, sizeof request, "HEAD %s HTTP/1.1\r\nHost: t\r\n\r\nGET /plain HTTP/1.1\r\nHost: t\r\n\r\n", path);
    reply = kit_play_z(app, request);
    bool same = reply.len > head && memcmp(reply.ptr, want, head) == 0 && memcmp(reply.ptr + head, "HTTP/1.1 200 OK\r\n", 17) == 0;
    if (!same) printf("HEAD %s: %.*s\nGET %s: %.*s\n", path, (int)(reply.len < 600 ? reply.len : 600), reply.ptr, path, (int)head, want);
    free(want);
    return same;
}

static void head_equals_get_without_body(void) {
    for (int covered = 0; covered < 2; covered++) {
        chopin_options o = listening();
        chopin_app *app = chopin_new(&o);
        chopin_route(app, "GET", "/plain", plain, NULL);
        chopin_route(app, "GET", "/large", large, NULL);
        chopin_route(app, "GET", "/kept", kept, NULL);
        chopin_route(app, "GET", "/created", created, NULL);
        chopin_route(app, "GET", "/missing", missing, NULL);
        chopin_route(app, "GET", "/broken", broken, NULL);
        chopin_route(app, "GET", "/nothing", nothing, NULL);
        chopin_fixed(app, "/fixed", NULL, "ready");
        if (covered) chopin_use(app, "/", pass);
        static const char *const paths[] = { "/plain", "/large", "/kept", "/created", "/missing", "/broken", "/nothing", "/fixed", "/nowhere" };
        for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) CHECK(head_matches(app, paths[i]));
        chopin_free(app);
    }
}

static int asked_status, came_back;
static int text_of_status(chopin_ctx *c)  { return came_back = chopin_text(c, asked_status, "body"); }
static int empty_of_status(chopin_ctx *c) { return came_back = chopin_empty(c, asked_status); }

static void bodyless_statuses_have_no_body_headers(void) {
    static const int statuses[] = { 204, 304 };
    for (size_t i = 0; i < 4; i++) {
        asked_status = statuses[i / 2];
        chopin_str reply = reply_of(text_of_status, i & 1);
        CHECK_EQ_INT(kit_status(reply), asked_status);
        CHECK(!kit_has(reply, "Content-Length") && !kit_has(reply, "Content-Type") && !kit_has(reply, "body"));
        CHECK_EQ_INT(kit_body(reply).len, 0);
    }
    asked_status = 205;                                      // no content either, but its length is told (RFC 9110 15.3.6)
    chopin_str reply = reply_of(text_of_status, false);
    CHECK(kit_has(reply, "Content-Length: 0\r\n") && !kit_has(reply, "body"));
    asked_status = 200;
    reply = reply_of(empty_of_status, false);
    CHECK(kit_has(reply, "Content-Length: 0\r\n") && !kit_has(reply, "Content-Type"));
}

/* ---- sizes ---- */

static size_t     body_size;
static int        body_kind, released, handled;
static void       release(void *arg) { CHECK(arg == &released); released++; }
enum { COPIED, BORROWED, STATIC, OWNED, KINDS };

static int sized(chopin_ctx *c) {
    chopin_str body = { big, body_size };
    handled++;
    if (body_kind == COPIED)   return chopin_textf(c, 200, "%.*s", (int)body.len, body.ptr);
    if (body_kind == STATIC)   return chopin_bytes_static(c, 200, "text/plain", body);
    if (body_kind == OWNED)    return chopin_bytes_owned(c, 200, "text/plain", body, release, &released);
    char *mine = malloc(body.len + 1);                       // dies with this function, as borrowed bytes may
    memcpy(mine, body.ptr, body.len);
    int rc = chopin_bytes(c, 200, "text/plain", (chopin_str){ mine, body.len });
    memset(mine, '!', body.len);
    free(mine);
    return rc;
}

static void play_size(chopin_app *app, size_t size, size_t write_step) {
    char length[64];
    body_size = size;
    released = 0;
    chopin_str reply = chopin_test_request(app, CHOPIN_STR("GET /x HTTP/1.1\r\nHost: t\r\n\r\n"), &(chopin_test_options){ .write_step = write_step, .seed = write_step ? size + 1 : 0 });
    chopin_str body = kit_body(reply);
    snprintf(length, sizeof length, "Content-Length: %zu\r\n", size);
    CHECK_EQ_INT(kit_status(reply), 200);
    CHECK(kit_has((chopin_str){ reply.ptr, reply.len - body.len }, length));
    CHECK_EQ_INT(body.len, size);
    CHECK(body.len == size && memcmp(body.ptr, big, size) == 0);
    CHECK_EQ_INT(released, body_kind == OWNED);
}

static void replies_of_every_size(void) {
    static const size_t sizes[] = { 0, 1, 4095, 4096, 4097, 32767, 32768, 32769, 65535, 65536, 65537 };
    for (body_kind = 0; body_kind < KINDS; body_kind++) {
        for (int covered = 0; covered < 2; covered++) {
            chopin_app *app = app_of(sized, covered);
            for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
                play_size(app, sizes[i], 0);
                play_size(app, sizes[i], sizes[i] < 5000 ? 1 : 3000);
            }
            chopin_free(app);
        }
    }
}

static void single_bytes_are_enough_for_any_reply(void) {
    body_kind = BORROWED;
    chopin_app *app = app_of(sized, false);
    play_size(app, 65537, 1);
    chopin_free(app);
}

static void sixteen_mebibytes(void) {
    for (body_kind = 0; body_kind < KINDS; body_kind++) {
        for (int covered = 0; covered < 2; covered++) {
            chopin_options o = listening();
            o.max_arena = 64u << 20;
            chopin_app *app = chopin_new(&o);
            chopin_route(app, "GET", "/x", sized, NULL);
            if (covered) chopin_use(app, "/", pass);
            for (int off = -1; off <= 1; off++) play_size(app, (size_t)((16 << 20) + off), 100000);
            chopin_free(app);
        }
    }
}

/* Ten pipelined replies of mixed kinds and sizes leave whole and in order. */
static int mixed(chopin_ctx *c) {
    body_kind = (int)chopin_get_i64_or(c, CHOPIN_FROM_QUERY, "kind", 0);
    body_size = (size_t)chopin_get_i64_or(c, CHOPIN_FROM_QUERY, "size", 0);
    return sized(c);
}

static void pipelined_replies_keep_their_order(void) {
    static const size_t sizes[] = { 3, 5000, 0, 70000, 4096, 100, 40000, 1, 4097, 200 };
    chopin_app *app = app_of(mixed, false);
    char   requests[2048] = "";
    size_t at = 0;
    for (size_t i = 0; i < 10; i++) sprintf(requests + strlen(requests), "GET /x?kind=%zu&size=%zu HTTP/1.1\r\nHost: t\r\n\r\n", i % KINDS, sizes[i]);
    released = 0;
    chopin_str reply = chopin_test_request(app, (chopin_str){ requests, strlen(requests) }, &(chopin_test_options){ .write_step = 777, .seed = 5 });
    for (size_t i = 0; i < 10; i++) {
        chopin_str rest = { reply.ptr + at, reply.len - at }, body = kit_body(rest);
        char length[64];
        snprintf(length, sizeof length, "Content-Length: %zu\r\n", sizes[i]);
        CHECK_EQ_INT(kit_status(rest), 200);
        if (!CHECK(body.ptr && body.len >= sizes[i])) break;
        CHECK(kit_has((chopin_str){ rest.ptr, rest.len - body.len }, length));
        CHECK(memcmp(body.ptr, big, sizes[i]) == 0);
        at = (size_t)(body.ptr - reply.ptr) + sizes[i];
    }
    CHECK_EQ_INT(at, reply.len);
    CHECK_EQ_INT(released, 2);
    chopin_free(app);
}

static void owned_bytes_are_released_when_the_client_leaves(void) {
    for (int covered = 0; covered < 2; covered++) {
        body_kind = OWNED;
        body_size = 1 << 20;
        released = handled = 0;
        chopin_app *app = app_of(sized, covered);
        chopin_test_request(app, CHOPIN_STR("GET /x HTTP/1.1\r\nHost: t\r\n\r\n"), &(chopin_test_options){ .write_step = 1000, .reset = true });
        CHECK_EQ_INT(handled, 1);
        CHECK_EQ_INT(released, 1);
        chopin_free(app);
    }
}

static int owned_twice(chopin_ctx *c) {
    CHECK_EQ_INT(chopin_text(c, 200, "first"), CHOPIN_OK);
    CHECK_EQ_INT(chopin_bytes_owned(c, 200, "text/plain", CHOPIN_STR("x"), release, &released), CHOPIN_OK);
    CHECK_EQ_INT(released, 1);
    return CHOPIN_OK;
}
static int owned_refused(chopin_ctx *c) { return chopin_bytes_owned(c, 99, "text/plain", CHOPIN_STR("x"), release, &released); }
static int owned_then_failed(chopin_ctx *c) { chopin_bytes_owned(c, 200, "text/plain", CHOPIN_STR("x"), release, &released); return CHOPIN_SYSTEM; }
static int owned_without_body(chopin_ctx *c) { return chopin_bytes_owned(c, 204, "text/plain", CHOPIN_STR("x"), release, &released); }

static void owned_bytes_are_released_when_refused(void) {
    static const chopin_handler handlers[] = { owned_twice, owned_refused, owned_then_failed, owned_without_body };
    for (size_t i = 0; i < 8; i++) {
        released = 0;
        reply_of(handlers[i / 2], i & 1);
        CHECK_EQ_INT(released, 1);
    }
    released = 0;
    body_kind = OWNED;
    body_size = 100000;
    chopin_app *app = app_of(sized, false);
    kit_play_z(app, "HEAD /x HTTP/1.1\r\nHost: t\r\n\r\n");
    CHECK_EQ_INT(released, 1);
    chopin_free(app);
}

/* An allocator that fails once, at the nth call, and knows what is out. */
static struct { long until; size_t live; } meter;

static void *meter_alloc(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    (void)ctx;
    if (new_size && --meter.until == 0) return NULL;
    meter.live += new_size;
    meter.live -= old_size;
    if (new_size == 0) { free(ptr); return NULL; }
    return realloc(ptr, new_size);
}

static void replies_survive_any_failed_allocation(void) {
    for (int kind = 0; kind < 2 * KINDS; kind++) {
        bool reached = true;
        for (long n = 1; reached && n < 200; n++) {
            body_kind = kind % KINDS;
            body_size = 60000;
            released = handled = 0;
            meter.until = 0;
            meter.live = 0;
            chopin_options o = listening();
            o.alloc = meter_alloc;
            chopin_app *app = chopin_new(&o);
            chopin_route(app, "GET", "/x", sized, NULL);
            if (kind >= KINDS) chopin_use(app, "/", pass);
            meter.until = n;
            chopin_str reply = chopin_test_request(app, CHOPIN_STR("GET /x HTTP/1.1\r\nHost: t\r\n\r\n"), &(chopin_test_options){ .write_step = 5000 });
            reached = meter.until <= 0;
            int status = kit_status(reply);
            // Whole, or an error, or cut: never a part that looks complete.
            if (status == 200 && kit_body(reply).len == body_size) CHECK(memcmp(kit_body(reply).ptr, big, body_size) == 0);
            CHECK(status == 0 || status == 200 || status == 503 || status == 500);
            if (body_kind == OWNED) CHECK_EQ_INT(released, handled);
            meter.until = 0;
            chopin_free(app);
            CHECK_EQ_INT(meter.live, 0);
        }
        CHECK(!reached);                                     // the last round failed nowhere
    }
}

static int formats(chopin_ctx *c) {
    return chopin_textf(c, 200, "%d|%s|%.*s|%s|%lld|%5.2f", 7, "begin", (int)body_size, big, "end", 1234567890123LL, 2.5);
}

static void formatting_twice_is_safe(void) {
    static const size_t sizes[] = { 0, 100, 470, 480, 490, 500, 512, 513, 3000, 70000, 1 << 20 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        chopin_options o = listening();
        o.max_arena = 4 << 20;
        chopin_app *app = chopin_new(&o);
        chopin_route(app, "GET", "/x", formats, NULL);
        body_size = sizes[i];
        chopin_str body = kit_body(get(app, "/x"));
        size_t     tail = strlen("|end|1234567890123| 2.50");
        CHECK_EQ_INT(body.len, 8 + body_size + tail);
        if (body.len == 8 + body_size + tail) {
            CHECK(memcmp(body.ptr, "7|begin|", 8) == 0 && memcmp(body.ptr + 8, big, body_size) == 0);
            CHECK(memcmp(body.ptr + 8 + body_size, "|end|1234567890123| 2.50", tail) == 0);
        }
        chopin_free(app);
    }
}

static void a_full_arena_is_503(void) {
    body_size = 2 << 20;                                     // more than max_arena
    for (int covered = 0; covered < 2; covered++) {
        chopin_str reply = reply_of(formats, covered);
        CHECK_EQ_INT(kit_status(reply), 503);
        CHECK(strstr(said, "max_arena") != NULL);
    }
}

/* ---- mistakes of handlers ---- */

static int forgets(chopin_ctx *c) { (void)c; return 0; }
static int answers_twice(chopin_ctx *c) {
    CHECK_EQ_INT(chopin_text(c, 200, "first"), CHOPIN_OK);
    CHECK_EQ_INT(chopin_reply_status(c), 200);
    CHECK_EQ_INT(chopin_text(c, 404, "second"), CHOPIN_OK);
    CHECK_EQ_INT(chopin_reply_status(c), 200);
    return 0;
}

static void forgotten_and_double_replies_are_named(void) {
    for (int covered = 0; covered < 2; covered++) {
        chopin_str reply = reply_of(forgets, covered);
        CHECK_EQ_INT(kit_status(reply), 500);
        CHECK(strstr(said, "forgets") && strstr(said, "GET /x") && strstr(said, "without a reply"));
        CHECK(!kit_has(reply, "without a reply"));
        reply = reply_of(answers_twice, covered);
        CHECK_STR(kit_body(reply), "first");
        CHECK_EQ_INT(kit_count(reply, "HTTP/1.1"), 1);
        CHECK(strstr(said, "second reply (404)") && strstr(said, "answers_twice") && strstr(said, "GET /x"));
    }
}

static int answered_by_getter(chopin_ctx *c) {
    int64_t n;
    CHECK_EQ_INT(chopin_get_i64(c, CHOPIN_FROM_QUERY, "n", &n), CHOPIN_ANSWERED);
    CHECK_EQ_INT(chopin_set(c, "X-Late", "1"), CHOPIN_LATE);
    return chopin_text(c, 200, "went on");
}

static void going_on_after_a_getter_is_no_mistake(void) {
    chopin_str reply = reply_of(answered_by_getter, false);
    CHECK_EQ_INT(kit_status(reply), 400);
    CHECK(kit_has(reply, "\\\"n\\\"") && !kit_has(reply, "went on"));
    CHECK(said[0] == 0);
}

static int late(chopin_ctx *c) {
    chopin_text(c, 200, "left");
    CHECK_EQ_INT(chopin_set(c, "X-Late", "1"), CHOPIN_LATE);
    CHECK_EQ_INT(chopin_add(c, "X-Late", "1"), CHOPIN_LATE);
    CHECK_EQ_INT(chopin_setf(c, "X-Late", "%d", 1), CHOPIN_LATE);
    CHECK_EQ_INT(chopin_remove(c, "Server"), CHOPIN_LATE);
    CHECK_EQ_INT(chopin_set_cookie(c, "late", "1", NULL), CHOPIN_LATE);
    CHECK_EQ_INT(chopin_early_hints(c, (const char *const[]){ NULL }), CHOPIN_LATE);
    return 0;
}
static int not_late(chopin_ctx *c) {
    chopin_text(c, 200, "held");
    return chopin_set(c, "X-Late", "1");
}

static void late_header_is_refused(void) {
    chopin_str reply = reply_of(late, false);
    CHECK_STR(kit_body(reply), "left");
    CHECK(!kit_has(reply, "X-Late") && !kit_has(reply, "Set-Cookie"));
    CHECK(strstr(said, "X-Late") && strstr(said, "late"));
    reply = reply_of(not_late, true);                        // with middleware around it the reply is still here
    CHECK(kit_has(reply, "X-Late: 1\r\n"));
}

static int fails_first(chopin_ctx *c) { (void)c; return CHOPIN_MISSING; }
static int fails_later(chopin_ctx *c) { chopin_text(c, 200, "whole"); return CHOPIN_MISSING; }

static void a_negative_return_before_the_reply_is_500(void) {
    for (int covered = 0; covered < 2; covered++) {
        chopin_str reply = reply_of(fails_first, covered);
        CHECK_EQ_INT(kit_status(reply), 500);
        CHECK(strstr(said, "there is no such thing") && strstr(said, "fails_first"));
        CHECK(!kit_has(reply, "no such thing"));             // the reason is for the log
    }
    chopin_str reply = reply_of(fails_later, true);          // held, so not too late for a 500
    CHECK_EQ_INT(kit_status(reply), 500);
    CHECK(!kit_has(reply, "whole"));
}

static void a_negative_return_after_the_reply_ends_the_connection(void) {
    chopin_app *app = app_of(fails_later, false);
    chopin_str  reply = kit_play_z(app, "GET /x HTTP/1.1\r\nHost: t\r\n\r\nGET /x HTTP/1.1\r\nHost: t\r\n\r\n");
    CHECK_EQ_INT(kit_count(reply, "HTTP/1.1 200"), 1);
    CHECK_STR(kit_body(reply), "whole");
    CHECK(strstr(said, "after its reply") && strstr(said, "fails_later"));
    chopin_free(app);
}

static int bad_status(chopin_ctx *c) { return came_back = chopin_text(c, asked_status, "x"); }

static void statuses_out_of_range_are_refused(void) {
    static const int bad[] = { -1, 0, 99, 100, 101, 103, 199, 1000, 100000 };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        asked_status = bad[i];
        CHECK_EQ_INT(kit_status(reply_of(bad_status, false)), 500);
        CHECK_EQ_INT(came_back, CHOPIN_INVALID);
        CHECK(strstr(said, "bad_status") != NULL);
    }
}

/* ---- status lines ---- */

static const struct { int code; const char *phrase; } phrases[] = {      // IANA, HTTP Status Code Registry
    { 100, "Continue" }, { 101, "Switching Protocols" }, { 102, "Processing" }, { 103, "Early Hints" },
    { 200, "OK" }, { 201, "Created" }, { 202, "Accepted" }, { 203, "Non-Authoritative Information" }, { 204, "No Content" }, { 205, "Reset Content" },
    { 206, "Partial Content" }, { 207, "Multi-Status" }, { 208, "Already Reported" }, { 226, "IM Used" },
    { 300, "Multiple Choices" }, { 301, "Moved Permanently" }, { 302, "Found" }, { 303, "See Other" }, { 304, "Not Modified" }, { 305, "Use Proxy" },
    { 307, "Temporary Redirect" }, { 308, "Permanent Redirect" },
    { 400, "Bad Request" }, { 401, "Unauthorized" }, { 402, "Payment Required" }, { 403, "Forbidden" }, { 404, "Not Found" }, { 405, "Method Not Allowed" },
    { 406, "Not Acceptable" }, { 407, "Proxy Authentication Required" }, { 408, "Request Timeout" }, { 409, "Conflict" }, { 410, "Gone" },
    { 411, "Length Required" }, { 412, "Precondition Failed" }, { 413, "Content Too Large" }, { 414, "URI Too Long" }, { 415, "Unsupported Media Type" },
    { 416, "Range Not Satisfiable" }, { 417, "Expectation Failed" }, { 421, "Misdirected Request" }, { 422, "Unprocessable Content" }, { 423, "Locked" },
    { 424, "Failed Dependency" }, { 425, "Too Early" }, { 426, "Upgrade Required" }, { 428, "Precondition Required" }, { 429, "Too Many Requests" },
    { 431, "Request Header Fields Too Large" }, { 451, "Unavailable For Legal Reasons" },
    { 500, "Internal Server Error" }, { 501, "Not Implemented" }, { 502, "Bad Gateway" }, { 503, "Service Unavailable" }, { 504, "Gateway Timeout" },
    { 505, "HTTP Version Not Supported" }, { 506, "Variant Also Negotiates" }, { 507, "Insufficient Storage" }, { 508, "Loop Detected" },
    { 510, "Not Extended" }, { 511, "Network Authentication Required" },
};

static const char *phrase_of(int code) {
    for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++) {
        if (phrases[i].code == code) return phrases[i].phrase;
    }
    return "";
}

static void status_lines_have_registered_phrases_or_none(void) {
    char line[100];
    chopin_app *app = app_of(empty_of_status, false);
    for (int code = 100; code < 200; code++) CHECK(strcmp(chopin__reason(code), phrase_of(code)) == 0);
    for (asked_status = 200; asked_status < 1000; asked_status++) {
        snprintf(line, sizeof line, "HTTP/1.1 %d %s\r\n", asked_status, phrase_of(asked_status));
        chopin_str reply = get(app, "/x");
        CHECK(reply.len > strlen(line) && memcmp(reply.ptr, line, strlen(line)) == 0);
    }
    chopin_free(app);
}

/* ---- the automatic headers ---- */

/* Not time(): that may lag behind by a tick. */
static time_t wall_clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec;
}

static void date_is_fresh_and_well_formed(void) {
    chopin_options o = kit_options();
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/x", plain, NULL);
    chopin_fixed(app, "/f", NULL, "f");
    static const char *const paths[] = { "/x", "/f", "/nowhere" };
    for (int i = 0; i < 3; i++) {
        time_t     before = wall_clock();
        chopin_str reply = get(app, paths[i]);
        time_t     after = wall_clock();
        char       want[64];
        bool       found = false;
        CHECK_EQ_INT(kit_count(reply, "\r\nDate: "), 1);
        for (time_t t = before - 1; t <= after; t++) {
            struct tm tm;
            strftime(want, sizeof want, "\r\nDate: %a, %d %b %Y %H:%M:%S GMT\r\n", gmtime_r(&t, &tm));
            found = found || kit_has(reply, want);
        }
        CHECK(found);
    }
    chopin_free(app);
}

static void server_and_date_are_options(void) {
    static const struct { const char *server, *line; } cases[] = { { NULL, "Server: chopin\r\n" }, { "abc/1", "Server: abc/1\r\n" }, { "", NULL } };
    for (size_t i = 0; i < 3; i++) {
        chopin_options o = kit_options();
        o.server = cases[i].server;
        o.no_date = i == 1;
        chopin_app *app = chopin_new(&o);
        chopin_route(app, "GET", "/x", plain, NULL);
        chopin_str reply = get(app, "/x");
        CHECK_EQ_INT(kit_count(reply, "Server:"), cases[i].line ? 1 : 0);
        if (cases[i].line) CHECK(kit_has(reply, cases[i].line));
        CHECK_EQ_INT(kit_count(reply, "Date:"), i == 1 ? 0 : 1);
        chopin_free(app);
    }
}

static int typed_before(chopin_ctx *c) { chopin_set(c, "content-TYPE", "text/csv"); return chopin_text(c, 200, "a,b"); }
static int typed_and_removed(chopin_ctx *c) { chopin_set(c, "Content-Type", "text/csv"); chopin_remove(c, "content-type"); return chopin_text(c, 200, "a"); }
static int retype(chopin_ctx *c) { int rc = chopin_next(c); chopin_set(c, "Content-Type", "text/css"); return rc; }

static void a_set_content_type_wins(void) {
    chopin_str reply = reply_of(typed_before, false);
    CHECK(kit_has(reply, "Content-Type: text/csv\r\n"));
    CHECK_EQ_INT(kit_count(reply, "text/plain"), 0);
    CHECK(kit_has(reply_of(typed_before, true), "Content-Type: text/csv\r\n"));
    CHECK(kit_has(reply_of(typed_and_removed, false), "Content-Type: text/plain; charset=utf-8\r\n"));
    chopin_options o = listening();
    chopin_app *app = chopin_new(&o);
    chopin_use(app, "/", retype);
    chopin_route(app, "GET", "/x", plain, NULL);
    reply = get(app, "/x");
    CHECK(kit_has(reply, "Content-Type: text/css\r\n") && !kit_has(reply, "text/plain"));
    chopin_free(app);
}

static int with_headers(chopin_ctx *c) {
    chopin_set(c, "X-One", "first");
    chopin_set(c, "x-one", "second");                        // replaces, in any case
    chopin_add(c, "X-Two", "a");
    chopin_add(c, "X-Two", "b");
    chopin_setf(c, "X-Three", "%d-%s", 3, "three");
    chopin_set_str(c, "X-Four", CHOPIN_STR("  blanks go  "));
    chopin_set(c, "X-Gone", "1");
    chopin_add(c, "X-Gone", "2");
    chopin_set(c, "X-Gone-Not", "stays");
    chopin_remove(c, "x-GONE");
    chopin_set(c, "X-Empty", "");
    chopin_set(c, "X-Bytes", "tab\there \xe9");
    return chopin_text(c, 200, "ok");
}

static void headers_are_set_added_and_removed(void) {
    for (int covered = 0; covered < 2; covered++) {
        chopin_str reply = reply_of(with_headers, covered);
        CHECK(!kit_has(reply, "first") && kit_has(reply, "x-one: second\r\n"));
        CHECK(kit_has(reply, "X-Two: a\r\n") && kit_has(reply, "X-Two: b\r\n"));
        CHECK(kit_has(reply, "X-Three: 3-three\r\n") && kit_has(reply, "X-Four: blanks go\r\n"));
        CHECK(!kit_has(reply, "X-Gone: ") && kit_has(reply, "X-Gone-Not: stays\r\n"));
        CHECK(kit_has(reply, "X-Empty: \r\n") && kit_has(reply, "X-Bytes: tab\there \xe9\r\n"));
    }
}

static int many_headers(chopin_ctx *c) {
    for (int i = 0; i < 3000; i++) chopin_setf(c, chopin_printf(c, "X-%d", i).ptr, "value number %d", i);
    return chopin_text(c, 200, "ok");
}

static void heads_larger_than_any_buffer_leave_whole(void) {
    chopin_options o = listening();
    o.max_arena = 32 << 20;
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/x", many_headers, NULL);
    chopin_str reply = chopin_test_request(app, CHOPIN_STR("GET /x HTTP/1.1\r\nHost: t\r\n\r\n"), &(chopin_test_options){ .write_step = 5000, .seed = 3 });
    CHECK_EQ_INT(kit_count(reply, ": value number "), 3000);
    CHECK(kit_has(reply, "\r\nX-2999: value number 2999\r\n"));
    CHECK_STR(kit_body(reply), "ok");
    chopin_free(app);
}

static void connection_is_echoed_where_it_matters(void) {
    chopin_app *app = app_of(plain, false);
    static const struct { const char *request; int echo, close, replies; } cases[] = {
        { "GET /x HTTP/1.0\r\n\r\n",                                                     0, 1, 1 },
        { "GET /x HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",                           1, 0, 1 },
        { "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /x HTTP/1.0\r\n\r\n",    1, 1, 2 },
        { "GET /x HTTP/1.0\r\n\r\nGET /x HTTP/1.0\r\n\r\n",                              0, 1, 1 },
        { "GET /x HTTP/1.1\r\nHost: t\r\n\r\n",                                          0, 0, 1 },
        { "GET /x HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\nGET /x HTTP/1.1\r\nHost: t\r\n\r\n", 0, 1, 1 },
        { "GET /x HTTP/1.1\r\nHost: t\r\nConnection: keep-alive, close\r\n\r\n",         0, 1, 1 },
        { "GET /x HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",                    0, 1, 1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        chopin_str reply = kit_play_z(app, cases[i].request);
        CHECK_EQ_INT(kit_count(reply, "Connection: keep-alive\r\n"), cases[i].echo);
        CHECK_EQ_INT(kit_count(reply, "Connection: close\r\n"), cases[i].close);
        CHECK_EQ_INT(kit_count(reply, "HTTP/1.1 200 OK\r\n"), cases[i].replies);
    }
    chopin_free(app);
}

static void keepalive_may_be_off_or_counted(void) {
    chopin_options o = listening();
    o.no_keepalive = true;
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/x", plain, NULL);
    chopin_str reply = kit_play_z(app, "GET /x HTTP/1.1\r\nHost: t\r\n\r\nGET /x HTTP/1.1\r\nHost: t\r\n\r\n");
    CHECK_EQ_INT(kit_count(reply, "HTTP/1.1"), 1);
    CHECK(kit_has(reply, "Connection: close\r\n"));
    chopin_free(app);
    o.no_keepalive = false;
    o.max_requests = 2;
    app = chopin_new(&o);
    chopin_route(app, "GET", "/x", plain, NULL);
    reply = kit_play_z(app, "GET /x HTTP/1.1\r\nHost: t\r\n\r\nGET /x HTTP/1.1\r\nHost: t\r\n\r\nGET /x HTTP/1.1\r\nHost: t\r\n\r\n");
    CHECK_EQ_INT(kit_count(reply, "HTTP/1.1"), 2);
    CHECK_EQ_INT(kit_count(reply, "Connection: close\r\n"), 1);
    chopin_free(app);
}

/* ---- the helpers ---- */

static int as_html(chopin_ctx *c) { return chopin_html(c, 200, "<p>hi</p>"); }
static int as_json(chopin_ctx *c) { return chopin_jsonf(c, 200, "{id:%d,name:%q,tags:[%s,%n],ok:%b}", 7, CHOPIN_STR("a\"b\n"), "x", 1); }
static int as_bad_json(chopin_ctx *c) { came_back = chopin_jsonf(c, 200, "{id:%d", 7); return 0; }
static int as_bytes_without_type(chopin_ctx *c) { return chopin_bytes(c, 200, NULL, CHOPIN_STR("raw")); }
static int as_null_text(chopin_ctx *c) { return chopin_text(c, 200, NULL); }

static void helpers_name_their_types(void) {
    chopin_str reply = reply_of(plain, false);
    CHECK(kit_has(reply, "Content-Type: text/plain; charset=utf-8\r\n"));
    CHECK_STR(kit_body(reply), "hello");
    reply = reply_of(as_html, false);
    CHECK(kit_has(reply, "Content-Type: text/html; charset=utf-8\r\n"));
    CHECK_STR(kit_body(reply), "<p>hi</p>");
    reply = reply_of(as_json, true);
    CHECK(kit_has(reply, "Content-Type: application/json\r\n"));
    CHECK_STR(kit_body(reply), "{\"id\":7,\"name\":\"a\\\"b\\n\",\"tags\":[\"x\",null],\"ok\":true}");
    reply = reply_of(as_bytes_without_type, false);
    CHECK(!kit_has(reply, "Content-Type"));
    CHECK_STR(kit_body(reply), "raw");
    CHECK(kit_has(reply_of(as_null_text, false), "Content-Length: 0\r\n"));
}

static void a_malformed_json_template_is_500(void) {
    chopin_str reply = reply_of(as_bad_json, false);
    CHECK_EQ_INT(kit_status(reply), 500);
    CHECK_EQ_INT(came_back, CHOPIN_INVALID);
    CHECK(strstr(said, "{id:%d") && strstr(said, "as_bad_json"));
    CHECK(!kit_has(reply, "template"));
}

static int large_json(chopin_ctx *c) { return chopin_jsonf(c, 200, "{text:%q}", (chopin_str){ big, 100000 }); }

static void json_replies_may_be_large(void) {
    chopin_app *app = app_of(large_json, false);
    chopin_str  body = kit_body(get(app, "/x"));
    CHECK_EQ_INT(body.len, 100000 + strlen("{\"text\":\"\"}"));
    CHECK(body.len > 100000 && memcmp(body.ptr + 9, big, 100000) == 0);
    chopin_free(app);
}

static int failed_status;
static int fails(chopin_ctx *c)  { return chopin_fail(c, failed_status, "the \"secret\" reason"); }
static int failsf(chopin_ctx *c) { return chopin_failf(c, failed_status, "the \"%s\" reason", "secret"); }

static void problems_tell_clients_what_is_theirs_to_know(void) {
    for (int i = 0; i < 4; i++) {
        chopin_handler handler = i & 1 ? failsf : fails;
        failed_status = 422;
        chopin_str reply = reply_of(handler, i & 2);
        CHECK_EQ_INT(kit_status(reply), 422);
        CHECK(kit_has(reply, "Content-Type: application/problem+json\r\n"));
        CHECK_STR(kit_body(reply), "{\"status\":422,\"title\":\"Unprocessable Content\",\"detail\":\"the \\\"secret\\\" reason\"}\n");
        CHECK(said[0] == 0);
        failed_status = 502;
        reply = reply_of(handler, i & 2);
        CHECK_EQ_INT(kit_status(reply), 502);
        CHECK(!kit_has(reply, "secret") && kit_has(reply, "\"title\":\"Bad Gateway\",\"instance\":\"request "));
        CHECK(strstr(said, "the \"secret\" reason") != NULL);
        chopin_str body = kit_body(reply);                   // the id that the client may quote stands in the log
        char       id[17] = "";
        if (CHECK(body.len > 40)) memcpy(id, body.ptr + body.len - 19, 16);
        CHECK(strlen(id) == 16 && strspn(id, "0123456789abcdef") == 16 && strstr(said, id));
    }
}

static int hints(chopin_ctx *c) {
    const char *links[] = { "</a.css>; rel=preload; as=style", "</b.js>; rel=preload", NULL };
    CHECK_EQ_INT(chopin_early_hints(c, links), CHOPIN_OK);
    return chopin_text(c, 200, "page");
}

static void early_hints_come_first(void) {
    for (int covered = 0; covered < 2; covered++) {
        static const char want[] = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload; as=style\r\nLink: </b.js>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n";
        chopin_app *app = app_of(hints, covered);
        chopin_str  reply = get(app, "/x");
        CHECK(reply.len > strlen(want) && memcmp(reply.ptr, want, strlen(want)) == 0);
        reply = kit_play_z(app, "GET /x HTTP/1.0\r\n\r\n");
        CHECK(!kit_has(reply, "103"));                       // 1.0 knows no interim replies (RFC 9110 15.2)
        CHECK_STR(kit_body(reply), "page");
        chopin_free(app);
    }
}

static int sets_cookies(chopin_ctx *c) {
    CHECK_EQ_INT(chopin_set_cookie(c, "sid", "abc", NULL), CHOPIN_OK);
    CHECK_EQ_INT(chopin_set_cookie(c, "theme", "dark", &(chopin_cookie_options){ .max_age_s = 60, .same_site = "strict", .no_http_only = true, .no_secure = true }), CHOPIN_OK);
    CHECK_EQ_INT(chopin_set_cookie(c, "old", "", &(chopin_cookie_options){ .max_age_s = -1 }), CHOPIN_OK);
    CHECK_EQ_INT(chopin_set_cookie(c, "__Host-x", "1", &(chopin_cookie_options){ .domain = "a.test" }), CHOPIN_INVALID);
    CHECK_EQ_INT(chopin_set_cookie(c, "__Secure-x", "1", &(chopin_cookie_options){ .no_secure = true }), CHOPIN_INVALID);
    CHECK_EQ_INT(chopin_set_cookie(c, "a b", "1", NULL), CHOPIN_INVALID);
    return chopin_text(c, 200, "ok");
}

static void cookies_have_safe_attributes(void) {
    chopin_str reply = reply_of(sets_cookies, false);
    CHECK_EQ_INT(kit_count(reply, "Set-Cookie: "), 3);       // each a line of its own
    CHECK(kit_has(reply, "Set-Cookie: sid=abc; Path=/; SameSite=Lax; HttpOnly; Secure\r\n"));
    CHECK(kit_has(reply, "Set-Cookie: theme=dark; Path=/; Max-Age=60; SameSite=Strict\r\n"));
    CHECK(kit_has(reply, "old=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970"));
}

static int redirects(chopin_ctx *c) { return came_back = chopin_redirect(c, asked_status, "/there?a=b"); }

static void redirects_have_five_statuses(void) {
    for (asked_status = 290; asked_status < 320; asked_status++) {
        bool known = asked_status == 301 || asked_status == 302 || asked_status == 303 || asked_status == 307 || asked_status == 308;
        chopin_str reply = reply_of(redirects, false);
        CHECK_EQ_INT(kit_status(reply), known ? asked_status : 500);
        CHECK_EQ_INT(came_back, known ? CHOPIN_OK : CHOPIN_INVALID);
        CHECK_EQ_INT(kit_count(reply, "Location: /there?a=b\r\n"), known);
        CHECK(kit_has(reply, "Content-Length: "));
    }
}

static int panics(chopin_ctx *c) { chopin_defer(c, release, &released); chopin_set(c, "X-Before", "1"); chopin_panic(c, "gave up at %d", 7); }

static void a_panic_is_500_and_cleans_up(void) {
    for (int covered = 0; covered < 2; covered++) {
        released = 0;
        chopin_str reply = reply_of(panics, covered);
        CHECK_EQ_INT(kit_status(reply), 500);
        CHECK_EQ_INT(released, 1);
        CHECK(strstr(said, "gave up at 7") && !kit_has(reply, "gave up"));
    }
}

static int sets_then_fails(chopin_ctx *c) {
    chopin_set(c, "Content-Type", "image/png");
    chopin_set(c, "Content-Encoding", "gzip");
    chopin_set(c, "Cache-Control", "public, max-age=9999");
    chopin_set(c, "X-Kept", "yes");
    return CHOPIN_MISSING;
}

/* An error reply does not wear the headers of the body it replaces. */
static void errors_forget_the_body_they_replace(void) {
    chopin_options o = kit_options();
    o.log_level = CHOPIN_ERROR;
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/x", sets_then_fails, NULL);
    chopin_str reply = kit_play_z(app, "GET /x HTTP/1.1\r\nHost: t\r\n\r\n");
    CHECK_EQ_INT(kit_status(reply), 500);
    CHECK(kit_has(reply, "Content-Type: application/problem+json\r\n"));
    CHECK(kit_has(reply, "X-Kept: yes\r\n"));
    CHECK(!kit_has(reply, "gzip") && !kit_has(reply, "image/png") && !kit_has(reply, "Cache-Control"));
    chopin_free(app);
}

static void fixed_headers_must_be_whole_lines(void) {
    const char *const bad[] = { "X: a\r", "X: a", "X: a\n", "Content-Type: a/b\r\n", "X a\r\n" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        chopin_options o = kit_options();
        o.log = NULL;
        chopin_app *app = chopin_new(&o);
        app->site->logger.level = (chopin_level)(CHOPIN_ERROR + 1);
        CHECK_EQ_INT(chopin_fixed_with(app, "/f", &(chopin_fixed_options){ .headers = bad[i] }), CHOPIN_INVALID);
        chopin_free(app);
    }
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    make_big();
    RUN(errors_forget_the_body_they_replace);
    RUN(fixed_headers_must_be_whole_lines);
    RUN(refuses_control_bytes);
    RUN(set_up_refuses_control_bytes);
    RUN(framing_headers_belong_to_the_server);
    RUN(head_equals_get_without_body);
    RUN(bodyless_statuses_have_no_body_headers);
    RUN(replies_of_every_size);
    RUN(single_bytes_are_enough_for_any_reply);
    RUN(sixteen_mebibytes);
    RUN(pipelined_replies_keep_their_order);
    RUN(owned_bytes_are_released_when_the_client_leaves);
    RUN(owned_bytes_are_released_when_refused);
    RUN(replies_survive_any_failed_allocation);
    RUN(formatting_twice_is_safe);
    RUN(a_full_arena_is_503);
    RUN(forgotten_and_double_replies_are_named);
    RUN(going_on_after_a_getter_is_no_mistake);
    RUN(late_header_is_refused);
    RUN(a_negative_return_before_the_reply_is_500);
    RUN(a_negative_return_after_the_reply_ends_the_connection);
    RUN(statuses_out_of_range_are_refused);
    RUN(status_lines_have_registered_phrases_or_none);
    RUN(date_is_fresh_and_well_formed);
    RUN(server_and_date_are_options);
    RUN(a_set_content_type_wins);
    RUN(headers_are_set_added_and_removed);
    RUN(heads_larger_than_any_buffer_leave_whole);
    RUN(connection_is_echoed_where_it_matters);
    RUN(keepalive_may_be_off_or_counted);
    RUN(helpers_name_their_types);
    RUN(a_malformed_json_template_is_500);
    RUN(json_replies_may_be_large);
    RUN(problems_tell_clients_what_is_theirs_to_know);
    RUN(early_hints_come_first);
    RUN(cookies_have_safe_attributes);
    RUN(redirects_have_five_statuses);
    RUN(a_panic_is_500_and_cleans_up);
    free(big);
    return TEST_END();
}
