/* >>der, and chopin_jwk_pem() over it. Key files: vectors/keys, written by openssl. */
#include "auth.h"
#include "test.h"
#include "vectors.h"
#include "guard.h"
#include "pk_kit.h"

static int load(chopin_auth_alg alg, chopin_str text) {
    static chopin_jwk key;
    int rc = chopin_jwk_pem(&key, alg, pk_z("k"), text);
    CHECK((rc == 0) == (key.kind != NULL));
    return rc;
}

/* ---- containers ---- */
static const struct { const char *file; chopin_auth_alg alg; bool secret; const char *same; } good[] = {
    { "rsa2048.pem", CHOPIN_AUTH_RS256, true, NULL },            { "rsa2048_pkcs1.pem", CHOPIN_AUTH_PS384, true, "rsa2048.pem" },   { "rsa2048_public.pem", CHOPIN_AUTH_RS256, false, "rsa2048.pem" },
    { "rsa2048_public_pkcs1.pem", CHOPIN_AUTH_RS512, false, "rsa2048.pem" }, { "rsa3072.pem", CHOPIN_AUTH_PS256, true, NULL },      { "rsa4096.pem", CHOPIN_AUTH_PS512, true, NULL },
    { "rsa2048_e3.pem", CHOPIN_AUTH_RS256, true, NULL },         { "rsa2049.pem", CHOPIN_AUTH_RS256, true, NULL },
    { "p256.pem", CHOPIN_AUTH_ES256, true, NULL },               { "p256_sec1.pem", CHOPIN_AUTH_ES256, true, "p256.pem" },          { "p256_public.pem", CHOPIN_AUTH_ES256, false, "p256.pem" },
    { "p256_sec1_alone.pem", CHOPIN_AUTH_ES256, true, "p256.pem" }, { "ed25519.pem", CHOPIN_AUTH_EDDSA, true, NULL },              { "ed25519_public.pem", CHOPIN_AUTH_EDDSA, false, "ed25519.pem" }
};
static chopin_str der_of(int which, const char *file) {               // a PEM file's bytes
    static uint8_t rooms[4][CHOPIN_AUTH__DER_MAX];
    chopin_str text = pk_file(which, file);
    const char *last;
    chopin_str line = chopin_auth__der_line(&text);
    CHECK(chopin_auth__der_label(line, &last) != NULL);
    int n = chopin_auth__der_lines(&text, last, rooms[which], CHOPIN_AUTH__DER_MAX);
    CHECK(n > 0);
    return pk_bytes(rooms[which], n > 0 ? (size_t)n : 0);
}
static void loads_what_openssl_writes(void) {
    for (size_t i = 0; i < CHOPIN_AUTH__COUNT(good); i++) {
        chopin_jwk a, b;
        uint8_t print[32], other[32];
        CHECK_EQ_INT(chopin_jwk_pem(&a, good[i].alg, pk_z("k"), pk_file(0, good[i].file)), 0);
        CHECK_EQ_INT(chopin_jwk_pem(&b, good[i].alg, pk_z("k"), der_of(1, good[i].file)), 0);     // the same, bare
        CHECK(a.alg == good[i].alg && a.secret == good[i].secret && memcmp(&a, &b, sizeof a) == 0);
        CHECK_EQ_INT(chopin_jwk_thumbprint(&a, print), 0);
        if (good[i].same) b = pk_key(good[i].alg, good[i].same);
        CHECK_EQ_INT(chopin_jwk_thumbprint(&b, other), 0);
        CHECK(memcmp(print, other, 32) == 0);
    }
}
static void refuses_with_a_reason(void) {
    static const struct { const char *file; chopin_auth_alg alg; int rc; } bad[] = {
        { "p256_compressed.pem", CHOPIN_AUTH_ES256, CHOPIN_AUTH_UNSUPPORTED }, { "p256_hybrid.pem", CHOPIN_AUTH_ES256, CHOPIN_AUTH_UNSUPPORTED },
        { "p256_explicit.pem", CHOPIN_AUTH_ES256, CHOPIN_AUTH_UNSUPPORTED },   { "p384.pem", CHOPIN_AUTH_ES256, CHOPIN_AUTH_UNSUPPORTED },
        { "ed448.pem", CHOPIN_AUTH_EDDSA, CHOPIN_AUTH_UNSUPPORTED },           { "rsa_pss.pem", CHOPIN_AUTH_PS256, CHOPIN_AUTH_UNSUPPORTED },
        { "ed25519_encrypted.pem", CHOPIN_AUTH_EDDSA, CHOPIN_AUTH_UNSUPPORTED }, { "rsa2048_encrypted.pem", CHOPIN_AUTH_RS256, CHOPIN_AUTH_UNSUPPORTED },
        { "rsa2048_three.pem", CHOPIN_AUTH_RS256, CHOPIN_AUTH_KEY },           { "rsa1024.pem", CHOPIN_AUTH_RS256, CHOPIN_AUTH_WEAK_KEY },
        { "rsa2048.pem", CHOPIN_AUTH_ES256, CHOPIN_AUTH_KEY }, { "p256.pem", CHOPIN_AUTH_EDDSA, CHOPIN_AUTH_KEY }, { "ed25519.pem", CHOPIN_AUTH_RS256, CHOPIN_AUTH_KEY },
        { "ed25519.pem", CHOPIN_AUTH_HS256, CHOPIN_AUTH_ARG }, { "rsa2048_public.pem", CHOPIN_AUTH_HS256, CHOPIN_AUTH_ARG }
    };
    for (size_t i = 0; i < CHOPIN_AUTH__COUNT(bad); i++) if (!CHECK_EQ_INT(load(bad[i].alg, pk_file(0, bad[i].file)), bad[i].rc)) printf("%s\n", bad[i].file);
}
static void rfc8410_pair(void) {
    vec v;
    int seen = 0;
    for (vec_open(&v, "rfc/rfc8032_ed25519.json"); vec_next(&v, "pem"); seen++) {
        chopin_jwk a, b;
        chopin_str private = vec_text(&v, "private"), public = vec_text(&v, "public");
        CHECK_EQ_INT(chopin_jwk_pem(&a, CHOPIN_AUTH_EDDSA, pk_z(""), private), 0);
        CHECK_EQ_INT(chopin_jwk_pem(&b, CHOPIN_AUTH_EDDSA, pk_z(""), public), 0);
        CHECK(memcmp(a.u.ed25519.bytes, b.u.ed25519.bytes, 32) == 0);
    }
    vec_close(&v, 1);
}

