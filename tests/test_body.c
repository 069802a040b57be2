/* test_body.c - >>body: queries, forms, cookies and typed values, as views over bytes that end where nothing more may be read */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER
#include "test.h"

/* ---- a fresh arena per question; inputs are copied to the very end of a heap block, where ASan watches ---- */
static chopin__heap  heap = { .alloc = chopin__heap_default };
static _Alignas(16) char block[65536];
static chopin__arena arena;

static chopin__arena *fresh(void) {
    chopin__arena_init(&arena, &heap, block, sizeof block, 0);
    return &arena;
}

static chopin_str tight(const char *text, size_t len) {
    static char *copies[64];
    static size_t at;
    char **copy = &copies[at++ % 64];
    free(*copy);
    *copy = malloc(len ? len : 1);
    if (len) memcpy(*copy, text, len);
    return chopin__str(*copy + (len ? 0 : 1), len);
}
static chopin_str tight_z(const char *text) { return tight(text, strlen(text)); }

static chopin_str query(const char *text, const char *name) { return chopin__body_find(tight_z(text), name, false, fresh()); }
static chopin_str form(const char *text, const char *name)  { return chopin__body_find(tight_z(text), name, true, fresh()); }
static chopin_str cookie(const char *text, const char *name) { return chopin__body_cookie(tight_z(text), name); }

/* ---- pairs ---- */
static void percent_is_decoded_once(void) {
    CHECK_STR(query("a=%252e", "a"), "%2e");
    CHECK_STR(query("a=%2541", "a"), "%41");
    CHECK_STR(query("a=%41%62", "a"), "Ab");
    CHECK_STR(query("a=%26b=2&b=1", "b"), "1");                        // a coded '&' separates nothing
    CHECK_STR(query("a=%e2%82%ac", "a"), "\xe2\x82\xac");
    CHECK(!query("a=%zz", "a").ptr && !query("a=%4", "a").ptr && !query("a=%", "a").ptr && !query("a=%00", "a").ptr);
}

static void a_plus_is_a_blank_in_forms_only(void) {
    CHECK_STR(query("q=a+b", "q"), "a+b");
    CHECK_STR(query("q=a%2bb+c", "q"), "a+b+c");
    CHECK_STR(form("q=a+b", "q"), "a b");
    CHECK_STR(form("q=a%2Bb+c", "q"), "a+b c");
    CHECK_STR(form("first+name=x", "first name"), "x");
    CHECK_STR(form("first%20name=x", "first name"), "x");
    CHECK(!form("a+b=x", "a+b").ptr);                                   // was sent for "a b"
    CHECK_STR(form("a%2Bb=x", "a+b"), "x");
    CHECK_STR(query("a+b=x", "a+b"), "x");
}

static void absent_and_empty_differ(void) {
    CHECK(!query("a=1", "b").ptr);
    CHECK(!query("", "a").ptr);
    CHECK(!chopin__body_find(chopin__absent(), "a", false, fresh()).ptr);
    CHECK_STR(query("a=", "a"), "");
    CHECK_STR(query("a", "a"), "");
    CHECK_STR(query("b=1&a", "a"), "");
    CHECK_STR(query("a&b=1", "a"), "");
    CHECK(!query("&&&", "").ptr);                                       // no fields at all
    CHECK_STR(query("=x", ""), "x");
}

static void the_first_of_a_name_wins(void) {
    CHECK_STR(query("a=1&a=2", "a"), "1");
    CHECK_STR(query("aa=0&a=1&aaa=2", "a"), "1");
    CHECK_STR(query("b=2&a=1=2", "a"), "1=2");
    CHECK(!query("%61=1", "a").ptr);                                    // names of queries are compared as sent
    CHECK_STR(query("%61=1", "%61"), "1");
    CHECK_STR(form("%61=1", "a"), "1");
    CHECK(!form("%6=1", "a").ptr && !form("%=1", "a").ptr && !form("%6g=1", "a").ptr && !form("%61%=1", "a").ptr);
    CHECK(!form("%61%62=1", "a").ptr && !form("%61=1", "ab").ptr);
}

