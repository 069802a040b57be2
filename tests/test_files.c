/* test_files.c - >>files: what a path means on disk, and what a request gets of it; in a folder of its own under TMPDIR, which is removed */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER
#include "test.h"
#include <dirent.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#if defined(__linux__)
#include <linux/filter.h>
#include <linux/seccomp.h>
#endif

/* ---- memory: an arena per question, a heap whose nth call fails ---- */
static int allocations_left = -1;                                      // -1: as many as are wanted

static void *failing_alloc(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    if (new_size && allocations_left == 0) return NULL;
    if (new_size && allocations_left > 0) allocations_left--;
    return chopin__heap_default(ctx, ptr, old_size, new_size);
}

static chopin__heap  heap = { .alloc = failing_alloc };
static _Alignas(16) char block[1 << 16];
static chopin__arena arena;

static chopin__arena *fresh(void) {
    chopin__arena_reset(&arena);
    return &arena;
}

/* Copies at the very end of a heap block, where ASan watches. */
static char *copies[256];
static chopin_str tight(const char *text) {
    static size_t at;
    size_t len = text ? strlen(text) : 0;
    if (!text) return chopin__absent();
    char **copy = &copies[at++ % 256];
    free(*copy);
    *copy = malloc(len ? len : 1);
    memcpy(*copy, text, len);
    return chopin__str(*copy + (len ? 0 : 1), len);
}

/* ---- a folder: base/root is served, base/secret is not ---- */
static char base[512], root_path[600];
static chopin__files_root root;
static chopin__files files;
static chopin__files_rules rules;
static int64_t now_ms = 1000000, now_s;

static const char *at(const char *name) {
    static char text[8][1200];
    static int turn;
    char *to = text[turn++ % 8];
    snprintf(to, sizeof text[0], "%s/%s", base, name);
    return to;
}

static void put(const char *name, const char *text) {
    FILE *f = fopen(at(name), "wb");
    CHECK(f != NULL);
    if (!f) return;
    fwrite(text, 1, strlen(text), f);
    fclose(f);
}

static void set_time(const char *name, int64_t s, long ns) {
    struct timespec t[2] = { { (time_t)s, ns }, { (time_t)s, ns } };
    CHECK(utimensat(AT_FDCWD, at(name), t, 0) == 0);
}

/* By descriptors: one of the tests makes a path of almost PATH_MAX. */
static void remove_tree(int parent, const char *folder) {
    int  fd = openat(parent, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    for (struct dirent *e; d && (e = readdir(d)) != NULL; ) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (unlinkat(fd, e->d_name, 0) != 0) remove_tree(fd, e->d_name);
    }
    if (d) closedir(d);
    unlinkat(parent, folder, AT_REMOVEDIR);
}

