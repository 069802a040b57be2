/* test_auth_chopin.c - AUTH.md 3.7: the mistakes of the Rust suite, as steps. The program under test is examples/login_jwt.c, played in process; what it prints (mail, log)
 * is caught. Build with -I of the folders of chopin.h and chopin_auth.h. */
#define CHOPIN_IMPLEMENTATION
#include "../chopin.h"
#include "../chopin_auth.h"
#include "test.h"
#include "auth_kit.h"

static char caught[20000];
static size_t caught_len;
static int catch_printf(const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (caught_len > sizeof caught - 2000) caught_len = 0;
    int n = vsnprintf(caught + caught_len, sizeof caught - caught_len, format, args);
    va_end(args);
    caught_len += n > 0 ? (size_t)n : 0;
    return n;
}
#undef printf
#define printf catch_printf
#define main login_main
#include "../examples/login_jwt.c"
#undef main
#undef printf

static chopin_app *app;
static char request[200000], reply[30000], from_address[60];

static int play(const char *line, const char *headers, const char *body) {
    int n = snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: shop.example\r\n%s%s", line, from_address, headers);
    if (body) n += snprintf(request + n, sizeof request - (size_t)n, "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %zu\r\n", strlen(body));
    n += snprintf(request + n, sizeof request - (size_t)n, "\r\n%s", body ? body : "");
    chopin_str r = chopin_test_request(app, (chopin_str){ request, (size_t)n }, NULL);
    size_t len = r.ptr ? (r.len < sizeof reply - 1 ? r.len : sizeof reply - 1) : 0;
    if (len) memcpy(reply, r.ptr, len);
    reply[len] = 0;
    return len > 12 ? atoi(reply + 9) : 0;
}
static const char *body_of(void) { const char *p = strstr(reply, "\r\n\r\n"); return p ? p + 4 : ""; }
static bool has(const char *text) { return strstr(reply, text) != NULL; }
/* A value of the last reply or of what was printed: what stands behind `before` up to one of `stops`. */
static const char *value(const char *text, const char *before, const char *stops) {
    static char out[8][2000];
    static int at;
    const char *p = NULL;
    for (const char *hit = text; (hit = strstr(hit, before)) != NULL; hit++) p = hit + strlen(before);      // the last one
    at = (at + 1) % 8;
    snprintf(out[at], sizeof out[at], "%.*s", p ? (int)strcspn(p, stops) : 0, p ? p : "");
    return out[at];
}
static const char *text_of(const char *format, ...) {
    static char out[8][4000];
    static int at;
    va_list args;
    at = (at + 1) % 8;
    va_start(args, format);
    vsnprintf(out[at], sizeof out[at], format, args);
    va_end(args);
    return out[at];
}
static const char *ticket(void) { return value(caught, "ticket=", "\n"); }
static const char *session(void) { return text_of("Cookie: __Host-session=%s\r\nSec-Fetch-Site: same-origin\r\n", value(reply, "__Host-session=", ";\r")); }
static const char *access_of(void) { return text_of("Authorization: Bearer %s\r\n", value(reply, "\"access\":\"", "\"")); }
static const char *refresh_of(void) { return text_of("refresh=%s", value(reply, "\"refresh\":\"", "\"")); }

static void enter(const char *email) {                                     /* sign up and confirm */
    CHECK_EQ_INT(play("POST /signup", "", text_of("email=%s&password=correct+horse+battery", email)), 202);
    CHECK_EQ_INT(play("POST /confirm", "", text_of("ticket=%s", ticket())), 200);
}
static int log_in(const char *email) { return play("POST /login", "", text_of("email=%s&password=correct+horse+battery", email)); }

static const chopin_password_params cheap = { CHOPIN_AUTH_PW_ARGON2ID, 64, 1, 1, 0, 0, 0 };
static chopin_app *started(void) {
    setenv("LOGIN_ADMIN", "ann@example.com", 1);
    from_address[0] = 0;
    memset(users, 0, sizeof users);
    caught_len = 0;
    int rc = setup(CHOPIN_STR("0123456789abcdef0123456789abcdef"));
    chopin_password_pool_done(&pool);
    if (rc == 0) rc = chopin_password_pool_init(&pool, &(chopin_password_options){ .arenas = 4, .arena_kib = 1024, .params = cheap });
    CHECK_EQ_INT(rc, 0);
    chopin_app *a = chopin_new(&(chopin_options){ .workers = 1, .quiet = true, .no_env = true, .no_signals = true, .max_body = 16384, .trusted_proxies = "10.0.0.0/8" });
    chopin_use(a, "/account", signed_in);
    chopin_use(a, "/api", guarded);
    chopin_mount_all(a);
    return a;
}

