/* Differential test, not part of make test's plain run: our hashes, MACs, KDFs, cipher and codecs against OpenSSL, nettle, libsodium, libargon2, libxcrypt.
 *
 *     cc -O2 tests/diff_auth_hash.c -o diff -lcrypto -lnettle -lsodium -largon2 -lcrypt && ./diff [seed]
 *
 * 100,000 seeded cases per fast primitive, 2,000 per slow one (DIFF_FAST, DIFF_SLOW), lengths 0 to 300, every path in turn. The seed is printed. */
#include "auth.h"
#include "test.h"
#include "paths.h"
#include <argon2.h>
#include <crypt.h>
#include <nettle/base64.h>
#include <nettle/hmac.h>
#include <nettle/pbkdf2.h>
#include <nettle/sha1.h>
#include <nettle/sha2.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <sodium.h>

static uint64_t seed, state;
static long fast = 100000, slow = 2000;
static uint8_t in[512], key[512], ours[2048], theirs[2048];
static size_t n, kn;

static uint64_t next(void) {
    uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}
static size_t below(size_t bound) { return (size_t)(next() % bound); }

/* A case: fresh key and input, 0 to 300 bytes, one in four at a block's edge; another path now and then. */
static void deal(long i) {
    static const size_t edges[] = { 0, 1, 55, 56, 57, 63, 64, 65, 111, 112, 113, 119, 120, 127, 128, 129, 183, 184, 191, 192, 193, 239, 240, 247, 248, 255, 256, 257 };
    n = below(4) == 0 ? edges[below(sizeof edges / sizeof *edges)] : below(301);
    kn = below(4) == 0 ? edges[below(sizeof edges / sizeof *edges)] : below(301);
    for (size_t b = 0; b < 304; b += 8) {
        uint64_t x = next(), y = next();
        memcpy(in + b, &x, 8), memcpy(key + b, &y, 8);
    }
    if (i % 64 == 0) {
        size_t path = below(sizeof test_paths / sizeof *test_paths);
        chopin_auth__cpu_force(test_paths[path].allowed);
    }
}
static bool same(const char *what, size_t size, long i) {
    if (CHECK(memcmp(ours, theirs, size) == 0)) return true;
    printf("%s: case %ld, %zu bytes, key %zu\n", what, i, n, kn);
    return false;
}
static const EVP_MD *md_of(int hash) { return hash == CHOPIN_AUTH_SHA256 ? EVP_sha256() : hash == CHOPIN_AUTH_SHA384 ? EVP_sha384() : hash == CHOPIN_AUTH_SHA512 ? EVP_sha512() : EVP_sha1(); }

static void hashes_openssl_and_nettle(void) {
    for (int hash = CHOPIN_AUTH_SHA256; hash <= CHOPIN_AUTH_SHA1; hash++) {
        for (long i = 0; i < fast; i++) {
            deal(i);
            chopin_auth__hasher h;
            chopin_auth__hash_init(&h, (chopin_auth_hash)hash);
            size_t cut = below(n + 1);
            chopin_auth__hash_update(&h, chopin_auth__str(in, cut));
            chopin_auth__hash_update(&h, chopin_auth__str(in + cut, n - cut));
            chopin_auth__hash_final(&h, ours);
            size_t size = chopin_auth__hash_size((chopin_auth_hash)hash);
            if (i % 4 == 0) EVP_Digest(in, n, theirs, NULL, md_of(hash), NULL);
            else if (hash == CHOPIN_AUTH_SHA256) { struct sha256_ctx c; sha256_init(&c); sha256_update(&c, n, in); sha256_digest(&c, 32, theirs); }
            else if (hash == CHOPIN_AUTH_SHA384) { struct sha384_ctx c; sha384_init(&c); sha384_update(&c, n, in); sha384_digest(&c, 48, theirs); }
            else if (hash == CHOPIN_AUTH_SHA512) { struct sha512_ctx c; sha512_init(&c); sha512_update(&c, n, in); sha512_digest(&c, 64, theirs); }
            else { struct sha1_ctx c; sha1_init(&c); sha1_update(&c, n, in); sha1_digest(&c, 20, theirs); }
            if (!same("hash", size, i)) break;
        }
    }
}

