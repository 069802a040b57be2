/* test_worker.c - whole servers on real sockets of 127.0.0.1: starting, stopping, signals, addresses, limits of the system, crashes.
 * Servers run in a thread of this process, or, where signals or limits of the process are the matter, in a forked child.
 * Under sanitizers the tests in which the process itself breaks (SIGSEGV, memory limits) are left out: the tool would end it, or be measured. */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#define clock_gettime shifted_clock_gettime   // one test moves the wall clock of this program alone
#include CHOPIN_HEADER
#undef clock_gettime
#include "test.h"
#include "kit.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <semaphore.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(SANITIZED)
enum { SANE = 0, SLOW = 5 };
#else
enum { SANE = 1, SLOW = 1 };                 // SLOW: how much longer things may take
#endif

static _Atomic int64_t wall_shift_s;

int shifted_clock_gettime(clockid_t id, struct timespec *t) {
    int rc = (int)syscall(SYS_clock_gettime, id, t);
    if (id == CLOCK_REALTIME) t->tv_sec += atomic_load(&wall_shift_s);
    return rc;
}

static int64_t now_ms(void) { return chopin_now_us() / 1000; }

/* ---- a server in a thread ---- */

typedef struct server {
    chopin_app *app;
    pthread_t   thread;
    sem_t       up, down;
    const char *address;                     // NULL: what was given to chopin_listen()
    int         rc;
    _Atomic int started, stopped;            // hooks called
    int         refuse_worker;               // the start hook of this one fails; -1: none
    _Atomic int served_by[8];                // requests of each worker
    pthread_mutex_t lock;
    char        log[8000];                   // all lines
} server;

static int on_start(chopin_worker *w, void *user) {
    server *s = user;
    atomic_fetch_add(&s->started, 1);
    sem_post(&s->up);
    return chopin_worker_index(w) == s->refuse_worker ? CHOPIN_MISSING : 0;
}

static void on_stop(chopin_worker *w, void *user) {
    (void)w;
    atomic_fetch_add(&((server *)user)->stopped, 1);
}

static void on_log(void *user, chopin_level level, const char *line) {
    server *s = user;
    (void)level;
    pthread_mutex_lock(&s->lock);
    size_t len = strlen(s->log);
    snprintf(s->log + len, sizeof s->log - len, "%s\n", line);
    pthread_mutex_unlock(&s->lock);
}

static int ping(chopin_ctx *c) {
    server *s = chopin_app_user(c);
    atomic_fetch_add(&s->served_by[chopin_worker_index(chopin_worker_of(c)) & 7], 1);
    return chopin_text(c, 200, "pong");
}

static int64_t number(chopin_ctx *c, const char *name) {
    int64_t value = 0;
    chopin_get_i64(c, CHOPIN_FROM_PARAM, name, &value);
    return value;
}

static int nap(chopin_ctx *c) {
    int rc = chopin_sleep(c, number(c, "ms"));
    return rc < 0 ? rc : chopin_textf(c, 200, "slept %lld", (long long)number(c, "ms"));
}

static int busy(chopin_ctx *c) {
    usleep((useconds_t)number(c, "ms") * 1000);
    return chopin_text(c, 200, "busy");
}

static int echo(chopin_ctx *c) {
    chopin_str body = chopin_body(c);
    return body.ptr ? chopin_bytes(c, 200, "text/plain", body) : CHOPIN_ANSWERED;
}

static int stop(chopin_ctx *c) {
    chopin_stop(((server *)chopin_app_user(c))->app);
    chopin_stop(((server *)chopin_app_user(c))->app);
    return chopin_text(c, 200, "stopping");
}

static volatile uintptr_t eight = 8;
static volatile uint64_t  sink;

static uint64_t recurse(uint64_t depth) {
    volatile char frame[512];
    frame[depth % sizeof frame] = 1;
    sink = depth;
    return depth == UINT64_MAX ? 0 : recurse(depth + 1) + (uint64_t)frame[sink % sizeof frame];
}

static int die(chopin_ctx *c) {
    chopin_str how = chopin_param(c, "how");
    if (how.ptr[0] == 'n') *(volatile unsigned *)eight = 1;
    if (how.ptr[0] == 'o') sink = recurse(0);
    if (how.ptr[0] == 'a') abort();
    chopin_panic(c, "asked to");
}

static chopin_options quiet_options(server *s) {
    chopin_options o = kit_options();
    o.quiet = false;
    o.log = on_log;
    o.loop_warn_ms = -1;
    o.user = s;
    o.on_worker_start = on_start;
    o.on_worker_stop = on_stop;
    return o;
}

static chopin_app *new_app(const chopin_options *o) {
    chopin_app *app = chopin_new(o);
    chopin_route(app, "GET", "/ping", ping, NULL);
    chopin_route(app, "GET", "/nap/:ms", nap, NULL);
    chopin_route(app, "GET", "/busy/:ms", busy, NULL);
    chopin_route(app, "POST", "/echo", echo, NULL);
    chopin_route(app, "GET", "/stop", stop, NULL);
    chopin_route(app, "GET", "/die/:how", die, NULL);
    return app;
}

static void server_init(server *s, const chopin_options *o) {
    chopin_options options = o ? *o : quiet_options(s);
    memset(s, 0, sizeof *s);
    s->refuse_worker = -1;
    pthread_mutex_init(&s->lock, NULL);
    sem_init(&s->up, 0, 0);
    sem_init(&s->down, 0, 0);
    s->app = new_app(&options);
}

static void *server_thread(void *arg) {
    server *s = arg;
    s->rc = chopin_serve(s->app, s->address);
    sem_post(&s->up);
    sem_post(&s->down);
    return NULL;
}

/* Nothing here may hang the whole run: who waits in vain ends it. */
static bool wait_for(sem_t *sem, int ms, const char *what) {
    struct timespec until;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &until);       // the wall clock as it is
    until.tv_sec += ms / 1000 + 1;
    while (sem_timedwait(sem, &until) != 0) {
        if (errno == EINTR) continue;
        printf("test_worker.c: hangs: %s\n", what);
        fflush(stdout);
        _exit(1);
    }
    return true;
}

static void server_run(server *s, const char *address) {
    s->address = address;
    CHECK(pthread_create(&s->thread, NULL, server_thread, s) == 0);
}

/* Runs it, and returns when all its workers do. */
static int server_start(server *s, const char *address) {
    server_run(s, address);
    for (int i = 0; i < chopin_options_of(s->app)->workers; i++) wait_for(&s->up, 60000, "the start");
    int port = chopin_port(s->app, 0);
    CHECK(port > 0 || (address && address[0] != '1'));
    return port;
}

static int server_join(server *s) {
    wait_for(&s->down, 60000, "the end of chopin_serve()");
    pthread_join(s->thread, NULL);
    while (sem_trywait(&s->up) == 0) { }
    return s->rc;
}

static void server_free(server *s) {
    chopin_free(s->app);
    sem_destroy(&s->up);
    sem_destroy(&s->down);
    pthread_mutex_destroy(&s->lock);
}

static void server_end(server *s) {
    chopin_stop(s->app);
    CHECK_EQ_INT(server_join(s), CHOPIN_OK);
    server_free(s);
}

/* ---- clients ---- */

static int connect_to(const struct sockaddr *to, socklen_t len) {
    int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    struct timeval patience = { .tv_sec = 30 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (to->sa_family != AF_UNIX) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, to, len) == 0) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int dial(int port) {
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    return connect_to((struct sockaddr *)&to, sizeof to);
}

static int dial6(int port) {
    struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    return connect_to((struct sockaddr *)&to, sizeof to);
}

static int dial_unix(const char *path) {
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    if (path[0] == '@') to.sun_path[0] = 0;
    return connect_to((struct sockaddr *)&to, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + (path[0] != '@')));
}

static bool say_bytes(int fd, const char *bytes, size_t len) {
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n <= 0) return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

static bool say(int fd, const char *z) { return say_bytes(fd, z, strlen(z)); }

typedef struct reply {
    int        status;                       // 0: the connection ended instead
    bool       close;                        // the server will close
    chopin_str body;
    char       text[8192];
    size_t     len;
} reply;

/* One reply. Nothing may follow it: these clients do not pipeline. */
static int hear(int fd, reply *r) {
    r->len = 0;
    r->status = 0;
    for (;;) {
        ssize_t n;
        do n = recv(fd, r->text + r->len, sizeof r->text - 1 - r->len, 0);
        while (n < 0 && errno == EINTR);                     // the end of a ring interrupts the thread that used it, after chopin_close()
        if (n <= 0) return 0;
        r->len += (size_t)n;
        r->text[r->len] = 0;
        r->body = kit_body((chopin_str){ r->text, r->len });
        const char *length = strstr(r->text, "Content-Length: ");
        if (r->body.ptr && r->body.len >= (length ? strtoul(length + 16, NULL, 10) : 0)) break;
    }
    r->close = strstr(r->text, "Connection: close\r\n") != NULL;
    return r->status = kit_status((chopin_str){ r->text, r->len });
}

static bool at_end(int fd) {
    char byte;
    return recv(fd, &byte, 1, 0) == 0;
}

static void reset(int fd) {
    CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 }, sizeof(struct linger)) == 0);
    close(fd);
}

#define PING "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

static int ask_on(int fd, const char *request) {
    reply r;
    return fd >= 0 && say(fd, request) ? hear(fd, &r) : 0;
}

static int ask(int port, const char *request) {
    int fd = dial(port), status = ask_on(fd, request);
    if (fd >= 0) close(fd);
    return status;
}

static void dial_many(int *fds, int count, int port) {
    for (int i = 0; i < count; i++) CHECK((fds[i] = dial(port)) >= 0);
}

static void hang_up(int *fds, int count) {
    for (int i = 0; i < count; i++) {
        if (fds[i] >= 0) close(fds[i]);
    }
}

/* Waits until a counter of the server has reached `want`. */
#define UNTIL(condition) do { int64_t until_ = now_ms() + 30000; while (!(condition) && CHECK(now_ms() < until_)) usleep(1000); } while (0)

/* ---- a server in a child ---- */

typedef struct child { pid_t pid; int port; } child;

static int report_fd;

static int report_port(chopin_worker *w, void *user) {
    server *s = user;
    int port = chopin_port(s->app, 0);
    (void)w;
    return write(report_fd, &port, sizeof port) == sizeof port ? 0 : -1;
}

/* Forks; the child serves 127.0.0.1:0 with its signals on and exits with 0 if chopin_serve() gave 0. */
static child spawn(const chopin_options *more, rlim_t descriptors) {
    int   report[2] = { -1, -1 };
    child k = { -1, 0 };
    if (!CHECK(pipe(report) == 0)) return k;
    fflush(stdout);
    k.pid = fork();
    if (k.pid == 0) {
        static server s;
        if (descriptors) {
            for (int fd = 3; fd < 1024; fd++) if (fd != report[1]) close(fd);
            setrlimit(RLIMIT_NOFILE, &(struct rlimit){ descriptors, descriptors });
        }
        setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
        report_fd = report[1];
        chopin_options o = *more;
        o.user = &s;
        o.log = on_log;
        o.workers = 1;
        o.no_env = true;
        o.on_worker_start = report_port;
        server_init(&s, &o);
        _exit(chopin_serve(s.app, "127.0.0.1:0") == CHOPIN_OK ? 0 : 1);
    }
    close(report[1]);
    CHECK(read(report[0], &k.port, sizeof k.port) == sizeof k.port);
    close(report[0]);
    return k;
}

