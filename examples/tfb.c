/* tfb.c - the tests of the TechEmpower benchmarks, and the two database shapes of HttpArena, by their rules.
   cc -O2 -pthread examples/tfb.c -o tfb && ./tfb
   Try: curl -i http://127.0.0.1:8080/plaintext      curl -i http://127.0.0.1:8080/json
        wrk -t1 -c64 -d5 http://127.0.0.1:8080/plaintext
   With a database: export DATABASE_URL=postgres://me@localhost/postgres && ./tfb --create && ./tfb      (--create makes and fills the tables)
        curl http://127.0.0.1:8080/db                  curl 'http://127.0.0.1:8080/queries?queries=20'      curl http://127.0.0.1:8080/fortunes
        curl 'http://127.0.0.1:8080/updates?queries=5' curl 'http://127.0.0.1:8080/cached-queries?count=9'
        curl 'http://127.0.0.1:8080/async-db?min=10&max=50&limit=5'      curl 'http://127.0.0.1:8080/crud/items?category=tools&page=2'
        curl -i http://127.0.0.1:8080/crud/items/42    curl -X PUT -d '{"name":"new","price":3,"quantity":1}' http://127.0.0.1:8080/crud/items/42 */
#define CHOPIN_IMPLEMENTATION
#include "../chopin.h"
#include "../chopin_pg.h"
#include <stdlib.h>

enum { WORLDS = 10000, MOST = 500, SLOTS = 1024, ITEM_MAX = 1000, ITEM_MS = 200 };

/* ---- no database ---- */

CHOPIN_GET(plaintext, "/plaintext") { return chopin_bytes_static(c, 200, "text/plain", CHOPIN_STR("Hello, World!")); }
CHOPIN_GET(json,      "/json")      { return chopin_jsonf(c, 200, "{message:%s}", "Hello, World!"); }

/* ---- what a worker has: its pool, its dice, the numbers it has seen ---- */

typedef struct state {
    chopin_pg *pool;
    uint64_t   dice;
    int32_t    cached[WORLDS + 1];            // /cached-queries: 0 is not there yet
} state;

static int worker_start(chopin_worker *w, void *user) {
    (void)user;
    state *s = calloc(1, sizeof *s);
    if (!s) return -1;
    s->pool = chopin_pg_open(&(chopin_pg_options){ .url = getenv("DATABASE_URL"), .wait = chopin_wait, .wait_ctx = w, .query_ms = 10000 });
    s->dice = (uint64_t)chopin_now_us() * 2 + 1 + (uint64_t)chopin_worker_index(w);
    chopin_worker_set_user(w, s);
    return 0;                                 // a database that is not there makes its routes answer 503, no other
}
static void worker_stop(chopin_worker *w, void *user) {
    (void)user;
    state *s = chopin_worker_get_user(w);
    chopin_pg_close(s->pool);
    free(s);
}
static state *state_of(chopin_ctx *c) { return chopin_worker_user(c); }

/* 1 to 10000 (xorshift). */
static int32_t roll(chopin_ctx *c) {
    uint64_t *x = &state_of(c)->dice;
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return (int32_t)(*x >> 33) % WORLDS + 1;
}

static void scope_close(void *scope) { chopin_pg_close(scope); }

/* The database as this request sees it: whatever way the request ends, nothing of it stays open. */
static chopin_pg *db(chopin_ctx *c) {
    chopin_pg *scope = chopin_user(c);
    if (scope) return scope;
    scope = chopin_pg_scope(state_of(c)->pool, 10000);
    chopin_set_user(c, scope);
    chopin_defer(c, scope_close, scope);
    return scope;
}

/* What the rules say of counts: nothing and nonsense are 1, more than 500 is 500. */
static int count_of(chopin_ctx *c, const char *name) {
    int64_t n = chopin_get_i64_or(c, CHOPIN_FROM_QUERY, name, 1);
    return n < 1 ? 1 : n > MOST ? MOST : (int)n;
}

/* ---- text that grows in request memory that was asked for at once ---- */

typedef struct buffer { char *ptr; size_t len, cap; } buffer;

