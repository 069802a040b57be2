/* pg_memory.c - what an idle connection, a prepared statement, a query in flight and a waiting fiber cost, counted at the allocator.
   cc -O2 bench/pg_memory.c -o pg_memory && tests/pg.sh ./pg_memory        exit status 1 when a bar of PG.md section 6 is missed */
#define _GNU_SOURCE 1
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include "../tests/pg_fibers.h"

static size_t bytes;

static void *count(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    (void)ctx;
    void *fresh = new_size ? realloc(ptr, new_size) : (free(ptr), NULL);
    if (fresh || new_size == 0) bytes += new_size - old_size;
    return fresh;
}
static chopin_pg *dial(chopin_pg_options o) {
    o.url = getenv("CHOPIN_PG_URL");
    o.alloc = count;
    o.wait = fibers_wait;
    return chopin_pg_open(&o);
}
static int missed;
static void bar(const char *what, double got, double at_most) {
    bool good = got <= at_most;
    missed += !good;
    printf("| %s | %.0f | %.0f | %s |\n", what, got, at_most, good ? "holds" : "**missed**");
}

static chopin_pg *pool;
static size_t before_waiters, with_waiters;
enum { WAITERS = 200, STATEMENTS = 200, FLYING = 100 };
static void holds(void *arg) {                              // the only exclusive connection, for a while
    (void)arg;
    chopin_pg *pin = chopin_pg_pin(pool);
    chopin_pg_exec(pin, "select 1");
    before_waiters = bytes;
    fibers_sleep(300);
    chopin_pg_close(pin);
}
static void waits(void *arg) {
    (void)arg;
    fibers_sleep(50);
    chopin_pg *pin = chopin_pg_pin(pool);
    chopin_pg_exec(pin, "select 1");
    chopin_pg_close(pin);
}
static void looks(void *arg) {
    (void)arg;
    fibers_sleep(150);
    with_waiters = bytes - before_waiters;
}

int main(void) {
    if (!getenv("CHOPIN_PG_URL")) { fprintf(stderr, "run it as: tests/pg.sh ./pg_memory\n"); return 2; }
    printf("| bytes of | ours | at most | |\n|---|---|---|---|\n");
    pool = dial((chopin_pg_options){ .shared = 1, .exclusive = 1, .max_waiting = WAITERS + 1 });
    size_t empty = bytes;
    if (chopin_pg_ready(pool) < 0) { fprintf(stderr, "%s\n", chopin_pg_why(pool)); return 1; }
    bar("an idle connection, fresh", (double)(bytes - empty), 80 << 10);

    size_t before = bytes;
    for (int i = 0; i < STATEMENTS; i++) {
        char sql[64];
        snprintf(sql, sizeof sql, "select id, n from (values (1, 2)) t(id, n) where id = $1 + %d", i);
        for (int use = 0; use < 2; use++) if (chopin_pg_exec(pool, sql, 5) < 0) { fprintf(stderr, "%s\n", chopin_pg_why(pool)); return 1; }
    }
    bar("a prepared statement of 64 characters", (double)(bytes - before) / STATEMENTS, 1024);
    bar("an idle connection with 200 statements", (double)(bytes - empty), (80 << 10) + STATEMENTS * 1024);

    chopin_pg_rows *r[FLYING];
    before = bytes;
    for (int i = 0; i < FLYING; i++) r[i] = chopin_pg_send(pool, "select id, n from (values (1, 2)) t(id, n) where id = $1 + 1", i);
    printf("| a query in flight | %.0f | | |\n", (double)(bytes - before) / FLYING);
    for (int i = 0; i < FLYING; i++) chopin_pg_end(r[i]);

    chopin_pg *handles[WAITERS];
    before = bytes;
    for (int i = 0; i < WAITERS; i++) handles[i] = chopin_pg_pin(pool);
    size_t handle = (bytes - before) / WAITERS;
    for (int i = 0; i < WAITERS; i++) chopin_pg_close(handles[i]);
    printf("| a pin, not yet used | %zu | | |\n", handle);
    fibers_add(holds, NULL);
    for (int i = 0; i < WAITERS; i++) fibers_add(waits, NULL);
    fibers_add(looks, NULL);
    fibers_run();
    bar("a fiber that waits for a connection, without its pin", (double)with_waiters / WAITERS - (double)handle, 256);
    chopin_pg_close(pool);
    if (bytes) printf("%zu bytes were not given back\n", bytes);
    return missed || bytes ? 1 : 0;
}
