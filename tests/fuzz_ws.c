/* fuzz_ws.c - libFuzzer over WebSocket frames, handshake headers and (with -DCHOPIN_WITH_ZLIB ... -lz) compressed messages
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -DCHOPIN_WITH_ZLIB fuzz_ws.c -o fuzz_ws -lz && ./fuzz_ws -max_total_time=60
 *
 * The first byte chooses; frames are read whole and in cuts that the second byte chooses, and both must tell the same. */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER

#define MUST(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); abort(); } } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct { uint64_t hash; uint64_t message; size_t bytes, events; int verdict; const char *why; } told;

/* Pieces of a message are hashed byte by byte, so that cuts do not show; what came of a message that never ended does not count. */
static void tell(told *t, const chopin__ws_event *e, uint64_t max) {
    uint64_t *hash = e->opcode < CHOPIN__WS_CLOSE ? &t->message : &t->hash;
    if (e->opcode < CHOPIN__WS_CLOSE && e->first) { t->message = e->opcode + 2u * e->deflated; t->bytes = 0; }
    for (size_t i = 0; i < e->data.len; i++) *hash = (*hash ^ (unsigned char)e->data.ptr[i]) * UINT64_C(0x100000001b3);
    if (e->opcode < CHOPIN__WS_CLOSE) { t->bytes += e->data.len; MUST(t->bytes <= max); MUST(e->data.len > 0 || e->last); }
    else MUST(e->data.len <= CHOPIN__WS_CONTROL_MAX);
    if (!e->last) return;
    if (e->opcode < CHOPIN__WS_CLOSE) t->hash ^= t->message;
    t->hash = (t->hash ^ e->opcode ^ e->code) * UINT64_C(0x100000001b3);
    t->events++;
}

static told read_frames(const uint8_t *data, size_t size, bool deflate, uint64_t cuts) {
    const uint64_t max = 500;
    chopin__ws_reader r;
    told t = { .hash = 1 };
    chopin__ws_reader_init(&r, 300, max, deflate);
    for (size_t at = 0; at < size && t.verdict == 0;) {
        size_t n = cuts ? chopin__min(size - at, 1 + chopin__random_next(&cuts) % 9) : size - at, len = n;
        char *copy = malloc(n), *p = copy;
        chopin__ws_event e;
        if (!copy) break;
        memcpy(copy, data + at, n);
        while ((t.verdict = chopin__ws_next(&r, &p, &len, &e)) > 0) tell(&t, &e, max);
        MUST(t.verdict < 0 || (len == 0 && p == copy + n));
        free(copy);
        at += n;
    }
    t.why = r.why;
    MUST((t.verdict < 0) == (t.why != NULL));
    return t;
}

static void fuzz_frames(const uint8_t *data, size_t size, bool deflate) {
    if (size < 1) return;
    told a = read_frames(data + 1, size - 1, deflate, 0), b = read_frames(data + 1, size - 1, deflate, data[0] + 1u);
    MUST(a.hash == b.hash && a.events == b.events && a.verdict == b.verdict && a.why == b.why);
}

static void fuzz_handshake(const uint8_t *data, size_t size) {
    static const chopin__rules limits = { .max_method = 32, .max_target = 1024, .max_header_line = 8192, .max_head = 32768, .max_headers = 64,
                                          .max_chunk_line = 1024, .max_chunk_extensions = 1024 };
    static const char start[] = "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    chopin__field fields[64];
    chopin__head  h = { .fields = fields };
    chopin__ws_shake s;
    chopin__ws_rules rules = { .protocols = "a, b", .deflate = { .on = true, .client_bits = size % 3 ? 0 : 11 } };
    size_t len = sizeof start - 1 + size;
    char *text = malloc(len);
    if (!text) return;
    memcpy(text, start, sizeof start - 1);
    memcpy(text + sizeof start - 1, data, size);
    chopin__head_reset(&h);
    if (chopin__head_parse(&h, &limits, text, len) > 0) {
        int rc = chopin__ws_check(&h, text, &rules, &s);
        MUST(rc == 101 || rc == 400 || rc == 426);
        MUST((rc == 101) == (s.why == NULL));
        if (rc == 101) {
            MUST(strlen(s.accept) == 28 && chopin__is_field_value(chopin__str_z(s.extensions)));
            MUST(!s.deflate.on || (s.deflate.server_bits >= 9 && s.deflate.server_bits <= 15 && s.deflate.client_bits >= 8 && s.deflate.client_bits <= 15));
            MUST(!s.deflate.on || !rules.deflate.client_bits || s.deflate.client_bits <= rules.deflate.client_bits);
        }
    }
    free(text);
}