/* ---- der_is_der ---- */
static void every_truncation_refuses(void) {
    for (size_t i = 0; i < CHOPIN_AUTH__COUNT(good); i++) {
        chopin_str der = der_of(1, good[i].file);
        for (size_t n = 0; n < der.len; n++) CHECK(load(good[i].alg, guard_copy(0, der.ptr, n)) < 0);
        CHECK_EQ_INT(load(good[i].alg, guard_copy(0, der.ptr, der.len)), 0);
        uint8_t more[CHOPIN_AUTH__DER_MAX + 1] = { 0 };
        memcpy(more, der.ptr, der.len);
        CHECK_EQ_INT(load(good[i].alg, pk_bytes(more, der.len + 1)), CHOPIN_AUTH_KEY);           // a byte behind it
    }
}
/* Every one-byte change gives the same key, another valid one, or none. "Valid": it verifies what it signs, or it is a public key that passed the checks. */
static void every_changed_byte(void) {
    int same = 0, others = 0, refused = 0;
    for (size_t i = 0; i < CHOPIN_AUTH__COUNT(good); i++) {
        chopin_str der = der_of(1, good[i].file);
        chopin_jwk first;
        uint8_t want[32], *bytes = guard_room(0, der.len);
        bool small = good[i].alg >= CHOPIN_AUTH_ES256;
        CHECK_EQ_INT(chopin_jwk_pem(&first, good[i].alg, pk_z(""), der), 0);
        CHECK_EQ_INT(chopin_jwk_thumbprint(&first, want), 0);
        memcpy(bytes, der.ptr, der.len);
        if (!small && der.len > 700 && i != 0) continue;              // one private RSA key will do
        for (size_t at = 0; at < der.len; at += SMALL && !small ? 5 : 1) {
            for (int change = 1; change < 256; change += SMALL ? 251 : small ? 3 : 127) {
                chopin_jwk key;
                bytes[at] ^= (uint8_t)change;
                int rc = chopin_jwk_pem(&key, good[i].alg, pk_z(""), pk_bytes(bytes, der.len));
                bytes[at] ^= (uint8_t)change;
                if (rc < 0) { refused++; CHECK(key.kind == NULL); continue; }
                uint8_t print[32], sig[CHOPIN_AUTH_SIGNATURE_MAX];
                CHECK_EQ_INT(chopin_jwk_thumbprint(&key, print), 0);
                if (memcmp(print, want, 32) == 0) same++; else others++;
                if (!key.secret) continue;
                int n = pk_sign(&key, pk_z("m"), sig);
                CHECK(n > 0 && pk_verify(&key, pk_z("m"), sig, (size_t)n) == 0);
            }
        }
    }
    CHECK(refused > (SMALL ? 500 : 10000) && same < 10 && others > 0);
    if (getenv("CHOPIN_TEST_VERBOSE")) printf("one-byte changes: %d refused, %d other keys, %d the same key\n", refused, others, same);
}
static void der_is_der(void) {
    chopin_str der = der_of(0, "ed25519_public.pem");                 // 30 2a 30 05 06 03 2b 65 70 03 21 00 ...
    const uint8_t *point = (const uint8_t *)der.ptr + 12;
    uint8_t b[80];
#define TRY(rc, ...) do { const uint8_t head[] = { __VA_ARGS__ }; memcpy(b, head, sizeof head); memcpy(b + sizeof head, point, 32); \
        CHECK_EQ_INT(load(CHOPIN_AUTH_EDDSA, pk_bytes(b, sizeof head + 32)), rc); } while (0)
    TRY(0,                       0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00);
    TRY(CHOPIN_AUTH_KEY,         0x30, 0x81, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00);        // lengths longer than needed
    TRY(CHOPIN_AUTH_KEY,         0x30, 0x82, 0x00, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00);
    TRY(CHOPIN_AUTH_KEY,         0x30, 0x83, 0x00, 0x00, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00);
    TRY(CHOPIN_AUTH_KEY,         0x30, 0x2b, 0x30, 0x81, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00);
    TRY(CHOPIN_AUTH_KEY,         0x30, 0x80, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00);              // indefinite
    TRY(CHOPIN_AUTH_KEY,         0x30, 0x2c, 0x30, 0x07, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x05, 0x00, 0x03, 0x21, 0x00);  // NULL where there is none
    TRY(CHOPIN_AUTH_KEY,         0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x01);              // unused bits
    TRY(CHOPIN_AUTH_UNSUPPORTED, 0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x03, 0x21, 0x00);              // X25519
    TRY(CHOPIN_AUTH_FORMAT,      0x31, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00);              // SET
