/* test_server.c - routing, middleware, ready replies, user data, options and getters, as an application uses them.
 * Build: cc -O1 -g tests/test_server.c -o build/test_server -pthread -lm */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER
#include "test.h"
#include "kit.h"

/* ---- what every test needs ---- */

static char said[65536];                                     // what apps have logged

static void remember(void *user, chopin_level level, const char *text) {
    size_t n = strlen(said);
    (void)user; (void)level;
    snprintf(said + n, sizeof said - n, "%s\n", text);
}

static chopin_options listening(void) {
    chopin_options o = kit_options();
    o.quiet = false;
    o.log = remember;
    o.no_date = true;
    said[0] = 0;
    return o;
}

static chopin_app *new_app(void) {
    chopin_options o = listening();
    return chopin_new(&o);
}

/* "GET /x" becomes a request; further header lines may follow, each with its end of line. */
static chopin_str ask_with(chopin_app *app, const char *what, const char *headers) {
    char request[20000];
    snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: t\r\n%s\r\n", what, headers);
    return kit_play_z(app, request);
}
static chopin_str ask(chopin_app *app, const char *what) { return ask_with(app, what, ""); }
static int status_of(chopin_app *app, const char *what) { return kit_status(ask(app, what)); }

static chopin_str post(chopin_app *app, const char *path, const char *type, const char *body) {
    char request[20000];
    snprintf(request, sizeof request, "POST %s HTTP/1.1\r\nHost: t\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s", path, type, strlen(body), body);
    return kit_play_z(app, request);
}

/* Like CHECK_STR, but asks once: a reply lasts until the next call. */
static void check_body(chopin_str reply, const char *want, int line) {
    chopin_str body = kit_body(reply);
    test__str(body.ptr, body.len, want, __FILE__, line, "body");
}
#define CHECK_BODY(reply, want) check_body(reply, want, __LINE__)

/* Handlers that say who they are: the pattern they were mounted at. */
static int who(chopin_ctx *c) { return chopin_textf(c, 200, "%s", (const char *)chopin_route_user(c)); }
static void mount(chopin_app *app, const char *method, const char *pattern, const char *name) {
    CHECK_EQ_INT(chopin_route(app, method, pattern, who, &(chopin_route_options){ .user = (void *)(uintptr_t)name }), CHOPIN_OK);
}
static bool answers(chopin_app *app, const char *what, const char *name) {
    chopin_str reply = ask(app, what);
    bool ok = kit_status(reply) == 200 && kit_body(reply).len == strlen(name) && memcmp(kit_body(reply).ptr, name, strlen(name)) == 0;
    if (!ok) printf("%s: %.*s\n", what, (int)reply.len, reply.ptr ? reply.ptr : "");
    return ok;
}

/* ---- methods ---- */

/* Do the words of the Allow header equal `want`, in any order? */
static bool allows(chopin_str reply, const char *want) {
    char line[512] = "";
    for (size_t i = 0; i + 8 < reply.len; i++) {
        if (memcmp(reply.ptr + i, "\r\nAllow:", 8) != 0) continue;
        const char *end = memchr(reply.ptr + i + 8, '\r', reply.len - i - 8);
        snprintf(line, sizeof line, "%.*s", end ? (int)(end - reply.ptr - (long)i - 8) : 0, reply.ptr + i + 8);
    }
    chopin_str have = chopin__str_z(line), rest = chopin__str_z(want);
    size_t have_count = 0, want_count = 0;
    for (; rest.len; want_count++) if (!chopin__body_list_has(have, chopin__trim(chopin__cut(&rest, ',')))) break;
    bool all = rest.len == 0;
    for (rest = have; rest.len; have_count++) chopin__cut(&rest, ',');
    if (!all || have_count != want_count) printf("Allow is \"%s\", expected \"%s\"\n", line, want);
    return all && have_count == want_count;
}

static void method_matrix(void) {
    chopin_app *app = new_app();
    mount(app, "GET", "/a", "get a");
    mount(app, "POST", "/a", "post a");
    mount(app, "DELETE", "/:id", "delete id");
    mount(app, "PURGE", "/cache", "purge");
    mount(app, "HEAD", "/h", "head h");
    mount(app, "OPTIONS", "/o", "own options");
    mount(app, "get", "/lower", "lower");                    // methods are case-sensitive (RFC 9110 9.1)
    CHECK(answers(app, "GET /a", "get a"));
    CHECK(answers(app, "POST /a", "post a"));
    CHECK(answers(app, "DELETE /a", "delete id"));
    CHECK(answers(app, "PURGE /cache", "purge"));
    CHECK(answers(app, "OPTIONS /o", "own options"));
    CHECK(answers(app, "get /lower", "lower"));
    chopin_str reply = ask(app, "HEAD /a");
    CHECK_EQ_INT(kit_status(reply), 200);
    CHECK(kit_has(reply, "Content-Length: 5\r\n") && kit_body(reply).len == 0);
    reply = ask(app, "PUT /a");
    CHECK_EQ_INT(kit_status(reply), 501);                    // no route anywhere knows PUT
    chopin_free(app);

    app = new_app();
    mount(app, "GET", "/a", "get a");
    mount(app, "POST", "/a", "post a");
    mount(app, "DELETE", "/:id", "delete id");
    mount(app, "PUT", "/other", "put other");
    mount(app, "PURGE", "/cache/:what", "purge");
    reply = ask(app, "PUT /a");
    CHECK_EQ_INT(kit_status(reply), 405);
    CHECK(allows(reply, "GET, HEAD, POST, DELETE, OPTIONS"));
    CHECK(kit_has(reply, "application/problem+json"));
    reply = ask(app, "GET /cache/%41");
    CHECK_EQ_INT(kit_status(reply), 405);
    CHECK(allows(reply, "PURGE, OPTIONS"));
    reply = ask(app, "OPTIONS /a");
    CHECK_EQ_INT(kit_status(reply), 204);
    CHECK(allows(reply, "GET, HEAD, POST, DELETE, OPTIONS"));
    CHECK(!kit_has(reply, "Content-Length"));
    reply = ask(app, "OPTIONS *");
    CHECK_EQ_INT(kit_status(reply), 204);
    CHECK(allows(reply, "GET, HEAD, POST, DELETE, PUT, PURGE, OPTIONS"));
    CHECK_EQ_INT(status_of(app, "OPTIONS /no/where"), 404);
    CHECK_EQ_INT(status_of(app, "GET /no/where"), 404);
    CHECK_EQ_INT(status_of(app, "PURGE /a/b/c"), 404);
    CHECK_EQ_INT(status_of(app, "PROPFIND /a"), 501);
    CHECK_EQ_INT(status_of(app, "get /a"), 501);
    CHECK_EQ_INT(status_of(app, "GET *"), 400);
    reply = kit_play_z(app, "CONNECT t:443 HTTP/1.1\r\nHost: t:443\r\n\r\n");
    CHECK_EQ_INT(kit_status(reply), 501);
    chopin_free(app);
}

static int says_minor(chopin_ctx *c) { return chopin_textf(c, 200, "%.*s 1.%d", CHOPIN_FMT(chopin_method(c)), chopin_http_minor(c)); }

static void any_token_is_a_method(void) {
    static const char *const tokens[] = { "QUERY", "PROPFIND", "M-SEARCH", "x!#$%&'*+-.^_`|~9", "GETX", "GE" };
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        char what[64];
        chopin_app *app = new_app();
        CHECK_EQ_INT(chopin_route(app, tokens[i], "/x", says_minor, NULL), CHOPIN_OK);
        snprintf(what, sizeof what, "%s /x", tokens[i]);
        CHECK(kit_has(ask(app, what), tokens[i]));
        CHECK_EQ_INT(status_of(app, "GET /x"), 405);         // GET and HEAD are never unknown (RFC 9110 9.1)
        CHECK_EQ_INT(status_of(app, "POST /x"), 501);
        chopin_free(app);
    }
    static const char *const bad[] = { "", "GE T", "GET\n", "G(T", "\xe9" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        chopin_app *app = new_app();
        CHECK_EQ_INT(chopin_route(app, bad[i], "/x", says_minor, NULL), CHOPIN_INVALID);
        chopin_free(app);
    }
}

/* ---- set-up that fails ---- */

static int first_handler(chopin_ctx *c)  { return chopin_text(c, 200, "first"); }
static int second_handler(chopin_ctx *c) { return chopin_text(c, 200, "second"); }

