/* >>bignum (scalars), >>ed25519 */
#define CHOPIN_AUTH_CHECK_BOUNDS 1
#include "auth.h"
#include "test.h"
#include "vectors.h"
#include "guard.h"
#include "stack.h"
#include "pk_kit.h"

/* ---- the field, against the slow model ---- */
static slow model_p(void) {
    static const uint64_t p[4] = { 0xffffffffffffffed, ~UINT64_C(0), ~UINT64_C(0), 0x7fffffffffffffff };
    return slow_of(p, 4);
}
static slow model_fe(const chopin_auth__ed25519_fe *x) {              // limbs of any size
    slow r = { { 0 } };
    for (int i = 5; i-- > 0;) {
        for (int bit = 0; bit < 51; bit++) r = slow_add(r, r);
        slow limb = slow_of(&x->v[i], 1);
        r = slow_add(r, limb);
    }
    return slow_mod(r, model_p());
}
static bool same_fe(const chopin_auth__ed25519_fe *x, slow want) {
    uint8_t bytes[32];
    uint64_t w[4];
    chopin_auth__ed25519_store(bytes, x);
    for (int i = 0; i < 4; i++) w[i] = chopin_auth__load64le(bytes + 8 * i);
    return slow_is(want, w, 4);
}
static chopin_auth__ed25519_fe edge_fe(int which) {                   // the widest limbs that products may take, and special numbers
    static const uint64_t top = UINT64_C(1) << 54;
    static const chopin_auth__ed25519_fe edges[] = {
        { { 0 } }, { { 1 } }, { { (UINT64_C(1) << 51) - 20, CHOPIN_AUTH__51, CHOPIN_AUTH__51, CHOPIN_AUTH__51, CHOPIN_AUTH__51 } },
        { { (UINT64_C(1) << 51) - 19, CHOPIN_AUTH__51, CHOPIN_AUTH__51, CHOPIN_AUTH__51, CHOPIN_AUTH__51 } },
        { { (UINT64_C(1) << 51) - 18, CHOPIN_AUTH__51, CHOPIN_AUTH__51, CHOPIN_AUTH__51, CHOPIN_AUTH__51 } },
        { { CHOPIN_AUTH__51, CHOPIN_AUTH__51, CHOPIN_AUTH__51, CHOPIN_AUTH__51, CHOPIN_AUTH__51 } }, { { top, top, top, top, top } }, { { 0, 0, 0, 0, top } }
    };
    chopin_auth__ed25519_fe r;
    if (which < 8) return edges[which];
    pk_words(r.v, 5);
    for (int i = 0; i < 5; i++) r.v[i] &= which % 2 ? CHOPIN_AUTH__51 : (UINT64_C(1) << 54) - 1;
    return r;
}
static void field_matches_the_model(void) {
    slow p = model_p();
    int cases = pk_cases(3000);
    for (int i = 0; i < 64 + cases; i++) {
        chopin_auth__ed25519_fe a = edge_fe(i < 64 ? i / 8 : 8 + i % 2), b = edge_fe(i < 64 ? i % 8 : 8 + i / 2 % 2), r, s;
        slow x = model_fe(&a), y = model_fe(&b);
        chopin_auth__ed25519_mul(&r, &a, &b), CHECK(same_fe(&r, slow_mod(slow_mul(x, y), p)));
        for (int j = 0; j < 5; j++) CHECK(r.v[j] < UINT64_C(1) << 52);
        chopin_auth__ed25519_sqr(&r, &a),     CHECK(same_fe(&r, slow_mod(slow_mul(x, x), p)));
        chopin_auth__ed25519_add(&s, &a, &b), CHECK(same_fe(&s, slow_mod(slow_add(x, y), p)));
        chopin_auth__ed25519_settle(&a), chopin_auth__ed25519_settle(&b);
        chopin_auth__ed25519_sub(&s, &a, &b), CHECK(same_fe(&s, slow_mod(slow_sub(slow_add(x, p), y), p)));
        if (test__all.bad) return;
    }
}
static void inverse_and_encoding(void) {
    chopin_auth__ed25519_fe one = { { 1 } }, zero = { { 0 } };
    for (int i = 0; i < 60; i++) {
        chopin_auth__ed25519_fe a = edge_fe(i), r;
        chopin_auth__ed25519_settle(&a);
        chopin_auth__ed25519_invert(&r, &a);
        chopin_auth__ed25519_mul(&r, &r, &a);
        CHECK(chopin_auth__ed25519_same(&r, chopin_auth__ed25519_same(&a, &zero) ? &zero : &one));
        uint8_t bytes[32];
        chopin_auth__ed25519_store(bytes, &a);
        r = chopin_auth__ed25519_load(bytes);
        CHECK(chopin_auth__ed25519_same(&r, &a));
    }
}

