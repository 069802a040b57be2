/* >>bignum (Montgomery), >>rsa */
#define _GNU_SOURCE 1
#include <stdbool.h>
static bool no_random;
#define CHOPIN_AUTH__RANDOM_SOURCE(out, n) (!no_random && chopin_auth__random_system(out, n))
#include "auth.h"
#include "test.h"
#include "vectors.h"
#include "guard.h"
#include "pk_kit.h"

/* ---- arithmetic: 4 to 8 words against the slow model, longer numbers by a r = (a b / R) R ---- */
static void montgomery_on_one_path(void) {
    int cases = pk_cases(600);
    for (int i = 0; i < cases; i++) {
        uint64_t m[8], a[8], b[8], r[8], t[16];
        size_t n = i % 2 ? 4 : 8;
        pk_words(m, n), pk_words(a, n), pk_words(b, n), m[0] |= 1;
        if (i < 4) memset(m, 0xff, sizeof m), memset(a, 0xff, sizeof a), memset(b, 0xff, sizeof b);
        if (chopin_auth__bignum_zero(m + n / 2, n / 2)) m[n - 1] = 1;
        slow modulus = slow_of(m, n);
        chopin_auth__mont mod = { m, t, chopin_auth__mont_m0(m[0]), n };
        CHECK(mod.m0 * m[0] == ~UINT64_C(0));
        chopin_auth__mont_rr(&mod, r);
        slow one = { { 1 } }, rr = slow_mod(one, modulus);
        for (size_t j = 0; j < 2 * n; j++) rr = slow_mod(slow_shift(rr, 1), modulus);
        CHECK(slow_is(rr, r, n));
        slow product = slow_mod(slow_of(b, n), modulus);
        for (size_t j = 0; j < n; j++) b[j] = (uint64_t)product.w[2 * j + 1] << 32 | product.w[2 * j];       // b below m, a anything
        chopin_auth__mont_mul(&mod, r, a, b);
        CHECK(chopin_auth__bignum_less(r, m, n));
        slow left = slow_of(r, n), right = { { 0 } };
        for (size_t j = 0; j < n; j++) left = slow_mod(slow_shift(left, 1), modulus);
        for (size_t j = n; j-- > 0;) right = slow_mod(slow_add(slow_shift(right, 1), slow_mul(slow_of(&a[j], 1), slow_of(b, n))), modulus);
        CHECK(slow_cmp(&left, &right) == 0);
        chopin_auth__mont_mul(&mod, r, b, b), chopin_auth__mont_sqr(&mod, a, b);
        CHECK(memcmp(a, r, n * 8) == 0);
        if (test__all.bad) return;
    }
}
static void squares_on_one_path(void) {                              // every length, words of all kinds
    static uint64_t a[128], t[256], u[256];
    for (size_t n = 4; n <= 128; n += 4) {
        for (int i = 0; i < 30; i++) {
            pk_words(a, n);
            if (i == 0) memset(a, 0xff, sizeof a);
            chopin_auth__mont_product(t, a, a, n), chopin_auth__mont_square(u, a, n);
            CHECK(memcmp(t, u, n * 16) == 0);
        }
    }
}
static void remainders_match_the_model(void) {
    for (int i = 0; i < 100; i++) {
        uint64_t x[8], m[4], r[4];
        pk_words(x, 8), pk_words(m, 4);
        m[0] |= 2;
        chopin_auth__rsa_remainder(r, x, 8, m, 4);
        CHECK(slow_is(slow_mod(slow_of(x, 8), slow_of(m, 4)), r, 4));
    }
}

/* Every test runs on each way to multiply that this CPU has. */
static void each_path(void (*test)(void)) {
    unsigned all = chopin_auth__cpu_force(~0u);
    test();
    if (all & CHOPIN_AUTH__CPU_ADX) (void)chopin_auth__cpu_force(~(unsigned)CHOPIN_AUTH__CPU_ADX), test(), (void)chopin_auth__cpu_force(~0u);
}

