/* >>bignum (modulo n), >>p256 */
#define _GNU_SOURCE 1
#include <stdbool.h>
static bool no_random;
#define CHOPIN_AUTH__RANDOM_SOURCE(out, n) (!no_random && chopin_auth__random_system(out, n))
#include "auth.h"
#include "test.h"
#include "vectors.h"
#include "guard.h"
#include "pk_kit.h"

static const chopin_auth__mod256 *const N = &chopin_auth__p256_order;

/* ---- field and order, against the slow model: a b / 2^256 is checked by multiplying back ---- */
static void element(uint64_t r[4], int which, const uint64_t m[4]) {  // below m: edges first
    static const uint64_t zero[4];
    pk_words(r, 4);
    if (which < 3) memcpy(r, zero, sizeof zero), r[0] = (uint64_t)which;
    else if (which < 6) memcpy(r, m, sizeof zero), r[0] -= (uint64_t)which - 2;
    else if (which == 6) memcpy(r, m, sizeof zero), (void)chopin_auth__bignum_sub(r, r, chopin_auth__p256_one, 4);
    while (!chopin_auth__bignum_less(r, m, 4)) r[3] >>= 1;
}
static bool is_product(slow r, slow a, slow b, slow m) {              // r * 2^256 = a * b
    slow left = slow_mod(slow_shift(r, 4), m), right = slow_mod(slow_mul(a, b), m);
    return slow_cmp(&left, &right) == 0;
}
static void field_matches_the_model(void) {
    const uint64_t *p = chopin_auth__p256_p;
    slow m = slow_of(p, 4);
    int cases = pk_cases(3000);
    for (int i = 0; i < 64 + cases; i++) {
        uint64_t a[4], b[4], r[4];
        element(a, i < 64 ? i / 8 : 8, p), element(b, i < 64 ? i % 8 : 8, p);
        slow x = slow_of(a, 4), y = slow_of(b, 4);
        chopin_auth__p256_mul(r, a, b), CHECK(chopin_auth__bignum_less(r, p, 4) && is_product(slow_of(r, 4), x, y, m));
        chopin_auth__p256_sqr(r, a),    CHECK(chopin_auth__bignum_less(r, p, 4) && is_product(slow_of(r, 4), x, x, m));
        chopin_auth__p256_add(r, a, b), CHECK(slow_is(slow_mod(slow_add(x, y), m), r, 4));
        chopin_auth__p256_sub(r, a, b), CHECK(slow_is(slow_mod(slow_sub(slow_add(x, m), y), m), r, 4));
        chopin_auth__p256_triple(r, a), CHECK(slow_is(slow_mod(slow_add(slow_add(x, x), x), m), r, 4));
        if (test__all.bad) return;
    }
    for (int i = 0; i < 40; i++) {
        uint64_t a[4], r[4];
        element(a, i, p);
        chopin_auth__p256_invert(r, a), chopin_auth__p256_mul(r, r, a);
        CHECK(chopin_auth__bignum_zero(a, 4) ? chopin_auth__bignum_zero(r, 4) : memcmp(r, chopin_auth__p256_one, sizeof r) == 0);
    }
}
static void order_matches_the_model(void) {
    slow m = slow_of(N->m, 4);
    int cases = pk_cases(2000);
    for (int i = 0; i < 64 + cases; i++) {
        uint64_t a[4], b[4], r[4];
        pk_words(a, 4), element(b, i < 64 ? i % 8 : 8, N->m);         // one operand may be any four words
        if (i < 8) memset(a, 0xff, sizeof a);
        slow x = slow_of(a, 4), y = slow_of(b, 4);
        chopin_auth__mod256_mul(r, a, b, N), CHECK(chopin_auth__bignum_less(r, N->m, 4) && is_product(slow_of(r, 4), x, y, m));
        chopin_auth__mod256_reduce(r, a, N), CHECK(slow_is(slow_mod(x, m), r, 4));
        chopin_auth__mod256_add(a, r, b, N), CHECK(slow_is(slow_mod(slow_add(slow_mod(x, m), y), m), a, 4));
        if (test__all.bad) return;
    }
    for (int i = 1; i < 40; i++) {
        uint64_t a[4], r[4], one[4] = { 1 };
        element(a, i, N->m);
        if (chopin_auth__bignum_zero(a, 4)) continue;
        chopin_auth__mod256_mul(r, a, N->rr, N), chopin_auth__mod256_invert(r, r, N), chopin_auth__mod256_mul(r, r, a, N);
        CHECK(memcmp(r, one, sizeof r) == 0);
        chopin_auth__p256_invert_public(r, a), chopin_auth__mod256_mul(r, r, a, N);
        CHECK(memcmp(r, one, sizeof r) == 0);
    }
    for (int i = 0; i < 2000 + 512; i++) {                            // the public inversion: random numbers, powers of two, and n minus those
        uint64_t a[4] = { 0 }, r[4], s[4];
        if (i < 512) a[i / 2 / 64] = UINT64_C(1) << i / 2 % 64; else element(a, 8, N->m);
        if (i < 512 && i % 2) (void)chopin_auth__bignum_sub(a, N->m, a, 4);
        if (chopin_auth__bignum_zero(a, 4) || !chopin_auth__bignum_less(a, N->m, 4)) continue;
        chopin_auth__p256_invert_public(r, a);
        chopin_auth__mod256_mul(s, a, N->rr, N), chopin_auth__mod256_invert(s, s, N);
        CHECK(memcmp(r, s, sizeof r) == 0);
    }
}

