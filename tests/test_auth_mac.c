/* HMAC: vectors on every path, whole and in pieces, keys of every length, the compare, wiping */
#include "auth.h"
#include "test.h"
#include "vectors.h"
#include "paths.h"
#include "guard.h"

/* The definition of RFC 2104, written out without a prepared key. */
static void slow_hmac(chopin_auth_hash hash, chopin_str key, chopin_str msg, uint8_t *out) {
    uint8_t block[128] = { 0 }, pad[128];
    size_t size = chopin_auth__hash_size(hash), width = chopin_auth__hash_block(hash);
    chopin_auth__hasher h;
    if (key.len > width) chopin_auth__hash_all(hash, key, block);
    else if (key.len > 0) memcpy(block, key.ptr, key.len);
    for (int turn = 0; turn < 2; turn++) {
        for (size_t i = 0; i < width; i++) pad[i] = block[i] ^ (turn ? 0x5c : 0x36);
        chopin_auth__hash_init(&h, hash);
        chopin_auth__hash_update(&h, chopin_auth__str(pad, width));
        chopin_auth__hash_update(&h, turn ? chopin_auth__str(out, size) : msg);
        chopin_auth__hash_final(&h, out);
    }
}

static void one_case(chopin_auth_hash hash, chopin_str key, chopin_str msg, chopin_str tag) {
    uint8_t out[64];
    size_t size = chopin_auth__hash_size(hash);
    chopin_hmac k;
    chopin_hmac_ctx c;
    key = guard_copy(0, key.ptr, key.len), msg = guard_copy(1, msg.ptr, msg.len);
    if (hash == CHOPIN_AUTH_SHA1) chopin_auth__hmac_key(&k, hash, key);
    else CHECK_EQ_INT(chopin_hmac_key(&k, hash, key), 0);
    uint8_t *edge = guard_room(2, size);
    chopin_hmac_sign(&k, msg, edge);
    CHECK(memcmp(edge, tag.ptr, tag.len) == 0);
    for (size_t cut = 0; cut <= msg.len; cut++) {
        chopin_hmac_init(&c, &k);
        chopin_hmac_update(&c, (chopin_str){ msg.ptr, cut });
        chopin_hmac_update(&c, (chopin_str){ msg.ptr + cut, msg.len - cut });
        chopin_hmac_final(&c, out);
        CHECK(memcmp(out, edge, size) == 0);
        if (SMALL && cut > 70) break;
    }
    CHECK_EQ_INT(chopin_hmac_check(&k, msg, chopin_auth__str(edge, size)), 0);
    chopin_hmac_done(&k);
}

static void rfc4231_and_2202(void) {
    vec v;
    EACH_PATH(path) {
        for (vec_open(&v, "rfc/rfc4231_hmac.json"); vec_next(&v, NULL);) {
            chopin_auth_hash hash = strcmp(v.section, "sha1") == 0 ? CHOPIN_AUTH_SHA1 : strcmp(v.section, "sha256") == 0 ? CHOPIN_AUTH_SHA256 : strcmp(v.section, "sha384") == 0 ? CHOPIN_AUTH_SHA384 : CHOPIN_AUTH_SHA512;
            one_case(hash, vec_hex(&v, "key"), vec_hex(&v, "msg"), vec_hex(&v, "tag"));
        }
        vec_close(&v, 28);
    }
}

static void cavp_sha256(void) {
    vec v;
    EACH_PATH(path) {
        for (vec_open(&v, "cavp/HMAC_SHA256.rsp"); vec_next(&v, NULL);) {
            chopin_str mac = vec_hex(&v, "Mac");
            CHECK_EQ_INT(mac.len, vec_int(&v, "Tlen"));
            one_case(CHOPIN_AUTH_SHA256, vec_hex(&v, "Key"), vec_hex(&v, "Msg"), mac);
        }
        vec_close(&v, 225);
    }
}

static void wycheproof_file(const char *name, chopin_auth_hash hash, int cases) {
    vec v;
    uint8_t out[64];
    for (vec_open(&v, name); vec_next(&v, NULL);) {
        chopin_str key = vec_hex(&v, "key"), msg = vec_hex(&v, "msg"), tag = vec_hex(&v, "tag");
        size_t size = (size_t)vec_group_int(&v, "tagSize") / 8;
        bool valid = vec_is(&v, "result", "valid");
        chopin_hmac k;
        chopin_auth__hmac_key(&k, hash, key);
        chopin_hmac_sign(&k, msg, out);
        CHECK(valid == (tag.len == size && chopin_auth_equal(out, tag.ptr, size)));
        if (size == chopin_auth__hash_size(hash)) CHECK_EQ_INT(chopin_hmac_check(&k, msg, tag), valid ? 0 : tag.len == size ? CHOPIN_AUTH_SIGNATURE : CHOPIN_AUTH_SIZE);
    }
    vec_close(&v, cases);
}
static void wycheproof_sha1(void)   { EACH_PATH(path) wycheproof_file("wycheproof/hmac_sha1.json", CHOPIN_AUTH_SHA1, 170); }
static void wycheproof_sha256(void) { EACH_PATH(path) wycheproof_file("wycheproof/hmac_sha256.json", CHOPIN_AUTH_SHA256, 174); }

