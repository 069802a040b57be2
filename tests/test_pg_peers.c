/* test_pg_peers.c - beside libpq: our trace is PQtrace's, our errors have its fields. libpq is used by tests only.
 * Run it by `tests/pg.sh ./test_pg_peers`; compile with -I$(pg_config --includedir) -lpq. */
#define _GNU_SOURCE 1
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include <libpq-fe.h>
#include "test.h"

static struct { char text[65536]; size_t len; bool on; } ours;
static void trace(void *ctx, const char *line) {
    (void)ctx;
    if (!ours.on) return;
    int n = snprintf(ours.text + ours.len, sizeof ours.text - ours.len, "%s\n", line);
    if (n > 0 && (size_t)n < sizeof ours.text - ours.len) ours.len += (size_t)n;
}
static void quiet(void *ctx, chopin_pg_level level, const char *text) { (void)ctx; (void)level; (void)text; }
static void hush(void *arg, const PGresult *r) { (void)arg; (void)r; }

/* What PQtrace says of these statements sent by PQexec, each as one simple query. The caller frees it. */
static char *theirs(const char *const *sql, int count) {
    char  *text = NULL;
    size_t len = 0;
    PGconn *c = PQconnectdb(getenv("CHOPIN_PG_URL"));
    FILE *f = open_memstream(&text, &len);
    PQsetNoticeReceiver(c, hush, NULL);
    PQtrace(c, f);
    PQsetTraceFlags(c, PQTRACE_SUPPRESS_TIMESTAMPS);
    for (int i = 0; i < count; i++) {
        PQclear(PQexec(c, sql[i]));
        char *row;
        while (PQgetCopyData(c, &row, 0) > 0) PQfreemem(row);
        for (PGresult *r; (r = PQgetResult(c)); ) PQclear(r);
    }
    PQuntrace(c);
    fclose(f);
    PQfinish(c);
    return text;
}
static void our_trace(const char *const *sql, int count) {
    chopin_pg *db = chopin_pg_open(&(chopin_pg_options){ .url = getenv("CHOPIN_PG_URL"), .no_env = true, .trace = trace, .log = quiet });
    chopin_pg *pin = chopin_pg_pin(db);
    chopin_pg_exec(pin, "select 1");
    ours.len = 0;
    ours.on = true;
    for (int i = 0; i < count; i++) {
        chopin_pg_rows *r = chopin_pg_script(pin, sql[i]);
        do { while (chopin_pg_next(r)) { } } while (chopin_pg_next_result(r));
        chopin_pg_end(r);
    }
    ours.on = false;
    ours.text[ours.len] = '\0';
    chopin_pg_close(pin);
    chopin_pg_close(db);
}
/* Both texts line by line: the first difference is shown. */
static void same_lines(const char *a, const char *b) {
    for (int line = 1; *a || *b; line++) {
        size_t n = strcspn(a, "\n"), m = strcspn(b, "\n");
        if (!CHECK(n == m && memcmp(a, b, n) == 0)) { printf("  line %d\n    ours   %.*s\n    theirs %.*s\n", line, (int)n, a, (int)m, b); return; }
        a += n + (a[n] == '\n');
        b += m + (b[m] == '\n');
    }
}

static void the_trace_is_that_of_pqtrace(void) {
    static const char *const sql[] = {
        "select 1 as x, null::text as \"odd \"\" name\", 'a''b'::text; select 2",
        "do $$ begin raise notice 'hi' using detail = 'more', hint = 'less'; end $$",
        "selec", "select 1/0", "", "set time zone 'Europe/Paris'", "create temporary table tt (a int, b bytea)", "insert into tt values (1, null)", "select amname, amtype from pg_am order by 1 limit 2",
        "begin; savepoint x; rollback",
    };
    int   count = (int)(sizeof sql / sizeof *sql);
    char *want = theirs(sql, count);
    our_trace(sql, count);
    same_lines(ours.text, want);
    free(want);
}

