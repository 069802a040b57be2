/* test_ws.c - >>ws: the handshake, frames in every cut, frames out, permessage-deflate (with -DCHOPIN_WITH_ZLIB -lz) */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER
#include "test.h"

static chopin__heap  heap = { .alloc = chopin__heap_default };
static _Alignas(16) char block[1 << 16];
static chopin__arena arena;

static chopin__arena *fresh(void) {
    chopin__arena_init(&arena, &heap, block, sizeof block, 0);
    return &arena;
}

/* ---- handshake ---- */
static chopin__head     head;
static chopin__field    fields[64];
static chopin__ws_shake shake;

static int check_rules(const char *request, const chopin__ws_rules *rules) {
    static const chopin__rules limits = { .max_method = 32, .max_target = 8192, .max_header_line = 8192, .max_head = 32768, .max_headers = 64,
                                          .max_chunk_line = 1024, .max_chunk_extensions = 1024 };
    head.fields = fields;
    chopin__head_reset(&head);
    int n = chopin__head_parse(&head, &limits, request, strlen(request));
    if (n <= 0) { printf("the head parser says %d: %s\n", n, head.why ? head.why : ""); return n; }
    return chopin__ws_check(&head, request, rules, &shake);
}
static int check(const char *request) { return check_rules(request, &(chopin__ws_rules){ 0 }); }

#define LINE    "GET /ws HTTP/1.1\r\nHost: x\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define KEY     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define GOOD    LINE UPGRADE KEY VERSION

