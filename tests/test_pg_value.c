/* test_pg_value.c - every edge of the table of types (PG.md section 4), text and binary, through the getters; no server.
 *
 * BOTH runs its checks on a row of one column twice: as the server sends it in binary (hex) and as text. */
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include <locale.h>
#include "pg_types.h"

/* ---- tools ---- */
#define ROW(init, ...) do { row_t row_; init; chopin_pg_rows *r = row_.r; (void)r; __VA_ARGS__; row_done(&row_); } while (0)
#define BINARY(oid, hex, ...) ROW(row_hex(&row_, oid, hex), { __VA_ARGS__; CHECK_EQ_INT(r->object.status, 0); })
#define TEXT(oid, text, ...)  ROW(row_text(&row_, oid, text), { __VA_ARGS__; CHECK_EQ_INT(r->object.status, 0); })
#define BOTH(oid, hex, text, ...) do { BINARY(oid, hex, __VA_ARGS__); TEXT(oid, text, __VA_ARGS__); } while (0)
#define REFUSED(oid, hex, call, wanted)     ROW(row_hex(&row_, oid, hex), { (void)call; CHECK_EQ_INT(r->object.status, wanted); })
#define REFUSED_TEXT(oid, text, call, wanted) ROW(row_text(&row_, oid, text), { (void)call; CHECK_EQ_INT(r->object.status, wanted); })
#define SAYS(want) CHECK_STR(chopin_pg_text(r, 0), want)
#define IS(call, want) CHECK_EQ_INT(call(r, 0), want)
enum { RANGE = CHOPIN_PG_RANGE, TYPE = CHOPIN_PG_TYPE, BROKEN = CHOPIN_PG_PROTOCOL };

/* ---- bool, "char" ---- */
static void bool_is_one_byte_or_t_and_f(void) {
    BOTH(16, "01", "t", CHECK(chopin_pg_bool(r, 0)); SAYS("t"));
    BOTH(16, "00", "f", CHECK(!chopin_pg_bool(r, 0)); SAYS("f"));
    TEXT(25, "true", CHECK(chopin_pg_bool(r, 0)));
    TEXT(25, " OFF ", CHECK(!chopin_pg_bool(r, 0)));
    REFUSED(16, "02", chopin_pg_bool(r, 0), BROKEN);
    REFUSED(16, "", chopin_pg_bool(r, 0), BROKEN);
    REFUSED(16, "0101", chopin_pg_bool(r, 0), BROKEN);
    REFUSED(16, "01", chopin_pg_i32(r, 0), TYPE);
    REFUSED_TEXT(16, "t", chopin_pg_i32(r, 0), TYPE);
    REFUSED_TEXT(25, "maybe", chopin_pg_bool(r, 0), TYPE);
    REFUSED(23, "00000001", chopin_pg_bool(r, 0), TYPE);
    REFUSED_TEXT(23, "1", chopin_pg_bool(r, 0), TYPE);
}
static void char_may_be_byte_zero_or_high(void) {
    BOTH(18, "61", "a", SAYS("a"));
    BOTH(18, "00", "", CHECK_EQ_INT(chopin_pg_text(r, 0).len, 0); CHECK(chopin_pg_text(r, 0).ptr != NULL));
    BOTH(18, "ff", "\xff", SAYS("\\377"));
    TEXT(18, "\\377", SAYS("\\377"));
    BOTH(18, "5c", "\\", SAYS("\\"));
}

/* ---- integers ---- */
static void every_width_reads_every_other(void) {
    static const struct { uint32_t oid; const char *hex; } seven[] = { { 21, "0007" }, { 23, "00000007" }, { 20, "0000000000000007" }, { 26, "00000007" }, { 28, "00000007" }, { 29, "00000007" },
        { 5069, "0000000000000007" }, { 700, "40e00000" }, { 701, "401c000000000000" }, { 1700, "0001000000000000 0007" } };
    for (size_t i = 0; i < sizeof seven / sizeof seven[0]; i++) {
        BOTH(seven[i].oid, seven[i].hex, "7", IS(chopin_pg_i16, 7); IS(chopin_pg_i32, 7); IS(chopin_pg_i64, 7); IS(chopin_pg_u32, 7); IS(chopin_pg_u64, 7);
             CHECK(chopin_pg_f32(r, 0) == 7); CHECK(chopin_pg_f64(r, 0) == 7); CHECK_EQ_INT(chopin_pg_decimal(r, 0, 2), 700); CHECK_STR(chopin_pg_numeric(r, 0), "7"); SAYS("7"));
    }
    TEXT(25, " 7 ", IS(chopin_pg_i16, 7); IS(chopin_pg_i64, 7));
    TEXT(25, "7.000", IS(chopin_pg_i16, 7));
    TEXT(25, "+7e1", IS(chopin_pg_i16, 70); CHECK_STR(chopin_pg_numeric(r, 0), "70"));
    TEXT(25, " -1.50 ", CHECK_STR(chopin_pg_numeric(r, 0), "-1.50"));
}
static void int2_has_its_limits(void) {
    BOTH(21, "8000", "-32768", IS(chopin_pg_i16, -32768); IS(chopin_pg_i64, -32768); SAYS("-32768"));
    BOTH(21, "7fff", "32767", IS(chopin_pg_i16, 32767); IS(chopin_pg_u32, 32767));
    BOTH(23, "00007fff", "32767", IS(chopin_pg_i16, 32767));
    REFUSED(23, "00008000", chopin_pg_i16(r, 0), RANGE);
    REFUSED_TEXT(23, "32768", chopin_pg_i16(r, 0), RANGE);
    REFUSED(23, "ffff7fff", chopin_pg_i16(r, 0), RANGE);
    REFUSED_TEXT(25, "-32769", chopin_pg_i16(r, 0), RANGE);
}
static void int4_has_its_limits(void) {
    BOTH(23, "80000000", "-2147483648", IS(chopin_pg_i32, INT32_MIN); IS(chopin_pg_i64, INT32_MIN); SAYS("-2147483648"));
    BOTH(23, "7fffffff", "2147483647", IS(chopin_pg_i32, INT32_MAX));
    BOTH(20, "ffffffff80000000", "-2147483648", IS(chopin_pg_i32, INT32_MIN));
    REFUSED(20, "0000000080000000", chopin_pg_i32(r, 0), RANGE);
    REFUSED_TEXT(20, "2147483648", chopin_pg_i32(r, 0), RANGE);
    REFUSED(20, "ffffffff7fffffff", chopin_pg_i32(r, 0), RANGE);
    REFUSED(23, "ffffffff", chopin_pg_u32(r, 0), RANGE);
    REFUSED_TEXT(23, "-1", chopin_pg_u64(r, 0), RANGE);
}
static void int8_has_its_limits(void) {
    BOTH(20, "8000000000000000", "-9223372036854775808", IS(chopin_pg_i64, INT64_MIN); SAYS("-9223372036854775808"); CHECK_EQ_INT(chopin_pg_decimal(r, 0, 0), INT64_MIN));
    BOTH(20, "7fffffffffffffff", "9223372036854775807", IS(chopin_pg_i64, INT64_MAX); CHECK(chopin_pg_u64(r, 0) == INT64_MAX); CHECK_STR(chopin_pg_numeric(r, 0), "9223372036854775807"));
    REFUSED_TEXT(25, "9223372036854775808", chopin_pg_i64(r, 0), RANGE);
    REFUSED_TEXT(25, "-9223372036854775809", chopin_pg_i64(r, 0), RANGE);
    REFUSED_TEXT(25, "99999999999999999999999999", chopin_pg_u64(r, 0), RANGE);
    REFUSED(20, "7fffffffffffffff", chopin_pg_decimal(r, 0, 1), RANGE);
}
static void oid_is_over_two_to_the_31(void) {
    BOTH(26, "80000001", "2147483649", CHECK(chopin_pg_u32(r, 0) == 2147483649u); IS(chopin_pg_i64, 2147483649LL); CHECK(chopin_pg_f64(r, 0) == 2147483649.0); SAYS("2147483649"));
    BOTH(26, "ffffffff", "4294967295", CHECK(chopin_pg_u32(r, 0) == UINT32_MAX); SAYS("4294967295"));
    REFUSED(26, "80000001", chopin_pg_i32(r, 0), RANGE);
    REFUSED_TEXT(26, "2147483649", chopin_pg_i32(r, 0), RANGE);
}
static void an_integer_of_the_wrong_length_is_its_columns_error(void) {
    REFUSED(23, "", chopin_pg_i32(r, 0), BROKEN);
    REFUSED(23, "01", chopin_pg_i32(r, 0), BROKEN);
    REFUSED(20, "01", chopin_pg_i64(r, 0), BROKEN);
    REFUSED(20, "0000000000000001ff", chopin_pg_i64(r, 0), BROKEN);
    REFUSED(21, "000001", chopin_pg_text(r, 0), BROKEN);
    REFUSED_TEXT(23, "", chopin_pg_i32(r, 0), TYPE);
    REFUSED_TEXT(23, "1x", chopin_pg_i32(r, 0), TYPE);
    REFUSED_TEXT(23, "--1", chopin_pg_i32(r, 0), TYPE);
    REFUSED_TEXT(25, "1 2", chopin_pg_i32(r, 0), TYPE);
    REFUSED_TEXT(25, "0x10", chopin_pg_i32(r, 0), TYPE);
}

