/* pg_fake.h - a PostgreSQL server that lives in the client's own poll(), on a clock of its own, and fails where it is told to.
 *
 * It includes the header with all its system calls (CHOPIN_PG__SYS_*) going through here: poll() runs the server and jumps the clock to the deadline
 * when nobody has anything left to say, so that a test of ten thousand stalls takes no time. One thread, no randomness: a failure repeats.
 *
 *     fake_reset();                                    // trust, no fault
 *     fake.fault = (fake_fault){ FAKE_CUT, 100, 0 };   // connection 0 ends after its 100th byte
 *     chopin_pg *db = fake_open(NULL);                 // options that suit it, with a counting allocator
 *     ...
 *     chopin_pg_close(db);
 *     fake_no_leak();                                  // memory, sockets, time
 *
 * It understands what a client says rather than comparing it with a recording: startup, four ways to log in, simple and extended queries, pipelines,
 * COPY both ways, LISTEN, cancel, errors. What it answers was recorded from PostgreSQL 15 (see fake_settings, fake_statements). `fake.hook` sees every
 * message first and may answer it with whatever bytes a test invents. */
#ifndef CHOPIN_PG_FAKE_H
#define CHOPIN_PG_FAKE_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#pragma GCC diagnostic ignored "-Wunused-function"                // a test uses what it needs

/* ---- what a test sets, and what it may look at -------------------------------------------------------------------------------------------------- */

typedef enum fake_kind {
    FAKE_NONE,
    FAKE_CUT,          // byte `at` is never sent: an orderly end instead
    FAKE_RESET,        // the same, ECONNRESET
    FAKE_STALL,        // the same, silence
    FAKE_FLIP,         // one bit of byte `at` is wrong
    FAKE_REPEAT,       // message `at` comes twice
    FAKE_NOTICE,       // before message `at` comes a notice
    FAKE_STATUS,       // ... a ParameterStatus
    FAKE_NOTIFY,       // ... a notification nobody asked for
    FAKE_BYTES,        // each byte comes alone
    FAKE_DEAF          // after `at` bytes from the client nothing more is read
} fake_kind;
typedef struct fake_fault { fake_kind kind; size_t at; int connection; } fake_fault;

typedef enum fake_how { FAKE_EINTR, FAKE_EAGAIN, FAKE_SHORT, FAKE_HARD, FAKE_HOWS } fake_how;
typedef enum fake_auth { FAKE_TRUST, FAKE_PASSWORD, FAKE_MD5, FAKE_SCRAM } fake_auth;

enum { FAKE_FDS = 1024, FAKE_CONNS = 64, FAKE_NAMES = 64, FAKE_ROUNDS = 16, FAKE_PID = 4000 };

typedef struct fake_name { char name[64]; char *sql; } fake_name;                           // a prepared statement
typedef struct fake_portal { char name[64]; char *sql; int64_t param; bool null; int at; int formats; uint16_t format[16]; bool used; } fake_portal;

typedef struct fake_conn {
    int      fd, client_fd, number;
    bool     used, started, ended, skipping, held, canceled, unread_z;
    char     tx;                                        // I T E
    char     copy;                                      // 'G' while rows come in
    int64_t  copied;
    uint8_t *in, *out;
    size_t   in_len, in_cap, out_len, out_cap;
    size_t   came, delivered;                           // bytes of the two streams so far
    size_t   messages;
    int      login;                                     // step of SCRAM
    char     first_bare[256], server_first[256];
    char     user[64];
    fake_name   names[FAKE_NAMES];
    fake_portal portals[4];
} fake_conn;

typedef struct fake_seen { size_t bytes, messages, came, welcome; } fake_seen;              // of one connection: sent, read, sent until it was ready

typedef struct fake_fd { bool open, reset; size_t sent; fake_conn *conn; } fake_fd;

static struct {
    fake_fault fault;
    fake_auth  auth;
    const char *password;                               // what the client should prove
    const char *ssl_answer;                             // to SSLRequest; NULL: "N"
    bool     (*hook)(fake_conn *c, int type, const uint8_t *body, size_t len);   // true: it answered; type 0 is the startup packet
    bool     (*hook_connect)(fake_conn *c);             // a connection was accepted
    int        refuse;                                  // so many connects fail first
    // system calls: the `fail_at`th of those that `how` can hit fails, once
    long       calls, fail_at;
    fake_how   fail_how;
    const char *failed;                                 // which one that was
    // allocations
    long       allocs, alloc_fail_at;
    bool       alloc_fail_on;                           // and all after it
    long       blocks;
    size_t     bytes;
    // observed
    int        connections, cancels, cancels_right, open_fds, hung, wrong_close, wrong_size;
    long       sends, recvs, polls;
    long       executed;                                // statements that ran
    int64_t    clock_ns, started_ns;
    size_t     bytes_most;                              // of allocations at a time
    fake_seen  seen[FAKE_CONNS];
    // inside
    int        listener;
    fake_conn  conns[FAKE_CONNS];
    fake_fd    fds[FAKE_FDS];
    int        connected[FAKE_FDS], connected_n;        // client descriptors not yet accepted
} fake;

/* ---- system calls of the client ------------------------------------------------------------------------------------------------------------------ */

static void fake_pump(void);

/* Is it this call's turn to fail in this way? */
static bool fake_fails(const char *name, fake_how how) {
    if (fake.fail_at <= 0 || fake.fail_how != how || ++fake.calls != fake.fail_at) return false;
    fake.failed = name;
    return true;
}
static int fake_error(int error) { errno = error; return -1; }

static int fake_sys_socket(int domain, int type, int protocol) {
    if (fake_fails("socket", FAKE_HARD)) return fake_error(EMFILE);
    int fd = socket(domain, type, protocol);
    if (fd >= 0 && fd < FAKE_FDS) { fake.fds[fd] = (fake_fd){ .open = true }; fake.open_fds++; }
    return fd;
}
static struct sockaddr_un fake_address;                         // of fake.listener; whatever the client connects to is there
static socklen_t          fake_address_len;
static int fake_sys_connect(int fd, const struct sockaddr *address, socklen_t size) {
    if (fake_fails("connect", FAKE_HARD)) return fake_error(ECONNREFUSED);
    if (fake.refuse > 0) { fake.refuse--; return fake_error(ECONNREFUSED); }
    (void)address; (void)size;
    int rc = connect(fd, (struct sockaddr *)&fake_address, fake_address_len);
    if (rc == 0 && fake.connected_n < FAKE_FDS) fake.connected[fake.connected_n++] = fd;
    if (rc == 0 && fake_fails("connect", FAKE_EINTR)) return fake_error(EINTR);              // goes on by itself, as connect() does
    return rc;
}
static int fake_sys_setsockopt(int fd, int level, int name, const void *value, socklen_t n) {
    if (fake_fails("setsockopt", FAKE_HARD)) return fake_error(ENOPROTOOPT);
    return setsockopt(fd, level, name, value, n);
}
static int fake_sys_getsockopt(int fd, int level, int name, void *value, socklen_t *n) {
    if (fake_fails("getsockopt", FAKE_HARD)) return fake_error(ENOBUFS);
    return getsockopt(fd, level, name, value, n);
}
static int fake_sys_getsockname(int fd, struct sockaddr *address, socklen_t *size) {
    if (fake_fails("getsockname", FAKE_HARD)) return fake_error(ENOBUFS);
    return getsockname(fd, address, size);
}