/* The status of waitpid(), or -1 when it does not end in time (it is then killed). */
static int ends(child *k, int ms) {
    int status = -1;
    for (int64_t until = now_ms() + ms; now_ms() < until; usleep(2000)) {
        if (waitpid(k->pid, &status, WNOHANG) == k->pid) return status;
    }
    kill(k->pid, SIGKILL);
    waitpid(k->pid, &status, 0);
    return -1;
}

static bool exited_with(int status, int code) { return status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == code; }

/* ---- stopping ---- */

static void stop_before_the_start_is_remembered(void) {
    server s;
    server_init(&s, NULL);
    chopin_app *app = s.app;
    chopin_options o = quiet_options(&s);
    chopin_free(app);
    s.app = new_app(&o);
    chopin_stop(s.app);
    chopin_stop(s.app);
    CHECK_EQ_INT(chopin_serve(s.app, "127.0.0.1:0"), CHOPIN_OK);
    CHECK_EQ_INT(s.started, 0);
    server_free(&s);
}

/* A server `s` with `change` applied to quiet_options(). */
static void server_with(server *s, void (*change)(chopin_options *o)) {
    chopin_options o = quiet_options(s);
    if (change) change(&o);
    server_init(s, &o);
}

static void *stop_thread(void *app) {
    for (int i = 0; i < 50; i++) chopin_stop(app);
    return NULL;
}

static void stop_from_several_threads_at_once(void) {
    server    s;
    pthread_t threads[3];
    server_with(&s, NULL);
    int port = server_start(&s, "127.0.0.1:0");
    CHECK_EQ_INT(ask(port, PING), 200);
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, stop_thread, s.app);
    CHECK_EQ_INT(server_join(&s), CHOPIN_OK);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    CHECK(dial(port) < 0);
    server_free(&s);
}

static void three_workers(chopin_options *o) { o->workers = 3; }

static void stop_may_race_the_start(void) {
    for (int i = 0; i < 60 / SLOW; i++) {
        server s;
        server_with(&s, three_workers);
        server_run(&s, "127.0.0.1:0");
        usleep((useconds_t)(i * 37 % 900));
        while (sem_trywait(&s.down) != 0) { chopin_stop(s.app); usleep(300); }   // a stop that came before chopin_serve() is used up by it
        sem_post(&s.down);
        CHECK_EQ_INT(server_join(&s), CHOPIN_OK);
        CHECK_EQ_INT(s.started, s.stopped);
        server_free(&s);
    }
}

static void one_stop_is_enough_however_early(void) {
    for (int i = 0; i < 40 / SLOW; i++) {
        server s;
        server_with(&s, three_workers);
        server_run(&s, "127.0.0.1:0");
        if (i % 2) wait_for(&s.up, 60000, "the first worker");                   // the others may not exist yet
        else       usleep((useconds_t)(i * 23));
        chopin_stop(s.app);
        CHECK_EQ_INT(server_join(&s), CHOPIN_OK);
        server_free(&s);
    }
}

static void stop_in_a_handler(void) {
    server s;
    reply  r;
    server_with(&s, NULL);
    int port = server_start(&s, "127.0.0.1:0"), fd = dial(port);
    CHECK(say(fd, GET("/stop")));
    CHECK_EQ_INT(hear(fd, &r), 200);
    CHECK_STR(r.body, "stopping");
    CHECK(at_end(fd));
    close(fd);
    CHECK_EQ_INT(server_join(&s), CHOPIN_OK);
    CHECK_EQ_INT(s.stopped, 1);
    server_free(&s);
}

static chopin_app *app_of_signal;
static void on_usr1(int sig) { (void)sig; chopin_stop(app_of_signal); }

static void stop_in_a_signal_handler(void) {
    struct sigaction act = { .sa_handler = on_usr1 }, old;
    server s;
    server_with(&s, NULL);
    server_start(&s, "127.0.0.1:0");
    app_of_signal = s.app;
    sigemptyset(&act.sa_mask);
    sigaction(SIGUSR1, &act, &old);
    raise(SIGUSR1);
    CHECK_EQ_INT(server_join(&s), CHOPIN_OK);
    sigaction(SIGUSR1, &old, NULL);
    server_free(&s);
}

static void stop_with_1000_idle_clients(void) {
    enum { CLIENTS = 1000 };
    static int fds[CLIENTS];
    server s;
    server_with(&s, NULL);
    int port = server_start(&s, "127.0.0.1:0");
    dial_many(fds, CLIENTS, port);
    for (int i = 0; i < CLIENTS; i += 2) CHECK_EQ_INT(ask_on(fds[i], PING), 200);   // half of them have been answered before
    UNTIL(chopin_counters_of(s.app).accepted == CLIENTS);
    int64_t from = now_ms();
    chopin_stop(s.app);
    CHECK_EQ_INT(server_join(&s), CHOPIN_OK);
    CHECK(now_ms() - from < 2000 * SLOW);
    for (int i = 0; i < CLIENTS; i++) CHECK(at_end(fds[i]));
    hang_up(fds, CLIENTS);
    server_free(&s);
}

static void short_drain(chopin_options *o) { o->drain_timeout_ms = 200; }

static void stop_with_a_stuck_one(void) {
    server s;
    reply  r;
    server_with(&s, short_drain);
    int port = server_start(&s, "127.0.0.1:0");
    int half = dial(port), stuck = dial(port);
    CHECK(say(half, "GET /ping HTTP/1.1\r\nHo"));
    CHECK(say(stuck, GET("/nap/3600000")));
    UNTIL(chopin_counters_of(s.app).parked == 1 && chopin_counters_of(s.app).receives >= 2);
    int64_t from = now_ms();
    chopin_stop(s.app);
    CHECK(hear(stuck, &r) >= 500);                           // its wait was cancelled, and it says so
    CHECK_EQ_INT(server_join(&s), CHOPIN_OK);
    CHECK(now_ms() - from >= 200 && now_ms() - from < 5000 * SLOW);
    char byte;
    CHECK(recv(half, &byte, 1, 0) <= 0);
    CHECK(strstr(s.log, "drain_timeout_ms passed"));
    close(half);
    close(stuck);
    server_free(&s);
}

/* The worker is held while clients connect and ask; it stops before it has accepted them. */
static int hold_and_stop(chopin_ctx *c) {
    server *s = chopin_app_user(c);
    sem_post(&s->up);
    usleep(200000 * SLOW);
    chopin_stop(s->app);
    return chopin_text(c, 200, "stopping");
}

static void stop_serves_what_the_kernel_has_accepted(void) {
    server s;
    int    fds[20];
    server_with(&s, NULL);
    chopin_route(s.app, "GET", "/hold", hold_and_stop, NULL);
    int port = server_start(&s, "127.0.0.1:0"), fd = dial(port), kept = dial(port);
    CHECK_EQ_INT(ask_on(kept, PING), 200);
    CHECK(say(fd, GET("/hold")));
    wait_for(&s.up, 60000, "the handler");
    dial_many(fds, 20, port);
    for (int i = 0; i < 20; i++) CHECK(say(fds[i], PING));
    CHECK_EQ_INT(ask_on(kept, PING), 200);                   // a request on an old connection was under way, too
    for (int i = 0; i < 20; i++) {
        reply r;
        CHECK_EQ_INT(hear(fds[i], &r), 200);
        CHECK(r.close && at_end(fds[i]));
    }
    CHECK_EQ_INT(server_join(&s), CHOPIN_OK);
    hang_up(fds, 20);
    close(fd);
    close(kept);
    server_free(&s);
}

static int stop_at_once(chopin_ctx *c) {
    server *s = chopin_app_user(c);
    sem_post(&s->up);
    usleep(30000);
    chopin_stop(s->app);
    return chopin_text(c, 200, "stopping");
}

/* Of the connections that the kernel had accepted some have not asked yet: they may, for a quarter of a second. Time is real here, so most of the tries must do. */
static void a_client_that_has_just_connected_may_still_ask(void) {
    int answered = 0;
    for (int i = 0; i < 5; i++) {
        server s;
        reply  r;
        server_with(&s, NULL);
        chopin_route(s.app, "GET", "/stop_at_once", stop_at_once, NULL);
        int port = server_start(&s, "127.0.0.1:0"), fd = dial(port);
        CHECK(say(fd, GET("/stop_at_once")));
        wait_for(&s.up, 60000, "the handler");
        int fresh = dial(port), silent = dial(port);
        CHECK_EQ_INT(hear(fd, &r), 200);
        usleep(10000);
        answered += ask_on(fresh, PING) == 200;
        CHECK(at_end(silent));
        CHECK_EQ_INT(server_join(&s), CHOPIN_OK);
        close(fd);
        close(fresh);
        close(silent);
        server_free(&s);
    }
    CHECK(answered >= 3);
}

static void restart_after_stop(void) {
    server s;
    server_with(&s, three_workers);
    for (int round = 0; round < 3; round++) {
        int port = server_start(&s, round ? NULL : "127.0.0.1:0");
        CHECK_EQ_INT(ask(port, PING), 200);
        chopin_stop(s.app);
        CHECK_EQ_INT(server_join(&s), CHOPIN_OK);
        CHECK_EQ_INT(s.started, 3 * (round + 1));
        CHECK_EQ_INT(s.stopped, 3 * (round + 1));
        CHECK_EQ_INT(chopin_port(s.app, 0), 0);
        CHECK(dial(port) < 0);
    }
    server_free(&s);
}

static void a_failed_start_may_be_repeated_elsewhere(void) {
    server s;
    server_with(&s, NULL);
    CHECK(chopin_serve(s.app, "fd:999") < 0);
    CHECK(chopin_serve(s.app, "127.0.0.1:0") < 0);           // the first failure is remembered
    CHECK(strstr(chopin_error(s.app), "fd:999"));
    server_free(&s);
}

/* ---- signals ---- */

static void ends_idle_and_answers_busy(int sig) {
    child k = spawn(&(chopin_options){ .quiet = true }, 0);
    int   idle[100], three[3];
    dial_many(idle, 100, k.port);
    for (int i = 0; i < 100; i++) CHECK_EQ_INT(ask_on(idle[i], PING), 200);
    dial_many(three, 3, k.port);
    for (int i = 0; i < 3; i++) CHECK(say(three[i], GET("/nap/700")));
    usleep(200000);
    int64_t from = now_ms();
    kill(k.pid, sig);
    for (int i = 0; i < 100; i++) CHECK(at_end(idle[i]));
    CHECK(now_ms() - from < 400 * SLOW);                     // before the busy ones are done
    CHECK(dial(k.port) < 0);
    for (int i = 0; i < 3; i++) {
        reply r;
        CHECK_EQ_INT(hear(three[i], &r), 200);
        CHECK_STR(r.body, "slept 700");
        CHECK(r.close);
    }
    CHECK(exited_with(ends(&k, 10000), 0));
    hang_up(idle, 100);
    hang_up(three, 3);
}

