/* build_auth.c - the file that implements chopin_auth.h, alone or beside chopin.h (-DBESIDE_HTTP); a second file (build_auth.cpp, or this one with
 * -DDECLARE_ONLY) only declares. See build_auth.sh. */
#ifndef DECLARE_ONLY
#ifdef BESIDE_HTTP
#define CHOPIN_IMPLEMENTATION
#include "../chopin.h"
#else
#define CHOPIN_AUTH_IMPLEMENTATION
#endif
#include "../chopin_auth.h"
#include "../chopin_auth.h"
#include <stdio.h>

int second_file(const chopin_jwt_issuer *mint, const chopin_jwt_verifier *api);
int main(void) {
    chopin_jwk key;
    chopin_jwt_issuer mint;
    chopin_jwt_verifier api;
    int rc = chopin_jwk_hmac(&key, CHOPIN_AUTH_HS256, CHOPIN_STR("k"), CHOPIN_STR("0123456789abcdef0123456789abcdef"));
    if (rc == 0) rc = chopin_jwt_issuer_init(&mint, &(chopin_jwt_issuer_options){ .key = &key, .iss = CHOPIN_STR("me"), .aud = CHOPIN_STR("us") });
    if (rc == 0) rc = chopin_jwt_verifier_init(&api, &(chopin_jwt_verifier_options){ .key = &key, .iss = CHOPIN_STR("me"), .aud = CHOPIN_STR("us") });
    if (rc == 0) rc = second_file(&mint, &api);
    if (rc != 0) printf("%s\n", chopin_auth_name(rc));
    return rc != 0;
}
#else
#define min(a, b) hostile
#define max(a, b) hostile
#define small     hostile
#define near      hostile
#define OK        hostile
#define KEY       hostile
#define SIZE      hostile
#define LIMIT     hostile
#define BUSY      hostile
#include "../chopin_auth.h"
int second_file(const chopin_jwt_issuer *mint, const chopin_jwt_verifier *api);
int second_file(const chopin_jwt_issuer *mint, const chopin_jwt_verifier *api) {
    char token[500], room[500];
    chopin_jwt me;
    chopin_jwt_claims claims = { .sub = CHOPIN_STR("42") };
    int n = chopin_jwt_issue(mint, &claims, token, sizeof token);
    return n < 0 ? n : chopin_jwt_verify(api, (chopin_str){ token, (size_t)n }, room, sizeof room, &me);
}
#endif
