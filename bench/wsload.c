/* wsload.c - a lean WebSocket load generator: one thread, epoll, one text message in flight on each connection
 *
 *     cc -O2 wsload.c -o wsload && ./wsload -p 8080 -u /ws -c 256 -m 125 -d 2
 *
 *     -p PORT   of 127.0.0.1          -u PATH   to ask for
 *     -c N      connections           -m BYTES  of a message, 16 to 65535
 *     -d SECS   measured time         -w SECS   warm-up before it
 *
 * Frames are masked with a new key each, messages are numbered, and every echo is compared with what was sent: one
 * unmasked text frame. The key of the handshake is the RFC's, so the answer to it is known. Prints one line of JSON
 * as hload does: n messages echoed in s seconds; non200 counts handshakes that were refused.                  */
#define _GNU_SOURCE 1
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "latency.h"

enum {
    NUMBER = 16,                   // hexadecimal digits at the start of a message
    MAX_HEADER = 8,                // of a frame of up to 65535 bytes with its masking key
    STUCK_NS = 500000000           // an echo that takes longer is not slow but forgotten
};

typedef struct {
    int      fd;                   // -1: given up
    uint64_t due;                  // when the message that is under way was sent
    size_t   have;                 // bytes of its echo
    uint8_t *expected, *echo;      // the frame that has to come, and what has come
} conn;

static conn    *conns;
static int      ep, port = 8080, conn_count = 256;
static size_t   message_len = 125, echo_len;
static uint8_t *frame;             // what is sent, masked
static bool     measuring;
static uint64_t n_measured, n_all, n_errors, n_refused, n_bytes;

static uint64_t random_bits(void) {
    static uint64_t x = 0x9e3779b97f4a7c15u;
    x ^= x << 13;
    x ^= x >> 7;
    return x ^= x << 17;
}

static void fail(conn *c) {
    n_errors++;
    close(c->fd);
    c->fd = -1;
}

/* ---- frames ---------------------------------------------------------------------------------------------- */

static size_t put_header(uint8_t *to, uint8_t mask_bit) {
    to[0] = 0x81;                  // a whole message of text
    if (message_len < 126) {
        to[1] = (uint8_t)(mask_bit | message_len);
        return 2;
    }
    to[1] = mask_bit | 126;
    to[2] = (uint8_t)(message_len >> 8);
    to[3] = (uint8_t)message_len;
    return 4;
}

/* Numbers the next message: it is what has to come back. */
static void renumber(conn *c) {
    static uint64_t number;
    uint8_t *at = c->expected + echo_len - message_len;
    uint64_t n = number++;
    for (int i = NUMBER; i--; n >>= 4) at[i] = (uint8_t)"0123456789abcdef"[n & 15];
}

static void mask(uint8_t *to, const uint8_t *from, size_t n, const uint8_t *key) {
    uint64_t word, twice;
    memcpy(&twice, key, 4);
    memcpy((uint8_t *)&twice + 4, key, 4);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        memcpy(&word, from + i, 8);
        word ^= twice;
        memcpy(to + i, &word, 8);
    }
    for (; i < n; i++) to[i] = from[i] ^ key[i & 3];
}

static void say(conn *c, uint64_t now) {
    size_t head = put_header(frame, 0x80);
    uint64_t key = random_bits();
    memcpy(frame + head, &key, 4);
    renumber(c);
    mask(frame + head + 4, c->expected + echo_len - message_len, message_len, frame + head);
    c->have = 0;
    c->due = now;
    size_t len = head + 4 + message_len;
    if (send(c->fd, frame, len, MSG_NOSIGNAL) != (ssize_t)len) fail(c);
}

static void hear(conn *c, uint64_t now, bool go_on) {
    // One byte more than is due: what comes unasked is an error.
    ssize_t n = recv(c->fd, c->echo + c->have, echo_len + 1 - c->have, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0 || (c->have += (size_t)n) > echo_len) {
        fail(c);
        return;
    }
    if (c->have < echo_len) return;
    if (memcmp(c->echo, c->expected, echo_len)) {
        fail(c);
        return;
    }
    n_all++;
    if (measuring) {
        n_measured++;
        n_bytes += echo_len;
        record(now, now - c->due);
    }
    if (go_on) say(c, now);
}

