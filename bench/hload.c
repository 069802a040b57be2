/* hload.c - a lean HTTP/1.1 load generator: one thread, io_uring
 *
 * It exists because wrk spends more CPU on a request than a good server does: with one core for each side, wrk
 * is then what gets measured. hload checks the status line and the length of every reply, and nothing else.
 *
 *     cc -O2 hload.c -o hload && ./hload -p 8080 -u /plaintext -c 64 -d 2
 *
 *     -p PORT   of 127.0.0.1                     -u PATH   to ask for
 *     -c N      connections                      -d SECS   measured time
 *     -w SECS   warm-up before it                -P DEPTH  pipelining: a batch is sent when the last is answered
 *     -x        a connection for each request    -H LINE   one more header line, may be repeated
 *     -B BYTES  POST a body of that size         -b BYTES  receive buffer
 *     -r RATE   open loop at RATE requests a second, in batches with -P. Latency counts from the moment a request
 *               was due: a stalling server is charged for all that had to wait (no coordinated omission).
 *     -F        the request leaves with the SYN where the server gave a cookie (TCP_FASTOPEN_CONNECT)
 *
 * Prints one line of JSON: n requests answered in s seconds, p50 to max in microseconds, cl_user and cl_sys the
 * CPU seconds of hload itself, missed what an open loop had no room to queue, stuck the connections that had
 * waited for more than half a second at the end.                                                             */
#define _GNU_SOURCE 1
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include "latency.h"
#include "uring_raw.h"

enum {
    MAX_LATE = 4096,     // requests of an open loop that may wait for one connection
    MAX_HEAD = 16384,    // bytes of a reply's head
    MAX_REQUEST_HEAD = 16384
};

enum { ON_RECV = 1, ON_SEND };

enum { STUCK_NS = 500000000 };    // a reply that takes longer is not slow but forgotten

#define CHUNKED      UINT64_MAX          // values of conn.left: the length is not known before
#define UNTIL_CLOSE (UINT64_MAX - 1)

typedef struct {
    int      fd;          // -1: not connected
    uint32_t gen;         // counts descriptors, so that a late completion of an earlier one is recognised
    uint32_t inflight;    // replies still to come
    bool     in_head;     // what comes next belongs to a head
    bool     closing;     // the reply said "Connection: close"
    uint64_t left;        // body bytes still to come, or CHUNKED, UNTIL_CLOSE
    uint64_t due;         // when the oldest outstanding request was due, in ns
    char    *head;        // gathers a head that came in pieces
    unsigned head_len;
    uint64_t *late;       // open loop: due times of requests waiting for this connection, a ring
    unsigned late_head, late_tail;
} conn;

static uring         ring;
static uring_buffers bufs;
static conn         *conns;

static int    port = 9000, conn_count = 64, depth = 1;
static bool   connection_per_request, fast_open;
static double rate;                       // requests a second, 0: closed loop

static char  *request, *batch;            // one request, and `depth` of them
static size_t request_len;

static bool     measuring;
static uint64_t end_ns;
static uint64_t n_measured, n_all, n_errors, n_not_200, n_missed, n_bytes;

/* ---- connections ----------------------------------------------------------------------------------------- */

static struct io_uring_sqe *begin(int opcode, int what, int i) {
    struct io_uring_sqe *sqe = uring_sqe(&ring);
    sqe->opcode    = (uint8_t)opcode;
    sqe->fd        = conns[i].fd;
    sqe->user_data = ((uint64_t)what << 56) | ((uint64_t)(conns[i].gen & 0xffffff) << 32) | (uint32_t)i;
    return sqe;
}

static void arm_recv(int i) {
    struct io_uring_sqe *sqe = begin(IORING_OP_RECV, ON_RECV, i);
    sqe->flags     = IOSQE_BUFFER_SELECT;
    sqe->buf_group = bufs.group;
    sqe->ioprio    = IORING_RECV_MULTISHOT;
}

static void start_send(int i, const char *p, size_t n) {
    struct io_uring_sqe *sqe = begin(IORING_OP_SEND, ON_SEND, i);
    sqe->addr      = (uint64_t)p;
    sqe->len       = (unsigned)n;
    sqe->msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
    sqe->flags     = IOSQE_CQE_SKIP_SUCCESS;
}

static bool dial(int i) {
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    conn *c = &conns[i];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0) return false;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (fast_open) setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&addr, sizeof addr)) {
        close(fd);
        return false;
    }
    c->fd = fd;
    c->gen++;
    c->in_head  = true;
    c->closing  = false;
    c->head_len = c->inflight = 0;
    c->left     = 0;
    arm_recv(i);
    return true;
}

