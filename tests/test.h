/* test.h - the harness: a test is `static void claim(void)`, main() says RUN(claim), the last line counts.
 *
 *     static void adds(void) { CHECK(1 + 1 == 2); CHECK_EQ_INT(1 + 1, 2); }
 *     int main(int argc, char **argv) { TEST_ONLY(argc, argv); RUN(adds); return TEST_END(); }
 *
 * Arguments are names of the tests to run (default: all). CHECK yields its condition: `if (!CHECK(p)) return;` */
#ifndef CHOPIN_TEST_H
#define CHOPIN_TEST_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static struct { int passed, failed, bad; int argc; char **argv; } test__all;   // bad: failed checks of the running test

static inline bool test__check(bool ok, const char *file, int line, const char *text) {
    if (!ok && test__all.bad++ < 20) printf("%s:%d: %s\n", file, line, text);
    return ok;
}
static inline bool test__equal(long long got, long long want, const char *file, int line, const char *text) {
    if (got != want && test__all.bad++ < 20) printf("%s:%d: %s is %lld, expected %lld\n", file, line, text, got, want);
    return got == want;
}
static inline bool test__str(const char *got, size_t len, const char *want, const char *file, int line, const char *text) {
    bool ok = got && len == strlen(want) && memcmp(got, want, len) == 0;
    if (!ok && test__all.bad++ < 20) printf("%s:%d: %s is \"%.*s\", expected \"%s\"\n", file, line, text, got ? (int)len : 4, got ? got : "NULL", want);
    return ok;
}
static inline void test__run(void (*test)(void), const char *name) {
    bool wanted = test__all.argc < 2;
    for (int i = 1; i < test__all.argc; i++) wanted |= strcmp(test__all.argv[i], name) == 0;
    if (!wanted) return;
    test__all.bad = 0;
    test();
    if (test__all.bad) { test__all.failed++; printf("FAILED %s (%d checks)\n", name, test__all.bad); fflush(stdout); }
    else test__all.passed++;
}
static inline int test__end(void) {
    printf("%d passed, %d failed\n", test__all.passed, test__all.failed);
    return test__all.failed != 0;
}

#define CHECK(condition)            test__check(!!(condition), __FILE__, __LINE__, #condition)
#define CHECK_EQ_INT(got, want)     test__equal((long long)(got), (long long)(want), __FILE__, __LINE__, #got)
#define CHECK_STR(view, want)       __extension__ ({ __typeof__(view) test__view = (view); test__str((const char *)test__view.ptr, test__view.len, want, __FILE__, __LINE__, #view); })
#define TEST_ONLY(count, arguments) (test__all.argc = (count), test__all.argv = (arguments))
#define RUN(test)                   test__run(test, #test)
#define TEST_END()                  test__end()

#endif
