/* test_auth_password.c - hash strings, limits, pool, login: AUTH.md 3.5 */
#include "auth.h"
#include "test.h"
#include "vectors.h"
#include "auth_kit.h"

#define CHEAP { CHOPIN_AUTH_PW_ARGON2ID, 64, 1, 1, 0, 0, 0 }
static chopin_password_pool pool;
static char hash[CHOPIN_AUTH_PW_TEXT], again[CHOPIN_AUTH_PW_TEXT];
static const chopin_str right = { "correct horse battery", 21 }, wrong = { "correct horse batterz", 21 };

static int open_pool(chopin_password_options o) {
    if (!o.params.kind) o.params = (chopin_password_params)CHEAP;
    if (!o.arena_kib) o.arena_kib = 4096;
    int rc = chopin_password_pool_init(&pool, &o);
    if (rc < 0) printf("pool: %s\n", pool.problem ? pool.problem : chopin_auth_name(rc));
    return rc;
}
static uint64_t computed(void) { return atomic_load(&pool.hashes); }

static void hash_strings_are_parsed_whole(void) {
    static const char *const good = "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA";
    static const char *const bad[] = { "", "$", "x", "$argon2id$", "argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweA", "$argon2id$m=64,t=1,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweA", "$argon2id$v=16$m=64,t=1,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweA",
        "$argon2id$v=19$t=1,m=64,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweA", "$argon2id$v=19$m=064,t=1,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweA", "$argon2id$v=19$m=+64,t=1,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweA", "$argon2id$v=19$m= 64,t=1,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweA",
        "$argon2id$v=19$m=64,t=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweA", "$argon2id$v=19$m=64,t=1,p=1,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweA", "$argon2id$v=19$m=64,t=1,p=1,x=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweA", "$argon2id$v=19$m=64,t=1,p=1,data=AAAA$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweA",
        "$argon2id$v=19$m=64,t=1,p=1,keyid=$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweA", "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ=$wWKIMhR9lyDFvRz9YTZweA", "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHR$wWKIMhR9lyDFvRz9YTZweA", "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweA==",
        "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweB", "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweA$", "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweA ", "$argon2id$v=19$m=64,t=1,p=1$c29tZXNh$wWKIMhR9lyDFvRz9YTZweA", "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZw",
        "$argon2id$v=19$m=4294967360,t=1,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweA", "$argon2id$v=19$m=99999999999999999999,t=1,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweA", "$Argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweA", "$argon2id$v=19$m=64,t=1,p=1$$wWKIMhR9lyDFvRz9YTZweA",
        "$scrypt$ln=4,r=8$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweA", "$pbkdf2-sha256$i=1,l=15$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweA", "$pbkdf2-sha256$l=16,i=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweA", "$pbkdf2$i=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweA",
        "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOe", "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeWW", "$2b$5$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "$2b$05$CCCCCCCCCCCCCCCCCCCCC+E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "$2b$05$CCCCCCCCCCCCCCCCCCCCCCE5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$2c$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "$1$abc$def", "plaintext" };
    chopin_auth__pw h;
    CHECK_EQ_INT(chopin_auth__pw_parse(kit_z(good), &h), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) if (!CHECK_EQ_INT(chopin_auth__pw_parse(kit_z(bad[i]), &h), CHOPIN_AUTH_HASH)) printf("  %s\n", bad[i]);
    char longer[600];
    memset(longer, 'A', sizeof longer);
    memcpy(longer, good, strlen(good));
    CHECK_EQ_INT(chopin_auth__pw_parse((chopin_str){ longer, 513 }, &h), CHOPIN_AUTH_HASH);
    for (size_t n = 0; n < strlen(good) - 20; n++) CHECK(chopin_auth__pw_parse((chopin_str){ good, n }, &h) == CHOPIN_AUTH_HASH);
}

/* One row a case: what is refused to verify is refused to hash, in microseconds and without a map call. */
static void parameters_are_bounded_before_allocation(void) {
    static const struct { chopin_password_params p; bool ok; } rows[] = {
        { { CHOPIN_AUTH_PW_ARGON2ID, 8, 1, 1, 0, 0, 0 }, true }, { { CHOPIN_AUTH_PW_ARGON2ID, 7, 1, 1, 0, 0, 0 }, false }, { { CHOPIN_AUTH_PW_ARGON2ID, 127, 1, 16, 0, 0, 0 }, false }, { { CHOPIN_AUTH_PW_ARGON2ID, 128, 1, 16, 0, 0, 0 }, true },
        { { CHOPIN_AUTH_PW_ARGON2ID, 262144, 4, 1, 0, 0, 0 }, true }, { { CHOPIN_AUTH_PW_ARGON2ID, 262144, 5, 1, 0, 0, 0 }, false }, { { CHOPIN_AUTH_PW_ARGON2ID, 262145, 1, 1, 0, 0, 0 }, false }, { { CHOPIN_AUTH_PW_ARGON2ID, 4194304, 1, 1, 0, 0, 0 }, false },
        { { CHOPIN_AUTH_PW_ARGON2ID, 64, 0, 1, 0, 0, 0 }, false }, { { CHOPIN_AUTH_PW_ARGON2ID, 64, 16, 1, 0, 0, 0 }, true }, { { CHOPIN_AUTH_PW_ARGON2ID, 64, 17, 1, 0, 0, 0 }, false }, { { CHOPIN_AUTH_PW_ARGON2I, 64, 1, 0, 0, 0, 0 }, false }, { { CHOPIN_AUTH_PW_ARGON2I, 4096, 1, 17, 0, 0, 0 }, false },
        { { CHOPIN_AUTH_PW_SCRYPT, 0, 0, 1, 18, 8, 0 }, true }, { { CHOPIN_AUTH_PW_SCRYPT, 0, 0, 1, 19, 8, 0 }, false }, { { CHOPIN_AUTH_PW_SCRYPT, 0, 0, 16, 10, 8, 0 }, true }, { { CHOPIN_AUTH_PW_SCRYPT, 0, 0, 17, 10, 8, 0 }, false }, { { CHOPIN_AUTH_PW_SCRYPT, 0, 0, 1, 0, 8, 0 }, false }, { { CHOPIN_AUTH_PW_SCRYPT, 0, 0, 1, 10, 0, 0 }, false },
        { { CHOPIN_AUTH_PW_PBKDF2_SHA256, 0, 0, 0, 0, 0, 5000000 }, true }, { { CHOPIN_AUTH_PW_PBKDF2_SHA256, 0, 0, 0, 0, 0, 5000001 }, false }, { { CHOPIN_AUTH_PW_PBKDF2_SHA512, 0, 0, 0, 0, 0, 0 }, false },
        { { CHOPIN_AUTH_PW_BCRYPT, 0, 0, 0, 0, 0, 4 }, true }, { { CHOPIN_AUTH_PW_BCRYPT, 0, 0, 0, 0, 0, 3 }, false }, { { CHOPIN_AUTH_PW_BCRYPT, 0, 0, 0, 0, 0, 14 }, true }, { { CHOPIN_AUTH_PW_BCRYPT, 0, 0, 0, 0, 0, 15 }, false } };
    char text[300];
    chopin_auth__pw h;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        memset(&h, 0, sizeof h);
        h.p = rows[i].p, h.salt_len = 16, h.tag_len = h.p.kind == CHOPIN_AUTH_PW_BCRYPT ? 23 : 32;
        CHECK_EQ_INT(chopin_auth__pw_limits(&rows[i].p), rows[i].ok ? 0 : CHOPIN_AUTH_LIMIT);
        int n = chopin_auth__pw_format(&h, text, sizeof text);
        if (CHECK(n > 0)) { int rc = chopin_auth__pw_parse(kit_z(text), &h); if (!CHECK_EQ_INT(rc, rows[i].ok ? 0 : CHOPIN_AUTH_LIMIT)) printf("  %s\n", text); }
        if (rows[i].ok) continue;
        chopin_password_pool none;
        CHECK_EQ_INT(chopin_password_pool_init(&none, &(chopin_password_options){ .params = rows[i].p, .arenas = 1 }), CHOPIN_AUTH_CONFIG);
    }
    CHECK_EQ_INT(open_pool((chopin_password_options){ .arenas = 1 }), 0);
    uint64_t before = computed();
    CHECK_EQ_INT(chopin_password_verify(&pool, CHOPIN_STR("$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweA"), right), CHOPIN_AUTH_LIMIT);
    CHECK_EQ_INT(computed() - before, 1);                                                                       // today's hash alone
    CHECK_EQ_INT(chopin_password_verify(&pool, CHOPIN_STR("$argon2id$v=19$m=8192,t=1,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweA"), right), CHOPIN_AUTH_LIMIT);   // over the arena: never more memory
    chopin_password_pool_done(&pool);
}

