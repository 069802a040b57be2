/* test_pg_error.c - >>error: fields, the line, the caret, predicates, retry classes; broken bodies; no memory. */
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include "test.h"

static chopin_pg__heap heap;
static chopin_pg_error e;

static void fresh(void) {
    chopin_pg__error_clear(&e);
    chopin_pg__heap_init(&heap, NULL, NULL);
    chopin_pg__error_init(&e, &heap);
}
/* Fields of an E from text: "SERROR|C42601|Mtext" becomes the bytes; a bar ends a field. */
static chopin_str body_of(const char *text) {
    static char body[70000];
    size_t n = 0;
    for (; *text; text++) body[n++] = *text == '|' ? '\0' : *text;
    body[n++] = 0;
    body[n++] = 0;
    return chopin_pg__str(body, n);
}
static int server(const char *fields, const char *sql) {
    fresh();
    return chopin_pg__error_server(&e, CHOPIN_PG_SERVER, body_of(fields), sql ? chopin_pg__str_z(sql) : chopin_pg__absent());
}
static bool is(const char *got, const char *want) { if (strcmp(got, want)) printf("   got:  [%s]\n   want: [%s]\n", got, want); return strcmp(got, want) == 0; }
static const char *long_text(void) {
    static char text[3000];
    chopin_pg_error_text(&e, text, sizeof text);
    return text;
}

