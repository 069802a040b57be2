/* test_pg_tls.c - >>tls: the OpenSSL adapter against a server made of OpenSSL in the same thread, on a socket pair.
 *
 *     cc -DCHOPIN_PG_OPENSSL test_pg_tls.c -lssl -lcrypto          (without the macro it says that it was skipped) */
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include "test.h"

#if !defined(CHOPIN_PG_OPENSSL)
static void without_the_adapter_there_is_no_default(void) { CHECK(chopin_pg__tls_default() == NULL); }
int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    printf("SKIPPED: the OpenSSL adapter (compile with -DCHOPIN_PG_OPENSSL and link -lssl -lcrypto)\n");
    RUN(without_the_adapter_there_is_no_default);
    return TEST_END();
}
#else
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ec.h>

static char dir[] = "/tmp/chopin_pg_tls_XXXXXX";
static EVP_PKEY *ca_key, *key, *ed_key;
static X509 *ca, *other_ca;
static EVP_PKEY *other_key;

static EVP_PKEY *key_new(int type) {
    EVP_PKEY *k = NULL;
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_id(type, NULL);
    EVP_PKEY_keygen_init(c);
    if (type == EVP_PKEY_EC) EVP_PKEY_CTX_set_ec_paramgen_curve_nid(c, NID_X9_62_prime256v1);
    EVP_PKEY_keygen(c, &k);
    EVP_PKEY_CTX_free(c);
    return k;
}
static void extend(X509 *x, int nid, const char *value) {
    X509V3_CTX c;
    X509V3_set_ctx_nodb(&c);
    X509V3_set_ctx(&c, ca ? ca : x, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &c, nid, value);
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
}
static X509 *cert_new(const char *cn, const char *names, EVP_PKEY *subject_key, X509 *issuer, EVP_PKEY *issuer_key, const EVP_MD *hash) {
    static long serial = 1;
    X509 *x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600 * 24);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(issuer ? issuer : x));
    X509_set_pubkey(x, subject_key);
    if (!issuer) extend(x, NID_basic_constraints, "critical,CA:TRUE");
    if (names) extend(x, NID_subject_alt_name, names);
    X509_sign(x, issuer_key, hash);
    return x;
}
static const char *path_of(const char *name) {
    static char path[16][256];
    static int  turn;
    char *p = path[turn++ & 15];
    snprintf(p, sizeof path[0], "%s/%s", dir, name);
    return p;
}
static void write_cert(const char *name, X509 *x) {
    FILE *f = fopen(path_of(name), "w");
    PEM_write_X509(f, x);
    fclose(f);
}
static void write_key(const char *name, EVP_PKEY *k, const char *password, mode_t mode) {
    FILE *f = fopen(path_of(name), "w");
    PEM_write_PrivateKey(f, k, password ? EVP_aes_128_cbc() : NULL, NULL, 0, NULL, (void *)(uintptr_t)password);
    fclose(f);
    chmod(path_of(name), mode);
}
static void write_crl(const char *name, X509 *revoked) {
    X509_CRL *l = X509_CRL_new();
    ASN1_TIME *now = X509_gmtime_adj(NULL, -60), *next = X509_gmtime_adj(NULL, 3600);
    X509_CRL_set_version(l, 1);
    X509_CRL_set_issuer_name(l, X509_get_subject_name(ca));
    X509_CRL_set1_lastUpdate(l, now);
    X509_CRL_set1_nextUpdate(l, next);
    X509_REVOKED *r = X509_REVOKED_new();
    X509_REVOKED_set_serialNumber(r, X509_get_serialNumber(revoked));
    X509_REVOKED_set_revocationDate(r, now);
    X509_CRL_add0_revoked(l, r);
    X509_CRL_sign(l, ca_key, EVP_sha256());
    FILE *f = fopen(path_of(name), "w");
    PEM_write_X509_CRL(f, l);
    fclose(f);
    X509_CRL_free(l);
    ASN1_TIME_free(now);
    ASN1_TIME_free(next);
}

