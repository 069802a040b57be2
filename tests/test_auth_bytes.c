/* loads, stores, base64url, base64, base32, hex, masks, compare, wipe, random, statuses */
#define _GNU_SOURCE 1
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
static bool test_random(uint8_t *out, size_t n);
#define CHOPIN_AUTH__RANDOM_SOURCE(out, n) test_random(out, n)
#include "auth.h"
#include "test.h"
#include "vectors.h"
#include "guard.h"
#include "stack.h"
#include <locale.h>

static bool random_fails;
static bool test_random(uint8_t *out, size_t n) {
    if (!random_fails) return chopin_auth__random_system(out, n);
    memset(out, 0x5a, n / 2);                                    // fails half-way
    return false;
}

typedef int coder(chopin_str in, char *out, size_t cap);
typedef int decoder(chopin_str in, uint8_t *out, size_t cap);
static int padded_encode(chopin_str in, char *out, size_t cap)    { return chopin_auth__base64_encode(in, true, out, cap); }
static int padded_decode(chopin_str in, uint8_t *out, size_t cap) { return chopin_auth__base64_decode(in, true, out, cap); }
static int plain_encode(chopin_str in, char *out, size_t cap)     { return chopin_auth__base64_encode(in, false, out, cap); }
static int plain_decode(chopin_str in, uint8_t *out, size_t cap)  { return chopin_auth__base64_decode(in, false, out, cap); }
static const struct codec { const char *name, *alphabet; coder *encode; decoder *decode; int bits; bool padded; } codecs[] = {
    { "base64url", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", chopin_base64url_encode, chopin_base64url_decode, 6, false },
    { "base64", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", padded_encode, padded_decode, 6, true },
    { "base64 unpadded", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", plain_encode, plain_decode, 6, false },
    { "base32", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", chopin_base32_encode, chopin_base32_decode, 5, false },
    { "hex", "0123456789abcdef", chopin_auth__hex_encode, chopin_auth__hex_decode, 4, false }
};
#define EACH_CODEC(c) for (const struct codec *c = codecs; c < codecs + sizeof codecs / sizeof *codecs; c++)

/* The slow way: bit by bit. Gives the number of characters, without padding. */
static size_t slow_encode(const struct codec *c, const uint8_t *in, size_t n, char *out) {
    size_t chars = (n * 8 + (size_t)c->bits - 1) / (size_t)c->bits;
    for (size_t i = 0; i < chars; i++) {
        int value = 0;
        for (int b = 0; b < c->bits; b++) {
            size_t bit = i * (size_t)c->bits + (size_t)b;
            value = value * 2 + (bit < n * 8 ? in[bit / 8] >> (7 - bit % 8) & 1 : 0);
        }
        out[i] = c->alphabet[value];
    }
    return chars;
}

static void loads_and_stores(void) {
    uint8_t p[9] = { 0, 1, 2, 3, 4, 5, 6, 7, 8 }, q[8];
    CHECK(chopin_auth__load32be(p + 1) == 0x01020304 && chopin_auth__load32le(p + 1) == 0x04030201);
    CHECK(chopin_auth__load64be(p + 1) == UINT64_C(0x0102030405060708) && chopin_auth__load64le(p + 1) == UINT64_C(0x0807060504030201));
    chopin_auth__store64be(q, UINT64_C(0x0102030405060708)); CHECK(memcmp(q, p + 1, 8) == 0);
    chopin_auth__store64le(q, UINT64_C(0x0807060504030201)); CHECK(memcmp(q, p + 1, 8) == 0);
    chopin_auth__store32be(q, 0x01020304); CHECK(memcmp(q, p + 1, 4) == 0);
    chopin_auth__store32le(q, 0x04030201); CHECK(memcmp(q, p + 1, 4) == 0);
}

static void rfc4648_examples(void) {
    vec v;
    int n = 0;
    uint8_t out[64];
    char text[64];
    for (vec_open(&v, "rfc/rfc4648_base64.json"); vec_next(&v, NULL); n++) {
        chopin_str in = vec_text(&v, "text");
        if (strcmp(v.section, "base64url_refused") == 0) { CHECK_EQ_INT(chopin_base64url_decode(in, out, sizeof out), CHOPIN_AUTH_FORMAT); continue; }
        chopin_str raw = vec_hex(&v, "raw");
        const struct codec *c = strcmp(v.section, "base64") == 0 ? &codecs[1] : strcmp(v.section, "base32") == 0 ? &codecs[3] : &codecs[0];
        while (c == &codecs[3] && in.len > 0 && in.ptr[in.len - 1] == '=') in.len--;             // the RFC pads base32, we never do
        int got = c->encode(raw, text, sizeof text);
        CHECK(got == (int)in.len && memcmp(text, in.ptr, in.len) == 0);
        got = c->decode(in, out, sizeof out);
        CHECK(got == (int)raw.len && memcmp(out, raw.ptr, raw.len) == 0);
    }
    vec_close(&v, 35);
}

/* All lengths to 100, at guard pages, exact room, one byte less; the text re-encodes to itself. */
static void codecs_round_trip_at_every_length(void) {
    uint8_t raw[100];
    char want[256];
    for (size_t i = 0; i < sizeof raw; i++) raw[i] = (uint8_t)(i * 89 + 17);
    EACH_CODEC(c) {
        for (size_t n = 0; n <= sizeof raw; n++) {
            size_t chars = slow_encode(c, raw, n, want);
            while (c->padded && chars % 4 != 0) want[chars++] = '=';
            chopin_str in = guard_copy(0, raw, n);
            char *text = (char *)guard_room(1, chars);
            CHECK_EQ_INT(c->encode(in, text, chars), chars);
            if (!CHECK(memcmp(text, want, chars) == 0)) printf("%s of %zu bytes\n", c->name, n);
            if (chars > 0) {
                memset(text, '#', chars);
                CHECK_EQ_INT(c->encode(in, text, chars - 1), CHOPIN_AUTH_BUFFER);
                for (size_t i = 0; i < chars; i++) CHECK(text[i] == '#');
            }
            chopin_str coded = guard_copy(2, want, chars);
            uint8_t *back = guard_room(3, n);
            CHECK_EQ_INT(c->decode(coded, back, n), n);
            CHECK(n == 0 || memcmp(back, raw, n) == 0);
            if (n > 0) {
                memset(back, 0xaa, n);
                CHECK_EQ_INT(c->decode(coded, back, n - 1), CHOPIN_AUTH_BUFFER);
                for (size_t i = 0; i < n; i++) CHECK(back[i] == 0xaa);
            }
        }
    }
}

/* Every byte at every place of texts of every length: accepted exactly when it is in the alphabet and sets no unused bit, and then re-encoded to itself. */
static void base64url_has_one_spelling(void) {
    uint8_t out[32];
    char text[32], again[40];
    EACH_CODEC(c) {
        for (size_t len = 0; len <= 18; len++) {
            memset(text, c->alphabet[0], sizeof text);
            size_t bits = len * (size_t)c->bits;
            bool whole = bits % 8 < (size_t)c->bits;
            for (size_t at = 0; at < len; at++) {
                for (int ch = 0; ch < 256; ch++) {
                    if (c->padded && (ch == '=' || len % 4 != 0)) continue;
                    text[at] = (char)ch;
                    memset(out, 0xaa, sizeof out);
                    int rc = c->decode(chopin_auth__str(text, len), out, sizeof out);
                    const char *place = ch ? strchr(c->alphabet, ch) : NULL;
                    size_t unused = at == len - 1 ? bits % 8 : 0;
                    bool good = whole && place && ((place - c->alphabet) & ((1 << unused) - 1)) == 0;
                    if (!CHECK_EQ_INT(rc, good ? (int)(bits / 8) : CHOPIN_AUTH_FORMAT)) printf("%s, byte %d at %zu of %zu\n", c->name, ch, at, len);
                    if (good) CHECK(c->encode(chopin_auth__str(out, (size_t)rc), again, sizeof again) == (int)len && memcmp(again, text, len) == 0);
                    for (size_t i = 0; rc < 0 && i < bits / 8; i++) CHECK(out[i] == 0 || out[i] == 0xaa);      // nothing half done stays
                }
                text[at] = c->alphabet[0];
            }
        }
    }
}

static void padding_is_exact(void) {
    static const char *const bad[] = { "=", "==", "===", "====", "Zg=", "Zg", "Zg===", "Zm8", "Zm8==", "Zm9v=", "Zm9v====", "Z===", "Zg==Zg==", "Z=g=", "=Zg=", "Zh==", "Zm9=", "Zg= =", "Zg==\n" };
    uint8_t out[16];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) CHECK_EQ_INT(padded_decode(chopin_auth__str(bad[i], strlen(bad[i])), out, sizeof out), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(plain_decode(CHOPIN_STR("Zg=="), out, sizeof out), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(plain_decode(CHOPIN_STR("Zg"), out, sizeof out), 1);
}

static void sizes_never_wrap(void) {
    static char x[1];
    uint8_t out[4];
    size_t huge[] = { SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2, SIZE_MAX / 4 * 3, (size_t)INT_MAX, (size_t)INT_MAX + 1, (size_t)INT_MAX / 4 * 3 + 3 };
    for (size_t i = 0; i < sizeof huge / sizeof *huge; i++) {
        CHECK_EQ_INT(chopin_base64url_size(huge[i]), 0);
        CHECK_EQ_INT(chopin_base32_size(huge[i]), 0);
        EACH_CODEC(c) CHECK_EQ_INT(c->encode(chopin_auth__str(x, huge[i]), x, SIZE_MAX), CHOPIN_AUTH_BUFFER);
    }
    EACH_CODEC(c) if (!c->padded) CHECK(c->decode(chopin_auth__str(x, SIZE_MAX / 16 * 16), out, 4) == CHOPIN_AUTH_BUFFER);      // padding is looked for at the end
    CHECK_EQ_INT(chopin_base64url_size((size_t)INT_MAX / 4 * 3 + 2), INT_MAX);
    CHECK_EQ_INT(chopin_base64url_size(0), 0);
    CHECK_EQ_INT(chopin_base64url_size(1), 2);
    CHECK_EQ_INT(chopin_base32_size(5), 8);
    size_t r = 7;
    CHECK(!chopin_auth__add_ok(SIZE_MAX, 1, &r) && r == 7 && chopin_auth__add_ok(SIZE_MAX, 0, &r) && r == SIZE_MAX);
    r = 7;
    CHECK(!chopin_auth__mul_ok(SIZE_MAX, 2, &r) && r == 7 && chopin_auth__mul_ok(SIZE_MAX / 2, 2, &r));
}

static void masks_are_right(void) {
    static const uint32_t v[] = { 0, 1, 2, 0x7fffffff, 0x80000000u, 0x80000001u, 0xfffffffeu, 0xffffffffu };
    for (int i = 0; i < 8; i++) {
        for (int j = 0; j < 8; j++) {
            uint64_t a = (uint64_t)v[i] << 32 | v[j], b = (uint64_t)v[j] << 32 | v[i];
            CHECK(chopin_auth__mask_equal32(v[i], v[j]) == (v[i] == v[j] ? UINT32_MAX : 0));
            CHECK(chopin_auth__mask_less32(v[i], v[j]) == (v[i] < v[j] ? UINT32_MAX : 0));
            CHECK(chopin_auth__mask_equal64(a, b) == (a == b ? UINT64_MAX : 0) && chopin_auth__mask_zero64(a) == (a == 0 ? UINT64_MAX : 0));
            CHECK(chopin_auth__select32(UINT32_MAX, v[i], v[j]) == v[i] && chopin_auth__select32(0, v[i], v[j]) == v[j]);
            CHECK(chopin_auth__select64(UINT64_MAX, a, b) == a && chopin_auth__select64(0, a, b) == b);
        }
        CHECK(chopin_auth__mask_nonzero32(v[i]) == (v[i] ? UINT32_MAX : 0) && chopin_auth__mask_nonzero64((uint64_t)v[i] << 32) == (v[i] ? UINT64_MAX : 0));
    }
    CHECK(chopin_auth__mask_bit32(1) == UINT32_MAX && chopin_auth__mask_bit32(0) == 0 && chopin_auth__mask_bit64(1) == UINT64_MAX && chopin_auth__mask_bit64(0) == 0);
}

static void equal_sees_every_bit(void) {
    uint8_t a[40], b[40];
    memset(a, 0x3c, sizeof a), memset(b, 0x3c, sizeof b);
    CHECK(chopin_auth_equal(NULL, NULL, 0));
    for (size_t n = 0; n <= 40; n++) CHECK(chopin_auth_equal(guard_copy(0, a, n).ptr, guard_copy(1, b, n).ptr, n));
    for (size_t bit = 0; bit < 320; bit++) {
        b[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK(!chopin_auth_equal(a, b, 40));
        CHECK(chopin_auth_equal(a, b, bit / 8));
        b[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void random_bytes_differ_and_failure_leaves_zeros(void) {
    static uint8_t a[3 << 20], b[64];
    CHECK_EQ_INT(chopin_auth_random(NULL, 0), 0);
    CHECK_EQ_INT(chopin_auth_random(a, sizeof a), 0);
    CHECK_EQ_INT(chopin_auth_random(b, sizeof b), 0);
    CHECK(memcmp(a, b, sizeof b) != 0 && memcmp(a + sizeof a - 64, a, 64) != 0);
    unsigned ones = 0;
    for (size_t i = 0; i < 4096; i++) for (int bit = 0; bit < 8; bit++) ones += a[i] >> bit & 1u;
    CHECK(ones > 15600 && ones < 17200);                         // 16384 expected; this is nine standard deviations
    memset(a, 0, 100), CHECK(chopin_auth__random_device(a, 100));
    memset(b, 0, sizeof b), CHECK(memcmp(a, b, 64) != 0);
    memset(b, 0xaa, sizeof b);
    random_fails = true;
    CHECK_EQ_INT(chopin_auth_random(b, sizeof b), CHOPIN_AUTH_RANDOM);
    random_fails = false;
    for (size_t i = 0; i < sizeof b; i++) CHECK(b[i] == 0);
}

static void every_status_has_its_row(void) {
#define ROW(name, value, http, word, text) CHECK_EQ_INT(CHOPIN_AUTH_##name, value); CHECK_EQ_INT(chopin_auth_http(CHOPIN_AUTH_##name), http); \
    CHECK(strcmp(chopin_auth_name(CHOPIN_AUTH_##name), #name) == 0 && strcmp(chopin_auth_text(value), text) == 0 && strcmp(chopin_auth__status_word(value), word) == 0);
    CHOPIN_AUTH_STATUSES(ROW)
#undef ROW
    int last = 0;
#define ROW(name, value, http, word, text) CHECK_EQ_INT(value, last); last--;
    CHOPIN_AUTH_STATUSES(ROW)
#undef ROW
    CHECK(strcmp(chopin_auth_name(17), "OK") == 0 && strcmp(chopin_auth_name(last), "UNKNOWN") == 0 && strcmp(chopin_auth_name(INT_MIN), "UNKNOWN") == 0);
    CHECK_EQ_INT(chopin_auth_http(INT_MIN), 500);
    CHECK(strcmp(chopin_auth_version(), CHOPIN_AUTH_VERSION) == 0);
}

/* ---- what stays on the stack ---- */
static uint8_t secret[32], coded[64], digest[64];
static int coded_len;
static STACK_ALONE void call_sha256(void)  { chopin_sha256(chopin_auth__str(secret, 32), digest); }
static STACK_ALONE void call_sha512(void)  { chopin_sha512(chopin_auth__str(secret, 32), digest); }
static STACK_ALONE void call_blake2b(void) { chopin_blake2b(chopin_auth__str(secret, 32), digest); }
static STACK_ALONE void call_decode(void)  { coded_len = chopin_base64url_decode(chopin_auth__str(coded, 43), digest, 32); }
static STACK_ALONE void call_hmac(void)    { chopin_hmac k; coded_len = chopin_hmac_key(&k, CHOPIN_AUTH_SHA256, chopin_auth__str(secret, 32)); chopin_hmac_sign(&k, CHOPIN_STR("m"), digest); chopin_hmac_done(&k); }
static STACK_ALONE void call_pbkdf2(void)  { coded_len = chopin_pbkdf2_raw(CHOPIN_AUTH_SHA512, chopin_auth__str(secret, 32), CHOPIN_STR("salt"), 2, digest, 32); }
static STACK_ALONE void call_seal(void)    { static uint8_t out[80]; chopin_auth__xchacha_seal(secret, digest, CHOPIN_STR("aad"), CHOPIN_STR("text"), out); }
static STACK_ALONE void call_bcrypt(void)  { coded_len = chopin_bcrypt_raw(chopin_auth__str(secret, 32), digest, 4, digest + 32, NULL, 0); }
static STACK_ALONE void call_argon2(void) {
    chopin_argon2_options o = { .kind = CHOPIN_AUTH_ARGON2ID, .m_kib = 8, .t = 1, .p = 1 };
    coded_len = chopin_argon2_raw(&o, chopin_auth__str(secret, 32), CHOPIN_STR("saltsalt"), digest, 32, NULL, 0);
}
static STACK_ALONE bool leaves_secret(void (*call)(void)) { return stack_keeps(call, secret, sizeof secret); }
static void secrets_do_not_stay_on_the_stack(void) {
    for (int i = 0; i < 32; i++) secret[i] = (uint8_t)(i * 37 + 129);
    CHECK_EQ_INT(chopin_base64url_encode(chopin_auth__str(secret, 32), (char *)coded, sizeof coded), 43);
#ifdef STACK_SEEN
    CHECK(stack_keeps(stack_leak, stack_leaked, sizeof stack_leaked));                           // the search finds what is there
    CHECK(!leaves_secret(call_sha256)); CHECK(!leaves_secret(call_sha512)); CHECK(!leaves_secret(call_blake2b)); CHECK(!leaves_secret(call_decode));
    CHECK(!leaves_secret(call_hmac));   CHECK(!leaves_secret(call_pbkdf2)); CHECK(!leaves_secret(call_seal));    CHECK(!leaves_secret(call_argon2)); CHECK(!leaves_secret(call_bcrypt));
#endif
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    setlocale(LC_ALL, "");
    RUN(loads_and_stores);
    RUN(rfc4648_examples);
    RUN(codecs_round_trip_at_every_length);
    RUN(base64url_has_one_spelling);
    RUN(padding_is_exact);
    RUN(sizes_never_wrap);
    RUN(masks_are_right);
    RUN(equal_sees_every_bit);
    RUN(random_bytes_differ_and_failure_leaves_zeros);
    RUN(every_status_has_its_row);
    RUN(secrets_do_not_stay_on_the_stack);
    return TEST_END();
}
