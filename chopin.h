/* chopin.h - v0.1.0 - HTTP server in one C file - MIT or public domain, see end of file

   Do this in ONE .c file (best: a two-line chopin.c), include it plainly elsewhere:
       #define CHOPIN_IMPLEMENTATION
       #include "chopin.h"
   Build:  cc -O2 app.c chopin.c -pthread

   THE SMALLEST SERVER
       #define CHOPIN_IMPLEMENTATION
       #include "chopin.h"
       CHOPIN_GET(hello, "/hello/:name") { return chopin_textf(c, 200, "Hello, %.*s!\n", CHOPIN_FMT(chopin_param(c, "name"))); }
       int main(int argc, char **argv) { return chopin_main(argc, argv, NULL); }
   It listens on 127.0.0.1:8080; --listen ADDRESS and --workers N say otherwise.

   WHAT IT DOES, WHAT IT DOES NOT
   HTTP/1.1 and 1.0 on Linux: one worker thread per CPU that shares nothing, io_uring or epoll, a strict parser, a radix router with groups and
   middleware, precomputed replies, straight-line handlers that may wait without blocking anybody (fibers), limits and deadlines on
   everything a peer can make grow, crash containment, graceful stop, an in-process test call. No heap call per request that fits its buffers.
   Bodies and replies of any size piece by piece, multipart, files with ranges and conditions, server-sent events, WebSocket with topics.
   Not there yet: kqueue, the JSON room and models, OpenAPI, TLS hooks, metrics. Never: HTTP/2 and 3, Windows, CGI, proxying, templates.

   MAP OF THIS FILE
   Declarations: chopin_str, status, options, server, routes, request, reply, middleware, waiting, testing. Then, if implemented here, rooms; each calls
   only rooms above it, and what must reach upwards is a function pointer:
       >>platform   system includes, compiler, CPU, clocks   >>files      names, types, conditions, ranges
       >>bytes      views, numbers, percent, UTF-8           >>ws         WebSocket: handshake, frames
       >>memory     allocator hook, arena, pool, slab        >>io         the port, the event, a backend's table
       >>fiber      stacks that can be left and continued    >>epoll      the backend for every Linux
       >>log        texts of statuses, the logger            >>uring      the backend for Linux 6.1 and newer
       >>time       timer wheel, Date                        >>script     the backend of the tests
       >>http1      request head, chunks, trailer            >>conn       one connection's life; parking; replies
       >>response   status lines, headers, output queue      >>stream     bodies and replies piece by piece
       >>json       the writer of chopin_jsonf()             >>websocket  WebSockets on connections; topics
       >>body       query, form, cookies, typed values       >>worker     one thread: loop, messages, faults, stop
       >>multipart  bodies made of parts                     >>server     options, addresses, chains, threads
       >>guard      addresses, proxies, origins, buckets     >>public     the API
       >>router     path patterns, a radix tree per method   >>folders    files and assets over HTTP

   COMPILE-TIME SWITCHES
       CHOPIN_IMPLEMENTATION        all Chopin headers included here are implemented here; CHOPIN_HTTP_IMPLEMENTATION: this one
       CHOPIN_API                   what stands before declarations      (default extern)
       CHOPIN_ASSERT(x)             our own mistakes                     (default assert)
       CHOPIN_NO_FIBERS             no fibers: waiting blocks the worker, bodies are read before the handler runs, no contain_faults, no io_uring
       CHOPIN_FIBER_UCONTEXT        fibers by ucontext instead of our own switch (x86-64, aarch64, armv7, riscv64)
       CHOPIN_NO_URING              leave io_uring out: 6 KB less. Builds for size (-Os) do so unless CHOPIN_WITH_URING is defined
       CHOPIN_NO_SIMD               eight bytes at a time instead of SSE2, AVX2 or NEON
       CHOPIN_WITH_ZLIB             compress WebSocket messages (permessage-deflate) and, with chopin_options.compress, replies; link with -lz
       CHOPIN_WITH_VALGRIND         tell valgrind of the stacks
       CHOPIN_UNWIND_TABLES         keep the tables for stack unwinding in gcc's -Os builds too (exceptions, profilers that need them)

   LIFE OF A REQUEST
   Bytes arrive in the worker's buffer and are parsed there; only what is incomplete is copied. The route's chain (middleware, then the handler) is
   called on the loop's own stack: a handler that does not wait costs a function call. One that waits parks its stack, the loop goes on on another
   one, and the buffer under its views becomes its own. The reply is appended to the connection's queue; all replies of one batch leave in one call.
   Without middleware a reply leaves the moment the helper is called; with middleware when the outermost one has returned.

   MEMORY AND OWNERSHIP
   Views given to a handler live until it returns, parked or not. chopin_alloc() and chopin_printf() live as long. Reply text may die when the helper has
   returned to its caller. An idle connection owns 256 bytes and no buffer. chopin_options.alloc replaces malloc for all but threads and fiber stacks.

   THREADS
   A handler runs on its worker's thread and never on another. Functions that take `chopin_ctx *` belong to that thread. chopin_stop(), chopin_post(),
   chopin_port(), chopin_counters_of() may be called from any. Hold no mutex across a wait.

   ERRORS AND LOGGING
   Calls give 0 or a negative chopin_status; chopin_status_text() is its text. The first set-up failure is remembered, logged, and returned by chopin_serve().
   One line per message to standard error, or chopin_options.log.

   LIMITS
   Every limit and deadline is a field of chopin_options; chopin_limits() prints those in force. Some can be set by CHOPIN_* environment variables.

   BACKENDS
   io_uring where the kernel has all that is used (Linux 6.1; containers often forbid it), else epoll: "auto", the default. A start that finds
   something missing says so in one log line. chopin_options.backend or CHOPIN_BACKEND names one. No handler can tell them apart.

   SHUTDOWN AND CRASHES
   SIGTERM, SIGINT or chopin_stop(): listeners close after their queue is served, idle connections close, the rest finishes until drain_timeout_ms; a second
   signal ends the process at once. With contain_faults a SIGSEGV, SIGBUS, SIGFPE, SIGILL, abort() or stack overflow in a handler answers 500 to that client
   alone. What the handler held stays held, locks included: after max_faults of them, an abort(), or a fault inside libc, the worker is replaced.

   TESTING YOUR HANDLERS
   chopin_test_request(app, CHOPIN_STR("GET / HTTP/1.0\r\n\r\n"), NULL) plays bytes to the whole stack without a socket, on a clock that jumps. */

#if (defined(CHOPIN_IMPLEMENTATION) || defined(CHOPIN_HTTP_IMPLEMENTATION)) && !defined(CHOPIN_HTTP_IMPLEMENTED) && !defined(_GNU_SOURCE)
#if defined(_FEATURES_H) || defined(_ERRNO_H) || defined(_STDLIB_H) || defined(_STDIO_H)
#error "chopin.h: its implementation must come before the first system header (it defines _GNU_SOURCE), best in a .c file of its own"
#endif
#define _GNU_SOURCE 1
#endif
#if !defined(_FILE_OFFSET_BITS) && (defined(CHOPIN_IMPLEMENTATION) || defined(CHOPIN_HTTP_IMPLEMENTATION))
#define _FILE_OFFSET_BITS 64
#endif

#ifndef CHOPIN_H
#define CHOPIN_H

#define CHOPIN_VERSION_MAJOR 0
#define CHOPIN_VERSION_MINOR 1
#define CHOPIN_VERSION_PATCH 0
#define CHOPIN_VERSION "0.1.0"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef CHOPIN_API
#define CHOPIN_API extern
#endif

#ifdef __GNUC__
#define CHOPIN__PRINTF(at, first) __attribute__((format(printf, at, first)))
#define CHOPIN__NORETURN          __attribute__((noreturn))
#else
#define CHOPIN__PRINTF(at, first)
#define CHOPIN__NORETURN
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- chopin_str: bytes that belong to somebody else (the same block stands in every Chopin header) ---- */
#ifndef CHOPIN_STR_DEFINED
#define CHOPIN_STR_DEFINED
/* A view: `len` bytes at `ptr`, not terminated by a NUL. Absent: .ptr is NULL. Empty: .ptr is set, .len is 0. */
typedef struct chopin_str {
    const char *ptr;
    size_t      len;
} chopin_str;
#ifdef __cplusplus
#define CHOPIN_STR(literal) (chopin_str{ "" literal, sizeof(literal) - 1 })
#else
#define CHOPIN_STR(literal) ((chopin_str){ "" literal, sizeof(literal) - 1 })
#endif
/* For printf's "%.*s". The argument is evaluated twice: it must have no side effect. */
#define CHOPIN_FMT(str) (int)(str).len, (str).ptr ? (str).ptr : ""
#endif

/* ---- status: what every call that can fail returns; 0 is good, failures are negative ---- */
#define CHOPIN_STATUSES(X)                                                                                    \
    X(OK,         0, "no error")                                                                              \
    X(ANSWERED,  -1, "this request has been answered already: the first reply stands")                        \
    X(GONE,      -2, "the client is gone: return from the handler")                                           \
    X(TIMEOUT,   -3, "the deadline passed (see the timeouts in chopin_options)")                              \
    X(CANCELED,  -4, "the server is stopping and its drain deadline passed: return from the handler")         \
    X(MEMORY,    -5, "out of memory (allocator, or raise chopin_options.max_arena)")                          \
    X(INVALID,   -6, "an argument is not valid; the log names it")                                            \
    X(TOO_LARGE, -7, "body too large (raise chopin_options.max_body or the route's)")                         \
    X(MALFORMED, -8, "the peer sent something that is not valid")                                             \
    X(FULL,      -9, "a queue or pool is full (raise max_parked or offload_queue)")                           \
    X(LATE,     -10, "too late: the head of this reply has left")                                             \
    X(CONFLICT, -11, "two routes claim the same method and pattern; the log names both places")               \
    X(ADDRESS,  -12, "cannot listen there; the log names the address and the reason")                         \
    X(SYSTEM,   -13, "a system call failed; the log names it and its errno")                                  \
    X(STATE,    -14, "not possible in this state (for example: a route added while serving)")                 \
    X(MISSING,  -15, "there is no such thing")

typedef enum chopin_status {
#define CHOPIN__ENUM(name, value, text) CHOPIN_##name = (value),
    CHOPIN_STATUSES(CHOPIN__ENUM)
#undef CHOPIN__ENUM
    CHOPIN_STATUS_LAST_ = 0
} chopin_status;

/* The text of a status, in lower case; never NULL. Any thread. */
CHOPIN_API const char *chopin_status_text(int status);

/* ---- the objects ---- */
typedef struct chopin_group  chopin_group;  /* a prefix with its routes, middleware and user data */
typedef struct chopin_group  chopin_app;    /* the outermost group: the server itself; groups are accepted wherever an app is */
typedef struct chopin_ctx    chopin_ctx;    /* one request and its reply, as a handler sees them */
typedef struct chopin_worker chopin_worker;
typedef struct chopin_ws chopin_ws; /* one thread of the server */

/* A handler answers with a reply helper and returns what that helper returned.
 *
 *     static int hi(chopin_ctx *c) { return chopin_text(c, 200, "hi\n"); }
 *
 * 0 without a reply: the client gets 500 and the log names the route. Negative before the head left: 500, the reason
 * goes to the log only. Negative after it: the connection is cut. Middleware has the same signature and calls
 * chopin_next() or does not. Runs on the worker's thread; must not block it except through the waits below. */
typedef int (*chopin_handler)(chopin_ctx *c);

/* ---- options: zero is a good server; defaults are resolved once, in chopin_new() ---- */
typedef enum chopin_level { CHOPIN_DEBUG, CHOPIN_INFO, CHOPIN_WARNING, CHOPIN_ERROR } chopin_level;

/* "No limit" for the sizes below that may be unlimited (max_body). */
#define CHOPIN_NO_LIMIT SIZE_MAX

typedef struct chopin_options {
    /* workers */
    int         workers;              /* threads                       (default: CPUs of our affinity mask, capped by the cgroup quota; CHOPIN_WORKERS) */
    bool        pin_workers;          /* bind worker i to the i-th CPU of the mask */
    const char *backend;              /* "auto", "uring" (io_uring), "epoll": see BACKENDS above  (default "auto"; CHOPIN_BACKEND) */
    bool        sqpoll;               /* io_uring: a kernel thread submits, which wants a CPU of its own */
    bool        share_port;           /* do not look for another server on the port: a successor starts beside the old one */
    bool        defer_accept;         /* TCP_DEFER_ACCEPT: accept when data has come (hides silent clients) */
    bool        steer_by_cpu;         /* a connection goes to worker number (CPU it came in on) modulo workers; use with pin_workers (SO_ATTACH_REUSEPORT_CBPF) */
    int         busy_poll_us;         /* SO_BUSY_POLL: spin so long for packets, where the network driver can */
    int         fast_open;            /* TCP_FASTOPEN: queue of connections whose first data came with their SYN; requests may then come twice */
    const char *congestion;           /* TCP_CONGESTION of our listeners, as "cubic"; those of fd:N and systemd keep theirs  (default: the system's; on a
                                         loopback address "reno" where that is BBR, which paces: there it at times takes 34 ms for 1 MiB) */
    int         backlog;              /* queue of unaccepted connections  (default 8192, capped by the kernel) */
    int         epoll_timeout_ms;     /* upper bound of one wait, -1 never waits  (default: sleep to the next deadline; CHOPIN_EPOLL_TIMEOUT_MS) */
    bool        no_signals;           /* leave SIGTERM, SIGINT and SIGPIPE alone */
    bool        no_env;               /* ignore the CHOPIN_* environment variables */
    /* what a peer may make grow */
    size_t      max_connections;      /* per worker                    (default 16000; CHOPIN_SLAB_CAPACITY) */
    size_t      max_per_address;      /* connections per worker of one IPv4 address or IPv6 /64  (default 0: off) */
    size_t      max_requests;         /* of one connection, then Connection: close  (default 0: no bound) */
    size_t      read_buffer;          /* bytes a worker reads at once  (default 65536; CHOPIN_READ_BUF_SIZE) */
    size_t      write_buffer;         /* one block of pending output   (default 32768; CHOPIN_WRITE_BUF_SIZE) */
    size_t      max_method;           /* bytes                         (default 32) */
    size_t      max_target;           /* bytes                         (default 8192) */
    size_t      max_header_line;      /* bytes                         (default 8192) */
    size_t      max_head;             /* request line and headers      (default 32768) */
    size_t      max_headers;          /* fields; trailers share them   (default 100) */
    size_t      max_body;             /* decoded bytes                 (default 1 MiB; CHOPIN_NO_LIMIT for none) */
    size_t      max_chunk_line;       /* bytes                         (default 1024) */
    size_t      max_chunk_extensions; /* bytes of one body             (default 16384) */
    size_t      max_drain;            /* unread body that is read and thrown away to keep a connection  (default 256 KiB) */
    size_t      max_form_fields;      /* of a form body                (default 1000) */
    size_t      max_parts;            /* of a multipart body           (default 256) */
    size_t      max_part_head;        /* bytes of the head of one part (default 8 KiB) */
    size_t      max_part_name;        /* of a field                    (default 255) */
    size_t      max_field;            /* data of a part that is no file  (default 64 KiB) */
    size_t      max_arena;            /* request memory, body not counted  (default 1 MiB) */
    size_t      high_water;           /* unsent bytes at which parsing pauses  (default 64 KiB) */
    size_t      low_water;            /* unsent bytes at which it goes on      (default 16 KiB) */
    size_t      ws_max_message;       /* bytes; longer ones end the WebSocket with 1009  (default 1 MiB) */
    size_t      ws_max_frame;         /* bytes of one frame            (default 1 MiB) */
    size_t      ws_max_topics;        /* that one WebSocket may subscribe to  (default 64) */
    size_t      file_cache;           /* descriptors of files that a worker keeps open  (default 0: none) */
    size_t      max_queue;            /* unsent bytes of a WebSocket beyond which broadcasts pass it by  (default 1 MiB) */
    size_t      max_parked;           /* waiting handlers per worker   (default 16000) */
    size_t      stack_size;           /* of a fiber                    (default 64 KiB) */
    int         offload_threads;      /* for chopin_offload            (default: CPUs, at most 4) */
    int         offload_queue;        /* jobs waiting for them         (default 1024) */
    /* deadlines, in milliseconds; -1 turns one off */
    int         header_timeout_ms;    /* first byte to end of head     (default 10000) */
    int         body_stall_ms;        /* without a byte of the body    (default 30000) */
    int         min_body_rate;        /* bytes per second, after 10 s  (default 1024) */
    int         handler_timeout_ms;   /* waits then return TIMEOUT     (default off) */
    int         write_stall_ms;       /* the peer takes nothing        (default 30000) */
    int         min_send_rate;        /* bytes per second, after 10 s  (default 1024) */
    int         idle_timeout_ms;      /* between requests, or none ever  (default 60000) */
    int         ws_ping_ms;           /* a WebSocket was silent: it is pinged  (default 30000) */
    int         ws_pong_ms;           /* ... and cut unless something comes  (default 10000) */
    int         ws_close_ms;          /* for the other side's close frame  (default 5000) */
    int         sse_heartbeat_ms;     /* a comment line in streams of events whose handler waits  (default 15000; -1: none) */
    int         linger_ms;            /* input thrown away after an early error  (default 2000) */
    int         drain_timeout_ms;     /* from stop to the end          (default 30000) */
    int         loop_warn_ms;         /* log a handler that held the loop this long  (default 50) */
    /* behaviour */
    bool        no_keepalive;         /* answer, then close */
    bool        no_date;              /* leave out the Date header */
    const char *server;               /* Server header                 (default "chopin"; "" leaves it out) */
    bool        compress;             /* with CHOPIN_WITH_ZLIB: gzip or deflate for text types, for clients that accept it; bodies up to 1 MiB, and streams */
    size_t      compress_min;         /* smaller bodies are left alone (default 1024) */
    bool        redirect_slash;       /* 308 from /a/ to /a (or back) when only the other one is a route */
    bool        contain_faults;       /* a crash in a handler answers 500 to that client alone (see SHUTDOWN AND CRASHES) */
    int         max_faults;           /* after so many a worker is replaced  (default 16) */
    const char *trusted_proxies;      /* "10.0.0.0/8, ::1": whose X-Forwarded-For is believed  (default: nobody) */
    /* hooks */
    void       *user;                 /* chopin_app_user() returns it */
    int       (*on_worker_start)(chopin_worker *w, void *user); /* on the worker's thread, before its first connection; negative stops the start */
    void      (*on_worker_stop)(chopin_worker *w, void *user);  /* on the worker's thread, after its last connection; not after a start that failed */
    void      (*log)(void *user, chopin_level level, const char *text); /* any thread  (default: one line to stderr) */
    chopin_level log_level;           /* what is below is not logged   (default CHOPIN_INFO) */
    bool        quiet;                /* log errors only */
    void     *(*alloc)(void *ctx, void *ptr, size_t old_size, size_t new_size); /* new_size 0 frees; any thread  (default malloc family) */
    void       *alloc_ctx;            /* first argument of alloc */
} chopin_options;

typedef struct chopin_route_options {
    size_t      max_body;             /* decoded bytes                 (default: the app's; CHOPIN_NO_LIMIT for none) */
    int         handler_timeout_ms;   /* as in chopin_options          (default: the app's) */
    int         body_stall_ms;        /* as in chopin_options          (default: the app's) */
    int         min_body_rate;        /* as in chopin_options          (default: the app's) */
    size_t      stack_size;           /* its handler needs so much, up to 1 GiB: all fibers of the app get it, and cost what they touch  (default: the app's) */
    void       *user;                 /* chopin_route_user() returns it */
    const chopin_handler *use;        /* NULL-terminated list of middleware of this route alone */
} chopin_route_options;

/* ---- the server ---- */

/* A new server; NULL options are the defaults. The options are copied, strings included. Bad options and bad
 * environment variables are remembered and returned by chopin_serve(). NULL: out of memory. See examples/routes.c. */
CHOPIN_API chopin_app *chopin_new(const chopin_options *options);

/* Frees everything. After chopin_serve() has returned, or after chopin_close(). NULL is fine. */
CHOPIN_API void chopin_free(chopin_app *app);

/* The options in force, environment and defaults resolved. Lives as long as `app`. Any thread. */
CHOPIN_API const chopin_options *chopin_options_of(chopin_app *app);

/* Prints the table of limits and timeouts in force to standard output. */
CHOPIN_API void chopin_limits(chopin_app *app);

/* Adds an address: "0.0.0.0:8080", ":8080" (every IPv4 and IPv6 address), "[::]:8080", "localhost:0", "unix:/path", "unix:@abstract",
 * "fd:3" (an inherited listening socket), "systemd" (LISTEN_FDS). Port 0 picks a free one, see chopin_port(). Binding happens in
 * chopin_serve() or chopin_open(). Negative: CHOPIN_INVALID (not an address), CHOPIN_MEMORY, CHOPIN_STATE. Before serving only. */
CHOPIN_API int chopin_listen(chopin_app *app, const char *address);

/* Listens on `address` (NULL: only those of chopin_listen), runs the workers, and returns when the server has stopped.
 * 0: stopped as asked, by SIGTERM, SIGINT or chopin_stop(). Negative: it did not start; the reason was logged and
 * is what chopin_error() returns. The first failure of an earlier chopin_route() and the like is returned here too. */
CHOPIN_API int chopin_serve(chopin_app *app, const char *address);

/* What went wrong in set-up, in one line; "" if nothing did. Lives as long as `app`. */
CHOPIN_API const char *chopin_error(chopin_app *app);

/* The port of the nth address (0 is the first), 0 while it is not bound or for unix sockets. Any thread, once serving. */
CHOPIN_API int chopin_port(chopin_app *app, int nth);

/* Stops the server: listeners close after their queue is accepted, idle connections close, requests in flight finish
 * until drain_timeout_ms. From any thread, a handler or a signal handler; before chopin_serve(), and twice, too. */
CHOPIN_API void chopin_stop(chopin_app *app);

/* Embedding into a loop of your own: one worker on the calling thread.
 *
 *     chopin_listen(app, ":8080"); chopin_open(app);
 *     for (;;) { poll chopin_fd(app) for input, at most chopin_next_deadline(app) ms; chopin_step(app, 0); }
 *
 * open: 0 or negative as chopin_serve(). fd: readable when there is work (-1 on failure). next_deadline: milliseconds until chopin_step()
 * must be called even without input, -1 for never. step: does what is ready, waiting at most `timeout_ms` (-1: until something happens);
 * 1 while serving, 0 once stopped, negative on failure. close: ends at once. All on one
 * thread, which with io_uring may see one sleep of its own end early (EINTR) after close. See examples/embed_loop.c. */
CHOPIN_API int chopin_open(chopin_app *app);
CHOPIN_API int chopin_fd(chopin_app *app);
CHOPIN_API int chopin_next_deadline(chopin_app *app);
CHOPIN_API int chopin_step(chopin_app *app, int timeout_ms);
CHOPIN_API void chopin_close(chopin_app *app);

/* main() for a server: words `serve` (the default) and `routes` (prints the table); options --listen ADDRESS (may be
 * repeated; default 127.0.0.1:8080), --workers N, --help. `app` may be NULL: then the routes of CHOPIN_GET and its siblings are served.
 * If chopin_mount_all() has not been called it is called here. Frees `app`. Returns the exit status: 0, or 1 with the reason on stderr.
 * See examples/hello.c. */
CHOPIN_API int chopin_main(int argc, char **argv, chopin_app *app);

/* ---- routes ---- */

/* Adds a route. Patterns: "/users/:id" (one segment), "/users/:id<u64>" (404 unless it fits: i64, u64, f64, uuid), "/files/ *rest" without the
 * blank (the whole remainder, possibly empty). Static beats :param beats *rest, in whatever order they are added. Any token
 * is a method. GET answers HEAD too; OPTIONS and 405 are automatic. `options` may be NULL and is copied.
 * Two routes with one method and pattern: CHOPIN_CONFLICT, both places in the log, and chopin_serve() refuses to start.
 * 0 or negative (INVALID, CONFLICT, MEMORY, STATE). Before serving only. See examples/routes.c. */
#define chopin_route(app, method, pattern, handler, ... /* options: the commas of a compound literal may stand in it */) \
    chopin_route_at(app, method, pattern, handler, (__VA_ARGS__), #handler, __FILE__, __LINE__)
CHOPIN_API int chopin_route_at(chopin_app *app, const char *method, const char *pattern, chopin_handler handler,
                               const chopin_route_options *options, const char *name, const char *file, int line);

/* A group: its prefix stands before each of its patterns; its middleware and user data reach what is below. Lives as long as
 * `app`. Out of memory: `app` itself is returned and the failure remembered. */
CHOPIN_API chopin_group *chopin_group_new(chopin_app *app, const char *prefix);
CHOPIN_API void          chopin_group_set_user(chopin_group *group, void *user);

/* Adds middleware to everything under `prefix` (whole segments; "/" is everything in the group), also to 404, 405 and error
 * replies there. Order of registration is order of call. What counts is the path that was asked for, decoded:
 * "/admin" also covers "/%61dmin/x" and a request to "/admin/x" that a route "/:section/x" answers. `data` is what chopin_use_data() returns inside it. */
CHOPIN_API int   chopin_use(chopin_app *app, const char *prefix, chopin_handler middleware);
CHOPIN_API int   chopin_use_with(chopin_app *app, const char *prefix, chopin_handler middleware, void *data);
CHOPIN_API void *chopin_use_data(chopin_ctx *c);

/* In middleware: runs the rest of the chain and returns its status. Afterwards headers may still be changed until the
 * reply leaves, which is when the outermost middleware returns. Calling it twice: CHOPIN_STATE. */
CHOPIN_API int chopin_next(chopin_ctx *c);

/* A precomputed reply to GET and HEAD: status line, headers and body are ready bytes, only Date is patched; no handler runs unless
 * middleware covers the path. `body` is copied. chopin_fixed_with() takes the decorations. */
typedef struct chopin_fixed_options {
    const char *type;                 /* Content-Type                  (default "text/plain; charset=utf-8") */
    chopin_str  body;                 /* copied */
    int         status;               /* (default 200) */
    const char *cache_control;        /* "public, max-age=3600"        (default: none) */
    const char *allow_origin;         /* Access-Control-Allow-Origin; "*" or one origin  (default: none) */
    const char *headers;              /* further lines, each "Name: value\r\n", checked  (default: none) */
    bool        no_etag;              /* leave out the ETag made from the body's hash, and If-None-Match with it */
} chopin_fixed_options;
#define chopin_fixed(app, path, type, body) chopin_fixed_at(app, path, type, body, __FILE__, __LINE__)
#define chopin_fixed_with(app, path, ... /* options */) chopin_fixed_with_at(app, path, (__VA_ARGS__), __FILE__, __LINE__)
CHOPIN_API int chopin_fixed_at(chopin_app *app, const char *path, const char *type, const char *body, const char *file, int line);
CHOPIN_API int chopin_fixed_with_at(chopin_app *app, const char *path, const chopin_fixed_options *options, const char *file, int line);

/* Routes that register themselves when the program is loaded, from any file, in any link order:
 *
 *     CHOPIN_GET(hello, "/hello/:name") { return chopin_text(c, 200, "hi"); }
 *
 * defines `static int hello(chopin_ctx *c)`. chopin_mount_all() mounts them, sorted by pattern and method; chopin_main() calls it.
 * From a static archive they are linked only if their object is referenced, or with -Wl,--whole-archive. */
typedef struct chopin_attribute_route {
    const char    *method, *pattern, *name, *file;
    int            line;
    chopin_handler handler;
    struct chopin_attribute_route *next;
} chopin_attribute_route;
CHOPIN_API void chopin_attribute_add(chopin_attribute_route *route); /* called before main() by the macros below */
CHOPIN_API int  chopin_mount_all(chopin_app *app);                   /* 0, or the first failure of chopin_route() */

#define CHOPIN_ROUTE(method, fn, pattern)                                                                              \
    static int fn(chopin_ctx *c);                                                                                      \
    static chopin_attribute_route chopin_attribute_##fn = { method, pattern, #fn, __FILE__, __LINE__, fn, NULL };      \
    __attribute__((constructor)) static void chopin_attribute_add_##fn(void) { chopin_attribute_add(&chopin_attribute_##fn); } \
    static int fn(chopin_ctx *c)
#define CHOPIN_GET(fn, pattern)     CHOPIN_ROUTE("GET", fn, pattern)
#define CHOPIN_HEAD(fn, pattern)    CHOPIN_ROUTE("HEAD", fn, pattern)
#define CHOPIN_POST(fn, pattern)    CHOPIN_ROUTE("POST", fn, pattern)
#define CHOPIN_PUT(fn, pattern)     CHOPIN_ROUTE("PUT", fn, pattern)
#define CHOPIN_PATCH(fn, pattern)   CHOPIN_ROUTE("PATCH", fn, pattern)
#define CHOPIN_DELETE(fn, pattern)  CHOPIN_ROUTE("DELETE", fn, pattern)
#define CHOPIN_OPTIONS(fn, pattern) CHOPIN_ROUTE("OPTIONS", fn, pattern)
#define CHOPIN_TRACE(fn, pattern)   CHOPIN_ROUTE("TRACE", fn, pattern)
#define CHOPIN_CONNECT(fn, pattern) CHOPIN_ROUTE("CONNECT", fn, pattern)     /* its path is "/"; the connection ends with the reply */

/* ---- the request; every view is valid until the handler returns, parked or not ---- */

/* Header names that the parser files into slots: chopin_header_of() finds them without a search. */
#define CHOPIN_HEADERS(X)                                                                                            \
    X(HOST, "host") X(CONNECTION, "connection") X(CONTENT_LENGTH, "content-length")                                  \
    X(TRANSFER_ENCODING, "transfer-encoding") X(CONTENT_TYPE, "content-type") X(EXPECT, "expect") X(TE, "te")        \
    X(TRAILER, "trailer") X(UPGRADE, "upgrade") X(ACCEPT, "accept") X(ACCEPT_ENCODING, "accept-encoding")            \
    X(ACCEPT_LANGUAGE, "accept-language") X(AUTHORIZATION, "authorization") X(COOKIE, "cookie")                      \
    X(USER_AGENT, "user-agent") X(REFERER, "referer") X(ORIGIN, "origin") X(RANGE, "range")                          \
    X(IF_MATCH, "if-match") X(IF_NONE_MATCH, "if-none-match") X(IF_MODIFIED_SINCE, "if-modified-since")              \
    X(IF_UNMODIFIED_SINCE, "if-unmodified-since") X(IF_RANGE, "if-range") X(CACHE_CONTROL, "cache-control")          \
    X(PRAGMA, "pragma") X(DATE, "date") X(FORWARDED, "forwarded") X(X_FORWARDED_FOR, "x-forwarded-for")              \
    X(X_FORWARDED_PROTO, "x-forwarded-proto") X(X_FORWARDED_HOST, "x-forwarded-host") X(X_REAL_IP, "x-real-ip")      \
    X(X_REQUEST_ID, "x-request-id") X(CONTENT_ENCODING, "content-encoding") X(CONTENT_LANGUAGE, "content-language")  \
    X(CONTENT_DISPOSITION, "content-disposition") X(KEEP_ALIVE, "keep-alive") X(DNT, "dnt") X(VIA, "via")            \
    X(ACCESS_CONTROL_REQUEST_METHOD, "access-control-request-method")                                                \
    X(ACCESS_CONTROL_REQUEST_HEADERS, "access-control-request-headers")                                              \
    X(SEC_FETCH_SITE, "sec-fetch-site") X(SEC_FETCH_MODE, "sec-fetch-mode") X(SEC_FETCH_DEST, "sec-fetch-dest")      \
    X(SEC_WEBSOCKET_KEY, "sec-websocket-key") X(SEC_WEBSOCKET_VERSION, "sec-websocket-version")                      \
    X(SEC_WEBSOCKET_PROTOCOL, "sec-websocket-protocol") X(LAST_EVENT_ID, "last-event-id")

typedef enum chopin_header_id {
#define CHOPIN__ENUM(name, text) CHOPIN_H_##name,
    CHOPIN_HEADERS(CHOPIN__ENUM)
#undef CHOPIN__ENUM
    CHOPIN_H_COUNT
} chopin_header_id;

CHOPIN_API chopin_str chopin_method(chopin_ctx *c);       /* "GET" */
CHOPIN_API chopin_str chopin_target(chopin_ctx *c);       /* as sent: path, '?' and query */
CHOPIN_API chopin_str chopin_path(chopin_ctx *c);         /* as sent, without the query; "/" at least, "*" for OPTIONS * */
CHOPIN_API chopin_str chopin_path_decoded(chopin_ctx *c); /* percent-decoded once; absent when the arena is full */
CHOPIN_API chopin_str chopin_query_string(chopin_ctx *c); /* behind the '?', as sent; absent without one */
CHOPIN_API chopin_str chopin_host(chopin_ctx *c);         /* authority of the target, else the Host header; absent on HTTP/1.0 without one */
CHOPIN_API int        chopin_http_minor(chopin_ctx *c);   /* 0 or 1 */

/* A path parameter of the route, percent-decoded once ("%2f" inside stays in its segment). Absent: no such parameter. */
CHOPIN_API chopin_str chopin_param(chopin_ctx *c, const char *name);

/* The value of `name` in the query string, percent-decoded ('+' stays '+': it means a blank in forms only).
 *
 *     chopin_str page = chopin_query(c, "page");
 *     if (!page.ptr) page = CHOPIN_STR("1");
 *
 * Absent: .ptr is NULL. Present but empty (`?page=`): .ptr is set and .len is 0. Names match byte for byte as sent; the first match
 * wins. When the request arena is full the view is absent and the reply becomes a 503. Handler's thread only. See examples/kitchen_sink.c. */
CHOPIN_API chopin_str chopin_query(chopin_ctx *c, const char *name);

/* The first value of a header, blanks around it trimmed; names match in any case. Absent: .ptr is NULL.
 * chopin_header_of() needs no search; chopin_header_nth() gives the 0th, 1st, ... line of that name;
 * chopin_header_each() walks over all: start with *at = 0, it returns false at the end. */
CHOPIN_API chopin_str chopin_header(chopin_ctx *c, const char *name);
CHOPIN_API chopin_str chopin_header_of(chopin_ctx *c, chopin_header_id id);
CHOPIN_API chopin_str chopin_header_nth(chopin_ctx *c, const char *name, size_t nth);
CHOPIN_API bool       chopin_header_each(chopin_ctx *c, size_t *at, chopin_str *name, chopin_str *value);

/* A field of the trailer of a chunked body; readable once the body has been read. Never mixed with headers (RFC 9110 6.5). */
CHOPIN_API chopin_str chopin_trailer(chopin_ctx *c, const char *name);

/* The value of a cookie, as sent, quotes around it removed (RFC 6265). The first of that name. */
CHOPIN_API chopin_str chopin_cookie(chopin_ctx *c, const char *name);

/* The whole body, decoded from chunks. Parks until it has arrived; sends 100 Continue if the client waits for that. Without a body: empty,
 * .ptr set. Over the limit, malformed, timed out or client gone: absent, and the client has been answered (413, 400, 408) or cut. */
CHOPIN_API chopin_str chopin_body(chopin_ctx *c);

/* The body piece by piece, decoded: up to `n` bytes into `buf`, at least one; 0 at its end, when the trailer may be asked for. Parks until some have
 * come; the peer is held back by TCP meanwhile, so memory does not grow with the body. The bytes go straight into `buf`. The route's max_body
 * counts here too (CHOPIN_NO_LIMIT: none). What is not read is thrown away, or ends the connection. Negative: MALFORMED, TIMEOUT, ANSWERED (the
 * client has been told 400, 408 or 413), GONE, CANCELED, FULL. After the first call chopin_body() is absent. See examples/kitchen_sink.c (/sink). */
CHOPIN_API int64_t chopin_read(chopin_ctx *c, void *buf, size_t n);

/* The rest of the body into a file, written by the threads of chopin_offload(). Gives how many bytes, or negative as chopin_read(), or SYSTEM
 * (write failed: errno; 500 has not been answered yet). See examples/files.c. */
CHOPIN_API int64_t chopin_save_body(chopin_ctx *c, int fd);

/* A field of an application/x-www-form-urlencoded body, decoded ('+' is a blank). Reads the body on first use. Another content type: 415 is
 * answered; not well-formed: 400; then, as when there is no such field, absent. */
CHOPIN_API chopin_str chopin_form(chopin_ctx *c, const char *name);

/* The parts of a multipart/form-data body (RFC 7578), one after the other, as they come:
 *
 *     for (chopin_part p; (rc = chopin_next_part(c, &p)) > 0; ) {
 *         if (!p.file) note(p.name, chopin_part_text(c));
 *         else if ((path = chopin_part_store(c, "uploads")).ptr) keep(p.safe_name, path);
 *     }
 *
 * next_part: 1, 0 behind the last one, negative: the client has been told (400, 408, 413, 415) or is gone. What was not read of a part is skipped. The views in `part` live until
 * the next call. part_read: as chopin_read(), to the end of the part. part_text: all of it, in the arena, for fields (max_field); absent on failure. part_save: into a
 * descriptor, written by the threads of chopin_offload(); bytes or negative. part_temp: into a file without a name in `folder`, which vanishes with its
 * descriptor: that, at its beginning, yours to close, or negative. part_store: into a new file in `folder` under a random name (0600): its path, NUL-terminated, in the arena; on
 * failure the file is removed and the path absent. Memory does not grow with the body. max_body bounds the whole, max_field what is no file.
 * Handler's thread only. See examples/files.c. */
typedef struct chopin_part {
    chopin_str name;                  /* of the field */
    chopin_str filename;              /* as sent, any bytes: never open that; absent unless it is a file */
    chopin_str safe_name;             /* made of it: one path component in UTF-8, no controls, no leading dot, at most 255 bytes; NUL-terminated */
    chopin_str type;                  /* Content-Type as sent; absent: text/plain */
    bool       file;
} chopin_part;
CHOPIN_API int        chopin_next_part (chopin_ctx *c, chopin_part *part);
CHOPIN_API chopin_str chopin_part_header(chopin_ctx *c, const char *name); /* another header of the part; absent: none */
CHOPIN_API int64_t    chopin_part_read (chopin_ctx *c, void *buf, size_t n);
CHOPIN_API chopin_str chopin_part_text (chopin_ctx *c);
CHOPIN_API int64_t    chopin_part_save (chopin_ctx *c, int fd);
CHOPIN_API int        chopin_part_temp (chopin_ctx *c, const char *folder);
CHOPIN_API chopin_str chopin_part_store(chopin_ctx *c, const char *folder);

/* Typed getters. `from` says where the text comes from. The first kind answers 400 with the parameter's name, and returns CHOPIN_ANSWERED, when it is
 * missing or does not fit; the `_or` kind never answers and gives `fallback` then.
 * Integers: decimal digits with an optional '-'; bool: 1 0 true false yes no on off; enum: the index in a NULL-terminated list. */
typedef enum chopin_from { CHOPIN_FROM_PARAM, CHOPIN_FROM_QUERY, CHOPIN_FROM_FORM, CHOPIN_FROM_HEADER, CHOPIN_FROM_COOKIE } chopin_from;
CHOPIN_API int chopin_get_i64 (chopin_ctx *c, chopin_from from, const char *name, int64_t *out);
CHOPIN_API int chopin_get_u64 (chopin_ctx *c, chopin_from from, const char *name, uint64_t *out);
CHOPIN_API int chopin_get_f64 (chopin_ctx *c, chopin_from from, const char *name, double *out);
CHOPIN_API int chopin_get_bool(chopin_ctx *c, chopin_from from, const char *name, bool *out);
CHOPIN_API int chopin_get_enum(chopin_ctx *c, chopin_from from, const char *name, const char *const *words, int *out);
CHOPIN_API int chopin_get_str (chopin_ctx *c, chopin_from from, const char *name, chopin_str *out); /* 400 when missing */
CHOPIN_API int64_t    chopin_get_i64_or (chopin_ctx *c, chopin_from from, const char *name, int64_t fallback);
CHOPIN_API uint64_t   chopin_get_u64_or (chopin_ctx *c, chopin_from from, const char *name, uint64_t fallback);
CHOPIN_API double     chopin_get_f64_or (chopin_ctx *c, chopin_from from, const char *name, double fallback);
CHOPIN_API bool       chopin_get_bool_or(chopin_ctx *c, chopin_from from, const char *name, bool fallback);
CHOPIN_API int        chopin_get_enum_or(chopin_ctx *c, chopin_from from, const char *name, const char *const *words, int fallback);
CHOPIN_API chopin_str chopin_get_str_or (chopin_ctx *c, chopin_from from, const char *name, chopin_str fallback);

/* The address of the other end of the connection, "192.0.2.1" or "2001:db8::1" ("unix" on a unix socket), and its port. */
CHOPIN_API chopin_str chopin_peer_address(chopin_ctx *c);
CHOPIN_API int        chopin_peer_port(chopin_ctx *c);

/* The client's address: the peer's, or, when the peer is one of chopin_options.trusted_proxies, the rightmost address of X-Forwarded-For that
 * is not a trusted proxy. A malformed list stops the walk at the last good address. */
CHOPIN_API chopin_str chopin_client_address(chopin_ctx *c);

/* Sixteen hex digits that name this request in the log; the client's X-Request-Id is not trusted. */
CHOPIN_API chopin_str chopin_request_id(chopin_ctx *c);

/* User data, outermost to innermost. chopin_set_user() sets this request's. */
CHOPIN_API void *chopin_app_user(chopin_ctx *c);
CHOPIN_API void *chopin_group_user(chopin_ctx *c); /* of the innermost group that has some, else NULL */
CHOPIN_API void *chopin_route_user(chopin_ctx *c);
CHOPIN_API void *chopin_user(chopin_ctx *c);
CHOPIN_API void  chopin_set_user(chopin_ctx *c, void *user);
CHOPIN_API void *chopin_worker_user(chopin_ctx *c);
CHOPIN_API void  chopin_worker_set_user(chopin_worker *w, void *user); /* in on_worker_start */
CHOPIN_API void *chopin_worker_get_user(chopin_worker *w);             /* in on_worker_stop */
CHOPIN_API int   chopin_worker_index(chopin_worker *w);                /* 0, 1, ... */
CHOPIN_API chopin_worker *chopin_worker_of(chopin_ctx *c);             /* what chopin_wait() wants */

/* Request memory: zeroed, aligned for any type, freed with the request. NULL when max_arena is reached; the reply then becomes a 503. */
CHOPIN_API void      *chopin_alloc(chopin_ctx *c, size_t size);
CHOPIN_API chopin_str chopin_printf(chopin_ctx *c, const char *format, ...) CHOPIN__PRINTF(2, 3); /* also NUL-terminated; absent on failure */

/* ---- the reply ----
 * Each helper answers once and returns 0; a second reply of the same request is refused: it returns 0 too, so that a handler whose getter has
 * answered may simply go on, and the log says so unless that getter was ours. Negative: GONE, MEMORY, INVALID (bad status or content type).
 * Text and borrowed bytes must live until the helper's caller returns. */
CHOPIN_API int chopin_text (chopin_ctx *c, int status, const char *text);                       /* text/plain; charset=utf-8 */
CHOPIN_API int chopin_textf(chopin_ctx *c, int status, const char *format, ...) CHOPIN__PRINTF(3, 4);
CHOPIN_API int chopin_html (chopin_ctx *c, int status, const char *html);                       /* text/html; charset=utf-8, not escaped */
CHOPIN_API int chopin_bytes(chopin_ctx *c, int status, const char *type, chopin_str bytes);     /* borrowed: see above */
CHOPIN_API int chopin_bytes_static(chopin_ctx *c, int status, const char *type, chopin_str bytes); /* never copied, must live for ever */
CHOPIN_API int chopin_bytes_owned(chopin_ctx *c, int status, const char *type, chopin_str bytes,
                                  void (*release)(void *arg), void *arg); /* release(arg) once sent, or on failure: always exactly once */
CHOPIN_API int chopin_empty(chopin_ctx *c, int status);                                         /* status only */
CHOPIN_API int chopin_redirect(chopin_ctx *c, int status, const char *location);                /* 301 302 303 307 308 */

/* JSON from a template: bare words become keys, and
 *     %d int   %u unsigned   %ld %lu %lld %llu %zu   %f double (shortest text that reads back)   %b bool (int)
 *     %s const char *, quoted and escaped   %q chopin_str, quoted and escaped   %j chopin_str that is JSON already   %n null
 *     chopin_jsonf(c, 200, "{id:%d,name:%q,tags:[%s,%s]}", id, name, a, b)
 * A NULL string, NaN or infinity is null. Text that is not UTF-8 gets U+FFFD. Negative: INVALID for a malformed template (500 is answered). */
CHOPIN_API int chopin_jsonf(chopin_ctx *c, int status, const char *format, ...);

/* A reply of any size, written piece by piece:
 *
 *     chopin_begin(c, 200, "text/csv");
 *     while (next(&row)) if (chopin_writef(c, "%d,%s\n", row.id, row.name) < 0) break;
 *     return chopin_end(c);
 *
 * begin: the head leaves; chunked (RFC 9112 7.1), or until the connection closes for HTTP/1.0. begin_sized: with a Content-Length that must
 * be met exactly, else the connection is cut and the log says why. write: the bytes may die when it returns; while more than high_water bytes are unsent it parks
 * until low_water; large ones are not copied, and it parks until they have left. An empty write does nothing. flush: sends what is queued
 * now instead of at the next wait. set_trailer: a header behind the body, for clients that sent "TE: trailers"; nothing for others. end: may be
 * left out when the handler returns 0. A handler that returns negative, or panics, before the end cuts the connection.
 * 0 or negative: GONE (the client has left), TIMEOUT, CANCELED, FULL, MEMORY, STATE (wrong order), INVALID. HEAD and 204 write nothing. */
CHOPIN_API int chopin_begin(chopin_ctx *c, int status, const char *type);
CHOPIN_API int chopin_begin_sized(chopin_ctx *c, int status, const char *type, uint64_t length);
CHOPIN_API int chopin_write(chopin_ctx *c, const void *bytes, size_t n);
CHOPIN_API int chopin_writef(chopin_ctx *c, const char *format, ...) CHOPIN__PRINTF(2, 3);
CHOPIN_API int chopin_flush(chopin_ctx *c);
CHOPIN_API int chopin_set_trailer(chopin_ctx *c, const char *name, const char *value);
CHOPIN_API int chopin_end(chopin_ctx *c);

/* Server-sent events: sse() begins the reply; sse_send() sends one with printf-style data (several lines become several data lines), event NULL for plain messages;
 * sse_event() with everything. While the handler waits by chopin_sleep() or chopin_park() a comment goes out every sse_heartbeat_ms. What the client has seen
 * last when it comes back: chopin_header_of(c, CHOPIN_H_LAST_EVENT_ID). Negative: as chopin_write(). See examples/clock_sse.c. */
typedef struct chopin_sse_options {
    chopin_str  id;                   /* the client sends it back as Last-Event-ID; no line ends */
    chopin_str  event;                /* its type                      (default: "message", unsaid) */
    chopin_str  data;
    int64_t     retry_ms;             /* how long the client waits before it connects again  (default 0: unsaid) */
} chopin_sse_options;
CHOPIN_API int chopin_sse(chopin_ctx *c);
CHOPIN_API int chopin_sse_send(chopin_ctx *c, const char *event, const char *format, ...) CHOPIN__PRINTF(3, 4);
CHOPIN_API int chopin_sse_event(chopin_ctx *c, const chopin_sse_options *event);

/* ---- WebSocket (RFC 6455; with CHOPIN_WITH_ZLIB also RFC 7692) ----
 *
 *     static int echo(chopin_ctx *c) {
 *         chopin_ws *ws = chopin_ws_accept(c, NULL);
 *         for (chopin_ws_message m; chopin_ws_recv(ws, &m) == CHOPIN_OK; ) chopin_ws_send(ws, m.kind, m.data);
 *         return CHOPIN_OK;
 *     }
 *
 * accept: answers the handshake; NULL when it was refused: the client has been told (400, 403, 426, 501 without fibers), and the calls below do nothing. Pages of
 * other sites are refused unless `origins` lists them. The handler's deadline does not apply.
 * recv: the next whole message, parks until it is there. `m->data` lives until the next call. Pings are answered, silence is pinged, fragments joined, text
 * is valid UTF-8. recv_until: at most until `deadline_ms` (as chopin_now_ms(); -1: for ever). Negative: GONE (closed by the other side, or broken: see close_code),
 * TIMEOUT, CANCELED (the server stops: the other side has been told 1001).
 * send: copies short messages, lends long ones and parks until they have left; parks while more than high_water is unsent. TEXT must be UTF-8. `fragment` of the
 * options cuts messages into frames. close: tells the other side (code 1000 to 4999); recv then waits ws_close_ms for its answer. Returning from the handler closes
 * with 1000, or 1011 when negative. close_code: the other side's, 1006 if it just vanished, 0 while open. Handler's thread only. See examples/chat_ws.c. */
typedef enum chopin_ws_kind { CHOPIN_WS_TEXT = 1, CHOPIN_WS_BINARY = 2 } chopin_ws_kind;
typedef struct chopin_ws_message { chopin_ws_kind kind; chopin_str data; } chopin_ws_message;
typedef struct chopin_ws_options {
    const char *protocols;            /* subprotocols we speak, the best first: "chat.v2, chat.v1"  (default: none) */
    const char *origins;              /* besides our own: "https://a.test, https://b.test", or "*"  (default: our own alone) */
    size_t      fragment;             /* payload bytes of a frame we send  (default 0: each message is one frame) */
    bool        no_deflate;           /* do not compress, even with CHOPIN_WITH_ZLIB */
    bool        close_slow;           /* a broadcast that finds more than max_queue unsent closes this WebSocket instead of passing it by */
} chopin_ws_options;
CHOPIN_API chopin_ws *chopin_ws_accept(chopin_ctx *c, const chopin_ws_options *options);
CHOPIN_API int        chopin_ws_recv(chopin_ws *ws, chopin_ws_message *m);
CHOPIN_API int        chopin_ws_recv_until(chopin_ws *ws, chopin_ws_message *m, int64_t deadline_ms);
CHOPIN_API int        chopin_ws_send(chopin_ws *ws, chopin_ws_kind kind, chopin_str data);
CHOPIN_API int        chopin_ws_sendf(chopin_ws *ws, const char *format, ...) CHOPIN__PRINTF(2, 3); /* text */
CHOPIN_API int        chopin_ws_close(chopin_ws *ws, int code, const char *reason);
CHOPIN_API int        chopin_ws_close_code(chopin_ws *ws);
CHOPIN_API chopin_str chopin_ws_protocol(chopin_ws *ws); /* the one agreed on; absent: none */

/* Publish and subscribe. A message to a topic reaches every WebSocket of every worker that has subscribed to it, in the order of the calls of one thread;
 * a slow one misses it (see max_queue) and delays nobody. There is no lock on its way. subscribe: 0, also when it was already; FULL (ws_max_topics), MEMORY,
 * GONE. Handler's thread only; ends with the handler. broadcast: any thread while serving, handlers too; bytes are copied once. 0; MEMORY; STATE when the server
 * does not run. See examples/chat_ws.c. */
CHOPIN_API int chopin_ws_subscribe(chopin_ws *ws, const char *topic);
CHOPIN_API int chopin_ws_unsubscribe(chopin_ws *ws, const char *topic);
CHOPIN_API int chopin_ws_broadcast(chopin_app *app, const char *topic, chopin_ws_kind kind, chopin_str data);
CHOPIN_API chopin_app *chopin_app_of(chopin_ctx *c);

/* ---- files ----
 *
 *     chopin_files(app, "/assets", "./public", NULL);                    // in main
 *     return chopin_file(c, "/var/lib/app/report.pdf", NULL);            // in a handler
 *
 * files: GET and HEAD of everything under `prefix` from the folder `root`, which is opened once and pinned. Names are resolved by the kernel below it (openat2 with
 * RESOLVE_BENEATH; where that is missing, step by step and without symbolic links): nothing outside can be reached, whatever is renamed meanwhile. Regular files only; names that
 * begin with a dot are hidden (".well-known" is not). ETag, Last-Modified, all five If- headers (RFC 9110 13), Range with one or several ranges (14), media types by
 * extension, X-Content-Type-Options: nosniff; a folder without its slash is redirected to it, with it answers index.html. Sent by sendfile; memory does not
 * grow with the file, nor does a change of it meanwhile hurt more than that one connection. 0 or negative: SYSTEM (no such folder: the log names it), INVALID, MEMORY, CONFLICT.
 * file: one file whose path is the program's own. Answers whatever becomes of it, 404 included. See examples/files.c. */
typedef struct chopin_files_options {
    const char *cache_control;        /* "public, max-age=3600"        (default: none) */
    const char *const *index;         /* NULL-terminated names tried in a folder  (default: "index.html") */
    const char *const *types;         /* NULL-terminated pairs "ext", "type/subtype", before our own table */
    const char *download;             /* chopin_file() only: "save as" under this name (RFC 6266, 8187) */
    bool        attachment;           /* "save as" under its own name */
    bool        listing;              /* show folders that have no index file */
    size_t      max_entries;          /* of a listing                  (default 10000) */
    bool        dot_files;            /* serve names that begin with a dot, too */
    bool        precompressed;        /* send name.br, name.zst or name.gz, if there and not older, to who accepts it */
    int         max_ranges;           /* 1 to 256; a request for more gets the whole file  (default 16) */
    int         cache_ms;             /* how long a kept descriptor is believed before the name is looked up again  (default 1000; see chopin_options.file_cache) */
} chopin_files_options;
#define chopin_files(app, prefix, root, ... /* options */) chopin_files_at(app, prefix, root, (__VA_ARGS__), __FILE__, __LINE__)
CHOPIN_API int chopin_files_at(chopin_app *app, const char *prefix, const char *root, const chopin_files_options *options, const char *file, int line);
CHOPIN_API int chopin_file(chopin_ctx *c, const char *path, const chopin_files_options *options);

/* Files baked into the program:
 *
 *     CHOPIN_EMBED_FILE(page, "index.html");                             // the assembler reads it, relative to where the compiler runs, or to -I folders
 *     static const chopin_asset assets[] = { { "/index.html", NULL, page, page_end, NULL, NULL } };
 *     chopin_embed(app, "/", assets, 1, "public, max-age=3600");
 *
 * GET and HEAD of each under `prefix`; "/x/index.html" answers at "/x/", too. ETag from the hash of the bytes, If-None-Match, the gzip variant for who accepts it. The
 * table and the bytes must live as long as `app`. `cache_control` may be NULL. 0 or negative as chopin_route(). See examples/embedded.c. */
typedef struct chopin_asset {
    const char          *path;        /* begins with a slash */
    const char          *type;        /* NULL: by extension */
    const unsigned char *data, *end;
    const unsigned char *gz, *gz_end; /* the same, compressed by gzip; NULL: none */
} chopin_asset;
#define CHOPIN_EMBED_FILE(symbol, file)                                                                                            \
    __asm__(".pushsection .rodata\n.balign 16\n.globl " #symbol "\n" #symbol ":\n.incbin \"" file "\"\n.globl " #symbol "_end\n"  \
            #symbol "_end:\n.byte 0\n.popsection\n");                                                                             \
    extern const unsigned char symbol[], symbol##_end[]
#define chopin_embed(app, prefix, assets, count, cache_control) chopin_embed_at(app, prefix, assets, count, cache_control, __FILE__, __LINE__)
CHOPIN_API int chopin_embed_at(chopin_app *app, const char *prefix, const chopin_asset *assets, size_t count, const char *cache_control, const char *file, int line);

/* `len` bytes of a descriptor from `at` on, sent by the kernel (sendfile). `fd` must stay open until they have left; `close_it`: and is closed then, or
 * on failure. The file may not shrink meanwhile: that cuts the connection. 0 or negative as the other replies. */
CHOPIN_API int chopin_fd_range(chopin_ctx *c, int status, const char *type, int fd, uint64_t at, uint64_t len, bool close_it);

/* An error reply: application/problem+json (RFC 9457) with status, title and, below 500, `text` as detail. From 500 on the text goes to the
 * log and the client gets the request id. */
CHOPIN_API int chopin_fail (chopin_ctx *c, int status, const char *text);
CHOPIN_API int chopin_failf(chopin_ctx *c, int status, const char *format, ...) CHOPIN__PRINTF(3, 4);

/* Headers, before the reply leaves. set replaces, add appends a line, remove takes all of that name. Names must be tokens; a value holding CR, LF, NUL or
 * another control is refused (INVALID, logged), never cleaned. Content-Length, Transfer-Encoding, Connection, Date and Server belong to the server: INVALID.
 * LATE once the reply has left. */
CHOPIN_API int chopin_set (chopin_ctx *c, const char *name, const char *value);
CHOPIN_API int chopin_setf(chopin_ctx *c, const char *name, const char *format, ...) CHOPIN__PRINTF(3, 4);
CHOPIN_API int chopin_set_str(chopin_ctx *c, const char *name, chopin_str value);
CHOPIN_API int chopin_add (chopin_ctx *c, const char *name, const char *value);
CHOPIN_API int chopin_remove(chopin_ctx *c, const char *name);

/* 103 Early Hints with these Link values, NULL-terminated (RFC 8297); nothing for HTTP/1.0 clients. Before the reply. */
CHOPIN_API int chopin_early_hints(chopin_ctx *c, const char *const *links);

/* A cookie with safe attributes: Path=/, HttpOnly, Secure, SameSite=Lax unless told otherwise; `__Host-` and `__Secure-` rules are
 * checked (INVALID). The value may hold no control, blank, quote, comma, semicolon or backslash (RFC 6265 4.1.1). */
typedef struct chopin_cookie_options {
    int64_t     max_age_s;            /* seconds; -1 deletes            (default 0: until the browser closes) */
    const char *path;                 /* (default "/") */
    const char *domain;               /* (default: this host only) */
    const char *same_site;            /* "Lax", "Strict", "None"        (default "Lax") */
    bool        no_http_only;         /* scripts may read it */
    bool        no_secure;            /* sent over plain HTTP too */
    bool        partitioned;          /* CHIPS */
} chopin_cookie_options;
CHOPIN_API int chopin_set_cookie(chopin_ctx *c, const char *name, const char *value, const chopin_cookie_options *options);

/* What has been answered so far: 0 while nothing has, else the status. */
CHOPIN_API int chopin_reply_status(chopin_ctx *c);

/* fn(arg) runs when this request ends, in reverse order, on every exit: reply, panic, crash, client gone. Negative: MEMORY (fn has run at once). */
CHOPIN_API int chopin_defer(chopin_ctx *c, void (*fn)(void *arg), void *arg);

/* Abandons the handler: logs the reason, runs the deferred functions, answers 500 (or cuts a reply that has begun). */
CHOPIN_API void chopin_panic(chopin_ctx *c, const char *format, ...) CHOPIN__PRINTF(2, 3) CHOPIN__NORETURN;

/* ---- ready-made middleware ---- */

/* CORS for everything under `prefix`: answers preflights, adds the headers to all replies, errors too. Off unless called. `*` together with
 * credentials is refused (INVALID, and chopin_serve() fails). See https://fetch.spec.whatwg.org/#http-cors-protocol */
typedef struct chopin_cors_options {
    const char *origins;              /* "*" or "https://a.test, https://b.test" */
    const char *methods;              /* (default "GET, HEAD, POST, PUT, PATCH, DELETE") */
    const char *headers;              /* (default: those that are asked for) */
    const char *expose;               /* response headers scripts may read  (default: none) */
    bool        credentials;          /* cookies and Authorization */
    int         max_age_s;            /* how long a preflight is remembered  (default 600) */
} chopin_cors_options;
CHOPIN_API int chopin_cors(chopin_app *app, const char *prefix, const chopin_cors_options *options);

/* Refuses (403) requests that browsers send from another site with a method that changes something: Sec-Fetch-Site, else Origin against Host. `origins` (may be
 * NULL) lists further origins that are welcome. */
CHOPIN_API int chopin_origin_check(chopin_app *app, const char *prefix, const char *origins);

/* Token bucket per client address (IPv6: per /64) and worker: over it 429 with Retry-After. The table is bounded and its hash seeded. */
typedef struct chopin_limit_options {
    double      per_second;           /* refill                        (default 10) */
    double      burst;                /* bucket size                   (default 2 x per_second) */
    size_t      clients;              /* entries of the table, a power of two  (default 4096); the stalest of a set makes room */
} chopin_limit_options;
CHOPIN_API int chopin_limit(chopin_app *app, const char *prefix, const chopin_limit_options *options);

/* ---- waiting: the handler parks, the worker goes on with everybody else ----
 * Each returns 0 or more when what was waited for has come, or GONE, TIMEOUT (deadline or handler_timeout_ms), CANCELED (stopping), FULL (max_parked: the
 * request is then answered 503). No mutex may be held across a wait. With CHOPIN_NO_FIBERS the worker blocks instead. Handler's thread only. */
enum { CHOPIN_READ = 1, CHOPIN_WRITE = 2, CHOPIN_TURN = 4, CHOPIN_PARK = 8, CHOPIN_WAKE = 16, CHOPIN_TICKET = 32 };

CHOPIN_API int chopin_sleep(chopin_ctx *c, int64_t ms);

/* Until `fd` (not one of ours; non-blocking) is readable or writable: `events` is CHOPIN_READ | CHOPIN_WRITE; gives those that are ready, errors as both.
 * `deadline_ms` is absolute, on the clock of chopin_now_ms(); -1 for none. One fiber per descriptor and worker. */
CHOPIN_API int chopin_wait_fd(chopin_ctx *c, int fd, int events, int64_t deadline_ms);

/* The same for client libraries (chopin_pg_options.wait): `worker` is a chopin_worker *, 0 at the deadline. Further words for `events`: TURN: back when every
 * other runnable handler and socket had its go; TICKET: gives a fresh ticket; PARK: sleep as ticket `fd` until WAKE or the deadline (1 or 0);
 * WAKE: wakes ticket `fd`, also when its owner has not parked yet, and returns at once. Outside a handler it blocks in poll(). */
CHOPIN_API int chopin_wait(void *worker, int fd, int events, int64_t deadline_ms);

/* Runs fn(arg) on the thread pool while the handler is parked and gives its int. fn must not touch `c`. It is never cancelled: arg may live on the
 * handler's stack. FULL: the queue is (503 has been answered). */
CHOPIN_API int chopin_offload(chopin_ctx *c, int (*fn)(void *arg), void *arg);

/* Reaching a parked handler from another thread:
 *     handler:  job->handle = chopin_handle_of(c); start(job); chopin_park(c, -1); use(job);
 *     thread:   chopin_post(job->handle, done, job);     static void done(chopin_ctx *c, void *job) { if (c) chopin_wake(c); }
 * post: any thread; fn(c, arg) runs on the owning worker, with c NULL if the request has ended meanwhile. GONE: it had ended already, fn will not run.
 * MEMORY: not posted. park: until chopin_wake(c) (0), the deadline, or the client is gone. A wake before the park is not lost. */
typedef struct chopin_handle {
    void    *worker; /* private */
    uint64_t id;     /* private */
    uint32_t request; /* private */
} chopin_handle;
CHOPIN_API chopin_handle chopin_handle_of(chopin_ctx *c);
CHOPIN_API int  chopin_post(chopin_handle handle, void (*fn)(chopin_ctx *c, void *arg), void *arg);
CHOPIN_API int  chopin_park(chopin_ctx *c, int64_t deadline_ms);
CHOPIN_API void chopin_wake(chopin_ctx *c);

CHOPIN_API int64_t chopin_now_ms(chopin_ctx *c); /* monotonic, as read at the start of this turn of the loop */
CHOPIN_API int64_t chopin_now_us(void);          /* monotonic, asks the clock */
CHOPIN_API bool    chopin_gone(chopin_ctx *c);   /* has the client gone? Cheap: no system call */

/* ---- testing your handlers ---- */
typedef struct chopin_test_options {
    size_t   read_step;               /* bytes that arrive at once      (default 0: all) */
    size_t   write_step;              /* bytes a send takes             (default 0: all) */
    uint64_t seed;                    /* not 0: the steps vary at random between 1 and the above */
    bool     keep_open;               /* the client does not half-close after its last byte; idle timeouts then play on the fake clock */
    bool     reset;                   /* the client resets the connection after its last byte */
    size_t   stall_after;             /* not 0: the client stops sending after so many bytes, without closing */
} chopin_test_options;

/* Plays `bytes` to the whole stack in process: parser, router, middleware and handlers, on one worker without a socket, and returns all that came back. Time is
 * virtual: chopin_sleep() takes none. The reply belongs to `app` until the next call or chopin_free(). Absent: the server did not start (chopin_error()). One thread. */
CHOPIN_API chopin_str chopin_test_request(chopin_app *app, chopin_str bytes, const chopin_test_options *options);

/* Counters, summed over the workers with relaxed loads. Any thread. */
typedef struct chopin_counters {
    uint64_t accepted, closed, requests, refused, bad_requests, timeouts, parked, faults, allocations, sends, receives, waits;
} chopin_counters;
CHOPIN_API chopin_counters chopin_counters_of(chopin_app *app);

#ifdef __cplusplus
}
#endif
#endif /* CHOPIN_H */

#if (defined(CHOPIN_IMPLEMENTATION) || defined(CHOPIN_HTTP_IMPLEMENTATION)) && !defined(CHOPIN_HTTP_IMPLEMENTED)
#define CHOPIN_HTTP_IMPLEMENTED
#ifdef __cplusplus
#error "chopin.h: the implementation is C11: put it into a .c file of its own (declarations work from C++)"
#endif

/* ==========================================================================================================
   >>platform   system includes, what the compiler and the CPU can do, clocks, checked arithmetic
   Everything above this room is the language; everything below asks this room, not the system, for these things.
   ========================================================================================================== */

/* Built for size, the unwinding tables of this file go where debuggers find them and `strip` removes them (.debug_frame): they are an eighth of a
 * small program, and only the backtrace of a contained fault reads them, which then ends at the first frame of this file. */
#if defined(__OPTIMIZE_SIZE__) && defined(__GNUC__) && !defined(__clang__) && !defined(__EXCEPTIONS) && !defined(CHOPIN_UNWIND_TABLES)
#if defined(__x86_64__) || defined(__i386__) || defined(__aarch64__) || defined(__riscv)
__asm__(".cfi_sections .debug_frame");
#endif
#endif

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <link.h>
#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#endif
#if defined(__has_include)
#if __has_include(<execinfo.h>)
#include <execinfo.h>
#define CHOPIN__BACKTRACE 1
#endif
#endif
#ifdef CHOPIN_WITH_ZLIB
#include <zlib.h>
#endif
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if !defined(CHOPIN_NO_URING) && (defined(CHOPIN_NO_FIBERS) || (defined(__OPTIMIZE_SIZE__) && !defined(CHOPIN_WITH_URING)))
#define CHOPIN_NO_URING                 // a handler that blocks the worker cannot take the results of a ring; small devices have no use for one
#endif

#ifndef CHOPIN_ASSERT
#ifdef NDEBUG
#define CHOPIN_ASSERT(condition) ((void)0)
#else
#define CHOPIN_ASSERT(condition) ((condition) ? (void)0 : chopin__assert_failed(__LINE__))
#endif
/* Says where, not what: the texts of assert() are a good part of a small program. */
static inline __attribute__((noreturn, cold, unused)) void chopin__assert_failed(int line) {
    fprintf(stderr, "chopin.h:%d: assertion failed (version " CHOPIN_VERSION ")\n", line);
    abort();
}
#endif

#define CHOPIN__LIKELY(x)   __builtin_expect(!!(x), 1)
#define CHOPIN__UNLIKELY(x) __builtin_expect(!!(x), 0)
#define CHOPIN__COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define CHOPIN__NOINLINE    __attribute__((noinline))

static inline int64_t chopin__clock_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static inline int64_t chopin__clock_ms(void) { return chopin__clock_us() / 1000; }

static inline size_t chopin__min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t chopin__max(size_t a, size_t b) { return a > b ? a : b; }

/* Counters have one writer and any readers: a plain load and store, no locked instruction. */
static inline void chopin__count(_Atomic uint64_t *n) {
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* Sums of lengths that a peer or a caller chose: false when the sum does not fit. */
static inline bool chopin__add_ok(size_t a, size_t b, size_t *sum) { return !__builtin_add_overflow(a, b, sum); }

/* A word nobody outside can guess: seeds hash tables and names requests. */
static uint64_t chopin__random_seed(void) {
    uint64_t seed = 0;
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, &seed, sizeof seed) != (ssize_t)sizeof seed) {
        seed = (uint64_t)chopin__clock_us() * 0x9e3779b97f4a7c15u ^ (uint64_t)(uintptr_t)&seed ^ (uint64_t)getpid();
    }
    if (fd >= 0) close(fd);
    return seed;
}

/* splitmix64: one step of a small generator; good enough for names, never for secrets. */
static inline uint64_t chopin__random_next(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* ==========================================================================================================
   >>bytes   views: cut, compare, numbers to and from text, percent and UTF-8 coding
   The everyday helpers drop the room's name. Nothing here allocates.
   ========================================================================================================== */

static inline chopin_str chopin__str(const char *ptr, size_t len) { return (chopin_str){ ptr, len }; }
static inline chopin_str chopin__str_z(const char *z) { return (chopin_str){ z, z ? strlen(z) : 0 }; }
static inline chopin_str chopin__absent(void) { return (chopin_str){ NULL, 0 }; }

static inline bool chopin__equal(chopin_str a, chopin_str b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
static inline bool chopin__equal_z(chopin_str a, const char *z) { return chopin__equal(a, chopin__str_z(z)); }

static inline bool chopin__starts(chopin_str s, chopin_str with) {
    return s.len >= with.len && (with.len == 0 || memcmp(s.ptr, with.ptr, with.len) == 0);
}

static inline char chopin__lower(char ch) { return ch >= 'A' && ch <= 'Z' ? (char)(ch | 0x20) : ch; }

/* ASCII only, whatever the locale: header names and tokens (RFC 9110 5.1). */
static bool chopin__equal_nocase(chopin_str a, chopin_str b) {
    if (a.len != b.len) return false;
    for (size_t i = 0; i < a.len; i++) {
        if (chopin__lower(a.ptr[i]) != chopin__lower(b.ptr[i])) return false;
    }
    return true;
}

/* What stands before the first `at`, which is skipped; all of it when there is none. `*rest` becomes what follows. */
static chopin_str chopin__cut(chopin_str *rest, char at) {
    const char *p = rest->len ? memchr(rest->ptr, at, rest->len) : NULL;
    chopin_str first = p ? chopin__str(rest->ptr, (size_t)(p - rest->ptr)) : *rest;
    size_t used = p ? first.len + 1 : first.len;
    *rest = rest->ptr ? chopin__str(rest->ptr + used, rest->len - used) : *rest;
    return first;
}

/* Without the blanks and tabs around it: optional white space (RFC 9110 5.6.3). */
static chopin_str chopin__trim(chopin_str s) {
    while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) { s.ptr++; s.len--; }
    while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t')) s.len--;
    return s;
}

/* tchar of RFC 9110 5.6.2: what methods and header names are made of. */
static inline bool chopin__is_token_char(unsigned char ch) {
    static const uint32_t set[8] = { 0, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff, 0, 0, 0, 0 };
    return (set[ch >> 5] >> (ch & 31)) & 1;
}

static bool chopin__is_token(chopin_str s) {
    for (size_t i = 0; i < s.len; i++) {
        if (!chopin__is_token_char((unsigned char)s.ptr[i])) return false;
    }
    return s.len > 0;
}

/* May hold a control byte or DEL: eight bytes at once, with a false alarm now and then (never for ASCII text). */
static inline bool chopin__maybe_control(const char *p) {
    uint64_t v, ones = UINT64_C(0x0101010101010101);
    memcpy(&v, p, sizeof v);
    return ((v - ones * 0x20) | (v + ones)) & ones * 0x80;   // below 0x20 borrows, 0x7f and above carry
}

/* field-value of RFC 9110 5.5: HTAB, blanks, visible characters and bytes from 0x80. */
static inline bool chopin__is_field_value(chopin_str s) {
    size_t i = 0;
    while (s.len - i >= 8 && !chopin__maybe_control(s.ptr + i)) i += 8;
    if (i > 0 && !chopin__maybe_control(s.ptr + s.len - 8)) return true;
    for (; i < s.len; i++) {
        unsigned char ch = (unsigned char)s.ptr[i];
        if ((ch < 0x20 && ch != '\t') || ch == 0x7f) return false;
    }
    return true;
}

/* 0-15, or -1. */
static inline int chopin__hex_value(char ch) {
    if (ch >= '0' && ch <= '9') return ch - '0';
    ch = chopin__lower(ch);
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

static inline char chopin__hex_digit(unsigned value) { return "0123456789abcdef"[value & 15]; }

/* Decimal digits only, no sign, no blanks. */
static bool chopin__parse_u64(chopin_str s, uint64_t *out) {
    uint64_t value = 0;
    if (s.len == 0) return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned)(unsigned char)s.ptr[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(value, (uint64_t)10, &value)
                      || __builtin_add_overflow(value, (uint64_t)digit, &value)) return false;
    }
    *out = value;
    return true;
}

static bool chopin__parse_i64(chopin_str s, int64_t *out) {
    bool     minus = s.len && s.ptr[0] == '-';
    uint64_t value;
    if (!chopin__parse_u64(minus ? chopin__str(s.ptr + 1, s.len - 1) : s, &value)) return false;
    if (value > (uint64_t)INT64_MAX + (minus ? 1 : 0)) return false;
    *out = minus ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

/* Two digits at a time; at most 20 characters go to `out`, none is a NUL. Gives how many. */
static size_t chopin__format_u64(char *out, uint64_t value) {
    static const char pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657585960616263646566676869"
        "707172737475767778798081828384858687888990919293949596979899";
    char   digits[20];
    size_t at = sizeof digits;
    while (value >= 100) {
        at -= 2;
        memcpy(digits + at, pairs + 2 * (value % 100), 2);
        value /= 100;
    }
    if (value >= 10) { at -= 2; memcpy(digits + at, pairs + 2 * value, 2); }
    else             digits[--at] = (char)('0' + value);
    memcpy(out, digits + at, sizeof digits - at);
    return sizeof digits - at;
}

/* Is every '%' followed by two hex digits that are not "00"? (RFC 3986 2.1; NUL would end C strings.) */
static bool chopin__percent_ok(chopin_str s) {
    const char *p = s.ptr, *end = s.ptr + s.len;
    while (p < end && (p = memchr(p, '%', (size_t)(end - p))) != NULL) {
        if (end - p < 3 || chopin__hex_value(p[1]) < 0 || chopin__hex_value(p[2]) < 0) return false;
        if (p[1] == '0' && p[2] == '0') return false;
        p += 3;
    }
    return true;
}

/* Decodes into `out` (s.len bytes are enough), once. `plus`: '+' is a blank, as in forms. The input has passed chopin__percent_ok(). */
static size_t chopin__percent_decode(char *out, chopin_str s, bool plus) {
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        char ch = s.ptr[i];
        if (ch == '%' && i + 2 < s.len) {
            ch = (char)(chopin__hex_value(s.ptr[i + 1]) << 4 | chopin__hex_value(s.ptr[i + 2]));
            i += 2;
        } else if (ch == '+' && plus) {
            ch = ' ';
        }
        out[n++] = ch;
    }
    return n;
}

/* Length of the well-formed UTF-8 sequence at p (RFC 3629), 0 if there is none. */
static size_t chopin__utf8_length(const char *text, size_t len) {
    const unsigned char *p = (const unsigned char *)text;
    if (len == 0) return 0;
    if (p[0] < 0x80) return 1;
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || len < n || (p[1] & 0xc0) != 0x80) return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f)) return 0;   // overlong; surrogates
    if ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)) return 0;   // overlong; over U+10FFFF
    if (n > 2 && (p[2] & 0xc0) != 0x80) return 0;
    if (n > 3 && (p[3] & 0xc0) != 0x80) return 0;
    return n;
}

/* Seeded, so that nobody outside can choose names that collide (wyhash's mixing step over 8-byte words). */
static uint64_t chopin__hash(uint64_t seed, const void *data, size_t len) {
    const unsigned char *p = data;
    uint64_t hash = seed ^ (len * 0x9e3779b97f4a7c15u);
    while (len > 0) {
        uint64_t word = 0;
        size_t   n = chopin__min(len, sizeof word);
        memcpy(&word, p, n);
        hash = chopin__random_next(&(uint64_t){ hash ^ word });
        p += n;
        len -= n;
    }
    return hash;
}

/* ---- UTF-8 that comes in pieces ---- */
typedef struct chopin__utf8 {           // all zero: between two characters
    uint8_t left;                       // bytes that this character still needs ...
    uint8_t low, high;                  // ... the next of which lies in here
} chopin__utf8;

/* What may follow the first byte of a longer character (RFC 3629 4). False: none begins so. */
static bool chopin__utf8_lead(chopin__utf8 *u, unsigned char ch) {
    if (ch < 0xc2 || ch > 0xf4) return false;
    u->left = ch >= 0xf0 ? 3 : ch >= 0xe0 ? 2 : 1;
    u->low  = ch == 0xe0 ? 0xa0 : ch == 0xf0 ? 0x90 : 0x80;             // or it would be overlong
    u->high = ch == 0xed ? 0x9f : ch == 0xf4 ? 0x8f : 0xbf;             // or a surrogate, or above U+10FFFF
    return true;
}

static const unsigned char *chopin__ascii_end(const unsigned char *p, const unsigned char *end) {
    for (uint64_t eight; end - p >= 8 && (memcpy(&eight, p, 8), (eight & UINT64_C(0x8080808080808080)) == 0); ) p += 8;
    while (p < end && *p < 0x80) p++;
    return p;
}

/* Goes on with the next bytes. False as soon as no continuation could make them well-formed; at the end of the text u->left must be 0. */
static bool chopin__utf8_feed(chopin__utf8 *u, const char *text, size_t len) {
    const unsigned char *p = (const unsigned char *)text, *end = len ? p + len : p;
    while (p < end) {
        if (u->left) {
            if (*p < u->low || *p > u->high) return false;
            u->left--;
            u->low  = 0x80;
            u->high = 0xbf;
            p++;
        } else if (*p < 0x80) {
            p = chopin__ascii_end(p + 1, end);
        } else if (!chopin__utf8_lead(u, *p++)) {
            return false;
        }
    }
    return true;
}

/* ==========================================================================================================
   >>memory   the allocator hook, request arenas, pools of equal blocks, the slab with generation-checked ids
   Nothing on the path of a request that fits its buffers reaches the hook: arenas are reset, pools keep what they
   are given back, the slab is address space that becomes memory when it is first touched.
   ========================================================================================================== */

typedef struct chopin__heap {           // one per server; the counter is what the tests read
    void *(*alloc)(void *ctx, void *ptr, size_t old_size, size_t new_size);
    void *ctx;
    _Atomic uint64_t calls;
} chopin__heap;

static void *chopin__heap_default(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    (void)ctx; (void)old_size;
    if (new_size == 0) { free(ptr); return NULL; }
    return realloc(ptr, new_size);
}

static void *chopin__alloc(chopin__heap *heap, size_t size) {
    atomic_fetch_add_explicit(&heap->calls, 1, memory_order_relaxed);
    return heap->alloc(heap->ctx, NULL, 0, size ? size : 1);
}

static void *chopin__alloc_zero(chopin__heap *heap, size_t size) {
    void *ptr = chopin__alloc(heap, size);
    return ptr ? memset(ptr, 0, size) : NULL;
}

static void *chopin__realloc(chopin__heap *heap, void *ptr, size_t old_size, size_t new_size) {
    atomic_fetch_add_explicit(&heap->calls, 1, memory_order_relaxed);
    return heap->alloc(heap->ctx, ptr, old_size, new_size);
}

static void chopin__release(chopin__heap *heap, void *ptr, size_t size) {
    if (ptr) heap->alloc(heap->ctx, ptr, size, 0);
}

static char *chopin__copy_z(chopin__heap *heap, chopin_str s) {
    char *copy = chopin__alloc(heap, s.len + 1);
    if (!copy) return NULL;
    if (s.len) memcpy(copy, s.ptr, s.len);
    copy[s.len] = 0;
    return copy;
}

/* ---- arena: memory of one request. The first block is the caller's and stays; further ones are freed at reset. ---- */
typedef struct chopin__arena_block {
    struct chopin__arena_block *next;
    size_t size;                        // all of it, this header included
} chopin__arena_block;

typedef struct chopin__arena {
    chopin__heap *heap;
    char   *at, *end;                   // free bytes of the current block
    char   *first;                      // the caller's block ...
    size_t  first_size;                 // ... and its size
    chopin__arena_block *blocks;        // what was added since the last reset
    size_t  used, limit;                // bytes of added blocks, and how many there may be
    bool    full;                       // an allocation failed: the reply becomes a 503
} chopin__arena;

static void chopin__arena_init(chopin__arena *a, chopin__heap *heap, void *first, size_t size, size_t limit) {
    *a = (chopin__arena){ .heap = heap, .at = first, .end = (char *)first + size, .first = first, .first_size = size, .limit = limit };
}

static void chopin__arena_reset(chopin__arena *a) {
    while (CHOPIN__UNLIKELY(a->blocks != NULL)) {
        chopin__arena_block *block = a->blocks;
        a->blocks = block->next;
        chopin__release(a->heap, block, block->size);
    }
    a->at = a->first;
    a->end = a->first + a->first_size;
    a->used = 0;
    a->full = false;
}

static CHOPIN__NOINLINE bool chopin__arena_grow(chopin__arena *a, size_t size) {
    size_t want;
    if (!chopin__add_ok(size, sizeof(chopin__arena_block) + 16, &want)) want = SIZE_MAX;
    want = chopin__max(want, 4096);
    chopin__arena_block *block = want <= a->limit - chopin__min(a->used, a->limit) ? chopin__alloc(a->heap, want) : NULL;
    if (!block) { a->full = true; return false; }
    *block = (chopin__arena_block){ .next = a->blocks, .size = want };
    a->blocks = block;
    a->used += want;
    a->at = (char *)(block + 1);
    a->end = (char *)block + want;
    return true;
}

/* Not zeroed, aligned to 16. NULL when the limit is reached; `full` remembers it. */
static void *chopin__arena_alloc(chopin__arena *a, size_t size) {
    uintptr_t at = ((uintptr_t)a->at + 15) & ~(uintptr_t)15;
    if (CHOPIN__UNLIKELY(at > (uintptr_t)a->end || size > (uintptr_t)a->end - at)) {
        if (!chopin__arena_grow(a, size)) return NULL;
        at = ((uintptr_t)a->at + 15) & ~(uintptr_t)15;
    }
    a->at = (char *)at + size;
    return (void *)at;
}

static chopin_str chopin__arena_copy(chopin__arena *a, chopin_str s) {
    char *copy = chopin__arena_alloc(a, s.len + 1);
    if (!copy) return chopin__absent();
    if (s.len) memcpy(copy, s.ptr, s.len);
    copy[s.len] = 0;
    return chopin__str(copy, s.len);
}

static chopin_str chopin__arena_vprintf(chopin__arena *a, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int   n = vsnprintf(NULL, 0, format, again);
    char *text = n >= 0 ? chopin__arena_alloc(a, (size_t)n + 1) : NULL;
    va_end(again);
    if (!text) return chopin__absent();
    vsnprintf(text, (size_t)n + 1, format, args);
    return chopin__str(text, (size_t)n);
}

/* ---- pool: equal blocks, kept when given back, up to `keep` of them. One worker only. ---- */
typedef struct chopin__pool {
    chopin__heap *heap;
    void   *free;                       // linked through the first word
    size_t  block_size;
    size_t  kept, keep;
} chopin__pool;

static void chopin__pool_init(chopin__pool *p, chopin__heap *heap, size_t block_size, size_t keep) {
    *p = (chopin__pool){ .heap = heap, .block_size = block_size, .keep = keep };
}

static inline void *chopin__pool_take(chopin__pool *p) {
    void *block = p->free;
    if (CHOPIN__UNLIKELY(!block)) return chopin__alloc(p->heap, p->block_size);
    memcpy(&p->free, block, sizeof p->free);
    p->kept--;
    return block;
}

static inline void chopin__pool_give(chopin__pool *p, void *block) {
    if (CHOPIN__UNLIKELY(p->kept >= p->keep)) { chopin__release(p->heap, block, p->block_size); return; }
    memcpy(block, &p->free, sizeof p->free);
    p->free = block;
    p->kept++;
}

static void chopin__pool_done(chopin__pool *p) {
    p->keep = 0;
    while (p->free) {
        void *block = p->free;
        memcpy(&p->free, block, sizeof p->free);
        chopin__release(p->heap, block, p->block_size);
    }
}

/* ---- slab: entries of one size with ids that go stale. An id is (generation << 32 | index); the generation of an entry is odd while it
   is in use and moves on when it is taken and given back, so an id kept too long finds nothing. ---- */
typedef struct chopin__slab_entry {     // the first member of whatever lives in a slab
    _Atomic uint32_t generation;        // read by other threads (chopin_post)
    uint32_t         next_free;         // index + 1
} chopin__slab_entry;

typedef struct chopin__slab {
    char    *base;                      // reserved address space; untouched pages cost nothing
    size_t   entry_size, capacity;
    uint32_t used;                      // entries ever touched
    uint32_t free;                      // index + 1 of the first free entry, 0: none
    uint32_t live;                      // entries in use
} chopin__slab;

static bool chopin__slab_init(chopin__slab *s, size_t entry_size, size_t capacity) {
    *s = (chopin__slab){ .entry_size = entry_size, .capacity = capacity };
    size_t bytes;
    if (__builtin_mul_overflow(entry_size, capacity, &bytes) || capacity > UINT32_MAX - 1) return false;
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return false;
    s->base = base;
    return true;
}

static void chopin__slab_done(chopin__slab *s) {
    if (s->base) munmap(s->base, s->entry_size * s->capacity);
    s->base = NULL;
    s->capacity = 0;                     // ids find nothing any more
}

static inline void *chopin__slab_at(const chopin__slab *s, uint32_t index) { return s->base + (size_t)index * s->entry_size; }

static inline uint64_t chopin__slab_id(const chopin__slab *s, const void *entry) {
    const chopin__slab_entry *e = entry;
    uint32_t index = (uint32_t)((size_t)((const char *)entry - s->base) / s->entry_size);
    return (uint64_t)atomic_load_explicit(&e->generation, memory_order_relaxed) << 32 | index;
}

/* The entry of an id, or NULL when it has been given back since. Owning thread, or any thread that only compares. */
static inline void *chopin__slab_get(const chopin__slab *s, uint64_t id) {
    uint32_t index = (uint32_t)id;
    if (index >= s->capacity) return NULL;
    chopin__slab_entry *e = chopin__slab_at(s, index);
    return atomic_load_explicit(&e->generation, memory_order_relaxed) == (uint32_t)(id >> 32) ? e : NULL;
}

/* An entry, zeroed but for its header; NULL when all are in use. */
static void *chopin__slab_take(chopin__slab *s) {
    if (!s->free && s->used == s->capacity) return NULL;
    uint32_t index = s->free ? s->free - 1 : s->used++;
    chopin__slab_entry *e = chopin__slab_at(s, index);
    s->free = e->next_free;
    e->next_free = 0;
    memset(e + 1, 0, s->entry_size - sizeof *e);
    atomic_store_explicit(&e->generation, atomic_load_explicit(&e->generation, memory_order_relaxed) + 1, memory_order_release);
    s->live++;
    return e;
}

static void chopin__slab_give(chopin__slab *s, void *entry) {
    chopin__slab_entry *e = entry;
    CHOPIN_ASSERT(atomic_load(&e->generation) & 1);
    atomic_store_explicit(&e->generation, atomic_load_explicit(&e->generation, memory_order_relaxed) + 1, memory_order_release);
    e->next_free = s->free;
    s->free = (uint32_t)((size_t)((char *)entry - s->base) / s->entry_size) + 1;
    s->live--;
}

/* ======================================================================================
   >>fiber   stacks that can be left in the middle and continued later

   The event loop itself runs on a pool fiber, so a handler is a plain call. One that must
   wait takes an idle fiber and switches to it; there the loop goes on, from its entry if
   the fiber is fresh, else from where it once gave itself up. When the wait is over, the
   loop gives its own fiber back and switches to the parked one, whose handler finishes and
   whose stack is then the loop's:

       next = chopin__fiber_take(p);   chopin__fiber_switch(p, next);       in the handler
       chopin__fiber_give(p, p->current);   chopin__fiber_switch(p, parked);   in the loop

   A fiber never changes its thread: compilers keep addresses of thread-local variables
   (errno among them) across calls, and would use the old thread's after a move.

   The switch is one block of inline assembly. It stores three words, lists the callee-saved
   registers as lost, so that the compiler saves them, and leaves by an indirect jump: `ret`
   would defeat the return predictor. There is no symbol for the linker, no frame that
   unwinders do not know, and a fresh fiber is a jump to an ordinary C function.
   ====================================================================================== */

#if defined(CHOPIN_NO_FIBERS)

#include <setjmp.h>

/* Without fibers waiting blocks the worker: there is never a fiber to take, and the loop
   runs on the thread's own stack. Two duties make one worker fit both builds: the entry
   returns when chopin__fiber_leave() says so, and all its state lives outside its frame. */

typedef struct chopin__fiber { void *user; } chopin__fiber;

typedef struct chopin__fibers {
    void         (*entry)(void *arg);   // the loop
    void          *arg;                 // its argument
    chopin__fiber *current;             // &only inside enter, else NULL
    unsigned       count;               // always 1: the thread's own stack
    unsigned       warm_max;            // unused
    chopin__fiber  only;                // what stands for the thread's stack
    sigjmp_buf     home;                // where a retired entry starts afresh
} chopin__fibers;

static bool chopin__fibers_init(chopin__fibers *p, size_t stack_size, unsigned max, void (*entry)(void *arg), void *arg) {
    (void)stack_size, (void)max;
    memset(p, 0, sizeof *p);
    p->entry = entry;
    p->arg   = arg;
    p->count = 1;
    return true;
}

static void chopin__fibers_done(chopin__fibers *p) {
    p->count = 0;
}

static chopin__fiber *chopin__fiber_take(chopin__fibers *p) {
    (void)p;
    return NULL;
}

static void chopin__fiber_give(chopin__fibers *p, chopin__fiber *f) {
    (void)p, (void)f;
}

static void chopin__fiber_switch(chopin__fibers *p, chopin__fiber *to) {
    (void)p, (void)to;
    CHOPIN_ASSERT(false && "a switch needs a fiber that was taken, and there is none");
}

static void chopin__fiber_enter(chopin__fibers *p) {
    (void)sigsetjmp(p->home, 1);   // chopin__fiber_retire() lands here and the entry starts again
    p->current = &p->only;
    p->entry(p->arg);
    p->current = NULL;
}

static bool chopin__fiber_leave(chopin__fibers *p) {
    (void)p;
    return true;
}

_Noreturn static void chopin__fiber_retire(chopin__fibers *p) {
    CHOPIN_ASSERT(p->current != NULL);
    siglongjmp(p->home, 1);
}

static bool chopin__fiber_overflowed(const chopin__fibers *p, const chopin__fiber *f, const void *addr) {
    (void)p, (void)f, (void)addr;
    return false;
}

static inline size_t chopin__fiber_depth(const chopin__fiber *f) {
    (void)f;
    return 0;
}

#else   // fibers

#if defined(CHOPIN_FIBER_UCONTEXT)
#elif (defined(__x86_64__) && !defined(__ILP32__)) || (defined(__aarch64__) && !defined(__ILP32__))
#define CHOPIN__FIBER_ASM
#elif (defined(__riscv) && __riscv_xlen == 64) || (defined(__arm__) && (!defined(__thumb__) || defined(__thumb2__)))
#define CHOPIN__FIBER_ASM
#endif

#if defined(__SANITIZE_ADDRESS__)
#define CHOPIN__FIBER_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CHOPIN__FIBER_ASAN
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define CHOPIN__FIBER_TSAN
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CHOPIN__FIBER_TSAN
#endif
#endif

#if !defined(CHOPIN__FIBER_ASM)
#include <ucontext.h>
#endif
#if defined(CHOPIN__FIBER_ASAN)
#include <sanitizer/asan_interface.h>
#endif
#if defined(CHOPIN__FIBER_TSAN)
#include <sanitizer/tsan_interface.h>
#include <signal.h>
#endif
#if defined(CHOPIN_WITH_VALGRIND) && defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#define CHOPIN__FIBER_VALGRIND
#endif
#endif

/* RAW functions run while the sanitizers' idea of the stack and the stack itself disagree;
   OPAQUE ones are real calls about which the optimizer may conclude nothing (gcc's -fipa-ra
   would keep values in caller-saved registers that it does not see the function touch). */
#if defined(__clang__)
#define CHOPIN__FIBER_OPAQUE __attribute__((noinline))
#if __has_attribute(disable_sanitizer_instrumentation)
#define CHOPIN__FIBER_RAW __attribute__((disable_sanitizer_instrumentation))
#else
#define CHOPIN__FIBER_RAW __attribute__((no_sanitize("address", "thread", "undefined")))
#endif
#else
#define CHOPIN__FIBER_OPAQUE __attribute__((noipa))
#define CHOPIN__FIBER_RAW    __attribute__((no_sanitize("address", "thread", "undefined")))
#endif

enum {
    CHOPIN__FIBER_SLAB      = 16,         // stacks mapped at a time
    CHOPIN__FIBER_WARM      = 1024,       // idle fibers that keep their touched pages
    CHOPIN__FIBER_STACK_MIN = 16 * 1024,
    CHOPIN__FIBER_COLOUR    = 128,        // by so much each stack of a slab starts lower than the one before
    // Four pages, because one is stepped over by a function whose frame is larger than a page and
    // which touches its far end first. Address space is all that it costs.
    CHOPIN__FIBER_GUARD     = 16 * 1024
};

/* Where a fiber goes on. The assembly knows the order of the words. */
#if defined(CHOPIN__FIBER_ASM)
typedef struct chopin__fiber_context {
    uintptr_t pc;
    uintptr_t sp;
    uintptr_t fp;        // frame pointer: the one callee-saved register we may not list as lost
    uintptr_t thumb_fp;  // 32-bit ARM has two, r11 in ARM code and r7 in Thumb
} chopin__fiber_context;
#else
typedef ucontext_t chopin__fiber_context;
#endif

typedef struct chopin__fiber  chopin__fiber;
typedef struct chopin__fibers chopin__fibers;

/* One stack. Lives at its upper end, so that a parked fiber costs the pages it touched and no other. */
struct chopin__fiber {
    chopin__fiber_context context;    // first: the switch hands its address to chopin__fiber_start()
    chopin__fibers       *pool;       // whose it is
    chopin__fiber        *next;       // in the warm or cold list
    chopin__fiber        *older;      // made before this one
    void                 *slab;       // the mapping, in the first fiber cut from it; else NULL
    uintptr_t             low;        // lowest byte of the stack; the guard ends here
    size_t                size;       // of the stack in bytes, up to this struct
    uintptr_t             live;       // frames in use reach down to about here while it does not run
    void                 *user;       // the caller's
    void                 *sanitizer;  // ASan's fake stack while it does not run, TSan's fiber
    uint64_t              modes;      // of floating point while it does not run
    unsigned              valgrind;   // Valgrind's name for the stack
};

/* The fibers of one worker. Its thread only. */
struct chopin__fibers {
    // set by init
    void         (*entry)(void *arg);  // the loop: where fresh fibers start; never returns
    void          *arg;                // its argument
    size_t         stack_size;         // of one stack in bytes, its struct included
    size_t         guard_size;         // below each stack, in bytes
    size_t         page_size;
    unsigned       max;                // never more fibers than this
    unsigned       warm_max;           // idle fibers above this return their pages; may be changed
    // changing
    chopin__fiber *current;            // runs now; NULL outside enter
    chopin__fiber *loop;               // runs at the next enter
    chopin__fiber *warm, *cold;        // idle ones, last given first: its stack is still in the cache
    chopin__fiber *newest;             // all of them, by .older
    chopin__fiber *from;               // who switched last
    char          *slab;               // the mapping from which the next fibers are cut
    unsigned       count;              // fibers made
    unsigned       warm_count, cold_count;
    bool           guards_map;         // guards are mprotected and cost mappings (vm.max_map_count)
    chopin__fiber  home;               // the thread's own stack; its modes are those of fresh fibers
    chopin__fiber_context nowhere;     // abandoned frames are saved here, and forgotten
#if defined(CHOPIN__FIBER_TSAN)
    sigset_t       mask;               // enter's caller's: TSan blocks all signals in all handlers
#endif
};

/* ---- what the tools must know ---- */

/* To be called before leaving `from` for `to`. `from` NULL: its frames will not be needed again. */
CHOPIN__FIBER_RAW static void chopin__fiber_announce(chopin__fibers *p, chopin__fiber *from, chopin__fiber *to) {
    p->from = from;
#if defined(CHOPIN__FIBER_ASAN)
    __sanitizer_start_switch_fiber(from != NULL ? &from->sanitizer : NULL, (void *)to->low, to->size);
#elif defined(CHOPIN__FIBER_TSAN)
    __tsan_switch_to_fiber(to->sanitizer, 0);
#else
    (void)to;
#endif
}

/* To be called first thing on `f` after a switch to it. Only now `f` is the current one: had its
   predecessor's stack overflowed on the way, the fault would have been his. */
CHOPIN__FIBER_RAW static void chopin__fiber_arrived(chopin__fibers *p, chopin__fiber *f) {
    p->current = f;
#if defined(CHOPIN__FIBER_ASAN)
    const void *low;
    size_t      size;
    __sanitizer_finish_switch_fiber(f->sanitizer, &low, &size);
    if (p->from == &p->home) {   // nobody else knows where the thread's own stack lies
        p->home.low  = (uintptr_t)low;
        p->home.size = size;
    }
#endif
}

static void chopin__fiber_tools_made(chopin__fiber *f) {
#if defined(CHOPIN__FIBER_TSAN)
    f->sanitizer = __tsan_create_fiber(0);
#endif
#if defined(CHOPIN__FIBER_VALGRIND)
    f->valgrind = VALGRIND_STACK_REGISTER(f->low, f->low + f->size);
#endif
    (void)f;
}

static void chopin__fiber_tools_gone(chopin__fiber *f) {
#if defined(CHOPIN__FIBER_ASAN)
    // The address range is somebody else's soon; red zones of frames that never returned are not.
    __asan_unpoison_memory_region((void *)f->low, f->size);
#endif
#if defined(CHOPIN__FIBER_TSAN)
    __tsan_destroy_fiber(f->sanitizer);
#endif
#if defined(CHOPIN__FIBER_VALGRIND)
    VALGRIND_STACK_DEREGISTER(f->valgrind);
#endif
    (void)f;
}

/* The current fiber's frames are about to be given up; it will start again on the same stack. */
CHOPIN__FIBER_RAW static void chopin__fiber_tools_rewind(chopin__fibers *p, chopin__fiber *f) {
#if defined(CHOPIN__FIBER_ASAN)
    __asan_unpoison_memory_region((void *)f->low, f->size);
    f->sanitizer = NULL;
#endif
#if defined(CHOPIN__FIBER_TSAN)
    void *old = f->sanitizer;   // holds the abandoned frames' calls
    f->sanitizer = __tsan_create_fiber(0);
    chopin__fiber_announce(p, NULL, f);
    __tsan_destroy_fiber(old);
    pthread_sigmask(SIG_SETMASK, &p->mask, NULL);
#else
    chopin__fiber_announce(p, NULL, f);
#endif
}

/* ---- floating-point modes: rounding, flush to zero, traps; of the sticky flags nothing is promised ---- */

CHOPIN__FIBER_RAW static uint64_t chopin__fiber_modes(void) {
#if defined(__x86_64__)
    uint32_t mxcsr;
    uint16_t x87;
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(x87));
    return (uint64_t)mxcsr << 16 | x87;
#elif defined(__aarch64__)
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    return fpcr;
#elif defined(__arm__) && defined(__ARM_FP)
    uint32_t fpscr;
    __asm__ volatile("vmrs %0, fpscr" : "=r"(fpscr));
    return fpscr & ~UINT32_C(0xf800009f);
#elif defined(__riscv_flen)
    uint32_t rounding;
    __asm__ volatile("frrm %0" : "=r"(rounding));
    return rounding;
#else
    return 0;
#endif
}

CHOPIN__FIBER_RAW static void chopin__fiber_modes_set(uint64_t modes) {
#if defined(__x86_64__)
    // Just written: 3 ns per switch; comparing first, as the others do, is 6 (Zen).
    uint32_t mxcsr = (uint32_t)(modes >> 16);
    uint16_t x87   = (uint16_t)modes;
    __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(mxcsr), "m"(x87));
#else
    if (chopin__fiber_modes() == modes) {   // writing one of these may drain the pipeline
        return;
    }
#if defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(modes));
#elif defined(__arm__) && defined(__ARM_FP)
    __asm__ volatile("vmsr fpscr, %0" : : "r"((uint32_t)modes));
#elif defined(__riscv_flen)
    __asm__ volatile("fsrm %0" : : "r"((uint32_t)modes));
#endif
#endif
}

/* ---- the switch ---- */

/* Stores in `from` where we are and goes on at `to`; returns when somebody jumps back.
   All registers are listed as lost but the floating-point ones that any call may lose: so the
   compiler saves the callee-saved ones, and nothing of ours is live after the jump. Stack pointer
   and frame pointer change together and nothing is pushed, so unwinding works at every instruction.
   `to` also travels in the register of the first argument, and the return address is zero: what a
   fresh fiber's start expects. */
CHOPIN__FIBER_OPAQUE CHOPIN__FIBER_RAW
static void chopin__fiber_jump(chopin__fiber_context *from, chopin__fiber_context *to) {
#if !defined(CHOPIN__FIBER_ASM)
    swapcontext(from, to);
#elif defined(__x86_64__)
    __asm__ volatile(
        "leaq   1f(%%rip), %%rax            \n\t"
        "movq   %%rax,  0(%%rsi)            \n\t"
        "movq   %%rsp,  8(%%rsi)            \n\t"
        "movq   %%rbp, 16(%%rsi)            \n\t"
        "movq    0(%%rdi), %%rax            \n\t"
        "movq    8(%%rdi), %%rsp            \n\t"
        "movq   16(%%rdi), %%rbp            \n\t"
        "jmpq   *%%rax                      \n\t"
        "1: .byte 0xf3, 0x0f, 0x1e, 0xfa    \n\t"   // endbr64, also for assemblers that never heard of it
        : "+D"(to), "+S"(from)
        :
        : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
#elif defined(__aarch64__)
    register chopin__fiber_context *x0 __asm__("x0") = to;
    register chopin__fiber_context *x1 __asm__("x1") = from;
    __asm__ volatile(
        "adr    x16, 1f                     \n\t"
        "mov    x17, sp                     \n\t"
        "stp    x16, x17, [x1]              \n\t"
        "str    x29, [x1, #16]              \n\t"
        "ldp    x16, x17, [x0]              \n\t"
        "ldr    x29, [x0, #16]              \n\t"
        "mov    sp, x17                     \n\t"
        "mov    x30, xzr                    \n\t"
        "br     x16                         \n\t"   // through x16 a jump may also land on a function's `bti c`
        "1: hint #36                        \n\t"   // bti j
        : "+r"(x0), "+r"(x1)
        :
        : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17",
          "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x30",
          "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "memory", "cc");
#elif defined(__arm__)
    register chopin__fiber_context *r0 __asm__("r0") = to;
    register chopin__fiber_context *r1 __asm__("r1") = from;
    __asm__ volatile(
        "adr    r12, 1f                     \n\t"
#if defined(__thumb__)
        "orr    r12, r12, #1                \n\t"   // the jump stays in Thumb state
#endif
        "mov    r3, sp                      \n\t"
        "str    r12, [r1]                   \n\t"
        "str    r3,  [r1, #4]               \n\t"
        "str    r11, [r1, #8]               \n\t"
        "str    r7,  [r1, #12]              \n\t"
        "ldr    r12, [r0]                   \n\t"
        "ldr    r3,  [r0, #4]               \n\t"
        "ldr    r11, [r0, #8]               \n\t"
        "ldr    r7,  [r0, #12]              \n\t"
        "mov    sp, r3                      \n\t"
        "mov    lr, #0                      \n\t"
        "bx     r12                         \n\t"
        ".p2align 2                         \n\t"   // adr counts in words
        "1:                                 \n\t"
        : "+r"(r0), "+r"(r1)
        :
        : "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r12", "lr",
#if defined(__ARM_FP)
          "d8", "d9", "d10", "d11", "d12", "d13", "d14", "d15",
#endif
          "memory", "cc");
#elif defined(__riscv)
    register chopin__fiber_context *a0 __asm__("a0") = to;
    register chopin__fiber_context *a1 __asm__("a1") = from;
    __asm__ volatile(
        "lla    t1, 1f                      \n\t"
        "sd     t1,  0(a1)                  \n\t"
        "sd     sp,  8(a1)                  \n\t"
        "sd     s0, 16(a1)                  \n\t"
        "ld     t1,  0(a0)                  \n\t"
        "ld     sp,  8(a0)                  \n\t"
        "ld     s0, 16(a0)                  \n\t"
        "mv     ra, zero                    \n\t"
        "jr     t1                          \n\t"   // not through t0: that one counts as a return
        "1:                                 \n\t"
        : "+r"(a0), "+r"(a1)
        :
        : "a2", "a3", "a4", "a5", "a6", "a7", "t0", "t1", "t2", "t3", "t4", "t5", "t6", "ra",
          "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11",
#if defined(__riscv_flen)
          "fs0", "fs1", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9", "fs10", "fs11",
#endif
          "memory");
#endif
}

/* The outermost function of every fiber; nobody returns from it, and unwinders are told to stop here. */
CHOPIN__FIBER_OPAQUE CHOPIN__FIBER_RAW
static void chopin__fiber_start(chopin__fiber *f) {
#if defined(CHOPIN__FIBER_ASM) && defined(__GCC_HAVE_DWARF2_CFI_ASM)
#if defined(__x86_64__)
    __asm__ volatile(".cfi_undefined rip");
#elif defined(__aarch64__)
    __asm__ volatile(".cfi_undefined x30");
#elif defined(__arm__)
    __asm__ volatile(".cfi_undefined r14");
#elif defined(__riscv)
    __asm__ volatile(".cfi_undefined ra");
#endif
#endif
    chopin__fiber_arrived(f->pool, f);
    chopin__fiber_modes_set(f->pool->home.modes);
    f->pool->entry(f->pool->arg);
    CHOPIN_ASSERT(false && "the entry of a fiber returned");
    abort();
}

#if !defined(CHOPIN__FIBER_ASM)
/* makecontext() hands over ints only: a pointer comes in two halves. */
CHOPIN__FIBER_RAW static void chopin__fiber_start_halves(unsigned high, unsigned low) {
    const uint64_t address = (uint64_t)high << 32 | low;
    chopin__fiber_start((chopin__fiber *)(uintptr_t)address);
}
#endif

/* Makes `f` fresh: the next switch to it begins at its entry, above whatever frames it had. */
CHOPIN__FIBER_RAW static void chopin__fiber_rewind(chopin__fiber *f) {
    f->live = f->low + f->size;
#if !defined(CHOPIN__FIBER_ASM)
    const uint64_t address = (uintptr_t)f;
    getcontext(&f->context);
    f->context.uc_link          = NULL;
    f->context.uc_stack.ss_sp   = (void *)f->low;
    f->context.uc_stack.ss_size = f->size;
    makecontext(&f->context, (void (*)(void))chopin__fiber_start_halves, 2, (unsigned)(address >> 32), (unsigned)address);
#else
    f->context.pc = (uintptr_t)chopin__fiber_start;
    f->context.sp = f->live;
    f->context.fp = f->context.thumb_fp = 0;   // ends the chain for tools that walk frame pointers
#if defined(__x86_64__)
    f->context.sp -= sizeof(uintptr_t);        // as if by a call, from address zero
    *(uintptr_t *)f->context.sp = 0;
#endif
#endif
}

/* ---- stacks ---- */

static bool chopin__fiber_guard(chopin__fibers *p, char *low) {
#if defined(__linux__)
    // 102 is MADV_GUARD_INSTALL (Linux 6.13): no mapping of its own per guard, of which mprotect needs
    // two per stack and a process has 65530. Emulators say yes to any advice and do nothing, hence
    // the second question: 22, MADV_POPULATE_READ, must fail on a guard.
    if (madvise(low, p->guard_size, 102) == 0 && madvise(low, p->guard_size, 22) != 0) {
        return true;
    }
#endif
    p->guards_map = true;
    return mprotect(low, p->guard_size, PROT_NONE) == 0;
}

/* Maps the next stacks, each above its guard. False: no memory, no address space, or no mappings left. */
static bool chopin__fiber_slab(chopin__fibers *p) {
    const size_t one = p->guard_size + p->stack_size;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
#if defined(MAP_NORESERVE)
    flags |= MAP_NORESERVE;
#endif
#if defined(__linux__) || defined(__OpenBSD__)
    flags |= MAP_STACK;
#endif
    char *slab = mmap(NULL, one * CHOPIN__FIBER_SLAB, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (slab == MAP_FAILED) {
        return false;
    }
#if defined(MADV_NOHUGEPAGE)
    madvise(slab, one * CHOPIN__FIBER_SLAB, MADV_NOHUGEPAGE);   // else a first touch may commit 2 MiB
#endif
    for (size_t i = 0; i < CHOPIN__FIBER_SLAB; i++) {
        if (!chopin__fiber_guard(p, slab + i * one)) {
            munmap(slab, one * CHOPIN__FIBER_SLAB);
            return false;
        }
    }
    p->slab = slab;
    return true;
}

static chopin__fiber *chopin__fiber_make(chopin__fibers *p) {
    const unsigned index = p->count % CHOPIN__FIBER_SLAB;
    if (p->count == p->max || (index == 0 && !chopin__fiber_slab(p))) {
        return NULL;
    }
    char *low = p->slab + index * (p->guard_size + p->stack_size) + p->guard_size;
    // Tops at the same offset in their pages would compete for the same few lines of the cache.
    size_t size = p->stack_size - sizeof(chopin__fiber) - index * CHOPIN__FIBER_COLOUR;
    size -= size % 64;
    chopin__fiber *f = (chopin__fiber *)(void *)(low + size);
    f->pool  = p;
    f->slab  = index == 0 ? p->slab : NULL;
    f->low   = (uintptr_t)low;
    f->size  = size;
    f->older = p->newest;
    p->newest = f;
    p->count++;
    chopin__fiber_rewind(f);
    chopin__fiber_tools_made(f);
    return f;
}

/* Returns the pages below the frames in use to the system. Opaque, so that its own frame lies below
   all of its caller's; one page more is left for the frames and the red zone under that. */
CHOPIN__FIBER_OPAQUE static void chopin__fiber_cool(chopin__fibers *p, chopin__fiber *f) {
    const uintptr_t here = (uintptr_t)__builtin_frame_address(0);   // not in the ?:, clang 14 -O0 for ARM loses it there
    uintptr_t end = f == p->current ? here : f->live;
    end = (end & ~(uintptr_t)(p->page_size - 1)) - p->page_size;
    if (end > f->low) {
        madvise((void *)f->low, end - f->low, MADV_DONTNEED);
    }
}

/* ---- the pool ---- */

/* An idle fiber, fresh or in the middle of the loop. NULL: `max` are in use, or no memory for one more. */
static chopin__fiber *chopin__fiber_take(chopin__fibers *p) {
    chopin__fiber *f = p->warm;
    if (f != NULL) {
        p->warm = f->next;
        p->warm_count--;
    } else if ((f = p->cold) != NULL) {
        p->cold = f->next;
        p->cold_count--;
    } else {
        f = chopin__fiber_make(p);
    }
    return f;
}

/* `f` becomes idle: who takes it continues it where it switched away. It may be the current one,
   which then must switch before anybody takes. */
static void chopin__fiber_give(chopin__fibers *p, chopin__fiber *f) {
    CHOPIN_ASSERT(f->pool == p);
    // Two lists, so that after a burst the few fibers in daily use stay warm and cost no system call.
    if (p->warm_count < p->warm_max) {
        f->next = p->warm;
        p->warm = f;
        p->warm_count++;
    } else {
        chopin__fiber_cool(p, f);
        f->next = p->cold;
        p->cold = f;
        p->cold_count++;
    }
}

/* Every switch passes here. Opaque for the same reason as chopin__fiber_cool(): .live must lie below
   the frame of the caller, whoever it is. */
CHOPIN__FIBER_OPAQUE CHOPIN__FIBER_RAW
static void chopin__fiber_go(chopin__fibers *p, chopin__fiber *from, chopin__fiber *to) {
    from->live  = (uintptr_t)__builtin_frame_address(0);
    from->modes = chopin__fiber_modes();
    chopin__fiber_announce(p, from, to);
    chopin__fiber_jump(&from->context, &to->context);
    chopin__fiber_arrived(p, from);
    // Everybody restores his own, so that it is right wherever he came from, a signal handler included.
    chopin__fiber_modes_set(from->modes);
}

/* Continues `to`, which was taken or is parked. Returns when somebody switches back to the caller. */
static void chopin__fiber_switch(chopin__fibers *p, chopin__fiber *to) {
    chopin__fiber *from = p->current;
    CHOPIN_ASSERT(from != NULL && to != from);
    chopin__fiber_go(p, from, to);
}

/* From the thread's own stack into the loop, where the last leave stopped it or at its entry.
   Returns after chopin__fiber_leave(). */
static void chopin__fiber_enter(chopin__fibers *p) {
    CHOPIN_ASSERT(p->current == NULL);
#if defined(CHOPIN__FIBER_TSAN)
    p->home.sanitizer = __tsan_get_current_fiber();
    pthread_sigmask(SIG_SETMASK, NULL, &p->mask);
#endif
    chopin__fiber_go(p, &p->home, p->loop);
    p->current = NULL;
}

/* From the current fiber back to enter's caller; the next enter continues here. The answer says
   whether the caller must return from the entry now (never, but in a build without fibers). */
static bool chopin__fiber_leave(chopin__fibers *p) {
    CHOPIN_ASSERT(p->current != NULL);
    p->loop = p->current;
    chopin__fiber_go(p, p->loop, &p->home);
    return false;
}

/* Abandons the frames of the current fiber, whatever their state, and starts it again at its entry:
   needs no other fiber, so it cannot fail. Outside of one (.current is NULL) there is nothing to
   retire. May be called from a signal handler, on its stack or on the fiber's, if the handler was
   installed with SA_NODEFER and an empty sa_mask: nobody restores the signal mask. A fiber taken
   but not yet switched to, and any note that this one is parked, are the caller's to undo.
   Raw, and no addresses of locals: ASan takes away what they would stand on. */
CHOPIN__FIBER_RAW _Noreturn static void chopin__fiber_retire(chopin__fibers *p) {
    chopin__fiber *f = p->current;
    CHOPIN_ASSERT(f != NULL);
    chopin__fiber_tools_rewind(p, f);
    chopin__fiber_rewind(f);
    chopin__fiber_jump(&p->nowhere, &f->context);
    abort();
}

/* Whether `addr` lies in the guard below the stack of `f`. */
static bool chopin__fiber_overflowed(const chopin__fibers *p, const chopin__fiber *f, const void *addr) {
    return (uintptr_t)addr < f->low && (uintptr_t)addr >= f->low - p->guard_size;
}

/* The most bytes of its stack that `f` ever used, judging by what is not zero; since it was last
   cooled. Reads the whole stack: for debug builds. */
CHOPIN__FIBER_RAW static size_t chopin__fiber_depth(const chopin__fiber *f) {
    typedef size_t __attribute__((may_alias)) word;
    const word *end = (const word *)(f->low + f->size);
    const word *at  = (const word *)f->low;
#if defined(CHOPIN__FIBER_VALGRIND)
    VALGRIND_DISABLE_ERROR_REPORTING;   // it forbids reading below the stack pointer
#endif
    while (at < end && *at == 0) {
        at++;
    }
#if defined(CHOPIN__FIBER_VALGRIND)
    VALGRIND_ENABLE_ERROR_REPORTING;
#endif
    return (size_t)(end - at) * sizeof(word);
}

/* Whether the CPU compares our returns with a stack of its own (CET), which the switch does not follow. */
static bool chopin__fiber_shadow_stack(void) {
    uint64_t ssp = 0;
#if defined(CHOPIN__FIBER_ASM) && defined(__x86_64__)
    __asm__ volatile(".byte 0xf3, 0x48, 0x0f, 0x1e, 0xc8" : "+a"(ssp));   // rdsspq %rax; a nop where there is none
#endif
    return ssp != 0;
}

static void chopin__fibers_done(chopin__fibers *p) {
    CHOPIN_ASSERT(p->current == NULL);
    for (chopin__fiber *f = p->newest, *older; f != NULL; f = older) {
        older = f->older;
        chopin__fiber_tools_gone(f);
        if (f->slab != NULL) {   // the oldest of its slab: all the others are done with
            munmap(f->slab, (p->guard_size + p->stack_size) * CHOPIN__FIBER_SLAB);
        }
    }
    memset(p, 0, sizeof *p);
}

static size_t chopin__fiber_round(size_t size, size_t page_size) {
    return (size + page_size - 1) / page_size * page_size;
}

/* Makes the pool and the first fiber. `stack_size` is rounded up to pages. False: errno tells why;
   ENOTSUP is a hardware shadow stack, under which only CHOPIN_FIBER_UCONTEXT works. */
static bool chopin__fibers_init(chopin__fibers *p, size_t stack_size, unsigned max, void (*entry)(void *arg), void *arg) {
    CHOPIN_ASSERT(max > 0 && entry != NULL && stack_size < SIZE_MAX / (CHOPIN__FIBER_SLAB + 1));
    memset(p, 0, sizeof *p);
    if (chopin__fiber_shadow_stack()) {
        errno = ENOTSUP;
        return false;
    }
    p->entry      = entry;
    p->arg        = arg;
    p->page_size  = (size_t)sysconf(_SC_PAGESIZE);
    p->guard_size = chopin__fiber_round(CHOPIN__FIBER_GUARD, p->page_size);
    p->stack_size = chopin__fiber_round(stack_size > CHOPIN__FIBER_STACK_MIN ? stack_size : CHOPIN__FIBER_STACK_MIN, p->page_size);
    p->max        = max;
    p->warm_max   = CHOPIN__FIBER_WARM;
    p->loop       = chopin__fiber_make(p);
    return p->loop != NULL;
}

#endif   // fibers

/* ==========================================================================================================
   >>log   the texts of all statuses, and the one function that speaks to the user's logger
   ========================================================================================================== */

typedef struct chopin__logger {
    void        (*hook)(void *user, chopin_level level, const char *text);
    void         *user;
    chopin_level  level;
} chopin__logger;

CHOPIN_API const char *chopin_status_text(int status) {
    switch (status) {
#define CHOPIN__CASE(name, value, text) case (value): return text;
    CHOPIN_STATUSES(CHOPIN__CASE)
#undef CHOPIN__CASE
    default: return "unknown status";
    }
}

/* One line to standard error, in one write so that lines of several threads do not mix. */
static void chopin__log_stderr(chopin_level level, const char *text) {
    static const char *const names[] = { "debug", "info", "warning", "error" };
    char line[1200];
    int  n = snprintf(line, sizeof line, "chopin: %s: %s\n", names[level], text);
    if (n < 0) return;
    if ((size_t)n >= sizeof line) { n = (int)sizeof line; line[n - 1] = '\n'; }
    ssize_t ignored = write(STDERR_FILENO, line, (size_t)n);
    (void)ignored;
}

/* Longer messages are cut; control bytes, which a peer may have put there, become '?'. */
static void chopin__vlog(const chopin__logger *l, chopin_level level, const char *format, va_list args) {
    char text[1024];
    if (level < l->level) return;
    vsnprintf(text, sizeof text, format, args);
    for (char *p = text; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f) *p = '?';
    }
    if (l->hook) l->hook(l->user, level, text);
    else         chopin__log_stderr(level, text);
}

static void CHOPIN__PRINTF(3, 4) chopin__log(const chopin__logger *l, chopin_level level, const char *format, ...) {
    va_list args;
    va_start(args, format);
    chopin__vlog(l, level, format, args);
    va_end(args);
}

/* ==========================================================================================================
   >>time   deadlines in a timer wheel, and the cached Date line
   Four rings of 64 slots, 1 ms, 64 ms, 4 s and 4 min wide, each with a bitmap: filing, unfiling and finding the next
   moment of interest are O(1). A timer that is put off only has its `due` written: the wheel files it anew when
   it comes by, so a busy keep-alive connection never touches the wheel.
   ========================================================================================================== */
#define CHOPIN__NEVER INT64_MAX

typedef struct chopin__timer {
    struct chopin__timer  *next;
    struct chopin__timer **link;        // what points at us; NULL when not filed
    int64_t                due;         // when it fires; may be moved later while filed
    int64_t                filed;       // what it is filed for: never later than `due`
    bool                   of_wait;     // part of a chopin__wait, else of a connection
} chopin__timer;

typedef struct chopin__wheel {
    int64_t        now;                 // all that was due until here has fired
    uint64_t       map[4];              // which slots hold timers
    chopin__timer *slot[4][64];
} chopin__wheel;

static void chopin__wheel_file(chopin__wheel *w, chopin__timer *t, int64_t at) {
    int64_t  limit = w->now + ((int64_t)63 << 18);           // further ones come by at the edge and are filed again
    int64_t  when = at < limit ? at : limit;
    unsigned ring = when - w->now < 64 ? 0 : when - w->now < 4096 ? 1 : when - w->now < 262144 ? 2 : 3;
    unsigned slot = (unsigned)(when >> (6 * ring)) & 63;
    t->filed = when;
    t->next = w->slot[ring][slot];
    t->link = &w->slot[ring][slot];
    if (t->next) t->next->link = &t->next;
    w->slot[ring][slot] = t;
    w->map[ring] |= (uint64_t)1 << slot;
}

/* The slot's bit stays set: the wheel notices that it is empty when it comes by. */
static void chopin__timer_stop(chopin__timer *t) {
    if (!t->link) return;
    *t->link = t->next;
    if (t->next) t->next->link = t->link;
    t->link = NULL;
}

/* From now on `t` fires at `due`. Later than before: only a field is written. */
static inline void chopin__timer_set(chopin__wheel *w, chopin__timer *t, int64_t due) {
    t->due = due;
    if (CHOPIN__LIKELY(t->link && due >= t->filed)) return;
    chopin__timer_stop(t);
    if (due != CHOPIN__NEVER) chopin__wheel_file(w, t, due > w->now ? due : w->now + 1);
}

/* The next moment at which a slot in use comes by; NEVER if there is none. */
static int64_t chopin__wheel_next(const chopin__wheel *w) {
    int64_t next = CHOPIN__NEVER;
    for (unsigned ring = 0; ring < 4; ring++) {
        if (!w->map[ring]) continue;
        int64_t  now = w->now >> (6 * ring);
        unsigned turn = (unsigned)(now + 1) & 63;
        uint64_t ahead = turn ? w->map[ring] >> turn | w->map[ring] << (64 - turn) : w->map[ring];
        int64_t  at = (now + 1 + __builtin_ctzll(ahead)) << (6 * ring);
        if (at < next) next = at;
    }
    return next;
}

/* Takes all timers out of a slot; they stay linked through `next`. */
static chopin__timer *chopin__wheel_empty(chopin__wheel *w, unsigned ring, unsigned slot) {
    chopin__timer *list = w->slot[ring][slot];
    w->slot[ring][slot] = NULL;
    w->map[ring] &= ~((uint64_t)1 << slot);
    for (chopin__timer *t = list; t; t = t->next) t->link = NULL;
    return list;
}

/* Moves the timers of the coarse slots that begin at w->now to where they belong. */
static void chopin__wheel_cascade(chopin__wheel *w) {
    for (unsigned ring = 3; ring > 0; ring--) {
        if (w->now & (((int64_t)1 << (6 * ring)) - 1)) continue;
        chopin__timer *t = chopin__wheel_empty(w, ring, (unsigned)(w->now >> (6 * ring)) & 63);
        while (t) {
            chopin__timer *next = t->next;
            if (t->due != CHOPIN__NEVER) chopin__wheel_file(w, t, t->due > w->now ? t->due : w->now);
            t = next;
        }
    }
}

/* The next timer that is due at or before `now`, unfiled; NULL when there is none. Call until NULL. */
static chopin__timer *chopin__wheel_fire(chopin__wheel *w, int64_t now) {
    for (;;) {
        chopin__timer *t = w->slot[0][w->now & 63];
        if (t) {
            chopin__timer_stop(t);
            if (t->due <= w->now) return t;
            if (t->due != CHOPIN__NEVER) chopin__wheel_file(w, t, t->due);
            continue;
        }
        w->map[0] &= ~((uint64_t)1 << (w->now & 63));
        int64_t next = chopin__wheel_next(w);
        if (next > now) { if (now > w->now) w->now = now; return NULL; }
        w->now = next;
        chopin__wheel_cascade(w);
    }
}

static void chopin__date_two(char *to, unsigned number) {
    to[0] = (char)('0' + number / 10);
    to[1] = (char)('0' + number % 10);
}

/* IMF-fixdate of RFC 9110 5.6.7: 29 characters, no NUL. Own arithmetic: gmtime_r would read time-zone files. */
static void chopin__date_format(char out[29], int64_t unix_s) {
    static const char days[] = "ThuFriSatSunMonTueWed", months[] = "MarAprMayJunJulAugSepOctNovDecJanFeb";
    int64_t  day = unix_s / 86400;
    unsigned s = (unsigned)(unix_s % 86400);
    int64_t  z = day + 719468, era = z / 146097, doe = z % 146097;      // days since 0000-03-01, in 400-year eras
    int64_t  yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t  doy = doe - (365 * yoe + yoe / 4 - yoe / 100), month = (5 * doy + 2) / 153;
    unsigned year = (unsigned)((yoe + era * 400 + (month >= 10)) % 10000);
    // Not by snprintf: it took half of the instructions of a small file that is opened anew.
    memcpy(out, "Thu, 01 Jan 1970 00:00:00 GMT", 29);
    memcpy(out, days + 3 * (day % 7), 3);
    memcpy(out + 8, months + 3 * month, 3);
    chopin__date_two(out + 5, (unsigned)(doy - (153 * month + 2) / 5 + 1));
    chopin__date_two(out + 12, year / 100);
    chopin__date_two(out + 14, year % 100);
    chopin__date_two(out + 17, s / 3600);
    chopin__date_two(out + 20, s / 60 % 60);
    chopin__date_two(out + 23, s % 60);
}

/* ==========================================================================================================
   >>http1   request head, chunks, trailer. Pure: bytes in, struct out; nothing is allocated, copied or changed
   The head is one pass of small steps (method, target, version; then name, blanks, value of each field). A step that
   runs out of input writes down where it stands and is entered again there, so no byte is scanned twice, however the
   input is cut; a complete head goes straight through. What a prefix is refused for, the whole is refused for: no
   verdict depends on the cuts. Scanning looks at a block of bytes at once; a stop mask says which of them end the span.
   All refusals are final: RFC 9112 2.2 lets us guess at what a bad line meant, and guessing is how requests are smuggled.
   ========================================================================================================== */

/* ---- what the CPU can (>>platform): one word, filled on first use; every thread would write the same ---- */
enum { CHOPIN__CPU_KNOWN = 1, CHOPIN__CPU_AVX2 = 2 };
static _Atomic unsigned chopin__cpu_word;

static CHOPIN__NOINLINE unsigned chopin__cpu_ask(void) {
    unsigned word = CHOPIN__CPU_KNOWN;
#if defined(__x86_64__) && !defined(CHOPIN_NO_SIMD)
    unsigned a, b, c, d, low, high;                          // (__builtin_cpu_supports() would cost every small program 4 KiB)
    if (__get_cpuid(1, &a, &b, &c, &d) && (c & bit_OSXSAVE)) {
        __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        bool ymm = (low & 6) == 6;                           // the kernel saves these registers
        if (ymm && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2)) word |= CHOPIN__CPU_AVX2;
    }
#endif
    atomic_store_explicit(&chopin__cpu_word, word, memory_order_relaxed);
    return word;
}

static inline unsigned chopin__cpu(void) {
    unsigned word = atomic_load_explicit(&chopin__cpu_word, memory_order_relaxed);
    return CHOPIN__LIKELY(word) ? word : chopin__cpu_ask();
}

/* ---- blocks: CHOPIN__WIDE bytes side by side, and masks of CHOPIN__LANE bits for each, the first byte lowest ---- */
#if defined(__OPTIMIZE_SIZE__)
#define CHOPIN__INLINE static inline
#else
#define CHOPIN__INLINE static inline __attribute__((always_inline))
#endif

#ifndef CHOPIN__VISIT                   // tests count the bytes that are looked at
#define CHOPIN__VISIT(n) ((void)0)
#endif

typedef uint64_t chopin__mask;

#if defined(__x86_64__) && !defined(CHOPIN_NO_SIMD)
enum { CHOPIN__WIDE = 16, CHOPIN__LANE = 1 };
#define CHOPIN__ALL 0xffffu
typedef __m128i chopin__block;
CHOPIN__INLINE chopin__block chopin__block_load(const char *p)                    { return _mm_loadu_si128((const __m128i *)(const void *)p); }
CHOPIN__INLINE chopin__block chopin__block_or(chopin__block a, chopin__block b)   { return _mm_or_si128(a, b); }
CHOPIN__INLINE chopin__block chopin__block_less(chopin__block a, chopin__block b) { return _mm_andnot_si128(b, a); }
CHOPIN__INLINE chopin__block chopin__block_lower(chopin__block v)                 { return _mm_or_si128(v, _mm_set1_epi8(0x20)); }
CHOPIN__INLINE chopin__block chopin__block_is(chopin__block v, char ch)           { return _mm_cmpeq_epi8(v, _mm_set1_epi8(ch)); }
CHOPIN__INLINE chopin__block chopin__block_in(chopin__block v, int low, int high) {     // SSE2 compares signed: the range is moved to the bottom
    return _mm_cmplt_epi8(_mm_add_epi8(v, _mm_set1_epi8((char)(0x80 - low))), _mm_set1_epi8((char)(high - low + 1 - 0x80)));
}
CHOPIN__INLINE chopin__mask chopin__block_mask(chopin__block v) { return (chopin__mask)(unsigned)_mm_movemask_epi8(v); }

#elif defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && !defined(CHOPIN_NO_SIMD)
enum { CHOPIN__WIDE = 16, CHOPIN__LANE = 4 };
#define CHOPIN__ALL UINT64_MAX
typedef uint8x16_t chopin__block;
CHOPIN__INLINE chopin__block chopin__block_load(const char *p)                    { return vld1q_u8((const uint8_t *)p); }
CHOPIN__INLINE chopin__block chopin__block_or(chopin__block a, chopin__block b)   { return vorrq_u8(a, b); }
CHOPIN__INLINE chopin__block chopin__block_less(chopin__block a, chopin__block b) { return vbicq_u8(a, b); }
CHOPIN__INLINE chopin__block chopin__block_lower(chopin__block v)                 { return vorrq_u8(v, vdupq_n_u8(0x20)); }
CHOPIN__INLINE chopin__block chopin__block_is(chopin__block v, char ch)           { return vceqq_u8(v, vdupq_n_u8((uint8_t)ch)); }
CHOPIN__INLINE chopin__block chopin__block_in(chopin__block v, int low, int high) {
    return vcleq_u8(vsubq_u8(v, vdupq_n_u8((uint8_t)low)), vdupq_n_u8((uint8_t)(high - low)));
}
CHOPIN__INLINE chopin__mask chopin__block_mask(chopin__block v) {                       // four bits of each byte survive the narrowing shift
    return vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16(vreinterpretq_u16_u8(v), 4)), 0);
}

#else   /* eight bytes in a word; a set top bit says yes. Exact: no carry leaves its byte, for bounds below 0x80 */
enum { CHOPIN__WIDE = 8, CHOPIN__LANE = 8 };
#define CHOPIN__EACH(byte) (UINT64_C(0x0101010101010101) * (byte))
#define CHOPIN__ALL CHOPIN__EACH(0x80)
typedef uint64_t chopin__block;
CHOPIN__INLINE chopin__block chopin__block_load(const char *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}
CHOPIN__INLINE chopin__block chopin__block_or(chopin__block a, chopin__block b)   { return a | b; }
CHOPIN__INLINE chopin__block chopin__block_less(chopin__block a, chopin__block b) { return a & ~b; }
CHOPIN__INLINE chopin__block chopin__block_lower(chopin__block v)                 { return v | CHOPIN__EACH(0x20); }
CHOPIN__INLINE chopin__block chopin__block_in(chopin__block v, int low, int high) {
    uint64_t low7 = v & CHOPIN__EACH(0x7f);
    return (low7 + CHOPIN__EACH((uint64_t)(0x80 - low))) & ~(low7 + CHOPIN__EACH((uint64_t)(0x7f - high))) & ~v & CHOPIN__ALL;
}
CHOPIN__INLINE chopin__block chopin__block_is(chopin__block v, char ch) { return chopin__block_in(v, ch, ch); }
CHOPIN__INLINE chopin__mask chopin__block_mask(chopin__block v)         { return v; }
#endif

/* ---- the four spans. Each mask marks the bytes at which a span of that kind stops ---- */
typedef chopin__mask (*chopin__stops)(chopin__block v);

/* Letters and '-' go on: what nearly all names and methods are made of; chopin__token_end() knows the rest. */
CHOPIN__INLINE chopin__mask chopin__name_stops(chopin__block v) {
    chopin__block letter = chopin__block_in(chopin__block_lower(v), 'a', 'z');
    return chopin__block_mask(chopin__block_or(letter, chopin__block_is(v, '-'))) ^ CHOPIN__ALL;
}

/* All but HTAB, blank, visible characters and bytes from 0x80 stop (RFC 9110 5.5). */
CHOPIN__INLINE chopin__mask chopin__value_stops(chopin__block v) {
    chopin__block control = chopin__block_less(chopin__block_in(v, 0, 0x1f), chopin__block_is(v, '\t'));
    return chopin__block_mask(chopin__block_or(control, chopin__block_is(v, 0x7f)));
}

/* Visible ASCII goes on, but for '#', which no target has, and '?' and '%', which are noted. Characters that a URI ought to encode
   (RFC 3986 2: `|`, `^`, `{`, ...) go on: browsers send them, and none of them can end a line or a target. */
CHOPIN__INLINE chopin__mask chopin__target_stops(chopin__block v) {
    chopin__block marks = chopin__block_or(chopin__block_or(chopin__block_is(v, '#'), chopin__block_is(v, '?')), chopin__block_is(v, '%'));
    return chopin__block_mask(chopin__block_less(chopin__block_in(v, 0x21, 0x7e), marks)) ^ CHOPIN__ALL;
}

/* Letters, digits, '.' and '-' go on: what nearly all host names are made of. */
CHOPIN__INLINE chopin__mask chopin__host_stops(chopin__block v) {
    chopin__block letter = chopin__block_in(chopin__block_lower(v), 'a', 'z');
    chopin__block other  = chopin__block_less(chopin__block_in(v, '-', '9'), chopin__block_is(v, '/'));
    return chopin__block_mask(chopin__block_or(letter, other)) ^ CHOPIN__ALL;
}

CHOPIN__INLINE size_t chopin__mask_first(chopin__mask mask) { return (size_t)__builtin_ctzll(mask) / CHOPIN__LANE; }

/* The mask of the `left` (under CHOPIN__WIDE) bytes before `stop`: through a block that ends there if `base` is far enough before, else through a
   copy. Nothing outside [base, stop) is read; what is not ours counts as a stop. */
CHOPIN__INLINE chopin__mask chopin__tail_stops(const char *base, const char *stop, size_t left, chopin__stops stops) {
    chopin__mask beyond = (chopin__mask)1 << (left * CHOPIN__LANE);
    if (CHOPIN__LIKELY(stop - base >= CHOPIN__WIDE)) {
        return stops(chopin__block_load(stop - CHOPIN__WIDE)) >> ((CHOPIN__WIDE - left) * CHOPIN__LANE) | beyond;
    }
    char copy[CHOPIN__WIDE] = { 0 };
    for (size_t i = 0; i < left; i++) copy[i] = stop[(ptrdiff_t)i - (ptrdiff_t)left];
    return stops(chopin__block_load(copy)) | beyond;
}

/* The first byte in [at, stop) at which the span stops, or `stop`: block by block ... */
CHOPIN__INLINE const char *chopin__span_blocks(const char *base, const char *at, const char *stop, chopin__stops stops) {
    for (; stop - at >= CHOPIN__WIDE; at += CHOPIN__WIDE) {
        chopin__mask mask = stops(chopin__block_load(at));
        CHOPIN__VISIT(mask ? chopin__mask_first(mask) + 1 : CHOPIN__WIDE);
        if (mask) return at + chopin__mask_first(mask);
    }
    size_t left = (size_t)(stop - at);
    if (left == 0) return stop;
    size_t n = chopin__mask_first(chopin__tail_stops(base, stop, left, stops));
    CHOPIN__VISIT(chopin__min(n + 1, left));
    return at + n;
}

/* ... with the first block in line, since most spans end there, and a call for the rest. */
typedef const char *(*chopin__span_rest)(const char *base, const char *at, const char *stop);

CHOPIN__INLINE const char *chopin__span(const char *base, const char *at, const char *stop, chopin__stops stops, chopin__span_rest rest) {
    if (CHOPIN__LIKELY(stop - at >= CHOPIN__WIDE)) {
        chopin__mask mask = stops(chopin__block_load(at));
        CHOPIN__VISIT(mask ? chopin__mask_first(mask) + 1 : CHOPIN__WIDE);
        if (CHOPIN__LIKELY(mask != 0)) return at + chopin__mask_first(mask);
        at += CHOPIN__WIDE;
    }
    return rest(base, at, stop);
}

static CHOPIN__NOINLINE const char *chopin__name_rest(const char *base, const char *at, const char *stop) {
    return chopin__span_blocks(base, at, stop, chopin__name_stops);
}
static CHOPIN__NOINLINE const char *chopin__target_rest(const char *base, const char *at, const char *stop) {
    return chopin__span_blocks(base, at, stop, chopin__target_stops);
}
static CHOPIN__NOINLINE const char *chopin__host_rest(const char *base, const char *at, const char *stop) {
    return chopin__span_blocks(base, at, stop, chopin__host_stops);
}

#if defined(__x86_64__) && !defined(CHOPIN_NO_SIMD)
/* chopin__value_stops() for 32 bytes at once; gives the first stop, or where fewer than 32 bytes are left. */
__attribute__((target("avx2"))) static const char *chopin__value_rest_avx2(const char *at, const char *stop) {
    const __m256i top = _mm256_set1_epi8(0x1f), tab = _mm256_set1_epi8('\t'), del = _mm256_set1_epi8(0x7f);
    for (; stop - at >= 32; at += 32) {
        __m256i v       = _mm256_loadu_si256((const __m256i *)(const void *)at);
        __m256i control = _mm256_cmpeq_epi8(_mm256_min_epu8(v, top), v);
        __m256i bad     = _mm256_or_si256(_mm256_andnot_si256(_mm256_cmpeq_epi8(v, tab), control), _mm256_cmpeq_epi8(v, del));
        unsigned mask   = (unsigned)_mm256_movemask_epi8(bad);
        CHOPIN__VISIT(mask ? (size_t)__builtin_ctz(mask) : 32);
        if (mask) return at + __builtin_ctz(mask);
    }
    return at;
}
#endif

static CHOPIN__NOINLINE const char *chopin__value_rest(const char *base, const char *at, const char *stop) {
#if defined(__x86_64__) && !defined(CHOPIN_NO_SIMD)
    if (stop - at >= 32 && chopin__cpu() & CHOPIN__CPU_AVX2) at = chopin__value_rest_avx2(at, stop);
#endif
    return chopin__span_blocks(base, at, stop, chopin__value_stops);
}

/* The end of a token (RFC 9110 5.6.2), or `stop`. `usual` is the character that ought to follow. */
CHOPIN__INLINE const char *chopin__token_end(const char *base, const char *at, const char *stop, char usual) {
    at = chopin__span(base, at, stop, chopin__name_stops, chopin__name_rest);
    for (; at < stop && *at != usual && chopin__is_token_char((unsigned char)*at); at++) CHOPIN__VISIT(1);   // a digit, '_' or the like
    return at;
}

/* ---- known names: a perfect hash over length and last four characters. To add a name to CHOPIN_HEADERS, run test_http1: the test
   known_names_are_found prints this table, with another multiplier if two names meet ---- */
#define CHOPIN__NAME_MULTIPLIER 0x59488f3du
#define CHOPIN__NAME_SLOTS(X) \
    X(0, KEEP_ALIVE) X(2, CONNECTION) X(8, AUTHORIZATION) X(13, X_FORWARDED_FOR) X(14, HOST) X(16, CONTENT_LENGTH) X(18, CACHE_CONTROL) \
    X(19, ACCESS_CONTROL_REQUEST_HEADERS) X(20, CONTENT_DISPOSITION) X(23, IF_MODIFIED_SINCE) X(27, PRAGMA) X(28, USER_AGENT) \
    X(29, ACCEPT_LANGUAGE) X(36, SEC_WEBSOCKET_PROTOCOL) X(37, SEC_WEBSOCKET_KEY) X(38, X_FORWARDED_HOST) X(39, CONTENT_ENCODING) \
    X(41, LAST_EVENT_ID) X(44, TRAILER) X(47, SEC_FETCH_DEST) X(48, SEC_FETCH_MODE) X(53, IF_NONE_MATCH) X(57, RANGE) X(63, IF_RANGE) \
    X(64, X_FORWARDED_PROTO) X(65, SEC_WEBSOCKET_VERSION) X(70, ACCEPT) X(73, CONTENT_LANGUAGE) X(74, FORWARDED) X(80, DNT) \
    X(83, REFERER) X(84, TRANSFER_ENCODING) X(85, CONTENT_TYPE) X(86, IF_MATCH) X(91, UPGRADE) X(92, SEC_FETCH_SITE) X(94, DATE) \
    X(104, EXPECT) X(110, VIA) X(111, ORIGIN) X(113, IF_UNMODIFIED_SINCE) X(117, TE) X(121, COOKIE) X(122, ACCEPT_ENCODING) \
    X(124, X_REQUEST_ID) X(125, ACCESS_CONTROL_REQUEST_METHOD) X(127, X_REAL_IP)

static const uint8_t chopin__name_slots[128] = {        // ids; an empty slot is 0, an id like any other, and the comparison fails
#define CHOPIN__SLOT(slot, name) [slot] = CHOPIN_H_##name,
    CHOPIN__NAME_SLOTS(CHOPIN__SLOT)
#undef CHOPIN__SLOT
};

#define CHOPIN__NAME(id, text) char id[sizeof(text)];
typedef struct chopin__name_texts { CHOPIN_HEADERS(CHOPIN__NAME) } chopin__name_texts;      // one behind the other: a third of an array of equal ones
#undef CHOPIN__NAME

static const chopin__name_texts chopin__name_text = {
#define CHOPIN__NAME(id, text) text,
    CHOPIN_HEADERS(CHOPIN__NAME)
#undef CHOPIN__NAME
};

static const struct { uint16_t at, len; } chopin__names[CHOPIN_H_COUNT] = {
#define CHOPIN__NAME(id, text) { offsetof(chopin__name_texts, id), sizeof(text) - 1 },
    CHOPIN_HEADERS(CHOPIN__NAME)
#undef CHOPIN__NAME
};

/* Both cases of a letter are one; names of two or three letters repeat some. */
CHOPIN__INLINE unsigned chopin__name_hash(const char *name, size_t len, uint32_t multiplier) {
    const unsigned char *p = (const unsigned char *)name + (len < 4 ? 0 : len - 4);
    uint32_t late = len < 4 ? (uint32_t)(p[0] | p[1] << 8 | p[len - 1] << 16) : (uint32_t)(p[0] | p[1] << 8 | p[2] << 16) | (uint32_t)p[3] << 24;
    return (((late | 0x20202020u) + (uint32_t)len) * multiplier) >> 25;
}

/* Do 8 (or 4) bytes agree, letters in any case? `known` is lower-case; the bit that tells cases apart does not count where it has a letter. */
CHOPIN__INLINE bool chopin__same8(const char *name, const char *known) {
    uint64_t a, b;
    memcpy(&a, name, sizeof a);
    memcpy(&b, known, sizeof b);
    return ((a | (b >> 1 & UINT64_C(0x2020202020202020))) ^ b) == 0;
}
CHOPIN__INLINE bool chopin__same4(const char *name, const char *known) {
    uint32_t a, b;
    memcpy(&a, name, sizeof a);
    memcpy(&b, known, sizeof b);
    return ((a | (b >> 1 & UINT32_C(0x20202020))) ^ b) == 0;
}

static inline bool chopin__same_name(const char *name, const char *known, size_t len) {
    CHOPIN__VISIT(len);
    if (len >= 8) {
        for (size_t i = 0; i + 8 < len; i += 8) {
            if (!chopin__same8(name + i, known + i)) return false;
        }
        return chopin__same8(name + len - 8, known + len - 8);          // overlaps what was compared already
    }
    if (len >= 4) return chopin__same4(name, known) && chopin__same4(name + len - 4, known + len - 4);
    return chopin__equal_nocase(chopin__str(name, len), chopin__str(known, len));
}

/* Is it that word, in any case? */
CHOPIN__INLINE bool chopin__is_word(chopin_str s, chopin_str lower) { return s.len == lower.len && chopin__same_name(s.ptr, lower.ptr, lower.len); }

/* The chopin_header_id of a name, CHOPIN_H_COUNT if it is not in the list. */
static inline unsigned chopin__name_id(const char *name, size_t len) {
    if (len < 2) return CHOPIN_H_COUNT;
    unsigned id = chopin__name_slots[chopin__name_hash(name, len, CHOPIN__NAME_MULTIPLIER)];
    return chopin__names[id].len == len && chopin__same_name(name, (const char *)&chopin__name_text + chopin__names[id].at, len) ? id : CHOPIN_H_COUNT;
}

/* ---- the head ---- */
typedef struct chopin__rules {          // from chopin_options, all set
    size_t max_method;
    size_t max_target;
    size_t max_header_line;             // name to end of value, CRLF not counted
    size_t max_head;                    // everything, the last CRLF included; of a trailer section likewise
    size_t max_headers;                 // length of chopin__head.fields
    size_t max_chunk_line;              // size and extensions, CRLF not counted
    size_t max_chunk_extensions;        // of one body, ';' included
} chopin__rules;

typedef struct chopin__field {          // offsets from `base`, which may move between calls
    uint32_t name, value, value_len;
    uint16_t name_len;
    uint16_t id;                        // chopin_header_id; CHOPIN_H_COUNT: not a known name
} chopin__field;

enum { CHOPIN__AT_START, CHOPIN__AT_METHOD, CHOPIN__AT_TARGET, CHOPIN__AT_VERSION, CHOPIN__AT_LINE, CHOPIN__AT_NAME, CHOPIN__AT_BLANK, CHOPIN__AT_VALUE };

typedef struct chopin__head {
    uint32_t at;                        // resume: the first byte that was not looked at ...
    uint32_t authority_len;             // result: of absolute-form and CONNECT, host and port; else 0
    uint8_t  state;                     // ... what it belongs to ...
    uint8_t  minor;                     // result: HTTP/1.minor
    bool     keep_alive;                // result: the connection may serve another request
    bool     close;                     // Connection: close was there
    bool     wants_keep_alive;          // Connection: keep-alive was there
    bool     wants_upgrade;             // Connection: upgrade was there
    bool     upgrade;                   // result: ... and an Upgrade field, on 1.1 (RFC 9110 7.8)
    bool     chunked;                   // result: Transfer-Encoding: chunked
    bool     has_length;                // result: Content-Length
    bool     expect_continue;           // result: Expect: 100-continue, on 1.1
    bool     te_trailers;               // result: TE: trailers
    bool     has_query;                 // result: a '?' in the target
    bool     percent;                   // result: a '%' in the target; its syntax is not checked here
    uint16_t count;                     // result: fields so far
    uint16_t slot[CHOPIN_H_COUNT];      // result: index + 1 of the first field with that id, 0: none
    const char *why;                    // what was wrong, for the log; NULL while all is well. Everything up to here is cleared by reset
    uint64_t content_length;            // result: if has_length
    uint32_t method, method_len;        // result: the method starts behind the empty line, if there was one
    uint32_t target, target_len;        // result: as sent
    uint32_t path, path_len;            // result: "/" at least, "*" for OPTIONS *; "/" for CONNECT
    uint32_t query, query_len;          // result: if has_query, behind the '?'
    uint32_t authority;                 // result: where it starts
    chopin__field *fields;              // the caller's, rules->max_headers long. While more is needed, fields[count] is the unfinished one: whoever
                                        // moves them between calls moves count + 1
} chopin__head;

/* Makes `h` ready for the next head; `fields` stays. Two pieces, because gcc turns one long memset into a slow `rep stos`. */
static inline void chopin__head_reset(chopin__head *h) {
    enum { half = 64 };
    _Static_assert(offsetof(chopin__head, why) > half, "the second piece starts inside the cleared part");
    memset(h, 0, half);
    memset((char *)h + half, 0, offsetof(chopin__head, content_length) - half);
}

static CHOPIN__NOINLINE int chopin__head_fail(chopin__head *h, int status, const char *why) {
    h->why = why;
    return -status;
}

/* Input ran out at `at`, in front of `end`: what comes next decides, if the head may grow. */
static CHOPIN__NOINLINE int chopin__head_pause(chopin__head *h, const chopin__rules *r, const char *base, const char *at, const char *end, unsigned state) {
    h->at = (uint32_t)(at - base);
    h->state = (uint8_t)state;
    if ((size_t)(end - base) == chopin__min(r->max_head, INT32_MAX)) return chopin__head_fail(h, 431, "head too large (raise chopin_options.max_head)");
    return 0;
}

/* ---- host and port (RFC 9110 4.2, RFC 3986 3.2) ---- */

/* "[::1]" and what follows it; gives the bytes used, 0 if it is no IPv6 address. */
static size_t chopin__host_literal(chopin_str s) {
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    const char *close = memchr(s.ptr, ']', s.len);
    size_t len = close ? (size_t)(close - s.ptr) - 1 : sizeof text;
    if (len >= sizeof text) return 0;
    memcpy(text, s.ptr + 1, len);
    text[len] = 0;
    return strlen(text) == len && inet_pton(AF_INET6, text, &address) == 1 ? len + 2 : 0;
}

/* The length of a reg-name (RFC 3986 3.2.2) at the start of `s`; user information would stop it at its '@'. */
static size_t chopin__host_name(chopin_str s) {
    size_t i = 0;
    for (; i < s.len; i++) {
        char ch = s.ptr[i];
        if (ch == '%') {
            if (s.len - i < 3 || chopin__hex_value(s.ptr[i + 1]) < 0 || chopin__hex_value(s.ptr[i + 2]) < 0) break;
            i += 2;
        } else if (!((ch >= '0' && ch <= '9') || (chopin__lower(ch) >= 'a' && chopin__lower(ch) <= 'z') || (ch && strchr("-._~!$&'()*+,;=", ch)))) {
            break;
        }
    }
    CHOPIN__VISIT(i);
    return i;
}

/* ":8080" from `at` to `end`: five digits and 65535 at most. The grammar lets them be missing. */
static inline bool chopin__host_port(const char *at, const char *end) {
    if (*at != ':' || end - at > 6) return false;
    CHOPIN__VISIT((size_t)(end - at) - 1);
    const char *digit = at + 1;
    if (CHOPIN__LIKELY(end - digit >= 4)) {                  // four digits at once: none above 9 once '0' is taken away
        uint32_t v;
        memcpy(&v, digit, sizeof v);
        v ^= UINT32_C(0x30303030);
        if ((v | (v + UINT32_C(0x06060606))) & UINT32_C(0xf0f0f0f0)) return false;
        digit += 4;
    }
    for (; digit < end; digit++) {
        if (*digit < '0' || *digit > '9') return false;
    }
    return (end - at < 6 || memcmp(at + 1, "65535", 5) <= 0);     // digits compare like their number
}

/* A host that has more than the usual letters, digits, '.' and '-', and its port. */
static CHOPIN__NOINLINE bool chopin__host_odd(chopin_str s) {
    size_t host = s.len == 0 ? 0 : s.ptr[0] == '[' ? chopin__host_literal(s) : chopin__host_name(s);
    return host == s.len || (host > 0 && chopin__host_port(s.ptr + host, s.ptr + s.len));
}

/* uri-host [ ":" port ], the host possibly empty. Bytes from `base` up to `limit` may be looked at; one that no host has stands behind `s`. */
CHOPIN__INLINE bool chopin__host_ok(const char *base, chopin_str s, const char *limit) {
    const char *at = chopin__span(base, s.ptr, limit, chopin__host_stops, chopin__host_rest), *end = s.ptr + s.len;
    return at == end || (*at == ':' && chopin__host_port(at, end)) || chopin__host_odd(s);
}

/* ---- request line (RFC 9112 3) ---- */

/* "HTTP/1.1" CRLF byte by byte from `at`; it started at `version`. 1: complete, 0: more is needed, negative: minus the status. */
static CHOPIN__NOINLINE int chopin__head_version(chopin__head *h, const char *version, const char *at, const char *end) {
    static const char pattern[] = "HTTP/0.0\r\n";                       // 0: any digit
    for (; at < end && at < version + 10; at++) {
        char want = pattern[at - version];
        CHOPIN__VISIT(1);
        if (want == '0' ? *at < '0' || *at > '9' : *at != want) return chopin__head_fail(h, 400, "malformed protocol version");
    }
    if (at < version + 10) return 0;
    // RFC 9110 2.5 would have us serve 1.2 as 1.1; nobody speaks it but probes. The HTTP/2 preface ends here, too.
    if (version[5] != '1' || version[7] > '1') return chopin__head_fail(h, 505, "protocol version is neither HTTP/1.0 nor HTTP/1.1");
    h->minor = (uint8_t)(version[7] - '0');
    return 1;
}

static void chopin__head_path(chopin__head *h, uint32_t path) {
    uint32_t end = h->has_query ? h->query - 1 : h->target + h->target_len;
    h->path = path;
    h->path_len = end - path;
    h->query_len = h->has_query ? h->target + h->target_len - h->query : 0;
}

/* host ":" port, both there, and nothing else (RFC 9112 3.2.3). */
static int chopin__head_connect(chopin__head *h, const char *base, chopin_str target) {
    const char *colon = memchr(target.ptr, ':', target.len);
    char        last  = target.ptr[target.len - 1];                     // a digit: behind a colon outside of brackets it is the port's
    if (h->has_query || !colon || colon == target.ptr || last < '0' || last > '9' || !chopin__host_ok(base, target, target.ptr + target.len + 1)) {
        return chopin__head_fail(h, 400, "CONNECT wants host:port as its target");
    }
    h->authority = h->target;
    h->authority_len = h->target_len;
    h->path = h->target + h->target_len + 5;                            // routed as "/": that of the "HTTP/" which must follow
    h->path_len = 1;
    h->close = true;                                                    // behind a 2xx a tunnel would begin, and we dig none (RFC 9110 9.3.6)
    return 1;
}

/* "http://host:port/path?query" (RFC 9112 3.2.2). */
static int chopin__head_absolute(chopin__head *h, const char *base, chopin_str target) {
    size_t scheme = target.len > 7 && chopin__equal_nocase(chopin__str(target.ptr, 7), CHOPIN_STR("http://"))  ? 7
                  : target.len > 8 && chopin__equal_nocase(chopin__str(target.ptr, 8), CHOPIN_STR("https://")) ? 8 : 0;
    if (scheme == 0) return chopin__head_fail(h, 400, "target is neither a path nor an http address");
    size_t path_end = h->has_query ? h->query - 1 - h->target : target.len;
    const char *slash = path_end > scheme ? memchr(target.ptr + scheme, '/', path_end - scheme) : NULL;
    size_t path = slash ? (size_t)(slash - target.ptr) : path_end;
    h->authority = h->target + (uint32_t)scheme;
    h->authority_len = (uint32_t)(path - chopin__min(path, scheme));
    // RFC 9110 4.2.1: an http address without a host is not valid.
    if (h->authority_len == 0 || target.ptr[scheme] == ':' || !chopin__host_ok(base, chopin__str(target.ptr + scheme, h->authority_len), target.ptr + target.len + 1)) {
        return chopin__head_fail(h, 400, "host of the target is not valid");
    }
    chopin__head_path(h, h->target + (uint32_t)path);
    if (h->path_len == 0) { h->path = h->authority - 1; h->path_len = 1; }   // no path means "/": borrow the scheme's
    return 1;
}

/* Which of the four forms it is (RFC 9112 3.2), and its parts. 1, or minus the status. */
static int chopin__head_target(chopin__head *h, const char *base) {
    chopin_str target  = chopin__str(base + h->target, h->target_len);
    bool       connect = h->method_len == 7 && memcmp(base + h->method, "CONNECT", 7) == 0;
    if (CHOPIN__UNLIKELY(connect)) return chopin__head_connect(h, base, target);
    if (CHOPIN__LIKELY(target.ptr[0] == '/')) { chopin__head_path(h, h->target); return 1; }
    if (target.len == 1 && target.ptr[0] == '*') {
        if (h->method_len != 7 || memcmp(base + h->method, "OPTIONS", 7) != 0) return chopin__head_fail(h, 400, "target * is for OPTIONS alone");
        chopin__head_path(h, h->target);
        return 1;
    }
    return chopin__head_absolute(h, base, target);
}

/* The whole request line from *cursor on. 1: complete and *cursor behind it, 0: more is needed, negative: minus the status. */
CHOPIN__INLINE int chopin__head_request_line(chopin__head *h, const chopin__rules *r, const char *base, const char **cursor, const char *end) {
    const char *at = *cursor, *version;
    int         rc;
    switch (h->state) {
    case CHOPIN__AT_START:
        if (at == end) return chopin__head_pause(h, r, base, at, end, CHOPIN__AT_START);
        if (CHOPIN__UNLIKELY(*at == '\r')) {                            // one empty line may come first (RFC 9112 2.2)
            CHOPIN__VISIT(1);
            if (end - at < 2) return chopin__head_pause(h, r, base, at, end, CHOPIN__AT_START);
            if (at[1] != '\n') return chopin__head_fail(h, 400, "CR without LF");
            at += 2;
        }
        h->method = (uint32_t)(at - base);
        if (CHOPIN__LIKELY(end - at > 4 && memcmp(at, "GET ", 4) == 0 && r->max_method >= 3)) {    // most are
            CHOPIN__VISIT(4);
            h->method_len = 3;
            at += 4;
            h->target = (uint32_t)(at - base);
            goto target;
        }
        // fall through
    case CHOPIN__AT_METHOD:
        at = chopin__token_end(base, at, end, ' ');
        h->method_len = (uint32_t)(at - base) - h->method;
        if (CHOPIN__UNLIKELY(h->method_len > r->max_method)) return chopin__head_fail(h, 501, "method too long (raise chopin_options.max_method)");
        if (CHOPIN__UNLIKELY(at == end)) return chopin__head_pause(h, r, base, at, end, CHOPIN__AT_METHOD);
        if (*at != ' ' || h->method_len == 0) return chopin__head_fail(h, 400, "malformed method");
        h->target = (uint32_t)(++at - base);
        // fall through
    case CHOPIN__AT_TARGET:
    target:
        while ((at = chopin__span(base, at, end, chopin__target_stops, chopin__target_rest)) < end) {
            if      (*at == '%') h->percent = true;
            else if (*at != '?') break;
            else if (!h->has_query) { h->has_query = true; h->query = (uint32_t)(at + 1 - base); }
            at++;
        }
        h->target_len = (uint32_t)(at - base) - h->target;
        if (CHOPIN__UNLIKELY(h->target_len > r->max_target)) return chopin__head_fail(h, 414, "target too long (raise chopin_options.max_target)");
        if (CHOPIN__UNLIKELY(at == end)) return chopin__head_pause(h, r, base, at, end, CHOPIN__AT_TARGET);
        if (*at != ' ' || h->target_len == 0) return chopin__head_fail(h, 400, "malformed target");
        at++;
        if (CHOPIN__LIKELY(end - at >= 10 && memcmp(at, "HTTP/1.1\r\n", 10) == 0)) {
            CHOPIN__VISIT(10);
            h->minor = 1;
            *cursor = at + 10;
            break;
        }
        // fall through
    default:
        version = base + h->target + h->target_len + 1;
        rc = chopin__head_version(h, version, at, end);
        if (rc == 0) return chopin__head_pause(h, r, base, end, end, CHOPIN__AT_VERSION);
        if (rc < 0) return rc;
        *cursor = version + 10;
    }
    return chopin__head_target(h, base);
}

/* ---- the fields that decide about framing and connection. 1, or minus the status ---- */

/* Digits alone (RFC 9112 6.3). Nineteen of them hold every length below 2^63. */
static int chopin__field_length(chopin__head *h, chopin_str value) {
    if (h->slot[CHOPIN_H_CONTENT_LENGTH]) return chopin__head_fail(h, 400, "two Content-Length fields");
    if (h->chunked) return chopin__head_fail(h, 400, "Content-Length beside Transfer-Encoding");
    CHOPIN__VISIT(value.len);
    if (value.len > 19 || !chopin__parse_u64(value, &h->content_length) || h->content_length > INT64_MAX) {
        return chopin__head_fail(h, 400, "malformed Content-Length");
    }
    h->has_length = true;
    return 1;
}

/* "chunked" alone is served. Codings before it are not implemented (501, RFC 9112 6.1); anything else leaves the length unknown (400, 6.3). */
static int chopin__field_coding(chopin__head *h, chopin_str value) {
    if (h->minor == 0) return chopin__head_fail(h, 400, "Transfer-Encoding in HTTP/1.0");
    if (h->slot[CHOPIN_H_TRANSFER_ENCODING]) return chopin__head_fail(h, 400, "two Transfer-Encoding fields");
    if (h->has_length) return chopin__head_fail(h, 400, "Content-Length beside Transfer-Encoding");
    CHOPIN__VISIT(value.len);
    for (;;) {
        bool last = !value.len || !memchr(value.ptr, ',', value.len);
        chopin_str coding = chopin__trim(chopin__cut(&value, ','));
        bool chunked = chopin__is_word(coding, CHOPIN_STR("chunked"));
        if (!chopin__is_token(coding) || chunked != last) return chopin__head_fail(h, 400, "Transfer-Encoding does not end in one chunked");
        if (last) break;
        h->chunked = true;                                              // only a mark: something came before
    }
    if (h->chunked) return chopin__head_fail(h, 501, "transfer coding is not implemented");
    h->chunked = true;
    return 1;
}

/* A list of tokens over all lines of that name; empty elements do not count (RFC 9110 7.6.1, 5.6.1). */
static int chopin__field_connection(chopin__head *h, chopin_str value) {
    if (CHOPIN__LIKELY(chopin__is_word(value, CHOPIN_STR("keep-alive")))) { h->wants_keep_alive = true; return 1; }
    CHOPIN__VISIT(value.len);
    while (value.len) {
        chopin_str option = chopin__trim(chopin__cut(&value, ','));
        if (option.len == 0) continue;
        if      (chopin__is_word(option, CHOPIN_STR("keep-alive"))) h->wants_keep_alive = true;
        else if (chopin__is_word(option, CHOPIN_STR("close")))      h->close = true;
        else if (chopin__is_word(option, CHOPIN_STR("upgrade")))    h->wants_upgrade = true;
        else if (!chopin__is_token(option)) return chopin__head_fail(h, 400, "malformed Connection");
    }
    return 1;
}

/* Does the client want trailers (RFC 9110 10.1.4)? Other codings in TE do not concern us. */
static int chopin__field_te(chopin__head *h, chopin_str value) {
    CHOPIN__VISIT(value.len);
    while (value.len) {
        chopin_str coding = chopin__trim(chopin__cut(&value, ','));
        if (chopin__is_word(coding, CHOPIN_STR("trailers"))) h->te_trailers = true;
    }
    return 1;
}

/* RFC 9110 10.1.1: the one expectation there is; HTTP/1.0 cannot be told to continue. */
static int chopin__field_expect(chopin__head *h, chopin_str value) {
    CHOPIN__VISIT(value.len);
    if (!chopin__is_word(value, CHOPIN_STR("100-continue"))) return chopin__head_fail(h, 417, "unknown expectation");
    h->expect_continue = h->minor > 0;
    return 1;
}

CHOPIN__INLINE int chopin__field_host(chopin__head *h, const char *base, chopin_str value, const char *end) {
    if (h->slot[CHOPIN_H_HOST]) return chopin__head_fail(h, 400, "two Host fields");
    if (!chopin__host_ok(base, value, end)) return chopin__head_fail(h, 400, "malformed Host");
    return 1;
}

/* What must not come behind the body, where it is too late to obey (RFC 9110 6.5.1): framing, routing, credentials, conditions, what the body is. */
static bool chopin__trailer_forbids(unsigned id) {
    switch (id) {
    case CHOPIN_H_HOST: case CHOPIN_H_CONNECTION: case CHOPIN_H_CONTENT_LENGTH: case CHOPIN_H_TRANSFER_ENCODING: case CHOPIN_H_TE: case CHOPIN_H_TRAILER:
    case CHOPIN_H_UPGRADE: case CHOPIN_H_EXPECT: case CHOPIN_H_KEEP_ALIVE: case CHOPIN_H_AUTHORIZATION: case CHOPIN_H_COOKIE: case CHOPIN_H_ORIGIN:
    case CHOPIN_H_CONTENT_TYPE: case CHOPIN_H_CONTENT_ENCODING: case CHOPIN_H_CONTENT_LANGUAGE: case CHOPIN_H_CONTENT_DISPOSITION: case CHOPIN_H_RANGE:
    case CHOPIN_H_IF_MATCH: case CHOPIN_H_IF_NONE_MATCH: case CHOPIN_H_IF_MODIFIED_SINCE: case CHOPIN_H_IF_UNMODIFIED_SINCE: case CHOPIN_H_IF_RANGE:
    case CHOPIN_H_CACHE_CONTROL: case CHOPIN_H_PRAGMA: case CHOPIN_H_FORWARDED: case CHOPIN_H_X_FORWARDED_FOR: case CHOPIN_H_X_FORWARDED_PROTO:
    case CHOPIN_H_X_FORWARDED_HOST: case CHOPIN_H_X_REAL_IP:
        return true;
    default:
        return false;
    }
}

CHOPIN__INLINE int chopin__field_rule(chopin__head *h, const char *base, unsigned id, chopin_str value, const char *end) {
    switch (id) {
    case CHOPIN_H_HOST:              return chopin__field_host(h, base, value, end);
    case CHOPIN_H_CONNECTION:        return chopin__field_connection(h, value);
    case CHOPIN_H_CONTENT_LENGTH:    return chopin__field_length(h, value);
    case CHOPIN_H_TRANSFER_ENCODING: return chopin__field_coding(h, value);
    case CHOPIN_H_EXPECT:            return chopin__field_expect(h, value);
    case CHOPIN_H_TE:                return chopin__field_te(h, value);
    default:                         return 1;
    }
}

/* ---- field lines (RFC 9112 5) ---- */

/* The line that started at `line` is refused at `at`. Its length comes first: cut there, it would have been refused for that. */
static CHOPIN__NOINLINE int chopin__line_fail(chopin__head *h, const chopin__rules *r, const char *line, const char *at, const char *why) {
    if ((size_t)(at - line) > r->max_header_line) return chopin__head_fail(h, 431, "header line too long (raise chopin_options.max_header_line)");
    return chopin__head_fail(h, 400, why);
}

/* The line ran out of input at `at`. */
static CHOPIN__NOINLINE int chopin__line_pause(chopin__head *h, const chopin__rules *r, const char *base, const char *line, const char *at, const char *end,
                                                unsigned state) {
    if ((size_t)(at - line) > r->max_header_line) return chopin__line_fail(h, r, line, at, NULL);
    return chopin__head_pause(h, r, base, at, end, state);
}

/* Field lines up to the empty one, which is passed. >0: offset behind it, 0: more is needed, negative: minus the status. */
static int chopin__head_fields(chopin__head *h, const chopin__rules *r, const char *base, const char *at, const char *end, bool trailer) {
    chopin__field *field = h->fields + h->count;
    const char *line, *value, *last;
    const chopin__field *full = h->fields + r->max_headers;            // at most 10,000: counts fit
    unsigned    state = h->state, id;
    for (;; state = CHOPIN__AT_LINE, field++) {
        switch (state) {
        default:
            if (CHOPIN__UNLIKELY(end - at < 2 && (at == end || *at == '\r'))) return chopin__head_pause(h, r, base, at, end, CHOPIN__AT_LINE);
            if (*at == '\r') {
                CHOPIN__VISIT(1);
                if (at[1] != '\n') return chopin__head_fail(h, 400, "CR without LF");
                return (int)(at + 2 - base);
            }
            if (CHOPIN__UNLIKELY(field >= full)) return chopin__head_fail(h, 431, "too many headers (raise chopin_options.max_headers)");
            field->name = (uint32_t)(at - base);
            // fall through
        case CHOPIN__AT_NAME:
            // A blank in front (obs-fold) or before the colon is not part of a token (RFC 9112 5.1, 5.2).
            line = base + field->name;
            at = chopin__token_end(base, at, end, ':');
            if (CHOPIN__UNLIKELY(at == end)) return chopin__line_pause(h, r, base, line, at, end, CHOPIN__AT_NAME);
            if (CHOPIN__UNLIKELY(*at != ':' || at == line)) return chopin__line_fail(h, r, line, at, "malformed header name");
            if (CHOPIN__UNLIKELY(at - line > UINT16_MAX)) return chopin__head_fail(h, 431, "header name too long");
            field->name_len = (uint16_t)(at - line);
            field->id = (uint16_t)chopin__name_id(line, (size_t)(at - line));
            at++;
            // fall through
        case CHOPIN__AT_BLANK:
            if (CHOPIN__LIKELY(end - at > 1 && at[0] == ' ' && at[1] > ' ')) at++;
            else for (; at < end && (*at == ' ' || *at == '\t'); at++) CHOPIN__VISIT(1);
            if (CHOPIN__UNLIKELY(at == end)) return chopin__line_pause(h, r, base, base + field->name, at, end, CHOPIN__AT_BLANK);
            field->value = (uint32_t)(at - base);
            // fall through
        case CHOPIN__AT_VALUE:
            line = base + field->name;
            at   = chopin__span(base, at, end, chopin__value_stops, chopin__value_rest);
            if (CHOPIN__UNLIKELY(end - at < 2 && (at == end || *at == '\r'))) return chopin__line_pause(h, r, base, line, at, end, CHOPIN__AT_VALUE);
            if (CHOPIN__UNLIKELY(*at != '\r')) return chopin__line_fail(h, r, line, at, "control character in a header");
            if (CHOPIN__UNLIKELY(at[1] != '\n')) return chopin__line_fail(h, r, line, at, "CR without LF");
            if (CHOPIN__UNLIKELY((size_t)(at - line) > r->max_header_line)) return chopin__line_fail(h, r, line, at, NULL);
        }
        // The line is complete. Blanks behind the value are not part of it (RFC 9112 5.1); nothing else in it is that low.
        value = base + field->value;
        for (last = at; last > value && (unsigned char)last[-1] <= ' '; last--) CHOPIN__VISIT(1);
        field->value_len = (uint32_t)(last - value);
        at += 2;
        h->count++;
        id = field->id;
        if (id == CHOPIN_H_COUNT) continue;
        if (CHOPIN__UNLIKELY(trailer)) {
            if (chopin__trailer_forbids(id)) return chopin__head_fail(h, 400, "this header may not be a trailer");
        } else if (id <= CHOPIN_H_TE) {                                 // those with rules stand first in the list
            int rc = chopin__field_rule(h, base, id, chopin__str(value, (size_t)(last - value)), end);
            if (rc < 0) return rc;
        }
        if (!h->slot[id]) h->slot[id] = h->count;
    }
}

/* Parses a request head from `base`, the same bytes as last time and perhaps more behind them (they may have moved).
 *
 *     chopin__head_reset(&h);
 *     while ((n = chopin__head_parse(&h, rules, base, len)) == 0) { read more behind base[len]; }
 *
 * >0: bytes of the whole head, its last CRLF included; the results stand. 0: more is needed. Negative: minus the status to answer with before
 * closing (400, 414, 417, 431, 501, 505), h->why says what for. Not to be called again after a verdict. */
static int chopin__head_parse(chopin__head *h, const chopin__rules *r, const char *base, size_t len) {
    const char *end = base + chopin__min(len, r->max_head);            // at most 64 MiB: offsets fit
    const char *at  = base + h->at;
    if (h->state < CHOPIN__AT_LINE) {
        int rc = chopin__head_request_line(h, r, base, &at, end);
        if (rc <= 0) return rc;
        h->state = CHOPIN__AT_LINE;
    }
    int n = chopin__head_fields(h, r, base, at, end, false);
    if (n <= 0) return n;
    // RFC 9112 3.2: one Host, empty perhaps, whatever form the target has.
    if (CHOPIN__LIKELY(h->minor > 0)) {
        if (!h->slot[CHOPIN_H_HOST]) return chopin__head_fail(h, 400, "no Host");
        h->keep_alive = true;
        h->upgrade = h->wants_upgrade && h->slot[CHOPIN_H_UPGRADE];
    } else {
        h->keep_alive = h->wants_keep_alive;
    }
    if (h->close) h->keep_alive = false;                                // RFC 9112 9.3
    return n;
}

/* The same for the trailer section (RFC 9112 7.1.2), from the byte behind the line of the last chunk: field lines, possibly none, and an empty line.
 * Only `count`, `fields`, `slot` and `why` are results. Framing, credentials and the like are refused there with 400. */
static int chopin__trailer_parse(chopin__head *t, const chopin__rules *r, const char *base, size_t len) {
    const char *end = base + chopin__min(len, chopin__min(r->max_head, INT32_MAX));
    if (t->state < CHOPIN__AT_LINE) t->state = CHOPIN__AT_LINE;
    return chopin__head_fields(t, r, base, base + t->at, end, true);
}

/* ---- chunks (RFC 9112 7.1) ---- */
enum {
    CHOPIN__CHUNK_SIZE, CHOPIN__CHUNK_BLANK, CHOPIN__CHUNK_NAME_START, CHOPIN__CHUNK_NAME, CHOPIN__CHUNK_NAME_BLANK, CHOPIN__CHUNK_VALUE_START,
    CHOPIN__CHUNK_VALUE, CHOPIN__CHUNK_QUOTED, CHOPIN__CHUNK_ESCAPED, CHOPIN__CHUNK_VALUE_END, CHOPIN__CHUNK_LINE_LF, CHOPIN__CHUNK_DATA,
    CHOPIN__CHUNK_DATA_CR, CHOPIN__CHUNK_DATA_LF, CHOPIN__CHUNK_DONE, CHOPIN__CHUNK_BAD
};

typedef struct chopin__chunks {         // all zero: in front of the first chunk
    uint64_t left;                      // bytes of this chunk that are to come
    uint64_t total;                     // bytes of all chunks announced so far
    size_t   line;                      // bytes of this size line
    size_t   extensions;                // bytes of extensions in this body
    uint8_t  state;
    uint8_t  digits;                    // of this size
    const char *why;                    // as in chopin__head
} chopin__chunks;

/* The state behind `ch` of a chunk extension, CHOPIN__CHUNK_BAD if it does not belong there:
   *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ), RFC 9112 7.1.1. */
static unsigned chopin__chunk_extension(unsigned state, char ch) {
    unsigned char byte  = (unsigned char)ch;
    bool          blank = ch == ' ' || ch == '\t', token = chopin__is_token_char(byte), text = ch == '\t' || (byte >= 0x20 && byte != 0x7f);
    switch (state) {
    case CHOPIN__CHUNK_BLANK:       return blank ? state : ch == ';' ? CHOPIN__CHUNK_NAME_START : CHOPIN__CHUNK_BAD;
    case CHOPIN__CHUNK_NAME_START:  return blank ? state : token ? CHOPIN__CHUNK_NAME : CHOPIN__CHUNK_BAD;
    case CHOPIN__CHUNK_NAME:        if (token) return state;
                                    if (ch == '\r') return CHOPIN__CHUNK_LINE_LF;
                                    if (blank) return CHOPIN__CHUNK_NAME_BLANK;     // and on as behind the blanks
                                    // fall through
    case CHOPIN__CHUNK_NAME_BLANK:  if (ch == '=') return CHOPIN__CHUNK_VALUE_START;
                                    return blank ? state : ch == ';' ? CHOPIN__CHUNK_NAME_START : CHOPIN__CHUNK_BAD;
    case CHOPIN__CHUNK_VALUE_START: return blank ? state : ch == '"' ? CHOPIN__CHUNK_QUOTED : token ? CHOPIN__CHUNK_VALUE : CHOPIN__CHUNK_BAD;
    case CHOPIN__CHUNK_QUOTED:      return ch == '"' ? CHOPIN__CHUNK_VALUE_END : ch == '\\' ? CHOPIN__CHUNK_ESCAPED : text ? state : CHOPIN__CHUNK_BAD;
    case CHOPIN__CHUNK_ESCAPED:     return text ? CHOPIN__CHUNK_QUOTED : CHOPIN__CHUNK_BAD;
    case CHOPIN__CHUNK_VALUE:       if (token) return state;
                                    // fall through
    default:                        if (ch == '\r') return CHOPIN__CHUNK_LINE_LF;    // CHOPIN__CHUNK_VALUE_END
                                    return ch == ';' ? CHOPIN__CHUNK_NAME_START : blank ? CHOPIN__CHUNK_BLANK : CHOPIN__CHUNK_BAD;
    }
}

/* One byte of a size line. False: refused, d->why says what for. */
static bool chopin__chunk_line(chopin__chunks *d, const chopin__rules *r, char ch) {
    int digit = chopin__hex_value(ch);
    if (d->state == CHOPIN__CHUNK_LINE_LF) {
        d->why = "CR without LF in a chunk size";
        if (ch != '\n') return false;
        d->why   = "body too large";
        if (!(d->left <= INT64_MAX && d->total <= INT64_MAX - d->left)) return false;
        d->total += d->left;
        d->state = d->left ? CHOPIN__CHUNK_DATA : CHOPIN__CHUNK_DONE;
        d->digits = 0;
        d->line = 0;
        d->why = NULL;
        return true;
    }
    d->why = "chunk line too long (raise chopin_options.max_chunk_line)";
    if (ch != '\r' && ++d->line > r->max_chunk_line) return false;
    if (d->state == CHOPIN__CHUNK_SIZE && digit >= 0) {
        d->why   = "chunk size too long";
        d->left  = d->left << 4 | (unsigned)digit;
        if (++d->digits > 16) return false;
    } else if (d->state == CHOPIN__CHUNK_SIZE && ch == '\r') {
        d->why   = "malformed chunk size";
        d->state = CHOPIN__CHUNK_LINE_LF;
        if (d->digits == 0) return false;
    } else {
        // The first byte behind the size is looked at as one behind a value: ';', or blanks and ';'.
        bool first = d->state == CHOPIN__CHUNK_SIZE;
        d->why   = "malformed chunk size";
        if (first && d->digits == 0) return false;
        d->state = (uint8_t)chopin__chunk_extension(first ? CHOPIN__CHUNK_VALUE_END : d->state, ch);
        if (d->state == CHOPIN__CHUNK_BAD) return false;
        d->why   = "too many chunk extensions (raise chopin_options.max_chunk_extensions)";
        if (ch != '\r' && ++d->extensions > r->max_chunk_extensions) return false;
    }
    d->why = NULL;
    return true;
}

/* Decodes `len` bytes of a chunked body. `out` takes as many as `in` has; it may be `in` itself, or lie before it in the same buffer.
 * 1: the line of the last chunk was passed, the trailer section follows at in + *used. 0: more is needed, all was consumed.
 * Negative: minus the status (400), d->why says what for. *produced bytes stand at `out` in every case. */
static int chopin__chunks_decode(chopin__chunks *d, const chopin__rules *r, const char *in, size_t len, size_t *used, char *out, size_t *produced) {
    const char *at = in, *end = in + len;
    char       *to = out;
    int         rc = 0;
    while (at < end && rc == 0) {
        if (d->state == CHOPIN__CHUNK_DATA) {
            size_t n = d->left < (size_t)(end - at) ? (size_t)d->left : (size_t)(end - at);
            if (to != at) memmove(to, at, n);
            to += n;
            at += n;
            d->left -= n;
            if (d->left == 0) d->state = CHOPIN__CHUNK_DATA_CR;
        } else if (d->state == CHOPIN__CHUNK_DATA_CR || d->state == CHOPIN__CHUNK_DATA_LF) {
            // RFC 9112 7.1: data ends with CRLF exactly; anything else means that the two sides count differently.
            bool cr = d->state == CHOPIN__CHUNK_DATA_CR;
            if (*at++ != (cr ? '\r' : '\n')) { d->why = "chunk data does not end with CRLF"; rc = -400; }
            d->state = cr ? CHOPIN__CHUNK_DATA_LF : CHOPIN__CHUNK_SIZE;
        } else {
            CHOPIN__VISIT(1);
            if (!chopin__chunk_line(d, r, *at++)) rc = -400;
            else if (d->state == CHOPIN__CHUNK_DONE) rc = 1;
        }
    }
    *used = (size_t)(at - in);
    *produced = (size_t)(to - out);
    return rc;
}

/* ==========================================================================================================
   >>response   status lines, reply headers, and the ordered queue of pieces a connection has yet to send
   A piece is a run of bytes: a pooled block that small replies are copied into one behind the other, or bytes of somebody
   else with what to call when they are sent. Whatever a reply is made of, it is appended here, so pipelined replies
   leave in order. Ranges of files are a third kind of piece: they have a source instead of bytes.
   ========================================================================================================== */
#define CHOPIN__COPY_BELOW 4096         // bodies up to here are copied behind their head, larger ones get an iovec of their own

struct chopin__piece;

/* Where bytes come from that are not in memory. Each takes up to `n` of them, from p->at on: how many, 0 if there are fewer than were promised, -1 and errno. */
typedef struct chopin__source {
    int64_t (*send)(const struct chopin__piece *p, int socket, size_t n);
    int64_t (*read)(const struct chopin__piece *p, char *to, size_t n);      // for backends without sockets
} chopin__source;

#define CHOPIN__WINDOW ((size_t)1 << 30)  // at most so much of a source counts as waiting to be sent

typedef struct chopin__piece {
    struct chopin__piece *next;
    const chopin__source *source;       // NULL: memory
    const char *ptr;                    // what is left to send ...
    size_t      len;                    // ... and how much
    uint64_t    at, later;              // of a source: where, and what follows `len`
    int         fd;
    void      (*release)(void *arg);    // once sent, or when the connection ends; NULL: nothing to do
    void       *arg;
    uint32_t    room;                   // free bytes behind ptr + len (blocks only)
    bool        block;                  // the bytes follow this header: goes back to the pool of blocks
} chopin__piece;

typedef struct chopin__queue {
    chopin__piece *first, *last;
    size_t         bytes;
} chopin__queue;

typedef struct chopin__pieces {         // where pieces come from: one per worker
    chopin__pool blocks;                // chopin_options.write_buffer each
    chopin__pool nodes;                 // bare pieces
} chopin__pieces;

static void chopin__queue_push(chopin__queue *q, chopin__piece *p) {
    p->next = NULL;
    if (q->last) q->last->next = p;
    else         q->first = p;
    q->last = p;
}

static void chopin__piece_free(chopin__pieces *from, chopin__piece *p) {
    if (p->block) { chopin__pool_give(&from->blocks, p); return; }
    if (p->release) p->release(p->arg);
    chopin__pool_give(&from->nodes, p);
}

/* At least `size` bytes in one run at the end of the queue, to be followed by chopin__queue_wrote(). NULL: out of memory, or more than a block. */
static inline char *chopin__queue_reserve(chopin__queue *q, chopin__pieces *from, size_t size) {
    chopin__piece *p = q->last;
    if (p && p->block && p->room >= size) return (char *)(uintptr_t)(p->ptr + p->len);
    size_t room = from->blocks.block_size - sizeof *p;
    p = size <= room ? chopin__pool_take(&from->blocks) : NULL;
    if (!p) return NULL;
    *p = (chopin__piece){ .ptr = (char *)(p + 1), .room = (uint32_t)room, .block = true };
    chopin__queue_push(q, p);
    return (char *)(p + 1);
}

static void chopin__queue_wrote(chopin__queue *q, size_t size) {
    q->last->len += size;
    q->last->room -= (uint32_t)size;
    q->bytes += size;
}

/* Copies bytes of any length into blocks. False: out of memory; what was appended so far stays. */
static bool chopin__queue_copy(chopin__queue *q, chopin__pieces *from, chopin_str s) {
    while (s.len > 0) {
        size_t n = q->last && q->last->block && q->last->room ? chopin__min(s.len, q->last->room)
                                                              : chopin__min(s.len, from->blocks.block_size - sizeof(chopin__piece));
        char *to = chopin__queue_reserve(q, from, n);
        if (!to) return false;
        memcpy(to, s.ptr, n);
        chopin__queue_wrote(q, n);
        s = chopin__str(s.ptr + n, s.len - n);
    }
    return true;
}

/* Appends bytes that are not copied; release(arg) is called exactly once, at once when this fails. NULL: out of memory. */
static chopin__piece *chopin__queue_refer(chopin__queue *q, chopin__pieces *from, chopin_str s, void (*release)(void *), void *arg) {
    chopin__piece *p = chopin__pool_take(&from->nodes);
    if (!p) { if (release) release(arg); return NULL; }
    *p = (chopin__piece){ .ptr = s.ptr, .len = s.len, .release = release, .arg = arg };
    chopin__queue_push(q, p);
    q->bytes += s.len;
    return p;
}

/* Appends `len` bytes of a source; as above. */
static bool chopin__queue_source(chopin__queue *q, chopin__pieces *from, const chopin__source *source, int fd, uint64_t at, uint64_t len, void (*release)(void *), void *arg) {
    chopin__piece *p = chopin__pool_take(&from->nodes);
    size_t first = len < CHOPIN__WINDOW ? (size_t)len : CHOPIN__WINDOW;
    if (!p) { if (release) release(arg); return false; }
    *p = (chopin__piece){ .source = source, .fd = fd, .at = at, .len = first, .later = len - first, .release = release, .arg = arg };
    chopin__queue_push(q, p);
    q->bytes += first;
    return true;
}

/* The next window of a long source. False: that was all of it. */
static bool chopin__piece_refill(chopin__queue *q, chopin__piece *p) {
    if (CHOPIN__LIKELY(!p->later)) return false;
    p->at += p->len;
    p->len = p->later < CHOPIN__WINDOW ? (size_t)p->later : CHOPIN__WINDOW;
    p->later -= p->len;
    q->bytes += p->len;
    return true;
}

/* `size` bytes have been sent. */
static inline void chopin__queue_sent(chopin__queue *q, chopin__pieces *from, size_t size) {
    if (CHOPIN__LIKELY(q->bytes == size && q->first == q->last && q->first->block)) {   // one block, sent whole
        chopin__pool_give(&from->blocks, q->first);
        *q = (chopin__queue){ 0 };
        return;
    }
    q->bytes -= size;
    while (q->first && size >= q->first->len) {
        chopin__piece *p = q->first;
        size -= p->len;
        if (chopin__piece_refill(q, p)) continue;
        q->first = p->next;
        if (!q->first) q->last = NULL;
        chopin__piece_free(from, p);
    }
    if (!size) return;
    if (q->first->source) q->first->at += size;
    else                  q->first->ptr += size;
    q->first->len -= size;
}

static void chopin__queue_clear(chopin__queue *q, chopin__pieces *from) {
    while (q->first) {
        chopin__piece *p = q->first;
        q->first = p->next;
        chopin__piece_free(from, p);
    }
    *q = (chopin__queue){ 0 };
}

/* ---- status lines ---- */

/* The registered phrases (RFC 9110 15 and the IANA registry), by code. */
#define CHOPIN__REASONS(X) \
    X(100, "Continue") X(101, "Switching Protocols") X(102, "Processing") X(103, "Early Hints") X(200, "OK") X(201, "Created") \
    X(202, "Accepted") X(203, "Non-Authoritative Information") X(204, "No Content") X(205, "Reset Content") X(206, "Partial Content") \
    X(207, "Multi-Status") X(208, "Already Reported") X(226, "IM Used") X(300, "Multiple Choices") X(301, "Moved Permanently") \
    X(302, "Found") X(303, "See Other") X(304, "Not Modified") X(305, "Use Proxy") X(307, "Temporary Redirect") X(308, "Permanent Redirect") \
    X(400, "Bad Request") X(401, "Unauthorized") X(402, "Payment Required") X(403, "Forbidden") X(404, "Not Found") \
    X(405, "Method Not Allowed") X(406, "Not Acceptable") X(407, "Proxy Authentication Required") X(408, "Request Timeout") \
    X(409, "Conflict") X(410, "Gone") X(411, "Length Required") X(412, "Precondition Failed") X(413, "Content Too Large") \
    X(414, "URI Too Long") X(415, "Unsupported Media Type") X(416, "Range Not Satisfiable") X(417, "Expectation Failed") \
    X(421, "Misdirected Request") X(422, "Unprocessable Content") X(423, "Locked") X(424, "Failed Dependency") X(425, "Too Early") \
    X(426, "Upgrade Required") X(428, "Precondition Required") X(429, "Too Many Requests") X(431, "Request Header Fields Too Large") \
    X(451, "Unavailable For Legal Reasons") X(500, "Internal Server Error") X(501, "Not Implemented") X(502, "Bad Gateway") \
    X(503, "Service Unavailable") X(504, "Gateway Timeout") X(505, "HTTP Version Not Supported") X(506, "Variant Also Negotiates") \
    X(507, "Insufficient Storage") X(508, "Loop Detected") X(510, "Not Extended") X(511, "Network Authentication Required")

#define CHOPIN__REASON(code, text) char of_##code[sizeof(text)];
typedef struct chopin__reason_texts { CHOPIN__REASONS(CHOPIN__REASON) } chopin__reason_texts;
#undef CHOPIN__REASON

static const chopin__reason_texts chopin__reason_text = {
#define CHOPIN__REASON(code, text) text,
    CHOPIN__REASONS(CHOPIN__REASON)
#undef CHOPIN__REASON
};

static const struct { uint16_t code, at; } chopin__reasons[] = {
#define CHOPIN__REASON(code, text) { code, offsetof(chopin__reason_texts, of_##code) },
    CHOPIN__REASONS(CHOPIN__REASON)
#undef CHOPIN__REASON
};

/* Codes that are not registered have an empty phrase. */
static const char *chopin__reason(int status) {
    size_t low = 0, high = CHOPIN__COUNT(chopin__reasons) - 1;
    if (status == 200) return "OK";
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (chopin__reasons[middle].code < status) low = middle + 1;
        else                                       high = middle;
    }
    return chopin__reasons[low].code == status ? (const char *)&chopin__reason_text + chopin__reasons[low].at : "";
}

/* What every head begins with, made once a second: "HTTP/1.1 200 OK", Server, Date. Other statuses use what is behind the first line. */
typedef struct chopin__preset {
    char     text[256];
    uint32_t status_len;                // of "HTTP/1.1 200 OK\r\n"
    uint32_t len;
    uint32_t date;                      // where the 29 characters of the date stand; 0: no Date header
} chopin__preset;

static void chopin__preset_date(chopin__preset *p, int64_t unix_s) {
    if (p->date) chopin__date_format(p->text + p->date, unix_s);
}

static void chopin__preset_init(chopin__preset *p, const char *server, bool no_date, int64_t unix_s) {
    int n = snprintf(p->text, sizeof p->text, "HTTP/1.1 200 OK\r\n");
    p->status_len = (uint32_t)n;
    if (*server) n += snprintf(p->text + n, sizeof p->text - (size_t)n, "Server: %.100s\r\n", server);
    p->date = no_date ? 0 : (uint32_t)n + 6;
    if (!no_date) n += snprintf(p->text + n, sizeof p->text - (size_t)n, "Date: %29s\r\n", "");
    p->len = (uint32_t)n;
    chopin__preset_date(p, unix_s);
}

/* ---- one reply while it is being described ---- */
typedef enum chopin__body_kind { CHOPIN__BODY_NONE, CHOPIN__BODY_COPIED, CHOPIN__BODY_BORROWED, CHOPIN__BODY_STATIC, CHOPIN__BODY_OWNED } chopin__body_kind;

typedef struct chopin__slice {           // of a body that is made of ranges of a source
    chopin_str head;                    // bytes before it, "" as a rule
    uint64_t   at, len;
} chopin__slice;

typedef struct chopin__slices {          // in the arena
    const chopin__source *source;
    int          fd;
    uint64_t     total;                 // bytes of the whole body
    chopin_str   tail;                  // bytes behind the last one
    size_t       count;
    chopin__slice slice[];
} chopin__slices;

typedef struct chopin__reply {
    int         status;                 // 0: not answered yet
    uint8_t     kind;                   // chopin__body_kind
    bool        left;                   // the head is in the queue: too late for headers
    bool        by_us;                  // a getter or the server answered: later replies are not worth a log line
    bool        hold;                   // middleware surrounds the handler: the reply leaves when it has returned
    uint32_t    lines_len, lines_cap;
    char       *lines;                  // further headers, each "Name: value\r\n", in the arena
    chopin_str  type;                   // Content-Type
    chopin_str  body;
    void      (*release)(void *arg);    // of an owned body, or of the source of `slices`
    void       *arg;
    const chopin__slices *slices;       // instead of `body`
    uint64_t    promised;               // of a declared length: so much is still to be written
    uint8_t     stream;                 // chopin__stream_mode
#ifdef CHOPIN_WITH_ZLIB
    struct chopin__squeezer *squeezer;  // what is written goes through it
#endif
    bool        ended;                  // the stream
    bool        events;                 // it is a stream of server-sent events: waits send heartbeats
    int       (*finish)(struct chopin_ctx *c, int rc); // of a reply that is written piece by piece, or a connection taken over: the handler has returned `rc`
} chopin__reply;

/* Does a reply of this status have a body, and headers that speak of one? (RFC 9110 6.4.1, 15.2-15.4) */
static inline bool chopin__status_has_body(int status) { return status >= 200 && status != 204 && status != 304; }

typedef struct chopin__framing {        // what the connection decided about this reply
    bool head_only;                     // HEAD: all headers, no body
    bool close;                         // "Connection: close"
    bool keep_1_0;                      // "Connection: keep-alive", echoed to an HTTP/1.0 client
    bool connect;                       // a 2xx has neither body nor length: what follows it would be the tunnel (RFC 9110 9.3.6)
    uint64_t length;                    // of the body, if it is told
    bool chunked;                       // the length is not known yet
    bool unsized;                       // nor is it told: the body ends with the connection, or there is none
} chopin__framing;

static inline bool chopin__framing_has_body(chopin__framing f, int status) { return chopin__status_has_body(status) && !(f.connect && status < 300); }

static inline char *chopin__put(char *to, const char *text, size_t len) { memcpy(to, text, len); return to + len; }

/* For text that is short as a rule: 8 to 16 bytes are two overlapping words, not a call. */
static inline char *chopin__put_short(char *to, const char *text, size_t len) {
    if (len - 8 > 8) return chopin__put(to, text, len);
    memcpy(to, text, 8);
    memcpy(to + len - 8, text + len - 8, 8);
    return to + len;
}

static inline char *chopin__put_length(char *to, uint64_t len) {
    if (len >= 100) return to + chopin__format_u64(to, len);
    if (len >= 10) *to++ = (char)('0' + len / 10);
    *to++ = (char)('0' + len % 10);
    return to;
}
#define CHOPIN__PUT(to, literal) chopin__put(to, literal, sizeof(literal) - 1)

static CHOPIN__NOINLINE char *chopin__put_status(char *to, int status) {
    const char *reason = chopin__reason(status);
    to = CHOPIN__PUT(to, "HTTP/1.1 ");
    to += chopin__format_u64(to, (uint64_t)status);
    *to++ = ' ';
    to = chopin__put(to, reason, strlen(reason));
    return CHOPIN__PUT(to, "\r\n");
}

/* An upper bound of what chopin__put_head() writes. */
static inline size_t chopin__head_bound(const chopin__preset *preset, const chopin__reply *r) {
    return preset->len + r->type.len + r->lines_len + 192;
}

static inline char *chopin__put_head(char *to, const chopin__preset *preset, const chopin__reply *r, chopin__framing f) {
    if (CHOPIN__LIKELY(r->status == 200)) {
        to = chopin__put(to, preset->text, preset->len);
    } else {
        to = chopin__put_status(to, r->status);
        to = chopin__put(to, preset->text + preset->status_len, preset->len - preset->status_len);
    }
    if (CHOPIN__LIKELY(chopin__framing_has_body(f, r->status))) {
        if (r->type.len) {
            to = CHOPIN__PUT(to, "Content-Type: ");
            to = chopin__put_short(to, r->type.ptr, r->type.len);
            to = CHOPIN__PUT(to, "\r\n");
        }
        if (CHOPIN__LIKELY(!f.chunked && !f.unsized)) {
            to = CHOPIN__PUT(to, "Content-Length: ");
            to = chopin__put_length(to, f.length);
            to = CHOPIN__PUT(to, "\r\n");
        }
        if (CHOPIN__UNLIKELY(f.chunked)) to = CHOPIN__PUT(to, "Transfer-Encoding: chunked\r\n");
    }
    if (r->lines_len) to = chopin__put(to, r->lines, r->lines_len);
    if (CHOPIN__UNLIKELY(f.close))    to = CHOPIN__PUT(to, "Connection: close\r\n");
    if (CHOPIN__UNLIKELY(f.keep_1_0)) to = CHOPIN__PUT(to, "Connection: keep-alive\r\n");
    return CHOPIN__PUT(to, "\r\n");
}

typedef struct chopin__owned_copy { chopin__heap *heap; size_t size; } chopin__owned_copy;

static void chopin__owned_copy_free(void *arg) {
    chopin__owned_copy *copy = arg;
    chopin__release(copy->heap, copy, copy->size);
}

/* Turns borrowed bytes into bytes of our own. False: out of memory. */
static bool chopin__own_copy(chopin__heap *heap, chopin_str *s, void (**release)(void *), void **arg) {
    size_t size;
    chopin__owned_copy *copy = chopin__add_ok(s->len, sizeof *copy, &size) ? chopin__alloc(heap, size) : NULL;
    if (!copy) return false;
    *copy = (chopin__owned_copy){ heap, size };
    memcpy(copy + 1, s->ptr, s->len);
    s->ptr = (char *)(copy + 1);
    *release = chopin__owned_copy_free;
    *arg = copy;
    return true;
}

/* The head, and the body behind it if it is short. False: out of memory, nothing was written. */
static bool chopin__reply_write_head(chopin__queue *q, chopin__pieces *from, const chopin__preset *preset, const chopin__reply *r,
                                     chopin__framing f, bool with_body) {
    size_t bound = chopin__head_bound(preset, r) + (with_body ? r->body.len : 0);
    char  *to = chopin__queue_reserve(q, from, bound), *big = NULL;
    if (CHOPIN__UNLIKELY(!to)) {                             // larger than a block: headers may be
        to = big = chopin__alloc(from->blocks.heap, bound);
        if (!big) return false;
    }
    char *end = chopin__put_head(to, preset, r, f);
    if (with_body && r->body.len) end = chopin__put(end, r->body.ptr, r->body.len);
    if (CHOPIN__LIKELY(!big)) { chopin__queue_wrote(q, (size_t)(end - to)); return true; }
    bool ok = chopin__queue_copy(q, from, chopin__str(big, (size_t)(end - big)));
    chopin__release(from->blocks.heap, big, bound);
    return ok;
}

/* The ranges of a source, and what stands between them. */
static bool chopin__reply_write_slices(chopin__queue *q, chopin__pieces *from, const chopin__slices *b, void (*release)(void *), void *arg) {
    bool ok = true;
    for (size_t i = 0; i < b->count; i++) {
        const chopin__slice *slice = &b->slice[i];
        bool last = i + 1 == b->count;
        ok = ok && chopin__queue_copy(q, from, slice->head);
        if (ok && slice->len)     ok = chopin__queue_source(q, from, b->source, b->fd, slice->at, slice->len, last ? release : NULL, arg);
        else if (last && release) release(arg);
    }
    return ok && chopin__queue_copy(q, from, b->tail);
}

/* Appends head and body to the queue. The body's release function, if any, passes to the queue or is called. `*borrowed` becomes the piece that still
 * refers to the caller's bytes, else NULL. False: out of memory; the connection must be cut if anything was written. */
static bool chopin__reply_write(chopin__queue *q, chopin__pieces *from, const chopin__preset *preset, chopin__reply *r,
                                chopin__framing f, chopin__piece **borrowed) {
    bool send_body = !f.head_only && chopin__framing_has_body(f, r->status) && (r->body.len > 0 || r->slices);
    f.length = CHOPIN__LIKELY(!r->slices) ? r->body.len : r->slices->total;
    bool refer = send_body && (r->kind >= CHOPIN__BODY_STATIC || (r->kind == CHOPIN__BODY_BORROWED)) && r->body.len > CHOPIN__COPY_BELOW;
    bool ok = chopin__reply_write_head(q, from, preset, r, f, send_body && !refer && r->body.len <= CHOPIN__COPY_BELOW);
    void (*release)(void *) = r->kind == CHOPIN__BODY_OWNED ? r->release : NULL;
    *borrowed = NULL;
    r->release = NULL;
    if (CHOPIN__UNLIKELY(ok && send_body && r->slices)) return chopin__reply_write_slices(q, from, r->slices, release, r->arg);
    if (ok && refer) {
        chopin__piece *p = chopin__queue_refer(q, from, r->body, release, r->arg);
        if (r->kind == CHOPIN__BODY_BORROWED) *borrowed = p;
        return p != NULL;
    }
    if (ok && send_body && r->body.len > CHOPIN__COPY_BELOW) ok = chopin__queue_copy(q, from, r->body);
    if (release) release(r->arg);
    return ok;
}

/* ---- further headers, kept as ready lines ---- */

/* Those the server writes itself. */
static bool chopin__header_is_ours(chopin_str name) {
    static const chopin_str ours[] = { { "content-length", 14 }, { "transfer-encoding", 17 }, { "connection", 10 }, { "date", 4 }, { "server", 6 } };
    for (size_t i = 0; i < CHOPIN__COUNT(ours); i++) {
        if (chopin__equal_nocase(name, ours[i])) return true;
    }
    return false;
}

/* The lines of that name go. */
static void chopin__lines_remove(chopin__reply *r, chopin_str name) {
    char *at = r->lines, *end = r->lines ? r->lines + r->lines_len : NULL;
    while (at < end) {
        char *line_end = (char *)memchr(at, '\n', (size_t)(end - at)) + 1;
        bool  same = (size_t)(line_end - at) > name.len && at[name.len] == ':' && chopin__equal_nocase(chopin__str(at, name.len), name);
        if (same) { memmove(at, line_end, (size_t)(end - line_end)); end -= line_end - at; }
        else      at = line_end;
    }
    r->lines_len = r->lines ? (uint32_t)(end - r->lines) : 0;
}

/* Room for `need` more bytes. False: the arena is full. */
static bool chopin__lines_room(chopin__reply *r, chopin__arena *a, size_t need) {
    if (need <= r->lines_cap - r->lines_len) return true;
    size_t cap = chopin__max((size_t)r->lines_cap * 2, r->lines_len + need + 128);
    char  *lines = cap < UINT32_MAX ? chopin__arena_alloc(a, cap) : NULL;
    if (!lines) return false;
    if (r->lines_len) memcpy(lines, r->lines, r->lines_len);
    r->lines = lines;
    r->lines_cap = (uint32_t)cap;
    return true;
}

/* Appends lines that are ready. */
static bool chopin__lines_append(chopin__reply *r, chopin__arena *a, chopin_str lines) {
    if (!chopin__lines_room(r, a, lines.len)) return false;
    memcpy(r->lines + r->lines_len, lines.ptr, lines.len);
    r->lines_len += (uint32_t)lines.len;
    return true;
}

/* Appends a checked line. */
static bool chopin__lines_add(chopin__reply *r, chopin__arena *a, chopin_str name, chopin_str value) {
    if (!chopin__lines_room(r, a, name.len + value.len + 4)) return false;
    char *to = r->lines + r->lines_len;
    to = chopin__put(to, name.ptr, name.len);
    to = CHOPIN__PUT(to, ": ");
    if (value.len) to = chopin__put(to, value.ptr, value.len);
    to = CHOPIN__PUT(to, "\r\n");
    r->lines_len = (uint32_t)(to - r->lines);
    return true;
}

/* ==========================================================================================================
   >>json   the template writer behind chopin_jsonf(): checked template in, RFC 8259 text out
   The template is walked once, without recursion: a stack of closing brackets says what is open, so the nesting it can ask
   for is bounded. Text goes into a buffer of the caller's first and moves to the arena only when it outgrows that.
   ========================================================================================================== */

typedef struct chopin__json_out {
    char   *ptr;                        // the caller's buffer, later one of the arena's
    size_t  len, cap;
    chopin__arena *arena;               // NULL: never grows
    bool    failed;                     // something did not fit: the text is of no use
} chopin__json_out;

/* At least doubles, so that a long reply is copied a bounded number of times. */
static CHOPIN__NOINLINE char *chopin__json_grow(chopin__json_out *out, size_t size) {
    size_t want;
    bool   fits = chopin__add_ok(out->len, size, &want) && out->arena && !out->failed;
    size_t cap  = fits ? chopin__max(want, out->cap <= SIZE_MAX / 2 ? out->cap * 2 : want) : 0;
    char  *ptr  = fits ? chopin__arena_alloc(out->arena, cap) : NULL;
    if (!ptr) { out->failed = true; return NULL; }
    if (out->len) memcpy(ptr, out->ptr, out->len);
    out->ptr = ptr;
    out->cap = cap;
    return ptr + out->len;
}

/* Where the next `size` bytes go; NULL when there is no memory left. */
static inline char *chopin__json_room(chopin__json_out *out, size_t size) {
    if (CHOPIN__LIKELY(size <= out->cap - out->len)) return out->ptr + out->len;
    return chopin__json_grow(out, size);
}

static inline void chopin__json_put(chopin__json_out *out, const char *bytes, size_t len) {
    char *to = len ? chopin__json_room(out, len) : NULL;
    if (!to) return;
    memcpy(to, bytes, len);
    out->len += len;
}

static inline void chopin__json_char(chopin__json_out *out, char ch) {
    char *to = chopin__json_room(out, 1);
    if (!to) return;
    *to = ch;
    out->len++;
}

/* ---- strings ---- */

/* May these eight bytes stand in a JSON string as they are? The classic tests for "some byte of a word is zero" and "is less than
 * n" give false alarms about single bytes, never about the word. */
static inline bool chopin__json_plain8(const char *p) {
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    uint64_t word;
    memcpy(&word, p, sizeof word);
    uint64_t quote = word ^ (ones * '"'), backslash = word ^ (ones * '\\');
    uint64_t alarm = ((word - ones * 0x20) & ~word) | ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) | word;
    return (alarm & highs) == 0;
}

/* Length of the character at p if it may stand as it is, else 0: quote, backslash, control (RFC 8259 7), not UTF-8 (8.1). */
static inline size_t chopin__json_plain_char(const char *p, size_t len) {
    unsigned char ch = (unsigned char)*p;
    if (CHOPIN__UNLIKELY(ch >= 0x80)) return chopin__utf8_length(p, len);
    return ch >= 0x20 && ch != '"' && ch != '\\';
}

/* How much of `s` may stand as it is. The last word overlaps the one before it, so that short ASCII text needs no loop over bytes. */
static inline size_t chopin__json_plain_run(chopin_str s) {
    size_t at = 0;
    while (s.len - at >= 8 && chopin__json_plain8(s.ptr + at)) at += 8;
    if (s.len >= 8 && s.len - at < 8 && chopin__json_plain8(s.ptr + s.len - 8)) return s.len;
    while (at < s.len) {
        bool   eight = s.len - at >= 8 && chopin__json_plain8(s.ptr + at);
        size_t n = eight ? 8 : chopin__json_plain_char(s.ptr + at, s.len - at);
        if (n == 0) break;
        at += n;
    }
    return at;
}

/* Text that needs no escaping. */
static inline void chopin__json_quote(chopin__json_out *out, const char *text, size_t len) {
    char *to = chopin__json_room(out, len + 2);
    if (!to) return;
    to[0] = to[len + 1] = '"';
    memcpy(to + 1, text, len);
    out->len += len + 2;
}

/* The one byte that stopped a plain run. */
static void chopin__json_escape(chopin__json_out *out, char byte) {
    unsigned char ch = (unsigned char)byte;
    if (ch >= 0x80) {
        chopin__json_put(out, "\xef\xbf\xbd", 3);                               // U+FFFD
    } else if (ch >= 0x20) {
        chopin__json_put(out, (char[]){ '\\', byte }, 2);                       // quote, backslash
    } else if (ch >= '\b' && ch <= '\r' && ch != '\v') {
        chopin__json_put(out, (char[]){ '\\', "btn-fr"[ch - '\b'] }, 2);
    } else {
        chopin__json_put(out, (char[]){ '\\', 'u', '0', '0', chopin__hex_digit(ch >> 4), chopin__hex_digit(ch) }, 6);
    }
}

/* Text whose first `run` bytes need no escaping. */
static CHOPIN__NOINLINE void chopin__json_quote_escaped(chopin__json_out *out, chopin_str s, size_t run) {
    chopin__json_char(out, '"');
    for (;; run = chopin__json_plain_run(s)) {
        chopin__json_put(out, s.ptr, run);
        if (run == s.len) break;
        chopin__json_escape(out, s.ptr[run]);
        s = chopin__str(s.ptr + run + 1, s.len - run - 1);
    }
    chopin__json_char(out, '"');
}

/* Quoted and escaped; absent is null. Each byte that is not part of well-formed UTF-8 becomes U+FFFD. */
static void chopin__json_string(chopin__json_out *out, chopin_str s) {
    if (!s.ptr) { chopin__json_put(out, "null", 4); return; }
    size_t run = chopin__json_plain_run(s);
    if (CHOPIN__LIKELY(run == s.len)) chopin__json_quote(out, s.ptr, run);
    else                              chopin__json_quote_escaped(out, s, run);
}

/* ---- numbers ---- */

static void chopin__json_u64(chopin__json_out *out, uint64_t value) {
    char *to = chopin__json_room(out, 20);
    if (to) out->len += chopin__format_u64(to, value);
}

static void chopin__json_i64(chopin__json_out *out, int64_t value) {
    if (value < 0) chopin__json_char(out, '-');
    chopin__json_u64(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

/* printf() writes the decimal point of the locale, which may be a comma or several bytes: what belongs to no number is the point. */
static size_t chopin__json_point(char *text) {
    size_t n = 0;
    for (const char *p = text; *p; p++) {
        bool digit = (*p >= '0' && *p <= '9') || *p == '-' || *p == '+' || *p == 'e';
        if (digit)                              text[n++] = *p;
        else if (n == 0 || text[n - 1] != '.')  text[n++] = '.';
    }
    return n;
}

/* The shortest of 15, 16 and 17 digits that reads back; JSON has no NaN and no infinity, they are null. */
static void chopin__json_f64(chopin__json_out *out, double value) {
    char text[40];
    if (!isfinite(value)) { chopin__json_put(out, "null", 4); return; }
    if (value > -1e15 && value < 1e15 && value == (double)(int64_t)value && !(value == 0 && signbit(value))) {
        chopin__json_i64(out, (int64_t)value);                                  // what %.15g would give, without its cost
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;                                 // before the point is replaced: same locale
    }
    chopin__json_put(out, text, chopin__json_point(text));
}

static size_t chopin__json_digits(chopin_str s, size_t at) {
    size_t from = at;
    while (at < s.len && s.ptr[at] >= '0' && s.ptr[at] <= '9') at++;
    return at - from;
}

/* Length of the number (RFC 8259 6) that `s` begins with; 0: there is none. */
static size_t chopin__json_number_length(chopin_str s) {
    size_t at = s.len && s.ptr[0] == '-' ? 1 : 0;
    size_t digits = chopin__json_digits(s, at);
    if (digits == 0 || (digits > 1 && s.ptr[at] == '0')) return 0;              // no leading zeros
    at += digits;
    if (at < s.len && s.ptr[at] == '.' && (digits = chopin__json_digits(s, at + 1)) > 0) at += 1 + digits;
    if (at < s.len && (s.ptr[at] == 'e' || s.ptr[at] == 'E')) {
        size_t sign = at + 1 < s.len && (s.ptr[at + 1] == '+' || s.ptr[at + 1] == '-') ? 1 : 0;
        digits = chopin__json_digits(s, at + 1 + sign);
        if (digits) at += 1 + sign + digits;
    }
    return at;
}

/* ---- the template ---- */

enum { CHOPIN__JSON_DEPTH = 64 };

typedef struct chopin__json_template {
    const char *at;                     // ends with a NUL
    unsigned    depth;                  // open brackets
    char        closer[CHOPIN__JSON_DEPTH + 1]; // what closes each of them; the template itself, [0], is closed by its NUL
    va_list     args;                   // in a struct, because a parameter of this type may be a pointer in disguise
} chopin__json_template;

static inline char chopin__json_next(chopin__json_template *t) {
    while (CHOPIN__UNLIKELY(*t->at == ' ' || *t->at == '\n' || *t->at == '\t' || *t->at == '\r')) t->at++;
    return *t->at;
}

/* Length of the escape at p (RFC 8259 7); 0: it is none. */
static size_t chopin__json_escape_length(const char *p) {
    if (p[1] == 'u') {
        for (int i = 2; i < 6; i++) {
            if (chopin__hex_value(p[i]) < 0) return 0;
        }
        return 6;
    }
    return p[1] && strchr("\"\\/bfnrt", p[1]) ? 2 : 0;
}

/* A quoted string of the template is JSON already; '%' means nothing inside. */
static bool chopin__json_quoted(chopin__json_out *out, chopin__json_template *t) {
    const char *p = t->at + 1;
    while (*p != '"') {
        size_t n = *p == '\\' ? chopin__json_escape_length(p) : chopin__json_plain_char(p, strnlen(p, 4));
        if (n == 0) return false;       // the NUL, too
        p += n;
    }
    p++;
    chopin__json_put(out, t->at, (size_t)(p - t->at));
    t->at = p;
    return true;
}

static inline bool chopin__json_word_char(unsigned char ch) {
    static const uint32_t set[8] = { 0, 0x03ff2000, 0x87fffffe, 0x07fffffe, 0, 0, 0, 0 };      // digits, letters, '_' and '-'
    return set[ch >> 5] >> (ch & 31) & 1;
}

static inline bool chopin__json_word(chopin__json_out *out, chopin__json_template *t) {
    const char *from = t->at, *p = from;
    if (*p == '-' || (*p >= '0' && *p <= '9')) return false;
    while (chopin__json_word_char((unsigned char)*p)) p++;
    if (p == from) return false;
    chopin__json_quote(out, from, (size_t)(p - from));
    t->at = p;
    return true;
}

static bool chopin__json_key(chopin__json_out *out, chopin__json_template *t) {
    char first = chopin__json_next(t);
    if (!(first == '"' ? chopin__json_quoted(out, t) : chopin__json_word(out, t))) return false;
    if (chopin__json_next(t) != ':') return false;
    t->at++;
    chopin__json_char(out, ':');
    return true;
}

/* %ld %lu %lld %llu; `p` is behind the first 'l'. NULL: none of them. */
static const char *chopin__json_long(chopin__json_out *out, chopin__json_template *t, const char *p) {
    bool twice = *p == 'l';
    if (twice) p++;
    if (*p == 'd')      chopin__json_i64(out, twice ? va_arg(t->args, long long) : va_arg(t->args, long));
    else if (*p == 'u') chopin__json_u64(out, twice ? va_arg(t->args, unsigned long long) : va_arg(t->args, unsigned long));
    else                return NULL;
    return p + 1;
}

static void chopin__json_raw(chopin__json_out *out, chopin_str json) {
    if (json.ptr && json.len) chopin__json_put(out, json.ptr, json.len);
    else                      chopin__json_put(out, "null", 4);                 // nothing at all would be no value
}

/* A change here demands another at chopin_jsonf()'s declaration. */
static bool chopin__json_directive(chopin__json_out *out, chopin__json_template *t) {
    const char *p = t->at + 2;
    switch (t->at[1]) {
    case 's': chopin__json_string(out, chopin__str_z(va_arg(t->args, const char *))); break;
    case 'q': chopin__json_string(out, va_arg(t->args, chopin_str)); break;
    case 'd': chopin__json_i64(out, va_arg(t->args, int)); break;
    case 'u': chopin__json_u64(out, va_arg(t->args, unsigned)); break;
    case 'l': p = chopin__json_long(out, t, p); break;
    case 'z': if (*p++ != 'u') return false;
              chopin__json_u64(out, va_arg(t->args, size_t)); break;
    case 'f': chopin__json_f64(out, va_arg(t->args, double)); break;
    case 'b': chopin__json_raw(out, va_arg(t->args, int) ? CHOPIN_STR("true") : CHOPIN_STR("false")); break;
    case 'j': chopin__json_raw(out, va_arg(t->args, chopin_str)); break;
    case 'n': chopin__json_put(out, "null", 4); break;
    default:  return false;
    }
    if (p) t->at = p;
    return p != NULL;
}

/* A number, true, false or null. What clings to it ("truely", "1.") is a stray character for the caller. */
static bool chopin__json_literal(chopin__json_out *out, chopin__json_template *t) {
    chopin_str rest = chopin__str_z(t->at);
    size_t len = chopin__json_number_length(rest);
    if (chopin__starts(rest, CHOPIN_STR("true")) || chopin__starts(rest, CHOPIN_STR("null"))) len = 4;
    if (chopin__starts(rest, CHOPIN_STR("false"))) len = 5;
    chopin__json_put(out, t->at, len);
    t->at += len;
    return len > 0;
}

static bool chopin__json_value(chopin__json_out *out, chopin__json_template *t) {
    switch (*t->at) {
    case '%': return chopin__json_directive(out, t);
    case '"': return chopin__json_quoted(out, t);
    default:  return chopin__json_literal(out, t);
    }
}

static bool chopin__json_open(chopin__json_out *out, chopin__json_template *t) {
    if (t->depth == CHOPIN__JSON_DEPTH) return false;
    t->closer[++t->depth] = *t->at == '{' ? '}' : ']';
    chopin__json_char(out, *t->at++);
    return true;
}

static bool chopin__json_walk(chopin__json_out *out, chopin__json_template *t) {
    for (;;) {
        // A value is due. An opening bracket only begins one, unless its closer follows at once.
        char first = chopin__json_next(t);
        if (first == '{' || first == '[') {
            if (!chopin__json_open(out, t)) return false;
            if (chopin__json_next(t) != t->closer[t->depth]) {
                if (first == '{' && !chopin__json_key(out, t)) return false;
                continue;
            }
        } else if (!chopin__json_value(out, t)) {
            return false;
        }
        // The value is complete, and with it all that close here.
        while (chopin__json_next(t) == t->closer[t->depth]) {
            if (t->depth == 0) return true;
            t->depth--;
            chopin__json_char(out, *t->at++);
        }
        if (t->depth == 0 || *t->at != ',') return false;
        chopin__json_char(out, *t->at++);
        if (t->closer[t->depth] == '}' && !chopin__json_key(out, t)) return false;
    }
}

/* chopin_jsonf() without the reply. OK, INVALID (malformed template) or MEMORY; the text is of use after OK only. */
static int chopin__json_format(chopin__json_out *out, const char *format, va_list args) {
    chopin__json_template t;            // not zeroed as a whole: most of it is the stack
    t.at = format;
    t.depth = 0;
    t.closer[0] = 0;
    va_copy(t.args, args);
    bool valid = chopin__json_walk(out, &t);
    va_end(t.args);
    if (!valid) return CHOPIN_INVALID;
    return out->failed ? CHOPIN_MEMORY : CHOPIN_OK;
}


/* ==========================================================================================================
   >>body   query, form, cookies, typed values: views over bytes already read
   Pure: bytes in, views out. A value is decoded when it is asked for, once, and only if there is something to decode; all
   else points into the request. Also here is what is written in the same grammars: the Set-Cookie value.
   ========================================================================================================== */

/* ---- name=value&name=value: query strings and forms ---- */

/* Compares while decoding, so that a hostile form full of escaped keys costs time in proportion and no memory. */
static bool chopin__body_key_is(chopin_str key, chopin_str name) {
    size_t n = 0;
    for (size_t i = 0; i < key.len; i++, n++) {
        char ch = key.ptr[i] == '+' ? ' ' : key.ptr[i];
        if (ch == '%') {
            if (key.len - i < 3) return false;
            int high = chopin__hex_value(key.ptr[i + 1]), low = chopin__hex_value(key.ptr[i + 2]);
            if (high < 0 || low < 0) return false;
            ch = (char)(high * 16 + low);
            i += 2;
        }
        if (n == name.len || name.ptr[n] != ch) return false;
    }
    return n == name.len;
}

static bool chopin__body_has(chopin_str s, char ch) { return s.len > 0 && memchr(s.ptr, ch, s.len) != NULL; }

/* A view of `value` if that says it all, else decoded into the arena. Absent: arena full, or a bad escape that nobody refused before. */
static chopin_str chopin__body_decode(chopin_str value, bool plus, chopin__arena *a) {
    bool percent = chopin__body_has(value, '%');
    if (!percent && !(plus && chopin__body_has(value, '+'))) return value;
    if (percent && !chopin__percent_ok(value)) return chopin__absent();
    char *text = chopin__arena_alloc(a, value.len);
    if (!text) return chopin__absent();
    return chopin__str(text, chopin__percent_decode(text, value, plus));
}

/* The value of the first `name`. `plus`: a form, where '+' is a blank and keys are compared decoded. In queries keys are compared as
 * sent: decoding each one of a hostile query would cost more than it buys. Absent .ptr NULL; empty .ptr set. */
static chopin_str chopin__body_find(chopin_str pairs, const char *name, bool plus, chopin__arena *a) {
    chopin_str wanted = chopin__str_z(name);
    while (pairs.len > 0) {
        chopin_str value = chopin__cut(&pairs, '&');
        if (value.len == 0) continue;                       // "a=1&&b=2" has two fields, not three
        chopin_str key   = chopin__cut(&value, '=');
        if (plus ? chopin__body_key_is(key, wanted) : chopin__equal(key, wanted)) return chopin__body_decode(value, plus, a);
    }
    return chopin__absent();
}

/* OK, MALFORMED (bad escape; NUL, coded or not, because it would end C strings) or TOO_LARGE (more than `max_fields`; empty ones
 * count, so that 100,000 times '&' is refused here and not walked by each chopin_form()). */
static int chopin__body_check_form(chopin_str pairs, size_t max_fields) {
    if (pairs.len == 0) return CHOPIN_OK;
    if (!chopin__percent_ok(pairs) || chopin__body_has(pairs, 0)) return CHOPIN_MALFORMED;
    for (size_t fields = 0; pairs.len > 0; fields++) {
        if (fields == max_fields) return CHOPIN_TOO_LARGE;
        chopin__cut(&pairs, '&');
    }
    return CHOPIN_OK;
}

/* ---- header values that are lists ---- */

/* The first cookie `name` of one Cookie header (RFC 6265 5.4). Names match byte for byte. Quotes protect nothing: a ';' inside
 * them ends the value (4.1.1), or else one cookie could swallow its neighbours. */
static chopin_str chopin__body_cookie(chopin_str header, const char *name) {
    while (header.len > 0) {
        chopin_str value = chopin__trim(chopin__cut(&header, ';'));
        if (!chopin__body_has(value, '=')) continue;        // browsers send cookies without a name that way
        chopin_str key = chopin__cut(&value, '=');
        if (!chopin__equal_z(key, name)) continue;
        bool quoted = value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"';
        return quoted ? chopin__str(value.ptr + 1, value.len - 2) : value;
    }
    return chopin__absent();
}

/* Is `token` an element of a comma separated list, in any case (RFC 9110 5.6.1)? */
static bool chopin__body_list_has(chopin_str list, chopin_str token) {
    while (list.len > 0) {
        if (chopin__equal_nocase(chopin__trim(chopin__cut(&list, ',')), token)) return true;
    }
    return false;
}

/* Is `etag` an element of a list of entity tags, strong or weak: "abc", W/"abc" (RFC 9110 8.8.3.2)? */
static bool chopin__body_etag_listed(chopin_str list, chopin_str etag) {
    while (list.len > 0) {
        chopin_str tag = chopin__trim(chopin__cut(&list, ','));
        if (chopin__starts(tag, CHOPIN_STR("W/"))) tag = chopin__str(tag.ptr + 2, tag.len - 2);
        if (chopin__equal(tag, etag)) return true;
    }
    return false;
}

/* "Application/JSON; charset=utf-8" is "application/json" (RFC 9110 8.3.1). */
static bool chopin__body_media_type_is(chopin_str content_type, const char *type) {
    return chopin__equal_nocase(chopin__trim(chopin__cut(&content_type, ';')), chopin__str_z(type));
}

/* ---- typed values; integers are read in >>bytes ---- */

/* The number behind 'e', kept far inside an int: nothing finite has an exponent of six digits. */
static int chopin__body_exponent(chopin_str s) {
    bool minus = s.len && s.ptr[0] == '-';
    int  value = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] >= '0' && s.ptr[i] <= '9' && value < 100000) value = value * 10 + (s.ptr[i] - '0');
    }
    return minus ? -value : value;
}

/* A JSON number (RFC 8259 6): no hex, no "inf", no blanks. False on overflow, and beyond 1000 characters. strtod() wants the
 * locale's decimal point, so it gets none: 12.5e3 is read as 125e2. */
static bool chopin__body_f64(chopin_str s, double *out) {
    char   text[1024];
    size_t n = 0, at = 0;
    int    shift = 0;
    bool   fraction = false;
    if (s.len == 0 || s.len > 1000 || chopin__json_number_length(s) != s.len) return false;
    for (; at < s.len && s.ptr[at] != 'e' && s.ptr[at] != 'E'; at++) {
        if (s.ptr[at] == '.') { fraction = true; continue; }
        text[n++] = s.ptr[at];
        if (fraction) shift--;
    }
    if (at < s.len) shift += chopin__body_exponent(chopin__str(s.ptr + at + 1, s.len - at - 1));
    snprintf(text + n, sizeof text - n, "e%d", shift);
    double value = strtod(text, NULL);
    if (!isfinite(value)) return false;
    *out = value;
    return true;
}

/* The index of the word that `s` is, in a NULL-terminated list; -1: none. */
static int chopin__body_enum(chopin_str s, const char *const *words) {
    for (int i = 0; words[i]; i++) {
        if (chopin__equal_z(s, words[i])) return i;
    }
    return -1;
}

static bool chopin__body_bool(chopin_str s, bool *out) {
    static const char *const words[] = { "0", "1", "false", "true", "no", "yes", "off", "on", NULL };
    int at = chopin__body_enum(s, words);
    if (at >= 0) *out = at & 1;
    return at >= 0;
}

/* ---- Set-Cookie (RFC 6265 4.1.1; prefixes, SameSite and sizes as in its revision 6265bis) ---- */

/* cookie-octet: visible ASCII but for quote, comma, semicolon and backslash. */
static bool chopin__body_is_cookie_value(chopin_str s) {
    for (size_t i = 0; i < s.len; i++) {
        char ch = s.ptr[i];
        if (ch <= 0x20 || ch >= 0x7f || ch == '"' || ch == ',' || ch == ';' || ch == '\\') return false;
    }
    return true;
}

/* Browsers ignore a path that does not start with '/', without a word. */
static bool chopin__body_is_cookie_path(chopin_str s) {
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < 0x20 || s.ptr[i] >= 0x7f || s.ptr[i] == ';') return false;
    }
    return s.len > 0 && s.ptr[0] == '/';
}

static bool chopin__body_is_cookie_domain(chopin_str s) {
    for (size_t i = 0; i < s.len; i++) {
        char ch = chopin__lower(s.ptr[i]);
        if (!((ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == '-' || ch == '.')) return false;
    }
    return s.len > 0;
}

/* "Lax", "Strict" or "None" as the standard spells it; NULL: something else. */
static const char *chopin__body_same_site(const char *word) {
    static const char *const words[] = { "Lax", "Strict", "None", NULL };
    if (!word) return "Lax";
    for (int i = 0; words[i]; i++) {
        if (chopin__equal_nocase(chopin__str_z(word), chopin__str_z(words[i]))) return words[i];
    }
    return NULL;
}

/* What browsers would drop without a word: __Host- needs Secure, Path=/ and no Domain, __Secure- needs Secure, in any case of the
 * letters; so do SameSite=None and Partitioned. */
static bool chopin__body_cookie_allowed(chopin_str name, const chopin_cookie_options *o, const char *same_site) {
    bool host   = name.len >= 7 && chopin__equal_nocase(chopin__str(name.ptr, 7), CHOPIN_STR("__Host-"));
    bool secure = name.len >= 9 && chopin__equal_nocase(chopin__str(name.ptr, 9), CHOPIN_STR("__Secure-"));
    if (o->no_secure && (host || secure || o->partitioned || strcmp(same_site, "None") == 0)) return false;
    return !host || (!o->domain && (!o->path || strcmp(o->path, "/") == 0));
}

static bool chopin__body_cookie_valid(chopin_str name, chopin_str value, const chopin_cookie_options *o) {
    const char *same_site = chopin__body_same_site(o->same_site);
    if (!chopin__is_token(name) || !chopin__body_is_cookie_value(value) || name.len + value.len > 4096) return false;
    if (o->path   && !chopin__body_is_cookie_path(chopin__str_z(o->path)))     return false;
    if (o->domain && !chopin__body_is_cookie_domain(chopin__str_z(o->domain))) return false;
    if (!same_site || o->max_age_s < -1) return false;
    return chopin__body_cookie_allowed(name, o, same_site);
}

static chopin_str chopin__body_printf(chopin__arena *a, const char *format, ...) {
    va_list args;
    va_start(args, format);
    chopin_str text = chopin__arena_vprintf(a, format, args);
    va_end(args);
    return text;
}

/* The value of a Set-Cookie header. OK, INVALID (see chopin_set_cookie) or MEMORY. */
static int chopin__body_write_cookie(chopin__arena *a, const char *name, const char *value, const chopin_cookie_options *options, chopin_str *line) {
    const chopin_cookie_options none = { 0 }, *o = options ? options : &none;
    char age[32] = "";
    if (!name || !value || !chopin__body_cookie_valid(chopin__str_z(name), chopin__str_z(value), o)) return CHOPIN_INVALID;
    if (o->max_age_s > 0) snprintf(age, sizeof age, "; Max-Age=%lld", (long long)o->max_age_s);
    *line = chopin__body_printf(a, "%s=%s; Path=%s%s%s%s%s; SameSite=%s%s%s%s", name, value, o->path ? o->path : "/",
        o->domain ? "; Domain=" : "", o->domain ? o->domain : "",
        age, o->max_age_s < 0 ? "; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT" : "",
        chopin__body_same_site(o->same_site),
        o->no_http_only ? "" : "; HttpOnly", o->no_secure ? "" : "; Secure", o->partitioned ? "; Partitioned" : "");
    return line->ptr ? CHOPIN_OK : CHOPIN_MEMORY;
}


/* ==========================================================================================================
   >>multipart   multipart/form-data (RFC 7578, RFC 2046 5.1): a body in pieces of any size in, parts and their data out
   Pure. Data are views into the piece that was fed. What looks like the beginning of a boundary at the end of a piece is
   held back, and costs no copy: should it be data after all, it is given as a view into the reader's own boundary. Only
   the head of the current part is kept. One pass; each byte is looked at twice at most; nothing recurses.
   ========================================================================================================== */
#define CHOPIN__MULTIPART_BOUNDARY_MAX 70           // RFC 2046 5.1.1
#define CHOPIN__MULTIPART_SAFE_MAX     255          // a file name, on every file system there is

/* ---- parameters: *( ";" name "=" ( token / quoted-string ) ), as in Content-Type and Content-Disposition ---- */

/* The end of a quoted string that starts at s.ptr[0], behind its closing quote; 0: it has none. A backslash hides a quote and itself, nothing else:
 * browsers send `C:\x` as it is. A quote that ends the header closes the string whatever stands before it: some send names that end in '\'. */
static size_t chopin__multipart_quoted(chopin_str s) {
    for (size_t i = 1; i < s.len; i++) {
        if (s.ptr[i] == '"') return i + 1;
        if (s.ptr[i] != '\\' || i + 1 == s.len) continue;
        if (s.ptr[i + 1] == '\\' || (s.ptr[i + 1] == '"' && i + 2 < s.len)) i++;
    }
    return 0;
}

/* Takes the escapes of a quoted string away; `out` takes s.len bytes. */
static size_t chopin__multipart_unescape(char *out, chopin_str s) {
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\\' && i + 1 < s.len && (s.ptr[i + 1] == '\\' || s.ptr[i + 1] == '"')) i++;
        out[n++] = s.ptr[i];
    }
    return n;
}

typedef struct chopin__multipart_param {
    chopin_str name;
    chopin_str value;                   // between the quotes, escapes as sent
    bool       quoted;
} chopin__multipart_param;

/* The length of a value without quotes: characters of a token and bytes from 0x80, and those that boundaries have although they ought to be quoted. */
static size_t chopin__multipart_bare(chopin_str s) {
    size_t n = 0;
    for (; n < s.len; n++) {
        unsigned char ch = (unsigned char)s.ptr[n];
        if (!chopin__is_token_char(ch) && ch < 0x80 && !(ch > ' ' && ch < 0x7f && strchr("()/:=?@[]", ch))) break;
    }
    return n;
}

/* The next parameter; *rest is what follows the type, or the last parameter. Empty ones do not count (RFC 9110 5.6.6).
 * 1: *p is filled, 0: there is none any more, -1: malformed. */
static int chopin__multipart_next_param(chopin_str *rest, chopin__multipart_param *p) {
    chopin_str s = chopin__trim(*rest);
    if (s.len > 0 && s.ptr[0] != ';') return -1;
    while (s.len > 0 && s.ptr[0] == ';') s = chopin__trim(chopin__str(s.ptr + 1, s.len - 1));
    *rest = s;
    if (s.len == 0) return 0;
    p->name = chopin__trim(chopin__cut(&s, '='));
    s = chopin__trim(s);
    if (!chopin__is_token(p->name) || s.len == 0) return -1;
    p->quoted = s.ptr[0] == '"';
    size_t n = p->quoted ? chopin__multipart_quoted(s) : chopin__multipart_bare(s);
    if (n == 0) return -1;
    p->value = p->quoted ? chopin__str(s.ptr + 1, n - 2) : chopin__str(s.ptr, n);
    *rest = chopin__str(s.ptr + n, s.len - n);
    return 1;
}

/* What stands in front of the first ';', trimmed; *rest becomes the parameters. */
static chopin_str chopin__multipart_kind(chopin_str value, chopin_str *rest) {
    const char *semicolon = value.len ? memchr(value.ptr, ';', value.len) : NULL;
    size_t n = semicolon ? (size_t)(semicolon - value.ptr) : value.len;
    *rest = value.ptr ? chopin__str(value.ptr + n, value.len - n) : value;
    return chopin__trim(chopin__str(value.ptr, n));
}

/* 1 to 70 of certain characters, not ending in a blank (RFC 2046 5.1.1). */
static bool chopin__multipart_is_boundary(chopin_str s) {
    if (s.len == 0 || s.len > CHOPIN__MULTIPART_BOUNDARY_MAX || s.ptr[s.len - 1] == ' ') return false;
    for (size_t i = 0; i < s.len; i++) {
        char ch = s.ptr[i], lower = chopin__lower(ch);
        if (!((lower >= 'a' && lower <= 'z') || (ch >= '0' && ch <= '9') || (ch && strchr("'()+_,-./:=? ", ch)))) return false;
    }
    return true;
}

/* The boundary that a Content-Type names, as a view into it. 0, or minus the status: 415 it is not multipart/form-data, 400 there is no boundary, there
 * are two, or one that is not valid. Other parameters mean nothing here (RFC 7578 defines no charset), wherever they stand. */
static int chopin__multipart_boundary(chopin_str content_type, chopin_str *boundary) {
    chopin__multipart_param p;
    chopin_str rest;
    int        rc;
    *boundary = chopin__absent();
    if (!chopin__equal_nocase(chopin__multipart_kind(content_type, &rest), CHOPIN_STR("multipart/form-data"))) return -415;
    while ((rc = chopin__multipart_next_param(&rest, &p)) > 0) {
        if (!chopin__equal_nocase(p.name, CHOPIN_STR("boundary"))) continue;
        if (boundary->ptr || !chopin__multipart_is_boundary(p.value)) return -400;
        *boundary = p.value;
    }
    return rc == 0 && boundary->ptr ? 0 : -400;
}

/* ---- names of files ---- */

/* attr-char and pct-encoded of RFC 8187 3.2.1 into `out`, which takes s.len bytes. Absent: an escape is damaged, or what comes out is no UTF-8 or holds
 * control characters. */
static chopin_str chopin__multipart_decode(char *out, chopin_str s) {
    chopin__utf8 utf8 = { 0 };
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char ch = (unsigned char)s.ptr[i];
        if (ch == '%') {
            int high = s.len - i > 2 ? chopin__hex_value(s.ptr[i + 1]) : -1, low = high >= 0 ? chopin__hex_value(s.ptr[i + 2]) : -1;
            if (low < 0) return chopin__absent();
            ch = (unsigned char)(high << 4 | low);
            i += 2;
        } else if (!chopin__is_token_char(ch) || ch == '*' || ch == '\'') {
            return chopin__absent();
        }
        if (ch < 0x20 || ch == 0x7f) return chopin__absent();
        out[n++] = (char)ch;
    }
    return chopin__utf8_feed(&utf8, out, n) && !utf8.left ? chopin__str(out, n) : chopin__absent();
}

/* UTF-8'language'text (RFC 8187 3.2). Absent: nonsense, or another charset, which nobody is to send. */
static chopin_str chopin__multipart_extended(char *out, const chopin__multipart_param *p) {
    chopin_str text = p->value;
    if (p->quoted || !chopin__equal_nocase(chopin__cut(&text, '\''), CHOPIN_STR("UTF-8"))) return chopin__absent();
    if (!chopin__body_has(text, '\'')) return chopin__absent();
    chopin__cut(&text, '\'');
    return chopin__multipart_decode(out, text);
}

/* Does Windows take this name, or the part before its first dot, for a device? Archives and network shares travel. */
static bool chopin__multipart_is_device(chopin_str name) {
    static const chopin_str devices[] = { { "con", 3 }, { "prn", 3 }, { "aux", 3 }, { "nul", 3 }, { "conin$", 6 }, { "conout$", 7 } };
    chopin_str stem = chopin__trim(chopin__cut(&name, '.'));
    for (size_t i = 0; i < CHOPIN__COUNT(devices); i++) {
        if (chopin__equal_nocase(stem, devices[i])) return true;
    }
    if (stem.len != 4 || stem.ptr[3] < '0' || stem.ptr[3] > '9') return false;
    stem.len = 3;
    return chopin__equal_nocase(stem, CHOPIN_STR("com")) || chopin__equal_nocase(stem, CHOPIN_STR("lpt"));
}

/* A character that must not stand in a name: bytes that are no UTF-8, controls (C1, too), what turns the direction of writing, and those that Windows
 * forbids. `n` is the length of its sequence, 0: none. */
static bool chopin__multipart_is_unsafe(const char *text, size_t n) {
    const unsigned char *p = (const unsigned char *)text;
    if (n == 1) return p[0] < 0x20 || p[0] == 0x7f || strchr("<>:\"|?*", p[0]) != NULL;
    if (n == 2) return p[0] == 0xc2 && p[1] < 0xa0;
    if (n != 3 || p[0] != 0xe2) return n == 0;
    return (p[1] == 0x80 && (p[2] == 0x8e || p[2] == 0x8f || (p[2] >= 0xa8 && p[2] <= 0xae))) || (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9);
}

/* A name under which a file may be kept: the last component of a path of either kind of slash, in UTF-8, 1 to 255 bytes, cut between characters.
 * Unsafe characters become '_', dots and blanks at its ends go, a device loses its first letter, nothing becomes "upload". Gives the length. */
static size_t chopin__multipart_safe_name(char out[CHOPIN__MULTIPART_SAFE_MAX + 1], chopin_str raw) {
    size_t from = raw.len, n = 0, step;
    while (from > 0 && raw.ptr[from - 1] != '/' && raw.ptr[from - 1] != '\\') from--;
    for (size_t i = from; i < raw.len; i += step) {
        size_t len = chopin__utf8_length(raw.ptr + i, raw.len - i);
        bool   bad = chopin__multipart_is_unsafe(raw.ptr + i, len);
        step = len ? len : 1;
        if (n == 0 && (raw.ptr[i] == '.' || raw.ptr[i] == ' ')) continue;
        if (n + (bad ? 1 : len) > CHOPIN__MULTIPART_SAFE_MAX) break;
        if (bad) out[n++] = '_';
        else     n = (size_t)(chopin__put(out + n, raw.ptr + i, len) - out);
    }
    while (n > 0 && (out[n - 1] == '.' || out[n - 1] == ' ')) n--;
    if (chopin__multipart_is_device(chopin__str(out, n))) out[0] = '_';
    if (n == 0) n = (size_t)(CHOPIN__PUT(out, "upload") - out);
    out[n] = 0;
    return n;
}

/* ---- the reader ---- */
typedef struct chopin__multipart_rules {    // from chopin_options; whatever is above answers 413
    size_t   max_parts;
    size_t   max_part_head;             // header lines with their ends; also blanks behind a boundary
    size_t   max_part_name;             // of a field, without escapes
    uint64_t max_field;                 // data of a part that is no file
    uint64_t max_file;                  // data of a part that is one
    uint64_t max_total;                 // everything, boundaries and what surrounds them included
} chopin__multipart_rules;

typedef struct chopin__multipart_part { // views that live until the next part
    chopin_str name;
    chopin_str filename;                // as sent, only escapes are taken away: any bytes but NUL, CR, LF. Never a path to open. Absent: none
    chopin_str extended;                // filename* (RFC 8187) decoded; absent: none, or nonsense
    chopin_str safe_name;               // of a file, see chopin__multipart_safe_name(); ends with a NUL. Made of filename, for RFC 7578 4.2 allows
                                        // no filename*; of that only where it came alone
    chopin_str type;                    // Content-Type as sent; absent: none, which means text/plain (RFC 7578 4.4)
    chopin_str head;                    // the lines, for chopin__multipart_header()
    bool       file;                    // filename or filename* was there
} chopin__multipart_part;

enum { CHOPIN__MULTIPART_PART = 1, CHOPIN__MULTIPART_DATA, CHOPIN__MULTIPART_PART_END, CHOPIN__MULTIPART_END };
enum {
    CHOPIN__MULTIPART_IN_PREAMBLE, CHOPIN__MULTIPART_IN_BODY, CHOPIN__MULTIPART_AT_TAIL, CHOPIN__MULTIPART_AT_PADDING, CHOPIN__MULTIPART_AT_LF,
    CHOPIN__MULTIPART_AT_DASH, CHOPIN__MULTIPART_IN_HEAD, CHOPIN__MULTIPART_IN_EPILOGUE
};

typedef struct chopin__multipart {
    chopin__multipart_rules rules;
    chopin__multipart_part  part;       // the current one, from PART on
    const char *why;                    // what was wrong, for the log
    int      failed;                    // minus the status; it stays that
    uint8_t  state;
    uint8_t  delimiter_len;
    uint8_t  matched;                   // bytes of the delimiter that were seen at the end of what was fed ...
    uint8_t  assumed;                   // ... these first ones not as data: the line end belonged to the head, or there is none
    bool     over;                      // the data just given end at their limit, and there are more
    size_t   parts;
    uint64_t total_left, data_left;
    size_t   head_len;
    char    *head;                      // rules.max_part_head bytes, ...
    char    *names;                     // ... as many for names without escapes
    char     safe[CHOPIN__MULTIPART_SAFE_MAX + 1];
    char     delimiter[4 + CHOPIN__MULTIPART_BOUNDARY_MAX];             // CR LF "--" boundary
} chopin__multipart;

/* `boundary` has passed chopin__multipart_boundary() and is copied. False: the arena is full; it gives twice max_part_head. */
static bool chopin__multipart_init(chopin__multipart *m, const chopin__multipart_rules *rules, chopin_str boundary, chopin__arena *a) {
    CHOPIN_ASSERT(chopin__multipart_is_boundary(boundary) && rules->max_part_head <= SIZE_MAX / 2);
    *m = (chopin__multipart){ .rules = *rules, .state = CHOPIN__MULTIPART_IN_PREAMBLE, .total_left = rules->max_total };
    m->matched = m->assumed = 2;                                        // the first boundary needs no line end in front
    m->delimiter_len = (uint8_t)(4 + boundary.len);
    chopin__put(CHOPIN__PUT(m->delimiter, "\r\n--"), boundary.ptr, boundary.len);
    m->head = chopin__arena_alloc(a, 2 * rules->max_part_head);
    m->names = m->head ? m->head + rules->max_part_head : NULL;
    return m->head != NULL;
}

static CHOPIN__NOINLINE int chopin__multipart_fail(chopin__multipart *m, int status, const char *why) {
    m->why = why;
    return m->failed = -status;
}

/* ---- the head of a part ---- */

/* The next line: its name and its value without the blanks around it. 1, 0: no more, -1: malformed; a folded line is (as in RFC 9112 5.2). */
static int chopin__multipart_line(chopin_str *lines, chopin_str *name, chopin_str *value) {
    if (lines->len == 0) return 0;
    chopin_str line = chopin__cut(lines, '\n');
    line.len--;                                                         // its CR
    const char *colon = line.len ? memchr(line.ptr, ':', line.len) : NULL;
    if (!colon) return -1;
    *name  = chopin__str(line.ptr, (size_t)(colon - line.ptr));
    *value = chopin__trim(chopin__str(colon + 1, line.len - name->len - 1));
    return chopin__is_token(*name) ? 1 : -1;
}

/* The value of a header of the part, in any case. Absent: none. */
static chopin_str chopin__multipart_header(const chopin__multipart_part *p, const char *wanted) {
    chopin_str lines = p->head, name, value;
    while (chopin__multipart_line(&lines, &name, &value) > 0) {
        if (chopin__equal_nocase(name, chopin__str_z(wanted))) return value;
    }
    return chopin__absent();
}

/* A view of the value, or a copy without escapes. */
static chopin_str chopin__multipart_text(char **names, const chopin__multipart_param *p) {
    if (!p->quoted || !chopin__body_has(p->value, '\\')) return p->value;
    chopin_str text = chopin__str(*names, chopin__multipart_unescape(*names, p->value));
    *names += text.len;
    return text;
}

/* form-data; name="..."; filename="...". A parameter that comes twice is refused: two readers could take different ones (RFC 6266 4.1). */
static int chopin__multipart_disposition(chopin__multipart *m, chopin_str value) {
    chopin__multipart_param p;
    chopin_str rest;
    char      *names = m->names;
    bool       extended = false;
    int        rc;
    if (!chopin__equal_nocase(chopin__multipart_kind(value, &rest), CHOPIN_STR("form-data"))) return chopin__multipart_fail(m, 400, "part is not form-data");
    while ((rc = chopin__multipart_next_param(&rest, &p)) > 0) {
        bool is_name = chopin__equal_nocase(p.name, CHOPIN_STR("name")), is_file = chopin__equal_nocase(p.name, CHOPIN_STR("filename"));
        bool is_extended = chopin__equal_nocase(p.name, CHOPIN_STR("filename*"));
        bool twice = (is_name && m->part.name.ptr) || (is_file && m->part.filename.ptr) || (is_extended && extended);
        if (twice) return chopin__multipart_fail(m, 400, "parameter of a part comes twice");
        if (is_name) m->part.name     = chopin__multipart_text(&names, &p);
        if (is_file) m->part.filename = chopin__multipart_text(&names, &p);
        if (is_extended) {
            m->part.extended = chopin__multipart_extended(names, &p);
            names += m->part.extended.len;
            extended = true;
        }
    }
    if (rc < 0 || !m->part.name.ptr) return chopin__multipart_fail(m, 400, rc < 0 ? "malformed Content-Disposition of a part" : "part without a name");
    if (m->part.name.len > m->rules.max_part_name) return chopin__multipart_fail(m, 413, "name of a part too long (raise chopin_options.max_part_name)");
    m->part.file = m->part.filename.ptr || extended;
    return 0;
}

/* The head is complete: what does it say? */
static int chopin__multipart_begin(chopin__multipart *m) {
    chopin_str lines, name, value, disposition = chopin__absent();
    int rc;
    m->part = (chopin__multipart_part){ .head = { m->head, m->head_len - 2 } };
    lines = m->part.head;
    while ((rc = chopin__multipart_line(&lines, &name, &value)) > 0) {
        chopin_str *known = chopin__equal_nocase(name, CHOPIN_STR("content-disposition")) ? &disposition
                          : chopin__equal_nocase(name, CHOPIN_STR("content-type"))        ? &m->part.type : NULL;
        if (known && known->ptr) return chopin__multipart_fail(m, 400, "header of a part comes twice");
        if (known) *known = value;
    }
    if (rc < 0) return chopin__multipart_fail(m, 400, "malformed header of a part");
    rc = chopin__multipart_disposition(m, disposition);
    if (rc < 0) return rc;
    if (m->part.file) {
        size_t n = chopin__multipart_safe_name(m->safe, m->part.filename.ptr ? m->part.filename : m->part.extended);
        m->part.safe_name = chopin__str(m->safe, n);
    }
    m->data_left = m->part.file ? m->rules.max_file : m->rules.max_field;
    m->state = CHOPIN__MULTIPART_IN_BODY;
    m->matched = m->assumed = 2;                                        // the empty line may be the one that belongs to the next boundary
    return CHOPIN__MULTIPART_PART;
}

/* One byte of it. Line ends are CRLF; NUL is nobody's text. */
static int chopin__multipart_head_byte(chopin__multipart *m, char ch) {
    bool cr = m->head_len > 0 && m->head[m->head_len - 1] == '\r';
    if (ch == 0 || cr != (ch == '\n')) return chopin__multipart_fail(m, 400, ch ? "line of a part's head does not end with CRLF" : "NUL in the head of a part");
    if (m->head_len == m->rules.max_part_head) return chopin__multipart_fail(m, 413, "head of a part too large (raise chopin_options.max_part_head)");
    m->head[m->head_len++] = ch;
    bool empty = ch == '\n' && (m->head_len == 2 || m->head[m->head_len - 3] == '\n');
    return empty ? chopin__multipart_begin(m) : 0;
}

/* ---- between parts ---- */

/* One byte behind a delimiter: "--", or blanks and CRLF (RFC 2046 5.1.1). A line that merely begins like the boundary is refused: by the RFC it is one. */
static int chopin__multipart_tail_byte(chopin__multipart *m, char ch) {
    bool blank = ch == ' ' || ch == '\t';
    if (m->state == CHOPIN__MULTIPART_AT_DASH && ch == '-') {
        m->state = CHOPIN__MULTIPART_IN_EPILOGUE;
        return CHOPIN__MULTIPART_END;
    }
    if (m->state == CHOPIN__MULTIPART_AT_LF && ch == '\n') {
        m->state = CHOPIN__MULTIPART_IN_HEAD;
        m->head_len = 0;
        if (m->parts++ == m->rules.max_parts) return chopin__multipart_fail(m, 413, "too many parts (raise chopin_options.max_parts)");
        return 0;
    }
    bool open = m->state == CHOPIN__MULTIPART_AT_TAIL || m->state == CHOPIN__MULTIPART_AT_PADDING;
    if      (open && ch == '\r')                                     m->state = CHOPIN__MULTIPART_AT_LF;
    else if (open && blank)                                          m->state = CHOPIN__MULTIPART_AT_PADDING;
    else if (m->state == CHOPIN__MULTIPART_AT_TAIL && ch == '-')     m->state = CHOPIN__MULTIPART_AT_DASH;
    else return chopin__multipart_fail(m, 400, "malformed boundary line");
    if (blank && m->head_len++ == m->rules.max_part_head) return chopin__multipart_fail(m, 413, "head of a part too large (raise chopin_options.max_part_head)");
    return 0;
}

/* ---- data ---- */

/* Where the delimiter, or as much of it as there is before the end, stands in `s`; s.len: nowhere. Only its first byte is a CR, so no part of one that
 * turned out false can begin another. */
static size_t chopin__multipart_find(const chopin__multipart *m, chopin_str s) {
    const char *at = s.ptr, *end = s.ptr + s.len;
    while (at < end && (at = memchr(at, '\r', (size_t)(end - at))) != NULL) {
        size_t n = chopin__min((size_t)(end - at), m->delimiter_len);
        if (memcmp(at, m->delimiter, n) == 0) return (size_t)(at - s.ptr);
        at++;
    }
    return s.len;
}

static size_t chopin__multipart_common(const char *a, const char *b, size_t len) {
    size_t n = 0;
    while (n < len && a[n] == b[n]) n++;
    return n;
}

/* The delimiter has been passed. */
static int chopin__multipart_passed(chopin__multipart *m) {
    bool inside = m->state == CHOPIN__MULTIPART_IN_BODY;
    m->state = CHOPIN__MULTIPART_AT_TAIL;
    m->matched = m->assumed = 0;
    m->head_len = 0;
    return inside ? CHOPIN__MULTIPART_PART_END : 0;
}

/* Gives bytes of the part, as many as its limit allows; those of the preamble nobody wants. */
static int chopin__multipart_give(chopin__multipart *m, chopin_str bytes, chopin_str *data) {
    if (m->state == CHOPIN__MULTIPART_IN_PREAMBLE || bytes.len == 0) return 0;
    m->over = bytes.len > m->data_left;
    if (m->over) bytes.len = (size_t)m->data_left;
    m->data_left -= bytes.len;
    *data = bytes;
    return bytes.len ? CHOPIN__MULTIPART_DATA : 0;
}

/* A beginning of the delimiter was held back: does it go on? If not, it was data, and stands in the delimiter. */
static int chopin__multipart_held(chopin__multipart *m, chopin_str *in, chopin_str *data) {
    size_t want = (size_t)m->delimiter_len - m->matched, n = chopin__min(want, in->len);
    size_t same = chopin__multipart_common(in->ptr, m->delimiter + m->matched, n);
    if (same < n) {
        chopin_str bytes = chopin__str(m->delimiter + m->assumed, (size_t)m->matched - m->assumed);
        m->matched = m->assumed = 0;
        return chopin__multipart_give(m, bytes, data);
    }
    *in = chopin__str(in->ptr + n, in->len - n);
    m->matched = (uint8_t)(m->matched + n);
    return n == want ? chopin__multipart_passed(m) : 0;
}

static int chopin__multipart_data(chopin__multipart *m, chopin_str *in, chopin_str *data) {
    if (m->matched) return chopin__multipart_held(m, in, data);
    size_t     n     = chopin__multipart_find(m, *in);
    chopin_str bytes = chopin__str(in->ptr, n);
    size_t     seen  = chopin__min(in->len - n, m->delimiter_len);
    m->matched = (uint8_t)(n ? 0 : seen);                               // looked at again when the data before it have been given
    if (n == 0) *in = chopin__str(in->ptr + seen, in->len - seen);
    else        *in = chopin__str(in->ptr + n, in->len - n);
    if (n == 0 && seen == m->delimiter_len) return chopin__multipart_passed(m);
    return chopin__multipart_give(m, bytes, data);
}

static int chopin__multipart_step(chopin__multipart *m, chopin_str *in, chopin_str *data) {
    if (m->over && m->part.file) return chopin__multipart_fail(m, 413, "file too large (raise chopin_options.max_file)");
    if (m->over) return chopin__multipart_fail(m, 413, "field too large (raise chopin_options.max_field)");
    if (m->state <= CHOPIN__MULTIPART_IN_BODY) return chopin__multipart_data(m, in, data);
    if (m->state == CHOPIN__MULTIPART_IN_EPILOGUE) { *in = chopin__str(in->ptr + in->len, 0); return 0; }
    char ch = in->ptr[0];
    *in = chopin__str(in->ptr + 1, in->len - 1);
    return m->state == CHOPIN__MULTIPART_IN_HEAD ? chopin__multipart_head_byte(m, ch) : chopin__multipart_tail_byte(m, ch);
}

/* Reads on from *in, which moves.
 *
 *     while ((rc = chopin__multipart_next(&m, &in, &data)) > 0) {
 *         if (rc == CHOPIN__MULTIPART_PART) look at m.part   if (rc == CHOPIN__MULTIPART_DATA) use data, which ends with the next call or with `in`
 *     }
 *     if (rc < 0) answer -rc, m.why says what for; else feed more, or at the end of the body ask chopin__multipart_finish()
 *
 * Events come in this order: ( PART DATA* PART_END )* END. Behind END everything is ignored (RFC 2046 5.1.1). 0: all is consumed. */
static int chopin__multipart_next(chopin__multipart *m, chopin_str *in, chopin_str *data) {
    *data = chopin__absent();
    while (!m->failed && (in->len > 0 || m->over)) {
        if (m->total_left == 0 && !m->over) return chopin__multipart_fail(m, 413, "body too large (raise chopin_options.max_body or the route's)");
        size_t     n    = in->len < m->total_left ? in->len : (size_t)m->total_left;
        chopin_str some = chopin__str(in->ptr, n);
        int        rc   = chopin__multipart_step(m, &some, data);
        m->total_left -= n - some.len;
        *in = chopin__str(in->ptr + (n - some.len), in->len - (n - some.len));
        if (rc) return rc;
    }
    return m->failed;
}

/* The body has ended. 0, or minus the status: without "--" behind a boundary something is missing (400). */
static int chopin__multipart_finish(chopin__multipart *m) {
    if (m->failed || m->state == CHOPIN__MULTIPART_IN_EPILOGUE) return m->failed;
    return chopin__multipart_fail(m, 400, "multipart body ends before its last boundary");
}

/* ==========================================================================================================
   >>guard   who may ask: addresses, proxies, origins, token buckets
   Decisions only: each function is told what the request says and answers; sending the 403, 429 or the headers is for the
   middleware. Whatever a stranger may write (X-Forwarded-For, Origin) is believed for a stated reason or not at all.
   ========================================================================================================== */

/* ---- addresses ---- */

typedef struct chopin__address {
    uint8_t family;                     // 4, 6; 0: the other end of a unix socket
    uint8_t bytes[16];                  // network order, the unused rest is zero: addresses compare as bytes
} chopin__address;

/* One form for one host: IPv4 inside IPv6 (RFC 4291 2.5.5.2), as a listener on [::] sees it, becomes IPv4. */
static chopin__address chopin__guard_address(uint8_t family, const void *bytes) {
    static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
    chopin__address address = { .family = family };
    if (family == 6 && memcmp(bytes, mapped, sizeof mapped) == 0) {
        address.family = 4;
        bytes = (const uint8_t *)bytes + sizeof mapped;
    }
    memcpy(address.bytes, bytes, address.family == 4 ? 4 : 16);
    return address;
}

static chopin__address chopin__guard_address_of(const struct sockaddr_storage *from) {
    if (from->ss_family == AF_INET)  return chopin__guard_address(4, &((const struct sockaddr_in  *)(const void *)from)->sin_addr);
    if (from->ss_family == AF_INET6) return chopin__guard_address(6, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr);
    return (chopin__address){ .family = 0 };
}

/* An address and nothing else: "192.0.2.1", "2001:db8::1". No zone, no leading zeros. */
static bool chopin__guard_parse_ip(chopin_str s, chopin__address *out) {
    char    text[INET6_ADDRSTRLEN];
    uint8_t bytes[16];
    if (s.len == 0 || s.len >= sizeof text || memchr(s.ptr, 0, s.len)) return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = 0;
    bool v6 = strchr(text, ':') != NULL;
    if (inet_pton(v6 ? AF_INET6 : AF_INET, text, bytes) != 1) return false;
    *out = chopin__guard_address(v6 ? 6 : 4, bytes);
    return true;
}

static bool chopin__guard_is_port(chopin_str s) {
    uint64_t port;
    return s.len <= 5 && chopin__parse_u64(s, &port) && port <= 65535;
}

/* As proxies write it into X-Forwarded-For: an address, "192.0.2.1:80", "[2001:db8::1]" or "[2001:db8::1]:80". */
static bool chopin__guard_parse_address(chopin_str s, chopin__address *out) {
    if (s.len && s.ptr[0] == '[') {
        chopin_str port = chopin__str(s.ptr + 1, s.len - 1), host = chopin__cut(&port, ']');
        bool closed = s.len > host.len + 1, colon = port.len && port.ptr[0] == ':';
        if (!closed || !memchr(host.ptr, ':', host.len)) return false;
        if (port.len && !(colon && chopin__guard_is_port(chopin__str(port.ptr + 1, port.len - 1)))) return false;
        return chopin__guard_parse_ip(host, out);
    }
    chopin_str port = s, host = chopin__cut(&port, ':');
    bool one_colon = host.len < s.len && (port.len == 0 || !memchr(port.ptr, ':', port.len));
    if (!one_colon) return chopin__guard_parse_ip(s, out);
    return chopin__guard_is_port(port) && chopin__guard_parse_ip(host, out);
}

/* Gives the length; `out` ends with a NUL. */
static size_t chopin__guard_format_address(char out[46], const chopin__address *address) {
    if (address->family == 0) memcpy(out, "unix", 5);
    else inet_ntop(address->family == 4 ? AF_INET : AF_INET6, address->bytes, out, 46);
    return strlen(out);
}

/* ---- networks: chopin_options.trusted_proxies ---- */

typedef struct chopin__network {
    chopin__address base;
    unsigned        bits;               // how many leading bits of it count
} chopin__network;

typedef struct chopin__networks {
    chopin__network *list;
    size_t           count, room;
} chopin__networks;

/* "10.0.0.0/8", "::1", or "unix" for the other ends of unix sockets. */
static bool chopin__guard_parse_network(chopin_str s, chopin__network *out) {
    chopin_str bits = s, host = chopin__cut(&bits, '/');
    uint64_t   count = 0;
    *out = (chopin__network){ .bits = 0 };
    if (chopin__equal(s, CHOPIN_STR("unix"))) return true;
    if (!chopin__guard_parse_ip(host, &out->base)) return false;
    unsigned most = out->base.family == 4 ? 32 : 128;
    unsigned mapped = out->base.family == 4 && memchr(host.ptr, ':', host.len) ? 96 : 0;        // "::ffff:10.0.0.0/104" is "10.0.0.0/8"
    out->bits = most;
    if (host.len == s.len) return true;
    if (bits.len > 3 || !chopin__parse_u64(bits, &count) || count > most + mapped || count < mapped) return false;
    out->bits = (unsigned)count - mapped;
    return true;
}

static void chopin__guard_networks_done(chopin__networks *n, chopin__heap *heap) {
    chopin__release(heap, n->list, n->room * sizeof *n->list);
    *n = (chopin__networks){ NULL, 0, 0 };
}

/* Parses a comma separated list, once, at start; NULL or "" is the empty list. INVALID: `why` says which entry; MEMORY. */
static int chopin__guard_networks_init(chopin__networks *n, chopin__heap *heap, const char *text, char *why, size_t why_size) {
    chopin_str rest = chopin__str_z(text);
    *n = (chopin__networks){ NULL, 0, 1 };
    for (size_t i = 0; i < rest.len; i++) n->room += rest.ptr[i] == ',';
    if (rest.len == 0) return CHOPIN_OK;
    n->list = chopin__alloc(heap, n->room * sizeof *n->list);
    if (!n->list) return CHOPIN_MEMORY;
    while (rest.len > 0) {
        chopin_str entry = chopin__trim(chopin__cut(&rest, ','));
        if (entry.len == 0) continue;
        if (!chopin__guard_parse_network(entry, &n->list[n->count])) {
            snprintf(why, why_size, "\"%.*s\" is no network (write addresses like \"10.0.0.0/8, ::1\")", (int)chopin__min(entry.len, 80), entry.ptr);
            chopin__guard_networks_done(n, heap);
            return CHOPIN_INVALID;
        }
        n->count++;
    }
    return CHOPIN_OK;
}

static bool chopin__guard_network_has(const chopin__network *n, const chopin__address *a) {
    size_t   whole = n->bits / 8;
    unsigned rest  = n->bits % 8;
    if (n->base.family != a->family || memcmp(n->base.bytes, a->bytes, whole) != 0) return false;
    return rest == 0 || ((n->base.bytes[whole] ^ a->bytes[whole]) >> (8 - rest)) == 0;
}

static bool chopin__guard_contains(const chopin__networks *n, const chopin__address *a) {
    for (size_t i = 0; i < n->count; i++) {
        if (chopin__guard_network_has(&n->list[i], a)) return true;
    }
    return false;
}

/* ---- the client behind proxies ---- */

/* Cuts off the last element of a comma separated list. */
static chopin_str chopin__guard_cut_last(chopin_str *rest) {
    size_t at = rest->len;
    while (at > 0 && rest->ptr[at - 1] != ',') at--;
    chopin_str last = chopin__str(rest->ptr + at, rest->len - at);
    rest->len = at ? at - 1 : 0;
    return chopin__trim(last);
}

/* Walks one X-Forwarded-For line from the right. Each proxy appends the address it was called from, so an entry is worth what the hop
 * to the right of it is worth: `*client` is the last hop known for certain, and the walk goes on only while that is a trusted proxy.
 * True: this line is used up and its first hop is trusted, too, so go on with the line above it. */
static bool chopin__guard_client_step(const chopin__networks *trusted, chopin_str line, chopin__address *client) {
    while (line.len > 0) {
        if (!chopin__guard_contains(trusted, client)) return false;
        if (!chopin__guard_parse_address(chopin__guard_cut_last(&line), client)) return false;
    }
    return chopin__guard_contains(trusted, client);
}

/* The client's address: `lines` are the X-Forwarded-For lines in the order they came, which is one long list (RFC 9110 5.3). */
static chopin__address chopin__guard_client(const chopin__networks *trusted, chopin__address peer, const chopin_str *lines, size_t count) {
    while (count > 0 && chopin__guard_client_step(trusted, lines[count - 1], &peer)) count--;
    return peer;
}

/* ---- limiter: token buckets in a table of fixed size, sets of four ---- */

typedef struct chopin__guard_bucket {
    uint64_t key;                       // seeded hash of the address; 0: never used
    int64_t  last_ms;                   // when `tokens` was right
    double   tokens;
} chopin__guard_bucket;

typedef struct chopin__guard_limiter {  // one per worker and chopin_limit()
    chopin__guard_bucket *buckets;
    size_t   clients;                   // how many, a power of two, at least 4
    double   per_ms, burst;
    uint64_t seed;
} chopin__guard_limiter;

/* Defaults resolved; false for what is no number of tokens. NaN fails each comparison. */
static bool chopin__guard_limit_resolve(const chopin_limit_options *options, chopin_limit_options *out) {
    *out = options ? *options : (chopin_limit_options){ .per_second = 0 };
    if (!(out->per_second >= 0 && out->per_second <= 1e9) || !(out->burst >= 0 && out->burst <= 1e9)) return false;
    if (out->clients > (size_t)1 << 24) return false;
    if (out->per_second == 0) out->per_second = 10;
    if (out->burst == 0)      out->burst = 2 * out->per_second;
    if (out->burst < 1)       out->burst = 1;               // a bucket that never holds a whole token would let nobody in
    if (out->clients == 0)    out->clients = 4096;
    size_t power = 4;
    while (power < out->clients) power *= 2;
    out->clients = power;
    return true;
}

/* OK, INVALID or MEMORY. */
static int chopin__guard_limiter_init(chopin__guard_limiter *l, chopin__heap *heap, const chopin_limit_options *options, uint64_t seed) {
    chopin_limit_options o;
    if (!chopin__guard_limit_resolve(options, &o)) return CHOPIN_INVALID;
    *l = (chopin__guard_limiter){ .clients = o.clients, .per_ms = o.per_second / 1000, .burst = o.burst, .seed = seed };
    l->buckets = chopin__alloc_zero(heap, o.clients * sizeof *l->buckets);
    return l->buckets ? CHOPIN_OK : CHOPIN_MEMORY;
}

static void chopin__guard_limiter_done(chopin__guard_limiter *l, chopin__heap *heap) {
    chopin__release(heap, l->buckets, l->clients * sizeof *l->buckets);
    l->buckets = NULL;
}

/* The client's bucket; else the unused or stalest one of its set is made his, full. An IPv6 subscriber has 2^64 addresses to
 * choose from, so there the network is the client. */
static chopin__guard_bucket *chopin__guard_bucket_of(chopin__guard_limiter *l, const chopin__address *a, int64_t now_ms) {
    uint8_t  id[17] = { a->family };
    memcpy(id + 1, a->bytes, a->family == 6 ? 8 : 4);
    uint64_t key = chopin__hash(l->seed, id, sizeof id) | 1;
    chopin__guard_bucket *set = l->buckets + ((size_t)(key >> 8) & (l->clients / 4 - 1)) * 4, *oldest = set;
    for (int i = 0; i < 4; i++) {
        if (set[i].key == key) return &set[i];
        if (oldest->key && (!set[i].key || set[i].last_ms < oldest->last_ms)) oldest = &set[i];
    }
    *oldest = (chopin__guard_bucket){ .key = key, .last_ms = now_ms, .tokens = l->burst };
    return oldest;
}

/* Takes a token: 0, or in how many milliseconds there will be one. `now_ms` is a monotonic clock. */
static int64_t chopin__guard_take(chopin__guard_limiter *l, const chopin__address *a, int64_t now_ms) {
    chopin__guard_bucket *bucket = chopin__guard_bucket_of(l, a, now_ms);
    if (now_ms > bucket->last_ms) {
        bucket->tokens += (double)(now_ms - bucket->last_ms) * l->per_ms;
        bucket->last_ms = now_ms;
    }
    if (bucket->tokens > l->burst) bucket->tokens = l->burst;
    if (bucket->tokens >= 1) {
        bucket->tokens -= 1;
        return 0;
    }
    double wait_ms = (1 - bucket->tokens) / l->per_ms;
    return wait_ms < 1e9 ? (int64_t)wait_ms + 1 : 1000000000;      // rounded up: asking again then must succeed
}

/* ---- origins ---- */

/* Exactly as browsers write it (RFC 6454 6.2), or a list that holds "*". */
static bool chopin__guard_origin_listed(const char *origins, chopin_str origin) {
    chopin_str rest = chopin__str_z(origins);
    while (origin.len > 0 && rest.len > 0) {
        chopin_str entry = chopin__trim(chopin__cut(&rest, ','));
        if (chopin__equal(entry, origin) || chopin__equal(entry, CHOPIN_STR("*"))) return true;
    }
    return false;
}

/* What follows "http://" or "https://"; absent for anything else, "null" included. */
static chopin_str chopin__guard_authority(chopin_str origin) {
    for (size_t scheme = 7; scheme <= 8 && scheme < origin.len; scheme++) {
        chopin_str head = chopin__str(origin.ptr, scheme);
        if (chopin__equal_nocase(head, scheme == 7 ? CHOPIN_STR("http://") : CHOPIN_STR("https://"))) {
            return chopin__str(origin.ptr + scheme, origin.len - scheme);
        }
    }
    return chopin__absent();
}

static chopin_str chopin__guard_without(chopin_str host, chopin_str port) {
    bool ends = host.len > port.len && chopin__equal(chopin__str(host.ptr + host.len - port.len, port.len), port);
    return ends ? chopin__str(host.ptr, host.len - port.len) : host;
}

/* Does the Origin name the host that was asked? The scheme is not compared: behind a proxy that ends TLS we do not know ours. For
 * the same reason the default port of the origin's scheme may stand in either or be left out. */
static bool chopin__guard_same_origin(chopin_str origin, chopin_str host) {
    chopin_str authority = chopin__guard_authority(origin);
    if (authority.len == 0 || host.len == 0) return false;
    chopin_str port = chopin__lower(origin.ptr[4]) == 's' ? CHOPIN_STR(":443") : CHOPIN_STR(":80");
    return chopin__equal_nocase(chopin__guard_without(authority, port), chopin__guard_without(host, port));
}

/* Methods that are meant to change nothing (RFC 9110 9.2.1). */
static bool chopin__guard_is_safe(chopin_str method) {
    return chopin__equal(method, CHOPIN_STR("GET")) || chopin__equal(method, CHOPIN_STR("HEAD"))
        || chopin__equal(method, CHOPIN_STR("OPTIONS")) || chopin__equal(method, CHOPIN_STR("TRACE"));
}

/* Must this request be refused as sent by a page of another site? Sec-Fetch-Site decides where there is one: pages can neither set
 * nor remove it. "same-site" is refused, too: a neighbouring subdomain may be anybody's. Older browsers send Origin alone, other programs neither:
 * those carry no cookies that a page could abuse. "null" (sandboxed frames, local files) may stand for any page, whatever is listed. */
static bool chopin__guard_cross_site(chopin_str method, chopin_str sec_fetch_site, chopin_str origin, chopin_str host, const char *origins) {
    if (chopin__guard_is_safe(method)) return false;
    if (chopin__equal(origin, CHOPIN_STR("null"))) {
        return !chopin__equal(sec_fetch_site, CHOPIN_STR("same-origin"));       // Referrer-Policy: no-referrer makes ours "null"
    }
    if (chopin__guard_origin_listed(origins, origin)) return false;
    if (sec_fetch_site.ptr) {
        return !chopin__equal(sec_fetch_site, CHOPIN_STR("same-origin")) && !chopin__equal(sec_fetch_site, CHOPIN_STR("none"));
    }
    return origin.ptr && !chopin__guard_same_origin(origin, host);
}

/* ---- CORS (https://fetch.spec.whatwg.org/#http-cors-protocol) ---- */

typedef struct chopin__guard_cors_reply {
    bool       preflight;               // answer 204 with these headers, no handler runs
    bool       vary;                    // Vary: Origin, also when the request had none: caches must not mix the replies
    bool       credentials;             // Access-Control-Allow-Credentials: true
    chopin_str origin;                  // ...-Allow-Origin; absent: send none of the headers here
    chopin_str methods, headers;        // ...-Allow-Methods and ...-Allow-Headers of a preflight; absent: leave out
    chopin_str expose;                  // ...-Expose-Headers of other replies; absent: leave out
    int        max_age_s;               // ...-Max-Age of a preflight
} chopin__guard_cors_reply;

/* scheme "://" host [":" port]. "https://a.test/" would never match: browsers send no slash at the end. */
static bool chopin__guard_is_origin(chopin_str s) {
    chopin_str rest = s, scheme = chopin__cut(&rest, ':');
    bool slashes = rest.len > 2 && memcmp(rest.ptr, "//", 2) == 0;
    return slashes && chopin__is_token(scheme) && !memchr(rest.ptr + 2, '/', rest.len - 2);
}

static bool chopin__guard_are_origins(const char *origins) {
    chopin_str rest = chopin__str_z(origins);
    if (rest.len == 0) return false;
    while (rest.len > 0) {
        chopin_str entry = chopin__trim(chopin__cut(&rest, ','));
        if (!chopin__equal(entry, CHOPIN_STR("*")) && !chopin__guard_is_origin(entry)) return false;
    }
    return true;
}

/* OK or INVALID, at start. "*" with credentials would open every user's session to every page. */
static int chopin__guard_cors_check(const chopin_cors_options *o) {
    const char *values[] = { o->origins, o->methods, o->headers, o->expose };
    for (size_t i = 0; i < CHOPIN__COUNT(values); i++) {
        if (values[i] && !chopin__is_field_value(chopin__str_z(values[i]))) return CHOPIN_INVALID;
    }
    bool star = chopin__body_list_has(chopin__str_z(o->origins), CHOPIN_STR("*"));
    if (!chopin__guard_are_origins(o->origins) || (star && o->credentials) || o->max_age_s < 0) return CHOPIN_INVALID;
    return CHOPIN_OK;
}

/* What to say to this request. `asked_method` and `asked_headers` are its Access-Control-Request-... headers. Views of the options
 * and of the request. */
static chopin__guard_cors_reply chopin__guard_cors(const chopin_cors_options *o, chopin_str method, chopin_str origin,
                                                   chopin_str asked_method, chopin_str asked_headers) {
    bool star = chopin__body_list_has(chopin__str_z(o->origins), CHOPIN_STR("*"));
    chopin__guard_cors_reply reply = { .vary = !star };
    reply.preflight = origin.ptr && asked_method.ptr && chopin__equal(method, CHOPIN_STR("OPTIONS"));
    if (!chopin__guard_origin_listed(o->origins, origin)) return reply;
    reply.origin      = star ? CHOPIN_STR("*") : origin;
    reply.credentials = o->credentials;
    if (reply.preflight) {
        reply.methods   = o->methods ? chopin__str_z(o->methods) : CHOPIN_STR("GET, HEAD, POST, PUT, PATCH, DELETE");
        reply.headers   = o->headers ? chopin__str_z(o->headers) : asked_headers;
        reply.max_age_s = o->max_age_s ? o->max_age_s : 600;
    } else {
        reply.expose = chopin__str_z(o->expose);
    }
    return reply;
}


/* ==========================================================================================================
   >>router   path patterns, one radix tree per method, and what 404, 405, 501, Allow and the slash redirect need
   A pattern is a path whose segments may be `:name`, `:name<type>` or, last, `*name`. Static text shares prefixes;
   the other alternatives of a segment hang on the node that ends with the '/' before it, best first: uuid, u64,
   i64, f64, any text, rest. Looking up walks down, and back up to the next alternative when it comes to nothing.

   Why that is never slow: static text ends at '/' or goes on, a parameter ends at the next '/', so from a given
   place in the path each edge of the tree leads to exactly one other place. Hence a node, which has one parent, is
   entered at most once per lookup, always behind the same '/': the work is bounded by the patterns times the path,
   whatever both look like. For the same reason nothing must be remembered on the way down: the place to go back
   to is found by counting slashes. So there is no stack, no recursion and no allocation, and no limit to set.

   Names belong to routes, not to nodes: `/users/:id/a` and `/users/:user/b` share their nodes.
   Calls: bytes, memory, body (for the one definition of what reads as a number).
   ========================================================================================================== */

#ifndef CHOPIN__ROUTER_STEP
#define CHOPIN__ROUTER_STEP(bytes) ((void)0)    // tests count what a lookup costs
#endif

typedef struct chopin__capture { uint32_t at, len; } chopin__capture;     // part of the raw path

typedef struct chopin__route {          // the caller's; lives as long as the router
    chopin_str  method, pattern;        // as registered; their bytes live as long as the route
    chopin_str *params;                 // names in order of appearance, views of `pattern`; the router's memory
    uint32_t    param_count;
    const char *name, *file;            // for messages
    int         line;
    chopin_handler handler;
    void       *detail;
} chopin__route;

/* In order of preference: of two nodes beside each other, the smaller kind is tried first. */
typedef enum chopin__kind {
    CHOPIN__STATIC, CHOPIN__UUID, CHOPIN__U64, CHOPIN__I64, CHOPIN__F64, CHOPIN__ANY, CHOPIN__REST
} chopin__kind;

typedef struct chopin__node {
    struct chopin__node  *parent;       // NULL: the root, whose text is "/"
    struct chopin__node **children;     // static ones, found by their first byte ...
    unsigned char        *firsts;       // ... here; the same block of memory
    struct chopin__node  *wild;         // the other children, best first; only where text ends with '/'
    struct chopin__node  *next;         // wild ones: the next worse
    chopin__route        *route;        // ends here, or NULL
    uint32_t child_count;
    uint32_t len;                       // of text; 0 for wild nodes
    uint32_t capacity;                  // of text, as allocated
    uint32_t slashes, params;           // from the root to the end of this node
    uint8_t  kind;
    char     text[];
} chopin__node;

typedef struct chopin__tree {
    chopin_str    method;               // extension methods: a copy
    chopin__node *root;                 // NULL: never had a route
    size_t        routes;
    chopin__route **exact;              // routes without parameters by the hash of their path, open addressing; NULL: none
    uint32_t      exact_size, exact_used; // slots, a power of two, at most half of them used
} chopin__tree;

typedef struct chopin__router {
    chopin__heap *heap;
    chopin__tree *trees;                // the nine classic methods in fixed order, then extensions by name
    size_t        tree_count;           // 0 before the first route
    uint32_t      max_params;           // spans that chopin__router_find() may write
} chopin__router;

typedef enum chopin__found {
    CHOPIN__FOUND,
    CHOPIN__NO_PATH,                    // 404
    CHOPIN__NO_METHOD,                  // 405: another method has this path
    CHOPIN__UNKNOWN_METHOD              // 501: no route has this method. Never for GET, HEAD (RFC 9110 9.1) and OPTIONS
} chopin__found;

/* memcmp() == 0 without the call: node texts are a few words long. */
static inline bool chopin__router_same(const char *a, const char *b, size_t len) {
    uint64_t x, y;
    for (; len >= sizeof x; a += sizeof x, b += sizeof x, len -= sizeof x) {
        memcpy(&x, a, sizeof x);
        memcpy(&y, b, sizeof y);
        if (x != y) return false;
    }
    for (; len > 0; len--) {
        if (*a++ != *b++) return false;
    }
    return true;
}

/* ---- paths without parameters: found by hash, in a third of the instructions of the walk. Static beats all else, so the answer is the same ---- */

/* Length, first and last eight bytes: the set of routes is ours, so nobody outside can choose what collides. */
static inline uint32_t chopin__exact_hash(chopin_str path) {
    uint64_t first = 0, last = 0;
    if (path.len >= 8) {
        memcpy(&first, path.ptr, 8);
        memcpy(&last, path.ptr + path.len - 8, 8);
    } else {
        for (size_t i = 0; i < path.len; i++) first = first << 8 | (unsigned char)path.ptr[i];
    }
    return (uint32_t)(((first ^ path.len) * UINT64_C(0x9e3779b97f4a7c15) ^ last * UINT64_C(0xd6e8feb86659fd93)) >> 32);
}

static inline chopin__route *chopin__exact_find(const chopin__tree *tree, chopin_str path) {
    for (uint32_t at = chopin__exact_hash(path); ; at++) {
        chopin__route *route = tree->exact[at & (tree->exact_size - 1)];
        if (!route || (route->pattern.len == path.len && chopin__router_same(route->pattern.ptr, path.ptr, path.len))) return route;
    }
}

static void chopin__exact_put(chopin__tree *tree, chopin__route *route) {
    uint32_t at = chopin__exact_hash(route->pattern);
    while (tree->exact[at & (tree->exact_size - 1)]) at++;
    tree->exact[at & (tree->exact_size - 1)] = route;
    tree->exact_used++;
}

static bool chopin__exact_grow(chopin__heap *heap, chopin__tree *tree) {
    chopin__tree old = *tree;
    uint32_t size = old.exact_size ? old.exact_size * 2 : 16;
    chopin__route **exact = chopin__alloc_zero(heap, size * sizeof *exact);
    if (!exact) return false;
    tree->exact = exact;
    tree->exact_size = size;
    tree->exact_used = 0;
    for (uint32_t i = 0; i < old.exact_size; i++) {
        if (old.exact[i]) chopin__exact_put(tree, old.exact[i]);
    }
    chopin__release(heap, old.exact, old.exact_size * sizeof *exact);
    return true;
}

/* Without memory the table stays as it is, and the walk finds the route. */
static void chopin__exact_add(chopin__heap *heap, chopin__tree *tree, chopin__route *route) {
    if (route->param_count > 0) return;
    if (tree->exact_used * 2 < tree->exact_size || chopin__exact_grow(heap, tree)) chopin__exact_put(tree, route);
}

/* ---- reading patterns ---- */

/* `text`: the bytes of a static part, the name of any other. */
typedef struct chopin__part { chopin__kind kind; chopin_str text; } chopin__part;

static bool chopin__router_is_wild(chopin_str s) { return s.len > 0 && (s.ptr[0] == ':' || s.ptr[0] == '*'); }

/* Static text reaches to the end of the pattern or through the '/' before a parameter. */
static chopin_str chopin__router_cut_static(chopin_str *rest) {
    size_t n = 1;
    while (n < rest->len && !(rest->ptr[n - 1] == '/' && (rest->ptr[n] == ':' || rest->ptr[n] == '*'))) n++;
    chopin_str text = chopin__str(rest->ptr, n);
    *rest = chopin__str(rest->ptr + n, rest->len - n);
    return text;
}

/* What a request path cannot hold is refused, and so are ':' and '*' inside a segment: what they should mean there would have
 * to be guessed. Everything else stands for itself; '%' too, patterns are not percent-coded. */
static bool chopin__router_static_ok(chopin_str s) {
    for (size_t i = 0; i < s.len; i++) {
        unsigned char ch = (unsigned char)s.ptr[i];
        if (ch <= ' ' || ch == 0x7f || ch == '?' || ch == '#' || ch == ':' || ch == '*') return false;
    }
    return true;
}

static bool chopin__router_is_name_char(char ch) {
    return (ch >= '0' && ch <= '9') || (chopin__lower(ch) >= 'a' && chopin__lower(ch) <= 'z') || ch == '_' || ch == '-';
}

/* Not whatever stands before the next '/', so that "/:name.json" is an error and not a parameter with an odd name. */
static chopin_str chopin__router_cut_name(chopin_str *rest) {
    size_t n = 0;
    while (n < rest->len && chopin__router_is_name_char(rest->ptr[n])) n++;
    chopin_str name = chopin__str(rest->ptr, n);
    *rest = chopin__str(rest->ptr + n, rest->len - n);
    return name;
}

/* "<u64>", or nothing for any text. */
static bool chopin__router_cut_type(chopin_str *rest, chopin__kind *kind) {
    static const char types[][7] = { "<uuid>", "<u64>", "<i64>", "<f64>" };
    *kind = CHOPIN__ANY;
    if (rest->len == 0 || rest->ptr[0] != '<') return true;
    for (size_t i = 0; i < CHOPIN__COUNT(types); i++) {
        chopin_str type = chopin__str_z(types[i]);
        if (!chopin__starts(*rest, type)) continue;
        *rest = chopin__str(rest->ptr + type.len, rest->len - type.len);
        *kind = (chopin__kind)(CHOPIN__UUID + i);
        return true;
    }
    return false;
}

/* The next part of a pattern without its leading '/'; false when it is malformed. Not at the end. */
static bool chopin__router_cut_part(chopin_str *rest, chopin__part *part) {
    if (!chopin__router_is_wild(*rest)) {
        *part = (chopin__part){ CHOPIN__STATIC, chopin__router_cut_static(rest) };
        return chopin__router_static_ok(part->text);
    }
    bool all = rest->ptr[0] == '*';
    *rest = chopin__str(rest->ptr + 1, rest->len - 1);
    part->kind = CHOPIN__REST;
    part->text = chopin__router_cut_name(rest);
    if (part->text.len == 0) return false;
    if (all) return rest->len == 0;
    return chopin__router_cut_type(rest, &part->kind) && (rest->len == 0 || rest->ptr[0] == '/');
}

static chopin_str chopin__router_after_slash(chopin_str s) { return chopin__str(s.ptr + 1, s.len - 1); }

static bool chopin__router_has_param(const chopin__route *route, chopin_str name) {
    for (uint32_t i = 0; i < route->param_count; i++) {
        if (chopin__equal(route->params[i], name)) return true;
    }
    return false;
}

static void chopin__router_free_params(chopin__router *r, chopin__route *route) {
    chopin__release(r->heap, route->params, route->param_count * sizeof *route->params);
    route->params = NULL;
    route->param_count = 0;
}

/* How many names the pattern has; -1: it is malformed. */
static int64_t chopin__router_count_params(chopin_str pattern) {
    int64_t       count = 0;
    chopin__part part;
    if (pattern.len == 0 || pattern.len > INT32_MAX || pattern.ptr[0] != '/') return -1;
    for (chopin_str rest = chopin__router_after_slash(pattern); rest.len > 0; ) {
        if (!chopin__router_cut_part(&rest, &part)) return -1;
        if (part.kind != CHOPIN__STATIC) count++;
    }
    return count;
}

/* Fills route->params. CHOPIN_INVALID: the pattern is malformed or has a name twice; CHOPIN_MEMORY. */
static int chopin__router_read_params(chopin__router *r, chopin__route *route) {
    int64_t    count = chopin__router_count_params(route->pattern);
    chopin_str *names = NULL;
    route->params = NULL;
    route->param_count = 0;
    if (count < 0) return CHOPIN_INVALID;
    if (count > 0 && !(names = chopin__alloc(r->heap, (size_t)count * sizeof *names))) return CHOPIN_MEMORY;
    route->params = names;
    bool twice = false;
    for (chopin_str rest = chopin__router_after_slash(route->pattern); rest.len > 0; ) {
        chopin__part part;
        chopin__router_cut_part(&rest, &part);
        if (part.kind == CHOPIN__STATIC) continue;
        twice = twice || chopin__router_has_param(route, part.text);
        names[route->param_count++] = part.text;
    }
    if (twice) chopin__router_free_params(r, route);
    return twice ? CHOPIN_INVALID : CHOPIN_OK;
}

/* ---- growing a tree. A failed allocation leaves nodes without a route behind: they match nothing and go with the tree. ---- */

static uint32_t chopin__router_slashes(const char *text, size_t len) {
    uint32_t count = 0;
    for (size_t i = 0; i < len; i++) count += text[i] == '/';
    return count;
}

/* Copies the text: patterns may go away when adding them has failed. */
static chopin__node *chopin__node_new(chopin__heap *heap, chopin__node *parent, chopin__kind kind, chopin_str text) {
    chopin__node *node = chopin__alloc_zero(heap, sizeof *node + text.len);
    if (!node) return NULL;
    node->parent = parent;
    node->kind = (uint8_t)kind;
    node->len = node->capacity = (uint32_t)text.len;
    if (text.len) memcpy(node->text, text.ptr, text.len);
    node->slashes = (parent ? parent->slashes : 0) + chopin__router_slashes(text.ptr, text.len);
    node->params = (parent ? parent->params : 0) + (kind != CHOPIN__STATIC);
    return node;
}

static void chopin__node_free(chopin__heap *heap, chopin__node *node) {
    chopin__release(heap, node, sizeof *node + node->capacity);
}

static size_t chopin__node_children_size(size_t count) { return count * (sizeof(chopin__node *) + 1); }

static bool chopin__node_adopt(chopin__heap *heap, chopin__node *node, chopin__node *child) {
    size_t         count = node->child_count;
    chopin__node **children = chopin__alloc(heap, chopin__node_children_size(count + 1));
    if (!children) return false;
    unsigned char *firsts = (unsigned char *)(children + count + 1);
    if (count) {
        memcpy(children, node->children, count * sizeof *children);
        memcpy(firsts, node->firsts, count);
    }
    children[count] = child;
    firsts[count] = (unsigned char)child->text[0];
    chopin__release(heap, node->children, chopin__node_children_size(count));
    node->children = children;
    node->firsts = firsts;
    node->child_count++;
    return true;
}

/* Cuts the text of `lower` in two: a new node takes its place and the first `at` bytes, `lower` keeps the rest below it. */
static chopin__node *chopin__node_split(chopin__heap *heap, chopin__node **place, size_t at) {
    chopin__node *lower = *place;
    chopin__node *upper = chopin__node_new(heap, lower->parent, CHOPIN__STATIC, chopin__str(lower->text, at));
    if (!upper) return NULL;
    uint32_t len = lower->len - (uint32_t)at;
    memmove(lower->text, lower->text + at, len);        // first, because adopt looks at the first byte
    if (!chopin__node_adopt(heap, upper, lower)) {
        memmove(lower->text + at, lower->text, len);
        memcpy(lower->text, upper->text, at);
        chopin__node_free(heap, upper);
        return NULL;
    }
    lower->len = len;
    lower->parent = upper;
    *place = upper;
    return upper;
}

/* The node where `text` ends when it is followed from `node`; what is missing is made. */
static chopin__node *chopin__node_add_static(chopin__heap *heap, chopin__node *node, chopin_str text) {
    while (text.len > 0) {
        const unsigned char *at = node->child_count ? memchr(node->firsts, (unsigned char)text.ptr[0], node->child_count) : NULL;
        if (!at) {
            chopin__node *child = chopin__node_new(heap, node, CHOPIN__STATIC, text);
            if (!child || chopin__node_adopt(heap, node, child)) return child;
            chopin__node_free(heap, child);
            return NULL;
        }
        chopin__node **place = &node->children[at - node->firsts];
        size_t same = 1, most = chopin__min((*place)->len, text.len);
        while (same < most && (*place)->text[same] == text.ptr[same]) same++;
        node = same < (*place)->len ? chopin__node_split(heap, place, same) : *place;
        if (!node) return NULL;
        text = chopin__str(text.ptr + same, text.len - same);
    }
    return node;
}

static chopin__node *chopin__node_add_wild(chopin__heap *heap, chopin__node *node, chopin__kind kind) {
    chopin__node **place = &node->wild;
    while (*place && (*place)->kind < kind) place = &(*place)->next;
    if (*place && (*place)->kind == kind) return *place;
    chopin__node *child = chopin__node_new(heap, node, kind, chopin__str("", 0));
    if (!child) return NULL;
    child->next = *place;
    *place = child;
    return child;
}

/* Where a pattern ends, made as needed; the pattern is well-formed. NULL: out of memory. */
static chopin__node *chopin__tree_leaf(chopin__heap *heap, chopin__tree *tree, chopin_str pattern) {
    if (!tree->root) tree->root = chopin__node_new(heap, NULL, CHOPIN__STATIC, CHOPIN_STR("/"));
    chopin__node *node = tree->root;
    for (chopin_str rest = chopin__router_after_slash(pattern); rest.len > 0 && node; ) {
        chopin__part part;
        chopin__router_cut_part(&rest, &part);
        node = part.kind == CHOPIN__STATIC ? chopin__node_add_static(heap, node, part.text)
                                            : chopin__node_add_wild(heap, node, part.kind);
    }
    return node;
}

/* Children first, without recursion: all children are strung on the wild list, then freed from it. */
static void chopin__tree_free(chopin__router *r, chopin__node *node) {
    while (node) {
        size_t count = node->child_count;
        while (node->child_count > 0) {
            chopin__node *child = node->children[--node->child_count];
            child->next = node->wild;
            node->wild = child;
        }
        chopin__release(r->heap, node->children, chopin__node_children_size(count));
        node->children = NULL;
        chopin__node *down = node->wild, *up = node->parent;
        if (down) { node->wild = down->next; node = down; continue; }
        if (node->route) chopin__router_free_params(r, node->route);
        chopin__node_free(r->heap, node);
        node = up;
    }
}

/* ---- methods ---- */

/* Their order is also that of Allow. */
static const char chopin__router_classics[][8] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT" };
enum { CHOPIN__GET = 0, CHOPIN__HEAD = 1, CHOPIN__OPTIONS = 6, CHOPIN__CLASSICS = 9 };

/* The place of a classic method, CHOPIN__CLASSICS for any other. Comparing with a constant length takes two or three instructions. */
static inline size_t chopin__router_classic(chopin_str method) {
    const char *m = method.ptr;
    switch (method.len) {
    case 3:  return memcmp(m, "GET", 3) == 0 ? CHOPIN__GET : memcmp(m, "PUT", 3) == 0 ? 3 : CHOPIN__CLASSICS;
    case 4:  return memcmp(m, "POST", 4) == 0 ? 2 : memcmp(m, "HEAD", 4) == 0 ? CHOPIN__HEAD : CHOPIN__CLASSICS;
    case 5:  return memcmp(m, "PATCH", 5) == 0 ? 4 : memcmp(m, "TRACE", 5) == 0 ? 7 : CHOPIN__CLASSICS;
    case 6:  return memcmp(m, "DELETE", 6) == 0 ? 5 : CHOPIN__CLASSICS;
    case 7:  return memcmp(m, "OPTIONS", 7) == 0 ? CHOPIN__OPTIONS : memcmp(m, "CONNECT", 7) == 0 ? 8 : CHOPIN__CLASSICS;
    default: return CHOPIN__CLASSICS;
    }
}

/* NULL when there is none. */
static inline chopin__tree *chopin__router_tree(const chopin__router *r, chopin_str method) {
    bool   get = method.len == 3 && memcmp(method.ptr, "GET", 3) == 0;      // most requests
    size_t at = CHOPIN__LIKELY(get) ? CHOPIN__GET : chopin__router_classic(method);
    if (CHOPIN__LIKELY(at < CHOPIN__CLASSICS)) return at < r->tree_count ? &r->trees[at] : NULL;
    for (; at < r->tree_count; at++) {
        if (chopin__equal(r->trees[at].method, method)) return &r->trees[at];
    }
    return NULL;
}

static bool chopin__router_add_classics(chopin__router *r) {
    size_t count = CHOPIN__CLASSICS;
    r->trees = chopin__alloc_zero(r->heap, count * sizeof *r->trees);
    if (!r->trees) return false;
    for (size_t i = 0; i < count; i++) r->trees[i].method = chopin__str_z(chopin__router_classics[i]);
    r->tree_count = count;
    return true;
}

/* Sorted by name, so that Allow does not depend on the order of registration. */
static chopin__tree *chopin__router_add_extension(chopin__router *r, chopin_str method) {
    char *name = chopin__copy_z(r->heap, method);
    if (!name) return NULL;
    size_t        size = r->tree_count * sizeof *r->trees;
    chopin__tree *trees = chopin__realloc(r->heap, r->trees, size, size + sizeof *trees);
    if (!trees) { chopin__release(r->heap, name, method.len + 1); return NULL; }
    size_t at = r->tree_count++;
    r->trees = trees;
    for (; at > CHOPIN__CLASSICS && strcmp(trees[at - 1].method.ptr, name) > 0; at--) trees[at] = trees[at - 1];
    trees[at] = (chopin__tree){ .method = { name, method.len } };
    return &trees[at];
}

static chopin__tree *chopin__router_make_tree(chopin__router *r, chopin_str method) {
    if (r->tree_count == 0 && !chopin__router_add_classics(r)) return NULL;
    chopin__tree *tree = chopin__router_tree(r, method);
    return tree ? tree : chopin__router_add_extension(r, method);
}

/* ---- building ---- */

static void chopin__router_init(chopin__router *r, chopin__heap *heap) { *r = (chopin__router){ .heap = heap }; }

/* Frees the trees, and `params` of all routes in them: before the routes themselves. */
static void chopin__router_done(chopin__router *r) {
    for (size_t i = 0; i < r->tree_count; i++) {
        chopin__tree *tree = &r->trees[i];
        chopin__tree_free(r, tree->root);
        chopin__release(r->heap, tree->exact, tree->exact_size * sizeof *tree->exact);
        if (i >= CHOPIN__CLASSICS) chopin__release(r->heap, (char *)(uintptr_t)tree->method.ptr, tree->method.len + 1);
    }
    chopin__release(r->heap, r->trees, r->tree_count * sizeof *r->trees);
    chopin__router_init(r, r->heap);
}

/* Adds a route: method and pattern are set, params are filled in; the route stays the caller's and must outlive the router.
 * CHOPIN_INVALID: no token, or a malformed pattern. CHOPIN_CONFLICT: `*other` has the same method and, up to the names of
 * parameters, the same pattern. CHOPIN_MEMORY. After a failure lookups find what they found before and the route may go away. */
static int chopin__router_add(chopin__router *r, chopin__route *route, chopin__route **other) {
    *other = NULL;
    if (!chopin__is_token(route->method)) return CHOPIN_INVALID;
    int rc = chopin__router_read_params(r, route);
    if (rc < 0) return rc;
    chopin__tree *tree = chopin__router_make_tree(r, route->method);
    chopin__node *leaf = tree ? chopin__tree_leaf(r->heap, tree, route->pattern) : NULL;
    if (!leaf || leaf->route) {
        chopin__router_free_params(r, route);
        if (leaf) *other = leaf->route;
        return leaf ? CHOPIN_CONFLICT : CHOPIN_MEMORY;
    }
    leaf->route = route;
    tree->routes++;
    chopin__exact_add(r->heap, tree, route);
    if (route->param_count > r->max_params) r->max_params = route->param_count;
    return CHOPIN_OK;
}

/* ---- looking up. `percent`: the path holds escapes, all of them well-formed (chopin__percent_ok). An escape stands for its byte,
   except that %2F is never a '/': neither the one of a pattern nor the end of a parameter. ---- */

static bool chopin__router_is_uuid(chopin_str s) {
    for (size_t i = 0; i < s.len; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? s.ptr[i] != '-' : chopin__hex_value(s.ptr[i]) < 0) return false;
    }
    return s.len == 36;
}

/* Does the text of a typed parameter fit? Longer than 128 bytes nothing does, so that decoding it needs no memory. */
static CHOPIN__NOINLINE bool chopin__router_fits(unsigned kind, chopin_str raw, bool percent) {
    char     decoded[3 * 128];
    uint64_t u64;
    int64_t  i64;
    double   f64;
    if (raw.len > sizeof decoded) return false;
    if (percent) raw = chopin__str(decoded, chopin__percent_decode(decoded, raw, false));
    if (raw.len > 128) return false;
    switch (kind) {
    case CHOPIN__UUID: return chopin__router_is_uuid(raw);
    case CHOPIN__U64:  return chopin__parse_u64(raw, &u64);
    case CHOPIN__I64:  return chopin__parse_i64(raw, &i64);
    case CHOPIN__F64:  return chopin__body_f64(raw, &f64);
    default:           return true;
    }
}

/* The byte at `*at`, which moves past it; an escaped '/' comes out as NUL, which no pattern has. */
static inline char chopin__router_next(chopin_str path, size_t *at) {
    char ch = path.ptr[(*at)++];
    if (CHOPIN__LIKELY(ch != '%')) return ch;
    ch = (char)(chopin__hex_value(path.ptr[*at]) << 4 | chopin__hex_value(path.ptr[*at + 1]));
    *at += 2;
    return ch == '/' ? '\0' : ch;
}

static inline chopin__node *chopin__node_child(const chopin__node *node, chopin_str path, size_t at, bool percent) {
    unsigned char first = (unsigned char)(percent ? chopin__router_next(path, &at) : path.ptr[at]);
    for (uint32_t i = 0; i < node->child_count; i++) {
        if (node->firsts[i] == first) return node->children[i];
    }
    return NULL;
}

/* Where the text of a static node ends in the path, 0 when it is not there. Its first byte has been compared: it led to the node. */
static inline size_t chopin__node_end(const chopin__node *node, chopin_str path, size_t at, bool percent) {
    CHOPIN__ROUTER_STEP(node->len);
    if (CHOPIN__LIKELY(!percent)) {
        return path.len - at >= node->len && chopin__router_same(path.ptr + at + 1, node->text + 1, node->len - 1) ? at + node->len : 0;
    }
    for (uint32_t i = 0; i < node->len; i++) {
        if (at == path.len || chopin__router_next(path, &at) != node->text[i]) return 0;
    }
    return at;
}

/* The same for a parameter, at the start of a segment; notes where it stands. */
static size_t chopin__node_wild_end(const chopin__node *node, chopin_str path, size_t at, bool percent, chopin__capture *spans) {
    size_t end = path.len;
    if (node->kind != CHOPIN__REST) {
        const char *slash = memchr(path.ptr + at, '/', path.len - at);
        if (slash) end = (size_t)(slash - path.ptr);
        CHOPIN__ROUTER_STEP(end - at);
        if (end == at) return 0;
        if (node->kind != CHOPIN__ANY && !chopin__router_fits(node->kind, chopin__str(path.ptr + at, end - at), percent)) return 0;
    }
    if (spans) spans[node->params - 1] = (chopin__capture){ (uint32_t)at, (uint32_t)(end - at) };
    return end;
}

/* Behind the `count`th '/' before `at`. */
static size_t chopin__router_rewind(chopin_str path, size_t at, uint32_t count) {
    do {
        CHOPIN__ROUTER_STEP(1);
        if (path.ptr[--at] == '/') count--;
    } while (count > 0);
    return at + 1;
}

typedef struct chopin__place { const chopin__node *node; size_t at; } chopin__place;     // `node` ends at `at` of the path

/* Static text does not lead on from here: the next best alternative that does, there or at the nearest node above. Its node
 * is NULL when there is none left. What comes before `from` in the order of preference has been tried already. */
static CHOPIN__NOINLINE chopin__place chopin__router_turn(chopin__place from, chopin_str path, bool percent, chopin__capture *spans) {
    const chopin__node *node = from.node, *wild = node->wild;
    for (;; wild = wild->next) {
        for (; !wild; node = node->parent) {
            CHOPIN__ROUTER_STEP(1);
            if (!node->parent) return (chopin__place){ NULL, 0 };
            wild = node->kind == CHOPIN__STATIC ? node->parent->wild : node->next;
        }
        // Alternatives stand right behind the last '/' of `node`, so one more than lies between it and `from`. (Never back from a
        // rest, which may hold any number: it ends the lookup, as making its node is the last thing in an add that can fail.)
        size_t at = chopin__router_rewind(path, from.at, from.node->slashes - node->slashes + 1);
        size_t end = chopin__node_wild_end(wild, path, at, percent, spans);
        if (end > 0) return (chopin__place){ wild, end };
        from = (chopin__place){ node, at };
    }
}

static chopin__route *chopin__tree_find(const chopin__tree *tree, chopin_str path, bool percent, chopin__capture *spans) {
    if (!tree || !tree->root || path.len == 0 || path.ptr[0] != '/') return NULL;
    chopin__route *exact = tree->exact && !percent ? chopin__exact_find(tree, path) : NULL;
    if (exact) return exact;
    chopin__place here = { tree->root, 1 };
    while (here.node) {
        if (here.at < path.len) {
            const chopin__node *child = chopin__node_child(here.node, path, here.at, percent);
            size_t end = child ? chopin__node_end(child, path, here.at, percent) : 0;
            if (end > 0) { here = (chopin__place){ child, end }; continue; }
        } else if (here.node->route) {
            return here.node->route;
        }
        here = chopin__router_turn(here, path, percent, spans);
    }
    return NULL;
}

/* A HEAD route of one's own comes before the GET route that answers HEAD otherwise. */
static inline chopin__route *chopin__router_lookup(const chopin__router *r, chopin_str method, chopin_str path, bool percent, chopin__capture *spans) {
    const chopin__tree *tree = chopin__router_tree(r, method);
    chopin__route *route = chopin__tree_find(tree, path, percent, spans);
    if (!route && tree && tree == &r->trees[CHOPIN__HEAD]) route = chopin__tree_find(&r->trees[CHOPIN__GET], path, percent, spans);
    return route;
}

static bool chopin__router_knows_method(const chopin__router *r, chopin_str method) {
    size_t at = chopin__router_classic(method);
    const chopin__tree *tree = chopin__router_tree(r, method);
    return at == CHOPIN__GET || at == CHOPIN__HEAD || at == CHOPIN__OPTIONS || (tree && tree->routes > 0);
}

static bool chopin__router_knows_path(const chopin__router *r, chopin_str path, bool percent) {
    for (size_t i = 0; i < r->tree_count; i++) {
        if (chopin__tree_find(&r->trees[i], path, percent, NULL)) return true;
    }
    return false;
}

/* FOUND: `*route` is the best one, and its parameters are in `spans` (room for r->max_params; whatever is behind param_count is
 * scratch). Otherwise `*route` is NULL and the answer is the status to send, see chopin__found. Any thread, once routes are added. */
static chopin__found chopin__router_find(const chopin__router *r, chopin_str method, chopin_str path, bool percent,
                                         chopin__route **route, chopin__capture *spans) {
    CHOPIN_ASSERT(path.len < UINT32_MAX);
    *route = chopin__router_lookup(r, method, path, percent, spans);
    if (CHOPIN__LIKELY(*route != NULL)) return CHOPIN__FOUND;
    if (!chopin__router_knows_method(r, method)) return CHOPIN__UNKNOWN_METHOD;
    return chopin__router_knows_path(r, path, percent) ? CHOPIN__NO_METHOD : CHOPIN__NO_PATH;
}

/* Does the `at`th method answer this path? "*" stands for the server as a whole (RFC 9110 9.3.7). */
static bool chopin__router_allows(const chopin__router *r, size_t at, chopin_str path, bool percent) {
    const chopin__tree *tree = &r->trees[at];
    if (at == CHOPIN__OPTIONS) return true;
    if (chopin__equal(path, CHOPIN_STR("*")) ? tree->routes > 0 : chopin__tree_find(tree, path, percent, NULL) != NULL) return true;
    return at == CHOPIN__HEAD && chopin__router_allows(r, CHOPIN__GET, path, percent);
}

/* The value of Allow, "GET, HEAD, OPTIONS": what the path answers to ("*": what anything does), always in the same order, HEAD
 * wherever GET, OPTIONS always. Gives its length; written, without a NUL, only when `size` is enough for all of it. */
static size_t chopin__router_allow(const chopin__router *r, chopin_str path, bool percent, char *out, size_t size) {
    chopin_str options = CHOPIN_STR("OPTIONS");
    if (r->tree_count == 0 && size >= options.len) memcpy(out, options.ptr, options.len);
    if (r->tree_count == 0) return options.len;
    size_t need = 0;
    for (int write = 0; write < 2; write++) {           // first measure, then write if it fits
        size_t at = 0;
        for (size_t i = 0; i < r->tree_count; i++) {
            chopin_str method = r->trees[i].method;
            if (!chopin__router_allows(r, i, path, percent)) continue;
            if (write && at) memcpy(out + at, ", ", 2);
            if (at) at += 2;
            if (write) memcpy(out + at, method.ptr, method.len);
            at += method.len;
        }
        need = at;
        if (need > size) break;
    }
    return need;
}

/* For the optional 308: when the path with its trailing '/' taken away or added is a route of this method, that path, else absent.
 * `room` has path.len + 1 bytes, which the answer may be written to. A path that starts with "//" is never the answer: in a
 * Location it would name another host. */
static chopin_str chopin__router_other_slash(const chopin__router *r, chopin_str method, chopin_str path, bool percent, char *room) {
    if (path.len < 2 || chopin__starts(path, CHOPIN_STR("//"))) return chopin__absent();
    chopin_str other = chopin__str(path.ptr, path.len - 1);
    if (path.ptr[path.len - 1] != '/') {
        memcpy(room, path.ptr, path.len);
        room[path.len] = '/';
        other = chopin__str(room, path.len + 1);
    }
    return chopin__router_lookup(r, method, other, percent, NULL) ? other : chopin__absent();
}

/* ==========================================================================================================
   >>files   what a path means on disk: safe names, types, conditions, ranges, codings, folders, kept descriptors
   From a path and the request's headers to a chopin__file_answer: status, header lines, a counted descriptor, which bytes of it.
   Nothing is sent here. Which file a name stands for is for the kernel to say, below a pinned descriptor of the root, and what was opened is
   judged by fstat of that very descriptor: no question is asked about a name whose answer could be stale when it is used.
   ========================================================================================================== */

static inline void chopin__skip(chopin_str *s, size_t n) { *s = chopin__str(s->ptr + n, s->len - n); }

/* ---- dates as requests carry them, in the three forms of RFC 9110 5.6.7 ---- */

typedef struct chopin__date { unsigned year, month, day, hour, minute, second; } chopin__date;

static bool chopin__date_digits(chopin_str *s, size_t count, unsigned *out) {
    unsigned value = 0;
    if (s->len < count) return false;
    for (size_t i = 0; i < count; i++) {
        unsigned digit = (unsigned)(unsigned char)s->ptr[i] - '0';
        if (digit > 9) return false;
        value = value * 10 + digit;
    }
    *out = value;
    chopin__skip(s, count);
    return true;
}

/* Takes one of `count` names of three letters that stand behind one another: its number from 1, or 0. Case counts. */
static unsigned chopin__date_name(chopin_str *s, const char *names, unsigned count) {
    for (unsigned i = 0; s->len >= 3 && i < count; i++) {
        if (memcmp(s->ptr, names + 3 * i, 3) == 0) { chopin__skip(s, 3); return i + 1; }
    }
    return 0;
}

/* Short or whole name of a day; whether it is the right one is not asked (RFC 9110 5.6.7: be robust). */
static bool chopin__date_weekday(chopin_str *s, bool whole) {
    static const char ends[8][8] = { "", "day", "day", "sday", "nesday", "rsday", "day", "urday" };
    unsigned   day = chopin__date_name(s, "SunMonTueWedThuFriSat", 7);
    chopin_str end = chopin__str_z(ends[day]);
    if (!day || !whole) return day != 0;
    if (!chopin__starts(*s, end)) return false;
    chopin__skip(s, end.len);
    return true;
}

/* One character of a form: a letter for a field, anything else for itself. */
static bool chopin__date_field(chopin_str *s, char kind, chopin__date *d) {
    switch (kind) {
    case 'w': return chopin__date_weekday(s, false);
    case 'l': return chopin__date_weekday(s, true);
    case 'b': return (d->month = chopin__date_name(s, "JanFebMarAprMayJunJulAugSepOctNovDec", 12)) != 0;
    case 'e': if (s->len == 0 || s->ptr[0] != ' ') return chopin__date_digits(s, 2, &d->day);   // asctime() pads with a blank
              chopin__skip(s, 1);
              return chopin__date_digits(s, 1, &d->day);
    case 'd': return chopin__date_digits(s, 2, &d->day);
    case 'y': return chopin__date_digits(s, 2, &d->year);
    case 'Y': return chopin__date_digits(s, 4, &d->year);
    case 'h': return chopin__date_digits(s, 2, &d->hour);
    case 'm': return chopin__date_digits(s, 2, &d->minute);
    case 's': return chopin__date_digits(s, 2, &d->second);
    default:  if (s->len == 0 || s->ptr[0] != kind) return false;
              chopin__skip(s, 1);
              return true;
    }
}

static bool chopin__date_read(chopin_str s, const char *form, chopin__date *d) {
    for (; *form; form++) {
        if (!chopin__date_field(&s, *form, d)) return false;
    }
    return s.len == 0;
}

static bool chopin__date_valid(const chopin__date *d) {
    static const uint8_t days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = d->year % 4 == 0 && (d->year % 100 != 0 || d->year % 400 == 0);
    return d->year > 0 && d->day > 0 && d->day <= days[d->month - 1] + (leap && d->month == 2 ? 1u : 0u)
        && d->hour < 24 && d->minute < 60 && d->second < 61;                     // 60: a leap second
}

/* Seconds since 1970; years begin in March, so that the leap day is the last (the way back is chopin__date_format). */
static int64_t chopin__date_seconds(const chopin__date *d) {
    int64_t year = (int64_t)d->year - (d->month <= 2), month = (d->month + 9) % 12;
    int64_t days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + d->day - 1 - 719468;
    return days * 86400 + d->hour * 3600 + d->minute * 60 + d->second;
}

/* Two digits of a year mean the century of `now_s`, or the one before when that would be more than 50 years ahead. */
static bool chopin__date_century(chopin__date *d, int64_t now_s) {
    const int64_t year_s = 31556952;                                             // 365.2425 days
    unsigned now = (unsigned)(1970 + (now_s > 0 ? now_s : 0) / year_s);
    d->year += now - now % 100;
    if (!chopin__date_valid(d)) return false;
    if (chopin__date_seconds(d) > now_s + 50 * year_s) d->year -= 100;
    return true;
}

/* False: no date, to be ignored by who asks (RFC 9110 13.1.3). */
static bool chopin__date_parse(chopin_str s, int64_t now_s, int64_t *unix_s) {
    chopin__date d = { 0 };
    s = chopin__trim(s);
    bool ok = chopin__date_read(s, "w, d b Y h:m:s GMT", &d) || chopin__date_read(s, "w b e h:m:s Y", &d)
           || (chopin__date_read(s, "l, d-b-y h:m:s GMT", &d) && chopin__date_century(&d, now_s));
    if (!ok || !chopin__date_valid(&d)) return false;
    *unix_s = chopin__date_seconds(&d);
    return true;
}

/* ---- entity tags ---- */

typedef struct chopin__etag {
    chopin_str opaque;                  // with its quotes
    bool       weak;
} chopin__etag;

/* Takes the entity tag that `s` begins with (RFC 9110 8.8.3). */
static bool chopin__etag_take(chopin_str *s, chopin__etag *tag) {
    size_t from = chopin__starts(*s, CHOPIN_STR("W/")) ? 2 : 0, at = from + 1;
    if (from >= s->len || s->ptr[from] != '"') return false;
    while (at < s->len && (unsigned char)s->ptr[at] > 0x20 && s->ptr[at] != '"' && s->ptr[at] != 0x7f) at++;
    if (at == s->len || s->ptr[at] != '"') return false;
    *tag = (chopin__etag){ chopin__str(s->ptr + from, at + 1 - from), from > 0 };
    chopin__skip(s, at + 1);
    return true;
}

/* Is `etag`, a strong one, in the list? Weakly compared, weak tags count too (8.8.3.2). A comma inside quotes separates nothing, so the list is not
 * cut at commas; what stands behind the first thing that is no tag is not read. */
static bool chopin__etag_listed(chopin_str list, chopin_str etag, bool weakly) {
    chopin__etag tag;
    for (;;) {
        while (list.len && (list.ptr[0] == ',' || list.ptr[0] == ' ' || list.ptr[0] == '\t')) chopin__skip(&list, 1);
        if (!chopin__etag_take(&list, &tag)) return false;
        if ((weakly || !tag.weak) && chopin__equal(tag.opaque, etag)) return true;
        list = chopin__trim(list);
        if (list.len && list.ptr[0] != ',') return false;
    }
}

/* ---- what the request says ---- */

typedef struct chopin__file_request {   // absent fields have .ptr NULL; chopin__file_request_add() fills those of the middle
    chopin_str method;
    chopin_str path, query;             // of the target, as sent: for the redirect to a folder, and the title of a listing
    chopin_str if_match, if_none_match, if_modified_since, if_unmodified_since, if_range, range, accept_encoding;
    chopin_str download;                // "save as": the name for Content-Disposition; absent: none
    int64_t    now_s;                   // wall clock, for dates
    int64_t    now_ms;                  // monotonic, for what is kept
} chopin__file_request;

static chopin_str *chopin__file_request_field(chopin__file_request *r, unsigned id) {
    switch (id) {
    case CHOPIN_H_IF_MATCH:            return &r->if_match;
    case CHOPIN_H_IF_NONE_MATCH:       return &r->if_none_match;
    case CHOPIN_H_IF_MODIFIED_SINCE:   return &r->if_modified_since;
    case CHOPIN_H_IF_UNMODIFIED_SINCE: return &r->if_unmodified_since;
    case CHOPIN_H_IF_RANGE:            return &r->if_range;
    case CHOPIN_H_RANGE:               return &r->range;
    case CHOPIN_H_ACCEPT_ENCODING:     return &r->accept_encoding;
    default:                           return NULL;
    }
}

/* Call for every field of the head. Lines of one name are one list (RFC 9110 5.3); joined, a second Range, If-Range or date makes both invalid,
 * which is what two of them are. False: the arena is full. */
static bool chopin__file_request_add(chopin__file_request *r, unsigned id, chopin_str value, chopin__arena *a) {
    chopin_str *to = chopin__file_request_field(r, id);
    if (!to) return true;
    if (!to->ptr) { *to = value.ptr ? value : CHOPIN_STR(""); return true; }
    char *text = chopin__arena_alloc(a, to->len + value.len + 2);
    if (!text) return false;
    char *end = chopin__put(text, to->ptr, to->len);
    end = CHOPIN__PUT(end, ", ");
    if (value.len) end = chopin__put(end, value.ptr, value.len);
    *to = chopin__str(text, (size_t)(end - text));
    return true;
}

/* ---- conditions, in the order of RFC 9110 13.2.2 ---- */

typedef struct chopin__validators {     // of the representation that was chosen
    chopin_str etag;                    // strong, with its quotes; absent: none
    int64_t    modified_s;              // what Last-Modified says; below 0: nothing
    bool       settled;                 // that second is over, so the date is a strong validator too (8.8.2.2)
} chopin__validators;

static bool chopin__condition_tags(chopin_str list, const chopin__validators *v, bool weakly) {
    return chopin__equal(chopin__trim(list), CHOPIN_STR("*")) || (v->etag.ptr && chopin__etag_listed(list, v->etag, weakly));
}

/* Modified since that date? -1: there is no date to compare with, or it is none. */
static int chopin__condition_since(chopin_str date, const chopin__validators *v, int64_t now_s) {
    int64_t since;
    if (!date.ptr || v->modified_s < 0 || !chopin__date_parse(date, now_s, &since)) return -1;
    return v->modified_s > since;
}

/* 412, 304, or 200: go on. Only for what would be a 2xx without conditions (13.2.1). */
static int chopin__condition(const chopin__file_request *r, const chopin__validators *v) {
    bool reads = chopin__equal(r->method, CHOPIN_STR("GET")) || chopin__equal(r->method, CHOPIN_STR("HEAD"));
    if (r->if_match.ptr ? !chopin__condition_tags(r->if_match, v, false)
                        : chopin__condition_since(r->if_unmodified_since, v, r->now_s) == 1) return 412;
    if (r->if_none_match.ptr) return !chopin__condition_tags(r->if_none_match, v, true) ? 200 : reads ? 304 : 412;
    return reads && chopin__condition_since(r->if_modified_since, v, r->now_s) == 0 ? 304 : 200;
}

/* May Range be honoured? One strong tag that is ours, or the very date of Last-Modified; anything else asks for the whole (13.1.5). */
static bool chopin__condition_range(const chopin__file_request *r, const chopin__validators *v) {
    chopin__etag tag;
    int64_t      date;
    chopin_str   value = chopin__trim(r->if_range);
    if (!value.ptr) return true;
    if (chopin__etag_take(&value, &tag)) return value.len == 0 && !tag.weak && v->etag.ptr && chopin__equal(tag.opaque, v->etag);
    return v->settled && chopin__date_parse(value, r->now_s, &date) && date == v->modified_s;
}

/* ---- ranges (RFC 9110 14) ---- */

typedef struct chopin__range { uint64_t at, len; } chopin__range;

/* Takes digits; what does not fit is as large as a number can be, so it lies behind every end. False: there are none. */
static bool chopin__range_number(chopin_str *s, uint64_t *out) {
    size_t n = 0;
    while (n < s->len && s->ptr[n] >= '0' && s->ptr[n] <= '9') n++;
    if (n == 0) return false;
    if (!chopin__parse_u64(chopin__str(s->ptr, n), out)) *out = UINT64_MAX;
    chopin__skip(s, n);
    return true;
}

/* One element: 1 there is such a part, 0 there is none, -1 no range at all, and with it the whole header (14.1.1). */
static int chopin__range_one(chopin_str s, uint64_t size, chopin__range *out) {
    uint64_t first = 0, last = UINT64_MAX;
    bool has_first = chopin__range_number(&s, &first);
    if (s.len == 0 || s.ptr[0] != '-') return -1;
    chopin__skip(&s, 1);
    bool has_last = chopin__range_number(&s, &last);
    if (s.len || (!has_first && !has_last) || (has_first && last < first)) return -1;
    if (!has_first) { first = size - (last < size ? last : size); last = UINT64_MAX; }         // "-0": from the end on, which is nothing
    if (first >= size) return 0;
    *out = (chopin__range){ first, (last < size ? last + 1 : size) - first };
    return 1;
}

/* Ranges that overlap become one: no byte is sent twice, however often it is asked for. The list holds no two that overlap. */
static void chopin__range_merge(chopin__range *list, unsigned *count, chopin__range r) {
    for (unsigned i = 0; i < *count; ) {
        uint64_t end = list[i].at + list[i].len, r_end = r.at + r.len;
        if (list[i].at >= r_end || r.at >= end) { i++; continue; }
        r.at  = r.at < list[i].at ? r.at : list[i].at;
        r.len = (r_end > end ? r_end : end) - r.at;
        memmove(list + i, list + i + 1, (--*count - i) * sizeof *list);
    }
    list[(*count)++] = r;
}

/* 206 with 1 to `max` ranges that do not overlap; 416: none of them exists; 200: the header is not for us, not valid, or asks for more than `max`
 * parts. An empty file is sent as such: no Content-Range could speak of it, and clients that always ask for a range want it. */
static int chopin__range_parse(chopin_str value, uint64_t size, unsigned max, chopin__range *out, unsigned *count) {
    unsigned asked = 0;
    *count = 0;
    if (size == 0 || !chopin__equal_nocase(chopin__cut(&value, '='), CHOPIN_STR("bytes"))) return 200;
    while (value.len > 0) {
        chopin__range r;
        chopin_str one = chopin__trim(chopin__cut(&value, ','));
        if (one.len == 0) continue;                          // empty elements of lists are none (5.6.1)
        int found = asked++ < max ? chopin__range_one(one, size, &r) : -1;
        if (found < 0) { *count = 0; return 200; }
        if (found) chopin__range_merge(out, count, r);
    }
    return *count ? 206 : asked ? 416 : 200;
}

/* The verdict: 200, 206, 304, 412 or 416. `out` has room for `max` ranges. */
static int chopin__file_verdict(const chopin__file_request *r, const chopin__validators *v, uint64_t size, unsigned max,
                                chopin__range *out, unsigned *count) {
    int status = chopin__condition(r, v);
    *count = 0;
    if (status != 200 || !r->range.ptr || !chopin__equal(r->method, CHOPIN_STR("GET"))) return status;   // ranges are for GET (14.2)
    return chopin__condition_range(r, v) ? chopin__range_parse(r->range, size, max, out, count) : 200;
}

/* "bytes 0-9/100", or for NULL "bytes *" "/100": at most 70 characters. */
static char *chopin__put_content_range(char *to, const chopin__range *r, uint64_t size) {
    to = CHOPIN__PUT(to, "bytes ");
    if (r) {
        to += chopin__format_u64(to, r->at);
        *to++ = '-';
        to += chopin__format_u64(to, r->at + r->len - 1);
    } else {
        *to++ = '*';
    }
    *to++ = '/';
    return to + chopin__format_u64(to, size);
}

/* ---- Accept-Encoding (RFC 9110 12.5.3) ---- */

/* In the order in which we like them. A set of codings is a mask of bits. */
typedef enum chopin__coding { CHOPIN__IDENTITY = -1, CHOPIN__BR, CHOPIN__ZSTD, CHOPIN__GZIP, CHOPIN__DEFLATE, CHOPIN__CODINGS } chopin__coding;
static const char chopin__coding_name[CHOPIN__CODINGS][8] = { "br", "zstd", "gzip", "deflate" };

/* 0 to 1000, or -1: no qvalue (12.4.2). */
static int chopin__qvalue(chopin_str s) {
    int value = 0, unit = 1000;
    if (s.len == 0 || s.len > 5 || (s.len > 1 && s.ptr[1] != '.')) return -1;
    for (size_t i = 0; i < s.len; i++) {
        if (i == 1) continue;
        if (s.ptr[i] < '0' || s.ptr[i] > '9') return -1;
        value += (s.ptr[i] - '0') * unit;
        unit /= 10;
    }
    return value <= 1000 ? value : -1;
}

/* The weight among the parameters behind a list element; 1000 without one, -1 when it is not valid. */
static int chopin__weight(chopin_str params) {
    while (params.len > 0) {
        chopin_str value = chopin__trim(chopin__cut(&params, ';')), name = chopin__cut(&value, '=');
        if (chopin__equal_nocase(name, CHOPIN_STR("q"))) return chopin__qvalue(value);
    }
    return 1000;
}

static bool chopin__coding_is(chopin_str name, chopin_str coding) {
    bool old = name.len > 2 && chopin__lower(name.ptr[0]) == 'x' && name.ptr[1] == '-';          // "x-gzip" (8.4.1.3)
    return chopin__equal_nocase(old ? chopin__str(name.ptr + 2, name.len - 2) : name, coding);
}

typedef struct chopin__accepted {       // what an Accept-Encoding says: 0 to 1000; -1: nothing
    int identity, coding[CHOPIN__CODINGS];
} chopin__accepted;

static int *chopin__accepted_field(chopin__accepted *w, chopin_str name) {
    for (int i = 0; i < CHOPIN__CODINGS; i++) {
        if (chopin__coding_is(name, chopin__str_z(chopin__coding_name[i]))) return &w->coding[i];
    }
    return chopin__equal_nocase(name, CHOPIN_STR("identity")) ? &w->identity : NULL;
}

static void chopin__accepted_star(chopin__accepted *w, int weight) {
    if (w->identity < 0) w->identity = weight;
    for (int i = 0; i < CHOPIN__CODINGS; i++) w->coding[i] = w->coding[i] < 0 ? weight : w->coding[i];
}

/* One pass, however long the list; the first mention counts, an element with a bad weight is none. `*` stands for what is not named. Without the header,
 * and with an empty one, nothing is said: identity. */
static chopin__accepted chopin__accepted_read(chopin_str list) {
    chopin__accepted w = { -1, { -1, -1, -1, -1 } };
    int star = -1;
    while (list.len > 0) {
        chopin_str params = chopin__cut(&list, ','), name = chopin__trim(chopin__cut(&params, ';'));
        int weight = chopin__weight(params), *field = chopin__accepted_field(&w, name);
        if (field && *field < 0) *field = weight;
        if (star < 0 && chopin__equal(name, CHOPIN_STR("*"))) star = weight;
    }
    chopin__accepted_star(&w, star);
    return w;
}

/* The coding among `offered` (1 << CHOPIN__GZIP | ...) that the client likes best and no less than identity; equal ones in our order. Identity is
 * also the answer when everything is refused: bytes that can be read serve better than a 406 (12.5.3 leaves it to us). Vary is the caller's. */
static chopin__coding chopin__coding_choose(const chopin__accepted *w, unsigned offered) {
    chopin__coding best = CHOPIN__IDENTITY;
    int most = w->identity > 0 ? w->identity : 1;
    for (int i = 0; i < CHOPIN__CODINGS; i++) {
        bool better = w->coding[i] > most || (w->coding[i] == most && best == CHOPIN__IDENTITY);
        if (!(offered >> i & 1) || !better) continue;
        best = (chopin__coding)i;
        most = w->coding[i];
    }
    return best;
}

/* ---- media types: texts behind one another, extensions sorted; nothing for the dynamic linker to do ---- */
#define CHOPIN__MIMES(X) \
    X(aac, "audio/aac") X(apk, "application/vnd.android.package-archive") X(apng, "image/apng") X(atom, "application/atom+xml") \
    X(avif, "image/avif") X(avi, "video/x-msvideo") X(bin, "application/octet-stream") X(bmp, "image/bmp") X(bz2, "application/x-bzip2") \
    X(calendar, "text/calendar; charset=utf-8") X(css, "text/css; charset=utf-8") X(csv, "text/csv; charset=utf-8") \
    X(dash, "application/dash+xml") X(doc, "application/msword") \
    X(docx, "application/vnd.openxmlformats-officedocument.wordprocessingml.document") X(eot, "application/vnd.ms-fontobject") \
    X(epub, "application/epub+zip") X(flac, "audio/flac") X(geojson, "application/geo+json") X(gif, "image/gif") X(gzip, "application/gzip") \
    X(heic, "image/heic") X(html, "text/html; charset=utf-8") X(ico, "image/vnd.microsoft.icon") X(jar, "application/java-archive") \
    X(jpeg, "image/jpeg") X(js, "text/javascript; charset=utf-8") X(json, "application/json") X(jsonld, "application/ld+json") X(jxl, "image/jxl") \
    X(m3u8, "application/vnd.apple.mpegurl") X(manifest, "application/manifest+json") X(markdown, "text/markdown; charset=utf-8") \
    X(midi, "audio/midi") X(mkv, "video/matroska") X(mov, "video/quicktime") X(mp3, "audio/mpeg") X(mp4, "video/mp4") X(mp4_audio, "audio/mp4") \
    X(mpeg, "video/mpeg") X(odp, "application/vnd.oasis.opendocument.presentation") X(ods, "application/vnd.oasis.opendocument.spreadsheet") \
    X(odt, "application/vnd.oasis.opendocument.text") X(ogg, "audio/ogg") X(ogv, "video/ogg") X(otf, "font/otf") X(pdf, "application/pdf") \
    X(png, "image/png") X(ppt, "application/vnd.ms-powerpoint") \
    X(pptx, "application/vnd.openxmlformats-officedocument.presentationml.presentation") X(ps, "application/postscript") \
    X(rar, "application/vnd.rar") X(rss, "application/rss+xml") X(rtf, "application/rtf") X(seven, "application/x-7z-compressed") \
    X(svg, "image/svg+xml") X(tar, "application/x-tar") X(text, "text/plain; charset=utf-8") X(tiff, "image/tiff") X(toml, "application/toml") \
    X(ts, "video/mp2t") X(tsv, "text/tab-separated-values; charset=utf-8") X(ttf, "font/ttf") X(vtt, "text/vtt; charset=utf-8") \
    X(wasm, "application/wasm") X(wav, "audio/wav") X(weba, "audio/webm") X(webm, "video/webm") X(webp, "image/webp") X(woff, "font/woff") \
    X(woff2, "font/woff2") X(xhtml, "application/xhtml+xml") X(xls, "application/vnd.ms-excel") \
    X(xlsx, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet") X(xml, "application/xml") X(xz, "application/x-xz") \
    X(yaml, "application/yaml") X(zip, "application/zip") X(zstd, "application/zstd")

typedef struct chopin__mime_texts {
#define CHOPIN__MIME(name, text) char name[sizeof(text)];
    CHOPIN__MIMES(CHOPIN__MIME)
#undef CHOPIN__MIME
} chopin__mime_texts;

static const chopin__mime_texts chopin__mime_text = {
#define CHOPIN__MIME(name, text) text,
    CHOPIN__MIMES(CHOPIN__MIME)
#undef CHOPIN__MIME
};

#define CHOPIN__EXTENSIONS(X) \
    X("7z", seven) X("aac", aac) X("apk", apk) X("apng", apng) X("atom", atom) X("avi", avi) X("avif", avif) X("bin", bin) X("bmp", bmp) \
    X("bz2", bz2) X("c", text) X("cjs", js) X("conf", text) X("css", css) X("csv", csv) X("doc", doc) X("docx", docx) X("eot", eot) \
    X("epub", epub) X("flac", flac) X("geojson", geojson) X("gif", gif) X("gz", gzip) X("h", text) X("heic", heic) X("htm", html) \
    X("html", html) X("ico", ico) X("ics", calendar) X("ini", text) X("jar", jar) X("jpeg", jpeg) X("jpg", jpeg) X("js", js) X("json", json) \
    X("jsonld", jsonld) X("jxl", jxl) X("log", text) X("m3u8", m3u8) X("m4a", mp4_audio) X("m4v", mp4) X("map", json) X("md", markdown) \
    X("mid", midi) X("midi", midi) X("mjs", js) X("mkv", mkv) X("mov", mov) X("mp3", mp3) X("mp4", mp4) X("mpd", dash) X("mpeg", mpeg) \
    X("mpg", mpeg) X("odp", odp) X("ods", ods) X("odt", odt) X("oga", ogg) X("ogg", ogg) X("ogv", ogv) X("opus", ogg) X("otf", otf) \
    X("pdf", pdf) X("png", png) X("ppt", ppt) X("pptx", pptx) X("ps", ps) X("rar", rar) X("rss", rss) X("rtf", rtf) X("svg", svg) \
    X("tar", tar) X("tgz", gzip) X("tif", tiff) X("tiff", tiff) X("toml", toml) X("ts", ts) X("tsv", tsv) X("ttf", ttf) X("txt", text) \
    X("vtt", vtt) X("wasm", wasm) X("wav", wav) X("weba", weba) X("webm", webm) X("webmanifest", manifest) X("webp", webp) X("woff", woff) \
    X("woff2", woff2) X("xhtml", xhtml) X("xls", xls) X("xlsx", xlsx) X("xml", xml) X("xsl", xml) X("xz", xz) X("yaml", yaml) X("yml", yaml) \
    X("zip", zip) X("zst", zstd)

static const struct { char extension[12]; uint16_t at; } chopin__mimes[] = {
#define CHOPIN__MIME(extension, name) { extension, offsetof(chopin__mime_texts, name) },
    CHOPIN__EXTENSIONS(CHOPIN__MIME)
#undef CHOPIN__MIME
};

/* What stands behind the last '.' of the last segment; absent: nothing does. */
static chopin_str chopin__mime_extension(chopin_str path) {
    for (size_t at = path.len; at > 0 && path.ptr[at - 1] != '/'; at--) {
        if (path.ptr[at - 1] == '.') return chopin__str(path.ptr + at, path.len - at);
    }
    return chopin__absent();
}

static chopin_str chopin__mime_known(chopin_str extension) {
    char   key[12] = "";
    size_t low = 0, high = CHOPIN__COUNT(chopin__mimes) - 1;
    if (extension.len >= sizeof key) return chopin__absent();
    for (size_t i = 0; i < extension.len; i++) key[i] = chopin__lower(extension.ptr[i]);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (memcmp(chopin__mimes[middle].extension, key, sizeof key) < 0) low = middle + 1;
        else                                                              high = middle;
    }
    if (memcmp(chopin__mimes[low].extension, key, sizeof key) != 0) return chopin__absent();
    return chopin__str_z((const char *)&chopin__mime_text + chopin__mimes[low].at);
}

/* The type of a file by its name, in any case. `more`: the user's pairs of extension (without dot) and type, which win, then NULL; or NULL.
 * Unknown extensions are bytes, which no browser opens. */
static chopin_str chopin__mime_of(chopin_str path, const char *const *more) {
    chopin_str extension = chopin__mime_extension(path), known;
    for (; extension.ptr && more && more[0] && more[1]; more += 2) {
        if (chopin__equal_nocase(extension, chopin__str_z(more[0]))) return chopin__str_z(more[1]);
    }
    known = chopin__mime_known(extension);
    return known.ptr ? known : chopin__str(chopin__mime_text.bin, sizeof chopin__mime_text.bin - 1);
}

/* ---- paths ---- */

static bool chopin__has_control(chopin_str s) {
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f) return true;
    }
    return false;
}

/* Hidden are names that begin with a dot, but for /.well-known (RFC 8615); "." and ".." are no names. */
static bool chopin__path_segment_ok(chopin_str part, bool first, bool dot_files) {
    if (part.len == 0 || chopin__equal(part, CHOPIN_STR(".")) || chopin__equal(part, CHOPIN_STR(".."))) return false;
    return part.ptr[0] != '.' || dot_files || (first && chopin__equal(part, CHOPIN_STR(".well-known")));
}

/* Is this, decoded, a path below the root that we would look for? No leading slash, no empty segment, one slash at the end for a folder; "" is the
 * root itself. A backslash separates names for some clients and not for us, and control bytes end up in logs: neither is served. */
static bool chopin__path_ok(chopin_str path, bool dot_files) {
    if (path.len >= PATH_MAX || chopin__has_control(path) || chopin__body_has(path, '\\')) return false;
    for (bool first = true; path.len > 0; first = false) {
        if (!chopin__path_segment_ok(chopin__cut(&path, '/'), first, dot_files)) return false;
    }
    return true;
}

static bool chopin__path_has_coded_slash(chopin_str s) {
    for (size_t i = 0; i + 2 < s.len; i++) {
        if (s.ptr[i] == '%' && s.ptr[i + 1] == '2' && chopin__lower(s.ptr[i + 2]) == 'f') return true;
    }
    return false;
}

/* The path behind the prefix of the mount, as sent, decoded once and with a NUL behind it. 200; 400: bad escape or NUL; 404: a coded slash would
 * become a separator nobody sent; 503: the arena is full. */
static int chopin__path_decode(chopin_str sent, chopin__arena *a, chopin_str *path) {
    if (sent.len == 0) { *path = CHOPIN_STR(""); return 200; }
    if (!chopin__percent_ok(sent) || memchr(sent.ptr, 0, sent.len)) return 400;
    if (chopin__path_has_coded_slash(sent)) return 404;
    char *text = chopin__arena_alloc(a, sent.len + 1);
    if (!text) return 503;
    *path = chopin__str(text, chopin__percent_decode(text, sent, false));
    text[path->len] = 0;
    return 200;
}

/* `path` and what follows it, with a NUL behind. Absent: the arena is full. */
static chopin_str chopin__path_join(chopin__arena *a, chopin_str path, chopin_str more) {
    char *text = chopin__arena_alloc(a, path.len + more.len + 1);
    if (!text) return chopin__absent();
    char *end = path.len ? chopin__put(text, path.ptr, path.len) : text;
    if (more.len) end = chopin__put(end, more.ptr, more.len);
    *end = 0;
    return chopin__str(text, path.len + more.len);
}

/* Letters, digits and what is in `keep` as they are, all else as %XX. */
static void chopin__uri_put(chopin__json_out *out, chopin_str s, const char *keep) {
    for (size_t i = 0; i < s.len; i++) {
        char ch = s.ptr[i], low = chopin__lower(ch);
        bool plain = (low >= 'a' && low <= 'z') || (ch >= '0' && ch <= '9') || (ch && strchr(keep, ch));
        if (plain) { chopin__json_char(out, ch); continue; }
        unsigned byte = (unsigned char)ch;
        chopin__json_put(out, (char[]){ '%', "0123456789ABCDEF"[byte >> 4], "0123456789ABCDEF"[byte & 15] }, 3);
    }
}

/* Where a folder without its slash is: the path as sent and a slash, the query kept. Stays on this host whatever was asked: exactly one slash in front, and
 * neither a backslash nor a control byte in it (browsers take "/\evil.test" for "//evil.test"). Absent: the arena is full. */
static chopin_str chopin__path_with_slash(chopin__arena *a, chopin_str path, chopin_str query) {
    chopin__json_out out = { .arena = a };
    while (path.len && path.ptr[0] == '/') chopin__skip(&path, 1);
    chopin__json_room(&out, path.len + query.len + 16);
    chopin__json_char(&out, '/');
    chopin__uri_put(&out, path, "-._~!$&'()*+,;=:@/%");
    if (path.len) chopin__json_char(&out, '/');
    if (query.ptr) chopin__json_char(&out, '?');
    chopin__uri_put(&out, query, "-._~!$&'()*+,;=:@/%?");
    return out.failed ? chopin__absent() : chopin__str(out.ptr, out.len);
}

/* ---- opening below a root ---- */

#if defined(__linux__) && !defined(CHOPIN__FILES_PORTABLE)
#define CHOPIN__OPENAT2 1
#endif
#if defined(O_PATH)
#define CHOPIN__OPEN_PASSING O_PATH     // folders on the way need the right to pass, not to read
#else
#define CHOPIN__OPEN_PASSING O_RDONLY
#endif
#define CHOPIN__OPEN_FILE (O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)         // neither waits for a FIFO's writer nor takes a terminal

typedef struct chopin__files_root {     // one per folder that is served, shared by all workers
    int          fd;                    // pinned: renaming the folder, or putting another in its place, changes nothing
    bool         anywhere;              // paths are the program's own, not the client's: opened as they are
    _Atomic bool walk;                  // no openat2 here: walk, and refuse symbolic links
} chopin__files_root;

/* Segment by segment, never through a symbolic link and never "..": what is reached is below `root`, or was when its name was looked up. */
static int chopin__files_walk(int root, chopin_str path, int flags) {
    for (int dir = root;;) {
        char name[NAME_MAX + 1];
        chopin_str part = chopin__cut(&path, '/');
        bool last = path.len == 0, bad = part.len > NAME_MAX || chopin__equal(part, CHOPIN_STR(".."));
        if (!bad) *chopin__put(name, part.ptr, part.len) = 0;
        int fd = bad ? -1 : openat(dir, name, (last ? flags : CHOPIN__OPEN_PASSING | O_DIRECTORY | O_CLOEXEC) | O_NOFOLLOW);
        int error = bad ? ENAMETOOLONG : errno;
        if (dir != root) close(dir);
        if (fd < 0 || last) return fd < 0 ? -error : fd;
        dir = fd;
    }
}

#ifdef CHOPIN__OPENAT2
enum { CHOPIN__RESOLVE_NO_MAGICLINKS = 0x02, CHOPIN__RESOLVE_BENEATH = 0x08, CHOPIN__OPEN_TRIES = 64 };
typedef struct chopin__open_how { uint64_t flags, mode, resolve; } chopin__open_how;             // struct open_how of the kernel

#ifdef SYS_openat2
#define CHOPIN__SYS_OPENAT2 SYS_openat2
#elif defined(__alpha__)
#define CHOPIN__SYS_OPENAT2 547
#else
#define CHOPIN__SYS_OPENAT2 437         // older headers, newer kernel
#endif

/* EAGAIN: something was renamed while a symbolic link with ".." was followed, and the kernel will not vouch for the result. */
static int chopin__files_openat2(int root, const char *path, int flags) {
    bool bare = (flags & CHOPIN__OPEN_PASSING) != 0;                             // O_PATH tolerates few others
    chopin__open_how how = { (uint64_t)(flags | (bare ? 0 : O_LARGEFILE)), 0, CHOPIN__RESOLVE_BENEATH | CHOPIN__RESOLVE_NO_MAGICLINKS };
    for (int tries = 1;; tries++) {
        int fd = (int)syscall(CHOPIN__SYS_OPENAT2, root, path, &how, sizeof how);
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR) || tries == CHOPIN__OPEN_TRIES) return fd >= 0 ? fd : -errno;
    }
}
#endif

/* A descriptor, or -errno. `path` ends with a NUL; "" is the root. */
static int chopin__files_open(chopin__files_root *root, chopin_str path, int flags) {
    if (path.len == 0) path = CHOPIN_STR(".");
    if (root->anywhere) {
        int fd = openat(root->fd, path.ptr, flags);
        return fd >= 0 ? fd : -errno;
    }
#ifdef CHOPIN__OPENAT2
    if (!atomic_load_explicit(&root->walk, memory_order_relaxed)) {
        int fd = chopin__files_openat2(root->fd, path.ptr, flags);
        if (fd != -ENOSYS && fd != -EPERM) return fd;
        if (fd == -ENOSYS) atomic_store_explicit(&root->walk, true, memory_order_relaxed);
    }                                                        // EPERM: a filter that was put up since the start, or truly forbidden: the walk will tell
#endif
    return chopin__files_walk(root->fd, path, flags);
}

/* 0, or -errno. `folder` may be a symbolic link: that is the owner's business. */
static int chopin__files_root_open(chopin__files_root *root, const char *folder) {
    *root = (chopin__files_root){ .fd = open(folder, CHOPIN__OPEN_PASSING | O_DIRECTORY | O_CLOEXEC), .walk = true };
    if (root->fd < 0) return -errno;
#ifdef CHOPIN__OPENAT2
    int probe = chopin__files_openat2(root->fd, ".", CHOPIN__OPEN_PASSING | O_DIRECTORY | O_CLOEXEC);
    if (probe >= 0) close(probe);
    atomic_store_explicit(&root->walk, probe < 0, memory_order_relaxed);
#endif
    return 0;
}

static void chopin__files_root_close(chopin__files_root *root) {
    if (root->fd >= 0) close(root->fd);
    root->fd = -1;
}

/* What the client is told. A name that leads out of the root (EXDEV, ELOOP) is one that does not exist. */
static int chopin__files_status(int error) {
    switch (error) {
    case ENOENT: case ENOTDIR: case ELOOP: case EXDEV: case ENAMETOOLONG: case EINVAL: case ENXIO: case ENODEV: case EISDIR: return 404;
    case EACCES: case EPERM:                                                                                                return 403;
    case EMFILE: case ENFILE: case ENOMEM: case EAGAIN: case EINTR:                                                         return 503;
    default:                                                                                                                return 500;
    }
}

/* ---- files, counted, and the descriptors that a worker keeps ---- */
enum { CHOPIN__FILES_WAYS = 4, CHOPIN__FILES_KEY = 256, CHOPIN__FILES_SPARE = 64 };

typedef struct chopin__file_id {        // the same: the same bytes, as far as the file system tells
    uint64_t dev, ino, size;
    int64_t  modified_s;
    uint32_t modified_ns;
} chopin__file_id;

/* What a path meant when it was looked up. Counted: it stays, and its descriptor stays open, until the last reply that sends from it has let go. */
typedef struct chopin__file {
    struct chopin__files *owner;
    uint32_t refs;                      // replies, and the place where it is kept
    int      status;                    // 200: a regular file; 308: a folder; else why there is nothing to send
    int      fd;                        // -1: only regular files have one
    chopin__file_id id;
    int64_t  checked_ms, used_ms;
    char     etag[18];                  // with quotes, no NUL
    char     modified[29];              // as in Last-Modified
    const chopin__files_root *root;     // with `path`, what it is found by
    uint32_t path_len;
    char     path[CHOPIN__FILES_KEY];
} chopin__file;

typedef struct chopin__files {          // one per worker; slots in sets of four, the last used first
    chopin__pool   pool;
    chopin__file **slots;               // NULL: nothing is kept
    uint32_t       sets;                // a power of two
    uint32_t       live;                // files not yet let go
    uint64_t       seed;                // nobody outside chooses paths that meet in one set
    uint64_t       random;              // for boundaries
    uint64_t       hits, opens;
} chopin__files;

/* `slots`: how many descriptors are kept (0: none; rounded down to 4, 8, 16 ...). False: out of memory. */
static bool chopin__files_init(chopin__files *f, chopin__heap *heap, uint32_t slots) {
    uint32_t sets = slots >= CHOPIN__FILES_WAYS ? 1 : 0;
    while (sets && sets <= slots / (2 * CHOPIN__FILES_WAYS)) sets *= 2;
    *f = (chopin__files){ .sets = sets, .seed = chopin__random_seed(), .random = chopin__random_seed() };
    chopin__pool_init(&f->pool, heap, sizeof(chopin__file), CHOPIN__FILES_SPARE);
    if (sets) f->slots = chopin__alloc_zero(heap, (size_t)sets * CHOPIN__FILES_WAYS * sizeof *f->slots);
    return !sets || f->slots;
}

/* Lets go; has the form of a piece's release function. */
static void chopin__file_release(void *arg) {
    chopin__file *file = arg;
    CHOPIN_ASSERT(file->refs > 0);
    if (--file->refs > 0) return;
    if (file->fd >= 0) close(file->fd);
    file->owner->live--;
    chopin__pool_give(&file->owner->pool, file);
}

static void chopin__files_drop(chopin__file **slot) {
    chopin__file *file = *slot;
    *slot = NULL;
    if (file) chopin__file_release(file);
}

/* Closes what nobody has asked for since `before_ms`; descriptors of deleted files would hold their disk space. Now and then, and INT64_MAX for all. */
static void chopin__files_sweep(chopin__files *f, int64_t before_ms) {
    for (size_t i = 0; f->slots && i < (size_t)f->sets * CHOPIN__FILES_WAYS; i++) {
        if (f->slots[i] && f->slots[i]->used_ms < before_ms) chopin__files_drop(&f->slots[i]);
    }
}

/* After all replies have let go. */
static void chopin__files_done(chopin__files *f) {
    chopin__files_sweep(f, INT64_MAX);
    CHOPIN_ASSERT(f->live == 0);
    chopin__release(f->pool.heap, f->slots, (size_t)f->sets * CHOPIN__FILES_WAYS * sizeof *f->slots);
    chopin__pool_done(&f->pool);
    f->slots = NULL;
}

/* Size, time and inode, mixed, so that the tag tells nobody what they are. */
static void chopin__file_etag(char out[18], const chopin__file_id *id) {
    uint64_t words[4] = { id->size, (uint64_t)id->modified_s, id->modified_ns, id->ino };
    uint64_t hash = chopin__hash(0, words, sizeof words);
    out[0] = out[17] = '"';
    for (int i = 1; i < 17; i++, hash <<= 4) out[i] = chopin__hex_digit((unsigned)(hash >> 60));
}

static void chopin__file_describe(chopin__file *file, const struct stat *st) {
    file->id = (chopin__file_id){ (uint64_t)st->st_dev, (uint64_t)st->st_ino, (uint64_t)st->st_size, (int64_t)st->st_mtim.tv_sec,
                                  (uint32_t)st->st_mtim.tv_nsec };
    chopin__file_etag(file->etag, &file->id);
    chopin__date_format(file->modified, file->id.modified_s > 0 ? file->id.modified_s : 0);
}

/* 200 and `fd` kept, or why not; then it is closed. */
static int chopin__file_judge(chopin__file *file, int fd) {
    struct stat st;
    int status = fstat(fd, &st) != 0 ? 500 : S_ISREG(st.st_mode) && st.st_size >= 0 ? 200 : S_ISDIR(st.st_mode) ? 308 : 404;
    if (status != 200) { close(fd); return status; }
    fcntl(fd, F_SETFL, 0);                                   // for a regular file O_NONBLOCK has one effect: io_uring would not wait for the disk
    chopin__file_describe(file, &st);
    file->fd = fd;
    return 200;
}

/* Looked up now, one reference for the caller. NULL: out of memory. `path` ends with a NUL. */
static chopin__file *chopin__files_look(chopin__files *f, chopin__files_root *root, chopin_str path, int64_t now_ms) {
    chopin__file *file = chopin__pool_take(&f->pool);
    if (!file) return NULL;
    f->live++;
    f->opens++;
    *file = (chopin__file){ .owner = f, .refs = 1, .fd = -1, .checked_ms = now_ms, .used_ms = now_ms, .root = root };
    int fd = chopin__files_open(root, path, CHOPIN__OPEN_FILE);
    if (fd == -EMFILE || fd == -ENFILE) {                    // what is kept costs descriptors, too
        chopin__files_sweep(f, INT64_MAX);
        fd = chopin__files_open(root, path, CHOPIN__OPEN_FILE);
    }
    file->status = fd < 0 ? chopin__files_status(-fd) : chopin__file_judge(file, fd);
    if (path.len < CHOPIN__FILES_KEY) {
        file->path_len = (uint32_t)path.len;
        chopin__put(file->path, path.ptr, path.len);
    }
    return file;
}

static bool chopin__file_same(const chopin__file *a, const chopin__file *b) {
    const chopin__file_id *x = &a->id, *y = &b->id;
    return a->status == b->status && x->dev == y->dev && x->ino == y->ino && x->size == y->size && x->modified_s == y->modified_s
        && x->modified_ns == y->modified_ns;
}

/* Where in its set this path is kept; WAYS: nowhere. */
static unsigned chopin__files_find(chopin__file *const *set, const chopin__files_root *root, chopin_str path) {
    for (unsigned way = 0; way < CHOPIN__FILES_WAYS; way++) {
        const chopin__file *file = set[way];
        if (file && file->root == root && chopin__equal(chopin__str(file->path, file->path_len), path)) return way;
    }
    return CHOPIN__FILES_WAYS;
}

static chopin__file *chopin__files_to_front(chopin__file **set, unsigned way) {
    chopin__file *file = set[way];
    memmove(set + 1, set, way * sizeof *set);
    return set[0] = file;
}

/* Kept instead of nothing, else of something that was not there, else of what was not used for longest. That a name is not there displaces no file:
 * strangers who guess names would empty the place. */
static void chopin__files_keep(chopin__file **set, chopin__file *file) {
    unsigned way = CHOPIN__FILES_WAYS;
    for (unsigned i = 0; i < CHOPIN__FILES_WAYS && (way == CHOPIN__FILES_WAYS || set[way]); i++) {
        if (!set[i] || set[i]->status != 200) way = i;
    }
    if (way == CHOPIN__FILES_WAYS && file->status == 200) way = CHOPIN__FILES_WAYS - 1;
    if (way == CHOPIN__FILES_WAYS) return;
    chopin__files_drop(&set[way]);
    set[way] = file;
    file->refs++;
    chopin__files_to_front(set, way);
}

/* Looks at a kept file again; it is replaced if the path means something else by now. */
static chopin__file *chopin__files_check(chopin__files *f, chopin__file **set, chopin__files_root *root, chopin_str path, int64_t now_ms) {
    chopin__file *fresh = chopin__files_look(f, root, path, now_ms);
    unsigned way = chopin__files_find(set, root, path);      // not before: looking may have swept
    chopin__file *kept = way < CHOPIN__FILES_WAYS ? set[way] : NULL;
    if (fresh && kept && chopin__file_same(kept, fresh)) {
        chopin__file_release(fresh);
        kept->checked_ms = now_ms;
        kept->refs++;
        return chopin__files_to_front(set, way);
    }
    if (kept) chopin__files_drop(&set[way]);
    if (fresh && fresh->status < 500) chopin__files_keep(set, fresh);            // 500 and 503 pass
    return fresh;
}

/* What `path` (NUL behind it) means below `root`, believed for `cache_ms` (0: never). One reference for the caller; NULL: out of memory. */
static chopin__file *chopin__files_get(chopin__files *f, chopin__files_root *root, chopin_str path, int64_t now_ms, int cache_ms) {
    if (!f->slots || cache_ms <= 0 || path.len >= CHOPIN__FILES_KEY) return chopin__files_look(f, root, path, now_ms);
    uint64_t hash = chopin__hash(f->seed ^ (uint64_t)(uintptr_t)root, path.ptr, path.len);
    chopin__file **set = f->slots + (size_t)(hash & (f->sets - 1)) * CHOPIN__FILES_WAYS;
    unsigned way = chopin__files_find(set, root, path);
    if (way < CHOPIN__FILES_WAYS) set[way]->used_ms = now_ms;
    if (way == CHOPIN__FILES_WAYS || now_ms - set[way]->checked_ms >= cache_ms) return chopin__files_check(f, set, root, path, now_ms);
    f->hits++;
    set[way]->refs++;
    return chopin__files_to_front(set, way);
}

/* ---- Content-Disposition (RFC 6266, 8187) ---- */

/* The ASCII form in quotes, one '_' for each character that has none. True: it says everything. */
static bool chopin__disposition_ascii(chopin__json_out *out, chopin_str name) {
    bool exact = true;
    for (size_t i = 0, n; i < name.len; i += n) {
        char ch = name.ptr[i];
        n = chopin__max(chopin__utf8_length(name.ptr + i, name.len - i), 1);
        if ((unsigned char)ch >= 0x80) ch = '_';
        if (ch == '"' || ch == '\\') chopin__json_char(out, '\\');
        chopin__json_char(out, ch);
        if (ch != name.ptr[i] || ch == '"' || ch == '\\' || ch == '%') exact = false;            // browsers differ about these three (6266 D)
    }
    return exact;
}

/* The ext-value of filename*; what is not UTF-8 becomes U+FFFD. */
static void chopin__disposition_coded(chopin__json_out *out, chopin_str name) {
    for (size_t i = 0, n; i < name.len; i += n) {
        n = chopin__utf8_length(name.ptr + i, name.len - i);
        chopin__uri_put(out, n ? chopin__str(name.ptr + i, n) : CHOPIN_STR("\xef\xbf\xbd"), "!#$&+-.^_`|~");
        if (n == 0) n = 1;
    }
}

/* The value of Content-Disposition for a file to be saved (`attachment`) or shown as `name`, of which only what is behind the last '/' counts. Absent: there is
 * a control byte in it, or nothing at all, or the arena is full. */
static chopin_str chopin__disposition(chopin__arena *a, bool attachment, chopin_str name) {
    chopin__json_out out = { .arena = a };
    for (size_t i = name.len; i > 0; i--) {
        if (name.ptr[i - 1] == '/') { chopin__skip(&name, i); break; }
    }
    if (name.len == 0 || chopin__has_control(name)) return chopin__absent();
    chopin__json_room(&out, 5 * name.len + 64);
    if (attachment) chopin__json_put(&out, "attachment; filename=\"", 22);
    else            chopin__json_put(&out, "inline; filename=\"", 18);
    bool exact = chopin__disposition_ascii(&out, name);
    chopin__json_char(&out, '"');
    if (!exact) {
        chopin__json_put(&out, "; filename*=UTF-8''", 19);
        chopin__disposition_coded(&out, name);
    }
    return out.failed ? chopin__absent() : chopin__str(out.ptr, out.len);
}

/* ---- the listing of a folder ---- */

typedef struct chopin__entry {
    chopin_str name;
    uint64_t   size;
    int64_t    modified_s;
    bool       folder;
} chopin__entry;

typedef struct chopin__listing {
    chopin__arena      *arena;
    chopin__files_root *root;
    chopin_str          path;           // of the folder: "", or ending with a slash
    bool                dot_files, more;                     // more: there are more than `cap`
    chopin__entry      *entries;
    size_t              seen, count, cap;
} chopin__listing;

/* Of what the entry leads to. Only there may a symbolic link be followed where the server would follow it. */
static bool chopin__listing_stat(chopin__listing *l, int dir, chopin_str name, struct stat *st) {
    if (fstatat(dir, name.ptr, st, AT_SYMLINK_NOFOLLOW) != 0) return false;
    if (!S_ISLNK(st->st_mode)) return true;
    chopin_str path = chopin__path_join(l->arena, l->path, name);
    int  fd = path.ptr ? chopin__files_open(l->root, path, (CHOPIN__OPEN_PASSING == O_RDONLY ? CHOPIN__OPEN_FILE : CHOPIN__OPEN_PASSING) | O_CLOEXEC) : -1;
    bool ok = fd >= 0 && fstat(fd, st) == 0;
    if (fd >= 0) close(fd);
    return ok;
}

/* Files and folders that could be asked for. False: enough. `name` ends with a NUL. */
static bool chopin__listing_add(chopin__listing *l, int dir, chopin_str name) {
    struct stat st;
    bool itself = chopin__equal(name, CHOPIN_STR(".")) || chopin__equal(name, CHOPIN_STR(".."));
    if (!itself && l->seen++ == l->cap) { l->more = true; return false; }
    if (itself || !chopin__path_ok(name, true) || !chopin__path_segment_ok(name, l->path.len == 0, l->dot_files) || !chopin__listing_stat(l, dir, name, &st)) return true;
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) return true;
    chopin_str copy = chopin__arena_copy(l->arena, name);
    if (!copy.ptr) return false;
    l->entries[l->count++] = (chopin__entry){ copy, (uint64_t)st.st_size, (int64_t)st.st_mtim.tv_sec, S_ISDIR(st.st_mode) };
    return true;
}

#ifdef CHOPIN__OPENAT2
/* From the kernel's records (8 bytes inode, 8 offset, 2 length, 1 type, the name and a NUL): opendir() would ask malloc(). */
static bool chopin__listing_read(chopin__listing *l, int dir) {
    enum { SIZE = 16384, NAME = 19 };
    char *records = chopin__arena_alloc(l->arena, SIZE);
    while (records) {
        long got = (long)syscall(SYS_getdents64, dir, records, (size_t)SIZE);
        if (got <= 0) return got == 0;
        for (long at = 0; at < got; ) {
            uint16_t len;
            memcpy(&len, records + at + 16, sizeof len);
            if (!chopin__listing_add(l, dir, chopin__str_z(records + at + NAME))) return l->more;
            at += len;
        }
    }
    return false;
}
#else
static bool chopin__listing_read(chopin__listing *l, int dir) {
    int  own = dup(dir);
    DIR *d = own >= 0 ? fdopendir(own) : NULL;
    if (!d && own >= 0) close(own);
    for (struct dirent *e; d && !l->more && !l->arena->full && (e = readdir(d)) != NULL; ) chopin__listing_add(l, dir, chopin__str_z(e->d_name));
    if (d) closedir(d);
    return d && !l->arena->full;
}
#endif

/* Folders first, then by the bytes of the name. */
static bool chopin__entry_before(const chopin__entry *a, const chopin__entry *b) {
    if (a->folder != b->folder) return a->folder;
    int order = memcmp(a->name.ptr, b->name.ptr, chopin__min(a->name.len, b->name.len));
    return order ? order < 0 : a->name.len < b->name.len;
}

static void chopin__entries_sink(chopin__entry *e, size_t at, size_t count) {
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && chopin__entry_before(&e[child], &e[child + 1])) child++;
        if (!chopin__entry_before(&e[at], &e[child])) return;
        chopin__entry swap = e[at];
        e[at] = e[child];
        e[child] = swap;
    }
}

/* Heap sort: in place and never quadratic; qsort() may ask malloc(). */
static void chopin__entries_sort(chopin__entry *e, size_t count) {
    for (size_t i = count / 2; i > 0; i--) chopin__entries_sink(e, i - 1, count);
    for (size_t end = count; end > 1; end--) {
        chopin__entry swap = e[0];
        e[0] = e[end - 1];
        e[end - 1] = swap;
        chopin__entries_sink(e, 0, end - 1);
    }
}

/* For element content and quoted attributes; what is not UTF-8 becomes U+FFFD. */
static void chopin__html_put(chopin__json_out *out, chopin_str s) {
    static const char codes[][8] = { "&lt;", "&gt;", "&amp;", "&quot;", "&#39;" }, marks[] = "<>&\"'";
    for (size_t i = 0, n; i < s.len; i += n) {
        const char *mark = s.ptr[i] ? strchr(marks, s.ptr[i]) : NULL;
        n = chopin__utf8_length(s.ptr + i, s.len - i);
        if (mark)   chopin__json_put(out, codes[mark - marks], strlen(codes[mark - marks]));
        else if (n) chopin__json_put(out, s.ptr + i, n);
        else        chopin__json_put(out, "\xef\xbf\xbd", 3);
        if (n == 0) n = 1;
    }
}
#define CHOPIN__TEXT(out, literal) chopin__json_put(out, literal, sizeof(literal) - 1)

/* In the link everything but unreserved characters is coded: no name is a scheme ("javascript:"), a query or a way out. */
static void chopin__listing_row(chopin__json_out *out, const chopin__entry *e) {
    char text[32];
    CHOPIN__TEXT(out, "<tr><td><a href=\"");
    chopin__uri_put(out, e->name, "-._~");
    chopin__json_put(out, "/\">", e->folder ? 3 : 0);
    chopin__json_put(out, "\">", e->folder ? 0 : 2);
    chopin__html_put(out, e->name);
    chopin__json_put(out, "/", e->folder);
    CHOPIN__TEXT(out, "</a><td>");
    if (!e->folder) chopin__json_put(out, text, chopin__format_u64(text, e->size));
    CHOPIN__TEXT(out, "<td>");
    chopin__date_format(text, e->modified_s > 0 ? e->modified_s : 0);
    chopin__json_put(out, text, 29);
    CHOPIN__TEXT(out, "\n");
}

static size_t chopin__listing_bound(const chopin__listing *l, chopin_str title) {
    size_t bound = 1024 + 12 * title.len;                    // a character is at most six of HTML
    for (size_t i = 0; i < l->count; i++) bound += 128 + 9 * l->entries[i].name.len;
    return bound;
}

static chopin_str chopin__listing_page(const chopin__listing *l, chopin_str title) {
    chopin__json_out out = { .arena = l->arena };
    chopin__json_room(&out, chopin__listing_bound(l, title));                   // at once: growing would leave copies in the arena
    CHOPIN__TEXT(&out, "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n<title>Index of ");
    chopin__html_put(&out, title);
    CHOPIN__TEXT(&out, "</title>\n<style>body{font-family:sans-serif;margin:2em}td{padding:0 2em 0 0}td+td{text-align:right}</style>\n<h1>Index of ");
    chopin__html_put(&out, title);
    CHOPIN__TEXT(&out, "</h1>\n<table>\n");
    if (l->path.len) CHOPIN__TEXT(&out, "<tr><td><a href=\"../\">../</a><td><td>\n");
    for (size_t i = 0; i < l->count; i++) chopin__listing_row(&out, &l->entries[i]);
    CHOPIN__TEXT(&out, "</table>\n");
    if (l->more) CHOPIN__TEXT(&out, "<p>This folder has more entries than are listed.\n");
    return out.failed ? chopin__absent() : chopin__str(out.ptr, out.len);
}

/* The folder as a page, in the arena. 200, or why not. `path` is "" or ends with a slash, `url` is the path as sent. */
static int chopin__listing_make(chopin__arena *a, chopin__files_root *root, chopin_str path, chopin_str url, size_t max, bool dot_files, chopin_str *page) {
    chopin__listing l = { .arena = a, .root = root, .path = path, .dot_files = dot_files, .cap = max };
    chopin_str bare = chopin__path_join(a, chopin__str(path.ptr, path.len ? path.len - 1 : 0), CHOPIN_STR("")), title = CHOPIN_STR("/");
    l.entries = max <= SIZE_MAX / sizeof *l.entries ? chopin__arena_alloc(a, max * sizeof *l.entries) : NULL;
    if (!bare.ptr || !l.entries || (url.len && chopin__path_decode(url, a, &title) == 503)) return 503;
    int dir = chopin__files_open(root, bare, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) return chopin__files_status(-dir);
    bool ok = chopin__listing_read(&l, dir);
    close(dir);
    if (!ok) return a->full ? 503 : 500;
    chopin__entries_sort(l.entries, l.count);
    *page = chopin__listing_page(&l, title);
    return page->ptr ? 200 : 503;
}

/* ---- the answer ---- */

typedef struct chopin__files_rules {    // of one folder that is served; every field is in force as it stands
    chopin__files_root *root;
    const char *const  *index;          // file names tried in a folder, then NULL; NULL: none
    const char *const  *types;          // pairs for chopin__mime_of()
    const char         *cache_control;  // checked by who sets it; NULL: no such header
    size_t              max_entries;    // of a listing
    unsigned            max_ranges;     // 1 to 256; more are answered with the whole file
    int                 cache_ms;       // how long a kept file is believed; 0: never
    bool                dot_files;      // serve names that begin with a dot
    bool                listing;        // show folders without an index file
    bool                precompressed;  // serve name.br, name.zst or name.gz to who accepts them
    bool                attachment;     // "save as" under the file's own name
    bool                sniff;          // leave out X-Content-Type-Options: nosniff
} chopin__files_rules;

typedef struct chopin__file_part {      // of a body: bytes of ours, then bytes of the file
    chopin_str head;
    uint64_t   at, len;
} chopin__file_part;

typedef struct chopin__file_answer {    // all texts are in the arena, or static, or the rules'
    int                status;          // 200, 206, 304, 308, 400, 403, 404, 412, 416, 500, 503
    chopin__file      *file;            // what to send from; to be let go of (chopin__file_release) after the last byte; NULL: nothing
    chopin_str         type;            // Content-Type
    chopin_str         lines;           // further headers, each "Name: value\r\n"
    uint64_t           length;          // Content-Length (of the GET, also for HEAD), when status is 200 or 206
    chopin__file_part *parts;           // the body: each part's head and bytes, in order, then `tail`
    unsigned           part_count;
    chopin_str         tail;
    chopin_str         body;            // instead of parts: the page of a listing
} chopin__file_answer;

static void chopin__answer_line(chopin__json_out *out, chopin_str name, chopin_str value) {
    chopin__json_put(out, name.ptr, name.len);
    CHOPIN__TEXT(out, ": ");
    chopin__json_put(out, value.ptr, value.len);
    CHOPIN__TEXT(out, "\r\n");
}

/* Last-Modified is never ahead of Date (RFC 9110 8.8.2.1). */
static int64_t chopin__answer_modified(const chopin__file *file, const chopin__file_request *r) {
    return file->id.modified_s < r->now_s ? file->id.modified_s : r->now_s;
}

static void chopin__answer_date_line(chopin__json_out *out, const chopin__file *file, const chopin__file_request *r) {
    char    text[29];
    int64_t modified = chopin__answer_modified(file, r);
    if (modified < 0) return;
    memcpy(text, file->modified, sizeof text);
    if (modified != file->id.modified_s) chopin__date_format(text, modified);
    chopin__answer_line(out, CHOPIN_STR("Last-Modified"), chopin__str(text, sizeof text));
}

/* What 200, 206 and 304 have in common (RFC 9110 15.4.5). */
static void chopin__answer_validators(chopin__json_out *out, const chopin__file *file, const chopin__files_rules *rules, const chopin__file_request *r) {
    chopin__answer_line(out, CHOPIN_STR("ETag"), chopin__str(file->etag, sizeof file->etag));
    chopin__answer_date_line(out, file, r);
    if (rules->cache_control) chopin__answer_line(out, CHOPIN_STR("Cache-Control"), chopin__str_z(rules->cache_control));
    if (rules->precompressed) CHOPIN__TEXT(out, "Vary: Accept-Encoding\r\n");
}

/* What only a body calls for. */
static void chopin__answer_content(chopin__json_out *out, const chopin__files_rules *rules, chopin_str disposition, chopin__coding coding) {
    CHOPIN__TEXT(out, "Accept-Ranges: bytes\r\n");
    if (coding != CHOPIN__IDENTITY) chopin__answer_line(out, CHOPIN_STR("Content-Encoding"), chopin__str_z(chopin__coding_name[coding]));
    if (!rules->sniff) CHOPIN__TEXT(out, "X-Content-Type-Options: nosniff\r\n");
    if (disposition.ptr) chopin__answer_line(out, CHOPIN_STR("Content-Disposition"), disposition);
}

static void chopin__answer_range_line(chopin__json_out *out, const chopin__range *range, uint64_t size) {
    char text[80];
    chopin__answer_line(out, CHOPIN_STR("Content-Range"), chopin__str(text, (size_t)(chopin__put_content_range(text, range, size) - text)));
}

/* One part, no text around it. False: the arena is full. */
static bool chopin__answer_one(chopin__file_answer *answer, chopin__arena *a, chopin__range range) {
    answer->parts = chopin__arena_alloc(a, sizeof *answer->parts);
    if (!answer->parts) return false;
    *answer->parts = (chopin__file_part){ { NULL, 0 }, range.at, range.len };
    answer->part_count = 1;
    answer->length = range.len;
    return true;
}

/* The head of one part of multipart/byteranges (RFC 9110 14.6); the line break in front belongs to the boundary. */
static chopin_str chopin__part_head(chopin__arena *a, chopin_str boundary, bool first, chopin_str type, const chopin__range *range, uint64_t size) {
    chopin__json_out out = { .arena = a };
    chopin__json_room(&out, boundary.len + type.len + 128);
    chopin__json_put(&out, "\r\n", first ? 0 : 2);
    CHOPIN__TEXT(&out, "--");
    chopin__json_put(&out, boundary.ptr, boundary.len);
    CHOPIN__TEXT(&out, "\r\n");
    chopin__answer_line(&out, CHOPIN_STR("Content-Type"), type);
    chopin__answer_range_line(&out, range, size);
    CHOPIN__TEXT(&out, "\r\n");
    return out.failed ? chopin__absent() : chopin__str(out.ptr, out.len);
}

/* Several parts: multipart/byteranges. The texts are all made here, so Content-Length is a sum of what will be sent. The ranges do not overlap, so it is
 * no more than the file and some texts: it cannot overflow. */
static bool chopin__answer_multipart(chopin__file_answer *answer, chopin__arena *a, uint64_t *random, const chopin__range *ranges, unsigned count, uint64_t size) {
    char mark[32];
    for (unsigned i = 0, turn = 0; turn < 2; turn++) {
        uint64_t word = chopin__random_next(random);
        for (unsigned end = i + 16; i < end; i++, word >>= 4) mark[i] = chopin__hex_digit((unsigned)word);
    }
    chopin_str boundary = chopin__str(mark, sizeof mark), type = answer->type;
    answer->parts = chopin__arena_alloc(a, count * sizeof *answer->parts);
    answer->type = chopin__path_join(a, CHOPIN_STR("multipart/byteranges; boundary="), boundary);
    answer->tail = chopin__path_join(a, CHOPIN_STR("\r\n--"), chopin__path_join(a, boundary, CHOPIN_STR("--\r\n")));
    answer->length = answer->tail.len;
    for (unsigned i = 0; answer->parts && i < count; i++) {
        answer->parts[i] = (chopin__file_part){ chopin__part_head(a, boundary, i == 0, type, &ranges[i], size), ranges[i].at, ranges[i].len };
        answer->length += answer->parts[i].head.len + ranges[i].len;
    }
    answer->part_count = count;
    return !a->full;
}

/* Verdict, lines and parts for a regular file. */
static bool chopin__answer_describe(chopin__file_answer *answer, const chopin__file *file, const chopin__files_rules *rules, const chopin__file_request *r,
                                    chopin_str path, chopin__coding coding, chopin__arena *a) {
    chopin__range     *ranges = r->range.ptr ? chopin__arena_alloc(a, rules->max_ranges * sizeof *ranges) : NULL;
    chopin__json_out   out = { .arena = a };
    int64_t            modified = chopin__answer_modified(file, r);
    chopin__validators v = { chopin__str(file->etag, sizeof file->etag), modified, modified < r->now_s - 1 };
    uint64_t           size = file->id.size;
    unsigned           count = 0;
    if (r->range.ptr && !ranges) return false;
    answer->status = chopin__file_verdict(r, &v, size, rules->max_ranges, ranges, &count);
    // Content-Encoding of a multipart body would speak of the whole of it, not of the parts.
    if (count > 1 && coding != CHOPIN__IDENTITY) { answer->status = 200; count = 0; }
    answer->type = chopin__mime_of(path, rules->types);
    chopin__json_room(&out, 512);
    if (answer->status == 416) chopin__answer_range_line(&out, NULL, size);
    if (answer->status < 400) chopin__answer_validators(&out, file, rules, r);
    if (answer->status < 300) {
        chopin_str name = r->download.ptr ? r->download : rules->attachment ? path : chopin__absent();
        chopin__answer_content(&out, rules, chopin__disposition(a, true, name), coding);
        if (count == 1) chopin__answer_range_line(&out, &ranges[0], size);
        if (count > 1 ? !chopin__answer_multipart(answer, a, &file->owner->random, ranges, count, size)
                      : !chopin__answer_one(answer, a, count ? ranges[0] : (chopin__range){ 0, size })) return false;
    }
    answer->lines = chopin__str(out.ptr, out.len);
    return !out.failed && !a->full;
}

/* A sibling is sent instead of the file if it is a regular one (below the same root, as it was opened there), another one, and not older. */
static bool chopin__sibling_valid(const chopin__file *coded, const chopin__file *file) {
    const chopin__file_id *c = &coded->id, *f = &file->id;
    if (coded->status != 200 || (c->dev == f->dev && c->ino == f->ino)) return false;
    return c->modified_s > f->modified_s || (c->modified_s == f->modified_s && c->modified_ns >= f->modified_ns);
}

/* The best valid sibling that is accepted, in exchange for `file`; else `file`. */
static chopin__file *chopin__files_sibling(chopin__files *f, const chopin__files_rules *rules, const chopin__file_request *r, chopin_str path, chopin__arena *a,
                                           chopin__file *file, chopin__coding *coding) {
    static const char endings[][8] = { ".br", ".zst", ".gz" };
    chopin__accepted accepted = chopin__accepted_read(r->accept_encoding);
    unsigned left = 1u << CHOPIN__BR | 1u << CHOPIN__ZSTD | 1u << CHOPIN__GZIP;
    while ((*coding = chopin__coding_choose(&accepted, left)) != CHOPIN__IDENTITY) {
        chopin_str    name = chopin__path_join(a, path, chopin__str_z(endings[*coding]));
        chopin__file *coded = name.ptr ? chopin__files_get(f, rules->root, name, r->now_ms, rules->cache_ms) : NULL;
        bool          valid = coded && chopin__sibling_valid(coded, file);
        if (!valid && coded) chopin__file_release(coded);
        if (valid) { chopin__file_release(file); return coded; }
        left &= ~(1u << *coding);
    }
    return file;
}

/* Of a folder, asked for with its slash: the first index file there is, with `*path` now its own; else NULL. */
static chopin__file *chopin__files_index(chopin__files *f, const chopin__files_rules *rules, const chopin__file_request *r, chopin_str *path, chopin__arena *a) {
    for (const char *const *name = rules->index; name && *name; name++) {
        chopin_str    joined = chopin__path_join(a, *path, chopin__str_z(*name));
        chopin__file *file = joined.ptr ? chopin__files_get(f, rules->root, joined, r->now_ms, rules->cache_ms) : NULL;
        if (file && file->status == 200) { *path = joined; return file; }
        if (file) chopin__file_release(file);
    }
    return NULL;
}

static int chopin__answer_file(chopin__files *f, const chopin__files_rules *rules, const chopin__file_request *r, chopin_str path, chopin__arena *a,
                               chopin__file *file, chopin__file_answer *answer) {
    chopin__coding coding = CHOPIN__IDENTITY;
    if (rules->precompressed) file = chopin__files_sibling(f, rules, r, path, a, file, &coding);
    if (!chopin__answer_describe(answer, file, rules, r, path, coding, a)) *answer = (chopin__file_answer){ .status = 503 };
    if (answer->status < 300) answer->file = file;
    else                      chopin__file_release(file);
    return answer->status;
}

/* A folder with its slash and without an index file. */
static int chopin__answer_folder(const chopin__files_rules *rules, const chopin__file_request *r, chopin_str path, chopin__arena *a, chopin__file_answer *answer) {
    answer->status = rules->listing ? chopin__listing_make(a, rules->root, path, r->path, rules->max_entries, rules->dot_files, &answer->body) : 404;
    if (answer->status != 200) return answer->status;
    answer->type = CHOPIN_STR("text/html; charset=utf-8");
    answer->lines = CHOPIN_STR("Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n");
    answer->length = answer->body.len;
    return 200;
}

static int chopin__answer_redirect(const chopin__file_request *r, chopin__arena *a, chopin__file_answer *answer) {
    chopin_str       location = chopin__path_with_slash(a, r->path, r->query);
    chopin__json_out out = { .arena = a };
    chopin__json_room(&out, location.len + 16);
    chopin__answer_line(&out, CHOPIN_STR("Location"), location);
    answer->status = location.ptr && !out.failed ? 308 : 503;
    if (answer->status == 308) answer->lines = chopin__str(out.ptr, out.len);
    return answer->status;
}

/* What to answer to GET or HEAD of `path`: decoded once (chopin__path_decode), below the root, a NUL behind it. Gives answer->status, too. Every outcome is an
 * answer; a full arena and a full heap are a 503. */
static int chopin__files_answer(chopin__files *f, const chopin__files_rules *rules, const chopin__file_request *r, chopin_str path, chopin__arena *a,
                                chopin__file_answer *answer) {
    bool folder = path.len == 0 || path.ptr[path.len - 1] == '/';
    CHOPIN_ASSERT(rules->max_ranges > 0 && rules->max_ranges <= 256);
    *answer = (chopin__file_answer){ .status = 404 };
    if (!rules->root->anywhere && !chopin__path_ok(path, rules->dot_files)) return 404;
    chopin__file *file = folder ? chopin__files_index(f, rules, r, &path, a) : chopin__files_get(f, rules->root, path, r->now_ms, rules->cache_ms);
    if (file && file->status == 200) return chopin__answer_file(f, rules, r, path, a, file, answer);
    if (folder && !a->full) return chopin__answer_folder(rules, r, path, a, answer);
    answer->status = file ? file->status : 503;
    if (file) chopin__file_release(file);
    return answer->status == 308 ? chopin__answer_redirect(r, a, answer) : answer->status;
}

/* ==========================================================================================================
   >>ws   WebSocket (RFC 6455): the handshake, frames coming and going; permessage-deflate (RFC 7692) behind CHOPIN_WITH_ZLIB
   Pure: bytes in, events out. The reader takes its input in pieces of any size and answers for each frame as soon as the
   byte that decides has come; payload is unmasked where it lies and given on as a view, so a message of any length costs
   the reader nothing. What is refused is refused with the close code to send and a text for the log.
   ========================================================================================================== */

/* ---- SHA-1 and base64, for Sec-WebSocket-Accept alone: SHA-1 is broken and must protect nothing ---- */
static inline uint32_t chopin__ws_rotate(uint32_t v, unsigned n) { return v << n | v >> (32 - n); }

static void chopin__ws_weak_sha1_block(uint32_t h[5], const uint8_t *p) {
    static const uint32_t added[4] = { 0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6 };
    uint32_t w[80], v[5];
    for (size_t i = 0; i < 16; i++) w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (size_t i = 16; i < 80; i++) w[i] = chopin__ws_rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    memcpy(v, h, sizeof v);
    for (size_t i = 0; i < 80; i++) {
        uint32_t mix  = i < 20 ? (v[1] & v[2]) | (~v[1] & v[3]) : i < 40 || i >= 60 ? v[1] ^ v[2] ^ v[3] : (v[1] & v[2]) | (v[1] & v[3]) | (v[2] & v[3]);
        uint32_t next = chopin__ws_rotate(v[0], 5) + mix + v[4] + added[i / 20] + w[i];
        v[4] = v[3];
        v[3] = v[2];
        v[2] = chopin__ws_rotate(v[1], 30);
        v[1] = v[0];
        v[0] = next;
    }
    for (size_t i = 0; i < 5; i++) h[i] += v[i];
}

/* RFC 3174. */
static void chopin__ws_weak_sha1(chopin_str s, uint8_t out[20]) {
    uint32_t h[5] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 };
    uint64_t bits = (uint64_t)s.len * 8;
    uint8_t  tail[128] = { 0 };
    for (; s.len >= 64; s = chopin__str(s.ptr + 64, s.len - 64)) chopin__ws_weak_sha1_block(h, (const uint8_t *)s.ptr);
    size_t end = s.len < 56 ? 64 : 128;
    if (s.len) memcpy(tail, s.ptr, s.len);
    tail[s.len] = 0x80;
    for (size_t i = 1; i <= 8; i++, bits >>= 8) tail[end - i] = (uint8_t)bits;
    for (size_t i = 0; i < end; i += 64) chopin__ws_weak_sha1_block(h, tail + i);
    for (size_t i = 0; i < 20; i++) out[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

/* RFC 4648 4; `out` takes (len + 2) / 3 * 4 characters. Gives how many. */
static size_t chopin__ws_base64(char *out, const uint8_t *in, size_t len) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = 0;
    for (size_t i = 0; i < len; i += 3) {
        uint32_t three = (uint32_t)in[i] << 16 | (i + 1 < len ? (uint32_t)in[i + 1] << 8 : 0) | (i + 2 < len ? in[i + 2] : 0u);
        out[n++] = digits[three >> 18];
        out[n++] = digits[three >> 12 & 63];
        out[n++] = i + 1 < len ? digits[three >> 6 & 63] : '=';
        out[n++] = i + 2 < len ? digits[three & 63] : '=';
    }
    return n;
}

/* Sixteen bytes in base64: 22 digits and "==" (RFC 6455 4.2.1). */
static bool chopin__ws_is_key(chopin_str key) {
    if (key.len != 24 || key.ptr[22] != '=' || key.ptr[23] != '=') return false;
    for (size_t i = 0; i < 22; i++) {
        char ch = key.ptr[i], lower = chopin__lower(ch);
        if (!((lower >= 'a' && lower <= 'z') || (ch >= '0' && ch <= '9') || ch == '+' || ch == '/')) return false;
    }
    return true;
}

/* The proof that we read the key (RFC 6455 4.2.2), 28 characters and a NUL. */
static void chopin__ws_accept(char out[29], chopin_str key) {
    char    text[24 + 36];
    uint8_t hash[20];
    memcpy(text, key.ptr, 24);
    memcpy(text + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
    chopin__ws_weak_sha1(chopin__str(text, sizeof text), hash);
    out[chopin__ws_base64(out, hash, sizeof hash)] = 0;
}

/* ---- the handshake (RFC 6455 4.2) ---- */
typedef struct chopin__ws_deflate_terms {   // permessage-deflate: what we want, and then what was agreed on
    bool    on;
    bool    server_no_takeover;         // each message we send starts with an empty window ...
    bool    client_no_takeover;         // ... and each that the client sends
    uint8_t server_bits;                // our window, 9 to 15 (0: 15)
    uint8_t client_bits;                // theirs, 8 to 15 (0: 15); who cannot be held to less goes uncompressed
} chopin__ws_deflate_terms;

typedef struct chopin__ws_rules {       // from chopin_options
    const char *protocols;              // "chat.v2, chat.v1", the best first; NULL: none
    chopin__ws_deflate_terms deflate;   // without CHOPIN_WITH_ZLIB as if off
} chopin__ws_rules;

typedef struct chopin__ws_shake {
    char        accept[29];             // Sec-WebSocket-Accept
    char        extensions[160];        // Sec-WebSocket-Extensions; empty: none
    chopin_str  protocol;               // a view into rules->protocols; absent: none
    chopin__ws_deflate_terms deflate;   // agreed on
    const char *why;                    // what was wrong, for the log
} chopin__ws_shake;

/* The value of the next field with that name, from *at on, which moves behind it. Absent: there is none any more. */
static chopin_str chopin__ws_field(const chopin__head *h, const char *base, chopin_str name, size_t *at) {
    while (*at < h->count) {
        const chopin__field *f = &h->fields[(*at)++];
        if (chopin__equal_nocase(chopin__str(base + f->name, f->name_len), name)) return chopin__str(base + f->value, f->value_len);
    }
    return chopin__absent();
}

/* The value of the one field with that name. Absent: none, or several, which RFC 6455 11.3 forbids for key and version. */
static chopin_str chopin__ws_only_field(const chopin__head *h, const char *base, chopin_str name) {
    size_t     at    = 0;
    chopin_str value = chopin__ws_field(h, base, name, &at);
    return chopin__ws_field(h, base, name, &at).ptr ? chopin__absent() : value;
}

/* The next element of a list that may be spread over several fields; *rest starts absent. Empty elements do not count (RFC 9110 5.6.1). */
static chopin_str chopin__ws_element(const chopin__head *h, const char *base, chopin_str name, size_t *at, chopin_str *rest) {
    for (;;) {
        while (rest->len) {
            chopin_str element = chopin__trim(chopin__cut(rest, ','));
            if (element.len) return element;
        }
        *rest = chopin__ws_field(h, base, name, at);
        if (!rest->ptr) return chopin__absent();
    }
}

static bool chopin__ws_asked(const chopin__head *h, const char *base) {
    size_t     at   = 0;
    chopin_str rest = chopin__absent(), word;
    while ((word = chopin__ws_element(h, base, CHOPIN_STR("upgrade"), &at, &rest)).ptr) {
        if (chopin__equal_nocase(word, CHOPIN_STR("websocket"))) return h->wants_upgrade;
    }
    return false;
}

/* Does the client offer this subprotocol? They are compared byte for byte (RFC 6455 1.9). */
static bool chopin__ws_offers(const chopin__head *h, const char *base, chopin_str protocol) {
    size_t     at   = 0;
    chopin_str rest = chopin__absent(), word;
    while ((word = chopin__ws_element(h, base, CHOPIN_STR("sec-websocket-protocol"), &at, &rest)).ptr) {
        if (chopin__equal(word, protocol)) return true;
    }
    return false;
}

static bool chopin__ws_protocols_ok(const chopin__head *h, const char *base) {
    size_t     at   = 0;
    chopin_str rest = chopin__absent(), word;
    while ((word = chopin__ws_element(h, base, CHOPIN_STR("sec-websocket-protocol"), &at, &rest)).ptr) {
        if (!chopin__is_token(word)) return false;
    }
    return true;
}

/* The first of ours that the client offers, too. */
static chopin_str chopin__ws_protocol(const chopin__head *h, const char *base, const char *ours) {
    chopin_str list = chopin__str_z(ours);
    while (list.len) {
        chopin_str word = chopin__trim(chopin__cut(&list, ','));
        if (word.len && chopin__ws_offers(h, base, word)) return word;
    }
    return chopin__absent();
}

#ifdef CHOPIN_WITH_ZLIB
/* ---- permessage-deflate, agreed on (RFC 7692 7.1) ---- */
enum { CHOPIN__WS_SERVER_FRESH = 1, CHOPIN__WS_CLIENT_FRESH = 2, CHOPIN__WS_SERVER_BITS = 4, CHOPIN__WS_CLIENT_BITS = 8 };

/* 8 to 15 without a leading zero, in quotes perhaps; 0: something else. */
static uint8_t chopin__ws_bits(chopin_str s) {
    if (s.len >= 2 && s.ptr[0] == '"' && s.ptr[s.len - 1] == '"') s = chopin__str(s.ptr + 1, s.len - 2);
    if (s.len == 1 && (s.ptr[0] == '8' || s.ptr[0] == '9')) return (uint8_t)(s.ptr[0] - '0');
    if (s.len == 2 && s.ptr[0] == '1' && s.ptr[1] >= '0' && s.ptr[1] <= '5') return (uint8_t)(10 + s.ptr[1] - '0');
    return 0;
}

/* Which parameter it is; 0: one that does not exist, or whose value is not allowed. */
static unsigned chopin__ws_parameter(chopin_str parameter, uint8_t *bits) {
    bool       valued = chopin__body_has(parameter, '=');
    chopin_str value  = parameter, name = chopin__trim(chopin__cut(&value, '='));
    *bits = valued ? chopin__ws_bits(chopin__trim(value)) : 0;
    if (chopin__equal_nocase(name, CHOPIN_STR("server_no_context_takeover"))) return valued ? 0 : CHOPIN__WS_SERVER_FRESH;
    if (chopin__equal_nocase(name, CHOPIN_STR("client_no_context_takeover"))) return valued ? 0 : CHOPIN__WS_CLIENT_FRESH;
    if (chopin__equal_nocase(name, CHOPIN_STR("server_max_window_bits")))     return *bits ? CHOPIN__WS_SERVER_BITS : 0;
    if (chopin__equal_nocase(name, CHOPIN_STR("client_max_window_bits")))     return valued && !*bits ? 0 : CHOPIN__WS_CLIENT_BITS;
    return 0;
}

/* Is this offer one that we can keep to? *given: the parameters it has. */
static bool chopin__ws_offer(chopin_str offer, const chopin__ws_deflate_terms *ours, chopin__ws_deflate_terms *agreed, unsigned *given) {
    *agreed = (chopin__ws_deflate_terms){ true, ours->server_no_takeover, ours->client_no_takeover,
                                          ours->server_bits ? ours->server_bits : 15, ours->client_bits ? ours->client_bits : 15 };
    *given = 0;
    if (!chopin__equal_nocase(chopin__trim(chopin__cut(&offer, ';')), CHOPIN_STR("permessage-deflate"))) return false;
    while (offer.len) {
        uint8_t  bits;
        unsigned which = chopin__ws_parameter(chopin__trim(chopin__cut(&offer, ';')), &bits);
        if (!which || *given & which) return false;                     // unknown, or twice: declined (7.1)
        *given |= which;
        if (which == CHOPIN__WS_SERVER_FRESH) agreed->server_no_takeover = true;
        if (which == CHOPIN__WS_CLIENT_FRESH) agreed->client_no_takeover = true;
        if (which == CHOPIN__WS_SERVER_BITS)  agreed->server_bits = (uint8_t)chopin__min(agreed->server_bits, bits);
        if (which == CHOPIN__WS_CLIENT_BITS && bits) agreed->client_bits = (uint8_t)chopin__min(agreed->client_bits, bits);
    }
    // zlib's raw deflate cannot be kept inside 256 bytes; and only a client that knows the parameter may be told of a smaller window (7.1.2.2).
    return agreed->server_bits >= 9 && (*given & CHOPIN__WS_CLIENT_BITS || agreed->client_bits == 15);
}

/* The first offer that will do (RFC 7692 5.1: they stand in the client's order) becomes terms and text. None: no compression, which is no error. */
static void chopin__ws_choose_deflate(const chopin__head *h, const char *base, const chopin__ws_deflate_terms *ours, chopin__ws_shake *s) {
    size_t     at   = 0;
    chopin_str rest = chopin__absent(), offer;
    unsigned   given;
    while (ours->on && (offer = chopin__ws_element(h, base, CHOPIN_STR("sec-websocket-extensions"), &at, &rest)).ptr) {
        chopin__ws_deflate_terms t;
        if (!chopin__ws_offer(offer, ours, &t, &given)) continue;
        int n = snprintf(s->extensions, sizeof s->extensions, "permessage-deflate%s%s", t.server_no_takeover ? "; server_no_context_takeover" : "",
                         t.client_no_takeover ? "; client_no_context_takeover" : "");
        if (given & CHOPIN__WS_SERVER_BITS || t.server_bits < 15) {
            n += snprintf(s->extensions + n, sizeof s->extensions - (size_t)n, "; server_max_window_bits=%d", t.server_bits);
        }
        if (given & CHOPIN__WS_CLIENT_BITS) snprintf(s->extensions + n, sizeof s->extensions - (size_t)n, "; client_max_window_bits=%d", t.client_bits);
        s->deflate = t;
        return;
    }
}
#endif

static int chopin__ws_refuse(chopin__ws_shake *s, int status, const char *why) {
    s->why = why;
    return status;
}

/* Looks at a complete request head. 101: a WebSocket may begin, *s says with what; else the status to answer with, s->why says what for.
 * Whether this Origin may is the caller's question. Add the lines of chopin__ws_answer() either way. */
static int chopin__ws_check(const chopin__head *h, const char *base, const chopin__ws_rules *r, chopin__ws_shake *s) {
    *s = (chopin__ws_shake){ 0 };
    if (!chopin__equal(chopin__str(base + h->method, h->method_len), CHOPIN_STR("GET"))) return chopin__ws_refuse(s, 400, "WebSocket begins with GET");
    if (h->minor == 0) return chopin__ws_refuse(s, 400, "WebSocket needs HTTP/1.1");
    if (!chopin__ws_asked(h, base)) return chopin__ws_refuse(s, 426, "no Connection: upgrade with Upgrade: websocket");
    // A body would stand where the first frame is expected.
    if (h->chunked || (h->has_length && h->content_length > 0)) return chopin__ws_refuse(s, 400, "WebSocket handshake with a body");
    if (!chopin__equal(chopin__ws_only_field(h, base, CHOPIN_STR("sec-websocket-version")), CHOPIN_STR("13"))) {
        return chopin__ws_refuse(s, 426, "WebSocket version is not 13");
    }
    chopin_str key = chopin__ws_only_field(h, base, CHOPIN_STR("sec-websocket-key"));
    if (!chopin__ws_is_key(key)) return chopin__ws_refuse(s, 400, "malformed Sec-WebSocket-Key");
    if (!chopin__ws_protocols_ok(h, base)) return chopin__ws_refuse(s, 400, "malformed Sec-WebSocket-Protocol");
    chopin__ws_accept(s->accept, key);
    s->protocol = chopin__ws_protocol(h, base, r->protocols);
#ifdef CHOPIN_WITH_ZLIB
    chopin__ws_choose_deflate(h, base, &r->deflate, s);
#endif
    return 101;
}

/* The headers of the answer, for a 101 and for a 426 (RFC 9110 15.5.22: it names what to upgrade to; RFC 6455 4.4: and the version); others have
 * none. They include Connection, so the head must not be given a second one. False: the arena is full. */
static bool chopin__ws_answer(const chopin__ws_shake *s, int status, chopin__reply *r, chopin__arena *a) {
    if (status != 101 && status != 426) return true;
    if (!chopin__lines_add(r, a, CHOPIN_STR("Upgrade"), CHOPIN_STR("websocket"))) return false;
    if (!chopin__lines_add(r, a, CHOPIN_STR("Connection"), CHOPIN_STR("Upgrade"))) return false;
    if (status == 426) return chopin__lines_add(r, a, CHOPIN_STR("Sec-WebSocket-Version"), CHOPIN_STR("13"));
    if (!chopin__lines_add(r, a, CHOPIN_STR("Sec-WebSocket-Accept"), chopin__str_z(s->accept))) return false;
    if (s->protocol.ptr && !chopin__lines_add(r, a, CHOPIN_STR("Sec-WebSocket-Protocol"), s->protocol)) return false;
    return !s->extensions[0] || chopin__lines_add(r, a, CHOPIN_STR("Sec-WebSocket-Extensions"), chopin__str_z(s->extensions));
}

/* ---- masks (RFC 6455 5.3) ---- */

/* Takes the mask off, in place; `phase` is how many bytes of this frame went before. Eight bytes in a word where there is nothing wider. */
static void chopin__ws_unmask(char *p, size_t len, const uint8_t mask[4], size_t phase) {
    uint8_t  key[8];
    uint32_t four;
    uint64_t eight, word;
    for (size_t i = 0; i < sizeof four; i++) key[i] = mask[(phase + i) & 3];
    memcpy(&four, key, sizeof four);
    eight = (uint64_t)four << 32 | four;                                // the same bytes in memory, whatever their order in a number
    memcpy(key, &eight, sizeof key);
#if defined(__x86_64__) && !defined(CHOPIN_NO_SIMD)
    const __m128i wide = _mm_set1_epi64x((long long)eight);
    for (; len >= 64; p += 64, len -= 64) {
        __m128i *at = (__m128i *)(void *)p;
        __m128i  a = _mm_loadu_si128(at), b = _mm_loadu_si128(at + 1), c = _mm_loadu_si128(at + 2), d = _mm_loadu_si128(at + 3);
        _mm_storeu_si128(at, _mm_xor_si128(a, wide));
        _mm_storeu_si128(at + 1, _mm_xor_si128(b, wide));
        _mm_storeu_si128(at + 2, _mm_xor_si128(c, wide));
        _mm_storeu_si128(at + 3, _mm_xor_si128(d, wide));
    }
    for (; len >= 16; p += 16, len -= 16) {
        __m128i *at = (__m128i *)(void *)p;
        _mm_storeu_si128(at, _mm_xor_si128(_mm_loadu_si128(at), wide));
    }
#elif defined(__aarch64__) && !defined(CHOPIN_NO_SIMD)
    const uint8x16_t wide = vreinterpretq_u8_u64(vdupq_n_u64(eight));
    for (; len >= 64; p += 64, len -= 64) {
        uint8_t *at = (uint8_t *)p;
        uint8x16_t a = vld1q_u8(at), b = vld1q_u8(at + 16), c = vld1q_u8(at + 32), d = vld1q_u8(at + 48);
        vst1q_u8(at, veorq_u8(a, wide));
        vst1q_u8(at + 16, veorq_u8(b, wide));
        vst1q_u8(at + 32, veorq_u8(c, wide));
        vst1q_u8(at + 48, veorq_u8(d, wide));
    }
    for (; len >= 16; p += 16, len -= 16) vst1q_u8((uint8_t *)p, veorq_u8(vld1q_u8((const uint8_t *)p), wide));
#endif
    for (; len >= 8; p += 8, len -= 8) {
        memcpy(&word, p, sizeof word);
        word ^= eight;
        memcpy(p, &word, sizeof word);
    }
    for (size_t i = 0; i < len; i++) p[i] = (char)(p[i] ^ (char)key[i]);
}

/* ---- frames in (RFC 6455 5.2) ---- */
enum { CHOPIN__WS_CONTINUATION, CHOPIN__WS_TEXT, CHOPIN__WS_BINARY, CHOPIN__WS_CLOSE = 8, CHOPIN__WS_PING, CHOPIN__WS_PONG };
enum {                                  // close codes (RFC 6455 7.4.1); 1003 is for a handler that wants text, or bytes, alone
    CHOPIN__WS_PROTOCOL = 1002, CHOPIN__WS_UNSUPPORTED = 1003, CHOPIN__WS_NO_STATUS = 1005, CHOPIN__WS_INVALID = 1007, CHOPIN__WS_TOO_BIG = 1009, CHOPIN__WS_INTERNAL = 1011
};
#define CHOPIN__WS_CONTROL_MAX 125

typedef struct chopin__ws_event {
    uint8_t    opcode;                  // TEXT, BINARY: a piece of such a message; CLOSE, PING, PONG
    bool       first, last;             // piece of its message
    bool       deflated;                // inflate before use, UTF-8 is not checked yet
    uint16_t   code;                    // CLOSE: 1005 if there was none
    chopin_str data;                    // of the piece: where it lay in the input; of others: inside the reader, until its next call
} chopin__ws_event;

typedef struct chopin__ws_reader {
    uint64_t max_frame, max_message;    // bytes as sent; control frames have their own bound
    uint64_t left;                      // payload of this frame that is to come
    uint64_t size;                      // payload of this message that has been announced
    const char *why;                    // what was wrong, for the log
    uint16_t failed;                    // the close code; nothing is read any more
    bool     deflate;                   // permessage-deflate was agreed on
    bool     closed;                    // a close frame came: what follows is thrown away (RFC 6455 5.5.1)
    bool     payload;                   // the head of this frame is complete
    bool     begun;                     // a piece of this message was given
    bool     deflated;                  // this message
    uint8_t  message;                   // its opcode; 0: none is under way
    uint8_t  have, need;                // bytes of the head that are here, and that are wanted
    uint8_t  phase;                     // of the mask
    uint8_t  control_len;
    uint8_t  head[14];
    chopin__utf8 utf8;                  // of this text message; a complete one leaves it as it found it
    char     control[CHOPIN__WS_CONTROL_MAX];
} chopin__ws_reader;

static void chopin__ws_reader_init(chopin__ws_reader *r, uint64_t max_frame, uint64_t max_message, bool deflate) {
    *r = (chopin__ws_reader){ .max_frame = max_frame, .max_message = max_message, .deflate = deflate, .need = 2 };
}

static CHOPIN__NOINLINE bool chopin__ws_fail(chopin__ws_reader *r, uint16_t code, const char *why) {
    r->failed = code;
    r->why = why;
    return false;
}

/* Codes that may stand in a close frame: those registered with IANA but for 1004, 1005, 1006, 1015, and those of libraries and applications (7.4). */
static bool chopin__ws_close_code_ok(unsigned code) {
    return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) || (code >= 3000 && code <= 4999);
}

static inline bool chopin__ws_is_control(const chopin__ws_reader *r) { return r->head[0] & 8; }

/* FIN, reserved bits and opcode. */
static bool chopin__ws_head_first(chopin__ws_reader *r) {
    unsigned opcode = r->head[0] & 15, reserved = r->head[0] >> 4 & 7;
    bool     known = opcode <= CHOPIN__WS_BINARY || (opcode >= CHOPIN__WS_CLOSE && opcode <= CHOPIN__WS_PONG);
    if (!known) return chopin__ws_fail(r, CHOPIN__WS_PROTOCOL, "reserved opcode");
    // RSV1 says "compressed" on the first frame of a message, and nowhere else (RFC 7692 6).
    bool rsv1 = r->deflate && (opcode == CHOPIN__WS_TEXT || opcode == CHOPIN__WS_BINARY);
    if (reserved != 0 && !(reserved == 4 && rsv1)) return chopin__ws_fail(r, CHOPIN__WS_PROTOCOL, "reserved bit set");
    if (opcode >= CHOPIN__WS_CLOSE) return r->head[0] & 0x80 ? true : chopin__ws_fail(r, CHOPIN__WS_PROTOCOL, "fragmented control frame");
    if (opcode == CHOPIN__WS_CONTINUATION && !r->message) return chopin__ws_fail(r, CHOPIN__WS_PROTOCOL, "continuation of nothing");
    if (opcode != CHOPIN__WS_CONTINUATION && r->message)  return chopin__ws_fail(r, CHOPIN__WS_PROTOCOL, "message inside a message");
    return true;
}

/* Mask bit and short length, which tell how long the head is. */
static bool chopin__ws_head_second(chopin__ws_reader *r) {
    unsigned len = r->head[1] & 127;
    if (!(r->head[1] & 0x80)) return chopin__ws_fail(r, CHOPIN__WS_PROTOCOL, "frame is not masked");
    if (chopin__ws_is_control(r) && len > CHOPIN__WS_CONTROL_MAX) return chopin__ws_fail(r, CHOPIN__WS_PROTOCOL, "control frame too long");
    r->need = len < 126 ? 6 : len == 126 ? 8 : 14;
    return true;
}

/* The length is complete: is it the shortest form, and allowed? From here on the frame belongs to its message. */
static bool chopin__ws_head_length(chopin__ws_reader *r) {
    uint64_t len = r->head[1] & 127;
    size_t   wide = (size_t)r->need - 6;
    if (wide) len = 0;
    for (size_t i = 0; i < wide; i++) len = len << 8 | r->head[2 + i];
    if (wide == 8 && len >> 63) return chopin__ws_fail(r, CHOPIN__WS_PROTOCOL, "frame length with the top bit set");
    if ((wide == 2 && len < 126) || (wide == 8 && len <= UINT16_MAX)) return chopin__ws_fail(r, CHOPIN__WS_PROTOCOL, "frame length is not minimal");
    r->left = len;
    if (chopin__ws_is_control(r)) return true;
    if (r->head[0] & 15) {
        r->message  = r->head[0] & 15;
        r->deflated = r->head[0] & 0x40;
        r->begun    = false;
        r->size     = 0;
    }
    if (len > r->max_frame) return chopin__ws_fail(r, CHOPIN__WS_TOO_BIG, "frame too large (raise chopin_options.ws_max_frame)");
    if (len > r->max_message - r->size) return chopin__ws_fail(r, CHOPIN__WS_TOO_BIG, "message too large (raise chopin_options.ws_max_message)");
    r->size += len;
    return true;
}

/* Takes bytes of the head until it is complete or the input ends. False: refused; each byte is judged when it comes, so cuts change no verdict. */
static bool chopin__ws_head(chopin__ws_reader *r, char **at, size_t *len) {
    while (r->have < r->need && *len > 0) {
        r->head[r->have++] = (uint8_t)*(*at)++;
        --*len;
        if (r->have == 1 && !chopin__ws_head_first(r))  return false;
        if (r->have == 2 && !chopin__ws_head_second(r)) return false;
        if (r->have == r->need - 4 && !chopin__ws_head_length(r)) return false;
    }
    r->payload = r->have == r->need;
    return true;
}

/* The next bytes of the payload, unmasked. */
static chopin_str chopin__ws_payload(chopin__ws_reader *r, char **at, size_t *len) {
    size_t n = r->left < *len ? (size_t)r->left : *len;
    chopin_str piece = chopin__str(*at, n);
    if (n == 0) return piece;
    chopin__ws_unmask(*at, n, r->head + r->need - 4, r->phase);
    r->phase = (uint8_t)((r->phase + n) & 3);
    r->left -= n;
    *at += n;
    *len -= n;
    return piece;
}

/* The frame is complete: the next one begins. */
static void chopin__ws_frame_done(chopin__ws_reader *r) {
    r->payload = false;
    r->have = 0;
    r->need = 2;
    r->phase = 0;
    r->control_len = 0;
}

/* RFC 6455 5.5.1: nothing, or a code and a reason in UTF-8. */
static bool chopin__ws_read_close(chopin__ws_reader *r, chopin__ws_event *e) {
    chopin__utf8 utf8 = { 0 };
    size_t len = e->data.len;
    r->closed = true;
    e->code = CHOPIN__WS_NO_STATUS;
    if (len == 0) return true;
    if (len == 1) return chopin__ws_fail(r, CHOPIN__WS_PROTOCOL, "close frame of one byte");
    e->code = (uint16_t)((unsigned char)r->control[0] << 8 | (unsigned char)r->control[1]);
    e->data = chopin__str(r->control + 2, len - 2);
    if (!chopin__ws_close_code_ok(e->code)) return chopin__ws_fail(r, CHOPIN__WS_PROTOCOL, "close code is not valid");
    if (!chopin__utf8_feed(&utf8, e->data.ptr, e->data.len) || utf8.left) return chopin__ws_fail(r, CHOPIN__WS_INVALID, "close reason is not UTF-8");
    return true;
}

/* Payload of a control frame is collected, so that it is given in one piece. 1: *e is filled, 0: more is needed, -1: refused. */
static int chopin__ws_read_control(chopin__ws_reader *r, char **at, size_t *len, chopin__ws_event *e) {
    chopin_str piece = chopin__ws_payload(r, at, len);
    if (piece.len) memcpy(r->control + r->control_len, piece.ptr, piece.len);
    r->control_len = (uint8_t)(r->control_len + piece.len);
    if (r->left) return 0;
    *e = (chopin__ws_event){ .opcode = r->head[0] & 15, .first = true, .last = true, .data = { r->control, r->control_len } };
    chopin__ws_frame_done(r);
    return e->opcode != CHOPIN__WS_CLOSE || chopin__ws_read_close(r, e) ? 1 : -1;
}

/* A piece of a message. 1: *e is filled, 0: nothing to give, -1: refused. */
static int chopin__ws_read_data(chopin__ws_reader *r, char **at, size_t *len, chopin__ws_event *e) {
    chopin_str piece = chopin__ws_payload(r, at, len);
    bool       last  = r->left == 0 && r->head[0] & 0x80;
    if (r->message == CHOPIN__WS_TEXT && !r->deflated) {
        bool ok = chopin__utf8_feed(&r->utf8, piece.ptr, piece.len) && !(last && r->utf8.left);
        if (!ok) { chopin__ws_fail(r, CHOPIN__WS_INVALID, "text is not UTF-8"); return -1; }
    }
    *e = (chopin__ws_event){ .opcode = r->message, .first = !r->begun, .last = last, .deflated = r->deflated, .data = piece };
    if (r->left == 0) chopin__ws_frame_done(r);
    if (last) r->message = 0;
    if (piece.len == 0 && !last) return 0;                              // an empty fragment says nothing
    r->begun = true;
    return 1;
}

/* Reads on from *at, where *len bytes lie; both move. The bytes are changed in place.
 *
 *     while ((rc = chopin__ws_next(&r, &at, &len, &e)) > 0) { use e, which ends with the next call or with the buffer }
 *     if (rc < 0) { send a close frame with code -rc, then close } else { receive more }
 *
 * 1: *e is filled. 0: all is consumed. Negative: minus the close code (1002, 1007, 1009) and r->why; it stays that. */
static int chopin__ws_next(chopin__ws_reader *r, char **at, size_t *len, chopin__ws_event *e) {
    while (!r->failed && !r->closed) {
        if (!r->payload && !chopin__ws_head(r, at, len)) break;
        if (!r->payload) return 0;
        bool more = r->left > 0;
        if (more && *len == 0) return 0;
        int rc = chopin__ws_is_control(r) ? chopin__ws_read_control(r, at, len, e) : chopin__ws_read_data(r, at, len, e);
        if (rc > 0) return 1;
    }
    if (r->failed) return -(int)r->failed;
    if (*len) *at += *len;
    *len = 0;
    return 0;
}

/* ---- frames out; a server's are not masked (RFC 6455 5.1) ---- */

/* Writes the 2, 4 or 10 bytes in front of `len` bytes of payload and gives their number. `deflated` belongs on the first frame of a message alone. */
static size_t chopin__ws_put_head(char out[10], unsigned opcode, bool fin, bool deflated, uint64_t len) {
    size_t wide = len < 126 ? 0 : len <= UINT16_MAX ? 2 : 8;
    out[0] = (char)(opcode | (fin ? 0x80u : 0u) | (deflated ? 0x40u : 0u));
    out[1] = (char)(wide == 0 ? len : wide == 2 ? 126 : 127);
    for (size_t i = 0; i < wide; i++) out[2 + i] = (char)(len >> (8 * (wide - 1 - i)) & 0xff);
    return 2 + wide;
}

typedef struct chopin__ws_writer {      // a message that leaves in frames of at most `max_frame` bytes
    chopin_str rest;
    size_t     max_frame;               // 0: one frame, however long
    uint8_t    opcode;                  // of the next frame
    bool       deflated;                // likewise
    bool       done;
} chopin__ws_writer;

static void chopin__ws_writer_init(chopin__ws_writer *w, unsigned opcode, bool deflated, chopin_str message, size_t max_frame) {
    *w = (chopin__ws_writer){ message, max_frame ? max_frame : SIZE_MAX, (uint8_t)opcode, deflated, false };
}

/* The next frame: its head in `head`, its payload as a view. 0: there is none any more. An empty message has one. */
static size_t chopin__ws_write(chopin__ws_writer *w, char head[10], chopin_str *payload) {
    if (w->done) return 0;
    size_t n = chopin__min(w->rest.len, w->max_frame);
    w->done = n == w->rest.len;
    *payload = chopin__str(w->rest.ptr, n);
    size_t size = chopin__ws_put_head(head, w->opcode, w->done, w->deflated, n);
    if (n) w->rest = chopin__str(w->rest.ptr + n, w->rest.len - n);
    w->opcode = CHOPIN__WS_CONTINUATION;
    w->deflated = false;
    return size;
}

/* The payload of a close frame: the code and as much of the reason as fits and is UTF-8, cut between characters. A code that must not be sent
 * (1005, 1006, 0 for "none", ...) gives an empty payload. */
static size_t chopin__ws_put_close(char out[CHOPIN__WS_CONTROL_MAX], unsigned code, chopin_str reason) {
    size_t at = 2, n;
    if (!chopin__ws_close_code_ok(code)) return 0;
    out[0] = (char)(code >> 8);
    out[1] = (char)(code & 0xff);
    while ((n = chopin__utf8_length(reason.ptr, reason.len)) > 0 && at + n <= CHOPIN__WS_CONTROL_MAX) {
        memcpy(out + at, reason.ptr, n);
        at += n;
        reason = chopin__str(reason.ptr + n, reason.len - n);
    }
    return at;
}

/* ---- pings that wait to be answered: only the latest needs a pong (RFC 6455 5.5.3), so a flood of them costs one ---- */
typedef struct chopin__ws_pong {
    bool    due;
    uint8_t len;
    char    data[CHOPIN__WS_CONTROL_MAX];
} chopin__ws_pong;

static void chopin__ws_ping(chopin__ws_pong *p, chopin_str data) {
    CHOPIN_ASSERT(data.len <= CHOPIN__WS_CONTROL_MAX);
    if (data.len) memcpy(p->data, data.ptr, data.len);
    p->len = (uint8_t)data.len;
    p->due = true;
}

/* Writes the pong frame that is due; 0: none is. */
static size_t chopin__ws_put_pong(chopin__ws_pong *p, char out[2 + CHOPIN__WS_CONTROL_MAX]) {
    char   head[10];
    size_t n = chopin__min(p->len, CHOPIN__WS_CONTROL_MAX);
    if (!p->due) return 0;
    chopin__ws_put_head(head, CHOPIN__WS_PONG, true, false, n);
    memcpy(out, head, 2);
    memcpy(out + 2, p->data, n);
    p->due = false;
    return 2 + n;
}

#ifdef CHOPIN_WITH_ZLIB
/* ---- permessage-deflate, done (RFC 7692 7.2) ---- */
#define CHOPIN__WS_ZLIB_PIECE ((size_t)1 << 30)     // zlib counts in unsigned int
#define CHOPIN__WS_ZLIB_HEAD  16                    // in front of its blocks: their size, which our allocator wants to know

static void *chopin__zlib_alloc(void *heap, unsigned count, unsigned size) {
    size_t bytes;
    if (__builtin_mul_overflow((size_t)count, (size_t)size, &bytes) || !chopin__add_ok(bytes, CHOPIN__WS_ZLIB_HEAD, &bytes)) return NULL;
    char *block = chopin__alloc(heap, bytes);
    if (!block) return NULL;
    memcpy(block, &bytes, sizeof bytes);
    return block + CHOPIN__WS_ZLIB_HEAD;
}

static void chopin__zlib_free(void *heap, void *ptr) {
    char  *block = (char *)ptr - CHOPIN__WS_ZLIB_HEAD;
    size_t bytes;
    memcpy(&bytes, block, sizeof bytes);
    chopin__release(heap, block, bytes);
}

typedef struct chopin__ws_inflater {
    z_stream z;
    uint64_t max_message;               // decoded
    uint64_t size;                      // of this message, decoded, so far
    const char *why;                    // as in the reader
    bool     open;
    bool     no_takeover;
    bool     text;                      // this message
    uint8_t  tail;                      // bytes of the end mark that were fed
    chopin__utf8 utf8;
} chopin__ws_inflater;

/* About 7 KiB, and the window as soon as something is kept in it. False: out of memory. */
static bool chopin__ws_inflate_open(chopin__ws_inflater *f, chopin__heap *heap, const chopin__ws_deflate_terms *terms, uint64_t max_message) {
    *f = (chopin__ws_inflater){ .z = { .zalloc = chopin__zlib_alloc, .zfree = chopin__zlib_free, .opaque = heap },
                                .max_message = max_message, .no_takeover = terms->client_no_takeover };
    f->open = inflateInit2(&f->z, -(int)terms->client_bits) == Z_OK;
    return f->open;
}

static void chopin__ws_inflate_close(chopin__ws_inflater *f) {
    if (f->open) inflateEnd(&f->z);
    f->open = false;
}

/* A message whose first piece is `deflated` begins. */
static void chopin__ws_inflate_begin(chopin__ws_inflater *f, bool text) {
    if (f->no_takeover) inflateReset(&f->z);
    f->text = text;
    f->tail = 0;
    f->size = 0;
    f->utf8 = (chopin__utf8){ 0 };
}

static int chopin__ws_inflate_fail(chopin__ws_inflater *f, int code, const char *why) {
    f->why = why;
    return -code;
}

/* One call of zlib, with what is next: the input, then the mark that every sender leaves out (7.2.2). Gives its verdict. */
static int chopin__ws_inflate_step(chopin__ws_inflater *f, chopin_str *in, bool last) {
    static const uint8_t mark[4] = { 0, 0, 0xff, 0xff };
    bool   ours = in->len == 0 && last;
    size_t n    = ours ? sizeof mark - f->tail : chopin__min(in->len, CHOPIN__WS_ZLIB_PIECE);
    f->z.next_in  = (Bytef *)(uintptr_t)(ours ? mark + f->tail : (const uint8_t *)in->ptr);
    f->z.avail_in = (uInt)n;
    int rc = inflate(&f->z, Z_SYNC_FLUSH);
    n -= f->z.avail_in;
    if (ours)   f->tail = (uint8_t)(f->tail + n);
    else if (n) *in = chopin__str(in->ptr + n, in->len - n);
    // A sender may end its blocks with a final one and go on behind it (7.2.3.4); the window stays.
    if (rc == Z_STREAM_END) rc = inflateResetKeep(&f->z);
    return rc == Z_BUF_ERROR ? Z_OK : rc;
}

/* Inflates as much of *in, a piece of the message (the `last` one?), as `cap` bytes at `out` take, and says how many in *n.
 * 2: `out` is full, there may be more: call again with what is left of *in, be it nothing. 0: *in is used up, go on with the next piece. 1: the
 * message is complete. Negative: minus the close code (1007 bad data or text, 1009 above max_message, 1011 no memory), f->why says what for. What was inflated is
 * never more than one byte above the limit. */
static int chopin__ws_inflate(chopin__ws_inflater *f, chopin_str *in, bool last, char *out, size_t cap, size_t *n) {
    uint64_t room = f->max_message - f->size;                           // and one byte, by which we see that there is more
    size_t   most = chopin__min(room < CHOPIN__WS_ZLIB_PIECE ? (size_t)room + 1 : CHOPIN__WS_ZLIB_PIECE, cap);
    bool     more;
    CHOPIN_ASSERT(cap > 0 && f->open);
    *n = 0;
    f->z.next_out  = (Bytef *)out;
    f->z.avail_out = (uInt)most;
    do {
        int rc = chopin__ws_inflate_step(f, in, last);
        if (rc == Z_MEM_ERROR) return chopin__ws_inflate_fail(f, CHOPIN__WS_INTERNAL, "out of memory for a compressed message");
        if (rc != Z_OK) return chopin__ws_inflate_fail(f, CHOPIN__WS_INVALID, "compressed message is damaged");
        more = in->len > 0 || (last && f->tail < 4);
    } while (more && f->z.avail_out > 0);
    *n = most - f->z.avail_out;
    f->size += *n;
    if (f->size > f->max_message) return chopin__ws_inflate_fail(f, CHOPIN__WS_TOO_BIG, "message too large (raise chopin_options.ws_max_message)");
    if (f->text && !chopin__utf8_feed(&f->utf8, out, *n)) return chopin__ws_inflate_fail(f, CHOPIN__WS_INVALID, "text is not UTF-8");
    if (f->z.avail_out == 0) return 2;
    if (!last) return 0;
    if (!(f->z.data_type & 128)) return chopin__ws_inflate_fail(f, CHOPIN__WS_INVALID, "compressed message is cut short");   // not between two blocks
    if (f->text && f->utf8.left) return chopin__ws_inflate_fail(f, CHOPIN__WS_INVALID, "text is not UTF-8");
    return 1;
}

typedef struct chopin__ws_deflater {
    z_stream z;
    bool     open;
    bool     no_takeover;
} chopin__ws_deflater;

/* `level` 1 to 9. Memory: 4 windows and as much again at most: 256 KiB for 15 bits, 6 for 9. False: out of memory. */
static bool chopin__ws_deflate_open(chopin__ws_deflater *d, chopin__heap *heap, const chopin__ws_deflate_terms *terms, int level) {
    *d = (chopin__ws_deflater){ .z = { .zalloc = chopin__zlib_alloc, .zfree = chopin__zlib_free, .opaque = heap }, .no_takeover = terms->server_no_takeover };
    d->open = deflateInit2(&d->z, level, Z_DEFLATED, -(int)terms->server_bits, terms->server_bits - 7, Z_DEFAULT_STRATEGY) == Z_OK;
    return d->open;
}

static void chopin__ws_deflate_close(chopin__ws_deflater *d) {
    if (d->open) deflateEnd(&d->z);
    d->open = false;
}

/* Bytes that chopin__ws_deflate() may want for a message of `len`; 0: too long to be compressed, send it plain. */
static size_t chopin__ws_deflate_bound(chopin__ws_deflater *d, size_t len) {
    return len > CHOPIN__WS_ZLIB_PIECE ? 0 : (size_t)deflateBound(&d->z, (uLong)len) + 16;
}

/* Compresses a whole message. False: it does not fit in `cap` bytes; nothing may be sent of it but the message as it was. */
static bool chopin__ws_deflate(chopin__ws_deflater *d, chopin_str message, char *out, size_t cap, size_t *n) {
    CHOPIN_ASSERT(cap > 0 && d->open);
    *n = 1;
    out[0] = 0;                                                         // an empty message (7.2.3.6); zlib would flush nothing twice
    if (message.len == 0) return true;
    if (message.len > CHOPIN__WS_ZLIB_PIECE) return false;
    if (d->no_takeover) deflateReset(&d->z);
    d->z.next_in   = (Bytef *)(uintptr_t)message.ptr;
    d->z.avail_in  = (uInt)message.len;
    d->z.next_out  = (Bytef *)out;
    d->z.avail_out = (uInt)chopin__min(cap, UINT32_MAX);
    deflate(&d->z, Z_SYNC_FLUSH);
    *n = chopin__min(cap, UINT32_MAX) - d->z.avail_out;
    bool ok = d->z.avail_in == 0 && d->z.avail_out > 0 && *n > 4 && memcmp(out + *n - 4, "\0\0\xff\xff", 4) == 0;
    if (ok) *n -= 4;
    else    deflateReset(&d->z);                                        // the client never saw this: nothing may refer to it
    return ok;
}
#endif

/* ==========================================================================================================
   >>io   the door between connections and the system: ports, what a backend does for them, the table of functions
   A port is a descriptor with two operations embedded, in and out. A backend speaks of finished work: epoll makes the
   system call inside wait() (or at once, in start()) and io_uring will have made it; the rooms below cannot tell them apart.
   Contract:
   - `in` of a connection and of a listener is armed once and keeps completing until stopped; that of a waiter completes once.
   - Received bytes are at event.data, inside port->buf if that is set, else in the backend's buffer, and valid until the next wait().
   - `out` takes bytes off the front of port->out and completes with their number, at least 1, or a negative errno; the owner starts it
     again while the queue is not empty. What was taken may still be on its way to the socket (`sending`); started then, on a queue that
     may be empty, `out` completes when it has arrived, with 0. What of it did not fit has come back to the front of the queue.
   - OUT | LATER is `out` that begins in the next turn.
   - start() gives true when the operation finished at once; its result is in port->result and does not come from wait().
   - After detach() nothing of that port comes back, not even from a batch already fetched: events carry slab ids.
   - wait() yields one event at a time; false means the turn is over, and the next call may sleep, until `until_ms`.
   ========================================================================================================== */
enum { CHOPIN__IN = CHOPIN_READ, CHOPIN__OUT = CHOPIN_WRITE, CHOPIN__LATER = 4, CHOPIN__HUNG = 64, CHOPIN__OVER = 128 };   // HUNG: both directions are gone; OVER: so it is remembered

typedef enum chopin__port_kind { CHOPIN__LISTENER, CHOPIN__CONNECTION, CHOPIN__WAITER, CHOPIN__TICKETED } chopin__port_kind;

typedef struct chopin__port {           // first member of every slab entry
    chopin__slab_entry   entry;
    int                  fd;
    uint8_t              kind;          // chopin__port_kind
    uint8_t              armed;         // IN, OUT: operations started and not finished
    uint8_t              ready;         // IN, OUT, HUNG: readiness a backend remembers
    bool                 listed;        // in the backend's list of things to do next turn
    bool                 sending;       // bytes were taken that are not in the socket yet
    uint8_t              live;          // what a backend has going on in the kernel
    struct chopin__port *next;          // that list
    char                *buf;           // where `in` receives to; NULL: the backend's buffer
    uint32_t             room;          // bytes free there
    int32_t              result;        // of what finished in start()
    chopin__queue        out;
    chopin__piece       *taken;         // while sending: the bytes
    struct chopin__held *held;          // input that came while nobody wanted it
} chopin__port;

typedef struct chopin__event {
    chopin__port *port;
    int           what;                 // IN, OUT or HUNG
    int64_t       result;               // IN: bytes, 0 at the end of the stream, a descriptor for listeners, events for waiters; or -errno
    const char   *data;                 // IN: the bytes
} chopin__event;

static inline bool chopin__event_is(chopin__event *event, chopin__port *port, int what, int64_t result, const char *data) {
    event->port = port;
    event->what = what;
    event->result = result;
    event->data = data;
    return true;
}

typedef struct chopin__io {
    const struct chopin__io_ops *ops;
    chopin__slab        *ports;         // where ids are looked up
    chopin__pool        *inputs;        // receive buffers, of buf_size at least
    chopin__pieces      *pieces;        // where taken bytes go back to
    const chopin__logger *logger;
    char                *buf;           // the receive buffer of this worker, the owner may swap it between turns
    size_t               buf_size;
    _Atomic uint64_t     receives, sends, waits;   // system calls made, for the tests and the counters
    void                *state;         // the backend's own
    int                  wake_fd;       // what ends a sleep, with epoll and io_uring
    int                  alarm_fd;      // what ends it in time; -1: none could be had
    int64_t              alarm_at;      // when that will
    const char          *why;           // what open() found missing
    bool                 sqpoll;        // chopin_options.sqpoll, for io_uring
    bool                 eager;         // chopin_options.defer_accept: who is accepted has sent something
    _Atomic int          outside;       // what other threads are at work on for a parked handler: >>script lets real time pass meanwhile
} chopin__io;

typedef struct chopin__io_ops {
    const char *name;
    bool    (*open)  (chopin__io *io, chopin__heap *heap);                 // false: not available here, errno says why
    bool    (*attach)(chopin__io *io, chopin__port *port, bool shared);    // makes a descriptor known, nothing armed; errno on failure
    bool    (*start) (chopin__io *io, chopin__port *port, int what);       // IN, OUT or OUT | LATER; true: finished at once
    void    (*stop)  (chopin__io *io, chopin__port *port, int what);       // disarms; what has arrived is kept for the next start
    void    (*detach)(chopin__io *io, chopin__port *port, bool close_it);
    int     (*accept)(chopin__io *io, chopin__port *port);                 // a listener's last look: a connection that waits already; -1: none
    bool    (*more)  (chopin__io *io, chopin__port *port);                 // has a connection's input come that wait() has not shown?
    void    (*flush) (chopin__io *io);                                     // nobody will wait any more: what was started is to happen
    void    (*finish)(chopin__io *io, chopin__port *port);                 // no more output will follow: shutdown(SHUT_WR)
    size_t  (*unsent)(chopin__io *io, chopin__port *port);                 // bytes sent that the other side has not acknowledged yet
    bool    (*wait)  (chopin__io *io, int64_t until_ms, chopin__event *event);
    void    (*wake)  (chopin__io *io);                                     // ends a sleep; any thread, signal handlers
    int64_t (*now)   (chopin__io *io);                                     // monotonic milliseconds; virtual under script
    int     (*fd)    (chopin__io *io);                                     // readable when wait() has something; -1: none
    bool    (*busy)  (chopin__io *io);                                     // wait() has something that fd() does not show
    void    (*close) (chopin__io *io, chopin__heap *heap);
} chopin__io_ops;

static inline void chopin__port_open(chopin__port *p, int fd, chopin__port_kind kind) {
    p->fd = fd;
    p->kind = (uint8_t)kind;
}

/* The front of a queue as iovecs, as far as it is in memory. */
static inline size_t chopin__queue_iov(const chopin__queue *q, struct iovec *iov, size_t max, size_t *bytes) {
    size_t n = 0;
    *bytes = 0;
    for (const chopin__piece *p = q->first; p && n < max && !p->source; p = p->next) {
        iov[n++] = (struct iovec){ .iov_base = (void *)(uintptr_t)p->ptr, .iov_len = p->len };
        *bytes += p->len;
    }
    return n;
}

/* send() and recv() without being points of thread cancellation, which costs glibc more instructions than the rest of the call. */
static inline ssize_t chopin__sys_send(int fd, const void *from, size_t size) {
#if defined(SYS_sendto) && !defined(CHOPIN__FIBER_TSAN)
    return syscall(SYS_sendto, fd, from, size, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
#else
    return send(fd, from, size, MSG_NOSIGNAL | MSG_DONTWAIT);
#endif
}

static inline ssize_t chopin__sys_recv(int fd, void *to, size_t size) {
#if defined(SYS_recvfrom) && !defined(CHOPIN__FIBER_TSAN)
    return syscall(SYS_recvfrom, fd, to, size, MSG_DONTWAIT, NULL, NULL);
#else
    return recv(fd, to, size, MSG_DONTWAIT);
#endif
}

/* One send from the source at the front. Short ones happen for reasons of the source's too: only EAGAIN means that the socket is full. */
static CHOPIN__NOINLINE int32_t chopin__port_send_source(chopin__port *port, bool *all) {
    const chopin__piece *p = port->out.first;
    int64_t n = p->source->send(p, port->fd, chopin__min(p->len, (size_t)1 << 20));
    *all = n >= 0 || errno != EAGAIN;
    return n > 0 ? (int32_t)n : n == 0 ? -ENODATA : -errno;
}

/* One send of the front of the queue: bytes taken, or -errno. `*all` says whether that was all it was asked for. */
static inline int32_t chopin__port_send(chopin__port *port, bool *all) {
    struct iovec iov[64];
    size_t  want;
    ssize_t n;
    if (CHOPIN__UNLIKELY(port->out.first->source != NULL)) return chopin__port_send_source(port, all);
    if (port->out.first == port->out.last) {                 // one piece: the kernel need not import a vector
        want = chopin__min(port->out.first->len, INT32_MAX);
        n = chopin__sys_send(port->fd, port->out.first->ptr, want);
    } else {
        struct msghdr msg = { .msg_iov = iov };
        msg.msg_iovlen = chopin__queue_iov(&port->out, iov, CHOPIN__COUNT(iov), &want);
        n = sendmsg(port->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT | (want < port->out.bytes ? MSG_MORE : 0));
    }
    *all = n == (ssize_t)want;
    return n < 0 ? -errno : (int32_t)n;
}

#if defined(__linux__)
/* ---- what both backends of Linux do alike ---- */

/* Ports with something to do that the kernel will not say again. */
typedef struct chopin__agenda {
    chopin__port *first, *last;         // for the next turn
    chopin__port *now;                  // what this turn looks at
} chopin__agenda;

static void chopin__agenda_add(chopin__agenda *a, chopin__port *port) {
    if (port->listed) return;
    port->listed = true;
    port->next = NULL;
    if (a->first) a->last->next = port;
    else          a->first = port;
    a->last = port;
}

static inline void chopin__agenda_turn(chopin__agenda *a) {
    a->now = a->first;
    a->first = NULL;
}

static inline chopin__port *chopin__agenda_next(chopin__agenda *a) {
    chopin__port *port = a->now;
    a->now = port->next;
    port->listed = false;
    return port;
}

static chopin__port *chopin__agenda_unlink(chopin__port **at, const chopin__port *port) {
    chopin__port *before = NULL;
    for (; *at; before = *at, at = &(*at)->next) {
        if (*at == port) { *at = port->next; break; }
    }
    return before;
}

static void chopin__agenda_remove(chopin__agenda *a, chopin__port *port) {
    if (!port->listed) return;
    chopin__agenda_unlink(&a->now, port);
    chopin__port *before = chopin__agenda_unlink(&a->first, port);
    if (a->last == port) a->last = before;
    port->listed = false;
}

static bool chopin__wake_open(chopin__io *io) {
    io->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    io->alarm_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    io->alarm_at = CHOPIN__NEVER;
    return io->wake_fd >= 0;
}

static void chopin__wake_close(chopin__io *io) {
    if (io->wake_fd >= 0) close(io->wake_fd);
    if (io->alarm_fd >= 0) close(io->alarm_fd);
}

static void chopin__wake_up(chopin__io *io) {
    ssize_t ignored = write(io->wake_fd, &(uint64_t){ 1 }, sizeof(uint64_t));
    (void)ignored;
}

static void chopin__wake_drain(int fd) {
    uint64_t drop;
    ssize_t  ignored = read(fd, &drop, sizeof drop);
    (void)ignored;
}

static void chopin__alarm_rang(chopin__io *io) {
    chopin__wake_drain(io->alarm_fd);
    io->alarm_at = CHOPIN__NEVER;
}

/* Will the alarm end a sleep by then? It may do so earlier: it stays set while others sleep and wake, since a limit for each sleep costs
 * the kernel a timer each time, 2 % of a request of a single connection. */
static bool chopin__alarm_set(chopin__io *io, int64_t until_ms) {
    if (io->alarm_at <= until_ms) return true;
    struct itimerspec at = { .it_value = { .tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000 * 1000000) } };
    if (io->alarm_fd < 0 || timerfd_settime(io->alarm_fd, TFD_TIMER_ABSTIME, &at, NULL) != 0) return false;
    io->alarm_at = until_ms;
    return true;
}

/* How long to sleep: -1 until something happens, the alarm being something. */
static int chopin__sleep_ms(chopin__io *io, int64_t until_ms) {
    if (until_ms <= 0) return 0;
    if (chopin__alarm_set(io, until_ms)) return -1;
    int64_t left = until_ms - chopin__clock_ms();
    return left < 0 ? 0 : left > 3600000 ? 3600000 : (int)left;
}

static int64_t chopin__now_of_clock(chopin__io *io) { (void)io; return chopin__clock_ms(); }

static int chopin__socket_accept(chopin__io *io, chopin__port *port) {
    (void)io;
    return accept4(port->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static bool chopin__socket_more(chopin__io *io, chopin__port *port) {
    char first;
    (void)io;
    return recv(port->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static void chopin__socket_finish(chopin__io *io, chopin__port *port) {
    (void)io;
    shutdown(port->fd, SHUT_WR);
}

static size_t chopin__socket_unsent(chopin__io *io, chopin__port *port) {
    int bytes = 0;
    (void)io;
    return ioctl(port->fd, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? (size_t)bytes : 0;
}

/* Sends what the socket takes; `*all`: that was everything offered. -EAGAIN: nothing. */
static inline void chopin__socket_send(chopin__io *io, chopin__port *port, bool *all) {
    do {
        chopin__count(&io->sends);
        port->result = chopin__port_send(port, all);
    } while (port->result == -EINTR);
    if (port->result > 0) chopin__queue_sent(&port->out, io->pieces, (size_t)port->result);
    if (port->result != -EAGAIN) port->armed &= (uint8_t)~CHOPIN__OUT;
}

/* ==========================================================================================================
   >>epoll   the backend for every Linux
   Connections are registered once, edge-triggered for everything, and the readiness is remembered in the port: no epoll_ctl for partial
   writes, pauses or parking. Two duties follow: after EPOLLRDHUP read down to 0, and after a full buffer read again.
   Listeners stay level-triggered, so that a bounded number of accepts a turn loses nothing.
   ========================================================================================================== */
#define CHOPIN__EPOLL_BATCH   512
#define CHOPIN__EPOLL_ACCEPTS 64        // of one listener and turn
#define CHOPIN__EPOLL_WAKE    UINT64_MAX
#define CHOPIN__EPOLL_ALARM   (UINT64_MAX - 1)

enum { CHOPIN__EPOLL_REGISTERED, CHOPIN__EPOLL_UNREAD, CHOPIN__EPOLL_READ };     // chopin__port.live

typedef struct chopin__epoll {
    int            fd;
    bool           fetched;             // this turn has called epoll_wait
    int            count, at;           // events of this turn, and how many have been looked at
    int            accepts;             // still allowed of `accepting`
    chopin__port  *accepting;           // a listener that may have more
    chopin__agenda agenda;              // ports with remembered readiness and something armed
    struct epoll_event events[CHOPIN__EPOLL_BATCH];
} chopin__epoll;

static bool chopin__epoll_open(chopin__io *io, chopin__heap *heap) {
    chopin__epoll *e = chopin__alloc_zero(heap, sizeof *e);
    if (!e) { errno = ENOMEM; return false; }
    e->fd = epoll_create1(EPOLL_CLOEXEC);
    io->state = e;
    struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.u64 = CHOPIN__EPOLL_WAKE };
    struct epoll_event alarm = { .events = EPOLLIN | EPOLLET, .data.u64 = CHOPIN__EPOLL_ALARM };
    return chopin__wake_open(io) && e->fd >= 0 && epoll_ctl(e->fd, EPOLL_CTL_ADD, io->wake_fd, &event) == 0
        && (io->alarm_fd < 0 || epoll_ctl(e->fd, EPOLL_CTL_ADD, io->alarm_fd, &alarm) == 0);
}

static void chopin__epoll_close(chopin__io *io, chopin__heap *heap) {
    chopin__epoll *e = io->state;
    if (!e) return;
    if (e->fd >= 0) close(e->fd);
    chopin__wake_close(io);
    chopin__release(heap, e, sizeof *e);
    io->state = NULL;
}

static bool chopin__epoll_register(chopin__io *io, chopin__port *port, bool shared) {
    chopin__epoll *e = io->state;
    struct epoll_event event = { .data.u64 = chopin__slab_id(io->ports, port) };
    switch ((chopin__port_kind)port->kind) {
    case CHOPIN__CONNECTION: event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET; break;
    case CHOPIN__LISTENER:   event.events = shared ? EPOLLIN | (uint32_t)EPOLLEXCLUSIVE : EPOLLIN; break;
    case CHOPIN__WAITER:     event.events = (port->armed & CHOPIN__IN ? EPOLLIN | EPOLLRDHUP : 0)
                                          | (port->armed & CHOPIN__OUT ? EPOLLOUT : 0) | EPOLLONESHOT; break;
    case CHOPIN__TICKETED:   break;
    }
    port->live = CHOPIN__EPOLL_REGISTERED;
    return epoll_ctl(e->fd, EPOLL_CTL_ADD, port->fd, &event) == 0;
}

/* Where clients have spoken before they are accepted, a connection is read first and registered in the turn after, if it is still there:
 * a short one never is, which saves a call. */
static bool chopin__epoll_attach(chopin__io *io, chopin__port *port, bool shared) {
    if (port->kind != CHOPIN__CONNECTION || !io->eager) return chopin__epoll_register(io, port, shared);
    port->ready = CHOPIN__IN | CHOPIN__OUT;
    port->live = CHOPIN__EPOLL_UNREAD;
    return true;
}

/* Its remembered readiness will be acted upon in the next turn. */
static void chopin__epoll_list(chopin__io *io, chopin__port *port) { chopin__agenda_add(&((chopin__epoll *)io->state)->agenda, port); }

/* Sends now. Less taken than offered means the socket is full: the next edge will say when it is not. */
static inline bool chopin__epoll_send(chopin__io *io, chopin__port *port) {
    bool all;
    chopin__socket_send(io, port, &all);
    if (!all) port->ready &= (uint8_t)~CHOPIN__OUT;
    return port->result != -EAGAIN;
}

static bool chopin__epoll_start(chopin__io *io, chopin__port *port, int what) {
    port->armed |= (uint8_t)(what & (CHOPIN__IN | CHOPIN__OUT));
    if (what == CHOPIN__OUT) return (port->ready & CHOPIN__OUT) && chopin__epoll_send(io, port);
    if (what & CHOPIN__LATER || port->ready & (CHOPIN__IN | CHOPIN__HUNG)) chopin__epoll_list(io, port);
    return false;
}

static void chopin__epoll_stop(chopin__io *io, chopin__port *port, int what) {
    port->armed &= (uint8_t)~what;
    if (CHOPIN__UNLIKELY(port->ready & CHOPIN__OVER)) chopin__epoll_list(io, port);   // its edge has passed: nobody else will say so
}

/* A closed connection leaves the set by itself; listeners and waiters may be open elsewhere too. */
static void chopin__epoll_detach(chopin__io *io, chopin__port *port, bool close_it) {
    chopin__epoll *e = io->state;
    chopin__agenda_remove(&e->agenda, port);
    if (e->accepting == port) e->accepting = NULL;
    port->armed = 0;
    if (port->kind != CHOPIN__CONNECTION) epoll_ctl(e->fd, EPOLL_CTL_DEL, port->fd, &(struct epoll_event){ 0 });
    if (close_it) close(port->fd);
}

static void chopin__epoll_flush(chopin__io *io) { (void)io; }

static bool chopin__epoll_accept(chopin__io *io, chopin__event *event) {
    chopin__epoll *e = io->state;
    chopin__port  *port = e->accepting;
    int fd = -1;
    while (e->accepts-- > 0) {
        fd = accept4(port->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0 || (errno != EINTR && errno != ECONNABORTED && errno != EPROTO)) break;
    }
    if (fd < 0) e->accepting = NULL;
    if (fd < 0 && (e->accepts < 0 || errno == EAGAIN || errno == EINTR || errno == ECONNABORTED || errno == EPROTO)) return false;
    return chopin__event_is(event, port, CHOPIN__IN, fd >= 0 ? fd : -errno, NULL);
}

/* One recv. A short one has drained the socket, unless its end is near (EPOLLRDHUP): then 0 must still be read. */
static inline bool chopin__epoll_recv(chopin__io *io, chopin__port *port, chopin__event *event) {
    char   *to = port->buf ? port->buf : io->buf;
    size_t  room = port->buf ? port->room : io->buf_size;
    ssize_t n;
    do {
        chopin__count(&io->receives);
        n = chopin__sys_recv(port->fd, to, room);
    } while (n < 0 && errno == EINTR);
    if (n < (ssize_t)room && !(n > 0 && port->ready & CHOPIN__HUNG)) port->ready &= (uint8_t)~CHOPIN__IN;
    if (n < 0 && errno == EAGAIN) return false;
    if (n <= 0) port->armed &= (uint8_t)~CHOPIN__IN;
    return chopin__event_is(event, port, CHOPIN__IN, n < 0 ? -errno : n, to);
}

/* What can be done for a port, output first: room for answers comes before more questions. */
static bool chopin__epoll_run(chopin__io *io, chopin__port *port, chopin__event *event) {
    if (CHOPIN__UNLIKELY(port->live == CHOPIN__EPOLL_UNREAD) && port->armed & CHOPIN__IN) {
        port->live = CHOPIN__EPOLL_READ;
        chopin__epoll_list(io, port);
        return chopin__epoll_recv(io, port, event);
    }
    if (CHOPIN__UNLIKELY(port->live != CHOPIN__EPOLL_REGISTERED) && !chopin__epoll_register(io, port, false))
        return chopin__event_is(event, port, CHOPIN__HUNG, 0, NULL);
    bool in = port->armed & CHOPIN__IN && port->ready & CHOPIN__IN;
    if (port->armed & CHOPIN__OUT && port->ready & CHOPIN__OUT && chopin__epoll_send(io, port)) {
        if (in) chopin__epoll_list(io, port);
        return chopin__event_is(event, port, CHOPIN__OUT, port->result, NULL);
    }
    if (!in) {                                               // nobody asks for input, but that the client is gone must be known
        if (!(port->ready & CHOPIN__OVER)) return false;
        port->ready &= (uint8_t)~CHOPIN__OVER;
        return chopin__event_is(event, port, CHOPIN__HUNG, 0, NULL);
    }
    if (!chopin__epoll_recv(io, port, event)) return false;
    if (port->ready & CHOPIN__IN && port->armed & CHOPIN__IN) chopin__epoll_list(io, port);
    return true;
}

/* RDHUP is half a farewell: input ends, output may go on. It is remembered as HUNG plus readable, so that 0 gets read;
 * only HUP and ERR mean that nobody is there. */
static inline bool chopin__epoll_event(chopin__io *io, chopin__port *port, uint32_t events, chopin__event *event) {
    chopin__epoll *e = io->state;
    if (port->kind == CHOPIN__LISTENER) {
        e->accepting = port->armed & CHOPIN__IN ? port : NULL;
        e->accepts = CHOPIN__EPOLL_ACCEPTS;
        return e->accepting && chopin__epoll_accept(io, event);
    }
    bool over = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    int  ready = (events & EPOLLIN || over ? CHOPIN__IN : 0) | (events & (EPOLLOUT | EPOLLHUP | EPOLLERR) ? CHOPIN__OUT : 0);
    if (CHOPIN__LIKELY(port->kind == CHOPIN__CONNECTION && !over && port->armed == CHOPIN__IN)) {   // most: input, and nothing to send
        port->ready |= (uint8_t)ready;
        if (!(ready & CHOPIN__IN) || !chopin__epoll_recv(io, port, event)) return false;
        if (port->ready & CHOPIN__IN && port->armed) chopin__epoll_list(io, port);
        return true;
    }
    if (port->kind == CHOPIN__WAITER) {
        return chopin__event_is(event, port, CHOPIN__IN, ready & port->armed, NULL);
    }
    if (over) port->ready |= CHOPIN__HUNG;
    if (events & (EPOLLHUP | EPOLLERR)) port->ready |= CHOPIN__OVER;
    port->ready |= (uint8_t)ready;
    return chopin__epoll_run(io, port, event);
}

/* As chopin__sys_recv(). */
static inline int chopin__sys_epoll_wait(int fd, struct epoll_event *events, int max, int ms) {
#if defined(SYS_epoll_pwait) && !defined(CHOPIN__FIBER_TSAN)
    return (int)syscall(SYS_epoll_pwait, fd, events, max, ms, NULL, 8);
#else
    return epoll_wait(fd, events, max, ms);
#endif
}

static void chopin__epoll_fetch(chopin__io *io, int64_t until_ms) {
    chopin__epoll *e = io->state;
    bool busy = e->agenda.first != NULL;
    chopin__agenda_turn(&e->agenda);
    e->at = 0;
    chopin__count(&io->waits);
    e->count = chopin__sys_epoll_wait(e->fd, e->events, CHOPIN__EPOLL_BATCH, busy ? 0 : chopin__sleep_ms(io, until_ms));
    if (e->count < 0) e->count = 0;                          // EINTR: a signal, whose handler has set what it wants to say
    e->fetched = true;
}

static bool chopin__epoll_wait(chopin__io *io, int64_t until_ms, chopin__event *event) {
    chopin__epoll *e = io->state;
    if (!e->fetched) chopin__epoll_fetch(io, until_ms);
    if (e->accepting && chopin__epoll_accept(io, event)) return true;
    while (e->at < e->count) {
        struct epoll_event *now = &e->events[e->at++];
        if (CHOPIN__UNLIKELY(now->data.u64 == CHOPIN__EPOLL_WAKE)) { chopin__wake_drain(io->wake_fd); continue; }
        if (CHOPIN__UNLIKELY(now->data.u64 == CHOPIN__EPOLL_ALARM)) { chopin__alarm_rang(io); continue; }
        chopin__port *port = chopin__slab_get(io->ports, now->data.u64);
        if (port && chopin__epoll_event(io, port, now->events, event)) return true;
    }
    while (e->agenda.now) {
        if (chopin__epoll_run(io, chopin__agenda_next(&e->agenda), event)) return true;
    }
    e->fetched = false;
    return false;
}

static int  chopin__epoll_fd(chopin__io *io) { return ((chopin__epoll *)io->state)->fd; }
static bool chopin__epoll_busy(chopin__io *io) { chopin__epoll *e = io->state; return e->agenda.first || e->accepting || e->fetched; }

static const chopin__io_ops chopin__epoll_ops = {
    "epoll", chopin__epoll_open, chopin__epoll_attach, chopin__epoll_start, chopin__epoll_stop, chopin__epoll_detach, chopin__socket_accept,
    chopin__socket_more, chopin__epoll_flush, chopin__socket_finish, chopin__socket_unsent, chopin__epoll_wait, chopin__wake_up,
    chopin__now_of_clock, chopin__epoll_fd, chopin__epoll_busy, chopin__epoll_close,
};
#endif /* __linux__ */

#if defined(__linux__) && !defined(CHOPIN_NO_URING)
/* ==========================================================================================================
   >>uring   the backend for Linux 6.1 and newer: a ring of wishes, a ring of results, one system call a turn
   Connections have one recv that repeats itself (multishot) and takes its buffers from a ring of ours; a buffer whose bytes were shown is
   given back before the next result, unless its owner has put another one in its place. Short replies leave by a send of the ring, which
   never waits: what does not fit comes back, and from then on the port is served as by epoll, by poll and sendmsg, until its queue is empty.
   Long replies go the second way at once. Results carry slab ids, so that a late one finds nobody. The ring belongs to the worker's
   thread alone (SINGLE_ISSUER) and works when that asks it to (DEFER_TASKRUN). By raw system calls: liburing is not needed.
   The structs below are the kernel's; see io_uring(7).
   ========================================================================================================== */
typedef struct chopin__sqe {            // a wish
    uint8_t  opcode, flags;
    uint16_t ioprio;
    int32_t  fd;
    uint64_t off, addr;
    uint32_t len, op_flags;
    uint64_t user_data;
    uint16_t buf_group, personality;
    int32_t  file_index;
    uint64_t rest[2];
} chopin__sqe;

typedef struct chopin__cqe {            // a result
    uint64_t user_data;
    int32_t  res;
    uint32_t flags;
} chopin__cqe;

typedef struct chopin__uring_params {
    uint32_t sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle, features, wq_fd, reserved[3];
    struct { uint32_t head, tail, ring_mask, ring_entries, flags, dropped, array, reserved; uint64_t user_addr; } sq;
    struct { uint32_t head, tail, ring_mask, ring_entries, overflow, cqes, flags, reserved; uint64_t user_addr; } cq;
} chopin__uring_params;

typedef struct chopin__uring_buf { uint64_t addr; uint32_t len; uint16_t bid, tail; } chopin__uring_buf;   // `tail` of the first one is the ring's

_Static_assert(sizeof(chopin__sqe) == 64 && sizeof(chopin__cqe) == 16 && sizeof(chopin__uring_params) == 120 && sizeof(chopin__uring_buf) == 16, "as in linux/io_uring.h");

enum {                                  // numbers of the kernel's interface
    CHOPIN__URING_SETUP = 425, CHOPIN__URING_ENTER = 426, CHOPIN__URING_REGISTER = 427,                       // system calls
    CHOPIN__SETUP_SQPOLL = 1 << 1, CHOPIN__SETUP_CQSIZE = 1 << 3, CHOPIN__SETUP_CLAMP = 1 << 4, CHOPIN__SETUP_R_DISABLED = 1 << 6,
    CHOPIN__SETUP_SUBMIT_ALL = 1 << 7, CHOPIN__SETUP_SINGLE_ISSUER = 1 << 12, CHOPIN__SETUP_DEFER_TASKRUN = 1 << 13,
    CHOPIN__FEAT_SINGLE_MMAP = 1 << 0, CHOPIN__FEAT_EXT_ARG = 1 << 8,
    CHOPIN__ENTER_GETEVENTS = 1 << 0, CHOPIN__ENTER_SQ_WAKEUP = 1 << 1, CHOPIN__ENTER_EXT_ARG = 1 << 3,
    CHOPIN__SQ_NEED_WAKEUP = 1 << 0,
    CHOPIN__REGISTER_ENABLE_RINGS = 12, CHOPIN__REGISTER_PBUF_RING = 22, CHOPIN__REGISTER_SYNC_CANCEL = 24,
    CHOPIN__OP_POLL_ADD = 6, CHOPIN__OP_ACCEPT = 13, CHOPIN__OP_ASYNC_CANCEL = 14, CHOPIN__OP_CLOSE = 19, CHOPIN__OP_SEND = 26, CHOPIN__OP_RECV = 27,
    CHOPIN__SQE_BUFFER_SELECT = 1 << 5, CHOPIN__SQE_SKIP_SUCCESS = 1 << 6,
    CHOPIN__ACCEPT_MULTISHOT = 1 << 0, CHOPIN__RECV_MULTISHOT = 1 << 1, CHOPIN__POLL_MULTISHOT = 1 << 0,
    CHOPIN__CANCEL_ALL = 1 << 0, CHOPIN__CANCEL_ANY = 1 << 2,
    CHOPIN__CQE_BUFFER = 1 << 0, CHOPIN__CQE_MORE = 1 << 1, CHOPIN__CQE_BUFFER_SHIFT = 16,
};

enum { CHOPIN__URING_ENTRIES = 1024, CHOPIN__URING_BUFFERS = 1024, CHOPIN__URING_BUFFERS_FIRST = 32, CHOPIN__URING_PART = 16384, CHOPIN__URING_DIRECT = 32768, CHOPIN__URING_NOBODY = -1, CHOPIN__URING_KEPT = -2 };

/* What a result belongs to, in bits 24 to 31 of user_data; below stands the index in the slab, above its generation. */
typedef enum chopin__uring_kind { CHOPIN__U_NOTHING, CHOPIN__U_RECV, CHOPIN__U_INPUT, CHOPIN__U_ACCEPT, CHOPIN__U_SEND, CHOPIN__U_ROOM, CHOPIN__U_HANGUP, CHOPIN__U_WAIT, CHOPIN__U_WAKE, CHOPIN__U_ALARM } chopin__uring_kind;

/* chopin__port.live */
enum { CHOPIN__LIVE_IN = 1, CHOPIN__LIVE_ENDING = 2, CHOPIN__LIVE_ROOM = 4, CHOPIN__LIVE_HANGUP = 8, CHOPIN__LIVE_POLL = 16, CHOPIN__LIVE_TOLD = 32 };    // POLL: IN is a poll; TOLD: a result of its send has come

typedef struct chopin__held {           // input that came while its port was stopped, oldest first
    struct chopin__held *next;
    char    *block;                     // of io->inputs
    uint32_t at, len;
} chopin__held;

typedef struct chopin__uring {
    int            fd;
    bool           enabled, polled, fetched;
    uint32_t      *sq_head, *sq_tail, *sq_flags, *cq_head, *cq_tail;      // shared with the kernel
    chopin__sqe   *sqes;
    chopin__cqe   *cqes;
    uint32_t       sq_mask, cq_mask, entries;
    uint32_t       tail, handed;        // wishes written, and handed over
    uint32_t       head, seen;          // results taken, and known to be there
    void          *rings;
    size_t         rings_size, sqes_size;
    chopin__uring_buf *ring;            // of buffers
    uint16_t       ring_tail;
    int            buffers;             // how many there are by now
    char          *block[CHOPIN__URING_BUFFERS];
    int            current;             // whose bytes are in io->buf: a buffer of the ring, NOBODY, or KEPT: somebody's held ones
    char          *own;                 // io->buf while NOBODY
    chopin__piece *orphans;             // taken from ports that are gone, until their send is done
    chopin__agenda agenda;              // ports whose input goes on, or begins again
} chopin__uring;

/* ---- the two rings ---- */

static inline uint32_t chopin__uring_load(const uint32_t *at) { return __atomic_load_n(at, __ATOMIC_ACQUIRE); }
static inline void     chopin__uring_store(uint32_t *at, uint32_t value) { __atomic_store_n(at, value, __ATOMIC_RELEASE); }

/* Hands over what was written, and sleeps for `ms` (-1: for ever; 0: not at all) until a result is there. */
static void chopin__uring_enter(chopin__uring *u, int64_t ms, bool results) {
    struct { int64_t sec, nsec; } ts = { ms / 1000, ms % 1000 * 1000000 };
    struct { uint64_t sigmask; uint32_t size, min_wait; uint64_t ts; } arg = { .size = 8, .ts = ms > 0 ? (uint64_t)(uintptr_t)&ts : 0 };
    uint32_t count = u->tail - u->handed;
    unsigned flags = (results ? CHOPIN__ENTER_GETEVENTS : 0) | CHOPIN__ENTER_EXT_ARG;
    chopin__uring_store(u->sq_tail, u->tail);
    if (u->polled) {
        u->handed = u->tail;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);             // the tail must be seen before the flag is looked at
        if (chopin__uring_load(u->sq_flags) & CHOPIN__SQ_NEED_WAKEUP) flags |= CHOPIN__ENTER_SQ_WAKEUP;
        else if (!results || ms == 0) return;
    }
    long n = syscall(CHOPIN__URING_ENTER, u->fd, count, results && ms ? 1 : 0, flags, &arg, sizeof arg);
    if (n > 0 && !u->polled) u->handed += (uint32_t)n;
}

/* The next wish, empty. The ring may have to be handed over first. */
static chopin__sqe *chopin__uring_wish(chopin__uring *u, unsigned opcode, int fd, uint64_t user_data) {
    for (int tries = 0; CHOPIN__UNLIKELY(u->tail - chopin__uring_load(u->sq_head) >= u->entries); tries++) {
        if (tries) sched_yield();                            // its thread is behind
        chopin__uring_enter(u, 0, false);
    }
    chopin__sqe *s = &u->sqes[u->tail++ & u->sq_mask];
    *s = (chopin__sqe){ .opcode = (uint8_t)opcode, .fd = fd, .user_data = user_data };
    return s;
}

static inline uint64_t chopin__uring_id(const chopin__io *io, const chopin__port *port, chopin__uring_kind kind) {
    return chopin__slab_id(io->ports, port) | (uint64_t)kind << 24;
}

/* Whose it is; NULL: nobody's any more. */
static inline chopin__port *chopin__uring_port(const chopin__io *io, uint64_t user_data) {
    return chopin__slab_get(io->ports, user_data & ~(UINT64_C(0xff) << 24));
}

static void chopin__uring_cancel(chopin__io *io, const chopin__port *port, chopin__uring_kind kind) {
    chopin__sqe *s = chopin__uring_wish(io->state, CHOPIN__OP_ASYNC_CANCEL, -1, CHOPIN__U_NOTHING);
    s->addr = chopin__uring_id(io, port, kind);
    s->flags = CHOPIN__SQE_SKIP_SUCCESS;
}

static void chopin__uring_poll_for(chopin__uring *u, int fd, uint64_t user_data, unsigned events, unsigned flags) {
    chopin__sqe *s = chopin__uring_wish(u, CHOPIN__OP_POLL_ADD, fd, user_data);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    events = events << 16 | events >> 16;                    // two 16-bit halves, the kernel says
#endif
    s->op_flags = events;
    s->len = flags;
}

static void chopin__uring_poll(chopin__io *io, const chopin__port *port, chopin__uring_kind kind, unsigned events, unsigned flags) {
    chopin__uring_poll_for(io->state, port->fd, chopin__uring_id(io, port, kind), events, flags);
}

/* ---- buffers ---- */

static void chopin__uring_offer(chopin__uring *u, int bid, const chopin__io *io) {
    chopin__uring_buf *b = &u->ring[u->ring_tail & (CHOPIN__URING_BUFFERS - 1)];
    b->addr = (uint64_t)(uintptr_t)u->block[bid];
    b->len = (uint32_t)chopin__min(io->buf_size, CHOPIN__URING_PART);
    b->bid = (uint16_t)bid;
    u->ring_tail++;
    __atomic_store_n(&u->ring[0].tail, u->ring_tail, __ATOMIC_RELEASE);
}

/* More buffers, up to `count`. False: not one more. */
static bool chopin__uring_grow(chopin__io *io, int count) {
    chopin__uring *u = io->state;
    int before = u->buffers;
    while (u->buffers < count && u->buffers < CHOPIN__URING_BUFFERS) {
        char *block = chopin__pool_take(io->inputs);
        if (!block) break;
        u->block[u->buffers] = block;
        chopin__uring_offer(u, u->buffers++, io);
    }
    return u->buffers > before;
}

/* What io->buf held has been seen: it may be filled again. */
static inline void chopin__uring_done_with(chopin__io *io) {
    chopin__uring *u = io->state;
    if (u->current == CHOPIN__URING_NOBODY) return;
    if (CHOPIN__LIKELY(u->current >= 0)) {
        u->block[u->current] = io->buf;
        chopin__uring_offer(u, u->current, io);
    } else {
        chopin__pool_give(io->inputs, io->buf);
    }
    io->buf = u->own;
    u->current = CHOPIN__URING_NOBODY;
}

static inline char *chopin__uring_show(chopin__io *io, int current, char *block) {
    chopin__uring *u = io->state;
    u->own = io->buf;
    u->current = current;
    return io->buf = block;
}

/* Waits until the kernel has let go of what `user_data` names, or, by flags, of everything. Of no effect on a thread that is not the ring's. */
static void chopin__uring_cancel_now(chopin__uring *u, uint64_t user_data, unsigned flags) {
    struct { uint64_t addr; int32_t fd; uint32_t flags; int64_t sec, nsec; uint8_t opcode, pad[7]; uint64_t pad2[3]; } reg = {
        .addr = user_data, .fd = -1, .flags = flags, .sec = -1, .nsec = -1 };
    if (!u->enabled) return;
    chopin__uring_enter(u, 0, false);
    syscall(CHOPIN__URING_REGISTER, u->fd, CHOPIN__REGISTER_SYNC_CANCEL, &reg, 1);
    chopin__uring_enter(u, 0, true);                         // its request, and with that its file, is released when its result is written
}

/* ---- opening and closing ---- */

static bool chopin__uring_map(chopin__uring *u, const chopin__uring_params *p) {
    size_t sq = p->sq.array + p->sq_entries * sizeof(uint32_t), cq = p->cq.cqes + p->cq_entries * sizeof(chopin__cqe);
    u->rings_size = chopin__max(sq, cq);
    u->sqes_size = p->sq_entries * sizeof(chopin__sqe);
    char *rings = mmap(NULL, u->rings_size, PROT_READ | PROT_WRITE, MAP_SHARED, u->fd, 0);
    void *sqes = mmap(NULL, u->sqes_size, PROT_READ | PROT_WRITE, MAP_SHARED, u->fd, 0x10000000);
    void *ring = mmap(NULL, CHOPIN__URING_BUFFERS * sizeof(chopin__uring_buf), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    u->rings = rings == MAP_FAILED ? NULL : rings;
    u->sqes = sqes == MAP_FAILED ? NULL : sqes;
    u->ring = ring == MAP_FAILED ? NULL : ring;
    if (!u->rings || !u->sqes || !u->ring) return false;
    u->sq_head = (uint32_t *)(void *)(rings + p->sq.head);
    u->sq_tail = (uint32_t *)(void *)(rings + p->sq.tail);
    u->sq_flags = (uint32_t *)(void *)(rings + p->sq.flags);
    u->cq_head = (uint32_t *)(void *)(rings + p->cq.head);
    u->cq_tail = (uint32_t *)(void *)(rings + p->cq.tail);
    u->cqes = (chopin__cqe *)(void *)(rings + p->cq.cqes);
    u->sq_mask = p->sq_entries - 1;
    u->cq_mask = p->cq_entries - 1;
    u->entries = p->sq_entries;
    for (uint32_t i = 0; i < p->sq_entries; i++) ((uint32_t *)(void *)(rings + p->sq.array))[i] = i;
    return true;
}

static bool chopin__uring_register_buffers(chopin__uring *u) {
    struct { uint64_t addr; uint32_t entries; uint16_t group, flags; uint64_t reserved[3]; } reg = {
        .addr = (uint64_t)(uintptr_t)u->ring, .entries = CHOPIN__URING_BUFFERS };
    return syscall(CHOPIN__URING_REGISTER, u->fd, CHOPIN__REGISTER_PBUF_RING, &reg, 1) == 0;
}

/* `io->why` names what is missing; errno tells more. A kernel that knows DEFER_TASKRUN (6.1) knows all that is used here; ring and buffers are tried. */
static bool chopin__uring_open(chopin__io *io, chopin__heap *heap) {
    chopin__uring_params p = { .cq_entries = 4 * CHOPIN__URING_ENTRIES, .sq_thread_idle = 100 };
    chopin__uring *u = chopin__alloc_zero(heap, sizeof *u);
    io->why = "memory";
    if (!u) { errno = ENOMEM; return false; }
    io->state = u;
    u->current = CHOPIN__URING_NOBODY;
    u->polled = io->sqpoll;
    u->fd = -1;
    p.flags = CHOPIN__SETUP_CLAMP | CHOPIN__SETUP_CQSIZE | CHOPIN__SETUP_R_DISABLED | CHOPIN__SETUP_SUBMIT_ALL | CHOPIN__SETUP_SINGLE_ISSUER
            | (u->polled ? CHOPIN__SETUP_SQPOLL : CHOPIN__SETUP_DEFER_TASKRUN);
    io->why = "a descriptor";
    if (!chopin__wake_open(io)) return false;
    io->why = "io_uring_setup() with SINGLE_ISSUER and DEFER_TASKRUN (Linux 6.1, not forbidden by seccomp or kernel.io_uring_disabled)";
    u->fd = (int)syscall(CHOPIN__URING_SETUP, CHOPIN__URING_ENTRIES, &p);
    if (u->fd < 0) return false;
    fcntl(u->fd, F_SETFD, FD_CLOEXEC);
    io->why = "waiting with a deadline, or one map for both rings";
    if ((p.features & (CHOPIN__FEAT_SINGLE_MMAP | CHOPIN__FEAT_EXT_ARG)) != (CHOPIN__FEAT_SINGLE_MMAP | CHOPIN__FEAT_EXT_ARG)) { errno = ENOSYS; return false; }
    io->why = "memory for its rings (RLIMIT_MEMLOCK)";
    if (!chopin__uring_map(u, &p)) return false;
    io->why = "a ring of buffers";
    if (!chopin__uring_register_buffers(u)) return false;
    io->why = "a slab of fewer than 2^24 entries";
    return io->ports->capacity < 1 << 24;
}

/* Connections whose end was only written down: no thread but the worker's may hand it over. */
static void chopin__uring_close_unsent(chopin__uring *u) {
    for (uint32_t i = u->handed; i != u->tail; i++) {
        const chopin__sqe *s = &u->sqes[i & u->sq_mask];
        if (s->opcode == CHOPIN__OP_CLOSE) close(s->fd);
    }
}

static void chopin__uring_close(chopin__io *io, chopin__heap *heap) {
    chopin__uring *u = io->state;
    if (!u) return;
    if (u->rings && u->sqes) {
        chopin__uring_cancel_now(u, 0, CHOPIN__CANCEL_ALL | CHOPIN__CANCEL_ANY);
        chopin__uring_close_unsent(u);
    }
    if (u->fd >= 0) close(u->fd);
    chopin__wake_close(io);
    if (u->rings) munmap(u->rings, u->rings_size);
    if (u->sqes) munmap(u->sqes, u->sqes_size);
    if (u->ring) munmap(u->ring, CHOPIN__URING_BUFFERS * sizeof(chopin__uring_buf));
    for (int i = 0; i < u->buffers; i++) {
        if (i != u->current) chopin__pool_give(io->inputs, u->block[i]);
    }
    if (u->current != CHOPIN__URING_NOBODY) chopin__pool_give(io->inputs, u->own);         // io->buf is the owner's to give back
    for (chopin__piece *p = u->orphans, *next; p; p = next) { next = p->next; chopin__piece_free(io->pieces, p); }
    chopin__release(heap, u, sizeof *u);
    io->state = NULL;
}

/* ---- ports ---- */

static void chopin__uring_list(chopin__io *io, chopin__port *port) { chopin__agenda_add(&((chopin__uring *)io->state)->agenda, port); }

static bool chopin__uring_attach(chopin__io *io, chopin__port *port, bool shared) {
    (void)shared;
    if (port->kind == CHOPIN__CONNECTION) { port->ready = CHOPIN__OUT; return true; }
    if (port->kind != CHOPIN__WAITER) return true;
    chopin__uring_poll(io, port, CHOPIN__U_WAIT, (unsigned)((port->armed & CHOPIN__IN ? POLLIN | EPOLLRDHUP : 0) | (port->armed & CHOPIN__OUT ? POLLOUT : 0)), 0);
    return true;
}

/* Nobody reads, so that the client is gone would show nowhere. */
static void chopin__uring_watch(chopin__io *io, chopin__port *port) {
    if (port->kind != CHOPIN__CONNECTION || port->live & (CHOPIN__LIVE_IN | CHOPIN__LIVE_HANGUP)) return;
    port->live |= CHOPIN__LIVE_HANGUP;
    chopin__uring_poll(io, port, CHOPIN__U_HANGUP, 0, CHOPIN__POLL_MULTISHOT);     // hangups come unasked, half ones too: those we know of
}

/* Much is expected in a buffer of the port's own: then it is received straight there, by poll and recv. The ring's buffers would all be used in turn, and copied. */
static bool chopin__uring_direct(const chopin__port *port) { return port->kind == CHOPIN__CONNECTION && port->buf && port->room >= CHOPIN__URING_DIRECT; }

static void chopin__uring_receive(chopin__io *io, chopin__port *port) {
    bool listener = port->kind == CHOPIN__LISTENER;
    if (CHOPIN__UNLIKELY(chopin__uring_direct(port))) {
        port->live |= CHOPIN__LIVE_IN | CHOPIN__LIVE_POLL;
        chopin__uring_poll(io, port, CHOPIN__U_INPUT, POLLIN, 0);
        return;
    }
    chopin__sqe *s = chopin__uring_wish(io->state, listener ? CHOPIN__OP_ACCEPT : CHOPIN__OP_RECV, port->fd,
                                        chopin__uring_id(io, port, listener ? CHOPIN__U_ACCEPT : CHOPIN__U_RECV));
    port->live |= CHOPIN__LIVE_IN;
    if (listener) {
        s->ioprio = CHOPIN__ACCEPT_MULTISHOT;
        s->op_flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
    } else {
        s->ioprio = CHOPIN__RECV_MULTISHOT;
        s->flags = CHOPIN__SQE_BUFFER_SELECT;
    }
}

/* The recv that repeats itself is to end; what it has taken comes first. */
static void chopin__uring_end_recv(chopin__io *io, chopin__port *port) {
    if ((port->live & (CHOPIN__LIVE_IN | CHOPIN__LIVE_ENDING | CHOPIN__LIVE_POLL)) != CHOPIN__LIVE_IN) return;
    port->live |= CHOPIN__LIVE_ENDING;
    chopin__uring_cancel(io, port, CHOPIN__U_RECV);
}

/* The short way: one block, handed to the ring. It counts as taken. */
static inline bool chopin__uring_send(chopin__io *io, chopin__port *port) {
    chopin__piece *p = port->out.first;
    chopin__sqe   *s = chopin__uring_wish(io->state, CHOPIN__OP_SEND, port->fd, chopin__uring_id(io, port, CHOPIN__U_SEND));
    s->addr = (uint64_t)(uintptr_t)p->ptr;
    s->len = (uint32_t)p->len;
    s->op_flags = MSG_NOSIGNAL | MSG_DONTWAIT | MSG_WAITALL;                       // less than all of it is a failure: see chopin__uring_hush()
    chopin__count(&io->sends);
    port->result = (int32_t)p->len;
    port->taken = p;
    port->sending = true;
    port->out = (chopin__queue){ 0 };
    port->armed &= (uint8_t)~CHOPIN__OUT;
    return true;
}

static void chopin__uring_await_room(chopin__io *io, chopin__port *port) {
    port->ready &= (uint8_t)~CHOPIN__OUT;
    if (!(port->live & CHOPIN__LIVE_ROOM)) chopin__uring_poll(io, port, CHOPIN__U_ROOM, POLLOUT, 0);
    port->live |= CHOPIN__LIVE_ROOM;
}

/* The long way. What the socket does not take now waits for room in it. */
static bool chopin__uring_send_now(chopin__io *io, chopin__port *port) {
    bool all;
    chopin__socket_send(io, port, &all);
    if (!all) chopin__uring_await_room(io, port);
    return port->result != -EAGAIN;
}

static inline bool chopin__uring_start_out(chopin__io *io, chopin__port *port) {
    port->armed |= CHOPIN__OUT;
    if (port->sending || !(port->ready & CHOPIN__OUT)) return false;
    if (CHOPIN__LIKELY(port->out.first == port->out.last && port->out.first->block)) return chopin__uring_send(io, port);
    return chopin__uring_send_now(io, port);
}

static bool chopin__uring_start(chopin__io *io, chopin__port *port, int what) {
    if (what == CHOPIN__OUT) return chopin__uring_start_out(io, port);
    port->armed |= (uint8_t)(what & (CHOPIN__IN | CHOPIN__OUT));
    if (what & CHOPIN__LATER) { chopin__uring_list(io, port); return false; }
    if (port->held || port->ready & CHOPIN__HUNG)  chopin__uring_list(io, port);
    else if (!(port->live & CHOPIN__LIVE_IN))      chopin__uring_receive(io, port);
    else if (chopin__uring_direct(port))           chopin__uring_end_recv(io, port);
    return false;
}

static void chopin__uring_stop(chopin__io *io, chopin__port *port, int what) {
    port->armed &= (uint8_t)~what;
    if (what == CHOPIN__IN) chopin__uring_watch(io, port);   // what is under way goes on: as a rule nothing comes, and the next start costs nothing
}

/* A connection that was accepted and not yet shown, then those the kernel has. */
static int chopin__uring_accept(chopin__io *io, chopin__port *port) {
    chopin__uring *u = io->state;
    uint64_t id = chopin__uring_id(io, port, CHOPIN__U_ACCEPT);
    if (port->live & CHOPIN__LIVE_IN) chopin__uring_cancel_now(u, id, 0);    // lest it accepts for nobody
    port->live = 0;
    for (uint32_t at = u->head, end = chopin__uring_load(u->cq_tail); at != end; at++) {
        chopin__cqe *e = &u->cqes[at & u->cq_mask];
        if (e->user_data != id || e->res < 0) continue;
        e->user_data = CHOPIN__U_NOTHING;
        return e->res;
    }
    return chopin__socket_accept(io, port);
}

static void chopin__uring_drop_held(chopin__io *io, chopin__port *port, chopin__held *held) {
    port->held = held->next;
    if (held->block) chopin__pool_give(io->inputs, held->block);
    chopin__pool_give(&io->pieces->nodes, held);
}

/* With the next turn's call, as a rule. ThreadSanitizer must see it: else it takes the next file of that number for this one. */
static void chopin__uring_close_port(chopin__uring *u, const chopin__port *port) {
#if !defined(CHOPIN__FIBER_TSAN)
    if (port->kind == CHOPIN__CONNECTION && u->enabled) {
        chopin__uring_wish(u, CHOPIN__OP_CLOSE, port->fd, CHOPIN__U_NOTHING)->flags = CHOPIN__SQE_SKIP_SUCCESS;
        return;
    }
#endif
    (void)u;
    close(port->fd);
}

static void chopin__uring_detach(chopin__io *io, chopin__port *port, bool close_it) {
    chopin__uring *u = io->state;
    chopin__agenda_remove(&u->agenda, port);
    if (port->kind == CHOPIN__LISTENER && port->live & CHOPIN__LIVE_IN) chopin__uring_cancel_now(u, chopin__uring_id(io, port, CHOPIN__U_ACCEPT), 0);
    if (port->kind == CHOPIN__WAITER && port->armed)                    chopin__uring_cancel(io, port, CHOPIN__U_WAIT);
    if (port->kind == CHOPIN__CONNECTION) {
        if (port->live & CHOPIN__LIVE_IN)     chopin__uring_cancel(io, port, port->live & CHOPIN__LIVE_POLL ? CHOPIN__U_INPUT : CHOPIN__U_RECV);
        if (port->live & CHOPIN__LIVE_ROOM)   chopin__uring_cancel(io, port, CHOPIN__U_ROOM);
        if (port->live & CHOPIN__LIVE_HANGUP) chopin__uring_cancel(io, port, CHOPIN__U_HANGUP);
    }
    while (port->held) chopin__uring_drop_held(io, port, port->held);
    if (port->sending) {                                     // its bytes are still to be read
        port->taken->next = u->orphans;
        port->taken->arg = (void *)(uintptr_t)chopin__slab_id(io->ports, port);
        u->orphans = port->taken;
    }
    port->armed = port->live = 0;
    port->sending = false;
    if (close_it) chopin__uring_close_port(u, port);
}

static bool chopin__uring_more(chopin__io *io, chopin__port *port) {
    const chopin__uring *u = io->state;
    uint64_t id = chopin__uring_id(io, port, CHOPIN__U_RECV);
    for (uint32_t at = u->head, end = chopin__uring_load(u->cq_tail); at != end; at++) {
        const chopin__cqe *e = &u->cqes[at & u->cq_mask];
        if (e->user_data == id && e->res > 0) return true;
    }
    return port->held || chopin__socket_more(io, port);
}

static void chopin__uring_flush(chopin__io *io) {
    chopin__uring_cancel_now(io->state, 0, CHOPIN__CANCEL_ALL | CHOPIN__CANCEL_ANY);       // else it would go on after us, and interrupt this thread's system calls
}

/* ---- results ---- */

/* Input that nobody wants now. The client is made to stop after it: the recv ends, and TCP does the rest. */
static bool chopin__uring_hold(chopin__io *io, chopin__port *port, char *block, uint32_t at, uint32_t len) {
    chopin__held *held = chopin__pool_take(&io->pieces->nodes), **last = &port->held;
    if (!held) return false;
    *held = (chopin__held){ .block = block, .at = at, .len = len };
    while (*last) last = &(*last)->next;
    *last = held;
    port->ready |= CHOPIN__IN;
    chopin__uring_end_recv(io, port);
    return true;
}

/* Takes the buffer `bid` out of the ring, as somebody's own. */
static char *chopin__uring_steal(chopin__io *io, int bid) {
    chopin__uring *u = io->state;
    char *fresh = chopin__pool_take(io->inputs), *block = fresh ? u->block[bid] : NULL;
    if (fresh) u->block[bid] = fresh;
    chopin__uring_offer(u, bid, io);
    return block;
}

static bool chopin__uring_lost(chopin__port *port, chopin__event *event) {
    return chopin__event_is(event, port, CHOPIN__HUNG, 0, NULL);
}

/* `n` bytes in buffer `bid`. */
static inline bool chopin__uring_input(chopin__io *io, chopin__port *port, int bid, uint32_t n, chopin__event *event) {
    chopin__uring *u = io->state;
    if (CHOPIN__LIKELY(port->armed & CHOPIN__IN && !port->held && !port->buf)) {
        return chopin__event_is(event, port, CHOPIN__IN, n, chopin__uring_show(io, bid, u->block[bid]));
    }
    uint32_t part = 0;
    if (port->armed & CHOPIN__IN && !port->held) {           // into the port's own buffer, as much as there is room for
        part = n < port->room ? n : port->room;
        memcpy(port->buf, u->block[bid], part);
        chopin__event_is(event, port, CHOPIN__IN, part, port->buf);
    }
    if (part == n) { chopin__uring_offer(u, bid, io); return true; }
    char *block = chopin__uring_steal(io, bid);
    if (!block || !chopin__uring_hold(io, port, block, part, n - part)) {
        if (block) chopin__pool_give(io->inputs, block);
        return chopin__uring_lost(port, event);
    }
    if (port->armed & CHOPIN__IN) chopin__uring_list(io, port);
    return part > 0;
}

/* Output that was put off to this turn. */
static bool chopin__uring_run_out(chopin__io *io, chopin__port *port, chopin__event *event) {
    if (!(port->armed & CHOPIN__OUT) || !(port->ready & CHOPIN__OUT) || port->sending || !port->out.first) return false;
    if (!chopin__uring_send_now(io, port)) return false;
    if (port->armed & CHOPIN__IN) chopin__uring_list(io, port);                    // its input is looked at next
    return chopin__event_is(event, port, CHOPIN__OUT, port->result, NULL);
}

/* The oldest of what was held back, then the end of the stream, then whatever comes new. */
static bool chopin__uring_run(chopin__io *io, chopin__port *port, chopin__event *event) {
    chopin__held *held = port->held;
    if (CHOPIN__UNLIKELY(port->armed & CHOPIN__OUT) && chopin__uring_run_out(io, port, event)) return true;
    if (!(port->armed & CHOPIN__IN)) { chopin__uring_watch(io, port); return false; }
    if (!held && port->ready & CHOPIN__HUNG) {
        port->armed &= (uint8_t)~CHOPIN__IN;
        return chopin__event_is(event, port, CHOPIN__IN, 0, NULL);
    }
    if (!held) {
        if (!(port->live & CHOPIN__LIVE_IN)) chopin__uring_receive(io, port);
        return false;
    }
    uint32_t part = held->len;
    if (port->buf) {
        part = part < port->room ? part : port->room;
        memcpy(port->buf, held->block + held->at, part);
        chopin__event_is(event, port, CHOPIN__IN, part, port->buf);
    } else {
        if (held->at) memmove(held->block, held->block + held->at, part);          // whoever keeps it keeps all of it
        chopin__event_is(event, port, CHOPIN__IN, part, chopin__uring_show(io, CHOPIN__URING_KEPT, held->block));
        held->block = NULL;
    }
    held->at += part;
    held->len -= part;
    if (!held->len) chopin__uring_drop_held(io, port, held);
    if (!port->held) port->ready &= (uint8_t)~CHOPIN__IN;
    chopin__uring_list(io, port);
    return true;
}

/* A recv has ended: `res` says why. */
static bool chopin__uring_input_over(chopin__io *io, chopin__port *port, int32_t res, chopin__event *event) {
    chopin__uring *u = io->state;
    if (res == -ENOBUFS && (uint32_t)u->buffers < io->ports->used) chopin__uring_grow(io, 2 * u->buffers);      // one busy sender is no reason
    if (res == -ENOBUFS || res == -ECANCELED || res == -EINTR || res == -EAGAIN) { chopin__uring_list(io, port); return false; }
    if (res < 0) return chopin__uring_lost(port, event);
    port->ready |= CHOPIN__HUNG;
    return chopin__uring_run(io, port, event);
}

static inline bool chopin__uring_received(chopin__io *io, chopin__port *port, const chopin__cqe *e, chopin__event *event) {
    chopin__count(&io->receives);
    if (CHOPIN__UNLIKELY(!(e->flags & CHOPIN__CQE_MORE))) {
        port->live &= (uint8_t)~(CHOPIN__LIVE_IN | CHOPIN__LIVE_ENDING);
        if (e->res > 0) chopin__uring_list(io, port); // it will want another one
    }
    if (CHOPIN__LIKELY(e->res > 0)) return chopin__uring_input(io, port, (int)(e->flags >> CHOPIN__CQE_BUFFER_SHIFT), (uint32_t)e->res, event);
    if (e->flags & CHOPIN__CQE_BUFFER) chopin__uring_offer(io->state, (int)(e->flags >> CHOPIN__CQE_BUFFER_SHIFT), io);
    return chopin__uring_input_over(io, port, e->res, event);
}

/* Something can be received, straight into the port's own buffer. */
static bool chopin__uring_readable(chopin__io *io, chopin__port *port, chopin__event *event) {
    port->live &= (uint8_t)~(CHOPIN__LIVE_IN | CHOPIN__LIVE_ENDING | CHOPIN__LIVE_POLL);
    if (!(port->armed & CHOPIN__IN)) { chopin__uring_watch(io, port); return false; }
    char   *to = port->buf ? port->buf : io->buf;
    ssize_t n = chopin__sys_recv(port->fd, to, port->buf ? port->room : io->buf_size);
    chopin__count(&io->receives);
    if (n == 0) return chopin__uring_input_over(io, port, 0, event);
    if (n < 0)  return chopin__uring_input_over(io, port, -errno, event);
    chopin__uring_list(io, port);                            // it will want more
    return chopin__event_is(event, port, CHOPIN__IN, n, to);
}

static bool chopin__uring_accepted(chopin__io *io, chopin__port *port, const chopin__cqe *e, chopin__event *event) {
    if (!(e->flags & CHOPIN__CQE_MORE)) {
        port->live &= (uint8_t)~CHOPIN__LIVE_IN;
        chopin__uring_list(io, port);
    }
    if (e->res == -ECANCELED || e->res == -EAGAIN || e->res == -EINTR || e->res == -ECONNABORTED || e->res == -EPROTO) return false;
    return chopin__event_is(event, port, CHOPIN__IN, e->res, NULL);
}

/* What did not fit goes back to where it came from. */
static bool chopin__uring_short_send(chopin__io *io, chopin__port *port, int32_t res, chopin__event *event) {
    chopin__piece *p = port->taken;
    if (res < 0 && res != -EAGAIN && res != -EINTR && res != -ENOBUFS) {
        chopin__piece_free(io->pieces, p);
        return chopin__uring_lost(port, event);
    }
    size_t sent = res > 0 ? (size_t)res : 0;
    p->ptr += sent;
    p->len -= sent;
    p->room = 0;                                             // what follows it is in the queue already
    p->next = port->out.first;
    port->out.first = p;
    if (!port->out.last) port->out.last = p;
    port->out.bytes += p->len;
    chopin__uring_await_room(io, port);
    port->armed &= (uint8_t)~CHOPIN__OUT;
    return chopin__event_is(event, port, CHOPIN__OUT, 0, NULL);
}

static inline bool chopin__uring_sent(chopin__io *io, chopin__port *port, int32_t res, chopin__event *event) {
    chopin__piece *p = port->taken;
    port->sending = false;
    port->live &= (uint8_t)~CHOPIN__LIVE_TOLD;
    if (CHOPIN__UNLIKELY(res != (int32_t)p->len)) return chopin__uring_short_send(io, port, res, event);
    chopin__pool_give(&io->pieces->blocks, p);
    if (CHOPIN__LIKELY(!(port->armed & CHOPIN__OUT))) return false;
    port->armed &= (uint8_t)~CHOPIN__OUT;
    return chopin__event_is(event, port, CHOPIN__OUT, 0, NULL);
}

static bool chopin__uring_room(chopin__io *io, chopin__port *port, chopin__event *event) {
    port->live &= (uint8_t)~CHOPIN__LIVE_ROOM;
    port->ready |= CHOPIN__OUT;
    if (!(port->armed & CHOPIN__OUT) || port->sending) return false;
    if (!port->out.first) { port->armed &= (uint8_t)~CHOPIN__OUT; port->result = 0; }
    else if (!chopin__uring_send_now(io, port)) return false;
    return chopin__event_is(event, port, CHOPIN__OUT, port->result, NULL);
}

static bool chopin__uring_waited(chopin__port *port, int32_t res, chopin__event *event) {
    int armed = port->armed;
    int ready = (res & (POLLIN | EPOLLRDHUP | POLLHUP | POLLERR) ? CHOPIN__IN : 0) | (res & (POLLOUT | POLLHUP | POLLERR) ? CHOPIN__OUT : 0);
    port->armed = 0;
    return chopin__event_is(event, port, CHOPIN__IN, res == -EBADF ? CHOPIN_INVALID : res < 0 ? armed : ready & armed, NULL);
}

/* The port is gone: buffers, descriptors and bytes still want to be given back. */
static void chopin__uring_stray(chopin__io *io, const chopin__cqe *e) {
    chopin__uring *u = io->state;
    unsigned kind = (unsigned)(e->user_data >> 24) & 0xff;
    if (e->flags & CHOPIN__CQE_BUFFER) chopin__uring_offer(u, (int)(e->flags >> CHOPIN__CQE_BUFFER_SHIFT), io);
    if (kind == CHOPIN__U_ACCEPT && e->res >= 0) close(e->res);
    if (kind != CHOPIN__U_SEND) return;
    for (chopin__piece **at = &u->orphans; *at; at = &(*at)->next) {
        if ((uint64_t)(uintptr_t)(*at)->arg != (e->user_data & ~(UINT64_C(0xff) << 24))) continue;
        chopin__piece *p = *at;
        *at = p->next;
        chopin__piece_free(io->pieces, p);
        return;
    }
}

/* For the wake-up or for the alarm. */
static void chopin__uring_listen(chopin__io *io, chopin__uring_kind kind) {
    int fd = kind == CHOPIN__U_WAKE ? io->wake_fd : io->alarm_fd;
    if (fd >= 0) chopin__uring_poll_for(io->state, fd, (uint64_t)kind << 24, POLLIN, CHOPIN__POLL_MULTISHOT);
}

static void chopin__uring_woken(chopin__io *io, const chopin__cqe *e, chopin__uring_kind kind) {
    if (kind == CHOPIN__U_WAKE) chopin__wake_drain(io->wake_fd);
    else                        chopin__alarm_rang(io);
    if (!(e->flags & CHOPIN__CQE_MORE)) chopin__uring_listen(io, kind);
}

static inline bool chopin__uring_result(chopin__io *io, const chopin__cqe *e, chopin__event *event) {
    chopin__uring_kind kind = (chopin__uring_kind)(e->user_data >> 24 & 0xff);
    if (CHOPIN__UNLIKELY(kind == CHOPIN__U_NOTHING)) return false;
    if (CHOPIN__UNLIKELY(kind >= CHOPIN__U_WAKE)) { chopin__uring_woken(io, e, kind); return false; }
    chopin__port *port = chopin__uring_port(io, e->user_data);
    if (CHOPIN__UNLIKELY(!port)) { chopin__uring_stray(io, e); return false; }
    switch (kind) {
    case CHOPIN__U_RECV:   return chopin__uring_received(io, port, e, event);
    case CHOPIN__U_SEND:   return chopin__uring_sent(io, port, e->res, event);
    case CHOPIN__U_INPUT:  return chopin__uring_readable(io, port, event);
    case CHOPIN__U_ACCEPT: return chopin__uring_accepted(io, port, e, event);
    case CHOPIN__U_ROOM:   return chopin__uring_room(io, port, event);
    case CHOPIN__U_WAIT:   return chopin__uring_waited(port, e->res, event);
    case CHOPIN__U_HANGUP:
        if (!(e->flags & CHOPIN__CQE_MORE)) port->live &= (uint8_t)~CHOPIN__LIVE_HANGUP;
        return e->res > 0 && e->res & (POLLHUP | POLLERR) && !(port->armed & CHOPIN__IN) && chopin__uring_lost(port, event);
    case CHOPIN__U_NOTHING: case CHOPIN__U_WAKE: case CHOPIN__U_ALARM: break;
    }
    return false;
}

/* ---- the turn ---- */

/* The ring was made for whoever would use it first; that is the thread that is here now. */
static void chopin__uring_enable(chopin__io *io) {
    chopin__uring *u = io->state;
    syscall(CHOPIN__URING_REGISTER, u->fd, CHOPIN__REGISTER_ENABLE_RINGS, NULL, 0);
    u->enabled = true;
    chopin__uring_grow(io, CHOPIN__URING_BUFFERS_FIRST);
    chopin__uring_listen(io, CHOPIN__U_WAKE);
    chopin__uring_listen(io, CHOPIN__U_ALARM);
}

/* Sends are done when they have been handed over: each takes at once what its socket takes. Where nobody waits for the news, only a failure is to be told:
 * else the sleep that begins with the same call would end with it, and each reply would cost a second call. */
static void chopin__uring_hush(const chopin__io *io, chopin__uring *u) {
    for (uint32_t i = u->handed; i != u->tail; i++) {
        chopin__sqe *s = &u->sqes[i & u->sq_mask];
        if (s->opcode != CHOPIN__OP_SEND) continue;
        const chopin__port *port = chopin__uring_port(io, s->user_data);
        s->flags = port && !(port->armed & CHOPIN__OUT) ? CHOPIN__SQE_SKIP_SUCCESS : 0;
    }
}

/* Of those that were handed over since `from`, what has succeeded: all that no result speaks of. */
static void chopin__uring_hushed(chopin__io *io, chopin__uring *u, uint32_t from) {
    for (uint32_t at = u->head; at != u->seen; at++) {
        const chopin__cqe *e = &u->cqes[at & u->cq_mask];
        chopin__port *port = (e->user_data >> 24 & 0xff) == CHOPIN__U_SEND ? chopin__uring_port(io, e->user_data) : NULL;
        if (port) port->live |= CHOPIN__LIVE_TOLD;
    }
    for (; from != u->handed; from++) {
        const chopin__sqe *s = &u->sqes[from & u->sq_mask];
        if (s->opcode != CHOPIN__OP_SEND || !(s->flags & CHOPIN__SQE_SKIP_SUCCESS)) continue;
        chopin__port *port = chopin__uring_port(io, s->user_data);
        if (port->live & CHOPIN__LIVE_TOLD) continue;
        port->sending = false;
        chopin__pool_give(&io->pieces->blocks, port->taken);
    }
    for (uint32_t i = u->handed; i != u->tail; i++) {        // the kernel had no memory for them: who knows what is true when they go
        if (u->sqes[i & u->sq_mask].opcode == CHOPIN__OP_SEND) u->sqes[i & u->sq_mask].flags = 0;
    }
}

static void chopin__uring_fetch(chopin__io *io, int64_t until_ms) {
    chopin__uring *u = io->state;
    if (CHOPIN__UNLIKELY(!u->enabled)) chopin__uring_enable(io);
    uint32_t from = u->handed;
    bool busy = u->agenda.first || u->head != chopin__uring_load(u->cq_tail);
    int sleep = busy ? 0 : chopin__sleep_ms(io, until_ms);
    chopin__agenda_turn(&u->agenda);
    chopin__count(&io->waits);
    if (!u->polled) chopin__uring_hush(io, u);               // what a thread of the kernel sends is done we do not know when
    chopin__uring_enter(u, sleep, true);
    u->seen = chopin__uring_load(u->cq_tail);
    if (!u->polled) chopin__uring_hushed(io, u, from);
    u->fetched = true;
}

static bool chopin__uring_wait(chopin__io *io, int64_t until_ms, chopin__event *event) {
    chopin__uring *u = io->state;
    chopin__uring_done_with(io);
    if (!u->fetched) chopin__uring_fetch(io, until_ms);
    while (u->head != u->seen) {
        const chopin__cqe e = u->cqes[u->head & u->cq_mask];
        chopin__uring_store(u->cq_head, ++u->head);
        if (chopin__uring_result(io, &e, event)) return true;
    }
    while (u->agenda.now) {
        if (chopin__uring_run(io, chopin__agenda_next(&u->agenda), event)) return true;
    }
    u->fetched = false;
    return false;
}

static int chopin__uring_fd(chopin__io *io) { return ((chopin__uring *)io->state)->fd; }

static bool chopin__uring_busy(chopin__io *io) {
    const chopin__uring *u = io->state;
    return u->agenda.first || u->fetched || u->tail != u->handed || u->current != CHOPIN__URING_NOBODY;
}

static const chopin__io_ops chopin__uring_ops = {
    "uring", chopin__uring_open, chopin__uring_attach, chopin__uring_start, chopin__uring_stop, chopin__uring_detach, chopin__uring_accept,
    chopin__uring_more, chopin__uring_flush, chopin__socket_finish, chopin__socket_unsent, chopin__uring_wait, chopin__wake_up,
    chopin__now_of_clock, chopin__uring_fd, chopin__uring_busy, chopin__uring_close,
};
#endif /* __linux__, CHOPIN_NO_URING */

/* >>kqueue will stand here: one table more, with the same functions in the same order. */

/* ==========================================================================================================
   >>script   the backend of the tests: clients made of bytes, on a clock that jumps
   Plays bytes in steps of any size, stalls, short writes, half-closes and resets, and collects what the server sends. When nothing can
   happen any more, time moves to the next deadline. Descriptors that a handler waits for are real and are polled.
   ========================================================================================================== */
typedef struct chopin__script_client {
    chopin_str in;                      // what it sends
    size_t     sent;                    // ... and how much of that the server has
    size_t     read_step, write_step;   // at most so many bytes at once; 0: all
    size_t     stop_after;              // falls silent then; 0: never
    bool       keep_open, reset;        // after the last byte: instead of a half-close
    bool       no_reading;              // takes nothing of what the server sends
    int64_t    starts_at;               // on the script's clock
    char      *out;                     // what the server has sent
    size_t     out_len, out_cap;
    bool       ended;                   // the server has closed its side
    bool       accepted, finished;
} chopin__script_client;

typedef struct chopin__script {
    chopin__script_client *clients;
    size_t         count, at;           // at: the client looked at next in this turn
    chopin__port **port;                // of each client, once accepted
    chopin__port  *listener;
    chopin__port  *waiters[64];         // real descriptors
    size_t         waiter_count;
    int64_t        now;                 // virtual milliseconds
    uint64_t       random;              // 0: steps are taken in full
    int            wake[2];             // a pipe: other threads interrupt a sleep
    bool           moved;               // something happened in this turn
    bool           stuck;               // nothing will ever happen again
    chopin__heap  *heap;
} chopin__script;

static size_t chopin__script_step(chopin__script *s, size_t step, size_t most) {
    size_t n = step ? chopin__min(step, most) : most;
    return s->random && n > 1 ? 1 + (size_t)(chopin__random_next(&s->random) % n) : n;
}

static bool chopin__script_open(chopin__io *io, chopin__heap *heap) {
    chopin__script *s = io->state;                           // given by the caller, who owns it
    s->heap = heap;
    s->now = 1000000;
    return pipe(s->wake) == 0 && fcntl(s->wake[0], F_SETFL, O_NONBLOCK) == 0 && fcntl(s->wake[1], F_SETFL, O_NONBLOCK) == 0;
}

static void chopin__script_close(chopin__io *io, chopin__heap *heap) {
    chopin__script *s = io->state;
    (void)heap;
    close(s->wake[0]);
    close(s->wake[1]);
}

static bool chopin__script_attach(chopin__io *io, chopin__port *port, bool shared) {
    chopin__script *s = io->state;
    (void)shared;
    if (port->kind == CHOPIN__LISTENER)   s->listener = port;
    if (port->kind == CHOPIN__CONNECTION) s->port[port->fd] = port;
    if (port->kind != CHOPIN__WAITER) return true;
    if (s->waiter_count == CHOPIN__COUNT(s->waiters)) { errno = ENOSPC; return false; }
    s->waiters[s->waiter_count++] = port;
    return true;
}

/* Takes up to one step of the queue. */
static bool chopin__script_take(chopin__io *io, chopin__port *port) {
    chopin__script *s = io->state;
    chopin__script_client *c = &s->clients[port->fd];
    if (c->no_reading || port->armed == 0) return false;
    chopin__count(&io->sends);
    size_t n = chopin__script_step(s, c->write_step, chopin__min(port->out.bytes, INT32_MAX)), left = n;
    if (c->out_len + n > c->out_cap) {
        size_t cap = 2 * c->out_cap + n;
        char  *out = chopin__realloc(s->heap, c->out, c->out_cap, cap);
        if (!out) { port->result = -ENOMEM; return true; }
        c->out = out;
        c->out_cap = cap;
    }
    for (chopin__piece *p = port->out.first; left; p = p->next) {
        size_t  part = chopin__min(left, p->len);
        int64_t got = p->source ? p->source->read(p, c->out + c->out_len, part) : (int64_t)part;
        if (got != (int64_t)part) { port->result = -ENODATA; port->armed &= (uint8_t)~CHOPIN__OUT; return true; }
        if (!p->source) memcpy(c->out + c->out_len, p->ptr, part);
        c->out_len += part;
        left -= part;
    }
    chopin__queue_sent(&port->out, io->pieces, n);
    port->armed &= (uint8_t)~CHOPIN__OUT;
    port->ready &= (uint8_t)~CHOPIN__OUT;                    // one step a turn
    port->result = (int32_t)n;
    s->moved = true;
    return true;
}

static bool chopin__script_start(chopin__io *io, chopin__port *port, int what) {
    port->armed |= (uint8_t)(what & (CHOPIN__IN | CHOPIN__OUT));
    return what == CHOPIN__OUT && port->ready & CHOPIN__OUT && chopin__script_take(io, port);
}

static void chopin__script_stop(chopin__io *io, chopin__port *port, int what) {
    (void)io;
    port->armed &= (uint8_t)~what;
}

static void chopin__script_detach(chopin__io *io, chopin__port *port, bool close_it) {
    chopin__script *s = io->state;
    if (port->kind == CHOPIN__LISTENER) s->listener = NULL;
    if (port->kind == CHOPIN__CONNECTION) {
        s->port[port->fd] = NULL;
        s->clients[port->fd].ended = true;
    }
    for (size_t i = 0; i < s->waiter_count; i++) {
        if (s->waiters[i] == port) s->waiters[i] = s->waiters[--s->waiter_count];
    }
    (void)close_it;
}

static void chopin__script_finish(chopin__io *io, chopin__port *port) {
    ((chopin__script *)io->state)->clients[port->fd].finished = true;
}

static size_t chopin__script_unsent(chopin__io *io, chopin__port *port) { (void)io; (void)port; return 0; }

/* The next bytes of a client, its end, or nothing. */
static bool chopin__script_give(chopin__io *io, chopin__script_client *c, chopin__port *port, chopin__event *event) {
    chopin__script *s = io->state;
    size_t most = chopin__min(c->in.len - c->sent, port->buf ? port->room : io->buf_size);
    if (c->stop_after) most = c->sent < c->stop_after ? chopin__min(most, c->stop_after - c->sent) : 0;
    bool over = c->sent == c->in.len && (!c->keep_open || c->finished);
    if (!most && !over) return false;
    char *to = port->buf ? port->buf : io->buf;
    size_t n = most ? chopin__script_step(s, c->read_step, most) : 0;
    if (n) memcpy(to, c->in.ptr + c->sent, n);
    c->sent += n;
    if (!n) port->armed &= (uint8_t)~CHOPIN__IN;
    chopin__count(&io->receives);
    *event = (chopin__event){ .port = port, .what = CHOPIN__IN, .result = n || !c->reset ? (int64_t)n : -ECONNRESET, .data = to };
    return true;
}

/* One client's go: connect, then take, then give. */
static bool chopin__script_play(chopin__io *io, size_t i, chopin__event *event) {
    chopin__script *s = io->state;
    chopin__script_client *c = &s->clients[i];
    chopin__port *port = s->port[i];
    if (c->starts_at > s->now || c->ended) return false;
    if (!c->accepted) {
        if (!s->listener || !(s->listener->armed & CHOPIN__IN)) return false;
        c->accepted = true;
        *event = (chopin__event){ .port = s->listener, .what = CHOPIN__IN, .result = (int64_t)i };
        return true;
    }
    if (!port) return false;
    if (c->reset && c->sent == c->in.len && !(port->armed & CHOPIN__IN) && !(port->ready & CHOPIN__HUNG)) {
        port->ready |= CHOPIN__HUNG;
        *event = (chopin__event){ .port = port, .what = CHOPIN__HUNG };
        return true;
    }
    port->ready |= CHOPIN__OUT;
    if (port->armed & CHOPIN__OUT && chopin__script_take(io, port)) {
        if (port->armed & CHOPIN__IN) s->at--;               // its input is looked at next
        *event = (chopin__event){ .port = port, .what = CHOPIN__OUT, .result = port->result };
        return true;
    }
    return port->armed & CHOPIN__IN && chopin__script_give(io, c, port, event);
}

/* Polls the wake pipe and the real descriptors; `timeout` as in poll(). */
static bool chopin__script_poll(chopin__io *io, int timeout, chopin__event *event) {
    chopin__script *s = io->state;
    struct pollfd fds[1 + CHOPIN__COUNT(s->waiters)] = { { .fd = s->wake[0], .events = POLLIN } };
    for (size_t i = 0; i < s->waiter_count; i++) {
        chopin__port *p = s->waiters[i];
        fds[i + 1] = (struct pollfd){ .fd = p->fd, .events = (short)((p->armed & CHOPIN__IN ? POLLIN : 0) | (p->armed & CHOPIN__OUT ? POLLOUT : 0)) };
    }
    if (poll(fds, (nfds_t)(s->waiter_count + 1), timeout) <= 0) return false;
    char drop[64];
    if (fds[0].revents && read(s->wake[0], drop, sizeof drop) > 0) s->moved = true;
    for (size_t i = 0; i < s->waiter_count; i++) {
        int got = (fds[i + 1].revents & ~POLLOUT ? CHOPIN__IN : 0) | (fds[i + 1].revents & ~POLLIN ? CHOPIN__OUT : 0);
        if (!got) continue;
        *event = (chopin__event){ .port = s->waiters[i], .what = CHOPIN__IN, .result = got & s->waiters[i]->armed };
        return true;
    }
    return false;
}

static int64_t chopin__script_next_start(const chopin__script *s) {
    int64_t next = CHOPIN__NEVER;
    for (size_t i = 0; i < s->count; i++) {
        if (!s->clients[i].accepted && s->clients[i].starts_at > s->now && s->clients[i].starts_at < next) next = s->clients[i].starts_at;
    }
    return next;
}

/* Nothing more at this moment: real time passes if somebody outside is at work, else the clock jumps. */
static bool chopin__script_idle(chopin__io *io, int64_t until_ms, chopin__event *event) {
    chopin__script *s = io->state;
    int64_t next = chopin__script_next_start(s);
    if (until_ms < next) next = until_ms;
    if (s->moved || next <= s->now) return chopin__script_poll(io, 0, event);
    if (s->waiter_count || atomic_load(&io->outside)) {
        int64_t before = chopin__clock_ms();
        bool    got = chopin__script_poll(io, next == CHOPIN__NEVER || next - s->now > 10000 ? 10000 : (int)(next - s->now), event);
        s->now += chopin__clock_ms() - before;
        if (got) return true;
        if (s->now < next) return false;
    }
    if (next == CHOPIN__NEVER) s->stuck = true;
    else                       s->now = next;
    return false;
}

static bool chopin__script_wait(chopin__io *io, int64_t until_ms, chopin__event *event) {
    chopin__script *s = io->state;
    while (s->at < s->count) {
        if (chopin__script_play(io, s->at++, event)) { s->moved = true; return true; }
    }
    if (s->at == s->count) {
        s->at++;                                             // once a turn
        if (chopin__script_idle(io, until_ms, event)) return true;
    }
    s->at = 0;
    s->moved = false;
    return false;
}

static void chopin__script_wake(chopin__io *io) {
    ssize_t ignored = write(((chopin__script *)io->state)->wake[1], "", 1);
    (void)ignored;
}

static int64_t chopin__script_now(chopin__io *io) { return ((chopin__script *)io->state)->now; }
static int     chopin__script_fd(chopin__io *io) { (void)io; return -1; }
static int     chopin__script_take_last(chopin__io *io, chopin__port *port) { (void)io, (void)port; return -1; }
static bool    chopin__script_more(chopin__io *io, chopin__port *port) { (void)io, (void)port; return false; }
static void    chopin__script_flush(chopin__io *io) { (void)io; }
static bool    chopin__script_busy(chopin__io *io) { (void)io; return false; }

static const chopin__io_ops chopin__script_ops = {
    "script", chopin__script_open, chopin__script_attach, chopin__script_start, chopin__script_stop, chopin__script_detach, chopin__script_take_last, chopin__script_more, chopin__script_flush, chopin__script_finish,
    chopin__script_unsent, chopin__script_wait, chopin__script_wake, chopin__script_now, chopin__script_fd, chopin__script_busy, chopin__script_close,
};

/* ==========================================================================================================
   >>conn   one connection's life, as one state machine; waiting; the reply on its way out
   READING -> HANDLING -> (DRAINING ->) READING ... -> CLOSING -> (LINGERING ->) DEAD. Every event ends in chopin__conn_settle(), which
   flushes, keeps or gives back the input buffer, arms what the state wants and sets the one timer. Nothing here keeps state in
   locals across a handler: it may park, and what follows then runs after a thousand other things.
   ========================================================================================================== */

typedef struct chopin__step {           // one link of a flattened chain; the handler itself is the last
    chopin_handler fn;
    void          *data;
} chopin__step;

typedef struct chopin__fixed {          // ready bytes of a precomputed reply
    chopin__preset preset;              // unused but for its length: workers have the current one
    chopin_str     tail;                // headers behind the preset, blank line, body
    size_t         body_len;            // the end of `tail` that HEAD leaves out
    chopin_str     type, body, lines, etag;
    int            status;
} chopin__fixed;

typedef struct chopin__endpoint {       // a route with what the server adds to it
    chopin__route        route;         // first: the router gives a pointer to it
    chopin_route_options options;       // resolved
    chopin_group        *group;
    const chopin__step  *steps;         // middleware, then the handler
    uint32_t             step_count, own_count; // all; those that are the route's own: its middleware and the handler
    bool                 varies;        // some chopin_use() covers some of its paths: the chain is made for each request
    chopin__fixed       *fixed;         // NULL: an ordinary handler
    struct chopin__endpoint *next;      // all routes, in order of registration
} chopin__endpoint;

typedef struct chopin__use {            // one chopin_use()
    struct chopin__use *next;
    chopin_str   prefix;                // with its group's
    chopin__step step;
} chopin__use;

#define CHOPIN__LIMITS 16               // chopin_limit() calls of one server

typedef struct chopin__site {           // what all workers share; never written while serving, but for the atomics
    chopin_options    options;          // resolved
    chopin__rules     rules;
    chopin__heap      heap;
    chopin__logger    logger;
    chopin__router    router;
    chopin__endpoint *endpoints;
    chopin__use      *uses;
    chopin__networks  trusted;
    uint64_t          seed;
    int               limit_count;      // how often chopin_limit() was called
    _Atomic bool      stopping;
} chopin__site;

struct chopin_group {
    chopin__site *site;
    chopin_group *parent;               // NULL: the app itself
    chopin_group *next;                 // all groups
    chopin_str    prefix;               // with its parents'; "" for the app
    void         *user;
};

typedef enum chopin__conn_state {
    CHOPIN__READING, CHOPIN__AWAITING, CHOPIN__HANDLING, CHOPIN__DRAINING, CHOPIN__CLOSING, CHOPIN__LINGERING, CHOPIN__DEAD
} chopin__conn_state;                   // AWAITING: the whole body is wanted before the handler runs (CHOPIN_NO_FIBERS)

typedef struct chopin__conn {           // at most 256 bytes: what an idle connection costs
    chopin__port   port;                // first
    chopin__timer  timer;               // fires at the earlier of the two below
    int64_t        read_due, write_due;
    chopin_ctx    *ctx;                 // of a head that is incomplete, a handler that runs, a body that is drained
    char          *buf;                 // input not yet used up: buf[pos .. len)
    uint32_t       pos, len;
    int64_t        write_since;         // output is stuck since then ...
    uint64_t       write_bytes;         // ... so much went to the kernel meanwhile, or was there already ...
    uint64_t       write_taken;         // ... and so much of it the client had taken when we last looked
    uint32_t       requests;
    _Atomic uint32_t serial;            // moves on with each request: handles compare it (chopin_post)
    uint8_t        state;               // chopin__conn_state
    bool           borrowed;            // buf is the worker's receive buffer
    bool           handling;            // a handler is on some stack: the entry must stay
    bool           overflow;            // over max_connections: answers /health only
    bool           linger;              // unread input may be there: do not reset the reply with it
    bool           in_head;             // the deadline of the head is running
    bool           keep;                // persist after the current reply
    bool           abort;               // close by reset
    uint16_t       peer_port;
    chopin__address peer;
} chopin__conn;

typedef struct chopin__wait {           // lives on the stack of the parked fiber
    chopin__fiber *fiber;
    chopin_ctx    *ctx;                 // whose handler it is; NULL outside one
    chopin__timer  timer;
    struct chopin__wait *next, *prev;   // all that are parked, then the ready list
    struct chopin__wait *next_turn;     // those that wait for the end of the turn
    int            result;
    bool           parked;
    bool           wakeable;            // chopin_wake() ends it
    bool           of_turn;             // linked by next_turn
    bool           stubborn;            // must not end before its event: another thread uses the stack
    bool           endless;             // ends when the server is to stop: it might never do so by itself
} chopin__wait;

typedef struct chopin__post {           // a message to a worker
    struct chopin__post *next;
    void     (*fn)(chopin_ctx *c, void *arg);
    void     (*direct)(chopin_worker *w, void *arg); // of our own: instead of fn
    void      *arg;
    uint64_t   id;
    uint32_t   serial;
} chopin__post;

typedef struct chopin__counts {         // written by the worker, read by anybody
    _Atomic uint64_t accepted, closed, requests, refused, bad_requests, timeouts, parked, faults;
} chopin__counts;

#define CHOPIN__REPEAT_MAX 4096
typedef struct chopin__repeat {         // the head that a context still knows
    chopin_ctx *ctx;                    // NULL: none
    uint32_t    len, tries;
    char        head[CHOPIN__REPEAT_MAX];
} chopin__repeat;

struct chopin_worker {
    // set at start
    chopin__site   *site;
    void           *server;             // what the worker belongs to, for the rooms below
    chopin_worker  *next_past;          // list of those whose run is over
    int             index, cpu;
    int             wait_cap;           // chopin_options.epoll_timeout_ms, where time is real
    bool            stepping;           // leave the loop after each turn (chopin_step, tests)
    // the worker's thread only
    chopin__io      io;
    chopin__slab    slab;               // connections, listeners, waiters, tickets
    chopin__wheel   wheel;
    int64_t         now;                // milliseconds, read once a turn
    int64_t         date_due;           // when the Date line is made anew
    int64_t         wall_s;             // the time in it
    chopin__preset  preset;
    chopin__pieces  pieces;
    chopin__pool    inputs;             // receive buffers
    chopin__pool    contexts;
    size_t          ctx_size;
    chopin_ctx     *spare;              // the context used last
    chopin__repeat  repeat;
    chopin__fibers  fibers;
    chopin_ctx     *running;            // whose handler is on this stack right now
    chopin_ctx     *fallen;             // whose handler was abandoned: the next round of the loop answers for it
    char            fallen_why[200];
    chopin__wait   *parked;             // all that wait
    chopin__wait   *ready, *ready_last; // those that may go on, in order
    chopin__wait   *turn, *turn_last;   // those that wait for the end of the turn, in order
    uint32_t        parked_count, connections;
    bool            stirred;            // when stepping or draining: a handler went on, so this turn must not sleep
    bool            turn_open;          // the clock of this turn has been read
    bool            draining, stop_seen, cancelled, ended;
    int64_t         step_until;         // when stepping: how long a turn may sleep; 0: not at all
    bool            retiring;           // too many faults: to be replaced
    bool          (*replace)(chopin_worker *w); // starts a successor with these listeners; NULL: there is none
    int             fault_signal, fault_depth;
    const void     *fault_pc;
    void           *fault_trace[16];
    int64_t         drain_due;
    chopin__endpoint *last_endpoint;    // for the log line about a slow turn
    uint64_t        random;
    void           *user;
    chopin__port   *listeners[16];
    int             listener_count;
    chopin__guard_limiter limiters[CHOPIN__LIMITS]; // one for each chopin_limit(), made when first asked
    int             spare_fd;           // given up to answer when descriptors run out
    struct chopin__topics *topics;      // made by the first subscription
    struct chopin__files  *files;       // made by the first request for a file ...
    void          (*files_done)(chopin_worker *w); // ... with what takes it apart
    // any thread
    _Atomic(chopin__post *) inbox;
    _Alignas(64) chopin__counts counts;
};

typedef enum chopin__body_mode { CHOPIN__NO_BODY, CHOPIN__LENGTH, CHOPIN__CHUNKED, CHOPIN__RAW } chopin__body_mode;   // RAW: another protocol has taken over

typedef struct chopin__body {           // of a request, on its way in
    uint8_t  mode;                      // chopin__body_mode
    bool     complete, wanted, arrived, last_chunk, discard;
    int      failed;                    // the status that was answered for it
    uint64_t left;                      // LENGTH: bytes to come
    size_t   limit;                     // decoded bytes
    char    *ptr;                       // decoded bytes: in the input buffer, or in `own`
    size_t   len;
    char    *own;
    size_t   cap;
    uint64_t received;                  // since `started`, for the minimum rate
    int64_t  started;
    int    (*pull)(chopin_worker *w, chopin__conn *k, chopin_ctx *c); // while it is read in pieces: hands on what has come
    char    *to;                        // ... to here ...
    size_t   room, got;                 // ... so much at most, and so much so far
    size_t   at;                        // how much of `ptr` was read in pieces
    int64_t  waited;                    // milliseconds that readers have waited, in all
    chopin__chunks chunks;
    chopin__head  *trailer;
    const char    *trailer_base;
} chopin__body;

typedef struct chopin__deferred {
    struct chopin__deferred *next;
    void (*fn)(void *arg);
    void  *arg;
} chopin__deferred;

struct chopin_ctx {
    // set when made
    chopin_worker   *w;
    chopin__arena    arena;
    chopin__capture    *spans;
    // what follows from the head alone: it stays when the next head is the same
    chopin__head     head;
    chopin__endpoint *endpoint;         // NULL: 404 and the like
    const chopin__step *steps;
    uint32_t         step_count;        // length of the chain
    chopin__found    found;
    // this request's
    chopin__conn    *k;                 // first of what chopin__ctx_clear() clears
    const char      *base;              // where the head begins
    char            *pinned;            // the buffer that holds it, once the handler has parked
    uint32_t         step, reached;     // where in the chain we are, how far it has come
    int              refuse;            // answer this status instead of running the handler
    bool             gone;              // the client has left: waits fail
    bool             woken;             // chopin_wake() came before chopin_park()
    bool             form_checked;
    size_t           room_below;        // not 0: a writer waits until less than that is unsent
    bool             slim;              // `base` is a copy: no buffer needs to be kept for it
    chopin_ws       *ws;                // what the connection has become
    struct chopin__upload *upload;      // its multipart body, once asked for
    chopin__reply    reply;
    chopin__deferred *deferred;
    chopin__wait    *wait;              // what its handler is parked on
    int64_t          deadline;          // of the handler
    uint64_t         id;                // request id, 0 until asked for
    void            *user;
    chopin_str       form;
    chopin__body     body;              // cleared as far as its first member; the rest when there is a body
};

static inline chopin_str chopin__ctx_str(const chopin_ctx *c, uint32_t at, uint32_t len) { return chopin__str(c->base + at, len); }

/* ---- contexts ---- */

static inline void chopin__ctx_clear(chopin_ctx *c) {
    memset((char *)c + offsetof(chopin_ctx, k), 0, offsetof(chopin_ctx, body) - offsetof(chopin_ctx, k));
    c->body.mode = CHOPIN__NO_BODY;
}

/* One allocation: the struct, the table of fields, the spans of parameters, the first block of the arena. */
#define CHOPIN__ARENA_FIRST 3072
static size_t chopin__ctx_size(const chopin__site *site) {
    return sizeof(chopin_ctx) + site->rules.max_headers * sizeof(chopin__field) + (site->router.max_params + 1) * sizeof(chopin__capture) + CHOPIN__ARENA_FIRST;
}

static CHOPIN__NOINLINE chopin_ctx *chopin__ctx_make(chopin_worker *w) {
    chopin_ctx *c = chopin__pool_take(&w->contexts);
    if (!c) return NULL;
    char *at = (char *)(c + 1);
    c->w = w;
    c->head.fields = (chopin__field *)(void *)at;
    at += w->site->rules.max_headers * sizeof(chopin__field);
    c->spans = (chopin__capture *)(void *)at;
    at += (w->site->router.max_params + 1) * sizeof(chopin__capture);
    chopin__arena_init(&c->arena, &w->site->heap, at, CHOPIN__ARENA_FIRST, w->site->options.max_arena);
    return c;
}

/* Ready for a head. The one used last is kept aside: as a rule it is the only one. */
static inline chopin_ctx *chopin__ctx_take(chopin_worker *w) {
    chopin_ctx *c = w->spare;
    w->spare = NULL;
    if (CHOPIN__UNLIKELY(!c) && (c = chopin__ctx_make(w)) == NULL) return NULL;
    if (c == w->repeat.ctx) w->repeat.ctx = NULL;
    chopin__head_reset(&c->head);
    c->endpoint = NULL;
    c->steps = NULL;
    c->step_count = 0;
    c->found = CHOPIN__NO_PATH;
    chopin__ctx_clear(c);
    return c;
}

/* ---- the same head again ----
 * Clients repeat themselves. When the next head is the last one, byte for byte, then so is all that follows from it (every result is an offset or outlives the
 * request), and the context used last still knows it: comparing costs a tenth of finding out. */

/* Remembers that `c`, once it is spare, knows what follows from this head. Not each time: where heads differ, copying them all would be for nothing. */
static inline void chopin__ctx_remember(chopin_worker *w, chopin_ctx *c, uint32_t len) {
    chopin__repeat *r = &w->repeat;
    if (++r->tries % 8 != 0 || len > sizeof r->head || c->found != CHOPIN__FOUND || c->refuse || c->endpoint->varies) return;
    memcpy(r->head, c->base, len);
    r->len = len;
    r->ctx = c;
}

/* The context that knows the head at `at`, ready for a request; NULL: none does. */
static inline chopin_ctx *chopin__ctx_repeat(chopin_worker *w, const char *at, size_t left) {
    chopin__repeat *r = &w->repeat;
    if (!r->ctx || r->ctx != w->spare || left < r->len || memcmp(at, r->head, r->len) != 0) return NULL;
    w->spare = NULL;
    chopin__ctx_clear(r->ctx);
    return r->ctx;
}

static inline void chopin__ctx_give(chopin_ctx *c) {
    chopin_worker *w = c->w;
    if (c->body.mode && c->body.own) chopin__release(&w->site->heap, c->body.own, c->body.cap);
    if (c->pinned) chopin__pool_give(&w->inputs, c->pinned);
    if (c->reply.release) c->reply.release(c->reply.arg);
    if (c->arena.at != c->arena.first || c->arena.full) chopin__arena_reset(&c->arena);
    if (CHOPIN__LIKELY(!w->spare)) w->spare = c;
    else                           chopin__pool_give(&w->contexts, c);
}

static const char *chopin__ctx_name(const chopin_ctx *c) { return c->endpoint ? c->endpoint->route.name : "(no route)"; }

static void CHOPIN__PRINTF(3, 4) chopin__ctx_log(chopin_ctx *c, chopin_level level, const char *format, ...) {
    char    text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const chopin__route *r = c->endpoint ? &c->endpoint->route : NULL;
    chopin__log(&c->w->site->logger, level, "%s (%.*s %.*s, handler %s%s%s)", text, (int)c->head.method_len, c->base ? c->base + c->head.method : "",
                CHOPIN_FMT(r ? r->pattern : c->base ? chopin__ctx_str(c, c->head.path, c->head.path_len) : chopin__absent()),
                chopin__ctx_name(c), r ? " in " : "", r ? r->file : "");
}

/* ---- timers of a connection ---- */

/* From this moment on the bytes are slower than `rate` a second on average: the first ten seconds are free. */
static int64_t chopin__rate_due(int64_t since, uint64_t bytes, int rate) {
    if (rate <= 0) return CHOPIN__NEVER;
    int64_t earned = bytes > (uint64_t)INT64_MAX / 1000 ? CHOPIN__NEVER / 2 : (int64_t)(bytes * 1000 / (uint64_t)rate);
    return since + (earned > 10000 ? earned : 10000);
}

static inline int64_t chopin__after(int64_t now, int ms) { return ms < 0 ? CHOPIN__NEVER : now + ms; }

static inline void chopin__conn_set_timer(chopin_worker *w, chopin__conn *k) {
    chopin__timer_set(&w->wheel, &k->timer, k->read_due < k->write_due ? k->read_due : k->write_due);
}

static void chopin__body_set_due(chopin_worker *w, chopin__conn *k, chopin_ctx *c) {
    const chopin_route_options *o = c->endpoint ? &c->endpoint->options : NULL;
    int64_t stall = chopin__after(w->now, o ? o->body_stall_ms : w->site->options.body_stall_ms);
    int64_t rate = chopin__rate_due(c->body.started, c->body.received, o ? o->min_body_rate : w->site->options.min_body_rate);
    k->read_due = c->body.mode == CHOPIN__RAW ? CHOPIN__NEVER : stall < rate ? stall : rate;        // another protocol has deadlines of its own
}

/* ---- output ---- */

/* The connection is over: the descriptor goes now, the entry when no handler needs it any more (chopin__conn_settle). */
static void chopin__conn_kill(chopin_worker *w, chopin__conn *k) {
    if (k->state == CHOPIN__DEAD) return;
    if (k->abort) {
        struct linger reset = { .l_onoff = 1, .l_linger = 0 };
        if (w->io.ops->fd(&w->io) >= 0) setsockopt(k->port.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    }
    w->io.ops->detach(&w->io, &k->port, true);
    chopin__timer_stop(&k->timer);
    chopin__queue_clear(&k->port.out, &w->pieces);
    k->state = CHOPIN__DEAD;
}

/* Puts a parked fiber on the ready list; the loop continues it in the order of these calls. */
static void chopin__wake(chopin_worker *w, chopin__wait *wait, int result) {
    if (!wait->parked) return;
    wait->parked = false;
    wait->result = result;
    chopin__timer_stop(&wait->timer);
    if (wait->prev) wait->prev->next = wait->next;
    else            w->parked = wait->next;
    if (wait->next) wait->next->prev = wait->prev;
    w->parked_count--;
    wait->next = NULL;
    if (w->ready_last) w->ready_last->next = wait;
    else               w->ready = wait;
    w->ready_last = wait;
}

/* The client has left. A handler that waits for anything learns it at once, unless another thread still uses its stack. */
static void chopin__conn_lost(chopin_worker *w, chopin__conn *k) {
    chopin_ctx *c = k->ctx;
    chopin__conn_kill(w, k);
    if (!k->handling || !c) return;
    c->gone = true;
    if (c->wait && !c->wait->stubborn) chopin__wake(w, c->wait, CHOPIN_GONE);
}

/* `bytes` have moved since output got stuck: until when that is enough. */
static void chopin__conn_write_due(chopin_worker *w, chopin__conn *k, uint64_t bytes) {
    int64_t stall = chopin__after(w->now, w->site->options.write_stall_ms);
    int64_t rate = chopin__rate_due(k->write_since, bytes, w->site->options.min_send_rate);
    k->write_due = stall < rate ? stall : rate;
}

/* The deadline of output has passed as far as we can see; but megabytes may be on their way from the kernel's buffer to a slow client, and count. */
static bool chopin__conn_write_moves(chopin_worker *w, chopin__conn *k) {
    uint64_t taken = k->write_bytes - chopin__min((size_t)k->write_bytes, w->io.ops->unsent(&w->io, &k->port));
    if (taken <= k->write_taken) return false;
    k->write_taken = taken;
    chopin__conn_write_due(w, k, taken);
    return k->write_due > w->now;
}

static CHOPIN__NOINLINE void chopin__conn_broken(chopin_worker *w, chopin__conn *k, int64_t error) {
    if (error == -ENODATA) {                                 // what was promised is not there
        chopin__log(&w->site->logger, CHOPIN_WARNING, "a file shrank while it was sent: its connection is cut");
        k->abort = true;
    }
    chopin__conn_lost(w, k);
}

/* Whoever waits until less is unsent may go on. */
static inline void chopin__conn_room(chopin_worker *w, chopin__conn *k) {
    chopin_ctx *c = k->ctx;
    if (CHOPIN__LIKELY(k->state != CHOPIN__HANDLING) || !c->room_below || k->port.out.bytes >= c->room_below || !c->wait) return;
    c->room_below = 0;
    chopin__wake(w, c->wait, CHOPIN_OK);
}

#define CHOPIN__TURN_BYTES ((uint64_t)1 << 21)   // nobody sends more in one go than that

/* Sends what is queued, as much as the socket takes. While the rest waits, its deadline runs. */
static inline void chopin__conn_flush(chopin_worker *w, chopin__conn *k) {
    chopin__queue *q = &k->port.out;
    uint64_t before = k->write_bytes;
    while (q->bytes && !(k->port.armed & CHOPIN__OUT)
           && w->io.ops->start(&w->io, &k->port, CHOPIN__LIKELY(k->write_bytes - before < CHOPIN__TURN_BYTES) ? CHOPIN__OUT : CHOPIN__OUT | CHOPIN__LATER)) {
        if (CHOPIN__UNLIKELY(k->port.result < 0)) { chopin__conn_broken(w, k, k->port.result); return; }
        k->write_bytes += (uint64_t)k->port.result;
    }
    chopin__conn_room(w, k);
    if (CHOPIN__LIKELY(!q->bytes)) { k->write_due = CHOPIN__NEVER; k->write_since = 0; return; }
    if (!k->write_since) {
        k->write_since = w->now;
        k->write_bytes = w->io.ops->unsent(&w->io, &k->port);
        k->write_taken = 0;
    }
    chopin__conn_write_due(w, k, k->write_bytes);
}

/* ---- the reply on its way out ---- */

static bool chopin__body_left_over(const chopin_ctx *c) { return c->body.mode && !c->body.complete; }

/* Will the connection serve another request? Decided once, when the head of the reply is written. An unread body that is too long to be thrown away,
 * or that the client holds back for a 100 it will not get, ends it. */
static bool chopin__conn_keeps(chopin_worker *w, chopin__conn *k, chopin_ctx *c) {
    const chopin_options *o = &w->site->options;
    if (!c->head.keep_alive || o->no_keepalive || w->draining || k->overflow || k->linger) return false;
    if (o->max_requests && k->requests >= o->max_requests) return false;
    if (!chopin__body_left_over(c)) return true;
    if (c->body.failed || (c->head.expect_continue && !c->body.arrived && !c->body.wanted)) return false;
    return c->body.mode == CHOPIN__CHUNKED || c->body.left <= o->max_drain;
}

static inline chopin__framing chopin__ctx_framing(chopin_ctx *c) {
    chopin__conn *k = c->k;
    k->keep = chopin__conn_keeps(c->w, k, c);
    return (chopin__framing){
        .head_only = c->head.method_len == 4 && memcmp(c->base + c->head.method, "HEAD", 4) == 0,
        .close = !k->keep, .keep_1_0 = k->keep && c->head.minor == 0, .connect = c->head.authority_len && c->head.authority == c->head.target,
    };
}

/* Borrowed bytes die with the handler's frame: what the socket does not take now is copied. */
static bool chopin__piece_own(chopin_worker *w, chopin__conn *k, chopin__piece *p) {
    chopin__conn_flush(w, k);
    bool queued = false;
    for (chopin__piece *at = k->port.out.first; at; at = at->next) queued = queued || at == p;
    if (!queued) return true;
    chopin_str rest = chopin__str(p->ptr, p->len);
    if (!chopin__own_copy(&w->site->heap, &rest, &p->release, &p->arg)) return false;
    p->ptr = rest.ptr;
    return true;
}

#ifdef CHOPIN_WITH_ZLIB
/* ---- compression of replies (RFC 9110 8.4, 12.5.3) ---- */
#define CHOPIN__SQUEEZE_MAX ((size_t)1 << 20)   // larger bodies would hold the worker for too long: write them piece by piece

typedef struct chopin__squeezer {
    chopin__heap *heap;
    z_stream      z;
} chopin__squeezer;

static chopin__squeezer *chopin__squeeze_open(chopin__heap *heap, chopin__coding coding) {
    chopin__squeezer *q = chopin__alloc_zero(heap, sizeof *q);
    if (!q) return NULL;
    q->heap = heap;
    q->z.zalloc = chopin__zlib_alloc;
    q->z.zfree = chopin__zlib_free;
    q->z.opaque = heap;
    if (deflateInit2(&q->z, 6, Z_DEFLATED, coding == CHOPIN__GZIP ? 15 + 16 : 15, 8, Z_DEFAULT_STRATEGY) == Z_OK) return q;
    chopin__release(heap, q, sizeof *q);
    return NULL;
}

static void chopin__squeeze_close(chopin__squeezer *q) {
    deflateEnd(&q->z);
    chopin__release(q->heap, q, sizeof *q);
}

/* Types that shrink: text, and the structured ones that are text in disguise. Events are not: they must not wait for company. */
static bool chopin__squeezes(chopin_str type) {
    static const char *const kinds[] = { "application/json", "application/javascript", "application/xml", "application/wasm", "application/manifest+json",
                                         "application/problem+json", "application/ld+json", "application/geo+json", "application/atom+xml", "application/rss+xml",
                                         "application/xhtml+xml", "image/svg+xml" };
    chopin_str bare = chopin__trim(chopin__cut(&type, ';'));
    if (chopin__equal_nocase(bare, CHOPIN_STR("text/event-stream"))) return false;
    if (bare.len > 5 && chopin__equal_nocase(chopin__str(bare.ptr, 5), CHOPIN_STR("text/"))) return true;
    for (size_t i = 0; i < CHOPIN__COUNT(kinds); i++) {
        if (chopin__equal_nocase(bare, chopin__str_z(kinds[i]))) return true;
    }
    return false;
}

/* The value of a header that has been set for the reply. Absent: none. */
static chopin_str chopin__lines_find(const chopin__reply *r, chopin_str name) {
    chopin_str rest = chopin__str(r->lines, r->lines_len);
    while (rest.len) {
        chopin_str line = chopin__cut(&rest, '\n');
        if (line.len > name.len && line.ptr[name.len] == ':' && chopin__equal_nocase(chopin__str(line.ptr, name.len), name)) {
            return chopin__trim(chopin__str(line.ptr + name.len + 1, line.len - name.len - 2));
        }
    }
    return chopin__absent();
}

/* Every Accept-Encoding line counts; one is usual. */
static chopin__coding chopin__squeeze_choice(chopin_ctx *c) {
    chopin_str list = chopin__absent();
    for (size_t i = 0; i < c->head.count && !list.ptr; i++) {
        if (c->head.fields[i].id == CHOPIN_H_ACCEPT_ENCODING) list = chopin__ctx_str(c, c->head.fields[i].value, c->head.fields[i].value_len);
    }
    chopin__accepted wants = chopin__accepted_read(list);
    return chopin__coding_choose(&wants, 1u << CHOPIN__GZIP | 1u << CHOPIN__DEFLATE);
}

/* Another representation: a strong tag would claim that the bytes are the same (RFC 9110 8.8.1). */
static bool chopin__squeeze_weaken(chopin_ctx *c) {
    chopin_str tag = chopin__lines_find(&c->reply, CHOPIN_STR("ETag"));
    if (!tag.ptr || tag.ptr[0] == 'W') return true;
    char *weak = chopin__arena_alloc(&c->arena, tag.len + 2);
    if (!weak) return false;
    chopin__put(CHOPIN__PUT(weak, "W/"), tag.ptr, tag.len);
    chopin__lines_remove(&c->reply, CHOPIN_STR("ETag"));
    return chopin__lines_add(&c->reply, &c->arena, CHOPIN_STR("ETag"), chopin__str(weak, tag.len + 2));
}

/* What to compress this reply by, with the headers that say so; IDENTITY: leave it. Never twice, never a part, never against no-transform. */
static chopin__coding chopin__squeeze_as(chopin_ctx *c) {
    chopin__reply *r = &c->reply;
    if (!c->w->site->options.compress || r->status == 206 || !chopin__status_has_body(r->status) || !chopin__squeezes(r->type)) return CHOPIN__IDENTITY;
    if (chopin__lines_find(r, CHOPIN_STR("Content-Encoding")).ptr || chopin__lines_find(r, CHOPIN_STR("Content-Range")).ptr) return CHOPIN__IDENTITY;
    chopin_str control = chopin__lines_find(r, CHOPIN_STR("Cache-Control"));
    while (control.len) {
        if (chopin__equal_nocase(chopin__trim(chopin__cut(&control, ',')), CHOPIN_STR("no-transform"))) return CHOPIN__IDENTITY;
    }
    chopin__coding coding = chopin__squeeze_choice(c);
    bool ok = chopin__lines_add(r, &c->arena, CHOPIN_STR("Vary"), CHOPIN_STR("Accept-Encoding"));
    return ok ? coding : CHOPIN__IDENTITY;
}

static bool chopin__squeeze_tell(chopin_ctx *c, chopin__coding coding) {
    return chopin__squeeze_weaken(c) && chopin__lines_add(&c->reply, &c->arena, CHOPIN_STR("Content-Encoding"), chopin__str_z(chopin__coding_name[coding]));
}

/* The whole body at once, into memory of ours; left alone where that gains nothing. */
static void chopin__squeeze_body(chopin_ctx *c) {
    chopin__reply *r = &c->reply;
    if (r->slices || r->body.len < c->w->site->options.compress_min || r->body.len > CHOPIN__SQUEEZE_MAX) return;
    chopin__coding coding = chopin__squeeze_as(c);
    chopin__squeezer *q = coding != CHOPIN__IDENTITY ? chopin__squeeze_open(&c->w->site->heap, coding) : NULL;
    if (!q) return;
    chopin_str out = r->body;
    void (*release)(void *) = NULL;
    void *arg = NULL;
    if (chopin__own_copy(&c->w->site->heap, &out, &release, &arg)) {
        q->z.next_in = (Bytef *)(uintptr_t)r->body.ptr;
        q->z.avail_in = (uInt)r->body.len;
        q->z.next_out = (Bytef *)(uintptr_t)out.ptr;
        q->z.avail_out = (uInt)out.len;                      // no room for more than there was: then it is not worth it
        bool done = deflate(&q->z, Z_FINISH) == Z_STREAM_END && chopin__squeeze_tell(c, coding);
        if (done) {
            if (r->kind == CHOPIN__BODY_OWNED && r->release) r->release(r->arg);
            r->body = chopin__str(out.ptr, q->z.total_out);
            r->kind = CHOPIN__BODY_OWNED;
            r->release = release;
            r->arg = arg;
        } else {
            release(arg);
        }
    }
    chopin__squeeze_close(q);
}
#endif

/* Writes the reply into the queue. From here on it is too late for headers. */
static int chopin__reply_leave(chopin_ctx *c) {
    chopin_worker *w = c->w;
    chopin__piece *borrowed;
#ifdef CHOPIN_WITH_ZLIB
    chopin__squeeze_body(c);
#endif
    c->reply.left = true;
    if (CHOPIN__UNLIKELY(c->k->state == CHOPIN__DEAD)) return CHOPIN_GONE;
    bool ok = chopin__reply_write(&c->k->port.out, &w->pieces, &w->preset, &c->reply, chopin__ctx_framing(c), &borrowed);
    if (ok && CHOPIN__UNLIKELY(borrowed != NULL)) ok = chopin__piece_own(w, c->k, borrowed);
    if (ok) return CHOPIN_OK;
    c->k->abort = true;                                      // half a reply must not look like a whole one
    chopin__conn_lost(w, c->k);
    return CHOPIN_MEMORY;
}

/* Makes short-lived bytes last until the outermost middleware has returned. */
static int chopin__reply_keep(chopin_ctx *c) {
    chopin__reply *r = &c->reply;
    r->type = chopin__arena_copy(&c->arena, r->type);
    if (r->kind == CHOPIN__BODY_STATIC || r->kind == CHOPIN__BODY_OWNED || !r->body.len) return CHOPIN_OK;
    if (r->body.len <= CHOPIN__COPY_BELOW) {
        r->body = chopin__arena_copy(&c->arena, r->body);
        r->kind = CHOPIN__BODY_COPIED;
        return r->body.ptr ? CHOPIN_OK : CHOPIN_MEMORY;
    }
    if (!chopin__own_copy(&c->w->site->heap, &r->body, &r->release, &r->arg)) { c->arena.full = true; r->body.len = 0; return CHOPIN_MEMORY; }
    r->kind = CHOPIN__BODY_OWNED;
    return CHOPIN_OK;
}

static CHOPIN__NOINLINE int chopin__answer_refused(chopin_ctx *c, int status, chopin__body_kind kind, void (*release)(void *), void *arg, const char *why) {
    if (kind == CHOPIN__BODY_OWNED && release) release(arg);
    if (!c->reply.status) { chopin__ctx_log(c, CHOPIN_ERROR, "reply %d refused: %s", status, why); return CHOPIN_INVALID; }
    if (!c->reply.by_us) chopin__ctx_log(c, CHOPIN_WARNING, "second reply (%d) to a request already answered with %d ignored", status, c->reply.status);
    return CHOPIN_OK;
}

/* Most replies: 200, a short body that may be copied, no further headers, a connection that goes on. Head and body are written in one piece straight
 * into the queue, which saves half the instructions of the general way. False: that one must be taken. */
static inline bool chopin__reply_plain(chopin_ctx *c, int status, chopin_str type, chopin_str body) {
    chopin_worker *w = c->w;
    chopin__reply *r = &c->reply;
#ifdef CHOPIN_WITH_ZLIB
    if (w->site->options.compress && body.len >= w->site->options.compress_min) return false;
#endif
    if (status != 200 || r->hold || c->arena.full || r->lines_len || r->type.ptr || !type.len || body.len > CHOPIN__COPY_BELOW || c->k->state == CHOPIN__DEAD) return false;
    chopin__framing f = chopin__ctx_framing(c);
    if (f.head_only || f.close || f.keep_1_0) return false;
    char *to = chopin__queue_reserve(&c->k->port.out, &w->pieces, sizeof w->preset.text + type.len + body.len + 64), *start = to;
    if (!to) return false;
    memcpy(to, w->preset.text, 96);                          // more than there is, as a rule: a size the compiler knows
    if (CHOPIN__UNLIKELY(w->preset.len > 96)) memcpy(to + 96, w->preset.text + 96, w->preset.len - 96);
    to += w->preset.len;
    to = CHOPIN__PUT(to, "Content-Type: ");
    to = chopin__put_short(to, type.ptr, type.len);
    to = CHOPIN__PUT(to, "\r\nContent-Length: ");
    to = chopin__put_length(to, body.len);
    to = CHOPIN__PUT(to, "\r\n\r\n");
    if (body.len) to = chopin__put_short(to, body.ptr, body.len);
    chopin__queue_wrote(&c->k->port.out, (size_t)(to - start));
    r->status = 200;
    r->left = true;
    return true;
}

/* The one way to answer: every reply helper ends here. */
static inline int chopin__answer(chopin_ctx *c, int status, chopin_str type, chopin_str body, chopin__body_kind kind, void (*release)(void *), void *arg) {
    chopin__reply *r = &c->reply;
    if (CHOPIN__UNLIKELY(r->status)) return chopin__answer_refused(c, status, kind, release, arg, "");
    if (CHOPIN__UNLIKELY(status < 200 || status > 999)) return chopin__answer_refused(c, status, kind, release, arg, "a status is 200 to 999");
    if (CHOPIN__LIKELY(kind != CHOPIN__BODY_OWNED) && chopin__reply_plain(c, status, type, body)) return CHOPIN_OK;
    r->status = status;
    r->kind = (uint8_t)kind;
    if (!r->type.ptr) r->type = type;                        // chopin_set(c, "Content-Type", ...) wins
    r->body = CHOPIN__LIKELY(status != 205) ? body : chopin__absent();  // Reset Content has none (RFC 9110 15.3.6)
    r->release = release;
    r->arg = arg;
    // What could not be allocated may be missing in it: held back, to become a 503.
    return r->hold || CHOPIN__UNLIKELY(c->arena.full) ? chopin__reply_keep(c) : chopin__reply_leave(c);
}

static int chopin__answer_copy(chopin_ctx *c, int status, chopin_str type, chopin_str body) {
    return chopin__answer(c, status, type, body, CHOPIN__BODY_COPIED, NULL, NULL);
}

static uint64_t chopin__ctx_id(chopin_ctx *c) {
    if (!c->id) c->id = chopin__random_next(&c->w->random) | 1;
    return c->id;
}

/* Headers that were set for a body which will not be sent. */
static void chopin__lines_forget_body(chopin__reply *r) {
    static const char *const of_body[] = { "Content-Encoding", "Content-Language", "Content-Range", "Content-Disposition", "Cache-Control", "Expires", "ETag", "Last-Modified" };
    r->type = chopin__absent();
    for (size_t i = 0; r->lines_len && i < CHOPIN__COUNT(of_body); i++) chopin__lines_remove(r, chopin__str_z(of_body[i]));
}

/* application/problem+json (RFC 9457). `tell`: the client sees the text, else the request id. */
static int chopin__problem(chopin_ctx *c, int status, chopin_str text, bool tell) {
    char room[512], id[32];
    chopin__json_out out = { .ptr = room, .cap = sizeof room, .arena = &c->arena };
    if (c->reply.status) return chopin__answer_refused(c, status, CHOPIN__BODY_NONE, NULL, NULL, "");
    chopin__lines_forget_body(&c->reply);
    snprintf(id, sizeof id, "request %016llx", (unsigned long long)chopin__ctx_id(c));
    chopin__json_put(&out, "{\"status\":", 10);
    chopin__json_u64(&out, (uint64_t)status);
    chopin__json_put(&out, ",\"title\":", 9);
    chopin__json_string(&out, chopin__str_z(chopin__reason(status)));
    chopin__json_put(&out, tell ? ",\"detail\":" : ",\"instance\":", tell ? 10 : 12);
    chopin__json_string(&out, tell ? text : chopin__str_z(id));
    chopin__json_put(&out, "}\n", 2);
    return chopin__answer_copy(c, status, CHOPIN_STR("application/problem+json"), chopin__str(out.ptr, out.failed ? 0 : out.len));
}

/* From 500 on the text is for the log alone. */
static int chopin__fail(chopin_ctx *c, int status, chopin_str text) {
    bool inside = status >= 500;
    if (inside && !c->reply.status) {
        chopin__ctx_log(c, CHOPIN_ERROR, "%d: %.*s [request %016llx]", status, CHOPIN_FMT(text), (unsigned long long)chopin__ctx_id(c));
    }
    return chopin__problem(c, status, text, !inside);
}

/* Answers for the handler: what it says afterwards is not worth a log line. */
static int chopin__fail_by_us(chopin_ctx *c, int status, const char *text) {
    if (!c->reply.status) {
        chopin__fail(c, status, chopin__str_z(text));
        c->reply.by_us = true;
    }
    return CHOPIN_ANSWERED;
}

/* A reply that was recorded but has not left is forgotten. */
static void chopin__reply_drop(chopin_ctx *c) {
    if (c->reply.release) c->reply.release(c->reply.arg);
    bool hold = c->reply.hold;
    chopin_str lines = chopin__str(c->reply.lines, c->reply.lines_len);
    c->reply = (chopin__reply){ .hold = hold, .lines = (char *)(uintptr_t)lines.ptr, .lines_len = (uint32_t)lines.len, .lines_cap = (uint32_t)lines.len };
}

/* ---- input buffers ---- */

/* An own buffer with the unused input; the borrowed one is the worker's again. False: out of memory. */
static bool chopin__conn_own_input(chopin_worker *w, chopin__conn *k) {
    if (!k->borrowed) return true;
    uint32_t left = k->len - k->pos;
    char *own = left ? chopin__pool_take(&w->inputs) : NULL;
    if (left && !own) return false;
    if (left) memcpy(own, k->buf + k->pos, left);
    k->buf = own;
    k->pos = 0;
    k->len = left;
    k->borrowed = false;
    return true;
}

/* Bytes that were used up go; without any left the buffer goes too. */
static void chopin__conn_tidy_input(chopin_worker *w, chopin__conn *k) {
    if (k->pos < k->len) {
        if (k->pos) memmove(k->buf, k->buf + k->pos, k->len - k->pos);
        k->len -= k->pos;
        k->pos = 0;
        return;
    }
    if (k->buf && !k->borrowed) chopin__pool_give(&w->inputs, k->buf);
    k->buf = NULL;
    k->pos = k->len = 0;
    k->borrowed = false;
}

/* The handler parks: the buffer under its views becomes the request's own, and the input behind it moves to another one. */
static bool chopin__ctx_pin(chopin_worker *w, chopin__conn *k, chopin_ctx *c) {
    if (c->pinned || !k->buf) return true;
    if (c->slim) return chopin__conn_own_input(w, k);
    uint32_t left = k->len - k->pos;
    char *fresh = k->borrowed || left ? chopin__pool_take(&w->inputs) : NULL;
    char *second = k->borrowed && left ? chopin__pool_take(&w->inputs) : NULL;
    if (((k->borrowed || left) && !fresh) || (k->borrowed && left && !second)) {
        if (fresh) chopin__pool_give(&w->inputs, fresh);
        if (second) chopin__pool_give(&w->inputs, second);
        return false;
    }
    char *next = k->borrowed ? second : fresh;
    if (left) memcpy(next, k->buf + k->pos, left);
    c->pinned = k->buf;
    if (k->borrowed) w->io.buf = fresh;
    k->buf = left ? next : NULL;
    k->pos = 0;
    k->len = left;
    k->borrowed = false;
    return true;
}

/* For handlers that will be parked for long: the head is copied, so that no whole buffer is kept for it. Without effect when that cannot be. */
static void chopin__ctx_slim(chopin_ctx *c) {
    chopin__conn *k = c->k;
    const char   *end = k->buf + k->pos;
    if (c->slim || c->pinned || c->body.mode || !k->buf || c->base < k->buf || c->base > end) return;
    chopin_str copy = chopin__arena_copy(&c->arena, chopin__str(c->base, (size_t)(end - c->base)));
    if (!copy.ptr) { c->arena.full = false; return; }
    c->base = copy.ptr;
    c->slim = true;
}

/* ---- request bodies ---- */

/* Space for `more` decoded bytes in a buffer of our own. Grows with what has come, not with what was announced. */
static bool chopin__body_room(chopin_ctx *c, size_t more) {
    chopin__body *b = &c->body;
    size_t need = b->len + more;
    if (b->own && need <= b->cap) return true;
    size_t cap = chopin__max(need, b->own ? b->cap * 2 : need);
    if (b->mode == CHOPIN__LENGTH && b->left < SIZE_MAX - need) cap = chopin__min(cap, need + (size_t)b->left);
    char *own = chopin__realloc(&c->w->site->heap, b->own, b->cap, cap);
    if (!own) return false;
    if (!b->own && b->len) memcpy(own, b->ptr, b->len);
    b->own = b->ptr = own;
    b->cap = cap;
    return true;
}

/* `n` decoded bytes stand at `at`: kept in place while the request's buffer holds all of them, appended to our own later, or thrown away. */
static int chopin__body_keep(chopin_ctx *c, char *at, size_t n) {
    chopin__body *b = &c->body;
    if (b->discard) { b->len += n; return b->len > c->w->site->options.max_drain ? -413 : 0; }
    if (n > b->limit - b->len) return -413;
    if (!b->own && !c->pinned && (b->len == 0 || b->ptr + b->len == at)) {
        if (b->len == 0) b->ptr = at;
        b->len += n;
        return 0;
    }
    if (!n) return 0;
    if (!chopin__body_room(c, n)) return -503;
    memcpy(b->own + b->len, at, n);
    b->len += n;
    return 0;
}

/* The trailer section, once all of it is there: 1, 0 for more, or minus a status. Its bytes are copied: the input buffer moves on. */
static int chopin__body_trailer(chopin_worker *w, chopin__conn *k, chopin_ctx *c) {
    chopin__body *b = &c->body;
    if (!b->trailer) {
        size_t size = sizeof *b->trailer + w->site->rules.max_headers * sizeof(chopin__field);
        if (k->len - k->pos >= 2 && memcmp(k->buf + k->pos, "\r\n", 2) == 0) { k->pos += 2; return 1; }   // nearly always
        b->trailer = chopin__arena_alloc(&c->arena, size);
        if (!b->trailer) return -503;
        chopin__head_reset(b->trailer);
        b->trailer->fields = (chopin__field *)(void *)(b->trailer + 1);
    }
    int n = chopin__trailer_parse(b->trailer, &w->site->rules, k->buf + k->pos, k->len - k->pos);
    if (n <= 0) return n;
    b->trailer_base = chopin__arena_copy(&c->arena, chopin__str(k->buf + k->pos, (size_t)n)).ptr;
    k->pos += (uint32_t)n;
    return b->trailer_base ? 1 : -503;
}

/* Decodes in place, so that nothing is copied twice. */
static int chopin__body_chunks(chopin_worker *w, chopin__conn *k, chopin_ctx *c) {
    chopin__body *b = &c->body;
    if (!b->last_chunk) {
        size_t used = 0, produced = 0;
        char  *in = k->buf + k->pos, *out = !b->own && !c->pinned && !b->discard && b->len ? b->ptr + b->len : in;
        int    rc = chopin__chunks_decode(&b->chunks, &w->site->rules, in, k->len - k->pos, &used, out, &produced);
        k->pos += (uint32_t)used;
        int kept = chopin__body_keep(c, out, produced);
        if (rc < 0 || kept < 0) return rc < 0 ? rc : kept;
        if (!b->discard && b->chunks.total > b->limit) return -413;
        if (rc == 0) return 0;
        b->last_chunk = true;
    }
    return chopin__body_trailer(w, k, c);
}

/* Uses up input for the body: 1 when it is complete, 0 for more, or minus the status to answer with. */
static int chopin__body_feed(chopin_worker *w, chopin__conn *k, chopin_ctx *c) {
    chopin__body *b = &c->body;
    uint32_t before = k->pos;
    int rc;
    if (b->mode == CHOPIN__CHUNKED) {
        rc = k->pos < k->len ? chopin__body_chunks(w, k, c) : 0;
    } else {
        size_t n = (size_t)(b->left < k->len - k->pos ? b->left : k->len - k->pos);
        rc = n ? chopin__body_keep(c, k->buf + k->pos, n) : 0;
        k->pos += (uint32_t)n;
        b->left -= n;
        if (!rc) rc = b->left == 0;
    }
    b->received += k->pos - before;
    b->arrived = b->arrived || k->pos > before;
    b->complete = rc == 1;
    return rc;
}

static const char *chopin__body_why(const chopin_ctx *c, int status) {
    switch (status) {
    case 413: return chopin_status_text(CHOPIN_TOO_LARGE);
    case 408: return "the body came too slowly";
    case 503: return chopin_status_text(CHOPIN_MEMORY);
    default:  return c->body.trailer && c->body.trailer->why ? c->body.trailer->why : c->body.chunks.why ? c->body.chunks.why : "malformed body";
    }
}


/* ---- settling: the end of every event ---- */

static void chopin__conn_reap(chopin_worker *w, chopin__conn *k) {
    if (k->ctx) chopin__ctx_give(k->ctx);
    if (k->buf && !k->borrowed) chopin__pool_give(&w->inputs, k->buf);
    w->connections--;
    chopin__count(&w->counts.closed);
    chopin__slab_give(&w->slab, k);
}

/* All is sent. Input may still be on its way: closing now would answer it with a reset, which can overtake our last bytes, so
 * only our side is shut and what comes is thrown away for a while (RFC 9112 9.6). */
static void chopin__conn_end(chopin_worker *w, chopin__conn *k) {
    if (k->abort || !k->linger || w->site->options.linger_ms < 0) { chopin__conn_kill(w, k); return; }
    k->state = CHOPIN__LINGERING;
    w->io.ops->finish(&w->io, &k->port);
    k->pos = k->len;
    chopin__conn_tidy_input(w, k);
    k->read_due = chopin__after(w->now, w->site->options.linger_ms);
}

/* Where the bytes of a body are received straight to: its own buffer, or that of whoever reads it. NULL: they must be looked at first. */
static char *chopin__conn_body_target(const chopin__conn *k, size_t *room) {
    if (k->state != CHOPIN__HANDLING && k->state != CHOPIN__AWAITING) return NULL;
    const chopin__body *b = &k->ctx->body;
    *room = b->pull ? b->room - b->got : b->own ? b->cap - b->len : 0;
    if (b->mode == CHOPIN__CHUNKED || !*room) return NULL;
    if (b->left < *room) *room = (size_t)b->left;
    return b->pull ? b->to + b->got : b->own + b->len;
}

/* Requests have come whose turn is when more of the output has left; until then even the end of the stream must wait. */
static bool chopin__conn_paused(const chopin__conn *k) { return !k->ctx && k->pos < k->len; }

static bool chopin__conn_wants_input(const chopin_worker *w, const chopin__conn *k) {
    switch ((chopin__conn_state)k->state) {
    case CHOPIN__READING:  return !chopin__conn_paused(k) && k->port.out.bytes <= w->site->options.high_water;
    case CHOPIN__AWAITING:
    case CHOPIN__HANDLING: return k->ctx->body.mode && k->ctx->body.wanted && !k->ctx->body.complete && !k->ctx->body.failed;
    case CHOPIN__DRAINING:
    case CHOPIN__LINGERING: return true;
    default: return false;
    }
}

/* Tells the backend whether input is wanted, and where to. */
static void chopin__conn_arm(chopin_worker *w, chopin__conn *k) {
    bool wants = chopin__conn_wants_input(w, k);
    k->port.buf = NULL;
    if (CHOPIN__UNLIKELY(wants && (k->buf || k->state != CHOPIN__READING))) {
        size_t room;
        char  *target = chopin__conn_body_target(k, &room);
        if (target) {
            k->port.buf = target;
            k->port.room = (uint32_t)chopin__min(room, INT32_MAX);
        } else if (k->buf) {
            k->port.buf = k->buf + k->len;
            k->port.room = (uint32_t)w->inputs.block_size - k->len;
        }
    }
    if (CHOPIN__LIKELY(wants == ((k->port.armed & CHOPIN__IN) != 0))) return;
    if (wants) w->io.ops->start(&w->io, &k->port, CHOPIN__IN);
    else       w->io.ops->stop(&w->io, &k->port, CHOPIN__IN);
}

/* Between requests the idle deadline runs, from the first byte of a head that of the head, and none while we are the ones who wait. */
static void chopin__conn_reading_due(chopin_worker *w, chopin__conn *k) {
    if (CHOPIN__LIKELY(!k->buf && !k->ctx)) {
        k->in_head = false;
        k->read_due = CHOPIN__LIKELY(!k->port.out.bytes) ? chopin__after(w->now, w->site->options.idle_timeout_ms) : CHOPIN__NEVER;
    } else if (chopin__conn_paused(k) || k->port.out.bytes > w->site->options.high_water) {
        k->in_head = false;
        k->read_due = CHOPIN__NEVER;
    } else if (!k->in_head) {
        k->in_head = true;
        k->read_due = chopin__after(w->now, w->site->options.header_timeout_ms);
    }
}

/* All it was asked has been answered and sent, nothing is left over: the usual end of an event, in a few instructions. */
static inline bool chopin__conn_at_rest(const chopin__conn *k) {
    return k->state == CHOPIN__READING && k->borrowed && k->pos == k->len && !k->ctx && !k->port.out.bytes && k->port.armed == CHOPIN__IN;
}

static inline void chopin__conn_rest(chopin_worker *w, chopin__conn *k) {
    k->buf = NULL;
    k->pos = k->len = 0;
    k->borrowed = k->in_head = false;
    k->port.buf = NULL;
    k->read_due = chopin__after(w->now, w->site->options.idle_timeout_ms);
    chopin__timer_set(&w->wheel, &k->timer, k->read_due);
}

static void chopin__conn_settle(chopin_worker *w, chopin__conn *k) {
    if (CHOPIN__LIKELY(k->state != CHOPIN__DEAD)) chopin__conn_flush(w, k);
    if (CHOPIN__LIKELY(chopin__conn_at_rest(k))) {
        chopin__conn_rest(w, k);
        return;
    }
    if (CHOPIN__LIKELY(k->state == CHOPIN__READING)) {
        if (k->buf) {
            if (!chopin__conn_own_input(w, k)) { k->abort = true; chopin__conn_kill(w, k); }
            else if (!k->borrowed) chopin__conn_tidy_input(w, k);
        }
        chopin__conn_reading_due(w, k);
    } else if (k->state == CHOPIN__CLOSING) {
        k->read_due = CHOPIN__NEVER;                         // only the deadline of the output counts now
        if (k->port.sending)         w->io.ops->start(&w->io, &k->port, CHOPIN__OUT);    // says when all has left
        else if (!k->port.out.bytes) chopin__conn_end(w, k);
    }
    if (CHOPIN__UNLIKELY(k->state == CHOPIN__DEAD)) {
        if (!k->handling) chopin__conn_reap(w, k);
        return;
    }
    chopin__conn_arm(w, k);
    chopin__conn_set_timer(w, k);
}

/* ---- parking ---- */

static void chopin__wait_link(chopin_worker *w, chopin__wait *wait, int64_t due) {
    wait->parked = true;
    wait->prev = NULL;
    wait->next = w->parked;
    if (w->parked) w->parked->prev = wait;
    w->parked = wait;
    w->parked_count++;
    wait->timer.of_wait = true;
    chopin__timer_set(&w->wheel, &wait->timer, due);
    chopin__count(&w->counts.parked);
}

/* Parks the current fiber until chopin__wake() or `due`, which gives CHOPIN_TIMEOUT. `c` is whose handler it is, or NULL. The loop goes on on another
 * fiber. FULL: no fiber is to be had, nothing has happened. */
static int chopin__park(chopin_worker *w, chopin_ctx *c, chopin__wait *wait, int64_t due) {
    if (c && c->gone && !wait->stubborn) return CHOPIN_GONE;
    if ((w->cancelled && !wait->stubborn) || (w->draining && wait->endless)) return CHOPIN_CANCELED;
    chopin__fiber *next = w->parked_count < w->site->options.max_parked ? chopin__fiber_take(&w->fibers) : NULL;
    if (!next) return CHOPIN_FULL;
    if (c && !chopin__ctx_pin(w, c->k, c)) { chopin__fiber_give(&w->fibers, next); return CHOPIN_MEMORY; }
    wait->fiber = w->fibers.current;
    wait->ctx = c;
    chopin__wait_link(w, wait, c && c->deadline < due && !wait->stubborn ? c->deadline : due);
    chopin_ctx *running = w->running;
    w->running = NULL;
    if (c) { c->wait = wait; chopin__conn_settle(w, c->k); }
    chopin__fiber_switch(&w->fibers, next);
    w->running = running;
    if (c) c->wait = NULL;
    return wait->result;
}

/* No fiber, no memory: the request is answered 503 and the wait fails. */
static int chopin__park_failed(chopin_ctx *c, int status) {
    if (c && (status == CHOPIN_FULL || status == CHOPIN_MEMORY)) chopin__fail_by_us(c, 503, chopin_status_text(status));
    return status;
}

#if defined(CHOPIN_NO_FIBERS)
/* The worker was blocked since then; the clock of >>script, which stands still meanwhile, is told. */
static void chopin__wait_blocked(chopin_worker *w, int64_t since_ms) {
    if (w->io.ops == &chopin__script_ops) ((chopin__script *)w->io.state)->now += chopin__clock_ms() - since_ms;
    w->now = w->io.ops->now(&w->io);
}

static int chopin__wait_blocking(chopin_worker *w, int fd, int events, int64_t deadline_ms) {
    int64_t since = chopin__clock_ms();
    struct pollfd p = { .fd = fd, .events = (short)((events & CHOPIN_READ ? POLLIN : 0) | (events & CHOPIN_WRITE ? POLLOUT : 0)) };
    int64_t left = deadline_ms < 0 ? -1 : deadline_ms - w->io.ops->now(&w->io);
    int n = poll(&p, fd < 0 ? 0 : 1, deadline_ms < 0 ? -1 : left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left);
    chopin__wait_blocked(w, since);
    if (n <= 0) return n < 0 && errno != EINTR ? CHOPIN_SYSTEM : CHOPIN_TIMEOUT;
    return ((p.revents & ~POLLOUT ? CHOPIN_READ : 0) | (p.revents & ~POLLIN ? CHOPIN_WRITE : 0)) & events;
}
#endif

/* ---- the body, on demand ---- */

/* Some room ahead of what comes next, so that it is received where it belongs: twice what we have, 64 KiB at first. */
static bool chopin__body_prepare(chopin_ctx *c) {
    chopin__body *b = &c->body;
    if (b->mode != CHOPIN__LENGTH || b->complete || (b->own && b->cap > b->len)) return true;
    size_t ahead = chopin__max(b->len, 65536);
    return chopin__body_room(c, b->left < ahead ? (size_t)b->left : ahead);
}

static void chopin__body_continue(chopin_ctx *c) {
    if (!c->head.expect_continue || c->body.arrived || c->reply.left) return;
    chopin__queue_copy(&c->k->port.out, &c->w->pieces, CHOPIN_STR("HTTP/1.1 100 Continue\r\n\r\n"));
}

/* From here on the rest of the body is received, and the client told to send it if it waits for that. */
static int chopin__body_want(chopin_ctx *c) {
    chopin__body *b = &c->body;
    if (!b->wanted) {
        chopin__body_continue(c);
        b->wanted = true;
        b->started = c->w->now;
        chopin__body_set_due(c->w, c->k, c);
    }
    return chopin__body_prepare(c) ? CHOPIN_OK : CHOPIN_MEMORY;
}

static int chopin__body_refuse(chopin_ctx *c, int status) {
    c->body.failed = status;
    c->k->linger = true;
    return chopin__fail_by_us(c, status, chopin__body_why(c, status));
}

/* Input for the body has come: 1 when it is complete, 0, or minus a status. */
static int chopin__conn_body_input(chopin_worker *w, chopin__conn *k, int64_t n) {
    chopin_ctx   *c = k->ctx;
    chopin__body *b = &c->body;
    size_t room;
    int    rc;
    if (k->port.buf && k->port.buf == chopin__conn_body_target(k, &room)) {
        if (b->pull) b->got += (size_t)n;
        else         b->len += (size_t)n;
        b->left -= (uint64_t)n;
        b->received += (uint64_t)n;
        b->arrived = true;
        b->complete = b->left == 0;
        rc = b->complete;
    } else {
        rc = b->pull ? b->pull(w, k, c) : chopin__body_feed(w, k, c);
        if (!chopin__conn_own_input(w, k)) rc = -503;
        else if (!k->borrowed) chopin__conn_tidy_input(w, k);
    }
    if (rc == 0 && !b->pull && !chopin__body_prepare(c)) rc = -503;
    if (CHOPIN__LIKELY(b->mode != CHOPIN__RAW)) chopin__body_set_due(w, k, c);
    return rc;
}

/* ---- running a request ---- */

/* Does `path` lie under `prefix`, segment by segment? A `:name` in the prefix stands for any segment. `pattern`: `path` is the pattern of a route, and the question
 * is whether some path of that route may lie there. */
static bool chopin__under_as(chopin_str prefix, chopin_str path, bool pattern) {
    if (!path.len || path.ptr[0] != '/') return false;                  // "OPTIONS *" lies nowhere
    chopin__cut(&prefix, '/');
    chopin__cut(&path, '/');
    while (prefix.len) {
        chopin_str want = chopin__cut(&prefix, '/'), have = chopin__cut(&path, '/');
        bool wild = have.len && (want.ptr[0] == ':' || (pattern && have.ptr[0] == ':'));
        if (pattern && have.len && have.ptr[0] == '*') return true;
        if (!wild && !chopin__equal(want, have)) return false;
    }
    return true;
}

static bool chopin__under(chopin_str prefix, chopin_str path) { return chopin__under_as(prefix, path, false); }

static chopin_str chopin__ctx_path(const chopin_ctx *c) { return chopin__ctx_str(c, c->head.path, c->head.path_len); }
static chopin_str chopin__ctx_method(const chopin_ctx *c) { return chopin__ctx_str(c, c->head.method, c->head.method_len); }

static int chopin__answer_allow(chopin_ctx *c, int status) {
    char   room[512], *text = room;
    size_t n = chopin__router_allow(&c->w->site->router, chopin__ctx_path(c), c->head.percent, room, sizeof room);
    if (n > sizeof room && (text = chopin__arena_alloc(&c->arena, n)) != NULL) {
        chopin__router_allow(&c->w->site->router, chopin__ctx_path(c), c->head.percent, text, n);
    }
    if (text) chopin__lines_add(&c->reply, &c->arena, CHOPIN_STR("Allow"), chopin__str(text, n));
    if (status == 204) return chopin__answer(c, 204, chopin__absent(), chopin__absent(), CHOPIN__BODY_NONE, NULL, NULL);
    return chopin__problem(c, status, CHOPIN_STR("this path does not answer to that method; Allow lists those it does"), true);
}

/* The path with its last slash added or taken away is a route: 308 there, query included (chopin_options.redirect_slash). */
static bool chopin__answer_slash(chopin_ctx *c) {
    char *room = chopin__arena_alloc(&c->arena, (size_t)c->head.path_len + c->head.query_len + 2);
    if (!room) return false;
    chopin_str other = chopin__router_other_slash(&c->w->site->router, chopin__ctx_method(c), chopin__ctx_path(c), c->head.percent, room);
    if (!other.ptr) return false;
    memmove(room, other.ptr, other.len);
    char *end = room + other.len;
    if (c->head.has_query) {
        *end++ = '?';
        end = chopin__put(end, c->base + c->head.query, c->head.query_len);
    }
    chopin__lines_add(&c->reply, &c->arena, CHOPIN_STR("Location"), chopin__str(room, (size_t)(end - room)));
    chopin__answer(c, 308, chopin__absent(), chopin__absent(), CHOPIN__BODY_NONE, NULL, NULL);
    return true;
}

static const char *chopin__refuse_why(const chopin_ctx *c) {
    if (c->refuse == 503) return "the server is at its connection limit: try again";
    if (c->body.mode) return chopin__body_why(c, c->refuse);
    return "malformed percent escape in the target";
}

/* What stands at the end of a chain when no handler is to run. */
static int chopin__special(chopin_ctx *c) {
    bool options = chopin__equal(chopin__ctx_method(c), CHOPIN_STR("OPTIONS"));
    if (c->refuse == 503) chopin__lines_add(&c->reply, &c->arena, CHOPIN_STR("Retry-After"), CHOPIN_STR("1"));
    if (c->refuse) return chopin__problem(c, c->refuse, chopin__str_z(chopin__refuse_why(c)), true);
    if (options && (c->found == CHOPIN__NO_METHOD || chopin__equal(chopin__ctx_path(c), CHOPIN_STR("*")))) return chopin__answer_allow(c, 204);
    if (c->found == CHOPIN__NO_METHOD) return chopin__answer_allow(c, 405);
    if (c->found == CHOPIN__UNKNOWN_METHOD) return chopin__problem(c, 501, CHOPIN_STR("no route answers to that method"), true);
    if (c->w->site->options.redirect_slash && chopin__answer_slash(c)) return CHOPIN_OK;
    return chopin__problem(c, 404, CHOPIN_STR("there is nothing at this path"), true);
}

static const chopin__step chopin__special_step = { chopin__special, NULL };

/* The middleware that covers this very request goes to `steps`; gives how many. An encoded path is also looked at decoded, so that "%61dmin" does not slip past "admin". */
static uint32_t chopin__ctx_uses(chopin_ctx *c, chopin__step *steps) {
    chopin_str path = chopin__ctx_path(c), decoded = path;
    uint32_t   n = 0;
    char *to = c->head.percent && chopin__percent_ok(path) ? chopin__arena_alloc(&c->arena, path.len) : NULL;
    if (to) decoded = chopin__str(to, chopin__percent_decode(to, path, false));
    for (const chopin__use *use = c->w->site->uses; use; use = use->next) {
        bool covers = chopin__under(use->prefix, path) || chopin__under(use->prefix, decoded) || (c->endpoint && chopin__under(use->prefix, c->endpoint->route.pattern));
        if (covers) steps[n++] = use->step;
    }
    return n;
}

static chopin__step *chopin__ctx_new_steps(chopin_ctx *c, size_t most) {
    for (const chopin__use *use = c->w->site->uses; use; use = use->next) most++;
    return chopin__arena_alloc(&c->arena, most * sizeof(chopin__step));
}

/* The chain of a route that middleware covers for some of its paths only: `/:section/x` with chopin_use(app, "/admin", ...). */
static void chopin__ctx_varied(chopin_ctx *c) {
    const chopin__endpoint *e = c->endpoint;
    chopin__step *steps = chopin__ctx_new_steps(c, e->own_count);
    if (!steps) { c->refuse = 503; return; }                 // without memory nobody gets past a check
    c->step_count = chopin__ctx_uses(c, steps);
    memcpy(steps + c->step_count, e->steps + e->step_count - e->own_count, e->own_count * sizeof *steps);
    c->step_count += e->own_count;
    c->steps = steps;
}

/* The chain of a request that no handler answers: the route's middleware if there is a route, else what covers the path. */
static void chopin__ctx_special(chopin_ctx *c) {
    uint32_t before = c->endpoint && c->step_count ? c->step_count - 1 : 0;
    chopin__step *steps = before || c->w->site->uses ? chopin__ctx_new_steps(c, before + 1) : NULL;
    if (steps && c->endpoint) memcpy(steps, c->steps, before * sizeof *steps);
    if (steps && !c->endpoint) before = chopin__ctx_uses(c, steps);
    if (steps) steps[before] = chopin__special_step;
    c->steps = steps ? steps : &chopin__special_step;
    c->step_count = steps ? before + 1 : 1;
}

/* Runs the deferred functions, last first. Each is unlinked before it runs, so one that crashes does not run again. */
static void chopin__ctx_run_deferred(chopin_ctx *c) {
    while (c->deferred) {
        chopin__deferred *d = c->deferred;
        c->deferred = d->next;
        d->fn(d->arg);
    }
}

/* Makes sure that something has been answered, and names whoever forgot to. */
static void chopin__ctx_answer_rest(chopin_ctx *c, int rc) {
    chopin__reply *r = &c->reply;
    r->hold = false;
    if (c->gone && !r->left) return;                         // nobody is there to be answered, and it was no mistake of the handler's
    if (CHOPIN__UNLIKELY(r->finish != NULL)) rc = r->finish(c, rc);
    if (r->left) {
        if (rc >= 0 || r->by_us || rc == CHOPIN_GONE) return;
        chopin__ctx_log(c, CHOPIN_WARNING, "handler returned %d (%s) after its reply", rc, chopin_status_text(rc));
        c->k->keep = false;                                  // what it has queued still leaves, nothing behind it is served
        return;
    }
    bool timed_out = c->deadline <= c->w->now;
    if (c->arena.full) {
        chopin__reply_drop(c);
        c->arena.full = false;                               // so that this one leaves
        chopin__fail(c, 503, CHOPIN_STR("request memory is used up (raise chopin_options.max_arena)"));
    } else if (rc < 0 && !r->by_us && !c->gone) {
        if (r->status) chopin__reply_drop(c);
        chopin__fail(c, timed_out ? 503 : 500, chopin__str_z(chopin_status_text(rc)));
    } else if (!r->status) {
        chopin__fail(c, timed_out ? 503 : 500, timed_out ? CHOPIN_STR("handler timeout") : CHOPIN_STR("the handler returned without a reply"));
    }
    if (!r->left) chopin__reply_leave(c);
}

static void chopin__conn_release_ctx(chopin__conn *k) {
    chopin__ctx_give(k->ctx);
    k->ctx = NULL;
}

static void chopin__conn_close_after(chopin__conn *k) {
    if (k->state == CHOPIN__DEAD) return;
    k->linger = k->linger || k->pos < k->len || k->port.ready & CHOPIN__IN;
    k->state = CHOPIN__CLOSING;
}

/* Throws away what is left of a body. */
static void chopin__conn_drain(chopin_worker *w, chopin__conn *k) {
    chopin_ctx *c = k->ctx;
    int rc = chopin__body_feed(w, k, c);
    if (rc == 0 && !chopin__conn_own_input(w, k)) rc = -503; // half a trailer line may be left
    if (rc == 0) {
        chopin__conn_tidy_input(w, k);
        chopin__body_set_due(w, k, c);
        return;
    }
    k->linger = rc < 0;
    chopin__conn_release_ctx(k);
    k->state = CHOPIN__READING;
    if (rc < 0) chopin__conn_close_after(k);
}

/* The handler has returned, or was abandoned: the reply leaves, and the connection goes on to what follows. */
static inline void chopin__conn_conclude(chopin_worker *w, chopin__conn *k, chopin_ctx *c, int rc) {
    chopin__ctx_answer_rest(c, rc);
    if (CHOPIN__UNLIKELY(c->deferred != NULL)) chopin__ctx_run_deferred(c);
    w->running = NULL;
    k->handling = false;
    atomic_store_explicit(&k->serial, atomic_load_explicit(&k->serial, memory_order_relaxed) + 1, memory_order_release);
    if (CHOPIN__UNLIKELY(k->state == CHOPIN__DEAD)) { chopin__conn_release_ctx(k); return; }
    k->read_due = CHOPIN__NEVER;
    k->state = CHOPIN__READING;
    if (CHOPIN__UNLIKELY(!k->keep)) {
        k->linger = k->linger || chopin__body_left_over(c);
        chopin__conn_release_ctx(k);
        chopin__conn_close_after(k);
    } else if (CHOPIN__UNLIKELY(chopin__body_left_over(c))) {
        k->state = CHOPIN__DRAINING;
        c->body.discard = true;
        c->body.len = 0;
        c->body.started = w->now;
        c->base = NULL;
        chopin__conn_drain(w, k);
    } else {
        chopin__conn_release_ctx(k);
    }
}

static inline void chopin__conn_handle(chopin_worker *w, chopin__conn *k, chopin_ctx *c) {
    if (CHOPIN__UNLIKELY(c->refuse || !c->endpoint)) chopin__ctx_special(c);
    c->reply.hold = c->step_count > 1;
    k->state = CHOPIN__HANDLING;
    k->handling = true;
    w->running = c;
    w->last_endpoint = c->endpoint;
    int rc = c->steps[0].fn(c);
    chopin__conn_conclude(w, k, c, rc);
}

/* Ready bytes, with the Date of this second. False: the ordinary way must be taken. */
static bool chopin__conn_fixed(chopin_worker *w, chopin__conn *k, chopin_ctx *c) {
    const chopin__fixed *f = c->endpoint->fixed;
    if (c->body.mode || c->head.minor == 0 || f->status != 200 || (f->etag.ptr && c->head.slot[CHOPIN_H_IF_NONE_MATCH])) return false;
    chopin__framing framing = chopin__ctx_framing(c);
    size_t tail = f->tail.len - (framing.head_only ? f->body_len : 0);
    char  *to = framing.close ? NULL : chopin__queue_reserve(&k->port.out, &w->pieces, w->preset.len + tail);
    if (!to) return false;
    to = chopin__put(to, w->preset.text, w->preset.len);
    memcpy(to, f->tail.ptr, tail);
    chopin__queue_wrote(&k->port.out, w->preset.len + tail);
    chopin__conn_release_ctx(k);
    return true;
}

/* What the head says about the body, and what of it is here already. */
static void chopin__conn_begin_body(chopin_worker *w, chopin__conn *k, chopin_ctx *c) {
    chopin__body *b = &c->body;
    if (!c->head.chunked && (!c->head.has_length || c->head.content_length == 0)) return;
    *b = (chopin__body){ 0 };
    b->mode = c->head.chunked ? CHOPIN__CHUNKED : CHOPIN__LENGTH;
    b->left = c->head.content_length;
    b->limit = c->endpoint ? c->endpoint->options.max_body : w->site->options.max_body;
    b->started = w->now;
    b->ptr = k->buf + k->pos;
    if (b->mode == CHOPIN__LENGTH && b->left > b->limit) { c->refuse = 413; k->linger = true; return; }
    int rc = chopin__body_feed(w, k, c);
    if (rc >= 0) return;
    c->refuse = b->failed = -rc;
    k->linger = true;
}

/* Finds out who answers. */
static void chopin__conn_route(chopin_worker *w, chopin__conn *k, chopin_ctx *c) {
    chopin_str path = chopin__ctx_path(c);
    chopin__route *route = NULL;
    if (CHOPIN__UNLIKELY(c->head.percent) && !chopin__percent_ok(chopin__ctx_str(c, c->head.target, c->head.target_len))) c->refuse = 400;
    if (CHOPIN__UNLIKELY(k->overflow) && !chopin__equal(path, CHOPIN_STR("/health"))) c->refuse = 503;
    if (CHOPIN__UNLIKELY(c->refuse)) return;
    c->found = chopin__router_find(&w->site->router, chopin__ctx_method(c), path, c->head.percent, &route, c->spans);
    if (CHOPIN__UNLIKELY(c->found != CHOPIN__FOUND)) return;
    c->endpoint = (chopin__endpoint *)route;
    c->steps = c->endpoint->steps;
    c->step_count = c->endpoint->step_count;
    if (CHOPIN__UNLIKELY(c->endpoint->varies)) chopin__ctx_varied(c);
}

/* A head is complete: k->buf[pos ..] starts with `used` bytes of it. `known`: all that follows from it is in `c`. */
static inline void chopin__conn_begin(chopin_worker *w, chopin__conn *k, chopin_ctx *c, uint32_t used, bool known) {
    c->k = k;
    c->base = k->buf + k->pos;
    k->ctx = c;
    k->pos += used;
    k->in_head = false;
    k->read_due = CHOPIN__NEVER;
    k->requests++;
    chopin__count(&w->counts.requests);
    if (!known) {
        chopin__conn_route(w, k, c);
        chopin__ctx_remember(w, c, used);
    }
    c->deadline = c->endpoint && c->endpoint->options.handler_timeout_ms > 0 ? w->now + c->endpoint->options.handler_timeout_ms : CHOPIN__NEVER;
    chopin__conn_begin_body(w, k, c);
    if (c->endpoint && c->endpoint->fixed && c->step_count == 1 && !c->refuse && chopin__conn_fixed(w, k, c)) return;
#if defined(CHOPIN_NO_FIBERS)
    if (chopin__body_left_over(c) && !c->refuse) {           // nobody can wait for the rest later
        k->state = CHOPIN__AWAITING;
        if (chopin__ctx_pin(w, k, c) && chopin__body_want(c) == CHOPIN_OK) return;
        c->refuse = 503;
        k->linger = true;
    }
#endif
    chopin__conn_handle(w, k, c);
}

/* A head that is wrong, too large or too slow: one answer, and nothing behind it is ever parsed. */
static void chopin__conn_reject(chopin_worker *w, chopin__conn *k, chopin_ctx *c, int status, const char *why) {
    c->k = k;
    c->base = k->buf + k->pos;
    k->ctx = c;
    c->head.keep_alive = false;
    c->deadline = CHOPIN__NEVER;
    k->linger = true;
    if (status != 408) chopin__count(&w->counts.bad_requests); // that is a timeout, and counted as one
    chopin__log(&w->site->logger, CHOPIN_DEBUG, "request refused with %d: %s", status, why ? why : "");
    chopin__problem(c, status, chopin__str_z(why ? why : chopin__reason(status)), true);
    chopin__conn_release_ctx(k);
    k->pos = k->len;
    k->state = k->state == CHOPIN__DEAD ? CHOPIN__DEAD : CHOPIN__CLOSING;
}

/* Parses and answers what is buffered until it is incomplete, a handler parks (this then goes on on its stack later), or too much is unsent. */
static inline void chopin__conn_serve(chopin_worker *w, chopin__conn *k) {
    while (k->state == CHOPIN__READING && k->pos < k->len) {
        if (CHOPIN__UNLIKELY(k->port.out.bytes > w->site->options.high_water)) {
            chopin__conn_flush(w, k);                        // before pausing, because only output that is stuck calls back
            if (k->port.out.bytes > w->site->options.low_water) return;
            continue;
        }
        chopin_ctx *c = k->ctx || CHOPIN__UNLIKELY(k->overflow) ? NULL : chopin__ctx_repeat(w, k->buf + k->pos, k->len - k->pos);
        if (c) { chopin__conn_begin(w, k, c, w->repeat.len, true); continue; }
        c = k->ctx ? k->ctx : chopin__ctx_take(w);
        if (!c) { k->abort = true; chopin__conn_kill(w, k); return; }
        int used = chopin__head_parse(&c->head, &w->site->rules, k->buf + k->pos, k->len - k->pos);
        if (CHOPIN__LIKELY(used > 0)) { chopin__conn_begin(w, k, c, (uint32_t)used, false); continue; }
        if (used < 0) chopin__conn_reject(w, k, c, -used, c->head.why);
        else          k->ctx = c;
        return;
    }
}

/* ---- events ---- */

/* The client will send no more. Between requests that is a farewell, within a body a broken one. */
static void chopin__conn_eof(chopin_worker *w, chopin__conn *k) {
    switch ((chopin__conn_state)k->state) {
    case CHOPIN__READING:
    case CHOPIN__DRAINING:
        if (k->ctx) chopin__conn_release_ctx(k);
        k->linger = false;
        k->state = CHOPIN__CLOSING;
        break;
    case CHOPIN__HANDLING: chopin__conn_lost(w, k); break;
    default: chopin__conn_kill(w, k); break;
    }
}

/* More of a body has come while its handler waits for it, or before it runs. */
static void chopin__conn_feed(chopin_worker *w, chopin__conn *k, int64_t n) {
    chopin_ctx *c = k->ctx;
    int rc = chopin__conn_body_input(w, k, n);
    if (rc == 0 && !(c->body.pull && c->body.got)) return;
    if (c->body.pull) c->body.wanted = false;                // until it is asked for more
    k->read_due = CHOPIN__NEVER;
    if (k->state == CHOPIN__AWAITING) {
        if (rc < 0) { c->refuse = c->body.failed = -rc; k->linger = true; }
        chopin__conn_handle(w, k, c);
        chopin__conn_serve(w, k);
        return;
    }
    if (rc < 0) chopin__body_refuse(c, -rc);
    if (c->wait) chopin__wake(w, c->wait, rc < 0 ? CHOPIN_MALFORMED : CHOPIN_OK);
}

static inline void chopin__conn_input(chopin_worker *w, chopin__conn *k, int64_t n, const char *data) {
    if (CHOPIN__LIKELY(!k->port.buf)) {
        k->buf = (char *)(uintptr_t)data;
        k->borrowed = true;
        k->pos = 0;
        k->len = (uint32_t)n;
    } else if (k->buf && k->port.buf == k->buf + k->len) {
        k->len += (uint32_t)n;
    }
    switch ((chopin__conn_state)k->state) {
    case CHOPIN__READING:   chopin__conn_serve(w, k); break;
    case CHOPIN__AWAITING:
    case CHOPIN__HANDLING:  chopin__conn_feed(w, k, n); break;
    case CHOPIN__DRAINING:  chopin__conn_drain(w, k); chopin__conn_serve(w, k); break;
    default:                k->pos = k->len; chopin__conn_tidy_input(w, k); break;
    }
}

static void chopin__conn_output(chopin_worker *w, chopin__conn *k, int64_t n) {
    if (n < 0) { chopin__conn_broken(w, k, n); return; }
    k->write_bytes += (uint64_t)n;
    chopin__conn_flush(w, k);
    if (k->state == CHOPIN__READING && k->port.out.bytes <= w->site->options.low_water) chopin__conn_serve(w, k);
}

/* Something happened to a connection. After this call it may be gone. */
static inline void chopin__conn_event(chopin_worker *w, chopin__conn *k, const chopin__event *event) {
    if (event->what == CHOPIN__HUNG)     chopin__conn_lost(w, k);
    else if (event->what == CHOPIN__OUT) chopin__conn_output(w, k, event->result);
    else if (event->result > 0)          chopin__conn_input(w, k, event->result, event->data);
    else if (event->result == 0)         chopin__conn_eof(w, k);
    else                                 chopin__conn_lost(w, k);
    chopin__conn_settle(w, k);
}

/* Input was due by now. */
static void chopin__conn_late(chopin_worker *w, chopin__conn *k) {
    chopin_ctx *c = k->ctx;
    chopin__count(&w->counts.timeouts);
    k->read_due = CHOPIN__NEVER;
    switch ((chopin__conn_state)k->state) {
    case CHOPIN__READING:
        if (c) chopin__conn_reject(w, k, c, 408, "the head of the request came too slowly");
        else   chopin__conn_kill(w, k);
        break;
    case CHOPIN__HANDLING:
        chopin__body_refuse(c, 408);
        if (c->wait) chopin__wake(w, c->wait, CHOPIN_TIMEOUT);
        break;
    case CHOPIN__AWAITING:
        c->refuse = c->body.failed = 408;
        k->linger = true;
        chopin__conn_handle(w, k, c);
        break;
    default: chopin__conn_kill(w, k); break;
    }
}

static void chopin__conn_timer(chopin_worker *w, chopin__conn *k) {
    if (k->write_due <= w->now && !chopin__conn_write_moves(w, k)) {
        chopin__count(&w->counts.timeouts);
        k->abort = true;
        chopin__conn_lost(w, k);
    } else if (k->read_due <= w->now) {
        chopin__conn_late(w, k);
    }
    chopin__conn_settle(w, k);
}

/* The handler of w->fallen was abandoned by a panic or a crash: its client gets 500, everybody else nothing. */
static void chopin__conn_fallen(chopin_worker *w) {
    chopin_ctx   *c = w->fallen;
    chopin__conn *k = c->k;
    w->fallen = NULL;
    w->running = c;                                          // its deferred functions may fall, too
    c->wait = NULL;
    int rc = c->reply.finish ? CHOPIN_SYSTEM : CHOPIN_OK;    // what has begun is not to be finished as if nothing had happened
    if (!c->reply.left) {
        chopin__reply_drop(c);
        c->reply.hold = false;
        chopin__fail(c, 500, chopin__str_z(w->fallen_why));
        c->reply.by_us = true;
    } else if (w->fallen_why[0]) {
        chopin__ctx_log(c, CHOPIN_ERROR, "after its reply: %s", w->fallen_why);
        c->reply.by_us = true;
    }
    chopin__conn_conclude(w, k, c, rc);
    chopin__conn_serve(w, k);
    chopin__conn_settle(w, k);
}

/* A connection for an accepted descriptor. False: no entry, or the backend refused; the caller closes it. */
static chopin__conn *chopin__conn_open(chopin_worker *w, int fd, bool overflow) {
    _Static_assert(sizeof(chopin__conn) <= 256, "an idle connection costs at most 256 bytes");
    chopin__conn *k = chopin__slab_take(&w->slab);
    if (!k) return NULL;
    chopin__port_open(&k->port, fd, CHOPIN__CONNECTION);
    k->write_due = CHOPIN__NEVER;
    k->overflow = overflow;
    if (!w->io.ops->attach(&w->io, &k->port, false)) { chopin__slab_give(&w->slab, k); return NULL; }
    w->connections++;
    chopin__count(&w->counts.accepted);
    chopin__conn_settle(w, k);
    return k;
}

/* ==========================================================================================================
   >>stream   bodies and replies of any size: read and written piece by piece, with the peer held back meanwhile
   ========================================================================================================== */

/* ---- reading: what is buffered first, then straight from the socket into the reader's memory ---- */

/* Hands on decoded chunks, as many as fit. */
static int chopin__pull_chunks(chopin_worker *w, chopin__conn *k, chopin_ctx *c) {
    chopin__body *b = &c->body;
    int rc = 0;
    while (!b->last_chunk && b->got < b->room && k->pos < k->len && !rc) {
        size_t used = 0, produced = 0, n = chopin__min(b->room - b->got, k->len - k->pos);
        rc = chopin__chunks_decode(&b->chunks, &w->site->rules, k->buf + k->pos, n, &used, b->to + b->got, &produced);
        k->pos += (uint32_t)used;
        b->got += produced;
        if (rc == 1) b->last_chunk = true;
        if (b->chunks.total > b->limit) return -413;
    }
    if (rc < 0 || !b->last_chunk || k->pos == k->len) return rc < 0 ? rc : 0;
    return chopin__body_trailer(w, k, c);
}

static int chopin__pull_bytes(chopin__conn *k, chopin__body *b) {
    size_t n = chopin__min(b->room - b->got, k->len - k->pos);
    if (b->left < n) n = (size_t)b->left;
    if (n) memcpy(b->to + b->got, k->buf + k->pos, n);
    k->pos += (uint32_t)n;
    b->got += n;
    b->left -= n;
    return b->left == 0;
}

/* 1 at the end of the body, 0 for more, or minus a status. */
static int chopin__body_pull(chopin_worker *w, chopin__conn *k, chopin_ctx *c) {
    chopin__body *b = &c->body;
    uint32_t before = k->pos;
    int rc = b->mode == CHOPIN__CHUNKED ? chopin__pull_chunks(w, k, c) : chopin__pull_bytes(k, b);
    b->received += k->pos - before;
    b->arrived = b->arrived || k->pos > before;
    b->complete = rc == 1;
    return rc;
}

/* Waits for input until `due`. Only the time that a reader waits counts for the minimum rate. */
static int chopin__read_await(chopin_ctx *c, int64_t due) {
    chopin__body *b = &c->body;
    chopin__wait  wait = { .endless = b->mode == CHOPIN__RAW };
    chopin__body_continue(c);
    b->wanted = true;
    b->started = c->w->now - b->waited;
    chopin__body_set_due(c->w, c->k, c);
    int rc = chopin__park(c->w, c, &wait, due);
    b->wanted = false;
    b->waited = c->w->now - b->started;
    c->k->read_due = CHOPIN__NEVER;
    return rc;
}

/* What came with the head, or while the whole body was asked for, is decoded already. */
static size_t chopin__read_kept(chopin__body *b, char *to, size_t n) {
    n = chopin__min(n, b->len - b->at);
    if (n) memcpy(to, b->ptr + b->at, n);
    b->at += n;
    return n;
}

/* Up to `n` bytes into `to`, at least one; 0 at the end; negative: see chopin_read(). `due`: for other protocols, whose waits may end without input (TIMEOUT). */
static int64_t chopin__read(chopin_ctx *c, char *to, size_t n, int64_t due) {
    chopin__body *b = &c->body;
    if (b->mode == CHOPIN__NO_BODY) return 0;                // the rest of it was not even set
    int64_t kept = (int64_t)chopin__read_kept(b, to, n);
    if (kept || b->complete) return kept;
    if (c->gone) return CHOPIN_GONE;
    if (b->failed) return CHOPIN_ANSWERED;
    b->pull = chopin__body_pull;
    b->to = to;
    b->room = n;
    b->got = 0;
    int rc = CHOPIN_OK, end = chopin__body_pull(c->w, c->k, c);
    while (!end && !b->got && !b->complete && !b->failed && rc == CHOPIN_OK) rc = chopin__read_await(c, due);
    b->room = b->got;                                        // nobody may write there from now on
    if (end < 0) { chopin__body_refuse(c, -end); return CHOPIN_MALFORMED; }
    if (b->got || b->complete) return (int64_t)b->got;
    return b->failed ? CHOPIN_ANSWERED : b->mode == CHOPIN__RAW ? rc : chopin__park_failed(c, rc);
}

/* ---- multipart bodies as they come ---- */

typedef struct chopin__upload {         // in the arena
    chopin__multipart m;
    chopin_ctx *c;
    char       *block;                  // of w->inputs: what was read
    chopin_str  in, data;               // what of it was not looked at; what of it belongs to the part and was not handed on
    bool        in_part, over;
    int         failed;                 // what ended it before its end
} chopin__upload;

static void chopin__upload_free(void *arg) {
    chopin__upload *u = arg;
    chopin__pool_give(&u->c->w->inputs, u->block);
}

static int chopin__upload_fail(chopin_ctx *c, int status, const char *why) {
    c->body.failed = status;
    c->k->linger = true;
    return chopin__fail_by_us(c, status, why);
}

/* The next event of the reader, with what must be read for it: CHOPIN__MULTIPART_..., or negative. */
static int chopin__upload_step(chopin__upload *u) {
    for (;;) {
        int rc = chopin__multipart_next(&u->m, &u->in, &u->data);
        if (rc > 0) return rc;
        if (rc < 0) return chopin__upload_fail(u->c, -rc, u->m.why);
        int64_t n = chopin__read(u->c, u->block, u->c->w->inputs.block_size, CHOPIN__NEVER);
        if (n < 0) return (int)n;
        if (n == 0 && (rc = chopin__multipart_finish(&u->m)) < 0) return chopin__upload_fail(u->c, -rc, u->m.why);
        if (n == 0) return CHOPIN__MULTIPART_END;
        u->in = chopin__str(u->block, (size_t)n);
    }
}

/* `content_type` is the request's. NULL: the client has been told. */
static chopin__upload *chopin__upload_begin(chopin_ctx *c, chopin_str content_type) {
    const chopin_options *o = &c->w->site->options;
    chopin__multipart_rules rules = { o->max_parts, o->max_part_head, o->max_part_name, o->max_field, UINT64_MAX, UINT64_MAX };     // max_body counts already
    chopin_str boundary;
    int rc = chopin__multipart_boundary(content_type, &boundary);
    if (rc < 0) { chopin__upload_fail(c, -rc, rc == -415 ? "the body must be multipart/form-data" : "no boundary of 1 to 70 characters in the Content-Type"); return NULL; }
    chopin__upload *u = chopin__arena_alloc(&c->arena, sizeof *u);
    if (!u) return NULL;
    *u = (chopin__upload){ .c = c, .in = CHOPIN_STR(""), .block = chopin__pool_take(&c->w->inputs) };
    if (u->block && chopin__multipart_init(&u->m, &rules, boundary, &c->arena)) return u;
    if (u->block) chopin__pool_give(&c->w->inputs, u->block);
    c->arena.full = true;
    return NULL;
}

/* Up to `n` bytes of the part; 0 at its end. */
static int64_t chopin__upload_read(chopin__upload *u, char *to, size_t n) {
    while (u->in_part && !u->data.len) {
        int rc = chopin__upload_step(u);
        if (rc < 0) { u->in_part = false; u->over = true; u->failed = rc; }
        if (rc == CHOPIN__MULTIPART_PART_END) u->in_part = false;
    }
    if (!u->in_part) return u->failed;
    n = chopin__min(n, u->data.len);
    memcpy(to, u->data.ptr, n);
    u->data = chopin__str(u->data.ptr + n, u->data.len - n);
    return (int64_t)n;
}

/* To the next part: 1, 0 behind the last one, or negative. */
static int chopin__upload_next(chopin__upload *u) {
    int rc = 1;
    while (!u->over && (rc = chopin__upload_step(u)) > 0 && rc != CHOPIN__MULTIPART_PART && rc != CHOPIN__MULTIPART_END) {}
    u->data = CHOPIN_STR("");
    u->in_part = !u->over && rc == CHOPIN__MULTIPART_PART;
    u->over = !u->in_part;
    if (rc < 0) u->failed = rc;
    return u->failed ? u->failed : u->in_part;
}

/* ---- writing ---- */

typedef enum chopin__stream_mode {
    CHOPIN__NO_STREAM, CHOPIN__STREAM_CHUNKED, CHOPIN__STREAM_SIZED, CHOPIN__STREAM_CLOSE, CHOPIN__STREAM_SILENT, CHOPIN__STREAM_BROKEN
} chopin__stream_mode;                  // SILENT: there is no body, whatever is written; BROKEN: cut when the handler returns

/* Out of memory in the middle of a reply, and the like: it must not look whole. */
static int chopin__stream_cut(chopin_ctx *c, int status) {
    c->reply.ended = true;
    c->k->abort = true;
    chopin__conn_lost(c->w, c->k);
    return status;
}

static bool chopin__stream_put(chopin_ctx *c, chopin_str bytes) { return chopin__queue_copy(&c->k->port.out, &c->w->pieces, bytes); }

/* Waits until less than `below` bytes are unsent. */
static int chopin__stream_await(chopin_ctx *c, size_t below) {
    chopin__conn *k = c->k;
    chopin__conn_flush(c->w, k);
    while (k->state != CHOPIN__DEAD && k->port.out.bytes >= below) {
#if defined(CHOPIN_NO_FIBERS)
        if (c->w->io.ops->fd(&c->w->io) < 0) return CHOPIN_OK;           // a scripted client: its go comes later
        if (chopin__wait_blocking(c->w, k->port.fd, CHOPIN_WRITE, k->write_due) < 0) return chopin__stream_cut(c, CHOPIN_GONE);
        k->port.armed &= (uint8_t)~CHOPIN__OUT;
        k->port.ready |= CHOPIN__OUT;
        chopin__conn_flush(c->w, k);
#else
        chopin__wait wait = { .fiber = NULL };
        c->room_below = below;
        int rc = chopin__park(c->w, c, &wait, CHOPIN__NEVER);
        c->room_below = 0;
        if (rc != CHOPIN_OK) return rc;
#endif
    }
    return k->state == CHOPIN__DEAD ? CHOPIN_GONE : CHOPIN_OK;
}

/* Bytes that are not copied: this returns when they have been sent, or are ours. */
static int chopin__stream_lend(chopin_ctx *c, chopin_str bytes, chopin_str behind) {
    chopin__piece *p = chopin__queue_refer(&c->k->port.out, &c->w->pieces, bytes, NULL, NULL);
    if (!p || !chopin__stream_put(c, behind)) return chopin__stream_cut(c, CHOPIN_MEMORY);
    int rc = chopin__stream_await(c, 1);
    if (c->k->state == CHOPIN__DEAD || !c->k->port.out.bytes) return rc;
    return chopin__piece_own(c->w, c->k, p) ? rc : chopin__stream_cut(c, CHOPIN_MEMORY);
}

static int chopin__stream_copy(chopin_ctx *c, chopin_str bytes, chopin_str behind) {
    const chopin_options *o = &c->w->site->options;
    if (!chopin__stream_put(c, bytes) || !chopin__stream_put(c, behind)) return chopin__stream_cut(c, CHOPIN_MEMORY);
    return c->k->port.out.bytes > o->high_water ? chopin__stream_await(c, o->low_water + 1) : CHOPIN_OK;
}

static int chopin__stream_misused(chopin_ctx *c, const char *why) {
    chopin__ctx_log(c, CHOPIN_ERROR, "chopin_write(): %s", why);
    if (c->reply.finish) c->reply.stream = CHOPIN__STREAM_BROKEN;
    return CHOPIN_STATE;
}

/* Some bytes of the body as they are, framed. */
static int chopin__stream_emit(chopin_ctx *c, chopin_str bytes) {
    chopin__reply *r = &c->reply;
    char       head[24];
    chopin_str behind = CHOPIN_STR("");
    if (r->stream == CHOPIN__STREAM_SIZED) {
        if (bytes.len > r->promised) return chopin__stream_misused(c, "more than chopin_begin_sized() promised");
        r->promised -= bytes.len;
    } else if (r->stream == CHOPIN__STREAM_CHUNKED) {
        int n = snprintf(head, sizeof head, "%zx\r\n", bytes.len);
        if (!chopin__stream_put(c, chopin__str(head, (size_t)n))) return chopin__stream_cut(c, CHOPIN_MEMORY);
        behind = CHOPIN_STR("\r\n");
    }
    return bytes.len > CHOPIN__COPY_BELOW ? chopin__stream_lend(c, bytes, behind) : chopin__stream_copy(c, bytes, behind);
}

#ifdef CHOPIN_WITH_ZLIB
/* `how`: Z_NO_FLUSH, Z_SYNC_FLUSH, so that the other side can read all of it now, or Z_FINISH. */
static int chopin__squeeze_write(chopin_ctx *c, chopin_str bytes, int how) {
    z_stream *z = &c->reply.squeezer->z;
    Bytef     room[2048];
    int       rc = CHOPIN_OK;
    do {
        uInt n = (uInt)chopin__min(bytes.len, (size_t)1 << 30);
        if (!z->avail_in) {
            z->next_in = (Bytef *)(uintptr_t)bytes.ptr;
            z->avail_in = n;
            bytes = chopin__str(bytes.ptr + n, bytes.len - n);
        }
        z->next_out = room;
        z->avail_out = sizeof room;
        deflate(z, bytes.len ? Z_NO_FLUSH : how);
        if (z->avail_out < sizeof room) rc = chopin__stream_emit(c, chopin__str((char *)room, sizeof room - z->avail_out));
    } while (rc == CHOPIN_OK && (z->avail_in || bytes.len || !z->avail_out));
    return rc;
}
#endif

static int chopin__stream_write(chopin_ctx *c, chopin_str bytes) {
    chopin__reply *r = &c->reply;
    if (c->gone || c->k->state == CHOPIN__DEAD) return CHOPIN_GONE;
    if (!r->stream || r->ended) return chopin__stream_misused(c, r->stream ? "the reply has ended" : "chopin_begin() comes first");
    if (!bytes.len || r->stream == CHOPIN__STREAM_SILENT) return CHOPIN_OK;
    if (r->stream == CHOPIN__STREAM_BROKEN) return CHOPIN_STATE;
#ifdef CHOPIN_WITH_ZLIB
    if (r->squeezer) return chopin__squeeze_write(c, bytes, Z_NO_FLUSH);
#endif
    return chopin__stream_emit(c, bytes);
}

static int chopin__stream_end(chopin_ctx *c) {
    chopin__reply *r = &c->reply;
    if (r->ended) return CHOPIN_OK;
    if (c->gone || c->k->state == CHOPIN__DEAD) return CHOPIN_GONE;
#ifdef CHOPIN_WITH_ZLIB
    int rc = r->squeezer && r->stream != CHOPIN__STREAM_SILENT ? chopin__squeeze_write(c, CHOPIN_STR(""), Z_FINISH) : CHOPIN_OK;
    if (rc != CHOPIN_OK) return chopin__stream_cut(c, rc);
#endif
    r->ended = true;
    if (r->stream == CHOPIN__STREAM_SIZED && r->promised) {
        chopin__ctx_log(c, CHOPIN_ERROR, "%llu bytes fewer than chopin_begin_sized() promised were written: the connection is cut", (unsigned long long)r->promised);
        return chopin__stream_cut(c, CHOPIN_INVALID);
    }
    if (r->stream != CHOPIN__STREAM_CHUNKED) return CHOPIN_OK;
    bool ok = chopin__stream_put(c, CHOPIN_STR("0\r\n")) && chopin__stream_put(c, chopin__str(r->lines, r->lines_len)) && chopin__stream_put(c, CHOPIN_STR("\r\n"));
    return ok ? CHOPIN_OK : chopin__stream_cut(c, CHOPIN_MEMORY);
}

/* The handler has returned. A reply that was not finished is finished now, unless something went wrong: then the client must see that. */
static int chopin__stream_finish(chopin_ctx *c, int rc) {
    chopin__reply *r = &c->reply;
    if (r->ended || c->gone || c->k->state == CHOPIN__DEAD) return CHOPIN_OK;
    if (rc >= 0 && r->stream != CHOPIN__STREAM_BROKEN) { chopin__stream_end(c); return CHOPIN_OK; }
    if (rc < 0 && !r->by_us) chopin__ctx_log(c, CHOPIN_WARNING, "handler gave up (%s) in the middle of its reply: the connection is cut", chopin_status_text(rc));
    chopin__stream_cut(c, CHOPIN_OK);
    return CHOPIN_OK;
}

/* How the body will be framed (RFC 9112 6.3); the connection may have to end with it. */
static chopin__framing chopin__stream_framing(chopin_ctx *c, const uint64_t *length) {
    chopin__reply  *r = &c->reply;
    chopin__framing f = chopin__ctx_framing(c);
    r->stream = length ? CHOPIN__STREAM_SIZED : c->head.minor ? CHOPIN__STREAM_CHUNKED : CHOPIN__STREAM_CLOSE;
    f.chunked = r->stream == CHOPIN__STREAM_CHUNKED;
    f.unsized = r->stream == CHOPIN__STREAM_CLOSE;
    f.length = r->promised = length ? *length : 0;
    if (f.head_only || !chopin__framing_has_body(f, r->status)) {
        r->stream = CHOPIN__STREAM_SILENT;
    } else if (f.unsized) {
        f.close = true;
        f.keep_1_0 = c->k->keep = false;
    }
    return f;
}

#ifdef CHOPIN_WITH_ZLIB
/* chopin_defer(): on every exit. */
static void chopin__squeeze_end(void *arg) { chopin__squeeze_close(arg); }

/* What will be written is compressed, if it may and the client wants it. */
static void chopin__squeeze_begin(chopin_ctx *c) {
    chopin__coding coding = chopin__squeeze_as(c);
    chopin__squeezer *q = coding != CHOPIN__IDENTITY ? chopin__squeeze_open(&c->w->site->heap, coding) : NULL;
    chopin__deferred *d = q ? chopin__arena_alloc(&c->arena, sizeof *d) : NULL;
    if (q && (!d || !chopin__squeeze_tell(c, coding))) { chopin__squeeze_close(q); return; }
    if (!q) return;
    *d = (chopin__deferred){ c->deferred, chopin__squeeze_end, q };
    c->deferred = d;
    c->reply.squeezer = q;
}
#endif

/* The head of a reply whose body follows by chopin__stream_write(). `length` may be NULL: not known. */
static int chopin__stream_begin(chopin_ctx *c, int status, chopin_str type, const uint64_t *length) {
    chopin__reply *r = &c->reply;
    if (r->status) return chopin__answer_refused(c, status, CHOPIN__BODY_NONE, NULL, NULL, "");
    if (status < 200 || status > 999 || !chopin__is_field_value(type)) return chopin__answer_refused(c, status, CHOPIN__BODY_NONE, NULL, NULL, "status or content type");
    if (c->arena.full) return CHOPIN_MEMORY;
    if (c->k->state == CHOPIN__DEAD) return CHOPIN_GONE;
    r->status = status;
    if (!r->type.ptr) r->type = type;
#ifdef CHOPIN_WITH_ZLIB
    if (!length) chopin__squeeze_begin(c);
#endif
    chopin__framing f = chopin__stream_framing(c, length);
    r->left = true;
    r->finish = chopin__stream_finish;
    if (!chopin__reply_write_head(&c->k->port.out, &c->w->pieces, &c->w->preset, r, f, false)) return chopin__stream_cut(c, CHOPIN_MEMORY);
    r->lines_len = 0;                                        // from here on: the trailer
    return CHOPIN_OK;
}

/* ---- descriptors as sources ---- */

static int64_t chopin__fd_read(const chopin__piece *p, char *to, size_t n) {
    ssize_t got;
    do { got = pread(p->fd, to, n, (off_t)p->at); } while (got < 0 && errno == EINTR);
    return got;
}

static int64_t chopin__fd_send(const chopin__piece *p, int socket, size_t n) {
    ssize_t sent;
#if defined(__linux__)
    off_t at = (off_t)p->at;
    do { sent = sendfile(socket, p->fd, &at, n); } while (sent < 0 && errno == EINTR);
#else
    char room[16384];
    int64_t got = chopin__fd_read(p, room, chopin__min(n, sizeof room));
    if (got <= 0) return got;
    do { sent = send(socket, room, (size_t)got, MSG_NOSIGNAL | MSG_DONTWAIT); } while (sent < 0 && errno == EINTR);
#endif
    return sent;
}

static const chopin__source chopin__fd_source = { chopin__fd_send, chopin__fd_read };

static void chopin__fd_close(void *arg) { close((int)(intptr_t)arg); }

/* A reply whose body is ranges of a source. `release(arg)` is called once, in any case. */
static int chopin__answer_slices(chopin_ctx *c, int status, chopin_str type, const chopin__slices *slices, void (*release)(void *), void *arg) {
    if (!slices || c->reply.status) {
        if (!slices && release) release(arg);
        return !slices ? CHOPIN_MEMORY : chopin__answer_refused(c, status, CHOPIN__BODY_OWNED, release, arg, "");
    }
    c->reply.slices = slices;
    return chopin__answer(c, status, type, chopin__absent(), CHOPIN__BODY_OWNED, release, arg);
}

/* One range. NULL: the arena is full. */
static chopin__slices *chopin__slices_one(chopin_ctx *c, int fd, uint64_t at, uint64_t len) {
    chopin__slices *one = chopin__arena_alloc(&c->arena, sizeof *one + sizeof one->slice[0]);
    if (!one) return NULL;
    *one = (chopin__slices){ .source = &chopin__fd_source, .fd = fd, .total = len, .count = 1 };
    one->slice[0] = (chopin__slice){ .head = CHOPIN_STR(""), .at = at, .len = len };
    return one;
}

/* ---- server-sent events (https://html.spec.whatwg.org/#server-sent-events) ---- */

/* "name: value" for each line of the value; NULL writes nothing. Gives where the next byte goes. */
static char *chopin__event_lines(char *to, const char *name, chopin_str value) {
    while (value.ptr) {
        size_t n = 0;
        while (n < value.len && value.ptr[n] != '\n' && value.ptr[n] != '\r') n++;
        to = chopin__put(to, name, strlen(name));
        to = chopin__put(to, value.ptr, n);
        *to++ = '\n';
        if (n == value.len) break;
        if (value.ptr[n] == '\r' && n + 1 < value.len && value.ptr[n + 1] == '\n') n++;
        value = chopin__str(value.ptr + n + 1, value.len - n - 1);
    }
    return to;
}

/* As much as chopin__event_put() may write: each byte might be a line end. */
static size_t chopin__event_bound(chopin_str id, chopin_str event, chopin_str data) {
    size_t lines = 1;
    for (size_t i = 0; i < data.len; i++) lines += data.ptr[i] == '\n' || data.ptr[i] == '\r';
    return id.len + event.len + data.len + lines * 7 + 64;
}

static char *chopin__event_put(char *to, chopin_str id, chopin_str event, int64_t retry_ms, chopin_str data) {
    to = chopin__event_lines(to, "id: ", id);
    to = chopin__event_lines(to, "event: ", event);
    if (retry_ms > 0) {
        to = CHOPIN__PUT(to, "retry: ");
        to += chopin__format_u64(to, (uint64_t)retry_ms);
        *to++ = '\n';
    }
    to = chopin__event_lines(to, "data: ", data);
    *to++ = '\n';
    return to;
}

/* Written and sent: an event is worth nothing in a queue. */
static int chopin__event_send(chopin_ctx *c, chopin_str id, chopin_str event, int64_t retry_ms, chopin_str data) {
    char   room[1024], *text = room;
    size_t size = chopin__event_bound(id, event, data);
    chopin__heap *heap = &c->w->site->heap;
    if (size > sizeof room && (text = chopin__alloc(heap, size)) == NULL) return CHOPIN_MEMORY;
    char *end = chopin__event_put(text, id, event, retry_ms, data);
    int   rc = chopin__stream_write(c, chopin__str(text, (size_t)(end - text)));
    if (text != room) chopin__release(heap, text, size);
    if (c->k->state != CHOPIN__DEAD) chopin__conn_flush(c->w, c->k);
    return rc;
}

#if !defined(CHOPIN_NO_FIBERS)
/* A wait in a stream of events, cut by comments, so that no proxy thinks the connection dead (and we learn when it is). */
static int chopin__event_wait(chopin_ctx *c, chopin__wait *wait, int64_t due) {
    int every = c->w->site->options.sse_heartbeat_ms;
    for (;;) {
        wait->endless = c->reply.events;
        int64_t beat = c->reply.events && every > 0 && c->w->now + every < due ? c->w->now + every : due;
        int     rc = chopin__park(c->w, c, wait, beat);
        if (rc != CHOPIN_TIMEOUT || beat == due || c->deadline <= c->w->now) return rc;
        rc = chopin__stream_write(c, CHOPIN_STR(":\n\n"));
        if (rc != CHOPIN_OK) return rc;
    }
}
#endif

/* ==========================================================================================================
   >>websocket   WebSockets on connections: receiving, sending, keeping alive, topics
   The connection's input is handed to the frame reader of >>ws as it comes; only a whole message wakes the handler. An idle WebSocket owns a parked
   stack and no buffer. What is broadcast travels as one counted copy by the workers' inboxes and is appended to the queue of each subscriber.
   ========================================================================================================== */
#define CHOPIN__WS_KEEP 65536           // a larger message buffer is given back before the next wait

typedef struct chopin__sub {            // one WebSocket's subscription to one topic
    struct chopin__topic *topic;
    chopin_ws            *ws;
    struct chopin__sub   *next, *prev;  // of the topic
    struct chopin__sub   *other;        // next of the WebSocket's
} chopin__sub;

typedef struct chopin__topic {
    struct chopin__topic *next;         // in its bucket
    chopin__sub          *first;
    size_t                len;
    char                  name[];
} chopin__topic;

typedef struct chopin__topics { uint64_t seed; chopin__topic *bucket[256]; } chopin__topics;

struct chopin_ws {                      // in the request's arena
    chopin_ctx *c;
    chopin_ws_options options;
    chopin__ws_reader reader;
    chopin__ws_pong   pong;             // that is due
    chopin_str protocol;
    char      *text;                    // the message so far
    size_t     len, cap;
    uint8_t    kind;
    bool       ready;                   // it is whole
    bool       over;                    // nothing more will be received
    bool       closed;                  // our close frame has been written
    bool       pinged;                  // and nothing has come since
    bool       cut;                     // no farewell: it is broken
    uint16_t   code;                    // the other side's, once over
    int64_t    seen;                    // when something came, or the ping left
    int64_t    close_due;
    chopin__sub *subs;
    size_t     sub_count;
    bool       between;                 // more fragments of a message that we send will follow
    struct chopin__cast_kept *held;          // broadcasts that wait for its end
    size_t     held_bytes;
#ifdef CHOPIN_WITH_ZLIB
    bool       deflates;
    chopin__ws_inflater inflater;
    chopin__ws_deflater deflater;
#endif
};

/* ---- frames out ---- */

static bool chopin__ws_put(chopin_ws *ws, unsigned opcode, chopin_str payload) {
    char   head[10];
    size_t n = chopin__ws_put_head(head, opcode, true, false, payload.len);
    if (ws->c->k->state == CHOPIN__DEAD) return false;
    if (chopin__stream_put(ws->c, chopin__str(head, n)) && chopin__stream_put(ws->c, payload)) return true;
    chopin__stream_cut(ws->c, CHOPIN_MEMORY);                // half a frame may be in the queue
    return false;
}

/* Says why it ends, once. */
static void chopin__ws_say_close(chopin_ws *ws, unsigned code, chopin_str reason) {
    char payload[CHOPIN__WS_CONTROL_MAX];
    if (ws->closed) return;
    ws->closed = true;
    chopin__ws_put(ws, 8, chopin__str(payload, chopin__ws_put_close(payload, code, reason)));
}

/* The pong that is due, if the other side reads at all: else a flood of pings would fill our memory. */
static void chopin__ws_answer_ping(chopin_ws *ws) {
    char   frame[2 + CHOPIN__WS_CONTROL_MAX];
    size_t n = ws->closed || ws->c->k->port.out.bytes > ws->c->w->site->options.high_water ? 0 : chopin__ws_put_pong(&ws->pong, frame);
    if (n) chopin__stream_put(ws->c, chopin__str(frame, n));
}

/* ---- frames in ---- */

static void chopin__ws_break(chopin_ws *ws, unsigned code, const char *why) {
    chopin__log(&ws->c->w->site->logger, CHOPIN_DEBUG, "WebSocket closed with %u: %s", code, why);
    ws->over = true;
    ws->code = (uint16_t)code;
    chopin__ws_say_close(ws, code, chopin__str_z(why));
}

/* Room for `more` bytes of the message, whose length the reader has checked. */
static bool chopin__ws_room(chopin_ws *ws, size_t more) {
    size_t need = ws->len + more, cap = chopin__max(chopin__max(need, ws->cap * 2), 512);
    if (need <= ws->cap) return true;
    char *text = chopin__realloc(&ws->c->w->site->heap, ws->text, ws->cap, cap);
    if (!text) return false;
    ws->text = text;
    ws->cap = cap;
    return true;
}

static bool chopin__ws_append(chopin_ws *ws, chopin_str piece) {
    if (!chopin__ws_room(ws, piece.len)) return false;
    if (piece.len) memcpy(ws->text + ws->len, piece.ptr, piece.len);
    ws->len += piece.len;
    return true;
}

#ifdef CHOPIN_WITH_ZLIB
static bool chopin__ws_inflate_piece(chopin_ws *ws, const chopin__ws_event *e) {
    chopin_str in = e->data;
    int rc = 2;
    if (e->first) chopin__ws_inflate_begin(&ws->inflater, e->opcode == 1);
    while (rc == 2) {
        size_t n = 0;
        if (!chopin__ws_room(ws, chopin__max(in.len * 2, 1024))) { chopin__ws_break(ws, 1011, "out of memory"); return false; }
        rc = chopin__ws_inflate(&ws->inflater, &in, e->last, ws->text + ws->len, ws->cap - ws->len, &n);
        ws->len += n;
    }
    if (rc < 0) chopin__ws_break(ws, (unsigned)-rc, ws->inflater.why);
    return rc >= 0;
}
#endif

static void chopin__ws_data(chopin_ws *ws, const chopin__ws_event *e) {
    if (e->first) { ws->len = 0; ws->kind = e->opcode; }
#ifdef CHOPIN_WITH_ZLIB
    if (e->deflated) {
        if (chopin__ws_inflate_piece(ws, e)) ws->ready = e->last;
        return;
    }
#endif
    if (!chopin__ws_append(ws, e->data)) { chopin__ws_break(ws, 1011, "out of memory"); return; }
    ws->ready = e->last;
}

static void chopin__ws_take(chopin_ws *ws, const chopin__ws_event *e) {
    switch (e->opcode) {
    case 8:
        ws->over = true;
        ws->code = e->code;
        chopin__ws_say_close(ws, e->code, CHOPIN_STR(""));
        break;
    case 9:  chopin__ws_ping(&ws->pong, e->data); break;
    case 10: break;
    default: chopin__ws_data(ws, e); break;
    }
}

/* chopin__body.pull: looks at what has come, up to the end of a message. */
static int chopin__ws_pull(chopin_worker *w, chopin__conn *k, chopin_ctx *c) {
    chopin_ws *ws = c->ws;
    while (!ws->ready && !ws->over && k->pos < k->len) {
        char  *at = k->buf + k->pos;
        size_t len = k->len - k->pos;
        chopin__ws_event e;
        int rc = chopin__ws_next(&ws->reader, &at, &len, &e);
        k->pos = k->len - (uint32_t)len;
        if (rc > 0) chopin__ws_take(ws, &e);
        if (rc < 0) chopin__ws_break(ws, (unsigned)-rc, ws->reader.why);
        ws->seen = w->now;
        ws->pinged = false;
    }
    chopin__ws_answer_ping(ws);
    c->body.got = ws->ready || ws->over;                     // worth waking the handler
    return 0;
}

/* When the handler is to look whether the other side is still there. */
static int64_t chopin__ws_due(const chopin_ws *ws) {
    const chopin_options *o = &ws->c->w->site->options;
    if (ws->closed) return ws->close_due;
    return ws->pinged ? chopin__after(ws->seen, o->ws_pong_ms) : chopin__after(ws->seen, o->ws_ping_ms);
}

/* Nothing has come for long. False: it is over. */
static bool chopin__ws_silent(chopin_ws *ws) {
    if (ws->closed || ws->pinged) {
        if (!ws->closed) chopin__log(&ws->c->w->site->logger, CHOPIN_DEBUG, "WebSocket cut: no answer to a ping");
        ws->over = ws->closed = ws->cut = true;
        ws->code = 1006;
        return false;
    }
    ws->pinged = true;
    ws->seen = ws->c->w->now;
    return chopin__ws_put(ws, 9, CHOPIN_STR(""));
}

static void chopin__ws_tidy(chopin_ws *ws) {
    chopin__conn *k = ws->c->k;
    if (k->buf && !k->borrowed) chopin__conn_tidy_input(ws->c->w, k);
    if (ws->cap > CHOPIN__WS_KEEP && !ws->ready && !ws->reader.message) {
        chopin__release(&ws->c->w->site->heap, ws->text, ws->cap);
        ws->text = NULL;
        ws->cap = 0;
    }
}

static int chopin__ws_await(chopin_ws *ws, int64_t deadline) {
    int64_t due = chopin__ws_due(ws);
    int rc = chopin__read_await(ws->c, due < deadline ? due : deadline);
    if (rc == CHOPIN_TIMEOUT && ws->c->w->now >= deadline) return CHOPIN_TIMEOUT;
    if (rc == CHOPIN_TIMEOUT && ws->c->w->now < chopin__ws_due(ws)) return CHOPIN_OK;       // what woke no handler has come meanwhile: a pong, half a message
    if (rc == CHOPIN_TIMEOUT) return chopin__ws_silent(ws) ? CHOPIN_OK : CHOPIN_GONE;
    if (rc == CHOPIN_CANCELED) chopin__ws_say_close(ws, 1001, CHOPIN_STR("the server stops"));
    return rc;
}

static int chopin__ws_recv(chopin_ws *ws, chopin_ws_message *m, int64_t deadline) {
    chopin_ctx *c = ws->c;
    if (ws->ready) { ws->ready = false; ws->len = 0; }
    for (int rc = CHOPIN_OK; ; ) {
        if (c->gone || c->k->state == CHOPIN__DEAD) { ws->code = ws->code ? ws->code : 1006; return CHOPIN_GONE; }
        if (ws->over) return CHOPIN_GONE;
        chopin__ws_pull(c->w, c->k, c);
        chopin__ws_tidy(ws);
        if (ws->ready) break;
        if (ws->over) return CHOPIN_GONE;
        if (rc != CHOPIN_OK) return rc;
        rc = chopin__ws_await(ws, deadline);
    }
    *m = (chopin_ws_message){ (chopin_ws_kind)ws->kind, chopin__str(ws->len ? ws->text : "", ws->len) };
    return CHOPIN_OK;
}

/* ---- a broadcast at one subscriber ---- */

typedef struct chopin__cast {           // one message on its way to all workers
    _Atomic int   refs;
    chopin__heap *heap;
    size_t        size;                 // of the whole allocation
    chopin_str    topic, frame;
    chopin__post  post[];               // one for each worker
} chopin__cast;

static void chopin__cast_release(void *arg) {
    chopin__cast *cast = arg;
    if (atomic_fetch_sub(&cast->refs, 1) == 1) chopin__release(cast->heap, cast, cast->size);
}

static bool chopin__cast_put(chopin_worker *w, chopin__conn *k, chopin__cast *cast) {
    if (cast->frame.len <= CHOPIN__COPY_BELOW) return chopin__queue_copy(&k->port.out, &w->pieces, cast->frame);
    atomic_fetch_add(&cast->refs, 1);
    return chopin__queue_refer(&k->port.out, &w->pieces, cast->frame, chopin__cast_release, cast) != NULL;
}

typedef struct chopin__cast_kept { struct chopin__cast_kept *next; chopin__cast *cast; } chopin__cast_kept;

/* For later: no other message may begin between the fragments of one (RFC 6455 5.4). */
static bool chopin__cast_hold(chopin_ws *ws, chopin__cast *cast) {
    chopin__cast_kept **at = &ws->held, *held = chopin__alloc(&ws->c->w->site->heap, sizeof *held);
    if (!held) return false;
    while (*at) at = &(*at)->next;
    atomic_fetch_add(&cast->refs, 1);
    *held = (chopin__cast_kept){ NULL, cast };
    *at = held;
    ws->held_bytes += cast->frame.len;
    return true;
}

/* Puts what was held into the queue, or throws it away. False: out of memory. */
static bool chopin__cast_let_go(chopin_ws *ws, bool put) {
    for (chopin__cast_kept *held; (held = ws->held) != NULL; ) {
        ws->held = held->next;
        put = put && chopin__cast_put(ws->c->w, ws->c->k, held->cast);
        chopin__cast_release(held->cast);
        chopin__release(&ws->c->w->site->heap, held, sizeof *held);
    }
    ws->held_bytes = 0;
    return put;
}

/* ---- messages out ---- */

static int chopin__ws_send_frames(chopin_ws *ws, unsigned opcode, bool deflated, chopin_str data) {
    chopin__ws_writer out;
    chopin_str piece;
    char       head[10];
    size_t     n;
    int        rc = CHOPIN_OK;
    chopin__ws_writer_init(&out, opcode, deflated, data, ws->options.fragment ? ws->options.fragment : SIZE_MAX);
    while (rc == CHOPIN_OK && (n = chopin__ws_write(&out, head, &piece)) > 0) {
        ws->between = !out.done;
        if (!chopin__stream_put(ws->c, chopin__str(head, n))) return chopin__stream_cut(ws->c, CHOPIN_MEMORY);
        rc = piece.len > CHOPIN__COPY_BELOW ? chopin__stream_lend(ws->c, piece, CHOPIN_STR("")) : chopin__stream_copy(ws->c, piece, CHOPIN_STR(""));
    }
    if (ws->held && !chopin__cast_let_go(ws, rc == CHOPIN_OK) && rc == CHOPIN_OK) return chopin__stream_cut(ws->c, CHOPIN_MEMORY);
    return rc;
}

#ifdef CHOPIN_WITH_ZLIB
/* Compressed, if that is agreed on and worth it; `*done` says whether. */
static int chopin__ws_send_deflated(chopin_ws *ws, unsigned opcode, chopin_str data, bool *done) {
    chopin__heap *heap = &ws->c->w->site->heap;
    size_t size = ws->deflates && data.len >= 64 ? chopin__ws_deflate_bound(&ws->deflater, data.len) : 0, n = 0;
    char  *text = size ? chopin__alloc(heap, size) : NULL;
    *done = text && chopin__ws_deflate(&ws->deflater, data, text, size, &n);
    int rc = *done ? chopin__ws_send_frames(ws, opcode, true, chopin__str(text, n)) : CHOPIN_OK;
    if (text) chopin__release(heap, text, size);
    return rc;
}
#endif

static int chopin__ws_send(chopin_ws *ws, unsigned opcode, chopin_str data) {
    if (ws->closed || ws->c->gone || ws->c->k->state == CHOPIN__DEAD) return CHOPIN_GONE;
#ifdef CHOPIN_WITH_ZLIB
    bool done;
    int  rc = chopin__ws_send_deflated(ws, opcode, data, &done);
    if (done) return rc;
#endif
    return chopin__ws_send_frames(ws, opcode, false, data);
}

/* ---- topics ---- */

static chopin__topic **chopin__topic_at(chopin_worker *w, chopin_str name) {
    chopin__topic **at = &w->topics->bucket[chopin__hash(w->topics->seed, name.ptr, name.len) & 255];
    while (*at && !chopin__equal(chopin__str((*at)->name, (*at)->len), name)) at = &(*at)->next;
    return at;
}

/* The topic, made if need be. NULL: out of memory. */
static chopin__topic *chopin__topic_of(chopin_worker *w, chopin_str name) {
    chopin__heap *heap = &w->site->heap;
    if (!w->topics) {
        w->topics = chopin__alloc_zero(heap, sizeof *w->topics);
        if (!w->topics) return NULL;
        w->topics->seed = chopin__random_next(&w->random);
    }
    chopin__topic **at = chopin__topic_at(w, name), *t = *at;
    if (t || (t = chopin__alloc_zero(heap, sizeof *t + name.len)) == NULL) return t;
    t->len = name.len;
    memcpy(t->name, name.ptr, name.len);
    *at = t;
    return t;
}

static void chopin__topic_forget(chopin_worker *w, chopin__topic *t) {
    if (t->first) return;
    *chopin__topic_at(w, chopin__str(t->name, t->len)) = t->next;
    chopin__release(&w->site->heap, t, sizeof *t + t->len);
}

/* Unlinks what *at points to. */
static void chopin__sub_end(chopin_ws *ws, chopin__sub **at) {
    chopin_worker *w = ws->c->w;
    chopin__sub   *sub = *at;
    *at = sub->other;
    if (sub->prev) sub->prev->next = sub->next;
    else           sub->topic->first = sub->next;
    if (sub->next) sub->next->prev = sub->prev;
    chopin__topic_forget(w, sub->topic);
    chopin__release(&w->site->heap, sub, sizeof *sub);
    ws->sub_count--;
}

static chopin__sub **chopin__sub_find(chopin_ws *ws, chopin_str name) {
    chopin__sub **at = &ws->subs;
    while (*at && !chopin__equal(chopin__str((*at)->topic->name, (*at)->topic->len), name)) at = &(*at)->other;
    return at;
}

static int chopin__sub_begin(chopin_ws *ws, chopin_str name) {
    chopin_worker *w = ws->c->w;
    if (*chopin__sub_find(ws, name)) return CHOPIN_OK;
    if (ws->sub_count >= w->site->options.ws_max_topics) return CHOPIN_FULL;
    chopin__sub   *sub = chopin__alloc_zero(&w->site->heap, sizeof *sub);
    chopin__topic *t = sub ? chopin__topic_of(w, name) : NULL;
    if (!t) {
        if (sub) chopin__release(&w->site->heap, sub, sizeof *sub);
        return CHOPIN_MEMORY;
    }
    *sub = (chopin__sub){ .topic = t, .ws = ws, .next = t->first, .other = ws->subs };
    if (t->first) t->first->prev = sub;
    t->first = ws->subs = sub;
    ws->sub_count++;
    return CHOPIN_OK;
}

/* ---- broadcasts ---- */

/* To one subscriber, unless it is too slow. */
static void chopin__cast_give(chopin_worker *w, chopin_ws *ws, chopin__cast *cast) {
    chopin__conn *k = ws->c->k;
    if (ws->closed || ws->c->gone || k->state == CHOPIN__DEAD) return;
    if (k->port.out.bytes + ws->held_bytes + cast->frame.len > w->site->options.max_queue) {
        if (!ws->options.close_slow) return;
        k->abort = true;
        chopin__conn_lost(w, k);
        return;
    }
    if (!(ws->between ? chopin__cast_hold(ws, cast) : chopin__cast_put(w, k, cast))) {
        k->abort = true;
        chopin__conn_lost(w, k);
        return;
    }
    chopin__conn_settle(w, k);
}

/* chopin__post.direct: on each worker. */
static void chopin__cast_arrive(chopin_worker *w, void *arg) {
    chopin__cast  *cast = arg;
    chopin__topic *t = w->topics ? *chopin__topic_at(w, cast->topic) : NULL;
    for (chopin__sub *sub = t ? t->first : NULL, *next; sub; sub = next) {
        next = sub->next;
        chopin__cast_give(w, sub->ws, cast);
    }
    chopin__cast_release(cast);
}

/* Ready to be posted `posts` times. NULL: out of memory. */
static chopin__cast *chopin__cast_make(chopin__heap *heap, chopin_str topic, unsigned opcode, chopin_str data, int posts) {
    char   head[10];
    size_t n = chopin__ws_put_head(head, opcode, true, false, data.len), size = sizeof(chopin__cast) + (size_t)posts * sizeof(chopin__post);
    if (!chopin__add_ok(size, topic.len + n, &size) || !chopin__add_ok(size, data.len, &size)) return NULL;
    chopin__cast *cast = chopin__alloc(heap, size);
    if (!cast) return NULL;
    char *at = (char *)&cast->post[posts];
    *cast = (chopin__cast){ .heap = heap, .size = size, .topic = chopin__str(at, topic.len), .frame = chopin__str(at + topic.len, n + data.len) };
    atomic_init(&cast->refs, posts + 1);                     // one is the sender's
    at = chopin__put(at, topic.ptr, topic.len);
    at = chopin__put(at, head, n);
    if (data.len) memcpy(at, data.ptr, data.len);
    for (int i = 0; i < posts; i++) cast->post[i] = (chopin__post){ .direct = chopin__cast_arrive, .arg = cast };
    return cast;
}

/* ---- from request to WebSocket and to the end ---- */

/* chopin_defer(): on every exit. */
static void chopin__ws_free(void *arg) {
    chopin_ws *ws = arg;
    while (ws->subs) chopin__sub_end(ws, &ws->subs);
    chopin__cast_let_go(ws, false);
    if (ws->text) chopin__release(&ws->c->w->site->heap, ws->text, ws->cap);
    ws->text = NULL;
#ifdef CHOPIN_WITH_ZLIB
    if (ws->deflates) {
        chopin__ws_inflate_close(&ws->inflater);
        chopin__ws_deflate_close(&ws->deflater);
    }
#endif
}

/* chopin__reply.finish: says farewell; then the client has some time to do the same (chopin__conn_end). */
static int chopin__ws_finish(chopin_ctx *c, int rc) {
    chopin_ws *ws = c->ws;
    if (c->gone || c->k->state == CHOPIN__DEAD) return CHOPIN_OK;
    if (ws->cut) return chopin__stream_cut(c, CHOPIN_OK);
    chopin__ws_say_close(ws, rc < 0 && rc != CHOPIN_GONE ? 1011 : 1000, CHOPIN_STR(""));
    c->k->linger = true;
    return CHOPIN_OK;
}

static bool chopin__ws_origin_ok(chopin_ctx *c, const char *origins) {
    unsigned   slot = c->head.slot[CHOPIN_H_ORIGIN];
    chopin_str origin = slot ? chopin__ctx_str(c, c->head.fields[slot - 1].value, c->head.fields[slot - 1].value_len) : chopin__absent();
    slot = c->head.slot[CHOPIN_H_HOST];
    chopin_str host = slot ? chopin__ctx_str(c, c->head.fields[slot - 1].value, c->head.fields[slot - 1].value_len) : chopin__absent();
    return !origin.ptr || chopin__guard_origin_listed(origins, origin) || chopin__guard_same_origin(origin, host);     // programs send none
}

/* The head of the 101; from here on the connection speaks frames. */
static bool chopin__ws_switch(chopin_ctx *c, chopin_ws *ws, const chopin__ws_shake *shake) {
    chopin__reply *r = &c->reply;
    if (!chopin__ws_answer(shake, 101, r, &c->arena)) return false;
    r->status = 101;
    r->type = chopin__absent();
    if (!chopin__reply_write_head(&c->k->port.out, &c->w->pieces, &c->w->preset, r, (chopin__framing){ .unsized = true }, false)) return false;
    r->left = true;
    r->stream = CHOPIN__STREAM_SILENT;
    r->finish = chopin__ws_finish;
    c->k->keep = false;
    c->deadline = CHOPIN__NEVER;
    chopin__ctx_slim(c);
    c->body = (chopin__body){ .mode = CHOPIN__RAW, .arrived = true, .left = UINT64_MAX, .pull = chopin__ws_pull };
    c->ws = ws;
    ws->seen = c->w->now;
    return true;
}

static void chopin__ws_open(chopin_ctx *c, chopin_ws *ws, const chopin__ws_shake *shake) {
    const chopin_options *o = &c->w->site->options;
    bool deflate = false;
    ws->c = c;
    ws->protocol = shake->protocol.ptr ? chopin__arena_copy(&c->arena, shake->protocol) : chopin__absent();
#ifdef CHOPIN_WITH_ZLIB
    deflate = ws->deflates = shake->deflate.on;
#endif
    chopin__ws_reader_init(&ws->reader, o->ws_max_frame, o->ws_max_message, deflate);
}

/* ==========================================================================================================
   >>worker   one thread: the loop, its listeners, timers and messages, faults, the end
   The loop runs on whichever fiber is current and keeps all its state in the worker. A turn: wait for events once, serve them,
   then messages, timers and, last, the fibers that asked to come last.
   ========================================================================================================== */

static _Thread_local chopin_worker *chopin__this_worker;    // whose thread this is; for signal handlers and chopin_wait()

typedef struct chopin__waiter {         // a slab entry for a descriptor that a handler waits for
    chopin__port  port;
    chopin__wait *wait;
} chopin__waiter;

typedef struct chopin__ticket {         // a slab entry for a fiber that another one will wake
    chopin__port  port;                 // no descriptor, but a kind: nobody must take it for a connection
    chopin__wait *wait;                 // parked, or NULL
    bool          woken;                // WAKE came first
} chopin__ticket;

/* ---- accepting ---- */

static const char chopin__full_reply[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
#define CHOPIN__RESERVE 64              // entries beyond max_connections, which answer /health and 503

/* There is no room even for a polite refusal by a handler: ready bytes, then close. */
static void chopin__worker_refuse(chopin_worker *w, int fd) {
    chopin__count(&w->counts.refused);
    if (w->io.ops->fd(&w->io) < 0) return;                   // scripted clients have no descriptor
    ssize_t ignored = send(fd, chopin__full_reply, sizeof chopin__full_reply - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)ignored;
    shutdown(fd, SHUT_WR);
    close(fd);
}

static void chopin__worker_peer(chopin_worker *w, chopin__conn *k) {
    struct sockaddr_storage from = { .ss_family = AF_UNIX };
    socklen_t size = sizeof from;
    if (k->peer_port || w->io.ops->fd(&w->io) < 0 || getpeername(k->port.fd, (struct sockaddr *)&from, &size) != 0) return;
    k->peer = chopin__guard_address_of(&from);
    if (from.ss_family == AF_INET)  k->peer_port = ntohs(((struct sockaddr_in *)(void *)&from)->sin_port);
    if (from.ss_family == AF_INET6) k->peer_port = ntohs(((struct sockaddr_in6 *)(void *)&from)->sin6_port);
}

static bool chopin__same_network(const chopin__address *a, const chopin__address *b) {
    return a->family == b->family && memcmp(a->bytes, b->bytes, a->family == 6 ? 8 : 4) == 0;
}

/* How many connections come from the same address. Off by default; the walk is bounded by max_connections. */
static size_t chopin__worker_count_peer(const chopin_worker *w, const chopin__conn *k) {
    size_t n = 0;
    for (uint32_t i = 0; i < w->slab.used; i++) {
        const chopin__conn *other = chopin__slab_at(&w->slab, i);
        if ((atomic_load_explicit(&other->port.entry.generation, memory_order_relaxed) & 1) && other->port.kind == CHOPIN__CONNECTION
            && chopin__same_network(&other->peer, &k->peer)) n++;
    }
    return n;
}

static void chopin__worker_accept(chopin_worker *w, int fd) {
    size_t max = w->site->options.max_connections, per_address = w->site->options.max_per_address;
    chopin__conn *k = w->connections < max + CHOPIN__RESERVE ? chopin__conn_open(w, fd, w->connections >= max) : NULL;
    if (!k) { chopin__worker_refuse(w, fd); return; }
    if (k->overflow) chopin__count(&w->counts.refused);
    if (!per_address) return;
    chopin__worker_peer(w, k);
    if (k->peer.family && chopin__worker_count_peer(w, k) > per_address) k->overflow = true;
}

/* No descriptors left: the spare one is given up for a moment, so that the client is told and the queue moves. */
static void chopin__worker_no_descriptors(chopin_worker *w, chopin__port *listener) {
    if (w->spare_fd < 0) return;
    close(w->spare_fd);
    int fd = w->io.ops->accept(&w->io, listener);
    if (fd >= 0) chopin__worker_refuse(w, fd);
    w->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void chopin__worker_listener_event(chopin_worker *w, const chopin__event *event) {
    if (event->result >= 0) { chopin__worker_accept(w, (int)event->result); return; }
    if (event->result == -EMFILE || event->result == -ENFILE) { chopin__worker_no_descriptors(w, event->port); return; }
    chopin__log(&w->site->logger, CHOPIN_WARNING, "accept: %s", strerror((int)-event->result));
}

/* ---- messages from other threads ---- */

static void chopin__worker_send(chopin_worker *w, chopin__post *post) {
    chopin__post *head = atomic_load_explicit(&w->inbox, memory_order_relaxed);
    do post->next = head;
    while (!atomic_compare_exchange_weak_explicit(&w->inbox, &head, post, memory_order_release, memory_order_relaxed));
    w->io.ops->wake(&w->io);
}

/* The request a handle speaks of, while its handler is on some stack. */
static chopin_ctx *chopin__worker_find(chopin_worker *w, uint64_t id, uint32_t serial) {
    chopin__conn *k = chopin__slab_get(&w->slab, id);
    bool same = k && k->port.kind == CHOPIN__CONNECTION && k->handling && atomic_load_explicit(&k->serial, memory_order_relaxed) == serial;
    return same ? k->ctx : NULL;
}

static void chopin__worker_inbox(chopin_worker *w) {
    if (CHOPIN__LIKELY(!atomic_load_explicit(&w->inbox, memory_order_relaxed))) return;
    chopin__post *list = atomic_exchange_explicit(&w->inbox, NULL, memory_order_acquire), *in_order = NULL;
    while (list) {
        chopin__post *next = list->next;
        list->next = in_order;
        in_order = list;
        list = next;
    }
    while (in_order) {
        chopin__post *post = in_order;
        in_order = post->next;
        if (post->direct) { post->direct(w, post->arg); continue; }       // the sender's memory
        post->fn(chopin__worker_find(w, post->id, post->serial), post->arg);
        chopin__release(&w->site->heap, post, sizeof *post);
    }
}

/* ---- faults ---- */

static const char *chopin__fault_name(int sig) {
    return sig == SIGSEGV ? "SIGSEGV" : sig == SIGBUS ? "SIGBUS" : sig == SIGFPE ? "SIGFPE" : sig == SIGILL ? "SIGILL" : "abort()";
}

static const void *chopin__fault_pc(void *context) {
    (void)context;
#if defined(__linux__) && defined(__x86_64__)
    return (const void *)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
#elif defined(__linux__) && defined(__aarch64__)
    return (const void *)((ucontext_t *)context)->uc_mcontext.pc;
#else
    return NULL;
#endif
}

/* Runs on the signal stack. Only a handler's own fault is contained: anything else is ours, and ends the process as it should. */
static void chopin__fault_signal(int sig, siginfo_t *info, void *context) {
    chopin_worker *w = chopin__this_worker;
    if (!w || !w->running || !w->site->options.contain_faults) {
        signal(sig, SIG_DFL);
        raise(sig);
        return;
    }
    bool overflow = sig == SIGSEGV && chopin__fiber_overflowed(&w->fibers, w->fibers.current, info->si_addr);
    snprintf(w->fallen_why, sizeof w->fallen_why, overflow ? "stack overflow (raise chopin_options.stack_size, or the route's): %s at %p, address %p" : "fault contained: %s at %p, address %p",
             chopin__fault_name(sig), chopin__fault_pc(context), sig == SIGABRT ? NULL : info->si_addr);
    w->fault_pc = chopin__fault_pc(context);
    w->fault_signal = sig;
#if defined(CHOPIN__BACKTRACE)
    w->fault_depth = overflow ? 0 : backtrace(w->fault_trace, (int)CHOPIN__COUNT(w->fault_trace));
#endif
    w->fallen = w->running;
    chopin__fiber_retire(&w->fibers);
}

#if defined(__linux__)
static int chopin__fault_phdr(struct dl_phdr_info *info, size_t size, void *arg) {
    const void **found = arg;                                // in: the address; out: the name of its object
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        uintptr_t low = (uintptr_t)info->dlpi_addr + (uintptr_t)info->dlpi_phdr[i].p_vaddr;
        if (info->dlpi_phdr[i].p_type != PT_LOAD || (uintptr_t)*found - low >= (uintptr_t)info->dlpi_phdr[i].p_memsz) continue;
        *found = info->dlpi_name ? info->dlpi_name : "";
        return 1;
    }
    return 0;
}

/* A fault inside libc may leave its locks or its heap in any state. (In a static program libc cannot be told apart.) */
static bool chopin__fault_in_libc(const void *pc) {
    const void *name = pc;
    if (!pc || !dl_iterate_phdr(chopin__fault_phdr, &name)) return false;
    return strstr(name, "libc.so") || strstr(name, "libc-") || strstr(name, "ld-musl");
}
#else
static bool chopin__fault_in_libc(const void *pc) { (void)pc; return false; }
#endif

/* Back in the loop after a fault: the trace is logged, and a worker that has suffered enough asks to be replaced. */
static void chopin__fault_report(chopin_worker *w) {
    int sig = w->fault_signal;
    w->fault_signal = 0;
    if (!sig) return;
    chopin__count(&w->counts.faults);
#if defined(CHOPIN__BACKTRACE)
    char **names = w->fault_depth > 0 ? backtrace_symbols(w->fault_trace, w->fault_depth) : NULL;
    for (int i = 0; names && i < w->fault_depth; i++) chopin__log(&w->site->logger, CHOPIN_ERROR, "  #%d %s", i, names[i]);
    free(names);
#endif
    bool enough = sig == SIGABRT || atomic_load(&w->counts.faults) >= (uint64_t)w->site->options.max_faults || chopin__fault_in_libc(w->fault_pc);
    if (enough && w->replace && !w->draining) w->retiring = true;
}

/* ---- stopping ---- */

static bool chopin__conn_is_idle(const chopin__conn *k) {
    return k->state == CHOPIN__READING && !k->buf && !k->ctx && !k->port.out.bytes && !(k->port.ready & CHOPIN__IN && k->port.listed);
}

static void chopin__worker_each(chopin_worker *w, void (*fn)(chopin_worker *w, chopin__conn *k)) {
    for (uint32_t i = 0; i < w->slab.used; i++) {
        chopin__conn *k = chopin__slab_at(&w->slab, i);
        if ((atomic_load_explicit(&k->port.entry.generation, memory_order_relaxed) & 1) && k->port.kind == CHOPIN__CONNECTION) fn(w, k);
    }
}

#define CHOPIN__LAST_CHANCE_MS 250      // for the first request of a connection when the server stops

static void chopin__worker_close_idle(chopin_worker *w, chopin__conn *k) {
    if (!chopin__conn_is_idle(k)) return;
    if (w->io.ops->fd(&w->io) >= 0) {
        if (w->io.ops->more(&w->io, &k->port)) return;       // a request is here already
        if (!k->requests) {                  // perhaps accepted a moment ago: its first request may be on its way
            k->read_due = w->now + CHOPIN__LAST_CHANCE_MS;
            chopin__conn_set_timer(w, k);
            return;
        }
    }
    chopin__conn_kill(w, k);
    chopin__conn_settle(w, k);
}

static void chopin__worker_abort(chopin_worker *w, chopin__conn *k) {
    k->abort = true;
    chopin__conn_lost(w, k);
    chopin__conn_settle(w, k);
}

/* Who waits there, or was accepted by the ring already, is served, too, if this worker `runs`. Also when others listen there: the kernel may have woken us alone,
 * and they would not look before the next client comes. */
static void chopin__worker_close_listeners(chopin_worker *w, bool runs) {
    for (int i = 0; i < w->listener_count; i++) {
        chopin__port *port = w->listeners[i];
        for (int fd = 0; runs && fd >= 0; ) {
            fd = w->io.ops->accept(&w->io, port);
            if (fd >= 0) chopin__worker_accept(w, fd);
        }
        w->io.ops->detach(&w->io, port, true);               // a successor has a descriptor of its own for the same socket
        chopin__slab_give(&w->slab, port);
    }
    w->listener_count = 0;
}

/* Waits under way fail; `endless`: those that might go on for ever. */
static void chopin__worker_end_waits(chopin_worker *w, bool endless) {
    for (chopin__wait *wait = w->parked, *next; wait; wait = next) {
        next = wait->next;
        if (!wait->stubborn && (wait->endless || !endless)) chopin__wake(w, wait, CHOPIN_CANCELED);
    }
}

/* From now on all waits fail, those under way included. */
static void chopin__worker_cancel(chopin_worker *w) {
    w->cancelled = true;
    chopin__worker_end_waits(w, false);
}

static void chopin__worker_drain(chopin_worker *w) {
    w->draining = true;
    chopin__worker_end_waits(w, true);
    chopin__worker_close_listeners(w, true);
    chopin__worker_each(w, chopin__worker_close_idle);
    w->drain_due = chopin__after(w->now, w->site->options.drain_timeout_ms);
}

/* The drain deadline has passed: first all waits end, a second later what is left is reset. */
static void chopin__worker_overdue(chopin_worker *w) {
    if (!w->cancelled) {
        chopin__log(&w->site->logger, CHOPIN_WARNING, "worker %d: drain_timeout_ms passed with %u connections open", w->index, w->connections);
        w->drain_due = w->now + 1000;
        chopin__worker_cancel(w);
        return;
    }
    w->drain_due = w->now + 1000;
    chopin__worker_each(w, chopin__worker_abort);
}

/* A fault too many: a new worker takes the listeners, this one serves what it has, and who waits at this moment, and closes each connection with its next reply. */
static void chopin__worker_retire(chopin_worker *w) {
    w->retiring = false;
    chopin__log(&w->site->logger, CHOPIN_WARNING, "worker %d is replaced after a fault", w->index);
    if (!w->replace(w)) return;
    w->draining = true;
    w->drain_due = CHOPIN__NEVER;
    chopin__worker_close_listeners(w, true);
}

static void chopin__worker_lifecycle(chopin_worker *w) {
    if (CHOPIN__UNLIKELY(w->retiring)) chopin__worker_retire(w);
    bool stopping = atomic_load_explicit(&w->site->stopping, memory_order_relaxed);
    if (CHOPIN__UNLIKELY(stopping && (!w->draining || w->drain_due == CHOPIN__NEVER)) && !w->stop_seen) {
        w->stop_seen = true;
        chopin__worker_drain(w);
    }
    if (CHOPIN__LIKELY(!w->draining)) return;
    if (w->drain_due <= w->now) chopin__worker_overdue(w);
    w->ended = w->connections == 0 && w->parked_count == 0 && !w->ready;
}

/* ---- the loop ---- */

static void chopin__worker_clock(chopin_worker *w) {
    w->now = w->io.ops->now(&w->io);
    w->turn_open = true;
    if (CHOPIN__LIKELY(w->now < w->date_due)) return;
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    w->wall_s = wall.tv_sec;
    chopin__preset_date(&w->preset, w->wall_s);
    w->date_due = w->now + 1000 - wall.tv_nsec / 1000000;
}

static inline void chopin__worker_event(chopin_worker *w, const chopin__event *event) {
    switch ((chopin__port_kind)event->port->kind) {
    case CHOPIN__CONNECTION: chopin__conn_event(w, (chopin__conn *)event->port, event); break;
    case CHOPIN__LISTENER:   chopin__worker_listener_event(w, event); break;
    case CHOPIN__WAITER:     chopin__wake(w, ((chopin__waiter *)event->port)->wait, (int)event->result); break;
    case CHOPIN__TICKETED:   break;
    }
}

static void chopin__worker_timers(chopin_worker *w) {
    for (chopin__timer *t; (t = chopin__wheel_fire(&w->wheel, w->now)) != NULL; ) {
        if (t->of_wait) chopin__wake(w, (chopin__wait *)(void *)((char *)t - offsetof(chopin__wait, timer)), CHOPIN_TIMEOUT);
        else            chopin__conn_timer(w, (chopin__conn *)(void *)((char *)t - offsetof(chopin__conn, timer)));
    }
}

/* Everybody else had his go: those that asked for that may go on. */
static void chopin__worker_last(chopin_worker *w) {
    while (CHOPIN__UNLIKELY(w->turn != NULL)) {
        chopin__wait *wait = w->turn;
        w->turn = wait->next_turn;
        wait->of_turn = false;
        chopin__wake(w, wait, CHOPIN_OK);
    }
    w->turn_last = NULL;
}

static void chopin__worker_slow(chopin_worker *w) {
    int64_t took = w->io.ops->now(&w->io) - w->now;
    chopin__endpoint *e = w->last_endpoint;
    w->last_endpoint = NULL;
    if (CHOPIN__LIKELY(took < w->site->options.loop_warn_ms)) return;
    chopin__log(&w->site->logger, CHOPIN_WARNING, "worker %d: one turn of the loop took %lld ms; the last handler in it was %s (%.*s %.*s): use chopin_offload() for work that blocks",
                w->index, (long long)took, e->route.name, CHOPIN_FMT(e->route.method), CHOPIN_FMT(e->route.pattern));
}

static void chopin__worker_turn_over(chopin_worker *w) {
    if (w->last_endpoint && w->site->options.loop_warn_ms > 0) chopin__worker_slow(w);
    chopin__worker_inbox(w);
    chopin__worker_timers(w);
    chopin__worker_last(w);
    chopin__worker_lifecycle(w);
    w->turn_open = w->stirred = false;
}

/* When the next turn must begin at the latest. */
static int64_t chopin__worker_until(const chopin_worker *w) {
    bool unseen = atomic_load(&w->site->stopping) && !w->stop_seen;  // stopped before it could be woken
    if (unseen || w->stirred || w->ready || w->turn || w->ended || (w->stepping && w->step_until == 0)) return 0;
    int64_t until = chopin__wheel_next(&w->wheel);
    if (w->draining && w->drain_due < until) until = w->drain_due;
    if (w->stepping && w->step_until < until) until = w->step_until;
    int cap = w->wait_cap;
    if (cap && w->now + (cap > 0 ? cap : 0) < until) until = cap > 0 ? w->now + cap : 0;
    return until;
}

/* This fiber becomes idle in the middle of the loop, and whoever waited goes on. */
static void chopin__worker_resume(chopin_worker *w) {
    chopin__wait *wait = w->ready;
    w->ready = wait->next;
    if (!w->ready) w->ready_last = NULL;
    w->stirred = w->stepping || w->draining;                 // its end may be the last one that the drain waits for
    chopin__fiber_give(&w->fibers, w->fibers.current);
    chopin__fiber_switch(&w->fibers, wait->fiber);
}

/* The entry of every fiber. Leaves, after each turn or at the end, to whoever entered. */
static void chopin__worker_loop(void *arg) {
    chopin_worker *w = arg;
    if (w->fallen) {
        chopin__conn_fallen(w);
        chopin__fault_report(w);
    }
    for (;;) {
        if (w->ready) { chopin__worker_resume(w); continue; }
        chopin__event event;
        bool got = w->io.ops->wait(&w->io, w->turn_open ? 0 : chopin__worker_until(w), &event);   // a turn sleeps once, at its start
        if (CHOPIN__UNLIKELY(!w->turn_open)) chopin__worker_clock(w);
        if (CHOPIN__LIKELY(got)) { chopin__worker_event(w, &event); continue; }
        chopin__worker_turn_over(w);
        if (w->ended) w->io.ops->flush(&w->io);
        if ((w->ended || (w->stepping && !w->ready)) && chopin__fiber_leave(&w->fibers)) return;
    }
}

/* ---- making and ending one ---- */

static bool chopin__worker_io(chopin_worker *w, const chopin__io_ops *ops, void *state) {
    w->io = (chopin__io){ .ops = ops, .ports = &w->slab, .inputs = &w->inputs, .pieces = &w->pieces, .logger = &w->site->logger, .state = state,
                          .buf_size = w->site->options.read_buffer, .sqpoll = w->site->options.sqpoll, .wake_fd = -1, .alarm_fd = -1 };
    return ops->open(&w->io, &w->site->heap);
}

/* Everything but its listeners. False: out of memory or descriptors; errno says more. To be undone by chopin__worker_done() in any case. */
static bool chopin__worker_init(chopin_worker *w, chopin__site *site, int index, const chopin__io_ops *ops, void *io_state) {
    const chopin_options *o = &site->options;
    *w = (chopin_worker){ .site = site, .index = index, .cpu = -1, .spare_fd = -1, .random = chopin__random_seed(), .drain_due = CHOPIN__NEVER };
    size_t entries = o->max_connections + CHOPIN__RESERVE + o->max_parked + CHOPIN__COUNT(w->listeners);
    if (!chopin__slab_init(&w->slab, sizeof(chopin__conn), entries)) return false;
    if (!chopin__worker_io(w, ops, io_state)) return false;
    chopin__heap *heap = &site->heap;
    w->ctx_size = chopin__ctx_size(site);
    w->wait_cap = o->epoll_timeout_ms;
    w->io.eager = o->defer_accept;
    chopin__pool_init(&w->pieces.blocks, heap, o->write_buffer + sizeof(chopin__piece), 256);
    chopin__pool_init(&w->pieces.nodes, heap, sizeof(chopin__piece), 1024);
    chopin__pool_init(&w->inputs, heap, chopin__max(o->read_buffer, o->max_head + 2), 256);
    chopin__pool_init(&w->contexts, heap, w->ctx_size, 1024);
    w->io.buf = chopin__pool_take(&w->inputs);
    w->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    chopin__preset_init(&w->preset, o->server, o->no_date, 0);
    w->now = w->wheel.now = w->io.ops->now(&w->io);
    return w->io.buf && chopin__fibers_init(&w->fibers, o->stack_size, (unsigned)o->max_parked + 2, chopin__worker_loop, w);
}

/* Listens on a descriptor, which is the worker's from here on. */
static bool chopin__worker_listen(chopin_worker *w, int fd, bool shared) {
    chopin__port *port = w->listener_count < (int)CHOPIN__COUNT(w->listeners) ? chopin__slab_take(&w->slab) : NULL;
    if (!port) { errno = ENOSPC; return false; }
    chopin__port_open(port, fd, CHOPIN__LISTENER);
    if (!w->io.ops->attach(&w->io, port, shared)) { chopin__slab_give(&w->slab, port); return false; }
    w->io.ops->start(&w->io, port, CHOPIN__IN);
    w->listeners[w->listener_count++] = port;
    return true;
}

/* How deep handlers have reached, for whoever chooses chopin_options.stack_size. Reads all stacks: when debugging only. */
static void chopin__worker_report_depth(chopin_worker *w) {
#if !defined(CHOPIN_NO_FIBERS)
    size_t deepest = 0;
    if (w->site->logger.level > CHOPIN_DEBUG) return;
    for (const chopin__fiber *f = w->fibers.newest; f; f = f->older) deepest = chopin__max(deepest, chopin__fiber_depth(f));
    chopin__log(&w->site->logger, CHOPIN_DEBUG, "worker %d: the deepest of %u stacks used %zu of %zu bytes", w->index, w->fibers.count, deepest, w->fibers.stack_size);
#else
    (void)w;
#endif
}

static void chopin__worker_done(chopin_worker *w) {
    if (w->io.state) {
        chopin__worker_inbox(w);                             // their requests are over, but their arguments may need freeing
        chopin__worker_close_listeners(w, true);
        chopin__worker_each(w, chopin__worker_abort);
        if (w->io.buf) chopin__pool_give(&w->inputs, w->io.buf);
        w->io.ops->close(&w->io, &w->site->heap);
        w->io.buf = NULL;
        w->io.state = NULL;
    }
    if (w->fibers.count) chopin__worker_report_depth(w);
    if (w->fibers.count) chopin__fibers_done(&w->fibers);
    for (int i = 0; i < CHOPIN__LIMITS; i++) chopin__guard_limiter_done(&w->limiters[i], &w->site->heap);
    if (w->spare) chopin__pool_give(&w->contexts, w->spare);
    w->spare = NULL;
    if (w->files_done) w->files_done(w);
    w->files_done = NULL;
    if (w->topics) chopin__release(&w->site->heap, w->topics, sizeof *w->topics);
    w->topics = NULL;
    if (w->inputs.heap) {
        chopin__pool_done(&w->pieces.blocks);
        chopin__pool_done(&w->pieces.nodes);
        chopin__pool_done(&w->inputs);
        chopin__pool_done(&w->contexts);
    }
    if (w->spare_fd >= 0) close(w->spare_fd);
    w->spare_fd = -1;
    chopin__slab_done(&w->slab);
}

/* One entry into the loop: a turn or more when stepping, else until the end. */
static void chopin__worker_enter(chopin_worker *w) {
    chopin_worker *outer = chopin__this_worker;
    chopin__this_worker = w;
    chopin__fiber_enter(&w->fibers);
    chopin__this_worker = outer;
}

/* Ends what is going on, however long it meant to take: handlers come back from their waits, so that nothing they hold is lost. */
static void chopin__worker_cut(chopin_worker *w) {
    chopin__worker_cancel(w);
    chopin__worker_each(w, chopin__worker_abort);
    w->step_until = CHOPIN__NEVER;
    while (w->parked_count || w->ready) chopin__worker_enter(w);
    w->io.ops->flush(&w->io);
}

/* ==========================================================================================================
   >>server   options resolved, addresses bound, chains composed, workers started and ended
   ========================================================================================================== */

typedef struct chopin__address_spec {   // one chopin_listen()
    _Atomic(struct chopin__address_spec *) next;     // chopin_port() may look meanwhile
    char                   *text;       // as given, for messages
    struct sockaddr_storage bound;      // what the first worker got: port 0 is resolved here
    socklen_t               bound_len;
    int                     shared_fd;  // unix and inherited sockets: one for all workers; else -1
    bool                    bound_ok;
    _Atomic int             port;       // for chopin_port(): 0 while it is not bound
    char                   *unlink;     // a unix path that is ours to remove
    dev_t                   unlink_dev;
    ino_t                   unlink_ino;
} chopin__address_spec;

typedef struct chopin__job {            // of chopin_offload(); lives on the parked handler's stack
    struct chopin__job *next;
    int  (*fn)(void *arg);
    void  *arg;
    int    result;
    chopin_worker *worker;
    chopin__wait  *wait;
    chopin__post   done;
} chopin__job;

typedef struct chopin__offload {        // the thread pool, started with its first job
    pthread_mutex_t lock;
    pthread_cond_t  more;
    chopin__job    *first, *last;
    pthread_t       threads[64];
    int             count, idle, queued;
    bool            ending;
} chopin__offload;

typedef struct chopin__server {
    chopin__site   site;                // first: groups point at it
    chopin_group   app;                 // the outermost group
    chopin_group  *groups;              // all others
    chopin__use   *last_use;
    chopin__endpoint *last_endpoint;
    _Atomic(chopin__address_spec *) addresses;
    chopin__address_spec *last_address;
    chopin_worker **workers;            // ended ones stay until chopin_free: handles point at them ...
    chopin_worker  *past;               // ... those of earlier runs in this list
    _Atomic int    worker_count, live;  // made; running
    int            worker_room;
    pthread_t     *threads;
    pthread_mutex_t lock;               // of the two lines above
    pthread_cond_t  changed;
    chopin__offload offload;
    int            failed;              // the first set-up failure ...
    char           why[400];            // ... and its text
    bool           mounted, frozen, serving, open;
    _Atomic bool   ending;              // workers are being taken apart
    _Atomic int    wakers;              // who is waking them just now
    void          *signal_stack;        // of the thread that embeds us
    struct sigaction old_term, old_int, old_pipe, old_faults[5];
    chopin_str     test_reply;          // of the last chopin_test_request()
    size_t         test_cap;
    chopin__guard_limiter test_limiters[CHOPIN__LIMITS]; // of chopin_test_request(), between calls
    struct chopin__owned { struct chopin__owned *next; void *ptr; size_t size; } *owned;
    struct chopin__last { struct chopin__last *next; void (*fn)(void *arg); void *arg; } *last;   // what chopin_free() calls
} chopin__server;

static _Atomic(chopin__server *) chopin__served;            // for signal handlers: who is to be stopped
static chopin_attribute_route *chopin__attribute_routes;    // filled before main() runs

static const int chopin__fault_signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };

static inline chopin__server *chopin__server_of(chopin_group *group) { return (chopin__server *)(void *)group->site; }

/* Remembers the first failure; each is logged. */
static int CHOPIN__PRINTF(3, 4) chopin__server_fail(chopin__server *s, int status, const char *format, ...) {
    char    text[sizeof s->why];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    chopin__log(&s->site.logger, CHOPIN_ERROR, "%s", text);
    if (!s->failed) { s->failed = status; memcpy(s->why, text, sizeof text); }
    return status;
}

/* Memory that lives as long as the server. */
static void *chopin__server_own(chopin__server *s, size_t size) {
    struct chopin__owned *o = chopin__alloc(&s->site.heap, sizeof *o);
    void *ptr = o ? chopin__alloc_zero(&s->site.heap, size) : NULL;
    if (!ptr) {
        chopin__release(&s->site.heap, o, sizeof *o);
        chopin__server_fail(s, CHOPIN_MEMORY, "out of memory in set-up");
        return NULL;
    }
    *o = (struct chopin__owned){ .next = s->owned, .ptr = ptr, .size = size };
    s->owned = o;
    return ptr;
}

static chopin_str chopin__server_copy(chopin__server *s, chopin_str text) {
    char *copy = text.ptr ? chopin__server_own(s, text.len + 1) : NULL;
    if (!copy) return chopin__absent();
    if (text.len) memcpy(copy, text.ptr, text.len);
    return chopin__str(copy, text.len);
}

static const char *chopin__server_text(chopin__server *s, const char *text) { return chopin__server_copy(s, chopin__str_z(text)).ptr; }

/* fn(arg) when the app is freed. */
static bool chopin__server_at_end(chopin__server *s, void (*fn)(void *arg), void *arg) {
    struct chopin__last *l = chopin__server_own(s, sizeof *l);
    if (!l) return false;
    *l = (struct chopin__last){ s->last, fn, arg };
    s->last = l;
    return true;
}

/* A list of texts as our own. */
static const char *const *chopin__server_words(chopin__server *s, const char *const *words) {
    size_t n = 0;
    while (words && words[n]) n++;
    const char **copy = words ? chopin__server_own(s, (n + 1) * sizeof *copy) : NULL;
    for (size_t i = 0; copy && i < n; i++) copy[i] = chopin__server_text(s, words[i]);
    return copy;
}

/* ---- options: one table says name, default, range and environment of each ---- */
enum { CHOPIN__STACK_MOST = 1 << 30 };

typedef struct chopin__option {         // text in place: pointers would be relocated at load, and cost three times as much
    char        name[21], unit[4];
    bool        is_int;                 // else size_t
    uint16_t    offset;
    int32_t     fallback, low, high;    // high 0: as much as there is
} chopin__option;

#define CHOPIN__SIZE(field, unit, fallback, low, high) { #field, unit, false, offsetof(chopin_options, field), fallback, low, high }
#define CHOPIN__INT(field, unit, fallback, low, high)  { #field, unit, true, offsetof(chopin_options, field), fallback, low, high }
static const chopin__option chopin__options[] = {
    CHOPIN__INT (workers,              "",    0,       0,     4096),
    CHOPIN__SIZE(max_connections,      "",    16000,   1,     16000000),
    CHOPIN__INT (epoll_timeout_ms,     "ms",  0,       -1,    3600000),
    CHOPIN__SIZE(read_buffer,          "B",   65536,   512,   1048576),
    CHOPIN__SIZE(write_buffer,         "B",   32768,   512,   1048576),
    CHOPIN__INT (backlog,              "",    8192,    1,     INT_MAX),
    CHOPIN__SIZE(max_per_address,      "",    0,       0,     16000000),
    CHOPIN__SIZE(max_requests,         "",    0,       0,     INT_MAX),
    CHOPIN__SIZE(max_method,           "B",   32,      1,     1024),
    CHOPIN__SIZE(max_target,           "B",   8192,    1,     1 << 24),
    CHOPIN__SIZE(max_header_line,      "B",   8192,    16,    1 << 24),
    CHOPIN__SIZE(max_head,             "B",   32768,   64,    1 << 26),
    CHOPIN__SIZE(max_headers,          "",    100,     1,     10000),
    CHOPIN__SIZE(max_body,             "B",   1 << 20, 0,     0),
    CHOPIN__SIZE(max_chunk_line,       "B",   1024,    16,    1 << 20),
    CHOPIN__SIZE(max_chunk_extensions, "B",   16384,   0,     1 << 30),
    CHOPIN__SIZE(max_drain,            "B",   1 << 18, 0,     1 << 30),
    CHOPIN__SIZE(max_form_fields,      "",    1000,    1,     1 << 24),
    CHOPIN__SIZE(max_parts,            "",    256,     1,     1 << 24),
    CHOPIN__SIZE(max_part_head,        "B",   8192,    64,    1 << 20),
    CHOPIN__SIZE(max_part_name,        "B",   255,     1,     1 << 16),
    CHOPIN__SIZE(max_field,            "B",   1 << 16, 1,     0),
    CHOPIN__SIZE(max_arena,            "B",   1 << 20, 4096,  1 << 30),
    CHOPIN__SIZE(high_water,           "B",   1 << 16, 1,     1 << 30),
    CHOPIN__SIZE(low_water,            "B",   1 << 14, 0,     1 << 30),
    CHOPIN__SIZE(ws_max_message,       "B",   1 << 20, 1,     0),
    CHOPIN__SIZE(ws_max_frame,         "B",   1 << 20, 1,     0),
    CHOPIN__SIZE(ws_max_topics,        "",    64,      1,     1 << 20),
    CHOPIN__SIZE(file_cache,           "",    0,       0,     1 << 20),
    CHOPIN__SIZE(compress_min,         "B",   1024,    1,     0),
    CHOPIN__SIZE(max_queue,            "B",   1 << 20, 1,     1 << 30),
    CHOPIN__SIZE(max_parked,           "",    16000,   1,     1000000),
    CHOPIN__SIZE(stack_size,           "B",   1 << 16, 16384, CHOPIN__STACK_MOST),
    CHOPIN__INT (offload_threads,      "",    0,       0,     64),
    CHOPIN__INT (offload_queue,        "",    1024,    1,     1 << 20),
    CHOPIN__INT (header_timeout_ms,    "ms",  10000,   -1,    INT_MAX),
    CHOPIN__INT (body_stall_ms,        "ms",  30000,   -1,    INT_MAX),
    CHOPIN__INT (min_body_rate,        "B/s", 1024,    -1,    INT_MAX),
    CHOPIN__INT (handler_timeout_ms,   "ms",  -1,      -1,    INT_MAX),
    CHOPIN__INT (write_stall_ms,       "ms",  30000,   -1,    INT_MAX),
    CHOPIN__INT (min_send_rate,        "B/s", 1024,    -1,    INT_MAX),
    CHOPIN__INT (idle_timeout_ms,      "ms",  60000,   -1,    INT_MAX),
    CHOPIN__INT (ws_ping_ms,           "ms",  30000,   -1,    INT_MAX),
    CHOPIN__INT (ws_pong_ms,           "ms",  10000,   -1,    INT_MAX),
    CHOPIN__INT (ws_close_ms,          "ms",  5000,    -1,    INT_MAX),
    CHOPIN__INT (sse_heartbeat_ms,     "ms",  15000,   -1,    INT_MAX),
    CHOPIN__INT (linger_ms,            "ms",  2000,    -1,    INT_MAX),
    CHOPIN__INT (drain_timeout_ms,     "ms",  30000,   -1,    INT_MAX),
    CHOPIN__INT (loop_warn_ms,         "ms",  50,      -1,    INT_MAX),
    CHOPIN__INT (busy_poll_us,         "us",  0,       0,     1000000),
    CHOPIN__INT (fast_open,            "",    0,       0,     65536),
    CHOPIN__INT (max_faults,           "",    16,      1,     INT_MAX),
};

typedef struct chopin__option_variable { uint16_t offset; char name[26]; } chopin__option_variable;
static const chopin__option_variable chopin__option_variables[] = {
    { offsetof(chopin_options, workers), "CHOPIN_WORKERS" },           { offsetof(chopin_options, max_connections), "CHOPIN_SLAB_CAPACITY" },
    { offsetof(chopin_options, read_buffer), "CHOPIN_READ_BUF_SIZE" }, { offsetof(chopin_options, epoll_timeout_ms), "CHOPIN_EPOLL_TIMEOUT_MS" },
    { offsetof(chopin_options, write_buffer), "CHOPIN_WRITE_BUF_SIZE" },
};

/* The environment variable that stands in for an option; NULL: none does. */
static const char *chopin__option_variable_of(const chopin__option *d) {
    for (size_t i = 0; i < CHOPIN__COUNT(chopin__option_variables); i++) {
        if (chopin__option_variables[i].offset == d->offset) return chopin__option_variables[i].name;
    }
    return NULL;
}

static int64_t chopin__option_get(const chopin_options *o, const chopin__option *d) {
    const char *at = (const char *)o + d->offset;
    if (d->is_int) return *(const int *)(const void *)at;
    int64_t value = (int64_t)*(const size_t *)(const void *)at;
    return value < 0 ? INT64_MAX : value;                    // CHOPIN_NO_LIMIT
}

static void chopin__option_set(chopin_options *o, const chopin__option *d, int64_t value) {
    char *at = (char *)o + d->offset;
    if (d->is_int) *(int *)(void *)at = (int)value;
    else           *(size_t *)(void *)at = (size_t)value;
}

static bool chopin__option_fits(const chopin__option *d, int64_t value) { return value >= d->low && (value <= d->high || !d->high); }

/* A number in the environment stands in for an option that was left at 0. In CHOPIN_EPOLL_TIMEOUT_MS, 0 means never to wait. */
static void chopin__option_env(chopin__server *s, const chopin__option *d) {
    const char *name = chopin__option_variable_of(d), *text = name && !s->site.options.no_env ? getenv(name) : NULL;
    int64_t     value;
    bool        spins = d->offset == offsetof(chopin_options, epoll_timeout_ms);
    if (!text || chopin__option_get(&s->site.options, d) != 0) return;
    if (!chopin__parse_i64(chopin__str_z(text), &value) || value < (spins ? 0 : 1) || !chopin__option_fits(d, value)) {
        chopin__server_fail(s, CHOPIN_INVALID, "environment variable %s=\"%.60s\" is not a number from %d to %d", name, text, spins ? 0 : d->low > 1 ? d->low : 1, d->high);
        return;
    }
    chopin__option_set(&s->site.options, d, spins && value == 0 ? -1 : value);
}

static int chopin__cpus(void) {
    int count = 1;
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) count = CPU_COUNT(&set);
    char text[64] = "";
    int  fd = open("/sys/fs/cgroup/cpu.max", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t n = read(fd, text, sizeof text - 1);
        close(fd);
        chopin_str period = chopin__str(text, n > 0 ? (size_t)n : 0), quota = chopin__cut(&period, ' ');
        uint64_t q, p;
        period = chopin__cut(&period, '\n');
        if (chopin__parse_u64(quota, &q) && chopin__parse_u64(period, &p) && p && (q + p - 1) / p < (uint64_t)count) count = (int)((q + p - 1) / p);
    }
#else
    count = (int)sysconf(_SC_NPROCESSORS_ONLN);
#endif
    return count > 0 ? count : 1;
}

/* The address and name of everything in the options that is text; the copies live as long as the server. */
static void chopin__options_copy_texts(chopin__server *s) {
    chopin_options *o = &s->site.options;
    const char    **texts[] = { &o->backend, &o->congestion, &o->server, &o->trusted_proxies };
    for (size_t i = 0; i < CHOPIN__COUNT(texts); i++) {
        if (*texts[i]) *texts[i] = chopin__server_copy(s, chopin__str_z(*texts[i])).ptr;
    }
}

/* Is there such a congestion control, and may we use it? errno says why not. A system that has no choice has them all. */
static bool chopin__congestion_known(const char *name) {
#if defined(TCP_CONGESTION)
    int  fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool known = fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) == 0;
    int  error = errno;
    if (fd >= 0) close(fd);
    errno = error;
    return known;
#else
    (void)name;
    return true;
#endif
}

static void chopin__options_check(chopin__server *s) {
    chopin_options *o = &s->site.options;
    char why[200] = "";
    for (size_t i = 0; i < CHOPIN__COUNT(chopin__options); i++) {
        const chopin__option *d = &chopin__options[i];
        int64_t value = chopin__option_get(o, d);
        if (!chopin__option_fits(d, value)) {
            chopin__server_fail(s, CHOPIN_INVALID, "chopin_options.%s is %lld: it must be %d to %d", d->name, (long long)value, d->low, d->high ? d->high : INT_MAX);
        }
    }
    if (o->low_water > o->high_water) o->low_water = o->high_water;
    const char *b = o->backend;
    if (strcmp(b, "auto") && strcmp(b, "epoll") && strcmp(b, "uring") && strcmp(b, "kqueue")) {
        chopin__server_fail(s, CHOPIN_INVALID, "backend \"%.40s\" is unknown: auto, epoll, uring or kqueue", b);
    }
    if (o->congestion && !chopin__congestion_known(o->congestion)) {
        const char *hint = errno == EPERM ? "without a privilege only those that net.ipv4.tcp_allowed_congestion_control names" : "Linux names them in net.ipv4.tcp_available_congestion_control";
        chopin__server_fail(s, CHOPIN_INVALID, "chopin_options.congestion \"%.40s\": %s (%s)", o->congestion, strerror(errno), hint);
    }
    if (!chopin__is_field_value(chopin__str_z(o->server))) chopin__server_fail(s, CHOPIN_INVALID, "chopin_options.server holds a control byte");
    if (o->trusted_proxies && chopin__guard_networks_init(&s->site.trusted, &s->site.heap, o->trusted_proxies, why, sizeof why) != CHOPIN_OK) {
        chopin__server_fail(s, CHOPIN_INVALID, "chopin_options.trusted_proxies: %s", why);
    }
#if defined(CHOPIN_NO_FIBERS)
    if (o->contain_faults) chopin__server_fail(s, CHOPIN_INVALID, "chopin_options.contain_faults needs fibers (built with CHOPIN_NO_FIBERS)");
#endif
}

static void chopin__options_resolve(chopin__server *s) {
    chopin_options *o = &s->site.options;
    for (size_t i = 0; i < CHOPIN__COUNT(chopin__options); i++) {
        const chopin__option *d = &chopin__options[i];
        chopin__option_env(s, d);
        if (chopin__option_get(o, d) == 0) chopin__option_set(o, d, d->fallback);
    }
    if (!o->backend && !o->no_env) o->backend = getenv("CHOPIN_BACKEND");
    if (!o->backend) o->backend = "auto";
    if (!o->server)  o->server = "chopin";
    if (!o->workers) o->workers = chopin__cpus();
    if (!o->offload_threads) o->offload_threads = chopin__cpus() < 4 ? chopin__cpus() : 4;
    chopin__options_copy_texts(s);
    if (o->backend) chopin__options_check(s);
    s->site.rules = (chopin__rules){ o->max_method, o->max_target, o->max_header_line, o->max_head, o->max_headers, o->max_chunk_line, o->max_chunk_extensions };
}

/* ---- routes ---- */

/* `prefix` of a group and `path` of a pattern as one; "/" adds nothing to a prefix. */
static chopin_str chopin__server_join(chopin__server *s, chopin_str prefix, chopin_str path) {
    while (prefix.len && prefix.ptr[prefix.len - 1] == '/') prefix.len--;
    char *joined = chopin__server_own(s, prefix.len + path.len + 1);
    if (!joined) return chopin__absent();
    if (prefix.len) memcpy(joined, prefix.ptr, prefix.len);
    if (path.len) memcpy(joined + prefix.len, path.ptr, path.len);
    return chopin__str(joined, prefix.len + path.len);
}

static int chopin__server_add_route(chopin__server *s, chopin__endpoint *e) {
    chopin__route *r = &e->route, *other = NULL;
    int rc = chopin__is_token(r->method) ? chopin__router_add(&s->site.router, r, &other) : CHOPIN_INVALID;
    if (rc == CHOPIN_CONFLICT) {
        return chopin__server_fail(s, rc, "%s:%d: route %.*s %.*s (%s) is taken by %s:%d (%s %.*s)", r->file, r->line, CHOPIN_FMT(r->method), CHOPIN_FMT(r->pattern),
                                   r->name, other->file, other->line, other->name, CHOPIN_FMT(other->pattern));
    }
    if (rc != CHOPIN_OK) {
        return chopin__server_fail(s, rc, "%s:%d: route %.*s \"%.*s\" (%s): %s", r->file, r->line, CHOPIN_FMT(r->method), CHOPIN_FMT(r->pattern), r->name,
                                   rc == CHOPIN_INVALID ? "not a valid method or pattern" : chopin_status_text(rc));
    }
    if (s->last_endpoint) s->last_endpoint->next = e;
    else                  s->site.endpoints = e;
    s->last_endpoint = e;
    return CHOPIN_OK;
}

static void chopin__route_options_resolve(chopin_options *o, chopin_route_options *r) {
    if (!r->max_body)           r->max_body = o->max_body;
    if (!r->handler_timeout_ms) r->handler_timeout_ms = o->handler_timeout_ms;
    if (!r->body_stall_ms)      r->body_stall_ms = o->body_stall_ms;
    if (!r->min_body_rate)      r->min_body_rate = o->min_body_rate;
    o->stack_size = chopin__max(o->stack_size, chopin__min(r->stack_size, CHOPIN__STACK_MOST));      // one size for all: any fiber may have to run it
}

static chopin__endpoint *chopin__server_new_endpoint(chopin__server *s, chopin_group *group, const char *method, const char *pattern,
                                                     chopin_handler handler, const chopin_route_options *options) {
    chopin__endpoint *e = chopin__server_own(s, sizeof *e);
    if (!e) return NULL;
    e->route.method = chopin__server_copy(s, chopin__str_z(method));
    e->route.pattern = chopin__server_join(s, group->prefix, chopin__str_z(pattern));
    e->route.handler = handler;
    e->group = group;
    if (options) e->options = *options;
    chopin__route_options_resolve(&s->site.options, &e->options);
    return e->route.method.ptr && e->route.pattern.ptr ? e : NULL;
}

/* The middleware that covers a route, then its own, then the handler: composed once. */
static bool chopin__server_flatten(chopin__server *s, chopin__endpoint *e) {
    size_t n = 1;
    for (const chopin__use *use = s->site.uses; use; use = use->next) n++;
    for (size_t i = 0; e->options.use && e->options.use[i]; i++) n++;
    chopin__step *steps = chopin__server_own(s, n * sizeof *steps);
    if (!steps) return false;
    n = 0;
    for (const chopin__use *use = s->site.uses; use; use = use->next) {
        bool always = chopin__under(use->prefix, e->route.pattern);
        if (always) steps[n++] = use->step;
        e->varies = e->varies || (!always && chopin__under_as(use->prefix, e->route.pattern, true));
    }
    size_t uses = n;
    for (size_t i = 0; e->options.use && e->options.use[i]; i++) steps[n++] = (chopin__step){ e->options.use[i], NULL };
    steps[n++] = (chopin__step){ e->route.handler, NULL };
    e->steps = steps;
    e->step_count = (uint32_t)n;
    e->own_count = (uint32_t)(n - uses);
    return true;
}

/* The chains must wait for this: middleware may be added after the routes it covers. */
static int chopin__server_freeze(chopin__server *s) {
    if (s->frozen) return s->failed;
    for (chopin__endpoint *e = s->site.endpoints; e; e = e->next) {
        if (!chopin__server_flatten(s, e)) return s->failed;
    }
    s->frozen = s->failed == CHOPIN_OK;
    return s->failed;
}

/* ---- precomputed replies ---- */

/* Does If-None-Match, on any of its lines, name what we would send? (RFC 9110 13.1.2) */
static bool chopin__fixed_is_fresh(const chopin_ctx *c, chopin_str etag) {
    for (size_t i = 0; etag.ptr && i < c->head.count; i++) {
        const chopin__field *f = &c->head.fields[i];
        if (f->id != CHOPIN_H_IF_NONE_MATCH) continue;
        chopin_str tags = chopin__ctx_str(c, f->value, f->value_len);
        if (chopin__equal(tags, CHOPIN_STR("*")) || chopin__body_etag_listed(tags, etag)) return true;
    }
    return false;
}

static int chopin__fixed_handler(chopin_ctx *c) {
    const chopin__fixed *f = c->endpoint->fixed;
    chopin_str rest = f->lines;
    while (rest.len) {
        chopin_str line = chopin__cut(&rest, '\n'), name = chopin__cut(&line, ':');
        chopin__lines_add(&c->reply, &c->arena, name, chopin__trim(chopin__str(line.ptr, line.len - 1)));
    }
    if (chopin__fixed_is_fresh(c, f->etag)) return chopin__answer(c, 304, chopin__absent(), chopin__absent(), CHOPIN__BODY_NONE, NULL, NULL);
    return chopin__answer(c, f->status, f->type, f->body, CHOPIN__BODY_STATIC, NULL, NULL);
}

/* Every line "Name: value\r\n", names tokens and not ours to write, values without controls. */
static bool chopin__lines_ok(chopin_str lines) {
    if (lines.len && lines.ptr[lines.len - 1] != '\n') return false;
    while (lines.len) {
        chopin_str line = chopin__cut(&lines, '\n'), name = chopin__cut(&line, ':');
        if (chopin__equal_nocase(name, CHOPIN_STR("content-type"))) return false;    // it has an option of its own
        if (!line.len || line.ptr[line.len - 1] != '\r' || !chopin__is_token(name) || chopin__header_is_ours(name)) return false;
        if (!chopin__is_field_value(chopin__str(line.ptr, line.len - 1))) return false;
    }
    return true;
}

static bool chopin__fixed_lines(chopin__server *s, chopin__fixed *f, const chopin_fixed_options *o) {
    char   room[256];
    size_t extra = o->headers ? strlen(o->headers) : 0, size = extra + 512 + (o->cache_control ? strlen(o->cache_control) : 0) + (o->allow_origin ? strlen(o->allow_origin) : 0);
    char  *lines = chopin__server_own(s, size);
    int    n = 0;
    if (!lines) return false;
    if (!o->no_etag && f->status < 300) {                    // conditions are for what succeeds (RFC 9110 13.2.1)
        snprintf(room, sizeof room, "\"%016llx\"", (unsigned long long)chopin__hash(f->body.len, f->body.ptr, f->body.len));
        f->etag = chopin__server_copy(s, chopin__str_z(room));
        n += snprintf(lines + n, size - (size_t)n, "ETag: %s\r\n", room);
    }
    if (o->cache_control) n += snprintf(lines + n, size - (size_t)n, "Cache-Control: %s\r\n", o->cache_control);
    if (o->allow_origin)  n += snprintf(lines + n, size - (size_t)n, "Access-Control-Allow-Origin: %s\r\n%s", o->allow_origin, strcmp(o->allow_origin, "*") ? "Vary: Origin\r\n" : "");
    if (o->headers)       n += snprintf(lines + n, size - (size_t)n, "%s", o->headers);
    f->lines = chopin__str(lines, (size_t)n);
    bool values_ok = chopin__is_field_value(chopin__str_z(o->cache_control)) && chopin__is_field_value(chopin__str_z(o->allow_origin));
    return values_ok && chopin__lines_ok(f->lines) && chopin__is_field_value(f->type);
}

/* What follows Server and Date, as bytes. */
static bool chopin__fixed_tail(chopin__server *s, chopin__fixed *f) {
    char  *tail = chopin__server_own(s, f->type.len + f->lines.len + f->body.len + 128);
    if (!tail) return false;
    int n = sprintf(tail, "Content-Type: %.*s\r\nContent-Length: %zu\r\n%.*s\r\n", CHOPIN_FMT(f->type), f->body.len, CHOPIN_FMT(f->lines));
    if (f->body.len) memcpy(tail + n, f->body.ptr, f->body.len);
    f->tail = chopin__str(tail, (size_t)n + f->body.len);
    f->body_len = f->body.len;
    return true;
}

static chopin__fixed *chopin__fixed_make(chopin__server *s, const chopin_fixed_options *o) {
    chopin__fixed *f = chopin__server_own(s, sizeof *f);
    if (!f) return NULL;
    f->status = o->status ? o->status : 200;
    f->type = chopin__server_copy(s, chopin__str_z(o->type ? o->type : "text/plain; charset=utf-8"));
    f->body = chopin__server_copy(s, o->body.ptr ? o->body : CHOPIN_STR(""));
    return f->type.ptr && f->body.ptr && f->status >= 200 && f->status <= 999 && chopin__fixed_lines(s, f, o) && chopin__fixed_tail(s, f) ? f : NULL;
}

/* ---- addresses ---- */

typedef struct chopin__where { char host[256]; int port; bool any; } chopin__where;

/* "host:port", ":port", "[v6]:port". */
static bool chopin__where_parse(chopin_str text, chopin__where *where) {
    size_t colon = text.len;
    while (colon > 0 && text.ptr[colon - 1] != ':') colon--;
    uint64_t port;
    if (!colon || !chopin__parse_u64(chopin__str(text.ptr + colon, text.len - colon), &port) || port > 65535) return false;
    chopin_str host = chopin__str(text.ptr, colon - 1);
    bool brackets = host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (brackets) host = chopin__str(host.ptr + 1, host.len - 2);
    if (host.len >= sizeof where->host || (!brackets && host.len && memchr(host.ptr, ':', host.len))) return false;
    if (host.len) memcpy(where->host, host.ptr, host.len);
    where->host[host.len] = 0;
    where->port = (int)port;
    where->any = host.len == 0;
    return true;
}

#if defined(TCP_CONGESTION)
static bool chopin__is_loopback(const struct sockaddr *a) {
    if (a->sa_family == AF_INET)  return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
    if (a->sa_family == AF_INET6) return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
    return false;
}

/* Accepted sockets inherit it. BBR and its successors measure nonsense where nothing limits the path, and pace by it. */
static void chopin__listen_congestion(const char *name, int fd, const struct sockaddr *to) {
    char      usual[16] = "";                                // TCP_CA_NAME_MAX
    socklen_t size = sizeof usual;
    if (!name && chopin__is_loopback(to) && getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, usual, &size) == 0 && !strncmp(usual, "bbr", 3)) name = "reno";
    if (name) setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name));
}
#endif

/* What is asked for beyond the usual, as far as this system has it. */
static void chopin__listen_tune(const chopin__server *s, int fd, const struct sockaddr *to) {
    const chopin_options *o = &s->site.options;
    const int on = 1;
    (void)fd, (void)on, (void)o, (void)to;
#if defined(TCP_CONGESTION)
    chopin__listen_congestion(o->congestion, fd, to);
#endif
#if defined(TCP_DEFER_ACCEPT)
    if (o->defer_accept) setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &on, sizeof on);
#endif
#if defined(TCP_FASTOPEN)
    if (o->fast_open) setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN, &o->fast_open, sizeof o->fast_open);
#endif
#if defined(SO_BUSY_POLL)
    if (o->busy_poll_us) setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL, &o->busy_poll_us, sizeof o->busy_poll_us);
#endif
}

/* Once it listens: a program attached before would make a group of its own, which no other listener could join. */
static void chopin__listen_steer(const chopin__server *s, int fd) {
    const chopin_options *o = &s->site.options;
    (void)fd, (void)o;
#if defined(SO_ATTACH_REUSEPORT_CBPF)
    struct { uint16_t code; uint8_t jt, jf; uint32_t k; } steps[] = {      // as in linux/filter.h
        { 0x20, 0, 0, (uint32_t)(-0x1000 + 36) },            // A = this CPU
        { 0x94, 0, 0, (uint32_t)o->workers },                // A %= workers: the listeners stand in the order of theirs
        { 0x16, 0, 0, 0 },                                   // return A
    };
    struct { unsigned short len; void *steps; } program = { 3, steps };
    if (o->steer_by_cpu) setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program);
#endif
}

/* A listening TCP socket, or -1 with errno. `probe`: without SO_REUSEPORT, to notice somebody else on the port. */
static int chopin__listen_tcp(const chopin__server *s, const struct sockaddr *to, socklen_t len, bool dual, bool probe) {
    int on = 1, off = !dual;
    int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (!probe) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (to->sa_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);   // accepted sockets inherit it on Linux
    if (!probe) chopin__listen_tune(s, fd, to);
    bool ok = bind(fd, to, len) == 0 && (probe || listen(fd, s->site.options.backlog) == 0);
    if (ok && !probe) chopin__listen_steer(s, fd);
    if (ok) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* The port of an address, wherever its family keeps it. */
static uint16_t *chopin__port_of(struct sockaddr_storage *a) {
    if (a->ss_family == AF_INET)  return &((struct sockaddr_in *)(void *)a)->sin_port;
    if (a->ss_family == AF_INET6) return &((struct sockaddr_in6 *)(void *)a)->sin6_port;
    return NULL;
}

/* Names may have several addresses: IPv4 first, as most clients try it. */
static int chopin__resolve(const chopin__where *where, struct sockaddr_storage *to, socklen_t *len) {
    char port[8];
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV }, *list = NULL;
    snprintf(port, sizeof port, "%d", where->port);
    if (where->any) hints.ai_family = AF_INET6;
    int rc = getaddrinfo(where->any ? "::" : where->host, port, &hints, &list);
    if (rc != 0) return rc;
    const struct addrinfo *best = list;
    for (const struct addrinfo *a = list; a; a = a->ai_next) {
        if (a->ai_family == AF_INET) { best = a; break; }
    }
    memcpy(to, best->ai_addr, best->ai_addrlen);
    *len = best->ai_addrlen;
    freeaddrinfo(list);
    return 0;
}

static int chopin__bind_failed(chopin__server *s, const chopin__address_spec *a, const char *what, int error) {
    const char *hint = error == EADDRINUSE ? " (another program listens there; set share_port to run beside it)"
                     : error == EACCES     ? " (ports below 1024 need a privilege)" : "";
    return chopin__server_fail(s, CHOPIN_ADDRESS, "cannot listen on %s: %s: %s%s", a->text, what, strerror(error), hint);
}

/* Finds the address out and, unless told otherwise, whether somebody else is there. */
static int chopin__address_prepare(chopin__server *s, chopin__address_spec *a) {
    chopin__where where;
    if (!chopin__where_parse(chopin__str_z(a->text), &where)) return chopin__server_fail(s, CHOPIN_INVALID, "\"%s\" is no address: host:port, [v6]:port, :port, unix:/path or fd:N", a->text);
    int rc = chopin__resolve(&where, &a->bound, &a->bound_len);
    if (rc != 0) return chopin__server_fail(s, CHOPIN_ADDRESS, "cannot listen on %s: %s", a->text, rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
    int fd = chopin__listen_tcp(s, (struct sockaddr *)&a->bound, a->bound_len, where.any, true);
    if (fd < 0 && where.any && errno == EAFNOSUPPORT) {     // a kernel without IPv6
        struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons((uint16_t)where.port) };
        memset(&a->bound, 0, sizeof a->bound);
        memcpy(&a->bound, &any, sizeof any);
        a->bound_len = sizeof any;
        fd = chopin__listen_tcp(s, (struct sockaddr *)&a->bound, a->bound_len, false, true);
    }
    if (fd < 0 && !(errno == EADDRINUSE && s->site.options.share_port)) return chopin__bind_failed(s, a, "bind", errno);
    if (fd >= 0) close(fd);
    return CHOPIN_OK;
}

static int chopin__unix_bind(const chopin__server *s, const struct sockaddr_un *to, socklen_t len) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    if (bind(fd, (const struct sockaddr *)to, len) == 0 && (to->sun_path[0] == 0 || chmod(to->sun_path, 0660) == 0) && listen(fd, s->site.options.backlog) == 0) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* A socket file that nobody answers at is left over from a crash. (Nobody answers at an ordinary file either, but that is not ours to remove.) */
static bool chopin__unix_is_stale(const struct sockaddr_un *to, socklen_t len) {
    struct stat st;
    if (lstat(to->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode)) return false;
    int  fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool stale = fd >= 0 && connect(fd, (const struct sockaddr *)to, len) != 0 && errno == ECONNREFUSED;
    if (fd >= 0) close(fd);
    return stale;
}

static int chopin__unix_listen(chopin__server *s, chopin__address_spec *a) {
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    const char *path = a->text + 5;
    size_t      len = strlen(path);
    bool        abstract = path[0] == '@';
    struct stat st;
    if (len == 0 || len >= sizeof to.sun_path) return chopin__bind_failed(s, a, "path", ENAMETOOLONG);
    memcpy(to.sun_path, path, len);
    if (abstract) to.sun_path[0] = 0;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + !abstract);
    a->shared_fd = chopin__unix_bind(s, &to, size);
    if (a->shared_fd < 0 && errno == EADDRINUSE && !abstract && chopin__unix_is_stale(&to, size)) {
        unlink(path);
        a->shared_fd = chopin__unix_bind(s, &to, size);
    }
    if (a->shared_fd < 0) return chopin__bind_failed(s, a, "bind", errno);
    if (!abstract && lstat(path, &st) == 0) { a->unlink = a->text + 5; a->unlink_dev = st.st_dev; a->unlink_ino = st.st_ino; }
    return CHOPIN_OK;
}

/* "fd:3": a listening socket from whoever started us. */
static int chopin__fd_listen(chopin__server *s, chopin__address_spec *a) {
    uint64_t  n;
    int       listening = 0;
    socklen_t size = sizeof listening;
    if (!chopin__parse_u64(chopin__str_z(a->text + 3), &n) || n > INT_MAX) return chopin__server_fail(s, CHOPIN_INVALID, "\"%s\" is no descriptor", a->text);
    if (getsockopt((int)n, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0) return chopin__bind_failed(s, a, "getsockopt", errno);
    if (!listening) return chopin__bind_failed(s, a, "it does not listen", EINVAL);
    a->shared_fd = fcntl((int)n, F_DUPFD_CLOEXEC, 3);
    if (a->shared_fd < 0 || fcntl(a->shared_fd, F_SETFL, O_NONBLOCK) != 0) return chopin__bind_failed(s, a, "fcntl", errno);
    a->bound_len = sizeof a->bound;
    getsockname(a->shared_fd, (struct sockaddr *)&a->bound, &a->bound_len);
    return CHOPIN_OK;
}

static int chopin__address_open(chopin__server *s, chopin__address_spec *a) {
    a->shared_fd = -1;
    if (strncmp(a->text, "unix:", 5) == 0) return chopin__unix_listen(s, a);
    if (strncmp(a->text, "fd:", 3) == 0) return chopin__fd_listen(s, a);
    return chopin__address_prepare(s, a);
}

/* This worker's socket for an address: its own with SO_REUSEPORT, or another name for the shared one. */
static int chopin__address_listen(chopin__server *s, chopin__address_spec *a, chopin_worker *w) {
    bool shared = a->shared_fd >= 0;
    int  fd = shared ? fcntl(a->shared_fd, F_DUPFD_CLOEXEC, 3) : chopin__listen_tcp(s, (struct sockaddr *)&a->bound, a->bound_len, a->text[0] == ':', false);
    if (fd < 0) return chopin__bind_failed(s, a, "listen", errno);
    if (!a->bound_ok && !shared) {                           // from now on port 0 is the one the kernel chose
        a->bound_len = sizeof a->bound;
        getsockname(fd, (struct sockaddr *)&a->bound, &a->bound_len);
    }
    a->bound_ok = true;
    const uint16_t *port = chopin__port_of(&a->bound);
    atomic_store(&a->port, port ? ntohs(*port) : 0);
    if (chopin__worker_listen(w, fd, shared)) return CHOPIN_OK;
    int error = errno;
    close(fd);
    return chopin__bind_failed(s, a, "poll", error);
}

static void chopin__addresses_close(chopin__server *s) {
    for (chopin__address_spec *a = s->addresses; a; a = a->next) {
        struct stat st;
        if (a->shared_fd >= 0) close(a->shared_fd);
        a->shared_fd = -1;
        if (a->unlink && lstat(a->unlink, &st) == 0 && st.st_dev == a->unlink_dev && st.st_ino == a->unlink_ino) unlink(a->unlink);
        a->unlink = NULL;
        a->bound_ok = false;
        atomic_store(&a->port, 0);
    }
}

/* ---- signals ---- */

/* Any thread, signal handlers: no lock. chopin__server_end() waits until nobody is in here. */
static void chopin__server_wake_all(chopin__server *s) {
    atomic_fetch_add(&s->wakers, 1);
    int count = atomic_load(&s->ending) ? 0 : atomic_load(&s->worker_count);
    for (int i = 0; i < count; i++) s->workers[i]->io.ops->wake(&s->workers[i]->io);
    atomic_fetch_sub(&s->wakers, 1);
}

/* The second signal meets the default action: it ends the process at once. */
static void chopin__stop_signal(int sig) {
    chopin__server *s = atomic_load(&chopin__served);
    int error = errno;
    (void)sig;
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    if (s) {
        atomic_store(&s->site.stopping, true);
        chopin__server_wake_all(s);
    }
    errno = error;
}

static void chopin__faults_watch(chopin__server *s) {
    struct sigaction act = { .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
    act.sa_sigaction = chopin__fault_signal;
    sigemptyset(&act.sa_mask);                               // nobody restores the mask when the handler does not return
#if defined(CHOPIN__BACKTRACE)
    void *warm[2];
    backtrace(warm, 2);                                      // loads what it needs now, not inside a signal handler
#endif
    for (size_t i = 0; i < CHOPIN__COUNT(chopin__fault_signals); i++) sigaction(chopin__fault_signals[i], &act, &s->old_faults[i]);
}

static void chopin__signals_take(chopin__server *s) {
    struct sigaction act = { .sa_handler = chopin__stop_signal }, ignore = { .sa_handler = SIG_IGN };
    atomic_store(&chopin__served, s);
    sigemptyset(&act.sa_mask);
    sigemptyset(&ignore.sa_mask);
    if (!s->site.options.no_signals) {
        sigaction(SIGTERM, &act, &s->old_term);
        sigaction(SIGINT, &act, &s->old_int);
        sigaction(SIGPIPE, &ignore, &s->old_pipe);
    }
    if (s->site.options.contain_faults) chopin__faults_watch(s);
}

static void chopin__signals_return(chopin__server *s) {
    if (!s->site.options.no_signals) {
        sigaction(SIGTERM, &s->old_term, NULL);
        sigaction(SIGINT, &s->old_int, NULL);
        sigaction(SIGPIPE, &s->old_pipe, NULL);
    }
    for (size_t i = 0; s->site.options.contain_faults && i < CHOPIN__COUNT(chopin__fault_signals); i++) sigaction(chopin__fault_signals[i], &s->old_faults[i], NULL);
    chopin__server *expected = s;
    atomic_compare_exchange_strong(&chopin__served, &expected, NULL);
}

/* ---- workers ---- */

#if defined(__linux__) && !defined(CHOPIN_NO_URING)
/* Opens a ring to see; what is missing is said once, not by each worker. */
static bool chopin__server_has_uring(chopin__server *s) {
    chopin__slab slab = { .capacity = s->site.options.max_connections };
    chopin__io   io = { .ports = &slab, .sqpoll = s->site.options.sqpoll, .wake_fd = -1, .alarm_fd = -1 };
    bool ok = chopin__uring_open(&io, &s->site.heap), asked = strcmp(s->site.options.backend, "auto") != 0;
    if (!ok) chopin__log(&s->site.logger, asked ? CHOPIN_WARNING : CHOPIN_INFO, "epoll serves: io_uring lacks %s: %s", io.why, strerror(errno));
    chopin__uring_close(&io, &s->site.heap);
    return ok;
}
#endif

static const chopin__io_ops *chopin__server_backend(chopin__server *s) {
    const char *name = s->site.options.backend;
#if defined(__linux__)
#if !defined(CHOPIN_NO_URING)
    if ((strcmp(name, "uring") == 0 || strcmp(name, "auto") == 0) && chopin__server_has_uring(s)) return &chopin__uring_ops;
#else
    if (strcmp(name, "uring") == 0) chopin__log(&s->site.logger, CHOPIN_WARNING, "epoll serves: built without io_uring (CHOPIN_NO_URING, or for size)");
#endif
    if (strcmp(name, "kqueue") == 0) chopin__log(&s->site.logger, CHOPIN_WARNING, "epoll serves: this system has no kqueue");
    return &chopin__epoll_ops;
#else
    chopin__server_fail(s, CHOPIN_SYSTEM, "no backend for this system (%s)", name);
    return NULL;
#endif
}

/* A worker with its place in the list; a replacement gets a place of its own. */
static chopin_worker *chopin__server_new_worker(chopin__server *s, int index, const chopin__io_ops *ops, void *io_state) {
    chopin_worker *w = NULL;
    int count = atomic_load(&s->worker_count);
    size_t size = (sizeof *w + 63) & ~(size_t)63;
    if (count == s->worker_room || !ops) return NULL;
    if (posix_memalign((void **)&w, 64, size) != 0) return NULL;
    atomic_fetch_add_explicit(&s->site.heap.calls, 1, memory_order_relaxed);
    if (!chopin__worker_init(w, &s->site, index, ops, io_state)) {
        int error = errno;
        chopin__worker_done(w);
        free(w);
        errno = error;
        return NULL;
    }
    w->server = s;
    s->workers[count] = w;
    atomic_store(&s->worker_count, count + 1);
    return w;
}

static void chopin__worker_pin(chopin_worker *w) {
#if defined(__linux__)
    cpu_set_t all, one;
    if (!w->site->options.pin_workers || sched_getaffinity(0, sizeof all, &all) != 0) return;
    int wanted = w->index % CPU_COUNT(&all);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET((size_t)cpu, &all) || wanted-- > 0) continue;
        CPU_ZERO(&one);
        CPU_SET((size_t)cpu, &one);
        w->cpu = sched_setaffinity(0, sizeof one, &one) == 0 ? cpu : -1;
        return;
    }
#else
    (void)w;
#endif
}

#define CHOPIN__SIGNAL_STACK 65536

static void *chopin__signal_stack(void) {
    void *base = mmap(NULL, CHOPIN__SIGNAL_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) return NULL;
    stack_t stack = { .ss_sp = base, .ss_size = CHOPIN__SIGNAL_STACK };
    sigaltstack(&stack, NULL);
    return base;
}

static void chopin__signal_stack_free(void *base) {
    stack_t none = { .ss_flags = SS_DISABLE };
    if (!base) return;
    sigaltstack(&none, NULL);
    munmap(base, CHOPIN__SIGNAL_STACK);
}

/* One worker from its start hook to its stop hook, on the calling thread. */
static int chopin__worker_run(chopin_worker *w) {
    const chopin_options *o = &w->site->options;
    void *stack = o->contain_faults ? chopin__signal_stack() : NULL;
    int   rc = o->on_worker_start ? o->on_worker_start(w, o->user) : 0;
    if (rc >= 0) chopin__worker_enter(w);
    if (rc >= 0 && o->on_worker_stop) o->on_worker_stop(w, o->user);
    chopin__signal_stack_free(stack);
    return rc;
}

static void *chopin__worker_thread(void *arg) {
    chopin_worker  *w = arg;
    chopin__server *s = w->server;
    chopin__worker_pin(w);
    int rc = chopin__worker_run(w);
    if (rc < 0) {
        chopin__server_fail(s, rc, "on_worker_start of worker %d returned %d (%s)", w->index, rc, chopin_status_text(rc));
        atomic_store(&s->site.stopping, true);
        chopin__server_wake_all(s);
    }
    pthread_mutex_lock(&s->lock);
    atomic_fetch_sub(&s->live, 1);
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static bool chopin__server_start_thread(chopin__server *s, chopin_worker *w) {
    int count = atomic_load(&s->worker_count);
    sigset_t all, old;
    atomic_fetch_add(&s->live, 1);
    sigfillset(&all);                                        // SIGTERM and the like go to the thread that called chopin_serve()
    for (size_t i = 0; i < CHOPIN__COUNT(chopin__fault_signals); i++) sigdelset(&all, chopin__fault_signals[i]);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&s->threads[count - 1], NULL, chopin__worker_thread, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc == 0) return true;
    atomic_fetch_sub(&s->live, 1);
    s->workers[count - 1] = NULL;
    atomic_store(&s->worker_count, count - 1);
    chopin__worker_close_listeners(w, false);                // whoever waits there is left to the others
    chopin__worker_done(w);
    free(w);
    errno = rc;
    return false;
}

/* After a fault too many: called by the worker that is to be replaced, on its thread. */
static bool chopin__server_replace(chopin_worker *old) {
    chopin__server *s = old->server;
    pthread_mutex_lock(&s->lock);
    chopin_worker *w = chopin__server_new_worker(s, old->index, old->io.ops, NULL);
    bool ok = w != NULL;
    if (ok) {
        w->replace = chopin__server_replace;
        for (int i = 0; i < old->listener_count; i++) {
            int fd = fcntl(old->listeners[i]->fd, F_DUPFD_CLOEXEC, 3);
            if (fd < 0 || chopin__worker_listen(w, fd, true)) continue;   // fewer listeners than the old one had are better than none
            close(fd);
        }
        ok = chopin__server_start_thread(s, w);
    }
    pthread_mutex_unlock(&s->lock);
    if (!ok) chopin__log(&s->site.logger, CHOPIN_ERROR, "worker %d could not be replaced: %s; it goes on", old->index, strerror(errno));
    return ok;
}

/* Descriptors up to the hard limit: each connection is one. */
static void chopin__raise_descriptors(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* The server starts again: the workers of its last run make room. */
static void chopin__server_forget(chopin__server *s) {
    for (int i = 0; i < atomic_load(&s->worker_count); i++) {
        s->workers[i]->next_past = s->past;
        s->past = s->workers[i];
    }
    atomic_store(&s->worker_count, 0);
}

/* Everything that can fail, before any thread runs: the reason is logged and remembered. */
static int chopin__server_prepare(chopin__server *s, int workers) {
    const chopin__io_ops *ops = chopin__server_backend(s);
    if (!s->addresses) return chopin__server_fail(s, CHOPIN_INVALID, "no address to listen on: give one to chopin_serve() or chopin_listen()");
    if (chopin__server_freeze(s) != CHOPIN_OK) return s->failed;
    chopin__raise_descriptors();
    chopin__server_forget(s);
    atomic_store(&s->ending, false);
    s->worker_room = workers + 64;                           // that many may be replaced
    s->workers = chopin__server_own(s, (size_t)s->worker_room * sizeof *s->workers);
    s->threads = chopin__server_own(s, (size_t)s->worker_room * sizeof *s->threads);
    if (!s->workers || !s->threads) return s->failed;
    for (chopin__address_spec *a = s->addresses; a; a = a->next) {
        if (chopin__address_open(s, a) != CHOPIN_OK) return s->failed;
    }
    for (int i = 0; i < workers; i++) {
        chopin_worker *w = chopin__server_new_worker(s, i, ops, NULL);
        if (!w) return chopin__server_fail(s, CHOPIN_SYSTEM, "worker %d could not be made: %s", i, strerror(errno));
        for (chopin__address_spec *a = s->addresses; a; a = a->next) {
            if (chopin__address_listen(s, a, w) != CHOPIN_OK) return s->failed;
        }
    }
    return CHOPIN_OK;
}

static void chopin__server_say_where(chopin__server *s) {
    for (chopin__address_spec *a = s->addresses; a; a = a->next) {
        uint16_t *port = chopin__port_of(&a->bound);
        if (port) chopin__log(&s->site.logger, CHOPIN_INFO, "listening on %s, port %d (%d workers, %s)", a->text, ntohs(*port), s->site.options.workers, s->workers[0]->io.ops->name);
        else      chopin__log(&s->site.logger, CHOPIN_INFO, "listening on %s (%d workers, %s)", a->text, s->site.options.workers, s->workers[0]->io.ops->name);
    }
}

static void chopin__server_run(chopin__server *s) {
    int workers = atomic_load(&s->worker_count);
    pthread_mutex_lock(&s->lock);                            // nobody is replaced before all have started
    atomic_store(&s->worker_count, 0);
    for (int i = 0; i < workers; i++) {                      // the list grows again with each thread that runs
        chopin_worker *w = s->workers[i];
        w->replace = chopin__server_replace;
        atomic_store(&s->worker_count, i + 1);
        if (!chopin__server_start_thread(s, w)) {
            chopin__server_fail(s, CHOPIN_SYSTEM, "thread %d could not be started: %s", i, strerror(errno));
            for (int rest = i + 1; rest < workers; rest++) { chopin__worker_done(s->workers[rest]); free(s->workers[rest]); }
            atomic_store(&s->site.stopping, true);
            break;
        }
    }
    while (atomic_load(&s->live) > 0) pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
    for (int i = 0; i < atomic_load(&s->worker_count); i++) pthread_join(s->threads[i], NULL);
}

/* ---- the offload pool ---- */

#if !defined(CHOPIN_NO_FIBERS)                               // without them chopin_offload() is a call
static void chopin__offload_done(chopin_worker *w, void *arg) {
    chopin__job *job = arg;
    chopin__wake(w, job->wait, CHOPIN_OK);
}

static void *chopin__offload_thread(void *arg) {
    chopin__server  *s = arg;
    chopin__offload *o = &s->offload;
    pthread_mutex_lock(&o->lock);
    for (;;) {
        while (!o->first && !o->ending) {
            o->idle++;
            pthread_cond_wait(&o->more, &o->lock);
            o->idle--;
        }
        chopin__job *job = o->first;
        if (!job) break;
        o->first = job->next;
        if (!o->first) o->last = NULL;
        o->queued--;
        pthread_mutex_unlock(&o->lock);
        job->result = job->fn(job->arg);
        chopin__worker_send(job->worker, &job->done);        // from here on the job may be gone
        pthread_mutex_lock(&o->lock);
    }
    pthread_mutex_unlock(&o->lock);
    return NULL;
}

/* False: the queue is full, or no thread could be started. */
static bool chopin__offload_add(chopin__server *s, chopin__job *job) {
    chopin__offload *o = &s->offload;
    pthread_mutex_lock(&o->lock);
    bool ok = o->queued < s->site.options.offload_queue;
    if (ok && o->idle <= o->queued && o->count < s->site.options.offload_threads) {
        if (pthread_create(&o->threads[o->count], NULL, chopin__offload_thread, s) == 0) o->count++;
        ok = o->count > 0;
    }
    if (ok) {
        job->next = NULL;
        if (o->last) o->last->next = job;
        else         o->first = job;
        o->last = job;
        o->queued++;
        pthread_cond_signal(&o->more);
    }
    pthread_mutex_unlock(&o->lock);
    return ok;
}
#endif

static void chopin__offload_end(chopin__server *s) {
    chopin__offload *o = &s->offload;
    pthread_mutex_lock(&o->lock);
    o->ending = true;
    pthread_cond_broadcast(&o->more);
    pthread_mutex_unlock(&o->lock);
    for (int i = 0; i < o->count; i++) pthread_join(o->threads[i], NULL);
    o->count = 0;
    o->ending = false;
}

/* From here on nobody looks at a worker from outside, and whoever did is done. */
static void chopin__server_close_gate(chopin__server *s) {
    atomic_store(&s->ending, true);
    while (atomic_load(&s->wakers)) sched_yield();
}

static void chopin__server_end(chopin__server *s) {
    chopin__server_close_gate(s);
    chopin__offload_end(s);
    for (int i = 0; i < atomic_load(&s->worker_count); i++) {
        if (s->workers[i]->site) chopin__worker_done(s->workers[i]);
    }
    chopin__addresses_close(s);
    chopin__signal_stack_free(s->signal_stack);
    s->signal_stack = NULL;
    s->serving = s->open = false;
}

/* ==========================================================================================================
   >>public   the API: check arguments, call one room
   ========================================================================================================== */

/* ---- the server ---- */

CHOPIN_API chopin_app *chopin_new(const chopin_options *options) {
    chopin_options o = options ? *options : (chopin_options){ 0 };
    chopin__heap heap = { .alloc = o.alloc ? o.alloc : chopin__heap_default, .ctx = o.alloc_ctx };
    chopin__server *s = chopin__alloc_zero(&heap, sizeof *s);
    if (!s) return NULL;
    s->site.options = o;
    s->site.heap.alloc = heap.alloc;
    s->site.heap.ctx = heap.ctx;
    s->site.logger = (chopin__logger){ o.log, o.user, o.quiet ? CHOPIN_ERROR : o.log_level ? o.log_level : CHOPIN_INFO };
    s->site.seed = chopin__random_seed();
    s->app = (chopin_group){ .site = &s->site, .prefix = CHOPIN_STR("") };
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    pthread_mutex_init(&s->offload.lock, NULL);
    pthread_cond_init(&s->offload.more, NULL);
    chopin__router_init(&s->site.router, &s->site.heap);
    chopin__options_resolve(s);
    return &s->app;
}

CHOPIN_API void chopin_free(chopin_app *app) {
    if (!app) return;
    chopin__server *s = chopin__server_of(app);
    chopin__heap   *heap = &s->site.heap;
    if (s->open) chopin_close(app);
    for (int i = 0; i < CHOPIN__LIMITS; i++) chopin__guard_limiter_done(&s->test_limiters[i], heap);
    chopin__offload_end(s);                                  // chopin_test_request() may have started it
    chopin__server_forget(s);
    while (s->past) {
        chopin_worker *w = s->past;
        s->past = w->next_past;
        free(w);
    }
    chopin__router_done(&s->site.router);
    chopin__guard_networks_done(&s->site.trusted, heap);
    for (struct chopin__last *l = s->last; l; l = l->next) l->fn(l->arg);
    while (s->owned) {
        struct chopin__owned *o = s->owned;
        s->owned = o->next;
        chopin__release(heap, o->ptr, o->size);
        chopin__release(heap, o, sizeof *o);
    }
    chopin__release(heap, (void *)(uintptr_t)s->test_reply.ptr, s->test_cap);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->offload.lock);
    pthread_cond_destroy(&s->offload.more);
    chopin__heap copy = { .alloc = heap->alloc, .ctx = heap->ctx };
    chopin__release(&copy, s, sizeof *s);
}

CHOPIN_API const chopin_options *chopin_options_of(chopin_app *app) { return &app->site->options; }
CHOPIN_API const char *chopin_error(chopin_app *app) { return chopin__server_of(app)->why; }

CHOPIN_API void chopin_limits(chopin_app *app) {
    const chopin_options *o = &app->site->options;
    for (size_t i = 0; i < CHOPIN__COUNT(chopin__options); i++) {
        const chopin__option *d = &chopin__options[i];
        int64_t value = chopin__option_get(o, d);
        const char *variable = chopin__option_variable_of(d);
        printf("%-22s %12lld %-4s %s\n", d->name, (long long)value, d->unit, variable ? variable : "");
    }
}

static int chopin__listen_systemd(chopin_app *app) {
    const char *count = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
    uint64_t n, ours;
    if (!count || !chopin__parse_u64(chopin__str_z(count), &n) || n == 0 || n > 64 || !pid || !chopin__parse_u64(chopin__str_z(pid), &ours) || ours != (uint64_t)getpid()) {
        return chopin__server_fail(chopin__server_of(app), CHOPIN_ADDRESS, "systemd passed no sockets (LISTEN_FDS, LISTEN_PID)");
    }
    int rc = CHOPIN_OK;
    for (uint64_t i = 0; i < n && rc == CHOPIN_OK; i++) {
        char text[16];
        snprintf(text, sizeof text, "fd:%d", (int)i + 3);
        rc = chopin_listen(app, text);
    }
    return rc;
}

CHOPIN_API int chopin_listen(chopin_app *app, const char *address) {
    chopin__server *s = chopin__server_of(app);
    if (s->serving) return CHOPIN_STATE;
    if (!address || !*address) return chopin__server_fail(s, CHOPIN_INVALID, "chopin_listen: the address is empty");
    if (strcmp(address, "systemd") == 0) return chopin__listen_systemd(app);
    chopin__where where;
    if (strncmp(address, "unix:", 5) && strncmp(address, "fd:", 3) && !chopin__where_parse(chopin__str_z(address), &where)) {
        return chopin__server_fail(s, CHOPIN_INVALID, "\"%.100s\" is no address: host:port, [v6]:port, :port, unix:/path, fd:N or systemd", address);
    }
    chopin__address_spec *a = chopin__server_own(s, sizeof *a);
    if (!a) return CHOPIN_MEMORY;
    a->shared_fd = -1;
    a->text = (char *)(uintptr_t)chopin__server_copy(s, chopin__str_z(address)).ptr;
    if (!a->text) return CHOPIN_MEMORY;
    if (s->last_address) s->last_address->next = a;
    else                 s->addresses = a;
    s->last_address = a;
    return CHOPIN_OK;
}

CHOPIN_API int chopin_serve(chopin_app *app, const char *address) {
    chopin__server *s = chopin__server_of(app);
    if (s->serving) return CHOPIN_STATE;
    if (address) chopin_listen(app, address);
    if (atomic_exchange(&s->site.stopping, false)) return s->failed;    // stopped before it began
    if (s->failed) return s->failed;
    s->serving = true;
    if (chopin__server_prepare(s, s->site.options.workers) == CHOPIN_OK) {
        chopin__signals_take(s);
        chopin__server_say_where(s);
        chopin__server_run(s);
        chopin__signals_return(s);
    }
    chopin__server_end(s);
    atomic_store(&s->site.stopping, false);
    return s->failed;
}

CHOPIN_API int chopin_port(chopin_app *app, int nth) {
    chopin__address_spec *a = chopin__server_of(app)->addresses;
    for (; a && nth > 0; nth--) a = a->next;
    return a ? atomic_load(&a->port) : 0;
}

CHOPIN_API void chopin_stop(chopin_app *app) {
    chopin__server *s = chopin__server_of(app);
    atomic_store(&s->site.stopping, true);
    chopin__server_wake_all(s);
}

CHOPIN_API int chopin_open(chopin_app *app) {
    chopin__server *s = chopin__server_of(app);
    if (s->serving) return CHOPIN_STATE;
    if (s->failed) return s->failed;
    s->serving = s->open = true;
    int rc = chopin__server_prepare(s, 1);
    if (rc == CHOPIN_OK) {
        chopin_worker *w = s->workers[0];
        const chopin_options *o = &s->site.options;
        w->stepping = true;
        chopin__signals_take(s);
        if (o->contain_faults) s->signal_stack = chopin__signal_stack();
        rc = o->on_worker_start ? o->on_worker_start(w, o->user) : 0;
        if (rc >= 0) return CHOPIN_OK;
        chopin__server_fail(s, rc, "on_worker_start returned %d (%s)", rc, chopin_status_text(rc));
        chopin__signals_return(s);
    }
    chopin__server_end(s);
    return rc;
}

static chopin_worker *chopin__open_worker(chopin_app *app) {
    chopin__server *s = chopin__server_of(app);
    return s->open && atomic_load(&s->worker_count) > 0 ? s->workers[0] : NULL;
}

CHOPIN_API int chopin_fd(chopin_app *app) {
    chopin_worker *w = chopin__open_worker(app);
    return w ? w->io.ops->fd(&w->io) : -1;
}

CHOPIN_API int chopin_next_deadline(chopin_app *app) {
    chopin_worker *w = chopin__open_worker(app);
    if (!w) return -1;
    if (w->io.ops->busy(&w->io)) return 0;
    w->step_until = CHOPIN__NEVER;
    int64_t until = chopin__worker_until(w);
    if (until == CHOPIN__NEVER) return -1;
    int64_t left = until - w->io.ops->now(&w->io);
    return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

CHOPIN_API int chopin_step(chopin_app *app, int timeout_ms) {
    chopin_worker *w = chopin__open_worker(app);
    if (!w) return CHOPIN_STATE;
    if (w->ended) return 0;
    w->step_until = timeout_ms < 0 ? CHOPIN__NEVER : timeout_ms == 0 ? 0 : w->io.ops->now(&w->io) + timeout_ms;
    chopin__worker_enter(w);
    return w->ended ? 0 : 1;
}

CHOPIN_API void chopin_close(chopin_app *app) {
    chopin__server *s = chopin__server_of(app);
    chopin_worker  *w = chopin__open_worker(app);
    if (!w) return;
    const chopin_options *o = &s->site.options;
    chopin__worker_cut(w);
    if (o->on_worker_stop) o->on_worker_stop(w, o->user);
    chopin__server_end(s);
    chopin__signals_return(s);
    atomic_store(&s->site.stopping, false);
}

CHOPIN_API chopin_counters chopin_counters_of(chopin_app *app) {
    chopin__server *s = chopin__server_of(app);
    chopin_counters sum = { .allocations = atomic_load_explicit(&s->site.heap.calls, memory_order_relaxed) };
    for (int i = 0; i < atomic_load(&s->worker_count); i++) {
        chopin_worker  *w = s->workers[i];
        chopin__counts *n = &w->counts;
        sum.accepted     += atomic_load_explicit(&n->accepted, memory_order_relaxed);
        sum.closed       += atomic_load_explicit(&n->closed, memory_order_relaxed);
        sum.requests     += atomic_load_explicit(&n->requests, memory_order_relaxed);
        sum.refused      += atomic_load_explicit(&n->refused, memory_order_relaxed);
        sum.bad_requests += atomic_load_explicit(&n->bad_requests, memory_order_relaxed);
        sum.timeouts     += atomic_load_explicit(&n->timeouts, memory_order_relaxed);
        sum.parked       += atomic_load_explicit(&n->parked, memory_order_relaxed);
        sum.faults       += atomic_load_explicit(&n->faults, memory_order_relaxed);
        sum.receives     += atomic_load_explicit(&w->io.receives, memory_order_relaxed);
        sum.sends        += atomic_load_explicit(&w->io.sends, memory_order_relaxed);
        sum.waits        += atomic_load_explicit(&w->io.waits, memory_order_relaxed);
    }
    return sum;
}

/* ---- routes ---- */

CHOPIN_API int chopin_route_at(chopin_app *app, const char *method, const char *pattern, chopin_handler handler,
                               const chopin_route_options *options, const char *name, const char *file, int line) {
    chopin__server *s = chopin__server_of(app);
    if (s->serving || s->frozen) return CHOPIN_STATE;
    if (!method || !pattern || !handler) return chopin__server_fail(s, CHOPIN_INVALID, "%s:%d: chopin_route: method, pattern or handler is NULL", file, line);
    chopin__endpoint *e = chopin__server_new_endpoint(s, app, method, pattern, handler, options);
    if (!e) return CHOPIN_MEMORY;
    e->route.name = name;
    e->route.file = file;
    e->route.line = line;
    return chopin__server_add_route(s, e);
}

CHOPIN_API chopin_group *chopin_group_new(chopin_app *app, const char *prefix) {
    chopin__server *s = chopin__server_of(app);
    chopin_group   *g = chopin__server_own(s, sizeof *g);
    if (!g) return app;
    *g = (chopin_group){ .site = app->site, .parent = app, .next = s->groups, .prefix = chopin__server_join(s, app->prefix, chopin__str_z(prefix)) };
    s->groups = g;
    if (!prefix || prefix[0] != '/') chopin__server_fail(s, CHOPIN_INVALID, "chopin_group_new: the prefix \"%s\" must start with '/'", prefix ? prefix : "");
    return g;
}

CHOPIN_API void chopin_group_set_user(chopin_group *group, void *user) { group->user = user; }

CHOPIN_API int chopin_use_with(chopin_app *app, const char *prefix, chopin_handler middleware, void *data) {
    chopin__server *s = chopin__server_of(app);
    if (s->serving || s->frozen) return CHOPIN_STATE;
    if (!prefix || prefix[0] != '/' || !middleware) return chopin__server_fail(s, CHOPIN_INVALID, "chopin_use: the prefix must start with '/' and the middleware must not be NULL");
    chopin__use *use = chopin__server_own(s, sizeof *use);
    if (!use) return CHOPIN_MEMORY;
    *use = (chopin__use){ .prefix = chopin__server_join(s, app->prefix, chopin__str_z(prefix)), .step = { middleware, data } };
    if (!use->prefix.ptr) return CHOPIN_MEMORY;
    if (s->last_use) s->last_use->next = use;
    else             s->site.uses = use;
    s->last_use = use;
    return CHOPIN_OK;
}

CHOPIN_API int chopin_use(chopin_app *app, const char *prefix, chopin_handler middleware) { return chopin_use_with(app, prefix, middleware, NULL); }
CHOPIN_API void *chopin_use_data(chopin_ctx *c) { return c->steps[c->step].data; }

CHOPIN_API int chopin_next(chopin_ctx *c) {
    uint32_t at = c->step;
    if (at + 1 >= c->step_count || c->reached > at) return CHOPIN_STATE;
    c->step = c->reached = at + 1;
    int rc = c->steps[at + 1].fn(c);
    c->step = at;
    return rc;
}

CHOPIN_API int chopin_fixed_with_at(chopin_app *app, const char *path, const chopin_fixed_options *options, const char *file, int line) {
    chopin__server *s = chopin__server_of(app);
    if (s->serving || s->frozen) return CHOPIN_STATE;
    chopin__endpoint *e = path && options ? chopin__server_new_endpoint(s, app, "GET", path, chopin__fixed_handler, NULL) : NULL;
    if (!e) return chopin__server_fail(s, path && options ? CHOPIN_MEMORY : CHOPIN_INVALID, "%s:%d: chopin_fixed: no path, no options or no memory", file, line);
    e->route.name = "chopin_fixed";
    e->route.file = file;
    e->route.line = line;
    e->fixed = chopin__fixed_make(s, options);
    if (!e->fixed) return chopin__server_fail(s, CHOPIN_INVALID, "%s:%d: chopin_fixed(%s): a header or the status is not valid", file, line, path);
    return chopin__server_add_route(s, e);
}

CHOPIN_API int chopin_fixed_at(chopin_app *app, const char *path, const char *type, const char *body, const char *file, int line) {
    return chopin_fixed_with_at(app, path, &(chopin_fixed_options){ .type = type, .body = chopin__str_z(body ? body : "") }, file, line);
}

CHOPIN_API void chopin_attribute_add(chopin_attribute_route *route) {
    route->next = chopin__attribute_routes;
    chopin__attribute_routes = route;
}

static int chopin__attribute_order(const void *a, const void *b) {
    const chopin_attribute_route *x = *(chopin_attribute_route *const *)a, *y = *(chopin_attribute_route *const *)b;
    int order = strcmp(x->pattern, y->pattern);
    return order ? order : strcmp(x->method, y->method);
}

CHOPIN_API int chopin_mount_all(chopin_app *app) {
    chopin__server *s = chopin__server_of(app);
    size_t n = 0;
    if (s->mounted) return CHOPIN_OK;
    s->mounted = true;
    for (chopin_attribute_route *r = chopin__attribute_routes; r; r = r->next) n++;
    chopin_attribute_route **sorted = chopin__server_own(s, (n + 1) * sizeof *sorted);
    if (!sorted) return CHOPIN_MEMORY;
    n = 0;
    for (chopin_attribute_route *r = chopin__attribute_routes; r; r = r->next) sorted[n++] = r;
    qsort(sorted, n, sizeof *sorted, chopin__attribute_order);
    int first = CHOPIN_OK;
    for (size_t i = 0; i < n; i++) {
        int rc = chopin_route_at(app, sorted[i]->method, sorted[i]->pattern, sorted[i]->handler, NULL, sorted[i]->name, sorted[i]->file, sorted[i]->line);
        if (!first) first = rc;
    }
    return first;
}

/* ---- the request ---- */

CHOPIN_API chopin_str chopin_method(chopin_ctx *c) { return chopin__ctx_method(c); }
CHOPIN_API chopin_str chopin_target(chopin_ctx *c) { return chopin__ctx_str(c, c->head.target, c->head.target_len); }
CHOPIN_API chopin_str chopin_path(chopin_ctx *c) { return chopin__ctx_path(c); }
CHOPIN_API int chopin_http_minor(chopin_ctx *c) { return c->head.minor; }

static chopin_str chopin__decoded(chopin_ctx *c, chopin_str raw) {
    if (!raw.len || !memchr(raw.ptr, '%', raw.len)) return raw;
    char *to = chopin__arena_alloc(&c->arena, raw.len);
    return to ? chopin__str(to, chopin__percent_decode(to, raw, false)) : chopin__absent();
}

CHOPIN_API chopin_str chopin_path_decoded(chopin_ctx *c) { return chopin__decoded(c, chopin_path(c)); }

CHOPIN_API chopin_str chopin_query_string(chopin_ctx *c) {
    return c->head.has_query ? chopin__ctx_str(c, c->head.query, c->head.query_len) : chopin__absent();
}

CHOPIN_API chopin_str chopin_query(chopin_ctx *c, const char *name) {
    return c->head.has_query ? chopin__body_find(chopin_query_string(c), name, false, &c->arena) : chopin__absent();
}

CHOPIN_API chopin_str chopin_param(chopin_ctx *c, const char *name) {
    const chopin__route *r = c->endpoint ? &c->endpoint->route : NULL;
    for (uint32_t i = 0; r && i < r->param_count; i++) {
        if (!chopin__equal_z(r->params[i], name)) continue;
        return chopin__decoded(c, chopin__str(c->base + c->head.path + c->spans[i].at, c->spans[i].len));
    }
    return chopin__absent();
}

static chopin_str chopin__field_value(const chopin__head *h, const char *base, size_t i) { return chopin__str(base + h->fields[i].value, h->fields[i].value_len); }
static chopin_str chopin__field_name(const chopin__head *h, const char *base, size_t i) { return chopin__str(base + h->fields[i].name, h->fields[i].name_len); }

static chopin_str chopin__head_find(const chopin__head *h, const char *base, const char *name, size_t nth) {
    size_t   len = strlen(name);
    unsigned id = chopin__name_id(name, len);
    size_t   i = 0;
    if (id != CHOPIN_H_COUNT) {
        if (!h->slot[id]) return chopin__absent();
        i = (size_t)h->slot[id] - 1;
    }
    for (; i < h->count; i++) {
        bool same = h->fields[i].id == id && (id != CHOPIN_H_COUNT || chopin__equal_nocase(chopin__field_name(h, base, i), chopin__str(name, len)));
        if (same && nth-- == 0) return chopin__field_value(h, base, i);
    }
    return chopin__absent();
}

CHOPIN_API chopin_str chopin_header_nth(chopin_ctx *c, const char *name, size_t nth) { return chopin__head_find(&c->head, c->base, name, nth); }
CHOPIN_API chopin_str chopin_header(chopin_ctx *c, const char *name) { return chopin__head_find(&c->head, c->base, name, 0); }

CHOPIN_API chopin_str chopin_header_of(chopin_ctx *c, chopin_header_id id) {
    CHOPIN_ASSERT((unsigned)id < CHOPIN_H_COUNT);
    return c->head.slot[id] ? chopin__field_value(&c->head, c->base, (size_t)c->head.slot[id] - 1) : chopin__absent();
}

CHOPIN_API bool chopin_header_each(chopin_ctx *c, size_t *at, chopin_str *name, chopin_str *value) {
    if (*at >= c->head.count) return false;
    *name = chopin__field_name(&c->head, c->base, *at);
    *value = chopin__field_value(&c->head, c->base, (*at)++);
    return true;
}

CHOPIN_API chopin_str chopin_trailer(chopin_ctx *c, const char *name) {
    const chopin__body *b = &c->body;
    return b->mode && b->complete && b->trailer && b->trailer_base ? chopin__head_find(b->trailer, b->trailer_base, name, 0) : chopin__absent();
}

CHOPIN_API chopin_str chopin_host(chopin_ctx *c) {
    if (c->head.authority_len) return chopin__ctx_str(c, c->head.authority, c->head.authority_len);
    return chopin_header_of(c, CHOPIN_H_HOST);
}

CHOPIN_API chopin_str chopin_cookie(chopin_ctx *c, const char *name) {
    chopin_str line;
    for (size_t i = 0; (line = chopin_header_nth(c, "cookie", i)).ptr; i++) {
        chopin_str value = chopin__body_cookie(line, name);
        if (value.ptr) return value;
    }
    return chopin__absent();
}

/* Waits for the rest of the body: OK, or negative with the client answered or gone. */
static int chopin__body_await(chopin_ctx *c) {
    chopin__body *b = &c->body;
    int rc = chopin__body_want(c);
    while (rc == CHOPIN_OK && !b->complete && !b->failed) {
        chopin__wait wait = { .fiber = NULL };
        rc = chopin__park(c->w, c, &wait, CHOPIN__NEVER);
    }
    c->k->read_due = CHOPIN__NEVER;
    b->wanted = false;
    return b->complete ? CHOPIN_OK : rc == CHOPIN_OK ? CHOPIN_MALFORMED : chopin__park_failed(c, rc);
}

CHOPIN_API chopin_str chopin_body(chopin_ctx *c) {
    chopin__body *b = &c->body;
    if (!b->mode) return CHOPIN_STR("");
    if (b->pull || b->at) { chopin__ctx_log(c, CHOPIN_ERROR, "chopin_body() after chopin_read(): there is no whole body any more"); return chopin__absent(); }
    if (!b->complete && (b->failed || c->gone || b->discard || chopin__body_await(c) != CHOPIN_OK)) return chopin__absent();
    return chopin__str(b->len ? b->ptr : "", b->len);
}

CHOPIN_API int64_t chopin_read(chopin_ctx *c, void *buf, size_t n) {
    return c->body.mode && n ? chopin__read(c, buf, n, CHOPIN__NEVER) : 0;
}

CHOPIN_API chopin_str chopin_form(chopin_ctx *c, const char *name) {
    if (!c->form_checked) {
        c->form_checked = true;
        if (!chopin__body_media_type_is(chopin_header_of(c, CHOPIN_H_CONTENT_TYPE), "application/x-www-form-urlencoded")) {
            chopin__fail_by_us(c, 415, "the body must be application/x-www-form-urlencoded");
            return chopin__absent();
        }
        c->form = chopin_body(c);
        int rc = c->form.ptr ? chopin__body_check_form(c->form, c->w->site->options.max_form_fields) : CHOPIN_OK;
        if (rc != CHOPIN_OK) {
            chopin__fail_by_us(c, 400, rc == CHOPIN_TOO_LARGE ? "too many form fields (raise chopin_options.max_form_fields)" : "malformed form");
            c->form = chopin__absent();
        }
    }
    return c->form.ptr ? chopin__body_find(c->form, name, true, &c->arena) : chopin__absent();
}

static chopin_str chopin__from(chopin_ctx *c, chopin_from from, const char *name) {
    switch (from) {
    case CHOPIN_FROM_PARAM:  return chopin_param(c, name);
    case CHOPIN_FROM_QUERY:  return chopin_query(c, name);
    case CHOPIN_FROM_FORM:   return chopin_form(c, name);
    case CHOPIN_FROM_HEADER: return chopin_header(c, name);
    case CHOPIN_FROM_COOKIE: return chopin_cookie(c, name);
    }
    return chopin__absent();
}

static int chopin__bad_value(chopin_ctx *c, const char *name, chopin_str text, const char *wanted) {
    if (!c->reply.status) {
        chopin_str why = chopin_printf(c, text.ptr ? "parameter \"%s\" must be %s" : "parameter \"%s\" is missing: it must be %s", name, wanted);
        chopin__problem(c, 400, why, true);
        c->reply.by_us = true;
    }
    return CHOPIN_ANSWERED;
}

/* The same shape for each type: get the text, read it, answer 400 if it does not fit. */
#define CHOPIN__GETTER(suffix, type, read, wanted)                                                      \
    CHOPIN_API int chopin_get_##suffix(chopin_ctx *c, chopin_from from, const char *name, type *out) {  \
        chopin_str text = chopin__from(c, from, name);                                                  \
        return text.ptr && read(text, out) ? CHOPIN_OK : chopin__bad_value(c, name, text, wanted);      \
    }                                                                                                   \
    CHOPIN_API type chopin_get_##suffix##_or(chopin_ctx *c, chopin_from from, const char *name, type fallback) { \
        type       value;                                                                               \
        chopin_str text = chopin__from(c, from, name);                                                  \
        return text.ptr && read(text, &value) ? value : fallback;                                       \
    }
CHOPIN__GETTER(i64,  int64_t,  chopin__parse_i64, "an integer")
CHOPIN__GETTER(u64,  uint64_t, chopin__parse_u64, "an integer that is not negative")
CHOPIN__GETTER(f64,  double,   chopin__body_f64,  "a number")
CHOPIN__GETTER(bool, bool,     chopin__body_bool, "true or false")
#undef CHOPIN__GETTER

CHOPIN_API int chopin_get_enum(chopin_ctx *c, chopin_from from, const char *name, const char *const *words, int *out) {
    chopin_str text = chopin__from(c, from, name);
    int index = text.ptr ? chopin__body_enum(text, words) : -1;
    if (index < 0) return chopin__bad_value(c, name, text, "one of the known words");
    *out = index;
    return CHOPIN_OK;
}

CHOPIN_API int chopin_get_enum_or(chopin_ctx *c, chopin_from from, const char *name, const char *const *words, int fallback) {
    chopin_str text = chopin__from(c, from, name);
    int index = text.ptr ? chopin__body_enum(text, words) : -1;
    return index < 0 ? fallback : index;
}

CHOPIN_API int chopin_get_str(chopin_ctx *c, chopin_from from, const char *name, chopin_str *out) {
    *out = chopin__from(c, from, name);
    return out->ptr ? CHOPIN_OK : chopin__bad_value(c, name, *out, "present");
}

CHOPIN_API chopin_str chopin_get_str_or(chopin_ctx *c, chopin_from from, const char *name, chopin_str fallback) {
    chopin_str text = chopin__from(c, from, name);
    return text.ptr ? text : fallback;
}

static chopin_str chopin__address_text(chopin_ctx *c, const chopin__address *a) {
    char text[46];
    if (a->family == 0) return CHOPIN_STR("unix");
    return chopin__arena_copy(&c->arena, chopin__str(text, chopin__guard_format_address(text, a)));
}

CHOPIN_API chopin_str chopin_peer_address(chopin_ctx *c) {
    chopin__worker_peer(c->w, c->k);
    return chopin__address_text(c, &c->k->peer);
}

CHOPIN_API int chopin_peer_port(chopin_ctx *c) {
    chopin__worker_peer(c->w, c->k);
    return c->k->peer_port;
}

static chopin__address chopin__ctx_client(chopin_ctx *c) {
    chopin__worker_peer(c->w, c->k);
    const chopin__networks *trusted = &c->w->site->trusted;
    if (!trusted->count || !c->head.slot[CHOPIN_H_X_FORWARDED_FOR]) return c->k->peer;
    chopin_str *lines = chopin__arena_alloc(&c->arena, c->head.count * sizeof *lines);
    size_t      n = 0;
    for (size_t i = 0; lines && i < c->head.count; i++) {
        if (c->head.fields[i].id == CHOPIN_H_X_FORWARDED_FOR) lines[n++] = chopin__field_value(&c->head, c->base, i);
    }
    return chopin__guard_client(trusted, c->k->peer, lines, n);
}

CHOPIN_API chopin_str chopin_client_address(chopin_ctx *c) {
    chopin__address client = chopin__ctx_client(c);
    return chopin__address_text(c, &client);
}

CHOPIN_API chopin_str chopin_request_id(chopin_ctx *c) { return chopin_printf(c, "%016llx", (unsigned long long)chopin__ctx_id(c)); }

CHOPIN_API void *chopin_app_user(chopin_ctx *c) { return c->w->site->options.user; }
CHOPIN_API void *chopin_route_user(chopin_ctx *c) { return c->endpoint ? c->endpoint->options.user : NULL; }
CHOPIN_API void *chopin_user(chopin_ctx *c) { return c->user; }
CHOPIN_API void chopin_set_user(chopin_ctx *c, void *user) { c->user = user; }
CHOPIN_API void *chopin_worker_user(chopin_ctx *c) { return c->w->user; }
CHOPIN_API void chopin_worker_set_user(chopin_worker *w, void *user) { w->user = user; }
CHOPIN_API void *chopin_worker_get_user(chopin_worker *w) { return w->user; }
CHOPIN_API int chopin_worker_index(chopin_worker *w) { return w->index; }
CHOPIN_API chopin_worker *chopin_worker_of(chopin_ctx *c) { return c->w; }

CHOPIN_API void *chopin_group_user(chopin_ctx *c) {
    for (chopin_group *g = c->endpoint ? c->endpoint->group : NULL; g; g = g->parent) {
        if (g->user) return g->user;
    }
    return NULL;
}

CHOPIN_API void *chopin_alloc(chopin_ctx *c, size_t size) {
    void *ptr = chopin__arena_alloc(&c->arena, size);
    return ptr ? memset(ptr, 0, size) : NULL;
}

CHOPIN_API chopin_str chopin_printf(chopin_ctx *c, const char *format, ...) {
    va_list args;
    va_start(args, format);
    chopin_str text = chopin__arena_vprintf(&c->arena, format, args);
    va_end(args);
    return text;
}

/* ---- the reply ---- */

static const chopin_str chopin__type_text = { "text/plain; charset=utf-8", 25 }, chopin__type_html = { "text/html; charset=utf-8", 24 },
                        chopin__type_json = { "application/json", 16 };

static int chopin__answer_borrowed(chopin_ctx *c, int status, chopin_str type, chopin_str body) {
    return chopin__answer(c, status, type, body, CHOPIN__BODY_BORROWED, NULL, NULL);
}

CHOPIN_API int chopin_text(chopin_ctx *c, int status, const char *text) { return chopin__answer_borrowed(c, status, chopin__type_text, chopin__str_z(text)); }
CHOPIN_API int chopin_html(chopin_ctx *c, int status, const char *html) { return chopin__answer_borrowed(c, status, chopin__type_html, chopin__str_z(html)); }

CHOPIN_API int chopin_textf(chopin_ctx *c, int status, const char *format, ...) {
    char    room[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(room, sizeof room, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof room) return chopin__answer_borrowed(c, status, chopin__type_text, chopin__str(room, (size_t)n));
    va_start(args, format);
    chopin_str text = chopin__arena_vprintf(&c->arena, format, args);
    va_end(args);
    return text.ptr ? chopin__answer_borrowed(c, status, chopin__type_text, text) : CHOPIN_MEMORY;
}

/* A content type of the caller's, which may come from anywhere. */
static int chopin__answer_typed(chopin_ctx *c, int status, const char *type, chopin_str body, chopin__body_kind kind, void (*release)(void *), void *arg) {
    chopin_str text = chopin__str_z(type);
    if (CHOPIN__LIKELY(chopin__is_field_value(text))) return chopin__answer(c, status, text, body, kind, release, arg);
    return chopin__answer_refused(c, status, kind, release, arg, "control byte in the content type");
}

CHOPIN_API int chopin_bytes(chopin_ctx *c, int status, const char *type, chopin_str bytes) {
    return chopin__answer_typed(c, status, type, bytes, CHOPIN__BODY_BORROWED, NULL, NULL);
}

CHOPIN_API int chopin_bytes_static(chopin_ctx *c, int status, const char *type, chopin_str bytes) {
    return chopin__answer_typed(c, status, type, bytes, CHOPIN__BODY_STATIC, NULL, NULL);
}

CHOPIN_API int chopin_bytes_owned(chopin_ctx *c, int status, const char *type, chopin_str bytes, void (*release)(void *arg), void *arg) {
    return chopin__answer_typed(c, status, type, bytes, CHOPIN__BODY_OWNED, release, arg);
}

CHOPIN_API int chopin_empty(chopin_ctx *c, int status) {
    return chopin__answer(c, status, chopin__absent(), chopin__absent(), CHOPIN__BODY_NONE, NULL, NULL);
}

CHOPIN_API int chopin_redirect(chopin_ctx *c, int status, const char *location) {
    bool known = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
    if (!known && !c->reply.status) {
        chopin__ctx_log(c, CHOPIN_ERROR, "chopin_redirect: %d is no redirect (301, 302, 303, 307, 308)", status);
        return CHOPIN_INVALID;
    }
    int rc = c->reply.status ? CHOPIN_OK : chopin_set(c, "Location", location);
    return rc == CHOPIN_OK ? chopin_empty(c, status) : rc;
}

CHOPIN_API int chopin_jsonf(chopin_ctx *c, int status, const char *format, ...) {
    char room[1024];
    chopin__json_out out = { .ptr = room, .cap = sizeof room, .arena = &c->arena };
    va_list args;
    va_start(args, format);
    int rc = chopin__json_format(&out, format, args);
    va_end(args);
    if (rc == CHOPIN_OK) return chopin__answer_borrowed(c, status, chopin__type_json, chopin__str(out.ptr, out.len));
    if (rc != CHOPIN_INVALID) return rc;
    chopin__ctx_log(c, CHOPIN_ERROR, "chopin_jsonf: malformed template %.100s", format);
    chopin__fail_by_us(c, 500, "malformed JSON template");
    return rc;
}

CHOPIN_API int chopin_begin(chopin_ctx *c, int status, const char *type) { return chopin__stream_begin(c, status, chopin__str_z(type), NULL); }

CHOPIN_API int chopin_begin_sized(chopin_ctx *c, int status, const char *type, uint64_t length) {
    return chopin__stream_begin(c, status, chopin__str_z(type), &length);
}

CHOPIN_API int chopin_write(chopin_ctx *c, const void *bytes, size_t n) { return chopin__stream_write(c, chopin__str(bytes, n)); }

/* Formatted text for one write, in `room` or, when it is longer, on the heap: a stream may go on for ever, its arena may not. Absent: it failed. */
static chopin_str chopin__text_make(chopin_ctx *c, char *room, size_t size, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int   n = vsnprintf(room, size, format, args);
    char *text = n < 0 || (size_t)n < size ? room : chopin__alloc(&c->w->site->heap, (size_t)n + 1);
    if (text && text != room) vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    return n < 0 || !text ? chopin__absent() : chopin__str(text, (size_t)n);
}

static void chopin__text_done(chopin_ctx *c, chopin_str text, const char *room) {
    if (text.ptr && text.ptr != room) chopin__release(&c->w->site->heap, (char *)(uintptr_t)text.ptr, text.len + 1);
}

CHOPIN_API int chopin_writef(chopin_ctx *c, const char *format, ...) {
    char    room[512];
    va_list args;
    va_start(args, format);
    chopin_str text = chopin__text_make(c, room, sizeof room, format, args);
    va_end(args);
    int rc = text.ptr ? chopin__stream_write(c, text) : CHOPIN_MEMORY;
    chopin__text_done(c, text, room);
    return rc;
}

CHOPIN_API int chopin_flush(chopin_ctx *c) {
    if (chopin_gone(c)) return CHOPIN_GONE;
#ifdef CHOPIN_WITH_ZLIB
    int rc = c->reply.squeezer && !c->reply.ended ? chopin__squeeze_write(c, CHOPIN_STR(""), Z_SYNC_FLUSH) : CHOPIN_OK;
    if (rc != CHOPIN_OK) return rc;
#endif
    chopin__conn_flush(c->w, c->k);
    return c->k->state == CHOPIN__DEAD ? CHOPIN_GONE : CHOPIN_OK;
}

/* Fields that a recipient must know before the body have no place behind it (RFC 9110 6.5.1). */
static bool chopin__trailer_may_hold(chopin_str name) {
    static const chopin_str never[] = { { "content-type", 12 }, { "content-encoding", 16 }, { "content-range", 13 }, { "trailer", 7 }, { "te", 2 }, { "host", 4 },
                                        { "set-cookie", 10 }, { "cache-control", 13 }, { "authorization", 13 }, { "www-authenticate", 16 }, { "location", 8 } };
    for (size_t i = 0; i < CHOPIN__COUNT(never); i++) {
        if (chopin__equal_nocase(name, never[i])) return false;
    }
    return chopin__is_token(name) && !chopin__header_is_ours(name);
}

CHOPIN_API int chopin_set_trailer(chopin_ctx *c, const char *name, const char *value) {
    chopin_str key = chopin__str_z(name), text = chopin__str_z(value);
    if (!c->reply.stream || c->reply.ended) return CHOPIN_STATE;
    if (!chopin__trailer_may_hold(key) || !chopin__is_field_value(text)) return CHOPIN_INVALID;
    if (c->reply.stream != CHOPIN__STREAM_CHUNKED || !c->head.te_trailers) return CHOPIN_OK;
    return chopin__lines_add(&c->reply, &c->arena, key, chopin__trim(text)) ? CHOPIN_OK : CHOPIN_MEMORY;
}

CHOPIN_API int chopin_end(chopin_ctx *c) {
    return c->reply.stream ? chopin__stream_end(c) : chopin__stream_misused(c, "chopin_end() without chopin_begin()");
}

CHOPIN_API int chopin_sse(chopin_ctx *c) {
    int rc = c->reply.status ? CHOPIN_OK : chopin_set(c, "Cache-Control", "no-store");
    chopin__ctx_slim(c);
    if (rc == CHOPIN_OK) rc = chopin_begin(c, 200, "text/event-stream");
    if (rc == CHOPIN_OK) rc = chopin_flush(c);
    c->reply.events = rc == CHOPIN_OK;
    return rc;
}

CHOPIN_API int chopin_sse_event(chopin_ctx *c, const chopin_sse_options *e) {
    if (!c->reply.events) return chopin__stream_misused(c, "chopin_sse() comes first");
    if (!chopin__is_field_value(e->id) || !chopin__is_field_value(e->event)) return CHOPIN_INVALID;    // one line, without controls
    return chopin__event_send(c, e->id, e->event, e->retry_ms, e->data);
}

CHOPIN_API int chopin_sse_send(chopin_ctx *c, const char *event, const char *format, ...) {
    char    room[512];
    va_list args;
    va_start(args, format);
    chopin_sse_options e = { .event = event ? chopin__str_z(event) : chopin__absent(), .data = chopin__text_make(c, room, sizeof room, format, args) };
    va_end(args);
    int rc = e.data.ptr ? chopin_sse_event(c, &e) : CHOPIN_MEMORY;
    chopin__text_done(c, e.data, room);
    return rc;
}

/* ---- WebSocket ---- */

CHOPIN_API chopin_app *chopin_app_of(chopin_ctx *c) { return &((chopin__server *)c->w->server)->app; }

#ifdef CHOPIN_WITH_ZLIB
/* Both directions, or none. */
static bool chopin__ws_compress(chopin_ctx *c, chopin_ws *ws, const chopin__ws_shake *shake) {
    chopin__heap *heap = &c->w->site->heap;
    if (!ws->deflates) return true;
    ws->deflates = chopin__ws_inflate_open(&ws->inflater, heap, &shake->deflate, c->w->site->options.ws_max_message);
    if (ws->deflates && !chopin__ws_deflate_open(&ws->deflater, heap, &shake->deflate, 6)) {
        chopin__ws_inflate_close(&ws->inflater);
        ws->deflates = false;
    }
    return ws->deflates;
}
#endif

CHOPIN_API chopin_ws *chopin_ws_accept(chopin_ctx *c, const chopin_ws_options *options) {
    static const chopin_ws_options none;
    const chopin_ws_options *o = options ? options : &none;
    chopin__ws_rules rules = { .protocols = o->protocols, .deflate = { .on = !o->no_deflate } };
    chopin__ws_shake shake;
    if (c->reply.status) { chopin__answer_refused(c, 101, CHOPIN__BODY_NONE, NULL, NULL, ""); return NULL; }
    int status = chopin__ws_check(&c->head, c->base, &rules, &shake);
#if defined(CHOPIN_NO_FIBERS)
    if (status == 101) { status = 501; shake.why = "WebSockets need fibers"; }
#endif
    if (status == 101 && !chopin__ws_origin_ok(c, o->origins)) { status = 403; shake.why = "pages of this origin may not connect"; }
    if (status != 101) {
        chopin__ws_answer(&shake, status, &c->reply, &c->arena);
        chopin__fail_by_us(c, status, shake.why);
        return NULL;
    }
    chopin_ws *ws = chopin_alloc(c, sizeof *ws);
    if (!ws) return NULL;
    ws->options = *o;
    chopin__ws_open(c, ws, &shake);
#ifdef CHOPIN_WITH_ZLIB
    if (!chopin__ws_compress(c, ws, &shake)) { chopin__fail_by_us(c, 503, chopin_status_text(CHOPIN_MEMORY)); return NULL; }
#endif
    if (chopin_defer(c, chopin__ws_free, ws) != CHOPIN_OK) return NULL;
    if (!chopin__ws_switch(c, ws, &shake)) { chopin__stream_cut(c, CHOPIN_MEMORY); return NULL; }
    return ws;
}

CHOPIN_API int chopin_ws_recv_until(chopin_ws *ws, chopin_ws_message *m, int64_t deadline_ms) {
    return ws ? chopin__ws_recv(ws, m, deadline_ms < 0 ? CHOPIN__NEVER : deadline_ms) : CHOPIN_ANSWERED;
}
CHOPIN_API int chopin_ws_recv(chopin_ws *ws, chopin_ws_message *m) { return chopin_ws_recv_until(ws, m, -1); }

CHOPIN_API int chopin_ws_send(chopin_ws *ws, chopin_ws_kind kind, chopin_str data) {
    if (kind != CHOPIN_WS_TEXT && kind != CHOPIN_WS_BINARY) return CHOPIN_INVALID;
    return ws ? chopin__ws_send(ws, (unsigned)kind, data) : CHOPIN_ANSWERED;
}

CHOPIN_API int chopin_ws_sendf(chopin_ws *ws, const char *format, ...) {
    char    room[512];
    va_list args;
    if (!ws) return CHOPIN_ANSWERED;
    va_start(args, format);
    chopin_str text = chopin__text_make(ws->c, room, sizeof room, format, args);
    va_end(args);
    int rc = text.ptr ? chopin__ws_send(ws, CHOPIN_WS_TEXT, text) : CHOPIN_MEMORY;
    chopin__text_done(ws->c, text, room);
    return rc;
}

CHOPIN_API int chopin_ws_close(chopin_ws *ws, int code, const char *reason) {
    if (!ws) return CHOPIN_ANSWERED;
    if (ws->closed || chopin_gone(ws->c)) return CHOPIN_GONE;
    if (code < 1000 || code > 4999 || !chopin__ws_close_code_ok((unsigned)code)) return CHOPIN_INVALID;
    ws->close_due = chopin__after(ws->c->w->now, ws->c->w->site->options.ws_close_ms);
    chopin__ws_say_close(ws, (unsigned)code, chopin__str_z(reason ? reason : ""));
    return CHOPIN_OK;
}

CHOPIN_API int        chopin_ws_close_code(chopin_ws *ws) { return ws ? ws->code : 1006; }
CHOPIN_API chopin_str chopin_ws_protocol(chopin_ws *ws) { return ws ? ws->protocol : chopin__absent(); }

CHOPIN_API int chopin_ws_subscribe(chopin_ws *ws, const char *topic) {
    return !ws ? CHOPIN_ANSWERED : ws->over || chopin_gone(ws->c) ? CHOPIN_GONE : chopin__sub_begin(ws, chopin__str_z(topic));
}

CHOPIN_API int chopin_ws_unsubscribe(chopin_ws *ws, const char *topic) {
    chopin__sub **at = ws ? chopin__sub_find(ws, chopin__str_z(topic)) : NULL;
    if (at && *at) chopin__sub_end(ws, at);
    return ws ? CHOPIN_OK : CHOPIN_ANSWERED;
}

CHOPIN_API int chopin_ws_broadcast(chopin_app *app, const char *topic, chopin_ws_kind kind, chopin_str data) {
    chopin__server *s = chopin__server_of(app);
    if (kind != CHOPIN_WS_TEXT && kind != CHOPIN_WS_BINARY) return CHOPIN_INVALID;
    atomic_fetch_add(&s->wakers, 1);
    int count = atomic_load(&s->ending) ? 0 : atomic_load(&s->worker_count), rc = count ? CHOPIN_OK : CHOPIN_STATE;
    chopin__cast *cast = count ? chopin__cast_make(&s->site.heap, chopin__str_z(topic), (unsigned)kind, data, count) : NULL;
    if (count && !cast) rc = CHOPIN_MEMORY;
    for (int i = 0; cast && i < count; i++) chopin__worker_send(s->workers[i], &cast->post[i]);
    if (cast) chopin__cast_release(cast);
    atomic_fetch_sub(&s->wakers, 1);
    return rc;
}

CHOPIN_API int chopin_fd_range(chopin_ctx *c, int status, const char *type, int fd, uint64_t at, uint64_t len, bool close_it) {
    chopin_str text = chopin__str_z(type);
    void (*release)(void *) = close_it ? chopin__fd_close : NULL;
    if (!chopin__is_field_value(text) || fd < 0 || at > INT64_MAX || len > INT64_MAX - at) {
        return chopin__answer_refused(c, status, CHOPIN__BODY_OWNED, release, (void *)(intptr_t)fd, "control byte in the content type, or no such range");
    }
    return chopin__answer_slices(c, status, text, chopin__slices_one(c, fd, at, len), release, (void *)(intptr_t)fd);
}

CHOPIN_API int chopin_fail(chopin_ctx *c, int status, const char *text) { return chopin__fail(c, status, chopin__str_z(text)); }

CHOPIN_API int chopin_failf(chopin_ctx *c, int status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    chopin_str text = chopin__arena_vprintf(&c->arena, format, args);
    va_end(args);
    return chopin__fail(c, status, text);
}

static int chopin__set(chopin_ctx *c, const char *name, chopin_str value, bool replace) {
    chopin_str key = chopin__str_z(name);
    if (c->reply.left) {
        if (!c->reply.by_us) chopin__ctx_log(c, CHOPIN_WARNING, "header %.60s set after the reply has left", name);
        return CHOPIN_LATE;
    }
    if (!chopin__is_token(key) || !chopin__is_field_value(value) || chopin__header_is_ours(key)) {
        chopin__ctx_log(c, CHOPIN_ERROR, "header %.60s refused: %s", name, chopin__header_is_ours(key) ? "the server writes it itself" : "its name is no token or its value holds a control byte");
        return CHOPIN_INVALID;
    }
    if (chopin__equal_nocase(key, CHOPIN_STR("content-type"))) {
        c->reply.type = chopin__arena_copy(&c->arena, value);
        return c->reply.type.ptr ? CHOPIN_OK : CHOPIN_MEMORY;
    }
    if (replace) chopin__lines_remove(&c->reply, key);
    return chopin__lines_add(&c->reply, &c->arena, key, chopin__trim(value)) ? CHOPIN_OK : CHOPIN_MEMORY;
}

CHOPIN_API int chopin_set(chopin_ctx *c, const char *name, const char *value) { return chopin__set(c, name, chopin__str_z(value), true); }
CHOPIN_API int chopin_set_str(chopin_ctx *c, const char *name, chopin_str value) { return chopin__set(c, name, value, true); }
CHOPIN_API int chopin_add(chopin_ctx *c, const char *name, const char *value) { return chopin__set(c, name, chopin__str_z(value), false); }

CHOPIN_API int chopin_setf(chopin_ctx *c, const char *name, const char *format, ...) {
    va_list args;
    va_start(args, format);
    chopin_str value = chopin__arena_vprintf(&c->arena, format, args);
    va_end(args);
    return value.ptr ? chopin__set(c, name, value, true) : CHOPIN_MEMORY;
}

CHOPIN_API int chopin_remove(chopin_ctx *c, const char *name) {
    if (c->reply.left) return CHOPIN_LATE;
    chopin__lines_remove(&c->reply, chopin__str_z(name));
    if (chopin__equal_nocase(chopin__str_z(name), CHOPIN_STR("content-type"))) c->reply.type = chopin__absent();
    return CHOPIN_OK;
}

CHOPIN_API int chopin_early_hints(chopin_ctx *c, const char *const *links) {
    chopin__queue *q = &c->k->port.out;
    if (c->reply.left) return CHOPIN_LATE;
    if (c->head.minor == 0 || c->k->state == CHOPIN__DEAD) return CHOPIN_OK;
    for (size_t i = 0; links[i]; i++) {
        if (!chopin__is_field_value(chopin__str_z(links[i]))) return CHOPIN_INVALID;
    }
    bool ok = chopin__queue_copy(q, &c->w->pieces, CHOPIN_STR("HTTP/1.1 103 Early Hints\r\n"));
    for (size_t i = 0; ok && links[i]; i++) {
        chopin_str line = chopin_printf(c, "Link: %s\r\n", links[i]);
        ok = line.ptr && chopin__queue_copy(q, &c->w->pieces, line);
    }
    ok = ok && chopin__queue_copy(q, &c->w->pieces, CHOPIN_STR("\r\n"));
    if (!ok) { c->k->abort = true; chopin__conn_lost(c->w, c->k); return CHOPIN_MEMORY; }
    chopin__conn_flush(c->w, c->k);
    return CHOPIN_OK;
}

CHOPIN_API int chopin_set_cookie(chopin_ctx *c, const char *name, const char *value, const chopin_cookie_options *options) {
    chopin_str line;
    int rc = chopin__body_write_cookie(&c->arena, name, value, options, &line);
    if (rc == CHOPIN_INVALID) chopin__ctx_log(c, CHOPIN_ERROR, "cookie %.60s refused: bad name, value, path or domain, or its prefix or SameSite demands Secure", name);
    return rc == CHOPIN_OK ? chopin__set(c, "Set-Cookie", line, false) : rc;
}

CHOPIN_API int chopin_reply_status(chopin_ctx *c) { return c->reply.status; }

CHOPIN_API int chopin_defer(chopin_ctx *c, void (*fn)(void *arg), void *arg) {
    chopin__deferred *d = chopin__arena_alloc(&c->arena, sizeof *d);
    if (!d) { fn(arg); return CHOPIN_MEMORY; }
    *d = (chopin__deferred){ c->deferred, fn, arg };
    c->deferred = d;
    return CHOPIN_OK;
}

CHOPIN_API void chopin_panic(chopin_ctx *c, const char *format, ...) {
    chopin_worker *w = c->w;
    va_list args;
    va_start(args, format);
    int n = snprintf(w->fallen_why, sizeof w->fallen_why, "panic: ");
    vsnprintf(w->fallen_why + n, sizeof w->fallen_why - (size_t)n, format, args);
    va_end(args);
    CHOPIN_ASSERT(w->running == c);
    w->fallen = c;
    chopin__fiber_retire(&w->fibers);
}

/* ---- ready-made middleware ---- */

static int chopin__cors_middleware(chopin_ctx *c) {
    const chopin_cors_options *o = chopin_use_data(c);
    chopin__guard_cors_reply r = chopin__guard_cors(o, chopin__ctx_method(c), chopin_header_of(c, CHOPIN_H_ORIGIN),
        chopin_header_of(c, CHOPIN_H_ACCESS_CONTROL_REQUEST_METHOD), chopin_header_of(c, CHOPIN_H_ACCESS_CONTROL_REQUEST_HEADERS));
    if (r.vary) chopin_add(c, "Vary", "Origin");
    if (r.origin.ptr) chopin_set_str(c, "Access-Control-Allow-Origin", r.origin);
    if (r.origin.ptr && r.credentials) chopin_set(c, "Access-Control-Allow-Credentials", "true");
    if (!r.preflight) {
        if (r.origin.ptr && r.expose.ptr) chopin_set_str(c, "Access-Control-Expose-Headers", r.expose);
        return chopin_next(c);
    }
    if (r.methods.ptr) chopin_set_str(c, "Access-Control-Allow-Methods", r.methods);
    if (r.headers.ptr) chopin_set_str(c, "Access-Control-Allow-Headers", r.headers);
    if (r.origin.ptr) chopin_setf(c, "Access-Control-Max-Age", "%d", r.max_age_s);
    chopin_add(c, "Vary", "Access-Control-Request-Method, Access-Control-Request-Headers");
    return chopin_empty(c, 204);
}

CHOPIN_API int chopin_cors(chopin_app *app, const char *prefix, const chopin_cors_options *options) {
    chopin__server *s = chopin__server_of(app);
    if (!options || chopin__guard_cors_check(options) != CHOPIN_OK) {
        return chopin__server_fail(s, CHOPIN_INVALID, "chopin_cors(%s): origins must be \"*\" or a list like https://a.test, and \"*\" excludes credentials", prefix);
    }
    chopin_cors_options *copy = chopin__server_own(s, sizeof *copy);
    if (!copy) return CHOPIN_MEMORY;
    *copy = *options;
    copy->origins = chopin__server_text(s, options->origins);
    copy->methods = chopin__server_text(s, options->methods);
    copy->headers = chopin__server_text(s, options->headers);
    copy->expose  = chopin__server_text(s, options->expose);
    return chopin_use_with(app, prefix, chopin__cors_middleware, copy);
}

static int chopin__origin_middleware(chopin_ctx *c) {
    bool refused = chopin__guard_cross_site(chopin__ctx_method(c), chopin_header_of(c, CHOPIN_H_SEC_FETCH_SITE), chopin_header_of(c, CHOPIN_H_ORIGIN),
                                            chopin_host(c), chopin_use_data(c));
    return refused ? chopin__problem(c, 403, CHOPIN_STR("this request comes from another site"), true) : chopin_next(c);
}

CHOPIN_API int chopin_origin_check(chopin_app *app, const char *prefix, const char *origins) {
    chopin__server *s = chopin__server_of(app);
    return chopin_use_with(app, prefix, chopin__origin_middleware, (void *)(uintptr_t)chopin__server_text(s, origins));
}

typedef struct chopin__limit {          // one chopin_limit(); each worker has a table of its own, so that nothing is shared
    chopin_limit_options options;
    int                  number;        // of its table in chopin_worker.limiters
} chopin__limit;

static int chopin__limit_middleware(chopin_ctx *c) {
    chopin__limit *l = chopin_use_data(c);
    chopin__guard_limiter *table = &c->w->limiters[l->number];
    chopin__address client = chopin__ctx_client(c);
    if (!table->buckets && chopin__guard_limiter_init(table, &c->w->site->heap, &l->options, c->w->site->seed) != CHOPIN_OK) return chopin_next(c);
    int64_t wait_ms = chopin__guard_take(table, &client, c->w->now);
    if (wait_ms == 0) return chopin_next(c);
    chopin_setf(c, "Retry-After", "%lld", (long long)((wait_ms + 999) / 1000));
    return chopin__problem(c, 429, CHOPIN_STR("too many requests from this address"), true);
}

CHOPIN_API int chopin_limit(chopin_app *app, const char *prefix, const chopin_limit_options *options) {
    chopin__server *s = chopin__server_of(app);
    chopin_limit_options resolved;
    if (!chopin__guard_limit_resolve(options, &resolved)) return chopin__server_fail(s, CHOPIN_INVALID, "chopin_limit(%s): per_second and burst must be 0 to 1e9", prefix);
    if (s->site.limit_count == CHOPIN__LIMITS) return chopin__server_fail(s, CHOPIN_FULL, "chopin_limit(%s): at most %d limits", prefix, CHOPIN__LIMITS);
    chopin__limit *l = chopin__server_own(s, sizeof *l);
    if (!l) return CHOPIN_MEMORY;
    *l = (chopin__limit){ .options = resolved, .number = s->site.limit_count++ };
    return chopin_use_with(app, prefix, chopin__limit_middleware, l);
}

/* ---- waiting ---- */

/* What a wait that ended by its timer means: the caller's own deadline, or that of the whole handler. */
static int chopin__wait_timed(chopin_ctx *c, int rc, int at_deadline) {
    if (rc != CHOPIN_TIMEOUT) return rc;
    return c && c->deadline <= c->w->now ? CHOPIN_TIMEOUT : at_deadline;
}

CHOPIN_API int chopin_sleep(chopin_ctx *c, int64_t ms) {
    int64_t due = ms < CHOPIN__NEVER - c->w->now ? c->w->now + (ms > 0 ? ms : 0) : CHOPIN__NEVER;
#if defined(CHOPIN_NO_FIBERS)
    return chopin__wait_timed(c, chopin__wait_blocking(c->w, -1, 0, due), CHOPIN_OK);
#else
    chopin__wait wait = { .fiber = NULL };
    return chopin__park_failed(c, chopin__wait_timed(c, chopin__event_wait(c, &wait, due), CHOPIN_OK));
#endif
}

/* Ready events, 0 at the deadline, negative otherwise. */
static int chopin__wait_descriptor(chopin_worker *w, chopin_ctx *c, int fd, int events, int64_t deadline_ms) {
    events &= CHOPIN_READ | CHOPIN_WRITE;
#if defined(CHOPIN_NO_FIBERS)
    return chopin__wait_timed(c, chopin__wait_blocking(w, fd, events, deadline_ms), 0);
#else
    chopin__waiter *waiter = chopin__slab_take(&w->slab);
    if (!waiter) return CHOPIN_FULL;
    chopin__wait wait = { .fiber = NULL };
    chopin__port_open(&waiter->port, fd, CHOPIN__WAITER);
    waiter->port.armed = (uint8_t)events;
    waiter->wait = &wait;
    if (!w->io.ops->attach(&w->io, &waiter->port, false)) {
        int error = errno;
        chopin__slab_give(&w->slab, waiter);
        return error == EPERM ? events : error == EEXIST || error == EBADF ? CHOPIN_INVALID : CHOPIN_SYSTEM;   // EPERM: a file, which is always ready
    }
    int rc = chopin__park(w, c, &wait, deadline_ms < 0 ? CHOPIN__NEVER : deadline_ms);
    w->io.ops->detach(&w->io, &waiter->port, false);
    chopin__slab_give(&w->slab, waiter);
    return chopin__wait_timed(c, rc, 0);
#endif
}

CHOPIN_API int chopin_wait_fd(chopin_ctx *c, int fd, int events, int64_t deadline_ms) {
    int rc = chopin__wait_descriptor(c->w, c, fd, events, deadline_ms);
    return chopin__park_failed(c, rc == 0 ? CHOPIN_TIMEOUT : rc);
}

#if !defined(CHOPIN_NO_FIBERS)
/* Something else ended the wait before the turn was over. */
static void chopin__wait_unturn(chopin_worker *w, chopin__wait *wait) {
    chopin__wait *before = NULL, *at = w->turn;
    while (at != wait) { before = at; at = at->next_turn; }
    if (before) before->next_turn = wait->next_turn;
    else        w->turn = wait->next_turn;
    if (w->turn_last == wait) w->turn_last = before;
}

static int chopin__wait_turn(chopin_worker *w, chopin_ctx *c) {
    chopin__wait wait = { .of_turn = true };
    if (w->turn_last) w->turn_last->next_turn = &wait;
    else              w->turn = &wait;
    w->turn_last = &wait;
    int rc = chopin__park(w, c, &wait, CHOPIN__NEVER);
    if (wait.of_turn) chopin__wait_unturn(w, &wait);
    return rc;
}
#endif

static int chopin__wait_ticket(chopin_worker *w) {
    chopin__ticket *t = chopin__slab_take(&w->slab);
    if (!t) return CHOPIN_FULL;
    chopin__port_open(&t->port, -1, CHOPIN__TICKETED);
    return (int)((chopin__slab_id(&w->slab, t) & 0xffffff) | (chopin__slab_id(&w->slab, t) >> 32 & 0x7f) << 24);
}

static chopin__ticket *chopin__ticket_at(chopin_worker *w, int ticket) {
    uint32_t index = (uint32_t)ticket & 0xffffff;
    if (ticket < 0 || index >= w->slab.used) return NULL;
    chopin__ticket *t = chopin__slab_at(&w->slab, index);
    return t->port.kind == CHOPIN__TICKETED && (atomic_load_explicit(&t->port.entry.generation, memory_order_relaxed) & 0x7f) == (uint32_t)ticket >> 24 ? t : NULL;
}

#if !defined(CHOPIN_NO_FIBERS)
static int chopin__wait_park(chopin_worker *w, chopin_ctx *c, int ticket, int64_t deadline_ms) {
    chopin__ticket *t = chopin__ticket_at(w, ticket);
    chopin__wait wait = { .fiber = NULL };
    if (!t) return CHOPIN_MISSING;
    int rc = CHOPIN_OK;
    if (!t->woken) {
        t->wait = &wait;
        rc = chopin__park(w, c, &wait, deadline_ms < 0 ? CHOPIN__NEVER : deadline_ms);
    }
    chopin__slab_give(&w->slab, t);
    return rc == CHOPIN_OK ? 1 : chopin__wait_timed(c, rc, 0);
}
#endif

static int chopin__wait_wake(chopin_worker *w, int ticket) {
    chopin__ticket *t = chopin__ticket_at(w, ticket);
    if (!t) return CHOPIN_MISSING;
    t->woken = true;
    if (t->wait) chopin__wake(w, t->wait, CHOPIN_OK);
    return CHOPIN_OK;
}

static int chopin__wait_outside(int fd, int events, int64_t deadline_ms) {
    struct pollfd p = { .fd = fd, .events = (short)((events & CHOPIN_READ ? POLLIN : 0) | (events & CHOPIN_WRITE ? POLLOUT : 0)) };
    if (!(events & (CHOPIN_READ | CHOPIN_WRITE))) return CHOPIN_OK;
    int64_t left = deadline_ms < 0 ? -1 : deadline_ms - chopin__clock_ms();
    int n = poll(&p, 1, deadline_ms < 0 ? -1 : left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left);
    if (n < 0) return errno == EINTR ? 0 : CHOPIN_SYSTEM;
    return ((p.revents & ~POLLOUT ? CHOPIN_READ : 0) | (p.revents & ~POLLIN ? CHOPIN_WRITE : 0)) & events;
}

CHOPIN_API int chopin_wait(void *worker, int fd, int events, int64_t deadline_ms) {
    chopin_worker *w = worker;
    if (!w || w != chopin__this_worker || !w->running) return chopin__wait_outside(fd, events, deadline_ms);
    chopin_ctx *c = w->running;
    if (events & CHOPIN_WAKE)   return chopin__wait_wake(w, fd);
    if (events & CHOPIN_TICKET) return chopin__park_failed(c, chopin__wait_ticket(w));
#if defined(CHOPIN_NO_FIBERS)
    if (events & (CHOPIN_TURN | CHOPIN_PARK)) return CHOPIN_OK;
#else
    if (events & CHOPIN_TURN)   return chopin__park_failed(c, chopin__wait_turn(w, c));
    if (events & CHOPIN_PARK)   return chopin__park_failed(c, chopin__wait_park(w, c, fd, deadline_ms));
#endif
    return chopin__park_failed(c, chopin__wait_descriptor(w, c, fd, events, deadline_ms));
}

#if !defined(CHOPIN_NO_FIBERS)
/* A job in the queue uses the handler's stack: parking must not fail after that, so its fiber and buffers are made sure of before. */
static bool chopin__offload_ready(chopin_worker *w, chopin_ctx *c) {
    chopin__fiber *next = w->parked_count < w->site->options.max_parked ? chopin__fiber_take(&w->fibers) : NULL;
    if (next) chopin__fiber_give(&w->fibers, next);
    return next && chopin__ctx_pin(w, c->k, c);
}
#endif

CHOPIN_API int chopin_offload(chopin_ctx *c, int (*fn)(void *arg), void *arg) {
#if defined(CHOPIN_NO_FIBERS)
    (void)c;
    return fn(arg);
#else
    chopin_worker *w = c->w;
    chopin__wait wait = { .stubborn = true };
    chopin__job  job = { .fn = fn, .arg = arg, .worker = w, .wait = &wait };
    job.done = (chopin__post){ .direct = chopin__offload_done, .arg = &job };
    wait.parked = false;
    if (c->gone) return CHOPIN_GONE;
    if (!chopin__offload_ready(w, c) || !chopin__offload_add(w->server, &job)) return chopin__park_failed(c, CHOPIN_FULL);
    atomic_fetch_add(&w->io.outside, 1);
    int rc = chopin__park(w, c, &wait, CHOPIN__NEVER);       // the message that ends it is read by the loop, hence after this
    atomic_fetch_sub(&w->io.outside, 1);
    return rc == CHOPIN_OK ? job.result : rc;
#endif
}

typedef struct chopin__save { int fd, error; const char *ptr; size_t len; } chopin__save;

/* On a thread of the pool: its errno is not the handler's. */
static int chopin__save_write(void *arg) {
    chopin__save *s = arg;
    while (s->len && !s->error) {
        ssize_t n = write(s->fd, s->ptr, s->len);
        if (n < 0 && errno != EINTR) s->error = errno;
        if (n <= 0) continue;
        s->ptr += n;
        s->len -= (size_t)n;
    }
    return s->error ? CHOPIN_SYSTEM : CHOPIN_OK;
}

/* What a body is read with: chopin_read(), or chopin_part_read(). */
typedef int64_t (*chopin__save_read)(chopin_ctx *c, void *buf, size_t n);

/* Fills a block with what comes: full, or the last one. */
static int64_t chopin__save_fill(chopin_ctx *c, chopin__save_read reader, char *block, size_t size) {
    size_t  len = 0;
    int64_t n = 1;
    while (n > 0 && len < size) {
        n = reader(c, block + len, size - len);
        if (n > 0) len += (size_t)n;
    }
    return n < 0 ? n : (int64_t)len;
}

static int64_t chopin__save_all(chopin_ctx *c, chopin__save_read reader, int fd) {
    size_t  size = c->w->inputs.block_size;
    char   *block = chopin__pool_take(&c->w->inputs);
    int64_t total = 0, n = block ? 1 : CHOPIN_MEMORY;
    while (n > 0 && (n = chopin__save_fill(c, reader, block, size)) > 0) {
        chopin__save save = { .fd = fd, .ptr = block, .len = (size_t)n };
        int rc = chopin_offload(c, chopin__save_write, &save);
        total += n;
        if (rc != CHOPIN_OK) n = rc;
        if (save.error) errno = save.error;
    }
    if (block) chopin__pool_give(&c->w->inputs, block);
    return n < 0 ? n : total;
}

CHOPIN_API int64_t chopin_save_body(chopin_ctx *c, int fd) { return chopin__save_all(c, chopin_read, fd); }

/* ---- multipart ---- */

CHOPIN_API int chopin_next_part(chopin_ctx *c, chopin_part *part) {
    *part = (chopin_part){ .file = false };
    if (!c->upload) {
        c->upload = chopin__upload_begin(c, chopin_header_of(c, CHOPIN_H_CONTENT_TYPE));
        if (!c->upload) return c->reply.status ? CHOPIN_ANSWERED : CHOPIN_MEMORY;
        if (chopin_defer(c, chopin__upload_free, c->upload) != CHOPIN_OK) { c->upload = NULL; return CHOPIN_MEMORY; }
    }
    int rc = chopin__upload_next(c->upload);
    const chopin__multipart_part *p = &c->upload->m.part;
    if (rc > 0) *part = (chopin_part){ p->name, p->filename.ptr ? p->filename : p->extended, p->safe_name, p->type, p->file };
    return rc;
}

CHOPIN_API chopin_str chopin_part_header(chopin_ctx *c, const char *name) {
    return c->upload ? chopin__multipart_header(&c->upload->m.part, name) : chopin__absent();
}

CHOPIN_API int64_t chopin_part_read(chopin_ctx *c, void *buf, size_t n) { return c->upload && n ? chopin__upload_read(c->upload, buf, n) : 0; }

CHOPIN_API chopin_str chopin_part_text(chopin_ctx *c) {
    chopin__json_out out = { .arena = &c->arena };
    char    room[512];
    int64_t n;
    while ((n = chopin_part_read(c, room, sizeof room)) > 0) chopin__json_put(&out, room, (size_t)n);
    if (n < 0 || out.failed) return chopin__absent();
    return chopin__str(out.len ? out.ptr : "", out.len);
}

CHOPIN_API int64_t chopin_part_save(chopin_ctx *c, int fd) { return chopin__save_all(c, chopin_part_read, fd); }

/* A new file under a random name. */
static int chopin__part_create(chopin_ctx *c, const char *folder, chopin_str *path) {
    uint64_t a = chopin__random_seed(), b = chopin__random_seed();
    *path = chopin_printf(c, "%s/%016llx%016llx", folder, (unsigned long long)a, (unsigned long long)b);
    return path->ptr ? open(path->ptr, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
}

CHOPIN_API chopin_str chopin_part_store(chopin_ctx *c, const char *folder) {
    chopin_str path;
    int fd = chopin__part_create(c, folder, &path);
    if (fd < 0) { chopin__ctx_log(c, CHOPIN_ERROR, "chopin_part_store: no file in %s: %s", folder, strerror(errno)); return chopin__absent(); }
    int64_t n = chopin_part_save(c, fd);
    if (close(fd) != 0 && n >= 0) n = CHOPIN_SYSTEM;
    if (n >= 0) return path;
    unlink(path.ptr);
    return chopin__absent();
}

/* O_TMPFILE where the file system knows it; else a file whose name is taken away at once. */
static int chopin__part_nameless(chopin_ctx *c, const char *folder) {
    chopin_str path;
    int fd = -1;
#if defined(O_TMPFILE)
    fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
#endif
    if (fd < 0 && (fd = chopin__part_create(c, folder, &path)) >= 0) unlink(path.ptr);
    return fd;
}

CHOPIN_API int chopin_part_temp(chopin_ctx *c, const char *folder) {
    int fd = chopin__part_nameless(c, folder);
    if (fd < 0) { chopin__ctx_log(c, CHOPIN_ERROR, "chopin_part_temp: no file in %s: %s", folder, strerror(errno)); return CHOPIN_SYSTEM; }
    int64_t n = chopin_part_save(c, fd);
    if (n >= 0 && lseek(fd, 0, SEEK_SET) == 0) return fd;
    close(fd);
    return n < 0 ? (int)n : CHOPIN_SYSTEM;
}

CHOPIN_API chopin_handle chopin_handle_of(chopin_ctx *c) {
    return (chopin_handle){ c->w, chopin__slab_id(&c->w->slab, c->k), atomic_load_explicit(&c->k->serial, memory_order_relaxed) };
}

static int chopin__post_to(chopin_worker *w, chopin_handle handle, void (*fn)(chopin_ctx *c, void *arg), void *arg) {
    chopin__conn *k = chopin__slab_get(&w->slab, handle.id);
    if (!k || atomic_load_explicit(&k->serial, memory_order_relaxed) != handle.request) return CHOPIN_GONE;
    chopin__post *post = chopin__alloc(&w->site->heap, sizeof *post);
    if (!post) return CHOPIN_MEMORY;
    *post = (chopin__post){ .fn = fn, .arg = arg, .id = handle.id, .serial = handle.request };
    chopin__worker_send(w, post);
    return CHOPIN_OK;
}

/* The gate of chopin__server_wake_all(): no worker is taken apart while we look at it. */
CHOPIN_API int chopin_post(chopin_handle handle, void (*fn)(chopin_ctx *c, void *arg), void *arg) {
    chopin_worker  *w = handle.worker;
    chopin__server *s = w ? w->server : NULL;
    int rc = CHOPIN_GONE;
    if (!s) return rc;
    atomic_fetch_add(&s->wakers, 1);
    if (!atomic_load(&s->ending)) rc = chopin__post_to(w, handle, fn, arg);
    atomic_fetch_sub(&s->wakers, 1);
    return rc;
}

CHOPIN_API int chopin_park(chopin_ctx *c, int64_t deadline_ms) {
    chopin__wait wait = { .wakeable = true };
    int rc = CHOPIN_OK;
#if defined(CHOPIN_NO_FIBERS)
    while (!c->woken && (deadline_ms < 0 || c->w->now < deadline_ms)) {
        int64_t since = chopin__clock_ms();
        chopin__worker_inbox(c->w);                          // nobody else reads it meanwhile
        if (!c->woken) poll(NULL, 0, 1);
        chopin__wait_blocked(c->w, since);
    }
    rc = c->woken ? CHOPIN_OK : CHOPIN_TIMEOUT;
    (void)wait;
#else
    if (!c->woken) {
        atomic_fetch_add(&c->w->io.outside, 1);
        rc = chopin__event_wait(c, &wait, deadline_ms < 0 ? CHOPIN__NEVER : deadline_ms);
        atomic_fetch_sub(&c->w->io.outside, 1);
    }
#endif
    c->woken = false;
    return chopin__park_failed(c, rc);
}

CHOPIN_API void chopin_wake(chopin_ctx *c) {
    c->woken = true;
    if (c->wait && c->wait->wakeable) chopin__wake(c->w, c->wait, CHOPIN_OK);
}

CHOPIN_API int64_t chopin_now_ms(chopin_ctx *c) { return c->w->now; }
CHOPIN_API int64_t chopin_now_us(void) { return chopin__clock_us(); }
CHOPIN_API bool chopin_gone(chopin_ctx *c) { return c->gone || c->k->state == CHOPIN__DEAD; }

/* ---- testing ---- */

/* Plays scripted clients to a worker until all of them are served and the server has nothing left to do. */
static bool chopin__script_run(chopin__server *s, chopin__script *script, chopin_worker *w) {
    chopin__port *listener = chopin__slab_take(&w->slab);
    if (!listener) return false;
    chopin__port_open(listener, -1, CHOPIN__LISTENER);
    w->io.ops->attach(&w->io, listener, false);
    w->io.ops->start(&w->io, listener, CHOPIN__IN);
    w->stepping = true;
    w->step_until = CHOPIN__NEVER;
    w->now = w->wheel.now = script->now;
    (void)s;
    for (bool over = false; !over && !script->stuck; ) {
        chopin__worker_enter(w);
        over = w->parked_count == 0 && !w->ready;
        for (size_t i = 0; i < script->count; i++) over = over && script->clients[i].ended;
    }
    w->io.ops->detach(&w->io, listener, false);
    chopin__slab_give(&w->slab, listener);
    return true;
}

CHOPIN_API chopin_str chopin_test_request(chopin_app *app, chopin_str bytes, const chopin_test_options *options) {
    chopin__server *s = chopin__server_of(app);
    const chopin_test_options o = options ? *options : (chopin_test_options){ 0 };
    chopin__script_client client = { .in = bytes, .read_step = o.read_step, .write_step = o.write_step, .stop_after = o.stall_after,
                                     .keep_open = o.keep_open || o.stall_after, .reset = o.reset };
    chopin__port  *port = NULL;
    chopin__script script = { .clients = &client, .count = 1, .port = &port, .random = o.seed };
    chopin__release(&s->site.heap, (void *)(uintptr_t)s->test_reply.ptr, s->test_cap);
    s->test_reply = chopin__absent();
    s->test_cap = 0;
    if (chopin__server_freeze(s) != CHOPIN_OK) return chopin__absent();
    chopin_worker *w = NULL;
    if (posix_memalign((void **)&w, 64, (sizeof *w + 63) & ~(size_t)63) != 0) return chopin__absent();
    if (chopin__worker_init(w, &s->site, 0, &chopin__script_ops, &script)) {
        w->server = s;
        w->wait_cap = 0;
        const chopin_options *so = &s->site.options;
        memcpy(w->limiters, s->test_limiters, sizeof w->limiters);      // what a limit has counted outlives the call
        bool started = !so->on_worker_start || so->on_worker_start(w, so->user) >= 0;
        atomic_store(&s->ending, false);
        if (started) chopin__script_run(s, &script, w);
        chopin__worker_cut(w);
        if (started && so->on_worker_stop) so->on_worker_stop(w, so->user);
        memcpy(s->test_limiters, w->limiters, sizeof w->limiters);
        memset(w->limiters, 0, sizeof w->limiters);
    }
    chopin__server_close_gate(s);
    chopin__worker_done(w);
    free(w);
    s->test_reply = chopin__str(client.out ? client.out : chopin__alloc_zero(&s->site.heap, 1), client.out_len);
    s->test_cap = client.out ? client.out_cap : 1;
    return s->test_reply;
}

/* ---- main() ---- */

static void chopin__main_help(const char *program) {
    printf("usage: %s [serve|routes] [--listen ADDRESS]... [--workers N] [--help]\n"
           "  serve             run the server (the default)\n"
           "  routes            print the table of routes\n"
           "  --listen ADDRESS  host:port, :port, [v6]:port, unix:/path, fd:N, systemd  (default 127.0.0.1:8080)\n"
           "  --workers N       threads  (default: the CPUs we may run on)\n", program);
}

static void chopin__main_routes(chopin_app *app) {
    for (chopin__endpoint *e = app->site->endpoints; e; e = e->next) {
        printf("%-8.*s %-32.*s %-20s %s:%d\n", CHOPIN_FMT(e->route.method), CHOPIN_FMT(e->route.pattern), e->route.name, e->route.file, e->route.line);
    }
}

typedef struct chopin__main_words { bool routes, help, listened; } chopin__main_words;

/* The argument of --name, from "--name=x" or the next word; NULL if this is another word. */
static const char *chopin__main_option(char **argv, int argc, int *i, const char *name) {
    size_t len = strlen(name);
    if (strncmp(argv[*i], name, len) != 0) return NULL;
    if (argv[*i][len] == '=') return argv[*i] + len + 1;
    return argv[*i][len] == 0 && *i + 1 < argc ? argv[++*i] : NULL;
}

/* False: a word is unknown or its argument is no good; the reason has been printed. */
static bool chopin__main_parse(int argc, char **argv, chopin_app *app, chopin__main_words *words) {
    chopin__server *s = chopin__server_of(app);
    for (int i = 1; i < argc; i++) {
        const char *value;
        uint64_t    n;
        if (!strcmp(argv[i], "serve")) continue;
        if (!strcmp(argv[i], "routes")) { words->routes = true; continue; }
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) { words->help = true; continue; }
        const char *word = argv[i];
        if ((value = chopin__main_option(argv, argc, &i, "--listen")) != NULL) {
            words->listened = true;
            if (chopin_listen(app, value) != CHOPIN_OK) return false;
        } else if ((value = chopin__main_option(argv, argc, &i, "--workers")) != NULL) {
            if (!chopin__parse_u64(chopin__str_z(value), &n) || n < 1 || n > 4096) { fprintf(stderr, "%s: --workers takes a number from 1 to 4096\n", argv[0]); return false; }
            s->site.options.workers = (int)n;
        } else {
            fprintf(stderr, "%s: \"%s\" is unknown or lacks its argument; try --help\n", argv[0], word);
            return false;
        }
    }
    return true;
}

CHOPIN_API int chopin_main(int argc, char **argv, chopin_app *app) {
    chopin__main_words words = { false, false, false };
    if (!app) app = chopin_new(NULL);
    if (!app) { fprintf(stderr, "chopin: out of memory\n"); return 1; }
    bool ok = chopin_mount_all(app) == CHOPIN_OK && chopin__main_parse(argc, argv, app, &words);
    if (ok && words.help)        chopin__main_help(argc ? argv[0] : "server");
    else if (ok && words.routes) chopin__main_routes(app);
    else if (ok)                 ok = chopin_serve(app, words.listened || chopin__server_of(app)->addresses ? NULL : "127.0.0.1:8080") == CHOPIN_OK;
    chopin_free(app);
    return ok ? 0 : 1;
}

/* ==========================================================================================================
   >>folders   files and assets over HTTP, on top of the API: from a request to what >>files says about it, and out
   ========================================================================================================== */

/* ---- folders ---- */

static const char *const chopin__files_index_names[] = { "index.html", NULL };

static void chopin__files_end(chopin_worker *w) {
    chopin__files_done(w->files);
    chopin__release(&w->site->heap, w->files, sizeof *w->files);
    w->files = NULL;
}

/* The worker's; NULL: out of memory. */
static chopin__files *chopin__files_of(chopin_worker *w) {
    if (CHOPIN__LIKELY(w->files != NULL)) return w->files;
    chopin__files *f = chopin__alloc_zero(&w->site->heap, sizeof *f);
    if (!f) return NULL;
    if (!chopin__files_init(f, &w->site->heap, (uint32_t)w->site->options.file_cache)) {
        chopin__release(&w->site->heap, f, sizeof *f);
        return NULL;
    }
    w->files = f;
    w->files_done = chopin__files_end;
    return f;
}

static chopin__files_rules chopin__files_rules_of(const chopin_files_options *o, chopin__files_root *root) {
    return (chopin__files_rules){
        .root = root, .index = o->index ? o->index : chopin__files_index_names, .types = o->types, .cache_control = o->cache_control,
        .max_entries = o->max_entries ? o->max_entries : 10000, .max_ranges = o->max_ranges > 0 && o->max_ranges <= 256 ? (unsigned)o->max_ranges : 16,
        .cache_ms = o->cache_ms ? o->cache_ms : 1000, .dot_files = o->dot_files, .listing = o->listing, .precompressed = o->precompressed, .attachment = o->attachment,
    };
}

/* What the headers say about it. False: the arena is full. */
static bool chopin__files_request(chopin_ctx *c, chopin__file_request *r) {
    *r = (chopin__file_request){ .method = chopin__ctx_method(c), .path = chopin__ctx_path(c), .query = chopin_query_string(c),
                                 .now_s = c->w->wall_s, .now_ms = c->w->now };
    for (size_t i = 0; i < c->head.count; i++) {
        if (c->head.fields[i].id == CHOPIN_H_COUNT) continue;
        if (!chopin__file_request_add(r, c->head.fields[i].id, chopin__field_value(&c->head, c->base, i), &c->arena)) return false;
    }
    return true;
}

/* Small files are read, which costs less than a second way of sending: one call instead of two. */
static bool chopin__files_send_small(chopin_ctx *c, const chopin__file_answer *a, int *rc) {
    char room[CHOPIN__COPY_BELOW];
    if (a->part_count != 1 || a->length > sizeof room || a->parts[0].head.len) return false;
    const chopin__piece piece = { .fd = a->file->fd, .at = a->parts[0].at };
    bool head_only = chopin__equal(chopin__ctx_method(c), CHOPIN_STR("HEAD"));
    if (!head_only && chopin__fd_read(&piece, room, (size_t)a->length) != (int64_t)a->length) return false;
    chopin__file_release(a->file);
    *rc = chopin__answer_copy(c, a->status, a->type, chopin__str(room, (size_t)a->length));
    return true;
}

static int chopin__files_send_parts(chopin_ctx *c, const chopin__file_answer *a) {
    chopin__slices *slices = chopin__arena_alloc(&c->arena, sizeof *slices + a->part_count * sizeof slices->slice[0]);
    if (slices) {
        *slices = (chopin__slices){ .source = &chopin__fd_source, .fd = a->file->fd, .total = a->length, .tail = a->tail, .count = a->part_count };
        for (unsigned i = 0; i < a->part_count; i++) slices->slice[i] = (chopin__slice){ a->parts[i].head, a->parts[i].at, a->parts[i].len };
    }
    return chopin__answer_slices(c, a->status, a->type, slices, chopin__file_release, a->file);
}

static int chopin__files_send(chopin_ctx *c, const chopin__file_answer *a) {
    int rc;
    if (a->status >= 400 && a->status != 416) return chopin__fail(c, a->status, chopin__str_z(chopin__reason(a->status)));
    if (a->lines.len && !chopin__lines_append(&c->reply, &c->arena, a->lines)) {
        if (a->file) chopin__file_release(a->file);
        return CHOPIN_MEMORY;
    }
    if (a->file) return chopin__files_send_small(c, a, &rc) ? rc : chopin__files_send_parts(c, a);
    if (a->body.ptr) return chopin__answer(c, a->status, a->type, a->body, CHOPIN__BODY_BORROWED, NULL, NULL);
    return chopin__answer(c, a->status, chopin__absent(), chopin__absent(), CHOPIN__BODY_NONE, NULL, NULL);
}

static int chopin__files_serve(chopin_ctx *c, const chopin__files_rules *rules, chopin__file_request *r, chopin_str path) {
    chopin__files *f = chopin__files_of(c->w);
    chopin__file_answer answer = { .status = 503 };
    if (c->reply.status) return chopin__answer_refused(c, 200, CHOPIN__BODY_NONE, NULL, NULL, "");
    if (f) chopin__files_answer(f, rules, r, path, &c->arena, &answer);
    return chopin__files_send(c, &answer);
}

typedef struct chopin__folder {         // what chopin_files() serves
    chopin__files_root  root;
    chopin__files_rules rules;
} chopin__folder;

static int chopin__folder_handler(chopin_ctx *c) {
    chopin__folder *folder = chopin_route_user(c);
    chopin__file_request r;
    chopin_str path;
    const chopin__capture *rest = &c->spans[c->endpoint->route.param_count - 1];
    int status = chopin__path_decode(chopin__str(c->base + c->head.path + rest->at, rest->len), &c->arena, &path);
    if (status != 200) return chopin__fail(c, status, chopin__str_z(chopin__reason(status)));
    return chopin__files_request(c, &r) ? chopin__files_serve(c, &folder->rules, &r, path) : CHOPIN_MEMORY;
}

static void chopin__folder_close(void *arg) { chopin__files_root_close(&((chopin__folder *)arg)->root); }

CHOPIN_API int chopin_files_at(chopin_app *app, const char *prefix, const char *root, const chopin_files_options *options, const char *file, int line) {
    chopin__server *s = chopin__server_of(app);
    chopin_files_options o = options ? *options : (chopin_files_options){ 0 };
    chopin__folder *folder = chopin__server_own(s, sizeof *folder);
    size_t len = strlen(prefix);
    char  *pattern = chopin__server_own(s, len + sizeof "/*path");
    if (!folder || !pattern) return CHOPIN_MEMORY;
    if (!chopin__is_field_value(chopin__str_z(o.cache_control))) return chopin__server_fail(s, CHOPIN_INVALID, "%s:%d: chopin_files(%s): cache_control holds a control byte", file, line, prefix);
    int error = chopin__files_root_open(&folder->root, root);
    if (error) return chopin__server_fail(s, CHOPIN_SYSTEM, "%s:%d: chopin_files(%s): cannot open the folder %s: %s", file, line, prefix, root, strerror(-error));
    if (!chopin__server_at_end(s, chopin__folder_close, folder)) { chopin__folder_close(folder); return CHOPIN_MEMORY; }
    o.index = chopin__server_words(s, o.index);
    o.types = chopin__server_words(s, o.types);
    o.cache_control = chopin__server_text(s, o.cache_control);
    folder->rules = chopin__files_rules_of(&o, &folder->root);
    while (len && prefix[len - 1] == '/') len--;
    memcpy(chopin__put(pattern, prefix, len), "/*path", sizeof "/*path");
    return chopin_route_at(app, "GET", pattern, chopin__folder_handler, &(chopin_route_options){ .user = folder }, "chopin_files", file, line);
}

CHOPIN_API int chopin_file(chopin_ctx *c, const char *path, const chopin_files_options *options) {
    static const chopin_files_options none;
    chopin__files_root   anywhere = { .fd = AT_FDCWD, .anywhere = true };
    chopin__files_rules  rules = chopin__files_rules_of(options ? options : &none, &anywhere);
    chopin__file_request r;
    if (!chopin__files_request(c, &r)) return CHOPIN_MEMORY;
    r.download = options ? chopin__str_z(options->download) : chopin__absent();
    rules.cache_ms = 0;                                      // its root is ours alone: nothing is kept by it
    return chopin__files_serve(c, &rules, &r, chopin__str_z(path));
}

/* ---- assets ---- */

typedef struct chopin__asset {
    const chopin_asset *of;
    const char *cache_control;
    chopin_str  type;
    char        etag[19];               // of the plain bytes; the coded ones have another
} chopin__asset;

static int chopin__asset_handler(chopin_ctx *c) {
    const chopin__asset *a = chopin_route_user(c);
    chopin_str bytes = chopin__str((const char *)a->of->data, (size_t)(a->of->end - a->of->data));
    char       etag[24];
    chopin__accepted wants = chopin__accepted_read(chopin_header_of(c, CHOPIN_H_ACCEPT_ENCODING));
    bool gz = a->of->gz && chopin__coding_choose(&wants, 1u << CHOPIN__GZIP) == CHOPIN__GZIP;
    if (gz) bytes = chopin__str((const char *)a->of->gz, (size_t)(a->of->gz_end - a->of->gz));
    snprintf(etag, sizeof etag, gz ? "%.17sz\"" : "%s", a->etag);
    chopin_set(c, "ETag", etag);
    if (a->of->gz) chopin_set(c, "Vary", "Accept-Encoding");
    if (a->cache_control) chopin_set(c, "Cache-Control", a->cache_control);
    if (chopin__fixed_is_fresh(c, chopin__str_z(etag))) return chopin_empty(c, 304);
    if (gz) chopin_set(c, "Content-Encoding", "gzip");
    chopin_set(c, "X-Content-Type-Options", "nosniff");
    return chopin__answer(c, 200, a->type, bytes, CHOPIN__BODY_STATIC, NULL, NULL);
}

static int chopin__asset_add(chopin_app *app, const char *prefix, const chopin_asset *asset, const char *cache_control, const char *file, int line) {
    chopin__server *s = chopin__server_of(app);
    chopin__asset  *a = chopin__server_own(s, sizeof *a);
    size_t len = strlen(prefix), path_len = strlen(asset->path), index = sizeof "index.html" - 1;
    char  *path = chopin__server_own(s, len + path_len + 1);
    if (!a || !path) return CHOPIN_MEMORY;
    *a = (chopin__asset){ .of = asset, .cache_control = cache_control, .type = asset->type ? chopin__str_z(asset->type) : chopin__mime_of(chopin__str_z(asset->path), NULL) };
    snprintf(a->etag, sizeof a->etag, "\"%016llx\"", (unsigned long long)chopin__hash(7, asset->data, (size_t)(asset->end - asset->data)));
    while (len && prefix[len - 1] == '/') len--;
    memcpy(chopin__put(path, prefix, len), asset->path, path_len + 1);
    int rc = chopin_route_at(app, "GET", path, chopin__asset_handler, &(chopin_route_options){ .user = a }, "chopin_embed", file, line);
    if (rc != CHOPIN_OK || path_len <= index || strcmp(asset->path + path_len - index - 1, "/index.html") != 0) return rc;
    path[len + path_len - index] = 0;
    return chopin_route_at(app, "GET", path, chopin__asset_handler, &(chopin_route_options){ .user = a }, "chopin_embed", file, line);
}

CHOPIN_API int chopin_embed_at(chopin_app *app, const char *prefix, const chopin_asset *assets, size_t count, const char *cache_control, const char *file, int line) {
    chopin__server *s = chopin__server_of(app);
    const char *copy = chopin__server_text(s, cache_control);
    int rc = chopin__is_field_value(chopin__str_z(cache_control)) ? CHOPIN_OK
           : chopin__server_fail(s, CHOPIN_INVALID, "%s:%d: chopin_embed(%s): cache_control holds a control byte", file, line, prefix);
    for (size_t i = 0; rc == CHOPIN_OK && i < count; i++) rc = chopin__asset_add(app, prefix, &assets[i], copy, file, line);
    return rc;
}

#endif /* CHOPIN_HTTP_IMPLEMENTED */

/*
This software is available under two licences: choose whichever you prefer.

------------------------------------------------------------------------------
ALTERNATIVE A - MIT License
Copyright (c) 2026 the Chopin authors

Permission is hereby granted, free of charge, to any person obtaining a copy of
this software and associated documentation files (the "Software"), to deal in
the Software without restriction, including without limitation the rights to
use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies
of the Software, and to permit persons to whom the Software is furnished to do
so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.

------------------------------------------------------------------------------
ALTERNATIVE B - Public Domain (www.unlicense.org)

This is free and unencumbered software released into the public domain.
Anyone is free to copy, modify, publish, use, compile, sell, or distribute this
software, either in source code form or as a compiled binary, for any purpose,
commercial or non-commercial, and by any means.

In jurisdictions that recognize copyright laws, the author or authors of this
software dedicate any and all copyright interest in the software to the public
domain. We make this dedication for the benefit of the public at large and to
the detriment of our heirs and successors. We intend this dedication to be an
overt act of relinquishment in perpetuity of all present and future rights to
this software under copyright law.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN
ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION
WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
*/