static void sigterm_closes_idle_clients_and_answers_busy_ones(void) { ends_idle_and_answers_busy(SIGTERM); }
static void sigint_does_the_same(void)                              { ends_idle_and_answers_busy(SIGINT); }

static void a_second_signal_ends_at_once(void) {
    for (int round = 0; round < 2; round++) {
        child k = spawn(&(chopin_options){ .quiet = true }, 0);
        int   fd = dial(k.port);
        CHECK(say(fd, GET("/nap/60000")));
        usleep(100000);
        kill(k.pid, SIGTERM);
        usleep(100000);
        CHECK(kill(k.pid, 0) == 0 && waitpid(k.pid, NULL, WNOHANG) == 0);        // it waits for the handler
        kill(k.pid, round ? SIGINT : SIGTERM);
        int status = ends(&k, 5000);
        CHECK(status != -1 && WIFSIGNALED(status) && WTERMSIG(status) == (round ? SIGINT : SIGTERM));
        close(fd);
    }
}

static void signals_are_given_back(void) {
    struct sigaction act = { .sa_handler = on_usr1 }, old, now;
    sigemptyset(&act.sa_mask);
    sigaction(SIGTERM, &act, &old);
    server s;
    chopin_options o = quiet_options(&s);
    o.no_signals = false;
    server_init(&s, &o);
    server_start(&s, "127.0.0.1:0");
    sigaction(SIGTERM, NULL, &now);
    CHECK(now.sa_handler != on_usr1);
    chopin_stop(s.app);
    CHECK_EQ_INT(server_join(&s), CHOPIN_OK);
    sigaction(SIGTERM, &old, &now);
    CHECK(now.sa_handler == on_usr1);
    server_free(&s);
}

/* ---- addresses ---- */

/* What chopin_error() says when the server cannot start there; "" if it could. */
static const char *error_of(const char *address, int status) {
    static char text[400];
    server s;
    server_with(&s, NULL);
    chopin_stop(s.app);                                      // should it start after all, it ends at once
    atomic_store(&s.app->site->stopping, false);
    int rc = chopin_listen(s.app, address);
    if (rc == CHOPIN_OK) rc = chopin_open(s.app);
    if (rc == CHOPIN_OK) chopin_close(s.app);
    CHECK_EQ_INT(rc, status);
    snprintf(text, sizeof text, "%s", chopin_error(s.app));
    if (status < 0) CHECK(strstr(s.log, text));              // and it was logged
    server_free(&s);
    return text;
}

static void listen_errors_name_address_and_reason(void) {
    struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof any;
    char address[64], name[200];
    int taken = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(taken, (struct sockaddr *)&any, sizeof any) == 0 && listen(taken, 1) == 0 && getsockname(taken, (struct sockaddr *)&any, &len) == 0);
    snprintf(address, sizeof address, "127.0.0.1:%d", ntohs(any.sin_port));
    const char *text = error_of(address, CHOPIN_ADDRESS);
    CHECK(strstr(text, address) && strstr(text, strerror(EADDRINUSE)));
    close(taken);

    const char *const bad[] = { "nonsense", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:-1", "127.0.0.1:8x", "[::1:80", "::1:80", "[::1]", "" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        text = error_of(bad[i], CHOPIN_INVALID);
        CHECK(strstr(text, bad[i]) && strstr(text, "address"));
    }
    memset(name, 'a', 70);                                   // a label of 70 characters is no name: nobody is asked
    snprintf(name + 70, sizeof name - 70, ".invalid:0");
    text = error_of(name, CHOPIN_ADDRESS);
    CHECK(strstr(text, name) && strlen(text) > strlen(name) + 20);

    text = error_of("192.0.2.1:0", CHOPIN_ADDRESS);          // not ours
    CHECK(strstr(text, "192.0.2.1:0") && strstr(text, strerror(EADDRNOTAVAIL)));
    text = error_of("fd:999", CHOPIN_ADDRESS);
    CHECK(strstr(text, "fd:999") && strstr(text, strerror(EBADF)));
    text = error_of("fd:abc", CHOPIN_INVALID);
    CHECK(strstr(text, "fd:abc"));
    int idle = socket(AF_INET, SOCK_STREAM, 0);
    snprintf(address, sizeof address, "fd:%d", idle);
    text = error_of(address, CHOPIN_ADDRESS);
    CHECK(strstr(text, address) && strstr(text, "does not listen"));
    close(idle);
    text = error_of("unix:/no/such/folder/x", CHOPIN_ADDRESS);
    CHECK(strstr(text, "unix:/no/such/folder/x") && strstr(text, strerror(ENOENT)));
    memset(name, 'p', 150);
    memcpy(name, "unix:/", 6);
    name[150] = 0;
    text = error_of(name, CHOPIN_ADDRESS);
    CHECK(strstr(text, strerror(ENAMETOOLONG)));
    unsetenv("LISTEN_FDS");
    text = error_of("systemd", CHOPIN_ADDRESS);
    CHECK(strstr(text, "LISTEN_FDS"));
    server s;
    server_with(&s, NULL);
    CHECK_EQ_INT(chopin_serve(s.app, NULL), CHOPIN_INVALID);
    CHECK(strstr(chopin_error(s.app), "no address"));
    server_free(&s);
}

/* As nobody, below the first port that needs no privilege. */
static void no_permission_is_named(void) {
    int   first = 0;
    FILE *in = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "r");
    if (in) { if (fscanf(in, "%d", &first) != 1) first = 0; fclose(in); }
    if (first < 2 || geteuid() != 0) return;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        if (setgid(65534) != 0 || setuid(65534) != 0) _exit(0);
        const char *text = error_of("127.0.0.1:1", CHOPIN_ADDRESS);
        _exit(strstr(text, "127.0.0.1:1") && strstr(text, strerror(EACCES)) && strstr(text, "privilege") ? 0 : 1);
    }
    child k = { pid, 0 };
    CHECK(exited_with(ends(&k, 20000), 0));
}

static bool has_ipv6(void) {
    struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int  fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&to, sizeof to) == 0;
    if (fd >= 0) close(fd);
    return ok;
}

static void several_addresses_at_once(void) {
    server s;
    char   dir[] = "/tmp/chopin_worker_XXXXXX", address[100];
    bool   six = has_ipv6();
    if (!CHECK(mkdtemp(dir) != NULL)) return;
    server_with(&s, three_workers);
    snprintf(address, sizeof address, "unix:%s/s", dir);
    CHECK_EQ_INT(chopin_listen(s.app, "127.0.0.1:0"), CHOPIN_OK);
    CHECK_EQ_INT(chopin_listen(s.app, address), CHOPIN_OK);
    CHECK_EQ_INT(chopin_listen(s.app, "localhost:0"), CHOPIN_OK);
    CHECK_EQ_INT(chopin_listen(s.app, ":0"), CHOPIN_OK);
    if (six) CHECK_EQ_INT(chopin_listen(s.app, "[::1]:0"), CHOPIN_OK);
    CHECK_EQ_INT(chopin_port(s.app, 0), 0);                  // not bound yet
    server_start(&s, NULL);
    for (int i = 0; i < 5 * 3; i++) {
        int nth = i % 5, port = chopin_port(s.app, nth);
        if (nth == 4 && !six) continue;
        int fd = nth == 1 ? dial_unix(address + 5) : nth == 4 ? dial6(port) : dial(port);
        CHECK_EQ_INT(port > 0, nth != 1);
        CHECK_EQ_INT(ask_on(fd, PING), 200);
        close(fd);
    }
    if (six) {                                               // ":0" is both families
        int fd = dial6(chopin_port(s.app, 3));
        CHECK_EQ_INT(ask_on(fd, PING), 200);
        close(fd);
    }
    CHECK_EQ_INT(chopin_port(s.app, 5), 0);
    CHECK_EQ_INT(chopin_listen(s.app, "127.0.0.1:0"), CHOPIN_STATE);
    CHECK_EQ_INT(chopin_serve(s.app, NULL), CHOPIN_STATE);
    chopin_stop(s.app);
    CHECK_EQ_INT(server_join(&s), CHOPIN_OK);
    server_free(&s);
    CHECK(access(address + 5, F_OK) != 0 && rmdir(dir) == 0);
}

static int listener_on(struct sockaddr *at, socklen_t len) {
    int fd = socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && bind(fd, at, len) == 0 && listen(fd, 4096) == 0);
    return fd;
}

static void unix_sockets_are_made_and_removed(void) {
    char   dir[] = "/tmp/chopin_worker_XXXXXX", address[100];
    struct stat st;
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    server s, other;
    if (!CHECK(mkdtemp(dir) != NULL)) return;
    snprintf(address, sizeof address, "unix:%s/s", dir);
    snprintf(at.sun_path, sizeof at.sun_path, "%s", address + 5);

    close(listener_on((struct sockaddr *)&at, sizeof at));   // a stale file: nobody answers
    server_with(&s, NULL);
    server_start(&s, address);
    CHECK(stat(address + 5, &st) == 0 && S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0660);
    int fd = dial_unix(address + 5);
    CHECK_EQ_INT(ask_on(fd, PING), 200);
    close(fd);

    server_with(&other, NULL);                               // a live one is not taken over
    CHECK_EQ_INT(chopin_serve(other.app, address), CHOPIN_ADDRESS);
    CHECK(strstr(chopin_error(other.app), address) && strstr(chopin_error(other.app), strerror(EADDRINUSE)));
    server_free(&other);
    CHECK_EQ_INT(ask_on(fd = dial_unix(address + 5), PING), 200);
    close(fd);
    server_end(&s);
    CHECK(stat(address + 5, &st) != 0);

    server_with(&s, NULL);                                   // a file that took its place meanwhile stays
    server_start(&s, address);
    CHECK(unlink(address + 5) == 0);
    fd = open(address + 5, O_CREAT | O_WRONLY, 0600);
    close(fd);
    server_end(&s);
    CHECK(stat(address + 5, &st) == 0 && S_ISREG(st.st_mode));

    server_with(&s, NULL);                                   // an ordinary file is no stale socket
    CHECK_EQ_INT(chopin_serve(s.app, address), CHOPIN_ADDRESS);
    CHECK(stat(address + 5, &st) == 0 && S_ISREG(st.st_mode));
    server_free(&s);
    unlink(address + 5);
    CHECK(rmdir(dir) == 0);
}

static void abstract_unix_sockets_leave_no_file(void) {
    server s;
    char   address[64];
    snprintf(address, sizeof address, "unix:@chopin-test-%ld", (long)getpid());
    server_with(&s, NULL);
    server_start(&s, address);
    int fd = dial_unix(address + 5);
    CHECK_EQ_INT(ask_on(fd, PING), 200);
    close(fd);
    CHECK_EQ_INT(chopin_port(s.app, 0), 0);
    server_end(&s);
    CHECK(dial_unix(address + 5) < 0);
}

