/* test_pg_types.c - the server as oracle: what it makes of its own values decides whether ours are right.
 *
 * Run by `tests/pg.sh ./test_pg_types [names]`; without a server it says SKIPPED and ends with 77. For each type a table of edges and of values made from a
 * seed (CHOPIN_TEST_SEED, CHOPIN_TEST_VALUES): binary decoded and printed by us = x::text; text decoded = binary decoded; written by us in binary = the
 * server's bytes; sent as a parameter it comes back equal. Then the same under other settings of the session. */
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include <locale.h>
#include "pg_types.h"

static wire_t w, w2;
static int    values_count = 200;

/* ---- types: edges as SQL literals, and an expression that makes more; `i` is 1, 2, 3 ..., random() is seeded ---- */
typedef struct kind_t {
    const char *type;
    const char *edges;                 // elements for array['...']::text[]; a NULL is always added
    const char *make;
    unsigned    flags;
} kind_t;
enum { DATES = 1, SPANS = 2, TEXT_ONLY = 4, NO_TEXT = 8 };

#define R(limit)  "(random() * " #limit ")"
#define SIGNED(limit) "((random() - 0.5) * 2 * " #limit ")"
#define GROUP "to_hex((random() * 1.4)::int * (random() * 65535)::int)"
#define BITS64 "(('x' || substr(md5(random()::text), 1, 16))::bit(64)::int8)"

