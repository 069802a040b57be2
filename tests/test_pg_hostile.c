/* test_pg_hostile.c - a server that fails at every byte, machines that fail at every call, and what a hostile server would send.
 *
 * Required each time: a status in time, no leak, no wrong row, and the next query right. The server is tests/pg_fake.h: nothing has to be installed.
 * CHOPIN_TEST_STRIDE=n tries every n-th offset only (sanitizers, valgrind). */
#include "pg_fake.h"
#include "test.h"

#define FAIL(what) test__check(false, __FILE__, __LINE__, "not " what)

/* ---- dialogues: each does one kind of work and says how it went --------------------------------------------------------------------------------- */

typedef struct told {
    int ok, failed;        // operations
    int wrong;             // that claimed success and were not right
    int status;            // of the last one that failed
} told;

static void tell(told *t, int64_t rc, bool right) {
    if (rc < 0) { t->failed++; t->status = (int)rc; return; }
    t->ok++;
    if (!right) t->wrong++;
}
static bool is(chopin_str s, const char *want) { return s.ptr && s.len == strlen(want) && memcmp(s.ptr, want, s.len) == 0; }

#define ASK_SQL "select id, n from world where id = $1"

/* One row that must be the one asked for; wrong content of a row counts even if an error follows. */
static void ask_end(chopin_pg_rows *r, int id, told *t) {
    int  n = 0;
    bool right = true;
    while (chopin_pg_next(r)) {
        int got = chopin_pg_i32(r, 0), twin = chopin_pg_i32(r, 1);
        if (chopin_pg_code(r) == 0 && (got != id || twin != id * 7 + 3)) right = false;
        n++;
    }
    int64_t rc = chopin_pg_end(r);
    if (!right) t->wrong++;
    tell(t, rc, n == 1);
}
static void ask(chopin_pg *db, int id, told *t) { ask_end(chopin_pg_query(db, ASK_SQL, id), id, t); }

static const char *const series[] = { "one", "", NULL, "t\tab", "f\xc3\xbcnf" };
static void series_end(chopin_pg_rows *r, told *t) {
    int  n = 0;
    bool right = true;
    for (; chopin_pg_next(r); n++) {
        int64_t    id = chopin_pg_i64(r, 0);
        bool       null = chopin_pg_is_null(r, 1);
        chopin_str s = chopin_pg_text_or(r, 1, CHOPIN_STR("null"));
        if (chopin_pg_code(r) < 0) continue;
        if (n > 4 || id != n * INT64_C(1000000007) - 3 || null != !series[n] || (!null && !is(s, series[n]))) right = false;
    }
    int64_t rc = chopin_pg_end(r);
    if (!right) t->wrong++;
    tell(t, rc, n == 5);
}
static void long_end(chopin_pg_rows *r, int rows, size_t size, told *t) {
    int  n = 0;
    bool right = true;
    for (; chopin_pg_next(r); n++) {
        chopin_str s = chopin_pg_text(r, 0);
        if (chopin_pg_code(r) < 0) continue;
        if (s.len != size) right = false;
        for (size_t i = 0; i < s.len; i++) if (s.ptr[i] != (char)('a' + n)) right = false;
    }
    int64_t rc = chopin_pg_end(r);
    if (!right) t->wrong++;
    tell(t, rc, n == rows);
}
static bool sqlstate(const chopin_pg_error *e, const char *code) { return strcmp(e->sqlstate, code) == 0; }

/* A statement that must fail with this SQLSTATE, when the server gets to say so: counts as ok then. */
static void must_fail(chopin_pg *db, const char *sql, const char *code, told *t) {
    chopin_pg_rows *r = chopin_pg_query(db, sql);
    while (chopin_pg_next(r)) { }
    bool expected = chopin_pg_code(r) == CHOPIN_PG_SERVER && sqlstate(chopin_pg_error_of(r), code);
    int64_t rc = chopin_pg_end(r);
    if (expected) t->ok++;
    else tell(t, rc, false);
}

