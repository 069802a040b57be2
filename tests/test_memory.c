/* test_memory.c - arenas that are reset, pools that keep, slab ids that go stale.
 * Build: cc -O1 -g tests/test_memory.c -o build/test_memory -pthread -lm */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER
#include "test.h"

/* ---- a heap that counts, and fails when told to ---- */
static struct { size_t live, blocks; long until; chopin__heap heap; } meter;     // until: the nth allocation from now fails; 0: none

static void *meter_alloc(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    CHECK(ctx == &meter);
    if (new_size && --meter.until == 0) return NULL;
    if (!ptr) meter.blocks++;
    if (!new_size) meter.blocks--;
    meter.live += new_size;
    meter.live -= old_size;                                  // wraps, and shows, if a size is not the one that was asked for
    if (new_size == 0) { free(ptr); return NULL; }
    return realloc(ptr, new_size);
}

static chopin__heap *meter_start(void) {
    memset(&meter, 0, sizeof meter);
    meter.heap.alloc = meter_alloc;
    meter.heap.ctx = &meter;
    return &meter.heap;
}

/* ---- arena ---- */

static void arena_memory_is_aligned_and_apart(void) {
    _Alignas(16) char first[1000];
    chopin__arena a;
    uint64_t seed = 1;
    chopin__arena_init(&a, meter_start(), first + 3, sizeof first - 3, 1 << 20);
    unsigned char *got[300];
    size_t         size[300];
    for (int i = 0; i < 300; i++) {
        size[i] = (size_t)(chopin__random_next(&seed) % (i % 20 ? 100 : 6000));
        got[i] = chopin__arena_alloc(&a, size[i]);
        if (!CHECK(got[i] != NULL)) return;
        CHECK_EQ_INT((uintptr_t)got[i] % 16, 0);
        memset(got[i], i & 255, size[i]);
    }
    for (int i = 0; i < 300; i++) {
        bool same = true;
        for (size_t at = 0; at < size[i]; at++) same = same && got[i][at] == (i & 255);
        CHECK(same);
    }
    CHECK(!a.full);
    chopin__arena_reset(&a);
    CHECK_EQ_INT(meter.blocks, 0);
    CHECK_EQ_INT(meter.live, 0);
}

static void a_small_request_needs_no_heap(void) {
    _Alignas(16) char first[3072];
    chopin__arena a;
    chopin__arena_init(&a, meter_start(), first, sizeof first, 1 << 20);
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 27; i++) CHECK(chopin__arena_alloc(&a, 100) != NULL);    // 112 bytes each, with alignment
        CHECK((char *)chopin__arena_alloc(&a, 0) >= first);
        chopin__arena_reset(&a);
    }
    CHECK_EQ_INT(atomic_load(&meter.heap.calls), 0);
    char *again = chopin__arena_alloc(&a, 1);
    CHECK(again >= first && again < first + 16);             // reset means: from the start
}

static void arena_limit_holds(void) {
    _Alignas(16) char first[64];
    chopin__arena a;
    chopin__arena_init(&a, meter_start(), first, sizeof first, 65536);
    size_t got = 0;
    while (chopin__arena_alloc(&a, 1000)) got += 1000;
    CHECK(a.full);
    CHECK(got > 65536 / 2 && got <= 65536 + sizeof first);
    CHECK(meter.live <= 65536);
    chopin__arena_reset(&a);
    CHECK(!a.full && meter.live == 0);
    CHECK(chopin__arena_alloc(&a, 60000) != NULL);
    CHECK(chopin__arena_alloc(&a, 60000) == NULL && a.full);
    CHECK(chopin__arena_alloc(&a, 1000) != NULL && a.full);  // full stays remembered until the reset
    chopin__arena_reset(&a);
}

static void absurd_sizes_fail(void) {
    static const size_t sizes[] = { SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 15, SIZE_MAX - 16, SIZE_MAX - 32, SIZE_MAX / 2, (size_t)1 << 40 };
    _Alignas(16) char first[64];
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        chopin__arena a;
        chopin__arena_init(&a, meter_start(), first, sizeof first, SIZE_MAX / 4);
        if (sizes[i] > SIZE_MAX / 4 || i < 6) CHECK(chopin__arena_alloc(&a, sizes[i]) == NULL);
        CHECK(chopin__arena_alloc(&a, 16) != NULL);
        chopin__arena_reset(&a);
    }
}

