/* fuzz_router.c - the >>router room against a matcher too simple to be wrong: it tries every route and sorts.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined fuzz_router.c -o fuzz_router -lm && ./fuzz_router -max_len=256
 *
 * Each byte of the input is a word of `words`; lines are routes (the first byte of a line is its method), the last is the path. */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER

static const char *const words[] = {
    "\n", "/", "/", "/", "/a", "/b", "/ab", "a", "b", "1", "-", ".5", "e9", "/:", "/:x", "/:y", "/:x<u64>", "/:x<i64>", "/:x<f64>", "/:x<uuid>",
    "/*", "/*x", "/*z", ":", "*", "<u64>", "%", "%61", "%2F", "%2f", "%25", "%31", "%2D", "?", " ", "/123e4567-e89b-12d3-a456-426614174000",
    "18446744073709551615", "9223372036854775808", "\x7f", "\xc3\xa9", "%C3%A9", "/aab", "/aac", "/y/", "//", "x", "y", "z"
};
static const char *const methods[] = { "GET", "HEAD", "POST", "OPTIONS", "PURGE", "purge" };

enum { ROUTES = 24, LINE = 1024, SEGMENTS = LINE };
typedef struct simple { bool valid, added; const char *method; char pattern[LINE]; int count; chopin_str segments[SEGMENTS]; } simple;
static simple        all[ROUTES];
static chopin__route routes[ROUTES];
static chopin__capture  spans[SEGMENTS], again[SEGMENTS];
static int           count;

#define MUST(condition) do { if (!(condition)) { fprintf(stderr, "line %d: %s\n", __LINE__, #condition); abort(); } } while (0)

/* ---- the simple matcher ---- */

static int split(chopin_str s, chopin_str *segments) {
    int n = 0;
    for (size_t from = 1, i = 1; i <= s.len; i++) {
        if (i < s.len && s.ptr[i] != '/') continue;
        MUST(n < SEGMENTS);
        segments[n++] = chopin__str(s.ptr + from, i - from);
        from = i + 1;
    }
    return n;
}

static chopin_str name_of(chopin_str segment) {
    chopin_str name = chopin__str(segment.ptr + 1, segment.len - 1);
    return chopin__cut(&name, '<');
}

static bool wild(chopin_str segment) { return segment.len && strchr(":*", segment.ptr[0]); }

/* 0 static, then as the kinds of the router; -1 malformed. */
static int rank(chopin_str segment) {
    static const char *const types[] = { "<uuid>", "<u64>", "<i64>", "<f64>", "" };
    if (!wild(segment)) {
        for (size_t i = 0; i < segment.len; i++) if (strchr(" ?#:*\x7f\n", segment.ptr[i])) return -1;
        return 0;
    }
    chopin_str name = name_of(segment);
    if (name.len == 0) return -1;
    for (size_t i = 0; i < name.len; i++) if (!isalnum((unsigned char)name.ptr[i]) && name.ptr[i] != '-' && name.ptr[i] != '_') return -1;
    chopin_str type = chopin__str(name.ptr + name.len, segment.len - 1 - name.len);
    if (segment.ptr[0] == '*') return type.len ? -1 : 6;
    for (int i = 0; i < 5; i++) if (chopin__equal_z(type, types[i])) return i + 1;
    return -1;
}

static bool well_formed(const simple *s) {
    if (s->pattern[0] != '/') return false;
    for (int i = 0; i < s->count; i++) {
        int kind = rank(s->segments[i]);
        if (kind < 0 || (kind == 6 && i != s->count - 1)) return false;
        for (int j = 0; j < i; j++) {
            if (kind && wild(s->segments[j]) && chopin__equal(name_of(s->segments[i]), name_of(s->segments[j]))) return false;
        }
    }
    return true;
}

/* Negative: a is the better one; 0: they are the same up to names. Only for patterns that match the same path, or for equality. */
static int order(const simple *a, const simple *b) {
    for (int i = 0; i < a->count && i < b->count; i++) {
        int by = rank(a->segments[i]) - rank(b->segments[i]);
        if (by) return by;
        if (rank(a->segments[i]) == 0 && !chopin__equal(a->segments[i], b->segments[i])) return 1;
    }
    return a->count - b->count;
}

