/* HKDF, PBKDF2, Argon2, scrypt, bcrypt: vectors on every path, limits, arenas, what failures leave behind */
#include "auth.h"
#include "test.h"
#include "vectors.h"
#include "paths.h"

static uint8_t out[1 << 16], out2[1 << 16];
static char *room;                                               // an arena for everything here, 2 MiB aligned
static size_t room_size = (size_t)258 << 20;

static bool all_bytes(const void *p, size_t n, uint8_t byte) {
    for (size_t i = 0; i < n; i++) if (((const uint8_t *)p)[i] != byte) return false;
    return true;
}

static void hkdf_rfc5869(void) {
    vec v;
    int n = 0;
    EACH_PATH(path) {
        for (n = 0, vec_open(&v, "rfc/rfc5869_hkdf.json"); vec_next(&v, NULL); n++) {
            chopin_str ikm = vec_hex(&v, "ikm"), salt = vec_hex(&v, "salt"), info = vec_hex(&v, "info"), prk = vec_hex(&v, "prk"), okm = vec_hex(&v, "okm");
            CHECK_EQ_INT(chopin_hkdf_extract(CHOPIN_AUTH_SHA256, salt, ikm, out), 0);
            CHECK(memcmp(out, prk.ptr, 32) == 0);
            CHECK_EQ_INT(chopin_hkdf_expand(CHOPIN_AUTH_SHA256, prk, info, out, okm.len), 0);
            CHECK(memcmp(out, okm.ptr, okm.len) == 0);
        }
        vec_close(&v, 3);
    }
}

static void hkdf_wycheproof(void) {
    vec v;
    int n = 0, refused = 0;
    for (vec_open(&v, "wycheproof/hkdf_sha256.json"); vec_next(&v, NULL); n++) {
        chopin_str ikm = vec_hex(&v, "ikm"), salt = vec_hex(&v, "salt"), info = vec_hex(&v, "info"), okm = vec_hex(&v, "okm");
        size_t size = (size_t)vec_int(&v, "size");
        uint8_t prk[32];
        memset(out, 0xaa, sizeof out);
        CHECK_EQ_INT(chopin_hkdf_extract(CHOPIN_AUTH_SHA256, salt, ikm, prk), 0);
        int rc = chopin_hkdf_expand(CHOPIN_AUTH_SHA256, chopin_auth__str(prk, 32), info, out, size);
        if (vec_is(&v, "result", "valid")) CHECK(rc == 0 && okm.len == size && memcmp(out, okm.ptr, size) == 0);
        else CHECK(rc == CHOPIN_AUTH_SIZE && all_bytes(out, size, 0)), refused++;
    }
    CHECK(refused > 0);
    vec_close(&v, 86);
}

