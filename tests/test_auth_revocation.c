/* test_auth_revocation.c - revoked tokens, the store, refresh tokens: AUTH.md 3.6 */
#include "auth.h"
#include "test.h"
#include "auth_kit.h"
#include <pthread.h>

static uint64_t table[8 * 4096];
static chopin_auth_revocation list;
static chopin_jwk key;
static char room[2000];
static chopin_jwt me;

static void fresh(size_t size) {
    CHECK_EQ_INT(chopin_auth_revocation_init(&list, &(chopin_auth_revocation_options){ .memory = table, .size = size, .clock = kit_clock }), 0);
}
static int ask(const char *payload) {
    chopin_jwt_verifier v;
    chopin_jwt_verifier_options o = { .key = &key, .iss = CHOPIN_STR("me"), .aud = CHOPIN_STR("us"), .clock = kit_clock, .revocation = &list };
    CHECK_EQ_INT(chopin_jwt_verifier_init(&v, &o), 0);
    return chopin_jwt_verify(&v, kit_token(KIT_HEADER, payload), room, sizeof room, &me);
}

static void revocation_lives_as_long_as_the_token(void) {
    kit_now = KIT_NOW;
    fresh(sizeof table);
    CHECK_EQ_INT(ask("{" KIT_CLAIMS ",\"jti\":\"a\"}"), 0);
    CHECK_EQ_INT(chopin_auth_revoke(&list, CHOPIN_STR("me"), CHOPIN_STR("a"), 1700000100), 0);
    CHECK_EQ_INT(ask("{" KIT_CLAIMS ",\"jti\":\"a\"}"), CHOPIN_AUTH_REVOKED);
    CHECK(!me.jti.ptr && !me.exp);
    CHECK_EQ_INT(ask("{ \"jti\" : \"\\u0061\"," KIT_CLAIMS "}"), CHOPIN_AUTH_REVOKED);                      // written differently: revoked too
    CHECK_EQ_INT(ask("{" KIT_CLAIMS ",\"jti\":\"b\"}"), 0);
    CHECK_EQ_INT(ask("{" KIT_CLAIMS "}"), CHOPIN_AUTH_CLAIM);                                                   // without jti there is nothing to ask for
    kit_now = 1700000100 + 29;                                                                                  // within the leeway
    CHECK_EQ_INT(ask("{" KIT_CLAIMS ",\"jti\":\"a\"}"), CHOPIN_AUTH_REVOKED);
    chopin_jwt t = { .iss = CHOPIN_STR("me"), .jti = CHOPIN_STR("a") };
    CHECK_EQ_INT(chopin_auth_revoked(&list, &t, 1700000100 + 299), CHOPIN_AUTH_REVOKED);
    CHECK_EQ_INT(chopin_auth_revoked(&list, &t, 1700000100 + 300), 0);
    t.iss = CHOPIN_STR("you");
    CHECK_EQ_INT(chopin_auth_revoked(&list, &t, KIT_NOW), 0);                                                   // another issuer's a
    kit_now = KIT_NOW;
}

static void revoked_a_second_before_exp_is_refused_in_the_leeway(void) {
    fresh(sizeof table);
    kit_now = 1700000099;
    CHECK_EQ_INT(chopin_auth_revoke(&list, CHOPIN_STR("me"), CHOPIN_STR("a"), 1700000100), 0);
    kit_now = 1700000120;
    CHECK_EQ_INT(ask("{" KIT_CLAIMS ",\"jti\":\"a\"}"), CHOPIN_AUTH_REVOKED);
    CHECK_EQ_INT(ask("{" KIT_CLAIMS ",\"jti\":\"b\"}"), 0);
    kit_now = KIT_NOW;
}

static void full_is_limit_and_drops_nothing(void) {
    char jti[20];
    int  kept = 0, limit = 0, many = SMALL ? 50000 : 1000000;
    fresh(sizeof table);
    static bool held[1000000];
    for (int i = 0; i < many; i++) {
        int rc = chopin_auth_revoke(&list, CHOPIN_STR("me"), (chopin_str){ jti, (size_t)sprintf(jti, "%d", i) }, 0);
        held[i] = rc == 0;
        if (rc == 0) kept++;
        else if (rc == CHOPIN_AUTH_LIMIT) limit++;
    }
    CHECK(kept + limit == many && limit > 0);
    CHECK(kept <= 4096 * 8 / 7 && kept > 4000);
    int missing = 0;
    for (int i = 0; i < many; i++) {
        chopin_jwt t = { .iss = CHOPIN_STR("me"), .jti = { jti, (size_t)sprintf(jti, "%d", i) } };
        if (held[i]) missing += chopin_auth_revoked(&list, &t, KIT_NOW) != CHOPIN_AUTH_REVOKED;
    }
    CHECK_EQ_INT(missing, 0);
}

