/* diff_pg_dsn.c - connection strings read by us and by libpq: the same options or both refuse. Needs libpq-dev, for this test only:
 *
 *     cc -I$(pg_config --includedir) diff_pg_dsn.c -lpq -o diff_pg_dsn && ./diff_pg_dsn [seed [rounds]]
 *
 * First the URIs that libpq's own regression test knows, then hand-made strings, then mutations of both; values that libpq checks when it connects; the
 * password libpq finds in a file, also for mutated files. Nothing is ever connected to: port 1 of 127.0.0.1, or a socket that is not there. */
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include <libpq-fe.h>
#include "test.h"

static const char *const corpus[] = {
    "postgresql://uri-user:secret@host:12345/db", "postgresql://uri-user@host:12345/db", "postgresql://uri-user@host/db", "postgresql://host:12345/db",
    "postgresql://host/db", "postgresql://uri-user@host:12345/", "postgresql://uri-user@host/", "postgresql://uri-user@", "postgresql://host:12345/",
    "postgresql://host:12345", "postgresql://host/", "postgresql://host", "postgresql://", "postgresql://?hostaddr=127.0.0.1",
    "postgresql://example.com?hostaddr=63.1.2.4", "postgresql://%68ost/", "postgresql://host/db?user=uri-user", "postgresql://host/db?user=uri-user&port=12345",
    "postgresql://host/db?u%73er=someotheruser&port=12345", "postgresql://host/db?u%7aer=someotheruser&port=12345", "postgresql://host:12345?user=uri-user",
    "postgresql://host?user=uri-user", "postgresql://host?", "postgresql://[::1]:12345/db", "postgresql://[::1]/db", "postgresql://[2001:db8::1234]/",
    "postgresql://[200z:db8::1234]/", "postgresql://[::1]", "postgres://", "postgres:///", "postgres:///db", "postgres://uri-user@/db",
    "postgres://?host=/path/to/socket/dir", "postgresql://host?uzer=", "postgre://", "postgres://[::1", "postgres://[]", "postgres://[::1]z",
    "postgresql://host?zzz", "postgresql://host?value1&value2", "postgresql://host?key=key=value", "postgres://host?dbname=%XXfoo", "postgresql://a%00b",
    "postgresql://%zz", "postgresql://%1", "postgresql://%", "postgres://@host", "postgres://host:/", "postgres://:12345/",
    "postgres://otheruser@?host=/no/such/directory", "postgres://otheruser@/?host=/no/such/directory", "postgres://otheruser@:12345?host=/no/such/socket/path",
    "postgres://otheruser@:12345/db?host=/path/to/socket", "postgres://:12345/db?host=/path/to/socket", "postgres://:12345?host=/path/to/socket",
    "postgres://%2Fvar%2Flib%2Fpostgresql/dbname", "postgresql://host?sslmode=disable", "postgresql://host?sslmode=prefer", "postgresql://host?sslmode=verify-full",
};
static const char *const ours[] = {
    "", " ", "\t\n", "host=a", "host = a", "host= a", " host =a ", "host=a port=5", "host='a b' port=5", "host='a'port=5", "host='a\\'b' user=x", "host=a\\ b user=x",
    "host='a", "host='a\\", "host=a\\", "host", "host ", "=", "= a", "=a", "host==a", "host=", "host= port=5", "host='' port=5", "nope=1", "host=a host=b", "HOST=a",
    "requiressl=1", "requiressl=0", "requiressl=", "password=p@ss:word/?", "user=a\\\\b", "host=a,b,c port=1,2,3", "dbname='my db'", "application_name=x\vhost=y",
    "options='-c geqo=off' fallback_application_name=f", "service=s", "passfile=/x sslmode=bogus", "host 'a'", "host='a' 'b'", "a b=c", "port=99999",
    "postgres://a:b:c@h", "postgres://a:b@c@h/d", "postgres://a/b@h", "postgres://a:b@h:1,i:2/d", "postgres://h,i,j/d", "postgres://h:1,i,j:3", "postgres://,", "postgres://,:",
    "postgres://a@b?user=c@d", "postgres://h?x@y", "postgres://u%40x:p%3A%2F@[::1]:5433/d", "postgres://h/d/e", "postgres://h/%2F", "postgres://h/d?", "postgres://h/d?&",
    "postgres://h/d?user=a&", "postgres://h/d?user=a&&port=1", "postgres://h/d?user", "postgres://h/d?=a", "postgres://h/d?ssl=true", "postgres://h/d?ssl=false", "postgres://h/d?ssl=",
    "postgres://h?user=%C3%A4", "postgres://h?user=a%", "postgres://h?user=%4", "postgres://[::1]:,[::2]", "postgres://[::1][::2]", "postgres://h:1:2", "postgres://h?requiressl=1",
    "postgres://[::1]?user=a", "postgres://[::1],[::2]:7/x", "postgres://:p@h", "postgres://u:@h", "postgres://:@h", "postgres://@", "postgres://@/", "postgres://u:p@/db?host=%2Ftmp",
    "POSTGRES://h", "postgres:/h", "postgres:h", "postgresql:///?host=", "postgres://h#frag", "postgres://h/d#frag", "postgres://h /d", "postgres://h?user=a b",
    "postgres://%68%6f,%73t", "postgres://h:%31", "postgres://h:%zz", "postgres://a%2Cb", "postgres://user%3Aname@h", "postgres://h?user=a%26b%3Dc", "postgres://h?%75ser=x",
    "postgres://[%3A%3A1]", "postgres://[[::1]]", "postgres://h]", "postgres://h?host=a,b&port=1,2", "postgres://h?connect_timeout=abc&keepalives=%20",
};

