/* test_compress.c - replies compressed by zlib, with CHOPIN_WITH_ZLIB; without it there is nothing to test. Needs -lz then (see common.sh) */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER
#include "test.h"
#include "kit.h"

#ifdef CHOPIN_WITH_ZLIB
static char big[20000];

static int text(chopin_ctx *c) {
    chopin_str type = chopin_query(c, "type"), tag = chopin_query(c, "tag"), coded = chopin_query(c, "coded"), control = chopin_query(c, "control");
    int64_t size = chopin_get_i64_or(c, CHOPIN_FROM_QUERY, "size", (int64_t)sizeof big), status = chopin_get_i64_or(c, CHOPIN_FROM_QUERY, "status", 200);
    if (tag.ptr)     chopin_set(c, "ETag", "\"strong\"");
    if (coded.ptr)   chopin_set_str(c, "Content-Encoding", coded);
    if (control.ptr) chopin_set_str(c, "Cache-Control", control);
    chopin_str as = type.ptr ? chopin_printf(c, "%.*s", CHOPIN_FMT(type)) : CHOPIN_STR("text/plain");
    return chopin_bytes(c, (int)status, as.ptr, (chopin_str){ big, (size_t)size });
}

static int stream(chopin_ctx *c) {
    int rc = chopin_begin(c, 200, "text/csv; charset=utf-8");
    for (size_t i = 0; i < sizeof big && rc == CHOPIN_OK; i += 500) {
        rc = chopin_write(c, big + i, 500);
        if (i == 5000) chopin_flush(c);
    }
    return rc;
}

static chopin_app *new_app(void) {
    chopin_options o = kit_options();
    o.compress = true;
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/t", text, NULL);
    chopin_route(app, "GET", "/s", stream, NULL);
    for (size_t i = 0; i < sizeof big; i++) big[i] = (char)('a' + i * i / 77 % 19);
    return app;
}

static chopin_str ask(chopin_app *app, const char *target, const char *headers) {
    char request[500];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", target, headers);
    return kit_play_z(app, request);
}

static bool inflates(chopin_str in, int bits, size_t want) {
    static char out[sizeof big + 1];
    z_stream z = { .next_in = (Bytef *)(uintptr_t)in.ptr, .avail_in = (uInt)in.len, .next_out = (Bytef *)out, .avail_out = sizeof out };
    if (inflateInit2(&z, bits) != Z_OK) return false;
    bool ok = inflate(&z, Z_FINISH) == Z_STREAM_END && z.total_out == want && memcmp(out, big, want) == 0;
    inflateEnd(&z);
    return ok;
}

static void bodies_are_compressed_as_the_client_likes(void) {
    chopin_app *app = new_app();
    chopin_str reply = ask(app, "/t", "Accept-Encoding: gzip, deflate\r\n");
    CHECK(kit_has(reply, "Content-Encoding: gzip\r\n") && kit_has(reply, "Vary: Accept-Encoding\r\n") && reply.len < 15000 && inflates(kit_body(reply), 31, sizeof big));
    reply = ask(app, "/t", "Accept-Encoding: gzip;q=0.5, deflate\r\n");
    CHECK(kit_has(reply, "Content-Encoding: deflate\r\n") && inflates(kit_body(reply), 15, sizeof big));
    static const char *const plain[] = { "", "Accept-Encoding: br\r\n", "Accept-Encoding: gzip;q=0\r\n", "Accept-Encoding: identity\r\n", "Accept-Encoding: *;q=0\r\n" };
    for (int i = 0; i < 5; i++) {
        reply = ask(app, "/t", plain[i]);
        CHECK(!kit_has(reply, "Content-Encoding") && kit_has(reply, "Vary: Accept-Encoding\r\n") && kit_has(reply, "Content-Length: 20000\r\n"));
    }
    CHECK(kit_has(ask(app, "/t", "Accept-Encoding: *\r\n"), "Content-Encoding: gzip"));
    chopin_free(app);
}

static void some_replies_are_left_alone(void) {
    chopin_app *app = new_app();
    static const char *const alone[] = { "/t?size=1023", "/t?type=image/png", "/t?type=text/event-stream", "/t?coded=br", "/t?control=public,%20no-transform", "/t?status=206" };
    for (int i = 0; i < 6; i++) {
        chopin_str reply = ask(app, alone[i], "Accept-Encoding: gzip\r\n");
        if (!CHECK(!kit_has(reply, "gzip"))) printf("    %s\n", alone[i]);
    }
    CHECK(kit_has(ask(app, "/t?size=1024", "Accept-Encoding: gzip\r\n"), "gzip"));
    CHECK(kit_has(ask(app, "/t?type=application/json;%20x=y", "Accept-Encoding: gzip\r\n"), "gzip"));
    CHECK(kit_has(ask(app, "/t?tag", "Accept-Encoding: gzip\r\n"), "ETag: W/\"strong\"\r\n"));
    CHECK(kit_has(ask(app, "/t?tag", ""), "ETag: \"strong\"\r\n"));
    chopin_free(app);
}

static void head_tells_the_same(void) {
    chopin_app *app = new_app();
    chopin_str reply = kit_play_z(app, "HEAD /t HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\nGET /t HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n");
    CHECK(kit_count(reply, "Content-Encoding: gzip\r\n") == 2);
    const char *length = strstr(reply.ptr, "Content-Length: ");
    char line[40];
    snprintf(line, sizeof line, "%.24s", length ? length : "");
    *(strchr(line, '\r') ? strchr(line, '\r') : line) = 0;
    CHECK(kit_count(reply, line) == 2);
    chopin_free(app);
}

static void streams_are_compressed_as_they_go(void) {
    chopin_app *app = new_app();
    chopin_str reply = ask(app, "/s", "Accept-Encoding: gzip\r\n");
    chopin__chunks d = { 0 };
    chopin__rules  r = { .max_chunk_line = 100, .max_chunk_extensions = 100 };
    chopin_str     in = kit_body(reply);
    size_t         used = 0, produced = 0;
    CHECK(chopin__chunks_decode(&d, &r, in.ptr, in.len, &used, (char *)(uintptr_t)in.ptr, &produced) == 1);
    CHECK(kit_has(reply, "Content-Encoding: gzip\r\n") && produced < 15000 && inflates(chopin__str(in.ptr, produced), 31, sizeof big));
    CHECK(kit_count(kit_play_z(app, "HEAD /s HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n"), "gzip") == 1);
    CHECK(!kit_has(ask(app, "/s", ""), "gzip"));
    chopin_free(app);
}
#endif

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
#ifdef CHOPIN_WITH_ZLIB
    RUN(bodies_are_compressed_as_the_client_likes);
    RUN(some_replies_are_left_alone);
    RUN(head_tells_the_same);
    RUN(streams_are_compressed_as_they_go);
#endif
    return TEST_END();
}