static const kind_t kinds[] = {
    { "bool", "'t','f'", "random() < 0.5", 0 },
    { "\"char\"", "'a','',' ','\"',',','{','\\','~'", "chr(1 + (random() * 125)::int)::\"char\"", 0 },
    { "int2", "'0','-32768','32767'", "((random() - 0.5) * 65534)::int2", 0 },
    { "int4", "'0','-2147483648','2147483647'", "((random() - 0.5) * 4294967294)::int4", 0 },
    { "int8", "'0','-9223372036854775808','9223372036854775807','9007199254740993'", BITS64 " >> (random() * 63)::int", 0 },
    { "oid", "'0','2147483648','4294967295'", "(random() * 4294967295)::int8::oid", 0 },
    { "xid", "'0','4294967295'", "((random() * 4294967295)::int8::text)::xid", 0 },
    { "xid8", "'0','9223372036854775808','18446744073709551615'", "((random() * 1e18)::int8::text)::xid8", 0 },
    { "tid", "'(0,0)','(4294967295,65535)'", "format('(%s,%s)', (random() * 4294967295)::int8, (random() * 65535)::int)::tid", 0 },
    { "pg_lsn", "'0/0','FFFFFFFF/FFFFFFFF','16/B374D848','0/1'", "'0/0'::pg_lsn + (random() * 1e18)::int8::numeric", 0 },
    { "float4", "'0','-0','NaN','Infinity','-Infinity','1e-45','3.4028235e38','1.17549435e-38','100000','1000000','999999.9','0.0001','0.00001','16777216','16777217','1.5'",
      "((random() - 0.5) * power(10::float8, (random() * 70 - 35)::int))::float4", 0 },
    { "float8", "'0','-0','NaN','Infinity','-Infinity','5e-324','2.2250738585072011e-308','1.7976931348623157e308','1e15','1e14','123456789012345','1e23','9007199254740993','0.1','0.30000000000000004','1e-4','1e-5','1.5','-1'",
      "(random() - 0.5) * power(10::float8, (random() * 600 - 300)::int)", 0 },
    { "numeric", "'0','0.0000','0.00001234','-0.00005','10000','1e20','1e-1000','NaN','Infinity','-Infinity','100000000.00000001','1.0','12345678901234567890.1234567890','-1','0.1','9999.9999','1e131071','1e-16383','99990000.0000','0.00010000'",
      "case when random() < 0.3 then (random() * 1e6)::int8::numeric * power(10::numeric, (random() * 30 - 15)::int) else round(" BITS64 "::numeric * random()::numeric, (random() * 30)::int) end", 0 },
    { "money", "'-1.50','1234567.89','0','92233720368547758.07','-92233720368547758.08'", "(random() * 1e12)::int8::money - 5e11::int8::money", NO_TEXT },
    { "text", "'','null','NULL','a\"b','a\\b','{a,b}',' ','é😀','line\nbreak','(',')','[',']',','", "md5(random()::text)", 0 },
    { "varchar", "'','abc  '", "substr(md5(random()::text), 1, (random() * 10)::int)::varchar", 0 },
    { "char(5)", "'','ab'", "substr(md5(random()::text), 1, (random() * 5)::int)::char(5)", 0 },
    { "name", "'a','pg_class'", "md5(random()::text)::name", 0 },
    { "json", "'{\"a\" : 1}','[]','1','\"x\"','null',' { } '", "json_build_object('k', random(), 'l', md5(random()::text))", 0 },
    { "jsonb", "'{\"a\" : 1}','[]','1','\"x\"','null',' { } '", "jsonb_build_object('k', random(), 'l', md5(random()::text))", 0 },
    { "jsonpath", "'$','$.a[*] ? (@ > 1)'", "('$.a' || (random() * 1000)::int)::jsonpath", 0 },
    { "xml", "'<a/>','<?xml version=\"1.0\"?><a>1</a>','text'", "('<a>' || random() || '</a>')::xml", TEXT_ONLY },
    { "bytea", "'','\\x00','\\x5c','\\x27','\\xff80'", "decode(substr(md5(random()::text), 1, 2 * (random() * 16)::int), 'hex')", 0 },
    { "uuid", "'00000000-0000-0000-0000-000000000000','ffffffff-ffff-ffff-ffff-ffffffffffff','{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}'", "md5(random()::text)::uuid", 0 },
    { "date", "'4713-11-24 BC','4714-11-24 BC','5874897-12-31','infinity','-infinity','0001-01-01','0001-12-31 BC','2000-02-29','1900-03-01','1999-12-31','2000-01-01','10000-01-01','0099-05-05'",
      "case when random() < 0.5 then '2000-01-01'::date + ((random() - 0.5) * 100000)::int else '2000-01-01'::date + (random() * 2147483647 - 2451545)::int8::int4 % 2145031948 end", DATES },
    { "time", "'00:00','24:00:00','23:59:59.999999','12:34:56.7','00:00:00.000001','23:59:60'", "'00:00'::time + random() * interval '1 day'", 0 },
    { "timetz", "'00:00+00','24:00:00-15:59:59','23:59:59.999999+15:59:59','12:00+02','12:34:56.7-03:30','12:00+00:19:32'",
      "format('%s%s', '00:00'::time + random() * interval '1 day', (array['+00','+02','-03:30','+05:45','-11:59:59'])[1 + (random() * 4)::int])::timetz", 0 },
    { "timestamp", "'infinity','-infinity','4714-11-24 00:00:00 BC','294276-12-31 23:59:59.999999','1999-12-31 23:59:59.999999','2000-01-01','0001-01-01 00:00 BC','1970-01-01','2024-02-29 12:34:56.789','0044-03-15 12:00 BC'",
      "case when random() < 0.5 then '2000-01-01'::timestamp + ((random() - 0.5) * 1e9) * interval '1 second' else '2000-01-01'::timestamp + (random() * 2924277 - 67000) * interval '36.5 days' end", DATES },
    { "timestamptz", "'infinity','-infinity','4714-11-24 00:00:00+00 BC','294276-12-31 23:59:59.999999+00','1999-12-31 23:59:59.999999+00','2000-01-01+00','1800-01-01 00:00+00','0001-01-01 00:00+00 BC','2024-02-29 12:34:56.789+00'",
      "case when random() < 0.5 then '2000-01-01+00'::timestamptz + ((random() - 0.5) * 1e9) * interval '1 second' else '2000-01-01+00'::timestamptz + (random() * 100000000) * interval '24 hours' end", DATES },
    { "interval", "'0','1 year','-1 year','1 mon','-1 mon 1 day','1 day -1 second','1 year 2 mons -3 days 04:05:06.7','-1 year -2 mons +3 days -04:05:06.000001','00:00:00.000001','-00:00:00.1','178956970 years 7 mons 2147483647 days','-178956970 years -8 mons -2147483648 days','2562047788:00:54.775807','-2562047788:00:54.775807','P1Y','-13 mons','1 day','-1 day','@ 1 minute ago','3 days 4:05:06','-3 days -4:05:06','1 mon -1 second','-1 mon 1 second','1-2','13 mons 1 second'",
      "((random() - 0.5) * 5000)::int * (random() < 0.6)::int * interval '1 month' + ((random() - 0.5) * 5000)::int * (random() < 0.6)::int * interval '1 day' + ((random() - 0.5) * 1e6) * (random() < 0.6)::int * interval '1 second'", SPANS },
    { "inet", "'0.0.0.0','0.0.0.0/0','10.0.0.1/8','255.255.255.255','1.2.3.4/31','::','::1','::/0','::ffff:1.2.3.4','::1.2.3.4','::2','::ffff','1::','1:0:0:2::3','fe80::1/64','2001:db8::/32','1:2:3:4:5:6:7:8','1:0:3:0:5:0:7:0','::1:2','0:0:0:0:0:ffff:0:1','1:2:3:4:5:6:0:0','0:0:3:4:5:6:7:8','::ffff:0:1.2.3.4'",
      "case when random() < 0.5 then format('%s.%s.%s.%s/%s', (random() * 255)::int, (random() * 255)::int, (random() * 255)::int, (random() * 255)::int, (random() * 32)::int)::inet else format('%s:%s:%s:%s:%s:%s:%s:%s', " GROUP ", " GROUP ", " GROUP ", " GROUP ", " GROUP ", " GROUP ", " GROUP ", " GROUP ")::inet end", 0 },
    { "cidr", "'0.0.0.0/0','10.0.0.0/8','1.2.3.4','1.2.3.4/32','::/0','::1','2001:db8::/32','fe80::/10'", "set_masklen(format('%s.%s.0.0/16', (random() * 255)::int, (random() * 255)::int)::cidr, 16 + (random() * 16)::int)", 0 },
    { "macaddr", "'00:00:00:00:00:00','ff:ff:ff:ff:ff:ff','08-00-2b-01-02-03','08002b:010203','0800.2b01.0203'", "substr(md5(random()::text), 1, 12)::macaddr", 0 },
    { "macaddr8", "'00:00:00:00:00:00:00:00','08:00:2b:01:02:03:04:05'", "substr(md5(random()::text), 1, 16)::macaddr8", 0 },
    { "bit(3)", "'101','000','111'", "((random() * 7)::int)::bit(3)", 0 },
    { "varbit", "'','1','101','11111111','111111110','0000000000000001'", "substr(" BITS64 "::bit(64)::text, 1, (random() * 64)::int)::varbit", 0 },
    { "point", "'(0,0)','(-0,1e300)','(NaN,Infinity)','(0.1,-1.5)'", "point(" SIGNED(1e6) ", random())", 0 },
    { "line", "'{1,2,3}','{0,-1,0.5}'", "line(point(random(), random()), point(random(), random() + 2))", 0 },
    { "lseg", "'[(0,0),(1,1)]'", "lseg(point(random(), random()), point(random(), random()))", 0 },
    { "box", "'(1,1),(0,0)','((0,0),(1,1))'", "box(point(random(), random()), point(random(), random()))", 0 },
    { "path", "'[(0,0)]','((0,0),(1,1),(2,0))','[(0,0),(1,1)]'", "path(polygon(3 + (random() * 5)::int, circle(point(0, 0), 1)))", 0 },
    { "polygon", "'((0,0),(1,1),(2,0))','((1,2))'", "polygon(3 + (random() * 5)::int, circle(point(0, 0), random()))", 0 },
    { "circle", "'<(0,0),0>','<(1.5,-2),3.25>'", "circle(point(random(), random()), random())", 0 },
    { "int4range", "'empty','(,)','[1,1]','[1,)','(,5]','[-5,5)','(3,4)'", "int4range((random() * 100)::int, 100 + (random() * 100)::int, (array['[)','(]','[]','()'])[1 + (random() * 3)::int])", 0 },
    { "int8range", "'empty','(,)','[1,1]'", "int8range((random() * 1e15)::int8, 2e15::int8)", 0 },
    { "numrange", "'empty','(,)','[1.1,2.2]','(0.0,1]','[NaN,NaN]','(-Infinity,Infinity)'", "numrange(random()::numeric, 1 + random()::numeric, '(]')", 0 },
    { "daterange", "'empty','(,)','[2024-01-01,2024-12-31]','[-infinity,infinity]','(,infinity)','[0044-03-15 BC,0001-01-01)'", "daterange('2000-01-01'::date + (random() * 1000)::int, '2010-01-01'::date)", DATES },
    { "tsrange", "'empty','(,)','[2024-01-01 00:00,2024-01-02 12:34:56.7)','[-infinity,infinity]'", "tsrange('2000-01-01'::timestamp + random() * interval '1000 days', '2010-01-01'::timestamp)", DATES },
    { "tstzrange", "'empty','(,)','[2024-01-01 00:00+00,2024-01-02 12:34:56.7+00)','(,infinity]'", "tstzrange('2000-01-01+00'::timestamptz + random() * interval '24000 hours', '2010-01-01+00'::timestamptz)", DATES },
    { "int4multirange", "'{}','{[1,2)}','{[1,2),[5,9)}','{(,)}'", "int4multirange(int4range(0, 1 + (random() * 9)::int), int4range(20, 30))", 0 },
    { "nummultirange", "'{}','{[1.5,2),(3,)}'", "nummultirange(numrange(random()::numeric, 2))", 0 },
    { "datemultirange", "'{}','{[2024-01-01,2024-02-01)}'", "datemultirange(daterange('2000-01-01', '2000-01-02'::date + (random() * 9)::int))", DATES },
    { "tstzmultirange", "'{}','{[2024-01-01+00,2024-02-01+00)}'", "tstzmultirange(tstzrange('2000-01-01+00', '2001-01-01+00'::timestamptz + random() * interval '9 hours'))", DATES },
    { "tsmultirange", "'{}','{[2024-01-01,2024-02-01)}'", "tsmultirange(tsrange('2000-01-01', '2001-01-01'::timestamp + random() * interval '9 hours'))", DATES },
    { "int8multirange", "'{}','{[1,2)}'", "int8multirange(int8range(0, 1 + (random() * 9)::int))", 0 },
    { "int4[]", "'{}','{1,NULL,3}','{{1,2},{3,4}}','[0:1]={1,2}','[-2:-1][5:6]={{1,2},{3,4}}','{{{{{{1}}}}}}'", "array[(random() * 1000)::int, null, (random() * -1000)::int]", 0 },
    { "text[]", "'{}','{NULL,\"NULL\",null,\"\"}','{a b,\"a\\\"b\",\"a\\\\b\",\"{}\",\",\"}','{é😀,\"\n\"}','{{a,b},{c,NULL}}'", "array[md5(random()::text), chr(1 + (random() * 126)::int), chr(32 + (random() * 90)::int) || ' ', null]", 0 },
    { "bool[]", "'{t,f,NULL}'", "array[random() < 0.5]", 0 },
    { "\"char\"[]", "'{a,\"\",NULL}'", "array['a'::\"char\", chr(1 + (random() * 125)::int)::\"char\"]", 0 },
    { "bytea[]", "'{\"\\\\x0001\",NULL,\"\\\\x\"}'", "array[decode(md5(random()::text), 'hex'), ''::bytea]", 0 },
    { "numeric[]", "'{1.50,NaN,NULL}'", "array[random()::numeric, 1e20]", 0 },
    { "float4[]", "'{1.5,NaN,-Infinity}'", "array[random()::float4]", 0 },
    { "float8[]", "'{1.5,NaN,-Infinity}'", "array[random(), 1e15]", 0 },
    { "int2[]", "'{1,2}'", "array[(random() * 100)::int2]", 0 },
    { "int8[]", "'{1,2}'", "array[(random() * 1e18)::int8]", 0 },
    { "oid[]", "'{1,4294967295}'", "array[(random() * 1e9)::int8::oid]", 0 },
    { "date[]", "'{2024-01-01,infinity,\"0044-03-15 BC\"}'", "array['2000-01-01'::date + (random() * 1000)::int]", DATES },
    { "timestamp[]", "'{\"2024-01-01 00:00:00\",infinity}'", "array['2000-01-01'::timestamp + random() * interval '1 day']", DATES },
    { "timestamptz[]", "'{\"2024-01-01 00:00:00+00\",infinity}'", "array['2000-01-01+00'::timestamptz + random() * interval '1 hour']", DATES },
    { "time[]", "'{24:00:00,00:00:01}'", "array['00:00'::time + random() * interval '1 hour']", 0 },
    { "timetz[]", "'{24:00:00+02}'", "array['00:00+01'::timetz + random() * interval '1 hour']", 0 },
    { "interval[]", "'{\"1 day\",\"-1 mons +1 day\"}'", "array[random() * interval '100 days']", SPANS },
    { "uuid[]", "'{}'", "array[md5(random()::text)::uuid]", 0 },
    { "inet[]", "'{10.0.0.1/8,::1}'", "array[format('1.2.3.%s', (random() * 255)::int)::inet]", 0 },
    { "cidr[]", "'{10.0.0.0/8}'", "array['10.0.0.0/8'::cidr]", 0 },
    { "macaddr[]", "'{08:00:2b:01:02:03}'", "array[substr(md5(random()::text), 1, 12)::macaddr]", 0 },
    { "varbit[]", "'{101,\"\"}'", "array['1'::varbit]", 0 },
    { "box[]", "'{(1,1),(0,0);(2,2),(1,1)}'", "array[box(point(0,0), point(1,random()))]", 0 },
    { "point[]", "'{\"(1,2)\",\"(3,4)\"}'", "array[point(random(), 1)]", 0 },
    { "circle[]", "'{\"<(1,2),3>\"}'", "array[circle(point(random(), 1), 2)]", 0 },
    { "jsonb[]", "'{\"{\\\"a\\\": 1}\",null}'", "array[jsonb_build_object('a', random())]", 0 },
    { "json[]", "'{\"{\\\"a\\\": 1}\",null}'", "array[json_build_object('a', random())]", 0 },
    { "int4range[]", "'{\"[1,2)\",empty,NULL}'", "array[int4range(1, 2 + (random() * 9)::int)]", 0 },
    { "tstzrange[]", "'{\"[2024-01-01 00:00:00+00,)\"}'", "array[tstzrange('2000-01-01+00', null)]", DATES },
    { "int4multirange[]", "'{\"{[1,2)}\"}'", "array[int4multirange(int4range(1, 2 + (random() * 9)::int))]", 0 },
    { "money[]", "'{1.50}'", "array[(random() * 100)::int::money]", NO_TEXT },
    { "regclass", "'pg_class'", "'pg_type'::regclass", TEXT_ONLY },
    { "tsvector", "'a b:1'", "to_tsvector('simple', md5(random()::text))", TEXT_ONLY },
    { "tsquery", "'a & b'", "plainto_tsquery('simple', md5(random()::text))", TEXT_ONLY },
    { "aclitem", "'tester=r/tester'", "'=r/tester'::aclitem", TEXT_ONLY },
    { "mood", "'sad','happy'", "'happy'::mood", TEXT_ONLY },
    { "mood[]", "'{sad,happy}'", "array['happy'::mood]", TEXT_ONLY },
    { "pair", "'(1,a)','(,)','(1,\"\")','(2,\"a \"\"b\"\" \\\\ c\")','(3,\"(x)\")'", "row((random() * 9)::int, md5(random()::text))::pair", TEXT_ONLY },
    { "posint", "'1','2'", "(1 + (random() * 9)::int)::posint", 0 },
    { "floatrange", "'[1.5,2)','empty'", "format('[%s,2)', random())::floatrange", TEXT_ONLY },
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static void set_up_session(wire_t *c) {
    wire_do(c, "set timezone to 'UTC'");
    wire_do(c, "set lc_monetary to 'C'");
    wire_do(c, "create type pg_temp.mood as enum ('sad', 'happy')");
    wire_do(c, "create type pg_temp.pair as (a int, b text)");
    wire_do(c, "create domain pg_temp.posint as int check (value > 0)");
    wire_do(c, "create type pg_temp.floatrange as range (subtype = float8)");
}

static void set_up(void) {
    set_up_session(&w);
    set_up_session(&w2);
    for (int k = 0; k < KINDS; k++) {
        char sql[8192];
        wire_do(&w, "select setseed(0.25)");
        snprintf(sql, sizeof sql, "create temp table k%d as select row_number() over () n, v from (select null::%s v union all select unnest(array[%s]::text[])::%s v union all select %s v from generate_series(1, %d) i) s",
                 k, kinds[k].type, kinds[k].edges, kinds[k].type, kinds[k].make, values_count);
        wire_do(&w, sql);
        snprintf(sql, sizeof sql, "create temp table t%d as select n, v, case when v is not distinct from null then null else format('%%s', v) end t from k%d", k, k);
        wire_do(&w, sql);
    }
}

static bool same(chopin_str a, chopin_str b) { return chopin_pg__equal(a, b); }

/* Reports a difference once per test and type; the rest is counted. */
static int reported;
static void differ(const kind_t *k, const char *what, chopin_str got, chopin_str want) {
    static const kind_t *last;
    static int           shown;
    reported++;
    shown = k == last ? shown + 1 : 0;
    last = k;
    if (shown > 2) return;
    printf("%s: %s: \"%.*s\", expected \"%.*s\"\n", k->type, what, (int)got.len, got.ptr, (int)want.len, want.ptr);
}
static void verdict(void) { CHECK_EQ_INT(reported, 0); reported = 0; }

static bool select_all(int k, int format) {
    char sql[100];
    int  formats[] = { format, 0, 0 };
    snprintf(sql, sizeof sql, "select v, v, t from t%d order by n", k);
    return wire_query(&w, sql, NULL, 0, formats, 3);
}

static bool asked_in_binary(int k) { return select_all(k, 0) && chopin_pg__oid_binary(w.oid[0]); }

static void each_value(void (*look)(const kind_t *k, const chopin_pg__value *binary, const chopin_pg__value *text, chopin_str want)) {
    for (int k = 0; k < KINDS; k++) {
        bool binary = asked_in_binary(k);
        if (!select_all(k, binary)) { printf("%s: %s %s\n", kinds[k].type, w.sqlstate, w.message); reported++; continue; }
        for (size_t i = 0; i < w.rows; i++) {
            chopin_pg__value b = wire_value(&w, i, 0, binary), t = wire_value(&w, i, 1, false), x = wire_value(&w, i, 2, false);
            if (b.null) { if (!t.null || !x.null) reported++; continue; }
            look(&kinds[k], &b, &t, chopin_pg__value_str(&x));
        }
    }
    verdict();
}

/* ---- decoding ---- */
static void look_text(const kind_t *k, const chopin_pg__value *b, const chopin_pg__value *t, chopin_str want) {
    heap_room_t h;
    chopin_str  got = { "", 0 };
    heap_room_init(&h);
    int rc = chopin_pg__value_text(b, &h.room, &got);
    if (rc || !same(got, want)) differ(k, "binary as text", got, want);
    rc = chopin_pg__value_text(t, &h.room, &got);
    if (rc || !same(got, want)) differ(k, "text as text", got, want);
    heap_room_done(&h);
}
static void values_print_as_the_server_prints_them(void) { each_value(look_text); }

/* Both formats through the whole codec: each gives the bytes the server sent. */
static void look_transcode(const kind_t *k, const chopin_pg__value *b, const chopin_pg__value *t, chopin_str want) {
    heap_room_t    h;
    if (k->flags & TEXT_ONLY) return;
    heap_room_init(&h);
    chopin_pg__out o = { .heap = &h.heap };
    int rc = chopin_pg__put_value(&o, b, &h.room);
    if (b->binary && (rc || !same(chopin_pg__str(o.ptr, o.len), chopin_pg__value_str(b)))) differ(k, "binary from binary", chopin_pg__str("", 0), want);
    o.len = 0;
    rc = chopin_pg__put_value(&o, t, &h.room);
    if (b->binary && (rc || !same(chopin_pg__str(o.ptr, o.len), chopin_pg__value_str(b)))) differ(k, rc ? "binary from text refused" : "binary from text", chopin_pg__str("", 0), want);
    chopin_pg__out_done(&o);
    heap_room_done(&h);
}
static void values_written_in_binary_are_the_servers_bytes(void) { each_value(look_transcode); }

/* ---- encoding ---- */
static void look_round_trip(const kind_t *k, const chopin_pg__value *b, const chopin_pg__value *t, chopin_str want) {
    heap_room_t h;
    char        sql[200];
    (void)b;
    if (k->flags & (TEXT_ONLY | NO_TEXT)) return;
    heap_room_init(&h);
    chopin_pg__out o = { .heap = &h.heap };
    chopin_pg__put_value(&o, t, &h.room);
    snprintf(sql, sizeof sql, "select format('%%s', $1::%s)", k->type);
    wire_param_t p = { o.ptr ? (const void *)o.ptr : "", o.len, true, 0 };
    if (!wire_query(&w2, sql, &p, 1, NULL, 0)) differ(k, w2.message, chopin_pg__str_z(w2.sqlstate), want);
    else {
        chopin_pg__value back = wire_value(&w2, 0, 0, false);
        if (!same(chopin_pg__value_str(&back), want)) differ(k, "sent in binary comes back as", chopin_pg__value_str(&back), want);
    }
    chopin_pg__out_done(&o);
    heap_room_done(&h);
}
static void values_sent_in_binary_come_back_equal(void) { each_value(look_round_trip); }

/* ---- settings ---- */
static bool iso, verbose;
static void look_settings(const kind_t *k, const chopin_pg__value *b, const chopin_pg__value *t, chopin_str want) {
    heap_room_t h;
    chopin_str  got = { "", 0 };
    heap_room_init(&h);
    if (k->flags & NO_TEXT) { heap_room_done(&h); return; }
    int rc = b->binary ? chopin_pg__value_text(b, &h.room, &got) : 0;
    if (b->binary && (rc || !same(got, want))) differ(k, "binary as text", got, want);
    bool unreadable = (k->flags & DATES && !iso) || (k->flags & SPANS && verbose);
    rc = chopin_pg__value_text(t, &h.room, &got);
    if (!unreadable && (rc || !same(got, want))) differ(k, "text as text", got, want);
    chopin_pg__scalar s;
    rc = b->binary ? chopin_pg__load(t, &s) : CHOPIN_PG_TYPE;
    if (unreadable && rc == 0) {                                         // what is readable all the same must be right
        chopin_pg__pen pen = { .room = &h.room };
        chopin_pg__pen_scalar(&pen, &s);
        if (!same(chopin_pg__str(pen.ptr, pen.len), want)) differ(k, "misread", chopin_pg__str(pen.ptr, pen.len), want);
    }
    heap_room_done(&h);
}

static void under(const char *setting, bool is_iso, bool is_verbose) {
    iso = is_iso;
    verbose = is_verbose;
    wire_do(&w, setting);
    int before = test__all.bad;
    each_value(look_settings);
    if (test__all.bad != before) printf("under: %s\n", setting);
    wire_do(&w, "reset all");
    wire_do(&w, "set timezone to 'UTC'");
    wire_do(&w, "set lc_monetary to 'C'");
}
static void values_are_the_same_under_any_timezone(void) {
    under("set timezone to 'Europe/Amsterdam'", true, false);
    under("set timezone to 'America/St_Johns'", true, false);
    under("set timezone to 'Asia/Kathmandu'", true, false);
}
static void values_are_the_same_under_any_datestyle(void) {
    under("set datestyle to 'ISO, DMY'", true, false);
    under("set datestyle to 'SQL, DMY'", false, false);
    under("set datestyle to 'SQL, MDY'", false, false);
    under("set datestyle to 'German'", false, false);
    under("set datestyle to 'Postgres, MDY'", false, false);
}
static void values_are_the_same_under_any_intervalstyle(void) {
    under("set intervalstyle to 'iso_8601'", true, false);
    under("set intervalstyle to 'sql_standard'", true, false);
    under("set intervalstyle to 'postgres_verbose'", true, true);
}
static void values_are_the_same_under_any_bytea_output(void) { under("set bytea_output to 'escape'", true, false); }
static void values_are_the_same_with_more_float_digits(void) { under("set extra_float_digits to 3", true, false); }

/* ---- money: minor units from the text of any locale ---- */
static void money_of_any_locale_is_its_minor_units(void) {
    static const char *const locales[] = { "C", "en_US.UTF-8", "de_DE.UTF-8", "ja_JP.UTF-8", "C.UTF-8" };
    for (size_t l = 0; l < sizeof locales / sizeof locales[0]; l++) {
        char sql[100];
        snprintf(sql, sizeof sql, "set lc_monetary to '%s'", locales[l]);
        if (!wire_query(&w, sql, NULL, 0, NULL, 0)) continue;
        int formats[] = { 1, 0 };
        wire_query(&w, "select v, v from (values (-1.50::numeric::money), (1234567.89::numeric::money), (0::money), (5::money)) x(v)", NULL, 0, formats, 2);
        for (size_t i = 0; i < w.rows; i++) {
            chopin_pg__value b = wire_value(&w, i, 0, true), t = wire_value(&w, i, 1, false);
            int64_t x = 1, y = 2;
            CHECK_EQ_INT(chopin_pg__value_i64(&b, INT64_MIN, INT64_MAX, &x), 0);
            CHECK_EQ_INT(chopin_pg__value_i64(&t, INT64_MIN, INT64_MAX, &y), 0);
            CHECK_EQ_INT(x, y);
        }
    }
    wire_do(&w, "set lc_monetary to 'C'");
}

/* ---- the table of types ---- */
static void the_table_is_the_servers(void) {
    CHECK(wire_query(&w, "select oid::int8, typname, typelem::int8, typlen, typtype, typarray::int8 from pg_type where oid < 10000 and typtype in ('b','r','m') or oid in (705, 2249, 2278, 2275, 2287)", NULL, 0, NULL, 0));
    for (size_t i = 0; i < w.rows; i++) {
        chopin_pg__value v[6];
        int64_t oid = 0, elem = 0, len = 0;
        for (unsigned c = 0; c < 6; c++) v[c] = wire_value(&w, i, c, false);
        chopin_pg__value_i64(&v[0], 0, INT64_MAX, &oid);
        chopin_pg__value_i64(&v[2], 0, INT64_MAX, &elem);
        chopin_pg__value_i64(&v[3], -10, INT64_MAX, &len);
        const chopin_pg__type *t = chopin_pg__type_of((uint32_t)oid);
        if (t->kind == CHOPIN_PG__C_UNKNOWN) continue;
        CHECK_STR(chopin_pg__value_str(&v[1]), t->name);
        if (t->name[0] == '_') CHECK_EQ_INT(t->part, elem);
        if (t->size > 0 && t->kind != CHOPIN_PG__C_MONEY) CHECK_EQ_INT(t->size, len);
    }
    for (size_t i = 1; i < CHOPIN_PG__COUNT(chopin_pg__types); i++) CHECK(chopin_pg__types[i - 1].oid < chopin_pg__types[i].oid);
    CHECK(wire_query(&w, "select rngtypid::int8, rngsubtype::int8, rngmultitypid::int8 from pg_range where rngtypid < 10000", NULL, 0, NULL, 0));
    for (size_t i = 0; i < w.rows; i++) {
        int64_t id[3] = { 0 };
        for (unsigned c = 0; c < 3; c++) { chopin_pg__value v = wire_value(&w, i, c, false); chopin_pg__value_i64(&v, 0, INT64_MAX, &id[c]); }
        CHECK_EQ_INT(chopin_pg__type_of((uint32_t)id[0])->part, id[1]);
        CHECK_EQ_INT(chopin_pg__type_of((uint32_t)id[2])->part, id[0]);
    }
}

/* Every type asked for in binary has a binary form on the server. */
static void what_is_asked_in_binary_can_be_sent_in_binary(void) {
    CHECK(wire_query(&w, "select oid::int8, typsend::oid::int8 from pg_type", NULL, 0, NULL, 0));
    for (size_t i = 0; i < w.rows; i++) {
        chopin_pg__value a = wire_value(&w, i, 0, false), b = wire_value(&w, i, 1, false);
        int64_t oid = 0, send = 0;
        chopin_pg__value_i64(&a, 0, INT64_MAX, &oid);
        chopin_pg__value_i64(&b, 0, INT64_MAX, &send);
        if (chopin_pg__oid_binary((uint32_t)oid)) CHECK(send != 0);
    }
}

/* ---- parameters: every C kind into every type, first use (text) = second use (the server's type) ---- */
static const char *const into[] = {
    "bool", "\"char\"", "int2", "int4", "int8", "oid", "xid", "xid8", "tid", "pg_lsn", "float4", "float8", "numeric", "money", "text", "varchar", "bpchar", "name", "json", "jsonb", "jsonpath",
    "xml", "bytea", "uuid", "date", "time", "timetz", "timestamp", "timestamptz", "interval", "inet", "cidr", "macaddr", "macaddr8", "bit", "varbit", "point", "line", "lseg", "box", "path",
    "polygon", "circle", "int4range", "int8range", "numrange", "daterange", "tsrange", "tstzrange", "int4multirange", "nummultirange", "tstzmultirange", "int2[]", "int4[]", "int8[]",
    "float4[]", "float8[]", "numeric[]", "text[]", "varchar[]", "bool[]", "date[]", "timestamptz[]", "uuid[]", "bytea[]", "inet[]", "int4range[]", "int4multirange[]", "jsonb[]", "oid[]",
    "xid8[]", "time[]", "interval[]", "box[]", "regclass", "tsvector", "mood", "mood[]", "pair", "posint", "floatrange"
};
enum { INTO = sizeof into / sizeof into[0] };
static uint32_t into_oid[INTO];
static int      pairs_tried, pairs_good;

static void describe_param(const chopin_pg_param *p, char *text, size_t cap) {
    chopin_pg__heap heap;
    chopin_pg__heap_init(&heap, NULL, NULL);
    chopin_pg__out o = { .heap = &heap };
    if (p->kind) chopin_pg__param_text(&o, p);
    snprintf(text, cap, "kind %d %.*s", p->kind, (int)o.len, o.ptr ? (const char *)o.ptr : "");
    chopin_pg__out_done(&o);
}

/* The answer for one parameter of one format: its text, or the SQLSTATE. */
static void ask(const char *type, const chopin_pg_param *p, uint32_t oid, char *answer, size_t cap) {
    chopin_pg__heap heap;
    chopin_pg_error e;
    char sql[200];
    chopin_pg__heap_init(&heap, NULL, NULL);
    chopin_pg__error_init(&e, &heap);
    chopin_pg__out o = { .heap = &heap };
    int format = chopin_pg__param_encode(p, oid, &o, &e);
    if (format < 0) snprintf(answer, cap, "%s", e.sqlstate);
    else {
        bool null = p->kind == CHOPIN_PG__P_NULL;
        if (!null && chopin_pg__load32(o.ptr) != o.len - 4) printf("wrong length for %s\n", type);
        wire_param_t wp = { null ? NULL : (const void *)(o.ptr + 4), o.len - 4, format == 1, oid ? 0 : chopin_pg__param_oid(p) };
        snprintf(sql, sizeof sql, "select format('%%s', $1::%s)", type);
        if (!wire_query(&w, sql, &wp, 1, NULL, 0)) snprintf(answer, cap, "%s", w.sqlstate);
        else {
            chopin_pg__value v = wire_value(&w, 0, 0, false);
            snprintf(answer, cap, "= %.*s", (int)v.len, (const char *)v.ptr);
        }
    }
    chopin_pg__out_done(&o);
    chopin_pg__error_clear(&e);
}

static void compare_uses(const chopin_pg_param *p) {
    char first[1000], second[1000], text[200];
    for (int t = 0; t < INTO; t++) {
        ask(into[t], p, 0, first, sizeof first);
        ask(into[t], p, into_oid[t], second, sizeof second);
        pairs_tried++;
        pairs_good += first[0] == '=';
        bool declared = p->kind == CHOPIN_PG__P_BYTES && strcmp(into[t], "bytea") != 0;    // a bytea from the first use on
        if (declared || strcmp(first, second) == 0) continue;
        describe_param(p, text, sizeof text);
        if (reported++ < 30) printf("%s into %s: first use \"%s\", second \"%s\"\n", text, into[t], first, second);
    }
}

static void learn_types(void) {
    wire_do(&w, "set search_path to pg_temp, public, pg_catalog");
    for (int t = 0; t < INTO; t++) {
        char sql[100];
        snprintf(sql, sizeof sql, "select $1::%s", into[t]);
        wire_param_t none = { NULL, 0, false, 0 };
        if (!wire_query(&w, sql, &none, 1, NULL, 0)) printf("%s: %s\n", into[t], w.message);
        into_oid[t] = w.param_oid[0];
    }
}

#define P(x) chopin_pg_param_of(x)
static void uses_agree(const chopin_pg_param *list, size_t n) {
    for (size_t i = 0; i < n; i++) compare_uses(&list[i]);
    verdict();
}
#define USES(...) uses_agree(CHOPIN_PG_ARGS(__VA_ARGS__))

static void nulls_and_bools_mean_the_same_in_both_uses(void) { USES(CHOPIN_PG_NULL, true, false, (const char *)NULL); }
static void integers_mean_the_same_in_both_uses(void) {
    USES(0, 1, -1, 42, 127, 255, 256, 32767, 32768, -32768, -32769, 2147483647, 2147483648LL, -2147483648LL, -2147483649LL, 4294967295U, 4294967296LL, 9007199254740993LL, 16777217,
         INT64_MAX, INT64_MIN, UINT64_MAX, (uint64_t)INT64_MAX + 1, (short)7, (unsigned char)200, (signed char)-3, 20240102);
}
static void doubles_mean_the_same_in_both_uses(void) {
    USES(0.0, -0.0, 1.0, 2.0, 1.5, -1.5, 0.1, 1e15, 1e16, 1e18, 9.3e18, 1e19, -1e19, 1e22, 1e300, 1e-300, 5e-324, 1e-45, 1e-46, 3.5e38, 3.4028235e38, 3.4028235677973366e38, 16777217.0,
         2147483647.0, 2147483648.0, 32768.0, 9007199254740993.0, NAN, INFINITY, -INFINITY, 0.1f, 1.5f, 3e38f, 1e-40f, 16777216.0f, NAN * 1.0f, 1e10f, 123456789.123456789);
}
static void texts_mean_the_same_in_both_uses(void) {
    USES("", "1", "t", "abc", "2024-01-02", "2024-01-02 03:04:05", "infinity", "NaN", "{}", "{1,2}", "[1,2)", "(1,2)", "10.0.0.1", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "\\x4142", "null", "1.50", " 5 ", "é😀",
         chopin_pg_as_json(CHOPIN_STR("{\"a\": 1}")), CHOPIN_STR("x"));
}
static void bytes_mean_the_same_in_both_uses(void) { USES(chopin_pg_as_bytes("", 0), chopin_pg_as_bytes("\0\1\\'\"\xff", 6)); }
static void numerics_mean_the_same_in_both_uses(void) {
    USES(chopin_pg_as_numeric(CHOPIN_STR("0")), chopin_pg_as_numeric(CHOPIN_STR("0.0000")), chopin_pg_as_numeric(CHOPIN_STR("0.00001234")), chopin_pg_as_numeric(CHOPIN_STR("-0.00005")),
         chopin_pg_as_numeric(CHOPIN_STR("1e20")), chopin_pg_as_numeric(CHOPIN_STR("1e-1000")), chopin_pg_as_numeric(CHOPIN_STR("1.5e3")), chopin_pg_as_numeric(CHOPIN_STR("NaN")),
         chopin_pg_as_numeric(CHOPIN_STR("-Infinity")), chopin_pg_as_numeric(CHOPIN_STR("1e131072")), chopin_pg_as_numeric(CHOPIN_STR("1e-16384")), chopin_pg_as_numeric(CHOPIN_STR("abc")),
         chopin_pg_as_numeric(CHOPIN_STR("1e200001")), chopin_pg_as_numeric(CHOPIN_STR("-")), chopin_pg_as_numeric(CHOPIN_STR(".5")), chopin_pg_as_numeric(CHOPIN_STR("5.")),
         chopin_pg_as_decimal(12345, 2), chopin_pg_as_decimal(-5, 5), chopin_pg_as_decimal(INT64_MIN, 30), chopin_pg_as_decimal(7, -3), chopin_pg_as_decimal(0, 4), chopin_pg_as_decimal(100, 2));
}
static void times_mean_the_same_in_both_uses(void) {
    USES(((chopin_time){ 0 }), ((chopin_time){ -1 }), ((chopin_time){ 946684799999999 }), ((chopin_time){ INT64_MAX }), ((chopin_time){ INT64_MIN }), ((chopin_time){ 1704164645678901 }), ((chopin_time){ -62135596800000001 }),
         ((chopin_time){ -210866803200000000 }), ((chopin_time){ -210866803200000001 }), ((chopin_time){ 9223372036854775806 }), ((chopin_date){ 0 }), ((chopin_date){ INT32_MAX }), ((chopin_date){ INT32_MIN }), ((chopin_date){ -719529 }),
         ((chopin_date){ -2440588 }), ((chopin_date){ -2440589 }), ((chopin_date){ 2145042905 }), ((chopin_date){ 2145042906 }), ((chopin_clock){ 0 }), ((chopin_clock){ .us = 86400000000 }), ((chopin_clock){ .us = 43200000001, .zoned = true, .east = 7200 }),
         ((chopin_clock){ .us = 1, .zoned = true, .east = -57599 }), ((chopin_interval){ 0 }), ((chopin_interval){ -1, 1, -1 }), ((chopin_interval){ INT64_MAX, INT32_MIN, INT32_MAX }), ((chopin_interval){ 14706700000, -3, 14 }),
         ((chopin_interval){ -775808, 0, 0 }), ((chopin_interval){ INT64_MIN + 1, INT32_MAX, INT32_MIN }), ((chopin_interval){ INT64_MIN, 0, 0 }));
}
static void others_mean_the_same_in_both_uses(void) {
    USES(((chopin_uuid){ { 1, 2, 3, 255 } }), ((chopin_inet){ { 10, 0, 0, 1 }, 4, 32, false }), ((chopin_inet){ { 10, 0, 0, 0 }, 4, 8, true }), ((chopin_inet){ { 10, 0, 0, 1 }, 4, 8, false }), ((chopin_inet){ { 0x20, 1 }, 16, 128, false }),
         ((chopin_inet){ { 0 }, 16, 0, false }), ((chopin_mac){ { 8, 0, 43, 1, 2, 3 }, 6 }), ((chopin_mac){ { 8, 0, 43, 1, 2, 3, 4, 5 }, 8 }), ((chopin_point){ 1.5, -2 }), ((chopin_point){ NAN, 1e300 }),
         ((chopin_bits){ (const uint8_t *)"\xa0", 3 }), ((chopin_bits){ (const uint8_t *)"\xa5\xff", 16 }), ((chopin_bits){ (const uint8_t *)"", 0 }), ((chopin_bits){ (const uint8_t *)"\xff", 1 }));
}
static void arrays_mean_the_same_in_both_uses(void) {
    static const int32_t small[] = { 1, -2, 70000 };
    static const int64_t big[] = { 1, INT64_MAX, INT64_MIN };
    static const double  floats[] = { 1, 1.5, NAN, -INFINITY, 1e300 };
    static const bool    flags[] = { true, false };
    static const chopin_str texts[] = { { "a", 1 }, { NULL, 0 }, { "NULL", 4 }, { "", 0 }, { "a\"b\\c", 5 }, { "{,}", 3 }, { " ", 1 }, { "1", 1 } };
    USES(chopin_pg_i32s(small, 3), chopin_pg_i32s(small, 0), chopin_pg_i32s(NULL, 0), chopin_pg_i64s(big, 3), chopin_pg_f64s(floats, 5), chopin_pg_bools(flags, 2), chopin_pg_texts(texts, 8), chopin_pg_texts(texts, 0),
         chopin_pg_as_array(CHOPIN_PG_ARGS(1, 2, CHOPIN_PG_NULL)), chopin_pg_as_array(CHOPIN_PG_ARGS(CHOPIN_PG_NULL)), chopin_pg_as_array(CHOPIN_PG_ARGS(1, "2", 3.5)), chopin_pg_as_array(CHOPIN_PG_ARGS(((chopin_date){ 1 }), "infinity")),
         chopin_pg_as_array(CHOPIN_PG_ARGS(chopin_pg_i32s(small, 2), chopin_pg_i32s(small + 1, 2))), chopin_pg_as_array(CHOPIN_PG_ARGS(chopin_pg_texts(texts, 2), chopin_pg_texts(texts, 2))),
         chopin_pg_as_array(CHOPIN_PG_ARGS(chopin_pg_as_bytes("\1\\", 2), CHOPIN_PG_NULL)), chopin_pg_as_array(CHOPIN_PG_ARGS(((chopin_uuid){ { 1 } }), ((chopin_uuid){ { 2 } }))), chopin_pg_as_array(CHOPIN_PG_ARGS(((chopin_time){ 1 }))));
}
static void ranges_and_records_mean_the_same_in_both_uses(void) {
    USES(chopin_pg_as_range(CHOPIN_PG_LOWER_INC, CHOPIN_PG_ARGS(1, 5)), chopin_pg_as_range(CHOPIN_PG_EMPTY, CHOPIN_PG_ARGS(CHOPIN_PG_NULL, CHOPIN_PG_NULL)), chopin_pg_as_range(0, CHOPIN_PG_ARGS(CHOPIN_PG_NULL, CHOPIN_PG_NULL)),
         chopin_pg_as_range(CHOPIN_PG_LOWER_INC | CHOPIN_PG_UPPER_INC, CHOPIN_PG_ARGS(1, 1)), chopin_pg_as_range(CHOPIN_PG_LOWER_INC, CHOPIN_PG_ARGS(5, 1)), chopin_pg_as_range(CHOPIN_PG_LOWER_INC | CHOPIN_PG_UPPER_INF, CHOPIN_PG_ARGS(1, 7)),
         chopin_pg_as_range(CHOPIN_PG_LOWER_INC, CHOPIN_PG_ARGS(((chopin_date){ 19000 }), ((chopin_date){ INT32_MAX }))), chopin_pg_as_range(0, CHOPIN_PG_ARGS(((chopin_time){ 0 }), ((chopin_time){ 1 }))),
         chopin_pg_as_range(CHOPIN_PG_UPPER_INC, CHOPIN_PG_ARGS(1.5, 2.5)), chopin_pg_as_array(CHOPIN_PG_ARGS(chopin_pg_as_range(2, CHOPIN_PG_ARGS(1, 2)), chopin_pg_as_range(1, CHOPIN_PG_ARGS(1, 2)), CHOPIN_PG_NULL)),
         chopin_pg_as_multirange(CHOPIN_PG_ARGS(chopin_pg_as_range(2, CHOPIN_PG_ARGS(1, 2)), chopin_pg_as_range(2, CHOPIN_PG_ARGS(5, 9)))), chopin_pg_as_multirange(NULL, 0),
         chopin_pg_as_array(CHOPIN_PG_ARGS(chopin_pg_as_multirange(CHOPIN_PG_ARGS(chopin_pg_as_range(2, CHOPIN_PG_ARGS(1, 2)))))),
         chopin_pg_as_record(CHOPIN_PG_ARGS(1, "a\"b (x), \\")), chopin_pg_as_record(CHOPIN_PG_ARGS(CHOPIN_PG_NULL, "")), chopin_pg_as_record(CHOPIN_PG_ARGS(2, CHOPIN_PG_NULL)));
}

static uint64_t next_random(uint64_t *state) { return chopin_pg__random_next(state); }
static void random_numbers_mean_the_same_in_both_uses(void) {
    static const char *const numbers[] = { "int2", "int4", "int8", "float4", "float8", "numeric", "text", "oid" };
    uint64_t state = 42;
    for (int i = 0; i < values_count; i++) {
        uint64_t bits = next_random(&state), more = next_random(&state);
        double   d;
        float    f;
        uint32_t low = (uint32_t)more;
        memcpy(&d, &bits, sizeof d);
        memcpy(&f, &low, sizeof f);
        chopin_pg_param list[] = { P((int64_t)(bits >> more % 64)), P(-(int64_t)(bits >> (1 + more % 63))), P(d), P(f), P((double)(float)d * 1.0000001), P((double)(int64_t)bits / 256) };
        for (size_t p = 0; p < sizeof list / sizeof list[0]; p++) {
            for (size_t t = 0; t < sizeof numbers / sizeof numbers[0]; t++) {
                char first[1000], second[1000], text[200];
                uint32_t oid = 0;
                for (int k = 0; k < INTO; k++) if (strcmp(into[k], numbers[t]) == 0) oid = into_oid[k];
                ask(numbers[t], &list[p], 0, first, sizeof first);
                ask(numbers[t], &list[p], oid, second, sizeof second);
                if (strcmp(first, second) == 0) continue;
                describe_param(&list[p], text, sizeof text);
                if (reported++ < 30) printf("%s into %s: first use \"%s\", second \"%s\"\n", text, numbers[t], first, second);
            }
        }
    }
    verdict();
}

/* COPY's form: what has no direct conversion goes through its text. */
static void copied_values_arrive(void) {
    static const struct { const char *type, *text; } values[] = {
        { "int4", "7" }, { "date", "2024-01-02" }, { "timestamptz", "2024-01-02 03:04:05+02" }, { "numeric", "1.50" }, { "uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11" }, { "bool", "t" }, { "bytea", "\\x4142" },
        { "inet", "10.0.0.1/8" }, { "interval", "1 mon -3 days" }, { "jsonb", "{\"a\": 1}" }, { "int4[]", "{1,NULL,3}" }, { "text[]", "{a,\"b c\"}" }, { "int4range", "[1,5)" }, { "varbit", "101" }, { "point", "(1,2)" },
        { "mood", "happy" }, { "box[]", "{(1,1),(0,0)}" }, { "tstzrange", "[\"2024-01-01 00:00:00+00\",)" }, { "\"char\"", "a" }, { "path", "[(0,0),(1,1)]" }
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        chopin_pg__heap heap;
        chopin_pg_error e;
        char sql[200];
        chopin_pg__heap_init(&heap, NULL, NULL);
        chopin_pg__error_init(&e, &heap);
        chopin_pg__out o = { .heap = &heap };
        chopin_pg_param p = P(values[i].text);
        snprintf(sql, sizeof sql, "select $1::%s is not distinct from $2::text::%s or $1::%s::text = $2", values[i].type, values[i].type, values[i].type);
        wire_param_t none[2] = { { NULL, 0, false, 0 }, { NULL, 0, false, 0 } };
        if (strcmp(values[i].type, "point") == 0 || strcmp(values[i].type, "box[]") == 0) snprintf(sql, sizeof sql, "select $1::%s::text = $2", values[i].type);
        wire_query(&w, sql, none, 2, NULL, 0);
        CHECK_EQ_INT(chopin_pg__param_copy(&p, w.param_oid[0], &o, &e), 1);
        wire_param_t two[2] = { { o.ptr + 4, o.len - 4, true, 0 }, { values[i].text, strlen(values[i].text), false, 0 } };
        bool ok = wire_query(&w, sql, two, 2, NULL, 0);
        chopin_pg__value v = ok ? wire_value(&w, 0, 0, false) : (chopin_pg__value){ 0 };
        if (!ok || v.len != 1 || v.ptr[0] != 't') { printf("%s %s: %s %s\n", values[i].type, values[i].text, w.sqlstate, w.message); CHECK(false); }
        chopin_pg__out_done(&o);
        chopin_pg__error_clear(&e);
    }
}

/* ---- through the client itself: the first use of a text answers in text, the second in binary ---- */
static void two_uses_read_the_same(void) {
    chopin_pg *db = chopin_pg_open(&(chopin_pg_options){ .url = getenv("CHOPIN_PG_URL"), .shared = 1, .no_env = true, .setup = "set timezone to 'Asia/Kathmandu'; set intervalstyle to 'sql_standard'" });
    for (int k = 0; k < KINDS; k++) {
        char  sql[8192], *texts[64] = { 0 };
        bool  user = strstr("mood mood[] pair posint floatrange money money[]", kinds[k].type) != NULL;
        size_t lens[64] = { 0 };
        if (user) continue;
        snprintf(sql, sizeof sql, "select unnest(array[%s]::text[])::%s", kinds[k].edges, kinds[k].type);
        for (int use = 0; use < 2; use++) {
            int n = 0;
            chopin_pg_rows *r = chopin_pg_query(db, sql);
            for (; chopin_pg_next(r) && n < 64; n++) {
                chopin_str s = chopin_pg_text(r, 0);
                if (use && !chopin_pg__equal(s, chopin_pg__str(texts[n], lens[n]))) differ(&kinds[k], "second use", s, chopin_pg__str(texts[n], lens[n]));
                if (use) continue;
                texts[n] = malloc(s.len + 1);
                memcpy(texts[n], s.ptr, s.len);
                lens[n] = s.len;
            }
            if (chopin_pg_end(r) < 0) { printf("%s: %s\n", kinds[k].type, chopin_pg_why(db)); reported++; }
        }
        for (int n = 0; n < 64; n++) free(texts[n]);
    }
    chopin_pg_close(db);
    verdict();
}

/* Two uses of every getter: the same value, or the same status. */
static void two_uses_convert_the_same(void) {
    static const char *const sources[] = { "select '2'::float8", "select '1.5'::float8", "select 'NaN'::float8", "select 0.1::float4", "select 1e20::numeric", "select 12.50::numeric", "select 70000", "select 4294967295::oid",
        "select 't'::bool", "select '7'::text", "select 'x'::text", "select '2024-01-02'::date", "select '2024-01-02 03:04:05+02'::timestamptz", "select '12:00'::time", "select '12:00+02'::timetz", "select '1 mon'::interval",
        "select '-$1.50'::money", "select '{1,2}'::int4[]", "select '[1,2)'::int4range", "select row(1,'a')", "select '10.0.0.1'::inet", "select '\\x41'::bytea", "select '101'::varbit", "select '(1,2)'::point", "select null::int4",
        "select '{}'::jsonb", "select '18446744073709551615'::xid8", "select 'infinity'::date", "select '294276-12-31'::timestamp", "select '16/B374D848'::pg_lsn", "select '(1,2)'::tid", "select 'a'::\"char\"" };
    chopin_pg *db = chopin_pg_open(&(chopin_pg_options){ .url = getenv("CHOPIN_PG_URL"), .shared = 1, .no_env = true });
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        for (int which = 0; which < 19; which++) {
            char   sql[200];
            int    status[2] = { 0 };
            char   value[2][64];
            memset(value, 0, sizeof value);
            snprintf(sql, sizeof sql, "%s /* %d */", sources[i], which);
            for (int use = 0; use < 2; use++) {
                chopin_pg_rows *r = chopin_pg_query(db, sql);
                if (!chopin_pg_next(r)) { reported++; chopin_pg_end(r); continue; }
                char *to = value[use];
                switch (which) {
                case 0: snprintf(to, 64, "%d", chopin_pg_bool(r, 0)); break;
                case 1: snprintf(to, 64, "%d", chopin_pg_i16(r, 0)); break;
                case 2: snprintf(to, 64, "%d", (int)chopin_pg_i32(r, 0)); break;
                case 3: snprintf(to, 64, "%lld", (long long)chopin_pg_i64(r, 0)); break;
                case 4: snprintf(to, 64, "%u", (unsigned)chopin_pg_u32(r, 0)); break;
                case 5: snprintf(to, 64, "%llu", (unsigned long long)chopin_pg_u64(r, 0)); break;
                case 6: snprintf(to, 64, "%.9g", (double)chopin_pg_f32(r, 0)); break;
                case 7: snprintf(to, 64, "%.17g", chopin_pg_f64(r, 0)); break;
                case 8: snprintf(to, 64, "%.*s", CHOPIN_FMT(chopin_pg_json(r, 0))); break;
                case 9: snprintf(to, 64, "%.*s", CHOPIN_FMT(chopin_pg_bytes(r, 0))); break;
                case 10: snprintf(to, 64, "%lld", (long long)chopin_pg_time(r, 0).us); break;
                case 11: snprintf(to, 64, "%d", (int)chopin_pg_date(r, 0).days); break;
                case 12: snprintf(to, 64, "%lld", (long long)chopin_pg_clock(r, 0).us); break;
                case 13: snprintf(to, 64, "%d", (int)chopin_pg_interval(r, 0).months); break;
                case 14: snprintf(to, 64, "%.*s", CHOPIN_FMT(chopin_pg_numeric(r, 0))); break;
                case 15: snprintf(to, 64, "%lld", (long long)chopin_pg_decimal(r, 0, 2)); break;
                case 16: snprintf(to, 64, "%d", chopin_pg_inet(r, 0).bits); break;
                case 17: snprintf(to, 64, "%zu", chopin_pg_bits(r, 0).count); break;
                default: snprintf(to, 64, "%.17g", chopin_pg_point(r, 0).y); break;
                }
                status[use] = chopin_pg_code(r);
                chopin_pg_end(r);
            }
            if (status[0] != status[1] || strcmp(value[0], value[1]) != 0) { printf("%s, getter %d: %d %s, then %d %s\n", sources[i], which, status[0], value[0], status[1], value[1]); reported++; }
        }
    }
    chopin_pg_close(db);
    verdict();
}