static int verdict(chopin_str stored, chopin_str password) {           // below the policy: vectors have empty passwords
    chopin_auth__pw h;
    bool made;
    int rc = chopin_auth__pw_parse(stored, &h);
    return rc < 0 ? rc : chopin_auth__pw_matches(&pool, 0, &h, password, &made);
}
static chopin_str plain(vec *v, const char *name, char *out) {
    char *p = vec_find(v, v->line, v->end, name), *q = p ? strchr(p + 1, '"') : NULL;
    if (!CHECK(q != NULL)) return (chopin_str){ "", 0 };
    memcpy(out, p + 1, (size_t)(q - p - 1));
    out[q - p - 1] = 0;
    return (chopin_str){ out, (size_t)(q - p - 1) };
}

static void vectors_match(void) {
    vec v;
    char text[600], word[100], password[100];
    CHECK_EQ_INT(open_pool((chopin_password_options){ .arenas = 1, .arena_kib = 140000 }), 0);
    int n = 0;
    for (vec_open(&v, "phc/phc.json"); vec_next(&v, "phc"); n++) {
        chopin_str stored = plain(&v, "phc", text);
        if (!CHECK_EQ_INT(verdict(stored, vec_hex(&v, "password")), 0)) printf("  %s\n", text);
        CHECK_EQ_INT(verdict(stored, CHOPIN_STR("no")), CHOPIN_AUTH_MISMATCH);
    }
    vec_close(&v, 8);
    CHECK_EQ_INT(n, 8);
    n = 0;
    for (vec_open(&v, "bcrypt/bcrypt.json"); vec_next(&v, "bcrypt"); n++) {
        chopin_str stored = plain(&v, "phc", text), expect = plain(&v, "expect", word), typed = vec_hex(&v, "password");
        int rc = verdict(stored, typed), want = strcmp(expect.ptr, "match") == 0 && typed.len <= 72 ? 0 : strcmp(expect.ptr, "refuse") == 0 ? CHOPIN_AUTH_UNSUPPORTED : CHOPIN_AUTH_MISMATCH;
        if (!CHECK_EQ_INT(rc, want)) printf("  %s\n", text);
        pool.o.bcrypt_truncate = true;
        if (typed.len > 72) CHECK_EQ_INT(verdict(stored, typed), 0);
        pool.o.bcrypt_truncate = false;
    }
    vec_close(&v, 14);
    CHECK_EQ_INT(n, 14);
    n = 0;
    for (vec_open(&v, "argon2/argon2.json"); vec_next(&v, "hash");) {
        if (vec_int(&v, "m_kib") > 70000 || !vec_has(&v, "phc")) continue;
        chopin_str stored = plain(&v, "phc", text), typed = plain(&v, "password", password);
        int rc = verdict(stored, typed);
        if (vec_int(&v, "v") == 16) CHECK(rc < 0 && rc != CHOPIN_AUTH_MISMATCH);
        else if (!CHECK_EQ_INT(rc, 0)) printf("  %s\n", text);
        n++;
    }
    vec_close(&v, 26);
    CHECK(n >= 15);
    for (vec_open(&v, "argon2/argon2.json"); vec_next(&v, "refused");) if (vec_has(&v, "phc")) CHECK(verdict(plain(&v, "phc", text), plain(&v, "password", password)) < 0);
    vec_close(&v, 10);
    chopin_password_pool_done(&pool);
}

