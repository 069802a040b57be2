/* floor_epoll.c - the least that an epoll HTTP server can do
 *
 * Accept, read, count blank lines, write that many copies of one ready reply. No parsing, no routing, no fresh
 * Date: a floor to measure servers against, not a server.
 *
 *     cc -O2 floor_epoll.c -o floor_epoll && ./floor_epoll -p 9000
 *
 *     -p PORT  listen on 127.0.0.1:PORT          -b SIZE  receive buffer, in bytes
 *     -j       the JSON reply                    -f FILE  answer every request with FILE, by sendfile
 *     -c       close after each reply            -e       echo POST bodies
 *     -d       TCP_DEFER_ACCEPT                  -x       read at once after accept
 *     -r       read again until EAGAIN           -E       edge-triggered
 *     -s       spin: never sleep in epoll_wait                                                              */
#include "floor_common.h"
#include <sys/epoll.h>
#include <sys/sendfile.h>

enum { ECHO_MAX = 1 << 20 };

typedef struct {
    uint8_t  matched;       // bytes of "\r\n\r\n" seen at the end of the input so far
    bool     want_out;      // registered for EPOLLOUT
    unsigned owed;          // file replies not yet sent in full
    off_t    file_off;      // next byte of the file, -1: the head has to go first
    char    *echo;          // request being gathered, head and body
    size_t   echo_have;
    size_t   echo_need;     // length of the whole request, 0: head not complete
    size_t   echo_body;
} conn;

static conn  *conns;
static char  *buf;
static size_t buf_size = 16384;
static int    ep, listener, file_fd = -1;
static off_t  file_size;
static bool   opt_close, opt_echo, opt_spin, opt_read_again, opt_edge, opt_early;

static void drop(int fd) {
    free(conns[fd].echo);
    memset(&conns[fd], 0, sizeof conns[fd]);
    close(fd);
}

/* ---- files --------------------------------------------------------------------------------------------- */

/* Sends what is owed: 0 all sent, 1 the socket is full, -1 the peer has gone. */
static int pump_file(int fd, conn *c) {
    for (; c->owed; c->owed--, c->file_off = -1) {
        if (c->file_off < 0) {
            if (send(fd, file_head, file_head_len, MSG_MORE | MSG_NOSIGNAL) != (ssize_t)file_head_len) return -1;
            c->file_off = 0;
        }
        while (c->file_off < file_size) {
            ssize_t n = sendfile(fd, file_fd, &c->file_off, (size_t)(file_size - c->file_off));
            if (n < 0) return errno == EAGAIN ? 1 : -1;
        }
    }
    return 0;
}

static void watch_out(int fd, conn *c, bool out) {
    if (c->want_out == out || opt_edge) return;
    c->want_out = out;
    struct epoll_event ev = { .events = EPOLLIN | (out ? EPOLLOUT : 0), .data.fd = fd };
    epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev);
}

/* False: the peer has gone. */
static bool continue_file(int fd, conn *c) {
    int state = pump_file(fd, c);
    if (state < 0) return false;
    watch_out(fd, c, state == 1);
    return true;
}

static bool answer_file(int fd, conn *c, unsigned count) {
    if (count && !c->owed) c->file_off = -1;
    c->owed += count;
    return continue_file(fd, c);
}

/* ---- echo ---------------------------------------------------------------------------------------------- */

static bool send_all(int fd, const char *p, size_t n) {
    while (n) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) return false;
        if (sent > 0) {
            p += sent;
            n -= (size_t)sent;
        }
    }
    return true;
}

static bool send_echo(int fd, conn *c) {
    char head[200];
    size_t n = (size_t)snprintf(head, sizeof head,
        "HTTP/1.1 200 OK\r\nServer: F\r\nDate: Sat, 21 Nov 2026 00:00:00 GMT\r\nContent-Length: %zu\r\n\r\n", c->echo_body);
    char *body = c->echo + c->echo_need - c->echo_body;
    // The reply's head usually fits where the request's head was: then one send does for both.
    if ((size_t)(body - c->echo) >= n) {
        memcpy(body - n, head, n);
        return send_all(fd, body - n, n + c->echo_body);
    }
    return send(fd, head, n, MSG_MORE | MSG_NOSIGNAL) == (ssize_t)n && send_all(fd, body, c->echo_body);
}