static void handshake_matrix(void) {
    CHECK_EQ_INT(check(GOOD "\r\n"), 101);
    CHECK_STR(chopin__str_z(shake.accept), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");        // RFC 6455 1.3
    CHECK(!shake.protocol.ptr && !shake.extensions[0] && !shake.deflate.on && !shake.why);
    CHECK_EQ_INT(check("get /ws HTTP/1.1\r\nHost: x\r\n" UPGRADE KEY VERSION "\r\n"), 400);
    CHECK_EQ_INT(check("POST /ws HTTP/1.1\r\nHost: x\r\n" UPGRADE KEY VERSION "\r\n"), 400);
    CHECK_EQ_INT(check("HEAD /ws HTTP/1.1\r\nHost: x\r\n" UPGRADE KEY VERSION "\r\n"), 400);
    CHECK_EQ_INT(check("GET /ws HTTP/1.0\r\nHost: x\r\n" UPGRADE KEY VERSION "\r\n"), 400);
    CHECK_EQ_INT(check(GOOD "Content-Length: 0\r\n\r\n"), 101);
    CHECK_EQ_INT(check(GOOD "Content-Length: 5\r\n\r\n"), 400);
    CHECK_EQ_INT(check(GOOD "Transfer-Encoding: chunked\r\n\r\n"), 400);
}

static void upgrade_is_a_list_that_names_websocket(void) {
    CHECK_EQ_INT(check(LINE "Upgrade: WebSocket\r\nConnection: keep-alive, uPGRADE\r\n" KEY VERSION "\r\n"), 101);
    CHECK_EQ_INT(check(LINE "Upgrade: h2c, websocket\r\nConnection: Upgrade\r\n" KEY VERSION "\r\n"), 101);
    CHECK_EQ_INT(check(LINE "Upgrade: h2c\r\nUpgrade: ,\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" KEY VERSION "\r\n"), 101);
    CHECK_EQ_INT(check(LINE "Connection: Upgrade\r\n" KEY VERSION "\r\n"), 426);
    CHECK_EQ_INT(check(LINE "Upgrade: websocket\r\n" KEY VERSION "\r\n"), 426);
    CHECK_EQ_INT(check(LINE "Upgrade: websocket\r\nConnection: close\r\n" KEY VERSION "\r\n"), 426);
    CHECK_EQ_INT(check(LINE "Upgrade: websockets\r\nConnection: Upgrade\r\n" KEY VERSION "\r\n"), 426);
    CHECK_EQ_INT(check(LINE "Upgrade: websocket/13\r\nConnection: Upgrade\r\n" KEY VERSION "\r\n"), 426);
    CHECK_EQ_INT(check(LINE "\r\n"), 426);                                          // a browser's address bar
}

static void the_key_has_sixteen_bytes_and_the_version_is_13(void) {
    const char *bad[] = { "", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ===", "dGhlIHNhbXBsZSBub25jZQAA", "dGhlIHNhbXBsZSBub25jZ===", "dGhl HNhbXBsZSBub25jZQ==",
                          "dGhl-HNhbXBsZSBub25jZQ==", "dGhl=HNhbXBsZSBub25jZQ==", "\xc3\xa9hlIHNhbXBsZSBub25jZQ==" };
    char text[512];
    for (size_t i = 0; i < CHOPIN__COUNT(bad); i++) {
        snprintf(text, sizeof text, LINE UPGRADE VERSION "Sec-WebSocket-Key: %s\r\n\r\n", bad[i]);
        CHECK_EQ_INT(check(text), 400);
    }
    CHECK_EQ_INT(check(LINE UPGRADE VERSION "Sec-WebSocket-Key: AZaz09+/AZaz09+/AZaz09==\r\n\r\n"), 101);
    CHECK_EQ_INT(check(LINE UPGRADE VERSION "\r\n"), 400);
    CHECK_EQ_INT(check(GOOD KEY "\r\n"), 400);
    const char *versions[] = { "12", "8", "13, 8", "013", "130", "", "x" };
    for (size_t i = 0; i < CHOPIN__COUNT(versions); i++) {
        snprintf(text, sizeof text, LINE UPGRADE KEY "Sec-WebSocket-Version: %s\r\n\r\n", versions[i]);
        CHECK_EQ_INT(check(text), 426);
    }
    CHECK_EQ_INT(check(LINE UPGRADE KEY "\r\n"), 426);
    CHECK_EQ_INT(check(GOOD VERSION "\r\n"), 426);
}

static void our_first_subprotocol_wins(void) {
    const chopin__ws_rules two = { .protocols = " v2.chat ,v1.chat" };
    CHECK_EQ_INT(check_rules(GOOD "Sec-WebSocket-Protocol: v1.chat, v2.chat\r\n\r\n", &two), 101);
    CHECK_STR(shake.protocol, "v2.chat");
    CHECK_EQ_INT(check_rules(GOOD "Sec-WebSocket-Protocol: x\r\nSec-WebSocket-Protocol: v1.chat\r\n\r\n", &two), 101);
    CHECK_STR(shake.protocol, "v1.chat");
    CHECK_EQ_INT(check_rules(GOOD "Sec-WebSocket-Protocol: V1.CHAT, v1.chatt, v1\r\n\r\n", &two), 101);
    CHECK(!shake.protocol.ptr);
    CHECK_EQ_INT(check_rules(GOOD "\r\n", &two), 101);
    CHECK(!shake.protocol.ptr);
    CHECK_EQ_INT(check(GOOD "Sec-WebSocket-Protocol: v1.chat\r\n\r\n"), 101);
    CHECK(!shake.protocol.ptr);
    CHECK_EQ_INT(check_rules(GOOD "Sec-WebSocket-Protocol: v1.chat, a b\r\n\r\n", &two), 400);
}

static chopin_str reply_head(int status) {
    static char text[2048];
    chopin__reply r = { .status = status };
    chopin__preset preset;
    chopin__preset_init(&preset, "", true, 0);
    if (!chopin__ws_answer(&shake, status, &r, fresh())) return chopin__absent();
    return chopin__str(text, (size_t)(chopin__put_head(text, &preset, &r, (chopin__framing){ 0 }) - text));
}

static void the_101_has_one_connection_and_no_length(void) {
    CHECK_EQ_INT(check_rules(GOOD "Sec-WebSocket-Protocol: a\r\n\r\n", &(chopin__ws_rules){ .protocols = "a" }), 101);
    CHECK_STR(reply_head(101), "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                               "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: a\r\n\r\n");
    CHECK_EQ_INT(check(LINE UPGRADE KEY "\r\n"), 426);
    CHECK_STR(reply_head(426), "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n");
    CHECK_STR(reply_head(400), "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    chopin__reply r = { .status = 101 };
    chopin__arena_init(&arena, &heap, block, 64, 0);
    CHECK(!chopin__ws_answer(&shake, 101, &r, &arena) && arena.full);
}

static void sha1_of(chopin_str s, char out[41]) {
    uint8_t hash[20];
    chopin__ws_weak_sha1(s, hash);
    for (size_t i = 0; i < 20; i++) snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

static void sha1_and_base64_agree_with_their_rfcs(void) {
    static char a[1000000];
    char out[41], text[16];
    const char *from[] = { "", "f", "fo", "foo", "foob", "fooba", "foobar" }, *to[] = { "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy" };
    memset(a, 'a', sizeof a);
    sha1_of(CHOPIN_STR("abc"), out);                                                // RFC 3174 7.3
    CHECK_STR(chopin__str_z(out), "a9993e364706816aba3e25717850c26c9cd0d89d");
    sha1_of(CHOPIN_STR("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), out);
    CHECK_STR(chopin__str_z(out), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    sha1_of(chopin__str(a, sizeof a), out);
    CHECK_STR(chopin__str_z(out), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    sha1_of(CHOPIN_STR(""), out);
    CHECK_STR(chopin__str_z(out), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    sha1_of(chopin__str(a, 55), out);                                               // the last length of one block, and the first of two
    CHECK_STR(chopin__str_z(out), "c1c8bbdc22796e28c0e15163d20899b65621d65a");
    sha1_of(chopin__str(a, 56), out);
    CHECK_STR(chopin__str_z(out), "c2db330f6083854c99d4b5bfb6e8f29f201be699");
    for (size_t i = 0; i < CHOPIN__COUNT(from); i++) {                              // RFC 4648 10
        size_t n = chopin__ws_base64(text, (const uint8_t *)from[i], strlen(from[i]));
        CHECK_STR(chopin__str(text, n), to[i]);
    }
}

/* ---- a client's frames ---- */
static char   wire[1 << 20];
static size_t wire_len;

static void raw(const char *bytes, size_t len) { memcpy(wire + wire_len, bytes, len); wire_len += len; }
#define RAW(literal) raw(literal, sizeof(literal) - 1)

/* first: FIN, RSV and opcode; form: 7, 16 or 64 bits of length, 0: the shortest */
static void frame_form(unsigned first, chopin_str s, int form) {
    static unsigned seed = 1;
    char masked[4];
    size_t wide = form == 16 ? 2 : form == 64 ? 8 : form == 7 || s.len < 126 ? 0 : s.len < 65536 ? 2 : 8;
    wire[wire_len++] = (char)first;
    wire[wire_len++] = (char)(0x80u | (wide == 0 ? (unsigned)s.len : wide == 2 ? 126u : 127u));
    for (size_t i = 0; i < wide; i++) wire[wire_len++] = (char)((uint64_t)s.len >> (8 * (wide - 1 - i)));
    for (size_t i = 0; i < 4; i++) masked[i] = (char)((seed = seed * 1103515245 + 12345) >> 16);
    raw(masked, 4);
    for (size_t i = 0; i < s.len; i++) wire[wire_len++] = (char)(s.ptr[i] ^ masked[i & 3]);
}
static void frame(unsigned first, const char *text) { frame_form(first, chopin__str_z(text), 0); }
static void frame_n(unsigned first, const char *text, size_t len) { frame_form(first, chopin__str(text, len), 0); }

/* ---- what the reader makes of them: "T hello\n" a message, "ping x\n", "close 1000 bye\n", and last the verdict ---- */
typedef struct { char text[1 << 18]; size_t len; } transcript;
static transcript whole, other;
static uint64_t max_frame = 1 << 16, max_message = 1 << 17;
static bool     with_deflate;

static void note(transcript *t, const char *text, size_t len) {
    size_t n = chopin__min(len, sizeof t->text - t->len);
    if (n) memcpy(t->text + t->len, text, n);
    t->len += n;
}
static void note_z(transcript *t, const char *text) { note(t, text, strlen(text)); }

static char   message[1 << 18];
static size_t message_len;

static void note_event(transcript *t, const chopin__ws_event *e) {
    char line[32];
    if (e->opcode == CHOPIN__WS_PING || e->opcode == CHOPIN__WS_PONG) note_z(t, e->opcode == CHOPIN__WS_PING ? "ping " : "pong ");
    if (e->opcode == CHOPIN__WS_CLOSE) { snprintf(line, sizeof line, "close %d ", e->code); note_z(t, line); }
    if (e->opcode >= CHOPIN__WS_CLOSE) { note(t, e->data.ptr, e->data.len); note_z(t, "\n"); return; }
    if (e->first) message_len = 0;
    else CHECK(message_len > 0 || e->data.len > 0 || e->last);
    CHECK(message_len + e->data.len <= max_message && message_len + e->data.len <= sizeof message);
    if (e->data.len) memcpy(message + message_len, e->data.ptr, e->data.len);
    message_len += e->data.len;
    if (!e->last) return;
    note_z(t, e->opcode == CHOPIN__WS_TEXT ? "T" : "B");
    note_z(t, e->deflated ? "z " : " ");
    note(t, message, message_len);
    note_z(t, "\n");
}

static int verdict;

/* Feeds one piece, alone in its memory. */
static bool feed(chopin__ws_reader *r, transcript *t, const char *bytes, size_t len) {
    char *copy = malloc(len ? len : 1), *at = copy;
    chopin__ws_event e;
    if (len) memcpy(copy, bytes, len);
    while ((verdict = chopin__ws_next(r, &at, &len, &e)) > 0) note_event(t, &e);
    CHECK(verdict < 0 || len == 0);
    free(copy);
    return verdict == 0;
}

static void finish(const chopin__ws_reader *r, transcript *t) {
    char line[160];
    char *at = NULL;
    size_t none = 0;
    chopin__ws_event e;
    chopin__ws_reader again = *r;
    CHECK_EQ_INT(chopin__ws_next(&again, &at, &none, &e), verdict);                 // a verdict stays
    CHECK((verdict < 0) == (r->why != NULL));
    snprintf(line, sizeof line, "%d %s", -verdict, r->why ? r->why : r->closed ? "closed" : "open");
    note_z(t, line);
}

static void play_cut(transcript *t, size_t first, size_t step) {
    chopin__ws_reader r;
    chopin__ws_reader_init(&r, max_frame, max_message, with_deflate);
    t->len = 0;
    if (!feed(&r, t, wire, first)) { finish(&r, t); return; }
    for (size_t at = first; at < wire_len; at += step) {
        if (!feed(&r, t, wire + at, chopin__min(step, wire_len - at))) break;
    }
    finish(&r, t);
}

/* Plays what was written, whole, byte by byte, in twos and threes, and cut in two everywhere: always the same. */
static chopin_str play(void) {
    play_cut(&whole, wire_len, 1);
    for (size_t step = 1; step <= 3; step++) {
        play_cut(&other, 0, step);
        CHECK(other.len == whole.len && memcmp(other.text, whole.text, whole.len) == 0);
    }
    for (size_t cut = 1; cut < chopin__min(wire_len, 600); cut++) {
        play_cut(&other, cut, wire_len);
        CHECK(other.len == whole.len && memcmp(other.text, whole.text, whole.len) == 0);
    }
    wire_len = 0;
    return chopin__str(whole.text, whole.len);
}
#define PLAY(want) do { chopin_str got_ = play(); CHECK_STR(got_, want); } while (0)

static void messages_arrive_in_any_cut(void) {
    frame(0x81, "Hello");
    frame(0x82, "bytes \xff\xfe");
    frame(0x81, "");
    PLAY("T Hello\nB bytes \xff\xfe\nT \n0 open");
    RAW("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");                            // RFC 6455 5.7
    PLAY("T Hello\n0 open");
    frame(0x01, "Hel"); frame(0x89, "?"); frame(0x00, ""); frame(0x8a, "!"); frame(0x80, "lo");
    PLAY("ping ?\npong !\nT Hello\n0 open");
    frame(0x02, ""); frame(0x00, ""); frame(0x80, "");
    PLAY("B \n0 open");
    frame(0x01, ""); frame(0x80, "x"); frame(0x01, "y"); frame(0x80, "");
    PLAY("T x\nT y\n0 open");
}

static void every_length_form_is_read(void) {
    static char text[70000];
    static const size_t lens[] = { 124, 125, 126, 127, 255, 256, 4095, 65534, 65535, 65536 };
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)('a' + i % 26);
    for (size_t i = 0; i < CHOPIN__COUNT(lens); i++) {
        frame_n(0x81, text, lens[i]);
        CHECK_EQ_INT(wire_len, lens[i] + (lens[i] < 126 ? 6 : lens[i] < 65536 ? 8 : 14));
        chopin_str got = lens[i] < 1000 ? play() : (play_cut(&whole, 20, 1000), wire_len = 0, chopin__str(whole.text, whole.len));
        CHECK(got.len == lens[i] + 9 && memcmp(got.ptr + 2, text, lens[i]) == 0);
    }
}

static void frame_errors(void) {
    RAW("\x81\x05" "Hello");
    PLAY("1002 frame is not masked");
    RAW("\x89\x00");
    PLAY("1002 frame is not masked");
    static const unsigned reserved[] = { 0xc1, 0xa1, 0x91, 0xf1, 0xc2, 0xc9, 0xa8, 0x9a };
    for (size_t i = 0; i < CHOPIN__COUNT(reserved); i++) { frame(reserved[i], "x"); PLAY("1002 reserved bit set"); }
    frame(0x01, "a"); frame(0xc0, "b");
    PLAY("1002 reserved bit set");
    static const unsigned opcodes[] = { 3, 4, 5, 6, 7, 11, 12, 13, 14, 15 };
    for (size_t i = 0; i < CHOPIN__COUNT(opcodes); i++) {
        frame(0x80 | opcodes[i], ""); PLAY("1002 reserved opcode");
        frame(opcodes[i], "x");       PLAY("1002 reserved opcode");
    }
    for (unsigned opcode = 8; opcode <= 10; opcode++) { frame(opcode, "x"); PLAY("1002 fragmented control frame"); }
    frame(0x80, "x");
    PLAY("1002 continuation of nothing");
    frame(0x81, "x"); frame(0x00, "y");
    PLAY("T x\n1002 continuation of nothing");
    frame(0x01, "x"); frame(0x81, "y");
    PLAY("1002 message inside a message");
    frame(0x01, "x"); frame(0x89, ""); frame(0x02, "y");
    PLAY("ping \n1002 message inside a message");
}

static void control_frames_are_short(void) {
    char text[200], want[256];
    memset(text, 'p', sizeof text);
    for (unsigned opcode = 0x89; opcode <= 0x8a; opcode++) {
        frame_n(opcode, text, 125);
        snprintf(want, sizeof want, "%s %.125s\n0 open", opcode == 0x89 ? "ping" : "pong", text);
        PLAY(want);
        frame_n(opcode, text, 126);
        PLAY("1002 control frame too long");
        frame_form(opcode, chopin__str(text, 5), 16);
        PLAY("1002 control frame too long");
        frame_form(opcode, chopin__str(text, 5), 64);
        PLAY("1002 control frame too long");
    }
}

static void lengths_are_minimal_and_below_2_63(void) {
    static char text[70000];
    memset(text, 'x', sizeof text);
    frame_form(0x81, chopin__str(text, 125), 16);
    PLAY("1002 frame length is not minimal");
    frame_form(0x81, chopin__str(text, 0), 16);
    PLAY("1002 frame length is not minimal");
    frame_form(0x82, chopin__str(text, 5), 64);
    PLAY("1002 frame length is not minimal");
    RAW("\x82\xff\0\0\0\0\0\0\xff\xff" "mask");
    PLAY("1002 frame length is not minimal");
    RAW("\x82\xff\x80\0\0\0\0\0\0\0");
    PLAY("1002 frame length with the top bit set");
    RAW("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff");
    PLAY("1002 frame length with the top bit set");
}

static void limits_come_before_any_byte_is_taken(void) {
    RAW("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff");                                // not even the mask has come
    PLAY("1009 frame too large (raise chopin_options.ws_max_frame)");
    max_frame = 10; max_message = 15;
    frame(0x81, "0123456789");
    PLAY("T 0123456789\n0 open");
    frame(0x81, "0123456789a");
    PLAY("1009 frame too large (raise chopin_options.ws_max_frame)");
    frame(0x01, "0123456789"); frame(0x80, "abcde");
    PLAY("T 0123456789abcde\n0 open");
    frame(0x01, "0123456789"); frame(0x80, "abcdef");
    PLAY("1009 message too large (raise chopin_options.ws_max_message)");
    frame(0x01, "0123456789"); frame(0x00, "abcde"); frame(0x00, ""); frame(0x80, "f");
    PLAY("1009 message too large (raise chopin_options.ws_max_message)");
    frame(0x01, "0123456789"); frame(0x89, "control frames are not part of it"); frame(0x80, "abcde"); frame(0x81, "next");
    PLAY("ping control frames are not part of it\nT 0123456789abcde\nT next\n0 open");
    max_frame = max_message = 0;
    frame(0x81, ""); frame(0x89, "x"); frame(0x81, "y");
    PLAY("T \nping x\n1009 frame too large (raise chopin_options.ws_max_frame)");
    max_frame = UINT64_MAX; max_message = UINT64_MAX;                               // nobody's sum runs over
    frame(0x01, "abc");
    RAW("\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff" "mask" "z");
    PLAY("0 open");
    max_frame = 1 << 16; max_message = 1 << 17;
}

static void utf8_across_fragments(void) {
    static const char *good[] = { "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf\xee\x80\x80", "\xef\xbf\xbf", "\xc2\x80\xdf\xbf",
                                  "\xe0\xa0\x80", "\xf0\x90\x80\x80", "abcdefgh\xc3\xa9 zbcdefghijklmnop\xe2\x82\xac" };
    static const char *bad[] = { "\x80", "\xbf", "\xc0\xaf", "\xc1\xbf", "\xe0\x80\xaf", "\xe0\x9f\xbf", "\xf0\x80\x80\xaf", "\xf0\x8f\xbf\xbf", "\xed\xa0\x80", "\xed\xbf\xbf",
                                 "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xfe", "\xff", "\xc3(", "\xe2\x82(", "\xf0\x9f\x98(", "abcdefgh\xff zbcdefgh", "\xce\xba\xe1\xbd\xb9\xed\xa0\x80" };
    static const char *cut[] = { "\xc3", "\xe2", "\xe2\x82", "\xf0", "\xf0\x9f", "\xf0\x9f\x98" };
    char want[64];
    for (size_t i = 0; i < CHOPIN__COUNT(good); i++) {
        size_t len = strlen(good[i]);
        snprintf(want, sizeof want, "T %s\n0 open", good[i]);
        for (size_t n = 0; n <= len; n++) { frame_n(0x01, good[i], n); frame(0x80, good[i] + n); PLAY(want); }
        for (size_t n = 0; n < len; n++) frame_n(n ? 0x00 : 0x01, good[i] + n, 1);
        frame(0x80, "");
        PLAY(want);
    }
    for (size_t i = 0; i < CHOPIN__COUNT(bad); i++) {
        size_t len = strlen(bad[i]);
        for (size_t n = 0; n <= len; n++) { frame_n(0x01, bad[i], n); frame(0x80, bad[i] + n); PLAY("1007 text is not UTF-8"); }
        frame(0x82, bad[i]);
        snprintf(want, sizeof want, "B %s\n0 open", bad[i]);
        PLAY(want);
    }
    for (size_t i = 0; i < CHOPIN__COUNT(cut); i++) {
        frame(0x81, cut[i]);                    PLAY("1007 text is not UTF-8");
        frame(0x01, cut[i]); frame(0x80, "");   PLAY("1007 text is not UTF-8");
        frame(0x01, cut[i]);                    PLAY("0 open");                     // may go on
    }
}

static void bad_text_fails_at_its_first_byte(void) {
    RAW("\x01\xfe\xff\xff\0\0\0\0" "\xce\xba\xf4\x90");                             // 65535 bytes announced, the mask is 0
    PLAY("1007 text is not UTF-8");
    RAW("\x01\xfe\xff\xff\0\0\0\0" "\xce\xba\xf4\x8f");
    PLAY("0 open");
}

static void close_codes(void) {
    for (unsigned code = 0; code <= 65535; code = code == 5000 ? 65535 : code + 1) {
        char payload[2] = { (char)(code >> 8), (char)code }, want[64];
        bool valid = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
        snprintf(want, sizeof want, valid ? "close %u \n0 closed" : "1002 close code is not valid", code);
        frame_n(0x88, payload, 2);
        play_cut(&whole, wire_len, 1);
        wire_len = 0;
        CHECK_STR(chopin__str(whole.text, whole.len), want);
        CHECK_EQ_INT(chopin__ws_close_code_ok(code), valid);
        if (code == 65535) break;
    }
    frame(0x88, "");
    PLAY("close 1005 \n0 closed");
    frame(0x88, "\x03");
    PLAY("1002 close frame of one byte");
    frame(0x88, "\x03\xe8" "bye \xe2\x82\xac");
    PLAY("close 1000 bye \xe2\x82\xac\n0 closed");
    frame(0x88, "\x03\xe8" "bye \xe2\x82");
    PLAY("1007 close reason is not UTF-8");
    frame(0x88, "\x03\xe8\xed\xa0\x80");
    PLAY("1007 close reason is not UTF-8");
    frame(0x01, "un"); frame(0x88, "\x03\xe9"); frame(0x80, "read"); RAW("\xff\xff nothing of this is looked at");
    PLAY("close 1001 \n0 closed");
}

static void ping_flood_is_bounded(void) {
    chopin__ws_reader r;
    chopin__ws_pong   pong = { 0 };
    chopin__ws_event  e;
    char   out[2 + CHOPIN__WS_CONTROL_MAX], text[32];
    size_t pings = 0;
    chopin__ws_reader_init(&r, 100, 100, false);
    CHECK_EQ_INT(chopin__ws_put_pong(&pong, out), 0);
    for (int i = 0; i < 100000; i++) {
        snprintf(text, sizeof text, "%d", i);
        frame(0x89, text);
        char  *at  = wire;
        size_t len = wire_len;
        while (chopin__ws_next(&r, &at, &len, &e) > 0) { chopin__ws_ping(&pong, e.data); pings++; }
        wire_len = 0;
    }
    CHECK_EQ_INT(pings, 100000);
    size_t n = chopin__ws_put_pong(&pong, out);                                     // one answer, to the last
    CHECK_STR(chopin__str(out, n), "\x8a\x05" "99999");
    CHECK_EQ_INT(chopin__ws_put_pong(&pong, out), 0);
    memset(text, 'x', sizeof text);
    chopin__ws_ping(&pong, chopin__str(NULL, 0));
    CHECK(chopin__ws_put_pong(&pong, out) == 2 && memcmp(out, "\x8a\0", 2) == 0);
}

static void masks_come_off_in_any_phase(void) {
    static const uint8_t mask[4] = { 0x12, 0x84, 0xf0, 0x3d };
    for (size_t len = 0; len < 200; len++) {
        for (size_t phase = 0; phase < 5; phase++) {
            char *p = malloc(len + 17), *start = p + phase * 3 + len % 3;
            char *end = malloc(len ? len : 1);                                      // and once at the very end of its memory
            for (size_t i = 0; i < len; i++) start[i] = end[i] = (char)((i * 7 + 1) ^ mask[(i + phase) & 3]);
            chopin__ws_unmask(start, len, mask, phase);
            chopin__ws_unmask(end, len, mask, phase);
            bool same = true;
            for (size_t i = 0; i < len; i++) same &= start[i] == (char)(i * 7 + 1) && end[i] == start[i];
            CHECK(same);
            free(p);
            free(end);
        }
    }
}

static void random_streams_read_the_same_in_random_cuts(void) {
    uint64_t seed = 7;
    for (int round = 0; round < 300; round++) {
        static char text[3000];
        bool inside = false;
        for (int frames = 0; frames < 8; frames++) {
            uint64_t dice = chopin__random_next(&seed);
            size_t   len  = dice % 5 == 0 ? dice / 8 % 3000 : dice / 8 % 120;
            bool     fin  = dice >> 40 & 1;
            for (size_t i = 0; i < len; i++) text[i] = (char)('a' + (dice + i) % 26);
            if (dice >> 50 & 1) { frame_n(0x89, text, len % 126); continue; }
            frame_n((fin ? 0x80u : 0) | (inside ? 0 : 1 + (unsigned)(dice >> 60 & 1)), text, len);
            inside = !fin;
        }
        if (round % 3 == 0) wire[chopin__random_next(&seed) % wire_len] ^= (char)(1 << round % 8);
        play_cut(&whole, wire_len, 1);
        for (int i = 0; i < 6; i++) {
            play_cut(&other, chopin__random_next(&seed) % wire_len, 1 + chopin__random_next(&seed) % 40);
            CHECK(other.len == whole.len && memcmp(other.text, whole.text, whole.len) == 0);
        }
        wire_len = 0;
    }
}

/* ---- out ---- */
static void heads_have_the_shortest_length(void) {
    char out[10];
    CHECK(chopin__ws_put_head(out, CHOPIN__WS_TEXT, true, false, 0) == 2 && memcmp(out, "\x81\0", 2) == 0);
    CHECK(chopin__ws_put_head(out, CHOPIN__WS_TEXT, false, true, 125) == 2 && memcmp(out, "\x41\x7d", 2) == 0);
    CHECK(chopin__ws_put_head(out, CHOPIN__WS_BINARY, true, false, 126) == 4 && memcmp(out, "\x82\x7e\0\x7e", 4) == 0);
    CHECK(chopin__ws_put_head(out, CHOPIN__WS_CONTINUATION, true, false, 65535) == 4 && memcmp(out, "\x80\x7e\xff\xff", 4) == 0);
    CHECK(chopin__ws_put_head(out, CHOPIN__WS_BINARY, true, false, 65536) == 10 && memcmp(out, "\x82\x7f\0\0\0\0\0\1\0\0", 10) == 0);
    CHECK(chopin__ws_put_head(out, CHOPIN__WS_BINARY, true, false, UINT64_C(0x0123456789abcdef)) == 10 && memcmp(out, "\x82\x7f\x01\x23\x45\x67\x89\xab\xcd\xef", 10) == 0);
}

static chopin_str written(const char *text, size_t max) {
    static char out[256];
    chopin__ws_writer w;
    chopin_str payload;
    char   bytes[10];
    size_t at = 0, n;
    chopin__ws_writer_init(&w, CHOPIN__WS_TEXT, true, chopin__str_z(text), max);
    while ((n = chopin__ws_write(&w, bytes, &payload)) > 0) {
        memcpy(out + at, bytes, n);
        if (payload.len) memcpy(out + at + n, payload.ptr, payload.len);
        at += n + payload.len;
    }
    return chopin__str(out, at);
}

static void long_messages_leave_in_frames(void) {
    CHECK_STR(written("hello", 0), "\xc1\x05hello");
    CHECK_STR(written("hello", 5), "\xc1\x05hello");
    CHECK_STR(written("hello", 4), "\x41\x04hell\x80\x01o");
}

static void fragments_are_counted_to_the_last(void) {
    chopin_str two = written("hello", 2);
    CHECK(two.len == 11 && memcmp(two.ptr, "\x41\x02he\0\x02ll\x80\x01o", 11) == 0);
    chopin_str none = written("", 3);
    CHECK(none.len == 2 && memcmp(none.ptr, "\xc1\0", 2) == 0);
    CHECK_EQ_INT(written("abcdef", 3).len, 10);
}

static void close_payloads_fit(void) {
    char out[CHOPIN__WS_CONTROL_MAX], text[400];
    CHECK(chopin__ws_put_close(out, 1000, chopin__absent()) == 2 && memcmp(out, "\x03\xe8", 2) == 0);
    CHECK(chopin__ws_put_close(out, 4999, CHOPIN_STR("bye")) == 5 && memcmp(out, "\x13\x87" "bye", 5) == 0);
    static const unsigned bad[] = { 0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 66536 };
    for (size_t i = 0; i < CHOPIN__COUNT(bad); i++) CHECK_EQ_INT(chopin__ws_put_close(out, bad[i], CHOPIN_STR("x")), 0);
    for (size_t i = 0; i < 399; i += 3) memcpy(text + i, "\xe2\x82\xac", 3);
    CHECK_EQ_INT(chopin__ws_put_close(out, 1000, chopin__str(text, 399)), 2 + 123);
    text[0] = 'x';
    CHECK_EQ_INT(chopin__ws_put_close(out, 1000, chopin__str(text, 1)), 3);
    CHECK_EQ_INT(chopin__ws_put_close(out, 1000, CHOPIN_STR("ab\xff" "cd")), 4);
    for (size_t i = 0; i < 399; i += 4) memcpy(text + i, "\xf0\x9f\x98\x80", chopin__min(4, 399 - i));
    CHECK_EQ_INT(chopin__ws_put_close(out, 1000, chopin__str(text, 399)), 2 + 120);
}

/* ---- compression ---- */
static void rsv1_wants_an_agreement(void) {
    with_deflate = true;
    frame(0xc1, "\xff not inflated here");
    PLAY("Tz \xff not inflated here\n0 open");
    frame(0x41, "\xff"); frame(0x89, ""); frame(0x80, "x"); frame(0x81, "plain"); frame(0xc2, "z");
    PLAY("ping \nTz \xffx\nT plain\nBz z\n0 open");
    frame(0xc1, "z"); frame(0x81, "\xff");
    PLAY("Tz z\n1007 text is not UTF-8");
    frame(0x41, "a"); frame(0xc0, "b");
    PLAY("1002 reserved bit set");
    static const unsigned reserved[] = { 0xc8, 0xc9, 0xca, 0xa1, 0xe1, 0xd1, 0xc0 };
    for (size_t i = 0; i < CHOPIN__COUNT(reserved); i++) { frame(reserved[i], "x"); PLAY("1002 reserved bit set"); }
    with_deflate = false;
}

#ifdef CHOPIN_WITH_ZLIB
static const char *agreed(const char *offer, chopin__ws_deflate_terms ours) {
    char request[1024];
    ours.on = true;
    snprintf(request, sizeof request, GOOD "Sec-WebSocket-Extensions: %s\r\n\r\n", offer);
    CHECK_EQ_INT(check_rules(request, &(chopin__ws_rules){ .deflate = ours }), 101);
    CHECK_EQ_INT(shake.deflate.on, shake.extensions[0] != 0);
    return shake.extensions;
}
#define AGREED(offer, want, ...) CHECK_STR(chopin__str_z(agreed(offer, (chopin__ws_deflate_terms){ __VA_ARGS__ })), want)
#define PMD "permessage-deflate"

static void deflate_is_agreed_on_by_the_rules(void) {
    AGREED(PMD, PMD, 0);
    AGREED("Permessage-Deflate ; Server_No_Context_Takeover", PMD "; server_no_context_takeover", 0);
    AGREED(PMD "; client_no_context_takeover", PMD "; client_no_context_takeover", 0);
    AGREED(PMD, PMD "; server_no_context_takeover; client_no_context_takeover", .server_no_takeover = true, .client_no_takeover = true);
    AGREED(PMD "; client_max_window_bits", PMD "; client_max_window_bits=15", 0);       // what browsers send
    AGREED(PMD "; client_max_window_bits=10", PMD "; client_max_window_bits=10", .client_bits = 12);
    AGREED(PMD "; client_max_window_bits=14", PMD "; client_max_window_bits=12", .client_bits = 12);
    AGREED(PMD "; client_max_window_bits=8", PMD "; client_max_window_bits=8", 0);
    AGREED(PMD, "", .client_bits = 12);                                                  // cannot be held to it
    AGREED(PMD ", " PMD "; client_max_window_bits", PMD "; client_max_window_bits=12", .client_bits = 12);
    AGREED(PMD "; server_max_window_bits=10", PMD "; server_max_window_bits=10", 0);
    AGREED(PMD "; server_max_window_bits=\"9\"", PMD "; server_max_window_bits=9", 0);
    AGREED(PMD "; server_max_window_bits=15", PMD "; server_max_window_bits=15", 0);
    AGREED(PMD "; server_max_window_bits=15", PMD "; server_max_window_bits=11", .server_bits = 11);
    AGREED(PMD, PMD "; server_max_window_bits=11", .server_bits = 11);
    AGREED(PMD "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15; client_max_window_bits=15",
           PMD "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15; client_max_window_bits=15", 0);
    AGREED(PMD "; server_max_window_bits=8", "", 0);
    AGREED(PMD "; server_max_window_bits=8, " PMD, PMD, 0);                              // the next offer
    AGREED("x-webkit-deflate-frame, foo; bar=1, " PMD, PMD, 0);
}

static void wrong_offers_are_declined(void) {
    static const char *bad[] = { "server_max_window_bits", "server_max_window_bits=7", "server_max_window_bits=16", "server_max_window_bits=010", "server_max_window_bits=09",
        "server_max_window_bits=", "server_max_window_bits=\"10", "server_max_window_bits=+9", "server_max_window_bits=100", "client_max_window_bits=7", "client_max_window_bits=16",
        "client_max_window_bits=", "client_max_window_bits=x", "server_no_context_takeover=1", "client_no_context_takeover=", "unknown", "unknown=1", "",
        "client_max_window_bits; client_max_window_bits=10", "server_no_context_takeover; server_no_context_takeover", "server_max_window_bits=10; server_max_window_bits=10" };
    char offer[256];
    for (size_t i = 0; i < CHOPIN__COUNT(bad); i++) {
        snprintf(offer, sizeof offer, PMD "; %s%s", bad[i], bad[i][0] ? "" : "; x");
        AGREED(offer, "", 0);
    }
    CHECK_EQ_INT(check(GOOD "Sec-WebSocket-Extensions: " PMD "\r\n\r\n"), 101);          // nobody asked for it
    CHECK(!shake.extensions[0] && !shake.deflate.on);
    CHECK_EQ_INT(check_rules(GOOD "Sec-WebSocket-Extensions: foo\r\nSec-WebSocket-Extensions: " PMD "\r\n\r\n", &(chopin__ws_rules){ .deflate.on = true }), 101);
    CHECK(shake.deflate.on && shake.deflate.server_bits == 15 && shake.deflate.client_bits == 15);
    CHECK_STR(reply_head(101), "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                               "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
}

static const chopin__ws_deflate_terms normal = { true, false, false, 15, 15 };
static chopin__ws_inflater inflater;

/* Inflates one message that comes in pieces of `step` bytes, through `cap` bytes at a time. Absent: refused, verdict says how. */
static chopin_str inflated_by(chopin_str in, size_t step, size_t cap, bool text) {
    static char out[1 << 18];
    size_t at = 0, n;
    chopin__ws_inflate_begin(&inflater, text);
    do {
        chopin_str piece = chopin__str(in.ptr, chopin__min(step, in.len));
        in = chopin__str(in.ptr + piece.len, in.len - piece.len);
        do {
            char *room = malloc(cap);
            verdict = chopin__ws_inflate(&inflater, &piece, in.len == 0, room, cap, &n);
            CHECK(n <= cap && at + n <= sizeof out);
            if (at + n <= sizeof out) memcpy(out + at, room, n);
            at += n;
            free(room);
        } while (verdict == 2);
        CHECK(verdict < 0 || piece.len == 0);
    } while (verdict == 0 && in.len > 0);
    return verdict == 1 ? chopin__str(out, at) : chopin__absent();
}

static chopin_str inflated(chopin_str in, const chopin__ws_deflate_terms *terms, uint64_t max, size_t step, size_t cap, bool text) {
    CHECK(chopin__ws_inflate_open(&inflater, &heap, terms, max));
    chopin_str out = inflated_by(in, step, cap, text);
    chopin__ws_inflate_close(&inflater);
    return out;
}

/* In pieces and rooms of many sizes. */
static void inflates_to(const char *bytes, size_t len, const char *want, int code) {
    static const size_t steps[] = { 1, 2, 3, 1000 }, caps[] = { 1, 2, 5, 1000 };
    for (size_t i = 0; i < 16; i++) {
        chopin_str out = inflated(chopin__str(bytes, len), &normal, 1000, steps[i / 4], caps[i % 4], true);
        if (want) CHECK_STR(out, want);
        else      CHECK(!out.ptr && verdict == -code && inflater.why);
    }
}
#define INFLATES_TO(literal, want) inflates_to(literal, sizeof(literal) - 1, want, 0)
#define INFLATE_FAILS(literal)     inflates_to(literal, sizeof(literal) - 1, NULL, 1007)

static void examples_of_rfc_7692_inflate(void) {
    INFLATES_TO("\xf2\x48\xcd\xc9\xc9\x07\x00", "Hello");                                  // 7.2.3.1
    INFLATES_TO("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "Hello");                  // 7.2.3.3: stored
    INFLATES_TO("\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello");                              // 7.2.3.4: a final block
    INFLATES_TO("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "Hello");          // 7.2.3.5: two blocks
    INFLATES_TO("\x00", "");                                                              // 7.2.3.6
    CHECK(chopin__ws_inflate_open(&inflater, &heap, &normal, 1000));                       // 7.2.3.2: the window goes on ...
    CHECK_STR(inflated_by(CHOPIN_STR("\xf2\x48\xcd\xc9\xc9\x07\x00"), 9, 9, true), "Hello");
    CHECK_STR(inflated_by(CHOPIN_STR("\xf2\x00\x11\x00\x00"), 1, 1, true), "Hello");
    chopin__ws_inflate_close(&inflater);
    CHECK(chopin__ws_inflate_open(&inflater, &heap, &normal, 1000));                       // ... also over a final block
    CHECK_STR(inflated_by(CHOPIN_STR("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), 9, 9, true), "Hello");
    CHECK_STR(inflated_by(CHOPIN_STR("\xf2\x00\x11\x00\x00"), 1, 1, true), "Hello");
    chopin__ws_inflate_close(&inflater);
    chopin__ws_deflate_terms anew = { true, true, true, 15, 15 };
    CHECK(chopin__ws_inflate_open(&inflater, &heap, &anew, 1000));                         // ... and not where it was forbidden
    CHECK_STR(inflated_by(CHOPIN_STR("\xf2\x48\xcd\xc9\xc9\x07\x00"), 9, 9, true), "Hello");
    CHECK(!inflated_by(CHOPIN_STR("\xf2\x00\x11\x00\x00"), 1, 1, true).ptr);
    chopin__ws_inflate_close(&inflater);
}

static void damaged_data_and_text_are_1007(void) {
    INFLATE_FAILS("");                                                                    // even an empty message has a byte
    INFLATE_FAILS("\xf2\x48\xcd\xc9");                                                    // cut short
    INFLATE_FAILS("\xff\xff\xff\xff");
    INFLATE_FAILS("\x07");                                                                // a block of a kind that is not
    INFLATE_FAILS("\x00\x05\x00\xfa\xff\x48\x65");                                         // a stored block that is not whole
    INFLATE_FAILS("\xf3\x48\xcd\xc9\xc9\x07\x00");                                         // a final block without what must follow
    INFLATE_FAILS("\x00\x01\x00\xfe\xff\xff\x00");                                         // "\xff"
    INFLATE_FAILS("\x00\x02\x00\xfd\xff\xe2\x82\x00");                                     // a character cut short
}

static void deflate_bomb_and_window_bits(void) {
    static char  zeros[1 << 20], bomb[1 << 15];
    chopin__ws_deflater d;
    size_t n, used = 0, produced = 0, got;
    CHECK(chopin__ws_deflate_open(&d, &heap, &normal, 9));
    CHECK(chopin__ws_deflate(&d, chopin__str(zeros, sizeof zeros), bomb, sizeof bomb, &n));
    CHECK(n < 2000);                                                                      // a thousandth
    chopin__ws_deflate_close(&d);
    for (size_t limit = 0; limit < 3; limit++) {
        CHECK(chopin__ws_inflate_open(&inflater, &heap, &normal, 9999 + limit));
        CHECK(!inflated_by(chopin__str(bomb, n), n, 4096, false).ptr && verdict == -1009);
        CHECK_EQ_INT(inflater.size, 9999 + limit + 1);                                    // stopped at once
        chopin__ws_inflate_close(&inflater);
    }
    // Exactly at the limit is allowed, one above is not.
    CHECK(chopin__ws_inflate_open(&inflater, &heap, &normal, sizeof zeros));
    chopin__ws_inflate_begin(&inflater, false);
    chopin_str rest = chopin__str(bomb, n);
    do { verdict = chopin__ws_inflate(&inflater, &rest, true, zeros, 65536, &got); produced += got; used++; } while (verdict == 2);
    CHECK(verdict == 1 && produced == sizeof zeros && used < 20);
    chopin__ws_inflate_close(&inflater);
    CHECK(!inflated(CHOPIN_STR("\xf2\x48\xcd\xc9\xc9\x07\x00"), &normal, 4, 100, 100, true).ptr && verdict == -1009);
    CHECK_STR(inflated(CHOPIN_STR("\xf2\x48\xcd\xc9\xc9\x07\x00"), &normal, 5, 100, 100, true), "Hello");
    CHECK_STR(inflated(CHOPIN_STR("\xf2\x48\xcd\xc9\xc9\x07\x00"), &normal, UINT64_MAX, 100, 100, true), "Hello");
}

static void windows_are_as_small_as_agreed(void) {
    static char in[40000], out[50000];
    uint64_t seed = 3;
    for (size_t i = 0; i < 20000; i++) in[i] = in[i + 20000] = (char)chopin__random_next(&seed);      // repeats itself, far back
    for (uint8_t bits = 9; bits <= 15; bits++) {
        chopin__ws_deflate_terms terms = { true, false, false, bits, bits };
        chopin__ws_deflater d;
        size_t n;
        CHECK(chopin__ws_deflate_open(&d, &heap, &terms, 6));
        CHECK(chopin__ws_deflate_bound(&d, sizeof in) <= sizeof out);
        CHECK(chopin__ws_deflate(&d, chopin__str(in, sizeof in), out, sizeof out, &n));
        CHECK((n < 30000) == (bits == 15));                                              // only that window reaches so far
        chopin_str back = inflated(chopin__str(out, n), &terms, sizeof in, 777, 1000, false);
        CHECK(back.len == sizeof in && memcmp(back.ptr, in, sizeof in) == 0);
        if (bits == 15) {                                                                 // a sender that keeps not to it is caught
            terms.client_bits = 8;
            CHECK(!inflated(chopin__str(out, n), &terms, sizeof in, 777, 1000, false).ptr && verdict == -1007);
        }
        chopin__ws_deflate_close(&d);
    }
}

static void compressed_messages_come_back(void) {
    chopin__ws_deflate_terms terms = normal;
    char out[3000], text[2000];
    for (int takeover = 0; takeover < 2; takeover++) {
        chopin__ws_deflater d;
        size_t n, first = 0;
        terms.server_no_takeover = terms.client_no_takeover = !takeover;
        CHECK(chopin__ws_deflate_open(&d, &heap, &terms, 6) && chopin__ws_inflate_open(&inflater, &heap, &terms, 100000));
        for (int i = 0; i < 50; i++) {
            size_t len = i == 7 || i == 8 ? 0 : (size_t)snprintf(text, sizeof text, "{\"message\":%d,\"text\":\"the same as ever, but for its number\"}", i);
            CHECK(chopin__ws_deflate_bound(&d, len) <= sizeof out);
            CHECK(chopin__ws_deflate(&d, chopin__str(text, len), out, sizeof out, &n));
            if (i == 0) first = n;
            if (i > 8 && i % 10 != 4) CHECK((n < first / 2) == (takeover == 1));
            chopin_str back = inflated_by(chopin__str(out, n), 1 + (size_t)i % 5, 1 + (size_t)i, true);
            CHECK(back.ptr && back.len == len && memcmp(back.ptr, text, len) == 0);
            // What does not fit must leave no trace: the next message refers to nothing the client never saw.
            if (i % 10 == 3) CHECK(!chopin__ws_deflate(&d, CHOPIN_STR("never sent, never seen, never sent"), out, 5, &n));
        }
        chopin__ws_deflate_close(&d);
        chopin__ws_inflate_close(&inflater);
    }
}

static size_t allocations, budget;
static void *counting(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    (void)ctx;
    if (new_size && budget-- == 0) { budget = 0; return NULL; }
    if (new_size) allocations += new_size; else allocations -= old_size;
    return chopin__heap_default(NULL, ptr, old_size, new_size);
}

static void streams_use_our_allocator_and_give_all_back(void) {
    chopin__heap counted = { .alloc = counting };
    chopin__ws_deflater d;
    char room[64];
    for (size_t allowed = 0; allowed < 8; allowed++) {
        size_t n;
        chopin_str in = CHOPIN_STR("\xf2\x48\xcd\xc9\xc9\x07\x00");
        budget = allowed;
        bool deflates = chopin__ws_deflate_open(&d, &counted, &normal, 6);
        CHECK_EQ_INT(deflates, allowed >= 5);                                             // zlib 1.2.13 asks five times
        chopin__ws_deflate_close(&d);
        CHECK_EQ_INT(allocations, 0);
        budget = allowed;
        bool inflates = chopin__ws_inflate_open(&inflater, &counted, &normal, 100);
        CHECK_EQ_INT(inflates, allowed >= 1);
        if (inflates) {
            chopin__ws_inflate_begin(&inflater, true);
            int rc = chopin__ws_inflate(&inflater, &in, true, room, sizeof room, &n);
            CHECK_EQ_INT(rc, allowed >= 2 ? 1 : -CHOPIN__WS_INTERNAL);                    // the window comes later
        }
        chopin__ws_inflate_close(&inflater);
        CHECK_EQ_INT(allocations, 0);
    }
}
#endif

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(handshake_matrix);
    RUN(upgrade_is_a_list_that_names_websocket);
    RUN(the_key_has_sixteen_bytes_and_the_version_is_13);
    RUN(our_first_subprotocol_wins);
    RUN(the_101_has_one_connection_and_no_length);
    RUN(sha1_and_base64_agree_with_their_rfcs);
    RUN(messages_arrive_in_any_cut);
    RUN(every_length_form_is_read);
    RUN(frame_errors);
    RUN(control_frames_are_short);
    RUN(lengths_are_minimal_and_below_2_63);
    RUN(limits_come_before_any_byte_is_taken);
    RUN(utf8_across_fragments);
    RUN(bad_text_fails_at_its_first_byte);
    RUN(close_codes);
    RUN(ping_flood_is_bounded);
    RUN(masks_come_off_in_any_phase);
    RUN(random_streams_read_the_same_in_random_cuts);
    RUN(heads_have_the_shortest_length);
    RUN(long_messages_leave_in_frames);
    RUN(fragments_are_counted_to_the_last);
    RUN(close_payloads_fit);
    RUN(rsv1_wants_an_agreement);
#ifdef CHOPIN_WITH_ZLIB
    RUN(deflate_is_agreed_on_by_the_rules);
    RUN(wrong_offers_are_declined);
    RUN(examples_of_rfc_7692_inflate);
    RUN(damaged_data_and_text_are_1007);
    RUN(deflate_bomb_and_window_bits);
    RUN(windows_are_as_small_as_agreed);
    RUN(compressed_messages_come_back);
    RUN(streams_use_our_allocator_and_give_all_back);
#endif
    return TEST_END();
}
