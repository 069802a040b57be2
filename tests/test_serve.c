/* test_serve.c - chopin_files(), chopin_file() and chopin_embed() as replies: ranges, conditions, folders, codings; files that change while they are sent; what a
 * request costs; the order of replies of every kind */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER
#include "test.h"
#include "kit.h"
#include "stage.h"
#include <sys/stat.h>

static char  folder[64];
static char *letters;                        // of big.bin
enum { BIG = 300000 };

static const char *path_of(const char *name) {
    static char path[4][200];
    static int  at;
    snprintf(path[at = (at + 1) & 3], sizeof path[0], "%s/%s", folder, name);
    return path[at];
}
static void write_file(const char *name, const char *text, size_t len) {
    FILE *f = fopen(path_of(name), "wb");
    if (!f) { CHECK(f != NULL); return; }
    fwrite(text, 1, len, f);
    fclose(f);
}
static void write_text(const char *name, const char *text) { write_file(name, text, strlen(text)); }

static void build_folder(void) {
    snprintf(folder, sizeof folder, "/tmp/chopin-serve-XXXXXX");
    if (!mkdtemp(folder)) abort();
    letters = malloc(BIG);
    for (size_t i = 0; i < BIG; i++) letters[i] = (char)('a' + i * 7 % 23 + i / 1000 % 3);
    static const char *const folders[] = { "sub", "plain", "plain/<b>", "outer", "outer/root" };
    for (size_t i = 0; i < CHOPIN__COUNT(folders); i++) mkdir(path_of(folders[i]), 0755);
    write_text("digits.txt", "0123456789");
    write_text("empty.txt", "");
    write_file("big.bin", letters, BIG);
    write_text("sub/index.html", "<p>index\n");
    write_text("sub/page.html", "<p>page\n");
    write_text("plain/a&b.txt", "x");
    write_text(".secret", "no");
    write_text("coded.js", "plain script, plain script, plain script");
    write_text("coded.js.gz", "gzipped");
    write_text("coded.js.br", "brotlied");
    write_text("outer/private.txt", "private");
    write_text("outer/root/public.txt", "public");
    if (symlink("../private.txt", path_of("outer/root/out"))) abort();
    if (symlink("/etc/passwd", path_of("outer/root/abs"))) abort();
    if (symlink("public.txt", path_of("outer/root/in"))) abort();
    if (mkfifo(path_of("fifo"), 0644)) abort();
}
static void remove_folder(void) {
    char command[100];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command)) printf("left: %s\n", folder);
    free(letters);
}

