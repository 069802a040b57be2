/* test_auth_wipe.c - no call leaves a secret on the stack: the rooms above the primitives (those have the same in test_auth_bytes.c, test_auth_ed25519.c) */
#include "auth.h"
#include "test.h"
#include "vectors.h"
#include "stack.h"
#include "pk_kit.h"

static uint8_t secret[32];
static char    password[33], coded[80], text[4096], other[4096], hash[CHOPIN_AUTH_PW_TEXT], fresh[CHOPIN_AUTH_PW_TEXT];
static int     rc;
static chopin_password_pool pool;
static chopin_jwk key;
static chopin_auth_cookie_ring ring;
static const chopin_auth_cookie cookie = { .name = { "cart", 4 }, .purpose = { "test", 4 }, .expires = 2000000000 };

static chopin_str typed(void) { return (chopin_str){ password, 32 }; }
static void prepare(void) {
    for (int i = 0; i < 32; i++) secret[i] = (uint8_t)(i * 37 + 129), password[i] = (char)('!' + i * 7 % 90);
    rc = chopin_base64url_encode(chopin_auth__str(secret, 32), coded, sizeof coded);
}

static STACK_ALONE void call_hash(void)  { rc = chopin_password_hash(&pool, typed(), hash, sizeof hash); }
static STACK_ALONE void call_login(void) { rc = chopin_password_login(&pool, (chopin_str){ hash, strlen(hash) }, typed(), fresh); }
static void passwords_of_every_kind(void) {
    static const chopin_password_params kinds[] = {
        { .kind = CHOPIN_AUTH_PW_ARGON2ID, .m_kib = 16, .t = 1, .p = 1 }, { .kind = CHOPIN_AUTH_PW_SCRYPT, .log_n = 4, .r = 2, .p = 1 }, { .kind = CHOPIN_AUTH_PW_PBKDF2_SHA256, .rounds = 1000 },
        { .kind = CHOPIN_AUTH_PW_PBKDF2_SHA512, .rounds = 1000 }, { .kind = CHOPIN_AUTH_PW_BCRYPT, .rounds = 4 } };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!CHECK_EQ_INT(chopin_password_pool_init(&pool, &(chopin_password_options){ .params = kinds[i], .arenas = 1, .arena_kib = 1024 }), 0)) continue;
        if (!CHECK(!stack_keeps(call_hash, password, 32)) || !CHECK(rc > 0)) printf("  hashing, kind %zu\n", i);
        if (!CHECK(!stack_keeps(call_login, password, 32)) || !CHECK_EQ_INT(rc, 0)) printf("  login, kind %zu\n", i);
        chopin_password_pool_done(&pool);
    }
}

static uint8_t totp_secret[20];
static char    totp_text[33], code[9];
static int64_t step;
static STACK_ALONE void call_totp(void) { step = 0; rc = chopin_totp_verify(NULL, (chopin_str){ totp_text, 32 }, (chopin_str){ code, 6 }, 1700000000, &step); }
static void one_time_codes(void) {
    memcpy(totp_secret, secret, 20);
    CHECK_EQ_INT(chopin_base32_encode(chopin_auth__str(totp_secret, 20), totp_text, sizeof totp_text), 32);
    CHECK_EQ_INT(chopin_totp_at(NULL, (chopin_str){ totp_text, 32 }, 1700000000, code), 0);
    CHECK(!stack_keeps(call_totp, totp_secret, 20));
    CHECK_EQ_INT(rc, 0);
}

static STACK_ALONE void call_ring(void)   { rc = chopin_auth_cookie_ring_init(&ring, &(chopin_auth_cookie_key){ 1, { (const char *)secret, 32 } }, 1); }
static STACK_ALONE void call_sign(void)   { rc = chopin_auth_cookie_sign(&ring, &cookie, CHOPIN_STR("value"), text, sizeof text); }
static STACK_ALONE void call_seal(void)   { rc = chopin_auth_cookie_seal(&ring, &cookie, typed(), text, sizeof text); }
static STACK_ALONE void call_unseal(void) { rc = chopin_auth_cookie_unseal(&ring, &(chopin_auth_cookie){ cookie.name, cookie.purpose, 1700000000 }, (chopin_str){ text, (size_t)rc }, other, sizeof other); }
static STACK_ALONE void call_csrf(void)   { char token[CHOPIN_AUTH_CSRF_TEXT]; rc = chopin_auth_csrf_token(&ring, CHOPIN_STR("session"), token); }
static void cookies(void) {
    CHECK(!stack_keeps(call_ring, secret, 32));
    CHECK(!stack_keeps(call_sign, ring.key[0], 32));
    CHECK(!stack_keeps(call_seal, ring.key[0], 32));
    CHECK(rc > 0);
    CHECK(!stack_keeps(call_unseal, password, 32));
    CHECK_EQ_INT(rc, 32);
    CHECK(!stack_keeps(call_csrf, ring.key[0], 32));
}

