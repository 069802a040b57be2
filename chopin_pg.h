/* chopin_pg.h - v0.1.0 - PostgreSQL client in one C file - MIT or public domain, see end of file

   Do this in ONE .c file (best: a two-line chopin_pg.c), include it plainly elsewhere:
       #define CHOPIN_PG_IMPLEMENTATION
       #include "chopin_pg.h"
   Build:  cc -O2 app.c chopin_pg.c               (TLS: -DCHOPIN_PG_OPENSSL and -lssl -lcrypto)

   THE SMALLEST PROGRAM
       int main(void) {
           chopin_pg *db = chopin_pg_open(&(chopin_pg_options){ .url = "postgres://me@localhost/shop" });   // .url NULL: the PG* variables
           chopin_pg_rows *r = chopin_pg_query(db, "select id, name from users where age > $1", 18);
           while (chopin_pg_next(r)) printf("%d %.*s\n", chopin_pg_i32(r, 0), CHOPIN_FMT(chopin_pg_text(r, 1)));
           if (chopin_pg_end(r) < 0) fprintf(stderr, "%s\n", chopin_pg_why(db));
           chopin_pg_close(db);
       }

   WHAT IT DOES, WHAT IT DOES NOT
   The wire protocol (3.0 and 3.2) from scratch: typed queries, prepared without being asked, pipelined between the fibers that share a connection;
   batches, streams, transactions, COPY both ways, LISTEN, a pool, deadlines on everything, cancel that never hits a neighbour. All common types in text
   and binary. SCRAM-SHA-256 and -PLUS, md5, password; TLS through a hook, with an OpenSSL adapter. Blocking by itself, parking fibers under chopin.h.
   Never: literal quoting, large objects, the fast path, GSSAPI and SSPI, replication, other protocols than 3, Windows.

   MAP OF THIS FILE
   Declarations: chopin_str, status, errors, options; parameters and getters; queries, COPY, LISTEN, pool; TLS and the glue to chopin.h. Then, if
   implemented here, rooms; each calls only rooms above it, and what must reach upwards is a function pointer:
       >>platform   system includes, compiler, clocks          >>param      C values to parameters
       >>bytes      views, numbers, UTF-8, byte order          >>getters    a column as a C value
       >>memory     allocator hook, arena                      >>conn       one connection; readers and writers
       >>hash       MD5, SHA-256, HMAC, PBKDF2, base64         >>pipeline   operations in flight
       >>error      one error with all its fields              >>cache      prepared statements
       >>dsn        URI, keywords, files, environment          >>rows       results
       >>auth       passwords, md5, SCRAM: a pure machine      >>dial       from a host list to a ready connection
       >>tls        the hook, the OpenSSL adapter              >>cancel     the second connection that cancels
       >>wire       every message, bounds-checked, pure        >>pool       connections shared, borrowed, replaced
       >>trace      messages as lines, as PQtrace has them     >>tx         transactions, batches
       >>numeric    exact decimals                             >>copy       COPY both ways
       >>datetime   dates, times, intervals                    >>listen     LISTEN and NOTIFY
       >>view       what getters see of a row                  >>public     the API: check arguments, call one room
       >>value      the codecs of all types                    >>glue       a pool per worker, when chopin.h came first

   COMPILE-TIME SWITCHES
       CHOPIN_PG_IMPLEMENTATION     implement this header here; CHOPIN_IMPLEMENTATION: all Chopin headers included here
       CHOPIN_PG_API                what stands before declarations       (default CHOPIN_API, else extern)
       CHOPIN_PG_ASSERT(x)          our own mistakes                      (default: abort with the line unless NDEBUG)
       CHOPIN_PG_OPENSSL            compile the OpenSSL adapter (1.1.1 or newer) and use it when chopin_pg_options.tls is NULL

   MEMORY AND OWNERSHIP
   Handles and results are yours from the call that made them to their close or end. What getters give are views into the receive buffer: they live until the
   next chopin_pg_next() on the same rows. chopin_pg_options.alloc replaces malloc for all of it; what a peer announces is never allocated before it came.

   THREADS
   A pool and everything made from it belong to one thread; open one pool per thread. The process has no state of ours.

   ERRORS
   0 or a negative chopin_pg_status; counts share the value. No call gives NULL: a handle that could not be made says why. Rows, transactions, batches and
   COPY keep their first error and later calls on them do nothing. chopin_pg_why() is one line, chopin_pg_error_of() all fields.

   SECURITY
   Clear text is never silent: without TLS a host that is not local needs sslmode=disable. Values never become part of SQL text. A server is not
   trusted with lengths, counts, terminators, iteration counts or the right to skip its own proof. Error texts never contain the password. */

#if (defined(CHOPIN_IMPLEMENTATION) || defined(CHOPIN_PG_IMPLEMENTATION)) && !defined(CHOPIN_PG_IMPLEMENTED) && !defined(_GNU_SOURCE)
#if defined(_FEATURES_H) || defined(_ERRNO_H) || defined(_STDLIB_H) || defined(_STDIO_H)
#error "chopin_pg.h: its implementation must come before the first system header (it defines _GNU_SOURCE), best in a .c file of its own"
#endif
#define _GNU_SOURCE 1
#endif
#if !defined(_FILE_OFFSET_BITS) && (defined(CHOPIN_IMPLEMENTATION) || defined(CHOPIN_PG_IMPLEMENTATION))
#define _FILE_OFFSET_BITS 64
#endif

#ifndef CHOPIN_PG_H
#define CHOPIN_PG_H

#define CHOPIN_PG_VERSION_MAJOR 0
#define CHOPIN_PG_VERSION_MINOR 1
#define CHOPIN_PG_VERSION_PATCH 0
#define CHOPIN_PG_VERSION "0.1.0"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef CHOPIN_PG_API
#ifdef CHOPIN_API
#define CHOPIN_PG_API CHOPIN_API
#else
#define CHOPIN_PG_API extern
#endif
#endif

#ifdef __GNUC__
#define CHOPIN_PG__PRINTF(at, first) __attribute__((format(printf, at, first)))
#else
#define CHOPIN_PG__PRINTF(at, first)
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

/* ---- status: what every call that can fail returns; 0 or a count is good, failures are negative ---- */
#define CHOPIN_PG_STATUSES(X)                                                                                                \
    X(OK,          0, "no error")                                                                                            \
    X(CONNECT,    -1, "no connection (address, port, socket, or a server that is starting, stopping or full)")               \
    X(AUTH,       -2, "the server refused who we are, or we refused how it asked")                                           \
    X(TLS,        -3, "no secure connection as sslmode demands")                                                             \
    X(PROTOCOL,   -4, "the server sent what the protocol does not allow; the connection was closed")                         \
    X(SERVER,     -5, "the server answered with an error (see sqlstate)")                                                    \
    X(TIMEOUT,    -6, "the deadline passed")                                                                                 \
    X(CANCELED,   -7, "given up: the client of this request is gone, or the program stops")                                  \
    X(POOL,       -8, "no connection became free in time (raise shared, exclusive, max_waiting or acquire_ms)")              \
    X(MEMORY,     -9, "out of memory, or over max_result or max_message")                                                    \
    X(WAS_NULL,  -10, "the value is NULL (use chopin_pg_is_null or a getter with a default)")                                \
    X(RANGE,     -11, "the value does not fit the type that was asked for")                                                  \
    X(TYPE,      -12, "the column's type cannot be read like this")                                                          \
    X(ARG,       -13, "an argument or the connection string is not valid")                                                   \
    X(UNSAFE,    -14, "not possible on a shared connection (use chopin_pg_pin or chopin_pg_begin)")                          \
    X(CONFLICT,  -15, "the row was changed or exists already")                                                               \
    X(TOO_MANY,  -16, "more rows than were asked for")                                                                       \
    X(LOST,      -17, "sent, but the connection broke before the answer: the outcome is unknown")

typedef enum chopin_pg_status {
#define CHOPIN_PG__ENUM(name, value, text) CHOPIN_PG_##name = (value),
    CHOPIN_PG_STATUSES(CHOPIN_PG__ENUM)
#undef CHOPIN_PG__ENUM
    CHOPIN_PG_STATUS_LAST_ = 0
} chopin_pg_status;

/* The text of a status in lower case, and its name without prefix ("TIMEOUT"); a count is OK. Never NULL. Any thread. */
CHOPIN_PG_API const char *chopin_pg_status_text(int status);
CHOPIN_PG_API const char *chopin_pg_status_name(int status);

/* CHOPIN_PG_VERSION of the implementation that was linked. Any thread. */
CHOPIN_PG_API const char *chopin_pg_version(void);

/* ---- the objects; all of them belong to the thread that opened their pool ---- */
typedef struct chopin_pg          chopin_pg;          /* pool, scope, pin, transaction or batch */
typedef struct chopin_pg_rows     chopin_pg_rows;     /* a result, being read */
typedef struct chopin_pg_copy     chopin_pg_copy;     /* COPY FROM STDIN, being sent */
typedef struct chopin_pg_listener chopin_pg_listener; /* a connection that listens */

/* ---- errors ---- */

/* May the same work be tried again? NEVER: it would fail again. TRANSACTION: from its BEGIN on (40001, 40P01). UNSENT: not a byte of it left, so yes.
 * UNKNOWN: it may have been done (LOST, a deadline after it was sent): only if doing it twice is harmless. */
typedef enum chopin_pg_retry_class {
    CHOPIN_PG_RETRY_NEVER, CHOPIN_PG_RETRY_TRANSACTION, CHOPIN_PG_RETRY_UNSENT, CHOPIN_PG_RETRY_UNKNOWN
} chopin_pg_retry_class;

/* An error or a notice with all the server said. Absent fields have .ptr NULL. Texts belong to the object the error was asked from; on a pool they last
 * until the caller next waits. `detail` and `where` may quote values of rows; `why` never does. */
typedef struct chopin_pg_error {
    int         status;               /* chopin_pg_status */
    chopin_pg_retry_class retry;      /* may it be tried again? */
    char        sqlstate[6];          /* five characters; empty when the error is not the server's */
    bool        unauthenticated;      /* the text came before TLS was up: anybody on the way may have written it */
    int         statement;            /* of a batch or script: which one, from 0; otherwise -1 */
    const char *why;                  /* one line for people: message, SQLSTATE, hint, place in the SQL. Never NULL once an error was set */
    chopin_str  severity;             /* S: perhaps translated */
    chopin_str  severity_plain;       /* V: ERROR, FATAL, PANIC, WARNING, NOTICE, DEBUG, INFO, LOG; behind old poolers the same as S */
    chopin_str  message;              /* M */
    chopin_str  detail;               /* D */
    chopin_str  hint;                 /* H */
    chopin_str  where;                /* W: call stack of functions */
    chopin_str  schema;               /* s */
    chopin_str  table;                /* t */
    chopin_str  column;               /* c */
    chopin_str  data_type;            /* d */
    chopin_str  constraint;           /* n */
    chopin_str  internal_query;       /* q: the SQL a function ran */
    chopin_str  file;                 /* F: of the server's source */
    chopin_str  routine;              /* R */
    chopin_str  sql;                  /* the statement, when it is known */
    int         position;             /* P: character of `sql`, from 1; 0 when there is none */
    int         internal_position;    /* p: the same in `internal_query` */
    int         source_line;          /* L: of `file` */
    void       *heap_;                /* private */
    void       *store_;               /* private */
    size_t      store_size_;          /* private */
    char        line_[160];           /* private */
} chopin_pg_error;

/* A longer text for people: message, SQLSTATE, detail, hint, where, and the line of the SQL with a caret under the place. Always ends with NUL, is cut at
 * `cap`, and gives the length it would have had. Contains values of rows if `detail` does. */
CHOPIN_PG_API size_t chopin_pg_error_text(const chopin_pg_error *e, char *out, size_t cap);

/* Which rule did the row break? `constraint` NULL: any. False for NULL errors and for errors of other kinds. See examples/pg_crud.c. */
CHOPIN_PG_API bool chopin_pg_is_unique(const chopin_pg_error *e, const char *constraint);   /* 23505 */
CHOPIN_PG_API bool chopin_pg_is_fk(const chopin_pg_error *e, const char *constraint);       /* 23503 */
CHOPIN_PG_API bool chopin_pg_is_check(const chopin_pg_error *e, const char *constraint);    /* 23514 */
CHOPIN_PG_API bool chopin_pg_is_not_null(const chopin_pg_error *e, const char *column);     /* 23502, by column */
CHOPIN_PG_API bool chopin_pg_is_exclusion(const chopin_pg_error *e, const char *constraint);/* 23P01 */

/* ---- waiting: how the client waits for its sockets, replaceable (chopin_wait of chopin.h speaks the same words) ----
 * wait(ctx, fd, events, deadline_ms): deadline on CLOCK_MONOTONIC, -1 for none. READ, WRITE: until fd is ready; gives the ready ones, 0 at the deadline,
 * negative: give up. TURN: back when every other runnable fiber and socket had its go. TICKET: gives a fresh ticket. PARK: sleep as ticket `fd` until
 * WAKE (1) or the deadline (0). WAKE: wakes ticket `fd`, also before it parked, and returns at once. The default blocks in poll() and never parks. */
enum { CHOPIN_PG_READ = 1, CHOPIN_PG_WRITE = 2, CHOPIN_PG_TURN = 4, CHOPIN_PG_PARK = 8, CHOPIN_PG_WAKE = 16, CHOPIN_PG_TICKET = 32 };
typedef int (*chopin_pg_wait)(void *ctx, int fd, int events, int64_t deadline_ms);

/* ---- options: zero is a good client; defaults are resolved once, in chopin_pg_open() ---- */
typedef enum chopin_pg_level { CHOPIN_PG_DEBUG, CHOPIN_PG_INFO, CHOPIN_PG_WARNING, CHOPIN_PG_ERROR } chopin_pg_level;

/* What on_event hears. Zero where it does not apply; the texts last for the call. */
typedef enum chopin_pg_event_kind {
    CHOPIN_PG_ON_CONNECT, CHOPIN_PG_ON_PREPARE, CHOPIN_PG_ON_QUERY, CHOPIN_PG_ON_END, CHOPIN_PG_ON_COPY, CHOPIN_PG_ON_ACQUIRE, CHOPIN_PG_ON_RELEASE,
    CHOPIN_PG_ON_RECONNECT
} chopin_pg_event_kind;
typedef struct chopin_pg_event {
    chopin_pg_event_kind kind;
    uint32_t    pid;                  /* of the server process */
    int         status;               /* 0, or why it failed */
    int64_t     ns;                   /* how long it took */
    int64_t     rows;                 /* rows returned or affected */
    int64_t     bytes;                /* of values received or sent */
    const char *sqlstate;             /* "" when there was no error */
    chopin_str  sql;                  /* the statement */
} chopin_pg_event;

/* One numeric address, as a `resolve` hook gives it: 4 or 16 bytes in network order. */
typedef struct chopin_pg_address {
    uint8_t     bytes[16];
    uint8_t     len;                  /* 4 or 16 */
    uint32_t    scope;                /* IPv6 zone, else 0 */
} chopin_pg_address;

typedef struct chopin_pg_tls chopin_pg_tls;   /* how to speak TLS: see below */

typedef struct chopin_pg_options {
    /* where and as whom */
    const char *url;                  /* postgres:// URI or "key=value ..."   (default: the PG* environment variables, then libpq's defaults) */
    const char *application_name;     /* shown in pg_stat_activity            (default: of url or PGAPPNAME, else none) */
    const char *setup;                /* SQL run on each new connection       (default: none) */
    bool        no_env;               /* ignore the PG* variables, service and password files that url does not name */
    bool        allow_password;       /* send a clear text password over TCP without TLS when asked for one */
    int         max_iterations;       /* SCRAM rounds a server may ask for    (default 100000) */
    /* waiting */
    chopin_pg_wait wait;              /* see above                            (default: poll(), blocking) */
    void       *wait_ctx;             /* first argument of wait; with chopin_wait: the worker */
    /* pool */
    int         shared;               /* connections that fibers share        (default 2) */
    int         exclusive;            /* connections for pins, transactions, COPY, streams  (default 8) */
    int         max_waiting;          /* callers that may wait for one        (default 1024) */
    int         acquire_ms;           /* how long they wait                   (default 5000) */
    int64_t     lifetime_ms;          /* a connection is replaced at release after this long, +-10 %  (default 1 h; -1 never) */
    int64_t     idle_ms;              /* an unused one is closed              (default 10 min; -1 never) */
    /* deadlines, milliseconds */
    int         connect_ms;           /* resolve, connect, TLS, login of all hosts together  (default 10000; connect_timeout of the url counts too) */
    int         query_ms;             /* each query                           (default 0: none) */
    int         grace_ms;             /* to cancel, drain or roll back before a connection is given up  (default 2000) */
    int         stall_ms;             /* an unread result may hold a shared connection up  (default 1000) */
    /* bounds */
    int         statement_cache;      /* prepared statements per connection   (default 256; -1: none, for old poolers) */
    size_t      max_message;          /* bytes of one message of the server   (default 256 MiB, at most 1 GiB - 1) */
    size_t      max_result;           /* bytes of one unread result           (default 1 GiB) */
    /* hooks */
    const chopin_pg_tls *tls;         /* how to speak TLS                     (default: the OpenSSL adapter if compiled in, else none) */
    int       (*resolve)(void *ctx, const char *host, chopin_pg_address *out, int cap);   /* names to addresses; gives how many, negative: failed  (default getaddrinfo) */
    void       *resolve_ctx;
    int       (*password)(void *ctx, const char *host, const char *user, const char *dbname, char *out, size_t cap);   /* gives the length; negative: none */
    void       *password_ctx;
    void     *(*alloc)(void *ctx, void *ptr, size_t old_size, size_t new_size);           /* new_size 0 frees  (default: the malloc family) */
    void       *alloc_ctx;
    void      (*log)(void *ctx, chopin_pg_level level, const char *text);                 /* (default: warnings and errors to stderr) */
    void       *log_ctx;
    void      (*on_notice)(void *ctx, const chopin_pg_error *notice);                     /* (default: dropped) */
    void       *notice_ctx;
    void      (*on_event)(void *ctx, const chopin_pg_event *event);
    void       *event_ctx;
    void      (*trace)(void *ctx, const char *line);                                      /* one line a message, as PQtrace prints them without time */
    void       *trace_ctx;
} chopin_pg_options;


/* ---- values: what columns and parameters are in C, beside bool, the integers, float, double and text ----
 * Times count microseconds, dates count days; the largest and smallest number mean infinity and -infinity. */
#ifndef CHOPIN_TIME_DEFINED
#define CHOPIN_TIME_DEFINED
typedef struct chopin_time { int64_t us; } chopin_time;             /* since 1970-01-01 00:00 UTC; INT64_MAX: infinity, INT64_MIN: -infinity */
typedef struct chopin_uuid { uint8_t bytes[16]; } chopin_uuid;      /* in the order they are written */
#endif
typedef struct chopin_date { int32_t days; } chopin_date;           /* since 1970-01-01; INT32_MAX: infinity, INT32_MIN: -infinity */
typedef struct chopin_clock {         /* time and timetz */
    int64_t     us;                   /* since midnight; 24:00:00 is 86400000000 */
    int32_t     east;                 /* seconds east of UTC, of timetz */
    bool        zoned;                /* is it a timetz? */
} chopin_clock;
typedef struct chopin_interval {      /* three numbers that are never folded into each other; all at their maximum: infinity (PostgreSQL 17) */
    int64_t     us;
    int32_t     days;
    int32_t     months;
} chopin_interval;
typedef struct chopin_inet {          /* inet and cidr */
    uint8_t     bytes[16];            /* 4 or 16 of them, in network order */
    uint8_t     len;                  /* 4 or 16 */
    uint8_t     bits;                 /* of the network: 32 or 128 for a single host */
    bool        cidr;                 /* is it a cidr? */
} chopin_inet;
typedef struct chopin_mac { uint8_t bytes[8]; uint8_t len; } chopin_mac;          /* macaddr: len 6; macaddr8: 8 */
typedef struct chopin_point { double x, y; } chopin_point;
typedef struct chopin_bits { const uint8_t *bytes; size_t count; } chopin_bits;   /* bit i is bytes[i / 8] >> (7 - i % 8) & 1 */

/* Flags of ranges. EMPTY stands alone; INF: there is no bound on that side (a bound of 'infinity' is a bound). */
enum { CHOPIN_PG_EMPTY = 1, CHOPIN_PG_LOWER_INC = 2, CHOPIN_PG_UPPER_INC = 4, CHOPIN_PG_LOWER_INF = 8, CHOPIN_PG_UPPER_INF = 16 };

/* ---- parameters: what stands behind the SQL in chopin_pg_query() and its kin ----
 * bool, every integer and floating type, char *, chopin_str, the structs above, CHOPIN_PG_NULL and what the constructors below give; another C type does not
 * compile (`char` neither: is it a letter or a number?). Values are converted to the type the server wants, with a range check: an int fits a bigint, a
 * double, a numeric, a text, and a smallint if it is small. Text goes into anything, the server reads it. A NULL char * and an absent chopin_str are NULL.
 * Parameters borrow what they point at until the call they are given to returns. A compound literal with commas needs parentheses of its own there:
 * chopin_pg_query(db, sql, ((chopin_point){ 1, 2 })). Before C23 `true` is an int, which a boolean column takes as well; for text and json write (bool)true. */
typedef struct chopin_pg_param chopin_pg_param;
struct chopin_pg_param {              /* all of it private */
    int         kind;
    unsigned    flags;
    union {
        bool            boolean;
        int64_t         i64;
        uint64_t        u64;
        float           f32;
        double          f64;
        chopin_str      text;
        chopin_time     time;
        chopin_date     date;
        chopin_clock    clock;
        chopin_interval interval;
        chopin_uuid     uuid;
        chopin_inet     inet;
        chopin_mac      mac;
        chopin_point    point;
        chopin_bits     bits;
        struct { int64_t unscaled; int scale; } decimal;
        struct { const void *items; size_t count; } list;
    } as;
};

enum {
    CHOPIN_PG__P_NULL, CHOPIN_PG__P_BOOL, CHOPIN_PG__P_I64, CHOPIN_PG__P_U64, CHOPIN_PG__P_F32, CHOPIN_PG__P_F64, CHOPIN_PG__P_TEXT, CHOPIN_PG__P_BYTES,
    CHOPIN_PG__P_NUMERIC, CHOPIN_PG__P_DECIMAL, CHOPIN_PG__P_TIME, CHOPIN_PG__P_DATE, CHOPIN_PG__P_CLOCK, CHOPIN_PG__P_INTERVAL, CHOPIN_PG__P_UUID,
    CHOPIN_PG__P_INET, CHOPIN_PG__P_MAC, CHOPIN_PG__P_POINT, CHOPIN_PG__P_BITS,
    CHOPIN_PG__P_ARRAY, CHOPIN_PG__P_RANGE, CHOPIN_PG__P_MULTIRANGE, CHOPIN_PG__P_RECORD, CHOPIN_PG__P_I32S, CHOPIN_PG__P_I64S, CHOPIN_PG__P_F64S, CHOPIN_PG__P_BOOLS, CHOPIN_PG__P_TEXTS
};

/* Constructors. Bytes are a bytea. `as_numeric` takes exact decimal text ("0.00001234", "NaN", "-Infinity"), `as_decimal` an integer and how many of its
 * digits stand behind the point: (12345, 2) is 123.45. `as_json` is text that says what it is for. */
CHOPIN_PG_API chopin_pg_param chopin_pg_as_bytes(const void *bytes, size_t count);
CHOPIN_PG_API chopin_pg_param chopin_pg_as_json(chopin_str json);
CHOPIN_PG_API chopin_pg_param chopin_pg_as_numeric(chopin_str text);
CHOPIN_PG_API chopin_pg_param chopin_pg_as_decimal(int64_t unscaled, int scale);

/* One parameter that is an array: `where id = any($1)`. It borrows `items`. */
CHOPIN_PG_API chopin_pg_param chopin_pg_i32s(const int32_t *items, size_t count);
CHOPIN_PG_API chopin_pg_param chopin_pg_i64s(const int64_t *items, size_t count);
CHOPIN_PG_API chopin_pg_param chopin_pg_f64s(const double *items, size_t count);
CHOPIN_PG_API chopin_pg_param chopin_pg_bools(const bool *items, size_t count);
CHOPIN_PG_API chopin_pg_param chopin_pg_texts(const chopin_str *items, size_t count);   /* absent ones (.ptr NULL) are NULL */

/* Arrays of anything, with NULLs, and of arrays (all of the same size: more dimensions, at most 6); ranges; composites.
 *
 *     chopin_pg_as_array(CHOPIN_PG_ARGS(1, 2, CHOPIN_PG_NULL))
 *     chopin_pg_as_range(CHOPIN_PG_LOWER_INC | CHOPIN_PG_UPPER_INF, CHOPIN_PG_ARGS(from, CHOPIN_PG_NULL))       // always two bounds
 *     chopin_pg_as_record(CHOPIN_PG_ARGS("Ann", 7, CHOPIN_PG_NULL))                                              // write $1::your_type
 */
CHOPIN_PG_API chopin_pg_param chopin_pg_as_array(const chopin_pg_param *items, size_t count);
CHOPIN_PG_API chopin_pg_param chopin_pg_as_range(unsigned flags, const chopin_pg_param *bounds, size_t two);
CHOPIN_PG_API chopin_pg_param chopin_pg_as_multirange(const chopin_pg_param *ranges, size_t count);
CHOPIN_PG_API chopin_pg_param chopin_pg_as_record(const chopin_pg_param *fields, size_t count);

#define CHOPIN_PG__FROM(name, type, kind_, member)                                                                          \
    static inline chopin_pg_param chopin_pg__from_##name(type value) {                                                      \
        chopin_pg_param p;                                                                                                  \
        p.kind = (kind_);                                                                                                   \
        p.flags = 0;                                                                                                        \
        p.as.member = value;                                                                                                \
        return p;                                                                                                           \
    }
CHOPIN_PG__FROM(bool,     bool,               CHOPIN_PG__P_BOOL,     boolean)
CHOPIN_PG__FROM(i64,      long long,          CHOPIN_PG__P_I64,      i64)
CHOPIN_PG__FROM(u64,      unsigned long long, CHOPIN_PG__P_U64,      u64)
CHOPIN_PG__FROM(f32,      float,              CHOPIN_PG__P_F32,      f32)
CHOPIN_PG__FROM(f64,      double,             CHOPIN_PG__P_F64,      f64)
CHOPIN_PG__FROM(time,     chopin_time,        CHOPIN_PG__P_TIME,     time)
CHOPIN_PG__FROM(date,     chopin_date,        CHOPIN_PG__P_DATE,     date)
CHOPIN_PG__FROM(clock,    chopin_clock,       CHOPIN_PG__P_CLOCK,    clock)
CHOPIN_PG__FROM(interval, chopin_interval,    CHOPIN_PG__P_INTERVAL, interval)
CHOPIN_PG__FROM(uuid,     chopin_uuid,        CHOPIN_PG__P_UUID,     uuid)
CHOPIN_PG__FROM(inet,     chopin_inet,        CHOPIN_PG__P_INET,     inet)
CHOPIN_PG__FROM(mac,      chopin_mac,         CHOPIN_PG__P_MAC,      mac)
CHOPIN_PG__FROM(point,    chopin_point,       CHOPIN_PG__P_POINT,    point)
CHOPIN_PG__FROM(bits,     chopin_bits,        CHOPIN_PG__P_BITS,     bits)
#undef CHOPIN_PG__FROM

static inline chopin_pg_param chopin_pg__from_str(chopin_str value) {
    chopin_pg_param p;
    p.kind = value.ptr ? CHOPIN_PG__P_TEXT : CHOPIN_PG__P_NULL;
    p.flags = 0;
    p.as.text = value;
    return p;
}

static inline chopin_pg_param chopin_pg__from_z(const char *value) {
    chopin_str s;
    s.ptr = value;
    s.len = 0;
    while (value && value[s.len]) s.len++;
    return chopin_pg__from_str(s);
}

static inline chopin_pg_param chopin_pg__from_param(chopin_pg_param value) { return value; }

/* The SQL NULL. */
#define CHOPIN_PG_NULL chopin_pg__from_z((const char *)0)

/* Any value as a parameter; chopin_pg_query() and its kin do this to each of their arguments. */
#ifndef __cplusplus
#define chopin_pg_param_of(x) _Generic((x),                                                                                 \
    bool: chopin_pg__from_bool,                                                                                             \
    signed char: chopin_pg__from_i64, short: chopin_pg__from_i64, int: chopin_pg__from_i64, long: chopin_pg__from_i64,      \
    long long: chopin_pg__from_i64, unsigned char: chopin_pg__from_u64, unsigned short: chopin_pg__from_u64,                \
    unsigned int: chopin_pg__from_u64, unsigned long: chopin_pg__from_u64, unsigned long long: chopin_pg__from_u64,         \
    float: chopin_pg__from_f32, double: chopin_pg__from_f64, char *: chopin_pg__from_z, const char *: chopin_pg__from_z,    \
    chopin_str: chopin_pg__from_str, chopin_time: chopin_pg__from_time, chopin_date: chopin_pg__from_date,                  \
    chopin_clock: chopin_pg__from_clock, chopin_interval: chopin_pg__from_interval, chopin_uuid: chopin_pg__from_uuid,      \
    chopin_inet: chopin_pg__from_inet, chopin_mac: chopin_pg__from_mac, chopin_point: chopin_pg__from_point,                \
    chopin_bits: chopin_pg__from_bits, chopin_pg_param: chopin_pg__from_param)(x)
#define CHOPIN_PG__LIST(count, ...) (const chopin_pg_param[]){ __VA_ARGS__ }, count
#else
extern "C++" {
#define CHOPIN_PG__OVERLOAD(type, name) static inline chopin_pg_param chopin_pg_param_of(type value) { return chopin_pg__from_##name(value); }
CHOPIN_PG__OVERLOAD(bool, bool)
CHOPIN_PG__OVERLOAD(signed char, i64)
CHOPIN_PG__OVERLOAD(short, i64)
CHOPIN_PG__OVERLOAD(int, i64)
CHOPIN_PG__OVERLOAD(long, i64)
CHOPIN_PG__OVERLOAD(long long, i64)
CHOPIN_PG__OVERLOAD(unsigned char, u64)
CHOPIN_PG__OVERLOAD(unsigned short, u64)
CHOPIN_PG__OVERLOAD(unsigned int, u64)
CHOPIN_PG__OVERLOAD(unsigned long, u64)
CHOPIN_PG__OVERLOAD(unsigned long long, u64)
CHOPIN_PG__OVERLOAD(float, f32)
CHOPIN_PG__OVERLOAD(double, f64)
CHOPIN_PG__OVERLOAD(const char *, z)
CHOPIN_PG__OVERLOAD(chopin_str, str)
CHOPIN_PG__OVERLOAD(chopin_time, time)
CHOPIN_PG__OVERLOAD(chopin_date, date)
CHOPIN_PG__OVERLOAD(chopin_clock, clock)
CHOPIN_PG__OVERLOAD(chopin_interval, interval)
CHOPIN_PG__OVERLOAD(chopin_uuid, uuid)
CHOPIN_PG__OVERLOAD(chopin_inet, inet)
CHOPIN_PG__OVERLOAD(chopin_mac, mac)
CHOPIN_PG__OVERLOAD(chopin_point, point)
CHOPIN_PG__OVERLOAD(chopin_bits, bits)
CHOPIN_PG__OVERLOAD(chopin_pg_param, param)
#undef CHOPIN_PG__OVERLOAD
static inline chopin_pg_param chopin_pg_param_of(char *value) { return chopin_pg__from_z(value); }
chopin_pg_param chopin_pg_param_of(char) = delete;
chopin_pg_param chopin_pg_param_of(long double) = delete;
chopin_pg_param chopin_pg_param_of(decltype(nullptr)) = delete;         /* write CHOPIN_PG_NULL */
template <class T> chopin_pg_param chopin_pg_param_of(T *) = delete;    /* else a pointer would become a bool */
template <size_t n> struct chopin_pg__pack {
    chopin_pg_param items[n];
    const chopin_pg_param *list() const { return items; }
};
}
#define CHOPIN_PG__LIST(count, ...) chopin_pg__pack<count>{ { __VA_ARGS__ } }.list(), count
#endif

/* Values as an array of parameters: gives two arguments, `const chopin_pg_param *` and their number; at most 65 values (the SQL and 64 parameters: more go
 * through chopin_pg_query_args). The array lives as long as the block (C) or the full expression (C++) it is written in. */
#define CHOPIN_PG_ARGS(...) CHOPIN_PG__LIST(CHOPIN_PG__NARGS(__VA_ARGS__), CHOPIN_PG__PASTE(CHOPIN_PG__MAP_, CHOPIN_PG__NARGS(__VA_ARGS__))(__VA_ARGS__))
#define CHOPIN_PG__PASTE(a, b)  CHOPIN_PG__PASTE_(a, b)
#define CHOPIN_PG__PASTE_(a, b) a##b
#define CHOPIN_PG__NARGS(...) CHOPIN_PG__NARGS_(__VA_ARGS__, 65, 64, 63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44,   \
    43, 42, 41, 40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7,   \
    6, 5, 4, 3, 2, 1, 0)
#define CHOPIN_PG__NARGS_(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22, a23, a24, a25, a26,     \
    a27, a28, a29, a30, a31, a32, a33, a34, a35, a36, a37, a38, a39, a40, a41, a42, a43, a44, a45, a46, a47, a48, a49, a50, a51, a52, a53, a54, a55,   \
    a56, a57, a58, a59, a60, a61, a62, a63, a64, a65, n, ...) n
#define CHOPIN_PG__MAP_1(x) chopin_pg_param_of(x)
#define CHOPIN_PG__MAP_2(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_1(__VA_ARGS__)
#define CHOPIN_PG__MAP_3(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_2(__VA_ARGS__)
#define CHOPIN_PG__MAP_4(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_3(__VA_ARGS__)
#define CHOPIN_PG__MAP_5(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_4(__VA_ARGS__)
#define CHOPIN_PG__MAP_6(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_5(__VA_ARGS__)
#define CHOPIN_PG__MAP_7(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_6(__VA_ARGS__)
#define CHOPIN_PG__MAP_8(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_7(__VA_ARGS__)
#define CHOPIN_PG__MAP_9(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_8(__VA_ARGS__)
#define CHOPIN_PG__MAP_10(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_9(__VA_ARGS__)
#define CHOPIN_PG__MAP_11(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_10(__VA_ARGS__)
#define CHOPIN_PG__MAP_12(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_11(__VA_ARGS__)
#define CHOPIN_PG__MAP_13(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_12(__VA_ARGS__)
#define CHOPIN_PG__MAP_14(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_13(__VA_ARGS__)
#define CHOPIN_PG__MAP_15(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_14(__VA_ARGS__)
#define CHOPIN_PG__MAP_16(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_15(__VA_ARGS__)
#define CHOPIN_PG__MAP_17(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_16(__VA_ARGS__)
#define CHOPIN_PG__MAP_18(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_17(__VA_ARGS__)
#define CHOPIN_PG__MAP_19(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_18(__VA_ARGS__)
#define CHOPIN_PG__MAP_20(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_19(__VA_ARGS__)
#define CHOPIN_PG__MAP_21(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_20(__VA_ARGS__)
#define CHOPIN_PG__MAP_22(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_21(__VA_ARGS__)
#define CHOPIN_PG__MAP_23(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_22(__VA_ARGS__)
#define CHOPIN_PG__MAP_24(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_23(__VA_ARGS__)
#define CHOPIN_PG__MAP_25(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_24(__VA_ARGS__)
#define CHOPIN_PG__MAP_26(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_25(__VA_ARGS__)
#define CHOPIN_PG__MAP_27(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_26(__VA_ARGS__)
#define CHOPIN_PG__MAP_28(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_27(__VA_ARGS__)
#define CHOPIN_PG__MAP_29(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_28(__VA_ARGS__)
#define CHOPIN_PG__MAP_30(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_29(__VA_ARGS__)
#define CHOPIN_PG__MAP_31(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_30(__VA_ARGS__)
#define CHOPIN_PG__MAP_32(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_31(__VA_ARGS__)
#define CHOPIN_PG__MAP_33(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_32(__VA_ARGS__)
#define CHOPIN_PG__MAP_34(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_33(__VA_ARGS__)
#define CHOPIN_PG__MAP_35(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_34(__VA_ARGS__)
#define CHOPIN_PG__MAP_36(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_35(__VA_ARGS__)
#define CHOPIN_PG__MAP_37(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_36(__VA_ARGS__)
#define CHOPIN_PG__MAP_38(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_37(__VA_ARGS__)
#define CHOPIN_PG__MAP_39(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_38(__VA_ARGS__)
#define CHOPIN_PG__MAP_40(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_39(__VA_ARGS__)
#define CHOPIN_PG__MAP_41(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_40(__VA_ARGS__)
#define CHOPIN_PG__MAP_42(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_41(__VA_ARGS__)
#define CHOPIN_PG__MAP_43(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_42(__VA_ARGS__)
#define CHOPIN_PG__MAP_44(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_43(__VA_ARGS__)
#define CHOPIN_PG__MAP_45(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_44(__VA_ARGS__)
#define CHOPIN_PG__MAP_46(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_45(__VA_ARGS__)
#define CHOPIN_PG__MAP_47(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_46(__VA_ARGS__)
#define CHOPIN_PG__MAP_48(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_47(__VA_ARGS__)
#define CHOPIN_PG__MAP_49(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_48(__VA_ARGS__)
#define CHOPIN_PG__MAP_50(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_49(__VA_ARGS__)
#define CHOPIN_PG__MAP_51(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_50(__VA_ARGS__)
#define CHOPIN_PG__MAP_52(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_51(__VA_ARGS__)
#define CHOPIN_PG__MAP_53(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_52(__VA_ARGS__)
#define CHOPIN_PG__MAP_54(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_53(__VA_ARGS__)
#define CHOPIN_PG__MAP_55(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_54(__VA_ARGS__)
#define CHOPIN_PG__MAP_56(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_55(__VA_ARGS__)
#define CHOPIN_PG__MAP_57(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_56(__VA_ARGS__)
#define CHOPIN_PG__MAP_58(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_57(__VA_ARGS__)
#define CHOPIN_PG__MAP_59(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_58(__VA_ARGS__)
#define CHOPIN_PG__MAP_60(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_59(__VA_ARGS__)
#define CHOPIN_PG__MAP_61(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_60(__VA_ARGS__)
#define CHOPIN_PG__MAP_62(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_61(__VA_ARGS__)
#define CHOPIN_PG__MAP_63(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_62(__VA_ARGS__)
#define CHOPIN_PG__MAP_64(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_63(__VA_ARGS__)
#define CHOPIN_PG__MAP_65(x, ...) chopin_pg_param_of(x), CHOPIN_PG__MAP_64(__VA_ARGS__)

/* ---- getters: one column of the row that chopin_pg_next() stopped at, as a C value ----
 * Columns count from 0. The value is converted with a range check: an i32 from a bigint that fits, an f64 from a numeric, any number from a text column that
 * holds one. What cannot be (NULL, out of range, another type, malformed) gives zero or an absent view and sticks: chopin_pg_code(r) tells, chopin_pg_why(r)
 * names the column, and chopin_pg_end(r) returns it; so a loop needs no check per value. With `_or`, NULL gives `otherwise` and is no error.
 * Whether the server sent text or binary cannot be seen. Views live until the next chopin_pg_next() on the same rows. `r` may be NULL. */
CHOPIN_PG_API bool            chopin_pg_is_null (chopin_pg_rows *r, int column);
CHOPIN_PG_API bool            chopin_pg_bool    (chopin_pg_rows *r, int column);
CHOPIN_PG_API int16_t         chopin_pg_i16     (chopin_pg_rows *r, int column);
CHOPIN_PG_API int32_t         chopin_pg_i32     (chopin_pg_rows *r, int column);
CHOPIN_PG_API int64_t         chopin_pg_i64     (chopin_pg_rows *r, int column);   /* also money, in its smallest unit */
CHOPIN_PG_API uint32_t        chopin_pg_u32     (chopin_pg_rows *r, int column);   /* oid, xid, cid */
CHOPIN_PG_API uint64_t        chopin_pg_u64     (chopin_pg_rows *r, int column);   /* xid8, pg_lsn */
CHOPIN_PG_API float           chopin_pg_f32     (chopin_pg_rows *r, int column);
CHOPIN_PG_API double          chopin_pg_f64     (chopin_pg_rows *r, int column);   /* nearest: bigint and numeric may lose digits */
/* Text of any type, as PostgreSQL writes it with DateStyle ISO, IntervalStyle postgres, bytea_output hex and TimeZone UTC. */
CHOPIN_PG_API chopin_str      chopin_pg_text    (chopin_pg_rows *r, int column);
CHOPIN_PG_API chopin_str      chopin_pg_json    (chopin_pg_rows *r, int column);   /* json, jsonb and text, not parsed */
CHOPIN_PG_API chopin_str      chopin_pg_bytes   (chopin_pg_rows *r, int column);   /* bytea; the bytes of text */
CHOPIN_PG_API chopin_uuid     chopin_pg_uuid    (chopin_pg_rows *r, int column);
/* timestamptz; timestamp as if it were UTC; date: its midnight. The server's last 30 years (of 294276) are RANGE. */
CHOPIN_PG_API chopin_time     chopin_pg_time    (chopin_pg_rows *r, int column);
CHOPIN_PG_API chopin_date     chopin_pg_date    (chopin_pg_rows *r, int column);
CHOPIN_PG_API chopin_clock    chopin_pg_clock   (chopin_pg_rows *r, int column);   /* time, timetz */
CHOPIN_PG_API chopin_interval chopin_pg_interval(chopin_pg_rows *r, int column);   /* text of IntervalStyle postgres_verbose is a TYPE error */
/* Exact decimal text of any number: all digits, as many behind the point as the server keeps; NaN, Infinity, -Infinity. */
CHOPIN_PG_API chopin_str      chopin_pg_numeric (chopin_pg_rows *r, int column);
/* The number times 10^scale: chopin_pg_decimal(r, 0, 2) of 123.45 is 12345. RANGE when digits would be lost, and for NaN and infinity. */
CHOPIN_PG_API int64_t         chopin_pg_decimal (chopin_pg_rows *r, int column, int scale);
CHOPIN_PG_API chopin_inet     chopin_pg_inet    (chopin_pg_rows *r, int column);
CHOPIN_PG_API chopin_mac      chopin_pg_mac     (chopin_pg_rows *r, int column);
CHOPIN_PG_API chopin_bits     chopin_pg_bits    (chopin_pg_rows *r, int column);
CHOPIN_PG_API chopin_point    chopin_pg_point   (chopin_pg_rows *r, int column);
/* The coordinates of any geometric type, at most `cap` of them into `out`, in the order of its text; gives how many there are. line: A B C; circle: x y radius. */
CHOPIN_PG_API size_t          chopin_pg_shape   (chopin_pg_rows *r, int column, double *out, size_t cap);

CHOPIN_PG_API bool            chopin_pg_bool_or    (chopin_pg_rows *r, int column, bool otherwise);
CHOPIN_PG_API int16_t         chopin_pg_i16_or     (chopin_pg_rows *r, int column, int16_t otherwise);
CHOPIN_PG_API int32_t         chopin_pg_i32_or     (chopin_pg_rows *r, int column, int32_t otherwise);
CHOPIN_PG_API int64_t         chopin_pg_i64_or     (chopin_pg_rows *r, int column, int64_t otherwise);
CHOPIN_PG_API uint32_t        chopin_pg_u32_or     (chopin_pg_rows *r, int column, uint32_t otherwise);
CHOPIN_PG_API uint64_t        chopin_pg_u64_or     (chopin_pg_rows *r, int column, uint64_t otherwise);
CHOPIN_PG_API float           chopin_pg_f32_or     (chopin_pg_rows *r, int column, float otherwise);
CHOPIN_PG_API double          chopin_pg_f64_or     (chopin_pg_rows *r, int column, double otherwise);
CHOPIN_PG_API chopin_str      chopin_pg_text_or    (chopin_pg_rows *r, int column, chopin_str otherwise);
CHOPIN_PG_API chopin_str      chopin_pg_json_or    (chopin_pg_rows *r, int column, chopin_str otherwise);
CHOPIN_PG_API chopin_str      chopin_pg_bytes_or   (chopin_pg_rows *r, int column, chopin_str otherwise);
CHOPIN_PG_API chopin_uuid     chopin_pg_uuid_or    (chopin_pg_rows *r, int column, chopin_uuid otherwise);
CHOPIN_PG_API chopin_time     chopin_pg_time_or    (chopin_pg_rows *r, int column, chopin_time otherwise);
CHOPIN_PG_API chopin_date     chopin_pg_date_or    (chopin_pg_rows *r, int column, chopin_date otherwise);
CHOPIN_PG_API chopin_clock    chopin_pg_clock_or   (chopin_pg_rows *r, int column, chopin_clock otherwise);
CHOPIN_PG_API chopin_interval chopin_pg_interval_or(chopin_pg_rows *r, int column, chopin_interval otherwise);
CHOPIN_PG_API chopin_str      chopin_pg_numeric_or (chopin_pg_rows *r, int column, chopin_str otherwise);
CHOPIN_PG_API int64_t         chopin_pg_decimal_or (chopin_pg_rows *r, int column, int scale, int64_t otherwise);
CHOPIN_PG_API chopin_inet     chopin_pg_inet_or    (chopin_pg_rows *r, int column, chopin_inet otherwise);
CHOPIN_PG_API chopin_mac      chopin_pg_mac_or     (chopin_pg_rows *r, int column, chopin_mac otherwise);
CHOPIN_PG_API chopin_bits     chopin_pg_bits_or    (chopin_pg_rows *r, int column, chopin_bits otherwise);
CHOPIN_PG_API chopin_point    chopin_pg_point_or   (chopin_pg_rows *r, int column, chopin_point otherwise);

/* Compound values are rows of their own, read by the same getters; they belong to `r`, are never ended, and live until its next row. NULL columns and
 * values of other types give rows without content and the sticky error on `r` (test chopin_pg_is_null first). Out of memory: NULL, which getters and
 * chopin_pg_next() take.
 *
 *     for (chopin_pg_rows *a = chopin_pg_array(r, 2); chopin_pg_next(a); ) sum += chopin_pg_i32_or(a, 0, 0);      // one row an element
 *
 * An array of more dimensions is read row by row, chopin_pg_dims() gives its shape; a multirange is an array of ranges. */
CHOPIN_PG_API chopin_pg_rows *chopin_pg_array (chopin_pg_rows *r, int column);
/* One row, positioned already: the fields of a composite value in their order. */
CHOPIN_PG_API chopin_pg_rows *chopin_pg_record(chopin_pg_rows *r, int column);
/* One row, positioned already: column 0 is the lower bound, 1 the upper one; NULL where there is none. `*flags` gets CHOPIN_PG_EMPTY and its kin; may be NULL. */
CHOPIN_PG_API chopin_pg_rows *chopin_pg_range (chopin_pg_rows *r, int column, unsigned *flags);
/* The pairs of an hstore: a row each, column 0 the key, column 1 the value or NULL. */
CHOPIN_PG_API chopin_pg_rows *chopin_pg_pairs (chopin_pg_rows *r, int column);
/* The dimensions of an array: how many (0: it is empty), and for each its size and first subscript. Either may be NULL. */
CHOPIN_PG_API int             chopin_pg_dims  (chopin_pg_rows *r, int column, int32_t size[6], int32_t first[6]);
/* ---- handles: a pool, and what is made from one; every call takes any of them ---- */

/* A pool for this thread. Nothing is connected yet. `options` may be NULL (the PG* variables); strings in it are copied. Never NULL: what is wrong with the
 * options is what every later call answers. See examples/pg_hello.c. */
CHOPIN_PG_API chopin_pg *chopin_pg_open(const chopin_pg_options *options);

/* Pool: ends or cancels what runs, says goodbye, frees; close what was made from it before, or it is closed with it. Scope: sweeps what it opened. Pin: gives
 * the connection back. Transaction: rolls back unless committed. Batch: drops what was not committed. Never waits longer than grace_ms. NULL is fine. */
CHOPIN_PG_API void chopin_pg_close(chopin_pg *h);

/* The pool as one request sees it: `ms` from now is the deadline of all its calls (0: none), what it opened is closed with it. A fiber that may be killed works
 * through a scope of its own. Costs no connection. */
CHOPIN_PG_API chopin_pg *chopin_pg_scope(chopin_pg *h, int64_t ms);

/* One connection for as long as the pin is open; SET, LOCK, temporary tables and the like are allowed on it. Taken from the pool by the first call on it. */
CHOPIN_PG_API chopin_pg *chopin_pg_pin(chopin_pg *h);

/* Connects now and checks that the server answers: 0 or why not. For start-up and health checks. */
CHOPIN_PG_API int chopin_pg_ready(chopin_pg *h);

/* The connections that are open now take no new work and are replaced. After fail-over, or changed settings of a role. */
CHOPIN_PG_API void chopin_pg_expire(chopin_pg *h);

/* From now on calls on this handle must be over `ms` from now (0: no deadline). Not for pools: use chopin_pg_scope() or query_ms. */
CHOPIN_PG_API void chopin_pg_deadline(chopin_pg *h, int64_t ms);

/* Writes the settings in force, one "key=value" a line, passwords as "***". Cut at `cap`, always ends with NUL; gives the length it would have had. */
CHOPIN_PG_API size_t chopin_pg_config(chopin_pg *h, char *out, size_t cap);

typedef struct chopin_pg_counters {
    int      shared, exclusive;       /* connections open now */
    int      idle, connecting;        /* of them: nothing to do, not ready yet */
    int      waiting;                 /* callers that wait for an exclusive one */
    int      in_flight;               /* statements without their answer */
    uint64_t connects, connect_failures, reconnects, closed;
    uint64_t queries, errors, timeouts, cancels, lost, resent;    /* resent: healed by being sent once more */
    uint64_t prepared, evicted;       /* statements made and forgotten */
    uint64_t acquired, acquire_timeouts, acquire_ns, acquire_ns_max;
    uint64_t sends, receives, bytes_out, bytes_in;                /* system calls and what they carried */
    uint64_t allocations;             /* calls of the allocator so far */
    uint64_t notices, notes_dropped;
} chopin_pg_counters;
CHOPIN_PG_API chopin_pg_counters chopin_pg_stats(chopin_pg *h);

/* ---- what went wrong: of a handle, a result, a COPY or a listener ----
 * code: 0 or the status. why: one line, "no error" when there was none. error_of: all fields, never NULL. A pool, scope or pin forgets the error with its next
 * successful call; transactions, batches, results, COPY keep the first. */
CHOPIN_PG_API int                    chopin_pg_code_(const void *x);
CHOPIN_PG_API const char            *chopin_pg_why_(const void *x);
CHOPIN_PG_API const chopin_pg_error *chopin_pg_error_(const void *x);
#ifdef __cplusplus
extern "C++" {
#define CHOPIN_PG__OVERLOADS(T)                                                             \
    static inline int                    chopin_pg_code(const T *x)     { return chopin_pg_code_(x); } \
    static inline const char            *chopin_pg_why(const T *x)      { return chopin_pg_why_(x); }  \
    static inline const chopin_pg_error *chopin_pg_error_of(const T *x) { return chopin_pg_error_(x); }
CHOPIN_PG__OVERLOADS(chopin_pg)
CHOPIN_PG__OVERLOADS(chopin_pg_rows)
CHOPIN_PG__OVERLOADS(chopin_pg_copy)
CHOPIN_PG__OVERLOADS(chopin_pg_listener)
#undef CHOPIN_PG__OVERLOADS
}
#else
#define CHOPIN_PG__OBJECT(x) _Generic((x), chopin_pg *: (x), chopin_pg_rows *: (x), chopin_pg_copy *: (x), chopin_pg_listener *: (x))
#define chopin_pg_code(x)     chopin_pg_code_(CHOPIN_PG__OBJECT(x))
#define chopin_pg_why(x)      chopin_pg_why_(CHOPIN_PG__OBJECT(x))
#define chopin_pg_error_of(x) chopin_pg_error_(CHOPIN_PG__OBJECT(x))
#endif

/* ---- running SQL ----
 * The text comes first, values for $1, $2, ... follow: numbers, bool, const char *, chopin_str, the structs and constructors above, CHOPIN_PG_NULL for NULL.
 * Values never become part of the text. Each function gives a result or a count; none gives NULL. A result is ended with chopin_pg_end(), or by closing its
 * handle. On pools and scopes the statement runs by itself on a shared connection, in company with those of other fibers; words that would leave something
 * behind for them (BEGIN, SET, LOCK, ...) are refused with UNSAFE. */

/* Sends, and waits until rows, the end or an error came. */
#define chopin_pg_query(h, ...) chopin_pg_query_((h), CHOPIN_PG_ARGS(__VA_ARGS__))

/* Waits for the end; the number of rows affected (or returned), or negative. */
#define chopin_pg_exec(h, ...) chopin_pg_exec_((h), CHOPIN_PG_ARGS(__VA_ARGS__))

/* Puts it on its way and does not wait: chopin_pg_next() or _end() will. Texts may be gone when it returns. Several sends travel together. */
#define chopin_pg_send(h, ...) chopin_pg_send_((h), CHOPIN_PG_ARGS(__VA_ARGS__))

/* Rows as they are consumed, `fetch` at a time from a portal (0: all, as fast as they are read): a slow reader slows the server down, memory stays flat.
 * Takes an exclusive connection and, outside one, a transaction of its own. Inside a transaction other statements may run between the rows if fetch > 0. */
#define chopin_pg_stream(h, fetch, ...) chopin_pg_stream_((h), (fetch), CHOPIN_PG_ARGS(__VA_ARGS__))

/* At most one row, which is in hand at once: getters work right away, and the first chopin_pg_next() says whether it is there. More rows: TOO_MANY. */
#define chopin_pg_one(h, ...) chopin_pg_one_((h), CHOPIN_PG_ARGS(__VA_ARGS__))

/* Exactly one row of one column, in hand at once: chopin_pg_i64(chopin_pg_value(db, "select count(*) from t"), 0). No row is an error. */
#define chopin_pg_value(h, ...) chopin_pg_value_((h), CHOPIN_PG_ARGS(__VA_ARGS__))

CHOPIN_PG_API chopin_pg_rows *chopin_pg_query_(chopin_pg *h, const chopin_pg_param *args, int count);
CHOPIN_PG_API int64_t         chopin_pg_exec_(chopin_pg *h, const chopin_pg_param *args, int count);
CHOPIN_PG_API chopin_pg_rows *chopin_pg_send_(chopin_pg *h, const chopin_pg_param *args, int count);
CHOPIN_PG_API chopin_pg_rows *chopin_pg_stream_(chopin_pg *h, int fetch, const chopin_pg_param *args, int count);
CHOPIN_PG_API chopin_pg_rows *chopin_pg_one_(chopin_pg *h, const chopin_pg_param *args, int count);
CHOPIN_PG_API chopin_pg_rows *chopin_pg_value_(chopin_pg *h, const chopin_pg_param *args, int count);

/* The same with an array of values, for bindings of other languages: at most 65535. query waits as chopin_pg_query(), exec as chopin_pg_exec(). */
CHOPIN_PG_API chopin_pg_rows *chopin_pg_query_args(chopin_pg *h, chopin_str sql, const chopin_pg_param *params, int count);
CHOPIN_PG_API int64_t         chopin_pg_exec_args(chopin_pg *h, chopin_str sql, const chopin_pg_param *params, int count);
CHOPIN_PG_API chopin_pg_rows *chopin_pg_send_args(chopin_pg *h, chopin_str sql, const chopin_pg_param *params, int count);

/* Many statements separated by `;`, no values: one result each, chopin_pg_next_result() goes on. One implicit transaction unless it says otherwise. On a pool it
 * has a connection of its own, which is reset afterwards. */
CHOPIN_PG_API chopin_pg_rows *chopin_pg_script(chopin_pg *h, const char *sql);

/* Prepares without running, so that the first use already travels in binary. 0 or negative. */
CHOPIN_PG_API int chopin_pg_prepare(chopin_pg *h, const char *sql);

/* ---- results ---- */

/* Goes to the next row: 1, or 0 at the end and on errors (chopin_pg_code() tells). Views of the row before die. Waits for rows that have not come. */
CHOPIN_PG_API int chopin_pg_next(chopin_pg_rows *r);

/* Goes to the next result of a script: 1, or 0 when there is none. Rows not read of the one before are skipped. */
CHOPIN_PG_API int chopin_pg_next_result(chopin_pg_rows *r);

/* Waits for the end of the statement, frees the result, gives the number of rows affected or returned, or the first error, which the handle then has too. */
CHOPIN_PG_API int64_t chopin_pg_end(chopin_pg_rows *r);

/* Asks the server to stop it, waits for the outcome (at most grace_ms); later calls give CANCELED. On a shared connection with statements of others
 * behind it the answer is only dropped: a cancel could hit them. Still to be ended with chopin_pg_end(). */
CHOPIN_PG_API void chopin_pg_cancel(chopin_pg_rows *r);

CHOPIN_PG_API int64_t    chopin_pg_affected(chopin_pg_rows *r);                     /* rows affected or returned by the statement that is over; -1 before */
CHOPIN_PG_API int        chopin_pg_columns(chopin_pg_rows *r);
CHOPIN_PG_API int        chopin_pg_column(chopin_pg_rows *r, const char *name);     /* its number; -1 and a sticky ARG when there is none */
CHOPIN_PG_API chopin_str chopin_pg_column_name(chopin_pg_rows *r, int column);
CHOPIN_PG_API uint32_t   chopin_pg_type(chopin_pg_rows *r, int column);             /* its type's OID, 0: no such column */

/* A copy of `s` that lives as long as the handle of `r` (with a NUL behind it). Absent: no memory. On a pool: until the pool is closed. */
CHOPIN_PG_API chopin_str chopin_pg_keep(chopin_pg_rows *r, chopin_str s);

/* ---- transactions and batches ---- */
typedef enum chopin_pg_isolation {
    CHOPIN_PG_ISOLATION_DEFAULT, CHOPIN_PG_READ_COMMITTED, CHOPIN_PG_REPEATABLE_READ, CHOPIN_PG_SERIALIZABLE
} chopin_pg_isolation;
typedef struct chopin_pg_tx {
    chopin_pg_isolation isolation;
    bool    read_only;
    bool    deferrable;               /* with SERIALIZABLE and read_only: waits for a snapshot that cannot fail */
    int64_t ms;                       /* all of it must be over so soon  (default 0: the handle's deadline) */
} chopin_pg_tx;

/* No round trip: BEGIN (on a transaction: SAVEPOINT) travels with the first statement. `tx` may be NULL. Close it in any case. */
CHOPIN_PG_API chopin_pg *chopin_pg_begin(chopin_pg *h, const chopin_pg_tx *tx);

/* Statements sent to it leave together at chopin_pg_commit() with one Sync: all or nothing, one round trip. The error's `statement` says which one failed. Results of
 * chopin_pg_send() on it can be read afterwards. */
CHOPIN_PG_API chopin_pg *chopin_pg_batch(chopin_pg *h);

/* 0, or the first error of the transaction or batch. COMMIT that the server answers with ROLLBACK is an error. LOST: sent but not answered, the outcome is unknown. */
CHOPIN_PG_API int chopin_pg_commit(chopin_pg *h);

/* Takes all back; on a savepoint, to its begin. The handle can be used again: a new BEGIN travels with the next statement. */
CHOPIN_PG_API int chopin_pg_rollback(chopin_pg *h);

/* After a failed transaction: is doing it again sensible (40001, 40P01, and not more than `times` times, and the deadline not near)? Then it has rolled back,
 * waited a little, and true says: go on from the first statement. Never after an unanswered COMMIT. */
CHOPIN_PG_API bool chopin_pg_retry(chopin_pg *tx, int times);

/* ---- COPY ---- */

/* Rows into `table (columns)`, both written as in SQL (chopin_pg_ident() quotes); `columns` NULL: all of them. Rows travel in binary if we know all types. */
CHOPIN_PG_API chopin_pg_copy *chopin_pg_copy_in(chopin_pg *h, const char *table, const char *columns);

/* The same for your own "copy ... from stdin ..." and chopin_pg_copy_bytes(): csv, text or binary as you say. */
CHOPIN_PG_API chopin_pg_copy *chopin_pg_copy_raw(chopin_pg *h, const char *sql);

/* One row of typed values, converted to the types of the columns. 0 or the first error; once the server has refused, nothing is sent any more. */
#define chopin_pg_copy_row(c, ...) chopin_pg_copy_row_((c), CHOPIN_PG_ARGS(__VA_ARGS__))
CHOPIN_PG_API int chopin_pg_copy_row_(chopin_pg_copy *c, const chopin_pg_param *values, int count);

/* One row of the text format: fields are escaped, absent ones are NULL. For copy_raw in text format. */
CHOPIN_PG_API int chopin_pg_copy_line(chopin_pg_copy *c, const chopin_str *fields, int count);

CHOPIN_PG_API int chopin_pg_copy_bytes(chopin_pg_copy *c, const void *bytes, size_t n);      /* any piece of the data, as it is */

/* Ends it, frees `c`: the number of rows, or the first error. */
CHOPIN_PG_API int64_t chopin_pg_copy_end(chopin_pg_copy *c);

/* Abandons it: no row stays. Frees `c`. 0, or what failed beyond that. */
CHOPIN_PG_API int chopin_pg_copy_fail(chopin_pg_copy *c, const char *reason);

/* "copy ... to stdout ...": text and csv come as pieces, one column of bytes each; (format binary) as rows for the getters, whose types are those of the query
 * or table where we can tell, else bytes. */
CHOPIN_PG_API chopin_pg_rows *chopin_pg_copy_out(chopin_pg *h, const char *sql);

/* ---- LISTEN, NOTIFY ---- */
typedef struct chopin_pg_note {
    bool       gap;                   /* no note: the connection was lost and is back, notes in between were missed */
    uint32_t   pid;                   /* of the sender */
    chopin_str channel, payload;      /* until the next chopin_pg_wait_note() */
} chopin_pg_note;

/* A connection of its own (not one of the pool's) that listens; it is made again when it breaks. The channel is taken as it is, at most 63 bytes. */
CHOPIN_PG_API chopin_pg_listener *chopin_pg_listen(chopin_pg *h, const char *channel);
CHOPIN_PG_API int  chopin_pg_listen_also(chopin_pg_listener *l, const char *channel);
/* 1: a note or a gap; 0: `ms` are over (-1: no limit); negative: cannot go on for now, may be called again. */
CHOPIN_PG_API int  chopin_pg_wait_note(chopin_pg_listener *l, chopin_pg_note *note, int64_t ms);
CHOPIN_PG_API void chopin_pg_unlisten(chopin_pg_listener *l);
/* In a transaction it is delivered at commit. Payload (NULL: none) at most 7999 bytes. */
CHOPIN_PG_API int  chopin_pg_notify(chopin_pg *h, const char *channel, const char *payload);

/* `name` as a quoted identifier, with a NUL; gives the length, or negative: not UTF-8, a NUL inside, or `cap` too small. */
CHOPIN_PG_API int chopin_pg_ident(chopin_str name, char *out, size_t cap);

/* ---- TLS: what the client needs from a TLS library ----
 * One `config` per pool, made when the first connection needs it (and after chopin_pg_expire(): new certificates are read then), one session per
 * connection. The socket does not block: handshake, read, write and
 * finish give WANT_READ or WANT_WRITE when it has to be waited for, and are then called again with the same arguments. Nothing may write to the process's
 * signal dispositions. chopin_pg_openssl() is the example. */
enum { CHOPIN_PG_TLS_WANT_READ = -1, CHOPIN_PG_TLS_WANT_WRITE = -2, CHOPIN_PG_TLS_FAILED = -3 };

typedef enum chopin_pg_sslmode {
    CHOPIN_PG_SSL_DISABLE, CHOPIN_PG_SSL_ALLOW, CHOPIN_PG_SSL_PREFER, CHOPIN_PG_SSL_REQUIRE, CHOPIN_PG_SSL_VERIFY_CA, CHOPIN_PG_SSL_VERIFY_FULL
} chopin_pg_sslmode;

/* What the connection string says about TLS. NULL: not said, the adapter takes libpq's default. */
typedef struct chopin_pg_tls_config {
    chopin_pg_sslmode mode;           /* VERIFY_CA: the chain counts; VERIFY_FULL: the name too; REQUIRE with a root certificate counts as VERIFY_CA */
    bool        direct;               /* no SSLRequest: ALPN "postgresql" is mandatory */
    bool        no_sni;               /* sslsni=0 */
    bool        crl_check;            /* sslcrl or sslcrldir is given */
    const char *root_cert;            /* sslrootcert: file, or "system" */
    const char *cert;                 /* sslcert */
    const char *key;                  /* sslkey */
    const char *key_password;         /* sslpassword */
    const char *cert_mode;            /* sslcertmode: "disable", "allow", "require" */
    const char *crl;                  /* sslcrl */
    const char *crl_dir;              /* sslcrldir */
    const char *min_version;          /* "TLSv1" ... "TLSv1.3" */
    const char *max_version;
    const char *home;                 /* where .postgresql/ is looked for; NULL: nowhere */
} chopin_pg_tls_config;

struct chopin_pg_tls {
    void       *ctx;                                                                          /* first argument of config */
    void     *(*config)(void *ctx, const chopin_pg_tls_config *c, char *why, size_t cap);     /* NULL: failed, `why` says what about */
    void      (*config_free)(void *config);                                                   /* may come while sessions of it are open: it goes with the last one */
    void     *(*open)(void *config, int fd, const char *host, char *why, size_t cap);         /* a session; `host` for SNI and verification, may be "" */
    int       (*handshake)(void *session, char *why, size_t cap);                             /* 0 when done and verified as the mode says */
    ptrdiff_t (*read)(void *session, void *buffer, size_t n);                                 /* bytes, 0: the peer closed, or one of the above */
    ptrdiff_t (*write)(void *session, const void *bytes, size_t n);                           /* bytes taken, or one of the above */
    bool      (*pending)(void *session);                                                      /* can read() give bytes without the socket? */
    int       (*binding)(void *session, uint8_t *out, size_t cap);                            /* tls-server-end-point (RFC 5929): its length, 0: not possible */
    bool      (*has_cert)(void *session);                                                     /* was a client certificate sent? */
    int       (*shut)(void *session);                                                         /* says goodbye without waiting; 0 or one of the above */
    void      (*close)(void *session);                                                        /* frees; not the socket */
    void      (*reason)(void *session, char *why, size_t cap);                                /* why the last read, write or shut FAILED; may be NULL */
};

#if defined(CHOPIN_PG_OPENSSL)
/* The adapter for OpenSSL 1.1.1 and newer. The implementation must be compiled with CHOPIN_PG_OPENSSL too. Never NULL. */
CHOPIN_PG_API const chopin_pg_tls *chopin_pg_openssl(void);
#endif

/* ---- with chopin.h (include it first): a pool per worker, a scope per request ----
 *
 *     static chopin_pg_options database = { .url = "postgres://..." };
 *     chopin_app *app = chopin_new(&(chopin_options){ .on_worker_start = chopin_pg_worker_start, .on_worker_stop = chopin_pg_worker_stop, .user = &database });
 *     CHOPIN_GET(count, "/count") { return chopin_textf(c, 200, "%d\n", chopin_pg_i32(chopin_pg_value(chopin_pg_of(c), "select count(*) from users"), 0)); }
 *
 * worker_start: `options` (NULL: the PG* variables) with .wait = chopin_wait. Negative, with the reason logged, when the options are wrong; a server that is
 * down does not stop the start. The pool sits in the worker's user slot: a program that wants this slot opens its pools itself, as these functions do. of: the
 * scope of this request, the same one at every call, closed when the request ends, however it ends. Never NULL. See examples/pg_crud.c. Worker's thread only. */
#if defined(CHOPIN_H)
CHOPIN_PG_API int        chopin_pg_worker_start(chopin_worker *w, void *options);
CHOPIN_PG_API void       chopin_pg_worker_stop(chopin_worker *w, void *options);
CHOPIN_PG_API chopin_pg *chopin_pg_worker_pool(chopin_worker *w);    /* for chopin_pg_stats() and chopin_pg_expire() */
CHOPIN_PG_API chopin_pg *chopin_pg_of(chopin_ctx *c);

/* The HTTP status that fits a chopin_pg_status: 503 when trying again may help, 504 for deadlines, 409 for conflicts, else 500. */
CHOPIN_PG_API int        chopin_pg_http(int status);
#endif

#ifdef __cplusplus
}
#endif
#endif /* CHOPIN_PG_H */

#if (defined(CHOPIN_IMPLEMENTATION) || defined(CHOPIN_PG_IMPLEMENTATION)) && !defined(CHOPIN_PG_IMPLEMENTED)
#define CHOPIN_PG_IMPLEMENTED
#ifdef __cplusplus
#error "chopin_pg.h: the implementation is C11: put it into a .c file of its own (declarations work from C++)"
#endif

/* ==========================================================================================================
   >>platform   system includes, what the compiler can do, clocks, checked arithmetic
   Everything below asks this room, not the compiler or the system, for these things.
   ========================================================================================================== */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef CHOPIN_PG_ASSERT
#ifdef NDEBUG
#define CHOPIN_PG_ASSERT(condition) ((void)0)
#else
#define CHOPIN_PG_ASSERT(condition) ((condition) ? (void)0 : chopin_pg__assert_failed(__LINE__))
#endif
/* Says where, not what: the texts of assert() are a good part of a small program. */
static inline __attribute__((noreturn, cold, unused)) void chopin_pg__assert_failed(int line) {
    fprintf(stderr, "chopin_pg.h:%d: assertion failed (version " CHOPIN_PG_VERSION ")\n", line);
    abort();
}
#endif

#define CHOPIN_PG__LIKELY(x)    __builtin_expect(!!(x), 1)
#define CHOPIN_PG__UNLIKELY(x)  __builtin_expect(!!(x), 0)
#define CHOPIN_PG__COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define CHOPIN_PG__NOINLINE     __attribute__((noinline))
#define CHOPIN_PG__COLD         __attribute__((cold))       /* the ways that lead to it are kept apart, so that what a query runs through lies close together */
#define CHOPIN_PG__UNUSED       __attribute__((unused))     /* not every combination of switches uses each helper */

/* clang's sanitizer of unsigned wrap-around is not for hashes, where it is meant. */
#if defined(__clang__)
#define CHOPIN_PG__WRAPS __attribute__((no_sanitize("unsigned-integer-overflow", "unsigned-shift-base")))
#else
#define CHOPIN_PG__WRAPS
#endif

/* Every system call that can fail goes through one of these. A test that defines them before the implementation makes each fail once. */
#ifndef CHOPIN_PG__SYS_SOCKET
#define CHOPIN_PG__SYS_SOCKET(domain, type, protocol)         socket(domain, type, protocol)
#define CHOPIN_PG__SYS_CONNECT(fd, address, size)             connect(fd, address, size)
#define CHOPIN_PG__SYS_SETSOCKOPT(fd, level, name, value, n)  setsockopt(fd, level, name, value, n)
#define CHOPIN_PG__SYS_GETSOCKOPT(fd, level, name, value, n)  getsockopt(fd, level, name, value, n)
#define CHOPIN_PG__SYS_GETSOCKNAME(fd, address, size)         getsockname(fd, address, size)
#define CHOPIN_PG__SYS_SEND(fd, bytes, n, flags)              send(fd, bytes, n, flags)
#define CHOPIN_PG__SYS_SENDMSG(fd, message, flags)            sendmsg(fd, message, flags)
#define CHOPIN_PG__SYS_RECV(fd, bytes, n, flags)              recv(fd, bytes, n, flags)
#define CHOPIN_PG__SYS_POLL(fds, n, ms)                       poll(fds, n, ms)
#define CHOPIN_PG__SYS_CLOSE(fd)                              close(fd)
#define CHOPIN_PG__SYS_PIPE(fds)                              pipe2(fds, O_CLOEXEC)
#define CHOPIN_PG__SYS_FCNTL(fd, command, value)              fcntl(fd, command, value)
#define CHOPIN_PG__SYS_SHUTDOWN(fd, how)                      shutdown(fd, how)
#define CHOPIN_PG__SYS_OPEN(path, flags)                      open(path, flags)
#define CHOPIN_PG__SYS_READ(fd, bytes, n)                     read(fd, bytes, n)
#define CHOPIN_PG__SYS_FSTAT(fd, status)                      fstat(fd, status)
#define CHOPIN_PG__SYS_GETADDRINFO(host, service, hints, out) getaddrinfo(host, service, hints, out)
#define CHOPIN_PG__SYS_CLOCK(time)                            clock_gettime(CLOCK_MONOTONIC, time)
#if defined(CLOCK_MONOTONIC_COARSE)
#define CHOPIN_PG__SYS_CLOCK_NEAR(time)                       clock_gettime(CLOCK_MONOTONIC_COARSE, time)
#endif
#endif
#ifndef CHOPIN_PG__SYS_CLOCK_NEAR
#define CHOPIN_PG__SYS_CLOCK_NEAR(time)                       CHOPIN_PG__SYS_CLOCK(time)
#endif

static inline CHOPIN_PG__UNUSED int64_t chopin_pg__clock_ns(void) {
    struct timespec t;
    CHOPIN_PG__SYS_CLOCK(&t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
static inline CHOPIN_PG__UNUSED int64_t chopin_pg__clock_ms(void) { return chopin_pg__clock_ns() / 1000000; }


/* A few milliseconds late, and a fifth of the price: for ages, never for deadlines. */
static inline CHOPIN_PG__UNUSED int64_t chopin_pg__clock_near_ms(void) {
    struct timespec t;
    CHOPIN_PG__SYS_CLOCK_NEAR(&t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline CHOPIN_PG__UNUSED size_t  chopin_pg__min(size_t a, size_t b) { return a < b ? a : b; }
static inline CHOPIN_PG__UNUSED size_t  chopin_pg__max(size_t a, size_t b) { return a > b ? a : b; }

/* The sooner of two deadlines, where -1 is never. */
static inline CHOPIN_PG__UNUSED int64_t chopin_pg__sooner(int64_t a, int64_t b) { return a < 0 ? b : b < 0 ? a : a < b ? a : b; }

/* `ms` from now as a deadline; nothing positive is never. */
static inline CHOPIN_PG__UNUSED int64_t chopin_pg__deadline(int64_t ms) {
    int64_t now = ms <= 0 ? 0 : chopin_pg__clock_ms();
    return ms <= 0 ? -1 : ms > INT64_MAX - now ? INT64_MAX : now + ms;
}

/* Sums of lengths that a peer or a caller chose: false when the result does not fit, and then it is not written. */
static inline CHOPIN_PG__UNUSED bool chopin_pg__add_ok(size_t a, size_t b, size_t *sum) {
    size_t wide;
    if (__builtin_add_overflow(a, b, &wide)) return false;
    *sum = wide;
    return true;
}
/* Reads until n bytes are there, the end, or an error; gives how many came, -1 for an error. */
static CHOPIN_PG__UNUSED ssize_t chopin_pg__read_all(int fd, void *out, size_t n) {
    size_t have = 0;
    while (have < n) {
        ssize_t got = CHOPIN_PG__SYS_READ(fd, (char *)out + have, n - have);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -1;
        if (got == 0) break;
        have += (size_t)got;
    }
    return (ssize_t)have;
}

/* Bytes nobody can guess; false when the system gives none, and then nothing may be based on `out`. */
static CHOPIN_PG__UNUSED bool chopin_pg__random(void *out, size_t n) {
    int  fd;
    do fd = CHOPIN_PG__SYS_OPEN("/dev/urandom", O_RDONLY | O_CLOEXEC | O_NOCTTY); while (fd < 0 && errno == EINTR);
    bool ok = fd >= 0 && chopin_pg__read_all(fd, out, n) == (ssize_t)n;
    if (fd >= 0) CHOPIN_PG__SYS_CLOSE(fd);
    return ok;
}

/* splitmix64: one step of a small generator; good enough for jitter and shuffling hosts, never for secrets. */
static inline CHOPIN_PG__UNUSED CHOPIN_PG__WRAPS uint64_t chopin_pg__random_next(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* A word nobody outside can guess: seeds hash tables and jitter. Falls back to the clock. */
static inline CHOPIN_PG__UNUSED uint64_t chopin_pg__random_seed(void) {
    uint64_t seed = 0;
    if (!chopin_pg__random(&seed, sizeof seed)) seed = (uint64_t)chopin_pg__clock_ns() ^ (uint64_t)getpid() << 32;
    return seed;
}

/* ==========================================================================================================
   >>bytes   views: cut, compare, numbers to and from text, UTF-8, byte order
   The everyday helpers drop the room's name. Nothing here allocates or knows a locale.
   ========================================================================================================== */

static inline CHOPIN_PG__UNUSED chopin_str chopin_pg__str(const void *ptr, size_t len) { return (chopin_str){ (const char *)ptr, len }; }
static inline CHOPIN_PG__UNUSED chopin_str chopin_pg__str_z(const char *z) { return (chopin_str){ z, z ? strlen(z) : 0 }; }
static inline CHOPIN_PG__UNUSED chopin_str chopin_pg__absent(void) { return (chopin_str){ NULL, 0 }; }

static inline CHOPIN_PG__UNUSED bool chopin_pg__equal(chopin_str a, chopin_str b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
static inline CHOPIN_PG__UNUSED bool chopin_pg__equal_z(chopin_str a, const char *z) { return chopin_pg__equal(a, chopin_pg__str_z(z)); }

static inline CHOPIN_PG__UNUSED bool chopin_pg__starts(chopin_str s, const char *with) {
    size_t n = strlen(with);
    return s.len >= n && (n == 0 || memcmp(s.ptr, with, n) == 0);
}

static inline CHOPIN_PG__UNUSED bool chopin_pg__has_nul(chopin_str s) { return s.len && memchr(s.ptr, 0, s.len) != NULL; }

/* ASCII only, whatever the locale. */
static inline CHOPIN_PG__UNUSED char chopin_pg__lower(char ch) { return ch >= 'A' && ch <= 'Z' ? (char)(ch | 0x20) : ch; }
static inline CHOPIN_PG__UNUSED bool chopin_pg__is_digit(char ch) { return ch >= '0' && ch <= '9'; }
static inline CHOPIN_PG__UNUSED bool chopin_pg__is_alpha(char ch) { return chopin_pg__lower(ch) >= 'a' && chopin_pg__lower(ch) <= 'z'; }
static inline CHOPIN_PG__UNUSED bool chopin_pg__is_space(char ch) { return ch == ' ' || (ch >= '\t' && ch <= '\r'); }   // what isspace() says in "C"

static CHOPIN_PG__UNUSED bool chopin_pg__equal_nocase(chopin_str a, chopin_str b) {
    if (a.len != b.len) return false;
    for (size_t i = 0; i < a.len; i++) {
        if (chopin_pg__lower(a.ptr[i]) != chopin_pg__lower(b.ptr[i])) return false;
    }
    return true;
}

static inline CHOPIN_PG__UNUSED chopin_str chopin_pg__skip(chopin_str s, size_t n) {
    n = chopin_pg__min(n, s.len);
    return s.len ? chopin_pg__str(s.ptr + n, s.len - n) : s;
}

/* Where `ch` first stands in `s`; s.len when it does not. */
static inline CHOPIN_PG__UNUSED size_t chopin_pg__find(chopin_str s, char ch) {
    const char *p = s.len ? memchr(s.ptr, ch, s.len) : NULL;
    return p ? (size_t)(p - s.ptr) : s.len;
}

/* What stands before the first `at`, which is skipped; all of it when there is none. `*rest` becomes what follows. */
static CHOPIN_PG__UNUSED chopin_str chopin_pg__cut(chopin_str *rest, char at) {
    size_t     n = chopin_pg__find(*rest, at);
    chopin_str first = chopin_pg__str(rest->ptr, n);
    *rest = chopin_pg__skip(*rest, n + 1);
    return first;
}

/* Without the white space around it. */
static CHOPIN_PG__UNUSED chopin_str chopin_pg__trim(chopin_str s) {
    while (s.len && chopin_pg__is_space(s.ptr[0])) { s.ptr++; s.len--; }
    while (s.len && chopin_pg__is_space(s.ptr[s.len - 1])) s.len--;
    return s;
}

/* 0-15, or -1. */
static inline CHOPIN_PG__UNUSED int chopin_pg__hex_value(char ch) {
    if (chopin_pg__is_digit(ch)) return ch - '0';
    ch = chopin_pg__lower(ch);
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}
static inline CHOPIN_PG__UNUSED char chopin_pg__hex_digit(unsigned value) { return "0123456789abcdef"[value & 15]; }

/* Decimal digits only, no sign, no blanks. */
static CHOPIN_PG__UNUSED bool chopin_pg__parse_u64(chopin_str s, uint64_t *out) {
    uint64_t value = 0;
    if (s.len == 0) return false;
    for (size_t i = 0; i < s.len; i++) {
        if (!chopin_pg__is_digit(s.ptr[i])) return false;
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) || __builtin_add_overflow(value, (uint64_t)(s.ptr[i] - '0'), &value)) return false;
    }
    *out = value;
    return true;
}

/* The same with an optional minus. */
static CHOPIN_PG__UNUSED bool chopin_pg__parse_i64(chopin_str s, int64_t *out) {
    bool     minus = s.len && s.ptr[0] == '-';
    uint64_t value;
    if (!chopin_pg__parse_u64(chopin_pg__skip(s, minus ? 1 : 0), &value)) return false;
    if (value > (uint64_t)INT64_MAX + (minus ? 1 : 0)) return false;
    *out = !minus ? (int64_t)value : value > (uint64_t)INT64_MAX ? INT64_MIN : -(int64_t)value;
    return true;
}

/* At most 20 characters go to `out`, none is a NUL. Gives how many. Two digits at a time. */
static CHOPIN_PG__UNUSED size_t chopin_pg__format_u64(char *out, uint64_t value) {
    static const char pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657585960616263646566676869"
        "707172737475767778798081828384858687888990919293949596979899";
    char   digits[20];
    size_t at = sizeof digits;
    for (; value >= 100; value /= 100) memcpy(digits + (at -= 2), pairs + 2 * (value % 100), 2);
    if (value >= 10) memcpy(digits + (at -= 2), pairs + 2 * value, 2);
    else             digits[--at] = (char)('0' + value);
    memcpy(out, digits + at, sizeof digits - at);
    return sizeof digits - at;
}
static CHOPIN_PG__UNUSED size_t chopin_pg__format_i64(char *out, int64_t value) {
    if (value >= 0) return chopin_pg__format_u64(out, (uint64_t)value);
    *out = '-';
    return 1 + chopin_pg__format_u64(out + 1, (uint64_t)-(value + 1) + 1);
}

/* Length of the well-formed UTF-8 sequence at `text` (RFC 3629), 0 if there is none. */
static CHOPIN_PG__UNUSED size_t chopin_pg__utf8_length(const char *text, size_t len) {
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

/* Is all of it well-formed? Eight bytes at a time where it is ASCII. */
static CHOPIN_PG__UNUSED bool chopin_pg__utf8_ok(chopin_str s) {
    for (size_t i = 0, n; i < s.len; i += n) {
        uint64_t word = UINT64_C(0x80);
        if (s.len - i >= 8) memcpy(&word, s.ptr + i, 8);
        n = word & UINT64_C(0x8080808080808080) ? chopin_pg__utf8_length(s.ptr + i, s.len - i) : 8;
        if (n == 0) return false;
    }
    return true;
}

/* The code point of a sequence whose length chopin_pg__utf8_length() gave. */
static CHOPIN_PG__UNUSED uint32_t chopin_pg__utf8_decode(const char *text, size_t n) {
    const unsigned char *p = (const unsigned char *)text;
    if (n == 1) return p[0];
    uint32_t code = p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) code = code << 6 | (p[i] & 0x3fu);
    return code;
}

/* At most 4 bytes; gives how many. */
static CHOPIN_PG__UNUSED size_t chopin_pg__utf8_encode(char *out, uint32_t code) {
    size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    for (size_t i = n; i-- > 1; code >>= 6) out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(lead[n] | code);
    return n;
}

/* ---- network byte order, at any address ---- */
static inline CHOPIN_PG__UNUSED uint16_t chopin_pg__load16(const void *at) {
    const uint8_t *p = at;
    return (uint16_t)(p[0] << 8 | p[1]);
}
static inline CHOPIN_PG__UNUSED uint32_t chopin_pg__load32(const void *at) {
    const uint8_t *p = at;
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
static inline CHOPIN_PG__UNUSED uint64_t chopin_pg__load64(const void *at) {
    const uint8_t *p = at;
    return (uint64_t)chopin_pg__load32(p) << 32 | chopin_pg__load32(p + 4);
}
static inline CHOPIN_PG__UNUSED void chopin_pg__store16(void *at, uint16_t v) {
    uint8_t *p = at;
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline CHOPIN_PG__UNUSED void chopin_pg__store32(void *at, uint32_t v) {
    chopin_pg__store16(at, (uint16_t)(v >> 16));
    chopin_pg__store16((uint8_t *)at + 2, (uint16_t)v);
}
static inline CHOPIN_PG__UNUSED void chopin_pg__store64(void *at, uint64_t v) {
    chopin_pg__store32(at, (uint32_t)(v >> 32));
    chopin_pg__store32((uint8_t *)at + 4, (uint32_t)v);
}
/* Two's complement without an implementation-defined conversion. */
static inline CHOPIN_PG__UNUSED int16_t chopin_pg__signed16(uint16_t v) { int16_t s; memcpy(&s, &v, sizeof s); return s; }
static inline CHOPIN_PG__UNUSED int32_t chopin_pg__signed32(uint32_t v) { int32_t s; memcpy(&s, &v, sizeof s); return s; }
static inline CHOPIN_PG__UNUSED int64_t chopin_pg__signed64(uint64_t v) { int64_t s; memcpy(&s, &v, sizeof s); return s; }

/* Seeded, so that nobody outside can choose texts that collide. The same on every byte order is not promised. */
static CHOPIN_PG__UNUSED CHOPIN_PG__WRAPS uint64_t chopin_pg__hash(uint64_t seed, const void *data, size_t len) {
    const unsigned char *p = data;
    uint64_t hash = seed ^ (len * UINT64_C(0x9e3779b97f4a7c15));
    while (len > 0) {
        uint64_t word = 0;
        size_t   n = chopin_pg__min(len, sizeof word);
        memcpy(&word, p, n);
        hash = chopin_pg__random_next(&(uint64_t){ hash ^ word });
        p += n;
        len -= n;
    }
    return hash;
}

/* ==========================================================================================================
   >>memory   the allocator hook, and arenas
   Every allocation of this file goes through chopin_pg__realloc() or chopin_pg__alloc(), so that tests can fail each one.
   ========================================================================================================== */

typedef struct chopin_pg__heap {        // one per pool; the counter is what the tests read
    void    *(*alloc)(void *ctx, void *ptr, size_t old_size, size_t new_size);
    void    *ctx;
    uint64_t calls;
} chopin_pg__heap;

static CHOPIN_PG__UNUSED void *chopin_pg__heap_default(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    (void)ctx; (void)old_size;
    if (new_size == 0) { free(ptr); return NULL; }
    return realloc(ptr, new_size);
}

/* `alloc` may be NULL: the malloc family. */
static CHOPIN_PG__UNUSED void chopin_pg__heap_init(chopin_pg__heap *h, void *(*alloc)(void *, void *, size_t, size_t), void *ctx) {
    *h = (chopin_pg__heap){ .alloc = alloc ? alloc : chopin_pg__heap_default, .ctx = ctx };
}

/* NULL when there is no memory; not zeroed; size 0 gives a block too. */
static CHOPIN_PG__UNUSED void *chopin_pg__alloc(chopin_pg__heap *h, size_t size) {
    h->calls++;
    return h->alloc(h->ctx, NULL, 0, size ? size : 1);
}

static CHOPIN_PG__UNUSED void *chopin_pg__alloc_zero(chopin_pg__heap *h, size_t size) {
    void *ptr = chopin_pg__alloc(h, size);
    return ptr ? memset(ptr, 0, size) : NULL;
}

/* On failure NULL, and the old block stays. new_size is not 0. */
static CHOPIN_PG__UNUSED void *chopin_pg__realloc(chopin_pg__heap *h, void *ptr, size_t old_size, size_t new_size) {
    h->calls++;
    return h->alloc(h->ctx, ptr, old_size, new_size);
}

/* `size` is what the block was made with (0 counted as 1). NULL is fine. */
static CHOPIN_PG__UNUSED void chopin_pg__release(chopin_pg__heap *h, void *ptr, size_t size) {
    if (ptr) h->alloc(h->ctx, ptr, size ? size : 1, 0);
}

/* ---- arena: memory that is freed all at once ---- */
typedef struct chopin_pg__arena_block {
    struct chopin_pg__arena_block *next;
    size_t size;                        // all of it, this header included
} chopin_pg__arena_block;

typedef struct chopin_pg__arena {
    chopin_pg__heap        *heap;
    char                   *at, *end;   // free bytes of the current block
    chopin_pg__arena_block *blocks;     // newest first
    size_t                  used;       // bytes of all blocks
    size_t                  limit;      // and how many there may be; 0: no limit
    bool                    full;       // an allocation failed
} chopin_pg__arena;

static CHOPIN_PG__UNUSED void chopin_pg__arena_init(chopin_pg__arena *a, chopin_pg__heap *heap, size_t limit) {
    *a = (chopin_pg__arena){ .heap = heap, .limit = limit };
}

static CHOPIN_PG__NOINLINE CHOPIN_PG__UNUSED bool chopin_pg__arena_grow(chopin_pg__arena *a, size_t size) {
    size_t want;
    if (!chopin_pg__add_ok(size, sizeof(chopin_pg__arena_block) + 16, &want)) want = SIZE_MAX;
    want = chopin_pg__max(want, 1024);
    size_t room = a->limit ? a->limit - chopin_pg__min(a->used, a->limit) : SIZE_MAX - 1;
    chopin_pg__arena_block *block = want <= room ? chopin_pg__alloc(a->heap, want) : NULL;
    if (!block) { a->full = true; return false; }
    *block = (chopin_pg__arena_block){ .next = a->blocks, .size = want };
    a->blocks = block;
    a->used += want;
    a->at = (char *)(block + 1);
    a->end = (char *)block + want;
    return true;
}

/* Not zeroed, aligned to 16. NULL when there is no memory or the limit is reached; `full` remembers it. */
static CHOPIN_PG__UNUSED void *chopin_pg__arena_alloc(chopin_pg__arena *a, size_t size) {
    uintptr_t at = ((uintptr_t)a->at + 15) & ~(uintptr_t)15;
    if (CHOPIN_PG__UNLIKELY(!a->at || at > (uintptr_t)a->end || size > (uintptr_t)a->end - at)) {
        if (!chopin_pg__arena_grow(a, size)) return NULL;
        at = ((uintptr_t)a->at + 15) & ~(uintptr_t)15;
    }
    a->at = (char *)at + size;
    return (void *)at;
}

/* A copy with a NUL behind it; absent when there is no memory. */
static CHOPIN_PG__UNUSED chopin_str chopin_pg__arena_copy(chopin_pg__arena *a, chopin_str s) {
    size_t size;
    char  *copy = chopin_pg__add_ok(s.len, 1, &size) ? chopin_pg__arena_alloc(a, size) : NULL;
    if (!copy) return chopin_pg__absent();
    if (s.len) memcpy(copy, s.ptr, s.len);
    copy[s.len] = 0;
    return chopin_pg__str(copy, s.len);
}

static CHOPIN_PG__UNUSED void chopin_pg__arena_free(chopin_pg__arena *a) {
    while (a->blocks) {
        chopin_pg__arena_block *block = a->blocks;
        a->blocks = block->next;
        chopin_pg__release(a->heap, block, block->size);
    }
    a->at = a->end = NULL;
    a->used = 0;
    a->full = false;
}

/* Empties the arena but keeps its newest block, so that a loop that uses about the same each time stops allocating. */
static CHOPIN_PG__UNUSED void chopin_pg__arena_reset(chopin_pg__arena *a) {
    chopin_pg__arena_block *keep = a->blocks;
    a->full = false;
    if (!keep) return;
    if (keep->next) {
        a->blocks = keep->next;
        chopin_pg__arena_free(a);
        keep->next = NULL;
        a->blocks = keep;
        a->used = keep->size;
    }
    a->at = (char *)(keep + 1);
    a->end = (char *)keep + keep->size;
}

/* ==========================================================================================================
   >>hash   MD5, SHA-256, HMAC, PBKDF2, base64: what PostgreSQL's logins need, and no more
   MD5 (RFC 1321) serves the md5 login alone. SHA-256 is FIPS 180-4, HMAC RFC 2104, PBKDF2 RFC 8018. No branch or index
   depends on a secret. What held one is wiped.
   ========================================================================================================== */

/* Zeroes in a way the compiler keeps. */
static void chopin_pg__wipe(void *ptr, size_t n) {
    volatile uint8_t *p = ptr;
    while (n-- > 0) *p++ = 0;
}

/* An arena that held secrets: wiped, then freed. */
static void chopin_pg__arena_wipe(chopin_pg__arena *a) {
    for (chopin_pg__arena_block *b = a->blocks; b; b = b->next) chopin_pg__wipe(b + 1, b->size - sizeof *b);
    chopin_pg__arena_free(a);
}

/* Are n bytes the same? Takes as long wherever they differ. */
static bool chopin_pg__same(const void *a, const void *b, size_t n) {
    const volatile uint8_t *x = a, *y = b;
    unsigned differ = 0;
    for (size_t i = 0; i < n; i++) differ |= (unsigned)(x[i] ^ y[i]);
    return differ == 0;
}

static inline uint32_t chopin_pg__rotl(uint32_t v, unsigned n) { return v << n | v >> (32 - n); }

/* ---- MD5 ---- */
typedef struct chopin_pg__md5_ctx { uint32_t state[4]; uint64_t bytes; uint8_t block[64]; } chopin_pg__md5_ctx;

static CHOPIN_PG__WRAPS void chopin_pg__md5_block(uint32_t state[4], const uint8_t block[64]) {
    static const uint32_t sines[64] = {
        0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501, 0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be,
        0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821, 0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
        0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a, 0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c,
        0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70, 0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
        0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1, 0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1,
        0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391 };
    static const uint8_t turns[4][4] = { { 7, 12, 17, 22 }, { 5, 9, 14, 20 }, { 4, 11, 16, 23 }, { 6, 10, 15, 21 } };
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], word[16];
    for (size_t i = 0; i < 16; i++) {
        const uint8_t *p = block + 4 * i;                                     // little endian
        word[i] = (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
    }
    for (unsigned i = 0; i < 64; i++) {
        unsigned round = i / 16, at = round == 0 ? i : round == 1 ? 5 * i + 1 : round == 2 ? 3 * i + 5 : 7 * i;
        uint32_t mix = round == 0 ? (b & c) | (~b & d) : round == 1 ? (d & b) | (~d & c) : round == 2 ? b ^ c ^ d : c ^ (b | ~d);
        uint32_t next = b + chopin_pg__rotl(a + mix + sines[i] + word[at & 15], turns[round][i & 3]);
        a = d; d = c; c = b; b = next;
    }
    state[0] += a; state[1] += b; state[2] += c; state[3] += d;
}

static void chopin_pg__md5_update(chopin_pg__md5_ctx *h, chopin_str in) {
    while (in.len > 0) {
        size_t have = (size_t)(h->bytes & 63), n = chopin_pg__min(64 - have, in.len);
        memcpy(h->block + have, in.ptr, n);
        h->bytes += n;
        in = chopin_pg__skip(in, n);
        if (have + n == 64) chopin_pg__md5_block(h->state, h->block);
    }
}

/* The digest of a followed by b. */
static void chopin_pg__md5(chopin_str a, chopin_str b, uint8_t out[16]) {
    chopin_pg__md5_ctx h = { .state = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476 } };
    chopin_pg__md5_update(&h, a);
    chopin_pg__md5_update(&h, b);
    uint64_t bits = h.bytes * 8;
    uint8_t  tail[72] = { 0x80 }, *at = tail + (119 - h.bytes % 64) % 64 + 1;
    for (unsigned i = 0; i < 8; i++) at[i] = (uint8_t)(bits >> 8 * i);
    chopin_pg__md5_update(&h, chopin_pg__str(tail, (size_t)(at + 8 - tail)));
    for (unsigned i = 0; i < 16; i++) out[i] = (uint8_t)(h.state[i / 4] >> 8 * (i % 4));
    chopin_pg__wipe(&h, sizeof h);
}

/* What the md5 login sends, NUL-terminated: "md5" and hex of md5(hex of md5(password, user), salt). */
static void chopin_pg__md5_login(chopin_str user, chopin_str password, const uint8_t salt[4], char out[36]) {
    uint8_t digest[16];
    char    hex[32];
    chopin_str first = password, second = user;
    memcpy(out, "md5", 3);
    for (int round = 0; round < 2; round++) {
        chopin_pg__md5(first, second, digest);
        for (size_t i = 0; i < 32; i++) hex[i] = chopin_pg__hex_digit((unsigned)digest[i / 2] >> (i % 2 ? 0 : 4));
        first = chopin_pg__str(hex, sizeof hex);
        second = chopin_pg__str(salt, 4);
    }
    memcpy(out + 3, hex, sizeof hex);
    out[35] = 0;
    chopin_pg__wipe(digest, sizeof digest);
    chopin_pg__wipe(hex, sizeof hex);
}

/* ---- SHA-256 ---- */
typedef struct chopin_pg__sha256_ctx { uint32_t state[8]; uint64_t bytes; uint8_t block[64]; } chopin_pg__sha256_ctx;

static const uint32_t chopin_pg__sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
    0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2 };

/* Eight rounds, the names of the variables moving instead of their values; sixteen words of the schedule are enough at a time. */
static inline CHOPIN_PG__WRAPS uint32_t chopin_pg__sha256_s(uint32_t v, unsigned a, unsigned b, unsigned c) {
    return chopin_pg__rotl(v, 32 - a) ^ chopin_pg__rotl(v, 32 - b) ^ chopin_pg__rotl(v, 32 - c);
}
#define CHOPIN_PG__SHA256_ROUND(a, b, c, d, e, f, g, h, i) do { \
        uint32_t one_ = h + chopin_pg__sha256_s(e, 6, 11, 25) + (g ^ (e & (f ^ g))) + k[i] + w[(i) & 15]; \
        d += one_; h = one_ + chopin_pg__sha256_s(a, 2, 13, 22) + ((a & b) | (c & (a | b))); } while (0)

static CHOPIN_PG__WRAPS void chopin_pg__sha256_words(uint32_t state[8], uint32_t w[16]) {
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
    for (unsigned at = 0; at < 64; at += 16) {
        const uint32_t *k = chopin_pg__sha256_k + at;
        for (unsigned i = 0; at && i < 16; i++) {
            uint32_t x = w[(i + 1) & 15], y = w[(i + 14) & 15];
            w[i] += (chopin_pg__rotl(x, 25) ^ chopin_pg__rotl(x, 14) ^ x >> 3) + w[(i + 9) & 15] + (chopin_pg__rotl(y, 15) ^ chopin_pg__rotl(y, 13) ^ y >> 10);
        }
        for (unsigned i = 0; i < 16; i += 8) {
            CHOPIN_PG__SHA256_ROUND(a, b, c, d, e, f, g, h, i);     CHOPIN_PG__SHA256_ROUND(h, a, b, c, d, e, f, g, i + 1);
            CHOPIN_PG__SHA256_ROUND(g, h, a, b, c, d, e, f, i + 2); CHOPIN_PG__SHA256_ROUND(f, g, h, a, b, c, d, e, i + 3);
            CHOPIN_PG__SHA256_ROUND(e, f, g, h, a, b, c, d, i + 4); CHOPIN_PG__SHA256_ROUND(d, e, f, g, h, a, b, c, i + 5);
            CHOPIN_PG__SHA256_ROUND(c, d, e, f, g, h, a, b, i + 6); CHOPIN_PG__SHA256_ROUND(b, c, d, e, f, g, h, a, i + 7);
        }
    }
    state[0] += a; state[1] += b; state[2] += c; state[3] += d; state[4] += e; state[5] += f; state[6] += g; state[7] += h;
}

static void chopin_pg__sha256_block(uint32_t state[8], const uint8_t block[64]) {
    uint32_t w[16];
    for (size_t i = 0; i < 16; i++) w[i] = chopin_pg__load32(block + 4 * i);
    chopin_pg__sha256_words(state, w);
    chopin_pg__wipe(w, sizeof w);
}

static void chopin_pg__sha256_init(chopin_pg__sha256_ctx *h) {
    *h = (chopin_pg__sha256_ctx){ .state = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 } };
}

static void chopin_pg__sha256_update(chopin_pg__sha256_ctx *h, chopin_str in) {
    while (in.len > 0) {
        size_t have = (size_t)(h->bytes & 63), n = chopin_pg__min(64 - have, in.len);
        memcpy(h->block + have, in.ptr, n);
        h->bytes += n;
        in = chopin_pg__skip(in, n);
        if (have + n == 64) chopin_pg__sha256_block(h->state, h->block);
    }
}

static void chopin_pg__sha256_final(chopin_pg__sha256_ctx *h, uint8_t out[32]) {
    uint8_t tail[72] = { 0x80 }, *at = tail + (119 - h->bytes % 64) % 64 + 1;
    chopin_pg__store64(at, h->bytes * 8);
    chopin_pg__sha256_update(h, chopin_pg__str(tail, (size_t)(at + 8 - tail)));
    for (size_t i = 0; i < 8; i++) chopin_pg__store32(out + 4 * i, h->state[i]);
    chopin_pg__wipe(h, sizeof *h);
}

static void chopin_pg__sha256(chopin_str in, uint8_t out[32]) {
    chopin_pg__sha256_ctx h;
    chopin_pg__sha256_init(&h);
    chopin_pg__sha256_update(&h, in);
    chopin_pg__sha256_final(&h, out);
}

/* ---- HMAC-SHA-256: the key's two pads, hashed once, serve any number of messages ---- */
typedef struct chopin_pg__hmac_key { uint32_t inner[8], outer[8]; } chopin_pg__hmac_key;

static void chopin_pg__hmac_pad(uint32_t state[8], const uint8_t key[64], uint8_t pad) {
    chopin_pg__sha256_ctx h;
    chopin_pg__sha256_init(&h);
    for (size_t i = 0; i < 64; i++) h.block[i] = key[i] ^ pad;
    chopin_pg__sha256_block(h.state, h.block);
    memcpy(state, h.state, sizeof h.state);
    chopin_pg__wipe(&h, sizeof h);
}

static void chopin_pg__hmac_init(chopin_pg__hmac_key *k, chopin_str secret) {
    uint8_t block[64] = { 0 };
    if (secret.len > sizeof block) chopin_pg__sha256(secret, block);
    else if (secret.len)           memcpy(block, secret.ptr, secret.len);
    chopin_pg__hmac_pad(k->inner, block, 0x36);
    chopin_pg__hmac_pad(k->outer, block, 0x5c);
    chopin_pg__wipe(block, sizeof block);
}

/* The code of a followed by b. */
static void chopin_pg__hmac_sign(const chopin_pg__hmac_key *k, chopin_str a, chopin_str b, uint8_t out[32]) {
    chopin_pg__sha256_ctx h = { .bytes = 64 };
    memcpy(h.state, k->inner, sizeof h.state);
    chopin_pg__sha256_update(&h, a);
    chopin_pg__sha256_update(&h, b);
    chopin_pg__sha256_final(&h, out);
    h.bytes = 64;
    memcpy(h.state, k->outer, sizeof h.state);
    chopin_pg__sha256_update(&h, chopin_pg__str(out, 32));
    chopin_pg__sha256_final(&h, out);
}

static void chopin_pg__hmac(chopin_str secret, chopin_str message, uint8_t out[32]) {
    chopin_pg__hmac_key k;
    chopin_pg__hmac_init(&k, secret);
    chopin_pg__hmac_sign(&k, message, chopin_pg__absent(), out);
    chopin_pg__wipe(&k, sizeof k);
}

/* ---- PBKDF2 with one block of output, in steps, so that nobody has to wait for all of it ---- */
typedef struct chopin_pg__pbkdf2 {
    chopin_pg__hmac_key key;
    uint32_t u[8];                      // the last code, as words
    uint32_t sum[8];                    // xor of all codes so far
    uint32_t left;                      // rounds to go
} chopin_pg__pbkdf2;

/* rounds > 0. */
static void chopin_pg__pbkdf2_init(chopin_pg__pbkdf2 *p, chopin_str password, chopin_str salt, uint32_t rounds) {
    uint8_t code[32];
    chopin_pg__hmac_init(&p->key, password);
    chopin_pg__hmac_sign(&p->key, salt, CHOPIN_STR("\0\0\0\1"), code);
    for (size_t i = 0; i < 8; i++) p->sum[i] = p->u[i] = chopin_pg__load32(code + 4 * i);
    p->left = rounds - 1;
    chopin_pg__wipe(code, sizeof code);
}

/* HMAC of a code under the same key is two blocks of known shape: 32 bytes, the end mark, and the length 96 * 8. */
static void chopin_pg__pbkdf2_half(const uint32_t pad[8], uint32_t u[8]) {
    uint32_t w[16] = { u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], 0x80000000, 0, 0, 0, 0, 0, 0, 768 };
    memcpy(u, pad, 32);
    chopin_pg__sha256_words(u, w);
}

/* At most `rounds` more. True when the key is ready. */
static bool chopin_pg__pbkdf2_step(chopin_pg__pbkdf2 *p, uint32_t rounds) {
    for (; rounds > 0 && p->left > 0; rounds--, p->left--) {
        chopin_pg__pbkdf2_half(p->key.inner, p->u);
        chopin_pg__pbkdf2_half(p->key.outer, p->u);
        for (size_t i = 0; i < 8; i++) p->sum[i] ^= p->u[i];
    }
    return p->left == 0;
}

static void chopin_pg__pbkdf2_final(chopin_pg__pbkdf2 *p, uint8_t out[32]) {
    for (size_t i = 0; i < 8; i++) chopin_pg__store32(out + 4 * i, p->sum[i]);
    chopin_pg__wipe(p, sizeof *p);
}

/* ---- base64 (RFC 4648 section 4), padded, one spelling per value ---- */

/* Characters for n bytes. */
static inline size_t chopin_pg__base64_size(size_t n) { return (n + 2) / 3 * 4; }

/* Without a branch or an index by the bits: they may be a proof made from the password. */
static char chopin_pg__base64_char(unsigned v) {
    unsigned ch = v + 'A';
    ch += ((25 - v) >> 8 & 1) * ('a' - 26 - 'A');
    ch -= ((51 - v) >> 8 & 1) * ('a' - 26 - ('0' - 52));                      // unsigned: goes up and down around 2^n
    ch -= ((61 - v) >> 8 & 1) * (('0' - 52 + 62) - '+');
    ch += ((62 - v) >> 8 & 1) * ('/' - 63 - ('+' - 62));
    return (char)(ch & 0x7f);
}

/* Writes chopin_pg__base64_size(in.len) characters, no NUL. */
static size_t chopin_pg__base64_encode(chopin_str in, char *out) {
    size_t n = 0;
    for (size_t i = 0; i < in.len; i += 3) {
        const uint8_t *p = (const uint8_t *)in.ptr + i;
        size_t   left = in.len - i;
        unsigned bits = (unsigned)p[0] << 16 | (left > 1 ? (unsigned)p[1] << 8 : 0) | (left > 2 ? p[2] : 0u);
        out[n++] = chopin_pg__base64_char(bits >> 18);
        out[n++] = chopin_pg__base64_char(bits >> 12 & 63);
        out[n++] = left > 1 ? chopin_pg__base64_char(bits >> 6 & 63) : '=';
        out[n++] = left > 2 ? chopin_pg__base64_char(bits & 63) : '=';
    }
    return n;
}

static int chopin_pg__base64_value(char ch) {
    if (ch >= 'A' && ch <= 'Z') return ch - 'A';
    if (ch >= 'a' && ch <= 'z') return ch - 'a' + 26;
    if (ch >= '0' && ch <= '9') return ch - '0' + 52;
    return ch == '+' ? 62 : ch == '/' ? 63 : -1;
}

/* Public input only (it branches). The length written, or -1: not base64, or more than `cap`. Unused bits must be 0. */
static ptrdiff_t chopin_pg__base64_decode(chopin_str in, uint8_t *out, size_t cap) {
    size_t   n = 0, pad = 0;
    unsigned bits = 0;
    if (in.len % 4) return -1;
    while (pad < 2 && in.len > pad && in.ptr[in.len - 1 - pad] == '=') pad++;
    for (size_t i = 0; i < in.len; i++) {
        int v = i < in.len - pad ? chopin_pg__base64_value(in.ptr[i]) : 0;
        if (v < 0) return -1;
        bits = bits << 6 | (unsigned)v;
        if (i % 4 == 0) continue;
        bool beyond = i >= in.len - pad;                                       // only padding from here: the byte must be empty
        unsigned byte = bits >> (6 - 2 * (i % 4)) & 0xff;
        if (beyond) { if (byte) return -1; continue; }
        if (n == cap) return -1;
        out[n++] = (uint8_t)byte;
    }
    return (ptrdiff_t)n;
}

/* ==========================================================================================================
   >>error   one error with all its fields, its line for people, its caret; and the one function that logs
   An error costs nothing until it is set. Then its texts share one block; without memory a shorter line
   stands in the struct itself, so an error never gets lost. The first error stays: later ones do not overwrite it.
   ========================================================================================================== */

CHOPIN_PG_API const char *chopin_pg_status_text(int status) {
    switch (status > 0 ? 0 : status) {
#define CHOPIN_PG__CASE(name, value, text) case (value): return text;
    CHOPIN_PG_STATUSES(CHOPIN_PG__CASE)
#undef CHOPIN_PG__CASE
    default: return "unknown status";
    }
}

CHOPIN_PG_API const char *chopin_pg_status_name(int status) {
    switch (status > 0 ? 0 : status) {
#define CHOPIN_PG__CASE(name, value, text) case (value): return #name;
    CHOPIN_PG_STATUSES(CHOPIN_PG__CASE)
#undef CHOPIN_PG__CASE
    default: return "UNKNOWN";
    }
}

CHOPIN_PG_API const char *chopin_pg_version(void) { return CHOPIN_PG_VERSION; }

/* ---- log ---- */
typedef struct chopin_pg__logger {
    void (*hook)(void *ctx, chopin_pg_level level, const char *text);   // NULL: warnings and errors to standard error
    void  *ctx;
} chopin_pg__logger;

/* One line in one write, so that lines of several threads do not mix. */
static void chopin_pg__log_stderr(chopin_pg_level level, const char *text) {
    char line[700];
    int  n = snprintf(line, sizeof line, "chopin_pg: %s: %s\n", level >= CHOPIN_PG_ERROR ? "error" : "warning", text);
    if (n < 0) return;
    if ((size_t)n >= sizeof line) { n = (int)sizeof line; line[n - 1] = '\n'; }
    ssize_t ignored = write(STDERR_FILENO, line, (size_t)n);
    (void)ignored;
}

/* Control bytes, which a server may have put there, become blanks: one line stays one line, and a terminal is left alone. */
static void chopin_pg__one_line(char *z) {
    for (; *z; z++) {
        if ((unsigned char)*z < 0x20 || *z == 0x7f) *z = ' ';
    }
}

/* Longer messages are cut. */
static CHOPIN_PG__UNUSED void CHOPIN_PG__PRINTF(3, 4) chopin_pg__log(const chopin_pg__logger *l, chopin_pg_level level, const char *format, ...) {
    char    text[640];
    va_list args;
    if (!l->hook && level < CHOPIN_PG_WARNING) return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    chopin_pg__one_line(text);
    if (l->hook) l->hook(l->ctx, level, text);
    else         chopin_pg__log_stderr(level, text);
}

/* ---- life ---- */

/* Nothing wrong so far. `heap` may be NULL: then only the short line is kept. */
static CHOPIN_PG__UNUSED void chopin_pg__error_init(chopin_pg_error *e, chopin_pg__heap *heap) {
    memset(e, 0, offsetof(chopin_pg_error, line_));        // the line is text of its own: zeroing it for every value of a COPY would show
    e->line_[0]  = 0;
    e->statement = -1;
    e->heap_     = heap;
}

/* Back to nothing wrong; gives its memory back. An error that was only zeroed is fine too. */
static CHOPIN_PG__UNUSED void chopin_pg__error_clear(chopin_pg_error *e) {
    if (!e->status && !e->why && !e->store_ && e->statement == -1) return;
    if (e->store_) chopin_pg__release(e->heap_, e->store_, e->store_size_);
    chopin_pg__error_init(e, e->heap_);
}

/* Hands `from` over: `to` is cleared first, `from` is empty afterwards. Both have the same allocator. */
static CHOPIN_PG__UNUSED void chopin_pg__error_move(chopin_pg_error *to, chopin_pg_error *from) {
    chopin_pg__error_clear(to);
    bool in_line = from->why == from->line_, message_in_line = from->message.ptr == from->line_;
    *to = *from;
    if (in_line)         to->why = to->line_;              // these two pointed into the struct that was left
    if (message_in_line) to->message.ptr = to->line_;
    chopin_pg__error_init(from, from->heap_);
}

/* What may be done again, as far as the kind alone says; those who know how far a statement came set it better. */
static chopin_pg_retry_class chopin_pg__retry_of(int status, const char *sqlstate) {
    static const char *const unsent[] = { "57P03", "53300" };
    static const char *const again[] = { "40001", "40P01" };
    static const char *const unknown[] = { "57P01", "57P02", "57P04", "57P05", "25P03" };
    for (size_t i = 0; i < CHOPIN_PG__COUNT(unsent); i++)  if (strcmp(sqlstate, unsent[i]) == 0)  return CHOPIN_PG_RETRY_UNSENT;
    for (size_t i = 0; i < CHOPIN_PG__COUNT(again); i++)   if (strcmp(sqlstate, again[i]) == 0)   return CHOPIN_PG_RETRY_TRANSACTION;
    for (size_t i = 0; i < CHOPIN_PG__COUNT(unknown); i++) if (strcmp(sqlstate, unknown[i]) == 0) return CHOPIN_PG_RETRY_UNKNOWN;
    if (sqlstate[0]) return CHOPIN_PG_RETRY_NEVER;
    if (status == CHOPIN_PG_CONNECT || status == CHOPIN_PG_POOL) return CHOPIN_PG_RETRY_UNSENT;
    bool may_run = status == CHOPIN_PG_TIMEOUT || status == CHOPIN_PG_CANCELED || status == CHOPIN_PG_LOST || status == CHOPIN_PG_PROTOCOL;
    return may_run ? CHOPIN_PG_RETRY_UNKNOWN : CHOPIN_PG_RETRY_NEVER;
}

/* Cuts a line that did not fit so that no half of a UTF-8 sequence stays at its end. */
static void chopin_pg__error_cut(char *line, size_t len) {
    size_t at = len;
    while (at > 0 && len - at < 4 && ((unsigned char)line[at - 1] & 0xc0) == 0x80) at--;
    if (at > 0 && (unsigned char)line[at - 1] >= 0xc0 && chopin_pg__utf8_length(line + at - 1, len - at + 1) == 0) line[at - 1] = 0;
}

/* A block of the error's own, NULL without an allocator or memory. */
static char *chopin_pg__error_store(chopin_pg_error *e, size_t size) {
    if (!e->heap_ || e->store_) return NULL;
    e->store_ = chopin_pg__alloc(e->heap_, size);
    e->store_size_ = e->store_ ? size : 0;
    return e->store_;
}

/* Sets the error unless there is one already, and gives the status that stands then. */
static CHOPIN_PG__UNUSED int chopin_pg__vfail(chopin_pg_error *e, int status, const char *format, va_list args) {
    va_list again;
    if (e->status < 0) return e->status;
    va_copy(again, args);
    int    n = vsnprintf(e->line_, sizeof e->line_, format, args);
    char  *line = e->line_;
    if (n >= (int)sizeof e->line_) {
        char *store = chopin_pg__error_store(e, (size_t)n + 1);
        if (store) vsnprintf(line = store, (size_t)n + 1, format, again);
        else       chopin_pg__error_cut(line, sizeof e->line_ - 1);
    }
    va_end(again);
    chopin_pg__one_line(line);
    e->status = status;
    e->retry = chopin_pg__retry_of(status, "");
    e->why = line;
    e->message = chopin_pg__str_z(line);
    return status;
}

static CHOPIN_PG__UNUSED CHOPIN_PG__COLD int CHOPIN_PG__PRINTF(3, 4) chopin_pg__fail(chopin_pg_error *e, int status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int rc = chopin_pg__vfail(e, status, format, args);
    va_end(args);
    return rc;
}

/* ---- text that is counted before it is cut, like snprintf ---- */
typedef struct chopin_pg__text { char *out; size_t cap, len; } chopin_pg__text;

static void chopin_pg__text_put(chopin_pg__text *t, const char *ptr, size_t len) {
    if (t->len < t->cap) memcpy(t->out + t->len, ptr, chopin_pg__min(len, t->cap - t->len));
    t->len += len;
}
static void chopin_pg__text_put_str(chopin_pg__text *t, chopin_str s) { if (s.len) chopin_pg__text_put(t, s.ptr, s.len); }
static void chopin_pg__text_put_z(chopin_pg__text *t, const char *z) { chopin_pg__text_put(t, z, strlen(z)); }

/* For short pieces only: numbers with a word around them. */
static void CHOPIN_PG__PRINTF(2, 3) chopin_pg__text_putf(chopin_pg__text *t, const char *format, ...) {
    char    piece[96];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(piece, sizeof piece, format, args);
    va_end(args);
    if (n > 0) chopin_pg__text_put(t, piece, chopin_pg__min((size_t)n, sizeof piece - 1));
}

/* Puts the NUL where it fits and gives the length that was wanted. */
static size_t chopin_pg__text_end(chopin_pg__text *t) {
    if (t->cap) t->out[chopin_pg__min(t->len, t->cap - 1)] = 0;
    return t->len;
}

/* ---- the place in the SQL ---- */
typedef struct chopin_pg__place {
    chopin_str line;                    // the line of the SQL it is in
    size_t     at;                      // byte of that line
    int        number;                  // of the line, from 1
    int        column;                  // character of the line, from 1
} chopin_pg__place;

/* Bytes of the character at s; a byte that is no UTF-8 counts as one. */
static size_t chopin_pg__step(chopin_str s) {
    size_t n = chopin_pg__utf8_length(s.ptr, s.len);
    return n ? n : 1;
}

/* `position` counts characters from 1 and is the server's word: it may lie behind the end. False: nowhere. */
static bool chopin_pg__place_find(chopin_str sql, int position, chopin_pg__place *p) {
    size_t at = 0, start = 0;
    if (!sql.ptr || position < 1) return false;
    *p = (chopin_pg__place){ .number = 1, .column = 1 };
    for (int i = 1; i < position; i++) {
        if (at == sql.len) return false;                                       // just behind the end is still good: "unexpected end of input"
        bool over = sql.ptr[at] == '\n';
        at += chopin_pg__step(chopin_pg__skip(sql, at));
        p->column = over ? 1 : p->column + 1;
        if (over) { p->number++; start = at; }
    }
    p->at = at - start;
    p->line = chopin_pg__skip(sql, start);
    p->line.len = chopin_pg__find(p->line, '\n');
    if (p->line.len && p->line.ptr[p->line.len - 1] == '\r') p->line.len--;
    p->at = chopin_pg__min(p->at, p->line.len);
    return true;
}

/* The caret of an error: in the statement, or in the query a function ran. */
static bool chopin_pg__error_place(const chopin_pg_error *e, chopin_pg__place *p) {
    return chopin_pg__place_find(e->sql, e->position, p) || chopin_pg__place_find(e->internal_query, e->internal_position, p);
}

/* Narrows a long line to `before` bytes in front of the place and `after` behind it, at character borders. Sets what was cut off. */
static void chopin_pg__place_window(chopin_pg__place *p, size_t before, size_t after, bool *left, bool *right) {
    size_t from = p->at > before ? p->at - before : 0, to = p->line.len - p->at > after ? p->at + after : p->line.len;
    while (from > 0 && from < p->at && ((unsigned char)p->line.ptr[from] & 0xc0) == 0x80) from++;
    while (to < p->line.len && to > p->at && ((unsigned char)p->line.ptr[to] & 0xc0) == 0x80) to--;
    *left = from > 0;
    *right = to < p->line.len;
    p->line = chopin_pg__str(p->line.ptr + from, to - from);
    p->at -= from;
}

/* Columns a terminal gives to a character: 2 for the wide ones of East Asia and for emoji, 0 for combining marks. */
static int chopin_pg__width(uint32_t code) {
    static const struct { uint32_t from, to; int width; } ranges[] = {
        { 0x300, 0x36f, 0 }, { 0x1100, 0x115f, 2 }, { 0x200b, 0x200f, 0 }, { 0x2e80, 0xa4cf, 2 }, { 0xac00, 0xd7a3, 2 }, { 0xf900, 0xfaff, 2 },
        { 0xfe00, 0xfe0f, 0 }, { 0xfe30, 0xfe6f, 2 }, { 0xff01, 0xff60, 2 }, { 0xffe0, 0xffe6, 2 }, { 0x1f300, 0x1f64f, 2 }, { 0x1f900, 0x1f9ff, 2 },
        { 0x20000, 0x3fffd, 2 },
    };
    for (size_t i = 0; i < CHOPIN_PG__COUNT(ranges); i++) {
        if (code >= ranges[i].from && code <= ranges[i].to) return ranges[i].width;
    }
    return 1;
}

static int chopin_pg__columns(chopin_str s) {
    int columns = 0;
    while (s.len) {
        size_t n = chopin_pg__utf8_length(s.ptr, s.len);
        columns += n ? chopin_pg__width(chopin_pg__utf8_decode(s.ptr, n)) : 1;
        s = chopin_pg__skip(s, n ? n : 1);
    }
    return columns;
}

/* Control characters as blanks, so that the caret stands under its place. */
static void chopin_pg__text_put_plain(chopin_pg__text *t, chopin_str s) {
    for (size_t i = 0; i < s.len; i++) chopin_pg__text_put(t, (unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f ? " " : &s.ptr[i], 1);
}

static void chopin_pg__text_put_caret(chopin_pg__text *t, chopin_pg__place p) {
    bool   left, right;
    chopin_pg__place_window(&p, 50, 50, &left, &right);
    size_t start = t->len;
    chopin_pg__text_putf(t, "LINE %d: %s", p.number, left ? "..." : "");
    size_t indent = t->len - start;
    chopin_pg__text_put_plain(t, p.line);
    chopin_pg__text_put_z(t, right ? "...\n" : "\n");
    indent += (size_t)chopin_pg__columns(chopin_pg__str(p.line.ptr, p.at));
    while (indent-- > 0) chopin_pg__text_put(t, " ", 1);
    chopin_pg__text_put_z(t, "^\n");
}

/* ---- what the server sent ---- */

/* Where the text of a field goes; NULL for numbers and for fields of a later server. */
static chopin_str *chopin_pg__error_field(chopin_pg_error *e, char code) {
    switch (code) {
    case 'S': return &e->severity;        case 'V': return &e->severity_plain;  case 'M': return &e->message;     case 'D': return &e->detail;
    case 'H': return &e->hint;            case 'W': return &e->where;           case 's': return &e->schema;      case 't': return &e->table;
    case 'c': return &e->column;          case 'd': return &e->data_type;       case 'n': return &e->constraint;  case 'q': return &e->internal_query;
    case 'F': return &e->file;            case 'R': return &e->routine;         default:  return NULL;
    }
}

static int chopin_pg__error_number(chopin_str value) {
    uint64_t n;
    return chopin_pg__parse_u64(value, &n) && n <= INT_MAX ? (int)n : 0;
}

/* SQLSTATE is five digits or capitals; anything else is none. */
static void chopin_pg__error_sqlstate(chopin_pg_error *e, chopin_str value) {
    bool ok = value.len == 5;
    for (size_t i = 0; ok && i < 5; i++) ok = chopin_pg__is_digit(value.ptr[i]) || (value.ptr[i] >= 'A' && value.ptr[i] <= 'Z');
    if (ok) memcpy(e->sqlstate, value.ptr, 5);
}

/* Is the body of an E or N what the protocol says: (code, text, NUL)* NUL, and nothing behind? */
static bool chopin_pg__error_body_ok(chopin_str body) {
    while (body.len && body.ptr[0]) {
        size_t end = chopin_pg__find(body, 0);
        if (end == body.len) return false;
        body = chopin_pg__skip(body, end + 1);
    }
    return body.len == 1;
}

/* Fields of a body that is ok; the views point into it. A field that comes twice counts once: the first. */
static void chopin_pg__error_fields(chopin_pg_error *e, chopin_str body) {
    while (body.ptr[0]) {
        char        code = body.ptr[0];
        chopin_str  value = chopin_pg__skip(body, 1);
        chopin_str *field = chopin_pg__error_field(e, code);
        value.len = chopin_pg__find(value, 0);
        if (field && !field->ptr) *field = value;
        if (code == 'C' && !e->sqlstate[0]) chopin_pg__error_sqlstate(e, value);
        if (code == 'P') e->position = chopin_pg__error_number(value);
        if (code == 'p') e->internal_position = chopin_pg__error_number(value);
        if (code == 'L') e->source_line = chopin_pg__error_number(value);
        body = chopin_pg__skip(body, value.len + 2);
    }
}

/* SQLSTATEs of parameters whose type the server cannot tell: what helps is ours to say. */
static bool chopin_pg__error_untyped(const chopin_pg_error *e) { return strcmp(e->sqlstate, "42P18") == 0 || strcmp(e->sqlstate, "42725") == 0; }

static const char chopin_pg__untyped_hint[] = "write $1::type where the type of a parameter cannot be known";

/* message (SQLSTATE, constraint "x"); hint; line and column with the SQL around it. No values of rows: detail and where stay out. */
static void chopin_pg__error_line(const chopin_pg_error *e, chopin_pg__text *t) {
    chopin_pg__place p;
    bool left, right;
    chopin_pg__text_put_str(t, e->message.len ? e->message : CHOPIN_STR("the server sent an error without a message"));
    if (e->sqlstate[0]) chopin_pg__text_putf(t, " (%s)", e->sqlstate);
    if (e->unauthenticated) chopin_pg__text_put_z(t, " [sent before TLS, so perhaps not by the server]");
    if (e->hint.len) { chopin_pg__text_put_z(t, "; hint: "); chopin_pg__text_put_str(t, e->hint); }
    if (chopin_pg__error_untyped(e) && e->hint.ptr != chopin_pg__untyped_hint) chopin_pg__text_putf(t, "; %s", chopin_pg__untyped_hint);
    if (!chopin_pg__error_place(e, &p)) return;
    chopin_pg__place_window(&p, 30, 30, &left, &right);
    chopin_pg__text_putf(t, "; at line %d, column %d: %s", p.number, p.column, left ? "..." : "");
    chopin_pg__text_put_str(t, chopin_pg__str(p.line.ptr, p.at));
    chopin_pg__text_put_z(t, "^");
    chopin_pg__text_put_str(t, chopin_pg__skip(p.line, p.at));
    if (right) chopin_pg__text_put_z(t, "...");
}

static void chopin_pg__error_why(chopin_pg_error *e, char *out, size_t cap) {
    chopin_pg__text t = { .out = out, .cap = cap };
    chopin_pg__error_line(e, &t);
    if (chopin_pg__text_end(&t) >= cap) chopin_pg__error_cut(out, cap - 1);
    chopin_pg__one_line(out);
    e->why = out;
}

/* One block for the body, the SQL, and the line. False: no memory, and then the fields point nowhere. */
static bool chopin_pg__error_keep(chopin_pg_error *e, chopin_str body, chopin_str sql) {
    enum { LINE = 1024 };
    size_t size, sql_len = sql.len > 262144 ? 0 : sql.len;                    // a longer text is not kept, and has no caret
    if (!chopin_pg__add_ok(body.len, sql_len + 1 + LINE, &size)) return false;
    char *store = chopin_pg__error_store(e, size);
    if (!store) return false;
    memcpy(store, body.ptr, body.len);
    if (sql_len) memcpy(store + body.len, sql.ptr, sql_len);
    store[body.len + sql_len] = 0;
    chopin_pg__error_fields(e, chopin_pg__str(store, body.len));
    if (sql_len) e->sql = chopin_pg__str(store + body.len, sql_len);
    if (chopin_pg__error_untyped(e) && !e->hint.len) e->hint = chopin_pg__str_z(chopin_pg__untyped_hint);
    chopin_pg__error_why(e, store + body.len + sql_len + 1, LINE);
    return true;
}

/* No memory: what fits into the struct. */
static void chopin_pg__error_keep_short(chopin_pg_error *e, chopin_str body) {
    chopin_pg_error views = *e;
    chopin_pg__error_fields(&views, body);
    memcpy(e->sqlstate, views.sqlstate, sizeof e->sqlstate);
    views.hint = chopin_pg__absent();
    chopin_pg__error_why(&views, e->line_, sizeof e->line_);
    e->why = e->line_;
    e->message = chopin_pg__str_z(e->line_);
}

/* An E before the first ReadyForQuery: class 28 is about who we are, the rest (57P03 starting, 53300 full, 3D000 no such database) about the place. */
static CHOPIN_PG__UNUSED int chopin_pg__startup_status(const char *sqlstate) {
    return sqlstate[0] == '2' && sqlstate[1] == '8' ? CHOPIN_PG_AUTH : CHOPIN_PG_CONNECT;
}

/* Takes over the body of an ErrorResponse or NoticeResponse (without type and length) and the SQL it is about (may be absent). `status` is what it means
 * here: SERVER, or at startup chopin_pg__startup_status(). The first error stays. Gives the status that stands, PROTOCOL when the body is broken. */
static CHOPIN_PG__UNUSED int chopin_pg__error_server(chopin_pg_error *e, int status, chopin_str body, chopin_str sql) {
    if (e->status < 0) return e->status;
    if (!chopin_pg__error_body_ok(body)) return chopin_pg__fail(e, CHOPIN_PG_PROTOCOL, "the server sent a broken error message");
    if (!chopin_pg__error_keep(e, body, sql)) chopin_pg__error_keep_short(e, body);
    if (!e->severity_plain.ptr) e->severity_plain = e->severity;
    e->status = status;
    e->retry = chopin_pg__retry_of(status, e->sqlstate);
    return status;
}

/* FATAL and PANIC end the session. */
static CHOPIN_PG__UNUSED bool chopin_pg__error_fatal(const chopin_pg_error *e) {
    return chopin_pg__equal_z(e->severity_plain, "FATAL") || chopin_pg__equal_z(e->severity_plain, "PANIC");
}

/* ---- public ---- */

static void chopin_pg__text_put_field(chopin_pg__text *t, const char *label, chopin_str value) {
    if (!value.len) return;
    chopin_pg__text_put_z(t, label);
    chopin_pg__text_put_str(t, value);
    chopin_pg__text_put_z(t, "\n");
}

CHOPIN_PG_API size_t chopin_pg_error_text(const chopin_pg_error *e, char *out, size_t cap) {
    chopin_pg__text  t = { .out = out, .cap = cap };
    chopin_pg__place p;
    chopin_pg__text_put_str(&t, e->severity.len ? e->severity : CHOPIN_STR("ERROR"));
    chopin_pg__text_putf(&t, ": %s%s", e->sqlstate, e->sqlstate[0] ? ": " : "");
    chopin_pg__text_put_field(&t, "", e->message.len ? e->message : chopin_pg__str_z(chopin_pg_status_text(e->status)));
    if (e->unauthenticated) chopin_pg__text_put_z(&t, "NOTE: this text came before TLS was up and may not be the server's\n");
    if (chopin_pg__error_place(e, &p)) chopin_pg__text_put_caret(&t, p);
    chopin_pg__text_put_field(&t, "DETAIL: ", e->detail);
    chopin_pg__text_put_field(&t, "HINT: ", e->hint);
    chopin_pg__text_put_field(&t, "QUERY: ", e->internal_query);
    chopin_pg__text_put_field(&t, "CONTEXT: ", e->where);
    chopin_pg__text_put_field(&t, "SCHEMA NAME: ", e->schema);
    chopin_pg__text_put_field(&t, "TABLE NAME: ", e->table);
    chopin_pg__text_put_field(&t, "COLUMN NAME: ", e->column);
    chopin_pg__text_put_field(&t, "DATA TYPE NAME: ", e->data_type);
    chopin_pg__text_put_field(&t, "CONSTRAINT NAME: ", e->constraint);
    return chopin_pg__text_end(&t);
}

static bool chopin_pg__is_broken(const chopin_pg_error *e, const char *sqlstate, chopin_str by, const char *name) {
    return e && strcmp(e->sqlstate, sqlstate) == 0 && (!name || chopin_pg__equal_z(by, name));
}
CHOPIN_PG_API bool chopin_pg_is_unique(const chopin_pg_error *e, const char *name)    { return e && chopin_pg__is_broken(e, "23505", e->constraint, name); }
CHOPIN_PG_API bool chopin_pg_is_fk(const chopin_pg_error *e, const char *name)        { return e && chopin_pg__is_broken(e, "23503", e->constraint, name); }
CHOPIN_PG_API bool chopin_pg_is_check(const chopin_pg_error *e, const char *name)     { return e && chopin_pg__is_broken(e, "23514", e->constraint, name); }
CHOPIN_PG_API bool chopin_pg_is_not_null(const chopin_pg_error *e, const char *name)  { return e && chopin_pg__is_broken(e, "23502", e->column, name); }
CHOPIN_PG_API bool chopin_pg_is_exclusion(const chopin_pg_error *e, const char *name) { return e && chopin_pg__is_broken(e, "23P01", e->constraint, name); }

/* ==========================================================================================================
   >>dsn   where and as whom: URI or keywords, service file, PG* environment, defaults; hosts, passwords, checked values
   Two halves. Reading gives texts, option by option, and agrees with PQconninfoParse() about what is well-formed. Then the
   texts become numbers, enums and hosts. No message quotes what it read: a mistyped string may have its password anywhere.
   ========================================================================================================== */

/* What a connection string can say. Columns: name, keyword, environment variable, secret. */
#define CHOPIN_PG__OPTIONS(X)                                                                                     \
    X(SERVICE, "service", "PGSERVICE", 0)                      X(SERVICEFILE, "servicefile", "PGSERVICEFILE", 0)  \
    X(USER, "user", "PGUSER", 0)                               X(PASSWORD, "password", "PGPASSWORD", 1)           \
    X(PASSFILE, "passfile", "PGPASSFILE", 0)                   X(DBNAME, "dbname", "PGDATABASE", 0)               \
    X(HOST, "host", "PGHOST", 0)                               X(HOSTADDR, "hostaddr", "PGHOSTADDR", 0)           \
    X(PORT, "port", "PGPORT", 0)                               X(CONNECT_TIMEOUT, "connect_timeout", "PGCONNECT_TIMEOUT", 0) \
    X(CHANNEL_BINDING, "channel_binding", "PGCHANNELBINDING", 0) X(REQUIRE_AUTH, "require_auth", "PGREQUIREAUTH", 0) \
    X(REQUIREPEER, "requirepeer", "PGREQUIREPEER", 0)          X(CLIENT_ENCODING, "client_encoding", "PGCLIENTENCODING", 0) \
    X(OPTIONS, "options", "PGOPTIONS", 0)                      X(APPLICATION_NAME, "application_name", "PGAPPNAME", 0) \
    X(FALLBACK_NAME, "fallback_application_name", "", 0)       X(KEEPALIVES, "keepalives", "", 0)                 \
    X(KEEPALIVES_IDLE, "keepalives_idle", "", 0)               X(KEEPALIVES_INTERVAL, "keepalives_interval", "", 0) \
    X(KEEPALIVES_COUNT, "keepalives_count", "", 0)             X(TCP_USER_TIMEOUT, "tcp_user_timeout", "", 0)     \
    X(SSLMODE, "sslmode", "PGSSLMODE", 0)                      X(SSLNEGOTIATION, "sslnegotiation", "PGSSLNEGOTIATION", 0) \
    X(SSLCOMPRESSION, "sslcompression", "PGSSLCOMPRESSION", 0) X(SSLCERT, "sslcert", "PGSSLCERT", 0)              \
    X(SSLKEY, "sslkey", "PGSSLKEY", 0)                         X(SSLPASSWORD, "sslpassword", "", 1)               \
    X(SSLCERTMODE, "sslcertmode", "PGSSLCERTMODE", 0)          X(SSLROOTCERT, "sslrootcert", "PGSSLROOTCERT", 0)  \
    X(SSLCRL, "sslcrl", "PGSSLCRL", 0)                         X(SSLCRLDIR, "sslcrldir", "PGSSLCRLDIR", 0)        \
    X(SSLSNI, "sslsni", "PGSSLSNI", 0)                         X(SSL_MIN, "ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", 0) \
    X(SSL_MAX, "ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", 0) X(GSSENCMODE, "gssencmode", "PGGSSENCMODE", 0) \
    X(KRBSRVNAME, "krbsrvname", "PGKRBSRVNAME", 0)             X(GSSLIB, "gsslib", "PGGSSLIB", 0)                 \
    X(GSSDELEGATION, "gssdelegation", "PGGSSDELEGATION", 0)    X(REPLICATION, "replication", "", 0)               \
    X(TARGET, "target_session_attrs", "PGTARGETSESSIONATTRS", 0) X(LOAD_BALANCE, "load_balance_hosts", "PGLOADBALANCEHOSTS", 0) \
    X(MIN_PROTOCOL, "min_protocol_version", "PGMINPROTOCOLVERSION", 0) X(MAX_PROTOCOL, "max_protocol_version", "PGMAXPROTOCOLVERSION", 0)

typedef enum chopin_pg__option {
#define CHOPIN_PG__ENUM(name, keyword, variable, secret) CHOPIN_PG__##name,
    CHOPIN_PG__OPTIONS(CHOPIN_PG__ENUM)
#undef CHOPIN_PG__ENUM
    CHOPIN_PG__OPTION_COUNT
} chopin_pg__option;

typedef struct chopin_pg__option_row { const char *keyword, *variable; bool secret; } chopin_pg__option_row;

static const chopin_pg__option_row *chopin_pg__option_at(int option) {
    static const chopin_pg__option_row rows[] = {
#define CHOPIN_PG__ROW(name, keyword, variable, secret) { keyword, variable, secret },
        CHOPIN_PG__OPTIONS(CHOPIN_PG__ROW)
#undef CHOPIN_PG__ROW
    };
    return &rows[option];
}

typedef enum chopin_pg__target {
    CHOPIN_PG__ANY, CHOPIN_PG__READ_WRITE, CHOPIN_PG__READ_ONLY, CHOPIN_PG__PRIMARY, CHOPIN_PG__STANDBY, CHOPIN_PG__PREFER_STANDBY
} chopin_pg__target;

typedef enum chopin_pg__binding { CHOPIN_PG__BINDING_DISABLE, CHOPIN_PG__BINDING_PREFER, CHOPIN_PG__BINDING_REQUIRE } chopin_pg__binding;

/* Ways to log in, as bits of require_auth. NONE: the server asks for nothing. */
enum { CHOPIN_PG__AUTH_NONE = 1, CHOPIN_PG__AUTH_PASSWORD = 2, CHOPIN_PG__AUTH_MD5 = 4, CHOPIN_PG__AUTH_SCRAM = 8, CHOPIN_PG__AUTH_GSS = 16,
       CHOPIN_PG__AUTH_SSPI = 32, CHOPIN_PG__AUTH_OAUTH = 64, CHOPIN_PG__AUTH_ANY = 127 };

typedef struct chopin_pg__host {
    chopin_str host;                    // name, or directory of the unix socket ("/..." or "@..."); "" when only hostaddr was given
    chopin_str hostaddr;                // numeric address, or ""
    chopin_str password;                // for this host; .ptr NULL: none known
    uint16_t   port;
    bool       is_unix;
    bool       is_local;                // unix socket or loopback: nobody listens on the way
} chopin_pg__host;

typedef struct chopin_pg__dsn {
    chopin_pg__arena   arena;
    chopin_str         value[CHOPIN_PG__OPTION_COUNT];   // with a NUL behind; .ptr NULL: not said
    chopin_pg__host   *hosts;           // in the order to try; with `shuffle` from a random one on
    int                host_count;
    chopin_str         user, database, application_name, options, requirepeer;
    const char        *home;            // where .pgpass and .postgresql/ are; NULL: nowhere
    chopin_pg_tls_config tls;
    chopin_pg__binding binding;
    chopin_pg__target  target;
    unsigned           require_auth;    // CHOPIN_PG__AUTH_* that are allowed
    bool               sslmode_said;    // else it is the default "prefer"
    bool               shuffle;         // load_balance_hosts=random
    bool               no_keepalives;
    int                keepalives_idle_s, keepalives_interval_s, keepalives_count, tcp_user_timeout_ms;    // 0: the system's
    int                connect_timeout_s;                                                                  // per host, 0: none
    int                min_minor, max_minor;                                                               // of protocol 3: 0 or 2
} chopin_pg__dsn;

/* Where reading finds things; tests bring their own. */
typedef struct chopin_pg__world {
    const char *(*variable)(void *ctx, const char *name);    // NULL result: not set; texts last until loading is over
    void       *ctx;
    const char *home;                   // NULL: ask the environment, then the user database
    bool        no_files;               // no file that the connection string does not name
    const chopin_pg__logger *log;
} chopin_pg__world;

/* ---- reading: one option ---- */
typedef struct chopin_pg__reader {
    chopin_pg__dsn  *d;
    chopin_str       all, rest;         // the whole string, and what is still to be read
    chopin_pg_error *e;
    char            *scratch;           // room for a value of any length
} chopin_pg__reader;

static CHOPIN_PG__UNUSED int chopin_pg__option_find(chopin_str keyword) {
    for (int i = 0; i < CHOPIN_PG__OPTION_COUNT; i++) {
        if (chopin_pg__equal_z(keyword, chopin_pg__option_at(i)->keyword)) return i;
    }
    return -1;
}

static int chopin_pg__dsn_memory(chopin_pg_error *e) { return chopin_pg__fail(e, CHOPIN_PG_MEMORY, "no memory for the connection string"); }

/* Says what is wrong and where, never what stands there. */
static int chopin_pg__dsn_bad(chopin_pg__reader *r, const char *at, const char *what) {
    return chopin_pg__fail(r->e, CHOPIN_PG_ARG, "connection string: %s (at byte %zu)", what, (size_t)(at - r->all.ptr) + 1);
}

/* A text of this option; a later one replaces it. */
static int chopin_pg__dsn_set(chopin_pg__dsn *d, int option, chopin_str value, chopin_pg_error *e) {
    d->value[option] = chopin_pg__arena_copy(&d->arena, value);
    return d->value[option].ptr ? CHOPIN_PG_OK : chopin_pg__dsn_memory(e);
}

/* By keyword. `requiressl` is how sslmode was spelled before there was one. */
static int chopin_pg__dsn_store(chopin_pg__reader *r, chopin_str keyword, chopin_str value, const char *at) {
    int option = chopin_pg__option_find(keyword);
    if (chopin_pg__equal_z(keyword, "requiressl")) {
        option = CHOPIN_PG__SSLMODE;
        value = value.len && value.ptr[0] == '1' ? CHOPIN_STR("require") : CHOPIN_STR("prefer");
    }
    if (option < 0) return chopin_pg__dsn_bad(r, at, "there is no option of this name");
    return chopin_pg__dsn_set(r->d, option, value, r->e);
}

/* ---- reading: keyword = value ... ---- */
static void chopin_pg__dsn_blanks(chopin_pg__reader *r) {
    while (r->rest.len && chopin_pg__is_space(r->rest.ptr[0])) r->rest = chopin_pg__skip(r->rest, 1);
}

/* 'text with \' and \\' or text without blanks; the result is in `scratch`. False: the quote never ends. */
static bool chopin_pg__dsn_value(chopin_pg__reader *r, size_t *len) {
    chopin_str s = r->rest;
    bool quoted = s.len && s.ptr[0] == '\'', open = quoted;
    if (quoted) s = chopin_pg__skip(s, 1);
    for (*len = 0; s.len; s = chopin_pg__skip(s, 1)) {
        if (quoted ? s.ptr[0] == '\'' : chopin_pg__is_space(s.ptr[0])) { open = false; s = chopin_pg__skip(s, 1); break; }
        if (s.ptr[0] == '\\') {
            s = chopin_pg__skip(s, 1);
            if (!s.len) break;
        }
        r->scratch[(*len)++] = s.ptr[0];
    }
    r->rest = s;
    return !open;
}

static int chopin_pg__dsn_pair(chopin_pg__reader *r) {
    const char *start = r->rest.ptr;
    size_t n = 0, len;
    while (n < r->rest.len && r->rest.ptr[n] != '=' && !chopin_pg__is_space(r->rest.ptr[n])) n++;
    chopin_str keyword = chopin_pg__str(start, n);
    r->rest = chopin_pg__skip(r->rest, n);
    chopin_pg__dsn_blanks(r);
    if (!r->rest.len || r->rest.ptr[0] != '=') return chopin_pg__dsn_bad(r, r->rest.ptr, "expected \"=\" after the name of an option");
    r->rest = chopin_pg__skip(r->rest, 1);
    chopin_pg__dsn_blanks(r);
    const char *at = r->rest.ptr;
    if (!chopin_pg__dsn_value(r, &len)) return chopin_pg__dsn_bad(r, at, "the quote of this value does not end");
    return chopin_pg__dsn_store(r, keyword, chopin_pg__str(r->scratch, len), start);
}

static int chopin_pg__dsn_keywords(chopin_pg__reader *r) {
    r->scratch = chopin_pg__arena_alloc(&r->d->arena, r->all.len + 1);
    if (!r->scratch) return chopin_pg__dsn_memory(r->e);
    for (chopin_pg__dsn_blanks(r); r->rest.len; chopin_pg__dsn_blanks(r)) {
        int rc = chopin_pg__dsn_pair(r);
        if (rc < 0) return rc;
    }
    return CHOPIN_PG_OK;
}

/* ---- reading: postgres://user:password@host:port,host:port/dbname?keyword=value&... ---- */

/* %XX decoded, in the arena; %00 and anything that is not two hex digits is refused. Absent: the error is set. */
static chopin_str chopin_pg__dsn_decode(chopin_pg__reader *r, chopin_str s, const char *at) {
    char  *out = chopin_pg__arena_alloc(&r->d->arena, s.len + 1);
    size_t n = 0;
    if (!out) { chopin_pg__dsn_memory(r->e); return chopin_pg__absent(); }
    for (size_t i = 0; i < s.len; i++) {
        char ch = s.ptr[i];
        if (ch == '%') {
            int high = i + 1 < s.len ? chopin_pg__hex_value(s.ptr[i + 1]) : -1, low = i + 2 < s.len ? chopin_pg__hex_value(s.ptr[i + 2]) : -1;
            bool bad = high < 0 || low < 0;
            if (bad || high + low == 0) {
                chopin_pg__dsn_bad(r, at, bad ? "\"%\" without two hex digits here (write % as %25)" : "%00 is not allowed here");
                return chopin_pg__absent();
            }
            ch = (char)(high << 4 | low);
            i += 2;
        }
        out[n++] = ch;
    }
    out[n] = 0;
    return chopin_pg__str(out, n);
}

/* A part of the URI; an empty one says nothing. */
static int chopin_pg__dsn_part(chopin_pg__reader *r, int option, chopin_str part) {
    if (!part.len) return CHOPIN_PG_OK;
    bool inside = part.ptr >= r->all.ptr && part.ptr <= r->all.ptr + r->all.len;               // lists of hosts were joined elsewhere
    chopin_str value = chopin_pg__dsn_decode(r, part, inside ? part.ptr : r->all.ptr);
    if (!value.ptr) return r->e->status;
    r->d->value[option] = value;
    return CHOPIN_PG_OK;
}

/* user:password@, if there is an "@" before the first "/". */
static int chopin_pg__dsn_userinfo(chopin_pg__reader *r) {
    size_t n = 0;
    while (n < r->rest.len && r->rest.ptr[n] != '@' && r->rest.ptr[n] != '/') n++;
    if (n == r->rest.len || r->rest.ptr[n] == '/') return CHOPIN_PG_OK;
    chopin_str info = chopin_pg__str(r->rest.ptr, n), user = chopin_pg__cut(&info, ':');
    r->rest = chopin_pg__skip(r->rest, n + 1);
    int rc = chopin_pg__dsn_part(r, CHOPIN_PG__USER, user);
    return rc < 0 ? rc : chopin_pg__dsn_part(r, CHOPIN_PG__PASSWORD, info);
}

/* Takes the bytes before the first of `ends`. */
static chopin_str chopin_pg__dsn_until(chopin_pg__reader *r, const char *ends) {
    size_t n = 0;
    while (n < r->rest.len && (!r->rest.ptr[n] || !strchr(ends, r->rest.ptr[n]))) n++;
    chopin_str taken = chopin_pg__str(r->rest.ptr, n);
    r->rest = chopin_pg__skip(r->rest, n);
    return taken;
}

/* One host name, or an IPv6 address in brackets. Absent: the error is set. */
static chopin_str chopin_pg__dsn_hostname(chopin_pg__reader *r) {
    if (!r->rest.len || r->rest.ptr[0] != '[') return chopin_pg__dsn_until(r, ":/?,");
    const char *open = r->rest.ptr, *wrong = NULL;
    r->rest = chopin_pg__skip(r->rest, 1);
    chopin_str host = chopin_pg__dsn_until(r, "]");
    if (!r->rest.len)   wrong = "the \"[\" of an IPv6 address has no \"]\"";
    else if (!host.len) wrong = "there is no address between \"[\" and \"]\"";
    r->rest = chopin_pg__skip(r->rest, 1);
    if (!wrong && r->rest.len && (!r->rest.ptr[0] || !strchr(":/?,", r->rest.ptr[0]))) wrong = "expected \":\" or \"/\" behind this \"[\" and its \"]\"";
    if (!wrong) return host;
    chopin_pg__dsn_bad(r, open, wrong);
    return chopin_pg__absent();
}

/* host:port,host:port ... become two lists, each decoded as a whole. The lists cannot be longer than what is left to read. */
static int chopin_pg__dsn_hostlist(chopin_pg__reader *r) {
    chopin_pg__text hosts = { .cap = r->rest.len }, ports = { .cap = r->rest.len };
    hosts.out = chopin_pg__arena_alloc(&r->d->arena, hosts.cap + 1);
    ports.out = chopin_pg__arena_alloc(&r->d->arena, ports.cap + 1);
    if (!hosts.out || !ports.out) return chopin_pg__dsn_memory(r->e);
    for (;;) {
        chopin_str host = chopin_pg__dsn_hostname(r);
        if (r->e->status < 0) return r->e->status;
        chopin_pg__text_put_str(&hosts, host);
        if (r->rest.len && r->rest.ptr[0] == ':') {
            r->rest = chopin_pg__skip(r->rest, 1);
            chopin_pg__text_put_str(&ports, chopin_pg__dsn_until(r, "/?,"));
        }
        if (!r->rest.len || r->rest.ptr[0] != ',') break;
        r->rest = chopin_pg__skip(r->rest, 1);
        chopin_pg__text_put_z(&hosts, ",");
        chopin_pg__text_put_z(&ports, ",");
    }
    int rc = chopin_pg__dsn_part(r, CHOPIN_PG__HOST, chopin_pg__str(hosts.out, hosts.len));
    return rc < 0 ? rc : chopin_pg__dsn_part(r, CHOPIN_PG__PORT, chopin_pg__str(ports.out, ports.len));
}

/* keyword=value of a query. `ssl=true` is what JDBC calls sslmode=require. */
static int chopin_pg__dsn_parameter(chopin_pg__reader *r, chopin_str parameter) {
    size_t equals = chopin_pg__find(parameter, '=');
    chopin_str value = chopin_pg__skip(parameter, equals + 1), keyword = chopin_pg__str(parameter.ptr, equals);
    if (equals == parameter.len)                     return chopin_pg__dsn_bad(r, parameter.ptr, "expected name=value behind \"?\" or \"&\"");
    if (chopin_pg__find(value, '=') < value.len)     return chopin_pg__dsn_bad(r, parameter.ptr, "one \"=\" too many (write it as %3D)");
    const char *at = keyword.ptr;
    keyword = chopin_pg__dsn_decode(r, keyword, at);
    if (!keyword.ptr) return r->e->status;
    value = chopin_pg__dsn_decode(r, value, at);
    if (!value.ptr) return r->e->status;
    if (chopin_pg__equal_z(keyword, "ssl") && chopin_pg__equal_z(value, "true")) return chopin_pg__dsn_store(r, CHOPIN_STR("sslmode"), CHOPIN_STR("require"), at);
    return chopin_pg__dsn_store(r, keyword, value, at);
}

static int chopin_pg__dsn_uri(chopin_pg__reader *r) {
    int rc = chopin_pg__dsn_userinfo(r);
    if (rc == CHOPIN_PG_OK) rc = chopin_pg__dsn_hostlist(r);
    if (rc == CHOPIN_PG_OK && r->rest.len && r->rest.ptr[0] == '/') {
        r->rest = chopin_pg__skip(r->rest, 1);
        rc = chopin_pg__dsn_part(r, CHOPIN_PG__DBNAME, chopin_pg__dsn_until(r, "?"));
    }
    chopin_str query = chopin_pg__skip(r->rest, 1);
    while (rc == CHOPIN_PG_OK && query.len) rc = chopin_pg__dsn_parameter(r, chopin_pg__cut(&query, '&'));
    return rc;
}

/* Reads a connection string into d->value, which is what PQconninfoParse() gives. 0, ARG or MEMORY. */
static int chopin_pg__dsn_read(chopin_pg__dsn *d, chopin_str text, chopin_pg_error *e) {
    static const char *const prefixes[] = { "postgresql://", "postgres://" };
    chopin_pg__reader r = { d, text, text, e, NULL };
    for (size_t i = 0; i < CHOPIN_PG__COUNT(prefixes); i++) {
        if (!chopin_pg__starts(text, prefixes[i])) continue;
        r.rest = chopin_pg__skip(text, strlen(prefixes[i]));
        return chopin_pg__dsn_uri(&r);
    }
    return chopin_pg__dsn_keywords(&r);
}

/* ---- files ---- */

/* Calls use(ctx, path, all of the file). 1: there is no such file; otherwise what `use` gave. Devices and files over 1 MiB are not read. */
static int chopin_pg__file_read(const chopin_pg__dsn *d, const char *path, bool secret, const chopin_pg__logger *log,
                                int (*use)(void *ctx, const char *path, chopin_str text), void *ctx) {
    enum { MOST = 1 << 20 };
    struct stat st;
    chopin_pg__heap *heap = d->arena.heap;
    int fd = CHOPIN_PG__SYS_OPEN(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), rc = 1;    // NONBLOCK: a FIFO must not hold us
    if (fd < 0) return 1;
    bool known = CHOPIN_PG__SYS_FSTAT(fd, &st) == 0, plain = known && S_ISREG(st.st_mode) && st.st_size <= MOST;
    bool open_to_others = known && secret && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0;
    size_t size = plain ? (size_t)st.st_size : 0;
    if (!plain)              chopin_pg__log(log, CHOPIN_PG_WARNING, "%s is not read: it is no plain file of at most 1 MiB", path);
    else if (open_to_others) chopin_pg__log(log, CHOPIN_PG_WARNING, "%s is not read: others may read it too (chmod 600)", path);
    char *text = plain && !open_to_others ? chopin_pg__alloc(heap, size) : NULL;
    ssize_t got = text ? chopin_pg__read_all(fd, text, size) : -1;
    CHOPIN_PG__SYS_CLOSE(fd);
    if (got >= 0) rc = use(ctx, path, chopin_pg__str(text, (size_t)got));
    if (text && secret) chopin_pg__wipe(text, size);
    chopin_pg__release(heap, text, size);
    return rc;
}

/* directory/name in the arena; NULL without memory. */
static const char *chopin_pg__dsn_path(chopin_pg__dsn *d, const char *directory, const char *name) {
    size_t size = strlen(directory) + strlen(name) + 2;
    char  *path = chopin_pg__arena_alloc(&d->arena, size);
    if (path) snprintf(path, size, "%s/%s", directory, name);
    return path;
}

/* ---- service file: [name] and option=value lines, which count where the connection string said nothing ---- */
typedef struct chopin_pg__service {
    chopin_pg__dsn  *d;
    chopin_str       name;
    chopin_pg_error *e;
    bool             found;
} chopin_pg__service;

static int chopin_pg__service_line(chopin_pg__service *s, chopin_str line, const char *path, int number) {
    chopin_str value = line, keyword = chopin_pg__cut(&value, '=');
    int option = keyword.len < line.len ? chopin_pg__option_find(keyword) : -1;
    if (option == CHOPIN_PG__SERVICE || option == CHOPIN_PG__SERVICEFILE) {
        return chopin_pg__fail(s->e, CHOPIN_PG_ARG, "%s: a service cannot name another one (line %d)", path, number);
    }
    if (option < 0 || chopin_pg__has_nul(value)) return chopin_pg__fail(s->e, CHOPIN_PG_ARG, "%s: expected option=value in line %d", path, number);
    return s->d->value[option].ptr ? CHOPIN_PG_OK : chopin_pg__dsn_set(s->d, option, value, s->e);
}

/* Is this "[name]"? Behind the bracket may stand anything. */
static bool chopin_pg__service_is(chopin_str line, chopin_str name) {
    return line.len >= name.len + 2 && memcmp(line.ptr + 1, name.ptr, name.len) == 0 && line.ptr[name.len + 1] == ']';
}

static int chopin_pg__service_file(void *ctx, const char *path, chopin_str text) {
    chopin_pg__service *s = ctx;
    for (int number = 1; text.len; number++) {
        chopin_str line = chopin_pg__trim(chopin_pg__cut(&text, '\n'));
        if (!line.len || line.ptr[0] == '#') continue;
        if (line.ptr[0] == '[') {
            if (s->found) return CHOPIN_PG_OK;                                // the end of the section
            s->found = chopin_pg__service_is(line, s->name);
        } else if (s->found) {
            int rc = chopin_pg__service_line(s, line, path, number);
            if (rc < 0) return rc;
        }
    }
    return CHOPIN_PG_OK;
}

static const char *chopin_pg__world_variable(const chopin_pg__world *w, const char *name) { return w->variable && *name ? w->variable(w->ctx, name) : NULL; }

/* The files to look into, in order: the named one alone, or the user's, then the system's. */
static int chopin_pg__dsn_service(chopin_pg__dsn *d, const chopin_pg__world *w, chopin_pg_error *e) {
    const char *variable = chopin_pg__world_variable(w, "PGSERVICE"), *named = chopin_pg__world_variable(w, "PGSERVICEFILE");
    const char *system = chopin_pg__world_variable(w, "PGSYSCONFDIR");
    if (!d->value[CHOPIN_PG__SERVICE].ptr && (!variable || chopin_pg__dsn_set(d, CHOPIN_PG__SERVICE, chopin_pg__str_z(variable), e) < 0)) return e->status;
    if (d->value[CHOPIN_PG__SERVICEFILE].len) named = d->value[CHOPIN_PG__SERVICEFILE].ptr;
    chopin_pg__service s = { d, d->value[CHOPIN_PG__SERVICE], e, false };
    const char *files[2] = { named && *named ? named : d->home ? chopin_pg__dsn_path(d, d->home, ".pg_service.conf") : NULL,
                             chopin_pg__dsn_path(d, system ? system : "/etc/postgresql-common", "pg_service.conf") };
    for (size_t i = 0; i < 2 && !s.found; i++) {
        int rc = files[i] ? chopin_pg__file_read(d, files[i], false, w->log, chopin_pg__service_file, &s) : 1;
        if (rc < 0) return rc;
        if (rc == 1 && i == 0 && named && *named) return chopin_pg__fail(e, CHOPIN_PG_ARG, "the service file %s cannot be read", named);
    }
    return s.found ? CHOPIN_PG_OK : chopin_pg__fail(e, CHOPIN_PG_ARG, "this service stands in no service file (~/.pg_service.conf, PGSERVICEFILE)");
}

/* ---- environment and defaults ---- */
static int chopin_pg__dsn_environment(chopin_pg__dsn *d, const chopin_pg__world *w, chopin_pg_error *e) {
    for (int i = 0; i < CHOPIN_PG__OPTION_COUNT; i++) {
        const char *value = d->value[i].ptr ? NULL : chopin_pg__world_variable(w, chopin_pg__option_at(i)->variable);
        if (value && chopin_pg__dsn_set(d, i, chopin_pg__str_z(value), e) < 0) return e->status;
    }
    const char *old = d->value[CHOPIN_PG__SSLMODE].ptr ? NULL : chopin_pg__world_variable(w, "PGREQUIRESSL");
    return old && old[0] == '1' ? chopin_pg__dsn_set(d, CHOPIN_PG__SSLMODE, CHOPIN_STR("require"), e) : CHOPIN_PG_OK;
}

/* The user database's word on this process: its name, or its home directory. */
static chopin_str chopin_pg__dsn_account(chopin_pg__dsn *d, bool home) {
    struct passwd entry, *found = NULL;
    enum { SIZE = 4096 };
    char *room = chopin_pg__arena_alloc(&d->arena, SIZE);
    if (!room || getpwuid_r(geteuid(), &entry, room, SIZE, &found) != 0 || !found) return chopin_pg__absent();
    return chopin_pg__str_z(home ? entry.pw_dir : entry.pw_name);
}

static int chopin_pg__dsn_home(chopin_pg__dsn *d, const chopin_pg__world *w) {
    const char *home = w->home ? w->home : chopin_pg__world_variable(w, "HOME");
    chopin_str found = home && *home ? chopin_pg__str_z(home) : w->no_files ? chopin_pg__absent() : chopin_pg__dsn_account(d, true);
    d->home = found.len ? chopin_pg__arena_copy(&d->arena, found).ptr : NULL;
    return CHOPIN_PG_OK;
}

/* ---- checking: texts to values ---- */

/* What this option says; "" when it says nothing. */
static chopin_str chopin_pg__dsn_value_of(const chopin_pg__dsn *d, int option) { return d->value[option].ptr ? d->value[option] : CHOPIN_STR(""); }

static int chopin_pg__dsn_wrong(int option, const char *expected, chopin_pg_error *e) {
    return chopin_pg__fail(e, CHOPIN_PG_ARG, "connection option %s: expected %s", chopin_pg__option_at(option)->keyword, expected);
}

/* One of the words in `words` ("disable|prefer|require"), as its number; `otherwise` when nothing is said. -1: none of them, the error is set. Said but empty
 * is no word either: an sslmode from a variable that was not there must not become the default. */
static int chopin_pg__dsn_word(const chopin_pg__dsn *d, int option, const char *words, int otherwise, chopin_pg_error *e) {
    chopin_str value = d->value[option], rest = chopin_pg__str_z(words);
    if (!value.ptr) return otherwise;
    for (int i = 0; rest.len; i++) {
        if (chopin_pg__equal(chopin_pg__cut(&rest, '|'), value)) return i;
    }
    chopin_pg__dsn_wrong(option, words, e);
    return -1;
}

/* A whole number as strtol() reads it: blanks around, a sign; it must fit an int. */
static bool chopin_pg__dsn_integer(chopin_str s, int *out) {
    int64_t value;
    s = chopin_pg__trim(s);
    if (s.len > 1 && s.ptr[0] == '+' && s.ptr[1] != '-') s = chopin_pg__skip(s, 1);
    if (!chopin_pg__parse_i64(s, &value) || value < INT_MIN || value > INT_MAX) return false;
    *out = (int)value;
    return true;
}

static int chopin_pg__dsn_number(const chopin_pg__dsn *d, int option, int *out, chopin_pg_error *e) {
    if (!d->value[option].ptr) return CHOPIN_PG_OK;
    return chopin_pg__dsn_integer(d->value[option], out) ? CHOPIN_PG_OK : chopin_pg__dsn_wrong(option, "a whole number", e);
}

/* require_auth: a list of ways, or a list of "!way"; never mixed, none twice. */
static int chopin_pg__dsn_require_auth(chopin_pg__dsn *d, chopin_pg_error *e) {
    static const char *const names[] = { "none", "password", "md5", "scram-sha-256", "gss", "sspi", "oauth" };
    chopin_str rest = chopin_pg__dsn_value_of(d, CHOPIN_PG__REQUIRE_AUTH);
    bool     negative = rest.len && rest.ptr[0] == '!', more = rest.len > 0;
    unsigned seen = 0;
    while (more) {
        size_t comma = chopin_pg__find(rest, ',');
        more = comma < rest.len;
        chopin_str name = chopin_pg__cut(&rest, ',');
        bool not = name.len && name.ptr[0] == '!';
        unsigned bit = 0;
        if (not) name = chopin_pg__skip(name, 1);
        for (unsigned i = 0; i < CHOPIN_PG__COUNT(names); i++) bit |= chopin_pg__equal_z(name, names[i]) ? 1u << i : 0u;
        if (!bit || (seen & bit) || not != negative) {
            return chopin_pg__dsn_wrong(CHOPIN_PG__REQUIRE_AUTH, "a list of none, password, md5, scram-sha-256, gss, sspi, each once, all or none with \"!\"", e);
        }
        seen |= bit;
    }
    d->require_auth = !seen ? CHOPIN_PG__AUTH_ANY : negative ? CHOPIN_PG__AUTH_ANY & ~seen : seen;
    return CHOPIN_PG_OK;
}

static const char *chopin_pg__dsn_version_name(int version) {
    static const char *const names[] = { "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3" };
    return names[version];
}

/* The number of a TLS version, in any case of letters; empty says nothing. */
static int chopin_pg__dsn_version(const chopin_pg__dsn *d, int option, int otherwise, chopin_pg_error *e) {
    chopin_str value = chopin_pg__dsn_value_of(d, option);
    if (!value.len) return otherwise;
    for (int i = 0; i < 4; i++) if (chopin_pg__equal_nocase(value, chopin_pg__str_z(chopin_pg__dsn_version_name(i)))) return i;
    return chopin_pg__dsn_wrong(option, "TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3", e);
}

static int chopin_pg__dsn_tls_words(chopin_pg__dsn *d, chopin_pg_error *e) {
    chopin_pg_tls_config *t = &d->tls;
    chopin_str sni = chopin_pg__dsn_value_of(d, CHOPIN_PG__SSLSNI);
    bool system = chopin_pg__equal_z(chopin_pg__dsn_value_of(d, CHOPIN_PG__SSLROOTCERT), "system");
    d->sslmode_said = d->value[CHOPIN_PG__SSLMODE].len > 0;
    int mode = chopin_pg__dsn_word(d, CHOPIN_PG__SSLMODE, "disable|allow|prefer|require|verify-ca|verify-full", system ? CHOPIN_PG_SSL_VERIFY_FULL : CHOPIN_PG_SSL_PREFER, e);
    int direct = chopin_pg__dsn_word(d, CHOPIN_PG__SSLNEGOTIATION, "postgres|direct", 0, e);
    int least = chopin_pg__dsn_version(d, CHOPIN_PG__SSL_MIN, 2, e), most = chopin_pg__dsn_version(d, CHOPIN_PG__SSL_MAX, 3, e);
    int cert = chopin_pg__dsn_word(d, CHOPIN_PG__SSLCERTMODE, "disable|allow|require", 1, e);
    if (e->status < 0) return e->status;
    t->mode = (chopin_pg_sslmode)mode;
    t->direct = direct == 1;
    t->no_sni = chopin_pg__equal_z(sni, "0");
    if (d->value[CHOPIN_PG__SSL_MIN].len) t->min_version = chopin_pg__dsn_version_name(least);
    if (d->value[CHOPIN_PG__SSL_MAX].len) t->max_version = chopin_pg__dsn_version_name(most);
    t->cert_mode = cert == 0 ? "disable" : cert == 2 ? "require" : "allow";
    if (sni.len > 1 || (sni.len && sni.ptr[0] != '0' && sni.ptr[0] != '1')) return chopin_pg__dsn_wrong(CHOPIN_PG__SSLSNI, "0 or 1", e);
    if (least > most) return chopin_pg__dsn_wrong(CHOPIN_PG__SSL_MIN, "at most ssl_max_protocol_version", e);
    if (t->direct && t->mode < CHOPIN_PG_SSL_REQUIRE) return chopin_pg__dsn_wrong(CHOPIN_PG__SSLNEGOTIATION, "sslmode=require or stronger with \"direct\"", e);
    if (system && t->mode < CHOPIN_PG_SSL_VERIFY_FULL) return chopin_pg__dsn_wrong(CHOPIN_PG__SSLROOTCERT, "sslmode=verify-full with \"system\"", e);
    return CHOPIN_PG_OK;
}

static const char *chopin_pg__dsn_z(const chopin_pg__dsn *d, int option) { return d->value[option].len ? d->value[option].ptr : NULL; }

static void chopin_pg__dsn_tls_files(chopin_pg__dsn *d) {
    chopin_pg_tls_config *t = &d->tls;
    t->root_cert = chopin_pg__dsn_z(d, CHOPIN_PG__SSLROOTCERT);
    t->cert = chopin_pg__dsn_z(d, CHOPIN_PG__SSLCERT);
    t->key = chopin_pg__dsn_z(d, CHOPIN_PG__SSLKEY);
    t->key_password = chopin_pg__dsn_z(d, CHOPIN_PG__SSLPASSWORD);
    t->crl = chopin_pg__dsn_z(d, CHOPIN_PG__SSLCRL);
    t->crl_dir = chopin_pg__dsn_z(d, CHOPIN_PG__SSLCRLDIR);
    t->home = d->home;
}

/* 3.0 and 3.2 are versions, 3.1 never was. */
static int chopin_pg__dsn_protocol(chopin_pg__dsn *d, chopin_pg_error *e) {
    static const int minors[] = { 0, 2, 2 };
    int least = chopin_pg__dsn_word(d, CHOPIN_PG__MIN_PROTOCOL, "3.0|3.2|latest", 0, e);
    int most = chopin_pg__dsn_word(d, CHOPIN_PG__MAX_PROTOCOL, "3.0|3.2|latest", least > 0 ? 1 : 0, e);
    if (e->status < 0) return e->status;
    d->min_minor = minors[least];
    d->max_minor = minors[most];
    return d->min_minor > d->max_minor ? chopin_pg__dsn_wrong(CHOPIN_PG__MIN_PROTOCOL, "at most max_protocol_version", e) : CHOPIN_PG_OK;
}

/* All text here is UTF-8, so another client_encoding would be a lie; replication and GSSAPI encryption are other protocols. */
static int chopin_pg__dsn_unsupported(const chopin_pg__dsn *d, chopin_pg_error *e) {
    static const char *const utf8[] = { "", "auto", "utf8", "utf-8", "unicode" }, *const off[] = { "", "0", "off", "no", "false" };
    bool fine = false, plain = false;
    for (size_t i = 0; i < CHOPIN_PG__COUNT(utf8); i++) fine |= chopin_pg__equal_nocase(chopin_pg__dsn_value_of(d, CHOPIN_PG__CLIENT_ENCODING), chopin_pg__str_z(utf8[i]));
    for (size_t i = 0; i < CHOPIN_PG__COUNT(off); i++)  plain |= chopin_pg__equal_nocase(chopin_pg__dsn_value_of(d, CHOPIN_PG__REPLICATION), chopin_pg__str_z(off[i]));
    if (!fine)  return chopin_pg__dsn_wrong(CHOPIN_PG__CLIENT_ENCODING, "UTF8: this client speaks nothing else", e);
    if (!plain) return chopin_pg__dsn_wrong(CHOPIN_PG__REPLICATION, "off: this client does not replicate", e);
    int gss = chopin_pg__dsn_word(d, CHOPIN_PG__GSSENCMODE, "disable|prefer|require", 0, e);
    return gss == 2 ? chopin_pg__dsn_wrong(CHOPIN_PG__GSSENCMODE, "disable or prefer: GSSAPI is not supported", e) : e->status;
}

static int chopin_pg__dsn_numbers(chopin_pg__dsn *d, chopin_pg_error *e) {
    int keepalives = 1;
    chopin_pg__dsn_number(d, CHOPIN_PG__CONNECT_TIMEOUT, &d->connect_timeout_s, e);
    chopin_pg__dsn_number(d, CHOPIN_PG__KEEPALIVES, &keepalives, e);
    chopin_pg__dsn_number(d, CHOPIN_PG__KEEPALIVES_IDLE, &d->keepalives_idle_s, e);
    chopin_pg__dsn_number(d, CHOPIN_PG__KEEPALIVES_INTERVAL, &d->keepalives_interval_s, e);
    chopin_pg__dsn_number(d, CHOPIN_PG__KEEPALIVES_COUNT, &d->keepalives_count, e);
    chopin_pg__dsn_number(d, CHOPIN_PG__TCP_USER_TIMEOUT, &d->tcp_user_timeout_ms, e);
    d->no_keepalives = keepalives == 0;
    if (d->connect_timeout_s < 0) d->connect_timeout_s = 0;
    return e->status;
}

static int chopin_pg__dsn_words(chopin_pg__dsn *d, chopin_pg_error *e) {
    int binding = chopin_pg__dsn_word(d, CHOPIN_PG__CHANNEL_BINDING, "disable|prefer|require", CHOPIN_PG__BINDING_PREFER, e);
    int target = chopin_pg__dsn_word(d, CHOPIN_PG__TARGET, "any|read-write|read-only|primary|standby|prefer-standby", CHOPIN_PG__ANY, e);
    int balance = chopin_pg__dsn_word(d, CHOPIN_PG__LOAD_BALANCE, "disable|random", 0, e);
    if (e->status < 0) return e->status;
    d->binding = (chopin_pg__binding)binding;
    d->target = (chopin_pg__target)target;
    d->shuffle = balance == 1;
    return CHOPIN_PG_OK;
}

/* User, database, application name, options. */
static int chopin_pg__dsn_names(chopin_pg__dsn *d, const char *application_name, chopin_pg_error *e) {
    chopin_str name = chopin_pg__dsn_value_of(d, CHOPIN_PG__APPLICATION_NAME);
    if (!d->value[CHOPIN_PG__APPLICATION_NAME].ptr) name = chopin_pg__dsn_value_of(d, CHOPIN_PG__FALLBACK_NAME);
    if (application_name) name = chopin_pg__arena_copy(&d->arena, chopin_pg__str_z(application_name));
    if (!name.ptr) return chopin_pg__dsn_memory(e);
    d->user = chopin_pg__dsn_value_of(d, CHOPIN_PG__USER);
    if (!d->user.len) d->user = chopin_pg__dsn_account(d, false);
    if (!d->user.len) return chopin_pg__dsn_wrong(CHOPIN_PG__USER, "a name: this process's user id has none", e);
    d->database = chopin_pg__dsn_value_of(d, CHOPIN_PG__DBNAME).len ? d->value[CHOPIN_PG__DBNAME] : d->user;
    d->application_name = name;
    d->options = chopin_pg__dsn_value_of(d, CHOPIN_PG__OPTIONS);
    d->requirepeer = chopin_pg__dsn_value_of(d, CHOPIN_PG__REQUIREPEER);
    return CHOPIN_PG_OK;
}

/* ---- hosts: three comma lists side by side ---- */
static int chopin_pg__list_count(chopin_str list) {
    int n = 1;
    for (size_t i = 0; i < list.len; i++) n += list.ptr[i] == ',';
    return n;
}

static bool chopin_pg__is_socket_path(chopin_str host) { return host.len && (host.ptr[0] == '/' || host.ptr[0] == '@'); }

/* Debian's directory when it is there, else PostgreSQL's own. */
static const char *chopin_pg__socket_dir(void) {
    struct stat st;
    return stat("/var/run/postgresql", &st) == 0 && S_ISDIR(st.st_mode) ? "/var/run/postgresql" : "/tmp";
}

/* 127.0.0.0/8, ::1, localhost. */
static bool chopin_pg__is_loopback(const char *host) {
    uint8_t four[4], six[16];
    static const uint8_t one[16] = { [15] = 1 };
    if (inet_pton(AF_INET, host, four) == 1) return four[0] == 127;
    if (inet_pton(AF_INET6, host, six) == 1) return memcmp(six, one, 16) == 0;
    return chopin_pg__equal_nocase(chopin_pg__str_z(host), CHOPIN_STR("localhost"));
}

/* 0: not valid. */
static uint16_t chopin_pg__port_of(chopin_str text) {
    int port = 5432;
    if (text.len && (!chopin_pg__dsn_integer(text, &port) || port < 1 || port > 65535)) return 0;
    return (uint16_t)port;
}

static int chopin_pg__host_fill(chopin_pg__dsn *d, chopin_pg__host *h, chopin_str host, chopin_str addr, chopin_str port, chopin_pg_error *e) {
    h->hostaddr = chopin_pg__arena_copy(&d->arena, addr.len ? addr : CHOPIN_STR(""));
    if (!host.len && !addr.len) host = chopin_pg__str_z(chopin_pg__socket_dir());
    h->host = chopin_pg__arena_copy(&d->arena, host.len ? host : CHOPIN_STR(""));
    if (!h->host.ptr || !h->hostaddr.ptr) return chopin_pg__dsn_memory(e);
    h->is_unix = !addr.len && chopin_pg__is_socket_path(h->host);
    h->is_local = h->is_unix || chopin_pg__is_loopback(addr.len ? h->hostaddr.ptr : h->host.ptr);
    h->port = chopin_pg__port_of(port);
    return h->port ? CHOPIN_PG_OK : chopin_pg__dsn_wrong(CHOPIN_PG__PORT, "a number from 1 to 65535, or one for each host", e);
}

static int chopin_pg__dsn_hosts(chopin_pg__dsn *d, chopin_pg_error *e) {
    chopin_str hosts = chopin_pg__dsn_value_of(d, CHOPIN_PG__HOST), addrs = chopin_pg__dsn_value_of(d, CHOPIN_PG__HOSTADDR);
    chopin_str ports = chopin_pg__dsn_value_of(d, CHOPIN_PG__PORT);
    int count = chopin_pg__list_count(addrs.len ? addrs : hosts), port_count = chopin_pg__list_count(ports);
    if (addrs.len && hosts.len && chopin_pg__list_count(hosts) != count) return chopin_pg__dsn_wrong(CHOPIN_PG__HOSTADDR, "as many addresses as hosts", e);
    if (port_count != 1 && port_count != count) return chopin_pg__dsn_wrong(CHOPIN_PG__PORT, "one port, or one for each host", e);
    d->hosts = chopin_pg__arena_alloc(&d->arena, (size_t)count * sizeof *d->hosts);
    if (!d->hosts) return chopin_pg__dsn_memory(e);
    chopin_str port = chopin_pg__cut(&ports, ',');
    for (d->host_count = 0; d->host_count < count; d->host_count++) {
        chopin_pg__host *h = &d->hosts[d->host_count];
        *h = (chopin_pg__host){ .port = 0 };
        if (d->host_count > 0 && port_count > 1) port = chopin_pg__cut(&ports, ',');
        int rc = chopin_pg__host_fill(d, h, chopin_pg__cut(&hosts, ','), chopin_pg__cut(&addrs, ','), port, e);
        if (rc < 0) return rc;
    }
    return CHOPIN_PG_OK;
}

/* ---- password file: host:port:database:user:password, "*" for any, "\" before ":" and "\" ---- */

/* Does the first field of `line` say `value`? Then it is taken off, with its colon. */
static bool chopin_pg__passfile_field(chopin_str *line, chopin_str value) {
    size_t i = 0, at = 0;
    if (line->len > 1 && line->ptr[0] == '*' && line->ptr[1] == ':') { *line = chopin_pg__skip(*line, 2); return true; }
    for (; i < line->len && line->ptr[i] != ':'; i++) {
        if (line->ptr[i] == '\\' && i + 1 < line->len) i++;
        if (at == value.len || line->ptr[i] != value.ptr[at++]) return false;
    }
    if (i == line->len || at < value.len) return false;
    *line = chopin_pg__skip(*line, i + 1);
    return true;
}

/* The password of the first line that fits, as it stands in the file; .ptr NULL: none fits. Pure. */
static chopin_str chopin_pg__passfile_find(chopin_str text, chopin_str host, chopin_str port, chopin_str database, chopin_str user) {
    while (text.len) {
        chopin_str line = chopin_pg__cut(&text, '\n');
        line.len = chopin_pg__find(line, 0);
        while (line.len && line.ptr[line.len - 1] == '\r') line.len--;
        if (!line.len || line.ptr[0] == '#') continue;
        if (chopin_pg__passfile_field(&line, host) && chopin_pg__passfile_field(&line, port) &&
            chopin_pg__passfile_field(&line, database) && chopin_pg__passfile_field(&line, user)) return line;
    }
    return chopin_pg__absent();
}

/* Takes the backslashes out, in place; an unescaped colon ends it. Gives the length. */
static size_t chopin_pg__passfile_unescape(char *s, size_t len) {
    size_t n = 0;
    for (size_t i = 0; i < len && s[i] != ':'; i++) {
        if (s[i] == '\\' && i + 1 < len) i++;
        s[n++] = s[i];
    }
    return n;
}

static int chopin_pg__passfile_use(void *ctx, const char *path, chopin_str text) {
    chopin_pg__dsn *d = ctx;
    (void)path;
    for (int i = 0; i < d->host_count; i++) {
        chopin_pg__host *h = &d->hosts[i];
        char port[24];
        chopin_str host = h->host.len ? h->host : h->hostaddr;
        if (h->is_unix && chopin_pg__equal_z(host, chopin_pg__socket_dir())) host = CHOPIN_STR("localhost");
        chopin_str found = chopin_pg__passfile_find(text, host, chopin_pg__str(port, chopin_pg__format_u64(port, h->port)), d->database, d->user);
        if (!found.ptr) continue;
        h->password = chopin_pg__arena_copy(&d->arena, found);
        if (!h->password.ptr) continue;                                        // no memory: as if there were none, the server says what it wants
        h->password.len = chopin_pg__passfile_unescape((char *)(uintptr_t)h->password.ptr, h->password.len);
        if (!h->password.len) h->password = chopin_pg__absent();
    }
    return CHOPIN_PG_OK;
}

/* The string's or the environment's password is for all hosts; only without one the file is asked. */
static void chopin_pg__dsn_passwords(chopin_pg__dsn *d, const chopin_pg__world *w) {
    chopin_str said = chopin_pg__dsn_value_of(d, CHOPIN_PG__PASSWORD);
    const char *path = chopin_pg__dsn_z(d, CHOPIN_PG__PASSFILE);
    for (int i = 0; i < d->host_count && said.len; i++) d->hosts[i].password = said;
    if (said.len) return;
    if (!path && d->home && !w->no_files) path = chopin_pg__dsn_path(d, d->home, ".pgpass");
    if (path) chopin_pg__file_read(d, path, true, w->log, chopin_pg__passfile_use, d);
}

/* ---- all together ---- */
static const char *chopin_pg__world_getenv(void *ctx, const char *name) { (void)ctx; return getenv(name); }

static int chopin_pg__dsn_check(chopin_pg__dsn *d, const char *application_name, chopin_pg_error *e) {
    int rc = chopin_pg__dsn_names(d, application_name, e);
    if (rc == CHOPIN_PG_OK) rc = chopin_pg__dsn_hosts(d, e);
    if (rc == CHOPIN_PG_OK) rc = chopin_pg__dsn_words(d, e);
    if (rc == CHOPIN_PG_OK) rc = chopin_pg__dsn_numbers(d, e);
    if (rc == CHOPIN_PG_OK) rc = chopin_pg__dsn_require_auth(d, e);
    if (rc == CHOPIN_PG_OK) rc = chopin_pg__dsn_protocol(d, e);
    if (rc == CHOPIN_PG_OK) rc = chopin_pg__dsn_tls_words(d, e);
    if (rc == CHOPIN_PG_OK) rc = chopin_pg__dsn_unsupported(d, e);
    chopin_pg__dsn_tls_files(d);
    return rc;
}

/* Wipes and frees all of it. */
static CHOPIN_PG__UNUSED void chopin_pg__dsn_done(chopin_pg__dsn *d) {
    chopin_pg__arena_wipe(&d->arena);
    d->hosts = NULL;
    d->host_count = 0;
}

/* The whole way from `url` (NULL: nothing said) to values. 0, ARG or MEMORY with the reason; chopin_pg__dsn_done() is due in each case. */
static CHOPIN_PG__UNUSED int chopin_pg__dsn_load(chopin_pg__dsn *d, chopin_pg__heap *heap, const char *url, const char *application_name,
                                                 const chopin_pg__world *w, chopin_pg_error *e) {
    *d = (chopin_pg__dsn){ .host_count = 0 };
    chopin_pg__arena_init(&d->arena, heap, (size_t)4 << 20);
    int rc = chopin_pg__dsn_read(d, url ? chopin_pg__str_z(url) : CHOPIN_STR(""), e);
    if (rc == CHOPIN_PG_OK) rc = chopin_pg__dsn_home(d, w);
    if (rc == CHOPIN_PG_OK) rc = chopin_pg__dsn_service(d, w, e);
    if (rc == CHOPIN_PG_OK) rc = chopin_pg__dsn_environment(d, w, e);
    if (rc == CHOPIN_PG_OK) rc = chopin_pg__dsn_check(d, application_name, e);
    if (rc == CHOPIN_PG_OK) chopin_pg__dsn_passwords(d, w);
    return rc;
}

/* The same as chopin_pg_options say it. */
static CHOPIN_PG__UNUSED int chopin_pg__dsn_open(chopin_pg__dsn *d, chopin_pg__heap *heap, const chopin_pg_options *o, const chopin_pg__logger *log, chopin_pg_error *e) {
    chopin_pg__world w = { .variable = o->no_env ? NULL : chopin_pg__world_getenv, .no_files = o->no_env, .log = log };
    return chopin_pg__dsn_load(d, heap, o->url, o->application_name, &w, e);
}

/* Clear text is never silent: without TLS a host that is not local needs an sslmode=disable that was said; with TLS, libpq's rules hold. */
static CHOPIN_PG__UNUSED int chopin_pg__dsn_tls_allowed(const chopin_pg__dsn *d, bool have_tls, chopin_pg_error *e) {
    for (int i = 0; i < d->host_count && !have_tls; i++) {
        if (d->hosts[i].is_unix || d->tls.mode == CHOPIN_PG_SSL_DISABLE) continue;
        if (d->tls.mode >= CHOPIN_PG_SSL_REQUIRE) {
            return chopin_pg__fail(e, CHOPIN_PG_TLS, "sslmode demands TLS and there is none (compile with CHOPIN_PG_OPENSSL, or set chopin_pg_options.tls)");
        }
        if (!d->hosts[i].is_local) {
            return chopin_pg__fail(e, CHOPIN_PG_TLS, "host %d is not local and there is no TLS (compile with CHOPIN_PG_OPENSSL, set chopin_pg_options.tls, "
                                   "or say sslmode=disable)", i + 1);
        }
    }
    return CHOPIN_PG_OK;
}

/* key='value' for all that was said; secrets as ***. Like snprintf. */
static CHOPIN_PG__UNUSED size_t chopin_pg__dsn_text(const chopin_pg__dsn *d, char *out, size_t cap) {
    chopin_pg__text t = { .out = out, .cap = cap };
    for (int i = 0; i < CHOPIN_PG__OPTION_COUNT; i++) {
        chopin_str value = d->value[i];
        if (!value.ptr) continue;
        chopin_pg__text_putf(&t, "%s%s='", t.len ? " " : "", chopin_pg__option_at(i)->keyword);
        if (chopin_pg__option_at(i)->secret) value = CHOPIN_STR("***");
        for (size_t k = 0; k < value.len; k++) {
            if (value.ptr[k] == '\'' || value.ptr[k] == '\\') chopin_pg__text_put_z(&t, "\\");
            chopin_pg__text_put(&t, &value.ptr[k], 1);
        }
        chopin_pg__text_put_z(&t, "'");
    }
    return chopin_pg__text_end(&t);
}

/* ==========================================================================================================
   >>auth   logging in: password, md5, SCRAM-SHA-256 and -PLUS (RFC 5802, 7677), as one machine without input or output
   It is fed the bodies of R messages and says what to send, so tests and fuzzers need no server. Policy (require_auth,
   channel binding, clear text) is checked before a secret is used; at Ok the whole way is looked at again.
   ========================================================================================================== */

/* ---- SASLprep (RFC 4013) for passwords: ASCII as it is, the letters people type normalised (NFKC), everything else raw, as libpq falls back too ---- */
enum { CHOPIN_PG__PREP_MAX = 256 };     // code points of a password that is normalised; longer ones are used raw

typedef struct chopin_pg__prep { uint32_t code[CHOPIN_PG__PREP_MAX]; size_t count; bool full; } chopin_pg__prep;

static void chopin_pg__prep_add(chopin_pg__prep *p, uint32_t code) {
    if (p->count == CHOPIN_PG__PREP_MAX) { p->full = true; return; }
    p->code[p->count++] = code;
}

/* The next character of a text of our own tables. */
static uint32_t chopin_pg__prep_next(chopin_str *s) {
    size_t   n = chopin_pg__utf8_length(s->ptr, s->len);
    uint32_t code = chopin_pg__utf8_decode(s->ptr, n);
    *s = chopin_pg__skip(*s, n);
    return code;
}

/* For each combining mark the letters it joins: letter, letter with mark, and so on. */
typedef struct chopin_pg__mark { uint32_t mark; const char *pairs; } chopin_pg__mark;

static const chopin_pg__mark *chopin_pg__prep_marks(size_t *count) {
    static const chopin_pg__mark rows[] = {
        { 0x0300, "AÀEÈIÌOÒUÙaàeèiìoòuùÜǛüǜNǸnǹЕЀИЍеѐиѝĒḔēḕŌṐōṑWẀwẁÂẦâầĂẰăằÊỀêềÔỒôồƠỜơờƯỪưừYỲyỳ" },
        { 0x0301, "AÁEÉIÍOÓUÚYÝaáeéiíoóuúyýCĆcćLĹlĺNŃnńRŔrŕSŚsśZŹzźÜǗüǘGǴgǵÅǺåǻÆǼæǽØǾøǿ¨΅ΑΆΕΈΗΉΙΊΟΌΥΎΩΏϊΐαάεέηήιίϋΰοόυύωώϒϓГЃКЌгѓкќÇḈçḉĒḖēḗÏḮïḯKḰkḱMḾ"
                  "mḿÕṌõṍŌṒōṓPṔpṕŨṸũṹWẂwẃÂẤâấĂẮăắÊẾêếÔỐôốƠỚơớƯỨưứ" },
        { 0x0302, "AÂEÊIÎOÔUÛaâeêiîoôuûCĈcĉGĜgĝHĤhĥJĴjĵSŜsŝWŴwŵYŶyŷZẐzẑẠẬạậẸỆẹệỌỘọộ" },
        { 0x0303, "AÃNÑOÕaãnñoõIĨiĩUŨuũVṼvṽÂẪâẫĂẴăẵEẼeẽÊỄêễÔỖôỗƠỠơỡƯỮưữYỸyỹ" },
        { 0x0304, "AĀaāEĒeēIĪiīOŌoōUŪuūÜǕüǖÄǞäǟȦǠȧǡÆǢæǣǪǬǫǭÖȪöȫÕȬõȭȮȰȯȱYȲyȳИӢиӣУӮуӯGḠgḡḶḸḷḹṚṜṛṝ" },
        { 0x0306, "AĂaăEĔeĕGĞgğIĬiĭOŎoŏUŬuŭУЎИЙийуўЖӁжӂАӐаӑЕӖеӗȨḜȩḝẠẶạặ" },
        { 0x0307, "CĊcċEĖeėGĠgġIİZŻzżAȦaȧOȮoȯBḂbḃDḊdḋFḞfḟHḢhḣMṀmṁNṄnṅPṖpṗRṘrṙSṠsṡŚṤśṥŠṦšṧṢṨṣṩTṪtṫWẆwẇXẊxẋYẎyẏſẛ" },
        { 0x0308, "AÄEËIÏOÖUÜaäeëiïoöuüyÿYŸΙΪΥΫιϊυϋϒϔЕЁІЇеёіїАӒаӓӘӚәӛЖӜжӝЗӞзӟИӤиӥОӦоӧӨӪөӫЭӬэӭУӰуӱЧӴчӵЫӸыӹHḦhḧÕṎõṏŪṺūṻWẄwẅXẌxẍtẗ" },
        { 0x0309, "AẢaảÂẨâẩĂẲăẳEẺeẻÊỂêểIỈiỉOỎoỏÔỔôổƠỞơởUỦuủƯỬưửYỶyỷ" },
        { 0x030a, "AÅaåUŮuůwẘyẙ" },
        { 0x030b, "OŐoőUŰuűУӲуӳ" },
        { 0x030c, "CČcčDĎdďEĚeěLĽlľNŇnňRŘrřSŠsšTŤtťZŽzžAǍaǎIǏiǐOǑoǒUǓuǔÜǙüǚGǦgǧKǨkǩƷǮʒǯjǰHȞhȟ" },
        { 0x030f, "AȀaȁEȄeȅIȈiȉOȌoȍRȐrȑUȔuȕѴѶѵѷ" },
        { 0x0311, "AȂaȃEȆeȇIȊiȋOȎoȏRȒrȓUȖuȗ" },
        { 0x031b, "OƠoơUƯuư" },
        { 0x0323, "BḄbḅDḌdḍHḤhḥKḲkḳLḶlḷMṂmṃNṆnṇRṚrṛSṢsṣTṬtṭVṾvṿWẈwẉZẒzẓAẠaạEẸeẹIỊiịOỌoọƠỢơợUỤuụƯỰưựYỴyỵ" },
        { 0x0324, "UṲuṳ" },
        { 0x0325, "AḀaḁ" },
        { 0x0326, "SȘsșTȚtț" },
        { 0x0327, "CÇcçGĢgģKĶkķLĻlļNŅnņRŖrŗSŞsşTŢtţEȨeȩDḐdḑHḨhḩ" },
        { 0x0328, "AĄaąEĘeęIĮiįUŲuųOǪoǫ" },
        { 0x032d, "DḒdḓEḘeḙLḼlḽNṊnṋTṰtṱUṶuṷ" },
        { 0x032e, "HḪhḫ" },
        { 0x0330, "EḚeḛIḬiḭUṴuṵ" },
        { 0x0331, "BḆbḇDḎdḏKḴkḵLḺlḻNṈnṉRṞrṟTṮtṯZẔzẕhẖ" },
        { 0x3099, "かがきぎくぐけげこごさざしじすずせぜそぞただちぢつづてでとどはばひびふぶへべほぼうゔゝゞカガキギクグケゲコゴサザシジスズセゼソゾタダチヂツヅテデトドハバヒビフブヘベホボウヴワヷヰヸヱヹヲヺヽヾ" },
        { 0x309a, "はぱひぴふぷへぺほぽハパヒピフプヘペホポ" },
    };
    *count = CHOPIN_PG__COUNT(rows);
    return rows;
}

/* letter + mark as one character; 0: there is none. */
static uint32_t chopin_pg__prep_compose(uint32_t letter, uint32_t mark) {
    size_t count;
    const chopin_pg__mark *rows = chopin_pg__prep_marks(&count);
    if (mark < 0x300) return 0;
    if (letter - 0x1100 < 19 && mark - 0x1161 < 21) return 0xac00 + ((letter - 0x1100) * 21 + (mark - 0x1161)) * 28;       // Hangul
    if (letter - 0xac00 < 11172 && (letter - 0xac00) % 28 == 0 && mark - 0x11a8 < 27) return letter + (mark - 0x11a7);
    for (size_t i = 0; i < count; i++) {
        chopin_str pairs = chopin_pg__str_z(rows[i].pairs);
        while (rows[i].mark == mark && pairs.len) {
            uint32_t base = chopin_pg__prep_next(&pairs), composed = chopin_pg__prep_next(&pairs);
            if (base == letter) return composed;
        }
    }
    return 0;
}

/* The other way; the letter may fall apart further. */
static bool chopin_pg__prep_split(uint32_t code, uint32_t *letter, uint32_t *mark) {
    size_t count;
    const chopin_pg__mark *rows = chopin_pg__prep_marks(&count);
    for (size_t i = 0; i < count; i++) {
        chopin_str pairs = chopin_pg__str_z(rows[i].pairs);
        while (pairs.len) {
            *letter = chopin_pg__prep_next(&pairs);
            *mark = rows[i].mark;
            if (chopin_pg__prep_next(&pairs) == code) return true;
        }
    }
    return false;
}

/* Characters that mean the same as others: what stands up to the bar is the character and its replacement. Absent: none. */
static chopin_str chopin_pg__prep_replacement(uint32_t code) {
    static const char rows[] =
        "¨ \u0308|ªa|¯ \u0304|²2|³3|´ \u0301|µμ|¸ \u0327|¹1|ºo|¼1⁄4|½1⁄2|¾3⁄4|ĲIJ|ĳij|ĿL·|ŀl·|ŉʼn|ſs|ǄDŽ|ǅDž|ǆdž|ǇLJ|ǈLj|ǉlj|ǊNJ|ǋNj|ǌnj|ǱDZ|ǲDz|ǳdz|ʹʹ|"
        "ͺ \u0345|;;|΄ \u0301|΅ \u0308\u0301|··|ϐβ|ϑθ|ϒΥ|ϓΎ|ϔΫ|ϕφ|ϖπ|‑‐|‗ \u0333|․.|‥..|…...|″′′|‴′′′|‶‵‵|‷‵‵‵|‼!!|‾ \u0305|⁇??|⁈?!|⁉!?|⁗′′′′|⁰0|ⁱi|⁴4|⁵5|⁶6|⁷7|"
        "⁸8|⁹9|⁺+|⁻−|⁼=|⁽(|⁾)|ⁿn|₀0|₁1|₂2|₃3|₄4|₅5|₆6|₇7|₈8|₉9|₊+|₋−|₌=|₍(|₎)|₨Rs|℃°C|℉°F|ℓl|№No|℠SM|℡TEL|™TM|ΩΩ|ℨZ|KK|ÅÅ|⅓1⁄3|⅔2⁄3|⅕1⁄5|⅖2⁄5|⅗3⁄5|⅘4⁄5|⅙1⁄6|"
        "⅚5⁄6|⅛1⁄8|⅜3⁄8|⅝5⁄8|⅞7⁄8|⅟1⁄|ⅠI|ⅡII|ⅢIII|ⅣIV|ⅤV|ⅥVI|ⅦVII|ⅧVIII|ⅨIX|ⅩX|ⅪXI|ⅫXII|ⅬL|ⅭC|ⅮD|ⅯM|ⅰi|ⅱii|ⅲiii|ⅳiv|ⅴv|ⅵvi|ⅶvii|ⅷviii|ⅸix|ⅹx|ⅺxi|ⅻxii|ⅼl|ⅽc|ⅾd|"
        "ⅿm|ﬀff|ﬁfi|ﬂfl|ﬃffi|ﬄffl|ﬅst|ﬆst|゛ \u3099|゜ \u309a|"
        ;
    chopin_str rest = chopin_pg__str(rows, sizeof rows - 1);
    while (rest.len) {
        chopin_str row = chopin_pg__cut(&rest, '|');
        if (chopin_pg__prep_next(&row) == code) return row;
    }
    return chopin_pg__absent();
}

/* Full decomposition. It ends: each step gives characters that stand in fewer rows of the tables. */
static void chopin_pg__prep_decompose(chopin_pg__prep *p, uint32_t code) {
    uint32_t stack[8], letter, mark;
    size_t   depth = 0;
    if (code - 0xff01 < 94) code -= 0xfee0;                                    // full width forms
    if (code < 0xa0) { chopin_pg__prep_add(p, code); return; }
    if (code - 0xac00 < 11172) {                                               // Hangul
        uint32_t at = code - 0xac00;
        chopin_pg__prep_add(p, 0x1100 + at / 588);
        chopin_pg__prep_add(p, 0x1161 + at % 588 / 28);
        if (at % 28) chopin_pg__prep_add(p, 0x11a7 + at % 28);
        return;
    }
    while (depth < CHOPIN_PG__COUNT(stack) && chopin_pg__prep_split(code, &letter, &mark)) { stack[depth++] = mark; code = letter; }
    chopin_str same = chopin_pg__prep_replacement(code);
    if (!same.ptr) chopin_pg__prep_add(p, code);
    while (same.len) {
        uint32_t part = chopin_pg__prep_next(&same);
        if (chopin_pg__prep_split(part, &letter, &mark)) { chopin_pg__prep_add(p, letter); part = mark; }
        chopin_pg__prep_add(p, part);
    }
    while (depth > 0) chopin_pg__prep_add(p, stack[--depth]);
}

typedef struct chopin_pg__range { uint32_t from, to, value; } chopin_pg__range;

static uint32_t chopin_pg__prep_in(const chopin_pg__range *rows, size_t count, uint32_t code) {
    for (size_t i = 0; i < count; i++) {
        if (code >= rows[i].from && code <= rows[i].to) return rows[i].value;
    }
    return 0;
}

/* Canonical combining class, of the marks in the table and their neighbours. */
static uint32_t chopin_pg__prep_class(uint32_t code) {
    static const chopin_pg__range rows[] = {
        { 0x300, 0x314, 230 }, { 0x315, 0x315, 232 }, { 0x316, 0x319, 220 }, { 0x31a, 0x31a, 232 }, { 0x31b, 0x31b, 216 }, { 0x31c, 0x320, 220 },
        { 0x321, 0x322, 202 }, { 0x323, 0x326, 220 }, { 0x327, 0x328, 202 }, { 0x329, 0x333, 220 }, { 0x334, 0x338, 1 }, { 0x339, 0x33c, 220 },
        { 0x33d, 0x344, 230 }, { 0x345, 0x345, 240 }, { 0x3099, 0x309a, 8 },
    };
    return chopin_pg__prep_in(rows, CHOPIN_PG__COUNT(rows), code);
}

/* 1: other spaces become a blank. 2: nothing. */
static uint32_t chopin_pg__prep_mapping(uint32_t code) {
    static const chopin_pg__range rows[] = {
        { 0xa0, 0xa0, 1 }, { 0xad, 0xad, 2 }, { 0x34f, 0x34f, 2 }, { 0x1680, 0x1680, 1 }, { 0x1806, 0x1806, 2 }, { 0x180b, 0x180d, 2 }, { 0x2000, 0x200b, 1 },
        { 0x200c, 0x200d, 2 }, { 0x202f, 0x202f, 1 }, { 0x205f, 0x205f, 1 }, { 0x2060, 0x2060, 2 }, { 0x3000, 0x3000, 1 }, { 0xfe00, 0xfe0f, 2 }, { 0xfeff, 0xfeff, 2 },
    };
    return chopin_pg__prep_in(rows, CHOPIN_PG__COUNT(rows), code);
}

/* Prohibited, or of a kind we leave alone: right-to-left scripts (they have rules of their own) and what Unicode 3.2 did not know (emoji). */
static bool chopin_pg__prep_raw(uint32_t code) {
    static const chopin_pg__range rows[] = {
        { 0, 0x1f, 1 }, { 0x7f, 0x9f, 1 }, { 0x340, 0x341, 1 }, { 0x590, 0x8ff, 1 }, { 0x180e, 0x180e, 1 }, { 0x200e, 0x200f, 1 }, { 0x2028, 0x202e, 1 },
        { 0x2061, 0x206f, 1 }, { 0x2ff0, 0x2ffb, 1 }, { 0xd800, 0xf8ff, 1 }, { 0xfb1d, 0xfdff, 1 }, { 0xfe70, 0xfefe, 1 }, { 0xfff9, 0xffff, 1 },
        { 0x10000, 0x1ffff, 1 }, { 0x2a6d7, 0x2f7ff, 1 }, { 0x2fa1e, 0x10ffff, 1 },
    };
    return chopin_pg__prep_in(rows, CHOPIN_PG__COUNT(rows), code) != 0;
}

static void chopin_pg__prep_order(chopin_pg__prep *p) {
    for (size_t i = 1; i < p->count; i++) {
        uint32_t code = p->code[i], class = chopin_pg__prep_class(code);
        size_t   at = i;
        for (; class && at > 0 && chopin_pg__prep_class(p->code[at - 1]) > class; at--) p->code[at] = p->code[at - 1];
        p->code[at] = code;
    }
}

/* Joins letters and marks that no mark of the same or a higher class stands between. */
static void chopin_pg__prep_join(chopin_pg__prep *p) {
    size_t   n = 0, starter = SIZE_MAX;
    uint32_t last = 0;                                                         // class of the last character that was kept behind the starter
    for (size_t i = 0; i < p->count; i++) {
        uint32_t code = p->code[i], class = chopin_pg__prep_class(code);
        bool     next_to = starter != SIZE_MAX && n == starter + 1;
        bool     reaches = starter != SIZE_MAX && (next_to || (class > last && last != 0));
        uint32_t joined = reaches ? chopin_pg__prep_compose(p->code[starter], code) : 0;
        if (joined) { p->code[starter] = joined; continue; }
        if (!class) starter = n;
        last = class;
        p->code[n++] = code;
    }
    p->count = n;
}

/* Reads, maps and decomposes. False: the password is to be used raw. */
static bool chopin_pg__prep_read(chopin_pg__prep *p, chopin_str password) {
    while (password.len) {
        size_t n = chopin_pg__utf8_length(password.ptr, password.len);
        if (n == 0) return false;
        uint32_t code = chopin_pg__utf8_decode(password.ptr, n), mapping = chopin_pg__prep_mapping(code);
        if (!mapping && chopin_pg__prep_raw(code)) return false;
        if (mapping != 2) chopin_pg__prep_decompose(p, mapping == 1 ? ' ' : code);
        password = chopin_pg__skip(password, n);
    }
    return !p->full && p->count > 0;
}

/* The prepared password in `out` (4 * CHOPIN_PG__PREP_MAX bytes), or the password itself. */
static chopin_str chopin_pg__saslprep(chopin_str password, char *out) {
    chopin_pg__prep p = { .count = 0 };
    size_t n = 0, ascii = 0;
    while (ascii < password.len && (unsigned char)password.ptr[ascii] < 0x80) ascii++;
    bool ready = ascii < password.len && chopin_pg__prep_read(&p, password);
    if (ready) {
        chopin_pg__prep_order(&p);
        chopin_pg__prep_join(&p);
        for (size_t i = 0; i < p.count; i++) n += chopin_pg__utf8_encode(out + n, p.code[i]);
    }
    chopin_pg__wipe(&p, sizeof p);
    return ready ? chopin_pg__str(out, n) : password;
}

/* ---- the machine ---- */

/* What PBKDF2 gave for a password, salt and count: a pool that fills up again pays for it once. Zeroed: empty. */
typedef struct chopin_pg__scram_cache {
    uint8_t  salted[32];
    uint8_t  check[32];                 // says that it belongs to this password
    uint8_t  salt[64];
    size_t   salt_len;                  // 0: empty
    uint32_t rounds;
} chopin_pg__scram_cache;

typedef struct chopin_pg__auth_setup {
    chopin_str user, password;          // the password has a NUL behind; .ptr NULL: none is known
    unsigned   require_auth;            // CHOPIN_PG__AUTH_* that are allowed
    chopin_pg__binding binding;
    bool       tls;                     // this connection is encrypted
    bool       clear_allowed;           // a clear text password may be sent: TLS, unix socket, or it was asked for
    bool       cert_missing;            // sslcertmode=require, and the server wanted none
    uint32_t   max_iterations;
    uint8_t    bind_hash[64];           // tls-server-end-point (RFC 5929)
    size_t     bind_hash_len;           // 0: not to be had
    chopin_pg__scram_cache *cache;      // may be NULL
} chopin_pg__auth_setup;

/* What to do next. */
enum { CHOPIN_PG__AUTH_OK = 0, CHOPIN_PG__AUTH_MORE = 1, CHOPIN_PG__AUTH_SEND = 2, CHOPIN_PG__AUTH_WORK = 3 };

typedef enum chopin_pg__auth_state {
    CHOPIN_PG__AUTH_START, CHOPIN_PG__AUTH_SENT /* a password or its md5 */, CHOPIN_PG__AUTH_FIRST /* client-first */, CHOPIN_PG__AUTH_HASHING,
    CHOPIN_PG__AUTH_FINAL /* client-final */, CHOPIN_PG__AUTH_PROVEN /* the server has proven itself */, CHOPIN_PG__AUTH_OVER
} chopin_pg__auth_state;

enum { CHOPIN_PG__SCRAM_MAX = 1024 };   // bytes of a server's message; PostgreSQL sends about 90

typedef struct chopin_pg__auth {
    chopin_pg__auth_setup setup;
    chopin_pg__auth_state state;
    bool        plus;                   // SCRAM-SHA-256-PLUS was chosen
    const char *gs2;                    // "n,,", "y,,", "p=tls-server-end-point,,"
    const char *out;                    // body of the 'p' to send
    size_t      out_len;
    chopin_pg__pbkdf2 work;
    uint8_t     salted[32];
    uint8_t     server_signature[32];
    uint8_t     salt[256];
    size_t      salt_len;
    uint32_t    rounds;
    size_t      nonce_at, nonce_len;    // of ours, then of both, in `proof`
    size_t      proof_len;
    char        proof[2 * CHOPIN_PG__SCRAM_MAX + 256];       // client-first-bare , server-first , client-final-without-proof: what gets signed
    char        message[CHOPIN_PG__SCRAM_MAX + 512];         // what is sent
} chopin_pg__auth;

static CHOPIN_PG__UNUSED void chopin_pg__auth_init(chopin_pg__auth *a, const chopin_pg__auth_setup *setup) {
    memset(a, 0, sizeof *a);                                                   // no compound literal: it would be 5 KiB of somebody's stack
    a->setup = *setup;
    a->gs2 = "n,,";
}

static CHOPIN_PG__UNUSED void chopin_pg__auth_done(chopin_pg__auth *a) { chopin_pg__wipe(a, sizeof *a); }

static int chopin_pg__auth_send(chopin_pg__auth *a, const char *out, size_t len, chopin_pg__auth_state state) {
    a->out = out;
    a->out_len = len;
    a->state = state;
    return CHOPIN_PG__AUTH_SEND;
}

static int chopin_pg__auth_order(chopin_pg_error *e) {
    return chopin_pg__fail(e, CHOPIN_PG_PROTOCOL, "the server's login messages come in an order that makes no sense");
}

/* May this way be gone? Asked before anything of ours is shown. */
static int chopin_pg__auth_policy(const chopin_pg__auth *a, unsigned way, const char *name, chopin_pg_error *e) {
    if (!(a->setup.require_auth & way)) return chopin_pg__fail(e, CHOPIN_PG_AUTH, "the server asks for %s, which require_auth does not allow", name);
    if (a->setup.binding == CHOPIN_PG__BINDING_REQUIRE && way != CHOPIN_PG__AUTH_SCRAM) {
        return chopin_pg__fail(e, CHOPIN_PG_AUTH, "channel_binding=require, but the server asks for %s, which has none", name);
    }
    return CHOPIN_PG_OK;
}

static int chopin_pg__auth_password_known(const chopin_pg__auth *a, chopin_pg_error *e) {
    if (a->setup.password.len) return CHOPIN_PG_OK;
    return chopin_pg__fail(e, CHOPIN_PG_AUTH, "the server wants a password and none is known (url, PGPASSWORD, password file, password hook)");
}

/* ---- trust, password, md5 ---- */
static int chopin_pg__auth_ok(chopin_pg__auth *a, chopin_pg_error *e) {
    bool scram = a->state == CHOPIN_PG__AUTH_PROVEN;
    if (a->state == CHOPIN_PG__AUTH_START && !(a->setup.require_auth & CHOPIN_PG__AUTH_NONE)) {
        return chopin_pg__fail(e, CHOPIN_PG_AUTH, "the server lets us in unasked, which require_auth does not allow");
    }
    if (!scram && (a->state == CHOPIN_PG__AUTH_FIRST || a->state == CHOPIN_PG__AUTH_FINAL || a->state == CHOPIN_PG__AUTH_HASHING)) {
        return chopin_pg__fail(e, CHOPIN_PG_AUTH, "the server says that all is well without having proven that it knows the password");
    }
    if (a->setup.binding == CHOPIN_PG__BINDING_REQUIRE && !(scram && a->plus)) {
        return chopin_pg__fail(e, CHOPIN_PG_AUTH, "channel_binding=require, but this login was not bound to the TLS channel");
    }
    if (a->setup.cert_missing) return chopin_pg__fail(e, CHOPIN_PG_AUTH, "sslcertmode=require, but the server asked for no certificate");
    if (a->state == CHOPIN_PG__AUTH_OVER) return chopin_pg__auth_order(e);
    a->state = CHOPIN_PG__AUTH_OVER;
    return CHOPIN_PG__AUTH_OK;
}

static int chopin_pg__auth_clear(chopin_pg__auth *a, chopin_pg_error *e) {
    int rc = chopin_pg__auth_policy(a, CHOPIN_PG__AUTH_PASSWORD, "a clear text password", e);
    if (rc == CHOPIN_PG_OK) rc = chopin_pg__auth_password_known(a, e);
    if (rc < 0) return rc;
    if (!a->setup.clear_allowed) {
        return chopin_pg__fail(e, CHOPIN_PG_AUTH, "the server asks for the password in clear text over TCP without TLS (set chopin_pg_options.allow_password if that is meant)");
    }
    return chopin_pg__auth_send(a, a->setup.password.ptr, a->setup.password.len + 1, CHOPIN_PG__AUTH_SENT);
}

static int chopin_pg__auth_md5(chopin_pg__auth *a, chopin_str data, chopin_pg_error *e) {
    uint8_t salt[4];
    if (data.len != sizeof salt) return chopin_pg__fail(e, CHOPIN_PG_PROTOCOL, "the salt of the md5 login is not 4 bytes long");
    int rc = chopin_pg__auth_policy(a, CHOPIN_PG__AUTH_MD5, "an md5 password", e);
    if (rc == CHOPIN_PG_OK) rc = chopin_pg__auth_password_known(a, e);
    if (rc < 0) return rc;
    memcpy(salt, data.ptr, sizeof salt);
    chopin_pg__md5_login(a->setup.user, a->setup.password, salt, a->message);
    return chopin_pg__auth_send(a, a->message, 36, CHOPIN_PG__AUTH_SENT);
}

/* ---- SCRAM ---- */
static void chopin_pg__scram_add(chopin_pg__auth *a, chopin_str s) {
    CHOPIN_PG_ASSERT(s.len <= sizeof a->proof - a->proof_len);                 // the caps above leave room for all of it
    if (s.len) memcpy(a->proof + a->proof_len, s.ptr, s.len);
    a->proof_len += s.len;
}

/* n=user,r=nonce. PostgreSQL takes the user from the startup message and wants none here; the RFC's example has one. */
static void chopin_pg__scram_bare(chopin_pg__auth *a, chopin_str user, chopin_str nonce) {
    a->proof_len = 0;
    chopin_pg__scram_add(a, CHOPIN_STR("n="));
    chopin_pg__scram_add(a, user);
    chopin_pg__scram_add(a, CHOPIN_STR(",r="));
    a->nonce_at = a->proof_len;
    a->nonce_len = nonce.len;
    chopin_pg__scram_add(a, nonce);
}

/* Which mechanism, and what to say about channel binding (RFC 5802 section 6). "y" tells the server that we could have bound: if it can too, then
 * somebody on the way took its offer out, and it will refuse. */
static int chopin_pg__scram_choose(chopin_pg__auth *a, bool plus, bool plain, chopin_pg_error *e) {
    const chopin_pg__auth_setup *s = &a->setup;
    bool can = s->tls && s->bind_hash_len > 0 && s->binding != CHOPIN_PG__BINDING_DISABLE;
    if (plus && !s->tls) return chopin_pg__fail(e, CHOPIN_PG_AUTH, "the server offers channel binding on a connection without TLS: somebody may stand in between");
    a->plus = plus && can;
    a->gs2 = a->plus ? "p=tls-server-end-point,," : can ? "y,," : "n,,";
    if (a->plus) return CHOPIN_PG_OK;
    if (s->binding == CHOPIN_PG__BINDING_REQUIRE) {
        return chopin_pg__fail(e, CHOPIN_PG_AUTH, "channel_binding=require, but %s", !s->tls ? "there is no TLS" : !s->bind_hash_len ?
                               "the certificate's signature allows none" : "the server offers none");
    }
    return plain ? CHOPIN_PG_OK : chopin_pg__fail(e, CHOPIN_PG_AUTH, "the server offers no login mechanism that we know (SCRAM-SHA-256)");
}

/* SASLInitialResponse: mechanism, length, gs2 header and client-first-bare. */
static int chopin_pg__scram_start(chopin_pg__auth *a) {
    const char *mechanism = a->plus ? "SCRAM-SHA-256-PLUS" : "SCRAM-SHA-256";
    size_t gs2 = strlen(a->gs2), n = strlen(mechanism) + 1;
    memcpy(a->message, mechanism, n);
    chopin_pg__store32(a->message + n, (uint32_t)(gs2 + a->proof_len));
    memcpy(a->message + n + 4, a->gs2, gs2);
    memcpy(a->message + n + 4 + gs2, a->proof, a->proof_len);
    return chopin_pg__auth_send(a, a->message, n + 4 + gs2 + a->proof_len, CHOPIN_PG__AUTH_FIRST);
}

/* R 10: mechanisms, each with a NUL, then an empty one. */
static int chopin_pg__scram_offer(chopin_pg__auth *a, chopin_str data, chopin_pg_error *e) {
    bool    plus = false, plain = false;
    uint8_t random[18];
    char    nonce[24];
    while (data.len && data.ptr[0]) {
        size_t end = chopin_pg__find(data, 0);
        if (end == data.len) break;
        chopin_str name = chopin_pg__cut(&data, 0);
        plus |= chopin_pg__equal_z(name, "SCRAM-SHA-256-PLUS");
        plain |= chopin_pg__equal_z(name, "SCRAM-SHA-256");
    }
    if (data.len != 1 || data.ptr[0]) return chopin_pg__fail(e, CHOPIN_PG_PROTOCOL, "the server's list of login mechanisms is broken");
    int rc = chopin_pg__auth_policy(a, CHOPIN_PG__AUTH_SCRAM, "SCRAM", e);
    if (rc == CHOPIN_PG_OK) rc = chopin_pg__scram_choose(a, plus, plain, e);
    if (rc == CHOPIN_PG_OK) rc = chopin_pg__auth_password_known(a, e);
    if (rc < 0) return rc;
    if (!chopin_pg__random(random, sizeof random)) return chopin_pg__fail(e, CHOPIN_PG_AUTH, "the system gives no random bytes for the login");
    chopin_pg__base64_encode(chopin_pg__str(random, sizeof random), nonce);
    chopin_pg__scram_bare(a, CHOPIN_STR(""), chopin_pg__str(nonce, sizeof nonce));
    return chopin_pg__scram_start(a);
}

/* The value of the attribute "x=..." that must come now. False: another one comes. */
static bool chopin_pg__scram_attribute(chopin_str *rest, char name, chopin_str *value) {
    if (rest->len < 2 || rest->ptr[0] != name || rest->ptr[1] != '=') return false;
    *value = chopin_pg__skip(chopin_pg__cut(rest, ','), 2);
    return true;
}

static int chopin_pg__scram_broken(chopin_pg_error *e, const char *what) {
    return chopin_pg__fail(e, CHOPIN_PG_AUTH, "the server's SCRAM message is not right: %s", what);
}

/* Printable ASCII without a comma, beginning with our nonce and going on. */
static bool chopin_pg__scram_nonce_ok(const chopin_pg__auth *a, chopin_str nonce) {
    for (size_t i = 0; i < nonce.len; i++) {
        if (nonce.ptr[i] < 0x21 || nonce.ptr[i] > 0x7e) return false;
    }
    return nonce.len > a->nonce_len && memcmp(nonce.ptr, a->proof + a->nonce_at, a->nonce_len) == 0;
}

/* server-first: r=nonce,s=salt,i=count. An extension we do not know (m=) must be refused (RFC 5802 section 5.1). */
static int chopin_pg__scram_read_first(chopin_pg__auth *a, chopin_str message, chopin_pg_error *e) {
    chopin_str rest = message, nonce, salt, count;
    uint64_t   rounds;
    if (message.len > CHOPIN_PG__SCRAM_MAX || chopin_pg__has_nul(message)) return chopin_pg__scram_broken(e, "too long, or with a NUL inside");
    if (message.len && message.ptr[0] == 'm') return chopin_pg__scram_broken(e, "it demands an extension");
    if (!chopin_pg__scram_attribute(&rest, 'r', &nonce) || !chopin_pg__scram_attribute(&rest, 's', &salt) ||
        !chopin_pg__scram_attribute(&rest, 'i', &count) || rest.len || message.ptr[message.len - 1] == ',') return chopin_pg__scram_broken(e, "it must be r=,s=,i=");
    ptrdiff_t salt_len = chopin_pg__base64_decode(salt, a->salt, sizeof a->salt);
    if (!chopin_pg__scram_nonce_ok(a, nonce)) return chopin_pg__scram_broken(e, "its nonce is not ours made longer");
    if (salt_len < 1) return chopin_pg__scram_broken(e, "its salt");
    if (!chopin_pg__parse_u64(count, &rounds) || rounds < 1) return chopin_pg__scram_broken(e, "its iteration count");
    if (rounds > a->setup.max_iterations) {
        return chopin_pg__fail(e, CHOPIN_PG_AUTH, "the server demands %" PRIu64 " SCRAM iterations, more than %" PRIu32
                               " (raise chopin_pg_options.max_iterations)", rounds, a->setup.max_iterations);
    }
    a->salt_len = (size_t)salt_len;
    a->rounds = (uint32_t)rounds;
    a->nonce_len = nonce.len;
    chopin_pg__scram_add(a, CHOPIN_STR(","));
    a->nonce_at = a->proof_len + 2;                                            // where r= of the server's message will stand
    chopin_pg__scram_add(a, message);
    return CHOPIN_PG_OK;
}

/* Which password a cached key belongs to: a cheap code of it, keyed by the salt's message. */
static void chopin_pg__scram_check(const chopin_pg__auth *a, uint8_t out[32]) {
    chopin_pg__hmac_key k;
    chopin_pg__hmac_init(&k, a->setup.password);
    chopin_pg__hmac_sign(&k, CHOPIN_STR("chopin_pg scram cache"), chopin_pg__str(a->salt, a->salt_len), out);
    chopin_pg__wipe(&k, sizeof k);
}

static bool chopin_pg__scram_cached(chopin_pg__auth *a) {
    const chopin_pg__scram_cache *c = a->setup.cache;
    uint8_t check[32];
    if (!c || !c->salt_len || c->rounds != a->rounds || c->salt_len != a->salt_len || memcmp(c->salt, a->salt, a->salt_len) != 0) return false;
    chopin_pg__scram_check(a, check);
    bool same = chopin_pg__same(check, c->check, sizeof check);
    if (same) memcpy(a->salted, c->salted, sizeof a->salted);
    chopin_pg__wipe(check, sizeof check);
    return same;
}

/* Only a key the server has confirmed is worth keeping. */
static void chopin_pg__scram_keep(const chopin_pg__auth *a) {
    chopin_pg__scram_cache *c = a->setup.cache;
    if (!c || a->salt_len > sizeof c->salt) return;
    memcpy(c->salt, a->salt, a->salt_len);
    memcpy(c->salted, a->salted, sizeof c->salted);
    chopin_pg__scram_check(a, c->check);
    c->salt_len = a->salt_len;
    c->rounds = a->rounds;
}

/* c=base64(gs2 header and binding),r=nonce joins what gets signed; the view of it is given. */
static chopin_str chopin_pg__scram_unproven(chopin_pg__auth *a) {
    uint8_t bound[96];
    char    text[128];
    size_t  n = strlen(a->gs2), at = a->proof_len + 1;
    memcpy(bound, a->gs2, n);
    if (a->plus) { memcpy(bound + n, a->setup.bind_hash, a->setup.bind_hash_len); n += a->setup.bind_hash_len; }
    size_t len = chopin_pg__base64_encode(chopin_pg__str(bound, n), text);
    chopin_pg__scram_add(a, CHOPIN_STR(",c="));
    chopin_pg__scram_add(a, chopin_pg__str(text, len));
    chopin_pg__scram_add(a, CHOPIN_STR(",r="));
    chopin_pg__scram_add(a, chopin_pg__str(a->proof + a->nonce_at, a->nonce_len));
    return chopin_pg__str(a->proof + at, a->proof_len - at);
}

/* client-final: the salted key is there; what the server must answer is computed now too. */
static int chopin_pg__scram_final(chopin_pg__auth *a) {
    uint8_t key[32], stored[32], signature[32];
    chopin_str unproven = chopin_pg__scram_unproven(a), signed_text = chopin_pg__str(a->proof, a->proof_len);
    chopin_pg__hmac(chopin_pg__str(a->salted, 32), CHOPIN_STR("Client Key"), key);
    chopin_pg__sha256(chopin_pg__str(key, 32), stored);
    chopin_pg__hmac(chopin_pg__str(stored, 32), signed_text, signature);
    for (size_t i = 0; i < 32; i++) signature[i] ^= key[i];
    chopin_pg__hmac(chopin_pg__str(a->salted, 32), CHOPIN_STR("Server Key"), key);
    chopin_pg__hmac(chopin_pg__str(key, 32), signed_text, a->server_signature);
    memcpy(a->message, unproven.ptr, unproven.len);
    memcpy(a->message + unproven.len, ",p=", 3);
    size_t n = chopin_pg__base64_encode(chopin_pg__str(signature, 32), a->message + unproven.len + 3);
    chopin_pg__wipe(key, sizeof key);
    chopin_pg__wipe(stored, sizeof stored);
    return chopin_pg__auth_send(a, a->message, unproven.len + 3 + n, CHOPIN_PG__AUTH_FINAL);
}

/* R 11. */
static int chopin_pg__scram_continue(chopin_pg__auth *a, chopin_str message, chopin_pg_error *e) {
    char room[4 * CHOPIN_PG__PREP_MAX];
    int  rc = chopin_pg__scram_read_first(a, message, e);
    if (rc < 0) return rc;
    if (chopin_pg__scram_cached(a)) return chopin_pg__scram_final(a);
    chopin_pg__pbkdf2_init(&a->work, chopin_pg__saslprep(a->setup.password, room), chopin_pg__str(a->salt, a->salt_len), a->rounds);
    chopin_pg__wipe(room, sizeof room);
    a->state = CHOPIN_PG__AUTH_HASHING;
    return CHOPIN_PG__AUTH_WORK;
}

/* R 12: v=signature. */
static int chopin_pg__scram_verify(chopin_pg__auth *a, chopin_str message, chopin_pg_error *e) {
    chopin_str value;
    uint8_t    signature[32];
    if (message.len > CHOPIN_PG__SCRAM_MAX || chopin_pg__has_nul(message)) return chopin_pg__scram_broken(e, "too long, or with a NUL inside");
    if (message.len > 1 && message.ptr[0] == 'e') return chopin_pg__fail(e, CHOPIN_PG_AUTH, "the server ends the login: %.*s", (int)message.len - 2, message.ptr + 2);
    bool last = chopin_pg__find(message, ',') == message.len;
    if (!chopin_pg__scram_attribute(&message, 'v', &value) || !last) return chopin_pg__scram_broken(e, "it must be v=");
    if (chopin_pg__base64_decode(value, signature, sizeof signature) != 32) return chopin_pg__scram_broken(e, "its signature is no 32 bytes");
    if (!chopin_pg__same(signature, a->server_signature, 32)) {
        return chopin_pg__fail(e, CHOPIN_PG_AUTH, "the server does not know the password: its signature is wrong, so it is not the server it should be");
    }
    chopin_pg__scram_keep(a);
    a->state = CHOPIN_PG__AUTH_PROVEN;
    return CHOPIN_PG__AUTH_MORE;
}

/* After AUTH_WORK: some rounds more. AUTH_WORK again, or AUTH_SEND. */
static CHOPIN_PG__UNUSED int chopin_pg__auth_work(chopin_pg__auth *a, uint32_t rounds) {
    CHOPIN_PG_ASSERT(a->state == CHOPIN_PG__AUTH_HASHING);
    if (!chopin_pg__pbkdf2_step(&a->work, rounds)) return CHOPIN_PG__AUTH_WORK;
    chopin_pg__pbkdf2_final(&a->work, a->salted);
    return chopin_pg__scram_final(a);
}

/* The body of an R. Gives what to do next, or AUTH or PROTOCOL. Each message has one state it may come in. */
static CHOPIN_PG__UNUSED int chopin_pg__auth_input(chopin_pg__auth *a, const void *body, size_t len, chopin_pg_error *e) {
    chopin_str data = chopin_pg__skip(chopin_pg__str(body, len), 4);
    if (len < 4) return chopin_pg__fail(e, CHOPIN_PG_PROTOCOL, "the server's login message is too short");
    uint32_t kind = chopin_pg__load32(body);
    if (kind == 11) return a->state == CHOPIN_PG__AUTH_FIRST ? chopin_pg__scram_continue(a, data, e) : chopin_pg__auth_order(e);
    if (kind == 12) return a->state == CHOPIN_PG__AUTH_FINAL ? chopin_pg__scram_verify(a, data, e) : chopin_pg__auth_order(e);
    if (kind == 0)  return data.len ? chopin_pg__auth_order(e) : chopin_pg__auth_ok(a, e);
    if (a->state != CHOPIN_PG__AUTH_START) return chopin_pg__auth_order(e);
    switch (kind) {
    case 3:  return data.len ? chopin_pg__auth_order(e) : chopin_pg__auth_clear(a, e);
    case 5:  return chopin_pg__auth_md5(a, data, e);
    case 10: return chopin_pg__scram_offer(a, data, e);
    case 2:  return chopin_pg__fail(e, CHOPIN_PG_AUTH, "the server asks for Kerberos V5, which is not supported");
    case 6:  return chopin_pg__fail(e, CHOPIN_PG_AUTH, "the server asks for SCM credentials, which are not supported");
    case 7: case 8: return chopin_pg__fail(e, CHOPIN_PG_AUTH, "the server asks for GSSAPI, which is not supported (pg_hba.conf: scram-sha-256)");
    case 9:  return chopin_pg__fail(e, CHOPIN_PG_AUTH, "the server asks for SSPI, which is not supported (pg_hba.conf: scram-sha-256)");
    default: return chopin_pg__fail(e, CHOPIN_PG_AUTH, "the server asks for a login of an unknown kind (%" PRIu32 ")", kind);
    }
}

/* ==========================================================================================================
   >>tls   the hook, and the adapter for OpenSSL
   The rooms below know only the table chopin_pg_tls. Bytes go through send() and recv() of ours, so that no SIGPIPE is
   raised and the tests' broken system calls reach this room too.
   ========================================================================================================== */

#if defined(CHOPIN_PG_OPENSSL)
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

typedef struct chopin_pg__ossl_config {
    SSL_CTX    *ctx;
    BIO_METHOD *bio;
    char       *key_password;
    chopin_pg_sslmode mode;
    bool        direct, no_sni;
    bool        freed;                  // but sessions are still open
    int         sessions;
} chopin_pg__ossl_config;

typedef struct chopin_pg__ossl {
    chopin_pg__ossl_config *config;
    SSL  *ssl;
    char *host;
    bool  cert_sent;
    int   error;                        // what the last failed call said: the value of SSL_get_error()
    unsigned long detail;               // and the first error of OpenSSL's queue
    int   system;                       // and errno
} chopin_pg__ossl;

/* ---- the socket as a BIO ---- */
static int chopin_pg__ossl_bio_done(BIO *b, ssize_t n, bool reading) {
    BIO_clear_retry_flags(b);
    if (n >= 0) return (int)n;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
        if (reading) BIO_set_retry_read(b); else BIO_set_retry_write(b);
    }
    return -1;
}

static int chopin_pg__ossl_bio_fd(BIO *b) { return (int)(intptr_t)BIO_get_data(b); }

static int chopin_pg__ossl_bio_write(BIO *b, const char *bytes, int n) {
    return chopin_pg__ossl_bio_done(b, CHOPIN_PG__SYS_SEND(chopin_pg__ossl_bio_fd(b), bytes, (size_t)n, MSG_NOSIGNAL), false);
}
static int chopin_pg__ossl_bio_read(BIO *b, char *out, int n) {
    return chopin_pg__ossl_bio_done(b, CHOPIN_PG__SYS_RECV(chopin_pg__ossl_bio_fd(b), out, (size_t)n, 0), true);
}
static long chopin_pg__ossl_bio_ctrl(BIO *b, int command, long number, void *pointer) {
    (void)b; (void)number; (void)pointer;
    return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP;
}
static int chopin_pg__ossl_bio_create(BIO *b) {
    BIO_set_init(b, 1);
    return 1;
}

static BIO_METHOD *chopin_pg__ossl_bio_new(void) {
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK | 127, "chopin_pg socket");
    if (!m) return NULL;
    BIO_meth_set_write(m, chopin_pg__ossl_bio_write);
    BIO_meth_set_read(m, chopin_pg__ossl_bio_read);
    BIO_meth_set_ctrl(m, chopin_pg__ossl_bio_ctrl);
    BIO_meth_set_create(m, chopin_pg__ossl_bio_create);
    return m;
}

/* ---- config: certificates and versions ---- */

/* `what`, and what OpenSSL has to say about it. Always false. */
static bool chopin_pg__ossl_fail(char *why, size_t cap, const char *what, const char *path) {
    unsigned long code = ERR_peek_error();
    const char   *reason = code ? ERR_reason_error_string(code) : NULL;
    snprintf(why, cap, "%s%s%s%s%s", what, path ? " " : "", path ? path : "", reason ? ": " : "", reason ? reason : "");
    ERR_clear_error();
    return false;
}

/* The file that was named, else the one of this name in ~/.postgresql; false: none can be named. */
static bool chopin_pg__ossl_path(char *out, size_t cap, const chopin_pg_tls_config *c, const char *named, const char *name) {
    int n = named ? snprintf(out, cap, "%s", named) : c->home ? snprintf(out, cap, "%s/.postgresql/%s", c->home, name) : -1;
    return n >= 0 && (size_t)n < cap;
}

static bool chopin_pg__ossl_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

static bool chopin_pg__ossl_versions(SSL_CTX *ctx, const chopin_pg_tls_config *c) {
    static const struct { const char *name; int version; } rows[] = {
        { "TLSv1", TLS1_VERSION }, { "TLSv1.1", TLS1_1_VERSION }, { "TLSv1.2", TLS1_2_VERSION }, { "TLSv1.3", TLS1_3_VERSION },
    };
    int least = TLS1_2_VERSION, most = 0;
    for (size_t i = 0; i < CHOPIN_PG__COUNT(rows); i++) {
        if (c->min_version && strcmp(c->min_version, rows[i].name) == 0) least = rows[i].version;
        if (c->max_version && strcmp(c->max_version, rows[i].name) == 0) most = rows[i].version;
    }
    return SSL_CTX_set_min_proto_version(ctx, least) == 1 && SSL_CTX_set_max_proto_version(ctx, most) == 1;
}

/* Revocation lists: named ones must load, the usual one may be missing. */
static bool chopin_pg__ossl_crl(SSL_CTX *ctx, const chopin_pg_tls_config *c, char *why, size_t cap) {
    char path[1024];
    bool named = c->crl || c->crl_dir;
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    if (!named && (!chopin_pg__ossl_path(path, sizeof path, c, NULL, "root.crl") || !chopin_pg__ossl_exists(path))) return true;
    if (X509_STORE_load_locations(store, named ? c->crl : path, c->crl_dir) != 1) return chopin_pg__ossl_fail(why, cap, "the certificate revocation list cannot be read", NULL);
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    return true;
}

/* Whom to trust. In modes up to `prefer` nobody is checked: a failed check would only lead to clear text. */
static bool chopin_pg__ossl_roots(SSL_CTX *ctx, const chopin_pg_tls_config *c, char *why, size_t cap) {
    char path[1024];
    bool system = c->root_cert && strcmp(c->root_cert, "system") == 0;
    if (c->mode < CHOPIN_PG_SSL_REQUIRE) return true;
    bool found = system || (chopin_pg__ossl_path(path, sizeof path, c, c->root_cert, "root.crt") && chopin_pg__ossl_exists(path));
    if (!found && c->mode == CHOPIN_PG_SSL_REQUIRE) return true;
    if (!found) {
        snprintf(why, cap, "sslmode demands a verified certificate, but there is no root certificate (sslrootcert=file, sslrootcert=system, or ~/.postgresql/root.crt)");
        return false;
    }
    bool loaded = (system ? SSL_CTX_set_default_verify_paths(ctx) : SSL_CTX_load_verify_locations(ctx, path, NULL)) == 1;
    if (!loaded) return chopin_pg__ossl_fail(why, cap, "the root certificate cannot be read:", system ? "system" : path);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    return chopin_pg__ossl_crl(ctx, c, why, cap);
}

/* A private key is for its owner; root's may be read by a group. */
static bool chopin_pg__ossl_key_private(const char *path, char *why, size_t cap) {
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)) { snprintf(why, cap, "there is a client certificate, but no key for it: %s", path); return false; }
    mode_t others = st.st_uid == 0 ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO;
    if (st.st_mode & others) snprintf(why, cap, "others may read the private key %s (chmod 600)", path);
    return !(st.st_mode & others);
}

/* PEM, or DER when it is no PEM at all. On failure OpenSSL's queue says why. */
static bool chopin_pg__ossl_key(SSL_CTX *ctx, const char *path) {
    if (SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM) == 1) return true;
    unsigned long code = ERR_peek_error();
    if (ERR_GET_LIB(code) != ERR_LIB_PEM || ERR_GET_REASON(code) != PEM_R_NO_START_LINE) return false;
    ERR_clear_error();
    return SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_ASN1) == 1;
}

static bool chopin_pg__ossl_client_cert(SSL_CTX *ctx, const chopin_pg_tls_config *c, char *why, size_t cap) {
    char cert[1024], key[1024];
    bool demanded = c->cert_mode && strcmp(c->cert_mode, "require") == 0, none = c->cert_mode && strcmp(c->cert_mode, "disable") == 0;
    if (none) return true;
    if (!chopin_pg__ossl_path(cert, sizeof cert, c, c->cert, "postgresql.crt") || !chopin_pg__ossl_exists(cert)) {
        if (demanded) snprintf(why, cap, "sslcertmode=require, but there is no client certificate (sslcert, ~/.postgresql/postgresql.crt)");
        return !demanded;
    }
    if (!chopin_pg__ossl_path(key, sizeof key, c, c->key, "postgresql.key")) { snprintf(why, cap, "there is a client certificate, but no key for it (sslkey)"); return false; }
    if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1) return chopin_pg__ossl_fail(why, cap, "the client certificate cannot be read:", cert);
    if (!chopin_pg__ossl_key_private(key, why, cap)) return false;
    if (!chopin_pg__ossl_key(ctx, key)) return chopin_pg__ossl_fail(why, cap, "the private key cannot be used (sslpassword?):", key);
    return SSL_CTX_check_private_key(ctx) == 1 || chopin_pg__ossl_fail(why, cap, "certificate and private key do not belong together:", cert);
}

/* The password of the private key; never asks a terminal. */
static int chopin_pg__ossl_key_password(char *out, int cap, int writing, void *data) {
    const chopin_pg__ossl_config *k = data;
    size_t n = k->key_password ? strlen(k->key_password) : 0;
    (void)writing;
    if (n > (size_t)(cap > 0 ? cap : 0)) return 0;
    if (n) memcpy(out, k->key_password, n);
    return (int)n;
}

/* Called when the server asks for a certificate. */
static int chopin_pg__ossl_cert_wanted(SSL *ssl, void *data) {
    chopin_pg__ossl *s = SSL_get_app_data(ssl);
    (void)data;
    if (s) s->cert_sent = SSL_get_certificate(ssl) != NULL;
    return 1;
}

static void chopin_pg__ossl_config_free(void *config) {
    chopin_pg__ossl_config *k = config;
    if (!k) return;
    k->freed = true;
    if (k->sessions > 0) return;                                               // the last one will do it
    SSL_CTX_free(k->ctx);
    BIO_meth_free(k->bio);
    if (k->key_password) chopin_pg__wipe(k->key_password, strlen(k->key_password));
    OPENSSL_free(k->key_password);
    OPENSSL_free(k);
}

static bool chopin_pg__ossl_setup(chopin_pg__ossl_config *k, const chopin_pg_tls_config *c, char *why, size_t cap) {
    k->mode = c->mode;
    k->direct = c->direct;
    k->no_sni = c->no_sni;
    k->bio = chopin_pg__ossl_bio_new();
    k->ctx = SSL_CTX_new(TLS_client_method());
    k->key_password = c->key_password ? OPENSSL_strdup(c->key_password) : NULL;
    if (!k->bio || !k->ctx || (c->key_password && !k->key_password)) return chopin_pg__ossl_fail(why, cap, "OpenSSL could not be set up", NULL);
    SSL_CTX_set_mode(k->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(k->ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_session_cache_mode(k->ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_default_passwd_cb(k->ctx, chopin_pg__ossl_key_password);
    SSL_CTX_set_default_passwd_cb_userdata(k->ctx, k);
    SSL_CTX_set_cert_cb(k->ctx, chopin_pg__ossl_cert_wanted, NULL);
    if (!chopin_pg__ossl_versions(k->ctx, c)) return chopin_pg__ossl_fail(why, cap, "OpenSSL does not allow these TLS versions", NULL);
    return chopin_pg__ossl_roots(k->ctx, c, why, cap) && chopin_pg__ossl_client_cert(k->ctx, c, why, cap);
}

static void *chopin_pg__ossl_config_new(void *ctx, const chopin_pg_tls_config *c, char *why, size_t cap) {
    chopin_pg__ossl_config *k = OPENSSL_zalloc(sizeof *k);
    (void)ctx;
    ERR_clear_error();
    if (k && chopin_pg__ossl_setup(k, c, why, cap)) return k;
    if (!k) snprintf(why, cap, "no memory for TLS");
    chopin_pg__ossl_config_free(k);
    return NULL;
}

/* ---- session ---- */
static bool chopin_pg__ossl_is_address(const char *host) {
    uint8_t bytes[16];
    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

static void chopin_pg__ossl_close(void *session) {
    chopin_pg__ossl *s = session;
    if (!s) return;
    SSL_free(s->ssl);
    if (--s->config->sessions == 0 && s->config->freed) chopin_pg__ossl_config_free(s->config);
    OPENSSL_free(s->host);
    OPENSSL_free(s);
}

/* ALPN is always offered, so that a server of another kind on this port is found out (RFC 7301; the ALPACA attack). */
static bool chopin_pg__ossl_prepare(chopin_pg__ossl *s, int fd) {
    static const unsigned char alpn[] = "\012postgresql";
    BIO *bio = BIO_new(s->config->bio);
    if (!bio) return false;
    BIO_set_data(bio, (void *)(intptr_t)fd);
    SSL_set_bio(s->ssl, bio, bio);                                             // the session owns it now
    SSL_set_connect_state(s->ssl);
    SSL_set_app_data(s->ssl, s);
    if (SSL_set_alpn_protos(s->ssl, alpn, sizeof alpn - 1) != 0) return false;
    bool name = s->host[0] && !s->config->no_sni && !chopin_pg__ossl_is_address(s->host) && !chopin_pg__is_socket_path(chopin_pg__str_z(s->host));
    return !name || SSL_set_tlsext_host_name(s->ssl, s->host) == 1;
}

static void *chopin_pg__ossl_open(void *config, int fd, const char *host, char *why, size_t cap) {
    chopin_pg__ossl_config *k = config;
    if (k->mode == CHOPIN_PG_SSL_VERIFY_FULL && !*host) { snprintf(why, cap, "sslmode=verify-full needs the name of the host, not its address alone"); return NULL; }
    ERR_clear_error();
    chopin_pg__ossl *s = OPENSSL_zalloc(sizeof *s);
    if (s) {
        s->config = k;
        k->sessions++;
        s->ssl = SSL_new(k->ctx);
        s->host = OPENSSL_strdup(host);
        if (s->ssl && s->host && chopin_pg__ossl_prepare(s, fd)) return s;
    }
    chopin_pg__ossl_fail(why, cap, "no TLS session could be made", NULL);
    chopin_pg__ossl_close(s);
    return NULL;
}

/* What a call that gave `rc` means for the caller. The peer's end without goodbye counts as its end: messages carry their own length. */
static int chopin_pg__ossl_verdict(chopin_pg__ossl *s, int rc) {
    int system = errno;
    s->error = SSL_get_error(s->ssl, rc);
    s->detail = ERR_peek_error();
    s->system = system;
    ERR_clear_error();
    if (s->error == SSL_ERROR_WANT_READ)   return CHOPIN_PG_TLS_WANT_READ;
    if (s->error == SSL_ERROR_WANT_WRITE)  return CHOPIN_PG_TLS_WANT_WRITE;
    if (s->error == SSL_ERROR_ZERO_RETURN) return 0;
    if (s->error == SSL_ERROR_SYSCALL && !s->detail && s->system == 0) return 0;
#if defined(SSL_R_UNEXPECTED_EOF_WHILE_READING)
    if (s->error == SSL_ERROR_SSL && ERR_GET_REASON(s->detail) == SSL_R_UNEXPECTED_EOF_WHILE_READING) return 0;
#endif
    return CHOPIN_PG_TLS_FAILED;
}

static void chopin_pg__ossl_reason(void *session, char *why, size_t cap) {
    chopin_pg__ossl *s = session;
    long verified = SSL_get_verify_result(s->ssl);
    const char *reason = s->detail ? ERR_reason_error_string(s->detail) : s->system ? strerror(s->system) : "the server ended the connection";
    bool chain = verified != X509_V_OK && SSL_get_verify_mode(s->ssl) != SSL_VERIFY_NONE;
    snprintf(why, cap, "%s%s%s", reason ? reason : "unknown error", chain ? ": " : "", chain ? X509_verify_cert_error_string(verified) : "");
}

/* Does the certificate carry the name we dialled? Addresses match address entries, or the common name of a certificate without any alternative name. */
static bool chopin_pg__ossl_name_ok(X509 *cert, const char *host) {
    if (!chopin_pg__ossl_is_address(host)) return X509_check_host(cert, host, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
    if (X509_check_ip_asc(cert, host, 0) == 1) return true;
    bool others = X509_get_ext_by_NID(cert, NID_subject_alt_name, -1) >= 0;
    return !others && X509_check_host(cert, host, 0, X509_CHECK_FLAG_NO_WILDCARDS, NULL) == 1;
}

static X509 *chopin_pg__ossl_peer(const chopin_pg__ossl *s) {                  // to be freed
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
    return SSL_get1_peer_certificate(s->ssl);
#else
    return SSL_get_peer_certificate(s->ssl);
#endif
}

/* After the handshake, before a byte of ours: name and protocol. */
static int chopin_pg__ossl_check(chopin_pg__ossl *s, char *why, size_t cap) {
    const unsigned char *alpn;
    unsigned n;
    SSL_get0_alpn_selected(s->ssl, &alpn, &n);
    bool spoken = n == 10 && memcmp(alpn, "postgresql", 10) == 0;
    if (n ? !spoken : s->config->direct) { snprintf(why, cap, "the server did not agree to speak postgresql (ALPN)"); return CHOPIN_PG_TLS_FAILED; }
    if (s->config->mode != CHOPIN_PG_SSL_VERIFY_FULL) return 0;
    X509 *cert = chopin_pg__ossl_peer(s);
    bool  ok = cert && chopin_pg__ossl_name_ok(cert, s->host);
    X509_free(cert);
    if (!ok) snprintf(why, cap, "the server's certificate is not for the host that was dialled");
    return ok ? 0 : CHOPIN_PG_TLS_FAILED;
}

static int chopin_pg__ossl_handshake(void *session, char *why, size_t cap) {
    chopin_pg__ossl *s = session;
    ERR_clear_error();
    errno = 0;
    int rc = SSL_do_handshake(s->ssl);
    if (rc == 1) return chopin_pg__ossl_check(s, why, cap);
    int verdict = chopin_pg__ossl_verdict(s, rc);
    if (verdict == CHOPIN_PG_TLS_WANT_READ || verdict == CHOPIN_PG_TLS_WANT_WRITE) return verdict;
    chopin_pg__ossl_reason(s, why, cap);
    return CHOPIN_PG_TLS_FAILED;
}

static ptrdiff_t chopin_pg__ossl_read(void *session, void *out, size_t n) {
    chopin_pg__ossl *s = session;
    ERR_clear_error();
    errno = 0;
    int rc = SSL_read(s->ssl, out, (int)chopin_pg__min(n, INT_MAX));
    return rc > 0 ? rc : chopin_pg__ossl_verdict(s, rc);
}

static ptrdiff_t chopin_pg__ossl_write(void *session, const void *bytes, size_t n) {
    chopin_pg__ossl *s = session;
    if (n == 0) return 0;
    ERR_clear_error();
    errno = 0;
    int rc = SSL_write(s->ssl, bytes, (int)chopin_pg__min(n, INT_MAX));
    if (rc > 0) return rc;
    int verdict = chopin_pg__ossl_verdict(s, rc);
    return verdict ? verdict : CHOPIN_PG_TLS_FAILED;                           // nothing can be written to a peer that has closed
}

static bool chopin_pg__ossl_pending(void *session) { return SSL_has_pending(((chopin_pg__ossl *)session)->ssl) == 1; }
static bool chopin_pg__ossl_has_cert(void *session) { return ((chopin_pg__ossl *)session)->cert_sent; }

/* The certificate's hash by its signature's hash function, MD5 and SHA-1 replaced by SHA-256 (RFC 5929 section 4.1). Signatures without one: none. */
static int chopin_pg__ossl_binding(void *session, uint8_t *out, size_t cap) {
    X509    *cert = chopin_pg__ossl_peer(session);
    int      nid = NID_undef;
    unsigned n = 0;
    bool     known = cert && X509_get_signature_info(cert, &nid, NULL, NULL, NULL) == 1 && nid != NID_undef;
    if (nid == NID_md5 || nid == NID_sha1) nid = NID_sha256;
    const EVP_MD *hash = known ? EVP_get_digestbynid(nid) : NULL;
    bool ok = hash && (size_t)EVP_MD_size(hash) <= cap && X509_digest(cert, hash, out, &n) == 1;
    X509_free(cert);
    ERR_clear_error();
    return ok ? (int)n : 0;
}

static int chopin_pg__ossl_shut(void *session) {
    chopin_pg__ossl *s = session;
    ERR_clear_error();
    errno = 0;
    int rc = SSL_shutdown(s->ssl);
    return rc >= 0 ? 0 : chopin_pg__ossl_verdict(s, rc);
}

CHOPIN_PG_API const chopin_pg_tls *chopin_pg_openssl(void) {
    static const chopin_pg_tls table = {
        .config = chopin_pg__ossl_config_new, .config_free = chopin_pg__ossl_config_free, .open = chopin_pg__ossl_open, .handshake = chopin_pg__ossl_handshake,
        .read = chopin_pg__ossl_read, .write = chopin_pg__ossl_write, .pending = chopin_pg__ossl_pending, .binding = chopin_pg__ossl_binding,
        .has_cert = chopin_pg__ossl_has_cert, .shut = chopin_pg__ossl_shut, .close = chopin_pg__ossl_close, .reason = chopin_pg__ossl_reason,
    };
    return &table;
}
#endif

/* The table to use when the options name none; NULL: there is no TLS. */
static CHOPIN_PG__UNUSED const chopin_pg_tls *chopin_pg__tls_default(void) {
#if defined(CHOPIN_PG_OPENSSL)
    return chopin_pg_openssl();
#else
    return NULL;
#endif
}

/* ==========================================================================================================
   >>wire   the messages of the protocol, both ways: bytes in, struct out. Pure: nothing here reads, writes or waits

   Reading: one cursor with a sticky flag, one place where lengths are compared. A count is believed only if the bytes for it are there. Writing: one growing
   buffer with a sticky status; a length is patched once its bytes are known, and too long is found before anything leaves.
   https://www.postgresql.org/docs/current/protocol-message-formats.html
   ========================================================================================================== */

#define CHOPIN_PG__MESSAGE_MAX ((size_t)0x3fffffff)      // 1 GiB - 1: what the server itself allows for one message
#define CHOPIN_PG__SMALL_MAX   30000u                    // messages that are short by nature
#define CHOPIN_PG__PARAMS_MAX  65535

/* ---- writing ---- */
typedef struct chopin_pg__out {
    uint8_t *ptr;
    size_t   len, cap;
    size_t   limit;                    // of one message or value; 0: CHOPIN_PG__MESSAGE_MAX
    chopin_pg__heap *heap;
    int      status;                   // 0, MEMORY or ARG (too long); sticky: later puts do nothing
} chopin_pg__out;

static CHOPIN_PG__UNUSED size_t chopin_pg__out_limit(const chopin_pg__out *o) { return o->limit ? o->limit : CHOPIN_PG__MESSAGE_MAX; }

static CHOPIN_PG__UNUSED bool chopin_pg__out_fail(chopin_pg__out *o, int status) {
    if (!o->status) o->status = status;
    return false;
}

static CHOPIN_PG__UNUSED bool chopin_pg__out_grow(chopin_pg__out *o, size_t n) {
    if (n > SIZE_MAX / 4 || o->len > SIZE_MAX / 4) return chopin_pg__out_fail(o, CHOPIN_PG_ARG);
    size_t cap = o->cap ? o->cap : 512;
    while (cap < o->len + n) cap *= 2;
    uint8_t *ptr = (uint8_t *)(o->ptr ? chopin_pg__realloc(o->heap, o->ptr, o->cap, cap) : chopin_pg__alloc(o->heap, cap));
    if (!ptr) return chopin_pg__out_fail(o, CHOPIN_PG_MEMORY);
    o->ptr = ptr;
    o->cap = cap;
    return true;
}

/* More than one message may hold is refused here, before memory is asked for. */
static CHOPIN_PG__UNUSED CHOPIN_PG__NOINLINE bool chopin_pg__out_more(chopin_pg__out *o, size_t n) {
    if (o->status) return false;
    if (n > chopin_pg__out_limit(o)) return chopin_pg__out_fail(o, CHOPIN_PG_ARG);
    return chopin_pg__out_grow(o, n);
}

/* Room for `n` more bytes. */
static inline CHOPIN_PG__UNUSED bool chopin_pg__out_room(chopin_pg__out *o, size_t n) {
    if (CHOPIN_PG__LIKELY(!o->status && n <= o->cap - o->len)) return true;
    return chopin_pg__out_more(o, n);
}

static CHOPIN_PG__UNUSED void chopin_pg__out_done(chopin_pg__out *o) {
    chopin_pg__release(o->heap, o->ptr, o->cap);
    o->ptr = NULL;
    o->len = o->cap = 0;
}

static CHOPIN_PG__UNUSED void chopin_pg__put_u8(chopin_pg__out *o, unsigned v) {
    if (chopin_pg__out_room(o, 1)) o->ptr[o->len++] = (uint8_t)v;
}

static CHOPIN_PG__UNUSED void chopin_pg__put_u16(chopin_pg__out *o, uint32_t v) {
    if (!chopin_pg__out_room(o, 2)) return;
    chopin_pg__store16(o->ptr + o->len, (uint16_t)v);
    o->len += 2;
}

static CHOPIN_PG__UNUSED void chopin_pg__put_u32(chopin_pg__out *o, uint32_t v) {
    if (!chopin_pg__out_room(o, 4)) return;
    chopin_pg__store32(o->ptr + o->len, v);
    o->len += 4;
}

static CHOPIN_PG__UNUSED void chopin_pg__put_u64(chopin_pg__out *o, uint64_t v) {
    chopin_pg__put_u32(o, (uint32_t)(v >> 32));
    chopin_pg__put_u32(o, (uint32_t)v);
}

static CHOPIN_PG__UNUSED void chopin_pg__put_bytes(chopin_pg__out *o, const void *bytes, size_t n) {
    if (!n || !chopin_pg__out_room(o, n)) return;
    memcpy(o->ptr + o->len, bytes, n);
    o->len += n;
}

/* Text and its NUL. The caller has made sure that there is no other NUL inside. */
static CHOPIN_PG__UNUSED void chopin_pg__put_z(chopin_pg__out *o, chopin_str s) {
    chopin_pg__put_bytes(o, s.ptr, s.len);
    chopin_pg__put_u8(o, 0);
}

/* A place for a length that is not known yet. */
static CHOPIN_PG__UNUSED size_t chopin_pg__put_mark(chopin_pg__out *o) {
    chopin_pg__put_u32(o, 0);
    return o->len - 4;
}

/* The length of a value: the bytes since its mark, without the mark. */
static CHOPIN_PG__UNUSED void chopin_pg__put_length(chopin_pg__out *o, size_t mark) {
    if (o->status) return;
    size_t n = o->len - mark - 4;
    if (n > chopin_pg__out_limit(o)) chopin_pg__out_fail(o, CHOPIN_PG_ARG);
    else chopin_pg__store32(o->ptr + mark, (uint32_t)n);
}

static CHOPIN_PG__UNUSED size_t chopin_pg__begin_message(chopin_pg__out *o, char type) {
    chopin_pg__put_u8(o, (unsigned char)type);
    return chopin_pg__put_mark(o);
}

/* The one place where the length of a message is checked and written: it counts itself. */
static CHOPIN_PG__UNUSED bool chopin_pg__end_message(chopin_pg__out *o, size_t mark) {
    if (o->status) return false;
    size_t n = o->len - mark;
    if (n > chopin_pg__out_limit(o)) return chopin_pg__out_fail(o, CHOPIN_PG_ARG);
    chopin_pg__store32(o->ptr + mark, (uint32_t)n);
    return true;
}

/* ---- what we send ---- */
static CHOPIN_PG__UNUSED void chopin_pg__put_simple(chopin_pg__out *o, char type) {        // Sync, Flush, Terminate, CopyDone
    if (!chopin_pg__out_room(o, 5)) return;
    o->ptr[o->len] = (uint8_t)type;
    chopin_pg__store32(o->ptr + o->len + 1, 4);
    o->len += 5;
}

static CHOPIN_PG__UNUSED void chopin_pg__put_text(chopin_pg__out *o, char type, chopin_str text) {     // Query, CopyFail
    size_t mark = chopin_pg__begin_message(o, type);
    chopin_pg__put_z(o, text);
    chopin_pg__end_message(o, mark);
}

static CHOPIN_PG__UNUSED void chopin_pg__put_data(chopin_pg__out *o, char type, const void *bytes, size_t n) {     // CopyData, and answers to R
    size_t mark = chopin_pg__begin_message(o, type);
    chopin_pg__put_bytes(o, bytes, n);
    chopin_pg__end_message(o, mark);
}

/* Describe and Close: of a (S)tatement or (P)ortal. */
static CHOPIN_PG__UNUSED void chopin_pg__put_named(chopin_pg__out *o, char type, char kind, chopin_str name) {
    size_t mark = chopin_pg__begin_message(o, type);
    chopin_pg__put_u8(o, (unsigned char)kind);
    chopin_pg__put_z(o, name);
    chopin_pg__end_message(o, mark);
}

static CHOPIN_PG__UNUSED void chopin_pg__put_execute(chopin_pg__out *o, chopin_str portal, uint32_t limit) {
    size_t mark = chopin_pg__begin_message(o, 'E');
    chopin_pg__put_z(o, portal);
    chopin_pg__put_u32(o, limit);
    chopin_pg__end_message(o, mark);
}

static CHOPIN_PG__UNUSED void chopin_pg__put_ssl_request(chopin_pg__out *o) {
    chopin_pg__put_u32(o, 8);
    chopin_pg__put_u32(o, 80877103);
}

/* The key is 4 bytes, or up to 256 in protocol 3.2. */
static CHOPIN_PG__UNUSED void chopin_pg__put_cancel(chopin_pg__out *o, uint32_t pid, const uint8_t *key, size_t key_len) {
    size_t mark = chopin_pg__put_mark(o);
    chopin_pg__put_u32(o, 80877102);
    chopin_pg__put_u32(o, pid);
    chopin_pg__put_bytes(o, key, key_len);
    chopin_pg__end_message(o, mark);
}

/* ---- reading: a cursor over one body; the first overrun sticks, later reads give zeros ---- */
typedef struct chopin_pg__in {
    const uint8_t *ptr, *end;
    bool           bad;
} chopin_pg__in;

static CHOPIN_PG__UNUSED chopin_pg__in chopin_pg__in_of(const uint8_t *ptr, size_t len) { return (chopin_pg__in){ ptr, ptr + len, false }; }
static CHOPIN_PG__UNUSED size_t chopin_pg__in_left(const chopin_pg__in *in) { return (size_t)(in->end - in->ptr); }

static CHOPIN_PG__UNUSED const uint8_t *chopin_pg__get_bytes(chopin_pg__in *in, size_t n) {
    if (in->bad || n > chopin_pg__in_left(in)) {
        in->bad = true;
        return NULL;
    }
    const uint8_t *p = in->ptr;
    in->ptr += n;
    return p;
}

static CHOPIN_PG__UNUSED unsigned chopin_pg__get_u8(chopin_pg__in *in) {
    const uint8_t *p = chopin_pg__get_bytes(in, 1);
    return p ? *p : 0;
}

static CHOPIN_PG__UNUSED uint32_t chopin_pg__get_u16(chopin_pg__in *in) {
    const uint8_t *p = chopin_pg__get_bytes(in, 2);
    return p ? chopin_pg__load16(p) : 0;
}

static CHOPIN_PG__UNUSED uint32_t chopin_pg__get_u32(chopin_pg__in *in) {
    const uint8_t *p = chopin_pg__get_bytes(in, 4);
    return p ? chopin_pg__load32(p) : 0;
}

static CHOPIN_PG__UNUSED uint64_t chopin_pg__get_u64(chopin_pg__in *in) {
    uint64_t high = chopin_pg__get_u32(in);
    return high << 32 | chopin_pg__get_u32(in);
}

/* Text up to its NUL, which must stand inside the body. */
static CHOPIN_PG__UNUSED chopin_str chopin_pg__get_z(chopin_pg__in *in) {
    const uint8_t *nul = in->bad || in->ptr == in->end ? NULL : (const uint8_t *)memchr(in->ptr, 0, chopin_pg__in_left(in));
    chopin_str s = { NULL, 0 };
    if (!nul) {
        in->bad = true;
        return s;
    }
    s.ptr = (const char *)in->ptr;
    s.len = (size_t)(nul - in->ptr);
    in->ptr = nul + 1;
    return s;
}

/* A count of things that take at least `each` bytes: more than the bytes left could hold is a lie. */
static CHOPIN_PG__UNUSED unsigned chopin_pg__get_count(chopin_pg__in *in, size_t each) {
    unsigned n = chopin_pg__get_u16(in);
    if (!in->bad && (size_t)n * each > chopin_pg__in_left(in)) in->bad = true;
    return in->bad ? 0 : n;
}

static CHOPIN_PG__UNUSED bool chopin_pg__in_finished(const chopin_pg__in *in) { return !in->bad && in->ptr == in->end; }

/* ---- frames ---- */
typedef struct chopin_pg__frame {
    const uint8_t *body;
    uint32_t       len;                // of the body
    uint8_t        type;
} chopin_pg__frame;

enum { CHOPIN_PG__FRAME_BAD = -1, CHOPIN_PG__FRAME_LONG = -2, CHOPIN_PG__FRAME_UNKNOWN = -3 };

/* Bit 1: a backend sends it; bit 2: it may be long. V, the answer to a function call, is never asked for. */
static CHOPIN_PG__UNUSED unsigned chopin_pg__frame_kind(uint8_t type) {
    switch (type) {
    case 'T': case 'D': case 'd': case 'E': case 'N': case 'A': case 't': case 'S': return 3;
    case 'R': case 'K': case 'Z': case 'v': case '1': case '2': case '3': case 'n': case 'C': case 'I': case 's': case 'G': case 'H': case 'W': case 'c': return 1;
    default: return 0;
    }
}

/* > 0: the bytes this frame takes; 0: more bytes needed; < 0: the connection is lost. `max`: the longest message we accept. */
static CHOPIN_PG__UNUSED int64_t chopin_pg__frame_read(const uint8_t *at, size_t have, size_t max, chopin_pg__frame *f) {
    if (have == 0) return 0;
    unsigned kind = chopin_pg__frame_kind(at[0]);
    if (!kind) return CHOPIN_PG__FRAME_UNKNOWN;
    if (have < 5) return 0;
    uint32_t len = chopin_pg__load32(at + 1);
    if (len < 4) return CHOPIN_PG__FRAME_BAD;
    if (len > CHOPIN_PG__MESSAGE_MAX || len > max) return CHOPIN_PG__FRAME_LONG;
    if (!(kind & 2) && len > CHOPIN_PG__SMALL_MAX) return CHOPIN_PG__FRAME_LONG;
    if (have - 1 < len) return 0;
    f->type = at[0];
    f->body = at + 5;
    f->len  = len - 4;
    return (int64_t)len + 1;
}

/* How many bytes the frame that begins here will take in all; 0 when even that is not known yet. Lengths have been judged by frame_read(). */
static CHOPIN_PG__UNUSED size_t chopin_pg__frame_size(const uint8_t *at, size_t have) {
    return have < 5 ? 0 : (size_t)chopin_pg__load32(at + 1) + 1;
}

/* ---- what the server says ---- */
static CHOPIN_PG__UNUSED bool chopin_pg__read_ready(const chopin_pg__frame *f, char *state) {
    if (f->len != 1) return false;
    *state = (char)f->body[0];
    return *state == 'I' || *state == 'T' || *state == 'E';
}

static CHOPIN_PG__UNUSED bool chopin_pg__read_pair(const chopin_pg__frame *f, chopin_str *name, chopin_str *value) {      // ParameterStatus
    chopin_pg__in in = chopin_pg__in_of(f->body, f->len);
    *name  = chopin_pg__get_z(&in);
    *value = chopin_pg__get_z(&in);
    return chopin_pg__in_finished(&in);
}

static CHOPIN_PG__UNUSED bool chopin_pg__read_key(const chopin_pg__frame *f, uint32_t *pid, const uint8_t **key, size_t *key_len) {
    if (f->len < 8 || f->len > 4 + 256) return false;
    *pid     = chopin_pg__load32(f->body);
    *key     = f->body + 4;
    *key_len = f->len - 4;
    return true;
}

static CHOPIN_PG__UNUSED bool chopin_pg__read_notification(const chopin_pg__frame *f, uint32_t *pid, chopin_str *channel, chopin_str *payload) {
    chopin_pg__in in = chopin_pg__in_of(f->body, f->len);
    *pid     = chopin_pg__get_u32(&in);
    *channel = chopin_pg__get_z(&in);
    *payload = chopin_pg__get_z(&in);
    return chopin_pg__in_finished(&in);
}

/* NegotiateProtocolVersion: the newest minor the server speaks; the options it does not know must be some of ours, which ask for none. */
static CHOPIN_PG__UNUSED bool chopin_pg__read_negotiate(const chopin_pg__frame *f, uint32_t *version) {
    chopin_pg__in in = chopin_pg__in_of(f->body, f->len);
    *version = chopin_pg__get_u32(&in);
    uint32_t options = chopin_pg__get_u32(&in);
    if (*version < 0x10000) *version |= 0x30000;             // the document says "minor", servers send both halves
    return options == 0 && chopin_pg__in_finished(&in);
}

/* CommandComplete: the tag, and the number it ends with (-1: none). */
static CHOPIN_PG__UNUSED bool chopin_pg__read_complete(const chopin_pg__frame *f, chopin_str *tag, int64_t *count) {
    if (f->len == 0 || memchr(f->body, 0, f->len) != f->body + f->len - 1) return false;      // the only NUL stands at the end
    *tag   = chopin_pg__str(f->body, f->len - 1);
    *count = -1;
    size_t at = tag->len;
    while (at > 0 && tag->ptr[at - 1] >= '0' && tag->ptr[at - 1] <= '9') at--;
    if (at == tag->len || at == 0 || tag->ptr[at - 1] != ' ' || tag->len - at > 18) return true;
    *count = 0;
    for (; at < tag->len; at++) *count = *count * 10 + (tag->ptr[at] - '0');
    return true;
}

/* A whole CommandComplete at `at` whose tag ends with a number: its bytes, and the number. 0: something else, or not whole. */
static inline size_t chopin_pg__read_counted(const uint8_t *at, size_t have, int64_t *count) {
    size_t n = have >= 8 && at[0] == 'C' ? (size_t)chopin_pg__load32(at + 1) + 1 : 0, i = n - 2;
    if (n < 8 || n > 40 || n > have || at[n - 1]) return 0;
    int64_t unit = 1;
    for (*count = 0; i > 5 && at[i] >= '0' && at[i] <= '9' && n - i <= 19; i--, unit *= 10) *count += unit * (at[i] - '0');
    bool select = i == 11 && memcmp(at + 5, "SELECT", 6) == 0;              // the most usual one
    if (i == n - 2 || at[i] != ' ' || (!select && memchr(at + 5, 0, i - 5))) return 0;
    return n;
}

/* RowDescription, one field at a time. */
typedef struct chopin_pg__field {
    chopin_str name;
    uint32_t   table, oid;
    int32_t    modifier;
    int16_t    attribute, size;
    uint8_t    format;
} chopin_pg__field;

static CHOPIN_PG__UNUSED bool chopin_pg__read_field(chopin_pg__in *in, chopin_pg__field *f) {
    f->name      = chopin_pg__get_z(in);
    f->table     = chopin_pg__get_u32(in);
    f->attribute = (int16_t)chopin_pg__get_u16(in);
    f->oid       = chopin_pg__get_u32(in);
    f->size      = (int16_t)chopin_pg__get_u16(in);
    f->modifier  = (int32_t)chopin_pg__get_u32(in);
    uint32_t format = chopin_pg__get_u16(in);
    if (format > 1) in->bad = true;
    f->format = (uint8_t)format;
    return !in->bad;
}

/* Is this a well-formed RowDescription? Gives its columns and the bytes of all their names. */
static CHOPIN_PG__UNUSED bool chopin_pg__check_fields(const chopin_pg__frame *f, unsigned *columns, size_t *names) {
    chopin_pg__in in = chopin_pg__in_of(f->body, f->len);
    chopin_pg__field field;
    *names   = 0;
    *columns = chopin_pg__get_count(&in, 19);
    for (unsigned i = 0; i < *columns && chopin_pg__read_field(&in, &field); i++) *names += field.name.len;
    return chopin_pg__in_finished(&in);
}

/* ParameterDescription: the number of parameters, or -1. */
static CHOPIN_PG__UNUSED int chopin_pg__check_types(const chopin_pg__frame *f) {
    chopin_pg__in in = chopin_pg__in_of(f->body, f->len);
    unsigned n = chopin_pg__get_count(&in, 4);
    return !in.bad && (size_t)n * 4 == chopin_pg__in_left(&in) ? (int)n : -1;
}

/* CopyInResponse, CopyOutResponse: overall format and the number of columns, or -1. */
static CHOPIN_PG__UNUSED int chopin_pg__check_copy(const chopin_pg__frame *f, bool *binary) {
    chopin_pg__in in = chopin_pg__in_of(f->body, f->len);
    unsigned overall = chopin_pg__get_u8(&in), n = chopin_pg__get_count(&in, 2);
    if (overall > 1) return -1;
    for (unsigned i = 0; i < n; i++) if (chopin_pg__get_u16(&in) > 1) in.bad = true;
    *binary = overall == 1;
    return chopin_pg__in_finished(&in) ? (int)n : -1;
}

#define CHOPIN_PG__NULL 0xffffffffu     // the length of a NULL, here as on the wire

/* DataRow: where its values are. Each cell ends inside the frame and the last one at its end. */
typedef struct chopin_pg__cell {
    const uint8_t *ptr;
    uint32_t       len;                 // or CHOPIN_PG__NULL
} chopin_pg__cell;

static inline CHOPIN_PG__UNUSED bool chopin_pg__read_cells(const uint8_t *body, size_t len, unsigned columns, chopin_pg__cell *cells) {
    size_t lengths = 2 + (size_t)columns * 4;
    if (len < lengths || chopin_pg__load16(body) != columns) return false;
    const uint8_t *p = body + 2;
    size_t left = len - lengths;                             // for the values themselves
    for (const chopin_pg__cell *end = cells + columns; cells != end; cells++) {
        size_t n = chopin_pg__load32(p);
        p += 4;
        cells->ptr = p;
        cells->len = (uint32_t)n;
        if (CHOPIN_PG__UNLIKELY(n > left)) {                 // every negative length, NULL's too
            if (n != CHOPIN_PG__NULL) return false;
            continue;
        }
        p += n, left -= n;
    }
    return left == 0;
}
/* ==========================================================================================================
   >>trace   one line for a message, as PQtrace() of libpq prints it without time
   A message is described by one letter a field: 1 a byte, 2 and 4 integers, s text, v a value with its length, [ repeats what follows as often as the int16 before it says,
   ! fields of an error up to their NUL, d data that is only counted. Passwords and proofs are never printed. Pure.
   ========================================================================================================== */

typedef struct chopin_pg__trace_row {
    char        from, type;             // B or F, and the message
    const char *name, *fields;
} chopin_pg__trace_row;

static const chopin_pg__trace_row chopin_pg__trace_rows[] = {
    { 'B', 'R', "Authentication", "4d" },       { 'B', 'K', "BackendKeyData", "4d" },   { 'B', 'S', "ParameterStatus", "ss" },  { 'B', 'Z', "ReadyForQuery", "1" },
    { 'B', '1', "ParseComplete", "" },          { 'B', '2', "BindComplete", "" },       { 'B', '3', "CloseComplete", "" },      { 'B', 'n', "NoData", "" },
    { 'B', 't', "ParameterDescription", "2[4" },{ 'B', 'T', "RowDescription", "2[s424242" }, { 'B', 'D', "DataRow", "2[v" },    { 'B', 'C', "CommandComplete", "s" },
    { 'B', 'I', "EmptyQueryResponse", "" },     { 'B', 's', "PortalSuspended", "" },    { 'B', 'E', "ErrorResponse", "!" },     { 'B', 'N', "NoticeResponse", "!" },
    { 'B', 'A', "NotificationResponse", "4ss" },{ 'B', 'G', "CopyInResponse", "12[2" }, { 'B', 'H', "CopyOutResponse", "12[2" },{ 'B', 'W', "CopyBothResponse", "12[2" },
    { 'B', 'd', "CopyData", "d" },              { 'B', 'c', "CopyDone", "" },           { 'B', 'v', "NegotiateProtocolVersion", "4d" },
    { 'F', 'P', "Parse", "ss2[4" },             { 'F', 'B', "Bind", "ss2[2;2[v;2[2" },  { 'F', 'D', "Describe", "1s" },         { 'F', 'E', "Execute", "s4" },
    { 'F', 'C', "Close", "1s" },                { 'F', 'S', "Sync", "" },               { 'F', 'H', "Flush", "" },              { 'F', 'Q', "Query", "s" },
    { 'F', 'X', "Terminate", "" },              { 'F', 'p', "PasswordMessage", "d" },   { 'F', 'd', "CopyData", "d" },          { 'F', 'c', "CopyDone", "" },
    { 'F', 'f', "CopyFail", "s" },
};

static void chopin_pg__trace_put(chopin_pg__out *o, const char *z) { chopin_pg__put_bytes(o, z, strlen(z)); }

static void chopin_pg__trace_byte(chopin_pg__out *o, unsigned ch) {
    char text[8];
    if (ch >= 0x20 && ch < 0x7f) chopin_pg__put_u8(o, ch);
    else {
        snprintf(text, sizeof text, "\\x%02x", ch);
        chopin_pg__trace_put(o, text);
    }
}

static void chopin_pg__trace_text(chopin_pg__out *o, chopin_pg__in *in) {
    chopin_str s = chopin_pg__get_z(in);
    chopin_pg__trace_put(o, " \"");
    chopin_pg__put_bytes(o, s.ptr, s.len);
    chopin_pg__put_u8(o, '"');
}

static uint32_t chopin_pg__trace_number(chopin_pg__out *o, chopin_pg__in *in, int width) {
    char text[16];
    uint32_t v = width == 2 ? chopin_pg__get_u16(in) : chopin_pg__get_u32(in);
    snprintf(text, sizeof text, " %ld", width == 2 ? (long)v : (long)chopin_pg__signed32(v));
    chopin_pg__trace_put(o, text);
    return v;
}

static void chopin_pg__trace_value(chopin_pg__out *o, chopin_pg__in *in) {
    uint32_t n = chopin_pg__trace_number(o, in, 4);
    const uint8_t *p = n == UINT32_MAX ? NULL : chopin_pg__get_bytes(in, n);
    if (!p) return;
    chopin_pg__trace_put(o, " '");
    for (uint32_t i = 0; i < n; i++) chopin_pg__trace_byte(o, p[i]);
    chopin_pg__put_u8(o, '\'');
}

static void chopin_pg__trace_error(chopin_pg__out *o, chopin_pg__in *in) {
    for (;;) {
        unsigned code = chopin_pg__get_u8(in);
        chopin_pg__put_u8(o, ' ');
        chopin_pg__trace_byte(o, code);
        if (!code || in->bad) return;
        chopin_pg__trace_text(o, in);
    }
}

static void chopin_pg__trace_field(chopin_pg__out *o, chopin_pg__in *in, char field, uint32_t *count) {
    switch (field) {
    case '1': chopin_pg__put_u8(o, ' '); chopin_pg__trace_byte(o, chopin_pg__get_u8(in)); break;
    case '2': *count = chopin_pg__trace_number(o, in, 2); break;
    case '4': chopin_pg__trace_number(o, in, 4); break;
    case 's': chopin_pg__trace_text(o, in); break;
    case 'v': chopin_pg__trace_value(o, in); break;
    case '!': chopin_pg__trace_error(o, in); break;
    default: break;                                           // data that is not shown
    }
}

static void chopin_pg__trace_fields(chopin_pg__out *o, chopin_pg__in *in, const char *fields) {
    uint32_t count = 0, ignored;
    for (; *fields && !in->bad; fields++) {
        if (*fields == ';') continue;
        if (*fields != '[') {
            chopin_pg__trace_field(o, in, *fields, &count);
            continue;
        }
        size_t n = strcspn(++fields, ";");
        for (; count > 0 && !in->bad; count--) for (size_t i = 0; i < n; i++) chopin_pg__trace_field(o, in, fields[i], &ignored);
        fields += n - 1;
    }
}

/* Calls the hook with the line of one message. `line` is scratch; without memory there is no line. */
static CHOPIN_PG__UNUSED CHOPIN_PG__COLD void chopin_pg__trace(chopin_pg__out *line, void (*hook)(void *ctx, const char *line), void *ctx, char from, const chopin_pg__frame *f) {
    char head[32];
    chopin_pg__in in = chopin_pg__in_of(f->body, f->len);
    const chopin_pg__trace_row *row = NULL;
    for (size_t i = 0; i < CHOPIN_PG__COUNT(chopin_pg__trace_rows); i++) if (chopin_pg__trace_rows[i].from == from && chopin_pg__trace_rows[i].type == (char)f->type) row = &chopin_pg__trace_rows[i];
    line->len    = 0;
    line->status = 0;
    snprintf(head, sizeof head, "%c\t%lu\t", from, (unsigned long)f->len + 4);
    chopin_pg__trace_put(line, head);
    chopin_pg__trace_put(line, row ? row->name : "Unknown");
    if (row && row->fields[0]) {
        chopin_pg__put_u8(line, '\t');
        chopin_pg__trace_fields(line, &in, row->fields);
    }
    chopin_pg__put_u8(line, 0);
    if (!line->status) hook(ctx, (const char *)line->ptr);
}
/* ==========================================================================================================
   >>numeric   exact decimals and the way between decimals and IEEE floats, without a locale
   A numeric of either format is seen as a row of decimal digits and a place for the point; whoever wants an integer, a float, text or the wire's
   groups of four digits walks along it. Floats are read and written exactly, by long integers: the nearest float, the shortest text that reads back.
   ========================================================================================================== */

/* ---- memory for what is no view: in a result, until the next row ---- */
typedef struct chopin_pg__room {
    void *(*take)(void *ctx, size_t n);                                 // NULL: no memory
    void *ctx;
} chopin_pg__room;

/* ---- the pen: writes text into an output buffer, into memory it takes as it grows, or into a fixed buffer, counting what does not fit ---- */
typedef struct chopin_pg__pen {
    chopin_pg__out        *out;
    const chopin_pg__room *room;
    char                  *ptr;
    size_t                 cap, len;   // of a fixed buffer: len goes on counting beyond cap
    bool                   failed;     // no memory
} chopin_pg__pen;

/* At least twice as much, so that a long text is copied a bounded number of times. */
static bool chopin_pg__pen_grow(chopin_pg__pen *pen, size_t n) {
    size_t cap = chopin_pg__max(pen->cap * 2, pen->len + n);
    char  *ptr = pen->failed || cap < n ? NULL : (char *)pen->room->take(pen->room->ctx, chopin_pg__max(cap, 48));
    pen->failed = !ptr;
    if (!ptr) return false;
    if (pen->len) memcpy(ptr, pen->ptr, pen->len);
    pen->ptr = ptr;
    pen->cap = chopin_pg__max(cap, 48);
    return true;
}

static void chopin_pg__pen_put(chopin_pg__pen *pen, const void *bytes, size_t n) {
    if (n == 0) return;
    if (pen->out) chopin_pg__put_bytes(pen->out, bytes, n);
    else if (pen->room && n > pen->cap - pen->len && !chopin_pg__pen_grow(pen, n)) return;
    else if (pen->len < pen->cap) memcpy(pen->ptr + pen->len, bytes, chopin_pg__min(n, pen->cap - pen->len));
    pen->len += n;
}

static void chopin_pg__pen_char(chopin_pg__pen *pen, char ch) { chopin_pg__pen_put(pen, &ch, 1); }
static void chopin_pg__pen_z(chopin_pg__pen *pen, const char *text) { chopin_pg__pen_put(pen, text, strlen(text)); }
static void chopin_pg__pen_str(chopin_pg__pen *pen, chopin_str s) { chopin_pg__pen_put(pen, s.ptr, s.len); }

static void chopin_pg__pen_i64(chopin_pg__pen *pen, int64_t value) {
    char text[24];
    chopin_pg__pen_put(pen, text, chopin_pg__format_i64(text, value));
}

static void chopin_pg__pen_u64(chopin_pg__pen *pen, uint64_t value) {
    char text[24];
    chopin_pg__pen_put(pen, text, chopin_pg__format_u64(text, value));
}

/* At least `width` digits, zeros in front. */
static void chopin_pg__pen_padded(chopin_pg__pen *pen, uint64_t value, size_t width) {
    char   text[24];
    size_t n = chopin_pg__format_u64(text, value);
    for (; width > n; width--) chopin_pg__pen_char(pen, '0');
    chopin_pg__pen_put(pen, text, n);
}

static void chopin_pg__pen_hex(chopin_pg__pen *pen, const uint8_t *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char two[2] = { chopin_pg__hex_digit(bytes[i] >> 4), chopin_pg__hex_digit(bytes[i]) };
        chopin_pg__pen_put(pen, two, 2);
    }
}

/* The amount of a number, also of the smallest one. */
static uint64_t chopin_pg__amount(int64_t value) { return value < 0 ? (uint64_t)-(value + 1) + 1 : (uint64_t)value; }

/* ---- decimals ---- */
enum { CHOPIN_PG__FINITE, CHOPIN_PG__INFINITE, CHOPIN_PG__NAN };
enum { CHOPIN_PG__NUMERIC_MINUS = 0x4000, CHOPIN_PG__NUMERIC_NAN = 0xc000, CHOPIN_PG__NUMERIC_INF = 0xd000, CHOPIN_PG__NUMERIC_MINUS_INF = 0xf000 };
#define CHOPIN_PG__NUMERIC_WHOLE  131072    // digits a numeric may have before the point,
#define CHOPIN_PG__NUMERIC_SCALE  16383     // and behind it

/* A view of a number: text, or the groups of the wire. */
typedef struct chopin_pg__decimal {
    const uint8_t *at;                 // the first digit, or the first group of four
    size_t         count;              // digits
    size_t         gap;                // text: from this digit on there is one byte (the point) more before it
    int64_t        point;              // digits before the point; negative: zeros follow it; over count: zeros are missing
    int32_t        scale;              // digits behind the point that are shown
    uint8_t        kind;
    bool           negative, binary;
} chopin_pg__decimal;

static unsigned chopin_pg__decimal_digit(const chopin_pg__decimal *d, size_t i) {
    static const unsigned power[] = { 1000, 100, 10, 1 };
    if (d->binary) return chopin_pg__load16(d->at + i / 4 * 2) / power[i % 4] % 10;
    return (unsigned)(d->at[i + (i >= d->gap ? 1 : 0)] - '0');
}

/* The digit at a place counted from the point: 0 is the first one behind it, -1 the last one before it. */
static unsigned chopin_pg__decimal_place(const chopin_pg__decimal *d, int64_t place) {
    int64_t i = d->point + place;
    return i >= 0 && (uint64_t)i < d->count ? chopin_pg__decimal_digit(d, (size_t)i) : 0;
}

/* The first digit that is not 0; count when there is none. */
static size_t chopin_pg__decimal_first(const chopin_pg__decimal *d) {
    size_t i = 0;
    while (i < d->count && chopin_pg__decimal_digit(d, i) == 0) i++;
    return i;
}

static int chopin_pg__decimal_special(chopin_pg__decimal *d, chopin_str word) {
    if (chopin_pg__equal_nocase(word, chopin_pg__str_z("nan"))) d->kind = CHOPIN_PG__NAN;
    else if (chopin_pg__equal_nocase(word, chopin_pg__str_z("infinity")) || chopin_pg__equal_nocase(word, chopin_pg__str_z("inf"))) d->kind = CHOPIN_PG__INFINITE;
    else return CHOPIN_PG_TYPE;
    return 0;
}

/* What stands behind the e, whose absence is 0. Six digits are more than any number here may have. */
static int chopin_pg__decimal_exponent(chopin_str s, int64_t *out) {
    *out = 0;
    if (!s.len) return 0;
    if (chopin_pg__lower(s.ptr[0]) != 'e') return CHOPIN_PG_TYPE;
    s = chopin_pg__skip(s, s.len > 1 && s.ptr[1] == '+' ? 2 : 1);
    int64_t value;
    if (!chopin_pg__parse_i64(s, &value)) {
        for (size_t i = s.len && s.ptr[0] == '-' ? 1 : 0; i < s.len; i++) if (!chopin_pg__is_digit(s.ptr[i])) return CHOPIN_PG_TYPE;
        return s.len > 1 ? CHOPIN_PG_RANGE : CHOPIN_PG_TYPE;
    }
    if (value > 200000 || value < -200000) return CHOPIN_PG_RANGE;
    *out = value;
    return 0;
}

/* [sign] digits [. digits] [e [sign] digits], or a word; blanks around it. TYPE: it is no number; RANGE: no numeric is so large. */
static int chopin_pg__decimal_text(chopin_pg__decimal *d, chopin_str s) {
    memset(d, 0, sizeof *d);
    s = chopin_pg__trim(s);
    if (s.len && (s.ptr[0] == '-' || s.ptr[0] == '+')) {
        d->negative = s.ptr[0] == '-';
        s = chopin_pg__skip(s, 1);
    }
    size_t whole = 0, fraction = 0;
    while (whole < s.len && chopin_pg__is_digit(s.ptr[whole])) whole++;
    size_t at = whole + (whole < s.len && s.ptr[whole] == '.' ? 1 : 0);
    while (at > whole && at + fraction < s.len && chopin_pg__is_digit(s.ptr[at + fraction])) fraction++;
    if (whole + fraction == 0) return chopin_pg__decimal_special(d, s);
    int64_t exponent;
    int rc = chopin_pg__decimal_exponent(chopin_pg__skip(s, at + fraction), &exponent);
    if (rc) return rc;
    d->at    = (const uint8_t *)s.ptr;
    d->count = whole + fraction;
    d->gap   = whole;
    d->point = (int64_t)whole + exponent;
    int64_t scale = (int64_t)fraction - exponent;
    if (scale > INT32_MAX) return CHOPIN_PG_RANGE;
    d->scale = scale < 0 ? 0 : (int32_t)scale;
    return 0;
}

/* A numeric of the wire: int16 groups, int16 weight, sign, scale to show, groups. */
static int chopin_pg__decimal_binary(chopin_pg__decimal *d, const uint8_t *ptr, size_t len) {
    memset(d, 0, sizeof *d);
    if (len < 8 || len - 8 != (size_t)chopin_pg__load16(ptr) * 2) return CHOPIN_PG_PROTOCOL;
    uint16_t sign = chopin_pg__load16(ptr + 4), scale = chopin_pg__load16(ptr + 6);
    d->binary   = true;
    d->at       = ptr + 8;
    d->count    = (len - 8) * 2;
    d->point    = ((int64_t)chopin_pg__signed16(chopin_pg__load16(ptr + 2)) + 1) * 4;
    d->scale    = scale;
    d->negative = sign == CHOPIN_PG__NUMERIC_MINUS || sign == CHOPIN_PG__NUMERIC_MINUS_INF;
    d->kind     = sign == CHOPIN_PG__NUMERIC_NAN ? CHOPIN_PG__NAN : sign >= CHOPIN_PG__NUMERIC_INF ? CHOPIN_PG__INFINITE : CHOPIN_PG__FINITE;
    if (sign & 0xfff || (sign > CHOPIN_PG__NUMERIC_MINUS && sign < CHOPIN_PG__NUMERIC_NAN) || sign == 0xe000) return CHOPIN_PG_PROTOCOL;
    if (d->kind == CHOPIN_PG__FINITE && scale > CHOPIN_PG__NUMERIC_SCALE) return CHOPIN_PG_PROTOCOL;
    for (size_t i = 0; i < len - 8; i += 2) if (chopin_pg__load16(ptr + 8 + i) > 9999) return CHOPIN_PG_PROTOCOL;
    return 0;
}

/* Is anything but zeros shown? Minus zero is written without its sign. */
static bool chopin_pg__decimal_shown(const chopin_pg__decimal *d) {
    size_t first = chopin_pg__decimal_first(d);
    return first < d->count && (int64_t)first < d->point + d->scale;
}

/* As the server writes it: all digits before the point, `scale` behind it, no exponent. */
static void chopin_pg__decimal_print(chopin_pg__pen *pen, const chopin_pg__decimal *d) {
    if (d->kind == CHOPIN_PG__NAN) { chopin_pg__pen_z(pen, "NaN"); return; }
    if (d->negative && (d->kind == CHOPIN_PG__INFINITE || chopin_pg__decimal_shown(d))) chopin_pg__pen_char(pen, '-');
    if (d->kind == CHOPIN_PG__INFINITE) { chopin_pg__pen_z(pen, "Infinity"); return; }
    int64_t first = (int64_t)chopin_pg__decimal_first(d);
    if (first == (int64_t)d->count || first >= d->point) { chopin_pg__pen_char(pen, '0'); first = d->point; }
    for (int64_t place = first < d->point ? first - d->point : 0; place < 0; place++) chopin_pg__pen_char(pen, (char)('0' + chopin_pg__decimal_place(d, place)));
    if (d->scale) chopin_pg__pen_char(pen, '.');
    for (int64_t place = 0; place < d->scale; place++) chopin_pg__pen_char(pen, (char)('0' + chopin_pg__decimal_place(d, place)));
}

/* The number times 10^scale as sign and amount. RANGE when it does not fit, when digits would be lost, and for what is not finite. */
static int chopin_pg__decimal_scaled(const chopin_pg__decimal *d, int scale, uint64_t *amount) {
    *amount = 0;
    if (d->kind != CHOPIN_PG__FINITE) return CHOPIN_PG_RANGE;
    int64_t keep = d->point + scale;                                   // digits that become the integer
    for (size_t i = chopin_pg__decimal_first(d); i < d->count; i++) {
        unsigned digit = chopin_pg__decimal_digit(d, i);
        if ((int64_t)i >= keep && digit) return CHOPIN_PG_RANGE;
        if ((int64_t)i >= keep) continue;
        if (__builtin_mul_overflow(*amount, (uint64_t)10, amount) || __builtin_add_overflow(*amount, (uint64_t)digit, amount)) return CHOPIN_PG_RANGE;
    }
    for (int64_t i = (int64_t)d->count; i < keep && *amount; i++) {
        if (__builtin_mul_overflow(*amount, (uint64_t)10, amount)) return CHOPIN_PG_RANGE;
    }
    return 0;
}

/* Sign and amount as an int64. */
static int chopin_pg__signed_of(bool negative, uint64_t amount, int64_t *out) {
    *out = 0;
    if (amount > (uint64_t)INT64_MAX + (negative ? 1 : 0)) return CHOPIN_PG_RANGE;
    *out = !negative ? (int64_t)amount : amount > (uint64_t)INT64_MAX ? INT64_MIN : -(int64_t)amount;
    return 0;
}

/* The group of four digits whose first is at `place` from the point (a multiple of four). */
static unsigned chopin_pg__decimal_group(const chopin_pg__decimal *d, int64_t place) {
    unsigned group = 0;
    for (int64_t i = 0; i < 4; i++) group = group * 10 + chopin_pg__decimal_place(d, place + i);
    return group;
}

static int64_t chopin_pg__floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

static void chopin_pg__put_numeric_head(chopin_pg__out *out, unsigned groups, int64_t weight, unsigned sign, int32_t scale) {
    chopin_pg__put_u16(out, groups);
    chopin_pg__put_u16(out, (uint32_t)((uint64_t)weight & 0xffff));
    chopin_pg__put_u16(out, sign);
    chopin_pg__put_u16(out, (uint32_t)scale);
}

/* The wire's form. RANGE when the server could not hold it. */
static int chopin_pg__decimal_put(chopin_pg__out *out, const chopin_pg__decimal *d) {
    if (d->kind != CHOPIN_PG__FINITE) {
        bool nan = d->kind == CHOPIN_PG__NAN;
        chopin_pg__put_numeric_head(out, 0, 0, nan ? CHOPIN_PG__NUMERIC_NAN : d->negative ? CHOPIN_PG__NUMERIC_MINUS_INF : CHOPIN_PG__NUMERIC_INF, nan ? 0 : 0x20);
        return 0;
    }
    size_t first = chopin_pg__decimal_first(d), last = d->count;
    while (last > first && chopin_pg__decimal_digit(d, last - 1) == 0) last--;
    if (first == last) { chopin_pg__put_numeric_head(out, 0, 0, 0, d->scale > CHOPIN_PG__NUMERIC_SCALE ? CHOPIN_PG__NUMERIC_SCALE : d->scale); return 0; }
    int64_t from = chopin_pg__floor_div((int64_t)first - d->point, 4), to = chopin_pg__floor_div((int64_t)last - 1 - d->point, 4);    // groups, 0 follows the point
    if (d->point - (int64_t)first > CHOPIN_PG__NUMERIC_WHOLE || d->scale > CHOPIN_PG__NUMERIC_SCALE) return CHOPIN_PG_RANGE;
    chopin_pg__put_numeric_head(out, (unsigned)(to - from + 1), -from - 1, d->negative ? CHOPIN_PG__NUMERIC_MINUS : 0, d->scale);
    for (int64_t group = from; group <= to; group++) chopin_pg__put_u16(out, chopin_pg__decimal_group(d, group * 4));
    return 0;
}

/* An integer with its last `scale` digits behind the point, as a view of `text`, which has 24 bytes. */
static chopin_pg__decimal chopin_pg__decimal_of(char *text, bool negative, uint64_t amount, int scale) {
    chopin_pg__decimal d = { .at = (const uint8_t *)text, .count = chopin_pg__format_u64(text, amount), .gap = SIZE_MAX, .negative = negative };
    d.point = (int64_t)d.count - scale;
    d.scale = scale < 0 ? 0 : scale;
    return d;
}

/* ---- long integers: 124 words of 32 bits are enough for 771 digits over 10^1116 with 64 bits to spare ---- */
typedef struct chopin_pg__big { uint32_t n, word[124]; } chopin_pg__big;

static void chopin_pg__big_set(chopin_pg__big *b, uint64_t value) {
    b->n = 0;
    for (; value; value >>= 32) b->word[b->n++] = (uint32_t)value;
}

static void chopin_pg__big_times(chopin_pg__big *b, uint32_t by, uint32_t plus) {
    uint64_t carry = plus;
    for (uint32_t i = 0; i < b->n; i++) {
        carry += (uint64_t)b->word[i] * by;
        b->word[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (!carry) return;
    CHOPIN_PG_ASSERT(b->n < 124);
    b->word[b->n++] = (uint32_t)carry;
}

static void chopin_pg__big_times_10(chopin_pg__big *b, int64_t power) {
    for (; power >= 9; power -= 9) chopin_pg__big_times(b, 1000000000, 0);
    for (; power > 0; power--) chopin_pg__big_times(b, 10, 0);
}

static void chopin_pg__big_shift(chopin_pg__big *b, uint32_t bits) {
    uint32_t words = bits / 32;
    if (b->n == 0) return;
    CHOPIN_PG_ASSERT(b->n + words < 124);
    memmove(b->word + words, b->word, b->n * sizeof *b->word);
    memset(b->word, 0, words * sizeof *b->word);
    b->n += words;
    if (bits % 32) chopin_pg__big_times(b, UINT32_C(1) << bits % 32, 0);
}

static int chopin_pg__big_compare(const chopin_pg__big *a, const chopin_pg__big *b) {
    if (a->n != b->n) return a->n < b->n ? -1 : 1;
    for (uint32_t i = a->n; i-- > 0; ) {
        if (a->word[i] != b->word[i]) return a->word[i] < b->word[i] ? -1 : 1;
    }
    return 0;
}

/* a -= b, where a >= b. */
static void chopin_pg__big_minus(chopin_pg__big *a, const chopin_pg__big *b) {
    int64_t carry = 0;
    for (uint32_t i = 0; i < a->n; i++) {
        carry += (int64_t)a->word[i] - (i < b->n ? b->word[i] : 0);
        a->word[i] = (uint32_t)((uint64_t)carry & 0xffffffff);
        carry = carry < 0 ? -1 : 0;
    }
    while (a->n && a->word[a->n - 1] == 0) a->n--;
}

/* How a + b compares with c. */
static int chopin_pg__big_sum_compare(const chopin_pg__big *a, const chopin_pg__big *b, const chopin_pg__big *c) {
    chopin_pg__big rest = *c;
    if (chopin_pg__big_compare(a, c) > 0) return 1;
    chopin_pg__big_minus(&rest, a);
    return chopin_pg__big_compare(b, &rest);
}

static uint32_t chopin_pg__bit_length(uint64_t v) { return v ? 64 - (uint32_t)__builtin_clzll(v) : 0; }
static uint32_t chopin_pg__big_bits(const chopin_pg__big *b) { return b->n ? (b->n - 1) * 32 + chopin_pg__bit_length(b->word[b->n - 1]) : 0; }

/* ---- text to float ---- */
typedef struct chopin_pg__ieee { int bits, lowest, highest; } chopin_pg__ieee;      // of the fraction with its hidden bit; exponents of normal numbers
static const chopin_pg__ieee chopin_pg__ieee32 = { 24, -126, 127 }, chopin_pg__ieee64 = { 53, -1022, 1023 };

/* q * 2^(exponent - 63) and a bit more if `sticky`, rounded to nearest even: the bits of the float. False: it is too large. */
static bool chopin_pg__ieee_round(const chopin_pg__ieee *f, uint64_t q, int exponent, bool sticky, uint64_t *out) {
    if (!(q >> 63)) { q <<= 1; exponent--; }
    int keep = exponent < f->lowest ? f->bits - (f->lowest - exponent) : f->bits;   // fewer for denormals
    *out = 0;
    if (keep < 0) return true;
    int      drop = 64 - keep;
    uint64_t kept = keep ? q >> drop : 0, rest = keep ? q << keep : q, half = UINT64_C(1) << 63;
    if (rest > half || (rest == half && (sticky || kept & 1))) kept++;
    if (exponent >= f->lowest) kept += (uint64_t)(exponent - f->lowest) << (f->bits - 1);   // the hidden bit, and a carry, add one to the exponent
    *out = kept;
    return kept < (uint64_t)(f->highest - f->lowest + 2) << (f->bits - 1);
}

/* At most 770 digits, and a 1 behind them when there were more. Gives how many digits went into `b`. */
static size_t chopin_pg__big_digits(chopin_pg__big *b, const chopin_pg__decimal *d, size_t first) {
    size_t n = chopin_pg__min(d->count - first, (size_t)770);
    chopin_pg__big_set(b, 0);
    for (size_t i = 0; i < n; i++) chopin_pg__big_times(b, 10, chopin_pg__decimal_digit(d, first + i));
    for (size_t i = first + n; i < d->count; i++) {
        if (chopin_pg__decimal_digit(d, i) == 0) continue;
        chopin_pg__big_times(b, 10, 1);
        return n + 1;
    }
    return n;
}

/* 64 bits of a / b, which lie between 1/2 and 2: bit 63 is the whole part. `a` becomes the rest. */
static uint64_t chopin_pg__big_divide(chopin_pg__big *a, const chopin_pg__big *b) {
    uint64_t q = 0;
    for (int i = 0; i < 64; i++) {
        bool one = chopin_pg__big_compare(a, b) >= 0;
        if (one) chopin_pg__big_minus(a, b);
        q = q << 1 | (one ? 1 : 0);
        chopin_pg__big_times(a, 2, 0);
    }
    return q;
}

static CHOPIN_PG__NOINLINE bool chopin_pg__ieee_slow(const chopin_pg__ieee *f, const chopin_pg__decimal *d, size_t first, uint64_t *out) {
    chopin_pg__big a, b;
    int64_t exponent = d->point - (int64_t)first - (int64_t)chopin_pg__big_digits(&a, d, first);
    chopin_pg__big_set(&b, 1);
    chopin_pg__big_times_10(exponent < 0 ? &b : &a, exponent < 0 ? -exponent : exponent);
    int shift = (int)chopin_pg__big_bits(&b) - (int)chopin_pg__big_bits(&a);
    chopin_pg__big_shift(shift < 0 ? &b : &a, (uint32_t)(shift < 0 ? -shift : shift));
    uint64_t q = chopin_pg__big_divide(&a, &b);
    return chopin_pg__ieee_round(f, q, -shift, a.n != 0, out);
}

/* The bits of the float that is nearest. False: it is too large. Too small gives 0. */
static bool chopin_pg__ieee_bits(const chopin_pg__ieee *f, const chopin_pg__decimal *d, uint64_t *out) {
    uint64_t infinity = (uint64_t)(f->highest - f->lowest + 2) << (f->bits - 1);
    *out = d->kind == CHOPIN_PG__FINITE ? 0 : d->kind == CHOPIN_PG__NAN ? infinity | UINT64_C(1) << (f->bits - 2) : infinity;
    if (d->kind != CHOPIN_PG__FINITE) return true;
    size_t  first = chopin_pg__decimal_first(d);
    int64_t size = d->point - (int64_t)first;                                          // the number is below 10^size
    if (first == d->count || size < -345) return true;
    return size <= 310 && chopin_pg__ieee_slow(f, d, first, out);
}

/* Up to 15 digits and 22 places: one exact operation gives the nearest double, where the processor does not keep more bits than a double has. */
static bool chopin_pg__f64_fast(const chopin_pg__decimal *d, double *out) {
    static const double power[] = { 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };
    int64_t  exponent = d->point - (int64_t)d->count;
    uint64_t value = 0;
    if (FLT_EVAL_METHOD != 0 || d->kind != CHOPIN_PG__FINITE || d->count > 15 || exponent > 22 || exponent < -22) return false;
    for (size_t i = 0; i < d->count; i++) value = value * 10 + chopin_pg__decimal_digit(d, i);
    *out = exponent < 0 ? (double)value / power[-exponent] : (double)value * power[exponent];
    if (d->negative) *out = -*out;
    return true;
}

static int chopin_pg__decimal_f64(const chopin_pg__decimal *d, double *out) {
    uint64_t bits;
    if (chopin_pg__f64_fast(d, out)) return 0;
    bool fits = chopin_pg__ieee_bits(&chopin_pg__ieee64, d, &bits);
    if (d->negative && d->kind != CHOPIN_PG__NAN) bits |= UINT64_C(1) << 63;
    memcpy(out, &bits, sizeof *out);
    return fits ? 0 : CHOPIN_PG_RANGE;
}

static int chopin_pg__decimal_f32(const chopin_pg__decimal *d, float *out) {
    uint64_t bits;
    bool     fits = chopin_pg__ieee_bits(&chopin_pg__ieee32, d, &bits);
    uint32_t word = (uint32_t)bits | (d->negative && d->kind != CHOPIN_PG__NAN ? UINT32_C(1) << 31 : 0);
    memcpy(out, &word, sizeof *out);
    return fits ? 0 : CHOPIN_PG_RANGE;
}

/* ---- float to text: the shortest digits strictly between the neighbours' middles, the nearest of them ---- */
typedef struct chopin_pg__digits { char digit[20]; int n, exponent; } chopin_pg__digits;     // 0.ddd * 10^exponent

/* r / s is the number; up and down are the distances to the middles on both sides, in the same unit. */
typedef struct chopin_pg__shortest { chopin_pg__big r, s, up, down; } chopin_pg__shortest;

static void chopin_pg__shortest_start(chopin_pg__shortest *w, uint64_t fraction, int exponent, bool narrow) {
    uint32_t more = narrow ? 1 : 0, raise = exponent > 0 ? (uint32_t)exponent : 0, lower = exponent < 0 ? (uint32_t)-exponent : 0;
    chopin_pg__big_set(&w->r, fraction);
    chopin_pg__big_shift(&w->r, raise + 1 + more);
    chopin_pg__big_set(&w->s, 1);
    chopin_pg__big_shift(&w->s, lower + 1 + more);
    chopin_pg__big_set(&w->down, 1);
    chopin_pg__big_shift(&w->down, raise);
    w->up = w->down;
    chopin_pg__big_shift(&w->up, more);                                // the lower neighbour of a power of two is twice as near
}

/* Brings r / s below 1 by a power of ten, which it gives. */
static int chopin_pg__shortest_scale(chopin_pg__shortest *w, int log2) {
    int k = (log2 * 1233 + 4096 * 400) / 4096 - 400;                   // about log2 * log10(2), not above the right one
    chopin_pg__big *down[] = { &w->r, &w->up, &w->down };
    if (k >= 0) chopin_pg__big_times_10(&w->s, k);
    for (int i = 0; k < 0 && i < 3; i++) chopin_pg__big_times_10(down[i], -k);
    for (; chopin_pg__big_sum_compare(&w->r, &w->up, &w->s) > 0; k++) chopin_pg__big_times(&w->s, 10, 0);
    return k;
}

static void chopin_pg__shortest_digits(chopin_pg__shortest *w, chopin_pg__digits *out) {
    for (bool low = false, high = false; !low && !high && out->n < 18; ) {
        chopin_pg__big_times(&w->r, 10, 0);
        chopin_pg__big_times(&w->up, 10, 0);
        chopin_pg__big_times(&w->down, 10, 0);
        int digit = 0;
        for (; chopin_pg__big_compare(&w->r, &w->s) >= 0; digit++) chopin_pg__big_minus(&w->r, &w->s);
        low  = chopin_pg__big_compare(&w->r, &w->down) < 0;
        high = chopin_pg__big_sum_compare(&w->r, &w->up, &w->s) > 0;
        int half = low && high ? chopin_pg__big_sum_compare(&w->r, &w->r, &w->s) : 0;
        if (high && (!low || half > 0 || (half == 0 && digit & 1))) digit++;
        out->digit[out->n++] = (char)('0' + digit);
    }
}

static CHOPIN_PG__NOINLINE void chopin_pg__ieee_shortest(const chopin_pg__ieee *f, uint64_t bits, chopin_pg__digits *out) {
    chopin_pg__shortest w;
    uint64_t fraction = bits & ((UINT64_C(1) << (f->bits - 1)) - 1);
    int      biased = (int)(bits >> (f->bits - 1)), exponent = (biased ? biased : 1) - 1 + f->lowest - (f->bits - 1);
    bool     narrow = fraction == 0 && biased > 1;
    if (biased) fraction |= UINT64_C(1) << (f->bits - 1);
    out->n = 0;
    chopin_pg__shortest_start(&w, fraction, exponent, narrow);
    out->exponent = chopin_pg__shortest_scale(&w, exponent + (int)chopin_pg__bit_length(fraction) - 1);
    chopin_pg__shortest_digits(&w, out);
}

/* 0.ddd * 10^exponent as the server writes it: with an exponent outside of [-4, limit). */
static void chopin_pg__pen_digits(chopin_pg__pen *pen, const chopin_pg__digits *d, int limit) {
    int shown = d->exponent - 1, whole = d->exponent;                   // the exponent of d.dd; digits before the point
    if (shown < -4 || shown >= limit) whole = 1;
    if (whole <= 0) chopin_pg__pen_z(pen, "0.");
    for (int i = whole; i < 0; i++) chopin_pg__pen_char(pen, '0');
    for (int i = 0; i < d->n; i++) {
        if (i == whole && i) chopin_pg__pen_char(pen, '.');
        chopin_pg__pen_char(pen, d->digit[i]);
    }
    for (int i = d->n; i < whole; i++) chopin_pg__pen_char(pen, '0');
    if (shown >= -4 && shown < limit) return;
    chopin_pg__pen_z(pen, shown < 0 ? "e-" : "e+");
    chopin_pg__pen_padded(pen, chopin_pg__amount(shown), 2);
}

/* Writes what is no ordinary number; false: it is one. */
static bool chopin_pg__pen_odd_float(chopin_pg__pen *pen, double value) {
    if (isnan(value)) chopin_pg__pen_z(pen, "NaN");
    else if (isinf(value)) chopin_pg__pen_z(pen, value < 0 ? "-Infinity" : "Infinity");
    else if (value == 0) chopin_pg__pen_z(pen, signbit(value) ? "-0" : "0");
    else return false;
    return true;
}

static void chopin_pg__pen_f64(chopin_pg__pen *pen, double value) {
    chopin_pg__digits digits;
    uint64_t bits;
    if (chopin_pg__pen_odd_float(pen, value)) return;
    if (value > -1e15 && value < 1e15 && value == (double)(int64_t)value) { chopin_pg__pen_i64(pen, (int64_t)value); return; }
    memcpy(&bits, &value, sizeof bits);
    if (bits >> 63) chopin_pg__pen_char(pen, '-');
    chopin_pg__ieee_shortest(&chopin_pg__ieee64, bits & ~(UINT64_C(1) << 63), &digits);
    chopin_pg__pen_digits(pen, &digits, 15);
}

static void chopin_pg__pen_f32(chopin_pg__pen *pen, float value) {
    chopin_pg__digits digits;
    uint32_t bits;
    if (chopin_pg__pen_odd_float(pen, (double)value)) return;
    memcpy(&bits, &value, sizeof bits);
    if (bits >> 31) chopin_pg__pen_char(pen, '-');
    chopin_pg__ieee_shortest(&chopin_pg__ieee32, bits & ~(UINT32_C(1) << 31), &digits);
    chopin_pg__pen_digits(pen, &digits, 6);
}

/* ---- text to float, whole ---- */
static int chopin_pg__read_f64(chopin_str s, double *out) {
    chopin_pg__decimal d;
    int rc = chopin_pg__decimal_text(&d, s);
    return rc ? rc : chopin_pg__decimal_f64(&d, out);
}

static int chopin_pg__read_f32(chopin_str s, float *out) {
    chopin_pg__decimal d;
    int rc = chopin_pg__decimal_text(&d, s);
    return rc ? rc : chopin_pg__decimal_f32(&d, out);
}

/* ==========================================================================================================
   >>datetime   dates, times, time stamps and intervals as text, both ways
   Inside, time is counted as the server counts it: days and microseconds from 2000-01-01, so that its whole range fits; the getters move it to 1970.
   Text is read in DateStyle ISO only, whose year has at least four digits: no other style can be taken for it. Intervals are read in three styles of four.
   ========================================================================================================== */

#define CHOPIN_PG__DAY_US      INT64_C(86400000000)
#define CHOPIN_PG__EPOCH_DAYS  10957                                    // from 1970-01-01 to 2000-01-01
#define CHOPIN_PG__EPOCH_US    (CHOPIN_PG__EPOCH_DAYS * CHOPIN_PG__DAY_US)

/* ---- the calendar: years as astronomers count them, 0 is 1 BC ---- */
typedef struct chopin_pg__civil { int64_t year; int month, day; } chopin_pg__civil;

/* Days since 2000-01-01. Years begin in March here, so that the leap day is the last of its year. */
static int64_t chopin_pg__days_of(int64_t year, int month, int day) {
    int64_t from_march = month > 2 ? month - 3 : month + 9;
    if (month <= 2) year--;
    int64_t leaps = chopin_pg__floor_div(year, 4) - chopin_pg__floor_div(year, 100) + chopin_pg__floor_div(year, 400);
    return year * 365 + leaps + (from_march * 153 + 2) / 5 + day - 1 - 730425;
}

static chopin_pg__civil chopin_pg__civil_of(int64_t days) {
    days += 730425;                                                     // 0 is the 1st of March of the year 0
    int64_t era = chopin_pg__floor_div(days, 146097), rest = days - era * 146097;
    int64_t year = (rest - rest / 1460 + rest / 36524 - rest / 146096) / 365;      // of 400; leap days do not count
    int64_t yday = rest - (year * 365 + year / 4 - year / 100), month = (yday * 5 + 2) / 153;
    chopin_pg__civil c = { era * 400 + year, (int)(month < 10 ? month + 3 : month - 9), (int)(yday - (month * 153 + 2) / 5 + 1) };
    if (c.month <= 2) c.year++;
    return c;
}

/* ---- writing ---- */
static void chopin_pg__pen_civil(chopin_pg__pen *pen, int64_t days) {
    chopin_pg__civil c = chopin_pg__civil_of(days);
    chopin_pg__pen_padded(pen, (uint64_t)(c.year > 0 ? c.year : 1 - c.year), 4);
    chopin_pg__pen_char(pen, '-');
    chopin_pg__pen_padded(pen, (uint64_t)c.month, 2);
    chopin_pg__pen_char(pen, '-');
    chopin_pg__pen_padded(pen, (uint64_t)c.day, 2);
}

static void chopin_pg__pen_era(chopin_pg__pen *pen, int64_t days) {
    if (chopin_pg__civil_of(days).year <= 0) chopin_pg__pen_z(pen, " BC");
}

static void chopin_pg__pen_date(chopin_pg__pen *pen, int32_t days) {
    if (days == INT32_MAX || days == INT32_MIN) { chopin_pg__pen_z(pen, days < 0 ? "-infinity" : "infinity"); return; }
    chopin_pg__pen_civil(pen, days);
    chopin_pg__pen_era(pen, days);
}

/* Without zeros at its end, and nothing at all for 0. */
static void chopin_pg__pen_fraction(chopin_pg__pen *pen, uint64_t us) {
    size_t width = 6;
    if (us == 0) return;
    for (; us % 10 == 0; us /= 10) width--;
    chopin_pg__pen_char(pen, '.');
    chopin_pg__pen_padded(pen, us, width);
}

/* HH:MM:SS.ffffff; any number of hours. */
static void chopin_pg__pen_hms(chopin_pg__pen *pen, uint64_t us) {
    chopin_pg__pen_padded(pen, us / 3600000000u, 2);
    chopin_pg__pen_char(pen, ':');
    chopin_pg__pen_padded(pen, us / 60000000 % 60, 2);
    chopin_pg__pen_char(pen, ':');
    chopin_pg__pen_padded(pen, us / 1000000 % 60, 2);
    chopin_pg__pen_fraction(pen, us % 1000000);
}

/* +02, -03:30, +00:19:32 */
static void chopin_pg__pen_zone(chopin_pg__pen *pen, int32_t east) {
    uint64_t amount = chopin_pg__amount(east);
    chopin_pg__pen_char(pen, east < 0 ? '-' : '+');
    chopin_pg__pen_padded(pen, amount / 3600, 2);
    if (amount % 3600 == 0) return;
    chopin_pg__pen_char(pen, ':');
    chopin_pg__pen_padded(pen, amount / 60 % 60, 2);
    if (amount % 60 == 0) return;
    chopin_pg__pen_char(pen, ':');
    chopin_pg__pen_padded(pen, amount % 60, 2);
}

/* In UTC; `zoned` says so behind it. */
static void chopin_pg__pen_stamp(chopin_pg__pen *pen, int64_t us, bool zoned) {
    if (us == INT64_MAX || us == INT64_MIN) { chopin_pg__pen_z(pen, us < 0 ? "-infinity" : "infinity"); return; }
    int64_t days = chopin_pg__floor_div(us, CHOPIN_PG__DAY_US);
    chopin_pg__pen_civil(pen, days);
    chopin_pg__pen_char(pen, ' ');
    chopin_pg__pen_hms(pen, (uint64_t)(us % CHOPIN_PG__DAY_US + (us % CHOPIN_PG__DAY_US < 0 ? CHOPIN_PG__DAY_US : 0)));
    if (zoned) chopin_pg__pen_z(pen, "+00");
    chopin_pg__pen_era(pen, days);
}

static void chopin_pg__pen_clock(chopin_pg__pen *pen, const chopin_clock *c) {
    chopin_pg__pen_hms(pen, chopin_pg__amount(c->us));
    if (c->zoned) chopin_pg__pen_zone(pen, c->east);
}

/* 0: it is finite. The three numbers at their limits mean infinity since PostgreSQL 17. */
static int chopin_pg__interval_sign(const chopin_interval *v) {
    if (v->us == INT64_MAX && v->days == INT32_MAX && v->months == INT32_MAX) return 1;
    return v->us == INT64_MIN && v->days == INT32_MIN && v->months == INT32_MIN ? -1 : 0;
}

/* One part in style postgres: a plus stands only behind a negative part. */
static void chopin_pg__pen_part(chopin_pg__pen *pen, int64_t value, const char *unit, bool *first, bool *minus) {
    if (value == 0) return;
    if (!*first) chopin_pg__pen_char(pen, ' ');
    if (*minus && value > 0) chopin_pg__pen_char(pen, '+');
    chopin_pg__pen_i64(pen, value);
    chopin_pg__pen_char(pen, ' ');
    chopin_pg__pen_z(pen, unit);
    if (value != 1) chopin_pg__pen_char(pen, 's');
    *minus = value < 0;
    *first = false;
}

static void chopin_pg__pen_interval(chopin_pg__pen *pen, const chopin_interval *v) {
    bool first = true, minus = false;
    int  sign = chopin_pg__interval_sign(v);
    if (sign) { chopin_pg__pen_z(pen, sign < 0 ? "-infinity" : "infinity"); return; }
    chopin_pg__pen_part(pen, v->months / 12, "year", &first, &minus);
    chopin_pg__pen_part(pen, v->months % 12, "mon", &first, &minus);
    chopin_pg__pen_part(pen, v->days, "day", &first, &minus);
    if (v->us == 0 && !first) return;
    if (!first) chopin_pg__pen_char(pen, ' ');
    if (v->us < 0 || minus) chopin_pg__pen_char(pen, v->us < 0 ? '-' : '+');
    chopin_pg__pen_hms(pen, chopin_pg__amount(v->us));
}

/* As ISO 8601 has it, which every server reads alike under every IntervalStyle. */
static void chopin_pg__pen_interval_iso(chopin_pg__pen *pen, const chopin_interval *v) {
    uint64_t amount = chopin_pg__amount(v->us);
    const char *sign = v->us < 0 ? "-" : "";
    if (chopin_pg__interval_sign(v)) { chopin_pg__pen_interval(pen, v); return; }
    chopin_pg__pen_char(pen, 'P');
    chopin_pg__pen_i64(pen, v->months);
    chopin_pg__pen_char(pen, 'M');
    chopin_pg__pen_i64(pen, v->days);
    chopin_pg__pen_z(pen, "DT");
    chopin_pg__pen_z(pen, sign);
    chopin_pg__pen_u64(pen, amount / 3600000000u);
    chopin_pg__pen_char(pen, 'H');
    chopin_pg__pen_z(pen, sign);
    chopin_pg__pen_u64(pen, amount / 60000000 % 60);
    chopin_pg__pen_char(pen, 'M');
    chopin_pg__pen_z(pen, sign);
    chopin_pg__pen_u64(pen, amount / 1000000 % 60);
    chopin_pg__pen_fraction(pen, amount % 1000000);
    chopin_pg__pen_char(pen, 'S');
}

/* ---- reading: each function takes what it knows from the front of `s` ---- */
static bool chopin_pg__take_char(chopin_str *s, char ch) {
    if (!s->len || s->ptr[0] != ch) return false;
    *s = chopin_pg__skip(*s, 1);
    return true;
}

/* From `least` to `most` digits. */
static bool chopin_pg__take_digits(chopin_str *s, size_t least, size_t most, uint64_t *out) {
    size_t n = 0;
    while (n < s->len && n < most && chopin_pg__is_digit(s->ptr[n])) n++;
    if (n < least || !chopin_pg__parse_u64(chopin_pg__str(s->ptr, n), out)) return false;
    *s = chopin_pg__skip(*s, n);
    return true;
}

/* The rest of a value that must be over; " BC" may stand there. */
static bool chopin_pg__take_era(chopin_str *s) {
    if (!chopin_pg__equal_z(*s, " BC")) return false;
    *s = chopin_pg__skip(*s, 3);
    return true;
}

static int chopin_pg__take_infinity(chopin_str s) {
    return chopin_pg__equal_nocase(s, chopin_pg__str_z("infinity")) ? 1 : chopin_pg__equal_nocase(s, chopin_pg__str_z("-infinity")) ? -1 : 0;
}

static int chopin_pg__month_days(int64_t year, int month) {
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

/* YYYY-MM-DD without the era, which follows later. */
static bool chopin_pg__take_civil(chopin_str *s, chopin_pg__civil *out) {
    uint64_t year, month, day;
    if (!chopin_pg__take_digits(s, 4, 7, &year) || !chopin_pg__take_char(s, '-') || !chopin_pg__take_digits(s, 2, 2, &month)) return false;
    if (!chopin_pg__take_char(s, '-') || !chopin_pg__take_digits(s, 2, 2, &day)) return false;
    *out = (chopin_pg__civil){ (int64_t)year, (int)month, (int)day };
    return year > 0 && month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

/* With the era known: days since 2000-01-01. */
static bool chopin_pg__civil_days(chopin_pg__civil c, bool before_christ, int64_t *days) {
    if (before_christ) c.year = 1 - c.year;
    *days = chopin_pg__days_of(c.year, c.month, c.day);
    return c.day <= chopin_pg__month_days(c.year, c.month);
}

/* .ffffff, or nothing. */
static bool chopin_pg__take_fraction(chopin_str *s, uint64_t *us) {
    *us = 0;
    if (!chopin_pg__take_char(s, '.')) return true;
    size_t before = s->len;
    if (!chopin_pg__take_digits(s, 1, 6, us)) return false;
    for (size_t n = before - s->len; n < 6; n++) *us *= 10;
    return !s->len || !chopin_pg__is_digit(s->ptr[0]);
}

/* H:MM[:SS[.ffffff]]; 60 seconds are a minute. */
static bool chopin_pg__take_hms(chopin_str *s, size_t most, uint64_t *us) {
    uint64_t hours, minutes, seconds = 0, fraction = 0;
    if (!chopin_pg__take_digits(s, 1, most, &hours) || !chopin_pg__take_char(s, ':') || !chopin_pg__take_digits(s, 2, 2, &minutes)) return false;
    if (chopin_pg__take_char(s, ':') && (!chopin_pg__take_digits(s, 2, 2, &seconds) || !chopin_pg__take_fraction(s, &fraction))) return false;
    if (hours > UINT64_C(2562047788) || minutes > 59 || seconds > 60) return false;
    *us = hours * 3600000000u + minutes * 60000000 + seconds * 1000000 + fraction;
    return true;
}

/* Z, or a sign and HH[:MM[:SS]], below 16 hours. */
static bool chopin_pg__take_zone(chopin_str *s, int32_t *east) {
    uint64_t hours, minutes = 0, seconds = 0;
    *east = 0;
    if (chopin_pg__take_char(s, 'Z')) return true;
    bool minus = chopin_pg__take_char(s, '-');
    if (!minus && !chopin_pg__take_char(s, '+')) return false;
    if (!chopin_pg__take_digits(s, 2, 2, &hours)) return false;
    if (chopin_pg__take_char(s, ':') && !chopin_pg__take_digits(s, 2, 2, &minutes)) return false;
    if (chopin_pg__take_char(s, ':') && !chopin_pg__take_digits(s, 2, 2, &seconds)) return false;
    if (hours > 15 || minutes > 59 || seconds > 59) return false;
    *east = (int32_t)(hours * 3600 + minutes * 60 + seconds) * (minus ? -1 : 1);
    return true;
}

static int chopin_pg__read_date(chopin_str s, int32_t *out) {
    chopin_pg__civil c;
    int64_t days;
    int     sign = chopin_pg__take_infinity(s);
    *out = sign > 0 ? INT32_MAX : sign < 0 ? INT32_MIN : 0;
    if (sign) return 0;
    if (!chopin_pg__take_civil(&s, &c) || !chopin_pg__civil_days(c, chopin_pg__take_era(&s), &days) || s.len) return CHOPIN_PG_TYPE;
    if (days >= INT32_MAX || days <= INT32_MIN) return CHOPIN_PG_RANGE;
    *out = (int32_t)days;
    return 0;
}

/* A date, and perhaps a time and a zone; without a zone it is taken as UTC. */
static int chopin_pg__read_stamp(chopin_str s, int64_t *out) {
    chopin_pg__civil c;
    int64_t  days, us;
    uint64_t clock = 0;
    int32_t  east = 0;
    int      sign = chopin_pg__take_infinity(s);
    *out = sign > 0 ? INT64_MAX : sign < 0 ? INT64_MIN : 0;
    if (sign) return 0;
    if (!chopin_pg__take_civil(&s, &c)) return CHOPIN_PG_TYPE;
    if (s.len > 1 && (s.ptr[0] == 'T' || s.ptr[0] == ' ') && chopin_pg__is_digit(s.ptr[1])) {
        s = chopin_pg__skip(s, 1);
        if (!chopin_pg__take_hms(&s, 2, &clock) || clock > (uint64_t)CHOPIN_PG__DAY_US) return CHOPIN_PG_TYPE;
        if (s.len && s.ptr[0] != ' ' && !chopin_pg__take_zone(&s, &east)) return CHOPIN_PG_TYPE;
    }
    if (!chopin_pg__civil_days(c, chopin_pg__take_era(&s), &days) || s.len) return CHOPIN_PG_TYPE;
    int64_t within = (int64_t)clock - east * INT64_C(1000000);
    if (within < 0) { days--; within += CHOPIN_PG__DAY_US; }            // both of the same sign near the end of the range
    if (days < 0 && within > 0) { days++; within -= CHOPIN_PG__DAY_US; }
    if (__builtin_mul_overflow(days, CHOPIN_PG__DAY_US, &us) || __builtin_add_overflow(us, within, &us)) return CHOPIN_PG_RANGE;
    if (us == INT64_MAX || us == INT64_MIN) return CHOPIN_PG_RANGE;
    *out = us;
    return 0;
}

static int chopin_pg__read_clock(chopin_str s, chopin_clock *out) {
    uint64_t us;
    *out = (chopin_clock){ 0 };
    if (!chopin_pg__take_hms(&s, 2, &us) || us > (uint64_t)CHOPIN_PG__DAY_US) return CHOPIN_PG_TYPE;
    out->us    = (int64_t)us;
    out->zoned = s.len > 0;
    return out->zoned && (!chopin_pg__take_zone(&s, &out->east) || s.len) ? CHOPIN_PG_TYPE : 0;
}

/* ---- intervals ---- */
typedef struct chopin_pg__interval_sum { int64_t us, days, months; bool bad; } chopin_pg__interval_sum;

/* *to += value * unit; an overflow sticks. */
static void chopin_pg__interval_add(chopin_pg__interval_sum *sum, int64_t *to, int64_t value, int64_t unit) {
    int64_t product;
    if (__builtin_mul_overflow(value, unit, &product) || __builtin_add_overflow(*to, product, to)) sum->bad = true;
}

/* [sign] digits; false: there are none. */
static bool chopin_pg__take_signed(chopin_str *s, int64_t *value, bool *minus) {
    uint64_t amount;
    *minus = chopin_pg__take_char(s, '-');
    if (!*minus) chopin_pg__take_char(s, '+');
    if (!chopin_pg__take_digits(s, 1, 18, &amount)) return false;
    *value = *minus ? -(int64_t)amount : (int64_t)amount;
    return true;
}

/* One number with its letter, behind P; `clock`: behind T. */
static bool chopin_pg__take_iso_part(chopin_str *s, bool clock, chopin_pg__interval_sum *sum) {
    int64_t  value;
    uint64_t fraction = 0;
    bool     minus;
    if (!chopin_pg__take_signed(s, &value, &minus)) return false;
    if (clock && !chopin_pg__take_fraction(s, &fraction)) return false;
    char unit = s->len ? s->ptr[0] : 0;
    *s = chopin_pg__skip(*s, 1);
    if (fraction && unit != 'S') return false;
    if (clock) chopin_pg__interval_add(sum, &sum->us, value, unit == 'H' ? INT64_C(3600000000) : unit == 'M' ? 60000000 : 1000000);
    else if (unit == 'Y' || unit == 'M') chopin_pg__interval_add(sum, &sum->months, value, unit == 'Y' ? 12 : 1);
    else chopin_pg__interval_add(sum, &sum->days, value, unit == 'W' ? 7 : 1);
    chopin_pg__interval_add(sum, &sum->us, (int64_t)fraction, minus ? -1 : 1);
    return unit == 'M' || (clock ? unit == 'H' || unit == 'S' : unit == 'Y' || unit == 'W' || unit == 'D');
}

static bool chopin_pg__take_iso(chopin_str s, chopin_pg__interval_sum *sum) {
    bool clock = false;
    if (s.len == 0) return false;
    while (s.len) {
        if (!clock && chopin_pg__take_char(&s, 'T')) clock = true;
        if (!chopin_pg__take_iso_part(&s, clock, sum)) return false;
    }
    return true;
}

/* The word behind a number, in style postgres. */
static bool chopin_pg__take_unit(chopin_str *s, int64_t value, chopin_pg__interval_sum *sum) {
    static const struct { const char *name; bool days; int64_t factor; } units[] = { { "year", false, 12 }, { "mon", false, 1 }, { "day", true, 1 } };
    size_t n = 0;
    while (n < s->len && chopin_pg__is_alpha(s->ptr[n])) n++;
    chopin_str word = chopin_pg__str(s->ptr, n);
    if (word.len && word.ptr[word.len - 1] == 's') word.len--;
    for (size_t i = 0; i < CHOPIN_PG__COUNT(units); i++) {
        if (!chopin_pg__equal_z(word, units[i].name)) continue;
        chopin_pg__interval_add(sum, units[i].days ? &sum->days : &sum->months, value, units[i].factor);
        *s = chopin_pg__skip(*s, n);
        return true;
    }
    return false;
}

/* A time of day; without a sign of its own it has that of the day number before it (style sql_standard). */
static bool chopin_pg__take_span(chopin_str *s, bool inherited, chopin_pg__interval_sum *sum) {
    uint64_t amount;
    int64_t  us;
    bool     minus = chopin_pg__take_char(s, '-');
    if (!minus && !chopin_pg__take_char(s, '+')) minus = inherited;
    if (!chopin_pg__take_hms(s, 10, &amount) || chopin_pg__signed_of(minus, amount, &us)) return false;
    chopin_pg__interval_add(sum, &sum->us, us, 1);
    return true;
}

/* One part of styles postgres and sql_standard: "-3 days", "+1-2", "-3", "+04:05:06.7". */
static bool chopin_pg__take_interval_part(chopin_str *s, bool *minus, chopin_pg__interval_sum *sum) {
    chopin_str start = *s;
    uint64_t   months;
    int64_t    value;
    bool       inherited = *minus;
    if (!chopin_pg__take_signed(s, &value, minus)) return false;
    if (s->len && s->ptr[0] == ':') { *s = start; return chopin_pg__take_span(s, inherited, sum); }
    if (chopin_pg__take_char(s, '-')) {
        if (!chopin_pg__take_digits(s, 1, 2, &months)) return false;
        chopin_pg__interval_add(sum, &sum->months, value, 12);
        chopin_pg__interval_add(sum, &sum->months, (int64_t)months, *minus ? -1 : 1);
        *minus = false;
        return true;
    }
    if (s->len > 1 && s->ptr[0] == ' ' && chopin_pg__is_alpha(s->ptr[1])) {
        *s = chopin_pg__skip(*s, 1);
        *minus = false;
        return chopin_pg__take_unit(s, value, sum);
    }
    chopin_pg__interval_add(sum, &sum->days, value, 1);
    return true;
}

static bool chopin_pg__take_interval(chopin_str s, chopin_pg__interval_sum *sum) {
    bool minus = false;
    if (chopin_pg__take_char(&s, 'P')) return chopin_pg__take_iso(s, sum);
    for (;;) {
        if (!chopin_pg__take_interval_part(&s, &minus, sum)) return false;
        if (!s.len) return true;
        if (!chopin_pg__take_char(&s, ' ')) return false;
    }
}

static int chopin_pg__read_interval(chopin_str s, chopin_interval *out) {
    chopin_pg__interval_sum sum = { 0 };
    int sign = chopin_pg__take_infinity(s);
    *out = sign > 0 ? (chopin_interval){ INT64_MAX, INT32_MAX, INT32_MAX } : (chopin_interval){ INT64_MIN, INT32_MIN, INT32_MIN };
    if (sign) return 0;
    *out = (chopin_interval){ 0 };
    if (!chopin_pg__take_interval(s, &sum)) return CHOPIN_PG_TYPE;
    if (sum.bad || sum.days > INT32_MAX || sum.days < INT32_MIN || sum.months > INT32_MAX || sum.months < INT32_MIN) return CHOPIN_PG_RANGE;
    *out = (chopin_interval){ sum.us, (int32_t)sum.days, (int32_t)sum.months };
    return 0;
}

/* ==========================================================================================================
   >>view   what everybody sees of a result: the object head with its sticky error, the row in hand, nested rows
   A result is also its own place in the queue of a connection (>>pipeline): one struct, no allocation per query once some have been recycled.
   Getters know three functions of this room: one column, one way to fail, one way to get room until the next row.
   ========================================================================================================== */

typedef enum chopin_pg__kind {
    CHOPIN_PG__POOL = 1, CHOPIN_PG__SCOPE, CHOPIN_PG__PIN, CHOPIN_PG__TX, CHOPIN_PG__BATCH, CHOPIN_PG__ROWS, CHOPIN_PG__COPYING, CHOPIN_PG__LISTENING
} chopin_pg__kind;

/* The head of all that chopin_pg_code(), _why() and _error_of() can be asked about. */
typedef struct chopin_pg__object {
    chopin_pg__kind  kind;
    int              status;            // 0, or the error that stands
    chopin_pg__heap *heap;
    chopin_pg_error *error;             // made with the first error; NULL while there was none, or no memory for it
} chopin_pg__object;

static const chopin_pg_error chopin_pg__error_none   = { .statement = -1, .why = "no error" };
static const chopin_pg_error chopin_pg__error_memory = { .status = CHOPIN_PG_MEMORY, .statement = -1, .why = "out of memory", .message = { "out of memory", 13 } };

/* The error of an object, made when it is needed first. NULL: no memory, then the status alone must do. */
static CHOPIN_PG__UNUSED chopin_pg_error *chopin_pg__object_error(chopin_pg__object *o) {
    if (!o->error) {
        o->error = (chopin_pg_error *)chopin_pg__alloc(o->heap, sizeof *o->error);
        if (o->error) chopin_pg__error_init(o->error, o->heap);
    }
    return o->error;
}

/* The first error stays. */
static CHOPIN_PG__UNUSED int chopin_pg__object_vfail(chopin_pg__object *o, int status, const char *format, va_list args) {
    if (o->status < 0) return o->status;
    chopin_pg_error *e = chopin_pg__object_error(o);
    o->status = status;
    if (e) chopin_pg__vfail(e, status, format, args);
    return status;
}

static CHOPIN_PG__UNUSED CHOPIN_PG__COLD int CHOPIN_PG__PRINTF(3, 4) chopin_pg__object_fail(chopin_pg__object *o, int status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int rc = chopin_pg__object_vfail(o, status, format, args);
    va_end(args);
    return rc;
}

/* A copy of an error with all its texts; without memory the line alone. */
static CHOPIN_PG__UNUSED void chopin_pg__error_copy(chopin_pg_error *to, const chopin_pg_error *from) {
    static const size_t texts[] = {
        offsetof(chopin_pg_error, severity), offsetof(chopin_pg_error, severity_plain), offsetof(chopin_pg_error, message), offsetof(chopin_pg_error, detail),
        offsetof(chopin_pg_error, hint), offsetof(chopin_pg_error, where), offsetof(chopin_pg_error, schema), offsetof(chopin_pg_error, table),
        offsetof(chopin_pg_error, column), offsetof(chopin_pg_error, data_type), offsetof(chopin_pg_error, constraint), offsetof(chopin_pg_error, internal_query),
        offsetof(chopin_pg_error, file), offsetof(chopin_pg_error, routine), offsetof(chopin_pg_error, sql),
    };
    chopin_pg__error_clear(to);
    char *store = from->store_ && to->heap_ ? (char *)chopin_pg__alloc((chopin_pg__heap *)to->heap_, from->store_size_) : NULL;
    if (from->store_ && !store) {
        chopin_pg__fail(to, from->status, "%s", from->why ? from->why : "");
        memcpy(to->sqlstate, from->sqlstate, sizeof to->sqlstate);
        to->retry = from->retry;
        return;
    }
    void *heap = to->heap_;
    *to = *from;
    to->heap_  = heap;
    to->store_ = store;
    if (store) memcpy(store, from->store_, from->store_size_);
    const char *old = (const char *)from->store_;
    if (from->why == from->line_) to->why = to->line_;
    else if (store && from->why >= old && from->why < old + from->store_size_) to->why = store + (from->why - old);
    for (size_t i = 0; i < CHOPIN_PG__COUNT(texts); i++) {
        chopin_str *s = (chopin_str *)(void *)((char *)to + texts[i]);
        if (s->ptr == from->line_) s->ptr = to->line_;
        else if (store && s->ptr >= old && s->ptr < old + from->store_size_) s->ptr = store + (s->ptr - old);
    }
}

/* Forgets the error: the object may be used again. */
static CHOPIN_PG__UNUSED void chopin_pg__object_clear(chopin_pg__object *o) {
    o->status = 0;
    if (o->error && (o->error->status || o->error->why)) chopin_pg__error_clear(o->error);
}

static CHOPIN_PG__UNUSED void chopin_pg__object_done(chopin_pg__object *o) {
    if (o->error) {
        chopin_pg__error_clear(o->error);
        chopin_pg__release(o->heap, o->error, sizeof *o->error);
    }
    o->error  = NULL;
    o->status = 0;
}

/* Hands the error of `from` to `to`, which forgets what it had. `from` keeps its status. */
static CHOPIN_PG__UNUSED void chopin_pg__object_give(chopin_pg__object *to, chopin_pg__object *from) {
    if (!from->status) return;
    chopin_pg__object_clear(to);
    chopin_pg_error *e = to->error;
    to->error    = from->error;
    to->status   = from->status;
    from->error  = e;
}

/* The error of `from` also becomes that of `to`. */
static CHOPIN_PG__UNUSED void chopin_pg__object_copy(chopin_pg__object *to, const chopin_pg__object *from) {
    if (!from->status) return;
    chopin_pg__object_clear(to);
    to->status = from->status;
    if (from->error && chopin_pg__object_error(to)) chopin_pg__error_copy(to->error, from->error);
}

static CHOPIN_PG__UNUSED const chopin_pg_error *chopin_pg__object_shown(const chopin_pg__object *o) {
    if (!o->status) return &chopin_pg__error_none;
    return o->error && o->error->status ? o->error : &chopin_pg__error_memory;
}

/* One column of one row, or one element of an array, as it came. */
typedef struct chopin_pg__value {
    const uint8_t *ptr;
    uint32_t len;
    bool     null, binary;
    uint32_t oid;
} chopin_pg__value;

/* ---- what a result looks like: one for each prepared statement, shared by its results ---- */
typedef struct chopin_pg__shape_column {
    chopin_str name;
    uint32_t   oid, table;
    int32_t    modifier;
    int16_t    attribute, size;
    bool       binary;                  // asked for in binary once the type is known
} chopin_pg__shape_column;

typedef struct chopin_pg__shape {
    uint32_t refs, columns;
    size_t   size;                      // of this allocation, names included
    chopin_pg__shape_column column[];
} chopin_pg__shape;

static CHOPIN_PG__UNUSED chopin_pg__shape *chopin_pg__shape_share(chopin_pg__shape *s) {
    if (s) s->refs++;
    return s;
}

static CHOPIN_PG__UNUSED void chopin_pg__shape_drop(chopin_pg__heap *heap, chopin_pg__shape *s) {
    if (s && --s->refs == 0) chopin_pg__release(heap, s, s->size);
}

/* ---- settings of the session that decoders of text must know; a result takes a copy of them ---- */
typedef enum chopin_pg__interval_style {
    CHOPIN_PG__STYLE_POSTGRES, CHOPIN_PG__STYLE_ISO, CHOPIN_PG__STYLE_SQL, CHOPIN_PG__STYLE_VERBOSE
} chopin_pg__interval_style;

typedef struct chopin_pg__session {
    bool    not_utf8;                   // client_encoding is something else: text cannot be trusted
    bool    not_iso;                    // DateStyle is not ISO: dates come in an order we do not read
    uint8_t interval_style;
} chopin_pg__session;

/* ---- bytes as they were received: blocks that live as long as something points into them ---- */
typedef struct chopin_pg__block {
    struct chopin_pg__block *next;      // on the pool's list of spare ones
    uint32_t refs;
    size_t   cap, from, to;             // bytes [from, to) have arrived and are not yet dispatched
    uint8_t  data[];
} chopin_pg__block;

/* Whole messages of one result, one behind the other. */
typedef struct chopin_pg__span {
    struct chopin_pg__span *next;
    chopin_pg__block *block;
    size_t from, to;
} chopin_pg__span;

typedef struct chopin_pg__core      chopin_pg__core;
typedef struct chopin_pg__conn      chopin_pg__conn;         // >>conn
typedef struct chopin_pg__statement chopin_pg__statement;    // >>cache
typedef struct chopin_pg__waiter    chopin_pg__waiter;       // >>conn

/* ---- an array, record or range read as a row: made by the getters ---- */
typedef struct chopin_pg__nest {
    const chopin_pg__value *row;
    int  columns;
    int (*step)(struct chopin_pg__nest *);
    chopin_pg_rows *self;
} chopin_pg__nest;

/* Where an operation is. */
typedef enum chopin_pg__phase {
    CHOPIN_PG__NEW,                     // nothing has been encoded
    CHOPIN_PG__FLYING,                  // in the queue of a connection
    CHOPIN_PG__OVER                     // its last answer has come, or never will
} chopin_pg__phase;

#define CHOPIN_PG__ROWS_SMALL 128       // bytes of a statement and its values that need no memory of their own

struct chopin_pg_rows {
    // set for each query
    chopin_pg__object object;
    int64_t           deadline;
    int64_t           affected;         // of the last complete result that was dispatched; -1: none yet
    // cleared for each query, from here on: what the getters see
    chopin_pg__shape *shape;            // NULL until it is known, and for statements without rows
    bool              on_row, binary;   // is there a row in hand? were results asked for in binary?
    char              handy;            // D or d: the next message, if it is of that type, may be taken as it lies: chopin_pg__rows_take_handy(); 0: it may not
    bool              plain;            // its answer has come whole and well, and it has nothing to give back but itself
    uint32_t          quick;            // columns that a getter may read as they lie: those of a row in hand that came in binary; else 0
    chopin_pg__session session;
    // whose it is
    chopin_pg        *handle;           // NULL: nobody waits for it any more, or it is one of our own
    chopin_pg_rows   *before, *after;   // in the list of the handle; `after` also links the spare ones
    // what is asked
    chopin_str        sql;
    const chopin_pg_param *params;
    int               param_count;
    int               number;           // of a batch; else -1
    uint64_t          sql_hash;         // with sql_id
    uint64_t          sql_id;           // of the text among those that were judged lately; 0: none
    // in flight
    chopin_pg__phase  phase;
    uint8_t           tries;            // how often it was sent
    bool              counted;          // in flight on a shared connection, which counts what lies unread
    bool              sync;             // a Z follows its other answers
    bool              simple;           // a simple query: its answers are a sequence of results
    chopin_pg__conn  *conn;             // FLYING: whose queue; stays set while a stream or COPY owns the connection
    chopin_pg_rows   *behind;           // next in that queue
    chopin_pg__statement *statement;
    const char       *steps;            // answers still expected, see >>pipeline
    uint64_t          out_from;         // where its bytes begin in everything ever written to this connection
    bool              drop;             // nobody wants its rows: they are counted, not kept
    bool              ours;             // made by ourselves (BEGIN, Close, ping): freed when it is over
    bool              harmless;         // ours, and changes nothing for the others of its group: a Close
    bool              opens;            // ours: a BEGIN
    bool              prepare_only;     // Parse and Describe, no Execute
    bool              redo;             // over, but to be sent again: it had not left, or its plan was stale
    bool              portal;           // its rows come from a named portal, `fetch` at a time
    bool              suspended;        // the portal has more
    bool              rolled_back;      // its tag was ROLLBACK
    char              copy;             // G or H: it is a COPY, asked for by our functions
    bool              copy_open, copy_seen, copy_binary;   // the server has agreed; we have noticed; in which format
    bool              copy_reading;             // COPY out: its rows are waited for now, no longer its beginning
    bool              copy_begun;       // the head of binary COPY data has been read
    bool              ending;           // a COPY that was failed: its end is near and needs no cancel
    bool              unnamed;          // not from the cache
    bool              kept_args, kept_sql;      // `params`, `sql` stand in `small` or `kept`
    bool              own_tx;           // a stream whose transaction is its own
    bool              scripted, dirties; // a script: several results; the session is reset when it is over
    bool              bound;            // 2 has come: from here on it cannot be healed by sending it again
    bool              result_over;      // chopin_pg_next() met the end of one result of several
    bool              in_hand;          // the row in hand is given by the next chopin_pg_next(): chopin_pg_one()
    bool              keeps_conn;       // has an exclusive connection of its own, which goes back at its end
    // what came
    int64_t           arrived;          // rows that came
    chopin_pg__span   first, *last;     // `first` is in use when `last` is set; further ones are allocated
    size_t            unread, received; // bytes held, bytes ever
    chopin_pg__waiter *waiter;          // who sleeps for it
    // memory that stays with it
    chopin_pg__cell  *cells;            // of the row in hand
    uint32_t          cells_cap;
    chopin_pg__arena  room;             // until the next row
    chopin_pg__arena  kept;             // copies of sql and params when the caller did not stay, and there is no room for them in `small`
    union { chopin_pg_param params[CHOPIN_PG__ROWS_SMALL / sizeof(chopin_pg_param)]; char bytes[CHOPIN_PG__ROWS_SMALL]; } small;
    // what few use: set by all that use it, or cleared when those go, see chopin_pg__rows_recycle()
    int64_t           began_ns;         // for events, while somebody listens to them
    chopin_pg_rows   *parent;           // nested: whose value this is; NULL for a result
    chopin_pg__nest  *nest;
    int               nest_column;
    uint32_t          fetch, portal_id; // a portal: rows an Execute gives, 0: all; its number
    int               late;             // the error of a script, once what came before it has been read
    int64_t           result_count;     // affected by the result that is over
    chopin_pg__out    pieces;           // COPY data of which a row lies across messages
    size_t            pieces_at;
    int             (*step_copy)(chopin_pg__core *c, chopin_pg_rows *r);
    void            (*finish)(chopin_pg__conn *k, chopin_pg_rows *r);   // ours: called when it is over
};

/* The root of nested rows. */
static CHOPIN_PG__UNUSED chopin_pg_rows *chopin_pg__rows_root(chopin_pg_rows *r) {
    while (r->parent) r = r->parent;
    return r;
}

static CHOPIN_PG__UNUSED CHOPIN_PG__COLD int CHOPIN_PG__PRINTF(3, 4) chopin_pg__rows_fail(chopin_pg_rows *r, int status, const char *format, ...) {
    for (; r->parent; r = r->parent) {                       // each level stops; the root has the text
        if (!r->object.status) r->object.status = status;
    }
    va_list args;
    va_start(args, format);
    int rc = chopin_pg__object_vfail(&r->object, status, format, args);
    va_end(args);
    return rc;
}

static CHOPIN_PG__UNUSED unsigned chopin_pg__rows_columns(const chopin_pg_rows *r) {
    return r->nest ? (unsigned)r->nest->columns : r->shape ? r->shape->columns : 0;
}

/* The name of a column for error texts; may be empty. */
static CHOPIN_PG__UNUSED chopin_str chopin_pg__column_label(chopin_pg_rows *r, int column) {
    for (; r->parent; r = r->parent) column = r->nest_column;
    bool known = r->shape && column >= 0 && (uint32_t)column < r->shape->columns;
    return known ? r->shape->column[column].name : chopin_pg__str("", 0);
}

static CHOPIN_PG__UNUSED int chopin_pg__column_nested(chopin_pg_rows *r, int column, chopin_pg__value *out) {
    if (!r->nest->row || column < 0 || column >= r->nest->columns) return chopin_pg__rows_fail(r, CHOPIN_PG_ARG, "element %d of %d", column, r->nest->columns);
    *out = r->nest->row[column];
    return 0;
}

/* Everything but a column of a row that is there. */
static CHOPIN_PG__UNUSED CHOPIN_PG__NOINLINE int chopin_pg__column_rare(chopin_pg_rows *r, int column, chopin_pg__value *out) {
    if (r->object.status < 0) return r->object.status;
    if (r->nest)    return chopin_pg__column_nested(r, column, out);
    if (!r->on_row) return chopin_pg__rows_fail(r, CHOPIN_PG_ARG, "there is no row: chopin_pg_next() comes first and must give 1");
    return chopin_pg__rows_fail(r, CHOPIN_PG_ARG, "there is no column %d: the result has %u", column, (unsigned)r->shape->columns);
}

/* One column of the row in hand. 0, or an error that is set already. Nested rows never have `on_row`. */
static inline CHOPIN_PG__UNUSED int chopin_pg__column(chopin_pg_rows *r, int column, chopin_pg__value *out) {
    bool plain = r->on_row && r->object.status >= 0 && (uint32_t)column < r->shape->columns;
    if (CHOPIN_PG__UNLIKELY(!plain)) return chopin_pg__column_rare(r, column, out);
    const chopin_pg__shape_column *c = &r->shape->column[column];
    const chopin_pg__cell *cell = &r->cells[column];
    out->ptr    = cell->ptr;
    out->null   = cell->len == CHOPIN_PG__NULL;
    out->len    = out->null ? 0 : cell->len;
    out->binary = r->binary && c->binary;
    out->oid    = c->oid;
    return 0;
}

/* Room until the next row; NULL: no memory, and the result says so. */
static CHOPIN_PG__UNUSED void *chopin_pg__rows_room(chopin_pg_rows *r, size_t n) {
    chopin_pg_rows *root = chopin_pg__rows_root(r);
    void *p = chopin_pg__arena_alloc(&root->room, n);
    root->handy = 0;                                         // the next row gives it back first
    if (!p) chopin_pg__rows_fail(r, CHOPIN_PG_MEMORY, "out of memory for a value of %zu bytes", n);
    return p;
}

/* Rows inside a value. `nest_size`: a struct that begins with chopin_pg__nest. NULL: no memory, the parent says so. */
static CHOPIN_PG__UNUSED chopin_pg_rows *chopin_pg__rows_nested(chopin_pg_rows *parent, int column, size_t nest_size) {
    chopin_pg_rows *r = (chopin_pg_rows *)chopin_pg__rows_room(parent, sizeof *r);
    void *nest = r ? chopin_pg__rows_room(parent, nest_size) : NULL;
    if (!nest) return NULL;
    memset(r, 0, sizeof *r);
    memset(nest, 0, nest_size);
    r->object  = (chopin_pg__object){ .kind = CHOPIN_PG__ROWS, .heap = parent->object.heap };
    r->session = parent->session;
    r->parent  = parent;
    r->nest    = (chopin_pg__nest *)nest;
    r->nest->self  = r;
    r->nest_column = column;
    return r;
}
/* ==========================================================================================================
   >>value   the codecs of all types: a value of either format as a C value, as text, and in binary
   One table says what each type is. A scalar is loaded from either format and written in either; compound values are walked part by part, and the
   parts are values again. A wrong length or count is an error of this value, never of the connection. PROTOCOL here means: malformed.
   ========================================================================================================== */

/* ---- what the types are ---- */
typedef enum chopin_pg__class {
    CHOPIN_PG__C_UNKNOWN,              // not in the table: extensions, enums, composites; text as text
    CHOPIN_PG__C_TEXT, CHOPIN_PG__C_ASK,                                 // text in both formats; asked for as text only
    CHOPIN_PG__C_JSONB,                                                  // a version byte, then text
    CHOPIN_PG__C_BOOL, CHOPIN_PG__C_CHAR, CHOPIN_PG__C_I2, CHOPIN_PG__C_I4, CHOPIN_PG__C_I8, CHOPIN_PG__C_OID, CHOPIN_PG__C_XID8, CHOPIN_PG__C_LSN,
    CHOPIN_PG__C_MONEY, CHOPIN_PG__C_F4, CHOPIN_PG__C_F8, CHOPIN_PG__C_NUMERIC, CHOPIN_PG__C_BYTEA, CHOPIN_PG__C_UUID, CHOPIN_PG__C_DATE, CHOPIN_PG__C_TIME,
    CHOPIN_PG__C_TIMETZ, CHOPIN_PG__C_STAMP, CHOPIN_PG__C_STAMPTZ, CHOPIN_PG__C_INTERVAL, CHOPIN_PG__C_INET, CHOPIN_PG__C_CIDR, CHOPIN_PG__C_MAC,
    CHOPIN_PG__C_MAC8, CHOPIN_PG__C_BIT, CHOPIN_PG__C_TID, CHOPIN_PG__C_POINT, CHOPIN_PG__C_LINE, CHOPIN_PG__C_LSEG, CHOPIN_PG__C_BOX, CHOPIN_PG__C_PATH,
    CHOPIN_PG__C_POLYGON, CHOPIN_PG__C_CIRCLE, CHOPIN_PG__C_ARRAY, CHOPIN_PG__C_RANGE, CHOPIN_PG__C_MULTIRANGE, CHOPIN_PG__C_RECORD
} chopin_pg__class;

typedef struct chopin_pg__type {
    uint32_t    oid;
    uint32_t    part;                  // of arrays, ranges and multiranges: the type inside
    int8_t      size;                  // of the binary form; -1: varies
    uint8_t     kind;                  // chopin_pg__class
    const char *name;
} chopin_pg__type;

/* Sorted by oid: it is searched by halves. */
static const chopin_pg__type chopin_pg__types[] = {
#define CHOPIN_PG__TYPE(oid, name, kind, size)        { oid, 0, size, CHOPIN_PG__C_##kind, name },
#define CHOPIN_PG__PARTS(oid, name, kind, part)       { oid, part, -1, CHOPIN_PG__C_##kind, name },
    CHOPIN_PG__TYPE(16, "bool", BOOL, 1)
    CHOPIN_PG__TYPE(17, "bytea", BYTEA, -1)
    CHOPIN_PG__TYPE(18, "char", CHAR, 1)
    CHOPIN_PG__TYPE(19, "name", TEXT, -1)
    CHOPIN_PG__TYPE(20, "int8", I8, 8)
    CHOPIN_PG__TYPE(21, "int2", I2, 2)
    CHOPIN_PG__TYPE(22, "int2vector", ASK, -1)
    CHOPIN_PG__TYPE(23, "int4", I4, 4)
    CHOPIN_PG__TYPE(24, "regproc", ASK, -1)
    CHOPIN_PG__TYPE(25, "text", TEXT, -1)
    CHOPIN_PG__TYPE(26, "oid", OID, 4)
    CHOPIN_PG__TYPE(27, "tid", TID, 6)
    CHOPIN_PG__TYPE(28, "xid", OID, 4)
    CHOPIN_PG__TYPE(29, "cid", OID, 4)
    CHOPIN_PG__TYPE(30, "oidvector", ASK, -1)
    CHOPIN_PG__TYPE(114, "json", TEXT, -1)
    CHOPIN_PG__TYPE(142, "xml", ASK, -1)
    CHOPIN_PG__PARTS(143, "_xml", ARRAY, 142)
    CHOPIN_PG__PARTS(199, "_json", ARRAY, 114)
    CHOPIN_PG__PARTS(271, "_xid8", ARRAY, 5069)
    CHOPIN_PG__TYPE(600, "point", POINT, 16)
    CHOPIN_PG__TYPE(601, "lseg", LSEG, 32)
    CHOPIN_PG__TYPE(602, "path", PATH, -1)
    CHOPIN_PG__TYPE(603, "box", BOX, 32)
    CHOPIN_PG__TYPE(604, "polygon", POLYGON, -1)
    CHOPIN_PG__TYPE(628, "line", LINE, 24)
    CHOPIN_PG__PARTS(629, "_line", ARRAY, 628)
    CHOPIN_PG__TYPE(650, "cidr", CIDR, -1)
    CHOPIN_PG__PARTS(651, "_cidr", ARRAY, 650)
    CHOPIN_PG__TYPE(700, "float4", F4, 4)
    CHOPIN_PG__TYPE(701, "float8", F8, 8)
    CHOPIN_PG__TYPE(705, "unknown", TEXT, -1)
    CHOPIN_PG__TYPE(718, "circle", CIRCLE, 24)
    CHOPIN_PG__PARTS(719, "_circle", ARRAY, 718)
    CHOPIN_PG__TYPE(774, "macaddr8", MAC8, 8)
    CHOPIN_PG__PARTS(775, "_macaddr8", ARRAY, 774)
    CHOPIN_PG__TYPE(790, "money", MONEY, 8)
    CHOPIN_PG__PARTS(791, "_money", ARRAY, 790)
    CHOPIN_PG__TYPE(829, "macaddr", MAC, 6)
    CHOPIN_PG__TYPE(869, "inet", INET, -1)
    CHOPIN_PG__PARTS(1000, "_bool", ARRAY, 16)
    CHOPIN_PG__PARTS(1001, "_bytea", ARRAY, 17)
    CHOPIN_PG__PARTS(1002, "_char", ARRAY, 18)
    CHOPIN_PG__PARTS(1003, "_name", ARRAY, 19)
    CHOPIN_PG__PARTS(1005, "_int2", ARRAY, 21)
    CHOPIN_PG__PARTS(1006, "_int2vector", ARRAY, 22)
    CHOPIN_PG__PARTS(1007, "_int4", ARRAY, 23)
    CHOPIN_PG__PARTS(1008, "_regproc", ARRAY, 24)
    CHOPIN_PG__PARTS(1009, "_text", ARRAY, 25)
    CHOPIN_PG__PARTS(1010, "_tid", ARRAY, 27)
    CHOPIN_PG__PARTS(1011, "_xid", ARRAY, 28)
    CHOPIN_PG__PARTS(1012, "_cid", ARRAY, 29)
    CHOPIN_PG__PARTS(1013, "_oidvector", ARRAY, 30)
    CHOPIN_PG__PARTS(1014, "_bpchar", ARRAY, 1042)
    CHOPIN_PG__PARTS(1015, "_varchar", ARRAY, 1043)
    CHOPIN_PG__PARTS(1016, "_int8", ARRAY, 20)
    CHOPIN_PG__PARTS(1017, "_point", ARRAY, 600)
    CHOPIN_PG__PARTS(1018, "_lseg", ARRAY, 601)
    CHOPIN_PG__PARTS(1019, "_path", ARRAY, 602)
    CHOPIN_PG__PARTS(1020, "_box", ARRAY, 603)
    CHOPIN_PG__PARTS(1021, "_float4", ARRAY, 700)
    CHOPIN_PG__PARTS(1022, "_float8", ARRAY, 701)
    CHOPIN_PG__PARTS(1027, "_polygon", ARRAY, 604)
    CHOPIN_PG__PARTS(1028, "_oid", ARRAY, 26)
    CHOPIN_PG__TYPE(1033, "aclitem", ASK, -1)
    CHOPIN_PG__PARTS(1034, "_aclitem", ARRAY, 1033)
    CHOPIN_PG__PARTS(1040, "_macaddr", ARRAY, 829)
    CHOPIN_PG__PARTS(1041, "_inet", ARRAY, 869)
    CHOPIN_PG__TYPE(1042, "bpchar", TEXT, -1)
    CHOPIN_PG__TYPE(1043, "varchar", TEXT, -1)
    CHOPIN_PG__TYPE(1082, "date", DATE, 4)
    CHOPIN_PG__TYPE(1083, "time", TIME, 8)
    CHOPIN_PG__TYPE(1114, "timestamp", STAMP, 8)
    CHOPIN_PG__PARTS(1115, "_timestamp", ARRAY, 1114)
    CHOPIN_PG__PARTS(1182, "_date", ARRAY, 1082)
    CHOPIN_PG__PARTS(1183, "_time", ARRAY, 1083)
    CHOPIN_PG__TYPE(1184, "timestamptz", STAMPTZ, 8)
    CHOPIN_PG__PARTS(1185, "_timestamptz", ARRAY, 1184)
    CHOPIN_PG__TYPE(1186, "interval", INTERVAL, 16)
    CHOPIN_PG__PARTS(1187, "_interval", ARRAY, 1186)
    CHOPIN_PG__PARTS(1231, "_numeric", ARRAY, 1700)
    CHOPIN_PG__PARTS(1263, "_cstring", ARRAY, 2275)
    CHOPIN_PG__TYPE(1266, "timetz", TIMETZ, 12)
    CHOPIN_PG__PARTS(1270, "_timetz", ARRAY, 1266)
    CHOPIN_PG__TYPE(1560, "bit", BIT, -1)
    CHOPIN_PG__PARTS(1561, "_bit", ARRAY, 1560)
    CHOPIN_PG__TYPE(1562, "varbit", BIT, -1)
    CHOPIN_PG__PARTS(1563, "_varbit", ARRAY, 1562)
    CHOPIN_PG__TYPE(1700, "numeric", NUMERIC, -1)
    CHOPIN_PG__TYPE(1790, "refcursor", TEXT, -1)
    CHOPIN_PG__PARTS(2201, "_refcursor", ARRAY, 1790)
    CHOPIN_PG__TYPE(2202, "regprocedure", ASK, -1)
    CHOPIN_PG__TYPE(2203, "regoper", ASK, -1)
    CHOPIN_PG__TYPE(2204, "regoperator", ASK, -1)
    CHOPIN_PG__TYPE(2205, "regclass", ASK, -1)
    CHOPIN_PG__TYPE(2206, "regtype", ASK, -1)
    CHOPIN_PG__PARTS(2207, "_regprocedure", ARRAY, 2202)
    CHOPIN_PG__PARTS(2208, "_regoper", ARRAY, 2203)
    CHOPIN_PG__PARTS(2209, "_regoperator", ARRAY, 2204)
    CHOPIN_PG__PARTS(2210, "_regclass", ARRAY, 2205)
    CHOPIN_PG__PARTS(2211, "_regtype", ARRAY, 2206)
    CHOPIN_PG__TYPE(2249, "record", RECORD, -1)
    CHOPIN_PG__TYPE(2275, "cstring", TEXT, -1)
    CHOPIN_PG__TYPE(2278, "void", ASK, -1)
    CHOPIN_PG__PARTS(2287, "_record", ARRAY, 2249)
    CHOPIN_PG__PARTS(2949, "_txid_snapshot", ARRAY, 2970)
    CHOPIN_PG__TYPE(2950, "uuid", UUID, 16)
    CHOPIN_PG__PARTS(2951, "_uuid", ARRAY, 2950)
    CHOPIN_PG__TYPE(2970, "txid_snapshot", ASK, -1)
    CHOPIN_PG__TYPE(3220, "pg_lsn", LSN, 8)
    CHOPIN_PG__PARTS(3221, "_pg_lsn", ARRAY, 3220)
    CHOPIN_PG__TYPE(3614, "tsvector", ASK, -1)
    CHOPIN_PG__TYPE(3615, "tsquery", ASK, -1)
    CHOPIN_PG__TYPE(3642, "gtsvector", ASK, -1)
    CHOPIN_PG__PARTS(3643, "_tsvector", ARRAY, 3614)
    CHOPIN_PG__PARTS(3644, "_gtsvector", ARRAY, 3642)
    CHOPIN_PG__PARTS(3645, "_tsquery", ARRAY, 3615)
    CHOPIN_PG__TYPE(3734, "regconfig", ASK, -1)
    CHOPIN_PG__PARTS(3735, "_regconfig", ARRAY, 3734)
    CHOPIN_PG__TYPE(3769, "regdictionary", ASK, -1)
    CHOPIN_PG__PARTS(3770, "_regdictionary", ARRAY, 3769)
    CHOPIN_PG__TYPE(3802, "jsonb", JSONB, -1)
    CHOPIN_PG__PARTS(3807, "_jsonb", ARRAY, 3802)
    CHOPIN_PG__PARTS(3904, "int4range", RANGE, 23)
    CHOPIN_PG__PARTS(3905, "_int4range", ARRAY, 3904)
    CHOPIN_PG__PARTS(3906, "numrange", RANGE, 1700)
    CHOPIN_PG__PARTS(3907, "_numrange", ARRAY, 3906)
    CHOPIN_PG__PARTS(3908, "tsrange", RANGE, 1114)
    CHOPIN_PG__PARTS(3909, "_tsrange", ARRAY, 3908)
    CHOPIN_PG__PARTS(3910, "tstzrange", RANGE, 1184)
    CHOPIN_PG__PARTS(3911, "_tstzrange", ARRAY, 3910)
    CHOPIN_PG__PARTS(3912, "daterange", RANGE, 1082)
    CHOPIN_PG__PARTS(3913, "_daterange", ARRAY, 3912)
    CHOPIN_PG__PARTS(3926, "int8range", RANGE, 20)
    CHOPIN_PG__PARTS(3927, "_int8range", ARRAY, 3926)
    CHOPIN_PG__TYPE(4072, "jsonpath", JSONB, -1)
    CHOPIN_PG__PARTS(4073, "_jsonpath", ARRAY, 4072)
    CHOPIN_PG__TYPE(4089, "regnamespace", ASK, -1)
    CHOPIN_PG__PARTS(4090, "_regnamespace", ARRAY, 4089)
    CHOPIN_PG__TYPE(4096, "regrole", ASK, -1)
    CHOPIN_PG__PARTS(4097, "_regrole", ARRAY, 4096)
    CHOPIN_PG__TYPE(4191, "regcollation", ASK, -1)
    CHOPIN_PG__PARTS(4192, "_regcollation", ARRAY, 4191)
    CHOPIN_PG__PARTS(4451, "int4multirange", MULTIRANGE, 3904)
    CHOPIN_PG__PARTS(4532, "nummultirange", MULTIRANGE, 3906)
    CHOPIN_PG__PARTS(4533, "tsmultirange", MULTIRANGE, 3908)
    CHOPIN_PG__PARTS(4534, "tstzmultirange", MULTIRANGE, 3910)
    CHOPIN_PG__PARTS(4535, "datemultirange", MULTIRANGE, 3912)
    CHOPIN_PG__PARTS(4536, "int8multirange", MULTIRANGE, 3926)
    CHOPIN_PG__TYPE(5038, "pg_snapshot", ASK, -1)
    CHOPIN_PG__PARTS(5039, "_pg_snapshot", ARRAY, 5038)
    CHOPIN_PG__TYPE(5069, "xid8", XID8, 8)
    CHOPIN_PG__PARTS(6150, "_int4multirange", ARRAY, 4451)
    CHOPIN_PG__PARTS(6151, "_nummultirange", ARRAY, 4532)
    CHOPIN_PG__PARTS(6152, "_tsmultirange", ARRAY, 4533)
    CHOPIN_PG__PARTS(6153, "_tstzmultirange", ARRAY, 4534)
    CHOPIN_PG__PARTS(6155, "_datemultirange", ARRAY, 4535)
    CHOPIN_PG__PARTS(6157, "_int8multirange", ARRAY, 4536)
#undef CHOPIN_PG__TYPE
#undef CHOPIN_PG__PARTS
};

enum {
    CHOPIN_PG__OID_BOOL = 16, CHOPIN_PG__OID_BYTEA = 17, CHOPIN_PG__OID_INT8 = 20, CHOPIN_PG__OID_INT2 = 21, CHOPIN_PG__OID_INT4 = 23, CHOPIN_PG__OID_TEXT = 25,
    CHOPIN_PG__OID_FLOAT8 = 701, CHOPIN_PG__OID_BOX = 603, CHOPIN_PG__OID_RECORD = 2249
};

static const chopin_pg__type *chopin_pg__type_of(uint32_t oid) {
    static const chopin_pg__type unknown = { 0, 0, -1, CHOPIN_PG__C_UNKNOWN, "unknown type" };
    size_t from = 0, to = CHOPIN_PG__COUNT(chopin_pg__types);
    while (from < to) {
        size_t middle = (from + to) / 2;
        if (chopin_pg__types[middle].oid == oid) return &chopin_pg__types[middle];
        if (chopin_pg__types[middle].oid < oid) from = middle + 1; else to = middle;
    }
    return &unknown;
}

static const char *chopin_pg__type_name(uint32_t oid) { return chopin_pg__type_of(oid)->name; }

/* Are results of this type asked for in binary? Not money (its text needs the server's locale) nor records (a field may have no binary form). */
static bool chopin_pg__oid_binary(uint32_t oid) {
    const chopin_pg__type *t = chopin_pg__type_of(oid);
    while (t->kind == CHOPIN_PG__C_ARRAY) t = chopin_pg__type_of(t->part);
    return t->kind != CHOPIN_PG__C_UNKNOWN && t->kind != CHOPIN_PG__C_ASK && t->kind != CHOPIN_PG__C_MONEY && t->kind != CHOPIN_PG__C_RECORD;
}

/* Is its text any text? Then getters parse it. */
static bool chopin_pg__is_textual(const chopin_pg__value *v, int kind) {
    return kind == CHOPIN_PG__C_TEXT || (!v->binary && (kind == CHOPIN_PG__C_ASK || kind == CHOPIN_PG__C_UNKNOWN));
}

static chopin_str chopin_pg__value_str(const chopin_pg__value *v) { return chopin_pg__str(v->ptr ? (const char *)v->ptr : "", v->len); }

static chopin_pg__value chopin_pg__text_value(uint32_t oid, chopin_str s) {
    return (chopin_pg__value){ .ptr = (const uint8_t *)s.ptr, .len = (uint32_t)s.len, .oid = oid };
}

/* ---- scalars ---- */
typedef struct chopin_pg__scalar {
    uint8_t kind;                       // chopin_pg__class
    union {
        bool               boolean;
        int64_t            i64;         // I2 I4 I8 MONEY; STAMP and STAMPTZ from 2000
        uint64_t           u64;         // OID XID8 LSN CHAR; TID: block * 65536 + offset
        float              f32;
        double             f64;
        int32_t            days;        // DATE, from 2000
        chopin_clock       clock;
        chopin_interval    interval;
        chopin_uuid        uuid;
        chopin_inet        inet;
        chopin_mac         mac;
        chopin_pg__decimal decimal;     // a view of the value
    } as;
} chopin_pg__scalar;

static bool chopin_pg__is_scalar(int kind) {
    return kind >= CHOPIN_PG__C_BOOL && kind <= CHOPIN_PG__C_TID && kind != CHOPIN_PG__C_BYTEA && kind != CHOPIN_PG__C_BIT;
}

static double chopin_pg__double_at(const uint8_t *p) {
    uint64_t bits = chopin_pg__load64(p);
    double   value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float chopin_pg__float_at(const uint8_t *p) {
    uint32_t bits = chopin_pg__load32(p);
    float    value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* family 2 or 3, bits, is it a cidr, how many bytes, bytes */
static int chopin_pg__inet_binary(const uint8_t *p, size_t len, chopin_inet *out) {
    if (len < 4 || (p[0] != 2 && p[0] != 3) || p[2] > 1) return CHOPIN_PG_PROTOCOL;
    uint8_t n = p[0] == 2 ? 4 : 16;
    if (p[3] != n || len != 4u + n || p[1] > n * 8) return CHOPIN_PG_PROTOCOL;
    *out = (chopin_inet){ .len = n, .bits = p[1], .cidr = p[2] == 1 };
    memcpy(out->bytes, p + 4, n);
    return 0;
}

/* The length has been checked against the table. */
static int chopin_pg__load_binary(const chopin_pg__value *v, chopin_pg__scalar *s) {
    const uint8_t *p = v->ptr;
    switch (s->kind) {
    case CHOPIN_PG__C_BOOL:    s->as.boolean = p[0] != 0; return p[0] > 1 ? CHOPIN_PG_PROTOCOL : 0;
    case CHOPIN_PG__C_CHAR:    s->as.u64 = p[0]; return 0;
    case CHOPIN_PG__C_I2:      s->as.i64 = chopin_pg__signed16(chopin_pg__load16(p)); return 0;
    case CHOPIN_PG__C_I4:      s->as.i64 = chopin_pg__signed32(chopin_pg__load32(p)); return 0;
    case CHOPIN_PG__C_I8: case CHOPIN_PG__C_MONEY: case CHOPIN_PG__C_STAMP: case CHOPIN_PG__C_STAMPTZ:
                               s->as.i64 = chopin_pg__signed64(chopin_pg__load64(p)); return 0;
    case CHOPIN_PG__C_OID:     s->as.u64 = chopin_pg__load32(p); return 0;
    case CHOPIN_PG__C_XID8: case CHOPIN_PG__C_LSN:
                               s->as.u64 = chopin_pg__load64(p); return 0;
    case CHOPIN_PG__C_TID:     s->as.u64 = (uint64_t)chopin_pg__load32(p) << 16 | chopin_pg__load16(p + 4); return 0;
    case CHOPIN_PG__C_F4:      s->as.f32 = chopin_pg__float_at(p); return 0;
    case CHOPIN_PG__C_F8:      s->as.f64 = chopin_pg__double_at(p); return 0;
    case CHOPIN_PG__C_DATE:    s->as.days = chopin_pg__signed32(chopin_pg__load32(p)); return 0;
    case CHOPIN_PG__C_UUID:    memcpy(s->as.uuid.bytes, p, 16); return 0;
    case CHOPIN_PG__C_NUMERIC: return chopin_pg__decimal_binary(&s->as.decimal, p, v->len);
    case CHOPIN_PG__C_INTERVAL:
        s->as.interval = (chopin_interval){ chopin_pg__signed64(chopin_pg__load64(p)), chopin_pg__signed32(chopin_pg__load32(p + 8)),
                                            chopin_pg__signed32(chopin_pg__load32(p + 12)) };
        return 0;
    case CHOPIN_PG__C_TIME: case CHOPIN_PG__C_TIMETZ:                    // the wire counts zones to the west
        s->as.clock = (chopin_clock){ .us = chopin_pg__signed64(chopin_pg__load64(p)), .zoned = s->kind == CHOPIN_PG__C_TIMETZ };
        if (s->as.clock.us < 0 || s->as.clock.us > CHOPIN_PG__DAY_US) return CHOPIN_PG_PROTOCOL;
        int32_t west = s->as.clock.zoned ? chopin_pg__signed32(chopin_pg__load32(p + 8)) : 0;
        if (west <= -16 * 3600 || west >= 16 * 3600) return CHOPIN_PG_PROTOCOL;
        s->as.clock.east = -west;
        return 0;
    case CHOPIN_PG__C_INET: case CHOPIN_PG__C_CIDR:
        return chopin_pg__inet_binary(p, v->len, &s->as.inet);
    default:                                                            // MAC, MAC8
        s->as.mac.len = (uint8_t)v->len;
        memcpy(s->as.mac.bytes, p, v->len);
        return 0;
    }
}

/* ---- scalars from text ---- */
static int chopin_pg__read_bool(chopin_str s, bool *out) {
    static const char *const words[] = { "false", "f", "no", "n", "off", "0", "true", "t", "yes", "y", "on", "1" };
    s = chopin_pg__trim(s);
    for (size_t i = 0; i < CHOPIN_PG__COUNT(words); i++) {
        if (!chopin_pg__equal_nocase(s, chopin_pg__str_z(words[i]))) continue;
        *out = i >= 6;
        return 0;
    }
    return CHOPIN_PG_TYPE;
}

/* "char": nothing is byte 0; a high byte comes as it is, since PostgreSQL 16 as backslash and three octal digits. */
static int chopin_pg__read_char(chopin_str s, uint64_t *out) {
    *out = s.len ? (uint8_t)s.ptr[0] : 0;
    if (s.len < 2) return 0;
    if (s.len != 4 || s.ptr[0] != '\\') return CHOPIN_PG_TYPE;
    *out = 0;
    for (size_t i = 1; i < 4; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '7') return CHOPIN_PG_TYPE;
        *out = *out * 8 + (uint64_t)(s.ptr[i] - '0');
    }
    return *out > 255 ? CHOPIN_PG_TYPE : 0;
}

/* "-$1,234.50": the digits are the amount in the smallest unit, whatever stands between them. */
static int chopin_pg__read_money(chopin_str s, int64_t *out) {
    uint64_t amount = 0;
    bool     negative = false, digits = false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '-' || s.ptr[i] == '(') negative = true;
        if (!chopin_pg__is_digit(s.ptr[i])) continue;
        digits = true;
        if (__builtin_mul_overflow(amount, (uint64_t)10, &amount) || __builtin_add_overflow(amount, (uint64_t)(s.ptr[i] - '0'), &amount)) return CHOPIN_PG_RANGE;
    }
    return digits ? chopin_pg__signed_of(negative, amount, out) : CHOPIN_PG_TYPE;
}

/* At most eight hex digits before `end` (0: the end of the text). */
static bool chopin_pg__take_hex(chopin_str *s, uint64_t *out) {
    size_t n = 0;
    for (*out = 0; n < s->len && n < 8 && chopin_pg__hex_value(s->ptr[n]) >= 0; n++) *out = *out << 4 | (uint64_t)chopin_pg__hex_value(s->ptr[n]);
    *s = chopin_pg__skip(*s, n);
    return n > 0;
}

static int chopin_pg__read_lsn(chopin_str s, uint64_t *out) {
    uint64_t high, low;
    if (!chopin_pg__take_hex(&s, &high) || !chopin_pg__take_char(&s, '/') || !chopin_pg__take_hex(&s, &low) || s.len) return CHOPIN_PG_TYPE;
    *out = high << 32 | low;
    return 0;
}

static int chopin_pg__read_tid(chopin_str s, uint64_t *out) {
    uint64_t block, offset;
    if (!chopin_pg__take_char(&s, '(') || !chopin_pg__take_digits(&s, 1, 10, &block) || !chopin_pg__take_char(&s, ',')) return CHOPIN_PG_TYPE;
    if (!chopin_pg__take_digits(&s, 1, 5, &offset) || !chopin_pg__take_char(&s, ')') || s.len) return CHOPIN_PG_TYPE;
    if (block > UINT32_MAX || offset > UINT16_MAX) return CHOPIN_PG_RANGE;
    *out = block << 16 | offset;
    return 0;
}

/* Hex digits in pairs, `between` may stand between two of them. Gives how many bytes, 0: it is something else. */
static size_t chopin_pg__read_pairs(chopin_str s, const char *between, uint8_t *out, size_t cap) {
    size_t n = 0;
    for (size_t i = 0; i < s.len; ) {
        if (n && n < cap && s.ptr[i] && strchr(between, s.ptr[i])) i++;
        if (i + 1 >= s.len || n == cap) return 0;
        int high = chopin_pg__hex_value(s.ptr[i]), low = chopin_pg__hex_value(s.ptr[i + 1]);
        if (high < 0 || low < 0) return 0;
        out[n++] = (uint8_t)(high << 4 | low);
        i += 2;
    }
    return n;
}

static int chopin_pg__read_uuid(chopin_str s, chopin_uuid *out) {
    s = chopin_pg__trim(s);
    if (s.len > 2 && s.ptr[0] == '{' && s.ptr[s.len - 1] == '}') s = chopin_pg__str(s.ptr + 1, s.len - 2);
    return chopin_pg__read_pairs(s, "-", out->bytes, 16) == 16 ? 0 : CHOPIN_PG_TYPE;
}

static int chopin_pg__read_mac(chopin_str s, chopin_mac *out) {
    size_t n = chopin_pg__read_pairs(chopin_pg__trim(s), ":-.", out->bytes, 8);
    out->len = (uint8_t)n;
    return n == 6 || n == 8 ? 0 : CHOPIN_PG_TYPE;
}

static bool chopin_pg__take_ipv4(chopin_str *s, uint8_t *out) {
    for (int i = 0; i < 4; i++) {
        uint64_t part;
        if ((i && !chopin_pg__take_char(s, '.')) || !chopin_pg__take_digits(s, 1, 3, &part) || part > 255) return false;
        out[i] = (uint8_t)part;
    }
    return true;
}

/* Groups of four hex digits, at most one "::", perhaps an IPv4 address at the end. */
static bool chopin_pg__take_ipv6(chopin_str *s, uint8_t *out) {
    uint8_t bytes[16];
    size_t  n = 0, gap = SIZE_MAX;
    memset(out, 0, 16);
    if (chopin_pg__starts(*s, "::")) { gap = 0; *s = chopin_pg__skip(*s, 2); }
    while (s->len && s->ptr[0] != '/') {
        size_t     digits = 0;
        chopin_str start = *s;
        if (n >= 16) return false;
        while (digits < s->len && chopin_pg__hex_value(s->ptr[digits]) >= 0) digits++;
        if (digits < s->len && s->ptr[digits] == '.') {
            if (n > 12 || !chopin_pg__take_ipv4(&start, bytes + n)) return false;
            *s = start;
            n += 4;
            break;
        }
        uint64_t group;
        if (digits > 4 || !chopin_pg__take_hex(s, &group)) return false;
        chopin_pg__store16(bytes + n, (uint16_t)group);
        n += 2;
        if (!s->len || s->ptr[0] == '/') break;
        if (!chopin_pg__take_char(s, ':') || !s->len) return false;
        if (s->ptr[0] != ':') continue;
        if (gap != SIZE_MAX) return false;
        gap = n;
        *s = chopin_pg__skip(*s, 1);
    }
    if (gap == SIZE_MAX ? n != 16 : n > 14) return false;
    gap = chopin_pg__min(gap, n);
    memcpy(out, bytes, gap);
    memcpy(out + 16 - (n - gap), bytes + gap, n - gap);
    return true;
}

static int chopin_pg__read_inet(chopin_str s, bool cidr, chopin_inet *out) {
    uint64_t bits;
    s = chopin_pg__trim(s);
    bool six = chopin_pg__find(s, ':') < s.len;
    *out = (chopin_inet){ .len = six ? 16 : 4, .bits = six ? 128 : 32, .cidr = cidr };
    if (six ? !chopin_pg__take_ipv6(&s, out->bytes) : !chopin_pg__take_ipv4(&s, out->bytes)) return CHOPIN_PG_TYPE;
    if (!s.len) return 0;
    if (!chopin_pg__take_char(&s, '/') || !chopin_pg__take_digits(&s, 1, 3, &bits) || s.len || bits > out->bits) return CHOPIN_PG_TYPE;
    out->bits = (uint8_t)bits;
    return 0;
}

static int chopin_pg__read_integer(chopin_str s, bool *negative, uint64_t *amount) {
    chopin_pg__decimal d;
    *amount = 0;
    int rc = chopin_pg__decimal_text(&d, s);
    *negative = d.negative;
    return rc ? rc : chopin_pg__decimal_scaled(&d, 0, amount);
}

/* An integer between two limits. */
static int chopin_pg__read_i64(chopin_str s, int64_t least, int64_t most, int64_t *out) {
    bool     negative;
    uint64_t amount;
    int rc = chopin_pg__read_integer(s, &negative, &amount);
    if (rc || (rc = chopin_pg__signed_of(negative, amount, out)) != 0) return rc;
    return *out < least || *out > most ? CHOPIN_PG_RANGE : 0;
}

static int chopin_pg__read_u64(chopin_str s, uint64_t most, uint64_t *out) {
    bool negative;
    int  rc = chopin_pg__read_integer(s, &negative, out);
    return rc ? rc : *out > most || (negative && *out) ? CHOPIN_PG_RANGE : 0;
}

/* Text as a scalar of s->kind. */
static int chopin_pg__load_text(chopin_str t, chopin_pg__scalar *s) {
    int rc;
    switch (s->kind) {
    case CHOPIN_PG__C_BOOL:     return chopin_pg__read_bool(t, &s->as.boolean);
    case CHOPIN_PG__C_CHAR:     return chopin_pg__read_char(t, &s->as.u64);
    case CHOPIN_PG__C_I2:       return chopin_pg__read_i64(t, INT16_MIN, INT16_MAX, &s->as.i64);
    case CHOPIN_PG__C_I4:       return chopin_pg__read_i64(t, INT32_MIN, INT32_MAX, &s->as.i64);
    case CHOPIN_PG__C_I8:       return chopin_pg__read_i64(t, INT64_MIN, INT64_MAX, &s->as.i64);
    case CHOPIN_PG__C_MONEY:    return chopin_pg__read_money(t, &s->as.i64);
    case CHOPIN_PG__C_OID:      return chopin_pg__read_u64(t, UINT32_MAX, &s->as.u64);
    case CHOPIN_PG__C_XID8:     return chopin_pg__read_u64(t, UINT64_MAX, &s->as.u64);
    case CHOPIN_PG__C_LSN:      return chopin_pg__read_lsn(t, &s->as.u64);
    case CHOPIN_PG__C_TID:      return chopin_pg__read_tid(t, &s->as.u64);
    case CHOPIN_PG__C_F4:       return chopin_pg__read_f32(t, &s->as.f32);
    case CHOPIN_PG__C_F8:       return chopin_pg__read_f64(t, &s->as.f64);
    case CHOPIN_PG__C_NUMERIC:  return chopin_pg__decimal_text(&s->as.decimal, t);
    case CHOPIN_PG__C_UUID:     return chopin_pg__read_uuid(t, &s->as.uuid);
    case CHOPIN_PG__C_DATE:     return chopin_pg__read_date(t, &s->as.days);
    case CHOPIN_PG__C_STAMP:
    case CHOPIN_PG__C_STAMPTZ:  return chopin_pg__read_stamp(t, &s->as.i64);
    case CHOPIN_PG__C_INTERVAL: return chopin_pg__read_interval(t, &s->as.interval);
    case CHOPIN_PG__C_INET:     return chopin_pg__read_inet(t, false, &s->as.inet);
    case CHOPIN_PG__C_CIDR:     return chopin_pg__read_inet(t, true, &s->as.inet);
    case CHOPIN_PG__C_TIME: case CHOPIN_PG__C_TIMETZ:
        rc = chopin_pg__read_clock(t, &s->as.clock);
        return rc ? rc : s->as.clock.zoned == (s->kind == CHOPIN_PG__C_TIMETZ) ? 0 : CHOPIN_PG_TYPE;
    default:                                                            // MAC, MAC8
        rc = chopin_pg__read_mac(t, &s->as.mac);
        return rc ? rc : s->as.mac.len == (s->kind == CHOPIN_PG__C_MAC ? 6 : 8) ? 0 : CHOPIN_PG_TYPE;
    }
}

/* A value of a scalar type, of either format. */
static int chopin_pg__load(const chopin_pg__value *v, chopin_pg__scalar *s) {
    const chopin_pg__type *t = chopin_pg__type_of(v->oid);
    s->kind = t->kind;
    if (!chopin_pg__is_scalar(t->kind)) return CHOPIN_PG_TYPE;
    if (!v->binary) return chopin_pg__load_text(chopin_pg__value_str(v), s);
    if (t->size >= 0 && v->len != (uint32_t)t->size) return CHOPIN_PG_PROTOCOL;
    return chopin_pg__load_binary(v, s);
}

/* The same, where any text may hold a `kind`. */
static int chopin_pg__load_as(const chopin_pg__value *v, int kind, chopin_pg__scalar *s) {
    if (!chopin_pg__is_textual(v, chopin_pg__type_of(v->oid)->kind)) return chopin_pg__load(v, s);
    s->kind = (uint8_t)kind;
    return chopin_pg__load_text(chopin_pg__value_str(v), s);
}

/* ---- scalars to text ---- */
static void chopin_pg__pen_separated(chopin_pg__pen *pen, const uint8_t *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (i) chopin_pg__pen_char(pen, ':');
        chopin_pg__pen_hex(pen, bytes + i, 1);
    }
}

static void chopin_pg__pen_uuid(chopin_pg__pen *pen, const chopin_uuid *u) {
    static const uint8_t cut[] = { 0, 4, 6, 8, 10, 16 };
    for (size_t i = 0; i < 5; i++) {
        if (i) chopin_pg__pen_char(pen, '-');
        chopin_pg__pen_hex(pen, u->bytes + cut[i], (size_t)(cut[i + 1] - cut[i]));
    }
}

static void chopin_pg__pen_ipv4(chopin_pg__pen *pen, const uint8_t *bytes) {
    for (size_t i = 0; i < 4; i++) {
        if (i) chopin_pg__pen_char(pen, '.');
        chopin_pg__pen_u64(pen, bytes[i]);
    }
}

/* The longest run of at least two zero groups, the first of them: where it begins and how long it is. */
static void chopin_pg__ipv6_run(const uint8_t *bytes, size_t *from, size_t *length) {
    *from = 8;
    *length = 0;
    for (size_t i = 0, n; i < 8; i += n ? n : 1) {
        for (n = 0; i + n < 8 && chopin_pg__load16(bytes + 2 * (i + n)) == 0; n++) { }
        if (n >= 2 && n > *length) { *from = i; *length = n; }
    }
}

static void chopin_pg__pen_group(chopin_pg__pen *pen, unsigned group) {
    bool shown = false;
    for (int shift = 12; shift >= 0; shift -= 4) {
        shown = shown || group >> shift || shift == 0;
        if (shown) chopin_pg__pen_char(pen, chopin_pg__hex_digit(group >> shift));
    }
}

static void chopin_pg__pen_ipv6(chopin_pg__pen *pen, const uint8_t *bytes) {
    size_t from, length;
    chopin_pg__ipv6_run(bytes, &from, &length);
    bool four = from == 0 && (length == 6 || (length == 5 && chopin_pg__load16(bytes + 10) == 0xffff));
    for (size_t i = 0; i < 8; i++) {
        if (i >= from && i < from + length && !(four && i >= 6)) {
            if (i == from) chopin_pg__pen_char(pen, ':');
            continue;
        }
        if (i) chopin_pg__pen_char(pen, ':');
        if (four && i == 6) { chopin_pg__pen_ipv4(pen, bytes + 12); return; }
        chopin_pg__pen_group(pen, chopin_pg__load16(bytes + 2 * i));
    }
    if (from + length == 8 && length) chopin_pg__pen_char(pen, ':');
}

static void chopin_pg__pen_inet(chopin_pg__pen *pen, const chopin_inet *a) {
    if (a->len == 4) chopin_pg__pen_ipv4(pen, a->bytes);
    else chopin_pg__pen_ipv6(pen, a->bytes);
    if (!a->cidr && a->bits == a->len * 8) return;
    chopin_pg__pen_char(pen, '/');
    chopin_pg__pen_u64(pen, a->bits);
}

static void chopin_pg__pen_one_char(chopin_pg__pen *pen, unsigned byte) {
    if (byte > 127) {
        chopin_pg__pen_char(pen, '\\');
        for (int shift = 6; shift >= 0; shift -= 3) chopin_pg__pen_char(pen, (char)('0' + (byte >> shift & 7)));
    } else if (byte) {
        chopin_pg__pen_char(pen, (char)byte);
    }
}

/* Upper case, without zeros in front. */
static void chopin_pg__pen_lsn_half(chopin_pg__pen *pen, uint64_t half) {
    int shift = 28;
    while (shift > 0 && !(half >> shift)) shift -= 4;
    for (; shift >= 0; shift -= 4) chopin_pg__pen_char(pen, "0123456789ABCDEF"[half >> shift & 15]);
}

static void chopin_pg__pen_tid(chopin_pg__pen *pen, uint64_t tid) {
    chopin_pg__pen_char(pen, '(');
    chopin_pg__pen_u64(pen, tid >> 16);
    chopin_pg__pen_char(pen, ',');
    chopin_pg__pen_u64(pen, tid & 0xffff);
    chopin_pg__pen_char(pen, ')');
}

static void chopin_pg__pen_scalar(chopin_pg__pen *pen, const chopin_pg__scalar *s) {
    switch (s->kind) {
    case CHOPIN_PG__C_BOOL:     chopin_pg__pen_char(pen, s->as.boolean ? 't' : 'f'); break;
    case CHOPIN_PG__C_CHAR:     chopin_pg__pen_one_char(pen, (unsigned)s->as.u64); break;
    case CHOPIN_PG__C_I2: case CHOPIN_PG__C_I4: case CHOPIN_PG__C_I8: case CHOPIN_PG__C_MONEY:
                                chopin_pg__pen_i64(pen, s->as.i64); break;
    case CHOPIN_PG__C_OID: case CHOPIN_PG__C_XID8:
                                chopin_pg__pen_u64(pen, s->as.u64); break;
    case CHOPIN_PG__C_LSN:
        chopin_pg__pen_lsn_half(pen, s->as.u64 >> 32);
        chopin_pg__pen_char(pen, '/');
        chopin_pg__pen_lsn_half(pen, s->as.u64 & UINT32_MAX);
        break;
    case CHOPIN_PG__C_TID:      chopin_pg__pen_tid(pen, s->as.u64); break;
    case CHOPIN_PG__C_F4:       chopin_pg__pen_f32(pen, s->as.f32); break;
    case CHOPIN_PG__C_F8:       chopin_pg__pen_f64(pen, s->as.f64); break;
    case CHOPIN_PG__C_NUMERIC:  chopin_pg__decimal_print(pen, &s->as.decimal); break;
    case CHOPIN_PG__C_UUID:     chopin_pg__pen_uuid(pen, &s->as.uuid); break;
    case CHOPIN_PG__C_DATE:     chopin_pg__pen_date(pen, s->as.days); break;
    case CHOPIN_PG__C_TIME: case CHOPIN_PG__C_TIMETZ:
                                chopin_pg__pen_clock(pen, &s->as.clock); break;
    case CHOPIN_PG__C_STAMP:    chopin_pg__pen_stamp(pen, s->as.i64, false); break;
    case CHOPIN_PG__C_STAMPTZ:  chopin_pg__pen_stamp(pen, s->as.i64, true); break;
    case CHOPIN_PG__C_INTERVAL: chopin_pg__pen_interval(pen, &s->as.interval); break;
    case CHOPIN_PG__C_INET: case CHOPIN_PG__C_CIDR:
                                chopin_pg__pen_inet(pen, &s->as.inet); break;
    default:                    chopin_pg__pen_separated(pen, s->as.mac.bytes, s->as.mac.len); break;
    }
}

/* ---- scalars to binary ---- */
static void chopin_pg__put_f64(chopin_pg__out *out, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    chopin_pg__put_u64(out, bits);
}

static void chopin_pg__put_f32(chopin_pg__out *out, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    chopin_pg__put_u32(out, bits);
}

static void chopin_pg__put_inet(chopin_pg__out *out, const chopin_inet *a) {
    chopin_pg__put_u8(out, a->len == 4 ? 2 : 3);
    chopin_pg__put_u8(out, a->bits);
    chopin_pg__put_u8(out, a->cidr ? 1 : 0);
    chopin_pg__put_u8(out, a->len);
    chopin_pg__put_bytes(out, a->bytes, a->len);
}

static int chopin_pg__put_scalar(chopin_pg__out *out, const chopin_pg__scalar *s) {
    switch (s->kind) {
    case CHOPIN_PG__C_BOOL:     chopin_pg__put_u8(out, s->as.boolean ? 1 : 0); return 0;
    case CHOPIN_PG__C_CHAR:     chopin_pg__put_u8(out, (unsigned)s->as.u64); return 0;
    case CHOPIN_PG__C_I2:       chopin_pg__put_u16(out, (uint32_t)((uint64_t)s->as.i64 & 0xffff)); return 0;
    case CHOPIN_PG__C_I4:       chopin_pg__put_u32(out, (uint32_t)((uint64_t)s->as.i64 & UINT32_MAX)); return 0;
    case CHOPIN_PG__C_I8: case CHOPIN_PG__C_MONEY: case CHOPIN_PG__C_STAMP: case CHOPIN_PG__C_STAMPTZ:
                                chopin_pg__put_u64(out, (uint64_t)s->as.i64); return 0;
    case CHOPIN_PG__C_OID:      chopin_pg__put_u32(out, (uint32_t)s->as.u64); return 0;
    case CHOPIN_PG__C_XID8: case CHOPIN_PG__C_LSN:
                                chopin_pg__put_u64(out, s->as.u64); return 0;
    case CHOPIN_PG__C_TID:      chopin_pg__put_u32(out, (uint32_t)(s->as.u64 >> 16)); chopin_pg__put_u16(out, (uint32_t)(s->as.u64 & 0xffff)); return 0;
    case CHOPIN_PG__C_F4:       chopin_pg__put_f32(out, s->as.f32); return 0;
    case CHOPIN_PG__C_F8:       chopin_pg__put_f64(out, s->as.f64); return 0;
    case CHOPIN_PG__C_NUMERIC:  return chopin_pg__decimal_put(out, &s->as.decimal);
    case CHOPIN_PG__C_UUID:     chopin_pg__put_bytes(out, s->as.uuid.bytes, 16); return 0;
    case CHOPIN_PG__C_DATE:     chopin_pg__put_u32(out, (uint32_t)s->as.days); return 0;
    case CHOPIN_PG__C_TIME:     chopin_pg__put_u64(out, (uint64_t)s->as.clock.us); return 0;
    case CHOPIN_PG__C_TIMETZ:   chopin_pg__put_u64(out, (uint64_t)s->as.clock.us); chopin_pg__put_u32(out, (uint32_t)-s->as.clock.east); return 0;
    case CHOPIN_PG__C_INTERVAL:
        chopin_pg__put_u64(out, (uint64_t)s->as.interval.us);
        chopin_pg__put_u32(out, (uint32_t)s->as.interval.days);
        chopin_pg__put_u32(out, (uint32_t)s->as.interval.months);
        return 0;
    case CHOPIN_PG__C_INET: case CHOPIN_PG__C_CIDR:
                                chopin_pg__put_inet(out, &s->as.inet); return 0;
    default:                    chopin_pg__put_bytes(out, s->as.mac.bytes, s->as.mac.len); return 0;
    }
}

/* ---- geometry: a row of coordinates; the types differ in how many and in the brackets around them ---- */
typedef struct chopin_pg__figure {
    const uint8_t *at, *end;
    uint32_t       count;              // coordinates
    uint8_t        kind;
    bool           binary, open;       // open: a path that does not return to its first point
} chopin_pg__figure;

static bool chopin_pg__is_figure(int kind) { return kind >= CHOPIN_PG__C_POINT && kind <= CHOPIN_PG__C_CIRCLE; }

/* How many coordinates this type has; 0: any even number. */
static uint32_t chopin_pg__figure_size(int kind) {
    return kind == CHOPIN_PG__C_POINT ? 2 : kind == CHOPIN_PG__C_LINE || kind == CHOPIN_PG__C_CIRCLE ? 3 : kind == CHOPIN_PG__C_LSEG || kind == CHOPIN_PG__C_BOX ? 4 : 0;
}

static bool chopin_pg__is_bracket(uint8_t ch) { return ch && strchr("()[]{}<>, ", ch) != NULL; }

/* The next number of a text; false: there is none, or it is not one. */
static bool chopin_pg__figure_number(chopin_pg__figure *f, double *out) {
    while (f->at < f->end && chopin_pg__is_bracket(*f->at)) f->at++;
    const uint8_t *start = f->at;
    while (f->at < f->end && !chopin_pg__is_bracket(*f->at)) f->at++;
    return f->at > start && chopin_pg__read_f64(chopin_pg__str(start, (size_t)(f->at - start)), out) == 0;
}

static double chopin_pg__figure_next(chopin_pg__figure *f) {
    double value = 0;
    if (!f->binary) { chopin_pg__figure_number(f, &value); return value; }
    value = chopin_pg__double_at(f->at);
    f->at += 8;
    return value;
}

static int chopin_pg__figure_text(chopin_pg__figure *f) {
    chopin_pg__figure all = *f;
    double ignored;
    while (all.end > all.at && chopin_pg__is_bracket(all.end[-1])) all.end--;
    for (; all.at < all.end; all.count++) if (!chopin_pg__figure_number(&all, &ignored)) return CHOPIN_PG_TYPE;
    f->count = all.count;
    f->open  = f->at < f->end && *f->at == '[' && f->kind == CHOPIN_PG__C_PATH;
    uint32_t want = chopin_pg__figure_size(f->kind);
    return want ? (f->count == want ? 0 : CHOPIN_PG_TYPE) : f->count && f->count % 2 == 0 ? 0 : CHOPIN_PG_TYPE;
}

static int chopin_pg__figure_of(const chopin_pg__value *v, chopin_pg__figure *f, int kind) {
    *f = (chopin_pg__figure){ .at = v->ptr, .end = v->ptr ? v->ptr + v->len : NULL, .kind = (uint8_t)kind, .binary = v->binary };
    if (!f->binary) return chopin_pg__figure_text(f);
    chopin_pg__in in = chopin_pg__in_of(v->ptr, v->len);
    f->count = chopin_pg__figure_size(kind);
    if (kind == CHOPIN_PG__C_PATH) {
        unsigned closed = chopin_pg__get_u8(&in);
        f->open = closed == 0;
        if (closed > 1) return CHOPIN_PG_PROTOCOL;
    }
    if (!f->count) {
        uint32_t points = chopin_pg__get_u32(&in);
        if (in.bad || points == 0 || points > chopin_pg__in_left(&in) / 16) return CHOPIN_PG_PROTOCOL;
        f->count = points * 2;
    }
    f->at = in.ptr;
    return !in.bad && chopin_pg__in_left(&in) == (size_t)f->count * 8 ? 0 : CHOPIN_PG_PROTOCOL;
}

static void chopin_pg__pen_figure(chopin_pg__pen *pen, chopin_pg__figure f) {
    static const char *const before[] = { "", "{", "[", "", "(", "(", "<" }, *const after[] = { "", "}", "]", "", ")", ")", ">" };
    int  at = f.kind - CHOPIN_PG__C_POINT;
    bool flat = f.kind == CHOPIN_PG__C_LINE;
    chopin_pg__pen_z(pen, f.open ? "[" : before[at]);
    for (uint32_t i = 0; i < f.count; i++) {
        if (i) chopin_pg__pen_char(pen, ',');
        bool radius = f.kind == CHOPIN_PG__C_CIRCLE && i == 2;
        if (!flat && !radius && i % 2 == 0) chopin_pg__pen_char(pen, '(');
        chopin_pg__pen_f64(pen, chopin_pg__figure_next(&f));
        if (!flat && !radius && i % 2 == 1) chopin_pg__pen_char(pen, ')');
    }
    chopin_pg__pen_z(pen, f.open ? "]" : after[at]);
}

static void chopin_pg__put_figure(chopin_pg__out *out, chopin_pg__figure f) {
    if (f.kind == CHOPIN_PG__C_PATH) chopin_pg__put_u8(out, f.open ? 0 : 1);
    if (chopin_pg__figure_size(f.kind) == 0) chopin_pg__put_u32(out, f.count / 2);
    for (uint32_t i = 0; i < f.count; i++) chopin_pg__put_f64(out, chopin_pg__figure_next(&f));
}

/* ---- bytea and bit strings ---- */

/* Style hex: \x4142; style escape: bytes, \\ and \ooo. Gives how many bytes it is, written to `out` unless that is NULL; SIZE_MAX: malformed. */
static size_t chopin_pg__bytea_escaped(chopin_str s, uint8_t *out) {
    size_t n = 0;
    for (size_t i = 0; i < s.len; n++) {
        uint64_t byte = (uint8_t)s.ptr[i];
        size_t   used = 1;
        if (s.ptr[i] == '\\') {
            used = i + 1 < s.len && s.ptr[i + 1] == '\\' ? 2 : 4;
            if (used > s.len - i || (used == 4 && chopin_pg__read_char(chopin_pg__str(s.ptr + i, 4), &byte) != 0)) return SIZE_MAX;
        }
        if (out) out[n] = (uint8_t)byte;
        i += used;
    }
    return n;
}

static size_t chopin_pg__bytea_text(chopin_str s, uint8_t *out) {
    if (!chopin_pg__starts(s, "\\x")) return chopin_pg__bytea_escaped(s, out);
    if (s.len % 2) return SIZE_MAX;
    for (size_t i = 2; i < s.len; i += 2) {
        int high = chopin_pg__hex_value(s.ptr[i]), low = chopin_pg__hex_value(s.ptr[i + 1]);
        if (high < 0 || low < 0) return SIZE_MAX;
        if (out) out[i / 2 - 1] = (uint8_t)(high << 4 | low);
    }
    return s.len / 2 - 1;
}

static int chopin_pg__value_bytea(const chopin_pg__value *v, const chopin_pg__room *room, chopin_str *out) {
    *out = chopin_pg__value_str(v);
    if (v->binary) return 0;
    size_t n = chopin_pg__bytea_text(chopin_pg__value_str(v), NULL);
    if (n == SIZE_MAX) return CHOPIN_PG_TYPE;
    uint8_t *bytes = (uint8_t *)room->take(room->ctx, n ? n : 1);
    if (!bytes) return CHOPIN_PG_MEMORY;
    chopin_pg__bytea_text(*out, bytes);
    *out = chopin_pg__str(bytes, n);
    return 0;
}

static void chopin_pg__pen_bytea(chopin_pg__pen *pen, chopin_str bytes) {
    chopin_pg__pen_z(pen, "\\x");
    chopin_pg__pen_hex(pen, (const uint8_t *)bytes.ptr, bytes.len);
}

static int chopin_pg__bits_text(chopin_str s, const chopin_pg__room *room, chopin_bits *out) {
    size_t   size = s.len / 8 + 1;
    uint8_t *bytes = (uint8_t *)room->take(room->ctx, size);
    if (!bytes) return CHOPIN_PG_MEMORY;
    memset(bytes, 0, size);
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] != '0' && s.ptr[i] != '1') return CHOPIN_PG_TYPE;
        if (s.ptr[i] == '1') bytes[i / 8] |= (uint8_t)(0x80 >> i % 8);
    }
    *out = (chopin_bits){ bytes, s.len };
    return 0;
}

static int chopin_pg__value_bits(const chopin_pg__value *v, const chopin_pg__room *room, chopin_bits *out) {
    if (!v->binary || chopin_pg__is_textual(v, chopin_pg__type_of(v->oid)->kind)) return chopin_pg__bits_text(chopin_pg__value_str(v), room, out);
    if (v->len < 4) return CHOPIN_PG_PROTOCOL;
    *out = (chopin_bits){ v->ptr + 4, chopin_pg__load32(v->ptr) };
    if (out->count > INT32_MAX || v->len - 4 != (out->count + 7) / 8) return CHOPIN_PG_PROTOCOL;
    unsigned spare = out->count % 8 ? 0xffu >> out->count % 8 : 0;
    return spare & v->ptr[v->len - 1] ? CHOPIN_PG_PROTOCOL : 0;
}

static void chopin_pg__pen_bits(chopin_pg__pen *pen, chopin_bits b) {
    for (size_t i = 0; i < b.count; i++) chopin_pg__pen_char(pen, (char)('0' + (b.bytes[i / 8] >> (7 - i % 8) & 1)));
}

static void chopin_pg__put_bits(chopin_pg__out *out, chopin_bits b) {
    chopin_pg__put_u32(out, (uint32_t)b.count);
    chopin_pg__put_bytes(out, b.bytes, (b.count + 7) / 8);
}

/* ---- compound values: a walk over their parts ---- */
enum { CHOPIN_PG__W_ARRAY, CHOPIN_PG__W_RECORD, CHOPIN_PG__W_MULTIRANGE, CHOPIN_PG__W_PAIRS };

typedef struct chopin_pg__walk {
    const uint8_t *at, *end;           // what is not read yet
    uint32_t       oid;                // of the parts; 0: not known
    uint32_t       left;               // parts to come; text: counted for arrays only
    uint8_t        kind;
    bool           binary, first_part;
    char           delimiter;
    int            dims;
    int32_t        size[6], first[6];  // of each dimension
} chopin_pg__walk;

/* A part's length and bytes. Below -1, or beyond the end: malformed. */
static bool chopin_pg__take_part(chopin_pg__in *in, uint32_t oid, chopin_pg__value *out) {
    uint32_t len = chopin_pg__get_u32(in);
    *out = (chopin_pg__value){ .oid = oid, .binary = true, .null = len == UINT32_MAX };
    if (out->null) return !in->bad;
    out->ptr = chopin_pg__get_bytes(in, len);
    out->len = len;
    return !in->bad;
}

/* One dimension of an array; `*count` becomes the number of elements so far. Subscripts stay inside an int32. */
static bool chopin_pg__add_dimension(chopin_pg__walk *w, int64_t size, int64_t first, uint32_t *count) {
    if (w->dims == 6 || size < 0 || size > INT32_MAX || first > INT32_MAX || first < INT32_MIN || first + size - 1 > INT32_MAX) return false;
    if (__builtin_mul_overflow(*count, (uint32_t)size, count)) return false;
    w->size[w->dims]    = (int32_t)size;
    w->first[w->dims++] = (int32_t)first;
    return true;
}

static int chopin_pg__array_binary(chopin_pg__walk *w) {
    chopin_pg__in in = chopin_pg__in_of(w->at, (size_t)(w->end - w->at));
    uint32_t dims = chopin_pg__get_u32(&in), nulls = chopin_pg__get_u32(&in), oid = chopin_pg__get_u32(&in), count = dims ? 1 : 0;
    if (in.bad || dims > 6 || nulls > 1 || (w->oid && oid != w->oid)) return CHOPIN_PG_PROTOCOL;
    for (uint32_t i = 0; i < dims; i++) {
        int32_t size = chopin_pg__signed32(chopin_pg__get_u32(&in)), first = chopin_pg__signed32(chopin_pg__get_u32(&in));
        if (in.bad || !chopin_pg__add_dimension(w, size, first, &count)) return CHOPIN_PG_PROTOCOL;
    }
    if (count > chopin_pg__in_left(&in) / 4) return CHOPIN_PG_PROTOCOL;
    w->oid  = oid;
    w->at   = in.ptr;
    w->left = count;
    return 0;
}

/* How long the element at `s` is: to its closing quote, or to a delimiter or brace. 0: there is none. */
static size_t chopin_pg__element_length(chopin_str s, char delimiter) {
    bool   quoted = s.len && s.ptr[0] == '"';
    size_t i = quoted ? 1 : 0;
    for (; i < s.len; i++) {
        char ch = s.ptr[i];
        if (ch == '\\') i++;
        else if (quoted ? ch == '"' : ch == delimiter || ch == '{' || ch == '}' || ch == '"') break;
    }
    if (i > s.len || (quoted && i == s.len)) return 0;
    return quoted ? i + 1 : i;
}

/* [1:2][0:1]= in front of an array; where it is not given, subscripts begin with 1. */
static bool chopin_pg__take_subscripts(chopin_str *s, int32_t *first, int32_t *last, int *dims) {
    *dims = 0;
    for (; chopin_pg__take_char(s, '['); ++*dims) {
        int64_t from, to;
        bool    minus;
        if (*dims == 6 || !chopin_pg__take_signed(s, &from, &minus) || !chopin_pg__take_char(s, ':') || !chopin_pg__take_signed(s, &to, &minus)) return false;
        if (!chopin_pg__take_char(s, ']') || from < INT32_MIN || from > INT32_MAX || to < from || to > INT32_MAX) return false;
        first[*dims] = (int32_t)from;
        last[*dims]  = (int32_t)to;
    }
    return *dims == 0 || chopin_pg__take_char(s, '=');
}

/* The shape of what stands in braces: every list of one depth has the same length, all elements have the same depth. False: malformed. */
typedef struct chopin_pg__braces { int64_t count[7], size[7]; int depth, leaf; } chopin_pg__braces;

static bool chopin_pg__close_brace(chopin_pg__braces *b) {
    int64_t size = b->count[b->depth];
    if (b->size[b->depth] >= 0 && b->size[b->depth] != size) return false;
    b->size[b->depth] = size;
    b->count[b->depth--] = 0;
    b->count[b->depth]++;
    return true;
}

static bool chopin_pg__scan_braces(chopin_pg__braces *b, chopin_str s, char delimiter) {
    bool after = false;                                                 // a list or an element has just ended
    do {
        if (!s.len) return false;
        size_t used = 1;
        if (!after && s.ptr[0] == '{') {
            if (b->depth == 6 || (b->leaf && b->depth == b->leaf)) return false;
            b->depth++;
        } else if (s.ptr[0] == '}') {
            bool empty = b->leaf == 0 && b->depth == 1 && s.len == 1;   // only {} may be empty
            if (!(after || empty) || b->depth == 0 || !chopin_pg__close_brace(b)) return false;
            after = true;
        } else if (after) {
            if (s.ptr[0] != delimiter) return false;
            after = false;
        } else {
            used = chopin_pg__element_length(s, delimiter);
            if (!used || b->depth == 0 || (b->leaf && b->leaf != b->depth)) return false;
            b->leaf = b->depth;
            b->count[b->depth]++;
            after = true;
        }
        s = chopin_pg__skip(s, used);
    } while (b->depth);
    return s.len == 0;
}

static int chopin_pg__array_text(chopin_pg__walk *w) {
    chopin_pg__braces b = { .size = { -1, -1, -1, -1, -1, -1, -1 } };
    chopin_str s = chopin_pg__str(w->at, (size_t)(w->end - w->at));
    int32_t    first[6] = { 0 }, last[6] = { 0 };
    int        dims;
    uint32_t   count = 1;
    if (!chopin_pg__take_subscripts(&s, first, last, &dims) || !chopin_pg__scan_braces(&b, s, w->delimiter)) return CHOPIN_PG_TYPE;
    if (dims && dims != b.leaf) return CHOPIN_PG_TYPE;
    for (int i = 0; i < b.leaf; i++) {
        if (dims && (int64_t)last[i] - first[i] + 1 != b.size[i + 1]) return CHOPIN_PG_TYPE;
        if (!chopin_pg__add_dimension(w, b.size[i + 1], dims ? first[i] : 1, &count)) return CHOPIN_PG_TYPE;
    }
    w->at   = (const uint8_t *)s.ptr;
    w->left = b.leaf ? count : 0;
    return 0;
}

/* Counted parts in binary: at least `least` bytes each. */
static int chopin_pg__counted_binary(chopin_pg__walk *w, size_t least) {
    chopin_pg__in in = chopin_pg__in_of(w->at, (size_t)(w->end - w->at));
    w->left = chopin_pg__get_u32(&in);
    w->at   = in.ptr;
    return !in.bad && w->left <= chopin_pg__in_left(&in) / least ? 0 : CHOPIN_PG_PROTOCOL;
}

/* Text in a pair of brackets: the walk stands behind the first one. */
static int chopin_pg__bracketed_text(chopin_pg__walk *w, char opening, char closing) {
    size_t len = (size_t)(w->end - w->at);
    if (len < 2 || w->at[0] != (uint8_t)opening || w->at[len - 1] != (uint8_t)closing) return CHOPIN_PG_TYPE;
    w->at++;
    return 0;
}

/* Begins a walk over an array, a record, a multirange or (kind PAIRS) an hstore. */
static int chopin_pg__walk_open(chopin_pg__walk *w, const chopin_pg__value *v, int kind) {
    const chopin_pg__type *t = chopin_pg__type_of(v->oid);
    static const uint8_t none[1] = { 0 };
    *w = (chopin_pg__walk){ .at = v->ptr ? v->ptr : none, .kind = (uint8_t)kind, .binary = v->binary, .first_part = true, .oid = t->part };
    w->end = w->at + v->len;
    w->delimiter = t->part == CHOPIN_PG__OID_BOX ? ';' : ',';
    if (chopin_pg__is_textual(v, t->kind)) w->binary = false;
    switch (kind) {
    case CHOPIN_PG__W_ARRAY:      return w->binary ? chopin_pg__array_binary(w) : chopin_pg__array_text(w);
    case CHOPIN_PG__W_RECORD:     return w->binary ? chopin_pg__counted_binary(w, 8) : chopin_pg__bracketed_text(w, '(', ')');
    case CHOPIN_PG__W_MULTIRANGE: return w->binary ? chopin_pg__counted_binary(w, 4) : chopin_pg__bracketed_text(w, '{', '}');
    default:                      return w->binary ? CHOPIN_PG_TYPE : 0;
    }
}

/* Text without its backslashes and, when `quotes` is set, without quotes (of which two mean one). A view if there is nothing to take out. */
static int chopin_pg__unescape(chopin_str s, bool quotes, const chopin_pg__room *room, chopin_str *out) {
    *out = s;
    if (chopin_pg__find(s, '\\') == s.len && (!quotes || chopin_pg__find(s, '"') == s.len)) return 0;
    char  *text = (char *)room->take(room->ctx, s.len);
    size_t n = 0;
    bool   inside = false;
    if (!text) return CHOPIN_PG_MEMORY;
    for (size_t i = 0; i < s.len; i++) {
        if (quotes && s.ptr[i] == '"') {
            bool twice = inside && i + 1 < s.len && s.ptr[i + 1] == '"';
            if (!twice) { inside = !inside; continue; }
            i++;
        } else if (s.ptr[i] == '\\' && i + 1 < s.len) {
            i++;
        }
        text[n++] = s.ptr[i];
    }
    *out = chopin_pg__str(text, n);
    return 0;
}

static int chopin_pg__text_part(chopin_str s, uint32_t oid, bool quotes, const chopin_pg__room *room, chopin_pg__value *out) {
    chopin_str text;
    int rc = chopin_pg__unescape(s, quotes, room, &text);
    *out = chopin_pg__text_value(oid, text);
    return rc ? rc : 1;
}

/* The braces were checked when the walk began. */
static int chopin_pg__array_text_next(chopin_pg__walk *w, const chopin_pg__room *room, chopin_pg__value *out) {
    while (w->at < w->end && (*w->at == '{' || *w->at == '}' || *w->at == (uint8_t)w->delimiter)) w->at++;
    chopin_str rest = chopin_pg__str(w->at, (size_t)(w->end - w->at));
    size_t     n = chopin_pg__element_length(rest, w->delimiter);
    chopin_str s = chopin_pg__str(rest.ptr, n);
    w->at += n;
    if (n >= 2 && s.ptr[0] == '"') return chopin_pg__text_part(chopin_pg__str(s.ptr + 1, n - 2), w->oid, false, room, out);
    if (!chopin_pg__equal_nocase(s, chopin_pg__str_z("NULL"))) return chopin_pg__text_part(s, w->oid, false, room, out);
    *out = (chopin_pg__value){ .oid = w->oid, .null = true };
    return 1;
}

/* How long a field of a record or a bound of a range is: to the first of `stops` outside of quotes. SIZE_MAX: it does not end. */
static size_t chopin_pg__field_length(chopin_str s, const char *stops) {
    bool inside = false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\\') i++;
        else if (s.ptr[i] == '"') inside = !inside;
        else if (!inside && s.ptr[i] && strchr(stops, s.ptr[i])) return i;
    }
    return SIZE_MAX;
}

static int chopin_pg__record_text_next(chopin_pg__walk *w, const chopin_pg__room *room, chopin_pg__value *out) {
    if (w->at == w->end) return 0;
    chopin_str rest = chopin_pg__str(w->at, (size_t)(w->end - w->at));
    size_t     n = chopin_pg__field_length(rest, ",)");
    if (n == SIZE_MAX || (rest.ptr[n] == ')' && n + 1 != rest.len)) return CHOPIN_PG_TYPE;
    w->at += n + 1;
    if (n == 0) { *out = (chopin_pg__value){ .null = true }; return 1; }
    return chopin_pg__text_part(chopin_pg__str(rest.ptr, n), 0, true, room, out);
}

/* A range inside of a multirange, brackets included. */
static int chopin_pg__multirange_text_next(chopin_pg__walk *w, chopin_pg__value *out) {
    chopin_str rest = chopin_pg__str(w->at, (size_t)(w->end - w->at));
    if (w->first_part && chopin_pg__equal_z(rest, "}")) return 0;
    size_t n = rest.len && (rest.ptr[0] == '[' || rest.ptr[0] == '(') ? chopin_pg__field_length(rest, ")]") : SIZE_MAX;
    if (n == SIZE_MAX || n + 1 >= rest.len) return w->at == w->end && !w->first_part ? 0 : CHOPIN_PG_TYPE;
    char behind = rest.ptr[n + 1];
    if (behind == '}' ? n + 2 != rest.len : behind != ',' || n + 2 == rest.len) return CHOPIN_PG_TYPE;
    w->at += n + 2;
    *out = chopin_pg__text_value(w->oid, chopin_pg__str(rest.ptr, n + 1));
    return 1;
}

static bool chopin_pg__take_quoted(chopin_str *s, chopin_str *inside) {
    size_t n = s->len && s->ptr[0] == '"' ? chopin_pg__element_length(*s, ',') : 0;
    if (n < 2) return false;
    *inside = chopin_pg__str(s->ptr + 1, n - 2);
    *s = chopin_pg__skip(*s, n);
    return true;
}

/* "key"=>"value", of an hstore: two parts. */
static int chopin_pg__pairs_next(chopin_pg__walk *w, const chopin_pg__room *room, chopin_pg__value out[2]) {
    chopin_str rest = chopin_pg__str(w->at, (size_t)(w->end - w->at)), key, value;
    if (w->first_part && !rest.len) return 0;
    if (!rest.len) return 0;
    if (!w->first_part && !(chopin_pg__take_char(&rest, ',') && chopin_pg__take_char(&rest, ' '))) return CHOPIN_PG_TYPE;
    if (!chopin_pg__take_quoted(&rest, &key) || !chopin_pg__take_char(&rest, '=') || !chopin_pg__take_char(&rest, '>')) return CHOPIN_PG_TYPE;
    int rc = chopin_pg__text_part(key, CHOPIN_PG__OID_TEXT, false, room, &out[0]);
    if (rc < 0) return rc;
    if (chopin_pg__starts(rest, "NULL")) {
        out[1] = (chopin_pg__value){ .oid = CHOPIN_PG__OID_TEXT, .null = true };
        rest = chopin_pg__skip(rest, 4);
    } else if (!chopin_pg__take_quoted(&rest, &value)) {
        return CHOPIN_PG_TYPE;
    } else if ((rc = chopin_pg__text_part(value, CHOPIN_PG__OID_TEXT, false, room, &out[1])) < 0) {
        return rc;
    }
    w->at = (const uint8_t *)rest.ptr;
    return 1;
}

static int chopin_pg__part_binary(chopin_pg__walk *w, chopin_pg__value *out) {
    chopin_pg__in in = chopin_pg__in_of(w->at, (size_t)(w->end - w->at));
    if (w->left == 0) return w->at == w->end ? 0 : CHOPIN_PG_PROTOCOL;
    uint32_t oid = w->kind == CHOPIN_PG__W_RECORD ? chopin_pg__get_u32(&in) : w->oid;
    if (!chopin_pg__take_part(&in, oid, out)) return CHOPIN_PG_PROTOCOL;
    if (out->null && w->kind == CHOPIN_PG__W_MULTIRANGE) return CHOPIN_PG_PROTOCOL;
    w->at = in.ptr;
    w->left--;
    return 1;
}

/* 1: `out` is the next part (of PAIRS: two); 0: there are no more; negative: malformed or no memory. */
static int chopin_pg__walk_next(chopin_pg__walk *w, const chopin_pg__room *room, chopin_pg__value *out) {
    int rc;
    if (w->binary) rc = chopin_pg__part_binary(w, out);
    else if (w->kind == CHOPIN_PG__W_RECORD) rc = chopin_pg__record_text_next(w, room, out);
    else if (w->kind == CHOPIN_PG__W_MULTIRANGE) rc = chopin_pg__multirange_text_next(w, out);
    else if (w->kind == CHOPIN_PG__W_PAIRS) rc = chopin_pg__pairs_next(w, room, out);
    else rc = w->left ? chopin_pg__array_text_next(w, room, out) : 0;
    if (!w->binary && w->kind == CHOPIN_PG__W_ARRAY && rc > 0) w->left--;
    w->first_part = false;
    return rc;
}

/* ---- ranges ---- */
typedef struct chopin_pg__bounds { unsigned flags; chopin_pg__value bound[2]; } chopin_pg__bounds;      // no bound is NULL

static int chopin_pg__range_binary(const chopin_pg__value *v, chopin_pg__bounds *b) {
    chopin_pg__in in = chopin_pg__in_of(v->ptr, v->len);
    b->flags = chopin_pg__get_u8(&in);
    if (in.bad || b->flags & ~0x1fu || (b->flags & CHOPIN_PG_EMPTY && b->flags != CHOPIN_PG_EMPTY)) return CHOPIN_PG_PROTOCOL;
    for (unsigned i = 0; i < 2; i++) {
        bool has = !(b->flags & (CHOPIN_PG_EMPTY | (unsigned)CHOPIN_PG_LOWER_INF << i));
        if (has && (!chopin_pg__take_part(&in, b->bound[i].oid, &b->bound[i]) || b->bound[i].null)) return CHOPIN_PG_PROTOCOL;
        if (!has) b->flags &= ~((unsigned)CHOPIN_PG_LOWER_INC << i);     // what is not there is not included
    }
    return chopin_pg__in_left(&in) ? CHOPIN_PG_PROTOCOL : 0;
}

static int chopin_pg__range_text(chopin_str s, const chopin_pg__room *room, chopin_pg__bounds *b) {
    b->flags = CHOPIN_PG_EMPTY;
    if (chopin_pg__equal_nocase(s, chopin_pg__str_z("empty"))) return 0;
    if (s.len < 3 || !strchr("[(", s.ptr[0]) || !strchr("])", s.ptr[s.len - 1]) || !s.ptr[0] || !s.ptr[s.len - 1]) return CHOPIN_PG_TYPE;
    b->flags = (s.ptr[0] == '[' ? CHOPIN_PG_LOWER_INC : 0u) | (s.ptr[s.len - 1] == ']' ? CHOPIN_PG_UPPER_INC : 0u);
    s = chopin_pg__skip(s, 1);
    for (unsigned i = 0; i < 2; i++) {
        size_t n = chopin_pg__field_length(s, ",)]");
        if (n == SIZE_MAX || (s.ptr[n] == ',') != (i == 0)) return CHOPIN_PG_TYPE;
        if (n == 0) b->flags = (b->flags & ~((unsigned)CHOPIN_PG_LOWER_INC << i)) | (unsigned)CHOPIN_PG_LOWER_INF << i;
        int rc = n ? chopin_pg__text_part(chopin_pg__str(s.ptr, n), b->bound[i].oid, true, room, &b->bound[i]) : 0;
        if (rc < 0) return rc;
        s = chopin_pg__skip(s, n + 1);
    }
    return s.len ? CHOPIN_PG_TYPE : 0;
}

static int chopin_pg__range_of(const chopin_pg__value *v, const chopin_pg__room *room, chopin_pg__bounds *b) {
    const chopin_pg__type *t = chopin_pg__type_of(v->oid);
    *b = (chopin_pg__bounds){ .bound = { { .null = true, .oid = t->part }, { .null = true, .oid = t->part } } };
    if (v->binary && t->kind == CHOPIN_PG__C_RANGE) return chopin_pg__range_binary(v, b);
    if (v->binary && !chopin_pg__is_textual(v, t->kind)) return CHOPIN_PG_TYPE;
    return chopin_pg__range_text(chopin_pg__value_str(v), room, b);
}

/* ---- numbers of any type ---- */

/* An integer out of a float: only a whole one. */
static int chopin_pg__whole(double value, bool *negative, uint64_t *amount) {
    *negative = value < 0;
    *amount   = 0;
    double size = *negative ? -value : value;
    if (!(size < 18446744073709551616.0)) return CHOPIN_PG_RANGE;      // infinity and NaN too
    *amount = (uint64_t)size;
    return (double)*amount == size ? 0 : CHOPIN_PG_RANGE;
}

/* Any number as sign and amount. */
static int chopin_pg__value_integer(const chopin_pg__value *v, bool *negative, uint64_t *amount) {
    chopin_pg__scalar s;
    int rc = chopin_pg__load_as(v, CHOPIN_PG__C_NUMERIC, &s);
    *negative = false;
    *amount   = 0;
    if (rc) return rc;
    switch (s.kind) {
    case CHOPIN_PG__C_I2: case CHOPIN_PG__C_I4: case CHOPIN_PG__C_I8: case CHOPIN_PG__C_MONEY:
        *negative = s.as.i64 < 0;
        *amount   = chopin_pg__amount(s.as.i64);
        return 0;
    case CHOPIN_PG__C_OID: case CHOPIN_PG__C_XID8: case CHOPIN_PG__C_LSN: *amount = s.as.u64; return 0;
    case CHOPIN_PG__C_F4:      return chopin_pg__whole((double)s.as.f32, negative, amount);
    case CHOPIN_PG__C_F8:      return chopin_pg__whole(s.as.f64, negative, amount);
    case CHOPIN_PG__C_NUMERIC: *negative = s.as.decimal.negative; return chopin_pg__decimal_scaled(&s.as.decimal, 0, amount);
    default:                   return CHOPIN_PG_TYPE;
    }
}

static int chopin_pg__value_i64(const chopin_pg__value *v, int64_t least, int64_t most, int64_t *out) {
    bool     negative;
    uint64_t amount;
    int rc = chopin_pg__value_integer(v, &negative, &amount);
    if (rc || (rc = chopin_pg__signed_of(negative, amount, out)) != 0) return rc;
    return *out < least || *out > most ? CHOPIN_PG_RANGE : 0;
}

static int chopin_pg__value_u64(const chopin_pg__value *v, uint64_t most, uint64_t *out) {
    bool negative;
    int  rc = chopin_pg__value_integer(v, &negative, out);
    return rc ? rc : *out > most || (negative && *out) ? CHOPIN_PG_RANGE : 0;
}

static int chopin_pg__value_f64(const chopin_pg__value *v, double *out) {
    chopin_pg__scalar s;
    int rc = chopin_pg__load_as(v, CHOPIN_PG__C_NUMERIC, &s);
    if (rc) return rc;
    switch (s.kind) {
    case CHOPIN_PG__C_I2: case CHOPIN_PG__C_I4: case CHOPIN_PG__C_I8: *out = (double)s.as.i64; return 0;
    case CHOPIN_PG__C_OID: case CHOPIN_PG__C_XID8: *out = (double)s.as.u64; return 0;
    case CHOPIN_PG__C_F4:      *out = (double)s.as.f32; return 0;
    case CHOPIN_PG__C_F8:      *out = s.as.f64; return 0;
    case CHOPIN_PG__C_NUMERIC: return chopin_pg__decimal_f64(&s.as.decimal, out);
    default:                   return CHOPIN_PG_TYPE;
    }
}

static int chopin_pg__value_f32(const chopin_pg__value *v, float *out) {
    chopin_pg__scalar s;
    int rc = chopin_pg__load_as(v, CHOPIN_PG__C_NUMERIC, &s);
    if (rc) return rc;
    switch (s.kind) {
    case CHOPIN_PG__C_I2: case CHOPIN_PG__C_I4: case CHOPIN_PG__C_I8: *out = (float)s.as.i64; return 0;
    case CHOPIN_PG__C_OID: case CHOPIN_PG__C_XID8: *out = (float)s.as.u64; return 0;
    case CHOPIN_PG__C_F4:      *out = s.as.f32; return 0;
    case CHOPIN_PG__C_F8:      *out = (float)s.as.f64; return isinf(*out) && !isinf(s.as.f64) ? CHOPIN_PG_RANGE : 0;
    case CHOPIN_PG__C_NUMERIC: return chopin_pg__decimal_f32(&s.as.decimal, out);
    default:                   return CHOPIN_PG_TYPE;
    }
}

/* Any number as a decimal; `text`, of 48 bytes, holds its digits when the value does not. */
static int chopin_pg__value_decimal(const chopin_pg__value *v, char *text, chopin_pg__decimal *out) {
    chopin_pg__scalar s;
    chopin_pg__pen    pen = { .ptr = text, .cap = 48 };
    int rc = chopin_pg__load_as(v, CHOPIN_PG__C_NUMERIC, &s);
    if (rc) return rc;
    switch (s.kind) {
    case CHOPIN_PG__C_NUMERIC: *out = s.as.decimal; return 0;
    case CHOPIN_PG__C_I2: case CHOPIN_PG__C_I4: case CHOPIN_PG__C_I8: *out = chopin_pg__decimal_of(text, s.as.i64 < 0, chopin_pg__amount(s.as.i64), 0); return 0;
    case CHOPIN_PG__C_OID: case CHOPIN_PG__C_XID8: *out = chopin_pg__decimal_of(text, false, s.as.u64, 0); return 0;
    case CHOPIN_PG__C_F4: case CHOPIN_PG__C_F8: chopin_pg__pen_scalar(&pen, &s); return chopin_pg__decimal_text(out, chopin_pg__str(text, pen.len));
    default: return CHOPIN_PG_TYPE;
    }
}

/* ---- any value as text ---- */
enum { CHOPIN_PG__DEPTH = 12 };                                         // of values inside of values

/* Without its version byte. */
static int chopin_pg__value_jsonb(const chopin_pg__value *v, chopin_str *out) {
    *out = chopin_pg__value_str(v);
    if (!v->binary) return 0;
    if (!v->len || v->ptr[0] != 1) return CHOPIN_PG_PROTOCOL;
    *out = chopin_pg__skip(*out, 1);
    return 0;
}

/* Does our text differ from what was sent as text? Only where settings of the session shape it. */
static bool chopin_pg__is_settled(uint32_t oid) {
    const chopin_pg__type *t = chopin_pg__type_of(oid);
    while (t->part) t = chopin_pg__type_of(t->part);
    return t->kind != CHOPIN_PG__C_BYTEA && t->kind != CHOPIN_PG__C_STAMPTZ && t->kind != CHOPIN_PG__C_INTERVAL && t->kind != CHOPIN_PG__C_CHAR;
}

/* Quotes where the grammar of arrays wants them: backslashes stand before quotes and backslashes. */
static void chopin_pg__pen_element(chopin_pg__pen *pen, chopin_str s, char delimiter) {
    bool quote = s.len == 0 || chopin_pg__equal_nocase(s, chopin_pg__str_z("NULL"));
    for (size_t i = 0; i < s.len && !quote; i++) {
        quote = s.ptr[i] == delimiter || chopin_pg__is_space(s.ptr[i]) || (s.ptr[i] && strchr("{}\"\\", s.ptr[i]));
    }
    if (!quote) { chopin_pg__pen_str(pen, s); return; }
    chopin_pg__pen_char(pen, '"');
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '"' || s.ptr[i] == '\\') chopin_pg__pen_char(pen, '\\');
        chopin_pg__pen_char(pen, s.ptr[i]);
    }
    chopin_pg__pen_char(pen, '"');
}

/* Where those of records and ranges want them: quotes and backslashes stand twice. */
static void chopin_pg__pen_field(chopin_pg__pen *pen, chopin_str s, const char *special) {
    bool quote = s.len == 0;
    for (size_t i = 0; i < s.len && !quote; i++) quote = chopin_pg__is_space(s.ptr[i]) || (s.ptr[i] && strchr(special, s.ptr[i]));
    if (!quote) { chopin_pg__pen_str(pen, s); return; }
    chopin_pg__pen_char(pen, '"');
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '"' || s.ptr[i] == '\\') chopin_pg__pen_char(pen, s.ptr[i]);
        chopin_pg__pen_char(pen, s.ptr[i]);
    }
    chopin_pg__pen_char(pen, '"');
}

/* [0:1]= in front of an array whose subscripts do not begin with 1. */
static void chopin_pg__pen_subscripts(chopin_pg__pen *pen, const chopin_pg__walk *w) {
    bool shown = false;
    for (int i = 0; i < w->dims; i++) shown = shown || w->first[i] != 1;
    for (int i = 0; i < w->dims && shown; i++) {
        chopin_pg__pen_char(pen, '[');
        chopin_pg__pen_i64(pen, w->first[i]);
        chopin_pg__pen_char(pen, ':');
        chopin_pg__pen_i64(pen, (int64_t)w->first[i] + w->size[i] - 1);
        chopin_pg__pen_char(pen, ']');
    }
    if (shown) chopin_pg__pen_char(pen, '=');
}

/* Braces that open before element `i` (by = 1) or close behind it (by = -1): one for each dimension whose list begins or ends there. */
static void chopin_pg__pen_braces(chopin_pg__pen *pen, const chopin_pg__walk *w, uint64_t i, char brace) {
    uint64_t stride = 1;
    for (int at = w->dims; at-- > 0; ) {
        stride *= (uint64_t)w->size[at];
        if (i % stride) return;
        chopin_pg__pen_char(pen, brace);
    }
}

/* How deep we are inside of values, and how to go on: parts are values, so the way down is a way back up in this file. */
typedef struct chopin_pg__deep {
    const chopin_pg__room *room;
    int depth;
    int (*text)(const chopin_pg__value *v, const struct chopin_pg__deep *deep, chopin_str *out);
    int (*put)(chopin_pg__out *out, const chopin_pg__value *v, const struct chopin_pg__deep *deep);
} chopin_pg__deep;

static int chopin_pg__part_text(const chopin_pg__value *part, const chopin_pg__deep *deep, chopin_str *out) {
    chopin_pg__deep below = *deep;
    return ++below.depth > CHOPIN_PG__DEPTH ? CHOPIN_PG_TYPE : deep->text(part, &below, out);
}

static int chopin_pg__pen_array(chopin_pg__pen *pen, const chopin_pg__value *v, const chopin_pg__deep *deep) {
    chopin_pg__walk  w;
    chopin_pg__value part;
    chopin_str       s;
    int rc = chopin_pg__walk_open(&w, v, CHOPIN_PG__W_ARRAY);
    if (rc) return rc;
    if (w.left == 0) chopin_pg__pen_z(pen, "{}");
    else chopin_pg__pen_subscripts(pen, &w);
    for (uint64_t i = 0; (rc = chopin_pg__walk_next(&w, deep->room, &part)) > 0; i++) {
        if (i) chopin_pg__pen_char(pen, w.delimiter);
        chopin_pg__pen_braces(pen, &w, i, '{');
        if (part.null) chopin_pg__pen_z(pen, "NULL");
        else if ((rc = chopin_pg__part_text(&part, deep, &s)) != 0) return rc;
        else chopin_pg__pen_element(pen, s, w.delimiter);
        chopin_pg__pen_braces(pen, &w, i + 1, '}');
    }
    return rc;
}

static int chopin_pg__pen_range(chopin_pg__pen *pen, const chopin_pg__value *v, const chopin_pg__deep *deep) {
    chopin_pg__bounds b;
    chopin_str s;
    int rc = chopin_pg__range_of(v, deep->room, &b);
    if (rc) return rc;
    if (b.flags & CHOPIN_PG_EMPTY) { chopin_pg__pen_z(pen, "empty"); return 0; }
    chopin_pg__pen_char(pen, b.flags & CHOPIN_PG_LOWER_INC ? '[' : '(');
    for (int i = 0; i < 2; i++) {
        if (i) chopin_pg__pen_char(pen, ',');
        if (b.bound[i].null) continue;
        if ((rc = chopin_pg__part_text(&b.bound[i], deep, &s)) != 0) return rc;
        chopin_pg__pen_field(pen, s, "()[],\"\\");
    }
    chopin_pg__pen_char(pen, b.flags & CHOPIN_PG_UPPER_INC ? ']' : ')');
    return 0;
}

/* A multirange or a record. */
static int chopin_pg__pen_parts(chopin_pg__pen *pen, const chopin_pg__value *v, int kind, const chopin_pg__deep *deep) {
    chopin_pg__walk  w;
    chopin_pg__value part;
    chopin_str       s;
    bool record = kind == CHOPIN_PG__W_RECORD;
    int  rc = chopin_pg__walk_open(&w, v, kind);
    if (rc) return rc;
    chopin_pg__pen_char(pen, record ? '(' : '{');
    for (int i = 0; (rc = chopin_pg__walk_next(&w, deep->room, &part)) > 0; i++) {
        if (i) chopin_pg__pen_char(pen, ',');
        if (part.null) continue;
        if ((rc = chopin_pg__part_text(&part, deep, &s)) != 0) return rc;
        if (record) chopin_pg__pen_field(pen, s, "(),\"\\");
        else chopin_pg__pen_str(pen, s);
    }
    chopin_pg__pen_char(pen, record ? ')' : '}');
    return rc;
}

/* What is not text already. */
static int chopin_pg__pen_value(chopin_pg__pen *pen, const chopin_pg__value *v, const chopin_pg__deep *deep) {
    chopin_pg__scalar s;
    chopin_pg__figure f;
    chopin_bits       bits;
    chopin_str        bytes;
    int kind = chopin_pg__type_of(v->oid)->kind, rc = 0;
    switch (kind) {
    case CHOPIN_PG__C_ARRAY:      return chopin_pg__pen_array(pen, v, deep);
    case CHOPIN_PG__C_RANGE:      return chopin_pg__pen_range(pen, v, deep);
    case CHOPIN_PG__C_MULTIRANGE: return chopin_pg__pen_parts(pen, v, CHOPIN_PG__W_MULTIRANGE, deep);
    case CHOPIN_PG__C_RECORD:     return chopin_pg__pen_parts(pen, v, CHOPIN_PG__W_RECORD, deep);
    case CHOPIN_PG__C_BYTEA:      if ((rc = chopin_pg__value_bytea(v, deep->room, &bytes)) == 0) chopin_pg__pen_bytea(pen, bytes); return rc;
    case CHOPIN_PG__C_BIT:        if ((rc = chopin_pg__value_bits(v, deep->room, &bits)) == 0) chopin_pg__pen_bits(pen, bits); return rc;
    default: break;
    }
    if (chopin_pg__is_figure(kind)) {
        if ((rc = chopin_pg__figure_of(v, &f, kind)) == 0) chopin_pg__pen_figure(pen, f);
        return rc;
    }
    if (v->binary && kind == CHOPIN_PG__C_MONEY) return CHOPIN_PG_TYPE;                // only the server knows its locale
    if ((rc = chopin_pg__load(v, &s)) == 0) chopin_pg__pen_scalar(pen, &s);
    return rc;
}

/* Any value as text: a view where possible. Text that does not parse is given as it was sent. */
static int chopin_pg__value_text_deep(const chopin_pg__value *v, const chopin_pg__deep *deep, chopin_str *out) {
    int kind = chopin_pg__type_of(v->oid)->kind;
    *out = chopin_pg__value_str(v);
    if (kind == CHOPIN_PG__C_JSONB) return chopin_pg__value_jsonb(v, out);
    if (chopin_pg__is_textual(v, kind) || (!v->binary && chopin_pg__is_settled(v->oid))) return 0;
    chopin_pg__pen pen = { .room = deep->room };
    int rc = chopin_pg__pen_value(&pen, v, deep);
    if (pen.failed || rc == CHOPIN_PG_MEMORY) return CHOPIN_PG_MEMORY;
    if (rc) return v->binary ? rc : 0;
    *out = chopin_pg__str(pen.ptr ? pen.ptr : "", pen.len);
    return 0;
}

static int chopin_pg__value_text(const chopin_pg__value *v, const chopin_pg__room *room, chopin_str *out) {
    return chopin_pg__value_text_deep(v, &(chopin_pg__deep){ .room = room, .text = chopin_pg__value_text_deep }, out);
}

/* ---- any value in binary: what COPY and parameters of known types are made of ---- */
/* With its length in front; NULL is -1. */
static int chopin_pg__put_part(chopin_pg__out *out, const chopin_pg__value *v, const chopin_pg__deep *deep) {
    chopin_pg__deep below = *deep;
    if (++below.depth > CHOPIN_PG__DEPTH) return CHOPIN_PG_TYPE;
    if (v->null) { chopin_pg__put_u32(out, UINT32_MAX); return 0; }
    size_t mark = chopin_pg__put_mark(out);
    int rc = deep->put(out, v, &below);
    chopin_pg__put_length(out, mark);
    return rc;
}

static void chopin_pg__put_array_head(chopin_pg__out *out, int dims, const int32_t *size, const int32_t *first, uint32_t oid) {
    chopin_pg__put_u32(out, (uint32_t)dims);
    chopin_pg__put_u32(out, 0);                                         // are there NULLs? patched once they are known
    chopin_pg__put_u32(out, oid);
    for (int i = 0; i < dims; i++) {
        chopin_pg__put_u32(out, (uint32_t)size[i]);
        chopin_pg__put_u32(out, first ? (uint32_t)first[i] : 1);
    }
}

static void chopin_pg__put_array_nulls(chopin_pg__out *out, size_t head) {
    if (!out->status) chopin_pg__store32(out->ptr + head + 4, 1);
}

static int chopin_pg__put_array(chopin_pg__out *out, const chopin_pg__value *v, const chopin_pg__deep *deep) {
    chopin_pg__walk  w;
    chopin_pg__value part;
    size_t head = out->len;
    bool   nulls = false;
    int    rc = chopin_pg__walk_open(&w, v, CHOPIN_PG__W_ARRAY);
    if (rc) return rc;
    chopin_pg__put_array_head(out, w.left ? w.dims : 0, w.size, w.first, w.oid);
    while ((rc = chopin_pg__walk_next(&w, deep->room, &part)) > 0) {
        nulls = nulls || part.null;
        if ((rc = chopin_pg__put_part(out, &part, deep)) != 0) return rc;
    }
    if (nulls) chopin_pg__put_array_nulls(out, head);
    return rc;
}

static int chopin_pg__put_range(chopin_pg__out *out, const chopin_pg__value *v, const chopin_pg__deep *deep) {
    chopin_pg__bounds b;
    int rc = chopin_pg__range_of(v, deep->room, &b);
    if (rc) return rc;
    chopin_pg__put_u8(out, b.flags);
    for (int i = 0; i < 2 && !rc; i++) if (!b.bound[i].null) rc = chopin_pg__put_part(out, &b.bound[i], deep);
    return rc;
}

static int chopin_pg__put_parts(chopin_pg__out *out, const chopin_pg__value *v, int kind, const chopin_pg__deep *deep) {
    chopin_pg__walk  w;
    chopin_pg__value part;
    size_t   mark = chopin_pg__put_mark(out);
    uint32_t count = 0;
    int      rc = chopin_pg__walk_open(&w, v, kind);
    if (!rc && !w.binary && kind == CHOPIN_PG__W_RECORD) return CHOPIN_PG_TYPE;        // the text of a record does not say of what types it is
    if (rc) return rc;
    for (; (rc = chopin_pg__walk_next(&w, deep->room, &part)) > 0; count++) {
        if (kind == CHOPIN_PG__W_RECORD) chopin_pg__put_u32(out, part.oid);
        if ((rc = chopin_pg__put_part(out, &part, deep)) != 0) return rc;
    }
    if (!out->status) chopin_pg__store32(out->ptr + mark, count);
    return rc;
}

static int chopin_pg__put_value_deep(chopin_pg__out *out, const chopin_pg__value *v, const chopin_pg__deep *deep) {
    chopin_pg__scalar s;
    chopin_pg__figure f;
    chopin_bits       bits;
    chopin_str        bytes = chopin_pg__value_str(v);
    int kind = chopin_pg__type_of(v->oid)->kind, rc = 0;
    switch (kind) {
    case CHOPIN_PG__C_ARRAY:      return chopin_pg__put_array(out, v, deep);
    case CHOPIN_PG__C_RANGE:      return chopin_pg__put_range(out, v, deep);
    case CHOPIN_PG__C_MULTIRANGE: return chopin_pg__put_parts(out, v, CHOPIN_PG__W_MULTIRANGE, deep);
    case CHOPIN_PG__C_RECORD:     return chopin_pg__put_parts(out, v, CHOPIN_PG__W_RECORD, deep);
    case CHOPIN_PG__C_TEXT: case CHOPIN_PG__C_UNKNOWN: chopin_pg__put_bytes(out, bytes.ptr, bytes.len); return 0;
    case CHOPIN_PG__C_ASK:        return CHOPIN_PG_TYPE;
    case CHOPIN_PG__C_JSONB:
        if ((rc = chopin_pg__value_jsonb(v, &bytes)) != 0) return rc;
        chopin_pg__put_u8(out, 1);
        chopin_pg__put_bytes(out, bytes.ptr, bytes.len);
        return 0;
    case CHOPIN_PG__C_BYTEA:      if ((rc = chopin_pg__value_bytea(v, deep->room, &bytes)) == 0) chopin_pg__put_bytes(out, bytes.ptr, bytes.len); return rc;
    case CHOPIN_PG__C_BIT:        if ((rc = chopin_pg__value_bits(v, deep->room, &bits)) == 0) chopin_pg__put_bits(out, bits); return rc;
    default: break;
    }
    if (chopin_pg__is_figure(kind)) {
        if ((rc = chopin_pg__figure_of(v, &f, kind)) == 0) chopin_pg__put_figure(out, f);
        return rc;
    }
    return (rc = chopin_pg__load(v, &s)) != 0 ? rc : chopin_pg__put_scalar(out, &s);
}

/* The binary form of a value of either format, without a length. TYPE: we have no codec for it. */
static int chopin_pg__put_value(chopin_pg__out *out, const chopin_pg__value *v, const chopin_pg__room *room) {
    return chopin_pg__put_value_deep(out, v, &(chopin_pg__deep){ .room = room, .put = chopin_pg__put_value_deep });
}

/* ==========================================================================================================
   >>param   C values as parameters: as text while the server's type is not known, in that type's binary form afterwards
   Both must mean the same: where our conversion could differ from what the server makes of the text, the text is sent again. What cannot fit is refused
   with the SQLSTATE the server would give.
   ========================================================================================================== */

static chopin_pg_param chopin_pg__param_text_of(int kind, const void *ptr, size_t len) {
    chopin_pg_param p = { .kind = ptr ? kind : CHOPIN_PG__P_NULL };
    p.as.text = chopin_pg__str(ptr, len);
    return p;
}

static chopin_pg_param chopin_pg__param_list_of(int kind, const void *items, size_t count) {
    chopin_pg_param p = { .kind = kind };
    p.as.list.items = items;
    p.as.list.count = count;
    return p;
}

static bool chopin_pg__param_is_list(int kind) { return kind >= CHOPIN_PG__P_ARRAY; }

/* Lists of parameters, as opposed to lists of C values. */
static bool chopin_pg__param_is_nested(int kind) {
    return kind == CHOPIN_PG__P_ARRAY || kind == CHOPIN_PG__P_MULTIRANGE || kind == CHOPIN_PG__P_RANGE || kind == CHOPIN_PG__P_RECORD;
}

/* Kinds of which every C value is good. */
static bool chopin_pg__param_is_plain(int kind) { return kind == CHOPIN_PG__P_I64 || kind == CHOPIN_PG__P_BOOL || kind == CHOPIN_PG__P_F64 || kind == CHOPIN_PG__P_NULL; }

static bool chopin_pg__param_is_text(int kind) { return kind == CHOPIN_PG__P_TEXT || kind == CHOPIN_PG__P_BYTES || kind == CHOPIN_PG__P_NUMERIC; }

/* One item of a list as a parameter of its own. */
static chopin_pg_param chopin_pg__param_item(const chopin_pg_param *p, size_t i) {
    const void *items = p->as.list.items;
    switch (p->kind) {
    case CHOPIN_PG__P_I32S:  return chopin_pg__from_i64(((const int32_t *)items)[i]);
    case CHOPIN_PG__P_I64S:  return chopin_pg__from_i64(((const int64_t *)items)[i]);
    case CHOPIN_PG__P_F64S:  return chopin_pg__from_f64(((const double *)items)[i]);
    case CHOPIN_PG__P_BOOLS: return chopin_pg__from_bool(((const bool *)items)[i]);
    case CHOPIN_PG__P_TEXTS: return chopin_pg__from_str(((const chopin_str *)items)[i]);
    default:                 return ((const chopin_pg_param *)items)[i];
    }
}

static size_t chopin_pg__param_item_size(int kind) {
    switch (kind) {
    case CHOPIN_PG__P_I32S:  return sizeof(int32_t);
    case CHOPIN_PG__P_I64S:  return sizeof(int64_t);
    case CHOPIN_PG__P_F64S:  return sizeof(double);
    case CHOPIN_PG__P_BOOLS: return sizeof(bool);
    case CHOPIN_PG__P_TEXTS: return sizeof(chopin_str);
    default:                 return sizeof(chopin_pg_param);
    }
}

/* ---- errors: with the SQLSTATE that the server has for the same ---- */
static int chopin_pg__param_fail(chopin_pg_error *e, int status, const char *sqlstate, const char *what, uint32_t oid) {
    bool fresh = e->status >= 0;
    int  rc = oid ? chopin_pg__fail(e, status, "%s (%s)", what, chopin_pg__type_name(oid)) : chopin_pg__fail(e, status, "%s", what);
    if (fresh) memcpy(e->sqlstate, sqlstate, 6);
    return rc;
}

static int chopin_pg__param_range(chopin_pg_error *e, uint32_t oid) {
    return chopin_pg__param_fail(e, CHOPIN_PG_RANGE, "22003", "the number is out of range for the server's type", oid);
}

/* ---- checks that need no type ---- */
static int chopin_pg__param_check_text(chopin_str s, chopin_pg_error *e) {
    if (s.len > CHOPIN_PG__MESSAGE_MAX) return chopin_pg__param_fail(e, CHOPIN_PG_ARG, "54000", "the parameter is over 1 GiB", 0);
    if (chopin_pg__has_nul(s)) return chopin_pg__param_fail(e, CHOPIN_PG_ARG, "22021", "the text contains a zero byte (use chopin_pg_as_bytes for a bytea)", 0);
    if (!chopin_pg__utf8_ok(s)) return chopin_pg__param_fail(e, CHOPIN_PG_ARG, "22021", "the text is not valid UTF-8", 0);
    return 0;
}

static int chopin_pg__param_check_clock(const chopin_clock *c, chopin_pg_error *e) {
    bool good = c->us >= 0 && c->us <= CHOPIN_PG__DAY_US && c->east > -16 * 3600 && c->east < 16 * 3600;
    return good ? 0 : chopin_pg__param_fail(e, CHOPIN_PG_RANGE, "22008", "the time of day is out of range", 0);
}

static int chopin_pg__param_check_value(const chopin_pg_param *p, chopin_pg_error *e) {
    switch (p->kind) {
    case CHOPIN_PG__P_TEXT: case CHOPIN_PG__P_NUMERIC: return chopin_pg__param_check_text(p->as.text, e);
    case CHOPIN_PG__P_BYTES: return p->as.text.len <= CHOPIN_PG__MESSAGE_MAX ? 0 : chopin_pg__param_fail(e, CHOPIN_PG_ARG, "54000", "the parameter is over 1 GiB", 0);
    case CHOPIN_PG__P_CLOCK: return chopin_pg__param_check_clock(&p->as.clock, e);
    case CHOPIN_PG__P_TIME:                                              // cannot be moved to 2000
        if (p->as.time.us == INT64_MIN || p->as.time.us >= INT64_MIN + CHOPIN_PG__EPOCH_US) return 0;
        return chopin_pg__param_fail(e, CHOPIN_PG_RANGE, "22008", "the time is out of range", 0);
    case CHOPIN_PG__P_DATE:
        if (p->as.date.days == INT32_MIN || p->as.date.days > INT32_MIN + CHOPIN_PG__EPOCH_DAYS) return 0;
        return chopin_pg__param_fail(e, CHOPIN_PG_RANGE, "22008", "the date is out of range", 0);
    case CHOPIN_PG__P_INET:
        if ((p->as.inet.len == 4 || p->as.inet.len == 16) && p->as.inet.bits <= p->as.inet.len * 8) return 0;
        return chopin_pg__param_fail(e, CHOPIN_PG_ARG, "22P02", "the address has a wrong length or too many bits", 0);
    case CHOPIN_PG__P_MAC:
        return p->as.mac.len == 6 || p->as.mac.len == 8 ? 0 : chopin_pg__param_fail(e, CHOPIN_PG_ARG, "22P02", "a MAC address has 6 or 8 bytes", 0);
    case CHOPIN_PG__P_BITS:
        return p->as.bits.count <= INT32_MAX ? 0 : chopin_pg__param_fail(e, CHOPIN_PG_ARG, "54000", "too many bits", 0);
    case CHOPIN_PG__P_DECIMAL:
        return p->as.decimal.scale >= -1000 && p->as.decimal.scale <= 1000 ? 0 : chopin_pg__param_fail(e, CHOPIN_PG_ARG, "22003", "the scale is not within 1000", 0);
    default: return 0;
    }
}

/* Ranges have two bounds, and one that is INF has none. */
static int chopin_pg__param_check_range(const chopin_pg_param *p, chopin_pg_error *e) {
    if (p->as.list.count != 2) return chopin_pg__param_fail(e, CHOPIN_PG_ARG, "22P02", "a range has two bounds", 0);
    if (p->flags & ~0x1fu || (p->flags & CHOPIN_PG_EMPTY && p->flags != CHOPIN_PG_EMPTY)) {
        return chopin_pg__param_fail(e, CHOPIN_PG_ARG, "22P02", "an empty range has no other flag", 0);
    }
    return 0;
}

/* What can be said before the type is known: text is UTF-8 without zero bytes, nothing is over 1 GiB, lists are well-formed. 0 or negative. */
static int chopin_pg__param_check_deep(const chopin_pg_param *p, chopin_pg_error *e, int depth) {
    if (!chopin_pg__param_is_list(p->kind)) return chopin_pg__param_check_value(p, e);
    if (depth > CHOPIN_PG__DEPTH || p->as.list.count > CHOPIN_PG__MESSAGE_MAX / 4) return chopin_pg__param_fail(e, CHOPIN_PG_ARG, "54000", "too many values in values", 0);
    int rc = p->kind == CHOPIN_PG__P_RANGE ? chopin_pg__param_check_range(p, e) : 0;
    bool look = chopin_pg__param_is_nested(p->kind) || p->kind == CHOPIN_PG__P_TEXTS;
    for (size_t i = 0; look && !rc && i < p->as.list.count; i++) {
        chopin_pg_param item = chopin_pg__param_item(p, i);
        rc = chopin_pg__param_check_deep(&item, e, depth + 1);
    }
    return rc;
}

static CHOPIN_PG__UNUSED int chopin_pg__param_check(const chopin_pg_param *p, chopin_pg_error *e) { return chopin_pg__param_check_deep(p, e, 0); }

/* What Parse declares: bytes are a bytea at once, so that they never travel as text. */
static CHOPIN_PG__UNUSED uint32_t chopin_pg__param_oid(const chopin_pg_param *p) { return p->kind == CHOPIN_PG__P_BYTES ? CHOPIN_PG__OID_BYTEA : 0; }

/* ---- copies, for statements that outlive the call ---- */

/* How many bytes it points to. */
static CHOPIN_PG__UNUSED size_t chopin_pg__param_extra(const chopin_pg_param *p) {
    if (chopin_pg__param_is_text(p->kind)) return p->as.text.len;
    if (p->kind == CHOPIN_PG__P_BITS) return p->as.bits.count / 8 + 1;
    if (!chopin_pg__param_is_list(p->kind)) return 0;
    size_t sum = p->as.list.count * chopin_pg__param_item_size(p->kind);
    bool   look = chopin_pg__param_is_nested(p->kind) || p->kind == CHOPIN_PG__P_TEXTS;
    for (size_t i = 0; look && i < p->as.list.count; i++) {
        chopin_pg_param item = chopin_pg__param_item(p, i);
        sum += chopin_pg__param_extra(&item);
    }
    return sum;
}

static const void *chopin_pg__keep_bytes(const void *bytes, size_t n, chopin_pg__arena *a) {
    void *copy = chopin_pg__arena_alloc(a, n ? n : 1);
    if (copy && n) memcpy(copy, bytes, n);
    return copy;
}

/* Makes it independent of the caller's memory. False: no memory. */
static CHOPIN_PG__UNUSED bool chopin_pg__param_keep(chopin_pg_param *p, chopin_pg__arena *a) {
    if (chopin_pg__param_is_text(p->kind)) return (p->as.text.ptr = (const char *)chopin_pg__keep_bytes(p->as.text.ptr, p->as.text.len, a)) != NULL;
    if (p->kind == CHOPIN_PG__P_BITS) return (p->as.bits.bytes = (const uint8_t *)chopin_pg__keep_bytes(p->as.bits.bytes, (p->as.bits.count + 7) / 8, a)) != NULL;
    if (!chopin_pg__param_is_list(p->kind)) return true;
    void *items = chopin_pg__arena_alloc(a, p->as.list.count * chopin_pg__param_item_size(p->kind) + 1);
    if (!items) return false;
    if (p->as.list.count) memcpy(items, p->as.list.items, p->as.list.count * chopin_pg__param_item_size(p->kind));
    p->as.list.items = items;
    for (size_t i = 0; i < p->as.list.count; i++) {
        chopin_str *text = (chopin_str *)items + i;
        if (p->kind == CHOPIN_PG__P_TEXTS && text->ptr && !(text->ptr = (const char *)chopin_pg__keep_bytes(text->ptr, text->len, a))) return false;
        if (chopin_pg__param_is_nested(p->kind) && !chopin_pg__param_keep((chopin_pg_param *)items + i, a)) return false;
    }
    return true;
}

/* ---- as text ---- */

/* A whole number is written without an exponent, so that integers read it too. */
static void chopin_pg__pen_whole_f64(chopin_pg__pen *pen, double value) {
    bool whole = value > -9223372036854775808.0 && value < 9223372036854775808.0 && value == (double)(int64_t)value && !(value == 0 && signbit(value));
    if (whole) chopin_pg__pen_i64(pen, (int64_t)value); else chopin_pg__pen_f64(pen, value);
}

static void chopin_pg__pen_whole_f32(chopin_pg__pen *pen, float value) {
    double wide = (double)value;
    bool   whole = wide > -9223372036854775808.0 && wide < 9223372036854775808.0 && wide == (double)(int64_t)wide && !(value == 0 && signbit(value));
    if (whole) chopin_pg__pen_i64(pen, (int64_t)wide); else chopin_pg__pen_f32(pen, value);
}

static int64_t chopin_pg__time_to_2000(chopin_time t) { return t.us == INT64_MAX || t.us == INT64_MIN ? t.us : t.us - CHOPIN_PG__EPOCH_US; }
static int32_t chopin_pg__date_to_2000(chopin_date d) { return d.days == INT32_MAX || d.days == INT32_MIN ? d.days : d.days - CHOPIN_PG__EPOCH_DAYS; }

static void chopin_pg__pen_decimal_param(chopin_pg__pen *pen, const chopin_pg_param *p) {
    char text[24];
    int64_t unscaled = p->as.decimal.unscaled;
    chopin_pg__decimal d = chopin_pg__decimal_of(text, unscaled < 0, chopin_pg__amount(unscaled), p->as.decimal.scale);
    chopin_pg__decimal_print(pen, &d);
}

static void chopin_pg__pen_point(chopin_pg__pen *pen, const chopin_point *p) {
    chopin_pg__pen_char(pen, '(');
    chopin_pg__pen_f64(pen, p->x);
    chopin_pg__pen_char(pen, ',');
    chopin_pg__pen_f64(pen, p->y);
    chopin_pg__pen_char(pen, ')');
}

/* What is neither NULL nor a list. */
static void chopin_pg__pen_param(chopin_pg__pen *pen, const chopin_pg_param *p) {
    chopin_pg__scalar s = { .kind = CHOPIN_PG__C_MAC };
    switch (p->kind) {
    case CHOPIN_PG__P_BOOL:     chopin_pg__pen_z(pen, p->as.boolean ? "true" : "false"); break;
    case CHOPIN_PG__P_I64:      chopin_pg__pen_i64(pen, p->as.i64); break;
    case CHOPIN_PG__P_U64:      chopin_pg__pen_u64(pen, p->as.u64); break;
    case CHOPIN_PG__P_F32:      chopin_pg__pen_whole_f32(pen, p->as.f32); break;
    case CHOPIN_PG__P_F64:      chopin_pg__pen_whole_f64(pen, p->as.f64); break;
    case CHOPIN_PG__P_BYTES:    chopin_pg__pen_bytea(pen, p->as.text); break;
    case CHOPIN_PG__P_DECIMAL:  chopin_pg__pen_decimal_param(pen, p); break;
    case CHOPIN_PG__P_TIME:     chopin_pg__pen_stamp(pen, chopin_pg__time_to_2000(p->as.time), true); break;
    case CHOPIN_PG__P_DATE:     chopin_pg__pen_date(pen, chopin_pg__date_to_2000(p->as.date)); break;
    case CHOPIN_PG__P_CLOCK:    chopin_pg__pen_clock(pen, &p->as.clock); break;
    case CHOPIN_PG__P_INTERVAL: chopin_pg__pen_interval_iso(pen, &p->as.interval); break;
    case CHOPIN_PG__P_UUID:     chopin_pg__pen_uuid(pen, &p->as.uuid); break;
    case CHOPIN_PG__P_INET:     chopin_pg__pen_inet(pen, &p->as.inet); break;
    case CHOPIN_PG__P_MAC:      s.as.mac = p->as.mac; chopin_pg__pen_scalar(pen, &s); break;
    case CHOPIN_PG__P_POINT:    chopin_pg__pen_point(pen, &p->as.point); break;
    case CHOPIN_PG__P_BITS:     chopin_pg__pen_bits(pen, p->as.bits); break;
    default:                    chopin_pg__pen_str(pen, p->as.text); break;      // TEXT, NUMERIC
    }
}

/* Puts quotes around the bytes since `from`, and backslashes before quotes and backslashes: what arrays, records and ranges all read. */
static void chopin_pg__quote_since(chopin_pg__out *out, size_t from) {
    size_t len = out->len, more = 2;
    for (size_t i = from; i < len; i++) more += out->ptr[i] == '"' || out->ptr[i] == '\\' ? 1 : 0;
    if (!chopin_pg__out_room(out, more)) return;
    size_t to = len + more;
    out->len = to;
    out->ptr[--to] = '"';
    for (size_t i = len; i-- > from; ) {
        out->ptr[--to] = out->ptr[i];
        if (out->ptr[i] == '"' || out->ptr[i] == '\\') out->ptr[--to] = '\\';
    }
    out->ptr[--to] = '"';
}

static bool chopin_pg__param_needs_quotes(int kind) {
    return kind != CHOPIN_PG__P_BOOL && kind != CHOPIN_PG__P_I64 && kind != CHOPIN_PG__P_U64 && kind != CHOPIN_PG__P_F32 && kind != CHOPIN_PG__P_F64 &&
           kind != CHOPIN_PG__P_DECIMAL && kind != CHOPIN_PG__P_I32S && kind != CHOPIN_PG__P_I64S && kind != CHOPIN_PG__P_F64S && kind != CHOPIN_PG__P_BOOLS &&
           kind != CHOPIN_PG__P_TEXTS && kind != CHOPIN_PG__P_ARRAY;
}

static bool chopin_pg__bound_missing(const chopin_pg_param *p, size_t i) { return p->flags & (unsigned)CHOPIN_PG_LOWER_INF << i; }

/* Text of anything but NULL. Lists inside of arrays are further dimensions and stand without quotes. */
static void chopin_pg__param_text(chopin_pg__out *out, const chopin_pg_param *p) {
    chopin_pg__pen pen = { .out = out };
    if (!chopin_pg__param_is_list(p->kind)) { chopin_pg__pen_param(&pen, p); return; }
    bool range = p->kind == CHOPIN_PG__P_RANGE, record = p->kind == CHOPIN_PG__P_RECORD;
    if (range && p->flags & CHOPIN_PG_EMPTY) { chopin_pg__pen_z(&pen, "empty"); return; }
    chopin_pg__pen_char(&pen, range ? (p->flags & CHOPIN_PG_LOWER_INC ? '[' : '(') : record ? '(' : '{');
    for (size_t i = 0; i < p->as.list.count && !out->status; i++) {
        chopin_pg_param item = chopin_pg__param_item(p, i);
        if (i) chopin_pg__pen_char(&pen, ',');
        if (item.kind == CHOPIN_PG__P_NULL || (range && chopin_pg__bound_missing(p, i))) {
            if (!range && !record) chopin_pg__pen_z(&pen, "NULL");
            continue;
        }
        size_t from = out->len;
        chopin_pg__param_text(out, &item);
        bool quote = chopin_pg__param_needs_quotes(item.kind) || ((range || record) && chopin_pg__param_is_list(item.kind));
        if (quote && p->kind != CHOPIN_PG__P_MULTIRANGE && !out->status) chopin_pg__quote_since(out, from);
    }
    chopin_pg__pen_char(&pen, range ? (p->flags & CHOPIN_PG_UPPER_INC ? ']' : ')') : record ? ')' : '}');
}

/* ---- in binary: 1 written, 0 text must do, negative refused ---- */
static bool chopin_pg__is_integer_class(int kind) { return kind == CHOPIN_PG__C_I2 || kind == CHOPIN_PG__C_I4 || kind == CHOPIN_PG__C_I8; }

/* An integer as a scalar of s->kind. */
static int chopin_pg__integer_to(chopin_pg__scalar *s, bool negative, uint64_t amount, char *digits, uint32_t oid, chopin_pg_error *e) {
    switch (s->kind) {
    case CHOPIN_PG__C_I2: case CHOPIN_PG__C_I4: case CHOPIN_PG__C_I8: {
        uint64_t most = s->kind == CHOPIN_PG__C_I2 ? INT16_MAX : s->kind == CHOPIN_PG__C_I4 ? INT32_MAX : INT64_MAX;
        if (amount > most + (negative ? 1 : 0)) return chopin_pg__param_range(e, oid);
        chopin_pg__signed_of(negative, amount, &s->as.i64);
        return 1;
    }
    case CHOPIN_PG__C_OID:  s->as.u64 = amount; return !negative && amount <= UINT32_MAX;      // else the server reads the text in its own way
    case CHOPIN_PG__C_XID8: s->as.u64 = amount; return !negative;
    case CHOPIN_PG__C_F4:   s->as.f32 = negative ? -(float)amount : (float)amount; return 1;
    case CHOPIN_PG__C_F8:   s->as.f64 = negative ? -(double)amount : (double)amount; return 1;
    case CHOPIN_PG__C_NUMERIC: s->as.decimal = chopin_pg__decimal_of(digits, negative, amount, 0); return 1;
    default: return 0;
    }
}

/* A float as a scalar of s->kind. Its text decides where types differ: a C float is its shortest decimal. */
static int chopin_pg__float_to(chopin_pg__scalar *s, const chopin_pg_param *p, char *digits, uint32_t oid, chopin_pg_error *e) {
    bool   single = p->kind == CHOPIN_PG__P_F32, negative;
    double value = single ? (double)p->as.f32 : p->as.f64;
    uint64_t amount;
    if (s->kind == CHOPIN_PG__C_F8 && !single) { s->as.f64 = value; return 1; }
    if (s->kind == CHOPIN_PG__C_F4 && (single || value != value || (double)(float)value == value)) { s->as.f32 = (float)value; return 1; }
    if (chopin_pg__is_integer_class(s->kind)) {
        bool whole = value > -9223372036854775808.0 && value < 9223372036854775808.0 && chopin_pg__whole(value, &negative, &amount) == 0;
        return whole ? chopin_pg__integer_to(s, negative, amount, digits, oid, e) : 0;  // the server says what is wrong with a fraction
    }
    if (s->kind != CHOPIN_PG__C_F4 && s->kind != CHOPIN_PG__C_F8 && s->kind != CHOPIN_PG__C_NUMERIC) return 0;
    chopin_pg__pen pen = { .ptr = digits, .cap = 48 };
    chopin_pg__pen_param(&pen, p);
    int rc = chopin_pg__load_text(chopin_pg__str(digits, pen.len), s);
    bool vanished = s->kind == CHOPIN_PG__C_F4 && rc == 0 && s->as.f32 == 0 && value != 0;
    return rc || vanished ? chopin_pg__param_range(e, oid) : 1;
}

/* The kinds that fit one class of types and no other. */
static bool chopin_pg__param_same(chopin_pg__scalar *s, const chopin_pg_param *p) {
    switch (p->kind) {
    case CHOPIN_PG__P_BOOL:     s->as.boolean = p->as.boolean; return s->kind == CHOPIN_PG__C_BOOL;
    case CHOPIN_PG__P_TIME:     s->as.i64 = chopin_pg__time_to_2000(p->as.time); return s->kind == CHOPIN_PG__C_STAMP || s->kind == CHOPIN_PG__C_STAMPTZ;
    case CHOPIN_PG__P_DATE:     s->as.days = chopin_pg__date_to_2000(p->as.date); return s->kind == CHOPIN_PG__C_DATE;
    case CHOPIN_PG__P_CLOCK:    s->as.clock = p->as.clock; return s->kind == (p->as.clock.zoned ? CHOPIN_PG__C_TIMETZ : CHOPIN_PG__C_TIME);
    case CHOPIN_PG__P_INTERVAL: s->as.interval = p->as.interval; return s->kind == CHOPIN_PG__C_INTERVAL;
    case CHOPIN_PG__P_UUID:     s->as.uuid = p->as.uuid; return s->kind == CHOPIN_PG__C_UUID;
    case CHOPIN_PG__P_INET:     s->as.inet = p->as.inet; s->as.inet.cidr = false; return s->kind == CHOPIN_PG__C_INET;
    case CHOPIN_PG__P_MAC:      s->as.mac = p->as.mac; return s->kind == (p->as.mac.len == 6 ? CHOPIN_PG__C_MAC : CHOPIN_PG__C_MAC8);
    default:                    return false;
    }
}

/* `digits`, of 48 bytes, must live as long as `s`. */
static int chopin_pg__param_scalar(chopin_pg__scalar *s, const chopin_pg_param *p, char *digits, uint32_t oid, chopin_pg_error *e) {
    if (!chopin_pg__is_scalar(s->kind)) return 0;
    switch (p->kind) {
    case CHOPIN_PG__P_I64: return chopin_pg__integer_to(s, p->as.i64 < 0, chopin_pg__amount(p->as.i64), digits, oid, e);
    case CHOPIN_PG__P_U64: return chopin_pg__integer_to(s, false, p->as.u64, digits, oid, e);
    case CHOPIN_PG__P_F32: case CHOPIN_PG__P_F64: return chopin_pg__float_to(s, p, digits, oid, e);
    case CHOPIN_PG__P_NUMERIC: return s->kind == CHOPIN_PG__C_NUMERIC && chopin_pg__decimal_text(&s->as.decimal, p->as.text) == 0;
    case CHOPIN_PG__P_DECIMAL:
        s->as.decimal = chopin_pg__decimal_of(digits, p->as.decimal.unscaled < 0, chopin_pg__amount(p->as.decimal.unscaled), p->as.decimal.scale);
        return s->kind == CHOPIN_PG__C_NUMERIC;
    default: return chopin_pg__param_same(s, p);
    }
}

/* What is no list. */
static int chopin_pg__param_single(chopin_pg__out *out, const chopin_pg_param *p, uint32_t oid, chopin_pg_error *e) {
    chopin_pg__scalar s = { .kind = chopin_pg__type_of(oid)->kind };
    char digits[48];
    if (p->kind == CHOPIN_PG__P_BYTES && s.kind == CHOPIN_PG__C_BYTEA) { chopin_pg__put_bytes(out, p->as.text.ptr, p->as.text.len); return 1; }
    if (p->kind == CHOPIN_PG__P_BITS && s.kind == CHOPIN_PG__C_BIT && p->as.bits.count % 8 == 0) { chopin_pg__put_bits(out, p->as.bits); return 1; }
    if (p->kind == CHOPIN_PG__P_POINT && s.kind == CHOPIN_PG__C_POINT) { chopin_pg__put_f64(out, p->as.point.x); chopin_pg__put_f64(out, p->as.point.y); return 1; }
    int rc = chopin_pg__param_scalar(&s, p, digits, oid, e);
    if (rc <= 0) return rc;
    return chopin_pg__put_scalar(out, &s) ? 0 : 1;
}

/* The shape of an array of arrays: all lists of one depth have the same length. ARG when they have not. */
static int chopin_pg__param_shape(const chopin_pg_param *p, int32_t *size, int *dims, int depth, chopin_pg_error *e) {
    if (depth == 6 || p->as.list.count > INT32_MAX) return chopin_pg__param_fail(e, CHOPIN_PG_ARG, "54000", "an array has at most 6 dimensions", 0);
    if (depth == *dims) size[(*dims)++] = (int32_t)p->as.list.count;
    bool ragged = (size_t)size[depth] != p->as.list.count;
    for (size_t i = 0; p->kind == CHOPIN_PG__P_ARRAY && !ragged && i < p->as.list.count; i++) {
        chopin_pg_param item = chopin_pg__param_item(p, i);
        bool list = chopin_pg__param_is_list(item.kind) && item.kind != CHOPIN_PG__P_RANGE && item.kind != CHOPIN_PG__P_RECORD && item.kind != CHOPIN_PG__P_MULTIRANGE;
        ragged = list ? i > 0 && *dims == depth + 1 : *dims > depth + 1;
        int rc = list && !ragged ? chopin_pg__param_shape(&item, size, dims, depth + 1, e) : 0;
        if (rc) return rc;
    }
    return ragged ? chopin_pg__param_fail(e, CHOPIN_PG_ARG, "2202E", "the lists of an array of arrays must be of the same length", 0) : 0;
}

typedef int chopin_pg__param_writer(chopin_pg__out *out, const chopin_pg_param *p, uint32_t oid, chopin_pg_error *e);

/* A value with its length in front, by the writer of values. */
static int chopin_pg__param_part(chopin_pg__out *out, const chopin_pg_param *p, uint32_t oid, chopin_pg_error *e, chopin_pg__param_writer *write) {
    if (p->kind == CHOPIN_PG__P_NULL) { chopin_pg__put_u32(out, UINT32_MAX); return 1; }
    size_t mark = chopin_pg__put_mark(out);
    int rc = write(out, p, oid, e);
    chopin_pg__put_length(out, mark);
    return rc;
}

/* The elements of a list and of the lists in it, `depth` of them; `*nulls` says whether there was a NULL. */
static int chopin_pg__param_elements(chopin_pg__out *out, const chopin_pg_param *p, int depth, uint32_t oid, chopin_pg_error *e, chopin_pg__param_writer *write, bool *nulls) {
    int rc = 1;
    for (size_t i = 0; i < p->as.list.count && rc > 0 && !out->status; i++) {
        chopin_pg_param item = chopin_pg__param_item(p, i);
        if (depth > 1) { rc = chopin_pg__param_elements(out, &item, depth - 1, oid, e, write, nulls); continue; }
        *nulls = *nulls || item.kind == CHOPIN_PG__P_NULL;
        rc = chopin_pg__param_part(out, &item, oid, e, write);
    }
    return rc;
}

static int chopin_pg__param_array(chopin_pg__out *out, const chopin_pg_param *p, const chopin_pg__type *t, chopin_pg_error *e, chopin_pg__param_writer *write) {
    int32_t size[6];
    int     dims = 0, rc = chopin_pg__param_shape(p, size, &dims, 0, e);
    size_t  head = out->len;
    bool    nulls = false, empty = false;
    if (rc) return rc;
    for (int i = 0; i < dims; i++) empty = empty || size[i] == 0;
    chopin_pg__put_array_head(out, empty ? 0 : dims, size, NULL, t->part);
    if (empty) return 1;
    rc = chopin_pg__param_elements(out, p, dims, t->part, e, write, &nulls);
    if (nulls) chopin_pg__put_array_nulls(out, head);
    return rc;
}

static int chopin_pg__param_bounds(chopin_pg__out *out, const chopin_pg_param *p, const chopin_pg__type *t, chopin_pg_error *e, chopin_pg__param_writer *write) {
    unsigned flags = p->flags;
    size_t   mark = out->len;
    int      rc = 1;
    chopin_pg__put_u8(out, flags);
    for (size_t i = 0; i < 2 && rc > 0 && !(flags & CHOPIN_PG_EMPTY); i++) {
        chopin_pg_param bound = chopin_pg__param_item(p, i);
        if (bound.kind == CHOPIN_PG__P_NULL || chopin_pg__bound_missing(p, i)) flags |= (unsigned)CHOPIN_PG_LOWER_INF << i;
        else rc = chopin_pg__param_part(out, &bound, t->part, e, write);
    }
    if (!out->status) out->ptr[mark] = (uint8_t)flags;
    return rc;
}

static int chopin_pg__param_ranges(chopin_pg__out *out, const chopin_pg_param *p, const chopin_pg__type *t, chopin_pg_error *e, chopin_pg__param_writer *write) {
    bool nulls = false;
    chopin_pg__put_u32(out, (uint32_t)p->as.list.count);
    int rc = chopin_pg__param_elements(out, p, 1, t->part, e, write, &nulls);
    return nulls ? 0 : rc;
}

/* A value of a known type, by writers of single values and of parts. */
static int chopin_pg__param_binary_by(chopin_pg__out *out, const chopin_pg_param *p, uint32_t oid, chopin_pg_error *e, chopin_pg__param_writer *single, chopin_pg__param_writer *part) {
    const chopin_pg__type *t = chopin_pg__type_of(oid);
    if (!chopin_pg__param_is_list(p->kind)) return single(out, p, oid, e);
    bool multi = p->kind == CHOPIN_PG__P_MULTIRANGE;
    if (p->kind == CHOPIN_PG__P_RANGE) return t->kind == CHOPIN_PG__C_RANGE ? chopin_pg__param_bounds(out, p, t, e, part) : 0;
    if (multi) return t->kind == CHOPIN_PG__C_MULTIRANGE ? chopin_pg__param_ranges(out, p, t, e, part) : 0;
    if (t->kind != CHOPIN_PG__C_ARRAY || p->kind == CHOPIN_PG__P_RECORD || chopin_pg__type_of(t->part)->kind == CHOPIN_PG__C_ASK) return 0;
    return chopin_pg__param_array(out, p, t, e, part);
}

/* Text stays as it is where the type is text; elements of arrays must be binary all of them or none. */
static int chopin_pg__param_part_single(chopin_pg__out *out, const chopin_pg_param *p, uint32_t oid, chopin_pg_error *e) {
    if (p->kind != CHOPIN_PG__P_TEXT || chopin_pg__type_of(oid)->kind != CHOPIN_PG__C_TEXT) return chopin_pg__param_single(out, p, oid, e);
    chopin_pg__put_bytes(out, p->as.text.ptr, p->as.text.len);
    return 1;
}

/* Ranges and multiranges may stand inside of arrays, bounds inside of ranges; below them there are no lists. */
static int chopin_pg__param_part_range(chopin_pg__out *out, const chopin_pg_param *p, uint32_t oid, chopin_pg_error *e) {
    return chopin_pg__param_binary_by(out, p, oid, e, chopin_pg__param_part_single, chopin_pg__param_part_single);
}

static int chopin_pg__param_part_multirange(chopin_pg__out *out, const chopin_pg_param *p, uint32_t oid, chopin_pg_error *e) {
    return chopin_pg__param_binary_by(out, p, oid, e, chopin_pg__param_part_single, chopin_pg__param_part_range);
}

static int chopin_pg__param_binary(chopin_pg__out *out, const chopin_pg_param *p, uint32_t oid, chopin_pg_error *e) {
    return chopin_pg__param_binary_by(out, p, oid, e, chopin_pg__param_single, chopin_pg__param_part_multirange);
}

static int chopin_pg__param_end(chopin_pg__out *out, size_t mark, int rc, chopin_pg_error *e) {
    chopin_pg__put_length(out, mark);
    if (out->status == CHOPIN_PG_MEMORY) return chopin_pg__param_fail(e, CHOPIN_PG_MEMORY, "53200", "out of memory for the parameter", 0);
    if (out->status) return chopin_pg__param_fail(e, out->status, "54000", "the parameter is over 1 GiB", 0);
    return rc;
}

/* What most parameters are: integers that fit, and text. */
static inline bool chopin_pg__param_quick(const chopin_pg_param *p, uint32_t oid, chopin_pg__out *out) {
    if (p->kind != CHOPIN_PG__P_I64 || (oid != CHOPIN_PG__OID_INT4 && oid != CHOPIN_PG__OID_INT8)) return false;
    if (oid == CHOPIN_PG__OID_INT4 && (p->as.i64 < INT32_MIN || p->as.i64 > INT32_MAX)) return false;
    if (!chopin_pg__out_room(out, 12)) return false;
    uint8_t *to = out->ptr + out->len;
    out->len += oid == CHOPIN_PG__OID_INT4 ? 8 : 12;
    chopin_pg__store32(to, oid == CHOPIN_PG__OID_INT4 ? 4 : 8);
    if (oid == CHOPIN_PG__OID_INT4) chopin_pg__store32(to + 4, (uint32_t)((uint64_t)p->as.i64 & UINT32_MAX));
    else chopin_pg__store64(to + 4, (uint64_t)p->as.i64);
    return true;
}

/* Length and value into `out`. `oid` 0: the server's type is not known yet, text. Gives the format written (0 text, 1 binary), or a negative status with `e`
 * filled; `out` is of no use then. chopin_pg__param_check() comes first. */
static CHOPIN_PG__UNUSED int chopin_pg__param_encode(const chopin_pg_param *p, uint32_t oid, chopin_pg__out *out, chopin_pg_error *e) {
    if (p->kind == CHOPIN_PG__P_NULL) { chopin_pg__put_u32(out, UINT32_MAX); return out->status ? chopin_pg__param_end(out, 0, 0, e) : 0; }
    if (chopin_pg__param_quick(p, oid, out)) return 1;
    size_t mark = chopin_pg__put_mark(out);
    if (!oid) oid = chopin_pg__param_oid(p);
    int rc = oid && p->kind != CHOPIN_PG__P_TEXT ? chopin_pg__param_binary(out, p, oid, e) : 0;
    if (rc < 0) return rc;
    if (rc == 0 && !out->status) {
        out->len = mark + 4;
        chopin_pg__param_text(out, p);
    }
    return chopin_pg__param_end(out, mark, rc, e);
}

/* ---- always binary: COPY ---- */
static void *chopin_pg__arena_room(void *ctx, size_t n) { return chopin_pg__arena_alloc((chopin_pg__arena *)ctx, n); }

/* By way of its text, where there is no direct conversion. */
static int chopin_pg__param_through_text(chopin_pg__out *out, const chopin_pg_param *p, uint32_t oid, chopin_pg_error *e) {
    chopin_pg__arena arena = { 0 };
    chopin_pg__out   text = { .heap = out->heap, .limit = out->limit };
    chopin_pg__arena_init(&arena, out->heap, 0);
    chopin_pg__param_text(&text, p);
    chopin_pg__value v = chopin_pg__text_value(oid, chopin_pg__str(text.ptr, text.len));
    int rc = text.status ? text.status : chopin_pg__put_value(out, &v, &(chopin_pg__room){ chopin_pg__arena_room, &arena });
    chopin_pg__out_done(&text);
    chopin_pg__arena_free(&arena);
    if (rc == 0) return 1;
    if (rc == CHOPIN_PG_RANGE) return chopin_pg__param_range(e, oid);
    if (rc == CHOPIN_PG_MEMORY) return chopin_pg__param_fail(e, CHOPIN_PG_MEMORY, "53200", "out of memory for the parameter", 0);
    return chopin_pg__param_fail(e, CHOPIN_PG_TYPE, "22P02", "the value cannot be written as the column's type", oid);
}

/* The same as chopin_pg__param_encode, but never text: 1, or a negative status with `e` filled. Types that are not in our table take text as it is. */
static CHOPIN_PG__UNUSED int chopin_pg__param_copy(const chopin_pg_param *p, uint32_t oid, chopin_pg__out *out, chopin_pg_error *e) {
    if (p->kind == CHOPIN_PG__P_NULL) { chopin_pg__put_u32(out, UINT32_MAX); return out->status ? chopin_pg__param_end(out, 0, 0, e) : 1; }
    if (chopin_pg__param_quick(p, oid, out)) return 1;
    size_t mark = chopin_pg__put_mark(out);
    int rc = chopin_pg__param_binary(out, p, oid, e);
    if (rc == 0 && !out->status) {
        out->len = mark + 4;
        rc = chopin_pg__param_through_text(out, p, oid, e);
    }
    return rc < 0 ? rc : chopin_pg__param_end(out, mark, rc, e);
}

/* ---- constructors ---- */
CHOPIN_PG_API chopin_pg_param chopin_pg_as_bytes(const void *bytes, size_t count) { return chopin_pg__param_text_of(CHOPIN_PG__P_BYTES, bytes, count); }
CHOPIN_PG_API chopin_pg_param chopin_pg_as_json(chopin_str json) { return chopin_pg__param_text_of(CHOPIN_PG__P_TEXT, json.ptr, json.len); }
CHOPIN_PG_API chopin_pg_param chopin_pg_as_numeric(chopin_str text) { return chopin_pg__param_text_of(CHOPIN_PG__P_NUMERIC, text.ptr, text.len); }

CHOPIN_PG_API chopin_pg_param chopin_pg_as_decimal(int64_t unscaled, int scale) {
    chopin_pg_param p = { .kind = CHOPIN_PG__P_DECIMAL };
    p.as.decimal.unscaled = unscaled;
    p.as.decimal.scale    = scale;
    return p;
}

CHOPIN_PG_API chopin_pg_param chopin_pg_i32s(const int32_t *items, size_t count) { return chopin_pg__param_list_of(CHOPIN_PG__P_I32S, items, count); }
CHOPIN_PG_API chopin_pg_param chopin_pg_i64s(const int64_t *items, size_t count) { return chopin_pg__param_list_of(CHOPIN_PG__P_I64S, items, count); }
CHOPIN_PG_API chopin_pg_param chopin_pg_f64s(const double *items, size_t count) { return chopin_pg__param_list_of(CHOPIN_PG__P_F64S, items, count); }
CHOPIN_PG_API chopin_pg_param chopin_pg_bools(const bool *items, size_t count) { return chopin_pg__param_list_of(CHOPIN_PG__P_BOOLS, items, count); }
CHOPIN_PG_API chopin_pg_param chopin_pg_texts(const chopin_str *items, size_t count) { return chopin_pg__param_list_of(CHOPIN_PG__P_TEXTS, items, count); }
CHOPIN_PG_API chopin_pg_param chopin_pg_as_array(const chopin_pg_param *items, size_t count) { return chopin_pg__param_list_of(CHOPIN_PG__P_ARRAY, items, count); }
CHOPIN_PG_API chopin_pg_param chopin_pg_as_record(const chopin_pg_param *fields, size_t count) { return chopin_pg__param_list_of(CHOPIN_PG__P_RECORD, fields, count); }
CHOPIN_PG_API chopin_pg_param chopin_pg_as_multirange(const chopin_pg_param *ranges, size_t count) { return chopin_pg__param_list_of(CHOPIN_PG__P_MULTIRANGE, ranges, count); }

CHOPIN_PG_API chopin_pg_param chopin_pg_as_range(unsigned flags, const chopin_pg_param *bounds, size_t two) {
    chopin_pg_param p = chopin_pg__param_list_of(CHOPIN_PG__P_RANGE, bounds, two);
    p.flags = flags;
    return p;
}

/* ==========================================================================================================
   >>getters   a column as a C value; arrays, records and ranges as rows of their own
   Each getter is a conversion, and one way around it: no row, NULL and every failure give the fallback, and failures stick and name the column.
   ========================================================================================================== */

static void *chopin_pg__rows_take(void *rows, size_t n) { return chopin_pg__rows_room((chopin_pg_rows *)rows, n); }

/* Settings of the session that make text unreadable for us. */
static const char *chopin_pg__style_hint(const chopin_pg_rows *r, const chopin_pg__value *v) {
    int kind = chopin_pg__type_of(v->oid)->kind;
    if (v->binary) return "";
    if (kind == CHOPIN_PG__C_INTERVAL && r->session.interval_style == CHOPIN_PG__STYLE_VERBOSE) return "; set IntervalStyle to anything but postgres_verbose";
    bool date = kind == CHOPIN_PG__C_DATE || kind == CHOPIN_PG__C_STAMP || kind == CHOPIN_PG__C_STAMPTZ;
    return date && r->session.not_iso ? "; set DateStyle to ISO" : "";
}

/* The sticky error of one column. Texts never quote the value. */
static CHOPIN_PG__NOINLINE void chopin_pg__getter_fail(chopin_pg_rows *r, int column, const chopin_pg__value *v, int status, const char *wanted) {
    chopin_str  name = chopin_pg__column_label(r, column);
    const char *type = chopin_pg__type_name(v->oid);
    int         n = (int)chopin_pg__min(name.len, 64);
    switch (status) {
    case CHOPIN_PG_MEMORY: chopin_pg__rows_fail(r, status, "out of memory for column %d \"%.*s\"", column, n, name.ptr); break;
    case CHOPIN_PG_WAS_NULL:
        chopin_pg__rows_fail(r, status, "column %d \"%.*s\" (%s) is NULL (use chopin_pg_is_null or a getter with a default)", column, n, name.ptr, type);
        break;
    case CHOPIN_PG_RANGE:  chopin_pg__rows_fail(r, status, "column %d \"%.*s\" (%s): the value does not fit %s", column, n, name.ptr, type, wanted); break;
    case CHOPIN_PG_PROTOCOL: chopin_pg__rows_fail(r, status, "column %d \"%.*s\" (%s): the server sent a malformed value", column, n, name.ptr, type); break;
    default:
        chopin_pg__rows_fail(r, status, "column %d \"%.*s\" (%s) cannot be read as %s%s", column, n, name.ptr, type, wanted, chopin_pg__style_hint(r, v));
        break;
    }
}

/* ---- conversions: 0, or a status. `r` is for memory and settings ---- */
static inline int chopin_pg__as_bool(chopin_pg_rows *r, const chopin_pg__value *v, bool *out) {
    chopin_pg__scalar s;
    (void)r;
    int rc = chopin_pg__load_as(v, CHOPIN_PG__C_BOOL, &s);
    if (rc || s.kind != CHOPIN_PG__C_BOOL) return rc ? rc : CHOPIN_PG_TYPE;
    *out = s.as.boolean;
    return 0;
}

static inline int chopin_pg__as_i32(chopin_pg_rows *r, const chopin_pg__value *v, int32_t *out) {
    int64_t wide = 0;
    (void)r;
    if (v->binary && v->oid == CHOPIN_PG__OID_INT4 && v->len == 4) return *out = chopin_pg__signed32(chopin_pg__load32(v->ptr)), 0;      // elements of arrays
    int rc = chopin_pg__value_i64(v, INT32_MIN, INT32_MAX, &wide);
    *out = rc ? 0 : (int32_t)wide;
    return rc;
}

static inline int chopin_pg__as_i64(chopin_pg_rows *r, const chopin_pg__value *v, int64_t *out) {
    (void)r;
    if (v->binary && v->oid == CHOPIN_PG__OID_INT8 && v->len == 8) return *out = chopin_pg__signed64(chopin_pg__load64(v->ptr)), 0;
    return chopin_pg__value_i64(v, INT64_MIN, INT64_MAX, out);
}

static int chopin_pg__as_i16(chopin_pg_rows *r, const chopin_pg__value *v, int16_t *out) {
    int64_t wide = 0;
    (void)r;
    int rc = chopin_pg__value_i64(v, INT16_MIN, INT16_MAX, &wide);
    *out = rc ? 0 : (int16_t)wide;
    return rc;
}

static int chopin_pg__as_u32(chopin_pg_rows *r, const chopin_pg__value *v, uint32_t *out) {
    uint64_t wide = 0;
    (void)r;
    int rc = chopin_pg__value_u64(v, UINT32_MAX, &wide);
    *out = rc ? 0 : (uint32_t)wide;
    return rc;
}

/* Text of an LSN is no number, but the type says what it is. */
static int chopin_pg__as_u64(chopin_pg_rows *r, const chopin_pg__value *v, uint64_t *out) {
    (void)r;
    return chopin_pg__value_u64(v, UINT64_MAX, out);
}

static int chopin_pg__as_f32(chopin_pg_rows *r, const chopin_pg__value *v, float *out) { (void)r; return chopin_pg__value_f32(v, out); }

static inline int chopin_pg__as_f64(chopin_pg_rows *r, const chopin_pg__value *v, double *out) {
    (void)r;
    if (CHOPIN_PG__LIKELY(v->binary && v->oid == CHOPIN_PG__OID_FLOAT8 && v->len == 8)) {
        *out = chopin_pg__double_at(v->ptr);
        return 0;
    }
    return chopin_pg__value_f64(v, out);
}

static inline int chopin_pg__as_text(chopin_pg_rows *r, const chopin_pg__value *v, chopin_str *out) {
    if (CHOPIN_PG__UNLIKELY(r->session.not_utf8)) return chopin_pg__rows_fail(r, CHOPIN_PG_TYPE, "text cannot be read: client_encoding is not UTF8");
    if (v->oid == CHOPIN_PG__OID_TEXT) return *out = chopin_pg__value_str(v), 0;
    return chopin_pg__value_text(v, &(chopin_pg__room){ chopin_pg__rows_take, r }, out);
}

static int chopin_pg__as_json(chopin_pg_rows *r, const chopin_pg__value *v, chopin_str *out) {
    int kind = chopin_pg__type_of(v->oid)->kind;
    return kind == CHOPIN_PG__C_JSONB || chopin_pg__is_textual(v, kind) ? chopin_pg__as_text(r, v, out) : CHOPIN_PG_TYPE;
}

static int chopin_pg__as_bytes(chopin_pg_rows *r, const chopin_pg__value *v, chopin_str *out) {
    int kind = chopin_pg__type_of(v->oid)->kind;
    if (kind == CHOPIN_PG__C_BYTEA) return chopin_pg__value_bytea(v, &(chopin_pg__room){ chopin_pg__rows_take, r }, out);
    *out = chopin_pg__value_str(v);
    return kind == CHOPIN_PG__C_TEXT || kind == CHOPIN_PG__C_UNKNOWN || kind == CHOPIN_PG__C_ASK ? 0 : CHOPIN_PG_TYPE;
}

static int chopin_pg__as_uuid(chopin_pg_rows *r, const chopin_pg__value *v, chopin_uuid *out) {
    chopin_pg__scalar s;
    (void)r;
    int rc = chopin_pg__load_as(v, CHOPIN_PG__C_UUID, &s);
    if (rc || s.kind != CHOPIN_PG__C_UUID) return rc ? rc : CHOPIN_PG_TYPE;
    *out = s.as.uuid;
    return 0;
}

/* From 2000 to 1970; infinity stays. */
static int chopin_pg__time_from_2000(int64_t us, chopin_time *out) {
    out->us = us;
    if (us == INT64_MAX || us == INT64_MIN) return 0;
    return __builtin_add_overflow(us, CHOPIN_PG__EPOCH_US, &out->us) || out->us == INT64_MAX ? CHOPIN_PG_RANGE : 0;
}

static int chopin_pg__as_time(chopin_pg_rows *r, const chopin_pg__value *v, chopin_time *out) {
    chopin_pg__scalar s;
    int64_t us;
    (void)r;
    int rc = chopin_pg__load_as(v, CHOPIN_PG__C_STAMPTZ, &s);
    if (rc) return rc;
    if (s.kind == CHOPIN_PG__C_STAMP || s.kind == CHOPIN_PG__C_STAMPTZ) return chopin_pg__time_from_2000(s.as.i64, out);
    if (s.kind != CHOPIN_PG__C_DATE) return CHOPIN_PG_TYPE;
    bool infinite = s.as.days == INT32_MAX || s.as.days == INT32_MIN;
    if (infinite) { out->us = s.as.days < 0 ? INT64_MIN : INT64_MAX; return 0; }
    return __builtin_mul_overflow((int64_t)s.as.days, CHOPIN_PG__DAY_US, &us) ? CHOPIN_PG_RANGE : chopin_pg__time_from_2000(us, out);
}

static int chopin_pg__as_date(chopin_pg_rows *r, const chopin_pg__value *v, chopin_date *out) {
    chopin_pg__scalar s;
    (void)r;
    int rc = chopin_pg__load_as(v, CHOPIN_PG__C_DATE, &s);
    if (rc || s.kind != CHOPIN_PG__C_DATE) return rc ? rc : CHOPIN_PG_TYPE;
    out->days = s.as.days;
    if (s.as.days == INT32_MAX || s.as.days == INT32_MIN) return 0;
    return __builtin_add_overflow(s.as.days, CHOPIN_PG__EPOCH_DAYS, &out->days) || out->days == INT32_MAX ? CHOPIN_PG_RANGE : 0;
}

static int chopin_pg__as_clock(chopin_pg_rows *r, const chopin_pg__value *v, chopin_clock *out) {
    chopin_pg__scalar s;
    (void)r;
    if (chopin_pg__is_textual(v, chopin_pg__type_of(v->oid)->kind)) return chopin_pg__read_clock(chopin_pg__value_str(v), out);
    int rc = chopin_pg__load(v, &s);
    if (rc || (s.kind != CHOPIN_PG__C_TIME && s.kind != CHOPIN_PG__C_TIMETZ)) return rc ? rc : CHOPIN_PG_TYPE;
    *out = s.as.clock;
    return 0;
}

static int chopin_pg__as_interval(chopin_pg_rows *r, const chopin_pg__value *v, chopin_interval *out) {
    chopin_pg__scalar s;
    (void)r;
    int rc = chopin_pg__load_as(v, CHOPIN_PG__C_INTERVAL, &s);
    if (rc || s.kind != CHOPIN_PG__C_INTERVAL) return rc ? rc : CHOPIN_PG_TYPE;
    *out = s.as.interval;
    return 0;
}

/* A view of what the server wrote, or our own writing. */
static int chopin_pg__as_numeric(chopin_pg_rows *r, const chopin_pg__value *v, chopin_str *out) {
    chopin_pg__room    room = { chopin_pg__rows_take, r };
    chopin_pg__pen     pen = { .room = &room };
    chopin_pg__decimal d;
    char digits[48];
    int  rc = chopin_pg__value_decimal(v, digits, &d);
    if (rc) return rc;
    if (!v->binary && chopin_pg__type_of(v->oid)->kind == CHOPIN_PG__C_NUMERIC) { *out = chopin_pg__value_str(v); return 0; }
    chopin_pg__decimal_print(&pen, &d);
    *out = chopin_pg__str(pen.ptr, pen.len);
    return pen.failed ? CHOPIN_PG_MEMORY : 0;
}

static int chopin_pg__value_scaled(const chopin_pg__value *v, int scale, int64_t *out) {
    chopin_pg__decimal d;
    uint64_t amount;
    char     digits[48];
    int rc = chopin_pg__value_decimal(v, digits, &d);
    if (rc || (rc = chopin_pg__decimal_scaled(&d, scale, &amount)) != 0) return rc;
    return chopin_pg__signed_of(d.negative, amount, out);
}

static int chopin_pg__as_inet(chopin_pg_rows *r, const chopin_pg__value *v, chopin_inet *out) {
    chopin_pg__scalar s;
    (void)r;
    int rc = chopin_pg__load_as(v, CHOPIN_PG__C_INET, &s);
    if (rc || (s.kind != CHOPIN_PG__C_INET && s.kind != CHOPIN_PG__C_CIDR)) return rc ? rc : CHOPIN_PG_TYPE;
    *out = s.as.inet;
    return 0;
}

static int chopin_pg__as_mac(chopin_pg_rows *r, const chopin_pg__value *v, chopin_mac *out) {
    chopin_pg__scalar s;
    (void)r;
    if (chopin_pg__is_textual(v, chopin_pg__type_of(v->oid)->kind)) return chopin_pg__read_mac(chopin_pg__value_str(v), out);
    int rc = chopin_pg__load(v, &s);
    if (rc || (s.kind != CHOPIN_PG__C_MAC && s.kind != CHOPIN_PG__C_MAC8)) return rc ? rc : CHOPIN_PG_TYPE;
    *out = s.as.mac;
    return 0;
}

static int chopin_pg__as_bits(chopin_pg_rows *r, const chopin_pg__value *v, chopin_bits *out) {
    int kind = chopin_pg__type_of(v->oid)->kind;
    if (kind != CHOPIN_PG__C_BIT && !chopin_pg__is_textual(v, kind)) return CHOPIN_PG_TYPE;
    return chopin_pg__value_bits(v, &(chopin_pg__room){ chopin_pg__rows_take, r }, out);
}

/* The coordinates of a value; text of any type is taken as `kind`. */
static int chopin_pg__figure_in(const chopin_pg__value *v, int kind, chopin_pg__figure *f) {
    int own = chopin_pg__type_of(v->oid)->kind;
    chopin_pg__value text = *v;
    text.binary = false;
    if (chopin_pg__is_textual(v, own)) return chopin_pg__figure_of(&text, f, kind);
    return chopin_pg__is_figure(own) ? chopin_pg__figure_of(v, f, own) : CHOPIN_PG_TYPE;
}

static int chopin_pg__as_point(chopin_pg_rows *r, const chopin_pg__value *v, chopin_point *out) {
    chopin_pg__figure f;
    (void)r;
    int rc = chopin_pg__figure_in(v, CHOPIN_PG__C_POINT, &f);
    if (rc || f.kind != CHOPIN_PG__C_POINT) return rc ? rc : CHOPIN_PG_TYPE;
    out->x = chopin_pg__figure_next(&f);
    out->y = chopin_pg__figure_next(&f);
    return 0;
}

/* ---- the getters ---- */
CHOPIN_PG_API bool chopin_pg_is_null(chopin_pg_rows *r, int column) {
    chopin_pg__value v;
    return !r || chopin_pg__column(r, column, &v) != 0 || v.null;
}

/* Is this column of that type, in a row in hand that came in binary? Most calls are for one, and need no conversion. False: go the whole way, as for a NULL value,
 * which has no length. */
static inline bool chopin_pg__quick(const chopin_pg_rows *r, int column, uint32_t oid) {
    return (uint32_t)column < r->quick && r->object.status >= 0 && r->shape->column[column].oid == oid;
}

static inline bool chopin_pg__quick_i32(const chopin_pg_rows *r, int column, int32_t *out) {
    if (!chopin_pg__quick(r, column, CHOPIN_PG__OID_INT4) || r->cells[column].len != 4) return false;
    *out = chopin_pg__signed32(chopin_pg__load32(r->cells[column].ptr));
    return true;
}

static inline bool chopin_pg__quick_i64(const chopin_pg_rows *r, int column, int64_t *out) {
    if (!chopin_pg__quick(r, column, CHOPIN_PG__OID_INT8) || r->cells[column].len != 8) return false;
    *out = chopin_pg__signed64(chopin_pg__load64(r->cells[column].ptr));
    return true;
}

static inline bool chopin_pg__quick_text(const chopin_pg_rows *r, int column, chopin_str *out) {
    if (r->session.not_utf8 || !chopin_pg__quick(r, column, CHOPIN_PG__OID_TEXT) || r->cells[column].len == CHOPIN_PG__NULL) return false;
    *out = chopin_pg__str(r->cells[column].ptr, r->cells[column].len);
    return true;
}

/* Each one twice: NULL sticks, or gives what the caller says. A value of a failed conversion is never given out. The quick way stands outside of
 * the function that needs memory for a value: so it saves no registers. */
#define CHOPIN_PG__GETTER(name, type, wanted, quick)                                                                     \
    static CHOPIN_PG__NOINLINE type chopin_pg__getter_##name(chopin_pg_rows *r, int column, int null_is, type otherwise) {  \
        chopin_pg__value v;                                                                                              \
        type out = otherwise;                                                                                            \
        if (!r || chopin_pg__column(r, column, &v) != 0) return otherwise;                                               \
        int rc = v.null ? null_is : chopin_pg__as_##name(r, &v, &out);                                                   \
        if (CHOPIN_PG__LIKELY(rc == 0)) return out;                                                                      \
        chopin_pg__getter_fail(r, column, &v, rc, wanted);                                                               \
        return otherwise;                                                                                                \
    }                                                                                                                    \
    CHOPIN_PG_API type chopin_pg_##name(chopin_pg_rows *r, int column) {                                                 \
        type out, none;                                                                                                  \
        if (r && (quick)) return out;                                                                                    \
        memset(&none, 0, sizeof none);                                                                                   \
        return chopin_pg__getter_##name(r, column, CHOPIN_PG_WAS_NULL, none);                                               \
    }                                                                                                                    \
    CHOPIN_PG_API type chopin_pg_##name##_or(chopin_pg_rows *r, int column, type otherwise) {                            \
        type out = otherwise;                                                                                            \
        return r && (quick) ? out : chopin_pg__getter_##name(r, column, 0, otherwise);                                      \
    }
CHOPIN_PG__GETTER(bool,     bool,            "a bool", false)
CHOPIN_PG__GETTER(i16,      int16_t,         "an i16", false)
CHOPIN_PG__GETTER(i32,      int32_t,         "an i32", chopin_pg__quick_i32(r, column, &out))
CHOPIN_PG__GETTER(i64,      int64_t,         "an i64", chopin_pg__quick_i64(r, column, &out))
CHOPIN_PG__GETTER(u32,      uint32_t,        "a u32", false)
CHOPIN_PG__GETTER(u64,      uint64_t,        "a u64", false)
CHOPIN_PG__GETTER(f32,      float,           "an f32", false)
CHOPIN_PG__GETTER(f64,      double,          "an f64", false)
CHOPIN_PG__GETTER(text,     chopin_str,      "text", chopin_pg__quick_text(r, column, &out))
CHOPIN_PG__GETTER(json,     chopin_str,      "json", false)
CHOPIN_PG__GETTER(bytes,    chopin_str,      "bytes", false)
CHOPIN_PG__GETTER(uuid,     chopin_uuid,     "a uuid", false)
CHOPIN_PG__GETTER(time,     chopin_time,     "a time", false)
CHOPIN_PG__GETTER(date,     chopin_date,     "a date", false)
CHOPIN_PG__GETTER(clock,    chopin_clock,    "a clock", false)
CHOPIN_PG__GETTER(interval, chopin_interval, "an interval", false)
CHOPIN_PG__GETTER(numeric,  chopin_str,      "a numeric", false)
CHOPIN_PG__GETTER(inet,     chopin_inet,     "an inet", false)
CHOPIN_PG__GETTER(mac,      chopin_mac,      "a mac", false)
CHOPIN_PG__GETTER(bits,     chopin_bits,     "bits", false)
CHOPIN_PG__GETTER(point,    chopin_point,    "a point", false)
#undef CHOPIN_PG__GETTER

/* `null_is`: what NULL means here, an error or 0. */
static int64_t chopin_pg__get_decimal(chopin_pg_rows *r, int column, int scale, int null_is, int64_t otherwise) {
    chopin_pg__value v;
    int64_t out = otherwise;
    if (!r || chopin_pg__column(r, column, &v) != 0) return otherwise;
    int rc = v.null ? null_is : chopin_pg__value_scaled(&v, scale, &out);
    if (rc == 0) return out;
    chopin_pg__getter_fail(r, column, &v, rc, "a decimal of this scale");
    return otherwise;
}

CHOPIN_PG_API int64_t chopin_pg_decimal(chopin_pg_rows *r, int column, int scale) { return chopin_pg__get_decimal(r, column, scale, CHOPIN_PG_WAS_NULL, 0); }
CHOPIN_PG_API int64_t chopin_pg_decimal_or(chopin_pg_rows *r, int column, int scale, int64_t otherwise) { return chopin_pg__get_decimal(r, column, scale, 0, otherwise); }

CHOPIN_PG_API size_t chopin_pg_shape(chopin_pg_rows *r, int column, double *out, size_t cap) {
    chopin_pg__value  v;
    chopin_pg__figure f;
    if (!r || chopin_pg__column(r, column, &v) != 0) return 0;
    int rc = v.null ? CHOPIN_PG_WAS_NULL : chopin_pg__figure_in(&v, CHOPIN_PG__C_PATH, &f);
    if (rc) { chopin_pg__getter_fail(r, column, &v, rc, "coordinates"); return 0; }
    for (size_t i = 0; i < cap && i < f.count; i++) out[i] = chopin_pg__figure_next(&f);
    return f.count;
}

/* ---- values that are rows of their own ---- */
enum { CHOPIN_PG__FIELDS_MAX = 1664 };                                  // of one record: what a server can make

typedef struct chopin_pg__parts {
    chopin_pg__nest  nest;              // first: the rows know only this
    chopin_pg__walk  walk;
    chopin_pg__value part[2];
    int              column;
} chopin_pg__parts;

static int chopin_pg__parts_step(chopin_pg__nest *nest) {
    chopin_pg__parts *p = (chopin_pg__parts *)nest;
    chopin_pg__room   room = { chopin_pg__rows_take, nest->self };
    int rc = chopin_pg__walk_next(&p->walk, &room, p->part);
    nest->row = rc > 0 ? p->part : NULL;
    if (rc < 0) chopin_pg__getter_fail(nest->self->parent, p->column, &(chopin_pg__value){ .oid = p->walk.oid }, rc, "a list");
    return rc;
}

static int chopin_pg__parts_none(chopin_pg__nest *nest) { (void)nest; return 0; }

/* Rows without content, for the time being. NULL: no memory, and `r` says so. */
static chopin_pg__parts *chopin_pg__parts_new(chopin_pg_rows *r, int column) {
    chopin_pg_rows *rows = chopin_pg__rows_nested(r, column, sizeof(chopin_pg__parts));
    if (!rows) return NULL;
    chopin_pg__parts *p = (chopin_pg__parts *)rows->nest;
    p->nest.step = chopin_pg__parts_none;
    p->column = column;
    return p;
}

/* What kind of list a value is; negative: none. */
static int chopin_pg__list_kind(const chopin_pg__value *v) {
    int kind = chopin_pg__type_of(v->oid)->kind;
    if (kind == CHOPIN_PG__C_MULTIRANGE) return CHOPIN_PG__W_MULTIRANGE;
    return kind == CHOPIN_PG__C_ARRAY || chopin_pg__is_textual(v, kind) ? CHOPIN_PG__W_ARRAY : CHOPIN_PG_TYPE;
}

static chopin_pg_rows *chopin_pg__get_list(chopin_pg_rows *r, int column, bool pairs) {
    chopin_pg__value v;
    if (!r) return NULL;
    chopin_pg__parts *p = chopin_pg__parts_new(r, column);
    if (!p || chopin_pg__column(r, column, &v) != 0) return p ? p->nest.self : NULL;
    int kind = v.null ? CHOPIN_PG_WAS_NULL : pairs ? CHOPIN_PG__W_PAIRS : chopin_pg__list_kind(&v);
    if (pairs && kind >= 0 && !chopin_pg__is_textual(&v, chopin_pg__type_of(v.oid)->kind)) kind = CHOPIN_PG_TYPE;
    int rc = kind < 0 ? kind : chopin_pg__walk_open(&p->walk, &v, kind);
    if (rc) { chopin_pg__getter_fail(r, column, &v, rc, pairs ? "pairs" : "an array"); return p->nest.self; }
    p->nest.columns = pairs ? 2 : 1;
    p->nest.step = chopin_pg__parts_step;
    return p->nest.self;
}

CHOPIN_PG_API chopin_pg_rows *chopin_pg_array(chopin_pg_rows *r, int column) { return chopin_pg__get_list(r, column, false); }
CHOPIN_PG_API chopin_pg_rows *chopin_pg_pairs(chopin_pg_rows *r, int column) { return chopin_pg__get_list(r, column, true); }

CHOPIN_PG_API int chopin_pg_dims(chopin_pg_rows *r, int column, int32_t size[6], int32_t first[6]) {
    chopin_pg__value v;
    chopin_pg__walk  w;
    if (!r || chopin_pg__column(r, column, &v) != 0) return 0;
    int kind = v.null ? CHOPIN_PG_WAS_NULL : chopin_pg__list_kind(&v) == CHOPIN_PG__W_ARRAY ? CHOPIN_PG__W_ARRAY : CHOPIN_PG_TYPE;
    int rc = kind < 0 ? kind : chopin_pg__walk_open(&w, &v, kind);
    if (rc) { chopin_pg__getter_fail(r, column, &v, rc, "an array"); return 0; }
    for (int i = 0; i < w.dims; i++) {
        if (size) size[i] = w.size[i];
        if (first) first[i] = w.first[i];
    }
    return w.dims;
}

/* All fields of a record: counted first, then read into `fields`; `cap` is how many fit there. */
static int chopin_pg__record_fields(chopin_pg_rows *r, const chopin_pg__value *v, chopin_pg__value *fields, int cap) {
    chopin_pg__room  room = { chopin_pg__rows_take, r };
    chopin_pg__value ignored;
    chopin_pg__walk  w;
    int n = 0, rc = chopin_pg__walk_open(&w, v, CHOPIN_PG__W_RECORD);
    if (rc) return rc;
    while ((rc = chopin_pg__walk_next(&w, &room, n < cap ? &fields[n] : &ignored)) > 0) {
        if (++n > CHOPIN_PG__FIELDS_MAX) return CHOPIN_PG_PROTOCOL;
    }
    return rc ? rc : n;
}

CHOPIN_PG_API chopin_pg_rows *chopin_pg_record(chopin_pg_rows *r, int column) {
    chopin_pg__value v;
    if (!r) return NULL;
    chopin_pg__parts *p = chopin_pg__parts_new(r, column);
    if (!p || chopin_pg__column(r, column, &v) != 0) return p ? p->nest.self : NULL;
    int  kind = chopin_pg__type_of(v.oid)->kind;
    bool record = kind == CHOPIN_PG__C_RECORD || chopin_pg__is_textual(&v, kind);
    int  n = v.null ? CHOPIN_PG_WAS_NULL : record ? chopin_pg__record_fields(r, &v, NULL, 0) : CHOPIN_PG_TYPE;
    if (n < 0) { chopin_pg__getter_fail(r, column, &v, n, "a record"); return p->nest.self; }
    chopin_pg__value *fields = (chopin_pg__value *)chopin_pg__rows_room(r, (size_t)n * sizeof *fields + 1);
    if (!fields || chopin_pg__record_fields(r, &v, fields, n) != n) return p->nest.self;
    p->nest.row     = fields;
    p->nest.columns = n;
    return p->nest.self;
}

CHOPIN_PG_API chopin_pg_rows *chopin_pg_range(chopin_pg_rows *r, int column, unsigned *flags) {
    chopin_pg__value  v;
    chopin_pg__bounds b;
    if (flags) *flags = CHOPIN_PG_EMPTY;
    if (!r) return NULL;
    chopin_pg__parts *p = chopin_pg__parts_new(r, column);
    if (!p || chopin_pg__column(r, column, &v) != 0) return p ? p->nest.self : NULL;
    int  kind = chopin_pg__type_of(v.oid)->kind;
    bool range = kind == CHOPIN_PG__C_RANGE || chopin_pg__is_textual(&v, kind);
    int  rc = v.null ? CHOPIN_PG_WAS_NULL : range ? chopin_pg__range_of(&v, &(chopin_pg__room){ chopin_pg__rows_take, r }, &b) : CHOPIN_PG_TYPE;
    if (rc) { chopin_pg__getter_fail(r, column, &v, rc, "a range"); return p->nest.self; }
    if (flags) *flags = b.flags;
    p->part[0] = b.bound[0];
    p->part[1] = b.bound[1];
    p->nest.row     = p->part;
    p->nest.columns = 2;
    return p->nest.self;
}

/* ==========================================================================================================
   >>conn   one connection: blocks that are received into, bytes on their way out, and who of several fibers does the work
   Roles: the *writer* waits a turn, then sends all there is; the *reader* waits for the socket, receives once, dispatches, wakes the owners. A role is held
   only inside chopin_pg__drive(); who has to wait and finds both taken sleeps, and who leaves hands over (chopin_pg__pass()). A blocking program always
   finds the roles free, so there is one path for both; one query alone may take a shorter one (>>pool). What messages mean is the function pointer
   `message`, set by the rooms below.
   ========================================================================================================== */

#define CHOPIN_PG__BLOCK      ((size_t)64 * 1024 - sizeof(chopin_pg__block))
#define CHOPIN_PG__BLOCKS     32          // spare blocks kept by a pool
#define CHOPIN_PG__WARM       1024        // an unfinished message of so many bytes moves to the begin of its block
#define CHOPIN_PG__UNREAD_MAX ((size_t)1 << 20)
#define CHOPIN_PG__DEPTH_MAX  128         // statements in flight on a shared connection
#define CHOPIN_PG__OUT_MAX    ((size_t)256 * 1024)
#define CHOPIN_PG__KEEP_OUT   ((size_t)64 * 1024)    // an output buffer that grew beyond this is given back when it is empty

#define CHOPIN_PG__SALTED     4

/* Addresses of a name, kept a minute. */
typedef struct chopin_pg__known {
    char    host[128];
    int     count;
    int64_t until_ms;
    chopin_pg_address list[8];
} chopin_pg__known;

/* What all connections of a pool share. */
/* A text that was judged: it is UTF-8 without NUL and begins with no word that the gate knows. */
typedef struct chopin_pg__judged { uint64_t hash, id; uint32_t len; char text[236]; } chopin_pg__judged;

struct chopin_pg__core {
    chopin_pg_options   options;          // resolved; its texts live in `texts`
    chopin_pg__heap     heap;
    chopin_pg__arena    texts;
    chopin_pg__logger   log;
    bool                pooler;           // one was detected
    bool                swapped;          // the process that answers is not the one we logged in to: a pooler, of whatever kind
    bool                demoted;          // a primary has become read only
    bool                blocking;         // the default wait: nobody ever sleeps as a ticket
    uint64_t            random, hash_seed; // state of the small generator for jitter
    uint64_t            epoch;            // connections of an older one take no new work
    int64_t             now_ms;           // when somebody last asked for a connection at rest, or something was received: near enough for choosing one
    chopin_pg_counters  counters;
    chopin_pg__block   *spare_blocks;
    int                 spare_block_count;
    chopin_pg__span    *spare_spans;
    chopin_pg__waiter  *spare_waiters;
    chopin_pg_rows     *spare_rows;
    chopin_pg__dsn      dsn;
    chopin_pg__scram_cache salted[CHOPIN_PG__SALTED];      // one for each of the first hosts: a refill costs no PBKDF2
    chopin_pg__known    known[8];
    void               *tls_config;
    uint32_t            portals;          // names given so far
    chopin_pg__out      trace_line;       // scratch of the tracer
    uint64_t            judged_ids;       // given so far
    chopin_pg__judged   judged[8];        // short texts seen lately: comparing is cheaper than judging and hashing again
};

/* Somebody who waits inside one of our calls. Lives in the pool, not on the fiber's stack, so that the sweep of a dead fiber's scope can unlink it. */
struct chopin_pg__waiter {
    chopin_pg__waiter  *next, **list;     // list: the head of the list it is in; NULL: in none
    chopin_pg__waiter  *root_next;        // all of one scope
    chopin_pg          *root;
    chopin_pg__conn    *conn;             // whose roles it holds or where it sleeps
    chopin_pg_rows     *op;               // what it waits for, if that is a result
    chopin_pg__conn    *gift;             // what the pool handed over while it slept
    int                 ticket;
    int                 sleep_fd[2];      // a pipe that never has bytes: sleeping without a socket; -1: none
    bool                waiting;          // inside the wait hook: everything is consistent
    bool                in_line;          // counted among those who wait for an exclusive connection, even when its gift has come
    int64_t             since_ns;
};

typedef enum chopin_pg__stage {
    CHOPIN_PG__CLOSED, CHOPIN_PG__DIALING, CHOPIN_PG__SSL_ASKED, CHOPIN_PG__HANDSHAKE, CHOPIN_PG__LOGIN, CHOPIN_PG__SETTING_UP, CHOPIN_PG__READY, CHOPIN_PG__DEAD
} chopin_pg__stage;

/* One reported setting. */
typedef struct chopin_pg__setting {
    struct chopin_pg__setting *next;
    size_t     size;                      // of this allocation
    chopin_str name, value;
} chopin_pg__setting;

struct chopin_pg__conn {
    chopin_pg__core   *core;
    chopin_pg__conn   *next;              // in a list of the pool
    chopin_pg__object  fault;             // why it died; before that the last words of the server
    chopin_pg__stage   stage;
    int                fd, write_fd;      // write_fd: a second descriptor of the same socket, made when reader and writer both must wait
    void              *tls;
    bool               was_standby, shared, shunned, expired, dirty, pooler, secure, tls_wants_write, write_failed;
    // roles
    chopin_pg__waiter *reader, *writer, *sleepers;
    int                watchers;          // waiters that point here: it is not freed meanwhile
    chopin_pg         *touched_by;        // whose call is changing this connection right now
    // out: bytes [sent, out.len) of the buffer wait; out_base is the place of out.ptr[0] in everything ever written
    chopin_pg__out     out;
    size_t             sent;
    uint64_t           out_base, traced;  // traced: how far the tracer has come in everything written
    // in
    chopin_pg__block  *block;
    int              (*message)(chopin_pg__conn *k, const chopin_pg__frame *f, size_t from, size_t to);
    void             (*over)(chopin_pg__conn *k, chopin_pg_rows *r);                  // an operation has left the queue
    int              (*attempt_failed)(chopin_pg__conn *k);                           // while it is being made
    int              (*dial_step)(chopin_pg__conn *k, chopin_pg__waiter *w, int64_t deadline_ms);
    void             (*on_read_only)(chopin_pg__conn *k, chopin_pg_rows *r);                             // 25006: this is no primary any more
    // the queue of >>pipeline
    chopin_pg_rows    *head, *tail, *current;   // current: whose answers are coming
    int                depth, owned;      // operations in flight, and those somebody still waits for
    bool               idle_unsure;       // idle_since_ms is when its last query began: at worst it is looked at too early
    bool               cleared, outdated; // all prepared statements are gone; some may give something else now
    bool               skipping;          // after an E: nothing comes before the next Z
    char               state;             // of the last Z: I T E
    size_t             unread;            // bytes held by results in flight, if it is shared
    int64_t            head_since_ms;     // when the head became the head
    int64_t            stalled_since_ms;  // reading is paused since; 0: it is not
    chopin_pg__shape  *script_shape;      // of the simple query that is being answered
    // who it is
    chopin_pg__session session;
    chopin_pg__setting *settings;
    int                setting_count;
    bool               hot_standby, read_only;
    uint32_t           version, pid;      // version: of the protocol
    uint8_t            key[256];
    size_t             key_len;
    struct chopin_pg__cache *cache;
    // how it is being made
    struct chopin_pg__dial  *dial;
    int64_t            dial_deadline, dial_since_ms;
    // as a member of the pool
    chopin_pg         *holder;            // root handle that has it alone
    chopin_pg_rows    *copying;           // a COPY FROM STDIN is open: nothing else may be sent
    chopin_pg_rows    *keeper;            // the result or COPY that keeps it from going back
    char               holder_sql[128];
    int64_t            busy_since_ms, born_ms, dies_ms, idle_since_ms, clean_by_ms;
    uint64_t           epoch;
    int                host;              // where it is connected to: of the DSN, and its address
    chopin_pg_address  address;
    enum { CHOPIN_PG__BUSY, CHOPIN_PG__IDLE, CHOPIN_PG__CLEANING } place;   // exclusive ones: at work, free, on the way back
    struct chopin_pg__killer *killer;     // a cancel on its way (>>cancel)
    void             (*on_note)(void *ctx, uint32_t pid, chopin_str channel, chopin_str payload);
    void              *note_ctx;
};

/* A waiter is at work on `k` (NULL: on none any more). While it is, `k` is not freed. */
static void chopin_pg__waiter_at(chopin_pg__waiter *w, chopin_pg__conn *k) {
    if (w->conn == k) return;
    if (w->conn) w->conn->watchers--;
    if (k) k->watchers++;
    w->conn = k;
}

/* ---- spare parts ---- */
static chopin_pg__block *chopin_pg__block_new(chopin_pg__core *c, size_t cap) {
    chopin_pg__block *b = cap == CHOPIN_PG__BLOCK ? c->spare_blocks : NULL;
    if (b) {
        c->spare_blocks = b->next;
        c->spare_block_count--;
    } else {
        b = cap > SIZE_MAX - sizeof *b ? NULL : (chopin_pg__block *)chopin_pg__alloc(&c->heap, sizeof *b + cap);
    }
    if (!b) return NULL;
    b->next = NULL;
    b->refs = 1;
    b->cap  = cap;
    b->from = b->to = 0;
    return b;
}

static void chopin_pg__block_drop(chopin_pg__core *c, chopin_pg__block *b) {
    if (!b || --b->refs > 0) return;
    if (b->cap == CHOPIN_PG__BLOCK && c->spare_block_count < CHOPIN_PG__BLOCKS) {
        b->next = c->spare_blocks;
        c->spare_blocks = b;
        c->spare_block_count++;
    } else {
        chopin_pg__release(&c->heap, b, sizeof *b + b->cap);
    }
}

static chopin_pg__span *chopin_pg__span_new(chopin_pg__core *c) {
    chopin_pg__span *s = c->spare_spans;
    if (s) c->spare_spans = s->next;
    return s ? s : (chopin_pg__span *)chopin_pg__alloc(&c->heap, sizeof *s);
}

static void chopin_pg__span_free(chopin_pg__core *c, chopin_pg__span *s) {
    chopin_pg__block_drop(c, s->block);
    s->next = c->spare_spans;
    c->spare_spans = s;
}

/* Gives back all bytes a result holds. */
static void chopin_pg__rows_drop_bytes(chopin_pg__core *c, chopin_pg_rows *r) {
    if (!r->last) return;
    for (chopin_pg__span *s = r->first.next, *next; s; s = next) {
        next = s->next;
        chopin_pg__span_free(c, s);
    }
    chopin_pg__block_drop(c, r->first.block);
    r->last  = NULL;
    r->first = (chopin_pg__span){ .next = NULL };
    if (r->counted) r->conn->unread -= r->unread;
    r->unread = 0;
}

/* Bytes [from, to) of block `b` belong to `r`: one span grows as long as they follow each other. False: no memory. */
static inline bool chopin_pg__rows_take_bytes(chopin_pg__core *c, chopin_pg_rows *r, chopin_pg__block *b, size_t from, size_t to) {
    if (!r->last || r->last->block != b || r->last->to != from) {
        chopin_pg__span *s = r->last ? chopin_pg__span_new(c) : &r->first;
        if (!s) return false;
        *s = (chopin_pg__span){ NULL, b, from, from };
        b->refs++;
        if (r->last) r->last->next = s;
        r->last = s;
    }
    r->last->to = to;
    r->unread += to - from;
    if (r->counted) r->conn->unread += to - from;
    return true;
}

/* ---- waiting ---- */
static int chopin_pg__poll(void *ctx, int fd, int events, int64_t deadline_ms) {
    (void)ctx;
    struct pollfd p = { .fd = fd, .events = (short)((events & CHOPIN_PG_READ ? POLLIN : 0) | (events & CHOPIN_PG_WRITE ? POLLOUT : 0)) };
    if (!(events & (CHOPIN_PG_READ | CHOPIN_PG_WRITE))) return 0;
    for (;;) {
        int64_t left = deadline_ms < 0 ? -1 : deadline_ms - chopin_pg__clock_ms();
        int n = CHOPIN_PG__SYS_POLL(&p, 1, deadline_ms < 0 ? -1 : left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return CHOPIN_PG_CONNECT;
        if (n == 0 && (deadline_ms < 0 || chopin_pg__clock_ms() < deadline_ms)) continue;
        return ((p.revents & ~POLLOUT ? CHOPIN_PG_READ : 0) | (p.revents & ~POLLIN ? CHOPIN_PG_WRITE : 0)) & events;
    }
}

static bool chopin_pg__late(int64_t deadline_ms) { return deadline_ms >= 0 && chopin_pg__clock_ms() >= deadline_ms; }

/* The hook, and nothing of ours is half done meanwhile. >0 ready, 0 the deadline really is over, <0 give up. */
static int chopin_pg__wait(chopin_pg__core *c, chopin_pg__waiter *w, int fd, int events, int64_t deadline_ms) {
    for (;;) {
        w->waiting = true;
        int rc = c->options.wait(c->options.wait_ctx, fd, events, deadline_ms);
        w->waiting = false;
        if (rc != 0 || (events & (CHOPIN_PG_TURN | CHOPIN_PG_WAKE | CHOPIN_PG_TICKET)) || chopin_pg__late(deadline_ms)) return rc;
        if ((events & CHOPIN_PG_PARK) && c->blocking) return 0;
    }
}

static void chopin_pg__waiter_unlink(chopin_pg__waiter *w) {
    for (chopin_pg__waiter **at = w->list; at && *at; at = &(*at)->next) {
        if (*at != w) continue;
        *at = w->next;
        break;
    }
    w->next = NULL;
    w->list = NULL;
}

/* Lists of sleepers are first in, first out. */
static void chopin_pg__waiter_link(chopin_pg__waiter *w, chopin_pg__waiter **list) {
    chopin_pg__waiter **at = list;
    while (*at) at = &(*at)->next;
    *at = w;
    w->next = NULL;
    w->list = list;
}

static void chopin_pg__wake(chopin_pg__core *c, chopin_pg__waiter *w) {
    if (!w || !w->list) return;
    chopin_pg__waiter_unlink(w);
    c->options.wait(c->options.wait_ctx, w->ticket, CHOPIN_PG_WAKE, -1);
}

/* Sleeps in `list` until woken. >0 woken, 0 deadline, <0 give up. */
static int chopin_pg__sleep_in(chopin_pg__core *c, chopin_pg__waiter *w, chopin_pg__waiter **list, int64_t deadline_ms) {
    int ticket = c->options.wait(c->options.wait_ctx, -1, CHOPIN_PG_TICKET, -1);
    if (ticket < 0) return ticket;
    w->ticket = ticket;
    chopin_pg__waiter_link(w, list);
    w->waiting = true;
    int rc = c->options.wait(c->options.wait_ctx, ticket, CHOPIN_PG_PARK, deadline_ms);
    w->waiting = false;
    bool woken = !w->list;
    chopin_pg__waiter_unlink(w);
    return rc < 0 ? rc : woken || rc > 0 ? 1 : 0;
}

static void chopin_pg__sleep_done(chopin_pg__waiter *w) {
    for (int i = 0; i < 2; i++) {
        if (w->sleep_fd[i] >= 0) CHOPIN_PG__SYS_CLOSE(w->sleep_fd[i]);
        w->sleep_fd[i] = -1;
    }
}

/* Nothing but time passes. 0 when it has, <0 give up. */
static int chopin_pg__sleep(chopin_pg__core *c, chopin_pg__waiter *w, int64_t until_ms) {
    if (CHOPIN_PG__SYS_PIPE(w->sleep_fd) < 0) return CHOPIN_PG_CONNECT;
    int rc = chopin_pg__wait(c, w, w->sleep_fd[0], CHOPIN_PG_READ, until_ms);
    chopin_pg__sleep_done(w);
    return rc < 0 ? rc : 0;
}

/* ---- the end of a connection ---- */
static void chopin_pg__conn_shut(chopin_pg__conn *k) {
    if (k->tls) k->core->options.tls->close(k->tls);
    if (k->write_fd >= 0) CHOPIN_PG__SYS_CLOSE(k->write_fd);
    if (k->fd >= 0) CHOPIN_PG__SYS_CLOSE(k->fd);
    k->tls = NULL;
    k->fd = k->write_fd = -1;
    chopin_pg__out_done(&k->out);
    k->out.status = 0;
    k->sent = 0;
    chopin_pg__block_drop(k->core, k->block);
    k->block = NULL;
}

/* Takes the head out of the queue. Who it belongs to finds it OVER. */
static chopin_pg_rows *chopin_pg__queue_pop(chopin_pg__conn *k) {
    chopin_pg_rows *r = k->head;
    k->head = r->behind;
    if (!k->head) k->tail = NULL;
    k->depth--;
    if (r->handle) k->owned--;
    r->behind = NULL;
    r->phase  = CHOPIN_PG__OVER;
    if (r->counted) k->unread -= r->unread;
    r->counted = false;
    k->head_since_ms = 0;
    return r;
}

/* The connection broke. What had not left goes out again elsewhere; of the rest nobody knows. `first`: its answer was the one that made no sense. */
static void chopin_pg__queue_lose(chopin_pg__conn *k, chopin_pg_rows *r, bool first) {
    const char *why = chopin_pg__object_shown(&k->fault)->why;
    bool answered = r->bound || r->received;                  // although it has not left: by a server that guesses
    if (r->out_from >= k->out_base + k->sent && !answered) r->redo = true;
    else if (first && k->fault.status == CHOPIN_PG_PROTOCOL && !r->object.status) {
        chopin_pg__object_fail(&r->object, CHOPIN_PG_PROTOCOL, "%s", why);
        if (r->object.error) r->object.error->retry = CHOPIN_PG_RETRY_UNKNOWN;
    }
    else chopin_pg__object_fail(&r->object, CHOPIN_PG_LOST, "the connection was lost before the answer came: %s", why);
    if (r->object.error && r->object.status == CHOPIN_PG_LOST && !r->object.error->sqlstate[0] && k->fault.error) {
        memcpy(r->object.error->sqlstate, k->fault.error->sqlstate, sizeof r->object.error->sqlstate);
    }
}

/* Nothing more will come. The socket is only shut down: a fiber may wait for it, and then finds it readable; the pool closes it when nobody does. */
static CHOPIN_PG__COLD int CHOPIN_PG__PRINTF(3, 4) chopin_pg__conn_break(chopin_pg__conn *k, int status, const char *format, ...) {
    if (k->stage == CHOPIN_PG__DEAD) return k->fault.status;
    va_list args;
    va_start(args, format);
    chopin_pg__object_vfail(&k->fault, status, format, args);
    va_end(args);
    if (k->attempt_failed) return k->attempt_failed(k);       // not a connection yet: another address may do
    k->stage = CHOPIN_PG__DEAD;
    if (k->fd >= 0) CHOPIN_PG__SYS_SHUTDOWN(k->fd, SHUT_RDWR);
    k->current = NULL;
    for (bool first = true; k->head; first = false) {
        chopin_pg__queue_lose(k, k->head, first);
        chopin_pg_rows *r = chopin_pg__queue_pop(k);
        chopin_pg__wake(k->core, r->waiter);
        k->over(k, r);
    }
    while (k->sleepers) chopin_pg__wake(k->core, k->sleepers);
    return k->fault.status;
}

/* ---- bytes out ---- */
enum { CHOPIN_PG__IO_AGAIN = 0, CHOPIN_PG__IO_EOF = -1, CHOPIN_PG__IO_FAILED = -2 };

static ptrdiff_t chopin_pg__io_tls(chopin_pg__conn *k, ptrdiff_t n) {
    k->tls_wants_write = n == CHOPIN_PG_TLS_WANT_WRITE;
    if (n > 0) return n;
    if (n == CHOPIN_PG_TLS_WANT_READ || n == CHOPIN_PG_TLS_WANT_WRITE) return CHOPIN_PG__IO_AGAIN;
    return n == 0 ? CHOPIN_PG__IO_EOF : CHOPIN_PG__IO_FAILED;
}

static ptrdiff_t chopin_pg__io_send(chopin_pg__conn *k, const uint8_t *bytes, size_t n) {
    k->core->counters.sends++;
    if (k->tls) return chopin_pg__io_tls(k, k->core->options.tls->write(k->tls, bytes, n));
    for (;;) {
        ssize_t rc = CHOPIN_PG__SYS_SEND(k->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (rc >= 0) return rc;
        if (errno == EAGAIN || errno == EWOULDBLOCK) return CHOPIN_PG__IO_AGAIN;
        if (errno != EINTR) return CHOPIN_PG__IO_FAILED;
    }
}

/* `block`: the socket may make us wait, because nobody else could do anything meanwhile. */
static ptrdiff_t chopin_pg__io_recv(chopin_pg__conn *k, uint8_t *out, size_t n, bool block) {
    k->core->counters.receives++;
    if (k->tls) return chopin_pg__io_tls(k, k->core->options.tls->read(k->tls, out, n));
    for (;;) {
        ssize_t rc = CHOPIN_PG__SYS_RECV(k->fd, out, n, block ? 0 : MSG_DONTWAIT);
        if (rc > 0) return rc;
        if (rc == 0) return CHOPIN_PG__IO_EOF;
        if (errno == EAGAIN || errno == EWOULDBLOCK) return CHOPIN_PG__IO_AGAIN;
        if (errno != EINTR) return CHOPIN_PG__IO_FAILED;
    }
}

static size_t chopin_pg__out_waiting(const chopin_pg__conn *k) { return k->out.len - k->sent; }

static void chopin_pg__out_left(chopin_pg__conn *k, size_t n) {
    k->sent += n;
    k->core->counters.bytes_out += n;
    if (k->sent < k->out.len) return;
    k->out_base += k->sent;
    k->out.len = k->sent = 0;
    if (k->out.cap > CHOPIN_PG__KEEP_OUT) chopin_pg__out_done(&k->out);
}

/* Messages that stand whole in the output and have not been traced. Nothing is before the login, whose first messages have no type. */
static void chopin_pg__trace_out(chopin_pg__conn *k) {
    if (k->stage < CHOPIN_PG__LOGIN) return;
    for (;;) {
        if (k->traced < k->out_base) k->traced = k->out_base;
        size_t at = (size_t)(k->traced - k->out_base), have = k->out.len - at;
        if (at >= k->out.len || have < 5) return;
        uint32_t len = chopin_pg__load32(k->out.ptr + at + 1);
        if (len < 4 || have - 1 < len) return;
        chopin_pg__frame f = { k->out.ptr + at + 5, len - 4, k->out.ptr[at] };
        chopin_pg__trace(&k->core->trace_line, k->core->options.trace, k->core->options.trace_ctx, 'F', &f);
        k->traced += (uint64_t)len + 1;
    }
}

/* Sends what it can without waiting. 1: all has left; 0: the socket is full; <0: broken. A peer that closed may have said why: reading will find out. */
static int chopin_pg__flush(chopin_pg__conn *k) {
    if (k->core->options.trace) chopin_pg__trace_out(k);
    while (chopin_pg__out_waiting(k) > 0) {
        ptrdiff_t n = chopin_pg__io_send(k, k->out.ptr + k->sent, chopin_pg__min(chopin_pg__out_waiting(k), (size_t)1 << 20));
        if (n == CHOPIN_PG__IO_AGAIN) return 0;
        if (n < 0) return k->write_failed = true, -1;
        chopin_pg__out_left(k, (size_t)n);
    }
    return 1;
}

/* ---- bytes in ---- */

/* Room behind what has arrived. What is incomplete moves if that is little, or must: nobody else points into it, but others point into its block. */
static bool chopin_pg__in_room(chopin_pg__conn *k) {
    chopin_pg__block *b = k->block;
    if (!b) return (k->block = chopin_pg__block_new(k->core, CHOPIN_PG__BLOCK)) != NULL;
    size_t have = b->to - b->from, want = chopin_pg__frame_size(b->data + b->from, have);
    if (b->refs == 1 && have <= CHOPIN_PG__WARM && have <= b->from) {          // to its begin, which the processor still has at hand
        memcpy(b->data, b->data + b->from, have);
        b->from = 0;
        b->to   = have;
    }
    if (b->cap - b->to >= b->cap / 4 && want <= b->cap - b->from) return true;
    if (b->refs == 1 && want <= b->cap && b->from > b->cap / 4) {
        memmove(b->data, b->data + b->from, have);
        b->from = 0;
        b->to   = have;
        return true;
    }
    if (b->refs == 1 && b->from == 0 && b->to < b->cap) return true;           // a long message: fill what there is before growing
    size_t cap = have < CHOPIN_PG__BLOCK / 2 ? CHOPIN_PG__BLOCK : chopin_pg__min(have * 2, chopin_pg__max(want, have + 1));
    chopin_pg__block *fresh = chopin_pg__block_new(k->core, chopin_pg__max(cap, CHOPIN_PG__BLOCK));
    if (!fresh) return false;
    memcpy(fresh->data, b->data + b->from, have);
    fresh->to = have;
    chopin_pg__block_drop(k->core, b);
    k->block = fresh;
    return true;
}

static const char *chopin_pg__frame_fault(int64_t rc) {
    return rc == CHOPIN_PG__FRAME_LONG ? "the server announced a message that is too long (raise chopin_pg_options.max_message)"
         : rc == CHOPIN_PG__FRAME_UNKNOWN ? "the server sent a message of unknown type" : "the server sent a message of impossible length";
}

/* Every complete message that has arrived goes to the room that knows what it means. */
static int chopin_pg__dispatch(chopin_pg__conn *k) {
    chopin_pg__frame f;
    while (k->stage != CHOPIN_PG__DEAD && k->block) {
        chopin_pg__block *b = k->block;
        int64_t n = chopin_pg__frame_read(b->data + b->from, b->to - b->from, k->core->options.max_message, &f);
        if (n == 0) return 0;
        if (n < 0) return chopin_pg__conn_break(k, CHOPIN_PG_PROTOCOL, "%s", chopin_pg__frame_fault(n));
        size_t from = b->from;
        b->from += (size_t)n;
        if (k->core->options.trace) chopin_pg__trace(&k->core->trace_line, k->core->options.trace, k->core->options.trace_ctx, 'B', &f);
        if (k->message(k, &f, from, b->from) < 0) return k->fault.status;
    }
    return 0;
}

/* The socket is at its end or broken: its last words, if there were any, are the reason. */
static int chopin_pg__conn_eof(chopin_pg__conn *k, ptrdiff_t n) {
    const char *what = n == CHOPIN_PG__IO_EOF ? "the server closed the connection" : strerror(errno);
    if (k->fault.error && k->fault.error->why) {
        int status = k->stage == CHOPIN_PG__READY ? CHOPIN_PG_CONNECT : k->fault.error->status;
        k->fault.status = status < 0 ? status : CHOPIN_PG_CONNECT;
    }
    return chopin_pg__conn_break(k, CHOPIN_PG_CONNECT, "%s", what);
}

/* One recv, or for TLS as many as give bytes without the socket. 1: something came; 0: nothing; <0: broken. */
static int chopin_pg__receive(chopin_pg__conn *k, bool block) {
    for (int got = 0;; got = 1) {
        if (!chopin_pg__in_room(k)) return chopin_pg__conn_break(k, CHOPIN_PG_MEMORY, "out of memory for received bytes");
        chopin_pg__block *b = k->block;
        ptrdiff_t n = chopin_pg__io_recv(k, b->data + b->to, b->cap - b->to, block);
        if (n == CHOPIN_PG__IO_AGAIN) return got;
        if (n < 0) return chopin_pg__conn_eof(k, n);
        k->core->counters.bytes_in += (uint64_t)n;
        k->core->now_ms = chopin_pg__clock_near_ms();
        b->to += (size_t)n;
        if (chopin_pg__dispatch(k) < 0) return -1;
        if (!k->tls || !k->core->options.tls->pending(k->tls)) return 1;
    }
}

/* ---- roles ---- */

/* Somebody leaves: if there is work and nobody at it, one of those who sleep takes over. */
static void chopin_pg__pass(chopin_pg__conn *k) {
    bool write = chopin_pg__out_waiting(k) > 0 && !k->writer;
    if ((write || !k->reader) && k->sleepers) chopin_pg__wake(k->core, k->sleepers);
}

static bool chopin_pg__usable(const chopin_pg__conn *k) { return k->stage != CHOPIN_PG__DEAD; }

/* The reader's turn: wait for the socket, receive once. `also`: WRITE when bytes wait to leave and we hold that role too. */
static int chopin_pg__drive_read(chopin_pg__conn *k, chopin_pg__waiter *w, int also, int64_t deadline_ms) {
    bool ready = k->tls && k->core->options.tls->pending(k->tls);
    bool block = k->core->blocking && !k->tls && deadline_ms < 0 && !also && k->stage == CHOPIN_PG__READY;
    int  rc = CHOPIN_PG_READ;
    k->reader = w;
    if (!ready && !block) rc = chopin_pg__wait(k->core, w, k->fd, CHOPIN_PG_READ | also | (k->tls_wants_write ? CHOPIN_PG_WRITE : 0), deadline_ms);
    k->reader = NULL;
    if (rc <= 0) return rc;
    if (chopin_pg__usable(k) && rc & (CHOPIN_PG_READ | (k->tls_wants_write ? CHOPIN_PG_WRITE : 0))) chopin_pg__receive(k, block);
    return 1;
}

/* The socket is full. Alone: wait for both directions, or both sides could be full and wait for ever. With a reader at work: wait on a second descriptor. */
static int chopin_pg__drive_full(chopin_pg__conn *k, chopin_pg__waiter *w, int64_t deadline_ms) {
    if (!k->reader) return chopin_pg__drive_read(k, w, CHOPIN_PG_WRITE, deadline_ms);
    if (k->write_fd < 0) k->write_fd = CHOPIN_PG__SYS_FCNTL(k->fd, F_DUPFD_CLOEXEC, 0);
    if (k->write_fd < 0) return chopin_pg__conn_break(k, CHOPIN_PG_CONNECT, "no descriptor for a second waiter: %s", strerror(errno)), 1;
    int rc = chopin_pg__wait(k->core, w, k->write_fd, CHOPIN_PG_WRITE, deadline_ms);
    return rc > 0 ? 1 : rc;
}

/* The peer does not take bytes any more, but what it said last may still be there to read. */
static int chopin_pg__drive_failed(chopin_pg__conn *k) {
    int reason = errno;
    while (chopin_pg__usable(k) && chopin_pg__receive(k, false) > 0) {}
    chopin_pg__conn_break(k, CHOPIN_PG_CONNECT, "cannot send: %s", strerror(reason));
    return 1;
}

/* The writer's turn. Everybody who has something to send gets the chance to put it into the buffer first. */
static int chopin_pg__drive_write(chopin_pg__conn *k, chopin_pg__waiter *w, int64_t deadline_ms) {
    int sent = 0, rc = 1;
    k->writer = w;
    if (!k->core->blocking && k->stage == CHOPIN_PG__READY) rc = chopin_pg__wait(k->core, w, -1, CHOPIN_PG_TURN, deadline_ms);
    if (rc == 0) rc = 1;
    while (rc > 0 && chopin_pg__usable(k) && (sent = chopin_pg__flush(k)) == 0) rc = chopin_pg__drive_full(k, w, deadline_ms);
    k->writer = NULL;
    return sent < 0 ? chopin_pg__drive_failed(k) : rc;
}

/* The result that holds most of the bytes nobody reads. */
static chopin_pg_rows *chopin_pg__stalled(chopin_pg__conn *k) {
    chopin_pg_rows *most = k->head;
    for (chopin_pg_rows *r = k->head; r; r = r->behind) if (r->unread > most->unread) most = r;
    return most;
}

/* Reading is paused while much lies unread that is not ours. After stall_ms the slow one loses its result, for the sake of all others. */
static int chopin_pg__drive_paused(chopin_pg__conn *k, chopin_pg__waiter *w, int64_t deadline_ms) {
    if (!k->stalled_since_ms) k->stalled_since_ms = chopin_pg__clock_ms();
    int64_t until = k->stalled_since_ms + k->core->options.stall_ms;
    if (chopin_pg__late(until)) {
        chopin_pg_rows *r = chopin_pg__stalled(k);
        chopin_pg__rows_drop_bytes(k->core, r);
        r->drop = true;
        chopin_pg__object_fail(&r->object, CHOPIN_PG_TIMEOUT, "its rows lay unread for %d ms and held up a shared connection (use chopin_pg_stream)", k->core->options.stall_ms);
        k->stalled_since_ms = 0;
        return 1;
    }
    int rc = chopin_pg__sleep_in(k->core, w, &k->sleepers, chopin_pg__sooner(deadline_ms, until));
    return rc == 0 && !chopin_pg__late(deadline_ms) ? 1 : rc;
}

static bool chopin_pg__paused(chopin_pg__conn *k, const chopin_pg__waiter *w) {
    if (!k->shared || k->core->blocking || k->unread <= CHOPIN_PG__UNREAD_MAX) return false;
    bool others = k->unread - (w->op && w->op->conn == k ? w->op->unread : 0) > CHOPIN_PG__UNREAD_MAX;
    if (!others) k->stalled_since_ms = 0;
    return others;
}

/* One step towards whatever `w` waits for: as writer, as reader, or asleep. 1: look again; 0: the deadline; <0: give up. */
static int chopin_pg__drive(chopin_pg__conn *k, chopin_pg__waiter *w, int64_t deadline_ms) {
    chopin_pg__waiter_at(w, k);
    if (!chopin_pg__usable(k)) return 1;
    if (k->stage != CHOPIN_PG__READY) return k->reader ? chopin_pg__sleep_in(k->core, w, &k->sleepers, deadline_ms) : k->dial_step(k, w, deadline_ms);
    if (chopin_pg__out_waiting(k) > 0 && !k->writer) return chopin_pg__drive_write(k, w, deadline_ms);
    if (chopin_pg__paused(k, w))                     return chopin_pg__drive_paused(k, w, deadline_ms);
    if (!k->reader)                                  return chopin_pg__drive_read(k, w, 0, deadline_ms);
    return chopin_pg__sleep_in(k->core, w, &k->sleepers, deadline_ms);
}

/* Until `done(arg)`, the end of the connection, or the deadline. 1: done or dead; 0: the deadline; <0: give up. */
static int chopin_pg__drive_until(chopin_pg__conn *k, chopin_pg__waiter *w, int64_t deadline_ms, bool (*done)(const void *arg), const void *arg) {
    int rc = 1;
    chopin_pg__waiter_at(w, k);
    while (rc > 0 && !done(arg) && chopin_pg__usable(k)) rc = chopin_pg__drive(k, w, deadline_ms);
    bool is_done = done(arg);
    chopin_pg__pass(k);
    chopin_pg__waiter_at(w, NULL);
    return is_done ? 1 : rc;
}

/* ---- born and buried ---- */
static chopin_pg__conn *chopin_pg__conn_new(chopin_pg__core *c) {
    chopin_pg__conn *k = (chopin_pg__conn *)chopin_pg__alloc_zero(&c->heap, sizeof *k);
    if (!k) return NULL;
    k->core     = c;
    k->fault    = (chopin_pg__object){ .kind = CHOPIN_PG__PIN, .heap = &c->heap };
    k->out.heap = &c->heap;
    k->fd       = k->write_fd = -1;
    k->state    = 'I';
    k->version  = 0x30000;
    k->epoch    = c->epoch;
    k->born_ms  = chopin_pg__clock_ms();
    return k;
}

static bool chopin_pg__conn_in_use(const chopin_pg__conn *k) { return k->reader || k->writer || k->sleepers || k->watchers; }

static void chopin_pg__settings_free(chopin_pg__conn *k) {
    while (k->settings) {
        chopin_pg__setting *s = k->settings;
        k->settings = s->next;
        chopin_pg__release(&k->core->heap, s, s->size);
    }
}

static void chopin_pg__conn_free(chopin_pg__conn *k) {
    chopin_pg__conn_shut(k);
    chopin_pg__settings_free(k);
    chopin_pg__shape_drop(&k->core->heap, k->script_shape);
    chopin_pg__object_done(&k->fault);
    chopin_pg__release(&k->core->heap, k, sizeof *k);
}

/* Says goodbye: everything has been read, so the peer gets a FIN and not a reset. */
static void chopin_pg__conn_goodbye(chopin_pg__conn *k) {
    static const uint8_t terminate[] = { 'X', 0, 0, 0, 4 };
    if (k->stage != CHOPIN_PG__READY || chopin_pg__out_waiting(k)) return;
    chopin_pg__io_send(k, terminate, sizeof terminate);
    if (k->tls) k->core->options.tls->shut(k->tls);
}

/* ---- settings the server reports ---- */
static void chopin_pg__setting_apply(chopin_pg__conn *k, chopin_str name, chopin_str value) {
    if (chopin_pg__equal_z(name, "client_encoding")) k->session.not_utf8 = !chopin_pg__equal_z(value, "UTF8");
    if (chopin_pg__equal_z(name, "DateStyle"))       k->session.not_iso  = !chopin_pg__starts(value, "ISO");
    if (chopin_pg__equal_z(name, "IntervalStyle")) {
        k->session.interval_style = chopin_pg__equal_z(value, "iso_8601") ? CHOPIN_PG__STYLE_ISO : chopin_pg__equal_z(value, "sql_standard") ? CHOPIN_PG__STYLE_SQL
                                  : chopin_pg__equal_z(value, "postgres_verbose") ? CHOPIN_PG__STYLE_VERBOSE : CHOPIN_PG__STYLE_POSTGRES;
    }
    if (chopin_pg__equal_z(name, "in_hot_standby"))                k->hot_standby = chopin_pg__equal_z(value, "on");
    if (chopin_pg__equal_z(name, "default_transaction_read_only")) k->read_only   = chopin_pg__equal_z(value, "on");
}

static chopin_pg__setting **chopin_pg__setting_at(chopin_pg__conn *k, chopin_str name) {
    chopin_pg__setting **at = &k->settings;
    while (*at && !chopin_pg__equal((*at)->name, name)) at = &(*at)->next;
    return at;
}

/* Keeps it; 64 of them at most, of a server that would report without end. */
static void chopin_pg__setting_put(chopin_pg__conn *k, chopin_str name, chopin_str value) {
    chopin_pg__setting **at = chopin_pg__setting_at(k, name), *old = *at;
    chopin_pg__setting_apply(k, name, value);
    size_t size = sizeof(chopin_pg__setting) + name.len + value.len;
    if (name.len + value.len > 8192 || (!old && k->setting_count >= 64)) return;
    chopin_pg__setting *s = (chopin_pg__setting *)chopin_pg__alloc(&k->core->heap, size);
    if (!s) return;
    char *text = (char *)(s + 1);
    memcpy(text, name.ptr, name.len);
    memcpy(text + name.len, value.ptr, value.len);
    *s = (chopin_pg__setting){ old ? old->next : NULL, size, { text, name.len }, { text + name.len, value.len } };
    *at = s;
    if (old) chopin_pg__release(&k->core->heap, old, old->size);
    else k->setting_count++;
}

static chopin_str chopin_pg__setting_get(chopin_pg__conn *k, const char *name) {
    chopin_pg__setting *s = *chopin_pg__setting_at(k, chopin_pg__str_z(name));
    return s ? s->value : chopin_pg__absent();
}

/* ---- messages that may come at any time; true: it was one of them ---- */
static bool chopin_pg__notice(chopin_pg__conn *k, const chopin_pg__frame *f) {
    chopin_pg_error e;
    chopin_pg__error_init(&e, &k->core->heap);
    bool ok = chopin_pg__error_server(&e, CHOPIN_PG_SERVER, chopin_pg__str(f->body, f->len), chopin_pg__absent()) != CHOPIN_PG_PROTOCOL;
    k->core->counters.notices++;
    if (ok && k->core->options.on_notice) k->core->options.on_notice(k->core->options.notice_ctx, &e);
    // a server that goes down at once, or whose sibling was killed, says so in a warning and then hangs up: that is the reason to report
    if (strncmp(e.sqlstate, "57P0", 4) == 0) {
        chopin_pg_error *fault = chopin_pg__object_error(&k->fault);
        if (fault) chopin_pg__error_move(fault, &e);
    }
    chopin_pg__error_clear(&e);
    return ok;
}

static bool chopin_pg__async_message(chopin_pg__conn *k, const chopin_pg__frame *f) {
    chopin_str a, b;
    uint32_t pid;
    bool ok = true;
    switch (f->type) {
    case 'N': ok = chopin_pg__notice(k, f); break;
    case 'S':
        ok = chopin_pg__read_pair(f, &a, &b);
        if (ok) chopin_pg__setting_put(k, a, b);
        break;
    case 'A':
        ok = chopin_pg__read_notification(f, &pid, &a, &b);
        if (ok && k->on_note) k->on_note(k->note_ctx, pid, a, b);
        break;
    default: return false;
    }
    if (!ok) chopin_pg__conn_break(k, CHOPIN_PG_PROTOCOL, "the server sent a malformed message of type '%c'", f->type);
    return true;
}
/* ==========================================================================================================
   >>pipeline   operations in flight: what each expects, and what every message means for the one it answers
   An operation is a chopin_pg_rows. `steps` are the answers it still expects, one letter each: 1 2 3 t as on the wire, T for T or n, x for the rows
   of an Execute up to C, I or s, q for the results of a simple query, g for COPY. Operations up to one with `sync` are a group: after an E the server
   skips to its end, so the rest of the group has failed; and only its Z says that it is done.
   ========================================================================================================== */

typedef enum chopin_pg__statement_state { CHOPIN_PG__PREPARING, CHOPIN_PG__PREPARED, CHOPIN_PG__STALE } chopin_pg__statement_state;

struct chopin_pg__statement {
    chopin_pg__statement *chain, *newer, *older;             // of the hash table; by last use
    uint64_t     hash;
    uint64_t     sql_id;                                     // by which it was found last, see >>pool: judged; 0: by none
    chopin_str   sql;                                        // stands behind the struct
    char         name[32];
    chopin_pg__statement_state state;
    uint32_t     uses;                                       // operations that point here: it is not freed before they are over
    bool         listed;                                     // in the cache; else freed with its last use
    int          param_count;
    uint32_t    *types;                                      // of the parameters, as the server says
    uint8_t     *ready;                                      // its Bind and Execute (>>cache); NULL: not made yet
    size_t       ready_head, ready_values, ready_size;       // bytes before the values, of them if all are int4 and int8 (else none), and all
    chopin_pg__shape *shape;                                 // NULL: gives no rows
};

static void chopin_pg__statement_free(chopin_pg__core *c, chopin_pg__statement *s) {
    if (s->types) chopin_pg__release(&c->heap, s->types, (size_t)s->param_count * sizeof *s->types);
    chopin_pg__release(&c->heap, s->ready, s->ready_size);
    chopin_pg__shape_drop(&c->heap, s->shape);
    chopin_pg__release(&c->heap, s, sizeof *s + s->sql.len);
}

static void chopin_pg__statement_drop(chopin_pg__core *c, chopin_pg__statement *s) {
    if (s && --s->uses == 0 && !s->listed) chopin_pg__statement_free(c, s);
}

/* From a RowDescription that chopin_pg__check_fields() found good. NULL: no memory. */
static chopin_pg__shape *chopin_pg__shape_new(chopin_pg__heap *heap, const chopin_pg__frame *f, unsigned columns, size_t names) {
    size_t size = sizeof(chopin_pg__shape) + columns * sizeof(chopin_pg__shape_column) + names;
    chopin_pg__shape *s = (chopin_pg__shape *)chopin_pg__alloc(heap, size);
    chopin_pg__in in = chopin_pg__in_of(f->body + 2, f->len - 2);
    if (!s) return NULL;
    char *text = (char *)(s->column + columns);
    s->refs = 1; s->columns = columns; s->size = size;
    for (unsigned i = 0; i < columns; i++) {
        chopin_pg__field field;
        chopin_pg__read_field(&in, &field);
        memcpy(text, field.name.ptr, field.name.len);
        s->column[i] = (chopin_pg__shape_column){ { text, field.name.len }, field.oid, field.table, field.modifier, field.attribute, field.size, chopin_pg__oid_binary(field.oid) };
        text += field.name.len;
    }
    return s;
}

/* ---- results come and go; spare ones keep their array of cells ---- */

/* In quarters, which become plain stores: of one memset() gcc makes a `rep stos`, which takes longer to begin than all of this. */
static void chopin_pg__rows_clear(chopin_pg_rows *r) {
    enum { QUARTER = (offsetof(chopin_pg_rows, cells) - offsetof(chopin_pg_rows, shape)) / 4 };
    char *at = (char *)&r->shape;
    for (int i = 0; i < 4; i++, at += QUARTER) memset(at, 0, QUARTER);
}

static chopin_pg_rows *chopin_pg__rows_fresh(chopin_pg__core *c) {
    chopin_pg_rows *r = (chopin_pg_rows *)chopin_pg__alloc_zero(&c->heap, sizeof *r);
    if (r) r->room.heap = r->kept.heap = &c->heap;
    return r;
}

static chopin_pg_rows *chopin_pg__rows_new(chopin_pg__core *c) {
    chopin_pg_rows *r = c->spare_rows;
    if (r) c->spare_rows = r->after;
    else   r = chopin_pg__rows_fresh(c);
    if (!r) return NULL;
    chopin_pg__rows_clear(r);
    r->object   = (chopin_pg__object){ .kind = CHOPIN_PG__ROWS, .heap = &c->heap };
    r->deadline = -1;
    r->affected = -1;
    return r;
}

/* What only COPY, scripts, portals and our own operations use. */
static CHOPIN_PG__NOINLINE void chopin_pg__rows_clear_rare(chopin_pg_rows *r) {
    if (r->pieces.ptr) chopin_pg__out_done(&r->pieces);
    memset(&r->began_ns, 0, sizeof *r - offsetof(chopin_pg_rows, began_ns));
}

/* Everything it holds goes back, but small memory stays with it for the next one. */
static void chopin_pg__rows_recycle(chopin_pg__core *c, chopin_pg_rows *r) {
    if (r->last) chopin_pg__rows_drop_bytes(c, r);
    chopin_pg__shape_drop(&c->heap, r->shape);
    chopin_pg__statement_drop(c, r->statement);
    if (r->object.error) chopin_pg__object_done(&r->object);
    if (r->simple || r->copy || r->portal || r->ours) chopin_pg__rows_clear_rare(r);
    if (r->room.used > 4096) chopin_pg__arena_free(&r->room); else if (r->room.blocks) chopin_pg__arena_reset(&r->room);
    if (r->kept.used > 4096) chopin_pg__arena_free(&r->kept); else if (r->kept.blocks) chopin_pg__arena_reset(&r->kept);
    if (r->cells_cap > 64) {
        chopin_pg__release(&c->heap, r->cells, r->cells_cap * sizeof *r->cells);
        r->cells = NULL;
        r->cells_cap = 0;
    }
    r->after = c->spare_rows;
    c->spare_rows = r;
}

static void chopin_pg__rows_free(chopin_pg__core *c, chopin_pg_rows *r) {
    chopin_pg__arena_free(&r->room);
    chopin_pg__arena_free(&r->kept);
    chopin_pg__release(&c->heap, r->cells, r->cells_cap * sizeof *r->cells);
    chopin_pg__release(&c->heap, r, sizeof *r);
}

/* ---- the queue ---- */
static inline void chopin_pg__queue_link(chopin_pg__conn *k, chopin_pg_rows *r) {
    r->conn    = k;
    r->phase   = CHOPIN_PG__FLYING;
    r->counted = k->shared;
    r->behind  = NULL;
    r->tries++;
    if (k->tail) k->tail->behind = r;
    else         k->head = r, k->head_since_ms = k->core->now_ms;
    if (!k->current) k->current = r;
    k->tail = r;
    k->depth++;
    if (r->handle) k->owned++;
}

static void chopin_pg__queue_push(chopin_pg__conn *k, chopin_pg_rows *r) {
    r->redo = r->bound = r->suspended = r->plain = false;
    r->handy = 0;
    chopin_pg__queue_link(k, r);
}

/* Nobody waits for it any more: its answer is read and dropped. */
static void chopin_pg__rows_orphan(chopin_pg__core *c, chopin_pg_rows *r) {
    if (r->phase == CHOPIN_PG__FLYING && r->handle) r->conn->owned--;
    r->handle = NULL;
    r->waiter = NULL;
    r->drop   = true;
    chopin_pg__rows_drop_bytes(c, r);
}

/* ---- what we can tell about an error ---- */

/* The statement is not there any more, or gives something else than it did: nothing has been done, so it is prepared again and sent once more. */
static bool chopin_pg__error_stale(const chopin_pg_error *e) {
    if (strcmp(e->sqlstate, "26000") == 0) return true;
    return strcmp(e->sqlstate, "0A000") == 0 && chopin_pg__equal_z(e->routine, "RevalidateCachedQuery");
}

/* Only what stands alone in its group and outside a transaction: the server has taken nothing of it. */
static bool chopin_pg__can_redo(const chopin_pg__conn *k, const chopin_pg_rows *r, const chopin_pg_error *e) {
    if (!r->statement || !r->handle || r->bound || r->tries > 2 || k->state != 'I') return false;
    for (const chopin_pg_rows *q = k->head; q != r; q = q->behind) if (!q->harmless && !q->opens) return false;
    for (const chopin_pg_rows *q = r; !q->sync; q = q->behind) if (!q->behind || !q->behind->harmless) return false;
    return strcmp(e->sqlstate, "42P05") == 0 || chopin_pg__error_stale(e);
}

/* 26000 for a name we have not lost, or 42P05 for one we have not used: somebody between us and the server swaps sessions. */
static void chopin_pg__pooler_found(chopin_pg__conn *k, chopin_pg_rows *r, const chopin_pg_error *e) {
    bool foreign = strcmp(e->sqlstate, "42P05") == 0 || (strcmp(e->sqlstate, "26000") == 0 && r->statement && r->statement->state == CHOPIN_PG__PREPARED && !k->cleared);
    if (!foreign || k->pooler) return;
    k->pooler = true;
    if (!k->core->pooler) chopin_pg__log(&k->core->log, CHOPIN_PG_WARNING, "a pooler swaps server sessions below us: statements go unnamed from now on (statement_cache=-1 from the start is cheaper)");
    k->core->pooler = true;
}

/* ---- messages ---- */
static CHOPIN_PG__COLD int chopin_pg__unexpected(chopin_pg__conn *k, const chopin_pg__frame *f) {
    return chopin_pg__conn_break(k, CHOPIN_PG_PROTOCOL, "the server sent a message of type '%c' that nothing was waiting for", f->type);
}

static CHOPIN_PG__COLD int chopin_pg__malformed(chopin_pg__conn *k, const chopin_pg__frame *f) {
    return chopin_pg__conn_break(k, CHOPIN_PG_PROTOCOL, "the server sent a malformed message of type '%c'", f->type);
}

/* Takes the step `step` of the operation that is being answered. */
static bool chopin_pg__step_taken(chopin_pg_rows *r, char step) {
    if (!r || *r->steps != step) return false;
    r->steps++;
    return true;
}

/* The answers of this one are complete. Without a Sync behind it, the next ones answer its successor. */
static void chopin_pg__step_on(chopin_pg__conn *k) {
    while (k->current && !*k->current->steps && !k->current->sync && k->current->behind) k->current = k->current->behind;
}

static void chopin_pg__wake_for(chopin_pg__conn *k, chopin_pg_rows *r) {
    if (r->waiter) chopin_pg__wake(k->core, r->waiter);
}

/* Too much lies unread: the rest of this result is not kept. */
static CHOPIN_PG__COLD void chopin_pg__rows_overflow(chopin_pg__conn *k, chopin_pg_rows *r, bool memory) {
    chopin_pg__rows_drop_bytes(k->core, r);
    r->drop = true;
    if (memory) chopin_pg__object_fail(&r->object, CHOPIN_PG_MEMORY, "out of memory for rows");
    else chopin_pg__object_fail(&r->object, CHOPIN_PG_MEMORY, "more than max_result (%zu bytes) of a result lie unread (read on, or use chopin_pg_stream)", k->core->options.max_result);
}

static inline void chopin_pg__rows_keep(chopin_pg__conn *k, chopin_pg_rows *r, size_t from, size_t to) {
    r->received += to - from;
    if (r->drop) return;
    bool kept = chopin_pg__rows_take_bytes(k->core, r, k->block, from, to);
    if (!kept || r->unread > k->core->options.max_result) chopin_pg__rows_overflow(k, r, !kept);
    chopin_pg__wake_for(k, r);
}

/* Behind `at` often stand more messages of the same kind. Those that have arrived whole, and begin with a count of `columns` (0: nothing is asked), are taken
 * at once: one look at each instead of the whole way. Gives where they end; anything unusual is left to the usual way. */
static inline size_t chopin_pg__run_of(const chopin_pg__conn *k, uint8_t type, uint32_t columns, size_t at, int64_t *count) {
    const uint8_t *data = k->block->data, *p = data + at, *end = data + k->block->to;
    size_t least = columns ? 6 + (size_t)columns * 4 : 4;
    uint32_t asked = columns ? 0xffff : 0;
    if (k->core->options.trace || k->core->options.max_message < k->block->cap) return at;      // which shows, or measures, every message
    int64_t n = 0;
    for (; end - p >= 7 && p[0] == type; n++) {
        size_t len = chopin_pg__load32(p + 1);
        if (len < least || len >= (size_t)(end - p) || (chopin_pg__load16(p + 5) & asked) != columns) break;
        p += len + 1;
    }
    *count += n;
    return (size_t)(p - data);
}

static int chopin_pg__on_row(chopin_pg__conn *k, const chopin_pg__frame *f, size_t from, size_t to) {
    chopin_pg_rows *r = k->current;
    if (!r || k->skipping || (*r->steps != 'x' && *r->steps != 'q')) return chopin_pg__unexpected(k, f);
    const chopin_pg__shape *s = r->simple ? k->script_shape : r->shape;
    if (!s || f->len < 2 || chopin_pg__load16(f->body) != s->columns || (size_t)s->columns * 4 > f->len - 2) return chopin_pg__malformed(k, f);
    r->arrived++;
    if (s->columns) to = k->block->from = chopin_pg__run_of(k, 'D', s->columns, to, &r->arrived);
    chopin_pg__rows_keep(k, r, from, to);
    return 0;
}

/* What ended changes what we may rely on: statements that are gone, or that may give something else now. */
static void chopin_pg__tag_effects(chopin_pg__conn *k, chopin_pg_rows *r, chopin_str tag) {
    r->rolled_back = chopin_pg__equal_z(tag, "ROLLBACK");
    if (chopin_pg__equal_z(tag, "DISCARD ALL") || chopin_pg__equal_z(tag, "DEALLOCATE ALL")) k->cleared = true;
    if (chopin_pg__starts(tag, "CREATE") || chopin_pg__starts(tag, "ALTER") || chopin_pg__starts(tag, "DROP")) k->outdated = true;
}

static int chopin_pg__on_complete(chopin_pg__conn *k, const chopin_pg__frame *f, size_t from, size_t to) {
    chopin_pg_rows *r = k->current;
    chopin_str tag = { "", 0 };
    int64_t count = -1;
    if (!r || k->skipping || (*r->steps != 'x' && *r->steps != 'q')) return chopin_pg__unexpected(k, f);
    if (f->type == 'C' && !chopin_pg__read_complete(f, &tag, &count)) return chopin_pg__malformed(k, f);
    if (f->type == 's' && (!r->portal || f->len)) return chopin_pg__unexpected(k, f);
    r->suspended = f->type == 's';
    r->affected  = count >= 0 ? count : r->simple ? 0 : r->arrived;
    if (count < 0) chopin_pg__tag_effects(k, r, tag);         // none of the words that matter ends with a number
    if (r->simple) {
        chopin_pg__rows_keep(k, r, from, to);
        chopin_pg__shape_drop(&k->core->heap, k->script_shape);
        k->script_shape = NULL;
    } else {
        r->steps++;
    }
    chopin_pg__step_on(k);
    return 0;
}

/* The types of the parameters, kept with the statement. */
static int chopin_pg__on_types(chopin_pg__conn *k, const chopin_pg__frame *f) {
    chopin_pg_rows *r = k->current;
    int n = chopin_pg__check_types(f);
    if (n < 0) return chopin_pg__malformed(k, f);
    if (k->skipping || !chopin_pg__step_taken(r, 't')) return chopin_pg__unexpected(k, f);
    chopin_pg__statement *s = r->statement;
    if (!s || n == 0 || s->types) return 0;
    s->types = (uint32_t *)chopin_pg__alloc(&k->core->heap, (size_t)n * sizeof *s->types);
    if (!s->types) return chopin_pg__conn_break(k, CHOPIN_PG_MEMORY, "out of memory for a statement");
    s->param_count = n;
    for (int i = 0; i < n; i++) s->types[i] = chopin_pg__load32(f->body + 2 + 4 * (size_t)i);
    return 0;
}

/* The shape that a T describes. NULL: the connection is broken, and `*rc` is what breaking it gave. */
static chopin_pg__shape *chopin_pg__shape_read(chopin_pg__conn *k, const chopin_pg__frame *f, int *rc) {
    unsigned columns;
    size_t   names;
    bool     good = chopin_pg__check_fields(f, &columns, &names);
    chopin_pg__shape *s = good ? chopin_pg__shape_new(&k->core->heap, f, columns, names) : NULL;
    if (!s) *rc = good ? chopin_pg__conn_break(k, CHOPIN_PG_MEMORY, "out of memory for the description of a result") : chopin_pg__malformed(k, f);
    return s;
}

/* T or n: with it a statement is known. */
static int chopin_pg__on_shape(chopin_pg__conn *k, const chopin_pg__frame *f, size_t from, size_t to) {
    chopin_pg_rows *r = k->current;
    chopin_pg__shape *shape = NULL;
    if (!r || k->skipping) return chopin_pg__unexpected(k, f);
    int rc = 0;
    if (f->type == 'T' && !(shape = chopin_pg__shape_read(k, f, &rc))) return rc;
    if (r->simple && f->type == 'T') {
        chopin_pg__shape_drop(&k->core->heap, k->script_shape);
        k->script_shape = shape;
        chopin_pg__rows_keep(k, r, from, to);
        return 0;
    }
    if (!chopin_pg__step_taken(r, 'T')) {
        chopin_pg__shape_drop(&k->core->heap, shape);
        return chopin_pg__unexpected(k, f);
    }
    chopin_pg__shape_drop(&k->core->heap, r->shape);
    r->shape = shape;
    if (r->statement && r->statement->state == CHOPIN_PG__PREPARING) {
        r->statement->shape = chopin_pg__shape_share(shape);
        r->statement->state = CHOPIN_PG__PREPARED;
    }
    chopin_pg__step_on(k);
    return 0;
}

/* Whose error is it? That of one of our riders belongs to the statement it carried. */
static chopin_pg_rows *chopin_pg__error_owner(chopin_pg_rows *r) {
    while (r->ours && !r->sync && r->behind) r = r->behind;
    return r;
}

static void chopin_pg__error_to(chopin_pg__conn *k, chopin_pg_rows *r, chopin_pg_error *e) {
    k->core->counters.errors++;
    if (r->statement && r->statement->state == CHOPIN_PG__PREPARING) r->statement->state = CHOPIN_PG__STALE;
    if (r->statement && (chopin_pg__error_stale(e) || strcmp(e->sqlstate, "42P05") == 0)) {
        chopin_pg__pooler_found(k, r, e);
        r->statement->state = CHOPIN_PG__STALE;
    }
    if (chopin_pg__can_redo(k, r, e)) {
        r->redo = true;
        k->core->counters.resent++;
        return;
    }
    if (strcmp(e->sqlstate, "25006") == 0 && r->handle && !k->read_only && !k->hot_standby && k->on_read_only) k->on_read_only(k, r);
    if (r->object.status) return;
    chopin_pg_error *mine = chopin_pg__object_error(&r->object);
    *(r->scripted && r->unread ? &r->late : &r->object.status) = e->status;     // earlier results of a script stand, and are read first
    e->statement = r->number;
    if (mine) chopin_pg__error_move(mine, e);
}

/* FATAL ends the session: it is the answer of one, and the reason for all others. */
static int chopin_pg__on_fatal(chopin_pg__conn *k, const chopin_pg__frame *f) {
    chopin_pg_error *fault = chopin_pg__object_error(&k->fault);
    if (fault) {
        chopin_pg__error_clear(fault);
        chopin_pg__error_server(fault, CHOPIN_PG_SERVER, chopin_pg__str(f->body, f->len), chopin_pg__absent());
    }
    k->fault.status = CHOPIN_PG_CONNECT;
    return chopin_pg__conn_break(k, CHOPIN_PG_CONNECT, "the server ended the session");
}

static int chopin_pg__on_error(chopin_pg__conn *k, const chopin_pg__frame *f) {
    chopin_pg_rows *r = k->current ? chopin_pg__error_owner(k->current) : NULL;
    chopin_pg_error e;
    chopin_pg__error_init(&e, &k->core->heap);
    int status = chopin_pg__error_server(&e, CHOPIN_PG_SERVER, chopin_pg__str(f->body, f->len), r ? r->sql : chopin_pg__absent());
    bool fatal = chopin_pg__error_fatal(&e), again = k->skipping;
    if (status == CHOPIN_PG_SERVER && r && !again) {
        chopin_pg__error_to(k, r, &e);
        k->skipping = true;
    }
    chopin_pg__error_clear(&e);
    if (status != CHOPIN_PG_SERVER) return chopin_pg__malformed(k, f);
    return fatal || !r ? chopin_pg__on_fatal(k, f) : 0;
}

/* One of a group that failed before it came to it. */
static void chopin_pg__rows_skipped(chopin_pg_rows *r, int failed) {
    if (r->object.status || r->late || r->redo || r->ours) return;
    chopin_pg__object_fail(&r->object, CHOPIN_PG_SERVER, "not done: statement %d of the batch failed", failed);
}

/* The group is done: its operations leave the queue. */
static void chopin_pg__group_over(chopin_pg__conn *k, char state) {
    bool failed = k->skipping, last;
    int  number = failed ? chopin_pg__error_owner(k->current)->number : -1;
    k->state    = state;
    k->skipping = false;
    k->current  = NULL;
    do {
        chopin_pg_rows *r = chopin_pg__queue_pop(k);
        last = r->sync;
        if (failed) chopin_pg__rows_skipped(r, number);
        chopin_pg__wake_for(k, r);
        k->over(k, r);
    } while (!last && k->head);
    k->current = k->head;
    *(k->head ? &k->head_since_ms : &k->idle_since_ms) = k->core->now_ms;
    k->idle_unsure = false;
}

/* ReadyForQuery: the group is done, and only now is it. */
static int chopin_pg__on_ready(chopin_pg__conn *k, const chopin_pg__frame *f) {
    chopin_pg_rows *r = k->current;
    char state;
    if (!r || (!k->skipping && (!r->sync || (*r->steps && *r->steps != 'q')))) return chopin_pg__unexpected(k, f);
    if (!chopin_pg__read_ready(f, &state)) return chopin_pg__malformed(k, f);
    chopin_pg__group_over(k, state);
    if (k->shared && k->state != 'I') return chopin_pg__conn_break(k, CHOPIN_PG_UNSAFE, "a statement left a transaction open on a shared connection");
    return 0;
}

/* Takes what has arrived whole of the answer: its rows, and a 'C' with a number. True: it is complete. */
static bool chopin_pg__take_rows(chopin_pg__conn *k, chopin_pg_rows *r) {
    chopin_pg__block *b = k->block;
    int64_t  rows = 0, count;
    uint32_t columns = r->shape ? r->shape->columns : 0;
    size_t   from = b->from, to = columns ? chopin_pg__run_of(k, 'D', columns, from, &rows) : from;
    size_t   n = chopin_pg__read_counted(b->data + to, b->to - to, &count);
    b->from = to + n;
    r->arrived += rows;
    if (rows) {
        chopin_pg__rows_keep(k, r, from, to);
        if (columns <= r->cells_cap) r->handy = 'D';
    }
    if (!n) return false;
    r->plain = !r->drop && !r->keeps_conn && !r->portal;
    r->suspended = false;
    r->affected  = count;
    r->steps++;
    return true;
}

static void chopin_pg__rows_bound(chopin_pg__conn *k, chopin_pg_rows *r) {
    r->bound = true;
    if (r->statement && !r->shape) r->shape = chopin_pg__shape_share(r->statement->shape);
    r->session = k->session;
}

/* The next bytes are a BindComplete, a ReadyForQuery outside of transactions: they are taken. */
static inline bool chopin_pg__take_bound(chopin_pg__block *b) {
    const uint8_t *at = b->data + b->from;
    if (b->to - b->from < 5 || at[0] != '2' || chopin_pg__load32(at + 1) != 4) return false;
    b->from += 5;
    return true;
}
static inline bool chopin_pg__take_ready(chopin_pg__block *b) {
    const uint8_t *at = b->data + b->from;
    if (b->to - b->from < 6 || at[0] != 'Z' || chopin_pg__load32(at + 1) != 5 || at[5] != 'I') return false;
    b->from += 6;
    return true;
}

/* Behind '2' usually lies the rest of the answer, then that of the next statement of the group, at its end Z: taken here, which spares each of them the way of
 * every message. What is not whole yet, or anything else, is left to that way. */
static void chopin_pg__take_answers(chopin_pg__conn *k) {
    chopin_pg_rows *r = k->current;
    if (k->core->options.trace) return;                       // which shows every message
    while (*r->steps == 'x' && chopin_pg__take_rows(k, r)) {
        if (r->sync) {
            if (!*r->steps && chopin_pg__take_ready(k->block)) chopin_pg__group_over(k, 'I');
            return;
        }
        chopin_pg__step_on(k);
        r = k->current;
        if (*r->steps != '2' || !chopin_pg__take_bound(k->block)) return;
        r->steps++;
        chopin_pg__rows_bound(k, r);
    }
}

static int chopin_pg__on_bound(chopin_pg__conn *k, const chopin_pg__frame *f) {
    chopin_pg_rows *r = k->current;
    if (k->skipping || !chopin_pg__step_taken(r, '2')) return chopin_pg__unexpected(k, f);
    chopin_pg__rows_bound(k, r);
    chopin_pg__take_answers(k);
    return 0;
}

/* COPY that nobody asked for by the functions for it: refused, in a way that leaves the connection clean. */
static int chopin_pg__on_copy(chopin_pg__conn *k, const chopin_pg__frame *f) {
    chopin_pg_rows *r = k->current;
    bool binary;
    if (!r || k->skipping || (*r->steps != 'x' && *r->steps != 'q')) return chopin_pg__unexpected(k, f);
    if (f->type == 'W' || chopin_pg__check_copy(f, &binary) < 0) return chopin_pg__malformed(k, f);
    if (r->copy == f->type) {
        r->copy_open = true;
        r->copy_binary = binary;
        r->session = k->session;
        chopin_pg__wake_for(k, r);
        return 0;
    }
    chopin_pg__object_fail(&r->object, CHOPIN_PG_ARG, "COPY runs through %s", f->type == 'G' ? "chopin_pg_copy_in() or chopin_pg_copy_raw()" : "chopin_pg_copy_out()");
    if (f->type == 'H') return 0;
    chopin_pg__put_text(&k->out, 'f', CHOPIN_STR("not asked for by chopin_pg_copy_in()"));
    if (!r->simple) chopin_pg__put_simple(&k->out, 'S');      // the first one was swallowed
    return k->out.status ? chopin_pg__conn_break(k, CHOPIN_PG_MEMORY, "out of memory") : 0;
}

static int chopin_pg__on_data(chopin_pg__conn *k, const chopin_pg__frame *f, size_t from, size_t to) {
    chopin_pg_rows *r = k->current;
    if (!r || k->skipping || (*r->steps != 'x' && *r->steps != 'q')) return chopin_pg__unexpected(k, f);
    bool asked = r->copy == 'H' && r->copy_open;
    if (!asked && !r->object.status) return chopin_pg__unexpected(k, f);      // after a COPY that was refused they are passed over
    if (!asked || f->type != 'd') return 0;
    int64_t more = 0;
    to = k->block->from = chopin_pg__run_of(k, 'd', 0, to, &more);
    chopin_pg__rows_keep(k, r, from, to);
    return 0;
}

/* Every message after the login. `from`, `to`: where it stands in the block. */
static int chopin_pg__pipeline_message(chopin_pg__conn *k, const chopin_pg__frame *f, size_t from, size_t to) {
    switch (f->type) {
    case 'D': return chopin_pg__on_row(k, f, from, to);
    case 'C': case 'I': case 's': return chopin_pg__on_complete(k, f, from, to);
    case 'Z': return chopin_pg__on_ready(k, f);
    case '2': return chopin_pg__on_bound(k, f);
    case '1': case '3':
        if (f->len || k->skipping || !chopin_pg__step_taken(k->current, (char)f->type)) return chopin_pg__unexpected(k, f);
        chopin_pg__step_on(k);
        return 0;
    case 't': return chopin_pg__on_types(k, f);
    case 'T': case 'n': return chopin_pg__on_shape(k, f, from, to);
    case 'E': return chopin_pg__on_error(k, f);
    case 'G': case 'H': case 'W': return chopin_pg__on_copy(k, f);
    case 'd': case 'c': return chopin_pg__on_data(k, f, from, to);
    default: return chopin_pg__async_message(k, f) ? (k->stage == CHOPIN_PG__DEAD ? -1 : 0) : chopin_pg__unexpected(k, f);
    }
}
/* ==========================================================================================================
   >>cache   prepared statements of one connection, and how a statement is put on its way
   Text first, binary after: the first use of a text prepares it under a name and binds everything as text in the same packet; from then on the types are
   the server's and travel in binary where we own the codec. Found by hash, confirmed by comparing the text. The least recently used make room; their Close rides
   in the next group.
   ========================================================================================================== */

#ifndef CHOPIN_PG__SQL_HASH             /* a test makes all texts collide */
#define CHOPIN_PG__SQL_HASH(seed, sql) chopin_pg__hash((seed), (sql).ptr, (sql).len)
#endif
#define CHOPIN_PG__CACHE_HEADS 256
#define CHOPIN_PG__CACHE_BYTES ((size_t)1 << 20)
#define CHOPIN_PG__CACHE_TEXT  ((size_t)16 * 1024)      // longer texts stay unnamed

typedef struct chopin_pg__cache {
    chopin_pg__statement *head[CHOPIN_PG__CACHE_HEADS];
    chopin_pg__statement *newest, *oldest;
    int      count;
    size_t   bytes;
    uint32_t prefix, named;             // of the names: two clients behind one pooler must not meet; how many were given
} chopin_pg__cache;

static void chopin_pg__cache_unlink(chopin_pg__cache *c, chopin_pg__statement *s) {
    *(s->newer ? &s->newer->older : &c->newest) = s->older;
    *(s->older ? &s->older->newer : &c->oldest) = s->newer;
    s->newer = s->older = NULL;
}

static void chopin_pg__cache_touch(chopin_pg__cache *c, chopin_pg__statement *s) {
    if (c->newest == s) return;
    chopin_pg__cache_unlink(c, s);
    s->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = s;
    c->newest = s;
}

/* Out of the cache; freed when its last use is over. */
static void chopin_pg__cache_remove(chopin_pg__core *core, chopin_pg__cache *c, chopin_pg__statement *s) {
    chopin_pg__statement **at = &c->head[s->hash % CHOPIN_PG__CACHE_HEADS];
    while (*at != s) at = &(*at)->chain;
    *at = s->chain;
    chopin_pg__cache_unlink(c, s);
    c->count--;
    c->bytes -= s->sql.len;
    s->listed = false;
    if (s->uses == 0) chopin_pg__statement_free(core, s);
}

static void chopin_pg__cache_free(chopin_pg__conn *k) {
    if (!k->cache) return;
    while (k->cache->oldest) chopin_pg__cache_remove(k->core, k->cache, k->cache->oldest);
    chopin_pg__release(&k->core->heap, k->cache, sizeof *k->cache);
    k->cache = NULL;
}

/* `id`: of the text, when it was judged; a statement that was found by its text once is known by that. */
static chopin_pg__statement *chopin_pg__cache_find(chopin_pg__cache *c, uint64_t hash, uint64_t id, chopin_str sql) {
    chopin_pg__statement *s = c->head[hash % CHOPIN_PG__CACHE_HEADS];
    if (s && id && s->sql_id == id) return s;
    while (s && (s->hash != hash || !chopin_pg__equal(s->sql, sql))) s = s->chain;
    if (s) s->sql_id = id;
    return s;
}

static chopin_pg__statement *chopin_pg__cache_add(chopin_pg__core *core, chopin_pg__cache *c, uint64_t hash, chopin_str sql) {
    chopin_pg__statement *s = (chopin_pg__statement *)chopin_pg__alloc_zero(&core->heap, sizeof *s + sql.len);
    if (!s) return NULL;
    memcpy(s + 1, sql.ptr, sql.len);
    s->sql    = chopin_pg__str(s + 1, sql.len);
    s->hash   = hash;
    s->listed = true;
    snprintf(s->name, sizeof s->name, "chopin_%08x_%u", (unsigned)c->prefix, ++c->named);
    s->chain  = c->head[hash % CHOPIN_PG__CACHE_HEADS];
    c->head[hash % CHOPIN_PG__CACHE_HEADS] = s;
    s->older  = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = s;
    c->newest = s;
    c->count++;
    c->bytes += sql.len;
    return s;
}

/* ---- riders: our own small operations in somebody's group ---- */
static chopin_pg_rows *chopin_pg__rider(chopin_pg__conn *k, const char *steps) {
    chopin_pg_rows *r = chopin_pg__rows_new(k->core);
    if (!r) return NULL;
    r->ours  = true;
    r->drop  = true;
    r->steps = steps;
    r->out_from = k->out_base + k->out.len;
    return r;
}

/* Close of a statement. Without memory it stays on the server until the connection ends: harmless. */
static void chopin_pg__ride_close(chopin_pg__conn *k, char kind, const char *name) {
    chopin_pg_rows *r = chopin_pg__out_room(&k->out, 64) ? chopin_pg__rider(k, "3") : NULL;
    if (!r) return;
    r->harmless = true;
    chopin_pg__put_named(&k->out, 'C', kind, chopin_pg__str_z(name));
    chopin_pg__queue_push(k, r);
}

static void chopin_pg__cache_evict(chopin_pg__conn *k, chopin_pg__statement *s) {
    if (s->state == CHOPIN_PG__PREPARED && !k->cleared) chopin_pg__ride_close(k, 'S', s->name);
    chopin_pg__cache_remove(k->core, k->cache, s);
    k->core->counters.evicted++;
}

/* The oldest that nobody is using right now. */
static chopin_pg__statement *chopin_pg__cache_victim(const chopin_pg__cache *c) {
    chopin_pg__statement *s = c->oldest;
    while (s && s->uses) s = s->newer;
    return s;
}

/* After DISCARD ALL nothing is there any more; after DDL everything may be another thing than it was. */
static void chopin_pg__cache_refresh(chopin_pg__conn *k) {
    if (!k->cache || (!k->cleared && !k->outdated)) return;
    while (k->cache->oldest) chopin_pg__cache_evict(k, k->cache->oldest);
    k->cleared = k->outdated = false;
}

static void chopin_pg__cache_room(chopin_pg__conn *k, size_t bytes) {
    chopin_pg__cache *c = k->cache;
    while (c->count && (c->count >= k->core->options.statement_cache || c->bytes + bytes > CHOPIN_PG__CACHE_BYTES)) {
        chopin_pg__statement *victim = chopin_pg__cache_victim(c);
        if (!victim) break;
        chopin_pg__cache_evict(k, victim);
    }
}

/* The statement for the text of `r`: known, new (PREPARING with no use yet), or NULL: it goes unnamed. */
static chopin_pg__statement *chopin_pg__cache_get(chopin_pg__conn *k, const chopin_pg_rows *r) {
    chopin_str sql = r->sql;
    if (k->core->options.statement_cache < 0 || k->pooler || k->core->pooler || sql.len > CHOPIN_PG__CACHE_TEXT) return NULL;
    if (!k->cache) k->cache = (chopin_pg__cache *)chopin_pg__alloc_zero(&k->core->heap, sizeof *k->cache);
    if (!k->cache) return NULL;
    if (!k->cache->prefix) k->cache->prefix = (uint32_t)chopin_pg__random_next(&k->core->random) | 1;
    chopin_pg__cache_refresh(k);
    uint64_t hash = r->sql_id ? r->sql_hash : CHOPIN_PG__SQL_HASH(k->core->hash_seed, sql);
    chopin_pg__statement *s = chopin_pg__cache_find(k->cache, hash, r->sql_id, sql);
    if (s && s->state == CHOPIN_PG__STALE) {
        s->state = CHOPIN_PG__PREPARED;                        // so that its Close is sent: its name may still be taken
        chopin_pg__cache_evict(k, s);
        s = NULL;
    }
    if (s) return chopin_pg__cache_touch(k->cache, s), s;
    chopin_pg__cache_room(k, sql.len);
    return chopin_pg__cache_add(k->core, k->cache, hash, sql);
}

/* The same without a detour, when the text was judged lately and its statement is ready. NULL: look for it the whole way. */
static inline chopin_pg__statement *chopin_pg__cache_ready(chopin_pg__conn *k, const chopin_pg_rows *r) {
    if (!r->sql_id || !k->cache || k->cleared || k->outdated || k->pooler || k->core->pooler) return NULL;
    chopin_pg__statement *s = k->cache->head[r->sql_hash % CHOPIN_PG__CACHE_HEADS];
    if (!s || s->sql_id != r->sql_id || s->state != CHOPIN_PG__PREPARED || !s->ready || s->param_count != r->param_count) return NULL;
    chopin_pg__cache_touch(k->cache, s);
    return s;
}

/* ---- encoding ---- */
static int chopin_pg__encode_failed(chopin_pg_rows *r, chopin_pg_error *e, int number) {
    const char *why = e->why ? e->why : "";
    int status = e->status;
    chopin_pg__object_fail(&r->object, status, "$%d: %s", number, why);
    if (r->object.error) memcpy(r->object.error->sqlstate, e->sqlstate, sizeof e->sqlstate);
    chopin_pg__error_clear(e);
    return status;
}

/* One value. Gives the format it came out in, or its error is set. */
static CHOPIN_PG__NOINLINE int chopin_pg__put_param(chopin_pg__conn *k, chopin_pg_rows *r, int i, uint32_t oid) {
    chopin_pg_error e;
    chopin_pg__error_init(&e, &k->core->heap);
    int format = chopin_pg__param_encode(&r->params[i], oid, &k->out, &e);
    return format < 0 ? chopin_pg__encode_failed(r, &e, i + 1) : format;
}

/* All values. `formats`: where the format of each stands in the output. */
static int chopin_pg__put_values(chopin_pg__conn *k, chopin_pg_rows *r, const chopin_pg__statement *s, size_t formats) {
    bool typed = s && s->state == CHOPIN_PG__PREPARED;
    for (int i = 0; i < r->param_count; i++) {
        uint32_t oid = typed && i < s->param_count ? s->types[i] : 0;
        int format = chopin_pg__param_quick(&r->params[i], oid, &k->out) ? 1 : chopin_pg__put_param(k, r, i, oid);
        if (format < 0) return format;
        if (!k->out.status) chopin_pg__store16(k->out.ptr + formats + 2 * (size_t)i, (uint16_t)format);
    }
    return 0;
}

/* The count of the values, twice; between them room for the format of each, which is 0 so far. */
static void chopin_pg__put_counts(chopin_pg__out *o, int n) {
    chopin_pg__put_u16(o, (uint32_t)n);
    for (int i = 0; i < n; i++) chopin_pg__put_u16(o, 0);
    chopin_pg__put_u16(o, (uint32_t)n);
}

/* Text for all, binary for all, or one by one. */
static void chopin_pg__put_result_formats(chopin_pg__out *o, const chopin_pg__shape *s) {
    unsigned binary = 0;
    for (uint32_t i = 0; s && i < s->columns; i++) binary += s->column[i].binary;
    if (!binary || binary == s->columns) {
        chopin_pg__put_u16(o, 1);
        chopin_pg__put_u16(o, binary > 0);
        return;
    }
    chopin_pg__put_u16(o, s->columns);
    for (uint32_t i = 0; i < s->columns; i++) chopin_pg__put_u16(o, s->column[i].binary);
}

static int chopin_pg__put_bind(chopin_pg__conn *k, chopin_pg_rows *r, const chopin_pg__statement *s, chopin_str portal) {
    chopin_pg__out *o = &k->out;
    size_t mark = chopin_pg__begin_message(o, 'B');
    chopin_pg__put_z(o, portal);
    chopin_pg__put_z(o, chopin_pg__str_z(s ? s->name : ""));
    chopin_pg__put_counts(o, r->param_count);
    int rc = chopin_pg__put_values(k, r, s, o->len - 2 - 2 * (size_t)r->param_count);
    if (rc < 0) return rc;
    r->binary = s && s->state == CHOPIN_PG__PREPARED;
    chopin_pg__put_result_formats(o, r->binary ? s->shape : NULL);
    chopin_pg__end_message(o, mark);
    return 0;
}

/* Places for the values of a statement that takes nothing but int4 and int8. */
static void chopin_pg__ready_values(chopin_pg__out *o, chopin_pg__statement *s, size_t formats) {
    size_t from = o->len;
    for (int i = 0; i < s->param_count; i++) if (s->types[i] != CHOPIN_PG__OID_INT4 && s->types[i] != CHOPIN_PG__OID_INT8) return;
    for (int i = 0; i < s->param_count; i++) {
        chopin_pg__put_u32(o, s->types[i] == CHOPIN_PG__OID_INT4 ? 4 : 8);
        chopin_pg__put_u32(o, 0);
        if (s->types[i] == CHOPIN_PG__OID_INT8) chopin_pg__put_u32(o, 0);
        if (!o->status) chopin_pg__store16(o->ptr + formats + 2 * (size_t)i, 1);
    }
    s->ready_values = o->len - from;
}

/* What Bind and Execute of a known statement are made of: always the same bytes, beside the values. False: no memory, the long way must do. */
static bool chopin_pg__ready_make(chopin_pg__core *c, chopin_pg__statement *s) {
    chopin_pg__out o = { .heap = &c->heap };
    size_t mark = chopin_pg__begin_message(&o, 'B');
    chopin_pg__put_u8(&o, 0);
    chopin_pg__put_z(&o, chopin_pg__str_z(s->name));
    chopin_pg__put_counts(&o, s->param_count);
    size_t head = o.len;
    chopin_pg__ready_values(&o, s, head - 2 - 2 * (size_t)s->param_count);
    chopin_pg__put_result_formats(&o, s->shape);
    chopin_pg__end_message(&o, mark);
    chopin_pg__put_execute(&o, chopin_pg__str("", 0), 0);
    if (!o.status) s->ready = (uint8_t *)chopin_pg__alloc(&c->heap, o.len);
    if (s->ready) {
        memcpy(s->ready, o.ptr, o.len);
        s->ready_head = head;
        s->ready_size = o.len;
    }
    chopin_pg__out_done(&o);
    return s->ready != NULL;
}

#define CHOPIN_PG__SYNC_ROOM 64         // kept free behind each statement, so that the end of a group needs no memory

/* Integers have their places in the bytes that are ready: a copy, and a store for each. False: they do not fit, or are something else. */
static inline bool chopin_pg__put_integers(chopin_pg__conn *k, const chopin_pg_rows *r, const chopin_pg__statement *s) {
    chopin_pg__out *o = &k->out;
    if ((r->param_count && !s->ready_values) || !chopin_pg__out_room(o, s->ready_size + CHOPIN_PG__SYNC_ROOM)) return false;
    uint8_t *at = o->ptr + o->len + s->ready_head + 4;
    memcpy(o->ptr + o->len, s->ready, s->ready_size);
    for (int i = 0; i < r->param_count; i++) {
        const chopin_pg_param *p = &r->params[i];
        bool narrow = s->types[i] == CHOPIN_PG__OID_INT4;
        if (p->kind != CHOPIN_PG__P_I64 || (narrow && (p->as.i64 < INT32_MIN || p->as.i64 > INT32_MAX))) return false;
        if (narrow) chopin_pg__store32(at, (uint32_t)((uint64_t)p->as.i64 & UINT32_MAX));
        else chopin_pg__store64(at, (uint64_t)p->as.i64);
        at += narrow ? 8 : 12;
    }
    o->len += s->ready_size;
    return true;
}

/* Bind and Execute around values of any kind. */
static int chopin_pg__put_around(chopin_pg__conn *k, chopin_pg_rows *r, const chopin_pg__statement *s) {
    enum { EXECUTE = 10 };                                    // its bytes, which end the ready ones
    chopin_pg__out *o = &k->out;
    size_t at = o->len, tail = s->ready_head + s->ready_values;
    chopin_pg__put_bytes(o, s->ready, s->ready_head);
    int rc = chopin_pg__put_values(k, r, s, o->len - 2 - 2 * (size_t)r->param_count);
    if (rc < 0) return rc;
    chopin_pg__put_bytes(o, s->ready + tail, s->ready_size - tail);
    if (o->status) return 0;
    size_t n = o->len - at - EXECUTE - 1;
    if (n > chopin_pg__out_limit(o)) chopin_pg__out_fail(o, CHOPIN_PG_ARG);
    else chopin_pg__store32(o->ptr + at + 1, (uint32_t)n);
    return 0;
}

/* Parse declares only what cannot be text: bytes. */
static void chopin_pg__put_parse(chopin_pg__conn *k, const chopin_pg_rows *r, const char *name) {
    chopin_pg__out *o = &k->out;
    int declared = 0;
    for (int i = 0; i < r->param_count; i++) if (chopin_pg__param_oid(&r->params[i])) declared = i + 1;
    size_t mark = chopin_pg__begin_message(o, 'P');
    chopin_pg__put_z(o, chopin_pg__str_z(name));
    chopin_pg__put_z(o, r->sql);
    chopin_pg__put_u16(o, (uint32_t)declared);
    for (int i = 0; i < declared; i++) chopin_pg__put_u32(o, chopin_pg__param_oid(&r->params[i]));
    chopin_pg__end_message(o, mark);
}

static chopin_str chopin_pg__portal_name(const chopin_pg_rows *r, char *out, size_t cap) {
    if (!r->portal) return chopin_pg__str("", 0);
    return chopin_pg__str(out, (size_t)snprintf(out, cap, "chopin_p%u", r->portal_id));
}

/* All messages of one statement. The steps say what will be answered. */
static int chopin_pg__put_statement(chopin_pg__conn *k, chopin_pg_rows *r, chopin_pg__statement *s) {
    char name[24];
    bool usual = s && s->state == CHOPIN_PG__PREPARED && !r->portal && !r->prepare_only && r->param_count == s->param_count;
    if (usual && (s->ready || chopin_pg__ready_make(k->core, s))) {
        r->binary = true;
        r->steps  = "2x";
        return chopin_pg__put_around(k, r, s);
    }
    chopin_str portal = chopin_pg__portal_name(r, name, sizeof name);
    bool fresh = s && s->uses == 0 && s->state == CHOPIN_PG__PREPARING;
    if (fresh || !s) chopin_pg__put_parse(k, r, s ? s->name : "");
    if (fresh)       chopin_pg__put_named(&k->out, 'D', 'S', chopin_pg__str_z(s->name));
    if (r->prepare_only && !s) chopin_pg__put_named(&k->out, 'D', 'S', chopin_pg__str("", 0));
    if (r->prepare_only) return r->steps = fresh || !s ? "1tT" : "", 0;
    int rc = chopin_pg__put_bind(k, r, s, portal);
    if (rc < 0) return rc;
    if (!s && !r->ours) chopin_pg__put_named(&k->out, 'D', 'P', portal);
    chopin_pg__put_execute(&k->out, portal, r->fetch);
    r->steps = !s ? (r->ours ? "12x" : "12Tx") : fresh ? "1tT2x" : "2x";
    return 0;
}

static int chopin_pg__put_query(chopin_pg__conn *k, chopin_pg_rows *r) {
    chopin_pg__put_text(&k->out, 'Q', r->sql);
    r->steps = "q";
    r->sync  = true;
    return 0;
}

/* What could not be encoded is taken back; what stands in the buffer before it is whole. */
static int chopin_pg__encode_undo(chopin_pg__conn *k, chopin_pg_rows *r, size_t len, int rc) {
    int status = k->out.status;
    k->out.len    = len;
    k->out.status = 0;
    if (rc < 0) return rc;
    if (status == CHOPIN_PG_MEMORY) return chopin_pg__object_fail(&r->object, status, "out of memory for a statement");
    return chopin_pg__object_fail(&r->object, status, "a statement and its values must stay below 1 GiB");
}

static inline void chopin_pg__rows_use(chopin_pg__core *c, chopin_pg_rows *r, chopin_pg__statement *s) {
    if (r->statement) chopin_pg__statement_drop(c, r->statement);
    s->uses++;
    r->statement = s;
    if (!r->kept_sql) r->sql = s->sql;                          // the caller's text may go away
}

/* The usual one, with nothing but integers for a statement that is ready. Its Sync and its place in the queue are left to do. False: nothing was put;
 * for want of memory, the output says so. */
static inline bool chopin_pg__put_usual(chopin_pg__conn *k, chopin_pg_rows *r, chopin_pg__statement *s) {
    if (r->portal || r->prepare_only || !chopin_pg__put_integers(k, r, s)) return false;
    chopin_pg__rows_use(k->core, r, s);
    r->out_from = k->out_base + k->out.len - s->ready_size;
    r->binary = true;
    r->steps  = "2x";
    return true;
}

/* The same for any other. `s`: NULL for one that goes unnamed or has to be looked for. */
static int chopin_pg__encode_rare(chopin_pg__conn *k, chopin_pg_rows *r, chopin_pg__statement *s) {
    if (!r->simple && !r->unnamed && !s) s = chopin_pg__cache_get(k, r);            // its riders come first
    size_t len = k->out.len;
    r->out_from = k->out_base + len;
    int rc = r->simple ? chopin_pg__put_query(k, r) : chopin_pg__put_statement(k, r, s);
    if (rc == 0) chopin_pg__out_room(&k->out, CHOPIN_PG__SYNC_ROOM);
    if (rc < 0 || k->out.status) {
        if (s && s->uses == 0 && s->state == CHOPIN_PG__PREPARING) chopin_pg__cache_remove(k->core, k->cache, s);
        return chopin_pg__encode_undo(k, r, len, rc);
    }
    if (s && s->uses == 0 && s->state == CHOPIN_PG__PREPARING) k->core->counters.prepared++;
    if (s) chopin_pg__rows_use(k->core, r, s);
    chopin_pg__queue_push(k, r);
    return 0;
}

/* Puts `r` into the output and the queue, without its Sync (see chopin_pg__seal). 0, or its error is set. */
static int chopin_pg__encode(chopin_pg__conn *k, chopin_pg_rows *r) {
    chopin_pg__statement *s = r->simple || r->unnamed ? NULL : chopin_pg__cache_ready(k, r);
    r->sync = false;
    if (!s || !chopin_pg__put_usual(k, r, s)) return chopin_pg__encode_rare(k, r, s);
    chopin_pg__queue_push(k, r);
    return 0;
}

/* Ends the group with its Sync. */
static void chopin_pg__seal(chopin_pg__conn *k) {
    if (!k->tail || k->tail->sync) return;
    chopin_pg__put_simple(&k->out, 'S');
    k->tail->sync = true;
    if (k->out.status) chopin_pg__conn_break(k, CHOPIN_PG_MEMORY, "out of memory for a Sync");
}

/* The next `fetch` rows of a portal, or its end. */
static int chopin_pg__encode_more(chopin_pg__conn *k, chopin_pg_rows *r) {
    char name[24];
    size_t len = k->out.len;
    r->out_from = k->out_base + len;
    chopin_pg__put_execute(&k->out, chopin_pg__portal_name(r, name, sizeof name), r->fetch);
    if (!chopin_pg__out_room(&k->out, CHOPIN_PG__SYNC_ROOM)) return chopin_pg__encode_undo(k, r, len, 0);
    r->steps = "x";
    r->sync  = false;
    chopin_pg__queue_push(k, r);
    r->bound = true;
    chopin_pg__seal(k);
    return 0;
}
/* ==========================================================================================================
   >>rows   results as they are read: from the bytes that have arrived to the row in hand
   Nothing waits here. A row is a view: its block stays until the next step. Only messages whose frame was judged and whose number of columns was compared when
   they arrived are met again; the lengths of the values are judged here, once, for all columns.
   ========================================================================================================== */

/* The first span has been read to its end: give its block back. */
static void chopin_pg__span_pop(chopin_pg__core *c, chopin_pg_rows *r) {
    chopin_pg__span *next = r->first.next;
    chopin_pg__block_drop(c, r->first.block);
    if (!next) {
        r->last = NULL;
        return;
    }
    if (r->last == next) r->last = &r->first;
    r->first = *next;
    next->next = c->spare_spans;
    c->spare_spans = next;
}

/* The next message that lies here unread. It stays valid until the next call. */
static inline bool chopin_pg__rows_message(chopin_pg__core *c, chopin_pg_rows *r, chopin_pg__frame *f) {
    while (r->last && r->first.from == r->first.to) chopin_pg__span_pop(c, r);
    if (!r->last) return false;
    const uint8_t *at = r->first.block->data + r->first.from;
    f->type = at[0];
    f->len  = chopin_pg__load32(at + 1) - 4;
    f->body = at + 5;
    size_t n = (size_t)f->len + 5;
    r->first.from += n;
    r->unread     -= n;
    if (r->counted) {
        bool much = r->conn->unread > CHOPIN_PG__UNREAD_MAX;
        r->conn->unread -= n;
        if (much && r->conn->unread <= CHOPIN_PG__UNREAD_MAX) {
            r->conn->stalled_since_ms = 0;
            chopin_pg__pass(r->conn);
        }
    }
    return true;
}

static CHOPIN_PG__NOINLINE bool chopin_pg__cells_grow(chopin_pg__core *c, chopin_pg_rows *r, uint32_t columns) {
    uint32_t cap = columns < 8 ? 8 : columns;
    chopin_pg__cell *cells = (chopin_pg__cell *)chopin_pg__alloc(&c->heap, cap * sizeof *cells);
    if (!cells) return chopin_pg__rows_fail(r, CHOPIN_PG_MEMORY, "out of memory for a row of %u columns", (unsigned)columns), false;
    chopin_pg__release(&c->heap, r->cells, r->cells_cap * sizeof *r->cells);
    r->cells     = cells;
    r->cells_cap = cap;
    return true;
}

static inline bool chopin_pg__cells_room(chopin_pg__core *c, chopin_pg_rows *r, uint32_t columns) {
    return (columns <= r->cells_cap && r->cells) || chopin_pg__cells_grow(c, r, columns);
}

/* The cells are those of a row. */
static inline bool chopin_pg__row_taken(chopin_pg_rows *r) {
    r->quick = r->binary ? r->shape->columns : 0;
    return r->on_row = true;
}

static void chopin_pg__row_gone(chopin_pg_rows *r) {
    r->on_row = false;
    r->handy = 0;
    r->quick = 0;
    if (r->room.blocks) chopin_pg__arena_reset(&r->room);
}

static bool chopin_pg__rows_take_row(chopin_pg__core *c, chopin_pg_rows *r, const chopin_pg__frame *f) {
    if (!r->shape || !chopin_pg__cells_room(c, r, r->shape->columns)) return false;
    if (!chopin_pg__read_cells(f->body, f->len, r->shape->columns, r->cells)) {
        chopin_pg__rows_fail(r, CHOPIN_PG_PROTOCOL, "the server sent a malformed message of type 'D'");
        if (r->conn && r->phase == CHOPIN_PG__FLYING) chopin_pg__conn_break(r->conn, CHOPIN_PG_PROTOCOL, "the server sent a malformed message of type 'D'");
        return false;
    }
    r->handy = 'D';
    return chopin_pg__row_taken(r);
}

/* A script's next RowDescription: it was good when it came. */
static bool chopin_pg__rows_take_shape(chopin_pg__core *c, chopin_pg_rows *r, const chopin_pg__frame *f) {
    unsigned columns;
    size_t   names;
    chopin_pg__shape_drop(&c->heap, r->shape);
    r->shape = chopin_pg__check_fields(f, &columns, &names) ? chopin_pg__shape_new(&c->heap, f, columns, names) : NULL;
    if (!r->shape) chopin_pg__rows_fail(r, CHOPIN_PG_MEMORY, "out of memory for the description of a result");
    return r->shape != NULL;
}

/* The end of one result of a script. */
static void chopin_pg__rows_take_end(chopin_pg_rows *r, const chopin_pg__frame *f) {
    chopin_str tag;
    int64_t count = 0;
    if (f->type == 'C') chopin_pg__read_complete(f, &tag, &count);
    r->result_count = count < 0 ? 0 : count;
    r->result_over  = true;
}

/* 1: a row is in hand; 0: nothing is buffered, or this result is over. Errors are in the result. */
static int chopin_pg__rows_step(chopin_pg__core *c, chopin_pg_rows *r) {
    chopin_pg__frame f;
    chopin_pg__row_gone(r);
    while (!r->object.status && !r->result_over && chopin_pg__rows_message(c, r, &f)) {
        if (f.type == 'D') return chopin_pg__rows_take_row(c, r, &f);
        if (f.type == 'T' && !chopin_pg__rows_take_shape(c, r, &f)) return 0;
        if (f.type == 'C' || f.type == 'I') chopin_pg__rows_take_end(r, &f);
    }
    return 0;
}

/* The usual step, in a loop over rows that lie here: the next message is a row and nothing of the last one has to be given back. A binary COPY has the same
 * form, unless one of its rows lies across messages. False: take the whole way. */
static inline bool chopin_pg__rows_take_handy(chopin_pg_rows *r) {
    if (!r->handy || r->object.status || r->first.to - r->first.from < 7 || (r->counted && r->conn->unread > CHOPIN_PG__UNREAD_MAX)) return false;
    const uint8_t *at = r->first.block->data + r->first.from;
    size_t n = (size_t)chopin_pg__load32(at + 1) + 1;
    if (at[0] != r->handy || !chopin_pg__read_cells(at + 5, n - 5, r->shape->columns, r->cells)) return false;
    r->first.from += n;
    r->unread     -= n;
    if (r->counted) r->conn->unread -= n;
    return r->on_row || chopin_pg__row_taken(r);
}

/* ---- what others may not do on a shared connection ---- */

/* Skips blanks, comments (-- to the end of the line, nested slash-star) and opening brackets. */
static chopin_str chopin_pg__sql_comment(chopin_str s) {
    for (int depth = 0; s.len; ) {
        if (chopin_pg__starts(s, "/*"))      { depth++; s = chopin_pg__skip(s, 2); }
        else if (chopin_pg__starts(s, "*/")) { s = chopin_pg__skip(s, 2); if (--depth == 0) return s; }
        else s = chopin_pg__skip(s, 1);
    }
    return s;
}

static chopin_str chopin_pg__sql_start(chopin_str s) {
    while (s.len) {
        if (chopin_pg__is_space(s.ptr[0]) || s.ptr[0] == '(' || s.ptr[0] == ';') s = chopin_pg__skip(s, 1);
        else if (chopin_pg__starts(s, "--")) {
            size_t n = 0;
            while (n < s.len && s.ptr[n] != '\n' && s.ptr[n] != '\r') n++;
            s = chopin_pg__skip(s, n);
        }
        else if (chopin_pg__starts(s, "/*")) s = chopin_pg__sql_comment(s);
        else break;
    }
    return s;
}

static chopin_str chopin_pg__sql_word(chopin_str sql) {
    chopin_str s = chopin_pg__sql_start(sql);
    size_t n = 0;
    while (n < s.len && (chopin_pg__is_alpha(s.ptr[n]) || s.ptr[n] == '_' || chopin_pg__is_digit(s.ptr[n]))) n++;
    return chopin_pg__str(s.ptr, n);
}

typedef enum chopin_pg__gate { CHOPIN_PG__GATE_OPEN, CHOPIN_PG__GATE_TX, CHOPIN_PG__GATE_SESSION, CHOPIN_PG__GATE_COPY } chopin_pg__gate;

/* What kind of word a statement begins with: one that opens or ends transactions, one that changes the session, COPY, or none of these. */
static chopin_pg__gate chopin_pg__sql_gate(chopin_str word) {
    static const struct { const char *word; chopin_pg__gate gate; } words[] = {
        { "BEGIN", CHOPIN_PG__GATE_TX }, { "START", CHOPIN_PG__GATE_TX }, { "COMMIT", CHOPIN_PG__GATE_TX }, { "END", CHOPIN_PG__GATE_TX }, { "ROLLBACK", CHOPIN_PG__GATE_TX },
        { "ABORT", CHOPIN_PG__GATE_TX }, { "SAVEPOINT", CHOPIN_PG__GATE_TX }, { "RELEASE", CHOPIN_PG__GATE_TX }, { "LOCK", CHOPIN_PG__GATE_TX },
        { "PREPARE", CHOPIN_PG__GATE_SESSION }, { "EXECUTE", CHOPIN_PG__GATE_SESSION }, { "DEALLOCATE", CHOPIN_PG__GATE_SESSION }, { "SET", CHOPIN_PG__GATE_SESSION },
        { "RESET", CHOPIN_PG__GATE_SESSION }, { "LISTEN", CHOPIN_PG__GATE_SESSION }, { "UNLISTEN", CHOPIN_PG__GATE_SESSION }, { "DECLARE", CHOPIN_PG__GATE_SESSION },
        { "FETCH", CHOPIN_PG__GATE_SESSION }, { "MOVE", CHOPIN_PG__GATE_SESSION }, { "CLOSE", CHOPIN_PG__GATE_SESSION }, { "DISCARD", CHOPIN_PG__GATE_SESSION },
        { "LOAD", CHOPIN_PG__GATE_SESSION }, { "COPY", CHOPIN_PG__GATE_COPY },
    };
    for (size_t i = 0; i < CHOPIN_PG__COUNT(words); i++) {
        if (!word.len || (word.ptr[0] | 0x20) != (words[i].word[0] | 0x20)) continue;
        if (chopin_pg__equal_nocase(word, chopin_pg__str_z(words[i].word))) return words[i].gate;
    }
    return CHOPIN_PG__GATE_OPEN;
}
/* ==========================================================================================================
   >>dial   how a connection is made: address after address, TLS, login, setting up
   A machine that is moved on by whoever waits for the connection: if that fiber leaves, the next one goes on where it was. One deadline covers everything,
   and connect_timeout each host. Clear text is refused where it was not asked for before the first byte leaves.
   ========================================================================================================== */

#define CHOPIN_PG__ADDRESSES 16

typedef struct chopin_pg__dial {
    int          host, address, count;    // which host of the DSN, which of its addresses
    chopin_pg_address list[CHOPIN_PG__ADDRESSES];
    bool         resolved, tls_off, tls_on, second_round, refused;
    int64_t      not_before_ms, host_deadline;
    int          backoff_ms;
    chopin_pg__object fault;              // of the last host that was tried
    chopin_pg__auth auth;
    bool         accepted, work;          // R 0 has come and was right; the machine has a long computation to do
    int          first_host;              // load_balance_hosts: where the round began
    int          tried;                   // hosts of this round
    int          rank;                    // how far the attempt came whose error is kept
    char         password[4096];          // what the hook gave (tokens of cloud providers are long); wiped
} chopin_pg__dial;

static chopin_pg__host *chopin_pg__dial_host(chopin_pg__conn *k) { return &k->core->dsn.hosts[k->dial->host]; }

static void chopin_pg__dial_name(const chopin_pg__host *h, char *out, size_t cap) {
    chopin_str name = h->host.len ? h->host : h->hostaddr;
    snprintf(out, cap, h->is_unix ? "%.*s/.s.PGSQL.%u" : "%.*s:%u", CHOPIN_FMT(name), (unsigned)h->port);
}

/* ---- addresses ---- */
static int chopin_pg__numeric(const char *text, chopin_pg_address *out) {
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, text, out->bytes) == 1)  return out->len = 4, 1;
    if (inet_pton(AF_INET6, text, out->bytes) == 1) return out->len = 16, 1;
    return 0;
}

static int chopin_pg__resolve_system(void *ctx, const char *host, chopin_pg_address *out, int cap) {
    (void)ctx;
    struct addrinfo hints, *list = NULL;
    int n = 0;
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    if (CHOPIN_PG__SYS_GETADDRINFO(host, NULL, &hints, &list) != 0) return -1;
    for (struct addrinfo *a = list; a && n < cap; a = a->ai_next) {
        chopin_pg_address *to = &out[n];
        memset(to, 0, sizeof *to);
        if (a->ai_family == AF_INET) {
            memcpy(to->bytes, &((const struct sockaddr_in *)(const void *)a->ai_addr)->sin_addr, to->len = 4);
            n++;
        } else if (a->ai_family == AF_INET6) {
            const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)a->ai_addr;
            memcpy(to->bytes, &six->sin6_addr, to->len = 16);
            to->scope = six->sin6_scope_id;
            n++;
        }
    }
    freeaddrinfo(list);
    return n;
}

/* Answers are kept a minute: a pool that refills does not ask again and again. */
static int chopin_pg__resolve(chopin_pg__core *c, const char *host, chopin_pg_address *out) {
    chopin_pg__known *known = &c->known[chopin_pg__hash(0, host, strlen(host)) % CHOPIN_PG__COUNT(c->known)];
    int64_t now = chopin_pg__clock_ms();
    if (known->count > 0 && now < known->until_ms && strcmp(known->host, host) == 0) {
        memcpy(out, known->list, (size_t)known->count * sizeof *out);
        return known->count;
    }
    int n = c->options.resolve ? c->options.resolve(c->options.resolve_ctx, host, out, CHOPIN_PG__ADDRESSES) : chopin_pg__resolve_system(NULL, host, out, CHOPIN_PG__ADDRESSES);
    if (n <= 0 || n > CHOPIN_PG__ADDRESSES || strlen(host) >= sizeof known->host) return n > CHOPIN_PG__ADDRESSES ? CHOPIN_PG__ADDRESSES : n;
    int kept = n < (int)CHOPIN_PG__COUNT(known->list) ? n : (int)CHOPIN_PG__COUNT(known->list);
    memcpy(known->list, out, (size_t)kept * sizeof *out);
    snprintf(known->host, sizeof known->host, "%s", host);
    known->count    = kept;
    known->until_ms = now + 60000;
    return n;
}

static int chopin_pg__dial_addresses(chopin_pg__conn *k, const chopin_pg__host *h) {
    chopin_pg__dial *d = k->dial;
    d->address = 0;
    d->count   = 1;
    if (h->is_unix) return 1;
    const char *name = h->hostaddr.len ? h->hostaddr.ptr : h->host.ptr;
    if (chopin_pg__numeric(name, &d->list[0])) return 1;
    d->count = chopin_pg__resolve(k->core, name, d->list);
    if (d->count <= 0) return chopin_pg__object_fail(&d->fault, CHOPIN_PG_CONNECT, "the name of host %s cannot be resolved", name);
    if (k->core->dsn.shuffle) {
        for (int i = d->count - 1; i > 0; i--) {
            int j = (int)(chopin_pg__random_next(&k->core->random) % (uint64_t)(i + 1));
            chopin_pg_address t = d->list[i];
            d->list[i] = d->list[j];
            d->list[j] = t;
        }
    }
    return d->count;
}

/* Gives the length of the address, or 0: the path of the socket is too long. */
static socklen_t chopin_pg__sockaddr(const chopin_pg__host *h, const chopin_pg_address *a, struct sockaddr_storage *out) {
    memset(out, 0, sizeof *out);
    if (h->is_unix) {
        struct sockaddr_un *u = (struct sockaddr_un *)(void *)out;
        u->sun_family = AF_UNIX;
        int n = snprintf(u->sun_path, sizeof u->sun_path, "%.*s/.s.PGSQL.%u", CHOPIN_FMT(h->host), (unsigned)h->port);
        if (n < 0 || (size_t)n >= sizeof u->sun_path) return 0;
        if (u->sun_path[0] != '@') return (socklen_t)sizeof *u;
        u->sun_path[0] = 0;                                   // a name in the abstract namespace: counted, not terminated
        return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n);
    }
    if (a->len == 4) {
        struct sockaddr_in *in = (struct sockaddr_in *)(void *)out;
        in->sin_family = AF_INET;
        in->sin_port   = htons(h->port);
        memcpy(&in->sin_addr, a->bytes, 4);
        return (socklen_t)sizeof *in;
    }
    struct sockaddr_in6 *in = (struct sockaddr_in6 *)(void *)out;
    in->sin6_family   = AF_INET6;
    in->sin6_port     = htons(h->port);
    in->sin6_scope_id = a->scope;
    memcpy(&in->sin6_addr, a->bytes, 16);
    return (socklen_t)sizeof *in;
}

static void chopin_pg__socket_option(int fd, int level, int name, int value) { (void)CHOPIN_PG__SYS_SETSOCKOPT(fd, level, name, &value, sizeof value); }

static void chopin_pg__socket_options(int fd, const chopin_pg__dsn *d) {
    chopin_pg__socket_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (!d->no_keepalives) chopin_pg__socket_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
#ifdef TCP_KEEPIDLE
    if (d->keepalives_idle_s > 0)     chopin_pg__socket_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, d->keepalives_idle_s);
    if (d->keepalives_interval_s > 0) chopin_pg__socket_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, d->keepalives_interval_s);
    if (d->keepalives_count > 0)      chopin_pg__socket_option(fd, IPPROTO_TCP, TCP_KEEPCNT, d->keepalives_count);
#endif
#ifdef TCP_USER_TIMEOUT
    if (d->tcp_user_timeout_ms > 0)   chopin_pg__socket_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, d->tcp_user_timeout_ms);
#endif
}

/* A socket on its way to the address. >= 0: the descriptor (connecting or connected); -1: errno says why. */
static int chopin_pg__socket_connect(const chopin_pg__dsn *d, const chopin_pg__host *h, const chopin_pg_address *a) {
    struct sockaddr_storage to;
    socklen_t len = chopin_pg__sockaddr(h, a, &to);
    if (!len) return errno = ENAMETOOLONG, -1;
    int fd = CHOPIN_PG__SYS_SOCKET(((struct sockaddr *)&to)->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    if (!h->is_unix) chopin_pg__socket_options(fd, d);
    int rc;
    do rc = CHOPIN_PG__SYS_CONNECT(fd, (struct sockaddr *)&to, len); while (rc < 0 && errno == EINTR);
    if (rc == 0 || errno == EINPROGRESS || errno == EALREADY || errno == EISCONN) return fd;
    int why = errno;
    CHOPIN_PG__SYS_CLOSE(fd);
    errno = why;
    return -1;
}

/* ---- one attempt ends, the next begins ---- */
static void chopin_pg__dial_reset(chopin_pg__conn *k) {
    chopin_pg__conn_shut(k);
    k->current = NULL;
    while (k->head) chopin_pg__rows_recycle(k->core, chopin_pg__queue_pop(k));
    k->skipping = false;
    k->out_base = 0;
    k->secure = k->tls_wants_write = k->write_failed = false;
    k->key_len = 0;
    k->version = 0x30000;
    chopin_pg__auth_done(&k->dial->auth);
    k->stage = CHOPIN_PG__CLOSED;
}

static void chopin_pg__dial_free(chopin_pg__conn *k) {
    chopin_pg__dial *d = k->dial;
    if (!d) return;
    chopin_pg__auth_done(&d->auth);
    chopin_pg__wipe(d->password, sizeof d->password - 1);
    chopin_pg__object_done(&d->fault);
    chopin_pg__release(&k->core->heap, d, sizeof *d);
    k->dial = NULL;
}

/* The reason is kept from the most telling attempt: a server that answered outranks an address where nobody did. */
static void chopin_pg__dial_remember(chopin_pg__conn *k) {
    chopin_pg__dial *d = k->dial;
    bool said = k->fault.error && k->fault.error->sqlstate[0];
    if (!d->fault.status || said || (int)k->stage >= d->rank) {
        d->rank = said ? (int)CHOPIN_PG__DEAD : (int)k->stage;
        chopin_pg__object_give(&d->fault, &k->fault);
    }
    chopin_pg__object_clear(&k->fault);
}

/* Starting up, shutting down, or nobody there where somebody was: worth another round after a pause. */
static bool chopin_pg__dial_again(chopin_pg__conn *k) {
    chopin_pg__dial *d = k->dial;
    bool starting = d->fault.error && strcmp(d->fault.error->sqlstate, "57P03") == 0;
    if (!starting && !(d->refused && k->core->counters.connects > 0)) return false;
    d->backoff_ms = d->backoff_ms ? (d->backoff_ms < 1000 ? d->backoff_ms * 2 : 2000) : 50;
    int64_t pause = d->backoff_ms / 2 + (int64_t)(chopin_pg__random_next(&k->core->random) % (uint64_t)d->backoff_ms);
    d->not_before_ms = chopin_pg__clock_ms() + pause;
    if (k->dial_deadline >= 0 && d->not_before_ms >= k->dial_deadline) return false;
    d->host = d->first_host;
    d->address = d->tried = 0;
    d->resolved = d->second_round = d->refused = d->tls_on = d->tls_off = false;
    return true;
}

/* Everything was tried. */
static int chopin_pg__dial_over(chopin_pg__conn *k) {
    if (k->core->dsn.target == CHOPIN_PG__PREFER_STANDBY && !k->dial->second_round) {
        k->dial->second_round = true;
        k->dial->host  = k->dial->first_host;
        k->dial->tried = 0;
        return 0;
    }
    if (chopin_pg__dial_again(k)) return 0;
    chopin_pg__object_give(&k->fault, &k->dial->fault);
    k->core->counters.connect_failures++;
    k->attempt_failed = NULL;
    return chopin_pg__conn_break(k, k->fault.status ? k->fault.status : CHOPIN_PG_CONNECT, "no host could be reached");
}

static int chopin_pg__dial_next(chopin_pg__conn *k) {
    chopin_pg__dial *d = k->dial;
    d->tls_on = d->tls_off = false;
    if (++d->address < d->count) return 0;
    d->resolved = false;
    d->host = (d->host + 1) % k->core->dsn.host_count;
    return ++d->tried < k->core->dsn.host_count ? 0 : chopin_pg__dial_over(k);
}

static int chopin_pg__dial_late(chopin_pg__conn *k) {
    chopin_pg__object_give(&k->fault, &k->dial->fault);
    k->core->counters.connect_failures++;
    k->attempt_failed = NULL;
    return chopin_pg__conn_break(k, CHOPIN_PG_TIMEOUT, "connect_ms is over");
}

/* This attempt failed; k->fault says why. sslmode=prefer tries clear text, allow tries TLS, on a new socket in the time that is left. */
static int chopin_pg__dial_failed(chopin_pg__conn *k) {
    chopin_pg__dial *d = k->dial;
    chopin_pg_sslmode mode = k->core->dsn.tls.mode;
    bool tls = k->stage == CHOPIN_PG__HANDSHAKE || k->secure, answered = k->stage >= CHOPIN_PG__HANDSHAKE, is_unix = chopin_pg__dial_host(k)->is_unix;
    bool asked = d->auth.state != CHOPIN_PG__AUTH_START;       // a login that began and failed is not a reason to do it again in clear text
    bool logged_in = k->stage == CHOPIN_PG__SETTING_UP || !k->core->options.tls || is_unix || !answered || asked;
    chopin_pg__dial_remember(k);
    chopin_pg__dial_reset(k);
    if (chopin_pg__late(k->dial_deadline)) return chopin_pg__dial_late(k);
    if (!logged_in && mode == CHOPIN_PG_SSL_PREFER && tls && !d->tls_off) {
        chopin_pg__log(&k->core->log, CHOPIN_PG_WARNING, "TLS failed; sslmode=prefer goes on in clear text");
        return d->tls_off = true, 0;
    }
    if (!logged_in && mode == CHOPIN_PG_SSL_ALLOW && !tls && !d->tls_on)    return d->tls_on = true, 0;
    return chopin_pg__dial_next(k);
}

static int CHOPIN_PG__PRINTF(3, 4) chopin_pg__dial_fail(chopin_pg__conn *k, int status, const char *format, ...) {
    char where[160], what[200];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    chopin_pg__dial_name(chopin_pg__dial_host(k), where, sizeof where);
    chopin_pg__object_fail(&k->fault, status, "%s: %s", where, what);
    return chopin_pg__dial_failed(k);
}

/* ---- login ---- */
static void chopin_pg__put_setting(chopin_pg__out *o, const char *name, chopin_str value) {
    if (!value.len) return;
    chopin_pg__put_z(o, chopin_pg__str_z(name));
    chopin_pg__put_z(o, value);
}

static int chopin_pg__login_start(chopin_pg__conn *k) {
    const chopin_pg__dsn *d = &k->core->dsn;
    k->version = 0x30000u | (uint32_t)d->max_minor;
    k->stage   = CHOPIN_PG__LOGIN;
    size_t mark = chopin_pg__put_mark(&k->out);
    chopin_pg__put_u32(&k->out, k->version);
    chopin_pg__put_setting(&k->out, "user", d->user);
    chopin_pg__put_setting(&k->out, "database", d->database);
    chopin_pg__put_setting(&k->out, "application_name", d->application_name);
    chopin_pg__put_setting(&k->out, "client_encoding", CHOPIN_STR("UTF8"));
    chopin_pg__put_setting(&k->out, "DateStyle", CHOPIN_STR("ISO"));
    chopin_pg__put_setting(&k->out, "options", d->options);
    chopin_pg__put_u8(&k->out, 0);
    chopin_pg__end_message(&k->out, mark);
    k->traced = k->out_base + k->out.len;                     // it has no type
    return k->out.status ? chopin_pg__conn_break(k, CHOPIN_PG_MEMORY, "out of memory for the login") : 0;
}

static int chopin_pg__login_version(chopin_pg__conn *k, const chopin_pg__frame *f) {
    uint32_t version;
    if (!chopin_pg__read_negotiate(f, &version)) return chopin_pg__dial_fail(k, CHOPIN_PG_PROTOCOL, "the server sent a malformed message of type 'v', or refuses options we did not ask for");
    if (version > k->version || version >> 16 != 3) return chopin_pg__dial_fail(k, CHOPIN_PG_PROTOCOL, "the server wants a newer protocol than we asked for");
    if ((int)(version & 0xffff) < k->core->dsn.min_minor) return chopin_pg__dial_fail(k, CHOPIN_PG_PROTOCOL, "the server does not speak min_protocol_version");
    k->version = version;
    return 0;
}

static int chopin_pg__login_key(chopin_pg__conn *k, const chopin_pg__frame *f) {
    const uint8_t *key;
    if (!chopin_pg__read_key(f, &k->pid, &key, &k->key_len)) return chopin_pg__dial_fail(k, CHOPIN_PG_PROTOCOL, "the server sent a malformed message of type 'K'");
    memcpy(k->key, key, k->key_len);
    return 0;
}

static int chopin_pg__login_error(chopin_pg__conn *k, const chopin_pg__frame *f) {
    chopin_pg_error *e = chopin_pg__object_error(&k->fault), local;
    if (!e) chopin_pg__error_init(e = &local, NULL);
    if (!e->status) chopin_pg__error_clear(e);
    int status = chopin_pg__error_server(e, CHOPIN_PG_CONNECT, chopin_pg__str(f->body, f->len), chopin_pg__absent());
    if (e->sqlstate[0] && status == CHOPIN_PG_CONNECT) e->status = status = chopin_pg__startup_status(e->sqlstate);
    k->fault.status = status;
    return chopin_pg__dial_failed(k);
}


/* The answer of the authentication machine goes out as one `p`. Deriving a salted key is long work: it is done in pieces by chopin_pg__dial_step(). */
static int chopin_pg__login_answer(chopin_pg__conn *k, int rc, chopin_pg_error *e) {
    chopin_pg__dial *d = k->dial;
    d->work = rc == CHOPIN_PG__AUTH_WORK;
    if (rc == CHOPIN_PG__AUTH_OK) d->accepted = true;
    if (rc == CHOPIN_PG__AUTH_SEND) chopin_pg__put_data(&k->out, 'p', d->auth.out, d->auth.out_len);
    if (k->out.status) return chopin_pg__conn_break(k, CHOPIN_PG_MEMORY, "out of memory for the login");
    if (rc >= 0) return 0;
    rc = chopin_pg__dial_fail(k, rc, "%s", e->why ? e->why : "login failed");
    return rc;
}

static int chopin_pg__login_auth(chopin_pg__conn *k, const chopin_pg__frame *f) {
    chopin_pg_error e;
    if (k->dial->accepted) return chopin_pg__dial_fail(k, CHOPIN_PG_PROTOCOL, "the server asks for a login after it has accepted us");
    chopin_pg__error_init(&e, NULL);
    return chopin_pg__login_answer(k, chopin_pg__auth_input(&k->dial->auth, f->body, f->len, &e), &e);
}

static int chopin_pg__login_work(chopin_pg__conn *k) {
    chopin_pg_error e;
    chopin_pg__error_init(&e, NULL);
    return chopin_pg__login_answer(k, chopin_pg__auth_work(&k->dial->auth, 512), &e);
}

/* ---- after the login: .setup, and is it the kind of server that was asked for? ---- */
static int chopin_pg__setup_query(chopin_pg__conn *k, const char *sql, void (*finish)(chopin_pg__conn *k, chopin_pg_rows *r)) {
    chopin_pg_rows *r = chopin_pg__rows_new(k->core);
    if (!r) return chopin_pg__conn_break(k, CHOPIN_PG_MEMORY, "out of memory for setting up a connection");
    r->sql    = chopin_pg__str_z(sql);
    r->simple = true;
    r->ours   = true;
    r->finish = finish;
    r->out_from = k->out_base + k->out.len;
    chopin_pg__put_text(&k->out, 'Q', r->sql);
    r->steps = "q";
    r->sync  = true;
    chopin_pg__queue_push(k, r);
    return k->out.status ? chopin_pg__conn_break(k, CHOPIN_PG_MEMORY, "out of memory for setting up a connection") : 0;
}

static bool chopin_pg__target_fits(const chopin_pg__conn *k) {
    switch (k->core->dsn.target) {
    case CHOPIN_PG__READ_WRITE:     return !k->hot_standby && !k->read_only;
    case CHOPIN_PG__READ_ONLY:      return k->hot_standby || k->read_only;
    case CHOPIN_PG__PRIMARY:        return !k->hot_standby;
    case CHOPIN_PG__STANDBY:        return k->hot_standby;
    case CHOPIN_PG__PREFER_STANDBY: return k->hot_standby || k->dial->second_round;
    default:                        return true;
    }
}

static void chopin_pg__setup_ready(chopin_pg__conn *k) {
    chopin_pg__core *c = k->core;
    if (!chopin_pg__target_fits(k)) {
        chopin_pg__dial_fail(k, CHOPIN_PG_CONNECT, "target_session_attrs asks for another kind of server");
        return;
    }
    k->stage   = CHOPIN_PG__READY;
    k->host    = k->dial->host;
    k->address = k->dial->list[k->dial->address];
    k->attempt_failed = NULL;
    chopin_pg__dial_free(k);
    chopin_pg__object_clear(&k->fault);
    c->counters.connects++;
    k->born_ms = k->idle_since_ms = chopin_pg__clock_ms();
    int64_t life = c->options.lifetime_ms;
    k->dies_ms = life < 0 ? -1 : k->born_ms + life - life / 10 + (int64_t)(chopin_pg__random_next(&c->random) % (uint64_t)(life / 5 + 1));
    if (c->blocking && !k->tls) CHOPIN_PG__SYS_FCNTL(k->fd, F_SETFL, CHOPIN_PG__SYS_FCNTL(k->fd, F_GETFL, 0) & ~O_NONBLOCK);
    while (k->sleepers) chopin_pg__wake(c, k->sleepers);
    if (c->options.on_event) {
        chopin_pg_event ev = { .kind = CHOPIN_PG_ON_CONNECT, .pid = k->pid, .ns = (k->born_ms - k->dial_since_ms) * 1000000, .sqlstate = "" };
        c->options.on_event(c->options.event_ctx, &ev);
    }
}

static bool chopin_pg__setup_failed(chopin_pg__conn *k, chopin_pg_rows *r, const char *what) {
    if (!r->object.status) return false;
    char why[160];
    snprintf(why, sizeof why, "%s", chopin_pg__object_shown(&r->object)->why);
    chopin_pg__dial_fail(k, CHOPIN_PG_CONNECT, "%s: %s", what, why);
    return true;
}

static void chopin_pg__setup_role(chopin_pg__conn *k, chopin_pg_rows *r) {
    if (chopin_pg__setup_failed(k, r, "asking for its role")) return;
    if (chopin_pg__rows_step(k->core, r) && r->shape->columns == 2) {
        k->hot_standby = r->cells[0].len == 1 && r->cells[0].ptr[0] == 't';
        k->read_only   = r->cells[1].len == 2;               // "on", not "off"
    }
    chopin_pg__setup_ready(k);
}

static void chopin_pg__setup_check(chopin_pg__conn *k) {
    bool known = chopin_pg__setting_get(k, "in_hot_standby").ptr && chopin_pg__setting_get(k, "default_transaction_read_only").ptr;
    if (k->core->dsn.target == CHOPIN_PG__ANY || known) chopin_pg__setup_ready(k);
    else chopin_pg__setup_query(k, "select pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')", chopin_pg__setup_role);
}

static void chopin_pg__setup_done(chopin_pg__conn *k, chopin_pg_rows *r) {
    if (chopin_pg__setup_failed(k, r, "the setup SQL")) return;
    if (k->state != 'I') { chopin_pg__dial_fail(k, CHOPIN_PG_CONNECT, "the setup SQL leaves a transaction open"); return; }
    chopin_pg__setup_check(k);
}

static int chopin_pg__setup_start(chopin_pg__conn *k) {
    k->stage   = CHOPIN_PG__SETTING_UP;
    k->message = chopin_pg__pipeline_message;
    if (!k->core->options.setup) chopin_pg__setup_check(k);
    else chopin_pg__setup_query(k, k->core->options.setup, chopin_pg__setup_done);
    return k->stage == CHOPIN_PG__DEAD ? -1 : 0;
}

/* Messages until the first Z. After a failed attempt the block is gone: the caller must not go on with it. */
static int chopin_pg__login_message(chopin_pg__conn *k, const chopin_pg__frame *f, size_t from, size_t to) {
    int rc = 0;
    (void)from; (void)to;
    switch (f->type) {
    case 'R': rc = chopin_pg__login_auth(k, f); break;
    case 'K': rc = chopin_pg__login_key(k, f); break;
    case 'v': rc = chopin_pg__login_version(k, f); break;
    case 'E': rc = chopin_pg__login_error(k, f); break;
    case 'Z':
        if (!chopin_pg__read_ready(f, &k->state) || k->state != 'I' || !k->dial->accepted) return chopin_pg__dial_fail(k, CHOPIN_PG_PROTOCOL, "the server is ready without having accepted us");
        return chopin_pg__setup_start(k);
    default:
        if (!chopin_pg__async_message(k, f)) rc = chopin_pg__dial_fail(k, CHOPIN_PG_PROTOCOL, "the server sent a message of type '%c' during login", f->type);
    }
    return rc < 0 || k->stage == CHOPIN_PG__DEAD ? -1 : rc;
}

/* ---- the machine ---- */
static void chopin_pg__login_setup(chopin_pg__conn *k) {
    chopin_pg__core *c = k->core;
    chopin_pg__dial *d = k->dial;
    const chopin_pg__host *h = chopin_pg__dial_host(k);
    chopin_pg__auth_setup s;
    memset(&s, 0, sizeof s);
    s.user = c->dsn.user;
    s.password = h->password;
    if (!s.password.ptr && c->options.password) {
        int n = c->options.password(c->options.password_ctx, h->host.ptr ? h->host.ptr : "", c->dsn.user.ptr, c->dsn.database.ptr, d->password, sizeof d->password);
        if (n >= 0 && (size_t)n < sizeof d->password) {
            d->password[n] = 0;                               // >>auth sends a clear text password with it
            s.password = chopin_pg__str(d->password, (size_t)n);
        }
    }
    s.require_auth   = c->dsn.require_auth;
    s.binding        = c->dsn.binding;
    s.clear_allowed  = c->options.allow_password || h->is_unix || k->tls;
    s.max_iterations = (uint32_t)c->options.max_iterations;
    s.tls            = k->tls != NULL;
    s.cache          = k->dial->host < CHOPIN_PG__SALTED ? &c->salted[k->dial->host] : NULL;
    if (k->tls) {
        int n = c->options.tls->binding(k->tls, s.bind_hash, sizeof s.bind_hash);
        s.bind_hash_len = n > 0 ? (size_t)n : 0;
        s.cert_missing  = c->dsn.tls.cert_mode && strcmp(c->dsn.tls.cert_mode, "require") == 0 && !c->options.tls->has_cert(k->tls);
    }
    chopin_pg__auth_init(&d->auth, &s);
}

static int chopin_pg__dial_login(chopin_pg__conn *k) {
    k->message = chopin_pg__login_message;
    k->dial->accepted = k->dial->work = false;
    chopin_pg__login_setup(k);
    return chopin_pg__login_start(k);
}

/* requirepeer: the other end of a unix socket must run as this user. */
static bool chopin_pg__peer_ok(chopin_pg__conn *k) {
    chopin_str wanted = k->core->dsn.requirepeer;
    if (!wanted.len || !chopin_pg__dial_host(k)->is_unix) return true;
#ifdef SO_PEERCRED
    struct ucred peer;
    socklen_t size = sizeof peer;
    struct passwd entry, *found = NULL;
    char text[1024];
    if (CHOPIN_PG__SYS_GETSOCKOPT(k->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return false;
    return getpwuid_r(peer.uid, &entry, text, sizeof text, &found) == 0 && found && chopin_pg__equal_z(wanted, found->pw_name);
#else
    return false;
#endif
}

/* Certificates are read when the first connection needs them, and again after chopin_pg_expire(). NULL: failed, `why` says what about. */
static void *chopin_pg__tls_config(chopin_pg__core *c, char *why, size_t cap) {
    if (!c->tls_config) c->tls_config = c->options.tls->config(c->options.tls->ctx, &c->dsn.tls, why, cap);
    return c->tls_config;
}

static int chopin_pg__dial_handshake(chopin_pg__conn *k) {
    char why[200] = "";
    chopin_pg__core *c = k->core;
    const chopin_pg__host *h = chopin_pg__dial_host(k);
    if (!chopin_pg__tls_config(c, why, sizeof why)) return chopin_pg__dial_fail(k, CHOPIN_PG_TLS, "%s", why);
    k->stage = CHOPIN_PG__HANDSHAKE;
    k->tls = c->options.tls->open(c->tls_config, k->fd, h->host.len ? h->host.ptr : h->hostaddr.len ? h->hostaddr.ptr : "", why, sizeof why);
    return k->tls ? 0 : chopin_pg__dial_fail(k, CHOPIN_PG_TLS, "%s", why);
}

/* The socket is connected: what comes first? */
static int chopin_pg__dial_connected(chopin_pg__conn *k) {
    const chopin_pg__dsn *d = &k->core->dsn;
    bool local = chopin_pg__dial_host(k)->is_unix, tls = k->core->options.tls && !local && d->tls.mode != CHOPIN_PG_SSL_DISABLE && !k->dial->tls_off;
    if (!chopin_pg__peer_ok(k)) return chopin_pg__dial_fail(k, CHOPIN_PG_AUTH, "requirepeer: the server runs as another user");
    if (d->tls.mode == CHOPIN_PG_SSL_ALLOW && !k->dial->tls_on) tls = false;
    if (!tls) return chopin_pg__dial_login(k);
    if (d->tls.direct) return chopin_pg__dial_handshake(k);
    chopin_pg__put_ssl_request(&k->out);
    k->stage = CHOPIN_PG__SSL_ASKED;
    return k->out.status ? chopin_pg__conn_break(k, CHOPIN_PG_MEMORY, "out of memory for the login") : 0;
}

static int chopin_pg__dial_open(chopin_pg__conn *k) {
    chopin_pg__dial *d = k->dial;
    const chopin_pg__host *h = chopin_pg__dial_host(k);
    int per_host = k->core->dsn.connect_timeout_s;
    if (!d->resolved) {
        d->resolved = true;
        if (chopin_pg__dial_addresses(k, h) <= 0) return chopin_pg__dial_failed(k);
    }
    d->host_deadline = chopin_pg__sooner(k->dial_deadline, per_host > 0 ? chopin_pg__clock_ms() + (int64_t)per_host * 1000 : -1);
    k->fd = chopin_pg__socket_connect(&k->core->dsn, h, &d->list[d->address]);
    if (k->fd < 0) {
        d->refused |= errno == ECONNREFUSED || errno == ENOENT;
        return chopin_pg__dial_fail(k, CHOPIN_PG_CONNECT, "%s", strerror(errno));
    }
    k->stage = CHOPIN_PG__DIALING;
    return 0;
}

static int chopin_pg__dial_reached(chopin_pg__conn *k) {
    int why = 0;
    socklen_t size = sizeof why;
    if (CHOPIN_PG__SYS_GETSOCKOPT(k->fd, SOL_SOCKET, SO_ERROR, &why, &size) < 0) why = errno;
    if (!why) return chopin_pg__dial_connected(k);
    k->dial->refused |= why == ECONNREFUSED;
    return chopin_pg__dial_fail(k, CHOPIN_PG_CONNECT, "%s", strerror(why));
}

/* Exactly one byte: what stands behind an S would be outside of TLS and could come from anybody. */
static int chopin_pg__dial_ssl_answer(chopin_pg__conn *k) {
    uint8_t answer, more;
    ptrdiff_t n = chopin_pg__io_recv(k, &answer, 1, false);
    if (n == CHOPIN_PG__IO_AGAIN) return 0;
    if (n < 0) return chopin_pg__dial_fail(k, CHOPIN_PG_CONNECT, "the server closed the connection when asked for TLS");
    if (answer == 'N' && k->core->dsn.tls.mode <= CHOPIN_PG_SSL_PREFER) {
        if (!chopin_pg__dial_host(k)->is_local) chopin_pg__log(&k->core->log, CHOPIN_PG_WARNING, "the server does no TLS; sslmode=prefer goes on in clear text");
        return chopin_pg__dial_login(k);
    }
    if (answer == 'N') return chopin_pg__dial_fail(k, CHOPIN_PG_TLS, "the server does not do TLS and sslmode demands it");
    if (answer == 'E') return chopin_pg__dial_fail(k, CHOPIN_PG_CONNECT, "the server refused the connection before TLS (its text is not authenticated and was dropped)");
    if (answer != 'S') return chopin_pg__dial_fail(k, CHOPIN_PG_PROTOCOL, "the server answered the request for TLS with byte %u", answer);
    if (CHOPIN_PG__SYS_RECV(k->fd, &more, 1, MSG_PEEK | MSG_DONTWAIT) > 0) return chopin_pg__dial_fail(k, CHOPIN_PG_TLS, "there are bytes between the server's S and its TLS: somebody may sit between");
    return chopin_pg__dial_handshake(k);
}

static int chopin_pg__dial_shake(chopin_pg__conn *k, int *events) {
    char why[200] = "";
    int rc = k->core->options.tls->handshake(k->tls, why, sizeof why);
    if (rc == CHOPIN_PG_TLS_WANT_READ || rc == CHOPIN_PG_TLS_WANT_WRITE) {
        *events = rc == CHOPIN_PG_TLS_WANT_READ ? CHOPIN_PG_READ : CHOPIN_PG_WRITE;
        return 0;
    }
    if (rc < 0) return chopin_pg__dial_fail(k, CHOPIN_PG_TLS, "%s", why);
    k->secure = true;
    return chopin_pg__dial_login(k);
}

/* What can be done without waiting is done; gives the events to wait for, 0: go on at once, < 0: dead. */
static int chopin_pg__dial_work(chopin_pg__conn *k) {
    int events = 0;
    switch (k->stage) {
    case CHOPIN_PG__CLOSED:    return chopin_pg__dial_open(k) < 0 ? -1 : 0;
    case CHOPIN_PG__DIALING:   return CHOPIN_PG_WRITE;
    case CHOPIN_PG__HANDSHAKE: return chopin_pg__dial_shake(k, &events) < 0 ? -1 : events;
    default: break;
    }
    int sent = chopin_pg__flush(k);
    if (sent < 0) return chopin_pg__dial_fail(k, CHOPIN_PG_CONNECT, "%s", strerror(errno));
    return CHOPIN_PG_READ | (sent == 0 || k->tls_wants_write ? CHOPIN_PG_WRITE : 0);
}

static int chopin_pg__dial_ready(chopin_pg__conn *k) {
    switch (k->stage) {
    case CHOPIN_PG__DIALING:   return chopin_pg__dial_reached(k);
    case CHOPIN_PG__SSL_ASKED: return chopin_pg__dial_ssl_answer(k);
    case CHOPIN_PG__HANDSHAKE: return 0;
    default:                   return chopin_pg__receive(k, false);
    }
}

static int chopin_pg__dial_timeout(chopin_pg__conn *k, int64_t deadline_ms) {
    int64_t own = k->dial->host_deadline;
    if (chopin_pg__late(k->dial_deadline) || chopin_pg__late(own)) {
        chopin_pg__dial_fail(k, CHOPIN_PG_TIMEOUT, "no connection in time");
        return 1;
    }
    return chopin_pg__late(deadline_ms) ? 0 : 1;
}

/* One step of whoever waits: at most one wait. 1: look again; 0: the deadline of the caller; < 0: give up. */
static int chopin_pg__dial_step(chopin_pg__conn *k, chopin_pg__waiter *w, int64_t deadline_ms) {
    chopin_pg__dial *d = k->dial;
    int64_t until = chopin_pg__sooner(deadline_ms, chopin_pg__sooner(k->dial_deadline, k->stage == CHOPIN_PG__CLOSED ? -1 : d->host_deadline));
    int rc = 1;
    k->reader = w;
    if (d->work) {
        chopin_pg__login_work(k);
        rc = k->core->blocking || k->dial == NULL ? 1 : chopin_pg__wait(k->core, w, -1, CHOPIN_PG_TURN, deadline_ms);
        if (rc == 0) rc = chopin_pg__late(until) ? 0 : 1;
    } else if (k->stage == CHOPIN_PG__CLOSED && d->not_before_ms > chopin_pg__clock_ms()) {
        rc = chopin_pg__sleep(k->core, w, chopin_pg__sooner(deadline_ms, d->not_before_ms));
        rc = rc < 0 ? rc : chopin_pg__late(deadline_ms) ? 0 : 1;
    } else {
        int events = chopin_pg__dial_work(k);
        if (events > 0 && !(k->tls && k->stage > CHOPIN_PG__HANDSHAKE && k->core->options.tls->pending(k->tls))) rc = chopin_pg__wait(k->core, w, k->fd, events, until);
        if (events > 0 && rc > 0) chopin_pg__dial_ready(k);
    }
    k->reader = NULL;
    if (rc == 0 && k->dial) rc = chopin_pg__dial_timeout(k, deadline_ms);
    return rc;
}

/* Begins: from here on whoever waits for the connection moves it on. */
static int chopin_pg__dial_start(chopin_pg__conn *k) {
    chopin_pg__core *c = k->core;
    k->dial = (chopin_pg__dial *)chopin_pg__alloc_zero(&c->heap, sizeof *k->dial);
    if (!k->dial) return chopin_pg__conn_break(k, CHOPIN_PG_MEMORY, "out of memory for a connection");
    k->dial->fault = (chopin_pg__object){ .kind = CHOPIN_PG__PIN, .heap = &c->heap };
    k->dial->host_deadline = -1;
    k->dial_since_ms  = chopin_pg__clock_ms();
    k->dial_deadline  = chopin_pg__deadline(c->options.connect_ms);
    k->attempt_failed = chopin_pg__dial_failed;
    k->dial_step      = chopin_pg__dial_step;
    if (c->dsn.shuffle) k->dial->host = k->dial->first_host = (int)(chopin_pg__random_next(&c->random) % (uint64_t)c->dsn.host_count);
    return 0;
}
/* ==========================================================================================================
   >>cancel   the second connection that asks the server to stop, in a way that cannot hit a neighbour
   The request is on its way until the server has closed that second socket: only then has the signal been sent to the backend. Until then, and until our own
   ReadyForQuery after it, the first connection takes no new work. A machine as in >>dial, so that a fiber that leaves does not leave it half done.
   ========================================================================================================== */

typedef enum chopin_pg__killer_stage { CHOPIN_PG__KILL_DIALING, CHOPIN_PG__KILL_SSL, CHOPIN_PG__KILL_SHAKE, CHOPIN_PG__KILL_SEND, CHOPIN_PG__KILL_EOF } chopin_pg__killer_stage;

typedef struct chopin_pg__killer {
    chopin_pg__conn side;                 // descriptor, TLS and output of the second connection; nothing else of it is used
    chopin_pg__killer_stage stage;
    int64_t deadline;
} chopin_pg__killer;

static void chopin_pg__killer_free(chopin_pg__conn *k) {
    chopin_pg__killer *x = k->killer;
    if (!x) return;
    chopin_pg__conn_shut(&x->side);
    chopin_pg__release(&k->core->heap, x, sizeof *x);
    k->killer = NULL;
}

/* Starts it. False: no key, no memory, no socket; then closing the connection is all that can be done. */
static bool chopin_pg__killer_start(chopin_pg__conn *k) {
    chopin_pg__core *c = k->core;
    if (k->killer || !k->key_len) return k->killer != NULL;
    chopin_pg__killer *x = (chopin_pg__killer *)chopin_pg__alloc_zero(&c->heap, sizeof *x);
    if (!x) return false;
    x->side.core     = c;
    x->side.out.heap = &c->heap;
    x->side.write_fd = -1;
    x->side.fd  = chopin_pg__socket_connect(&c->dsn, &c->dsn.hosts[k->host], &k->address);
    x->deadline = chopin_pg__deadline(c->options.grace_ms);
    k->killer   = x;
    c->counters.cancels++;
    if (x->side.fd >= 0) return true;
    chopin_pg__killer_free(k);
    return false;
}

static int chopin_pg__killer_request(chopin_pg__conn *k, chopin_pg__killer *x) {
    x->stage = CHOPIN_PG__KILL_SEND;
    chopin_pg__put_cancel(&x->side.out, k->pid, k->key, k->key_len);
    return x->side.out.status ? -1 : 0;
}

static int chopin_pg__killer_tls(chopin_pg__conn *k, chopin_pg__killer *x) {
    char why[200];
    const chopin_pg__host *h = &k->core->dsn.hosts[k->host];
    if (!chopin_pg__tls_config(k->core, why, sizeof why)) return -1;
    x->side.tls = k->core->options.tls->open(k->core->tls_config, x->side.fd, h->host.len ? h->host.ptr : h->hostaddr.ptr, why, sizeof why);
    x->stage = CHOPIN_PG__KILL_SHAKE;
    return x->side.tls ? 0 : -1;
}

static int chopin_pg__killer_connected(chopin_pg__conn *k, chopin_pg__killer *x) {
    int why = 0;
    socklen_t size = sizeof why;
    if (CHOPIN_PG__SYS_GETSOCKOPT(x->side.fd, SOL_SOCKET, SO_ERROR, &why, &size) < 0 || why) return -1;
    if (!k->secure) return chopin_pg__killer_request(k, x);
    if (k->core->dsn.tls.direct) return chopin_pg__killer_tls(k, x);
    chopin_pg__put_ssl_request(&x->side.out);
    x->stage = CHOPIN_PG__KILL_SSL;
    return x->side.out.status ? -1 : 0;
}

static int chopin_pg__killer_flush(chopin_pg__killer *x) {
    int sent = chopin_pg__flush(&x->side);
    return sent < 0 ? -1 : sent == 0 ? CHOPIN_PG_WRITE : 0;
}

static int chopin_pg__killer_ssl(chopin_pg__conn *k, chopin_pg__killer *x) {
    uint8_t answer;
    int events = chopin_pg__killer_flush(x);
    if (events) return events;
    ptrdiff_t n = chopin_pg__io_recv(&x->side, &answer, 1, false);
    if (n == CHOPIN_PG__IO_AGAIN) return CHOPIN_PG_READ;
    return n == 1 && answer == 'S' ? chopin_pg__killer_tls(k, x) : -1;
}

static int chopin_pg__killer_shake(chopin_pg__conn *k, chopin_pg__killer *x) {
    char why[200];
    int rc = k->core->options.tls->handshake(x->side.tls, why, sizeof why);
    if (rc == CHOPIN_PG_TLS_WANT_READ)  return CHOPIN_PG_READ;
    if (rc == CHOPIN_PG_TLS_WANT_WRITE) return CHOPIN_PG_WRITE;
    return rc < 0 ? -1 : chopin_pg__killer_request(k, x);
}

static int chopin_pg__killer_eof(chopin_pg__killer *x) {
    uint8_t byte;
    ptrdiff_t n = chopin_pg__io_recv(&x->side, &byte, 1, false);
    return n == CHOPIN_PG__IO_AGAIN ? CHOPIN_PG_READ : n > 0 ? -1 : 8;
}

/* As far as it goes without waiting. Gives the events to wait for; 8: the server has taken the request; < 0: it failed. `ready`: the socket is. */
static int chopin_pg__killer_step(chopin_pg__conn *k, bool ready) {
    chopin_pg__killer *x = k->killer;
    for (;;) {
        int rc = 0;
        switch (x->stage) {
        case CHOPIN_PG__KILL_DIALING:
            if (!ready) return CHOPIN_PG_WRITE;
            rc = chopin_pg__killer_connected(k, x);
            break;
        case CHOPIN_PG__KILL_SSL:   rc = chopin_pg__killer_ssl(k, x); break;
        case CHOPIN_PG__KILL_SHAKE: rc = chopin_pg__killer_shake(k, x); break;
        case CHOPIN_PG__KILL_SEND:
            rc = chopin_pg__killer_flush(x);
            if (rc == 0) x->stage = CHOPIN_PG__KILL_EOF;
            break;
        case CHOPIN_PG__KILL_EOF:   return chopin_pg__killer_eof(x);
        }
        if (rc) return rc;
    }
}

/* Without waiting, from the pool's housekeeping: is the socket of the request ready for its next step? True: the cancel is over, one way or the other. */
static bool chopin_pg__killer_tend(chopin_pg__conn *k) {
    struct pollfd p = { .fd = k->killer->side.fd, .events = k->killer->stage == CHOPIN_PG__KILL_DIALING ? POLLOUT : POLLIN };
    bool ready = CHOPIN_PG__SYS_POLL(&p, 1, 0) > 0;
    int rc = chopin_pg__killer_step(k, ready);
    if (rc < 0 || chopin_pg__late(k->killer->deadline)) chopin_pg__conn_break(k, CHOPIN_PG_CONNECT, "a cancel could not be delivered");
    if (rc >= 0 && rc != 8 && chopin_pg__usable(k)) return false;
    chopin_pg__killer_free(k);
    return true;
}

/* Waits until the server has taken the request. 1: it has; else the connection is closed, for nobody could say what the signal will hit. */
static int chopin_pg__killer_run(chopin_pg__conn *k, chopin_pg__waiter *w) {
    bool ready = false;
    if (!k->killer) return chopin_pg__conn_break(k, CHOPIN_PG_CONNECT, "a statement could not be cancelled");
    for (;;) {
        int events = chopin_pg__killer_step(k, ready);
        if (events == 8) break;
        int rc = events < 0 ? -1 : chopin_pg__wait(k->core, w, k->killer->side.fd, events, k->killer->deadline);
        if (rc <= 0) {
            chopin_pg__killer_free(k);
            return chopin_pg__conn_break(k, CHOPIN_PG_CONNECT, "a cancel could not be delivered within grace_ms");
        }
        ready = true;
    }
    chopin_pg__killer_free(k);
    return 1;
}
/* ==========================================================================================================
   >>pool   handles, connections shared and borrowed, and how an operation gets its answer
   A connection is idle only if the last expected ReadyForQuery has come, said I, and no cancel is on its way. What comes back otherwise is *cleaning*: its
   ROLLBACK has been sent, but nobody waits for it; whoever needs a connection next reads on, and after grace_ms it is closed. So giving back never waits.
   ========================================================================================================== */

typedef struct chopin_pg__pool chopin_pg__pool;

typedef enum chopin_pg__tx_state { CHOPIN_PG__TX_NEW, CHOPIN_PG__TX_OPEN, CHOPIN_PG__TX_DONE } chopin_pg__tx_state;

struct chopin_pg {
    chopin_pg__object   object;
    chopin_pg__pool    *pool;
    chopin_pg          *parent, *root;          // root: the scope or pool it hangs from
    chopin_pg          *children, *next;        // handles made from it, newest first
    chopin_pg_rows     *rows, *last_row;        // results made by it, oldest first
    chopin_pg__waiter  *waiters;                // of a root: everybody who waits inside one of its calls
    chopin_pg__conn    *conn;                   // of a pin or transaction
    bool                owns_conn;              // else it is the parent's
    int64_t             deadline;
    chopin_pg__arena    arena;
    chopin_pg_copy     *copies;                 // open ones; close_copy ends one (>>copy)
    void              (*close_copy)(chopin_pg_copy *c);
    void              (*on_close)(chopin_pg *h);   // of a listener's handle
    void               *owner;
    // transactions
    chopin_pg_tx        tx;
    chopin_pg__tx_state tx_state;
    int                 level, retries;         // level: 0 a transaction, above a savepoint
    bool                lost;                   // COMMIT was sent and not answered
    // batches
    int                 numbered;
    bool                committed;
    bool                broken;                 // the options were bad: every call says so
    bool                dirty;                  // a session word ran: DISCARD ALL when the connection goes back
};

struct chopin_pg__pool {
    chopin_pg           handle;                 // what chopin_pg_open() gives
    chopin_pg__core     core;
    chopin_pg__conn    *conns;                  // all of them
    int                 shared, exclusive;      // how many there are
    chopin_pg__waiter  *queue;                  // who waits for an exclusive one, first come first
    int                 waiting;
    int64_t             tended_ms;              // when all of them were last looked after
    chopin_pg          *spare_handles;
    bool                closing;
};

static chopin_pg__core *chopin_pg__core_of(const chopin_pg *h) { return &h->pool->core; }

static int64_t chopin_pg__handle_deadline(const chopin_pg *h) {
    int64_t at = -1;
    for (; h; h = h->parent) at = chopin_pg__sooner(at, h->deadline);
    return at;
}

/* ---- waiters ---- */
static chopin_pg__waiter *chopin_pg__waiter_new(chopin_pg *h) {
    chopin_pg__core *c = chopin_pg__core_of(h);
    chopin_pg__waiter *w = c->spare_waiters;
    if (w) c->spare_waiters = w->root_next;
    else   w = (chopin_pg__waiter *)chopin_pg__alloc(&c->heap, sizeof *w);
    if (!w) return NULL;
    memset(w, 0, sizeof *w);
    w->sleep_fd[0] = w->sleep_fd[1] = -1;
    w->root      = h->root;
    w->root_next = h->root->waiters;
    h->root->waiters = w;
    return w;
}

static void chopin_pg__waiter_free(chopin_pg__core *c, chopin_pg__waiter *w) {
    chopin_pg__waiter **at = &w->root->waiters;
    while (*at != w) at = &(*at)->root_next;
    *at = w->root_next;
    chopin_pg__waiter_unlink(w);
    chopin_pg__waiter_at(w, NULL);
    w->root_next = c->spare_waiters;
    c->spare_waiters = w;
}

/* ---- results and their handles ---- */
static void chopin_pg__rows_link(chopin_pg *h, chopin_pg_rows *r) {
    r->handle = h;
    r->before = h->last_row;
    r->after  = NULL;
    *(h->last_row ? &h->last_row->after : &h->rows) = r;
    h->last_row = r;
}

static void chopin_pg__rows_unlink(chopin_pg *h, chopin_pg_rows *r) {
    *(r->before ? &r->before->after : &h->rows) = r->after;
    *(r->after ? &r->after->before : &h->last_row) = r->before;
    r->before = r->after = NULL;
}

static CHOPIN_PG__NOINLINE void chopin_pg__event_tell(chopin_pg__core *c, chopin_pg_event_kind kind, chopin_pg__conn *k, const chopin_pg_rows *r, int64_t began_ns) {
    chopin_pg_event e = { .kind = kind, .pid = k ? k->pid : 0, .sqlstate = "" };
    e.ns = began_ns ? chopin_pg__clock_ns() - began_ns : 0;
    if (r) {
        e.status   = r->object.status;
        e.rows     = r->affected > 0 ? r->affected : 0;
        e.bytes    = (int64_t)r->received;
        e.sql      = r->sql;
        e.sqlstate = r->object.status && r->object.error ? r->object.error->sqlstate : "";
    }
    c->options.on_event(c->options.event_ctx, &e);
}

static inline void chopin_pg__event(chopin_pg__core *c, chopin_pg_event_kind kind, chopin_pg__conn *k, const chopin_pg_rows *r, int64_t began_ns) {
    if (c->options.on_event) chopin_pg__event_tell(c, kind, k, r, began_ns);
}

/* A small statement of our own, whose answer only has to come. */
static bool chopin_pg__pool_rider(chopin_pg__conn *k, const char *sql) {
    chopin_pg_rows *r = chopin_pg__out_room(&k->out, 128) ? chopin_pg__rider(k, sql ? "q" : "") : NULL;
    if (!r) return chopin_pg__conn_break(k, CHOPIN_PG_MEMORY, "out of memory for cleaning a connection"), false;
    r->simple = sql != NULL;
    r->sync   = true;
    if (sql) chopin_pg__put_text(&k->out, 'Q', chopin_pg__str_z(sql));
    else     chopin_pg__put_simple(&k->out, 'S');
    chopin_pg__queue_push(k, r);
    if (k->out.status) chopin_pg__conn_break(k, CHOPIN_PG_MEMORY, "out of memory for cleaning a connection");
    return chopin_pg__usable(k);
}

/* The pin or transaction whose connection this handle works on; NULL: a shared one. */
static chopin_pg *chopin_pg__conn_handle(chopin_pg *h) {
    while (h && h->object.kind != CHOPIN_PG__PIN && h->object.kind != CHOPIN_PG__TX) h = h->parent;
    return h;
}

/* The first statement of a transaction was refused for a reason that sending it again heals: so the BEGIN before it is taken back too. */
static void chopin_pg__begin_again(chopin_pg__conn *k, chopin_pg_rows *r) {
    chopin_pg *tx = chopin_pg__conn_handle(r->handle);
    if (tx && tx->object.kind == CHOPIN_PG__TX) tx->tx_state = CHOPIN_PG__TX_NEW;
    if (chopin_pg__usable(k)) chopin_pg__pool_rider(k, "rollback");
}

/* An operation has left the queue of its connection. */
static void chopin_pg__over(chopin_pg__conn *k, chopin_pg_rows *r) {
    chopin_pg__core *c = k->core;
    void (*finish)(chopin_pg__conn *k, chopin_pg_rows *r) = r->ours ? r->finish : NULL;
    if (r->object.status == CHOPIN_PG_LOST && r->statement && !r->redo) c->counters.lost++;
    if (!r->ours && !r->redo) {
        c->counters.queries++;
        chopin_pg__event(c, CHOPIN_PG_ON_END, k, r, r->began_ns);
    }
    if (!r->keeps_conn) r->conn = NULL;
    if (r->redo && r->handle && k->state == 'E') chopin_pg__begin_again(k, r);
    if (finish) finish(k, r);
    if (r->ours || !r->handle) chopin_pg__rows_recycle(c, r);
}

/* ---- connections come and go ---- */
/* 25006 where we did not ask for a read only transaction: this is no primary any more. */
static void chopin_pg__pool_demoted(chopin_pg__conn *k, chopin_pg_rows *r) {
    for (chopin_pg *h = r->handle; h; h = h->parent) if (h->object.kind == CHOPIN_PG__PIN || (h->object.kind == CHOPIN_PG__TX && h->tx.read_only)) return;
    k->core->demoted = true;
}

static chopin_pg__conn *chopin_pg__pool_connect(chopin_pg__pool *p, bool shared) {
    chopin_pg__conn *k = chopin_pg__conn_new(&p->core);
    if (!k) return NULL;
    k->shared  = shared;
    k->over    = chopin_pg__over;
    k->on_read_only = chopin_pg__pool_demoted;
    k->next    = p->conns;
    p->conns   = k;
    (*(shared ? &p->shared : &p->exclusive))++;
    chopin_pg__dial_start(k);
    return k;
}

static void chopin_pg__pool_forget(chopin_pg__pool *p, chopin_pg__conn *k) {
    chopin_pg__conn **at = &p->conns;
    while (*at != k) at = &(*at)->next;
    *at = k->next;
    (*(k->shared ? &p->shared : &p->exclusive))--;
    p->core.counters.closed++;
    chopin_pg__killer_free(k);
    chopin_pg__dial_free(k);
    chopin_pg__cache_free(k);
    chopin_pg__conn_free(k);
}

/* Ends a connection that has nothing to do. */
static void chopin_pg__pool_retire(chopin_pg__conn *k) {
    chopin_pg__conn_goodbye(k);
    chopin_pg__conn_break(k, CHOPIN_PG_CONNECT, "the connection was retired");
}

static bool chopin_pg__conn_free_to_use(const chopin_pg__conn *k) {
    return k->stage == CHOPIN_PG__READY && k->depth == 0 && k->state == 'I' && !k->killer && chopin_pg__out_waiting(k) == 0;
}

static bool chopin_pg__conn_old(const chopin_pg__conn *k) {
    return k->expired || k->epoch != k->core->epoch || (k->dies_ms > 0 && k->core->now_ms >= k->dies_ms);
}

/* One look, without waiting, at a connection on its way back: what is missing until it may be idle? True: it may, or it is dead. */
static bool chopin_pg__clean_step(chopin_pg__conn *k) {
    if (!chopin_pg__usable(k)) return true;
    if (k->killer && !chopin_pg__killer_tend(k)) return false;
    if (chopin_pg__usable(k) && chopin_pg__flush(k) >= 0 && !k->reader && k->depth > 0) chopin_pg__receive(k, false);
    if (chopin_pg__usable(k) && k->depth == 0 && !k->killer) {
        if (k->state != 'I') chopin_pg__pool_rider(k, "rollback");
        else if (k->dirty) {
            k->dirty = false;
            if (chopin_pg__pool_rider(k, "discard all") && k->core->options.setup) chopin_pg__pool_rider(k, k->core->options.setup);
        }
        if (chopin_pg__usable(k)) chopin_pg__flush(k);
    }
    if (!chopin_pg__usable(k) || chopin_pg__conn_free_to_use(k)) return true;
    if (chopin_pg__late(k->clean_by_ms)) chopin_pg__conn_break(k, CHOPIN_PG_TIMEOUT, "the connection did not become clean within grace_ms");
    return !chopin_pg__usable(k);
}

static int chopin_pg__pool_live(const chopin_pg__pool *p, bool shared) {
    int n = 0, shunned = 0;
    for (const chopin_pg__conn *k = p->conns; k; k = k->next) {
        if (k->shared != shared || !chopin_pg__usable(k)) continue;
        if (k->shunned && shunned < p->core.options.shared) shunned++;      // being given up: it has a replacement
        else n++;
    }
    return n;
}

/* It is clean: next in line, or idle. One that is dead leaves a place, which the next in line may fill. */
static void chopin_pg__pool_idle(chopin_pg__pool *p, chopin_pg__conn *k) {
    k->place  = CHOPIN_PG__IDLE;
    k->holder = NULL;
    k->keeper = NULL;
    k->holder_sql[0] = 0;
    k->idle_since_ms = chopin_pg__clock_ms();
    if (chopin_pg__usable(k) && chopin_pg__conn_old(k)) chopin_pg__pool_retire(k);
    chopin_pg__waiter *w = p->queue;
    if (!w || p->closing) return;
    if (!chopin_pg__usable(k)) k = chopin_pg__pool_live(p, false) < p->core.options.exclusive ? chopin_pg__pool_connect(p, false) : NULL;
    if (!k) return;
    k->place  = CHOPIN_PG__BUSY;
    k->holder = w->root;
    w->gift   = k;
    chopin_pg__wake(&p->core, w);
}

/* Closes what is dead, old or has been idle for long; looks after what is on its way back. Cheap, and part of every acquire and release.
 * A query alone does not look at the clock when it ends: after one nobody knows how long its connection has rested. */
static void chopin_pg__pool_tend(chopin_pg__pool *p) {
    int64_t now = p->tended_ms = p->core.now_ms = chopin_pg__clock_near_ms(), idle = p->core.options.idle_ms;
    if (p->core.demoted) {
        p->core.demoted = false;
        p->core.epoch++;
        chopin_pg__log(&p->core.log, CHOPIN_PG_WARNING, "the server is read only now: all connections are replaced");
    }
    for (chopin_pg__conn *k = p->conns, *next; k; k = next) {
        next = k->next;
        if (k->place == CHOPIN_PG__CLEANING && chopin_pg__clean_step(k)) chopin_pg__pool_idle(p, k);
        bool forgotten = k->shared && k->stage == CHOPIN_PG__READY && k->depth > 0 && k->owned == 0 && !chopin_pg__conn_in_use(k);
        if (forgotten && chopin_pg__flush(k) >= 0) chopin_pg__receive(k, false);       // answers nobody waits for must not pile up
        bool rests = k->shared ? k->depth == 0 && !k->sleepers && !k->reader && !k->writer && chopin_pg__out_waiting(k) == 0 : k->place == CHOPIN_PG__IDLE;
        if (rests && !k->killer) k->shunned = false;
        if (rests && k->stage == CHOPIN_PG__READY && (chopin_pg__conn_old(k) || (idle > 0 && !k->idle_unsure && now - k->idle_since_ms > idle))) chopin_pg__pool_retire(k);
        if (k->hot_standby && !k->was_standby && p->core.dsn.target == CHOPIN_PG__READ_WRITE && k->stage == CHOPIN_PG__READY) p->core.demoted = true;
        if (k->stage < CHOPIN_PG__READY && !chopin_pg__conn_in_use(k) && chopin_pg__late(k->dial_deadline)) {
            k->attempt_failed = NULL;                          // begun by somebody who left, and now too old to be of use
            chopin_pg__conn_break(k, CHOPIN_PG_TIMEOUT, "a connection was not completed in time");
        }
        bool lonely = !chopin_pg__conn_in_use(k) && !k->touched_by && (k->shared || k->place != CHOPIN_PG__BUSY);
        if (lonely && k->stage < CHOPIN_PG__READY && k->dial && chopin_pg__late(k->dial_deadline)) chopin_pg__dial_late(k);      // while nobody waited: not the next one's failure
        if (!chopin_pg__usable(k) && lonely) chopin_pg__pool_forget(p, k);
    }
}

/* ---- is it still alive? ---- */

/* After a second of idleness: what lies there to be read? S, N, A are fine; E or the end is not. After half a minute the server has to answer. */
static bool chopin_pg__conn_alive(chopin_pg__conn *k, chopin_pg__waiter *w) {
    if (k->stage != CHOPIN_PG__READY || k->reader || k->depth > 0) return chopin_pg__usable(k);
    int64_t idle = (k->core->now_ms = chopin_pg__clock_near_ms()) - k->idle_since_ms;
    if (idle < 1000) return chopin_pg__usable(k);
    chopin_pg__receive(k, false);
    if (idle < 30000 || !w || !chopin_pg__usable(k) || !chopin_pg__pool_rider(k, NULL)) return chopin_pg__usable(k);
    int64_t until = chopin_pg__deadline(k->core->options.grace_ms);
    while (chopin_pg__usable(k) && k->depth > 0) {
        if (chopin_pg__drive(k, w, until) > 0) continue;
        chopin_pg__conn_break(k, CHOPIN_PG_TIMEOUT, "an idle connection did not answer");
    }
    chopin_pg__waiter_at(w, NULL);
    k->idle_since_ms = chopin_pg__clock_ms();
    return chopin_pg__usable(k);
}

static bool chopin_pg__conn_made(const void *k) { return ((const chopin_pg__conn *)k)->stage >= CHOPIN_PG__READY; }

/* Waits until it is ready. 0; or `o` has the reason. */
static int chopin_pg__conn_await(chopin_pg__conn *k, chopin_pg__waiter *w, chopin_pg__object *o, int64_t deadline_ms) {
    int rc = chopin_pg__drive_until(k, w, deadline_ms, chopin_pg__conn_made, k);
    if (rc < 0)  return chopin_pg__object_fail(o, CHOPIN_PG_CANCELED, "given up while connecting");
    if (rc == 0) return chopin_pg__object_fail(o, CHOPIN_PG_TIMEOUT, "no connection before the deadline");
    if (chopin_pg__usable(k)) return 0;
    chopin_pg__object_copy(o, &k->fault);
    if (!o->status) chopin_pg__object_fail(o, CHOPIN_PG_CONNECT, "no connection");
    return o->status;
}

/* ---- shared connections ---- */
static bool chopin_pg__shared_open(const chopin_pg__conn *k) { return k->shared && chopin_pg__usable(k) && !k->shunned && !k->killer && !chopin_pg__conn_old(k); }

/* Lower is better; negative: not now. */
static int64_t chopin_pg__shared_score(const chopin_pg__conn *k) {
    if (k->stage != CHOPIN_PG__READY) return 100000;
    if (k->depth >= CHOPIN_PG__DEPTH_MAX || chopin_pg__out_waiting(k) > CHOPIN_PG__OUT_MAX || k->unread > CHOPIN_PG__UNREAD_MAX) return 1000000;
    int64_t age = k->depth > 0 ? k->core->now_ms - k->head_since_ms : 0;
    if (k->core->blocking && k->depth > 0 && k->head->unread) return 5000 + k->depth;      // a result that is being read would be buffered whole
    return (age > 5 ? 1000 + (age < 90000 ? age : 90000) : 0) + k->depth;
}

static chopin_pg__conn *chopin_pg__shared_best(chopin_pg__pool *p, int64_t *score) {
    chopin_pg__conn *best = NULL;
    for (chopin_pg__conn *k = p->conns; k; k = k->next) {
        int64_t s = chopin_pg__shared_open(k) ? chopin_pg__shared_score(k) : -1;
        if (s < 0 || (best && s >= *score)) continue;
        best   = k;
        *score = s;
    }
    return best;
}

/* A shared connection that is ready and has room, right now and without waiting; NULL: none. */
static chopin_pg__conn *chopin_pg__shared_now(chopin_pg__pool *p) {
    int64_t score = 0;
    chopin_pg__conn *k = chopin_pg__shared_best(p, &score);
    if (!k || score >= 100000 || (score >= 1000 && chopin_pg__pool_live(p, true) < p->core.options.shared)) return NULL;
    return chopin_pg__conn_alive(k, NULL) ? k : NULL;
}

/* One more. NULL without an error in `o`: it could not be had, but there is another one to fall back on. */
static chopin_pg__conn *chopin_pg__shared_add(chopin_pg__pool *p, chopin_pg__waiter *w, chopin_pg__object *o, bool needed, int64_t deadline_ms) {
    chopin_pg__conn *k = chopin_pg__pool_connect(p, true);
    if (!k && needed) chopin_pg__object_fail(o, CHOPIN_PG_MEMORY, "out of memory for a connection");
    if (!k || chopin_pg__conn_await(k, w, o, deadline_ms) == 0) return k;
    if (!needed && o->status != CHOPIN_PG_CANCELED && !chopin_pg__late(deadline_ms)) chopin_pg__object_clear(o);
    return NULL;
}

/* None is free: `k` is full or still connecting; NULL: all are on their way out. Helps one of them on. False: `o` says why not. */
static bool chopin_pg__shared_wait(chopin_pg__pool *p, chopin_pg__conn *k, chopin_pg__waiter *w, chopin_pg__object *o, int64_t deadline_ms) {
    if (!k) k = p->conns;
    while (k && (!k->shared || !chopin_pg__usable(k))) k = k->next;
    if (!k) return true;
    if (k->stage != CHOPIN_PG__READY) return chopin_pg__conn_await(k, w, o, deadline_ms) == 0;
    int rc = chopin_pg__drive(k, w, deadline_ms);
    chopin_pg__pass(k);
    chopin_pg__waiter_at(w, NULL);
    if (rc < 0)  chopin_pg__object_fail(o, CHOPIN_PG_CANCELED, "given up while waiting for a connection");
    if (rc == 0) chopin_pg__object_fail(o, CHOPIN_PG_TIMEOUT, "all shared connections were full until the deadline");
    return rc > 0;
}

/* The usual one: at rest, used a moment ago, and in a pool that was tended in this very tick of the clock. NULL: look at all of them. */
static chopin_pg__conn *chopin_pg__shared_rested(chopin_pg__pool *p) {
    chopin_pg__conn *k = p->conns;
    int64_t now = p->core.now_ms = chopin_pg__clock_near_ms();
    if (!k || k->stage != CHOPIN_PG__READY || k->depth > 0 || k->reader || p->tended_ms != now || p->core.demoted) return NULL;
    return chopin_pg__shared_open(k) && now - k->idle_since_ms < 1000 && chopin_pg__out_waiting(k) == 0 ? k : NULL;
}

/* The same as chopin_pg__shared_now(), but waits for one. NULL: `o` says why. */
static chopin_pg__conn *chopin_pg__shared_get(chopin_pg__pool *p, chopin_pg__waiter *w, chopin_pg__object *o, int64_t deadline_ms) {
    bool may_add = true;
    chopin_pg__conn *rested = chopin_pg__shared_rested(p);
    if (rested) return rested;
    for (int tries = 0; tries < 1000; tries++) {
        int64_t score = 0;
        chopin_pg__pool_tend(p);
        chopin_pg__conn *k = chopin_pg__shared_best(p, &score);
        bool slow = !k || (score >= 1000 && score != 100000);
        if (slow && (may_add || !k) && chopin_pg__pool_live(p, true) < p->core.options.shared) {
            chopin_pg__conn *fresh = chopin_pg__shared_add(p, w, o, !k, deadline_ms);
            if (fresh || o->status) return fresh;
            may_add = false;
            continue;                                         // we have waited: what was the best may be gone
        }
        bool ready = k && k->stage == CHOPIN_PG__READY && score < 1000000;
        if (ready && chopin_pg__conn_alive(k, w)) return k;
        if (ready) continue;
        if (!chopin_pg__shared_wait(p, k, w, o, deadline_ms)) return NULL;
        if (k) tries = 0;
    }
    return chopin_pg__object_fail(o, CHOPIN_PG_CONNECT, "connections break as soon as they are made"), NULL;
}

/* ---- exclusive connections ---- */
static chopin_pg__conn *chopin_pg__exclusive_idle(chopin_pg__pool *p) {
    chopin_pg__conn *best = NULL;
    for (chopin_pg__conn *k = p->conns; k; k = k->next) {
        if (k->shared || k->place != CHOPIN_PG__IDLE || !chopin_pg__usable(k)) continue;
        if (!best || (k->stage == CHOPIN_PG__READY && k->idle_since_ms >= best->idle_since_ms)) best = k;
    }
    return best;
}

static chopin_pg__conn *chopin_pg__exclusive_cleaning(chopin_pg__pool *p) {
    chopin_pg__conn *k = p->conns;
    while (k && (k->shared || k->place != CHOPIN_PG__CLEANING)) k = k->next;
    return k;
}

/* Takes over one that is on its way back, and reads on until it is clean. True: it is. */
static bool chopin_pg__exclusive_adopt(chopin_pg__conn *k, chopin_pg__waiter *w) {
    k->place = CHOPIN_PG__BUSY;
    chopin_pg__waiter_at(w, k);
    if (k->killer) chopin_pg__killer_run(k, w);
    while (!chopin_pg__clean_step(k)) {
        int rc = k->depth > 0 ? chopin_pg__drive(k, w, k->clean_by_ms) : 1;
        if (rc <= 0) chopin_pg__conn_break(k, CHOPIN_PG_TIMEOUT, "the connection did not become clean within grace_ms");
    }
    chopin_pg__waiter_at(w, NULL);
    return chopin_pg__usable(k);
}

static int chopin_pg__exclusive_full(chopin_pg__pool *p, chopin_pg__object *o, const char *what) {
    const chopin_pg__conn *held = NULL;
    for (const chopin_pg__conn *k = p->conns; k; k = k->next) {
        if (!k->shared && k->place == CHOPIN_PG__BUSY && k->holder_sql[0] && (!held || k->busy_since_ms < held->busy_since_ms)) held = k;
    }
    p->core.counters.acquire_timeouts++;
    return chopin_pg__object_fail(o, CHOPIN_PG_POOL, "%s: all %d exclusive connections are in use; the oldest one last ran: %s", what, p->exclusive, held ? held->holder_sql : "(nothing yet)");
}

/* Waits in line. NULL: `o` says why. */
static chopin_pg__conn *chopin_pg__exclusive_queue(chopin_pg__pool *p, chopin_pg__waiter *w, chopin_pg__object *o, int64_t deadline_ms) {
    chopin_pg__core *c = &p->core;
    if (c->blocking) return chopin_pg__exclusive_full(p, o, "nobody could give one back"), NULL;
    if (p->waiting >= c->options.max_waiting) return chopin_pg__exclusive_full(p, o, "max_waiting callers wait already"), NULL;
    p->waiting++;
    w->in_line = true;
    int rc = chopin_pg__sleep_in(c, w, &p->queue, deadline_ms);
    w->in_line = false;
    p->waiting--;
    chopin_pg__conn *k = w->gift;
    w->gift = NULL;
    if (k && rc >= 0) return k;
    if (k) {                                                  // it came, but we may not stay
        chopin_pg__pool_idle(p, k);
        chopin_pg__object_fail(o, CHOPIN_PG_CANCELED, "given up while waiting for a connection");
    }
    else if (rc < 0) chopin_pg__object_fail(o, CHOPIN_PG_CANCELED, "given up while waiting for a connection");
    else if (rc == 0) chopin_pg__exclusive_full(p, o, "no connection came back in time");
    return NULL;
}

/* One try: idle, new, on its way back, or in line. NULL without an error in `o`: try again. */
static chopin_pg__conn *chopin_pg__exclusive_try(chopin_pg__pool *p, chopin_pg *h, chopin_pg__waiter *w, chopin_pg__object *o, int64_t deadline_ms) {
    chopin_pg__pool_tend(p);
    chopin_pg__conn *k = p->queue ? NULL : chopin_pg__exclusive_idle(p);
    if (!k && !p->queue && chopin_pg__pool_live(p, false) < p->core.options.exclusive) {
        k = chopin_pg__pool_connect(p, false);
        if (!k) return chopin_pg__object_fail(o, CHOPIN_PG_MEMORY, "out of memory for a connection"), NULL;
    }
    if (!k && !p->queue && (k = chopin_pg__exclusive_cleaning(p)) != NULL) {
        k->holder = h->root;
        return chopin_pg__exclusive_adopt(k, w) ? k : NULL;
    }
    if (!k) return chopin_pg__exclusive_queue(p, w, o, deadline_ms);
    k->place  = CHOPIN_PG__BUSY;
    k->holder = h->root;
    if (k->stage == CHOPIN_PG__READY) return chopin_pg__conn_alive(k, w) ? k : NULL;
    if (chopin_pg__conn_await(k, w, o, deadline_ms) == 0) return k;
    chopin_pg__pool_idle(p, k);                               // still connecting: the next one finds it further on
    return NULL;
}

/* Tries until one is clean and ours. NULL: `o` says why, or all of them broke. */
static chopin_pg__conn *chopin_pg__exclusive_take(chopin_pg *h, chopin_pg__waiter *w, chopin_pg__object *o, int64_t until) {
    chopin_pg__pool *p = h->pool;
    for (int tries = 0; !o->status && tries < 100; tries++) {
        chopin_pg__conn *k = chopin_pg__exclusive_try(p, h, w, o, until);
        if (k && k->stage < CHOPIN_PG__READY && chopin_pg__conn_await(k, w, o, until) < 0) {     // handed over while still connecting
            chopin_pg__pool_idle(p, k);
            return NULL;
        }
        if (!k) continue;
        if (k->place == CHOPIN_PG__BUSY && chopin_pg__usable(k) && chopin_pg__conn_free_to_use(k)) return k;
        if (chopin_pg__usable(k) && chopin_pg__exclusive_adopt(k, w)) return k;                  // it was handed over unclean
        k->place = CHOPIN_PG__IDLE;
    }
    return NULL;
}

static chopin_pg__conn *chopin_pg__exclusive_get(chopin_pg *h, chopin_pg__waiter *w, chopin_pg__object *o, int64_t deadline_ms) {
    chopin_pg__core *c = &h->pool->core;
    int64_t began = chopin_pg__clock_ns(), until = chopin_pg__sooner(deadline_ms, chopin_pg__deadline(c->options.acquire_ms));
    chopin_pg__conn *k = chopin_pg__exclusive_take(h, w, o, until);
    if (!k) return chopin_pg__object_fail(o, CHOPIN_PG_CONNECT, "connections break as soon as they are made"), NULL;
    uint64_t ns = (uint64_t)(chopin_pg__clock_ns() - began);
    c->counters.acquired++;
    c->counters.acquire_ns += ns;
    if (ns > c->counters.acquire_ns_max) c->counters.acquire_ns_max = ns;
    k->holder = h->root;
    k->busy_since_ms = chopin_pg__clock_ms();
    chopin_pg__event(c, CHOPIN_PG_ON_ACQUIRE, k, NULL, began);
    return k;
}

/* Gives it back in whatever state it is. Never waits, except in a blocking program, and then at most grace_ms. */
static void chopin_pg__exclusive_give(chopin_pg__pool *p, chopin_pg__conn *k) {
    bool running = false;
    if (k->stage < CHOPIN_PG__READY) {                        // still connecting: the next one who needs it goes on
        chopin_pg__pool_idle(p, k);
        return;
    }
    chopin_pg__event(&p->core, CHOPIN_PG_ON_RELEASE, k, NULL, k->busy_since_ms * 1000000);
    k->place   = CHOPIN_PG__CLEANING;
    k->keeper  = NULL;
    k->copying = NULL;
    k->clean_by_ms = chopin_pg__deadline(p->core.options.grace_ms);
    for (chopin_pg_rows *r = k->head; r; r = r->behind) {
        if (r->ours) continue;
        running |= !r->ending;
        chopin_pg__rows_orphan(&p->core, r);
    }
    if (running && chopin_pg__usable(k) && chopin_pg__flush(k) > 0) {
        chopin_pg__receive(k, false);                         // perhaps the answer is there already
        if (k->depth > 0 && chopin_pg__usable(k) && !chopin_pg__killer_start(k)) chopin_pg__conn_break(k, CHOPIN_PG_CONNECT, "a statement could not be cancelled");
    }
    if (chopin_pg__clean_step(k)) chopin_pg__pool_idle(p, k);
    else if (p->core.blocking) {
        chopin_pg__waiter w;
        memset(&w, 0, sizeof w);
        chopin_pg__exclusive_adopt(k, &w);
        chopin_pg__pool_idle(p, k);
    }
    chopin_pg__pool_tend(p);
}

/* ---- an operation finds its connection ---- */

static chopin_pg__conn *chopin_pg__handle_conn(chopin_pg *h) {
    chopin_pg *x = chopin_pg__conn_handle(h);
    return x ? x->conn : NULL;
}

static void chopin_pg__note_sql(chopin_pg__conn *k, chopin_str sql) {
    size_t n = chopin_pg__min(sql.len, sizeof k->holder_sql - 1);
    memcpy(k->holder_sql, sql.ptr, n);
    k->holder_sql[n] = 0;
}

/* The connection of a pin or transaction, taken from the pool when it is needed first. A transaction on a pin uses the pin's. */
static int chopin_pg__handle_acquire(chopin_pg *h, chopin_pg__waiter *w, chopin_pg__object *o, int64_t deadline_ms) {
    if (h->conn) {
        if (chopin_pg__usable(h->conn)) return 0;
        return chopin_pg__object_fail(o, CHOPIN_PG_LOST, "its connection was lost: %s", chopin_pg__object_shown(&h->conn->fault)->why);
    }
    chopin_pg *up = chopin_pg__conn_handle(h->parent);
    if (up) {
        int rc = chopin_pg__handle_acquire(up, w, o, deadline_ms);
        h->conn = up->conn;
        h->owns_conn = false;
        return rc;
    }
    h->conn = chopin_pg__exclusive_get(h, w, o, deadline_ms);
    h->owns_conn = h->conn != NULL;
    return h->conn ? 0 : o->status;
}

static void chopin_pg__handle_release(chopin_pg *h) {
    chopin_pg__conn *k = h->conn;
    h->conn = NULL;
    if (k) k->dirty |= h->dirty;
    if (k && h->owns_conn) chopin_pg__exclusive_give(h->pool, k);
    h->owns_conn = false;
}

/* The words a transaction begins with. */
static chopin_str chopin_pg__begin_text(const chopin_pg *h, char *out, size_t cap) {
    static const char *const levels[] = { "", " isolation level read committed", " isolation level repeatable read", " isolation level serializable" };
    int n = h->level > 0 ? snprintf(out, cap, "savepoint chopin_%d", h->level)
                         : snprintf(out, cap, "begin%s%s%s", levels[h->tx.isolation & 3], h->tx.read_only ? " read only" : "", h->tx.deferrable ? " deferrable" : "");
    return chopin_pg__str(out, (size_t)n);
}

/* BEGIN rides in front of the first statement, in its group: if it fails, the statement does not run. Outer savepoints come first. */
static int chopin_pg__ride_begin(chopin_pg *h, chopin_pg__conn *k, chopin_pg__object *o) {
    char text[128];
    if (!h || h->object.kind != CHOPIN_PG__TX || h->tx_state == CHOPIN_PG__TX_OPEN) return 0;
    int rc = chopin_pg__ride_begin(chopin_pg__conn_handle(h->parent), k, o);
    if (rc < 0) return rc;
    if (h->tx_state == CHOPIN_PG__TX_DONE) return chopin_pg__object_fail(o, CHOPIN_PG_ARG, "the transaction is over: begin another one");
    chopin_pg_rows *r = chopin_pg__rider(k, "");
    if (!r) return chopin_pg__object_fail(o, CHOPIN_PG_MEMORY, "out of memory for a transaction");
    r->sql     = chopin_pg__begin_text(h, text, sizeof text);
    r->unnamed = true;
    r->opens   = h->level == 0;
    rc = chopin_pg__encode(k, r);
    if (rc < 0) {
        chopin_pg__object_fail(o, rc, "%s", chopin_pg__object_shown(&r->object)->why);
        return chopin_pg__rows_recycle(&h->pool->core, r), rc;
    }
    r->sql = CHOPIN_STR("begin");                             // `text` is about to go
    h->tx_state = CHOPIN_PG__TX_OPEN;
    return 0;
}

/* Into the output of `k`, behind its riders. 0, or r's error is set. */
static int chopin_pg__put_behind(chopin_pg__conn *k, chopin_pg_rows *r) {
    r->session = k->session;
    if (k->core->options.on_event) r->began_ns = chopin_pg__clock_ns();
    int rc = chopin_pg__encode(k, r);
    if (rc < 0) r->phase = CHOPIN_PG__OVER;
    else if (!k->shared) chopin_pg__note_sql(k, r->sql);
    return rc;
}

/* Tells of it when nothing is half done: the callback may use the pool. */
static CHOPIN_PG__NOINLINE void chopin_pg__put_tell(chopin_pg__conn *k, chopin_pg_rows *r) {
    bool preparing = r->statement && r->statement->uses == 1 && r->statement->state == CHOPIN_PG__PREPARING;
    if (preparing) chopin_pg__event(k->core, CHOPIN_PG_ON_PREPARE, k, r, 0);
    chopin_pg__event(k->core, CHOPIN_PG_ON_QUERY, k, r, 0);
}

/* Into the output of `k`, riders first. 0, or r's error is set. */
static int chopin_pg__put_on(chopin_pg *h, chopin_pg__conn *k, chopin_pg_rows *r, bool seal) {
    if (k->copying && k->copying->phase == CHOPIN_PG__FLYING) {
        r->phase = CHOPIN_PG__OVER;
        return chopin_pg__object_fail(&r->object, CHOPIN_PG_ARG, "a COPY is open on this connection: end it first");
    }
    if (!chopin_pg__usable(k)) {                              // an earlier one broke it just now
        r->phase = CHOPIN_PG__OVER;
        return chopin_pg__object_fail(&r->object, CHOPIN_PG_CONNECT, "the connection was lost before it could be sent: %s", chopin_pg__object_shown(&k->fault)->why);
    }
    k->touched_by = h->root;
    int rc = chopin_pg__ride_begin(chopin_pg__conn_handle(h), k, &r->object);
    if (rc < 0) r->phase = CHOPIN_PG__OVER;
    else        rc = chopin_pg__put_behind(k, r);
    if (seal || rc < 0) chopin_pg__seal(k);
    k->touched_by = NULL;
    if (rc == 0 && k->core->options.on_event) chopin_pg__put_tell(k, r);
    return rc;
}

/* Earlier ones of the same handle that could not be sent without waiting go first. */
static void chopin_pg__put_earlier(chopin_pg *h, chopin_pg__conn *k, chopin_pg_rows *until) {
    for (chopin_pg_rows *r = h->rows; r && r != until; r = r->after) {
        if (r->phase == CHOPIN_PG__NEW && !r->object.status && !r->keeps_conn) chopin_pg__put_on(h, k, r, true);
    }
}

/* Puts it on its way without waiting: stays NEW when that is not possible. */
static void chopin_pg__submit_now(chopin_pg *h, chopin_pg_rows *r) {
    chopin_pg *own = chopin_pg__conn_handle(h);
    chopin_pg__conn *k = own ? own->conn : chopin_pg__shared_now(h->pool);
    if (!k || k->stage != CHOPIN_PG__READY || k->depth >= CHOPIN_PG__DEPTH_MAX || chopin_pg__out_waiting(k) > CHOPIN_PG__OUT_MAX) return;
    if (own) chopin_pg__put_earlier(h, k, r);
    chopin_pg__put_on(h, k, r, true);
}

/* Those sent after it found the connection full: as many of them as it takes now, so that they do not wait for one another. */
static void chopin_pg__put_later(chopin_pg *h, chopin_pg_rows *r) {
    for (chopin_pg_rows *q = r->after; q && q->phase == CHOPIN_PG__NEW && q->kept_args && !q->object.status; q = q->after) {
        chopin_pg__submit_now(h, q);
        if (q->phase == CHOPIN_PG__NEW) break;
    }
}

/* Finds a connection, waiting if it must, and puts the operation on its way. */
static int chopin_pg__submit(chopin_pg *h, chopin_pg_rows *r, chopin_pg__waiter *w) {
    chopin_pg *own = chopin_pg__conn_handle(h);
    chopin_pg__conn *k = NULL;
    if (r->keeps_conn && !own) {
        if (!r->conn || !chopin_pg__usable(r->conn)) r->conn = chopin_pg__exclusive_get(h, w, &r->object, r->deadline);
        k = r->conn;
        if (k) k->keeper = r;
    } else if (own) {
        if (chopin_pg__handle_acquire(own, w, &r->object, r->deadline) == 0) k = own->conn;
    } else {
        k = chopin_pg__shared_get(h->pool, w, &r->object, r->deadline);
    }
    if (!k) return r->phase = CHOPIN_PG__OVER, r->object.status;
    if (own) chopin_pg__put_earlier(h, k, r);
    int rc = r->phase == CHOPIN_PG__NEW ? chopin_pg__put_on(h, k, r, true) : 0;
    if (rc == 0 && !own && !r->keeps_conn) chopin_pg__put_later(h, r);
    return rc;
}

/* ---- when time is over ---- */

/* Not a byte of it has left, and it is the last: it can be taken out again. */
static bool chopin_pg__take_back(chopin_pg__conn *k, chopin_pg_rows *r) {
    uint64_t sent = k->out_base + k->sent;
    if (r->out_from < sent || r != k->tail) return false;
    chopin_pg_rows *before = k->head;
    while (before != r && before->behind != r) before = before->behind;
    if (before != r && !before->sync) return false;           // riders of its group would be left without a Sync
    if (r->statement && r->statement->state == CHOPIN_PG__PREPARING) r->statement->state = CHOPIN_PG__STALE;
    k->out.len = (size_t)(r->out_from - k->out_base);
    if (k->traced > r->out_from) k->traced = r->out_from;
    k->tail = before == r ? NULL : before;
    if (before == r) k->head = NULL; else before->behind = NULL;
    if (k->current == r) k->current = NULL;
    k->depth--;
    k->owned--;
    r->phase = CHOPIN_PG__OVER;
    r->conn  = NULL;
    r->counted = false;
    return true;
}

/* Is everything in flight there nobody's any more, except this one? */
static bool chopin_pg__nobody_else(const chopin_pg__conn *k, const chopin_pg_rows *r) {
    for (const chopin_pg_rows *q = k->head; q; q = q->behind) if (q != r && q->handle) return false;
    return true;
}

static bool chopin_pg__rows_is_over(const void *r) { return ((const chopin_pg_rows *)r)->phase == CHOPIN_PG__OVER; }
static bool chopin_pg__conn_drained(const void *k) { return ((const chopin_pg__conn *)k)->depth == 0; }

/* Behind a pooler the signal may still be on its way when our Z comes: one empty round trip more lies between it and the next statement. */
static void chopin_pg__kill_settle(chopin_pg__conn *k, chopin_pg__waiter *w, int64_t until) {
    if (!k->core->pooler || !chopin_pg__usable(k) || !chopin_pg__pool_rider(k, NULL)) return;
    if (chopin_pg__drive_until(k, w, until, chopin_pg__conn_drained, k) <= 0) chopin_pg__conn_break(k, CHOPIN_PG_TIMEOUT, "no answer after a cancel");
}

/* Cancels what runs and waits for the outcome, within grace_ms; else the connection is closed. */
static void chopin_pg__kill(chopin_pg__conn *k, chopin_pg_rows *r, chopin_pg__waiter *w) {
    int64_t until = chopin_pg__deadline(k->core->options.grace_ms);
    chopin_pg__waiter_at(w, k);
    r->drop = true;
    chopin_pg__rows_drop_bytes(k->core, r);
    chopin_pg__killer_start(k);
    if (chopin_pg__killer_run(k, w) <= 0) return;
    while (chopin_pg__usable(k) && r->phase != CHOPIN_PG__OVER) {
        int rc = chopin_pg__drive(k, w, until);
        if (rc <= 0) chopin_pg__conn_break(k, CHOPIN_PG_TIMEOUT, "no answer to a cancel within grace_ms");
    }
    chopin_pg__kill_settle(k, w, until);
    chopin_pg__pass(k);
    chopin_pg__waiter_at(w, NULL);
}

static void chopin_pg__retry_class(chopin_pg_rows *r, chopin_pg_retry_class as) {
    if (r->object.error) r->object.error->retry = as;
}

/* The caller keeps `r`, but what is in flight goes on without it: a ghost takes its place in the queue. */
static void chopin_pg__rows_detach(chopin_pg__core *c, chopin_pg_rows *r) {
    chopin_pg__conn *k = r->conn;
    chopin_pg_rows *ghost = chopin_pg__rows_new(c);
    if (!ghost) {
        chopin_pg__conn_break(k, CHOPIN_PG_MEMORY, "out of memory while giving up a statement");
        return;
    }
    chopin_pg__rows_drop_bytes(c, r);
    ghost->phase = r->phase;   ghost->conn = k;   ghost->counted = r->counted;   ghost->behind = r->behind;   ghost->steps = r->steps;   ghost->sync = r->sync;
    ghost->simple = r->simple; ghost->copy = r->copy;       ghost->copy_open = r->copy_open;
    ghost->out_from = r->out_from; ghost->bound = r->bound; ghost->portal = r->portal;
    ghost->drop = true;
    ghost->began_ns = r->began_ns;
    ghost->sql = r->statement ? r->statement->sql : chopin_pg__absent();       // that of `r` may go with it
    ghost->statement = r->statement;
    ghost->shape = chopin_pg__shape_share(r->shape);
    if (ghost->statement) ghost->statement->uses++;
    for (chopin_pg_rows **at = &k->head; *at; at = &(*at)->behind) if (*at == r) { *at = ghost; break; }
    if (k->tail == r)    k->tail = ghost;
    if (k->current == r) k->current = ghost;
    k->owned--;
    r->phase   = CHOPIN_PG__OVER;
    r->counted = false;
    r->behind  = NULL;
    if (!r->keeps_conn) r->conn = NULL;
}

/* Nobody waits for anything there any more: what runs is cancelled as far as that goes without waiting, and a new connection is quicker than draining this one. */
static void chopin_pg__abandon(chopin_pg__conn *k) {
    if (chopin_pg__killer_start(k)) chopin_pg__killer_step(k, true);
    chopin_pg__killer_free(k);
    chopin_pg__conn_break(k, CHOPIN_PG_TIMEOUT, "all statements on a connection were given up");
}

/* `r` has to end now. `may_wait`: this fiber may still wait for a cancel. Its error is set, whatever the server says later. */
static void chopin_pg__give_up(chopin_pg *h, chopin_pg_rows *r, chopin_pg__waiter *w, int status, const char *why, bool may_wait) {
    chopin_pg__core *c = chopin_pg__core_of(h);
    chopin_pg__conn *k = r->conn;
    bool failed = r->object.status < 0;
    if (status == CHOPIN_PG_TIMEOUT) c->counters.timeouts++;
    if (r->phase != CHOPIN_PG__FLYING || (k->stage == CHOPIN_PG__READY && chopin_pg__take_back(k, r))) {
        chopin_pg__object_fail(&r->object, status, "%s (not sent)", why);
        r->phase = CHOPIN_PG__OVER;
        if (!failed) chopin_pg__retry_class(r, CHOPIN_PG_RETRY_UNSENT);
        return;
    }
    chopin_pg__object_fail(&r->object, status, "%s (it was sent: the outcome is unknown)", why);
    if (!failed) chopin_pg__retry_class(r, CHOPIN_PG_RETRY_UNKNOWN);
    if (may_wait && k->depth == 1) {
        chopin_pg__kill(k, r, w);
        return;
    }
    // others wait behind it, and a cancel could hit them: its answer is dropped when it comes. While it blocks the head of a shared connection, no new work goes there
    k->shunned |= k->shared && k->head == r;
    bool alone = chopin_pg__nobody_else(k, r);
    chopin_pg__rows_detach(c, r);
    if (k->shared && alone && chopin_pg__usable(k)) chopin_pg__abandon(k);
}

/* ---- waiting for an operation ---- */
static bool chopin_pg__rows_ready(const chopin_pg_rows *r, bool to_end) {
    if (r->phase == CHOPIN_PG__OVER) return !r->redo;
    if (r->object.status < 0 && r->drop) return true;         // it lost its rows: nothing to wait for
    return !to_end && (r->unread > 0 || (r->copy_open && !r->copy_reading));
}

/* It came back unsent, or its plan was stale: once more, and not for ever. */
static bool chopin_pg__rows_again(chopin_pg_rows *r) {
    if (!r->redo) return true;
    if (r->tries >= 4 || r->object.status < 0) {
        r->redo = false;
        chopin_pg__object_fail(&r->object, CHOPIN_PG_CONNECT, "connections break before it can be sent");
        return false;
    }
    r->redo  = false;
    r->phase = CHOPIN_PG__NEW;
    return true;
}

static void chopin_pg__rows_wait_in(chopin_pg *h, chopin_pg_rows *r, chopin_pg__waiter *w, bool to_end) {
    chopin_pg__conn *k = NULL;
    while (!chopin_pg__rows_ready(r, to_end)) {
        if (r->phase == CHOPIN_PG__OVER && !chopin_pg__rows_again(r)) break;
        if (r->phase == CHOPIN_PG__NEW) {
            if (chopin_pg__submit(h, r, w) < 0) break;
            continue;
        }
        k = r->conn;
        int rc = chopin_pg__drive(k, w, r->deadline);
        if (rc > 0 || chopin_pg__rows_ready(r, to_end)) continue;
        chopin_pg__give_up(h, r, w, rc < 0 ? CHOPIN_PG_CANCELED : CHOPIN_PG_TIMEOUT, rc < 0 ? "given up by its caller" : "its deadline passed", rc == 0);
        break;
    }
    if (k) chopin_pg__pass(k);
}

/* ---- a program that blocks, and nobody else is there: without a deadline, a query on a connection at rest is one send and one receive. Each step leaves what is
 * not as usual to the whole way, in a state that it finds in order ---- */

/* Integers for a statement that is ready, and the Sync. False: nothing was put. */
static bool chopin_pg__alone_put(chopin_pg__conn *k, chopin_pg_rows *r) {
    bool usual = !r->simple && !r->unnamed && !r->copy && !r->tries && k->out.len == 0;
    chopin_pg__statement *s = usual ? chopin_pg__cache_ready(k, r) : NULL;
    if (!s || !chopin_pg__put_usual(k, r, s)) return false;
    chopin_pg__put_simple(&k->out, 'S');
    r->sync = true;
    return true;
}

/* Has the whole answer come? Then it is over, without ever having been in the queue. */
static bool chopin_pg__alone_answered(chopin_pg__conn *k, chopin_pg_rows *r) {
    if (!chopin_pg__take_bound(k->block)) return false;
    r->steps++;
    chopin_pg__rows_bound(k, r);
    if (!chopin_pg__take_rows(k, r) || !chopin_pg__take_ready(k->block)) return false;
    r->phase = CHOPIN_PG__OVER;
    r->tries = 1;
    k->idle_since_ms = k->core->now_ms;
    k->idle_unsure   = true;
    k->core->counters.queries++;
    return true;
}

/* True: it is over. False: it has not begun, or is in the queue. */
static bool chopin_pg__alone_ask(chopin_pg__conn *k, chopin_pg_rows *r) {
    chopin_pg__block *b = k->block;
    const chopin_pg_options *o = &k->core->options;
    if (r->after || o->trace || o->on_event || !b || b->refs != 1 || b->from != b->to || !chopin_pg__alone_put(k, r)) return false;
    size_t    size = k->out.len;
    ptrdiff_t n = chopin_pg__io_send(k, k->out.ptr, size), got = 0;
    if (n > 0) chopin_pg__out_left(k, (size_t)n);
    b->from = b->to = 0;
    if (n == (ptrdiff_t)size) got = chopin_pg__io_recv(k, b->data, b->cap, true);
    if (got > 0) {
        k->core->counters.bytes_in += (uint64_t)got;
        b->to = (size_t)got;
        if (chopin_pg__alone_answered(k, r)) {
            if (b->from != b->to) chopin_pg__dispatch(k);      // something that comes at any time
            return true;
        }
    }
    chopin_pg__queue_link(k, r);
    k->unread += r->unread;                                   // of a shared one
    if (got > 0) chopin_pg__dispatch(k);
    if (got < 0) chopin_pg__conn_eof(k, got);
    return false;
}

/* True: it is ready; false: what is left to do takes the whole way. */
static bool chopin_pg__rows_wait_alone(chopin_pg *h, chopin_pg_rows *r, bool to_end) {
    chopin_pg__pool *p = h->pool;
    if (!p->core.blocking || r->deadline >= 0) return false;
    if (r->phase == CHOPIN_PG__NEW) {
        chopin_pg__conn *k = r->keeps_conn || chopin_pg__conn_handle(h) ? NULL : chopin_pg__shared_rested(p);
        if (!k || k->tls) return false;
        k->touched_by = h->root;
        bool over = chopin_pg__alone_ask(k, r);
        k->touched_by = NULL;
        if (over) return true;
        if (r->phase == CHOPIN_PG__NEW && chopin_pg__put_on(h, k, r, true) < 0) return true;
        chopin_pg__put_later(h, r);
    }
    chopin_pg__conn *k = r->phase == CHOPIN_PG__FLYING ? r->conn : NULL;
    if (!k || k->tls || k->stage != CHOPIN_PG__READY) return false;
    k->touched_by = h->root;
    while (r->phase == CHOPIN_PG__FLYING && !chopin_pg__rows_ready(r, to_end) && chopin_pg__flush(k) > 0) chopin_pg__receive(k, true);
    k->touched_by = NULL;
    return chopin_pg__rows_ready(r, to_end);
}

/* Until a row, the end or an error is there; `to_end`: the end or an error. Its error, or 0. */
static int chopin_pg__rows_wait(chopin_pg *h, chopin_pg_rows *r, bool to_end) {
    if (chopin_pg__rows_ready(r, to_end) || chopin_pg__rows_wait_alone(h, r, to_end)) return r->object.status;
    chopin_pg__waiter *w = chopin_pg__waiter_new(h);
    if (!w) return chopin_pg__object_fail(&r->object, CHOPIN_PG_MEMORY, "out of memory for waiting");
    w->op = r;
    r->waiter = w;
    chopin_pg__rows_wait_in(h, r, w, to_end);
    r->waiter = NULL;
    chopin_pg__waiter_free(chopin_pg__core_of(h), w);
    return r->object.status;
}

/* ---- an operation is made ---- */

/* Errors of a transaction or batch are those of all its parts; a pool, scope or pin has that of the last. */
static bool chopin_pg__sticky(const chopin_pg *h) { return h->object.kind == CHOPIN_PG__TX || h->object.kind == CHOPIN_PG__BATCH; }

static void chopin_pg__tell(chopin_pg *h, const chopin_pg__object *o) {
    if (!o->status) return;
    if (h->object.status && chopin_pg__sticky(h)) return;
    chopin_pg__object_copy(&h->object, o);
}

static const char *chopin_pg__gate_advice(chopin_pg__gate gate, const chopin_pg *h) {
    bool own = chopin_pg__conn_handle((chopin_pg *)(uintptr_t)h) != NULL, tx = own && h->object.kind != CHOPIN_PG__PIN;
    if (gate == CHOPIN_PG__GATE_TX)      return tx ? "use chopin_pg_commit(), chopin_pg_rollback() and chopin_pg_begin()" : own ? NULL : "use chopin_pg_begin()";
    if (gate == CHOPIN_PG__GATE_SESSION) return own ? NULL : "use chopin_pg_pin()";
    if (gate == CHOPIN_PG__GATE_COPY)    return own ? NULL : "use chopin_pg_copy_in(), _copy_raw() or _copy_out()";
    return NULL;
}

static chopin_pg__judged *chopin_pg__judged_at(chopin_pg__core *c, chopin_str sql) {
    unsigned middle = (unsigned char)sql.ptr[sql.len / 2], last = (unsigned char)sql.ptr[sql.len - 1];
    return &c->judged[(sql.len + middle * 5 + last * 3) % CHOPIN_PG__COUNT(c->judged)];
}
static void chopin_pg__judged_add(chopin_pg__core *c, chopin_str sql) {
    if (!sql.len || sql.len > sizeof c->judged[0].text) return;
    chopin_pg__judged *j = chopin_pg__judged_at(c, sql);
    memcpy(j->text, sql.ptr, sql.len);
    j->len  = (uint32_t)sql.len;
    j->id   = ++c->judged_ids;
    j->hash = CHOPIN_PG__SQL_HASH(c->hash_seed, sql);
}
/* Was it found before that this text may run anywhere? Then its hash is known too. */
static bool chopin_pg__judged_well(chopin_pg__core *c, chopin_pg_rows *r) {
    chopin_str sql = r->sql;
    if (!sql.ptr || !sql.len || sql.len > sizeof c->judged[0].text) return false;
    const chopin_pg__judged *j = chopin_pg__judged_at(c, sql);
    if (j->len != sql.len || memcmp(j->text, sql.ptr, sql.len) != 0) return false;
    r->sql_hash = j->hash;
    r->sql_id   = j->id;
    return true;
}

/* May this text run here? Marks a pin that will have to be reset. */
static int chopin_pg__gate_check(chopin_pg *h, chopin_pg__object *o, chopin_str sql) {
    chopin_str word = chopin_pg__sql_word(sql);
    chopin_pg__gate gate = chopin_pg__sql_gate(word);
    if (gate == CHOPIN_PG__GATE_OPEN) return chopin_pg__judged_add(chopin_pg__core_of(h), sql), 0;
    const char *advice = chopin_pg__gate_advice(gate, h);
    if (advice && chopin_pg__equal_nocase(word, CHOPIN_STR("LOCK")) && chopin_pg__conn_handle(h)) advice = NULL;
    if (advice) return chopin_pg__object_fail(o, CHOPIN_PG_UNSAFE, "%.*s is not possible here: %s", CHOPIN_FMT(word), advice);
    chopin_pg *own = chopin_pg__conn_handle(h);
    if (own && gate == CHOPIN_PG__GATE_SESSION) {
        chopin_pg__core *c = chopin_pg__core_of(h);
        if (c->pooler || c->swapped) return chopin_pg__object_fail(o, CHOPIN_PG_UNSAFE, "%.*s is not possible behind a pooler, which may swap the session: connect to the server itself", CHOPIN_FMT(word));
        own->dirty = true;
    }
    return 0;
}

static int chopin_pg__text_check(chopin_pg__object *o, chopin_str sql) {
    if (!sql.ptr) return chopin_pg__object_fail(o, CHOPIN_PG_ARG, "there is no SQL text");
    if (sql.len > CHOPIN_PG__MESSAGE_MAX / 2) return chopin_pg__object_fail(o, CHOPIN_PG_ARG, "the SQL is longer than 512 MiB");
    if (chopin_pg__has_nul(sql) || !chopin_pg__utf8_ok(sql)) {
        int rc = chopin_pg__object_fail(o, CHOPIN_PG_ARG, "the SQL has a NUL byte or is not UTF-8");
        if (o->error) memcpy(o->error->sqlstate, "22021", 6);
        return rc;
    }
    return 0;
}

static CHOPIN_PG__NOINLINE int chopin_pg__param_judge(chopin_pg_rows *r, int i) {
    chopin_pg_error e;
    chopin_pg__error_init(&e, r->object.heap);
    return chopin_pg__param_check(&r->params[i], &e) < 0 ? chopin_pg__encode_failed(r, &e, i + 1) : 0;
}

static inline int chopin_pg__params_check(chopin_pg_rows *r) {
    if (r->param_count > CHOPIN_PG__PARAMS_MAX) return chopin_pg__object_fail(&r->object, CHOPIN_PG_ARG, "%d values, at most 65535 are possible: use arrays or COPY", r->param_count);
    for (int i = 0; i < r->param_count; i++) {
        if (!chopin_pg__param_is_plain(r->params[i].kind) && chopin_pg__param_judge(r, i) < 0) return r->object.status;
    }
    return 0;
}

/* Copies of the text and the values, so that the caller's may go. */
static int chopin_pg__rows_keep_args(chopin_pg_rows *r) {
    size_t size = (size_t)r->param_count * sizeof(chopin_pg_param), all = size + r->sql.len + 1;
    chopin_pg_param *copy = all <= sizeof r->small ? r->small.params : (chopin_pg_param *)chopin_pg__arena_alloc(&r->kept, all);
    bool ok = copy != NULL;
    if (ok) {
        char *text = (char *)copy + size;
        memcpy(text, r->sql.ptr, r->sql.len);
        text[r->sql.len] = 0;
        r->sql.ptr = text;
    }
    r->kept_sql = r->kept_args = true;
    for (int i = 0; ok && i < r->param_count; i++) {
        copy[i] = r->params[i];
        ok = chopin_pg__param_is_plain(copy[i].kind) || chopin_pg__param_keep(&copy[i], &r->kept);
    }
    r->params = copy;
    return ok ? 0 : chopin_pg__object_fail(&r->object, CHOPIN_PG_MEMORY, "out of memory for the values of a statement");
}

/* What is returned when there is no memory: they have no handle or pool, say MEMORY to everything, and nobody writes to them. */
static const chopin_pg      chopin_pg__handle_none = { .object = { .kind = CHOPIN_PG__POOL, .status = CHOPIN_PG_MEMORY } };
static const chopin_pg_rows chopin_pg__rows_none   = { .object = { .kind = CHOPIN_PG__ROWS, .status = CHOPIN_PG_MEMORY }, .phase = CHOPIN_PG__OVER, .affected = CHOPIN_PG_MEMORY };

static chopin_pg_rows *chopin_pg__no_rows(chopin_pg *h) {
    if (h && h->pool) chopin_pg__object_fail(&h->object, CHOPIN_PG_MEMORY, "out of memory for a result");
    return (chopin_pg_rows *)(uintptr_t)&chopin_pg__rows_none;
}
static chopin_pg *chopin_pg__no_handle(void) { return (chopin_pg *)(uintptr_t)&chopin_pg__handle_none; }
static bool chopin_pg__is_none(const chopin_pg *h) { return !h || !h->pool; }

/* A new operation of this handle, checked but not sent. Its error is set if it must not be. */
static chopin_pg_rows *chopin_pg__rows_make(chopin_pg *h, chopin_str sql, const chopin_pg_param *params, int count) {
    chopin_pg__core *c = chopin_pg__core_of(h);
    chopin_pg_rows *r = chopin_pg__rows_new(c);
    if (!chopin_pg__sticky(h) && !h->broken) chopin_pg__object_clear(&h->object);
    if (!r) return chopin_pg__no_rows(h);
    chopin_pg__rows_link(h, r);
    r->sql    = sql;
    r->params = params;
    r->number = -1;
    r->param_count = count;
    r->deadline = chopin_pg__sooner(chopin_pg__handle_deadline(h), chopin_pg__deadline(c->options.query_ms));
    if (h->object.status) {
        chopin_pg__object_copy(&r->object, &h->object);
        r->phase = CHOPIN_PG__OVER;
        return r;
    }
    if (!chopin_pg__judged_well(c, r) && (chopin_pg__text_check(&r->object, sql) < 0 || chopin_pg__gate_check(h, &r->object, sql) < 0)) r->phase = CHOPIN_PG__OVER;
    else if (chopin_pg__params_check(r) < 0) r->phase = CHOPIN_PG__OVER;
    return r;
}

/* Gives back what a result holds beyond itself: its connection, if it had one of its own. */
static void chopin_pg__rows_let_go(chopin_pg__pool *p, chopin_pg_rows *r) {
    chopin_pg__conn *k = r->keeps_conn ? r->conn : NULL;
    r->keeps_conn = false;
    if (k) k->dirty |= r->dirties;
    if (k && k->keeper == r) chopin_pg__exclusive_give(p, k);
    if (k && r->phase != CHOPIN_PG__FLYING) r->conn = NULL;
}

/* The caller has no pointer to it any more. */
static void chopin_pg__rows_close(chopin_pg *h, chopin_pg_rows *r) {
    chopin_pg__pool *p = h->pool;
    chopin_pg__rows_unlink(h, r);
    if (r->phase == CHOPIN_PG__FLYING) {
        chopin_pg__conn *k = r->keeps_conn ? r->conn : NULL;
        chopin_pg__rows_orphan(&p->core, r);
        r->keeps_conn = false;
        if (k) k->dirty |= r->dirties;
        if (k && k->keeper == r) chopin_pg__exclusive_give(p, k);
        return;                                               // recycled when its answer has come
    }
    chopin_pg__rows_let_go(p, r);
    r->handle = NULL;
    chopin_pg__rows_recycle(&p->core, r);
}
/* ==========================================================================================================
   >>tx   transactions, savepoints, batches
   BEGIN travels in the group of the first statement, so it costs no round trip and the statement cannot run without it. What a transaction did not commit is
   rolled back by the way its connection goes back (>>pool).
   ========================================================================================================== */

static chopin_pg *chopin_pg__handle_new(chopin_pg *parent, chopin_pg__kind kind) {
    chopin_pg__pool *p = parent->pool;
    chopin_pg *h = p->spare_handles;
    if (h) p->spare_handles = h->next;
    else   h = (chopin_pg *)chopin_pg__alloc(&p->core.heap, sizeof *h);
    if (!h) return NULL;
    memset(h, 0, sizeof *h);
    h->object   = (chopin_pg__object){ .kind = kind, .heap = &p->core.heap };
    h->pool     = p;
    h->parent   = parent;
    h->root     = kind == CHOPIN_PG__SCOPE ? h : parent->root;
    h->deadline = -1;
    h->next     = parent->children;
    parent->children = h;
    chopin_pg__arena_init(&h->arena, &p->core.heap, 0);
    if (parent->broken || (chopin_pg__sticky(parent) && parent->object.status)) {
        chopin_pg__object_copy(&h->object, &parent->object);
        h->broken = true;
    }
    return h;
}

static void chopin_pg__handle_free(chopin_pg *h) {
    chopin_pg__pool *p = h->pool;
    chopin_pg **at = &h->parent->children;
    while (*at != h) at = &(*at)->next;
    *at = h->next;
    chopin_pg__arena_free(&h->arena);
    chopin_pg__object_done(&h->object);
    h->next = p->spare_handles;
    p->spare_handles = h;
}

/* Runs one of our own words on the handle's connection and waits for it. */
static int chopin_pg__tx_word(chopin_pg *h, const char *sql, bool *rolled_back) {
    chopin_pg_rows *r = chopin_pg__rows_new(chopin_pg__core_of(h));
    if (!r) return chopin_pg__object_fail(&h->object, CHOPIN_PG_MEMORY, "out of memory for a transaction");
    chopin_pg__rows_link(h, r);
    r->sql = chopin_pg__str_z(sql);
    r->simple  = strchr(sql, ';') != NULL;
    r->unnamed = true;                                        // behind a pooler a name could be another one's
    r->drop    = true;
    r->number = -1;
    r->deadline = chopin_pg__handle_deadline(h);
    int rc = chopin_pg__rows_wait(h, r, true);
    if (rolled_back) *rolled_back = r->rolled_back;
    chopin_pg__tell(h, &r->object);
    chopin_pg__rows_close(h, r);
    return rc;
}

/* The first error of what was sent in it, in the order it was sent. */
static void chopin_pg__tx_collect(chopin_pg *h) {
    for (chopin_pg_rows *r = h->rows; r && !h->object.status; r = r->after) if (r->phase == CHOPIN_PG__OVER) chopin_pg__tell(h, &r->object);
}

static void chopin_pg__savepoint(const chopin_pg *h, const char *format, char *out, size_t cap) {
    snprintf(out, cap, format, h->level, h->level);
}

/* Takes back without waiting: what is on its way stays in order. */
static void chopin_pg__tx_abandon(chopin_pg *h) {
    char text[96];
    if (h->tx_state != CHOPIN_PG__TX_OPEN) return;
    h->tx_state = CHOPIN_PG__TX_DONE;
    if (!h->conn || !chopin_pg__usable(h->conn) || h->owns_conn) return;      // an owned one is cleaned on its way back
    chopin_pg__savepoint(h, "rollback to savepoint chopin_%d; release savepoint chopin_%d", text, sizeof text);
    if (chopin_pg__pool_rider(h->conn, h->level > 0 ? text : "rollback")) chopin_pg__flush(h->conn);
}

static int chopin_pg__tx_rollback(chopin_pg *h) {
    char text[96];
    chopin_pg__object_clear(&h->object);
    if (h->tx_state != CHOPIN_PG__TX_OPEN) return 0;
    chopin_pg__savepoint(h, "rollback to savepoint chopin_%d; release savepoint chopin_%d", text, sizeof text);
    int rc = h->conn && chopin_pg__usable(h->conn) ? chopin_pg__tx_word(h, h->level > 0 ? text : "rollback", NULL) : 0;
    if (rc < 0 && h->conn && h->level == 0 && h->owns_conn) rc = 0;           // a dead connection has rolled back too
    h->tx_state = CHOPIN_PG__TX_NEW;
    if (h->level == 0) chopin_pg__handle_release(h);
    chopin_pg__object_clear(&h->object);
    return rc;
}

/* An error before COMMIT: nothing stays. The error does. */
static int chopin_pg__tx_failed(chopin_pg *h) {
    int rc = h->object.status;
    chopin_pg__tx_abandon(h);
    h->tx_state = CHOPIN_PG__TX_DONE;
    if (h->level == 0) chopin_pg__handle_release(h);
    return rc;
}

static int chopin_pg__tx_commit(chopin_pg *h) {
    char text[96];
    bool rolled_back = false;
    chopin_pg__tx_collect(h);
    if (h->object.status) return chopin_pg__tx_failed(h);
    for (chopin_pg_rows *r = h->rows; r; r = r->after) if (r->phase == CHOPIN_PG__NEW) chopin_pg__rows_wait(h, r, true);
    if (h->tx_state != CHOPIN_PG__TX_OPEN) return h->tx_state = CHOPIN_PG__TX_DONE, h->object.status;
    chopin_pg__savepoint(h, "release savepoint chopin_%d", text, sizeof text);
    int rc = chopin_pg__tx_word(h, h->level > 0 ? text : "commit", &rolled_back);
    if (rc == CHOPIN_PG_LOST || rc == CHOPIN_PG_PROTOCOL || rc == CHOPIN_PG_TIMEOUT || rc == CHOPIN_PG_CANCELED) h->lost = true;
    if (rc < 0 || rolled_back) {
        chopin_pg_rows *first = h->rows;
        while (first && !first->object.status) first = first->after;
        if (first) {                                          // the statement that failed says more than the COMMIT
            chopin_pg__object_clear(&h->object);
            chopin_pg__tell(h, &first->object);
        }
        if (!h->object.status) chopin_pg__object_fail(&h->object, CHOPIN_PG_SERVER, "COMMIT was answered by ROLLBACK: a statement of the transaction had failed");
    }
    if (h->object.status && !h->lost) return chopin_pg__tx_failed(h);
    h->tx_state = CHOPIN_PG__TX_DONE;
    if (h->level == 0) chopin_pg__handle_release(h);
    return h->object.status;
}

static bool chopin_pg__tx_retry(chopin_pg *h, int times) {
    const chopin_pg_error *e = chopin_pg__object_shown(&h->object);
    chopin_pg__core *c = chopin_pg__core_of(h);
    bool again = strcmp(e->sqlstate, "40001") == 0 || strcmp(e->sqlstate, "40P01") == 0;
    if (!h->object.status || h->lost || !again || h->level > 0 || h->retries >= times) return false;
    int64_t pause = (int64_t)(chopin_pg__random_next(&c->random) % (uint64_t)((int64_t)10 << (h->retries < 6 ? h->retries : 6)));
    int64_t deadline = chopin_pg__handle_deadline(h), until = chopin_pg__clock_ms() + pause + 1;
    if (deadline >= 0 && until >= deadline) return false;
    if (h->tx_state == CHOPIN_PG__TX_OPEN) chopin_pg__tx_failed(h);
    chopin_pg__waiter *w = chopin_pg__waiter_new(h);
    int rc = w ? chopin_pg__sleep(c, w, until) : -1;
    if (w) chopin_pg__waiter_free(c, w);
    if (rc < 0) return false;
    while (h->rows) chopin_pg__rows_close(h, h->rows);        // those of the attempt that failed
    chopin_pg__object_clear(&h->object);
    h->tx_state = CHOPIN_PG__TX_NEW;
    h->retries++;
    return true;
}

/* ---- batches ---- */

/* Everything that was put behind `tail` is taken out again: nothing of it has left, for nothing has waited. */
static void chopin_pg__batch_undo(chopin_pg__conn *k, chopin_pg_rows *tail, size_t len) {
    chopin_pg_rows *r = tail ? tail->behind : k->head;
    if (tail) tail->behind = NULL; else k->head = NULL;
    k->tail = tail;
    if (!tail) k->current = NULL;
    k->out.len = len;
    while (r) {
        chopin_pg_rows *next = r->behind;
        k->depth--;
        if (r->handle) k->owned--;
        if (r->statement && r->statement->state == CHOPIN_PG__PREPARING) r->statement->state = CHOPIN_PG__STALE;
        r->phase  = CHOPIN_PG__OVER;
        r->behind = NULL;
        r->conn   = NULL;
        r->counted = false;
        if (r->ours) chopin_pg__rows_recycle(k->core, r);
        r = next;
    }
}

/* The first one looks at the connection and takes the riders, the others follow it. 0, or r's error is set. */
static int chopin_pg__batch_put(chopin_pg *h, chopin_pg__conn *k, chopin_pg_rows *r) {
    if (r == h->rows || !chopin_pg__usable(k)) return chopin_pg__put_on(h, k, r, false);
    k->touched_by = h->root;
    int rc = chopin_pg__put_behind(k, r);
    k->touched_by = NULL;
    if (rc == 0 && k->core->options.on_event) chopin_pg__put_tell(k, r);
    return rc;
}

/* How many of the transactions around have not begun? They are the innermost ones. */
static int chopin_pg__tx_unbegun(chopin_pg *own) {
    int n = 0;
    for (chopin_pg *t = own; t && t->object.kind == CHOPIN_PG__TX && t->tx_state == CHOPIN_PG__TX_NEW; t = chopin_pg__conn_handle(t->parent)) n++;
    return n;
}

/* Statement `bad` could not be put, and so nothing of the batch is sent: neither those before it, nor a BEGIN that rode with them. */
static int chopin_pg__batch_refuse(chopin_pg *h, chopin_pg_rows *bad, int unbegun) {
    for (chopin_pg *t = chopin_pg__conn_handle(h); unbegun > 0; unbegun--, t = chopin_pg__conn_handle(t->parent)) t->tx_state = CHOPIN_PG__TX_NEW;
    for (chopin_pg_rows *r = h->rows; r != bad; r = r->after) chopin_pg__object_fail(&r->object, bad->object.status, "not done: statement %d of the batch failed", bad->number);
    chopin_pg__object_copy(&h->object, &bad->object);
    if (h->object.error) h->object.error->statement = bad->number;
    return h->object.status;
}

static int chopin_pg__batch_encode(chopin_pg *h, chopin_pg__conn *k) {
    chopin_pg_rows *tail = k->tail;
    size_t len = k->out.len;
    int unbegun = chopin_pg__tx_unbegun(chopin_pg__conn_handle(h));
    for (chopin_pg_rows *r = h->rows; r; r = r->after) {
        if (chopin_pg__batch_put(h, k, r) == 0) continue;
        chopin_pg__batch_undo(k, tail, len);
        return chopin_pg__batch_refuse(h, r, unbegun);
    }
    chopin_pg__seal(k);
    return 0;
}

static bool chopin_pg__batch_went_well(const chopin_pg *h) {
    const chopin_pg_rows *r = h->rows;
    while (r && !r->object.status) r = r->after;
    return !r && !h->last_row->redo;
}

static bool chopin_pg__batch_stale(const chopin_pg *h) {
    for (const chopin_pg_rows *r = h->rows; r; r = r->after) if (r->object.error && r->object.status == CHOPIN_PG_SERVER && chopin_pg__error_stale(r->object.error) && !r->bound) return true;
    return false;
}

static chopin_pg__conn *chopin_pg__batch_conn(chopin_pg *h, chopin_pg__waiter *w, bool *lent) {
    chopin_pg *own = chopin_pg__conn_handle(h);
    int64_t deadline = chopin_pg__handle_deadline(h);
    *lent = !own && h->numbered > CHOPIN_PG__DEPTH_MAX;
    if (own) return chopin_pg__handle_acquire(own, w, &h->object, deadline) == 0 ? own->conn : NULL;
    return *lent ? chopin_pg__exclusive_get(h, w, &h->object, deadline) : chopin_pg__shared_get(h->pool, w, &h->object, deadline);
}

/* Its time is over, or its caller gave up: none of its statements may look as if it had been answered. */
static int chopin_pg__batch_give_up(chopin_pg *h, chopin_pg__conn *k, chopin_pg__waiter *w, int status) {
    for (chopin_pg_rows *r = h->rows; r && r != h->last_row; r = r->after) {
        if (r->phase == CHOPIN_PG__FLYING) chopin_pg__rows_detach(k->core, r);
        chopin_pg__rows_drop_bytes(k->core, r);
        chopin_pg__object_fail(&r->object, status, "the batch was given up: its outcome is unknown");
        chopin_pg__retry_class(r, CHOPIN_PG_RETRY_UNKNOWN);
    }
    chopin_pg__give_up(h, h->last_row, w, status, "the batch was given up", status == CHOPIN_PG_TIMEOUT);
    return status;
}

static int chopin_pg__batch_run(chopin_pg *h, chopin_pg__waiter *w) {
    bool lent;
    chopin_pg__conn *k = chopin_pg__batch_conn(h, w, &lent);
    if (!k) return h->object.status;
    int rc = chopin_pg__batch_encode(h, k);
    if (rc == 0) {
        chopin_pg_rows *last = h->last_row;
        last->deadline = chopin_pg__handle_deadline(h);
        w->op = last;
        last->waiter = w;
        while (!chopin_pg__rows_is_over(last)) {
            int got = chopin_pg__drive(k, w, last->deadline);
            if (got > 0 || chopin_pg__rows_is_over(last)) continue;
            rc = chopin_pg__batch_give_up(h, k, w, got < 0 ? CHOPIN_PG_CANCELED : CHOPIN_PG_TIMEOUT);
            break;
        }
        last->waiter = NULL;
        chopin_pg__pass(k);
    }
    if (lent) chopin_pg__exclusive_give(h->pool, k);
    return rc;
}

static void chopin_pg__batch_outcome(chopin_pg *h) {
    for (chopin_pg_rows *r = h->rows; r && !h->object.status; r = r->after) {
        if (r->redo) chopin_pg__object_fail(&r->object, CHOPIN_PG_CONNECT, "the batch was not sent: the connection broke");
        if (!r->object.status || strncmp(chopin_pg__object_shown(&r->object)->why, "not done:", 9) == 0) continue;
        chopin_pg__object_copy(&h->object, &r->object);
        if (h->object.error && h->object.error->statement < 0) h->object.error->statement = r->number;
    }
}

static int chopin_pg__batch_commit(chopin_pg *h) {
    chopin_pg__core *c = chopin_pg__core_of(h);
    for (chopin_pg_rows *r = h->rows; r && !h->object.status; r = r->after) chopin_pg__tell(h, &r->object);       // read or cancelled too early
    if (h->object.status || h->committed || !h->rows) return h->object.status;
    h->committed = true;
    for (int tries = 0; tries < 3; tries++) {
        chopin_pg__waiter *w = chopin_pg__waiter_new(h);
        if (!w) return chopin_pg__object_fail(&h->object, CHOPIN_PG_MEMORY, "out of memory for waiting");
        int rc = chopin_pg__batch_run(h, w);
        chopin_pg__waiter_free(c, w);
        if (rc < 0) break;
        if (chopin_pg__batch_went_well(h)) return 0;
        bool again = h->last_row->redo || (chopin_pg__batch_stale(h) && !chopin_pg__conn_handle(h));
        if (!again || tries == 2) break;
        for (chopin_pg_rows *r = h->rows; r; r = r->after) {  // nothing of it was done
            chopin_pg__object_clear(&r->object);
            chopin_pg__rows_drop_bytes(c, r);
            r->phase = CHOPIN_PG__NEW;
            r->redo  = r->bound = false;
            r->affected = -1;
            r->arrived  = 0;
        }
    }
    chopin_pg__batch_outcome(h);
    return h->object.status;
}
/* ==========================================================================================================
   >>copy   COPY both ways, always ending in a clean state
   COPY starts by a simple query: in the extended protocol it would swallow the Sync behind it. While rows go out, what the server says is read: after its error
   nothing more is sent. Rows travel in binary if all their types are ours, else as escaped text. An abandoned COPY is failed, so that no row stays.
   ========================================================================================================== */

#define CHOPIN_PG__COPY_PIECE ((size_t)60 * 1024)     // below KEEP_OUT: the buffer stays from piece to piece

struct chopin_pg_copy {
    chopin_pg__object object;
    chopin_pg        *handle;             // the pin or transaction it runs on; a pin of its own if there was none
    bool              own_pin;
    chopin_pg_copy   *next;
    chopin_pg_rows   *r;                  // the operation
    chopin_pg__shape *shape;              // of the rows; NULL: raw
    bool              binary, piece_open; // piece_open: a CopyData at `piece` is being filled
    size_t            piece;
    int64_t           rows, bytes;
    chopin_pg__out    scratch;            // one value as text, before it is escaped
    chopin_pg_error   problem;            // of one value; made ready once, not for each
    int64_t           began_ns;
};

static const chopin_pg_copy chopin_pg__copy_none = { .object = { .kind = CHOPIN_PG__COPYING, .status = CHOPIN_PG_MEMORY } };

static chopin_pg__conn *chopin_pg__copy_conn(chopin_pg_copy *c) {
    chopin_pg__conn *k = c->r ? c->r->conn : NULL;
    return k && chopin_pg__usable(k) && c->r->phase == CHOPIN_PG__FLYING ? k : NULL;
}

/* Out of the list; its memory goes back. The operation is closed before. */
static void chopin_pg__copy_free(chopin_pg_copy *c) {
    chopin_pg_copy **at = &c->handle->copies;
    while (*at != c) at = &(*at)->next;
    *at = c->next;
    chopin_pg__heap *heap = c->object.heap;
    chopin_pg__out_done(&c->scratch);
    chopin_pg__shape_drop(heap, c->shape);
    chopin_pg__object_done(&c->object);
    chopin_pg__release(heap, c, sizeof *c);
}

static void chopin_pg__copy_drop_piece(chopin_pg_copy *c, chopin_pg__conn *k) {
    if (!c->piece_open) return;
    k->out.len = c->piece - 1;
    k->out.status = 0;
    c->piece_open = false;
}

/* Abandons without waiting. */
static void chopin_pg__copy_close(chopin_pg_copy *c) {
    chopin_pg__conn *k = chopin_pg__copy_conn(c);
    if (k) {
        chopin_pg__copy_drop_piece(c, k);
        k->copying = NULL;
        if (!c->r->object.status) chopin_pg__put_text(&k->out, 'f', CHOPIN_STR("abandoned"));
        c->r->ending = true;
        if (k->out.status) chopin_pg__conn_break(k, CHOPIN_PG_MEMORY, "out of memory while abandoning a COPY");
        else chopin_pg__flush(k);
    }
    if (c->r) chopin_pg__rows_close(c->handle, c->r);
    chopin_pg__copy_free(c);
}

static chopin_pg_copy *chopin_pg__copy_new(chopin_pg *h) {
    if (chopin_pg__is_none(h)) return NULL;
    chopin_pg__heap *heap = &h->pool->core.heap;
    chopin_pg_copy *c = (chopin_pg_copy *)chopin_pg__alloc_zero(heap, sizeof *c);
    if (c) chopin_pg__error_init(&c->problem, heap);
    chopin_pg *own = chopin_pg__conn_handle(h), *at = h;
    if (c && !own) at = chopin_pg__handle_new(h, CHOPIN_PG__PIN);
    if (!c || !at) {
        chopin_pg__release(heap, c, sizeof *c);
        return NULL;
    }
    c->object       = (chopin_pg__object){ .kind = CHOPIN_PG__COPYING, .heap = heap };
    c->scratch.heap = heap;
    c->handle       = at;
    c->own_pin      = at != h;
    c->next         = at->copies;
    c->began_ns     = chopin_pg__clock_ns();
    at->copies      = c;
    at->close_copy  = chopin_pg__copy_close;
    return c;
}

/* What rows of `columns` of `table` look like: described without running, and not from a cache, for the table may have changed. */
static int chopin_pg__describe(chopin_pg *h, chopin_str sql, chopin_pg__object *o, chopin_pg__shape **shape) {
    chopin_pg_rows *r = chopin_pg__rows_make(h, sql, NULL, 0);
    if (!r->handle) return chopin_pg__object_fail(o, CHOPIN_PG_MEMORY, "out of memory for COPY");
    r->prepare_only = r->unnamed = true;
    chopin_pg__rows_wait(h, r, true);
    chopin_pg__object_copy(o, &r->object);
    if (!o->status) *shape = chopin_pg__shape_share(r->shape);
    chopin_pg__rows_close(h, r);
    return o->status;
}

/* Sends the COPY itself and waits until the server is ready for rows. */
static int chopin_pg__copy_start(chopin_pg_copy *c, chopin_str sql) {
    chopin_pg *h = c->handle;
    chopin_pg_rows *r = chopin_pg__rows_make(h, CHOPIN_STR("select"), NULL, 0);
    if (!r->handle) return chopin_pg__object_fail(&c->object, CHOPIN_PG_MEMORY, "out of memory for COPY");
    c->r = r;
    r->sql    = sql;
    r->simple = true;
    r->drop   = true;
    r->copy   = 'G';
    if (!r->object.status && chopin_pg__text_check(&r->object, sql) == 0 && chopin_pg__rows_keep_args(r) == 0) chopin_pg__rows_wait(h, r, false);
    r->copy_seen = true;
    if (!r->object.status && !r->copy_open) chopin_pg__object_fail(&r->object, CHOPIN_PG_ARG, "this SQL is no COPY ... FROM STDIN");
    chopin_pg__object_copy(&c->object, &r->object);
    if (!c->object.status) r->conn->copying = r;
    return c->object.status;
}

/* ---- rows on their way ---- */

/* Has the server refused? Then nothing more is sent. */
static int chopin_pg__copy_state(chopin_pg_copy *c) {
    if (c->object.status) return c->object.status;
    if (!c->r) return chopin_pg__object_fail(&c->object, CHOPIN_PG_ARG, "this COPY is over");
    if (c->r->object.status) {
        chopin_pg__object_copy(&c->object, &c->r->object);
        chopin_pg__tell(c->handle, &c->object);
    }
    return c->object.status;
}

static void chopin_pg__copy_seal(chopin_pg_copy *c, chopin_pg__conn *k) {
    if (c->piece_open) chopin_pg__end_message(&k->out, c->piece);
    c->piece_open = false;
}

/* Sends what has gathered, and looks whether the server has complained. */
static int chopin_pg__copy_push(chopin_pg_copy *c, size_t limit) {
    chopin_pg__conn *k = chopin_pg__copy_conn(c);
    if (!k || chopin_pg__out_waiting(k) <= limit) return chopin_pg__copy_state(c);
    chopin_pg__copy_seal(c, k);
    chopin_pg__waiter *w = chopin_pg__waiter_new(c->handle);
    if (!w) return chopin_pg__object_fail(&c->object, CHOPIN_PG_MEMORY, "out of memory for waiting");
    w->op = c->r;
    int rc = 1;
    while (rc > 0 && (k = chopin_pg__copy_conn(c)) != NULL && !c->r->object.status && chopin_pg__out_waiting(k) > 0) rc = chopin_pg__drive(k, w, c->r->deadline);
    if (k && rc > 0 && !c->r->object.status && !k->reader) chopin_pg__receive(k, false);
    chopin_pg__waiter_free(chopin_pg__core_of(c->handle), w);
    if (rc <= 0 && k) {                                       // half a message may have left: nothing but closing helps
        chopin_pg__object_fail(&c->object, rc < 0 ? CHOPIN_PG_CANCELED : CHOPIN_PG_TIMEOUT, rc < 0 ? "COPY was given up" : "the deadline of a COPY passed");
        chopin_pg__conn_break(k, c->object.status, "a COPY was given up in the middle");
    }
    return chopin_pg__copy_state(c);
}

/* A CopyData that rows are put into. NULL: the COPY has failed. */
static chopin_pg__out *chopin_pg__copy_piece(chopin_pg_copy *c) {
    chopin_pg__conn *k = chopin_pg__copy_state(c) ? NULL : chopin_pg__copy_conn(c);
    if (!k) return NULL;
    if (!c->piece_open) {
        c->piece = chopin_pg__begin_message(&k->out, 'd');
        c->piece_open = k->out.status == 0;
    }
    return &k->out;
}

/* After each row: an error takes the row back, much gathered leaves. */
static int chopin_pg__copy_row_done(chopin_pg_copy *c, chopin_pg__out *o, size_t len) {
    if (o->status) {
        int status = o->status;
        o->status = 0;
        o->len    = len;
        chopin_pg__object_fail(&c->object, status, status == CHOPIN_PG_MEMORY ? "out of memory for a row" : "a row must stay below 1 GiB");
    }
    if (c->object.status) return c->object.status;
    c->rows++;
    c->bytes += (int64_t)(o->len - len);
    return chopin_pg__copy_push(c, CHOPIN_PG__COPY_PIECE);
}

static void chopin_pg__put_escaped(chopin_pg__out *o, chopin_str s) {
    size_t from = 0;
    for (size_t i = 0; i < s.len; i++) {
        char ch = s.ptr[i], as = ch == '\t' ? 't' : ch == '\n' ? 'n' : ch == '\r' ? 'r' : ch == '\\' ? '\\' : 0;
        if (!as) continue;
        chopin_pg__put_bytes(o, s.ptr + from, i - from);
        chopin_pg__put_u8(o, '\\');
        chopin_pg__put_u8(o, (unsigned char)as);
        from = i + 1;
    }
    chopin_pg__put_bytes(o, s.ptr + from, s.len - from);
}

/* One value of a text row: through the encoder for parameters, then escaped. */
static int chopin_pg__copy_text_value(chopin_pg_copy *c, chopin_pg__out *o, const chopin_pg_param *p, chopin_pg_error *e) {
    c->scratch.len = 0;
    int format = chopin_pg__param_encode(p, 0, &c->scratch, e);
    if (format < 0 || c->scratch.status) return format < 0 ? format : chopin_pg__fail(e, c->scratch.status, "too long, or out of memory");
    uint32_t n = chopin_pg__load32(c->scratch.ptr);
    if (n == CHOPIN_PG__NULL) return chopin_pg__put_bytes(o, "\\N", 2), 0;
    if (format == 0) return chopin_pg__put_escaped(o, chopin_pg__str(c->scratch.ptr + 4, n)), 0;
    chopin_pg__put_bytes(o, "\\\\x", 3);
    for (uint32_t i = 0; i < n; i++) {
        chopin_pg__put_u8(o, (unsigned char)chopin_pg__hex_digit(c->scratch.ptr[4 + i] >> 4));
        chopin_pg__put_u8(o, (unsigned char)chopin_pg__hex_digit(c->scratch.ptr[4 + i]));
    }
    return 0;
}

static const char chopin_pg__copy_signature[] = "PGCOPY\n\377\r\n";      // and its NUL: eleven bytes

static int chopin_pg__copy_value(chopin_pg_copy *c, chopin_pg__out *o, const chopin_pg_param *p, int i, chopin_pg_error *e) {
    if (c->binary && chopin_pg__param_quick(p, c->shape->column[i].oid, o)) return 0;
    int rc = chopin_pg__param_check(p, e);
    if (rc == 0 && !c->binary && i > 0) chopin_pg__put_u8(o, '\t');
    if (rc == 0) rc = c->binary ? chopin_pg__param_copy(p, c->shape->column[i].oid, o, e) : chopin_pg__copy_text_value(c, o, p, e);
    if (rc < 0) {
        chopin_pg__object_fail(&c->object, rc, "row %lld, column \"%.*s\": %s", (long long)c->rows + 1, CHOPIN_FMT(c->shape->column[i].name), e->why ? e->why : "");
        if (c->object.error) memcpy(c->object.error->sqlstate, e->sqlstate, sizeof e->sqlstate);
        chopin_pg__error_clear(e);
    }
    return rc < 0 ? rc : 0;
}

/* The usual row: into a piece that is open and has room, of integers for binary columns that take them. False: take the whole way, nothing has happened. */
static inline bool chopin_pg__copy_quick(chopin_pg_copy *c, const chopin_pg_param *values, int count) {
    if (!c->piece_open || !c->binary || !c->shape || c->object.status || c->r->object.status || count != (int)c->shape->columns || c->r->phase != CHOPIN_PG__FLYING) return false;
    chopin_pg__out *o = &c->r->conn->out;
    size_t len = o->len;
    if (len > CHOPIN_PG__COPY_PIECE || o->status || o->cap - len < 2 + 12 * (size_t)count) return false;
    chopin_pg__store16(o->ptr + len, (uint16_t)count);
    o->len = len + 2;
    for (int i = 0; i < count; i++) {
        if (!chopin_pg__param_quick(&values[i], c->shape->column[i].oid, o)) return o->len = len, false;
    }
    c->rows++;
    c->bytes += (int64_t)(o->len - len);
    return true;
}

CHOPIN_PG_API int chopin_pg_copy_row_(chopin_pg_copy *c, const chopin_pg_param *values, int count) {
    if (!c || !c->handle) return CHOPIN_PG_MEMORY;
    if (chopin_pg__copy_quick(c, values, count)) return 0;
    chopin_pg__out *o = chopin_pg__copy_piece(c);
    if (!o) return chopin_pg__copy_state(c);
    if (!c->shape) return chopin_pg__object_fail(&c->object, CHOPIN_PG_ARG, "chopin_pg_copy_raw() takes bytes and lines, not typed rows");
    if (count != (int)c->shape->columns) return chopin_pg__object_fail(&c->object, CHOPIN_PG_ARG, "row %lld has %d values for %u columns", (long long)c->rows + 1, count, (unsigned)c->shape->columns);
    size_t len = o->len;
    if (c->binary && c->rows == 0) {
        chopin_pg__put_bytes(o, chopin_pg__copy_signature, 11);
        chopin_pg__put_u64(o, 0);                             // no flags, no extension
    }
    if (c->binary) chopin_pg__put_u16(o, (uint32_t)count);
    for (int i = 0; i < count; i++) {
        if (chopin_pg__copy_value(c, o, &values[i], i, &c->problem) == 0) continue;
        o->len = len;
        return c->object.status;
    }
    if (!c->binary) chopin_pg__put_u8(o, '\n');
    return chopin_pg__copy_row_done(c, o, len);
}

CHOPIN_PG_API int chopin_pg_copy_line(chopin_pg_copy *c, const chopin_str *fields, int count) {
    if (!c || !c->handle) return CHOPIN_PG_MEMORY;
    chopin_pg__out *o = chopin_pg__copy_piece(c);
    if (!o) return chopin_pg__copy_state(c);
    size_t len = o->len;
    for (int i = 0; i < count; i++) {
        if (i) chopin_pg__put_u8(o, '\t');
        if (fields[i].ptr) chopin_pg__put_escaped(o, fields[i]);
        else chopin_pg__put_bytes(o, "\\N", 2);
    }
    chopin_pg__put_u8(o, '\n');
    return chopin_pg__copy_row_done(c, o, len);
}

CHOPIN_PG_API int chopin_pg_copy_bytes(chopin_pg_copy *c, const void *bytes, size_t n) {
    if (!c || !c->handle) return CHOPIN_PG_MEMORY;
    const uint8_t *p = (const uint8_t *)bytes;
    do {                                                      // a large piece is cut: the server does not mind where
        chopin_pg__out *o = chopin_pg__copy_piece(c);
        size_t part = chopin_pg__min(n, CHOPIN_PG__COPY_PIECE);
        if (!o) return chopin_pg__copy_state(c);
        size_t len = o->len;
        chopin_pg__put_bytes(o, p, part);
        c->rows--;                                            // bytes are no rows
        if (chopin_pg__copy_row_done(c, o, len) < 0) return c->object.status;
        p += part;
        n -= part;
    } while (n > 0);
    return 0;
}

/* ---- begin and end ---- */
CHOPIN_PG_API chopin_pg_copy *chopin_pg_copy_raw(chopin_pg *h, const char *sql) {
    chopin_pg_copy *c = chopin_pg__copy_new(h);
    if (!c) return (chopin_pg_copy *)(uintptr_t)&chopin_pg__copy_none;
    chopin_pg__copy_start(c, chopin_pg__str_z(sql));
    chopin_pg__tell(h, &c->object);
    return c;
}

/* `text` in the arena of the copy's operation would be too late: it is made before. */
static int chopin_pg__copy_table(chopin_pg_copy *c, const char *table, const char *columns) {
    chopin_pg__arena *a = &c->handle->arena;
    size_t cap = strlen(table) + 2 * (columns ? strlen(columns) : 0) + 128;
    char *sql = (char *)chopin_pg__arena_alloc(a, cap);
    if (!sql) return chopin_pg__object_fail(&c->object, CHOPIN_PG_MEMORY, "out of memory for COPY");
    int n = snprintf(sql, cap, "select %s from %s", columns ? columns : "*", table);
    int rc = chopin_pg__describe(c->handle, chopin_pg__str(sql, (size_t)n), &c->object, &c->shape);
    if (rc < 0) return rc;
    if (!c->shape) return chopin_pg__object_fail(&c->object, CHOPIN_PG_ARG, "\"%s\" has no columns to copy into", table);
    c->binary = true;
    for (uint32_t i = 0; i < c->shape->columns; i++) c->binary &= c->shape->column[i].binary;
    n = snprintf(sql, cap, "copy %s%s%s%s from stdin%s", table, columns ? " (" : "", columns ? columns : "", columns ? ")" : "", c->binary ? " (format binary)" : "");
    return chopin_pg__copy_start(c, chopin_pg__str(sql, (size_t)n));
}

CHOPIN_PG_API chopin_pg_copy *chopin_pg_copy_in(chopin_pg *h, const char *table, const char *columns) {
    chopin_pg_copy *c = chopin_pg__copy_new(h);
    if (!c) return (chopin_pg_copy *)(uintptr_t)&chopin_pg__copy_none;
    chopin_pg__copy_table(c, table, columns);
    chopin_pg__tell(h, &c->object);
    return c;
}

/* Frees it, and the pin that was only its own. */
static void chopin_pg__copy_finish(chopin_pg_copy *c) {
    chopin_pg *pin = c->own_pin ? c->handle : NULL, *h = c->own_pin ? c->handle->parent : c->handle;
    chopin_pg__tell(h, &c->object);
    if (c->r) chopin_pg__rows_close(c->handle, c->r);
    chopin_pg__copy_free(c);
    if (pin) {
        chopin_pg__handle_release(pin);
        chopin_pg__handle_free(pin);
    }
}

static void chopin_pg__copy_last(chopin_pg_copy *c, chopin_pg__conn *k) {
    if (c->binary && c->shape) {
        chopin_pg__out *o = chopin_pg__copy_piece(c);
        if (o && c->rows == 0) {
            chopin_pg__put_bytes(o, chopin_pg__copy_signature, 11);
            chopin_pg__put_u64(o, 0);
        }
        if (o) chopin_pg__put_u16(o, 0xffff);
    }
    chopin_pg__copy_seal(c, k);
    chopin_pg__put_simple(&k->out, 'c');
}

static void chopin_pg__copy_wait(chopin_pg_copy *c, chopin_pg__conn *k) {
    k->copying = NULL;
    if (k->out.status) chopin_pg__conn_break(k, CHOPIN_PG_MEMORY, "out of memory at the end of a COPY");
    chopin_pg__rows_wait(c->handle, c->r, true);
}

CHOPIN_PG_API int chopin_pg_copy_fail(chopin_pg_copy *c, const char *reason) {
    if (!c || !c->handle) return CHOPIN_PG_MEMORY;
    chopin_pg__conn *k = chopin_pg__copy_conn(c);
    int rc = c->object.status;
    chopin_str why = chopin_pg__str_z(reason ? reason : "given up by the client");
    why.len = chopin_pg__min(why.len, 1000);
    if (k) {
        chopin_pg__copy_drop_piece(c, k);
        if (!c->r->object.status) chopin_pg__put_text(&k->out, 'f', chopin_pg__utf8_ok(why) ? why : CHOPIN_STR("given up by the client"));
        chopin_pg__copy_wait(c, k);
        bool ours = c->r->object.error && strcmp(c->r->object.error->sqlstate, "57014") == 0;
        if (!rc && !ours) rc = c->r->object.status;
    }
    chopin_pg__copy_finish(c);
    return rc;
}

CHOPIN_PG_API int64_t chopin_pg_copy_end(chopin_pg_copy *c) {
    if (!c || !c->handle) return CHOPIN_PG_MEMORY;
    chopin_pg__conn *k = chopin_pg__copy_conn(c);
    if (k && c->object.status && !c->r->object.status) {      // a row of ours could not be encoded: nothing of it may stay
        int status = c->object.status;
        chopin_pg_copy_fail(c, NULL);
        return status;
    }
    if (k && !c->r->object.status) chopin_pg__copy_last(c, k);
    if (k) chopin_pg__copy_wait(c, k);
    if (c->r && !c->object.status) chopin_pg__object_copy(&c->object, &c->r->object);
    int64_t rc = c->object.status ? c->object.status : c->r ? c->r->affected : CHOPIN_PG_ARG;
    if (c->r) chopin_pg__event(chopin_pg__core_of(c->handle), CHOPIN_PG_ON_COPY, NULL, c->r, c->began_ns);
    chopin_pg__copy_finish(c);
    return rc;
}

/* ---- COPY OUT: rows ---- */

/* One tuple of the binary format. > 0: the bytes it takes; 0: more are needed; -1: malformed; -2: the end. */
static int64_t chopin_pg__tuple_read(const uint8_t *p, size_t have, uint32_t columns, chopin_pg__cell *cells) {
    size_t at = 2;
    if (have < 2) return 0;
    uint32_t count = chopin_pg__load16(p);
    if (count == 0xffff) return -2;
    if (count != columns) return -1;
    for (uint32_t i = 0; i < columns; i++) {
        if (have - at < 4) return 0;
        uint32_t n = chopin_pg__load32(p + at);
        at += 4;
        cells[i] = (chopin_pg__cell){ p + at, n };
        if (n == CHOPIN_PG__NULL) continue;
        if (n > CHOPIN_PG__MESSAGE_MAX) return -1;
        if (n > have - at) return 0;
        at += n;
    }
    return (int64_t)at;
}

/* Signature, flags, extension. > 0: the bytes they take. */
static int64_t chopin_pg__copy_head(const uint8_t *p, size_t have) {
    if (have < 19) return 0;
    if (memcmp(p, chopin_pg__copy_signature, 11) != 0 || (chopin_pg__load32(p + 11) & 0xffff0000u)) return -1;
    uint32_t more = chopin_pg__load32(p + 15);
    if (more > CHOPIN_PG__MESSAGE_MAX) return -1;
    return have - 19 < more ? 0 : 19 + (int64_t)more;
}

static chopin_pg__shape *chopin_pg__shape_plain(chopin_pg__heap *heap, uint32_t columns, uint32_t oid) {
    size_t size = sizeof(chopin_pg__shape) + columns * sizeof(chopin_pg__shape_column);
    chopin_pg__shape *s = (chopin_pg__shape *)chopin_pg__alloc(heap, size);
    if (!s) return NULL;
    s->refs = 1;
    s->columns = columns;
    s->size = size;
    for (uint32_t i = 0; i < columns; i++) s->column[i] = (chopin_pg__shape_column){ .name = CHOPIN_STR("data"), .oid = oid, .size = -1, .binary = true };
    return s;
}

static int64_t chopin_pg__copy_tuple(chopin_pg__core *c, chopin_pg_rows *r, const uint8_t *p, size_t have) {
    if (!r->copy_begun) {
        int64_t n = chopin_pg__copy_head(p, have);
        r->copy_begun = n > 0;
        return n;
    }
    if (have < 2) return 0;
    if (!r->shape && chopin_pg__load16(p) != 0xffff) r->shape = chopin_pg__shape_plain(&c->heap, chopin_pg__load16(p), 17);
    if (!r->shape && chopin_pg__load16(p) != 0xffff) return chopin_pg__rows_fail(r, CHOPIN_PG_MEMORY, "out of memory for a row"), -1;
    if (r->shape && !chopin_pg__cells_room(c, r, r->shape->columns)) return -1;
    int64_t n = chopin_pg__tuple_read(p, have, r->shape ? r->shape->columns : 0, r->cells);
    if (n > 0) chopin_pg__row_taken(r);
    return n;
}

/* A tuple may lie across CopyData messages: then they are put together. */
static int chopin_pg__copy_step_binary(chopin_pg__core *c, chopin_pg_rows *r) {
    chopin_pg__frame f;
    for (;;) {
        size_t have = r->pieces.len - r->pieces_at;
        int64_t n = have ? chopin_pg__copy_tuple(c, r, r->pieces.ptr + r->pieces_at, have) : 0;
        if (n > 0) r->pieces_at += (size_t)n;
        if (n == -1) return chopin_pg__rows_fail(r, CHOPIN_PG_PROTOCOL, "the server sent malformed binary COPY data"), 0;
        if (n == -2) r->pieces_at = r->pieces.len;
        if (r->on_row) return 1;
        if (n > 0) continue;
        if (!chopin_pg__rows_message(c, r, &f)) return 0;
        if (f.type != 'd') continue;
        if (r->pieces_at == r->pieces.len && r->copy_begun) {
            n = chopin_pg__copy_tuple(c, r, f.body, f.len);
            if (n == (int64_t)f.len && r->on_row) return r->handy = 'd', 1;    // one message, one row, nothing is copied
            r->on_row = false;
            r->quick  = 0;
            if (n == -2) continue;
        }
        r->pieces.heap = &c->heap;
        if (r->pieces_at) {
            memmove(r->pieces.ptr, r->pieces.ptr + r->pieces_at, r->pieces.len - r->pieces_at);
            r->pieces.len -= r->pieces_at;
            r->pieces_at = 0;
        }
        chopin_pg__put_bytes(&r->pieces, f.body, f.len);
        if (r->pieces.status) return chopin_pg__rows_fail(r, CHOPIN_PG_MEMORY, "out of memory for COPY data"), 0;
    }
}

static int chopin_pg__copy_step(chopin_pg__core *c, chopin_pg_rows *r) {
    chopin_pg__frame f;
    chopin_pg__row_gone(r);
    if (r->object.status) return 0;
    if (r->copy_binary) return r->binary = true, chopin_pg__copy_step_binary(c, r);
    while (chopin_pg__rows_message(c, r, &f)) {
        if (f.type != 'd') continue;
        if (!r->shape) r->shape = chopin_pg__shape_plain(&c->heap, 1, 25);
        if (!r->shape || !chopin_pg__cells_room(c, r, 1)) return chopin_pg__rows_fail(r, CHOPIN_PG_MEMORY, "out of memory for COPY data"), 0;
        r->cells[0] = (chopin_pg__cell){ f.body, f.len };
        r->binary = true;
        return chopin_pg__row_taken(r);
    }
    return 0;
}

/* The query whose rows "copy ... to stdout" gives, written to `out`; empty when we cannot tell. */
static chopin_str chopin_pg__copy_source(chopin_str sql, char *out, size_t cap) {
    chopin_str s = chopin_pg__skip(chopin_pg__sql_start(sql), 4);              // behind COPY
    while (s.len && chopin_pg__is_space(s.ptr[0])) s = chopin_pg__skip(s, 1);
    size_t i = 0, open = SIZE_MAX, close = 0;
    int depth = 0;
    for (; i < s.len; i++) {                                                  // up to TO outside of quotes and brackets
        char ch = s.ptr[i];
        if (ch == '\'' || ch == '"') { while (++i < s.len && s.ptr[i] != ch) {} continue; }
        if (ch == '(' && depth++ == 0 && open == SIZE_MAX) open = i;
        if (ch == ')' && --depth == 0) close = i;
        bool word = depth == 0 && i > 0 && (chopin_pg__is_space(s.ptr[i - 1]) || s.ptr[i - 1] == ')') && s.len - i > 2 && chopin_pg__is_space(s.ptr[i + 2]);
        if (word && chopin_pg__equal_nocase(chopin_pg__str(s.ptr + i, 2), CHOPIN_STR("TO"))) break;
    }
    int n;
    if (open == 0)              n = snprintf(out, cap, "%.*s", (int)(close - 1), s.ptr + 1);
    else if (open == SIZE_MAX)  n = snprintf(out, cap, "select * from %.*s", (int)i, s.ptr);
    else                        n = snprintf(out, cap, "select %.*s from %.*s", (int)(close - open - 1), s.ptr + open + 1, (int)open, s.ptr);
    return n > 0 && (size_t)n < cap && i < s.len ? chopin_pg__str(out, (size_t)n) : chopin_pg__absent();
}

static bool chopin_pg__says_binary(chopin_str sql) {
    for (size_t i = 0; i + 6 <= sql.len; i++) if (chopin_pg__equal_nocase(chopin_pg__str(sql.ptr + i, 6), CHOPIN_STR("binary"))) return true;
    return false;
}

CHOPIN_PG_API chopin_pg_rows *chopin_pg_copy_out(chopin_pg *h, const char *sql) {
    if (chopin_pg__is_none(h)) return chopin_pg__no_rows(h);
    chopin_pg *at = chopin_pg__conn_handle(h) ? h : chopin_pg__handle_new(h, CHOPIN_PG__PIN);
    if (!at) return chopin_pg__no_rows(h);
    chopin_str text = chopin_pg__str_z(sql);
    chopin_pg__shape *shape = NULL;
    chopin_pg__object ignored = { .kind = CHOPIN_PG__COPYING, .heap = h->object.heap };
    if (chopin_pg__says_binary(text) && text.len < 16384) {
        char *query = (char *)chopin_pg__arena_alloc(&at->arena, text.len + 64);
        chopin_str source = query ? chopin_pg__copy_source(text, query, text.len + 64) : chopin_pg__absent();
        if (source.len) chopin_pg__describe(at, source, &ignored, &shape);
        chopin_pg__object_done(&ignored);
    }
    chopin_pg_rows *r = chopin_pg__rows_make(at, CHOPIN_STR("select"), NULL, 0);
    if (!r->handle) return r;
    r->sql    = text;
    r->simple = true;
    r->copy   = 'H';
    r->shape  = shape;
    r->step_copy = chopin_pg__copy_step;
    r->own_tx = at != h;
    if (!r->object.status && chopin_pg__text_check(&r->object, text) == 0 && chopin_pg__rows_keep_args(r) == 0) chopin_pg__rows_wait(at, r, false);
    r->copy_reading = true;
    r->copy_seen = true;
    if (!r->object.status && !r->copy_open) chopin_pg__object_fail(&r->object, CHOPIN_PG_ARG, "this SQL is no COPY ... TO STDOUT");
    if (r->object.status && r->phase == CHOPIN_PG__NEW) r->phase = CHOPIN_PG__OVER;
    chopin_pg__tell(h, &r->object);
    return r;
}
/* ==========================================================================================================
   >>listen   LISTEN and NOTIFY: a connection of its own that is made again when it breaks
   Notes that came while the connection was gone are lost, and nobody can say whether there were any: that is what a gap tells. Silence is checked: after half a
   minute the server has to answer an empty round trip.
   ========================================================================================================== */

#define CHOPIN_PG__NOTES_MAX 4096          // notes that wait to be fetched; beyond it they are dropped, and that is a gap too
#define CHOPIN_PG__PING_MS   30000

typedef struct chopin_pg__channel {
    struct chopin_pg__channel *next;
    char name[64];
} chopin_pg__channel;

typedef struct chopin_pg__queued_note {
    struct chopin_pg__queued_note *next;
    size_t   size;
    uint32_t pid;
    chopin_str channel, payload;
} chopin_pg__queued_note;

struct chopin_pg_listener {
    chopin_pg__object object;
    chopin_pg        *handle;              // a child of the handle it was made from
    chopin_pg__conn  *conn;
    chopin_pg__channel *channels;
    chopin_pg__queued_note *first, *last, *given;
    int               count;
    bool              gap, listened, checked;   // listened: it has worked before; checked: looked for a pooler
    bool              bad;                      // no usable channel: every call says so
    int64_t           retry_ms;
    int               backoff_ms;
};

static const chopin_pg_listener chopin_pg__listener_none = { .object = { .kind = CHOPIN_PG__LISTENING, .status = CHOPIN_PG_MEMORY } };

static void chopin_pg__note_free(chopin_pg_listener *l, chopin_pg__queued_note *n) {
    if (n) chopin_pg__release(l->object.heap, n, n->size);
}

/* ---- names ---- */
CHOPIN_PG_API int chopin_pg_ident(chopin_str name, char *out, size_t cap) {
    size_t n = 2;
    if (!name.ptr || chopin_pg__has_nul(name) || !chopin_pg__utf8_ok(name)) return CHOPIN_PG_ARG;
    for (size_t i = 0; i < name.len; i++) n += name.ptr[i] == '"' ? 2 : 1;
    if (n + 1 > cap || n > INT_MAX) return CHOPIN_PG_RANGE;
    *out++ = '"';
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '"') *out++ = '"';
        *out++ = name.ptr[i];
    }
    *out++ = '"';
    *out = 0;
    return (int)n;
}

/* A note has come. */
static void chopin_pg__note_put(void *ctx, uint32_t pid, chopin_str channel, chopin_str payload) {
    chopin_pg_listener *l = (chopin_pg_listener *)ctx;
    size_t size = sizeof(chopin_pg__queued_note) + channel.len + payload.len;
    chopin_pg__queued_note *n = l->count < CHOPIN_PG__NOTES_MAX ? (chopin_pg__queued_note *)chopin_pg__alloc(l->object.heap, size) : NULL;
    if (!n) {
        l->gap = true;
        l->handle->pool->core.counters.notes_dropped++;
        return;
    }
    char *text = (char *)(n + 1);
    memcpy(text, channel.ptr, channel.len);
    memcpy(text + channel.len, payload.ptr, payload.len);
    *n = (chopin_pg__queued_note){ NULL, size, pid, { text, channel.len }, { text + channel.len, payload.len } };
    *(l->last ? &l->last->next : &l->first) = n;
    l->last = n;
    l->count++;
}

static bool chopin_pg__note_take(chopin_pg_listener *l, chopin_pg_note *note) {
    chopin_pg__queued_note *n = l->first;
    chopin_pg__note_free(l, l->given);
    l->given = NULL;
    *note = (chopin_pg_note){ .gap = l->gap };
    if (l->gap) return l->gap = false, true;
    if (!n) return false;
    l->first = n->next;
    if (!l->first) l->last = NULL;
    l->count--;
    l->given = n;
    *note = (chopin_pg_note){ false, n->pid, n->channel, n->payload };
    return true;
}

/* ---- its connection ---- */
static void chopin_pg__listener_drop(chopin_pg_listener *l) {
    chopin_pg__conn *k = l->conn;
    l->conn = NULL;
    if (!k) return;
    k->reader = k->writer = NULL;
    k->attempt_failed = NULL;
    if (chopin_pg__conn_free_to_use(k)) chopin_pg__conn_goodbye(k);
    chopin_pg__conn_break(k, CHOPIN_PG_CONNECT, "the listener was closed");
    chopin_pg__dial_free(k);
    chopin_pg__cache_free(k);
    chopin_pg__conn_free(k);
}

static void chopin_pg__listener_heard(chopin_pg__conn *k, chopin_pg_rows *r) {
    chopin_pg_listener *l = (chopin_pg_listener *)k->note_ctx;
    chopin_pg__object_copy(&l->object, &r->object);
    if (!l->checked && !r->object.status && chopin_pg__rows_step(k->core, r) && r->shape && r->shape->columns == 1) {
        uint64_t pid;
        l->checked = true;
        if (r->cells[0].len != CHOPIN_PG__NULL && chopin_pg__parse_u64(chopin_pg__str(r->cells[0].ptr, r->cells[0].len), &pid) && pid != k->pid && k->pid) {
            k->core->swapped = l->bad = true;
            chopin_pg__object_fail(&l->object, CHOPIN_PG_UNSAFE, "LISTEN does not work behind a pooler: connect to the server itself");
        }
    }
}

/* Runs one of our own texts there. 0; or the listener's error is set. */
static int chopin_pg__listener_run(chopin_pg_listener *l, chopin_pg__waiter *w, const char *sql, int64_t deadline_ms) {
    chopin_pg__conn *k = l->conn;
    if (!chopin_pg__usable(k) || !chopin_pg__pool_rider(k, sql)) return chopin_pg__object_fail(&l->object, CHOPIN_PG_CONNECT, "the listening connection broke");
    k->tail->finish = chopin_pg__listener_heard;
    k->tail->drop   = false;
    int rc = chopin_pg__drive_until(k, w, deadline_ms, chopin_pg__conn_drained, k);
    if (rc < 0) return chopin_pg__object_fail(&l->object, CHOPIN_PG_CANCELED, "given up while listening");
    if (rc == 0) chopin_pg__conn_break(k, CHOPIN_PG_TIMEOUT, "the listening connection does not answer");
    if (!chopin_pg__usable(k)) chopin_pg__object_copy(&l->object, &k->fault);
    return l->object.status;
}

static int chopin_pg__listener_listen(chopin_pg_listener *l, chopin_pg__waiter *w, const char *channel) {
    char quoted[140], sql[160];
    if (chopin_pg_ident(chopin_pg__str_z(channel), quoted, sizeof quoted) < 0) return chopin_pg__object_fail(&l->object, CHOPIN_PG_ARG, "the name of the channel is not UTF-8");
    snprintf(sql, sizeof sql, "listen %s", quoted);
    return chopin_pg__listener_run(l, w, sql, chopin_pg__deadline(l->handle->pool->core.options.connect_ms));
}

/* A connection that listens to all channels. 0; or the error is set, and the next try may come after a pause. */
static int chopin_pg__listener_connect(chopin_pg_listener *l, chopin_pg__waiter *w, int64_t deadline_ms) {
    chopin_pg__core *c = &l->handle->pool->core;
    chopin_pg__object_clear(&l->object);
    if (l->conn && !chopin_pg__usable(l->conn)) chopin_pg__listener_drop(l);
    if (!l->conn) {
        l->conn = chopin_pg__conn_new(c);
        if (!l->conn) return chopin_pg__object_fail(&l->object, CHOPIN_PG_MEMORY, "out of memory for a connection");
        l->conn->over     = chopin_pg__over;
        l->conn->on_note  = chopin_pg__note_put;
        l->conn->note_ctx = l;
        chopin_pg__dial_start(l->conn);
    }
    int rc = chopin_pg__conn_await(l->conn, w, &l->object, deadline_ms);
    if (rc == 0 && !l->checked) rc = chopin_pg__listener_run(l, w, "select pg_catalog.pg_backend_pid()", chopin_pg__deadline(c->options.connect_ms));
    for (chopin_pg__channel *n = l->channels; n && rc == 0; n = n->next) rc = chopin_pg__listener_listen(l, w, n->name);
    if (rc == 0) {
        if (l->listened) {
            l->gap = true;
            c->counters.reconnects++;
            chopin_pg__event(c, CHOPIN_PG_ON_RECONNECT, l->conn, NULL, 0);
        }
        l->listened   = true;
        l->backoff_ms = 0;
        return 0;
    }
    if (rc == CHOPIN_PG_TIMEOUT || rc == CHOPIN_PG_CANCELED) return rc;       // still connecting: the next call goes on
    if (rc == CHOPIN_PG_SERVER) chopin_pg__listener_drop(l);
    l->backoff_ms = l->backoff_ms ? (l->backoff_ms < 5000 ? l->backoff_ms * 2 : 10000) : 50;
    l->retry_ms   = chopin_pg__clock_ms() + l->backoff_ms / 2 + (int64_t)(chopin_pg__random_next(&c->random) % (uint64_t)l->backoff_ms);
    return rc;
}

static bool chopin_pg__listener_ready(const void *p) {
    const chopin_pg_listener *l = (const chopin_pg_listener *)p;
    return l->first || l->gap;
}

/* One stretch of waiting on a connection that works: a note, the deadline, or half a minute of silence and a ping. 1: look again; 0: the deadline; < 0: give up. */
static int chopin_pg__listener_wait(chopin_pg_listener *l, chopin_pg__waiter *w, int64_t deadline_ms) {
    int64_t ping = chopin_pg__clock_ms() + CHOPIN_PG__PING_MS;
    int rc = chopin_pg__drive_until(l->conn, w, chopin_pg__sooner(deadline_ms, ping), chopin_pg__listener_ready, l);
    if (rc < 0) return chopin_pg__object_fail(&l->object, CHOPIN_PG_CANCELED, "given up while listening");
    if (rc > 0 || chopin_pg__late(deadline_ms)) return rc;
    chopin_pg__listener_run(l, w, NULL, chopin_pg__deadline(l->handle->pool->core.options.grace_ms));
    if (l->object.status == CHOPIN_PG_CANCELED) return l->object.status;
    chopin_pg__object_clear(&l->object);
    return 1;
}

/* Reconnects as long as there is time. */
static int chopin_pg__listener_back(chopin_pg_listener *l, chopin_pg__waiter *w, int64_t deadline_ms) {
    chopin_pg__core *c = &l->handle->pool->core;
    if (l->retry_ms > chopin_pg__clock_ms()) {
        int rc = chopin_pg__sleep(c, w, chopin_pg__sooner(deadline_ms, l->retry_ms));
        if (rc < 0) return chopin_pg__object_fail(&l->object, CHOPIN_PG_CANCELED, "given up while listening");
        if (chopin_pg__late(deadline_ms)) return 0;
    }
    int rc = chopin_pg__listener_connect(l, w, deadline_ms);
    if (rc == CHOPIN_PG_CANCELED || rc == CHOPIN_PG_AUTH || rc == CHOPIN_PG_TLS || rc == CHOPIN_PG_ARG) return rc;
    return rc < 0 && chopin_pg__late(deadline_ms) ? 0 : 1;
}

CHOPIN_PG_API int chopin_pg_wait_note(chopin_pg_listener *l, chopin_pg_note *note, int64_t ms) {
    *note = (chopin_pg_note){ .gap = false };
    if (!l || !l->handle) return CHOPIN_PG_MEMORY;
    if (l->handle->broken || l->bad) return l->object.status;
    chopin_pg__core *c = &l->handle->pool->core;
    int64_t deadline = chopin_pg__sooner(chopin_pg__handle_deadline(l->handle), ms < 0 ? -1 : chopin_pg__clock_ms() + ms);
    chopin_pg__waiter *w = chopin_pg__waiter_new(l->handle);
    if (!w) return CHOPIN_PG_MEMORY;
    int rc = 1;
    chopin_pg__object_clear(&l->object);
    while (rc > 0 && !chopin_pg__note_take(l, note)) {
        bool works = l->conn && l->conn->stage == CHOPIN_PG__READY && l->listened;
        rc = works ? chopin_pg__listener_wait(l, w, deadline) : chopin_pg__listener_back(l, w, deadline);
    }
    chopin_pg__waiter_free(c, w);
    if (rc == 0) chopin_pg__object_clear(&l->object);
    return rc;
}

/* ---- begin and end ---- */
static int chopin_pg__channel_add(chopin_pg_listener *l, const char *name) {
    chopin_str s = chopin_pg__str_z(name);
    if (!s.len || s.len > 63 || !chopin_pg__utf8_ok(s)) return chopin_pg__object_fail(&l->object, CHOPIN_PG_ARG, "the name of a channel is UTF-8 of 1 to 63 bytes");
    chopin_pg__channel *n = (chopin_pg__channel *)chopin_pg__alloc_zero(l->object.heap, sizeof *n);
    if (!n) return chopin_pg__object_fail(&l->object, CHOPIN_PG_MEMORY, "out of memory for a channel");
    memcpy(n->name, s.ptr, s.len);
    n->next = l->channels;
    l->channels = n;
    return 0;
}

static void chopin_pg__listener_free(chopin_pg *h) {
    chopin_pg_listener *l = (chopin_pg_listener *)h->owner;
    chopin_pg__listener_drop(l);
    while (l->first) {
        chopin_pg__queued_note *n = l->first;
        l->first = n->next;
        chopin_pg__note_free(l, n);
    }
    chopin_pg__note_free(l, l->given);
    while (l->channels) {
        chopin_pg__channel *n = l->channels;
        l->channels = n->next;
        chopin_pg__release(l->object.heap, n, sizeof *n);
    }
    chopin_pg__object_done(&l->object);
    chopin_pg__release(l->object.heap, l, sizeof *l);
    h->on_close = NULL;
}

CHOPIN_PG_API chopin_pg_listener *chopin_pg_listen(chopin_pg *h, const char *channel) {
    chopin_pg *child = chopin_pg__is_none(h) ? NULL : chopin_pg__handle_new(h, CHOPIN_PG__SCOPE);
    chopin_pg_listener *l = child ? (chopin_pg_listener *)chopin_pg__alloc_zero(&h->pool->core.heap, sizeof *l) : NULL;
    if (!l) {
        if (child) chopin_pg__handle_free(child);
        return (chopin_pg_listener *)(uintptr_t)&chopin_pg__listener_none;
    }
    l->object = (chopin_pg__object){ .kind = CHOPIN_PG__LISTENING, .heap = &h->pool->core.heap };
    l->handle = child;
    child->owner    = l;
    child->on_close = chopin_pg__listener_free;
    if (child->broken) {
        chopin_pg__object_copy(&l->object, &child->object);
        return l;
    }
    l->bad = chopin_pg__channel_add(l, channel) < 0;
    chopin_pg__waiter *w = l->bad ? NULL : chopin_pg__waiter_new(child);
    if (w) {
        chopin_pg__listener_connect(l, w, chopin_pg__sooner(chopin_pg__handle_deadline(child), chopin_pg__deadline(h->pool->core.options.connect_ms)));
        chopin_pg__waiter_free(&h->pool->core, w);
    }
    chopin_pg__tell(h, &l->object);
    return l;
}

CHOPIN_PG_API int chopin_pg_listen_also(chopin_pg_listener *l, const char *channel) {
    if (!l || !l->handle) return CHOPIN_PG_MEMORY;
    chopin_pg__object_clear(&l->object);
    int rc = chopin_pg__channel_add(l, channel);
    if (rc < 0 || !l->conn || l->conn->stage != CHOPIN_PG__READY) return rc;
    chopin_pg__waiter *w = chopin_pg__waiter_new(l->handle);
    if (!w) return chopin_pg__object_fail(&l->object, CHOPIN_PG_MEMORY, "out of memory for waiting");
    rc = chopin_pg__listener_listen(l, w, channel);
    chopin_pg__waiter_free(chopin_pg__core_of(l->handle), w);
    return rc;
}

CHOPIN_PG_API void chopin_pg_unlisten(chopin_pg_listener *l) {
    if (!l || !l->handle) return;
    chopin_pg *h = l->handle;
    chopin_pg__listener_free(h);
    chopin_pg__handle_free(h);
}
/* ==========================================================================================================
   >>public   the API: check arguments, call one room
   ========================================================================================================== */

/* ---- errors ---- */
static const chopin_pg__object *chopin_pg__object_of(const void *x) {
    static const chopin_pg__object nothing = { .status = CHOPIN_PG_MEMORY };
    return x ? (const chopin_pg__object *)x : &nothing;
}
CHOPIN_PG_API int                    chopin_pg_code_(const void *x)  { return chopin_pg__object_of(x)->status; }
CHOPIN_PG_API const chopin_pg_error *chopin_pg_error_(const void *x) { return chopin_pg__object_shown(chopin_pg__object_of(x)); }
CHOPIN_PG_API const char            *chopin_pg_why_(const void *x) {
    const chopin_pg_error *e = chopin_pg_error_(x);
    if (!e->status && chopin_pg__object_of(x)->kind == CHOPIN_PG__ROWS) return "no row";
    return e->why ? e->why : chopin_pg_status_text(e->status);
}

/* ---- open and close ---- */
static int chopin_pg__default_int(int value, int otherwise) { return value == 0 ? otherwise : value; }

static const char *chopin_pg__copy_z(chopin_pg__core *c, const char *z) {
    return z ? chopin_pg__arena_copy(&c->texts, chopin_pg__str_z(z)).ptr : NULL;
}

/* The one place where zero becomes a value. */
static void chopin_pg__resolve_options(chopin_pg__core *c, const chopin_pg_options *given) {
    chopin_pg_options *o = &c->options;
    if (given) *o = *given;
    if (!o->wait) {
        o->wait = chopin_pg__poll;
        c->blocking = true;
    }
    o->shared       = chopin_pg__default_int(o->shared, 2);
    o->exclusive    = chopin_pg__default_int(o->exclusive, 8);
    o->max_waiting  = chopin_pg__default_int(o->max_waiting, 1024);
    o->acquire_ms   = chopin_pg__default_int(o->acquire_ms, 5000);
    o->connect_ms   = chopin_pg__default_int(o->connect_ms, 10000);
    o->grace_ms     = chopin_pg__default_int(o->grace_ms, 2000);
    o->stall_ms     = chopin_pg__default_int(o->stall_ms, 1000);
    o->statement_cache = chopin_pg__default_int(o->statement_cache, 256);
    o->max_iterations  = chopin_pg__default_int(o->max_iterations, 100000);
    if (o->lifetime_ms == 0) o->lifetime_ms = 3600000;
    if (o->idle_ms == 0)     o->idle_ms = 600000;
    if (o->max_message == 0 || o->max_message > CHOPIN_PG__MESSAGE_MAX) o->max_message = o->max_message ? CHOPIN_PG__MESSAGE_MAX : (size_t)256 << 20;
    if (o->max_result == 0)  o->max_result = (size_t)1 << 30;
    if (!o->tls) o->tls = chopin_pg__tls_default();
    o->url   = chopin_pg__copy_z(c, o->url);
    o->setup = chopin_pg__copy_z(c, o->setup);
    o->application_name = chopin_pg__copy_z(c, o->application_name);
}

static void chopin_pg__open_check(chopin_pg__pool *p) {
    chopin_pg__core *c = &p->core;
    chopin_pg_error *e = chopin_pg__object_error(&p->handle.object), local;
    if (!e) chopin_pg__error_init(e = &local, &c->heap);
    int rc = chopin_pg__dsn_open(&c->dsn, &c->heap, &c->options, &c->log, e);
    if (rc == 0) rc = chopin_pg__dsn_tls_allowed(&c->dsn, c->options.tls != NULL, e);
    if (rc == 0 && (c->options.shared < 1 || c->options.exclusive < 1)) rc = chopin_pg__fail(e, CHOPIN_PG_ARG, "shared and exclusive must be at least 1");
    if (rc == 0 && c->texts.full) rc = chopin_pg__fail(e, CHOPIN_PG_MEMORY, "out of memory for the options");
    if (rc < 0) {
        p->handle.object.status = rc;
        p->handle.broken = true;
    }
    if (e == &local) chopin_pg__error_clear(e);
}

CHOPIN_PG_API chopin_pg *chopin_pg_open(const chopin_pg_options *options) {
    chopin_pg__heap heap;
    chopin_pg__heap_init(&heap, options ? options->alloc : NULL, options ? options->alloc_ctx : NULL);
    chopin_pg__pool *p = (chopin_pg__pool *)chopin_pg__alloc_zero(&heap, sizeof *p);
    if (!p) return chopin_pg__no_handle();
    chopin_pg__core *c = &p->core;
    c->heap = heap;
    chopin_pg__arena_init(&c->texts, &c->heap, 0);
    chopin_pg__resolve_options(c, options);
    c->log    = (chopin_pg__logger){ c->options.log, c->options.log_ctx };
    c->random = chopin_pg__random_seed();
    c->hash_seed = chopin_pg__random_next(&c->random);
    c->trace_line.heap = &c->heap;
    p->handle.object   = (chopin_pg__object){ .kind = CHOPIN_PG__POOL, .heap = &c->heap };
    p->handle.pool     = p;
    p->handle.root     = &p->handle;
    p->handle.deadline = -1;
    chopin_pg__arena_init(&p->handle.arena, &c->heap, 0);
    chopin_pg__open_check(p);
    return &p->handle;
}

/* Waits, while there is time, for what was sent on a handle that closes in good order; what is left is dropped. */
static void chopin_pg__close_rows(chopin_pg *h) {
    while (h->rows) chopin_pg__rows_close(h, h->rows);
}

/* A fiber that died inside one of our calls left its waiters behind: out of every list, roles free again. One that died in the middle of a change (not while it
 * waited) leaves a connection nobody can trust. */
static void chopin_pg__sweep_waiters(chopin_pg *h) {
    chopin_pg__pool *p = h->pool;
    for (chopin_pg__conn *k = p->conns; k; k = k->next) {
        bool reader = k->reader && k->reader->root == h, writer = k->writer && k->writer->root == h;
        if (reader) k->reader = NULL;
        if (writer) k->writer = NULL;
        if (k->touched_by == h) {
            k->touched_by = NULL;
            chopin_pg__conn_break(k, CHOPIN_PG_CONNECT, "a fiber died while it changed this connection");
        }
        if (reader || writer) chopin_pg__pass(k);
        if (k->place == CHOPIN_PG__BUSY && !k->shared && k->holder == h && !k->keeper && h->waiters) {
            bool held = false;                                // taken over, but not handed to anybody yet
            for (chopin_pg__waiter *w = h->waiters; w; w = w->root_next) held |= w->gift == k || w->conn == k;
            if (held) chopin_pg__exclusive_give(p, k);
        }
    }
    while (h->waiters) {
        chopin_pg__waiter *w = h->waiters;
        if (w->op && w->op->waiter == w) w->op->waiter = NULL;
        if (w->in_line) p->waiting--;
        chopin_pg__sleep_done(w);
        chopin_pg__waiter_free(&p->core, w);
    }
}

/* What a request left behind is worth a line: somebody forgot it, or the fiber died. */
static void chopin_pg__sweep_log(chopin_pg *h) {
    int open = 0, copies = 0;
    for (chopin_pg *x = h->children; x; x = x->next) {
        open   += x->object.kind == CHOPIN_PG__TX && x->tx_state == CHOPIN_PG__TX_OPEN;
        copies += x->copies != NULL;
    }
    copies += h->copies != NULL;
    if (open || copies) chopin_pg__log(&h->pool->core.log, CHOPIN_PG_WARNING, "a scope was closed with %d open transactions (rolled back) and %d open COPY (failed)", open, copies);
}

static void chopin_pg__close_handle(chopin_pg *h) {
    if (h->object.kind == CHOPIN_PG__SCOPE) chopin_pg__sweep_log(h);
    while (h->children) chopin_pg__close_handle(h->children);
    if (h->object.kind == CHOPIN_PG__SCOPE) chopin_pg__sweep_waiters(h);
    while (h->copies) h->close_copy(h->copies);
    if (h->on_close) h->on_close(h);
    if (h->object.kind == CHOPIN_PG__TX) chopin_pg__tx_abandon(h);
    chopin_pg__close_rows(h);
    if (h->object.kind == CHOPIN_PG__PIN || h->object.kind == CHOPIN_PG__TX) chopin_pg__handle_release(h);
    chopin_pg__handle_free(h);
}

static void chopin_pg__pool_end(chopin_pg__pool *p) {
    chopin_pg__core *c = &p->core;
    while (p->conns) {
        chopin_pg__conn *k = p->conns;
        k->reader = k->writer = NULL;
        if (chopin_pg__conn_free_to_use(k)) chopin_pg__pool_retire(k);
        k->attempt_failed = NULL;
        chopin_pg__conn_break(k, CHOPIN_PG_CONNECT, "the pool was closed");
        chopin_pg__pool_forget(p, k);
    }
    chopin_pg__out_done(&c->trace_line);
    while (c->spare_rows)    { chopin_pg_rows *r = c->spare_rows;       c->spare_rows = r->after;         chopin_pg__rows_free(c, r); }
    while (c->spare_spans)   { chopin_pg__span *s = c->spare_spans;     c->spare_spans = s->next;         chopin_pg__release(&c->heap, s, sizeof *s); }
    while (c->spare_waiters) { chopin_pg__waiter *w = c->spare_waiters; c->spare_waiters = w->root_next;  chopin_pg__release(&c->heap, w, sizeof *w); }
    while (c->spare_blocks)  { chopin_pg__block *b = c->spare_blocks;   c->spare_blocks = b->next;        chopin_pg__release(&c->heap, b, sizeof *b + b->cap); }
    while (p->spare_handles) { chopin_pg *h = p->spare_handles;         p->spare_handles = h->next;       chopin_pg__release(&c->heap, h, sizeof *h); }
}

static void chopin_pg__pool_close(chopin_pg__pool *p) {
    chopin_pg__core *c = &p->core;
    p->closing = true;
    while (p->handle.children) chopin_pg__close_handle(p->handle.children);
    chopin_pg__sweep_waiters(&p->handle);
    while (p->handle.copies) p->handle.close_copy(p->handle.copies);
    chopin_pg__close_rows(&p->handle);
    chopin_pg__pool_end(p);
    if (c->tls_config) c->options.tls->config_free(c->tls_config);
    chopin_pg__wipe(c->salted, sizeof c->salted);
    chopin_pg__dsn_done(&c->dsn);
    chopin_pg__arena_free(&p->handle.arena);
    chopin_pg__object_done(&p->handle.object);
    chopin_pg__arena_wipe(&c->texts);                         // the url may hold the password
    chopin_pg__heap heap = c->heap;
    chopin_pg__release(&heap, p, sizeof *p);
}

CHOPIN_PG_API void chopin_pg_close(chopin_pg *h) {
    if (chopin_pg__is_none(h)) return;
    if (h->object.kind == CHOPIN_PG__POOL) chopin_pg__pool_close(h->pool);
    else chopin_pg__close_handle(h);
}

static chopin_pg *chopin_pg__child(chopin_pg *h, chopin_pg__kind kind) {
    chopin_pg *child = chopin_pg__is_none(h) ? NULL : chopin_pg__handle_new(h, kind);
    return child ? child : chopin_pg__no_handle();
}

CHOPIN_PG_API chopin_pg *chopin_pg_scope(chopin_pg *h, int64_t ms) {
    chopin_pg *s = chopin_pg__child(h, CHOPIN_PG__SCOPE);
    if (s->pool) s->deadline = chopin_pg__deadline(ms);
    return s;
}

CHOPIN_PG_API chopin_pg *chopin_pg_pin(chopin_pg *h)   { return chopin_pg__child(h, CHOPIN_PG__PIN); }
CHOPIN_PG_API chopin_pg *chopin_pg_batch(chopin_pg *h) { return chopin_pg__child(h, CHOPIN_PG__BATCH); }

CHOPIN_PG_API chopin_pg *chopin_pg_begin(chopin_pg *h, const chopin_pg_tx *tx) {
    chopin_pg *t = chopin_pg__child(h, CHOPIN_PG__TX);
    if (!t->pool) return t;
    if (tx) t->tx = *tx;
    chopin_pg *outer = chopin_pg__conn_handle(h);
    if (outer && outer->object.kind == CHOPIN_PG__TX) t->level = outer->level + 1;
    t->deadline = tx ? chopin_pg__deadline(tx->ms) : -1;
    return t;
}

CHOPIN_PG_API void chopin_pg_deadline(chopin_pg *h, int64_t ms) {
    if (!chopin_pg__is_none(h) && h->object.kind != CHOPIN_PG__POOL) h->deadline = chopin_pg__deadline(ms);
}

CHOPIN_PG_API void chopin_pg_expire(chopin_pg *h) {
    if (chopin_pg__is_none(h)) return;
    chopin_pg__core *c = &h->pool->core;
    c->epoch++;
    if (c->tls_config) c->options.tls->config_free(c->tls_config);             // certificates are read anew
    c->tls_config = NULL;
    chopin_pg__pool_tend(h->pool);
}

CHOPIN_PG_API size_t chopin_pg_config(chopin_pg *h, char *out, size_t cap) {
    if (cap) *out = 0;
    return chopin_pg__is_none(h) ? 0 : chopin_pg__dsn_text(&h->pool->core.dsn, out, cap);
}

CHOPIN_PG_API chopin_pg_counters chopin_pg_stats(chopin_pg *h) {
    chopin_pg_counters s;
    memset(&s, 0, sizeof s);
    if (chopin_pg__is_none(h)) return s;
    s = h->pool->core.counters;
    s.allocations = h->pool->core.heap.calls;
    s.waiting     = h->pool->waiting;
    for (const chopin_pg__conn *k = h->pool->conns; k; k = k->next) {
        if (!chopin_pg__usable(k)) continue;
        (*(k->shared ? &s.shared : &s.exclusive))++;
        s.in_flight  += k->depth;
        s.connecting += k->stage != CHOPIN_PG__READY;
        s.idle       += k->stage == CHOPIN_PG__READY && k->depth == 0 && (k->shared || k->place == CHOPIN_PG__IDLE);
    }
    return s;
}

/* ---- running ---- */
static chopin_str chopin_pg__sql_of(const chopin_pg_param *args, int count) {
    return count > 0 && args->kind == CHOPIN_PG__P_TEXT ? args->as.text : chopin_pg__absent();
}

/* On a batch everything waits for the commit. */
static chopin_pg_rows *chopin_pg__batch_add(chopin_pg *h, chopin_pg_rows *r) {
    if (!r->handle) return r;
    if (r->phase == CHOPIN_PG__NEW && h->committed) chopin_pg__object_fail(&r->object, CHOPIN_PG_ARG, "the batch was committed already");
    if (r->phase == CHOPIN_PG__NEW && !r->object.status && chopin_pg__rows_keep_args(r) == 0) r->number = h->numbered++;
    if (r->object.status) {
        r->phase = CHOPIN_PG__OVER;
        chopin_pg__tell(h, &r->object);
    }
    return r;
}

CHOPIN_PG_API chopin_pg_rows *chopin_pg_send_args(chopin_pg *h, chopin_str sql, const chopin_pg_param *params, int count) {
    if (chopin_pg__is_none(h)) return chopin_pg__no_rows(h);
    chopin_pg_rows *r = chopin_pg__rows_make(h, sql, params, count);
    if (h->object.kind == CHOPIN_PG__BATCH) return chopin_pg__batch_add(h, r);
    if (!r->handle || r->phase == CHOPIN_PG__OVER) return r;
    if (chopin_pg__rows_keep_args(r) < 0) r->phase = CHOPIN_PG__OVER;
    else chopin_pg__submit_now(h, r);
    return r;
}

/* Waits for a statement that was just made. */
static chopin_pg_rows *chopin_pg__run(chopin_pg *h, chopin_pg_rows *r, bool to_end) {
    if (!r->handle) return r;
    if (h->object.kind == CHOPIN_PG__BATCH && r->phase == CHOPIN_PG__NEW) {
        chopin_pg__object_fail(&r->object, CHOPIN_PG_ARG, "a batch takes chopin_pg_send(): nothing runs before its commit");
        r->phase = CHOPIN_PG__OVER;
    }
    chopin_pg__rows_wait(h, r, to_end);
    chopin_pg__tell(h, &r->object);
    if (!to_end && r->phase != CHOPIN_PG__OVER && !r->object.status && !r->kept_args) {
        r->sql = r->statement ? r->statement->sql : chopin_pg__absent();      // it has begun to answer: it will not be sent again
        r->params = NULL;
    }
    return r;
}

CHOPIN_PG_API chopin_pg_rows *chopin_pg_query_args(chopin_pg *h, chopin_str sql, const chopin_pg_param *params, int count) {
    if (chopin_pg__is_none(h)) return chopin_pg__no_rows(h);
    return chopin_pg__run(h, chopin_pg__rows_make(h, sql, params, count), false);
}

CHOPIN_PG_API int64_t chopin_pg_exec_args(chopin_pg *h, chopin_str sql, const chopin_pg_param *params, int count) {
    if (chopin_pg__is_none(h)) return CHOPIN_PG_MEMORY;
    chopin_pg_rows *r = chopin_pg__rows_make(h, sql, params, count);
    r->handle ? (void)(r->drop = true) : (void)0;
    chopin_pg__run(h, r, true);
    int64_t rc = r->object.status ? r->object.status : r->affected;
    if (r->handle) chopin_pg__rows_close(h, r);
    return rc;
}

CHOPIN_PG_API chopin_pg_rows *chopin_pg_query_(chopin_pg *h, const chopin_pg_param *args, int count) { return chopin_pg_query_args(h, chopin_pg__sql_of(args, count), args + 1, count - 1); }
CHOPIN_PG_API chopin_pg_rows *chopin_pg_send_(chopin_pg *h, const chopin_pg_param *args, int count)  { return chopin_pg_send_args(h, chopin_pg__sql_of(args, count), args + 1, count - 1); }
CHOPIN_PG_API int64_t         chopin_pg_exec_(chopin_pg *h, const chopin_pg_param *args, int count)  { return chopin_pg_exec_args(h, chopin_pg__sql_of(args, count), args + 1, count - 1); }

/* Does anything lie behind the row in hand? Complete results only. */
static bool chopin_pg__more_rows(const chopin_pg_rows *r) { return r->arrived > 1; }

CHOPIN_PG_API chopin_pg_rows *chopin_pg_one_(chopin_pg *h, const chopin_pg_param *args, int count) {
    if (chopin_pg__is_none(h)) return chopin_pg__no_rows(h);
    chopin_pg_rows *r = chopin_pg__run(h, chopin_pg__rows_make(h, chopin_pg__sql_of(args, count), args + 1, count - 1), true);
    if (!r->handle || r->object.status) return r;
    if (chopin_pg__more_rows(r)) chopin_pg__rows_fail(r, CHOPIN_PG_TOO_MANY, "%lld rows where at most one was asked for", (long long)r->arrived);
    r->in_hand = chopin_pg__rows_step(chopin_pg__core_of(h), r) > 0;
    chopin_pg__tell(h, &r->object);
    return r;
}

CHOPIN_PG_API chopin_pg_rows *chopin_pg_value_(chopin_pg *h, const chopin_pg_param *args, int count) {
    chopin_pg_rows *r = chopin_pg_one_(h, args, count);
    if (!r->handle || r->object.status) return r;
    if (!r->shape || r->shape->columns != 1) chopin_pg__rows_fail(r, CHOPIN_PG_ARG, "one column was asked for, there are %u", r->shape ? (unsigned)r->shape->columns : 0);
    else if (!r->in_hand) chopin_pg__rows_fail(r, CHOPIN_PG_WAS_NULL, "one row was asked for, there is none");
    chopin_pg__tell(h, &r->object);
    return r;
}

CHOPIN_PG_API chopin_pg_rows *chopin_pg_script(chopin_pg *h, const char *sql) {
    if (chopin_pg__is_none(h)) return chopin_pg__no_rows(h);
    bool batch = h->object.kind == CHOPIN_PG__BATCH;
    chopin_pg_rows *r = chopin_pg__rows_make(h, CHOPIN_STR("select"), NULL, 0);
    if (!r->handle || r->phase == CHOPIN_PG__OVER) return chopin_pg__tell(h, &r->object), r;
    r->sql = chopin_pg__str_z(sql);
    r->simple = true;
    r->keeps_conn = !chopin_pg__conn_handle(h);
    r->scripted = true;
    if (!chopin_pg__conn_handle(h) || h->object.kind == CHOPIN_PG__PIN) r->dirties = true;
    if (batch || chopin_pg__text_check(&r->object, r->sql) < 0 || chopin_pg__rows_keep_args(r) < 0) {
        chopin_pg__object_fail(&r->object, CHOPIN_PG_ARG, "a script does not go into a batch");
        r->phase = CHOPIN_PG__OVER;
        chopin_pg__tell(h, &r->object);
        return r;
    }
    return chopin_pg__run(h, r, false);
}

CHOPIN_PG_API int chopin_pg_prepare(chopin_pg *h, const char *sql) {
    if (chopin_pg__is_none(h)) return CHOPIN_PG_MEMORY;
    chopin_pg_rows *r = chopin_pg__rows_make(h, chopin_pg__str_z(sql), NULL, 0);
    if (!r->handle) return CHOPIN_PG_MEMORY;
    r->prepare_only = true;
    chopin_pg__run(h, r, true);
    int rc = r->object.status;
    chopin_pg__rows_close(h, r);
    return rc;
}

CHOPIN_PG_API int chopin_pg_ready(chopin_pg *h) {
    int64_t rc = chopin_pg_exec_args(h, CHOPIN_STR("select 1"), NULL, 0);
    return rc < 0 ? (int)rc : 0;
}

/* A portal needs a transaction: one of its own unless the handle is in one. Without `fetch` the socket itself slows the server down. */
CHOPIN_PG_API chopin_pg_rows *chopin_pg_stream_(chopin_pg *h, int fetch, const chopin_pg_param *args, int count) {
    if (chopin_pg__is_none(h)) return chopin_pg__no_rows(h);
    chopin_pg *own = chopin_pg__conn_handle(h), *in = h;
    bool tx = own && own->object.kind == CHOPIN_PG__TX;
    if (fetch > 0 && !tx) in = chopin_pg_begin(h, NULL);      // lives as long as the result
    if (!in->pool) return chopin_pg__no_rows(h);
    chopin_pg_rows *r = chopin_pg__rows_make(in, chopin_pg__sql_of(args, count), args + 1, count - 1);
    if (!r->handle) return r;
    r->own_tx = in != h;
    if (r->phase == CHOPIN_PG__OVER) return chopin_pg__run(in, r, false);
    r->keeps_conn = !own && fetch <= 0;
    if (fetch > 0) {
        r->fetch  = (uint32_t)fetch;
        r->portal = true;
        r->portal_id = ++h->pool->core.portals;
    }
    return chopin_pg__run(in, r, false);
}

/* ---- results ---- */
static bool chopin_pg__rows_gone(const chopin_pg_rows *r) { return !r || (!r->handle && !r->nest); }

/* The portal has more: the next rows are asked for when they are needed. */
static bool chopin_pg__next_fetch(chopin_pg *h, chopin_pg_rows *r) {
    chopin_pg__conn *k = chopin_pg__handle_conn(h);
    if (!r->suspended || r->object.status) return false;
    if (!k || !chopin_pg__usable(k)) {
        chopin_pg__object_fail(&r->object, CHOPIN_PG_LOST, "the connection of a stream was lost");
        return false;
    }
    if (chopin_pg__encode_more(k, r) < 0) return false;
    return true;
}

/* The error of a script becomes that of its result when everything before it has been read, or is not going to be. */
static void chopin_pg__late_error(chopin_pg_rows *r) {
    if (r->late && !r->object.status) r->object.status = r->late;
}

static CHOPIN_PG__NOINLINE int chopin_pg__next(chopin_pg_rows *r) {
    if (chopin_pg__rows_gone(r)) return 0;
    if (r->nest) return r->nest->step && !r->object.status && r->nest->step(r->nest) > 0;
    chopin_pg *h = r->handle;
    chopin_pg__core *c = chopin_pg__core_of(h);
    if (r->in_hand) return r->in_hand = false, r->object.status == 0;
    if (h->object.kind == CHOPIN_PG__BATCH && r->phase == CHOPIN_PG__NEW) {
        chopin_pg__rows_fail(r, CHOPIN_PG_ARG, "its batch was not committed yet");
        return 0;
    }
    for (;;) {
        if (r->copy ? r->step_copy(c, r) : chopin_pg__rows_step(c, r)) return 1;
        if (r->object.status || r->result_over) break;
        if (r->phase == CHOPIN_PG__OVER && r->late) chopin_pg__late_error(r);
        if (r->phase == CHOPIN_PG__OVER && !r->redo && !chopin_pg__next_fetch(h, r)) break;
        chopin_pg__rows_wait(h, r, false);
        if (r->object.status && !r->unread) break;
    }
    chopin_pg__tell(h, &r->object);
    return 0;
}

CHOPIN_PG_API int chopin_pg_next(chopin_pg_rows *r) { return r && (chopin_pg__rows_take_handy(r) || chopin_pg__next(r)); }

CHOPIN_PG_API int chopin_pg_next_result(chopin_pg_rows *r) {
    if (chopin_pg__rows_gone(r) || r->nest || !r->scripted) return 0;
    while (chopin_pg_next(r)) {}
    if (!r->result_over || r->object.status) return 0;
    chopin_pg__shape_drop(r->object.heap, r->shape);
    r->shape = NULL;
    r->result_over = false;
    if (r->unread == 0) chopin_pg__rows_wait(r->handle, r, false);
    if (r->unread == 0) chopin_pg__late_error(r);
    return !r->object.status && r->unread > 0;
}

/* The end of a stream with a transaction of its own (what has not been fetched never will be), or of a COPY OUT with a pin of its own. */
static int64_t chopin_pg__end_stream(chopin_pg *tx, int64_t rc) {
    chopin_pg *h = tx->parent;
    int status = rc < 0 ? (int)rc : tx->object.kind == CHOPIN_PG__TX ? chopin_pg_commit(tx) : 0;
    chopin_pg__tell(h, &tx->object);
    chopin_pg_close(tx);
    return status < 0 ? status : rc;
}

/* Of one that is plain. */
static int64_t chopin_pg__end_usual(chopin_pg *h, chopin_pg_rows *r) {
    int64_t count = r->affected;
    chopin_pg__rows_unlink(h, r);
    r->handle = NULL;
    chopin_pg__rows_recycle(chopin_pg__core_of(h), r);
    return count;
}

static CHOPIN_PG__NOINLINE int64_t chopin_pg__end_rare(chopin_pg_rows *r) {
    if (!r || !r->handle) return r ? r->object.status : CHOPIN_PG_MEMORY;
    chopin_pg *h = r->handle;
    bool own_tx = r->own_tx;
    if (!r->object.status && r->phase != CHOPIN_PG__OVER && !(h->object.kind == CHOPIN_PG__BATCH && r->phase == CHOPIN_PG__NEW)) {
        chopin_pg__rows_drop_bytes(chopin_pg__core_of(h), r);
        r->drop = true;
        if (r->keeps_conn && r->phase == CHOPIN_PG__FLYING && !r->scripted && r->arrived > 0) r->affected = r->arrived;    // a stream or COPY OUT is not read to its end for a number
        else chopin_pg__rows_wait(h, r, true);
    }
    chopin_pg__late_error(r);
    chopin_pg__tell(h, &r->object);
    int64_t rc = r->object.status ? r->object.status : r->portal ? r->arrived : r->affected < 0 ? 0 : r->affected;
    if (r->portal && r->suspended && !own_tx && chopin_pg__handle_conn(h)) {
        char name[24];
        chopin_pg__conn *k = chopin_pg__handle_conn(h);
        if (chopin_pg__usable(k)) {
            chopin_pg__ride_close(k, 'P', chopin_pg__portal_name(r, name, sizeof name).ptr);
            chopin_pg__seal(k);
        }
    }
    chopin_pg__rows_close(h, r);
    return own_tx ? chopin_pg__end_stream(h, rc) : rc;
}

CHOPIN_PG_API int64_t chopin_pg_end(chopin_pg_rows *r) {
    bool usual = r && r->plain && r->handle && r->phase == CHOPIN_PG__OVER && !r->object.status;
    return usual ? chopin_pg__end_usual(r->handle, r) : chopin_pg__end_rare(r);
}

CHOPIN_PG_API void chopin_pg_cancel(chopin_pg_rows *r) {
    if (chopin_pg__rows_gone(r) || r->nest || (r->phase == CHOPIN_PG__OVER && !r->suspended)) return;
    chopin_pg__waiter *w = chopin_pg__waiter_new(r->handle);
    if (!w) return;
    chopin_pg__give_up(r->handle, r, w, CHOPIN_PG_CANCELED, "cancelled by chopin_pg_cancel()", true);
    chopin_pg__waiter_free(chopin_pg__core_of(r->handle), w);
}

CHOPIN_PG_API int64_t chopin_pg_affected(chopin_pg_rows *r) {
    if (chopin_pg__rows_gone(r) || r->nest) return -1;
    return r->scripted ? (r->result_over ? r->result_count : -1) : r->affected;
}

CHOPIN_PG_API int chopin_pg_columns(chopin_pg_rows *r) { return r ? (int)chopin_pg__rows_columns(r) : 0; }

CHOPIN_PG_API int chopin_pg_column(chopin_pg_rows *r, const char *name) {
    chopin_str wanted = chopin_pg__str_z(name);
    if (chopin_pg__rows_gone(r)) return -1;
    for (uint32_t i = 0; r->shape && i < r->shape->columns; i++) if (chopin_pg__equal(r->shape->column[i].name, wanted)) return (int)i;
    chopin_pg__rows_fail(r, CHOPIN_PG_ARG, "there is no column \"%.*s\"", CHOPIN_FMT(wanted));
    return -1;
}

CHOPIN_PG_API chopin_str chopin_pg_column_name(chopin_pg_rows *r, int column) {
    bool known = r && r->shape && column >= 0 && (uint32_t)column < r->shape->columns;
    return known ? r->shape->column[column].name : chopin_pg__absent();
}

CHOPIN_PG_API uint32_t chopin_pg_type(chopin_pg_rows *r, int column) {
    bool known = r && r->shape && column >= 0 && (uint32_t)column < r->shape->columns;
    if (r && r->nest && r->nest->row && column >= 0 && column < r->nest->columns) return r->nest->row[column].oid;
    return known ? r->shape->column[column].oid : 0;
}

CHOPIN_PG_API chopin_str chopin_pg_keep(chopin_pg_rows *r, chopin_str s) {
    chopin_pg_rows *root = r ? chopin_pg__rows_root(r) : NULL;
    if (!root || !root->handle || !s.ptr) return chopin_pg__absent();
    chopin_str copy = chopin_pg__arena_copy(&root->handle->arena, s);
    if (!copy.ptr) chopin_pg__rows_fail(r, CHOPIN_PG_MEMORY, "out of memory for a kept text of %zu bytes", s.len);
    return copy;
}

/* ---- transactions and batches ---- */
CHOPIN_PG_API int chopin_pg_commit(chopin_pg *h) {
    if (chopin_pg__is_none(h)) return CHOPIN_PG_MEMORY;
    if (h->object.kind == CHOPIN_PG__TX)    return chopin_pg__tx_commit(h);
    if (h->object.kind == CHOPIN_PG__BATCH) return chopin_pg__batch_commit(h);
    return chopin_pg__object_fail(&h->object, CHOPIN_PG_ARG, "only transactions and batches are committed");
}

CHOPIN_PG_API int chopin_pg_rollback(chopin_pg *h) {
    if (chopin_pg__is_none(h)) return CHOPIN_PG_MEMORY;
    if (h->object.kind == CHOPIN_PG__TX) return chopin_pg__tx_rollback(h);
    if (h->object.kind != CHOPIN_PG__BATCH) return chopin_pg__object_fail(&h->object, CHOPIN_PG_ARG, "only transactions and batches are rolled back");
    chopin_pg__close_rows(h);
    chopin_pg__object_clear(&h->object);
    h->numbered  = 0;
    h->committed = false;
    return 0;
}

CHOPIN_PG_API bool chopin_pg_retry(chopin_pg *tx, int times) {
    return !chopin_pg__is_none(tx) && tx->object.kind == CHOPIN_PG__TX && chopin_pg__tx_retry(tx, times);
}

/* ---- notes ---- */
CHOPIN_PG_API int chopin_pg_notify(chopin_pg *h, const char *channel, const char *payload) {
    if (chopin_pg__is_none(h)) return CHOPIN_PG_MEMORY;
    chopin_str args[2] = { chopin_pg__str_z(channel), chopin_pg__str_z(payload ? payload : "") };
    if (!args[0].len || args[0].len > 63)  return chopin_pg__object_fail(&h->object, CHOPIN_PG_ARG, "the name of a channel has 1 to 63 bytes");
    if (args[1].len > 7999) return chopin_pg__object_fail(&h->object, CHOPIN_PG_ARG, "the payload of a note has at most 7999 bytes");
    chopin_pg_param params[2] = { chopin_pg__from_str(args[0]), chopin_pg__from_str(args[1]) };
    int64_t rc;
    if (h->object.kind == CHOPIN_PG__BATCH) {
        chopin_pg_rows *r = chopin_pg_send_args(h, CHOPIN_STR("select pg_catalog.pg_notify($1, $2)"), params, 2);
        return r->object.status;
    }
    rc = chopin_pg_exec_args(h, CHOPIN_STR("select pg_catalog.pg_notify($1, $2)"), params, 2);
    return rc < 0 ? (int)rc : 0;
}
/* ==========================================================================================================
   >>glue   a pool per worker and a scope per request, when chopin.h came first
   ========================================================================================================== */
#if defined(CHOPIN_H)

typedef struct chopin_pg__request {     // in the request's memory
    struct chopin_pg__request *next;
    struct chopin_pg__worker  *worker;
    chopin_ctx *c;
    chopin_pg  *scope;
} chopin_pg__request;

typedef struct chopin_pg__worker {      // in the worker's user slot
    chopin_pg__heap      heap;
    chopin_pg           *pool;
    chopin_pg__request  *requests[64];  // those with a scope, by the address of their ctx
} chopin_pg__worker;

CHOPIN_PG_API int chopin_pg_worker_start(chopin_worker *w, void *options) {
    chopin_pg_options o = { .url = NULL };
    chopin_pg__heap   heap;
    if (options) o = *(const chopin_pg_options *)options;
    if (!o.wait) { o.wait = chopin_wait; o.wait_ctx = w; }
    chopin_pg__heap_init(&heap, o.alloc, o.alloc_ctx);
    chopin_pg__worker *mine = chopin_pg__alloc_zero(&heap, sizeof *mine);
    if (!mine) return CHOPIN_PG_MEMORY;
    mine->heap = heap;
    mine->pool = chopin_pg_open(&o);
    chopin_worker_set_user(w, mine);
    int rc = chopin_pg_code(mine->pool);
    if (rc == CHOPIN_PG_OK) return rc;
    chopin_pg__log(&(chopin_pg__logger){ o.log, o.log_ctx }, CHOPIN_PG_ERROR, "%s", chopin_pg_why(mine->pool));
    chopin_pg_worker_stop(w, options);                                         // it is not called after a start that failed
    return rc;
}

CHOPIN_PG_API void chopin_pg_worker_stop(chopin_worker *w, void *options) {
    chopin_pg__worker *mine = chopin_worker_get_user(w);
    (void)options;
    if (!mine) return;
    chopin_worker_set_user(w, NULL);
    chopin_pg_close(mine->pool);
    chopin_pg__heap heap = mine->heap;
    chopin_pg__release(&heap, mine, sizeof *mine);
}

CHOPIN_PG_API chopin_pg *chopin_pg_worker_pool(chopin_worker *w) {
    chopin_pg__worker *mine = chopin_worker_get_user(w);
    return mine ? mine->pool : chopin_pg__no_handle();
}

static chopin_pg__request **chopin_pg__request_bucket(chopin_pg__worker *mine, const chopin_ctx *c) {
    return &mine->requests[((uintptr_t)c >> 6) * 0x9e3779b1u >> 4 & (CHOPIN_PG__COUNT(mine->requests) - 1)];
}

/* The request is over, in whatever way: what it left open is swept. */
static void chopin_pg__request_end(void *arg) {
    chopin_pg__request *r = arg, **at = chopin_pg__request_bucket(r->worker, r->c);
    while (*at && *at != r) at = &(*at)->next;
    if (*at) *at = r->next;
    chopin_pg_close(r->scope);
}

CHOPIN_PG_API chopin_pg *chopin_pg_of(chopin_ctx *c) {
    chopin_pg__worker *mine = chopin_worker_user(c);
    if (!mine) return chopin_pg__no_handle();
    chopin_pg__request **bucket = chopin_pg__request_bucket(mine, c);
    for (chopin_pg__request *r = *bucket; r; r = r->next) if (r->c == c) return r->scope;
    chopin_pg__request *r = chopin_alloc(c, sizeof *r);
    if (!r) return chopin_pg__no_handle();
    *r = (chopin_pg__request){ *bucket, mine, c, chopin_pg_scope(mine->pool, 0) };
    *bucket = r;
    return chopin_defer(c, chopin_pg__request_end, r) < 0 ? chopin_pg__no_handle() : r->scope;       // on failure request_end() has run at once
}

CHOPIN_PG_API int chopin_pg_http(int status) {
    switch (status) {
    case CHOPIN_PG_CONNECT: case CHOPIN_PG_POOL: case CHOPIN_PG_MEMORY: case CHOPIN_PG_LOST: case CHOPIN_PG_CANCELED: return 503;
    case CHOPIN_PG_TIMEOUT:  return 504;
    case CHOPIN_PG_CONFLICT: return 409;
    default: return status < 0 ? 500 : 200;
    }
}
#endif

#endif /* CHOPIN_PG_IMPLEMENTED */

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
