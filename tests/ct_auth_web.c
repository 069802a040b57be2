/* Passwords, one-time codes, cookies, CSRF tokens, the secrets of sessions, API keys and tickets, with undefined secrets */
#include "ct.h"
#include "auth.h"
#include "test.h"

static uint8_t root[32];
static char    text[4096], other[4096];
static chopin_auth_cookie_ring ring;

static void secret_ring(void) {
    memset(root, 5, sizeof root), ct_secret(root, sizeof root);
    ct_sink = chopin_auth_cookie_ring_init(&ring, &(chopin_auth_cookie_key){ 1, chopin_auth__str(root, sizeof root) }, 1);
}
static void public_ring(void) { chopin_auth_cookie_ring_done(&ring), ct_public(&ring, sizeof ring), ct_public(text, sizeof text), ct_public(other, sizeof other); }

/* The one call for a login: password and pepper are secret, and so is the tag computed from them; the stored text is read in public. */
static void login(chopin_password_params params) {
    static char hash[CHOPIN_AUTH_PW_TEXT], fresh[CHOPIN_AUTH_PW_TEXT];
    char password[21] = "correct horse battery", pepper[33] = "thirty-two bytes of pepper, here";
    chopin_password_pool pool;
    ct_secret(pepper, sizeof pepper);
    chopin_auth_pepper peppers[1] = { { CHOPIN_STR("1"), { pepper, 32 } } };
    bool peppered = params.kind == CHOPIN_AUTH_PW_ARGON2ID;
    ct_sink = chopin_password_pool_init(&pool, &(chopin_password_options){ .params = params, .arenas = 1, .arena_kib = 1024, .peppers = peppered ? peppers : NULL, .peppers_count = peppered });
    if (ct_sink < 0) exit(3);
    int n = chopin_password_hash(&pool, (chopin_str){ password, sizeof password }, hash, sizeof hash);
    if (n < 0) exit(4);
    ct_public(hash, sizeof hash);
    for (int right = 0; right < 2; right++) {
        ct_secret(password, sizeof password);
        if (!right) password[20] ^= 1;
        ct_sink = chopin_password_login(&pool, (chopin_str){ hash, (size_t)n }, (chopin_str){ password, sizeof password }, fresh);
        if (!right) password[20] ^= 1;
        if ((ct_sink == 0) != right) exit(5);
        ct_public(hash, sizeof hash);
    }
    chopin_password_pool_done(&pool);
}
static void login_argon2(void) { login((chopin_password_params){ CHOPIN_AUTH_PW_ARGON2ID, 16, 1, 1, 0, 0, 0 }); }
static void login_scrypt(void) { login((chopin_password_params){ .kind = CHOPIN_AUTH_PW_SCRYPT, .log_n = 4, .r = 2, .p = 1 }); }
static void login_pbkdf2(void) { login((chopin_password_params){ .kind = CHOPIN_AUTH_PW_PBKDF2_SHA256, .rounds = 1000 }); }
static void login_bcrypt(void) { login((chopin_password_params){ .kind = CHOPIN_AUTH_PW_BCRYPT, .rounds = 4 }); }

static void one_time_codes(void) {
    char secret[33] = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", code[9];
    for (int hash = CHOPIN_AUTH_SHA256; hash <= CHOPIN_AUTH_SHA1; hash++) {
        chopin_totp_options o = { .hash = (chopin_auth_hash)hash };
        int64_t  step = 0;
        uint64_t counter = 3;
        ct_secret(secret, 32);
        ct_sink = chopin_totp_at(&o, (chopin_str){ secret, 32 }, 1700000000, code);
        ct_public(code, sizeof code);                                 // somebody types it
        ct_sink = chopin_totp_verify(&o, (chopin_str){ secret, 32 }, (chopin_str){ code, 6 }, 1700000000, &step);
        if (ct_sink != 0) exit(6);
        code[2] ^= 1;
        ct_sink = chopin_totp_verify(&o, (chopin_str){ secret, 32 }, (chopin_str){ code, 6 }, 1700000000, &step);
        ct_sink = chopin_hotp_verify((chopin_auth_hash)hash, (chopin_str){ secret, 32 }, (chopin_str){ code, 6 }, 3, &counter);
        ct_public(secret, 32), ct_public(code, sizeof code);
    }
}

static void cookies(void) {
    const chopin_auth_cookie c = { .name = CHOPIN_STR("cart"), .purpose = CHOPIN_STR("test"), .expires = 2000000000 }, now = { .name = c.name, .purpose = c.purpose, .expires = 1700000000 };
    char value[20] = "nobody may read this";
    for (int sealed = 0; sealed < 2; sealed++) {
        int (*close)(const chopin_auth_cookie_ring *, const chopin_auth_cookie *, chopin_str, char *, size_t) = sealed ? chopin_auth_cookie_seal : chopin_auth_cookie_sign;
        int (*open)(const chopin_auth_cookie_ring *, const chopin_auth_cookie *, chopin_str, char *, size_t) = sealed ? chopin_auth_cookie_unseal : chopin_auth_cookie_open;
        secret_ring();
        ct_secret(value, sizeof value);
        int n = close(&ring, &c, (chopin_str){ value, sizeof value }, text, sizeof text);
        if (n < 0) exit(7);
        ct_public(text, sizeof text);                                 // it travels
        ct_sink = open(&ring, &now, (chopin_str){ text, (size_t)n }, other, sizeof other);
        if (ct_sink != (int)sizeof value) exit(8);
        text[n - 5] = text[n - 5] == 'A' ? 'B' : 'A';
        ct_sink = open(&ring, &now, (chopin_str){ text, (size_t)n }, other, sizeof other);
        if (ct_sink >= 0) exit(9);
        public_ring();
    }
}

static void csrf(void) {
    char token[CHOPIN_AUTH_CSRF_TEXT];
    secret_ring();
    ct_sink = chopin_auth_csrf_token(&ring, CHOPIN_STR("session"), token);
    ct_public(token, sizeof token);
    ct_sink = chopin_auth_csrf_check(&ring, CHOPIN_STR("session"), (chopin_str){ token, sizeof token - 1 });
    if (ct_sink != 0) exit(10);
    ct_sink = chopin_auth_csrf_check(&ring, CHOPIN_STR("another"), (chopin_str){ token, sizeof token - 1 });
    public_ring();
}

/* What a browser or program shows us becomes the hash that it is stored by without a branch on it; the hash is looked up in public. */
static void secrets_to_ids(void) {
    char secret[CHOPIN_AUTH_SECRET_TEXT];
    uint8_t id[32];
    ct_sink = chopin_auth__secret_new(secret);
    ct_secret(secret, sizeof secret - 1);
    ct_sink = chopin_auth__secret_id("chopin session", (chopin_str){ secret, sizeof secret - 1 }, id);
    if (ct_sink != 0) exit(11);
    ct_sink = id[0] == 3;
    ct_sink = chopin_auth__ticket_id(CHOPIN_STR("reset"), (chopin_str){ secret, sizeof secret - 1 }, id);
    ct_sink = id[0] == 3;
    ct_public(secret, sizeof secret);
}

int main(int argc, char **argv) {
    CT_BEGIN(argc, argv);
    CT(login_argon2);
    CT(login_scrypt);
    CT(login_pbkdf2);
    CT(login_bcrypt);
    CT(one_time_codes);
    CT(cookies);
    CT(csrf);
    CT(secrets_to_ids);
    return CT_END();
}
