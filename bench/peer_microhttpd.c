/* peer_microhttpd.c - the smallest libmicrohttpd server that answers the routes of the benchmark
 *
 * One thread, replies prepared once: the way of using the library that costs least.
 *
 *     cc -O2 peer_microhttpd.c -o peer_microhttpd -lmicrohttpd && ./peer_microhttpd 8080 epoll
 *
 * GET /plaintext, GET /json, POST /echo on 127.0.0.1. The second argument is epoll (default) or poll: with more
 * than some 64 busy connections the epoll mode of 0.9.75 leaves connections unanswered, the poll mode does not. */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 16384, MEMORY_PER_CONNECTION = 16384, MAX_BODY = 1 << 20 };

typedef struct {
    size_t len;
    char   bytes[MAX_BODY];
} body;

static struct MHD_Response *plaintext, *json, *nothing;
static char head_seen;    // its address is the state of a request without a body

static struct MHD_Response *prepare(const char *type, const char *text) {
    struct MHD_Response *r = MHD_create_response_from_buffer(strlen(text), (void *)(size_t)text, MHD_RESPMEM_PERSISTENT);
    MHD_add_response_header(r, "Server", "libmicrohttpd");    // Date, Content-Length: by the library
    MHD_add_response_header(r, "Content-Type", type);
    return r;
}

static enum MHD_Result begin(const char *method, void **state) {
    if (strcmp(method, "POST")) {
        *state = &head_seen;
        return MHD_YES;
    }
    body *b = *state = malloc(sizeof *b);
    if (b) b->len = 0;
    return b ? MHD_YES : MHD_NO;
}

static enum MHD_Result echo(struct MHD_Connection *c, body *b, const char *data, size_t *len) {
    if (*len) {
        if (b->len + *len > MAX_BODY) return MHD_NO;
        memcpy(b->bytes + b->len, data, *len);
        b->len += *len;
        *len = 0;
        return MHD_YES;
    }
    struct MHD_Response *r = MHD_create_response_from_buffer(b->len, b->bytes, MHD_RESPMEM_PERSISTENT);
    MHD_add_response_header(r, "Server", "libmicrohttpd");
    MHD_add_response_header(r, "Content-Type", "application/octet-stream");
    enum MHD_Result ok = MHD_queue_response(c, 200, r);
    MHD_destroy_response(r);
    return ok;
}

/* Called for the head, for each piece of the body, and once more at the end. */
static enum MHD_Result answer(void *self, struct MHD_Connection *c, const char *path, const char *method,
                              const char *version, const char *data, size_t *len, void **state) {
    (void)self, (void)version;
    // A reply queued in the first call would end with the connection closed.
    if (!*state) return begin(method, state);
    if (!strcmp(method, "POST")) return echo(c, *state, data, len);
    if (!strcmp(path, "/plaintext")) return MHD_queue_response(c, 200, plaintext);
    if (!strcmp(path, "/json")) return MHD_queue_response(c, 200, json);
    return MHD_queue_response(c, 404, nothing);
}

static void forget(void *self, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode why) {
    (void)self, (void)c, (void)why;
    if (*state != &head_seen) free(*state);
}

int main(int argc, char **argv) {
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 8080)),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    unsigned mode = argc > 2 && !strcmp(argv[2], "poll") ? MHD_USE_POLL_INTERNAL_THREAD : MHD_USE_EPOLL_INTERNAL_THREAD;
    plaintext = prepare("text/plain", "Hello, World!");
    json      = prepare("application/json", "{\"message\":\"Hello, World!\"}");
    nothing   = prepare("text/plain", "");
    struct MHD_Daemon *daemon = MHD_start_daemon(
        mode, 0, NULL, NULL, answer, NULL,
        MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&addr,
        MHD_OPTION_NOTIFY_COMPLETED, forget, NULL,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)MAX_CONNECTIONS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_PER_CONNECTION,
        MHD_OPTION_LISTEN_BACKLOG_SIZE, 4096u,
        MHD_OPTION_END);
    if (!daemon) {
        fprintf(stderr, "peer_microhttpd: cannot listen\n");
        return 1;
    }
    for (;;) pause();
}