static int open_descriptors(void) {
    int n = 0;
    for (int fd = 0; fd < 1024; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* ---- a question ---- */
static chopin__file_request request;
static chopin__file_answer answer;
static char  content[1 << 16];
static size_t content_len;

static void ask_for(const char *method) {
    request = (chopin__file_request){ .method = tight(method), .path = CHOPIN_STR("/"), .now_s = now_s, .now_ms = now_ms };
}

static void let_go(void) {
    if (answer.file) chopin__file_release(answer.file);
    answer.file = NULL;
}

static void add(const char *text, size_t len) {
    if (!CHECK(content_len + len < sizeof content)) return;
    if (len) memcpy(content + content_len, text, len);
    content_len += len;
    content[content_len] = 0;
}

/* What a client would be sent, unless it is large. */
static void collect(void) {
    content_len = 0;
    content[0] = 0;
    for (unsigned i = 0; answer.file && i < answer.part_count; i++) {
        static char bytes[32768];
        add(answer.parts[i].head.ptr, answer.parts[i].head.len);
        if (answer.parts[i].len > sizeof bytes) continue;
        ssize_t n = pread(answer.file->fd, bytes, (size_t)answer.parts[i].len, (off_t)answer.parts[i].at);
        CHECK_EQ_INT(n, answer.parts[i].len);
        add(bytes, n > 0 ? (size_t)n : 0);
    }
    add(answer.tail.ptr, answer.tail.len);
    add(answer.body.ptr, answer.body.len);
}

/* `path` as sent, decoded below the root; the answer's file is let go of when its content has been read. */
static int ask(const char *path) {
    chopin_str decoded;
    static char url[20000];
    chopin__arena *a = fresh();
    snprintf(url, sizeof url, "/%s", path);
    request.path = chopin__str_z(url);
    request.now_ms = now_ms;
    request.now_s = now_s;
    answer = (chopin__file_answer){ .status = chopin__path_decode(tight(path), a, &decoded) };
    if (answer.status != 200) return answer.status;
    int status = chopin__files_answer(&files, &rules, &request, decoded, a, &answer);
    CHECK_EQ_INT(status, answer.status);
    CHECK((answer.file != NULL) == ((status == 200 || status == 206) && !answer.body.ptr));
    collect();
    let_go();
    return status;
}

static int get(const char *path) { ask_for("GET"); return ask(path); }

static int get_range(const char *path, const char *range) {
    ask_for("GET");
    request.range = tight(range);
    return ask(path);
}

/* The value of a header line; NULL: none; "twice": more than one. */
static const char *header(const char *name) {
    static char values[8][512];
    static int turn;
    char *value = values[turn++ % 8], *found = NULL;
    for (chopin_str rest = answer.lines; rest.len > 0; ) {
        chopin_str text = chopin__cut(&rest, '\n'), key = chopin__cut(&text, ':');
        CHECK(text.len > 2 && text.ptr[0] == ' ' && text.ptr[text.len - 1] == '\r' && chopin__is_token(key));
        if (!chopin__equal_nocase(key, chopin__str_z(name))) continue;
        if (found) return "twice";
        CHECK(chopin__is_field_value(chopin__str(text.ptr, text.len - 1)));
        snprintf(value, sizeof values[0], "%.*s", (int)text.len - 2, text.ptr + 1);
        found = value;
    }
    return found;
}
#define CHECK_HEADER(name, want) do { const char *got = header(name); if (CHECK(got != NULL)) CHECK_STR(chopin__str_z(got), want); } while (0)
#define CHECK_CONTENT(want) CHECK_STR(chopin__str(content, content_len), want)

static void each_way(void (*claim)(void)) {
    bool walk = atomic_load(&root.walk);
    for (int way = 0; way < 2; way++) {
        if (way == 0 && walk) continue;                                // this kernel has one way only
        atomic_store(&root.walk, way == 1);
        claim();
        if (test__all.bad) { printf("(walk: %d)\n", way); break; }
    }
    atomic_store(&root.walk, walk);
    chopin__files_sweep(&files, INT64_MAX);
}

/* ---- paths ---- */
static void refuse_paths(void) {
    static const char *const bad[] = { "..", "../secret", "a/../../secret", "a/..", "a/../a/f.txt", "./a", "a/./f.txt", ".", "%2e%2e/secret", "%2e%2e", ".%2e/secret",
        "a/%2e%2e/%2e%2e/secret", "%2E%2E/%2E%2E/secret", "a/b/c/%2e%2e/%2e%2e/%2e%2e/%2e%2e/secret", "..%2fsecret", "a%2ff.txt", "a%2Ff.txt", "..%5csecret", "..\\secret",
        "a\\f.txt", "a%5cf.txt", "/etc/passwd", "//etc/passwd", "/a/f.txt", "a//f.txt", "a/f.txt/", "a/f.txt//", "a//", "%2e", "a/%01", "a/f.txt%0a", "f%7f", "out", "out/secret", "outside",
        "a/up", "absolute", "absolute/passwd", "proc/self/environ", "magic", "loop", "...", "....//secret", "%252e%252e/secret", "..;/secret", "a/..%c0%af/secret" };
    static const char *const malformed[] = { "a%00", "%00", "f.txt%00.html", "%", "%4", "%zz", "a/%2" };
    for (size_t i = 0; i < CHOPIN__COUNT(bad); i++) {
        if (!CHECK_EQ_INT(get(bad[i]), 404)) printf("path: %s\n", bad[i]);
        CHECK(strstr(content, "SECRET") == NULL);
    }
    for (size_t i = 0; i < CHOPIN__COUNT(malformed); i++) CHECK_EQ_INT(get(malformed[i]), 400);
    CHECK_EQ_INT(get("a/f.txt"), 200);
    CHECK_CONTENT("inside");
    CHECK_EQ_INT(get("a/%66.txt"), 200);
    CHECK_EQ_INT(get("%61/f%2etxt"), 200);
}

static void links_inside(void) {
    bool walk = atomic_load(&root.walk);
    CHECK_EQ_INT(get("good"), walk ? 404 : 200);                        // links are followed where the kernel can vouch for them
    CHECK_EQ_INT(get("gooddir/f.txt"), walk ? 404 : 200);
    CHECK_EQ_INT(get("updown"), walk ? 404 : 200);
}

static void long_paths(void) {
    static char path[10000];
    char name[300] = "root/";
    memset(name + 5, 'n', 255);
    put(name, "longest");
    CHECK_EQ_INT(get(name + 5), 200);
    memset(path, 'x', sizeof path - 1);
    for (size_t len = 250; len < 262; len++) { path[len] = 0; CHECK_EQ_INT(get(path), 404); path[len] = 'x'; }
    for (size_t i = 1; i < sizeof path; i += 2) path[i - 1] = 'y', path[i] = '/';
    for (size_t len = PATH_MAX - 3; len < PATH_MAX + 3; len++) {
        char was = path[len];
        path[len] = 0;
        CHECK_EQ_INT(get(path), 404);
        path[len] = was;
    }
    path[sizeof path - 1] = 0;
    CHECK_EQ_INT(get(path), 404);
}

/* A folder deep enough that its path fits exactly: the limit is the kernel's, not ours. */
static void deep_paths(void) {
    char path[4200] = "";
    int  dir = open(root_path, O_RDONLY | O_DIRECTORY);
    while (strlen(path) + 201 < PATH_MAX - 220) {
        char name[210];
        memset(name, 'd', 200);
        name[200] = 0;
        CHECK(mkdirat(dir, name, 0755) == 0);
        int next = openat(dir, name, O_RDONLY | O_DIRECTORY);
        close(dir);
        dir = next;
        strcat(strcat(path, name), "/");
    }
    int fd = openat(dir, "leaf", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    CHECK(write(fd, "leaf", 4) == 4);
    close(fd);
    close(dir);
    strcat(path, "leaf");
    CHECK_EQ_INT(get(path), 200);
    CHECK_CONTENT("leaf");
}

typedef struct swapper { _Atomic bool stop; const char *one, *other; } swapper;
static _Atomic unsigned swaps;

static void *swap_names(void *arg) {
    swapper *s = arg;
    while (!atomic_load(&s->stop)) {
        if (syscall(SYS_renameat2, AT_FDCWD, s->one, AT_FDCWD, s->other, 2u /* RENAME_EXCHANGE */) == 0) atomic_fetch_add(&swaps, 1);
    }
    return NULL;
}

/* One thread changes places of a folder (or file) and a symbolic link that leads out, another asks: what comes is from inside or nothing. */
static void races_stay_inside(void) {
    char one[1200], other[1200], leaf[1200], leaf_other[1200];
    unsigned inside = 0, refused = 0;
    snprintf(one, sizeof one, "%s/d", root_path);
    snprintf(other, sizeof other, "%s/d2", root_path);
    snprintf(leaf, sizeof leaf, "%s/d2f", root_path);
    snprintf(leaf_other, sizeof leaf_other, "%s/d2g", root_path);
    swapper folders = { .one = one, .other = other }, leaves = { .one = leaf, .other = leaf_other };
    pthread_t threads[2];
    pthread_create(&threads[0], NULL, swap_names, &folders);
    pthread_create(&threads[1], NULL, swap_names, &leaves);
    int64_t until = chopin__clock_ms() + 400;
    static const char *const names[] = { "d/secret", "d2f", "updown", "d/../secret", "a/f.txt" };
    for (unsigned i = 0; chopin__clock_ms() < until; i++) {
        int status = get(names[i % CHOPIN__COUNT(names)]);
        CHECK(status == 200 || status == 404 || status == 503);
        CHECK(strstr(content, "SECRET") == NULL);
        inside += status == 200;
        refused += status != 200;
    }
    atomic_store(&folders.stop, true);
    atomic_store(&leaves.stop, true);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    CHECK(inside > 10 && refused > 10);
    CHECK(atomic_load(&swaps) > 100);
}

static void no_path_leaves_the_root(void) {
    CHECK(symlink(base, at("root/out")) == 0 && symlink("../secret", at("root/outside")) == 0 && symlink("../../secret", at("root/a/up")) == 0);
    CHECK(symlink("/etc", at("root/absolute")) == 0 && symlink("/proc/self/root", at("root/magic")) == 0 && symlink("loop", at("root/loop")) == 0);
    CHECK(symlink("/proc", at("root/proc")) == 0);
    CHECK(symlink("a/f.txt", at("root/good")) == 0 && symlink("a", at("root/gooddir")) == 0 && symlink("a/../a/f.txt", at("root/updown")) == 0);
    mkdir(at("root/d"), 0755);
    put("root/d/secret", "inside");
    put("root/d2f", "inside");
    CHECK(symlink(base, at("root/d2")) == 0 && symlink("../secret", at("root/d2g")) == 0);
    each_way(refuse_paths);
    each_way(links_inside);
    each_way(long_paths);
    deep_paths();
    each_way(races_stay_inside);
}

static void the_root_is_pinned(void) {
    CHECK(rename(root_path, at("moved")) == 0 && mkdir(root_path, 0755) == 0);
    put("root/a.txt", "SECRET");
    CHECK_EQ_INT(get("a/f.txt"), 200);
    CHECK_EQ_INT(get("a.txt"), 404);
    unlink(at("root/a.txt"));
    CHECK(rmdir(root_path) == 0 && rename(at("moved"), root_path) == 0);
    chopin__files_root none;
    CHECK_EQ_INT(chopin__files_root_open(&none, at("root/a/f.txt")), -ENOTDIR);
    CHECK_EQ_INT(chopin__files_root_open(&none, at("nothing")), -ENOENT);
    chopin__files_root_close(&none);
}

#if defined(__linux__)
/* In a child whose openat2 gives that error. */
static int with_openat2_giving(int error, int (*what)(void)) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 437, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { CHOPIN__COUNT(code), code };
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) _exit(77);
        _exit(what());
    }
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int served_by_walking(void) {
    chopin__files_root again;
    if (get("a/f.txt") != 200 || get("outside") != 404 || get("good") != 404) return 1;         // filter put up after the start
    if (chopin__files_root_open(&again, root_path) != 0 || !atomic_load(&again.walk)) return 2;  // and before it
    rules.root = &again;
    return get("a/f.txt") == 200 && get("outside") == 404 && get("good") == 404 ? 0 : 3;
}

static int gives_up_with_503(void) { return get("a/f.txt") == 503 && get("a/f.txt") == 503 ? 0 : 1; }

static void the_walk_is_chosen_at_run_time(void) {
    if (atomic_load(&root.walk)) return;
    CHECK_EQ_INT(with_openat2_giving(ENOSYS, served_by_walking), 0);
    CHECK_EQ_INT(with_openat2_giving(EPERM, served_by_walking), 0);
    CHECK_EQ_INT(with_openat2_giving(EAGAIN, gives_up_with_503), 0);             // tried again, but not for ever
}
#else
static void the_walk_is_chosen_at_run_time(void) { CHECK(atomic_load(&root.walk)); }
#endif

static void check_kinds(void) {
    int64_t start = chopin__clock_ms();
    CHECK_EQ_INT(get("fifo"), 404);
    CHECK_EQ_INT(get("socket"), 404);
    if (access(at("root/device"), F_OK) == 0) CHECK_EQ_INT(get("device"), 404);
    CHECK_EQ_INT(get("a"), 308);
    CHECK_EQ_INT(get("a/"), 404);
    CHECK_EQ_INT(get(""), 404);
    CHECK_EQ_INT(get("a/f.txt/"), 404);
    CHECK_EQ_INT(get("a/f.txt/x"), 404);
    CHECK_EQ_INT(get("missing"), 404);
    CHECK_EQ_INT(get("missing/"), 404);
    if (geteuid() != 0) CHECK_EQ_INT(get("locked"), 403);
    CHECK(chopin__clock_ms() - start < 2000);
    CHECK_EQ_INT(get("a/f.txt"), 200);
    ask_for("GET");
    request.range = CHOPIN_STR("bytes=0-0");
    CHECK_EQ_INT(ask("fifo"), 404);                                              // conditions and ranges make nothing of what is not there
    request.if_match = CHOPIN_STR("*");
    CHECK_EQ_INT(ask("missing"), 404);
}

static void only_regular_files(void) {
    CHECK(mkfifo(at("root/fifo"), 0644) == 0);
    mknod(at("root/device"), S_IFCHR | 0644, makedev(1, 3));                     // for root only
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%.90s/socket", root_path);
    CHECK(bind(s, (struct sockaddr *)&address, sizeof address) == 0);
    put("root/locked", "x");
    chmod(at("root/locked"), 0);
    each_way(check_kinds);
    close(s);
    ask_for("GET");
    chopin_str path = CHOPIN_STR("a/f.txt");
    CHECK_EQ_INT(chopin__files_answer(&files, &rules, &request, path, fresh(), &answer), 200);
    CHECK((fcntl(answer.file->fd, F_GETFL) & O_NONBLOCK) == 0 && (fcntl(answer.file->fd, F_GETFD) & FD_CLOEXEC));
    let_go();
}

static void dot_files_are_hidden(void) {
    mkdir(at("root/.well-known"), 0755);
    mkdir(at("root/.git"), 0755);
    mkdir(at("root/a/.well-known"), 0755);
    put("root/.well-known/x", "known");
    put("root/.well-known/.y", "SECRET");
    put("root/a/.well-known/x", "SECRET");
    put("root/.git/config", "SECRET");
    put("root/.htpasswd", "SECRET");
    CHECK_EQ_INT(get(".well-known/x"), 200);
    static const char *const hidden[] = { ".htpasswd", ".git/config", "a/.well-known/x", ".well-known/.y", "%2egit/config", ".well-known2/x", ".git" };
    for (size_t i = 0; i < CHOPIN__COUNT(hidden); i++) CHECK_EQ_INT(get(hidden[i]), 404);
    rules.dot_files = true;
    CHECK_EQ_INT(get(".htpasswd"), 200);
    CHECK_EQ_INT(get(".git/config"), 200);
    CHECK_EQ_INT(get("../secret"), 404);
    CHECK_EQ_INT(get("."), 404);
    CHECK_EQ_INT(get(".."), 404);
    static const char *const no_names[] = { ".", "..", "../a", "a/..", "a/../b", "./a", "a/.", "/", "/a", "a//b", "a//", "//", "a\\b", "a\n", "\x7f" };
    for (size_t i = 0; i < CHOPIN__COUNT(no_names); i++) CHECK(!chopin__path_ok(tight(no_names[i]), true));
    CHECK(chopin__path_ok(tight(""), false) && chopin__path_ok(tight("a/"), false) && chopin__path_ok(tight("a/b"), false) && chopin__path_ok(tight("..a"), true));
    CHECK_EQ_INT(chopin__files_walk(root.fd, CHOPIN_STR("../secret"), CHOPIN__OPEN_FILE), -ENAMETOOLONG);       // not even if nobody had looked
    rules.dot_files = false;
}

/* ---- folders ---- */
static void index_files(void) {
    static const char *const names[] = { "index.html", "index.htm", NULL };
    mkdir(at("root/i"), 0755);
    mkdir(at("root/i/index.html"), 0755);                                        // a folder of that name is none
    rules.index = names;
    CHECK_EQ_INT(get("i/"), 404);
    put("root/i/index.htm", "<p>two");
    CHECK_EQ_INT(get("i/"), 200);
    CHECK_CONTENT("<p>two");
    CHECK_STR(answer.type, "text/html; charset=utf-8");
    CHECK_EQ_INT(get("i"), 308);
    put("root/index.html", "<p>root");
    CHECK_EQ_INT(get(""), 200);
    CHECK_CONTENT("<p>root");
    CHECK_EQ_INT(get_range("", "bytes=0-2"), 206);
    CHECK_CONTENT("<p>");
    unlink(at("root/index.html"));
    CHECK_EQ_INT(get(""), 404);
    rules.index = NULL;
}

static void slash_redirect_stays_on_host(void) {
    static const char *const cases[][3] = {
        { "/a", NULL, "/a/" }, { "/static/a", "x=1&y", "/static/a/?x=1&y" }, { "/a", "", "/a/?" }, { "//evil.test", NULL, "/evil.test/" }, { "////evil.test/%2e", NULL, "/evil.test/%2e/" },
        { "/\\evil.test", NULL, "/%5Cevil.test/" }, { "/\\/evil.test", NULL, "/%5C/evil.test/" }, { "/a\r\nSet-Cookie: x", NULL, "/a%0D%0ASet-Cookie:%20x/" }, { "/%0d%0a", NULL, "/%0d%0a/" },
        { "/\t/evil.test", NULL, "/%09/evil.test/" }, { "", NULL, "/" }, { "/", NULL, "/" }, { "/a", "\r\nX: y", "/a/?%0D%0AX:%20y" }, { "/\xc3\xa9", NULL, "/%C3%A9/" },
        { "/a;b=c,d@e:f", NULL, "/a;b=c,d@e:f/" }, { "/a\"<b>'", "\"<c>'", "/a%22%3Cb%3E'/?%22%3Cc%3E'" } };
    for (size_t i = 0; i < CHOPIN__COUNT(cases); i++) {
        chopin_str query = tight(cases[i][1]), location = chopin__path_with_slash(fresh(), tight(cases[i][0]), query);
        CHECK_STR(location, cases[i][2]);
        CHECK(location.ptr && (location.len < 2 || (location.ptr[1] != '/' && location.ptr[1] != '\\')));
    }
    mkdir(at("root/a b"), 0755);
    CHECK_EQ_INT(get("a%20b"), 308);
    CHECK_HEADER("Location", "/a%20b/");
    CHECK(!answer.file && answer.part_count == 0);
    ask_for("HEAD");
    request.query = CHOPIN_STR("q");
    CHECK_EQ_INT(ask("a"), 308);
    CHECK_HEADER("Location", "/a/?q");
    CHECK_EQ_INT(get("/evil.test"), 404);                                        // "//evil.test": an empty segment is no folder
    CHECK_EQ_INT(get("//a"), 404);
    static char path[9000];
    for (size_t len = PATH_MAX - 3; len < PATH_MAX + 3; len++) {                 // however long, it is encoded, and on this host
        memset(path, '"', len);
        path[0] = '/';
        path[len] = 0;
        chopin_str location = chopin__path_with_slash(fresh(), tight(path), chopin__absent());
        CHECK_EQ_INT(location.len, 3 * (len - 1) + 2);
    }
}

static void listing_is_escaped_sorted_and_bounded(void) {
    mkdir(at("root/l"), 0755);
    mkdir(at("root/l/zfolder"), 0755);
    put("root/l/b.txt", "12345");
    put("root/l/<script>&\"'.txt", "");
    put("root/l/javascript:alert(1)", "");
    put("root/l/a%2fb?c#d", "");
    put("root/l/.hidden", "");
    put("root/l/new\nline", "");
    put("root/l/\xff\xc3\xa9", "");
    CHECK(mkfifo(at("root/l/fifo"), 0644) == 0);
    CHECK(symlink("b.txt", at("root/l/link")) == 0 && symlink("../../secret", at("root/l/out")) == 0 && symlink("zfolder", at("root/l/linked")) == 0);
    set_time("root/l/b.txt", 784111777, 0);
    CHECK_EQ_INT(get("l/"), 404);
    rules.listing = true;
    CHECK_EQ_INT(get("l/"), 200);
    CHECK_STR(answer.type, "text/html; charset=utf-8");
    CHECK_EQ_INT(answer.length, content_len);
    CHECK(strstr(content, "<title>Index of /l/</title>") && strstr(content, "<a href=\"../\">../</a>"));
    CHECK(strstr(content, "<a href=\"zfolder/\">zfolder/</a><td><td>"));
    CHECK(strstr(content, "<a href=\"b.txt\">b.txt</a><td>5<td>Sun, 06 Nov 1994 08:49:37 GMT\n"));
    CHECK(strstr(content, "<a href=\"%3Cscript%3E%26%22%27.txt\">&lt;script&gt;&amp;&quot;&#39;.txt</a>"));
    CHECK(strstr(content, "<a href=\"javascript%3Aalert%281%29\">") && strstr(content, "<a href=\"a%252fb%3Fc%23d\">"));
    CHECK(strstr(content, "<a href=\"%FF%C3%A9\">\xef\xbf\xbd\xc3\xa9</a>"));
    CHECK(!strstr(content, "hidden") && !strstr(content, "fifo") && !strstr(content, "new") && !strstr(content, "\"out\"") && !strstr(content, "<script"));
    CHECK(atomic_load(&root.walk) || (strstr(content, "<a href=\"link\">link</a><td>5<td>") && strstr(content, "<a href=\"linked/\">linked/</a>")));
    CHECK(strstr(content, "zfolder") < strstr(content, "a%252fb") && strstr(content, "a%252fb") < strstr(content, "\"b.txt\""));
    CHECK(strstr(content, "\"b.txt\"") < strstr(content, "%FF"));
    for (size_t i = 0; i < content_len; i++) CHECK(chopin__utf8_length(content + i, content_len - i) > 0 || ((unsigned char)content[i] & 0xc0) == 0x80);
    CHECK_EQ_INT(get(""), 200);
    CHECK(!strstr(content, "../"));
    CHECK_EQ_INT(get("a/f.txt/"), 404);
    CHECK_EQ_INT(get("missing/"), 404);
    CHECK_EQ_INT(get("l"), 308);
    CHECK(strstr(content, "fewer") == NULL && (get("l/"), strstr(content, "more entries") == NULL));
    rules.max_entries = 3;
    CHECK_EQ_INT(get("l/"), 200);
    CHECK(strstr(content, "more entries") != NULL);
    size_t rows = 0;
    for (const char *p = content; (p = strstr(p, "<tr>")) != NULL; p++) rows++;
    CHECK(rows <= 4);
    rules.max_entries = 1000;
    rules.dot_files = true;
    CHECK_EQ_INT(get("l/"), 200);
    CHECK(strstr(content, ".hidden") != NULL);
    rules.dot_files = false;
    atomic_store(&root.walk, true);
    CHECK_EQ_INT(get("l/"), 200);                                                // no link is listed that would not be served
    CHECK(!strstr(content, "\"link\"") && !strstr(content, "linked"));
    CHECK_EQ_INT(get("gooddir/"), 404);
    rules.listing = false;
}

static void large_listing_is_sorted(void) {
    chopin__entry list[100];
    char names[100][8];
    uint64_t random = 7;
    for (int turn = 0; turn < 200; turn++) {
        size_t count = (size_t)turn % 101 > 100 ? 100 : (size_t)turn % 100;
        for (size_t i = 0; i < count; i++) {
            uint64_t r = chopin__random_next(&random);
            snprintf(names[i], sizeof names[i], "%u", (unsigned)(r % 50));
            list[i] = (chopin__entry){ chopin__str_z(names[i]), i, 0, r >> 63 };
        }
        chopin__entries_sort(list, count);
        for (size_t i = 1; i < count; i++) CHECK(!chopin__entry_before(&list[i], &list[i - 1]));
        uint64_t sum = 0;
        for (size_t i = 0; i < count; i++) sum += list[i].size;
        CHECK_EQ_INT(sum, count ? count * (count - 1) / 2 : 0);
    }
}

/* ---- types ---- */
static chopin_str type_of(const char *path) { return chopin__mime_of(tight(path), rules.types); }

static void types_by_extension(void) {
    static const char *const mine[] = { "js", "text/mine", "Foo", "x/foo", NULL };
    CHECK(CHOPIN__COUNT(chopin__mimes) >= 60);
    for (size_t i = 0; i < CHOPIN__COUNT(chopin__mimes); i++) {
        char path[40];
        snprintf(path, sizeof path, "d.x/f.%.11s", chopin__mimes[i].extension);
        chopin_str type = type_of(path);
        CHECK(i == 0 || memcmp(chopin__mimes[i - 1].extension, chopin__mimes[i].extension, 12) < 0);
        CHECK(chopin__mimes[i].extension[11] == 0 && chopin__is_field_value(type) && strchr(type.ptr, '/'));
        CHECK(type.ptr == (const char *)&chopin__mime_text + chopin__mimes[i].at);
        CHECK(!chopin__starts(type, CHOPIN_STR("text/")) || strstr(type.ptr, "; charset=utf-8"));
    }
    CHECK_STR(type_of("a.HTML"), "text/html; charset=utf-8");
    CHECK_STR(type_of("a/b.c/x.Js"), "text/javascript; charset=utf-8");
    CHECK_STR(type_of("a.tar.gz"), "application/gzip");
    CHECK_STR(type_of("x.webmanifest"), "application/manifest+json");
    static const char *const unknown[] = { "", "a", "a.", "a.b/c", "a.webmanifests", "x.h\xc3\xb6", "a.0", "a.zzzz", "a.htmlx", "a.htm l", "html", "a.js/" };
    for (size_t i = 0; i < CHOPIN__COUNT(unknown); i++) CHECK_STR(type_of(unknown[i]), "application/octet-stream");
    rules.types = mine;
    CHECK_STR(type_of("a.js"), "text/mine");
    CHECK_STR(type_of("a.FOO"), "x/foo");
    CHECK_STR(type_of("a.css"), "text/css; charset=utf-8");
    CHECK_STR(type_of("a"), "application/octet-stream");
    rules.types = NULL;
}

/* ---- dates ---- */
static bool date(const char *text, int64_t *s) { return chopin__date_parse(tight(text), 1700000000, s); }

static void dates_in_three_forms(void) {
    static const char *const same[] = { "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", " Sun, 06 Nov 1994 08:49:37 GMT\t", "Sun Nov 06 08:49:37 1994" };
    static const char *const bad[] = { "", "x", "0", "784111777", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT", "sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 nov 1994 08:49:37 GMT", "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 32 Jan 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 1994 08:49:61 GMT", "Sun, 06 Nov 0000 08:49:37 GMT", "Sun, 29 Feb 1900 08:49:37 GMT", "Sun, 06 Nov -994 08:49:37 GMT",
        "Sun, 06 Nov 19940 08:49:37 GMT", "Sunday, 06-Nov-1994 08:49:37 GMT", "Sunda, 06-Nov-94 08:49:37 GMT", "Mon, 06-Nov-94 08:49:37 GMT", "Sun Nov 6 08:49:37 1994", "Sun Nov  6 08:49:37 94", "Sun, 06 Nov 1994 08:49:37 GMTx" };
    int64_t s, back;
    for (size_t i = 0; i < CHOPIN__COUNT(same); i++) { s = 0; CHECK(date(same[i], &s)); CHECK_EQ_INT(s, 784111777); }
    for (size_t i = 0; i < CHOPIN__COUNT(bad); i++) if (!CHECK(!date(bad[i], &s))) printf("date: %s\n", bad[i]);
    CHECK(date("Thu, 01 Jan 1970 00:00:00 GMT", &s) && s == 0);
    CHECK(date("Thu, 29 Feb 2024 23:59:60 GMT", &s) && s == 1709251200);
    CHECK(date("Sat, 01 Jan 0001 00:00:00 GMT", &s) && s == -62135596800);
    CHECK(date("Fri, 31 Dec 9999 23:59:59 GMT", &s) && s == 253402300799);
    for (size_t n = 0; n < strlen(same[0]); n++) {                                 // no prefix is a date
        char part[64];
        snprintf(part, sizeof part, "%.*s", (int)n, same[0]);
        CHECK(!date(part, &s));
    }
    for (int64_t t = 0; t < 253402300799; t += 86399 * 97 + 12345) {             // what we write is what we read
        char text[30] = "";
        chopin__date_format(text, t);
        CHECK(date(text, &back) && back == t);
    }
    static const char *const days[] = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday" };
    for (size_t i = 0; i < 7; i++) {
        char text[64];
        snprintf(text, sizeof text, "%s, 06-Nov-94 08:49:37 GMT", days[i]);
        CHECK(date(text, &s));
    }
    CHECK(date("Monday, 06-Nov-73 08:49:37 GMT", &s) && s > 3000000000);         // now is 2023-11-14: 2073 is within 50 years ...
    CHECK(date("Monday, 15-Nov-73 08:49:37 GMT", &s) && s < 200000000);          // ... a week later is not: 1973
    CHECK(date("Monday, 06-Nov-99 08:49:37 GMT", &s) && s == 941878177);
    CHECK(!date("Monday, 29-Feb-23 08:49:37 GMT", &s));
}

/* ---- conditions ---- */
static int verdict(const char *method, const char *match, const char *none, const char *modified, const char *unmodified) {
    static const chopin_str etag = { "\"abc\"", 5 };
    chopin__validators v = { etag, 784111777, true };
    chopin__file_request r = { .method = tight(method), .if_match = tight(match), .if_none_match = tight(none), .if_modified_since = tight(modified),
                               .if_unmodified_since = tight(unmodified), .now_s = 1700000000 };
    return chopin__condition(&r, &v);
}

static void conditional_matrix(void) {
    const char *same = "Sun, 06 Nov 1994 08:49:37 GMT", *before = "Sun, 06 Nov 1994 08:49:36 GMT", *after = "Sunday, 06-Nov-94 08:49:38 GMT";
    static const struct { const char *list; bool strong, weak; } lists[] = {
        { "\"abc\"", true, true }, { "W/\"abc\"", false, true }, { "*", true, true }, { " * ", true, true }, { "\"x\"", false, false }, { "\"x\", \"abc\"", true, true }, { "\"x\",\"abc\",\"y\"", true, true },
        { "\"x\" , W/\"abc\"", false, true }, { "W/\"abc\", \"abc\"", true, true }, { ",, \"abc\"", true, true }, { "\"abc\",", true, true }, { "abc", false, false }, { "\"abc", false, false }, { "\"ABC\"", false, false },
        { "w/\"abc\"", false, false }, { "W/abc", false, false }, { "\"a,\"abc\",\"b\"", false, false }, { "\"a,b\", \"abc\"", true, true }, { "\"x\" \"abc\"", false, false }, { "", false, false }, { ",", false, false },
        { "\"*\"", false, false }, { "*, \"x\"", false, false }, { "\"x\", *", false, false }, { "\"\", \"abc\"", true, true }, { "\"a b\", \"abc\"", false, false }, { "W/", false, false }, { "\"", false, false }, { "W/\"", false, false } };
    for (size_t i = 0; i < CHOPIN__COUNT(lists); i++) {
        const char *list = lists[i].list;
        bool ok = CHECK_EQ_INT(verdict("GET", list, NULL, NULL, NULL), lists[i].strong ? 200 : 412);
        ok &= CHECK_EQ_INT(verdict("GET", NULL, list, NULL, NULL), lists[i].weak ? 304 : 200);
        ok &= CHECK_EQ_INT(verdict("HEAD", NULL, list, NULL, NULL), lists[i].weak ? 304 : 200);
        ok &= CHECK_EQ_INT(verdict("PUT", NULL, list, NULL, NULL), lists[i].weak ? 412 : 200);
        if (!ok) printf("list: %s\n", list);
    }
    CHECK_EQ_INT(verdict("GET", NULL, NULL, same, NULL), 304);
    CHECK_EQ_INT(verdict("HEAD", NULL, NULL, after, NULL), 304);
    CHECK_EQ_INT(verdict("GET", NULL, NULL, before, NULL), 200);
    CHECK_EQ_INT(verdict("POST", NULL, NULL, same, NULL), 200);
    CHECK_EQ_INT(verdict("GET", NULL, NULL, "nonsense", NULL), 200);
    CHECK_EQ_INT(verdict("GET", NULL, NULL, NULL, same), 200);
    CHECK_EQ_INT(verdict("GET", NULL, NULL, NULL, after), 200);
    CHECK_EQ_INT(verdict("GET", NULL, NULL, NULL, before), 412);
    CHECK_EQ_INT(verdict("GET", NULL, NULL, NULL, "nonsense"), 200);
    CHECK_EQ_INT(verdict("GET", NULL, NULL, NULL, ""), 200);
    CHECK_EQ_INT(verdict("GET", "\"abc\"", NULL, NULL, before), 200);            // If-Match silences If-Unmodified-Since
    CHECK_EQ_INT(verdict("GET", "\"x\"", NULL, NULL, after), 412);
    CHECK_EQ_INT(verdict("GET", NULL, "\"x\"", same, NULL), 200);                // If-None-Match silences If-Modified-Since
    CHECK_EQ_INT(verdict("GET", NULL, "\"abc\"", before, NULL), 304);
    CHECK_EQ_INT(verdict("GET", "\"abc\"", "\"abc\"", NULL, NULL), 304);         // in that order
    CHECK_EQ_INT(verdict("GET", "\"x\"", "\"abc\"", NULL, NULL), 412);
    CHECK_EQ_INT(verdict("GET", "\"abc\"", "\"x\"", same, before), 200);
    CHECK_EQ_INT(verdict("GET", NULL, "\"abc\"", same, before), 412);
    chopin__validators none = { { NULL, 0 }, -1, false };
    chopin__file_request r = { .method = CHOPIN_STR("GET"), .if_match = CHOPIN_STR("\"abc\"") };
    CHECK_EQ_INT(chopin__condition(&r, &none), 412);
    r.if_match = CHOPIN_STR("*");
    CHECK_EQ_INT(chopin__condition(&r, &none), 200);
    r = (chopin__file_request){ .method = CHOPIN_STR("GET"), .if_modified_since = chopin__str_z(same), .if_unmodified_since = chopin__str_z(before), .if_range = chopin__str_z(same) };
    CHECK_EQ_INT(chopin__condition(&r, &none), 200);                             // without a date, nothing is compared with one
    CHECK(!chopin__condition_range(&r, &none));
}

/* The same through files: the headers that a 304 and a 412 carry. */
static void conditions_on_files(void) {
    char etag[64], modified[64];
    put("root/c.txt", "0123456789");
    set_time("root/c.txt", 784111777, 5);
    rules.cache_control = "max-age=60";
    CHECK_EQ_INT(get("c.txt"), 200);
    snprintf(etag, sizeof etag, "%s", header("ETag"));
    snprintf(modified, sizeof modified, "%s", header("Last-Modified"));
    CHECK(strlen(etag) == 18 && etag[0] == '"' && etag[17] == '"');
    CHECK(strcmp(modified, "Sun, 06 Nov 1994 08:49:37 GMT") == 0);
    CHECK_HEADER("Cache-Control", "max-age=60");
    CHECK_HEADER("X-Content-Type-Options", "nosniff");
    CHECK_HEADER("Accept-Ranges", "bytes");
    CHECK(!header("Vary") && !header("Content-Encoding") && !header("Content-Range") && !header("Content-Disposition"));
    CHECK_EQ_INT(answer.length, 10);
    ask_for("GET");
    request.if_none_match = tight(etag);
    request.range = CHOPIN_STR("bytes=0-1");
    CHECK_EQ_INT(ask("c.txt"), 304);
    CHECK_HEADER("ETag", etag);
    CHECK_HEADER("Last-Modified", modified);
    CHECK_HEADER("Cache-Control", "max-age=60");
    CHECK(!header("Content-Range") && !answer.part_count && content_len == 0);
    ask_for("GET");
    request.if_match = CHOPIN_STR("\"x\"");
    request.range = CHOPIN_STR("bytes=50-");
    CHECK_EQ_INT(ask("c.txt"), 412);
    CHECK(!answer.part_count && content_len == 0 && answer.lines.len == 0);
    ask_for("HEAD");
    request.range = CHOPIN_STR("bytes=0-1");
    CHECK_EQ_INT(ask("c.txt"), 200);                                             // ranges are for GET
    CHECK_EQ_INT(answer.length, 10);
    rules.cache_control = NULL;
    set_time("root/c.txt", 784111777, 6);                                        // one nanosecond
    CHECK_EQ_INT(get("c.txt"), 200);
    CHECK(strcmp(header("ETag"), etag) != 0);
    set_time("root/c.txt", 784111777, 5);
    CHECK_EQ_INT(get("c.txt"), 200);
    CHECK_HEADER("ETag", etag);
    put("root/c2.txt", "0123456789");
    set_time("root/c2.txt", 784111777, 5);
    CHECK(rename(at("root/c2.txt"), at("root/c.txt")) == 0);                     // another inode
    CHECK_EQ_INT(get("c.txt"), 200);
    CHECK(strcmp(header("ETag"), etag) != 0);
    set_time("root/c.txt", now_s + 100000, 0);                                   // Last-Modified is not ahead of Date
    char today[30] = "";
    chopin__date_format(today, now_s);
    CHECK_EQ_INT(get("c.txt"), 200);
    CHECK_HEADER("Last-Modified", today);
    set_time("root/c.txt", -5, 0);
    CHECK_EQ_INT(get("c.txt"), 200);
    CHECK(!header("Last-Modified") && header("ETag"));
}

static void joins_lines_of_one_name(void) {
    chopin__file_request r = { .method = CHOPIN_STR("GET") };
    chopin__arena *a = fresh();
    CHECK(chopin__file_request_add(&r, CHOPIN_H_IF_NONE_MATCH, tight("\"a\""), a) && chopin__file_request_add(&r, CHOPIN_H_IF_NONE_MATCH, tight("\"b\""), a));
    CHECK_STR(r.if_none_match, "\"a\", \"b\"");
    CHECK(chopin__file_request_add(&r, CHOPIN_H_RANGE, tight("bytes=0-1"), a) && chopin__file_request_add(&r, CHOPIN_H_RANGE, tight("bytes=2-3"), a));
    CHECK(chopin__file_request_add(&r, CHOPIN_H_HOST, tight("x"), a) && chopin__file_request_add(&r, CHOPIN_H_IF_MATCH, tight(""), a));
    CHECK(r.if_match.ptr && r.if_match.len == 0 && !r.if_range.ptr && !r.accept_encoding.ptr);
    chopin__range list[16];
    unsigned count;
    CHECK_EQ_INT(chopin__range_parse(r.range, 100, 16, list, &count), 200);      // two Range lines are no range
    CHECK(chopin__file_request_add(&r, CHOPIN_H_IF_RANGE, tight("\"a\""), a) && chopin__file_request_add(&r, CHOPIN_H_IF_RANGE, tight("\"a\""), a));
    chopin__validators v = { CHOPIN_STR("\"a\""), 0, true };
    CHECK(!chopin__condition_range(&r, &v));
    CHECK(chopin__file_request_add(&r, CHOPIN_H_ACCEPT_ENCODING, tight("x"), a) && chopin__file_request_add(&r, CHOPIN_H_IF_MODIFIED_SINCE, tight("x"), a)
          && chopin__file_request_add(&r, CHOPIN_H_IF_UNMODIFIED_SINCE, tight("x"), a));
    CHECK(r.accept_encoding.ptr && r.if_modified_since.ptr && r.if_unmodified_since.ptr);
}

/* ---- ranges ---- */
static const char *ranges_of(const char *text, uint64_t size, unsigned max) {
    static char out[2000];
    chopin__range *list = malloc(max * sizeof *list);
    unsigned count;
    int status = chopin__range_parse(tight(text), size, max, list, &count);
    size_t n = (size_t)snprintf(out, sizeof out, "%d", status);
    uint64_t sum = 0;
    for (unsigned i = 0; i < count; i++) {
        n += (size_t)snprintf(out + n, sizeof out - n, " %llu+%llu", (unsigned long long)list[i].at, (unsigned long long)list[i].len);
        CHECK(list[i].len > 0 && list[i].at < size && list[i].len <= size - list[i].at);
        sum += list[i].len;
    }
    CHECK(sum <= size && (count > 0) == (status == 206));                        // never more than the file
    free(list);
    return out;
}

static void range_matrix(void) {
    static const struct { const char *text; uint64_t size; const char *want; } cases[] = {
        { "bytes=0-0", 10, "206 0+1" }, { "bytes=0-9", 10, "206 0+10" }, { "bytes=0-", 10, "206 0+10" }, { "bytes=9-", 10, "206 9+1" }, { "bytes=-1", 10, "206 9+1" }, { "bytes=-10", 10, "206 0+10" }, { "bytes=-11", 10, "206 0+10" },
        { "bytes=-0", 10, "416" }, { "bytes=-00", 10, "416" }, { "bytes=10-", 10, "416" }, { "bytes=10-20", 10, "416" }, { "bytes=5-2", 10, "200" }, { "bytes=0-0,5-2", 10, "200" }, { "bytes=50-2", 10, "200" },
        { "bytes=2-5", 10, "206 2+4" }, { "bytes=2-99", 10, "206 2+8" }, { "bytes=9-9", 10, "206 9+1" }, { "bytes=00000000000000000000002-5", 10, "206 2+4" },
        { "bytes=99999999999999999999-", 10, "416" }, { "bytes=0-99999999999999999999", 10, "206 0+10" }, { "bytes=-99999999999999999999", 10, "206 0+10" }, { "bytes=99999999999999999999-99999999999999999999", 10, "416" },
        { "bytes=18446744073709551615-", 10, "416" }, { "bytes=18446744073709551616-18446744073709551617", 10, "416" }, { "bytes=0-18446744073709551615", 10, "206 0+10" }, { "bytes=99999999999999999999-5", 10, "200" },
        { "bytes=0-0,-1", 10, "206 0+1 9+1" }, { "bytes=-1,0-0", 10, "206 9+1 0+1" }, { "bytes=0-1, 4-5 ,7-7", 10, "206 0+2 4+2 7+1" }, { "bytes=0-1,20-30", 10, "206 0+2" }, { "bytes=20-30,-0", 10, "416" },
        { "bytes=0-4,2-6", 10, "206 0+7" }, { "bytes=2-6,0-4", 10, "206 0+7" }, { "bytes=0-0,0-0,0-0", 10, "206 0+1" }, { "bytes=0-,0-,0-,0-", 10, "206 0+10" }, { "bytes=0-1,4-5,8-9,1-8", 10, "206 0+10" },
        { "bytes=0-1,2-3", 10, "206 0+2 2+2" }, { "bytes=8-9,0-1,4-5,5-8", 10, "206 0+2 4+6" }, { "bytes=-5,0-5", 10, "206 0+10" },
        { "bytes=", 10, "200" }, { "bytes=,", 10, "200" }, { "bytes=,0-0,", 10, "206 0+1" }, { "bytes= 0-0", 10, "206 0+1" }, { "bytes=-", 10, "200" }, { "bytes=--1", 10, "200" }, { "bytes=-1-", 10, "200" }, { "bytes=1", 10, "200" },
        { "bytes=a-b", 10, "200" }, { "bytes=1-b", 10, "200" }, { "bytes=+1-2", 10, "200" }, { "bytes=1 -2", 10, "200" }, { "bytes=1- 2", 10, "200" }, { "bytes=0x1-2", 10, "200" }, { "bytes=1-2-3", 10, "200" }, { "bytes=0-0;1-1", 10, "200" },
        { "bytes", 10, "200" }, { "", 10, "200" }, { "=0-0", 10, "200" }, { "bytes 0-0", 10, "200" }, { "bytes =0-0", 10, "200" }, { "items=0-0", 10, "200" }, { "seconds=1-2", 10, "200" }, { "BYTES=0-0", 10, "206 0+1" }, { "bytes=bytes=0-0", 10, "200" },
        { "bytes=0-0", 0, "200" }, { "bytes=-1", 0, "200" }, { "bytes=0-", 0, "200" }, { "bytes=-0", 0, "200" }, { "bytes=0-0", 1, "206 0+1" }, { "bytes=1-", 1, "416" },
        { "bytes=5368709120-", UINT64_C(5368709121), "206 5368709120+1" }, { "bytes=4294967295-4294967296", UINT64_C(5368709120), "206 4294967295+2" }, { "bytes=-4294967297", UINT64_C(5368709120), "206 1073741823+4294967297" },
        { "bytes=9223372036854775806-", INT64_MAX, "206 9223372036854775806+1" }, { "bytes=0-", INT64_MAX, "206 0+9223372036854775807" } };
    for (size_t i = 0; i < CHOPIN__COUNT(cases); i++) {
        const char *got = ranges_of(cases[i].text, cases[i].size, 16);
        if (!CHECK(strcmp(got, cases[i].want) == 0)) printf("range: %s of %llu: %s, expected %s\n", cases[i].text, (unsigned long long)cases[i].size, got, cases[i].want);
    }
    char many[9000] = "bytes=";
    for (int i = 0; i < 16; i++) sprintf(many + strlen(many), "%s%d-%d", i ? "," : "", 2 * i, 2 * i);
    CHECK(strncmp(ranges_of(many, 100, 16), "206 0+1 2+1", 11) == 0);
    CHECK(strcmp(ranges_of(many, 100, 15), "200") == 0);
    strcat(many, ",200-");                                                       // those that do not exist count, too
    CHECK(strcmp(ranges_of(many, 100, 16), "200") == 0);
    strcpy(many, "bytes=");
    for (int i = 0; i < 1000; i++) strcat(many, i ? ",0-" : "0-");
    CHECK(strcmp(ranges_of(many, 100, 16), "200") == 0);
    CHECK(strcmp(ranges_of("bytes=0-0,1-1", 100, 1), "200") == 0);
}

/* Against the definition: every byte that was asked for, once. */
static void merged_ranges_are_the_union(void) {
    uint64_t random = 11;
    for (int turn = 0; turn < 20000; turn++) {
        char text[400] = "bytes=";
        bool want[20] = { false }, got[20] = { false };
        unsigned n = 1 + (unsigned)(chopin__random_next(&random) % 8), count;
        for (unsigned i = 0; i < n; i++) {
            uint64_t r = chopin__random_next(&random);
            unsigned from = (unsigned)(r % 20), to = from + (unsigned)(r >> 32) % (20 - from);
            sprintf(text + strlen(text), "%s%u-%u", i ? "," : "", from, to);
            for (unsigned k = from; k <= to; k++) want[k] = true;
        }
        chopin__range list[8];
        CHECK_EQ_INT(chopin__range_parse(chopin__str_z(text), 20, 8, list, &count), 206);
        for (unsigned i = 0; i < count; i++) {
            for (uint64_t k = list[i].at; k < list[i].at + list[i].len; k++) { CHECK(!got[k]); got[k] = true; }
        }
        CHECK(memcmp(want, got, sizeof want) == 0);
    }
}

static void ranges_of_files(void) {
    put("root/r.txt", "0123456789");
    set_time("root/r.txt", 784111777, 0);
    CHECK_EQ_INT(get_range("r.txt", "bytes=2-4"), 206);
    CHECK_CONTENT("234");
    CHECK_EQ_INT(answer.length, 3);
    CHECK_HEADER("Content-Range", "bytes 2-4/10");
    CHECK_STR(answer.type, "text/plain; charset=utf-8");
    CHECK_EQ_INT(get_range("r.txt", "bytes=-1"), 206);
    CHECK_HEADER("Content-Range", "bytes 9-9/10");
    CHECK_EQ_INT(get_range("r.txt", "bytes=10-"), 416);
    CHECK_HEADER("Content-Range", "bytes */10");
    CHECK(content_len == 0 && !answer.part_count);
    CHECK_EQ_INT(get_range("r.txt", "bytes=5-2"), 200);
    CHECK(!header("Content-Range") && content_len == 10);
    put("root/empty.txt", "");
    CHECK_EQ_INT(get_range("empty.txt", "bytes=0-0"), 200);
    CHECK_EQ_INT(answer.length, 0);
    CHECK_EQ_INT(get("r.txt"), 200);
    char etag[64], weak[80];
    snprintf(etag, sizeof etag, "%s", header("ETag"));
    snprintf(weak, sizeof weak, "W/%s", etag);
    const struct { const char *if_range; int status; } cases[] = { { etag, 206 }, { weak, 200 }, { "\"x\"", 200 }, { "Sun, 06 Nov 1994 08:49:37 GMT", 206 }, { "Sunday, 06-Nov-94 08:49:37 GMT", 206 },
        { "Sun, 06 Nov 1994 08:49:38 GMT", 200 }, { "Sun, 06 Nov 1994 08:49:36 GMT", 200 }, { "*", 200 }, { "", 200 }, { "nonsense", 200 } };
    for (size_t i = 0; i < CHOPIN__COUNT(cases); i++) {
        ask_for("GET");
        request.range = CHOPIN_STR("bytes=0-0");
        request.if_range = tight(cases[i].if_range);
        if (!CHECK_EQ_INT(ask("r.txt"), cases[i].status)) printf("If-Range: %s\n", cases[i].if_range);
        request.range = CHOPIN_STR("bytes=90-");                                 // what does not hold hides the 416 as well
        CHECK_EQ_INT(ask("r.txt"), cases[i].status == 206 ? 416 : 200);
    }
    ask_for("GET");
    request.if_range = tight(etag);
    CHECK_EQ_INT(ask("r.txt"), 200);                                             // without Range it means nothing
    set_time("root/r.txt", now_s - 1, 0);                                        // might change again within that second: no strong validator
    char text[30] = "";
    chopin__date_format(text, now_s - 1);
    ask_for("GET");
    request.range = CHOPIN_STR("bytes=0-0");
    request.if_range = tight(text);
    CHECK_EQ_INT(ask("r.txt"), 200);
}

static void multipart_is_exact(void) {
    put("root/m.css", "0123456789");
    CHECK_EQ_INT(get_range("m.css", "bytes=0-1,4-5,-1"), 206);
    CHECK_EQ_INT(answer.length, content_len);
    CHECK_EQ_INT(answer.part_count, 3);
    CHECK(!header("Content-Range"));
    const char *kind = "multipart/byteranges; boundary=";
    if (!CHECK(chopin__starts(answer.type, chopin__str_z(kind)))) return;
    char mark[80], want[1000];
    snprintf(mark, sizeof mark, "%.*s", (int)(answer.type.len - strlen(kind)), answer.type.ptr + strlen(kind));
    CHECK(strlen(mark) == 32);
    for (const char *p = mark; *p; p++) CHECK(chopin__hex_value(*p) >= 0);
    snprintf(want, sizeof want, "--%s\r\nContent-Type: text/css; charset=utf-8\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n"
             "--%s\r\nContent-Type: text/css; charset=utf-8\r\nContent-Range: bytes 4-5/10\r\n\r\n45\r\n"
             "--%s\r\nContent-Type: text/css; charset=utf-8\r\nContent-Range: bytes 9-9/10\r\n\r\n9\r\n--%s--\r\n", mark, mark, mark, mark);
    CHECK_CONTENT(want);
    CHECK_EQ_INT(get_range("m.css", "bytes=0-1,4-5"), 206);
    CHECK(strstr(content, mark) == NULL);                                        // another one each time
    CHECK_EQ_INT(get_range("m.css", "bytes=0-4,3-5,20-"), 206);                  // one is left: no multipart
    CHECK_STR(answer.type, "text/css; charset=utf-8");
    CHECK_CONTENT("012345");
    static const char thousand[] = "bytes=0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-";
    CHECK_EQ_INT(get_range("m.css", thousand), 200);
    CHECK_CONTENT("0123456789");
    for (int length = 1; length <= 100; length++) {                              // every width of the numbers
        char range[64];
        static char text[200];
        memset(text, 'x', 200);
        text[100 + length - 1] = 0;
        put("root/m2", text);
        snprintf(range, sizeof range, "bytes=0-0,%d-%d", length, length + 5);
        CHECK_EQ_INT(get_range("m2", range), 206);
        CHECK_EQ_INT(answer.length, content_len);
    }
}

static void files_over_4_gib(void) {
    int fd = open(at("root/huge.bin"), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    off_t size = (off_t)5 << 30;
    if (!CHECK(ftruncate(fd, size) == 0 && pwrite(fd, "end", 3, size - 3) == 3)) { close(fd); return; }
    close(fd);
    CHECK_EQ_INT(get("huge.bin"), 200);
    CHECK_EQ_INT(answer.length, 5368709120);
    CHECK_EQ_INT(get_range("huge.bin", "bytes=-3"), 206);
    CHECK_CONTENT("end");
    CHECK_HEADER("Content-Range", "bytes 5368709117-5368709119/5368709120");
    CHECK_EQ_INT(get_range("huge.bin", "bytes=0-4294967296,5368709119-"), 206);
    CHECK_EQ_INT(answer.length, 4294967297 + 1 + answer.parts[0].head.len + answer.parts[1].head.len + answer.tail.len);
    CHECK_EQ_INT(get_range("huge.bin", "bytes=5368709120-"), 416);
    CHECK_HEADER("Content-Range", "bytes */5368709120");
    unlink(at("root/huge.bin"));
}

/* ---- codings ---- */
static int coding(const char *accept, unsigned offered) {
    chopin__accepted w = chopin__accepted_read(tight(accept));
    return chopin__coding_choose(&w, offered);
}

static void negotiation_matrix(void) {
    enum { B = 1 << CHOPIN__BR, Z = 1 << CHOPIN__ZSTD, G = 1 << CHOPIN__GZIP, D = 1 << CHOPIN__DEFLATE, ALL = B | Z | G | D };
    static const struct { const char *accept; unsigned offered; int want; } cases[] = {
        { NULL, ALL, -1 }, { "", ALL, -1 }, { "gzip", ALL, CHOPIN__GZIP }, { "GZip", ALL, CHOPIN__GZIP }, { "x-gzip", ALL, CHOPIN__GZIP }, { "gzip, deflate, br, zstd", ALL, CHOPIN__BR }, { "gzip, deflate, br, zstd", ALL & ~B, CHOPIN__ZSTD },
        { "gzip, deflate, br", G | D, CHOPIN__GZIP }, { "gzip", B, -1 }, { "gzip", 0, -1 }, { "br;q=0.5, gzip;q=0.8", ALL, CHOPIN__GZIP }, { "br;q=0.5, gzip;q=0.8", B, CHOPIN__BR }, { "gzip;q=0", ALL, -1 }, { "gzip;q=0.000", ALL, -1 },
        { "gzip;q=0.001", ALL, CHOPIN__GZIP }, { "*", ALL, CHOPIN__BR }, { "*;q=0", ALL, -1 }, { "br;q=0, *", ALL, CHOPIN__ZSTD }, { "gzip, *;q=0", ALL, CHOPIN__GZIP }, { "identity", ALL, -1 }, { "identity, gzip", ALL, CHOPIN__GZIP },
        { "identity;q=1, gzip;q=0.5", ALL, -1 }, { "identity;q=0.5, gzip;q=1", ALL, CHOPIN__GZIP }, { "identity;q=0", ALL, -1 }, { "identity;q=0, br;q=0.1", ALL, CHOPIN__BR }, { "gzip;q=0.3, *;q=0.5", G, -1 }, { "gzip;q=0.3, *;q=0.5", ALL, CHOPIN__BR },
        { "gzip ; q=1.000 , br ; q=0.999", ALL, CHOPIN__GZIP }, { "gzip;q=1.001", ALL, -1 }, { "gzip;q=2", ALL, -1 }, { "gzip;q=-1", ALL, -1 }, { "gzip;q=0.1234", ALL, -1 }, { "gzip;q=", ALL, -1 }, { "gzip;q=a", ALL, -1 }, { "gzip;Q=1", ALL, CHOPIN__GZIP },
        { "gzip;q=0.", ALL, -1 }, { "gzip;q=1.", ALL, CHOPIN__GZIP }, { "gzip;q=.5", ALL, -1 }, { "gzip;q=0.5.", ALL, -1 }, { ",,gzip,,", ALL, CHOPIN__GZIP }, { "gzip;q=0, gzip", ALL, -1 }, { "gzipp, xgzip, x-", ALL, -1 }, { "gzip;", ALL, CHOPIN__GZIP },
        { "gzip;level=9;q=0.2, br;q=0.1", ALL, CHOPIN__GZIP }, { ";q=1", ALL, -1 }, { "*;q=x, gzip;q=0.1", ALL, CHOPIN__GZIP }, { "compress, x-compress", ALL, -1 } };
    for (size_t i = 0; i < CHOPIN__COUNT(cases); i++) {
        if (!CHECK_EQ_INT(coding(cases[i].accept, cases[i].offered), cases[i].want)) printf("Accept-Encoding: %s\n", cases[i].accept);
    }
}

static int get_coded(const char *path, const char *accept) {
    ask_for("GET");
    request.accept_encoding = tight(accept);
    return ask(path);
}

static void siblings(void) {
    char plain[64], coded[64];
    CHECK_EQ_INT(get_coded("p.js", "gzip, br"), 200);
    CHECK_HEADER("Content-Encoding", "br");
    CHECK_HEADER("Vary", "Accept-Encoding");
    CHECK_STR(answer.type, "text/javascript; charset=utf-8");
    CHECK_CONTENT("BROTLI");
    CHECK_EQ_INT(answer.length, 6);
    snprintf(coded, sizeof coded, "%s", header("ETag"));
    CHECK_EQ_INT(get_coded("p.js", NULL), 200);
    CHECK(!header("Content-Encoding"));
    CHECK_HEADER("Vary", "Accept-Encoding");
    CHECK_CONTENT("plain");
    snprintf(plain, sizeof plain, "%s", header("ETag"));
    CHECK(strcmp(plain, coded) != 0);
    CHECK_EQ_INT(get_coded("p.js", "gzip"), 200);
    CHECK_HEADER("Content-Encoding", "gzip");
    CHECK_CONTENT("GZIP!");
    CHECK_EQ_INT(get_coded("p.js", "br;q=0, gzip;q=0.5, zstd"), 200);
    CHECK_HEADER("Content-Encoding", "zstd");
    CHECK_EQ_INT(get_coded("p.js", "identity, br;q=0.5"), 200);
    CHECK(!header("Content-Encoding"));
    ask_for("GET");
    request.accept_encoding = CHOPIN_STR("br");
    request.if_none_match = tight(coded);
    CHECK_EQ_INT(ask("p.js"), 304);
    CHECK_HEADER("Vary", "Accept-Encoding");
    CHECK_HEADER("ETag", coded);
    request.accept_encoding = chopin__absent();
    CHECK_EQ_INT(ask("p.js"), 200);                                              // that tag is not this representation's
    ask_for("GET");
    request.accept_encoding = CHOPIN_STR("br");
    request.range = CHOPIN_STR("bytes=0-1");
    CHECK_EQ_INT(ask("p.js"), 206);
    CHECK_CONTENT("BR");
    CHECK_HEADER("Content-Range", "bytes 0-1/6");
    CHECK_HEADER("Content-Encoding", "br");
    request.range = CHOPIN_STR("bytes=0-1,3-4");
    CHECK_EQ_INT(ask("p.js"), 200);                                              // several parts of coded bytes: the whole
    CHECK_CONTENT("BROTLI");
    CHECK_EQ_INT(get_coded("p.js.gz", "gzip"), 200);                             // asked for as such it is a file like others
    CHECK_STR(answer.type, "application/gzip");
    CHECK(!header("Content-Encoding"));
}

static void bad_siblings(void) {
    static const char *const names[] = { "older.js", "folder.js", "fifo.js", "out.js", "linked.js", "none.js", "same.js" };
    for (size_t i = 0; i < CHOPIN__COUNT(names); i++) {
        CHECK_EQ_INT(get_coded(names[i], "gzip"), 200);
        if (!CHECK(!header("Content-Encoding"))) printf("sibling of %s\n", names[i]);
        CHECK_HEADER("Vary", "Accept-Encoding");
        CHECK_CONTENT("plain");
    }
    CHECK_EQ_INT(get_coded("only.js", "gzip"), 404);                             // only.js.gz alone is no only.js
}

static void precompressed_only_when_valid(void) {
    static const char *const names[] = { "p.js", "older.js", "folder.js", "fifo.js", "out.js", "linked.js", "none.js", "same.js" };
    for (size_t i = 0; i < CHOPIN__COUNT(names); i++) {
        char name[64];
        snprintf(name, sizeof name, "root/%s", names[i]);
        put(name, "plain");
        set_time(name, 1000000, 500);
    }
    put("root/p.js.br", "BROTLI");
    put("root/p.js.zst", "ZSTD");
    put("root/p.js.gz", "GZIP!");
    set_time("root/p.js.gz", 1000000, 500);                                      // as old as it
    put("root/older.js.gz", "GZIP");
    set_time("root/older.js.gz", 1000000, 499);
    mkdir(at("root/folder.js.gz"), 0755);
    CHECK(mkfifo(at("root/fifo.js.gz"), 0644) == 0);
    put("secret.gz", "SECRET");
    CHECK(symlink("../secret.gz", at("root/out.js.gz")) == 0 && symlink("loop.js.gz", at("root/linked.js.gz")) == 0);
    CHECK(link(at("root/same.js"), at("root/same.js.gz")) == 0);
    put("root/only.js.gz", "GZIP");
    CHECK_EQ_INT(get_coded("p.js", "gzip, br"), 200);                            // only if it was asked for
    CHECK(!header("Content-Encoding") && !header("Vary"));
    rules.precompressed = true;
    each_way(siblings);
    each_way(bad_siblings);
    rules.cache_ms = 1000;
    each_way(siblings);
    each_way(bad_siblings);
    rules.cache_ms = 0;
    rules.precompressed = false;
}

/* ---- Content-Disposition ---- */
static void disposition_matrix(void) {
    static const char *const cases[][2] = { { "a.txt", "attachment; filename=\"a.txt\"" }, { "a b;c.txt", "attachment; filename=\"a b;c.txt\"" },
        { "a\"b\\c", "attachment; filename=\"a\\\"b\\\\c\"; filename*=UTF-8''a%22b%5Cc" }, { "100%.txt", "attachment; filename=\"100%.txt\"; filename*=UTF-8''100%25.txt" },
        { "na\xc3\xafve \xe2\x82\xac.pdf", "attachment; filename=\"na_ve _.pdf\"; filename*=UTF-8''na%C3%AFve%20%E2%82%AC.pdf" }, { "x\xff.txt", "attachment; filename=\"x_.txt\"; filename*=UTF-8''x%EF%BF%BD.txt" },
        { "../../etc/passwd", "attachment; filename=\"passwd\"" }, { "a*'()b\xc3\xa9", "attachment; filename=\"a*'()b_\"; filename*=UTF-8''a%2A%27%28%29b%C3%A9" }, { "!#$&+-.^_`|~\xc3\xa9", "attachment; filename=\"!#$&+-.^_`|~_\"; filename*=UTF-8''!#$&+-.^_`|~%C3%A9" } };
    for (size_t i = 0; i < CHOPIN__COUNT(cases); i++) CHECK_STR(chopin__disposition(fresh(), true, tight(cases[i][0])), cases[i][1]);
    CHECK_STR(chopin__disposition(fresh(), false, tight("a.txt")), "inline; filename=\"a.txt\"");
    static const char *const bad[] = { "", "a\r\nX: y", "a\n", "\t", "a\x7f", "\x01", "a/", "/" };
    for (size_t i = 0; i < CHOPIN__COUNT(bad); i++) CHECK(!chopin__disposition(fresh(), true, tight(bad[i])).ptr);
    CHECK(!chopin__disposition(fresh(), true, chopin__str("a\0b", 3)).ptr);
    ask_for("GET");
    request.download = CHOPIN_STR("R\xc3\xa9sum\xc3\xa9.txt");
    CHECK_EQ_INT(ask("a/f.txt"), 200);
    CHECK_HEADER("Content-Disposition", "attachment; filename=\"R_sum_.txt\"; filename*=UTF-8''R%C3%A9sum%C3%A9.txt");
    rules.attachment = true;
    rules.sniff = true;
    CHECK_EQ_INT(get("a/f.txt"), 200);
    CHECK_HEADER("Content-Disposition", "attachment; filename=\"f.txt\"");
    CHECK(!header("X-Content-Type-Options"));
    rules.attachment = rules.sniff = false;
}

/* ---- what is kept ---- */
static void hits_cost_no_heap_and_no_open(void) {
    rules.cache_ms = 1000;
    rules.precompressed = true;
    put("root/h.txt", "hit");
    CHECK_EQ_INT(get_coded("h.txt", "br, gzip"), 200);
    uint64_t calls = heap.calls, opens = files.opens;
    for (int i = 0; i < 100; i++) { CHECK_EQ_INT(get_coded("h.txt", "br, gzip"), 200); CHECK_CONTENT("hit"); }
    CHECK_EQ_INT(heap.calls, calls);
    CHECK_EQ_INT(files.opens, opens);
    CHECK_EQ_INT(get("missing.txt"), 404);
    opens = files.opens;
    CHECK_EQ_INT(get("missing.txt"), 404);
    CHECK_EQ_INT(get("a"), 308);
    CHECK_EQ_INT(get("a"), 308);
    CHECK_EQ_INT(files.opens, opens + 1);
    now_ms += 999;
    CHECK_EQ_INT(get("missing.txt"), 404);
    CHECK_EQ_INT(files.opens, opens + 1);
    now_ms++;
    CHECK_EQ_INT(get("missing.txt"), 404);                                       // at most once per cache_ms
    CHECK_EQ_INT(get("missing.txt"), 404);
    CHECK_EQ_INT(files.opens, opens + 2);
    rules.cache_ms = 0;
    rules.precompressed = false;
    chopin__files_sweep(&files, INT64_MAX);
    CHECK_EQ_INT(files.live, 0);
    calls = heap.calls;
    for (int i = 0; i < 100; i++) CHECK_EQ_INT(get("h.txt"), 200);               // nothing is kept, but blocks are pooled
    CHECK_EQ_INT(heap.calls, calls);
}

static void changes_are_seen_after_cache_ms(void) {
    rules.cache_ms = 1000;
    put("root/k.txt", "one");
    CHECK_EQ_INT(get("k.txt"), 200);
    put("root/k.new", "other");
    CHECK(rename(at("root/k.new"), at("root/k.txt")) == 0);
    CHECK_EQ_INT(get("k.txt"), 200);
    CHECK_CONTENT("one");
    now_ms += 1000;
    CHECK_EQ_INT(get("k.txt"), 200);
    CHECK_CONTENT("other");
    CHECK_EQ_INT(files.live, 1);                                                 // what it was before is closed
    unlink(at("root/k.txt"));
    now_ms += 1000;
    CHECK_EQ_INT(get("k.txt"), 404);
    put("root/k.txt", "back");
    now_ms += 1000;
    CHECK_EQ_INT(get("k.txt"), 200);
    CHECK_CONTENT("back");
    set_time("root/k.txt", 5000, 0);
    char etag[64];
    snprintf(etag, sizeof etag, "%s", header("ETag"));
    now_ms += 1000;
    CHECK_EQ_INT(get("k.txt"), 200);                                             // written in place: same inode
    CHECK(strcmp(header("ETag"), etag) != 0);
    CHECK(symlink("../secret", at("root/k.new")) == 0 && rename(at("root/k.new"), at("root/k.txt")) == 0);
    now_ms += 1000;
    CHECK_EQ_INT(get("k.txt"), 404);
    unlink(at("root/k.txt"));
    rules.cache_ms = 0;
    chopin__files_sweep(&files, INT64_MAX);
}

/* The entry goes, the file that a reply still sends from does not. */
static void evicted_files_stay_open_until_released(void) {
    rules.cache_ms = 1000;
    put("root/e.txt", "being sent");
    ask_for("GET");
    chopin_str path = CHOPIN_STR("e.txt");
    CHECK_EQ_INT(chopin__files_answer(&files, &rules, &request, path, fresh(), &answer), 200);
    chopin__file *file = answer.file;
    CHECK_EQ_INT(file->refs, 2);
    for (int i = 0; i < 400; i++) {
        char name[64];
        snprintf(name, sizeof name, "root/e%d", i);
        put(name, "x");
        CHECK_EQ_INT(get(name + 5), 200);
        CHECK(files.live <= (uint32_t)files.sets * CHOPIN__FILES_WAYS + 1);
    }
    CHECK_EQ_INT(file->refs, 1);
    char text[16] = "";
    CHECK(pread(file->fd, text, 10, 0) == 10 && strcmp(text, "being sent") == 0);
    int fd = file->fd;
    chopin__file_release(file);
    CHECK(fcntl(fd, F_GETFD) < 0);
    answer.file = NULL;
    for (int i = 0; i < 400; i++) { char name[64]; snprintf(name, sizeof name, "root/e%d", i); unlink(at(name)); }
    rules.cache_ms = 0;
    chopin__files_sweep(&files, INT64_MAX);
    CHECK_EQ_INT(files.live, 0);
}

static void guessed_names_displace_no_file(void) {
    rules.cache_ms = 1000000;
    chopin__files_sweep(&files, INT64_MAX);
    put("root/stay.txt", "stay");
    CHECK_EQ_INT(get("stay.txt"), 200);
    for (int i = 0; i < 2000; i++) { char name[64]; snprintf(name, sizeof name, "guess%d", i); CHECK_EQ_INT(get(name), 404); }
    uint64_t opens = files.opens;
    CHECK_EQ_INT(get("stay.txt"), 200);
    CHECK_EQ_INT(files.opens, opens);
    rules.cache_ms = 0;
    chopin__files_sweep(&files, INT64_MAX);
}

static void least_recently_used_goes_first(void) {
    chopin__files one;
    CHECK(chopin__files_init(&one, &heap, 4) && one.sets == 1);
    static const char *const names[] = { "u0", "u1", "u2", "u3", "u4" };
    for (int i = 0; i < 5; i++) { char name[16]; snprintf(name, sizeof name, "root/%s", names[i]); put(name, names[i]); }
    for (int i = 0; i < 4; i++) chopin__file_release(chopin__files_get(&one, &root, chopin__str_z(names[i]), 0, 1000));
    chopin__file_release(chopin__files_get(&one, &root, CHOPIN_STR("u0"), 5, 1000));
    chopin__file_release(chopin__files_get(&one, &root, CHOPIN_STR("u4"), 6, 1000));
    CHECK(chopin__files_find(one.slots, &root, CHOPIN_STR("u0")) < 4 && chopin__files_find(one.slots, &root, CHOPIN_STR("u1")) == 4);
    CHECK_EQ_INT(one.opens, 5);
    CHECK_EQ_INT(one.hits, 1);
    chopin__file_release(chopin__files_get(&one, &root, CHOPIN_STR("nothing"), 6, 1000));        // four files: no room for what is not there
    CHECK(chopin__files_find(one.slots, &root, CHOPIN_STR("nothing")) == 4);
    one.opens--;
    chopin__files_root other = { .fd = root.fd };
    chopin__file_release(chopin__files_get(&one, &other, CHOPIN_STR("u0"), 7, 1000));           // the same name below another root is another file
    CHECK_EQ_INT(one.opens, 6);
    chopin__files_sweep(&one, 6);                                                // not asked for since
    CHECK_EQ_INT(one.live, 2);
    chopin__files_done(&one);
    CHECK(chopin__files_init(&one, &heap, 3) && !one.slots);
    chopin__files_done(&one);
    for (uint32_t slots = 4; slots < 70; slots++) {
        CHECK(chopin__files_init(&one, &heap, slots) && one.sets * 4 <= slots && one.sets * 8 > slots && (one.sets & (one.sets - 1)) == 0);
        chopin__files_done(&one);
    }
}

static void emfile_empties_what_is_kept(void) {
    struct rlimit was, tight_limit;
    rules.cache_ms = 1000;
    for (int i = 0; i < 8; i++) { char name[16]; snprintf(name, sizeof name, "root/v%d", i); put(name, "v"); CHECK_EQ_INT(get(name + 5), 200); }
    CHECK(files.live > 4);
    int next = dup(0);
    close(next);
    getrlimit(RLIMIT_NOFILE, &was);
    tight_limit = was;
    tight_limit.rlim_cur = (rlim_t)next;                                         // all below are in use
    setrlimit(RLIMIT_NOFILE, &tight_limit);
    CHECK_EQ_INT(get("a/f.txt"), 200);
    setrlimit(RLIMIT_NOFILE, &was);
    CHECK_EQ_INT(files.live, 1);
    chopin__files_sweep(&files, INT64_MAX);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 3, was.rlim_max });
    CHECK_EQ_INT(get("a/f.txt"), 503);
    setrlimit(RLIMIT_NOFILE, &was);
    CHECK_EQ_INT(get("a/f.txt"), 200);                                           // that it failed once is not kept
    rules.cache_ms = 0;
    chopin__files_sweep(&files, INT64_MAX);
}

