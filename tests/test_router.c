/* test_router.c - the >>router room: what matches, what wins, what conflicts, and what it costs at worst. */
static unsigned long visited;             // bytes looked at by lookups, see CHOPIN__ROUTER_STEP
#define CHOPIN__ROUTER_STEP(bytes) (visited += (unsigned long)(bytes) + 1)
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER
#include "test.h"

/* ---- an allocator that checks the sizes it is told and fails when asked to ---- */
typedef struct meter { size_t live, blocks, fail_at, calls; bool wrong_size; } meter;     // fail_at: the nth call, 0 never

static void *meter_alloc(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    meter *m = ctx;
    char  *base = ptr ? (char *)ptr - 16 : NULL;
    size_t size = 0;
    if (base) memcpy(&size, base, sizeof size);
    if (size != old_size) m->wrong_size = true;
    if (new_size > 0 && ++m->calls == m->fail_at) return NULL;
    m->live += new_size - size;
    m->blocks += (size_t)(new_size > 0) - (size_t)(base != NULL);
    if (new_size == 0) { free(base); return NULL; }
    base = realloc(base, new_size + 16);
    memcpy(base, &new_size, sizeof new_size);
    return base + 16;
}

/* ---- a router with its routes ---- */
enum { MOST = 1024 };
static struct {
    meter          meter;
    chopin__heap   heap;
    chopin__router router;
    chopin__route  routes[MOST];
    size_t         count;
    chopin__capture   spans[MOST];
    chopin__route *found, *other;
} t;

static void start(void) {
    memset(&t, 0, sizeof t);
    t.heap.alloc = meter_alloc;
    t.heap.ctx = &t.meter;
    chopin__router_init(&t.router, &t.heap);
}

static void stop(void) {
    chopin__router_done(&t.router);
    CHECK_EQ_INT(t.meter.live, 0);
    CHECK_EQ_INT(t.meter.blocks, 0);
    CHECK(!t.meter.wrong_size);
}

static int add(const char *method, const char *pattern) {
    chopin__route *route = &t.routes[t.count];
    *route = (chopin__route){ .method = chopin__str_z(method), .pattern = chopin__str_z(pattern) };
    int rc = chopin__router_add(&t.router, route, &t.other);
    if (rc == CHOPIN_OK) t.count++;
    else                 CHECK(route->params == NULL && route->param_count == 0);
    return rc;
}

/* The path lies in memory of exactly its size, so that ASan sees a byte too many. */
static chopin__found look(const char *method, const char *path) {
    size_t len = strlen(path);
    char  *copy = malloc(len ? len : 1);
    memcpy(copy, path, len);
    bool percent = memchr(path, '%', len) != NULL;
    chopin__found found = chopin__router_find(&t.router, chopin__str_z(method), chopin__str(copy, len), percent, &t.found, t.spans);
    if (found == CHOPIN__FOUND && !percent) {     // the slow way must agree with the fast one
        chopin__route *again = NULL;
        chopin__capture   spans[MOST];
        chopin__router_find(&t.router, chopin__str_z(method), chopin__str(copy, len), true, &again, spans);
        CHECK(again == t.found && memcmp(spans, t.spans, again->param_count * sizeof *spans) == 0);
    }
    CHECK((found == CHOPIN__FOUND) == (t.found != NULL));
    free(copy);
    return found;
}

/* The pattern that GET finds; a status when it finds none. */
static const char *get(const char *path) {
    static const char *const none[] = { "", "404", "405", "501" };
    chopin__found found = look("GET", path);
    return found == CHOPIN__FOUND ? t.found->pattern.ptr : none[found];
}

#define CHECK_GET(path, pattern) CHECK_STR(chopin__str_z(get(path)), pattern)

/* "name=raw name=raw" of the last lookup of `path`. */
static const char *params(const char *path) {
    static char text[4096];
    size_t at = 0;
    text[0] = 0;
    for (uint32_t i = 0; t.found && i < t.found->param_count; i++) {
        chopin_str value = chopin__str(path + t.spans[i].at, t.spans[i].len);
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%.*s=%.*s", i ? " " : "", CHOPIN_FMT(t.found->params[i]), CHOPIN_FMT(value));
    }
    return text;
}

