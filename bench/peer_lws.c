/* peer_lws.c - the leanest WebSocket echo that libwebsockets can do: one service thread, no extensions
 *
 *     cc -O2 peer_lws.c -o peer_lws -lwebsockets && ./peer_lws 8080
 *
 * Each message is sent back from the callback that brings it, not from a later writeable one: that would be one more
 * wait for each. A second argument names the loop: poll (its own, the default), uv or ev, if those plugins are there. */
#include <libwebsockets.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_MESSAGE = 65536 };

static int echo(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len) {
    static unsigned char out[LWS_PRE + MAX_MESSAGE];
    (void)user;
    if (reason != LWS_CALLBACK_RECEIVE) return 0;
    if (len > MAX_MESSAGE || !lws_is_first_fragment(wsi) || !lws_is_final_fragment(wsi)) return -1;
    memcpy(out + LWS_PRE, in, len);
    int written = lws_write(wsi, out + LWS_PRE, len, lws_frame_is_binary(wsi) ? LWS_WRITE_BINARY : LWS_WRITE_TEXT);
    return written < (int)len ? -1 : 0;
}

int main(int argc, char **argv) {
    static const struct lws_protocols protocols[] = { { "echo", echo, 0, MAX_MESSAGE, 0, NULL, 0 }, { NULL, NULL, 0, 0, 0, NULL, 0 } };
    const char *loop = argc > 2 ? argv[2] : "poll";
    struct lws_context_creation_info info;
    memset(&info, 0, sizeof info);
    info.port = argc > 1 ? atoi(argv[1]) : 8080;
    info.iface = "127.0.0.1";
    info.protocols = protocols;
    info.options = LWS_SERVER_OPTION_DISABLE_IPV6 | LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS;
    if (!strcmp(loop, "uv")) info.options |= LWS_SERVER_OPTION_LIBUV;
    if (!strcmp(loop, "ev")) info.options |= LWS_SERVER_OPTION_LIBEV;
    lws_set_log_level(LLL_ERR, NULL);
    signal(SIGPIPE, SIG_IGN);
    struct lws_context *context = lws_create_context(&info);
    if (!context) {
        fprintf(stderr, "peer_lws: cannot start\n");
        return 1;
    }
    signal(SIGTERM, SIG_DFL);    // the other loops take it and go on
    while (lws_service(context, 0) >= 0) {}
    lws_context_destroy(context);
}
