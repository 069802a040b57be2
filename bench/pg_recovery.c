/* pg_recovery.c - how long until the first right answer after trouble, and whether any answer was wrong.
   cc -O2 bench/pg_recovery.c -o pg_recovery && tests/pg.sh ./pg_recovery [ROUNDS]        exit status 1 for a wrong answer or no recovery in 15 s */
#define _GNU_SOURCE 1
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include "../tests/pg_fibers.h"

typedef struct trouble { const char *name; void (*begin)(int64_t pid); void (*end)(int64_t pid); int lasts_ms; } trouble;

static chopin_pg *db;
static struct { int64_t began, first_good, until, right, wrong, failed, slowest; } seen;

static void control(const char *what) {
    char line[300];
    snprintf(line, sizeof line, "%s %s", getenv("CHOPIN_PG_CTL"), what);
    if (system(line) != 0) fprintf(stderr, "%s failed\n", line);
}
static void kill_backend(int64_t pid)  { kill((pid_t)pid, SIGKILL); }
static void terminate(int64_t pid)     { kill((pid_t)pid, SIGTERM); }
static void stop_backend(int64_t pid)  { kill((pid_t)pid, SIGSTOP); }
static void go_on(int64_t pid)         { kill((pid_t)pid, SIGCONT); }
static void fast(int64_t pid)          { (void)pid; control("restart fast"); }
static void immediate(int64_t pid)     { (void)pid; control("restart immediate"); }
static void nothing(int64_t pid)       { (void)pid; }

static const trouble troubles[] = {
    { "SIGTERM to a backend", terminate, nothing, 0 }, { "kill -9 of a backend", kill_backend, nothing, 0 }, { "SIGSTOP of a backend, 3 s", stop_backend, go_on, 3000 },
    { "fast restart", fast, nothing, 0 }, { "immediate restart", immediate, nothing, 0 },
};

/* One fiber of the load: asks for numbers, each with a deadline of half a second. */
static void load(void *arg) {
    int64_t id = (int64_t)(intptr_t)arg * 1000000;
    while (fibers_now() < seen.until) {
        int64_t from = fibers_now();
        chopin_pg *s = chopin_pg_scope(db, 500);
        chopin_pg_rows *r = chopin_pg_query(s, "select $1::int8", ++id);
        bool row = chopin_pg_next(r);
        int64_t got = row ? chopin_pg_i64(r, 0) : -1, rc = chopin_pg_end(r), now = fibers_now();
        if (row && got != id) seen.wrong++;
        else if (rc == 1) {
            seen.right++;
            if (seen.began && from >= seen.began && !seen.first_good) seen.first_good = now;
        } else seen.failed++;
        if (now - from > seen.slowest) seen.slowest = now - from;
        chopin_pg_close(s);
        fibers_sleep(2);
    }
}
static void makes_trouble(void *arg) {
    const trouble *t = arg;
    fibers_sleep(300);
    chopin_pg_rows *r = chopin_pg_value(db, "select pg_backend_pid()");
    int64_t pid = chopin_pg_i64(r, 0);
    chopin_pg_end(r);
    t->begin(pid);
    seen.began = fibers_now();
    if (t->lasts_ms) fibers_sleep(t->lasts_ms);
    t->end(pid);
    for (int i = 0; i < 1500 && !seen.first_good; i++) fibers_sleep(10);
    seen.until = fibers_now() + 200;
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 3, bad = 0;
    if (!getenv("CHOPIN_PG_CTL")) { fprintf(stderr, "run it as: tests/pg.sh ./pg_recovery\n"); return 2; }
    control("start");
    printf("| trouble | first right answer after | slowest call | right | failed | wrong |\n|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof troubles / sizeof *troubles; i++) {
        for (int round = 0; round < rounds; round++) {
            memset(&seen, 0, sizeof seen);
            seen.until = INT64_MAX;
            db = chopin_pg_open(&(chopin_pg_options){ .url = getenv("CHOPIN_PG_SPARE_URL"), .wait = fibers_wait, .shared = 1, .grace_ms = 300 });
            if (chopin_pg_ready(db) < 0) { fprintf(stderr, "%s\n", chopin_pg_why(db)); return 1; }
            for (int k = 0; k < 16; k++) fibers_add(load, (void *)(intptr_t)(k + 1));
            fibers_add(makes_trouble, (void *)(uintptr_t)&troubles[i]);
            fibers_run();
            chopin_pg_close(db);
            if (seen.first_good) printf("| %s | %lld ms", troubles[i].name, (long long)(seen.first_good - seen.began));
            else printf("| %s | never", troubles[i].name);
            printf(" | %lld ms | %lld | %lld | %lld |\n", (long long)seen.slowest, (long long)seen.right, (long long)seen.failed, (long long)seen.wrong);
            bad += seen.wrong > 0 || !seen.first_good;
        }
    }
    return bad != 0;
}
