/* guard.h - memory that ends at an unreadable page: guard_copy(p, n) gives a copy of p[n] whose last byte is the last readable one. GUARDS of them at once. */
#ifndef CHOPIN_TEST_GUARD_H
#define CHOPIN_TEST_GUARD_H
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
enum { GUARDS = 8, GUARD_SIZE = 1 << 17 };
static uint8_t *guard_end[GUARDS];

static inline uint8_t *guard_room(int which, size_t n) {
    if (!guard_end[which]) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        char *p = mmap(NULL, GUARD_SIZE + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if ((void *)p == MAP_FAILED || mprotect(p + GUARD_SIZE, page, PROT_NONE) != 0) { printf("no guard page\n"); exit(1); }
        guard_end[which] = (uint8_t *)p + GUARD_SIZE;
    }
    return guard_end[which] - n;
}
static inline chopin_str guard_copy(int which, const void *p, size_t n) {
    uint8_t *to = guard_room(which, n);
    if (n > 0) memcpy(to, p, n);
    return (chopin_str){ (const char *)to, n };
}
#endif