/* How much of `n` a send on this descriptor may take: less when short, 0 when the server is deaf. */
static ssize_t fake_send_room(int fd, size_t n) {
    fake_fd *f = fd >= 0 && fd < FAKE_FDS ? &fake.fds[fd] : NULL;
    if (fake_fails("send", FAKE_HARD)) return fake_error(EPIPE);
    if (fake_fails("send", FAKE_EINTR)) return fake_error(EINTR);
    if (fake_fails("send", FAKE_EAGAIN)) return fake_error(EAGAIN);
    if (f && f->reset) return fake_error(ECONNRESET);
    if (n > 1 && fake_fails("send", FAKE_SHORT)) n = 1;
    if (f && fake.fault.kind == FAKE_DEAF && f->conn && f->conn->number == fake.fault.connection) {
        if (f->sent >= fake.fault.at) return fake_error(EAGAIN);
        if (n > fake.fault.at - f->sent) n = fake.fault.at - f->sent;
    }
    return (ssize_t)n;
}
static ssize_t fake_sent(int fd, ssize_t n) {
    fake.sends++;
    if (n > 0 && fd < FAKE_FDS) fake.fds[fd].sent += (size_t)n;
    return n;
}
static ssize_t fake_sys_send(int fd, const void *bytes, size_t n, int flags) {
    fake_pump();                                        // a connection must be known before its bytes can be counted
    ssize_t room = fake_send_room(fd, n);
    return room < 0 ? room : fake_sent(fd, send(fd, bytes, (size_t)room, flags | MSG_NOSIGNAL));
}
static ssize_t fake_sys_sendmsg(int fd, const struct msghdr *message, int flags) {
    size_t n = 0;
    fake_pump();
    for (size_t i = 0; i < (size_t)message->msg_iovlen; i++) n += message->msg_iov[i].iov_len;
    ssize_t room = fake_send_room(fd, n);
    if (room < 0) return room;
    if ((size_t)room == n) return fake_sent(fd, sendmsg(fd, message, flags | MSG_NOSIGNAL));
    size_t i = 0;
    while (message->msg_iov[i].iov_len == 0) i++;
    if ((size_t)room > message->msg_iov[i].iov_len) room = (ssize_t)message->msg_iov[i].iov_len;
    return fake_sent(fd, send(fd, message->msg_iov[i].iov_base, (size_t)room, flags | MSG_NOSIGNAL));
}
static void fake_hang(void);
/* A recv that may block: the server gets its turns; when it has nothing left to say this would be for ever. */
static ssize_t fake_recv_blocking(int fd, void *bytes, size_t n, int flags) {
    for (int turns = 0; turns < 3; turns++) {
        fake_pump();
        ssize_t got = recv(fd, bytes, n, flags | MSG_DONTWAIT);
        if (got >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) return got;
    }
    fake_hang();
    return recv(fd, bytes, n, flags | MSG_DONTWAIT);
}
static ssize_t fake_sys_recv(int fd, void *bytes, size_t n, int flags) {
    fake.recvs++;
    if (fake_fails("recv", FAKE_HARD)) return fake_error(ECONNRESET);
    if (fake_fails("recv", FAKE_EINTR)) return fake_error(EINTR);
    if (fake_fails("recv", FAKE_EAGAIN)) return fake_error(EAGAIN);
    if (n > 1 && fake_fails("recv", FAKE_SHORT)) n = 1;
    ssize_t got = flags & MSG_DONTWAIT ? recv(fd, bytes, n, flags) : fake_recv_blocking(fd, bytes, n, flags);
    if (fd < FAKE_FDS && fake.fds[fd].reset && got <= 0) return fake_error(ECONNRESET);
    return got;
}
static int fake_sys_close(int fd) {
    bool ours = fd >= 0 && fd < FAKE_FDS && fake.fds[fd].open;
    if (!ours) { fake.wrong_close++; return close(fd); }
    fake.fds[fd] = (fake_fd){ 0 };
    fake.open_fds--;
    for (int i = 0; i < fake.connected_n; i++) if (fake.connected[i] == fd) fake.connected[i] = -1;
    close(fd);
    if (fake_fails("close", FAKE_EINTR)) return fake_error(EINTR);                           // closed all the same: that is what Linux does
    return fake_fails("close", FAKE_HARD) ? fake_error(EIO) : 0;
}
static int fake_sys_pipe(int *fds) {
    if (fake_fails("pipe", FAKE_HARD)) return fake_error(EMFILE);
    if (pipe2(fds, O_CLOEXEC)) return -1;
    for (int i = 0; i < 2; i++) if (fds[i] < FAKE_FDS) { fake.fds[fds[i]] = (fake_fd){ .open = true }; fake.open_fds++; }
    return 0;
}
static int fake_sys_fcntl(int fd, int command, int value) {
    if (fake_fails("fcntl", FAKE_HARD)) return fake_error(EINVAL);
    int rc = fcntl(fd, command, value);
    if (command == F_DUPFD_CLOEXEC && rc >= 0 && rc < FAKE_FDS) { fake.fds[rc] = (fake_fd){ .open = true }; fake.open_fds++; }
    return rc;
}
static int fake_sys_shutdown(int fd, int how) {
    if (fake_fails("shutdown", FAKE_HARD)) return fake_error(ENOTCONN);
    return shutdown(fd, how);
}
static int fake_sys_open(const char *path, int flags) {
    if (fake_fails("open", FAKE_HARD)) return fake_error(EACCES);
    if (fake_fails("open", FAKE_EINTR)) return fake_error(EINTR);
    int fd = open(path, flags);
    if (fd >= 0 && fd < FAKE_FDS) { fake.fds[fd] = (fake_fd){ .open = true }; fake.open_fds++; }
    return fd;
}
static ssize_t fake_sys_read(int fd, void *bytes, size_t n) {
    if (fake_fails("read", FAKE_HARD)) return fake_error(EIO);
    if (fake_fails("read", FAKE_EINTR)) return fake_error(EINTR);
    if (n > 1 && fake_fails("read", FAKE_SHORT)) n = 1;
    return read(fd, bytes, n);
}
static int fake_sys_fstat(int fd, struct stat *status) {
    if (fake_fails("fstat", FAKE_HARD)) return fake_error(EIO);
    return fstat(fd, status);
}
static int fake_sys_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out) {
    if (fake_fails("getaddrinfo", FAKE_HARD)) return EAI_MEMORY;
    return getaddrinfo(host, service, hints, out);
}
static int fake_sys_clock(struct timespec *t) {
    fake.clock_ns += 1000;                              // so that a loop that only looks at the clock ends
    t->tv_sec  = (time_t)(fake.clock_ns / 1000000000);
    t->tv_nsec = (long)(fake.clock_ns % 1000000000);
    return 0;
}

/* poll() without POLLOUT on sockets whose server is deaf. */
static int fake_look(struct pollfd *p, nfds_t n) {
    int rc = poll(p, n, 0), ready = 0;
    if (rc <= 0) return rc;
    for (nfds_t i = 0; i < n; i++) {
        fake_fd *f = p[i].fd >= 0 && p[i].fd < FAKE_FDS ? &fake.fds[p[i].fd] : NULL;
        bool deaf = f && fake.fault.kind == FAKE_DEAF && f->conn && f->conn->number == fake.fault.connection && f->sent >= fake.fault.at;
        if (deaf) p[i].revents = (short)(p[i].revents & ~POLLOUT);
        ready += p[i].revents != 0;
    }
    return ready;
}

