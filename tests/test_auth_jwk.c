/* >>jwk: constructors, JWK, sets */
#include "auth.h"
#include <pthread.h>
#include <stdarg.h>
#include <time.h>
#include "test.h"
#include "vectors.h"
#include "guard.h"
#include "pk_kit.h"

static char text[70000];
static const char *const P256_X = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", *const P256_Y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0", *const P256_D = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI";
static const char *const ED_X = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", *const ED_D = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
static const char *const SECRET = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";

static int json(chopin_jwk *key, chopin_auth_alg alg, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int json(chopin_jwk *key, chopin_auth_alg alg, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    int rc = chopin_jwk_json(key, alg, guard_copy(0, text, strlen(text)));
    CHECK((rc == 0) == (key->kind != NULL));
    return rc;
}

/* ---- constructors ---- */
static void hmac_keys_are_long_enough(void) {
    static const uint8_t secret[64] = { 1, 2, 3 };
    chopin_jwk key;
    for (int i = 0; i < 3; i++) {
        size_t need = 32 + 16 * (size_t)i;
        chopin_auth_alg alg = (chopin_auth_alg)(CHOPIN_AUTH_HS256 + i);
        for (size_t n = 0; n <= 64; n++) CHECK_EQ_INT(chopin_jwk_hmac(&key, alg, pk_z("k"), guard_copy(0, secret, n)), n < need ? CHOPIN_AUTH_WEAK_KEY : 0);
        for (size_t n = 0; n <= 64; n++) CHECK_EQ_INT(chopin_jwk_hmac_text(&key, alg, pk_z("k"), guard_copy(0, secret, n)), n < 32 ? CHOPIN_AUTH_WEAK_KEY : 0);
        CHECK(key.alg == alg && key.secret);
    }
    CHECK_EQ_INT(chopin_jwk_hmac(&key, CHOPIN_AUTH_HS256, pk_z("k"), pk_bytes(NULL, 0)), CHOPIN_AUTH_WEAK_KEY);
    CHECK_EQ_INT(chopin_jwk_hmac(&key, CHOPIN_AUTH_RS256, pk_z("k"), pk_bytes(secret, 64)), CHOPIN_AUTH_ARG);
    CHECK_EQ_INT(chopin_jwk_hmac(&key, (chopin_auth_alg)0, pk_z("k"), pk_bytes(secret, 64)), CHOPIN_AUTH_ARG);
    CHECK_EQ_INT(chopin_jwk_hmac(&key, (chopin_auth_alg)99, pk_z("k"), pk_bytes(secret, 64)), CHOPIN_AUTH_ARG);
    CHECK_EQ_INT(chopin_jwk_hmac(NULL, CHOPIN_AUTH_HS256, pk_z("k"), pk_bytes(secret, 64)), CHOPIN_AUTH_ARG);
    CHECK_EQ_INT(json(&key, CHOPIN_AUTH_HS256, "{\"kty\":\"oct\",\"k\":\"\"}"), CHOPIN_AUTH_WEAK_KEY);
    chopin_jwk other;                                                 // a text's key depends on the algorithm, and is not the text
    uint8_t a[64], b[64];
    CHECK_EQ_INT(chopin_jwk_hmac_text(&key, CHOPIN_AUTH_HS256, pk_z(""), pk_bytes(secret, 64)), 0);
    CHECK_EQ_INT(chopin_jwk_hmac(&other, CHOPIN_AUTH_HS256, pk_z(""), pk_bytes(secret, 64)), 0);
    CHECK(pk_sign(&key, pk_z("m"), a) == 32 && pk_sign(&other, pk_z("m"), b) == 32 && memcmp(a, b, 32) != 0);
}
static void kids_are_short_and_printable(void) {
    static const uint8_t secret[32] = { 1 };
    char kid[130];
    chopin_jwk key;
    memset(kid, 'k', sizeof kid);
    CHECK_EQ_INT(chopin_jwk_hmac(&key, CHOPIN_AUTH_HS256, pk_bytes(kid, 128), pk_bytes(secret, 32)), 0);
    CHECK(key.kid_len == 128);
    CHECK_EQ_INT(chopin_jwk_hmac(&key, CHOPIN_AUTH_HS256, pk_bytes(kid, 129), pk_bytes(secret, 32)), CHOPIN_AUTH_SIZE);
    for (int ch = 0; ch < 256; ch++) {
        char one = (char)ch;
        CHECK_EQ_INT(chopin_jwk_hmac(&key, CHOPIN_AUTH_HS256, pk_bytes(&one, 1), pk_bytes(secret, 32)), ch < 0x20 || ch > 0x7e ? CHOPIN_AUTH_ARG : 0);
    }
}
static void every_key_kind_meets_every_call(void) {                   // ARG, never another kind's bytes
    chopin_jwk keys[8] = { { 0 } };
    static const uint8_t secret[64] = { 7 };
    uint8_t sig[CHOPIN_AUTH_SIGNATURE_MAX], x[32], y[32], again[CHOPIN_AUTH_SIGNATURE_MAX];
    CHECK_EQ_INT(chopin_jwk_hmac(&keys[1], CHOPIN_AUTH_HS512, pk_z(""), pk_bytes(secret, 64)), 0);
    CHECK_EQ_INT(chopin_jwk_ed25519(&keys[2], pk_z(""), secret), 0);
    CHECK_EQ_INT(chopin_jwk_ed25519_public(&keys[3], pk_z(""), keys[2].u.ed25519.bytes), 0);
    CHECK_EQ_INT(chopin_jwk_p256(&keys[4], pk_z(""), secret), 0);
    chopin_auth__p256_store_field(x, keys[4].u.p256.x), chopin_auth__p256_store_field(y, keys[4].u.p256.y);
    CHECK_EQ_INT(chopin_jwk_p256_public(&keys[5], pk_z(""), x, y), 0);
    keys[6] = pk_key(CHOPIN_AUTH_RS256, "rsa2048.pem"), keys[7] = pk_key(CHOPIN_AUTH_PS256, "rsa2048_public.pem");
    for (int i = 0; i < 8; i++) {
        bool ed = i == 2 || i == 3, ec = i == 4 || i == 5, rsa = i >= 6, secret_key = i == 1 || i == 2 || i == 4 || i == 6;
        memset(sig, 1, sizeof sig);
        CHECK_EQ_INT(chopin_ed25519_sign(&keys[i], pk_z("m"), sig) == 0, i == 2);
        CHECK_EQ_INT(chopin_ed25519_verify(&keys[i], pk_z("m"), pk_bytes(sig, 64)) == CHOPIN_AUTH_ARG, !ed);
        CHECK_EQ_INT(chopin_p256_sign(&keys[i], pk_z("m"), sig) == 0, i == 4);
        CHECK_EQ_INT(chopin_p256_verify(&keys[i], pk_z("m"), pk_bytes(sig, 64)) == CHOPIN_AUTH_ARG, !ec);
        CHECK_EQ_INT(chopin_rsa_sign(&keys[i], pk_z("m"), sig, sizeof sig) > 0, i == 6);
        CHECK_EQ_INT(chopin_rsa_verify(&keys[i], pk_z("m"), pk_bytes(sig, 256)) == CHOPIN_AUTH_ARG, !rsa);
        int n = pk_sign(&keys[i], pk_z("m"), again);
        CHECK_EQ_INT(n > 0, secret_key);
        if (!secret_key) CHECK_EQ_INT(n, CHOPIN_AUTH_ARG);
        for (int j = 0; j < 8 && n > 0; j++) {                        // only a key with the same numbers and algorithm says yes
            int rc = pk_verify(&keys[j], pk_z("m"), again, (size_t)n);
            CHECK_EQ_INT(rc == 0, j == i || (i == 2 && j == 3) || (i == 4 && j == 5));
            if (j == 0) CHECK_EQ_INT(rc, CHOPIN_AUTH_ARG);
        }
        CHECK_EQ_INT(chopin_auth__jwk_sign(&keys[i], pk_z("m"), sig, 31), secret_key ? CHOPIN_AUTH_BUFFER : CHOPIN_AUTH_ARG);
        static _Alignas(16) uint8_t table[CHOPIN_AUTH_JWK_TABLE];
        chopin_jwk copy = keys[i];
        CHECK_EQ_INT(chopin_jwk_table(&copy, table, sizeof table), i == 0 ? CHOPIN_AUTH_ARG : ed || ec ? 0 : CHOPIN_AUTH_UNSUPPORTED);
        if (ed || ec) CHECK_EQ_INT(chopin_jwk_table(&copy, table, sizeof table - 1), CHOPIN_AUTH_BUFFER);
        CHECK_EQ_INT(chopin_jwk_table(&copy, table + 1, sizeof table), CHOPIN_AUTH_ARG);
        chopin_jwk_done(&copy);
        CHECK_EQ_INT(pk_sign(&copy, pk_z("m"), sig), CHOPIN_AUTH_ARG);
    }
}

/* ---- JWK ---- */
static void jose_vectors(void) {                                      // the keys; the tokens are in test_auth_jws.c
    vec v;
    chopin_jwk key;
    int usable = 0;
    for (vec_open(&v, "rfc/jose.json"); vec_next(&v, "jws");) {
        char *jwk = vec_find(&v, v.line, v.end, "jwk");
        if (!jwk) continue;
        chopin_auth_alg alg = chopin_auth__alg_of(vec_text(&v, "alg"));
        int rc = chopin_jwk_json(&key, alg, pk_object(jwk));
        bool refused = !alg;                                          // ES512, none
        CHECK_EQ_INT(rc < 0, refused);
        if (rc == 0) usable++, CHECK(key.alg == alg && key.secret);
    }
    CHECK(usable >= 6);
    vec_close(&v, 10);
}
static void thumbprints(void) {
    vec v;
    for (vec_open(&v, "rfc/jose.json"); vec_next(&v, "thumbprint");) {
        chopin_jwk key;
        uint8_t print[32];
        char coded[44];
        CHECK_EQ_INT(chopin_jwk_json(&key, (chopin_auth_alg)0, pk_object(vec_find(&v, v.line, v.end, "jwk"))), 0);
        CHECK_EQ_INT(chopin_jwk_thumbprint(&key, print), 0);
        CHECK_EQ_INT(chopin_base64url_encode(pk_bytes(print, 32), coded, sizeof coded), 43);
        CHECK(vec_text(&v, "sha256").len == 43 && memcmp(coded, vec_text(&v, "sha256").ptr, 43) == 0);
    }
    vec_close(&v, 2);
    chopin_jwk key;
    uint8_t print[32];
    CHECK_EQ_INT(json(&key, CHOPIN_AUTH_HS256, "{\"kty\":\"oct\",\"k\":\"%s\"}", SECRET), 0);
    CHECK_EQ_INT(chopin_jwk_thumbprint(&key, print), CHOPIN_AUTH_UNSUPPORTED);
}
static void algorithm_is_agreed_on(void) {
    chopin_jwk key;
    CHECK_EQ_INT(json(&key, (chopin_auth_alg)0, "{\"kty\":\"oct\",\"k\":\"%s\"}", SECRET), CHOPIN_AUTH_ALG);
    CHECK_EQ_INT(json(&key, CHOPIN_AUTH_HS384, "{\"kty\":\"oct\",\"k\":\"%s\"}", SECRET), 0);
    CHECK_EQ_INT(json(&key, CHOPIN_AUTH_HS384, "{\"kty\":\"oct\",\"alg\":\"HS256\",\"k\":\"%s\"}", SECRET), CHOPIN_AUTH_ALG);
    CHECK_EQ_INT(json(&key, CHOPIN_AUTH_RS256, "{\"kty\":\"oct\",\"k\":\"%s\"}", SECRET), CHOPIN_AUTH_ALG);
    CHECK_EQ_INT(json(&key, (chopin_auth_alg)0, "{\"kty\":\"oct\",\"alg\":\"RS256\",\"k\":\"%s\"}", SECRET), CHOPIN_AUTH_ALG);
    CHECK_EQ_INT(json(&key, (chopin_auth_alg)0, "{\"kty\":\"oct\",\"alg\":\"hs256\",\"k\":\"%s\"}", SECRET), CHOPIN_AUTH_ALG);
    CHECK_EQ_INT(json(&key, (chopin_auth_alg)0, "{\"kty\":\"oct\",\"alg\":\"none\",\"k\":\"%s\"}", SECRET), CHOPIN_AUTH_ALG);
    CHECK_EQ_INT(json(&key, (chopin_auth_alg)0, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\"}", ED_X), 0);
    CHECK_EQ_INT(json(&key, (chopin_auth_alg)0, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"alg\":\"Ed25519\",\"x\":\"%s\"}", ED_X), 0);
    CHECK_EQ_INT(json(&key, CHOPIN_AUTH_EDDSA, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"alg\":\"EdDSA\",\"x\":\"%s\"}", ED_X), 0);
    CHECK_EQ_INT(json(&key, CHOPIN_AUTH_ES256, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\"}", ED_X), CHOPIN_AUTH_ALG);
    CHECK_EQ_INT(json(&key, (chopin_auth_alg)0, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"alg\":\"Ed448\",\"x\":\"%s\"}", ED_X), CHOPIN_AUTH_ALG);
    CHECK_EQ_INT(json(&key, (chopin_auth_alg)0, "{\"kty\":\"OKP\",\"crv\":\"Ed448\",\"x\":\"%s\"}", ED_X), CHOPIN_AUTH_UNSUPPORTED);
    CHECK_EQ_INT(json(&key, (chopin_auth_alg)0, "{\"kty\":\"EC\",\"crv\":\"P-521\",\"x\":\"%s\",\"y\":\"%s\"}", P256_X, P256_Y), CHOPIN_AUTH_UNSUPPORTED);
    CHECK_EQ_INT(json(&key, (chopin_auth_alg)0, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\"}", P256_X, P256_Y), 0);
    CHECK_EQ_INT(json(&key, (chopin_auth_alg)0, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ES384\",\"x\":\"%s\",\"y\":\"%s\"}", P256_X, P256_Y), CHOPIN_AUTH_ALG);
    CHECK_EQ_INT(json(&key, (chopin_auth_alg)12, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\"}", P256_X, P256_Y), CHOPIN_AUTH_ARG);
}
static void jwk_members_are_strict(void) {
    chopin_jwk key;
#define EC(rc, extra, x, y) CHECK_EQ_INT(json(&key, (chopin_auth_alg)0, "{\"kty\":\"EC\",\"crv\":\"P-256\"%s,\"x\":\"%s\",\"y\":\"%s\"}", extra, x, y), rc)
    EC(0, "", P256_X, P256_Y);
    EC(0, ",\"kid\":\"a\\u0062c\"", P256_X, P256_Y);
    CHECK(key.kid_len == 3 && memcmp(key.kid, "abc", 3) == 0);
    EC(0, ",\"use\":\"sig\"", P256_X, P256_Y);
    EC(CHOPIN_AUTH_KEY, ",\"use\":\"enc\"", P256_X, P256_Y);
    EC(CHOPIN_AUTH_KEY, ",\"use\":\"SIG\"", P256_X, P256_Y);
    EC(CHOPIN_AUTH_KEY, ",\"use\":null", P256_X, P256_Y);
    EC(0, ",\"key_ops\":[\"verify\"]", P256_X, P256_Y);
    EC(0, ",\"key_ops\":[\"sign\",\"verify\"]", P256_X, P256_Y);
    EC(CHOPIN_AUTH_KEY, ",\"key_ops\":[\"sign\"]", P256_X, P256_Y);
    EC(CHOPIN_AUTH_KEY, ",\"key_ops\":[]", P256_X, P256_Y);
    EC(CHOPIN_AUTH_KEY, ",\"key_ops\":[\"deriveKey\"]", P256_X, P256_Y);
    EC(CHOPIN_AUTH_KEY, ",\"key_ops\":[1,\"verify\"]", P256_X, P256_Y);
    EC(CHOPIN_AUTH_KEY, ",\"key_ops\":\"verify\"", P256_X, P256_Y);
    EC(CHOPIN_AUTH_KEY, ",\"alg\":256", P256_X, P256_Y);
    EC(CHOPIN_AUTH_KEY, ",\"kid\":7", P256_X, P256_Y);
    EC(CHOPIN_AUTH_KEY, ",\"kid\":\"a\\u0000\"", P256_X, P256_Y);
    EC(0, ",\"x5c\":[\"MIIB\"],\"x5u\":\"https://e\",\"ext\":true,\"other\":{\"a\":1}", P256_X, P256_Y);
    EC(CHOPIN_AUTH_FORMAT, ",\"kty\":\"EC\"", P256_X, P256_Y);        // twice
    EC(CHOPIN_AUTH_FORMAT, ",", P256_X, P256_Y);
    EC(CHOPIN_AUTH_KEY, "", P256_Y, P256_X);
    EC(CHOPIN_AUTH_KEY, "", "", P256_Y);
    EC(CHOPIN_AUTH_KEY, "", "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEV", P256_Y);      // unused bits set
    EC(CHOPIN_AUTH_KEY, "", "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU=", P256_Y);
    EC(CHOPIN_AUTH_KEY, "", "AH_NzidwQsRdQYPL7m_bS3tYBzM1e-nvE7rPbjx70VRF", P256_Y);     // 33 bytes
    EC(CHOPIN_AUTH_KEY, "", "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVE", P256_Y);       // 31
#undef EC
    CHECK_EQ_INT(json(&key, (chopin_auth_alg)0, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\"}", P256_X), CHOPIN_AUTH_KEY);
    CHECK_EQ_INT(json(&key, (chopin_auth_alg)0, "{\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\"}", P256_X, P256_Y), CHOPIN_AUTH_KEY);
    CHECK_EQ_INT(json(&key, (chopin_auth_alg)0, "{\"kty\":\"ec\",\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\"}", P256_X, P256_Y), CHOPIN_AUTH_UNSUPPORTED);
    CHECK_EQ_INT(json(&key, (chopin_auth_alg)0, "[]"), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(json(&key, (chopin_auth_alg)0, "%s", ""), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(chopin_jwk_json(&key, (chopin_auth_alg)0, pk_bytes(text, CHOPIN_AUTH_PEM_MAX + 1)), CHOPIN_AUTH_SIZE);
}
static void private_members_must_match(void) {
    chopin_jwk key, public;
    CHECK_EQ_INT(json(&key, (chopin_auth_alg)0, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"d\":\"%s\"}", P256_D), 0);     // recomputed
    CHECK_EQ_INT(json(&public, (chopin_auth_alg)0, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\"}", P256_X, P256_Y), 0);
    CHECK(key.secret && !public.secret && memcmp(key.u.p256.x, public.u.p256.x, 64) == 0);
    CHECK_EQ_INT(json(&key, (chopin_auth_alg)0, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"d\":\"%s\",\"x\":\"%s\",\"y\":\"%s\"}", P256_D, P256_X, P256_Y), 0);
    CHECK_EQ_INT(json(&key, (chopin_auth_alg)0, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"d\":\"%s\",\"x\":\"%s\",\"y\":\"%s\"}", ED_D, P256_X, P256_Y), CHOPIN_AUTH_KEY);
    CHECK_EQ_INT(json(&key, (chopin_auth_alg)0, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"d\":\"%s\",\"x\":\"%s\"}", P256_D, P256_X), CHOPIN_AUTH_KEY);
    CHECK_EQ_INT(json(&key, (chopin_auth_alg)0, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"d\":\"%s\"}", ED_D), 0);
    CHECK_EQ_INT(json(&public, (chopin_auth_alg)0, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\"}", ED_X), 0);
    CHECK(memcmp(key.u.ed25519.bytes, public.u.ed25519.bytes, 32) == 0);
    CHECK_EQ_INT(json(&key, (chopin_auth_alg)0, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"d\":\"%s\",\"x\":\"%s\"}", ED_D, ED_X), 0);
    CHECK_EQ_INT(json(&key, (chopin_auth_alg)0, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"d\":\"%s\",\"x\":\"%s\"}", P256_D, ED_X), CHOPIN_AUTH_KEY);
}
static void secrets_are_not_published(void) {
    static const struct { const char *file; chopin_auth_alg alg; } files[] = { { "rsa2048.pem", CHOPIN_AUTH_PS256 }, { "p256.pem", CHOPIN_AUTH_ES256 }, { "ed25519.pem", CHOPIN_AUTH_EDDSA } };
    for (int i = 0; i < 3; i++) {
        chopin_jwk key, again, copy;
        char out[1024] = { 0 };
        uint8_t a[32], b[32];
        CHECK_EQ_INT(chopin_jwk_pem(&key, files[i].alg, pk_z("a \"quoted\\ kid"), pk_file(0, files[i].file)), 0);
        int n = chopin_jwk_public_json(&key, out, sizeof out);
        CHECK(n > 0);
        CHECK(!strstr(out, "\"d\"") && !strstr(out, "\"p\"") && !strstr(out, "\"q\"") && !strstr(out, "\"dp\"") && !strstr(out, "\"qi\"") && !strstr(out, "\"k\""));
        CHECK_EQ_INT(chopin_jwk_json(&again, (chopin_auth_alg)0, pk_bytes(out, (size_t)n)), 0);      // reads back: same key, algorithm, kid, and it cannot sign
        CHECK(again.alg == key.alg && !again.secret && again.kid_len == key.kid_len && memcmp(again.kid, key.kid, key.kid_len) == 0);
        CHECK(chopin_jwk_thumbprint(&key, a) == 0 && chopin_jwk_thumbprint(&again, b) == 0 && memcmp(a, b, 32) == 0);
        memset(out, 7, sizeof out);
        CHECK_EQ_INT(chopin_jwk_public_json(&key, out, (size_t)n - 1), CHOPIN_AUTH_BUFFER);
        CHECK(out[0] == 7);
        uint8_t *room = guard_room(0, (size_t)n);
        CHECK_EQ_INT(chopin_jwk_public_json(&key, (char *)room, (size_t)n), n);
        copy = key;
        chopin_jwk_done(&copy);
        for (size_t j = 0; j < sizeof copy; j++) CHECK(((uint8_t *)&copy)[j] == 0);
    }
    chopin_jwk key;
    char out[256];
    CHECK_EQ_INT(json(&key, CHOPIN_AUTH_HS256, "{\"kty\":\"oct\",\"k\":\"%s\"}", SECRET), 0);
    CHECK_EQ_INT(chopin_jwk_public_json(&key, out, sizeof out), CHOPIN_AUTH_UNSUPPORTED);
}
static void rsa_numbers_have_no_leading_zeros(void) {
    chopin_jwk key = pk_key(CHOPIN_AUTH_RS256, "rsa2048_public.pem"), other;
    char out[1024] = { 0 }, n[400];
    CHECK(chopin_jwk_public_json(&key, out, sizeof out) > 0);
    char *at = strstr(out, "\"n\":\"") + 5;
    snprintf(n, sizeof n, "%.342s", at);
    CHECK_EQ_INT(json(&other, CHOPIN_AUTH_RS256, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"AQAB\"}", n), 0);
    CHECK_EQ_INT(json(&other, CHOPIN_AUTH_RS256, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"AAEAAQ\"}", n), CHOPIN_AUTH_KEY);
    CHECK_EQ_INT(json(&other, CHOPIN_AUTH_RS256, "{\"kty\":\"RSA\",\"n\":\"AAAA%s\",\"e\":\"AQAB\"}", n), CHOPIN_AUTH_KEY);
    CHECK_EQ_INT(json(&other, CHOPIN_AUTH_RS256, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"AQ\"}", n), CHOPIN_AUTH_KEY);
    CHECK_EQ_INT(json(&other, CHOPIN_AUTH_RS256, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"AQAB\",\"d\":\"AQAB\"}", n), CHOPIN_AUTH_UNSUPPORTED);
    CHECK_EQ_INT(json(&other, CHOPIN_AUTH_RS256, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"AQAB\",\"oth\":[]}", n), CHOPIN_AUTH_UNSUPPORTED);
    CHECK_EQ_INT(json(&other, CHOPIN_AUTH_RS256, "{\"kty\":\"RSA\",\"n\":\"%.100s\",\"e\":\"AQAB\"}", n), CHOPIN_AUTH_WEAK_KEY);
    CHECK_EQ_INT(json(&other, CHOPIN_AUTH_RS256, "{\"kty\":\"RSA\",\"e\":\"AQAB\"}"), CHOPIN_AUTH_KEY);
}

/* ---- sets ---- */
static chopin_jwks set;
static int ed_jwk(char *out, size_t cap, const char *kid, uint8_t which) {
    uint8_t seed[32] = { which };
    chopin_jwk key;
    if (chopin_jwk_ed25519(&key, pk_z(kid), seed) < 0) abort();
    int n = chopin_jwk_public_json(&key, out, cap - 1);
    out[n] = 0;
    return n;
}
static int load(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int load(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return chopin_jwks_load(&set, guard_copy(0, text, strlen(text)), 1000);
}
static bool has(const char *kid) {
    const chopin_jwk *key;
    int rc = chopin_jwks_find(&set, pk_z(kid), &key);
    if (rc == 0) chopin_jwks_release(&set, key);
    return rc == 0 && key->kid_len == strlen(kid);
}
static void sets_are_searched_by_kid(void) {
    char a[300], b[300];
    const chopin_jwk *key;
    ed_jwk(a, sizeof a, "a", 1), ed_jwk(b, sizeof b, "b", 2);
    CHECK_EQ_INT(chopin_jwks_init(&set, NULL), 0);
    CHECK_EQ_INT(chopin_jwks_find(&set, pk_z("a"), &key), CHOPIN_AUTH_KEY_ID);
    CHECK_EQ_INT(load("{\"keys\":[%s]}", a), 1);
    CHECK(has("a") && !has("b") && !has("aa") && !has(""));
    CHECK_EQ_INT(chopin_jwks_find(&set, pk_bytes(NULL, 0), &key), 0);  // no kid: the only key
    chopin_jwks_release(&set, key);
    CHECK_EQ_INT(load("{\"keys\":[%s,%s],\"more\":1}", a, b), 2);
    CHECK(has("a") && has("b"));
    CHECK_EQ_INT(chopin_jwks_find(&set, pk_bytes(NULL, 0), &key), CHOPIN_AUTH_KEY_ID);
    CHECK(key == NULL);
    CHECK_EQ_INT(load("{\"keys\":[]}"), 0);
    CHECK(!has("a"));
}
static void sets_with_traps_do_not_load(void) {
    char a[300], b[300], same[300];
    ed_jwk(a, sizeof a, "a", 1), ed_jwk(b, sizeof b, "b", 2), ed_jwk(same, sizeof same, "a", 3);
    CHECK_EQ_INT(chopin_jwks_init(&set, NULL), 0);
    CHECK_EQ_INT(load("{\"keys\":[%s]}", b), 1);
    CHECK_EQ_INT(load("{\"keys\":[%s,%s]}", a, same), CHOPIN_AUTH_KEY);                                   // two of one kid
    CHECK_EQ_INT(load("{\"keys\":[%s,%s]}", a, a), CHOPIN_AUTH_KEY);
    CHECK_EQ_INT(load("{\"keys\":[%s,{\"kty\":\"oct\",\"alg\":\"HS256\",\"kid\":\"s\",\"k\":\"%s\"}]}", a, SECRET), CHOPIN_AUTH_KEY);     // symmetric and public
    CHECK_EQ_INT(load("{\"keys\":[{\"kty\":\"oct\",\"alg\":\"HS256\",\"kid\":\"s\",\"k\":\"%s\"},%s]}", SECRET, a), CHOPIN_AUTH_KEY);
    CHECK_EQ_INT(load("{\"keys\":[{\"kty\":\"oct\",\"kid\":\"s\",\"k\":\"AAAA\"},%s]}", a), CHOPIN_AUTH_KEY);
    CHECK_EQ_INT(load("{\"keys\":{}}"), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(load("{\"keys\":[1]}"), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(load("{\"keys\":[%s}", a), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(load("{\"keys\":[%s]} x", a), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(load("[%s]", a), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(load("{\"keys\":[%s],\"keys\":[%s]}", a, a), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(load("{}"), CHOPIN_AUTH_FORMAT);
    size_t n = (size_t)snprintf(text, sizeof text, "{\"keys\":[");
    for (int i = 0; i < 33; i++) {
        char one[300], kid[8];
        snprintf(kid, sizeof kid, "k%d", i), ed_jwk(one, sizeof one, kid, (uint8_t)(i + 1));
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", i ? "," : "", one);
        if (i < 31) continue;
        size_t end = n + (size_t)snprintf(text + n, sizeof text - n, "]}");
        if (i == 32) CHECK_EQ_INT(chopin_jwks_load(&set, pk_bytes(text, end), 1000), CHOPIN_AUTH_KEY);    // 33 keys
        else { CHECK_EQ_INT(chopin_jwks_load(&set, pk_bytes(text, end), 1000), 32); CHECK(has("k31")); CHECK_EQ_INT(load("{\"keys\":[%s]}", b), 1); i = 31; n = 0; break; }
    }
    n = (size_t)snprintf(text, sizeof text, "{\"keys\":[");
    for (int i = 0; i < 33; i++) n += (size_t)snprintf(text + n, sizeof text - n, "%s{\"kty\":\"x\"}", i ? "," : "");
    n += (size_t)snprintf(text + n, sizeof text - n, "]}");
    CHECK_EQ_INT(chopin_jwks_load(&set, pk_bytes(text, n), 1000), CHOPIN_AUTH_KEY);
    memset(text, ' ', sizeof text);
    CHECK_EQ_INT(chopin_jwks_load(&set, pk_bytes(text, CHOPIN_AUTH_JWKS_MAX + 1), 1000), CHOPIN_AUTH_SIZE);
    CHECK(has("b") && !has("a"));                                     // the old set stayed through all of it
    CHECK_EQ_INT(chopin_jwks_count(&set, NULL), 1);
}
static void unusable_keys_are_skipped_and_counted(void) {
    char a[300];
    int skipped;
    ed_jwk(a, sizeof a, "a", 1);
    CHECK_EQ_INT(chopin_jwks_init(&set, NULL), 0);
    CHECK_EQ_INT(load("{\"keys\":[{\"kty\":\"new\"},{\"kty\":\"EC\",\"crv\":\"P-521\",\"x\":\"AA\",\"y\":\"AA\"},{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"AA\"},"
                      "{\"kty\":\"EC\",\"crv\":\"P-256\",\"use\":\"enc\",\"x\":\"%s\",\"y\":\"%s\"},{\"kty\":\"EC\",\"crv\":\"P-256\",\"key_ops\":[\"deriveBits\"],\"x\":\"%s\",\"y\":\"%s\"},"
                      "{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"RS256\",\"x\":\"%s\",\"y\":\"%s\"},{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\"},{},%s]}",
                      P256_X, P256_Y, P256_X, P256_Y, P256_X, P256_Y, P256_Y, P256_X, a), 1);
    CHECK_EQ_INT(chopin_jwks_count(&set, &skipped), 1);
    CHECK_EQ_INT(skipped, 8);
    CHECK_EQ_INT(load("{\"keys\":[{\"kty\":\"oct\",\"k\":\"%s\"},{\"kty\":\"oct\",\"alg\":\"HS256\",\"kid\":\"s\",\"k\":\"%s\"}]}", SECRET, SECRET), 1);     // oct without alg
    CHECK(has("s"));
    chopin_jwk rsa = pk_key(CHOPIN_AUTH_RS256, "rsa2048_public.pem");
    char json_text[1024], *cut;
    int n = chopin_jwk_public_json(&rsa, json_text, sizeof json_text - 1);
    json_text[n] = 0, cut = strchr(json_text, ',');                   // without its alg
    const chopin_jwk *key;
    CHECK_EQ_INT(load("{\"keys\":[{%s]}", cut + 1), 1);
    CHECK_EQ_INT(chopin_jwks_find(&set, pk_z("k"), &key), 0);
    CHECK(key->alg == CHOPIN_AUTH_RS256);
    chopin_jwks_release(&set, key);
    CHECK_EQ_INT(chopin_jwks_init(&set, &(chopin_jwks_options){ .rsa_alg = CHOPIN_AUTH_PS256 }), 0);
    CHECK_EQ_INT(load("{\"keys\":[{%s]}", cut + 1), 1);
    CHECK_EQ_INT(chopin_jwks_find(&set, pk_z("k"), &key), 0);
    CHECK(key->alg == CHOPIN_AUTH_PS256);
    chopin_jwks_release(&set, key);
    CHECK_EQ_INT(load("{\"keys\":[%s]}", json_text), 1);              // its own alg wins over the option
    CHECK_EQ_INT(chopin_jwks_find(&set, pk_z("k"), &key), 0);
    CHECK(key->alg == CHOPIN_AUTH_RS256);
    chopin_jwks_release(&set, key);
    CHECK_EQ_INT(chopin_jwks_init(&set, &(chopin_jwks_options){ .rsa_alg = CHOPIN_AUTH_HS256 }), CHOPIN_AUTH_ARG);
}
/* header, payload and signature of a token that may be written badly: 0 when the set's key of its kid verifies it */
static int verify_by_set(chopin_str token) {
    const char *first = memchr(token.ptr, '.', token.len), *second = first ? memchr(first + 1, '.', token.len - (size_t)(first + 1 - token.ptr)) : NULL;
    uint8_t sig[600], head[300];
    if (!second) return CHOPIN_AUTH_FORMAT;
    int h = chopin_base64url_decode(pk_bytes(token.ptr, (size_t)(first - token.ptr)), head, sizeof head - 1);
    int n = chopin_base64url_decode(pk_bytes(second + 1, token.len - (size_t)(second + 1 - token.ptr)), sig, sizeof sig);
    if (h < 0 || n < 0) return CHOPIN_AUTH_FORMAT;
    head[h] = 0;
    char *kid = strstr((char *)head, "\"kid\":\""), *alg = strstr((char *)head, "\"alg\":\"");
    const chopin_jwk *key;
    int rc = chopin_jwks_find(&set, kid ? pk_bytes(kid + 7, strcspn(kid + 7, "\"")) : pk_bytes(NULL, 0), &key);
    if (rc < 0) return rc;
    rc = strncmp(alg + 7, chopin_auth__alg_name(key->alg), 5) != 0 ? CHOPIN_AUTH_ALG : pk_verify(key, pk_bytes(token.ptr, (size_t)(second - token.ptr)), sig, (size_t)n);
    chopin_jwks_release(&set, key);
    return rc;
}
static void wycheproof_sets(void) {
    vec v;
    for (vec_open(&v, "wycheproof/json_web_key.json"); vec_next(&v, NULL);) {
        char *private = vec_group_find(&v, "private"), *public = vec_group_find(&v, "public");
        CHECK_EQ_INT(chopin_jwks_init(&set, NULL), 0);
        int rc = chopin_jwks_load(&set, pk_object(public > private ? public : private), 1000);
        if (rc > 0) rc = verify_by_set(vec_text(&v, "jws"));
        else if (rc == 0) rc = CHOPIN_AUTH_KEY;
        if (!CHECK_EQ_INT(rc == 0, vec_is(&v, "result", "valid"))) printf("%.100s: %d\n", v.line, rc);
    }
    vec_close(&v, 13);
}
static void rfc7517_sets(void) {
    vec v;
    for (vec_open(&v, "rfc/jose.json"); vec_next(&v, "jwks");) {
        CHECK_EQ_INT(chopin_jwks_init(&set, NULL), 0);
        int rc = chopin_jwks_load(&set, pk_object(vec_find(&v, v.line, v.end, "set")), 1000);
        char *usable = vec_find(&v, v.line, v.end, "usable");
        int count = 0;
        for (char *p = usable; p && *p != ']'; p++) count += *p == '"';
        CHECK_EQ_INT(rc, count / 2);
    }
    vec_close(&v, 3);
}
static void rotation_side_by_side(void) {
    uint8_t seed[32] = { 1 }, sig[64];
    chopin_jwk old, new;
    const chopin_jwk *key;
    char out[1024] = { 0 };
    CHECK_EQ_INT(chopin_jwks_init(&set, NULL), 0);
    CHECK_EQ_INT(chopin_jwk_ed25519(&old, pk_z("2025"), seed), 0), seed[0] = 2;
    CHECK_EQ_INT(chopin_jwk_ed25519(&new, pk_z("2026"), seed), 0);
    CHECK_EQ_INT(chopin_jwks_add(&set, &old), 1);
    CHECK_EQ_INT(chopin_jwks_add(&set, &new), 2);
    CHECK_EQ_INT(chopin_jwks_add(&set, &new), CHOPIN_AUTH_KEY);
    CHECK_EQ_INT(chopin_jwks_count(&set, NULL), 2);
    for (int i = 0; i < 2; i++) {
        const chopin_jwk *mine = i ? &new : &old;
        CHECK_EQ_INT(chopin_ed25519_sign(mine, pk_z("m"), sig), 0);
        CHECK_EQ_INT(chopin_jwks_find(&set, pk_bytes(mine->kid, mine->kid_len), &key), 0);
        CHECK_EQ_INT(chopin_ed25519_verify(key, pk_z("m"), pk_bytes(sig, 64)), 0);
        chopin_jwks_release(&set, key);
    }
    int n = chopin_jwks_public_json(&set, out, sizeof out);
    CHECK(n > 0 && !memmem(out, (size_t)n, "\"d\"", 3));
    CHECK_EQ_INT(chopin_jwks_public_json(&set, out, (size_t)n - 1), CHOPIN_AUTH_BUFFER);
    CHECK_EQ_INT(chopin_jwks_load(&set, pk_bytes(out, (size_t)n), 5), 2);
    CHECK(has("2025") && has("2026"));
    chopin_jwks_done(&set);
    CHECK_EQ_INT(chopin_jwks_load(&set, pk_bytes(out, (size_t)n), 5), CHOPIN_AUTH_ARG);
}
static void wants_refresh(void) {
    char a[300];
    const chopin_jwk *key;
    ed_jwk(a, sizeof a, "a", 1);
    CHECK_EQ_INT(chopin_jwks_init(&set, NULL), 0);
    CHECK(chopin_jwks_wants_refresh(&set, 1000));                     // nothing there yet
    CHECK(!chopin_jwks_wants_refresh(&set, 1000) && !chopin_jwks_wants_refresh(&set, 1029));
    CHECK(chopin_jwks_wants_refresh(&set, 1030));
    snprintf(text, sizeof text, "{\"keys\":[%s]}", a);
    CHECK_EQ_INT(chopin_jwks_load(&set, pk_z(text), 1031), 1);
    CHECK(!chopin_jwks_wants_refresh(&set, 1100));
    CHECK(!has("unknown"));
    CHECK(chopin_jwks_wants_refresh(&set, 1100));                     // an unknown kid
    CHECK(!has("other") && !chopin_jwks_wants_refresh(&set, 1129));   // at most every 30 s
    CHECK(chopin_jwks_wants_refresh(&set, 1130));
    CHECK_EQ_INT(chopin_jwks_load(&set, pk_z("junk"), 1131), CHOPIN_AUTH_FORMAT);
    CHECK(chopin_jwks_wants_refresh(&set, 1160));                     // still wanted, the load failed
    CHECK_EQ_INT(chopin_jwks_load(&set, pk_z(text), 1161), 1);
    CHECK(!chopin_jwks_wants_refresh(&set, 1760) && chopin_jwks_wants_refresh(&set, 1761));               // ten minutes
    CHECK_EQ_INT(chopin_jwks_load(&set, pk_z(text), 1762), 1);
    CHECK_EQ_INT(chopin_jwks_load(&set, pk_z("{\"keys\":[]}"), 1763), 0);
    CHECK_EQ_INT(chopin_jwks_find(&set, pk_bytes(NULL, 0), &key), CHOPIN_AUTH_KEY_ID);
    CHECK(!chopin_jwks_wants_refresh(&set, 1900));                    // no kid is not an unknown kid
    CHECK(chopin_jwks_wants_refresh(&set, 100));                      // a clock that went back
}
static void held_slots_are_not_written(void) {
    char a[300], b[300];
    const chopin_jwk *key, *later;
    ed_jwk(a, sizeof a, "a", 1), ed_jwk(b, sizeof b, "b", 2);
    CHECK_EQ_INT(chopin_jwks_init(&set, NULL), 0);
    CHECK_EQ_INT(load("{\"keys\":[%s]}", a), 1);
    CHECK_EQ_INT(chopin_jwks_find(&set, pk_z("a"), &key), 0);
    CHECK_EQ_INT(load("{\"keys\":[%s]}", b), 1);                      // the other slot
    CHECK(key->kid[0] == 'a' && key->kind != NULL);
    CHECK_EQ_INT(chopin_jwks_find(&set, pk_z("b"), &later), 0);
    CHECK_EQ_INT(load("{\"keys\":[%s]}", a), CHOPIN_AUTH_BUSY);       // both are held
    CHECK(has("b"));
    chopin_jwks_release(&set, key);
    CHECK_EQ_INT(load("{\"keys\":[%s]}", a), 1);
    CHECK(later->kid[0] == 'b');
    chopin_jwks_release(&set, later);
    CHECK_EQ_INT(load("{\"keys\":[%s]}", b), 1);
}

/* Each set holds keys of one generation: kid g<n>a and g<n>b. A reader that sees a mix finds an `a` whose bytes are not those of its generation. */
static _Atomic int stop_readers, torn, found;
static uint8_t points[4][32];
static void *reader(void *arg) {
    char kid[4] = "g0a";
    for (unsigned i = 0; !atomic_load(&stop_readers); i++) {
        const chopin_jwk *key;
        kid[1] = (char)('0' + i % 4);
        if (chopin_jwks_find(&set, pk_bytes(kid, 3), &key) < 0) continue;
        if (memcmp(key->u.ed25519.bytes, points[i % 4], 32) != 0 || key->kid[1] != kid[1]) atomic_fetch_add(&torn, 1);
        atomic_fetch_add(&found, 1);
        chopin_jwks_release(&set, key);
    }
    return arg;
}
static void swap_under_load(void) {
    char sets[4][700];
    pthread_t threads[3];
    for (int g = 0; g < 4; g++) {
        char a[300], b[300], kid[4] = { 'g', (char)('0' + g), 'a', 0 };
        chopin_jwk key;
        uint8_t seed[32] = { (uint8_t)(g + 1) };
        CHECK_EQ_INT(chopin_jwk_ed25519(&key, pk_z(kid), seed), 0);
        memcpy(points[g], key.u.ed25519.bytes, 32);
        ed_jwk(a, sizeof a, kid, (uint8_t)(g + 1)), kid[2] = 'b', ed_jwk(b, sizeof b, kid, (uint8_t)(g + 5));
        snprintf(sets[g], sizeof sets[g], "{\"keys\":[%s,%s]}", a, b);
    }
    CHECK_EQ_INT(chopin_jwks_init(&set, NULL), 0);
    atomic_store(&stop_readers, 0);
    for (int i = 0; i < 3; i++) CHECK_EQ_INT(pthread_create(&threads[i], NULL, reader, NULL), 0);
    int swapped = 0;
    for (int i = 0; i < 100000 && (swapped < 200 || atomic_load(&found) < 1000); i++) {
        int rc = chopin_jwks_load(&set, pk_z(sets[swapped % 4]), 1000);
        CHECK(rc == 2 || rc == CHOPIN_AUTH_BUSY);
        if (rc == 2) swapped++;
        else nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);          // a reader was put to sleep while it held the slot
    }
    atomic_store(&stop_readers, 1);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    CHECK_EQ_INT(atomic_load(&torn), 0);
    CHECK(swapped >= 200);
    CHECK(atomic_load(&set.slots[0].readers) == 0 && atomic_load(&set.slots[1].readers) == 0);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(hmac_keys_are_long_enough);
    RUN(kids_are_short_and_printable);
    RUN(every_key_kind_meets_every_call);
    RUN(jose_vectors);
    RUN(thumbprints);
    RUN(algorithm_is_agreed_on);
    RUN(jwk_members_are_strict);
    RUN(private_members_must_match);
    RUN(secrets_are_not_published);
    RUN(rsa_numbers_have_no_leading_zeros);
    RUN(sets_are_searched_by_kid);
    RUN(sets_with_traps_do_not_load);
    RUN(unusable_keys_are_skipped_and_counted);
    RUN(wycheproof_sets);
    RUN(rfc7517_sets);
    RUN(rotation_side_by_side);
    RUN(wants_refresh);
    RUN(held_slots_are_not_written);
    RUN(swap_under_load);
    return TEST_END();
}
