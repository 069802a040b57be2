/* test_auth_seal.c - signed and sealed cookies, CSRF tokens: AUTH.md 3.6 */
#include "auth.h"
#include "test.h"
#include "auth_kit.h"

#define LIT(text) { text, sizeof text - 1 }
#define ONE   { 1, LIT("first secret of thirty-two bytes") }
#define TWO   { 2, LIT("second secret of thirtytwo bytes") }
#define FALSE1 { 1, LIT("wrong secret of thirty-two bytes") }
static chopin_auth_cookie_ring ring, rotated, stranger;
static char text[8000], out[4000];

static void rings(void) {
    static const chopin_auth_cookie_key one[] = { ONE }, both[] = { TWO, ONE }, other[] = { FALSE1 };
    CHECK_EQ_INT(chopin_auth_cookie_ring_init(&ring, one, 1), 0);
    CHECK_EQ_INT(chopin_auth_cookie_ring_init(&rotated, both, 2), 0);
    CHECK_EQ_INT(chopin_auth_cookie_ring_init(&stranger, other, 1), 0);
}
typedef int writer(const chopin_auth_cookie_ring *, const chopin_auth_cookie *, chopin_str, char *, size_t);
static writer *const write_as[2] = { chopin_auth_cookie_sign, chopin_auth_cookie_seal }, *const read_as[2] = { chopin_auth_cookie_open, chopin_auth_cookie_unseal };
static const chopin_auth_cookie written = { LIT("cart"), LIT("shop"), 1700000100 }, reading = { LIT("cart"), LIT("shop"), 1700000000 };

static void cookies_are_bound(void) {
    rings();
    for (int w = 0; w < 2; w++) {
        chopin_str value = CHOPIN_STR("three apples");
        int n = write_as[w](&ring, &written, value, text, sizeof text);
        if (!CHECK(n > 0 && strlen(text) == (size_t)n)) continue;
        chopin_str t = { text, (size_t)n };
        chopin_auth_cookie c = reading;
        CHECK_EQ_INT(read_as[w](&ring, &c, t, out, sizeof out), (int)value.len);
        CHECK(memcmp(out, value.ptr, value.len) == 0);
        CHECK_EQ_INT(read_as[w](&ring, &c, t, out, value.len - 1), CHOPIN_AUTH_BUFFER);
        CHECK_EQ_INT(read_as[w](&ring, &c, t, out, value.len), (int)value.len);
        c.name = CHOPIN_STR("card");
        CHECK_EQ_INT(read_as[w](&ring, &c, t, out, sizeof out), CHOPIN_AUTH_SIGNATURE);
        c = reading, c.purpose = (chopin_str){ NULL, 0 };
        CHECK_EQ_INT(read_as[w](&ring, &c, t, out, sizeof out), CHOPIN_AUTH_SIGNATURE);
        c = reading, c.name = CHOPIN_STR("cartsh"), c.purpose = CHOPIN_STR("op");                                  // the same letters, cut elsewhere
        CHECK_EQ_INT(read_as[w](&ring, &c, t, out, sizeof out), CHOPIN_AUTH_SIGNATURE);
        c = reading, c.expires = 1700000099;
        CHECK(read_as[w](&ring, &c, t, out, sizeof out) > 0);
        c.expires = 1700000100;
        CHECK_EQ_INT(read_as[w](&ring, &c, t, out, sizeof out), CHOPIN_AUTH_EXPIRED);
        CHECK_EQ_INT(read_as[w](&stranger, &reading, t, out, sizeof out), CHOPIN_AUTH_SIGNATURE);
        CHECK_EQ_INT(read_as[w](&rotated, &reading, t, out, sizeof out), (int)value.len);                          // retired keys read
        CHECK_EQ_INT(read_as[1 - w](&ring, &reading, t, out, sizeof out), CHOPIN_AUTH_FORMAT);                     // signed is not sealed
        n = write_as[w](&rotated, &written, value, text, sizeof text);                                            // ... never write
        CHECK_EQ_INT(read_as[w](&ring, &reading, (chopin_str){ text, (size_t)n }, out, sizeof out), CHOPIN_AUTH_KEY_ID);
    }
}