static void only_what_is_coded_costs_memory(void) {
    chopin_str text = tight_z("a=plain&b=%41&c=x+y");
    chopin_str a = chopin__body_find(text, "a", true, fresh());
    CHECK(a.ptr == text.ptr + 2 && arena.at == block);
    chopin_str c = chopin__body_find(text, "c", false, fresh());
    CHECK(c.ptr > text.ptr && c.ptr < text.ptr + text.len && arena.at == block);
    CHECK_STR(chopin__body_find(text, "b", false, fresh()), "A");
    CHECK(arena.at == block + 3);
    chopin__arena_init(&arena, &heap, block, 0, 0);
    CHECK(!chopin__body_find(text, "b", false, &arena).ptr && arena.full);
}

static void forms_are_checked_before_use(void) {
    CHECK_EQ_INT(chopin__body_check_form(chopin__absent(), 10), CHOPIN_OK);
    CHECK_EQ_INT(chopin__body_check_form(tight_z(""), 10), CHOPIN_OK);
    CHECK_EQ_INT(chopin__body_check_form(tight_z("a=1&b=%41+c"), 2), CHOPIN_OK);
    CHECK_EQ_INT(chopin__body_check_form(tight_z("a=1&b=2&"), 2), CHOPIN_OK);
    CHECK_EQ_INT(chopin__body_check_form(tight_z("a=1&b=2&c"), 2), CHOPIN_TOO_LARGE);
    CHECK_EQ_INT(chopin__body_check_form(tight_z("a=1"), 0), CHOPIN_TOO_LARGE);
    const char *bad[] = { "a=%", "a=%4", "a=%zz", "a=%4&b=1", "%=1", "a=%00", "a=%2" };
    for (size_t i = 0; i < CHOPIN__COUNT(bad); i++) CHECK_EQ_INT(chopin__body_check_form(tight_z(bad[i]), 10), CHOPIN_MALFORMED);
    CHECK_EQ_INT(chopin__body_check_form(tight("a=\0b", 4), 10), CHOPIN_MALFORMED);
}

static void a_hundred_thousand_ampersands_end_soon(void) {
    enum { N = 100000 };
    char *text = malloc(N * 4);
    memset(text, '&', N);
    int64_t begin = chopin__clock_us();
    CHECK_EQ_INT(chopin__body_check_form(chopin__str(text, N), 1000), CHOPIN_TOO_LARGE);
    CHECK_EQ_INT(chopin__body_check_form(chopin__str(text, N), N), CHOPIN_OK);
    CHECK(!chopin__body_find(chopin__str(text, N), "a", true, fresh()).ptr);
    for (int i = 0; i < N; i++) memcpy(text + 4 * i, "%61&", 4);        // keys that must be decoded to be compared
    CHECK(!chopin__body_find(chopin__str(text, N * 4), "b", true, fresh()).ptr);
    CHECK(chopin__clock_us() - begin < 500000);
    free(text);
}

/* ---- lists ---- */
static void cookies_are_found(void) {
    CHECK_STR(cookie("a=1; b=2; c=3", "a"), "1");
    CHECK_STR(cookie("a=1; b=2; c=3", "b"), "2");
    CHECK_STR(cookie("a=1;b=2;c=3", "c"), "3");
    CHECK_STR(cookie("a=1 ;\tb=2\t", "b"), "2");
    CHECK_STR(cookie("a=1; a=2", "a"), "1");
    CHECK_STR(cookie("a=x=y", "a"), "x=y");
    CHECK_STR(cookie("a=", "a"), "");
    CHECK_STR(cookie("a=\"quoted\"", "a"), "quoted");
    CHECK_STR(cookie("a=\"\"", "a"), "");
    CHECK_STR(cookie("a=\"", "a"), "\"");
    CHECK_STR(cookie("a=%41+b", "a"), "%41+b");                         // as sent
    CHECK(!cookie("A=1", "a").ptr && !cookie("aa=1", "a").ptr && !cookie("", "a").ptr && !cookie(";;;", "").ptr);
    CHECK(!chopin__body_cookie(chopin__absent(), "a").ptr);
    CHECK(!cookie("a; b=1", "a").ptr);                                  // a value without a name
}