#define CHECK_PARAMS(path, pattern, want) \
    do { CHECK_GET(path, pattern); CHECK_STR(chopin__str_z(params(path)), want); } while (0)

/* ---- what matches and what wins ---- */

static void static_beats_param_beats_rest(void) {
    start();
    CHECK_GET("/", "404");
    static const char *const patterns[] = {
        "/*all", "/users/*rest", "/users/:id", "/users/me", "/users/me/settings/:key", "/users/:id/posts", "/users/:id/:what/x",
        "/users/men", "/a/b/c/d", "/a/b/:x/e", "/a/:x/c/f", "/:x/b/c/g", "/a/b/*rest", "/z", "/z/"
    };
    for (size_t i = 0; i < CHOPIN__COUNT(patterns); i++) CHECK_EQ_INT(add("GET", patterns[i]), CHOPIN_OK);
    CHECK_PARAMS("/", "/*all", "all=");
    CHECK_GET("/users/me", "/users/me");
    CHECK_GET("/users/men", "/users/men");
    CHECK_PARAMS("/users/m", "/users/:id", "id=m");
    CHECK_PARAMS("/users/meow", "/users/:id", "id=meow");
    CHECK_PARAMS("/users/", "/users/*rest", "rest=");
    CHECK_PARAMS("/users", "/*all", "all=users");
    // backtracking: each of these first enters a better branch that comes to nothing
    CHECK_PARAMS("/users/me/posts", "/users/:id/posts", "id=me");
    CHECK_PARAMS("/users/me/settings", "/users/*rest", "rest=me/settings");
    CHECK_PARAMS("/users/me/settings/a", "/users/me/settings/:key", "key=a");
    CHECK_PARAMS("/users/me/settings/x", "/users/me/settings/:key", "key=x");
    CHECK_PARAMS("/users/me/setting/x", "/users/:id/:what/x", "id=me what=setting");
    CHECK_PARAMS("/users/me/settings/a/b", "/users/*rest", "rest=me/settings/a/b");
    CHECK_PARAMS("/users/7/posts/", "/users/*rest", "rest=7/posts/");
    CHECK_GET("/a/b/c/d", "/a/b/c/d");
    CHECK_PARAMS("/a/b/c/e", "/a/b/:x/e", "x=c");
    CHECK_PARAMS("/a/b/c/f", "/a/b/*rest", "rest=c/f");     // the rest of a longer static text beats a shorter one's :param
    CHECK_PARAMS("/a/q/c/f", "/a/:x/c/f", "x=q");
    CHECK_PARAMS("/a/b/c/g", "/a/b/*rest", "rest=c/g");
    CHECK_PARAMS("/q/b/c/g", "/:x/b/c/g", "x=q");
    CHECK_PARAMS("/q/b/c/h", "/*all", "all=q/b/c/h");
    CHECK_PARAMS("//", "/*all", "all=/");
    CHECK_GET("", "404");
    CHECK_GET("*", "404");
    CHECK_GET("example.test:443", "404");
    stop();
}

static void rest_is_the_whole_remainder(void) {
    start();
    add("GET", "/assets/*path");
    CHECK_PARAMS("/assets/js/app.js", "/assets/*path", "path=js/app.js");
    CHECK_PARAMS("/assets/", "/assets/*path", "path=");
    CHECK_PARAMS("/assets//x/", "/assets/*path", "path=/x/");
    CHECK_GET("/assets", "404");
    CHECK_GET("/asset", "404");
    CHECK_GET("/assetsx/y", "404");
    stop();
}

static const char *const order_paths[] = {
    "/a", "/a/", "/a/b", "/a/bc", "/a/b/", "/a/5", "/a/5/b", "/a/x/b", "/a/5/c", "/ab", "/", "/abc/d", "/a/5/c/d", "/a/-5/b"
};
static const char *const order_patterns[] = { "/a", "/a/b", "/a/:p", "/a/:n<u64>/b", "/a/:q/b", "/a/:i<i64>/:r", "/*rest" };
enum { PATTERNS = CHOPIN__COUNT(order_patterns), PATHS = CHOPIN__COUNT(order_paths) };

