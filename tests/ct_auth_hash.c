/* Hashes, MACs, key derivation, the cipher, codecs and compare with undefined secrets, on every path */
#include "ct.h"
#include "auth.h"
#include "test.h"
#include "paths.h"

static uint8_t key[300], message[300], out[400];
static chopin_str secret_key(size_t n) { memset(key, 7, sizeof key); ct_secret(key, sizeof key); return chopin_auth__str(key, n); }
static chopin_str secret_message(size_t n) { memset(message, 9, sizeof message); ct_secret(message, sizeof message); return chopin_auth__str(message, n); }
static void show(void) { ct_public(out, sizeof out); ct_public(key, sizeof key); ct_public(message, sizeof message); }

static void hashes(void) {
    EACH_PATH(path) {
        for (int hash = CHOPIN_AUTH_SHA256; hash <= CHOPIN_AUTH_SHA1; hash++) {
            chopin_auth__hash_all((chopin_auth_hash)hash, secret_message(300), out);
            show();
        }
    }
    chopin_blake2b(secret_message(300), out);
    chopin_blake2b_ctx c;
    ct_sink = chopin_blake2b_init(&c, 32, secret_key(64));
    chopin_blake2b_update(&c, chopin_auth__str(message, 129));
    chopin_blake2b_final(&c, out);
    show();
}

static void hmac_sign_and_check(void) {
    EACH_PATH(path) {
        for (int hash = CHOPIN_AUTH_SHA256; hash <= CHOPIN_AUTH_SHA512; hash++) {
            for (size_t n = 0; n <= 300; n += 100) {
                chopin_hmac k;
                ct_sink = chopin_hmac_key(&k, (chopin_auth_hash)hash, secret_key(n));
                chopin_hmac_sign(&k, secret_message(n), out);
                ct_sink = chopin_hmac_check(&k, chopin_auth__str(message, n), chopin_auth__str(out, chopin_auth__hash_size((chopin_auth_hash)hash)));
                out[3] ^= 1;
                ct_sink = chopin_hmac_check(&k, chopin_auth__str(message, n), chopin_auth__str(out, chopin_auth__hash_size((chopin_auth_hash)hash)));
                chopin_hmac_done(&k);
                show();
            }
        }
    }
}

static void hkdf(void) {
    ct_sink = chopin_hkdf_extract(CHOPIN_AUTH_SHA256, CHOPIN_STR("salt"), secret_key(32), out);
    ct_sink = chopin_hkdf_expand(CHOPIN_AUTH_SHA256, chopin_auth__str(out, 32), CHOPIN_STR("info"), out + 64, 100);
    show();
}

static void pbkdf2(void) {
    EACH_PATH(path) {
        for (int hash = CHOPIN_AUTH_SHA256; hash <= CHOPIN_AUTH_SHA512; hash++) {
            ct_sink = chopin_pbkdf2_raw((chopin_auth_hash)hash, secret_key(40), CHOPIN_STR("salt"), 3, out, 100);
            show();
        }
    }
}

static void memory_hard(void) {
    EACH_PATH(path) {
        for (int kind = 0; kind < 3; kind++) {
            chopin_argon2_options o = { .kind = (chopin_argon2_kind)kind, .m_kib = 16, .t = 2, .p = 2, .secret = secret_message(20) };
            ct_sink = chopin_argon2_raw(&o, secret_key(40), CHOPIN_STR("saltsalt"), out, 65, NULL, 0);
            show();
        }
    }
    ct_sink = chopin_scrypt_raw(secret_key(40), CHOPIN_STR("salt"), 4, 2, 2, out, 64, NULL, 0);
    show();
    static const uint8_t salt[16] = { 3 };
    ct_sink = chopin_bcrypt_raw(secret_key(40), salt, 4, out, NULL, 0);
    show();
}

static void sealed_text(void) {
    static const uint8_t nonce[24] = { 4 };
    secret_key(32);
    chopin_auth__xchacha_seal(key, nonce, CHOPIN_STR("aad"), secret_message(100), out);
    ct_public(out, sizeof out);
    ct_sink = chopin_auth__xchacha_open(key, nonce, CHOPIN_STR("aad"), chopin_auth__str(out, 116), message);
    out[5] ^= 1;
    ct_sink = chopin_auth__xchacha_open(key, nonce, CHOPIN_STR("aad"), chopin_auth__str(out, 116), message);
    show();
}

static void compare_and_wipe(void) {
    secret_key(300), secret_message(300);
    ct_sink = chopin_auth_equal(key, message, 300);
    chopin_auth_wipe(key, sizeof key);
    ct_sink = key[5];                                           // defined again
    show();
}

static void codecs(void) {
    int n = chopin_base64url_encode(secret_key(100), (char *)out, sizeof out);
    ct_sink = chopin_base64url_decode(chopin_auth__str(out, (size_t)n), message, sizeof message);
    out[7] = '!';
    ct_sink = chopin_base64url_decode(chopin_auth__str(out, (size_t)n), message, sizeof message);
    n = chopin_auth__base64_encode(secret_key(101), false, (char *)out, sizeof out);
    ct_sink = chopin_auth__base64_decode(chopin_auth__str(out, (size_t)n), false, message, sizeof message);
    n = chopin_base32_encode(secret_key(20), (char *)out, sizeof out);
    ct_sink = chopin_base32_decode(chopin_auth__str(out, (size_t)n), message, sizeof message);
    n = chopin_auth__hex_encode(secret_key(20), (char *)out, sizeof out);
    ct_sink = chopin_auth__hex_decode(chopin_auth__str(out, (size_t)n), message, sizeof message);
    n = chopin_auth__bcrypt64_encode(secret_key(23), (char *)out, sizeof out);
    ct_sink = chopin_auth__bcrypt64_decode(chopin_auth__str(out, (size_t)n), message, sizeof message);
    show();
}

int main(int argc, char **argv) {
    CT_BEGIN(argc, argv);
    CT(hashes);
    CT(hmac_sign_and_check);
    CT(hkdf);
    CT(pbkdf2);
    CT(memory_hard);
    CT(sealed_text);
    CT(compare_and_wipe);
    CT(codecs);
    return CT_END();
}