static bool buffer_new(chopin_ctx *c, buffer *t, size_t cap) {
    *t = (buffer){ chopin_alloc(c, cap), 0, cap };
    return t->ptr != NULL;
}
static void put(buffer *t, const char *bytes, size_t n) {
    if (n > t->cap - t->len) n = t->cap - t->len;
    memcpy(t->ptr + t->len, bytes, n);
    t->len += n;
}
static void put_z(buffer *t, const char *z) { put(t, z, strlen(z)); }
static void put_int(buffer *t, int32_t value) {
    char digits[16];
    put(t, digits, (size_t)snprintf(digits, sizeof digits, "%d", value));
}
static void put_html(buffer *t, chopin_str s) {
    for (size_t i = 0; i < s.len; i++) {
        switch (s.ptr[i]) {
        case '&':  put_z(t, "&amp;");  break;
        case '<':  put_z(t, "&lt;");   break;
        case '>':  put_z(t, "&gt;");   break;
        case '"':  put_z(t, "&quot;"); break;
        case '\'': put_z(t, "&#39;");  break;
        default:   put(t, s.ptr + i, 1);
        }
    }
}

/* ---- TechEmpower: worlds ---- */

typedef struct world { int32_t id, number; } world;
static const char select_world[] = "select id, randomnumber from world where id = $1";

static int no_rows(chopin_ctx *c, chopin_pg_rows *r) { return chopin_fail(c, 503, chopin_pg_why(r)); }

CHOPIN_GET(one_world, "/db") {
    chopin_pg_rows *r = chopin_pg_query(db(c), select_world, roll(c));
    if (!chopin_pg_next(r)) return no_rows(c, r);
    return chopin_jsonf(c, 200, "{id:%d,randomNumber:%d}", chopin_pg_i32(r, 0), chopin_pg_i32(r, 1));
}

/* Each with a query of its own, as the rules want; all of them travel before the first answer is waited for. False: a reply has been made. */
static bool read_worlds(chopin_ctx *c, world *out, int count) {
    chopin_pg_rows *rows[MOST];
    for (int i = 0; i < count; i++) rows[i] = chopin_pg_send(db(c), select_world, out[i].id);
    for (int i = 0; i < count; i++) {
        if (!chopin_pg_next(rows[i])) return no_rows(c, rows[i]), false;
        out[i].number = chopin_pg_i32(rows[i], 1);
        chopin_pg_end(rows[i]);
    }
    return true;
}
static int send_worlds(chopin_ctx *c, const world *worlds, int count) {
    buffer t;
    if (!buffer_new(c, &t, (size_t)count * 48 + 2)) return chopin_fail(c, 503, "out of memory");
    for (int i = 0; i < count; i++) {
        put_z(&t, i ? ",{\"id\":" : "[{\"id\":");
        put_int(&t, worlds[i].id);
        put_z(&t, ",\"randomNumber\":");
        put_int(&t, worlds[i].number);
        put_z(&t, "}");
    }
    put_z(&t, "]");
    return chopin_bytes(c, 200, "application/json", (chopin_str){ t.ptr, t.len });
}

CHOPIN_GET(worlds, "/queries") {
    world found[MOST];
    int   count = count_of(c, "queries");
    for (int i = 0; i < count; i++) found[i].id = roll(c);
    return read_worlds(c, found, count) ? send_worlds(c, found, count) : 0;
}

static int by_id(const void *a, const void *b) { return ((const world *)a)->id - ((const world *)b)->id; }

/* Written in one statement, in the order of ids, so that two requests cannot wait for each other. An id that came twice keeps one number. */
CHOPIN_GET(updates, "/updates") {
    world   found[MOST];
    int32_t ids[MOST], numbers[MOST];
    int     count = count_of(c, "queries");
    for (int i = 0; i < count; i++) found[i].id = roll(c);
    if (!read_worlds(c, found, count)) return 0;
    qsort(found, (size_t)count, sizeof *found, by_id);
    for (int i = 0; i < count; i++) {
        found[i].number = i && found[i].id == found[i - 1].id ? found[i - 1].number : roll(c);
        ids[i] = found[i].id;
        numbers[i] = found[i].number;
    }
    int64_t rc = chopin_pg_exec(db(c), "update world w set randomnumber = v.number from (select * from unnest($1::int[], $2::int[]) as u(id, number) order by id) v where w.id = v.id",
                                chopin_pg_i32s(ids, (size_t)count), chopin_pg_i32s(numbers, (size_t)count));
    return rc < 0 ? chopin_fail(c, 503, chopin_pg_why(db(c))) : send_worlds(c, found, count);
}