static void quotes_hide_no_cookie(void) {
    CHECK_STR(cookie("a=\"x; admin=1; b=\"y", "a"), "\"x");
    CHECK_STR(cookie("a=\"x; session=real", "session"), "real");
}

static void lists_and_media_types(void) {
    CHECK(chopin__body_list_has(CHOPIN_STR("a, B ,c"), CHOPIN_STR("b")));
    CHECK(chopin__body_list_has(CHOPIN_STR("close"), CHOPIN_STR("Close")));
    CHECK(!chopin__body_list_has(CHOPIN_STR("closed, a close"), CHOPIN_STR("close")));
    CHECK(!chopin__body_list_has(chopin__absent(), CHOPIN_STR("close")));
    CHECK(chopin__body_media_type_is(CHOPIN_STR("Application/JSON; charset=utf-8"), "application/json"));
    CHECK(chopin__body_media_type_is(CHOPIN_STR("application/json ;x"), "application/json"));
    CHECK(chopin__body_media_type_is(CHOPIN_STR("application/json"), "application/json"));
    CHECK(!chopin__body_media_type_is(CHOPIN_STR("application/jsonp"), "application/json"));
    CHECK(!chopin__body_media_type_is(chopin__absent(), "application/json"));
}

/* ---- typed values ---- */
static void numbers_are_read_as_json_writes_them(void) {
    static const struct { const char *text; double value; } good[] = {
        { "0", 0 }, { "-0", -0.0 }, { "1", 1 }, { "-12.5", -12.5 }, { "12.5e3", 12500 }, { "1E-2", 0.01 }, { "1e+2", 100 }, { "0.1", 0.1 },
        { "1.7976931348623157e308", 1.7976931348623157e308 }, { "5e-324", 5e-324 }, { "1e-999", 0 }, { "0e999999999999999999", 0 },
        { "9007199254740993", 9007199254740992.0 }, { "0.000000000000000000000000000001e30", 1 },
        { "179769313486231570000000000000000000000e270", 1.7976931348623157e308 } };
    for (size_t i = 0; i < CHOPIN__COUNT(good); i++) {
        double value = 7;
        if (!CHECK(chopin__body_f64(tight_z(good[i].text), &value)) || !CHECK(memcmp(&value, &good[i].value, sizeof value) == 0)) {
            printf("  %s\n", good[i].text);
        }
    }
    static const char *const bad[] = { "", "-", "+1", ".5", "1.", "01", "-01", "1e", "1e+", "0x10", "inf", "nan", "NaN", "Infinity", " 1", "1 ",
                                       "1,5", "1_000", "1e400", "-1e400", "1e99999999999999999999", "1.5.5", "--1", "1f", "0x1p3" };
    for (size_t i = 0; i < CHOPIN__COUNT(bad); i++) {
        double value = 7;
        if (!CHECK(!chopin__body_f64(tight_z(bad[i]), &value) && value == 7)) printf("  %s\n", bad[i]);
    }
    char   many[1001];
    double value;
    memset(many, '1', sizeof many);
    many[1] = '.';
    CHECK(chopin__body_f64(tight(many, 1000), &value) && value == 1.0 + 1.0 / 9);
    CHECK(!chopin__body_f64(tight(many, 1001), &value));
}