/* ---- vectors ---- */
static void wycheproof_of(const char *file, chopin_auth_alg alg, const char *jwk, int cases) {
    vec v;
    chopin_jwk a, b;
    char *group = NULL;
    for (vec_open(&v, file); vec_next(&v, NULL);) {
        chopin_str msg = vec_hex(&v, "msg"), sig = vec_hex(&v, "sig");
        char *at = vec_group_find(&v, "publicKeyPem"), *json = vec_group_find(&v, jwk);
        if (at != group) {                                            // some groups have an exponent or a size that we do not take
            int rc = chopin_jwk_pem(&a, alg, pk_z(""), vec_text_at(&v, at));
            group = at;
            if (!CHECK_EQ_INT(rc, 0)) printf("%.100s\n", v.line);
            if (json > at) CHECK_EQ_INT(chopin_jwk_json(&b, alg, pk_object(json)), 0);
            else b = a;
        }
        bool valid = vec_is(&v, "result", "valid");
        int rc = chopin_rsa_verify(&a, msg, guard_copy(0, sig.ptr, sig.len));
        if (!CHECK_EQ_INT(rc == 0, valid)) printf("%.100s\n", v.line);
        CHECK_EQ_INT(chopin_rsa_verify(&b, msg, sig), rc);
    }
    vec_close(&v, cases);
}
static void wycheproof_pkcs1(void) { wycheproof_of("wycheproof/rsa_signature_2048_sha256.json", CHOPIN_AUTH_RS256, "keyJwk", 259); }
static void wycheproof_pss(void)   { wycheproof_of("wycheproof/rsa_pss_2048_sha256_mgf1_32.json", CHOPIN_AUTH_PS256, "publicKeyJwk", 108); }

/* ---- round trips ---- */
static const char *const files[] = { "rsa2048.pem", "rsa2049.pem", "rsa3072.pem", "rsa4096.pem", "rsa2048_e3.pem" };

static void signs_and_verifies_on_one_path(void) {
    for (size_t f = 0; f < 5; f++) {
        for (int alg = CHOPIN_AUTH_RS256; alg <= CHOPIN_AUTH_PS512; alg++) {
            chopin_jwk key = pk_key((chopin_auth_alg)alg, files[f]);
            uint8_t sig[512], again[512];
            int n = chopin_rsa_sign(&key, pk_z("message"), sig, sizeof sig);
            CHECK_EQ_INT(n, (key.u.rsa.bits + 7) / 8);
            CHECK_EQ_INT(chopin_rsa_verify(&key, pk_z("message"), pk_bytes(sig, (size_t)n)), 0);
            CHECK_EQ_INT(chopin_rsa_verify(&key, pk_z("massage"), pk_bytes(sig, (size_t)n)), CHOPIN_AUTH_SIGNATURE);
            CHECK_EQ_INT(chopin_rsa_sign(&key, pk_z("message"), again, sizeof again), n);
            CHECK(!memcmp(sig, again, (size_t)n) == (alg <= CHOPIN_AUTH_RS512));          // PSS is salted
            memset(again, 7, sizeof again);
            CHECK_EQ_INT(chopin_rsa_sign(&key, pk_z("message"), again, (size_t)n - 1), CHOPIN_AUTH_BUFFER);
            CHECK(again[0] == 7 && again[n - 2] == 7);
            for (int other = CHOPIN_AUTH_RS256; other <= CHOPIN_AUTH_PS512; other++) {    // a key fixes one algorithm
                chopin_jwk k = key;
                k.alg = (chopin_auth_alg)other;
                CHECK_EQ_INT(chopin_rsa_verify(&k, pk_z("message"), pk_bytes(sig, (size_t)n)) == 0, other == alg);
            }
        }
    }
}