static void conflicts_fail_the_start(void) {
    chopin_app *app = new_app();
    char first[100], second[100];
    int  line = __LINE__ + 1;
    CHECK_EQ_INT(chopin_route(app, "GET", "/users/:id", first_handler, NULL), CHOPIN_OK);
    CHECK_EQ_INT(chopin_route(app, "GET", "/users/:user", second_handler, NULL), CHOPIN_CONFLICT);
    snprintf(first, sizeof first, "test_server.c:%d", line);
    snprintf(second, sizeof second, "test_server.c:%d", line + 1);
    CHECK(strstr(said, first) && strstr(said, second) && strstr(said, "first_handler") && strstr(said, "second_handler"));
    CHECK(strstr(chopin_error(app), first) && strstr(chopin_error(app), second));
    CHECK_EQ_INT(chopin_route(app, "POST", "/users/:user", second_handler, NULL), CHOPIN_OK);    // another method is another route
    CHECK(ask(app, "GET /users/1").ptr == NULL);             // nothing starts
    CHECK_EQ_INT(chopin_serve(app, "127.0.0.1:0"), CHOPIN_CONFLICT);
    chopin_free(app);
    app = new_app();
    CHECK_EQ_INT(chopin_fixed(app, "/f", NULL, "x"), CHOPIN_OK);
    CHECK_EQ_INT(chopin_route(app, "GET", "/f", first_handler, NULL), CHOPIN_CONFLICT);
    chopin_free(app);
}

static void bad_set_up_is_refused_and_remembered(void) {
    chopin_app *app = new_app();
    CHECK(chopin_error(app)[0] == 0);
    CHECK_EQ_INT(chopin_route(app, "GET", "no-slash", first_handler, NULL), CHOPIN_INVALID);
    char why[400];
    snprintf(why, sizeof why, "%s", chopin_error(app));
    CHECK(strstr(why, "no-slash") && strstr(why, "first_handler"));
    CHECK_EQ_INT(chopin_route(app, "GET", "/x", NULL, NULL), CHOPIN_INVALID);
    CHECK_EQ_INT(chopin_route(app, "GET", NULL, first_handler, NULL), CHOPIN_INVALID);
    CHECK_EQ_INT(chopin_use(app, "no-slash", first_handler), CHOPIN_INVALID);
    CHECK_EQ_INT(chopin_use(app, "/", NULL), CHOPIN_INVALID);
    CHECK_EQ_INT(chopin_fixed_with(app, "/f", NULL), CHOPIN_INVALID);
    CHECK_EQ_INT(chopin_fixed_with(app, "/f", &(chopin_fixed_options){ .status = 99 }), CHOPIN_INVALID);
    CHECK_EQ_INT(chopin_listen(app, "not an address"), CHOPIN_INVALID);
    CHECK_EQ_INT(chopin_listen(app, ""), CHOPIN_INVALID);
    CHECK(strcmp(why, chopin_error(app)) == 0);              // the first failure stands
    CHECK_EQ_INT(chopin_open(app), CHOPIN_INVALID);
    chopin_free(app);
    app = new_app();
    chopin_route(app, "GET", "/x", first_handler, NULL);
    CHECK_EQ_INT(status_of(app, "GET /x"), 200);
    CHECK_EQ_INT(chopin_route(app, "GET", "/y", first_handler, NULL), CHOPIN_STATE);     // the chains are composed
    CHECK_EQ_INT(chopin_use(app, "/", first_handler), CHOPIN_STATE);
    CHECK_EQ_INT(chopin_fixed(app, "/f", NULL, "x"), CHOPIN_STATE);
    chopin_free(app);
}

/* ---- slashes ---- */

static void slash_policy_is_one_policy(void) {
    for (int fixed = 0; fixed < 2; fixed++) {
        chopin_app *app = new_app();
        if (fixed) { chopin_fixed(app, "/a", NULL, "a"); chopin_fixed(app, "/b/", NULL, "b/"); }
        else       { mount(app, "GET", "/a", "a"); mount(app, "GET", "/b/", "b/"); }
        CHECK(answers(app, "GET /a", "a") && answers(app, "GET /b/", "b/"));
        static const char *const others[] = { "GET /a/", "GET //a", "GET /b", "GET /b//", "GET //b/", "GET /A", "GET /a//", "GET /./a", "GET /b/../a" };
        for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) CHECK_EQ_INT(status_of(app, others[i]), 404);
        chopin_free(app);
    }
}

static void redirect_slash_goes_to_the_registered_one(void) {
    for (int fixed = 0; fixed < 2; fixed++) {
        chopin_options o = listening();
        o.redirect_slash = true;
        chopin_app *app = chopin_new(&o);
        if (fixed) { chopin_fixed(app, "/a", NULL, "a"); chopin_fixed(app, "/b/", NULL, "b/"); }
        else       { mount(app, "GET", "/a", "a"); mount(app, "GET", "/b/", "b/"); mount(app, "GET", "/u/:id", "u"); }
        chopin_str reply = ask(app, "GET /a/?x=1&y=%20");
        CHECK_EQ_INT(kit_status(reply), 308);
        CHECK(kit_has(reply, "Location: /a?x=1&y=%20\r\n"));
        reply = ask(app, "HEAD /b");
        CHECK_EQ_INT(kit_status(reply), 308);
        CHECK(kit_has(reply, "Location: /b/\r\n"));
        if (!fixed) CHECK(kit_has(ask(app, "GET /u/%2e%2f/"), "Location: /u/%2e%2f\r\n"));
        CHECK_EQ_INT(status_of(app, "GET /nothing/"), 404);
        CHECK_EQ_INT(status_of(app, "GET //a/"), 404);
        reply = ask(app, "GET //evil.test/");                // never to another host
        CHECK_EQ_INT(kit_status(reply), 404);
        CHECK(!kit_has(reply, "Location"));
        chopin_free(app);
    }
}

/* ---- groups and user data ---- */

static int app_data, api_data, v1_data, route_data, request_data, worker_data, use_data;

static int sees_data(chopin_ctx *c) {
    CHECK(chopin_app_user(c) == &app_data);
    CHECK(chopin_route_user(c) == &route_data);
    CHECK(chopin_worker_user(c) == &worker_data);
    CHECK(chopin_worker_index(chopin_worker_of(c)) == 0);
    CHECK(chopin_user(c) == &request_data);
    return chopin_text(c, 200, chopin_group_user(c) == &v1_data ? "v1" : chopin_group_user(c) == &api_data ? "api" : chopin_group_user(c) ? "?" : "none");
}
static int sets_data(chopin_ctx *c) {
    CHECK(chopin_user(c) == NULL);                           // a fresh request has none
    CHECK(chopin_use_data(c) == &use_data);
    chopin_set_user(c, &request_data);
    int rc = chopin_next(c);
    CHECK(chopin_use_data(c) == &use_data);
    return rc;
}
static int  workers_begun, workers_over;
static int  worker_begins(chopin_worker *w, void *user) { CHECK(user == &app_data); chopin_worker_set_user(w, &worker_data); workers_begun++; return 0; }
static void worker_ends(chopin_worker *w, void *user) { CHECK(user == &app_data && chopin_worker_get_user(w) == &worker_data); workers_over++; }

static void groups_nest_and_user_data_is_found(void) {
    chopin_options o = listening();
    o.user = &app_data;
    o.on_worker_start = worker_begins;
    o.on_worker_stop = worker_ends;
    chopin_app   *app = chopin_new(&o);
    chopin_group *api = chopin_group_new(app, "/api"), *v1 = chopin_group_new(api, "/v1/"), *bare = chopin_group_new(v1, "/bare");
    const chopin_route_options mine = { .user = &route_data };
    chopin_group_set_user(api, &api_data);
    chopin_group_set_user(v1, &v1_data);
    chopin_use_with(app, "/", sets_data, &use_data);
    chopin_route(app, "GET", "/top", sees_data, &mine);
    chopin_route(api, "GET", "/x", sees_data, &mine);
    chopin_route(v1, "GET", "/x", sees_data, &mine);
    chopin_route(v1, "GET", "/", sees_data, &mine);
    chopin_route(bare, "GET", "/x", sees_data, &mine);
    CHECK_BODY(ask(app, "GET /top"), "none");
    CHECK_BODY(ask(app, "GET /api/x"), "api");
    CHECK_BODY(ask(app, "GET /api/v1/x"), "v1");
    CHECK_BODY(ask(app, "GET /api/v1/"), "v1");
    CHECK_BODY(ask(app, "GET /api/v1/bare/x"), "v1");   // the innermost that has some
    workers_begun = workers_over = 0;
    CHECK_EQ_INT(status_of(app, "GET /x"), 404);
    CHECK_EQ_INT(workers_begun, 1);
    CHECK_EQ_INT(workers_over, 1);
    chopin_free(app);
    app = new_app();
    chopin_group_new(app, "api");
    CHECK(strstr(chopin_error(app), "\"api\"") != NULL);
    chopin_free(app);
}

/* ---- middleware ---- */

static char trail[256];                                      // who ran, in order
static void note(const char *what) { snprintf(trail + strlen(trail), sizeof trail - strlen(trail), "%s ", what); }
static void note_of(chopin_ctx *c, const char *around) { char word[32]; snprintf(word, sizeof word, "%s%s", around, (const char *)chopin_use_data(c)); note(word); }

