/* floor_uring.c - the least that an io_uring HTTP server can do
 *
 * By raw system calls: multishot accept, multishot recv into provided buffers, one send of N copies of a ready
 * reply. No parsing, no routing, no fresh Date: a floor to measure servers against, not a server.
 *
 *     cc -O2 floor_uring.c -o floor_uring && ./floor_uring -p 9001
 *
 *     -p PORT  listen on 127.0.0.1:PORT          -f FILE  answer every request with FILE
 *     -j       the JSON reply                    -t WAY   how: splice, send, zc or sendfile (default)
 *     -c       close after each reply            -n N     receive buffers, a power of two
 *     -d       TCP_DEFER_ACCEPT                  -b SIZE  bytes of one receive buffer
 * Variants of the ring, to learn what each is worth:
 *     -m MODE  defer (default: SINGLE_ISSUER, DEFER_TASKRUN), coop, plain or sqpoll
 *     -S CPU   the SQPOLL thread's CPU           -F  direct (registered) descriptors
 *     -B       receive bundles                   -P  RECVSEND_POLL_FIRST
 *     -o       one-shot in place of multishot    -w  send(2) in place of ring sends
 *     -k       a completion for each send        -Z  SEND_ZC
 *     -M USEC  wait that long for 64 completions (Linux 6.12)                                               */
#include "floor_common.h"
#include "uring_raw.h"
#include <poll.h>
#include <sys/sendfile.h>

enum { MAX_SPLICE = 1 << 20, DIRECT_FDS = 16384, MIN_WAIT_BATCH = 64 };

enum { ON_ACCEPT = 1, ON_RECV, ON_SEND, ON_CLOSE, ON_SPLICE_IN, ON_FILE, ON_WRITABLE };

enum { BY_SENDFILE, BY_SPLICE, BY_SEND, BY_SEND_ZC };

typedef struct {
    uint8_t  matched;            // bytes of "\r\n\r\n" seen at the end of the input so far
    bool     busy;               // a file reply is under way
    unsigned owed;               // file replies not yet sent in full
    off_t    file_off;           // next byte of the file, -1: the head has to go first
    int      pipe_in, pipe_out;  // for splice
} conn;

static uring         ring;
static uring_buffers bufs;
static conn         *conns;
static int           listener, file_fd = -1, file_way = BY_SENDFILE;
static off_t         file_size;
static char         *file_bytes;    // head and file, for the ways that send from memory
static bool          opt_direct, opt_bundle, opt_poll_first, opt_oneshot, opt_send_call, opt_keep_cqe, opt_zc, opt_close;

/* A new entry; its completion tells what it was and on which connection. */
static struct io_uring_sqe *begin(int opcode, int what, int fd) {
    struct io_uring_sqe *sqe = uring_sqe(&ring);
    sqe->opcode    = (uint8_t)opcode;
    sqe->fd        = fd;
    sqe->flags     = opt_direct && what != ON_ACCEPT ? IOSQE_FIXED_FILE : 0;
    sqe->user_data = ((uint64_t)what << 32) | (uint32_t)fd;
    return sqe;
}

static void arm_accept(void) {
    struct io_uring_sqe *sqe = begin(IORING_OP_ACCEPT, ON_ACCEPT, listener);
    sqe->ioprio = IORING_ACCEPT_MULTISHOT;
    if (file_fd >= 0) sqe->accept_flags = SOCK_NONBLOCK;    // sendfile must not wait for one peer
    if (opt_direct) sqe->file_index = IORING_FILE_INDEX_ALLOC;
}

static void arm_recv(int fd) {
    struct io_uring_sqe *sqe = begin(IORING_OP_RECV, ON_RECV, fd);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = bufs.group;
    // When each reply ends with a close, a recv that stays armed would hold the socket open.
    if (!opt_oneshot && !opt_close) sqe->ioprio |= IORING_RECV_MULTISHOT;
    if (opt_poll_first) sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
    if (opt_bundle)     sqe->ioprio |= IORING_RECVSEND_BUNDLE;
}

/* Not by IORING_OP_SHUTDOWN: that always runs on a kernel thread, and looks its descriptor up so late that it may
 * hit the next connection. */
static void start_close(int fd) {
    struct io_uring_sqe *sqe = begin(IORING_OP_CLOSE, ON_CLOSE, opt_direct ? 0 : fd);
    sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
    if (opt_direct) sqe->file_index = (unsigned)fd + 1;
}

static void drop(int fd) {
    if (conns[fd].pipe_in) {
        close(conns[fd].pipe_in);
        close(conns[fd].pipe_out);
    }
    memset(&conns[fd], 0, sizeof conns[fd]);
    if (opt_direct) start_close(fd);
    else close(fd);
}

static void start_send(int fd, const void *p, size_t n) {
    if (opt_send_call) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        (void)sent;    // recv reports the same failure
        if (opt_close) start_close(fd);
        return;
    }
    struct io_uring_sqe *sqe = begin(opt_zc ? IORING_OP_SEND_ZC : IORING_OP_SEND, ON_SEND, fd);
    sqe->addr = (uint64_t)p;
    sqe->len  = (unsigned)n;
    sqe->msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
    if (!opt_keep_cqe && !opt_zc) sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    if (!opt_close) return;
    sqe->flags |= IOSQE_IO_HARDLINK;    // close after the send, even when that failed
    start_close(fd);
}