/* ---- scalars ---- */
static void order_matches_the_model(void) {
    const chopin_auth__mod256 *m = &chopin_auth__ed25519_order;
    slow l = slow_of(m->m, 4);
    int cases = pk_cases(2000);
    for (int i = 0; i < cases; i++) {
        uint64_t a[4], b[4], r[4], s[4];
        pk_words(a, 4), pk_words(b, 4);
        if (i < 3) memcpy(a, m->m, sizeof a), a[0] += (uint64_t)i - 1;
        slow x = slow_of(a, 4), y = slow_mod(slow_of(b, 4), l);
        chopin_auth__mod256_reduce(r, a, m), CHECK(slow_is(slow_mod(x, l), r, 4));
        chopin_auth__mod256_reduce(b, b, m), CHECK(slow_is(y, b, 4));
        chopin_auth__mod256_mul(s, a, b, m), chopin_auth__mod256_mul(s, s, m->rr, m), CHECK(slow_is(slow_mod(slow_mul(x, y), l), s, 4));
        chopin_auth__mod256_add(s, r, b, m), CHECK(slow_is(slow_mod(slow_add(slow_mod(x, l), y), l), s, 4));
        if (test__all.bad) return;
    }
}
/* digits that add up to the scalar again: r = r * 2^bits + digit, modulo 2^256 */
static bool adds_up(const int8_t *d, size_t n, unsigned bits, const uint64_t k[4]) {
    uint64_t r[4] = { 0 };
    for (size_t i = n; i-- > 0;) {
        for (unsigned b = 0; b < bits; b++) (void)chopin_auth__bignum_add(r, r, r, 4);
        uint64_t digit[4] = { (uint64_t)(int64_t)d[i], (uint64_t)((int64_t)d[i] >> 63), (uint64_t)((int64_t)d[i] >> 63), (uint64_t)((int64_t)d[i] >> 63) };
        (void)chopin_auth__bignum_add(r, r, digit, 4);
    }
    return memcmp(r, k, sizeof r) == 0;
}
static void digits_add_up(void) {
    for (int i = 0; i < 5000; i++) {
        uint64_t k[4];
        int8_t d[257];
        pk_words(k, 4);
        if (i == 0) memset(k, 0xff, sizeof k);
        for (unsigned w = 4; w <= 8; w++) {
            chopin_auth__bignum_naf(d, k, w);
            CHECK(adds_up(d, 257, 1, k));
            for (size_t j = 0; j < 257; j++) {
                if (!d[j]) continue;
                CHECK(d[j] % 2 != 0 && abs(d[j]) < 1 << (w - 1));
                for (size_t l = j + 1; l < j + w && l < 257; l++) CHECK(d[l] == 0);
            }
        }
        k[3] >>= 1;
        chopin_auth__bignum_signed16(d, k);
        CHECK(adds_up(d, 64, 4, k));
        for (size_t j = 0; j < 64; j++) CHECK(d[j] >= -8 && d[j] <= 8);
    }
}

