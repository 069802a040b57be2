/* test_security.c - what a stranger says is believed for a stated reason or not at all.
 * Build: cc -O1 -g tests/test_security.c -o build/test_security -pthread -lm */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER
#include "test.h"
#include "kit.h"

static char said[65536];                                     // what apps have logged
static bool said_control;                                    // ... with a byte that does not belong into a log

static void remember(void *user, chopin_level level, const char *text) {
    size_t n = strlen(said);
    (void)user; (void)level;
    for (const char *p = text; *p; p++) said_control = said_control || (unsigned char)*p < 0x20 || *p == 0x7f;
    snprintf(said + n, sizeof said - n, "%s\n", text);
}

static chopin_options listening(void) {
    chopin_options o = kit_options();
    o.quiet = false;
    o.log = remember;
    o.no_date = true;
    said[0] = 0;
    said_control = false;
    return o;
}

static chopin_str ask_with(chopin_app *app, const char *what, const char *headers) {
    static char request[70000];
    snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: site.test\r\n%s\r\n", what, headers);
    return kit_play_z(app, request);
}

static int plain(chopin_ctx *c) { return chopin_text(c, 200, "ok"); }

/* ---- real sockets: scripted clients have no address ---- */

static int addresses(chopin_ctx *c) {
    chopin_str peer = chopin_peer_address(c), client = chopin_client_address(c);
    return chopin_textf(c, 200, "%.*s %.*s %d", CHOPIN_FMT(peer), CHOPIN_FMT(client), chopin_peer_port(c) > 0);
}

static int connect_to(chopin_app *app, const char *path) {
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)chopin_port(app, 0)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (path) snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    int fd = socket(path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = path ? connect(fd, (struct sockaddr *)&un, sizeof un) : connect(fd, (struct sockaddr *)&in, sizeof in);
    if (rc == 0) return fd;
    close(fd);
    return -1;
}

/* One request over a socket, served by this thread; the body of the reply, or its status line if that is not 200. */
static const char *over_socket(chopin_app *app, const char *path, const char *headers) {
    static char reply[4096];
    char   request[4096];
    size_t len = 0;
    int    fd = connect_to(app, path);
    reply[0] = 0;
    if (fd < 0) return "no connection";
    snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: t\r\n%sConnection: close\r\n\r\n", headers);
    if (send(fd, request, strlen(request), 0) < 0) { close(fd); return "not sent"; }
    for (int turns = 0; turns < 2000; turns++) {
        chopin_step(app, 10);
        ssize_t n = recv(fd, reply + len, sizeof reply - 1 - len, MSG_DONTWAIT);
        if (n == 0) break;
        if (n > 0) len += (size_t)n;
    }
    close(fd);
    chopin_step(app, 0);
    reply[len] = 0;
    char *body = strstr(reply, "\r\n\r\n");
    return kit_status(chopin__str(reply, len)) == 200 && body ? body + 4 : reply;
}

static chopin_app *serving(const char *trusted, const char *address) {
    chopin_options o = listening();
    o.trusted_proxies = trusted;
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/", addresses, NULL);
    CHECK_EQ_INT(chopin_listen(app, address), CHOPIN_OK);
    CHECK_EQ_INT(chopin_open(app), CHOPIN_OK);
    return app;
}

static void check_client(chopin_app *app, const char *path, const char *headers, const char *want) {
    const char *got = over_socket(app, path, headers);
    if (!CHECK(strcmp(got, want) == 0)) printf("%s is \"%s\", expected \"%s\"\n", headers, got, want);
}

static void client_address_cannot_be_forged(void) {
    static const char *const forged[] = {
        "", "X-Forwarded-For: 6.6.6.6\r\n", "X-Forwarded-For:\r\n", "X-Forwarded-For: 127.0.0.1\r\n", "X-Forwarded-For: 6.6.6.6, 127.0.0.1\r\n",
        "Forwarded: for=6.6.6.6\r\n", "X-Real-IP: 6.6.6.6\r\n", "Remote-Addr: 6.6.6.6\r\n", "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\n",
    };
    chopin_app *app = serving(NULL, "127.0.0.1:0");
    for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) check_client(app, NULL, forged[i], "127.0.0.1 127.0.0.1 1");
    chopin_close(app);
    chopin_free(app);
    app = serving("10.0.0.0/8, ::1", "127.0.0.1:0");         // somebody is trusted, but not this peer
    for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) check_client(app, NULL, forged[i], "127.0.0.1 127.0.0.1 1");
    chopin_close(app);
    chopin_free(app);
}