static void every_kind_hashes_and_verifies(void) {
    static const chopin_password_params kinds[] = { CHEAP, { CHOPIN_AUTH_PW_ARGON2I, 64, 2, 2, 0, 0, 0 }, { CHOPIN_AUTH_PW_SCRYPT, 0, 0, 1, 4, 8, 0 }, { CHOPIN_AUTH_PW_PBKDF2_SHA256, 0, 0, 0, 0, 0, 10 },
        { CHOPIN_AUTH_PW_PBKDF2_SHA512, 0, 0, 0, 0, 0, 10 }, { CHOPIN_AUTH_PW_BCRYPT, 0, 0, 0, 0, 0, 4 } };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        CHECK_EQ_INT(open_pool((chopin_password_options){ .params = kinds[i], .arenas = 1 }), 0);
        int n = chopin_password_hash(&pool, right, hash, sizeof hash);
        if (!CHECK(n > 0 && strlen(hash) == (size_t)n)) continue;
        CHECK_EQ_INT(chopin_password_verify(&pool, kit_z(hash), right), 0);
        CHECK_EQ_INT(chopin_password_verify(&pool, kit_z(hash), wrong), CHOPIN_AUTH_MISMATCH);
        CHECK_EQ_INT(chopin_password_login(&pool, kit_z(hash), right, again), 0);
        CHECK(again[0] == 0);
        CHECK_EQ_INT(chopin_password_hash(&pool, right, again, (size_t)n), CHOPIN_AUTH_BUFFER);
        CHECK_EQ_INT(chopin_password_hash(&pool, right, again, (size_t)n + 1), n);
        CHECK(strcmp(hash, again) != 0);                                                                        // another salt
        chopin_password_pool_done(&pool);
    }
}

