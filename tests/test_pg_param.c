/* test_pg_param.c - C values as parameters: what is written for which type, what is refused and with which SQLSTATE; no server. Whether the server agrees is
 * asked by test_pg_types.c. */
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include <sys/mman.h>
#include "pg_types.h"

/* ---- tools: one parameter, its bytes as hex, its SQLSTATE ---- */
typedef struct try_t { int format, status; char sqlstate[6], why[200], hex[8192]; size_t len; uint8_t bytes[4096]; } try_t;
enum { ENCODE, COPY, CHECKED };
static int allocations_left = 1 << 30;

static void *failing(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    (void)ctx; (void)old_size;
    if (new_size == 0) { free(ptr); return NULL; }
    return allocations_left-- > 0 ? realloc(ptr, new_size) : NULL;
}

static try_t try_it(chopin_pg_param p, uint32_t oid, int how) {
    try_t           t = { 0 };
    chopin_pg__heap heap;
    chopin_pg_error e;
    chopin_pg__heap_init(&heap, failing, NULL);
    chopin_pg__error_init(&e, &heap);
    chopin_pg__out o = { .heap = &heap };
    int rc = chopin_pg__param_check(&p, &e);
    if (rc == 0 && how != CHECKED) rc = how == COPY ? chopin_pg__param_copy(&p, oid, &o, &e) : chopin_pg__param_encode(&p, oid, &o, &e);
    t.format = rc;
    t.status = rc < 0 ? rc : 0;
    snprintf(t.sqlstate, sizeof t.sqlstate, "%s", e.sqlstate);
    snprintf(t.why, sizeof t.why, "%s", rc < 0 && e.why ? e.why : "");
    if (rc >= 0 && o.len >= 4) {
        t.len = o.len - 4;
        memcpy(t.bytes, o.ptr + 4, chopin_pg__min(t.len, sizeof t.bytes));
        chopin_pg__pen pen = { .ptr = t.hex, .cap = sizeof t.hex - 1 };
        chopin_pg__pen_hex(&pen, t.bytes, chopin_pg__min(t.len, 2000));
    }
    chopin_pg__out_done(&o);
    chopin_pg__error_clear(&e);
    return t;
}

#define P(x) chopin_pg_param_of(x)
#define BIN(x, oid, want)   do { try_t t_ = try_it(P(x), oid, ENCODE); CHECK_EQ_INT(t_.format, 1); CHECK_STR(chopin_pg__str_z(t_.hex), want); } while (0)
#define TXT(x, oid, want)   do { try_t t_ = try_it(P(x), oid, ENCODE); CHECK_EQ_INT(t_.format, 0); CHECK_STR(chopin_pg__str((const char *)t_.bytes, t_.len), want); } while (0)
#define NOT(x, oid, state)  do { try_t t_ = try_it(P(x), oid, ENCODE); CHECK(t_.status < 0); CHECK_STR(chopin_pg__str_z(t_.sqlstate), state); CHECK(t_.why[0] != 0); } while (0)
#define COPIED(x, oid, want) do { try_t t_ = try_it(P(x), oid, COPY); CHECK_EQ_INT(t_.format, 1); CHECK_STR(chopin_pg__str_z(t_.hex), want); } while (0)
#define NOT_COPIED(x, oid, state) do { try_t t_ = try_it(P(x), oid, COPY); CHECK(t_.status < 0); CHECK_STR(chopin_pg__str_z(t_.sqlstate), state); } while (0)

