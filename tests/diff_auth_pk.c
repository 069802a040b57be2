/* diff_auth_pk.c - keys, signatures and encodings beside OpenSSL and libsodium, both directions, seeded:
 *
 *     cc -O2 -I. tests/diff_auth_pk.c -lcrypto -lsodium -o diff_auth_pk && ./diff_auth_pk [cases] [seed]       (default 100000 cases; RSA and key files: a fiftieth)
 *
 * Both sides sign, both verify; then signatures, messages and keys are mutated, and the verdicts must be the same. Where we are stricter on purpose (points of
 * small order, low exponents, other forms of PEM and DER) only that direction is allowed: what we accept, they must accept. */
#include "auth.h"
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <sodium.h>
#include "test.h"
#include "vectors.h"
#include "pk_kit.h"

static long cases = 100000;
static int agreed, refused;

#define AGREE(ours, theirs) do { bool a_ = (ours), b_ = (theirs); if (a_) agreed++; else refused++; \
        if (a_ != b_) { printf("%s:%d: we say %d, they say %d (seed %s)\n", __FILE__, __LINE__, a_, b_, seed_text); exit(1); } } while (0)
#define MUST(condition) do { if (!(condition)) { printf("%s:%d: %s (seed %s)\n", __FILE__, __LINE__, #condition, seed_text); exit(1); } } while (0)
static const char *seed_text = "1";

static void mutate(uint8_t *p, size_t n) {                            // a bit, a byte, zeros, ones, a neighbour copied
    size_t at = pk_rand() % n, len = 1 + pk_rand() % 4;
    switch (pk_rand() % 6) {
    case 0: p[at] ^= (uint8_t)(1u << pk_rand() % 8); break;
    case 1: p[at] = (uint8_t)pk_rand(); break;
    case 2: for (; len > 0 && at < n; len--) p[at++] = 0; break;
    case 3: for (; len > 0 && at < n; len--) p[at++] = 0xff; break;
    case 4: p[at] = (uint8_t)(p[at] + (pk_rand() % 2 ? 1 : -1)); break;
    default: if (at + 1 < n) p[at] = p[at + 1];
    }
}

/* ---- Ed25519: libsodium for keys and signatures, OpenSSL as a second opinion on whole signatures ---- */
static void ed25519(void) {
    static _Alignas(16) uint8_t table[CHOPIN_AUTH_JWK_TABLE];
    uint8_t seed[32], pk[32], sk[64], message[300], ours[64], theirs[64];
    for (long i = 0; i < cases; i++) {
        chopin_jwk key, public;
        size_t n = pk_rand() % sizeof message;
        pk_fill(seed, 32), pk_fill(message, n);
        MUST(chopin_jwk_ed25519(&key, pk_z(""), seed) == 0);
        crypto_sign_seed_keypair(pk, sk, seed);
        MUST(memcmp(pk, key.u.ed25519.bytes, 32) == 0);
        MUST(chopin_ed25519_sign(&key, pk_bytes(message, n), ours) == 0);
        crypto_sign_detached(theirs, NULL, message, n, sk);
        MUST(memcmp(ours, theirs, 64) == 0);
        MUST(chopin_jwk_ed25519_public(&public, pk_z(""), pk) == 0);
        if (i % 50 == 0) MUST(chopin_jwk_table(&public, table, sizeof table) == 0);
        MUST(chopin_ed25519_verify(&public, pk_bytes(message, n), pk_bytes(ours, 64)) == 0);
        if (pk_rand() % 2 && n) mutate(message, n); else mutate(ours, 64);
        AGREE(chopin_ed25519_verify(&public, pk_bytes(message, n), pk_bytes(ours, 64)) == 0, crypto_sign_verify_detached(ours, message, n, pk) == 0);
        if (i % 20) continue;
        EVP_PKEY *evp = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, pk, 32);
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        MUST(evp && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, evp) == 1);
        AGREE(chopin_ed25519_verify(&public, pk_bytes(message, n), pk_bytes(ours, 64)) == 0, EVP_DigestVerify(ctx, ours, 64, message, n) == 1);
        EVP_MD_CTX_free(ctx), EVP_PKEY_free(evp);
    }
}
/* Random and mutated public keys: what we load, libsodium must call a valid point, or one outside of the prime group, which both verify with. */
static void ed25519_points(void) {
    uint8_t pk[32], sig[64] = { 0 };
    for (long i = 0; i < cases; i++) {
        chopin_jwk key;
        pk_fill(pk, 32);
        if (i % 5 == 0) memset(pk + 1, pk_rand() % 2 ? 0 : 0xff, 31);
        int rc = chopin_jwk_ed25519_public(&key, pk_z(""), pk);
        if (crypto_core_ed25519_is_valid_point(pk)) MUST(rc == 0);
        if (rc < 0) { refused++; continue; }
        agreed++;
        (void)sig;
        unsigned char x[32], again[32];
        MUST(crypto_core_ed25519_add(x, pk, pk) == 0 && crypto_core_ed25519_sub(again, x, pk) == 0 && memcmp(again, pk, 32) == 0);      // on the curve, for libsodium too
    }
}

