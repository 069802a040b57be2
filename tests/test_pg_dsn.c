/* test_pg_dsn.c - >>dsn: strings, environment, service and password files, hosts, checked values. diff_pg_dsn.c compares the reading with libpq's. */
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include "test.h"

static chopin_pg__heap heap;
static chopin_pg__dsn  d;
static chopin_pg_error e;
static char home[] = "/tmp/chopin_pg_dsn_XXXXXX";
static char logged[2000];

/* ---- a world of our own ---- */
static struct { const char *name, *value; } environment[20];
static int environment_count;

static const char *variable(void *ctx, const char *name) {
    (void)ctx;
    for (int i = 0; i < environment_count; i++) if (strcmp(environment[i].name, name) == 0) return environment[i].value;
    return NULL;
}
static void set(const char *name, const char *value) { environment[environment_count].name = name; environment[environment_count++].value = value; }
static void hear(void *ctx, chopin_pg_level level, const char *text) {
    (void)ctx; (void)level;
    snprintf(logged + strlen(logged), sizeof logged - strlen(logged), "%s\n", text);
}
static const char *path_of(const char *name) {
    static char path[8][300];
    static int  turn;
    char *p = path[turn++ & 7];
    snprintf(p, sizeof path[0], "%s/%s", home, name);
    return p;
}
static void write_file(const char *name, const char *text, mode_t mode) {
    FILE *f = fopen(path_of(name), "w");
    fputs(text, f);
    fclose(f);
    chmod(path_of(name), mode);
}
static void remove_file(const char *name) { unlink(path_of(name)); }
static int free_d(void) {
    if (d.arena.heap) chopin_pg__dsn_done(&d);
    chopin_pg__error_clear(&e);
    return 0;
}
static int load(const char *url) {
    chopin_pg__logger log = { hear, NULL };
    chopin_pg__world  w = { .variable = variable, .home = home, .log = &log };
    free_d();
    chopin_pg__heap_init(&heap, NULL, NULL);
    chopin_pg__error_init(&e, &heap);
    logged[0] = 0;
    return chopin_pg__dsn_load(&d, &heap, url, NULL, &w, &e);
}
static void begin(void) { environment_count = 0; }
static bool says(const char *part) { return e.why && strstr(e.why, part); }
static const char *value(int option) { return d.value[option].ptr; }
static bool is(const char *got, const char *want) { return got && strcmp(got, want) == 0; }

