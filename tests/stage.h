/* stage.h - several scripted clients on one worker and virtual time, and a heap that counts, checks sizes and fails on demand. Include it behind kit.h.
 *
 *     stage(2); actor(0, "GET /direct ..."); actor(1, "...")->keep_open = true; play(app); heard(1);
 *
 * A director is a client of its own whose handler sleeps on the virtual clock and, between naps, pulls the strings of the others. */
#ifndef CHOPIN_TEST_STAGE_H
#define CHOPIN_TEST_STAGE_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(SANITIZED)
enum { SANE = 0, EVERY = 7 };                // a call costs a hundred times more there: EVERY cut becomes every seventh
#else
enum { SANE = 1, EVERY = 1 };
#endif

typedef struct purse { size_t live, blocks, peak, largest, calls, fail_at; bool fail_on, wrong; } purse;
static purse heap;
#define PURSE_HEAD 16

static void *purse_alloc(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    purse *h = ctx;
    char  *block = ptr ? (char *)ptr - PURSE_HEAD : NULL;
    size_t had = 0;
    if (block) memcpy(&had, block, sizeof had);
    h->wrong = h->wrong || had != old_size;
    if (new_size == 0) {
        if (block) { h->live -= had; h->blocks--; }
        free(block);
        return NULL;
    }
    h->calls++;
    if (h->fail_at && (h->fail_on ? h->calls >= h->fail_at : h->calls == h->fail_at)) return NULL;
    char *fresh = malloc(new_size + PURSE_HEAD);            // always moves, so that ASan sees stale pointers
    if (!fresh) return NULL;
    memcpy(fresh, &new_size, sizeof new_size);
    if (block) { memcpy(fresh + PURSE_HEAD, ptr, had < new_size ? had : new_size); free(block); h->blocks--; h->live -= had; }
    h->live += new_size;
    h->blocks++;
    if (h->live > h->peak) h->peak = h->live;
    if (new_size > h->largest) h->largest = new_size;
    return fresh + PURSE_HEAD;
}

/* The last line of the log. */
static char stage_log[400];
static void stage_listen(void *user, chopin_level level, const char *text) {
    (void)user, (void)level;
    snprintf(stage_log, sizeof stage_log, "%s", text);
}

/* Options of a silent app on that heap. */
static chopin_options stage_options(void) {
    stage_log[0] = 0;
    chopin_options o = kit_options();
    heap = (purse){ .fail_at = heap.fail_at, .fail_on = heap.fail_on };
    o.alloc = purse_alloc;
    o.alloc_ctx = &heap;
    o.log = stage_listen;
    o.no_date = true;
    o.max_connections = 100;
    o.max_parked = 100;
    return o;
}

static inline void stage_free(chopin_app *app) {
    chopin_free(app);
    CHECK_EQ_INT(heap.live, 0);
    CHECK_EQ_INT(heap.blocks, 0);
    CHECK(!heap.wrong);
}

static struct {
    chopin__script_client *client;
    chopin__port **port;
    size_t         count;
    uint64_t       seed;
    chopin__script script;
    chopin_worker *w;
    int64_t        took;                     // virtual milliseconds
    bool           stuck;
    uint64_t       requests, receives, sends;
} on;

static inline void strike(void) {
    for (size_t i = 0; i < on.count; i++) free(on.client[i].out);
    free(on.client);
    free(on.port);
    memset(&on, 0, sizeof on);
}
static inline void stage(size_t clients) {
    strike();
    on.count = clients;
    on.client = calloc(clients, sizeof *on.client);
    on.port = calloc(clients, sizeof *on.port);
}
static inline chopin__script_client *actor(size_t i, chopin_str bytes) {
    on.client[i].in = bytes;
    return &on.client[i];
}
static inline chopin_str heard(size_t i) { return chopin__str(on.client[i].out ? on.client[i].out : "", on.client[i].out_len); }

/* What the clients heard belongs to the test, not to the app's heap. */
static inline void keep_replies(chopin__heap *app_heap) {
    for (size_t i = 0; i < on.count; i++) {
        chopin__script_client *c = &on.client[i];
        char *copy = malloc(c->out_len + 1);
        if (c->out_len) memcpy(copy, c->out, c->out_len);
        chopin__release(app_heap, c->out, c->out_cap);
        c->out = copy;
    }
}

static inline void play(chopin_app *app) {
    chopin__server *s = chopin__server_of(app);
    if (!CHECK(chopin__server_freeze(s) == CHOPIN_OK)) return;
    on.script = (chopin__script){ .clients = on.client, .count = on.count, .port = on.port, .random = on.seed };
    if (posix_memalign((void **)&on.w, 64, (sizeof *on.w + 63) & ~(size_t)63) != 0) abort();
    if (CHECK(chopin__worker_init(on.w, &s->site, 0, &chopin__script_ops, &on.script))) {
        chopin_worker **before = s->workers;
        on.w->server = s;
        s->workers = &on.w;                                  // for broadcasts
        atomic_store(&s->worker_count, 1);
        atomic_store(&s->ending, false);
        chopin__script_run(s, &on.script, on.w);
        chopin__worker_cut(on.w);
        chopin__server_close_gate(s);
        atomic_store(&s->worker_count, 0);
        s->workers = before;
    }
    on.took = on.script.now - 1000000;
    on.stuck = on.script.stuck;
    on.requests = atomic_load(&on.w->counts.requests);
    on.receives = atomic_load(&on.w->io.receives);
    on.sends = atomic_load(&on.w->io.sends);
    if (!on.stuck) CHECK_EQ_INT(on.w->slab.live, 0);         // no slot remains ...
    if (!on.stuck) CHECK_EQ_INT(on.w->connections, 0);
    chopin__worker_done(on.w);
    free(on.w);
    on.w = NULL;
    keep_replies(&s->site.heap);
}

static void (*director)(chopin_ctx *c);
static inline int direct(chopin_ctx *c) { director(c); return chopin_text(c, 200, "cut!\n"); }
#define DIRECT CHOPIN_STR("GET /direct HTTP/1.1\r\nHost: x\r\n\r\n")

#endif