static int loopback_listener(int *port) {
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    int fd = listener_on((struct sockaddr *)&at, sizeof at);
    CHECK(getsockname(fd, (struct sockaddr *)&at, &len) == 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static void inherited_descriptors_are_served_and_left_open(void) {
    server s;
    char   address[32];
    int    port, fd = loopback_listener(&port), listening = 0;
    socklen_t size = sizeof listening;
    snprintf(address, sizeof address, "fd:%d", fd);
    server_with(&s, three_workers);
    server_start(&s, address);
    CHECK_EQ_INT(chopin_port(s.app, 0), port);
    for (int i = 0; i < 10; i++) CHECK_EQ_INT(ask(port, PING), 200);
    server_end(&s);
    CHECK(getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening);
    int client = dial(port);                                 // whoever comes next serves it
    CHECK(client >= 0);
    close(client);
    close(fd);
}

static void systemd_passes_its_sockets(void) {
    int port, fd = loopback_listener(&port), port2, fd2 = loopback_listener(&port2), report[2];
    CHECK(pipe(report) == 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        static server s;
        char text[16];
        report_fd = fcntl(report[1], F_DUPFD, 100);
        int a = fcntl(fd, F_DUPFD, 100), b = fcntl(fd2, F_DUPFD, 100);
        dup2(a, 3);
        dup2(b, 4);
        chopin_options o = { .quiet = true, .workers = 1, .user = &s, .on_worker_start = report_port, .log = on_log };
        server_init(&s, &o);
        setenv("LISTEN_FDS", "2", 1);
        setenv("LISTEN_PID", "1", 1);
        if (chopin_listen(s.app, "systemd") == CHOPIN_OK) _exit(3);              // meant for another process
        snprintf(text, sizeof text, "%ld", (long)getpid());
        setenv("LISTEN_PID", text, 1);
        server_init(&s, &o);
        _exit(chopin_serve(s.app, "systemd") == CHOPIN_OK && chopin_port(s.app, 0) == 0 ? 0 : 1);
    }
    child k = { pid, 0 };
    close(fd);
    close(fd2);
    close(report[1]);
    if (CHECK(read(report[0], &k.port, sizeof k.port) == sizeof k.port)) {
        CHECK_EQ_INT(k.port, port);
        CHECK_EQ_INT(ask(port, PING), 200);
        CHECK_EQ_INT(ask(port2, PING), 200);
        kill(pid, SIGTERM);
    }
    CHECK(exited_with(ends(&k, 10000), 0));
    close(report[0]);
}

static void shares_its_port(chopin_options *o) { o->share_port = true; }

static void share_port_lets_a_second_server_run_beside(void) {
    server a, b, c;
    char   address[64];
    server_with(&a, NULL);
    int port = server_start(&a, "127.0.0.1:0");
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    server_with(&c, NULL);                                   // started by mistake
    CHECK_EQ_INT(chopin_serve(c.app, address), CHOPIN_ADDRESS);
    CHECK(strstr(chopin_error(c.app), "share_port"));
    server_free(&c);
    server_with(&b, shares_its_port);
    server_start(&b, address);
    for (int i = 0; i < 60; i++) CHECK_EQ_INT(ask(port, PING), 200);
    CHECK(a.served_by[0] > 0 && b.served_by[0] > 0);
    server_end(&a);
    for (int i = 0; i < 10; i++) CHECK_EQ_INT(ask(port, PING), 200);
    server_end(&b);
}

/* ---- under load ---- */

typedef struct load {
    pthread_t   thread;
    int         port;
    bool        keep;                        // several requests a connection
    _Atomic bool *ending;
    int         good, bad;
} load;

/* A correct client: it closes when it is told to, and every request it sends on an open connection must be answered with 200. */
static void *load_thread(void *arg) {
    load *l = arg;
    int   fd = -1;
    while (!atomic_load(l->ending)) {
        reply r = { .close = true };
        if (fd < 0) fd = dial(l->port);
        if (fd >= 0 && say(fd, PING) && hear(fd, &r) == 200) l->good++;
        else                                                 l->bad++;
        if (!l->keep || r.close || r.status != 200) { if (fd >= 0) close(fd); fd = -1; }
    }
    if (fd >= 0) close(fd);
    return NULL;
}

static void load_start(load *loads, int count, int port, _Atomic bool *ending, bool keep) {
    atomic_store(ending, false);
    for (int i = 0; i < count; i++) {
        loads[i] = (load){ .port = port, .keep = keep, .ending = ending };
        CHECK(pthread_create(&loads[i].thread, NULL, load_thread, &loads[i]) == 0);
    }
}

static int load_end(load *loads, int count, _Atomic bool *ending) {
    int good = 0;
    atomic_store(ending, true);
    for (int i = 0; i < count; i++) {
        pthread_join(loads[i].thread, NULL);
        CHECK_EQ_INT(loads[i].bad, 0);
        CHECK(loads[i].good > 0);
        good += loads[i].good;
    }
    return good;
}

static void restart_loses_no_connection(void) {
    static _Atomic bool ending;
    server s[2];
    load   loads[3];
    char   address[32];
    int    port, fd = loopback_listener(&port);
    snprintf(address, sizeof address, "fd:%d", fd);
    server_with(&s[0], NULL);
    server_start(&s[0], address);
    load_start(loads, 3, port, &ending, false);
    for (int round = 1; round <= 6; round++) {
        usleep(60000);
        server_with(&s[round % 2], NULL);
        server_start(&s[round % 2], address);
        usleep(10000);
        server_end(&s[1 - round % 2]);
    }
    CHECK(load_end(loads, 3, &ending) > 100 / SLOW);
    server_end(&s[0]);
    close(fd);
}

static void four_workers(chopin_options *o) { o->workers = 4; }

static void tuned(chopin_options *o) {
    o->workers = 2;
    o->pin_workers = o->steer_by_cpu = o->defer_accept = true;
    o->busy_poll_us = 50;
    o->fast_open = 16;
}

/* The options of the listener reach the system, and every connection still finds a worker. */
static void listeners_are_tuned_as_asked(void) {
    server s;
    server_with(&s, tuned);
    int port = server_start(&s, "127.0.0.1:0");
    int fd = s.app ? chopin__server_of(s.app)->workers[0]->listeners[0]->fd : -1;
    static const struct { int level, name; } on[] = { { IPPROTO_TCP, TCP_DEFER_ACCEPT }, { IPPROTO_TCP, TCP_FASTOPEN }, { SOL_SOCKET, SO_BUSY_POLL } };
    for (size_t i = 0; i < sizeof on / sizeof *on; i++) {
        int       value = 0;
        socklen_t size = sizeof value;
        CHECK(getsockopt(fd, on[i].level, on[i].name, &value, &size) == 0 && value > 0);
    }
    for (int i = 0; i < 40; i++) CHECK_EQ_INT(ask(port, PING), 200);
    cpu_set_t mine, before;
    sched_getaffinity(0, sizeof before, &before);
    for (int cpu = 0; cpu < 2 && CPU_COUNT(&before) >= 2; cpu++) {             // loopback: a connection comes in on the CPU of its client
        int of_it = 0, from = atomic_load(&s.served_by[cpu]);
        CPU_ZERO(&mine);
        CPU_SET((size_t)cpu, &mine);
        if (sched_setaffinity(0, sizeof mine, &mine) != 0) break;
        for (int i = 0; i < 40; i++) CHECK_EQ_INT(ask(port, PING), 200);
        of_it = atomic_load(&s.served_by[cpu]) - from;
        CHECK(of_it >= 30);
    }
    sched_setaffinity(0, sizeof before, &before);
    server_end(&s);
}

static void by_reno(chopin_options *o) { o->congestion = "reno"; }
static void no_such_congestion(chopin_options *o) { o->congestion = "no-such"; }

static bool has_v6(void) {
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    if (fd >= 0) close(fd);
    return fd >= 0;
}
static bool congestion_is(int fd, const char *want) {
    char      name[17] = "";
    socklen_t size = sizeof name - 1;
    return getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &size) == 0 && !strcmp(name, want);
}
static bool congestion_set(int fd, const char *name) { return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) == 0; }

/* What a listener there has that had `usual` before it was asked for `asked`. */
static bool congestion_becomes(const char *address, const char *usual, const char *asked, const char *want) {
    chopin__where           where;
    struct sockaddr_storage to;
    socklen_t               len;
    CHECK(chopin__where_parse(chopin__str_z(address), &where) && chopin__resolve(&where, &to, &len) == 0);
    int fd = socket(to.ss_family, SOCK_STREAM, 0);
    CHECK(congestion_set(fd, usual));
    chopin__listen_congestion(asked, fd, (struct sockaddr *)&to);
    bool right = congestion_is(fd, want);
    close(fd);
    return right;
}
static void accepted_sockets_inherit(const char *name) {
    struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          size = sizeof any;
    int                fd = socket(AF_INET, SOCK_STREAM, 0);
    chopin__listen_congestion(name, fd, (struct sockaddr *)&any);
    CHECK(bind(fd, (struct sockaddr *)&any, size) == 0 && listen(fd, 1) == 0 && getsockname(fd, (struct sockaddr *)&any, &size) == 0);
    int client = dial(ntohs(any.sin_port)), accepted = accept(fd, NULL, NULL);
    CHECK(congestion_is(accepted, name));
    close(accepted);
    close(client);
    close(fd);
}
/* BBR is there on few systems; what may be used is asked first. */
static void loopback_is_not_paced(void) {
    int  fd = socket(AF_INET, SOCK_STREAM, 0);
    bool bbr = congestion_set(fd, "bbr"), cubic = congestion_set(fd, "cubic");
    close(fd);
    if (bbr) {
        CHECK(congestion_becomes("127.0.0.1:80", "bbr", NULL, "reno"));
        CHECK(congestion_becomes("127.1.2.3:80", "bbr", NULL, "reno"));
        CHECK(!has_v6() || congestion_becomes("[::1]:80", "bbr", NULL, "reno"));
        CHECK(congestion_becomes("192.0.2.1:80", "bbr", NULL, "bbr"));
        CHECK(!has_v6() || congestion_becomes("[2001:db8::1]:80", "bbr", NULL, "bbr"));
        CHECK(congestion_becomes("127.0.0.1:80", "reno", "bbr", "bbr"));
    }
    if (cubic) CHECK(congestion_becomes("127.0.0.1:80", "cubic", NULL, "cubic"));
    if (cubic) accepted_sockets_inherit("cubic");
    accepted_sockets_inherit("reno");
    CHECK(congestion_becomes("192.0.2.1:80", "reno", NULL, "reno"));
}
static void congestion_is_as_asked(void) {
    server s;
    server_with(&s, by_reno);
    CHECK(server_start(&s, "0.0.0.0:0") > 0);
    CHECK(congestion_is(chopin__server_of(s.app)->workers[0]->listeners[0]->fd, "reno"));
    server_end(&s);
    server_with(&s, no_such_congestion);
    CHECK_EQ_INT(chopin_listen(s.app, "127.0.0.1:0"), CHOPIN_OK);
    CHECK_EQ_INT(chopin_open(s.app), CHOPIN_INVALID);
    CHECK(strstr(chopin_error(s.app), "chopin_options.congestion \"no-such\""));
    server_free(&s);
}