static void d_login(chopin_pg *db, told *t) { tell(t, chopin_pg_ready(db), true); }
static void d_query(chopin_pg *db, told *t) {
    ask(db, 5, t);
    ask(db, 6, t);                                     // the second use: binary
    tell(t, chopin_pg_exec(db, "insert into world(v) values ($1)", "x"), true);
    ask(db, 70000, t);
    chopin_pg_rows *r = chopin_pg_query(db, " ");
    tell(t, chopin_pg_end(r), true);
}
static void d_errors(chopin_pg *db, told *t) {
    ask(db, 1, t);
    must_fail(db, "select 1/0", "22012", t);
    must_fail(db, "selec 1", "42601", t);
    ask(db, 2, t);
    must_fail(db, "select 1/0", "22012", t);
    ask(db, 3, t);
}
static void d_rows(chopin_pg *db, told *t) {
    series_end(chopin_pg_query(db, "select id, s from series"), t);
    long_end(chopin_pg_query(db, "select long from world"), 2, FAKE_LONG, t);
    series_end(chopin_pg_query(db, "select id, s from series"), t);
}
static void d_very_long(chopin_pg *db, told *t) {
    long_end(chopin_pg_query(db, "select verylong from world"), 3, FAKE_VERY_LONG, t);
    ask(db, 9, t);
}
static void d_pipeline(chopin_pg *db, told *t) {
    chopin_pg_rows *r[6];
    for (int i = 0; i < 6; i++) r[i] = i == 3 ? chopin_pg_send(db, "select id, s from series") : chopin_pg_send(db, ASK_SQL, 100 + i);
    for (int i = 5; i >= 0; i--) if (i == 3) series_end(r[i], t); else ask_end(r[i], 100 + i, t);       // backwards: each finds its own
    chopin_pg_rows *bad = chopin_pg_send(db, "select 1/0"), *good = chopin_pg_send(db, ASK_SQL, 8);
    ask_end(good, 8, t);
    bool expected = chopin_pg_end(bad) == CHOPIN_PG_SERVER;
    if (expected) t->ok++; else t->failed++;
}
static void d_batch(chopin_pg *db, told *t) {
    chopin_pg *b = chopin_pg_batch(db);
    chopin_pg_rows *one = chopin_pg_send(b, ASK_SQL, 11);
    chopin_pg_rows *two = chopin_pg_send(b, "insert into world(v) values ($1)", "y");
    chopin_pg_rows *three = chopin_pg_send(b, ASK_SQL, 12);
    int rc = chopin_pg_commit(b);
    tell(t, rc, true);
    ask_end(one, 11, t);
    tell(t, chopin_pg_end(two), true);
    ask_end(three, 12, t);
    chopin_pg_close(b);
    b = chopin_pg_batch(db);
    chopin_pg_send(b, ASK_SQL, 13);
    chopin_pg_send(b, "select 1/0");
    rc = chopin_pg_commit(b);
    if (rc == CHOPIN_PG_SERVER) t->ok++; else tell(t, rc, false);
    chopin_pg_close(b);
}
static void d_transaction(chopin_pg *db, told *t) {
    chopin_pg *tx = chopin_pg_begin(db, NULL);
    ask(tx, 21, t);
    chopin_pg *inner = chopin_pg_begin(tx, NULL);
    must_fail(inner, "select 1/0", "22012", t);
    tell(t, chopin_pg_rollback(inner), true);
    chopin_pg_close(inner);
    tell(t, chopin_pg_exec(tx, "update world set v = $2 where id = $1", 1, 2), true);
    tell(t, chopin_pg_commit(tx), true);
    chopin_pg_close(tx);
    tx = chopin_pg_begin(db, NULL);
    must_fail(tx, "select 1/0", "22012", t);
    int rc = chopin_pg_commit(tx);                     // answered by ROLLBACK: must not look like success
    if (rc < 0) t->ok++; else t->wrong++;
    chopin_pg_close(tx);
}
static void d_copy_in(chopin_pg *db, told *t) {
    chopin_pg_copy *c = chopin_pg_copy_raw(db, "copy t from stdin");
    for (int i = 0; i < 3; i++) chopin_pg_copy_bytes(c, "1\tone\n", 6);
    tell(t, chopin_pg_copy_end(c), true);
    c = chopin_pg_copy_raw(db, "copy t from stdin");
    chopin_pg_copy_bytes(c, "bad row\n", 8);
    chopin_pg_copy_bytes(c, "2\ttwo\n", 6);
    int64_t rc = chopin_pg_copy_end(c);
    if (rc == CHOPIN_PG_SERVER) t->ok++; else tell(t, rc, false);
    c = chopin_pg_copy_raw(db, "copy t from stdin");
    chopin_pg_copy_bytes(c, "3\tthree\n", 8);
    tell(t, chopin_pg_copy_fail(c, "never mind"), true);
    ask(db, 31, t);
}
static void d_copy_typed(chopin_pg *db, told *t) {
    chopin_pg_copy *c = chopin_pg_copy_in(db, "world", "id, v");
    for (int i = 0; i < 3; i++) chopin_pg_copy_row(c, i, i * 2);
    tell(t, chopin_pg_copy_end(c), true);
    ask(db, 32, t);
}
static void d_copy_out(chopin_pg *db, told *t) {
    static const char want[] = "0\tvalue 0\n1\tvalue 1\n2\tvalue 2\n3\tvalue 3\n4\tvalue 4\n";
    char   got[256];
    size_t n = 0;
    chopin_pg_rows *r = chopin_pg_copy_out(db, "copy t to stdout");
    while (chopin_pg_next(r)) {
        chopin_str piece = chopin_pg_text(r, 0);
        if (piece.len > sizeof got - n) break;
        memcpy(got + n, piece.ptr, piece.len);
        n += piece.len;
    }
    tell(t, chopin_pg_end(r), n == sizeof want - 1 && memcmp(got, want, n) == 0);
    ask(db, 41, t);
}
static void d_stream(chopin_pg *db, told *t) {
    series_end(chopin_pg_stream(db, 2, "select id, s from series"), t);
    chopin_pg_rows *r = chopin_pg_stream(db, 2, "select id, s from series");
    chopin_pg_next(r);
    tell(t, chopin_pg_end(r), true);                   // left early
    ask(db, 51, t);
}
static void d_cancel(chopin_pg *db, told *t) {
    chopin_pg *s = chopin_pg_scope(db, 300);
    chopin_pg_rows *r = chopin_pg_query(s, "select pg_sleep(9)");
    int64_t rc = chopin_pg_end(r);
    if (rc == CHOPIN_PG_TIMEOUT || rc == CHOPIN_PG_CANCELED) t->ok++; else tell(t, rc, false);
    chopin_pg_close(s);
    ask(db, 61, t);
    ask(db, 62, t);
}
static void d_script(chopin_pg *db, told *t) {
    chopin_pg_rows *r = chopin_pg_script(db, "select id, s from series; insert into world(v) values (1); select 3");
    int results = 0, rows = 0;
    do { while (chopin_pg_next(r)) rows++; results++; } while (chopin_pg_next_result(r));
    tell(t, chopin_pg_end(r), results == 3 && rows == 6);
    ask(db, 71, t);
}
static void d_pin(chopin_pg *db, told *t) {
    chopin_pg *p = chopin_pg_pin(db);
    tell(t, chopin_pg_exec(p, "set search_path = x"), true);
    ask(p, 81, t);
    chopin_pg_close(p);
    p = chopin_pg_pin(db);
    ask(p, 82, t);
    chopin_pg_close(p);
}
static void d_listen(chopin_pg *db, told *t) {
    static const char *const payloads[] = { "first", "" };
    chopin_pg_listener *l = chopin_pg_listen(db, "jobs");
    int notes = 0;
    bool right = true, gap = false;
    for (int i = 0; i < 6 && notes < 2; i++) {
        chopin_pg_note n;
        int rc = chopin_pg_wait_note(l, &n, 300);
        if (rc < 0) { t->failed++; t->status = rc; break; }
        if (rc == 0) { t->failed++; t->status = CHOPIN_PG_TIMEOUT; break; }
        if (n.gap) { notes = 0; gap = true; continue; }
        if (is(n.channel, "intruder")) continue;
        if (!is(n.channel, "jobs") || (!is(n.payload, payloads[notes]) && !(gap && is(n.payload, payloads[1])))) right = false;
        notes++;
    }
    if (!right) t->wrong++;
    if (notes == 2) t->ok++;
    chopin_pg_unlisten(l);
    tell(t, chopin_pg_notify(db, "jobs", "it's"), true);
    ask(db, 91, t);
}