static void reads_the_uri_of_the_rust_clients_bug(void) {
    begin();
    CHECK_EQ_INT(load("postgres://u%40x:p%3A%2F@[::1]:5433/d"), 0);
    CHECK_STR(d.user, "u@x");
    CHECK_STR(d.database, "d");
    CHECK_STR(d.hosts[0].password, "p:/");
    CHECK_STR(d.hosts[0].host, "::1");
    CHECK_EQ_INT(d.hosts[0].port, 5433);
    CHECK(d.hosts[0].is_local && !d.hosts[0].is_unix);
    char text[300];
    size_t n = chopin_pg__dsn_text(&d, text, sizeof text);
    CHECK(is(text, "user='u@x' password='***' dbname='d' host='::1' port='5433'"));
    CHECK_EQ_INT(n, strlen(text));
    CHECK_EQ_INT(chopin_pg__dsn_text(&d, text, 10), n);
    CHECK_EQ_INT(strlen(text), 9);
    CHECK_EQ_INT(chopin_pg__dsn_text(&d, NULL, 0), n);
}
static void the_printed_config_can_be_read_again(void) {
    begin();
    CHECK_EQ_INT(load("user='it\\'s' dbname='a \\\\ b' host=/tmp port=1 sslpassword=geheim"), 0);
    char text[300];
    chopin_pg__dsn_text(&d, text, sizeof text);
    CHECK(!strstr(text, "geheim"));
    char again[300];
    CHECK_EQ_INT(load(text), 0);
    chopin_pg__dsn_text(&d, again, sizeof again);
    CHECK(is(again, text));
    CHECK_STR(d.user, "it's");
    CHECK_STR(d.database, "a \\ b");
}
static void no_refusal_quotes_the_string(void) {
    static const char *const bad[] = {
        "postgres://u:s3cr3t@[::1", "postgres://u:s3cr3t@h?nope=s3cr3t", "postgres://u:s3cr3t@[]", "postgres://u:s3cr3t@h?x", "postgres://u:s3cr3t%zz@h", "postgres:/u:s3cr3t@h",
        "password=s3cr3t nope=1", "password='s3cr3t", "password s3cr3t", "s3cr3t", "password=s3cr3t port=s3cr3t", "password=s3cr3t sslmode=s3cr3t", "s3cr3t=1",
        "password=s3cr3t port=1,2", "password=s3cr3t host=a,b hostaddr=1.1.1.1", "password=s3cr3t connect_timeout=s3cr3t", "password=s3cr3t require_auth=s3cr3t",
        "password=s3cr3t target_session_attrs=s3cr3t", "password=s3cr3t gssencmode=require", "password=s3cr3t client_encoding=s3cr3t", "password=s3cr3t service=s3cr3t",
        "postgres://u:s3cr3t@h?user=%00s3cr3t", "postgres://u:s3cr3t@[::1]s3cr3t", "postgres://u:s3cr3t@h:s3cr3t/d",
    };
    begin();
    for (size_t i = 0; i < CHOPIN_PG__COUNT(bad); i++) {
        if (!CHECK_EQ_INT(load(bad[i]), CHOPIN_PG_ARG) || !CHECK(!says("s3cr3t"))) printf("   %s: %s\n", bad[i], e.why ? e.why : "");
        CHECK(!strstr(logged, "s3cr3t"));
    }
}
static void says_where_it_hurts(void) {
    begin();
    load("postgres://host?uzer=x");             CHECK(says("no option of this name") && says("byte 17"));
    load("host=a b");                           CHECK(says("expected \"=\""));
    load("host='a");                            CHECK(says("quote") && says("byte 6"));
    load("postgres://h/d?user=%zz");            CHECK(says("%25"));
    load("sslmode=verfy-full");                 CHECK(says("sslmode") && says("verify-full"));
}
static void fills_up_with_defaults(void) {
    begin();
    CHECK_EQ_INT(load(""), 0);
    CHECK_EQ_INT(d.host_count, 1);
    CHECK(d.hosts[0].is_unix && d.hosts[0].is_local && d.hosts[0].host.ptr[0] == '/');
    CHECK_EQ_INT(d.hosts[0].port, 5432);
    CHECK(d.user.len > 0);
    CHECK(chopin_pg__equal(d.user, d.database));
    CHECK_EQ_INT(d.tls.mode, CHOPIN_PG_SSL_PREFER);
    CHECK(!d.sslmode_said);
    CHECK_EQ_INT(d.binding, CHOPIN_PG__BINDING_PREFER);
    CHECK_EQ_INT(d.target, CHOPIN_PG__ANY);
    CHECK_EQ_INT(d.require_auth, CHOPIN_PG__AUTH_ANY);
    CHECK_EQ_INT(d.max_minor, 0);
    CHECK_EQ_INT(d.application_name.len, 0);
    CHECK_EQ_INT(load(NULL), 0);
    CHECK_EQ_INT(load("user=me"), 0);
    CHECK_STR(d.database, "me");
    CHECK_EQ_INT(load("user=me dbname=''"), 0);
    CHECK_STR(d.database, "me");
}
static void the_string_wins_over_the_environment(void) {
    begin();
    set("PGUSER", "env_user");
    set("PGHOST", "env_host");
    set("PGPASSWORD", "env_password");
    set("PGAPPNAME", "env_app");
    set("PGSSLMODE", "require");
    CHECK_EQ_INT(load("host=mine"), 0);
    CHECK_STR(d.hosts[0].host, "mine");
    CHECK_STR(d.user, "env_user");
    CHECK_STR(d.hosts[0].password, "env_password");
    CHECK_STR(d.application_name, "env_app");
    CHECK_EQ_INT(d.tls.mode, CHOPIN_PG_SSL_REQUIRE);
    CHECK(d.sslmode_said);
    CHECK_EQ_INT(load("host='' user=x"), 0);                   // said, and empty: the environment stays out, the default comes in
    CHECK(d.hosts[0].is_unix);
    begin();
    set("PGREQUIRESSL", "1");
    CHECK_EQ_INT(load("user=x"), 0);
    CHECK_EQ_INT(d.tls.mode, CHOPIN_PG_SSL_REQUIRE);
    CHECK_EQ_INT(load("user=x sslmode=allow"), 0);
    CHECK_EQ_INT(d.tls.mode, CHOPIN_PG_SSL_ALLOW);
}
static void every_variable_reaches_its_option(void) {
    for (int i = 0; i < CHOPIN_PG__OPTION_COUNT; i++) {
        const chopin_pg__option_row *row = chopin_pg__option_at(i);
        if (!*row->variable || i == CHOPIN_PG__SERVICE || i == CHOPIN_PG__SERVICEFILE) continue;
        begin();
        set(row->variable, "5");
        load("user=x");
        CHECK(is(value(i), "5") || i == CHOPIN_PG__USER);
    }
}
static void the_application_name_has_four_sources(void) {
    begin();
    CHECK_EQ_INT(load("user=x fallback_application_name=f"), 0);
    CHECK_STR(d.application_name, "f");
    CHECK_EQ_INT(load("user=x fallback_application_name=f application_name=a"), 0);
    CHECK_STR(d.application_name, "a");
    chopin_pg__logger log = { hear, NULL };
    chopin_pg__world  w = { .variable = variable, .home = home, .log = &log };
    free_d();
    CHECK_EQ_INT(chopin_pg__dsn_load(&d, &heap, "application_name=a", "option", &w, &e), 0);
    CHECK_STR(d.application_name, "option");
}
static void hosts_ports_and_addresses_stand_side_by_side(void) {
    begin();
    CHECK_EQ_INT(load("postgres://u@one:1,two,[::3]:3/d?hostaddr=1.1.1.1,,3.3.3.3"), 0);
    CHECK_EQ_INT(d.host_count, 3);
    CHECK_STR(d.hosts[0].hostaddr, "1.1.1.1");
    CHECK_STR(d.hosts[1].host, "two");
    CHECK_EQ_INT(d.hosts[1].port, 5432);
    CHECK_EQ_INT(d.hosts[1].hostaddr.len, 0);
    CHECK_EQ_INT(d.hosts[2].port, 3);
    CHECK_EQ_INT(load("host=a,b,c port=7"), 0);
    CHECK(d.hosts[0].port == 7 && d.hosts[2].port == 7);
    CHECK_EQ_INT(load("host=a,,@x,/y user=u"), 0);
    CHECK_EQ_INT(d.host_count, 4);
    CHECK(!d.hosts[0].is_unix && d.hosts[1].is_unix && d.hosts[2].is_unix && d.hosts[3].is_unix);
    CHECK_EQ_INT(load("hostaddr=127.0.0.1 user=u"), 0);
    CHECK(d.hosts[0].host.len == 0 && d.hosts[0].is_local && !d.hosts[0].is_unix);
    CHECK_EQ_INT(load("host=/tmp hostaddr=10.0.0.1 user=u"), 0);
    CHECK(!d.hosts[0].is_unix && !d.hosts[0].is_local);
}
static void refuses_lists_that_do_not_match(void) {
    static const char *const bad[] = { "host=a,b port=1,2,3", "host=a,b,c port=1,2", "host=a,b hostaddr=1.1.1.1", "host=a hostaddr=1.1.1.1,2.2.2.2", "port=1,2" };
    begin();
    for (size_t i = 0; i < CHOPIN_PG__COUNT(bad); i++) CHECK_EQ_INT(load(bad[i]), CHOPIN_PG_ARG);
}
static void refuses_ports_that_are_none(void) {
    static const char *const bad[] = { "0", "-1", "65536", "99999999999999999999", "x", "5432x", "5 4", "0x10" }, *const good[] = { "1", "65535", "' 5432 '", "+7", "''", "007" };
    char text[60];
    begin();
    for (size_t i = 0; i < CHOPIN_PG__COUNT(bad); i++)  { snprintf(text, sizeof text, "user=u port='%s'", bad[i]); CHECK_EQ_INT(load(text), CHOPIN_PG_ARG); }
    for (size_t i = 0; i < CHOPIN_PG__COUNT(good); i++) { snprintf(text, sizeof text, "user=u port=%s", good[i]); if (!CHECK_EQ_INT(load(text), 0)) printf("   %s\n", text); }
}
static void knows_who_is_local(void) {
    static const struct { const char *host; bool local; } rows[] = { { "localhost", true }, { "LocalHost", true }, { "127.0.0.1", true }, { "127.9.9.9", true }, { "::1", true }, { "10.0.0.1", false }, { "128.0.0.1", false }, { "192.168.0.1", false },
        { "db", false }, { "localhost.evil.org", false }, { "127.0.0.1.evil.org", false }, { "::2", false }, { "1127.0.0.1", false } };
    for (size_t i = 0; i < CHOPIN_PG__COUNT(rows); i++) CHECK_EQ_INT(chopin_pg__is_loopback(rows[i].host), rows[i].local);
}
static void clear_text_is_never_silent(void) {
    begin();
    load("user=u host=db.example.org");                          CHECK_EQ_INT(chopin_pg__dsn_tls_allowed(&d, false, &e), CHOPIN_PG_TLS); CHECK(says("sslmode=disable"));
    load("user=u host=db.example.org sslmode=prefer");           CHECK_EQ_INT(chopin_pg__dsn_tls_allowed(&d, false, &e), CHOPIN_PG_TLS);
    load("user=u host=db.example.org sslmode=allow");            CHECK_EQ_INT(chopin_pg__dsn_tls_allowed(&d, false, &e), CHOPIN_PG_TLS);
    load("user=u host=localhost,db.example.org");                CHECK_EQ_INT(chopin_pg__dsn_tls_allowed(&d, false, &e), CHOPIN_PG_TLS); CHECK(says("host 2"));
    load("user=u host=db.example.org sslmode=disable");          CHECK_EQ_INT(chopin_pg__dsn_tls_allowed(&d, false, &e), 0);
    load("user=u host=127.0.0.1");                               CHECK_EQ_INT(chopin_pg__dsn_tls_allowed(&d, false, &e), 0);
    load("user=u host=127.0.0.1 sslmode=require");               CHECK_EQ_INT(chopin_pg__dsn_tls_allowed(&d, false, &e), CHOPIN_PG_TLS);
    load("user=u host=/tmp sslmode=verify-full");                CHECK_EQ_INT(chopin_pg__dsn_tls_allowed(&d, false, &e), 0);       // as libpq: unix sockets have no TLS
    load("user=u host=db.example.org");                          CHECK_EQ_INT(chopin_pg__dsn_tls_allowed(&d, true, &e), 0);
}
static void checks_words_and_their_company(void) {
    static const struct { const char *text; bool ok; } rows[] = {
        { "sslmode=disable", true }, { "sslmode=verify-ca", true }, { "sslmode=Require", false }, { "sslmode=", false }, { "sslmode=yes", false },
        { "channel_binding=require", true }, { "channel_binding=on", false }, { "target_session_attrs=prefer-standby", true }, { "target_session_attrs=master", false },
        { "load_balance_hosts=random", true }, { "load_balance_hosts=1", false }, { "sslnegotiation=direct", false }, { "sslnegotiation=direct sslmode=require", true },
        { "sslrootcert=system", true }, { "sslrootcert=system sslmode=require", false }, { "sslrootcert=system sslmode=verify-full", true },
        { "ssl_min_protocol_version=TLSv1.3", true }, { "ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2", false }, { "ssl_min_protocol_version=SSLv3", false }, { "ssl_min_protocol_version=tlsv1.2", true },
        { "ssl_max_protocol_version=TLSv1.1", false }, { "ssl_min_protocol_version=TLSv1 ssl_max_protocol_version=TLSv1.1", true },
        { "sslcertmode=require", true }, { "sslcertmode=no", false }, { "sslsni=0", true }, { "sslsni=2", false }, { "sslsni=yes", false }, { "sslcompression=1", true },
        { "gssencmode=prefer", true }, { "gssencmode=disable", true }, { "gssencmode=require", false }, { "replication=off", true }, { "replication=database", false }, { "replication=true", false },
        { "client_encoding=UTF8", true }, { "client_encoding=auto", true }, { "client_encoding=latin1", false }, { "min_protocol_version=3.2", true }, { "max_protocol_version=3.1", false },
        { "max_protocol_version=latest", true }, { "min_protocol_version=3.2 max_protocol_version=3.0", false }, { "connect_timeout=5", true }, { "connect_timeout=", false },
        { "connect_timeout=5s", false }, { "keepalives=0", true }, { "keepalives=no", false }, { "keepalives_count=99999999999", false }, { "connect_timeout=-5", true },
    };
    char text[120];
    begin();
    for (size_t i = 0; i < CHOPIN_PG__COUNT(rows); i++) {
        snprintf(text, sizeof text, "user=u %s", rows[i].text);
        if (!CHECK_EQ_INT(load(text) == 0, rows[i].ok)) printf("   %s: %s\n", rows[i].text, e.why ? e.why : "accepted");
    }
    load("user=u sslrootcert=system");
    CHECK_EQ_INT(d.tls.mode, CHOPIN_PG_SSL_VERIFY_FULL);
    load("user=u max_protocol_version=latest connect_timeout=-5 keepalives=0 target_session_attrs=standby");
    CHECK(d.max_minor == 2 && d.min_minor == 0 && d.connect_timeout_s == 0 && d.no_keepalives && d.target == CHOPIN_PG__STANDBY);
    load("user=u min_protocol_version=3.2");
    CHECK(d.max_minor == 2 && d.min_minor == 2);
}
static void require_auth_lists_are_read_as_libpq_16_does(void) {
    static const struct { const char *text; int mask; } rows[] = {
        { "", CHOPIN_PG__AUTH_ANY }, { "scram-sha-256", CHOPIN_PG__AUTH_SCRAM }, { "md5,password", CHOPIN_PG__AUTH_MD5 | CHOPIN_PG__AUTH_PASSWORD }, { "none", CHOPIN_PG__AUTH_NONE },
        { "!none", CHOPIN_PG__AUTH_ANY & ~CHOPIN_PG__AUTH_NONE }, { "!md5,!password", CHOPIN_PG__AUTH_ANY & ~CHOPIN_PG__AUTH_MD5 & ~CHOPIN_PG__AUTH_PASSWORD },
        { "md5,!password", -1 }, { "!md5,password", -1 }, { "md5,md5", -1 }, { "!md5,!md5", -1 }, { "kerberos", -1 }, { "md5,", -1 }, { ",md5", -1 }, { "!", -1 }, { "!!md5", -1 }, { "md5 ", -1 }, { ",", -1 },
    };
    char text[120];
    begin();
    for (size_t i = 0; i < CHOPIN_PG__COUNT(rows); i++) {
        snprintf(text, sizeof text, "user=u require_auth='%s'", rows[i].text);
        int rc = load(text);
        if (!CHECK_EQ_INT(rc < 0 ? -1 : (int)d.require_auth, rows[i].mask)) printf("   %s\n", rows[i].text);
    }
}
/* ---- service file ---- */
static void services_fill_in_what_the_string_left_open(void) {
    begin();
    write_file(".pg_service.conf", "# comment\n\n[other]\nhost=wrong\n  [shop]  \nhost=db.example.org\nport=6000 \n user=svc\nhost=second\n[shop]\ndbname=late\n[last]\nuser=l\n", 0644);
    CHECK_EQ_INT(load("service=shop user=me"), 0);
    CHECK_STR(d.hosts[0].host, "db.example.org");
    CHECK_EQ_INT(d.hosts[0].port, 6000);
    CHECK_STR(d.user, "me");
    CHECK(!value(CHOPIN_PG__DBNAME));
    set("PGSERVICE", "last");
    set("PGUSER", "env");
    CHECK_EQ_INT(load(""), 0);
    CHECK_STR(d.user, "l");                                  // the service comes before the environment
    CHECK_EQ_INT(load("service=absent"), CHOPIN_PG_ARG);
    CHECK(says("no service file"));
    remove_file(".pg_service.conf");
}
static void broken_services_name_file_and_line(void) {
    static const char *const bad[] = { "[s]\nhost\n", "[s]\nnope=1\n", "[s]\nservice=t\n", "[s]\nhost = a\n", "[s]\nservicefile=/x\n", "[s]\n=x\n", "[s]\nldap://x\n" };
    begin();
    for (size_t i = 0; i < CHOPIN_PG__COUNT(bad); i++) {
        write_file("svc", bad[i], 0644);
        set("PGSERVICEFILE", path_of("svc"));
        CHECK_EQ_INT(load("service=s"), CHOPIN_PG_ARG);
        CHECK(says("line 2") && says("svc"));
        begin();
    }
    write_file("svc", "[sx]\nhost=a\n[s\nhost=b\n[s]tail\nhost=c", 0644);
    set("PGSERVICEFILE", path_of("svc"));
    CHECK_EQ_INT(load("service=s"), 0);
    CHECK_STR(d.hosts[0].host, "c");                         // no line end behind the last line
    remove_file("svc");
    CHECK_EQ_INT(load("service=s"), CHOPIN_PG_ARG);
    CHECK(says("cannot be read"));
    begin();
    mkdir(path_of("sys"), 0700);
    write_file("sys/pg_service.conf", "[s]\nhost=system\n", 0644);
    set("PGSYSCONFDIR", path_of("sys"));
    CHECK_EQ_INT(load("service=s"), 0);
    CHECK_STR(d.hosts[0].host, "system");
    remove_file("sys/pg_service.conf");
    rmdir(path_of("sys"));
}

