/* uring_raw.h - io_uring by raw system calls: the little that floor_uring.c and hload.c need
 *
 * One submission ring with its completions, and one ring of provided buffers. No liburing. Linux 6.1 or newer
 * for the modes the floor uses by default. */
#ifndef URING_RAW_H
#define URING_RAW_H
#include <errno.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than the headers of Debian 12. */
#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif
#ifndef IORING_RECVSEND_BUNDLE
#define IORING_RECVSEND_BUNDLE (1U << 4)
#endif

typedef struct {
    int      fd;
    int      enter_fd;       // registered index of fd, which is cheaper to enter; or fd itself
    unsigned enter_flags;    // IORING_ENTER_REGISTERED_RING when enter_fd is an index
    unsigned setup_flags;

    unsigned *sq_head, *sq_tail, *sq_flags;    // shared with the kernel
    unsigned  sq_mask, sq_entries;
    unsigned  tail, submitted;                 // ours: entries filled in, entries handed over
    struct io_uring_sqe *sqes;

    unsigned *cq_head, *cq_tail;               // shared with the kernel
    unsigned  cq_mask;
    struct io_uring_cqe *cqes;
} uring;

static inline int uring_register(int fd, unsigned op, void *arg, unsigned n) {
    return (int)syscall(__NR_io_uring_register, fd, op, arg, n);
}

/* ---- opening ------------------------------------------------------------------------------------------- */

/* Creates the ring; kernels before 6.6 do not know NO_SQARRAY, so that is dropped when refused. */
static int uring__setup(unsigned entries, struct io_uring_params *p) {
    struct io_uring_params wanted = *p;
    p->flags |= IORING_SETUP_NO_SQARRAY;
    int fd = (int)syscall(__NR_io_uring_setup, entries, p);
    if (fd >= 0 || errno != EINVAL) return fd;
    *p = wanted;
    return (int)syscall(__NR_io_uring_setup, entries, p);
}

static int uring__map(uring *u, const struct io_uring_params *p) {
    size_t sq_size = p->sq_off.array + p->sq_entries * sizeof(unsigned);
    size_t cq_size = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
    int prot = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_POPULATE;
    char *ring = mmap(NULL, sq_size > cq_size ? sq_size : cq_size, prot, flags, u->fd, IORING_OFF_SQ_RING);
    void *sqes = mmap(NULL, p->sq_entries * sizeof *u->sqes, prot, flags, u->fd, IORING_OFF_SQES);
    if (ring == MAP_FAILED || sqes == MAP_FAILED) return -errno;
    u->sqes       = sqes;
    u->sq_head    = (unsigned *)(ring + p->sq_off.head);
    u->sq_tail    = (unsigned *)(ring + p->sq_off.tail);
    u->sq_flags   = (unsigned *)(ring + p->sq_off.flags);
    u->sq_mask    = *(unsigned *)(ring + p->sq_off.ring_mask);
    u->sq_entries = p->sq_entries;
    u->cq_head    = (unsigned *)(ring + p->cq_off.head);
    u->cq_tail    = (unsigned *)(ring + p->cq_off.tail);
    u->cq_mask    = *(unsigned *)(ring + p->cq_off.ring_mask);
    u->cqes       = (struct io_uring_cqe *)(ring + p->cq_off.cqes);
    if (!(p->flags & IORING_SETUP_NO_SQARRAY)) {
        // We fill entries in order, so the table of indices is the identity and is written once.
        unsigned *indices = (unsigned *)(ring + p->sq_off.array);
        for (unsigned i = 0; i < p->sq_entries; i++) indices[i] = i;
    }
    return 0;
}

/* Opens a ring; returns 0 or -errno. With IORING_SETUP_SQPOLL the kernel's thread runs on `sq_cpu`, if >= 0. */
static int uring_open(uring *u, unsigned entries, unsigned cq_entries, unsigned flags, int sq_cpu) {
    struct io_uring_params p = { .flags = flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP, .cq_entries = cq_entries };
    if (flags & IORING_SETUP_SQPOLL) {
        p.sq_thread_idle = 100;
        if (sq_cpu >= 0) {
            p.flags |= IORING_SETUP_SQ_AFF;
            p.sq_thread_cpu = (unsigned)sq_cpu;
        }
    }
    memset(u, 0, sizeof *u);
    u->fd = uring__setup(entries, &p);
    if (u->fd < 0) return -errno;
    u->setup_flags = p.flags;
    int failed = uring__map(u, &p);
    if (failed) return failed;
    u->enter_fd = u->fd;
    struct io_uring_rsrc_update slot = { .offset = -1U, .data = (uint64_t)u->fd };
    if (uring_register(u->fd, IORING_REGISTER_RING_FDS, &slot, 1) == 1) {
        u->enter_fd    = (int)slot.offset;
        u->enter_flags = IORING_ENTER_REGISTERED_RING;
    }
    return 0;
}