static void keys_of_every_length(void) {
    uint8_t data[300], out[64], want[64];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 7 + 1);
    EACH_PATH(path) {
        for (int hash = CHOPIN_AUTH_SHA256; hash <= CHOPIN_AUTH_SHA1; hash++) {
            for (size_t n = 0; n <= 300; n++) {
                chopin_hmac k;
                chopin_auth__hmac_key(&k, (chopin_auth_hash)hash, chopin_auth__str(data, n));
                chopin_hmac_sign(&k, chopin_auth__str(data, 300 - n), out);
                slow_hmac((chopin_auth_hash)hash, chopin_auth__str(data, n), chopin_auth__str(data, 300 - n), want);
                CHECK(memcmp(out, want, chopin_auth__hash_size((chopin_auth_hash)hash)) == 0);
            }
        }
    }
}

static void a_key_serves_any_number_of_messages(void) {
    uint8_t first[32], again[32];
    chopin_hmac k, copy;
    CHECK_EQ_INT(chopin_hmac_key(&k, CHOPIN_AUTH_SHA256, CHOPIN_STR("secret")), 0);
    copy = k;
    chopin_hmac_sign(&k, CHOPIN_STR("one"), first);
    chopin_hmac_sign(&k, CHOPIN_STR("two"), again);
    CHECK(memcmp(first, again, 32) != 0);
    chopin_hmac_sign(&k, CHOPIN_STR("one"), again);
    CHECK(memcmp(first, again, 32) == 0 && memcmp(&k, &copy, sizeof k) == 0);
}

static void mac_compare_is_one_look(void) {
    uint8_t mac[65];
    chopin_hmac k;
    for (int hash = CHOPIN_AUTH_SHA256; hash <= CHOPIN_AUTH_SHA512; hash++) {
        size_t size = chopin_auth__hash_size((chopin_auth_hash)hash);
        CHECK_EQ_INT(chopin_hmac_key(&k, (chopin_auth_hash)hash, CHOPIN_STR("secret")), 0);
        chopin_hmac_sign(&k, CHOPIN_STR("message"), mac);
        mac[size] = 0;
        for (size_t n = 0; n <= size + 1; n++) {
            CHECK_EQ_INT(chopin_hmac_check(&k, CHOPIN_STR("message"), guard_copy(0, mac, n)), n == size ? 0 : CHOPIN_AUTH_SIZE);
        }
        CHECK_EQ_INT(chopin_hmac_check(&k, CHOPIN_STR("message"), (chopin_str){ NULL, 0 }), CHOPIN_AUTH_SIZE);
        for (size_t bit = 0; bit < size * 8; bit++) {
            mac[bit / 8] ^= (uint8_t)(1 << bit % 8);
            CHECK_EQ_INT(chopin_hmac_check(&k, CHOPIN_STR("message"), chopin_auth__str(mac, size)), CHOPIN_AUTH_SIGNATURE);
            mac[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

static void unknown_hashes_are_refused(void) {
    chopin_hmac k;
    CHECK_EQ_INT(chopin_hmac_key(&k, CHOPIN_AUTH_SHA1, CHOPIN_STR("secret")), CHOPIN_AUTH_UNSUPPORTED);
    CHECK_EQ_INT(chopin_hmac_key(&k, (chopin_auth_hash)0, CHOPIN_STR("secret")), CHOPIN_AUTH_ARG);
    CHECK_EQ_INT(chopin_hmac_key(&k, (chopin_auth_hash)5, CHOPIN_STR("secret")), CHOPIN_AUTH_ARG);
    CHECK_EQ_INT(k.hash, 0);
    CHECK_EQ_INT(chopin_hmac_check(&k, CHOPIN_STR("x"), (chopin_str){ NULL, 0 }), CHOPIN_AUTH_SIZE);      // a key that was never made matches nothing
}

static void done_wipes(void) {
    static const uint8_t zero[sizeof(chopin_hmac)];
    chopin_hmac k;
    CHECK_EQ_INT(chopin_hmac_key(&k, CHOPIN_AUTH_SHA512, CHOPIN_STR("secret")), 0);
    CHECK(memcmp(&k, zero, sizeof k) != 0);
    chopin_hmac_done(&k);
    CHECK(memcmp(&k, zero, sizeof k) == 0);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(rfc4231_and_2202);
    RUN(cavp_sha256);
    RUN(wycheproof_sha1);
    RUN(wycheproof_sha256);
    RUN(keys_of_every_length);
    RUN(a_key_serves_any_number_of_messages);
    RUN(mac_compare_is_one_look);
    RUN(unknown_hashes_are_refused);
    RUN(done_wipes);
    return TEST_END();
}
