/* test_auth_otp.c - HOTP, TOTP, recovery codes: AUTH.md 3.6 */
#include "auth.h"
#include "test.h"
#include "vectors.h"
#include "auth_kit.h"
#include <pthread.h>

static chopin_auth_hash hash_of(vec *v) { return vec_is(v, "hash", "sha256") ? CHOPIN_AUTH_SHA256 : vec_is(v, "hash", "sha512") ? CHOPIN_AUTH_SHA512 : CHOPIN_AUTH_SHA1; }

static void vectors_match(void) {
    vec v;
    char code[9], text[130];
    int n = 0;
    for (vec_open(&v, "rfc/otp.json"); vec_next(&v, "hotp"); n++) {
        CHECK_EQ_INT(chopin_hotp_at(CHOPIN_AUTH_SHA1, vec_hex(&v, "secret"), (uint64_t)vec_int(&v, "counter"), (int)vec_int(&v, "digits"), code), 0);
        if (!CHECK(vec_is(&v, "code", code))) printf("  %s\n", code);
    }
    vec_close(&v, 10);
    for (vec_open(&v, "rfc/otp.json"); vec_next(&v, "totp"); n++) {
        chopin_totp_options o = { .hash = hash_of(&v), .digits = (int)vec_int(&v, "digits") };
        chopin_str secret = vec_hex(&v, "secret");
        int len = chopin_base32_encode(secret, text, sizeof text);
        CHECK_EQ_INT(chopin_totp_at(&o, (chopin_str){ text, (size_t)len }, vec_int(&v, "time"), code), 0);
        if (!CHECK(vec_is(&v, "code", code))) printf("  %s\n", code);
        int64_t step = 0;
        CHECK_EQ_INT(chopin_totp_verify(&o, (chopin_str){ text, (size_t)len }, kit_z(code), vec_int(&v, "time"), &step), 0);
        CHECK_EQ_INT(step, vec_int(&v, "time") / 30);
    }
    vec_close(&v, 18);
    CHECK_EQ_INT(n, 28);
}

static void totp_accepts_a_step_once(void) {
    char secret[CHOPIN_AUTH_TOTP_SECRET], code[5][9];
    CHECK_EQ_INT(chopin_totp_secret(secret), 0);
    CHECK_EQ_INT(strlen(secret), 32);
    chopin_str s = kit_z(secret);
    for (int d = -2; d <= 2; d++) CHECK_EQ_INT(chopin_totp_at(NULL, s, KIT_NOW + d * 30, code[d + 2]), 0);
    for (int d = -2; d <= 2; d++) {
        int64_t step = 0;
        CHECK_EQ_INT(chopin_totp_verify(NULL, s, kit_z(code[d + 2]), KIT_NOW, &step), d == -2 || d == 2 ? CHOPIN_AUTH_MISMATCH : 0);
        CHECK_EQ_INT(step, d == -2 || d == 2 ? 0 : KIT_NOW / 30 + d);
    }
    int64_t step = KIT_NOW / 30;
    CHECK_EQ_INT(chopin_totp_verify(NULL, s, kit_z(code[2]), KIT_NOW, &step), CHOPIN_AUTH_REPLAY);           // this step was used
    CHECK_EQ_INT(chopin_totp_verify(NULL, s, kit_z(code[1]), KIT_NOW, &step), CHOPIN_AUTH_REPLAY);           // an older one
    CHECK_EQ_INT(chopin_totp_verify(NULL, s, kit_z(code[3]), KIT_NOW, &step), 0);
    CHECK_EQ_INT(step, KIT_NOW / 30 + 1);
    CHECK_EQ_INT(chopin_totp_verify(NULL, s, kit_z(code[3]), KIT_NOW, &step), CHOPIN_AUTH_REPLAY);
    step = 0;
    chopin_totp_options none = { .window = -1 };
    CHECK_EQ_INT(chopin_totp_verify(&none, s, kit_z(code[1]), KIT_NOW, &step), CHOPIN_AUTH_MISMATCH);
    CHECK_EQ_INT(chopin_totp_verify(&none, s, kit_z(code[2]), KIT_NOW, &step), 0);
}