/* Keywords that libpq 15 does not know and we do. */
static bool is_newer(const char *keyword) {
    static const char *const newer[] = { "require_auth", "sslcertmode", "load_balance_hosts", "gssdelegation", "sslnegotiation", "min_protocol_version", "max_protocol_version", "servicefile" };
    for (size_t i = 0; i < CHOPIN_PG__COUNT(newer); i++) if (strcmp(newer[i], keyword) == 0) return true;
    return false;
}

/* "keyword=value\n" of all that libpq found, or "refused". */
static void theirs(const char *text, char *out, size_t cap) {
    char *message = NULL;
    PQconninfoOption *all = PQconninfoParse(text, &message);
    chopin_pg__text t = { .out = out, .cap = cap };
    if (!all) chopin_pg__text_put_z(&t, "refused");
    for (PQconninfoOption *o = all; o && o->keyword; o++) {
        int option = chopin_pg__option_find(chopin_pg__str_z(o->keyword));
        if (!o->val) continue;
        if (option < 0) { printf("libpq has an option we lack: %s\n", o->keyword); continue; }
        chopin_pg__text_putf(&t, "%d=", option);
        chopin_pg__text_put_z(&t, o->val);
        chopin_pg__text_put_z(&t, "\n");
    }
    chopin_pg__text_end(&t);
    PQconninfoFree(all);
    PQfreemem(message);
}

static void mine(const char *text, char *out, size_t cap, char *why, size_t why_cap, bool *newer) {
    chopin_pg__heap heap;
    chopin_pg__dsn  d = { .host_count = 0 };
    chopin_pg_error e;
    chopin_pg__heap_init(&heap, NULL, NULL);
    chopin_pg__error_init(&e, &heap);
    chopin_pg__arena_init(&d.arena, &heap, 0);
    int rc = chopin_pg__dsn_read(&d, chopin_pg__str_z(text), &e);
    chopin_pg__text t = { .out = out, .cap = cap };
    snprintf(why, why_cap, "%s", rc < 0 ? e.why : "");
    *newer = false;
    if (rc < 0) chopin_pg__text_put_z(&t, "refused");
    for (int i = 0; rc == 0 && i < CHOPIN_PG__OPTION_COUNT; i++) {
        if (!d.value[i].ptr) continue;
        *newer |= is_newer(chopin_pg__option_at(i)->keyword);
        chopin_pg__text_putf(&t, "%d=", i);
        chopin_pg__text_put_str(&t, d.value[i]);
        chopin_pg__text_put_z(&t, "\n");
    }
    chopin_pg__text_end(&t);
    chopin_pg__dsn_done(&d);
    chopin_pg__error_clear(&e);
}

static int line_order(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* libpq's order of options is its own. Values may hold line ends: then the pieces are sorted with the rest, the same on both sides. */
static void sorted(char *text) {
    static char copy[70000];
    char *lines[4000];
    size_t n = 0;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *p = strtok(copy, "\n"); p && n < 4000; p = strtok(NULL, "\n")) lines[n++] = p;
    qsort(lines, n, sizeof *lines, line_order);
    *text = 0;
    for (size_t i = 0; i < n; i++) { strcat(text, lines[i]); strcat(text, "\n"); }
}

static bool agrees(const char *text) {
    static char a[70000], b[70000], why[200];
    bool newer;
    theirs(text, a, sizeof a);
    mine(text, b, sizeof b, why, sizeof why, &newer);
    sorted(a);
    sorted(b);
    if (newer || strcmp(a, b) == 0) return true;
    printf("differs: [%s]\n  libpq: %s\n  ours:  %s (%s)\n", text, a, b, why);
    return false;
}