/* ---- both ends ---- */
static struct {
    int   fd[2];                                             // 0: ours, 1: the server's
    SSL_CTX *ctx;
    SSL  *server;
    void *config, *session;
    char  why[300];
} t;
static struct { bool alpn, ask_cert; int max_version; X509 *cert; EVP_PKEY *key; } server;

static int choose(SSL *ssl, const unsigned char **out, unsigned char *n, const unsigned char *in, unsigned in_n, void *arg) {
    (void)ssl; (void)arg;
    static const unsigned char mine[] = "\012postgresql";
    return SSL_select_next_proto((unsigned char **)(uintptr_t)out, n, mine, 11, in, in_n) == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}
static int any_cert(int ok, X509_STORE_CTX *c) { (void)ok; (void)c; return 1; }

static void shut_down(void) {
    const chopin_pg_tls *tls = chopin_pg_openssl();
    if (t.session) tls->close(t.session);
    if (t.config) tls->config_free(t.config);
    SSL_free(t.server);
    SSL_CTX_free(t.ctx);
    if (t.fd[0] > 0) close(t.fd[0]);
    if (t.fd[1] > 0) close(t.fd[1]);
    memset(&t, 0, sizeof t);
}
/* 0 when both ends are through; else what our end says. */
static int meet(const chopin_pg_tls_config *c, const char *host) {
    const chopin_pg_tls *tls = chopin_pg_openssl();
    shut_down();
    t.config = tls->config(tls->ctx, c, t.why, sizeof t.why);
    if (!t.config) return -100;
    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, t.fd);
    t.ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_security_level(t.ctx, 0);                     // it may be as old as it likes
    SSL_CTX_use_certificate(t.ctx, server.cert);
    SSL_CTX_use_PrivateKey(t.ctx, server.key);
    if (server.max_version) { SSL_CTX_set_min_proto_version(t.ctx, TLS1_VERSION); SSL_CTX_set_max_proto_version(t.ctx, server.max_version); }
    if (server.alpn) SSL_CTX_set_alpn_select_cb(t.ctx, choose, NULL);
    if (server.ask_cert) SSL_CTX_set_verify(t.ctx, SSL_VERIFY_PEER, any_cert);
    t.server = SSL_new(t.ctx);
    SSL_set_fd(t.server, t.fd[1]);
    t.session = tls->open(t.config, t.fd[0], host, t.why, sizeof t.why);
    if (!t.session) return -101;
    int mine = 1, theirs = 0;
    for (int i = 0; i < 100 && (mine != 0 || theirs != 1); i++) {
        if (mine != 0) mine = tls->handshake(t.session, t.why, sizeof t.why);
        if (mine == CHOPIN_PG_TLS_FAILED) return mine;
        if (theirs != 1) theirs = SSL_accept(t.server);
    }
    return mine == 0 && theirs == 1 ? 0 : -102;
}
static chopin_pg_tls_config mode(chopin_pg_sslmode m) { return (chopin_pg_tls_config){ .mode = m, .cert_mode = "allow" }; }
static chopin_pg_tls_config verified(chopin_pg_sslmode m) {
    chopin_pg_tls_config c = mode(m);
    c.root_cert = path_of("ca.crt");
    return c;
}
static void serve(X509 *cert, EVP_PKEY *k) { memset(&server, 0, sizeof server); server.cert = cert; server.key = k; server.alpn = true; }
static bool because(const char *part) { if (!strstr(t.why, part)) printf("   why: %s\n", t.why); return strstr(t.why, part) != NULL; }

static X509 *local;                                          // for localhost, *.example.com, 127.0.0.1

