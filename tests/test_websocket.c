/* test_websocket.c - >>websocket: WebSockets on connections, from the handshake to the last frame; topics, within a worker and across workers
 *
 * Clients are scripted, on virtual time (stage.h). What the server sent is shown as text: "T:hello " for a message, "t:..." and "c:..." for fragments
 * that others follow, "C:..." for the last one, "B:", "b:" binary, "I:" ping, "O:" pong, "X1000:reason" close; long payloads as their length and sum. */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER
#include "test.h"
#include "kit.h"
#include "stage.h"
#include <semaphore.h>

#define KEY   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define SHAKE "Host: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" KEY
#define MORE  0x100                          // of put(): not the last frame of its message

/* ---- what clients say ---- */
static char  *wire;
static size_t wire_len;
enum { WIRE = 8 << 20 };

static void raw(const char *bytes, size_t n) { memcpy(wire + wire_len, bytes, n); wire_len += n; }
static void shake_with(const char *path, const char *more) {
    wire_len = (size_t)sprintf(wire, "GET %s HTTP/1.1\r\n" SHAKE "%s\r\n", path, more);
}
static void shake(const char *path) { shake_with(path, ""); }

static void put_n(unsigned opcode, const char *payload, size_t n) {
    static const char mask[4] = { 0x37, (char)0xfa, 0x21, 0x3d };
    char   head[10];
    size_t len = chopin__ws_put_head(head, opcode & 0xff, !(opcode & MORE), false, n);
    head[1] = (char)(head[1] | (char)0x80);
    raw(head, len);
    raw(mask, 4);
    for (size_t i = 0; i < n; i++) wire[wire_len++] = (char)(payload[i] ^ mask[i & 3]);
}
static void put(unsigned opcode, const char *payload) { put_n(opcode, payload, strlen(payload)); }
static void put_close(int code, const char *reason) {
    char text[200] = { (char)(code >> 8), (char)code };
    strcpy(text + 2, reason);
    put_n(8, text, code ? 2 + strlen(reason) : 0);
}
static chopin_str said(void) { return chopin__str(wire, wire_len); }
static chopin_str said_from(size_t at) { return chopin__str(wire + at, wire_len - at); }

static char *letters(size_t n) {
    char *text = malloc(n + 1);
    for (size_t i = 0; i < n; i++) text[i] = (char)('a' + i * 7 % 23 + i / 1000 % 3);
    text[n] = 0;
    return text;
}

/* ---- what they hear ---- */
static char shown[400000];

static size_t show(size_t at, unsigned first, chopin_str p) {
    char kind = "CTB?????XIO?????"[first & 15];
    if (!(first & 0x80)) kind = (char)(kind | 0x20);
    if (kind == 'X' && p.len >= 2) {
        at += (size_t)sprintf(shown + at, "X%d:%.*s ", (unsigned char)p.ptr[0] << 8 | (unsigned char)p.ptr[1], (int)p.len - 2, p.ptr + 2);
    } else if (p.len > 200) {
        uint32_t sum = 0;
        for (size_t i = 0; i < p.len; i++) sum = sum * 31 + (unsigned char)p.ptr[i];
        at += (size_t)sprintf(shown + at, "%c:%zu/%x ", kind, p.len, sum);
    } else {
        at += (size_t)sprintf(shown + at, "%c:", kind);
        memcpy(shown + at, p.ptr, p.len);                    // zeros too
        at += p.len;
        shown[at++] = ' ';
    }
    return at;
}

/* The frames behind the head of a 101, as text. "~" at the end: masked, reserved bits, a length that is not minimal, or cut in the middle. */
static chopin_str frames(chopin_str reply) {
    chopin_str in = kit_body(reply);
    size_t     at = 0, i = 0;
    shown[0] = 0;
    if (kit_status(reply) != 101) return CHOPIN_STR("no 101");
    while (i < in.len && at + 400 < sizeof shown) {
        const unsigned char *p = (const unsigned char *)in.ptr + i;
        size_t left = in.len - i, n = left > 1 ? p[1] & 127 : 0, wide = n == 126 ? 2 : n == 127 ? 8 : 0;
        bool   ok = left >= 2 + wide && !(p[0] & 0x70) && !(p[1] & 0x80);
        if (ok && wide) n = 0;
        for (size_t b = 0; ok && b < wide; b++) n = n << 8 | p[2 + b];
        ok = ok && n <= left - 2 - wide && !(wide == 2 && n < 126) && !(wide == 8 && n < 65536);
        if (!ok) { shown[at++] = '~'; break; }
        at = show(at, p[0], chopin__str((const char *)p + 2 + wide, n));
        i += 2 + wide + n;
    }
    shown[at] = 0;
    return chopin__str(shown, at);
}

#define HEARS(got, want) hears(got, want, __LINE__, #got)
static void hears(chopin_str got, const char *want, int line, const char *text) { test__str(got.ptr, got.len, want, __FILE__, line, text); }

/* ---- the handlers ---- */
static _Thread_local struct { int runs, ends, messages, rc, code, send_rc; char note[200]; size_t largest; } seen;
static chopin_app *the_app;
static chopin_ws_options ws_options;

static int echo(chopin_ctx *c) {
    chopin_ws *ws = chopin_ws_accept(c, &ws_options);
    seen.runs++;
    int rc;
    for (chopin_ws_message m; (rc = chopin_ws_recv(ws, &m)) == CHOPIN_OK; seen.messages++) seen.send_rc = chopin_ws_send(ws, m.kind, m.data);
    seen.rc = rc;
    seen.code = chopin_ws_close_code(ws);
    seen.ends++;
    return CHOPIN_OK;
}

/* One word is one deed. */
static int obey(chopin_ctx *c) {
    chopin_ws *ws = chopin_ws_accept(c, &ws_options);
    seen.runs++;
    int rc;
    for (chopin_ws_message m; (rc = chopin_ws_recv(ws, &m)) == CHOPIN_OK; seen.messages++) {
        chopin_str topic = m.data.len > 2 ? chopin_printf(c, "%.*s", (int)m.data.len - 2, m.data.ptr + 2) : CHOPIN_STR("");
        char       deed = m.data.len ? m.data.ptr[0] : ' ';
        if (deed == '+') seen.send_rc = chopin_ws_subscribe(ws, topic.ptr);
        if (deed == '-') seen.send_rc = chopin_ws_unsubscribe(ws, topic.ptr);
        if (deed == '!') seen.send_rc = chopin_ws_broadcast(chopin_app_of(c), "a", m.kind, topic);
        if (deed == 'n') return CHOPIN_SYSTEM;
        if (deed == 'r') return CHOPIN_OK;
        if (deed == 'p') chopin_panic(c, "on purpose");
        if (deed == 'x') { seen.send_rc = chopin_ws_close(ws, 4000, "enough"); continue; }
        if (deed == 's') chopin_sleep(c, 10);
        if (deed == 'e') {
            char *text = letters(200000);
            chopin_ws_send(ws, CHOPIN_WS_TEXT, chopin__str(text, 200000));
            free(text);
        }
        chopin_ws_sendf(ws, "%c%d", deed, seen.send_rc);
    }
    seen.rc = rc;
    seen.code = chopin_ws_close_code(ws);
    seen.ends++;
    return CHOPIN_OK;
}