/* C values sent by the client and read back by their own getters, both uses. */
static void c_values_come_back(void) {
    chopin_pg *db = chopin_pg_open(&(chopin_pg_options){ .url = getenv("CHOPIN_PG_URL"), .shared = 1, .no_env = true });
    chopin_time     time = { 1704164645678901 };
    chopin_date     date = { 19724 };
    chopin_clock    clock = { 43200000001, 7200, true };
    chopin_interval interval = { -1, 2, -3 };
    chopin_uuid     uuid = { { 1, 2, 3 } };
    chopin_inet     inet = { { 10, 0, 0, 1 }, 4, 8, false };
    chopin_mac      mac = { { 1, 2, 3, 4, 5, 6 }, 6 };
    chopin_point    point = { 0.1, -2 };
    int32_t ids[] = { 1, 2, 3 };
    for (int use = 0; use < 3; use++) {
        chopin_pg_rows *r = chopin_pg_query(db, "select $1::timestamptz, $2::date, $3::timetz, $4::interval, $5::uuid, $6::inet, $7::macaddr, $8::point, $9::numeric, $10::bytea, $11::int4[], $12::int4range, $13::text, $14::bool, $15::float4",
            time, date, clock, interval, uuid, inet, mac, point, chopin_pg_as_decimal(12345, 2), chopin_pg_as_bytes("a\0b", 3), chopin_pg_i32s(ids, 3), chopin_pg_as_range(2, CHOPIN_PG_ARGS(1, 5)), "text", true, 0.1f);
        CHECK(chopin_pg_next(r));
        CHECK_EQ_INT(chopin_pg_time(r, 0).us, time.us);
        CHECK_EQ_INT(chopin_pg_date(r, 1).days, date.days);
        CHECK_EQ_INT(chopin_pg_clock(r, 2).us, clock.us);
        CHECK_EQ_INT(chopin_pg_clock(r, 2).east, clock.east);
        CHECK(chopin_pg_interval(r, 3).us == -1 && chopin_pg_interval(r, 3).days == 2 && chopin_pg_interval(r, 3).months == -3);
        CHECK(memcmp(chopin_pg_uuid(r, 4).bytes, uuid.bytes, 16) == 0);
        CHECK_EQ_INT(chopin_pg_inet(r, 5).bits, 8);
        CHECK_EQ_INT(chopin_pg_mac(r, 6).bytes[5], 6);
        CHECK(chopin_pg_point(r, 7).x == 0.1);
        CHECK_EQ_INT(chopin_pg_decimal(r, 8, 2), 12345);
        CHECK(chopin_pg_bytes(r, 9).len == 3 && memcmp(chopin_pg_bytes(r, 9).ptr, "a\0b", 3) == 0);
        int sum = 0;
        for (chopin_pg_rows *a = chopin_pg_array(r, 10); chopin_pg_next(a); ) sum = sum * 10 + chopin_pg_i32(a, 0);
        CHECK_EQ_INT(sum, 123);
        CHECK_EQ_INT(chopin_pg_i32(chopin_pg_range(r, 11, NULL), 1), 5);
        CHECK_STR(chopin_pg_text(r, 12), "text");
        CHECK(chopin_pg_bool(r, 13));
        CHECK(chopin_pg_f32(r, 14) == 0.1f);
        CHECK_EQ_INT(chopin_pg_end(r), 1);
    }
    chopin_pg_close(db);
}