/* Nothing is left to come and the client waits for ever: noted, and ended by closing everything, so that the test can go on. */
static void fake_hang(void) {
    if (++fake.hung > 100) { fprintf(stderr, "pg_fake.h: the client waits for ever\n"); abort(); }
    for (int i = 0; i < FAKE_CONNS; i++) if (fake.conns[i].used) shutdown(fake.conns[i].fd, SHUT_RDWR);
}

static int fake_sys_poll(struct pollfd *p, nfds_t n, int ms) {
    fake.polls++;
    if (fake_fails("poll", FAKE_EINTR)) return fake_error(EINTR);
    if (fake_fails("poll", FAKE_HARD)) return fake_error(ENOMEM);
    fake_pump();
    int ready = fake_look(p, n);
    if (ready != 0) return ready;
    if (ms < 0) { fake_hang(); return fake_look(p, n); }
    fake.clock_ns += (int64_t)ms * 1000000;
    return 0;
}

#define CHOPIN_PG__SYS_SOCKET(domain, type, protocol)         fake_sys_socket(domain, type, protocol)
#define CHOPIN_PG__SYS_CONNECT(fd, address, size)             fake_sys_connect(fd, address, size)
#define CHOPIN_PG__SYS_SETSOCKOPT(fd, level, name, value, n)  fake_sys_setsockopt(fd, level, name, value, n)
#define CHOPIN_PG__SYS_GETSOCKOPT(fd, level, name, value, n)  fake_sys_getsockopt(fd, level, name, value, n)
#define CHOPIN_PG__SYS_GETSOCKNAME(fd, address, size)         fake_sys_getsockname(fd, address, size)
#define CHOPIN_PG__SYS_SEND(fd, bytes, n, flags)              fake_sys_send(fd, bytes, n, flags)
#define CHOPIN_PG__SYS_SENDMSG(fd, message, flags)            fake_sys_sendmsg(fd, message, flags)
#define CHOPIN_PG__SYS_RECV(fd, bytes, n, flags)              fake_sys_recv(fd, bytes, n, flags)
#define CHOPIN_PG__SYS_POLL(fds, n, ms)                       fake_sys_poll(fds, n, ms)
#define CHOPIN_PG__SYS_CLOSE(fd)                              fake_sys_close(fd)
#define CHOPIN_PG__SYS_PIPE(fds)                              fake_sys_pipe(fds)
#define CHOPIN_PG__SYS_FCNTL(fd, command, value)              fake_sys_fcntl(fd, command, value)
#define CHOPIN_PG__SYS_SHUTDOWN(fd, how)                      fake_sys_shutdown(fd, how)
#define CHOPIN_PG__SYS_OPEN(path, flags)                      fake_sys_open(path, flags)
#define CHOPIN_PG__SYS_READ(fd, bytes, n)                     fake_sys_read(fd, bytes, n)
#define CHOPIN_PG__SYS_FSTAT(fd, status)                      fake_sys_fstat(fd, status)
#define CHOPIN_PG__SYS_GETADDRINFO(host, service, hints, out) fake_sys_getaddrinfo(host, service, hints, out)
#define CHOPIN_PG__SYS_CLOCK(time)                            fake_sys_clock(time)

#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"

/* ---- what the server sends ----------------------------------------------------------------------------------------------------------------------- */

static void fake_append(uint8_t **to, size_t *len, size_t *cap, const void *bytes, size_t n) {
    if (*len + n > *cap) {
        *cap = (*len + n) * 2 + 1024;
        *to = realloc(*to, *cap);
        if (!*to) abort();
    }
    if (n) memcpy(*to + *len, bytes, n);
    *len += n;
}
static void fake_raw(fake_conn *c, const void *bytes, size_t n) { fake_append(&c->out, &c->out_len, &c->out_cap, bytes, n); }

/* A message being written: small ones live in here, `fake_done` frames and sends them. */
typedef struct fake_msg { char type; uint8_t *ptr; size_t len, cap; } fake_msg;
static void fake_bytes(fake_msg *m, const void *bytes, size_t n) { fake_append(&m->ptr, &m->len, &m->cap, bytes, n); }
static void fake_u8 (fake_msg *m, unsigned v) { uint8_t b = (uint8_t)v; fake_bytes(m, &b, 1); }
static void fake_u16(fake_msg *m, unsigned v) { fake_u8(m, v >> 8 & 255); fake_u8(m, v & 255); }
static void fake_u32(fake_msg *m, uint32_t v) { fake_u16(m, v >> 16); fake_u16(m, v & 65535); }
static void fake_u64(fake_msg *m, uint64_t v) { fake_u32(m, (uint32_t)(v >> 32)); fake_u32(m, (uint32_t)v); }
static void fake_z  (fake_msg *m, const char *text) { fake_bytes(m, text, strlen(text) + 1); }

static void fake_frame(fake_conn *c, char type, const void *body, size_t n) {
    uint8_t head[5] = { (uint8_t)type, (uint8_t)((n + 4) >> 24), (uint8_t)((n + 4) >> 16), (uint8_t)((n + 4) >> 8), (uint8_t)(n + 4) };
    fake_raw(c, head, 5);
    fake_raw(c, body, n);
}
static void fake_fields(fake_msg *m, const char *severity, const char *code, const char *text) {
    fake_u8(m, 'S'); fake_z(m, severity);
    fake_u8(m, 'V'); fake_z(m, severity);
    fake_u8(m, 'C'); fake_z(m, code);
    fake_u8(m, 'M'); fake_z(m, text);
    fake_u8(m, 0);
}

/* What a fault puts between two messages. */
static void fake_intruder(fake_conn *c, fake_kind kind) {
    fake_msg m = { 0 };
    if (kind == FAKE_NOTICE) { fake_fields(&m, "NOTICE", "00000", "an intruder"); fake_frame(c, 'N', m.ptr, m.len); }
    if (kind == FAKE_STATUS) { fake_z(&m, "application_name"); fake_z(&m, "intruder"); fake_frame(c, 'S', m.ptr, m.len); }
    if (kind == FAKE_NOTIFY) { fake_u32(&m, 77); fake_z(&m, "intruder"); fake_z(&m, "payload"); fake_frame(c, 'A', m.ptr, m.len); }
    free(m.ptr);
}
static void fake_done(fake_conn *c, fake_msg *m) {
    bool now = fake.fault.connection == c->number && c->messages == fake.fault.at;
    c->messages++;
    if (now && c->started) fake_intruder(c, fake.fault.kind);
    fake_frame(c, m->type, m->ptr, m->len);
    if (now && fake.fault.kind == FAKE_REPEAT) fake_frame(c, m->type, m->ptr, m->len);
    free(m->ptr);
    *m = (fake_msg){ 0 };
}
static void fake_empty(fake_conn *c, char type) { fake_msg m = { .type = type }; fake_done(c, &m); }
static void fake_text(fake_conn *c, char type, const char *text) { fake_msg m = { .type = type }; fake_z(&m, text); fake_done(c, &m); }
static void fake_complain(fake_conn *c, const char *severity, const char *code, const char *text) {
    fake_msg m = { .type = 'E' };
    fake_fields(&m, severity, code, text);
    fake_done(c, &m);
    if (c->tx == 'T') c->tx = 'E';
}
static void fake_ready(fake_conn *c) { fake_msg m = { .type = 'Z' }; fake_u8(&m, (unsigned)c->tx); fake_done(c, &m); }

/* ---- the statements it knows --------------------------------------------------------------------------------------------------------------------- */

