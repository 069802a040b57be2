/* test_pg_auth.c - >>auth: the example of RFC 7677, every refusal, SASLprep, the cached key; a little server in here holds the other end. */
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include "test.h"

static chopin_pg__auth a;
static chopin_pg_error e;
static uint8_t body[8192];

static chopin_pg__auth_setup good(void) {
    return (chopin_pg__auth_setup){ .user = CHOPIN_STR("me"), .password = CHOPIN_STR("pencil"), .require_auth = CHOPIN_PG__AUTH_ANY,
                                    .binding = CHOPIN_PG__BINDING_PREFER, .max_iterations = 100000 };
}
static chopin_pg__auth_setup with_tls(void) {
    chopin_pg__auth_setup s = good();
    s.tls = true;
    s.clear_allowed = true;
    s.bind_hash_len = 32;
    memset(s.bind_hash, 0xb1, 32);
    return s;
}
static void start(chopin_pg__auth_setup s) {
    chopin_pg__error_init(&e, NULL);
    chopin_pg__auth_init(&a, &s);
}
static int feed(uint32_t kind, const void *data, size_t len) {
    chopin_pg__store32(body, kind);
    if (len) memcpy(body + 4, data, len);
    return chopin_pg__auth_input(&a, body, 4 + len, &e);
}
static int feed_z(uint32_t kind, const char *text) { return feed(kind, text, strlen(text)); }
static bool says(const char *part) { return e.why && strstr(e.why, part) != NULL; }

static const char plain_offer[] = "SCRAM-SHA-256\0", both_offer[] = "SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0", plus_offer[] = "SCRAM-SHA-256-PLUS\0", odd_offer[] = "SCRAM-SHA-1\0CRAM\0";
static int offer_plain(void) { return feed(10, plain_offer, sizeof plain_offer); }
static int offer_both(void)  { return feed(10, both_offer, sizeof both_offer); }

static const char *nonce(void) {                              // ours, as a C string
    static char text[64];
    snprintf(text, sizeof text, "%.*s", (int)a.nonce_len, a.proof + a.nonce_at);
    return text;
}
static int first(const char *format, const char *ours) {     // an R 11 whose %s is our nonce
    char message[2000];
    snprintf(message, sizeof message, format, ours);
    return feed_z(11, message);
}
static int work(int rc) {
    while (rc == CHOPIN_PG__AUTH_WORK) rc = chopin_pg__auth_work(&a, 512);
    return rc;
}
/* What a server that knows `salted` answers to our final message; checks our proof like one. */
static bool server_answers(const char *password, char *out) {
    chopin_pg__pbkdf2 p;
    uint8_t salted[32], key[32], stored[32], signature[32], proof[32];
    chopin_pg__pbkdf2_init(&p, chopin_pg__str_z(password), chopin_pg__str(a.salt, a.salt_len), a.rounds);
    while (!chopin_pg__pbkdf2_step(&p, 4096)) { }
    chopin_pg__pbkdf2_final(&p, salted);
    chopin_pg__hmac(chopin_pg__str(salted, 32), CHOPIN_STR("Client Key"), key);
    chopin_pg__sha256(chopin_pg__str(key, 32), stored);
    chopin_pg__hmac(chopin_pg__str(stored, 32), chopin_pg__str(a.proof, a.proof_len), signature);
    const char *p_at = strstr(a.out, ",p=");
    if (!p_at || chopin_pg__base64_decode(chopin_pg__str(p_at + 3, 44), proof, 32) != 32) return false;
    for (int i = 0; i < 32; i++) proof[i] ^= signature[i];
    uint8_t mine[32];
    chopin_pg__sha256(chopin_pg__str(proof, 32), mine);
    chopin_pg__hmac(chopin_pg__str(salted, 32), CHOPIN_STR("Server Key"), key);
    chopin_pg__hmac(chopin_pg__str(key, 32), chopin_pg__str(a.proof, a.proof_len), signature);
    memcpy(out, "v=", 2);
    out[2 + chopin_pg__base64_encode(chopin_pg__str(signature, 32), out + 2)] = 0;
    return memcmp(mine, stored, 32) == 0;
}