static void a_failed_block_is_remembered(void) {
    _Alignas(16) char first[64];
    chopin__arena a;
    chopin__arena_init(&a, meter_start(), first, sizeof first, 1 << 20);
    meter.until = 1;
    CHECK(chopin__arena_alloc(&a, 1000) == NULL && a.full);
    CHECK(chopin__arena_alloc(&a, 1000) != NULL && a.full);
    CHECK(chopin__arena_copy(&a, CHOPIN_STR("text")).ptr != NULL);
    chopin__arena_reset(&a);
    CHECK_EQ_INT(meter.live, 0);
}

static void copies_end_with_a_nul(void) {
    _Alignas(16) char first[256];
    chopin__arena a;
    chopin__arena_init(&a, meter_start(), first, sizeof first, 1 << 20);
    chopin_str copy = chopin__arena_copy(&a, CHOPIN_STR("abc"));
    CHECK_STR(copy, "abc");
    CHECK_EQ_INT(strlen(copy.ptr), 3);
    copy = chopin__arena_copy(&a, chopin__absent());
    CHECK(copy.ptr && copy.len == 0 && copy.ptr[0] == 0);
    chopin__arena_reset(&a);
}

static chopin_str print(chopin__arena *a, const char *format, ...) {
    va_list args;
    va_start(args, format);
    chopin_str text = chopin__arena_vprintf(a, format, args);
    va_end(args);
    return text;
}

static void printing_measures_first(void) {
    _Alignas(16) char first[64];
    chopin__arena a;
    chopin__arena_init(&a, meter_start(), first, sizeof first, 1 << 20);
    for (int width = 0; width < 5000; width += 97) {
        chopin_str text = print(&a, "%d|%*d|%s", 1, width, 2, "end");
        CHECK_EQ_INT(text.len, 2 + (size_t)(width ? width : 1) + 4);
        CHECK(text.ptr && text.ptr[text.len] == 0 && memcmp(text.ptr + text.len - 6, width > 1 ? " 2|end" : "|2|end", 6) == 0);
    }
    chopin__arena_reset(&a);
    CHECK_EQ_INT(meter.live, 0);
}

/* ---- pool ---- */

static void pools_keep_what_they_are_given(void) {
    chopin__pool p;
    void *block[10];
    chopin__pool_init(&p, meter_start(), 128, 4);
    for (int i = 0; i < 10; i++) { block[i] = chopin__pool_take(&p); memset(block[i], i, 128); }
    CHECK_EQ_INT(meter.blocks, 10);
    for (int i = 0; i < 10; i++) chopin__pool_give(&p, block[i]);
    CHECK_EQ_INT(meter.blocks, 4);                           // the rest went back to the heap
    CHECK_EQ_INT(p.kept, 4);
    uint64_t calls = atomic_load(&meter.heap.calls);
    for (int i = 0; i < 4; i++) { block[i] = chopin__pool_take(&p); memset(block[i], 0xff, 128); }
    for (int i = 0; i < 4; i++) for (int j = 0; j < i; j++) CHECK(block[i] != block[j]);
    CHECK_EQ_INT(atomic_load(&meter.heap.calls), calls);     // none of that asked the heap
    for (int i = 0; i < 4; i++) chopin__pool_give(&p, block[i]);
    CHECK(chopin__pool_take(&p) == block[3]);                // the warmest first
    chopin__pool_give(&p, block[3]);
    chopin__pool_done(&p);
    CHECK_EQ_INT(meter.live, 0);
}

static void a_pool_tells_when_memory_ends(void) {
    chopin__pool p;
    chopin__pool_init(&p, meter_start(), 64, 4);
    meter.until = 1;
    CHECK(chopin__pool_take(&p) == NULL);
    void *block = chopin__pool_take(&p);
    CHECK(block != NULL);
    chopin__pool_give(&p, block);
    chopin__pool_done(&p);
    CHECK_EQ_INT(meter.live, 0);
}

/* ---- slab ---- */

typedef struct thing { chopin__slab_entry entry; uint64_t words[7]; } thing;

