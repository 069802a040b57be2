/* test_pg_bytes.c - >>platform, >>bytes and >>memory. */
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include "test.h"

static void cuts_and_trims(void) {
    chopin_str rest = CHOPIN_STR("a,b,,c");
    chopin_str first = chopin_pg__cut(&rest, ','), second = chopin_pg__cut(&rest, ','), third = chopin_pg__cut(&rest, ','), fourth = chopin_pg__cut(&rest, ','), fifth = chopin_pg__cut(&rest, ',');
    CHECK_STR(first, "a");
    CHECK_STR(second, "b");
    CHECK_EQ_INT(third.len, 0);
    CHECK_STR(fourth, "c");
    CHECK_EQ_INT(fifth.len, 0);
    CHECK_EQ_INT(chopin_pg__cut(&(chopin_str){ NULL, 0 }, ',').len, 0);
    CHECK_STR(chopin_pg__trim(CHOPIN_STR(" \t\r\n\v\fa b \n")), "a b");
    CHECK_EQ_INT(chopin_pg__trim(CHOPIN_STR("   ")).len, 0);
    CHECK_STR(chopin_pg__skip(CHOPIN_STR("abc"), 1), "bc");
    CHECK_EQ_INT(chopin_pg__skip(CHOPIN_STR("abc"), 9).len, 0);
    CHECK_EQ_INT(chopin_pg__find(CHOPIN_STR("abc"), 'c'), 2);
    CHECK_EQ_INT(chopin_pg__find(CHOPIN_STR("abc"), 'x'), 3);
    CHECK_EQ_INT(chopin_pg__find(chopin_pg__absent(), 'x'), 0);
}
static void compares(void) {
    CHECK(chopin_pg__equal(chopin_pg__absent(), CHOPIN_STR("")) && chopin_pg__equal_z(CHOPIN_STR("ab"), "ab") && !chopin_pg__equal_z(CHOPIN_STR("ab"), "abc"));
    CHECK(chopin_pg__equal_nocase(CHOPIN_STR("Ab-9"), CHOPIN_STR("aB-9")) && !chopin_pg__equal_nocase(CHOPIN_STR("@"), CHOPIN_STR("`")) && !chopin_pg__equal_nocase(CHOPIN_STR("a"), CHOPIN_STR("ab")));
    CHECK(chopin_pg__starts(CHOPIN_STR("abc"), "ab") && chopin_pg__starts(CHOPIN_STR("abc"), "") && !chopin_pg__starts(CHOPIN_STR("a"), "ab"));
    CHECK(chopin_pg__has_nul(chopin_pg__str("a\0b", 3)) && !chopin_pg__has_nul(CHOPIN_STR("ab")) && !chopin_pg__has_nul(chopin_pg__absent()));
    for (int ch = 0; ch < 256; ch++) {
        bool space = ch == ' ' || (ch >= 9 && ch <= 13);
        CHECK_EQ_INT(chopin_pg__is_space((char)ch), space);
        CHECK_EQ_INT(chopin_pg__is_digit((char)ch), ch >= '0' && ch <= '9');
        CHECK_EQ_INT(chopin_pg__is_alpha((char)ch), (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z'));
    }
}
static void reads_numbers_to_their_limits(void) {
    uint64_t u;
    int64_t  i;
    CHECK(chopin_pg__parse_u64(CHOPIN_STR("18446744073709551615"), &u) && u == UINT64_MAX);
    CHECK(!chopin_pg__parse_u64(CHOPIN_STR("18446744073709551616"), &u) && !chopin_pg__parse_u64(CHOPIN_STR("184467440737095516150"), &u));
    CHECK(!chopin_pg__parse_u64(CHOPIN_STR(""), &u) && !chopin_pg__parse_u64(CHOPIN_STR("-1"), &u) && !chopin_pg__parse_u64(CHOPIN_STR("+1"), &u) && !chopin_pg__parse_u64(CHOPIN_STR("1 "), &u) && !chopin_pg__parse_u64(CHOPIN_STR("1:"), &u));
    CHECK(chopin_pg__parse_i64(CHOPIN_STR("-9223372036854775808"), &i) && i == INT64_MIN);
    CHECK(chopin_pg__parse_i64(CHOPIN_STR("9223372036854775807"), &i) && i == INT64_MAX);
    CHECK(!chopin_pg__parse_i64(CHOPIN_STR("9223372036854775808"), &i) && !chopin_pg__parse_i64(CHOPIN_STR("-9223372036854775809"), &i) && !chopin_pg__parse_i64(CHOPIN_STR("-"), &i) && !chopin_pg__parse_i64(CHOPIN_STR("--1"), &i));
    CHECK(chopin_pg__parse_i64(CHOPIN_STR("-0"), &i) && i == 0);
}
static void writes_numbers_as_printf_does(void) {
    static const int64_t rows[] = { 0, 1, 9, 10, 11, 99, 100, 101, 999, 1000, 12345, 99999999, 100000000, INT64_MAX, INT64_MIN, -1, -9, -10, -100, INT64_MIN + 1, INT32_MAX, INT32_MIN };
    for (size_t k = 0; k < CHOPIN_PG__COUNT(rows); k++) {
        char want[30], got[30];
        snprintf(want, sizeof want, "%" PRId64, rows[k]);
        CHECK_STR(chopin_pg__str(got, chopin_pg__format_i64(got, rows[k])), want);
        snprintf(want, sizeof want, "%" PRIu64, (uint64_t)rows[k]);
        CHECK_STR(chopin_pg__str(got, chopin_pg__format_u64(got, (uint64_t)rows[k])), want);
    }
}
static void knows_well_formed_utf8(void) {
    static const char *const good[] = { "", "a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf" };
    static const char *const bad[] = { "\x80", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x41", "\xe0\x9f\xbf", "\xe2\x82", "\xe2\x82\x41", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf0\x90\x80", "\xff", "\xfe" };
    char text[40];
    for (size_t at = 0; at < 20; at++) {                     // wherever it stands against the steps of eight
        memset(text, 'x', sizeof text);
        for (size_t i = 0; i < CHOPIN_PG__COUNT(good); i++) { memset(text, 'x', sizeof text); memcpy(text + at, good[i], strlen(good[i])); CHECK(chopin_pg__utf8_ok(chopin_pg__str(text, sizeof text))); CHECK(chopin_pg__utf8_ok(chopin_pg__str(text, at + strlen(good[i])))); }
        for (size_t i = 0; i < CHOPIN_PG__COUNT(bad); i++)  { memset(text, 'x', sizeof text); memcpy(text + at, bad[i], strlen(bad[i])); CHECK(!chopin_pg__utf8_ok(chopin_pg__str(text, sizeof text))); CHECK(!chopin_pg__utf8_ok(chopin_pg__str(text, at + strlen(bad[i])))); }
    }
}
static void every_code_point_goes_there_and_back(void) {
    int wrong = 0;
    for (uint32_t code = 0; code <= 0x10ffff; code++) {
        char   out[4];
        size_t n = chopin_pg__utf8_encode(out, code), length = chopin_pg__utf8_length(out, n);
        bool   surrogate = code >= 0xd800 && code <= 0xdfff;
        wrong += surrogate ? length != 0 : length != n || chopin_pg__utf8_decode(out, n) != code;
    }
    CHECK_EQ_INT(wrong, 0);
}
static void loads_and_stores_in_network_order(void) {
    uint8_t bytes[9] = { 0 };
    chopin_pg__store16(bytes + 1, 0x8102);
    CHECK(bytes[1] == 0x81 && bytes[2] == 0x02 && chopin_pg__load16(bytes + 1) == 0x8102);
    chopin_pg__store32(bytes + 1, 0xfedcba98u);
    CHECK(bytes[1] == 0xfe && bytes[4] == 0x98 && chopin_pg__load32(bytes + 1) == 0xfedcba98u);
    chopin_pg__store64(bytes + 1, UINT64_C(0xfedcba9876543210));
    CHECK(bytes[1] == 0xfe && bytes[8] == 0x10 && chopin_pg__load64(bytes + 1) == UINT64_C(0xfedcba9876543210));
    CHECK(chopin_pg__signed16(0x8000) == INT16_MIN && chopin_pg__signed32(0x80000000u) == INT32_MIN && chopin_pg__signed64(UINT64_C(1) << 63) == INT64_MIN && chopin_pg__signed32(5) == 5);
}
static void hashes_differ_by_seed_length_and_byte(void) {
    char text[40];
    memset(text, 'a', sizeof text);
    for (size_t n = 1; n < sizeof text; n++) {
        CHECK(chopin_pg__hash(1, text, n) == chopin_pg__hash(1, text, n));
        CHECK(chopin_pg__hash(1, text, n) != chopin_pg__hash(2, text, n));
        CHECK(chopin_pg__hash(1, text, n) != chopin_pg__hash(1, text, n - 1));
        uint64_t before = chopin_pg__hash(1, text, n);
        text[n - 1]++;
        CHECK(chopin_pg__hash(1, text, n) != before);
        text[n - 1]--;
    }
}
static void deadlines_know_never(void) {
    CHECK_EQ_INT(chopin_pg__deadline(0), -1);
    CHECK_EQ_INT(chopin_pg__deadline(-5), -1);
    CHECK_EQ_INT(chopin_pg__deadline(INT64_MAX), INT64_MAX);
    int64_t now = chopin_pg__clock_ms(), later = chopin_pg__deadline(1000);
    CHECK(later >= now + 1000 && later < now + 2000);
    CHECK_EQ_INT(chopin_pg__sooner(-1, 5), 5);
    CHECK_EQ_INT(chopin_pg__sooner(5, -1), 5);
    CHECK_EQ_INT(chopin_pg__sooner(7, 5), 5);
    CHECK_EQ_INT(chopin_pg__sooner(-1, -1), -1);
}
static void checked_arithmetic_leaves_its_result_alone(void) {
    size_t n = 7;
    CHECK(!chopin_pg__add_ok(SIZE_MAX, 1, &n) && n == 7);
    CHECK(chopin_pg__add_ok(SIZE_MAX - 1, 1, &n) && n == SIZE_MAX);
}

/* ---- memory ---- */
static size_t in_use, allowed;
static void *counted(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    (void)ctx;
    if (new_size && allowed == 0) return NULL;
    if (new_size) allowed--;
    in_use += new_size - old_size;
    return chopin_pg__heap_default(NULL, ptr, old_size, new_size);
}
static void the_heap_says_true_sizes(void) {
    chopin_pg__heap h;
    chopin_pg__heap_init(&h, counted, NULL);
    allowed = SIZE_MAX;
    void *a = chopin_pg__alloc(&h, 100), *zero = chopin_pg__alloc(&h, 0), *b = chopin_pg__alloc_zero(&h, 50);
    CHECK(a && zero && b && ((char *)b)[49] == 0 && in_use == 151);
    a = chopin_pg__realloc(&h, a, 100, 300);
    CHECK_EQ_INT(in_use, 351);
    CHECK_EQ_INT(h.calls, 4);
    chopin_pg__release(&h, a, 300);
    chopin_pg__release(&h, zero, 0);
    chopin_pg__release(&h, b, 50);
    chopin_pg__release(&h, NULL, 9);
    CHECK_EQ_INT(in_use, 0);
    allowed = 0;
    CHECK(!chopin_pg__alloc(&h, 1) && !chopin_pg__alloc_zero(&h, 1));
}
static void arenas_align_grow_and_give_all_back(void) {
    chopin_pg__heap  h;
    chopin_pg__arena a;
    chopin_pg__heap_init(&h, counted, NULL);
    allowed = SIZE_MAX;
    chopin_pg__arena_init(&a, &h, 0);
    for (size_t n = 0; n < 3000; n += 7) {
        char *p = chopin_pg__arena_alloc(&a, n);
        if (!CHECK(p && ((uintptr_t)p & 15) == 0)) return;
        memset(p, 0xaa, n);
    }
    chopin_str copy = chopin_pg__arena_copy(&a, CHOPIN_STR("text"));
    CHECK(copy.len == 4 && strcmp(copy.ptr, "text") == 0);
    CHECK(chopin_pg__arena_copy(&a, chopin_pg__absent()).ptr != NULL);
    chopin_pg__arena_reset(&a);
    CHECK(a.blocks && !a.blocks->next);
    uint64_t calls = h.calls;
    for (int i = 0; i < 1000; i++) { chopin_pg__arena_reset(&a); CHECK(chopin_pg__arena_alloc(&a, 500) != NULL); }
    CHECK_EQ_INT(h.calls, calls);                            // a loop of equal work allocates nothing
    chopin_pg__arena_free(&a);
    CHECK_EQ_INT(in_use, 0);
    chopin_pg__arena_free(&a);
    chopin_pg__arena_reset(&a);
}
static void arenas_keep_to_their_limit(void) {
    chopin_pg__heap  h;
    chopin_pg__arena a;
    chopin_pg__heap_init(&h, counted, NULL);
    allowed = SIZE_MAX;
    chopin_pg__arena_init(&a, &h, 4096);
    CHECK(chopin_pg__arena_alloc(&a, 5000) == NULL && a.full);
    chopin_pg__arena_reset(&a);
    CHECK(!a.full && chopin_pg__arena_alloc(&a, SIZE_MAX) == NULL && chopin_pg__arena_alloc(&a, SIZE_MAX - 40) == NULL);
    size_t got = 0;
    while (chopin_pg__arena_alloc(&a, 100)) got++;
    CHECK(got > 20 && a.used <= 4096);
    chopin_pg__arena_free(&a);
    CHECK_EQ_INT(in_use, 0);
    chopin_pg__arena_init(&a, &h, 0);
    allowed = 0;
    CHECK(chopin_pg__arena_alloc(&a, 10) == NULL && a.full && !chopin_pg__arena_copy(&a, CHOPIN_STR("x")).ptr);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(cuts_and_trims);
    RUN(compares);
    RUN(reads_numbers_to_their_limits);
    RUN(writes_numbers_as_printf_does);
    RUN(knows_well_formed_utf8);
    RUN(every_code_point_goes_there_and_back);
    RUN(loads_and_stores_in_network_order);
    RUN(hashes_differ_by_seed_length_and_byte);
    RUN(deadlines_know_never);
    RUN(checked_arithmetic_leaves_its_result_alone);
    RUN(the_heap_says_true_sizes);
    RUN(arenas_align_grow_and_give_all_back);
    RUN(arenas_keep_to_their_limit);
    return TEST_END();
}
