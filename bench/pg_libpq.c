/* pg_libpq.c - the same work by libpq, in the way its documentation recommends for each.
   cc -O2 -I$(pg_config --includedir) bench/pg_libpq.c -o pg_libpq -lpq && tests/pg.sh ./pg_libpq one 1 2 unix one */
#include "pg_bench.h"
#include <arpa/inet.h>
#include <libpq-fe.h>

static PGconn *conn;

static void dial(const char *transport) {
    const char *variable = !strcmp(transport, "scram") ? "CHOPIN_PG_SCRAM_URL" : !strcmp(transport, "tcp") ? "CHOPIN_PG_TCP_URL" : "CHOPIN_PG_URL";
    conn = PQconnectdb(getenv(variable));
    if (PQstatus(conn) != CONNECTION_OK) BENCH_DIE("%s", PQerrorMessage(conn));
}
static void ready(bench *b, const char *sql, int params) {
    static const Oid int4 = 23;
    dial(b->transport);
    bench_pin(b, PQbackendPID(conn));
    PGresult *r = PQprepare(conn, "s", sql, params, &int4);
    if (PQresultStatus(r) != PGRES_COMMAND_OK) BENCH_DIE("%s", PQerrorMessage(conn));
    PQclear(r);
}
static int get_int(const PGresult *r, int row, int column) {
    uint32_t v;
    memcpy(&v, PQgetvalue(r, row, column), 4);
    return (int)ntohl(v);
}

typedef struct param { uint32_t net; const char *value; int length, format; } param;
static void set_param(param *p, int id) { *p = (param){ htonl((uint32_t)id), NULL, 4, 1 }; p->value = (const char *)&p->net; }

static void check(bench *b, PGresult *r, int id) {
    if (PQresultStatus(r) != PGRES_TUPLES_OK || PQntuples(r) != 1 || get_int(r, 0, 0) != id || get_int(r, 0, 1) != id * 7) b->wrong++;
    PQclear(r);
}
static void one(bench *b) {
    b->depth = 1;
    ready(b, BENCH_SQL, 1);
    for (int warm = 200; warm >= 0; ) {
        if (warm-- == 0) bench_start(b);
        do {
            param p;
            int id = bench_id();
            set_param(&p, id);
            check(b, PQexecPrepared(conn, "s", 1, &p.value, &p.length, &p.format, 1), id);
            b->done++;
        } while (warm < 0 && bench_more(b));
    }
    bench_stop(b);
}

static void one_round(bench *b, bool each, int *ids) {
    for (int i = 0; i < b->depth; i++) {
        param p;
        set_param(&p, ids[i] = bench_id());
        if (!PQsendQueryPrepared(conn, "s", 1, &p.value, &p.length, &p.format, 1)) BENCH_DIE("%s", PQerrorMessage(conn));
        if ((each || i == b->depth - 1) && !PQpipelineSync(conn)) BENCH_DIE("%s", PQerrorMessage(conn));
    }
    for (int i = 0; i < b->depth; i++) {
        check(b, PQgetResult(conn), ids[i]);
        if (PQgetResult(conn)) b->wrong++;                          // the NULL behind each statement
        if (each || i == b->depth - 1) PQclear(PQgetResult(conn));  // PGRES_PIPELINE_SYNC
    }
    b->done += b->depth;
}
static void queries(bench *b, bool each) {
    int *ids = malloc(sizeof *ids * (size_t)b->depth);
    ready(b, BENCH_SQL, 1);
    if (!PQenterPipelineMode(conn)) BENCH_DIE("no pipeline mode");
    for (int i = 0; i < 200; i++) one_round(b, each, ids);
    bench_start(b);
    while (bench_more(b)) one_round(b, each, ids);
    bench_stop(b);
    free(ids);
}
static void one_sync(bench *b) { queries(b, false); }
static void each(bench *b)     { queries(b, true); }

static void rows_full(bench *b) {
    int64_t sum = 0;
    ready(b, BENCH_BIG, 0);
    bench_start(b);
    do {
        PGresult *r = PQexecPrepared(conn, "s", 0, NULL, NULL, NULL, 1);
        int n = PQntuples(r);
        for (int i = 0; i < n; i++) sum += get_int(r, i, 0) + get_int(r, i, 1) + PQgetlength(r, i, 2);
        b->done += n;
        PQclear(r);
    } while (bench_more(b));
    bench_stop(b);
    if (sum == 0) b->wrong++;
}
static void rows_single(bench *b) {
    int64_t sum = 0;
    ready(b, BENCH_BIG, 0);
    bench_start(b);
    do {
        PGresult *r;
        PQsendQueryPrepared(conn, "s", 0, NULL, NULL, NULL, 1);
        PQsetSingleRowMode(conn);
        while ((r = PQgetResult(conn))) {
            if (PQresultStatus(r) == PGRES_SINGLE_TUPLE) { sum += get_int(r, 0, 0) + get_int(r, 0, 1) + PQgetlength(r, 0, 2); b->done++; }
            PQclear(r);
        }
    } while (bench_more(b));
    bench_stop(b);
    if (sum == 0) b->wrong++;
}

static void copy_out(bench *b) {
    int64_t sum = 0;
    dial(b->transport);
    bench_pin(b, PQbackendPID(conn));
    bench_start(b);
    do {
        PQclear(PQexec(conn, "copy (select id, n from big) to stdout (format binary)"));
        char *row;
        for (int n; (n = PQgetCopyData(conn, &row, 0)) > 0; PQfreemem(row)) {
            uint32_t v;
            if (n < 18) continue;                                   // the trailer
            memcpy(&v, row + n - 12, 4);
            sum += ntohl(v);
            memcpy(&v, row + n - 4, 4);
            sum += ntohl(v);
            b->done++;
        }
        PQclear(PQgetResult(conn));
    } while (bench_more(b));
    bench_stop(b);
    if (sum == 0) b->wrong++;
}
static void copy_in(bench *b) {
    static const char head[19] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0";
    dial(b->transport);
    bench_pin(b, PQbackendPID(conn));
    bench_start(b);
    do {
        PQclear(PQexec(conn, "truncate sink"));
        PQclear(PQexec(conn, "copy sink (id, n) from stdin (format binary)"));
        PQputCopyData(conn, head, 19);
        for (int i = 0; i < 100000; i++) {
            char row[18] = { 0, 2, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 4 };
            uint32_t v = htonl((uint32_t)i);
            memcpy(row + 6, &v, 4);
            memcpy(row + 14, &v, 4);
            if (PQputCopyData(conn, row, 18) != 1) b->wrong++;
        }
        PQputCopyData(conn, "\377\377", 2);
        PQputCopyEnd(conn, NULL);
        PGresult *r = PQgetResult(conn);
        if (atoi(PQcmdTuples(r)) != 100000) b->wrong++;
        PQclear(r);
        PQclear(PQgetResult(conn));
        b->done += 100000;
    } while (bench_more(b));
    bench_stop(b);
}
static void connects(bench *b) {
    b->transport = "scram";
    bench_pin(b, 0);
    dial(b->transport);
    PQfinish(conn);
    bench_start(b);
    while (bench_more(b)) { dial(b->transport); PQfinish(conn); b->done++; }
    bench_stop(b);
}

static const bench_case cases[] = {
    { "one", one }, { "one_sync", one_sync }, { "each", each }, { "rows", rows_full }, { "rows_single", rows_single },
    { "copy_out", copy_out }, { "copy_in", copy_in }, { "connect", connects },
};
BENCH_MAIN("libpq", cases)