static void hkdf_and_pbkdf2_bounds(void) {
    uint8_t prk[64] = { 1 };
    static const chopin_auth_hash hashes[] = { CHOPIN_AUTH_SHA256, CHOPIN_AUTH_SHA384, CHOPIN_AUTH_SHA512 };
    for (int i = 0; i < 3; i++) {
        size_t size = chopin_auth__hash_size(hashes[i]);
        CHECK_EQ_INT(chopin_hkdf_expand(hashes[i], chopin_auth__str(prk, size), CHOPIN_STR("x"), out, 255 * size), 0);
        memset(out, 0xaa, sizeof out);
        CHECK_EQ_INT(chopin_hkdf_expand(hashes[i], chopin_auth__str(prk, size), CHOPIN_STR("x"), out, 255 * size + 1), CHOPIN_AUTH_SIZE);
        CHECK(all_bytes(out, 255 * size + 1, 0) && out[255 * size + 1] == 0xaa);
        CHECK_EQ_INT(chopin_hkdf_expand(hashes[i], chopin_auth__str(prk, size - 1), CHOPIN_STR("x"), out, 32), CHOPIN_AUTH_SIZE);
        CHECK_EQ_INT(chopin_hkdf_expand(hashes[i], chopin_auth__str(prk, size), CHOPIN_STR("x"), out, 0), CHOPIN_AUTH_SIZE);
    }
    struct { chopin_auth_hash hash; uint32_t rounds; size_t n; int rc; } bad[] = {
        { CHOPIN_AUTH_SHA256, 0, 32, CHOPIN_AUTH_LIMIT }, { CHOPIN_AUTH_SHA256, CHOPIN_AUTH_PBKDF2_MAX + 1, 32, CHOPIN_AUTH_LIMIT }, { CHOPIN_AUTH_SHA256, UINT32_MAX, 32, CHOPIN_AUTH_LIMIT },
        { CHOPIN_AUTH_SHA256, 1, 0, CHOPIN_AUTH_SIZE }, { CHOPIN_AUTH_SHA1, 1, 32, CHOPIN_AUTH_UNSUPPORTED }, { (chopin_auth_hash)0, 1, 32, CHOPIN_AUTH_ARG }, { (chopin_auth_hash)77, 1, 32, CHOPIN_AUTH_ARG }
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memset(out, 0xaa, 64);
        CHECK_EQ_INT(chopin_pbkdf2_raw(bad[i].hash, CHOPIN_STR("p"), CHOPIN_STR("s"), bad[i].rounds, out, bad[i].n), bad[i].rc);
        CHECK(all_bytes(out, bad[i].n, 0) && out[bad[i].n] == 0xaa);
    }
    CHECK_EQ_INT(chopin_pbkdf2_raw(CHOPIN_AUTH_SHA256, CHOPIN_STR("p"), CHOPIN_STR("s"), 1, NULL, ((size_t)1 << 20) + 1), CHOPIN_AUTH_SIZE);
    memset(out, 0xaa, 64);
    CHECK_EQ_INT(chopin_hkdf_extract(CHOPIN_AUTH_SHA1, CHOPIN_STR("p"), CHOPIN_STR("s"), out), CHOPIN_AUTH_UNSUPPORTED);
    CHECK_EQ_INT(chopin_hkdf_extract((chopin_auth_hash)9, CHOPIN_STR("p"), CHOPIN_STR("s"), out + 32), CHOPIN_AUTH_ARG);
}

static void pbkdf2_case(vec *v, chopin_auth_hash hash, const char *rounds_name, bool all) {
    chopin_str password = vec_hex(v, "password"), salt = vec_hex(v, "salt"), dk = vec_hex(v, "dk");
    chopin_hmac k;
    long long rounds = vec_int(v, rounds_name);
    CHECK_EQ_INT(dk.len, vec_int(v, "dkLen"));
    if (rounds > (SMALL ? 5000 : all ? 5000000 : 50000)) return;      // long ones on one path
    chopin_auth__hmac_key(&k, hash, password);                  // below the public call, which refuses SHA-1
    chopin_auth__pbkdf2(&k, salt, (uint32_t)rounds, out, dk.len);
    CHECK(memcmp(out, dk.ptr, dk.len) == 0);
    if (hash == CHOPIN_AUTH_SHA1) return;
    memset(out, 0, dk.len);
    CHECK_EQ_INT(chopin_pbkdf2_raw(hash, password, salt, (uint32_t)rounds, out, dk.len), 0);
    CHECK(memcmp(out, dk.ptr, dk.len) == 0);
}

static void pbkdf2_vectors(void) {
    vec v;
    EACH_PATH(path) {
        for (vec_open(&v, "rfc/pbkdf2.json"); vec_next(&v, NULL);) pbkdf2_case(&v, strcmp(v.section, "sha1") == 0 ? CHOPIN_AUTH_SHA1 : CHOPIN_AUTH_SHA256, "iterations", path == 0);
        vec_close(&v, 8);
        for (vec_open(&v, "wycheproof/pbkdf2_hmacsha1.json"); vec_next(&v, NULL);) pbkdf2_case(&v, CHOPIN_AUTH_SHA1, "iterationCount", path == 0);
        vec_close(&v, 64);
        for (vec_open(&v, "wycheproof/pbkdf2_hmacsha256.json"); vec_next(&v, NULL);) pbkdf2_case(&v, CHOPIN_AUTH_SHA256, "iterationCount", path == 0);
        vec_close(&v, 60);
    }
}

