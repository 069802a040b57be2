/* test_pg_hash.c - >>hash against published vectors: RFC 1321, FIPS 180-4 examples, RFC 4231, RFC 7914 (PBKDF2), RFC 4648. */
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include "test.h"

static chopin_str hex(const uint8_t *bytes, size_t n) {
    static char text[4][200];
    static int  turn;
    char *out = text[turn++ & 3];
    for (size_t i = 0; i < n; i++) { out[2 * i] = chopin_pg__hex_digit(bytes[i] >> 4); out[2 * i + 1] = chopin_pg__hex_digit(bytes[i]); }
    return chopin_pg__str(out, 2 * n);
}
static chopin_str repeated(char *out, char ch, size_t n) { memset(out, ch, n); return chopin_pg__str(out, n); }

static chopin_str md5_of(const char *text) {
    uint8_t out[16];
    chopin_pg__md5(chopin_pg__str_z(text), chopin_pg__absent(), out);
    return hex(out, 16);
}
static chopin_str sha_of(chopin_str in) {
    uint8_t out[32];
    chopin_pg__sha256(in, out);
    return hex(out, 32);
}
static chopin_str hmac_of(chopin_str key, chopin_str message) {
    uint8_t out[32];
    chopin_pg__hmac(key, message, out);
    return hex(out, 32);
}
static chopin_str pbkdf2_of(const char *password, const char *salt, uint32_t rounds, uint32_t step) {
    chopin_pg__pbkdf2 p;
    uint8_t out[32];
    chopin_pg__pbkdf2_init(&p, chopin_pg__str_z(password), chopin_pg__str_z(salt), rounds);
    while (!chopin_pg__pbkdf2_step(&p, step)) { }
    chopin_pg__pbkdf2_final(&p, out);
    return hex(out, 32);
}

