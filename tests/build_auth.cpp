/* build_auth.cpp - the declarations as C++17, linked with an implementation in C. See build_auth.sh. */
#include "../chopin_auth.h"
extern "C" int second_file(const chopin_jwt_issuer *mint, const chopin_jwt_verifier *api);
static_assert(CHOPIN_AUTH_VERSION_MAJOR >= 0 && CHOPIN_AUTH_OK == 0, "constants are constants");

int second_file(const chopin_jwt_issuer *mint, const chopin_jwt_verifier *api) {
    char token[500], room[500];
    chopin_jwt me;
    chopin_jwt_claims claims = {};
    claims.sub = CHOPIN_STR("42");
    const int n = chopin_jwt_issue(mint, &claims, token, sizeof token);
    return n < 0 ? n : chopin_jwt_verify(api, chopin_str{ token, static_cast<size_t>(n) }, room, sizeof room, &me);
}