/* ---- mapping ---- */
static void c_types_have_their_kinds(void) {
    short s = 1; unsigned char uc = 2; signed char sc = -3; unsigned short us = 4; unsigned u = 5; unsigned long ul = 6; long l = -7; unsigned long long ull = 8; const int ci = 9; volatile int vi = 10; size_t z = 11;
    char buffer[4] = "abc"; const char *cp = buffer; char *mp = buffer; enum { RED = 3 } color = RED;
    CHECK_EQ_INT(P(s).kind, CHOPIN_PG__P_I64);    CHECK_EQ_INT(P(uc).as.u64, 2);     CHECK_EQ_INT(P(sc).as.i64, -3);  CHECK_EQ_INT(P(us).as.u64, 4);
    CHECK_EQ_INT(P(u).kind, CHOPIN_PG__P_U64);    CHECK_EQ_INT(P(ul).as.u64, 6);     CHECK_EQ_INT(P(l).as.i64, -7);   CHECK_EQ_INT(P(ull).as.u64, 8);
    CHECK_EQ_INT(P(ci).as.i64, 9);                CHECK_EQ_INT(P(vi).as.i64, 10);    CHECK_EQ_INT(P(z).as.u64, 11);
    CHECK_EQ_INT(P(1.5).kind, CHOPIN_PG__P_F64);  CHECK_EQ_INT(P(1.5f).kind, CHOPIN_PG__P_F32);  CHECK_EQ_INT(P((bool)true).kind, CHOPIN_PG__P_BOOL);
    CHECK_STR(P("lit").as.text, "lit");           CHECK_STR(P(buffer).as.text, "abc");  CHECK_STR(P(cp).as.text, "abc");  CHECK_STR(P(mp).as.text, "abc");
    CHECK(P(color).as.i64 == 3 || P(color).as.u64 == 3);
    CHECK_EQ_INT(P((const char *)NULL).kind, CHOPIN_PG__P_NULL);
    CHECK_EQ_INT(P(((chopin_str){ NULL, 0 })).kind, CHOPIN_PG__P_NULL);
    CHECK_EQ_INT(P(CHOPIN_STR("")).kind, CHOPIN_PG__P_TEXT);
    CHECK_EQ_INT(P(CHOPIN_PG_NULL).kind, CHOPIN_PG__P_NULL);
    CHECK_EQ_INT(chopin_pg_as_bytes(NULL, 0).kind, CHOPIN_PG__P_NULL);
}
static int count_of(const chopin_pg_param *list, int count) { return list[count - 1].kind == CHOPIN_PG__P_I64 && list[count - 1].as.i64 == count ? count : -1; }
static void up_to_65_values_stand_in_one_call(void) {
    CHECK_EQ_INT(count_of(CHOPIN_PG_ARGS(1)), 1);
    CHECK_EQ_INT(count_of(CHOPIN_PG_ARGS("a", 2)), 2);
    CHECK_EQ_INT(count_of(CHOPIN_PG_ARGS(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44,
        45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65)), 65);
}

