/* pg_floor.c - the least a client can do: it sends ready bytes and walks the lengths of what comes back, checking nothing.
   cc -O2 bench/pg_floor.c -o pg_floor && tests/pg.sh ./pg_floor one 1 2 unix one      (arguments: pg_bench.h; tables: bench/pg.py) */
#include "pg_bench.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

enum { BLOCK = 65536, MOST = 1 << 20 };

typedef struct floor_conn {
    int     fd;
    int     pid;
    uint8_t in[BLOCK];
    size_t  have;                 // bytes at the front of `in` that belong to an unfinished message
    uint64_t skip;                // bytes of a long message still to come
    uint8_t out[MOST];
    size_t  out_len;
} floor_conn;

static floor_conn conn;

static uint32_t get32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return ntohl(v); }
static void put32(uint8_t *p, uint32_t v) { v = htonl(v); memcpy(p, &v, 4); }

static void send_all(const void *bytes, size_t n) {
    const uint8_t *p = bytes;
    while (n > 0) {
        ssize_t sent = send(conn.fd, p, n, MSG_NOSIGNAL);
        if (sent <= 0) BENCH_DIE("send failed");
        p += sent, n -= (size_t)sent;
    }
}

/* Reads once and walks what came; counts messages of the two types. */
typedef struct seen { int z, d, values; } seen;
static void walk(seen *s, char row) {
    ssize_t n = recv(conn.fd, conn.in + conn.have, BLOCK - conn.have, 0);
    if (n <= 0) BENCH_DIE("the server closed");
    size_t end = conn.have + (size_t)n, at = 0;
    while (end - at >= 5) {
        size_t len = 1 + (size_t)get32(conn.in + at + 1);
        if (end - at < len) break;
        if (conn.in[at] == (uint8_t)row) s->d++;
        else if (conn.in[at] == 'Z') s->z++;
        else if (conn.in[at] == 'K') conn.pid = (int)get32(conn.in + at + 5);
        else if (conn.in[at] == 'E') BENCH_DIE("error from the server: %.60s", (const char *)conn.in + at + 5);
        at += len;
    }
    conn.have = end - at;
    if (at && conn.have) memmove(conn.in, conn.in + at, conn.have);
}
/* The same, but every value of every row is looked at: three lengths a row. */
static void walk_rows(seen *s) {
    ssize_t n = recv(conn.fd, conn.in + conn.have, BLOCK - conn.have, 0);
    if (n <= 0) BENCH_DIE("the server closed");
    size_t end = conn.have + (size_t)n, at = 0;
    while (end - at >= 5) {
        size_t len = 1 + (size_t)get32(conn.in + at + 1);
        if (end - at < len) break;
        if (conn.in[at] == 'D') {
            const uint8_t *v = conn.in + at + 7;
            s->values += (int)get32(v + 4);
            for (int i = 0; i < 3; i++) v += 4 + get32(v);
            s->d++;
        } else if (conn.in[at] == 'Z') s->z++;
        at += len;
    }
    conn.have = end - at;
    if (at && conn.have) memmove(conn.in, conn.in + at, conn.have);
}
static void until_ready(int z, char row) { for (seen s = { 0, 0, 0 }; s.z < z; ) walk(&s, row); }

static void dial(const char *transport) {
    int port = atoi(getenv("CHOPIN_PG_PORT")), one = 1;
    if (!strcmp(transport, "tcp")) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        conn.fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(conn.fd, (struct sockaddr *)&a, sizeof a)) BENCH_DIE("no server on TCP");
        setsockopt(conn.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    } else {
        struct sockaddr_un a = { .sun_family = AF_UNIX };
        snprintf(a.sun_path, sizeof a.sun_path, "%s/.s.PGSQL.%d", getenv("CHOPIN_PG_SOCKETS"), port);
        conn.fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(conn.fd, (struct sockaddr *)&a, sizeof a)) BENCH_DIE("no server on the unix socket");
    }
    static const char startup[] = "\0\0\0\x26\0\3\0\0user\0tester\0database\0postgres\0";       // the literal's own NUL ends the list
    uint8_t bytes[sizeof startup];
    memcpy(bytes, startup, sizeof startup);
    put32(bytes, (uint32_t)sizeof startup);
    send_all(bytes, sizeof startup);
    until_ready(1, 'D');
}