static void bcrypt_says_72_bytes(void) {
    char longer[80];
    memset(longer, 'a', sizeof longer);
    CHECK_EQ_INT(open_pool((chopin_password_options){ .params = { .kind = CHOPIN_AUTH_PW_BCRYPT, .rounds = 4 }, .arenas = 1 }), 0);
    CHECK(chopin_password_hash(&pool, (chopin_str){ longer, 72 }, hash, sizeof hash) == 60);
    CHECK_EQ_INT(chopin_password_hash(&pool, (chopin_str){ longer, 73 }, again, sizeof again), CHOPIN_AUTH_SIZE);
    CHECK_EQ_INT(chopin_password_hash(&pool, CHOPIN_STR("twelve bytes\0and more"), again, sizeof again), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(chopin_password_verify(&pool, kit_z(hash), (chopin_str){ longer, 72 }), 0);
    CHECK_EQ_INT(chopin_password_verify(&pool, kit_z(hash), (chopin_str){ longer, 73 }), CHOPIN_AUTH_MISMATCH);
    pool.o.bcrypt_truncate = true;
    CHECK_EQ_INT(chopin_password_verify(&pool, kit_z(hash), (chopin_str){ longer, 73 }), 0);
    CHECK_EQ_INT(chopin_password_hash(&pool, (chopin_str){ longer, 73 }, again, sizeof again), CHOPIN_AUTH_SIZE);
    chopin_password_pool_done(&pool);
}

static void bcrypt_variants(void) {
    CHECK_EQ_INT(open_pool((chopin_password_options){ .arenas = 1 }), 0);
    char text[] = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    for (const char *letter = "aby"; *letter; letter++) { text[2] = *letter; CHECK_EQ_INT(verdict(kit_z(text), CHOPIN_STR("U*U")), 0); }
    chopin_auth__pw h;
    text[2] = 'x';
    CHECK_EQ_INT(chopin_auth__pw_parse(kit_z(text), &h), CHOPIN_AUTH_UNSUPPORTED);
    CHECK_EQ_INT(chopin_password_verify(&pool, kit_z(text), right), CHOPIN_AUTH_HASH);
    chopin_password_pool_done(&pool);
}

static void refusals_take_as_long(void) {
    static char longer[1100];
    memset(longer, 'a', sizeof longer);
    CHECK_EQ_INT(open_pool((chopin_password_options){ .arenas = 1 }), 0);
    CHECK(chopin_password_hash(&pool, right, hash, sizeof hash) > 0);
    const char *const bcrypt = "$2b$04$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    const struct { chopin_str stored, password; int rc; } rows[] = {
        { kit_z(hash), right, 0 }, { kit_z(hash), wrong, CHOPIN_AUTH_MISMATCH }, { { NULL, 0 }, right, CHOPIN_AUTH_MISMATCH }, { CHOPIN_STR(""), right, CHOPIN_AUTH_MISMATCH }, { CHOPIN_STR("garbage"), right, CHOPIN_AUTH_HASH },
        { kit_z(hash), { longer, 1025 }, CHOPIN_AUTH_MISMATCH }, { kit_z(hash), { NULL, 0 }, CHOPIN_AUTH_MISMATCH }, { kit_z(bcrypt), CHOPIN_STR("a\0b"), CHOPIN_AUTH_MISMATCH }, { kit_z(bcrypt), { longer, 73 }, CHOPIN_AUTH_MISMATCH },
        { CHOPIN_STR("$2x$04$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"), right, CHOPIN_AUTH_HASH } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t before = computed();
        CHECK_EQ_INT(chopin_password_verify(&pool, rows[i].stored, rows[i].password), rows[i].rc);
        if (!CHECK_EQ_INT(computed() - before, 1)) printf("  row %zu\n", i);
    }
    chopin_password_pool_done(&pool);
}