typedef struct dialogue { const char *name; void (*talk)(chopin_pg *, told *); fake_auth auth; bool all_bytes; int stride; } dialogue;
static const dialogue dialogues[] = {
    { "login trust",    d_login,       FAKE_TRUST,    true,  1 },
    { "login password", d_login,       FAKE_PASSWORD, true,  1 },
    { "login md5",      d_login,       FAKE_MD5,      true,  1 },
    { "login scram",    d_login,       FAKE_SCRAM,    true,  1 },
    { "query",          d_query,       FAKE_TRUST,    false, 1 },
    { "errors",         d_errors,      FAKE_TRUST,    false, 1 },
    { "rows",           d_rows,        FAKE_TRUST,    false, 3 },
    { "very long",      d_very_long,   FAKE_TRUST,    false, 1999 },
    { "pipeline",       d_pipeline,    FAKE_TRUST,    false, 1 },
    { "batch",          d_batch,       FAKE_TRUST,    false, 1 },
    { "transaction",    d_transaction, FAKE_TRUST,    false, 1 },
    { "copy in",        d_copy_in,     FAKE_TRUST,    false, 1 },
    { "copy typed",     d_copy_typed,  FAKE_TRUST,    false, 1 },
    { "copy out",       d_copy_out,    FAKE_TRUST,    false, 1 },
    { "stream",         d_stream,      FAKE_TRUST,    false, 1 },
    { "cancel",         d_cancel,      FAKE_TRUST,    false, 1 },
    { "script",         d_script,      FAKE_TRUST,    false, 1 },
    { "pin",            d_pin,         FAKE_TRUST,    false, 1 },
    { "listen",         d_listen,      FAKE_TRUST,    false, 1 },
};
enum { DIALOGUES = sizeof dialogues / sizeof *dialogues };

/* ---- one run ------------------------------------------------------------------------------------------------------------------------------------- */

enum { SCOPE_MS = 5000, LIMIT_MS = 20000 };

/* d->stride times what the environment says. */
static int stride_of(const dialogue *d) {
    const char *more = getenv("CHOPIN_TEST_STRIDE");
    return d->stride * (more && atoi(more) > 0 ? atoi(more) : 1);
}
/* A scope, so that even COPY and LISTEN have a deadline. */
static told talk(const dialogue *d, chopin_pg *db) {
    told t = { 0 };
    chopin_pg *s = chopin_pg_scope(db, SCOPE_MS);
    d->talk(s, &t);
    chopin_pg_close(s);
    return t;
}
/* The faults are over, and a little time with them, so that a dead idle connection is looked at before it is used. */
static told heal_and_ask(chopin_pg *db, bool expire) {
    told t = { 0 };
    fake.fault.kind = FAKE_NONE;
    fake.fail_at = fake.alloc_fail_at = 0;
    fake.clock_ns += INT64_C(1500000000);
    if (expire) chopin_pg_expire(db);
    ask(db, 7, &t);
    ask(db, 8, &t);
    return t;
}

typedef struct run { told talk, after; int leaks; int64_t ms; fake_seen seen; long calls, allocs; } run;

/* A run with nothing wrong: what the others are compared with. */
static run clean_run(const dialogue *d, fake_how how) {
    run r;
    fake_reset();
    fake.auth = d->auth;
    fake.fail_how = how;
    fake.fail_at = LONG_MAX;
    chopin_pg *db = fake_open(NULL);
    long allocs = fake.allocs;
    r.talk = talk(d, db);
    r.calls = fake.calls;
    r.allocs = fake.allocs - allocs;
    r.seen = fake.seen[0];
    r.after = heal_and_ask(db, false);
    chopin_pg_close(db);
    fake_pump();
    r.leaks = fake_leaks();
    r.ms = fake_ms();
    return r;
}

static run fault_run(const dialogue *d, fake_kind kind, size_t at, bool expire) {
    run r = { .ms = 0 };
    fake_reset();
    fake.auth = d->auth;
    fake.fault = (fake_fault){ kind, at, 0 };
    chopin_pg *db = fake_open(NULL);
    r.talk = talk(d, db);
    r.ms = fake_ms();
    r.after = heal_and_ask(db, expire);
    chopin_pg_close(db);
    fake_pump();
    r.leaks = fake_leaks();
    return r;
}

static int complaints;                                  // per test: after a few the rest is only counted
static void complain(const dialogue *d, const char *what, size_t at, const run *r, const char *problem) {
    if (complaints++ < 8) printf("  %s, %s at %zu: %s (ok %d, failed %d, wrong %d, last %s; after: ok %d, failed %d, wrong %d, last %s; %lld ms)\n", d->name, what, at,
                                 problem, r->talk.ok, r->talk.failed, r->talk.wrong, chopin_pg_status_name(r->talk.status), r->after.ok, r->after.failed,
                                 r->after.wrong, chopin_pg_status_name(r->after.status), (long long)r->ms);
}
static void judge(const dialogue *d, const char *what, size_t at, const run *r, bool contents_may_lie) {
    if (!contents_may_lie && r->talk.wrong) complain(d, what, at, r, "a wrong answer");
    if (r->after.failed || r->after.ok != 2) complain(d, what, at, r, "the next query failed");
    if (r->after.wrong) complain(d, what, at, r, "the next query got a wrong answer");
    if (r->leaks) complain(d, what, at, r, "something was not given back");
    if (r->ms > LIMIT_MS) complain(d, what, at, r, "took too long");
}
static void judge_same(const dialogue *d, const char *what, size_t at, const run *r, const run *clean) {
    judge(d, what, at, r, false);
    if (r->talk.failed != clean->talk.failed || r->talk.ok != clean->talk.ok) complain(d, what, at, r, "it should not have mattered");
}

/* ---- tests: the server fails ------------------------------------------------------------------------------------------------------------------------ */

static void every_dialogue_works_without_a_fault(void) {
    for (int i = 0; i < DIALOGUES; i++) {
        run r = clean_run(&dialogues[i], FAKE_SHORT);
        complaints = 0;
        judge(&dialogues[i], "nothing", 0, &r, false);
        if (r.talk.failed || r.talk.ok == 0) complain(&dialogues[i], "nothing", 0, &r, "failed");
        CHECK_EQ_INT(complaints, 0);
    }
}

