/* test_auth_jwt.c - claims: the rules of AUTH.md 3.1, each with its twin one step inside the rule */
#include "auth.h"
#include "test.h"
#include "auth_kit.h"

static chopin_jwk key;
static char room[140000];
static chopin_jwt me;

static chopin_jwt_verifier_options strict(void) {
    return (chopin_jwt_verifier_options){ .key = &key, .iss = CHOPIN_STR("me"), .aud = CHOPIN_STR("us"), .leeway_s = -1, .clock = kit_clock };
}
static int check_with(chopin_jwt_verifier_options o, chopin_str token) {
    chopin_jwt_verifier v;
    int rc = chopin_jwt_verifier_init(&v, &o);
    if (rc < 0) { printf("init: %s\n", v.problem); return rc; }
    return chopin_jwt_verify(&v, token, room, sizeof room, &me);
}
static bool all_zero(const void *p, size_t n) {
    for (const unsigned char *b = p; n > 0; n--, b++) if (*b) return false;
    return true;
}
/* A payload with standard header, strict policy. */
static int claims(const char *payload) { return check_with(strict(), kit_token(KIT_HEADER, payload)); }

static void exp_is_required(void) {
    chopin_jwt_verifier_options o = strict();
    CHECK_EQ_INT(claims("{" KIT_CLAIMS "}"), 0);
    CHECK_EQ_INT(claims("{\"iss\":\"me\",\"aud\":\"us\"}"), CHOPIN_AUTH_CLAIM);
    CHECK_EQ_INT(claims("{\"iss\":\"me\",\"aud\":\"us\",\"iat\":1699999000}"), CHOPIN_AUTH_CLAIM);
    o.no_exp = true;
    CHECK_EQ_INT(check_with(o, kit_token(KIT_HEADER, "{\"iss\":\"me\",\"aud\":\"us\"}")), CHOPIN_AUTH_CLAIM);
    CHECK_EQ_INT(check_with(o, kit_token(KIT_HEADER, "{\"iss\":\"me\",\"aud\":\"us\",\"iat\":1699999000}")), 0);
    CHECK_EQ_INT(check_with(o, kit_token(KIT_HEADER, "{\"iss\":\"me\",\"aud\":\"us\",\"iat\":1699913601}")), 0);               // 24 h less a second
    CHECK_EQ_INT(check_with(o, kit_token(KIT_HEADER, "{\"iss\":\"me\",\"aud\":\"us\",\"iat\":1699913600}")), CHOPIN_AUTH_EXPIRED);
    o.max_age_s = 10;
    CHECK_EQ_INT(check_with(o, kit_token(KIT_HEADER, "{\"iss\":\"me\",\"aud\":\"us\",\"iat\":1699999991}")), 0);
    CHECK_EQ_INT(check_with(o, kit_token(KIT_HEADER, "{\"iss\":\"me\",\"aud\":\"us\",\"iat\":1699999990}")), CHOPIN_AUTH_EXPIRED);
    o.no_exp = false;
    CHECK_EQ_INT(check_with(o, kit_token(KIT_HEADER, "{" KIT_CLAIMS "}")), CHOPIN_AUTH_CLAIM);                                  // max age wants iat
}

static void times_are_numbers(void) {
    static const char *const bad[] = { "\"1700000100\"", "true", "null", "[1700000100]", "{}", "-1", "-0.5", "9007199254740993", "1e400", "1e16", "01700000100", "+1", "1.", "NaN" };
    char payload[200];
    chopin_jwt_verifier_options waived = strict();
    waived.no_exp = true;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        for (int which = 0; which < 3; which++) {
            const char *name = which == 0 ? "exp" : which == 1 ? "nbf" : "iat";
            snprintf(payload, sizeof payload, "{\"iss\":\"me\",\"aud\":\"us\",%s\"%s\":%s%s}", which ? "\"exp\":1700000100," : "", name, bad[i], which == 2 ? "" : ",\"iat\":1");
            int rc = claims(payload);
            if (!CHECK(rc == CHOPIN_AUTH_CLAIM || rc == CHOPIN_AUTH_FORMAT)) printf("  %s: %d\n", payload, rc);
            waived.max_age_s = INT64_MAX;
            rc = check_with(waived, kit_token(KIT_HEADER, payload));
            if (!CHECK(rc == CHOPIN_AUTH_CLAIM || rc == CHOPIN_AUTH_FORMAT)) printf("  waived %s: %d\n", payload, rc);
        }
    }
    CHECK_EQ_INT(claims("{\"iss\":\"me\",\"aud\":\"us\",\"exp\":1.7000001e9}"), 0);
    CHECK_EQ_INT(me.exp, 1700000100);
    CHECK_EQ_INT(claims("{\"iss\":\"me\",\"aud\":\"us\",\"exp\":1700000001.9}"), 0);
    CHECK_EQ_INT(me.exp, 1700000001);
    CHECK_EQ_INT(claims("{\"iss\":\"me\",\"aud\":\"us\",\"exp\":1700000000.9}"), CHOPIN_AUTH_EXPIRED);
    CHECK_EQ_INT(claims("{" KIT_CLAIMS ",\"nbf\":1700000000.0}"), 0);
    CHECK_EQ_INT(claims("{" KIT_CLAIMS ",\"nbf\":1700000000.1}"), CHOPIN_AUTH_EARLY);
    CHECK_EQ_INT(claims("{" KIT_CLAIMS ",\"iat\":1700000000.1}"), CHOPIN_AUTH_EARLY);
    CHECK_EQ_INT(claims("{" KIT_CLAIMS ",\"iat\":1699999999.1}"), 0);
    CHECK_EQ_INT(claims("{\"iss\":\"me\",\"aud\":\"us\",\"exp\":9007199254740992}"), 0);
}

