/* pg_web.h - a server in a thread and a plain client for it, for tests of handlers that ask PostgreSQL. Include it after chopin.h, chopin_pg.h and test.h. */
#ifndef PG_WEB_H
#define PG_WEB_H
#include <pthread.h>

static chopin_app *web_app;
static pthread_t   web_thread;

static void web_hush(void *user, chopin_level level, const char *text) { (void)user; (void)level; (void)text; }
static void quiet(void *ctx, chopin_pg_level level, const char *text) { (void)ctx; (void)level; (void)text; }

static void *web_serve(void *arg) { (void)arg; chopin_serve(web_app, "127.0.0.1:0"); return NULL; }
static void web_start(void) { pthread_create(&web_thread, NULL, web_serve, NULL); }
static void web_stop(void) {
    chopin_stop(web_app);
    pthread_join(web_thread, NULL);
    chopin_free(web_app);
}
static int web_port(void) {
    for (int i = 0; i < 1000; i++) {
        if (chopin_port(web_app, 0) > 0) return chopin_port(web_app, 0);
        usleep(5000);
    }
    return 0;
}

static int dial(void) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)web_port()), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = { 20, 0 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&a, sizeof a)) { close(fd); return -1; }
    return fd;
}
/* `body` NULL: none. */
static void request_with(int fd, const char *method, const char *path, const char *body) {
    char text[1000];
    int  n = snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: x\r\n", method, path);
    n += body ? snprintf(text + n, sizeof text - (size_t)n, "Content-Length: %zu\r\n\r\n%s", strlen(body), body) : snprintf(text + n, sizeof text - (size_t)n, "\r\n");
    if (send(fd, text, (size_t)n, MSG_NOSIGNAL) != n) test__check(false, __FILE__, __LINE__, "a request sent");
}
static void request(int fd, const char *path) { request_with(fd, "GET", path, NULL); }

/* One whole reply, or what came of it. The buffer is overwritten by the next call. */
static char web_text[131072];
static const char *reply_text(int fd) {
    size_t have = 0;
    web_text[0] = '\0';
    while (have < sizeof web_text - 1) {
        ssize_t n = recv(fd, web_text + have, sizeof web_text - 1 - have, 0);
        if (n <= 0) break;
        web_text[have += (size_t)n] = '\0';
        char *body = strstr(web_text, "\r\n\r\n"), *length = strstr(web_text, "Content-Length: ");
        if (body && length && (size_t)(web_text + have - body - 4) >= strtoul(length + 16, NULL, 10)) return web_text;
    }
    return "";
}
/* Its body, status in *status (0: no whole reply came). */
static const char *reply(int fd, int *status) {
    const char *text = reply_text(fd), *body = strstr(text, "\r\n\r\n");
    *status = body ? atoi(text + 9) : 0;
    return body ? body + 4 : "";
}
static const char *get(const char *path, int *status) {
    int fd = dial();
    request(fd, path);
    const char *body = reply(fd, status);
    close(fd);
    return body;
}
/* Asked of the server itself, past the worker. */
static int64_t direct(const char *sql) {
    chopin_pg *pg = chopin_pg_open(&(chopin_pg_options){ .url = getenv("CHOPIN_PG_URL"), .no_env = true, .log = quiet });
    chopin_pg_rows *r = chopin_pg_value(pg, sql);
    int64_t n = chopin_pg_i64(r, 0);
    if (chopin_pg_end(r) < 0) { printf("  %s: %s\n", sql, chopin_pg_why(pg)); n = -1; }
    chopin_pg_close(pg);
    return n;
}
#endif