/* ---- files: four ways to send one ----------------------------------------------------------------------- */

static bool send_file_head(int fd, conn *c) {
    if (send(fd, file_head, file_head_len, MSG_MORE | MSG_NOSIGNAL | MSG_DONTWAIT) < 0) return false;
    c->file_off = 0;
    return true;
}

static void file_by_sendfile(int fd, conn *c) {
    for (;;) {
        if (c->file_off < 0 && !send_file_head(fd, c)) return;
        while (c->file_off < file_size) {
            ssize_t n = sendfile(fd, file_fd, &c->file_off, (size_t)(file_size - c->file_off));
            if (n >= 0) continue;
            if (errno == EAGAIN) begin(IORING_OP_POLL_ADD, ON_WRITABLE, fd)->poll32_events = POLLOUT;
            return;
        }
        c->busy = --c->owed > 0;
        if (!c->busy) return;
        c->file_off = -1;
    }
}

static void file_from_memory(int fd, conn *c) {
    struct io_uring_sqe *sqe = begin(file_way == BY_SEND_ZC ? IORING_OP_SEND_ZC : IORING_OP_SEND, ON_FILE, fd);
    sqe->addr = (uint64_t)file_bytes;
    sqe->len  = (unsigned)((size_t)file_size + file_head_len);
    sqe->msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
    c->file_off = file_size;
}

static bool open_pipe(conn *c) {
    int ends[2];
    if (c->pipe_in) return true;
    if (pipe2(ends, O_CLOEXEC)) return false;
    fcntl(ends[1], F_SETPIPE_SZ, MAX_SPLICE);
    c->pipe_in  = ends[0];
    c->pipe_out = ends[1];
    return true;
}

static void file_by_splice(int fd, conn *c) {
    if (!open_pipe(c) || (c->file_off < 0 && !send_file_head(fd, c))) return;
    off_t left = file_size - c->file_off;
    unsigned len = (unsigned)(left > MAX_SPLICE ? MAX_SPLICE : left);
    struct io_uring_sqe *in = begin(IORING_OP_SPLICE, ON_SPLICE_IN, fd);
    in->splice_fd_in  = file_fd;
    in->splice_off_in = (uint64_t)c->file_off;
    in->fd  = c->pipe_out;
    in->off = (uint64_t)-1;
    in->len = len;
    in->flags = IOSQE_IO_LINK;
    struct io_uring_sqe *out = begin(IORING_OP_SPLICE, ON_FILE, fd);
    out->splice_fd_in  = c->pipe_in;
    out->splice_off_in = (uint64_t)-1;
    out->off = (uint64_t)-1;
    out->len = len;
}

static void continue_file(int fd) {
    conn *c = &conns[fd];
    c->busy = true;
    if (file_way == BY_SENDFILE) file_by_sendfile(fd, c);
    else if (file_way == BY_SPLICE) file_by_splice(fd, c);
    else file_from_memory(fd, c);
}

/* One send or splice of a file has finished. */
static void on_file(int fd, int res, unsigned flags) {
    conn *c = &conns[fd];
    if (flags & IORING_CQE_F_NOTIF) return;
    if (file_way == BY_SPLICE && res > 0) c->file_off += res;
    if (c->file_off < file_size && res > 0) {
        continue_file(fd);
        return;
    }
    c->file_off = -1;
    c->busy = false;
    if (c->owed && --c->owed) continue_file(fd);
}

/* ---- the loop ------------------------------------------------------------------------------------------ */

static void answer(int fd, unsigned count) {
    if (file_fd >= 0) {
        conns[fd].owed += count;
        if (!count || conns[fd].busy) return;
        conns[fd].file_off = -1;
        continue_file(fd);
        return;
    }
    while (count) {
        unsigned batch = count > MAX_BATCH ? MAX_BATCH : count;
        start_send(fd, replies, batch * reply_len);
        if (opt_close) return;
        count -= batch;
    }
}

/* Counts the requests in what arrived and gives the buffers back; a bundle spans several, in ring order. */
static unsigned read_buffers(conn *c, unsigned id, size_t left) {
    unsigned count = 0;
    do {
        size_t n = left > bufs.size ? bufs.size : left;
        count += count_heads(bufs.mem + (size_t)id * bufs.size, n, &c->matched);
        uring_buffers_put(&bufs, id);
        left -= n;
        id = (id + 1) & bufs.mask;
    } while (left);
    return count;
}

static void on_recv(int fd, int res, unsigned flags) {
    unsigned id = flags >> IORING_CQE_BUFFER_SHIFT;
    bool armed = flags & IORING_CQE_F_MORE;
    if (res == -ENOBUFS) {
        arm_recv(fd);
    } else if (res <= 0) {
        if (flags & IORING_CQE_F_BUFFER) uring_buffers_put(&bufs, id);
        if (!armed) drop(fd);
    } else {
        unsigned count = read_buffers(&conns[fd], id, (size_t)res);
        if (!armed && !(opt_close && count)) arm_recv(fd);
        answer(fd, count);
    }
}