/* ---- scalars ---- */
static void first_use_is_text(void) {
    TXT(7, 0, "7");
    TXT(-7, 0, "-7");
    TXT(UINT64_MAX, 0, "18446744073709551615");
    TXT((bool)true, 0, "true");
    TXT(1.5, 0, "1.5");
    TXT(1e15, 0, "1000000000000000");                                    // as an integer would be written, so that integers read it
    TXT(0.1f, 0, "0.1");
    TXT(-0.0, 0, "-0");
    TXT("x", 0, "x");
    TXT(chopin_pg_as_decimal(12345, 2), 0, "123.45");
    TXT(chopin_pg_as_decimal(-5, 5), 0, "-0.00005");
    TXT(chopin_pg_as_decimal(7, -3), 0, "7000");
    TXT(((chopin_time){ -1 }), 0, "1969-12-31 23:59:59.999999+00");
    TXT(((chopin_time){ INT64_MAX }), 0, "infinity");
    TXT(((chopin_date){ INT32_MIN }), 0, "-infinity");
    TXT(((chopin_clock){ 86400000000, -12600, true }), 0, "24:00:00-03:30");
    TXT(((chopin_interval){ -1, 2, -3 }), 0, "P-3M2DT-0H-0M-0.000001S");
    TXT(((chopin_inet){ { 10, 0, 0, 1 }, 4, 8, false }), 0, "10.0.0.1/8");
    TXT(((chopin_point){ 1, -2.5 }), 0, "(1,-2.5)");
    TXT(((chopin_bits){ (const uint8_t *)"\xa0", 3 }), 0, "101");
}
static void bytes_are_binary_at_once(void) {
    chopin_pg_param p = chopin_pg_as_bytes("a\0", 2);
    CHECK_EQ_INT(chopin_pg__param_oid(&p), 17);
    BIN(chopin_pg_as_bytes("a\0", 2), 0, "6100");
    BIN(chopin_pg_as_bytes("", 0), 17, "");
    p = P("x");
    CHECK_EQ_INT(chopin_pg__param_oid(&p), 0);
}
static void integers_go_into_every_width(void) {
    BIN(7, 21, "0007");
    BIN(7, 23, "00000007");
    BIN(7, 20, "0000000000000007");
    BIN(7, 26, "00000007");
    BIN(7, 700, "40e00000");
    BIN(7, 701, "401c000000000000");
    BIN(7, 1700, "00010000000000000007");
    BIN(-10000, 1700, "00010001400000000001");
    BIN(UINT64_MAX, 1700, "000500040000000007341a5802e103bb064f");
    BIN(-32768, 21, "8000");
    NOT(32768, 21, "22003");
    NOT(-32769, 21, "22003");
    NOT(2147483648LL, 23, "22003");
    NOT((uint64_t)INT64_MAX + 1, 20, "22003");
    BIN(INT64_MIN, 20, "8000000000000000");
    TXT(-1, 26, "-1");
    TXT(7, 25, "7");
    TXT(7, 1043, "7");
    TXT(7, 790, "7");                                                    // 7 dollars, as the first use said
    TXT(7, 16, "7");
    TXT(7, 987654, "7");
}
static void a_range_error_names_the_type(void) {
    CHECK(strstr(try_it(P(70000), 21, ENCODE).why, "(int2)") != NULL);
    CHECK(strstr(try_it(P(70000), 21, ENCODE).why, "70000") == NULL);    // values are not quoted
}
static void floats_go_into_numbers(void) {
    BIN(1.5, 701, "3ff8000000000000");
    BIN(1.5, 700, "3fc00000");
    BIN(2.0, 23, "00000002");
    TXT(1.5, 23, "1.5");                                                 // the server says what is wrong with it
    NOT(2147483648.0, 23, "22003");
    NOT(1e39, 700, "22003");
    NOT(1e-50, 700, "22003");
    BIN(0.1f, 701, "3fb999999999999a");                                  // a float is its shortest decimal
    BIN(NAN, 700, try_it(P(NAN), 700, ENCODE).hex);
    BIN(NAN, 1700, "00000000c0000000");
    BIN(0.5, 1700, "0001ffff000000011388");
    TXT(NAN, 23, "NaN");
}
static void bools_texts_numerics(void) {
    BIN((bool)true, 16, "01");
    TXT(1, 16, "1");                                                     // before C23 `true` is an int: the server reads 1 as true
    TXT((bool)true, 25, "true");
    TXT((bool)true, 23, "true");
    TXT("7", 23, "7");
    TXT("7", 987654, "7");
    BIN(chopin_pg_as_numeric(CHOPIN_STR("0.00001234")), 1700, "0001fffe0000000804d2");
    BIN(chopin_pg_as_numeric(CHOPIN_STR("0.0000")), 1700, "0000000000000004");
    BIN(chopin_pg_as_numeric(CHOPIN_STR("-Infinity")), 1700, "00000000f0000020");
    BIN(chopin_pg_as_numeric(CHOPIN_STR("1e20")), 1700, "00010005000000000001");
    TXT(chopin_pg_as_numeric(CHOPIN_STR("abc")), 1700, "abc");
    TXT(chopin_pg_as_numeric(CHOPIN_STR("1.5")), 701, "1.5");
    BIN(chopin_pg_as_decimal(12345, 2), 1700, "0002000000000002007b1194");
}
static void times_go_into_their_types(void) {
    BIN(((chopin_time){ 946684800000000 }), 1184, "0000000000000000");
    BIN(((chopin_time){ 946684799999999 }), 1114, "ffffffffffffffff");
    BIN(((chopin_time){ INT64_MAX }), 1184, "7fffffffffffffff");
    TXT(((chopin_time){ 0 }), 1082, "1970-01-01 00:00:00+00");
    BIN(((chopin_date){ 10957 }), 1082, "00000000");
    BIN(((chopin_date){ INT32_MAX }), 1082, "7fffffff");
    TXT(((chopin_date){ 10957 }), 1184, "2000-01-01");
    BIN(((chopin_clock){ 86400000000, 0, false }), 1083, "000000141dd76000");
    BIN(((chopin_clock){ 0, 7200, true }), 1266, "0000000000000000ffffe3e0");
    TXT(((chopin_clock){ 0, 7200, true }), 1083, "00:00:00+02");
    BIN(((chopin_interval){ -1, 1, -1 }), 1186, "ffffffffffffffff00000001ffffffff");
    NOT(((chopin_time){ INT64_MIN + 1 }), 0, "22008");
    NOT(((chopin_date){ INT32_MIN + 1 }), 0, "22008");
    NOT(((chopin_clock){ -1, 0, false }), 0, "22008");
    NOT(((chopin_clock){ 86400000001, 0, false }), 0, "22008");
    NOT(((chopin_clock){ 0, 57600, true }), 0, "22008");
}
static void the_others(void) {
    BIN(((chopin_uuid){ { 0xab, 1 } }), 2950, "ab010000000000000000000000000000");
    BIN(((chopin_inet){ { 10, 0, 0, 1 }, 4, 32, false }), 869, "022000040a000001");
    TXT(((chopin_inet){ { 10, 0, 0, 0 }, 4, 8, true }), 650, "10.0.0.0/8");
    BIN(((chopin_mac){ { 1, 2, 3, 4, 5, 6 }, 6 }), 829, "010203040506");
    TXT(((chopin_mac){ { 1, 2, 3, 4, 5, 6 }, 6 }), 774, "01:02:03:04:05:06");
    BIN(((chopin_point){ 1, 2 }), 600, "3ff00000000000004000000000000000");
    BIN(((chopin_bits){ (const uint8_t *)"\xa5", 8 }), 1562, "00000008a5");
    TXT(((chopin_bits){ (const uint8_t *)"\xff", 3 }), 1562, "111");
    NOT(((chopin_inet){ { 0 }, 5, 0, false }), 0, "22P02");
    NOT(((chopin_inet){ { 0 }, 4, 33, false }), 0, "22P02");
    NOT(((chopin_mac){ { 0 }, 7 }), 0, "22P02");
}
static void null_is_minus_one(void) {
    chopin_pg__heap heap;
    chopin_pg_error e;
    chopin_pg__heap_init(&heap, NULL, NULL);
    chopin_pg__error_init(&e, &heap);
    chopin_pg__out o = { .heap = &heap };
    chopin_pg_param p = CHOPIN_PG_NULL;
    CHECK_EQ_INT(chopin_pg__param_encode(&p, 23, &o, &e), 0);
    CHECK(o.len == 4 && chopin_pg__load32(o.ptr) == UINT32_MAX);
    chopin_pg__out_done(&o);
}

