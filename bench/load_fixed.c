/* load_fixed.c - sends an exact number of requests, always in the same pattern
 *
 * For counting instructions and system calls, where every request must find the server in the same state: all
 * connections send, then all replies are read, then the next round. Started on the server's own CPU and allowed
 * SCHED_FIFO (root), it sends a whole round before the server gets to run, so that counts repeat exactly.
 *
 *     cc -O2 load_fixed.c -o load_fixed && ./load_fixed -p 8080 -u /plaintext -c 64 -n 6400
 *
 *     -p PORT  of 127.0.0.1       -u PATH   to ask for             -x       a connection for each request
 *     -c N     connections        -P DEPTH  requests in one write  -n N     requests, rounded up to whole rounds
 *     -v       each request differs from the one before: a number in the query
 *
 * Prints the number of requests answered, or what went wrong and exits with 1.                               */
#define _GNU_SOURCE 1
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_CONNS = 4096, MAX_REQUEST = 1024, BUF_SIZE = 1 << 18 };

static int    port = 8080, conn_count = 64, depth = 1;
static bool   connection_per_request, varied;
static int    conns[MAX_CONNS];
static char  *batch;
static size_t batch_len;
static char   buf[BUF_SIZE];

static void die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("load_fixed: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    exit(1);
}

static int dial(void) {
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval timeout = { .tv_sec = 30 };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof addr)) die("connect to port %d: %m", port);
    return fd;
}

/* Length of the whole reply at the start of `n` bytes, 0: more has to come. */
static size_t reply_length(const char *p, size_t n) {
    const char *blank = memmem(p, n, "\r\n\r\n", 4);
    if (!blank) return 0;
    if (memcmp(p, "HTTP/1.1 200", 12)) die("not a 200: %.40s", p);
    const char *length = strcasestr(p, "\r\ncontent-length:");
    if (!length || length > blank) die("a reply without Content-Length");
    size_t whole = (size_t)(blank + 4 - p) + strtoul(length + 17, NULL, 10);
    return n >= whole ? whole : 0;
}

/* Reads exactly `depth` replies. */
static void read_replies(int fd) {
    size_t have = 0, at = 0;
    for (int missing = depth; missing;) {
        ssize_t n = recv(fd, buf + have, BUF_SIZE - 1 - have, 0);
        if (n <= 0) die("%d replies missing: %s", missing, n ? "none came within 30 s" : "connection closed");
        have += (size_t)n;
        buf[have] = 0;
        for (size_t len; missing && (len = reply_length(buf + at, have - at)); missing--) {
            at += len;
        }
    }
    if (at != have) die("%zu bytes after the last reply", have - at);
}

static void expect_close(int fd) {
    if (recv(fd, buf, BUF_SIZE, 0) != 0) die("the server did not close");
    close(fd);
}

/* New numbers behind each "?n=". */
static void renumber(void) {
    static unsigned n;
    char digits[6];
    for (size_t at = 0; at < batch_len; at += batch_len / (size_t)depth) {
        snprintf(digits, sizeof digits, "%05u", n++ % 100000);
        memcpy(memmem(batch + at, batch_len - at, "?n=", 3) + 3, digits, 5);
    }
}

static void run_round(void) {
    for (int i = 0; i < conn_count; i++) {
        if (connection_per_request) conns[i] = dial();
    }
    for (int i = 0; i < conn_count; i++) {
        if (varied) renumber();
        if (send(conns[i], batch, batch_len, MSG_NOSIGNAL) != (ssize_t)batch_len) die("send: %m");
    }
    for (int i = 0; i < conn_count; i++) {
        read_replies(conns[i]);
        if (connection_per_request) expect_close(conns[i]);
    }
}

static void build_batch(const char *path) {
    char one[MAX_REQUEST];
    size_t len = (size_t)snprintf(one, sizeof one, "GET %s%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s\r\n", path, varied ? "?n=00000" : "", port,
                                  connection_per_request ? "Connection: close\r\n" : "");
    batch_len = len * (size_t)depth;
    batch = malloc(batch_len);
    if (!batch || len >= sizeof one) die("bad request");
    for (size_t at = 0; at < batch_len; at += len) {
        memcpy(batch + at, one, len);
    }
}

int main(int argc, char **argv) {
    const char *path = "/plaintext";
    long wanted = 6400, done = 0;
    for (int o; (o = getopt(argc, argv, "p:u:c:P:n:xv")) != -1;) {
        switch (o) {
        case 'p': port = atoi(optarg); break;
        case 'u': path = optarg; break;
        case 'c': conn_count = atoi(optarg); break;
        case 'P': depth = atoi(optarg); break;
        case 'n': wanted = atol(optarg); break;
        case 'x': connection_per_request = true; break;
        case 'v': varied = true; break;
        default: return 2;
        }
    }
    if (conn_count < 1 || conn_count > MAX_CONNS || depth < 1) die("bad -c or -P");
    build_batch(path);
    for (int i = 0; i < conn_count && !connection_per_request; i++) conns[i] = dial();
    // Refused without the right to it: the pattern is then nearly, not exactly, the same.
    sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){ .sched_priority = 1 });
    for (; done < wanted; done += conn_count * depth) run_round();
    printf("%ld\n", done);
}
