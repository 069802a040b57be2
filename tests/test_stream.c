/* test_stream.c - >>stream: bodies and replies of any size, read and written piece by piece */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER
#include "test.h"
#include "kit.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { EVERY = 11 };                         // a call costs a hundred times more there
#elif defined(__has_feature)
enum { EVERY = 11 };
#else
enum { EVERY = 1 };
#endif

static char  *said;                          // what the handlers have read
static size_t said_len, buffer_size = 1000;
static int64_t last_rc, most_unsent;
static int    runs;
static char   log_text[4096];

static void remember(void *arg, chopin_level level, const char *text) {
    (void)arg, (void)level;
    strncat(log_text, text, sizeof log_text - strlen(log_text) - 1);
}

static chopin_app *new_app(void) {
    chopin_options o = kit_options();
    o.log = remember;
    o.quiet = false;
    o.header_timeout_ms = 5000;
    o.max_connections = 8;                   // little to map for each of thousands of calls
    o.max_parked = 8;
    log_text[0] = 0;
    return chopin_new(&o);
}

static chopin_str play(chopin_app *app, chopin_str bytes, size_t read_step, size_t write_step) {
    return chopin_test_request(app, bytes, &(chopin_test_options){ .read_step = read_step, .write_step = write_step });
}
static chopin_str play_z(chopin_app *app, const char *bytes) { return play(app, chopin__str_z(bytes), 0, 0); }

/* ---- reading ---- */

static int reader(chopin_ctx *c) {
    char   *buf = malloc(buffer_size);
    int64_t n;
    while ((n = chopin_read(c, buf, buffer_size)) > 0) {
        said = realloc(said, said_len + (size_t)n);
        memcpy(said + said_len, buf, (size_t)n);
        said_len += (size_t)n;
    }
    free(buf);
    last_rc = n;
    runs++;
    chopin_str trailer = chopin_trailer(c, "x-sum");
    return n < 0 ? (int)n : chopin_textf(c, 200, "%zu%s%.*s", said_len, trailer.ptr ? " " : "", CHOPIN_FMT(trailer));
}

static char *made(size_t n) {
    char *text = malloc(n + 1);
    for (size_t i = 0; i < n; i++) text[i] = (char)('a' + i * 7 % 23 + i / 1000 % 3);
    text[n] = 0;
    return text;
}

/* A request whose body is `n` bytes in chunks of `chunk` (0: by length), and a second one behind it. */
static chopin_str request(size_t n, size_t chunk, size_t *len) {
    char *body = made(n), *text = malloc(n * 8 + 500), *to = text;
    to += sprintf(to, "POST /read HTTP/1.1\r\nHost: x\r\n");
    if (!chunk) to += sprintf(to, "Content-Length: %zu\r\n\r\n", n);
    else        to += sprintf(to, "Transfer-Encoding: chunked\r\n\r\n");
    for (size_t i = 0, part; i < n; i += part) {
        part = chunk && chunk < n - i ? chunk : n - i;
        if (chunk) to += sprintf(to, "%zx\r\n", part);
        memcpy(to, body + i, part);
        to += part;
        if (chunk) to += sprintf(to, "\r\n");
    }
    if (chunk) to += sprintf(to, "0\r\nX-Sum: 77\r\n\r\n");
    to += sprintf(to, "GET /after HTTP/1.1\r\nHost: x\r\n\r\n");
    free(body);
    *len = (size_t)(to - text);
    return chopin__str(text, *len);
}

static int after(chopin_ctx *c) { return chopin_text(c, 200, "after"); }

static void forget(void) { said_len = 0; last_rc = 99; runs = 0; }

static bool reads_well(chopin_app *app, size_t n, size_t chunk, size_t step) {
    size_t     len;
    chopin_str bytes = request(n, chunk, &len);
    char      *want = made(n), expected[64];
    forget();
    chopin_str reply = play(app, bytes, step, 0);
    snprintf(expected, sizeof expected, "\r\n\r\n%zu%s", n, chunk ? " 77" : "");
    bool ok = CHECK(last_rc == 0 && runs == 1 && said_len == n && memcmp(said ? said : "", want, n) == 0) && CHECK(kit_has(reply, expected))
           && CHECK(kit_has(reply, "\r\n\r\nafter") && kit_count(reply, "HTTP/1.1 200") == 2);
    if (!ok) printf("    n %zu, chunk %zu, step %zu, buffer %zu: %zu read, rc %lld\n", n, chunk, step, buffer_size, said_len, (long long)last_rc);
    free(want);
    free((char *)(uintptr_t)bytes.ptr);
    return ok;
}