/* ---- points ---- */
static bool jacobian_is(const chopin_auth__p256_point *p, const chopin_auth__p256_affine *q) {
    chopin_auth__p256_affine a;
    chopin_auth__p256_table_entry(&a, p);
    return memcmp(&a, q, sizeof a) == 0;
}
static void base_table_is_right(void) {
    chopin_auth__p256_key key;
    uint8_t xy[64];
    chopin_auth__p256_store_field(xy, chopin_auth__p256_base[0][0].x), chopin_auth__p256_store_field(xy + 32, chopin_auth__p256_base[0][0].y);
    static const uint8_t gx[4] = { 0x6b, 0x17, 0xd1, 0xf2 }, gy[4] = { 0x4f, 0xe3, 0x42, 0xe2 };
    CHECK(memcmp(xy, gx, 4) == 0 && memcmp(xy + 32, gy, 4) == 0);
    CHECK_EQ_INT(chopin_auth__p256_from_public(&key, xy, xy + 32), 0);
    chopin_auth__p256_point row, q;
    memcpy(row.x, key.x, 32), memcpy(row.y, key.y, 32), memcpy(row.z, chopin_auth__p256_one, 32);
    for (size_t g = 0; g < 8; g++) {
        q = row;
        for (size_t d = 0; d < 8; d++, chopin_auth__p256_join(&q, row.x, row.y, row.z, false)) CHECK(jacobian_is(&q, &chopin_auth__p256_base[g][d]));
        for (int i = 0; i < 32; i++) chopin_auth__p256_double(&row, &row);
    }
}
/* Scalars that make the sums of the comb meet the point they are about to add, its opposite, or nothing. */
static void multiplications_agree(void) {
    static chopin_auth__p256_table table;
    chopin_auth__p256_key base;
    uint64_t zero[4] = { 0 };
    memcpy(base.x, chopin_auth__p256_base[0][0].x, 32), memcpy(base.y, chopin_auth__p256_base[0][0].y, 32);
    chopin_auth__p256_table_fill(&table, &base);
    for (int i = 0; i < 400; i++) {
        uint64_t k[4], s[4], inverse[4];
        chopin_auth__p256_point a, b;
        chopin_auth__p256_affine x;
        element(k, 8, N->m), element(s, 8, N->m);
        if (i < 20) memset(k, 0, sizeof k), k[i % 4] = (uint64_t)i + 1;
        else if (i < 40) memcpy(k, N->m, sizeof k), k[0] -= (uint64_t)i - 19;
        else if (i < 60) memcpy(k, N->m, sizeof k), k[i % 4] -= (uint64_t)(i - 39) << (i % 4 == 1 ? 0 : 1);
        else if (i < 64) memset(k, 0, sizeof k), k[3] = UINT64_C(0x7fffffffffffffff) + (uint64_t)(i % 2);
        while (!chopin_auth__bignum_less(k, N->m, 4)) k[3] >>= 1;
        if (chopin_auth__bignum_zero(k, 4)) continue;
        chopin_auth__p256_two_mul(&a, k, zero, &base);
        chopin_auth__p256_table_entry(&x, &a);
        chopin_auth__p256_two_mul(&b, zero, k, &base),      CHECK(jacobian_is(&b, &x));
        chopin_auth__p256_table_mul(&b, k, zero, &table),   CHECK(jacobian_is(&b, &x));
        chopin_auth__p256_table_mul(&b, zero, k, &table),   CHECK(jacobian_is(&b, &x));
        chopin_auth__p256_base_mul(&b, k);
        chopin_auth__p256_invert(inverse, b.z), chopin_auth__p256_mul(b.x, b.x, inverse), chopin_auth__p256_mul(b.y, b.y, inverse);
        CHECK(memcmp(b.x, x.x, 32) == 0 && memcmp(b.y, x.y, 32) == 0);
        chopin_auth__p256_two_mul(&a, k, s, &base), chopin_auth__p256_table_mul(&b, k, s, &table);
        chopin_auth__p256_table_entry(&x, &a), CHECK(jacobian_is(&b, &x));
        (void)chopin_auth__bignum_sub(s, N->m, k, 4);                 // k + (n - k): nothing
        chopin_auth__p256_two_mul(&a, k, s, &base), CHECK(chopin_auth__bignum_zero(a.z, 4));
        chopin_auth__p256_table_mul(&b, k, s, &table), CHECK(chopin_auth__bignum_zero(b.z, 4));
    }
}