/* ---- floats ---- */
static void floats_are_exact_in_both_formats(void) {
    BOTH(701, "7ff8000000000000", "NaN", CHECK(isnan(chopin_pg_f64(r, 0))); CHECK(isnan(chopin_pg_f32(r, 0))); SAYS("NaN"); CHECK_STR(chopin_pg_numeric(r, 0), "NaN"));
    BOTH(701, "7ff0000000000000", "Infinity", CHECK(isinf(chopin_pg_f64(r, 0)) && chopin_pg_f64(r, 0) > 0); SAYS("Infinity"));
    BOTH(701, "fff0000000000000", "-Infinity", CHECK(isinf(chopin_pg_f64(r, 0)) && chopin_pg_f64(r, 0) < 0); CHECK(isinf(chopin_pg_f32(r, 0))); SAYS("-Infinity"));
    BOTH(701, "8000000000000000", "-0", CHECK(chopin_pg_f64(r, 0) == 0 && signbit(chopin_pg_f64(r, 0))); SAYS("-0"); IS(chopin_pg_i32, 0));
    BOTH(701, "0000000000000001", "5e-324", CHECK(chopin_pg_f64(r, 0) > 0 && chopin_pg_f64(r, 0) / 2 == 0); SAYS("5e-324"));
    BOTH(701, "3fb999999999999a", "0.1", CHECK(chopin_pg_f64(r, 0) == 0.1); SAYS("0.1"); CHECK_EQ_INT(chopin_pg_decimal(r, 0, 3), 100));
    BOTH(701, "7fefffffffffffff", "1.7976931348623157e+308", SAYS("1.7976931348623157e+308"));
    BOTH(701, "430c6bf526340000", "1e+15", SAYS("1e+15"); IS(chopin_pg_i64, 1000000000000000LL));
    BOTH(700, "00000001", "1e-45", CHECK(chopin_pg_f32(r, 0) > 0); SAYS("1e-45"));
    BOTH(700, "3dcccccd", "0.1", CHECK(chopin_pg_f32(r, 0) == 0.1f); CHECK(chopin_pg_f64(r, 0) == (double)0.1f); SAYS("0.1"));
    BOTH(700, "49742400", "1e+06", SAYS("1e+06"); IS(chopin_pg_i32, 1000000));
    BOTH(700, "7f7fffff", "3.4028235e+38", SAYS("3.4028235e+38"));
}
static void a_whole_float_is_an_integer_another_is_not(void) {
    BOTH(701, "4000000000000000", "2", IS(chopin_pg_i32, 2); IS(chopin_pg_i16, 2));
    REFUSED(701, "3ff8000000000000", chopin_pg_i32(r, 0), RANGE);
    REFUSED_TEXT(701, "1.5", chopin_pg_i32(r, 0), RANGE);
    REFUSED(701, "7ff8000000000000", chopin_pg_i64(r, 0), RANGE);
    REFUSED_TEXT(701, "NaN", chopin_pg_i64(r, 0), RANGE);
    REFUSED(701, "43e0000000000000", chopin_pg_i64(r, 0), RANGE);                      // 2^63
    BINARY(701, "43e0000000000000", CHECK(chopin_pg_u64(r, 0) == (uint64_t)1 << 63));
    BOTH(701, "c3e0000000000000", "-9.223372036854775808e18", IS(chopin_pg_i64, INT64_MIN));
    REFUSED(701, "7e37e43c8800759c", chopin_pg_f32(r, 0), RANGE);                      // 1e300
    REFUSED_TEXT(701, "1e300", chopin_pg_f32(r, 0), RANGE);
    REFUSED(701, "3ff80000", chopin_pg_f64(r, 0), BROKEN);
}
static void no_locale_is_asked(void) {
    setlocale(LC_ALL, "de_DE.UTF-8");
    TEXT(701, "1.5", CHECK(chopin_pg_f64(r, 0) == 1.5));
    BINARY(701, "3ff8000000000000", SAYS("1.5"));
    TEXT(1700, "1234.5", CHECK_EQ_INT(chopin_pg_decimal(r, 0, 1), 12345));
    REFUSED_TEXT(701, "1,5", chopin_pg_f64(r, 0), TYPE);
    setlocale(LC_ALL, "C");
}

/* ---- numeric ---- */
static void numeric_zero_keeps_its_scale(void) {
    BOTH(1700, "0000000000000004", "0.0000", SAYS("0.0000"); CHECK_STR(chopin_pg_numeric(r, 0), "0.0000"); CHECK_EQ_INT(chopin_pg_decimal(r, 0, 0), 0); CHECK(chopin_pg_f64(r, 0) == 0));
    BOTH(1700, "0000000000000000", "0", SAYS("0"));
    BINARY(1700, "0000000040000000", SAYS("0"));                                       // no minus zero
}
static void numeric_small_numbers_are_exact(void) {
    BOTH(1700, "0001fffe00000008 04d2", "0.00001234", SAYS("0.00001234"); CHECK_EQ_INT(chopin_pg_decimal(r, 0, 8), 1234); CHECK(chopin_pg_f64(r, 0) == 0.00001234));
    BOTH(1700, "0001fffe40000005 1388", "-0.00005", SAYS("-0.00005"); CHECK_EQ_INT(chopin_pg_decimal(r, 0, 5), -5));
    BOTH(1700, "0002000000000001 00011388", "1.5", SAYS("1.5"); CHECK(chopin_pg_f32(r, 0) == 1.5f));
}
static void numeric_zero_groups_are_kept(void) {
    BOTH(1700, "0001000100000000 0001", "10000", SAYS("10000"); IS(chopin_pg_i32, 10000));
    BOTH(1700, "0001000500000000 0001", "100000000000000000000", SAYS("100000000000000000000"); CHECK(chopin_pg_f64(r, 0) == 1e20));
    BOTH(1700, "0005000200000008 00010000000000000001", "100000000.00000001", SAYS("100000000.00000001"); CHECK_EQ_INT(chopin_pg_decimal(r, 0, 8), 10000000000000001LL));
    REFUSED(1700, "0001000500000000 0001", chopin_pg_i64(r, 0), RANGE);
}
static void numeric_of_a_thousand_places(void) {
    ROW(row_hex(&row_, 1700, "0001ff06000003e8 0001"), {                              // 1e-1000
        chopin_str s = chopin_pg_text(r, 0);
        CHECK_EQ_INT(s.len, 1002);
        CHECK(s.ptr[0] == '0' && s.ptr[1] == '.' && s.ptr[1001] == '1');
        CHECK(chopin_pg_f64(r, 0) == 0);
    });
}
static void numeric_not_finite(void) {
    BOTH(1700, "00000000c0000000", "NaN", SAYS("NaN"); CHECK(isnan(chopin_pg_f64(r, 0))); CHECK_STR(chopin_pg_numeric(r, 0), "NaN"));
    BOTH(1700, "00000000d0000020", "Infinity", SAYS("Infinity"); CHECK(isinf(chopin_pg_f64(r, 0))));
    BOTH(1700, "00000000f0000020", "-Infinity", SAYS("-Infinity"); CHECK(chopin_pg_f64(r, 0) < 0));
    REFUSED(1700, "00000000c0000000", chopin_pg_decimal(r, 0, 2), RANGE);
    REFUSED_TEXT(1700, "Infinity", chopin_pg_i64(r, 0), RANGE);
}
static void decimal_that_loses_digits_is_an_error(void) {
    BOTH(1700, "0002000000000002 007b11cb", "123.4555", CHECK_EQ_INT(chopin_pg_decimal(r, 0, 4), 1234555));
    REFUSED(1700, "0002000000000002 007b11cb", chopin_pg_decimal(r, 0, 2), RANGE);
    REFUSED_TEXT(1700, "123.4555", chopin_pg_decimal(r, 0, 3), RANGE);
    BOTH(1700, "0002000000000003 007b1194", "123.450", CHECK_EQ_INT(chopin_pg_decimal(r, 0, 2), 12345));     // a zero is no loss
    TEXT(1700, "12300", CHECK_EQ_INT(chopin_pg_decimal(r, 0, -2), 123));
    REFUSED_TEXT(1700, "12345", chopin_pg_decimal(r, 0, -2), RANGE);
    REFUSED_TEXT(1700, "1", chopin_pg_decimal(r, 0, 19), RANGE);
    TEXT(1700, "-9.223372036854775808", CHECK_EQ_INT(chopin_pg_decimal(r, 0, 18), INT64_MIN));
    REFUSED_TEXT(1700, "9.223372036854775808", chopin_pg_decimal(r, 0, 18), RANGE);
}
static void numeric_broken_is_refused(void) {
    REFUSED(1700, "", chopin_pg_text(r, 0), BROKEN);
    REFUSED(1700, "00010000000000", chopin_pg_text(r, 0), BROKEN);
    REFUSED(1700, "0002000000000000 0001", chopin_pg_text(r, 0), BROKEN);              // two groups announced
    REFUSED(1700, "ffff000000000000 0001", chopin_pg_f64(r, 0), BROKEN);
    REFUSED(1700, "0001000000000000 2710", chopin_pg_text(r, 0), BROKEN);              // 10000 is no group
    REFUSED(1700, "0001000012340000 0001", chopin_pg_text(r, 0), BROKEN);              // sign
    REFUSED(1700, "0001000000004000 0001", chopin_pg_text(r, 0), BROKEN);              // scale
    REFUSED_TEXT(1700, "1.2.3", chopin_pg_f64(r, 0), TYPE);
    REFUSED_TEXT(1700, "1e", chopin_pg_f64(r, 0), TYPE);
    REFUSED_TEXT(1700, "1e999999999999999999999", chopin_pg_f64(r, 0), RANGE);
}

/* ---- money ---- */
static void money_is_its_smallest_unit(void) {
    BOTH(790, "ffffffffffffff6a", "-$1.50", IS(chopin_pg_i64, -150));
    BOTH(790, "00000000075bcd15", "$1,234,567.89", IS(chopin_pg_i64, 123456789));
    TEXT(790, "-1,50 \xe2\x82\xac", IS(chopin_pg_i64, -150));
    TEXT(790, "($1.50)", IS(chopin_pg_i64, -150));
    TEXT(790, "\xc2\xa5""1,235", IS(chopin_pg_i64, 1235));                             // a currency without decimals
    TEXT(790, "-$1.50", SAYS("-$1.50"));                                               // as sent
    TEXT(790, "-$92,233,720,368,547,758.08", IS(chopin_pg_i64, INT64_MIN));
    REFUSED_TEXT(790, "$92,233,720,368,547,758.08", chopin_pg_i64(r, 0), RANGE);
    REFUSED(790, "ffffffffffffff6a", chopin_pg_text(r, 0), TYPE);
    CHECK(!chopin_pg__oid_binary(790) && !chopin_pg__oid_binary(791));
}

/* ---- text ---- */
static void text_is_a_view_of_what_was_sent(void) {
    static const uint32_t oids[] = { 25, 1043, 1042, 19, 114, 705, 2275, 1790 };
    for (size_t i = 0; i < sizeof oids / sizeof oids[0]; i++) {
        BOTH(oids[i], "6162", "ab", SAYS("ab"); CHECK(chopin_pg_text(r, 0).ptr == (const char *)r->cells[0].ptr));
        BOTH(oids[i], "", "", CHECK(chopin_pg_text(r, 0).ptr != NULL); CHECK_EQ_INT(chopin_pg_text(r, 0).len, 0); CHECK(!chopin_pg_is_null(r, 0)));
    }
    BOTH(1042, "61622020", "ab  ", SAYS("ab  "));                                      // padding is kept
    BOTH(25, "f09f9880", "\xf0\x9f\x98\x80", SAYS("\xf0\x9f\x98\x80"));
    TEXT(142, "<a/>", SAYS("<a/>"));
    TEXT(987654, "happy", SAYS("happy"));                                              // an enum, whatever its oid is today
    TEXT(987655, "happy", SAYS("happy"));
}
static void text_needs_utf8(void) {
    ROW(row_text(&row_, 25, "a"), { r->session.not_utf8 = true; chopin_pg_text(r, 0); CHECK_EQ_INT(r->object.status, TYPE); CHECK(strstr(row_why(&row_), "client_encoding") != NULL); });
}
static void types_without_a_codec_are_asked_as_text(void) {
    static const uint32_t asked[] = { 24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191, 3614, 3615, 1033, 1034, 142, 143, 2249, 2287, 2278, 987654, 0, 2210 };
    static const uint32_t ours[] = { 16, 17, 18, 20, 21, 23, 25, 26, 27, 28, 29, 114, 600, 601, 602, 603, 604, 628, 650, 700, 701, 718, 774, 829, 869, 1000, 1007, 1009, 1042, 1082, 1083, 1114, 1184, 1186,
        1231, 1266, 1560, 1562, 1700, 2950, 3220, 3802, 3904, 3905, 4072, 4451, 5069, 6150 };
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) CHECK(!chopin_pg__oid_binary(asked[i]));
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) CHECK(chopin_pg__oid_binary(ours[i]));
    TEXT(1033, "tester=r/tester", SAYS("tester=r/tester"));
    TEXT(3614, "'a' 'b':1", SAYS("'a' 'b':1"));
    TEXT(2205, "pg_class", SAYS("pg_class"));
    TEXT(2278, "", SAYS(""));                                                          // void
    REFUSED(987654, "00000001", chopin_pg_text(r, 0), TYPE);                           // binary of a type we do not know
    BINARY(987654, "4142", CHECK_STR(chopin_pg_bytes(r, 0), "AB"));
    REFUSED(2205, "00000001", chopin_pg_text(r, 0), TYPE);
}