static void slow_and_fast_readers_see_the_same_bytes(void) {
    static const size_t sizes[] = { 1, 10, 1000, 70000, 300000 }, chunks[] = { 0, 1, 16, 1000, 100000 }, buffers[] = { 1, 7, 1000, 65536, 400000 }, steps[] = { 0, 1, 37, 5000 };
    chopin_app *app = new_app();
    chopin_route(app, "POST", "/read", reader, NULL);
    chopin_route(app, "GET", "/after", after, NULL);
    for (size_t i = 0; i < 5 * 5 * 5 * 4; i += EVERY) {
        size_t n = sizes[i % 5], chunk = chunks[i / 5 % 5], step = steps[i / 125];
        buffer_size = buffers[i / 25 % 5];
        if (n > 10000 && (chunk == 1 || step == 1 || buffer_size == 1)) continue;
        if (!reads_well(app, n, chunk, step)) break;
    }
    buffer_size = 1000;
    chopin_free(app);
}

static void a_body_split_anywhere_reads_the_same(void) {
    chopin_app *app = new_app();
    chopin_route(app, "POST", "/read", reader, NULL);
    chopin_route(app, "GET", "/after", after, NULL);
    buffer_size = 5;
    for (size_t step = 1; step < 260; step += EVERY) {
        if (!reads_well(app, 60, 0, step) || !reads_well(app, 60, 9, step)) break;
    }
    buffer_size = 1000;
    chopin_free(app);
}

static void malformed_and_large_bodies_are_told(void) {
    chopin_app *app = new_app();
    chopin_route(app, "POST", "/read", reader, &(chopin_route_options){ .max_body = 20 });
    forget();
    chopin_str reply = play(app, CHOPIN_STR("POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n"), 1, 0);
    CHECK(kit_status(reply) == 400 && kit_has(reply, "Connection: close") && (last_rc == CHOPIN_ANSWERED || !runs));
    forget();
    reply = play(app, CHOPIN_STR("POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n8\r\n12345678\r\n8\r\n12345678\r\n0\r\n\r\n"), 1, 0);
    CHECK(kit_status(reply) == 413 && said_len <= 20);
    forget();
    reply = play_z(app, "POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 21\r\n\r\n");
    CHECK(kit_status(reply) == 413 && runs == 0);
    forget();
    reply = play_z(app, "POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\nabc");        // the client leaves in the middle
    CHECK(reply.len == 0 && (last_rc == CHOPIN_GONE ? said_len == 3 : !runs));             // without fibers no handler is called before the body is there
    forget();
    reply = chopin_test_request(app, CHOPIN_STR("POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\nabc"), &(chopin_test_options){ .keep_open = true });
    CHECK(kit_status(reply) == 408);
    chopin_free(app);
}

static int read_a_bit(chopin_ctx *c) {
    char buf[4];
    last_rc = chopin_read(c, buf, sizeof buf);
    return chopin_text(c, 200, "enough");
}

