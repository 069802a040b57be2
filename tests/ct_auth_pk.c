/* Signing, making keys and reading private numbers with undefined secrets: Ed25519, P-256, RSA, and an RSA key's own checks */
#include "ct.h"
#include "auth.h"
#include "test.h"
#include "vectors.h"
#include "pk_kit.h"

static uint8_t seed[32], signature[CHOPIN_AUTH_SIGNATURE_MAX];
static chopin_jwk key;

static void fill(uint8_t with) { memset(seed, with, sizeof seed); ct_secret(seed, sizeof seed); }

static void ed25519_key_and_sign(void) {
    fill(7);
    ct_sink = chopin_jwk_ed25519(&key, CHOPIN_STR("k"), seed);
    ct_sink = chopin_ed25519_sign(&key, CHOPIN_STR("message"), signature);
    ct_sink = chopin_ed25519_verify(&key, CHOPIN_STR("message"), pk_bytes(signature, 64));
    chopin_jwk_done(&key), ct_public(&key, sizeof key);
}
static void p256_key_and_sign(void) {
    for (int low = 0; low < 2; low++) {
        fill((uint8_t)(low ? 7 : 0xf0));                              // above and below 2^255
        ct_sink = chopin_jwk_p256(&key, CHOPIN_STR("k"), seed);
        key.low_s = low;
        ct_sink = chopin_p256_sign(&key, CHOPIN_STR("message"), signature);
        ct_sink = chopin_p256_verify(&key, CHOPIN_STR("message"), pk_bytes(signature, 64));
        chopin_jwk_done(&key), ct_public(&key, sizeof key);
    }
}
static void p256_nonce_is_secret(void) {                              // the nonce itself, whatever it came from
    uint64_t d[4] = { 5, 6, 7, 8 }, z[4] = { 1, 2, 3, 4 }, k[4] = { 9, 8, 7, 6 }, r[4], s[4];
    ct_secret(d, sizeof d), ct_secret(k, sizeof k);
    ct_sink = chopin_auth__p256_sign_with(d, z, k, r, s);
}
static void rsa_of(const char *file, chopin_auth_alg alg) {
    chopin_auth__rsa_key *k = &key.u.rsa;
    unsigned all = chopin_auth__cpu_force(~0u);
    key = pk_key(alg, file);
    ct_secret(k->p, sizeof k->p), ct_secret(k->q, sizeof k->q), ct_secret(k->dp, sizeof k->dp), ct_secret(k->dq, sizeof k->dq), ct_secret(k->qi, sizeof k->qi);
    ct_sink = chopin_rsa_sign(&key, CHOPIN_STR("message"), signature, sizeof signature);
    if (all & CHOPIN_AUTH__CPU_ADX) {
        (void)chopin_auth__cpu_force(~(unsigned)CHOPIN_AUTH__CPU_ADX);
        ct_sink = chopin_rsa_sign(&key, CHOPIN_STR("message"), signature, sizeof signature);
        (void)chopin_auth__cpu_force(~0u);
    }
    ct_public(&key, sizeof key);
}
static void rsa_sign_2048(void) { rsa_of("rsa2048.pem", CHOPIN_AUTH_RS256); }
static void rsa_sign_2049(void) { rsa_of("rsa2049.pem", CHOPIN_AUTH_PS512); }
static void rsa_parts_are_checked(void) {                             // the checks that a private key passes once
    uint8_t room[CHOPIN_AUTH__DER_MAX];
    uint64_t d[64];
    chopin_auth__der_key found;
    key = pk_key(CHOPIN_AUTH_RS256, "rsa2048.pem");
    chopin_auth__rsa_key *k = &key.u.rsa;
    ct_sink = chopin_auth__der_read(&found, pk_file(0, "rsa2048.pem"), room);
    ct_sink = chopin_auth__bignum_load(d, k->limbs, found.rsa.d);
    ct_secret(d, sizeof d), ct_secret(k->p, sizeof k->p), ct_secret(k->q, sizeof k->q), ct_secret(k->dp, sizeof k->dp), ct_secret(k->dq, sizeof k->dq), ct_secret(k->qi, sizeof k->qi);
    uint64_t fits = chopin_auth__rsa_primes_fit(k) & chopin_auth__rsa_exponent_fits(k, d, k->p, k->dp) & chopin_auth__rsa_exponent_fits(k, d, k->q, k->dq);
    ct_public(&fits, sizeof fits);
    if (!fits) exit(3);
    ct_public(&key, sizeof key), ct_public(d, sizeof d), ct_public(room, sizeof room);
}
static void hmac_jwk(void) {
    uint8_t secret[64];
    for (int text = 0; text < 2; text++) {
        memset(secret, 3, sizeof secret), ct_secret(secret, sizeof secret);
        ct_sink = text ? chopin_jwk_hmac_text(&key, CHOPIN_AUTH_HS512, CHOPIN_STR("k"), pk_bytes(secret, 64)) : chopin_jwk_hmac(&key, CHOPIN_AUTH_HS512, CHOPIN_STR("k"), pk_bytes(secret, 64));
        ct_sink = chopin_auth__jwk_sign(&key, CHOPIN_STR("message"), signature, sizeof signature);
        ct_sink = chopin_auth__jwk_verify(&key, CHOPIN_STR("message"), pk_bytes(signature, 64));
        chopin_jwk_done(&key), ct_public(&key, sizeof key), ct_public(signature, sizeof signature);
    }
}

int main(int argc, char **argv) {
    CT_BEGIN(argc, argv);
    CT(ed25519_key_and_sign);
    CT(p256_key_and_sign);
    CT(p256_nonce_is_secret);
    CT(rsa_sign_2048);
    CT(rsa_sign_2049);
    CT(rsa_parts_are_checked);
    CT(hmac_jwk);
    return CT_END();
}