/* ---- password file ---- */
static chopin_str find(const char *text, const char *host, const char *port, const char *database, const char *user) {
    static char copy[200];
    chopin_str found = chopin_pg__passfile_find(chopin_pg__str_z(text), chopin_pg__str_z(host), chopin_pg__str_z(port), chopin_pg__str_z(database), chopin_pg__str_z(user));
    if (!found.ptr) return found;
    memcpy(copy, found.ptr, found.len);
    return chopin_pg__str(copy, chopin_pg__passfile_unescape(copy, found.len));
}
static void finds_the_first_line_that_fits(void) {
    static const char file[] = "# h:1:d:u:comment\n\nh:1:d:u:one\nh:1:d:*:two\n*:*:*:u:three\n*:*:*:*:four\n";
    CHECK_STR(find(file, "h", "1", "d", "u"), "one");
    CHECK_STR(find(file, "h", "1", "d", "v"), "two");
    CHECK_STR(find(file, "x", "1", "d", "u"), "three");
    CHECK_STR(find(file, "x", "9", "y", "z"), "four");
    CHECK(!find("h:1:d:u:one\n", "h", "1", "d", "uu").ptr && !find("h:1:d:u:one\n", "h", "1", "d", "").ptr && !find("h:1:d:uu:one\n", "h", "1", "d", "u").ptr);
    CHECK(!find("h:1:d\n", "h", "1", "d", "u").ptr && !find("h:1:d:u\n", "h", "1", "d", "u").ptr && !find("", "h", "1", "d", "u").ptr);
    CHECK(find("h:1:d:u:\n", "h", "1", "d", "u").len == 0);
}
static void passwords_keep_their_odd_characters(void) {
    CHECK_STR(find("h:1:d:u:a\\:b\\\\c", "h", "1", "d", "u"), "a:b\\c");
    CHECK_STR(find("h:1:d:u:a b #c \r\n", "h", "1", "d", "u"), "a b #c ");
    CHECK_STR(find("h:1:d:u:ab:rest\n", "h", "1", "d", "u"), "ab");
    CHECK_STR(find("h:1:d:u:ab\\", "h", "1", "d", "u"), "ab\\");
    CHECK_STR(find("\\:\\:1:1:d:u:p\n", "::1", "1", "d", "u"), "p");
    CHECK_STR(find("a\\\\b:1:d:u:p\n", "a\\b", "1", "d", "u"), "p");
    CHECK_STR(find("\\*:1:d:u:no\n*:1:d:u:yes\n", "h", "1", "d", "u"), "yes");
    CHECK_STR(find("**:1:d:u:no\n*:1:d:u:yes\n", "h", "1", "d", "u"), "yes");
    CHECK_STR(find("\\*:1:d:u:star\n", "*", "1", "d", "u"), "star");
}
static void the_password_file_serves_each_host(void) {
    begin();
    write_file(".pgpass", "a:5432:d:u:for_a\nb:7:*:u:for_b\nlocalhost:5432:d:u:local\n1.2.3.4:*:*:*:by_address\n", 0600);
    CHECK_EQ_INT(load("host=a,b,c port=5432,7,5432 user=u dbname=d"), 0);
    CHECK_STR(d.hosts[0].password, "for_a");
    CHECK_STR(d.hosts[1].password, "for_b");
    CHECK(!d.hosts[2].password.ptr);
    CHECK_EQ_INT(load("user=u dbname=d"), 0);                // the default socket directory is "localhost" there
    CHECK_STR(d.hosts[0].password, "local");
    CHECK_EQ_INT(load("hostaddr=1.2.3.4 user=x dbname=y"), 0);
    CHECK_STR(d.hosts[0].password, "by_address");
    CHECK_EQ_INT(load("host=z hostaddr=1.2.3.4 user=x dbname=y"), 0);
    CHECK(!d.hosts[0].password.ptr);                         // the name counts, not the address
    CHECK_EQ_INT(load("host=a user=u dbname=d password=said"), 0);
    CHECK_STR(d.hosts[0].password, "said");
    set("PGPASSWORD", "env");
    CHECK_EQ_INT(load("host=a user=u dbname=d"), 0);
    CHECK_STR(d.hosts[0].password, "env");
    CHECK_EQ_INT(load("host=a user=u dbname=d password="), 0);
    CHECK_STR(d.hosts[0].password, "for_a");
    begin();
    write_file("elsewhere", "a:5432:d:u:other\n", 0600);
    set("PGPASSFILE", path_of("elsewhere"));
    CHECK_EQ_INT(load("host=a user=u dbname=d"), 0);
    CHECK_STR(d.hosts[0].password, "other");
    CHECK_EQ_INT(d.hosts[0].password.ptr[d.hosts[0].password.len], 0);                   // a NUL behind, as >>auth wants
    remove_file("elsewhere");
    CHECK_EQ_INT(load("host=a user=u dbname=d"), 0);         // a missing file is nothing
    CHECK(!d.hosts[0].password.ptr && !logged[0]);
    remove_file(".pgpass");
}
static void a_password_file_others_can_read_is_not_used(void) {
    static const mode_t modes[] = { 0604, 0640, 0610, 0602, 0666 };
    begin();
    for (size_t i = 0; i < CHOPIN_PG__COUNT(modes); i++) {
        write_file(".pgpass", "*:*:*:*:pw\n", modes[i]);
        CHECK_EQ_INT(load("host=a user=u"), 0);
        CHECK(!d.hosts[0].password.ptr && strstr(logged, "chmod 600"));
    }
    chmod(path_of(".pgpass"), 0400);
    CHECK_EQ_INT(load("host=a user=u"), 0);
    CHECK_STR(d.hosts[0].password, "pw");
    remove_file(".pgpass");
}
static void only_plain_files_are_read(void) {
    begin();
    mkdir(path_of(".pgpass"), 0700);
    CHECK_EQ_INT(load("host=a user=u"), 0);
    CHECK(strstr(logged, "plain file") != NULL);
    rmdir(path_of(".pgpass"));
    mkfifo(path_of(".pgpass"), 0600);
    CHECK_EQ_INT(load("host=a user=u"), 0);                  // and does not hang
    CHECK(strstr(logged, "plain file") != NULL);
    remove_file(".pgpass");
    CHECK_EQ_INT(load("host=a user=u passfile=/dev/zero"), 0);
    CHECK(strstr(logged, "plain file") != NULL);
}
static void without_environment_nothing_is_looked_for(void) {
    begin();
    write_file(".pgpass", "*:*:*:*:pw\n", 0600);
    setenv("HOME", home, 1);
    setenv("PGUSER", "from_env", 1);
    chopin_pg__logger log = { hear, NULL };
    free_d();
    CHECK_EQ_INT(chopin_pg__dsn_open(&d, &heap, &(chopin_pg_options){ .url = "host=a" }, &log, &e), 0);
    CHECK_STR(d.user, "from_env");
    CHECK_STR(d.hosts[0].password, "pw");
    free_d();
    CHECK_EQ_INT(chopin_pg__dsn_open(&d, &heap, &(chopin_pg_options){ .url = "host=a", .no_env = true }, &log, &e), 0);
    CHECK(!chopin_pg__equal_z(d.user, "from_env") && !d.hosts[0].password.ptr && !d.home);
    char url[400];
    snprintf(url, sizeof url, "host=a user=u passfile=%s", path_of(".pgpass"));
    free_d();
    CHECK_EQ_INT(chopin_pg__dsn_open(&d, &heap, &(chopin_pg_options){ .url = url, .no_env = true }, &log, &e), 0);
    CHECK_STR(d.hosts[0].password, "pw");
    unsetenv("PGUSER");
    remove_file(".pgpass");
}

