/* auth_kit.h - what the tests of the token rooms share: a clock to set, tokens made by hand and signed correctly, so that only the rule under test can refuse.
 * Include it behind the implementation and test.h. */
#ifndef CHOPIN_AUTH_KIT_H
#define CHOPIN_AUTH_KIT_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIT_NOW INT64_C(1700000000)
static int64_t kit_now = KIT_NOW;
static _Atomic(int) kit_clock_calls;
static inline int64_t kit_clock(void *ctx) { (void)ctx; kit_clock_calls++; return kit_now; }

static inline chopin_str kit_z(const char *z) { return (chopin_str){ z, strlen(z) }; }

/* An HS256 key; `which` tells keys apart. */
static inline chopin_jwk kit_key(char which, const char *kid) {
    chopin_jwk key;
    char secret[32];
    memset(secret, which, sizeof secret);
    if (chopin_jwk_hmac(&key, CHOPIN_AUTH_HS256, kit_z(kid), (chopin_str){ secret, sizeof secret }) < 0) abort();
    return key;
}

/* base64url(header).base64url(payload).base64url(HMAC-SHA-256), whatever header and payload are. */
static inline size_t kit_token_of(char which, chopin_str header, chopin_str payload, char *out, size_t cap) {
    uint8_t mac[32];
    char    secret[32];
    chopin_hmac key;
    memset(secret, which, sizeof secret);
    int n = chopin_base64url_encode(header, out, cap);
    out[n++] = '.';
    n += chopin_base64url_encode(payload, out + n, cap - (size_t)n);
    if (chopin_hmac_key(&key, CHOPIN_AUTH_SHA256, (chopin_str){ secret, sizeof secret }) < 0) abort();
    chopin_hmac_sign(&key, (chopin_str){ out, (size_t)n }, mac);
    out[n++] = '.';
    n += chopin_base64url_encode((chopin_str){ (char *)mac, sizeof mac }, out + n, cap - (size_t)n);
    return (size_t)n;
}

static char kit_buffer[200000];
static inline chopin_str kit_token(const char *header, const char *payload) {
    return (chopin_str){ kit_buffer, kit_token_of('k', kit_z(header), kit_z(payload), kit_buffer, sizeof kit_buffer) };
}

#define KIT_HEADER "{\"alg\":\"HS256\",\"typ\":\"at+jwt\"}"
#define KIT_CLAIMS "\"iss\":\"me\",\"aud\":\"us\",\"exp\":1700000100"
#endif