/* SHA-384 and SHA-512 have no vectors of their own in the folder: the two rows of phc.json do for SHA-512, and the definition, written out slowly, for all. */
static void pbkdf2_is_its_definition(void) {
    EACH_PATH(path) {
        for (int hash = CHOPIN_AUTH_SHA256; hash <= CHOPIN_AUTH_SHA512; hash++) {
            uint8_t u[64], t[64], salt[9] = "salt\0\0\0\1";
            size_t size = chopin_auth__hash_size((chopin_auth_hash)hash);
            chopin_hmac k;
            CHECK_EQ_INT(chopin_hmac_key(&k, (chopin_auth_hash)hash, CHOPIN_STR("password")), 0);
            chopin_hmac_sign(&k, chopin_auth__str(salt, 8), u);
            memcpy(t, u, 64);
            for (uint32_t rounds = 1; rounds < 40; rounds++) {
                CHECK_EQ_INT(chopin_pbkdf2_raw((chopin_auth_hash)hash, CHOPIN_STR("password"), CHOPIN_STR("salt"), rounds, out, size), 0);
                CHECK(memcmp(out, t, size) == 0);
                chopin_hmac_sign(&k, chopin_auth__str(u, size), u);
                for (size_t i = 0; i < size; i++) t[i] ^= u[i];
            }
        }
    }
}

static chopin_argon2_kind kind_of(vec *v) {
    return vec_is(v, "type", "argon2d") ? CHOPIN_AUTH_ARGON2D : vec_is(v, "type", "argon2i") ? CHOPIN_AUTH_ARGON2I : CHOPIN_AUTH_ARGON2ID;
}

static void argon2_rfc9106_with_every_block(void) {
    vec v;
    int cases = 0;
    EACH_PATH(path) {
        for (vec_open(&v, "argon2/argon2_kat.json"); vec_next(&v, "kat");) {
            if (vec_int(&v, "v") != 19) continue;
            chopin_argon2_options o = { .kind = kind_of(&v), .m_kib = (uint32_t)vec_int(&v, "m_kib"), .t = (uint32_t)vec_int(&v, "t"), .p = (uint32_t)vec_int(&v, "p"), .secret = vec_hex(&v, "secret"), .data = vec_hex(&v, "ad") };
            chopin_str password = vec_hex(&v, "password"), salt = vec_hex(&v, "salt"), tag = vec_hex(&v, "tag"), h0 = vec_hex(&v, "h0");
            CHECK_EQ_INT(chopin_argon2_raw(&o, password, salt, out, tag.len, room, room_size), 0);
            CHECK(memcmp(out, tag.ptr, tag.len) == 0);
            chopin_auth__argon2 a;
            chopin_auth__argon2_lay_out(&a, &o, room);
            chopin_auth__argon2_first_hash(&o, password, salt, tag.len, out);
            CHECK(memcmp(out, h0.ptr, 64) == 0);
            chopin_auth__argon2_start(&a, out);
            char *words = vec_find(&v, v.line, v.end, "passes");
            for (uint32_t pass = 0; pass < o.t; pass++) {
                for (uint32_t slice = 0; slice < 4; slice++)
                    for (uint32_t lane = 0; lane < a.lanes; lane++) chopin_auth__argon2_segment(&a, (chopin_auth__argon2_place){ pass, lane, slice, 0 });
                for (uint32_t block = 0; block < a.blocks; block++) {
                    words = strchr(words, '"') + 1;
                    CHECK(strtoull(words, &words, 16) == a.memory[block].w[0]);
                    CHECK(strtoull(words, &words, 16) == a.memory[block].w[127]);
                    words++;
                }
            }
            cases++;
        }
        vec_close(&v, 6);
    }
    CHECK(cases >= 3);
}

