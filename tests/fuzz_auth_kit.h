/* fuzz_auth_kit.h - for compilers without libFuzzer: -DFUZZ_MAIN gives a main() that changes the fuzzer's `seeds` at random for argv[1] seconds (default 10), or plays
 * the files named behind it. The seed of the generator is argv[2]; it is printed. */
#ifndef CHOPIN_FUZZ_AUTH_KIT_H
#define CHOPIN_FUZZ_AUTH_KIT_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
#define MUST(condition) do { if (!(condition)) { fprintf(stderr, "line %d: %s\n", __LINE__, #condition); abort(); } } while (0)

#ifdef FUZZ_MAIN
static uint64_t fuzz_state;
static uint64_t fuzz_next(void) {
    fuzz_state ^= fuzz_state << 13, fuzz_state ^= fuzz_state >> 7, fuzz_state ^= fuzz_state << 17;
    return fuzz_state;
}
static size_t fuzz_change(uint8_t *bytes, size_t n, size_t cap, const uint8_t *other, size_t other_n) {
    size_t at = n ? fuzz_next() % n : 0, len = 1 + fuzz_next() % 8;
    switch (fuzz_next() % 6) {
    case 0: if (n) bytes[at] ^= (uint8_t)(1u << fuzz_next() % 8); break;
    case 1: if (n) bytes[at] = (uint8_t)fuzz_next(); break;
    case 2: if (len > n - at) len = n - at;
            memmove(bytes + at, bytes + at + len, n - at - len);
            return n - len;
    case 3: if (n + len > cap) break;
            memmove(bytes + at + len, bytes + at, n - at);
            for (size_t i = 0; i < len; i++) bytes[at + i] = fuzz_next() % 2 ? (uint8_t)fuzz_next() : (uint8_t)"{}[],:\"\\.$=-0e"[fuzz_next() % 14];
            return n + len;
    case 4: if (!other_n) break;                                         // a piece of another seed
            len = 1 + fuzz_next() % other_n;
            if (at + len > cap) break;
            memcpy(bytes + at, other + fuzz_next() % (other_n - len + 1), len);
            return at + len > n ? at + len : n;
    default: return at;
    }
    return n;
}
int main(int argc, char **argv) {
    static uint8_t bytes[4096];
    size_t count = sizeof seeds / sizeof *seeds;
    time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 10);
    fuzz_state = argc > 2 ? strtoull(argv[2], NULL, 10) | 1 : (uint64_t)time(NULL) | 1;
    printf("seed %llu\n", (unsigned long long)fuzz_state);
    unsigned long runs = 0;
    for (; runs % 256 || time(NULL) < end; runs++) {
        const char *seed = seeds[fuzz_next() % count], *other = seeds[fuzz_next() % count];
        size_t n = strlen(seed);
        if (n > sizeof bytes) n = sizeof bytes;
        memcpy(bytes, seed, n);
        for (uint64_t k = fuzz_next() % 6; k > 0; k--) n = fuzz_change(bytes, n, sizeof bytes, (const uint8_t *)other, strlen(other));
        uint8_t *exact = malloc(n ? n : 1);                                // so that reading past the end is seen
        memcpy(exact, bytes, n);
        LLVMFuzzerTestOneInput(exact, n);
        free(exact);
    }
    printf("%lu runs, none failed\n", runs);
    return 0;
}
#endif
#endif