static void a_subject_is_revoked_up_to_a_time(void) {
    fresh(sizeof table);
    CHECK_EQ_INT(chopin_auth_revoke_subject(&list, CHOPIN_STR("me"), CHOPIN_STR("bob"), 0, 0), 0);
    CHECK_EQ_INT(ask("{" KIT_CLAIMS ",\"jti\":\"a\",\"sub\":\"bob\",\"iat\":1700000000}"), CHOPIN_AUTH_REVOKED);
    CHECK_EQ_INT(ask("{" KIT_CLAIMS ",\"jti\":\"a\",\"sub\":\"bob\",\"iat\":1699999999}"), CHOPIN_AUTH_REVOKED);
    CHECK_EQ_INT(ask("{" KIT_CLAIMS ",\"jti\":\"a\",\"sub\":\"bob\"}"), CHOPIN_AUTH_REVOKED);
    CHECK_EQ_INT(ask("{" KIT_CLAIMS ",\"jti\":\"a\",\"sub\":\"bob\",\"iat\":1700000001}"), 0);
    CHECK_EQ_INT(ask("{" KIT_CLAIMS ",\"jti\":\"a\",\"sub\":\"eve\",\"iat\":1}"), 0);
    CHECK_EQ_INT(chopin_auth_revoke_subject(&list, CHOPIN_STR("me"), CHOPIN_STR("bob"), 1, 0), 0);              // never weaker than before
    CHECK_EQ_INT(ask("{" KIT_CLAIMS ",\"jti\":\"a\",\"sub\":\"bob\",\"iat\":1700000000}"), CHOPIN_AUTH_REVOKED);
}

static int     broken_put(void *s, const uint8_t id[32], int64_t until, int64_t before) { (void)s; (void)id; (void)until; (void)before; return CHOPIN_AUTH_STORE; }
static int     broken_ask(void *s, const uint8_t id[32], int64_t now) { (void)id; (void)now; return *(int *)s; }
static int64_t broken_before(void *s, const uint8_t id[32], int64_t now) { (void)id; (void)now; return *(int *)s ? 0 : CHOPIN_AUTH_STORE; }

static void a_failing_store_denies(void) {
    int answer = CHOPIN_AUTH_STORE;
    chopin_auth_revocation_options o = { .hooks = { &answer, broken_put, broken_ask, broken_before } };
    CHECK_EQ_INT(chopin_auth_revocation_init(&list, &o), 0);
    CHECK_EQ_INT(ask("{" KIT_CLAIMS ",\"jti\":\"a\"}"), CHOPIN_AUTH_STORE);
    CHECK_EQ_INT(chopin_auth_http(CHOPIN_AUTH_STORE), 503);
    answer = -12345;
    CHECK_EQ_INT(ask("{" KIT_CLAIMS ",\"jti\":\"a\"}"), CHOPIN_AUTH_STORE);
    answer = 0;
    CHECK_EQ_INT(ask("{" KIT_CLAIMS ",\"jti\":\"a\",\"sub\":\"x\"}"), CHOPIN_AUTH_STORE);
    CHECK_EQ_INT(chopin_auth_revoke(&list, CHOPIN_STR("me"), CHOPIN_STR("a"), 1), CHOPIN_AUTH_STORE);
}

static void a_table_needs_memory_or_hooks(void) {
    chopin_auth_revocation_options o = { .memory = NULL };
    CHECK_EQ_INT(chopin_auth_revocation_init(&list, &o), CHOPIN_AUTH_CONFIG);
    o = (chopin_auth_revocation_options){ .memory = table, .size = 8 };
    CHECK_EQ_INT(chopin_auth_revocation_init(&list, &o), CHOPIN_AUTH_CONFIG);
    o = (chopin_auth_revocation_options){ .memory = table, .size = sizeof table, .hooks = { NULL, broken_put, broken_ask, broken_before } };
    CHECK_EQ_INT(chopin_auth_revocation_init(&list, &o), CHOPIN_AUTH_CONFIG);
    o = (chopin_auth_revocation_options){ .hooks = { NULL, broken_put, NULL, NULL } };
    CHECK_EQ_INT(chopin_auth_revocation_init(&list, &o), CHOPIN_AUTH_CONFIG);
}

