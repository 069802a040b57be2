/* fuzz_auth_der.c - libFuzzer over bare DER, for every kind of key
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined tests/fuzz_auth_der.c -o fuzz_auth_der && ./fuzz_auth_der -max_total_time=60 corpus_der
 *     gcc -g -O1 -fsanitize=address,undefined -DFUZZ_MAIN tests/fuzz_auth_der.c -o fuzz_auth_der && ./fuzz_auth_der [runs] [FILE...]      (mutates the files)
 *
 * Properties: no crash; a refused key is all zero; an accepted one is the only spelling of itself (each view lies inside the input, nothing is left over), its
 * public half can be written and read back, and what it signs it verifies. */
#include "auth.h"
#include "fuzz_auth.h"

static void one_algorithm(chopin_auth_alg alg, chopin_str in) {
    chopin_jwk key, again;
    char json[2 * CHOPIN_AUTH_RSA_MAX / 8 + 256];
    int rc = chopin_jwk_pem(&key, alg, CHOPIN_STR("k"), in);
    if (rc < 0) { fuzz_all_zero(&key, sizeof key); return; }
    MUST(key.alg == alg);
    int n = chopin_jwk_public_json(&key, json, sizeof json);
    MUST(n > 0 && chopin_jwk_json(&again, (chopin_auth_alg)0, (chopin_str){ json, (size_t)n }) == 0 && again.alg == alg && !again.secret);
    fuzz_signs(&key, &again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    chopin_str in = { (const char *)data, size };
    chopin_auth__der_key found;
    uint8_t room[CHOPIN_AUTH__DER_MAX];
    if (size == 0 || data[0] != 0x30 || chopin_auth__der_read(&found, in, room) < 0) return 0;
    const chopin_str views[] = { found.d, found.point, found.rsa.n, found.rsa.e, found.rsa.d, found.rsa.p, found.rsa.q, found.rsa.dp, found.rsa.dq, found.rsa.qi };
    for (size_t i = 0; i < sizeof views / sizeof *views; i++) MUST(!views[i].ptr || (views[i].ptr >= in.ptr && views[i].ptr + views[i].len <= in.ptr + in.len));
    one_algorithm(CHOPIN_AUTH_RS256, in), one_algorithm(CHOPIN_AUTH_ES256, in), one_algorithm(CHOPIN_AUTH_EDDSA, in);
    return 0;
}