static void sealed_values_hide_and_bind(void) {
    static char first[400], changed[401], opened[100];
    rings();
    for (int w = 0; w < 2; w++) {
        chopin_str value = CHOPIN_STR("a secret value that nobody reads");
        int n = write_as[w](&ring, &written, value, text, sizeof text);
        if (!CHECK(n > 0)) return;
        memcpy(first, text, (size_t)n);
        for (int i = 0; i < n; i++) {
            for (int bit = 0; bit < 8; bit++) {
                memcpy(changed, first, (size_t)n);
                changed[i] = (char)(changed[i] ^ 1 << bit);
                memset(opened, 0x55, sizeof opened);
                CHECK(read_as[w](&ring, &reading, (chopin_str){ changed, (size_t)n }, opened, sizeof opened) < 0);
                CHECK(opened[0] == 0x55 && opened[31] == 0x55);
            }
            memcpy(changed, first, (size_t)i), memcpy(changed + i, first + i + 1, (size_t)(n - i - 1));
            CHECK(read_as[w](&ring, &reading, (chopin_str){ changed, (size_t)n - 1 }, opened, sizeof opened) < 0);
        }
        int m = write_as[w](&ring, &written, value, text, sizeof text);
        CHECK(m == n && (memcmp(first, text, (size_t)n) == 0) == (w == 0));                                       // a sealed value has a fresh nonce
    }
    uint8_t bytes[300];
    int n = chopin_base64url_decode(kit_z(text), bytes, sizeof bytes);
    CHECK(n > 0);
    for (int i = 0; i + 8 < n; i++) CHECK(memcmp(bytes + i, "a secret", 8) != 0);
}

static void sizes_and_options_are_checked(void) {
    static char big[4000];
    static const chopin_auth_cookie_key twice[] = { ONE, FALSE1 }, weak[] = { { 1, LIT("short") } };
    chopin_auth_cookie_ring r;
    rings();
    CHECK_EQ_INT(chopin_auth_cookie_ring_init(&r, twice, 2), CHOPIN_AUTH_CONFIG);
    CHECK_EQ_INT(chopin_auth_cookie_ring_init(&r, weak, 1), CHOPIN_AUTH_WEAK_KEY);
    CHECK_EQ_INT(chopin_auth_cookie_ring_init(&r, NULL, 0), CHOPIN_AUTH_CONFIG);
    CHECK_EQ_INT(chopin_auth_cookie_sign(&r, &written, CHOPIN_STR("x"), text, sizeof text), CHOPIN_AUTH_CONFIG);
    for (int w = 0; w < 2; w++) {
        CHECK_EQ_INT(write_as[w](&ring, &written, (chopin_str){ big, 3073 }, text, sizeof text), CHOPIN_AUTH_SIZE);
        int n = write_as[w](&ring, &written, (chopin_str){ big, 3072 }, text, sizeof text);
        CHECK(n > 0 && read_as[w](&ring, &reading, (chopin_str){ text, (size_t)n }, out, sizeof out) == 3072);
        n = write_as[w](&ring, &written, (chopin_str){ NULL, 0 }, text, sizeof text);
        CHECK(n > 0 && read_as[w](&ring, &reading, (chopin_str){ text, (size_t)n }, out, 0) == 0);
        memset(text, 0x55, sizeof text);
        CHECK_EQ_INT(write_as[w](&ring, &written, CHOPIN_STR("x"), text, (size_t)n), CHOPIN_AUTH_BUFFER);
        CHECK(text[0] == 0x55);
        chopin_auth_cookie none = { { NULL, 0 }, { NULL, 0 }, 1 };
        CHECK_EQ_INT(write_as[w](&ring, &none, CHOPIN_STR("x"), text, sizeof text), CHOPIN_AUTH_ARG);
        for (size_t len = 0; len < 60; len++) CHECK(read_as[w](&ring, &reading, (chopin_str){ big, len }, out, sizeof out) < 0);
    }
}