/* Readers never miss an entry that stays, while a writer fills the table around it. TSan looks at this one. */
static _Atomic(int) stop_readers, misses;
static void *reader(void *arg) {
    chopin_jwt t = { .iss = CHOPIN_STR("me"), .jti = CHOPIN_STR("stays") };
    (void)arg;
    while (!atomic_load(&stop_readers)) if (chopin_auth_revoked(&list, &t, KIT_NOW) != CHOPIN_AUTH_REVOKED) atomic_fetch_add(&misses, 1);
    return NULL;
}
static void readers_need_no_lock(void) {
    pthread_t threads[2];
    char jti[20];
    fresh(sizeof table);
    CHECK_EQ_INT(chopin_auth_revoke(&list, CHOPIN_STR("me"), CHOPIN_STR("stays"), 0), 0);
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, reader, NULL);
    for (int i = 0; i < 50000; i++) (void)!chopin_auth_revoke(&list, CHOPIN_STR("me"), (chopin_str){ jti, (size_t)sprintf(jti, "%d", i) }, KIT_NOW + i % 7);
    atomic_store(&stop_readers, 1);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    CHECK_EQ_INT(atomic_load(&misses), 0);
}

/* ---- refresh tokens ---- */
static chopin_auth_record records[4000];
static chopin_auth_memory memory;
static chopin_auth_store  store;
static int reuses;
static void on_event(void *ctx, chopin_auth_event e, chopin_str user, chopin_str address) { (void)ctx; (void)address; reuses += e == CHOPIN_AUTH_EV_REUSE && user.len == 3; }
static chopin_auth_refresh refresh_options(void) { return (chopin_auth_refresh){ .store = &store, .on_event = on_event, .clock = kit_clock }; }
static void fresh_store(void) { kit_now = KIT_NOW, reuses = 0; CHECK_EQ_INT(chopin_auth_store_init(&store, &memory, records, sizeof records), 0); }
static chopin_str str(const char *s) { return kit_z(s); }

static void refresh_reuse_kills_the_family(void) {
    chopin_auth_refresh r = refresh_options();
    chopin_auth_record who;
    char a[44], b[44], c[44], other[44];
    fresh_store();
    CHECK_EQ_INT(chopin_auth_refresh_issue(&r, CHOPIN_STR("bob"), (chopin_str){ NULL, 0 }, a), 0);
    CHECK_EQ_INT(chopin_auth_refresh_issue(&r, CHOPIN_STR("bob"), (chopin_str){ NULL, 0 }, other), 0);
    CHECK_EQ_INT(chopin_auth_refresh_rotate(&r, str(a), b, &who), 0);
    CHECK(who.user_len == 3 && memcmp(who.user, "bob", 3) == 0 && strcmp(a, b) != 0);
    CHECK_EQ_INT(chopin_auth_refresh_rotate(&r, str(b), c, &who), 0);
    CHECK_EQ_INT(chopin_auth_refresh_rotate(&r, str(a), b, &who), CHOPIN_AUTH_REPLAY);
    CHECK(b[0] == 0 && who.user_len == 0);
    CHECK_EQ_INT(reuses, 1);
    CHECK_EQ_INT(chopin_auth_refresh_rotate(&r, str(c), b, &who), CHOPIN_AUTH_MISMATCH);                        // the whole family is dead
    CHECK_EQ_INT(chopin_auth_refresh_rotate(&r, str(other), b, &who), 0);                                       // another login is not
    for (size_t i = 0; i < sizeof records; i++) if (i + 43 <= sizeof records && memcmp((char *)records + i, b, 43) == 0) CHECK(false && "stored in the clear");
}

static void refresh_grace_spares_two_tabs(void) {
    chopin_auth_refresh r = refresh_options();
    chopin_auth_record who;
    char a[44], b[44], c[44];
    fresh_store();
    r.grace_s = 5;
    CHECK_EQ_INT(chopin_auth_refresh_issue(&r, CHOPIN_STR("bob"), (chopin_str){ NULL, 0 }, a), 0);
    CHECK_EQ_INT(chopin_auth_refresh_rotate(&r, str(a), b, &who), 0);
    kit_now += 5;
    CHECK_EQ_INT(chopin_auth_refresh_rotate(&r, str(a), c, &who), CHOPIN_AUTH_REPLAY);
    CHECK_EQ_INT(reuses, 0);
    CHECK_EQ_INT(chopin_auth_refresh_rotate(&r, str(b), c, &who), 0);
    kit_now += 6;
    CHECK_EQ_INT(chopin_auth_refresh_rotate(&r, str(a), b, &who), CHOPIN_AUTH_REPLAY);
    CHECK_EQ_INT(reuses, 1);
    CHECK_EQ_INT(chopin_auth_refresh_rotate(&r, str(c), b, &who), CHOPIN_AUTH_MISMATCH);
}