static void argon2_reference_hashes(void) {
    vec v;
    EACH_PATH(path) {
        for (vec_open(&v, "argon2/argon2.json"); vec_next(&v, "hash");) {
            if (vec_int(&v, "v") != 19) continue;
            chopin_argon2_options o = { .kind = kind_of(&v), .m_kib = (uint32_t)vec_int(&v, "m_kib"), .t = (uint32_t)vec_int(&v, "t"), .p = (uint32_t)vec_int(&v, "p") };
            chopin_str tag = vec_hex(&v, "tag");
            bool big = vec_has(&v, "big");
            if (!big && path > 0 && o.m_kib > 256 && (o.kind != CHOPIN_AUTH_ARGON2ID || o.t != 1)) continue;      // the large ones once; one of them on every path
            if (!big && SMALL && o.m_kib > 256) continue;
            CHECK_EQ_INT(chopin_argon2_raw(&o, vec_text(&v, "password"), vec_text(&v, "salt"), out, 32, room, room_size), big ? CHOPIN_AUTH_LIMIT : 0);
            CHECK(big ? all_bytes(out, 32, 0) : memcmp(out, tag.ptr, 32) == 0);
        }
        vec_close(&v, 26);
    }
}

/* Every tag size meets the variable-length hash at its seams; paths agree on odd lane counts and on segments longer than 128 blocks. */
static void argon2_paths_agree(void) {
    static const struct { uint32_t m, t, p; } cases[] = { { 8, 1, 1 }, { 9, 2, 1 }, { 16, 3, 2 }, { 47, 2, 5 }, { 128, 1, 16 }, { 600, 2, 1 }, { 2100, 1, 3 } };
    static const size_t sizes[] = { 4, 5, 31, 32, 33, 63, 64, 65, 95, 96, 97, 128, 129, 160, 1023, 1024 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int kind = 0; kind < 3; kind++) {
            chopin_argon2_options o = { .kind = (chopin_argon2_kind)kind, .m_kib = cases[i].m, .t = cases[i].t, .p = cases[i].p };
            for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
                if (i > 2 && s != 3) continue;
                bool first = true;
                EACH_PATH(path) {
                    CHECK_EQ_INT(chopin_argon2_raw(&o, CHOPIN_STR("password"), CHOPIN_STR("saltsalt"), first ? out2 : out, sizes[s], room, room_size), 0);
                    CHECK(first || memcmp(out, out2, sizes[s]) == 0);
                    first = false;
                }
            }
        }
    }
}