static void hang_up(conn *c) {
    close(c->fd);
    c->fd = -1;
    c->gen++;
    c->inflight = 0;
}

/* A broken reply. The connection is not used again: the round is void anyway. */
static void fail(conn *c) {
    n_errors++;
    hang_up(c);
}

static void fire(int i, unsigned count, uint64_t due) {
    if (conns[i].fd < 0 && !dial(i)) {
        n_errors++;
        return;
    }
    conns[i].inflight = count;
    conns[i].due = due;
    start_send(i, count == 1 ? request : batch, request_len * count);
}

/* A whole reply has come; sends what is next on this connection. */
static void complete(int i, uint64_t now) {
    conn *c = &conns[i];
    n_all++;
    if (measuring) {
        n_measured++;
        record(now, now - c->due);
    }
    if (c->inflight && --c->inflight) return;
    if (connection_per_request || c->closing) hang_up(c);
    if (rate > 0) {
        if (c->late_head != c->late_tail) fire(i, (unsigned)depth, c->late[c->late_head++ % MAX_LATE]);
    } else if (now < end_ns) {
        fire(i, (unsigned)depth, now);
    }
}

/* ---- replies --------------------------------------------------------------------------------------------- */

/* The first head that had a length. Nearly all the others are the same but for the Date, and are then not
 * parsed: status line and length are compared, the rest is skipped. */
static struct {
    char     bytes[4096];
    unsigned len;
    unsigned length_at, length_digits;    // where the digits of Content-Length are
    uint64_t body;
    bool     closing;
} known;

static bool is_known_head(const char *p, size_t n) {
    enum { STATUS = 12, NAME_TAIL = 4 };    // "HTTP/1.1 200", and the end of the header's name
    if (!known.len || n < known.len || memcmp(p + known.len - 4, "\r\n\r\n", 4)) return false;
    unsigned at = known.length_at - NAME_TAIL;
    return !memcmp(p, known.bytes, STATUS) && !memcmp(p + at, known.bytes + at, NAME_TAIL + known.length_digits);
}

static void remember_head(const char *head, unsigned n, const char *digits, const char *digits_end, const conn *c) {
    if (known.len || n >= sizeof known.bytes) return;
    memcpy(known.bytes, head, n);
    known.len = n;
    known.length_at = (unsigned)(digits - head);
    known.length_digits = (unsigned)(digits_end - digits);
    known.body = c->left;
    known.closing = c->closing;
}

/* Sets `left` and `closing`. False: this is not a reply. */
static bool parse_head(conn *c, const char *head, unsigned n) {
    const char *end = head + n, *digits = NULL;
    char *digits_end = NULL;
    if (n < 12 || memcmp(head, "HTTP/1.", 7)) return false;
    if (memcmp(head + 9, "200", 3)) n_not_200++;
    c->closing = false;
    c->left = UNTIL_CLOSE;
    for (const char *p = head; (p = memchr(p, '\n', (size_t)(end - p))) && ++p < end;) {
        if (!strncasecmp(p, "content-length:", 15)) {
            for (digits = p + 15; *digits == ' '; digits++) {}
            c->left = strtoull(digits, &digits_end, 10);
        } else if (!strncasecmp(p, "connection: close", 17)) {
            c->closing = true;
        } else if (!strncasecmp(p, "transfer-encoding:", 18)) {
            c->left = CHUNKED;
        }
    }
    if (digits && c->left < UNTIL_CLOSE) remember_head(head, n, digits, digits_end, c);
    return true;
}

/* Reads a head out of `n` bytes. Returns how many belong to it, all of them when it goes on; -1: broken. */
static ssize_t eat_head(conn *c, const char *p, size_t n) {
    const char *blank;
    if (!c->head_len) {
        if (is_known_head(p, n)) {
            c->left = known.body;
            c->closing = known.closing;
            c->in_head = false;
            return (ssize_t)known.len;
        }
        if ((blank = memmem(p, n, "\r\n\r\n", 4))) {
            c->in_head = false;
            return parse_head(c, p, (unsigned)(blank + 4 - p)) ? blank + 4 - p : -1;
        }
    }
    // It comes in pieces: gather them.
    if (!c->head) c->head = malloc(MAX_HEAD);
    unsigned before = c->head_len;
    size_t take = n > MAX_HEAD - before ? MAX_HEAD - before : n;
    memcpy(c->head + before, p, take);
    c->head_len += (unsigned)take;
    blank = memmem(c->head, c->head_len, "\r\n\r\n", 4);
    if (!blank) return c->head_len < MAX_HEAD ? (ssize_t)n : -1;
    unsigned len = (unsigned)(blank + 4 - c->head);
    c->in_head = false;
    c->head_len = 0;
    return parse_head(c, c->head, len) ? (ssize_t)(len - before) : -1;
}

