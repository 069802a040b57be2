/* test_upload.c - multipart bodies end to end: parts read, kept as text, saved and stored, in every cut; limits; what clients that leave or lie may do */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER
#include "test.h"
#include "kit.h"
#include "stage.h"
#include <dirent.h>

static char folder[64];

/* How many files are in the folder, or, with `clear`, were. */
static int files_in_folder(bool clear) {
    DIR *d = opendir(folder);
    int  n = 0;
    for (struct dirent *e; d && (e = readdir(d)) != NULL; ) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        n++;
        if (clear) unlinkat(dirfd(d), e->d_name, 0);
    }
    if (d) closedir(d);
    return n;
}
static int open_descriptors(void) {
    int n = 0;
    for (int fd = 0; fd < 200; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* ---- the handler: each part as "name[file name|safe name|type]=length:content;" ---- */
static struct { int runs, parts, rc, after, last; int64_t bytes; } seen;

static chopin_str file_text(chopin_ctx *c, int fd, int64_t n) {
    char   *room = chopin_alloc(c, (size_t)n + 1);
    ssize_t got = room ? pread(fd, room, (size_t)n + 1, 0) : -1;
    return got == n ? chopin__str(room, (size_t)n) : chopin__absent();
}

static chopin_str by_read(chopin_ctx *c, size_t step) {
    static char all[200000];
    char    buf[1000];
    size_t  len = 0;
    int64_t n;
    while ((n = chopin_part_read(c, buf, step)) > 0) {
        if (len + (size_t)n > sizeof all) abort();
        memcpy(all + len, buf, (size_t)n);
        len += (size_t)n;
    }
    seen.last = (int)n;
    return n < 0 ? chopin__absent() : chopin__str(all, len);
}

static chopin_str by_store(chopin_ctx *c) {
    chopin_str  path = chopin_part_store(c, folder);
    struct stat st;
    if (!path.ptr) { seen.last = -99; return chopin__absent(); }
    int fd = open(path.ptr, O_RDONLY | O_NOFOLLOW);
    CHECK(fd >= 0 && fstat(fd, &st) == 0 && (st.st_mode & 0777) == 0600 && S_ISREG(st.st_mode));
    CHECK(strncmp(path.ptr, folder, strlen(folder)) == 0 && strlen(path.ptr) == strlen(folder) + 33 && path.len == strlen(path.ptr));
    chopin_str text = file_text(c, fd, st.st_size);
    close(fd);
    return text;
}

static chopin_str by_temp(chopin_ctx *c) {
    int before = files_in_folder(false), fd = chopin_part_temp(c, folder);
    struct stat st;
    seen.last = fd;
    if (fd < 0) return chopin__absent();
    CHECK(fstat(fd, &st) == 0 && st.st_nlink == 0 && lseek(fd, 0, SEEK_CUR) == 0 && files_in_folder(false) == before);
    chopin_str text = file_text(c, fd, st.st_size);
    close(fd);
    return text;
}

static chopin_str by_save(chopin_ctx *c) {
    char path[100];
    snprintf(path, sizeof path, "%s/saved", folder);
    int     fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    int64_t n = chopin_part_save(c, fd);
    seen.last = (int)n;
    chopin_str text = n < 0 ? chopin__absent() : file_text(c, fd, n);
    close(fd);
    return text;
}

static chopin_str by(chopin_ctx *c, char how) {
    switch (how) {
    case 't': return chopin_part_text(c);
    case '1': return by_read(c, 1);
    case 's': return by_save(c);
    case 'o': return by_store(c);
    case 'm': return by_temp(c);
    case 'n': return CHOPIN_STR("");                                    // not looked at
    case 'h': chopin_part_read(c, (char[1]){ 0 }, 1); return CHOPIN_STR("");     // hardly
    default:  return by_read(c, 1000);
    }
}

static int list(chopin_ctx *c) {
    chopin_str how = chopin_query(c, "how"), all = CHOPIN_STR("");
    chopin_part p;
    int rc;
    seen.runs++;
    seen.parts = seen.last = 0;
    while ((rc = chopin_next_part(c, &p)) > 0) {
        seen.parts++;
        chopin_str head = chopin_printf(c, "%.*s[%s%.*s|%.*s|%.*s]", CHOPIN_FMT(p.name), p.file ? "" : "-", CHOPIN_FMT(p.filename), CHOPIN_FMT(p.safe_name), CHOPIN_FMT(p.type));
        chopin_str text = by(c, how.len ? how.ptr[0] : 'r');
        if (!text.ptr) break;
        all = chopin_printf(c, "%.*s%.*s=%zu:%.*s;", CHOPIN_FMT(all), CHOPIN_FMT(head), text.len, CHOPIN_FMT(text));
    }
    seen.rc = rc;
    seen.after = chopin_next_part(c, &p);
    return rc ? CHOPIN_ANSWERED : chopin_bytes(c, 200, "text/plain", all);
}

/* Goes on whatever happens, as careless handlers do: what failed must stay failed. */
static int careless(chopin_ctx *c) {
    int rc, n = 0;
    seen.runs++;
    for (chopin_part p; (rc = chopin_next_part(c, &p)) > 0; n++) {
        char buf[7];
        while (chopin_part_read(c, buf, sizeof buf) > 0) {}
    }
    seen.rc = rc;
    return rc < 0 ? CHOPIN_OK : chopin_textf(c, 200, "%d whole parts\n", n);
}

static int count(chopin_ctx *c) {
    char    buf[4096];
    int64_t n;
    seen.bytes = 0;
    for (chopin_part p; chopin_next_part(c, &p) > 0; ) while ((n = chopin_part_read(c, buf, sizeof buf)) > 0) seen.bytes += n;
    return chopin_textf(c, 200, "%lld", (long long)seen.bytes);
}

static int full(chopin_ctx *c) {
    chopin_part p;
    chopin_next_part(c, &p);
    int     fd = open("/dev/full", O_WRONLY);
    int64_t n = chopin_part_save(c, fd);
    int     error = errno;
    close(fd);
    int     rest = chopin_next_part(c, &p);
    return chopin_textf(c, 200, "%d %d %d", n == CHOPIN_SYSTEM, error == ENOSPC, rest);
}

static int nowhere(chopin_ctx *c) {
    chopin_part p;
    chopin_next_part(c, &p);
    chopin_str path = chopin_part_store(c, "/nonexistent/folder");
    int        fd = chopin_part_temp(c, "/nonexistent/folder");
    return chopin_textf(c, 200, "%d %d %d", path.ptr == NULL, fd == CHOPIN_SYSTEM, chopin_next_part(c, &p));
}

static int headers(chopin_ctx *c) {
    chopin_part p;
    chopin_str  before = chopin_part_header(c, "X-One");
    CHECK(!before.ptr && chopin_part_read(c, NULL, 0) == 0);
    chopin_next_part(c, &p);
    return chopin_textf(c, 200, "%.*s,%.*s,%d", CHOPIN_FMT(chopin_part_header(c, "x-one")), CHOPIN_FMT(chopin_part_header(c, "Content-Type")), chopin_part_header(c, "x-two").ptr == NULL);
}

static int page(chopin_ctx *c) { return chopin_text(c, 200, "page\n"); }

static chopin_app *app_with(chopin_options o, size_t max_body) {
    memset(&seen, 0, sizeof seen);
    chopin_app *app = chopin_new(&o);
    if (!app) return NULL;
    const chopin_route_options more = { .max_body = max_body };
    chopin_route(app, "POST", "/list", list, &more);
    chopin_route(app, "POST", "/careless", careless, &more);
    chopin_route(app, "POST", "/count", count, &more);
    chopin_route(app, "POST", "/full", full, &more);
    chopin_route(app, "POST", "/nowhere", nowhere, &more);
    chopin_route(app, "POST", "/headers", headers, &more);
    chopin_route(app, "GET", "/page", page, NULL);
    return app;
}
static chopin_app *app_new(void) { return app_with(stage_options(), 0); }

/* ---- requests ---- */
#define PAGE "GET /page HTTP/1.1\r\nHost: x\r\n\r\n"
#define FIELD(name)      "--b\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n"
#define AFILE(name, file) "--b\r\nContent-Disposition: form-data; name=\"" name "\"; filename=\"" file "\"\r\nContent-Type: text/x\r\n\r\n"
#define END "\r\n--b--\r\n"

static const char several[] = "preamble\r\n" FIELD("one") "1\r\n" AFILE("two", "a.txt") "first line\r\nsecond\r\n-\r\n--\r\n--c\r\n--aa\r\n" FIELD("three") "\r\n" AFILE("four", "") "\r\n" AFILE("five", "../x") "\r\n--\r\n\r\n--b--\r\nepilogue";
#define LISTED "one[-||]=1:1;two[a.txt|a.txt|text/x]=36:first line\r\nsecond\r\n-\r\n--\r\n--c\r\n--aa;three[-||]=0:;"

static char  *asked;
static chopin_str ask_n(const char *path, const char *type, const char *body, size_t len, bool chunked, const char *behind) {
    free(asked);
    asked = malloc(len * 2 + 1000);
    char *to = asked + sprintf(asked, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\n", path, type);
    if (!chunked) {
        to += sprintf(to, "Content-Length: %zu\r\n\r\n", len);
        memcpy(to, body, len);
        to += len;
    } else {
        to += sprintf(to, "Transfer-Encoding: chunked\r\n\r\n");
        for (size_t i = 0, n; i < len; i += n) {
            n = chopin__min(len - i, len > 1000 ? 5000 : 11);
            to += sprintf(to, "%zx\r\n", n);
            memcpy(to, body + i, n);
            to += n;
            to += sprintf(to, "\r\n");
        }
        to += sprintf(to, "0\r\n\r\n");
    }
    to += sprintf(to, "%s", behind);
    return chopin__str(asked, (size_t)(to - asked));
}
#define MULTIPART "multipart/form-data; boundary=b"
static chopin_str ask(const char *path, const char *body) { return ask_n(path, MULTIPART, body, strlen(body), false, ""); }

/* ---- what is asked of it ---- */

static void parts_are_read_in_every_way_and_cut(void) {
    static const char ways[] = "rt1somnh";
    chopin_app *app = app_new();
    char       *want = NULL;
    for (const char *way = ways; *way; way++) {
        char path[20];
        snprintf(path, sizeof path, "/list?how=%c", *way);
        bool threads = strchr("som", *way) != NULL;                     // each write is a trip to another thread
        for (size_t step = 0; step < 700; step += (size_t)EVERY * (threads ? 61 : step < 40 ? 1 : 13)) {
            for (int chunked = 0; chunked < 2; chunked++) {
                chopin_str reply = chopin_test_request(app, ask_n(path, MULTIPART, several, sizeof several - 1, chunked, PAGE), &(chopin_test_options){ .read_step = step });
                chopin_str body = kit_body(reply);
                bool       skips = *way == 'n' || *way == 'h', ok;
                const char *start = skips ? "one[-||]=0:;two[a.txt|a.txt|text/x]=0:;three[-||]=0:;" : LISTED;
                ok = CHECK(chopin__starts(body, chopin__str_z(start)) && kit_has(body, "five[../x|x|text/x]=") && kit_has(reply, "\r\n\r\npage\n"));
                ok = CHECK(seen.parts == 5 && seen.rc == 0 && seen.after == 0 && kit_count(reply, "HTTP/1.1 200") == 2) && ok;
                if (!skips && !want) want = strndup(body.ptr, kit_count(body, "HTTP/1.1") ? (size_t)(strstr(body.ptr, "HTTP/1.1") - body.ptr) : 0);
                ok = (skips || CHECK(want && chopin__starts(body, chopin__str_z(want)))) && ok;
                if (!ok) { printf("  way %c, step %zu, chunked %d: %.*s\n", *way, step, chunked, CHOPIN_FMT(reply)); goto out; }
            }
        }
        files_in_folder(true);
    }
out:
    free(want);
    stage_free(app);
}

static void every_byte_may_be_the_last(void) {
    chopin_app *app = app_new();
    for (const char *way = "r1som"; *way; way++) {
        char path[20];
        snprintf(path, sizeof path, "/list?how=%c", *way);
        bool       threads = strchr("som", *way) != NULL;
        int        before = open_descriptors();
        chopin_str whole = ask(path, several);
        size_t     head = whole.len - (sizeof several - 1);
        files_in_folder(true);
        for (size_t cut = head; cut < whole.len - 10; cut += (size_t)EVERY * (threads ? 7 : 1)) {
            for (int reset = 0; reset < 2; reset++) {
                chopin_str reply = chopin_test_request(app, chopin__str(whole.ptr, cut), &(chopin_test_options){ .reset = reset });
                CHECK(!kit_has(reply, "HTTP/1.1 200"));
                CHECK(seen.rc < 0 || seen.last < 0);
                if (!CHECK(seen.after < 0 || threads)) {          // a writer may learn of it while more has been read already
                     printf("  way %c, %zu of %zu bytes\n", *way, cut, whole.len); goto out; }
                if (*way == 'o') CHECK(files_in_folder(true) <= 5);     // whole parts have been stored; a torn one has been removed
            }
        }
        if (*way == 'o') {                                              // in the middle of the only file
            chopin_str one = ask("/list?how=o", AFILE("f", "x") "some bytes that are not all" END);
            CHECK_EQ_INT(chopin_test_request(app, chopin__str(one.ptr, one.len - 20), NULL).len, 0);
            CHECK_EQ_INT(files_in_folder(true), 0);
        }
        CHECK_EQ_INT(open_descriptors(), before);
    }
out:
    files_in_folder(true);
    stage_free(app);
}

static void a_torn_body_never_looks_whole(void) {
    chopin_app *app = app_new();
    static const char body[] = AFILE("f", "x") "0123456789\r\n" AFILE("g", "y") "0123456789" END;
    chopin_str whole = ask("/careless", body);
    CHECK(kit_has(kit_play(app, whole), "2 whole parts\n"));
    for (size_t cut = whole.len - sizeof body + 2; cut < whole.len - 2; cut++) {     // the last boundary tells the end, whatever was to follow
        chopin_str reply = chopin_test_request(app, chopin__str(whole.ptr, cut), &(chopin_test_options){ .read_step = cut % 7 });
        CHECK(!kit_has(reply, "whole") && seen.rc < 0);
    }
    // Well-framed, but the multipart text inside ends early: 400.
    for (size_t cut = 1; cut < sizeof body - 5; cut++) {
        chopin_str reply = kit_play(app, ask_n("/careless", MULTIPART, body, cut, cut % 2, PAGE));
        CHECK(kit_status(reply) == 400 && kit_count(reply, "HTTP/1.1") == 1 && kit_has(reply, "Connection: close") && seen.rc < 0);
    }
    stage_free(app);
}

static void types_and_boundaries_are_checked(void) {
    static const struct { int status; const char *type; } rows[] = {
        { 200, "multipart/form-data; boundary=b" }, { 200, "Multipart/Form-Data; charset=utf-8; boundary=\"b\"" }, { 415, "text/plain" }, { 415, "multipart/mixed; boundary=b" },
        { 415, "application/x-www-form-urlencoded" }, { 400, "multipart/form-data" }, { 400, "multipart/form-data; boundary=" }, { 400, "multipart/form-data; boundary=\"\"" },
        { 400, "multipart/form-data; boundary=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb" }, { 400, "multipart/form-data; boundary=other" },
    };
    chopin_app *app = app_new();
    for (size_t i = 0; i < CHOPIN__COUNT(rows); i++) {
        chopin_str reply = kit_play(app, ask_n("/list", rows[i].type, several, sizeof several - 1, false, PAGE));
        if (!CHECK_EQ_INT(kit_status(reply), rows[i].status)) printf("  %s\n", rows[i].type);
        CHECK(rows[i].status == 200 || kit_count(reply, "HTTP/1.1") == 1);
        CHECK(rows[i].status == 200 ? seen.rc == 0 : seen.rc < 0 && seen.after < 0);
    }
    chopin_str reply = kit_play_z(app, "POST /list HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" PAGE);
    CHECK_EQ_INT(kit_status(reply), 415);
    reply = kit_play(app, ask_n("/list", MULTIPART, "", 0, false, ""));
    CHECK_EQ_INT(kit_status(reply), 400);
    stage_free(app);
}

static void limits_hold_at_n_and_fail_at_n_plus_one(void) {
    chopin_options o = stage_options();
    o.max_parts = 3;
    o.max_part_head = 200;
    o.max_part_name = 10;
    o.max_field = 100;
    chopin_app *app = app_with(o, 2000);
    static char body[6000];
    for (int n = 2; n <= 5; n++) {
        body[0] = 0;
        for (int i = 0; i < n; i++) strcat(body, FIELD("x") "y\r\n");
        strcat(body, "--b--\r\n");
        CHECK_EQ_INT(kit_status(kit_play(app, ask("/list", body))), n <= 3 ? 200 : 413);
    }
    for (int n = 9; n <= 12; n++) {
        snprintf(body, sizeof body, "--b\r\nContent-Disposition: form-data; name=\"%.*s\"\r\n\r\nx" END, n, "nnnnnnnnnnnnnnn");
        CHECK_EQ_INT(kit_status(kit_play(app, ask("/list", body))), n <= 10 ? 200 : 413);
    }
    for (int file = 0; file < 2; file++) {
        for (int n = 99; n <= 102; n++) {
            snprintf(body, sizeof body, "%s%0*d" END, file ? AFILE("f", "x") : FIELD("f"), n, 7);
            chopin_str reply = chopin_test_request(app, ask(n % 2 ? "/list?how=t" : "/list", body), &(chopin_test_options){ .read_step = (size_t)n % 3 });
            CHECK_EQ_INT(kit_status(reply), file || n <= 100 ? 200 : 413);
        }
    }
    int at = 0;
    for (int n = 20; n < 300; n++) {                                    // the head of a part: one step from good to bad
        snprintf(body, sizeof body, "--b\r\nContent-Disposition: form-data; name=\"f\"\r\nX: %0*d\r\n\r\nx" END, n, 7);
        int status = kit_status(kit_play(app, ask("/list", body)));
        CHECK(status == (at ? 413 : status) && (status == 200 || status == 413));
        if (status == 413 && !at) at = n;
    }
    CHECK(at > 100 && at < 200);
    for (int chunked = 0; chunked < 2; chunked++) {                     // max_body counts boundaries and heads
        for (size_t n = 1999; n < 2003; n++) {
            size_t used = sizeof(AFILE("f", "x")) - 1 + sizeof END - 1;
            snprintf(body, sizeof body, AFILE("f", "x") "%0*d" END, (int)(n - used), 7);
            int runs = seen.runs;
            chopin_str reply = kit_play(app, ask_n("/list", MULTIPART, body, n, chunked, PAGE));
            CHECK_EQ_INT(kit_status(reply), n <= 2000 ? 200 : 413);
            CHECK(seen.runs - runs == (n <= 2000) || chunked);          // with a length it is refused before it is read
            CHECK_EQ_INT(kit_count(reply, "HTTP/1.1"), n <= 2000 ? 2 : 1);
        }
    }
    stage_free(app);
}

static void malformed_parts_are_400(void) {
    static const char *const bad[] = {
        "no boundary at all", "--b\r\n", "--b\r\n\r\nx" END, "--b\r\nContent-Disposition: attachment\r\n\r\nx" END, "--b\r\nContent-Disposition: form-data\r\n\r\nx" END,
        "--b\r\nContent-Disposition form-data; name=x\r\n\r\nx" END, "--b\r\nContent-Disposition: form-data; name=\"x\r\n\r\nx" END, "--b\nContent-Disposition: form-data; name=\"x\"\n\nx\n--b--\n",
        "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n folded\r\n\r\nx" END, "--b\r\nContent-Disposition: form-data; name=\"x\"; name=\"y\"\r\n\r\nx" END,
        "--b\r\nContent-Disposition: form-data; name=\"x\"\r\nContent-Disposition: form-data; name=\"y\"\r\n\r\nx" END, FIELD("x") "x\r\n--b-", FIELD("x") "x",
    };
    chopin_app *app = app_new();
    for (size_t i = 0; i < CHOPIN__COUNT(bad); i++) {
        for (size_t step = 0; step < 2; step++) {
            chopin_str reply = chopin_test_request(app, ask_n("/list", MULTIPART, bad[i], strlen(bad[i]), false, PAGE), &(chopin_test_options){ .read_step = step });
            if (!CHECK_EQ_INT(kit_status(reply), 400)) printf("  row %zu: %s\n", i, bad[i]);
            CHECK(kit_count(reply, "HTTP/1.1") == 1 && kit_has(reply, "Connection: close"));
        }
    }
    stage_free(app);
}

static void continue_is_sent_when_the_first_part_is_wanted(void) {
    chopin_app *app = app_new();
    static char text[2000];
    int n = snprintf(text, sizeof text, "POST /list HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: " MULTIPART "\r\nContent-Length: %zu\r\n\r\n", strlen(FIELD("x") "y" END));
    strcat(text, FIELD("x") "y" END);
    chopin_str reply = chopin_test_request(app, chopin__str_z(text), &(chopin_test_options){ .read_step = (size_t)n });
    CHECK(kit_count(reply, "HTTP/1.1 100 Continue\r\n\r\n") == 1 && kit_has(reply, "x[-||]=1:y;"));
    char *type = strstr(text, "multipart");
    memcpy(type, "multipaxx", 9);                                       // refused without being wanted
    reply = chopin_test_request(app, chopin__str_z(text), &(chopin_test_options){ .read_step = (size_t)n });
    CHECK(kit_count(reply, "100 Continue") == 0 && kit_status(reply) == 415);
    stage_free(app);
}

static void hostile_names_stay_in_the_folder(void) {
    static const char *const names[] = {
        "../../../../tmp/owned", "..", ".", "/etc/passwd", "C:\\\\windows\\\\x.exe", "..\\\\..\\\\x", "a/b/c", ".htaccess", "-rf", "~root", "con", "x\x7f\x01y", "\xff\xfe", "....//x", "a\\\"b", "%2e%2e%2fx", ("\xe2\x80\xae" "gpj.exe"),
    };
    chopin_app *app = app_new();
    char        parent[80], body[800];
    snprintf(parent, sizeof parent, "%s/..", folder);
    files_in_folder(true);
    for (size_t i = 0; i < CHOPIN__COUNT(names); i++) {
        for (int long_one = 0; long_one < 2; long_one++) {
            char name[400] = "";
            if (long_one) memset(name, 'n', 300);
            strcat(name, names[i]);
            snprintf(body, sizeof body, "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"%s\"\r\n\r\nx" END, name);
            chopin_str reply = kit_play(app, ask("/list?how=o", body));
            if (!CHECK(kit_status(reply) == 200 || kit_status(reply) == 400)) printf("  %s\n", names[i]);
            CHECK_EQ_INT(files_in_folder(true), kit_status(reply) == 200);
            if (kit_status(reply) != 200) continue;
            const char *at = strchr(kit_body(reply).ptr, '|'), *end = at ? strchr(at + 1, '|') : NULL;
            if (!CHECK(at && end)) continue;
            chopin_str safe = chopin__str(at + 1, (size_t)(end - at - 1));
            CHECK(safe.len > 0 && safe.len <= 255 && safe.ptr[0] != '.' && !kit_has(safe, "/") && !kit_has(safe, "\\"));
            for (size_t b = 0; b < safe.len; b++) CHECK((unsigned char)safe.ptr[b] >= 0x20 && safe.ptr[b] != 0x7f);
        }
    }
    CHECK(access("/tmp/owned", F_OK) != 0);
    stage_free(app);
}

static void body_is(chopin_str reply, const char *want) { CHECK_STR(kit_body(reply), want); }

static void failures_to_write_are_told(void) {
    chopin_app *app = app_new();
    body_is(kit_play(app, ask("/full", AFILE("f", "x") "bytes\r\n" FIELD("more") "x" END)), "1 1 1");
    body_is(kit_play(app, ask("/nowhere", AFILE("f", "x") "bytes" END)), "1 1 0");
    body_is(kit_play(app, ask("/headers", "--b\r\nX-One: first\r\nContent-Disposition: form-data; name=\"f\"\r\nContent-Type: a/b\r\n\r\nx" END)), "first,a/b,1");
    stage_free(app);
}

static void memory_does_not_grow_with_the_body(void) {
    chopin_app *app = app_with(stage_options(), CHOPIN_NO_LIMIT);
    size_t n = SANE ? 30 << 20 : 3 << 20, head = sizeof(AFILE("f", "x")) - 1;
    char  *body = malloc(n + head + sizeof END);
    memcpy(body, AFILE("f", "x"), head);
    memset(body + head, '-', n);                                        // the boundary's first byte, over and over
    memcpy(body + head + n, END, sizeof END);
    for (int chunked = 0; chunked < 2; chunked++) {
        chopin_str bytes = ask_n("/count", MULTIPART, body, head + n + sizeof END - 1, chunked, "");
        heap.peak = heap.live;
        size_t before = heap.live;
        chopin_str reply = kit_play(app, bytes);
        CHECK(kit_status(reply) == 200 && seen.bytes == (int64_t)n);
        CHECK(heap.peak - before < 1 << 20);
        bytes = ask_n("/list?how=m", MULTIPART, body, head + (n >> 10) + 0, chunked, "");
        CHECK_EQ_INT(kit_status(kit_play(app, bytes)), 400);
    }
    free(body);
    stage_free(app);
}

static void a_silent_client_is_told_408(void) {
    chopin_app *app = app_new();
    chopin_str  bytes = ask("/list?how=o", several);
    files_in_folder(true);
    chopin_str reply = chopin_test_request(app, bytes, &(chopin_test_options){ .stall_after = bytes.len - 20 });
    CHECK(kit_status(reply) == 408 && seen.after < 0);
    files_in_folder(true);
    stage_free(app);
}

static void every_allocation_may_fail(void) {
    size_t failures = 0;
    for (int mode = 0; mode < 4; mode++) {
        for (size_t n = 1; ; n += EVERY) {
            heap.fail_at = n;
            heap.fail_on = mode >= 2;
            chopin_app *app = app_new();
            int before = open_descriptors();
            chopin_str reply = chopin__absent();
            if (app) reply = chopin_test_request(app, ask(mode % 2 ? "/list?how=o" : "/list?how=t", several), &(chopin_test_options){ .read_step = mode % 2 ? 100 : 0 });
            bool failed = heap.calls >= n;
            if (reply.ptr) CHECK(failed ? reply.len == 0 || kit_status(reply) == 200 || kit_status(reply) >= 500 || !kit_status(reply) : kit_status(reply) == 200);
            if (!CHECK(!kit_has(reply, "HTTP/1.1 200") || seen.rc == 0)) printf("  mode %d, allocation %zu\n", mode, n);
            CHECK_EQ_INT(open_descriptors(), before);
            if (app) stage_free(app);
            if (!failed || test__all.bad) break;
            failures++;
        }
        heap.fail_at = 0;
        files_in_folder(true);
    }
    heap.fail_on = false;
    CHECK(failures > (SANE ? 80 : 10));
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    snprintf(folder, sizeof folder, "/tmp/chopin-upload-XXXXXX");
    if (!mkdtemp(folder)) return 1;
    RUN(parts_are_read_in_every_way_and_cut);
    RUN(every_byte_may_be_the_last);
    RUN(a_torn_body_never_looks_whole);
    RUN(types_and_boundaries_are_checked);
    RUN(limits_hold_at_n_and_fail_at_n_plus_one);
    RUN(malformed_parts_are_400);
    RUN(continue_is_sent_when_the_first_part_is_wanted);
    RUN(hostile_names_stay_in_the_folder);
    RUN(failures_to_write_are_told);
    RUN(memory_does_not_grow_with_the_body);
    RUN(a_silent_client_is_told_408);
    RUN(every_allocation_may_fail);
    files_in_folder(true);
    rmdir(folder);
    free(asked);
    strike();
    return TEST_END();
}