/* A bounded table per worker, filled as its entries are asked for. */
CHOPIN_GET(cached_worlds, "/cached-queries") {
    world found[MOST];
    int   count = count_of(c, "count");
    for (int i = 0; i < count; i++) {
        found[i].id = roll(c);
        int32_t *cached = &state_of(c)->cached[found[i].id];
        if (!*cached && !read_worlds(c, &found[i], 1)) return 0;
        if (!*cached) *cached = found[i].number;
        found[i].number = *cached;
    }
    return send_worlds(c, found, count);
}

/* ---- TechEmpower: fortunes ---- */

typedef struct fortune { int32_t id; chopin_str message; } fortune;

static int by_message(const void *a, const void *b) {
    const chopin_str *x = &((const fortune *)a)->message, *y = &((const fortune *)b)->message;
    int order = memcmp(x->ptr, y->ptr, x->len < y->len ? x->len : y->len);
    return order ? order : x->len < y->len ? -1 : x->len > y->len;
}
static int send_fortunes(chopin_ctx *c, const fortune *fortunes, int count) {
    buffer t;
    size_t cap = 256;
    for (int i = 0; i < count; i++) cap += 64 + 6 * fortunes[i].message.len;
    if (!buffer_new(c, &t, cap)) return chopin_fail(c, 503, "out of memory");
    put_z(&t, "<!DOCTYPE html><html><head><title>Fortunes</title></head><body><table><tr><th>id</th><th>message</th></tr>");
    for (int i = 0; i < count; i++) {
        put_z(&t, "<tr><td>");
        put_int(&t, fortunes[i].id);
        put_z(&t, "</td><td>");
        put_html(&t, fortunes[i].message);
        put_z(&t, "</td></tr>");
    }
    put_z(&t, "</table></body></html>");
    return chopin_bytes(c, 200, "text/html; charset=utf-8", (chopin_str){ t.ptr, t.len });
}
CHOPIN_GET(fortunes, "/fortunes") {
    fortune list[MOST];
    int     count = 0;
    chopin_pg_rows *r = chopin_pg_query(db(c), "select id, message from fortune limit 499");
    while (chopin_pg_next(r)) list[count++] = (fortune){ chopin_pg_i32(r, 0), chopin_pg_keep(r, chopin_pg_text(r, 1)) };
    if (chopin_pg_code(r) < 0) return no_rows(c, r);
    list[count++] = (fortune){ 0, CHOPIN_STR("Additional fortune added at request time.") };
    qsort(list, (size_t)count, sizeof *list, by_message);
    return send_fortunes(c, list, count);
}

/* ---- HttpArena: items. PostgreSQL writes and reads the JSON itself ---- */

#define ITEM "json_build_object('id', id, 'name', name, 'category', category, 'price', price, 'quantity', quantity, 'active', active, 'tags', tags," \
             " 'rating', json_build_object('score', rating_score, 'count', rating_count))"

CHOPIN_GET(async_db, "/async-db") {
    int64_t limit = chopin_get_i64_or(c, CHOPIN_FROM_QUERY, "limit", 50);
    chopin_pg_rows *r = chopin_pg_query(db(c), "select coalesce(json_agg(" ITEM "), '[]')::text, count(*) from (select * from items where price between $1 and $2 limit $3) t",
                                        chopin_get_i64_or(c, CHOPIN_FROM_QUERY, "min", 10), chopin_get_i64_or(c, CHOPIN_FROM_QUERY, "max", 50), limit < 1 ? 1 : limit > 50 ? 50 : limit);
    if (!chopin_pg_next(r)) return chopin_jsonf(c, 200, "{items:[],count:0}");            // the rules want this of a database that is down
    return chopin_jsonf(c, 200, "{items:%j,count:%lld}", chopin_pg_text(r, 0), (long long)chopin_pg_i64(r, 1));
}