static void trusted_proxies_are_read_from_the_right(void) {
    static const struct { const char *headers, *client; } cases[] = {
        { "", "127.0.0.1" },                                                    { "X-Forwarded-For: 6.6.6.6\r\n", "6.6.6.6" },
        { "X-Forwarded-For: 1.1.1.1, 6.6.6.6\r\n", "6.6.6.6" },                 { "X-Forwarded-For: 1.1.1.1, 6.6.6.6, 10.2.3.4\r\n", "6.6.6.6" },
        { "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 6.6.6.6, 10.2.3.4\r\n", "6.6.6.6" },
        { "X-Forwarded-For: 6.6.6.6\r\nX-Other: 1\r\nx-forwarded-for: 10.2.3.4\r\n", "6.6.6.6" },
        { "X-Forwarded-For: 6.6.6.6, garbage\r\n", "127.0.0.1" },               { "X-Forwarded-For: 6.6.6.6, garbage, 10.1.1.1\r\n", "10.1.1.1" },
        { "X-Forwarded-For: 10.1.1.1, 10.2.2.2\r\n", "10.1.1.1" },              { "X-Forwarded-For: [2001:db8::1]:99\r\n", "2001:db8::1" },
        { "X-Forwarded-For: 6.6.6.6:1234\r\n", "6.6.6.6" },                     { "X-Forwarded-For: ,,,\r\n", "127.0.0.1" },
        { "X-Forwarded-For: ::ffff:6.6.6.6\r\n", "6.6.6.6" },                   { "X-Forwarded-For: unknown\r\n", "127.0.0.1" },
        { "Forwarded: for=6.6.6.6\r\nX-Real-IP: 7.7.7.7\r\n", "127.0.0.1" },
    };
    chopin_app *app = serving("127.0.0.0/8, 10.0.0.0/8", "127.0.0.1:0");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char want[100];
        snprintf(want, sizeof want, "127.0.0.1 %s 1", cases[i].client);
        check_client(app, NULL, cases[i].headers, want);
    }
    chopin_close(app);
    chopin_free(app);
}

static void a_unix_peer_is_trusted_only_if_said(void) {
    char path[64], address[80];
    snprintf(path, sizeof path, "/tmp/chopin_test_security_%d.sock", (int)getpid());
    snprintf(address, sizeof address, "unix:%s", path);
    chopin_app *app = serving("127.0.0.1", address);
    check_client(app, path, "X-Forwarded-For: 6.6.6.6\r\n", "unix unix 0");
    chopin_close(app);
    chopin_free(app);
    app = serving("unix", address);
    check_client(app, path, "", "unix unix 0");
    check_client(app, path, "X-Forwarded-For: 6.6.6.6\r\n", "unix 6.6.6.6 0");
    chopin_close(app);
    chopin_free(app);
    CHECK(access(path, F_OK) != 0);                          // the file is gone
}

static void a_bad_proxy_list_stops_the_start(void) {
    static const char *const bad[] = { "10.0.0.0/33", "proxy.test", "10.0.0.1-10.0.0.9", "::1/129", "10.0.0.0/8 127.0.0.1", "10.0.0.0/" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        chopin_options o = listening();
        o.trusted_proxies = bad[i];
        chopin_app *app = chopin_new(&o);
        if (!CHECK(strstr(chopin_error(app), "trusted_proxies") != NULL)) printf("%s\n", bad[i]);
        CHECK_EQ_INT(chopin_open(app), CHOPIN_INVALID);
        chopin_free(app);
    }
}

/* ---- browsers ---- */