static void follows_the_example_of_rfc_7677(void) {
    start(good());
    chopin_pg__scram_bare(&a, CHOPIN_STR("user"), CHOPIN_STR("rOprNGfwEbeRWgbNEkqO"));
    CHECK_EQ_INT(chopin_pg__scram_start(&a), CHOPIN_PG__AUTH_SEND);
    CHECK(strcmp(a.out, "SCRAM-SHA-256") == 0);
    CHECK_EQ_INT(chopin_pg__load32(a.out + 14), 32);
    CHECK_STR(chopin_pg__str(a.out + 18, a.out_len - 18), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    CHECK_EQ_INT(work(feed_z(11, "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")), CHOPIN_PG__AUTH_SEND);
    CHECK_STR(chopin_pg__str(a.out, a.out_len), "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    CHECK_EQ_INT(feed_z(12, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), CHOPIN_PG__AUTH_MORE);
    CHECK_EQ_INT(feed(0, "", 0), CHOPIN_PG__AUTH_OK);
}
static void a_whole_login_works_and_the_nonce_is_fresh(void) {
    char answer[64], seen[64];
    start(good());
    CHECK_EQ_INT(offer_plain(), CHOPIN_PG__AUTH_SEND);
    snprintf(seen, sizeof seen, "%s", nonce());
    CHECK_EQ_INT(strlen(seen), 24);
    CHECK(memcmp(a.out + 18, "n,,n=,r=", 8) == 0);
    CHECK_EQ_INT(work(first("r=%sserver,s=c2FsdA==,i=4096", nonce())), CHOPIN_PG__AUTH_SEND);
    CHECK(server_answers("pencil", answer));
    CHECK_EQ_INT(feed_z(12, answer), CHOPIN_PG__AUTH_MORE);
    CHECK_EQ_INT(feed(0, "", 0), CHOPIN_PG__AUTH_OK);
    start(good());
    offer_plain();
    CHECK(strcmp(seen, nonce()) != 0);
}
static void plus_binds_to_the_certificate(void) {
    char answer[64];
    start(with_tls());
    CHECK_EQ_INT(offer_both(), CHOPIN_PG__AUTH_SEND);
    CHECK(strcmp(a.out, "SCRAM-SHA-256-PLUS") == 0);
    CHECK(memcmp(a.out + 23, "p=tls-server-end-point,,n=,r=", 29) == 0);
    CHECK_EQ_INT(work(first("r=%sserver,s=c2FsdA==,i=4096", nonce())), CHOPIN_PG__AUTH_SEND);
    uint8_t bound[100];
    ptrdiff_t n = chopin_pg__base64_decode(chopin_pg__str(a.out + 2, (size_t)(strchr(a.out, ',') - a.out - 2)), bound, sizeof bound);
    CHECK_EQ_INT(n, 24 + 32);
    CHECK(memcmp(bound, "p=tls-server-end-point,,", 24) == 0 && bound[24] == 0xb1 && bound[55] == 0xb1);
    CHECK(server_answers("pencil", answer));
    CHECK_EQ_INT(feed_z(12, answer), CHOPIN_PG__AUTH_MORE);
    CHECK_EQ_INT(feed(0, "", 0), CHOPIN_PG__AUTH_OK);
}
static void tells_what_it_could_have_bound(void) {
    chopin_pg__auth_setup s = with_tls();
    start(s);
    offer_plain();
    CHECK(memcmp(a.out + 18, "y,,", 3) == 0);                 // TLS, no offer: perhaps somebody took it away
    s.bind_hash_len = 0;
    start(s);
    offer_both();
    CHECK(strcmp(a.out, "SCRAM-SHA-256") == 0 && memcmp(a.out + 18, "n,,", 3) == 0);      // odd certificate: we cannot
    s = with_tls();
    s.binding = CHOPIN_PG__BINDING_DISABLE;
    start(s);
    offer_both();
    CHECK(strcmp(a.out, "SCRAM-SHA-256") == 0 && memcmp(a.out + 18, "n,,", 3) == 0);
}
static void refuses_plus_without_tls(void) {
    start(good());
    CHECK_EQ_INT(offer_both(), CHOPIN_PG_AUTH);
    CHECK(says("without TLS"));
}
static void required_binding_is_refused_without_it_on_every_way(void) {
    chopin_pg__auth_setup s = with_tls();
    s.binding = CHOPIN_PG__BINDING_REQUIRE;
    start(s); CHECK_EQ_INT(offer_plain(), CHOPIN_PG_AUTH);          CHECK(says("offers none"));
    start(s); CHECK_EQ_INT(feed(3, "", 0), CHOPIN_PG_AUTH);         CHECK(says("channel_binding=require"));
    start(s); CHECK_EQ_INT(feed(5, "salt", 4), CHOPIN_PG_AUTH);     CHECK(says("channel_binding=require"));
    start(s); CHECK_EQ_INT(feed(0, "", 0), CHOPIN_PG_AUTH);         CHECK(says("not bound"));
    s.bind_hash_len = 0;
    start(s); CHECK_EQ_INT(offer_both(), CHOPIN_PG_AUTH);           CHECK(says("certificate"));
    s = good();
    s.binding = CHOPIN_PG__BINDING_REQUIRE;
    start(s); CHECK_EQ_INT(offer_plain(), CHOPIN_PG_AUTH);          CHECK(says("no TLS"));
}
static void refuses_an_ok_without_the_servers_proof(void) {
    start(good());
    offer_plain();
    CHECK_EQ_INT(feed(0, "", 0), CHOPIN_PG_AUTH);
    CHECK(says("proven"));
    start(good());
    offer_plain();
    work(first("r=%sserver,s=c2FsdA==,i=4096", nonce()));
    CHECK_EQ_INT(feed(0, "", 0), CHOPIN_PG_AUTH);
    start(good());
    offer_plain();
    first("r=%sserver,s=c2FsdA==,i=4096", nonce());
    CHECK_EQ_INT(feed(0, "", 0), CHOPIN_PG_AUTH);            // even while hashing
}
static void refuses_a_wrong_server_signature(void) {
    char answer[64];
    start(good());
    offer_plain();
    work(first("r=%sserver,s=c2FsdA==,i=4096", nonce()));
    server_answers("pencil", answer);
    answer[5] = answer[5] == 'A' ? 'B' : 'A';
    CHECK_EQ_INT(feed_z(12, answer), CHOPIN_PG_AUTH);
    CHECK(says("signature"));
    CHECK_EQ_INT(e.retry, CHOPIN_PG_RETRY_NEVER);
}
static void refuses_broken_final_messages(void) {
    static const char *const bad[] = { "", "v=", "v=AAAA", "x=AAAA", "v", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=,x=1", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=,",
                                       "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4", "e=other-error" };
    for (size_t i = 0; i < CHOPIN_PG__COUNT(bad); i++) {
        start(good());
        offer_plain();
        work(first("r=%sserver,s=c2FsdA==,i=1", nonce()));
        CHECK_EQ_INT(feed_z(12, bad[i]), CHOPIN_PG_AUTH);
    }
    CHECK(says("other-error"));
    char answer[80];
    start(good());
    offer_plain();
    work(first("r=%sserver,s=c2FsdA==,i=1", nonce()));
    server_answers("pencil", answer);
    strcat(answer, ",x=1");                                  // right, but not alone
    CHECK_EQ_INT(feed_z(12, answer), CHOPIN_PG_AUTH);
    start(good());
    offer_plain();
    work(first("r=%sserver,s=c2FsdA==,i=1", nonce()));
    feed_z(12, "v=AAAA");
    CHECK(says("32 bytes"));
}
static void refuses_broken_first_messages(void) {
    static const char *const bad[] = {
        "r=%s,s=c2FsdA==,i=4096",                            // the nonce is ours alone
        "r=x%sserver,s=c2FsdA==,i=4096", "r=server,s=c2FsdA==,i=4096%.0s", "r=,s=c2FsdA==,i=4096%.0s", "r=%s server,s=c2FsdA==,i=4096", "r=%s\x7f,s=c2FsdA==,i=4096",
        "r=%s\xc3\xa4,s=c2FsdA==,i=4096", "r=%sserver,s=,i=4096", "r=%sserver,s=====,i=4096", "r=%sserver,s=c2FsdA=,i=4096", "r=%sserver,s=!!!!,i=4096", "r=%sserver,s=c2FsdA==,i=0",
        "r=%sserver,s=c2FsdA==,i=-1", "r=%sserver,s=c2FsdA==,i=", "r=%sserver,s=c2FsdA==,i=4096x", "r=%sserver,s=c2FsdA==,i= 4096", "r=%sserver,s=c2FsdA==,i=99999999999999999999999",
        "r=%sserver,s=c2FsdA==,i=4096,x=1", "r=%sserver,s=c2FsdA==,i=4096,", "r=%sserver,i=4096,s=c2FsdA==", "s=c2FsdA==,r=%sserver,i=4096", "r=%sserver,s=c2FsdA==", "r=%sserver", "%.0s",
        "m=ext,r=%sserver,s=c2FsdA==,i=4096", "e=no,r=%s", "r%sserver,s=c2FsdA==,i=4096", ",r=%sserver,s=c2FsdA==,i=4096",
    };
    for (size_t i = 0; i < CHOPIN_PG__COUNT(bad); i++) {
        start(good());
        offer_plain();
        if (!CHECK_EQ_INT(first(bad[i], nonce()), CHOPIN_PG_AUTH)) printf("   %s\n", bad[i]);
    }
    start(good());
    offer_plain();
    first("m=ext,r=%sserver,s=c2FsdA==,i=4096", nonce());
    CHECK(says("extension"));
}
static void refuses_messages_that_are_too_long_or_hold_a_nul(void) {
    static char big[CHOPIN_PG__SCRAM_MAX + 200];
    start(good());
    offer_plain();
    memset(big, 'a', sizeof big);
    memcpy(big, "r=", 2);
    memcpy(big + 2, nonce(), 24);
    memcpy(big + CHOPIN_PG__SCRAM_MAX + 1 - 16, ",s=c2FsdA==,i=16", 16);
    CHECK_EQ_INT(feed(11, big, CHOPIN_PG__SCRAM_MAX + 1), CHOPIN_PG_AUTH);
    start(good());
    offer_plain();
    memcpy(big + 2, nonce(), 24);
    memcpy(big + CHOPIN_PG__SCRAM_MAX - 16, ",s=c2FsdA==,i=16", 16);
    CHECK_EQ_INT(work(feed(11, big, CHOPIN_PG__SCRAM_MAX)), CHOPIN_PG__AUTH_SEND);       // the longest there is
    start(good());
    offer_plain();
    char message[100];
    int n = snprintf(message, sizeof message, "r=%sser_er,s=c2FsdA==,i=4096", nonce());
    message[2 + 24 + 3] = 0;
    CHECK_EQ_INT(feed(11, message, (size_t)n), CHOPIN_PG_AUTH);
}
static void the_iteration_cap_holds_at_once(void) {
    start(good());
    offer_plain();
    CHECK_EQ_INT(first("r=%sserver,s=c2FsdA==,i=100001", nonce()), CHOPIN_PG_AUTH);
    CHECK(says("100001") && says("max_iterations"));
    start(good());
    offer_plain();
    CHECK_EQ_INT(first("r=%sserver,s=c2FsdA==,i=2147483647", nonce()), CHOPIN_PG_AUTH);
    start(good());
    offer_plain();
    CHECK_EQ_INT(first("r=%sserver,s=c2FsdA==,i=4294967297", nonce()), CHOPIN_PG_AUTH);
    start(good());
    offer_plain();
    int rc = first("r=%sserver,s=c2FsdA==,i=100000", nonce()), steps = 0;
    for (; rc == CHOPIN_PG__AUTH_WORK; steps++) rc = chopin_pg__auth_work(&a, 512);
    CHECK_EQ_INT(rc, CHOPIN_PG__AUTH_SEND);
    CHECK_EQ_INT(steps, (100000 - 1 + 511) / 512);           // each step is bounded, so a deadline can be looked at between them
}
static void the_salted_key_is_cached_after_the_server_proved_itself(void) {
    chopin_pg__scram_cache cache;
    char answer[64];
    memset(&cache, 0, sizeof cache);
    chopin_pg__auth_setup s = good();
    s.cache = &cache;
    start(s);
    offer_plain();
    CHECK_EQ_INT(first("r=%sserver,s=c2FsdA==,i=4096", nonce()), CHOPIN_PG__AUTH_WORK);
    work(CHOPIN_PG__AUTH_WORK);
    CHECK_EQ_INT(cache.salt_len, 0);
    server_answers("pencil", answer);
    feed_z(12, answer);
    CHECK_EQ_INT(cache.salt_len, 4);
    start(s);
    offer_plain();
    CHECK_EQ_INT(first("r=%sserver,s=c2FsdA==,i=4096", nonce()), CHOPIN_PG__AUTH_SEND);  // no work
    CHECK(server_answers("pencil", answer));
    CHECK_EQ_INT(feed_z(12, answer), CHOPIN_PG__AUTH_MORE);
    CHECK_EQ_INT(feed(0, "", 0), CHOPIN_PG__AUTH_OK);
    start(s); offer_plain(); CHECK_EQ_INT(first("r=%sserver,s=c2FsdB==,i=4096", nonce()), CHOPIN_PG_AUTH);        // not canonical base64
    start(s); offer_plain(); CHECK_EQ_INT(first("r=%sserver,s=c2FsdQ==,i=4096", nonce()), CHOPIN_PG__AUTH_WORK);  // another salt
    start(s); offer_plain(); CHECK_EQ_INT(first("r=%sserver,s=c2FsdA==,i=4097", nonce()), CHOPIN_PG__AUTH_WORK);  // another count
    s.password = CHOPIN_STR("pencis");
    start(s); offer_plain(); CHECK_EQ_INT(first("r=%sserver,s=c2FsdA==,i=4096", nonce()), CHOPIN_PG__AUTH_WORK);  // another password
}
static void md5_and_clear_text_send_what_they_should(void) {
    chopin_pg__auth_setup s = good();
    s.user = CHOPIN_STR("md5user");
    s.password = CHOPIN_STR("password");
    s.clear_allowed = true;
    start(s);
    char want[36];
    chopin_pg__md5_login(s.user, s.password, (const uint8_t *)"salt", want);
    CHECK_EQ_INT(feed(5, "salt", 4), CHOPIN_PG__AUTH_SEND);
    CHECK_EQ_INT(a.out_len, 36);
    CHECK(memcmp(a.out, want, 36) == 0);
    CHECK_EQ_INT(feed(0, "", 0), CHOPIN_PG__AUTH_OK);
    start(s);
    CHECK_EQ_INT(feed(3, "", 0), CHOPIN_PG__AUTH_SEND);
    CHECK_EQ_INT(a.out_len, 9);
    CHECK(memcmp(a.out, "password", 9) == 0);
    CHECK_EQ_INT(feed(0, "", 0), CHOPIN_PG__AUTH_OK);
    start(s);
    CHECK_EQ_INT(feed(5, "sal", 3), CHOPIN_PG_PROTOCOL);
    start(s);
    CHECK_EQ_INT(feed(5, "salts", 5), CHOPIN_PG_PROTOCOL);
}
static void a_clear_password_needs_tls_or_permission(void) {
    start(good());
    CHECK_EQ_INT(feed(3, "", 0), CHOPIN_PG_AUTH);
    CHECK(says("allow_password"));
}
static void require_auth_is_asked_first(void) {
    static const struct { uint32_t kind; unsigned bit; } ways[] = { { 3, CHOPIN_PG__AUTH_PASSWORD }, { 5, CHOPIN_PG__AUTH_MD5 }, { 10, CHOPIN_PG__AUTH_SCRAM }, { 0, CHOPIN_PG__AUTH_NONE } };
    for (size_t i = 0; i < CHOPIN_PG__COUNT(ways); i++) {
        for (int allowed = 0; allowed < 2; allowed++) {
            chopin_pg__auth_setup s = with_tls();
            s.require_auth = allowed ? ways[i].bit : CHOPIN_PG__AUTH_ANY & ~ways[i].bit;
            start(s);
            int rc = ways[i].kind == 10 ? offer_plain() : ways[i].kind == 5 ? feed(5, "salt", 4) : feed(ways[i].kind, "", 0);
            if (allowed) CHECK(rc >= 0); else { CHECK_EQ_INT(rc, CHOPIN_PG_AUTH); CHECK(says("require_auth")); }
        }
    }
}
static void other_logins_are_named_errors(void) {
    static const uint32_t kinds[] = { 1, 2, 4, 6, 7, 8, 9, 13, 14, 0xffffffff };
    for (size_t i = 0; i < CHOPIN_PG__COUNT(kinds); i++) {
        start(good());
        CHECK_EQ_INT(feed(kinds[i], "", 0), CHOPIN_PG_AUTH);
        CHECK(e.why && strstr(e.why, "the server asks for"));
    }
    start(good()); feed(7, "", 0); CHECK(says("GSSAPI"));
    start(good()); feed(9, "", 0); CHECK(says("SSPI"));
}
static void messages_out_of_order_are_refused(void) {
    char answer[64];
    for (int stage = 0; stage < 5; stage++) {
        for (uint32_t kind = 0; kind < 13; kind++) {
            start(good());
            if (stage > 0) offer_plain();
            if (stage > 1) work(first("r=%sserver,s=c2FsdA==,i=1", nonce()));
            if (stage > 2) { server_answers("pencil", answer); feed_z(12, answer); }
            if (stage > 3) feed(0, "", 0);
            bool expected = stage == 0 ? kind != 11 && kind != 12 : stage == 1 ? kind == 11 : stage == 2 ? kind == 12 : stage == 3 ? kind == 0 : false;
            if (expected) continue;
            int rc = kind == 11 ? first("r=%sserver,s=c2FsdA==,i=1", nonce()) : kind == 12 && stage > 2 ? feed_z(12, answer) : feed(kind, "", 0);
            CHECK(rc < 0);
            if (kind == 11 || kind == 12) CHECK_EQ_INT(rc, CHOPIN_PG_PROTOCOL);          // well-formed, but not now
        }
    }
    start(with_tls());
    CHECK_EQ_INT(feed(0, "x", 1), CHOPIN_PG_PROTOCOL);       // Ok has no data
    start(with_tls());
    CHECK_EQ_INT(feed(3, "x", 1), CHOPIN_PG_PROTOCOL);
    start(with_tls());
    feed(3, "", 0);
    CHECK_EQ_INT(feed(3, "", 0), CHOPIN_PG_PROTOCOL);
    CHECK_EQ_INT(chopin_pg__auth_input(&a, body, 3, &e), CHOPIN_PG_PROTOCOL);
}
static void the_list_of_mechanisms_must_end_well(void) {
    start(good()); CHECK_EQ_INT(feed(10, "SCRAM-SHA-256", 13), CHOPIN_PG_PROTOCOL);
    start(good()); CHECK_EQ_INT(feed(10, "SCRAM-SHA-256", 14), CHOPIN_PG_PROTOCOL);
    start(good()); CHECK_EQ_INT(feed(10, "", 0), CHOPIN_PG_PROTOCOL);
    start(good()); CHECK_EQ_INT(feed(10, "SCRAM-SHA-256\0\0x", 16), CHOPIN_PG_PROTOCOL);
    start(good()); CHECK_EQ_INT(feed(10, "", 1), CHOPIN_PG_AUTH);      CHECK(says("SCRAM-SHA-256"));
    start(good()); CHECK_EQ_INT(feed(10, odd_offer, sizeof odd_offer), CHOPIN_PG_AUTH);
    start(good()); CHECK_EQ_INT(feed(10, plus_offer, sizeof plus_offer), CHOPIN_PG_AUTH);
}
static void without_a_password_it_says_where_one_could_stand(void) {
    chopin_pg__auth_setup s = with_tls();
    s.password = chopin_pg__absent();
    start(s); CHECK_EQ_INT(feed(3, "", 0), CHOPIN_PG_AUTH);     CHECK(says("password file"));
    start(s); CHECK_EQ_INT(feed(5, "salt", 4), CHOPIN_PG_AUTH);
    start(s); CHECK_EQ_INT(offer_plain(), CHOPIN_PG_AUTH);
    start(s); CHECK_EQ_INT(feed(0, "", 0), CHOPIN_PG__AUTH_OK); // trust needs none
}
static void a_certificate_that_nobody_wanted_is_noticed(void) {
    chopin_pg__auth_setup s = with_tls();
    s.cert_missing = true;
    start(s);
    CHECK_EQ_INT(feed(0, "", 0), CHOPIN_PG_AUTH);
    CHECK(says("sslcertmode"));
}
static void no_error_quotes_the_password(void) {
    chopin_pg__auth_setup s = good();
    s.password = CHOPIN_STR("s3cr3t-word");
    for (uint32_t kind = 0; kind < 13; kind++) {
        start(s);
        feed(kind, "garbage", 7);
        CHECK(!e.why || !strstr(e.why, "s3cr3t"));
    }
}

static const char *prepared(const char *password) {
    static char out[4 * CHOPIN_PG__PREP_MAX + 1];
    chopin_str p = chopin_pg__saslprep(chopin_pg__str_z(password), out);
    if (p.ptr == out) out[p.len] = 0;
    return p.ptr == out ? out : password;
}
static void saslprep_leaves_ascii_and_strangers_alone(void) {
    static const char *const same[] = { "", "pencil", "a b\tc", "\xff\xfe", "stra\303\237e", "\xc3\xa4\xc3\xb6\xc3\xbc", "\xe5\xaf\x86\xe7\xa0\x81", "\xf0\x9f\x94\x91", "\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d", "\xc2\xad",
                                       "\xed\x95\x9c\xea\xb8\x80", "\xe3\x83\x91\xe3\x82\xb9" };
    for (size_t i = 0; i < CHOPIN_PG__COUNT(same); i++) CHECK(strcmp(prepared(same[i]), same[i]) == 0);
}
static void saslprep_does_the_examples_of_rfc_4013(void) {
    CHECK(strcmp(prepared("I\xc2\xadX"), "IX") == 0);        // soft hyphen
    CHECK(strcmp(prepared("\xc2\xaa"), "a") == 0);
    CHECK(strcmp(prepared("\xe2\x85\xa8"), "IX") == 0);      // roman nine
}
static void saslprep_joins_marks_as_keyboards_and_file_systems_differ(void) {
    CHECK(strcmp(prepared("a\xcc\x88"), "\xc3\xa4") == 0);                    // a + umlaut
    CHECK(strcmp(prepared("e\xcc\x82\xcc\x81"), "\xe1\xba\xbf") == 0);        // Vietnamese: two marks
    CHECK(strcmp(prepared("a\xcc\xa3\xcc\x82"), "\xe1\xba\xad") == 0);
    CHECK(strcmp(prepared("a\xcc\x82\xcc\xa3"), "\xe1\xba\xad") == 0);        // in the other order
    CHECK(strcmp(prepared("\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab"), "\xed\x95\x9c") == 0);                // Hangul jamo
    CHECK(strcmp(prepared("\xe3\x83\x8f\xe3\x82\x9a"), "\xe3\x83\x91") == 0); // kana
    CHECK(strcmp(prepared("\xef\xbc\xa1\xef\xbc\x91"), "A1") == 0);           // full width
    CHECK(strcmp(prepared("\xef\xac\x81x"), "fix") == 0);                     // ligature
    CHECK(strcmp(prepared("a\xc2\xa0" "b"), "a b") == 0);                     // no-break space
    CHECK(strcmp(prepared("a\xcc\x93\xcc\x88"), "a\xcc\x93\xcc\x88") == 0);        // the first mark stands in the way of the second
    CHECK(strcmp(prepared("a\xcc\x88\xcc\xa7"), "\xc3\xa4\xcc\xa7") == 0);             // a cedilla does not
    CHECK(strcmp(prepared("\xc2\xbd"), "1\xe2\x81\x84" "2") == 0);
}
static void saslprep_gives_long_passwords_up(void) {
    static char big[2000];
    size_t n = 0;
    while (n < 2 * CHOPIN_PG__PREP_MAX + 20) { big[n++] = (char)0xc2; big[n++] = (char)0xaa; }
    char out[4 * CHOPIN_PG__PREP_MAX];
    CHECK(chopin_pg__saslprep(chopin_pg__str(big, n), out).ptr == big);
    CHECK(chopin_pg__saslprep(chopin_pg__str(big, 2 * CHOPIN_PG__PREP_MAX), out).len == CHOPIN_PG__PREP_MAX);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(follows_the_example_of_rfc_7677);
    RUN(a_whole_login_works_and_the_nonce_is_fresh);
    RUN(plus_binds_to_the_certificate);
    RUN(tells_what_it_could_have_bound);
    RUN(refuses_plus_without_tls);
    RUN(required_binding_is_refused_without_it_on_every_way);
    RUN(refuses_an_ok_without_the_servers_proof);
    RUN(refuses_a_wrong_server_signature);
    RUN(refuses_broken_final_messages);
    RUN(refuses_broken_first_messages);
    RUN(refuses_messages_that_are_too_long_or_hold_a_nul);
    RUN(the_iteration_cap_holds_at_once);
    RUN(the_salted_key_is_cached_after_the_server_proved_itself);
    RUN(md5_and_clear_text_send_what_they_should);
    RUN(a_clear_password_needs_tls_or_permission);
    RUN(require_auth_is_asked_first);
    RUN(other_logins_are_named_errors);
    RUN(messages_out_of_order_are_refused);
    RUN(the_list_of_mechanisms_must_end_well);
    RUN(without_a_password_it_says_where_one_could_stand);
    RUN(a_certificate_that_nobody_wanted_is_noticed);
    RUN(no_error_quotes_the_password);
    RUN(saslprep_leaves_ascii_and_strangers_alone);
    RUN(saslprep_does_the_examples_of_rfc_4013);
    RUN(saslprep_joins_marks_as_keyboards_and_file_systems_differ);
    RUN(saslprep_gives_long_passwords_up);
    return TEST_END();
}
