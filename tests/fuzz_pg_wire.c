/* fuzz_pg_wire.c - every message a server may send, of any bytes: what is taken ends inside the frame, frames come out the same however the bytes are cut, what
 * we write we read.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined fuzz_pg_wire.c -o fuzz_pg_wire && ./fuzz_pg_wire -max_total_time=60
 *
 * First byte: how many columns a row is said to have; the rest is what comes from the server, in an allocation of its own. */
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include <stdio.h>
#include <stdlib.h>

static void must(bool ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "broken: %s\n", what);
    abort();
}
static bool inside(const void *at, size_t n, const chopin_pg__frame *f) {
    const uint8_t *p = at;
    return !p || (p >= f->body && n <= f->len && (size_t)(p - f->body) <= f->len - n);
}
static void texts(const chopin_pg__frame *f) {
    chopin_str a = { 0 }, b = { 0 };
    uint32_t pid, version;
    int64_t  count;
    const uint8_t *key;
    size_t   key_len;
    char     state;
    if (chopin_pg__read_ready(f, &state)) must(f->len == 1 && strchr("ITE", state), "ready: one of three states");
    if (chopin_pg__read_pair(f, &a, &b)) must(inside(a.ptr, a.len + 1, f) && inside(b.ptr, b.len + 1, f), "a parameter ends inside");
    if (chopin_pg__read_key(f, &pid, &key, &key_len)) must(inside(key, key_len, f) && key_len >= 4 && key_len <= 256, "a key of 4 to 256 bytes");
    if (chopin_pg__read_notification(f, &pid, &a, &b)) must(inside(a.ptr, a.len + 1, f) && inside(b.ptr, b.len + 1, f), "a notification ends inside");
    chopin_pg__read_negotiate(f, &version);
    if (chopin_pg__read_complete(f, &a, &count)) must(inside(a.ptr, a.len + 1, f) && count >= -1, "a tag ends inside, its number is not negative");
}
static void described(const chopin_pg__frame *f, unsigned columns) {
    static chopin_pg__cell cells[256];
    unsigned found = 0;
    size_t   names = 0;
    bool     binary;
    if (chopin_pg__check_fields(f, &found, &names)) must(names <= f->len && (size_t)found * 19 <= f->len, "fields stand in the frame");
    must(chopin_pg__check_types(f) <= (int)(f->len / 4), "types stand in the frame");
    must(chopin_pg__check_copy(f, &binary) <= (int)(f->len / 2), "formats stand in the frame");
    if (!chopin_pg__read_cells(f->body, f->len, columns, cells)) return;
    for (unsigned i = 0; i < columns; i++) must(cells[i].len == CHOPIN_PG__NULL || inside(cells[i].ptr, cells[i].len, f), "a cell ends inside");
}
static void written_is_read(const uint8_t *data, size_t len) {
    chopin_pg__heap heap;
    chopin_pg__heap_init(&heap, NULL, NULL);
    chopin_pg__out   out = { .heap = &heap };
    chopin_pg__frame f;
    chopin_pg__put_data(&out, 'd', data, len);
    must(chopin_pg__frame_read(out.ptr, out.len, CHOPIN_PG__MESSAGE_MAX, &f) == (int64_t)out.len, "one frame");
    must(f.type == 'd' && f.len == len && (!len || memcmp(f.body, data, len) == 0), "with the same bytes");
    for (size_t n = 0; n < out.len && n < 6; n++) must(chopin_pg__frame_read(out.ptr, n, CHOPIN_PG__MESSAGE_MAX, &f) == 0 || len == 0, "not whole before its end");
    chopin_pg__out_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    if (len < 1) return 0;
    unsigned columns = data[0];
    size_t   have = len - 1, at = 0;
    uint8_t *bytes = malloc(have ? have : 1);
    memcpy(bytes, data + 1, have);
    for (;;) {
        chopin_pg__frame f, again;
        int64_t n = chopin_pg__frame_read(bytes + at, have - at, 1 << 20, &f);
        if (n <= 0) break;
        must((size_t)n <= have - at && f.len + 5 == (uint64_t)n && f.body == bytes + at + 5, "a frame is what its length says");
        must(chopin_pg__frame_read(bytes + at, (size_t)n, 1 << 20, &again) == n && again.len == f.len && again.type == f.type, "whatever follows it");
        if (n > 5) must(chopin_pg__frame_read(bytes + at, (size_t)n - 1, 1 << 20, &again) == 0, "one byte less: not yet");
        texts(&f);
        described(&f, columns);
        at += (size_t)n;
    }
    written_is_read(bytes, have);
    free(bytes);
    return 0;
}
