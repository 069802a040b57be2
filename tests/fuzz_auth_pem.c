/* fuzz_auth_pem.c - libFuzzer over PEM texts; build and run as fuzz_auth_der.c says
 *
 * Properties: no crash; a refused key is all zero; an accepted text gives the same key with CRLF for LF, with white space around it, and as the bare DER inside. */
#include "auth.h"
#include "fuzz_auth.h"

static void same(const chopin_jwk *key, chopin_str text) {
    chopin_jwk other;
    MUST(chopin_jwk_pem(&other, key->alg, CHOPIN_STR("k"), text) == 0 && memcmp(key, &other, sizeof other) == 0);
}
static void spelt_otherwise(const chopin_jwk *key, chopin_str in) {
    static char text[2 * CHOPIN_AUTH_PEM_MAX + 8];
    size_t n = 0;
    text[n++] = '\n', text[n++] = ' ';
    for (size_t i = 0; i < in.len; i++) {
        if (in.ptr[i] == '\n' && (i == 0 || in.ptr[i - 1] != '\r')) text[n++] = '\r';
        text[n++] = in.ptr[i];
    }
    text[n++] = '\n';
    if (n <= CHOPIN_AUTH_PEM_MAX) same(key, (chopin_str){ text, n });
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const chopin_auth_alg algs[] = { CHOPIN_AUTH_PS256, CHOPIN_AUTH_ES256, CHOPIN_AUTH_EDDSA };
    chopin_str in = { (const char *)data, size };
    for (int i = 0; i < 3; i++) {
        chopin_jwk key;
        uint8_t room[CHOPIN_AUTH__DER_MAX];
        chopin_auth__der_key found;
        if (chopin_jwk_pem(&key, algs[i], CHOPIN_STR("k"), in) < 0) { fuzz_all_zero(&key, sizeof key); continue; }
        MUST(chopin_auth__der_read(&found, in, room) == 0);
        if (data[0] == 0x30) continue;                                // bare DER
        spelt_otherwise(&key, in);
        fuzz_signs(&key, &key);
    }
    return 0;
}