/* ---- points ---- */
static void base_table_is_right(void) {
    uint8_t four_fifths[32] = { 0x58 };
    memset(four_fifths + 1, 0x66, 31);
    chopin_auth__ed25519_point row, q;
    CHECK(chopin_auth__ed25519_decode(&row, four_fifths));
    for (size_t g = 0; g < 8; g++) {
        chopin_auth__ed25519_cached step;
        chopin_auth__ed25519_cache(&step, &row);
        q = row;
        for (size_t d = 0; d < 8; d++, chopin_auth__ed25519_add_cached(&q, &step, false)) {
            chopin_auth__ed25519_affine a;
            const chopin_auth__ed25519_affine *b = &chopin_auth__ed25519_base[g][d];
            chopin_auth__ed25519_table_entry(&a, &q);
            CHECK(chopin_auth__ed25519_same(&a.sum, &b->sum) && chopin_auth__ed25519_same(&a.difference, &b->difference) && chopin_auth__ed25519_same(&a.product, &b->product));
        }
        for (int i = 0; i < 32; i++) chopin_auth__ed25519_double(&row, &row, true);
    }
}
static bool same_point(const chopin_auth__ed25519_point *p, const chopin_auth__ed25519_point *q) {
    chopin_auth__ed25519_fe a, b;
    chopin_auth__ed25519_mul(&a, &p->x, &q->z), chopin_auth__ed25519_mul(&b, &q->x, &p->z);
    if (!chopin_auth__ed25519_same(&a, &b)) return false;
    chopin_auth__ed25519_mul(&a, &p->y, &q->z), chopin_auth__ed25519_mul(&b, &q->y, &p->z);
    return chopin_auth__ed25519_same(&a, &b);
}
static void multiplications_agree(void) {                             // the secret way, the public way, and the one with a table
    static chopin_auth__ed25519_table table;
    uint64_t zero[4] = { 0 };
    chopin_auth__ed25519_point base, a, b, c;
    uint64_t one[4] = { 1 };
    chopin_auth__ed25519_base_mul(&base, one);
    chopin_auth__ed25519_table_fill(&table, &base);
    for (int i = 0; i < 300; i++) {
        uint64_t k[4], s[4];
        pk_words(k, 4), pk_words(s, 4);
        if (i < 20) memset(k, 0, sizeof k), k[0] = (uint64_t)i;
        else if (i < 40) memcpy(k, chopin_auth__ed25519_order.m, sizeof k), k[0] += (uint64_t)i - 30;
        else if (i == 40) memset(k, 0xff, sizeof k);
        chopin_auth__ed25519_two_mul(&b, k, zero, &base),  chopin_auth__ed25519_two_mul(&c, zero, k, &base), CHECK(same_point(&b, &c));
        chopin_auth__ed25519_table_mul(&c, zero, k, &table), CHECK(same_point(&b, &c));
        chopin_auth__ed25519_table_mul(&c, k, zero, &table), CHECK(same_point(&b, &c));
        chopin_auth__ed25519_two_mul(&b, k, s, &base), chopin_auth__ed25519_table_mul(&c, k, s, &table), CHECK(same_point(&b, &c));
        k[3] >>= 1;
        chopin_auth__ed25519_base_mul(&a, k), chopin_auth__ed25519_two_mul(&b, k, zero, &base), CHECK(same_point(&a, &b));
    }
}

/* ---- vectors ---- */
static void rfc8032(void) {
    vec v;
    for (vec_open(&v, "rfc/rfc8032_ed25519.json"); vec_next(&v, "ed25519");) {
        chopin_str seed = vec_hex(&v, "seed"), public = vec_hex(&v, "public"), msg = vec_hex(&v, "msg"), sig = vec_hex(&v, "sig");
        uint8_t out[64];
        chopin_jwk key, other;
        CHECK_EQ_INT(chopin_jwk_ed25519(&key, pk_z("a"), (const uint8_t *)seed.ptr), 0);
        CHECK(memcmp(key.u.ed25519.bytes, public.ptr, 32) == 0);
        CHECK_EQ_INT(chopin_ed25519_sign(&key, msg, out), 0);
        CHECK(memcmp(out, sig.ptr, 64) == 0);
        CHECK_EQ_INT(chopin_ed25519_verify(&key, msg, sig), 0);
        CHECK_EQ_INT(chopin_jwk_ed25519_public(&other, pk_z(""), (const uint8_t *)public.ptr), 0);
        CHECK_EQ_INT(chopin_ed25519_verify(&other, guard_copy(0, msg.ptr, msg.len), guard_copy(1, sig.ptr, 64)), 0);
    }
    vec_close(&v, 5);
}
static void wycheproof(void) {
    static _Alignas(16) uint8_t table[CHOPIN_AUTH_JWK_TABLE];
    vec v;
    for (vec_open(&v, "wycheproof/ed25519.json"); vec_next(&v, NULL);) {
        chopin_str pk = vec_hex_at(&v, vec_group_find(&v, "pk")), msg = vec_hex(&v, "msg"), sig = vec_hex(&v, "sig"), pem = vec_text_at(&v, vec_group_find(&v, "publicKeyPem"));
        chopin_jwk a, b, c;
        CHECK_EQ_INT(chopin_jwk_ed25519_public(&a, pk_z(""), (const uint8_t *)pk.ptr), 0);
        CHECK_EQ_INT(chopin_jwk_pem(&b, CHOPIN_AUTH_EDDSA, pk_z(""), pem), 0);
        CHECK_EQ_INT(chopin_jwk_json(&c, CHOPIN_AUTH_EDDSA, pk_object(vec_group_find(&v, "publicKeyJwk"))), 0);
        bool valid = vec_is(&v, "result", "valid");
        CHECK_EQ_INT(chopin_ed25519_verify(&a, msg, guard_copy(0, sig.ptr, sig.len)) == 0, valid);
        CHECK_EQ_INT(chopin_ed25519_verify(&b, msg, sig) == 0, valid);
        CHECK_EQ_INT(chopin_jwk_table(&c, table, sizeof table), 0);
        if (!CHECK_EQ_INT(chopin_ed25519_verify(&c, msg, sig) == 0, valid)) printf("%.60s\n", v.line);
    }
    vec_close(&v, 76);
}

