/* test_http1.c - the >>http1 room. Every input is parsed whole, cut in two at each byte, and byte by byte, against unreadable pages. */
static unsigned long visits;            // bytes the parser looked at
#define CHOPIN__VISIT(n) (visits += (unsigned long)(n))
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER
#include "test.h"

enum { MAX_FIELDS = 200, ROOM = 256 * 1024 };

static const chopin__rules usual = { 32, 8192, 8192, 32768, 100, 1024, 16384 };
static chopin__rules rules;             // what parse() goes by; tests that change it put it back

static char *room, *room_end;           // readable; the pages before and behind it are not
static char *at_end(const char *text, size_t len)   { return len ? memcpy(room_end - len, text, len) : room_end; }
static char *at_start(const char *text, size_t len) { return len ? memcpy(room, text, len) : room; }

static void open_room(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char  *all = mmap(NULL, ROOM + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all, page, PROT_NONE) || mprotect(all + page + ROOM, page, PROT_NONE)) abort();
    room = all + page;
    room_end = room + ROOM;
}

/* ---- heads and trailers ---- */
typedef struct parsed { int rc; chopin__head h; chopin__field fields[MAX_FIELDS]; } parsed;

static parsed p;                        // the last one, for the tests
static const char *p_text;              // its bytes

static void start(parsed *to) {
    memset(&to->h, 0xee, sizeof to->h);                                 // what reset leaves must not matter
    memset(to->fields, 0xee, sizeof to->fields);
    to->h.fields = to->fields;
    chopin__head_reset(&to->h);
}
static int step(parsed *to, const char *base, size_t len, bool trailer) {
    return to->rc = (trailer ? chopin__trailer_parse : chopin__head_parse)(&to->h, &rules, base, len);
}

static bool same(const parsed *a, const parsed *b, bool trailer) {
    const chopin__head *x = &a->h, *y = &b->h;
    if (a->rc != b->rc) return false;
    if (a->rc == 0) return true;
    if ((x->why == NULL) != (y->why == NULL) || (x->why && strcmp(x->why, y->why) != 0)) return false;
    if (a->rc < 0) return x->why != NULL;
    bool fields = x->count == y->count && memcmp(a->fields, b->fields, x->count * sizeof *x->fields) == 0 && memcmp(x->slot, y->slot, sizeof x->slot) == 0;
    if (trailer) return fields;
    return fields && x->minor == y->minor && x->keep_alive == y->keep_alive && x->close == y->close && x->chunked == y->chunked
        && x->has_length == y->has_length && (!x->has_length || x->content_length == y->content_length) && x->expect_continue == y->expect_continue
        && x->te_trailers == y->te_trailers && x->upgrade == y->upgrade && x->percent == y->percent && x->method == y->method
        && x->method_len == y->method_len && x->target == y->target && x->target_len == y->target_len && x->path == y->path && x->path_len == y->path_len
        && x->has_query == y->has_query && (!x->has_query || (x->query == y->query && x->query_len == y->query_len))
        && x->authority_len == y->authority_len && (!x->authority_len || x->authority == y->authority);
}

/* Parses `text` in every way; the verdict, and p. A head that is complete is so with anything behind it, and not one byte earlier. */
static int parse_as(const char *text, size_t len, bool trailer) {
    static parsed other;
    start(&p);
    p_text = text;
    step(&p, at_end(text, len), len, trailer);
    start(&other);
    step(&other, at_start(text, len), len, trailer);
    bool good = CHECK(same(&p, &other, trailer));
    for (size_t cut = 0; cut <= len && good && len < 4000; cut++) {
        start(&other);
        if (step(&other, at_end(text, cut), cut, trailer) == 0) step(&other, at_end(text, len), len, trailer);
        good = CHECK(same(&p, &other, trailer));
        if (p.rc > 0 && (size_t)p.rc == len && cut < len) {
            start(&other);
            good &= CHECK(step(&other, at_end(text, cut), cut, trailer) == 0);
        }
    }
    start(&other);
    other.rc = 0;
    size_t whole = 0;
    while (whole < len && other.rc == 0) { whole++; step(&other, at_end(text, whole), whole, trailer); }
    if (len) good &= CHECK(same(&p, &other, trailer));
    if (p.rc > 0) good &= CHECK_EQ_INT(whole, p.rc);
    if (!good) printf("    in: %.*s\n", (int)chopin__min(len, 200), text);
    return p.rc;
}
#define HEAD(text)    parse_as("" text, sizeof(text) - 1, false)
#define TRAILER(text) parse_as("" text, sizeof(text) - 1, true)
#define GET(fields)   HEAD("GET /ping HTTP/1.1\r\nHost: x\r\n" fields "\r\n")
#define POST(fields)  HEAD("POST /echo HTTP/1.1\r\nHost: x\r\n" fields "\r\n")

static chopin_str cut(uint32_t at, uint32_t len)  { return chopin__str(p_text + at, len); }
static chopin_str field_name(size_t i)  { return cut(p.fields[i].name, p.fields[i].name_len); }
static chopin_str field_value(size_t i) { return cut(p.fields[i].value, p.fields[i].value_len); }
static chopin_str known(unsigned id)    { return p.h.slot[id] ? field_value(p.h.slot[id] - 1u) : chopin__absent(); }
#define METHOD    cut(p.h.method, p.h.method_len)
#define TARGET    cut(p.h.target, p.h.target_len)
#define PATH      cut(p.h.path, p.h.path_len)
#define QUERY     cut(p.h.query, p.h.query_len)
#define AUTHORITY cut(p.h.authority, p.h.authority_len)

/* ---- chunks ---- */
static char   body[ROOM];
static size_t body_len, body_used;      // decoded bytes; encoded bytes up to behind the last chunk's line

/* Decodes text in pieces that end at `first` and then every `piece` bytes. */
static int decode(const char *text, size_t len, size_t first, size_t piece, bool in_place) {
    chopin__chunks d = { 0 };
    size_t at = 0;
    int    rc = 0;
    body_len = body_used = 0;
    while (rc == 0 && at < len) {
        size_t n = chopin__min(at == 0 && first ? first : piece, len - at), used = 999, produced = 999;
        char *in = at_end(text + at, n);
        rc = chopin__chunks_decode(&d, &rules, in, n, &used, in_place ? in : body + body_len, &produced);
        CHECK(used <= n && produced <= n && (rc != 0 || used == n) && (rc >= 0) == (d.why == NULL));
        if (in_place) memcpy(body + body_len, in, produced);
        body_len += produced;
        body_used += used;
        at += used;
    }
    return rc;
}
static int chunks_of(const char *text, size_t len) {
    static char first[ROOM];
    int    rc = decode(text, len, 0, len, false);
    size_t decoded = body_len, used = body_used;
    memcpy(first, body, decoded);
    for (size_t at = 0; at <= len && len < 3000; at++) {
        bool agrees = decode(text, len, at, at == 0 ? 1 : len, at & 1) == rc && body_len == decoded && memcmp(body, first, decoded) == 0 && (rc < 0 || body_used == used);
        if (!CHECK(agrees)) { printf("    in: %.*s, cut at %zu\n", (int)chopin__min(len, 200), text, at); break; }
    }
    return rc;
}
#define CHUNKS(text) chunks_of("" text, sizeof(text) - 1)