/* COPY in binary takes C values of any kind into columns of any type. */
static void copy_converts_like_parameters(void) {
    chopin_pg *pool = chopin_pg_open(&(chopin_pg_options){ .url = getenv("CHOPIN_PG_URL"), .no_env = true }), *db = chopin_pg_pin(pool);
    chopin_pg_exec(db, "create temp table c (a int2, b numeric, c text, d date, e timestamptz, f int4[], g jsonb, h bool, i text[])");
    chopin_pg_copy *in = chopin_pg_copy_in(db, "c", "a, b, c, d, e, f, g, h, i");
    int32_t    ids[] = { 1, 2 };
    chopin_str texts[] = { CHOPIN_STR("x y"), { NULL, 0 } };
    for (int i = 0; i < 100; i++) chopin_pg_copy_row(in, i, 1.25, "text", "2024-01-02", ((chopin_time){ 1704164645678901 }), chopin_pg_i32s(ids, 2), "{\"a\": 1}", true, chopin_pg_texts(texts, 2));
    chopin_pg_copy_row(in, CHOPIN_PG_NULL, "1e3", 5, CHOPIN_PG_NULL, "2024-01-02", "{3,NULL}", "null", "f", "{}");
    CHECK_EQ_INT(chopin_pg_copy_end(in), 101);
    chopin_pg_exec(db, "set timezone to 'UTC'");
    chopin_pg_rows *r = chopin_pg_query(db, "select x::text from c x where a = 7 or a is null order by a");
    CHECK(chopin_pg_next(r));
    CHECK_STR(chopin_pg_text(r, 0), "(7,1.25,text,2024-01-02,\"2024-01-02 03:04:05.678901+00\",\"{1,2}\",\"{\"\"a\"\": 1}\",t,\"{\"\"x y\"\",NULL}\")");
    CHECK(chopin_pg_next(r));
    CHECK_STR(chopin_pg_text(r, 0), "(,1000,5,,\"2024-01-02 00:00:00+00\",\"{3,NULL}\",null,f,{})");
    CHECK_EQ_INT(chopin_pg_end(r), 2);
    in = chopin_pg_copy_in(db, "c", "a");
    chopin_pg_copy_row(in, 70000);
    CHECK(chopin_pg_copy_end(in) < 0);
    chopin_pg_close(db);
    chopin_pg_close(pool);
}