/* ---- rules ---- */
static void rsa_signature_is_below_n(void) {                          // s + n, where it fits the modulus' length, and every other length
    chopin_jwk key = pk_key(CHOPIN_AUTH_RS256, "rsa2049.pem");        // 2049 bits in 257 bytes: there is room for s + n
    uint8_t sig[300] = { 0 };
    uint64_t s[64];
    int n = chopin_rsa_sign(&key, pk_z("m"), sig, sizeof sig);
    CHECK_EQ_INT(n, 257);
    CHECK(chopin_auth__bignum_load(s, key.u.rsa.limbs, pk_bytes(sig, 257)));
    (void)chopin_auth__bignum_add(s, s, key.u.rsa.n, key.u.rsa.limbs);
    uint8_t more[257];
    chopin_auth__bignum_store(more, 257, s);
    CHECK_EQ_INT(chopin_rsa_verify(&key, pk_z("m"), pk_bytes(more, 257)), CHOPIN_AUTH_SIGNATURE);
    chopin_auth__bignum_store(more, 257, key.u.rsa.n);
    CHECK_EQ_INT(chopin_rsa_verify(&key, pk_z("m"), pk_bytes(more, 257)), CHOPIN_AUTH_SIGNATURE);
    for (size_t i = 0; i < 300; i++) if (i != 257) CHECK_EQ_INT(chopin_rsa_verify(&key, pk_z("m"), guard_copy(0, sig, i)), CHOPIN_AUTH_SIZE);
    CHECK_EQ_INT(chopin_rsa_verify(&key, pk_z("m"), guard_copy(0, sig, 257)), 0);
}