/* ---- the claims ---- */
static void same_result_for_every_split(void) {
    CHECK(GET("") > 0);
    CHECK_STR(METHOD, "GET");
    CHECK_STR(PATH, "/ping");
    CHECK_EQ_INT(p.h.minor, 1);
    CHECK(p.h.keep_alive && !p.h.has_length && !p.h.chunked && p.h.count == 1);
    // HttpArena's shapes
    CHECK(HEAD("GET /baseline11?a=13&b=42 HTTP/1.1\r\nHost: localhost:8080\r\n\r\n") > 0);
    CHECK_STR(PATH, "/baseline11");
    CHECK_STR(QUERY, "a=13&b=42");
    CHECK(HEAD("POST /baseline11?a=13&b=42 HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n20") > 0);
    CHECK_EQ_INT(p.h.content_length, 2);
    CHECK(HEAD("POST /baseline11?a=13&b=42 HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n20\r\n0\r\n\r\n") > 0);
    CHECK(p.h.chunked);
    CHECK(HEAD("GET /pipeline HTTP/1.1\r\nHost: localhost:8080\r\n\r\nGET /pipeline HTTP/1.1\r\nHost: localhost:8080\r\n\r\n") == 48);
    CHECK(HEAD("GET /json/50?m=3 HTTP/1.1\r\nHost: localhost:8080\r\nAccept-Encoding: gzip, br\r\nConnection: close\r\n\r\n") > 0);
    CHECK(p.h.close && !p.h.keep_alive);
    CHECK(HEAD("POST /upload HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/octet-stream\r\nContent-Length: 20971520\r\n\r\n") > 0);
    CHECK(HEAD("GET /static/vendor.js HTTP/1.1\r\nHost: localhost:8080\r\nAccept-Encoding: br;q=1, gzip;q=0.8\r\n\r\n") > 0);
    CHECK(HEAD("GET /ws HTTP/1.1\r\nHost: localhost:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n") > 0);
    CHECK(p.h.upgrade);
    CHECK_STR(known(CHOPIN_H_SEC_WEBSOCKET_KEY), "dGhlIHNhbXBsZSBub25jZQ==");
    CHECK(HEAD("GET /async-db?min=10&max=50&limit=%31 HTTP/1.1\r\nHost: localhost:8080\r\n\r\n") > 0);
    CHECK(p.h.percent);
    // a browser
    CHECK(HEAD("GET /a/b%20c?d=%C3%A9&e? HTTP/1.1\r\nHost: www.example.com\r\nConnection: keep-alive\r\nsec-ch-ua: \"Chromium\";v=\"128\", \"Not;A=Brand\";v=\"24\"\r\n"
               "sec-ch-ua-mobile: ?0\r\nUpgrade-Insecure-Requests: 1\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0\r\n"
               "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\nSec-Fetch-Site: none\r\nX-Empty:\r\nX-Blank: \t \r\n"
               "Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: de-DE,de;q=0.9\r\nCookie: a=1; b=2\r\nCookie: c=3\r\n\r\nbody") > 0);
    CHECK_EQ_INT(p.h.count, 14);
    CHECK_STR(QUERY, "d=%C3%A9&e?");
    CHECK_STR(known(CHOPIN_H_COOKIE), "a=1; b=2");
    CHECK_STR(field_name(4), "Upgrade-Insecure-Requests");
    CHECK_EQ_INT(p.fields[4].id, CHOPIN_H_COUNT);
    CHECK_STR(field_value(8), "");
    CHECK_STR(field_value(9), "");
    CHECK_STR(known(CHOPIN_H_ACCEPT_ENCODING), "gzip, deflate, br, zstd");
    // silence is no verdict
    CHECK_EQ_INT(HEAD(""), 0);
    CHECK_EQ_INT(HEAD("GET /ping HTTP/1.1\r\n"), 0);
    CHECK_EQ_INT(HEAD("GET /ping HTTP/1.1\r\nHost: x\r\n\r"), 0);
    CHECK(CHUNKS("4\r\nWiki\r\n5\r\npedia\r\n0\r\n\r\n") == 1 && body_len == 9 && memcmp(body, "Wikipedia", 9) == 0);
    CHECK_EQ_INT(body_used, 22);
}

static void known_names_are_found(void) {
    static const char *const ids[] = {
#define NAME(id, text) #id,
        CHOPIN_HEADERS(NAME)
    };
    static const char *const known[] = {
#define TEXT(id, text) text,
        CHOPIN_HEADERS(TEXT)
    };
    char text[40], upper[40];
    bool good = true;
    for (unsigned id = 0; id < CHOPIN_H_COUNT; id++) {
        size_t len = strlen(known[id]);
        strcpy(text, known[id]);
        for (size_t i = 0; i <= len; i++) upper[i] = (char)toupper((unsigned char)text[i]);
        good &= CHECK_EQ_INT(chopin__name_id(text, len), id);
        good &= CHECK_EQ_INT(chopin__name_id(upper, len), id);
        for (size_t i = 0; i < len; i++) {                           // every other byte at every place is another name
            for (int ch = 0; ch < 256; ch++) {
                char was = text[i];
                bool equal = chopin__lower((char)ch) == was;
                text[i] = (char)ch;
                CHECK((chopin__name_id(text, len) == id) == equal);
                text[i] = was;
            }
        }
        CHECK(chopin__name_id(text, len - 1) != id);
    }
    if (good) return;
    for (uint32_t multiplier = CHOPIN__NAME_MULTIPLIER; ; multiplier = multiplier * 1664525u + 1013904222u) {
        int      slots[128];
        unsigned id = 0;
        memset(slots, -1, sizeof slots);
        for (; id < CHOPIN_H_COUNT; id++) {
            int *slot = &slots[chopin__name_hash(known[id], strlen(known[id]), multiplier)];
            if (*slot >= 0) break;
            *slot = (int)id;
        }
        if (id < CHOPIN_H_COUNT) continue;
        printf("    put this into >>http1:\n#define CHOPIN__NAME_MULTIPLIER 0x%08xu\n#define CHOPIN__NAME_SLOTS(X)", multiplier);
        for (int i = 0, n = 0; i < 128; i++) if (slots[i] >= 0) printf("%s X(%d, %s)", n++ % 5 ? "" : " \\\n   ", i, ids[slots[i]]);
        printf("\n");
        return;
    }
}

