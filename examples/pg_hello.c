/* pg_hello.c - a blocking program: connect, ask with a parameter, walk the rows, a transaction, and what an error looks like.
   cc -O2 -pthread examples/pg_hello.c -o pg_hello && DATABASE_URL=postgres://me@localhost/postgres ./pg_hello
   Try: ./pg_hello Paris      without a server of your own: tests/pg.sh ./pg_hello Paris      without DATABASE_URL: the PG* variables */
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include <stdio.h>
#include <stdlib.h>

static int complain(chopin_pg *db) {
    char text[2000];
    chopin_pg_error_text(chopin_pg_error_of(db), text, sizeof text);     // with the line of the SQL and a caret
    fprintf(stderr, "%s\n", text);
    return 1;
}

/* Two statements that hold together, on a table that lives as long as the connection: a pin keeps it. */
static int fill(chopin_pg *pin) {
    static const struct { const char *name; int people; } cities[] = { { "Warsaw", 1860000 }, { "Paris", 2103000 }, { "\xc5\x81\xc3\xb3""d\xc5\xba", 658000 } };
    if (chopin_pg_exec(pin, "create temporary table city (name text primary key, people int not null)") < 0) return -1;
    chopin_pg *tx = chopin_pg_begin(pin, NULL);
    for (size_t i = 0; i < sizeof cities / sizeof *cities; i++) {
        chopin_pg_exec(tx, "insert into city values ($1, $2)", cities[i].name, cities[i].people);      // the first error sticks to tx
    }
    int rc = chopin_pg_commit(tx);
    chopin_pg_close(tx);
    return rc;
}

int main(int argc, char **argv) {
    const char *like = argc > 1 ? argv[1] : "%";
    chopin_pg  *db = chopin_pg_open(&(chopin_pg_options){ .url = getenv("DATABASE_URL") });
    chopin_pg  *pin = chopin_pg_pin(db);
    int failed = fill(pin) < 0;

    chopin_pg_rows *r = chopin_pg_query(pin, "select name, people, people / 1e6 from city where name like $1 order by people desc", like);
    while (chopin_pg_next(r)) {
        printf("%-10.*s %8d  %.2f million\n", CHOPIN_FMT(chopin_pg_text(r, 0)), chopin_pg_i32(r, 1), chopin_pg_f64(r, 2));
    }
    failed |= chopin_pg_end(r) < 0;
    if (failed) complain(pin);
    chopin_pg_close(pin);
    chopin_pg_close(db);
    return failed;
}