#undef TRY
    static const uint8_t rsa[] = { 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00 };
    static const uint8_t bare[] = { 0x30, 0x0b, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01 };
    chopin_str with = pk_bytes(rsa, sizeof rsa), without = pk_bytes(bare, sizeof bare);
    CHECK_EQ_INT(chopin_auth__der_algorithm(&with), CHOPIN_AUTH__DER_RSA);
    CHECK_EQ_INT(chopin_auth__der_algorithm(&without), CHOPIN_AUTH_KEY);                          // NULL missing
}
static void integers_are_short_and_positive(void) {
    static const struct { const char *der; size_t n; bool good; size_t len; } cases[] = {
        { "\2\1\0", 3, true, 1 }, { "\2\1\177", 3, true, 1 }, { "\2\1\200", 3, false, 0 }, { "\2\2\0\200", 4, true, 1 }, { "\2\2\0\177", 4, false, 0 }, { "\2\2\0\0", 4, false, 0 },
        { "\2\0", 2, false, 0 }, { "\2", 1, false, 0 }, { "", 0, false, 0 }, { "\2\2\1", 3, false, 0 }, { "\2\2\377\177", 4, false, 0 }, { "\2\3\0\200\0", 5, true, 2 }, { "\3\1\0", 3, false, 0 }
    };
    for (size_t i = 0; i < CHOPIN_AUTH__COUNT(cases); i++) {
        chopin_str in = guard_copy(0, cases[i].der, cases[i].n), number;
        CHECK_EQ_INT(chopin_auth__der_number(&in, &number), cases[i].good);
        if (cases[i].good) CHECK_EQ_INT(number.len, cases[i].len);
    }
}