static int noting(chopin_ctx *c) {
    note_of(c, "+");
    int rc = chopin_next(c);
    note_of(c, "-");
    chopin_setf(c, "X-Seen", "%d", chopin_reply_status(c));
    return rc;
}
static int guarding(chopin_ctx *c) { note_of(c, "!"); return chopin_header(c, "X-Key").ptr ? chopin_next(c) : chopin_fail(c, 401, "no key"); }
static int of_route(chopin_ctx *c) { CHECK(chopin_use_data(c) == NULL); note("+route"); int rc = chopin_next(c); note("-route"); return rc; }

static int ends(chopin_ctx *c)     { note("handler"); return chopin_text(c, 200, "done"); }
static int parks(chopin_ctx *c)    { note("parks"); chopin_sleep(c, 500); note("wakes"); return chopin_text(c, 200, "slept"); }
static int reads(chopin_ctx *c)    { note("reads"); chopin_str b = chopin_body(c); return b.ptr ? chopin_bytes(c, 200, "text/plain", b) : CHOPIN_ANSWERED; }
static int fails(chopin_ctx *c)    { (void)c; note("fails"); return CHOPIN_SYSTEM; }
static int forgets(chopin_ctx *c)  { (void)c; note("forgets"); return 0; }

static chopin_app *layered(void) {
    static const chopin_handler own[] = { of_route, NULL };
    const chopin_route_options with = { .use = own, .max_body = 10 };
    chopin_app   *app = new_app();
    chopin_route(app, "GET", "/in/x", ends, NULL);           // registered before what covers it
    chopin_use_with(app, "/", noting, (void *)(uintptr_t)"A");
    chopin_use_with(app, "/in", noting, (void *)(uintptr_t)"B");
    chopin_group *in = chopin_group_new(app, "/in");
    chopin_use_with(in, "/deep", guarding, (void *)(uintptr_t)"C");
    chopin_route(app, "GET", "/out", ends, NULL);
    chopin_route(app, "GET", "/inn", ends, NULL);            // not under /in
    chopin_route(app, "GET", "/in", ends, NULL);
    chopin_route(in, "GET", "/deep/x", ends, NULL);
    chopin_route(in, "POST", "/limited", reads, &with);
    chopin_route(in, "GET", "/limited", ends, &with);
    chopin_route(in, "GET", "/parks", parks, NULL);
    chopin_route(in, "GET", "/fails", fails, NULL);
    chopin_route(in, "GET", "/forgets", forgets, NULL);
    chopin_fixed(in, "/fixed", NULL, "ready");
    chopin_fixed(in, "/deep/fixed", NULL, "ready");
    return app;
}

static int marks_admin(chopin_ctx *c) { chopin_set(c, "X-Admin", "checked"); return chopin_next(c); }

/* A check on a prefix holds for every path below it, whatever route answers and however the path is encoded. */
static void middleware_cannot_be_slipped_past(void) {
    chopin_options o = kit_options();
    chopin_app *app = chopin_new(&o);
    chopin_use(app, "/admin", marks_admin);
    chopin_use(app, "/u/:id/secret", marks_admin);
    chopin_route(app, "GET", "/:section/x", first_handler, NULL);
    chopin_route(app, "GET", "/u/*rest", first_handler, NULL);
    chopin_route(app, "GET", "/admin/own", first_handler, NULL);
    static const struct { const char *path; int covered; } cases[] = {
        { "/admin/x", 1 }, { "/%61dmin/x", 1 }, { "/admin/own", 1 }, { "/%61dmin/own", 1 }, { "/other/x", 0 }, { "/administrator/x", 0 },
        { "/admin/nowhere", 1 }, { "/%61dmin/nowhere", 1 }, { "/u/7/secret/a", 1 }, { "/u/7/public", 0 }, { "/u/7", 0 }, { "/admin", 1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: t\r\n\r\n", cases[i].path);
        chopin_str reply = kit_play_z(app, text);
        if (!CHECK_EQ_INT(kit_count(reply, "X-Admin: checked"), cases[i].covered)) printf("%s\n", cases[i].path);
    }
    chopin_free(app);
}

static void middleware_order_and_short_circuit(void) {
    static const struct { const char *what, *headers, *trail; int status, seen; } cases[] = {
        { "GET /out",           "",            "+A handler -A ",                         200, 1 },
        { "GET /inn",           "",            "+A handler -A ",                         200, 1 },
        { "GET /in",            "",            "+A +B handler -B -A ",                   200, 1 },
        { "GET /in/x",          "",            "+A +B handler -B -A ",                   200, 1 },
        { "GET /in/deep/x",     "",            "+A +B !C -B -A ",                        401, 1 },
        { "GET /in/deep/x",     "X-Key: 1\r\n", "+A +B !C handler -B -A ",               200, 1 },
        { "GET /in/limited",    "",            "+A +B +route handler -route -B -A ",     200, 1 },
        { "GET /nowhere",       "",            "+A -A ",                                 404, 1 },
        { "GET /in/nowhere",    "",            "+A +B -B -A ",                           404, 1 },
        { "GET /in/deep/none",  "",            "+A +B !C -B -A ",                        401, 1 },
        { "POST /in/x",         "",            "+A +B -B -A ",                           405, 1 },
        { "OPTIONS /in/x",      "",            "+A +B -B -A ",                           204, 1 },
        { "BREW /in/x",         "",            "+A +B -B -A ",                           501, 1 },
        { "OPTIONS *",          "",            "",                                       204, 0 },
        { "GET /in/x%zz",       "",            "+A +B -B -A ",                           400, 1 },
        { "GET /in/fixed",      "",            "+A +B -B -A ",                           200, 1 },
        { "GET /in/deep/fixed", "",            "+A +B !C -B -A ",                        401, 1 },
        { "GET /in/deep/fixed", "X-Key: 1\r\n", "+A +B !C -B -A ",                       200, 1 },
        { "GET /in/parks",      "",            "+A +B parks wakes -B -A ",               200, 1 },
        { "GET /in/fails",      "",            "+A +B fails -B -A ",                     500, 1 },
        { "GET /in/forgets",    "",            "+A +B forgets -B -A ",                   500, 1 },
        { "POST /in/limited",   "Content-Length: 11\r\n", "+A +B +route -route -B -A ",  413, 1 },
    };
    chopin_app *app = layered();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        trail[0] = 0;
        chopin_str reply = ask_with(app, cases[i].what, cases[i].headers);
        CHECK_EQ_INT(kit_status(reply), cases[i].status);
        if (!CHECK(strcmp(trail, cases[i].trail) == 0)) printf("%s: %s\n", cases[i].what, trail);
        CHECK_EQ_INT(kit_has(reply, "X-Seen: "), cases[i].seen);
    }
    trail[0] = 0;                                            // a chunked body says how long it is while it is read
    chopin_str reply = kit_play_z(app, "POST /in/limited HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n8\r\n12345678\r\n0\r\n\r\n");
    CHECK_EQ_INT(kit_status(reply), 413);
    CHECK(kit_has(reply, "X-Seen: "));
    chopin_free(app);
}

static void pipelined_requests_go_through_their_own_chains(void) {
    chopin_app *app = layered();
    trail[0] = 0;
    chopin_str reply = kit_play_z(app, "GET /in/parks HTTP/1.1\r\nHost: t\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: t\r\n\r\nGET /in/fixed HTTP/1.1\r\nHost: t\r\n\r\nGET /out HTTP/1.1\r\nHost: t\r\n\r\n");
    CHECK_EQ_INT(kit_count(reply, "HTTP/1.1 "), 4);
    CHECK(strcmp(trail, "+A +B parks wakes -B -A +A -A +A +B -B -A +A handler -A ") == 0);
    chopin_free(app);
}

static int next_status;
static int twice(chopin_ctx *c) {
    int rc = chopin_next(c);
    next_status = chopin_next(c);
    return rc;
}
static int calls_next(chopin_ctx *c) { next_status = chopin_next(c); return ends(c); }

static void chopin_next_runs_the_rest_once(void) {
    chopin_app *app = new_app();
    chopin_use(app, "/", twice);
    chopin_use_with(app, "/", noting, (void *)(uintptr_t)"A");
    chopin_route(app, "GET", "/x", ends, NULL);
    trail[0] = 0;
    CHECK_EQ_INT(status_of(app, "GET /x"), 200);
    CHECK(strcmp(trail, "+A handler -A ") == 0);
    CHECK_EQ_INT(next_status, CHOPIN_STATE);
    chopin_free(app);
    app = new_app();                                         // behind a handler there is nothing
    chopin_route(app, "GET", "/x", calls_next, NULL);
    CHECK_EQ_INT(status_of(app, "GET /x"), 200);
    CHECK_EQ_INT(next_status, CHOPIN_STATE);
    chopin_free(app);
}

static int decorates(chopin_ctx *c) {
    int rc = chopin_next(c);
    CHECK(chopin_reply_status(c) != 0);
    CHECK_EQ_INT(chopin_set(c, "X-After", "yes"), CHOPIN_OK);
    CHECK_EQ_INT(chopin_remove(c, "X-Inner"), CHOPIN_OK);
    CHECK_EQ_INT(chopin_set_cookie(c, "after", "1", NULL), CHOPIN_OK);
    return rc;
}
static int inner(chopin_ctx *c) { chopin_set(c, "X-Inner", "1"); return chopin_textf(c, 200, "text of %s", "the handler's stack"); }