static void parameters_are_bounded_before_allocation(void) {
    static const struct { uint32_t m, t, p; bool ok; } rows[] = {
        { 8, 1, 1, true }, { 7, 1, 1, false }, { 16, 1, 2, true }, { 15, 1, 2, false }, { 128, 1, 16, true }, { 136, 1, 17, false }, { 8, 0, 1, false }, { 8, 1, 0, false },
        { 262144, 4, 1, true }, { 262144, 5, 1, false }, { 262145, 1, 1, false }, { 65536, 16, 1, true }, { 65537, 16, 1, false }, { 1024, 17, 1, false },
        { 4194304, 1, 1, false }, { UINT32_MAX, UINT32_MAX, UINT32_MAX, false }, { UINT32_MAX, 1, 1, false }, { 8, UINT32_MAX, 1, false }, { 8, 1, UINT32_MAX, false }, { 0, 0, 0, false }
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        chopin_argon2_options o = { .kind = CHOPIN_AUTH_ARGON2ID, .m_kib = rows[i].m, .t = rows[i].t, .p = rows[i].p };
        CHECK((chopin_argon2_arena(o.m_kib, o.t, o.p) > 0) == rows[i].ok);
        memset(out, 0xaa, 32);
        if (!rows[i].ok) CHECK(chopin_argon2_raw(&o, CHOPIN_STR("p"), CHOPIN_STR("saltsalt"), out, 32, NULL, 0) == CHOPIN_AUTH_LIMIT && all_bytes(out, 32, 0));
    }
    static const struct { uint32_t n, r, p; bool ok; } scrypts[] = {
        { 1, 8, 1, true }, { 0, 8, 1, false }, { 17, 8, 1, true }, { 18, 8, 1, true }, { 19, 8, 1, false }, { 15, 1, 1, true }, { 16, 1, 1, false }, { 10, 0, 1, false }, { 10, 8, 0, false },
        { 10, 8, 16, true }, { 10, 8, 17, false }, { 10, 512, 1, true }, { 10, 513, 1, false }, { 25, 1, 1, false }, { 64, 8, 1, false }, { UINT32_MAX, UINT32_MAX, UINT32_MAX, false }
    };
    for (size_t i = 0; i < sizeof scrypts / sizeof *scrypts; i++) {
        CHECK((chopin_scrypt_arena(scrypts[i].n, scrypts[i].r, scrypts[i].p) > 0) == scrypts[i].ok);
        memset(out, 0xaa, 32);
        if (!scrypts[i].ok) CHECK(chopin_scrypt_raw(CHOPIN_STR("p"), CHOPIN_STR("s"), scrypts[i].n, scrypts[i].r, scrypts[i].p, out, 32, NULL, 0) == CHOPIN_AUTH_LIMIT && all_bytes(out, 32, 0));
    }
    uint8_t salt[16] = { 0 };
    for (uint32_t cost = 0; cost < 40; cost++) {
        if (cost >= 4 && cost <= 14) continue;
        CHECK_EQ_INT(chopin_bcrypt_raw(CHOPIN_STR("p"), salt, cost, out, NULL, 0), CHOPIN_AUTH_LIMIT);
    }
}

static void sizes_are_checked(void) {
    chopin_argon2_options o = { .kind = CHOPIN_AUTH_ARGON2ID, .m_kib = 8, .t = 1, .p = 1 };
    static const struct { size_t salt, n; } bad[] = { { 7, 32 }, { 0, 32 }, { 1025, 32 }, { 8, 3 }, { 8, 0 }, { 8, 1025 } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memset(out, 0xaa, 2048);
        CHECK_EQ_INT(chopin_argon2_raw(&o, CHOPIN_STR("p"), chopin_auth__str(out2, bad[i].salt), out, bad[i].n, room, room_size), CHOPIN_AUTH_SIZE);
        CHECK(all_bytes(out, bad[i].n, 0) && out[bad[i].n] == 0xaa);
    }
    o.kind = (chopin_argon2_kind)3;
    CHECK_EQ_INT(chopin_argon2_raw(&o, CHOPIN_STR("p"), CHOPIN_STR("saltsalt"), out, 32, room, room_size), CHOPIN_AUTH_ARG);
    CHECK_EQ_INT(chopin_scrypt_raw(CHOPIN_STR("p"), CHOPIN_STR("s"), 4, 1, 1, out, 0, room, room_size), CHOPIN_AUTH_SIZE);
    CHECK_EQ_INT(chopin_scrypt_raw(CHOPIN_STR("p"), CHOPIN_STR("s"), 4, 1, 1, NULL, ((size_t)1 << 20) + 1, room, room_size), CHOPIN_AUTH_SIZE);
}