static void time_edges_are_exact(void) {
    static const int leeways[] = { -1, 30, 300 };
    for (size_t i = 0; i < 3; i++) {
        int64_t leeway = leeways[i] < 0 ? 0 : leeways[i];
        chopin_jwt_verifier_options o = strict();
        o.leeway_s = leeways[i];
        chopin_str t = kit_token(KIT_HEADER, "{\"iss\":\"me\",\"aud\":\"us\",\"exp\":1700000000}");
        for (int d = -1; d <= 1; d++) {
            kit_now = KIT_NOW + leeway + d;
            CHECK_EQ_INT(check_with(o, t), d < 0 ? 0 : CHOPIN_AUTH_EXPIRED);
        }
        t = kit_token(KIT_HEADER, "{\"iss\":\"me\",\"aud\":\"us\",\"exp\":1800000000,\"nbf\":1700000000}");
        for (int d = -1; d <= 1; d++) {
            kit_now = KIT_NOW - leeway + d;
            CHECK_EQ_INT(check_with(o, t), d < 0 ? CHOPIN_AUTH_EARLY : 0);
        }
        t = kit_token(KIT_HEADER, "{\"iss\":\"me\",\"aud\":\"us\",\"exp\":1800000000,\"iat\":1700000000}");
        for (int d = -1; d <= 1; d++) {
            kit_now = KIT_NOW - leeway + d;
            CHECK_EQ_INT(check_with(o, t), d < 0 ? CHOPIN_AUTH_EARLY : 0);
        }
    }
    chopin_jwt_verifier_options o = strict();
    o.leeway_s = 300;
    kit_now = INT64_MAX;                                                 // sums saturate
    CHECK_EQ_INT(check_with(o, kit_token(KIT_HEADER, "{\"iss\":\"me\",\"aud\":\"us\",\"exp\":9007199254740992}")), CHOPIN_AUTH_EXPIRED);
    kit_now = INT64_MIN;
    CHECK_EQ_INT(check_with(o, kit_token(KIT_HEADER, "{\"iss\":\"me\",\"aud\":\"us\",\"exp\":1,\"nbf\":1}")), CHOPIN_AUTH_EARLY);
    kit_now = KIT_NOW;
}