static uint64_t seed = 1;
static int rounds = 100000;

static void agrees_on_the_corpus_of_libpq(void) { for (size_t i = 0; i < CHOPIN_PG__COUNT(corpus); i++) CHECK(agrees(corpus[i])); }
static void agrees_on_hand_made_strings(void)   { for (size_t i = 0; i < CHOPIN_PG__COUNT(ours); i++) CHECK(agrees(ours[i])); }

static unsigned pick(size_t n) { return (unsigned)(chopin_pg__random_next(&seed) % n); }

static void mutate(char *text, size_t cap) {
    static const char *const pieces[] = { "'", "\\", " ", "=", ":", "@", "/", "?", "&", ",", "[", "]", "%", "%41", "%00", "%2f", "host=", "user=x", "port=", "\t", "\xc3\xa4", "a", "1", "sslmode=", "postgres://" };
    for (unsigned n = 1 + pick(4); n > 0; n--) {
        size_t len = strlen(text), at = pick(len + 1);
        const char *piece = pieces[pick(CHOPIN_PG__COUNT(pieces))];
        unsigned way = pick(3);
        if (way == 0 && at < len) memmove(text + at, text + at + 1, len - at);
        if (way == 1 && len + strlen(piece) + 1 < cap) { memmove(text + at + strlen(piece), text + at, len - at + 1); memcpy(text + at, piece, strlen(piece)); }
        if (way == 2 && at < len) text[at] = piece[0];
    }
}

static void agrees_on_mutations(void) {
    for (int i = 0; i < rounds; i++) {
        char text[400];
        size_t k = pick(CHOPIN_PG__COUNT(corpus) + CHOPIN_PG__COUNT(ours));
        snprintf(text, sizeof text, "%s", k < CHOPIN_PG__COUNT(corpus) ? corpus[k] : ours[k - CHOPIN_PG__COUNT(corpus)]);
        mutate(text, sizeof text);
        if (!CHECK(agrees(text))) return;
    }
}

/* ---- values: libpq looks at them when it connects ---- */
static void agrees_on_values(void) {
    static const char *const rows[] = {
        "sslmode=disable", "sslmode=allow", "sslmode=prefer", "sslmode=require", "sslmode=verify-ca", "sslmode=verify-full", "sslmode=Require", "sslmode=yes", "sslmode=''",
        "channel_binding=disable", "channel_binding=prefer", "channel_binding=require", "channel_binding=on", "channel_binding=''",
        "target_session_attrs=any", "target_session_attrs=read-write", "target_session_attrs=read-only", "target_session_attrs=primary", "target_session_attrs=standby",
        "target_session_attrs=prefer-standby", "target_session_attrs=master", "target_session_attrs=ANY", "gssencmode=disable", "gssencmode=maybe", "gssencmode=''", "target_session_attrs=''", "ssl_min_protocol_version=''", "ssl_max_protocol_version=tlsv1.3",
        "ssl_min_protocol_version=TLSv1", "ssl_min_protocol_version=TLSv1.3", "ssl_min_protocol_version=tlsv1.2", "ssl_min_protocol_version=SSLv3", "ssl_max_protocol_version=TLSv1.1",
        "ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2", "ssl_min_protocol_version=TLSv1.2 ssl_max_protocol_version=TLSv1.2", "ssl_max_protocol_version=TLSv1.3",
        "port=0", "port=65535", "port=65536", "port=-1", "port=x", "port=5x", "port=' 5 '", "port='5 4'", "port=0x10", "port=007", "port=+5", "port=''", "port=1,2", "port=,", "port='5,'",
        "port=99999999999999999999", "hostaddr=1.1.1.1,2.2.2.2", "host=/nonexistent,/nonexistent port=1,2", "host=/nonexistent,/nonexistent port=1,2,3", "host=/nonexistent,/nonexistent port=7",
        "sslcompression=7", "keepalives=x", "connect_timeout=5",
    };
    for (size_t i = 0; i < CHOPIN_PG__COUNT(rows); i++) {
        char text[300];
        snprintf(text, sizeof text, "user=u host=/nonexistent %s", rows[i]);
        PGconn *conn = PQconnectStart(text);
        bool theirs_ok = strstr(PQerrorMessage(conn), "connection to server") != NULL;
        bool keepalives = strstr(rows[i], "keepalives") != NULL;         // libpq looks only on TCP
        chopin_pg__heap heap;
        chopin_pg__dsn  d;
        chopin_pg_error e;
        chopin_pg__logger log = { NULL, NULL };
        chopin_pg__world  w = { .no_files = true, .log = &log };
        chopin_pg__heap_init(&heap, NULL, NULL);
        chopin_pg__error_init(&e, &heap);
        bool ours_ok = chopin_pg__dsn_load(&d, &heap, text, NULL, &w, &e) == 0;
        if (!keepalives && !CHECK(ours_ok == theirs_ok)) printf("   %s: libpq %s  ours %s\n", rows[i], PQerrorMessage(conn), e.why ? e.why : "accepted");
        chopin_pg__dsn_done(&d);
        chopin_pg__error_clear(&e);
        PQfinish(conn);
    }
}

