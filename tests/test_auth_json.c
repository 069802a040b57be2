/* test_auth_json.c - the strict reader: AUTH.md 3.2 */
#include "auth.h"
#include "test.h"
#include "auth_kit.h"
#include <locale.h>
#include <sys/mman.h>

/* Walks an object to its end. */
static int walk(chopin_str text, char *room, size_t cap) {
    chopin_auth__json j;
    chopin_auth__json_value v;
    int rc = chopin_auth__json_object(&j, text, room, cap);
    while (rc >= 0 && (rc = chopin_auth__json_next(&j, &v)) == 1) {}
    return rc;
}
static int walk_z(const char *text) { char room[1000]; return walk(kit_z(text), room, sizeof room); }

static void json_is_strict(void) {
    static const char *const good[] = { "{}", " {\t}\n\r ", "{\"a\":1}", "{\"a\":-0,\"b\":0.5e+10,\"c\":1E-2}", "{\"\":\"\"}", "{\"a\":{\"a\":{}},\"b\":[{\"a\":1},{\"a\":2}]}",
        "{\"a\":[[[[[[[]]]]]]]}", "{\"a\":\"\xf4\x8f\xbf\xbf\xed\x9f\xbf\xc2\x80\x7f\"}", "{\"a\":\"\\ud83d\\ude00\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", "{\"a\":[1,\"x\",null,true,false,{}]}" };
    static const char *const bad[] = { "", " ", "{", "}", "[]", "1", "\"a\"", "null", "{}x", "{} {}", "\xef\xbb\xbf{}", "{\"a\"}", "{\"a\":}", "{\"a\" 1}", "{a:1}", "{'a':1}", "{\"a\":1,}", "{,}", "{\"a\":1 \"b\":2}",
        "{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}", "{\"\\u0061\":1,\"a\":2}", "{\"x\":{\"b\":1,\"\\u0062\":2}}", "{\"x\":[{\"b\":1,\"b\":1}]}", "{\"\xc3\xa4\":1,\"\\u00e4\":2}", "{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":1}",
        "{\"a\":[[[[[[[[]]]]]]]]}", "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}}}}}", "{\"a\":01}", "{\"a\":+1}", "{\"a\":1.}", "{\"a\":.5}", "{\"a\":0x1}", "{\"a\":1e}", "{\"a\":1e+}", "{\"a\":-}",
        "{\"a\":--1}", "{\"a\":NaN}", "{\"a\":Infinity}", "{\"a\":True}", "{\"a\":nul}", "{\"a\":nulll}", "{\"a\":\"\n\"}", "{\"a\":\"\x1f\"}", "{\"a\":\"\\x\"}", "{\"a\":\"\\u12\"}", "{\"a\":\"\\u12g4\"}", "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\udc00\"}", "{\"a\":\"\\udc00\\udc00\"}", "{\"a\":\"\\ud800\\ud800\"}", "{\"a\":\"\\ud800x\"}", "{\"a\":\"\x80\"}", "{\"a\":\"\xc0\x80\"}", "{\"a\":\"\xe0\x80\x80\"}", "{\"a\":\"\xed\xa0\x80\"}", "{\"a\":\"\xf4\x90\x80\x80\"}", "{\"a\":\"\xf8\x88\x80\x80\x80\"}",
        "{\"a\":\"\xc3\"}", "{\"a\":\"x}", "{\"a\":[1,]}", "{\"a\":[,1]}", "{\"a\":[1 2]}", "{\"a\":[1}", "{\"a\":{]}", "{\"a\":{\"b\":1,}}", "{\"a\":{\"b\"}}", "/**/{}", "{\"a\":1//\n}", "{\"a\":\"\xfe\"}", "{\"a\":\xfe\x61\xff}" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) if (!CHECK_EQ_INT(walk_z(good[i]), 0)) printf("  %s\n", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) if (!CHECK_EQ_INT(walk_z(bad[i]), CHOPIN_AUTH_FORMAT)) printf("  %s\n", bad[i]);
    CHECK_EQ_INT(walk(CHOPIN_STR("{\"a\":\"\0\"}"), NULL, 0), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(walk(CHOPIN_STR("{}\0"), NULL, 0), CHOPIN_AUTH_FORMAT);
}