enum { LARGE_ECHO = 4 << 20 };

static void deferred(chopin_options *o) {
    o->defer_accept = true;
    o->max_body = LARGE_ECHO;
}

/* Sends it all, then reads it all: meanwhile the reply does not fit into the socket. */
static bool echoes_large_body(int fd) {
    static char sent[LARGE_ECHO], got[LARGE_ECHO];
    char        head[4096];
    ssize_t     n = 0;
    for (size_t i = 0; i < sizeof sent; i++) sent[i] = (char)('a' + i % 23);
    if (!say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4194304\r\n\r\n") || !say_bytes(fd, sent, sizeof sent)) return false;
    usleep(20000);
    size_t len = 0, skip = 0;
    while (!skip && len < sizeof head - 1 && (n = recv(fd, head + len, sizeof head - 1 - len, 0)) > 0) {
        len += (size_t)n;
        head[len] = 0;
        const char *end = strstr(head, "\r\n\r\n");
        skip = end ? (size_t)(end + 4 - head) : 0;
    }
    size_t have = len - skip;
    memcpy(got, head + skip, have);
    while (have < sizeof got && (n = recv(fd, got + have, sizeof got - have, 0)) > 0) have += (size_t)n;
    return have == sizeof got && !memcmp(sent, got, sizeof got);
}

/* Who is accepted with bytes is read before the system watches it. It is watched all the same: for the rest of a head, for the next request, for room, for a farewell. */
static void those_who_speak_first_are_watched_later(void) {
    server s;
    server_with(&s, deferred);
    int port = server_start(&s, "127.0.0.1:0"), fd = dial(port);
    for (int i = 0; i < 3; i++) CHECK_EQ_INT(ask_on(fd, PING), 200);
    close(fd);
    fd = dial(port);
    CHECK(say(fd, "GET /ping HT"));
    usleep(20000);
    CHECK_EQ_INT(ask_on(fd, "TP/1.1\r\nHost: x\r\n\r\n"), 200);
    close(fd);
    fd = dial(port);
    CHECK(echoes_large_body(fd));
    CHECK_EQ_INT(ask_on(fd, "GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 200);
    CHECK(at_end(fd));
    close(fd);
    fd = dial(port);
    uint64_t parked = chopin_counters_of(s.app).parked;
    CHECK(say(fd, GET("/nap/20000")));
    UNTIL(chopin_counters_of(s.app).parked > parked);
    reset(fd);
    UNTIL(chopin_counters_of(s.app).closed == 4);
    server_end(&s);
}

static void many_workers_accept(void) {
    static int fds[400];
    server s;
    server_with(&s, four_workers);
    int port = server_start(&s, "127.0.0.1:0");
    dial_many(fds, 400, port);
    for (int i = 0; i < 400; i++) CHECK(say(fds[i], PING));
    for (int i = 0; i < 400; i++) {
        reply r;
        CHECK_EQ_INT(hear(fds[i], &r), 200);
    }
    for (int i = 0; i < 4; i++) CHECK(s.served_by[i] > 0);
    CHECK_EQ_INT(chopin_counters_of(s.app).accepted, 400);
    CHECK_EQ_INT(chopin_counters_of(s.app).requests, 400);
    hang_up(fds, 400);
    UNTIL(chopin_counters_of(s.app).closed == 400);
    server_end(&s);
}

static void a_thousand_sleeping_requests_finish_together(void) {
    enum { CLIENTS = 1000 };
    static int fds[CLIENTS];
    server s;
    server_with(&s, NULL);
    int port = server_start(&s, "127.0.0.1:0");
    dial_many(fds, CLIENTS, port);
    int64_t from = now_ms();
    for (int i = 0; i < CLIENTS; i++) CHECK(say(fds[i], GET("/nap/1000")));
    for (int i = 0; i < CLIENTS; i++) {
        reply r;
        CHECK_EQ_INT(hear(fds[i], &r), 200);
    }
    CHECK(now_ms() - from >= 1000);
    CHECK(now_ms() - from < 3000 * SLOW);
    hang_up(fds, CLIENTS);
    server_end(&s);
}

/* ---- the system's limits ---- */

static void emfile_recovers_by_itself(void) {
    child k = spawn(&(chopin_options){ .quiet = true }, 40);
    int   fds[80], served = 0, refused = 0;
    for (int i = 0; i < 80; i++) {
        reply r;
        fds[i] = dial(k.port);
        if (!CHECK(fds[i] >= 0)) continue;
        int status = say(fds[i], PING) ? hear(fds[i], &r) : 0;
        served += status == 200;
        refused += status == 503 || status == 0;             // ready bytes and a close, which our request may turn into a reset
    }
    CHECK(served >= 20 && served < 40);
    CHECK_EQ_INT(served + refused, 80);
    CHECK_EQ_INT(ask_on(fds[0], PING), 200);                 // those who are in are served
    hang_up(fds, 80);
    int64_t until = now_ms() + 20000;
    while (ask(k.port, PING) != 200 && CHECK(now_ms() < until)) usleep(5000);
    for (int i = 0; i < 100; i++) CHECK_EQ_INT(ask(k.port, PING), 200);
    kill(k.pid, SIGTERM);
    CHECK(exited_with(ends(&k, 10000), 0));
}

static int health(chopin_ctx *c) { return chopin_text(c, 200, "well"); }
static void five_connections(chopin_options *o) { o->max_connections = 5; }

static void one_connection_too_many_is_503(void) {
    server s;
    int    fds[5];
    reply  r;
    server_with(&s, five_connections);
    chopin_route(s.app, "GET", "/health", health, NULL);
    int port = server_start(&s, "127.0.0.1:0");
    dial_many(fds, 5, port);
    for (int i = 0; i < 5; i++) CHECK_EQ_INT(ask_on(fds[i], PING), 200);
    int fd = dial(port);
    CHECK(say(fd, PING));
    CHECK_EQ_INT(hear(fd, &r), 503);
    CHECK(r.close && strstr(r.text, "Retry-After: 1\r\n") && at_end(fd));
    close(fd);
    CHECK_EQ_INT(ask(port, GET("/health")), 200);
    for (int i = 0; i < 5; i++) CHECK_EQ_INT(ask_on(fds[i], PING), 200);
    close(fds[4]);
    UNTIL(chopin_counters_of(s.app).closed == chopin_counters_of(s.app).accepted - 4);
    CHECK_EQ_INT(ask(port, PING), 200);
    hang_up(fds, 4);
    server_end(&s);
}

static void idle_server_makes_no_system_call(void) {
    server s;
    int    fds[50];
    server_with(&s, NULL);
    int port = server_start(&s, "127.0.0.1:0");
    dial_many(fds, 50, port);
    for (int i = 0; i < 50; i++) CHECK_EQ_INT(ask_on(fds[i], PING), 200);
    usleep(50000);
    chopin_counters a = chopin_counters_of(s.app);
    usleep(1200000);
    chopin_counters b = chopin_counters_of(s.app);
    CHECK(a.waits > 0);
    CHECK(b.waits <= a.waits + 1);                           // one, if the last turn had not begun to wait
    CHECK_EQ_INT(b.receives, a.receives);
    CHECK_EQ_INT(b.sends, a.sends);
    hang_up(fds, 50);
    server_end(&s);
}

/* The value of a line of /proc/self/status in KiB. */
static long status_kib(const char *name) {
    char  line[200];
    long  value = -1;
    FILE *in = fopen("/proc/self/status", "r");
    while (in && fgets(line, sizeof line, in)) {
        if (strncmp(line, name, strlen(name)) == 0) value = strtol(line + strlen(name), NULL, 10);
    }
    if (in) fclose(in);
    return value;
}

/* `test_worker resident`: a program of its own, so that nothing but the server is measured. */
static int print_resident(void) {
    server s;
    server_with(&s, NULL);
    CHECK_EQ_INT(chopin_options_of(s.app)->max_connections, 16000);
    server_start(&s, "127.0.0.1:0");
    printf("%ld\n", status_kib("VmRSS:"));
    server_end(&s);
    return 0;
}

static void default_capacity_is_under_8_mib_resident(void) {
    char path[400], command[450], line[64] = "";
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (!SANE || !CHECK(n > 0)) return;
    path[n] = 0;
    snprintf(command, sizeof command, "'%s' resident", path);
    FILE *in = popen(command, "r");
    CHECK(in && fgets(line, sizeof line, in));
    if (in) pclose(in);
    CHECK(strtol(line, NULL, 10) > 100);
    CHECK(strtol(line, NULL, 10) < 8 * 1024);
}

static void short_timeouts(chopin_options *o) {
    o->idle_timeout_ms = 300;
    o->header_timeout_ms = 600;
}

static void clock_steps_do_not_matter(void) {
    server s;
    reply  r;
    char   before[64], after[64];
    server_with(&s, short_timeouts);
    int port = server_start(&s, "127.0.0.1:0"), fd = dial(port);
    CHECK(say(fd, GET("/nap/400")));
    atomic_store(&wall_shift_s, -3600);
    int64_t from = now_ms();
    CHECK_EQ_INT(hear(fd, &r), 200);
    CHECK(now_ms() - from >= 350 && now_ms() - from < 1500 * SLOW);
    snprintf(before, sizeof before, "%.29s", strstr(r.text, "Date: ") ? strstr(r.text, "Date: ") + 6 : "");
    CHECK(at_end(fd));                                       // idle_timeout_ms, as ever
    CHECK(now_ms() - from >= 600 && now_ms() - from < 2500 * SLOW);
    close(fd);
    atomic_store(&wall_shift_s, 7200);
    usleep(1100000);
    fd = dial(port);
    CHECK(say(fd, PING) && hear(fd, &r) == 200);
    snprintf(after, sizeof after, "%.29s", strstr(r.text, "Date: ") ? strstr(r.text, "Date: ") + 6 : "");
    CHECK(strlen(before) == 29 && strlen(after) == 29 && strcmp(before, after) != 0);   // Date follows the wall clock within a second
    CHECK_EQ_INT(ask_on(fd, PING), 200);
    atomic_store(&wall_shift_s, 0);
    CHECK(at_end(fd));
    close(fd);
    server_end(&s);
}

static void thousands_of_connects_allocate_nothing(void) {
    server s;
    server_with(&s, NULL);
    int port = server_start(&s, "127.0.0.1:0");
    for (int i = 0; i < 10; i++) CHECK_EQ_INT(ask(port, PING), 200);
    uint64_t before = chopin_counters_of(s.app).allocations;
    for (int i = 0; i < 3000 / SLOW; i++) CHECK_EQ_INT(ask(port, PING), 200);
    CHECK_EQ_INT(chopin_counters_of(s.app).allocations, before);
    server_end(&s);
}

/* ---- clients that are slow, early, or leave ---- */

static void request_and_fin_in_one_segment(void) {
    server s;
    reply  r;
    server_with(&s, NULL);
    int port = server_start(&s, "127.0.0.1:0");
    for (int i = 0; i < 20; i++) {
        int fd = dial(port), cork = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_CORK, &cork, sizeof cork);               // so that they travel together
        CHECK(say(fd, i % 2 ? PING : GET("/nap/20")) && shutdown(fd, SHUT_WR) == 0);
        CHECK_EQ_INT(hear(fd, &r), 200);
        CHECK(at_end(fd));
        close(fd);
    }
    int64_t from = now_ms();
    int fd = dial(port), cork = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_CORK, &cork, sizeof cork);
    CHECK(say(fd, "GET /ping HTTP/1.1\r\nHo") && shutdown(fd, SHUT_WR) == 0);
    CHECK(at_end(fd));
    CHECK(now_ms() - from < 5000);                           // at once, not at header_timeout_ms
    close(fd);
    UNTIL(chopin_counters_of(s.app).closed == 21);
    server_end(&s);
}

static void idle_and_dripping_clients_are_ended(void) {
    server s;
    reply  r;
    server_with(&s, short_timeouts);
    int port = server_start(&s, "127.0.0.1:0");
    int64_t from = now_ms();
    int fd = dial(port);
    CHECK(at_end(fd));                                       // never said a word
    CHECK(now_ms() - from >= 290);
    close(fd);
    fd = dial(port);
    CHECK_EQ_INT(ask_on(fd, PING), 200);
    CHECK(at_end(fd));
    close(fd);
    fd = dial(port);
    from = now_ms();
    const char *head = "GET /ping HTTP/1.1\r\nHost: x\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    for (size_t i = 0; head[i] && send(fd, head + i, 1, MSG_NOSIGNAL) == 1; i++) {
        char byte;
        usleep(30000);
        if (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1) break;
    }
    CHECK_EQ_INT(hear(fd, &r), 408);                         // a byte renews nothing
    CHECK(r.close && now_ms() - from >= 590 && now_ms() - from < 2500 * SLOW);
    close(fd);
    server_end(&s);
}

