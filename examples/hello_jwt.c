/* hello_jwt.c - the smallest use of chopin_auth.h: a key, a token issued with it, the token verified
 *
 * Build:  cc -O2 -pthread examples/hello_jwt.c -o hello_jwt
 * Try:    ./hello_jwt ; ./hello_jwt spoiled          (the second one changes a byte of the token on its way)
 * The key is random and dies with the program. One that is to live comes from a file: chopin_jwk_pem(), chopin_jwk_json(). */
#define CHOPIN_AUTH_IMPLEMENTATION
#include "../chopin_auth.h"

static chopin_jwk          key;
static chopin_jwt_issuer   mint;
static chopin_jwt_verifier api;

static int prepare(void) {
    uint8_t    secret[32];
    chopin_str iss = CHOPIN_STR("https://id.example"), aud = CHOPIN_STR("orders");
    int rc = chopin_auth_random(secret, sizeof secret);
    if (rc == 0) rc = chopin_jwk_hmac(&key, CHOPIN_AUTH_HS256, CHOPIN_STR("2026-11"), (chopin_str){ (char *)secret, sizeof secret });
    if (rc == 0) rc = chopin_jwt_issuer_init(&mint, &(chopin_jwt_issuer_options){ .key = &key, .iss = iss, .aud = aud });
    if (rc == 0) rc = chopin_jwt_verifier_init(&api, &(chopin_jwt_verifier_options){ .key = &key, .iss = iss, .aud = aud });
    chopin_auth_wipe(secret, sizeof secret);
    return rc;
}

int main(int argc, char **argv) {
    char       token[1024], room[1024];                // room: what the token says, unpacked
    chopin_jwt me;
    int rc = prepare(), n = rc < 0 ? rc : chopin_jwt_issue(&mint, &(chopin_jwt_claims){ .sub = CHOPIN_STR("42") }, token, sizeof token);
    if (n < 0) { printf("not issued: %s\n", chopin_auth_text(n)); return 2; }
    if (argc > 1 && strcmp(argv[1], "spoiled") == 0) token[n / 2] ^= 1;
    rc = chopin_jwt_verify(&api, (chopin_str){ token, (size_t)n }, room, sizeof room, &me);
    printf("%.*s\nverified: %s, sub %.*s\n", n, token, chopin_auth_text(rc), CHOPIN_FMT(me.sub));
    chopin_jwk_done(&key);
    return rc < 0;
}