static void headers_may_change_after_chopin_next(void) {
    chopin_app *app = new_app();
    chopin_use(app, "/", decorates);
    chopin_route(app, "GET", "/x", inner, NULL);
    chopin_fixed(app, "/f", NULL, "ready");
    static const char *const whats[] = { "GET /x", "GET /f", "GET /nowhere", "POST /x", "HEAD /x" };
    for (size_t i = 0; i < sizeof whats / sizeof whats[0]; i++) {
        chopin_str reply = ask(app, whats[i]);
        CHECK(kit_has(reply, "X-After: yes\r\n") && kit_has(reply, "Set-Cookie: after=1") && !kit_has(reply, "X-Inner"));
    }
    CHECK_BODY(ask(app, "GET /x"), "text of the handler's stack");
    chopin_free(app);
}

/* ---- fixed replies ---- */

static chopin_app *fixed_app(chopin_handler middleware) {
    chopin_app *app = new_app();
    const chopin_fixed_options full = { .type = "application/json", .body = CHOPIN_STR("{\"a\":1}"), .cache_control = "public, max-age=60", .allow_origin = "*",
                                        .headers = "X-One: 1\r\nX-Two: 2\r\n" };
    const chopin_fixed_options teapot = { .body = CHOPIN_STR("short"), .status = 418, .no_etag = true, .allow_origin = "https://a.test" };
    const chopin_fixed_options binary = { .type = "application/octet-stream", .body = CHOPIN_STR("a\0b") };
    CHECK_EQ_INT(chopin_fixed(app, "/plain", NULL, "Hello"), CHOPIN_OK);
    CHECK_EQ_INT(chopin_fixed_with(app, "/full", &full), CHOPIN_OK);
    CHECK_EQ_INT(chopin_fixed_with(app, "/teapot", &teapot), CHOPIN_OK);
    CHECK_EQ_INT(chopin_fixed_with(app, "/binary", &binary), CHOPIN_OK);
    mount(app, "POST", "/plain", "post plain");
    if (middleware) chopin_use(app, "/", middleware);
    return app;
}

static int pass(chopin_ctx *c) { return chopin_next(c); }

/* The value of the ETag of a reply, with its quotes. */
static chopin_str etag_of(chopin_str reply, char room[64]) {
    room[0] = 0;
    for (size_t i = 0; i + 30 < reply.len; i++) {
        if (memcmp(reply.ptr + i, "ETag: ", 6) != 0) continue;
        const char *value = reply.ptr + i + 6, *end = memchr(value, '\r', reply.len - i - 6);
        snprintf(room, 64, "%.*s", (int)(end - value), value);
    }
    return chopin__str_z(room);
}

static void fixed_replies_are_whole_replies(void) {
    for (int covered = 0; covered < 2; covered++) {
        chopin_app *app = fixed_app(covered ? pass : NULL);
        chopin_str  reply = ask(app, "GET /full");
        CHECK_EQ_INT(kit_status(reply), 200);
        CHECK_STR(kit_body(reply), "{\"a\":1}");
        CHECK(kit_has(reply, "Content-Type: application/json\r\n") && kit_has(reply, "Content-Length: 7\r\n") && kit_has(reply, "Cache-Control: public, max-age=60\r\n"));
        CHECK(kit_has(reply, "Access-Control-Allow-Origin: *\r\n") && kit_has(reply, "X-One: 1\r\nX-Two: 2\r\n") && kit_has(reply, "Server: chopin\r\n"));
        CHECK_EQ_INT(kit_count(reply, "ETag: \""), 1);
        reply = kit_play_z(app, "HEAD /full HTTP/1.1\r\nHost: t\r\n\r\nGET /plain HTTP/1.1\r\nHost: t\r\n\r\n");
        CHECK(kit_count(reply, "HTTP/1.1 200 OK\r\n") == 2 && kit_has(reply, "Content-Length: 7\r\n") && !kit_has(reply, "{\"a\":1}"));
        reply = ask(app, "GET /teapot?with=query");
        CHECK_EQ_INT(kit_status(reply), 418);
        CHECK(!kit_has(reply, "ETag") && kit_has(reply, "Access-Control-Allow-Origin: https://a.test\r\n") && kit_has(reply, "Vary: Origin\r\n"));
        CHECK_STR(kit_body(reply), "short");
        reply = ask(app, "GET /binary");
        CHECK(kit_body(reply).len == 3 && memcmp(kit_body(reply).ptr, "a\0b", 3) == 0);
        CHECK(answers(app, "GET /plain", "Hello") && answers(app, "POST /plain", "post plain"));
        CHECK(kit_has(ask(app, "GET /plain"), "Content-Type: text/plain; charset=utf-8\r\n"));
        CHECK(allows(ask(app, "DELETE /plain"), "") || status_of(app, "DELETE /plain") == 501);
        CHECK(allows(ask(app, "OPTIONS /plain"), "GET, HEAD, POST, OPTIONS"));
        CHECK(allows(ask(app, "POST /full"), "GET, HEAD, OPTIONS"));
        CHECK_EQ_INT(status_of(app, "POST /full"), 405);
        reply = ask_with(app, "GET /full", "Connection: close\r\n");
        CHECK(kit_has(reply, "Connection: close\r\n"));
        reply = kit_play_z(app, "GET /full HTTP/1.0\r\n\r\n");
        CHECK_STR(kit_body(reply), "{\"a\":1}");
        reply = kit_play_z(app, "GET /plain HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nabcdGET /full HTTP/1.1\r\nHost: t\r\n\r\n");
        CHECK_EQ_INT(kit_count(reply, "HTTP/1.1 200 OK"), 2);  // a body is no reason to lose step
        chopin_free(app);
    }
}

static void fixed_replies_know_their_etag(void) {
    for (int covered = 0; covered < 2; covered++) {
        char        tag[64], other[64], line[300];
        chopin_app *app = fixed_app(covered ? pass : NULL);
        CHECK(etag_of(ask(app, "GET /full"), tag).len > 2);
        CHECK(etag_of(ask(app, "GET /plain"), other).len > 2 && strcmp(tag, other) != 0);
        static const struct { const char *format; int status; } cases[] = {
            { "If-None-Match: %s\r\n", 304 }, { "If-None-Match: \"x\", %s , \"y\"\r\n", 304 }, { "If-None-Match: *\r\n", 304 }, { "If-None-Match: W/%s\r\n", 304 },
            { "If-None-Match: \"x\"\r\n", 200 }, { "If-None-Match: \"\"\r\n", 200 }, { "If-None-Match: x%s\r\n", 200 }, { "X-Other: %s\r\n", 200 },
            { "If-None-Match: \"x\"\r\nIf-None-Match: %s\r\n", 304 },
        };
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            snprintf(line, sizeof line, cases[i].format, tag);
            chopin_str reply = ask_with(app, "GET /full", line);
            if (!CHECK_EQ_INT(kit_status(reply), cases[i].status)) printf("%s", line);
            if (cases[i].status != 304) continue;
            CHECK(kit_has(reply, tag) && kit_has(reply, "Cache-Control: public") && !kit_has(reply, "Content-Length") && !kit_has(reply, "Content-Type"));
            CHECK_EQ_INT(kit_body(reply).len, 0);
        }
        snprintf(line, sizeof line, "If-None-Match: %s\r\n", tag);
        for (char *p = line; *p; p++) *p = (char)(*p >= 'a' && *p <= 'f' ? *p - 32 : *p);
        CHECK_EQ_INT(kit_status(ask_with(app, "GET /full", strpbrk(tag, "abcdef") ? line : "")), 200);   // tags are case-sensitive
        CHECK_EQ_INT(kit_status(ask_with(app, "GET /teapot", "If-None-Match: *\r\n")), 418);              // no ETag, no condition
        chopin_free(app);
        app = fixed_app(covered ? pass : NULL);
        CHECK(strcmp(etag_of(ask(app, "GET /full"), other).ptr, tag) == 0);      // another process says the same
        chopin_free(app);
    }
    chopin_app *app = new_app();
    chopin_fixed_with(app, "/gone", &(chopin_fixed_options){ .body = CHOPIN_STR("gone"), .status = 410 });
    CHECK_EQ_INT(kit_status(ask_with(app, "GET /gone", "If-None-Match: *\r\n")), 410);    // a condition matters to success only (RFC 9110 13.2.1)
    chopin_free(app);
}

static void fixed_replies_may_be_large(void) {
    size_t      size = 300000;
    char       *body = malloc(size);
    chopin_app *app = new_app();
    memset(body, 'z', size);
    chopin_fixed_with(app, "/f", &(chopin_fixed_options){ .body = { body, size } });
    memset(body, 'y', size);                                 // it was copied
    chopin_str reply = chopin_test_request(app, CHOPIN_STR("GET /f HTTP/1.1\r\nHost: t\r\n\r\nHEAD /f HTTP/1.1\r\nHost: t\r\n\r\n"), &(chopin_test_options){ .write_step = 9000, .seed = 2 });
    CHECK_EQ_INT(kit_count(reply, "Content-Length: 300000\r\n"), 2);
    CHECK(kit_body(reply).len > size && kit_body(reply).ptr[0] == 'z' && kit_body(reply).ptr[size - 1] == 'z' && kit_body(reply).ptr[size] == 'H');
    free(body);
    chopin_free(app);
}