/* A token to /api, signed by the program's own key, with a header and claims of ours. */
static int with_token(const char *header, const char *claims) {
    static char text[9000];
    uint8_t mac[32];
    int n = chopin_base64url_encode(kit_z(header), text, sizeof text);
    text[n++] = '.';
    n += chopin_base64url_encode(kit_z(claims), text + n, sizeof text - (size_t)n);
    chopin_hmac_sign(&key.u.hmac, (chopin_str){ text, (size_t)n }, mac);
    text[n++] = '.';
    n += chopin_base64url_encode((chopin_str){ (char *)mac, 32 }, text + n, sizeof text - (size_t)n);
    return play("GET /api/me", text_of("Authorization: Bearer %.*s\r\n", n, text), NULL);
}
static const char *good_claims(const char *more) {
    long long t = (long long)time(NULL);
    return text_of("{\"iss\":\"https://shop.example\",\"aud\":\"shop\",\"exp\":%lld,\"iat\":%lld,\"jti\":\"j\",\"sub\":\"bob\"%s}", t + 100, t - 5, more);
}

static void step_01_odd_bytes_in_the_header_are_401(void) {
    CHECK_EQ_INT(with_token("{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"kid\":\"\xc3\"}", good_claims("")), 401);
    CHECK_EQ_INT(play("GET /api/me", "Authorization: Bearer ey\xc3JhbGci.e30.AAAA\r\n", NULL), 401);
    CHECK_EQ_INT(with_token("{\"alg\":\"HS256\",\"typ\":\"at+jwt\"}", good_claims("")), 200);
}
static void step_02_one_spelling_of_base64(void) {
    static const char *const heads[] = { "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ+", "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ/", "eyJhbGciOiJIUzI1NiJ9=", "eyJhbGciOiJIUzI1NiJ9A", "eyJhbGciOiJIUzI1NiB9Cn" };
    for (size_t i = 0; i < 5; i++) CHECK_EQ_INT(play("GET /api/me", text_of("Authorization: Bearer %s.e30.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n", heads[i]), NULL), 401);
}
static void step_03_the_header_names_the_keys_algorithm(void) {
    uint8_t seed[32];
    char token[2000];
    chopin_jwk keys[2];
    memset(seed, 9, sizeof seed);
    CHECK(chopin_jwk_ed25519(&keys[0], (chopin_str){ NULL, 0 }, seed) == 0 && chopin_jwk_p256(&keys[1], (chopin_str){ NULL, 0 }, seed) == 0);
    for (int i = 0; i < 2; i++) {
        chopin_jwt_issuer m;
        CHECK_EQ_INT(chopin_jwt_issuer_init(&m, &(chopin_jwt_issuer_options){ .key = &keys[i], .iss = CHOPIN_STR("me"), .aud = CHOPIN_STR("us") }), 0);
        CHECK(chopin_jwt_issue(&m, &(chopin_jwt_claims){ .sub = CHOPIN_STR("1") }, token, sizeof token) > 0);
        CHECK(strncmp(token, i ? "eyJhbGciOiJFUzI1NiIs" : "eyJhbGciOiJFZERTQSIs", 20) == 0);         // {"alg":"ES256", {"alg":"EdDSA",
    }
}
static void step_04_revoked_through_a_key_set_and_a_single_key(void) {
    static chopin_jwks set;
    char token[2000], room[2000];
    chopin_jwt me;
    CHECK_EQ_INT(chopin_jwks_init(&set, NULL), 0);
    CHECK(chopin_jwks_add(&set, &key) == 1);
    int n = chopin_jwt_issue(&mint, &(chopin_jwt_claims){ .sub = CHOPIN_STR("1"), .jti = CHOPIN_STR("to be revoked") }, token, sizeof token);
    for (int revoke = 0; revoke < 2; revoke++) {
        for (int i = 0; i < 2; i++) {
            chopin_jwt_verifier v;
            CHECK_EQ_INT(chopin_jwt_verifier_init(&v, &(chopin_jwt_verifier_options){ .key = i ? &key : NULL, .keys = i ? NULL : &set, .iss = ISSUER, .aud = CHOPIN_STR("shop"), .revocation = &revoked }), 0);
            CHECK_EQ_INT(chopin_jwt_verify(&v, (chopin_str){ token, (size_t)n }, room, sizeof room, &me), revoke ? CHOPIN_AUTH_REVOKED : 0);
        }
        CHECK_EQ_INT(play("GET /api/me", text_of("Authorization: Bearer %.*s\r\n", n, token), NULL), revoke ? 401 : 200);
        CHECK_EQ_INT(chopin_auth_revoke(&revoked, ISSUER, CHOPIN_STR("to be revoked"), time(NULL) + 900), 0);
    }
    chopin_jwks_done(&set);
}
static void step_05_nbf_ahead_or_a_string(void) {
    const char *h = "{\"alg\":\"HS256\",\"typ\":\"at+jwt\"}";
    CHECK_EQ_INT(with_token(h, good_claims(text_of(",\"nbf\":%lld", (long long)time(NULL) + 3600))), 401);
    CHECK_EQ_INT(with_token(h, good_claims(",\"nbf\":\"1\"")), 401);
    CHECK_EQ_INT(with_token(h, good_claims(",\"nbf\":1")), 200);
}
static void step_06_issuer_and_audience_by_two_options(void) {
    long long t = (long long)time(NULL) + 100;
    const char *h = "{\"alg\":\"HS256\",\"typ\":\"at+jwt\"}";
    CHECK_EQ_INT(with_token(h, text_of("{\"iss\":\"https://shop.example\",\"aud\":\"other\",\"exp\":%lld,\"jti\":\"j\"}", t)), 401);
    CHECK_EQ_INT(with_token(h, text_of("{\"iss\":\"https://evil.example\",\"aud\":\"shop\",\"exp\":%lld,\"jti\":\"j\"}", t)), 401);
    CHECK_EQ_INT(with_token(h, text_of("{\"iss\":\"https://shop.example\",\"aud\":[\"x\",\"shop\"],\"exp\":%lld,\"jti\":\"j\",\"iat\":1}", t)), 200);
}
static void step_11_costs_from_outside(void) {
    char fresh[CHOPIN_AUTH_PW_TEXT];
    CHECK_EQ_INT(chopin_password_login(&pool, CHOPIN_STR("$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweA"), CHOPIN_STR("x"), fresh), CHOPIN_AUTH_LIMIT);
}
static void step_13_two_verifiers_each_initialised_twice(void) {
    chopin_jwk two = kit_key('2', "");
    chopin_jwt_verifier a, b;
    for (int i = 0; i < 2; i++) {
        CHECK_EQ_INT(chopin_jwt_verifier_init(&a, &(chopin_jwt_verifier_options){ .key = &key, .iss = CHOPIN_STR("x"), .aud = CHOPIN_STR("y") }), 0);
        CHECK_EQ_INT(chopin_jwt_verifier_init(&b, &(chopin_jwt_verifier_options){ .key = &two, .iss = CHOPIN_STR("x"), .aud = CHOPIN_STR("y") }), 0);
    }
}
static void step_14_reset_tells_nothing_and_ends_everything(void) {
    char known[3000], cookie[300], token[2100], old[200];
    enter("bob@example.com");
    CHECK_EQ_INT(log_in("bob@example.com"), 200);
    snprintf(cookie, sizeof cookie, "%s", session());
    snprintf(token, sizeof token, "%s", access_of());
    snprintf(old, sizeof old, "%s", refresh_of());
    caught_len = 0, caught[0] = 0;
    CHECK_EQ_INT(play("POST /reset/ask", "", "email=nobody%40example.com"), 202);
    snprintf(known, sizeof known, "%s", body_of());
    CHECK(strstr(caught, "ticket=") == NULL);
    CHECK_EQ_INT(play("POST /reset/ask", "", "email=bob@example.com"), 202);
    CHECK(strcmp(known, body_of()) == 0 && strstr(caught, "mail to bob@example.com") && !strstr(reply, ticket()));
    const char *t = text_of("ticket=%s&password=a+whole+new+password", ticket());
    CHECK_EQ_INT(play("POST /reset", "", text_of("ticket=%s&password=short", ticket())), 400);         // does not burn it
    CHECK_EQ_INT(play("POST /reset", "", t), 204);
    CHECK_EQ_INT(play("POST /reset", "", t), 401);
    CHECK_EQ_INT(play("POST /account/totp", cookie, NULL), 401);
    CHECK_EQ_INT(play("POST /refresh", "", old), 401);
    CHECK_EQ_INT(play("GET /api/me", token, NULL), 401);
    CHECK_EQ_INT(log_in("bob@example.com"), 401);
    CHECK_EQ_INT(play("POST /login", "", "email=bob@example.com&password=a+whole+new+password"), 200);
}
static void step_15_logout_ends_cookie_refresh_and_access(void) {
    char cookie[300], token[2100], old[200];
    enter("bob@example.com");
    CHECK_EQ_INT(log_in("bob@example.com"), 200);
    snprintf(cookie, sizeof cookie, "%s", session());
    CHECK_EQ_INT(play("POST /refresh", "", refresh_of()), 200);
    snprintf(token, sizeof token, "%s", access_of());
    snprintf(old, sizeof old, "%s", refresh_of());
    CHECK_EQ_INT(play("GET /api/me", token, NULL), 200);
    CHECK_EQ_INT(play("POST /account/logout", cookie, NULL), 204);
    CHECK_EQ_INT(play("POST /account/logout", cookie, NULL), 401);
    CHECK_EQ_INT(play("POST /refresh", "", old), 401);
    CHECK_EQ_INT(play("GET /api/me", token, NULL), 401);
}
static void step_16_forms_from_elsewhere_are_403(void) {
    enter("bob@example.com");
    CHECK_EQ_INT(log_in("bob@example.com"), 200);
    const char *cookie = text_of("Cookie: __Host-session=%s\r\n", value(reply, "__Host-session=", ";\r"));
    CHECK_EQ_INT(play("POST /account/totp", text_of("%sOrigin: https://evil.example\r\n", cookie), "a=b"), 403);
    CHECK_EQ_INT(play("POST /account/totp", text_of("%sSec-Fetch-Site: cross-site\r\n", cookie), "a=b"), 403);
    CHECK_EQ_INT(play("POST /account/totp", cookie, "a=b"), 403);
    CHECK_EQ_INT(play("POST /account/totp", text_of("%sOrigin: https://shop.example\r\n", cookie), "a=b"), 200);
}
static void step_17_unconfirmed_accounts_wait(void) {
    CHECK_EQ_INT(play("POST /signup", "", "email=bob@example.com&password=correct+horse+battery"), 202);
    CHECK_EQ_INT(log_in("bob@example.com"), 403);
    CHECK(!strstr(reply, ticket()));
    const char *t = text_of("ticket=%s", ticket());
    CHECK_EQ_INT(play("POST /confirm", "", t), 200);
    CHECK_EQ_INT(play("POST /confirm", "", t), 401);
    CHECK_EQ_INT(log_in("bob@example.com"), 200);
    caught_len = 0, caught[0] = 0;
    CHECK_EQ_INT(play("POST /signup", "", "email=bob@example.com&password=another+good+password"), 202);     // taken: the answer does not tell, and nothing changes
    CHECK(!strstr(caught, "ticket="));
    CHECK_EQ_INT(log_in("bob@example.com"), 200);
}
static void step_18_forged_addresses_do_not_help(void) {
    enter("bob@example.com");
    int limited = 0;
    for (int i = 0; i < 8; i++) limited += play("POST /login", text_of("X-Forwarded-For: 198.51.100.%d\r\n", i), "email=bob@example.com&password=guess") == 429;
    CHECK_EQ_INT(limited, 3);
}
static void step_19_no_secret_no_start(void) {
    char *args[] = { "login_jwt", NULL };
    unsetenv("LOGIN_SECRET");
    fflush(stderr);
    int keep = dup(2);
    FILE *f = freopen("/tmp/chopin_auth_step19", "w", stderr);
    CHECK_EQ_INT(login_main(1, args), 1);
    fflush(stderr);
    dup2(keep, 2);
    char said[200] = { 0 };
    f = fopen("/tmp/chopin_auth_step19", "r");
    CHECK(f && fread(said, 1, sizeof said - 1, f) > 0 && strstr(said, "LOGIN_SECRET"));
    if (f) fclose(f);
    remove("/tmp/chopin_auth_step19");
    CHECK_EQ_INT(setup(CHOPIN_STR("too short")), CHOPIN_AUTH_WEAK_KEY);
}
static void step_20_big_bodies_and_lost_roles(void) {
    CHECK_EQ_INT(play("POST /login", "Content-Length: 10485760\r\nContent-Type: application/x-www-form-urlencoded\r\n", NULL), 413);
    char admin[2100], clerk[2100];
    enter("ann@example.com");
    enter("bob@example.com");
    CHECK_EQ_INT(log_in("ann@example.com"), 200);
    snprintf(admin, sizeof admin, "%s", access_of());
    CHECK_EQ_INT(log_in("bob@example.com"), 200);
    snprintf(clerk, sizeof clerk, "%s", access_of());
    CHECK_EQ_INT(play("GET /api/orders", clerk, NULL), 200);
    CHECK_EQ_INT(play("POST /api/users/ann%40example.com/role", clerk, "role=customer"), 403);
    CHECK(has("insufficient_scope"));
    CHECK_EQ_INT(play("POST /api/users/bob%40example.com/role", admin, "role=nosuch"), 400);
    CHECK_EQ_INT(play("POST /api/users/bob%40example.com/role", admin, "role=admin"), 204);
    CHECK_EQ_INT(play("GET /api/orders", clerk, NULL), 401);
}
static void a_used_refresh_token_ends_the_login(void) {
    char first[200], cookie[300];
    enter("bob@example.com");
    CHECK_EQ_INT(log_in("bob@example.com"), 200);
    snprintf(cookie, sizeof cookie, "%s", session());
    snprintf(first, sizeof first, "%s", refresh_of());
    CHECK_EQ_INT(play("POST /refresh", "", first), 200);
    const char *second = refresh_of();
    CHECK_EQ_INT(play("POST /refresh", "", first), 401);
    CHECK(strstr(caught, "refresh token used twice"));
    CHECK_EQ_INT(play("POST /refresh", "", second), 401);
    CHECK_EQ_INT(play("POST /account/totp", cookie, NULL), 401);
}
static void the_second_factor_from_set_up_to_disabling(void) {
    char cookie[300], secret[40], code[9], recovery[30];
    enter("bob@example.com");
    CHECK_EQ_INT(log_in("bob@example.com"), 200);
    snprintf(cookie, sizeof cookie, "%s", session());
    CHECK_EQ_INT(play("POST /account/totp", cookie, NULL), 200);
    snprintf(secret, sizeof secret, "%s", value(reply, "secret=", "&"));
    CHECK_EQ_INT(log_in("bob@example.com"), 200);                                                       // not yet enabled
    snprintf(cookie, sizeof cookie, "%s", session());
    CHECK_EQ_INT(play("POST /account/totp/enable", cookie, "code=000000"), 401);
    CHECK_EQ_INT(chopin_totp_at(NULL, kit_z(secret), time(NULL), code), 0);
    CHECK_EQ_INT(play("POST /account/totp/enable", cookie, text_of("code=%s", code)), 200);
    snprintf(recovery, sizeof recovery, "%s", value(reply, "once:\n", "\n"));
    CHECK_EQ_INT(log_in("bob@example.com"), 401);
    CHECK_EQ_INT(play("POST /login", "", text_of("email=bob@example.com&password=correct+horse+battery&code=%s", code)), 401);      // that step was used
    CHECK_EQ_INT(play("POST /login", "", text_of("email=bob@example.com&password=correct+horse+battery&code=%s", recovery)), 200);
    snprintf(cookie, sizeof cookie, "%s", session());
    CHECK_EQ_INT(chopin_totp_at(NULL, kit_z(secret), time(NULL) + 30, code), 0);
    CHECK_EQ_INT(play("POST /account/totp/disable", cookie, text_of("code=%s", code)), 204);
    CHECK_EQ_INT(log_in("bob@example.com"), 200);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
#define STEP(test) do { app = started(); RUN(test); chopin_free(app); chopin_password_pool_done(&pool); } while (0)
    STEP(step_01_odd_bytes_in_the_header_are_401);
    STEP(step_02_one_spelling_of_base64);
    STEP(step_03_the_header_names_the_keys_algorithm);
    STEP(step_04_revoked_through_a_key_set_and_a_single_key);
    STEP(step_05_nbf_ahead_or_a_string);
    STEP(step_06_issuer_and_audience_by_two_options);
    /* 7, 8 and 9: test_auth_glue.c; 10: test_auth_revocation.c; 11 in full: test_auth_password.c; 12: the assembled header has one of each hash */
    STEP(step_11_costs_from_outside);
    STEP(step_13_two_verifiers_each_initialised_twice);
    STEP(step_14_reset_tells_nothing_and_ends_everything);
    STEP(step_15_logout_ends_cookie_refresh_and_access);
    STEP(step_16_forms_from_elsewhere_are_403);
    STEP(step_17_unconfirmed_accounts_wait);
    STEP(step_18_forged_addresses_do_not_help);
    STEP(step_19_no_secret_no_start);
    STEP(step_20_big_bodies_and_lost_roles);
    STEP(a_used_refresh_token_ends_the_login);
    STEP(the_second_factor_from_set_up_to_disabling);
    return TEST_END();
}