/* ---- P-256 ---- */
static int p256_theirs(EC_KEY *key, const uint8_t hash[32], const uint8_t sig[64]) {
    ECDSA_SIG *s = ECDSA_SIG_new();
    ECDSA_SIG_set0(s, BN_bin2bn(sig, 32, NULL), BN_bin2bn(sig + 32, 32, NULL));
    int rc = ECDSA_do_verify(hash, 32, s, key);
    ECDSA_SIG_free(s);
    return rc == 1;
}
static void p256(void) {
    static _Alignas(16) uint8_t table[CHOPIN_AUTH_JWK_TABLE];
    uint8_t d[32], message[300], ours[64], hash[32], xy[65];
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    for (long i = 0; i < cases / 4; i++) {
        chopin_jwk key, public;
        size_t n = pk_rand() % sizeof message;
        pk_fill(d, 32), pk_fill(message, n);
        if (i % 7 == 0) { uint64_t w[4]; pk_words(w, 4), chopin_auth__p256_store(d, w); }
        if (chopin_jwk_p256(&key, pk_z(""), d) < 0) { refused++; continue; }
        BIGNUM *bn = BN_bin2bn(d, 32, NULL);
        EC_POINT *point = EC_POINT_new(group);
        EC_KEY *theirs = EC_KEY_new();
        EC_POINT_mul(group, point, bn, NULL, NULL, NULL);
        EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, xy, 65, NULL);
        EC_KEY_set_group(theirs, group), EC_KEY_set_private_key(theirs, bn), EC_KEY_set_public_key(theirs, point);
        MUST(chopin_jwk_p256_public(&public, pk_z(""), xy + 1, xy + 33) == 0);
        MUST(memcmp(public.u.p256.x, key.u.p256.x, 64) == 0);
        if (i % 50 == 0) MUST(chopin_jwk_table(&public, table, sizeof table) == 0);
        MUST(chopin_p256_sign(&key, pk_bytes(message, n), ours) == 0);
        chopin_sha256(pk_bytes(message, n), hash);
        MUST(p256_theirs(theirs, hash, ours));
        MUST(chopin_p256_verify(&public, pk_bytes(message, n), pk_bytes(ours, 64)) == 0);
        ECDSA_SIG *s = ECDSA_do_sign(hash, 32, theirs);
        BN_bn2binpad(ECDSA_SIG_get0_r(s), ours, 32), BN_bn2binpad(ECDSA_SIG_get0_s(s), ours + 32, 32);
        ECDSA_SIG_free(s);
        MUST(chopin_p256_verify(&public, pk_bytes(message, n), pk_bytes(ours, 64)) == 0);
        if (pk_rand() % 2 && n) mutate(message, n); else mutate(ours, 64);
        chopin_sha256(pk_bytes(message, n), hash);
        AGREE(chopin_p256_verify(&public, pk_bytes(message, n), pk_bytes(ours, 64)) == 0, p256_theirs(theirs, hash, ours));
        mutate(xy + 1, 64);                                           // another point, or none
        AGREE(chopin_jwk_p256_public(&public, pk_z(""), xy + 1, xy + 33) == 0, EC_POINT_oct2point(group, point, xy, 65, NULL) == 1);
        EC_KEY_free(theirs), EC_POINT_free(point), BN_free(bn);
    }
    EC_GROUP_free(group);
}