static void over_bytes(fake_kind kind, const char *what, bool expire, bool contents_may_lie) {
    complaints = 0;
    for (int i = 0; i < DIALOGUES; i++) {
        const dialogue *d = &dialogues[i];
        run clean = clean_run(d, FAKE_SHORT);
        size_t step = (size_t)stride_of(d), from = d->all_bytes ? 0 : clean.seen.welcome;
        for (size_t at = from; at < clean.seen.bytes; at += step) {
            run r = fault_run(d, kind, at, expire);
            judge(d, what, at, &r, contents_may_lie);
        }
    }
    CHECK_EQ_INT(complaints, 0);
}
static void survives_the_end_at_every_byte(void)   { over_bytes(FAKE_CUT, "cut", false, false); }
static void survives_a_reset_at_every_byte(void)   { over_bytes(FAKE_RESET, "reset", false, false); }
static void survives_silence_at_every_byte(void)   { over_bytes(FAKE_STALL, "stall", false, false); }
static void survives_a_wrong_bit_in_every_byte(void) { over_bytes(FAKE_FLIP, "flip", true, true); }

static void over_messages(fake_kind kind, const char *what, bool same, bool expire) {
    complaints = 0;
    for (int i = 0; i < DIALOGUES; i++) {
        const dialogue *d = &dialogues[i];
        run clean = clean_run(d, FAKE_SHORT);
        for (size_t at = 0; at < clean.seen.messages; at++) {
            run r = fault_run(d, kind, at, expire);
            if (same) judge_same(d, what, at, &r, &clean);
            else judge(d, what, at, &r, true);
        }
    }
    CHECK_EQ_INT(complaints, 0);
}
static void survives_every_message_twice(void)             { over_messages(FAKE_REPEAT, "repeat", false, true); }
static void notices_between_any_messages_change_nothing(void) { over_messages(FAKE_NOTICE, "notice", true, false); }
static void parameters_between_any_messages_change_nothing(void) { over_messages(FAKE_STATUS, "status", true, false); }
static void notifications_between_any_messages_change_nothing(void) { over_messages(FAKE_NOTIFY, "notify", true, false); }

static void bytes_may_come_one_by_one(void) {
    complaints = 0;
    for (int i = 0; i < DIALOGUES; i++) {
        const dialogue *d = &dialogues[i];
        if (d->stride > 100) continue;
        run clean = clean_run(d, FAKE_SHORT), r = fault_run(d, FAKE_BYTES, 0, false);
        judge_same(d, "single bytes", 0, &r, &clean);
    }
    CHECK_EQ_INT(complaints, 0);
}
static void survives_a_server_that_stops_reading(void) {
    complaints = 0;
    for (int i = 0; i < DIALOGUES; i++) {
        const dialogue *d = &dialogues[i];
        run clean = clean_run(d, FAKE_SHORT);
        for (size_t at = 0; at < clean.seen.came; at += (size_t)(stride_of(d) > 100 ? 7 : stride_of(d))) {
            run r = fault_run(d, FAKE_DEAF, at, false);
            judge(d, "deaf", at, &r, false);
        }
    }
    CHECK_EQ_INT(complaints, 0);
}

/* ---- tests: the machine fails ------------------------------------------------------------------------------------------------------------------------ */

static run call_run(const dialogue *d, fake_how how, long at) {
    run r = { .ms = 0 };
    fake_reset();
    fake.auth = d->auth;
    fake.fail_how = how;
    fake.fail_at = at;
    chopin_pg *db = fake_open(NULL);
    r.talk = talk(d, db);
    r.ms = fake_ms();
    r.after = heal_and_ask(db, false);
    chopin_pg_close(db);
    fake_pump();
    r.leaks = fake_leaks();
    return r;
}
static void over_calls(fake_how how, const char *what, bool same) {
    complaints = 0;
    for (int i = 0; i < DIALOGUES; i++) {
        const dialogue *d = &dialogues[i];
        run clean = clean_run(d, how);
        int step = d->stride > 100 ? 1 : stride_of(d) / d->stride;
        for (long at = 1; at <= clean.calls; at += step) {
            run r = call_run(d, how, at);
            char where[64];
            snprintf(where, sizeof where, "%s of %s", what, fake.failed ? fake.failed : "nothing");
            if (same) judge_same(d, where, (size_t)at, &r, &clean);
            else judge(d, where, (size_t)at, &r, false);
        }
    }
    CHECK_EQ_INT(complaints, 0);
}
static void an_interrupted_call_changes_nothing(void) { over_calls(FAKE_EINTR, "EINTR", true); }
static void a_would_block_changes_nothing(void)       { over_calls(FAKE_EAGAIN, "EAGAIN", true); }
static void a_short_call_changes_nothing(void)        { over_calls(FAKE_SHORT, "one byte", true); }
static void survives_every_call_that_fails(void)      { over_calls(FAKE_HARD, "failure", false); }

static void over_allocations(bool on, const char *what) {
    complaints = 0;
    for (int i = 0; i < DIALOGUES; i++) {
        const dialogue *d = &dialogues[i];
        run clean = clean_run(d, FAKE_SHORT);
        for (long at = 1; at <= clean.allocs; at++) {
            run r = { .ms = 0 };
            fake_reset();
            fake.auth = d->auth;
            chopin_pg *db = fake_open(NULL);
            fake.alloc_fail_at = fake.allocs + at;
            fake.alloc_fail_on = on;
            r.talk = talk(d, db);
            r.ms = fake_ms();
            r.after = heal_and_ask(db, false);
            chopin_pg_close(db);
            fake_pump();
            r.leaks = fake_leaks();
            judge(d, what, (size_t)at, &r, false);
        }
    }
    CHECK_EQ_INT(complaints, 0);
}
static void survives_each_allocation_failing_once(void)      { over_allocations(false, "allocation"); }
static void survives_all_allocations_failing_from_one_on(void) { over_allocations(true, "allocations from"); }

