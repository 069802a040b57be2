/* peer_civetweb.c - the smallest civetweb server that answers the routes of the benchmark
 *
 * Heads are written by hand, with a Date made once a second: the way of using the library that costs least.
 *
 *     cc -O2 peer_civetweb.c -o peer_civetweb -lcivetweb && ./peer_civetweb 8080 64
 *
 * GET /plaintext, GET /json, POST /echo on 127.0.0.1. The second argument is the number of threads: civetweb
 * needs one for each connection that is open, others wait. */
#include <civetweb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_HEAD = 512, MAX_BODY = 1 << 20 };

/* The date of now, made anew when the second has changed. */
static const char *date_text(void) {
    static __thread char   text[40];
    static __thread time_t made;
    time_t now = time(NULL);
    struct tm utc;
    if (now != made) {
        strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &utc));
        made = now;
    }
    return text;
}

static int write_head(struct mg_connection *c, char *to, const char *type, size_t body_len) {
    const char *asked = mg_get_header(c, "Connection");
    return snprintf(to, MAX_HEAD, "HTTP/1.1 200 OK\r\nServer: civetweb\r\nDate: %s\r\nContent-Type: %s\r\n"
                    "%sContent-Length: %zu\r\n\r\n", date_text(), type,
                    asked && !strcmp(asked, "close") ? "Connection: close\r\n" : "", body_len);
}

/* Head and body leave in one piece. The status returned is for the library's books. */
static int reply(struct mg_connection *c, const char *type, const char *text) {
    char out[MAX_HEAD];
    size_t len = strlen(text), head = (size_t)write_head(c, out, type, len);
    memcpy(out + head, text, len);
    mg_write(c, out, head + len);
    return 200;
}

static int plaintext(struct mg_connection *c, void *self) { (void)self; return reply(c, "text/plain", "Hello, World!"); }

static int json(struct mg_connection *c, void *self) {
    (void)self;
    return reply(c, "application/json", "{\"message\":\"Hello, World!\"}");
}

/* The body goes behind room for the head, so that one write does for both. */
static int echo(struct mg_connection *c, void *self) {
    static __thread char *out;    // not an array: that would have to fit on the thread's stack of 100 KiB
    if (!out && !(out = malloc(MAX_HEAD + MAX_BODY))) return 0;
    char head[MAX_HEAD], *body = out + MAX_HEAD;
    long long wanted = mg_get_request_info(c)->content_length, have = 0;
    (void)self;
    if (wanted < 0 || wanted > MAX_BODY) return 0;
    for (int n; have < wanted && (n = mg_read(c, body + have, (size_t)(wanted - have))) > 0; have += n) {}
    size_t n = (size_t)write_head(c, head, "application/octet-stream", (size_t)have);
    memcpy(body - n, head, n);
    mg_write(c, body - n, n + (size_t)have);
    return 200;
}

int main(int argc, char **argv) {
    char address[40];
    snprintf(address, sizeof address, "127.0.0.1:%d", argc > 1 ? atoi(argv[1]) : 8080);
    const char *options[] = { "listening_ports", address, "num_threads", argc > 2 ? argv[2] : "64",
                              "enable_keep_alive", "yes", "keep_alive_timeout_ms", "3600000", "tcp_nodelay", "1",
                              "listen_backlog", "4096", "connection_queue", "4096", NULL };
    mg_init_library(0);
    struct mg_context *server = mg_start(NULL, NULL, options);
    if (!server) {
        fprintf(stderr, "peer_civetweb: cannot start\n");
        return 1;
    }
    mg_set_request_handler(server, "/plaintext$", plaintext, NULL);
    mg_set_request_handler(server, "/json$", json, NULL);
    mg_set_request_handler(server, "/echo$", echo, NULL);
    for (;;) pause();
}