static void csrf_tokens_belong_to_a_session(void) {
    char a[CHOPIN_AUTH_CSRF_TEXT], b[CHOPIN_AUTH_CSRF_TEXT];
    rings();
    CHECK_EQ_INT(chopin_auth_csrf_token(&ring, CHOPIN_STR("session one"), a), 0);
    CHECK_EQ_INT(chopin_auth_csrf_token(&ring, CHOPIN_STR("session one"), b), 0);
    CHECK(strcmp(a, b) != 0);
    CHECK_EQ_INT(chopin_auth_csrf_check(&ring, CHOPIN_STR("session one"), kit_z(a)), 0);
    CHECK_EQ_INT(chopin_auth_csrf_check(&ring, CHOPIN_STR("session one"), kit_z(b)), 0);
    CHECK_EQ_INT(chopin_auth_csrf_check(&rotated, CHOPIN_STR("session one"), kit_z(a)), 0);
    CHECK_EQ_INT(chopin_auth_csrf_check(&ring, CHOPIN_STR("session two"), kit_z(a)), CHOPIN_AUTH_CSRF);
    CHECK_EQ_INT(chopin_auth_csrf_check(&stranger, CHOPIN_STR("session one"), kit_z(a)), CHOPIN_AUTH_CSRF);
    CHECK_EQ_INT(chopin_auth_csrf_check(&ring, CHOPIN_STR("session one"), (chopin_str){ NULL, 0 }), CHOPIN_AUTH_CSRF);
    CHECK_EQ_INT(chopin_auth_csrf_check(&ring, (chopin_str){ NULL, 0 }, kit_z(a)), CHOPIN_AUTH_CSRF);
    for (size_t i = 0; i < strlen(a); i++) {
        char changed[CHOPIN_AUTH_CSRF_TEXT];
        memcpy(changed, a, sizeof changed);
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        CHECK_EQ_INT(chopin_auth_csrf_check(&ring, CHOPIN_STR("session one"), kit_z(changed)), CHOPIN_AUTH_CSRF);
    }
}

static void csrf_three_lines(void) {
    chopin_str none = { NULL, 0 }, ours = CHOPIN_STR("https://shop.example, https://www.shop.example:8443");
    static const struct { const char *site, *origin; int rc; } rows[] = {
        { "same-origin", NULL, 0 }, { "none", NULL, 0 }, { "same-origin", "https://evil.example", 0 }, { "cross-site", "https://shop.example", CHOPIN_AUTH_CSRF }, { "same-site", NULL, CHOPIN_AUTH_CSRF }, { "", NULL, CHOPIN_AUTH_CSRF },
        { "Same-Origin", NULL, CHOPIN_AUTH_CSRF }, { NULL, NULL, CHOPIN_AUTH_MISSING }, { NULL, "https://shop.example", 0 }, { NULL, "https://www.shop.example:8443", 0 }, { NULL, "null", CHOPIN_AUTH_CSRF },
        { NULL, "http://shop.example", CHOPIN_AUTH_CSRF }, { NULL, "https://shop.example:444", CHOPIN_AUTH_CSRF }, { NULL, "https://www.shop.example", CHOPIN_AUTH_CSRF }, { NULL, "https://shop.example.evil.example", CHOPIN_AUTH_CSRF }, { NULL, "", CHOPIN_AUTH_CSRF } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int rc = chopin_auth_csrf_origin(rows[i].site ? kit_z(rows[i].site) : none, rows[i].origin ? kit_z(rows[i].origin) : none, ours);
        if (!CHECK_EQ_INT(rc, rows[i].rc)) printf("  %s %s\n", rows[i].site ? rows[i].site : "-", rows[i].origin ? rows[i].origin : "-");
    }
    CHECK_EQ_INT(chopin_auth_csrf_origin(none, CHOPIN_STR("null"), CHOPIN_STR("null")), CHOPIN_AUTH_CSRF);
    CHECK_EQ_INT(chopin_auth_csrf_origin(none, CHOPIN_STR("https://shop.example"), none), CHOPIN_AUTH_CSRF);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(cookies_are_bound);
    RUN(sealed_values_hide_and_bind);
    RUN(sizes_and_options_are_checked);
    RUN(csrf_tokens_belong_to_a_session);
    RUN(csrf_three_lines);
    return TEST_END();
}