static void md5_gives_the_digests_of_rfc_1321(void) {
    CHECK_STR(md5_of(""), "d41d8cd98f00b204e9800998ecf8427e");
    CHECK_STR(md5_of("a"), "0cc175b9c0f1b6a831c399e269772661");
    CHECK_STR(md5_of("abc"), "900150983cd24fb0d6963f7d28e17f72");
    CHECK_STR(md5_of("message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
    CHECK_STR(md5_of("abcdefghijklmnopqrstuvwxyz"), "c3fcd3d76192e4007dfb496cca67e13b");
    CHECK_STR(md5_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"), "d174ab98d277d9f5a5611c2c9f419d9f");
    CHECK_STR(md5_of("12345678901234567890123456789012345678901234567890123456789012345678901234567890"), "57edf4a22be3c955ac49da2e2107b67a");
}
static void md5_of_two_parts_is_md5_of_the_whole_at_every_length(void) {
    char text[200];
    for (size_t n = 0; n < sizeof text; n++) {
        uint8_t whole[16], parts[16];
        repeated(text, (char)('a' + n % 26), sizeof text);
        chopin_pg__md5(chopin_pg__str(text, n), chopin_pg__absent(), whole);
        chopin_pg__md5(chopin_pg__str(text, n / 3), chopin_pg__str(text, n - n / 3), parts);
        CHECK(memcmp(whole, parts, 16) == 0);
    }
}
static void md5_login_is_what_the_server_stores_salted(void) {
    char    out[36];
    uint8_t salt[4] = { 0x01, 0x02, 0x03, 0x04 };
    chopin_pg__md5_login(CHOPIN_STR("md5user"), CHOPIN_STR("password"), salt, out);
    CHECK_EQ_INT(strlen(out), 35);
    // by hand: md5("passwordmd5user") = 4d45974e13472b5a0be3533de4666414 is checked by the formula's own steps
    uint8_t digest[16];
    chopin_pg__md5(CHOPIN_STR("password"), CHOPIN_STR("md5user"), digest);
    chopin_str inner = hex(digest, 16);
    chopin_pg__md5(inner, chopin_pg__str(salt, 4), digest);
    CHECK(memcmp(out, "md5", 3) == 0 && memcmp(out + 3, hex(digest, 16).ptr, 32) == 0);
}
static void sha256_gives_the_published_digests(void) {
    static char million[1000000];
    CHECK_STR(sha_of(CHOPIN_STR("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK_STR(sha_of(CHOPIN_STR("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK_STR(sha_of(CHOPIN_STR("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    CHECK_STR(sha_of(CHOPIN_STR("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu")),
              "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
    CHECK_STR(sha_of(repeated(million, 'a', sizeof million)), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}
static void sha256_does_not_care_how_its_input_is_cut(void) {
    char text[300];
    repeated(text, 'x', sizeof text);
    for (size_t n = 0; n < sizeof text; n++) {
        for (size_t cut = 0; cut <= n; cut += 7) {
            uint8_t whole[32], parts[32];
            chopin_pg__sha256_ctx h;
            chopin_pg__sha256(chopin_pg__str(text, n), whole);
            chopin_pg__sha256_init(&h);
            chopin_pg__sha256_update(&h, chopin_pg__str(text, cut));
            chopin_pg__sha256_update(&h, chopin_pg__str(text + cut, n - cut));
            chopin_pg__sha256_final(&h, parts);
            if (!CHECK(memcmp(whole, parts, 32) == 0)) return;
        }
    }
}
static void hmac_gives_the_codes_of_rfc_4231(void) {
    char key[131], data[50];
    CHECK_STR(hmac_of(repeated(key, 0x0b, 20), CHOPIN_STR("Hi There")), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    CHECK_STR(hmac_of(CHOPIN_STR("Jefe"), CHOPIN_STR("what do ya want for nothing?")), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    CHECK_STR(hmac_of(repeated(key, (char)0xaa, 20), repeated(data, (char)0xdd, 50)), "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    CHECK_STR(hmac_of(repeated(key, (char)0xaa, 131), CHOPIN_STR("Test Using Larger Than Block-Size Key - Hash Key First")),
              "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    CHECK_STR(hmac_of(repeated(key, (char)0xaa, 131), CHOPIN_STR("This is a test using a larger than block-size key and a larger than block-size data. "
              "The key needs to be hashed before being used by the HMAC algorithm.")), "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
}
static void pbkdf2_gives_known_keys_in_steps_of_any_size(void) {
    CHECK_STR(pbkdf2_of("passwd", "salt", 1, 1), "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc");       // RFC 7914 section 11, first half
    CHECK_STR(pbkdf2_of("Password", "NaCl", 80000, 512), "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56");
    CHECK_STR(pbkdf2_of("password", "salt", 4096, 4096), "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a");
    CHECK_STR(pbkdf2_of("password", "salt", 4096, 1), "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a");
    CHECK_STR(pbkdf2_of("password", "salt", 2, 100), "ae4d0c95af6b46d32d0adff928f06dd02a303f8ef3c251dfd6e2d85a95474c43");
}
static void base64_gives_the_texts_of_rfc_4648_both_ways(void) {
    static const char *const pairs[][2] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" } };
    for (size_t i = 0; i < CHOPIN_PG__COUNT(pairs); i++) {
        char    text[16];
        uint8_t bytes[16];
        CHECK_STR(chopin_pg__str(text, chopin_pg__base64_encode(chopin_pg__str_z(pairs[i][0]), text)), pairs[i][1]);
        CHECK_EQ_INT(chopin_pg__base64_decode(chopin_pg__str_z(pairs[i][1]), bytes, sizeof bytes), strlen(pairs[i][0]));
        CHECK(memcmp(bytes, pairs[i][0], strlen(pairs[i][0])) == 0);
    }
}
static void base64_writes_every_character(void) {
    uint8_t all[48];
    char    text[64];
    for (unsigned i = 0; i < 48; i += 3) {
        unsigned v = i / 3 * 4, bits = v << 18 | (v + 1) << 12 | (v + 2) << 6 | (v + 3);
        all[i] = (uint8_t)(bits >> 16); all[i + 1] = (uint8_t)(bits >> 8); all[i + 2] = (uint8_t)bits;
    }
    CHECK_STR(chopin_pg__str(text, chopin_pg__base64_encode(chopin_pg__str(all, 48), text)), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
}
static void base64_refuses_other_spellings(void) {
    static const char *const bad[] = { "Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Zm9vYg", "Z===", "====", "=", "==", "Zg==Zg==", "Zm 8=", "Zm\n8", "Zm8-", "Zm8_", "Z=g=", "\xc3\xa4==" };
    for (size_t i = 0; i < CHOPIN_PG__COUNT(bad); i++) {
        uint8_t out[16];
        if (!CHECK(chopin_pg__base64_decode(chopin_pg__str_z(bad[i]), out, sizeof out) < 0)) printf("   %s\n", bad[i]);
    }
    uint8_t two[2];
    CHECK_EQ_INT(chopin_pg__base64_decode(CHOPIN_STR("Zm9v"), two, 2), -1);
    CHECK_EQ_INT(chopin_pg__base64_decode(CHOPIN_STR("Zm8="), two, 2), 2);
}
static void same_and_wipe_do_what_they_say(void) {
    char a[4] = "abc", b[4] = "abd";
    CHECK(chopin_pg__same(a, b, 2) && !chopin_pg__same(a, b, 3) && chopin_pg__same(a, b, 0));
    chopin_pg__wipe(a, sizeof a);
    CHECK(memcmp(a, "\0\0\0\0", 4) == 0);
}
static void random_bytes_differ(void) {
    uint8_t a[18] = { 0 }, b[18] = { 0 };
    CHECK(chopin_pg__random(a, sizeof a) && chopin_pg__random(b, sizeof b));
    CHECK(memcmp(a, b, sizeof a) != 0);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(md5_gives_the_digests_of_rfc_1321);
    RUN(md5_of_two_parts_is_md5_of_the_whole_at_every_length);
    RUN(md5_login_is_what_the_server_stores_salted);
    RUN(sha256_gives_the_published_digests);
    RUN(sha256_does_not_care_how_its_input_is_cut);
    RUN(hmac_gives_the_codes_of_rfc_4231);
    RUN(pbkdf2_gives_known_keys_in_steps_of_any_size);
    RUN(base64_gives_the_texts_of_rfc_4648_both_ways);
    RUN(base64_writes_every_character);
    RUN(base64_refuses_other_spellings);
    RUN(same_and_wipe_do_what_they_say);
    RUN(random_bytes_differ);
    return TEST_END();
}
