/* pk_kit.h - for the tests of the public-key rooms: a slow and simple bignum to compare with, seeded random numbers with a taste for edges, key files, and pieces
 * of the JSON vectors. Include it behind the implementation, test.h and vectors.h. */
#ifndef CHOPIN_PK_KIT_H
#define CHOPIN_PK_KIT_H

/* ---- random, the same in every run ---- */
static uint64_t pk_seed = 0x9e3779b97f4a7c15;
static inline uint64_t pk_rand(void) {
    uint64_t z = (pk_seed += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9, z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}
static inline void pk_fill(void *p, size_t n) { for (uint8_t *byte = p; n > 0; n--) *byte++ = (uint8_t)pk_rand(); }
static inline void pk_words(uint64_t *r, size_t n) {                  // words of zeros, ones, runs of either, or anything
    for (size_t i = 0; i < n; i++) {
        uint64_t kind = pk_rand() % 8;
        r[i] = kind == 0 ? 0 : kind == 1 ? ~UINT64_C(0) : kind == 2 ? ~UINT64_C(0) << pk_rand() % 64 : kind == 3 ? ~UINT64_C(0) >> pk_rand() % 64 : pk_rand();
    }
}
static inline int pk_cases(int few) {                                 // CHOPIN_TEST_LONG=1: a million where it says so
    const char *all = getenv("CHOPIN_TEST_LONG");
    return all && *all == '1' ? 1000000 : SMALL ? few / 10 : few;
}

/* ---- the slow model: bits, one after the other ---- */
enum { SLOW = 20 };
typedef struct slow { uint32_t w[SLOW]; } slow;                       // 640 bits, least significant first

static inline slow slow_of(const uint64_t *a, size_t n) {
    slow r = { { 0 } };
    for (size_t i = 0; i < n; i++) r.w[2 * i] = (uint32_t)a[i], r.w[2 * i + 1] = (uint32_t)(a[i] >> 32);
    return r;
}
static inline int slow_cmp(const slow *a, const slow *b) {
    for (int i = SLOW; i-- > 0;) if (a->w[i] != b->w[i]) return a->w[i] < b->w[i] ? -1 : 1;
    return 0;
}
static inline slow slow_add(slow a, slow b) {
    uint64_t c = 0;
    for (int i = 0; i < SLOW; i++) c += (uint64_t)a.w[i] + b.w[i], a.w[i] = (uint32_t)c, c >>= 32;
    return a;
}
static inline slow slow_sub(slow a, slow b) {
    int64_t c = 0;
    for (int i = 0; i < SLOW; i++) c += (int64_t)a.w[i] - b.w[i], a.w[i] = (uint32_t)c, c >>= 32;
    return a;
}
static inline slow slow_mul(slow a, slow b) {
    slow r = { { 0 } };
    for (int i = 0; i < SLOW; i++) {
        uint64_t c = 0;
        for (int j = 0; i + j < SLOW; j++) c += r.w[i + j] + (uint64_t)a.w[i] * b.w[j], r.w[i + j] = (uint32_t)c, c >>= 32;
    }
    return r;
}
static inline slow slow_mod(slow a, slow m) {
    slow r = { { 0 } };
    for (int i = SLOW * 32; i-- > 0;) {
        r = slow_add(r, r);
        r.w[0] |= a.w[i / 32] >> (i % 32) & 1;
        if (slow_cmp(&r, &m) >= 0) r = slow_sub(r, m);
    }
    return r;
}
static inline slow slow_shift(slow a, int words64) {                  // a * 2^(64 words64)
    slow r = { { 0 } };
    for (int i = 0; i + 2 * words64 < SLOW; i++) r.w[i + 2 * words64] = a.w[i];
    return r;
}
static inline bool slow_is(slow a, const uint64_t *b, size_t n) { slow c = slow_of(b, n); return slow_cmp(&a, &c) == 0; }

/* ---- files ---- */
static char pk_file_room[8][8192];
static inline chopin_str pk_file(int which, const char *name) {
    static const char *const folders[] = { "tests/vectors/keys/", "vectors/keys/", "../tests/vectors/keys/" };
    FILE *f = NULL;
    for (size_t i = 0; i < 3 && !f; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s%s", folders[i], name);
        f = fopen(path, "rb");
    }
    if (!CHECK(f != NULL)) { printf("no key file %s\n", name); return (chopin_str){ "", 0 }; }
    size_t n = fread(pk_file_room[which], 1, sizeof pk_file_room[0], f);
    fclose(f);
    return (chopin_str){ pk_file_room[which], n };
}

/* The object or array at p in a vector file */
static inline chopin_str pk_object(const char *p) {
    int depth = 0;
    bool text = false;
    size_t n = 0;
    for (; p && p[n]; n++) {
        if (p[n] == '"' && p[n - 1] != '\\') text = !text;
        if (text) continue;
        if (p[n] == '{' || p[n] == '[') depth++;
        if ((p[n] == '}' || p[n] == ']') && --depth == 0) { n++; break; }
    }
    return (chopin_str){ p, p ? n : 0 };
}
static inline chopin_str pk_z(const char *z) { return (chopin_str){ z, strlen(z) }; }
static inline chopin_str pk_bytes(const void *p, size_t n) { return (chopin_str){ p, n }; }

/* A key that must load */
static inline chopin_jwk pk_key(chopin_auth_alg alg, const char *file) {
    chopin_jwk key;
    int rc = chopin_jwk_pem(&key, alg, pk_z("k"), pk_file(0, file));
    if (!CHECK_EQ_INT(rc, 0)) printf("%s: %s\n", file, chopin_auth_text(rc));
    return key;
}
static inline int pk_sign(const chopin_jwk *key, chopin_str message, uint8_t *signature) { return chopin_auth__jwk_sign(key, message, signature, CHOPIN_AUTH_SIGNATURE_MAX); }
static inline int pk_verify(const chopin_jwk *key, chopin_str message, const void *signature, size_t n) { return chopin_auth__jwk_verify(key, message, pk_bytes(signature, n)); }
#endif