CHOPIN_GET(list_items, "/crud/items") {
    int64_t page = chopin_get_i64_or(c, CHOPIN_FROM_QUERY, "page", 1), limit = chopin_get_i64_or(c, CHOPIN_FROM_QUERY, "limit", 10);
    page  = page < 1 ? 1 : page > 1000000 ? 1000000 : page;
    limit = limit < 1 ? 1 : limit > 50 ? 50 : limit;
    chopin_pg_rows *r = chopin_pg_query(db(c), "select coalesce(json_agg(" ITEM "), '[]')::text, count(*) from (select * from items where category = $1 order by id limit $2 offset $3) t",
                                        chopin_get_str_or(c, CHOPIN_FROM_QUERY, "category", CHOPIN_STR("electronics")), limit, (page - 1) * limit);
    if (!chopin_pg_next(r)) return no_rows(c, r);
    return chopin_jsonf(c, 200, "{items:%j,total:%lld,page:%lld,limit:%lld}", chopin_pg_text(r, 0), (long long)chopin_pg_i64(r, 1), (long long)page, (long long)limit);
}

/* The cache of all workers: bounded, each slot guarded by a lock that is held for one copy. A slot counts its changes, so that what was read before a PUT is not
 * stored after it. */
typedef struct slot {
    pthread_mutex_t lock;
    uint64_t        changes;
    int64_t         id, until_ms;             // until_ms 0: empty
    size_t          len;
    char            body[ITEM_MAX];
} slot;

static slot *slot_of(chopin_ctx *c, int64_t id) { return (slot *)chopin_app_user(c) + (uint64_t)id % SLOTS; }

/* Copies the item to `out` of ITEM_MAX bytes; absent: it is not there. `changes` is for cache_put. */
static chopin_str cache_get(slot *s, int64_t id, int64_t now_ms, char *out, uint64_t *changes) {
    chopin_str found = { NULL, 0 };
    pthread_mutex_lock(&s->lock);
    *changes = s->changes;
    if (s->id == id && now_ms < s->until_ms) {
        memcpy(out, s->body, s->len);
        found = (chopin_str){ out, s->len };
    }
    pthread_mutex_unlock(&s->lock);
    return found;
}
static void cache_put(slot *s, int64_t id, chopin_str body, int64_t until_ms, uint64_t changes) {
    if (body.len > ITEM_MAX) return;
    pthread_mutex_lock(&s->lock);
    if (s->changes == changes) {
        s->id = id;
        s->len = body.len;
        s->until_ms = until_ms;
        memcpy(s->body, body.ptr, body.len);
    }
    pthread_mutex_unlock(&s->lock);
}
static void cache_drop(slot *s) {
    pthread_mutex_lock(&s->lock);
    s->changes++;
    s->until_ms = 0;
    pthread_mutex_unlock(&s->lock);
}

CHOPIN_GET(get_item, "/crud/items/:id<u64>") {
    char     copy[ITEM_MAX];
    uint64_t changes;
    int64_t  id = chopin_get_i64_or(c, CHOPIN_FROM_PARAM, "id", 0);
    chopin_str cached = cache_get(slot_of(c, id), id, chopin_now_ms(c), copy, &changes);
    if (cached.ptr) {
        chopin_set(c, "X-Cache", "HIT");
        return chopin_bytes(c, 200, "application/json", cached);
    }
    chopin_pg_rows *r = chopin_pg_query(db(c), "select " ITEM "::text from items where id = $1", id);
    if (!chopin_pg_next(r)) return chopin_pg_code(r) < 0 && chopin_pg_code(r) != CHOPIN_PG_RANGE ? no_rows(c, r) : chopin_fail(c, 404, "no such item");
    cache_put(slot_of(c, id), id, chopin_pg_text(r, 0), chopin_now_ms(c) + ITEM_MS, changes);
    chopin_set(c, "X-Cache", "MISS");
    return chopin_bytes(c, 200, "application/json", chopin_pg_text(r, 0));
}