/* ---- vectors ---- */
static void rfc6979(void) {
    vec v;
    vec_open(&v, "rfc/rfc6979_ecdsa.json");
    int tests = 0;
    while (vec_next(&v, "P-256")) {
        chopin_str d = vec_hex(&v, "private"), x = vec_hex(&v, "x"), y = vec_hex(&v, "y");
        chopin_jwk key;
        uint8_t sig[64], out[32];
        CHECK_EQ_INT(chopin_jwk_p256(&key, pk_z(""), (const uint8_t *)d.ptr), 0);
        chopin_auth__p256_store_field(out, key.u.p256.x), CHECK(memcmp(out, x.ptr, 32) == 0);
        chopin_auth__p256_store_field(out, key.u.p256.y), CHECK(memcmp(out, y.ptr, 32) == 0);
        for (char *at = vec_find(&v, v.line, v.end, "tests"); (at = vec_find(&v, at, v.end, "msg")) != NULL; tests++) {
            chopin_str msg = vec_hex_at(&v, at), k = vec_hex_at(&v, vec_find(&v, at, v.end, "k")), r = vec_hex_at(&v, vec_find(&v, at, v.end, "r")), s = vec_hex_at(&v, vec_find(&v, at, v.end, "s"));
            chopin_auth__p256_nonces nonces;
            uint64_t z[4], nonce[4];
            chopin_auth__p256_hash(z, msg);
            chopin_auth__p256_nonces_init(&nonces, key.u.p256.d, z, pk_bytes(NULL, 0));
            chopin_auth__p256_nonce(&nonces, nonce);
            chopin_auth__p256_store(out, nonce), CHECK(memcmp(out, k.ptr, 32) == 0);
            chopin_auth__p256_make(&key.u.p256, false, msg, pk_bytes(NULL, 0), sig);
            CHECK(memcmp(sig, r.ptr, 32) == 0 && memcmp(sig + 32, s.ptr, 32) == 0);
            CHECK_EQ_INT(chopin_p256_verify(&key, msg, pk_bytes(sig, 64)), 0);
        }
    }
    CHECK_EQ_INT(tests, 2);
    vec_close(&v, 1);
}
static void wycheproof(void) {
    static _Alignas(16) uint8_t table[CHOPIN_AUTH_JWK_TABLE];
    vec v;
    for (vec_open(&v, "wycheproof/ecdsa_secp256r1_sha256_p1363.json"); vec_next(&v, NULL);) {
        chopin_str point = vec_hex_at(&v, vec_group_find(&v, "uncompressed")), msg = vec_hex(&v, "msg"), sig = vec_hex(&v, "sig"), pem = vec_text_at(&v, vec_group_find(&v, "publicKeyPem"));
        chopin_jwk a, b, c;
        char *json = vec_group_find(&v, "publicKeyJwk");              // not every group has one
        CHECK_EQ_INT(chopin_jwk_p256_public(&a, pk_z(""), (const uint8_t *)point.ptr + 1, (const uint8_t *)point.ptr + 33), 0);
        CHECK_EQ_INT(chopin_jwk_pem(&b, CHOPIN_AUTH_ES256, pk_z(""), pem), 0);
        if (json > vec_group_find(&v, "publicKeyPem")) CHECK_EQ_INT(chopin_jwk_json(&c, CHOPIN_AUTH_ES256, pk_object(json)), 0);
        else c = b;
        bool valid = vec_is(&v, "result", "valid");
        CHECK_EQ_INT(chopin_p256_verify(&a, msg, guard_copy(0, sig.ptr, sig.len)) == 0, valid);
        CHECK_EQ_INT(chopin_p256_verify(&b, msg, sig) == 0, valid);
        CHECK_EQ_INT(chopin_jwk_table(&c, table, sizeof table), 0);
        if (!CHECK_EQ_INT(chopin_p256_verify(&c, msg, sig) == 0, valid)) printf("%.60s\n", v.line);
    }
    vec_close(&v, 131);
}

