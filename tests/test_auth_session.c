/* test_auth_session.c - sessions, API keys, tickets, PKCE, OAuth URL: AUTH.md 3.6 */
#include "auth.h"
#include "test.h"
#include "auth_kit.h"
#include <pthread.h>

static chopin_auth_record records[2000];
static chopin_auth_memory memory;
static chopin_auth_store  store;
static chopin_auth_sessions sessions;

static void fresh(void) {
    kit_now = KIT_NOW;
    CHECK_EQ_INT(chopin_auth_store_init(&store, &memory, records, sizeof records), 0);
    sessions = (chopin_auth_sessions){ .store = &store, .clock = kit_clock };
}

static void sessions_change_id(void) {
    char a[44], b[44], c[44];
    chopin_auth_record r;
    fresh();
    CHECK_EQ_INT(chopin_auth_session_new(&sessions, CHOPIN_STR("bob"), a), 0);
    CHECK_EQ_INT(strlen(a), 43);
    CHECK_EQ_INT(chopin_auth_session_check(&sessions, kit_z(a), &r), 0);
    CHECK(r.user_len == 3 && memcmp(r.user, "bob", 3) == 0);
    CHECK_EQ_INT(chopin_auth_session_renew(&sessions, kit_z(a), b), 0);
    CHECK(strcmp(a, b) != 0);
    CHECK_EQ_INT(chopin_auth_session_check(&sessions, kit_z(a), &r), CHOPIN_AUTH_MISMATCH);                       // dead at once
    CHECK(r.user_len == 0);
    CHECK_EQ_INT(chopin_auth_session_renew(&sessions, kit_z(a), c), CHOPIN_AUTH_MISMATCH);
    CHECK(c[0] == 0);
    CHECK_EQ_INT(chopin_auth_session_check(&sessions, kit_z(b), &r), 0);
    CHECK_EQ_INT(chopin_auth_session_end(&sessions, kit_z(b)), 0);
    CHECK_EQ_INT(chopin_auth_session_check(&sessions, kit_z(b), &r), CHOPIN_AUTH_MISMATCH);
    CHECK_EQ_INT(chopin_auth_session_end(&sessions, kit_z(b)), 0);
    CHECK_EQ_INT(chopin_auth_session_check(&sessions, CHOPIN_STR("nonsense"), &r), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(chopin_auth_session_check(&sessions, CHOPIN_STR("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), &r), CHOPIN_AUTH_MISMATCH);
}

static void only_hashes_are_stored(void) {
    char a[44];
    uint8_t bytes[32];
    fresh();
    CHECK_EQ_INT(chopin_auth_session_new(&sessions, CHOPIN_STR("bob"), a), 0);
    CHECK_EQ_INT(chopin_base64url_decode(kit_z(a), bytes, 32), 32);
    for (size_t i = 0; i + 43 <= sizeof records; i++) CHECK(memcmp((char *)records + i, a, 43) != 0 && memcmp((char *)records + i, bytes, 32) != 0);
}

static void idle_and_absolute_limits(void) {
    char a[44];
    chopin_auth_record r;
    fresh();
    CHECK_EQ_INT(chopin_auth_session_new(&sessions, CHOPIN_STR("bob"), a), 0);
    kit_now = KIT_NOW + 1799;
    CHECK_EQ_INT(chopin_auth_session_check(&sessions, kit_z(a), &r), 0);
    kit_now += 1799;
    CHECK_EQ_INT(chopin_auth_session_check(&sessions, kit_z(a), &r), 0);                                          // was used meanwhile
    kit_now += 1800;
    CHECK_EQ_INT(chopin_auth_session_check(&sessions, kit_z(a), &r), CHOPIN_AUTH_EXPIRED);
    fresh();
    CHECK_EQ_INT(chopin_auth_session_new(&sessions, CHOPIN_STR("bob"), a), 0);
    for (int i = 0; i < 43; i++) { kit_now += 1000; CHECK_EQ_INT(chopin_auth_session_check(&sessions, kit_z(a), &r), 0); }
    char b[44];
    CHECK_EQ_INT(chopin_auth_session_renew(&sessions, kit_z(a), b), 0);                                           // a new id is not a longer life
    kit_now = KIT_NOW + 43199;
    CHECK_EQ_INT(chopin_auth_session_check(&sessions, kit_z(b), &r), 0);
    kit_now = KIT_NOW + 43200;
    int rc = chopin_auth_session_check(&sessions, kit_z(b), &r);
    CHECK(rc == CHOPIN_AUTH_EXPIRED || rc == CHOPIN_AUTH_MISMATCH);
}

static void ending_ends_refresh_tokens_too(void) {
    char a[44], b[44], r1[44], r2[44], next[44];
    chopin_auth_record who;
    chopin_auth_refresh refresh = { .store = &store, .clock = kit_clock };
    fresh();
    CHECK_EQ_INT(chopin_auth_session_new(&sessions, CHOPIN_STR("bob"), a), 0);
    CHECK_EQ_INT(chopin_auth_refresh_issue(&refresh, CHOPIN_STR("bob"), kit_z(a), r1), 0);
    CHECK_EQ_INT(chopin_auth_refresh_rotate(&refresh, kit_z(r1), r2, &who), 0);
    CHECK_EQ_INT(chopin_auth_session_end(&sessions, kit_z(a)), 0);
    CHECK_EQ_INT(chopin_auth_refresh_rotate(&refresh, kit_z(r2), next, &who), CHOPIN_AUTH_MISMATCH);
    CHECK_EQ_INT(chopin_auth_session_new(&sessions, CHOPIN_STR("bob"), a), 0);
    CHECK_EQ_INT(chopin_auth_session_new(&sessions, CHOPIN_STR("eve"), b), 0);
    CHECK_EQ_INT(chopin_auth_refresh_issue(&refresh, CHOPIN_STR("bob"), (chopin_str){ NULL, 0 }, r1), 0);
    CHECK_EQ_INT(chopin_auth_session_end_all(&sessions, CHOPIN_STR("bob")), 0);
    CHECK_EQ_INT(chopin_auth_session_check(&sessions, kit_z(a), &who), CHOPIN_AUTH_MISMATCH);
    CHECK_EQ_INT(chopin_auth_refresh_rotate(&refresh, kit_z(r1), next, &who), CHOPIN_AUTH_MISMATCH);
    CHECK_EQ_INT(chopin_auth_session_check(&sessions, kit_z(b), &who), 0);
    CHECK_EQ_INT(chopin_auth_refresh_issue(&refresh, CHOPIN_STR("bob"), kit_z(a), r1), CHOPIN_AUTH_MISMATCH);     // no refresh token from a dead session
}

/* A session that is ended while it is looked at stays ended. */
static int (*real_swap)(void *, const uint8_t *, int64_t, const chopin_auth_record *);
static int ending_swap(void *ctx, const uint8_t id[32], int64_t now, const chopin_auth_record *by) { (void)store.drop(ctx, id, 0); return real_swap(ctx, id, now, by); }
static void use_does_not_revive(void) {
    char a[44];
    chopin_auth_record r;
    fresh();
    CHECK_EQ_INT(chopin_auth_session_new(&sessions, CHOPIN_STR("bob"), a), 0);
    real_swap = store.swap;
    store.swap = ending_swap;
    kit_now += 100;
    CHECK_EQ_INT(chopin_auth_session_check(&sessions, kit_z(a), &r), CHOPIN_AUTH_MISMATCH);
    store.swap = real_swap;
    CHECK_EQ_INT(chopin_auth_session_check(&sessions, kit_z(a), &r), CHOPIN_AUTH_MISMATCH);
}

static int broken_get(void *c, const uint8_t id[32], int64_t now, chopin_auth_record *o) { (void)c; (void)id; (void)now; memset(o, 1, sizeof *o); return CHOPIN_AUTH_STORE; }
static void a_broken_store_denies(void) {
    char a[44], key[CHOPIN_AUTH_APIKEY_TEXT];
    chopin_auth_record r;
    fresh();
    CHECK_EQ_INT(chopin_auth_session_new(&sessions, CHOPIN_STR("bob"), a), 0);
    CHECK(chopin_auth_apikey_new(&store, CHOPIN_STR("sk"), CHOPIN_STR("bob"), CHOPIN_STR("x"), 0, KIT_NOW, key) > 0);
    store.get = broken_get;
    CHECK_EQ_INT(chopin_auth_session_check(&sessions, kit_z(a), &r), CHOPIN_AUTH_STORE);
    CHECK(r.user_len == 0);
    CHECK_EQ_INT(chopin_auth_apikey_check(&store, kit_z(key), KIT_NOW, &r), CHOPIN_AUTH_STORE);
    CHECK_EQ_INT(chopin_auth_ticket_redeem(&store, CHOPIN_STR("reset"), kit_z(a), KIT_NOW, &r), CHOPIN_AUTH_STORE);
    chopin_auth_sessions none = { .store = NULL };
    CHECK_EQ_INT(chopin_auth_session_new(&none, CHOPIN_STR("bob"), a), CHOPIN_AUTH_CONFIG);
}

static int gets;
static int counting_get(void *c, const uint8_t id[32], int64_t now, chopin_auth_record *o) { gets++; return chopin_auth__store_get(c, id, now, o); }
static void api_keys_are_checked_offline_first(void) {
    char key[CHOPIN_AUTH_APIKEY_TEXT], changed[CHOPIN_AUTH_APIKEY_TEXT + 1];
    chopin_auth_record r;
    fresh();
    store.get = counting_get;
    int n = chopin_auth_apikey_new(&store, CHOPIN_STR("sklive"), CHOPIN_STR("bob"), CHOPIN_STR("orders:read"), 60, KIT_NOW, key);
    CHECK(n == 6 + 1 + 16 + 1 + 52 + 1 + 7 && strlen(key) == (size_t)n);
    CHECK_EQ_INT(chopin_auth_apikey_check(&store, kit_z(key), KIT_NOW, &r), 0);
    CHECK(r.data_len == 11 && memcmp(r.data, "orders:read", 11) == 0);
    CHECK_EQ_INT(chopin_auth_apikey_check(&store, kit_z(key), KIT_NOW + 59, &r), 0);
    CHECK_EQ_INT(chopin_auth_apikey_check(&store, kit_z(key), KIT_NOW + 60, &r), CHOPIN_AUTH_EXPIRED);
    gets = 0;
    for (int i = 0; i < n; i++) {
        memcpy(changed, key, sizeof key);
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        CHECK(chopin_auth_apikey_check(&store, kit_z(changed), KIT_NOW, &r) < 0);
        memcpy(changed, key, (size_t)i), memcpy(changed + i, key + i + 1, (size_t)(n - i));
        CHECK(chopin_auth_apikey_check(&store, kit_z(changed), KIT_NOW, &r) < 0);
    }
    CHECK_EQ_INT(gets, 0);                                                                                        // the checksum caught them all
    memcpy(changed, key, sizeof key);                                                                             // a wrong secret under a right checksum
    changed[30] = changed[30] == 'A' ? 'B' : 'A';
    uint8_t sum[32];
    chopin_auth__apikey_check((chopin_str){ changed, (size_t)n - 8 }, sum);
    CHECK_EQ_INT(chopin_base32_encode((chopin_str){ (char *)sum, 4 }, changed + n - 7, 7), 7);
    CHECK_EQ_INT(chopin_auth_apikey_check(&store, kit_z(changed), KIT_NOW, &r), CHOPIN_AUTH_MISMATCH);
    CHECK_EQ_INT(gets, 1);
    CHECK_EQ_INT(chopin_auth_apikey_new(&store, CHOPIN_STR("has_bar"), CHOPIN_STR("bob"), CHOPIN_STR(""), 0, KIT_NOW, key), CHOPIN_AUTH_ARG);
    CHECK(chopin_auth_apikey_new(&store, CHOPIN_STR("sk"), CHOPIN_STR("bob"), CHOPIN_STR(""), 0, KIT_NOW, key) > 0);
    CHECK_EQ_INT(chopin_auth_apikey_check(&store, kit_z(key), INT64_MAX - 1, &r), 0);
    CHECK_EQ_INT(store.drop(store.ctx, r.id, 0), 0);
    CHECK_EQ_INT(chopin_auth_apikey_check(&store, kit_z(key), KIT_NOW, &r), CHOPIN_AUTH_MISMATCH);
}

static char race[44];
static _Atomic(int) wins;
static void *redeemer(void *arg) { chopin_auth_record r; (void)arg; if (chopin_auth_ticket_redeem(&store, CHOPIN_STR("reset"), kit_z(race), KIT_NOW, &r) == 0) atomic_fetch_add(&wins, 1); return NULL; }

static void tickets_work_once(void) {
    char a[44];
    chopin_auth_record r;
    pthread_t threads[4];
    fresh();
    CHECK_EQ_INT(chopin_auth_ticket_new(&store, CHOPIN_STR("reset"), CHOPIN_STR("bob"), CHOPIN_STR("data"), 0, KIT_NOW, a), 0);
    CHECK_EQ_INT(chopin_auth_ticket_redeem(&store, CHOPIN_STR("confirm"), kit_z(a), KIT_NOW, &r), CHOPIN_AUTH_MISMATCH);
    CHECK_EQ_INT(chopin_auth_ticket_redeem(&store, CHOPIN_STR("reset"), kit_z(a), KIT_NOW + 3599, &r), 0);
    CHECK(r.user_len == 3 && r.data_len == 4 && memcmp(r.data, "data", 4) == 0);
    CHECK_EQ_INT(chopin_auth_ticket_redeem(&store, CHOPIN_STR("reset"), kit_z(a), KIT_NOW, &r), CHOPIN_AUTH_REPLAY);
    CHECK(r.user_len == 0);
    CHECK_EQ_INT(chopin_auth_ticket_new(&store, CHOPIN_STR("confirm"), CHOPIN_STR("bob"), (chopin_str){ NULL, 0 }, 86400, KIT_NOW, a), 0);
    CHECK_EQ_INT(chopin_auth_ticket_redeem(&store, CHOPIN_STR("confirm"), kit_z(a), KIT_NOW + 86400, &r), CHOPIN_AUTH_EXPIRED);
    CHECK_EQ_INT(chopin_auth_ticket_redeem(&store, CHOPIN_STR("confirm"), CHOPIN_STR("x"), KIT_NOW, &r), CHOPIN_AUTH_FORMAT);
    for (int i = 0; i < 30; i++) {
        atomic_store(&wins, 0);
        CHECK_EQ_INT(chopin_auth_ticket_new(&store, CHOPIN_STR("reset"), CHOPIN_STR("bob"), (chopin_str){ NULL, 0 }, 0, KIT_NOW, race), 0);
        for (int k = 0; k < 4; k++) pthread_create(&threads[k], NULL, redeemer, NULL);
        for (int k = 0; k < 4; k++) pthread_join(threads[k], NULL);
        CHECK_EQ_INT(atomic_load(&wins), 1);
    }
}

/* No secret of one kind is any good as another. */
static void kinds_do_not_mix(void) {
    char s[44], t[44], f[44], out[44];
    chopin_auth_record r;
    chopin_auth_refresh refresh = { .store = &store, .clock = kit_clock };
    fresh();
    CHECK(chopin_auth_session_new(&sessions, CHOPIN_STR("bob"), s) == 0 && chopin_auth_refresh_issue(&refresh, CHOPIN_STR("bob"), (chopin_str){ NULL, 0 }, f) == 0);
    CHECK_EQ_INT(chopin_auth_ticket_new(&store, CHOPIN_STR("reset"), CHOPIN_STR("bob"), (chopin_str){ NULL, 0 }, 0, KIT_NOW, t), 0);
    CHECK(chopin_auth_session_check(&sessions, kit_z(t), &r) == CHOPIN_AUTH_MISMATCH && chopin_auth_session_check(&sessions, kit_z(f), &r) == CHOPIN_AUTH_MISMATCH);
    CHECK(chopin_auth_refresh_rotate(&refresh, kit_z(s), out, &r) == CHOPIN_AUTH_MISMATCH && chopin_auth_refresh_rotate(&refresh, kit_z(t), out, &r) == CHOPIN_AUTH_MISMATCH);
    CHECK(chopin_auth_ticket_redeem(&store, CHOPIN_STR("reset"), kit_z(s), KIT_NOW, &r) == CHOPIN_AUTH_MISMATCH && chopin_auth_ticket_redeem(&store, CHOPIN_STR("reset"), kit_z(f), KIT_NOW, &r) == CHOPIN_AUTH_MISMATCH);
}

/* The counts by owner are what stands in the table, whatever was put, crowded out, dropped and expired. */
static void owners_are_counted(void) {
    char id[CHOPIN_AUTH_SECRET_TEXT], user[8];
    size_t counted = 0, there = 0;
    fresh();
    for (int i = 0; i < 400; i++) {
        chopin_str name = { user, (size_t)sprintf(user, "u%d", i % 3) };
        CHECK_EQ_INT(chopin_auth_session_new(&sessions, name, id), 0);
        if (i % 7 == 0) CHECK_EQ_INT(chopin_auth_session_end(&sessions, (chopin_str){ id, sizeof id - 1 }), 0);
        if (i % 50 == 0) CHECK_EQ_INT(chopin_auth_session_end_all(&sessions, name), 0);
        kit_now += 60;
    }
    for (size_t i = 0; i < 1024; i++) counted += memory.owners[i];
    for (size_t i = 0; i < memory.sets * 8; i++) there += memory.records[i].kind != 0;
    CHECK_EQ_INT(counted, there);
    CHECK(there > 30);
}

static void a_full_store_says_limit(void) {
    static chopin_auth_record few[16];
    char a[44], name[20];
    chopin_auth_record r;
    int limit = 0;
    fresh();
    CHECK_EQ_INT(chopin_auth_store_init(&store, &memory, few, sizeof few), 0);
    CHECK_EQ_INT(chopin_auth_session_new(&sessions, CHOPIN_STR("first"), a), 0);
    for (int i = 0; i < 100; i++) {
        char id[44];
        limit += chopin_auth_session_new(&sessions, (chopin_str){ name, (size_t)sprintf(name, "user%d", i) }, id) == CHOPIN_AUTH_LIMIT;
    }
    CHECK(limit >= 84);
    CHECK_EQ_INT(chopin_auth_session_check(&sessions, kit_z(a), &r), 0);
}

static void pkce_is_s256_only(void) {
    char verifier[CHOPIN_AUTH_PKCE_TEXT], challenge[CHOPIN_AUTH_PKCE_TEXT], longer[200];
    CHECK_EQ_INT(chopin_pkce_challenge(CHOPIN_STR("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"), challenge), 0);          /* RFC 7636 B */
    CHECK_STR(kit_z(challenge), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    CHECK_EQ_INT(chopin_pkce_check(CHOPIN_STR("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"), kit_z(challenge)), 0);
    CHECK_EQ_INT(chopin_pkce_check(CHOPIN_STR("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXl"), kit_z(challenge)), CHOPIN_AUTH_MISMATCH);
    CHECK_EQ_INT(chopin_pkce_check(CHOPIN_STR("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"), CHOPIN_STR("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")), CHOPIN_AUTH_MISMATCH);     // plain
    CHECK_EQ_INT(chopin_pkce_new(verifier), 0);
    CHECK(strlen(verifier) == 43 && chopin_pkce_challenge(kit_z(verifier), challenge) == 0);
    memset(longer, 'a', sizeof longer);
    for (size_t n = 0; n < 140; n++) CHECK_EQ_INT(chopin_pkce_challenge((chopin_str){ longer, n }, challenge), n < 43 || n > 128 ? CHOPIN_AUTH_FORMAT : 0);
    for (int ch = 0; ch < 256; ch++) {
        longer[7] = (char)ch;
        bool fine = (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch && strchr("-._~", ch));
        CHECK_EQ_INT(chopin_pkce_challenge((chopin_str){ longer, 50 }, challenge), fine ? 0 : CHOPIN_AUTH_FORMAT);
    }
}

static void state_and_nonce_are_single_use(void) {
    char state[44], url[1000], verifier[44], challenge[44];
    chopin_auth_record r;
    fresh();
    CHECK(chopin_pkce_new(verifier) == 0 && chopin_pkce_challenge(kit_z(verifier), challenge) == 0);
    CHECK_EQ_INT(chopin_auth_ticket_new(&store, CHOPIN_STR("oauth state"), CHOPIN_STR("browser 7"), kit_z(verifier), 600, KIT_NOW, state), 0);
    chopin_auth_oauth o = { CHOPIN_STR("https://id.example/authorize"), CHOPIN_STR("shop & co"), CHOPIN_STR("https://shop.example/back"), CHOPIN_STR("openid email"), kit_z(state), CHOPIN_STR("n1"), kit_z(challenge) };
    int n = chopin_auth_oauth_url(&o, url, sizeof url);
    CHECK(n > 0 && strlen(url) == (size_t)n);
    CHECK(strstr(url, "https://id.example/authorize?response_type=code&client_id=shop%20%26%20co&redirect_uri=https%3A%2F%2Fshop.example%2Fback&scope=openid%20email&state=") == url);
    CHECK(strstr(url, "&nonce=n1&code_challenge=") && strstr(url, "&code_challenge_method=S256"));
    CHECK_EQ_INT(chopin_auth_oauth_url(&o, url, (size_t)n), CHOPIN_AUTH_BUFFER);
    CHECK_EQ_INT(chopin_auth_oauth_url(&o, url, (size_t)n + 1), n);
    o.state.len = 0;
    CHECK_EQ_INT(chopin_auth_oauth_url(&o, url, sizeof url), CHOPIN_AUTH_ARG);
    CHECK_EQ_INT(chopin_auth_ticket_redeem(&store, CHOPIN_STR("oauth state"), kit_z(state), KIT_NOW, &r), 0);
    CHECK(r.data_len == 43 && memcmp(r.data, verifier, 43) == 0);
    CHECK_EQ_INT(chopin_auth_ticket_redeem(&store, CHOPIN_STR("oauth state"), kit_z(state), KIT_NOW, &r), CHOPIN_AUTH_REPLAY);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(sessions_change_id);
    RUN(only_hashes_are_stored);
    RUN(idle_and_absolute_limits);
    RUN(ending_ends_refresh_tokens_too);
    RUN(use_does_not_revive);
    RUN(a_broken_store_denies);
    RUN(api_keys_are_checked_offline_first);
    RUN(tickets_work_once);
    RUN(kinds_do_not_mix);
    RUN(owners_are_counted);
    RUN(a_full_store_says_limit);
    RUN(pkce_is_s256_only);
    RUN(state_and_nonce_are_single_use);
    return TEST_END();
}