/* ---- rules ---- */
static chopin_jwk test_key(void) {
    static const uint8_t seed[32] = { 1, 2, 3 };
    chopin_jwk key;
    CHECK_EQ_INT(chopin_jwk_ed25519(&key, pk_z("k"), seed), 0);
    return key;
}
static void ed25519_s_is_reduced(void) {
    chopin_jwk key = test_key();
    uint8_t sig[64];
    CHECK_EQ_INT(chopin_ed25519_sign(&key, pk_z("m"), sig), 0);
    for (int times = 1; times < 16; times++) {                        // S + i L for as long as it fits 256 bits
        uint64_t s[4];
        for (int i = 0; i < 4; i++) s[i] = chopin_auth__load64le(sig + 32 + 8 * i);
        if (chopin_auth__bignum_add(s, s, chopin_auth__ed25519_order.m, 4)) break;
        for (int i = 0; i < 4; i++) chopin_auth__store64le(sig + 32 + 8 * i, s[i]);
        CHECK_EQ_INT(chopin_ed25519_verify(&key, pk_z("m"), pk_bytes(sig, 64)), CHOPIN_AUTH_SIGNATURE);
    }
    CHECK_EQ_INT(chopin_ed25519_sign(&key, pk_z("m"), sig), 0);
    for (int bit = 5; bit < 8; bit++) {                               // bits that some readers mask away
        sig[63] ^= (uint8_t)(1 << bit);
        CHECK_EQ_INT(chopin_ed25519_verify(&key, pk_z("m"), pk_bytes(sig, 64)), CHOPIN_AUTH_SIGNATURE);
        sig[63] ^= (uint8_t)(1 << bit);
    }
    memset(sig, 0, sizeof sig);
    CHECK_EQ_INT(chopin_ed25519_verify(&key, pk_z("m"), pk_bytes(sig, 64)), CHOPIN_AUTH_SIGNATURE);
    sig[0] = 1;                                                       // R neutral, S 0
    CHECK_EQ_INT(chopin_ed25519_verify(&key, pk_z("m"), pk_bytes(sig, 64)), CHOPIN_AUTH_SIGNATURE);
}