static void without_cors_nothing_is_said(void) {
    chopin_options o = listening();
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/", plain, NULL);
    chopin_str reply = ask_with(app, "GET /", "Origin: https://a.test\r\n");
    CHECK(kit_status(reply) == 200 && !kit_has(reply, "Access-Control") && !kit_has(reply, "Vary"));
    reply = ask_with(app, "OPTIONS /", "Origin: https://a.test\r\nAccess-Control-Request-Method: PUT\r\n");
    CHECK(!kit_has(reply, "Access-Control"));
    chopin_free(app);
}

static int fails(chopin_ctx *c) { (void)c; return CHOPIN_SYSTEM; }
static chopin_app *cors_app(const chopin_cors_options *cors) {
    chopin_options o = listening();
    chopin_app *app = chopin_new(&o);
    CHECK_EQ_INT(chopin_cors(app, "/", cors), CHOPIN_OK);
    chopin_route(app, "GET", "/", plain, NULL);
    chopin_route(app, "PUT", "/", plain, NULL);
    chopin_route(app, "GET", "/fails", fails, NULL);
    chopin_fixed(app, "/fixed", NULL, "x");
    return app;
}

static void cors_speaks_to_listed_origins_only(void) {
    chopin_app *app = cors_app(&(chopin_cors_options){ .origins = "https://a.test, https://b.test:8443", .credentials = true, .expose = "X-Total", .max_age_s = 60 });
    static const char *const whats[] = { "GET /", "PUT /", "GET /fails", "GET /fixed", "GET /nowhere", "DELETE /", "GET /%zz" };
    for (size_t i = 0; i < sizeof whats / sizeof whats[0]; i++) {        // errors too: a page must see why
        chopin_str reply = ask_with(app, whats[i], "Origin: https://a.test\r\n");
        CHECK(kit_has(reply, "Access-Control-Allow-Origin: https://a.test\r\n") && kit_has(reply, "Access-Control-Allow-Credentials: true\r\n"));
        CHECK(kit_has(reply, "Access-Control-Expose-Headers: X-Total\r\n") && kit_has(reply, "Vary: Origin\r\n"));
    }
    static const char *const strangers[] = { "https://evil.test", "https://a.test.evil.test", "https://a.tes", "http://a.test", "https://a.test:443", "https://b.test", "null", "https://A.test", "*", "" };
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        char line[100];
        snprintf(line, sizeof line, "Origin: %s\r\n", strangers[i]);
        chopin_str reply = ask_with(app, "GET /", line);
        CHECK(kit_status(reply) == 200 && !kit_has(reply, "Access-Control") && kit_has(reply, "Vary: Origin\r\n"));
    }
    CHECK(kit_has(ask_with(app, "GET /", ""), "Vary: Origin\r\n"));      // or a cache would serve this to a page
    chopin_str reply = ask_with(app, "OPTIONS /", "Origin: https://b.test:8443\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: X-A, x-b\r\n");
    CHECK_EQ_INT(kit_status(reply), 204);
    CHECK(kit_has(reply, "Access-Control-Allow-Origin: https://b.test:8443\r\n") && kit_has(reply, "Access-Control-Allow-Methods: GET, HEAD, POST, PUT, PATCH, DELETE\r\n"));
    CHECK(kit_has(reply, "Access-Control-Allow-Headers: X-A, x-b\r\n") && kit_has(reply, "Access-Control-Max-Age: 60\r\n"));
    CHECK(!kit_has(ask_with(app, "OPTIONS /", "Origin: https://evil.test\r\nAccess-Control-Request-Method: PUT\r\n"), "Access-Control-Allow"));
    CHECK(kit_has(ask_with(app, "OPTIONS /", ""), "Allow: "));          // no preflight: an ordinary OPTIONS
    chopin_free(app);
    app = cors_app(&(chopin_cors_options){ .origins = "*" });
    reply = ask_with(app, "GET /", "Origin: https://evil.test\r\n");
    CHECK(kit_has(reply, "Access-Control-Allow-Origin: *\r\n") && !kit_has(reply, "Credentials"));
    chopin_free(app);
}

