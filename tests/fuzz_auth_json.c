/* fuzz_auth_json.c - the strict reader against a second one, recursive and slow: both accept the same texts; in-place reading says the same when read again.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined fuzz_auth_json.c -o fuzz && ./fuzz        gcc -g -O1 -fsanitize=address,undefined -DFUZZ_MAIN fuzz_auth_json.c -o fuzz && ./fuzz 60 */
#include "auth.h"
#ifdef FUZZ_MAIN
static const char *const seeds[] = { "{}", "{\"a\":1}", "{\"iss\":\"me\",\"aud\":[\"us\",\"them\"],\"exp\":1.5e9,\"x\":{\"y\":[null,true,false]}}", "{\"\\ud83d\\ude00\":\"\\u0000\\n\",\"\xf0\x9f\x98\x80\":\"\xc3\xa4\"}",
    "{\"a\":[[[[[[[]]]]]]]}", "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}}", "{\"a\":-0.0e-10,\"b\":1E+5,\"\\u0061\":2}", " {\t\"k\" : \"v\" } " };
#endif
#include "fuzz_auth_kit.h"

/* ---- the slow reader ---- */
typedef struct slow { const uint8_t *p, *end; } slow;
static bool slow_value(slow *s, int depth);
static void slow_space(slow *s) { while (s->p < s->end && strchr(" \t\r\n", *s->p) && *s->p) s->p++; }
static bool slow_take(slow *s, char ch) { if (s->p < s->end && *s->p == (uint8_t)ch) { s->p++; return true; } return false; }
static long slow_hex(slow *s) {
    long v = 0;
    for (int i = 0; i < 4; i++) {
        if (s->p >= s->end || !*s->p) return -1;
        const char *digits = "0123456789abcdef", *hit = strchr(digits, *s->p >= 'A' && *s->p <= 'F' ? *s->p + 32 : *s->p);
        if (!hit) return -1;
        v = v * 16 + (hit - digits);
        s->p++;
    }
    return v;
}
static bool slow_utf8(slow *s, uint32_t *cp) {
    uint8_t b = *s->p++;
    int n = b >= 0xf0 ? 3 : b >= 0xe0 ? 2 : b >= 0xc0 ? 1 : -1;
    static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
    if (n < 0 || b > 0xf7) return false;
    *cp = b & (0x3fu >> n);
    for (int i = 0; i < n; i++) { if (s->p >= s->end || (*s->p & 0xc0) != 0x80) return false; *cp = *cp << 6 | (*s->p++ & 0x3fu); }
    return *cp >= least[n] && *cp <= 0x10ffff && !(*cp >= 0xd800 && *cp < 0xe000);
}
static bool slow_string(slow *s, uint32_t *out, size_t *count) {
    *count = 0;
    if (!slow_take(s, '"')) return false;
    while (s->p < s->end && *s->p != '"') {
        uint32_t cp;
        if (*s->p < 0x20) return false;
        if (*s->p == '\\') {
            s->p++;
            if (s->p >= s->end) return false;
            uint8_t e = *s->p++;
            if (e == 'u') {
                long h = slow_hex(s);
                if (h < 0 || (h >= 0xdc00 && h < 0xe000)) return false;
                if (h >= 0xd800 && h < 0xdc00) {
                    if (!slow_take(s, '\\') || !slow_take(s, 'u')) return false;
                    long l = slow_hex(s);
                    if (l < 0xdc00 || l >= 0xe000) return false;
                    h = 0x10000 + ((h - 0xd800) << 10) + (l - 0xdc00);
                }
                cp = (uint32_t)h;
            } else {
                const char *hit = e ? strchr("\"\\/bfnrt", e) : NULL;
                if (!hit) return false;
                cp = e;                                                                
                static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
                const char *special = strchr(from, e);
                if (special) cp = (uint32_t)to[special - from];
            }
        } else if (*s->p < 0x80) cp = *s->p++;
        else if (!slow_utf8(s, &cp)) return false;
        out[(*count)++] = cp;
    }
    return slow_take(s, '"');
}
static bool slow_digits(slow *s) { const uint8_t *f = s->p; while (s->p < s->end && *s->p >= '0' && *s->p <= '9') s->p++; return s->p > f; }
static bool slow_number(slow *s) {
    slow_take(s, '-');
    if (!slow_take(s, '0') && !slow_digits(s)) return false;
    if (slow_take(s, '.') && !slow_digits(s)) return false;
    if (slow_take(s, 'e') || slow_take(s, 'E')) { if (!slow_take(s, '+')) slow_take(s, '-'); return slow_digits(s); }
    return true;
}
static bool slow_word(slow *s, const char *w) { size_t n = strlen(w); if ((size_t)(s->end - s->p) < n || memcmp(s->p, w, n) != 0) return false; s->p += n; return true; }
typedef struct slow_name { uint32_t *text; size_t n; } slow_name;
static bool slow_object(slow *s, int depth) {
    slow_name names[65];
    int count = 0;
    bool ok = false;
    slow_space(s);
    if (slow_take(s, '}')) return true;
    for (;;) {
        uint32_t *text = malloc(sizeof *text * ((size_t)(s->end - s->p) + 1));
        names[count].text = text;
        slow_space(s);
        bool good = slow_string(s, text, &names[count].n);
        for (int i = 0; good && i < count; i++) good = names[i].n != names[count].n || memcmp(names[i].text, text, sizeof *text * names[i].n) != 0;
        count++;
        slow_space(s);
        if (!good || count > 64 || !slow_take(s, ':') || !slow_value(s, depth)) break;
        slow_space(s);
        if (slow_take(s, '}')) { ok = true; break; }
        if (!slow_take(s, ',')) break;
    }
    for (int i = 0; i < count; i++) free(names[i].text);
    return ok;
}
static bool slow_array(slow *s, int depth) {
    slow_space(s);
    if (slow_take(s, ']')) return true;
    for (;;) {
        if (!slow_value(s, depth)) return false;
        slow_space(s);
        if (slow_take(s, ']')) return true;
        if (!slow_take(s, ',')) return false;
    }
}
static bool slow_value(slow *s, int depth) {
    slow_space(s);
    if (s->p >= s->end) return false;
    if (slow_take(s, '{')) return depth < 8 && slow_object(s, depth + 1);
    if (slow_take(s, '[')) return depth < 8 && slow_array(s, depth + 1);
    if (*s->p == '"') {
        size_t n;
        uint32_t *text = malloc(sizeof *text * ((size_t)(s->end - s->p) + 1));
        bool ok = slow_string(s, text, &n);
        free(text);
        return ok;
    }
    return slow_word(s, "true") || slow_word(s, "false") || slow_word(s, "null") || slow_number(s);
}