static void on_completion(const struct io_uring_cqe *cqe) {
    int fd = (int)(uint32_t)cqe->user_data, res = cqe->res;
    switch ((int)(cqe->user_data >> 32)) {
    case ON_ACCEPT:
        if (!(cqe->flags & IORING_CQE_F_MORE)) arm_accept();
        if (res >= 0 && res < MAX_FD) {
            conns[res] = (conn){ .file_off = -1 };
            arm_recv(res);
        }
        break;
    case ON_RECV:     on_recv(fd, res, cqe->flags); break;
    case ON_FILE:     on_file(fd, res, cqe->flags); break;
    case ON_WRITABLE: continue_file(fd); break;
    default:          break;
    }
}

static void run(int min_wait_us) {
    struct __kernel_timespec hour = { .tv_sec = 3600 };
    struct io_uring_getevents_arg arg = { .ts = (uint64_t)&hour };
    arg.pad = (unsigned)min_wait_us;    // the field is called min_wait_usec since 6.12
    for (;;) {
        uring_submit(&ring, min_wait_us ? MIN_WAIT_BATCH : 1, min_wait_us ? &arg : NULL);
        unsigned head = *ring.cq_head, tail = __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE);
        for (; head != tail; head++) {
            on_completion(&ring.cqes[head & ring.cq_mask]);
        }
        uring_buffers_commit(&bufs);
        __atomic_store_n(ring.cq_head, head, __ATOMIC_RELEASE);
    }
}

/* ---- start --------------------------------------------------------------------------------------------- */

static unsigned mode_flags(const char *mode) {
    if (!strcmp(mode, "defer"))  return IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    if (!strcmp(mode, "coop"))   return IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN;
    if (!strcmp(mode, "sqpoll")) return IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_SQPOLL;
    return 0;
}

static int way_of(const char *name) {
    if (!strcmp(name, "splice")) return BY_SPLICE;
    if (!strcmp(name, "send"))   return BY_SEND;
    if (!strcmp(name, "zc"))     return BY_SEND_ZC;
    return BY_SENDFILE;
}

static void load_file(const char *path) {
    file_fd = open_file(path, &file_size);
    file_bytes = malloc((size_t)file_size + file_head_len);
    if (!file_bytes) exit(1);
    memcpy(file_bytes, file_head, file_head_len);
    if (pread(file_fd, file_bytes + file_head_len, (size_t)file_size, 0) != file_size) exit(1);
}

static void must(const char *what, int failed) {
    if (!failed) return;
    fprintf(stderr, "floor_uring: %s: %s\n", what, strerror(-failed));
    exit(1);
}

static void open_ring(unsigned flags, int sq_cpu, unsigned buf_count, unsigned buf_size) {
    must("no io_uring in this mode", uring_open(&ring, 4096, 16384, flags, sq_cpu));
    must("no provided buffers", uring_buffers_open(&ring, &bufs, buf_count, buf_size));
    if (!opt_direct) return;
    struct io_uring_rsrc_register sparse = { .nr = DIRECT_FDS, .flags = IORING_RSRC_REGISTER_SPARSE };
    must("no direct descriptors", uring_register(ring.fd, IORING_REGISTER_FILES2, &sparse, sizeof sparse) < 0 ? -errno : 0);
}

int main(int argc, char **argv) {
    int port = 9001, sq_cpu = -1, min_wait_us = 0;
    unsigned buf_count = 1024, buf_size = 4096, flags = mode_flags("defer");
    bool json = false, defer_accept = false;
    const char *file = NULL;
    for (int o; (o = getopt(argc, argv, "p:f:t:n:b:m:S:M:jcdFBPowkZ")) != -1;) {
        switch (o) {
        case 'p': port = atoi(optarg); break;
        case 'f': file = optarg; break;
        case 't': file_way = way_of(optarg); break;
        case 'n': buf_count = (unsigned)atoi(optarg); break;
        case 'b': buf_size = (unsigned)atoi(optarg); break;
        case 'm': flags = mode_flags(optarg); break;
        case 'S': sq_cpu = atoi(optarg); break;
        case 'M': min_wait_us = atoi(optarg); break;
        case 'j': json = true; break;
        case 'c': opt_close = true; break;
        case 'd': defer_accept = true; break;
        case 'F': opt_direct = true; break;
        case 'B': opt_bundle = true; break;
        case 'P': opt_poll_first = true; break;
        case 'o': opt_oneshot = true; break;
        case 'w': opt_send_call = true; break;
        case 'k': opt_keep_cqe = true; break;
        case 'Z': opt_zc = true; break;
        default: return 2;
        }
    }
    signal(SIGPIPE, SIG_IGN);
    conns = calloc(MAX_FD, sizeof *conns);
    if (!conns) return 1;
    make_replies(json, opt_close);
    if (file) load_file(file);
    open_ring(flags, sq_cpu, buf_count, buf_size);
    listener = listen_on(port, defer_accept);
    arm_accept();
    run(min_wait_us);
}