static void members_are_bounded(void) {
    static char text[4000], nested[4100];
    for (int n = 63; n <= 66; n++) {
        size_t at = 0;
        text[at++] = '{';
        for (int i = 0; i < n; i++) at += (size_t)sprintf(text + at, "%s\"m%d\":%d", i ? "," : "", i, i);
        text[at++] = '}', text[at] = 0;
        CHECK_EQ_INT(walk_z(text), n <= 64 ? 0 : CHOPIN_AUTH_FORMAT);
        sprintf(nested, "{\"x\":[%s]}", text);
        CHECK_EQ_INT(walk_z(nested), n <= 64 ? 0 : CHOPIN_AUTH_FORMAT);
    }
}

/* Every prefix of a rich text, its last byte before an unreadable page. */
static void reads_never_pass_the_end(void) {
    static const char text[] = "{\"a\":\"x\\ud83d\\ude00\xf0\x9f\x98\x80\",\"b\":[-1.5e+10,{\"c\":true,\"d\":null}],\"e\":{\"f\":\"\\n\"}}";
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0), room[100];
    mprotect(page + 4096, 4096, PROT_NONE);
    for (size_t n = 0; n < sizeof text; n++) {
        char *at = page + 4096 - n;
        memcpy(at, text, n);
        CHECK_EQ_INT(walk((chopin_str){ at, n }, room, sizeof room), n == sizeof text - 1 ? 0 : CHOPIN_AUTH_FORMAT);
    }
    munmap(page, 8192);
}

static void rooms_of_every_size(void) {
    char room[8];
    for (size_t cap = 0; cap <= sizeof room; cap++) CHECK_EQ_INT(walk(CHOPIN_STR("{\"a\":\"plain\",\"b\":\"\\n\"}"), room, cap), cap < 2 ? CHOPIN_AUTH_BUFFER : 0);   // as long as it was written
    CHECK_EQ_INT(walk(CHOPIN_STR("{\"a\":\"\\n\"}"), NULL, 0), CHOPIN_AUTH_BUFFER);
}

static void strings_decode_in_place_and_again(void) {
    char text[] = "{\"a\":\"x\\ty\\u00e4\\\"\",\"b\":\"plain\",\"c\":\"\\u0000\",\"\\u0064\":\"\\\\\"}";
    chopin_auth__json j;
    chopin_auth__json_value v;
    for (int round = 0; round < 3; round++) {
        int rc = round ? chopin_auth__json_again(&j, (chopin_str){ text, sizeof text - 1 }) : chopin_auth__json_in_place(&j, text, sizeof text - 1);
        CHECK_EQ_INT(rc, 0);
        CHECK(chopin_auth__json_next(&j, &v) == 1 && v.type == CHOPIN_AUTH__JSON_STRING && !v.nul);
        CHECK_STR(v.text, "x\ty\xc3\xa4\"");
        CHECK(chopin_auth__json_next(&j, &v) == 1);
        CHECK_STR(v.text, "plain");
        CHECK(chopin_auth__json_next(&j, &v) == 1 && v.nul && v.text.len == 1);
        CHECK(chopin_auth__json_next(&j, &v) == 1);
        CHECK_STR(v.name, "d");
        CHECK_STR(v.text, "\\");
        CHECK_EQ_INT(chopin_auth__json_next(&j, &v), 0);
        CHECK_EQ_INT(chopin_auth__json_next(&j, &v), CHOPIN_AUTH_FORMAT);            // after the end there is nothing
    }
}

/* Comparing doubles is for machines that compute in doubles: i386 does not. */
static uint64_t bits_of(double d) { uint64_t bits; memcpy(&bits, &d, sizeof bits); return bits; }