/* Exactly the size asked for is enough and all that is touched; one byte less, or a crooked pointer, is refused; without an arena there is one anyway. */
static void arenas_are_exact_and_left_clean(void) {
    chopin_argon2_options o = { .kind = CHOPIN_AUTH_ARGON2ID, .m_kib = 67, .t = 2, .p = 2 };
    uint8_t salt[16] = { 5 }, with[3][32], without[3][32];
    size_t need[3] = { chopin_argon2_arena(67, 2, 2), chopin_scrypt_arena(5, 3, 2), chopin_bcrypt_arena() };
    for (int i = 0; i < 3; i++) {
        for (int turn = 0; turn < 4; turn++) {
            memset(room, 0xaa, need[i] + 64);
            void *arena = turn == 1 ? NULL : turn == 3 ? room + 4 : room;
            size_t size = turn == 2 ? need[i] - 1 : need[i];
            uint8_t *to = turn == 0 ? with[i] : turn == 1 ? without[i] : out;
            int rc = i == 0 ? chopin_argon2_raw(&o, CHOPIN_STR("p"), CHOPIN_STR("saltsalt"), to, 23, arena, size)
                   : i == 1 ? chopin_scrypt_raw(CHOPIN_STR("p"), CHOPIN_STR("s"), 5, 3, 2, to, 23, arena, size) : chopin_bcrypt_raw(CHOPIN_STR("p"), salt, 4, to, arena, size);
            CHECK_EQ_INT(rc, turn == 2 ? CHOPIN_AUTH_BUFFER : turn == 3 ? CHOPIN_AUTH_ARG : 0);
            CHECK(all_bytes(room + need[i], 64, 0xaa));
            CHECK(all_bytes(room, need[i], turn == 0 ? 0 : 0xaa));
            if (turn > 1) CHECK(all_bytes(out, 23, 0));
        }
        CHECK(memcmp(with[i], without[i], 23) == 0 && !all_bytes(with[i], 23, 0));
    }
}

static void scrypt_inner_blocks(void) {
    vec v;
    vec_open(&v, "rfc/rfc7914_scrypt.json");
    CHECK(vec_next(&v, "blockmix_r1"));
    chopin_auth__scrypt_chunk *x = (chopin_auth__scrypt_chunk *)room, *y = x + 2, *work = x + 4;
    chopin_str in = vec_hex(&v, "in"), want = vec_hex(&v, "out");
    chopin_auth__scrypt_load(x, (const uint8_t *)in.ptr, 1);
    chopin_auth__scrypt_mix(x, NULL, y, 1);
    chopin_auth__scrypt_store(y, out, 1);
    CHECK(want.len == 128 && memcmp(out, want.ptr, 128) == 0);
    memset(work, 0, 128);
    chopin_auth__scrypt_mix(x, work, y, 1);                     // x ^ 0
    chopin_auth__scrypt_store(y, out, 1);
    CHECK(memcmp(out, want.ptr, 128) == 0);
    CHECK(vec_next(&v, "romix_r1_N16"));
    in = vec_hex(&v, "in"), want = vec_hex(&v, "out");
    chopin_auth__scrypt_load(x, (const uint8_t *)in.ptr, 1);
    chopin_auth__scrypt_romix(x, y, work, 16, 1);
    chopin_auth__scrypt_store(x, out, 1);
    CHECK(want.len == 128 && memcmp(out, want.ptr, 128) == 0);
    vec_close(&v, 2);
}

static void scrypt_rfc7914(void) {
    vec v;
    for (vec_open(&v, "rfc/rfc7914_scrypt.json"); vec_next(&v, "scrypt");) {
        chopin_str password = vec_hex(&v, "password"), salt = vec_hex(&v, "salt"), dk = vec_hex(&v, "dk");
        uint32_t log_n = 0;
        while (1ll << log_n < vec_int(&v, "N")) log_n++;
        int rc = chopin_scrypt_raw(password, salt, log_n, (uint32_t)vec_int(&v, "r"), (uint32_t)vec_int(&v, "p"), out, dk.len, room, room_size);
        CHECK_EQ_INT(rc, log_n == 20 ? CHOPIN_AUTH_LIMIT : 0);
        CHECK(log_n == 20 || memcmp(out, dk.ptr, dk.len) == 0);
    }
    vec_close(&v, 4);
}