static void statuses_have_names_and_texts(void) {
    CHECK(is(chopin_pg_status_name(0), "OK") && is(chopin_pg_status_name(42), "OK") && is(chopin_pg_status_name(CHOPIN_PG_LOST), "LOST") && is(chopin_pg_status_name(-99), "UNKNOWN"));
    for (int s = -17; s <= 0; s++) CHECK(strcmp(chopin_pg_status_name(s), "UNKNOWN") != 0 && chopin_pg_status_text(s)[0] >= 'a' && chopin_pg_status_text(s)[0] <= 'z');
    CHECK(is(chopin_pg_status_text(-99), "unknown status") && is(chopin_pg_version(), CHOPIN_PG_VERSION));
}
static void all_eighteen_fields_arrive(void) {
    CHECK_EQ_INT(server("SFEHLER|VERROR|C23505|Mmessage|Ddetail|Hhint|P8|p3|qselect inner|Wwhere|spublic|tusers|cemail|dtext|nusers_email_key|Fx.c|L77|Rroutine|Zfuture", "select x"), CHOPIN_PG_SERVER);
    CHECK_STR(e.severity, "FEHLER");         CHECK_STR(e.severity_plain, "ERROR");    CHECK(is(e.sqlstate, "23505"));   CHECK_STR(e.message, "message");
    CHECK_STR(e.detail, "detail");           CHECK_STR(e.hint, "hint");               CHECK_EQ_INT(e.position, 8);      CHECK_EQ_INT(e.internal_position, 3);
    CHECK_STR(e.internal_query, "select inner"); CHECK_STR(e.where, "where");         CHECK_STR(e.schema, "public");    CHECK_STR(e.table, "users");
    CHECK_STR(e.column, "email");            CHECK_STR(e.data_type, "text");          CHECK_STR(e.constraint, "users_email_key"); CHECK_STR(e.file, "x.c");
    CHECK_EQ_INT(e.source_line, 77);         CHECK_STR(e.routine, "routine");         CHECK_STR(e.sql, "select x");     CHECK_EQ_INT(e.statement, -1);
}
static void the_line_holds_message_code_hint_and_place(void) {
    server("SERROR|VERROR|C42601|Msyntax error at or near \"frm\"|P10", "select * frm users");
    CHECK(is(e.why, "syntax error at or near \"frm\" (42601); at line 1, column 10: select * ^frm users"));
    server("SERROR|VERROR|C23505|Mduplicate key|DKey (email)=(a@b) already exists.|nk", "insert");
    CHECK(is(e.why, "duplicate key (23505)"));               // the detail holds values: not in a line that goes to logs
    server("SERROR|VERROR|C42P18|Mcould not determine data type of parameter $1", NULL);
    CHECK(is(e.why, "could not determine data type of parameter $1 (42P18); hint: write $1::type where the type of a parameter cannot be known"));
    CHECK_STR(e.hint, "write $1::type where the type of a parameter cannot be known");
    server("SERROR|VERROR|C42725|Moperator is not unique|HAdd casts.", NULL);
    CHECK(is(e.why, "operator is not unique (42725); hint: Add casts.; write $1::type where the type of a parameter cannot be known"));
    server("SERROR|VERROR|CXX000|Ma\nb\tc\x1b[31m", NULL);
    CHECK(is(e.why, "a b c [31m (XX000)"));                  // one line, and nothing for terminals
    server("SERROR|VERROR|CXX000", NULL);
    CHECK(strstr(e.why, "without a message") != NULL);
}
static void the_caret_stands_under_its_place(void) {
    server("SERROR|VERROR|C42703|Mm|P19", "select id,\n       nam,\n  age from users");
    CHECK(is(long_text(), "ERROR: 42703: m\nLINE 2:        nam,\n               ^\n"));
}
static void the_caret_counts_characters_not_bytes(void) {
    server("SERROR|VERROR|C42601|Mm|P12", "select '\xc3\xa4\xc3\xb6' \xc3\xbc");
    CHECK(is(long_text(), "ERROR: 42601: m\nLINE 1: select '\xc3\xa4\xc3\xb6' \xc3\xbc\n                   ^\n"));
    chopin_pg__place p;
    CHECK(chopin_pg__place_find(CHOPIN_STR("\xc3\xa4\xc3\xb6x"), 3, &p) && p.at == 4 && p.column == 3);
    CHECK(chopin_pg__place_find(CHOPIN_STR("\xff\xfex"), 3, &p) && p.at == 2);            // no UTF-8: a byte is a character
    server("SERROR|VERROR|C42601|Mm|P6", "\xe6\xbc\xa2\xe5\xad\x97 a x");
    CHECK(is(long_text(), "ERROR: 42601: m\nLINE 1: \xe6\xbc\xa2\xe5\xad\x97 a x\n               ^\n"));        // wide characters take two columns
}
static void positions_of_a_strange_server_do_no_harm(void) {
    chopin_pg__place p;
    CHECK(!chopin_pg__place_find(CHOPIN_STR("abc"), 0, &p) && !chopin_pg__place_find(CHOPIN_STR("abc"), -5, &p) && !chopin_pg__place_find(CHOPIN_STR("abc"), 99, &p));
    CHECK(chopin_pg__place_find(CHOPIN_STR("abc"), 4, &p) && p.at == 3);                  // just behind the end
    CHECK(!chopin_pg__place_find(CHOPIN_STR("abc"), 5, &p) && !chopin_pg__place_find(chopin_pg__absent(), 1, &p));
    CHECK(chopin_pg__place_find(CHOPIN_STR(""), 1, &p) && p.at == 0);
    CHECK(chopin_pg__place_find(CHOPIN_STR("a\r\nb"), 4, &p) && p.number == 2 && p.column == 1);
    CHECK(chopin_pg__place_find(CHOPIN_STR("a\r\nb"), 2, &p) && p.line.len == 1);
    server("SERROR|VERROR|C42601|Mm|P2147483647", "select 1"); CHECK(is(e.why, "m (42601)"));
    server("SERROR|VERROR|C42601|Mm|P99999999999", "select 1"); CHECK_EQ_INT(e.position, 0);
    server("SERROR|VERROR|C42601|Mm|P-3", "select 1"); CHECK_EQ_INT(e.position, 0);
    server("SERROR|VERROR|C42601|Mm|P3", NULL); CHECK(is(e.why, "m (42601)"));
}
static void long_lines_are_cut_around_the_place(void) {
    char sql[400];
    memset(sql, 'x', sizeof sql);
    sql[sizeof sql - 1] = 0;
    sql[199] = 'Y';
    server("SERROR|VERROR|C42601|Mm|P200", sql);
    CHECK(is(e.why, "m (42601); at line 1, column 200: ...xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx^Yxxxxxxxxxxxxxxxxxxxxxxxxxxxxx..."));
    const char *text = long_text(), *line = strstr(text, "LINE 1: "), *caret = strchr(text, '^');
    CHECK(line && caret && line[caret - strchr(line, '\n') - 1] == 'Y');
    memset(sql, 0xc3, sizeof sql);
    for (size_t i = 1; i < sizeof sql; i += 2) sql[i] = (char)0xa4;
    sql[sizeof sql - 2] = 0;
    server("SERROR|VERROR|C42601|Mm|P100", sql);             // no half characters at the cuts
    CHECK(chopin_pg__utf8_ok(chopin_pg__str_z(e.why)) && chopin_pg__utf8_ok(chopin_pg__str_z(long_text())));
}
static void queries_inside_functions_have_carets_too(void) {
    server("SERROR|VERROR|C42601|Mm|p8|qselect bad|WPL/pgSQL function f() line 3", "select f()");
    CHECK(is(long_text(), "ERROR: 42601: m\nLINE 1: select bad\n               ^\nQUERY: select bad\nCONTEXT: PL/pgSQL function f() line 3\n"));
}
static void long_text_is_counted_and_cut(void) {
    char text[8];
    server("SERROR|VERROR|C42601|Mmessage", NULL);
    CHECK_EQ_INT(chopin_pg_error_text(&e, NULL, 0), strlen("ERROR: 42601: message\n"));
    CHECK_EQ_INT(chopin_pg_error_text(&e, text, sizeof text), strlen("ERROR: 42601: message\n"));
    CHECK(is(text, "ERROR: "));
    fresh();
    chopin_pg__fail(&e, CHOPIN_PG_TIMEOUT, "late");
    CHECK(is(long_text(), "ERROR: late\n"));
}
static void predicates_know_their_rule(void) {
    server("SERROR|VERROR|C23505|Mm|nusers_email_key|tusers", NULL);
    CHECK(chopin_pg_is_unique(&e, NULL) && chopin_pg_is_unique(&e, "users_email_key") && !chopin_pg_is_unique(&e, "users_email") && !chopin_pg_is_fk(&e, NULL));
    server("SERROR|VERROR|C23503|Mm|nfk", NULL);  CHECK(chopin_pg_is_fk(&e, "fk") && !chopin_pg_is_check(&e, NULL));
    server("SERROR|VERROR|C23514|Mm|nck", NULL);  CHECK(chopin_pg_is_check(&e, "ck"));
    server("SERROR|VERROR|C23502|Mm|ccol", NULL); CHECK(chopin_pg_is_not_null(&e, "col") && !chopin_pg_is_not_null(&e, "other"));
    server("SERROR|VERROR|C23P01|Mm|nex", NULL);  CHECK(chopin_pg_is_exclusion(&e, "ex"));
    CHECK(!chopin_pg_is_unique(NULL, NULL) && !chopin_pg_is_fk(NULL, "x") && !chopin_pg_is_check(NULL, "x") && !chopin_pg_is_not_null(NULL, "x") && !chopin_pg_is_exclusion(NULL, "x"));
}
static void retry_classes_are_right(void) {
    static const struct { const char *fields; int retry; } rows[] = { { "C40001|Mm", CHOPIN_PG_RETRY_TRANSACTION }, { "C40P01|Mm", CHOPIN_PG_RETRY_TRANSACTION }, { "C23505|Mm", CHOPIN_PG_RETRY_NEVER },
        { "C57P03|Mm", CHOPIN_PG_RETRY_UNSENT }, { "C53300|Mm", CHOPIN_PG_RETRY_UNSENT }, { "C57P01|Mm", CHOPIN_PG_RETRY_UNKNOWN }, { "C40002|Mm", CHOPIN_PG_RETRY_NEVER } };
    static const struct { int status, retry; } own[] = { { CHOPIN_PG_CONNECT, CHOPIN_PG_RETRY_UNSENT }, { CHOPIN_PG_POOL, CHOPIN_PG_RETRY_UNSENT }, { CHOPIN_PG_LOST, CHOPIN_PG_RETRY_UNKNOWN },
        { CHOPIN_PG_TIMEOUT, CHOPIN_PG_RETRY_UNKNOWN }, { CHOPIN_PG_ARG, CHOPIN_PG_RETRY_NEVER }, { CHOPIN_PG_AUTH, CHOPIN_PG_RETRY_NEVER } };
    for (size_t i = 0; i < CHOPIN_PG__COUNT(rows); i++) { server(rows[i].fields, NULL); CHECK_EQ_INT(e.retry, rows[i].retry); }
    for (size_t i = 0; i < CHOPIN_PG__COUNT(own); i++) { fresh(); chopin_pg__fail(&e, own[i].status, "x"); CHECK_EQ_INT(e.retry, own[i].retry); }
}
static void broken_bodies_are_refused(void) {
    static const struct { const char *bytes; size_t len; } bad[] = { { "", 0 }, { "S", 1 }, { "SERROR", 6 }, { "SERROR\0", 7 }, { "SERROR\0M", 8 }, { "SERROR\0Mx\0\0x", 12 }, { "\0\0", 2 }, { "\0x", 2 } };
    for (size_t i = 0; i < CHOPIN_PG__COUNT(bad); i++) {
        char *copy = malloc(bad[i].len ? bad[i].len : 1);    // so that a sanitizer sees a step beyond
        memcpy(copy, bad[i].bytes, bad[i].len);
        fresh();
        CHECK_EQ_INT(chopin_pg__error_server(&e, CHOPIN_PG_SERVER, chopin_pg__str(copy, bad[i].len), chopin_pg__absent()), CHOPIN_PG_PROTOCOL);
        CHECK(strstr(e.why, "broken") != NULL);
        free(copy);
    }
    fresh();
    CHECK_EQ_INT(chopin_pg__error_server(&e, CHOPIN_PG_SERVER, chopin_pg__str("", 1), chopin_pg__absent()), CHOPIN_PG_SERVER);       // no fields at all: odd, but well-formed
    CHECK(!e.sqlstate[0] && e.why[0]);
}
static void odd_sqlstates_are_none(void) {
    static const char *const odd[] = { "C1234", "C123456", "C42p01", "C42 01", "C" };
    for (size_t i = 0; i < CHOPIN_PG__COUNT(odd); i++) { server(odd[i], NULL); CHECK(is(e.sqlstate, "")); }
    server("C42601|C23505|Mfirst|Msecond", NULL);
    CHECK(is(e.sqlstate, "42601"));
    CHECK_STR(e.message, "first");
}
static void without_v_the_severity_serves(void) {
    server("SFATAL|C57P01|Mm", NULL);                        // old poolers
    CHECK_STR(e.severity_plain, "FATAL");
    CHECK(chopin_pg__error_fatal(&e));
    server("SFATAL|VERROR|C57P01|Mm", NULL);
    CHECK(!chopin_pg__error_fatal(&e));
    server("SPANIK|VPANIC|C57P01|Mm", NULL);
    CHECK(chopin_pg__error_fatal(&e));
}
static void the_first_error_stays(void) {
    fresh();
    CHECK_EQ_INT(chopin_pg__fail(&e, CHOPIN_PG_TIMEOUT, "first %d", 1), CHOPIN_PG_TIMEOUT);
    CHECK_EQ_INT(chopin_pg__fail(&e, CHOPIN_PG_LOST, "second"), CHOPIN_PG_TIMEOUT);
    CHECK_EQ_INT(chopin_pg__error_server(&e, CHOPIN_PG_SERVER, body_of("C42601|Mthird"), chopin_pg__absent()), CHOPIN_PG_TIMEOUT);
    CHECK(is(e.why, "first 1") && !e.sqlstate[0]);
    chopin_pg__error_clear(&e);
    CHECK(e.status == 0 && !e.why);
    CHECK_EQ_INT(chopin_pg__fail(&e, CHOPIN_PG_LOST, "second"), CHOPIN_PG_LOST);
}
static void long_lines_of_ours_are_kept_whole(void) {
    char text[500];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = 0;
    fresh();
    chopin_pg__fail(&e, CHOPIN_PG_ARG, "%s", text);
    CHECK(is(e.why, text));
    chopin_pg__error_clear(&e);
    chopin_pg__error_init(&e, NULL);
    for (size_t i = 0; i + 1 < sizeof text; i += 2) { text[i] = (char)0xc3; text[i + 1] = (char)0xa4; }
    text[sizeof text - 2] = 0;
    chopin_pg__fail(&e, CHOPIN_PG_ARG, "x%s", text);         // without memory: cut, at the end of a character
    CHECK(strlen(e.why) >= 150 && strlen(e.why) < 160 && chopin_pg__utf8_ok(chopin_pg__str_z(e.why)));
}
static void the_startup_tells_who_from_where(void) {
    CHECK_EQ_INT(chopin_pg__startup_status("28P01"), CHOPIN_PG_AUTH);
    CHECK_EQ_INT(chopin_pg__startup_status("28000"), CHOPIN_PG_AUTH);
    CHECK_EQ_INT(chopin_pg__startup_status("57P03"), CHOPIN_PG_CONNECT);
    CHECK_EQ_INT(chopin_pg__startup_status("53300"), CHOPIN_PG_CONNECT);
    CHECK_EQ_INT(chopin_pg__startup_status("3D000"), CHOPIN_PG_CONNECT);
}
static void errors_can_be_handed_over(void) {
    chopin_pg_error other;
    fresh();
    chopin_pg__error_init(&other, &heap);
    chopin_pg__fail(&other, CHOPIN_PG_ARG, "short");
    chopin_pg__error_move(&e, &other);
    CHECK(is(e.why, "short") && e.why == e.line_ && e.message.ptr == e.line_ && other.status == 0);
    chopin_pg__error_server(&other, CHOPIN_PG_SERVER, body_of("C42601|Mserver"), chopin_pg__absent());
    chopin_pg__error_move(&e, &other);
    CHECK(is(e.why, "server (42601)") && other.store_ == NULL);
    chopin_pg__error_clear(&other);
}
static void a_text_before_tls_says_so(void) {
    fresh();
    e.unauthenticated = true;
    chopin_pg__error_server(&e, CHOPIN_PG_CONNECT, body_of("SFATAL|C28000|Msend money"), chopin_pg__absent());
    CHECK(strstr(e.why, "before TLS") != NULL && strstr(long_text(), "before TLS") != NULL);
}
static void *no_memory(void *ctx, void *ptr, size_t old_size, size_t new_size) { (void)ctx; (void)ptr; (void)old_size; (void)new_size; return NULL; }
static void without_memory_the_line_remains(void) {
    fresh();
    chopin_pg__heap_init(&heap, no_memory, NULL);
    CHECK_EQ_INT(chopin_pg__error_server(&e, CHOPIN_PG_SERVER, body_of("SERROR|VERROR|C40001|Mcould not serialize|Hretry"), CHOPIN_STR("select 1")), CHOPIN_PG_SERVER);
    CHECK(is(e.why, "could not serialize (40001)") && is(e.sqlstate, "40001") && e.retry == CHOPIN_PG_RETRY_TRANSACTION);
    CHECK(!e.hint.ptr && !e.store_);
    chopin_pg__error_clear(&e);
}
static void notices_are_read_without_becoming_errors(void) {
    fresh();
    CHECK_EQ_INT(chopin_pg__error_server(&e, CHOPIN_PG_OK, body_of("SNOTICE|VNOTICE|C00000|Mtable does not exist, skipping"), chopin_pg__absent()), 0);
    CHECK_STR(e.message, "table does not exist, skipping");
    CHECK(e.status == 0 && is(e.why, "table does not exist, skipping (00000)"));
}
static char heard[700];
static void hear(void *ctx, chopin_pg_level level, const char *text) { (void)ctx; snprintf(heard, sizeof heard, "%d %s", (int)level, text); }
static void the_log_is_one_clean_line(void) {
    chopin_pg__logger log = { hear, NULL };
    chopin_pg__log(&log, CHOPIN_PG_INFO, "a\nb%c%s", 7, "x");
    CHECK(is(heard, "1 a b x"));
    char big[2000];
    memset(big, 'y', sizeof big);
    big[sizeof big - 1] = 0;
    chopin_pg__log(&log, CHOPIN_PG_ERROR, "%s", big);
    CHECK(strlen(heard) > 600 && strlen(heard) < 700);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    chopin_pg__error_init(&e, NULL);
    RUN(statuses_have_names_and_texts);
    RUN(all_eighteen_fields_arrive);
    RUN(the_line_holds_message_code_hint_and_place);
    RUN(the_caret_stands_under_its_place);
    RUN(the_caret_counts_characters_not_bytes);
    RUN(positions_of_a_strange_server_do_no_harm);
    RUN(long_lines_are_cut_around_the_place);
    RUN(queries_inside_functions_have_carets_too);
    RUN(long_text_is_counted_and_cut);
    RUN(predicates_know_their_rule);
    RUN(retry_classes_are_right);
    RUN(broken_bodies_are_refused);
    RUN(odd_sqlstates_are_none);
    RUN(without_v_the_severity_serves);
    RUN(the_first_error_stays);
    RUN(long_lines_of_ours_are_kept_whole);
    RUN(the_startup_tells_who_from_where);
    RUN(errors_can_be_handed_over);
    RUN(a_text_before_tls_says_so);
    RUN(without_memory_the_line_remains);
    RUN(notices_are_read_without_becoming_errors);
    RUN(the_log_is_one_clean_line);
    chopin_pg__error_clear(&e);
    return TEST_END();
}