/* ---- json ---- */
static void jsonb_has_a_version_and_json_its_spaces(void) {
    BOTH(114, "7b20227822203a2031207d", "{ \"x\" : 1 }", CHECK_STR(chopin_pg_json(r, 0), "{ \"x\" : 1 }"));
    BINARY(3802, "017b7d", CHECK_STR(chopin_pg_json(r, 0), "{}"); SAYS("{}"));
    TEXT(3802, "{}", CHECK_STR(chopin_pg_json(r, 0), "{}"));
    BOTH(3802, "0131", "1", SAYS("1"));
    BOTH(3802, "016e756c6c", "null", SAYS("null"); CHECK(!chopin_pg_is_null(r, 0)));
    BOTH(4072, "0124", "$", SAYS("$"));
    REFUSED(3802, "027b7d", chopin_pg_json(r, 0), BROKEN);
    REFUSED(3802, "", chopin_pg_json(r, 0), BROKEN);
    REFUSED(23, "00000001", chopin_pg_json(r, 0), TYPE);
}
static void json_of_a_megabyte(void) {
    size_t n = 1 << 20;
    char  *big = malloc(n + 1);
    memset(big, ' ', n);
    big[0] = 1;
    ROW(row_binary(&row_, 3802, big, n), CHECK_EQ_INT(chopin_pg_json(r, 0).len, n - 1));
    free(big);
}

