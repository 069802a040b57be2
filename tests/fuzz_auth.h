/* fuzz_auth.h - what the fuzzers of keys share, and a small driver for compilers without libFuzzer (-DFUZZ_MAIN): mutates the files it is given, or nothing. */
#ifndef CHOPIN_FUZZ_AUTH_H
#define CHOPIN_FUZZ_AUTH_H
#include <stdio.h>
#include <stdlib.h>
#define MUST(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); abort(); } } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void fuzz_all_zero(const void *p, size_t n) { for (const uint8_t *b = p; n > 0; n--) MUST(*b++ == 0); }

/* A private key signs what its public half verifies. RSA is slow: one in sixteen. */
static inline void fuzz_signs(const chopin_jwk *key, const chopin_jwk *public) {
    static unsigned turn;
    uint8_t sig[CHOPIN_AUTH_SIGNATURE_MAX];
    if (!key->secret || (key->alg < CHOPIN_AUTH_ES256 && key->alg > CHOPIN_AUTH_HS512 && turn++ % 16)) return;
    int n = chopin_auth__jwk_sign(key, CHOPIN_STR("m"), sig, sizeof sig);
    MUST(n > 0 && chopin_auth__jwk_verify(public, CHOPIN_STR("m"), (chopin_str){ (char *)sig, (size_t)n }) == 0);
    sig[n / 2] ^= 4;
    MUST(chopin_auth__jwk_verify(public, CHOPIN_STR("m"), (chopin_str){ (char *)sig, (size_t)n }) < 0);
}

#ifdef FUZZ_MAIN
static uint64_t fuzz_seed = 1;
static inline uint64_t fuzz_rand(void) { fuzz_seed ^= fuzz_seed << 13, fuzz_seed ^= fuzz_seed >> 7, fuzz_seed ^= fuzz_seed << 17; return fuzz_seed; }
static inline size_t fuzz_mutate(uint8_t *p, size_t n, size_t cap) {
    size_t at = n ? fuzz_rand() % n : 0, other = n ? fuzz_rand() % n : 0;
    switch (fuzz_rand() % 7) {
    case 0: if (n) p[at] ^= (uint8_t)(1u << fuzz_rand() % 8); return n;
    case 1: if (n) p[at] = (uint8_t)fuzz_rand(); return n;
    case 2: if (n) { memmove(p + at, p + at + 1, n - at - 1); return n - 1; } return n;                     // dropped
    case 3: if (n && n < cap) { memmove(p + at + 1, p + at, n - at); return n + 1; } return n;               // doubled
    case 4: if (n) p[at] = p[other]; return n;
    case 5: return n ? fuzz_rand() % n : 0;                                                                 // cut off
    default: if (n && n + 8 < cap) { memmove(p + at + 8, p + at, n - at); for (int i = 0; i < 8; i++) p[at + (size_t)i] = (uint8_t)fuzz_rand(); return n + 8; } return n;
    }
}
int main(int argc, char **argv) {
    static uint8_t seed[70000], work[70000];
    long runs = argc > 1 ? atol(argv[1]) : 10000, done = 0;
    for (int i = 2; i < argc || i == 2; i++) {
        FILE *f = i < argc ? fopen(argv[i], "rb") : NULL;
        size_t n = f ? fread(seed, 1, sizeof seed, f) : 0;
        if (f) fclose(f);
        LLVMFuzzerTestOneInput(seed, n);
        for (long r = 0; r < runs; r++, done++) {
            size_t size = n;
            memcpy(work, seed, n);
            for (uint64_t m = 1 + fuzz_rand() % 4; m > 0; m--) size = fuzz_mutate(work, size, sizeof work);
            uint8_t *exact = malloc(size ? size : 1);                 // so that a byte too far is seen
            memcpy(exact, work, size);
            LLVMFuzzerTestOneInput(exact, size);
            free(exact);
        }
    }
    printf("%ld inputs\n", done);
    return 0;
}
#endif
#endif