/* ---- password files ---- */
static bool agrees_on_file(const char *path, const char *text, size_t len, const char *host, const char *database, const char *user) {
    char conninfo[300];
    FILE *f = fopen(path, "w");
    fwrite(text, 1, len, f);
    fclose(f);
    chmod(path, 0600);
    snprintf(conninfo, sizeof conninfo, "host='%s' hostaddr=127.0.0.1 port=1 dbname='%s' user='%s' passfile=%s sslmode=disable", host, database, user, path);
    PGconn *conn = PQconnectStart(conninfo);
    const char *theirs_found = PQpass(conn);
    chopin_pg__heap heap;
    chopin_pg__dsn  d;
    chopin_pg_error e;
    chopin_pg__logger log = { NULL, NULL };
    chopin_pg__world  w = { .no_files = true, .log = &log };
    chopin_pg__heap_init(&heap, NULL, NULL);
    chopin_pg__error_init(&e, &heap);
    chopin_pg__dsn_load(&d, &heap, conninfo, NULL, &w, &e);
    chopin_str found = d.host_count ? d.hosts[0].password : chopin_pg__absent();
    bool same = chopin_pg__equal_z(found, theirs_found ? theirs_found : "");
    if (!same) printf("   [%.*s] %s/%s/%s: libpq \"%s\", ours \"%.*s\"\n", (int)len, text, host, database, user, theirs_found, CHOPIN_FMT(found));
    chopin_pg__dsn_done(&d);
    chopin_pg__error_clear(&e);
    PQfinish(conn);
    return same;
}
static void agrees_on_password_files(void) {
    static const char *const seeds[] = { "h:1:d:u:one\n", "*:*:*:*:any\n", "# c\nh:1:d:u:a\\:b\\\\c\r\n*:*:*:u:z\n", "x:1:d:u:no\nh:*:d:*:yes:tail\n", "h:1:d:u:\n*:*:*:*:second\n", "\\h:1:d:u:e\n" };
    static const char *const pieces[] = { ":", "\\", "*", "\n", "\r", "h", "d", "u", "1", "#", " ", "\\:", "\\\\", "*:*:*:*:p\n", "x" };
    char path[] = "/tmp/chopin_pg_diff_XXXXXX";
    int  fd = mkstemp(path);
    close(fd);
    for (int i = 0; i < rounds / 50; i++) {
        char text[400];
        snprintf(text, sizeof text, "%s", seeds[pick(CHOPIN_PG__COUNT(seeds))]);
        for (unsigned n = pick(6); n > 0; n--) {
            size_t len = strlen(text), at = pick(len + 1);
            const char *piece = pieces[pick(CHOPIN_PG__COUNT(pieces))];
            if (pick(3) == 0 && at < len) memmove(text + at, text + at + 1, len - at);
            else if (len + strlen(piece) + 1 < sizeof text) { memmove(text + at + strlen(piece), text + at, len - at + 1); memcpy(text + at, piece, strlen(piece)); }
        }
        if (!CHECK(agrees_on_file(path, text, strlen(text), pick(4) ? "h" : "x", "d", "u"))) break;
    }
    unlink(path);
}

int main(int argc, char **argv) {
    static const char *const variables[] = { "PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSERVICE", "PGSSLMODE", "PGPASSFILE", "PGCONNECT_TIMEOUT" };
    for (size_t i = 0; i < CHOPIN_PG__COUNT(variables); i++) unsetenv(variables[i]);
    if (argc > 1) seed = strtoull(argv[1], NULL, 10);
    if (argc > 2) rounds = atoi(argv[2]);
    RUN(agrees_on_the_corpus_of_libpq);
    RUN(agrees_on_hand_made_strings);
    RUN(agrees_on_mutations);
    RUN(agrees_on_values);
    RUN(agrees_on_password_files);
    return TEST_END();
}