static void next_order(size_t *order, size_t n) {      // the lexicographically next permutation
    size_t i = n - 1, j = n - 1;
    while (i > 0 && order[i - 1] > order[i]) i--;
    if (i == 0) return;
    while (order[j] < order[i - 1]) j--;
    size_t swap = order[j]; order[j] = order[i - 1]; order[i - 1] = swap;
    for (j = n - 1; i < j; i++, j--) { swap = order[i]; order[i] = order[j]; order[j] = swap; }
}

static void registration_order_never_matters(void) {
    const char *want[PATHS] = { NULL };
    size_t order[PATTERNS], orders = 1;
    for (size_t i = 0; i < PATTERNS; i++) { order[i] = i; orders *= i + 1; }
    for (size_t o = 0; o < orders; o++, next_order(order, PATTERNS)) {
        start();
        for (size_t i = 0; i < PATTERNS; i++) CHECK_EQ_INT(add("GET", order_patterns[order[i]]), CHOPIN_OK);
        for (size_t i = 0; i < PATHS; i++) {
            const char *got = get(order_paths[i]);
            if (!want[i]) want[i] = got;
            if (!CHECK_STR(chopin__str_z(got), want[i])) return;
        }
        stop();
    }
    CHECK_STR(chopin__str_z(want[5]), "/a/:p");
    CHECK_STR(chopin__str_z(want[6]), "/a/:n<u64>/b");
    CHECK_STR(chopin__str_z(want[8]), "/a/:i<i64>/:r");
}

static void deep_and_many(void) {
    char pattern[8192] = "", path[8192] = "", many[8192] = "", numbers[8192] = "";
    size_t at = 0, n = 0;
    start();
    for (int i = 0; i < 200; i++) {
        at += (size_t)snprintf(pattern + at, sizeof pattern - at, i % 4 ? "/s%d" : "/:p%d", i);
        n += (size_t)snprintf(path + n, sizeof path - n, i % 4 ? "/s%d" : "/v%d", i);
    }
    at = n = 0;
    for (int i = 0; i < 500; i++) {
        at += (size_t)snprintf(many + at, sizeof many - at, "/:q%d", i);
        n += (size_t)snprintf(numbers + n, sizeof numbers - n, "/%d", i);
    }
    CHECK_EQ_INT(add("GET", pattern), CHOPIN_OK);
    CHECK_EQ_INT(t.routes[0].param_count, 50);
    CHECK_GET(path, pattern);
    for (int i = 0; i < 50; i++) {
        char want[16];
        snprintf(want, sizeof want, "v%d", i * 4);
        CHECK_STR(chopin__str(path + t.spans[i].at, t.spans[i].len), want);
    }
    CHECK_EQ_INT(add("GET", many), CHOPIN_OK);
    CHECK_EQ_INT(t.router.max_params, 500);
    CHECK_GET(numbers, many);
    CHECK_STR(chopin__str(numbers + t.spans[499].at, t.spans[499].len), "499");
    CHECK_GET(path, pattern);
    path[n = strlen(path) - 1]++;           // "/s199" becomes "/s19:": 200 levels down and all the way up again
    CHECK_GET(path, "404");
    stop();
}

static void param_names_belong_to_their_route(void) {
    start();
    add("GET", "/users/:id/a");
    add("GET", "/users/:user/b");
    add("GET", "/users/:who");
    add("POST", "/users/:x/a");
    add("GET", "/f/:a/:b-c/*the_rest");
    CHECK_PARAMS("/users/7/a", "/users/:id/a", "id=7");
    CHECK_PARAMS("/users/7/b", "/users/:user/b", "user=7");
    CHECK_PARAMS("/users/7", "/users/:who", "who=7");
    CHECK_EQ_INT(look("POST", "/users/7/a"), CHOPIN__FOUND);
    CHECK_STR(t.found->params[0], "x");
    CHECK_PARAMS("/f/1/2/3/4", "/f/:a/:b-c/*the_rest", "a=1 b-c=2 the_rest=3/4");
    stop();
}

