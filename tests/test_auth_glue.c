/* test_auth_glue.c - middleware and login in chopin.h, played in process; a full queue of password work on real sockets. live_auth.py talks to login_jwt by curl. */
#define CHOPIN_IMPLEMENTATION
#include "../chopin.h"
#include "../chopin_auth.h"
#include "test.h"
#include "auth_kit.h"

#define SHOP(PERMISSION, ROLE)                                    \
    PERMISSION(ORDERS_READ,  "orders:read")                       \
    PERMISSION(ORDERS_WRITE, "orders:write")                      \
    ROLE(CLERK, "clerk", ORDERS_READ, ORDERS_WRITE)               \
    ROLE(EMPTY, "empty", 0)
CHOPIN_AUTH_ROLES(shop, SHOP)

static chopin_jwk key;
static chopin_jwt_verifier api;
static chopin_auth_record records[500];
static chopin_auth_memory memory;
static chopin_auth_store store;
static chopin_auth_cookie_ring ring;
static chopin_auth_sessions sessions;
static chopin_password_pool pool;
static chopin_auth_guard guard;
static uint64_t guard_table[7 * 1024];
static chopin_auth_door door;
static char hash[CHOPIN_AUTH_PW_TEXT], new_hash[CHOPIN_AUTH_PW_TEXT];
static int events[10];
static int64_t user_step;
static const char *totp_secret;
static bool confirmed = true;
static void on_event(void *ctx, chopin_auth_event e, chopin_str user, chopin_str from) { (void)ctx; (void)user; (void)from; events[e]++; }

static chopin_auth_mask grants(void *ctx, chopin_str user) {
    chopin_auth_mask m = { { 0, 0 } };
    (void)ctx;
    if (user.len == 3 && memcmp(user.ptr, "bob", 3) == 0) CHECK(chopin_auth_roles_role(&shop, CHOPIN_STR("clerk"), &m));
    return m;
}

static int mw_bearer(chopin_ctx *c) { return chopin_auth_bearer(c, &api); }
static int mw_session(chopin_ctx *c) { return chopin_auth_session(c, &sessions); }
static int mw_key(chopin_ctx *c) { return chopin_auth_api_key(c, &store, &shop); }
static int mw_csrf(chopin_ctx *c) { return chopin_auth_csrf(c, &sessions); }
static int who(chopin_ctx *c) { const chopin_auth_who *me = chopin_auth_me(c); chopin_str sub = me ? me->sub : chopin__absent(); return chopin_textf(c, 200, "%.*s", CHOPIN_FMT(sub)); }
static int write_order(chopin_ctx *c) {
    if (chopin_auth_need(c, ORDERS_READ) || chopin_auth_need(c, ORDERS_WRITE) || chopin_auth_need_role(c, "clerk")) return CHOPIN_OK;
    return who(c);
}
static int scoped(chopin_ctx *c) { return chopin_auth_need_scope(c, "orders:read") ? CHOPIN_OK : who(c); }
static int role_empty(chopin_ctx *c) { return chopin_auth_need_role(c, "nosuch") ? CHOPIN_OK : who(c); }
static int login(chopin_ctx *c) {
    chopin_str user = chopin_form(c, "user");
    chopin_auth_attempt a = { .account = user, .password = chopin_form(c, "password"), .code = chopin_form(c, "code"), .verified = confirmed, .step = user_step };
    if (user.len == 3 && memcmp(user.ptr, "bob", 3) == 0) {
        a.stored = kit_z(hash);
        if (totp_secret) a.totp = kit_z(totp_secret);
    }
    if (chopin_auth_login(c, &door, &a)) return CHOPIN_OK;
    user_step = a.step;
    memset(new_hash, 0, sizeof new_hash);
    if (a.new_hash.len) memcpy(new_hash, a.new_hash.ptr, a.new_hash.len);
    return chopin_auth_start(c, &sessions, user);
}
static int logout(chopin_ctx *c) { return chopin_auth_logout(c, &sessions); }