static void a_pool_without_memory_says_so(void) {
    for (long at = 1; at < 20; at++) {
        fake_reset();
        fake.alloc_fail_at = at;
        fake.alloc_fail_on = true;
        chopin_pg *db = fake_open(NULL);
        if (!CHECK(db != NULL)) return;
        chopin_pg_rows *r = chopin_pg_query(db, ASK_SQL, 1);
        CHECK(r != NULL);
        CHECK(chopin_pg_next(r) == 0);
        int rc = chopin_pg_code(r);                    // LOST: it had been sent, but there was no memory for the answer
        CHECK(rc == CHOPIN_PG_MEMORY || rc == CHOPIN_PG_LOST);
        CHECK_EQ_INT(chopin_pg_end(r), rc);
        CHECK(chopin_pg_exec(db, "select 3") < 0);
        chopin_pg_close(db);
        CHECK_EQ_INT(fake_leaks(), 0);
    }
}

/* ---- tests: the server lies --------------------------------------------------------------------------------------------------------------------------- */

/* What is sent in place of the answer to the first statement. */
static struct { uint8_t bytes[4096]; size_t len; bool armed, ends; int startup; } evil;

static void evil_put(const void *bytes, size_t n) { memcpy(evil.bytes + evil.len, bytes, n); evil.len += n; }
static void evil_msg(char type, const void *body, size_t n) {
    uint8_t head[5] = { (uint8_t)type, 0, 0, (uint8_t)((n + 4) >> 8), (uint8_t)(n + 4) };
    evil_put(head, 5);
    evil_put(body, n);
}
#define EVIL(type, text)  evil_msg(type, text, sizeof(text) - 1)
#define EVIL_RAW(text)    evil_put(text, sizeof(text) - 1)

/* The first half of a good answer: 1, t, T with two int4, 2; in the order that this client asked for. */
#define T_TWO "\0\2" "id\0\0\0\x40\0\0\1\0\0\0\x17\0\4\xff\xff\xff\xff\0\0" "n\0\0\0\x40\0\0\2\0\0\0\x17\0\4\xff\xff\xff\xff\0\0"

static bool evil_hook(fake_conn *c, int type, const uint8_t *body, size_t len) {
    (void)body; (void)len;
    if (!evil.armed || type == 0 || type == 'p' || type == 'X') return false;
    if (type == 'P') { fake_empty(c, '1'); return true; }
    if (type == 'D') {
        fake_raw(c, "t\0\0\0\x0a\0\1\0\0\0\x17", 11);
        fake_raw(c, "T", 1);
        uint8_t size[4] = { 0, 0, 0, (uint8_t)(sizeof T_TWO - 1 + 4) };
        fake_raw(c, size, 4);
        fake_raw(c, T_TWO, sizeof T_TWO - 1);
        return true;
    }
    if (type == 'B') { fake_empty(c, '2'); return true; }
    if (type != 'S' && type != 'Q') return true;
    fake_raw(c, evil.bytes, evil.len);
    evil.armed = false;
    c->ended = evil.ends;
    return true;
}
static chopin_pg *evil_begin(void) {
    fake_reset();
    fake.hook = evil_hook;
    evil.len = 0;
    evil.armed = true;
    evil.ends = false;
    return fake_open(NULL);
}
/* The statement ends with `want` (0: any failure), the next one is right, nothing leaks. */
static void evil_end(chopin_pg *db, int want, const char *name) {
    told t = { 0 };
    chopin_pg_rows *r = chopin_pg_query(db, ASK_SQL, 4);
    int rows = 0;
    while (chopin_pg_next(r) && rows < 1000) { chopin_pg_i32(r, 0); chopin_pg_i32(r, 1); rows++; }
    int64_t rc = chopin_pg_end(r);
    if (rc >= 0 || (want && rc != want)) { printf("  %s: status %s (%s)\n", name, chopin_pg_status_name((int)rc), chopin_pg_why(db)); FAIL("the right status"); }
    t = heal_and_ask(db, false);
    if (t.ok != 2 || t.failed || t.wrong) { printf("  %s: the next query: %s\n", name, chopin_pg_why(db)); FAIL("the next query right"); }
    chopin_pg_close(db);
    fake_pump();
    if (fake_leaks()) { printf("  %s\n", name); FAIL("no leak"); }
    if (fake.bytes_most > 4 << 20) { printf("  %s: %zu bytes allocated\n", name, fake.bytes_most); FAIL("memory flat"); }
}
#define LIE(want, name, ...) do { chopin_pg *db_ = evil_begin(); __VA_ARGS__; evil_end(db_, want, name); } while (0)

#define ROW_OK   EVIL('D', "\0\2\0\0\0\1" "4" "\0\0\0\2" "31")
#define END_OK   EVIL('C', "SELECT 1\0"); EVIL('Z', "I")