static void carries_bytes_both_ways(void) {
    const chopin_pg_tls *tls = chopin_pg_openssl();
    char got[64] = "";
    serve(local, key);
    chopin_pg_tls_config c = mode(CHOPIN_PG_SSL_REQUIRE);
    if (!CHECK_EQ_INT(meet(&c, "localhost"), 0)) { printf("   %s\n", t.why); return; }
    CHECK_EQ_INT(tls->write(t.session, "hello", 5), 5);
    CHECK_EQ_INT(SSL_read(t.server, got, sizeof got), 5);
    CHECK(memcmp(got, "hello", 5) == 0);
    CHECK_EQ_INT(tls->read(t.session, got, sizeof got), CHOPIN_PG_TLS_WANT_READ);
    CHECK_EQ_INT(SSL_write(t.server, "answer", 6), 6);
    CHECK_EQ_INT(tls->read(t.session, got, 2), 2);
    CHECK(tls->pending(t.session));
    CHECK_EQ_INT(tls->read(t.session, got + 2, 62), 4);
    CHECK(memcmp(got, "answer", 6) == 0);
    CHECK(!tls->pending(t.session));
    CHECK_STR(chopin_pg__str_z(SSL_get_servername(t.server, TLSEXT_NAMETYPE_host_name)), "localhost");
    CHECK(!tls->has_cert(t.session));
}
static void resumes_when_the_socket_is_full(void) {
    const chopin_pg_tls *tls = chopin_pg_openssl();
    enum { SIZE = 3 << 20 };
    static uint8_t out[SIZE], in[SIZE];
    size_t sent = 0, got = 0;
    bool waited = false;
    serve(local, key);
    chopin_pg_tls_config c = mode(CHOPIN_PG_SSL_REQUIRE);
    if (!CHECK_EQ_INT(meet(&c, ""), 0)) return;
    for (size_t i = 0; i < SIZE; i++) out[i] = (uint8_t)(i * 7 + (i >> 11));
    while (got < SIZE) {
        while (sent < SIZE) {
            ptrdiff_t n = tls->write(t.session, out + sent, SIZE - sent);
            if (n < 0) { waited |= CHECK_EQ_INT(n, CHOPIN_PG_TLS_WANT_WRITE); break; }
            sent += (size_t)n;
        }
        int n = SSL_read(t.server, in + got, (int)(SIZE - got));
        if (!CHECK(n > 0)) return;
        got += (size_t)n;
    }
    CHECK(waited && memcmp(in, out, SIZE) == 0);
}
static void require_does_not_ask_who_it_is(void) {
    serve(local, key);
    chopin_pg_tls_config c = mode(CHOPIN_PG_SSL_REQUIRE);
    CHECK_EQ_INT(meet(&c, "elsewhere.org"), 0);
    c.root_cert = path_of("other.crt");                      // but with a root certificate it does, as libpq
    CHECK_EQ_INT(meet(&c, "elsewhere.org"), CHOPIN_PG_TLS_FAILED);
    c.mode = CHOPIN_PG_SSL_PREFER;
    CHECK_EQ_INT(meet(&c, "elsewhere.org"), 0);              // a failed check here would only mean clear text
}
static void verify_ca_wants_the_chain(void) {
    serve(local, key);
    chopin_pg_tls_config c = verified(CHOPIN_PG_SSL_VERIFY_CA);
    CHECK_EQ_INT(meet(&c, "elsewhere.org"), 0);
    c.root_cert = path_of("other.crt");
    CHECK_EQ_INT(meet(&c, "localhost"), CHOPIN_PG_TLS_FAILED);
    CHECK(because("certificate"));
}
static void verify_full_wants_the_name_too(void) {
    static const struct { const char *host; bool ok; } rows[] = {
        { "localhost", true }, { "LOCALHOST", true }, { "a.example.com", true }, { "a.b.example.com", false }, { "example.com", false }, { "localhost.evil.org", false },
        { "127.0.0.1", true }, { "127.0.0.2", false }, { "::1", true }, { "::2", false }, { "evil.org", false },
    };
    serve(local, key);
    chopin_pg_tls_config c = verified(CHOPIN_PG_SSL_VERIFY_FULL);
    for (size_t i = 0; i < CHOPIN_PG__COUNT(rows); i++) {
        if (!CHECK_EQ_INT(meet(&c, rows[i].host), rows[i].ok ? 0 : CHOPIN_PG_TLS_FAILED)) printf("   %s: %s\n", rows[i].host, t.why);
        if (!rows[i].ok) CHECK(because("not for the host"));
    }
    CHECK_EQ_INT(meet(&c, ""), -101);
    CHECK(because("name of the host"));
}
static void the_common_name_counts_only_without_alternative_names(void) {
    X509 *old = cert_new("db.example.org", NULL, key, ca, ca_key, EVP_sha256()), *both = cert_new("db.example.org", "DNS:x.example.org", key, ca, ca_key, EVP_sha256());
    X509 *address = cert_new("10.1.2.3", NULL, key, ca, ca_key, EVP_sha256()), *star = cert_new("*.1.2.3", NULL, key, ca, ca_key, EVP_sha256());
    X509 *elsewhere = cert_new("10.1.2.3", "IP:10.9.9.9", key, ca, ca_key, EVP_sha256());
    X509 *half = cert_new("x", "DNS:d*.example.org", key, ca, ca_key, EVP_sha256());
    chopin_pg_tls_config c = verified(CHOPIN_PG_SSL_VERIFY_FULL);
    serve(old, key);     CHECK_EQ_INT(meet(&c, "db.example.org"), 0);
    serve(both, key);    CHECK_EQ_INT(meet(&c, "db.example.org"), CHOPIN_PG_TLS_FAILED);
    serve(address, key); CHECK_EQ_INT(meet(&c, "10.1.2.3"), 0);
    serve(star, key);    CHECK_EQ_INT(meet(&c, "10.1.2.3"), CHOPIN_PG_TLS_FAILED);
    serve(elsewhere, key); CHECK_EQ_INT(meet(&c, "10.1.2.3"), CHOPIN_PG_TLS_FAILED);
    serve(half, key);    CHECK_EQ_INT(meet(&c, "db.example.org"), CHOPIN_PG_TLS_FAILED);
    shut_down();
    X509_free(old); X509_free(both); X509_free(address); X509_free(star); X509_free(half); X509_free(elsewhere);
}
static void verification_needs_a_root(void) {
    serve(local, key);
    chopin_pg_tls_config c = mode(CHOPIN_PG_SSL_VERIFY_FULL);
    CHECK_EQ_INT(meet(&c, "localhost"), -100);               CHECK(because("root certificate"));
    c.root_cert = path_of("absent.crt");
    CHECK_EQ_INT(meet(&c, "localhost"), -100);
    c.root_cert = path_of("client.key");
    CHECK_EQ_INT(meet(&c, "localhost"), -100);               CHECK(because("cannot be read"));
    c.root_cert = NULL;
    c.home = path_of("home");
    CHECK_EQ_INT(meet(&c, "localhost"), 0);                  // ~/.postgresql/root.crt
    c.root_cert = "system";
    c.home = NULL;
    CHECK_EQ_INT(meet(&c, "localhost"), CHOPIN_PG_TLS_FAILED);
    setenv("SSL_CERT_FILE", path_of("ca.crt"), 1);           // where OpenSSL looks for the system's
    CHECK_EQ_INT(meet(&c, "localhost"), 0);
    unsetenv("SSL_CERT_FILE");
}
static void revoked_certificates_are_refused(void) {
    serve(local, key);
    chopin_pg_tls_config c = verified(CHOPIN_PG_SSL_VERIFY_CA);
    c.crl = path_of("revoked.crl");
    CHECK_EQ_INT(meet(&c, "localhost"), CHOPIN_PG_TLS_FAILED);
    CHECK(because("revoked"));
    c.crl = path_of("absent.crl");
    CHECK_EQ_INT(meet(&c, "localhost"), -100);
}
static void direct_negotiation_wants_alpn(void) {
    serve(local, key);
    chopin_pg_tls_config c = mode(CHOPIN_PG_SSL_REQUIRE);
    c.direct = true;
    CHECK_EQ_INT(meet(&c, "localhost"), 0);
    server.alpn = false;
    CHECK_EQ_INT(meet(&c, "localhost"), CHOPIN_PG_TLS_FAILED);
    CHECK(because("ALPN"));
    c.direct = false;
    CHECK_EQ_INT(meet(&c, "localhost"), 0);                  // older servers do not know it
}
static void the_certificate_can_be_bound_to(void) {
    static const struct { const char *name; int hash, bound; } rows[] = { { "sha256", NID_sha256, NID_sha256 }, { "sha384", NID_sha384, NID_sha384 }, { "sha512", NID_sha512, NID_sha512 }, { "sha1", NID_sha1, NID_sha256 } };
    const chopin_pg_tls *tls = chopin_pg_openssl();
    chopin_pg_tls_config c = mode(CHOPIN_PG_SSL_REQUIRE);
    uint8_t got[64], want[64];
    unsigned n = 0;
    for (size_t i = 0; i < CHOPIN_PG__COUNT(rows); i++) {
        X509 *x = cert_new("x", NULL, key, other_ca, other_key, EVP_get_digestbynid(rows[i].hash));
        serve(x, key);
        if (rows[i].hash == NID_sha1) server.max_version = TLS1_2_VERSION;
        CHECK_EQ_INT(meet(&c, "x"), 0);
        X509_digest(x, EVP_get_digestbynid(rows[i].bound), want, &n);
        CHECK_EQ_INT(tls->binding(t.session, got, sizeof got), n);
        CHECK(memcmp(got, want, n) == 0);
        CHECK_EQ_INT(tls->binding(t.session, got, 16), 0);
        shut_down();
        X509_free(x);
    }
    X509 *x = cert_new("x", NULL, key, NULL, ed_key, NULL);  // Ed25519 signs without a hash: nothing to bind to
    serve(x, key);
    CHECK_EQ_INT(meet(&c, "x"), 0);
    CHECK_EQ_INT(tls->binding(t.session, got, sizeof got), 0);
    shut_down();
    X509_free(x);
}
static void shows_its_own_certificate_when_asked(void) {
    const chopin_pg_tls *tls = chopin_pg_openssl();
    serve(local, key);
    server.ask_cert = true;
    chopin_pg_tls_config c = mode(CHOPIN_PG_SSL_REQUIRE);
    c.cert = path_of("client.crt");
    c.key = path_of("client.key");
    CHECK_EQ_INT(meet(&c, "localhost"), 0);
    CHECK(tls->has_cert(t.session));
    X509 *seen = SSL_get_peer_certificate(t.server);
    CHECK(seen != NULL);
    X509_free(seen);
    server.ask_cert = false;
    CHECK_EQ_INT(meet(&c, "localhost"), 0);
    CHECK(!tls->has_cert(t.session));
    server.ask_cert = true;
    c.cert_mode = "disable";
    CHECK_EQ_INT(meet(&c, "localhost"), 0);
    CHECK(!tls->has_cert(t.session));
}
static void keys_are_checked_before_use(void) {
    serve(local, key);
    chopin_pg_tls_config c = mode(CHOPIN_PG_SSL_REQUIRE);
    c.cert = path_of("client.crt");
    c.key = path_of("absent.key");
    CHECK_EQ_INT(meet(&c, "x"), -100);                       CHECK(because("no key"));
    c.key = path_of("open.key");
    CHECK_EQ_INT(meet(&c, "x"), -100);                       CHECK(because("chmod 600"));
    c.key = path_of("other.key");
    CHECK_EQ_INT(meet(&c, "x"), -100);                       CHECK(because("mismatch"));
    c.key = path_of("locked.key");
    CHECK_EQ_INT(meet(&c, "x"), -100);                       // no password: refused, nobody is asked
    c.key_password = "wrong";
    CHECK_EQ_INT(meet(&c, "x"), -100);
    c.key_password = "secret";
    if (!CHECK_EQ_INT(meet(&c, "x"), 0)) printf("   %s\n", t.why);
    c = mode(CHOPIN_PG_SSL_REQUIRE);
    c.cert_mode = "require";
    CHECK_EQ_INT(meet(&c, "x"), -100);                       CHECK(because("sslcertmode"));
}
static void old_versions_are_refused_unless_asked_for(void) {
    serve(local, key);
    server.max_version = TLS1_1_VERSION;
    chopin_pg_tls_config c = mode(CHOPIN_PG_SSL_REQUIRE);
    CHECK_EQ_INT(meet(&c, "x"), CHOPIN_PG_TLS_FAILED);
    CHECK_EQ_INT(SSL_CTX_get_min_proto_version(((chopin_pg__ossl_config *)t.config)->ctx), TLS1_2_VERSION);
    server.max_version = 0;
    c.max_version = "TLSv1.2";
    CHECK_EQ_INT(meet(&c, "x"), 0);
    CHECK_EQ_INT(SSL_version(t.server), TLS1_2_VERSION);
    c.max_version = NULL;
    c.min_version = "TLSv1.3";
    CHECK_EQ_INT(meet(&c, "x"), 0);
    CHECK_EQ_INT(SSL_version(t.server), TLS1_3_VERSION);
    CHECK_EQ_INT(SSL_CTX_get_min_proto_version(((chopin_pg__ossl_config *)t.config)->ctx), TLS1_3_VERSION);
}
static void garbage_and_silence_fail_cleanly(void) {
    const chopin_pg_tls *tls = chopin_pg_openssl();
    chopin_pg_tls_config c = mode(CHOPIN_PG_SSL_REQUIRE);
    for (int way = 0; way < 2; way++) {
        int fd[2], rc;
        void *config = tls->config(NULL, &c, t.why, sizeof t.why);
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd);
        void *session = tls->open(config, fd[0], "x", t.why, sizeof t.why);
        CHECK_EQ_INT(tls->handshake(session, t.why, sizeof t.why), CHOPIN_PG_TLS_WANT_READ);
        if (way == 0) { ssize_t ignored = write(fd[1], "N no TLS here, sorry", 20); (void)ignored; }
        close(fd[1]);
        rc = tls->handshake(session, t.why, sizeof t.why);
        CHECK_EQ_INT(rc, CHOPIN_PG_TLS_FAILED);
        CHECK(t.why[0] != 0);
        tls->close(session);
        tls->config_free(config);
        close(fd[0]);
    }
}
static void the_end_of_the_server_is_an_end(void) {
    const chopin_pg_tls *tls = chopin_pg_openssl();
    char got[16];
    serve(local, key);
    chopin_pg_tls_config c = mode(CHOPIN_PG_SSL_REQUIRE);
    for (int polite = 0; polite < 2; polite++) {
        CHECK_EQ_INT(meet(&c, "x"), 0);
        SSL_write(t.server, "last", 4);
        if (polite) SSL_shutdown(t.server);
        close(t.fd[1]);                                      // a killed backend says no goodbye
        t.fd[1] = 0;
        CHECK_EQ_INT(tls->read(t.session, got, sizeof got), 4);
        CHECK_EQ_INT(tls->read(t.session, got, sizeof got), 0);
        for (int i = 0; i < 3; i++) CHECK(tls->write(t.session, "x", 1) < 0);            // and SIGPIPE would have ended this program
        CHECK(tls->shut(t.session) <= 0);
    }
}
static void says_goodbye(void) {
    const chopin_pg_tls *tls = chopin_pg_openssl();
    char got[4];
    serve(local, key);
    chopin_pg_tls_config c = mode(CHOPIN_PG_SSL_REQUIRE);
    CHECK_EQ_INT(meet(&c, "x"), 0);
    CHECK_EQ_INT(tls->shut(t.session), 0);
    CHECK_EQ_INT(SSL_read(t.server, got, sizeof got), 0);
    CHECK_EQ_INT(SSL_get_shutdown(t.server) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
}
static void sessions_outlive_their_config(void) {
    const chopin_pg_tls *tls = chopin_pg_openssl();
    char got[8];
    serve(local, key);
    chopin_pg_tls_config c = verified(CHOPIN_PG_SSL_VERIFY_FULL);
    CHECK_EQ_INT(meet(&c, "localhost"), 0);
    tls->config_free(t.config);                              // chopin_pg_expire(): the certificates are read anew for the next connection
    t.config = NULL;
    CHECK_EQ_INT(SSL_write(t.server, "still", 5), 5);
    CHECK_EQ_INT(tls->read(t.session, got, sizeof got), 5);
    CHECK_EQ_INT(tls->binding(t.session, (uint8_t[64]){ 0 }, 64), 32);
    shut_down();                                             // the sanitizer sees that nothing is left
}
static void sni_is_for_names_only(void) {
    serve(local, key);
    chopin_pg_tls_config c = mode(CHOPIN_PG_SSL_REQUIRE);
    CHECK_EQ_INT(meet(&c, "127.0.0.1"), 0);
    CHECK(SSL_get_servername(t.server, TLSEXT_NAMETYPE_host_name) == NULL);
    c.no_sni = true;
    CHECK_EQ_INT(meet(&c, "localhost"), 0);
    CHECK(SSL_get_servername(t.server, TLSEXT_NAMETYPE_host_name) == NULL);
}

static void prepare(void) {
    if (!mkdtemp(dir)) exit(1);
    ca_key = key_new(EVP_PKEY_EC);
    key = key_new(EVP_PKEY_EC);
    other_key = key_new(EVP_PKEY_EC);
    ed_key = key_new(EVP_PKEY_ED25519);
    other_ca = cert_new("other", NULL, other_key, NULL, other_key, EVP_sha256());
    ca = cert_new("test ca", NULL, ca_key, NULL, ca_key, EVP_sha256());
    local = cert_new("local", "DNS:localhost,DNS:*.example.com,IP:127.0.0.1,IP:::1", key, ca, ca_key, EVP_sha256());
    X509 *client = cert_new("me", NULL, key, ca, ca_key, EVP_sha256());
    write_cert("ca.crt", ca);
    write_cert("other.crt", other_ca);
    write_cert("client.crt", client);
    write_key("client.key", key, NULL, 0600);
    write_key("open.key", key, NULL, 0644);
    write_key("other.key", other_key, NULL, 0600);
    write_key("locked.key", key, "secret", 0600);
    write_crl("revoked.crl", local);
    mkdir(path_of("home"), 0700);
    mkdir(path_of("home/.postgresql"), 0700);
    write_cert("home/.postgresql/root.crt", ca);
    X509_free(client);
}
static void clean_up(void) {
    static const char *const files[] = { "ca.crt", "other.crt", "client.crt", "client.key", "open.key", "other.key", "locked.key", "revoked.crl", "home/.postgresql/root.crt" };
    for (size_t i = 0; i < CHOPIN_PG__COUNT(files); i++) unlink(path_of(files[i]));
    rmdir(path_of("home/.postgresql"));
    rmdir(path_of("home"));
    rmdir(dir);
    shut_down();
    X509_free(ca); X509_free(other_ca); X509_free(local);
    EVP_PKEY_free(ca_key); EVP_PKEY_free(key); EVP_PKEY_free(other_key); EVP_PKEY_free(ed_key);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    prepare();
    RUN(carries_bytes_both_ways);
    RUN(resumes_when_the_socket_is_full);
    RUN(require_does_not_ask_who_it_is);
    RUN(verify_ca_wants_the_chain);
    RUN(verify_full_wants_the_name_too);
    RUN(the_common_name_counts_only_without_alternative_names);
    RUN(verification_needs_a_root);
    RUN(revoked_certificates_are_refused);
    RUN(direct_negotiation_wants_alpn);
    RUN(the_certificate_can_be_bound_to);
    RUN(shows_its_own_certificate_when_asked);
    RUN(keys_are_checked_before_use);
    RUN(old_versions_are_refused_unless_asked_for);
    RUN(garbage_and_silence_fail_cleanly);
    RUN(the_end_of_the_server_is_an_end);
    RUN(says_goodbye);
    RUN(sessions_outlive_their_config);
    RUN(sni_is_for_names_only);
    clean_up();
    return TEST_END();
}
#endif