typedef struct fake_column { const char *name; uint32_t oid; } fake_column;
typedef struct fake_statement {
    const char *sql;                                    // begins with this
    int         columns;
    fake_column column[4];
    int         rows;
    int         params;
    uint32_t    param_oid;
    const char *tag;                                    // NULL: SELECT n
} fake_statement;

enum { FAKE_LONG = 3000, FAKE_VERY_LONG = 200000 };

static const fake_statement fake_statements[] = {
    { "select id, n from world where id = $1",   2, { { "id", 23 }, { "n", 23 } },  1, 1, 23, NULL },
    { "select id, s from series",                2, { { "id", 20 }, { "s", 25 } },  5, 0, 0, NULL },
    { "select long from world",                  1, { { "long", 25 } },             2, 0, 0, NULL },
    { "select verylong from world",              1, { { "long", 25 } },             3, 0, 0, NULL },
    { "select 1/0",                              1, { { "x", 23 } },                1, 0, 0, NULL },
    { "select pg_sleep",                         1, { { "pg_sleep", 2278 } },       1, 0, 0, NULL },
    { "select pg_catalog.pg_notify",             1, { { "pg_notify", 2278 } },      1, 2, 25, NULL },
    { "select pg_notify",                        1, { { "pg_notify", 2278 } },      1, 2, 25, NULL },
    { "select pg_catalog.pg_backend_pid",        1, { { "pg_backend_pid", 23 } },   1, 0, 0, NULL },
    { "select pg_backend_pid",                   1, { { "pg_backend_pid", 23 } },   1, 0, 0, NULL },
    { "select pg_catalog.pg_is_in_recovery",     1, { { "pg_is_in_recovery", 16 } },1, 0, 0, NULL },
    { "show transaction_read_only",              1, { { "transaction_read_only", 25 } }, 1, 0, 0, "SHOW" },
    { "select ",                                 2, { { "id", 23 }, { "v", 23 } },  1, 0, 0, NULL },       // typed COPY asks for the columns of a table
    { "insert into world",                       0, { { 0 } },                      1, 1, 25, "INSERT 0 1" },
    { "update world",                            0, { { 0 } },                      1, 2, 23, "UPDATE 1" },
    { "begin",       0, { { 0 } }, 0, 0, 0, "BEGIN" },
    { "start",       0, { { 0 } }, 0, 0, 0, "START TRANSACTION" },
    { "commit",      0, { { 0 } }, 0, 0, 0, "COMMIT" },
    { "rollback to", 0, { { 0 } }, 0, 0, 0, "ROLLBACK" },
    { "rollback",    0, { { 0 } }, 0, 0, 0, "ROLLBACK" },
    { "savepoint",   0, { { 0 } }, 0, 0, 0, "SAVEPOINT" },
    { "release",     0, { { 0 } }, 0, 0, 0, "RELEASE" },
    { "set",         0, { { 0 } }, 0, 0, 0, "SET" },
    { "listen",      0, { { 0 } }, 0, 0, 0, "LISTEN" },
    { "unlisten",    0, { { 0 } }, 0, 0, 0, "UNLISTEN" },
    { "discard all", 0, { { 0 } }, 0, 0, 0, "DISCARD ALL" },
    { "deallocate",  0, { { 0 } }, 0, 0, 0, "DEALLOCATE" },
    { "declare",     0, { { 0 } }, 0, 0, 0, "DECLARE CURSOR" },
    { "close",       0, { { 0 } }, 0, 0, 0, "CLOSE CURSOR" },
    { "create",      0, { { 0 } }, 0, 0, 0, "CREATE TABLE" },
};

static bool fake_begins(const char *sql, const char *with) {
    while (isspace((unsigned char)*sql)) sql++;
    return strncasecmp(sql, with, strlen(with)) == 0;
}
static const fake_statement *fake_known(const char *sql) {
    for (size_t i = 0; i < sizeof fake_statements / sizeof *fake_statements; i++) if (fake_begins(sql, fake_statements[i].sql)) return &fake_statements[i];
    return NULL;
}
static bool fake_blank(const char *sql) { return sql[strspn(sql, " \t\r\n;")] == '\0'; }

/* The letter of the long values: each row its own, so that a piece of the wrong row shows. */
static const char *fake_long(int row, size_t n) {
    static char text[FAKE_VERY_LONG + 1];
    memset(text, 'a' + row, n);
    text[n] = '\0';
    return text;
}

/* One value as text; NULL for NULL. */
static const char *fake_cell(const fake_statement *s, const fake_portal *p, int row, int column, const fake_conn *c) {
    static char text[64];
    static const char *const names[] = { "one", "", NULL, "t\tab", "f\xc3\xbcnf" };
    const char *name = s->column[column].name;
    if (s == &fake_statements[0]) snprintf(text, sizeof text, "%lld", (long long)(column == 0 ? p->param : p->param * 7 + 3));
    else if (!strcmp(name, "s")) return names[row];
    else if (!strcmp(name, "long")) return fake_long(row, s->rows == 3 ? FAKE_VERY_LONG : FAKE_LONG);
    else if (!strcmp(name, "id")) snprintf(text, sizeof text, "%lld", (long long)row * 1000000007LL - 3);
    else if (!strcmp(name, "pg_backend_pid")) snprintf(text, sizeof text, "%d", FAKE_PID + c->number);
    else if (!strcmp(name, "pg_is_in_recovery")) return "f";
    else if (!strcmp(name, "transaction_read_only")) return "off";
    else if (s->column[column].oid == 2278) return "";
    else return "42";
    return text;
}

static void fake_describe(fake_conn *c, const char *sql, const fake_portal *p) {
    const fake_statement *s = fake_known(sql);
    fake_msg m = { .type = 'T' };
    if (!s || s->columns == 0) { fake_empty(c, 'n'); return; }
    fake_u16(&m, (unsigned)s->columns);
    for (int i = 0; i < s->columns; i++) {
        uint32_t oid = s->column[i].oid;
        fake_z(&m, s->column[i].name);
        fake_u32(&m, 16384); fake_u16(&m, (unsigned)i + 1); fake_u32(&m, oid);
        fake_u16(&m, oid == 23 ? 4 : oid == 20 ? 8 : oid == 16 ? 1 : 0xffff); fake_u32(&m, 0xffffffff);
        fake_u16(&m, !p || p->formats == 0 ? 0 : p->formats == 1 ? p->format[0] : i < 16 ? p->format[i] : 0);
    }
    fake_done(c, &m);
}
static void fake_describe_params(fake_conn *c, const char *sql) {
    const fake_statement *s = fake_known(sql);
    fake_msg m = { .type = 't' };
    fake_u16(&m, s ? (unsigned)s->params : 0);
    for (int i = 0; s && i < s->params; i++) fake_u32(&m, s->param_oid);
    fake_done(c, &m);
}

static void fake_value(fake_msg *m, const char *text, uint32_t oid, bool binary) {
    if (!text) { fake_u32(m, 0xffffffff); return; }
    if (binary && oid == 23) { fake_u32(m, 4); fake_u32(m, (uint32_t)strtoll(text, NULL, 10)); return; }
    if (binary && oid == 20) { fake_u32(m, 8); fake_u64(m, (uint64_t)strtoll(text, NULL, 10)); return; }
    if (binary && oid == 16) { fake_u32(m, 1); fake_u8(m, *text == 't'); return; }
    fake_u32(m, (uint32_t)strlen(text));
    fake_bytes(m, text, strlen(text));
}
static void fake_row(fake_conn *c, const fake_statement *s, const fake_portal *p, int row) {
    fake_msg m = { .type = 'D' };
    fake_u16(&m, (unsigned)s->columns);
    for (int i = 0; i < s->columns; i++) {
        bool binary = p->formats == 1 ? p->format[0] == 1 : p->formats > 1 && i < 16 && p->format[i] == 1;
        fake_value(&m, fake_cell(s, p, row, i, c), s->column[i].oid, binary);
    }
    fake_done(c, &m);
}