/* Takes body bytes; *whole: the reply is complete. Returns how many it took. */
static size_t eat_body(conn *c, const char *p, size_t n, bool *whole) {
    if (c->left == CHUNKED) {
        // The chunked bodies we measure are one small segment, so looking at its end is enough.
        *whole = n >= 5 && !memcmp(p + n - 5, "0\r\n\r\n", 5);
        return n;
    }
    *whole = false;
    if (c->left == UNTIL_CLOSE) return n;
    size_t take = n < c->left ? n : (size_t)c->left;
    c->left -= take;
    *whole = c->left == 0;
    return take;
}

static void eat(int i, const char *p, size_t n, uint64_t now) {
    conn *c = &conns[i];
    uint32_t gen = c->gen;
    if (measuring) n_bytes += n;
    while (n) {
        if (c->in_head) {
            ssize_t used = eat_head(c, p, n);
            if (used < 0) {
                fail(c);
                return;
            }
            p += used;
            n -= (size_t)used;
            if (c->in_head) return;
        }
        bool whole;
        size_t used = eat_body(c, p, n, &whole);
        p += used;
        n -= used;
        if (!whole) return;
        c->in_head = true;
        complete(i, now);
        if (c->gen != gen) return;    // hung up, or connected anew: the rest is not for us
    }
}

static void on_closed(int i, uint64_t now) {
    conn *c = &conns[i];
    if (c->left == UNTIL_CLOSE && !c->in_head) {
        c->closing = true;
        c->inflight = 1;
        complete(i, now);
        return;
    }
    if (c->inflight) n_errors++;
    hang_up(c);
    if (rate <= 0 && now < end_ns) fire(i, (unsigned)depth, now);
}

static void on_completion(const struct io_uring_cqe *cqe, uint64_t now) {
    int i = (int)(uint32_t)cqe->user_data;
    uint32_t gen = (uint32_t)(cqe->user_data >> 32) & 0xffffff;
    unsigned id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
    conn *c = &conns[i];
    if (gen != (c->gen & 0xffffff) || c->fd < 0) {    // about an earlier descriptor
        if (cqe->flags & IORING_CQE_F_BUFFER) uring_buffers_put(&bufs, id);
        return;
    }
    if (cqe->user_data >> 56 == ON_SEND) return;      // a failed send shows on recv as well
    if (cqe->res == -ENOBUFS) {
        uring_buffers_commit(&bufs);
        arm_recv(i);
    } else if (cqe->res <= 0) {
        on_closed(i, now);
    } else {
        eat(i, bufs.mem + (size_t)id * bufs.size, (size_t)cqe->res, now);
        uring_buffers_put(&bufs, id);
        if (!(cqe->flags & IORING_CQE_F_MORE) && c->fd >= 0 && gen == (c->gen & 0xffffff)) arm_recv(i);
    }
}

/* ---- the loop -------------------------------------------------------------------------------------------- */

/* Open loop: sends what has become due, in turn over the connections. */
static void fire_due(uint64_t begin_ns, uint64_t now) {
    static uint64_t issued;    // batches; without -P a batch is one request
    double step_ns = 1e9 * depth / rate;
    for (uint64_t due; (due = begin_ns + (uint64_t)((double)issued * step_ns)) <= now; issued++) {
        int i = (int)(issued % (unsigned)conn_count);
        conn *c = &conns[i];
        if (!c->inflight) fire(i, (unsigned)depth, due);
        else if (c->late_tail - c->late_head < MAX_LATE) c->late[c->late_tail++ % MAX_LATE] = due;
        else n_missed += (unsigned)depth;
    }
}

static void handle_completions(uint64_t now) {
    unsigned head = *ring.cq_head, tail = __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE);
    for (; head != tail; head++) {
        on_completion(&ring.cqes[head & ring.cq_mask], now);
    }
    uring_buffers_commit(&bufs);
    __atomic_store_n(ring.cq_head, head, __ATOMIC_RELEASE);
}

static void run(double warm_s, double measured_s, moment *first, moment *last) {
    struct __kernel_timespec timeout = { .tv_nsec = 20000000 };
    struct io_uring_getevents_arg arg = { .ts = (uint64_t)&timeout };
    uint64_t begin_ns = now_ns(), measure_ns = begin_ns + (uint64_t)(warm_s * 1e9), now = begin_ns;
    end_ns = measure_ns + (uint64_t)(measured_s * 1e9);
    for (int i = 0; rate <= 0 && i < conn_count; i++) {
        fire(i, (unsigned)depth, now);
    }
    while (now < end_ns) {
        if (rate > 0) {
            fire_due(begin_ns, now);
            uring_submit(&ring, 0, NULL);    // spins: a request that is due must not wait for a timer
        } else {
            uring_submit(&ring, 1, &arg);
        }
        now = now_ns();
        if (!measuring && now >= measure_ns) {
            measuring = true;
            *first = moment_at(now);
        }
        handle_completions(now);
    }
    *last = moment_at(now);
}

