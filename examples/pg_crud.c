/* pg_crud.c - REST over one table: straight-line handlers that never block the worker; requests of one worker share pipelined connections.
   cc -O2 -pthread examples/pg_crud.c -o pg_crud && DATABASE_URL=postgres://me@localhost/postgres ./pg_crud
   Without a server of your own: tests/pg.sh ./pg_crud
   Try: curl -i -d '{"title":"milk"}' http://127.0.0.1:8080/todos                   curl 'http://127.0.0.1:8080/todos?after=0&limit=20'
        curl -i -X PUT -d '{"title":"milk","done":true}' http://127.0.0.1:8080/todos/1     curl -i -X DELETE http://127.0.0.1:8080/todos/1
        curl -i -d '{"title":""}' http://127.0.0.1:8080/todos                       (409, 422 and 400 come from the table's own rules) */
#define CHOPIN_IMPLEMENTATION
#include "../chopin.h"
#include "../chopin_pg.h"
#include <stdlib.h>

static const char schema[] = "create table if not exists todo ("
    " id bigint generated always as identity primary key,"
    " title text not null unique check (length(title) between 1 and 200),"
    " done boolean not null default false)";

/* ---- a pool per worker, a scope per request ---- */

static int worker_start(chopin_worker *w, void *user) {
    (void)user;
    chopin_pg *pool = chopin_pg_open(&(chopin_pg_options){ .url = getenv("DATABASE_URL"), .wait = chopin_wait, .wait_ctx = w, .query_ms = 5000 });
    chopin_worker_set_user(w, pool);
    if (chopin_pg_exec(pool, schema) >= 0 || chopin_pg_is_unique(chopin_pg_error_of(pool), NULL)) return 0;      // two workers may race to create it
    fprintf(stderr, "pg_crud: %s\n", chopin_pg_why(pool));
    return -1;
}
static void worker_stop(chopin_worker *w, void *user) {
    (void)user;
    chopin_pg_close(chopin_worker_get_user(w));
}
static void scope_close(void *scope) { chopin_pg_close(scope); }

/* The database as this request sees it: it has a deadline, and whatever way the request ends, nothing of it stays open. */
static chopin_pg *db(chopin_ctx *c) {
    chopin_pg *scope = chopin_user(c);
    if (scope) return scope;
    scope = chopin_pg_scope(chopin_worker_user(c), 5000);
    chopin_set_user(c, scope);
    chopin_defer(c, scope_close, scope);
    return scope;
}

/* ---- replies ---- */

static int send_row(chopin_ctx *c, int status, chopin_pg_rows *r) {
    return chopin_jsonf(c, status, "{id:%lld,title:%q,done:%b}", (long long)chopin_pg_i64(r, 0), chopin_pg_text(r, 1), chopin_pg_bool(r, 2));
}
/* Why there is no row: the table's rules become the client's errors, everything else is ours. */
static int send_problem(chopin_ctx *c, chopin_pg_rows *r) {
    const chopin_pg_error *e = chopin_pg_error_of(r);
    if (chopin_pg_code(r) == 0)             return chopin_fail(c, 404, "no such todo");
    if (chopin_pg_is_unique(e, NULL))       return chopin_fail(c, 409, "a todo with this title exists");
    if (chopin_pg_is_check(e, NULL))        return chopin_fail(c, 422, "the title must have 1 to 200 characters");
    if (chopin_pg_is_not_null(e, NULL))     return chopin_fail(c, 422, "title is missing");
    if (strncmp(e->sqlstate, "22", 2) == 0) return chopin_fail(c, 400, "the body must be JSON: {\"title\": text, \"done\": boolean}");
    return chopin_fail(c, 503, chopin_pg_why(r));
}
static int send_one(chopin_ctx *c, int status, chopin_pg_rows *r) {
    return chopin_pg_next(r) ? send_row(c, status, r) : send_problem(c, r);
}

/* ---- routes; JSON bodies are read by PostgreSQL itself ---- */

CHOPIN_GET(list, "/todos") {                                  // pages by key: as fast on page 5000 as on the first
    int64_t after = chopin_get_i64_or(c, CHOPIN_FROM_QUERY, "after", 0), limit = chopin_get_i64_or(c, CHOPIN_FROM_QUERY, "limit", 20);
    chopin_pg_rows *rows = chopin_pg_send(db(c), "select coalesce(json_agg(t), '[]')::text, max(id) from"
                                          " (select id, title, done from todo where id > $1 order by id limit least(greatest($2, 1), 100)) t", after, limit);
    chopin_pg_rows *total = chopin_pg_send(db(c), "select count(*) from todo");      // both questions travel together
    if (!chopin_pg_next(rows)) return send_problem(c, rows);
    if (!chopin_pg_next(total)) return send_problem(c, total);
    return chopin_jsonf(c, 200, "{total:%lld,next:%lld,items:%j}", (long long)chopin_pg_i64(total, 0), (long long)chopin_pg_i64_or(rows, 1, after), chopin_pg_text(rows, 0));
}
CHOPIN_GET(get, "/todos/:id<u64>") {
    return send_one(c, 200, chopin_pg_query(db(c), "select id, title, done from todo where id = $1", chopin_get_i64_or(c, CHOPIN_FROM_PARAM, "id", 0)));
}
CHOPIN_POST(create, "/todos") {
    chopin_pg_rows *r = chopin_pg_query(db(c), "insert into todo (title, done) select title, coalesce(done, false) from jsonb_to_record($1::jsonb) as t(title text, done boolean)"
                                        " returning id, title, done", chopin_body(c));
    if (!chopin_pg_next(r)) return send_problem(c, r);
    chopin_setf(c, "Location", "/todos/%lld", (long long)chopin_pg_i64(r, 0));
    return send_row(c, 201, r);
}
CHOPIN_PUT(replace, "/todos/:id<u64>") {
    return send_one(c, 200, chopin_pg_query(db(c), "update todo set (title, done) = (select title, coalesce(done, false) from jsonb_to_record($2::jsonb) as t(title text, done boolean))"
                                            " where id = $1 returning id, title, done", chopin_get_i64_or(c, CHOPIN_FROM_PARAM, "id", 0), chopin_body(c)));
}
CHOPIN_DELETE(delete_todo, "/todos/:id<u64>") {
    chopin_pg_rows *r = chopin_pg_query(db(c), "delete from todo where id = $1 returning id", chopin_get_i64_or(c, CHOPIN_FROM_PARAM, "id", 0));
    return chopin_pg_next(r) ? chopin_empty(c, 204) : send_problem(c, r);
}

int main(int argc, char **argv) {
    chopin_app *app = chopin_new(&(chopin_options){ .on_worker_start = worker_start, .on_worker_stop = worker_stop });
    int rc = chopin_main(argc, argv, app);
    return rc;
}