static bool fits(int kind, chopin_str raw) {
    char text[LINE] = "", *end;
    text[chopin__percent_decode(text, raw, false)] = 0;
    size_t len = strlen(text), digits = strspn(text, "0123456789");
    if (len == 0 || len > 128) return kind == 5 && len > 0;
    errno = 0;
    switch (kind) {
    case 1: for (size_t i = 0; i < len; i++) if (i == 8 || i == 13 || i == 18 || i == 23 ? text[i] != '-' : !isxdigit((unsigned char)text[i])) return false;
            return len == 36;
    case 2: return digits == len && (strtoull(text, &end, 10), errno == 0);
    case 3: if (text[0] == '-') digits = strspn(text + 1, "0123456789") + 1;
            return digits == len && text[len - 1] != '-' && (strtoll(text, &end, 10), errno == 0);
    case 4: if (strspn(text, "0123456789.eE+-") != len || !isdigit((unsigned char)text[text[0] == '-']) || text[len - 1] == '.' || strstr(text, ".e")) return false;
            if (text[text[0] == '-'] == '0' && isdigit((unsigned char)text[1 + (text[0] == '-')])) return false;       // JSON numbers have no leading zero
            return isfinite(strtod(text, &end)) && *end == 0;
    }
    return true;
}

static bool static_matches(chopin_str pattern, chopin_str raw) {
    char text[LINE];
    for (size_t i = 0; i + 2 < raw.len; i++) if (raw.ptr[i] == '%' && raw.ptr[i + 1] == '2' && (raw.ptr[i + 2] | 32) == 'f') return false;
    return chopin__equal(pattern, chopin__str(text, chopin__percent_decode(text, raw, false)));
}

static bool matches(const simple *s, chopin_str path) {
    chopin_str segments[SEGMENTS];
    if (path.len == 0 || path.ptr[0] != '/') return false;
    int n = split(path, segments);
    for (int i = 0; i < s->count; i++) {
        if (i >= n) return false;
        int kind = rank(s->segments[i]);
        if (kind == 6) return true;
        if (kind == 0 ? !static_matches(s->segments[i], segments[i]) : !fits(kind, segments[i])) return false;
    }
    return n == s->count;
}

static int best(const char *method, chopin_str path) {
    int at = -1;
    for (int i = 0; i < count; i++) {
        if (all[i].added && strcmp(all[i].method, method) == 0 && matches(&all[i], path) && (at < 0 || order(&all[i], &all[at]) < 0)) at = i;
    }
    return at < 0 && strcmp(method, "HEAD") == 0 ? best("GET", path) : at;
}

/* ---- both, side by side ---- */

static void add(chopin__router *r) {
    simple        *s = &all[count];
    chopin__route *other = NULL;
    s->count = s->pattern[0] == '/' ? split(chopin__str_z(s->pattern), s->segments) : 0;
    s->valid = well_formed(s);
    int same = -1;
    for (int i = 0; i < count && s->valid; i++) {
        if (all[i].added && all[i].method == s->method && all[i].count == s->count && order(&all[i], s) == 0) same = i;
    }
    routes[count] = (chopin__route){ .method = chopin__str_z(s->method), .pattern = chopin__str_z(s->pattern) };
    int rc = chopin__router_add(r, &routes[count], &other);
    MUST(rc == (!s->valid ? CHOPIN_INVALID : same >= 0 ? CHOPIN_CONFLICT : CHOPIN_OK));
    MUST(rc != CHOPIN_CONFLICT || other == &routes[same]);
    s->added = rc == CHOPIN_OK;
    count++;
}

static void check_spans(const simple *s, const chopin__route *route, chopin_str path) {
    chopin_str segments[SEGMENTS];
    uint32_t   n = 0;
    split(path, segments);
    for (int i = 0; i < s->count; i++) {
        if (!rank(s->segments[i])) continue;
        size_t len = rank(s->segments[i]) == 6 ? (size_t)(path.ptr + path.len - segments[i].ptr) : segments[i].len;
        MUST(chopin__equal(route->params[n], name_of(s->segments[i])));
        MUST(path.ptr + spans[n].at == segments[i].ptr && spans[n].len == len);
        n++;
    }
    MUST(n == route->param_count);
}