/* Whatever cannot be allocated: a 503, and nothing stays behind. */
static void every_allocation_may_fail(void) {
    static const char *const paths[] = { "p.js", "l/", "a", "a/f.txt", "", "missing" };
    static const char *const index[] = { "index.html", NULL };
    int before = open_descriptors();
    rules.precompressed = rules.listing = true;
    rules.index = index;
    for (int cache = 0; cache < 2; cache++) {
        rules.cache_ms = cache ? 1000 : 0;
        for (size_t i = 0; i < CHOPIN__COUNT(paths); i++) {
            for (size_t limit = 0; limit < 60000; limit += limit < 2048 ? 96 : 6000) {
                for (int fail = 0; fail < 3; fail++) {
                    chopin__arena small;
                    char first[64];
                    chopin__files_sweep(&files, INT64_MAX);
                    chopin__pool_done(&files.pool);
                    files.pool.keep = CHOPIN__FILES_SPARE;
                    chopin__arena_init(&small, &heap, first, sizeof first, limit);
                    ask_for("GET");
                    request.accept_encoding = CHOPIN_STR("br");
                    request.range = CHOPIN_STR("bytes=0-0,2-3");
                    allocations_left = fail == 2 ? -1 : fail;
                    int status = chopin__files_answer(&files, &rules, &request, chopin__str_z(paths[i]), &small, &answer);
                    allocations_left = -1;
                    CHECK(status == 200 || status == 206 || status == 308 || status == 404 || status == 503);
                    CHECK(status != 200 || answer.lines.ptr);
                    let_go();
                    chopin__arena_reset(&small);
                }
            }
        }
    }
    rules.precompressed = rules.listing = false;
    rules.index = NULL;
    rules.cache_ms = 0;
    chopin__files_sweep(&files, INT64_MAX);
    CHECK_EQ_INT(files.live, 0);
    CHECK_EQ_INT(open_descriptors(), before);
    chopin__files none;
    allocations_left = 0;
    CHECK(!chopin__files_init(&none, &heap, 64));
    allocations_left = -1;
}