/* ---- the request ---- */

static int echo_all(chopin_ctx *c) {
    return chopin_textf(c, 200, "[%.*s][%.*s][%.*s][%.*s][%.*s]", CHOPIN_FMT(chopin_method(c)), CHOPIN_FMT(chopin_target(c)), CHOPIN_FMT(chopin_path(c)),
                        CHOPIN_FMT(chopin_path_decoded(c)), CHOPIN_FMT(chopin_query_string(c)));
}

static void views_of_the_target(void) {
    chopin_app *app = new_app();
    chopin_route(app, "GET", "/*rest", echo_all, NULL);
    CHECK_BODY(ask(app, "GET /a%20b/%2f?x=%41+1"), "[GET][/a%20b/%2f?x=%41+1][/a%20b/%2f][/a b//][x=%41+1]");
    CHECK_BODY(ask(app, "GET /?"), "[GET][/?][/][/][]");
    CHECK_BODY(ask(app, "GET /%252e"), "[GET][/%252e][/%252e][/%2e][]");        // once
    CHECK_BODY(kit_play_z(app, "GET http://u.test/p?q HTTP/1.1\r\nHost: t\r\n\r\n"), "[GET][http://u.test/p?q][/p][/p][q]");
    CHECK_BODY(kit_play_z(app, "GET http://u.test HTTP/1.1\r\nHost: t\r\n\r\n"), "[GET][http://u.test][/][/][]");
    chopin_free(app);
}

static int query_string_of(chopin_ctx *c) { chopin_str q = chopin_query_string(c); return chopin_text(c, 200, !q.ptr ? "absent" : q.len ? "some" : "empty"); }
static int query_of(chopin_ctx *c) {
    chopin_str q = chopin_query(c, "k");
    return q.ptr ? chopin_textf(c, 200, "<%.*s>", CHOPIN_FMT(q)) : chopin_text(c, 200, "absent");
}
static int param_of(chopin_ctx *c) {
    CHECK(chopin_param(c, "nope").ptr == NULL);
    return chopin_textf(c, 200, "<%.*s><%.*s>", CHOPIN_FMT(chopin_param(c, "a")), CHOPIN_FMT(chopin_param(c, "rest")));
}
static int form_of(chopin_ctx *c) {
    chopin_str f = chopin_form(c, "k");
    return f.ptr ? chopin_textf(c, 200, "<%.*s>", CHOPIN_FMT(f)) : chopin_text(c, 200, "absent");
}

static void params_queries_and_forms_are_decoded_once(void) {
    chopin_app *app = new_app();
    chopin_route(app, "GET", "/s", query_string_of, NULL);
    chopin_route(app, "GET", "/q", query_of, NULL);
    chopin_route(app, "GET", "/p/:a/*rest", param_of, NULL);
    chopin_route(app, "POST", "/f", form_of, NULL);
    CHECK_BODY(ask(app, "GET /s"), "absent");
    CHECK_BODY(ask(app, "GET /s?"), "empty");
    CHECK_BODY(ask(app, "GET /s?a"), "some");
    static const struct { const char *query, *want; } queries[] = {
        { "", "absent" }, { "?", "absent" }, { "?j=1", "absent" }, { "?k", "<>" }, { "?k=", "<>" }, { "?k=1&k=2", "<1>" }, { "?a=b&&k=v=w", "<v=w>" },
        { "?k=a+b", "<a+b>" }, { "?k=%2541", "<%41>" }, { "?k=%C3%A9%26", "<\xc3\xa9&>" }, { "?%6b=1", "absent" }, { "?K=1", "absent" }, { "?kk=1&k=2", "<2>" },
    };
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
        char what[100];
        snprintf(what, sizeof what, "GET /q%s", queries[i].query);
        CHECK_BODY(ask(app, what), queries[i].want);
    }
    CHECK_BODY(ask(app, "GET /p/x%2fy/a/b%20c/"), "<x/y><a/b c/>");             // an escaped slash makes no segment
    CHECK_BODY(ask(app, "GET /p/%252f/"), "<%2f><>");
    CHECK_BODY(ask(app, "GET /p/a+b/+"), "<a+b><+>");
    static const char form[] = "application/x-www-form-urlencoded";
    CHECK_BODY(post(app, "/f", form, "k=a+b%2Bc%2541"), "<a b+c%41>");
    CHECK_BODY(post(app, "/f", "Application/X-WWW-Form-Urlencoded; charset=utf-8", "j=&k="), "<>");
    CHECK_BODY(post(app, "/f", form, "%6B=2"), "<2>");
    CHECK_BODY(post(app, "/f", form, ""), "absent");
    CHECK_EQ_INT(kit_status(post(app, "/f", "text/plain", "k=1")), 415);
    CHECK_EQ_INT(kit_status(post(app, "/f", form, "j=%zz&k=1")), 400);
    CHECK_EQ_INT(kit_status(post(app, "/f", form, "j=%00&k=1")), 400);
    chopin_free(app);
}

static void malformed_escapes_are_400(void) {
    static const char *const bad[] = { "/%", "/%4", "/%zz", "/%00", "/a%0", "/?%", "/?a=%4", "/?a=%zz", "/?a=b%00", "/x?a=1&b=%%20", "/%2%30" };
    chopin_app *app = new_app();
    mount(app, "GET", "/*rest", "any");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char what[100];
        snprintf(what, sizeof what, "GET %s", bad[i]);
        if (!CHECK_EQ_INT(status_of(app, what), 400)) printf("%s\n", what);
    }
    CHECK(answers(app, "GET /%2541?%25", "any"));
    chopin_free(app);
}

static int cookie_of(chopin_ctx *c) {
    chopin_str a = chopin_cookie(c, "a"), b = chopin_cookie(c, "b");
    return chopin_textf(c, 200, "%s<%.*s>%s<%.*s>", a.ptr ? "" : "no", CHOPIN_FMT(a), b.ptr ? "" : "no", CHOPIN_FMT(b));
}

static void cookies_are_found_on_every_line(void) {
    chopin_app *app = new_app();
    chopin_route(app, "GET", "/", cookie_of, NULL);
    CHECK_BODY(ask(app, "GET /"), "no<>no<>");
    CHECK_BODY(ask_with(app, "GET /", "Cookie: a=1; b=\"q\"\r\n"), "<1><q>");
    CHECK_BODY(ask_with(app, "GET /", "Cookie: x=1\r\nCookie: b=; a=%41\r\n"), "<%41><>");
    CHECK_BODY(ask_with(app, "GET /", "Cookie: A=1; aa=2; a=3; a=4\r\n"), "<3>no<>");
    chopin_free(app);
}

static int headers_of(chopin_ctx *c) {
    chopin_str name, value;
    size_t     at = 0, count = 0;
    CHECK_STR(chopin_header(c, "x-one"), "1");
    CHECK_STR(chopin_header(c, "X-ONE"), "1");
    CHECK_STR(chopin_header(c, "USER-agent"), "test");
    CHECK_STR(chopin_header_of(c, CHOPIN_H_USER_AGENT), "test");
    CHECK_STR(chopin_header_nth(c, "X-Many", 0), "a");
    CHECK_STR(chopin_header_nth(c, "x-many", 1), "b");
    CHECK_STR(chopin_header_nth(c, "X-MANY", 2), "c");
    CHECK(chopin_header_nth(c, "X-Many", 3).ptr == NULL);
    CHECK_STR(chopin_header_nth(c, "accept", 1), "text/html");
    CHECK(chopin_header_nth(c, "accept", 2).ptr == NULL);
    CHECK(chopin_header(c, "X-Absent").ptr == NULL && chopin_header_of(c, CHOPIN_H_COOKIE).ptr == NULL && chopin_header(c, "cookie").ptr == NULL);
    CHECK(chopin_header(c, "X-Empty").ptr && chopin_header(c, "X-Empty").len == 0);
    CHECK(chopin_header(c, "Content_Length").ptr == NULL);
    static const char *const names[] = { "Host", "X-One", "User-Agent", "X-Many", "x-many", "X-MANY", "Accept", "accept", "X-Empty" };
    while (chopin_header_each(c, &at, &name, &value)) {
        if (!CHECK(count < 9)) break;
        CHECK_STR(name, names[count]);                       // in order, as sent
        count++;
    }
    CHECK_EQ_INT(count, 9);
    return chopin_text(c, 200, "ok");
}

static void headers_are_found_by_name_enum_and_number(void) {
    static const char lines[] = "X-One:  1 \t\r\nUser-Agent: test\r\nX-Many: a\r\nx-many: b\r\nX-MANY: c\r\nAccept: */*\r\naccept: text/html\r\nX-Empty:\r\n";
    chopin_app *app = new_app();
    chopin_route(app, "GET", "/", headers_of, NULL);
    CHECK_EQ_INT(kit_status(ask_with(app, "GET /", lines)), 200);
    chopin_free(app);
}