/* Connections that have waited for their reply for so long that the server must have forgotten them. */
static unsigned count_stuck(uint64_t now) {
    unsigned stuck = 0;
    for (int i = 0; i < conn_count; i++) {
        stuck += conns[i].inflight && conns[i].due + STUCK_NS < now;
    }
    return stuck;
}

static void report(const moment *first, const moment *last) {
    double s = seconds_between(first, last);
    printf("{\"tool\": \"hload\", \"n\": %llu, \"n_all\": %llu, \"errs\": %llu, \"non200\": %llu, \"missed\": %llu, "
           "\"stuck\": %u, ",
           (unsigned long long)n_measured, (unsigned long long)n_all, (unsigned long long)n_errors,
           (unsigned long long)n_not_200, (unsigned long long)n_missed, count_stuck(last->ns));
    printf("\"s\": %.4f, \"rps\": %.1f, \"mb_s\": %.2f, ", s, (double)n_measured / s, (double)n_bytes / s / 1e6);
    print_latencies(first, last);
}

/* ---- start ------------------------------------------------------------------------------------------------ */

static void build_request(const char *path, const char *headers, int body) {
    request = malloc(MAX_REQUEST_HEAD + (size_t)body);
    int n = snprintf(request, MAX_REQUEST_HEAD, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s%s",
                     body ? "POST" : "GET", path, port, connection_per_request ? "Connection: close\r\n" : "", headers);
    if (body) n += snprintf(request + n, MAX_REQUEST_HEAD - (size_t)n,
                            "Content-Type: application/octet-stream\r\nContent-Length: %d\r\n", body);
    n += snprintf(request + n, MAX_REQUEST_HEAD - (size_t)n, "\r\n");
    for (int k = 0; k < body; k++) request[n + k] = (char)('a' + k % 26);
    request_len = (size_t)(n + body);
    batch = malloc(request_len * (size_t)depth);
    for (size_t k = 0; k < (size_t)depth; k++) {
        memcpy(batch + k * request_len, request, request_len);
    }
}

static bool open_connections(void) {
    conns = calloc((size_t)conn_count, sizeof *conns);
    for (int i = 0; i < conn_count; i++) {
        conns[i].fd = -1;
        if (rate > 0) conns[i].late = malloc(MAX_LATE * sizeof(uint64_t));
        if (!connection_per_request && !dial(i)) return false;
    }
    return true;
}

static int open_ring(unsigned buf_size) {
    int failed = uring_open(&ring, 4096, 16384, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, -1);
    if (!failed) failed = uring_buffers_open(&ring, &bufs, 1024, buf_size);
    if (failed) fprintf(stderr, "hload: io_uring: %s (it needs Linux 6.1)\n", strerror(-failed));
    return failed;
}

int main(int argc, char **argv) {
    const char *path = "/plaintext";
    char headers[MAX_REQUEST_HEAD / 2] = "";
    double warm_s = 0.2, measured_s = 2;
    int body = 0;
    unsigned buf_size = 16384;
    for (int o; (o = getopt(argc, argv, "p:u:c:d:w:P:xFH:B:b:r:")) != -1;) {
        size_t used = strlen(headers);
        switch (o) {
        case 'p': port = atoi(optarg); break;
        case 'u': path = optarg; break;
        case 'c': conn_count = atoi(optarg); break;
        case 'd': measured_s = atof(optarg); break;
        case 'w': warm_s = atof(optarg); break;
        case 'P': depth = atoi(optarg); break;
        case 'x': connection_per_request = true; break;
        case 'F': fast_open = true; break;
        case 'H': snprintf(headers + used, sizeof headers - used, "%s\r\n", optarg); break;
        case 'B': body = atoi(optarg); break;
        case 'b': buf_size = (unsigned)atoi(optarg); break;
        case 'r': rate = atof(optarg); break;
        default: return 2;
        }
    }
    signal(SIGPIPE, SIG_IGN);
    build_request(path, headers, body);
    if (open_ring(buf_size)) return 1;
    if (!open_connections()) {
        perror("hload: connect");
        return 1;
    }
    moment first = { 0, 0, 0 }, last;
    run(warm_s, measured_s, &first, &last);
    report(&first, &last);
}
