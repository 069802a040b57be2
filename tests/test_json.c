/* test_json.c - >>json: templates, escapes, numbers that read back, buffers that grow or cannot */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER
#include "test.h"

static chopin__heap     heap = { .alloc = chopin__heap_default };
static chopin__arena    arena;
static char             first[8];       // small, so that most texts must move to the arena
static chopin__json_out out;
static int              status;

static chopin_str json(const char *format, ...) {
    static char block[1 << 20];
    va_list args;
    chopin__arena_init(&arena, &heap, block, sizeof block, 0);
    out = (chopin__json_out){ .ptr = first, .cap = sizeof first, .arena = &arena };
    va_start(args, format);
    status = chopin__json_format(&out, format, args);
    va_end(args);
    return status == CHOPIN_OK ? chopin__str(out.ptr, out.len) : chopin__absent();
}

static void templates_become_json(void) {
    CHECK_STR(json("{message:%s}", "Hello, World!"), "{\"message\":\"Hello, World!\"}");
    CHECK_STR(json("{id:%d,name:%q,tags:[%s,%s]}", -7, CHOPIN_STR("n"), "a", "b"), "{\"id\":-7,\"name\":\"n\",\"tags\":[\"a\",\"b\"]}");
    CHECK_STR(json(" { a : [ ] , \"b c\" :\n{ } , _d-1 : [ [ 1 , -2.5e+3 ] , { x : %n } ] } "),
              "{\"a\":[],\"b c\":{},\"_d-1\":[[1,-2.5e+3],{\"x\":null}]}");
    CHECK_STR(json("[true,false,null,0,\"a\\n\\u00e9 %d {\",%n]"), "[true,false,null,0,\"a\\n\\u00e9 %d {\",null]");
    CHECK_STR(json("%d", 5), "5");
    CHECK_STR(json("[]"), "[]");
    CHECK_STR(json("[%j,%j,%j]", CHOPIN_STR("{\"x\":1}"), chopin__absent(), CHOPIN_STR("")), "[{\"x\":1},null,null]");
}

static void every_directive_reads_its_own_argument(void) {
    CHECK_STR(json("[%d,%u,%ld,%lu,%lld,%llu,%zu,%f,%b,%b,%s,%q,%j,%n,%d]", INT_MIN, UINT_MAX, -1L, 1UL, LLONG_MIN, ULLONG_MAX, (size_t)3, 2.5, 1, 0,
                   "s", CHOPIN_STR("q"), CHOPIN_STR("[]"), 99),
              "[-2147483648,4294967295,-1,1,-9223372036854775808,18446744073709551615,3,2.5,true,false,\"s\",\"q\",[],null,99]");
    CHECK_STR(json("[%s,%q]", (const char *)NULL, chopin__absent()), "[null,null]");
    CHECK_STR(json("[%s,%q]", "", CHOPIN_STR("")), "[\"\",\"\"]");
}

static void malformed_templates_are_refused(void) {
    static const char *const bad[] = {
        "", " ", "{", "}", "[", "]", "{a}", "{a:}", "{a:1", "{a:1,}", "{,}", "{a:1 b:2}", "{:1}", "{1:2}", "{-a:1}", "{a:1]", "[1}", "[1,]", "[,1]", "[1 2]",
        "1 2", "{}x", "{} {}", "%", "[%]", "[%", "[%x]", "[%l]", "[%lx]", "[%lll]", "[%z]", "[%zd]", "[%%]", "truely", "nul", "tru", "01", "1.", ".5", "+1", "-",
        "\"", "\"a", "\"a\n\"", "\"\\x\"", "\"\\", "\"\\u12g4\"", "\"\\u12", "\"\xff\"", "\"\xe2\x82\"", "{a::1}", "{a;1}", "{a,1}", "{a b:1}", "a", "{\"a:1}", "NaN", "{a:1};", "[1],",
        "{%s:1}" };
    for (size_t i = 0; i < CHOPIN__COUNT(bad); i++) {
        json(bad[i], "", "", "");
        if (!CHECK_EQ_INT(status, CHOPIN_INVALID)) printf("  %s\n", bad[i]);
    }
}