static void work_is_linear_in_input(void) {
    static char text[32768];
    static parsed got;
    const char *shapes[] = { "X-Header-Name: value of it", "Accept: ", "x_1: y                                                                        ", "a:", "Cookie: a=b; c=d; e=f" };
    for (size_t shape = 0; shape < CHOPIN__COUNT(shapes); shape++) {
        size_t len = 0, line = strlen(shapes[shape]), long_line = shape == 1 ? 8000 : line;
        rules.max_headers = MAX_FIELDS;
        len = (size_t)sprintf(text, "GET /%%41?b HTTP/1.1\r\nHost: x\r\n");
        for (size_t n = 1; len + long_line + 4 <= sizeof text && n < MAX_FIELDS; n++) {
            memcpy(text + len, shapes[shape], line);
            memset(text + len + line, 'v', long_line - line);
            memcpy(text + len + long_line, "\r\n", 2);
            len += long_line + 2;
        }
        memcpy(text + len, "\r\n", 2);
        len += 2;
        visits = 0;
        start(&got);
        for (size_t n = 1; n <= len; n++) CHECK_EQ_INT(step(&got, text, n, false), n == len ? (int)len : 0);
        CHECK(visits >= len * 9 / 10);
        if (!CHECK(visits < 2 * len)) printf("    shape %zu: %lu visits of %zu bytes\n", shape, visits, len);
    }
    rules = usual;
    visits = 0;
    CHECK(decode("1;a=b\r\nx\r\n10\r\n0123456789abcdef\r\n0\r\n", 36, 0, 1, false) == 1);
    CHECK(visits <= 36);
}

static void never_reads_past_the_end(void) {
    static char text[600];
    for (size_t pad = 0; pad < 64; pad++) {                             // parse_as() puts it against both unreadable pages
        size_t len = (size_t)sprintf(text, "GET /%.*s HTTP/1.1\r\nHost: x\r\nX-%.*s: %.*s\r\n\r\n", (int)pad, "0123456789012345678901234567890123456789012345678901234567890123",
                                     (int)(63 - pad), "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnop", (int)pad * 2,
                                     "0123456789012345678901234567890123456789012345678901234567890123""0123456789012345678901234567890123456789012345678901234567890123");
        CHECK_EQ_INT(parse_as(text, len, false), len);
        static char aligned[1024];
        static parsed other;
        memcpy(aligned + pad, text, len);
        start(&other);
        step(&other, aligned + pad, len, false);
        CHECK(same(&p, &other, false));
    }
    // blocks against single bytes: each byte at each place of a block, and in each tail
    for (int ch = 0; ch < 256; ch++) {
        unsigned char byte = (unsigned char)ch;
        bool letter = isalpha(ch) && ch < 128, digit = ch >= '0' && ch <= '9';
        for (size_t len = 1; len <= 80; len++) {
            for (size_t at = 0; at < len; at += len < 20 ? 1 : 7) {
                char *s = room_end - len;
                memset(s, 'a', len);
                s[at] = (char)ch;
                bool go_name = letter || ch == '-', go_value = chopin__is_field_value(chopin__str((char *)&byte, 1)), go_host = letter || digit || ch == '-' || ch == '.';
                bool go_target = ch > 0x20 && ch < 0x7f && !strchr("#?%", ch);
                size_t want = at;
                CHECK_EQ_INT(chopin__span(s, s, room_end, chopin__name_stops, chopin__name_rest) - s, go_name ? len : want);
                CHECK_EQ_INT(chopin__span(s, s, room_end, chopin__value_stops, chopin__value_rest) - s, go_value ? len : want);
                CHECK_EQ_INT(chopin__span(s, s, room_end, chopin__host_stops, chopin__host_rest) - s, go_host ? len : want);
                CHECK_EQ_INT(chopin__span(s, s, room_end, chopin__target_stops, chopin__target_rest) - s, go_target ? len : want);
            }
        }
    }
    // the long scan with and without what this CPU has
    unsigned word = chopin__cpu();
    for (size_t len = 0; len < 200; len++) {
        char *s = room_end - 200;
        memset(s, 'v', 200);
        s[len] = '\x01';
        atomic_store(&chopin__cpu_word, CHOPIN__CPU_KNOWN);
        const char *plain = chopin__value_rest(s, s, room_end);
        atomic_store(&chopin__cpu_word, word);
        CHECK(plain == s + len && chopin__value_rest(s, s, room_end) == plain);
    }
}

/* A request line with a method, target, and one header line of these lengths, and `more` short fields. */
static int sized(size_t method, size_t target, size_t line, size_t more) {
    static char text[ROOM];
    size_t at = 0;
    memset(text, 'M', method);
    at += method;
    text[at++] = ' ';
    memset(text + at, '/', target);
    at += target;
    at += (size_t)sprintf(text + at, " HTTP/1.1\r\nHost: x\r\n");
    if (line) {
        memcpy(text + at, "X: ", 3);
        memset(text + at + 3, 'v', line - 3);
        memcpy(text + at + line, "\r\n", 2);
        at += line + 2;
    }
    while (more--) { memcpy(text + at, "a:\r\n", 4); at += 4; }
    memcpy(text + at, "\r\n", 2);
    return parse_as(text, at + 2, false);
}