/* What the request said is still there long after its buffer has gone. */
static int remember(chopin_ctx *c) {
    chopin_str id = chopin_param(c, "id"), q = chopin_query(c, "q"), agent = chopin_header(c, "User-Agent"), host = chopin_host(c);
    chopin_ws *ws = chopin_ws_accept(c, &(chopin_ws_options){ .protocols = "b, a" });
    for (chopin_ws_message m; chopin_ws_recv(ws, &m) == CHOPIN_OK; ) {
        chopin_sleep(c, 5);
        chopin_str again = chopin_header(c, "User-Agent");
        chopin_ws_sendf(ws, "%.*s %.*s %.*s %.*s %.*s %.*s %.*s", CHOPIN_FMT(id), CHOPIN_FMT(q), CHOPIN_FMT(agent), CHOPIN_FMT(host), CHOPIN_FMT(again),
                        CHOPIN_FMT(chopin_param(c, "id")), CHOPIN_FMT(chopin_ws_protocol(ws)));
    }
    return CHOPIN_OK;
}

/* Sends what the query asks for before it listens. */
static int give(chopin_ctx *c) {
    size_t     n = (size_t)chopin_get_u64_or(c, CHOPIN_FROM_QUERY, "n", 0);
    uint64_t   times = chopin_get_u64_or(c, CHOPIN_FROM_QUERY, "times", 1);
    char      *text = letters(n);
    chopin_ws *ws = chopin_ws_accept(c, &ws_options);
    chopin_ws_message m;
    int rc = CHOPIN_OK;
    for (uint64_t i = 0; i < times && rc == CHOPIN_OK; i++) {
        rc = chopin_ws_send(ws, CHOPIN_WS_TEXT, chopin__str(text, n));
        if (c->k->port.out.bytes > seen.largest) seen.largest = c->k->port.out.bytes;
    }
    memset(text, '#', n);                                    // it may be used again at once
    free(text);
    seen.send_rc = rc;
    while ((rc = chopin_ws_recv(ws, &m)) == CHOPIN_OK) {}
    seen.rc = rc;
    seen.code = chopin_ws_close_code(ws);
    return CHOPIN_OK;
}

static int until(chopin_ctx *c) {
    chopin_ws *ws = chopin_ws_accept(c, NULL);
    chopin_ws_message m;
    int64_t begin = chopin_now_ms(c);
    seen.rc = chopin_ws_recv_until(ws, &m, begin + 700);
    chopin_ws_sendf(ws, "%d after %lld", seen.rc, (long long)(chopin_now_ms(c) - begin));
    return chopin_ws_recv(ws, &m) == CHOPIN_OK ? chopin_ws_send(ws, m.kind, m.data) : CHOPIN_OK;
}

static int misuse(chopin_ctx *c) {
    static const int bad[] = { 0, 1, 999, 1004, 1005, 1006, 1015, 2999, 5000 };
    chopin_ws *ws = chopin_ws_accept(c, NULL);
    CHECK(chopin_ws_accept(c, NULL) == NULL);
    CHECK_EQ_INT(chopin_ws_send(ws, (chopin_ws_kind)8, CHOPIN_STR("x")), CHOPIN_INVALID);
    CHECK_EQ_INT(chopin_ws_close_code(ws), 0);
    CHECK(chopin_ws_protocol(ws).ptr == NULL);
    for (size_t i = 0; i < CHOPIN__COUNT(bad); i++) CHECK_EQ_INT(chopin_ws_close(ws, bad[i], ""), CHOPIN_INVALID);
    CHECK_EQ_INT(chopin_ws_broadcast(chopin_app_of(c), "a", (chopin_ws_kind)9, CHOPIN_STR("x")), CHOPIN_INVALID);
    CHECK_EQ_INT(chopin_text(c, 200, "no"), CHOPIN_OK);      // refused: 101 stands
    CHECK_EQ_INT(chopin_ws_close(ws, 1001, NULL), CHOPIN_OK);
    CHECK_EQ_INT(chopin_ws_close(ws, 1001, NULL), CHOPIN_GONE);
    CHECK_EQ_INT(chopin_ws_send(ws, CHOPIN_WS_TEXT, CHOPIN_STR("late")), CHOPIN_GONE);
    return CHOPIN_OK;
}

static int page(chopin_ctx *c) { return chopin_text(c, 200, "page\n"); }

static chopin_app *app_with(chopin_options o) {
    memset(&seen, 0, sizeof seen);
    memset(&ws_options, 0, sizeof ws_options);
    chopin_app *app = chopin_new(&o);
    if (!app) return NULL;
    chopin_route(app, "GET", "/echo", echo, NULL);
    chopin_route(app, "POST", "/echo", echo, NULL);
    chopin_route(app, "GET", "/obey", obey, NULL);
    chopin_route(app, "GET", "/remember/:id", remember, NULL);
    chopin_route(app, "GET", "/give", give, NULL);
    chopin_route(app, "GET", "/until", until, NULL);
    chopin_route(app, "GET", "/misuse", misuse, NULL);
    chopin_route(app, "GET", "/page", page, NULL);
    chopin_route(app, "GET", "/direct", direct, NULL);
    return the_app = app;
}
static chopin_app *app_new(void) { return app_with(stage_options()); }

/* One client that says all of the wire and then closes its side, unless it stays. */
static chopin_str play_wire(chopin_app *app, size_t read_step, size_t write_step, bool stays) {
    stage(1);
    *actor(0, said()) = (chopin__script_client){ .in = said(), .read_step = read_step, .write_step = write_step, .keep_open = stays };
    play(app);
    return frames(heard(0));
}
static chopin_str play_whole(chopin_app *app) { return play_wire(app, 0, 0, true); }

/* ---- the handshake ---- */

#define R(line, headers) line " HTTP/1.1\r\nHost: x\r\n" headers "\r\n"
#define UP "Connection: Upgrade\r\nUpgrade: websocket\r\n"
#define V  "Sec-WebSocket-Version: 13\r\n"