/* A block of our choice, properly signed: only the check of the block can refuse it. */
static int verify_block(const chopin_jwk *key, const uint8_t *block) {
    uint8_t sig[512];
    int n = chopin_auth__rsa_sign_block(&key->u.rsa, block, sig);
    return n < 0 ? n : chopin_rsa_verify(key, pk_z("m"), pk_bytes(sig, (size_t)n));
}
static void rsa_pkcs1_is_compared_whole(void) {
    chopin_jwk key = pk_key(CHOPIN_AUTH_RS256, "rsa2048.pem");
    uint8_t digest[32], good[256], block[256];
    chopin_sha256(pk_z("m"), digest);
    chopin_auth__rsa_pkcs1_block(good, 256, CHOPIN_AUTH_SHA256, digest);
    CHECK_EQ_INT(verify_block(&key, good), 0);
    for (size_t i = 1; i < 256; i++) {                                // each byte of the block changed
        memcpy(block, good, 256), block[i] ^= 1;
        CHECK_EQ_INT(verify_block(&key, block), CHOPIN_AUTH_SIGNATURE);
        if (i > 30 && i < 190) i += 20;
    }
    static const uint8_t no_null[] = { 0x30, 0x2f, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x04, 0x20 };
    memset(block, 0xff, 256), block[0] = 0, block[1] = 1;             // parameters left out
    block[256 - 32 - sizeof no_null - 1] = 0, memcpy(block + 256 - 32 - sizeof no_null, no_null, sizeof no_null), memcpy(block + 224, digest, 32);
    CHECK_EQ_INT(verify_block(&key, block), CHOPIN_AUTH_SIGNATURE);
    memcpy(block, good, 256), memmove(block + 10, block + 204, 52), memset(block + 62, 0, 194), block[9] = 0;    // short padding, the rest is garbage behind (CVE-2006-4339)
    CHECK_EQ_INT(verify_block(&key, block), CHOPIN_AUTH_SIGNATURE);
    memcpy(block, good, 256), memcpy(block + 1, good + 2, 201), block[201] = 0, memcpy(block + 202, "\x30\x81\x31", 3), memcpy(block + 205, good + 206, 50);    // a length in BER
    CHECK_EQ_INT(verify_block(&key, block), CHOPIN_AUTH_SIGNATURE);
    memcpy(block, good, 256), block[1] = 2;                           // the padding of encryption
    CHECK_EQ_INT(verify_block(&key, block), CHOPIN_AUTH_SIGNATURE);
}
static void pss_is_fixed(void) {
    for (int odd = 0; odd < 2; odd++) {                               // 2048 bits, and 2049, whose block begins with a zero byte
        chopin_jwk key = pk_key(CHOPIN_AUTH_PS256, odd ? "rsa2049.pem" : "rsa2048.pem");
        size_t size = odd ? 257 : 256;
        uint8_t digest[32], salt[64] = { 5 }, good[257], block[257];
        chopin_sha256(pk_z("m"), digest);
        chopin_auth__rsa_pss_block(good, key.u.rsa.bits, CHOPIN_AUTH_SHA256, digest, salt);
        CHECK_EQ_INT(verify_block(&key, good), 0);
        for (size_t i = 0; i < size; i++) {
            memcpy(block, good, size), block[i] ^= i == 0 && !odd ? 0x40 : 1;
            if (i == 0 && odd) continue;
            int rc = verify_block(&key, block);
            CHECK(rc == CHOPIN_AUTH_SIGNATURE || rc == CHOPIN_AUTH_KEY);          // KEY: the block is not below n
            if (i > 20 && i < 200) i += 20;
        }
        memcpy(block, good, size), block[size - 1] = 0xcc;            // another trailer
        CHECK_EQ_INT(verify_block(&key, block), CHOPIN_AUTH_SIGNATURE);
        if (!odd) memcpy(block, good, size), block[0] |= 0x80, CHECK(verify_block(&key, block) < 0);    // the bit that must be 0
    }
    /* salts of other lengths: built by hand, 01 in another place */
    chopin_jwk key = pk_key(CHOPIN_AUTH_PS256, "rsa2048.pem");
    for (size_t length = 0; length <= 64; length += 16) {
        uint8_t block[256] = { 0 }, digest[32], salt[64] = { 9 };
        chopin_sha256_ctx c;
        chopin_sha256(pk_z("m"), digest);
        chopin_sha256_init(&c), chopin_sha256_update(&c, pk_bytes("\0\0\0\0\0\0\0\0", 8)), chopin_sha256_update(&c, pk_bytes(digest, 32)), chopin_sha256_update(&c, pk_bytes(salt, length));
        chopin_sha256_final(&c, block + 223);
        block[255] = 0xbc, block[222 - length] = 1, memcpy(block + 223 - length, salt, length);
        chopin_auth__rsa_mgf1(block, 223, CHOPIN_AUTH_SHA256, block + 223);
        block[0] &= 0x7f;
        CHECK_EQ_INT(verify_block(&key, block) == 0, length == 32);
    }
}
static void rsa_signing_cannot_leak_a_fault(void) {
    for (int part = 0; part < 5; part++) {
        chopin_jwk key = pk_key(CHOPIN_AUTH_RS256, "rsa2048.pem");
        uint64_t *const parts[] = { key.u.rsa.p, key.u.rsa.q, key.u.rsa.dp, key.u.rsa.dq, key.u.rsa.qi };
        uint8_t sig[256], zero[256] = { 0 };
        parts[part][3] ^= 16;
        memset(sig, 7, sizeof sig);
        CHECK_EQ_INT(chopin_rsa_sign(&key, pk_z("m"), sig, sizeof sig), CHOPIN_AUTH_KEY);
        CHECK(memcmp(sig, zero, 256) == 0);
    }
}

static void no_random_no_salt(void) {
    chopin_jwk key = pk_key(CHOPIN_AUTH_PS256, "rsa2048.pem");
    uint8_t sig[256];
    memset(sig, 7, sizeof sig);
    no_random = true;
    CHECK_EQ_INT(chopin_rsa_sign(&key, pk_z("m"), sig, sizeof sig), CHOPIN_AUTH_RANDOM);
    no_random = false;
    for (int i = 0; i < 256; i++) CHECK(sig[i] == 7);
}