static void stale_ids_find_nothing(void) {
    chopin__slab s;
    if (!CHECK(chopin__slab_init(&s, sizeof(thing), 8))) return;
    for (uint64_t i = 0; i < 100; i++) CHECK(chopin__slab_get(&s, i) == NULL || i < 8);
    thing   *t = chopin__slab_take(&s);
    uint64_t id = chopin__slab_id(&s, t);
    CHECK(chopin__slab_get(&s, id) == t);
    CHECK(chopin__slab_get(&s, id + 1) == NULL);             // another entry, never used
    CHECK(chopin__slab_get(&s, id + ((uint64_t)2 << 32)) == NULL);
    chopin__slab_give(&s, t);
    CHECK(chopin__slab_get(&s, id) == NULL);
    thing *again = chopin__slab_take(&s);
    CHECK(again == t);                                       // the same place ...
    CHECK(chopin__slab_get(&s, id) == NULL);                 // ... and still not the same thing
    CHECK(chopin__slab_get(&s, chopin__slab_id(&s, again)) == again);
    chopin__slab_give(&s, again);
    chopin__slab_done(&s);
    CHECK(chopin__slab_get(&s, id) == NULL);                 // also after the end
}

static void a_slab_has_as_many_entries_as_said(void) {
    chopin__slab s;
    thing *all[100];
    if (!CHECK(chopin__slab_init(&s, sizeof(thing), 100))) return;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 100; i++) {
            all[i] = chopin__slab_take(&s);
            if (!CHECK(all[i] != NULL)) return;
            for (int w = 0; w < 7; w++) CHECK_EQ_INT(all[i]->words[w], 0);   // zeroed, also when used before
            memset(all[i]->words, 0xee, sizeof all[i]->words);
        }
        CHECK(chopin__slab_take(&s) == NULL);
        CHECK_EQ_INT(s.live, 100);
        for (int i = 0; i < 100; i++) chopin__slab_give(&s, all[(i * 37) % 100]);
        CHECK_EQ_INT(s.live, 0);
    }
    chopin__slab_done(&s);
}

/* Random takes and gives against a plain table of who is alive. */
static void slab_generations_match_a_model(void) {
    enum { COUNT = 50 };
    static struct { thing *at; uint64_t id; } live[COUNT];
    static uint64_t dead[1000];
    chopin__slab s;
    uint64_t seed = 7;
    size_t   n = 0, gone = 0;
    if (!CHECK(chopin__slab_init(&s, sizeof(thing), COUNT))) return;
    for (int step = 0; step < 20000; step++) {
        if (chopin__random_next(&seed) % 2 ? n < COUNT : n == 0) {
            thing *t = chopin__slab_take(&s);
            if (!CHECK(t != NULL)) return;
            live[n].at = t;
            live[n++].id = chopin__slab_id(&s, t);
        } else {
            size_t i = (size_t)(chopin__random_next(&seed) % n);
            dead[gone++ % 1000] = live[i].id;
            chopin__slab_give(&s, live[i].at);
            live[i] = live[--n];
        }
        if (n) {
            size_t i = (size_t)(chopin__random_next(&seed) % n);
            CHECK(chopin__slab_get(&s, live[i].id) == live[i].at);
        }
        if (gone) CHECK(chopin__slab_get(&s, dead[chopin__random_next(&seed) % (gone < 1000 ? gone : 1000)]) == NULL);
        CHECK_EQ_INT(s.live, n);
    }
    chopin__slab_done(&s);
}

static void an_untouched_slab_costs_address_space_only(void) {
    chopin__slab s;
    bool large = sizeof(void *) == 8;
    if (!CHECK(chopin__slab_init(&s, 256, large ? (size_t)16 << 20 : 100000))) return;   // 4 GiB of entries
    thing *t = chopin__slab_take(&s);
    CHECK(t && (char *)t == s.base);                         // the lowest pages are used first
    chopin__slab_done(&s);
    CHECK(!chopin__slab_init(&s, 256, SIZE_MAX / 16));
    CHECK(!chopin__slab_init(&s, SIZE_MAX / 2, 3));
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(arena_memory_is_aligned_and_apart);
    RUN(a_small_request_needs_no_heap);
    RUN(arena_limit_holds);
    RUN(absurd_sizes_fail);
    RUN(a_failed_block_is_remembered);
    RUN(copies_end_with_a_nul);
    RUN(printing_measures_first);
    RUN(pools_keep_what_they_are_given);
    RUN(a_pool_tells_when_memory_ends);
    RUN(stale_ids_find_nothing);
    RUN(a_slab_has_as_many_entries_as_said);
    RUN(slab_generations_match_a_model);
    RUN(an_untouched_slab_costs_address_space_only);
    return TEST_END();
}
