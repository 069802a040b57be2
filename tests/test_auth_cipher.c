/* XChaCha20-Poly1305: RFC 8439, HChaCha20, Wycheproof; every bit flipped; in place; against guard pages */
#include "auth.h"
#include "test.h"
#include "vectors.h"
#include "guard.h"

static void chacha_block(void) {
    vec v;
    uint32_t start[16];
    uint8_t rest[16], out[64];
    vec_open(&v, "rfc/rfc8439_chacha.json");
    CHECK(vec_next(&v, "block"));
    chopin_str key = vec_hex(&v, "key"), nonce = vec_hex(&v, "nonce"), want = vec_hex(&v, "out");
    chopin_auth__store32le(rest, (uint32_t)vec_int(&v, "counter"));
    memcpy(rest + 4, nonce.ptr, 12);
    chopin_auth__chacha_start(start, (const uint8_t *)key.ptr, rest);
    chopin_auth__chacha_block(start, out);
    CHECK(want.len == 64 && memcmp(out, want.ptr, 64) == 0);
    CHECK(vec_next(&v, "hchacha20"));
    key = vec_hex(&v, "key"), nonce = vec_hex(&v, "nonce"), want = vec_hex(&v, "out");
    chopin_auth__hchacha((const uint8_t *)key.ptr, (const uint8_t *)nonce.ptr, out);
    CHECK(want.len == 32 && memcmp(out, want.ptr, 32) == 0);
    vec_close(&v, 2);
}

/* The RFC's Poly1305 has no zero filling: its last block ends with a one bit. Done here over blocks that are whole, and the AEAD covers the rest. */
static void aead_rfc8439(void) {
    vec v;
    uint32_t start[16];
    uint8_t rest[16] = { 0 }, out[256], tag[16];
    vec_open(&v, "rfc/rfc8439_chacha.json");
    CHECK(vec_next(&v, "aead"));
    chopin_str key = vec_hex(&v, "key"), nonce = vec_hex(&v, "nonce"), aad = vec_hex(&v, "aad"), msg = vec_hex(&v, "msg"), ct = vec_hex(&v, "ct"), want = vec_hex(&v, "tag");
    memcpy(rest + 4, nonce.ptr, 12);
    chopin_auth__chacha_start(start, (const uint8_t *)key.ptr, rest);
    chopin_auth__xchacha_stream(start, (const uint8_t *)msg.ptr, msg.len, out);
    CHECK(memcmp(out, ct.ptr, ct.len) == 0);
    start[12] = 0;
    chopin_auth__xchacha_tag(start, aad, ct, tag);
    CHECK(want.len == 16 && memcmp(tag, want.ptr, 16) == 0);
    vec_close(&v, 1);
}

static void wycheproof(void) {
    vec v;
    uint8_t seen[2048];
    int used = 0, valid = 0;
    for (vec_open(&v, "wycheproof/xchacha20_poly1305.json"); vec_next(&v, NULL);) {
        if (vec_group_int(&v, "ivSize") != 192) continue;
        chopin_str key = vec_hex(&v, "key"), iv = vec_hex(&v, "iv"), aad = vec_hex(&v, "aad"), msg = vec_hex(&v, "msg"), ct = vec_hex(&v, "ct"), tag = vec_hex(&v, "tag");
        bool good = vec_is(&v, "result", "valid");
        if (!CHECK(ct.len + tag.len < sizeof seen && tag.len == 16)) continue;
        memcpy(seen, ct.ptr, ct.len), memcpy(seen + ct.len, tag.ptr, 16);
        chopin_str sealed = guard_copy(0, seen, ct.len + 16);
        uint8_t *out = guard_room(1, ct.len);
        memset(out, 0xaa, ct.len);
        int rc = chopin_auth__xchacha_open((const uint8_t *)key.ptr, (const uint8_t *)iv.ptr, guard_copy(2, aad.ptr, aad.len), sealed, out);
        CHECK_EQ_INT(rc, good ? 0 : CHOPIN_AUTH_SIGNATURE);
        for (size_t i = 0; !good && i < ct.len; i++) CHECK(out[i] == 0xaa);
        if (good) {
            CHECK(ct.len == msg.len && memcmp(out, msg.ptr, msg.len) == 0);
            uint8_t *again = guard_room(3, msg.len + 16);
            chopin_auth__xchacha_seal((const uint8_t *)key.ptr, (const uint8_t *)iv.ptr, aad, guard_copy(4, msg.ptr, msg.len), again);
            CHECK(memcmp(again, sealed.ptr, sealed.len) == 0);
            memcpy(seen, msg.ptr, msg.len);                  // in place, both ways
            chopin_auth__xchacha_seal((const uint8_t *)key.ptr, (const uint8_t *)iv.ptr, aad, chopin_auth__str(seen, msg.len), seen);
            CHECK(memcmp(seen, sealed.ptr, sealed.len) == 0);
            CHECK_EQ_INT(chopin_auth__xchacha_open((const uint8_t *)key.ptr, (const uint8_t *)iv.ptr, aad, chopin_auth__str(seen, sealed.len), seen), 0);
            CHECK(memcmp(seen, msg.ptr, msg.len) == 0);
        }
        used++, valid += good;
    }
    CHECK(used > 100 && valid > 50);
    vec_close(&v, 158);
}