static void a_locale_changes_no_number(void) {
    static const char *const names[] = { "de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "fr_FR.utf8", "de_DE", "fr_FR" };
    double value = 0;
    for (size_t i = 0; i < CHOPIN__COUNT(names) && !setlocale(LC_ALL, names[i]); i++) {}
    CHECK(chopin__body_f64(tight_z("12.5"), &value) && value == 12.5);
    CHECK(!chopin__body_f64(tight_z("12,5"), &value));
    setlocale(LC_ALL, "C");
}

static void words_are_read(void) {
    static const char *const yes[] = { "1", "true", "yes", "on" }, *const no[] = { "0", "false", "no", "off" };
    static const char *const sizes[] = { "small", "large", NULL };
    for (int i = 0; i < 4; i++) {
        bool value = false;
        CHECK(chopin__body_bool(tight_z(yes[i]), &value) && value);
        CHECK(chopin__body_bool(tight_z(no[i]), &value) && !value);
    }
    bool value;
    CHECK(!chopin__body_bool(tight_z(""), &value) && !chopin__body_bool(tight_z("2"), &value) && !chopin__body_bool(tight_z("tru"), &value));
    CHECK_EQ_INT(chopin__body_enum(tight_z("large"), sizes), 1);
    CHECK_EQ_INT(chopin__body_enum(tight_z("larg"), sizes), -1);
    CHECK_EQ_INT(chopin__body_enum(tight_z(""), sizes), -1);
}

/* ---- Set-Cookie ---- */
static chopin_str written;
static int write_cookie(const char *name, const char *value, chopin_cookie_options o) {
    return chopin__body_write_cookie(fresh(), name, value, &o, &written);
}

static void cookies_have_safe_defaults(void) {
    CHECK_EQ_INT(chopin__body_write_cookie(fresh(), "id", "x", NULL, &written), CHOPIN_OK);
    CHECK_STR(written, "id=x; Path=/; SameSite=Lax; HttpOnly; Secure");
    CHECK_EQ_INT(write_cookie("id", "", (chopin_cookie_options){ .max_age_s = 3600, .path = "/a", .domain = "a.test", .same_site = "strict" }), CHOPIN_OK);
    CHECK_STR(written, "id=; Path=/a; Domain=a.test; Max-Age=3600; SameSite=Strict; HttpOnly; Secure");
    CHECK_EQ_INT(write_cookie("id", "", (chopin_cookie_options){ .max_age_s = -1 }), CHOPIN_OK);
    CHECK_STR(written, "id=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; SameSite=Lax; HttpOnly; Secure");
    CHECK_EQ_INT(write_cookie("id", "a=b", (chopin_cookie_options){ .no_secure = true, .no_http_only = true }), CHOPIN_OK);
    CHECK_STR(written, "id=a=b; Path=/; SameSite=Lax");
    CHECK_EQ_INT(write_cookie("id", "x", (chopin_cookie_options){ .same_site = "None", .partitioned = true }), CHOPIN_OK);
    CHECK_STR(written, "id=x; Path=/; SameSite=None; HttpOnly; Secure; Partitioned");
    chopin__arena_init(&arena, &heap, block, 16, 0);
    CHECK_EQ_INT(chopin__body_write_cookie(&arena, "id", "x", NULL, &written), CHOPIN_MEMORY);
}

static void cookies_cannot_be_split_or_misled(void) {
    static const char *const values[] = { "a b", "a;b", "a,b", "a\"b", "a\\b", "a\r\nX: y", "a\x7f", "a\xe9", "a\tb" };
    for (size_t i = 0; i < CHOPIN__COUNT(values); i++) CHECK_EQ_INT(write_cookie("id", values[i], (chopin_cookie_options){ 0 }), CHOPIN_INVALID);
    static const char *const names[] = { "", "a b", "a=b", "a;b", "a\r\nb", "a\xe9", "a@b" };
    for (size_t i = 0; i < CHOPIN__COUNT(names); i++) CHECK_EQ_INT(write_cookie(names[i], "x", (chopin_cookie_options){ 0 }), CHOPIN_INVALID);
    static const char *const paths[] = { "", "a", "/a;b", "/a\r\nb", "/\xe9" };
    for (size_t i = 0; i < CHOPIN__COUNT(paths); i++) CHECK_EQ_INT(write_cookie("id", "x", (chopin_cookie_options){ .path = paths[i] }), CHOPIN_INVALID);
    static const char *const domains[] = { "", "a;b", "a test", "a.test\r\n", "a.test:80", "[::1]" };
    for (size_t i = 0; i < CHOPIN__COUNT(domains); i++) CHECK_EQ_INT(write_cookie("id", "x", (chopin_cookie_options){ .domain = domains[i] }), CHOPIN_INVALID);
    CHECK_EQ_INT(write_cookie("id", "x", (chopin_cookie_options){ .same_site = "Never" }), CHOPIN_INVALID);
    CHECK_EQ_INT(write_cookie("id", "x", (chopin_cookie_options){ .max_age_s = -2 }), CHOPIN_INVALID);
    CHECK_EQ_INT(write_cookie(NULL, "x", (chopin_cookie_options){ 0 }), CHOPIN_INVALID);
    CHECK_EQ_INT(write_cookie("id", NULL, (chopin_cookie_options){ 0 }), CHOPIN_INVALID);
    char longest[4096];
    memset(longest, 'x', sizeof longest);
    longest[4094] = 0;
    CHECK_EQ_INT(write_cookie("id", longest, (chopin_cookie_options){ 0 }), CHOPIN_OK);
    CHECK_EQ_INT(write_cookie("id2", longest, (chopin_cookie_options){ 0 }), CHOPIN_INVALID);
}

static void cookie_prefixes_are_enforced(void) {
    CHECK_EQ_INT(write_cookie("__Host-id", "x", (chopin_cookie_options){ 0 }), CHOPIN_OK);
    CHECK_EQ_INT(write_cookie("__Host-id", "x", (chopin_cookie_options){ .path = "/" }), CHOPIN_OK);
    CHECK_EQ_INT(write_cookie("__Host-id", "x", (chopin_cookie_options){ .path = "/a" }), CHOPIN_INVALID);
    CHECK_EQ_INT(write_cookie("__Host-id", "x", (chopin_cookie_options){ .domain = "a.test" }), CHOPIN_INVALID);
    CHECK_EQ_INT(write_cookie("__Host-id", "x", (chopin_cookie_options){ .no_secure = true }), CHOPIN_INVALID);
    CHECK_EQ_INT(write_cookie("__hOST-id", "x", (chopin_cookie_options){ .no_secure = true }), CHOPIN_INVALID);
    CHECK_EQ_INT(write_cookie("__Secure-id", "x", (chopin_cookie_options){ .path = "/a", .domain = "a.test" }), CHOPIN_OK);
    CHECK_EQ_INT(write_cookie("__Secure-id", "x", (chopin_cookie_options){ .no_secure = true }), CHOPIN_INVALID);
    CHECK_EQ_INT(write_cookie("id", "x", (chopin_cookie_options){ .same_site = "none", .no_secure = true }), CHOPIN_INVALID);
    CHECK_EQ_INT(write_cookie("id", "x", (chopin_cookie_options){ .partitioned = true, .no_secure = true }), CHOPIN_INVALID);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(percent_is_decoded_once);
    RUN(a_plus_is_a_blank_in_forms_only);
    RUN(absent_and_empty_differ);
    RUN(the_first_of_a_name_wins);
    RUN(only_what_is_coded_costs_memory);
    RUN(forms_are_checked_before_use);
    RUN(a_hundred_thousand_ampersands_end_soon);
    RUN(cookies_are_found);
    RUN(quotes_hide_no_cookie);
    RUN(lists_and_media_types);
    RUN(numbers_are_read_as_json_writes_them);
    RUN(a_locale_changes_no_number);
    RUN(words_are_read);
    RUN(cookies_have_safe_defaults);
    RUN(cookies_cannot_be_split_or_misled);
    RUN(cookie_prefixes_are_enforced);
    return TEST_END();
}