static int open_descriptors(void) {
    int n = 0;
    for (int fd = 0; fd < 300; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* ---- the app ---- */
static size_t calls_at[4];
static int    calls_count;
static int page(chopin_ctx *c) { return chopin_text(c, 200, "page\n"); }
static int nap(chopin_ctx *c) { chopin_sleep(c, chopin_get_i64_or(c, CHOPIN_FROM_QUERY, "ms", 10)); return chopin_text(c, 200, "slept\n"); }
static int stream(chopin_ctx *c) {
    int rc = chopin_begin(c, 200, "text/plain");
    for (int i = 0; i < 50 && rc == CHOPIN_OK; i++) {
        rc = chopin_write(c, letters + i * 100, i % 7 ? 100 : 6000);
        if (rc == CHOPIN_OK && i % 20 == 3) rc = chopin_sleep(c, 3);
    }
    return rc;
}
static int one_file(chopin_ctx *c) { return chopin_file(c, path_of("big.bin"), NULL); }
static int no_file(chopin_ctx *c) { return chopin_file(c, path_of("nowhere"), NULL); }
static int download(chopin_ctx *c) {
    static chopin_files_options o;
    chopin_str name = chopin_query(c, "name");
    o.download = name.ptr ? chopin_printf(c, "%.*s", CHOPIN_FMT(name)).ptr : NULL;
    o.attachment = !name.ptr;
    return chopin_file(c, path_of("digits.txt"), &o);
}
static int note_calls(chopin_ctx *c) {
    if (calls_count < 4) calls_at[calls_count++] = heap.calls;
    return chopin_text(c, 200, "noted\n");
}
static int replace(chopin_ctx *c) {
    write_text("new", "another");
    CHECK(rename(path_of("new"), path_of("changing.txt")) == 0);
    return chopin_text(c, 200, "replaced\n");
}
static int panics(chopin_ctx *c) { chopin_file(c, path_of("big.bin"), NULL); chopin_panic(c, "behind the file"); }

static const unsigned char asset_page[] = "<p>asset", asset_gz[] = "zipped";
static const chopin_asset assets[] = {
    { "/index.html", NULL, asset_page, asset_page + sizeof asset_page - 1, asset_gz, asset_gz + sizeof asset_gz - 1 },
    { "/data.bin", "application/x-data", asset_page, asset_page + 3, NULL, NULL },
};

static chopin_app *app_with(chopin_options o) {
    chopin_app *app = chopin_new(&o);
    if (!app) return NULL;
    chopin_files(app, "/f", folder, &(chopin_files_options){ .cache_control = "max-age=5", .precompressed = true });
    chopin_files(app, "/l", folder, &(chopin_files_options){ .listing = true, .dot_files = true });
    chopin_files(app, "/r/", path_of("outer/root"), NULL);
    chopin_embed(app, "/e", assets, 2, "public, max-age=3600");
    static const struct { const char *pattern; chopin_handler fn; } routes[] = {
        { "/page", page }, { "/nap", nap }, { "/stream", stream }, { "/one", one_file }, { "/none", no_file }, { "/download", download }, { "/calls", note_calls },
        { "/replace", replace }, { "/direct", direct }, { "/panics", panics },
    };
    for (size_t i = 0; i < CHOPIN__COUNT(routes); i++) chopin_route(app, "GET", routes[i].pattern, routes[i].fn, NULL);
    chopin_fixed(app, "/fixed", "text/plain", "as ever\n");
    return app;
}
static chopin_app *app_new(void) { return app_with(stage_options()); }

static chopin_str get(chopin_app *app, const char *path, const char *headers) {
    static char text[20000];
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, headers);
    return kit_play_z(app, text);
}
static bool body_is(chopin_str reply, const char *want) {
    chopin_str body = kit_body(reply);
    return CHECK(chopin__equal(body, chopin__str_z(want)));
}
/* The value of a header of the first reply, in a buffer of its own. */
static const char *header(chopin_str reply, const char *name) {
    static char value[4][300];
    static int  at;
    char        line[100];
    snprintf(line, sizeof line, "\r\n%s: ", name);
    chopin_str body = kit_body(reply);
    char *to = value[at = (at + 1) & 3], *from = body.ptr ? memmem(reply.ptr, (size_t)(body.ptr - reply.ptr), line, strlen(line)) : NULL;
    size_t n = 0;
    if (from) for (from += strlen(line); from[n] != '\r' && n + 1 < sizeof value[0]; n++) to[n] = from[n];
    to[n] = 0;
    return to;
}

/* ---- plain files ---- */

static void files_carry_type_size_and_validators(void) {
    chopin_app *app = app_new();
    chopin_str  reply = get(app, "/f/digits.txt", "");
    CHECK_EQ_INT(kit_status(reply), 200);
    CHECK(!strcmp(header(reply, "Content-Type"), "text/plain; charset=utf-8") && !strcmp(header(reply, "Content-Length"), "10") && !strcmp(header(reply, "Cache-Control"), "max-age=5"));
    CHECK(!strcmp(header(reply, "X-Content-Type-Options"), "nosniff") && !strcmp(header(reply, "Accept-Ranges"), "bytes"));
    CHECK(header(reply, "ETag")[0] == '"' && strstr(header(reply, "Last-Modified"), " GMT"));
    body_is(reply, "0123456789");
    reply = get(app, "/f/big.bin", "");
    CHECK(kit_body(reply).len == BIG && memcmp(kit_body(reply).ptr, letters, BIG) == 0);
    body_is(get(app, "/f/empty.txt", ""), "");
    CHECK_EQ_INT(kit_status(get(app, "/f/empty.txt", "")), 200);
    reply = get(app, "/one", "");
    CHECK(kit_status(reply) == 200 && kit_body(reply).len == BIG);
    CHECK_EQ_INT(kit_status(get(app, "/none", "")), 404);
    stage_free(app);
}

static void head_equals_get_without_body(void) {
    static const char *const paths[] = { "/f/digits.txt", "/f/big.bin", "/f/empty.txt", "/f/sub/", "/f/sub", "/f/nowhere", "/l/plain/", "/e/index.html", "/one", "/f/coded.js" };
    static const char *const more[] = { "", "If-None-Match: *\r\n", "Range: bytes=1-2\r\n", "Range: bytes=0-1,4-5\r\n", "Range: bytes=900000-\r\n" };
    chopin_app *app = app_new();
    for (size_t i = 0; i < CHOPIN__COUNT(paths) * CHOPIN__COUNT(more); i++) {
        char text[500], head[2000];
        const char *path = paths[i % CHOPIN__COUNT(paths)], *headers = more[i / CHOPIN__COUNT(paths)];
        if (strstr(headers, ",")) continue;                             // its boundary is random
        chopin_str full = get(app, path, headers), body = kit_body(full);
        size_t     len = (size_t)(body.ptr - full.ptr);
        if (!CHECK(body.ptr && len < sizeof head)) break;
        memcpy(head, full.ptr, len);
        bool problem = kit_has(full, "problem+json"), plain = *headers != 'R' && kit_status(full) < 500;       // `full` lasts until the next call
        snprintf(text, sizeof text, "HEAD %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, *headers == 'R' ? "" : headers);
        chopin_str bare = kit_play_z(app, text);                        // Range is for GET alone (RFC 9110 14.2)
        CHECK_EQ_INT(kit_body(bare).len, 0);
        if (plain) {
            if (!CHECK(problem || (bare.len == len && memcmp(bare.ptr, head, len) == 0))) printf("  %s %s: %.*s", path, headers, CHOPIN_FMT(bare));
        }
    }
    chopin_str bare = kit_play_z(app, "HEAD /f/digits.txt HTTP/1.1\r\nHost: x\r\nRange: bytes=1-2\r\n\r\n");
    CHECK(kit_status(bare) == 200 && !strcmp(header(bare, "Content-Length"), "10"));
    stage_free(app);
}

static void range_matrix(void) {
    static const struct { const char *range; int status; const char *content_range, *body; } rows[] = {
        { "bytes=0-0", 206, "bytes 0-0/10", "0" }, { "bytes=2-4", 206, "bytes 2-4/10", "234" }, { "bytes=7-", 206, "bytes 7-9/10", "789" }, { "bytes=-1", 206, "bytes 9-9/10", "9" },
        { "bytes=-100", 206, "bytes 0-9/10", "0123456789" }, { "bytes=5-100", 206, "bytes 5-9/10", "56789" }, { "bytes=-0", 416, "bytes */10", NULL }, { "bytes=10-", 416, "bytes */10", NULL },
        { "bytes=99999999999999999999-", 416, "bytes */10", NULL }, { "bytes=5-2", 200, "", "0123456789" }, { "bytes=a-b", 200, "", "0123456789" }, { "lines=1-2", 200, "", "0123456789" },
        { "bytes=", 200, "", "0123456789" }, { "bytes=1-3,2-4", 206, "bytes 1-4/10", "1234" }, { "Bytes=1-1", 206, "bytes 1-1/10", "1" }, { "bytes=1-99999999999999999999", 206, "bytes 1-9/10", "123456789" },
        { "bytes=0-0,0-1,1-2,2-3,4-4,5-5,6-6,7-7,8-8,9-9,0-0,1-1,2-2,3-3,4-4,5-5,6-6", 200, "", "0123456789" },
    };
    chopin_app *app = app_new();
    for (size_t i = 0; i < CHOPIN__COUNT(rows); i++) {
        char line[300], length[20];
        snprintf(line, sizeof line, "Range: %s\r\n", rows[i].range);
        chopin_str reply = get(app, "/f/digits.txt", line);
        bool ok = CHECK_EQ_INT(kit_status(reply), rows[i].status) && CHECK(!strcmp(header(reply, "Content-Range"), rows[i].content_range));
        if (rows[i].body) {
            snprintf(length, sizeof length, "%zu", strlen(rows[i].body));
            ok = body_is(reply, rows[i].body) && CHECK(!strcmp(header(reply, "Content-Length"), length)) && ok;
        }
        if (!ok) printf("  %s: %s\n", rows[i].range, header(reply, "Content-Range"));
    }
    CHECK_EQ_INT(kit_status(get(app, "/f/empty.txt", "Range: bytes=0-\r\n")), 200);
    char tag[100], line[300];
    snprintf(tag, sizeof tag, "%s", header(get(app, "/f/digits.txt", ""), "ETag"));
    snprintf(line, sizeof line, "Range: bytes=1-2\r\nIf-Range: %s\r\n", tag);
    CHECK_EQ_INT(kit_status(get(app, "/f/digits.txt", line)), 206);
    snprintf(line, sizeof line, "Range: bytes=1-2\r\nIf-Range: W/%s\r\n", tag);
    CHECK_EQ_INT(kit_status(get(app, "/f/digits.txt", line)), 200);
    CHECK_EQ_INT(kit_status(get(app, "/f/digits.txt", "Range: bytes=1-2\r\nIf-Range: \"other\"\r\n")), 200);
    stage_free(app);
}

static void several_ranges_are_exact_multipart(void) {
    chopin_app *app = app_new();
    static const struct { const char *path, *range; size_t size; size_t at[3], len[3]; int count; } rows[] = {
        { "/f/digits.txt", "bytes=0-1,4-5,-1", 10, { 0, 4, 9 }, { 2, 2, 1 }, 3 },
        { "/f/big.bin", "bytes=100-199,200000-299999", BIG, { 100, 200000 }, { 100, 100000 }, 2 },
    };
    for (size_t i = 0; i < 4; i++) {
        char request[300], want[1000];
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\nRange: %s\r\n\r\nGET /page HTTP/1.1\r\nHost: x\r\n\r\n", rows[i / 2].path, rows[i / 2].range);
        chopin_str  reply = chopin_test_request(app, chopin__str_z(request), &(chopin_test_options){ .write_step = i % 2 ? 77 : 0 }), body = kit_body(reply);
        const char *type = header(reply, "Content-Type"), *boundary = strstr(type, "boundary=");
        CHECK_EQ_INT(kit_status(reply), 206);
        if (!CHECK(boundary && strncmp(type, "multipart/byteranges; ", 22) == 0)) continue;
        boundary += 9;
        size_t at = 0;
        for (int r = 0; r < rows[i / 2].count; r++) {
            int n = snprintf(want, sizeof want, "%s--%s\r\nContent-Type: %s\r\nContent-Range: bytes %zu-%zu/%zu\r\n\r\n", r ? "\r\n" : "", boundary, i < 2 ? "text/plain; charset=utf-8" : "application/octet-stream",
                             rows[i / 2].at[r], rows[i / 2].at[r] + rows[i / 2].len[r] - 1, rows[i / 2].size);
            size_t len = rows[i / 2].len[r];
            if (!CHECK(body.len > at + (size_t)n + len && memcmp(body.ptr + at, want, (size_t)n) == 0)) { printf("  want %s got %.*s\n", want, 200, body.ptr + at); break; }
            CHECK(memcmp(body.ptr + at + n, (i < 2 ? "0123456789" : letters) + rows[i / 2].at[r], len) == 0);
            at += (size_t)n + len;
        }
        int n = snprintf(want, sizeof want, "\r\n--%s--\r\n", boundary);
        CHECK(body.len > at + (size_t)n && memcmp(body.ptr + at, want, (size_t)n) == 0);
        at += (size_t)n;
        CHECK_EQ_INT(strtoull(header(reply, "Content-Length"), NULL, 10), at);
        CHECK(body.len > at + 12 && memcmp(body.ptr + at, "HTTP/1.1 200", 12) == 0);
    }
    stage_free(app);
}

static void conditional_matrix(void) {
    chopin_app *app = app_new();
    char tag[100], date[100], line[400];
    chopin_str reply = get(app, "/f/digits.txt", "");
    snprintf(tag, sizeof tag, "%s", header(reply, "ETag"));
    snprintf(date, sizeof date, "%s", header(reply, "Last-Modified"));
    const struct { int status; const char *format, *value; } rows[] = {
        { 304, "If-None-Match: %s\r\n", tag }, { 304, "If-None-Match: W/%s\r\n", tag }, { 304, "If-None-Match: \"x\", %s\r\n", tag }, { 304, "If-None-Match: %s\r\n", "*" }, { 200, "If-None-Match: %s\r\n", "\"x\"" },
        { 412, "If-Match: %s\r\n", "\"x\"" }, { 200, "If-Match: %s\r\n", tag }, { 200, "If-Match: %s\r\n", "*" }, { 412, "If-Match: W/%s\r\n", tag }, { 304, "If-Modified-Since: %s\r\n", date },
        { 200, "If-Modified-Since: %s\r\n", "Thu, 01 Jan 1970 00:00:01 GMT" }, { 200, "If-Modified-Since: %s\r\n", "yesterday" }, { 412, "If-Unmodified-Since: %s\r\n", "Thu, 01 Jan 1970 00:00:01 GMT" },
        { 200, "If-Unmodified-Since: %s\r\n", date }, { 200, "If-None-Match: \"x\"\r\nIf-Modified-Since: %s\r\n", date }, { 206, "Range: bytes=0-0\r\nIf-Match: %s\r\n", tag },
        { 304, "Range: bytes=0-0\r\nIf-None-Match: %s\r\n", tag }, { 412, "If-Match: \"x\"\r\nIf-None-Match: %s\r\n", tag },
    };
    for (size_t i = 0; i < CHOPIN__COUNT(rows); i++) {
        snprintf(line, sizeof line, rows[i].format, rows[i].value);
        reply = get(app, "/f/digits.txt", line);
        if (!CHECK_EQ_INT(kit_status(reply), rows[i].status)) printf("  %s", line);
        if (kit_status(reply) != 304) continue;
        CHECK(kit_body(reply).len == 0 && !strcmp(header(reply, "ETag"), tag) && !*header(reply, "Content-Length") && !*header(reply, "Content-Type") && *header(reply, "Cache-Control"));
    }
    stage_free(app);
}

/* ---- folders ---- */

static void folders_are_redirected_indexed_and_listed(void) {
    chopin_app *app = app_new();
    chopin_str  reply = get(app, "/f/sub?x=1", "");
    CHECK(kit_status(reply) == 308 && !strcmp(header(reply, "Location"), "/f/sub/?x=1"));
    body_is(get(app, "/f/sub/", ""), "<p>index\n");
    CHECK_EQ_INT(kit_status(get(app, "/f/plain/", "")), 404);
    CHECK_EQ_INT(kit_status(get(app, "/f/digits.txt/", "")), 404);
    reply = get(app, "/l/plain/", "");
    CHECK(kit_status(reply) == 200 && kit_has(reply, "a&amp;b.txt") && kit_has(reply, "&lt;b&gt;/") && !kit_has(kit_body(reply), "<b>"));
    CHECK(!strncmp(header(reply, "Content-Type"), "text/html", 9));
    static const char *const evil[] = { "//evil.test/%2e%2e", "/f//evil.test", "/f/\\evil.test", "/f/%2f%2fevil.test", "/f/%5c%5cevil.test/" };
    for (size_t i = 0; i < CHOPIN__COUNT(evil); i++) {
        reply = get(app, evil[i], "");
        CHECK(kit_status(reply) >= 400 || (header(reply, "Location")[0] == '/' && header(reply, "Location")[1] != '/'));
    }
    CHECK_EQ_INT(kit_status(get(app, "/f/.secret", "")), 404);
    CHECK_EQ_INT(kit_status(get(app, "/l/.secret", "")), 200);
    CHECK_EQ_INT(kit_status(get(app, "/f/fifo", "")), 404);
    stage_free(app);
}

static void no_path_leaves_the_root(void) {
    static const char *const paths[] = {
        "/r/../private.txt", "/r/%2e%2e/private.txt", "/r/.%2e/private.txt", "/r/..%2fprivate.txt", "/r/%2e%2e%2fprivate.txt", "/r/out", "/r/abs", "/r//etc/passwd", "/r/..\\private.txt", "/r/%00",
        "/r/public.txt%00.html", "/r/./../private.txt", "/r/%252e%252e/private.txt", "/r/public.txt/../../private.txt", "/r/....//private.txt", "/r/%c0%ae%c0%ae/private.txt",
    };
    chopin_app *app = app_new();
    body_is(get(app, "/r/public.txt", ""), "public");
    for (size_t i = 0; i < CHOPIN__COUNT(paths); i++) {
        chopin_str reply = get(app, paths[i], "");
        if (!CHECK((kit_status(reply) == 404 || kit_status(reply) == 400 || kit_status(reply) == 403) && !kit_has(reply, "private\n") && !kit_has(reply, "root:"))) printf("  %s\n", paths[i]);
        CHECK(!chopin__equal(kit_body(reply), CHOPIN_STR("private")));
    }
    stage_free(app);
}

static void precompressed_siblings_are_negotiated(void) {
    static const struct { const char *accept, *coding, *body; } rows[] = {
        { "", "", NULL }, { "gzip", "gzip", "gzipped" }, { "gzip, br", "br", "brotlied" }, { "br;q=0.1, gzip", "gzip", "gzipped" }, { "gzip;q=0", "", NULL }, { "*", "br", "brotlied" }, { "identity", "", NULL },
    };
    chopin_app *app = app_new();
    char tags[2][100];
    for (size_t i = 0; i < CHOPIN__COUNT(rows); i++) {
        char line[200] = "";
        if (*rows[i].accept) snprintf(line, sizeof line, "Accept-Encoding: %s\r\n", rows[i].accept);
        chopin_str reply = get(app, "/f/coded.js", line);
        CHECK(!strcmp(header(reply, "Content-Encoding"), rows[i].coding) && !strcmp(header(reply, "Vary"), "Accept-Encoding"));
        CHECK(strstr(header(reply, "Content-Type"), "javascript") != NULL);
        body_is(reply, rows[i].body ? rows[i].body : "plain script, plain script, plain script");
        if (i < 2) snprintf(tags[i], sizeof tags[i], "%s", header(reply, "ETag"));
    }
    CHECK(strcmp(tags[0], tags[1]) != 0);
    stage_free(app);
}

static void download_names_are_told(void) {
    chopin_app *app = app_new();
    CHECK(!strcmp(header(get(app, "/download", ""), "Content-Disposition"), "attachment; filename=\"digits.txt\""));
    const char *value = header(get(app, "/download?name=na%C3%AFve%22.txt", ""), "Content-Disposition");
    CHECK(strncmp(value, "attachment; ", 12) == 0 && strstr(value, "filename*=UTF-8''na%C3%AFve%22.txt"));
    value = header(get(app, "/download?name=a%0d%0aX:%20y", ""), "X");
    CHECK(!*value);
    stage_free(app);
}

static void assets_are_served(void) {
    chopin_app *app = app_new();
    chopin_str  reply = get(app, "/e/index.html", "");
    char tag[100], line[200];
    snprintf(tag, sizeof tag, "%s", header(reply, "ETag"));
    body_is(reply, "<p>asset");
    CHECK(!strcmp(header(reply, "Cache-Control"), "public, max-age=3600") && !strncmp(header(reply, "Content-Type"), "text/html", 9) && !strcmp(header(reply, "Vary"), "Accept-Encoding"));
    body_is(get(app, "/e/", ""), "<p>asset");
    reply = get(app, "/e/index.html", "Accept-Encoding: gzip\r\n");
    body_is(reply, "zipped");
    CHECK(!strcmp(header(reply, "Content-Encoding"), "gzip") && strcmp(header(reply, "ETag"), tag) != 0);
    snprintf(line, sizeof line, "If-None-Match: %s\r\n", tag);
    CHECK_EQ_INT(kit_status(get(app, "/e/index.html", line)), 304);
    snprintf(line, sizeof line, "Accept-Encoding: gzip\r\nIf-None-Match: %s\r\n", tag);
    CHECK_EQ_INT(kit_status(get(app, "/e/index.html", line)), 200);     // the other variant
    reply = get(app, "/e/data.bin", "Accept-Encoding: gzip\r\n");
    body_is(reply, "<p>");
    CHECK(!strcmp(header(reply, "Content-Type"), "application/x-data") && !*header(reply, "Vary"));
    stage_free(app);
}

/* ---- files that change ---- */

static off_t  new_size;
static void changing(chopin_ctx *c) {
    chopin_sleep(c, 10);
    CHECK(truncate(path_of("moving.bin"), new_size) == 0);
    chopin_sleep(c, 10);
    on.client[1].no_reading = false;
}
static void file_shrinks_or_grows_while_sent(void) {
    chopin_app *app = app_new();
    int before = 0;
    for (int i = 0; i < 6; i++) {
        write_file("moving.bin", letters, BIG);
        new_size = i % 3 == 0 ? 1000 : i % 3 == 1 ? 0 : 2 * BIG;
        stage(3);
        director = changing;
        actor(0, DIRECT);
        actor(1, CHOPIN_STR("GET /f/moving.bin HTTP/1.1\r\nHost: x\r\n\r\nGET /page HTTP/1.1\r\nHost: x\r\n\r\n"))->no_reading = true;
        on.client[1].write_step = 5000;
        actor(2, CHOPIN_STR("GET /nap?ms=50 HTTP/1.1\r\nHost: x\r\n\r\nGET /f/digits.txt HTTP/1.1\r\nHost: x\r\n\r\n"));
        play(app);
        if (new_size > BIG) CHECK(kit_body(heard(1)).len > BIG && memcmp(kit_body(heard(1)).ptr, letters, BIG) == 0 && kit_has(heard(1), "page\n"));
        else                CHECK(kit_body(heard(1)).len < BIG && !kit_has(heard(1), "page\n"));
        CHECK(kit_count(heard(2), "HTTP/1.1 200") == 2 && kit_has(heard(2), "0123456789"));
        if (i == 0) before = open_descriptors();
    }
    CHECK_EQ_INT(open_descriptors(), before);
    unlink(path_of("moving.bin"));
    stage_free(app);
}

static void no_descriptor_is_left(void) {
    static const char text[] = "GET /f/big.bin HTTP/1.1\r\nHost: x\r\n\r\nGET /one HTTP/1.1\r\nHost: x\r\n\r\nHEAD /f/big.bin HTTP/1.1\r\nHost: x\r\n\r\nGET /f/big.bin HTTP/1.1\r\nHost: x\r\nRange: bytes=0-0,9-9\r\n\r\n"
                               "GET /f/big.bin HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\nGET /f/sub HTTP/1.1\r\nHost: x\r\n\r\nGET /l/plain/ HTTP/1.1\r\nHost: x\r\n\r\nGET /f/fifo HTTP/1.1\r\nHost: x\r\n\r\n"
                               "GET /panics HTTP/1.1\r\nHost: x\r\n\r\nGET /f/coded.js HTTP/1.1\r\nHost: x\r\nAccept-Encoding: br\r\n\r\n";
    for (size_t cache = 0; cache < 3; cache += 2) {
        chopin_options o = stage_options();
        o.file_cache = cache;
        chopin_app *app = app_with(o);
        kit_play_z(app, text);
        int before = open_descriptors();
        for (size_t cut = 10; cut < sizeof text; cut += (size_t)EVERY * 3) {
            stage(1);
            *actor(0, chopin__str(text, cut)) = (chopin__script_client){ .in = chopin__str(text, cut), .reset = cut % 2, .write_step = 20000, .no_reading = cut % 5 == 0 };
            play(app);
        }
        CHECK_EQ_INT(open_descriptors(), before);
        stage_free(app);
    }
}

/* ---- what a request costs ---- */

static void small_files_cost_no_heap_call(void) {
    for (size_t cache = 0; cache < 20; cache += 16) {
        chopin_options o = stage_options();
        o.file_cache = cache;
        chopin_app *app = app_with(o);
        static char text[200 * 60];
        text[0] = 0;
        static const char *const kinds[] = { "GET /f/digits.txt HTTP/1.1\r\nHost: x\r\n\r\n", "GET /f/sub/ HTTP/1.1\r\nHost: x\r\n\r\n", "GET /e/ HTTP/1.1\r\nHost: x\r\n\r\n" };
        for (int i = 0; i < 120; i++) {
            if (i == 20 || i == 119) strcat(text, "GET /calls HTTP/1.1\r\nHost: x\r\n\r\n");
            strcat(text, kinds[i % 3]);
        }
        calls_count = 0;
        stage(1);
        actor(0, chopin__str_z(text))->read_step = 500;                 // some at a time, as they would come
        on.client[0].out_cap = 1 << 20;
        on.client[0].out = chopin__alloc(&chopin__server_of(app)->site.heap, 1 << 20);
        play(app);
        CHECK_EQ_INT(kit_count(heard(0), "HTTP/1.1 200"), 122);
        CHECK_EQ_INT(calls_count, 2);
        CHECK_EQ_INT(calls_at[1] - calls_at[0], 0);
        stage_free(app);
    }
}

static void kept_descriptors_are_looked_at_again(void) {
    for (size_t cache = 0; cache < 20; cache += 16) {
        chopin_options o = stage_options();
        o.file_cache = cache;
        chopin_app *app = app_with(o);
        write_text("changing.txt", "before");
        chopin_str reply = kit_play_z(app, "GET /f/changing.txt HTTP/1.1\r\nHost: x\r\n\r\nGET /replace HTTP/1.1\r\nHost: x\r\n\r\nGET /f/changing.txt HTTP/1.1\r\nHost: x\r\n\r\n"
                                           "GET /nap?ms=1100 HTTP/1.1\r\nHost: x\r\n\r\nGET /f/changing.txt HTTP/1.1\r\nHost: x\r\n\r\n");
        CHECK_EQ_INT(kit_count(reply, "\r\n\r\nbefore"), cache ? 2 : 1);
        CHECK_EQ_INT(kit_count(reply, "\r\n\r\nanother"), cache ? 1 : 2);
        stage_free(app);
    }
    unlink(path_of("changing.txt"));
}

/* ---- order ---- */

static const char *const mix[] = {
    "GET /page HTTP/1.1\r\nHost: x\r\n\r\n", "GET /fixed HTTP/1.1\r\nHost: x\r\n\r\n", "GET /f/digits.txt HTTP/1.1\r\nHost: x\r\n\r\n", "GET /f/big.bin HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /f/big.bin HTTP/1.1\r\nHost: x\r\nRange: bytes=5-70000\r\n\r\n", "HEAD /f/big.bin HTTP/1.1\r\nHost: x\r\n\r\n", "GET /nap?ms=3 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /f/nowhere HTTP/1.1\r\nHost: x\r\n\r\n", "GET /one HTTP/1.1\r\nHost: x\r\n\r\n", "GET /e/ HTTP/1.1\r\nHost: x\r\n\r\n", "GET /l/plain/ HTTP/1.1\r\nHost: x\r\n\r\n", "GET /f/sub HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /f/digits.txt HTTP/1.1\r\nHost: x\r\nRange: bytes=44-\r\n\r\n", "GET /f/digits.txt HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n",
};
enum { MIX = CHOPIN__COUNT(mix) };

static void order_survives_any_mix(void) {
    for (size_t cache = 0; cache < 20; cache += 16) {
        chopin_options o = stage_options();
        o.file_cache = cache;
        o.high_water = 100000;
        chopin_app *app = app_with(o);
        chopin_str alone[MIX];
        uint64_t   random = 42 + cache;
        for (int i = 0; i < MIX; i++) {
            chopin_str reply = kit_play_z(app, mix[i]);
            char *copy = malloc(reply.len + 1);
            memcpy(copy, reply.ptr, reply.len);
            alone[i] = chopin__str(copy, reply.len);
        }
        for (int round = 0; round < (SANE ? 60 : 12) && !test__all.bad; round++) {
            static char text[30 * 100];
            int   which[30], n = 1 + (int)(chopin__random_next(&random) % 30);
            text[0] = 0;
            for (int i = 0; i < n; i++) {
                which[i] = (int)(chopin__random_next(&random) % MIX);
                strcat(text, mix[which[i]]);
            }
            stage(1);
            actor(0, chopin__str_z(text))->read_step = round % 3 ? 1 + (size_t)(chopin__random_next(&random) % 300) : 0;
            on.client[0].write_step = round % 4 ? 1 + (size_t)(chopin__random_next(&random) % 60000) : 0;
            on.seed = round % 2 ? chopin__random_next(&random) | 1 : 0;
            play(app);
            chopin_str got = heard(0);
            for (int i = 0; i < n; i++) {
                if (!CHECK(chopin__starts(got, alone[which[i]]))) { printf("  round %d, reply %d of %d: %.*s\n", round, i, n, (int)chopin__min(got.len, 200), got.ptr); break; }
                got = chopin__str(got.ptr + alone[which[i]].len, got.len - alone[which[i]].len);
            }
            CHECK(got.len == 0 || test__all.bad);
        }
        for (int i = 0; i < MIX; i++) free((char *)(uintptr_t)alone[i].ptr);
        stage_free(app);
    }
}

static void every_allocation_may_fail(void) {
    static const char text[] = "GET /f/digits.txt HTTP/1.1\r\nHost: x\r\n\r\nGET /f/big.bin HTTP/1.1\r\nHost: x\r\nRange: bytes=0-5,100000-200000\r\n\r\nGET /l/plain/ HTTP/1.1\r\nHost: x\r\n\r\nGET /one HTTP/1.1\r\nHost: x\r\n\r\nGET /stream HTTP/1.1\r\nHost: x\r\n\r\n";
    size_t failures = 0;
    for (int mode = 0; mode < 4; mode++) {
        for (size_t n = 1; ; n += EVERY) {
            int before = open_descriptors();
            heap.fail_at = n;
            heap.fail_on = mode >= 2;
            chopin_options o = stage_options();
            o.file_cache = mode % 2 ? 16 : 0;
            chopin_app *app = app_with(o);
            chopin_str  reply = app ? chopin_test_request(app, chopin__str_z(text), &(chopin_test_options){ .read_step = mode % 2 ? 50 : 0, .write_step = 7000 }) : chopin__absent();
            bool failed = heap.calls >= n;
            CHECK(failed || (kit_count(reply, "HTTP/1.1 20") == 5 && kit_has(reply, "\r\n0\r\n\r\n")));
            if (app) stage_free(app);
            if (!CHECK_EQ_INT(open_descriptors(), before)) printf("  mode %d, allocation %zu\n", mode, n);
            if (!failed || test__all.bad) break;
            failures++;
        }
        heap.fail_at = 0;
    }
    heap.fail_on = false;
    CHECK(failures > (SANE ? 100 : 10));
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    build_folder();
    RUN(files_carry_type_size_and_validators);
    RUN(head_equals_get_without_body);
    RUN(range_matrix);
    RUN(several_ranges_are_exact_multipart);
    RUN(conditional_matrix);
    RUN(folders_are_redirected_indexed_and_listed);
    RUN(no_path_leaves_the_root);
    RUN(precompressed_siblings_are_negotiated);
    RUN(download_names_are_told);
    RUN(assets_are_served);
    RUN(file_shrinks_or_grows_while_sent);
    RUN(no_descriptor_is_left);
    RUN(small_files_cost_no_heap_call);
    RUN(kept_descriptors_are_looked_at_again);
    RUN(order_survives_any_mix);
    RUN(every_allocation_may_fail);
    remove_folder();
    strike();
    return TEST_END();
}