/* ---- rules ---- */
static chopin_jwk test_key(void) {
    static const uint8_t d[32] = { 1, 2, 3 };
    chopin_jwk key;
    CHECK_EQ_INT(chopin_jwk_p256(&key, pk_z("k"), d), 0);
    return key;
}
static void ecdsa_range(void) {                                       // 1 <= r, s < n
    chopin_jwk key = test_key();
    uint8_t good[64], sig[64], n[32];
    uint64_t r[4];
    CHECK_EQ_INT(chopin_p256_sign(&key, pk_z("m"), good), 0);
    chopin_auth__p256_store(n, N->m);
    for (int half = 0; half < 64; half += 32) {
        static const uint8_t zero[32];
        memcpy(sig, good, 64), memcpy(sig + half, zero, 32), CHECK_EQ_INT(chopin_p256_verify(&key, pk_z("m"), pk_bytes(sig, 64)), CHOPIN_AUTH_SIGNATURE);
        for (int add = 0; add < 3; add++) {
            memcpy(sig + half, n, 32), sig[half + 31] = (uint8_t)(n[31] + add), CHECK_EQ_INT(chopin_p256_verify(&key, pk_z("m"), pk_bytes(sig, 64)), CHOPIN_AUTH_SIGNATURE);
        }
        memset(sig + half, 0xff, 32), CHECK_EQ_INT(chopin_p256_verify(&key, pk_z("m"), pk_bytes(sig, 64)), CHOPIN_AUTH_SIGNATURE);
        memcpy(sig, good, 64), chopin_auth__p256_load(r, sig + half);
        if (!chopin_auth__bignum_add(r, r, N->m, 4)) chopin_auth__p256_store(sig + half, r), CHECK_EQ_INT(chopin_p256_verify(&key, pk_z("m"), pk_bytes(sig, 64)), CHOPIN_AUTH_SIGNATURE);
    }
    memset(sig, 0, 64), CHECK_EQ_INT(chopin_p256_verify(&key, pk_z("m"), pk_bytes(sig, 64)), CHOPIN_AUTH_SIGNATURE);
}
static void ecdsa_has_one_encoding(void) {                            // 64 bytes; DER, of which OpenSSL writes 70 to 72, nowhere
    chopin_jwk key = test_key(), low = key;
    uint8_t sig[80] = { 0 }, der[72] = { 0x30, 0x44, 2, 32 };
    uint64_t s[4];
    CHECK_EQ_INT(chopin_p256_sign(&key, pk_z("m"), sig), 0);
    for (size_t n = 0; n <= 80; n++) if (n != 64) CHECK_EQ_INT(chopin_p256_verify(&key, pk_z("m"), guard_copy(0, sig, n)), CHOPIN_AUTH_SIZE);
    CHECK_EQ_INT(chopin_p256_verify(&key, pk_z("m"), guard_copy(0, sig, 64)), 0);
    memcpy(der + 4, sig, 32), der[36] = 2, der[37] = 32, memcpy(der + 38, sig + 32, 32);
    CHECK_EQ_INT(chopin_p256_verify(&key, pk_z("m"), pk_bytes(der, 70)), CHOPIN_AUTH_SIZE);
    low.low_s = true;
    for (int i = 0; i < 20; i++) {                                    // (r, n - s) is as good, unless low_s
        CHECK_EQ_INT(chopin_p256_sign(&low, pk_z("m"), sig), 0);
        CHECK_EQ_INT(chopin_p256_verify(&low, pk_z("m"), pk_bytes(sig, 64)), 0);
        chopin_auth__p256_load(s, sig + 32), (void)chopin_auth__bignum_sub(s, N->m, s, 4), chopin_auth__p256_store(sig + 32, s);
        CHECK_EQ_INT(chopin_p256_verify(&low, pk_z("m"), pk_bytes(sig, 64)), CHOPIN_AUTH_SIGNATURE);
        CHECK_EQ_INT(chopin_p256_verify(&key, pk_z("m"), pk_bytes(sig, 64)), 0);
    }
}
static void ecdsa_nonces(void) {                                      // hedged: two signatures of one message differ, both verify; plain RFC 6979 values: see rfc6979
    chopin_jwk key = test_key();
    uint8_t sig[20][64], plain[64];
    chopin_auth__p256_make(&key.u.p256, false, pk_z("m"), pk_bytes(NULL, 0), plain);
    for (int i = 0; i < 20; i++) {
        CHECK_EQ_INT(chopin_p256_sign(&key, pk_z("m"), sig[i]), 0);
        CHECK_EQ_INT(chopin_p256_verify(&key, pk_z("m"), pk_bytes(sig[i], 64)), 0);
        CHECK(memcmp(sig[i], plain, 32) != 0);
        for (int j = 0; j < i; j++) CHECK(memcmp(sig[i], sig[j], 32) != 0);
    }
}
static void no_random_no_signature(void) {
    chopin_jwk key = test_key();
    uint8_t sig[64];
    memset(sig, 7, sizeof sig);
    no_random = true;
    CHECK_EQ_INT(chopin_p256_sign(&key, pk_z("m"), sig), CHOPIN_AUTH_RANDOM);
    no_random = false;
    for (int i = 0; i < 64; i++) CHECK(sig[i] == 7);
}
static void hash_with_leading_zeros(void) {                           // messages whose SHA-256 begins with a zero byte, found by trying
    chopin_jwk key = test_key();
    int found = 0;
    for (uint32_t i = 0; found < 3; i++) {
        uint8_t hash[32], sig[64];
        chopin_sha256(pk_bytes(&i, 4), hash);
        if (hash[0]) continue;
        found++;
        CHECK_EQ_INT(chopin_p256_sign(&key, pk_bytes(&i, 4), sig), 0);
        CHECK_EQ_INT(chopin_p256_verify(&key, pk_bytes(&i, 4), pk_bytes(sig, 64)), 0);
    }
}
static void every_bit_counts(void) {
    static _Alignas(16) uint8_t table[CHOPIN_AUTH_JWK_TABLE];
    chopin_jwk key = test_key(), fast = key;
    uint8_t sig[64];
    CHECK_EQ_INT(chopin_jwk_table(&fast, table, sizeof table), 0);
    CHECK_EQ_INT(chopin_p256_sign(&key, pk_z("m"), sig), 0);
    CHECK_EQ_INT(chopin_p256_verify(&fast, pk_z("m"), pk_bytes(sig, 64)), 0);
    CHECK_EQ_INT(chopin_p256_verify(&fast, pk_z("n"), pk_bytes(sig, 64)), CHOPIN_AUTH_SIGNATURE);
    for (int bit = 0; bit < 512; bit++) {
        sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK_EQ_INT(chopin_p256_verify(&key, pk_z("m"), pk_bytes(sig, 64)), CHOPIN_AUTH_SIGNATURE);
        CHECK_EQ_INT(chopin_p256_verify(&fast, pk_z("m"), pk_bytes(sig, 64)), CHOPIN_AUTH_SIGNATURE);
        sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}
static void points_are_checked_once_at_load(void) {
    chopin_jwk key = test_key(), other;
    uint8_t x[32], y[32], p[32], zero[32] = { 0 };
    chopin_auth__p256_store_field(x, key.u.p256.x), chopin_auth__p256_store_field(y, key.u.p256.y), chopin_auth__p256_store(p, chopin_auth__p256_p);
    CHECK_EQ_INT(chopin_jwk_p256_public(&other, pk_z(""), x, y), 0);
    CHECK_EQ_INT(chopin_jwk_p256_public(&other, pk_z(""), zero, zero), CHOPIN_AUTH_KEY);          // infinity, in some spellings
    CHECK_EQ_INT(chopin_jwk_p256_public(&other, pk_z(""), y, x), CHOPIN_AUTH_KEY);
    CHECK_EQ_INT(chopin_jwk_p256_public(&other, pk_z(""), p, y), CHOPIN_AUTH_KEY);
    CHECK_EQ_INT(chopin_jwk_p256_public(&other, pk_z(""), x, p), CHOPIN_AUTH_KEY);
    for (int bit = 0; bit < 256; bit++) {
        x[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK_EQ_INT(chopin_jwk_p256_public(&other, pk_z(""), x, y), CHOPIN_AUTH_KEY);
        CHECK(other.kind == NULL && chopin_p256_verify(&other, pk_z("m"), pk_bytes(x, 32)) == CHOPIN_AUTH_ARG);
        x[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    uint64_t big[4];                                                  // x + p, where that fits 256 bits: x must be small
    uint8_t d[32];
    chopin_auth__p256_store(d, N->m);
    CHECK_EQ_INT(chopin_jwk_p256(&other, pk_z(""), d), CHOPIN_AUTH_KEY);                          // d = n
    d[31]--;
    CHECK_EQ_INT(chopin_jwk_p256(&other, pk_z(""), d), 0);
    CHECK_EQ_INT(chopin_jwk_p256(&other, pk_z(""), zero), CHOPIN_AUTH_KEY);
    memset(d, 0xff, 32);
    CHECK_EQ_INT(chopin_jwk_p256(&other, pk_z(""), d), CHOPIN_AUTH_KEY);
    memcpy(big, chopin_auth__p256_base[0][0].x, 32);
    CHECK(!chopin_auth__bignum_zero(big, 4));
}
static void infinity_refuses(void) {                                  // u1 G + u2 Q = 0: z + r d = 0, so choose r, and the key d = -z / r
    uint64_t z[4], r[4] = { 5 }, d[4], t[4];
    uint8_t bytes[32], sig[64];
    chopin_jwk key;
    chopin_auth__p256_hash(z, pk_z("m"));
    chopin_auth__mod256_mul(t, r, N->rr, N), chopin_auth__mod256_invert(t, t, N), chopin_auth__mod256_mul(d, z, t, N);
    (void)chopin_auth__bignum_sub(d, N->m, d, 4);
    chopin_auth__p256_store(bytes, d);
    CHECK_EQ_INT(chopin_jwk_p256(&key, pk_z(""), bytes), 0);
    chopin_auth__p256_store(sig, r);
    memcpy(sig + 32, sig, 32);
    CHECK_EQ_INT(chopin_p256_verify(&key, pk_z("m"), pk_bytes(sig, 64)), CHOPIN_AUTH_SIGNATURE);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(field_matches_the_model);
    RUN(order_matches_the_model);
    RUN(base_table_is_right);
    RUN(multiplications_agree);
    RUN(rfc6979);
    RUN(wycheproof);
    RUN(ecdsa_range);
    RUN(ecdsa_has_one_encoding);
    RUN(ecdsa_nonces);
    RUN(no_random_no_signature);
    RUN(hash_with_leading_zeros);
    RUN(every_bit_counts);
    RUN(points_are_checked_once_at_load);
    RUN(infinity_refuses);
    return TEST_END();
}