static void tag_compare_is_whole(void) {
    CHECK_EQ_INT(open_pool((chopin_password_options){ .params = { .kind = CHOPIN_AUTH_PW_PBKDF2_SHA256, .rounds = 1 }, .arenas = 1 }), 0);
    int n = chopin_password_hash(&pool, right, hash, sizeof hash);
    chopin_auth__pw h;
    CHECK_EQ_INT(chopin_auth__pw_parse((chopin_str){ hash, (size_t)n }, &h), 0);
    for (size_t i = 0; i < h.tag_len; i++) for (int bit = 0; bit < 8; bit++) {
        chopin_auth__pw changed = h;
        changed.tag[i] = (uint8_t)(changed.tag[i] ^ 1 << bit);
        CHECK(chopin_auth__pw_format(&changed, again, sizeof again) == n);
        CHECK_EQ_INT(chopin_password_verify(&pool, kit_z(again), right), CHOPIN_AUTH_MISMATCH);
    }
    h.tag_len = 16;                                                     // PBKDF2's shorter outputs are prefixes: a stored prefix is what was stored, and is weak
    CHECK(chopin_auth__pw_format(&h, again, sizeof again) > 0);
    char fresh[CHOPIN_AUTH_PW_TEXT];
    CHECK(chopin_password_login(&pool, kit_z(again), right, fresh) > 0);
    chopin_password_pool_done(&pool);
}

