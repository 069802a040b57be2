/* fuzz_multipart.c - libFuzzer over multipart bodies, their Content-Type, and names of files
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined fuzz_multipart.c -o fuzz_multipart && ./fuzz_multipart -max_total_time=60
 *
 * The first byte chooses; bodies are read whole and in cuts that the second byte chooses, and both must tell the same. */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER

#define MUST(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); abort(); } } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct { uint64_t hash; size_t parts, bytes; int verdict; const char *why; } told;

static void mix(told *t, chopin_str s) {
    t->hash = t->hash * 31 + (s.ptr != NULL);
    for (size_t i = 0; i < s.len; i++) t->hash = (t->hash ^ (unsigned char)s.ptr[i]) * UINT64_C(0x100000001b3);
}

static void check_safe(chopin_str name) {
    MUST(name.len >= 1 && name.len <= CHOPIN__MULTIPART_SAFE_MAX && name.ptr[name.len] == 0 && strlen(name.ptr) == name.len);
    MUST(name.ptr[0] != '.' && !strpbrk(name.ptr, "/\\:") && chopin__is_field_value(name));
    for (size_t i = 0, n; i < name.len; i += n) MUST((n = chopin__utf8_length(name.ptr + i, name.len - i)) > 0);
}

static void tell(told *t, const chopin__multipart *m, int event, chopin_str data) {
    const chopin__multipart_part *p = &m->part;
    if (event == CHOPIN__MULTIPART_DATA) {
        t->bytes += data.len;
        MUST(data.len > 0 && t->bytes <= (p->file ? m->rules.max_file : m->rules.max_field));
        for (size_t i = 0; i < data.len; i++) t->hash = (t->hash ^ (unsigned char)data.ptr[i]) * UINT64_C(0x100000001b3);
        return;
    }
    t->hash = t->hash * 31 + (unsigned)event;
    if (event != CHOPIN__MULTIPART_PART) return;
    t->bytes = 0;
    MUST(++t->parts <= m->rules.max_parts && p->name.ptr && p->name.len <= m->rules.max_part_name);
    if (p->file) check_safe(p->safe_name);
    mix(t, p->name); mix(t, p->filename); mix(t, p->extended); mix(t, p->safe_name); mix(t, p->type); mix(t, p->head);
    mix(t, chopin__multipart_header(p, "x"));
}

static told read_body(const uint8_t *bytes, size_t size, chopin_str boundary, uint64_t cuts) {
    static const chopin__multipart_rules rules = { 5, 300, 20, 100, 200, 3000 };
    static _Alignas(16) char block[1024];
    chopin__heap  heap = { .alloc = chopin__heap_default };
    chopin__arena arena;
    chopin__multipart m;
    told t = { .hash = 1 };
    chopin__arena_init(&arena, &heap, block, sizeof block, 0);
    MUST(chopin__multipart_init(&m, &rules, boundary, &arena));
    for (size_t at = 0; at < size && t.verdict == 0;) {
        size_t n = cuts ? chopin__min(size - at, 1 + chopin__random_next(&cuts) % 12) : size - at;
        char *copy = malloc(n);
        chopin_str in = chopin__str(copy, n), data;
        if (!copy) break;
        memcpy(copy, bytes + at, n);
        while ((t.verdict = chopin__multipart_next(&m, &in, &data)) > 0) tell(&t, &m, t.verdict, data);
        MUST(t.verdict < 0 || in.len == 0);
        free(copy);
        at += n;
    }
    if (t.verdict == 0) t.verdict = chopin__multipart_finish(&m);
    t.why = m.why;
    MUST((t.verdict < 0) == (t.why != NULL) && (t.verdict == 0 || t.verdict == -400 || t.verdict == -413));
    return t;
}

static void fuzz_body(const uint8_t *data, size_t size, chopin_str boundary) {
    told a = read_body(data + 1, size - 1, boundary, 0), b = read_body(data + 1, size - 1, boundary, data[0] + 1u);
    MUST(a.hash == b.hash && a.parts == b.parts && a.verdict == b.verdict && a.why == b.why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char safe[CHOPIN__MULTIPART_SAFE_MAX + 1];
    if (size < 2) return 0;
    char *tight = malloc(size);
    if (!tight) return 0;
    memcpy(tight, data + 1, size - 1);
    chopin_str s = chopin__str(tight, size - 1), boundary;
    switch (data[0] % 5) {
    case 0: case 1: fuzz_body(data + 1, size - 1, CHOPIN_STR("b")); break;
    case 2:         fuzz_body(data + 1, size - 1, CHOPIN_STR("-bb-")); break;
    case 3:         check_safe(chopin__str(safe, chopin__multipart_safe_name(safe, s))); break;
    default: {
        int rc = chopin__multipart_boundary(s, &boundary);
        MUST(rc == 0 || rc == -400 || rc == -415);
        if (rc == 0) MUST(boundary.len >= 1 && boundary.len <= 70 && boundary.ptr >= s.ptr && boundary.ptr + boundary.len <= s.ptr + s.len);
    }
    }
    free(tight);
    return 0;
}