/* ---- lists ---- */
static void arrays_are_one_parameter(void) {
    static const int32_t ids[] = { 1, -2 };
    static const chopin_str texts[] = { { "a\"b\\", 4 }, { NULL, 0 }, { "", 0 }, { "NULL", 4 } };
    TXT(chopin_pg_i32s(ids, 2), 0, "{1,-2}");
    TXT(chopin_pg_i32s(ids, 0), 0, "{}");
    BIN(chopin_pg_i32s(ids, 2), 1007, "0000000100000000000000170000000200000001" "0000000400000001" "00000004fffffffe");
    BIN(chopin_pg_i32s(NULL, 0), 1007, "000000000000000000000017");
    BIN(chopin_pg_i32s(ids, 2), 1016, "0000000100000000000000140000000200000001" "000000080000000000000001" "00000008fffffffffffffffe");
    TXT(chopin_pg_i32s(ids, 2), 1009, "{1,-2}");                         // into text[]: the text form
    TXT(chopin_pg_i32s(ids, 2), 987654, "{1,-2}");
    TXT(chopin_pg_texts(texts, 4), 0, "{\"a\\\"b\\\\\",NULL,\"\",\"NULL\"}");
    BIN(chopin_pg_texts(texts, 4), 1009, "0000000100000001000000190000000400000001" "000000046122"  "625c" "ffffffff" "00000000" "000000044e554c4c");
    TXT(chopin_pg_as_array(CHOPIN_PG_ARGS(1, CHOPIN_PG_NULL, "x,y")), 0, "{1,NULL,\"x,y\"}");
    TXT(chopin_pg_as_array(CHOPIN_PG_ARGS(chopin_pg_as_bytes("\1", 1))), 0, "{\"\\\\x01\"}");
    BIN(chopin_pg_as_array(CHOPIN_PG_ARGS(1, CHOPIN_PG_NULL)), 1007, "0000000100000001000000170000000200000001" "0000000400000001" "ffffffff");
    NOT(chopin_pg_i32s((const int32_t[]){ 70000 }, 1), 1005, "22003");
}
static void arrays_of_arrays_are_further_dimensions(void) {
    static const int32_t ids[] = { 1, 2, 3 };
    chopin_pg_param square = chopin_pg_as_array(CHOPIN_PG_ARGS(chopin_pg_i32s(ids, 2), chopin_pg_i32s(ids + 1, 2)));
    TXT(square, 0, "{{1,2},{2,3}}");
    BIN(square, 1007, "000000020000000000000017" "0000000200000001" "0000000200000001" "0000000400000001" "0000000400000002" "0000000400000002" "0000000400000003");
    NOT(chopin_pg_as_array(CHOPIN_PG_ARGS(chopin_pg_i32s(ids, 2), chopin_pg_i32s(ids, 3))), 1007, "2202E");
    NOT(chopin_pg_as_array(CHOPIN_PG_ARGS(1, chopin_pg_i32s(ids, 1))), 1007, "2202E");
    NOT(chopin_pg_as_array(CHOPIN_PG_ARGS(chopin_pg_i32s(ids, 1), 1)), 1007, "2202E");
    chopin_pg_param deep[8];
    deep[0] = P(1);
    for (int i = 1; i < 8; i++) deep[i] = chopin_pg_as_array(&deep[i - 1], 1);
    CHECK_EQ_INT(try_it(deep[6], 1007, ENCODE).format, 1);
    NOT(deep[7], 1007, "54000");
    chopin_pg_param abyss[40];
    abyss[0] = P(1);
    for (int i = 1; i < 40; i++) abyss[i] = chopin_pg_as_array(&abyss[i - 1], 1);
    NOT(abyss[39], 0, "54000");
}
static void ranges_have_two_bounds(void) {
    TXT(chopin_pg_as_range(CHOPIN_PG_LOWER_INC, CHOPIN_PG_ARGS(1, 5)), 0, "[1,5)");
    TXT(chopin_pg_as_range(CHOPIN_PG_EMPTY, CHOPIN_PG_ARGS(1, 5)), 0, "empty");
    TXT(chopin_pg_as_range(CHOPIN_PG_UPPER_INC, CHOPIN_PG_ARGS(CHOPIN_PG_NULL, "x y")), 0, "(,\"x y\"]");
    BIN(chopin_pg_as_range(CHOPIN_PG_LOWER_INC, CHOPIN_PG_ARGS(1, 5)), 3904, "0200000004000000010000000400000005");
    BIN(chopin_pg_as_range(CHOPIN_PG_EMPTY, CHOPIN_PG_ARGS(1, 5)), 3904, "01");
    BIN(chopin_pg_as_range(0, CHOPIN_PG_ARGS(CHOPIN_PG_NULL, CHOPIN_PG_NULL)), 3904, "18");
    BIN(chopin_pg_as_range(CHOPIN_PG_UPPER_INF, CHOPIN_PG_ARGS(1, 7)), 3904, "100000000400000001");
    NOT(chopin_pg_as_range(0, CHOPIN_PG_ARGS(1)), 0, "22P02");
    NOT(chopin_pg_as_range(CHOPIN_PG_EMPTY | CHOPIN_PG_LOWER_INC, CHOPIN_PG_ARGS(1, 2)), 0, "22P02");
    NOT(chopin_pg_as_range(64, CHOPIN_PG_ARGS(1, 2)), 0, "22P02");
    BIN(chopin_pg_as_multirange(CHOPIN_PG_ARGS(chopin_pg_as_range(2, CHOPIN_PG_ARGS(1, 2)))), 4451, "00000001" "00000011" "0200000004000000010000000400000002");
    TXT(chopin_pg_as_multirange(CHOPIN_PG_ARGS(chopin_pg_as_range(2, CHOPIN_PG_ARGS(1, 2)), chopin_pg_as_range(2, CHOPIN_PG_ARGS(5, 6)))), 0, "{[1,2),[5,6)}");
    TXT(chopin_pg_as_array(CHOPIN_PG_ARGS(chopin_pg_as_range(2, CHOPIN_PG_ARGS(1, 2)))), 0, "{\"[1,2)\"}");
}
static void records_are_text(void) {
    TXT(chopin_pg_as_record(CHOPIN_PG_ARGS(1, "a\"b", CHOPIN_PG_NULL, "")), 0, "(1,\"a\\\"b\",,\"\")");
    TXT(chopin_pg_as_record(CHOPIN_PG_ARGS(1, chopin_pg_as_record(CHOPIN_PG_ARGS(2, "x")))), 987654, "(1,\"(2,\\\"x\\\")\")");
    TXT(chopin_pg_as_record(CHOPIN_PG_ARGS(chopin_pg_as_array(CHOPIN_PG_ARGS(1, 2)))), 987654, "(\"{1,2}\")");
}

