/* test_auth_jws.c - compact signatures: AUTH.md 3.1 where no claim is concerned; vectors of the RFCs and Wycheproof */
#include "auth.h"
#include "test.h"
#include "vectors.h"
#include "auth_kit.h"
#include <sys/mman.h>

static char room[140000], out[140000];
static chopin_str payload;
static chopin_jwk key, ed, p256;

static const char rsa_jwk[] =                                           /* RFC 7515 A.2.1 */
    "{\"kty\":\"RSA\",\"alg\":\"RS256\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\",\"e\":\"AQAB\"}";

static int verify(const chopin_jwk *k, chopin_str token) { return chopin_jws_verify(k, token, room, sizeof room, &payload); }
static int with(const char *header) { return verify(&key, kit_token(header, "payload")); }

static void keys(void) {
    uint8_t seed[32];
    memset(seed, 7, sizeof seed);
    key = kit_key('k', "");
    CHECK_EQ_INT(chopin_jwk_ed25519(&ed, CHOPIN_STR("ed"), seed), 0);
    CHECK_EQ_INT(chopin_jwk_p256(&p256, CHOPIN_STR("p"), seed), 0);
}

static void refuses_none_in_every_spelling(void) {
    static const char *const names[] = { "none", "None", "NONE", "nOnE", "", " none", "none " };
    char header[100];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(header, sizeof header, "{\"alg\":\"%s\"}", names[i]);
        chopin_str t = kit_token(header, "payload");
        size_t last = t.len;
        while (t.ptr[last - 1] != '.') last--;
        CHECK_EQ_INT(verify(&key, t), CHOPIN_AUTH_ALG);
        CHECK_EQ_INT(verify(&key, (chopin_str){ t.ptr, last }), CHOPIN_AUTH_ALG);                    // empty signature
        CHECK_EQ_INT(verify(&key, (chopin_str){ t.ptr, last - 1 }), CHOPIN_AUTH_FORMAT);             // no third segment
        CHECK_EQ_INT(verify(&ed, t), CHOPIN_AUTH_ALG);
        CHECK(!payload.ptr);
    }
    CHECK_EQ_INT(with("{}"), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(with("{\"alg\":null}"), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(with("{\"alg\":[\"HS256\"]}"), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(with("{\"alg\":\"HS256\"}"), 0);
    CHECK_STR(payload, "payload");
    CHECK_EQ_INT(with("{\"alg\":\"HS\\u0032\\u0035\\u0036\"}"), 0);
}

static void token_alg_must_equal_key_alg(void) {
    static const char *const others[] = { "HS384", "HS512", "hs256", "HS256 ", " HS256", "HS2560", "HS25", "RS256", "RS512", "PS256", "ES256", "EdDSA", "Ed25519" };
    char header[100];
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        snprintf(header, sizeof header, "{\"alg\":\"%s\"}", others[i]);
        CHECK_EQ_INT(with(header), CHOPIN_AUTH_ALG);
    }
    chopin_jwk rsa;
    CHECK_EQ_INT(chopin_jwk_json(&rsa, CHOPIN_AUTH_RS256, kit_z(rsa_jwk)), 0);
    const char *n = strstr(rsa_jwk, "\"n\":\"") + 5;
    const chopin_str secrets[] = { { n, 342 }, { rsa_jwk, sizeof rsa_jwk - 1 } };                    // what a confused verifier might take as an HMAC secret
    for (size_t i = 0; i < 2; i++) {
        chopin_jwk hmac;
        CHECK_EQ_INT(chopin_jwk_hmac(&hmac, CHOPIN_AUTH_HS256, (chopin_str){ NULL, 0 }, secrets[i]), 0);
        int len = chopin_jws_sign(&hmac, CHOPIN_STR("payload"), out, sizeof out);
        CHECK(len > 0);
        CHECK_EQ_INT(verify(&rsa, (chopin_str){ out, (size_t)len }), CHOPIN_AUTH_ALG);
        CHECK_EQ_INT(verify(&hmac, (chopin_str){ out, (size_t)len }), 0);
    }
    CHECK_EQ_INT(verify(&rsa, kit_token("{\"alg\":\"RS512\"}", "payload")), CHOPIN_AUTH_ALG);
    CHECK_EQ_INT(verify(&rsa, kit_token("{\"alg\":\"RS256\"}", "payload")), CHOPIN_AUTH_SIGNATURE);  // 32 bytes are no RSA signature
}

static void every_key_kind_meets_every_call(void) {
    chopin_jwk rsa, none;
    memset(&none, 0, sizeof none);
    CHECK_EQ_INT(chopin_jwk_json(&rsa, CHOPIN_AUTH_RS256, kit_z(rsa_jwk)), 0);
    const chopin_jwk *all[] = { &key, &ed, &p256, &rsa, &none, NULL };
    for (int s = 0; s < 6; s++) {
        int n = chopin_jws_sign(all[s], CHOPIN_STR("payload"), out, sizeof out);
        if (s >= 3) { CHECK_EQ_INT(n, CHOPIN_AUTH_ARG); continue; }
        for (int v = 0; v < 6; v++) CHECK_EQ_INT(verify(all[v], (chopin_str){ out, (size_t)n }), v == s ? 0 : v < 4 ? CHOPIN_AUTH_ALG : CHOPIN_AUTH_ARG);
    }
}

static void eddsa_key_answers_to_both_names(void) {
    int n = chopin_jws_sign(&ed, CHOPIN_STR("payload"), out, sizeof out);
    CHECK(n > 0 && verify(&ed, (chopin_str){ out, (size_t)n }) == 0);
    chopin_jwt_issuer mint;
    chopin_jwt_verifier v;
    chopin_jwt me;
    for (int named = 0; named < 2; named++) {
        CHECK_EQ_INT(chopin_jwt_issuer_init(&mint, &(chopin_jwt_issuer_options){ .key = &ed, .iss = CHOPIN_STR("me"), .aud = CHOPIN_STR("us"), .ed25519_name = named == 1 }), 0);
        n = chopin_jwt_issue(&mint, &(chopin_jwt_claims){ .sub = CHOPIN_STR("1") }, out, sizeof out);
        CHECK(n > 0);
        CHECK_EQ_INT(chopin_jwt_verifier_init(&v, &(chopin_jwt_verifier_options){ .key = &ed, .iss = CHOPIN_STR("me"), .aud = CHOPIN_STR("us") }), 0);
        CHECK_EQ_INT(chopin_jwt_verify(&v, (chopin_str){ out, (size_t)n }, room, sizeof room, &me), 0);
        char head[200];
        const char *dot = memchr(out, '.', (size_t)n);
        int m = chopin_base64url_decode((chopin_str){ out, (size_t)(dot - out) }, (uint8_t *)head, sizeof head - 1);
        head[m > 0 ? m : 0] = 0;
        CHECK(strstr(head, named ? "\"Ed25519\"" : "\"EdDSA\"") != NULL);
    }
    CHECK_EQ_INT(verify(&ed, kit_token("{\"alg\":\"Ed448\"}", "payload")), CHOPIN_AUTH_ALG);
    CHECK_EQ_INT(verify(&ed, kit_token("{\"alg\":\"ed25519\"}", "payload")), CHOPIN_AUTH_ALG);
}

static void header_keys_are_ignored(void) {
    static const char *const headers[] = { "{\"alg\":\"HS256\",\"jwk\":{\"kty\":\"oct\",\"k\":\"AAAA\"}}", "{\"alg\":\"HS256\",\"jku\":\"https://evil.example\"}", "{\"alg\":\"HS256\",\"x5u\":\"x\"}", "{\"alg\":\"HS256\",\"x5c\":[\"x\"]}" };
    chopin_jwt_verifier v;
    chopin_jwt me;
    for (size_t i = 0; i < 4; i++) {
        CHECK_EQ_INT(with(headers[i]), 0);
        for (int refuse = 0; refuse < 2; refuse++) {
            CHECK_EQ_INT(chopin_jwt_verifier_init(&v, &(chopin_jwt_verifier_options){ .key = &key, .iss = CHOPIN_STR("me"), .aud = CHOPIN_STR("us"), .typ = CHOPIN_AUTH_ANY, .clock = kit_clock, .refuse_header_keys = refuse == 1 }), 0);
            CHECK_EQ_INT(chopin_jwt_verify(&v, kit_token(headers[i], "{" KIT_CLAIMS "}"), room, sizeof room, &me), refuse ? CHOPIN_AUTH_CRITICAL : 0);
        }
    }
    char wrong_secret[32];
    memset(wrong_secret, 'w', 32);
    size_t n = kit_token_of('w', kit_z("{\"alg\":\"HS256\",\"jwk\":{\"kty\":\"oct\",\"k\":\"d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3c\"}}"), kit_z("payload"), kit_buffer, sizeof kit_buffer);
    CHECK_EQ_INT(verify(&key, (chopin_str){ kit_buffer, n }), CHOPIN_AUTH_SIGNATURE);                // a key that the token brings signs for nobody
}

static void kid_is_only_compared(void) {
    static chopin_jwks set;
    static chopin_jwk one, two;
    char header[400], longer[200] = { 0 };
    chopin_jwt_verifier v;
    chopin_jwt me;
    one = kit_key('k', "one"), two = kit_key('2', "two");
    CHECK_EQ_INT(verify(&one, kit_token("{\"alg\":\"HS256\",\"kid\":\"one\"}", "x")), 0);
    CHECK_EQ_INT(verify(&one, kit_token("{\"alg\":\"HS256\"}", "x")), 0);
    CHECK_EQ_INT(verify(&key, kit_token("{\"alg\":\"HS256\",\"kid\":\"any\"}", "x")), 0);            // the key has none
    static const char *const bad[] = { "\"two\"", "\"one \"", "\"On\"", "\"../one\"", "\"' or 1=1\"", "\"\"", "\"one\\u0000\"", "1", "null", "[\"one\"]" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(header, sizeof header, "{\"alg\":\"HS256\",\"kid\":%s}", bad[i]);
        CHECK_EQ_INT(verify(&one, kit_token(header, "x")), i < 6 ? CHOPIN_AUTH_KEY_ID : CHOPIN_AUTH_FORMAT);
    }
    memset(longer, 'k', 129);
    snprintf(header, sizeof header, "{\"alg\":\"HS256\",\"kid\":\"%s\"}", longer);
    CHECK_EQ_INT(verify(&key, kit_token(header, "x")), CHOPIN_AUTH_KEY_ID);
    CHECK_EQ_INT(chopin_jwks_init(&set, NULL), 0);
    CHECK(chopin_jwks_add(&set, &one) == 1);
    CHECK_EQ_INT(chopin_jwt_verifier_init(&v, &(chopin_jwt_verifier_options){ .keys = &set, .iss = CHOPIN_STR("me"), .aud = CHOPIN_STR("us"), .typ = CHOPIN_AUTH_ANY, .clock = kit_clock }), 0);
#define ASK(header) chopin_jwt_verify(&v, kit_token(header, "{" KIT_CLAIMS "}"), room, sizeof room, &me)
    CHECK_EQ_INT(ASK("{\"alg\":\"HS256\"}"), 0);                                                     // one usable key
    CHECK(chopin_jwks_add(&set, &two) == 2);
    CHECK_EQ_INT(ASK("{\"alg\":\"HS256\"}"), CHOPIN_AUTH_KEY_ID);
    CHECK_EQ_INT(ASK("{\"alg\":\"HS256\",\"kid\":\"one\"}"), 0);
    CHECK_STR(me.kid, "one");
    CHECK_EQ_INT(ASK("{\"alg\":\"HS256\",\"kid\":\"two\"}"), CHOPIN_AUTH_SIGNATURE);                 // no fallback to the key that would fit
    CHECK_EQ_INT(ASK("{\"alg\":\"HS256\",\"kid\":\"three\"}"), CHOPIN_AUTH_KEY_ID);
    CHECK_EQ_INT(ASK("{\"alg\":\"HS512\",\"kid\":\"one\"}"), CHOPIN_AUTH_ALG);
    chopin_jwks_done(&set);
}

static void crit_must_be_understood(void) {
    static const char *const bad[] = { "{\"alg\":\"HS256\",\"crit\":[\"exp\"],\"exp\":1}", "{\"alg\":\"HS256\",\"crit\":[]}", "{\"alg\":\"HS256\",\"crit\":\"b64\",\"b64\":true}", "{\"alg\":\"HS256\",\"crit\":null}", "{\"alg\":\"HS256\",\"crit\":[\"b64\"]}",
        "{\"alg\":\"HS256\",\"crit\":[\"b64\",\"b64\"],\"b64\":true}", "{\"alg\":\"HS256\",\"crit\":[1]}", "{\"alg\":\"HS256\",\"crit\":[\"alg\"]}", "{\"alg\":\"HS256\",\"crit\":[\"b64\",\"\\u0061\\u0061\\u0061\\u0061\\u0061\\u0061\\u0061\\u0061\\u0061\"],\"b64\":false}",
        "{\"alg\":\"HS256\",\"crit\":{\"b64\":1}}" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (!CHECK_EQ_INT(with(bad[i]), CHOPIN_AUTH_CRITICAL)) printf("  %s\n", bad[i]);
        chopin_str t = kit_token(bad[i], "");
        CHECK_EQ_INT(chopin_jws_verify_detached(&key, t, (chopin_str){ "", 0 }, room, sizeof room), CHOPIN_AUTH_CRITICAL);
    }
    CHECK_EQ_INT(with("{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":true}"), CHOPIN_AUTH_CRITICAL);     // only in the detached call
    CHECK_EQ_INT(with("{\"alg\":\"HS256\",\"b64\":false}"), CHOPIN_AUTH_CRITICAL);
}

static void encrypted_and_zipped_are_refused(void) {
    CHECK_EQ_INT(with("{\"alg\":\"HS256\",\"enc\":\"A128GCM\"}"), CHOPIN_AUTH_CRITICAL);
    CHECK_EQ_INT(with("{\"alg\":\"HS256\",\"zip\":\"DEF\"}"), CHOPIN_AUTH_CRITICAL);
    CHECK_EQ_INT(with("{\"alg\":\"HS256\",\"p2c\":100000000}"), CHOPIN_AUTH_CRITICAL);
    CHECK_EQ_INT(verify(&key, CHOPIN_STR("eyJhbGciOiJIUzI1NiJ9.a.b.c.d")), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(verify(&key, kit_token("{\"alg\":\"PBES2-HS256+A128KW\",\"p2c\":2000000000}", "x")), CHOPIN_AUTH_CRITICAL);
}

static void compact_form_only(void) {
    static const char *const bad[] = { "{\"payload\":\"\",\"signatures\":[]}", "", ".", "..", "...", "a", "a.b", "eyJhbGciOiJIUzI1NiJ9", ".eyJhbGciOiJIUzI1NiJ9.", "{.b.c", "eyJhbGciOiJIUzI1NiJ9. .", " eyJhbGciOiJIUzI1NiJ9.e30.AAAA" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int rc = verify(&key, kit_z(bad[i]));
        if (!CHECK(rc == CHOPIN_AUTH_FORMAT || rc == CHOPIN_AUTH_SIGNATURE)) printf("  %s: %d\n", bad[i], rc);
    }
}

/* Every length of signature but the right one, its end before an unreadable page. */
static void signature_length_belongs_to_the_key(void) {
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    mprotect(page + 4096, 4096, PROT_NONE);
    const chopin_jwk *all[] = { &key, &ed, &p256 };
    const size_t sizes[] = { 43, 86, 86 };
    for (int k = 0; k < 3; k++) {
        int n = chopin_jws_sign(all[k], CHOPIN_STR("payload"), out, sizeof out);
        for (size_t len = 0; len <= 120; len++) {
            size_t head = (size_t)n - sizes[k];
            char  *at = page + 4096 - head - len;
            memcpy(at, out, head);
            memset(at + head, 'A', len);
            memcpy(at + head, out + head, len < sizes[k] ? len : sizes[k]);
            int rc = verify(all[k], (chopin_str){ at, head + len });
            if (len == sizes[k]) CHECK_EQ_INT(rc, 0);
            else CHECK(rc == CHOPIN_AUTH_SIGNATURE || rc == CHOPIN_AUTH_FORMAT);
        }
    }
    munmap(page, 8192);
}

static void detached_and_b64_false(void) {
    static const chopin_str text = { "$.02", 4 };
    chopin_jwk rfc;
    CHECK_EQ_INT(chopin_jwk_json(&rfc, CHOPIN_AUTH_HS256, CHOPIN_STR("{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow\",\"alg\":\"HS256\"}")), 0);
    chopin_str plain = CHOPIN_STR("eyJhbGciOiJIUzI1NiIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il19..A5dxf2s96_n5FLueVuW1Z_vh161FwXZC4YLPff6dmDY");      /* RFC 7797 4.2 */
    CHECK_EQ_INT(chopin_jws_verify_detached(&rfc, plain, text, room, sizeof room), 0);
    CHECK_EQ_INT(chopin_jws_verify_detached(&rfc, plain, CHOPIN_STR("$.03"), room, sizeof room), CHOPIN_AUTH_SIGNATURE);
    CHECK_EQ_INT(verify(&rfc, plain), CHOPIN_AUTH_CRITICAL);
    for (int kind = 0; kind < 2; kind++) {
        int n = chopin_jws_sign_detached(&key, text, kind == 1, out, sizeof out);
        if (!CHECK(n > 0)) continue;
        CHECK_EQ_INT(chopin_jws_verify_detached(&key, (chopin_str){ out, (size_t)n }, text, room, sizeof room), 0);
        CHECK_EQ_INT(chopin_jws_verify_detached(&key, (chopin_str){ out, (size_t)n }, CHOPIN_STR("$.0"), room, sizeof room), CHOPIN_AUTH_SIGNATURE);
        CHECK(verify(&key, (chopin_str){ out, (size_t)n }) < 0);
        CHECK_EQ_INT(chopin_jws_verify_detached(&key, (chopin_str){ out, (size_t)n }, text, room, 10), CHOPIN_AUTH_BUFFER);
    }
    chopin_str t = kit_token("{\"alg\":\"HS256\"}", "payload");
    CHECK_EQ_INT(chopin_jws_verify_detached(&key, t, CHOPIN_STR("payload"), room, sizeof room), CHOPIN_AUTH_FORMAT);
}

static void buffers_of_every_size(void) {
    const chopin_jwk *all[] = { &key, &ed, &p256 };
    for (int k = 0; k < 3; k++) for (size_t len = 0; len < 20; len++) {
        chopin_str text = { "0123456789abcdefghij", len };
        int n = chopin_jws_sign(all[k], text, out, sizeof out);
        memset(room, 0x55, 300);
        CHECK_EQ_INT(chopin_jws_sign(all[k], text, room, (size_t)n - 1), CHOPIN_AUTH_BUFFER);
        CHECK(room[0] == 0x55);
        CHECK_EQ_INT(chopin_jws_sign(all[k], text, room, (size_t)n), n);
        CHECK_EQ_INT(chopin_jws_verify(all[k], (chopin_str){ out, (size_t)n }, room, (size_t)n * 3 / 4, &payload), 0);
        CHECK(payload.len == len && memcmp(payload.ptr, text.ptr, len) == 0);
        CHECK_EQ_INT(chopin_jws_verify(all[k], (chopin_str){ out, (size_t)n }, room, 10, &payload), CHOPIN_AUTH_BUFFER);
    }
}

/* The JWK object that a group of Wycheproof carries, and whether it is the one to use. */
static void wycheproof_says_the_same(void) {
    vec v;
    static char token[20000];
    int n = 0, valid = 0, loaded = 0;
    for (vec_open(&v, "wycheproof/json_web_signature.json"); vec_next(&v, NULL);) {
        char *p = vec_find(&v, v.line, v.end, "jws");
        if (!p) continue;
        n++;
        char *q = *p == '"' ? p + 1 : p;
        size_t len = 0;
        for (; *q && *q != '"' && len < sizeof token - 1; q++) {                         // the few escapes there are
            if (*q == '\\' && q[1]) q++;
            token[len++] = *q;
        }
        long long id = vec_int(&v, "tcId");
        bool want = (vec_is(&v, "result", "valid") || id == 367) && id != 373;
        char *before = v.text, *tests = v.text;                                          // the group's own fields stand between the last two "tests"
        for (char *hit = v.text; (hit = strstr(hit, "\"tests\":")) != NULL && hit < v.line; hit++) before = tests, tests = hit;
        char *open = vec_find(&v, before, tests, "public");
        if (!open) open = vec_find(&v, before, tests, "private");
        if (!open) continue;
        char *close = strchr(open, '}');
        chopin_jwk k;
        int rc = chopin_jwk_json(&k, (chopin_auth_alg)0, (chopin_str){ open, (size_t)(close - open + 1) });
        if (rc == 0) { loaded++; rc = verify(&k, (chopin_str){ token, len }); chopin_jwk_done(&k); }
        if (rc == 0) valid++;
        if (rc == 0 && !want) { CHECK(false && "accepted what is invalid"); printf("  tcId %lld\n", id); }
        if (rc < 0 && want && id != 347 && id != 351) printf("  note: tcId %lld refused: %s\n", id, chopin_auth_name(rc)), CHECK(false && "refused what is valid");
    }
    CHECK(n == 201 && loaded == 197 && valid == 22);
    printf("  wycheproof jws: %d cases, %d with a key, %d valid\n", n, loaded, valid);
    free(v.text), free(v.room);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    keys();
    RUN(refuses_none_in_every_spelling);
    RUN(token_alg_must_equal_key_alg);
    RUN(every_key_kind_meets_every_call);
    RUN(eddsa_key_answers_to_both_names);
    RUN(header_keys_are_ignored);
    RUN(kid_is_only_compared);
    RUN(crit_must_be_understood);
    RUN(encrypted_and_zipped_are_refused);
    RUN(compact_form_only);
    RUN(signature_length_belongs_to_the_key);
    RUN(detached_and_b64_false);
    RUN(buffers_of_every_size);
    RUN(wycheproof_says_the_same);
    return TEST_END();
}