static void resident(void) {
    static const chopin_auth_cookie_key keys[] = { { 1, { "0123456789abcdef0123456789abcdef", 32 } } };
    key = kit_key('k', "");
    kit_now = KIT_NOW;
    CHECK_EQ_INT(chopin_auth_roles_init(&shop), 0);
    CHECK_EQ_INT(chopin_jwt_verifier_init(&api, &(chopin_jwt_verifier_options){ .key = &key, .iss = CHOPIN_STR("me"), .aud = CHOPIN_STR("us"), .clock = kit_clock, .roles = &shop }), 0);
    CHECK_EQ_INT(chopin_auth_store_init(&store, &memory, records, sizeof records), 0);
    CHECK_EQ_INT(chopin_auth_cookie_ring_init(&ring, keys, 1), 0);
    sessions = (chopin_auth_sessions){ .store = &store, .ring = &ring, .origins = CHOPIN_STR("https://shop.example"), .roles = &shop, .grants = grants, .on_event = on_event, .clock = kit_clock };
    CHECK_EQ_INT(chopin_auth_guard_init(&guard, &(chopin_auth_guard_options){ .memory = guard_table, .size = sizeof guard_table }), 0);
    door = (chopin_auth_door){ .pool = &pool, .guard = &guard, .recovery = &store, .on_event = on_event, .clock = kit_clock };
    memset(events, 0, sizeof events);
    user_step = 0, totp_secret = NULL, confirmed = true;
}
static chopin_app *app_new(void) {
    chopin_app *app = chopin_new(&(chopin_options){ .workers = 1, .quiet = true, .no_env = true, .no_signals = true, .max_body = 65536, .trusted_proxies = "10.0.0.0/8" });
    resident();
    chopin_use(app, "/api", mw_bearer);
    chopin_use(app, "/twice", mw_bearer);
    chopin_use(app, "/twice", mw_bearer);
    chopin_use(app, "/account", mw_session);
    chopin_use(app, "/key", mw_key);
    chopin_use(app, "/form", mw_csrf);
    static const struct { const char *method, *path; chopin_handler fn; } routes[] = { { "GET", "/api/who", who }, { "POST", "/api/orders", write_order }, { "GET", "/api/scoped", scoped }, { "GET", "/api/empty", role_empty }, { "GET", "/twice", write_order },
        { "GET", "/account/who", who }, { "POST", "/account/orders", write_order }, { "POST", "/account/logout", logout }, { "GET", "/key/who", who }, { "POST", "/key/orders", write_order }, { "POST", "/form", who }, { "POST", "/login", login }, { "GET", "/open", write_order } };
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) chopin_route(app, routes[i].method, routes[i].path, routes[i].fn, NULL);
    return app;
}

static chopin_app *app;
static char request[200000], reply[20000];
/* Plays one request; headers are lines with CRLF. Gives the status. */
static int play(const char *line, const char *headers, const char *body) {
    int n = snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: shop.example\r\n%s", line, headers);
    if (body) n += snprintf(request + n, sizeof request - (size_t)n, "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %zu\r\n", strlen(body));
    n += snprintf(request + n, sizeof request - (size_t)n, "\r\n%s", body ? body : "");
    chopin_str r = chopin_test_request(app, (chopin_str){ request, (size_t)n }, NULL);
    size_t len = r.ptr ? (r.len < sizeof reply - 1 ? r.len : sizeof reply - 1) : 0;
    if (len) memcpy(reply, r.ptr, len);
    reply[len] = 0;
    return len > 12 ? atoi(reply + 9) : 0;
}
static bool has(const char *text) { return strstr(reply, text) != NULL; }
static const char *bearer(const char *scheme, const char *header, const char *claims) {
    static char line[100000];
    chopin_str t = kit_token(header, claims);
    snprintf(line, sizeof line, "Authorization: %s %.*s\r\n", scheme, CHOPIN_FMT(t));
    return line;
}
static const char *body_of(void) { const char *p = strstr(reply, "\r\n\r\n"); return p ? p + 4 : ""; }
/* The session cookie that the last reply set, as a header line. */
static const char *cookie(void) {
    static char line[200];
    const char *p = strstr(reply, "__Host-session=");
    size_t n = p ? strcspn(p, ";\r") : 0;
    snprintf(line, sizeof line, "Cookie: %.*s\r\n", (int)n, p ? p : "");
    return line;
}
static const char *both(const char *a, const char *b) { static char text[2][100000]; static int at; at ^= 1; snprintf(text[at], sizeof text[at], "%s%s", a, b); return text[at]; }