static void same_reply_for_every_split(void) {
    static const struct { const char *text; int status; const char *body; } requests[] = {
        { "GET /ping?a=b HTTP/1.1\r\nHost: example.test:80\r\nAccept: */*\r\nCookie: a=b; c=d\r\n\r\n", 200, "pong" },
        { "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello world", 200, "hello world" },
        { "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nWiki\r\n5\r\npedia\r\n0\r\nX-T: v\r\n\r\n", 200, "Wikipedia" },
        { "\r\nGET /none HTTP/1.1\r\nHost: x\r\n\r\n", 404, NULL },
    };
    server s;
    reply  r;
    server_with(&s, NULL);
    int port = server_start(&s, "127.0.0.1:0"), fd = dial(port);
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        size_t len = strlen(requests[i].text);
        for (size_t at = 1; at < len; at++) {
            uint64_t before = chopin_counters_of(s.app).receives;
            CHECK(say_bytes(fd, requests[i].text, at));
            UNTIL(chopin_counters_of(s.app).receives > before);                  // the server has seen the first part
            CHECK(say_bytes(fd, requests[i].text + at, len - at));
            if (!CHECK_EQ_INT(hear(fd, &r), requests[i].status)) { close(fd); fd = dial(port); continue; }
            if (requests[i].body) CHECK_STR(r.body, requests[i].body);
        }
    }
    close(fd);
    server_end(&s);
}

static void patient_linger(chopin_options *o) { o->linger_ms = 30000; }

static void early_error_reaches_a_client_that_keeps_sending(void) {
    static char block[65536];
    server s;
    reply  r;
    server_with(&s, patient_linger);
    int port = server_start(&s, "127.0.0.1:0");
    for (int chunked = 0; chunked < 2; chunked++) {
        int  fd = dial(port);
        bool ok = say(fd, chunked ? "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n" : "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 20971520\r\n\r\n");
        for (size_t sent = 0; ok && sent < 10 * 1024 * 1024; sent += sizeof block) ok = say_bytes(fd, block, sizeof block);
        CHECK(ok);                                           // no reset while it sends
        CHECK_EQ_INT(hear(fd, &r), 413);
        CHECK(r.close && kit_has(r.body, "\"status\":413"));
        CHECK(at_end(fd));
        close(fd);
    }
    server_end(&s);
}

/* ---- hooks, options, embedding ---- */

static void a_failing_start_hook_stops_the_start(void) {
    for (int worker = 0; worker < 3; worker++) {
        server s;
        server_with(&s, three_workers);
        s.refuse_worker = worker;
        server_run(&s, "127.0.0.1:0");
        CHECK_EQ_INT(server_join(&s), CHOPIN_MISSING);
        CHECK(strstr(chopin_error(s.app), "on_worker_start"));
        CHECK_EQ_INT(s.started, 3);
        CHECK_EQ_INT(s.stopped, 2);                             // the one that failed has nothing to stop
        server_free(&s);
    }
}

static void *mark(void *text) { return text; }

static int keep_user(chopin_worker *w, void *user) {
    chopin_worker_set_user(w, mark((void *)(uintptr_t)"pool"));
    return on_start(w, user);
}

static int tell_user(chopin_ctx *c) { return chopin_text(c, 200, chopin_worker_user(c)); }

static void drop_user(chopin_worker *w, void *user) {
    CHECK(strcmp(chopin_worker_get_user(w), "pool") == 0);
    on_stop(w, user);
}

static void hooks_run_on_every_worker(void) {
    server s;
    reply  r;
    chopin_options o = quiet_options(&s);
    o.workers = 3;
    o.on_worker_start = keep_user;
    o.on_worker_stop = drop_user;
    server_init(&s, &o);
    chopin_route(s.app, "GET", "/user", tell_user, NULL);
    int port = server_start(&s, "127.0.0.1:0");
    for (int i = 0; i < 20; i++) {
        int fd = dial(port);
        CHECK(say(fd, GET("/user")) && hear(fd, &r) == 200);
        CHECK_STR(r.body, "pool");
        close(fd);
    }
    chopin_stop(s.app);
    CHECK_EQ_INT(server_join(&s), CHOPIN_OK);
    CHECK(s.started == 3 && s.stopped == 3);
    server_free(&s);
}

static void bad_environment_stops_the_start(void) {
    static const struct { const char *name, *good; const char *bad[6]; } vars[] = {
        { "CHOPIN_WORKERS",          "3",    { "0", "-1", "x", "", "4097", "2.5" } },
        { "CHOPIN_SLAB_CAPACITY",    "77",   { "0", "-1", "many", "", "99999999999", "1e3" } },
        { "CHOPIN_EPOLL_TIMEOUT_MS", "250",  { "-1", "x", "", "3600001", "1 ", "+1" } },
        { "CHOPIN_READ_BUF_SIZE",    "8192", { "0", "511", "x", "", "1048577", "8k" } },
        { "CHOPIN_WRITE_BUF_SIZE",   "8192", { "0", "511", "x", "", "1048577", "99999999999999999999" } },
        { "CHOPIN_BACKEND",          "auto", { "kpoll", "", "EPOLL", "select", "io_uring", "?" } },
    };
    server s;
    chopin_options o = quiet_options(&s);
    o.workers = 0;
    o.no_env = false;
    o.backend = NULL;
    for (size_t i = 0; i < sizeof vars / sizeof *vars; i++) {
        for (size_t k = 0; k < 6; k++) {
            setenv(vars[i].name, vars[i].bad[k], 1);
            server_init(&s, &o);
            CHECK_EQ_INT(chopin_serve(s.app, "127.0.0.1:0"), CHOPIN_INVALID);
            CHECK_EQ_INT(s.started, 0);
            bool named = strstr(chopin_error(s.app), i == 5 ? "backend" : vars[i].name) && strstr(chopin_error(s.app), vars[i].bad[k]);
            if (!CHECK(named)) printf("  %s=%s gave \"%s\"\n", vars[i].name, vars[i].bad[k], chopin_error(s.app));
            server_free(&s);
        }
        setenv(vars[i].name, vars[i].bad[0], 1);             // ignored
        chopin_options deaf = o;
        deaf.no_env = true;
        server_init(&s, &deaf);
        CHECK_STR(((chopin_str){ chopin_error(s.app), strlen(chopin_error(s.app)) }), "");
        server_free(&s);
        setenv(vars[i].name, vars[i].good, 1);
    }
    server_init(&s, &o);
    const chopin_options *in_force = chopin_options_of(s.app);
    CHECK(in_force->workers == 3 && in_force->max_connections == 77 && in_force->epoll_timeout_ms == 250);
    CHECK(in_force->read_buffer == 8192 && in_force->write_buffer == 8192 && strcmp(in_force->backend, "auto") == 0);
    int port = server_start(&s, "127.0.0.1:0");
    CHECK_EQ_INT(ask(port, PING), 200);
    server_end(&s);
    o.workers = 1;                                           // an option wins over the environment
    o.max_connections = 12;
    server_init(&s, &o);
    CHECK(chopin_options_of(s.app)->workers == 1 && chopin_options_of(s.app)->max_connections == 12);
    server_free(&s);
    for (size_t i = 0; i < sizeof vars / sizeof *vars; i++) unsetenv(vars[i].name);
}

static void an_unavailable_backend_falls_back_with_a_line(void) {
    server s;
    chopin_options o = quiet_options(&s);
    o.backend = "kqueue";
    server_init(&s, &o);
    int port = server_start(&s, "127.0.0.1:0");
    CHECK_EQ_INT(ask(port, PING), 200);
    chopin_stop(s.app);
    CHECK_EQ_INT(server_join(&s), CHOPIN_OK);
    CHECK(strstr(s.log, "epoll serves: this system has no kqueue"));
    server_free(&s);
}

static void one_ms_turns(chopin_options *o) { o->epoll_timeout_ms = 20; }

/* From here on this system call says EPERM to this process, as under the seccomp filters of containers. */
static bool forbid(unsigned call) {
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof steps / sizeof *steps, steps };
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void by_uring(chopin_options *o) { o->backend = "uring"; }
static void by_whatever(chopin_options *o) { o->backend = "auto"; }

static int serves_without_uring(void (*change)(chopin_options *o)) {
    server s;
    server_with(&s, change);
    int port = server_start(&s, "127.0.0.1:0");
    bool ok = CHECK_EQ_INT(ask(port, PING), 200);
    ok = CHECK(strstr(s.log, "epoll serves: io_uring lacks io_uring_setup()") && strstr(s.log, strerror(EPERM))) && ok;
    const char *first = strstr(s.log, "io_uring lacks");
    ok = CHECK(first && !strstr(first + 1, "io_uring lacks")) && ok;             // said once
    server_end(&s);
    return ok ? 0 : 1;
}

/* Runs in a child: the filter stays for ever. */
static void where_forbidden(unsigned call, int (*test)(void)) {
    pid_t pid = fork();
    if (pid == 0) {
        int rc = forbid(call) ? test() : 77;
        fflush(NULL);
        _exit(rc);
    }
    int status = -1;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) printf("  skipped: no seccomp here\n");
    else CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int falls_back(void) { return serves_without_uring(by_uring) + serves_without_uring(by_whatever); }
static void a_forbidden_uring_falls_back_to_epoll(void) { where_forbidden(SYS_io_uring_setup, falls_back); }