static uint8_t id[32];
static STACK_ALONE void call_id(void) { rc = chopin_auth__secret_id("chopin session", (chopin_str){ coded, 43 }, id); }
static void secrets_of_sessions(void) {
    CHECK(!stack_keeps(call_id, secret, 32));
    CHECK_EQ_INT(rc, 0);
}

static STACK_ALONE void call_hmac(void) { rc = chopin_jwk_hmac(&key, CHOPIN_AUTH_HS256, CHOPIN_STR("k"), chopin_auth__str(secret, 32)); }
static STACK_ALONE void call_oct(void)  { rc = chopin_jwk_json(&key, CHOPIN_AUTH_HS256, (chopin_str){ text, strlen(text) }); }
static STACK_ALONE void call_ec(void)   { rc = chopin_jwk_p256(&key, CHOPIN_STR("k"), secret); }
static STACK_ALONE void call_ed(void)   { rc = chopin_jwk_ed25519(&key, CHOPIN_STR("k"), secret); }
static STACK_ALONE void call_token(void) {
    chopin_jwt_issuer mint;
    char token[2048];
    rc = chopin_jwt_issuer_init(&mint, &(chopin_jwt_issuer_options){ .key = &key, .iss = CHOPIN_STR("me"), .aud = CHOPIN_STR("us") });
    if (rc == 0) rc = chopin_jwt_issue(&mint, &(chopin_jwt_claims){ .sub = CHOPIN_STR("42") }, token, sizeof token);
}
static void keys_and_tokens(void) {
    snprintf(text, sizeof text, "{\"kty\":\"oct\",\"alg\":\"HS256\",\"k\":\"%.43s\"}", coded);
    CHECK(!stack_keeps(call_oct, secret, 32)), CHECK_EQ_INT(rc, 0);
    CHECK(!stack_keeps(call_hmac, secret, 32)), CHECK_EQ_INT(rc, 0);
    uint8_t inner[32], outer[32];                                 // what HMAC's pads make of it, and the states behind them
    for (int i = 0; i < 32; i++) inner[i] = secret[i] ^ 0x36, outer[i] = secret[i] ^ 0x5c;
    CHECK(!stack_keeps(call_hmac, inner, 32)), CHECK(!stack_keeps(call_hmac, outer, 32));
    CHECK(!stack_keeps(call_hmac, &key.u.hmac.inner, 32)), CHECK(!stack_keeps(call_hmac, &key.u.hmac.outer, 32));
    CHECK(!stack_keeps(call_token, &key.u.hmac.inner, 32)), CHECK(rc > 0);
    CHECK(!stack_keeps(call_token, &key.u.hmac.outer, 32));
    CHECK(!stack_keeps(call_ec, secret, 32)), CHECK_EQ_INT(rc, 0);
    CHECK(!stack_keeps(call_token, &key.u.p256.d, 32)), CHECK(rc > 0);
    CHECK(!stack_keeps(call_ed, secret, 32)), CHECK_EQ_INT(rc, 0);
    CHECK(!stack_keeps(call_token, key.u.ed25519.prefix, 32)), CHECK(rc > 0);
    key = pk_key(CHOPIN_AUTH_RS256, "rsa2048.pem");
    CHECK(!stack_keeps(call_token, key.u.rsa.p, 64)), CHECK(rc > 0);
    CHECK(!stack_keeps(call_token, key.u.rsa.dp, 64));
    CHECK(!stack_keeps(call_token, key.u.rsa.dq, 64));
}
static void the_search_finds_what_is_there(void) { CHECK(stack_keeps(stack_leak, stack_leaked, sizeof stack_leaked)); }

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    prepare();
#ifdef STACK_SEEN
    RUN(the_search_finds_what_is_there);
    RUN(passwords_of_every_kind);
    RUN(one_time_codes);
    RUN(cookies);
    RUN(secrets_of_sessions);
    RUN(keys_and_tokens);
#else
    printf("skipped: the stack cannot be searched in this build\n");
    (void)passwords_of_every_kind, (void)one_time_codes, (void)cookies, (void)secrets_of_sessions, (void)keys_and_tokens, (void)the_search_finds_what_is_there;
#endif
    return TEST_END();
}