static void audience_and_issuer_are_exact(void) {
    static const struct { const char *payload; int rc; } rows[] = {
        { "{\"iss\":\"me\",\"aud\":[\"us\"],\"exp\":1700000100}", 0 },
        { "{\"iss\":\"me\",\"aud\":[\"them\",\"us\"],\"exp\":1700000100}", 0 },
        { "{\"iss\":\"me\",\"aud\":[\"\\u0075s\"],\"exp\":1700000100}", 0 },
        { "{\"iss\":\"\\u006de\",\"aud\":\"u\\u0073\",\"exp\":1700000100}", 0 },
        { "{\"iss\":\"me\",\"aud\":\"them\",\"exp\":1700000100}", CHOPIN_AUTH_AUDIENCE },
        { "{\"iss\":\"me\",\"aud\":\"u\",\"exp\":1700000100}", CHOPIN_AUTH_AUDIENCE },
        { "{\"iss\":\"me\",\"aud\":\"uss\",\"exp\":1700000100}", CHOPIN_AUTH_AUDIENCE },
        { "{\"iss\":\"me\",\"aud\":\"US\",\"exp\":1700000100}", CHOPIN_AUTH_AUDIENCE },
        { "{\"iss\":\"me\",\"aud\":\"\",\"exp\":1700000100}", CHOPIN_AUTH_AUDIENCE },
        { "{\"iss\":\"me\",\"aud\":[\"them\",\"those\"],\"exp\":1700000100}", CHOPIN_AUTH_AUDIENCE },
        { "{\"iss\":\"me\",\"aud\":[],\"exp\":1700000100}", CHOPIN_AUTH_CLAIM },
        { "{\"iss\":\"me\",\"aud\":[\"us\",1],\"exp\":1700000100}", CHOPIN_AUTH_CLAIM },
        { "{\"iss\":\"me\",\"aud\":[[\"us\"]],\"exp\":1700000100}", CHOPIN_AUTH_CLAIM },
        { "{\"iss\":\"me\",\"aud\":{\"us\":1},\"exp\":1700000100}", CHOPIN_AUTH_CLAIM },
        { "{\"iss\":\"me\",\"aud\":true,\"exp\":1700000100}", CHOPIN_AUTH_CLAIM },
        { "{\"iss\":\"me\",\"exp\":1700000100}", CHOPIN_AUTH_CLAIM },
        { "{\"iss\":\"me\",\"aud\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\",\"13\",\"14\",\"15\",\"us\"],\"exp\":1700000100}", 0 },
        { "{\"iss\":\"me\",\"aud\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\",\"13\",\"14\",\"15\",\"16\",\"us\"],\"exp\":1700000100}", CHOPIN_AUTH_CLAIM },
        { "{\"iss\":\"you\",\"aud\":\"us\",\"exp\":1700000100}", CHOPIN_AUTH_ISSUER },
        { "{\"iss\":\"ME\",\"aud\":\"us\",\"exp\":1700000100}", CHOPIN_AUTH_ISSUER },
        { "{\"iss\":\"me/\",\"aud\":\"us\",\"exp\":1700000100}", CHOPIN_AUTH_ISSUER },
        { "{\"iss\":\"m\",\"aud\":\"us\",\"exp\":1700000100}", CHOPIN_AUTH_ISSUER },
        { "{\"iss\":[\"me\"],\"aud\":\"us\",\"exp\":1700000100}", CHOPIN_AUTH_CLAIM },
        { "{\"iss\":null,\"aud\":\"us\",\"exp\":1700000100}", CHOPIN_AUTH_CLAIM },
        { "{\"aud\":\"us\",\"exp\":1700000100}", CHOPIN_AUTH_CLAIM },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int rc = claims(rows[i].payload);
        if (!CHECK_EQ_INT(rc, rows[i].rc)) printf("  %s\n", rows[i].payload);
    }
    chopin_jwt_verifier_options o = strict();
    o.iss = o.aud = CHOPIN_AUTH_ANY;
    CHECK_EQ_INT(check_with(o, kit_token(KIT_HEADER, "{\"exp\":1700000100}")), 0);
    CHECK_EQ_INT(check_with(o, kit_token(KIT_HEADER, "{\"exp\":1700000100,\"aud\":[\"first\",\"second\"]}")), 0);
    CHECK_STR(me.aud, "first");
    CHECK_EQ_INT(check_with(o, kit_token(KIT_HEADER, "{\"exp\":1700000100,\"aud\":7}")), CHOPIN_AUTH_CLAIM);
}

static void typ_keeps_purposes_apart(void) {
    static const struct { const char *typ, *wanted; int rc; } rows[] = {
        { ",\"typ\":\"at+jwt\"", NULL, 0 }, { ",\"typ\":\"AT+JWT\"", NULL, 0 }, { ",\"typ\":\"application/at+jwt\"", NULL, 0 }, { ",\"typ\":\"Application/At+Jwt\"", NULL, 0 },
        { ",\"typ\":\"JWT\"", NULL, CHOPIN_AUTH_TYPE }, { "", NULL, CHOPIN_AUTH_TYPE }, { ",\"typ\":\"at+jw\"", NULL, CHOPIN_AUTH_TYPE }, { ",\"typ\":\"\"", NULL, CHOPIN_AUTH_TYPE },
        { ",\"typ\":\"application/\"", NULL, CHOPIN_AUTH_TYPE }, { ",\"typ\":\"JWT\"", "JWT", 0 }, { "", "JWT", 0 }, { ",\"typ\":\"at+jwt\"", "JWT", CHOPIN_AUTH_TYPE },
        { ",\"typ\":\"logout+jwt\"", "logout+jwt", 0 }, { "", "logout+jwt", CHOPIN_AUTH_TYPE }, { ",\"typ\":\"anything\"", "*", 0 }, { ",\"typ\":1", "*", CHOPIN_AUTH_FORMAT },
    };
    char header[100];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        chopin_jwt_verifier_options o = strict();
        if (rows[i].wanted) o.typ = kit_z(rows[i].wanted);
        snprintf(header, sizeof header, "{\"alg\":\"HS256\"%s}", rows[i].typ);
        if (!CHECK_EQ_INT(check_with(o, kit_token(header, "{" KIT_CLAIMS "}")), rows[i].rc)) printf("  %s\n", header);
    }
}