static void one_flipped_bit_anywhere_refuses(void) {
    uint8_t key[32] = { 1 }, nonce[24] = { 2 }, sealed[61], out[45], aad[7] = "abcdef";
    chopin_auth__xchacha_seal(key, nonce, chopin_auth__str(aad, 7), chopin_auth__str("forty-five bytes of something that is secret!!", 45), sealed);
    CHECK_EQ_INT(chopin_auth__xchacha_open(key, nonce, chopin_auth__str(aad, 7), chopin_auth__str(sealed, 61), out), 0);
    struct { uint8_t *p; size_t n; } parts[] = { { key, 32 }, { nonce, 24 }, { sealed, 61 }, { aad, 7 } };
    for (int part = 0; part < 4; part++) {
        for (size_t bit = 0; bit < parts[part].n * 8; bit++) {
            parts[part].p[bit / 8] ^= (uint8_t)(1 << bit % 8);
            CHECK_EQ_INT(chopin_auth__xchacha_open(key, nonce, chopin_auth__str(aad, 7), chopin_auth__str(sealed, 61), out), CHOPIN_AUTH_SIGNATURE);
            parts[part].p[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
    for (size_t n = 0; n < 61; n++) CHECK_EQ_INT(chopin_auth__xchacha_open(key, nonce, chopin_auth__str(aad, 7), guard_copy(0, sealed, n), out), n < 16 ? CHOPIN_AUTH_SIZE : CHOPIN_AUTH_SIGNATURE);
}

/* Poly1305's arithmetic at its edges, against schoolbook arithmetic on bytes: h * r mod p for limbs near all ones. */
static void slow_poly(const uint8_t key[32], const uint8_t *m, size_t blocks, uint8_t out[16]) {
    uint32_t h[40] = { 0 }, r[17] = { 0 }, t[40];            // base 256, little-endian
    for (int i = 0; i < 16; i++) r[i] = key[i];
    r[3] &= 15, r[7] &= 15, r[11] &= 15, r[15] &= 15, r[4] &= 252, r[8] &= 252, r[12] &= 252;
    for (size_t b = 0; b < blocks; b++) {
        for (int i = 0; i < 16; i++) h[i] += m[16 * b + (size_t)i];
        h[16] += 1;
        memset(t, 0, sizeof t);
        for (int i = 0; i < 17; i++) for (int j = 0; j < 17; j++) t[i + j] += h[i] * r[j];
        for (int pass = 0; pass < 4; pass++) {                // carry; fold what is above 130 bits, times 5
            for (int i = 0; i < 38; i++) t[i + 1] += t[i] >> 8, t[i] &= 255;
            uint32_t high[23] = { 0 };
            for (int i = 0; i < 22; i++) high[i] = (t[16 + i] >> 2 | t[17 + i] << 6) & 255;
            t[16] &= 3;
            for (int i = 17; i < 40; i++) t[i] = 0;
            for (int i = 0; i < 22; i++) t[i] += 5 * high[i];
        }
        for (int i = 0; i < 38; i++) t[i + 1] += t[i] >> 8, t[i] &= 255;
        memcpy(h, t, sizeof h);
    }
    uint32_t less[18], carry = 5;
    for (int i = 0; i < 17; i++) less[i] = h[i] + carry, carry = less[i] >> 8, less[i] &= 255;
    const uint32_t *take = less[16] >= 4 || carry ? less : h;
    carry = 0;
    for (int i = 0; i < 16; i++) carry += take[i] + key[16 + i], out[i] = (uint8_t)carry, carry >>= 8;
}

static void poly1305_against_schoolbook(void) {
    uint8_t key[32], m[64], got[16], want[16];
    uint64_t seed = 1;
    for (int i = 0; i < 40000; i++) {
        for (int j = 0; j < 96; j++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
            uint8_t byte = (seed >> 61) < 4 ? 0xff : (seed >> 61) == 4 ? 0 : (uint8_t)(seed >> 40);
            if (j < 32) key[j] = byte; else m[j - 32] = byte;
        }
        size_t blocks = 1 + (size_t)i % 4;
        chopin_auth__poly c;
        chopin_auth__poly_init(&c, key);
        chopin_auth__poly_update(&c, m, blocks * 16);
        chopin_auth__poly_final(&c, got);
        slow_poly(key, m, blocks, want);
        if (!CHECK(memcmp(got, want, 16) == 0)) return;
    }
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(chacha_block);
    RUN(aead_rfc8439);
    RUN(wycheproof);
    RUN(one_flipped_bit_anywhere_refuses);
    RUN(poly1305_against_schoolbook);
    return TEST_END();
}