static void blake2b_libsodium(void) {
    for (long i = 0; i < fast; i++) {
        deal(i);
        size_t size = 16 + below(49), k = below(3) == 0 ? 0 : 16 + below(49);        // libsodium's bounds
        chopin_blake2b_ctx c;
        CHECK_EQ_INT(chopin_blake2b_init(&c, size, chopin_auth__str(key, k)), 0);
        size_t cut = below(n + 1);
        chopin_blake2b_update(&c, chopin_auth__str(in, cut));
        chopin_blake2b_update(&c, chopin_auth__str(in + cut, n - cut));
        chopin_blake2b_final(&c, ours);
        crypto_generichash(theirs, size, in, n, k ? key : NULL, k);
        if (!same("blake2b", size, i)) break;
    }
}

static void hmac_openssl_and_nettle(void) {
    for (int hash = CHOPIN_AUTH_SHA256; hash <= CHOPIN_AUTH_SHA1; hash++) {
        for (long i = 0; i < fast; i++) {
            deal(i);
            chopin_hmac k;
            size_t size = chopin_auth__hash_size((chopin_auth_hash)hash);
            chopin_auth__hmac_key(&k, (chopin_auth_hash)hash, chopin_auth__str(key, kn));
            chopin_hmac_sign(&k, chopin_auth__str(in, n), ours);
            if (i % 8 == 0) HMAC(md_of(hash), key, (int)kn, in, n, theirs, NULL);
            else if (hash == CHOPIN_AUTH_SHA256) { struct hmac_sha256_ctx c; hmac_sha256_set_key(&c, kn, key); hmac_sha256_update(&c, n, in); hmac_sha256_digest(&c, 32, theirs); }
            else if (hash == CHOPIN_AUTH_SHA384) { struct hmac_sha512_ctx c; hmac_sha384_set_key(&c, kn, key); hmac_sha384_update(&c, n, in); hmac_sha384_digest(&c, 48, theirs); }
            else if (hash == CHOPIN_AUTH_SHA512) { struct hmac_sha512_ctx c; hmac_sha512_set_key(&c, kn, key); hmac_sha512_update(&c, n, in); hmac_sha512_digest(&c, 64, theirs); }
            else { struct hmac_sha1_ctx c; hmac_sha1_set_key(&c, kn, key); hmac_sha1_update(&c, n, in); hmac_sha1_digest(&c, 20, theirs); }
            if (!same("hmac", size, i)) break;
            if (hash == CHOPIN_AUTH_SHA1) continue;
            bool flip = below(2);
            theirs[below(size)] ^= (uint8_t)(flip << below(8));
            CHECK_EQ_INT(chopin_hmac_check(&k, chopin_auth__str(in, n), chopin_auth__str(theirs, size)), flip ? CHOPIN_AUTH_SIGNATURE : 0);
        }
    }
}

static void hkdf_openssl(void) {
    for (long i = 0; i < slow * 5; i++) {
        deal(i);
        int hash = CHOPIN_AUTH_SHA256 + (int)below(3);
        size_t size = 1 + below(300), salt = below(100), info = below(100), hs = chopin_auth__hash_size((chopin_auth_hash)hash);
        uint8_t prk[64];
        EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
        CHECK_EQ_INT(chopin_hkdf_extract((chopin_auth_hash)hash, chopin_auth__str(in, salt), chopin_auth__str(key, kn + 1), prk), 0);
        CHECK_EQ_INT(chopin_hkdf_expand((chopin_auth_hash)hash, chopin_auth__str(prk, hs), chopin_auth__str(in + 100, info), ours, size), 0);
        EVP_PKEY_derive_init(c);
        EVP_PKEY_CTX_set_hkdf_md(c, md_of(hash));
        EVP_PKEY_CTX_set1_hkdf_salt(c, in, (int)salt);
        EVP_PKEY_CTX_set1_hkdf_key(c, key, (int)kn + 1);
        EVP_PKEY_CTX_add1_hkdf_info(c, in + 100, (int)info);
        size_t got = size;
        CHECK(EVP_PKEY_derive(c, theirs, &got) == 1 && got == size);
        EVP_PKEY_CTX_free(c);
        if (!same("hkdf", size, i)) break;
    }
}