/* ---- submitting ---------------------------------------------------------------------------------------- */

/* Hands the queued entries to the kernel and waits until `wait` completions are there, or the time of `arg`. */
static inline int uring_submit(uring *u, unsigned wait, struct io_uring_getevents_arg *arg) {
    unsigned flags = u->enter_flags, count = u->tail - u->submitted;
    __atomic_store_n(u->sq_tail, u->tail, __ATOMIC_RELEASE);
    if (u->setup_flags & IORING_SETUP_SQPOLL) {
        u->submitted = u->tail;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);    // the tail must be visible before we ask whether it sleeps
        if (__atomic_load_n(u->sq_flags, __ATOMIC_RELAXED) & IORING_SQ_NEED_WAKEUP) flags |= IORING_ENTER_SQ_WAKEUP;
        else if (!wait) return 0;
    }
    if (wait || (u->setup_flags & IORING_SETUP_DEFER_TASKRUN)) flags |= IORING_ENTER_GETEVENTS;
    if (arg) flags |= IORING_ENTER_EXT_ARG;
    int n = (int)syscall(__NR_io_uring_enter, u->enter_fd, count, wait, flags, arg, arg ? sizeof *arg : 0);
    if (n > 0 && !(u->setup_flags & IORING_SETUP_SQPOLL)) u->submitted += (unsigned)n;
    return n < 0 ? -errno : n;
}

/* The next free entry, zeroed. */
static inline struct io_uring_sqe *uring_sqe(uring *u) {
    while (u->tail - __atomic_load_n(u->sq_head, __ATOMIC_ACQUIRE) >= u->sq_entries) {
        uring_submit(u, 0, NULL);
    }
    struct io_uring_sqe *sqe = &u->sqes[u->tail++ & u->sq_mask];
    memset(sqe, 0, sizeof *sqe);
    return sqe;
}

/* ---- provided buffers ---------------------------------------------------------------------------------- */

typedef struct {
    struct io_uring_buf_ring *ring;
    char    *mem;
    unsigned count, mask, size;
    uint16_t tail, group;
} uring_buffers;

/* Gives buffer `id` back; the kernel sees it after uring_buffers_commit(). */
static inline void uring_buffers_put(uring_buffers *b, unsigned id) {
    struct io_uring_buf *slot = &b->ring->bufs[b->tail++ & b->mask];
    slot->addr = (uint64_t)(b->mem + (size_t)id * b->size);
    slot->len  = b->size;
    slot->bid  = (uint16_t)id;
}

static inline void uring_buffers_commit(uring_buffers *b) {
    __atomic_store_n(&b->ring->tail, b->tail, __ATOMIC_RELEASE);
}

/* Registers `count` (a power of two) buffers of `size` bytes; returns 0 or -errno. */
static int uring_buffers_open(uring *u, uring_buffers *b, unsigned count, unsigned size) {
    int prot = PROT_READ | PROT_WRITE, flags = MAP_ANONYMOUS | MAP_PRIVATE;
    *b = (uring_buffers){ .count = count, .mask = count - 1, .size = size };
    b->ring = mmap(NULL, count * sizeof(struct io_uring_buf), prot, flags | MAP_POPULATE, -1, 0);
    b->mem  = mmap(NULL, (size_t)count * size, prot, flags, -1, 0);
    if (b->ring == MAP_FAILED || b->mem == MAP_FAILED) return -ENOMEM;
    struct io_uring_buf_reg reg = { .ring_addr = (uint64_t)b->ring, .ring_entries = count, .bgid = b->group };
    if (uring_register(u->fd, IORING_REGISTER_PBUF_RING, &reg, 1) < 0) return -errno;
    for (unsigned id = 0; id < count; id++) {
        uring_buffers_put(b, id);
    }
    uring_buffers_commit(b);
    return 0;
}
#endif