static bool answer_echo(int fd, conn *c, size_t n) {
    if (!c->echo) c->echo = malloc(ECHO_MAX);
    if (!c->echo || c->echo_have + n > ECHO_MAX) return false;
    memcpy(c->echo + c->echo_have, buf, n);
    c->echo_have += n;
    if (!c->echo_need) {
        char *blank = memmem(c->echo, c->echo_have, "\r\n\r\n", 4);
        if (!blank) return true;
        char *length = memmem(c->echo, (size_t)(blank - c->echo), "ength: ", 7);
        c->echo_body = length ? strtoul(length + 7, NULL, 10) : 0;
        c->echo_need = (size_t)(blank + 4 - c->echo) + c->echo_body;
    }
    if (c->echo_have < c->echo_need) return true;
    bool ok = send_echo(fd, c);
    c->echo_have = c->echo_need = 0;
    return ok;
}

/* ---- the loop ------------------------------------------------------------------------------------------ */

/* False: the connection is finished. */
static bool answer_ready(int fd, unsigned count) {
    while (count) {
        unsigned batch = count > MAX_BATCH ? MAX_BATCH : count;
        if (send(fd, replies, batch * reply_len, MSG_NOSIGNAL) < 0) return false;
        count -= batch;
        if (opt_close) return false;
    }
    return true;
}

/* One recv and its answers. False: the connection is finished; *drained: nothing was there. */
static bool read_once(int fd, conn *c, bool *drained) {
    ssize_t n = recv(fd, buf, buf_size, 0);
    *drained = n < 0 && errno == EAGAIN;
    if (n <= 0) return *drained;
    if (opt_echo) return answer_echo(fd, c, (size_t)n);
    unsigned count = count_heads(buf, (size_t)n, &c->matched);
    return file_fd >= 0 ? answer_file(fd, c, count) : answer_ready(fd, count);
}

/* False: the connection was closed. */
static bool on_readable(int fd) {
    bool drained;
    do {
        if (!read_once(fd, &conns[fd], &drained)) {
            drop(fd);
            return false;
        }
    } while (opt_read_again && !drained);
    return true;
}

static void on_accept(void) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        if (fd >= MAX_FD) {
            close(fd);
            continue;
        }
        conns[fd].file_off = -1;
        if (opt_early && !on_readable(fd)) continue;
        struct epoll_event ev = { .events = EPOLLIN | (opt_edge ? EPOLLET | EPOLLOUT : 0), .data.fd = fd };
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
    }
}

static void on_event(const struct epoll_event *ev) {
    int fd = ev->data.fd;
    if (fd == listener) {
        on_accept();
    } else if ((ev->events & EPOLLOUT) && conns[fd].owed) {
        if (!continue_file(fd, &conns[fd])) drop(fd);
    } else if (ev->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        on_readable(fd);
    }
}

static void run(void) {
    struct epoll_event ev = { .events = EPOLLIN, .data.fd = listener }, events[512];
    fcntl(listener, F_SETFL, O_NONBLOCK);
    ep = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev);
    for (;;) {
        int n = epoll_wait(ep, events, 512, opt_spin ? 0 : -1);
        for (int i = 0; i < n; i++) {
            on_event(&events[i]);
        }
    }
}

int main(int argc, char **argv) {
    int port = 9000;
    bool json = false, defer_accept = false;
    const char *file = NULL;
    for (int o; (o = getopt(argc, argv, "p:b:f:jcedxrEs")) != -1;) {
        switch (o) {
        case 'p': port = atoi(optarg); break;
        case 'b': buf_size = strtoul(optarg, NULL, 10); break;
        case 'f': file = optarg; break;
        case 'j': json = true; break;
        case 'c': opt_close = true; break;
        case 'e': opt_echo = true; break;
        case 'd': defer_accept = true; break;
        case 'x': opt_early = true; break;
        case 'r': opt_read_again = true; break;
        case 'E': opt_edge = true; break;
        case 's': opt_spin = true; break;
        default: return 2;
        }
    }
    signal(SIGPIPE, SIG_IGN);
    buf = malloc(buf_size);
    conns = calloc(MAX_FD, sizeof *conns);
    if (!buf || !conns) return 1;
    make_replies(json, opt_close);
    if (file) file_fd = open_file(file, &file_size);
    listener = listen_on(port, defer_accept);
    run();
}