static void typed_parameters(void) {
    static const struct { const char *text, *want; } cases[] = {
        { "0", "/:n<u64>" }, { "18446744073709551615", "/:n<u64>" }, { "18446744073709551616", "/:f<f64>" }, { "007", "/:n<u64>" },
        { "-0", "/:i<i64>" }, { "-1", "/:i<i64>" }, { "-9223372036854775808", "/:i<i64>" }, { "-9223372036854775809", "/:f<f64>" },
        { "1.5", "/:f<f64>" }, { "-1e308", "/:f<f64>" }, { "1e309", "/:s" }, { "1e-999", "/:f<f64>" }, { "1.", "/:s" }, { ".5", "/:s" },
        { "inf", "/:s" }, { "nan", "/:s" }, { "0x10", "/:s" }, { "+1", "/:s" }, { "1 ", "/:s" }, { "-", "/:s" }, { "--1", "/:s" },
        { "%31", "/:n<u64>" }, { "%2D%31", "/:i<i64>" }, { "1%2F2", "/:s" }, { "1%2e5", "/:f<f64>" }, { "1%00", "/:s" },
        { "123e4567-e89b-12d3-a456-426614174000", "/:u<uuid>" }, { "123E4567-E89B-12D3-A456-42661417400F", "/:u<uuid>" },
        { "123e4567-e89b-12d3-a456-42661417400", "/:s" }, { "123e4567-e89b-12d3-a456-4266141740000", "/:s" },
        { "123e4567e-89b-12d3-a456-426614174000", "/:s" }, { "g23e4567-e89b-12d3-a456-426614174000", "/:s" },
        { "123e4567%2De89b-12d3-a456-426614174000", "/:u<uuid>" },
    };
    start();
    static const char *const patterns[] = { "/:s", "/:f<f64>", "/:i<i64>", "/:n<u64>", "/:u<uuid>", "/x/:n<u64>", "/x/:n<u64>/a", "/x/:s/b", "/y/:n<i64>/*r" };
    for (size_t i = 0; i < CHOPIN__COUNT(patterns); i++) CHECK_EQ_INT(add("GET", patterns[i]), CHOPIN_OK);
    for (size_t i = 0; i < CHOPIN__COUNT(cases); i++) {
        char path[128];
        snprintf(path, sizeof path, "/%s", cases[i].text);
        CHECK_GET(path, cases[i].want);
        CHECK_EQ_INT(t.spans[0].len, strlen(cases[i].text));
    }
    CHECK_GET("/x/z", "404");
    CHECK_GET("/x/", "404");
    CHECK_PARAMS("/x/12", "/x/:n<u64>", "n=12");
    CHECK_PARAMS("/x/12/b", "/x/:s/b", "s=12");     // the typed branch fits, comes to nothing, and is left again
    CHECK_GET("/y/1x/", "404");
    CHECK_PARAMS("/y/-1/", "/y/:n<i64>/*r", "n=-1 r=");
    char digits[600] = "/x/";                       // 128 bytes are the most that fits, however they are written
    memset(digits + 3, '0', 128);
    CHECK_GET(digits, "/x/:n<u64>");
    digits[131] = '0';
    CHECK_GET(digits, "404");
    for (int i = 0; i < 128; i++) memcpy(digits + 3 + 3 * i, "%30", 4);
    CHECK_GET(digits, "/x/:n<u64>");
    memcpy(digits + 3 + 3 * 128, "0", 2);
    CHECK_GET(digits, "404");
    stop();
}

static void percent_forms_match_literals(void) {
    start();
    add("GET", "/caf\xc3\xa9/:x");
    add("GET", "/a/b");
    add("GET", "/100%");
    add("GET", "/:one");
    add("GET", "/a/:x/c");
    add("GET", "/%41lit");
    CHECK_GET("/a/b", "/a/b");
    CHECK_GET("/%61/%62", "/a/b");
    CHECK_GET("/%61/b", "/a/b");
    CHECK_PARAMS("/a%2Fb", "/:one", "one=a%2Fb");           // no separator, and no '/' of the pattern either
    CHECK_PARAMS("/a%2fb", "/:one", "one=a%2fb");
    CHECK_GET("/a%2F/b", "404");
    CHECK_GET("%2Fa/b", "404");
    CHECK_PARAMS("/%61/q%2F%252e/%63", "/a/:x/c", "x=q%2F%252e");
    CHECK_PARAMS("/caf%C3%a9/%20", "/caf\xc3\xa9/:x", "x=%20");
    CHECK_PARAMS("/caf\xc3%a9/%20", "/caf\xc3\xa9/:x", "x=%20");
    CHECK_GET("/100%25", "/100%");
    CHECK_GET("/%41lit", "/:one");                          // that is "Alit"; patterns are literal
    CHECK_GET("/%2541lit", "/%41lit");
    CHECK_GET("/%61/%62%2F", "404");
    CHECK_GET("/a/%62/%64", "404");
    stop();
}