static void bearer_in_any_case(void) {
    static const char *const schemes[] = { "bearer", "BEARER", "Bearer", "bEaReR", "Bearer  " };
    for (size_t i = 0; i < 5; i++) { CHECK_EQ_INT(play("GET /api/who", bearer(schemes[i], KIT_HEADER, "{" KIT_CLAIMS ",\"sub\":\"42\"}"), NULL), 200); CHECK(strcmp(body_of(), "42") == 0); }
    CHECK_EQ_INT(play("GET /api/who", bearer("Bearers", KIT_HEADER, "{" KIT_CLAIMS "}"), NULL), 401);
    CHECK_EQ_INT(play("GET /api/who", bearer("Basic", KIT_HEADER, "{" KIT_CLAIMS "}"), NULL), 401);
}

static void refusals_say_what_rfc6750_wants(void) {
    CHECK_EQ_INT(play("GET /api/who", "", NULL), 401);
    CHECK(has("WWW-Authenticate: Bearer\r\n") && has("application/problem+json"));
    CHECK_EQ_INT(play("GET /api/who", "Authorization: Bearer x.y.z\r\n", NULL), 401);
    CHECK(has("WWW-Authenticate: Bearer error=\"invalid_token\"\r\n") && has("application/problem+json"));
    CHECK_EQ_INT(play("GET /api/who", "Authorization: Bearer\r\n", NULL), 400);
    CHECK(has("error=\"invalid_request\""));
    CHECK_EQ_INT(play("POST /api/orders", bearer("Bearer", KIT_HEADER, "{" KIT_CLAIMS ",\"scope\":\"orders:read\"}"), NULL), 403);
    CHECK(has("WWW-Authenticate: Bearer error=\"insufficient_scope\", scope=\"orders:write\"\r\n") && has("application/problem+json"));
    CHECK_EQ_INT(play("POST /api/orders", bearer("Bearer", KIT_HEADER, "{" KIT_CLAIMS ",\"sub\":\"42\",\"roles\":[\"clerk\"]}"), NULL), 200);
    CHECK_EQ_INT(play("GET /api/scoped", bearer("Bearer", KIT_HEADER, "{" KIT_CLAIMS ",\"scope\":\"a orders:read\"}"), NULL), 200);
    CHECK_EQ_INT(play("GET /api/scoped", bearer("Bearer", KIT_HEADER, "{" KIT_CLAIMS ",\"scope\":\"orders:reads\"}"), NULL), 403);
    CHECK_EQ_INT(play("GET /api/empty", bearer("Bearer", KIT_HEADER, "{" KIT_CLAIMS ",\"roles\":[\"clerk\"]}"), NULL), 403);
    CHECK_EQ_INT(play("GET /open", bearer("Bearer", KIT_HEADER, "{" KIT_CLAIMS ",\"roles\":[\"clerk\"]}"), NULL), 401);       // no middleware has looked at it
}

static void one_credential_a_request(void) {
    const char *token = bearer("Bearer", KIT_HEADER, "{" KIT_CLAIMS ",\"sub\":\"42\"}");
    CHECK_EQ_INT(play("GET /api/who", both(token, token), NULL), 400);
    CHECK_EQ_INT(play("GET /api/who", both(token, "Cookie: __Host-session=x\r\n"), NULL), 400);
    CHECK_EQ_INT(play("GET /api/who", both(token, "X-API-Key: x\r\n"), NULL), 400);
    CHECK_EQ_INT(play("GET /account/who", both(token, "Cookie: __Host-session=x\r\n"), NULL), 400);
    CHECK_EQ_INT(play("GET /key/who", "X-API-Key: x\r\nX-API-Key: y\r\n", NULL), 400);
    char line[3000];
    chopin_str t = kit_token(KIT_HEADER, "{" KIT_CLAIMS "}");
    snprintf(line, sizeof line, "GET /api/who?access_token=%.*s", CHOPIN_FMT(t));
    CHECK_EQ_INT(play(line, "", NULL), 401);                                                        // a token in the query string is never read
}

static void one_verification_a_request(void) {
    kit_clock_calls = 0;
    CHECK_EQ_INT(play("GET /twice", bearer("Bearer", KIT_HEADER, "{" KIT_CLAIMS ",\"sub\":\"42\",\"roles\":[\"clerk\"]}"), NULL), 200);
    CHECK_EQ_INT(kit_clock_calls, 1);                                                               // two middlewares, three checks, claims read
}