static void pbkdf2_openssl_and_nettle(void) {
    for (long i = 0; i < slow; i++) {
        deal(i);
        deal(0);
        int hash = CHOPIN_AUTH_SHA256 + (int)below(3);
        uint32_t rounds = 1 + (uint32_t)below(200);
        size_t size = 1 + below(150), salt = n % 64;
        CHECK_EQ_INT(chopin_pbkdf2_raw((chopin_auth_hash)hash, chopin_auth__str(key, kn), chopin_auth__str(in, salt), rounds, ours, size), 0);
        if (hash == CHOPIN_AUTH_SHA256 && i % 2) pbkdf2_hmac_sha256(kn, key, rounds, salt, in, size, theirs);
        else PKCS5_PBKDF2_HMAC((const char *)key, (int)kn, in, (int)salt, (int)rounds, md_of(hash), (int)size, theirs);
        if (!same("pbkdf2", size, i)) break;
    }
}

static void argon2_libargon2(void) {
    static char *room;
    size_t room_size = chopin_argon2_arena(600, 3, 4);
    room = chopin_auth__arena_map(room_size);
    for (long i = 0; i < slow && room; i++) {
        deal(0);
        uint32_t p = 1 + (uint32_t)below(4), m = 8 * p + (uint32_t)below(below(10) == 0 ? 500 : 60), t = 1 + (uint32_t)below(3);
        size_t size = 4 + below(140), salt = 8 + below(40), secret = below(33), ad = below(40);
        chopin_argon2_options o = { .kind = (chopin_argon2_kind)below(3), .m_kib = m, .t = t, .p = p, .secret = chopin_auth__str(in + 100, secret), .data = chopin_auth__str(in + 200, ad) };
        CHECK_EQ_INT(chopin_argon2_raw(&o, chopin_auth__str(key, kn), chopin_auth__str(in, salt), ours, size, room, room_size), 0);
        argon2_context c = { .out = theirs, .outlen = (uint32_t)size, .pwd = key, .pwdlen = (uint32_t)kn, .salt = in, .saltlen = (uint32_t)salt, .secret = in + 100, .secretlen = (uint32_t)secret,
                             .ad = in + 200, .adlen = (uint32_t)ad, .t_cost = t, .m_cost = m, .lanes = p, .threads = 1, .version = ARGON2_VERSION_13 };
        CHECK_EQ_INT(argon2_ctx(&c, (argon2_type)o.kind), ARGON2_OK);
        if (!same("argon2", size, i)) break;
    }
    chopin_auth__arena_unmap(room, room_size);
}

static void scrypt_libsodium(void) {
    for (long i = 0; i < slow; i++) {
        deal(0);
        uint32_t r = 1 + (uint32_t)below(9), p = 1 + (uint32_t)below(3), log_n = 1 + (uint32_t)below(6);
        size_t size = 1 + below(100), salt = n % 64;
        CHECK_EQ_INT(chopin_scrypt_raw(chopin_auth__str(key, kn), chopin_auth__str(in, salt), log_n, r, p, ours, size, NULL, 0), 0);
        CHECK_EQ_INT(crypto_pwhash_scryptsalsa208sha256_ll(key, kn, in, salt, UINT64_C(1) << log_n, r, p, theirs, size), 0);
        if (!same("scrypt", size, i)) break;
    }
}

