/* ct.h - the constant-time test's tools: secrets are marked undefined, and memcheck (or MemorySanitizer) reports any branch or address that depends on one.
 *
 * One .c file per group of rooms (ct_auth_hash.c, ct_auth_pk.c, ...), each including this file before chopin_auth.h:
 *
 *     #include "ct.h"
 *     #include "auth.h"
 *     static void hmac_sign(void) { uint8_t key[32] = { 1 }; ct_secret(key, 32); ... call ...; ct_public(out, 32); }
 *     int main(int argc, char **argv) { CT_BEGIN(argc, argv); CT(hmac_sign); ... return CT_END(); }
 *
 * The case's inputs are secret by ct_secret(); what the caller may see afterwards is made public by ct_public(). The header's own exceptions
 * (CHOPIN_AUTH__PUBLIC) declassify by themselves. `ct.sh` builds each file for gcc and clang at five levels and runs it under valgrind, and under
 * clang's MemorySanitizer. With the argument "leak" only ct_planted_leak runs, which must be caught. Without a checker the cases just run. */
#ifndef CHOPIN_TEST_CT_H
#define CHOPIN_TEST_CT_H
#define _GNU_SOURCE 1
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
#define CT_MSAN 1
#endif
#endif
#if defined(CT_MSAN)
#include <sanitizer/msan_interface.h>
#define ct_secret(p, n) __msan_allocated_memory((p), (n))
#define ct_public(p, n) __msan_unpoison((p), (n))
#elif defined(CT_VALGRIND)
#include <valgrind/memcheck.h>
#define ct_secret(p, n) ((void)VALGRIND_MAKE_MEM_UNDEFINED((p), (n)))
#define ct_public(p, n) ((void)VALGRIND_MAKE_MEM_DEFINED((p), (n)))
#else
static inline void ct_secret(void *p, size_t n) { (void)p, (void)n; }
static inline void ct_public(void *p, size_t n) { (void)p, (void)n; }
#endif

#define CHOPIN_AUTH__PUBLIC(p, n, why) ct_public((void *)(uintptr_t)(p), (n))

static const char *ct_only;
static int ct_ran;
static volatile int ct_sink;

/* What must be found: a compare that stops at the first difference. */
static __attribute__((noinline)) int ct_early_exit(const volatile uint8_t *a, const volatile uint8_t *b, size_t n) {
    for (size_t i = 0; i < n; i++) if (a[i] != b[i]) return 0;
    return 1;
}
static inline void ct_planted_leak(void) {
    uint8_t a[16] = { 1 }, b[16] = { 1 };
    ct_secret(a, sizeof a);
    ct_sink = ct_early_exit(a, b, sizeof a);
}
static inline bool ct_wanted(const char *name) {
    bool leak = ct_only && strcmp(ct_only, "leak") == 0;
    if (leak || (ct_only && strcmp(ct_only, name) != 0)) return false;
    ct_ran++;
    return true;
}
#define CT_BEGIN(argc, argv) do { ct_only = (argc) > 1 ? (argv)[1] : NULL; if (ct_only && strcmp(ct_only, "leak") == 0) ct_planted_leak(); } while (0)
#define CT(name) do { if (ct_wanted(#name)) name(); } while (0)
#define CT_END() (printf("%d cases ran\n", ct_ran), 0)
#endif