/* Types whose oids we cannot know. */
static void types_of_extensions_are_text(void) {
    chopin_pg *pool = chopin_pg_open(&(chopin_pg_options){ .url = getenv("CHOPIN_PG_URL"), .no_env = true }), *db = chopin_pg_pin(pool);
    if (chopin_pg_exec(db, "create extension if not exists hstore") < 0 || chopin_pg_exec(db, "create extension if not exists citext") < 0) {
        printf("SKIPPED types_of_extensions_are_text: %s\n", chopin_pg_why(db));
        chopin_pg_close(pool);
        return;
    }
    for (int use = 0; use < 3; use++) {
        chopin_pg_rows *r = chopin_pg_query(db, "select hstore(array['a','b','q\"\\=>,',''], array['1',null,'x, y\"','NULL']), 'Abc'::citext, array['x','y z']::citext[], $1::citext = 'abc'", "ABC");
        CHECK(chopin_pg_next(r));
        int n = 0, good = 0;
        for (chopin_pg_rows *p = chopin_pg_pairs(r, 0); chopin_pg_next(p); n++) {
            chopin_str key = chopin_pg_text(p, 0), value = chopin_pg_text_or(p, 1, CHOPIN_STR("none"));
            good += chopin_pg__equal_z(key, "a") && chopin_pg__equal_z(value, "1");
            good += chopin_pg__equal_z(key, "b") && chopin_pg__equal_z(value, "none") && chopin_pg_is_null(p, 1);
            good += chopin_pg__equal_z(key, "q\"\\=>,") && chopin_pg__equal_z(value, "x, y\"");
            good += chopin_pg__equal_z(key, "") && chopin_pg__equal_z(value, "NULL") && !chopin_pg_is_null(p, 1);
        }
        CHECK_EQ_INT(n, 4);
        CHECK_EQ_INT(good, 4);
        CHECK_STR(chopin_pg_text(r, 1), "Abc");
        chopin_pg_rows *a = chopin_pg_array(r, 2);
        CHECK(chopin_pg_next(a) && chopin_pg_next(a));
        CHECK_STR(chopin_pg_text(a, 0), "y z");
        CHECK(chopin_pg_bool(r, 3));
        CHECK_EQ_INT(chopin_pg_end(r), 1);
    }
    chopin_pg_close(db);
    chopin_pg_close(pool);
}