static void login_session_logout(void) {
    char old[200];
    CHECK_EQ_INT(play("GET /account/who", "", NULL), 401);
    CHECK_EQ_INT(play("POST /login", "", "user=bob&password=correct+horse+battery"), 204);
    CHECK(has("Secure") && has("HttpOnly") && has("SameSite=Lax") && has("Path=/") && has("Cache-Control: no-store"));
    snprintf(old, sizeof old, "%s", cookie());
    CHECK_EQ_INT(play("GET /account/who", old, NULL), 200);
    CHECK(strcmp(body_of(), "bob") == 0);
    CHECK_EQ_INT(play("POST /account/orders", both(old, "Sec-Fetch-Site: same-origin\r\n"), NULL), 200);
    CHECK_EQ_INT(play("POST /account/logout", both(old, "Origin: https://shop.example\r\n"), NULL), 204);
    CHECK(has("Max-Age=0") || has("Expires="));
    CHECK_EQ_INT(play("GET /account/who", old, NULL), 401);                                         // dead in the store
    CHECK(events[CHOPIN_AUTH_EV_LOGIN] == 1 && events[CHOPIN_AUTH_EV_LOGOUT] == 1);
    CHECK_EQ_INT(play("POST /login", "", "user=bob&password=correct+horse+battery"), 204);
    snprintf(old, sizeof old, "%s", cookie());
    CHECK_EQ_INT(play("POST /login", old, "user=bob&password=correct+horse+battery"), 204);
    CHECK(strcmp(old, cookie()) != 0);
    CHECK_EQ_INT(play("GET /account/who", old, NULL), 401);                                         // the id before the login is dead
}

static void login_has_one_voice(void) {
    char first[2000];
    CHECK_EQ_INT(play("POST /login", "", "user=bob&password=wrong+horse+battery"), 401);
    snprintf(first, sizeof first, "%s", body_of());
    uint64_t hashes = atomic_load(&pool.hashes);
    CHECK_EQ_INT(play("POST /login", "", "user=eve&password=wrong+horse+battery"), 401);
    CHECK(atomic_load(&pool.hashes) == hashes + 1 && strcmp(first, body_of()) == 0);
    totp_secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    CHECK_EQ_INT(play("POST /login", "", "user=bob&password=correct+horse+battery&code=000000"), 401);
    CHECK(strcmp(first, body_of()) == 0);
    CHECK_EQ_INT(play("POST /login", "", "user=bob&password=correct+horse+battery"), 401);
    CHECK(strcmp(first, body_of()) == 0);
    CHECK_EQ_INT(events[CHOPIN_AUTH_EV_FAILURE], 4);
    CHECK_EQ_INT(play("POST /login", "", "user=bob&password=x"), 401);
    CHECK_EQ_INT(play("POST /login", "", "user=bob&password=correct+horse+battery"), 429);          // wrong codes counted like wrong passwords
    CHECK(has("Retry-After: ") && events[CHOPIN_AUTH_EV_LIMITED] == 1);
}

static void second_factor_and_recovery(void) {
    char code[9], body[200], codes[10][20];
    totp_secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    CHECK_EQ_INT(chopin_totp_at(NULL, kit_z(totp_secret), kit_now, code), 0);
    snprintf(body, sizeof body, "user=bob&password=correct+horse+battery&code=%s", code);
    CHECK_EQ_INT(play("POST /login", "", body), 204);
    CHECK_EQ_INT(user_step, KIT_NOW / 30);
    CHECK_EQ_INT(play("POST /login", "", body), 401);                                               // the same code again
    CHECK_EQ_INT(chopin_auth_recovery_new(&store, CHOPIN_STR("bob"), kit_now, codes), 0);
    snprintf(body, sizeof body, "user=bob&password=correct+horse+battery&code=%s", codes[3]);
    CHECK_EQ_INT(play("POST /login", "", body), 204);
    CHECK_EQ_INT(play("POST /login", "", body), 401);
}