static void handshake_matrix(void) {
    static const struct { int status; const char *request; } matrix[] = {
        { 101, R("GET /echo", UP V KEY) },
        { 101, R("GET /echo", "cONNECTION: foo, uPGRADE\r\nUPGRADE: h2c, WebSocket\r\n" V KEY) },
        { 400, R("POST /echo", UP V KEY) },
        { 400, "GET /echo HTTP/1.0\r\nHost: x\r\n" UP V KEY "\r\n" },
        { 426, R("GET /echo", "") },
        { 426, R("GET /echo", "Upgrade: websocket\r\n" V KEY) },
        { 426, R("GET /echo", "Connection: Upgrade\r\n" V KEY) },
        { 426, R("GET /echo", UP KEY) },
        { 426, R("GET /echo", UP KEY "Sec-WebSocket-Version: 8\r\n") },
        { 426, R("GET /echo", UP KEY "Sec-WebSocket-Version: 013\r\n") },
        { 426, R("GET /echo", UP KEY V V) },
        { 400, R("GET /echo", UP V) },
        { 400, R("GET /echo", UP V KEY KEY) },
        { 400, R("GET /echo", UP V "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n") },
        { 400, R("GET /echo", UP V "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTEyMw==\r\n") },
        { 400, R("GET /echo", UP V KEY "Sec-WebSocket-Protocol: a,,(\r\n") },
        { 400, R("GET /echo", UP V KEY "Content-Length: 3\r\n") "abc" },
        { 400, R("GET /echo", UP V KEY "Transfer-Encoding: chunked\r\n") "0\r\n\r\n" },
        { 101, R("GET /echo", UP V KEY "Content-Length: 0\r\n") },
    };
    chopin_app *app = app_new();
    for (size_t i = 0; i < CHOPIN__COUNT(matrix); i++) {
        for (size_t step = 0; step < 3; step++) {
            chopin_str reply = chopin_test_request(app, chopin__str_z(matrix[i].request), &(chopin_test_options){ .read_step = step });
            if (!CHECK_EQ_INT(kit_status(reply), matrix[i].status)) printf("  %s", matrix[i].request);
            if (matrix[i].status == 101) {
                CHECK(kit_has(reply, "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") && kit_has(reply, "\r\nUpgrade: websocket\r\n"));
                CHECK(kit_count(reply, "Connection:") == 1 && kit_has(reply, "\r\nConnection: Upgrade\r\n"));
                CHECK(!kit_has(reply, "Content-Length") && !kit_has(reply, "Transfer-Encoding") && !kit_has(reply, "Content-Type"));
            } else {
                CHECK(kit_has(reply, "Content-Length"));
                CHECK_EQ_INT(kit_has(reply, "\r\nSec-WebSocket-Version: 13\r\n"), matrix[i].status == 426);
                CHECK_EQ_INT(kit_has(reply, "\r\nUpgrade: websocket\r\n"), matrix[i].status == 426);
            }
        }
    }
    stage_free(app);
}

static void a_refused_handshake_leaves_an_http_connection(void) {
    chopin_app *app = app_new();
    chopin_str  reply = kit_play_z(app, R("GET /echo", UP "Sec-WebSocket-Version: 12\r\n" KEY) R("GET /page", ""));
    CHECK(kit_status(reply) == 426 && kit_has(reply, "\r\n\r\npage\n"));
    CHECK_EQ_INT(seen.rc, CHOPIN_ANSWERED);
    stage_free(app);
}

static void origin_policy(void) {
    static const struct { const char *allowed, *headers; int status; } rows[] = {
        { NULL, "", 101 }, { NULL, "Origin: http://x\r\n", 101 }, { NULL, "Origin: https://x\r\n", 101 }, { NULL, "Origin: http://y\r\n", 403 }, { NULL, "Origin: null\r\n", 403 },
        { NULL, "Origin: http://x.evil.test\r\n", 403 }, { NULL, "Origin: http://x:8080\r\n", 403 }, { "https://a.test, https://b.test", "Origin: https://b.test\r\n", 101 },
        { "https://a.test, https://b.test", "Origin: http://b.test\r\n", 403 }, { "https://a.test", "Origin: https://a.test.evil\r\n", 403 }, { "*", "Origin: https://evil.test\r\n", 101 },
        { "https://a.test", "Origin: http://x\r\n", 101 }, { "*", "Origin: null\r\n", 101 },
    };
    chopin_app *app = app_new();
    for (size_t i = 0; i < CHOPIN__COUNT(rows); i++) {
        ws_options.origins = rows[i].allowed;
        shake_with("/echo", rows[i].headers);
        if (!CHECK_EQ_INT(kit_status(kit_play(app, said())), rows[i].status)) printf("  %s by %s", rows[i].headers, rows[i].allowed ? rows[i].allowed : "default");
    }
    stage_free(app);
}

static void subprotocols(void) {
    static const struct { const char *ours, *asked, *agreed; } rows[] = {
        { "chat.v2, chat.v1", "chat.v1, chat.v2", "chat.v2" }, { "chat.v2, chat.v1", "chat.v1", "chat.v1" }, { "chat.v2", "chat", NULL }, { NULL, "chat", NULL }, { "chat", NULL, NULL },
        { "chat", "CHAT", NULL }, { "a", "x\r\nSec-WebSocket-Protocol: a", "a" },
    };
    chopin_app *app = app_new();
    for (size_t i = 0; i < CHOPIN__COUNT(rows); i++) {
        char asked[200] = "", want[200];
        if (rows[i].asked) snprintf(asked, sizeof asked, "Sec-WebSocket-Protocol: %s\r\n", rows[i].asked);
        ws_options.protocols = rows[i].ours;
        shake_with("/echo", asked);
        chopin_str reply = kit_play(app, said());
        snprintf(want, sizeof want, "\r\nSec-WebSocket-Protocol: %s\r\n", rows[i].agreed ? rows[i].agreed : "");
        CHECK_EQ_INT(kit_status(reply), 101);
        CHECK(rows[i].agreed ? kit_has(reply, want) : !kit_has(reply, "Sec-WebSocket-Protocol"));
    }
    stage_free(app);
}

static void views_survive_parking(void) {
    chopin_app *app = app_new();
    for (size_t step = 0; step < 300; step += step < 4 ? 1 : 61 * (size_t)EVERY) {
        shake_with("/remember/a%20b?q=%41%42", "User-Agent: Lynx\r\nSec-WebSocket-Protocol: a\r\n");
        for (int i = 0; i < 3; i++) put(1, "what was it?");
        put_close(1000, "");
        HEARS(play_wire(app, step, 0, true), "T:a b AB Lynx x Lynx a b a T:a b AB Lynx x Lynx a b a T:a b AB Lynx x Lynx a b a X1000: ");
    }
    stage_free(app);
}

/* ---- messages ---- */

static void everything(void) {
    static char big[70000];
    memset(big, 'x', sizeof big);
    shake("/echo");
    put(1, "hello");
    put_n(2, "\0\1\2", 3);
    put(1, "");
    put(1 | MORE, "one, ");
    put(9, "are you there?");
    put(0 | MORE, "");
    put(0 | MORE, "two \xe2");
    put(10, "nobody asked");
    put(0, "\x82\xac");
    put_n(1, big, 126);
    put_n(2, big, 125);
    put_n(1, big, 65535);
    put_n(2, big, 65536);
    put_n(1 | MORE, big, 70000);
    put(0, "end");
    put_close(1000, "bye");
}

/* Where the pong stands depends on when the ping was seen. */
static chopin_str without_pong(chopin_str text) {
    char *at = memmem(shown, text.len, "O:are you there? ", 17);
    if (CHECK(at != NULL)) memmove(at, at + 17, (size_t)(shown + text.len + 1 - (at + 17)));
    return chopin__str(shown, text.len - 17);
}

static void echo_in_every_cut(void) {
    static const char start[] = "T:hello B:\0\1\2 T: T:one, two \xe2\x82\xac T:xxxxxx";
    chopin_app *app = app_new();
    everything();
    chopin_str got = without_pong(play_whole(app));
    char      *want = malloc(got.len), *rest = shown + 14;
    size_t     want_len = got.len;
    memcpy(want, got.ptr, got.len);
    CHECK(memcmp(want, start, sizeof start - 1) == 0 && strstr(rest, " T:65535/") && strstr(rest, " B:65536/") && strstr(rest, " T:70003/") && strstr(rest, " X1000: "));
    CHECK_EQ_INT(seen.messages, 9);
    for (size_t step = 1; step < 1000; step += (size_t)EVERY * (step < 40 ? 1 : 97)) {
        got = without_pong(play_wire(app, step, step * 7 % 5000, step % 2));
        if (!CHECK(chopin__equal(got, chopin__str(want, want_len)))) { printf("  read %zu: %.300s\n", step, got.ptr + 14); break; }
    }
    free(want);
    stage_free(app);
}