static void nothing_unverified_leaves(void) {
    static const char *const headers[] = { "{\"alg\":\"none\"}", "{\"alg\":\"HS256\",\"typ\":\"JWT\"}", "{\"alg\":\"HS256\",\"crit\":[\"x\"],\"x\":1}", "{\"alg\":\"HS256\"", KIT_HEADER };
    static const char *const payloads[] = { "{" KIT_CLAIMS "}", "{\"iss\":\"you\",\"aud\":\"us\",\"exp\":1700000100}", "{\"iss\":\"me\",\"aud\":\"no\",\"exp\":1700000100}",
        "{\"iss\":\"me\",\"aud\":\"us\",\"exp\":1}", "{\"iss\":\"me\",\"aud\":\"us\",\"exp\":1700000100,\"sub\":1}", "not json", "{\"iss\":\"me\",\"aud\":\"us\",\"exp\":1700000100} x" };
    int refused = 0;
    for (size_t h = 0; h < sizeof headers / sizeof *headers; h++) for (size_t p = 0; p < sizeof payloads / sizeof *payloads; p++) for (int spoil = 0; spoil < 2; spoil++) {
        chopin_str t = kit_token(headers[h], payloads[p]);
        if (spoil) kit_buffer[t.len - 3] ^= 1;
        memset(&me, 0xee, sizeof me);
        memset(room, 0, sizeof room);
        int rc = check_with(strict(), t);
        if (rc == 0) { CHECK(h == 4 && p == 0 && !spoil); continue; }
        refused++;
        CHECK(all_zero(&me, sizeof me));
        CHECK(all_zero(room, 2000));
    }
    CHECK_EQ_INT(refused, 5 * 7 * 2 - 1);
}