/* ---- no memory ---- */
static int allowed;
static size_t in_use;
static void *scarce(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    (void)ctx;
    if (new_size && allowed-- <= 0) return NULL;
    in_use += new_size - old_size;
    return chopin_pg__heap_default(NULL, ptr, old_size, new_size);
}
static void every_allocation_may_fail(void) {
    begin();
    write_file(".pgpass", "*:*:*:*:pw\n", 0600);
    write_file(".pg_service.conf", "[s]\nhost=a,b\nport=5\n", 0600);
    bool through = false;
    for (int n = 0; n < 200 && !through; n++) {
        chopin_pg__logger log = { hear, NULL };
        chopin_pg__world  w = { .variable = variable, .home = home, .log = &log };
        free_d();
        chopin_pg__heap_init(&heap, scarce, NULL);
        chopin_pg__error_init(&e, &heap);
        allowed = n;
        int rc = chopin_pg__dsn_load(&d, &heap, "postgres://u:p%41@/d?service=s&application_name=very%20long%20name%20very%20long%20name", NULL, &w, &e);
        CHECK(rc == 0 || (rc == CHOPIN_PG_MEMORY && says("memory")) || rc == CHOPIN_PG_ARG);
        through = rc == 0 && allowed > 0;
        free_d();
        CHECK_EQ_INT(in_use, 0);
    }
    CHECK(through);
    remove_file(".pgpass");
    remove_file(".pg_service.conf");
}
static void long_strings_stay_linear(void) {
    static char text[600000];
    size_t n = 0;
    begin();
    while (n < 300000) n += (size_t)sprintf(text + n, "user=u%zu ", n);
    CHECK(load(text) == 0 || e.status == CHOPIN_PG_MEMORY);
    memset(text, 'x', sizeof text - 1);
    CHECK_EQ_INT(load(text), CHOPIN_PG_ARG);
    memcpy(text, "postgres://", 11);
    CHECK(load(text) == 0 || e.status == CHOPIN_PG_MEMORY);
    memset(text + 11, ',', 50000);
    text[50011] = 0;
    int rc = load(text);
    CHECK(rc == 0 || rc == CHOPIN_PG_MEMORY);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    if (!mkdtemp(home)) return 1;
    RUN(reads_the_uri_of_the_rust_clients_bug);
    RUN(the_printed_config_can_be_read_again);
    RUN(no_refusal_quotes_the_string);
    RUN(says_where_it_hurts);
    RUN(fills_up_with_defaults);
    RUN(the_string_wins_over_the_environment);
    RUN(every_variable_reaches_its_option);
    RUN(the_application_name_has_four_sources);
    RUN(hosts_ports_and_addresses_stand_side_by_side);
    RUN(refuses_lists_that_do_not_match);
    RUN(refuses_ports_that_are_none);
    RUN(knows_who_is_local);
    RUN(clear_text_is_never_silent);
    RUN(checks_words_and_their_company);
    RUN(require_auth_lists_are_read_as_libpq_16_does);
    RUN(services_fill_in_what_the_string_left_open);
    RUN(broken_services_name_file_and_line);
    RUN(finds_the_first_line_that_fits);
    RUN(passwords_keep_their_odd_characters);
    RUN(the_password_file_serves_each_host);
    RUN(a_password_file_others_can_read_is_not_used);
    RUN(only_plain_files_are_read);
    RUN(without_environment_nothing_is_looked_for);
    RUN(every_allocation_may_fail);
    RUN(long_strings_stay_linear);
    free_d();
    rmdir(home);
    return TEST_END();
}