/* ---- running one ---------------------------------------------------------------------------------------------------------------------------------- */

static void fake_transaction(fake_conn *c, const char *sql) {
    if (fake_begins(sql, "begin") || fake_begins(sql, "start")) c->tx = 'T';
    if (fake_begins(sql, "rollback to")) c->tx = 'T';
    else if (fake_begins(sql, "commit") || fake_begins(sql, "rollback")) c->tx = 'I';
}
/* False: the statement failed, and said so. */
static bool fake_allowed(fake_conn *c, const char *sql) {
    if (c->tx == 'E' && !fake_begins(sql, "rollback") && !fake_begins(sql, "commit")) {
        fake_complain(c, "ERROR", "25P02", "current transaction is aborted, commands ignored until end of transaction block");
        return false;
    }
    if (fake_begins(sql, "selec ") || (!fake_known(sql) && !fake_begins(sql, "copy") && !fake_blank(sql))) {
        fake_complain(c, "ERROR", "42601", "syntax error at or near \"selec\"");
        return false;
    }
    return true;
}
static void fake_copy_head(fake_conn *c, char type, bool binary) {
    fake_msg m = { .type = type };
    fake_u8(&m, binary); fake_u16(&m, 2); fake_u16(&m, binary); fake_u16(&m, binary);
    fake_done(c, &m);
}
static void fake_copy_rows(fake_conn *c) {
    fake_copy_head(c, 'H', false);
    for (int i = 0; i < 5; i++) {
        fake_msg m = { .type = 'd' };
        char line[64];
        fake_bytes(&m, line, (size_t)snprintf(line, sizeof line, "%d\tvalue %d\n", i, i));
        fake_done(c, &m);
    }
    fake_empty(c, 'c');
    fake_text(c, 'C', "COPY 5");
}

/* Runs what a portal holds, at most `limit` rows of it (0: all). False: an error was sent, or an answer is being withheld. */
static bool fake_execute(fake_conn *c, fake_portal *p, int limit) {
    const fake_statement *s = fake_known(p->sql);
    char tag[64];
    fake.executed++;
    if (fake_blank(p->sql)) { fake_empty(c, 'I'); return true; }
    if (!fake_allowed(c, p->sql)) return false;
    if (fake_begins(p->sql, "select 1/0")) { fake_complain(c, "ERROR", "22012", "division by zero"); return false; }
    if (fake_begins(p->sql, "select pg_sleep")) { c->held = true; return false; }
    if (fake_begins(p->sql, "copy") && strstr(p->sql, "stdin")) { c->copy = 'G'; c->copied = 0; fake_copy_head(c, 'G', strstr(p->sql, "binary")); return false; }
    if (fake_begins(p->sql, "copy") && strstr(p->sql, "STDIN")) { c->copy = 'G'; c->copied = 0; fake_copy_head(c, 'G', strstr(p->sql, "BINARY")); return false; }
    if (fake_begins(p->sql, "copy")) { fake_copy_rows(c); return true; }
    bool failed = c->tx == 'E';
    fake_transaction(c, p->sql);
    int until = limit > 0 && p->at + limit < s->rows ? p->at + limit : s->rows;
    if (s->columns) for (; p->at < until; p->at++) fake_row(c, s, p, p->at);
    if (s->columns && p->at < s->rows) { fake_empty(c, 's'); return true; }
    snprintf(tag, sizeof tag, "SELECT %d", s->rows);
    fake_text(c, 'C', failed && fake_begins(p->sql, "commit") ? "ROLLBACK" : s->tag ? s->tag : tag);
    if (fake_begins(p->sql, "listen")) c->unread_z = true;
    return true;
}

/* After LISTEN's transaction: two notifications, one with an empty payload. */
static void fake_notes(fake_conn *c) {
    static const char *const payloads[] = { "first", "" };
    if (!c->unread_z) return;
    c->unread_z = false;
    for (int i = 0; i < 2; i++) {
        fake_msg m = { .type = 'A' };
        fake_u32(&m, 9); fake_z(&m, "jobs"); fake_z(&m, payloads[i]);
        fake_done(c, &m);
    }
}

/* ---- logging in ----------------------------------------------------------------------------------------------------------------------------------- */

static const char *const fake_settings[] = {            // as PostgreSQL 15 reports them
    "application_name", "", "client_encoding", "UTF8", "DateStyle", "ISO, MDY", "default_transaction_read_only", "off", "in_hot_standby", "off",
    "integer_datetimes", "on", "IntervalStyle", "postgres", "is_superuser", "on", "server_encoding", "UTF8", "server_version", "15.20",
    "session_authorization", "tester", "standard_conforming_strings", "on", "TimeZone", "UTC",
};
static void fake_welcome(fake_conn *c) {
    fake_msg m = { .type = 'R' };
    fake_u32(&m, 0);
    fake_done(c, &m);
    c->started = true;
    for (size_t i = 0; i < sizeof fake_settings / sizeof *fake_settings; i += 2) {
        fake_msg s = { .type = 'S' };
        fake_z(&s, fake_settings[i]); fake_z(&s, fake_settings[i + 1]);
        fake_done(c, &s);
    }
    fake_msg k = { .type = 'K' };
    fake_u32(&k, (uint32_t)(FAKE_PID + c->number)); fake_u32(&k, 0x12345678);
    fake_done(c, &k);
    c->tx = 'I';
    fake_ready(c);
}
static void fake_refuse(fake_conn *c) {
    fake_complain(c, "FATAL", "28P01", "password authentication failed for user \"tester\"");
    c->ended = true;
}
static void fake_ask(fake_conn *c) {
    fake_msg m = { .type = 'R' };
    switch (fake.auth) {
    case FAKE_TRUST:    fake_welcome(c); return;
    case FAKE_PASSWORD: fake_u32(&m, 3); break;
    case FAKE_MD5:      fake_u32(&m, 5); fake_bytes(&m, "salt", 4); break;
    case FAKE_SCRAM:    fake_u32(&m, 10); fake_z(&m, "SCRAM-SHA-256"); fake_u8(&m, 0); break;
    }
    fake_done(c, &m);
}