static void size_is_checked_first(void) {
    static char big[70000];
    chopin_jwt_verifier_options o = strict();
    memset(big, 'A', sizeof big);
    CHECK_EQ_INT(check_with(o, (chopin_str){ big, 65536 }), CHOPIN_AUTH_SIZE);
    CHECK_EQ_INT(check_with(o, (chopin_str){ (const char *)8, (size_t)1 << 30 }), CHOPIN_AUTH_SIZE);         // no byte is read
    o.max_token = 65536;
    CHECK_EQ_INT(check_with(o, (chopin_str){ big, 65536 }), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(check_with(o, (chopin_str){ big, 65537 }), CHOPIN_AUTH_SIZE);
    memset(big, '.', sizeof big);
    CHECK_EQ_INT(check_with(o, (chopin_str){ big, 60000 }), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(check_with(o, (chopin_str){ big, 0 }), CHOPIN_AUTH_FORMAT);
    CHECK_EQ_INT(check_with(o, (chopin_str){ NULL, 0 }), CHOPIN_AUTH_FORMAT);
    memset(big, 'A', sizeof big);
    big[3000] = big[3001] = '.';
    CHECK_EQ_INT(check_with(o, (chopin_str){ big, 3100 }), CHOPIN_AUTH_SIZE);                                 // header over 1 KiB
}

static void no_nul_inside_claims(void) {
    static const char *const bad[] = { "\"iss\":\"me\\u0000\",\"aud\":\"us\"", "\"iss\":\"me\",\"aud\":\"us\\u0000\"", "\"iss\":\"me\",\"aud\":[\"us\",\"x\\u0000\"]",
        "\"iss\":\"me\",\"aud\":\"us\",\"sub\":\"a\\u0000b\"", "\"iss\":\"me\",\"aud\":\"us\",\"jti\":\"\\u0000\"", "\"iss\":\"me\",\"aud\":\"us\",\"roles\":[\"admin\\u0000\"]",
        "\"iss\":\"me\",\"aud\":\"us\",\"scope\":\"a\\u0000\"", "\"iss\":\"me\",\"aud\":\"us\",\"permissions\":[\"\\u0000\"]", "\"iss\":\"me\",\"aud\":\"us\",\"scp\":\"\\u0000\"" };
    char payload[200];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(payload, sizeof payload, "{%s,\"exp\":1700000100}", bad[i]);
        if (!CHECK_EQ_INT(claims(payload), CHOPIN_AUTH_FORMAT)) printf("  %s\n", payload);
    }
    CHECK_EQ_INT(claims("{" KIT_CLAIMS ",\"note\":\"a\\u0000b\"}"), 0);
    CHECK_EQ_INT(check_with(strict(), kit_token("{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"kid\":\"a\\u0000\"}", "{" KIT_CLAIMS "}")), CHOPIN_AUTH_FORMAT);
}

static void claim_getters_check_types(void) {
    chopin_str s;
    int64_t i;
    double  f;
    bool    b;
    CHECK_EQ_INT(claims("{" KIT_CLAIMS ",\"s\":\"t\\u00e4xt \\\"q\\\"\",\"e\":\"\",\"n\":42,\"f\":0.1,\"b\":true,\"z\":null,\"o\":{\"a\":[1,\"x\\ny\"]},\"\\u006ba\":7,\"big\":9007199254740993,\"neg\":-5}"), 0);
    CHECK_EQ_INT(chopin_jwt_str(&me, "s", &s), 0);
    CHECK_STR(s, "t\xc3\xa4xt \"q\"");
    CHECK_EQ_INT(chopin_jwt_str(&me, "e", &s), 0);
    CHECK(s.ptr && s.len == 0);
    CHECK_EQ_INT(chopin_jwt_str(&me, "n", &s), CHOPIN_AUTH_CLAIM);
    CHECK(!s.ptr);
    CHECK_EQ_INT(chopin_jwt_str(&me, "absent", &s), CHOPIN_AUTH_MISSING);
    CHECK_EQ_INT(chopin_jwt_i64(&me, "n", &i), 0);
    CHECK_EQ_INT(i, 42);
    CHECK_EQ_INT(chopin_jwt_i64(&me, "neg", &i), 0);
    CHECK_EQ_INT(i, -5);
    CHECK_EQ_INT(chopin_jwt_i64(&me, "f", &i), CHOPIN_AUTH_CLAIM);
    CHECK_EQ_INT(chopin_jwt_i64(&me, "big", &i), CHOPIN_AUTH_CLAIM);
    CHECK_EQ_INT(i, 0);
    CHECK_EQ_INT(chopin_jwt_i64(&me, "s", &i), CHOPIN_AUTH_CLAIM);
    CHECK_EQ_INT(chopin_jwt_f64(&me, "f", &f), 0);
    CHECK(memcmp(&f, &(double){ 0.1 }, sizeof f) == 0);
    CHECK_EQ_INT(chopin_jwt_f64(&me, "s", &f), CHOPIN_AUTH_CLAIM);
    CHECK_EQ_INT(chopin_jwt_bool(&me, "b", &b), 0);
    CHECK(b);
    CHECK_EQ_INT(chopin_jwt_bool(&me, "n", &b), CHOPIN_AUTH_CLAIM);
    CHECK_EQ_INT(chopin_jwt_bool(&me, "absent", &b), CHOPIN_AUTH_MISSING);
    CHECK_EQ_INT(chopin_jwt_raw(&me, "o", &s), 0);
    CHECK_STR(s, "{\"a\":[1,\"x\\ny\"]}");
    CHECK_EQ_INT(chopin_jwt_raw(&me, "s", &s), CHOPIN_AUTH_CLAIM);
    CHECK_EQ_INT(chopin_jwt_i64(&me, "ka", &i), 0);
    CHECK(chopin_jwt_has(&me, "z") && !chopin_jwt_has(&me, "zz") && chopin_jwt_has(&me, "ka"));
    chopin_jwt none;
    memset(&none, 0, sizeof none);
    CHECK_EQ_INT(chopin_jwt_str(&none, "s", &s), CHOPIN_AUTH_MISSING);
}

static void verifier_without_policy_does_not_start(void) {
    chopin_jwt_verifier v;
    chopin_jwks *set = (chopin_jwks *)&v;                                // never looked at
    chopin_jwk   none;
    memset(&none, 0, sizeof none);
    struct { chopin_jwt_verifier_options o; const char *field; } rows[10];
    for (int i = 0; i < 10; i++) rows[i].o = strict();
    rows[0].o.iss = (chopin_str){ NULL, 0 }, rows[0].field = "iss";
    rows[1].o.aud = (chopin_str){ NULL, 0 }, rows[1].field = "aud";
    rows[2].o.key = NULL, rows[2].field = "key";
    rows[3].o.keys = set, rows[3].field = "keys";
    rows[4].o.leeway_s = 301, rows[4].field = "leeway_s";
    rows[5].o.leeway_s = -2, rows[5].field = "leeway_s";
    rows[6].o.max_token = 65537, rows[6].field = "max_token";
    rows[7].o.max_age_s = -1, rows[7].field = "max_age_s";
    rows[8].o.key = &none, rows[8].field = "key";
    rows[9].o.iss = CHOPIN_STR(""), rows[9].field = "iss";
    for (int i = 0; i < 10; i++) {
        CHECK_EQ_INT(chopin_jwt_verifier_init(&v, &rows[i].o), CHOPIN_AUTH_CONFIG);
        CHECK(v.problem && strstr(v.problem, rows[i].field));
        CHECK_EQ_INT(chopin_jwt_verify(&v, kit_token(KIT_HEADER, "{" KIT_CLAIMS "}"), room, sizeof room, &me), CHOPIN_AUTH_CONFIG);
    }
    chopin_jwt_verifier_options good = strict();
    good.leeway_s = 300;
    CHECK_EQ_INT(chopin_jwt_verifier_init(&v, &good), 0);
    CHECK(!v.problem);
}

static chopin_jwt_issuer_options mint_options(void) {
    return (chopin_jwt_issuer_options){ .key = &key, .iss = CHOPIN_STR("me"), .aud = CHOPIN_STR("us"), .clock = kit_clock };
}

static void buffers_of_every_size(void) {
    static char out[2000], guarded[2000];
    chopin_jwt_issuer mint;
    chopin_jwt_verifier v;
    chopin_jwt_verifier_options o = strict();
    chopin_jwt_issuer_options m = mint_options();
    CHECK_EQ_INT(chopin_jwt_issuer_init(&mint, &m), 0);
    CHECK_EQ_INT(chopin_jwt_verifier_init(&v, &o), 0);
    for (size_t extra = 0; extra < 70; extra++) {
        char name[100] = { 0 };
        memset(name, 'n', extra);
        chopin_jwt_claims c = { .sub = { name, extra }, .jti = CHOPIN_STR("j"), .scope = CHOPIN_STR("a b") };
        int n = chopin_jwt_issue(&mint, &c, out, sizeof out);
        if (!CHECK(n > 0)) return;
        memset(guarded, 0x55, sizeof guarded);
        CHECK_EQ_INT(chopin_jwt_issue(&mint, &c, guarded, (size_t)n - 1), CHOPIN_AUTH_BUFFER);
        for (int i = 0; i < n + 10; i++) if (guarded[i] != 0x55) { CHECK(false && "written"); break; }
        CHECK_EQ_INT(chopin_jwt_issue(&mint, &c, guarded, (size_t)n), n);
        CHECK(memcmp(out, guarded, (size_t)n) == 0 && guarded[n] == 0x55);
        chopin_str t = { out, (size_t)n };
        size_t need = 0, dot = 0;
        for (size_t i = 0; i < t.len; i++) if (out[i] == '.' && need == 0) { need = i * 3 / 4; dot = i; } else if (out[i] == '.') { need += (i - dot - 1) * 3 / 4; break; }
        memset(guarded, 0x55, sizeof guarded);
        CHECK_EQ_INT(chopin_jwt_verify(&v, t, guarded, need - 1, &me), CHOPIN_AUTH_BUFFER);
        CHECK(guarded[0] == 0x55 && all_zero(&me, sizeof me));
        CHECK_EQ_INT(chopin_jwt_verify(&v, t, guarded, need, &me), 0);
        CHECK(me.sub.len == extra && guarded[need] == 0x55);
        CHECK_EQ_INT(chopin_jwt_verify(&v, t, guarded, t.len * 3 / 4, &me), 0);
    }
}

static void issue_then_verify(void) {
    static char out[70000];
    chopin_jwt_issuer mint;
    chopin_jwt_issuer_options m = mint_options();
    CHECK_EQ_INT(chopin_jwt_issuer_init(&mint, &m), 0);
    chopin_jwt_claims c = { .sub = CHOPIN_STR("4\"2\n\xc3\xa4\\"), .scope = CHOPIN_STR("orders:read"), .nonce = CHOPIN_STR("n"), .extra = CHOPIN_STR(" { \"roles\" : [\"clerk\"], \"x\":\"\\u0041\" } ") };
    int n = chopin_jwt_issue(&mint, &c, out, sizeof out);
    if (!CHECK(n > 0)) return;
    CHECK_EQ_INT(check_with(strict(), (chopin_str){ out, (size_t)n }), 0);
    CHECK_STR(me.sub, "4\"2\n\xc3\xa4\\");
    CHECK_STR(me.iss, "me");
    CHECK_STR(me.scope, "orders:read");
    CHECK_EQ_INT(me.exp, KIT_NOW + 900);
    CHECK_EQ_INT(me.iat, KIT_NOW);
    CHECK_EQ_INT(me.jti.len, 22);
    chopin_str x;
    CHECK_EQ_INT(chopin_jwt_str(&me, "x", &x), 0);
    CHECK_STR(x, "A");
    char first[30];
    memcpy(first, me.jti.ptr, 22);
    n = chopin_jwt_issue(&mint, &c, out, sizeof out);
    CHECK(n > 0 && check_with(strict(), (chopin_str){ out, (size_t)n }) == 0 && memcmp(first, me.jti.ptr, 22) != 0);
    CHECK_EQ_INT(kit_now, KIT_NOW);
}

static void extra_claims_are_checked(void) {
    static const char *const bad[] = { "[]", "{", "{}x", "{\"a\":1,}", "{\"sub\":\"1\"}", "{\"\\u0073ub\":\"1\"}", "{\"exp\":9}", "{\"iss\":1}", "{\"aud\":1}", "{\"jti\":1}", "{\"iat\":1}", "{\"nbf\":1}",
        "{\"scope\":1}", "{\"nonce\":1}", "{\"a\":1,\"a\":2}", "{\"a\":\"\xff\"}", "", "null", "{\"a\":1}{\"b\":2}", "},\"admin\":true,\"x\":{" };
    static char out[3000];
    chopin_jwt_issuer mint;
    chopin_jwt_issuer_options m = mint_options();
    CHECK_EQ_INT(chopin_jwt_issuer_init(&mint, &m), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memset(out, 0x55, sizeof out);
        if (!CHECK_EQ_INT(chopin_jwt_issue(&mint, &(chopin_jwt_claims){ .sub = CHOPIN_STR("1"), .extra = kit_z(bad[i]) }, out, sizeof out), CHOPIN_AUTH_CLAIM)) printf("  %s\n", bad[i]);
        CHECK(out[0] == 0x55);
    }
    CHECK(chopin_jwt_issue(&mint, &(chopin_jwt_claims){ .extra = CHOPIN_STR("{}") }, out, sizeof out) > 0);
    CHECK_EQ_INT(chopin_jwt_issue(&mint, &(chopin_jwt_claims){ .sub = CHOPIN_STR("\xff") }, out, sizeof out), CHOPIN_AUTH_CLAIM);
    CHECK_EQ_INT(chopin_jwt_issue(&mint, &(chopin_jwt_claims){ .sub = CHOPIN_STR("a\0b") }, out, sizeof out), CHOPIN_AUTH_CLAIM);
    CHECK_EQ_INT(chopin_jwt_issue(&mint, &(chopin_jwt_claims){ .ttl_s = -1 }, out, sizeof out), CHOPIN_AUTH_ARG);
}

static void issuer_without_policy_does_not_start(void) {
    chopin_jwt_issuer i;
    chopin_jwt_issuer_options o = mint_options();
    char out[100];
    o.iss.len = 0;
    CHECK_EQ_INT(chopin_jwt_issuer_init(&i, &o), CHOPIN_AUTH_CONFIG);
    CHECK(i.problem && strstr(i.problem, "iss"));
    CHECK_EQ_INT(chopin_jwt_issue(&i, &(chopin_jwt_claims){ .ttl_s = 1 }, out, sizeof out), CHOPIN_AUTH_CONFIG);
    o = mint_options(), o.aud.len = 0;
    CHECK_EQ_INT(chopin_jwt_issuer_init(&i, &o), CHOPIN_AUTH_CONFIG);
    o = mint_options(), o.key = NULL;
    CHECK_EQ_INT(chopin_jwt_issuer_init(&i, &o), CHOPIN_AUTH_CONFIG);
}

static void further_claims_can_be_required(void) {
    static const char *const need[] = { "sub", "tenant", NULL };
    chopin_jwt_verifier_options o = strict();
    o.require = need;
    CHECK_EQ_INT(check_with(o, kit_token(KIT_HEADER, "{" KIT_CLAIMS ",\"sub\":\"1\",\"tenant\":7}")), 0);
    CHECK_EQ_INT(check_with(o, kit_token(KIT_HEADER, "{" KIT_CLAIMS ",\"sub\":\"1\"}")), CHOPIN_AUTH_CLAIM);
    CHECK_EQ_INT(check_with(o, kit_token(KIT_HEADER, "{" KIT_CLAIMS ",\"sub\":\"1\",\"tenant\":null}")), CHOPIN_AUTH_CLAIM);
    o = strict(), o.sub = CHOPIN_STR("1"), o.nonce = CHOPIN_STR("n");
    CHECK_EQ_INT(check_with(o, kit_token(KIT_HEADER, "{" KIT_CLAIMS ",\"sub\":\"1\",\"nonce\":\"n\"}")), 0);
    CHECK_EQ_INT(check_with(o, kit_token(KIT_HEADER, "{" KIT_CLAIMS ",\"sub\":\"1\",\"nonce\":\"m\"}")), CHOPIN_AUTH_CLAIM);
    CHECK_EQ_INT(check_with(o, kit_token(KIT_HEADER, "{" KIT_CLAIMS ",\"sub\":\"2\",\"nonce\":\"n\"}")), CHOPIN_AUTH_CLAIM);
    CHECK_EQ_INT(check_with(o, kit_token(KIT_HEADER, "{" KIT_CLAIMS ",\"sub\":\"1\"}")), CHOPIN_AUTH_CLAIM);
}

/* No heap call: malloc and its siblings abort while tokens are made and verified. Not under sanitizers, which have a heap of their own. */
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
static bool heap_aborts;
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
void *malloc(size_t n) { if (heap_aborts) abort(); return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { if (heap_aborts) abort(); return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { if (heap_aborts) abort(); return __libc_realloc(p, n); }
#define HEAP_ABORTS(on) (heap_aborts = (on))
#else
#define HEAP_ABORTS(on) ((void)(on))
#endif
static void no_heap_calls(void) {
    static char out[2000];
    chopin_jwt_issuer mint;
    chopin_jwt_issuer_options m = mint_options();
    chopin_str x;
    HEAP_ABORTS(true);
    int rc = chopin_jwt_issuer_init(&mint, &m);
    int n = chopin_jwt_issue(&mint, &(chopin_jwt_claims){ .sub = CHOPIN_STR("1"), .extra = CHOPIN_STR("{\"x\":\"\\n\"}") }, out, sizeof out);
    int ok = n > 0 ? check_with(strict(), (chopin_str){ out, (size_t)n }) : n, got = chopin_jwt_str(&me, "x", &x);
    int bad = check_with(strict(), kit_token("{\"alg\":\"none\"}", "{}"));
    HEAP_ABORTS(false);
    CHECK(rc == 0 && ok == 0 && got == 0 && x.len == 1 && bad == CHOPIN_AUTH_ALG);
}

/* Every bit flipped, every byte dropped or doubled: never the same verdict as the original. */
static void mutations_never_pass(void) {
    static char copy[400], changed[401];
    chopin_str t = kit_token(KIT_HEADER, "{" KIT_CLAIMS ",\"sub\":\"42\"}");
    memcpy(copy, t.ptr, t.len);
    for (size_t i = 0; i < t.len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            memcpy(changed, copy, t.len);
            changed[i] = (char)(changed[i] ^ (1 << bit));
            CHECK(check_with(strict(), (chopin_str){ changed, t.len }) < 0);
        }
        memcpy(changed, copy, i), memcpy(changed + i, copy + i + 1, t.len - i - 1);
        CHECK(check_with(strict(), (chopin_str){ changed, t.len - 1 }) < 0);
        memcpy(changed, copy, i + 1), memcpy(changed + i + 1, copy + i, t.len - i);
        CHECK(check_with(strict(), (chopin_str){ changed, t.len + 1 }) < 0);
    }
    CHECK_EQ_INT(check_with(strict(), (chopin_str){ copy, t.len }), 0);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    key = kit_key('k', "");
    RUN(exp_is_required);
    RUN(times_are_numbers);
    RUN(time_edges_are_exact);
    RUN(audience_and_issuer_are_exact);
    RUN(typ_keeps_purposes_apart);
    RUN(nothing_unverified_leaves);
    RUN(size_is_checked_first);
    RUN(no_nul_inside_claims);
    RUN(claim_getters_check_types);
    RUN(verifier_without_policy_does_not_start);
    RUN(buffers_of_every_size);
    RUN(issue_then_verify);
    RUN(extra_claims_are_checked);
    RUN(issuer_without_policy_does_not_start);
    RUN(further_claims_can_be_required);
    RUN(no_heap_calls);
    RUN(mutations_never_pass);
    return TEST_END();
}
