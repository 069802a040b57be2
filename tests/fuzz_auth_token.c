/* fuzz_auth_token.c - tokens under fixed keys. The input is a token as it is, and also (its first byte apart) header and payload that get a right signature, so that
 * what stands behind the signature is reached. A token that passes must be one whose signature we can make ourselves.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined fuzz_auth_token.c -o fuzz && ./fuzz        gcc -g -O1 -fsanitize=address,undefined -DFUZZ_MAIN fuzz_auth_token.c -o fuzz && ./fuzz 60 */
#include "auth.h"
#ifdef FUZZ_MAIN
static const char *const seeds[] = { "{\"alg\":\"HS256\",\"typ\":\"at+jwt\"}\n{\"iss\":\"me\",\"aud\":\"us\",\"exp\":1700000100,\"sub\":\"42\"}", "{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"kid\":\"k\"}\n{\"iss\":\"me\",\"aud\":[\"us\",\"x\"],\"exp\":1700000100.5,\"iat\":1,\"nbf\":1,\"roles\":[\"a\\u0000\"],\"jti\":\"\\n\"}",
    "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJpc3MiOiJtZSIsImF1ZCI6InVzIiwiZXhwIjoxNzAwMDAwMTAwfQ.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}\n{}" };
#endif
#include "fuzz_auth_kit.h"

static int64_t now(void *ctx) { (void)ctx; return 1700000000; }
static chopin_jwk key;
static chopin_jwt_verifier v;

/* If it passed, header and payload are what the signature covers. */
static void verify(chopin_str token) {
    static char room[9000], again[9000];
    chopin_jwt me, zero;
    uint8_t mac[32];
    memset(&zero, 0, sizeof zero);
    int rc = chopin_jwt_verify(&v, token, room, sizeof room, &me);
    if (rc < 0) { MUST(memcmp(&me, &zero, sizeof me) == 0); return; }
    size_t dot = token.len;
    while (token.ptr[--dot] != '.') {}
    chopin_hmac_sign(&key.u.hmac, (chopin_str){ token.ptr, dot }, mac);
    int n = chopin_base64url_encode((chopin_str){ (char *)mac, 32 }, again, sizeof again);
    MUST((size_t)n == token.len - dot - 1 && memcmp(again, token.ptr + dot + 1, (size_t)n) == 0);
    MUST(me.iss.len == 2 && memcmp(me.iss.ptr, "me", 2) == 0 && me.aud.len == 2 && me.exp > 1700000000 - 30);
    chopin_str s;
    double f;
    (void)!chopin_jwt_str(&me, "sub", &s);
    (void)!chopin_jwt_raw(&me, "roles", &s);
    (void)!chopin_jwt_f64(&me, "exp", &f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char token[9000];
    uint8_t mac[32];
    if (!v.o.max_token) {
        MUST(chopin_jwk_hmac(&key, CHOPIN_AUTH_HS256, CHOPIN_STR("k"), CHOPIN_STR("0123456789abcdef0123456789abcdef")) == 0);
        MUST(chopin_jwt_verifier_init(&v, &(chopin_jwt_verifier_options){ .key = &key, .iss = CHOPIN_STR("me"), .aud = CHOPIN_STR("us"), .clock = now }) == 0);
    }
    if (size > 4000) return 0;
    verify((chopin_str){ (const char *)data, size });
    const uint8_t *line = size ? memchr(data, '\n', size) : NULL;
    if (!line) return 0;
    int n = chopin_base64url_encode((chopin_str){ (const char *)data, (size_t)(line - data) }, token, sizeof token);
    token[n++] = '.';
    n += chopin_base64url_encode((chopin_str){ (const char *)line + 1, size - (size_t)(line - data) - 1 }, token + n, sizeof token - (size_t)n);
    chopin_hmac_sign(&key.u.hmac, (chopin_str){ token, (size_t)n }, mac);
    token[n++] = '.';
    n += chopin_base64url_encode((chopin_str){ (char *)mac, 32 }, token + n, sizeof token - (size_t)n);
    verify((chopin_str){ token, (size_t)n });
    chopin_str payload;
    static char room[9000];
    (void)!chopin_jws_verify(&key, (chopin_str){ token, (size_t)n }, room, sizeof room, &payload);
    (void)!chopin_jws_verify_detached(&key, (chopin_str){ (const char *)data, size }, CHOPIN_STR("x"), room, sizeof room);
    return 0;
}