static void bytes_behind_the_upgrade_are_frames(void) {
    chopin_app *app = app_new();
    shake("/echo");
    put(1, "GET /page HTTP/1.1\r\nHost: x\r\n\r\n");
    size_t len = wire_len;
    put_close(1000, "");
    for (size_t step = 0; step < wire_len; step += step < len - 60 ? len - 60 : EVERY) {
        HEARS(play_wire(app, step, 0, true), "T:GET /page HTTP/1.1\r\nHost: x\r\n\r\n X1000: ");
        CHECK_EQ_INT(on.requests, 1);
    }
    shake("/echo");                                                     // HTTP where frames are due
    raw("GET /page HTTP/1.1\r\n\r\n", 22);
    chopin_str got = play_whole(app);
    CHECK(chopin__starts(got, CHOPIN_STR("X1002:")) && !kit_has(heard(0), "page"));
    stage_free(app);
}

static void sent_messages_arrive_whole_at_slow_readers(void) {
    static const size_t sizes[] = { 0, 1, 125, 126, 4095, 4096, 4097, 65535, 65536, 300000 };
    chopin_app *app = app_new();
    for (size_t i = 0; i < 3 * CHOPIN__COUNT(sizes); i++) {
        size_t n = sizes[i / 3];
        char   path[100], *text = letters(n);
        snprintf(path, sizeof path, "/give?n=%zu&times=3", n);
        shake(path);
        put_close(1000, "");
        play_wire(app, 0, i % 3 == 0 ? 0 : i % 3 == 1 ? 999 : n > 5000 ? 7000 : 3, true);
        chopin_str body = kit_body(heard(0));
        size_t     head = n < 126 ? 2 : n < 65536 ? 4 : 10;
        bool       ok = CHECK_EQ_INT(body.len, 3 * (head + n) + 4);
        for (size_t t = 0; ok && t < 3; t++) CHECK(memcmp(body.ptr + t * (head + n) + head, text, n) == 0);
        CHECK_EQ_INT(seen.send_rc, CHOPIN_OK);
        free(text);
    }
    stage_free(app);
}

static void a_slow_reader_parks_the_sender(void) {
    chopin_options o = stage_options();
    o.high_water = 20000;
    o.low_water = 5000;
    o.min_send_rate = -1;
    o.ws_ping_ms = -1;
    chopin_app *app = app_with(o);
    shake("/give?n=1000&times=500");
    put_close(1000, "");
    play_wire(app, 0, 700, true);
    CHECK(kit_body(heard(0)).len == 500 * 1004 + 4 && seen.largest <= 22000);
    stage(1);                                                           // and when nothing is read at all, the sender is cut in the end
    *actor(0, said()) = (chopin__script_client){ .in = said(), .no_reading = true, .keep_open = true };
    play(app);
    CHECK(seen.send_rc == CHOPIN_GONE && on.took >= 30000 && on.took < 60000 && heap.peak < 1 << 21);
    stage_free(app);
}

static void sent_messages_leave_in_fragments(void) {
    chopin_app *app = app_new();
    ws_options.fragment = 10;
    shake("/echo");
    put(1, "abcdefghijklmnopqrstuvwxyz");
    put(2, "0123456789");
    put(1, "01234567890");
    put(1, "");
    put_close(0, "");
    HEARS(play_whole(app), "t:abcdefghij c:klmnopqrst C:uvwxyz B:0123456789 t:0123456789 C:0 T: X: ");
    stage_free(app);
}

/* ---- keeping alive ---- */

static void pings_are_answered(void) {
    char        long_one[126];
    chopin_app *app = app_new();
    memset(long_one, 'p', 125);
    long_one[125] = 0;
    shake("/echo");
    put(9, "");
    put(1 | MORE, "a");
    put(9, "in between");
    put(0, "b");
    put(9, long_one);
    put_close(1000, "");
    chopin_str got = play_wire(app, 1, 0, true);
    CHECK(chopin__starts(got, CHOPIN_STR("O: O:in between T:ab O:ppppp")) && kit_has(got, "pp X1000: ") && got.len == 2 + 1 + 13 + 5 + 128 + 7);
    stage_free(app);
}

/* The other client's bytes come one by one, `ms` apart. */
static int64_t drip_ms;
static size_t  drip_bytes;
static void dripping(chopin_ctx *c) {
    while (!on.client[1].ended && on.client[1].stop_after < on.client[1].in.len) {
        chopin_sleep(c, drip_ms);
        if (!on.client[1].ended) on.client[1].stop_after += drip_bytes;
    }
}
static chopin_str drip(chopin_app *app, size_t at_once, size_t bytes, int64_t ms) {
    stage(2);
    director = dripping;
    drip_bytes = bytes;
    drip_ms = ms;
    actor(0, DIRECT);
    *actor(1, said()) = (chopin__script_client){ .in = said(), .keep_open = true, .stop_after = at_once };
    play(app);
    return frames(heard(1));
}

static void silence_is_pinged_and_cut(void) {
    chopin_app *app = app_new();
    shake("/echo");
    HEARS(play_wire(app, 0, 0, true), "I: ");                       // and no close frame: nobody is there to read it
    CHECK_EQ_INT(on.took, 40000);
    CHECK(seen.rc == CHOPIN_GONE && seen.code == 1006 && seen.ends == 1);
    shake("/echo");
    put(1 | MORE, "half a message counts as silence once it stops");
    HEARS(play_wire(app, 0, 0, true), "I: ");
    CHECK_EQ_INT(on.took, 40000);
    stage_free(app);
    chopin_options o = stage_options();
    o.ws_ping_ms = 1000;
    o.ws_pong_ms = 300;
    app = app_with(o);
    shake("/echo");
    play_whole(app);
    CHECK_EQ_INT(on.took, 1300);
    stage_free(app);
    o = stage_options();
    o.ws_ping_ms = -1;
    app = app_with(o);
    shake("/until");
    put(1, "x");
    stage(1);                                                           // without pings an idle one stays for ever: nothing would happen any more
    *actor(0, said()) = (chopin__script_client){ .in = said(), .keep_open = true, .stop_after = wire_len - 1 };
    play(app);
    CHECK(on.stuck && kit_has(frames(heard(0)), "T:-3 after 700"));
    stage_free(app);
}

/* A pong, or anything else, is a sign of life, and the next ping is a whole ws_ping_ms away. */
static void who_answers_stays_and_is_pinged_seldom(void) {
    chopin_app *app = app_new();
    shake("/echo");
    size_t head = wire_len;
    for (int i = 0; i < 10; i++) put(10, "");
    put_close(0, "");
    chopin_str got = drip(app, head, 6, 31000);                         // each ping, after 30 s, is answered after one second more
    CHECK_EQ_INT(kit_count(got, "I:"), 11);
    CHECK(kit_has(got, "X:") && seen.code == 1005);
    shake("/echo");
    for (int i = 0; i < 30; i++) put(9, "");
    put_close(1000, "");
    got = drip(app, head, 6, 20000);                                    // who pings us needs none of ours
    CHECK_EQ_INT(kit_count(got, "I:"), 0);
    CHECK_EQ_INT(kit_count(got, "O:"), 30);
    shake("/echo");
    put(1, "a message whose bytes come slowly, but come");
    put_close(1000, "");
    got = drip(app, head, 4, 25000);
    CHECK_EQ_INT(kit_count(got, "I:"), 0);
    CHECK(kit_has(got, "T:a message whose"));
    stage_free(app);
}