static chopin_auth__der_key parts_of(int which, const char *file, uint8_t room[CHOPIN_AUTH__DER_MAX]) {
    chopin_auth__der_key found;
    CHECK_EQ_INT(chopin_auth__der_read(&found, pk_file(which, file), room), 0);
    return found;
}
static void rsa_keys_are_sane(void) {
    static uint8_t room[CHOPIN_AUTH__DER_MAX], n[1025], small[256];
    chopin_auth__der_key k = parts_of(0, "rsa2048.pem", room);
    chopin_jwk key;
    CHECK_EQ_INT(chopin_jwk_rsa_public(&key, CHOPIN_AUTH_RS256, pk_z(""), k.rsa.n, k.rsa.e), 0);
    CHECK_EQ_INT(chopin_jwk_rsa(&key, CHOPIN_AUTH_PS512, pk_z(""), &k.rsa), 0);
    memcpy(n, k.rsa.n.ptr, 256), n[255] ^= 1;                         // even
    CHECK_EQ_INT(chopin_jwk_rsa_public(&key, CHOPIN_AUTH_RS256, pk_z(""), pk_bytes(n, 256), k.rsa.e), CHOPIN_AUTH_KEY);
    memcpy(n, k.rsa.n.ptr, 256), n[0] = 0x7f;                         // 2047 bits
    CHECK(chopin_jwk_rsa_public(&key, CHOPIN_AUTH_RS256, pk_z(""), pk_bytes(n, 256), k.rsa.e) == CHOPIN_AUTH_WEAK_KEY);
    CHECK_EQ_INT(chopin_jwk_pem(&key, CHOPIN_AUTH_RS256, pk_z(""), pk_file(1, "rsa1024.pem")), CHOPIN_AUTH_WEAK_KEY);
    memset(n, 0xff, sizeof n);
    CHECK_EQ_INT(chopin_jwk_rsa_public(&key, CHOPIN_AUTH_RS256, pk_z(""), pk_bytes(n, CHOPIN_AUTH_RSA_MAX / 8 + 1), k.rsa.e), CHOPIN_AUTH_UNSUPPORTED);
    static const struct { const char *e; size_t n; int rc; } exponents[] = {
        { "", 0, CHOPIN_AUTH_KEY }, { "\0", 1, CHOPIN_AUTH_KEY }, { "\1", 1, CHOPIN_AUTH_KEY }, { "\2", 1, CHOPIN_AUTH_KEY }, { "\3", 1, 0 }, { "\4", 1, CHOPIN_AUTH_KEY }, { "\1\0\1", 3, 0 },
        { "\1\0\0", 3, CHOPIN_AUTH_KEY }, { "\377\377\377\377", 4, 0 }, { "\1\0\0\0\1", 5, CHOPIN_AUTH_KEY }, { "\1\0\0\0\0\0\0\0\1", 9, CHOPIN_AUTH_KEY }
    };
    for (size_t i = 0; i < CHOPIN_AUTH__COUNT(exponents); i++) {
        CHECK_EQ_INT(chopin_jwk_rsa_public(&key, CHOPIN_AUTH_RS256, pk_z(""), k.rsa.n, pk_bytes(exponents[i].e, exponents[i].n)), exponents[i].rc);
    }
    for (uint32_t f = 3; f < 1000; f += 2) {                          // n brought to a multiple of a small prime by changing low bytes
        if (!chopin_auth__rsa_small_prime(f)) continue;
        chopin_jwk good;
        CHECK_EQ_INT(chopin_jwk_rsa_public(&good, CHOPIN_AUTH_RS256, pk_z(""), k.rsa.n, k.rsa.e), 0);
        uint32_t rest = chopin_auth__rsa_mod_small(&good.u.rsa, f), add = rest % 2 ? (2 * f - rest) % (2 * f) : f - rest;
        add = (rest + add) % f == 0 && add % 2 == 0 ? add : add + f;
        uint64_t words[32];
        memcpy(words, good.u.rsa.n, sizeof words);
        uint64_t more[32] = { add };
        (void)chopin_auth__bignum_add(words, words, more, 32);
        chopin_auth__bignum_store(small, 256, words);
        CHECK_EQ_INT(chopin_jwk_rsa_public(&key, CHOPIN_AUTH_RS256, pk_z(""), pk_bytes(small, 256), k.rsa.e), CHOPIN_AUTH_WEAK_KEY);
        if (f > 100) f += 60;
    }
}
static void private_parts_are_consistent(void) {
    static uint8_t room[CHOPIN_AUTH__DER_MAX], other_room[CHOPIN_AUTH__DER_MAX];
    chopin_auth__der_key k = parts_of(0, "rsa2048.pem", room), foreign = parts_of(1, "rsa2048_e3.pem", other_room);
    chopin_str *const parts[] = { &k.rsa.n, &k.rsa.d, &k.rsa.p, &k.rsa.q, &k.rsa.dp, &k.rsa.dq, &k.rsa.qi };
    chopin_str *const others[] = { &foreign.rsa.n, &foreign.rsa.d, &foreign.rsa.p, &foreign.rsa.q, &foreign.rsa.dp, &foreign.rsa.dq, &foreign.rsa.qi };
    chopin_jwk key;
    for (size_t i = 0; i < 7; i++) {
        chopin_str mine = *parts[i];
        *parts[i] = *others[i];
        CHECK_EQ_INT(chopin_jwk_rsa(&key, CHOPIN_AUTH_RS256, pk_z(""), &k.rsa), CHOPIN_AUTH_KEY);
        CHECK(key.kind == NULL);
        *parts[i] = mine;
        for (size_t bit = i ? 0 : 8; bit < 16; bit++) {               // a bit in the last two bytes; n's low bits may also make it weak
            ((uint8_t *)(uintptr_t)mine.ptr)[mine.len - 1 - bit / 8] ^= (uint8_t)(1 << bit % 8);
            int rc = chopin_jwk_rsa(&key, CHOPIN_AUTH_RS256, pk_z(""), &k.rsa);
            CHECK(rc == CHOPIN_AUTH_KEY || (i == 0 && rc == CHOPIN_AUTH_WEAK_KEY));
            ((uint8_t *)(uintptr_t)mine.ptr)[mine.len - 1 - bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        *parts[i] = pk_bytes(NULL, 0);
        CHECK(chopin_jwk_rsa(&key, CHOPIN_AUTH_RS256, pk_z(""), &k.rsa) < 0);
        *parts[i] = mine;
    }
    chopin_str p = k.rsa.p, dp = k.rsa.dp;                            // p and q exchanged, with all that belongs to them but qi
    k.rsa.p = k.rsa.q, k.rsa.q = p, k.rsa.dp = k.rsa.dq, k.rsa.dq = dp;
    CHECK_EQ_INT(chopin_jwk_rsa(&key, CHOPIN_AUTH_RS256, pk_z(""), &k.rsa), CHOPIN_AUTH_KEY);
    k = parts_of(0, "rsa2048.pem", room);
    static const uint8_t one[1] = { 1 };
    k.rsa.p = pk_bytes(one, 1), k.rsa.q = k.rsa.n;                    // 1 * n
    CHECK_EQ_INT(chopin_jwk_rsa(&key, CHOPIN_AUTH_RS256, pk_z(""), &k.rsa), CHOPIN_AUTH_KEY);
}

static void montgomery_matches_the_model(void) { each_path(montgomery_on_one_path); }
static void squares_are_products(void)         { each_path(squares_on_one_path); }
static void signs_and_verifies_all(void)       { each_path(signs_and_verifies_on_one_path); }

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(montgomery_matches_the_model);
    RUN(squares_are_products);
    RUN(remainders_match_the_model);
    RUN(wycheproof_pkcs1);
    RUN(wycheproof_pss);
    RUN(signs_and_verifies_all);
    RUN(rsa_signature_is_below_n);
    RUN(rsa_pkcs1_is_compared_whole);
    RUN(pss_is_fixed);
    RUN(rsa_signing_cannot_leak_a_fault);
    RUN(no_random_no_salt);
    RUN(rsa_keys_are_sane);
    RUN(private_parts_are_consistent);
    return TEST_END();
}