/* ---- what is refused ---- */

static void malformed_patterns_are_refused(void) {
    static const char *const bad[] = {
        "", "a", "*", ":x", "/:", "/:/a", "/*", "/*x/a", "/*x<u64>", "/a:b", "/a*", "/:a:b", "/:a.json", "/:a<u64", "/:a<u32>", "/:a<>", "/:a<u64>x",
        "/:a<u64>:b", "/v:major/x", "/a b", "/a\tb", "/a\nb", "/a\x7f", "/a?b", "/a#b", "/:a/:a", "/:a/*a", "/:a<u64>/:a<i64>", "/:a b", "/::a", "/:*", "/a/ "
    };
    start();
    for (size_t i = 0; i < CHOPIN__COUNT(bad); i++) {
        if (!CHECK_EQ_INT(add("GET", bad[i]), CHOPIN_INVALID)) printf("    %s\n", bad[i]);
        CHECK(t.other == NULL);
    }
    CHECK_EQ_INT(add("", "/"), CHOPIN_INVALID);
    CHECK_EQ_INT(add("GE T", "/"), CHOPIN_INVALID);
    CHECK_EQ_INT(chopin__router_add(&t.router, &(chopin__route){ .method = CHOPIN_STR("GET"), .pattern = CHOPIN_STR("/a\0b") }, &t.other), CHOPIN_INVALID);
    CHECK_EQ_INT(add("GET", "/~!$&'()+,;=@-._%<>|\\^`{}\"[]"), CHOPIN_OK);
    CHECK_GET("/~!$&'()+,;=@-._%25<>|\\^`{}\"[]", "/~!$&'()+,;=@-._%<>|\\^`{}\"[]");
    stop();
}

static void conflicts_name_the_other_route(void) {
    start();
    static const char *const patterns[] = { "/", "/a", "/a/", "//a", "/u/:id", "/u/:id<u64>", "/u/:id<i64>/x", "/f/*rest", "/u/:a/:b" };
    static const char *const again[]    = { "/", "/a", "/a/", "//a", "/u/:ID", "/u/:no<u64>", "/u/:i<i64>/x",  "/f/*all",  "/u/:b/:a" };
    for (size_t i = 0; i < CHOPIN__COUNT(patterns); i++) CHECK_EQ_INT(add("GET", patterns[i]), CHOPIN_OK);
    CHECK(t.other == NULL);
    for (size_t i = 0; i < CHOPIN__COUNT(again); i++) {
        CHECK_EQ_INT(add("GET", again[i]), CHOPIN_CONFLICT);
        CHECK(t.other == &t.routes[i]);
    }
    for (size_t i = 0; i < CHOPIN__COUNT(again); i++) CHECK_EQ_INT(add("POST", again[i]), CHOPIN_OK);
    CHECK_EQ_INT(add("PURGE", "/a"), CHOPIN_OK);
    CHECK_EQ_INT(add("purge", "/a"), CHOPIN_OK);
    CHECK_EQ_INT(add("PURGE", "/a"), CHOPIN_CONFLICT);
    CHECK_STR(t.other->method, "PURGE");
    CHECK_GET("/u/x/y", "/u/:a/:b");
    stop();
}

/* ---- methods, Allow, slashes ---- */

static const char *allow(const char *path) {
    static char text[512];
    memset(text, '!', sizeof text);
    bool       percent = strchr(path, '%') != NULL;
    chopin_str view = chopin__str_z(path);
    size_t     need = chopin__router_allow(&t.router, view, percent, NULL, 0);
    CHECK_EQ_INT(chopin__router_allow(&t.router, view, percent, text, need - 1), need);
    CHECK(text[0] == '!' && text[need - 1] == '!');
    CHECK_EQ_INT(chopin__router_allow(&t.router, view, percent, text, need), need);
    CHECK(text[need - 1] != '!' && text[need] == '!');
    text[need] = 0;
    return text;
}

#define CHECK_ALLOW(path, want) CHECK_STR(chopin__str_z(allow(path)), want)