/* The strings belong to >>password; here their parts are cut by hand. */
static void bcrypt_vectors(void) {
    vec v;
    int matches = 0;
    for (vec_open(&v, "bcrypt/bcrypt.json"); vec_next(&v, NULL);) {
        chopin_str phc = vec_text(&v, "phc"), password = vec_hex(&v, "password");
        uint8_t salt[16], digest[23];
        if (phc.len != 60 || vec_is(&v, "expect", "refuse")) continue;
        if (chopin_auth__bcrypt64_decode(chopin_auth__str(phc.ptr + 7, 22), salt, 16) != 16) continue;     // unused bits set: old tools wrote such
        CHECK_EQ_INT(chopin_auth__bcrypt64_decode(chopin_auth__str(phc.ptr + 29, 31), digest, 23), 23);
        if (password.len > 72) {
            CHECK_EQ_INT(chopin_bcrypt_raw(password, salt, 5, out, room, room_size), CHOPIN_AUTH_SIZE);
            password.len = 72;
        }
        CHECK_EQ_INT(chopin_bcrypt_raw(password, salt, (uint32_t)strtoul(phc.ptr + 4, NULL, 10), out, room, room_size), 0);
        bool same = memcmp(out, digest, 23) == 0;
        CHECK(same == vec_is(&v, "expect", "match"));
        matches += same;
        char text[32];
        CHECK_EQ_INT(chopin_auth__bcrypt64_encode(chopin_auth__str(out, 23), text, sizeof text), 31);
        CHECK(!same || memcmp(text, phc.ptr + 29, 31) == 0);
    }
    CHECK(matches >= 6);
    vec_close(&v, 14);
}

static void bcrypt_says_72_bytes(void) {
    uint8_t salt[16] = { 1 }, a[23], b[23];
    char password[80];
    memset(password, 'x', sizeof password);
    CHECK_EQ_INT(chopin_bcrypt_raw(chopin_auth__str(password, 72), salt, 4, a, room, room_size), 0);
    CHECK_EQ_INT(chopin_bcrypt_raw(chopin_auth__str(password, 71), salt, 4, b, room, room_size), 0);
    CHECK(memcmp(a, b, 23) != 0);
    CHECK_EQ_INT(chopin_bcrypt_raw(chopin_auth__str(password, 73), salt, 4, b, room, room_size), CHOPIN_AUTH_SIZE);
    CHECK(all_bytes(b, 23, 0));
    for (size_t at = 0; at < 5; at++) {
        char text[5] = "abcde";
        text[at] = 0;
        CHECK_EQ_INT(chopin_bcrypt_raw(chopin_auth__str(text, 5), salt, 4, b, room, room_size), CHOPIN_AUTH_FORMAT);
    }
    CHECK_EQ_INT(chopin_bcrypt_raw(chopin_auth__str(NULL, 0), salt, 4, b, room, room_size), 0);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    room = chopin_auth__arena_map(room_size);
    CHECK(room && (uintptr_t)room % CHOPIN_AUTH__HUGE == 0);
    if (!room) return 1;
    RUN(hkdf_rfc5869);
    RUN(hkdf_wycheproof);
    RUN(hkdf_and_pbkdf2_bounds);
    RUN(pbkdf2_vectors);
    RUN(pbkdf2_is_its_definition);
    RUN(argon2_rfc9106_with_every_block);
    RUN(argon2_reference_hashes);
    RUN(argon2_paths_agree);
    RUN(parameters_are_bounded_before_allocation);
    RUN(sizes_are_checked);
    RUN(arenas_are_exact_and_left_clean);
    RUN(scrypt_inner_blocks);
    RUN(scrypt_rfc7914);
    RUN(bcrypt_vectors);
    RUN(bcrypt_says_72_bytes);
    chopin_auth__arena_unmap(room, room_size);
    return TEST_END();
}