static void look(const chopin__router *r, const char *method, chopin_str path, bool percent) {
    chopin__route *route, *slow;
    chopin__found  found = chopin__router_find(r, chopin__str_z(method), path, percent, &route, spans);
    int            want = best(method, path);
    MUST(want < 0 ? route == NULL && found != CHOPIN__FOUND : route == &routes[want] && found == CHOPIN__FOUND);
    if (route) check_spans(&all[want], route, path);
    bool known = false, elsewhere = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 || strcmp(method, "OPTIONS") == 0;
    for (int i = 0; i < count; i++) {
        known |= all[i].added && matches(&all[i], path);
        elsewhere |= all[i].added && strcmp(all[i].method, method) == 0;
    }
    if (!route) MUST(found == (!elsewhere ? CHOPIN__UNKNOWN_METHOD : known ? CHOPIN__NO_METHOD : CHOPIN__NO_PATH));
    if (!percent) {
        MUST(chopin__router_find(r, chopin__str_z(method), path, true, &slow, again) == found && slow == route);
        MUST(!route || memcmp(spans, again, route->param_count * sizeof *spans) == 0);
    }
}

static void check_other_slash(const chopin__router *r, const char *method, chopin_str path, bool percent) {
    static char room[LINE + 1], text[LINE + 1];
    chopin_str  got = chopin__router_other_slash(r, chopin__str_z(method), path, percent, room);
    memcpy(text, path.ptr, path.len);
    text[path.len] = '/';
    chopin_str other = chopin__str(text, path.len && text[path.len - 1] == '/' ? path.len - 1 : path.len + 1);
    bool       want = path.len > 1 && memcmp(text, "//", 2) != 0 && best(method, other) >= 0;
    MUST(want ? chopin__equal(got, other) : got.ptr == NULL);
}

/* Does anything answer this method, on this path or, for "*", on any? */
static bool answers(const char *method, chopin_str path) {
    if (strcmp(method, "OPTIONS") == 0) return true;
    if (!chopin__equal_z(path, "*")) return best(method, path) >= 0;
    for (int i = 0; i < count; i++) if (all[i].added && strcmp(all[i].method, method) == 0) return true;
    return strcmp(method, "HEAD") == 0 && answers("GET", path);
}

static void check_allow(const chopin__router *r, chopin_str path, bool percent) {
    static const char *const in_order[] = { "GET", "HEAD", "POST", "OPTIONS", "PURGE", "purge" };
    char   want[128] = "", got[128];
    for (size_t i = 0; i < CHOPIN__COUNT(in_order); i++) {
        if (!answers(in_order[i], path)) continue;
        if (want[0]) strcat(want, ", ");
        strcat(want, in_order[i]);
    }
    size_t n = chopin__router_allow(r, path, percent, got, sizeof got);
    MUST(chopin__equal_z(chopin__str(got, n), want));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    chopin__heap   heap = { .alloc = chopin__heap_default };
    chopin__router r;
    char   line[LINE];
    size_t n = 0;
    bool   fresh = true;                        // at the start of a line, where the method stands
    if (size > 256) return 0;
    chopin__router_init(&r, &heap);
    count = 0;
    const char *method = methods[0];
    for (size_t i = 0; i < size; i++) {
        const char *word = words[data[i] % CHOPIN__COUNT(words)];
        if (fresh) { method = methods[data[i] % CHOPIN__COUNT(methods)]; fresh = false; continue; }
        if (word[0] != '\n') { if (n + strlen(word) < LINE / 2) { memcpy(line + n, word, strlen(word)); n += strlen(word); } continue; }
        if (count < ROUTES) {
            all[count] = (simple){ .method = method };
            memcpy(all[count].pattern, line, n);
            add(&r);
        }
        n = 0;
        fresh = true;
    }
    char *path = malloc(n ? n : 1);             // exactly its size, for ASan
    memcpy(path, line, n);
    chopin_str view = chopin__str(path, n);
    bool percent = n && memchr(path, '%', n);
    if (chopin__percent_ok(view)) {
        for (size_t i = 0; i < CHOPIN__COUNT(methods); i++) {
            look(&r, methods[i], view, percent);
            check_other_slash(&r, methods[i], view, percent);
        }
        check_allow(&r, view, percent);
    }
    free(path);
    chopin__router_done(&r);
    return 0;
}