static void rehash_in_the_same_call(void) {
    static const chopin_password_params weaker[] = { { CHOPIN_AUTH_PW_ARGON2ID, 64, 2, 2, 0, 0, 0 }, { CHOPIN_AUTH_PW_ARGON2ID, 128, 1, 2, 0, 0, 0 }, { CHOPIN_AUTH_PW_ARGON2ID, 128, 2, 1, 0, 0, 0 },
        { CHOPIN_AUTH_PW_ARGON2I, 128, 2, 2, 0, 0, 0 }, { CHOPIN_AUTH_PW_SCRYPT, 0, 0, 1, 4, 8, 0 }, { CHOPIN_AUTH_PW_PBKDF2_SHA512, 0, 0, 0, 0, 0, 10 }, { CHOPIN_AUTH_PW_BCRYPT, 0, 0, 0, 0, 0, 4 } };
    static const chopin_password_params equal[] = { { CHOPIN_AUTH_PW_ARGON2ID, 128, 2, 2, 0, 0, 0 }, { CHOPIN_AUTH_PW_ARGON2ID, 256, 3, 4, 0, 0, 0 } };
    for (size_t i = 0; i < 9; i++) {
        CHECK_EQ_INT(open_pool((chopin_password_options){ .params = i < 7 ? weaker[i] : equal[i - 7], .arenas = 1 }), 0);
        CHECK(chopin_password_hash(&pool, right, hash, sizeof hash) > 0);
        chopin_password_pool_done(&pool);
        CHECK_EQ_INT(open_pool((chopin_password_options){ .params = equal[0], .arenas = 1 }), 0);
        CHECK_EQ_INT(chopin_password_login(&pool, kit_z(hash), wrong, again), CHOPIN_AUTH_MISMATCH);
        CHECK(again[0] == 0);
        int n = chopin_password_login(&pool, kit_z(hash), right, again);
        if (i < 7) { CHECK(n > 0 && strlen(again) == (size_t)n && chopin_password_login(&pool, kit_z(again), right, hash) == 0); }
        else CHECK(n == 0 && again[0] == 0);
        chopin_password_pool_done(&pool);
    }
}

static void pepper_is_needed_when_present(void) {
    const chopin_auth_pepper one = { CHOPIN_STR("p1"), CHOPIN_STR("0123456789abcdef") }, two = { CHOPIN_STR("p2"), CHOPIN_STR("fedcba9876543210") }, fake = { CHOPIN_STR("p1"), CHOPIN_STR("another secret!!") };
    const chopin_auth_pepper both[] = { two, one };
    CHECK_EQ_INT(open_pool((chopin_password_options){ .arenas = 1, .peppers = &one, .peppers_count = 1 }), 0);
    CHECK(chopin_password_hash(&pool, right, hash, sizeof hash) > 0);
    CHECK(strstr(hash, ",keyid=cDE$") != NULL);
    CHECK_EQ_INT(chopin_password_login(&pool, kit_z(hash), right, again), 0);
    chopin_password_pool_done(&pool);
    CHECK_EQ_INT(open_pool((chopin_password_options){ .arenas = 1 }), 0);
    uint64_t before = computed();
    CHECK_EQ_INT(chopin_password_verify(&pool, kit_z(hash), right), CHOPIN_AUTH_MISMATCH);
    CHECK_EQ_INT(computed() - before, 1);
    chopin_password_pool_done(&pool);
    CHECK_EQ_INT(open_pool((chopin_password_options){ .arenas = 1, .peppers = &fake, .peppers_count = 1 }), 0);
    CHECK_EQ_INT(chopin_password_verify(&pool, kit_z(hash), right), CHOPIN_AUTH_MISMATCH);
    chopin_password_pool_done(&pool);
    CHECK_EQ_INT(open_pool((chopin_password_options){ .arenas = 1, .peppers = both, .peppers_count = 2 }), 0);
    CHECK(chopin_password_login(&pool, kit_z(hash), right, again) > 0);                                         // rotated: hashed anew under p2
    CHECK(strstr(again, ",keyid=cDI$") != NULL);
    CHECK_EQ_INT(chopin_password_login(&pool, kit_z(again), right, hash), 0);
    chopin_password_pool_done(&pool);
    const chopin_auth_pepper twice[] = { one, one }, weak = { CHOPIN_STR("p"), CHOPIN_STR("short") };
    CHECK_EQ_INT(chopin_password_pool_init(&pool, &(chopin_password_options){ .peppers = twice, .peppers_count = 2 }), CHOPIN_AUTH_CONFIG);
    CHECK_EQ_INT(chopin_password_pool_init(&pool, &(chopin_password_options){ .peppers = &weak, .peppers_count = 1 }), CHOPIN_AUTH_CONFIG);
    CHECK_EQ_INT(chopin_password_pool_init(&pool, &(chopin_password_options){ .params = { .kind = CHOPIN_AUTH_PW_BCRYPT, .rounds = 4 }, .peppers = &one, .peppers_count = 1 }), CHOPIN_AUTH_CONFIG);
}

