/* fuzz_http1.c - head, trailer and chunks on any bytes: every way to cut the input gives the same result, and so does the build without SIMD.
 *
 *     clang -g -O1 -DFUZZ_SCALAR -DCHOPIN_NO_SIMD -fsanitize=address,undefined -c fuzz_http1.c -o scalar.o
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined fuzz_http1.c scalar.o -o fuzz_http1 && ./fuzz_http1 -max_total_time=60
 *
 * First byte: what to parse, and with which limits; second: where to cut; the rest is the input. Each piece is an allocation of its own, so that
 * the sanitizer sees a read beyond it. */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER

enum { FUZZ_FIELDS = 100 };

/* Verdict and results as one number; what a result does not define is left out. */
static uint64_t fuzz_digest(const chopin__head *h, int rc) {
    uint64_t d = chopin__hash((uint64_t)(int64_t)rc, h->why ? h->why : "", h->why ? strlen(h->why) : 0);
    if (rc <= 0) return d;
    uint64_t results[] = { h->minor, h->keep_alive, h->close, h->chunked, h->has_length, h->expect_continue, h->te_trailers, h->upgrade, h->percent, h->count,
                           h->has_length ? h->content_length : 0, h->method, h->method_len, h->target, h->target_len, h->path, h->path_len, h->has_query,
                           h->has_query ? h->query : 0, h->query_len, h->authority_len ? h->authority : 0, h->authority_len };
    if (h->method_len) d = chopin__hash(d, results, sizeof results);
    d = chopin__hash(d, h->slot, sizeof h->slot);
    return chopin__hash(d, h->fields, h->count * sizeof *h->fields);
}

/* Cuts at `first` (0: nowhere) and then every `piece` bytes. */
static uint64_t fuzz_head(const chopin__rules *r, bool trailer, const uint8_t *data, size_t len, size_t first, size_t piece) {
    chopin__field fields[FUZZ_FIELDS];
    chopin__head  h = { .fields = fields };
    int    rc = 0;
    size_t at = first ? chopin__min(first, len) : chopin__min(piece, len);
    chopin__head_reset(&h);
    if (trailer) h.method_len = 0; else h.target = h.target_len = h.path = h.path_len = h.query_len = 0;
    for (;;) {
        char *copy = malloc(at ? at : 1);
        if (at) memcpy(copy, data, at);
        rc = (trailer ? chopin__trailer_parse : chopin__head_parse)(&h, r, copy, at);
        if (rc > 0) {                                                   // what the results point at lies inside
            if ((size_t)rc > at) abort();
            for (size_t i = 0; i < h.count; i++) {
                const chopin__field *f = &fields[i];
                if (!chopin__is_token(chopin__str(copy + f->name, f->name_len)) || !chopin__is_field_value(chopin__str(copy + f->value, f->value_len))) abort();
                if (f->value + f->value_len > (uint32_t)rc || f->name_len + (size_t)f->value_len > r->max_header_line) abort();
                if (f->id < CHOPIN_H_COUNT && !h.slot[f->id]) abort();
            }
            if (!trailer && (h.path + h.path_len > (uint32_t)rc || (h.chunked && h.has_length) || h.method_len > r->max_method || h.target_len > r->max_target)) abort();
            if ((size_t)rc > r->max_head) abort();
        }
        free(copy);
        if (rc != 0 || at == len) break;
        at = chopin__min(len, at + piece);
    }
    return fuzz_digest(&h, rc);
}

static uint64_t fuzz_chunks(const chopin__rules *r, const uint8_t *data, size_t len, size_t first, size_t piece, bool in_place) {
    chopin__chunks d = { 0 };
    char    *body = malloc(len ? len : 1);
    size_t   at = 0, body_len = 0;
    int      rc = 0;
    while (rc == 0 && at < len) {
        size_t n = chopin__min(at == 0 && first ? first : piece, len - at), used = 0, produced = 0;
        char  *copy = malloc(n);
        memcpy(copy, data + at, n);
        rc = chopin__chunks_decode(&d, r, copy, n, &used, in_place ? copy : body + body_len, &produced);
        if (used > n || produced > used || (rc == 0 && used != n) || (rc < 0) != (d.why != NULL)) abort();
        if (in_place) memcpy(body + body_len, copy, produced);
        body_len += produced;
        at += used;
        free(copy);
    }
    uint64_t digest = chopin__hash((uint64_t)(int64_t)rc + (rc > 0 ? at : 0), body, body_len);
    digest = chopin__hash(digest, d.why ? d.why : "", d.why ? strlen(d.why) : 0);
    free(body);
    return digest;
}

static uint64_t fuzz_one(const uint8_t *data, size_t len) {
    static const chopin__rules limits[] = { { 32, 8192, 8192, 32768, FUZZ_FIELDS, 1024, 16384 }, { 5, 20, 40, 120, 4, 10, 12 } };
    if (len < 2) return 0;
    const chopin__rules *r = &limits[data[0] >> 2 & 1];
    unsigned kind = data[0] & 3;
    size_t   cut = data[1];
    data += 2;
    len -= 2;
    bool trailer = kind == 1;
    uint64_t whole = kind < 2 ? fuzz_head(r, trailer, data, len, 0, len ? len : 1) : fuzz_chunks(r, data, len, 0, len, false);
    for (size_t way = 0; way < 5; way++) {
        size_t first = way == 0 ? 0 : way == 1 ? cut : way == 2 ? len - chopin__min(cut, len) : way == 3 ? 7 : cut * len / 256;
        size_t piece = way == 0 ? 1 : way == 3 ? 17 : len ? len : 1;
        if (whole != (kind < 2 ? fuzz_head(r, trailer, data, len, first, piece) : fuzz_chunks(r, data, len, first, piece, way & 1))) abort();
    }
    return whole;
}

uint64_t fuzz_scalar(const uint8_t *data, size_t len);

#ifdef FUZZ_SCALAR
uint64_t fuzz_scalar(const uint8_t *data, size_t len) { return fuzz_one(data, len); }
#else
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    if (fuzz_one(data, len) != fuzz_scalar(data, len)) abort();
    return 0;
}
#endif