/* ---- PEM ---- */
static void pem_forms(void) {
    chopin_str key = pk_file(0, "ed25519_public.pem");
    char text[1024], *body = strchr(key.ptr, '\n') + 1, line[65] = { 0 };
    memcpy(line, body, 60);                                           // 44 bytes are 60 characters
#define PEM(rc, ...) do { snprintf(text, sizeof text, __VA_ARGS__); CHECK_EQ_INT(load(CHOPIN_AUTH_EDDSA, pk_z(text)), rc); } while (0)
    const char *b = "-----BEGIN PUBLIC KEY-----", *e = "-----END PUBLIC KEY-----";
    PEM(0, "%s\n%s\n%s\n", b, line, e);
    PEM(0, "%s\n%s\n%s", b, line, e);                                 // no newline at the end
    PEM(0, "%s\r\n%s\r\n%s\r\n", b, line, e);                         // CRLF
    PEM(0, "\n \t%s\n%s\n%s\n\n  ", b, line, e);                      // white space around it
    PEM(0, "%s\n%.20s\n%s\n%s\n", b, line, line + 20, e);             // lines of any width, in whole groups
    PEM(CHOPIN_AUTH_FORMAT, "%s\n%.21s\n%s\n%s\n", b, line, line + 21, e);
    PEM(CHOPIN_AUTH_FORMAT, "%s\n%s\n\n%s\n", b, line, e);
    PEM(CHOPIN_AUTH_FORMAT, "%s\n %s\n%s\n", b, line, e);
    PEM(CHOPIN_AUTH_FORMAT, "%s\n%s \n%s\n", b, line, e);
    PEM(CHOPIN_AUTH_FORMAT, "%s\n%s\n%s\n%s\n%s\n%s\n", b, line, e, b, line, e);                  // two blocks
    PEM(CHOPIN_AUTH_FORMAT, "%s\n%s\n%s\nx", b, line, e);
    PEM(CHOPIN_AUTH_FORMAT, "x\n%s\n%s\n%s\n", b, line, e);
    PEM(CHOPIN_AUTH_FORMAT, "%s\n%s\n", b, line);                     // no end
    PEM(CHOPIN_AUTH_FORMAT, "%s\n%s\n-----END PRIVATE KEY-----\n", b, line);
    PEM(CHOPIN_AUTH_FORMAT, "%s\n%s\n", b, e);                        // nothing inside
    PEM(CHOPIN_AUTH_UNSUPPORTED, "%s%s%s", b, line, e);
    PEM(CHOPIN_AUTH_UNSUPPORTED, "-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n", line);
    PEM(CHOPIN_AUTH_UNSUPPORTED, "-----BEGIN public key-----\n%s\n%s\n", line, e);
    PEM(CHOPIN_AUTH_KEY, "-----BEGIN PRIVATE KEY-----\n%s\n-----END PRIVATE KEY-----\n", line);   // another container than the label says
    PEM(CHOPIN_AUTH_FORMAT, "%s", "");
    PEM(CHOPIN_AUTH_FORMAT, "%s", "    ");
#undef PEM
    static char huge[CHOPIN_AUTH_PEM_MAX + 2];
    memset(huge, 'A', sizeof huge);
    CHECK_EQ_INT(load(CHOPIN_AUTH_EDDSA, pk_bytes(huge, CHOPIN_AUTH_PEM_MAX + 1)), CHOPIN_AUTH_SIZE);
    memcpy(huge, b, strlen(b)), huge[strlen(b)] = '\n';
    for (size_t i = strlen(b) + 65; i < sizeof huge; i += 65) huge[i] = '\n';
    CHECK_EQ_INT(load(CHOPIN_AUTH_EDDSA, pk_bytes(huge, CHOPIN_AUTH_PEM_MAX)), CHOPIN_AUTH_SIZE);  // more bytes than a key has
    CHECK_EQ_INT(load(CHOPIN_AUTH_EDDSA, pk_bytes(NULL, 0)), CHOPIN_AUTH_FORMAT);
}
/* A private half with a foreign public half, in each container that can hold both */
static void private_members_must_match(void) {
    chopin_str der = der_of(1, "p256.pem");
    uint8_t *b = (uint8_t *)(uintptr_t)der.ptr;
    chopin_jwk other;
    uint8_t d[32] = { 9 };
    CHECK_EQ_INT(chopin_jwk_p256(&other, pk_z(""), d), 0);
    chopin_auth__p256_store_field(b + der.len - 64, other.u.p256.x), chopin_auth__p256_store_field(b + der.len - 32, other.u.p256.y);
    CHECK_EQ_INT(load(CHOPIN_AUTH_ES256, der), CHOPIN_AUTH_KEY);
    der = der_of(1, "p256_sec1.pem"), b = (uint8_t *)(uintptr_t)der.ptr;
    chopin_auth__p256_store_field(b + der.len - 64, other.u.p256.x), chopin_auth__p256_store_field(b + der.len - 32, other.u.p256.y);
    CHECK_EQ_INT(load(CHOPIN_AUTH_ES256, der), CHOPIN_AUTH_KEY);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(loads_what_openssl_writes);
    RUN(refuses_with_a_reason);
    RUN(rfc8410_pair);
    RUN(every_truncation_refuses);
    RUN(every_changed_byte);
    RUN(der_is_der);
    RUN(integers_are_short_and_positive);
    RUN(pem_forms);
    RUN(private_members_must_match);
    return TEST_END();
}