static int trailer_of(chopin_ctx *c) {
    CHECK(chopin_trailer(c, "X-Sum").ptr == NULL);           // not before the body has been read
    chopin_str body = chopin_body(c);
    CHECK(chopin_header(c, "X-Sum").ptr == NULL);            // and never among the headers
    return chopin_textf(c, 200, "<%.*s><%.*s>%s", CHOPIN_FMT(body), CHOPIN_FMT(chopin_trailer(c, "x-SUM")), chopin_trailer(c, "X-None").ptr ? "?" : "");
}

static void trailers_are_kept_apart(void) {
    chopin_app *app = new_app();
    chopin_route(app, "POST", "/", trailer_of, NULL);
    // Arriving slowly, so that the handler waits for its body.
    static const char request[] = "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nWiki\r\n0\r\nX-Sum: 42 \r\nX-Other: 1\r\n\r\n";
    CHECK_BODY(chopin_test_request(app, chopin__str_z(request), &(chopin_test_options){ .read_step = 7 }), "<Wiki><42>");
    chopin_free(app);
}

static int host_of(chopin_ctx *c) {
    chopin_str host = chopin_host(c);
    return host.ptr ? chopin_textf(c, 200, "<%.*s>", CHOPIN_FMT(host)) : chopin_text(c, 200, "absent");
}

static void the_host_is_the_targets_or_the_headers(void) {
    chopin_app *app = new_app();
    chopin_route(app, "GET", "/", host_of, NULL);
    CHECK_BODY(kit_play_z(app, "GET / HTTP/1.1\r\nHost: a.test:81\r\n\r\n"), "<a.test:81>");
    CHECK_BODY(kit_play_z(app, "GET http://b.test:82/ HTTP/1.1\r\nHost: a.test:81\r\n\r\n"), "<b.test:82>");
    CHECK_BODY(kit_play_z(app, "GET / HTTP/1.0\r\n\r\n"), "absent");
    CHECK_EQ_INT(kit_status(kit_play_z(app, "GET / HTTP/1.1\r\n\r\n")), 400);
    chopin_free(app);
}

static int id_of(chopin_ctx *c) {
    chopin_str id = chopin_request_id(c), again = chopin_request_id(c);
    CHECK(chopin__equal(id, again) && id.len == 16);
    return chopin_textf(c, 200, "%.*s", CHOPIN_FMT(id));
}

static void request_ids_are_ours(void) {
    chopin_app *app = new_app();
    chopin_route(app, "GET", "/", id_of, NULL);
    chopin_str reply = kit_play_z(app, "GET / HTTP/1.1\r\nHost: t\r\nX-Request-Id: 0123456789abcdef\r\n\r\nGET / HTTP/1.1\r\nHost: t\r\n\r\n");
    CHECK_EQ_INT(kit_count(reply, "0123456789abcdef"), 0);
    chopin_str first = kit_body(reply), second = { first.ptr ? first.ptr + 16 : NULL, first.len > 16 ? first.len - 16 : 0 };
    CHECK(kit_body(second).len == 16 && memcmp(first.ptr, kit_body(second).ptr, 16) != 0);
    chopin_free(app);
}

/* ---- typed getters ---- */

static const char *const colours[] = { "red", "green", NULL };

static int typed(chopin_ctx *c) {
    int64_t i; uint64_t u; double f; bool b; int e; chopin_str s;
    if (chopin_get_i64(c, CHOPIN_FROM_QUERY, "i", &i) || chopin_get_u64(c, CHOPIN_FROM_PARAM, "u", &u) || chopin_get_f64(c, CHOPIN_FROM_QUERY, "f", &f)
        || chopin_get_bool(c, CHOPIN_FROM_HEADER, "X-Flag", &b) || chopin_get_enum(c, CHOPIN_FROM_COOKIE, "e", colours, &e) || chopin_get_str(c, CHOPIN_FROM_QUERY, "s", &s)) {
        return CHOPIN_ANSWERED;
    }
    return chopin_textf(c, 200, "%lld %llu %g %d %d %.*s", (long long)i, (unsigned long long)u, f, b, e, CHOPIN_FMT(s));
}