static void refuses_rows_that_do_not_fit_their_description(void) {
    LIE(CHOPIN_PG_PROTOCOL, "three columns of two", EVIL('D', "\0\3\0\0\0\1" "4" "\0\0\0\1" "3" "\0\0\0\1" "3"); END_OK);
    LIE(CHOPIN_PG_PROTOCOL, "one column of two", EVIL('D', "\0\1\0\0\0\1" "4"); END_OK);
    LIE(CHOPIN_PG_PROTOCOL, "65535 columns", EVIL('D', "\xff\xff\0\0\0\1" "4"); END_OK);
    LIE(CHOPIN_PG_PROTOCOL, "length -2", EVIL('D', "\0\2\0\0\0\1" "4" "\xff\xff\xff\xfe"); END_OK);
    LIE(CHOPIN_PG_PROTOCOL, "most negative length", EVIL('D', "\0\2\0\0\0\1" "4" "\x80\0\0\0"); END_OK);
    LIE(CHOPIN_PG_PROTOCOL, "a value past the frame", EVIL('D', "\0\2\0\0\0\1" "4" "\0\0\0\3" "31"); END_OK);
    LIE(CHOPIN_PG_PROTOCOL, "bytes behind the last value", EVIL('D', "\0\2\0\0\0\1" "4" "\0\0\0\2" "31!"); END_OK);
    LIE(CHOPIN_PG_PROTOCOL, "no count", EVIL('D', "\0"); END_OK);
}
static void refuses_lengths_below_four(void) {
    for (char n = 0; n < 4; n++) LIE(CHOPIN_PG_PROTOCOL, "length 0 to 3", evil_put((char[]){ 'D', 0, 0, 0, n, 0, 2 }, 7); END_OK);
    LIE(CHOPIN_PG_PROTOCOL, "negative length", EVIL_RAW("D\xff\xff\xff\xff" "0000"); END_OK);
}
static void refuses_unknown_and_misplaced_messages(void) {
    LIE(CHOPIN_PG_PROTOCOL, "type y", EVIL('y', "abc"); END_OK);
    LIE(CHOPIN_PG_PROTOCOL, "type 0", EVIL('\0', ""); END_OK);
    LIE(CHOPIN_PG_PROTOCOL, "V", EVIL('V', "\xff\xff\xff\xff"); END_OK);
    LIE(CHOPIN_PG_PROTOCOL, "a second 2", EVIL('2', ""); ROW_OK; END_OK);
    LIE(CHOPIN_PG_PROTOCOL, "an Ok in the session", EVIL('R', "\0\0\0\0"); ROW_OK; END_OK);
    LIE(CHOPIN_PG_PROTOCOL, "a 3 nobody asked for", EVIL('3', ""); ROW_OK; END_OK);
    LIE(CHOPIN_PG_PROTOCOL, "W", EVIL('W', "\0\0\0"); END_OK);
    LIE(CHOPIN_PG_PROTOCOL, "d without H", EVIL('d', "x"); END_OK);
    LIE(CHOPIN_PG_PROTOCOL, "s without a limit", ROW_OK; EVIL('s', ""); EVIL('Z', "I"));
    LIE(CHOPIN_PG_PROTOCOL, "Z instead of C", ROW_OK; EVIL('Z', "I"));
    LIE(CHOPIN_PG_PROTOCOL, "C twice", ROW_OK; EVIL('C', "SELECT 1\0"); END_OK);
    LIE(CHOPIN_PG_PROTOCOL, "a row behind C", EVIL('C', "SELECT 0\0"); ROW_OK; EVIL('Z', "I"));
}
static void refuses_broken_bodies(void) {
    LIE(CHOPIN_PG_PROTOCOL, "Z without its byte", ROW_OK; EVIL('C', "SELECT 1\0"); EVIL('Z', ""));
    LIE(CHOPIN_PG_PROTOCOL, "Z with two", ROW_OK; EVIL('C', "SELECT 1\0"); EVIL('Z', "II"));
    LIE(CHOPIN_PG_PROTOCOL, "Z of no known state", ROW_OK; EVIL('C', "SELECT 1\0"); EVIL('Z', "X"));
    LIE(CHOPIN_PG_PROTOCOL, "C without NUL", ROW_OK; EVIL('C', "SELECT 1"); EVIL('Z', "I"));
    LIE(CHOPIN_PG_PROTOCOL, "C with two strings", ROW_OK; EVIL('C', "SELECT 1\0x\0"); EVIL('Z', "I"));
    LIE(0, "E without fields", EVIL('E', "\0"); EVIL('Z', "I"));
    LIE(CHOPIN_PG_PROTOCOL, "E without its end", EVIL('E', "SERROR\0MX"); EVIL('Z', "I"));
    LIE(CHOPIN_PG_PROTOCOL, "E of no bytes", EVIL('E', ""); EVIL('Z', "I"));
    LIE(CHOPIN_PG_PROTOCOL, "N without its end", EVIL('N', "SNOTICE"); ROW_OK; END_OK);
    LIE(CHOPIN_PG_PROTOCOL, "S without value", EVIL('S', "TimeZone\0"); ROW_OK; END_OK);
    LIE(CHOPIN_PG_PROTOCOL, "A without payload", EVIL('A', "\0\0\0\1jobs\0"); ROW_OK; END_OK);
    LIE(CHOPIN_PG_PROTOCOL, "A too short", EVIL('A', "\0\0"); ROW_OK; END_OK);
    LIE(CHOPIN_PG_PROTOCOL, "1 with a body", EVIL('1', "x"); ROW_OK; END_OK);
}
static void announced_sizes_allocate_nothing(void) {
    LIE(0, "a gigabyte announced, ten bytes sent", EVIL_RAW("D\x3f\xff\xff\xff" "\0\2\0\0\0\1" "4" "\0\0\0"); evil.ends = true);
    LIE(0, "a value of a gigabyte", EVIL_RAW("D\x3f\xff\xff\xff" "\0\2\x3f\xff\xff\0" "1234"); evil.ends = true);
    LIE(CHOPIN_PG_PROTOCOL, "two gigabytes", EVIL_RAW("D\x7f\xff\xff\xff" "\0\2\0\0\0\1"));
    LIE(CHOPIN_PG_PROTOCOL, "a long Z", EVIL_RAW("Z\0\1\0\0" "I"));
    LIE(CHOPIN_PG_PROTOCOL, "a long C", EVIL_RAW("C\0\1\0\0" "SELECT"));
    LIE(0, "a long notice that never comes", EVIL_RAW("N\x0f\0\0\0" "SNOTICE"));
}
static void an_answer_too_many_closes_the_connection(void) {       // the answer itself is right; the next one must not be shifted
    static const struct { const char *name; const char *bytes; size_t n; } extra[] = {
        { "Z", "Z\0\0\0\5I", 6 }, { "C", "C\0\0\0\x0dSELECT 1\0", 14 }, { "E", "E\0\0\0\x0cSERROR\0\0", 13 },
        { "a whole answer", "2\0\0\0\4D\0\0\0\x11\0\2\0\0\0\1" "9" "\0\0\0\2" "66C\0\0\0\x0dSELECT 1\0Z\0\0\0\5I", 5 + 18 + 14 + 6 },
    };
    for (size_t i = 0; i < sizeof extra / sizeof *extra; i++) {
        told t = { 0 };
        chopin_pg *db = evil_begin();
        ROW_OK; END_OK;
        evil_put(extra[i].bytes, extra[i].n);
        ask(db, 4, &t);                                // may succeed or fail, the row is right
        t.wrong = 0;
        told after = heal_and_ask(db, false);
        if (after.ok != 2 || after.wrong) { printf("  extra %s: ok %d wrong %d, %s\n", extra[i].name, after.ok, after.wrong, chopin_pg_why(db)); FAIL("right"); }
        chopin_pg_close(db);
        fake_pump();
        CHECK_EQ_INT(fake_leaks(), 0);
    }
}
/* The whole extra answer comes in the same segment as the right one, and the next query is sent at once: no pause in which to notice. */
static void an_extra_answer_is_never_the_next_ones(void) {
    chopin_pg *db = evil_begin();
    told t = { 0 };
    ROW_OK; END_OK;
    EVIL('2', ""); EVIL('D', "\0\2\0\0\0\1" "9" "\0\0\0\2" "66"); END_OK;
    ask(db, 4, &t);
    ask(db, 5, &t);
    CHECK_EQ_INT(t.wrong, 0);
    told after = heal_and_ask(db, false);
    CHECK_EQ_INT(after.ok, 2);
    CHECK_EQ_INT(after.wrong, 0);
    chopin_pg_close(db);
    fake_pump();
    CHECK_EQ_INT(fake_leaks(), 0);
}
static void copy_that_nobody_asked_for_is_ended(void) {
    LIE(0, "unasked G", EVIL('G', "\0\0\1\0\0"));
    LIE(0, "unasked H", EVIL('H', "\0\0\1\0\0"); EVIL('d', "1\n"); EVIL('c', ""); EVIL('C', "COPY 1\0"); EVIL('Z', "I"));
    LIE(CHOPIN_PG_PROTOCOL, "G with a format of 7", EVIL('G', "\7\0\1\0\0"));
}
static void a_connection_left_in_a_transaction_is_not_reused(void) {
    for (int i = 0; i < 2; i++) {
        chopin_pg *db = evil_begin();
        told t = { 0 };
        ROW_OK;
        EVIL('C', "SELECT 1\0");
        if (i == 0) EVIL('Z', "T"); else EVIL('Z', "E");
        ask(db, 4, &t);
        t = heal_and_ask(db, false);
        CHECK_EQ_INT(t.ok, 2);
        CHECK(fake.connections >= 2);
        chopin_pg_close(db);
        fake_pump();
        CHECK_EQ_INT(fake_leaks(), 0);
    }
}