static void csrf_guards_cookies(void) {
    char c[200], token[CHOPIN_AUTH_CSRF_TEXT], line[400];
    CHECK_EQ_INT(play("POST /login", "", "user=bob&password=correct+horse+battery"), 204);
    snprintf(c, sizeof c, "%s", cookie());
    CHECK_EQ_INT(play("POST /account/orders", c, NULL), 403);                                       // it does not say where it is from
    CHECK_EQ_INT(play("POST /account/orders", both(c, "Origin: https://evil.example\r\n"), NULL), 403);
    CHECK_EQ_INT(play("POST /account/orders", both(c, "Origin: null\r\n"), NULL), 403);
    CHECK_EQ_INT(play("POST /account/orders", both(c, "Origin: http://shop.example\r\n"), NULL), 403);
    CHECK_EQ_INT(play("POST /account/orders", both(c, "Sec-Fetch-Site: cross-site\r\n"), NULL), 403);
    CHECK_EQ_INT(play("POST /account/orders", both(c, "Origin: https://shop.example\r\n"), NULL), 200);
    char id[44];
    snprintf(id, sizeof id, "%.43s", strchr(c, '=') + 1);
    CHECK_EQ_INT(chopin_auth_csrf_token(&ring, kit_z(id), token), 0);
    snprintf(line, sizeof line, "%sX-CSRF-Token: %s\r\n", c, token);
    CHECK_EQ_INT(play("POST /account/orders", line, NULL), 200);
    snprintf(line, sizeof line, "csrf=%s", token);
    CHECK_EQ_INT(play("POST /account/orders", c, line), 200);
    CHECK_EQ_INT(chopin_auth_csrf_token(&ring, CHOPIN_STR("another"), token), 0);
    snprintf(line, sizeof line, "%sX-CSRF-Token: %s\r\n", c, token);
    CHECK_EQ_INT(play("POST /account/orders", line, NULL), 403);
    sessions.always_token = true;
    CHECK_EQ_INT(play("POST /account/orders", both(c, "Origin: https://shop.example\r\n"), NULL), 403);
    CHECK_EQ_INT(play("GET /account/who", c, NULL), 200);
    sessions.always_token = false;
    CHECK_EQ_INT(play("POST /form", "Origin: https://evil.example\r\n", "a=b"), 403);
    CHECK_EQ_INT(play("POST /form", "Sec-Fetch-Site: same-origin\r\n", "a=b"), 200);
}

static void api_keys_pass(void) {
    char text[CHOPIN_AUTH_APIKEY_TEXT], line[200];
    CHECK(chopin_auth_apikey_new(&store, CHOPIN_STR("sk"), CHOPIN_STR("robot"), CHOPIN_STR("orders:read"), 0, 0, text) > 0);
    snprintf(line, sizeof line, "X-API-Key: %s\r\n", text);
    CHECK_EQ_INT(play("GET /key/who", line, NULL), 200);
    CHECK(strcmp(body_of(), "robot") == 0);
    CHECK_EQ_INT(play("POST /key/orders", line, NULL), 403);
    CHECK_EQ_INT(play("GET /key/who", "X-API-Key: nonsense\r\n", NULL), 401);
    CHECK_EQ_INT(play("GET /key/who", "", NULL), 401);
}

static void busy_arenas_are_503(void) {
    for (int i = 0; i < pool.o.arenas; i++) CHECK(chopin_auth__pool_take(&pool) >= 0);
    for (int i = 0; i < 8; i++) CHECK_EQ_INT(play("POST /login", "", "user=bob&password=correct+horse+battery"), 503);      // and no failure is counted
    CHECK(has("Retry-After: 1"));
    for (int i = 0; i < pool.o.arenas; i++) chopin_auth__pool_give(&pool, i);
    CHECK_EQ_INT(play("POST /login", "", "user=bob&password=correct+horse+battery"), 204);
}

static void weak_hashes_come_back_new(void) {
    char strong[CHOPIN_AUTH_PW_TEXT];
    memcpy(strong, hash, sizeof hash);
    strcpy(hash, "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$");
    chopin_auth__pw h = { .p = { CHOPIN_AUTH_PW_ARGON2ID, 8, 1, 1, 0, 0, 0 }, .salt_len = 16, .tag_len = 32 };
    CHECK_EQ_INT(chopin_auth__pw_compute(&pool, 0, &h, CHOPIN_STR("correct horse battery"), h.tag), 0);
    CHECK(chopin_auth__pw_format(&h, hash, sizeof hash) > 0);
    CHECK_EQ_INT(play("POST /login", "", "user=bob&password=correct+horse+battery"), 204);
    CHECK(strncmp(new_hash, "$argon2id$v=19$m=64,", 20) == 0 && events[CHOPIN_AUTH_EV_REHASH] == 1);
    memcpy(hash, strong, sizeof hash);
}

static void unconfirmed_is_403(void) {
    confirmed = false;
    for (int i = 0; i < 8; i++) CHECK_EQ_INT(play("POST /login", "", "user=bob&password=correct+horse+battery"), 403);
    CHECK_EQ_INT(play("POST /login", "", "user=bob&password=wrong"), 401);                          // told only to who knows the password
    confirmed = true;
    CHECK_EQ_INT(play("POST /login", "", "user=bob&password=correct+horse+battery"), 204);
}