/* Each field of each error: ours and PQresultErrorField's. */
static void errors_have_the_fields_of_libpq(void) {
    static const char *const sql[] = {
        "selec", "select 1/0", "select nothere from pg_class", "insert into p1 values (1)", "insert into p1 values (null)", "insert into p1 values (-1)",
        "select f1()", "select 'x'::int", "select * from no_such_table", "select to_date('x', 'y')", "do $$ begin raise exception 'own' using errcode = 'ZX123', column = 'c', datatype = 'd'; end $$",
    };
    PGconn *c = PQconnectdb(getenv("CHOPIN_PG_URL"));
    PQsetNoticeReceiver(c, hush, NULL);
    PQclear(PQexec(c, "drop table if exists p1; create table p1 (id int primary key check (id > 0)); insert into p1 values (1);"
                      "create or replace function f1() returns int language plpgsql as $$ begin return (select nope from p1); end $$"));
    chopin_pg *db = chopin_pg_open(&(chopin_pg_options){ .url = getenv("CHOPIN_PG_URL"), .no_env = true, .log = quiet });
    for (size_t i = 0; i < sizeof sql / sizeof *sql; i++) {
        PGresult *r = PQexecParams(c, sql[i], 0, NULL, NULL, NULL, NULL, 0);
        CHECK(chopin_pg_exec(db, sql[i]) < 0);
        const chopin_pg_error *e = chopin_pg_error_of(db);
        const struct { int field; chopin_str got; } fields[] = {
            { PG_DIAG_SEVERITY, e->severity }, { PG_DIAG_SEVERITY_NONLOCALIZED, e->severity_plain }, { PG_DIAG_SQLSTATE, { e->sqlstate, strlen(e->sqlstate) } },
            { PG_DIAG_MESSAGE_PRIMARY, e->message }, { PG_DIAG_MESSAGE_DETAIL, e->detail }, { PG_DIAG_CONTEXT, e->where }, { PG_DIAG_SCHEMA_NAME, e->schema },
            { PG_DIAG_TABLE_NAME, e->table }, { PG_DIAG_COLUMN_NAME, e->column }, { PG_DIAG_DATATYPE_NAME, e->data_type }, { PG_DIAG_CONSTRAINT_NAME, e->constraint },
            { PG_DIAG_INTERNAL_QUERY, e->internal_query }, { PG_DIAG_SOURCE_FILE, e->file }, { PG_DIAG_SOURCE_FUNCTION, e->routine },
        };
        for (size_t k = 0; k < sizeof fields / sizeof *fields; k++) {
            const char *want = PQresultErrorField(r, fields[k].field);
            bool same = want ? fields[k].got.ptr && fields[k].got.len == strlen(want) && memcmp(fields[k].got.ptr, want, fields[k].got.len) == 0 : !fields[k].got.ptr;
            if (!CHECK(same)) printf("  %s: field %c: ours \"%.*s\", theirs \"%s\"\n", sql[i], fields[k].field, CHOPIN_FMT(fields[k].got), want ? want : "(none)");
        }
        const char *position = PQresultErrorField(r, PG_DIAG_STATEMENT_POSITION), *inner = PQresultErrorField(r, PG_DIAG_INTERNAL_POSITION);
        CHECK_EQ_INT(e->position, position ? atoi(position) : 0);
        CHECK_EQ_INT(e->internal_position, inner ? atoi(inner) : 0);
        PQclear(r);
    }
    PQclear(PQexec(c, "drop table p1; drop function f1()"));
    PQfinish(c);
    chopin_pg_close(db);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    if (!getenv("CHOPIN_PG_URL")) { printf("SKIPPED test_pg_peers: no server; run it by tests/pg.sh\n0 passed, 0 failed\n"); return 77; }
    RUN(the_trace_is_that_of_pqtrace);
    RUN(errors_have_the_fields_of_libpq);
    return TEST_END();
}