/* The server's half of md5 and SCRAM: with the hashes of the header, which test vectors check elsewhere. */
static chopin_str fake_view(const char *text) { return (chopin_str){ text, strlen(text) }; }
static void fake_base64(const void *bytes, size_t n, char *out) {
    size_t len = chopin_pg__base64_encode((chopin_str){ (const char *)bytes, n }, out);
    out[len] = '\0';
}
static void fake_salted(uint8_t out[32]) {
    chopin_pg__pbkdf2 p;
    chopin_pg__pbkdf2_init(&p, fake_view(fake.password), CHOPIN_STR("0123456789abcdef"), FAKE_ROUNDS);
    while (!chopin_pg__pbkdf2_step(&p, FAKE_ROUNDS)) { }
    chopin_pg__pbkdf2_final(&p, out);
}
/* body: mechanism, length, "n,,n=,r=nonce" */
static void fake_scram_first(fake_conn *c, const uint8_t *body, size_t len) {
    char salt[32], text[256];
    size_t at = strlen((const char *)body) + 5;
    int n = len > at ? (int)(len - at) : 0;
    snprintf(text, sizeof text, "%.*s", n, (const char *)body + at);
    const char *bare = strstr(text, ",,"), *nonce = strstr(text, "r=");
    if (!bare || !nonce || strcmp((const char *)body, "SCRAM-SHA-256") != 0) { fake_refuse(c); return; }
    snprintf(c->first_bare, sizeof c->first_bare, "%s", bare + 2);
    fake_base64("0123456789abcdef", 16, salt);
    snprintf(c->server_first, sizeof c->server_first, "%.100sSERVERNONCE,s=%s,i=%d", nonce, salt, FAKE_ROUNDS);
    fake_msg m = { .type = 'R' };
    fake_u32(&m, 11);
    fake_bytes(&m, c->server_first, strlen(c->server_first));
    fake_done(c, &m);
}
/* body: "c=biws,r=nonce,p=proof" */
static void fake_scram_final(fake_conn *c, const uint8_t *body, size_t len) {
    char text[512], message[1024], encoded[64];
    uint8_t salted[32], client[32], stored[32], signature[32], server[32];
    snprintf(text, sizeof text, "%.*s", (int)len, (const char *)body);
    char *proof = strstr(text, ",p=");
    if (!proof || strncmp(text, "c=biws,r=", 9) != 0) { fake_refuse(c); return; }
    *proof = '\0';
    snprintf(message, sizeof message, "%s,%s,%s", c->first_bare, c->server_first, text);
    fake_salted(salted);
    chopin_str key = { (const char *)salted, 32 };
    chopin_pg__hmac(key, CHOPIN_STR("Client Key"), client);
    chopin_pg__sha256((chopin_str){ (const char *)client, 32 }, stored);
    chopin_pg__hmac((chopin_str){ (const char *)stored, 32 }, fake_view(message), signature);
    for (int i = 0; i < 32; i++) signature[i] ^= client[i];
    fake_base64(signature, 32, encoded);
    if (strcmp(encoded, proof + 3) != 0) { fake_refuse(c); return; }
    chopin_pg__hmac(key, CHOPIN_STR("Server Key"), server);
    chopin_pg__hmac((chopin_str){ (const char *)server, 32 }, fake_view(message), signature);
    fake_base64(signature, 32, encoded);
    fake_msg m = { .type = 'R' };
    fake_u32(&m, 12);
    fake_bytes(&m, "v=", 2);
    fake_bytes(&m, encoded, strlen(encoded));
    fake_done(c, &m);
    fake_welcome(c);
}

static void fake_proof(fake_conn *c, const uint8_t *body, size_t len) {
    if (fake.auth == FAKE_SCRAM) { if (c->login++ == 0) fake_scram_first(c, body, len); else fake_scram_final(c, body, len); return; }
    char expected[64] = "";
    if (fake.auth == FAKE_MD5) chopin_pg__md5_login(fake_view(c->user), fake_view(fake.password), (const uint8_t *)"salt", expected);
    else snprintf(expected, sizeof expected, "%s", fake.password);
    if (len == strlen(expected) + 1 && memcmp(body, expected, len) == 0) fake_welcome(c);
    else fake_refuse(c);
}

static uint32_t fake_get32(const uint8_t *p) { return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]; }
static unsigned fake_get16(const uint8_t *p) { return (unsigned)p[0] << 8 | p[1]; }

static void fake_cancel(fake_conn *c, const uint8_t *body, size_t len) {
    fake.cancels++;
    c->ended = true;                                    // nothing is answered: the end says that it was seen
    if (len != 12 || fake_get32(body + 8) != 0x12345678) return;
    for (int i = 0; i < FAKE_CONNS; i++) {
        fake_conn *k = &fake.conns[i];
        if (!k->used || (uint32_t)(FAKE_PID + k->number) != fake_get32(body + 4)) continue;
        fake.cancels_right++;
        if (k->held || k->copy) k->canceled = true;
    }
}
static void fake_startup(fake_conn *c, const uint8_t *body, size_t len) {
    uint32_t code = len >= 4 ? fake_get32(body) : 0;
    if (code == 80877103) { const char *answer = fake.ssl_answer ? fake.ssl_answer : "N"; fake_raw(c, answer, strlen(answer)); return; }
    if (code == 80877104) { fake_raw(c, "N", 1); return; }
    if (code == 80877102) { fake_cancel(c, body, len); return; }
    if (code >> 16 != 3 || body[len - 1] != 0) { fake_complain(c, "FATAL", "08P01", "unsupported protocol"); c->ended = true; return; }
    for (const char *at = (const char *)body + 4; at < (const char *)body + len && *at; ) {
        const char *value = at + strlen(at) + 1;
        if (!strcmp(at, "user")) snprintf(c->user, sizeof c->user, "%s", value);
        at = value + strlen(value) + 1;
    }
    fake_ask(c);
}

/* ---- what the client says ------------------------------------------------------------------------------------------------------------------------- */

static fake_name *fake_find(fake_conn *c, const char *name) {
    for (int i = 0; i < FAKE_NAMES; i++) if (c->names[i].sql && !strcmp(c->names[i].name, name)) return &c->names[i];
    return NULL;
}
static fake_portal *fake_find_portal(fake_conn *c, const char *name) {
    for (int i = 0; i < 4; i++) if (c->portals[i].used && !strcmp(c->portals[i].name, name)) return &c->portals[i];
    return NULL;
}
static void fake_forget(fake_name *n) { free(n->sql); *n = (fake_name){ .sql = NULL }; }
static void fake_forget_portals(fake_conn *c) { for (int i = 0; i < 4; i++) { free(c->portals[i].sql); c->portals[i] = (fake_portal){ .sql = NULL }; } }

static void fake_fail(fake_conn *c, const char *code, const char *text) { fake_complain(c, "ERROR", code, text); c->skipping = true; }

