/* pg_kit.h - what suites on a real server share: a pool whose memory is counted, and short ways to ask it. Include it after chopin_pg.h and test.h. */
#ifndef PG_KIT_H
#define PG_KIT_H

static void quiet(void *ctx, chopin_pg_level level, const char *text) { (void)ctx; (void)level; (void)text; }
static long blocks;
static void *counting(void *ctx, void *p, size_t old, size_t n) {
    (void)ctx; (void)old;
    if (!n) { blocks -= p != NULL; free(p); return NULL; }
    blocks += p == NULL;
    return realloc(p, n);
}
static chopin_pg *open_pool(chopin_pg_options o) {
    if (!o.url) o.url = getenv("CHOPIN_PG_URL");
    o.no_env = true;
    o.log   = quiet;
    o.alloc = counting;
    return chopin_pg_open(&o);
}
/* Closes it; all memory must be back. */
static void closed(chopin_pg *db) {
    chopin_pg_close(db);
    CHECK_EQ_INT(blocks, 0);
    blocks = 0;
}
/* The one value that `sql` gives. */
static int64_t number(chopin_pg *h, const char *sql) {
    chopin_pg_rows *r = chopin_pg_value(h, sql);
    int64_t n = chopin_pg_i64(r, 0);
    if (chopin_pg_end(r) < 0) printf("  %s: %s\n", sql, chopin_pg_why(h));
    return n;
}
static void run(chopin_pg *h, const char *sql) {
    chopin_pg_rows *r = chopin_pg_script(h, sql);
    if (!CHECK(chopin_pg_end(r) >= 0)) printf("  %s: %s\n", sql, chopin_pg_why(h));
}
/* Did the last thing on `h` fail with this? */
static bool state_is(chopin_pg *h, const char *sqlstate) { return strcmp(chopin_pg_error_of(h)->sqlstate, sqlstate) == 0; }
static int64_t now_ms(void) { return chopin_pg__clock_ms(); }
#endif