/* ---- real sockets: one thread hashes, one login may wait for it, everybody else hears 503 at once ---- */
static void *serve(void *arg) { return (void *)(intptr_t)chopin_serve(arg, NULL); }
static int dial(int port) {
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&in, sizeof in) == 0);
    return fd;
}
static void send_login(int fd) {
    static const char text[] = "POST /login HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 39\r\n\r\nuser=bob&password=correct+horse+battery";
    CHECK_EQ_INT(write(fd, text, sizeof text - 1), sizeof text - 1);
}
static int read_status(int fd) {
    size_t n = 0;
    ssize_t got;
    while ((got = read(fd, reply + n, sizeof reply - 1 - n)) > 0) n += (size_t)got;
    reply[n] = 0;
    close(fd);
    return n > 12 ? atoi(reply + 9) : 0;
}
static void a_full_queue_is_503(void) {
    enum { CLIENTS = 12 };
    char strong[CHOPIN_AUTH_PW_TEXT], quick[CHOPIN_AUTH_PW_TEXT];
    int fd[CLIENTS], good = 0, full = 0;
    pthread_t thread;
    void *rc;
    chopin_password_pool slow;
    CHECK_EQ_INT(chopin_password_pool_init(&slow, &(chopin_password_options){ .params = { CHOPIN_AUTH_PW_ARGON2ID, 32768, 4, 1, 0, 0, 0 }, .arenas = 2 }), 0);
    CHECK(chopin_password_hash(&slow, CHOPIN_STR("correct horse battery"), strong, sizeof strong) > 0);
    resident();
    door.pool = &slow;
    memcpy(quick, hash, sizeof hash), memcpy(hash, strong, sizeof hash);
    app = chopin_new(&(chopin_options){ .workers = 1, .quiet = true, .no_env = true, .no_signals = true, .offload_threads = 1, .offload_queue = 1 });
    chopin_route(app, "POST", "/login", login, NULL);
    CHECK_EQ_INT(chopin_listen(app, "127.0.0.1:0"), 0);
    CHECK_EQ_INT(pthread_create(&thread, NULL, serve, app), 0);
    for (int i = 0; i < 10000 && chopin_port(app, 0) <= 0; i++) usleep(1000);                       // until it has an address
    for (int i = 0; i < CLIENTS; i++) fd[i] = dial(chopin_port(app, 0));
    for (int i = 0; i < CLIENTS; i++) send_login(fd[i]);
    for (int i = 0; i < CLIENTS; i++) {
        int status = read_status(fd[i]);
        good += status == 204;
        full += status == 503;
    }
    CHECK(good >= 1 && full >= CLIENTS / 2 && good + full == CLIENTS);
    CHECK_EQ_INT(events[CHOPIN_AUTH_EV_FAILURE], 0);
    int again = dial(chopin_port(app, 0));                                                          // and nobody was counted against
    send_login(again);
    CHECK_EQ_INT(read_status(again), 204);
    chopin_stop(app);
    CHECK(pthread_join(thread, &rc) == 0 && rc == NULL);
    chopin_free(app);
    memcpy(hash, quick, sizeof hash);
    door.pool = &pool;
    chopin_password_pool_done(&slow);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    if (chopin_password_pool_init(&pool, &(chopin_password_options){ .params = { CHOPIN_AUTH_PW_ARGON2ID, 64, 1, 1, 0, 0, 0 }, .arenas = 2, .arena_kib = 1024 }) < 0) return 1;
    if (chopin_password_hash(&pool, CHOPIN_STR("correct horse battery"), hash, sizeof hash) < 0) return 1;
#define PLAY(test) do { app = app_new(); RUN(test); chopin_free(app); } while (0)
    PLAY(bearer_in_any_case);
    PLAY(refusals_say_what_rfc6750_wants);
    PLAY(one_credential_a_request);
    PLAY(one_verification_a_request);
    PLAY(login_session_logout);
    PLAY(login_has_one_voice);
    PLAY(second_factor_and_recovery);
    PLAY(csrf_guards_cookies);
    PLAY(api_keys_pass);
    PLAY(busy_arenas_are_503);
    PLAY(weak_hashes_come_back_new);
    PLAY(unconfirmed_is_403);
    RUN(a_full_queue_is_503);
    chopin_password_pool_done(&pool);
    return TEST_END();
}
