/* fuzz_body.c - libFuzzer over what strangers write into queries, forms, cookies, X-Forwarded-For and Origin, and over templates
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined tests/fuzz_body.c -o fuzz_body && ./fuzz_body -max_total_time=60
 *
 * The first byte chooses the reader; beyond memory errors it checks what must hold for any input. */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER

#define MUST(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); abort(); } } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_pairs(chopin_str s, chopin__arena *a) {
    bool sound = chopin__body_check_form(s, 1000) == CHOPIN_OK;
    for (int plus = 0; plus < 2; plus++) {
        chopin_str value = chopin__body_find(s, "a", plus, a);
        MUST(!value.ptr || value.len <= s.len);
        MUST(!sound || !value.ptr || !chopin__body_has(value, 0));
    }
}

static void fuzz_cookie(chopin_str s, chopin__arena *a) {
    chopin_str value = chopin__body_cookie(s, "a"), line;
    MUST(!value.ptr || !chopin__body_has(value, ';'));
    const char *copy = chopin__arena_copy(a, s).ptr;
    if (!copy) return;
    chopin_cookie_options o = { .path = copy, .domain = copy + s.len / 2 };
    if (chopin__body_write_cookie(a, "a", copy, NULL, &line) == CHOPIN_OK) MUST(chopin__is_field_value(line));
    if (chopin__body_write_cookie(a, copy, "x", NULL, &line) == CHOPIN_OK) MUST(chopin__is_field_value(line));
    if (chopin__body_write_cookie(a, "a", "x", &o, &line) == CHOPIN_OK)    MUST(chopin__is_field_value(line));
}

static void fuzz_numbers(chopin_str s) {
    double number;
    bool   flag;
    if (chopin__body_f64(s, &number)) MUST(isfinite(number));
    chopin__body_bool(s, &flag);
    chopin__body_media_type_is(s, "text/plain");
    chopin__body_list_has(s, CHOPIN_STR("close"));
}

static void fuzz_forwarded(chopin_str s, chopin__heap *heap, chopin__arena *a) {
    static const uint8_t ten[4] = { 10, 0, 0, 1 };
    chopin__network  network = { .base = chopin__guard_address(4, ten), .bits = 8 };
    chopin__networks trusted = { &network, 1, 1 }, parsed;
    chopin__address  client = chopin__guard_client(&trusted, network.base, &s, 1), again;
    char text[46], why[100];
    size_t len = chopin__guard_format_address(text, &client);
    MUST(chopin__guard_parse_address(chopin__str(text, len), &again) && memcmp(&client, &again, sizeof again) == 0);
    chopin_str copy = chopin__arena_copy(a, s);
    if (!copy.ptr) return;
    if (chopin__guard_networks_init(&parsed, heap, copy.ptr, why, sizeof why) == CHOPIN_OK) chopin__guard_contains(&parsed, &client);
    chopin__guard_networks_done(&parsed, heap);
}

static void fuzz_origin(chopin_str s, chopin__arena *a) {
    chopin_str rest = s, origin = chopin__cut(&rest, '\n'), host = chopin__cut(&rest, '\n'), list = chopin__arena_copy(a, rest);
    if (!list.ptr) return;
    chopin__guard_cross_site(CHOPIN_STR("POST"), chopin__absent(), origin, host, list.ptr);
    chopin_cors_options o = { .origins = list.ptr };
    if (chopin__guard_cors_check(&o) != CHOPIN_OK) return;
    chopin__guard_cors_reply r = chopin__guard_cors(&o, CHOPIN_STR("OPTIONS"), origin, CHOPIN_STR("PUT"), host);
    MUST(!r.origin.ptr || chopin__guard_origin_listed(list.ptr, origin));
}

static int format(chopin__json_out *out, const char *text, ...) {
    va_list args;
    va_start(args, text);
    int rc = chopin__json_format(out, text, args);
    va_end(args);
    return rc;
}

/* Templates are the programmer's, but a bad one must end as INVALID. Only directives without arguments: the types of others cannot be known here. What was
 * written must be a template, too, and one that gives itself. */
static void fuzz_template(chopin_str s, chopin__arena *a) {
    char first[64];
    chopin__json_out once = { .ptr = first, .cap = sizeof first, .arena = a };
    chopin_str text = chopin__arena_copy(a, s);
    if (!text.ptr) return;
    for (char *p = (char *)(uintptr_t)text.ptr; *p; p++) {
        if (*p == '%' && p[1]) p[1] = 'n';
    }
    if (format(&once, text.ptr) != CHOPIN_OK) return;
    chopin_str json = chopin__arena_copy(a, chopin__str(once.ptr, once.len));
    chopin__json_out twice = { .arena = a };
    if (!json.ptr) return;
    int rc = format(&twice, json.ptr);
    MUST(rc == CHOPIN_MEMORY || (rc == CHOPIN_OK && chopin__equal(json, chopin__str(twice.ptr, twice.len))));
}

/* Any bytes as a string, then back through the template's own checks. */
static void fuzz_string(chopin_str s, chopin__arena *a) {
    chopin__json_out out = { .arena = a }, twice = { .arena = a };
    chopin__json_string(&out, s);
    chopin__json_char(&out, 0);
    if (out.failed) return;
    int rc = format(&twice, out.ptr);
    MUST(rc == CHOPIN_MEMORY || (rc == CHOPIN_OK && twice.len == out.len - 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    chopin__heap  heap = { .alloc = chopin__heap_default };
    chopin__arena arena;
    char block[256];
    if (size == 0) return 0;
    chopin__arena_init(&arena, &heap, block, sizeof block, 1 << 16);
    char *tight = malloc(size);                                     // of its own, so that one byte too many is seen
    if (!tight) return 0;
    memcpy(tight, data, size);
    chopin_str s = chopin__str(tight + 1, size - 1);
    switch (data[0] % 7) {
    case 0: fuzz_pairs(s, &arena); break;
    case 1: fuzz_cookie(s, &arena); break;
    case 2: fuzz_numbers(s); break;
    case 3: fuzz_forwarded(s, &heap, &arena); break;
    case 4: fuzz_origin(s, &arena); break;
    case 5: fuzz_template(s, &arena); break;
    default: fuzz_string(s, &arena); break;
    }
    free(tight);
    chopin__arena_reset(&arena);
    return 0;
}