static void a_star_with_credentials_stops_the_start(void) {
    chopin_options o = listening();
    chopin_app *app = chopin_new(&o);
    CHECK_EQ_INT(chopin_cors(app, "/", &(chopin_cors_options){ .origins = "https://a.test, *", .credentials = true }), CHOPIN_INVALID);
    CHECK_EQ_INT(chopin_open(app), CHOPIN_INVALID);
    CHECK(strstr(chopin_error(app), "credentials") != NULL);
    chopin_free(app);
}

static void csrf_defaults(void) {
    static const struct { const char *what, *headers; int status; } cases[] = {
        { "GET /",  "Sec-Fetch-Site: cross-site\r\n", 200 },                        { "PUT /", "", 200 },                       // no browser, no session to abuse
        { "PUT /",  "Sec-Fetch-Site: same-origin\r\n", 200 },                       { "PUT /", "Sec-Fetch-Site: none\r\n", 200 },
        { "PUT /",  "Sec-Fetch-Site: cross-site\r\n", 403 },                        { "PUT /", "Sec-Fetch-Site: same-site\r\n", 403 },
        { "PUT /",  "Sec-Fetch-Site: cross-site\r\nOrigin: https://site.test\r\n", 403 },
        { "PUT /",  "Origin: https://site.test\r\n", 200 },                         { "PUT /", "Origin: https://evil.test\r\n", 403 },
        { "PUT /",  "Origin: null\r\n", 403 },                                      { "PUT /", "Origin: https://site.test.evil.test\r\n", 403 },
        { "PUT /",  "Origin: https://friend.test\r\nSec-Fetch-Site: cross-site\r\n", 200 },
        { "DELETE /nowhere", "Sec-Fetch-Site: cross-site\r\n", 403 },               { "PUT /", "Origin: https://site.test:8443\r\n", 403 },
        { "PUT /",  "Sec-Fetch-Site: \r\n", 403 },
    };
    chopin_options o = listening();
    chopin_app *app = chopin_new(&o);
    CHECK_EQ_INT(chopin_origin_check(app, "/", "https://friend.test"), CHOPIN_OK);
    chopin_route(app, "GET", "/", plain, NULL);
    chopin_route(app, "PUT", "/", plain, NULL);
    chopin_route(app, "DELETE", "/x", plain, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (!CHECK_EQ_INT(kit_status(ask_with(app, cases[i].what, cases[i].headers)), cases[i].status)) printf("%s %s", cases[i].what, cases[i].headers);
    }
    chopin_free(app);
}

static int sets_cookie(chopin_ctx *c) { chopin_set_cookie(c, "sid", "1", NULL); return chopin_text(c, 200, "ok"); }

static void cookie_defaults(void) {
    chopin_options o = listening();
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/", sets_cookie, NULL);
    chopin_str reply = ask_with(app, "GET /", "");
    CHECK(kit_has(reply, "HttpOnly") && kit_has(reply, "; Secure") && kit_has(reply, "SameSite=Lax") && kit_has(reply, "Path=/") && !kit_has(reply, "Domain"));
    chopin_free(app);
}

/* ---- limiter ---- */

/* `count` clients, client i starting at starts[i] ms, play `request` to one worker; the status that each got. */
enum { MANY = 64 };
static struct { int status[MANY], retry_after[MANY]; } played;

static void play_clients(chopin_app *app, const int64_t *starts, size_t count, const char *request) {
    static chopin__script_client clients[MANY];
    static chopin__port *ports[MANY];
    chopin__server *s = chopin__server_of(app);
    memset(clients, 0, sizeof clients);
    memset(ports, 0, sizeof ports);
    for (size_t i = 0; i < count; i++) clients[i] = (chopin__script_client){ .in = chopin__str_z(request), .starts_at = 1000000 + starts[i] };
    chopin__script script = { .clients = clients, .count = count, .port = ports };
    chopin_worker *w = NULL;
    if (!CHECK(chopin__server_freeze(s) == CHOPIN_OK) || posix_memalign((void **)&w, 64, (sizeof *w + 63) & ~(size_t)63) != 0) return;
    if (CHECK(chopin__worker_init(w, &s->site, 0, &chopin__script_ops, &script))) {
        w->server = s;
        chopin__script_run(s, &script, w);
    }
    for (size_t i = 0; i < count; i++) {
        chopin_str reply = chopin__str(clients[i].out, clients[i].out_len);
        const char *after = reply.ptr ? memmem(reply.ptr, reply.len, "Retry-After: ", 13) : NULL;
        played.status[i] = kit_status(reply);
        played.retry_after[i] = after ? atoi(after + 13) : 0;
        chopin__release(&s->site.heap, clients[i].out, clients[i].out_cap);
    }
    chopin__worker_done(w);
    free(w);
}