/* ---- RSA ---- */
static EVP_PKEY *evp_of(const char *file, int which) {
    chopin_str text = pk_file(which, file);
    BIO *bio = BIO_new_mem_buf(text.ptr, (int)text.len);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    MUST(key != NULL);
    return key;
}
static EVP_MD_CTX *rsa_context(EVP_PKEY *evp, const chopin_jwk *key, bool sign) {
    static const EVP_MD *(*const hashes[])(void) = { EVP_sha256, EVP_sha384, EVP_sha512 };
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *options;
    const EVP_MD *md = hashes[chopin_auth__alg_hash(key->alg) - CHOPIN_AUTH_SHA256]();
    MUST((sign ? EVP_DigestSignInit(ctx, &options, md, NULL, evp) : EVP_DigestVerifyInit(ctx, &options, md, NULL, evp)) == 1);
    if (key->alg >= CHOPIN_AUTH_PS256) MUST(EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) == 1 && EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST) == 1);
    return ctx;
}
static void rsa(void) {
    static const char *const files[] = { "rsa2048.pem", "rsa2049.pem", "rsa3072.pem", "rsa4096.pem", "rsa2048_e3.pem" };
    uint8_t message[300], sig[512];
    for (long i = 0; i < cases / 50; i++) {
        const char *file = files[pk_rand() % 8 < 5 ? 0 : pk_rand() % 5];
        chopin_jwk key;
        MUST(chopin_jwk_pem(&key, (chopin_auth_alg)(CHOPIN_AUTH_RS256 + pk_rand() % 6), pk_z(""), pk_file(0, file)) == 0);
        EVP_PKEY *evp = evp_of(file, 1);
        size_t n = pk_rand() % sizeof message, size = sizeof sig;
        pk_fill(message, n);
        MUST(chopin_rsa_sign(&key, pk_bytes(message, n), sig, sizeof sig) == EVP_PKEY_size(evp));
        EVP_MD_CTX *ctx = rsa_context(evp, &key, false);
        MUST(EVP_DigestVerify(ctx, sig, (size_t)EVP_PKEY_size(evp), message, n) == 1);
        EVP_MD_CTX_free(ctx), ctx = rsa_context(evp, &key, true);
        MUST(EVP_DigestSign(ctx, sig, &size, message, n) == 1);
        EVP_MD_CTX_free(ctx);
        MUST(chopin_rsa_verify(&key, pk_bytes(message, n), pk_bytes(sig, size)) == 0);
        for (int j = 0; j < 10; j++) {
            if (pk_rand() % 4 == 0 && n) mutate(message, n); else mutate(sig, size);
            ctx = rsa_context(evp, &key, false);
            AGREE(chopin_rsa_verify(&key, pk_bytes(message, n), pk_bytes(sig, size)) == 0, EVP_DigestVerify(ctx, sig, size, message, n) == 1);
            EVP_MD_CTX_free(ctx);
        }
        EVP_PKEY_free(evp);
    }
}

