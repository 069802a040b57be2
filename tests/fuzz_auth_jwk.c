/* fuzz_auth_jwk.c - libFuzzer over JWK and key sets; build and run as fuzz_auth_der.c says
 *
 * Properties: no crash; a refused key is all zero; an accepted one writes a public JWK that reads back as the same key and holds no secret; a set that is refused
 * leaves the old one in place; a set that is taken writes itself and loads again with as many keys. */
#include "auth.h"
#include "fuzz_auth.h"

static void one_key(chopin_auth_alg alg, chopin_str in) {
    chopin_jwk key, again;
    char json[2 * CHOPIN_AUTH_RSA_MAX / 8 + 512];
    uint8_t a[32], b[32];
    if (chopin_jwk_json(&key, alg, in) < 0) { fuzz_all_zero(&key, sizeof key); return; }
    MUST(alg == 0 || key.alg == alg);
    int n = chopin_jwk_public_json(&key, json, sizeof json);
    if (key.alg <= CHOPIN_AUTH_HS512) { MUST(n == CHOPIN_AUTH_UNSUPPORTED); fuzz_signs(&key, &key); return; }
    MUST(n > 0 && chopin_jwk_json(&again, (chopin_auth_alg)0, (chopin_str){ json, (size_t)n }) == 0);
    MUST(again.alg == key.alg && !again.secret && again.kid_len == key.kid_len && memcmp(again.kid, key.kid, key.kid_len) == 0);
    MUST(chopin_jwk_thumbprint(&key, a) == 0 && chopin_jwk_thumbprint(&again, b) == 0 && memcmp(a, b, 32) == 0);
    fuzz_signs(&key, &again);
}

static chopin_jwks set;
static void one_set(chopin_str in) {
    static char json[70000];
    static const char first[] = "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"first\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";
    const chopin_jwk *key;
    MUST(chopin_jwks_init(&set, NULL) == 0 && chopin_jwks_load(&set, (chopin_str){ first, sizeof first - 1 }, 1) == 1);
    int rc = chopin_jwks_load(&set, in, 2);
    if (rc < 0) {
        MUST(chopin_jwks_find(&set, CHOPIN_STR("first"), &key) == 0);
        chopin_jwks_release(&set, key);
        return;
    }
    int n = chopin_jwks_public_json(&set, json, sizeof json);
    MUST(rc == chopin_jwks_count(&set, NULL) && (n > 0 || n == CHOPIN_AUTH_UNSUPPORTED));
    if (n > 0 && n <= CHOPIN_AUTH_JWKS_MAX) MUST(chopin_jwks_load(&set, (chopin_str){ json, (size_t)n }, 3) == rc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const chopin_auth_alg algs[] = { (chopin_auth_alg)0, CHOPIN_AUTH_HS256, CHOPIN_AUTH_RS256, CHOPIN_AUTH_ES256, CHOPIN_AUTH_EDDSA };
    chopin_str in = { (const char *)data, size };
    for (int i = 0; i < 5; i++) one_key(algs[i], in);
    one_set(in);
    return 0;
}