static void codes_and_secrets_are_checked(void) {
    static const char *const bad[] = { "", "12345", "1234567", "12345a", " 23456", "-12345", "12345\n" };
    chopin_str s = CHOPIN_STR("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    int64_t step = 0;
    char out[9];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) CHECK_EQ_INT(chopin_totp_verify(NULL, s, kit_z(bad[i]), KIT_NOW, &step), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(chopin_totp_at(NULL, CHOPIN_STR("GEZDGNBVGY3TQOJQGEZDGNBV"), 1, out), CHOPIN_AUTH_WEAK_KEY);                     // 15 bytes
    CHECK_EQ_INT(chopin_totp_at(NULL, CHOPIN_STR("GEZDGNBVGY3TQOJQGEZDGNBVGY"), 1, out), 0);                                      // 16
    CHECK_EQ_INT(chopin_totp_at(NULL, CHOPIN_STR("gezdgnbvgy3tqojqgezdgnbvgy3tqojq"), 1, out), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(chopin_totp_at(NULL, s, -1, out), CHOPIN_AUTH_ARG);
    CHECK_EQ_INT(chopin_totp_at(&(chopin_totp_options){ .digits = 9 }, s, 1, out), CHOPIN_AUTH_ARG);
    CHECK_EQ_INT(chopin_totp_at(&(chopin_totp_options){ .window = 3 }, s, 1, out), CHOPIN_AUTH_ARG);
    CHECK_EQ_INT(chopin_hotp_at(CHOPIN_AUTH_SHA1, CHOPIN_STR("short"), 0, 6, out), CHOPIN_AUTH_WEAK_KEY);
}

static void uri_is_what_apps_read(void) {
    char out[300];
    int n = chopin_totp_uri(CHOPIN_STR("My Shop"), CHOPIN_STR("ann@example.com"), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", out, sizeof out);
    CHECK(n > 0);
    CHECK_STR(kit_z(out), "otpauth://totp/My%20Shop:ann%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=My%20Shop&algorithm=SHA1&digits=6&period=30");
    CHECK_EQ_INT(chopin_totp_uri(CHOPIN_STR("a:b"), CHOPIN_STR("c"), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", out, sizeof out), CHOPIN_AUTH_ARG);
    CHECK_EQ_INT(chopin_totp_uri(CHOPIN_STR("a"), CHOPIN_STR("c"), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", out, (size_t)20), CHOPIN_AUTH_BUFFER);
    CHECK_EQ_INT(chopin_totp_uri(CHOPIN_STR("a"), CHOPIN_STR("c"), "no base32!", out, sizeof out), CHOPIN_AUTH_FORMAT);
}

static void hotp_moves_its_counter(void) {
    chopin_str s = CHOPIN_STR("12345678901234567890");
    uint64_t counter = 0;
    CHECK_EQ_INT(chopin_hotp_verify(CHOPIN_AUTH_SHA1, s, CHOPIN_STR("359152"), 5, &counter), 0);                   // counter 2
    CHECK_EQ_INT(counter, 3);
    CHECK_EQ_INT(chopin_hotp_verify(CHOPIN_AUTH_SHA1, s, CHOPIN_STR("359152"), 5, &counter), CHOPIN_AUTH_MISMATCH);
    CHECK_EQ_INT(chopin_hotp_verify(CHOPIN_AUTH_SHA1, s, CHOPIN_STR("520489"), 5, &counter), CHOPIN_AUTH_MISMATCH);  // counter 9: too far
    CHECK_EQ_INT(chopin_hotp_verify(CHOPIN_AUTH_SHA1, s, CHOPIN_STR("520489"), 6, &counter), 0);
    CHECK_EQ_INT(chopin_hotp_verify(CHOPIN_AUTH_SHA1, s, CHOPIN_STR("12"), 6, &counter), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(chopin_hotp_verify(CHOPIN_AUTH_SHA1, s, CHOPIN_STR("123456"), 51, &counter), CHOPIN_AUTH_ARG);
}

static chopin_auth_record records[200];
static chopin_auth_memory memory;
static chopin_auth_store  store;
static char codes[10][20];
static _Atomic(int) wins;
static void *user_of_code(void *arg) { if (chopin_auth_recovery_use(&store, CHOPIN_STR("bob"), kit_z(arg), KIT_NOW) == 0) atomic_fetch_add(&wins, 1); return NULL; }

static void recovery_codes_burn(void) {
    char old[20];
    pthread_t threads[2];
    CHECK_EQ_INT(chopin_auth_store_init(&store, &memory, records, sizeof records), 0);
    CHECK_EQ_INT(chopin_auth_recovery_new(&store, CHOPIN_STR("bob"), KIT_NOW, codes), 0);
    for (int i = 0; i < 10; i++) CHECK_EQ_INT(strlen(codes[i]), 19);
    CHECK_EQ_INT(chopin_auth_recovery_use(&store, CHOPIN_STR("eve"), kit_z(codes[0]), KIT_NOW), CHOPIN_AUTH_MISMATCH);
    CHECK_EQ_INT(chopin_auth_recovery_use(&store, CHOPIN_STR("bob"), kit_z(codes[0]), KIT_NOW), 0);
    CHECK_EQ_INT(chopin_auth_recovery_use(&store, CHOPIN_STR("bob"), kit_z(codes[0]), KIT_NOW), CHOPIN_AUTH_REPLAY);
    for (int i = 0; i < 20; i++) old[i] = codes[1][i] >= 'A' && codes[1][i] <= 'Z' ? (char)(codes[1][i] | 32) : codes[1][i] == '-' ? ' ' : codes[1][i];
    CHECK_EQ_INT(chopin_auth_recovery_use(&store, CHOPIN_STR("bob"), kit_z(old), KIT_NOW), 0);                     // as people type
    for (int i = 2; i < 6; i++) {
        atomic_store(&wins, 0);
        for (int k = 0; k < 2; k++) pthread_create(&threads[k], NULL, user_of_code, codes[i]);
        for (int k = 0; k < 2; k++) pthread_join(threads[k], NULL);
        CHECK_EQ_INT(atomic_load(&wins), 1);
    }
    memcpy(old, codes[9], 20);
    CHECK_EQ_INT(chopin_auth_recovery_new(&store, CHOPIN_STR("bob"), KIT_NOW, codes), 0);
    CHECK_EQ_INT(chopin_auth_recovery_use(&store, CHOPIN_STR("bob"), kit_z(old), KIT_NOW), CHOPIN_AUTH_MISMATCH);  // the new set replaces the old
    CHECK_EQ_INT(chopin_auth_recovery_use(&store, CHOPIN_STR("bob"), CHOPIN_STR("AAAA-AAAA-AAAA"), KIT_NOW), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(chopin_auth_recovery_use(&store, CHOPIN_STR("bob"), CHOPIN_STR("1111-1111-1111-1111"), KIT_NOW), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(chopin_auth_recovery_use(&store, CHOPIN_STR("bob"), CHOPIN_STR(""), KIT_NOW), CHOPIN_AUTH_FORMAT);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(vectors_match);
    RUN(totp_accepts_a_step_once);
    RUN(codes_and_secrets_are_checked);
    RUN(uri_is_what_apps_read);
    RUN(hotp_moves_its_counter);
    RUN(recovery_codes_burn);
    return TEST_END();
}