/* Without an alarm each sleep has a limit of its own. */
static int naps_in_time(void) {
    server s;
    server_with(&s, NULL);
    int port = server_start(&s, "127.0.0.1:0"), fd = dial(port);
    int64_t from = now_ms();
    bool ok = CHECK_EQ_INT(ask_on(fd, GET("/nap/50")), 200) && CHECK(now_ms() - from >= 50);
    ok = CHECK_EQ_INT(ask_on(fd, GET("/nap/1")), 200) && ok;
    close(fd);
    server_end(&s);
    return ok ? 0 : 1;
}
static void timers_run_without_timerfd(void) { where_forbidden(SYS_timerfd_create, naps_in_time); }

static bool uring_works(void) {
    struct { uint32_t words[30]; } params = { { 0 } };
    long fd = syscall(425, 4, &params);
    if (fd >= 0) close((int)fd);
    return fd >= 0;
}

static void by_sqpoll(chopin_options *o) { o->backend = "uring"; o->sqpoll = true; }

static void a_kernel_thread_may_submit(void) {
    server s;
    if (!uring_works()) { printf("  skipped: no io_uring here\n"); return; }
    server_with(&s, by_sqpoll);
    int port = server_start(&s, "127.0.0.1:0"), fd = dial(port);
    CHECK(strstr(s.log, "uring)"));
    for (int i = 0; i < 200; i++) CHECK_EQ_INT(ask_on(fd, PING), 200);
    usleep(150000);                                          // it sleeps after a while, and is woken
    for (int i = 0; i < 20; i++) CHECK_EQ_INT(ask(port, PING), 200);
    CHECK_EQ_INT(ask(port, GET("/nap/20")), 200);
    close(fd);
    server_end(&s);
}

static void epoll_timeout_bounds_one_wait(void) {
    server s;
    server_with(&s, one_ms_turns);
    server_start(&s, "127.0.0.1:0");
    uint64_t before = chopin_counters_of(s.app).waits;
    UNTIL(chopin_counters_of(s.app).waits >= before + 5);
    server_end(&s);
}

/* A client of the embedded server: says when it is done through `down`. */
static void *embedded_client(void *arg) {
    server *s = arg;
    s->rc = 0;
    for (int i = 0; i < 5; i++) s->rc += ask(s->refuse_worker, i % 2 ? GET("/nap/30") : PING);
    sem_post(&s->down);
    return NULL;
}

static void embedding_into_another_loop(void) {
    server s;
    server_with(&s, NULL);
    CHECK_EQ_INT(chopin_listen(s.app, "127.0.0.1:0"), CHOPIN_OK);
    CHECK_EQ_INT(chopin_fd(s.app), -1);
    CHECK_EQ_INT(chopin_next_deadline(s.app), -1);
    CHECK(chopin_step(s.app, 0) < 0);
    for (int round = 0; round < 2; round++) {
        if (!CHECK_EQ_INT(chopin_open(s.app), CHOPIN_OK)) break;
        CHECK_EQ_INT(chopin_open(s.app), CHOPIN_STATE);
        CHECK(chopin_fd(s.app) >= 0);
        CHECK_EQ_INT(chopin_step(s.app, 0), 1);
        CHECK_EQ_INT(chopin_next_deadline(s.app), -1);       // nobody there: nothing to do, ever
        int64_t from = now_ms();
        CHECK_EQ_INT(chopin_step(s.app, 50), 1);
        CHECK(now_ms() - from >= 49);
        s.refuse_worker = chopin_port(s.app, 0);             // the port, for the client
        CHECK(pthread_create(&s.thread, NULL, embedded_client, &s) == 0);
        bool deadline_seen = false;
        for (from = now_ms(); sem_trywait(&s.down) != 0 && CHECK(now_ms() - from < 30000); ) {
            struct pollfd p = { .fd = chopin_fd(s.app), .events = POLLIN };
            int left = chopin_next_deadline(s.app);
            deadline_seen = deadline_seen || (left >= 0 && left <= 30);
            poll(&p, 1, left < 0 || left > 20 ? 20 : left);
            CHECK_EQ_INT(chopin_step(s.app, 0), 1);
        }
        pthread_join(s.thread, NULL);
        CHECK_EQ_INT(s.rc, 5 * 200);
        CHECK(deadline_seen);
        int fd = dial(chopin_port(s.app, 0));                // a connection has an idle deadline
        while (chopin_counters_of(s.app).accepted < 6) CHECK_EQ_INT(chopin_step(s.app, 1000), 1);
        CHECK(chopin_next_deadline(s.app) >= 0 && chopin_next_deadline(s.app) <= 60000);
        chopin_stop(s.app);
        int more = 1;
        for (int i = 0; i < 1000 && more == 1; i++) more = chopin_step(s.app, 10);
        CHECK_EQ_INT(more, 0);
        CHECK_EQ_INT(chopin_step(s.app, 0), 0);
        CHECK(at_end(fd));
        close(fd);
        chopin_close(s.app);
        chopin_close(s.app);
        CHECK_EQ_INT(chopin_fd(s.app), -1);
    }
    CHECK(s.started == 2 && s.stopped == 2);
    server_free(&s);
}

static int count_body(chopin_ctx *c) {
    chopin_str body = chopin_body(c);
    return body.ptr ? chopin_textf(c, 200, "%zu", body.len) : CHOPIN_ANSWERED;
}

enum { LARGE_POST = 900000 };

static void *posting_client(void *arg) {
    server *s = arg;
    char   *bytes = calloc(1, LARGE_POST);
    reply   r;
    int     fd = dial(s->refuse_worker);
    bool    ok = bytes && say(fd, "POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n") && say_bytes(fd, bytes, LARGE_POST);
    s->rc = ok && hear(fd, &r) == 200 ? atoi(r.body.ptr) : -1;
    atomic_store(&s->served_by[0], 1);
    close(fd);
    free(bytes);
    sem_post(&s->down);
    return NULL;
}

/* A step that stopped half-way through what the kernel holds must say so: epoll, edge-triggered, will not. */
static void embedding_loses_no_readiness(void) {
    server s;
    server_with(&s, NULL);
    chopin_route(s.app, "POST", "/count", count_body, NULL);
    chopin_listen(s.app, "127.0.0.1:0");
    if (CHECK_EQ_INT(chopin_open(s.app), CHOPIN_OK)) {
        s.refuse_worker = chopin_port(s.app, 0);
        CHECK(pthread_create(&s.thread, NULL, posting_client, &s) == 0);
        for (int64_t from = now_ms(); sem_trywait(&s.down) != 0 && CHECK(now_ms() - from < 8000); ) {      // header and stall deadlines are later
            struct pollfd p = { .fd = chopin_fd(s.app), .events = POLLIN };
            poll(&p, 1, atomic_load(&s.served_by[0]) ? 5 : chopin_next_deadline(s.app));
            CHECK_EQ_INT(chopin_step(s.app, 0), 1);
        }
        pthread_join(s.thread, NULL);
        CHECK_EQ_INT(s.rc, LARGE_POST);
        chopin_close(s.app);
    }
    server_free(&s);
}

static int cleaned;
static void clean(void *arg) { (void)arg; cleaned++; }

static int endless_nap(chopin_ctx *c) {
    chopin_defer(c, clean, NULL);
    int rc = chopin_sleep(c, 3600000);
    CHECK(rc == CHOPIN_CANCELED || rc == CHOPIN_GONE);
    return rc;
}

static void close_ends_an_embedded_server_at_once(void) {
    server s;
    server_with(&s, NULL);
    chopin_route(s.app, "GET", "/endless", endless_nap, NULL);
    cleaned = 0;
    chopin_listen(s.app, "127.0.0.1:0");
    if (CHECK_EQ_INT(chopin_open(s.app), CHOPIN_OK)) {
        int fd = dial(chopin_port(s.app, 0));
        CHECK(say(fd, GET("/endless")));
        while (chopin_counters_of(s.app).parked < 1) chopin_step(s.app, 1000);
        chopin_close(s.app);
        CHECK_EQ_INT(cleaned, 1);
        char byte;
        CHECK(recv(fd, &byte, 1, 0) <= 0);
        close(fd);
    }
    server_free(&s);
}

/* Data and reset arrive as one event: the data may have to wait, the reset may not. */
static void a_reset_behind_data_wakes_its_handler(void) {
    for (int parked = 0; parked < 2; parked++) {             // the request itself came with the reset, or more did while its handler waited
        server s;
        server_with(&s, NULL);
        chopin_route(s.app, "GET", "/endless", endless_nap, NULL);
        cleaned = 0;
        chopin_listen(s.app, "127.0.0.1:0");
        if (CHECK_EQ_INT(chopin_open(s.app), CHOPIN_OK)) {
            int fd = dial(chopin_port(s.app, 0));
            while (chopin_counters_of(s.app).accepted < 1) chopin_step(s.app, 1000);
            CHECK(say(fd, GET("/endless")));
            while (parked && chopin_counters_of(s.app).parked < 1) chopin_step(s.app, 1000);
            if (parked) CHECK(say(fd, PING));
            reset(fd);
            for (int64_t from = now_ms(); chopin_counters_of(s.app).closed < 1 && CHECK(now_ms() - from < 8000); ) chopin_step(s.app, 10);
            CHECK_EQ_INT(cleaned, (int)chopin_counters_of(s.app).requests);
            chopin_close(s.app);
        }
        server_free(&s);
    }
}

/* A post that comes when the server ends, or has ended, finds nobody and says so. */
static chopin_handle left_behind;
static int leaves_a_handle(chopin_ctx *c) {
    left_behind = chopin_handle_of(c);
    return endless_nap(c);
}

static void never_run(chopin_ctx *c, void *arg) { (void)c, (void)arg; CHECK(false); }

static void posts_after_the_end_are_gone(void) {
    server s;
    server_with(&s, NULL);
    chopin_route(s.app, "GET", "/leave", leaves_a_handle, NULL);
    chopin_listen(s.app, "127.0.0.1:0");
    if (CHECK_EQ_INT(chopin_open(s.app), CHOPIN_OK)) {
        int fd = dial(chopin_port(s.app, 0));
        CHECK(say(fd, GET("/leave")));
        while (chopin_counters_of(s.app).parked < 1) chopin_step(s.app, 1000);
        chopin_close(s.app);
        CHECK_EQ_INT(chopin_post(left_behind, never_run, NULL), CHOPIN_GONE);
        close(fd);
    }
    server_free(&s);
}

static int wait_wrong(chopin_ctx *c) {
    int fds[2];
    CHECK_EQ_INT(chopin_wait_fd(c, 999999, CHOPIN_READ, -1), CHOPIN_INVALID);
    CHECK(pipe(fds) == 0);
    CHECK_EQ_INT(chopin_wait_fd(c, fds[0], CHOPIN_READ, chopin_now_ms(c) + 5), CHOPIN_TIMEOUT);
    CHECK_EQ_INT(chopin_wait_fd(c, fds[1], CHOPIN_READ | CHOPIN_WRITE, -1), CHOPIN_WRITE);
    int file = open("/dev/null", O_RDONLY);
    CHECK_EQ_INT(chopin_wait_fd(c, file, CHOPIN_READ, -1), CHOPIN_READ);         // always ready
    close(file);
    close(fds[0]);
    close(fds[1]);
    return chopin_text(c, 200, "waited");
}