static void numbers_need_no_locale(void) {
    static const struct { const char *text; bool ok; int64_t value; } rows[] = {
        { "0", true, 0 }, { "-0", true, 0 }, { "9007199254740992", true, INT64_C(9007199254740992) }, { "9007199254740993", false, 0 }, { "-9007199254740992", true, -INT64_C(9007199254740992) },
        { "1e3", true, 1000 }, { "1.0", true, 1 }, { "1.5", false, 0 }, { "1500e-2", true, 15 }, { "1500e-3", false, 0 }, { "0e999999999999", true, 0 }, { "1e999999999999", false, 0 }, { "1e-999999999999", false, 0 },
        { "0.0001e4", true, 1 }, { "123456789012345678901234567890", false, 0 }, { "100000000000000000000e-20", true, 1 } };
    static const char *const locales[] = { "C", "C.UTF-8", "de_DE.UTF-8", "fr_FR.UTF-8" };
    for (size_t l = 0; l < 4; l++) {
        setlocale(LC_ALL, locales[l]);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            int64_t value = 0;
            bool ok = chopin_auth__json_integer(kit_z(rows[i].text), &value);
            if (!CHECK(ok == rows[i].ok && (!ok || value == rows[i].value))) printf("  %s\n", rows[i].text);
        }
        double d;
        CHECK(chopin_auth__json_double(CHOPIN_STR("0.1"), &d) && bits_of(d) == UINT64_C(0x3fb999999999999a));
        CHECK(!chopin_auth__json_double(CHOPIN_STR("1e400"), &d));
    }
    setlocale(LC_ALL, "C");
}

/* Against strtod, which glibc rounds correctly: random texts, and the middles between doubles, where one digit decides. */
static void doubles_are_the_nearest(void) {
    static const char *const hard[] = { "5e-324", "2.4703282292062327e-324", "2.4703282292062328e-324", "2.2250738585072011e-308", "2.2250738585072014e-308", "1.7976931348623157e308", "1.7976931348623158e308", "1.7976931348623159e308",
        "9007199254740993", "9007199254740992.9999999999999999999", "0.1e-400", "123456789e-320", "8.98846567431158e307", "4.4501477170144023e-308", "1e-1000000", "0.000000000000000000000000000000000000001" };
    uint64_t seed = 42;
    char text[900];
    for (int i = 0; i < 3000; i++) {
        if (i < (int)(sizeof hard / sizeof *hard)) strcpy(text, hard[i]);
        else {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
            int e = (int)(seed >> 40) % 640 - 330, digits = 1 + (int)(seed >> 20) % 25;
            size_t at = 0;
            if (seed & 1) text[at++] = '-';
            text[at++] = (char)('1' + (seed >> 8) % 9), text[at++] = '.';
            for (int k = 0; k < digits; k++) { seed = seed * UINT64_C(6364136223846793005) + 1; text[at++] = (char)('0' + (seed >> 50) % 10); }
            sprintf(text + at, "e%d", e);
        }
        double ours = -1, theirs = strtod(text, NULL);
        bool ok = chopin_auth__json_double(kit_z(text), &ours), finite = (bits_of(theirs) >> 52 & 2047) != 2047;
        if (!CHECK(ok == finite && (!ok || memcmp(&ours, &theirs, 8) == 0))) printf("  %s: %a, expected %a\n", text, ours, theirs);
    }
    memset(text, '1', 890), text[1] = '.', text[890] = 0;                  // more digits than any double has
    double ours;
    CHECK(chopin_auth__json_double(kit_z(text), &ours) && bits_of(ours) == bits_of(strtod(text, NULL)));
}

static void arrays_walk_like_objects(void) {
    chopin_auth__json j;
    chopin_auth__json_value v;
    CHECK_EQ_INT(chopin_auth__json_array(&j, CHOPIN_STR(" [ 1 , \"a\" , [ ] , { \"x\" : 1 } ] "), NULL, 0), 0);
    CHECK(chopin_auth__json_next(&j, &v) == 1 && v.type == CHOPIN_AUTH__JSON_NUMBER);
    CHECK(chopin_auth__json_next(&j, &v) == 1 && v.type == CHOPIN_AUTH__JSON_STRING);
    CHECK(chopin_auth__json_next(&j, &v) == 1 && v.type == CHOPIN_AUTH__JSON_ARRAY);
    CHECK_STR(v.text, "[ ]");
    CHECK(chopin_auth__json_next(&j, &v) == 1 && v.type == CHOPIN_AUTH__JSON_OBJECT);
    CHECK_EQ_INT(chopin_auth__json_next(&j, &v), 0);
    CHECK_EQ_INT(chopin_auth__json_array(&j, CHOPIN_STR("{}"), NULL, 0), CHOPIN_AUTH_FORMAT);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(json_is_strict);
    RUN(members_are_bounded);
    RUN(reads_never_pass_the_end);
    RUN(rooms_of_every_size);
    RUN(strings_decode_in_place_and_again);
    RUN(numbers_need_no_locale);
    RUN(doubles_are_the_nearest);
    RUN(arrays_walk_like_objects);
    return TEST_END();
}