static long resident_kib(void) {
    long pages = 0, ignored;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%ld %ld", &ignored, &pages) != 2) pages = 0;
    if (f) fclose(f);
    return pages * 4;
}

static void pool_is_the_ceiling(void) {
    CHECK_EQ_INT(open_pool((chopin_password_options){ .arenas = 2 }), 0);
    CHECK(chopin_password_hash(&pool, right, hash, sizeof hash) > 0);
    int one = chopin_auth__pool_take(&pool), two = chopin_auth__pool_take(&pool);
    CHECK(one >= 0 && two >= 0 && one != two);
    CHECK_EQ_INT(chopin_password_verify(&pool, kit_z(hash), right), CHOPIN_AUTH_BUSY);
    CHECK_EQ_INT(chopin_password_login(&pool, kit_z(hash), right, again), CHOPIN_AUTH_BUSY);
    CHECK_EQ_INT(chopin_password_hash(&pool, right, again, sizeof again), CHOPIN_AUTH_BUSY);
    chopin_auth__pool_give(&pool, one);
    CHECK_EQ_INT(chopin_password_verify(&pool, kit_z(hash), right), 0);
    chopin_auth__pool_give(&pool, two);
    long before = resident_kib();
    for (int i = SMALL ? 9500 : 0; i < 10000; i++) if (chopin_password_login(&pool, kit_z(hash), i % 2 ? right : wrong, again) != (i % 2 ? 0 : CHOPIN_AUTH_MISMATCH)) { CHECK(false && "login"); break; }
    CHECK(resident_kib() - before < 400);
    for (size_t i = 0; i < chopin_argon2_arena(64, 1, 1); i++) if (pool.memory[i]) { CHECK(false && "arena contents are gone after release"); break; }
    chopin_password_pool_done(&pool);
    CHECK_EQ_INT(chopin_password_verify(&pool, kit_z(hash), right), CHOPIN_AUTH_CONFIG);
}

static void password_length_is_capped(void) {
    static char longer[1100];
    memset(longer, 'a', sizeof longer);
    CHECK_EQ_INT(open_pool((chopin_password_options){ .arenas = 1 }), 0);
    uint64_t before = computed();
    CHECK_EQ_INT(chopin_password_hash(&pool, (chopin_str){ longer, 1025 }, hash, sizeof hash), CHOPIN_AUTH_SIZE);
    CHECK_EQ_INT(chopin_password_hash(&pool, (chopin_str){ longer, 11 }, hash, sizeof hash), CHOPIN_AUTH_SIZE);
    CHECK_EQ_INT(chopin_password_hash(&pool, (chopin_str){ NULL, 0 }, hash, sizeof hash), CHOPIN_AUTH_SIZE);
    CHECK_EQ_INT(computed(), before);
    CHECK(chopin_password_hash(&pool, (chopin_str){ longer, 1024 }, hash, sizeof hash) > 0);
    CHECK_EQ_INT(chopin_password_verify(&pool, kit_z(hash), (chopin_str){ longer, 1024 }), 0);
    CHECK(chopin_password_hash(&pool, CHOPIN_STR("with a \0 inside"), hash, sizeof hash) > 0);
    CHECK_EQ_INT(chopin_password_verify(&pool, kit_z(hash), CHOPIN_STR("with a \0 inside")), 0);
    CHECK_EQ_INT(chopin_password_verify(&pool, kit_z(hash), CHOPIN_STR("with a \0 inSide")), CHOPIN_AUTH_MISMATCH);
    chopin_password_pool_done(&pool);
}