/* ---- COPY: always binary ---- */
static void copy_goes_through_the_text(void) {
    COPIED("7", 23, "00000007");
    COPIED("x", 25, "78");
    COPIED("happy", 987654, "6861707079");                               // an enum
    COPIED("{}", 3802, "017b7d");
    COPIED("2000-01-02", 1082, "00000001");
    COPIED("\\x41", 17, "41");
    COPIED(7, 25, "37");
    COPIED((bool)true, 25, "74727565");
    COPIED(((chopin_time){ 946684800000000 }), 25, "323030302d30312d30312030303a30303a30302b3030");
    COPIED("{1,NULL}", 1007, "0000000100000001000000170000000200000001" "0000000400000001" "ffffffff");
    COPIED(((chopin_bits){ (const uint8_t *)"\xff", 3 }), 1562, "00000003e0");
    NOT_COPIED("x", 23, "22P02");
    NOT_COPIED("99999", 21, "22003");
    NOT_COPIED(1.5, 23, "22003");
    NOT_COPIED("pg_class", 2205, "22P02");
    NOT_COPIED("(1)", 2249, "22P02");
}

/* ---- what is refused before anything is sent ---- */
static void zero_bytes_and_bad_utf8_are_refused(void) {
    NOT(CHOPIN_STR("a\0b"), 0, "22021");
    NOT(CHOPIN_STR("a\xff"), 0, "22021");
    NOT(CHOPIN_STR("\xc0\x80"), 0, "22021");
    NOT(CHOPIN_STR("\xed\xa0\x80"), 0, "22021");
    NOT(chopin_pg_texts((const chopin_str[]){ { "a\0", 2 } }, 1), 0, "22021");
    NOT(chopin_pg_as_record(CHOPIN_PG_ARGS(CHOPIN_STR("\xff"))), 0, "22021");
    NOT(chopin_pg_as_json(CHOPIN_STR("\"\xff\"")), 0, "22021");
    CHECK_EQ_INT(try_it(chopin_pg_as_bytes("\0\xff", 2), 0, ENCODE).format, 1);
}
/* pgx CVE-2024-27304 and its like: a length that wraps 32 bits. The mapping is sparse; not a byte of it may be read. */
static void four_gib_and_eight_bytes_are_refused(void) {
#if SIZE_MAX > UINT32_MAX
    size_t n = ((size_t)1 << 32) + 8;
    void  *big = mmap(NULL, n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (big == MAP_FAILED) { printf("SKIPPED four_gib_and_eight_bytes_are_refused: no mapping\n"); return; }
    chopin_str s = { big, n };
    NOT(s, 0, "54000");
    NOT(s, 25, "54000");
    NOT(chopin_pg_as_bytes(big, n), 17, "54000");
    NOT(chopin_pg_as_numeric(s), 0, "54000");
    NOT(chopin_pg_texts(&s, 1), 0, "54000");
    NOT(((chopin_bits){ big, (size_t)1 << 33 }), 0, "54000");
    NOT(chopin_pg_i32s(big, (size_t)1 << 30), 0, "54000");
    munmap(big, n);
#endif
}
static void a_value_over_the_limit_of_the_buffer_is_refused(void) {
    chopin_pg__heap heap;
    chopin_pg_error e;
    chopin_pg__heap_init(&heap, NULL, NULL);
    chopin_pg__error_init(&e, &heap);
    chopin_pg__out o = { .heap = &heap, .limit = 1000 };
    char *text = calloc(1, 2000);
    memset(text, 'a', 1999);
    chopin_pg_param p = P(text);
    CHECK(chopin_pg__param_encode(&p, 0, &o, &e) < 0);
    CHECK_STR(chopin_pg__str_z(e.sqlstate), "54000");
    free(text);
    chopin_pg__out_done(&o);
    chopin_pg__error_clear(&e);
}

/* ---- copies and memory ---- */
static void kept_parameters_outlive_their_source(void) {
    int32_t    ids[] = { 1, 2 };
    char       text[] = "abc";
    chopin_str texts[] = { { text, 3 }, { NULL, 0 } };
    uint8_t    bits[] = { 0xa5 };
    chopin_pg_param inner[] = { P(text), chopin_pg_i32s(ids, 2), chopin_pg_texts(texts, 2), P(((chopin_bits){ bits, 8 })), CHOPIN_PG_NULL, P(5) };
    chopin_pg_param p = chopin_pg_as_record(inner, 6), kept = p;
    chopin_pg__heap heap;
    chopin_pg__heap_init(&heap, NULL, NULL);
    chopin_pg__arena a = { 0 };
    chopin_pg__arena_init(&a, &heap, 0);
    try_t before = try_it(p, 0, ENCODE);
    CHECK(chopin_pg__param_extra(&p) > 15);
    CHECK(chopin_pg__param_keep(&kept, &a));
    memset(inner, 0xee, sizeof inner);
    memset(text, 'x', 3);
    memset(ids, 0, sizeof ids);
    memset(texts, 0, sizeof texts);
    bits[0] = 0;
    try_t after = try_it(kept, 0, ENCODE);
    CHECK_STR(chopin_pg__str_z(after.hex), before.hex);
    chopin_pg__arena_free(&a);
}
static void every_allocation_may_fail(void) {
    static const chopin_str texts[] = { { "a\"b", 3 }, { NULL, 0 } };
    static const char *const long_text = "{\"a long text that does not fit into the first block of anything that grows, so that it has to grow\"}";
    for (int fail = 0; fail < 10; fail++) {
        chopin_pg_param list[] = { P(long_text), chopin_pg_texts(texts, 2), P(7), chopin_pg_as_range(2, CHOPIN_PG_ARGS(1, 5)), chopin_pg_as_record(CHOPIN_PG_ARGS("x", 1)) };
        for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
            static const uint32_t oids[] = { 0, 25, 1009, 3904, 3802 };
            for (size_t k = 0; k < sizeof oids / sizeof oids[0]; k++) {
                for (int how = ENCODE; how <= COPY; how++) {
                    allocations_left = fail;
                    try_t t = try_it(list[i], oids[k], how);
                    if (fail == 0) CHECK_EQ_INT(t.status, CHOPIN_PG_MEMORY);
                }
            }
            chopin_pg__heap heap;
            chopin_pg__heap_init(&heap, failing, NULL);
            chopin_pg__arena a = { 0 };
            chopin_pg__arena_init(&a, &heap, 0);
            chopin_pg_param kept = list[i];
            allocations_left = fail;
            bool whole = chopin_pg__param_keep(&kept, &a);
            if (fail == 0) CHECK_EQ_INT(whole, kept.kind == CHOPIN_PG__P_I64);
            chopin_pg__arena_free(&a);
        }
    }
    allocations_left = 1 << 30;
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(c_types_have_their_kinds);
    RUN(up_to_65_values_stand_in_one_call);
    RUN(first_use_is_text);
    RUN(bytes_are_binary_at_once);
    RUN(integers_go_into_every_width);
    RUN(a_range_error_names_the_type);
    RUN(floats_go_into_numbers);
    RUN(bools_texts_numerics);
    RUN(times_go_into_their_types);
    RUN(the_others);
    RUN(null_is_minus_one);
    RUN(arrays_are_one_parameter);
    RUN(arrays_of_arrays_are_further_dimensions);
    RUN(ranges_have_two_bounds);
    RUN(records_are_text);
    RUN(copy_goes_through_the_text);
    RUN(zero_bytes_and_bad_utf8_are_refused);
    RUN(four_gib_and_eight_bytes_are_refused);
    RUN(a_value_over_the_limit_of_the_buffer_is_refused);
    RUN(kept_parameters_outlive_their_source);
    RUN(every_allocation_may_fail);
    return TEST_END();
}
