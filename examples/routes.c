/* routes.c - routes registered by hand: groups, middleware, a fixed reply, user data, options of one route.
   cc -O2 -pthread examples/routes.c -o routes && ./routes
   Try: curl http://127.0.0.1:8080/api/todos                   a group's prefix and its user data
        curl -i http://127.0.0.1:8080/api/todos/2              a parameter; Server-Timing comes from the middleware
        curl -i -X POST http://127.0.0.1:8080/api/todos        401: the route's own middleware wants a token
        curl -H 'Authorization: Bearer sesame' -d 'buy milk' http://127.0.0.1:8080/api/todos
        curl -i http://127.0.0.1:8080/health                   ready bytes, no handler
        curl -i -X POST http://127.0.0.1:8080/health           405 with Allow, by itself
        ./routes routes                                        the table of routes                                     */
#define CHOPIN_IMPLEMENTATION
#include "../chopin.h"

/* One store for all workers, reached as the group's user data. Workers share it, hence the lock; nobody waits while holding it. */
enum { TODOS = 100 };
typedef struct store {
    pthread_mutex_t lock;
    int             count;
    char            titles[TODOS][80];
} store;

/* Middleware: what stands before chopin_next() runs on the way in, what stands behind it on the way out. */
static int timing(chopin_ctx *c) {
    int64_t from = chopin_now_us();
    int     rc = chopin_next(c);
    chopin_setf(c, "Server-Timing", "app;dur=%.3f", (double)(chopin_now_us() - from) / 1e3);
    return rc;
}

/* Middleware that answers instead of going on. */
static int needs_token(chopin_ctx *c) {
    chopin_str sent = chopin_header_of(c, CHOPIN_H_AUTHORIZATION), want = CHOPIN_STR("Bearer sesame");
    if (sent.len == want.len && memcmp(sent.ptr, want.ptr, want.len) == 0) return chopin_next(c);
    chopin_set(c, "WWW-Authenticate", "Bearer");
    return chopin_fail(c, 401, "this route wants a token");
}

static int count_todos(chopin_ctx *c) {
    store *s = chopin_group_user(c);
    pthread_mutex_lock(&s->lock);
    int count = s->count;
    pthread_mutex_unlock(&s->lock);
    return chopin_jsonf(c, 200, "{count:%d}", count);
}

static int get_todo(chopin_ctx *c) {
    store  *s = chopin_group_user(c);
    int64_t id;
    char    title[sizeof s->titles[0]] = "";
    if (chopin_get_i64(c, CHOPIN_FROM_PARAM, "id", &id)) return 0;             // 400 has been answered
    pthread_mutex_lock(&s->lock);
    if (id >= 0 && id < s->count) memcpy(title, s->titles[id], sizeof title);
    pthread_mutex_unlock(&s->lock);
    return title[0] ? chopin_jsonf(c, 200, "{id:%lld,title:%s}", (long long)id, title) : chopin_fail(c, 404, "no such todo");
}

static int add_todo(chopin_ctx *c) {
    store     *s = chopin_group_user(c);
    chopin_str title = chopin_body(c);                                         // may wait: before the lock
    if (!title.ptr) return 0;                                                  // answered already
    if (title.len == 0 || title.len >= sizeof s->titles[0]) return chopin_fail(c, 422, "a title has 1 to 79 bytes");
    pthread_mutex_lock(&s->lock);
    int id = s->count < TODOS ? s->count++ : -1;
    if (id >= 0) memcpy(s->titles[id], title.ptr, title.len);
    pthread_mutex_unlock(&s->lock);
    if (id < 0) return chopin_fail(c, 507, "the list is full");
    chopin_setf(c, "Location", "/api/todos/%d", id);
    return chopin_jsonf(c, 201, "{id:%d,title:%q}", id, title);
}

static int whole_rest(chopin_ctx *c) {
    const char *greeting = chopin_route_user(c);
    return chopin_textf(c, 200, "%s %.*s\n", greeting, CHOPIN_FMT(chopin_param(c, "rest")));
}

int main(int argc, char **argv) {
    static store todos = { PTHREAD_MUTEX_INITIALIZER, 3, { "read chopin.h", "write a handler", "write its test" } };
    static char  greeting[] = "behind /files/ stands:";
    static const chopin_handler guards[] = { needs_token, NULL };

    chopin_app *app = chopin_new(&(chopin_options){ .max_body = 64 << 10 });
    chopin_use(app, "/api", timing);                                           // everything below /api, its errors too

    chopin_group *api = chopin_group_new(app, "/api");
    chopin_group_set_user(api, &todos);
    chopin_route(api, "GET",  "/todos",         count_todos, NULL);
    chopin_route(api, "GET",  "/todos/:id",     get_todo,    NULL);
    chopin_route(api, "POST", "/todos",         add_todo,    &(chopin_route_options){ .max_body = 1 << 10, .use = guards });
    chopin_route(app, "GET",  "/files/*rest", whole_rest,  &(chopin_route_options){ .user = greeting });

    chopin_fixed(app, "/health", "text/plain", "OK\n");
    chopin_fixed_with(app, "/robots.txt", &(chopin_fixed_options){ .body = CHOPIN_STR("User-agent: *\nDisallow: /\n"), .cache_control = "public, max-age=3600" });
    return chopin_main(argc, argv, app);                                       // a failure above is remembered and reported here
}