static void the_limiter_answers_429_and_says_when(void) {
    chopin_options o = listening();
    chopin_app *app = chopin_new(&o);
    CHECK_EQ_INT(chopin_limit(app, "/", &(chopin_limit_options){ .per_second = 0.5, .burst = 3 }), CHOPIN_OK);
    chopin_route(app, "GET", "/", plain, NULL);
    static const int64_t starts[] = { 0, 0, 0, 0, 500, 1900, 2001, 2002, 60000, 60000, 60000, 60000 };
    static const int     want[]   = { 200, 200, 200, 429, 429, 429, 200, 429, 200, 200, 200, 429 };
    play_clients(app, starts, 12, "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    for (size_t i = 0; i < 12; i++) {
        if (!CHECK_EQ_INT(played.status[i], want[i])) printf("client %zu\n", i);
        CHECK_EQ_INT(played.retry_after[i] > 0, want[i] == 429);
    }
    CHECK(played.retry_after[3] == 2 || played.retry_after[3] == 3);      // a token takes two seconds, and rounding goes up
    CHECK_EQ_INT(played.retry_after[5], 1);
    chopin_free(app);
}

static void waiting_as_told_is_enough(void) {
    for (int tenth = 1; tenth < 40; tenth += 3) {
        chopin_options o = listening();
        chopin_app *app = chopin_new(&o);
        chopin_limit(app, "/", &(chopin_limit_options){ .per_second = tenth / 10.0, .burst = 1 });
        chopin_route(app, "GET", "/", plain, NULL);
        int64_t starts[3] = { 0, 1, 0 };
        play_clients(app, starts, 2, "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        CHECK_EQ_INT(played.status[1], 429);
        chopin_free(app);
        app = chopin_new(&o);
        chopin_limit(app, "/", &(chopin_limit_options){ .per_second = tenth / 10.0, .burst = 1 });
        chopin_route(app, "GET", "/", plain, NULL);
        starts[2] = 1 + 1000 * (int64_t)played.retry_after[1];
        play_clients(app, starts, 3, "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        CHECK(played.status[0] == 200 && played.status[1] == 429 && played.status[2] == 200);
        chopin_free(app);
    }
}

static void the_limiter_counts_what_it_covers(void) {
    chopin_options o = listening();
    chopin_app *app = chopin_new(&o);
    chopin_limit(app, "/api", &(chopin_limit_options){ .per_second = 0.001, .burst = 2 });
    chopin_route(app, "GET", "/api/x", plain, NULL);
    chopin_route(app, "GET", "/free", plain, NULL);
    chopin_fixed(app, "/api/fixed", NULL, "x");
    for (int i = 0; i < 5; i++) CHECK_EQ_INT(kit_status(ask_with(app, "GET /free", "")), 200);
    chopin_str reply = kit_play_z(app, "GET /api/x HTTP/1.1\r\nHost: t\r\n\r\nGET /api/nowhere HTTP/1.1\r\nHost: t\r\n\r\nGET /api/fixed HTTP/1.1\r\nHost: t\r\n\r\nGET /free HTTP/1.1\r\nHost: t\r\n\r\n");
    CHECK_EQ_INT(kit_count(reply, "HTTP/1.1 200 "), 2);
    CHECK_EQ_INT(kit_count(reply, "HTTP/1.1 404 "), 1);      // guessing costs tokens
    CHECK_EQ_INT(kit_count(reply, "HTTP/1.1 429 Too Many Requests\r\n"), 1);
    CHECK_EQ_INT(kit_count(reply, "Retry-After: "), 1);
    CHECK(kit_has(reply, "application/problem+json"));
    CHECK_EQ_INT(chopin_limit(app, "/x", NULL), CHOPIN_STATE);
    chopin_free(app);
    app = chopin_new(&o);
    CHECK_EQ_INT(chopin_limit(app, "/", &(chopin_limit_options){ .per_second = -1 }), CHOPIN_INVALID);
    CHECK_EQ_INT(chopin_limit(app, "/", &(chopin_limit_options){ .burst = (double)NAN }), CHOPIN_INVALID);
    chopin_free(app);
}

static void strangers_cannot_choose_their_bucket(void) {
    chopin_options o = listening();
    chopin_app *app = chopin_new(&o);
    chopin_limit(app, "/", &(chopin_limit_options){ .per_second = 0.001, .burst = 2 });
    chopin_route(app, "GET", "/", plain, NULL);
    int refused = 0;
    for (int i = 0; i < 10; i++) {
        char line[60];
        snprintf(line, sizeof line, "X-Forwarded-For: 6.6.6.%d\r\n", i);
        refused += kit_status(ask_with(app, "GET /", line)) == 429;
    }
    CHECK_EQ_INT(refused, 8);
    chopin_free(app);
}

/* ---- hashing ---- */

static void hash_is_seeded(void) {
    chopin_options o = kit_options();
    chopin_app *a = chopin_new(&o), *b = chopin_new(&o);
    CHECK(a->site->seed != b->site->seed);                   // each server draws its own
    CHECK(a->site->seed != 0 && chopin__random_seed() != chopin__random_seed());
    chopin_free(a);
    chopin_free(b);
    // Keys chosen to share a bucket under one seed are spread under another.
    enum { BUCKETS = 256, KEYS = 400 };
    static uint32_t keys[KEYS];
    int n = 0, most = 0, used[BUCKETS] = { 0 };
    for (uint32_t key = 0; n < KEYS; key++) {
        if (chopin__hash(1, &key, sizeof key) % BUCKETS == 0) keys[n++] = key;
    }
    for (int i = 0; i < KEYS; i++) {
        int at = ++used[chopin__hash(2, &keys[i], sizeof keys[i]) % BUCKETS];
        if (at > most) most = at;
    }
    CHECK(most < 12);
    CHECK(chopin__hash(1, "a", 1) != chopin__hash(1, "a\0", 2));         // length matters
    CHECK(chopin__hash(1, "", 0) != chopin__hash(2, "", 0));
}

/* ---- logs ---- */

static int logs_input(chopin_ctx *c) {
    chopin_str evil = chopin_query(c, "x");
    chopin_set_str(c, "X-Evil", evil);                       // refused, and logged
    chopin_set(c, chopin_printf(c, "%.*s", CHOPIN_FMT(evil)).ptr, "v");
    return chopin_failf(c, 500, "could not find %.*s", CHOPIN_FMT(evil));
}
static int panics(chopin_ctx *c) { chopin_panic(c, "%.*s", CHOPIN_FMT(chopin_query(c, "x"))); }

static void log_lines_hold_no_control_bytes(void) {
    chopin_options o = listening();
    o.log_level = CHOPIN_INFO;
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/log", logs_input, NULL);
    chopin_route(app, "GET", "/panic", panics, NULL);
    for (int byte = 1; byte < 128; byte++) {
        char what[100];
        snprintf(what, sizeof what, "GET /log?x=a%%%02xFORGED", byte);
        CHECK_EQ_INT(kit_status(ask_with(app, what, "")), 500);
        snprintf(what, sizeof what, "GET /panic?x=a%%%02xFORGED", byte);
        CHECK_EQ_INT(kit_status(ask_with(app, what, "")), 500);
        CHECK(!said_control && !strstr(said, "\nFORGED"));
        CHECK(strstr(said, "FORGED") != NULL);
        said[0] = 0;
    }
    chopin_free(app);
}

static void long_texts_are_cut_not_overrun(void) {
    chopin_options o = listening();
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/log", logs_input, NULL);
    char what[8000] = "GET /log?x=";
    memset(what + 11, 'a', 7000);
    CHECK_EQ_INT(kit_status(ask_with(app, what, "")), 500);
    CHECK(strlen(said) > 500 && strlen(said) < 4000);
    chopin_free(app);
}

static void stderr_lines_are_whole_lines(void) {
    char  text[4096] = "", long_text[3000];
    FILE *file = tmpfile();
    if (!CHECK(file != NULL)) return;
    memset(long_text, 'b', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = 0;
    chopin__logger logger = { NULL, NULL, CHOPIN_INFO };
    int err = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    chopin__log(&logger, CHOPIN_DEBUG, "below");
    chopin__log(&logger, CHOPIN_WARNING, "a\r\nb\x1b[31m");
    chopin__log(&logger, CHOPIN_ERROR, "%s", long_text);
    dup2(err, STDERR_FILENO);
    close(err);
    rewind(file);
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    CHECK(strncmp(text, "chopin: warning: a??b?[31m\nchopin: error: bbb", 44) == 0);
    CHECK(n > 1000 && text[n - 1] == '\n' && !strstr(text, "below"));
}

/* ---- two of what there may be one of ---- */

static int admin_calls;
static int admin(chopin_ctx *c) { admin_calls++; return chopin_text(c, 200, "admin"); }

static void smuggled_requests_never_run(void) {
    static const char *const attacks[] = {                   // each hides GET /admin behind something that parsers disagree about
        "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nHost: t\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\nContent-Length: 40\r\n\r\nGET /admin HTTP/1.1\r\nHost: t\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: abc\r\n\r\nGET /admin HTTP/1.1\r\nHost: t\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: xchunked\r\n\r\nGET /admin HTTP/1.1\r\nHost: t\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nGET /admin HTTP/1.1\r\nHost: t\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding : chunked\r\n\r\nGET /admin HTTP/1.1\r\nHost: t\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: t\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: t\r\nContent-Length: 36\r\n\r\nGET /admin HTTP/1.1\r\nHost: t\r\nX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\nGET /admin HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: t\r\nX: a\nGET /admin HTTP/1.1\r\nHost: t\r\n\r\n",
        "FOO / HTTP/9.9\r\nHost: t\r\n\r\nGET /admin HTTP/1.1\r\nHost: t\r\n\r\n",
        "PUT /nowhere HTTP/1.1\r\nHost: t\r\nContent-Length: 40\r\n\r\nGET /admin HTTP/1.1\r\nHost: t\r\n\r\n12345678",
    };
    chopin_options o = listening();
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/", plain, NULL);
    chopin_route(app, "POST", "/", plain, NULL);
    chopin_route(app, "GET", "/admin", admin, NULL);
    for (size_t i = 0; i < sizeof attacks / sizeof attacks[0]; i++) {
        for (size_t step = 0; step < 3; step++) {
            admin_calls = 0;
            chopin_test_request(app, chopin__str_z(attacks[i]), &(chopin_test_options){ .read_step = step });
            if (!CHECK_EQ_INT(admin_calls, 0)) printf("attack %zu\n", i);
        }
    }
    chopin_free(app);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(client_address_cannot_be_forged);
    RUN(trusted_proxies_are_read_from_the_right);
    RUN(a_unix_peer_is_trusted_only_if_said);
    RUN(a_bad_proxy_list_stops_the_start);
    RUN(without_cors_nothing_is_said);
    RUN(cors_speaks_to_listed_origins_only);
    RUN(a_star_with_credentials_stops_the_start);
    RUN(csrf_defaults);
    RUN(cookie_defaults);
    RUN(the_limiter_answers_429_and_says_when);
    RUN(waiting_as_told_is_enough);
    RUN(the_limiter_counts_what_it_covers);
    RUN(strangers_cannot_choose_their_bucket);
    RUN(hash_is_seeded);
    RUN(log_lines_hold_no_control_bytes);
    RUN(long_texts_are_cut_not_overrun);
    RUN(stderr_lines_are_whole_lines);
    RUN(smuggled_requests_never_run);
    return TEST_END();
}