static void an_enum_dropped_and_made_again_is_still_text(void) {
    chopin_pg *pool = chopin_pg_open(&(chopin_pg_options){ .url = getenv("CHOPIN_PG_URL"), .no_env = true, .shared = 1 });
    for (int round = 0; round < 3; round++) {
        CHECK(chopin_pg_exec(pool, "drop type if exists weather") >= 0);
        CHECK(chopin_pg_exec(pool, "create type weather as enum ('rain', 'sun')") >= 0);
        for (int use = 0; use < 3; use++) {
            chopin_pg_rows *r = chopin_pg_query(pool, "select $1::weather, array[$1::weather], 7", "sun");
            CHECK(chopin_pg_next(r));
            CHECK_STR(chopin_pg_text(r, 0), "sun");
            chopin_pg_rows *a = chopin_pg_array(r, 1);
            CHECK(chopin_pg_next(a));
            CHECK_STR(chopin_pg_text(a, 0), "sun");
            CHECK_EQ_INT(chopin_pg_i32(r, 2), 7);
            if (chopin_pg_end(r) < 0) printf("round %d use %d: %s\n", round, use, chopin_pg_why(pool));
        }
    }
    chopin_pg_exec(pool, "drop type if exists weather");
    chopin_pg_close(pool);
}

/* A type without a binary form beside one that has it; a domain; composites; oids beyond 2^31; void. */
static void mixed_rows_are_read_in_every_use(void) {
    chopin_pg *db = chopin_pg_open(&(chopin_pg_options){ .url = getenv("CHOPIN_PG_URL"), .no_env = true, .shared = 1 });
    for (int use = 0; use < 3; use++) {
        chopin_pg_rows *r = chopin_pg_query(db, "select '=r/tester'::aclitem, 7, 3000000000::oid, row(1,'a'), 'tester'::regrole, pg_notify('nobody', ''), -0.00005, 0.00001234, '{{1,2},{3,4}}'::int4[], row(null, '', '(x)', row(2, 'b c')), "
                                                    "'-1.5'::money, 1::information_schema.cardinal_number, array[row(1,'a b')], null::int4[]");
        CHECK(chopin_pg_next(r));
        CHECK_STR(chopin_pg_text(r, 0), "=r/tester");
        CHECK_EQ_INT(chopin_pg_i32(r, 1), 7);
        CHECK_EQ_INT(chopin_pg_u32(r, 2), 3000000000u);
        CHECK_EQ_INT(chopin_pg_i32(chopin_pg_record(r, 3), 0), 1);
        CHECK_STR(chopin_pg_text(chopin_pg_record(r, 3), 1), "a");
        CHECK_STR(chopin_pg_text(r, 4), "tester");
        CHECK_STR(chopin_pg_text(r, 5), "");
        CHECK_STR(chopin_pg_numeric(r, 6), "-0.00005");
        CHECK_STR(chopin_pg_numeric(r, 7), "0.00001234");
        int32_t size[6];
        CHECK_EQ_INT(chopin_pg_dims(r, 8, size, NULL), 2);
        chopin_pg_rows *rec = chopin_pg_record(r, 9);
        CHECK(chopin_pg_is_null(rec, 0) && !chopin_pg_is_null(rec, 1));
        CHECK_STR(chopin_pg_text(rec, 2), "(x)");
        CHECK_STR(chopin_pg_text(chopin_pg_record(rec, 3), 1), "b c");
        CHECK_EQ_INT(chopin_pg_i64(r, 10), -150);
        CHECK_EQ_INT(chopin_pg_i16(r, 11), 1);
        chopin_pg_rows *a = chopin_pg_array(r, 12);
        CHECK(chopin_pg_next(a));
        CHECK_STR(chopin_pg_text(chopin_pg_record(a, 0), 1), "a b");
        CHECK(chopin_pg_is_null(r, 13));
        CHECK_EQ_INT(chopin_pg_end(r), 1);
    }
    chopin_pg_close(db);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    setlocale(LC_ALL, "de_DE.UTF-8");
    if (getenv("CHOPIN_TEST_VALUES")) values_count = atoi(getenv("CHOPIN_TEST_VALUES"));
    if (!wire_open(&w) || !wire_open(&w2)) {
        printf("SKIPPED test_pg_types: no server (run tests/pg.sh ./test_pg_types)\n");
        return 77;
    }
    set_up();
    RUN(the_table_is_the_servers);
    RUN(what_is_asked_in_binary_can_be_sent_in_binary);
    RUN(values_print_as_the_server_prints_them);
    RUN(values_written_in_binary_are_the_servers_bytes);
    RUN(values_sent_in_binary_come_back_equal);
    RUN(values_are_the_same_under_any_timezone);
    RUN(values_are_the_same_under_any_datestyle);
    RUN(values_are_the_same_under_any_intervalstyle);
    RUN(values_are_the_same_under_any_bytea_output);
    RUN(values_are_the_same_with_more_float_digits);
    RUN(money_of_any_locale_is_its_minor_units);
    learn_types();
    RUN(nulls_and_bools_mean_the_same_in_both_uses);
    RUN(integers_mean_the_same_in_both_uses);
    RUN(doubles_mean_the_same_in_both_uses);
    RUN(texts_mean_the_same_in_both_uses);
    RUN(bytes_mean_the_same_in_both_uses);
    RUN(numerics_mean_the_same_in_both_uses);
    RUN(times_mean_the_same_in_both_uses);
    RUN(others_mean_the_same_in_both_uses);
    RUN(arrays_mean_the_same_in_both_uses);
    RUN(ranges_and_records_mean_the_same_in_both_uses);
    RUN(random_numbers_mean_the_same_in_both_uses);
    RUN(copied_values_arrive);
    RUN(two_uses_read_the_same);
    RUN(two_uses_convert_the_same);
    RUN(c_values_come_back);
    RUN(copy_converts_like_parameters);
    RUN(types_of_extensions_are_text);
    RUN(an_enum_dropped_and_made_again_is_still_text);
    RUN(mixed_rows_are_read_in_every_use);
    printf("%d pairs of a value and a type, %d of them accepted by the server\n", pairs_tried, pairs_good);
    wire_close(&w);
    wire_close(&w2);
    return TEST_END();
}