static void limits_hold_at_n_and_fail_at_n_plus_one(void) {
    for (int by = -1; by <= 1; by++) {
        size_t plus = (size_t)by;
        CHECK(by > 0 ? sized(32 + plus, 1, 0, 0) == -501 : sized(32 + plus, 1, 0, 0) > 0);
        CHECK(by > 0 ? sized(3, 8192 + plus, 0, 0) == -414 : sized(3, 8192 + plus, 0, 0) > 0);
        CHECK(by > 0 ? sized(3, 1, 8192 + plus, 0) == -431 : sized(3, 1, 8192 + plus, 0) > 0);
        CHECK(by > 0 ? sized(3, 1, 0, 99 + plus) == -431 : sized(3, 1, 0, 99 + plus) > 0);
        rules.max_head = 200;                                           // 24 around the line
        int head = sized(3, 1, 200 - (3 + 1 + 1 + 11 + 9 + 2 + 2) + plus, 0);
        CHECK(by > 0 ? head == -431 : head == 200 + by);
        rules = usual;
        rules.max_target = 20; rules.max_header_line = 20; rules.max_method = 20;   // small enough for every cut
        CHECK(by > 0 ? sized(20 + plus, 1, 0, 0) == -501 : sized(20 + plus, 1, 0, 0) > 0);
        CHECK(by > 0 ? sized(3, 20 + plus, 0, 0) == -414 : sized(3, 20 + plus, 0, 0) > 0);
        CHECK(by > 0 ? sized(3, 1, 20 + plus, 0) == -431 : sized(3, 1, 20 + plus, 0) > 0);
        rules = usual;
    }
    // what stands behind a limit cannot change the verdict
    rules.max_header_line = 20; rules.max_target = 20; rules.max_method = 20;
    CHECK_EQ_INT(GET("X: 012345678901234567\x01\r\n"), -431);
    CHECK_EQ_INT(GET("X: 01234567890123456\x01\r\n"), -400);
    CHECK_EQ_INT(GET("X01234567890123456789( 1\r\n"), -431);
    CHECK_EQ_INT(GET("X0123456789012345678( 1\r\n"), -400);
    CHECK_EQ_INT(GET("X:                                 1\r\n"), -431);
    CHECK_EQ_INT(HEAD("MMMMMMMMMMMMMMMMMMMMM( / HTTP/1.1\r\n\r\n"), -501);
    CHECK_EQ_INT(HEAD("GET /01234567890123456789\x01 HTTP/1.1\r\n\r\n"), -414);
    CHECK_EQ_INT(HEAD("GET /0123456789012345678\x01 HTTP/1.1\r\n\r\n"), -400);
    // and nobody waits for the end of what is too long already
    CHECK_EQ_INT(HEAD("GET / HTTP/1.1\r\nHost: x\r\nX: 01234567890123456"), 0);
    CHECK_EQ_INT(HEAD("GET / HTTP/1.1\r\nHost: x\r\nX: 012345678901234567"), -431);
    CHECK_EQ_INT(HEAD("GET / HTTP/1.1\r\nHost: x\r\nX01234567890123456789"), -431);
    CHECK_EQ_INT(HEAD("GET / HTTP/1.1\r\nHost: x\r\nX:                   "), -431);
    CHECK_EQ_INT(HEAD("MMMMMMMMMMMMMMMMMMMMM"), -501);
    CHECK_EQ_INT(HEAD("GET /01234567890123456789"), -414);
    rules.max_head = 30;
    CHECK_EQ_INT(HEAD("GET / HTTP/1.1\r\nHost: xyzabcde"), -431);
    CHECK_EQ_INT(HEAD("GET / HTTP/1.1\r\nHost: xyzabcd"), 0);
    rules = usual;
    rules.max_headers = 2;
    CHECK_EQ_INT(TRAILER("a: 1\r\nb: 2\r\n\r\n"), 14);
    CHECK_EQ_INT(TRAILER("a: 1\r\nb: 2\r\nc: 3\r\n\r\n"), -431);
    rules = usual;
    // a framing field is honoured wherever it stands, or all is refused (HTTP.md 2c 1)
    size_t others[] = { 15, 16, 29, 30, 31, 40, 63, 64, 65, 98, 99, 100, 101, 120 };
    for (size_t i = 0; i < CHOPIN__COUNT(others); i++) {
        static char text[4096];
        size_t len = (size_t)sprintf(text, "POST / HTTP/1.1\r\n");
        for (size_t n = 1; n < others[i]; n++) len += (size_t)sprintf(text + len, "X-%zu: y\r\n", n);
        len += (size_t)sprintf(text + len, "Host: x\r\nContent-Length: 5\r\n\r\n");
        int rc = parse_as(text, len, false);
        CHECK(others[i] < 100 ? rc == (int)len && p.h.has_length && p.h.content_length == 5 : rc == -431);
    }
}