static void recv_until_comes_back_in_time(void) {
    chopin_app *app = app_new();
    shake("/until");
    size_t head = wire_len;
    put(1, "at last");
    put_close(1000, "");
    HEARS(drip(app, head, wire_len - head, 5000), "T:-3 after 700 T:at last X1000: ");
    shake("/until");
    put(1, "now");
    put_close(1000, "");
    HEARS(play_whole(app), "T:0 after 0 X1000: ");
    stage_free(app);
}

/* ---- ends ---- */

static void closes_are_answered(void) {
    static const struct { int code; const char *reason, *answer; int heard; } rows[] = {
        { 1000, "", "X1000: ", 1000 }, { 1001, "going", "X1001: ", 1001 }, { 3000, "", "X3000: ", 3000 }, { 4999, "last", "X4999: ", 4999 }, { 0, "", "X: ", 1005 },
        { 1011, "", "X1011: ", 1011 }, { 1014, "", "X1014: ", 1014 },
    };
    chopin_app *app = app_new();
    for (size_t i = 0; i < CHOPIN__COUNT(rows); i++) {
        shake("/echo");
        put_close(rows[i].code, rows[i].reason);
        put(1, "behind it nothing is read");
        seen.messages = 0;
        HEARS(play_wire(app, i % 3, 0, i % 2), rows[i].answer);
        CHECK(seen.rc == CHOPIN_GONE && seen.messages == 0 && on.took <= 5000);
        CHECK_EQ_INT(seen.code, rows[i].heard);
    }
    stage_free(app);
}

static void our_close_waits_for_an_answer(void) {
    chopin_app *app = app_new();
    shake("/obey");
    put(1, "x");
    put_close(4000, "");
    HEARS(play_whole(app), "X4000:enough ");
    CHECK(seen.code == 4000 && seen.ends == 1 && on.took < 3000);
    shake("/obey");
    put(1, "x");
    HEARS(play_whole(app), "X4000:enough ");
    CHECK(seen.code == 1006 && seen.ends == 2);
    CHECK_EQ_INT(on.took, 5000);
    shake("/obey");                                                     // a peer that talks on instead of answering gets no more time
    size_t head = wire_len;
    put(1, "x");
    size_t word = wire_len - head;
    for (int i = 0; i < 100; i++) put(1, ".");
    HEARS(drip(app, head, word, 1000), "X4000:enough ");
    CHECK(seen.ends == 3 && seen.messages < 20 && on.took < 120000);
    shake("/misuse");
    HEARS(play_whole(app), "X1001: ");
    stage_free(app);
}

static void returning_says_farewell(void) {
    chopin_app *app = app_new();
    static const struct { const char *word, *want; } rows[] = { { "r", "X1000: " }, { "n", "X1011: " } };
    for (size_t i = 0; i < 4; i++) {
        shake("/obey");
        put(1, rows[i / 2].word);
        if (i % 2) put_close(1000, "");
        HEARS(play_whole(app), rows[i / 2].want);
        CHECK(on.took <= 5000 && on.requests == 1);
    }
    stage_free(app);
}

static void frame_errors_end_with_their_code(void) {
    static const struct { int code; const char *bytes; size_t len; } rows[] = {
#define B(code, text) { code, text, sizeof text - 1 }
        B(1002, "\x81\x01x"), B(1002, "\xc1\x81\0\0\0\0x"), B(1002, "\xa1\x81\0\0\0\0x"), B(1002, "\x91\x81\0\0\0\0x"), B(1002, "\x83\x80\0\0\0\0"), B(1002, "\x8b\x80\0\0\0\0"),
        B(1002, "\x09\x80\0\0\0\0"), B(1002, "\x89\xfe\0\x7e\0\0\0\0"), B(1002, "\x81\xfe\0\x05\0\0\0\0"), B(1002, "\x81\xff\0\0\0\0\0\0\0\x7f\0\0\0\0"),
        B(1002, "\x81\xff\x80\0\0\0\0\0\0\0\0\0\0\0"), B(1002, "\x80\x80\0\0\0\0"), B(1002, "\x01\x81\0\0\0\0a\x81\x81\0\0\0\0b"), B(1002, "\x88\x81\0\0\0\0a"),
        B(1002, "\x88\x82\0\0\0\0\x03\xec"), B(1002, "\x88\x82\0\0\0\0\x03\xed"), B(1002, "\x88\x82\0\0\0\0\x03\xe7"), B(1002, "\x88\x82\0\0\0\0\x07\xd0"), B(1002, "\x88\x82\0\0\0\0\xff\xff"),
        B(1007, "\x81\x82\0\0\0\0\xc0\x80"), B(1007, "\x81\x81\0\0\0\0\x80"), B(1007, "\x81\x83\0\0\0\0\xed\xa0\x80"), B(1007, "\x81\x84\0\0\0\0\xf4\x90\x80\x80"),
        B(1007, "\x01\x82\0\0\0\0\xe2\x82\x80\x81\0\0\0\0\x41"), B(1007, "\x81\x82\0\0\0\0\xe2\x82"), B(1007, "\x88\x84\0\0\0\0\x03\xe8\xc0\x80"),
#undef B
    };
    chopin_app *app = app_new();
    for (size_t i = 0; i < 3 * CHOPIN__COUNT(rows); i++) {
        char want[20];
        shake("/echo");
        put(1, "fine");
        raw(rows[i / 3].bytes, rows[i / 3].len);
        put(1, "not read");
        seen.messages = 0;
        chopin_str got = play_wire(app, i % 3 == 2 ? 1 : 0, 0, i % 3 != 1);
        snprintf(want, sizeof want, "T:fine X%d:", rows[i / 3].code);
        if (!CHECK(chopin__starts(got, chopin__str_z(want)) && kit_count(got, "X") == 1 && !kit_has(got, "not read"))) printf("  row %zu: %.200s\n", i / 3, got.ptr);
        CHECK(seen.messages == 1 && seen.rc == CHOPIN_GONE && seen.code == rows[i / 3].code && on.took <= 5000);
    }
    stage_free(app);
}