static void fake_parse(fake_conn *c, const char *name) {
    const char *sql = name + strlen(name) + 1;
    fake_name *old = fake_find(c, name);
    if (old && *name) { fake_fail(c, "42P05", "prepared statement already exists"); return; }
    if (old) fake_forget(old);
    if (!fake_allowed(c, sql)) { c->skipping = true; return; }
    for (int i = 0; i < FAKE_NAMES; i++) {
        if (c->names[i].sql) continue;
        snprintf(c->names[i].name, sizeof c->names[i].name, "%s", name);
        c->names[i].sql = strdup(sql);
        fake_empty(c, '1');
        return;
    }
    fake_fail(c, "54000", "too many names for a fake");
}
static const uint8_t *fake_bind_params(fake_portal *p, const uint8_t *at, const fake_statement *s) {
    unsigned formats = fake_get16(at), first = formats ? fake_get16(at + 2) : 0;
    at += 2 + 2 * formats;
    unsigned n = fake_get16(at);
    at += 2;
    for (unsigned i = 0; i < n; i++) {
        int32_t len = (int32_t)fake_get32(at);
        char text[32] = "";
        at += 4;
        if (i == 0 && len >= 0 && first == 1 && len == 4) p->param = (int32_t)fake_get32(at);
        else if (i == 0 && len >= 0 && len < 32 && s && s->param_oid == 23) { memcpy(text, at, (size_t)len); p->param = strtoll(text, NULL, 10); }
        if (i == 0) p->null = len < 0;
        if (len > 0) at += len;
    }
    return at;
}
static void fake_bind(fake_conn *c, const uint8_t *body) {
    const char *portal = (const char *)body, *name = portal + strlen(portal) + 1;
    const uint8_t *at = (const uint8_t *)name + strlen(name) + 1;
    fake_name *n = fake_find(c, name);
    if (!n) { fake_fail(c, "26000", "prepared statement does not exist"); return; }
    if (!fake_allowed(c, n->sql)) { c->skipping = true; return; }
    fake_portal *p = fake_find_portal(c, portal);
    for (int i = 0; !p && i < 4; i++) if (!c->portals[i].used) p = &c->portals[i];
    if (!p) { fake_fail(c, "54000", "too many portals for a fake"); return; }
    free(p->sql);
    *p = (fake_portal){ .used = true, .sql = strdup(n->sql) };
    snprintf(p->name, sizeof p->name, "%s", portal);
    at = fake_bind_params(p, at, fake_known(n->sql));
    p->formats = (int)fake_get16(at);
    for (int i = 0; i < p->formats && i < 16; i++) p->format[i] = (uint16_t)fake_get16(at + 2 + 2 * i);
    fake_empty(c, '2');
}
static void fake_describe_message(fake_conn *c, const uint8_t *body) {
    const char *name = (const char *)body + 1;
    if (*body == 'S') {
        fake_name *n = fake_find(c, name);
        if (!n) { fake_fail(c, "26000", "prepared statement does not exist"); return; }
        fake_describe_params(c, n->sql);
        fake_describe(c, n->sql, NULL);
    } else {
        fake_portal *p = fake_find_portal(c, name);
        if (!p) { fake_fail(c, "34000", "portal does not exist"); return; }
        fake_describe(c, p->sql, p);
    }
}
static void fake_execute_message(fake_conn *c, const uint8_t *body) {
    fake_portal *p = fake_find_portal(c, (const char *)body);
    if (!p) { fake_fail(c, "34000", "portal does not exist"); return; }
    if (!fake_execute(c, p, (int)fake_get32(body + strlen((const char *)body) + 1))) c->skipping = !c->held && !c->copy;
}
static void fake_close_message(fake_conn *c, const uint8_t *body) {
    fake_name *n = *body == 'S' ? fake_find(c, (const char *)body + 1) : NULL;
    if (n) fake_forget(n);
    fake_empty(c, '3');
}

/* A simple query: its statements one after the other, up to the first error. */
static void fake_query(fake_conn *c, const char *sql) {
    char *text = strdup(sql), *at = text;
    bool good = true, any = false;
    while (good && at) {
        char *end = strchr(at, ';');
        if (end) *end++ = '\0';
        fake_portal p = { .sql = at };
        if (!fake_blank(at)) {
            any = true;
            if (fake_allowed(c, at)) {
                const fake_statement *s = fake_known(at);
                if (s && s->columns && !fake_begins(at, "select pg_sleep")) fake_describe(c, at, NULL);
                good = fake_execute(c, &p, 0);
            } else good = false;
        }
        at = end;
    }
    if (!any) fake_empty(c, 'I');
    free(text);
    if (c->held || c->copy) return;
    fake_ready(c);
    fake_notes(c);
}

/* While rows come in. The Sync of an extended COPY is ignored, as PostgreSQL does. */
static void fake_copy_message(fake_conn *c, int type, const uint8_t *body, size_t len) {
    char tag[64];
    if (type == 'd') { c->copied += (int64_t)len; if (len >= 3 && !memcmp(body, "bad", 3)) { c->copy = 0; fake_complain(c, "ERROR", "22P02", "invalid input"); fake_ready(c); } }
    if (type == 'c') { c->copy = 0; snprintf(tag, sizeof tag, "COPY %lld", (long long)c->copied); fake_text(c, 'C', tag); fake_ready(c); }
    if (type == 'f') { c->copy = 0; fake_complain(c, "ERROR", "57014", "COPY from stdin failed"); fake_ready(c); }
}
static void fake_message(fake_conn *c, int type, const uint8_t *body, size_t len) {
    if (type == 'X') { c->ended = true; return; }
    if (c->copy) { fake_copy_message(c, type, body, len); return; }
    if (type == 'S') { c->skipping = false; if (c->tx == 'I') fake_forget_portals(c); fake_ready(c); fake_notes(c); return; }
    if (c->skipping) return;
    switch (type) {
    case 'p': fake_proof(c, body, len); break;
    case 'Q': fake_query(c, (const char *)body); break;
    case 'P': fake_parse(c, (const char *)body); break;
    case 'B': fake_bind(c, body); break;
    case 'D': fake_describe_message(c, body); break;
    case 'E': fake_execute_message(c, body); break;
    case 'C': fake_close_message(c, body); break;
    case 'd': case 'c': case 'f': case 'H': break;      // late pieces of a COPY that failed; Flush
    default:  fake_complain(c, "FATAL", "08P01", "invalid frontend message type"); c->ended = true;
    }
}

/* One whole message from the front of `in`; false when there is none, or when the server is busy. */
static bool fake_step(fake_conn *c) {
    bool plain = !c->started && c->login == 0 && c->user[0] == '\0';
    size_t head = plain ? 0 : 1;
    if (c->ended || c->held || c->in_len < head + 4) return false;
    size_t len = fake_get32(c->in + head);
    if (len < 4 || c->in_len < head + len) return false;
    int type = plain ? 0 : c->in[0];
    const uint8_t *body = c->in + head + 4;
    if (!fake.hook || !fake.hook(c, type, body, len - 4)) {
        if (plain) fake_startup(c, body, len - 4); else fake_message(c, type, body, len - 4);
    }
    memmove(c->in, c->in + head + len, c->in_len - head - len);
    c->in_len -= head + len;
    return true;
}

/* ---- the wire -------------------------------------------------------------------------------------------------------------------------------------- */