static void rejects_bad_request_lines(void) {
    CHECK_EQ_INT(HEAD("GET  / HTTP/1.1\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET /  HTTP/1.1\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET /\tHTTP/1.1\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD(" GET / HTTP/1.1\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET / HTTP/1.1 \r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET HTTP/1.1\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET  HTTP/1.1\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET / http/1.1\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET /\r HTTP/1.1\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET /\n HTTP/1.1\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("G\rET / HTTP/1.1\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GE(T / HTTP/1.1\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("G\xc3\x89T / HTTP/1.1\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD(" / HTTP/1.1\r\n\r\n"), -400);
    CHECK(HEAD("M-SEARCH / HTTP/1.1\r\nHost: x\r\n\r\n") > 0);
    CHECK(HEAD("GET! / HTTP/1.1\r\nHost: x\r\n\r\n") > 0);
    CHECK(HEAD("get / HTTP/1.1\r\nHost: x\r\n\r\n") > 0);
    CHECK_STR(METHOD, "get");
}

static void version_matrix(void) {
    CHECK(HEAD("GET / HTTP/1.0\r\n\r\n") > 0 && p.h.minor == 0 && !p.h.keep_alive);
    CHECK(HEAD("GET / HTTP/1.1\r\nHost: x\r\n\r\n") > 0 && p.h.minor == 1 && p.h.keep_alive);
    CHECK_EQ_INT(HEAD("GET / HTTP/1.2\r\nHost: x\r\n\r\n"), -505);
    CHECK_EQ_INT(HEAD("GET / HTTP/2.0\r\nHost: x\r\n\r\n"), -505);
    CHECK_EQ_INT(HEAD("GET / HTTP/9.9\r\nHost: x\r\n\r\n"), -505);
    CHECK_EQ_INT(HEAD("GET / HTTP/0.9\r\nHost: x\r\n\r\n"), -505);
    CHECK_EQ_INT(HEAD("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), -505);
    CHECK_EQ_INT(HEAD("GET / HTTP/1.32\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET / HTTP/01.1\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET / HTTP/1.\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET / HTTP/1,1\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET / HTTP/1.:\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET / HTHTTP/1.1\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET / FOO\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET /\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET / \r\n\r\n"), -400);
}

#define LINE(line) HEAD(line " HTTP/1.1\r\nHost: x\r\n\r\n")

static void target_forms(void) {
    CHECK(LINE("GET /a/b;c=d,e@f:g!$&'()*+|^{}\"<>\\`[]~?q=?/") > 0);
    CHECK_STR(PATH, "/a/b;c=d,e@f:g!$&'()*+|^{}\"<>\\`[]~");
    CHECK_STR(QUERY, "q=?/");
    CHECK(!p.h.percent && p.h.authority_len == 0);
    CHECK(LINE("GET /?") > 0 && p.h.has_query && p.h.query_len == 0 && p.h.path_len == 1);
    CHECK(LINE("GET //x/%2e") > 0 && p.h.percent && !p.h.has_query);
    CHECK_STR(PATH, "//x/%2e");
    CHECK(LINE("GET http://example.com:81/ping?a") > 0);
    CHECK_STR(AUTHORITY, "example.com:81");
    CHECK_STR(PATH, "/ping");
    CHECK_STR(QUERY, "a");
    CHECK_STR(TARGET, "http://example.com:81/ping?a");
    CHECK(LINE("GET HTTPS://example.com") > 0);
    CHECK_STR(AUTHORITY, "example.com");
    CHECK_STR(PATH, "/");
    CHECK(LINE("GET http://example.com?a/b") > 0);
    CHECK_STR(AUTHORITY, "example.com");
    CHECK_STR(PATH, "/");
    CHECK_STR(QUERY, "a/b");
    CHECK(LINE("OPTIONS *") > 0);
    CHECK_STR(PATH, "*");
    CHECK(LINE("CONNECT example.com:443") > 0 && p.h.path_len == 1);
    CHECK_STR(AUTHORITY, "example.com:443");
    CHECK(LINE("CONNECT [::1]:443") > 0);
    CHECK_EQ_INT(LINE("CONNECT /"), -400);
    CHECK_EQ_INT(LINE("CONNECT example.com"), -400);
    CHECK_EQ_INT(LINE("CONNECT example.com:"), -400);
    CHECK_EQ_INT(LINE("CONNECT :443"), -400);
    CHECK_EQ_INT(LINE("CONNECT a@b:443"), -400);
    CHECK_EQ_INT(LINE("CONNECT [::1]"), -400);
    CHECK_EQ_INT(LINE("CONNECT b:443/"), -400);
    CHECK_EQ_INT(LINE("CONNECT b:443?"), -400);
    CHECK_EQ_INT(LINE("CONNECT http://b:443/"), -400);
    CHECK_EQ_INT(LINE("CONNECT *"), -400);
    CHECK_EQ_INT(LINE("GET *"), -400);
    CHECK_EQ_INT(LINE("OPTIONS *x"), -400);
    CHECK_EQ_INT(LINE("OPTIONS *?x"), -400);
    CHECK_EQ_INT(LINE("GET example.com:80"), -400);
    CHECK_EQ_INT(LINE("GET ping"), -400);
    CHECK_EQ_INT(LINE("GET ?a"), -400);
    CHECK_EQ_INT(LINE("GET ftp://x/"), -400);
    CHECK_EQ_INT(LINE("GET http:/x"), -400);
    CHECK_EQ_INT(LINE("GET http://"), -400);
    CHECK_EQ_INT(LINE("GET https://"), -400);
    CHECK_EQ_INT(LINE("GET http:///x"), -400);
    CHECK_EQ_INT(LINE("GET http://?x"), -400);
    CHECK_EQ_INT(LINE("GET http://:80/"), -400);
    CHECK_EQ_INT(LINE("GET http://u@x/"), -400);
    CHECK_EQ_INT(LINE("GET http://x:65536/"), -400);
    CHECK_EQ_INT(LINE("GET http://x|y/"), -400);
    CHECK_EQ_INT(LINE("GET /#f"), -400);
    CHECK_EQ_INT(LINE("GET /?a#f"), -400);
    for (int ch = 0; ch < 256; ch++) {
        char text[64];
        int  len = sprintf(text, "GET /a%cb HTTP/1.1\r\nHost: x\r\n\r\n", 'x');
        text[6] = (char)ch;
        bool visible = ch > 0x20 && ch < 0x7f && ch != '#';
        CHECK_EQ_INT(parse_as(text, (size_t)len, false), visible ? len : -400);
    }
}

#define HOST(value) HEAD("GET / HTTP/1.1\r\nHost: " value "\r\n\r\n")

static void host_rules(void) {
    CHECK(HOST("x") > 0 && HOST("127.0.0.1:8080") > 0 && HOST("a-b.example.:80") > 0 && HOST("[::1]") > 0 && HOST("[2001:db8::1]:8080") > 0);
    CHECK(HOST("") > 0 && HOST("x:") > 0 && HOST("x:65535") > 0 && HOST("x:00080") > 0 && HOST("a_b~!$&'()*+,;=%41:1") > 0 && HOST("\t x \t") > 0);
    CHECK(HOST("[::ffff:1.2.3.4]:1") > 0 && HOST("a.very.long.name.that.fills.more.than.one.block.example.com:8080") > 0);
    CHECK_EQ_INT(HEAD("GET / HTTP/1.1\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET / HTTP/1.1\r\nX: y\r\n\r\n"), -400);
    CHECK_EQ_INT(GET("Host: x\r\n"), -400);
    CHECK_EQ_INT(GET("host: y\r\n"), -400);
    CHECK_EQ_INT(HOST("u@x"), -400);
    CHECK_EQ_INT(HOST("u:p@x"), -400);
    CHECK_EQ_INT(HOST("x y"), -400);
    CHECK_EQ_INT(HOST("x\0y"), -400);
    CHECK_EQ_INT(HOST("x:65536"), -400);
    CHECK_EQ_INT(HOST("x:99999"), -400);
    CHECK_EQ_INT(HOST("x:184467440737095516160"), -400);
    CHECK_EQ_INT(HOST("x:8a"), -400);
    CHECK_EQ_INT(HOST("x:-1"), -400);
    CHECK_EQ_INT(HOST("x:1:2"), -400);
    CHECK_EQ_INT(HOST("x:1."), -400);
    CHECK_EQ_INT(HOST("[::1"), -400);
    CHECK_EQ_INT(HOST("[]"), -400);
    CHECK_EQ_INT(HOST("[1.2.3.4]"), -400);
    CHECK_EQ_INT(HOST("[::1]x"), -400);
    CHECK_EQ_INT(HOST("[::1%25eth0]"), -400);
    CHECK_EQ_INT(HOST("[::1]]"), -400);
    CHECK_EQ_INT(HOST("[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]"), -400);
    CHECK_EQ_INT(HOST("a%4"), -400);
    CHECK_EQ_INT(HOST("a%zz"), -400);
    CHECK_EQ_INT(HOST("a/b"), -400);
    CHECK_EQ_INT(HOST("a?b"), -400);
    CHECK_EQ_INT(HOST("a#b"), -400);
    CHECK_EQ_INT(HOST("a\\b"), -400);
    CHECK_EQ_INT(HOST("\xe9"), -400);
    CHECK_EQ_INT(HOST("http://x"), -400);
    CHECK(HEAD("GET / HTTP/1.0\r\n\r\n") > 0);
    CHECK_EQ_INT(HEAD("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET / HTTP/1.0\r\nHost: a b\r\n\r\n"), -400);
    CHECK(HEAD("GET http://wins/ HTTP/1.1\r\nHost: loses\r\n\r\n") > 0);
    CHECK_STR(AUTHORITY, "wins");
    CHECK_STR(known(CHOPIN_H_HOST), "loses");
    CHECK_EQ_INT(HEAD("GET http://x/ HTTP/1.1\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET http://x/ HTTP/1.1\r\nHost: a b\r\n\r\n"), -400);
}

static void field_names_are_tokens(void) {
    for (int ch = 0; ch < 256; ch++) {
        for (int at = 0; at < 3; at++) {
            char text[80];
            int  len = sprintf(text, "GET / HTTP/1.1\r\nHost: x\r\nX-A: v\r\n\r\n");
            text[25 + at] = (char)ch;
            bool token = ch < 128 && ch > 0 && (isalnum(ch) || strchr("!#$%&'*+-.^_`|~", ch));
            bool colon = ch == ':' && at > 0;                           // the name ends earlier
            CHECK_EQ_INT(parse_as(text, (size_t)len, false), token || colon ? len : -400);
        }
    }
    CHECK_EQ_INT(GET(": v\r\n"), -400);
    CHECK_EQ_INT(GET("X : v\r\n"), -400);
    CHECK_EQ_INT(GET("X\t: v\r\n"), -400);
    CHECK_EQ_INT(GET("no colon\r\n"), -400);
    CHECK_EQ_INT(GET("nocolon\r\n"), -400);
    CHECK_EQ_INT(GET(" folded\r\n"), -400);
    CHECK_EQ_INT(GET("X: a\r\n folded: b\r\n"), -400);
    CHECK_EQ_INT(GET("X: a\r\n\tb\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET / HTTP/1.1\r\n Host: x\r\n\r\n"), -400);
    CHECK_EQ_INT(POST("Content-Length : 4\r\n"), -400);
    CHECK_EQ_INT(POST("Content\rLength: 4\r\n"), -400);
    CHECK(POST("Content_Length: 5\r\n") > 0 && !p.h.has_length);
}

static void field_values_hold_no_controls(void) {
    for (int ch = 0; ch < 256; ch++) {
        for (size_t pad = 0; pad < 40; pad += 13) {
            char text[128];
            int  len = sprintf(text, "GET / HTTP/1.1\r\nHost: x\r\nX: a%.*s_b\r\n\r\n", (int)pad, "0123456789012345678901234567890123456789");
            text[29 + pad] = (char)ch;
            bool good = ch == '\t' || (ch >= 0x20 && ch != 0x7f);
            CHECK_EQ_INT(parse_as(text, (size_t)len, false), good ? len : -400);
            if (good) CHECK(field_value(1).len == pad + 3 && field_value(1).ptr[pad + 1] == (char)ch);
        }
    }
    CHECK(GET("X:v\r\nY: \t v \t \r\nZ:\xe9\r\nW: a \t b\r\n") > 0);
    CHECK_STR(field_value(1), "v");
    CHECK_STR(field_value(2), "v");
    CHECK_STR(field_value(3), "\xe9");
    CHECK_STR(field_value(4), "a \t b");
    CHECK_EQ_INT(GET("X: \x0b\r\n"), -400);
    CHECK_EQ_INT(GET("X: a\0b\r\n"), -400);
}

static void only_crlf_ends_a_line(void) {
    CHECK_EQ_INT(HEAD("GET / HTTP/1.1\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET / HTTP/1.1\rHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET / HTTP/1.1\r\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET / HTTP/1.1\r\nHost: x\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET / HTTP/1.1\r\nHost: x\r\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("GET / HTTP/1.1\r\nHost: x\r\n\n"), -400);
    CHECK_EQ_INT(HEAD("GET / HTTP/1.1\r\nHost: x\r\n\rX"), -400);
    CHECK_EQ_INT(HEAD("GET / HTTP/1.1\r\nHost: x\r\n\r\r\n"), -400);
    CHECK_EQ_INT(HEAD("\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("\rGET / HTTP/1.1\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("\r\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(CHUNKS("1\nA\r\n0\r\n"), -400);
    CHECK_EQ_INT(CHUNKS("1\rA\r\n0\r\n"), -400);
    CHECK_EQ_INT(CHUNKS("1\r\r\nA\r\n0\r\n"), -400);
    CHECK_EQ_INT(CHUNKS("1;a\nA\r\n0\r\n"), -400);
    CHECK_EQ_INT(CHUNKS("1;a=b\nA\r\n0\r\n"), -400);
    CHECK_EQ_INT(CHUNKS("1;a=\"b\"\rA\r\n0\r\n"), -400);
    CHECK_EQ_INT(CHUNKS("0\n"), -400);
    CHECK_EQ_INT(TRAILER("\n"), -400);
    CHECK_EQ_INT(TRAILER("\rX"), -400);
    CHECK_EQ_INT(TRAILER("\r\r\n"), -400);
    CHECK_EQ_INT(TRAILER("X: y\n\r\n"), -400);
    CHECK_EQ_INT(TRAILER("X: y\r\r\n\r\n"), -400);
    CHECK_EQ_INT(TRAILER("X: y\rZ: a\r\n\r\n"), -400);
    CHECK_EQ_INT(TRAILER("X: y\r\n\n"), -400);
}

static void skips_one_empty_line(void) {
    CHECK(HEAD("\r\nGET /ping HTTP/1.1\r\nHost: x\r\n\r\n") > 0);
    CHECK_STR(METHOD, "GET");
    CHECK_STR(PATH, "/ping");
    CHECK_STR(known(CHOPIN_H_HOST), "x");
    CHECK(HEAD("\r\nPOST /ping HTTP/1.1\r\nHost: x\r\n\r\n") > 0);
    CHECK_EQ_INT(HEAD("\r\n\r\nGET /ping HTTP/1.1\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("\r\n"), 0);
}

#define LENGTH(value) POST("Content-Length:" value "\r\n")

static void content_length_syntax(void) {
    CHECK(LENGTH("0005") > 0 && p.h.has_length && p.h.content_length == 5);
    CHECK(LENGTH(" 5 ") > 0 && p.h.content_length == 5);
    CHECK(LENGTH("\t5\t") > 0 && p.h.content_length == 5);
    CHECK(LENGTH(" 0") > 0 && p.h.has_length && p.h.content_length == 0);
    CHECK(LENGTH(" 9223372036854775807") > 0 && p.h.content_length == INT64_MAX);
    CHECK_EQ_INT(LENGTH(""), -400);
    CHECK_EQ_INT(LENGTH(" "), -400);
    CHECK_EQ_INT(LENGTH(" +5"), -400);
    CHECK_EQ_INT(LENGTH(" -0"), -400);
    CHECK_EQ_INT(LENGTH(" 0x5"), -400);
    CHECK_EQ_INT(LENGTH(" 5_0"), -400);
    CHECK_EQ_INT(LENGTH(" 5,5"), -400);
    CHECK_EQ_INT(LENGTH(" 5 5"), -400);
    CHECK_EQ_INT(LENGTH(" abc"), -400);
    CHECK_EQ_INT(LENGTH(" 5;"), -400);
    CHECK_EQ_INT(LENGTH(" 9223372036854775808"), -400);
    CHECK_EQ_INT(LENGTH(" 12345678901234567890"), -400);
    CHECK_EQ_INT(LENGTH(" 00000000000000000005"), -400);
    CHECK_EQ_INT(LENGTH(" 18446744073709551616"), -400);
}

static void rejects_two_content_lengths(void) {
    CHECK_EQ_INT(POST("Content-Length: 0\r\nContent-Length: 5\r\n"), -400);
    CHECK_EQ_INT(POST("Content-Length: 5\r\nContent-Length: 5\r\n"), -400);
    CHECK_EQ_INT(POST("Content-Length: 5\r\nX: y\r\ncontent-length: 5\r\n"), -400);
    CHECK_EQ_INT(HEAD("POST / HTTP/1.0\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"), -400);
}

static void rejects_length_with_chunked(void) {
    CHECK_EQ_INT(POST("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"), -400);
    CHECK_EQ_INT(POST("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"), -400);
    CHECK_EQ_INT(POST("Content-Length: 0\r\nTransfer-Encoding: gzip, chunked\r\n"), -400);
}

#define CODING(value) POST("Transfer-Encoding: " value "\r\n")

static void transfer_coding_matrix(void) {
    CHECK(CODING("chunked") > 0 && p.h.chunked && !p.h.has_length);
    CHECK(CODING("CHUnked") > 0 && p.h.chunked);
    CHECK(CODING("\t chunked \t") > 0 && p.h.chunked);
    CHECK_EQ_INT(CODING("gzip, chunked"), -501);
    CHECK_EQ_INT(CODING("gzip,deflate , chunked"), -501);
    CHECK_EQ_INT(CODING("xchunked"), -400);
    CHECK_EQ_INT(CODING("identity"), -400);
    CHECK_EQ_INT(CODING("gzip"), -400);
    CHECK_EQ_INT(CODING("chunked, gzip"), -400);
    CHECK_EQ_INT(CODING("chunked, chunked"), -400);
    CHECK_EQ_INT(CODING("gzip, chunked, chunked"), -400);
    CHECK_EQ_INT(CODING(",chunked"), -400);
    CHECK_EQ_INT(CODING("chunked,"), -400);
    CHECK_EQ_INT(CODING("gzip,,chunked"), -400);
    CHECK_EQ_INT(CODING(""), -400);
    CHECK_EQ_INT(CODING(","), -400);
    CHECK_EQ_INT(CODING("\x0b" "chunked"), -400);
    CHECK_EQ_INT(CODING("chunked\x0b"), -400);
    CHECK_EQ_INT(CODING("chunked;q=1"), -400);
    CHECK_EQ_INT(CODING("\"chunked\""), -400);
    CHECK_EQ_INT(CODING("chun ked"), -400);
    CHECK_EQ_INT(CODING("chunke"), -400);
    CHECK_EQ_INT(CODING("chunked\r\nTransfer-Encoding: chunked"), -400);
    CHECK_EQ_INT(CODING("gzip\r\nTransfer-Encoding: chunked"), -400);
    CHECK_EQ_INT(HEAD("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), -400);
    CHECK_EQ_INT(HEAD("POST / HTTP/1.0\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"), -400);
    CHECK(POST("Transfer_Encoding: chunked\r\n") > 0 && !p.h.chunked);
    CHECK(POST("TE: trailers\r\n") > 0 && p.h.te_trailers);
    CHECK(POST("TE: deflate;q=0.5, Trailers\r\n") > 0 && p.h.te_trailers);
    CHECK(POST("TE: gzip\r\n") > 0 && !p.h.te_trailers);
    CHECK(POST("Expect: 100-Continue\r\n") > 0 && p.h.expect_continue);
    CHECK(HEAD("POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n") > 0 && !p.h.expect_continue);
    CHECK_EQ_INT(POST("Expect: 200-ok\r\n"), -417);
    CHECK_EQ_INT(POST("Expect: 100-continue, x\r\n"), -417);
}

static void chunk_size_syntax(void) {
    CHECK(CHUNKS("0\r\n") == 1 && body_len == 0 && body_used == 3);
    CHECK(CHUNKS("0000000000000000\r\n\r\n") == 1 && body_used == 18);
    CHECK(CHUNKS("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n") == 1 && body_len == 20);
    CHECK(CHUNKS("0000000000000001\r\nx\r\n0\r\n") == 1 && body_len == 1);
    CHECK_EQ_INT(CHUNKS("7fffffffffffffff\r\nx"), 0);
    CHECK_EQ_INT(CHUNKS("8000000000000000\r\nx"), -400);
    CHECK_EQ_INT(CHUNKS("1\r\nA\r\nFFFFFFFFFFFFFFFF\r\nXXXX"), -400);
    CHECK_EQ_INT(CHUNKS("1\r\nA\r\n7fffffffffffffff\r\nXXXX"), -400);
    CHECK_EQ_INT(CHUNKS("1\r\nA\r\n7ffffffffffffffe\r\nXXXX"), 0);
    CHECK_EQ_INT(CHUNKS("00000000000000001\r\nx"), -400);
    CHECK_EQ_INT(CHUNKS("0x3\r\nabc"), -400);
    CHECK_EQ_INT(CHUNKS("-1\r\nabc"), -400);
    CHECK_EQ_INT(CHUNKS("+3\r\nabc"), -400);
    CHECK_EQ_INT(CHUNKS(" 3\r\nabc"), -400);
    CHECK_EQ_INT(CHUNKS("3 \r\nabc"), -400);
    CHECK_EQ_INT(CHUNKS("3_0\r\nabc"), -400);
    CHECK_EQ_INT(CHUNKS("3g\r\nabc"), -400);
    CHECK_EQ_INT(CHUNKS("\r\nabc"), -400);
    CHECK_EQ_INT(CHUNKS(";a\r\nabc"), -400);
    CHECK_EQ_INT(CHUNKS("3\r\nabc\r\n\r\n"), -400);
    CHECK_EQ_INT(CHUNKS("3\0\r\nabc"), -400);
}

static void chunk_data_ends_with_crlf(void) {
    CHECK_EQ_INT(CHUNKS("3\r\nabc0\r\n"), -400);
    CHECK_EQ_INT(CHUNKS("3\r\nabc\n0\r\n"), -400);
    CHECK_EQ_INT(CHUNKS("3\r\nabc\r0\r\n"), -400);
    CHECK_EQ_INT(CHUNKS("3\r\nabc\r\r\n0\r\n"), -400);
    CHECK_EQ_INT(CHUNKS("3\r\nabcd\r\n0\r\n"), -400);
    CHECK_EQ_INT(CHUNKS("3\r\nabcXX0\r\n"), -400);
    CHECK_EQ_INT(CHUNKS("3\r\nab\r\n0\r\n"), -400);
    CHECK(CHUNKS("3\r\n\r\n\0\r\n2\r\n0\r\r\n0\r\nGET") == 1 && body_len == 5 && body_used == 18);
}

static void chunk_extensions_are_checked(void) {
    CHECK(CHUNKS("1;a\r\nx\r\n1;a=b;c=\"d;\\\" e\t\xe9\";f\r\ny\r\n1 ; a = b ; c\r\nz\r\n0;last=1\r\n") == 1 && body_len == 3);
    CHECK_EQ_INT(CHUNKS("1;\r\nx"), -400);
    CHECK_EQ_INT(CHUNKS("1;;a\r\nx"), -400);
    CHECK_EQ_INT(CHUNKS("1;=b\r\nx"), -400);
    CHECK_EQ_INT(CHUNKS("1;a=\r\nx"), -400);
    CHECK_EQ_INT(CHUNKS("1;a=;b\r\nx"), -400);
    CHECK_EQ_INT(CHUNKS("1;a b\r\nx"), -400);
    CHECK_EQ_INT(CHUNKS("1;a \r\nx"), -400);
    CHECK_EQ_INT(CHUNKS("1;a=b \r\nx"), -400);
    CHECK_EQ_INT(CHUNKS("1;a=b c\r\nx"), -400);
    CHECK_EQ_INT(CHUNKS("1;a=\"b\r\nx"), -400);
    CHECK_EQ_INT(CHUNKS("1;a=\"b\"c\r\nx"), -400);
    CHECK_EQ_INT(CHUNKS("1;a=\"\\\r\"\r\nx"), -400);
    CHECK_EQ_INT(CHUNKS("1;a\0\r\nx"), -400);
    CHECK_EQ_INT(CHUNKS("1;a=\"\x01\"\r\nx"), -400);
    CHECK_EQ_INT(CHUNKS("1 a\r\nx"), -400);
    CHECK_EQ_INT(CHUNKS("1;a(\r\nx"), -400);
    for (int by = -1; by <= 1; by++) {
        rules.max_chunk_line = (size_t)(6 + by);
        CHECK_EQ_INT(CHUNKS("1;a=bc\r\nx\r\n0\r\n"), by < 0 ? -400 : 1);
        rules = usual;
        rules.max_chunk_extensions = (size_t)(6 + by);
        CHECK_EQ_INT(CHUNKS("1;ab\r\nx\r\n1;cd\r\ny\r\n0\r\n"), by < 0 ? -400 : 1);
        rules = usual;
    }
    static char text[2048];
    memset(text, 'a', sizeof text);
    memcpy(text, "1;", 2);
    memcpy(text + 1024, "\r\nx\r\n0\r\n", 8);
    CHECK_EQ_INT(chunks_of(text, 1032), 1);
    memcpy(text + 1024, "a\r\nx\r\n0\r\n", 9);
    CHECK_EQ_INT(chunks_of(text, 1033), -400);
}

static void trailers_are_kept_apart(void) {
    CHECK_EQ_INT(TRAILER("\r\n"), 2);
    CHECK_EQ_INT(p.h.count, 0);
    CHECK_EQ_INT(TRAILER("\r\nGET / HTTP/1.1\r\n"), 2);
    CHECK_EQ_INT(TRAILER("Digest: sha-256=abc\r\nX: y \r\n\r\nGET"), 30);
    CHECK_EQ_INT(p.h.count, 2);
    CHECK_STR(field_name(0), "Digest");
    CHECK_STR(field_value(1), "y");
    CHECK_EQ_INT(TRAILER("X: y\r\n"), 0);
    CHECK_EQ_INT(TRAILER("Content-Length: 5\r\n\r\n"), -400);
    CHECK_EQ_INT(TRAILER("X: y\r\ncontent-length: 5\r\n\r\n"), -400);
    CHECK_EQ_INT(TRAILER("Transfer-Encoding: chunked\r\n\r\n"), -400);
    CHECK_EQ_INT(TRAILER("Host: x\r\n\r\n"), -400);
    CHECK_EQ_INT(TRAILER("Authorization: Basic eA==\r\n\r\n"), -400);
    CHECK_EQ_INT(TRAILER("Cookie: a=b\r\n\r\n"), -400);
    CHECK_EQ_INT(TRAILER("Connection: close\r\n\r\n"), -400);
    CHECK_EQ_INT(TRAILER("Content-Type: text/plain\r\n\r\n"), -400);
    CHECK_EQ_INT(TRAILER("GET /admin HTTP/1.1\r\nHost: x\r\n\r\n"), -400);
    CHECK_EQ_INT(TRAILER("X: a\0b\r\n\r\n"), -400);
    CHECK_EQ_INT(TRAILER("X : a\r\n\r\n"), -400);
    CHECK_EQ_INT(TRAILER(": a\r\n\r\n"), -400);
    CHECK_EQ_INT(TRAILER("X: a\r\n b\r\n\r\n"), -400);
}

#define CONNECTION(value) GET("Connection: " value "\r\n")
#define CONNECTION10(value) HEAD("GET / HTTP/1.0\r\nConnection: " value "\r\n\r\n")

static void connection_is_a_token_list(void) {
    CHECK(CONNECTION("close, TE") > 0 && p.h.close && !p.h.keep_alive);
    CHECK(CONNECTION("TE , CLOSE") > 0 && p.h.close && !p.h.keep_alive);
    CHECK(CONNECTION("keep-alive, close") > 0 && !p.h.keep_alive);
    CHECK(CONNECTION("close\r\nConnection: keep-alive") > 0 && !p.h.keep_alive);
    CHECK(CONNECTION("keep-alive\r\nConnection: close") > 0 && !p.h.keep_alive);
    CHECK(CONNECTION("Keep-Alive") > 0 && p.h.keep_alive);
    CHECK(CONNECTION("") > 0 && p.h.keep_alive);
    CHECK(CONNECTION(", ,") > 0 && p.h.keep_alive);
    CHECK(CONNECTION("closed") > 0 && p.h.keep_alive);
    CHECK(CONNECTION("x-close") > 0 && p.h.keep_alive);
    CHECK(CONNECTION10("close") > 0 && !p.h.keep_alive);
    CHECK(CONNECTION10("Keep-Alive, TE") > 0 && p.h.keep_alive);
    CHECK(CONNECTION10("keep-alive, close") > 0 && !p.h.keep_alive);
    CHECK(CONNECTION10("TE") > 0 && !p.h.keep_alive);
    CHECK(HEAD("GET / HTTP/1.0\r\nConnection: TE\r\nConnection: keep-alive\r\n\r\n") > 0 && p.h.keep_alive);
    CHECK(CONNECTION("upgrade") > 0 && !p.h.upgrade);
    CHECK(CONNECTION("keep-alive, Upgrade\r\nUpgrade: websocket") > 0 && p.h.upgrade && p.h.keep_alive);
    CHECK(GET("Upgrade: websocket\r\n") > 0 && !p.h.upgrade);
    CHECK(CONNECTION10("upgrade\r\nUpgrade: websocket") > 0 && !p.h.upgrade);
    CHECK(CONNECTION("Content-Length\r\nContent-Length: 5") > 0 && p.h.has_length && p.h.content_length == 5);
    CHECK(CONNECTION("Host, Transfer-Encoding\r\nTransfer-Encoding: chunked") > 0 && p.h.chunked);
    CHECK_EQ_INT(CONNECTION("close; x"), -400);
    CHECK_EQ_INT(CONNECTION("keep alive"), -400);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    open_room();
    rules = usual;
    RUN(same_result_for_every_split);
    RUN(known_names_are_found);
    RUN(work_is_linear_in_input);
    RUN(never_reads_past_the_end);
    RUN(limits_hold_at_n_and_fail_at_n_plus_one);
    RUN(rejects_bad_request_lines);
    RUN(version_matrix);
    RUN(target_forms);
    RUN(host_rules);
    RUN(field_names_are_tokens);
    RUN(field_values_hold_no_controls);
    RUN(only_crlf_ends_a_line);
    RUN(skips_one_empty_line);
    RUN(content_length_syntax);
    RUN(rejects_two_content_lengths);
    RUN(rejects_length_with_chunked);
    RUN(transfer_coding_matrix);
    RUN(chunk_size_syntax);
    RUN(chunk_data_ends_with_crlf);
    RUN(chunk_extensions_are_checked);
    RUN(trailers_are_kept_apart);
    RUN(connection_is_a_token_list);
    return TEST_END();
}
