/* build_pg_b.c - the other one: plain declarations, after system headers, as an application includes them; also compiled as C++. See build_pg.sh. */
#include <stdio.h>
#include <string.h>
#include "../chopin_pg.h"
#include "../chopin_pg.h"

int main(void) {
    chopin_pg_options o;
    memset(&o, 0, sizeof o);
    o.url = "host=/nonexistent/directory user=u dbname=d";
    o.no_env = true;
    o.connect_ms = 100;
    chopin_pg *db = chopin_pg_open(&o);
    chopin_str name = CHOPIN_STR("name");
    chopin_pg_rows *r = chopin_pg_query(db, "select $1, $2, $3, $4", 1, 2.5, "text", name);
    int rows = chopin_pg_next(r);
    bool failed = chopin_pg_end(r) < 0 && chopin_pg_code(db) == CHOPIN_PG_CONNECT && strstr(chopin_pg_why(db), "nonexistent") && chopin_pg_error_of(db)->retry == CHOPIN_PG_RETRY_UNSENT;
    chopin_pg_close(db);
    if (strcmp(chopin_pg_version(), CHOPIN_PG_VERSION) != 0 || strcmp(chopin_pg_status_name(CHOPIN_PG_LOST), "LOST") != 0) failed = false;
#if defined(CHOPIN_PG_OPENSSL)
    if (!chopin_pg_openssl()) failed = false;
#endif
    puts(!rows && failed ? "1 passed, 0 failed" : "0 passed, 1 failed");
    return rows || !failed;
}