/* All points of order 1, 2, 4, 8 and their encodings, canonical or not: multiples of a point that is L times something. */
static int small_order_points(uint8_t out[8][32]) {
    uint8_t bytes[32];
    chopin_auth__ed25519_point p, q;
    uint64_t zero[4] = { 0 };
    int n = 0;
    for (uint8_t y = 2; n < 8; y++) {
        memset(bytes, 0, 32), bytes[0] = y;
        if (!chopin_auth__ed25519_decode(&p, bytes)) continue;
        chopin_auth__ed25519_two_mul(&q, zero, chopin_auth__ed25519_order.m, &p);      // L p has an order that divides 8
        chopin_auth__ed25519_point sum = chopin_auth__ed25519_identity, four;
        chopin_auth__ed25519_double(&four, &q, true), chopin_auth__ed25519_double(&four, &four, true);
        if (same_point(&four, &sum)) continue;                        // not of order 8
        chopin_auth__ed25519_cached step;
        chopin_auth__ed25519_cache(&step, &q);
        for (n = 0; n < 8; n++, chopin_auth__ed25519_add_cached(&sum, &step, false)) {
            chopin_auth__ed25519_fe ax, ay;
            chopin_auth__ed25519_to_affine(&sum, &ax, &ay);
            chopin_auth__ed25519_encode(out[n], &ax, &ay);
        }
    }
    return n;
}
static void ed25519_points_are_strict(void) {
    chopin_jwk key;
    uint8_t small[8][32], bytes[32];
    CHECK_EQ_INT(small_order_points(small), 8);
    for (int i = 0; i < 8; i++) CHECK_EQ_INT(chopin_jwk_ed25519_public(&key, pk_z(""), small[i]), CHOPIN_AUTH_WEAK_KEY);
    for (int y = 0; y < 19; y++) {                                    // p + y, with either sign
        for (int sign = 0; sign < 2; sign++) {
            memset(bytes, 0xff, 32), bytes[0] = (uint8_t)(0xed + y), bytes[31] = (uint8_t)(0x7f | sign << 7);
            CHECK_EQ_INT(chopin_jwk_ed25519_public(&key, pk_z(""), bytes), CHOPIN_AUTH_KEY);
            CHECK(key.kind == NULL);
        }
    }
    memset(bytes, 0, 32), bytes[0] = 1, bytes[31] = 0x80;             // y = 1 and x = -0
    CHECK_EQ_INT(chopin_jwk_ed25519_public(&key, pk_z(""), bytes), CHOPIN_AUTH_KEY);
    memset(bytes, 0, 32), bytes[0] = 2;                               // no such point
    int none = chopin_jwk_ed25519_public(&key, pk_z(""), bytes);
    bytes[0] = 7;
    CHECK(none == CHOPIN_AUTH_KEY || chopin_jwk_ed25519_public(&key, pk_z(""), bytes) == CHOPIN_AUTH_KEY);
}
/* Every y below 256: half of them are on the curve, and which ones Euler's criterion says: u / v is a square exactly when (u v)^((p-1)/2) is not -1. */
static void small_coordinates_decode(void) {
    int on = 0;
    for (int y = 0; y < 256; y++) {
        uint8_t bytes[32] = { (uint8_t)y };
        chopin_auth__ed25519_point p;
        chopin_auth__ed25519_fe fy = { { (uint64_t)y } }, one = { { 1 } }, u, v, t, x11;
        chopin_auth__ed25519_sqr(&u, &fy), chopin_auth__ed25519_mul(&v, &u, &chopin_auth__ed25519_d);
        chopin_auth__ed25519_sub(&u, &u, &one), chopin_auth__ed25519_add(&v, &v, &one);
        chopin_auth__ed25519_mul(&u, &u, &v);
        chopin_auth__ed25519_power(&t, &x11, &u);                     // u^(2^250 - 1); (p - 1) / 2 = 2^254 - 10 = 16 (2^250 - 1) + 6
        chopin_auth__ed25519_sqr_n(&t, &t, 4);
        for (int i = 0; i < 6; i++) chopin_auth__ed25519_mul(&t, &t, &u);
        bool square = chopin_auth__ed25519_same(&t, &one) || y == 1;  // y = 1: x = 0
        CHECK_EQ_INT(chopin_auth__ed25519_decode(&p, bytes), square);
        on += square;
    }
    CHECK(on > 100 && on < 156);
}
/* A forger who knows the private key can make R of small order satisfy the equation: S = h a. Only the check of R refuses it. */
static void r_of_small_order_is_refused(void) {
    chopin_jwk key = test_key();
    uint8_t sig[64] = { 1 };
    uint64_t h[4];
    chopin_auth__ed25519_hash(h, pk_bytes(sig, 32), pk_bytes(key.u.ed25519.bytes, 32), pk_z("m"));
    chopin_auth__mod256_mul(h, h, chopin_auth__ed25519_order.rr, &chopin_auth__ed25519_order);
    chopin_auth__mod256_mul(h, h, key.u.ed25519.scalar, &chopin_auth__ed25519_order);
    for (int i = 0; i < 4; i++) chopin_auth__store64le(sig + 32 + 8 * i, h[i]);
    CHECK_EQ_INT(chopin_ed25519_verify(&key, pk_z("m"), pk_bytes(sig, 64)), CHOPIN_AUTH_SIGNATURE);
}
static void every_bit_counts(void) {
    static _Alignas(16) uint8_t table[CHOPIN_AUTH_JWK_TABLE];
    chopin_jwk key = test_key(), fast = key;
    uint8_t sig[64];
    char message[] = "a message of some length";
    CHECK_EQ_INT(chopin_jwk_table(&fast, table, sizeof table), 0);
    CHECK_EQ_INT(chopin_ed25519_sign(&key, pk_z(message), sig), 0);
    for (int bit = 0; bit < 512; bit++) {
        sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK_EQ_INT(chopin_ed25519_verify(&key, pk_z(message), pk_bytes(sig, 64)), CHOPIN_AUTH_SIGNATURE);
        CHECK_EQ_INT(chopin_ed25519_verify(&fast, pk_z(message), pk_bytes(sig, 64)), CHOPIN_AUTH_SIGNATURE);
        sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t i = 0; i < strlen(message); i++) {
        message[i] ^= 1;
        CHECK_EQ_INT(chopin_ed25519_verify(&key, pk_z(message), pk_bytes(sig, 64)), CHOPIN_AUTH_SIGNATURE);
        message[i] ^= 1;
    }
    CHECK_EQ_INT(chopin_ed25519_verify(&fast, pk_z(message), pk_bytes(sig, 64)), 0);
}
static void signature_length_is_64(void) {
    chopin_jwk key = test_key();
    uint8_t sig[65] = { 0 };
    CHECK_EQ_INT(chopin_ed25519_sign(&key, pk_z("m"), sig), 0);
    for (size_t n = 0; n <= 65; n++) if (n != 64) CHECK_EQ_INT(chopin_ed25519_verify(&key, pk_z("m"), guard_copy(0, sig, n)), CHOPIN_AUTH_SIZE);
    CHECK_EQ_INT(chopin_ed25519_verify(&key, pk_z("m"), guard_copy(0, sig, 64)), 0);
}
/* No call takes seed and public key apart: signing knows the key object alone, and a public one cannot sign. */
static void no_double_public_key_oracle(void) {
    int (*sign)(const chopin_jwk *, chopin_str, uint8_t[64]) = chopin_ed25519_sign;
    chopin_jwk key = test_key(), other;
    uint8_t sig[64];
    CHECK_EQ_INT(chopin_jwk_ed25519_public(&other, pk_z(""), key.u.ed25519.bytes), 0);
    CHECK_EQ_INT(sign(&other, pk_z("m"), sig), CHOPIN_AUTH_ARG);
}