static void fuzz_close(chopin_str s, unsigned code) {
    char out[CHOPIN__WS_CONTROL_MAX];
    chopin__utf8 utf8 = { 0 };
    size_t n = chopin__ws_put_close(out, code, s);
    MUST(n <= sizeof out && (n == 0) == !chopin__ws_close_code_ok(code));
    if (n) MUST(chopin__utf8_feed(&utf8, out + 2, n - 2) && utf8.left == 0);
    // The checker that takes pieces agrees with the one that looks at whole characters.
    bool whole = true;
    for (size_t i = 0, step; whole && i < s.len; i += step) { step = chopin__utf8_length(s.ptr + i, s.len - i); whole = step > 0; }
    utf8 = (chopin__utf8){ 0 };
    bool pieces = true;
    for (size_t i = 0; pieces && i < s.len; i += 3) pieces = chopin__utf8_feed(&utf8, s.ptr + i, chopin__min(3, s.len - i));
    MUST(whole == (pieces && utf8.left == 0));
}

#ifdef CHOPIN_WITH_ZLIB
static int inflate_all(chopin_str in, size_t step, size_t cap, uint64_t max, chopin_str *out, chopin__heap *heap) {
    static char room[5000];
    chopin__ws_inflater f;
    size_t at = 0, n;
    int rc;
    const chopin__ws_deflate_terms terms = { true, false, false, 15, 15 };
    MUST(chopin__ws_inflate_open(&f, heap, &terms, max));
    chopin__ws_inflate_begin(&f, false);
    do {
        chopin_str piece = chopin__str(in.ptr, chopin__min(step, in.len));
        in = chopin__str(in.ptr + piece.len, in.len - piece.len);
        do {
            rc = chopin__ws_inflate(&f, &piece, in.len == 0, room + at, cap, &n);
            at += n;
            MUST(n <= cap && at <= max + 1);
        } while (rc == 2);
    } while (rc == 0 && in.len > 0);
    chopin__ws_inflate_close(&f);
    *out = chopin__str(room, at);
    return rc;
}

static void fuzz_deflate(chopin_str s, size_t step) {
    static char packed[100000], copy[5000];
    chopin__heap heap = { .alloc = chopin__heap_default };
    chopin__ws_deflater d;
    chopin_str out, again;
    size_t n;
    int rc = inflate_all(s, s.len + 1, 700, 4000, &out, &heap);
    memcpy(copy, out.ptr, out.len);
    size_t len = out.len;
    int rc2 = inflate_all(s, 1 + step % 7, 1 + step % 50, 4000, &again, &heap);
    MUST(rc == rc2 && (rc < 0 || chopin__equal(chopin__str(copy, len), again)));
    const chopin__ws_deflate_terms terms = { true, false, false, (uint8_t)(9 + step % 7), 15 };
    if (s.len > 4000) return;
    MUST(chopin__ws_deflate_open(&d, &heap, &terms, 1 + (int)(step % 9)));
    size_t bound = chopin__ws_deflate_bound(&d, s.len);
    MUST(bound <= sizeof packed && chopin__ws_deflate(&d, s, packed, bound, &n));
    MUST(inflate_all(chopin__str(packed, n), 1000, 1000, 4000, &out, &heap) == 1 && chopin__equal(out, s));
    chopin__ws_deflate_close(&d);
}
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3) return 0;
    switch (data[0] % 6) {
    case 0: case 1: fuzz_frames(data + 1, size - 1, data[0] % 2); break;
    case 2: case 3: fuzz_handshake(data + 1, size - 1); break;
    case 4:
#ifdef CHOPIN_WITH_ZLIB
        fuzz_deflate(chopin__str((const char *)data + 2, size - 2), data[1]);
        break;
#endif
    default: fuzz_close(chopin__str((const char *)data + 3, size - 3), (unsigned)data[1] << 8 | data[2]); break;
    }
    return 0;
}