static int is_breached(void *ctx, chopin_str p) { (void)p; return *(int *)ctx; }
static void breach_hook_is_asked(void) {
    int answer = 1;
    CHECK_EQ_INT(open_pool((chopin_password_options){ .arenas = 1, .breached = is_breached, .breached_ctx = &answer }), 0);
    CHECK_EQ_INT(chopin_password_hash(&pool, right, hash, sizeof hash), CHOPIN_AUTH_FORBIDDEN);
    answer = CHOPIN_AUTH_STORE;
    CHECK_EQ_INT(chopin_password_hash(&pool, right, hash, sizeof hash), CHOPIN_AUTH_STORE);
    answer = 0;
    CHECK(chopin_password_hash(&pool, right, hash, sizeof hash) > 0);
    chopin_password_pool_done(&pool);
}

static void defaults_are_owasps_and_strong_is_rfc9106s(void) {
    CHECK_EQ_INT(chopin_password_pool_init(&pool, &(chopin_password_options){ .arenas = 1 }), 0);
    CHECK(chopin_password_hash(&pool, right, hash, sizeof hash) > 0);
    CHECK(strncmp(hash, "$argon2id$v=19$m=19456,t=2,p=1$", 31) == 0);
    CHECK_EQ_INT(chopin_password_verify(&pool, kit_z(hash), right), 0);
    chopin_password_pool_done(&pool);
    CHECK_EQ_INT(chopin_password_pool_init(&pool, &(chopin_password_options){ .arenas = 1, .params = CHOPIN_AUTH_PW_STRONG }), 0);
    CHECK(chopin_password_login(&pool, kit_z(hash), right, again) > 0);
    CHECK(strncmp(again, "$argon2id$v=19$m=65536,t=3,p=4$", 31) == 0);
    chopin_password_pool_done(&pool);
}

static void the_callers_memory_serves(void) {
    static _Alignas(64) uint8_t memory[2 * 80 * 1024];
    chopin_password_options o = { .params = CHEAP, .arenas = 2, .memory = memory, .memory_size = sizeof memory };
    CHECK_EQ_INT(chopin_password_pool_init(&pool, &o), 0);
    CHECK(chopin_password_hash(&pool, right, hash, sizeof hash) > 0);
    CHECK_EQ_INT(chopin_password_verify(&pool, kit_z(hash), right), 0);
    chopin_password_pool_done(&pool);
    o.memory_size = 1000;
    CHECK_EQ_INT(chopin_password_pool_init(&pool, &o), CHOPIN_AUTH_CONFIG);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(hash_strings_are_parsed_whole);
    RUN(parameters_are_bounded_before_allocation);
    RUN(vectors_match);
    RUN(every_kind_hashes_and_verifies);
    RUN(bcrypt_says_72_bytes);
    RUN(bcrypt_variants);
    RUN(refusals_take_as_long);
    RUN(tag_compare_is_whole);
    RUN(rehash_in_the_same_call);
    RUN(pepper_is_needed_when_present);
    RUN(pool_is_the_ceiling);
    RUN(password_length_is_capped);
    RUN(breach_hook_is_asked);
    RUN(defaults_are_owasps_and_strong_is_rfc9106s);
    RUN(the_callers_memory_serves);
    return TEST_END();
}