/* The reply to a write: the item as it is now. What the table or the JSON reader refuses is the client's mistake. */
static int send_item(chopin_ctx *c, int status, chopin_pg_rows *r, int64_t id) {
    if (chopin_pg_next(r)) {
        cache_drop(slot_of(c, id ? id : chopin_pg_i64(r, 1)));
        return chopin_bytes(c, status, "application/json", chopin_pg_text(r, 0));
    }
    const chopin_pg_error *e = chopin_pg_error_of(r);
    if (chopin_pg_code(r) == 0) return chopin_fail(c, 404, "no such item");
    bool theirs = strncmp(e->sqlstate, "22", 2) == 0 || strncmp(e->sqlstate, "23", 2) == 0;
    return theirs ? chopin_fail(c, 400, "the body must be JSON with name, price and quantity, and with id and category for a new item") : no_rows(c, r);
}
CHOPIN_POST(create_item, "/crud/items") {
    return send_item(c, 201, chopin_pg_query(db(c),
        "insert into items (id, name, category, price, quantity) select id, name, category, price, quantity"
        " from jsonb_to_record($1::jsonb) as t(id int, name text, category text, price int, quantity int)"
        " on conflict (id) do update set name = excluded.name, category = excluded.category, price = excluded.price, quantity = excluded.quantity"
        " returning " ITEM "::text, id", chopin_body(c)), 0);
}
CHOPIN_PUT(update_item, "/crud/items/:id<u64>") {
    int64_t id = chopin_get_i64_or(c, CHOPIN_FROM_PARAM, "id", 0);
    return send_item(c, 200, chopin_pg_query(db(c),
        "update items set (name, price, quantity) = (select name, price, quantity from jsonb_to_record($2::jsonb) as t(name text, price int, quantity int))"
        " where id = $1 returning " ITEM "::text, id", id, chopin_body(c)), id);
}

/* ---- tables ---- */

static const char schema[] =
    "create table if not exists world (id int primary key, randomnumber int not null);"
    "insert into world select g, 1 + floor(random() * 10000)::int from generate_series(1, 10000) g on conflict do nothing;"
    "create table if not exists fortune (id int primary key, message text not null);"
    "insert into fortune values (1, 'A bug in the hand is worth two in production.'), (2, 'He who caches last caches stale.'), (3, 'The test you did not write is the one that fails.'),"
    " (4, 'Naming things is hard; so is the second thing.'), (5, 'A watched build never ends.'), (6, 'Zero is where all off-by-ones begin: at -1.'),"
    " (7, 'Tabs & spaces: <both> are \"right\", said nobody''s linter.'), (8, 'Every index is fast until it is read.'), (9, 'Undefined behaviour works on my machine.'),"
    " (10, 'The shortest path is the one with no allocation.'), (11, '<script>alert(\"This must be shown as text.\")</script>'), (12, '七転び八起き')"
    " on conflict do nothing;"
    "create table if not exists items (id int primary key, name text not null, category text not null, price int not null, quantity int not null, active boolean not null default true,"
    " tags jsonb not null default '[]', rating_score int not null default 0, rating_count int not null default 0);"
    "insert into items select g, 'Item ' || g, (array['electronics', 'tools', 'office', 'garden'])[1 + g % 4], 5 + g % 300, g % 90, g % 7 > 0,"
    " jsonb_build_array('t' || g % 5, 'new'), g % 50, g % 999 from generate_series(1, 10000) g on conflict do nothing;";

static int create(void) {
    chopin_pg *pool = chopin_pg_open(&(chopin_pg_options){ .url = getenv("DATABASE_URL") });
    int64_t rc = chopin_pg_end(chopin_pg_script(pool, schema));
    if (rc < 0) fprintf(stderr, "tfb: %s\n", chopin_pg_why(pool));
    chopin_pg_close(pool);
    return rc < 0;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--create") == 0) return create();
    slot *cache = calloc(SLOTS, sizeof *cache);
    if (!cache) return 1;
    for (int i = 0; i < SLOTS; i++) pthread_mutex_init(&cache[i].lock, NULL);
    chopin_app *app = chopin_new(&(chopin_options){ .on_worker_start = worker_start, .on_worker_stop = worker_stop, .user = cache });
    int rc = chopin_main(argc, argv, app);
    free(cache);
    return rc;
}