/* ---- start and end --------------------------------------------------------------------------------------- */

static bool shake_hands(int fd, const char *path) {
    char request[1024], head[4096];
    int len = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path, port);
    if (send(fd, request, (size_t)len, MSG_NOSIGNAL) != len) return false;
    for (size_t have = 0; have < sizeof head - 1;) {
        ssize_t n = recv(fd, head + have, sizeof head - 1 - have, 0);
        if (n <= 0) return false;
        head[have += (size_t)n] = '\0';
        if (strstr(head, "\r\n\r\n")) return !strncmp(head, "HTTP/1.1 101", 12) && strstr(head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
    return false;
}

static bool dial(conn *c, const char *path) {
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval patience = { .tv_sec = 5 };
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&addr, sizeof addr)) return false;
    if (!shake_hands(c->fd, path)) {
        n_refused++;
        close(c->fd);
        c->fd = -1;
        return true;
    }
    c->expected = malloc(echo_len);
    c->echo = malloc(echo_len + 1);
    size_t head = put_header(c->expected, 0);
    for (size_t i = 0; i < message_len; i++) c->expected[head + i] = (uint8_t)('a' + i % 26);
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev);
    return true;
}

static bool open_connections(const char *path) {
    uint8_t head[MAX_HEADER];
    echo_len = put_header(head, 0) + message_len;
    frame = malloc(MAX_HEADER + message_len);
    conns = calloc((size_t)conn_count, sizeof *conns);
    ep = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < conn_count; i++) {
        if (!dial(&conns[i], path)) return false;
    }
    return true;
}

static void run(double warm_s, double measured_s, moment *first, moment *last) {
    struct epoll_event events[512];
    uint64_t now = now_ns(), measure_ns = now + (uint64_t)(warm_s * 1e9), end_ns = measure_ns + (uint64_t)(measured_s * 1e9);
    for (int i = 0; i < conn_count; i++) {
        if (conns[i].fd >= 0) say(&conns[i], now);
    }
    while (now < end_ns) {
        int n = epoll_wait(ep, events, 512, 20);
        now = now_ns();
        if (!measuring && now >= measure_ns) {
            measuring = true;
            *first = moment_at(now);
        }
        for (int i = 0; i < n; i++) {
            hear(events[i].data.ptr, now, now < end_ns);
        }
    }
    *last = moment_at(now);
}

static unsigned count_stuck(uint64_t now) {
    unsigned stuck = 0;
    for (int i = 0; i < conn_count; i++) {
        stuck += conns[i].fd >= 0 && conns[i].have < echo_len && conns[i].due + STUCK_NS < now;
    }
    return stuck;
}

static void report(const moment *first, const moment *last) {
    double s = seconds_between(first, last);
    printf("{\"tool\": \"wsload\", \"n\": %llu, \"n_all\": %llu, \"errs\": %llu, \"non200\": %llu, \"missed\": 0, \"stuck\": %u, ",
           (unsigned long long)n_measured, (unsigned long long)n_all, (unsigned long long)n_errors,
           (unsigned long long)n_refused, count_stuck(last->ns));
    printf("\"s\": %.4f, \"rps\": %.1f, \"mb_s\": %.2f, ", s, (double)n_measured / s, (double)n_bytes / s / 1e6);
    print_latencies(first, last);
}

int main(int argc, char **argv) {
    const char *path = "/ws";
    double warm_s = 0.2, measured_s = 2;
    for (int o; (o = getopt(argc, argv, "p:u:c:m:d:w:")) != -1;) {
        switch (o) {
        case 'p': port = atoi(optarg); break;
        case 'u': path = optarg; break;
        case 'c': conn_count = atoi(optarg); break;
        case 'm': message_len = strtoul(optarg, NULL, 10); break;
        case 'd': measured_s = atof(optarg); break;
        case 'w': warm_s = atof(optarg); break;
        default: return 2;
        }
    }
    if (message_len < NUMBER || message_len > 65535 || conn_count < 1) return 2;
    signal(SIGPIPE, SIG_IGN);
    if (!open_connections(path)) {
        perror("wsload: connect");
        return 1;
    }
    moment first = { 0, 0, 0 }, last;
    run(warm_s, measured_s, &first, &last);
    report(&first, &last);
}