static void nesting_is_bounded(void) {
    char text[512];
    for (size_t depth = 63; depth <= 65; depth++) {
        for (int kind = 0; kind < 2; kind++) {
            size_t n = 0;
            for (size_t i = 0; i < depth; i++) n += (size_t)sprintf(text + n, kind ? "[" : i + 1 < depth ? "{a:" : "{");
            memset(text + n, kind ? ']' : '}', depth);
            text[n + depth] = 0;
            json(text);
            CHECK_EQ_INT(status, depth <= 64 ? CHOPIN_OK : CHOPIN_INVALID);
        }
    }
    CHECK_STR(json("[{a:[{b:[]}]},[{}]]"), "[{\"a\":[{\"b\":[]}]},[{}]]");    // the bit of a level is cleared again
}

static void strings_are_escaped(void) {
    CHECK_STR(json("%s", "\"\\/\b\f\n\r\t\v\x01\x1f\x7f"), "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u000b\\u0001\\u001f\x7f\"");
    CHECK_STR(json("%q", chopin__str("a\0b", 3)), "\"a\\u0000b\"");
    CHECK_STR(json("%s", "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x8e\xb9"), "\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x8e\xb9\"");
    CHECK_STR(json("%s", "a\xff" "b\xc3"), "\"a\xef\xbf\xbd" "b\xef\xbf\xbd\"");
    CHECK_STR(json("%s", "\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80"),              // overlong, surrogate, beyond U+10FFFF
              "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

/* Each byte value at each offset of words and tails, against the rule written down plainly. */
static void no_byte_slips_through_at_any_offset(void) {
    for (int byte = 0; byte < 256; byte++) {
        for (size_t at = 0; at < 20; at++) {
            char *text = malloc(20), want[64];
            memset(text, 'x', 20);
            text[at] = (char)byte;
            size_t n = 0;
            want[n++] = '"';
            memset(want + n, 'x', at); n += at;
            if (byte >= 0x80)                             n += (size_t)sprintf(want + n, "\xef\xbf\xbd");
            else if (byte == '"' || byte == '\\')         n += (size_t)sprintf(want + n, "\\%c", byte);
            else if (byte < 0x20 && strchr("\b\t\n\f\r", byte) && byte) n += (size_t)sprintf(want + n, "\\%c", "btn-fr"[byte - 8]);
            else if (byte < 0x20)                         n += (size_t)sprintf(want + n, "\\u%04x", (unsigned)byte);
            else                                          want[n++] = (char)byte;
            memset(want + n, 'x', 19 - at); n += 19 - at;
            want[n++] = '"'; want[n] = 0;
            chopin_str got = json("%q", chopin__str(text, 20));
            if (!CHECK_STR(got, want)) { free(text); return; }
            free(text);
        }
    }
}

static const char *written(double value) {
    static char text[64];
    chopin_str got = json("%f", value);
    snprintf(text, sizeof text, "%.*s", CHOPIN_FMT(got));
    return text;
}

static void doubles_are_short_and_read_back(void) {
    CHECK(!strcmp(written(0), "0") && !strcmp(written(-0.0), "-0") && !strcmp(written(1), "1") && !strcmp(written(-3), "-3"));
    CHECK(!strcmp(written(0.1), "0.1") && !strcmp(written(12.34), "12.34") && !strcmp(written(1e21), "1e+21") && !strcmp(written(1e-7), "1e-07"));
    CHECK(!strcmp(written(999999999999999), "999999999999999") && !strcmp(written(1e15), "1e+15") && !strcmp(written(0.30000000000000004), "0.30000000000000004"));
    CHECK(!strcmp(written((double)NAN), "null") && !strcmp(written((double)INFINITY), "null") && !strcmp(written(-(double)INFINITY), "null"));
    uint64_t seed = 42;
    for (int i = 0; i < 200000; i++) {
        uint64_t bits = chopin__random_next(&seed);
        double   value, back = 0;
        if (i % 4 == 1) value = (double)(int64_t)bits / 1000;
        else if (i % 4 == 2) value = (double)(int64_t)(bits >> 14);
        else if (i % 4 == 3) value = (double)(bits % 1000000) / 100;
        else memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) continue;
        const char *text = written(value);
        if (!CHECK(strlen(text) <= 24 && chopin__json_number_length(chopin__str_z(text)) == strlen(text) && chopin__body_f64(chopin__str_z(text), &back)
                   && memcmp(&back, &value, sizeof value) == 0)) { printf("  %.17g became %s\n", value, text); return; }
    }
}

static void a_locale_changes_no_number(void) {
    static const char *const names[] = { "de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "fr_FR.utf8", "ps_AF.UTF-8", "ps_AF.utf8" };
    for (size_t i = 0; i < CHOPIN__COUNT(names); i++) {
        if (!setlocale(LC_ALL, names[i])) continue;
        CHECK(!strcmp(written(12.34), "12.34") && !strcmp(written(-1.5e300), "-1.5e+300") && !strcmp(written(0.30000000000000004), "0.30000000000000004"));
    }
    setlocale(LC_ALL, "C");
    char points[] = "1\xd9\xab" "5e-07";                                       // U+066B, two bytes
    CHECK(chopin__json_point(points) == 7 && !memcmp(points, "1.5e-07", 7));
}

static int format_into(chopin__json_out *to, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int rc = chopin__json_format(to, format, args);
    va_end(args);
    return rc;
}

static void a_text_that_fits_allocates_nothing(void) {
    char buffer[27];
    heap.calls = 0;
    chopin__arena_init(&arena, &heap, first, 0, 1 << 20);
    out = (chopin__json_out){ .ptr = buffer, .cap = sizeof buffer, .arena = &arena };
    CHECK_EQ_INT(format_into(&out, "{message:%s}", "Hello, World!"), CHOPIN_OK);
    CHECK(out.len == 27 && out.ptr == buffer && heap.calls == 0);
}

/* Every size of buffer and arena: the whole text or MEMORY, never anything between. */
static void memory_may_end_anywhere(void) {
    static const char want[] = "{\"message\":\"Hello, \\\"World\\\"\xef\xbf\xbd\",\"n\":[1,-2,0.1,null,true],\"q\":\"x\"}";
    for (size_t have = 0; have < 512; have++) {
        char *memory = malloc(have + 1), *buffer = malloc(8);
        chopin__arena_init(&arena, &heap, memory, have, 0);
        out = (chopin__json_out){ .ptr = buffer, .cap = 8, .arena = &arena };
        int rc = format_into(&out, "{message:%s,n:[%d,-2,%f,%n,%b],\"q\":\"x\"}", "Hello, \"World\"\xff", 1, 0.1, 1);
        if (rc == CHOPIN_OK) CHECK_STR(chopin__str(out.ptr, out.len), want);
        else                 CHECK(rc == CHOPIN_MEMORY && out.failed && arena.full && have < 511);
        free(memory); free(buffer);
    }
    char exact[sizeof want - 1];
    out = (chopin__json_out){ .ptr = exact, .cap = sizeof exact };
    CHECK_EQ_INT(format_into(&out, "{message:%s,n:[%d,-2,%f,%n,%b],\"q\":\"x\"}", "Hello, \"World\"\xff", 1, 0.1, 1), CHOPIN_OK);
    out = (chopin__json_out){ .ptr = exact, .cap = sizeof exact - 1 };
    CHECK_EQ_INT(format_into(&out, "{message:%s,n:[%d,-2,%f,%n,%b],\"q\":\"x\"}", "Hello, \"World\"\xff", 1, 0.1, 1), CHOPIN_MEMORY);
}

static void one_piece_may_exceed_twice_the_buffer(void) {
    enum { N = 1000 };
    char *text = malloc(N), *memory = malloc(N + 32);
    memset(text, 'x', N);
    chopin__arena_init(&arena, &heap, memory, N + 32, 0);
    out = (chopin__json_out){ .ptr = first, .cap = sizeof first, .arena = &arena };
    CHECK_EQ_INT(format_into(&out, "[%q]", chopin__str(text, N)), CHOPIN_MEMORY);      // the ']' does not fit any more
    chopin__json_out tight = { .ptr = first, .cap = sizeof first, .arena = &arena };
    chopin__arena_init(&arena, &heap, memory, N + 32, 0);
    CHECK_EQ_INT(format_into(&tight, "%q", chopin__str(text, N)), CHOPIN_OK);
    CHECK(tight.len == N + 2 && tight.cap >= tight.len && tight.ptr[N + 1] == '"');
    free(text); free(memory);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(templates_become_json);
    RUN(every_directive_reads_its_own_argument);
    RUN(malformed_templates_are_refused);
    RUN(nesting_is_bounded);
    RUN(strings_are_escaped);
    RUN(no_byte_slips_through_at_any_offset);
    RUN(doubles_are_short_and_read_back);
    RUN(a_locale_changes_no_number);
    RUN(a_text_that_fits_allocates_nothing);
    RUN(memory_may_end_anywhere);
    RUN(one_piece_may_exceed_twice_the_buffer);
    return TEST_END();
}