/* ---- what stays on the stack ---- */
static chopin_jwk stack_key;
static uint8_t stack_sig[64];
static STACK_ALONE void sign_there(void) { if (chopin_ed25519_sign(&stack_key, pk_z("m"), stack_sig) < 0) abort(); }
static void secrets_leave_the_stack(void) {
#ifdef STACK_SEEN
    uint64_t r[4];
    stack_key = test_key();
    chopin_auth__ed25519_hash(r, pk_bytes(stack_key.u.ed25519.prefix, 32), pk_z("m"), pk_z(""));
    CHECK(!stack_keeps(sign_there, stack_key.u.ed25519.scalar, 32));
    CHECK(!stack_keeps(sign_there, stack_key.u.ed25519.prefix, 32));
    CHECK(!stack_keeps(sign_there, r, 32));
#endif
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(field_matches_the_model);
    RUN(inverse_and_encoding);
    RUN(order_matches_the_model);
    RUN(digits_add_up);
    RUN(base_table_is_right);
    RUN(multiplications_agree);
    RUN(rfc8032);
    RUN(wycheproof);
    RUN(ed25519_s_is_reduced);
    RUN(ed25519_points_are_strict);
    RUN(small_coordinates_decode);
    RUN(r_of_small_order_is_refused);
    RUN(every_bit_counts);
    RUN(signature_length_is_64);
    RUN(no_double_public_key_oracle);
    RUN(secrets_leave_the_stack);
    return TEST_END();
}
