/* stack.h - what a call leaves behind on the stack: it is painted, the call is made, and what lies below is searched for the secret and for its halves.
 *
 *     static void call_sign(void) { ... }
 *     CHECK(!stack_keeps(call_sign, secret, sizeof secret));
 *
 * Only under -O1 and above (STACK_SEEN is defined then): without optimisation every intermediate value lives on the stack, where C cannot reach it, and sanitizers
 * move locals elsewhere. stack_keeps(stack_leak, stack_leaked, 32) must be true, or the search is blind. */
#ifndef CHOPIN_TEST_STACK_H
#define CHOPIN_TEST_STACK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define STACK_SEEN 1
#endif
#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer) || __has_feature(thread_sanitizer)
#undef STACK_SEEN
#endif
#endif

enum { STACK_DEPTH = 24576 };
#define STACK_ALONE __attribute__((noinline, unused))

static STACK_ALONE void stack_paint(void) {
    volatile uint8_t stack[STACK_DEPTH];
    for (size_t i = 0; i < sizeof stack; i++) stack[i] = 0x55;
}
static STACK_ALONE bool stack_has(const uint8_t *what, size_t n) {
    volatile uint8_t stack[STACK_DEPTH];
    __asm__ volatile("" : "=m"(stack));                          // as if somebody had set it: it holds what others left
    for (size_t i = 0; i + n <= sizeof stack; i++) {
        size_t same = 0;
        while (same < n && stack[i + same] == what[same]) same++;
        if (same == n) return true;
    }
    return false;
}
static STACK_ALONE bool stack_keeps(void (*call)(void), const void *secret, size_t n) {
    const uint8_t *p = secret;
    stack_paint();
    call();
    return stack_has(p, n / 2) || stack_has(p + n - n / 2, n / 2);
}

static uint8_t stack_leaked[32] = { 129, 7, 44, 81, 118, 155, 192, 229, 10, 47, 84, 121, 158, 195, 232, 13, 50, 87, 124, 161, 198, 235, 16, 53, 90, 127, 164, 201, 238, 19, 56, 93 };
static STACK_ALONE void stack_leak(void) {
    volatile uint8_t copy[4096];
    volatile int at = 2000;
    for (int i = 0; i < 32; i++) copy[at + i] = stack_leaked[i];
    at = copy[at];
}
#endif