/* ---- tests: lies while logging in ------------------------------------------------------------------------------------------------------------------------ */

static struct { const char *bytes; size_t len; bool silent; char nonce[128]; } door;
static bool door_hook(fake_conn *c, int type, const uint8_t *body, size_t len) {
    if (type != 0 || len < 4 || fake_get32(body) >> 16 != 3) return false;
    snprintf(c->user, sizeof c->user, "tester");
    if (!door.silent) fake_raw(c, door.bytes, door.len);
    return true;
}
static void door_case(const char *name, const char *bytes, size_t len, int want) {
    fake_reset();
    fake.hook = door_hook;
    door.bytes = bytes;
    door.len = len;
    door.silent = bytes == NULL;
    chopin_pg *db = fake_open(NULL);
    int rc = chopin_pg_ready(db);
    if (rc >= 0 || (want && rc != want)) { printf("  %s: %s, %s\n", name, chopin_pg_status_name(rc), chopin_pg_why(db)); FAIL("the right status"); }
    CHECK(fake_ms() <= 3000);
    fake.hook = NULL;
    told t = heal_and_ask(db, false);
    if (t.ok != 2) { printf("  %s: the next query: %s\n", name, chopin_pg_why(db)); FAIL("right"); }
    chopin_pg_close(db);
    fake_pump();
    if (fake_leaks()) { printf("  %s\n", name); FAIL("no leak"); }
}
#define DOOR(name, text, want) door_case(name, text, sizeof(text) - 1, want)
#define OK_AND_READY "R\0\0\0\x08\0\0\0\0" "Z\0\0\0\5I"

static void refuses_strange_logins(void) {
    door_case("silence", NULL, 0, 0);
    DOOR("a web server", "HTTP/1.1 400 Bad Request\r\n\r\n", 0);
    DOOR("a mail server", "220 mail.example.org ESMTP\r\n", 0);
    DOOR("E", "E\0\0\0\x22SFATAL\0C57P03\0Mstarting up\0\0\0\0\0", 0);
    DOOR("E without terminator", "E\0\0\0\x0dSFATAL\0CX", 0);
    DOOR("R 99", "R\0\0\0\x08\0\0\0\x63", CHOPIN_PG_AUTH);
    DOOR("R 2 (Kerberos)", "R\0\0\0\x08\0\0\0\2", CHOPIN_PG_AUTH);
    DOOR("R 7 (GSS)", "R\0\0\0\x08\0\0\0\7", CHOPIN_PG_AUTH);
    DOOR("R 9 (SSPI)", "R\0\0\0\x08\0\0\0\x09", CHOPIN_PG_AUTH);
    DOOR("R of three bytes", "R\0\0\0\7\0\0\0", 0);
    DOOR("md5 with a salt of three bytes", "R\0\0\0\x0b\0\0\0\5abc", 0);
    DOOR("only unknown mechanisms", "R\0\0\0\x13\0\0\0\x0aSCRAM-X-1\0\0", CHOPIN_PG_AUTH);
    DOOR("no mechanism", "R\0\0\0\x09\0\0\0\x0a\0", CHOPIN_PG_AUTH);
    DOOR("a mechanism without end", "R\0\0\0\x0d\0\0\0\x0aSCRAM", 0);
    DOOR("PLUS without TLS", "R\0\0\0\x1c\0\0\0\x0aSCRAM-SHA-256-PLUS\0\0", CHOPIN_PG_AUTH);
    DOOR("SASLContinue first", "R\0\0\0\x0d\0\0\0\x0br=x,s", 0);
    DOOR("SASLFinal first", "R\0\0\0\x0c\0\0\0\x0cv=xx", 0);
    DOOR("Ok twice", "R\0\0\0\x08\0\0\0\0R\0\0\0\x08\0\0\0\0" "Z\0\0\0\5I", 0);
    DOOR("ready before Ok", "Z\0\0\0\5I", 0);
    DOOR("key before Ok", "K\0\0\0\x0c\0\0\0\1\0\0\0\1", 0);
    DOOR("a row", "R\0\0\0\x08\0\0\0\0" "D\0\0\0\6\0\0", 0);
    DOOR("a key of 3 bytes", "R\0\0\0\x08\0\0\0\0" "K\0\0\0\7\0\0\0" "Z\0\0\0\5I", 0);
    DOOR("ready in a transaction", "R\0\0\0\x08\0\0\0\0" "Z\0\0\0\5T", 0);
    DOOR("a newer version", "v\0\0\0\x0c\0\3\0\7\0\0\0\0" OK_AND_READY, 0);
    DOOR("an option we did not send", "v\0\0\0\x11\0\3\0\0\0\0\0\1_pq_\0" OK_AND_READY, 0);
}