/* Paths of the program itself (chopin_file): no root, no policy, and still only regular files. */
static void the_programs_own_paths(void) {
    chopin__files_root anywhere = { .fd = AT_FDCWD, .anywhere = true };
    rules.root = &anywhere;
    ask_for("GET");
    CHECK_EQ_INT(chopin__files_answer(&files, &rules, &request, chopin__str_z(at("secret")), fresh(), &answer), 200);
    let_go();
    CHECK_EQ_INT(chopin__files_answer(&files, &rules, &request, chopin__str_z(at("root/../root/.htpasswd")), fresh(), &answer), 200);
    let_go();
    CHECK_EQ_INT(chopin__files_answer(&files, &rules, &request, chopin__str_z(at("root/fifo")), fresh(), &answer), 404);
    CHECK_EQ_INT(chopin__files_answer(&files, &rules, &request, chopin__str_z(at("nothing")), fresh(), &answer), 404);
    rules.root = &root;
}

static bool set_up(void) {
    const char *tmp = getenv("TMPDIR");
    snprintf(base, sizeof base, "%s/chopin-files-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(base)) return false;
    snprintf(root_path, sizeof root_path, "%s/root", base);
    chopin__arena_init(&arena, &heap, block, sizeof block, 1 << 20);
    now_s = (int64_t)time(NULL);
    rules = (chopin__files_rules){ .root = &root, .max_entries = 1000, .max_ranges = 16 };
    mkdir(root_path, 0755);
    mkdir(at("root/a"), 0755);
    put("secret", "SECRET");
    put("root/a/f.txt", "inside");
    return chopin__files_root_open(&root, root_path) == 0 && chopin__files_init(&files, &heap, 64);
}

static void tear_down(int descriptors) {
    CHECK_EQ_INT(files.live, 0);
    chopin__files_done(&files);
    chopin__files_root_close(&root);
    chopin__arena_reset(&arena);
    CHECK_EQ_INT(open_descriptors(), descriptors);
    for (size_t i = 0; i < CHOPIN__COUNT(copies); i++) free(copies[i]);
    remove_tree(AT_FDCWD, base);
    CHECK(access(base, F_OK) != 0);
}

int main(int argc, char **argv) {
    int descriptors = open_descriptors();
    TEST_ONLY(argc, argv);
    if (!set_up()) { perror("set_up"); return 1; }
    RUN(no_path_leaves_the_root);
    RUN(the_root_is_pinned);
    RUN(the_walk_is_chosen_at_run_time);
    RUN(only_regular_files);
    RUN(dot_files_are_hidden);
    RUN(index_files);
    RUN(slash_redirect_stays_on_host);
    bool walk = atomic_load(&root.walk);
    RUN(listing_is_escaped_sorted_and_bounded);
    atomic_store(&root.walk, walk);
    RUN(large_listing_is_sorted);
    RUN(types_by_extension);
    RUN(dates_in_three_forms);
    RUN(conditional_matrix);
    RUN(conditions_on_files);
    RUN(joins_lines_of_one_name);
    RUN(range_matrix);
    RUN(merged_ranges_are_the_union);
    RUN(ranges_of_files);
    RUN(multipart_is_exact);
    RUN(files_over_4_gib);
    RUN(negotiation_matrix);
    RUN(precompressed_only_when_valid);
    RUN(disposition_matrix);
    RUN(hits_cost_no_heap_and_no_open);
    RUN(changes_are_seen_after_cache_ms);
    RUN(evicted_files_stay_open_until_released);
    RUN(guessed_names_displace_no_file);
    RUN(least_recently_used_goes_first);
    RUN(emfile_empties_what_is_kept);
    RUN(every_allocation_may_fail);
    RUN(the_programs_own_paths);
    test__all.bad = 0;
    tear_down(descriptors);
    if (test__all.bad) test__all.failed++;
    return TEST_END();
}