static void typed_getters_answer_400_with_the_name(void) {
    chopin_app *app = new_app();
    chopin_route(app, "GET", "/:u", typed, NULL);
    static const char good[] = "X-Flag: yes\r\nCookie: e=green\r\n";
    CHECK_BODY(ask_with(app, "GET /18446744073709551615?i=-9223372036854775808&f=2.5e3&s=%C3%A9", good), "-9223372036854775808 18446744073709551615 2500 1 1 \xc3\xa9");
    CHECK_BODY(ask_with(app, "GET /0?i=0&f=-0.5&s=", good), "0 0 -0.5 1 1 ");
    static const struct { const char *what, *headers, *name; } bad[] = {
        { "GET /1?f=1&s=", good, "\\\"i\\\" is missing" },             { "GET /1?i=&f=1&s=", good, "\\\"i\\\" must be" },     { "GET /1?i=9223372036854775808&f=1&s=", good, "\\\"i\\\"" },
        { "GET /1?i=1x&f=1&s=", good, "\\\"i\\\"" },                   { "GET /1?i=+1&f=1&s=", good, "\\\"i\\\"" },           { "GET /1?i=%201&f=1&s=", good, "\\\"i\\\"" },
        { "GET /-1?i=1&f=1&s=", good, "\\\"u\\\" must be" },           { "GET /18446744073709551616?i=1&f=1&s=", good, "\\\"u\\\"" },
        { "GET /1?i=1&f=nan&s=", good, "\\\"f\\\"" },                  { "GET /1?i=1&f=0x1&s=", good, "\\\"f\\\"" },          { "GET /1?i=1&f=1e400&s=", good, "\\\"f\\\"" },
        { "GET /1?i=1&f=1&s=", "X-Flag: maybe\r\nCookie: e=red\r\n", "\\\"X-Flag\\\"" }, { "GET /1?i=1&f=1&s=", "X-Flag: on\r\nCookie: e=Red\r\n", "\\\"e\\\"" },
        { "GET /1?i=1&f=1&s=", "X-Flag: on\r\n", "\\\"e\\\" is missing" },               { "GET /1?i=1&f=1", good, "\\\"s\\\" is missing" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        chopin_str reply = ask_with(app, bad[i].what, bad[i].headers);
        CHECK_EQ_INT(kit_status(reply), 400);
        if (!CHECK(kit_has(reply, bad[i].name))) printf("%s: %.*s\n", bad[i].what, CHOPIN_FMT(kit_body(reply)));
    }
    CHECK(said[0] == 0);                                     // a client's mistake is not worth a log line
    chopin_free(app);
}

static int fallbacks(chopin_ctx *c) {
    return chopin_textf(c, 200, "%lld %llu %g %d %d %.*s", (long long)chopin_get_i64_or(c, CHOPIN_FROM_QUERY, "i", -7), (unsigned long long)chopin_get_u64_or(c, CHOPIN_FROM_QUERY, "u", 8),
                        chopin_get_f64_or(c, CHOPIN_FROM_QUERY, "f", 1.5), chopin_get_bool_or(c, CHOPIN_FROM_QUERY, "b", true),
                        chopin_get_enum_or(c, CHOPIN_FROM_QUERY, "e", colours, 5), CHOPIN_FMT(chopin_get_str_or(c, CHOPIN_FROM_QUERY, "s", CHOPIN_STR("none"))));
}

static void or_getters_never_answer(void) {
    chopin_app *app = new_app();
    chopin_route(app, "GET", "/", fallbacks, NULL);
    CHECK_BODY(ask(app, "GET /"), "-7 8 1.5 1 5 none");
    CHECK_BODY(ask(app, "GET /?i=x&u=-1&f=&b=2&e=blue&s="), "-7 8 1.5 1 5 ");
    CHECK_BODY(ask(app, "GET /?i=3&u=4&f=5&b=off&e=red&s=t"), "3 4 5 0 0 t");
    chopin_free(app);
}

/* ---- request memory ---- */

static int allocates(chopin_ctx *c) {
    for (int i = 0; i < 100; i++) {
        unsigned char *p = chopin_alloc(c, 500);
        if (!CHECK(p && (uintptr_t)p % 16 == 0)) break;
        for (int at = 0; at < 500; at++) CHECK_EQ_INT(p[at], 0);
        memset(p, 0xff, 500);
    }
    chopin_str text = chopin_printf(c, "%d-%s", 5, "x");
    CHECK_STR(text, "5-x");
    CHECK_EQ_INT(strlen(text.ptr), 3);
    return chopin_text(c, 200, text.ptr);
}
static int exhausts(chopin_ctx *c) {
    while (chopin_alloc(c, 10000)) { }
    return chopin_text(c, 200, "never seen");
}
static int order[4], order_count;
static void ran(void *arg) { order[order_count++ & 3] = *(int *)arg; }
static int defers(chopin_ctx *c) {
    static int one = 1, two = 2, three = 3;
    CHECK_EQ_INT(chopin_defer(c, ran, &one), CHOPIN_OK);
    CHECK_EQ_INT(chopin_defer(c, ran, &two), CHOPIN_OK);
    CHECK_EQ_INT(chopin_defer(c, ran, &three), CHOPIN_OK);
    if (chopin_query(c, "fail").ptr) return CHOPIN_SYSTEM;
    if (chopin_query(c, "panic").ptr) chopin_panic(c, "%s", "now");
    return chopin_text(c, 200, "ok");
}

static void request_memory_is_zeroed_bounded_and_ends_in_reverse(void) {
    chopin_app *app = new_app();
    chopin_route(app, "GET", "/a", allocates, NULL);
    chopin_route(app, "GET", "/e", exhausts, NULL);
    chopin_route(app, "GET", "/d", defers, NULL);
    chopin_use(app, "/e", pass);
    CHECK(answers(app, "GET /a", "5-x") && answers(app, "GET /a", "5-x"));
    CHECK_EQ_INT(status_of(app, "GET /e"), 503);
    static const char *const whats[] = { "GET /d", "GET /d?fail", "GET /d?panic" };
    for (int i = 0; i < 3; i++) {
        order_count = 0;
        CHECK_EQ_INT(status_of(app, whats[i]), i ? 500 : 200);
        CHECK(order_count == 3 && order[0] == 3 && order[1] == 2 && order[2] == 1);
    }
    chopin_free(app);
}

/* ---- options ---- */

static void options_are_resolved_once(void) {
    chopin_options o = kit_options();
    o.backend = NULL;
    o.max_body = 777;
    o.idle_timeout_ms = -1;
    o.high_water = 5000;
    chopin_app *app = chopin_new(&o);
    const chopin_options *r = chopin_options_of(app);
    CHECK_EQ_INT(r->max_body, 777);
    CHECK_EQ_INT(r->idle_timeout_ms, -1);
    CHECK_EQ_INT(r->max_headers, 100);
    CHECK_EQ_INT(r->header_timeout_ms, 10000);
    CHECK_EQ_INT(r->max_connections, 16000);
    CHECK_EQ_INT(r->read_buffer, 65536);
    CHECK_EQ_INT(r->max_target, 8192);
    CHECK_EQ_INT(r->drain_timeout_ms, 30000);
    CHECK(r->low_water <= r->high_water);
    CHECK(strcmp(r->backend, "auto") == 0 && strcmp(r->server, "chopin") == 0);
    CHECK_EQ_INT(r->workers, 1);
    chopin_free(app);
    app = chopin_new(NULL);
    CHECK(chopin_options_of(app)->workers >= 1 && chopin_options_of(app)->offload_threads >= 1);
    chopin_free(app);
    char text[] = "mine";                                    // texts are copied
    o.server = text;
    app = chopin_new(&o);
    memset(text, 'x', 4);
    CHECK(strcmp(chopin_options_of(app)->server, "mine") == 0);
    chopin_free(app);
}

static int deep(chopin_ctx *c) {
    volatile char frame[1 << 20];
    size_t sum = 0;
    for (size_t i = 0; i < sizeof frame; i += 4096) frame[i] = 1;
    for (size_t i = 0; i < sizeof frame; i += 4096) sum += (size_t)frame[i];
    return chopin_textf(c, 200, "%zu", sum);
}
static void a_route_may_ask_for_more_stack(void) {
    chopin_app *app = chopin_new(&(chopin_options){ .no_env = true, .quiet = true, .no_signals = true });
    chopin_route(app, "GET", "/deep", deep, &(chopin_route_options){ .stack_size = 2 << 20 });
    chopin_route(app, "GET", "/flat", deep, &(chopin_route_options){ .stack_size = 4096 });
    CHECK_EQ_INT(chopin_options_of(app)->stack_size, 2 << 20);               // the most that any of them asks for
    CHECK_BODY(chopin_test_request(app, CHOPIN_STR("GET /deep HTTP/1.1\r\nHost: t\r\n\r\n"), NULL), "256");
    chopin_free(app);
}

static void options_out_of_range_are_named(void) {
    static const struct { chopin_options o; const char *name; } bad[] = {
        { { .workers = -1 }, "workers" },               { { .workers = 5000 }, "workers" },             { { .max_connections = 16000001 }, "max_connections" },
        { { .read_buffer = 511 }, "read_buffer" },      { { .write_buffer = (1 << 20) + 1 }, "write_buffer" }, { { .max_head = 63 }, "max_head" },
        { { .max_headers = 10001 }, "max_headers" },    { { .stack_size = 16383 }, "stack_size" },      { { .idle_timeout_ms = -2 }, "idle_timeout_ms" },
        { { .header_timeout_ms = -5 }, "header_timeout_ms" }, { { .max_faults = -1 }, "max_faults" },   { { .offload_threads = 65 }, "offload_threads" },
        { { .backend = "iocp" }, "\"iocp\"" },          { { .server = "a\nb" }, "server" },             { { .trusted_proxies = "10.0.0.0/33" }, "trusted_proxies" },
        { { .epoll_timeout_ms = 3600001 }, "epoll_timeout_ms" }, { { .max_arena = 1 }, "max_arena" },   { { .backlog = -1 }, "backlog" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        chopin_options o = bad[i].o;
        o.log = remember;
        o.no_env = true;
        said[0] = 0;
        chopin_app *app = chopin_new(&o);
        if (!CHECK(strstr(chopin_error(app), bad[i].name) && strstr(said, bad[i].name))) printf("%s: \"%s\"\n", bad[i].name, chopin_error(app));
        CHECK_EQ_INT(chopin_serve(app, "127.0.0.1:0"), CHOPIN_INVALID);
        chopin_free(app);
    }
}

static void bad_environment_stops_the_start(void) {
    static const struct { const char *name, *bad, *good; } vars[] = {
        { "CHOPIN_WORKERS", "two", "2" }, { "CHOPIN_SLAB_CAPACITY", "0", "5" }, { "CHOPIN_EPOLL_TIMEOUT_MS", "-3", "0" }, { "CHOPIN_READ_BUF_SIZE", "100", "512" },
        { "CHOPIN_WRITE_BUF_SIZE", "99999999", "1048576" }, { "CHOPIN_BACKEND", "select", "epoll" }, { "CHOPIN_WORKERS", "", "1" }, { "CHOPIN_WORKERS", " 1", "4096" },
    };
    for (size_t i = 0; i < sizeof vars / sizeof vars[0]; i++) {
        chopin_options o = { .log = remember };
        said[0] = 0;
        setenv(vars[i].name, vars[i].bad, 1);
        chopin_app *app = chopin_new(&o);
        if (!CHECK(strstr(chopin_error(app), strcmp(vars[i].name, "CHOPIN_BACKEND") ? vars[i].name : "select"))) printf("%s=%s\n", vars[i].name, vars[i].bad);
        CHECK(chopin_serve(app, "127.0.0.1:0") < 0);
        chopin_free(app);
        o.no_env = true;
        app = chopin_new(&o);
        CHECK(chopin_error(app)[0] == 0);
        chopin_free(app);
        o.no_env = false;
        setenv(vars[i].name, vars[i].good, 1);
        app = chopin_new(&o);
        CHECK(chopin_error(app)[0] == 0);
        chopin_free(app);
        unsetenv(vars[i].name);
    }
    setenv("CHOPIN_WORKERS", "3", 1);
    chopin_app *app = chopin_new(NULL);
    CHECK_EQ_INT(chopin_options_of(app)->workers, 3);
    chopin_free(app);
    app = chopin_new(&(chopin_options){ .workers = 2 });     // a field wins over the environment
    CHECK_EQ_INT(chopin_options_of(app)->workers, 2);
    chopin_free(app);
    unsetenv("CHOPIN_WORKERS");
}

static void limits_are_printed(void) {
    char  text[8192] = "";
    FILE *file = tmpfile();
    if (!CHECK(file != NULL)) return;
    chopin_options o = kit_options();
    o.max_body = 424242;
    chopin_app *app = chopin_new(&o);
    fflush(stdout);
    int out = dup(STDOUT_FILENO);
    dup2(fileno(file), STDOUT_FILENO);
    chopin_limits(app);
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    close(out);
    rewind(file);
    CHECK(fread(text, 1, sizeof text - 1, file) > 100);
    fclose(file);
    static const char *const rows[] = { "workers", "max_connections", "CHOPIN_SLAB_CAPACITY", "read_buffer", "max_target", "max_head", "max_headers", "max_body", "424242",
                                        "max_drain", "max_arena", "header_timeout_ms", "idle_timeout_ms", "min_send_rate", "drain_timeout_ms", "max_parked" };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) CHECK(strstr(text, rows[i]) != NULL);
    chopin_free(app);
}

static void routes_have_options_of_their_own(void) {
    chopin_options o = listening();
    o.max_body = 20;
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "POST", "/small", reads, &(chopin_route_options){ .max_body = 5 });
    chopin_route(app, "POST", "/app", reads, NULL);
    chopin_route(app, "POST", "/large", reads, &(chopin_route_options){ .max_body = 100 });
    chopin_route(app, "POST", "/any", reads, &(chopin_route_options){ .max_body = CHOPIN_NO_LIMIT });
    static const struct { const char *path; size_t length; int status; } cases[] = {
        { "/small", 5, 200 }, { "/small", 6, 413 }, { "/app", 20, 200 }, { "/app", 21, 413 }, { "/large", 100, 200 }, { "/large", 101, 413 }, { "/any", 5000, 200 }, { "/none", 21, 413 }, { "/none", 20, 404 },
    };
    char body[5001];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        memset(body, 'b', cases[i].length);
        body[cases[i].length] = 0;
        chopin_str reply = post(app, cases[i].path, "text/plain", body);
        if (!CHECK_EQ_INT(kit_status(reply), cases[i].status)) printf("%s %zu\n", cases[i].path, cases[i].length);
        if (cases[i].status == 200) CHECK_EQ_INT(kit_body(reply).len, cases[i].length);
    }
    chopin_free(app);
}