static void over_the_limit_is_1009_before_a_byte_is_taken(void) {
    chopin_options o = stage_options();
    o.ws_max_message = 100000;
    o.ws_max_frame = 50000;
    chopin_app *app = app_with(o);
    char *text = letters(60000);
    shake("/echo");
    put_n(1, text, 50000);
    put_n(1 | MORE, text, 50000);
    put_n(0, text, 50000);
    put_close(1000, "");
    CHECK(kit_has(play_whole(app), " X1000:") && seen.messages == 2);
    shake("/echo");
    raw("\x82\xfe\xc3\x51\0\0\0\0", 8);                                 // 50001 announced, nothing sent
    CHECK(chopin__starts(play_whole(app), CHOPIN_STR("X1009:")));
    shake("/echo");
    put_n(1 | MORE, text, 50000);
    put_n(0 | MORE, text, 50000);
    raw("\x80\x81\0\0\0\0", 6);
    CHECK(chopin__starts(play_whole(app), CHOPIN_STR("X1009:")));
    shake("/echo");
    heap.largest = 0;
    raw("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 14);
    CHECK(chopin__starts(play_whole(app), CHOPIN_STR("X1009:")) && seen.code == 1009);
    CHECK(heap.largest < 300000);
    free(text);
    stage_free(app);
    app = app_new();                                                    // memory follows what has come, not what is announced
    shake("/echo");
    raw("\x82\xff\0\0\0\0\0\x0f\xff\xff\0\0\0\0abc", 17);
    heap.largest = 0;
    play_wire(app, 0, 0, false);
    CHECK(heap.largest < 300000 && seen.code == 1006);
    stage_free(app);
}

static void ping_flood_is_bounded(void) {
    chopin_app *app = app_new();
    shake("/echo");
    for (int i = 0; i < 40000; i++) put(9, "a ping is answered, a flood of them need not be: the latest counts. This makes it rather long, so that it would fill memory");
    put_close(1000, "");
    size_t before = heap.live;
    heap.peak = 0;
    stage(1);
    *actor(0, said()) = (chopin__script_client){ .in = said(), .no_reading = true, .keep_open = true };
    play(app);
    CHECK(heap.peak - before < 1 << 20);
    heap.peak = 0;
    play_wire(app, 1000, 100, true);                                    // who reads a tenth of that hears some, and the close at last
    chopin_str all = kit_body(heard(0));
    CHECK(all.len > 1000 && memcmp(all.ptr + all.len - 4, "\x88\x02\x03\xe8", 4) == 0 && heap.peak - before < 2 << 20);
    stage_free(app);
}

static void a_panic_costs_one_connection(void) {
    chopin_app *app = app_new();
    shake("/obey");
    put(1, "+ a");
    put(1, "p");
    put(1, "s");
    for (size_t step = 0; step < 40; step += 13) {
        chopin_str got = play_wire(app, step, 0, true);
        CHECK(chopin__starts(got, CHOPIN_STR("T:+0 ")) && !kit_has(got, "T:s") && !kit_has(heard(0), "HTTP/1.1 500"));
        CHECK(on.took <= 5000);
    }
    CHECK_EQ_INT(kit_status(kit_play_z(app, R("GET /page", ""))), 200);
    stage_free(app);
}

static void a_client_that_vanishes_wakes_its_handler(void) {
    chopin_app *app = app_new();
    everything();
    for (size_t cut = 150; cut < 900; cut += 19 * EVERY) {
        for (int how = 0; how < 2; how++) {
            int ends = seen.ends;
            stage(1);
            *actor(0, said()) = (chopin__script_client){ .in = chopin__str(wire, cut), .reset = how };
            play(app);
            if (kit_status(heard(0)) != 101) continue;
            CHECK(seen.ends == ends + 1 && seen.rc == CHOPIN_GONE && seen.code == 1006);
            CHECK(on.took <= 5000);
        }
    }
    shake("/give?n=100000&times=50");
    stage(1);
    *actor(0, said()) = (chopin__script_client){ .in = said(), .reset = true, .no_reading = true };
    play(app);
    CHECK_EQ_INT(seen.send_rc, CHOPIN_GONE);
    stage_free(app);
}

static void stopping(chopin_ctx *c) { chopin_sleep(c, 100); chopin_stop(the_app); }
static void stop_tells_idle_ones_1001(void) {
    chopin_app *app = app_new();
    stage(3);
    director = stopping;
    actor(0, DIRECT);
    shake("/echo");
    put(1, "hi");
    actor(1, said())->keep_open = true;
    actor(2, said())->keep_open = on.client[2].no_reading = true;       // it cannot be told, and delays nobody for longer than the drain deadline
    play(app);
    HEARS(frames(heard(1)), "T:hi X1001:the server stops ");
    CHECK(seen.rc == CHOPIN_CANCELED && on.took < 35000 && !on.stuck);
    stage_free(app);
}

/* ---- topics ---- */

/* Client 0 directs; the others say what the wire holds in parts: part[i]..part[i + 1]. Each gets `head` bytes at first. */
static size_t part[20];
static size_t cast_count, cast_size;
static bool   read_again;
static void casting(chopin_ctx *c) {
    char *text = letters(cast_size);
    chopin_sleep(c, 10);                                                // all have subscribed
    for (size_t i = 0; i < cast_count; i++) {
        text[0] = (char)('0' + i % 10);
        chopin_ws_broadcast(the_app, "a", CHOPIN_WS_TEXT, chopin__str(text, cast_size));
        chopin_sleep(c, 1);
    }
    memset(text, '#', cast_size);
    free(text);
    chopin_sleep(c, 100);
    if (read_again) on.client[1].no_reading = false;
    chopin_sleep(c, 2000);
    for (size_t i = 1; i < on.count; i++) {
        if (!on.client[i].ended) on.client[i].stop_after = 0;           // ... and the rest: their close
    }
}
static chopin__script_client *subscriber(size_t i, const char *words) {
    part[i] = wire_len;
    wire_len += (size_t)sprintf(wire + wire_len, "GET /obey HTTP/1.1\r\n" SHAKE "\r\n");
    for (const char *w = words; *w; w += strlen(w) + 1) put(1, w);
    size_t stop = wire_len - part[i];
    put_close(1000, "");
    *actor(i, said_from(part[i])) = (chopin__script_client){ .in = said_from(part[i]), .keep_open = true, .stop_after = stop };
    return &on.client[i];
}

static void broadcasts_reach_the_subscribers_in_order(void) {
    chopin_app *app = app_new();
    static const size_t sizes[] = { 1, 100, 5000, 70000 };
    for (size_t s = 0; s < 4; s++) {
        stage(6);
        wire_len = 0;
        director = casting;
        cast_count = 5;
        cast_size = sizes[s];
        actor(0, DIRECT);
        subscriber(1, "+ a\0");
        subscriber(2, "+ b\0+ a\0+ a\0")->write_step = 333;              // twice is once
        subscriber(3, "+ b\0");
        subscriber(4, "+ a\0- a\0");
        subscriber(5, "+ aa\0");
        play(app);
        chopin_str first = kit_body(heard(1)), second = kit_body(heard(2));
        size_t     head = cast_size < 126 ? 2 : cast_size < 65536 ? 4 : 10, all = 5 * (head + cast_size);
        CHECK_EQ_INT(first.len, 4 + all + 4);
        CHECK_EQ_INT(second.len, 12 + all + 4);
        if (first.len == all + 8 && second.len == all + 16) {
            CHECK(memcmp(first.ptr + 4, second.ptr + 12, all) == 0);
            for (size_t i = 0; i < 5; i++) CHECK_EQ_INT(first.ptr[4 + i * (head + cast_size) + head], '0' + (int)i);
        }
        HEARS(frames(heard(3)), "T:+0 X1000: ");
        HEARS(frames(heard(4)), "T:+0 T:-0 X1000: ");
        HEARS(frames(heard(5)), "T:+0 X1000: ");
    }
    stage_free(app);
}

static void handlers_broadcast_too(void) {
    chopin_app *app = app_new();
    stage(3);
    wire_len = 0;
    director = casting;
    cast_count = 0;
    actor(0, DIRECT);
    subscriber(1, "+ a\0");
    subscriber(2, "+ a\0s\0! to all\0s\0- a\0s\0! to others\0s\0");
    play(app);
    HEARS(frames(heard(1)), "T:+0 T:to all T:to others X1000: ");
    CHECK(kit_count(frames(heard(2)), "T:to all ") == 1 && !kit_has(frames(heard(2)), "others"));
    CHECK_EQ_INT(chopin_ws_broadcast(app, "a", CHOPIN_WS_TEXT, CHOPIN_STR("x")), CHOPIN_STATE);
    stage_free(app);
}

static void a_slow_subscriber_is_passed_by_or_closed(void) {
    for (int close_slow = 0; close_slow < 2; close_slow++) {
        chopin_options o = stage_options();
        o.max_queue = 50000;
        o.ws_ping_ms = -1;
        chopin_app *app = app_with(o);
        ws_options.close_slow = close_slow;
        stage(3);
        wire_len = 0;
        director = casting;
        cast_count = 30;
        cast_size = 10000;
        read_again = true;
        actor(0, DIRECT);
        subscriber(1, "+ a\0")->no_reading = true;
        subscriber(2, "+ a\0");
        heap.peak = 0;
        size_t before = heap.live;
        play(app);
        CHECK_EQ_INT(kit_count(frames(heard(2)), ":10000/"), 30);        // delayed by nobody
        chopin_str slow = frames(heard(1));
        if (close_slow) {
            CHECK(kit_count(slow, ":10000/") == 0 && !kit_has(slow, "X"));
        } else {
            CHECK_EQ_INT(kit_count(slow, ":10000/"), 4);                 // what fits into max_queue; whole messages only
            CHECK(kit_has(slow, " X1000:"));
        }
        CHECK(heap.peak - before < 3000000);
        read_again = false;
        stage_free(app);
    }
}

/* A broadcast that comes while a message is sent in fragments must wait for its end (RFC 6455 5.4). */
static void broadcasts_do_not_fall_between_fragments(void) {
    chopin_app *app = app_new();
    ws_options.fragment = 10000;
    stage(2);
    wire_len = 0;
    director = casting;
    cast_count = 20;
    cast_size = 50;
    actor(0, DIRECT);
    part[1] = wire_len;
    wire_len += (size_t)sprintf(wire, "GET /obey HTTP/1.1\r\n" SHAKE "\r\n");
    put(1, "+ a");
    put(1, "e");
    size_t stop = wire_len;
    put_close(1000, "");
    *actor(1, said()) = (chopin__script_client){ .in = said(), .keep_open = true, .stop_after = stop, .no_reading = true };
    read_again = true;                                                  // the sender parks in the middle meanwhile
    play(app);
    read_again = false;
    chopin_str got = frames(heard(1));
    bool inside = false, torn = false;
    for (const char *p = got.ptr; *p; p = strchr(p, ' ') ? strchr(p, ' ') + 1 : p + strlen(p)) {
        torn = torn || (inside && (*p == 'T' || *p == 't' || *p == 'B'));
        if (*p == 't') inside = true;
        if (*p == 'C') inside = false;
    }
    CHECK(!torn && kit_has(got, "t:10000/") && kit_count(got, "T:") >= 20);
    stage_free(app);
}

static void subscriptions_are_limited(void) {
    chopin_options o = stage_options();
    o.ws_max_topics = 3;
    chopin_app *app = app_with(o);
    shake("/obey");
    static const char *const words[] = { "+ a", "+ b", "+ c", "+ d", "+ b", "- b", "+ d", "- nothing" };
    for (size_t i = 0; i < CHOPIN__COUNT(words); i++) put(1, words[i]);
    put_close(1000, "");
    HEARS(play_whole(app), "T:+0 T:+0 T:+0 T:+-9 T:+0 T:-0 T:+0 T:-0 X1000: ");
    stage_free(app);
}

/* ---- memory ---- */

static void an_idle_one_holds_no_buffer(void) {
    chopin_app *app = app_new();
    char *text = letters(500000);
    shake("/echo");
    for (int i = 0; i < 3; i++) put_n(2, text, 500000);
    put(2, "small");
    stage(1);
    *actor(0, said()) = (chopin__script_client){ .in = said(), .keep_open = true };
    heap.peak = 0;
    play(app);
    CHECK(seen.messages == 4 && heap.peak < 8 << 20);
    free(text);
    stage_free(app);
}

static void every_allocation_may_fail(void) {
    size_t failures = 0;
    for (int mode = 0; mode < 4; mode++) {                              // once, or for good; arriving whole, or in pieces
        for (size_t n = 1; ; n += EVERY) {
            heap.fail_at = n;
            heap.fail_on = mode >= 2;
            chopin_app *app = app_new();
            wire_len = 0;
            stage(3);
            director = casting;
            cast_count = 2;
            cast_size = 6000;
            actor(0, DIRECT);
            subscriber(1, "+ a\0+ b\0e\0")->read_step = mode % 2 ? 7 : 0;
            subscriber(2, "+ a\0! x\0- a\0")->write_step = mode % 2 ? 100 : 0;
            if (app && chopin__server_freeze(chopin__server_of(app)) == CHOPIN_OK) {
                int bad = test__all.bad;
                chopin__server *s = chopin__server_of(app);
                on.script = (chopin__script){ .clients = on.client, .count = on.count, .port = on.port };
                if (posix_memalign((void **)&on.w, 64, (sizeof *on.w + 63) & ~(size_t)63) != 0) abort();
                if (chopin__worker_init(on.w, &s->site, 0, &chopin__script_ops, &on.script)) {
                    chopin_worker **before = s->workers;
                    on.w->server = s;
                    s->workers = &on.w;
                    atomic_store(&s->worker_count, 1);
                    chopin__script_run(s, &on.script, on.w);
                    chopin__worker_cut(on.w);
                    chopin__server_close_gate(s);
                    atomic_store(&s->worker_count, 0);
                    s->workers = before;
                }
                chopin__worker_done(on.w);
                free(on.w);
                on.w = NULL;
                bool failed = heap.calls >= n;
                heap.fail_at = 0;
                keep_replies(&s->site.heap);
                heap.fail_at = n;
                for (size_t i = 1; i < 3; i++) {
                    chopin_str got = frames(heard(i));                  // whatever came is whole frames, or the connection was cut in one
                    CHECK(kit_status(heard(i)) != 101 || failed || (!kit_has(got, "~") && kit_has(got, "X1000:")));
                }
                if (test__all.bad > bad) printf("  mode %d, allocation %zu\n", mode, n);
            }
            bool failed = heap.calls >= n;
            if (app) stage_free(app);
            else CHECK_EQ_INT(heap.live, 0);
            if (!failed || test__all.bad) break;
            failures++;
        }
        heap.fail_at = 0;
    }
    heap.fail_on = false;
    CHECK(failures > (SANE ? 60 : 10));
}

/* ---- real sockets, four workers ---- */

static struct { chopin_app *app; pthread_t thread; sem_t up; } live;
static int   up(chopin_worker *w, void *user) { (void)w, (void)user; sem_post(&live.up); return 0; }
static void *serve(void *arg) { (void)arg; chopin_serve(live.app, NULL); return NULL; }

static void get_exactly(int fd, char *to, size_t n) {
    for (ssize_t got; n && (got = recv(fd, to, n, 0)) > 0; n -= (size_t)got) to += got;
    CHECK_EQ_INT(n, 0);
}
static int dial(int port) {
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
    struct timeval patience = { .tv_sec = 20 };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    CHECK(connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    return fd;
}

/* Past the head of the 101, byte by byte. */
static void get_head(int fd) {
    char last[4] = "";
    for (int n = 0; n < 1000 && memcmp(last, "\r\n\r\n", 4) != 0; n++) {
        memmove(last, last + 1, 3);
        get_exactly(fd, last + 3, 1);
    }
}
static void get_text(int fd, char *to) {
    char head[2] = "";
    get_exactly(fd, head, 2);
    size_t n = (size_t)(head[1] & 127);
    CHECK(n < 126);
    get_exactly(fd, to, n < 126 ? n : 0);
    to[n < 126 ? n : 0] = 0;
}

typedef struct speaker { pthread_t thread; int number, rc; } speaker;
static void *speak(void *arg) {
    speaker *s = arg;
    for (int i = 0; i < 200 && s->rc == CHOPIN_OK; i++) {
        char text[32];
        int  n = snprintf(text, sizeof text, "%d %d", s->number, i);
        s->rc = chopin_ws_broadcast(live.app, "a", CHOPIN_WS_TEXT, chopin__str(text, (size_t)n));
    }
    return NULL;
}

static void broadcasts_cross_workers_in_the_order_of_each_thread(void) {
    enum { CLIENTS = 24 };
    int     fd[CLIENTS];
    speaker speakers[3] = { { .number = 0 }, { .number = 1 }, { .number = 2 } };
    chopin_options o = kit_options();
    o.workers = 4;
    o.on_worker_start = up;
    sem_init(&live.up, 0, 0);
    live.app = app_with(o);
    chopin_listen(live.app, "127.0.0.1:0");
    CHECK(pthread_create(&live.thread, NULL, serve, NULL) == 0);
    for (int i = 0; i < 4; i++) sem_wait(&live.up);
    shake("/obey");
    put(1, "+ a");
    for (int i = 0; i < CLIENTS; i++) {
        char text[200];
        fd[i] = dial(chopin_port(live.app, 0));
        CHECK(send(fd[i], wire, wire_len, 0) == (ssize_t)wire_len);
        get_head(fd[i]);
        get_text(fd[i], text);
        CHECK(strcmp(text, "+0") == 0);
    }
    for (int i = 0; i < 3; i++) pthread_create(&speakers[i].thread, NULL, speak, &speakers[i]);
    for (int i = 0; i < CLIENTS; i++) {
        int next[3] = { 0 };
        for (int n = 0; n < 600 && !test__all.bad; n++) {
            char text[200];
            int  who = -1, what = -1;
            get_text(fd[i], text);
            if (!CHECK(sscanf(text, "%d %d", &who, &what) == 2 && who >= 0 && who < 3 && what == next[who])) printf("  client %d: %s\n", i, text);
            if (who >= 0 && who < 3) next[who]++;
        }
    }
    for (int i = 0; i < 3; i++) { pthread_join(speakers[i].thread, NULL); CHECK_EQ_INT(speakers[i].rc, CHOPIN_OK); }
    chopin_stop(live.app);
    for (int i = 0; i < CLIENTS; i++) {                                 // each is told, wherever it is
        char head[4] = "";
        get_exactly(fd[i], head, 4);
        CHECK(memcmp(head, "\x88\x12\x03\xe9", 4) == 0);
        close(fd[i]);
    }
    pthread_join(live.thread, NULL);
    chopin_free(live.app);
    sem_destroy(&live.up);
}

/* Clients come, subscribe and vanish while others shout. */
static _Atomic bool enough;
static void *shout(void *arg) {
    static char text[9000];
    (void)arg;
    while (!atomic_load(&enough)) {
        chopin_ws_broadcast(live.app, "a", CHOPIN_WS_TEXT, CHOPIN_STR("short"));
        chopin_ws_broadcast(live.app, "a", CHOPIN_WS_BINARY, chopin__str(text, sizeof text));
        usleep(100);
    }
    return NULL;
}
static void subscribers_may_vanish_while_others_shout(void) {
    pthread_t shouter;
    chopin_options o = kit_options();
    o.workers = 4;
    o.on_worker_start = up;
    o.max_queue = 100000;
    sem_init(&live.up, 0, 0);
    live.app = app_with(o);
    chopin_listen(live.app, "127.0.0.1:0");
    CHECK(pthread_create(&live.thread, NULL, serve, NULL) == 0);
    for (int i = 0; i < 4; i++) sem_wait(&live.up);
    atomic_store(&enough, false);
    pthread_create(&shouter, NULL, shout, NULL);
    shake("/obey");
    put(1, "+ a");
    for (int i = 0; i < (SANE ? 300 : 60); i++) {
        char text[100];
        int  fd = dial(chopin_port(live.app, 0));
        CHECK(send(fd, wire, wire_len, 0) == (ssize_t)wire_len);
        if (i % 3) get_exactly(fd, text, sizeof text);
        if (i % 2) setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
        close(fd);
    }
    chopin_stop(live.app);
    atomic_store(&enough, true);
    pthread_join(shouter, NULL);
    pthread_join(live.thread, NULL);
    chopin_free(live.app);
    sem_destroy(&live.up);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    wire = malloc(WIRE);
    RUN(handshake_matrix);
    RUN(a_refused_handshake_leaves_an_http_connection);
    RUN(origin_policy);
    RUN(subprotocols);
    RUN(views_survive_parking);
    RUN(echo_in_every_cut);
    RUN(bytes_behind_the_upgrade_are_frames);
    RUN(sent_messages_arrive_whole_at_slow_readers);
    RUN(a_slow_reader_parks_the_sender);
    RUN(sent_messages_leave_in_fragments);
    RUN(pings_are_answered);
    RUN(silence_is_pinged_and_cut);
    RUN(who_answers_stays_and_is_pinged_seldom);
    RUN(recv_until_comes_back_in_time);
    RUN(closes_are_answered);
    RUN(our_close_waits_for_an_answer);
    RUN(returning_says_farewell);
    RUN(frame_errors_end_with_their_code);
    RUN(over_the_limit_is_1009_before_a_byte_is_taken);
    RUN(ping_flood_is_bounded);
    RUN(a_panic_costs_one_connection);
    RUN(a_client_that_vanishes_wakes_its_handler);
    RUN(stop_tells_idle_ones_1001);
    RUN(broadcasts_reach_the_subscribers_in_order);
    RUN(handlers_broadcast_too);
    RUN(a_slow_subscriber_is_passed_by_or_closed);
    RUN(broadcasts_do_not_fall_between_fragments);
    RUN(subscriptions_are_limited);
    RUN(an_idle_one_holds_no_buffer);
    RUN(every_allocation_may_fail);
    RUN(broadcasts_cross_workers_in_the_order_of_each_thread);
    RUN(subscribers_may_vanish_while_others_shout);
    strike();
    free(wire);
    return TEST_END();
}