static void bcrypt_libxcrypt(void) {
    static struct crypt_data data;
    char setting[40] = "$2b$04$", password[80];
    for (long i = 0; i < slow; i++) {
        deal(i);
        size_t len = below(73);
        for (size_t j = 0; j < len; j++) password[j] = (char)(key[j] ? key[j] : 1);
        password[len] = 0;
        setting[2] = "aby"[below(3)];
        CHECK_EQ_INT(chopin_auth__bcrypt64_encode(chopin_auth__str(in, 16), setting + 7, 22), 22);
        if (setting[2] == 'a' && len >= 2) setting[2] = 'b';     // its $2a$ has a safety measure of its own
        setting[29] = 0;
        char *hash = crypt_r(password, setting, &data);
        if (!CHECK(hash && strlen(hash) == 60)) break;
        CHECK_EQ_INT(chopin_auth__bcrypt64_decode(chopin_auth__str(hash + 29, 31), theirs, 23), 23);
        CHECK_EQ_INT(chopin_bcrypt_raw(chopin_auth__str(password, len), in, 4, ours, NULL, 0), 0);
        if (!same("bcrypt", 23, i)) break;
    }
}

static void xchacha_libsodium(void) {
    for (long i = 0; i < fast; i++) {
        deal(i);
        size_t aad = kn % 64;
        unsigned long long got;
        chopin_auth__xchacha_seal(key, key + 40, chopin_auth__str(key + 70, aad), chopin_auth__str(in, n), ours);
        crypto_aead_xchacha20poly1305_ietf_encrypt(theirs, &got, in, n, key + 70, aad, NULL, key + 40, key);
        if (!same("xchacha", n + 16, i)) break;
        bool flip = below(2);
        theirs[below(n + 16)] ^= (uint8_t)(flip << below(8));
        CHECK_EQ_INT(chopin_auth__xchacha_open(key, key + 40, chopin_auth__str(key + 70, aad), chopin_auth__str(theirs, n + 16), ours), flip ? CHOPIN_AUTH_SIGNATURE : 0);
        CHECK(flip || memcmp(ours, in, n) == 0);
    }
}

/* Valid texts and mutated ones: both sides accept the same, with the same bytes. */
static void base64url_libsodium(void) {
    char text[420], other[420];
    for (long i = 0; i < fast; i++) {
        deal(i);
        int len = chopin_base64url_encode(chopin_auth__str(in, n), text, sizeof text);
        sodium_bin2base64(other, sizeof other, in, n, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
        if (!CHECK(len == (int)strlen(other) && memcmp(text, other, (size_t)len) == 0)) break;
        if (len > 0 && below(2)) text[below((size_t)len)] = (char)next();
        if (len > 0 && below(8) == 0) len = (int)below((size_t)len);
        size_t got = 0;
        const char *end = NULL;
        memset(theirs, 0, sizeof theirs);
        bool ok = sodium_base642bin(theirs, sizeof theirs, text, (size_t)len, NULL, &got, &end, sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0 && end == text + len;
        for (int j = 0; j < len; j++) ok = ok && (unsigned char)text[j] < 128;      // libsodium 1.0.18 takes some bytes over 127 where char is signed
        int rc = chopin_base64url_decode(chopin_auth__str(text, (size_t)len), ours, sizeof ours);
        if (!CHECK(ok ? rc == (int)got && memcmp(ours, theirs, got) == 0 : rc == CHOPIN_AUTH_FORMAT)) { printf("base64url: case %ld, %.*s\n", i, len, text); break; }
    }
}

int main(int argc, char **argv) {
    seed = argc > 1 ? strtoull(argv[1], NULL, 0) : UINT64_C(20261121);
    if (getenv("DIFF_FAST")) fast = atol(getenv("DIFF_FAST"));
    if (getenv("DIFF_SLOW")) slow = atol(getenv("DIFF_SLOW"));
    state = seed;
    printf("seed %llu, %ld and %ld cases\n", (unsigned long long)seed, fast, slow);
    if (sodium_init() < 0) return 1;
    TEST_ONLY(1, argv);
    RUN(hashes_openssl_and_nettle);
    RUN(blake2b_libsodium);
    RUN(hmac_openssl_and_nettle);
    RUN(hkdf_openssl);
    RUN(pbkdf2_openssl_and_nettle);
    RUN(argon2_libargon2);
    RUN(scrypt_libsodium);
    RUN(bcrypt_libxcrypt);
    RUN(xchacha_libsodium);
    RUN(base64url_libsodium);
    return TEST_END();
}