/* What tests want to know of a connection after its end. */
static void fake_note(const fake_conn *c) {
    if (c->number >= FAKE_CONNS) return;
    fake_seen *s = &fake.seen[c->number];
    s->bytes = c->delivered;
    s->messages = c->messages;
    s->came = c->came;
    if (s->welcome == 0 && c->started && c->tx == 'I' && c->out_len == 0) s->welcome = c->delivered;
}
static void fake_hang_up(fake_conn *c) {
    if (!c->used) return;
    fake_note(c);
    close(c->fd);
    for (int i = 0; i < FAKE_NAMES; i++) free(c->names[i].sql);
    fake_forget_portals(c);
    free(c->in);
    free(c->out);
    if (c->client_fd >= 0 && fake.fds[c->client_fd].conn == c) fake.fds[c->client_fd].conn = NULL;
    *c = (fake_conn){ .used = false };
}
static bool fake_accept(void) {
    int fd = accept4(fake.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return false;
    int client = fake.connected_n > 0 ? fake.connected[0] : -1;
    if (fake.connected_n > 0) memmove(fake.connected, fake.connected + 1, sizeof(int) * (size_t)--fake.connected_n);
    for (int i = 0; i < FAKE_CONNS; i++) {
        if (fake.conns[i].used) continue;
        fake.conns[i] = (fake_conn){ .used = true, .fd = fd, .client_fd = client, .number = fake.connections++, .tx = 'I' };
        if (client >= 0) fake.fds[client].conn = &fake.conns[i];
        if (fake.hook_connect) fake.hook_connect(&fake.conns[i]);
        return true;
    }
    close(fd);
    return true;
}
/* Takes what the client sent; false when there was nothing. */
static bool fake_take(fake_conn *c) {
    uint8_t bytes[16384];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) { fake_hang_up(c); return true; }
    if (n < 0) return false;
    c->came += (size_t)n;
    fake_append(&c->in, &c->in_len, &c->in_cap, bytes, (size_t)n);
    return true;
}
/* How many bytes may leave now. */
static size_t fake_limit(const fake_conn *c) {
    fake_kind k = fake.fault.connection == c->number ? fake.fault.kind : FAKE_NONE;
    bool ends = k == FAKE_CUT || k == FAKE_RESET || k == FAKE_STALL;
    if (ends && c->delivered + c->out_len > fake.fault.at) return fake.fault.at > c->delivered ? fake.fault.at - c->delivered : 0;
    return k == FAKE_BYTES && c->out_len > 1 ? 1 : c->out_len;
}
static void fake_flip(fake_conn *c) {
    if (fake.fault.kind != FAKE_FLIP || fake.fault.connection != c->number || fake.fault.at < c->delivered || fake.fault.at >= c->delivered + c->out_len) return;
    c->out[fake.fault.at - c->delivered] ^= (uint8_t)(1u << (fake.fault.at * 5 + 3) % 8);
}
/* Byte `at` is due: what happens instead. */
static bool fake_break(fake_conn *c) {
    fake_kind k = fake.fault.connection == c->number ? fake.fault.kind : FAKE_NONE;
    if ((k != FAKE_CUT && k != FAKE_RESET) || c->delivered < fake.fault.at || c->out_len == 0) return false;
    if (k == FAKE_RESET && c->client_fd >= 0) fake.fds[c->client_fd].reset = true;
    fake_hang_up(c);
    return true;
}
static bool fake_give(fake_conn *c) {
    size_t n = fake_limit(c);
    fake_flip(c);
    ssize_t sent = n ? send(c->fd, c->out, n, MSG_NOSIGNAL) : 0;
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) { fake_hang_up(c); return true; }
    if (sent < 0) sent = 0;
    c->delivered += (size_t)sent;
    c->out_len -= (size_t)sent;
    if (sent) memmove(c->out, c->out + sent, c->out_len);
    fake_note(c);
    if (fake_break(c)) return true;
    if (c->ended && c->out_len == 0) { fake_hang_up(c); return true; }
    return sent > 0 && fake.fault.kind != FAKE_BYTES;
}
static void fake_release_held(fake_conn *c) {
    if (!c->canceled) return;
    bool simple = c->copy != 0;
    c->canceled = c->held = false;
    c->copy = 0;
    fake_complain(c, "ERROR", "57014", "canceling statement due to user request");
    if (simple) fake_ready(c); else c->skipping = true;
}
static bool fake_turn(fake_conn *c) {
    bool moved = fake_take(c);
    if (!c->used) return true;
    fake_release_held(c);
    while (c->used && fake_step(c)) moved = true;
    return c->used && (c->out_len || c->ended) ? fake_give(c) || moved : moved;
}

/* Lets the server do all it can do now. With FAKE_BYTES: one byte of each connection. */
static void fake_pump(void) {
    int error = errno;
    bool moved = fake.listener > 0;
    for (int rounds = 0; moved && rounds < 10000; rounds++) {
        moved = false;
        while (fake_accept()) moved = true;
        for (int i = 0; i < FAKE_CONNS; i++) if (fake.conns[i].used && fake_turn(&fake.conns[i])) moved = true;
    }
    errno = error;
}

/* ---- for tests ------------------------------------------------------------------------------------------------------------------------------------- */

static void *fake_alloc(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    size_t *head = ptr ? (size_t *)ptr - 2 : NULL;
    (void)ctx;
    if (head && head[0] != old_size) fake.wrong_size++;
    if (!ptr && old_size != 0) fake.wrong_size++;
    if (new_size == 0) { if (head) { fake.blocks--; fake.bytes -= head[0]; memset(ptr, 0xdd, head[0]); free(head); } return NULL; }
    fake.allocs++;
    if (fake.alloc_fail_at > 0 && (fake.allocs == fake.alloc_fail_at || (fake.alloc_fail_on && fake.allocs > fake.alloc_fail_at))) return NULL;
    size_t *fresh = malloc(2 * sizeof *fresh + new_size);   // always moved: a pointer kept across a realloc shows
    if (!fresh) abort();
    memset(fresh + 2, 0xcd, new_size);
    if (head) { memcpy(fresh + 2, ptr, head[0] < new_size ? head[0] : new_size); fake.bytes -= head[0]; memset(ptr, 0xdd, head[0]); free(head); }
    else fake.blocks++;
    fresh[0] = new_size;
    fake.bytes += new_size;
    if (fake.bytes > fake.bytes_most) fake.bytes_most = fake.bytes;
    return fresh + 2;
}

/* The listening socket, once. Its address is one the kernel chooses, without a file: nothing is left behind, however a test ends. */
static void fake_listen(void) {
    struct sockaddr_un any = { .sun_family = AF_UNIX };
    fake.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    fake_address_len = sizeof fake_address;
    if (fake.listener < 0 || bind(fake.listener, (struct sockaddr *)&any, sizeof any.sun_family) || listen(fake.listener, 512)
        || getsockname(fake.listener, (struct sockaddr *)&fake_address, &fake_address_len)) abort();
}
static void fake_reset(void) {
    int listener = fake.listener, rest;
    if (listener == 0) { fake_listen(); listener = fake.listener; }
    while ((rest = accept(listener, NULL, NULL)) >= 0) close(rest);
    for (int i = 0; i < FAKE_CONNS; i++) fake_hang_up(&fake.conns[i]);
    memset(&fake, 0, sizeof fake);
    fake.listener = listener;
    fake.password = "secret";
    fake.clock_ns = fake.started_ns = INT64_C(1000000000000);
}
static int64_t fake_ms(void) { return (fake.clock_ns - fake.started_ns) / 1000000; }    // what passed since the reset

static void fake_quiet(void *ctx, chopin_pg_level level, const char *text) { (void)ctx; (void)level; (void)text; }

/* A pool on the fake server, with every deadline set. `change` may be NULL. */
static chopin_pg *fake_open(const chopin_pg_options *change) {
    chopin_pg_options o = change ? *change : (chopin_pg_options){ .query_ms = 500 };
    o.url = "postgresql://tester:secret@/db?host=/nowhere&port=5432";
    o.no_env = true;
    if (!o.alloc) o.alloc = fake_alloc;
    if (!o.log) o.log = fake_quiet;
    if (!o.connect_ms) o.connect_ms = 1000;
    if (!o.acquire_ms) o.acquire_ms = 1000;
    if (!o.grace_ms) o.grace_ms = 200;
    return chopin_pg_open(&o);
}

/* After chopin_pg_close(): 0 when everything was given back, else a sum of what was not, printed. */
static int fake_leaks(void) {
    if (fake.blocks) printf("  %ld blocks (%zu bytes) were not freed\n", fake.blocks, fake.bytes);
    if (fake.open_fds) printf("  %d descriptors were not closed\n", fake.open_fds);
    if (fake.wrong_close) printf("  %d closes of descriptors that were not open\n", fake.wrong_close);
    if (fake.wrong_size) printf("  %d sizes given to the allocator were wrong\n", fake.wrong_size);
    if (fake.hung) printf("  %d waits without a deadline that nothing could end\n", fake.hung);
    return (fake.blocks != 0) + (fake.open_fds != 0) + fake.wrong_close + fake.wrong_size + fake.hung;
}

#endif