static int times_out(chopin_ctx *c) { return chopin_sleep(c, 100000); }

static void a_route_may_have_a_deadline(void) {
    chopin_app *app = new_app();
    chopin_route(app, "GET", "/x", times_out, &(chopin_route_options){ .handler_timeout_ms = 500 });
    CHECK_EQ_INT(status_of(app, "GET /x"), 503);
    chopin_free(app);
}

/* ---- attribute routes ---- */

CHOPIN_POST(zeta, "/zeta")       { return chopin_text(c, 200, "zeta"); }
CHOPIN_GET(mid, "/mid/:x")       { return chopin_textf(c, 200, "mid %.*s", CHOPIN_FMT(chopin_param(c, "x"))); }
CHOPIN_GET(alpha, "/alpha")      { return chopin_text(c, 200, "alpha"); }
CHOPIN_DELETE(alpha_gone, "/alpha") { return chopin_empty(c, 204); }
CHOPIN_ROUTE("PURGE", purge, "/mid/:x") { return chopin_empty(c, 204); }

static void attribute_routes_are_mounted_sorted(void) {
    chopin_app *app = new_app();
    CHECK_EQ_INT(chopin_mount_all(app), CHOPIN_OK);
    CHECK_EQ_INT(chopin_mount_all(app), CHOPIN_OK);          // once is enough
    static const char *const names[] = { "alpha_gone", "alpha", "mid", "purge", "zeta" };
    size_t n = 0;
    for (chopin__endpoint *e = app->site->endpoints; e; e = e->next, n++) {
        if (!CHECK(n < 5)) break;
        CHECK(strcmp(e->route.name, names[n]) == 0 && strstr(e->route.file, "test_server.c") && e->route.line > 0);
    }
    CHECK_EQ_INT(n, 5);
    CHECK(answers(app, "POST /zeta", "zeta") && answers(app, "GET /mid/7", "mid 7") && answers(app, "GET /alpha", "alpha"));
    CHECK_EQ_INT(status_of(app, "DELETE /alpha"), 204);
    chopin_free(app);
    app = new_app();
    chopin_route(app, "GET", "/alpha", first_handler, NULL);
    CHECK_EQ_INT(chopin_mount_all(app), CHOPIN_CONFLICT);
    chopin_free(app);
}

/* ---- the test call itself ---- */

static int64_t slept;
static int sleeps(chopin_ctx *c) {
    int64_t before = chopin_now_ms(c);
    int rc = chopin_sleep(c, 3600000);
    slept = chopin_now_ms(c) - before;
    return rc < 0 ? rc : chopin_text(c, 200, "slept");
}

static void the_test_call_plays_what_it_is_told(void) {
    static const char two[] = "POST /r HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhelloGET /s HTTP/1.1\r\nHost: t\r\n\r\n";
    chopin_app *app = new_app();
    chopin_route(app, "POST", "/r", reads, NULL);
    chopin_route(app, "GET", "/s", sleeps, NULL);
    char   want[2000];
    chopin_str reply = kit_play_z(app, two);
    size_t len = reply.len;
    if (!CHECK(len > 100 && len < sizeof want)) return;
    memcpy(want, reply.ptr, len);
    for (size_t step = 0; step < 30; step++) {
        for (uint64_t seed = 0; seed < 3; seed++) {
            int64_t real = chopin_now_us();
            reply = chopin_test_request(app, chopin__str_z(two), &(chopin_test_options){ .read_step = step, .write_step = step, .seed = seed });
            CHECK(reply.len == len && memcmp(reply.ptr, want, len) == 0);
            CHECK(slept >= 3600000 && slept < 3600010);      // an hour of virtual time ...
            CHECK(chopin_now_us() - real < 60000000);        // ... takes none
        }
    }
    reply = chopin_test_request(app, chopin__str_z(two), &(chopin_test_options){ .keep_open = true });
    CHECK(reply.len == len);                                 // ends by the idle timeout
    reply = chopin_test_request(app, chopin__str_z(two), &(chopin_test_options){ .stall_after = 50 });
    CHECK_EQ_INT(kit_status(reply), 408);
    reply = chopin_test_request(app, chopin__str_z("GET /s HTTP/1.1\r\nHost: t\r\n\r\n"), &(chopin_test_options){ .reset = true });
    CHECK(reply.ptr && reply.len == 0);                      // the client has left while the handler slept
    reply = kit_play_z(app, "");
    CHECK(reply.ptr && reply.len == 0);
    chopin_free(app);
}

static void the_test_call_counts(void) {
    chopin_app *app = new_app();
    chopin_route(app, "GET", "/a", ends, NULL);
    for (int i = 0; i < 50; i++) CHECK_EQ_INT(status_of(app, "GET /a"), 200);
    CHECK(chopin_counters_of(app).allocations > 0);
    chopin_free(app);
    chopin_free(NULL);
}

static int refuses_to_start(chopin_worker *w, void *user) { (void)w; (void)user; return CHOPIN_MISSING; }

static void a_worker_that_refuses_stops_the_start(void) {
    chopin_options o = listening();
    o.on_worker_start = refuses_to_start;
    chopin_app *app = chopin_new(&o);
    chopin_route(app, "GET", "/a", ends, NULL);
    CHECK_EQ_INT(ask(app, "GET /a").len, 0);
    CHECK_EQ_INT(chopin_serve(app, "127.0.0.1:0"), CHOPIN_MISSING);
    CHECK(strstr(chopin_error(app), "on_worker_start") != NULL);
    chopin_free(app);
}

static void statuses_have_texts(void) {
    CHECK(strcmp(chopin_status_text(CHOPIN_OK), "no error") == 0);
    for (int status = -15; status <= 0; status++) CHECK(strlen(chopin_status_text(status)) > 5 && strcmp(chopin_status_text(status), "unknown status") != 0);
    CHECK(strcmp(chopin_status_text(-99), "unknown status") == 0 && strcmp(chopin_status_text(7), "unknown status") == 0);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(method_matrix);
    RUN(any_token_is_a_method);
    RUN(conflicts_fail_the_start);
    RUN(bad_set_up_is_refused_and_remembered);
    RUN(slash_policy_is_one_policy);
    RUN(redirect_slash_goes_to_the_registered_one);
    RUN(groups_nest_and_user_data_is_found);
    RUN(middleware_cannot_be_slipped_past);
    RUN(middleware_order_and_short_circuit);
    RUN(pipelined_requests_go_through_their_own_chains);
    RUN(chopin_next_runs_the_rest_once);
    RUN(headers_may_change_after_chopin_next);
    RUN(fixed_replies_are_whole_replies);
    RUN(fixed_replies_know_their_etag);
    RUN(fixed_replies_may_be_large);
    RUN(views_of_the_target);
    RUN(params_queries_and_forms_are_decoded_once);
    RUN(malformed_escapes_are_400);
    RUN(cookies_are_found_on_every_line);
    RUN(headers_are_found_by_name_enum_and_number);
    RUN(trailers_are_kept_apart);
    RUN(the_host_is_the_targets_or_the_headers);
    RUN(request_ids_are_ours);
    RUN(typed_getters_answer_400_with_the_name);
    RUN(or_getters_never_answer);
    RUN(request_memory_is_zeroed_bounded_and_ends_in_reverse);
    RUN(options_are_resolved_once);
    RUN(a_route_may_ask_for_more_stack);
    RUN(options_out_of_range_are_named);
    RUN(bad_environment_stops_the_start);
    RUN(limits_are_printed);
    RUN(routes_have_options_of_their_own);
    RUN(a_route_may_have_a_deadline);
    RUN(attribute_routes_are_mounted_sorted);
    RUN(the_test_call_plays_what_it_is_told);
    RUN(the_test_call_counts);
    RUN(a_worker_that_refuses_stops_the_start);
    RUN(statuses_have_texts);
    return TEST_END();
}