/* ---- key files: what OpenSSL writes we load; a mutated one that we load, OpenSSL loads too, to the same public key ---- */
static void public_of(EVP_PKEY *evp, uint8_t print[32]) {             // SHA-256 of SPKI
    unsigned char *der = NULL;
    int n = i2d_PUBKEY(evp, &der);
    MUST(n > 0);
    chopin_sha256(pk_bytes(der, (size_t)n), print);
    OPENSSL_free(der);
}
static EVP_PKEY *their_key(const uint8_t *der, size_t n) {
    const unsigned char *p = der;
    EVP_PKEY *evp = d2i_AutoPrivateKey(NULL, &p, (long)n);
    if (evp) return evp;
    p = der;
    return d2i_PUBKEY(NULL, &p, (long)n);
}
static void check_file(chopin_auth_alg alg, const uint8_t *der, size_t n) {
    chopin_jwk key;
    if (chopin_jwk_pem(&key, alg, pk_z(""), pk_bytes(der, n)) < 0) { refused++; return; }
    agreed++;
    EVP_PKEY *evp = their_key(der, n);
    MUST(evp != NULL);
    uint8_t ours[32], theirs[32], sig[CHOPIN_AUTH_SIGNATURE_MAX];
    public_of(evp, theirs);
    char json[1024];
    MUST(chopin_jwk_public_json(&key, json, sizeof json) > 0);
    if (alg == CHOPIN_AUTH_EDDSA) {
        uint8_t raw[32];
        size_t size = 32;
        MUST(EVP_PKEY_get_raw_public_key(evp, raw, &size) == 1 && memcmp(raw, key.u.ed25519.bytes, 32) == 0);
    } else if (alg == CHOPIN_AUTH_ES256) {
        uint8_t raw[65], x[32];
        size_t size = 65;
        MUST(EVP_PKEY_get_octet_string_param(evp, "pub", raw, 65, &size) == 1 && size == 65);
        chopin_auth__p256_store_field(x, key.u.p256.x); MUST(memcmp(x, raw + 1, 32) == 0);
        chopin_auth__p256_store_field(x, key.u.p256.y); MUST(memcmp(x, raw + 33, 32) == 0);
    } else {
        BIGNUM *modulus = NULL;
        uint8_t raw[CHOPIN_AUTH__RSA_BYTES], mine[CHOPIN_AUTH__RSA_BYTES];
        size_t size = (key.u.rsa.bits + 7) / 8;
        MUST(EVP_PKEY_get_bn_param(evp, "n", &modulus) == 1 && BN_bn2binpad(modulus, raw, (int)size) == (int)size);
        chopin_auth__bignum_store(mine, size, key.u.rsa.n); MUST(memcmp(mine, raw, size) == 0);
        BN_free(modulus);
    }
    (void)ours;
    if (key.secret) {
        int m = pk_sign(&key, pk_z("m"), sig);
        MUST(m > 0 && pk_verify(&key, pk_z("m"), sig, (size_t)m) == 0);
    }
    EVP_PKEY_free(evp);
}
static void key_files(void) {
    static const struct { const char *file; chopin_auth_alg alg; } files[] = { { "ed25519.pem", CHOPIN_AUTH_EDDSA }, { "p256.pem", CHOPIN_AUTH_ES256 }, { "rsa2048.pem", CHOPIN_AUTH_RS256 } };
    for (int f = 0; f < 3; f++) {
        EVP_PKEY *evp = evp_of(files[f].file, 0);
        unsigned char *forms[3] = { NULL, NULL, NULL };
        PKCS8_PRIV_KEY_INFO *p8 = EVP_PKEY2PKCS8(evp);
        int sizes[3] = { i2d_PUBKEY(evp, &forms[0]), i2d_PKCS8_PRIV_KEY_INFO(p8, &forms[1]), f ? i2d_PrivateKey(evp, &forms[2]) : 0 };
        for (int form = 0; form < 3; form++) {
            if (sizes[form] <= 0) continue;
            uint8_t der[4096];
            memcpy(der, forms[form], (size_t)sizes[form]);
            chopin_jwk key;
            MUST(chopin_jwk_pem(&key, files[f].alg, pk_z(""), pk_bytes(der, (size_t)sizes[form])) == 0);
            for (long i = 0; i < cases / (f == 2 ? 60 : 4); i++) {
                memcpy(der, forms[form], (size_t)sizes[form]);
                for (uint64_t j = 1 + pk_rand() % 2; j > 0; j--) mutate(der, (size_t)sizes[form]);
                check_file(files[f].alg, der, (size_t)sizes[form]);
            }
            OPENSSL_free(forms[form]);
        }
        PKCS8_PRIV_KEY_INFO_free(p8), EVP_PKEY_free(evp);
    }
}

static void part(void (*run)(void), const char *name) {
    agreed = refused = 0;
    run();
    printf("%-16s %8d both accept, %8d both refuse\n", name, agreed, refused);
    fflush(stdout);
}
int main(int argc, char **argv) {
    if (argc > 1) cases = atol(argv[1]);
    if (argc > 2) seed_text = argv[2];
    pk_seed = strtoull(seed_text, NULL, 0);
    if (sodium_init() < 0) return 1;
    printf("seed %s, %ld cases\n", seed_text, cases);
    part(ed25519, "Ed25519"), part(ed25519_points, "Ed25519 points"), part(p256, "P-256"), part(rsa, "RSA"), part(key_files, "key files");
    printf("5 passed, 0 failed\n");
    return 0;
}