static void descriptors_are_waited_for_with_epoll(void) {
    server s;
    server_with(&s, NULL);
    chopin_route(s.app, "GET", "/wait", wait_wrong, NULL);
    int port = server_start(&s, "127.0.0.1:0");
    for (int i = 0; i < 3; i++) CHECK_EQ_INT(ask(port, GET("/wait")), 200);
    server_end(&s);
}

/* ---- chopin_main ---- */

CHOPIN_GET(attribute_hello, "/attribute") { return chopin_text(c, 200, "hello"); }

/* The exit status of a program whose main() is chopin_main(); -1: it did not end. */
static int main_with(const char *a, const char *b) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        char  prog[] = "prog", one[64], two[64];
        char *argv[4] = { prog, NULL, NULL, NULL };
        int   argc = 1, null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        dup2(null, 2);
        if (a) { snprintf(one, sizeof one, "%s", a); argv[argc++] = one; }
        if (b) { snprintf(two, sizeof two, "%s", b); argv[argc++] = two; }
        int rc = chopin_main(argc, argv, NULL);
        fflush(stdout);
        _exit(rc);
    }
    child k = { pid, 0 };
    int status = ends(&k, 10000);
    return status != -1 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void main_with_bad_words_exits_1(void) {
    CHECK_EQ_INT(main_with("frobnicate", NULL), 1);
    CHECK_EQ_INT(main_with("--workers", NULL), 1);
    CHECK_EQ_INT(main_with("--workers", "0"), 1);
    CHECK_EQ_INT(main_with("--workers", "x"), 1);
    CHECK_EQ_INT(main_with("--workers=5000", NULL), 1);
    CHECK_EQ_INT(main_with("--listen", NULL), 1);
    CHECK_EQ_INT(main_with("--listen", "nonsense"), 1);
    CHECK_EQ_INT(main_with("--listen=192.0.2.1:0", NULL), 1);
    CHECK_EQ_INT(main_with("serve", "now"), 1);
    CHECK_EQ_INT(main_with("--listening", "127.0.0.1:0"), 1);
    CHECK_EQ_INT(main_with("routes", NULL), 0);
    CHECK_EQ_INT(main_with("--help", NULL), 0);
}

/* ---- crashes; not under sanitizers: theirs are the signals ---- */

static void containing(chopin_options *o) { o->contain_faults = true; }
static void containing_three(chopin_options *o) { o->contain_faults = true; o->max_faults = 3; }

static void crashes_under_load_cost_one_request_each(void) {
    static _Atomic bool ending;
    server s;
    load   loads[3];
    server_with(&s, containing);
    int port = server_start(&s, "127.0.0.1:0"), fd = dial(port);
    load_start(loads, 3, port, &ending, true);
    for (int i = 0; i < 12; i++) {
        CHECK_EQ_INT(ask_on(fd, i % 3 == 0 ? GET("/die/null") : i % 3 == 1 ? GET("/die/overflow") : GET("/die/panic")), 500);
        CHECK_EQ_INT(ask_on(fd, PING), 200);                 // on the same connection
        usleep(5000);
    }
    CHECK_EQ_INT(s.started, 1);                              // still the first worker
    CHECK_EQ_INT(chopin_counters_of(s.app).faults, 8);       // panics are no faults
    close(fd);
    CHECK(load_end(loads, 3, &ending) > 100);
    server_end(&s);
}

static void replaced_under_load(void (*change)(chopin_options *o), const char *how, int deaths) {
    static _Atomic bool ending;
    server s;
    load   loads[3];
    server_with(&s, change);
    int port = server_start(&s, "127.0.0.1:0");
    load_start(loads, 3, port, &ending, true);
    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < deaths; i++) {
            CHECK_EQ_INT(s.started, round);
            CHECK_EQ_INT(ask(port, how), 500);
        }
        UNTIL(atomic_load(&s.started) == round + 1);         // a successor
        for (int i = 0; i < 5; i++) CHECK_EQ_INT(ask(port, PING), 200);
        usleep(20000);
    }
    UNTIL(atomic_load(&s.stopped) == 3);                     // the others have served what they had
    CHECK_EQ_INT(chopin_counters_of(s.app).faults, 3 * deaths);
    CHECK(load_end(loads, 3, &ending) > 100);
    chopin_stop(s.app);
    CHECK_EQ_INT(server_join(&s), CHOPIN_OK);
    CHECK(s.started == 4 && s.stopped == 4);
    CHECK(strstr(s.log, "is replaced after a fault"));
    server_free(&s);
}

static _Atomic bool memory_is_short;
static void *short_alloc(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    (void)ctx, (void)old_size;
    if (new_size == 0) { free(ptr); return NULL; }
    return atomic_load(&memory_is_short) && new_size > 16384 ? NULL : realloc(ptr, new_size);
}
static void containing_with_little(chopin_options *o) { o->contain_faults = true; o->max_faults = 1; o->alloc = short_alloc; }

/* Whoever cannot be replaced goes on, with its listeners. */
static void a_failed_replacement_changes_nothing(void) {
    server s;
    server_with(&s, containing_with_little);
    int port = server_start(&s, "127.0.0.1:0");
    for (int i = 0; i < 5; i++) CHECK_EQ_INT(ask(port, PING), 200);
    atomic_store(&memory_is_short, true);
    CHECK_EQ_INT(ask(port, GET("/die/null")), 500);
    UNTIL((pthread_mutex_lock(&s.lock), pthread_mutex_unlock(&s.lock), strstr(s.log, "could not be replaced") != NULL));
    for (int i = 0; i < 5; i++) CHECK_EQ_INT(ask(port, PING), 200);
    atomic_store(&memory_is_short, false);
    CHECK_EQ_INT(ask(port, GET("/die/null")), 500);
    UNTIL(atomic_load(&s.started) == 2);                     // the next fault tries again
    for (int i = 0; i < 5; i++) CHECK_EQ_INT(ask(port, PING), 200);
    server_end(&s);
}

static void abort_replaces_the_worker(void)      { replaced_under_load(containing, GET("/die/abort"), 1); }
static void max_faults_replaces_the_worker(void) { replaced_under_load(containing_three, GET("/die/null"), 3); }

/* A worker's end may fall between the kernel's accept and our look at it. */
static void clients_who_connect_while_a_worker_dies_are_answered(void) {
    static _Atomic bool ending;
    server s;
    load   loads[3];
    server_with(&s, containing);
    int port = server_start(&s, "127.0.0.1:0");
    load_start(loads, 3, port, &ending, false);
    for (int i = 0; i < 40; i++) {
        CHECK_EQ_INT(ask(port, GET("/die/abort")), 500);
        CHECK_EQ_INT(ask(port, PING), 200);
    }
    CHECK(load_end(loads, 3, &ending) > 40);
    server_end(&s);
}

static void without_containment_a_crash_ends_the_process(void) {
    child k = spawn(&(chopin_options){ .quiet = true }, 0);
    CHECK_EQ_INT(ask(k.port, GET("/die/null")), 0);
    int status = ends(&k, 10000);
    CHECK(status != -1 && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void a_contained_process_stops_as_any_other(void) {
    child k = spawn(&(chopin_options){ .quiet = true, .contain_faults = true }, 0);
    CHECK_EQ_INT(ask(k.port, GET("/die/null")), 500);
    CHECK_EQ_INT(ask(k.port, GET("/die/abort")), 500);
    CHECK_EQ_INT(ask(k.port, PING), 200);
    kill(k.pid, SIGTERM);
    CHECK(exited_with(ends(&k, 10000), 0));
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "resident") == 0) return print_resident();
    TEST_ONLY(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    alarm(300);                                              // a server that does not stop must not hang the whole run
    setvbuf(stdout, NULL, _IOLBF, 0);
    RUN(stop_before_the_start_is_remembered);
    RUN(stop_from_several_threads_at_once);
    RUN(stop_may_race_the_start);
    RUN(one_stop_is_enough_however_early);
    RUN(stop_in_a_handler);
    RUN(stop_in_a_signal_handler);
    RUN(stop_with_1000_idle_clients);
    RUN(stop_with_a_stuck_one);
    RUN(stop_serves_what_the_kernel_has_accepted);
    RUN(a_client_that_has_just_connected_may_still_ask);
    RUN(restart_after_stop);
    RUN(a_failed_start_may_be_repeated_elsewhere);
    RUN(sigterm_closes_idle_clients_and_answers_busy_ones);
    RUN(sigint_does_the_same);
    RUN(a_second_signal_ends_at_once);
    RUN(signals_are_given_back);
    RUN(listen_errors_name_address_and_reason);
    RUN(no_permission_is_named);
    RUN(several_addresses_at_once);
    RUN(unix_sockets_are_made_and_removed);
    RUN(abstract_unix_sockets_leave_no_file);
    RUN(inherited_descriptors_are_served_and_left_open);
    RUN(systemd_passes_its_sockets);
    RUN(share_port_lets_a_second_server_run_beside);
    RUN(restart_loses_no_connection);
    RUN(many_workers_accept);
    RUN(listeners_are_tuned_as_asked);
    RUN(loopback_is_not_paced);
    RUN(congestion_is_as_asked);
    RUN(those_who_speak_first_are_watched_later);
    RUN(a_thousand_sleeping_requests_finish_together);
    RUN(emfile_recovers_by_itself);
    RUN(one_connection_too_many_is_503);
    RUN(idle_server_makes_no_system_call);
    RUN(default_capacity_is_under_8_mib_resident);
    RUN(clock_steps_do_not_matter);
    RUN(thousands_of_connects_allocate_nothing);
    RUN(request_and_fin_in_one_segment);
    RUN(idle_and_dripping_clients_are_ended);
    RUN(same_reply_for_every_split);
    RUN(early_error_reaches_a_client_that_keeps_sending);
    RUN(a_failing_start_hook_stops_the_start);
    RUN(hooks_run_on_every_worker);
    RUN(bad_environment_stops_the_start);
    RUN(an_unavailable_backend_falls_back_with_a_line);
    RUN(a_forbidden_uring_falls_back_to_epoll);
    RUN(timers_run_without_timerfd);
    RUN(a_kernel_thread_may_submit);
    RUN(epoll_timeout_bounds_one_wait);
    RUN(embedding_into_another_loop);
    RUN(embedding_loses_no_readiness);
    RUN(close_ends_an_embedded_server_at_once);
    RUN(a_reset_behind_data_wakes_its_handler);
    RUN(posts_after_the_end_are_gone);
    RUN(descriptors_are_waited_for_with_epoll);
    RUN(main_with_bad_words_exits_1);
    if (SANE) {
        RUN(crashes_under_load_cost_one_request_each);
        RUN(a_failed_replacement_changes_nothing);
        RUN(abort_replaces_the_worker);
        RUN(max_faults_replaces_the_worker);
        RUN(without_containment_a_crash_ends_the_process);
        RUN(clients_who_connect_while_a_worker_dies_are_answered);
        RUN(a_contained_process_stops_as_any_other);
    }
    return TEST_END();
}