static char race_token[44];
static _Atomic(int) race_wins, race_replays;
static void *racer(void *arg) {
    chopin_auth_refresh r = refresh_options();
    chopin_auth_record who;
    char out[44];
    (void)arg;
    r.grace_s = 100;
    int rc = chopin_auth_refresh_rotate(&r, str(race_token), out, &who);
    atomic_fetch_add(rc == 0 ? &race_wins : &race_replays, rc == 0 || rc == CHOPIN_AUTH_REPLAY);
    return NULL;
}
static void refresh_two_at_once_one_wins(void) {
    chopin_auth_refresh r = refresh_options();
    fresh_store();
    for (int round = 0; round < 50; round++) {
        pthread_t threads[4];
        atomic_store(&race_wins, 0), atomic_store(&race_replays, 0);
        CHECK_EQ_INT(chopin_auth_refresh_issue(&r, CHOPIN_STR("bob"), (chopin_str){ NULL, 0 }, race_token), 0);
        for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, racer, NULL);
        for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
        CHECK_EQ_INT(atomic_load(&race_wins), 1);
        CHECK_EQ_INT(atomic_load(&race_replays), 3);
    }
}

static void refresh_expires_and_ends(void) {
    chopin_auth_refresh r = refresh_options();
    chopin_auth_record who;
    char a[44], b[44];
    fresh_store();
    CHECK_EQ_INT(chopin_auth_refresh_issue(&r, CHOPIN_STR("bob"), (chopin_str){ NULL, 0 }, a), 0);
    kit_now = KIT_NOW + 30 * 86400 - 1;
    CHECK_EQ_INT(chopin_auth_refresh_rotate(&r, str(a), b, &who), 0);
    kit_now += 30 * 86400;
    CHECK_EQ_INT(chopin_auth_refresh_rotate(&r, str(b), a, &who), CHOPIN_AUTH_EXPIRED);
    CHECK_EQ_INT(chopin_auth_refresh_issue(&r, CHOPIN_STR("bob"), (chopin_str){ NULL, 0 }, a), 0);
    CHECK_EQ_INT(chopin_auth_refresh_end(&r, str(a)), 0);
    CHECK_EQ_INT(chopin_auth_refresh_rotate(&r, str(a), b, &who), CHOPIN_AUTH_MISMATCH);
    CHECK_EQ_INT(chopin_auth_refresh_end(&r, str(a)), 0);
    CHECK_EQ_INT(chopin_auth_refresh_rotate(&r, CHOPIN_STR("short"), b, &who), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(chopin_auth_refresh_rotate(&r, CHOPIN_STR(""), b, &who), CHOPIN_AUTH_FORMAT);
}

static void a_user_crowds_out_only_himself(void) {
    chopin_auth_refresh r = refresh_options();
    chopin_auth_record who;
    char first[44], eve[44], out[44];
    fresh_store();
    CHECK_EQ_INT(chopin_auth_refresh_issue(&r, CHOPIN_STR("eve"), (chopin_str){ NULL, 0 }, eve), 0);
    CHECK_EQ_INT(chopin_auth_refresh_issue(&r, CHOPIN_STR("bob"), (chopin_str){ NULL, 0 }, first), 0);
    for (int i = 0; i < 100; i++) { kit_now++; CHECK_EQ_INT(chopin_auth_refresh_issue(&r, CHOPIN_STR("bob"), (chopin_str){ NULL, 0 }, out), 0); }
    CHECK_EQ_INT(chopin_auth_refresh_rotate(&r, str(first), out, &who), CHOPIN_AUTH_MISMATCH);
    CHECK_EQ_INT(chopin_auth_refresh_rotate(&r, str(eve), out, &who), 0);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    key = kit_key('k', "");
    RUN(revocation_lives_as_long_as_the_token);
    RUN(revoked_a_second_before_exp_is_refused_in_the_leeway);
    RUN(full_is_limit_and_drops_nothing);
    RUN(a_subject_is_revoked_up_to_a_time);
    RUN(a_failing_store_denies);
    RUN(a_table_needs_memory_or_hooks);
    RUN(readers_need_no_lock);
    RUN(refresh_reuse_kills_the_family);
    RUN(refresh_grace_spares_two_tabs);
    RUN(refresh_two_at_once_one_wins);
    RUN(refresh_expires_and_ends);
    RUN(a_user_crowds_out_only_himself);
    return TEST_END();
}