static void method_matrix(void) {
    start();
    CHECK_EQ_INT(look("GET", "/"), CHOPIN__NO_PATH);
    CHECK_EQ_INT(look("OPTIONS", "/"), CHOPIN__NO_PATH);
    CHECK_EQ_INT(look("POST", "/"), CHOPIN__UNKNOWN_METHOD);
    CHECK_ALLOW("*", "OPTIONS");
    CHECK_ALLOW("/", "OPTIONS");
    static const struct { const char *method, *pattern; } routes[] = {
        { "PURGE", "/all" }, { "CONNECT", "/all" }, { "TRACE", "/all" }, { "DELETE", "/all" }, { "PATCH", "/all" }, { "PUT", "/all" }, { "POST", "/all" },
        { "GET", "/all" }, { "COPY", "/all" }, { "GET", "/get/:x" }, { "HEAD", "/head" }, { "GET", "/both" }, { "HEAD", "/both" }, { "POST", "/post" },
        { "POST", "/get/only_post" }, { "OPTIONS", "/opt" }, { "get", "/lower" }, { "M-SEARCH", "/all" }, { "ACL", "/all" }
    };
    for (size_t i = 0; i < CHOPIN__COUNT(routes); i++) CHECK_EQ_INT(add(routes[i].method, routes[i].pattern), CHOPIN_OK);
    for (size_t i = 0; i < CHOPIN__COUNT(routes); i++) {
        char path[32];
        snprintf(path, sizeof path, "%s", routes[i].pattern);
        CHECK_EQ_INT(look(routes[i].method, path), CHOPIN__FOUND);
        CHECK(t.found == &t.routes[i]);
    }
    CHECK_ALLOW("/all", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE, CONNECT, ACL, COPY, M-SEARCH, PURGE");
    CHECK_ALLOW("*", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE, CONNECT, ACL, COPY, M-SEARCH, PURGE, get");
    CHECK_ALLOW("/%61ll", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE, CONNECT, ACL, COPY, M-SEARCH, PURGE");
    CHECK_ALLOW("/get/1", "GET, HEAD, OPTIONS");
    CHECK_ALLOW("/get/only_post", "GET, HEAD, POST, OPTIONS");
    CHECK_ALLOW("/head", "HEAD, OPTIONS");
    CHECK_ALLOW("/post", "POST, OPTIONS");
    CHECK_ALLOW("/none", "OPTIONS");
    CHECK_EQ_INT(look("HEAD", "/get/1"), CHOPIN__FOUND);
    CHECK_STR(t.found->method, "GET");
    CHECK_EQ_INT(look("HEAD", "/both"), CHOPIN__FOUND);
    CHECK_STR(t.found->method, "HEAD");
    CHECK_EQ_INT(look("GET", "/head"), CHOPIN__NO_METHOD);
    CHECK_EQ_INT(look("HEAD", "/post"), CHOPIN__NO_METHOD);
    CHECK_EQ_INT(look("PUT", "/get/1"), CHOPIN__NO_METHOD);
    CHECK_EQ_INT(look("OPTIONS", "/all"), CHOPIN__NO_METHOD);       // the server answers that by itself
    CHECK_EQ_INT(look("OPTIONS", "/none"), CHOPIN__NO_PATH);
    CHECK_EQ_INT(look("OPTIONS", "*"), CHOPIN__NO_PATH);
    CHECK_EQ_INT(look("COPY", "/get/1"), CHOPIN__NO_METHOD);
    CHECK_EQ_INT(look("COPY", "/none"), CHOPIN__NO_PATH);
    static const char *const unknown[] = { "QUERY", "Get", "GEX", "HEAP", "POSE", "PUX", "PATCX", "", "COP", "COPYY", "PROPFIND-AND-MORE" };
    for (size_t i = 0; i < CHOPIN__COUNT(unknown); i++) CHECK_EQ_INT(look(unknown[i], "/all"), CHOPIN__UNKNOWN_METHOD);
    stop();
}

static const char *other_slash(const char *method, const char *path) {
    static char text[64];
    char       *room = malloc(strlen(path) + 1);
    chopin_str  other = chopin__router_other_slash(&t.router, chopin__str_z(method), chopin__str_z(path), strchr(path, '%') != NULL, room);
    snprintf(text, sizeof text, "%.*s", CHOPIN_FMT(other));
    free(room);
    return text;
}

#define CHECK_OTHER(path, want) CHECK_STR(chopin__str_z(other_slash("GET", path)), want)

static void slash_policy_is_one_policy(void) {
    start();
    add("GET", "/a");
    add("GET", "/b/");
    add("GET", "//c");
    add("GET", "/u/:id");
    add("GET", "/f/*rest");
    add("POST", "/p");
    add("GET", "//evil.test/");
    CHECK_GET("/a", "/a");
    CHECK_GET("/a/", "404");
    CHECK_GET("//a", "404");
    CHECK_GET("/b", "404");
    CHECK_GET("/b/", "/b/");
    CHECK_GET("/c", "404");
    CHECK_GET("//c", "//c");
    CHECK_GET("/u/1/", "404");
    CHECK_GET("/u//", "404");
    CHECK_GET("/u/", "404");
    CHECK_OTHER("/a/", "/a");
    CHECK_OTHER("/%61/", "/%61");
    CHECK_OTHER("/a//", "");
    CHECK_OTHER("/b", "/b/");
    CHECK_OTHER("/u/1/", "/u/1");
    CHECK_OTHER("/f", "/f/");
    CHECK_OTHER("/p/", "");
    CHECK_STR(chopin__str_z(other_slash("POST", "/p/")), "/p");
    CHECK_STR(chopin__str_z(other_slash("HEAD", "/a/")), "/a");
    CHECK_OTHER("/a%2F", "");
    CHECK_OTHER("//c/", "");                // would be another host in a Location
    CHECK_OTHER("//evil.test", "");
    CHECK_OTHER("/", "");
    CHECK_OTHER("", "");
    CHECK_OTHER("*", "");
    stop();
}

/* ---- what it costs ---- */

static size_t cost(const char *path) { visited = 0; get(path); return visited; }

/* A path of about `size` bytes that repeats `piece`. */
static const char *repeat(const char *piece, size_t size) {
    static char path[1 << 17];
    size_t n = strlen(piece), at = 1;
    for (path[0] = '/'; at + n <= size; at += n) memcpy(path + at, piece, n);
    path[at] = 0;
    return path;
}

static void long_paths_are_linear(void) {
    static const char *const pieces[] = { "/", "%41", "a", "a/", "%2F", "A", "1", "1/", "/a" };
    start();
    static const char *const patterns[] = { "/", "/a", "/:x", "/:n<u64>", "/:x/:y", "/:x/a", "/a/:y/:z/b", "/:f<f64>/a/:g<f64>/b", "/x/*rest", "/a/a/a/a/a/b", "//////b",
                                            "/AAAAAAAAAAAAAAAAb", "/A/*all" };
    for (size_t i = 0; i < CHOPIN__COUNT(patterns); i++) add("GET", patterns[i]);
    for (size_t i = 0; i < CHOPIN__COUNT(pieces); i++) {
        size_t small = cost(repeat(pieces[i], 8192)), large = cost(repeat(pieces[i], 65536));
        CHECK(small < 16 * 8192);
        CHECK(large <= 8 * small + 1000);
    }
    stop();
}

/* Every choice between two static words and a parameter at `depth` places: what is exponential where states are tried again and again. */
static void hostile_routes_are_bounded(void) {
    enum { DEPTH = 9, ROUTES = 1 << DEPTH };
    static char patterns[ROUTES][8 * DEPTH];
    size_t total = 0;
    start();
    for (size_t i = 0; i < ROUTES; i++) {
        size_t at = 0;
        for (int d = 0; d < DEPTH; d++) at += (size_t)snprintf(patterns[i] + at, 8, i >> d & 1 ? "/a" : "/:p%d", d);
        snprintf(patterns[i] + at, 8, "/end");
        total += strlen(patterns[i]);
        CHECK_EQ_INT(add("GET", patterns[i]), CHOPIN_OK);
    }
    size_t worst = cost(repeat("a/", 2 * DEPTH + 1));       // all branches are entered, none leads to "/end"
    CHECK_GET(repeat("a/", 2 * DEPTH + 1), "404");
    CHECK(worst > ROUTES && worst < 8 * total);
    stop();

    start();                                                // one chain with a way out at each level: linear, not 2 to the 60th
    static char chain[120][720];
    size_t at = 0;
    char   prefix[700] = "";
    for (int i = 0; i < 60; i++) {
        snprintf(chain[2 * i], sizeof chain[0], "%s/a/x", prefix);
        at += (size_t)snprintf(prefix + at, sizeof prefix - at, "/:p%d", i);
        snprintf(chain[2 * i + 1], sizeof chain[0], "%s/a/y", prefix);
        CHECK_EQ_INT(add("GET", chain[2 * i]), CHOPIN_OK);
        CHECK_EQ_INT(add("GET", chain[2 * i + 1]), CHOPIN_OK);
    }
    CHECK(cost(repeat("a/", 400)) < 120 * 400);
    stop();
}

/* Adding goes on after the nth allocation has failed; whatever was added is found, whatever was not is not. */
static void every_allocation_may_fail(void) {
    static const char *const patterns[] = { "/users/:id", "/users/me", "/usage", "/u/*rest", "/users/:id<u64>/a", "/", "/users/:n/*rest", "/useful" };
    static const char *const paths[]    = { "/users/x",   "/users/me", "/usage", "/u/a/b",   "/users/7/a",        "/", "/users/q/a/b",    "/useful" };
    enum { COUNT = CHOPIN__COUNT(patterns) };
    size_t last = 0;
    for (size_t n = 1; last == 0 || n <= last; n++) {
        bool added[COUNT];
        int  failures = 0;
        start();
        t.meter.fail_at = n;
        for (size_t i = 0; i < COUNT; i++) {
            char *pattern = malloc(strlen(patterns[i]) + 1);        // a route that failed may go away, with its pattern
            strcpy(pattern, patterns[i]);
            const char *method = i % 3 ? "GET" : "QUERY";
            int rc = add(method, pattern);
            added[i] = rc == CHOPIN_OK;
            failures += rc == CHOPIN_MEMORY;
            CHECK(rc == CHOPIN_OK || rc == CHOPIN_MEMORY);
            if (rc == CHOPIN_OK) t.routes[t.count - 1].detail = pattern;
            else                 free(pattern);
        }
        for (size_t i = 0; i < COUNT; i++) {
            chopin__found found = look(i % 3 ? "GET" : "QUERY", paths[i]);
            CHECK((found == CHOPIN__FOUND && chopin__equal_z(t.found->pattern, patterns[i])) == added[i]);
        }
        CHECK(failures <= 1);
        bool over = t.meter.calls < n;                              // no allocation failed: a failed hash table is no failure of a route
        if (over) last = n - 1;
        for (size_t i = 0; i < COUNT; i++) {                        // and a second try succeeds
            if (!added[i]) CHECK_EQ_INT(add(i % 3 ? "GET" : "QUERY", patterns[i]), CHOPIN_OK);
        }
        for (size_t i = 0; i < COUNT; i++) {
            look(i % 3 ? "GET" : "QUERY", paths[i]);
            CHECK(t.found && chopin__equal_z(t.found->pattern, patterns[i]));
        }
        void *mine[COUNT];
        size_t count = t.count;
        for (size_t i = 0; i < count; i++) mine[i] = t.routes[i].detail;
        stop();
        for (size_t i = 0; i < count; i++) free(mine[i]);
        if (over) break;
    }
    CHECK(last > 15);
}

static void lookups_do_not_allocate(void) {
    start();
    add("GET", "/a/:x/*rest");
    add("PROPFIND", "/a/:x<uuid>");
    size_t calls = t.meter.calls;
    get("/a/b/c");
    get("/a/%62/c");
    look("PROPFIND", "/a/1");
    look("BREW", "/a/1");
    allow("/a/b/c");
    CHECK_EQ_INT(t.meter.calls, calls);
    stop();
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(static_beats_param_beats_rest);
    RUN(rest_is_the_whole_remainder);
    RUN(registration_order_never_matters);
    RUN(deep_and_many);
    RUN(param_names_belong_to_their_route);
    RUN(typed_parameters);
    RUN(percent_forms_match_literals);
    RUN(malformed_patterns_are_refused);
    RUN(conflicts_name_the_other_route);
    RUN(method_matrix);
    RUN(slash_policy_is_one_policy);
    RUN(long_paths_are_linear);
    RUN(hostile_routes_are_bounded);
    RUN(every_allocation_may_fail);
    RUN(lookups_do_not_allocate);
    return TEST_END();
}