static int walk(chopin_auth__json *j, int rc, size_t *sum) {
    chopin_auth__json_value v;
    *sum = 0;
    while (rc >= 0 && (rc = chopin_auth__json_next(j, &v)) == 1) {
        *sum = *sum * 31 + v.text.len + (size_t)v.type * 7 + v.nul;
        for (size_t i = 0; i < v.text.len; i++) *sum = *sum * 31 + (uint8_t)v.text.ptr[i];
        int64_t whole;
        double  real;
        if (v.type == CHOPIN_AUTH__JSON_NUMBER && chopin_auth__json_integer(v.text, &whole)) MUST(chopin_auth__json_double(v.text, &real) && real == (double)whole);
    }
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char room[8192], copy[8192];
    chopin_auth__json j;
    size_t sums[3];
    if (size > sizeof room) return 0;
    slow s = { data, data + size };
    slow_space(&s);
    bool expected = s.p < s.end && *s.p == '{' && slow_value(&s, 0);
    slow_space(&s);
    expected = expected && s.p == s.end;
    chopin_str text = { (const char *)data, size };
    int rc = walk(&j, chopin_auth__json_object(&j, text, room, sizeof room), &sums[0]);
    MUST((rc == 0) == expected);
    if (size) memcpy(copy, data, size);
    MUST(walk(&j, chopin_auth__json_in_place(&j, copy, size), &sums[1]) == rc);
    if (rc == 0) MUST(walk(&j, chopin_auth__json_again(&j, (chopin_str){ copy, size }), &sums[2]) == 0 && sums[0] == sums[1] && sums[1] == sums[2]);
    return 0;
}