static void what_is_not_read_is_drained_or_ends_the_connection(void) {
    chopin_app *app = new_app();
    chopin_route(app, "POST", "/bit", read_a_bit, NULL);
    chopin_route(app, "GET", "/after", after, NULL);
    for (size_t step = 0; step < 90; step += EVERY) {
        chopin_str reply = play(app, CHOPIN_STR("POST /bit HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789GET /after HTTP/1.1\r\nHost: x\r\n\r\n"), step, 0);
        CHECK(kit_count(reply, "HTTP/1.1 200") == 2 && kit_has(reply, "after"));
        reply = play(app, CHOPIN_STR("POST /bit HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n4\r\n6789\r\n0\r\n\r\nGET /after HTTP/1.1\r\nHost: x\r\n\r\n"), step, 0);
        CHECK(kit_count(reply, "HTTP/1.1 200") == 2 && kit_has(reply, "after"));
    }
#if !defined(CHOPIN_NO_FIBERS)
    chopin_str reply = play_z(app, "POST /bit HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nGET /after HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(kit_count(reply, "HTTP/1.1") == 1 && kit_has(reply, "Connection: close"));
#endif
    chopin_free(app);
}

static void continue_is_sent_on_first_demand(void) {
    chopin_app *app = new_app();
    chopin_route(app, "POST", "/read", reader, NULL);
    forget();
    chopin_str reply = chopin_test_request(app, CHOPIN_STR("POST /read HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nabcd"), &(chopin_test_options){ .read_step = 73 });
    CHECK(kit_count(reply, "100 Continue") == 1 && kit_has(reply, "\r\n\r\n4"));
    forget();
    reply = play_z(app, "POST /read HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nabcd");
    CHECK(kit_count(reply, "100 Continue") == 0);
    chopin_free(app);
}

static int whole_after_pieces(chopin_ctx *c) {
    char buf[2];
    chopin_read(c, buf, sizeof buf);
    return chopin_text(c, 200, chopin_body(c).ptr ? "whole" : "absent");
}
static int pieces_after_whole(chopin_ctx *c) {
    char buf[64];
    size_t have = chopin_body(c).len;
    int64_t n = chopin_read(c, buf, sizeof buf);
    return chopin_textf(c, 200, "%zu %.*s", have, (int)n, buf);
}

static void without_a_body_reading_is_at_its_end(void) {
    chopin_app *app = new_app();
    chopin_route(app, "GET", "/read", reader, NULL);
    chopin_route(app, "POST", "/read", reader, NULL);
    forget();
    chopin_str reply = play_z(app, "POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /read HTTP/1.1\r\nHost: x\r\n\r\nPOST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    CHECK(kit_count(reply, "\r\n\r\n3") == 3 && runs == 3 && last_rc == 0);     // the others add nothing to what the first has read
    chopin_free(app);
}

static void whole_and_pieces_do_not_mix_up(void) {
    chopin_app *app = new_app();
    chopin_route(app, "POST", "/a", whole_after_pieces, NULL);
    chopin_route(app, "POST", "/b", pieces_after_whole, NULL);
    CHECK_STR(kit_body(play_z(app, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd")), "absent");
    CHECK_STR(kit_body(play(app, CHOPIN_STR("POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd"), 1, 0)), "4 abcd");
    chopin_free(app);
}

static int saver(chopin_ctx *c) {
    FILE   *f = tmpfile();
    int64_t n = chopin_save_body(c, fileno(f));
    rewind(f);
    said = realloc(said, 1 << 20);
    said_len = fread(said, 1, 1 << 20, f);
    fclose(f);
    return n < 0 ? (int)n : chopin_textf(c, 200, "%lld", (long long)n);
}
static int saver_broken(chopin_ctx *c) {
    int fd = open("/dev/full", O_WRONLY);
    int64_t n = chopin_save_body(c, fd);
    int error = errno;
    close(fd);
    return chopin_textf(c, 200, "%d %d", n == CHOPIN_SYSTEM, error == ENOSPC);
}

static void bodies_are_saved_whole(void) {
    chopin_app *app = new_app();
    chopin_route(app, "POST", "/read", saver, NULL);
    chopin_route(app, "POST", "/full", saver_broken, NULL);
    chopin_route(app, "GET", "/after", after, NULL);
    static const size_t sizes[] = { 1, 65536, 65537, 200000 };
    for (int i = 0; i < 8; i++) {
        size_t     len, n = sizes[i % 4];
        chopin_str bytes = request(n, i < 4 ? 0 : 1500, &len), reply = play(app, bytes, 0, 0);
        char      *want = made(n);
        CHECK(said_len == n && memcmp(said, want, n) == 0 && kit_count(reply, "HTTP/1.1 200") == 2);
        free(want);
        free((char *)(uintptr_t)bytes.ptr);
    }
    CHECK_STR(kit_body(play_z(app, "POST /full HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd")), "1 1");
    chopin_free(app);
}

/* ---- writing ---- */

static size_t write_total = 1000, write_size = 100;

static int writer(chopin_ctx *c) {
    char *text = made(write_total);
    int   rc = chopin_begin(c, 200, "text/plain");
    most_unsent = 0;
    for (size_t i = 0; rc == CHOPIN_OK && i < write_total; i += write_size) {
        rc = chopin_write(c, text + i, write_size < write_total - i ? write_size : write_total - i);
        if ((int64_t)c->k->port.out.bytes > most_unsent) most_unsent = (int64_t)c->k->port.out.bytes;
    }
    free(text);
    if (rc == CHOPIN_OK) rc = chopin_end(c);
    last_rc = rc;
    return rc;
}

/* The body of a chunked reply; what stands behind it in `rest`. Absent: malformed. */
static chopin_str unchunk(chopin_str reply, chopin_str *rest) {
    chopin__chunks d = { 0 };
    chopin__rules  r = { .max_chunk_line = 100, .max_chunk_extensions = 100 };
    chopin_str     in = kit_body(reply);
    size_t         used = 0, produced = 0;
    char          *out = (char *)(uintptr_t)in.ptr;
    if (!in.ptr || chopin__chunks_decode(&d, &r, in.ptr, in.len, &used, out, &produced) != 1) return chopin__absent();
    *rest = chopin__str(in.ptr + used, in.len - used);
    return chopin__str(out, produced);
}

static void replies_of_every_size_arrive_whole(void) {
    static const size_t totals[] = { 0, 1, 4095, 4096, 4097, 32768, 65535, 65536, 65537, 400000 }, sizes[] = { 1, 100, 4096, 4097, 65536, 400000 }, steps[] = { 0, 1000, 7 };
    chopin_app *app = new_app();
    chopin_route(app, "GET", "/w", writer, NULL);
    chopin_route(app, "GET", "/after", after, NULL);
    for (size_t i = 0; i < 10 * 6 * 3; i += EVERY) {
        write_total = totals[i % 10], write_size = sizes[i / 10 % 6];
        size_t step = steps[i / 60];
        if ((write_size == 1 && write_total > 10000) || (step == 7 && write_total > 70000)) continue;
        chopin_str reply = play(app, CHOPIN_STR("GET /w HTTP/1.1\r\nHost: x\r\n\r\nGET /after HTTP/1.1\r\nHost: x\r\n\r\n"), 0, step), rest;
        char *want = made(write_total);
        chopin_str body = unchunk(reply, &rest);
        bool ok = CHECK(body.ptr && body.len == write_total && memcmp(body.ptr, want, write_total) == 0) && CHECK(kit_has(rest, "\r\n\r\nafter")) && CHECK(last_rc == CHOPIN_OK);
        if (!ok) printf("    total %zu, writes of %zu, step %zu\n", write_total, write_size, step);
        free(want);
        if (!ok) break;
    }
    chopin_free(app);
}

static void a_slow_reader_parks_the_writer(void) {
    chopin_options o = kit_options();
    o.high_water = 20000;
    o.low_water = 5000;
    o.min_send_rate = -1;
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/w", writer, NULL);
    write_total = 2000000;
    write_size = 1000;
    chopin_str rest, body = unchunk(play(app, CHOPIN_STR("GET /w HTTP/1.1\r\nHost: x\r\n\r\n"), 0, 900), &rest);
    CHECK(body.len == write_total);
#if !defined(CHOPIN_NO_FIBERS)
    CHECK(most_unsent < 22000);
#endif
    write_size = 50000;
    body = unchunk(play(app, CHOPIN_STR("GET /w HTTP/1.1\r\nHost: x\r\n\r\n"), 0, 900), &rest);
    CHECK(body.len == write_total);
    chopin_free(app);
}

static void stream_to_http10_closes(void) {
    chopin_app *app = new_app();
    chopin_route(app, "GET", "/w", writer, NULL);
    write_total = 10, write_size = 3;
    chopin_str reply = play_z(app, "GET /w HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /w HTTP/1.0\r\n\r\n");
    char *want = made(10);
    CHECK(kit_body(reply).len == 10 && memcmp(kit_body(reply).ptr, want, 10) == 0);
    CHECK(kit_has(reply, "Connection: close\r\n") && !kit_has(reply, "keep-alive") && !kit_has(reply, "chunked") && !kit_has(reply, "Content-Length"));
    free(want);
    reply = play_z(app, "HEAD /w HTTP/1.1\r\nHost: x\r\n\r\nHEAD /w HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(kit_count(reply, "HTTP/1.1 200") == 2 && kit_count(reply, "Transfer-Encoding: chunked") == 2 && kit_body(reply).len == reply.len / 2 && !kit_has(reply, "\r\n0\r\n"));
    chopin_free(app);
}

static int empty_writes(chopin_ctx *c) {
    chopin_begin(c, 200, "text/plain");
    chopin_write(c, "", 0);
    chopin_write(c, "x", 1);
    chopin_write(c, NULL, 0);
    return CHOPIN_OK;                        // ended by returning
}
static int no_content(chopin_ctx *c) {
    chopin_begin(c, 204, "text/plain");
    chopin_write(c, "never", 5);
    return chopin_end(c);
}
static int trailers(chopin_ctx *c) {
    chopin_begin(c, 200, "text/plain");
    chopin_write(c, "x", 1);
    CHECK_EQ_INT(chopin_set_trailer(c, "X-Sum", "12"), CHOPIN_OK);
    CHECK_EQ_INT(chopin_set_trailer(c, "Content-Length", "12"), CHOPIN_INVALID);
    CHECK_EQ_INT(chopin_set_trailer(c, "Host", "12"), CHOPIN_INVALID);
    CHECK_EQ_INT(chopin_set_trailer(c, "X", "a\r\nb"), CHOPIN_INVALID);
    CHECK_EQ_INT(chopin_set(c, "X-Late", "1"), CHOPIN_LATE);
    return chopin_end(c);
}

static void empty_write_is_no_terminator(void) {
    chopin_app *app = new_app();
    chopin_route(app, "GET", "/e", empty_writes, NULL);
    chopin_route(app, "GET", "/n", no_content, NULL);
    chopin_route(app, "GET", "/t", trailers, NULL);
    CHECK_STR(kit_body(play_z(app, "GET /e HTTP/1.1\r\nHost: x\r\n\r\n")), "1\r\nx\r\n0\r\n\r\n");
    chopin_str reply = play_z(app, "GET /n HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(kit_status(reply) == 204 && kit_body(reply).len == 0 && !kit_has(reply, "Transfer-Encoding") && !kit_has(reply, "Content-Type"));
    CHECK_STR(kit_body(play_z(app, "GET /t HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: TE\r\n\r\n")), "1\r\nx\r\n0\r\nX-Sum: 12\r\n\r\n");
    CHECK_STR(kit_body(play_z(app, "GET /t HTTP/1.1\r\nHost: x\r\n\r\n")), "1\r\nx\r\n0\r\n\r\n");
    chopin_free(app);
}

static int sized(chopin_ctx *c) {
    int promise = (int)chopin_get_i64_or(c, CHOPIN_FROM_QUERY, "promise", 3);
    chopin_begin_sized(c, 200, "text/plain", (uint64_t)promise);
    return chopin_write(c, "abc", 3);
}

static void declared_length_must_match(void) {
    chopin_app *app = new_app();
    chopin_route(app, "GET", "/s", sized, NULL);
    chopin_str reply = play_z(app, "GET /s HTTP/1.1\r\nHost: x\r\n\r\nGET /s HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(kit_count(reply, "Content-Length: 3\r\n\r\nabc") == 2 && !kit_has(reply, "chunked"));
    reply = play_z(app, "GET /s?promise=4 HTTP/1.1\r\nHost: x\r\n\r\nGET /s HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(kit_count(reply, "HTTP/1.1") <= 1 && strstr(log_text, "1 bytes fewer"));
    log_text[0] = 0;
    reply = play_z(app, "GET /s?promise=2 HTTP/1.1\r\nHost: x\r\n\r\nGET /s HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(kit_count(reply, "HTTP/1.1") <= 1 && !kit_has(reply, "abc") && strstr(log_text, "more than"));
    chopin_free(app);
}

static int gives_up(chopin_ctx *c) {
    chopin_begin(c, 200, "text/plain");
    chopin_write(c, "half", 4);
    return CHOPIN_SYSTEM;
}
static int panics(chopin_ctx *c) {
    chopin_begin(c, 200, "text/plain");
    chopin_write(c, "half", 4);
    chopin_panic(c, "on purpose");
}
static int misuses(chopin_ctx *c) {
    CHECK_EQ_INT(chopin_write(c, "x", 1), CHOPIN_STATE);
    CHECK_EQ_INT(chopin_end(c), CHOPIN_STATE);
    CHECK_EQ_INT(chopin_set_trailer(c, "X", "1"), CHOPIN_STATE);
    chopin_begin(c, 200, "text/plain");
    CHECK_EQ_INT(chopin_begin(c, 200, "text/plain"), CHOPIN_OK);      // ignored, as any second reply
    chopin_end(c);
    CHECK_EQ_INT(chopin_end(c), CHOPIN_OK);
    CHECK_EQ_INT(chopin_write(c, "x", 1), CHOPIN_STATE);
    return CHOPIN_OK;
}

static void broken_streams_do_not_look_whole(void) {
    chopin_app *app = new_app();
    chopin_route(app, "GET", "/g", gives_up, NULL);
    chopin_route(app, "GET", "/m", misuses, NULL);
    chopin_str reply = play_z(app, "GET /g HTTP/1.1\r\nHost: x\r\n\r\nGET /g HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(kit_count(reply, "HTTP/1.1") <= 1 && !kit_has(reply, "0\r\n\r\n") && strstr(log_text, "in the middle of its reply"));
#if !defined(CHOPIN_NO_FIBERS)
    chopin_route(app, "GET", "/p", panics, NULL);
    reply = play_z(app, "GET /p HTTP/1.1\r\nHost: x\r\n\r\nGET /g HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(kit_count(reply, "HTTP/1.1") <= 1 && !kit_has(reply, "0\r\n\r\n"));
#endif
    reply = play_z(app, "GET /m HTTP/1.1\r\nHost: x\r\n\r\nGET /m HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(kit_count(reply, "HTTP/1.1 200") == 2 && kit_count(reply, "\r\n\r\n0\r\n\r\n") == 2);
    chopin_free(app);
}

static int late_middleware(chopin_ctx *c) {
    chopin_set(c, "X-Before", "1");
    int rc = chopin_next(c);
    last_rc = chopin_set(c, "X-After", "1");
    return rc;
}

static void middleware_may_speak_until_the_stream_begins(void) {
    chopin_app *app = new_app();
    chopin_use(app, "/", late_middleware);
    chopin_route(app, "GET", "/e", empty_writes, NULL);
    chopin_str reply = play_z(app, "GET /e HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(kit_has(reply, "X-Before: 1\r\n") && last_rc == CHOPIN_LATE && kit_has(reply, "0\r\n\r\n"));
    chopin_free(app);
}

/* ---- echo: reading and writing at once ---- */
static int echo(chopin_ctx *c) {
    char    buf[3000];
    int64_t n;
    int     rc = chopin_begin(c, 200, "application/octet-stream");
    while (rc == CHOPIN_OK && (n = chopin_read(c, buf, sizeof buf)) != 0) rc = n < 0 ? (int)n : chopin_write(c, buf, (size_t)n);
    return rc;
}

static void a_body_streams_through(void) {
    chopin_app *app = new_app();
    chopin_route(app, "POST", "/read", echo, NULL);
    chopin_route(app, "GET", "/after", after, NULL);
    for (int i = 0; i < 4; i++) {
        size_t     len, n = 150000;
        chopin_str bytes = request(n, i % 2 ? 777 : 0, &len), rest, body = unchunk(play(app, bytes, i < 2 ? 0 : 999, 500), &rest);
        char      *want = made(n);
        CHECK(body.len == n && memcmp(body.ptr, want, n) == 0 && kit_has(rest, "after"));
        free(want);
        free((char *)(uintptr_t)bytes.ptr);
    }
    chopin_free(app);
}

/* ---- descriptors ---- */
static FILE  *file;
static size_t file_size = 300000;

static int whole_file(chopin_ctx *c) {
    return chopin_fd_range(c, 200, "application/octet-stream", dup(fileno(file)), 0, file_size, true);
}
static int part_of_file(chopin_ctx *c) {
    return chopin_fd_range(c, 200, "text/plain", fileno(file), (uint64_t)chopin_get_i64_or(c, CHOPIN_FROM_QUERY, "at", 0), (uint64_t)chopin_get_i64_or(c, CHOPIN_FROM_QUERY, "len", 10), false);
}

static int open_descriptors(void) {
    int n = 0;
    for (int fd = 0; fd < 200; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void files_keep_their_place_in_the_order(void) {
    chopin_app *app = new_app();
    chopin_route(app, "GET", "/f", whole_file, NULL);
    chopin_route(app, "GET", "/p", part_of_file, NULL);
    chopin_route(app, "GET", "/after", after, NULL);
    char *want = made(file_size);
    int   before = 0;
    file = tmpfile();
    fwrite(want, 1, file_size, file);
    fflush(file);
    for (int i = 0; i < 6; i++) {
        static const size_t steps[] = { 0, 100000, 1000 };
        chopin_str reply = play(app, CHOPIN_STR("GET /f HTTP/1.1\r\nHost: x\r\n\r\nGET /after HTTP/1.1\r\nHost: x\r\n\r\nGET /f HTTP/1.1\r\nHost: x\r\n\r\nHEAD /f HTTP/1.1\r\nHost: x\r\n\r\nGET /p?at=7&len=5 HTTP/1.1\r\nHost: x\r\n\r\n"), 0, steps[i % 3]);
        chopin_str body = kit_body(reply);
        CHECK(kit_count(reply, "HTTP/1.1 200") == 5 && kit_count(reply, "Content-Length: 300000\r\n") == 3);
        CHECK(body.len > 2 * file_size && memcmp(body.ptr, want, file_size) == 0 && memcmp(body.ptr + file_size, "HTTP/1.1 200 OK", 15) == 0);
        CHECK(memcmp(reply.ptr + reply.len - 5, want + 7, 5) == 0);
        if (i == 0) before = open_descriptors();
    }
    CHECK_EQ_INT(open_descriptors(), before);
    chopin_str reply = play_z(app, "GET /p?at=299990&len=20 HTTP/1.1\r\nHost: x\r\n\r\nGET /after HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(!kit_has(reply, "after") && strstr(log_text, "shrank"));
    fclose(file);
    free(want);
    chopin_free(app);
}

/* ---- server-sent events ---- */
static int events(chopin_ctx *c) {
    chopin_sse(c);
    chopin_sse_send(c, NULL, "plain %d", 1);
    chopin_sse_send(c, "tick", "two\nlines\r\nand three");
    chopin_sse_event(c, &(chopin_sse_options){ .id = CHOPIN_STR("7"), .event = CHOPIN_STR("e"), .data = CHOPIN_STR(""), .retry_ms = 3000 });
    CHECK_EQ_INT(chopin_sse_event(c, &(chopin_sse_options){ .id = CHOPIN_STR("a\nb"), .data = CHOPIN_STR("x") }), CHOPIN_INVALID);
#if !defined(CHOPIN_NO_FIBERS)
    chopin_sleep(c, 40000);                  // two heartbeats of 15 s
#endif
    char big[3000];
    memset(big, 'x', sizeof big);
    chopin_sse_send(c, NULL, "%.*s", (int)sizeof big, big);
    return CHOPIN_OK;
}

static void events_are_framed(void) {
    chopin_app *app = new_app();
    chopin_route(app, "GET", "/e", events, NULL);
    chopin_str reply = chopin_test_request(app, CHOPIN_STR("GET /e HTTP/1.1\r\nHost: x\r\n\r\n"), &(chopin_test_options){ .keep_open = true }), rest;
    CHECK(kit_has(reply, "Content-Type: text/event-stream\r\n") && kit_has(reply, "Cache-Control: no-store\r\n"));
    chopin_str body = unchunk(reply, &rest);
    CHECK(kit_has(body, "data: plain 1\n\nevent: tick\ndata: two\ndata: lines\ndata: and three\n\nid: 7\nevent: e\nretry: 3000\ndata: \n\n"));
#if !defined(CHOPIN_NO_FIBERS)
    CHECK_EQ_INT(kit_count(body, ":\n\n"), 2);
#endif
    CHECK(body.len > 3000 && memcmp(body.ptr + body.len - 3, "x\n\n", 3) == 0);
    chopin_free(app);
}

int main(void) {
    RUN(slow_and_fast_readers_see_the_same_bytes);
    RUN(a_body_split_anywhere_reads_the_same);
    RUN(malformed_and_large_bodies_are_told);
    RUN(what_is_not_read_is_drained_or_ends_the_connection);
    RUN(continue_is_sent_on_first_demand);
    RUN(without_a_body_reading_is_at_its_end);
    RUN(whole_and_pieces_do_not_mix_up);
    RUN(bodies_are_saved_whole);
    RUN(replies_of_every_size_arrive_whole);
    RUN(a_slow_reader_parks_the_writer);
    RUN(stream_to_http10_closes);
    RUN(empty_write_is_no_terminator);
    RUN(declared_length_must_match);
    RUN(broken_streams_do_not_look_whole);
    RUN(middleware_may_speak_until_the_stream_begins);
    RUN(a_body_streams_through);
    RUN(files_keep_their_place_in_the_order);
    RUN(events_are_framed);
    free(said);
    return TEST_END();
}