static size_t message(uint8_t *at, char type, const void *body, size_t n) {
    at[0] = (uint8_t)type;
    put32(at + 1, (uint32_t)n + 4);
    if (n) memcpy(at + 5, body, n);
    return n + 5;
}
static size_t prepare_bytes(uint8_t *at, const char *sql, bool param) {
    uint8_t body[256];
    size_t n = 0, sql_len = strlen(sql) + 1;
    memcpy(body, "s", 2); n = 2;
    memcpy(body + n, sql, sql_len); n += sql_len;
    memcpy(body + n, param ? "\0\1\0\0\0\x17" : "\0\0", param ? 6 : 2); n += param ? 6 : 2;
    n = message(at, 'P', body, n);
    return n + message(at + n, 'S', NULL, 0);
}
static void prepare(const char *sql, bool param) {
    send_all(conn.out, prepare_bytes(conn.out, sql, param));
    until_ready(1, 'D');
}

/* Bind and Execute of "s" with one int4, both ways binary; the value stands at ID_AT. */
static const char bind_execute[] = "B\0\0\0\x1b\0s\0\0\1\0\1\0\1\0\0\0\4IIII\0\1\0\1" "E\0\0\0\x09\0\0\0\0\0" "S\0\0\0\x04";
enum { ID_AT = 18, BIND_LEN = 26, EXECUTE_LEN = 10, SYNC_LEN = 5 };

static void put_query(int id, bool sync) {
    size_t n = BIND_LEN + EXECUTE_LEN + (sync ? SYNC_LEN : 0);
    uint8_t *at = conn.out + conn.out_len;
    memcpy(at, bind_execute, n);
    put32(at + 1, BIND_LEN - 1);
    put32(at + ID_AT, (uint32_t)id);
    conn.out_len += n;
}
static void flush_out(void) { send_all(conn.out, conn.out_len); conn.out_len = 0; }

static void one_round(int depth, bool each, bool late) {
    for (int i = 0; i < depth; i++) put_query(bench_id(), each || i == depth - 1);
    flush_out();
    if (late) bench_late(conn.fd, POLLIN, -1, depth);
    for (seen s = { 0, 0, 0 }; s.z < (each ? depth : 1); ) {
        walk(&s, 'D');
        if (late && s.z < depth) bench_late(conn.fd, POLLIN, -1, depth - s.z);
    }
}
static void queries(bench *b, bool each, bool late) {
    dial(b->transport);
    bench_pin(b, conn.pid);
    prepare(BENCH_SQL, true);
    for (int i = 0; i < 200; i++) one_round(b->depth, each, late);
    bench_start(b);
    while (bench_more(b)) { one_round(b->depth, each, late); b->done += b->depth; }
    bench_stop(b);
}
static void one(bench *b)      { b->depth = 1; queries(b, true, false); }
static void one_sync(bench *b) { queries(b, false, false); }
static void each(bench *b)     { queries(b, true, false); }
static void each_late(bench *b){ queries(b, true, true); }

static void rows(bench *b) {
    static const char get_all[] = "B\0\0\0\x0f\0s\0\0\0\0\0\0\1\0\1" "E\0\0\0\x09\0\0\0\0\0" "S\0\0\0\x04";
    uint8_t bytes[sizeof get_all - 1];
    dial(b->transport);
    bench_pin(b, conn.pid);
    prepare(BENCH_BIG, false);
    memcpy(bytes, get_all, sizeof bytes);
    bench_start(b);
    do {
        seen s = { 0, 0, 0 };
        send_all(bytes, sizeof bytes);
        while (s.z < 1) walk_rows(&s);
        b->done += s.d;
    } while (bench_more(b));
    bench_stop(b);
}
static void copy_out(bench *b) {
    static const char sql[] = "copy (select id, n from big) to stdout (format binary)";
    dial(b->transport);
    bench_pin(b, conn.pid);
    size_t n = message(conn.out, 'Q', sql, sizeof sql);
    bench_start(b);
    do {
        seen s = { 0, 0, 0 };
        send_all(conn.out, n);
        while (s.z < 1) walk(&s, 'd');
        b->done += s.d - 1;           // the trailer; the header rides with the first row
    } while (bench_more(b));
    bench_stop(b);
}

static const bench_case cases[] = {
    { "one", one }, { "one_sync", one_sync }, { "each", each }, { "each_late", each_late }, { "rows", rows }, { "copy_out", copy_out },
};
BENCH_MAIN("floor", cases)