/* SCRAM: what is wrong with the server's first message, made from the client's nonce. */
static int scram_case;
static bool scram_hook(fake_conn *c, int type, const uint8_t *body, size_t len) {
    static const char *const formats[] = {
        "r=%sX,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=0", "r=%sX,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=2147483647", "r=%sX,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4294967297",
        "r=%sX,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=-1", "r=%sX,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=16x", "r=%sX,s=MDEyMzQ1Njc4OWFiY2RlZg==",
        "r=%s,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=16", "r=other%sX,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=16", "r=%sX,s=,i=16", "r=%sX,s=!!!!,i=16", "r=%sX,s=MDE,i=16",
        "m=x,r=%sX,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=16", "e=other-error", "", "r=%sX", "s=MDEyMzQ1Njc4OWFiY2RlZg==,r=%sX,i=16", "r=%sX,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=100001",
    };
    if (type != 'p' || c->login > 0) return false;
    const char *nonce = NULL;
    for (size_t i = 0; i + 2 < len && !nonce; i++) if (body[i] == 'r' && body[i + 1] == '=') nonce = (const char *)body + i + 2;
    char mine[128] = "", text[512];
    if (nonce) snprintf(mine, sizeof mine, "%.*s", (int)((const char *)body + len - nonce), nonce);
    if (scram_case < 0 || (size_t)scram_case >= sizeof formats / sizeof *formats) return false;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    int n = snprintf(text, sizeof text, formats[scram_case], mine);
#pragma GCC diagnostic pop
    fake_msg m = { .type = 'R' };
    fake_u32(&m, 11);
    fake_bytes(&m, text, (size_t)n);
    fake_done(c, &m);
    c->login = 1;
    return true;
}
static void scram_must_fail(const char *name, bool (*hook)(fake_conn *, int, const uint8_t *, size_t)) {
    fake_reset();
    fake.auth = FAKE_SCRAM;
    fake.hook = hook;
    chopin_pg *db = fake_open(NULL);
    int rc = chopin_pg_ready(db);
    if (rc >= 0) { printf("  %s: logged in\n", name); FAIL("refused"); }
    else if (rc != CHOPIN_PG_AUTH && rc != CHOPIN_PG_PROTOCOL) { printf("  %s: %s\n", name, chopin_pg_why(db)); FAIL("AUTH or PROTOCOL"); }
    CHECK(strstr(chopin_pg_why(db), "secret") == NULL);
    fake.hook = NULL;
    told t = heal_and_ask(db, false);
    CHECK_EQ_INT(t.ok, 2);
    chopin_pg_close(db);
    fake_pump();
    CHECK_EQ_INT(fake_leaks(), 0);
}
static void scram_refuses_every_bad_first_message(void) {
    for (scram_case = 0; scram_case < 17; scram_case++) {
        char name[32];
        snprintf(name, sizeof name, "scram case %d", scram_case);
        scram_must_fail(name, scram_hook);
    }
}
static const char *final_text;
static bool final_hook(fake_conn *c, int type, const uint8_t *body, size_t len) {
    (void)body; (void)len;
    if (type != 'p' || c->login < 1) return false;
    if (final_text) {
        fake_msg m = { .type = 'R' };
        fake_u32(&m, 12);
        fake_bytes(&m, final_text, strlen(final_text));
        fake_done(c, &m);
    }
    fake_welcome(c);
    return true;
}
static void scram_demands_the_servers_signature(void) {
    static const char *const finals[] = { NULL, "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "v=", "", "v=AA==", "e=invalid-proof", "v" };
    for (size_t i = 0; i < sizeof finals / sizeof *finals; i++) { final_text = finals[i]; scram_must_fail(final_text ? final_text : "Ok without SASLFinal", final_hook); }
}
static void a_wrong_password_is_the_servers_word(void) {
    static const fake_auth kinds[] = { FAKE_PASSWORD, FAKE_MD5, FAKE_SCRAM };
    for (int i = 0; i < 3; i++) {
        fake_reset();
        fake.auth = kinds[i];
        fake.password = "another";
        chopin_pg *db = fake_open(NULL);
        CHECK_EQ_INT(chopin_pg_ready(db), CHOPIN_PG_AUTH);
        CHECK(strcmp(chopin_pg_error_of(db)->sqlstate, "28P01") == 0);
        CHECK(strstr(chopin_pg_why(db), "secret") == NULL);
        chopin_pg_close(db);
        fake_pump();
        CHECK_EQ_INT(fake_leaks(), 0);
    }
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(every_dialogue_works_without_a_fault);
    RUN(survives_the_end_at_every_byte);
    RUN(survives_a_reset_at_every_byte);
    RUN(survives_silence_at_every_byte);
    RUN(survives_a_wrong_bit_in_every_byte);
    RUN(survives_every_message_twice);
    RUN(notices_between_any_messages_change_nothing);
    RUN(parameters_between_any_messages_change_nothing);
    RUN(notifications_between_any_messages_change_nothing);
    RUN(bytes_may_come_one_by_one);
    RUN(survives_a_server_that_stops_reading);
    RUN(an_interrupted_call_changes_nothing);
    RUN(a_would_block_changes_nothing);
    RUN(a_short_call_changes_nothing);
    RUN(survives_every_call_that_fails);
    RUN(survives_each_allocation_failing_once);
    RUN(survives_all_allocations_failing_from_one_on);
    RUN(a_pool_without_memory_says_so);
    RUN(refuses_rows_that_do_not_fit_their_description);
    RUN(refuses_lengths_below_four);
    RUN(refuses_unknown_and_misplaced_messages);
    RUN(refuses_broken_bodies);
    RUN(announced_sizes_allocate_nothing);
    RUN(an_answer_too_many_closes_the_connection);
    RUN(an_extra_answer_is_never_the_next_ones);
    RUN(copy_that_nobody_asked_for_is_ended);
    RUN(a_connection_left_in_a_transaction_is_not_reused);
    RUN(refuses_strange_logins);
    RUN(scram_refuses_every_bad_first_message);
    RUN(scram_demands_the_servers_signature);
    RUN(a_wrong_password_is_the_servers_word);
    return TEST_END();
}