/* ---- bytea, uuid ---- */
static void bytea_in_all_its_styles(void) {
    BOTH(17, "410042ff", "\\x410042ff", CHECK(chopin_pg_bytes(r, 0).len == 4 && memcmp(chopin_pg_bytes(r, 0).ptr, "A\0B\xff", 4) == 0); SAYS("\\x410042ff"));
    BOTH(17, "", "\\x", CHECK(chopin_pg_bytes(r, 0).ptr != NULL); CHECK_EQ_INT(chopin_pg_bytes(r, 0).len, 0); SAYS("\\x"));
    TEXT(17, "A\\000B\\377", SAYS("\\x410042ff"));                                     // style escape
    TEXT(17, "\\\\a", SAYS("\\x5c61"));
    TEXT(17, "", CHECK_EQ_INT(chopin_pg_bytes(r, 0).len, 0); SAYS("\\x"));
    TEXT(17, "\\xAbCd", SAYS("\\xabcd"));
    TEXT(25, "abc", CHECK_STR(chopin_pg_bytes(r, 0), "abc"));
    REFUSED_TEXT(17, "\\x4", chopin_pg_bytes(r, 0), TYPE);
    REFUSED_TEXT(17, "\\x4g", chopin_pg_bytes(r, 0), TYPE);
    REFUSED_TEXT(17, "\\9", chopin_pg_bytes(r, 0), TYPE);
    REFUSED_TEXT(17, "\\400", chopin_pg_bytes(r, 0), TYPE);
    REFUSED_TEXT(17, "a\\", chopin_pg_bytes(r, 0), TYPE);
    REFUSED(23, "00000001", chopin_pg_bytes(r, 0), TYPE);
}
static void bytea_of_ten_megabytes(void) {
    size_t n = 10u << 20;
    char  *big = malloc(2 * n + 2);
    memset(big, '4', 2 * n + 2);
    memcpy(big, "\\x", 2);
    ROW(row_binary(&row_, 17, big, n), CHECK_EQ_INT(chopin_pg_bytes(r, 0).len, n); CHECK_EQ_INT(chopin_pg_text(r, 0).len, 2 * n + 2));
    row_t row;
    row_init(&row, false);
    row_add(&row, 17, big, 2 * n + 2);
    chopin_str s = chopin_pg_bytes(row.r, 0);
    CHECK_EQ_INT(s.len, n);
    CHECK(s.ptr[n - 1] == 'D');
    row_done(&row);
    free(big);
}
static void uuid_in_odd_forms(void) {
    static const char want[] = "\xa0\xee\xbc\x99\x9c\x0b\x4e\xf8\xbb\x6d\x6b\xb9\xbd\x38\x0a\x11";
    BOTH(2950, "a0eebc999c0b4ef8bb6d6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", CHECK(memcmp(chopin_pg_uuid(r, 0).bytes, want, 16) == 0); SAYS("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"));
    TEXT(25, "{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}", CHECK(memcmp(chopin_pg_uuid(r, 0).bytes, want, 16) == 0));
    TEXT(25, "a0eebc999c0b4ef8bb6d6bb9bd380a11", CHECK(memcmp(chopin_pg_uuid(r, 0).bytes, want, 16) == 0));
    TEXT(25, "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11", CHECK(memcmp(chopin_pg_uuid(r, 0).bytes, want, 16) == 0));
    REFUSED(2950, "a0eebc999c0b4ef8bb6d6bb9bd380a", chopin_pg_uuid(r, 0), BROKEN);
    REFUSED_TEXT(25, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1", chopin_pg_uuid(r, 0), TYPE);
    REFUSED_TEXT(25, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1111", chopin_pg_uuid(r, 0), TYPE);
    REFUSED_TEXT(25, "g0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", chopin_pg_uuid(r, 0), TYPE);
    REFUSED(23, "00000001", chopin_pg_uuid(r, 0), TYPE);
}

/* ---- dates and times ---- */
static void date_reaches_from_4714_bc_to_5874897(void) {
    BOTH(1082, "ffda9915", "4713-11-24 BC", CHECK_EQ_INT(chopin_pg_date(r, 0).days, -2451179 + 10957); SAYS("4713-11-24 BC"));
    BOTH(1082, "ffda97a7", "4714-11-24 BC", CHECK_EQ_INT(chopin_pg_date(r, 0).days, -2451545 + 10957); SAYS("4714-11-24 BC"));
    BOTH(1082, "7fda970c", "5874897-12-31", CHECK_EQ_INT(chopin_pg_date(r, 0).days, 2145042905); SAYS("5874897-12-31"));
    BOTH(1082, "00000000", "2000-01-01", CHECK_EQ_INT(chopin_pg_date(r, 0).days, 10957));
    BOTH(1082, "ffffd533", "1970-01-01", CHECK_EQ_INT(chopin_pg_date(r, 0).days, 0));
    BOTH(1082, "0000003b", "2000-02-29", SAYS("2000-02-29"));
    BOTH(1082, "fff4dbf8", "0001-12-31 BC", SAYS("0001-12-31 BC"));
    BOTH(1082, "fff4dbf7", "0001-12-30 BC", SAYS("0001-12-30 BC"));
}
static void infinity_comes_before_arithmetic(void) {
    BOTH(1082, "7fffffff", "infinity", CHECK_EQ_INT(chopin_pg_date(r, 0).days, INT32_MAX); SAYS("infinity"); CHECK_EQ_INT(chopin_pg_time(r, 0).us, INT64_MAX));
    BOTH(1082, "80000000", "-infinity", CHECK_EQ_INT(chopin_pg_date(r, 0).days, INT32_MIN); SAYS("-infinity"); CHECK_EQ_INT(chopin_pg_time(r, 0).us, INT64_MIN));
    BOTH(1184, "7fffffffffffffff", "infinity", CHECK_EQ_INT(chopin_pg_time(r, 0).us, INT64_MAX); SAYS("infinity"));
    BOTH(1114, "8000000000000000", "-infinity", CHECK_EQ_INT(chopin_pg_time(r, 0).us, INT64_MIN); SAYS("-infinity"));
    REFUSED(1082, "7ffffffe", chopin_pg_date(r, 0), RANGE);                            // what no server sends
    REFUSED(1184, "7ffffffffffffffe", chopin_pg_time(r, 0), RANGE);
}
static void date_needs_iso_and_says_so(void) {
    ROW(row_text(&row_, 1082, "31.12.1999"), {
        r->session.not_iso = true;
        chopin_pg_date(r, 0);
        CHECK_EQ_INT(r->object.status, TYPE);
        CHECK(strstr(row_why(&row_), "DateStyle") != NULL);
    });
    REFUSED_TEXT(1082, "12/31/1999", chopin_pg_date(r, 0), TYPE);
    REFUSED_TEXT(1082, "12-31-1999", chopin_pg_date(r, 0), TYPE);
    REFUSED_TEXT(1082, "1999-02-29", chopin_pg_date(r, 0), TYPE);
    REFUSED_TEXT(1082, "1999-13-01", chopin_pg_date(r, 0), TYPE);
    REFUSED_TEXT(1082, "0000-01-01", chopin_pg_date(r, 0), TYPE);
    REFUSED_TEXT(1082, "1999-01-01x", chopin_pg_date(r, 0), TYPE);
    REFUSED(1114, "0000000000000000", chopin_pg_date(r, 0), TYPE);
}
static void time_24_is_not_time_0(void) {
    BOTH(1083, "000000141dd76000", "24:00:00", CHECK_EQ_INT(chopin_pg_clock(r, 0).us, 86400000000LL); SAYS("24:00:00"); CHECK(!chopin_pg_clock(r, 0).zoned));
    BOTH(1083, "0000000000000000", "00:00:00", CHECK_EQ_INT(chopin_pg_clock(r, 0).us, 0); SAYS("00:00:00"));
    TEXT(1083, "23:59:60", CHECK_EQ_INT(chopin_pg_clock(r, 0).us, 86400000000LL));
    BOTH(1083, "0000000000000001", "00:00:00.000001", SAYS("00:00:00.000001"));
    BOTH(1083, "000000141dd75fff", "23:59:59.999999", SAYS("23:59:59.999999"));
    REFUSED(1083, "000000141dd76001", chopin_pg_clock(r, 0), BROKEN);
    REFUSED(1083, "ffffffffffffffff", chopin_pg_clock(r, 0), BROKEN);
    REFUSED_TEXT(1083, "24:00:01", chopin_pg_clock(r, 0), TYPE);
    REFUSED_TEXT(1083, "12:60:00", chopin_pg_clock(r, 0), TYPE);
    REFUSED_TEXT(1083, "12:00:00+02", chopin_pg_time(r, 0), TYPE);
}
static void timetz_counts_to_the_west(void) {
    BOTH(1266, "0000000000000000 ffffe3e0", "00:00:00+02", CHECK_EQ_INT(chopin_pg_clock(r, 0).east, 7200); CHECK(chopin_pg_clock(r, 0).zoned); SAYS("00:00:00+02"));
    BOTH(1266, "0000000000000000 ffff1f01", "00:00:00+15:59:59", CHECK_EQ_INT(chopin_pg_clock(r, 0).east, 57599); SAYS("00:00:00+15:59:59"));
    BOTH(1266, "0000000000000000 00003138", "00:00:00-03:30", CHECK_EQ_INT(chopin_pg_clock(r, 0).east, -12600); SAYS("00:00:00-03:30"));
    REFUSED(1266, "0000000000000000 80000000", chopin_pg_clock(r, 0), BROKEN);
    REFUSED(1266, "0000000000000000 0000e100", chopin_pg_clock(r, 0), BROKEN);
    REFUSED(1266, "0000000000000000", chopin_pg_clock(r, 0), BROKEN);
}
static void timestamps_round_down_not_to_zero(void) {
    BOTH(1114, "ffffffffffffffff", "1999-12-31 23:59:59.999999", CHECK_EQ_INT(chopin_pg_time(r, 0).us, 946684799999999LL); SAYS("1999-12-31 23:59:59.999999"));
    BOTH(1114, "0000000000000000", "2000-01-01 00:00:00", CHECK_EQ_INT(chopin_pg_time(r, 0).us, 946684800000000LL); SAYS("2000-01-01 00:00:00"));
    BOTH(1184, "fffca2fec4c81fff", "1969-12-31 23:59:59.999999+00", CHECK_EQ_INT(chopin_pg_time(r, 0).us, -1));
    TEXT(25, "2024-01-02", CHECK_EQ_INT(chopin_pg_time(r, 0).us, 1704153600000000LL));
    TEXT(25, "2024-01-02T03:04:05Z", CHECK_EQ_INT(chopin_pg_time(r, 0).us, 1704164645000000LL));
    BOTH(1082, "0000223f", "2024-01-02", CHECK_EQ_INT(chopin_pg_time(r, 0).us, 1704153600000000LL));
}
static void timestamps_of_the_far_years(void) {
    BINARY(1114, "7fffff5bb3b29fff", SAYS("294276-12-31 23:59:59.999999"));
    TEXT(1114, "294276-12-31 23:59:59.999999", SAYS("294276-12-31 23:59:59.999999"));
    REFUSED(1114, "7fffff5bb3b29fff", chopin_pg_time(r, 0), RANGE);                    // 30 years too late for 1970
    REFUSED_TEXT(1114, "294276-12-31 23:59:59.999999", chopin_pg_time(r, 0), RANGE);
    TEXT(1114, "294247-01-10 04:00:54.775806", CHECK_EQ_INT(chopin_pg_time(r, 0).us, INT64_MAX - 1));
    REFUSED_TEXT(1114, "294247-01-10 04:00:54.775807", chopin_pg_time(r, 0), RANGE);   // would be infinity
    REFUSED_TEXT(1114, "999999-01-01 00:00:00", chopin_pg_time(r, 0), RANGE);
    TEXT(1114, "4714-11-24 00:00:00 BC", CHECK_EQ_INT(chopin_pg_time(r, 0).us, -210866803200000000LL));
    TEXT(1114, "0044-03-15 12:00:00 BC", SAYS("0044-03-15 12:00:00 BC"));
}
static void zones_have_seconds(void) {
    TEXT(1184, "1800-01-01 00:19:32+00:19:32", CHECK_EQ_INT(chopin_pg_time(r, 0).us, -5364662400000000LL); SAYS("1800-01-01 00:00:00+00"));    // Amsterdam
    TEXT(1184, "2024-01-02 03:04:05.5-03:30", SAYS("2024-01-02 06:34:05.5+00"));
    TEXT(1184, "0001-01-01 00:00:00+00 BC", SAYS("0001-01-01 00:00:00+00 BC"));
    TEXT(1184, "0001-01-01 00:30:00+01", SAYS("0001-12-31 23:30:00+00 BC"));
    REFUSED_TEXT(1184, "2024-01-02 03:04:05 CET", chopin_pg_time(r, 0), TYPE);
    REFUSED_TEXT(1184, "2024-01-02 03:04:05+16", chopin_pg_time(r, 0), TYPE);
    REFUSED_TEXT(1184, "2024-01-02 03:04:05.1234567", chopin_pg_time(r, 0), TYPE);
    REFUSED(1184, "00000000", chopin_pg_time(r, 0), BROKEN);
    REFUSED(1083, "0000000000000000", chopin_pg_time(r, 0), TYPE);
}
static bool interval_is(chopin_interval v, int64_t us, int32_t days, int32_t months) { return v.us == us && v.days == days && v.months == months; }
static void intervals_are_never_folded(void) {
    BOTH(1186, "ffffffffffffffff 00000001 ffffffff", "-1 mons +1 day -00:00:00.000001", CHECK(interval_is(chopin_pg_interval(r, 0), -1, 1, -1)); SAYS("-1 mons +1 day -00:00:00.000001"));
    BOTH(1186, "000000036c966ee0 fffffffd 0000000e", "1 year 2 mons -3 days +04:05:06.7", CHECK(interval_is(chopin_pg_interval(r, 0), 14706700000LL, -3, 14)));
    BOTH(1186, "0000000000000000 00000000 00000000", "00:00:00", CHECK(interval_is(chopin_pg_interval(r, 0), 0, 0, 0)); SAYS("00:00:00"));
    BOTH(1186, "0000001a140c5d00 00000064 00000000", "100 days 31:06:45.504256", CHECK(chopin_pg_interval(r, 0).days == 100));
    REFUSED(1186, "0000000000000000 00000000", chopin_pg_interval(r, 0), BROKEN);
}
static void intervals_in_three_styles(void) {
    TEXT(1186, "P1Y2M-3DT4H5M6.7S", CHECK(interval_is(chopin_pg_interval(r, 0), 14706700000LL, -3, 14)); SAYS("1 year 2 mons -3 days +04:05:06.7"));
    TEXT(1186, "PT0S", CHECK(interval_is(chopin_pg_interval(r, 0), 0, 0, 0)));
    TEXT(1186, "PT-0.1S", CHECK(interval_is(chopin_pg_interval(r, 0), -100000, 0, 0)));
    TEXT(1186, "+1-2 -3 +4:05:06.7", CHECK(interval_is(chopin_pg_interval(r, 0), 14706700000LL, -3, 14)));
    TEXT(1186, "-1-2", CHECK(interval_is(chopin_pg_interval(r, 0), 0, 0, -14)));
    TEXT(1186, "-3 4:05:06", CHECK(interval_is(chopin_pg_interval(r, 0), -14706000000LL, -3, 0)));         // sql_standard: one sign for both
    TEXT(1186, "-3 days 04:05:06", CHECK(interval_is(chopin_pg_interval(r, 0), 14706000000LL, -3, 0)));    // postgres: not
    TEXT(1186, "-4:05:06", CHECK(interval_is(chopin_pg_interval(r, 0), -14706000000LL, 0, 0)));
    TEXT(1186, "0", CHECK(interval_is(chopin_pg_interval(r, 0), 0, 0, 0)));
    TEXT(1186, "2562047788:00:54.775807", CHECK(interval_is(chopin_pg_interval(r, 0), INT64_MAX, 0, 0)));
    TEXT(1186, "-178956970 years -8 mons -2147483648 days", CHECK(interval_is(chopin_pg_interval(r, 0), 0, INT32_MIN, INT32_MIN)));
    REFUSED_TEXT(1186, "178956970 years 8 mons", chopin_pg_interval(r, 0), RANGE);
    REFUSED_TEXT(1186, "2147483648 days", chopin_pg_interval(r, 0), RANGE);
    REFUSED_TEXT(1186, "9999999999:00:00", chopin_pg_interval(r, 0), TYPE);
    REFUSED_TEXT(1186, "1 fortnight", chopin_pg_interval(r, 0), TYPE);
    REFUSED_TEXT(1186, "", chopin_pg_interval(r, 0), TYPE);
    REFUSED_TEXT(1186, "P", chopin_pg_interval(r, 0), TYPE);
    REFUSED_TEXT(1186, "P1.5Y", chopin_pg_interval(r, 0), TYPE);
}
static void interval_verbose_is_a_named_error(void) {
    ROW(row_text(&row_, 1186, "@ 1 year 2 mons ago"), {
        r->session.interval_style = CHOPIN_PG__STYLE_VERBOSE;
        chopin_pg_interval(r, 0);
        CHECK_EQ_INT(r->object.status, TYPE);
        CHECK(strstr(row_why(&row_), "IntervalStyle") != NULL);
    });
}
static void interval_infinity_of_postgresql_17(void) {
    BOTH(1186, "7fffffffffffffff 7fffffff 7fffffff", "infinity", CHECK(interval_is(chopin_pg_interval(r, 0), INT64_MAX, INT32_MAX, INT32_MAX)); SAYS("infinity"));
    BOTH(1186, "8000000000000000 80000000 80000000", "-infinity", CHECK(interval_is(chopin_pg_interval(r, 0), INT64_MIN, INT32_MIN, INT32_MIN)); SAYS("-infinity"));
}

/* ---- networks, bits ---- */
static void inet_prints_no_host_bits(void) {
    BOTH(869, "022000040a000001", "10.0.0.1", CHECK_EQ_INT(chopin_pg_inet(r, 0).bits, 32); CHECK_EQ_INT(chopin_pg_inet(r, 0).len, 4); SAYS("10.0.0.1"));
    BOTH(869, "020800040a000001", "10.0.0.1/8", CHECK_EQ_INT(chopin_pg_inet(r, 0).bits, 8); SAYS("10.0.0.1/8"));
    BOTH(869, "0200000400000000", "0.0.0.0/0", SAYS("0.0.0.0/0"));
    BOTH(650, "022001040a000001", "10.0.0.1/32", CHECK(chopin_pg_inet(r, 0).cidr); SAYS("10.0.0.1/32"));
    BOTH(869, "0380001000000000000000000000000000000001", "::1", CHECK_EQ_INT(chopin_pg_inet(r, 0).bytes[15], 1); SAYS("::1"));
    BOTH(869, "0340001020010db8000000000000000000000001", "2001:db8::1/64", SAYS("2001:db8::1/64"));
    BOTH(869, "0380001000000000000000000000ffff01020304", "::ffff:1.2.3.4", SAYS("::ffff:1.2.3.4"));
    TEXT(25, "1:2:3:4:5:6:7::", CHECK_EQ_INT(chopin_pg_inet(r, 0).bytes[13], 7); CHECK_EQ_INT(chopin_pg_inet(r, 0).bytes[15], 0));
    TEXT(25, "::2:3:4:5:6:7:8", CHECK_EQ_INT(chopin_pg_inet(r, 0).bytes[3], 2); CHECK_EQ_INT(chopin_pg_inet(r, 0).bytes[1], 0));
    TEXT(25, "1:2:3:4:5:6:1.2.3.4", CHECK_EQ_INT(chopin_pg_inet(r, 0).bytes[12], 1));
}
static void inet_broken_is_refused(void) {
    REFUSED(869, "042000040a000001", chopin_pg_inet(r, 0), BROKEN);                    // family 4
    REFUSED(869, "022100040a000001", chopin_pg_inet(r, 0), BROKEN);                    // 33 bits
    REFUSED(869, "022000100a000001", chopin_pg_inet(r, 0), BROKEN);
    REFUSED(869, "022000040a0000", chopin_pg_inet(r, 0), BROKEN);
    REFUSED(869, "0220", chopin_pg_inet(r, 0), BROKEN);
    REFUSED(869, "022002040a000001", chopin_pg_inet(r, 0), BROKEN);
    static const char *const bad[] = { "10.0.0", "10.0.0.256", "10.0.0.1/33", "10.0.0.1/", "::1::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "12345::", ":1", "1:", "::1/129", "", "1.2.3.4.5", "1:2:3:4:5:6:7::8:9", "::1.2.3", "1:2:3:4:5:6:7:8:", "1:2:3:4:5:6:7:8::" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) REFUSED_TEXT(25, bad[i], chopin_pg_inet(r, 0), TYPE);
}
static void mac_in_odd_forms(void) {
    static const char *const forms[] = { "08:00:2b:01:02:03", "08-00-2B-01-02-03", "08002b:010203", "08002b-010203", "0800.2b01.0203", "0800-2b01-0203", "08002b010203" };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) TEXT(829, forms[i], CHECK_EQ_INT(chopin_pg_mac(r, 0).len, 6); CHECK(memcmp(chopin_pg_mac(r, 0).bytes, "\x08\x00\x2b\x01\x02\x03", 6) == 0));
    BOTH(829, "08002b010203", "08:00:2b:01:02:03", SAYS("08:00:2b:01:02:03"));
    BOTH(774, "08002b0102030405", "08:00:2b:01:02:03:04:05", CHECK_EQ_INT(chopin_pg_mac(r, 0).len, 8); SAYS("08:00:2b:01:02:03:04:05"));
    REFUSED(829, "08002b0102", chopin_pg_mac(r, 0), BROKEN);
    REFUSED_TEXT(829, "08:00:2b:01:02", chopin_pg_mac(r, 0), TYPE);
    REFUSED_TEXT(829, "08:00:2b:01:02:0g", chopin_pg_mac(r, 0), TYPE);
}
static void bits_are_counted_from_the_left(void) {
    BOTH(1562, "00000003a0", "101", CHECK_EQ_INT(chopin_pg_bits(r, 0).count, 3); CHECK_EQ_INT(chopin_pg_bits(r, 0).bytes[0], 0xa0); SAYS("101"));
    BOTH(1562, "00000000", "", CHECK_EQ_INT(chopin_pg_bits(r, 0).count, 0); SAYS(""));
    BOTH(1560, "00000009ff80", "111111111", CHECK_EQ_INT(chopin_pg_bits(r, 0).count, 9); SAYS("111111111"));
    REFUSED(1562, "00000003b0", chopin_pg_bits(r, 0), BROKEN);                         // a spare bit is set
    REFUSED(1562, "00000009a0", chopin_pg_bits(r, 0), BROKEN);
    REFUSED(1562, "ffffffff", chopin_pg_bits(r, 0), BROKEN);
    REFUSED(1562, "0000", chopin_pg_bits(r, 0), BROKEN);
    REFUSED_TEXT(1562, "102", chopin_pg_bits(r, 0), TYPE);
}

/* ---- geometry ---- */
#define ONE   "3ff0000000000000"
#define TWO   "4000000000000000"
#define ZERO  "0000000000000000"
static void points_and_shapes_are_lists_of_doubles(void) {
    double d[8];
    BOTH(600, ONE TWO, "(1,2)", CHECK(chopin_pg_point(r, 0).x == 1 && chopin_pg_point(r, 0).y == 2); SAYS("(1,2)"); CHECK_EQ_INT(chopin_pg_shape(r, 0, d, 8), 2));
    BOTH(628, ONE TWO ZERO, "{1,2,0}", CHECK_EQ_INT(chopin_pg_shape(r, 0, d, 8), 3); CHECK(d[1] == 2); SAYS("{1,2,0}"));
    BOTH(601, ZERO ZERO ONE TWO, "[(0,0),(1,2)]", CHECK_EQ_INT(chopin_pg_shape(r, 0, d, 8), 4); CHECK(d[3] == 2); SAYS("[(0,0),(1,2)]"));
    BOTH(603, ONE TWO ZERO ZERO, "(1,2),(0,0)", CHECK_EQ_INT(chopin_pg_shape(r, 0, d, 2), 4); SAYS("(1,2),(0,0)"));
    BOTH(718, ONE TWO ONE, "<(1,2),1>", CHECK_EQ_INT(chopin_pg_shape(r, 0, d, 8), 3); SAYS("<(1,2),1>"));
    BOTH(604, "00000001" ONE TWO, "((1,2))", CHECK_EQ_INT(chopin_pg_shape(r, 0, d, 8), 2); SAYS("((1,2))"));
    BOTH(602, "0000000001" ONE TWO, "[(1,2)]", SAYS("[(1,2)]"));                       // open
    BOTH(602, "0100000001" ONE TWO, "((1,2))", SAYS("((1,2))"));                       // closed
    TEXT(25, "(1, 2)", CHECK(chopin_pg_point(r, 0).y == 2));
}
static void shapes_broken_are_refused(void) {
    double d[2];
    REFUSED(600, ONE, chopin_pg_point(r, 0), BROKEN);
    REFUSED(603, ONE TWO, chopin_pg_shape(r, 0, d, 2), BROKEN);
    REFUSED(604, "00000002" ONE TWO, chopin_pg_shape(r, 0, d, 2), BROKEN);
    REFUSED(604, "ffffffff" ONE TWO, chopin_pg_shape(r, 0, d, 2), BROKEN);
    REFUSED(604, "00000000", chopin_pg_shape(r, 0, d, 2), BROKEN);
    REFUSED(604, "10000001" ONE TWO, chopin_pg_shape(r, 0, d, 2), BROKEN);             // times 16 is 16 modulo 2^32
    REFUSED(602, "0200000001" ONE TWO, chopin_pg_shape(r, 0, d, 2), BROKEN);
    REFUSED(603, ONE TWO ZERO ZERO, chopin_pg_point(r, 0), TYPE);
    REFUSED_TEXT(600, "(1)", chopin_pg_point(r, 0), TYPE);
    REFUSED_TEXT(600, "(1,x)", chopin_pg_point(r, 0), TYPE);
    REFUSED_TEXT(600, "", chopin_pg_point(r, 0), TYPE);
    REFUSED(23, "00000001", chopin_pg_shape(r, 0, d, 2), TYPE);
}

/* ---- system types ---- */
static void system_types_have_their_widths(void) {
    BOTH(5069, "8000000000000001", "9223372036854775809", CHECK(chopin_pg_u64(r, 0) == ((uint64_t)1 << 63) + 1); SAYS("9223372036854775809"); CHECK_STR(chopin_pg_numeric(r, 0), "9223372036854775809"));
    REFUSED(5069, "8000000000000001", chopin_pg_i64(r, 0), RANGE);
    REFUSED_TEXT(5069, "9223372036854775809", chopin_pg_i64(r, 0), RANGE);
    BOTH(27, "000000020003", "(2,3)", SAYS("(2,3)"));
    BOTH(3220, "00000016b374d848", "16/B374D848", SAYS("16/B374D848"); CHECK(chopin_pg_u64(r, 0) == 0x16b374d848u));
    BOTH(3220, "0000000000000000", "0/0", SAYS("0/0"));
    BOTH(28, "ffffffff", "4294967295", CHECK(chopin_pg_u32(r, 0) == UINT32_MAX));
    REFUSED(27, "0000000200", chopin_pg_text(r, 0), BROKEN);
}

/* ---- ranges ---- */
static void ranges_are_flags_and_two_bounds(void) {
    unsigned f = 0;
    BOTH(3904, "02 00000004 00000001 00000004 00000005", "[1,5)", {
        chopin_pg_rows *b = chopin_pg_range(r, 0, &f);
        CHECK_EQ_INT(f, CHOPIN_PG_LOWER_INC);
        CHECK_EQ_INT(chopin_pg_i32(b, 0), 1);
        CHECK_EQ_INT(chopin_pg_i64(b, 1), 5);
        SAYS("[1,5)");
    });
    BOTH(3904, "01", "empty", CHECK(chopin_pg_is_null(chopin_pg_range(r, 0, &f), 0)); CHECK_EQ_INT(f, CHOPIN_PG_EMPTY); SAYS("empty"));
    BOTH(3904, "18", "(,)", CHECK(chopin_pg_is_null(chopin_pg_range(r, 0, &f), 1)); CHECK_EQ_INT(f, CHOPIN_PG_LOWER_INF | CHOPIN_PG_UPPER_INF); SAYS("(,)"));
    BOTH(3904, "0a 00000004 00000005", "[,5)", (void)chopin_pg_range(r, 0, &f));
    BOTH(3912, "12 00000004 00000000", "[2000-01-01,)", CHECK_EQ_INT(chopin_pg_date(chopin_pg_range(r, 0, NULL), 0).days, 10957); SAYS("[2000-01-01,)"));
}
static void infinity_is_a_bound_and_no_bound_is_not(void) {
    unsigned f = 0;
    BINARY(3910, "1c", (void)chopin_pg_range(r, 0, &f); CHECK_EQ_INT(f, CHOPIN_PG_LOWER_INF | CHOPIN_PG_UPPER_INF); SAYS("(,)"));    // found by fuzz_pg_value
    BOTH(3912, "02 00000004 00000000 00000004 7fffffff", "[2000-01-01,infinity)", {
        chopin_pg_rows *b = chopin_pg_range(r, 0, &f);
        CHECK_EQ_INT(f, CHOPIN_PG_LOWER_INC);
        CHECK_EQ_INT(chopin_pg_date(b, 1).days, INT32_MAX);
        CHECK(!chopin_pg_is_null(b, 1));
    });
}
static void quoted_bounds_are_read(void) {
    unsigned f;
    TEXT(3908, "[\"2024-01-01 00:00:00\",\"2024-01-02 12:00:00\")", CHECK_EQ_INT(chopin_pg_time(chopin_pg_range(r, 0, &f), 0).us, 1704067200000000LL); SAYS("[\"2024-01-01 00:00:00\",\"2024-01-02 12:00:00\")"));
    TEXT(987654, "[\"a\"\"b\",\"c\\\\d\"]", CHECK_STR(chopin_pg_text(chopin_pg_range(r, 0, &f), 0), "a\"b"); CHECK_STR(chopin_pg_text(chopin_pg_range(r, 0, &f), 1), "c\\d"));
    TEXT(987654, "[\"\",x)", CHECK(!chopin_pg_is_null(chopin_pg_range(r, 0, &f), 0)); CHECK_EQ_INT(f, CHOPIN_PG_LOWER_INC));
}
static void ranges_broken_are_refused(void) {
    static const char *const bad[] = { "", "02", "02 00000004 000001", "02 fffffffe", "02 ffffffff ffffffff", "02 00000004 00000001 00000004 00000005 00", "80", "03", "06 00000004 00000001", "02 7fffffff 00", "19" };
    static const char *const bad_text[] = { "", "[", "[1", "[1,2", "1,2)", "[1,2,3)", "[\"1,2)", "empty ", "()" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) { REFUSED(3904, bad[i], chopin_pg_range(r, 0, NULL), BROKEN); REFUSED(3904, bad[i], chopin_pg_text(r, 0), BROKEN); }
    for (size_t i = 0; i < sizeof bad_text / sizeof bad_text[0]; i++) REFUSED_TEXT(3904, bad_text[i], chopin_pg_range(r, 0, NULL), TYPE);
    REFUSED(3904, "02 00000002 0001 00000004 00000005", chopin_pg_i32(chopin_pg_range(r, 0, NULL), 0), BROKEN);    // an int4 of two bytes
    REFUSED(23, "00000001", chopin_pg_range(r, 0, NULL), TYPE);
}
static void multiranges_are_arrays_of_ranges(void) {
    BINARY(4451, "00000002 00000011 02 00000004 00000001 00000004 00000002 00000011 02 00000004 00000005 00000004 00000009", {
        int n = 0, sum = 0;
        for (chopin_pg_rows *a = chopin_pg_array(r, 0); chopin_pg_next(a); n++) sum += chopin_pg_i32(chopin_pg_range(a, 0, NULL), 1);
        CHECK_EQ_INT(n, 2);
        CHECK_EQ_INT(sum, 11);
        SAYS("{[1,2),[5,9)}");
    });
    TEXT(4451, "{[1,2),[5,9)}", {
        int n = 0, sum = 0;
        for (chopin_pg_rows *a = chopin_pg_array(r, 0); chopin_pg_next(a); n++) sum += chopin_pg_i32(chopin_pg_range(a, 0, NULL), 1);
        CHECK_EQ_INT(n, 2);
        CHECK_EQ_INT(sum, 11);
    });
    BOTH(4451, "00000000", "{}", CHECK_EQ_INT(chopin_pg_next(chopin_pg_array(r, 0)), 0); SAYS("{}"));
    REFUSED(4451, "40000000 00000001 01", chopin_pg_array(r, 0), BROKEN);
    REFUSED(4451, "00000001 00000002 01", chopin_pg_text(r, 0), BROKEN);
    REFUSED(4451, "00000001 ffffffff", chopin_pg_text(r, 0), BROKEN);
    REFUSED_TEXT(4451, "{[1,2)", chopin_pg_array(r, 0), TYPE);
    ROW(row_text(&row_, 4451, "{[1,2),}"), { chopin_pg_rows *a = chopin_pg_array(r, 0); while (chopin_pg_next(a)) { } CHECK_EQ_INT(r->object.status, TYPE); });
}

/* ---- arrays ---- */
static void arrays_are_rows_of_elements(void) {
    BOTH(1007, "00000001 00000001 00000017 00000003 00000001 00000004 00000001 ffffffff 00000004 00000003", "{1,NULL,3}", {
        int n = 0, sum = 0, nulls = 0;
        for (chopin_pg_rows *a = chopin_pg_array(r, 0); chopin_pg_next(a); n++) { nulls += chopin_pg_is_null(a, 0); sum += chopin_pg_i32_or(a, 0, 100); }
        CHECK_EQ_INT(n, 3);
        CHECK_EQ_INT(nulls, 1);
        CHECK_EQ_INT(sum, 104);
        SAYS("{1,NULL,3}");
    });
}
static void an_empty_array_has_no_dimension(void) {
    BOTH(1007, "00000000 00000000 00000017", "{}", {
        CHECK_EQ_INT(chopin_pg_dims(r, 0, NULL, NULL), 0);
        CHECK_EQ_INT(chopin_pg_next(chopin_pg_array(r, 0)), 0);
        SAYS("{}");
    });
}
static void null_and_the_word_null_differ(void) {
    TEXT(1009, "{NULL,\"NULL\",null,\"\",nullx}", {
        chopin_pg_rows *a = chopin_pg_array(r, 0);
        CHECK(chopin_pg_next(a) && chopin_pg_is_null(a, 0));
        CHECK(chopin_pg_next(a) && !chopin_pg_is_null(a, 0));
        CHECK_STR(chopin_pg_text(a, 0), "NULL");
        CHECK(chopin_pg_next(a) && chopin_pg_is_null(a, 0));
        CHECK(chopin_pg_next(a) && !chopin_pg_is_null(a, 0) && chopin_pg_text(a, 0).len == 0);
        CHECK(chopin_pg_next(a));
        CHECK_STR(chopin_pg_text(a, 0), "nullx");
        CHECK(!chopin_pg_next(a));
    });
    BINARY(1009, "00000001 00000001 00000019 00000002 00000001 00000004 4e554c4c ffffffff", SAYS("{\"NULL\",NULL}"));
}
static void arrays_have_shapes_and_first_subscripts(void) {
    int32_t size[6], first[6];
    BOTH(1007, "00000001 00000000 00000017 00000002 00000000 00000004 00000001 00000004 00000002", "[0:1]={1,2}", {
        CHECK_EQ_INT(chopin_pg_dims(r, 0, size, first), 1);
        CHECK_EQ_INT(size[0], 2);
        CHECK_EQ_INT(first[0], 0);
        SAYS("[0:1]={1,2}");
    });
    BOTH(1007, "00000002 00000000 00000017 00000002 00000001 00000002 00000001 00000004 00000001 00000004 00000002 00000004 00000003 00000004 00000004", "{{1,2},{3,4}}", {
        CHECK_EQ_INT(chopin_pg_dims(r, 0, size, first), 2);
        CHECK_EQ_INT(size[0], 2);
        CHECK_EQ_INT(size[1], 2);
        int n = 0;
        for (chopin_pg_rows *a = chopin_pg_array(r, 0); chopin_pg_next(a); ) n = n * 10 + chopin_pg_i32(a, 0);
        CHECK_EQ_INT(n, 1234);
        SAYS("{{1,2},{3,4}}");
    });
    TEXT(1007, "[-2:-1][5:5]={{1},{2}}", CHECK_EQ_INT(chopin_pg_dims(r, 0, size, first), 2); CHECK_EQ_INT(first[0], -2); CHECK_EQ_INT(first[1], 5));
}
static void elements_with_quotes_and_backslashes(void) {
    TEXT(1009, "{\"a\\\"b\",\"c\\\\d\",\"{,}\",\" \",e f,\"\xf0\x9f\x98\x80\"}", {
        static const char *const want[] = { "a\"b", "c\\d", "{,}", " ", "e f", "\xf0\x9f\x98\x80" };
        chopin_pg_rows *a = chopin_pg_array(r, 0);
        for (int i = 0; i < 6; i++) { CHECK(chopin_pg_next(a)); CHECK_STR(chopin_pg_text(a, 0), want[i]); }
        CHECK(!chopin_pg_next(a));
    });
    BINARY(1009, "00000001 00000000 00000019 00000003 00000001 00000003 612262 00000003 635c64 00000000", SAYS("{\"a\\\"b\",\"c\\\\d\",\"\"}"));
}
static void arrays_of_boxes_use_semicolons(void) {
    TEXT(1020, "{(1,1),(0,0);(2,2),(1,1)}", {
        chopin_pg_rows *a = chopin_pg_array(r, 0);
        double d[4];
        CHECK(chopin_pg_next(a) && chopin_pg_shape(a, 0, d, 4) == 4 && d[0] == 1);
        CHECK(chopin_pg_next(a) && chopin_pg_shape(a, 0, d, 4) == 4 && d[0] == 2);
        CHECK(!chopin_pg_next(a));
    });
    BINARY(1020, "00000001 00000000 0000025b 00000002 00000001 00000020" ONE ONE ZERO ZERO "00000020" ONE TWO ZERO ZERO, SAYS("{(1,1),(0,0);(1,2),(0,0)}"));
}
static void arrays_broken_are_refused(void) {
    static const char *const bad[] = {
        "", "00000001", "00000000 00000000 00000019",                                                  // cut; another element type
        "00000007 00000000 00000017", "ffffffff 00000000 00000017", "00000001 00000002 00000017",      // seven dimensions, minus one, flags
        "00000001 00000000 00000017 ffffffff 00000001", "00000001 00000000 00000017 00000002 00000001",// negative size; more elements than bytes
        "00000001 00000000 00000017 7fffffff 00000001", "00000001 00000000 00000017 00000002 7fffffff 00000004 00000001 00000004 00000002",
        "00000002 00000000 00000017 00010000 00000001 00010000 00000001", "00000002 00000000 00000017 80000000 00000001 00000002 00000001",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) { REFUSED(1007, bad[i], chopin_pg_array(r, 0), BROKEN); REFUSED(1007, bad[i], chopin_pg_text(r, 0), BROKEN); }
    static const char *const bad_element[] = {
        "00000001 00000000 00000017 00000001 00000001 fffffffe", "00000001 00000000 00000017 00000001 00000001 00000005 00000001",
        "00000001 00000000 00000017 00000001 00000001 7fffffff 00000001", "00000001 00000000 00000017 00000001 00000001 00000004 00000001 00",   // length -2, too long, far too long; bytes behind
    };
    for (size_t i = 0; i < sizeof bad_element / sizeof bad_element[0]; i++) REFUSED(1007, bad_element[i], chopin_pg_text(r, 0), BROKEN);
    ROW(row_hex(&row_, 1007, bad_element[0]), { chopin_pg_rows *a = chopin_pg_array(r, 0); while (chopin_pg_next(a)) { } CHECK_EQ_INT(r->object.status, BROKEN); });
    static const char *const bad_text[] = { "", "{", "}", "{1", "1}", "{1,}", "{,1}", "{{1},{1,2}}", "{1,{2}}", "{{1},2}", "{{}}", "{\"a}", "{a\"b}", "[1:1={1}", "[1:2]={1}", "[2:1]={}", "{1}{2}", "{{{{{{{1}}}}}}}",
        "[1:1][1:1]={1}", "{1} ", "{\\" };
    for (size_t i = 0; i < sizeof bad_text / sizeof bad_text[0]; i++) REFUSED_TEXT(1009, bad_text[i], chopin_pg_array(r, 0), TYPE);
    REFUSED(23, "00000001", chopin_pg_array(r, 0), TYPE);
}
static void an_array_of_an_unknown_type_is_read_as_text(void) {
    TEXT(987654, "{sad,\"very happy\"}", {
        chopin_pg_rows *a = chopin_pg_array(r, 0);
        CHECK(chopin_pg_next(a));
        CHECK_STR(chopin_pg_text(a, 0), "sad");
        CHECK(chopin_pg_next(a));
        CHECK_STR(chopin_pg_text(a, 0), "very happy");
    });
    TEXT(25, "{1,2}", { chopin_pg_rows *a = chopin_pg_array(r, 0); CHECK(chopin_pg_next(a)); CHECK_EQ_INT(chopin_pg_i32(a, 0), 1); });
}

/* ---- records ---- */
static void records_are_rows(void) {
    BINARY(2249, "00000003 00000017 00000004 00000001 00000019 00000001 61 00000019 ffffffff", {
        chopin_pg_rows *rec = chopin_pg_record(r, 0);
        CHECK_EQ_INT(chopin_pg_columns(rec), 3);
        CHECK_EQ_INT(chopin_pg_i32(rec, 0), 1);
        CHECK_STR(chopin_pg_text(rec, 1), "a");
        CHECK(chopin_pg_is_null(rec, 2));
        SAYS("(1,a,)");
    });
    TEXT(2249, "(1,a,)", {
        chopin_pg_rows *rec = chopin_pg_record(r, 0);
        CHECK_EQ_INT(chopin_pg_columns(rec), 3);
        CHECK_EQ_INT(chopin_pg_i32(rec, 0), 1);
        CHECK_STR(chopin_pg_text(rec, 1), "a");
        CHECK(chopin_pg_is_null(rec, 2));
    });
}
static void null_and_empty_differ_in_records(void) {
    TEXT(987654, "(,\"\",\" \")", {
        chopin_pg_rows *rec = chopin_pg_record(r, 0);
        CHECK(chopin_pg_is_null(rec, 0));
        CHECK(!chopin_pg_is_null(rec, 1) && chopin_pg_text(rec, 1).len == 0);
        CHECK_STR(chopin_pg_text(rec, 2), " ");
    });
    BINARY(2249, "00000002 00000019 ffffffff 00000019 00000000", SAYS("(,\"\")"));
}
static void records_nest(void) {
    TEXT(987654, "(1,\"(2,\"\"a \"\"\"\"b\"\"\"\" \\\\\\\\ c\"\")\",\"{1,2}\")", {
        chopin_pg_rows *inner = chopin_pg_record(chopin_pg_record(r, 0), 1);
        CHECK_EQ_INT(chopin_pg_i32(inner, 0), 2);
        CHECK_STR(chopin_pg_text(inner, 1), "a \"b\" \\ c");
        chopin_pg_rows *a = chopin_pg_array(chopin_pg_record(r, 0), 2);
        CHECK(chopin_pg_next(a) && chopin_pg_i32(a, 0) == 1);
    });
    BINARY(2249, "00000001 000008c9 00000010 00000001 00000017 00000004 00000005", {
        CHECK_EQ_INT(chopin_pg_i32(chopin_pg_record(chopin_pg_record(r, 0), 0), 0), 5);
        SAYS("(\"(5)\")");
    });
}
static void records_broken_are_refused(void) {
    static const char *const bad[] = { "", "00000001", "00000001 00000017", "00000001 00000017 00000004 000001", "10000000 00000017 00000000", "ffffffff", "00000001 00000017 fffffffe", "00000000 00" };
    static const char *const bad_text[] = { "", "(", "1)", "(1", "(\"1)", "(1)2)", "()x" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) { REFUSED(2249, bad[i], chopin_pg_record(r, 0), BROKEN); REFUSED(2249, bad[i], chopin_pg_text(r, 0), BROKEN); }
    for (size_t i = 0; i < sizeof bad_text / sizeof bad_text[0]; i++) REFUSED_TEXT(2249, bad_text[i], chopin_pg_record(r, 0), TYPE);
}
static void records_too_deep_or_too_wide_are_refused(void) {
    uint8_t  bytes[2000];
    size_t   len = 0, levels = 60;
    for (size_t i = levels; i-- > 0; ) {
        chopin_pg__store32(bytes + len, 1);
        chopin_pg__store32(bytes + len + 4, 2249);
        chopin_pg__store32(bytes + len + 8, (uint32_t)(i * 12));
        len += 12;
    }
    ROW(row_binary(&row_, 2249, bytes, len), { chopin_pg_text(r, 0); CHECK(r->object.status < 0); });
    char *wide = malloc(5002);
    memset(wide, ',', 5002);
    wide[0] = '(';
    wide[5000] = ')';
    wide[5001] = 0;
    REFUSED_TEXT(2249, wide, chopin_pg_record(r, 0), BROKEN);
    free(wide);
}

/* ---- hstore ---- */
static void hstore_is_pairs(void) {
    TEXT(987654, "\"a\"=>\"1\", \"b\"=>NULL, \"q\\\"\\\\=>\"=>\"=>, \", \"\"=>\"NULL\"", {
        static const char *const keys[] = { "a", "b", "q\"\\=>", "" }, *const values[] = { "1", NULL, "=>, ", "NULL" };
        chopin_pg_rows *p = chopin_pg_pairs(r, 0);
        for (int i = 0; i < 4; i++) {
            CHECK(chopin_pg_next(p));
            CHECK_STR(chopin_pg_text(p, 0), keys[i]);
            if (values[i]) CHECK_STR(chopin_pg_text(p, 1), values[i]); else CHECK(chopin_pg_is_null(p, 1));
        }
        CHECK(!chopin_pg_next(p));
    });
    TEXT(987654, "", CHECK(!chopin_pg_next(chopin_pg_pairs(r, 0))));
    static const char *const bad[] = { "a=>1", "\"a\"", "\"a\"=>", "\"a\"=>\"1\",", "\"a\"=>\"1\" \"b\"=>\"2\"", "\"a\"=>\"1" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) ROW(row_text(&row_, 987654, bad[i]), { chopin_pg_rows *p = chopin_pg_pairs(r, 0); while (chopin_pg_next(p)) { } CHECK_EQ_INT(r->object.status, TYPE); });
    REFUSED(23, "00000001", chopin_pg_pairs(r, 0), TYPE);
}

/* ---- writing ---- */
static void text_and_binary_are_written_as_the_same_bytes(void) {
    static const struct { uint32_t oid; const char *hex, *text; } values[] = {
        { 16, "01", "t" }, { 17, "4100", "\\x4100" }, { 18, "61", "a" }, { 20, "fffffffffffffff9", "-7" }, { 21, "fff9", "-7" }, { 23, "fffffff9", "-7" }, { 25, "6162", "ab" }, { 26, "80000001", "2147483649" },
        { 27, "000000020003", "(2,3)" }, { 3220, "00000016b374d848", "16/B374D848" }, { 5069, "8000000000000001", "9223372036854775809" }, { 700, "3dcccccd", "0.1" }, { 701, "3fb999999999999a", "0.1" },
        { 790, "ffffffffffffff6a", "-$1.50" }, { 1700, "0001fffe0000000804d2", "0.00001234" }, { 1700, "0000000000000004", "0.0000" }, { 1700, "00000000f0000020", "-Infinity" }, { 1700, "0002000040000003007b1194", "-123.450" },
        { 3802, "017b7d", "{}" }, { 2950, "a0eebc999c0b4ef8bb6d6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11" }, { 1082, "ffda97a7", "4714-11-24 BC" }, { 1083, "000000141dd76000", "24:00:00" },
        { 1266, "0000000000000000ffffe3e0", "00:00:00+02" }, { 1114, "ffffffffffffffff", "1999-12-31 23:59:59.999999" }, { 1184, "8000000000000000", "-infinity" },
        { 1186, "ffffffffffffffff00000001ffffffff", "-1 mons +1 day -00:00:00.000001" }, { 869, "020800040a000001", "10.0.0.1/8" }, { 650, "022001040a000001", "10.0.0.1/32" }, { 829, "08002b010203", "08:00:2b:01:02:03" },
        { 774, "08002b0102030405", "08:00:2b:01:02:03:04:05" }, { 1562, "00000003a0", "101" }, { 600, ONE TWO, "(1,2)" }, { 628, ONE TWO ZERO, "{1,2,0}" }, { 601, ZERO ZERO ONE TWO, "[(0,0),(1,2)]" },
        { 603, ONE TWO ZERO ZERO, "(1,2),(0,0)" }, { 718, ONE TWO ONE, "<(1,2),1>" }, { 604, "00000001" ONE TWO, "((1,2))" }, { 602, "0000000002" ONE TWO ZERO ZERO, "[(1,2),(0,0)]" }, { 602, "0100000001" ONE TWO, "((1,2))" },
        { 3904, "0200000004000000010000000400000005", "[1,5)" }, { 3904, "01", "empty" }, { 3904, "18", "(,)" }, { 4451, "00000001000000110200000004000000010000000400000002", "{[1,2)}" }, { 4451, "00000000", "{}" },
        { 1007, "000000000000000000000017", "{}" }, { 1007, "00000001000000010000001700000002000000010000000400000001ffffffff", "{1,NULL}" }, { 1007, "00000001000000000000001700000001000000000000000400000007", "[0:0]={7}" },
        { 1007, "000000020000000000000017000000010000000100000002000000010000000400000001" "0000000400000002", "{{1,2}}" }, { 1009, "0000000100000000000000190000000100000001" "000000044e554c4c", "{\"NULL\"}" },
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        heap_room_t h;
        heap_room_init(&h);
        uint8_t bytes[512];
        size_t  len = unhex(values[i].hex, bytes);
        chopin_pg__value b = { .ptr = bytes, .len = (uint32_t)len, .binary = true, .oid = values[i].oid }, t = chopin_pg__text_value(values[i].oid, chopin_pg__str_z(values[i].text));
        for (int from = 0; from < 2; from++) {
            chopin_pg__out o = { .heap = &h.heap };
            CHECK_EQ_INT(chopin_pg__put_value(&o, from ? &t : &b, &h.room), 0);
            if (!CHECK(o.len == len && memcmp(o.ptr, bytes, len) == 0)) printf("oid %u %s from %s\n", (unsigned)values[i].oid, values[i].text, from ? "text" : "binary");
            chopin_pg__out_done(&o);
        }
        heap_room_done(&h);
    }
}

/* ---- errors ---- */
static void null_is_sticky_and_names_the_column(void) {
    ROW({ row_init(&row_, true); row_add(&row_, 23, "\0\0\0\7", 4); row_add(&row_, 25, NULL, 0); }, {
        CHECK(chopin_pg_is_null(r, 1));
        CHECK_EQ_INT(r->object.status, 0);
        CHECK_EQ_INT(chopin_pg_i32_or(r, 1, 5), 5);
        CHECK_STR(chopin_pg_text_or(r, 1, CHOPIN_STR("none")), "none");
        CHECK_EQ_INT(chopin_pg_decimal_or(r, 1, 2, 77), 77);
        CHECK_EQ_INT(r->object.status, 0);
        CHECK(chopin_pg_text(r, 1).ptr == NULL);
        CHECK_EQ_INT(r->object.status, CHOPIN_PG_WAS_NULL);
        CHECK(strstr(row_why(&row_), "column 1 \"beta\" (text)") != NULL);
        CHECK_EQ_INT(chopin_pg_i32(r, 0), 0);                                          // later calls do nothing
        CHECK_EQ_INT(r->object.status, CHOPIN_PG_WAS_NULL);
    });
}
static void every_getter_knows_null(void) {
    static const uint32_t oids[] = { 23, 1700, 25, 1007, 3904, 2249 };
    for (size_t i = 0; i < sizeof oids / sizeof oids[0]; i++) {
        for (int which = 0; which < 27; which++) {
            ROW({ row_init(&row_, false); row_add(&row_, oids[i], NULL, 0); }, {
                switch (which) {
                case 0: chopin_pg_bool(r, 0); break;      case 1: chopin_pg_i16(r, 0); break;   case 2: chopin_pg_i32(r, 0); break;   case 3: chopin_pg_i64(r, 0); break;
                case 4: chopin_pg_u32(r, 0); break;       case 5: chopin_pg_u64(r, 0); break;   case 6: chopin_pg_f32(r, 0); break;   case 7: chopin_pg_f64(r, 0); break;
                case 8: chopin_pg_text(r, 0); break;      case 9: chopin_pg_json(r, 0); break;  case 10: chopin_pg_bytes(r, 0); break; case 11: chopin_pg_uuid(r, 0); break;
                case 12: chopin_pg_time(r, 0); break;     case 13: chopin_pg_date(r, 0); break; case 14: chopin_pg_clock(r, 0); break; case 15: chopin_pg_interval(r, 0); break;
                case 16: chopin_pg_numeric(r, 0); break;  case 17: chopin_pg_decimal(r, 0, 2); break; case 18: chopin_pg_inet(r, 0); break; case 19: chopin_pg_mac(r, 0); break;
                case 20: chopin_pg_bits(r, 0); break;     case 21: chopin_pg_point(r, 0); break; case 22: chopin_pg_shape(r, 0, NULL, 0); break;
                case 23: CHECK(!chopin_pg_next(chopin_pg_array(r, 0))); break;
                case 24: chopin_pg_is_null(chopin_pg_record(r, 0), 0); break;
                case 25: CHECK(chopin_pg_is_null(chopin_pg_range(r, 0, NULL), 0)); break;
                default: CHECK(!chopin_pg_next(chopin_pg_pairs(r, 0))); break;
                }
                CHECK_EQ_INT(r->object.status, CHOPIN_PG_WAS_NULL);
            });
        }
    }
}
static void overflow_is_sticky_in_getters_with_a_default_too(void) {
    ROW(row_hex(&row_, 20, "0000000100000000"), {
        CHECK_EQ_INT(chopin_pg_i32_or(r, 0, 9), 9);
        CHECK_EQ_INT(r->object.status, RANGE);
        CHECK(strstr(row_why(&row_), "\"alpha\" (int8)") != NULL);
        CHECK(strstr(row_why(&row_), "4294967296") == NULL);                           // values are not quoted
    });
}
static void columns_that_are_not_there_are_an_error(void) {
    ROW(row_hex(&row_, 23, "00000001"), { CHECK_EQ_INT(chopin_pg_i32(r, 1), 0); CHECK_EQ_INT(r->object.status, CHOPIN_PG_ARG); });
    ROW(row_hex(&row_, 23, "00000001"), { CHECK_EQ_INT(chopin_pg_i32(r, -1), 0); CHECK_EQ_INT(r->object.status, CHOPIN_PG_ARG); });
}
static void errors_inside_arrays_reach_the_result(void) {
    ROW(row_hex(&row_, 1007, "00000001 00000001 00000017 00000001 00000001 ffffffff"), {
        chopin_pg_rows *a = chopin_pg_array(r, 0);
        CHECK(chopin_pg_next(a));
        CHECK_EQ_INT(chopin_pg_i32(a, 0), 0);
        CHECK_EQ_INT(r->object.status, CHOPIN_PG_WAS_NULL);
        CHECK(strstr(row_why(&row_), "\"alpha\"") != NULL);
    });
}
static void null_rows_are_harmless(void) {
    unsigned f;
    CHECK(chopin_pg_is_null(NULL, 0));
    CHECK_EQ_INT(chopin_pg_i32(NULL, 0), 0);
    CHECK_EQ_INT(chopin_pg_i32_or(NULL, 0, 3), 3);
    CHECK(chopin_pg_text(NULL, 0).ptr == NULL);
    CHECK(chopin_pg_array(NULL, 0) == NULL && chopin_pg_record(NULL, 0) == NULL && chopin_pg_range(NULL, 0, &f) == NULL && chopin_pg_pairs(NULL, 0) == NULL);
    CHECK_EQ_INT(chopin_pg_dims(NULL, 0, NULL, NULL), 0);
    CHECK_EQ_INT(chopin_pg_decimal(NULL, 0, 2), 0);
    CHECK_EQ_INT(chopin_pg_shape(NULL, 0, NULL, 0), 0);
}

/* ---- memory ---- */
static int allocations_left;
static void *failing(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    (void)ctx; (void)old_size;
    if (new_size == 0) { free(ptr); return NULL; }
    return allocations_left-- > 0 ? realloc(ptr, new_size) : NULL;
}
static void every_allocation_may_fail(void) {
    static const struct { uint32_t oid; const char *text; } values[] = { { 17, "\\x4142" }, { 1184, "2024-01-01 00:00:00+01" }, { 1562, "101" }, { 1009, "{\"a\\\"b\",\"c\\\\d\"}" }, { 2249, "(1,\"a\"\"b\")" },
        { 3910, "[\"2024-01-01 00:00:00+01\",)" }, { 25, "\"a\\\\b\"=>\"c\\\\d\"" }, { 1001, "{\"\\\\x41\"}" } };
    for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
        for (int fail = 0; fail < 12; fail++) {
            ROW({ row_text(&row_, values[v].oid, values[v].text); row_.heap.alloc = failing; allocations_left = fail; }, {
                chopin_pg_text(r, 0);
                if (values[v].oid == 17) chopin_pg_bytes(r, 0);
                if (values[v].oid == 1562) chopin_pg_bits(r, 0);
                chopin_pg_numeric(r, 0);
                r->object.status = 0;
                for (chopin_pg_rows *a = chopin_pg_array(r, 0); chopin_pg_next(a); ) chopin_pg_text(a, 0);
                r->object.status = 0;
                chopin_pg_rows *rec = chopin_pg_record(r, 0);
                chopin_pg_text(rec, 1);
                r->object.status = 0;
                chopin_pg_rows *range = chopin_pg_range(r, 0, NULL);
                chopin_pg_text(range, 0);
                r->object.status = 0;
                for (chopin_pg_rows *p = chopin_pg_pairs(r, 0); chopin_pg_next(p); ) chopin_pg_text(p, 1);
                allocations_left = 1000;
            });
        }
    }
}
static void memory_that_fails_is_said(void) {
    ROW({ row_text(&row_, 17, "\\x4142"); row_.heap.alloc = failing; allocations_left = 0; }, { CHECK(chopin_pg_bytes(r, 0).ptr == NULL); CHECK_EQ_INT(r->object.status, CHOPIN_PG_MEMORY); allocations_left = 1000; });
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(bool_is_one_byte_or_t_and_f);
    RUN(char_may_be_byte_zero_or_high);
    RUN(every_width_reads_every_other);
    RUN(int2_has_its_limits);
    RUN(int4_has_its_limits);
    RUN(int8_has_its_limits);
    RUN(oid_is_over_two_to_the_31);
    RUN(an_integer_of_the_wrong_length_is_its_columns_error);
    RUN(floats_are_exact_in_both_formats);
    RUN(a_whole_float_is_an_integer_another_is_not);
    RUN(no_locale_is_asked);
    RUN(numeric_zero_keeps_its_scale);
    RUN(numeric_small_numbers_are_exact);
    RUN(numeric_zero_groups_are_kept);
    RUN(numeric_of_a_thousand_places);
    RUN(numeric_not_finite);
    RUN(decimal_that_loses_digits_is_an_error);
    RUN(numeric_broken_is_refused);
    RUN(money_is_its_smallest_unit);
    RUN(text_is_a_view_of_what_was_sent);
    RUN(text_needs_utf8);
    RUN(types_without_a_codec_are_asked_as_text);
    RUN(jsonb_has_a_version_and_json_its_spaces);
    RUN(json_of_a_megabyte);
    RUN(bytea_in_all_its_styles);
    RUN(bytea_of_ten_megabytes);
    RUN(uuid_in_odd_forms);
    RUN(date_reaches_from_4714_bc_to_5874897);
    RUN(infinity_comes_before_arithmetic);
    RUN(date_needs_iso_and_says_so);
    RUN(time_24_is_not_time_0);
    RUN(timetz_counts_to_the_west);
    RUN(timestamps_round_down_not_to_zero);
    RUN(timestamps_of_the_far_years);
    RUN(zones_have_seconds);
    RUN(intervals_are_never_folded);
    RUN(intervals_in_three_styles);
    RUN(interval_verbose_is_a_named_error);
    RUN(interval_infinity_of_postgresql_17);
    RUN(inet_prints_no_host_bits);
    RUN(inet_broken_is_refused);
    RUN(mac_in_odd_forms);
    RUN(bits_are_counted_from_the_left);
    RUN(points_and_shapes_are_lists_of_doubles);
    RUN(shapes_broken_are_refused);
    RUN(system_types_have_their_widths);
    RUN(ranges_are_flags_and_two_bounds);
    RUN(infinity_is_a_bound_and_no_bound_is_not);
    RUN(quoted_bounds_are_read);
    RUN(ranges_broken_are_refused);
    RUN(multiranges_are_arrays_of_ranges);
    RUN(arrays_are_rows_of_elements);
    RUN(an_empty_array_has_no_dimension);
    RUN(null_and_the_word_null_differ);
    RUN(arrays_have_shapes_and_first_subscripts);
    RUN(elements_with_quotes_and_backslashes);
    RUN(arrays_of_boxes_use_semicolons);
    RUN(arrays_broken_are_refused);
    RUN(an_array_of_an_unknown_type_is_read_as_text);
    RUN(records_are_rows);
    RUN(null_and_empty_differ_in_records);
    RUN(records_nest);
    RUN(records_broken_are_refused);
    RUN(records_too_deep_or_too_wide_are_refused);
    RUN(hstore_is_pairs);
    RUN(text_and_binary_are_written_as_the_same_bytes);
    RUN(null_is_sticky_and_names_the_column);
    RUN(every_getter_knows_null);
    RUN(overflow_is_sticky_in_getters_with_a_default_too);
    RUN(columns_that_are_not_there_are_an_error);
    RUN(errors_inside_arrays_reach_the_result);
    RUN(null_rows_are_harmless);
    RUN(every_allocation_may_fail);
    RUN(memory_that_fails_is_said);
    return TEST_END();
}
