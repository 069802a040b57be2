/* test_guard.c - >>guard: what strangers may write about themselves, and how little of it is believed */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER
#include "test.h"

static chopin__heap heap = { .alloc = chopin__heap_default };
static char why[160];

static chopin_str str(const char *z) { return chopin__str_z(z); }

static chopin__address address(const char *text) {
    chopin__address a = { .family = 9 };
    chopin__guard_parse_address(str(text), &a);
    return a;
}

/* What `text` is understood as, in the one spelling that we write. */
static const char *canonical(const char *text) {
    static char out[46];
    chopin__address a;
    char *copy = malloc(strlen(text) + 1);                      // ends where nothing more may be read
    memcpy(copy, text, strlen(text));
    bool ok = chopin__guard_parse_address(chopin__str(copy, strlen(text)), &a);
    free(copy);
    if (!ok) return "-";
    CHECK(chopin__guard_format_address(out, &a) == strlen(out));
    return out;
}

/* ---- addresses ---- */
static void addresses_have_one_form(void) {
    static const struct { const char *text, *want; } table[] = {
        { "192.0.2.1", "192.0.2.1" }, { "192.0.2.1:80", "192.0.2.1" }, { "::1", "::1" }, { "[::1]", "::1" }, { "[::1]:65535", "::1" },
        { "2001:DB8:0:0:0:0:0:1", "2001:db8::1" }, { "::ffff:192.0.2.1", "192.0.2.1" }, { "[::ffff:c000:201]:1", "192.0.2.1" }, { "::192.0.2.1", "::192.0.2.1" },
        { "0.0.0.0", "0.0.0.0" }, { "::", "::" }, { "1111:2222:3333:4444:5555:6666:7777:8888", "1111:2222:3333:4444:5555:6666:7777:8888" },
        { "", "-" }, { "unknown", "-" }, { "_hidden", "-" }, { "1.2.3", "-" }, { "1.2.3.4.5", "-" }, { "256.0.0.1", "-" }, { "01.2.3.4", "-" }, { "1.2.3.4:", "-" },
        { "1.2.3.4:x", "-" }, { "1.2.3.4:65536", "-" }, { "1.2.3.4:000080", "-" }, { "1.2.3.4 ", "-" }, { "1.2.3.4\n", "-" }, { "[", "-" }, { "[]", "-" }, { "[::1", "-" },
        { "[::1]x", "-" }, { "[::1]:", "-" }, { "[::1]:x", "-" }, { "[1.2.3.4]", "-" }, { "::1]", "-" }, { "[[::1]]", "-" }, { "fe80::1%eth0", "-" }, { ":::", "-" },
        { "1:2", "-" }, { "::1:80:1:2:3:4:5:6:7", "-" }, { "0x7f.1", "-" }, { "2130706433", "-" }, { "\"1.2.3.4\"", "-" },
        { "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd", "-" } };
    for (size_t i = 0; i < CHOPIN__COUNT(table); i++) {
        const char *got = canonical(table[i].text);
        if (!CHECK(strcmp(got, table[i].want) == 0)) printf("  \"%s\" became %s\n", table[i].text, got);
    }
    chopin__address a;
    CHECK(!chopin__guard_parse_address(chopin__str("1.2.3.4\0", 8), &a) && !chopin__guard_parse_address(chopin__absent(), &a));
}

static void sockets_name_their_peer(void) {
    struct sockaddr_storage s = { .ss_family = AF_INET6 };
    char out[46];
    inet_pton(AF_INET6, "::ffff:192.0.2.1", &((struct sockaddr_in6 *)(void *)&s)->sin6_addr);
    chopin__address a = chopin__guard_address_of(&s), b = address("192.0.2.1");
    CHECK(memcmp(&a, &b, sizeof a) == 0);
    s.ss_family = AF_UNIX;
    a = chopin__guard_address_of(&s);
    CHECK(chopin__guard_format_address(out, &a) == 4 && strcmp(out, "unix") == 0);
}

static bool listed(const char *networks, const char *text) {
    chopin__networks n;
    chopin__address  a = address(text);
    if (!CHECK(chopin__guard_networks_init(&n, &heap, networks, why, sizeof why) == CHOPIN_OK)) return false;
    bool has = chopin__guard_contains(&n, &a);
    chopin__guard_networks_done(&n, &heap);
    return has;
}

static void networks_hold_their_addresses(void) {
    CHECK(listed("10.0.0.0/8, ::1", "10.255.0.1") && listed("10.0.0.0/8, ::1", "::1"));
    CHECK(!listed("10.0.0.0/8, ::1", "11.0.0.1") && !listed("10.0.0.0/8, ::1", "::2"));
    CHECK(listed("192.168.4.0/22", "192.168.7.255") && !listed("192.168.4.0/22", "192.168.8.0") && !listed("192.168.4.0/22", "192.168.3.255"));
    CHECK(listed("0.0.0.0/0", "1.2.3.4") && !listed("0.0.0.0/0", "::1") && listed("::/0", "::1") && !listed("::/0", "1.2.3.4"));
    CHECK(listed("1.2.3.4/32", "1.2.3.4") && !listed("1.2.3.4/32", "1.2.3.5") && listed("1.2.3.4", "::ffff:1.2.3.4"));
    CHECK(listed("2001:db8::/33", "2001:db8:7fff::1") && !listed("2001:db8::/33", "2001:db8:8000::1"));
    CHECK(listed("::ffff:10.0.0.0/104", "10.9.9.9") && !listed("::ffff:10.0.0.0/104", "11.9.9.9"));
    CHECK(!listed("", "1.2.3.4") && !listed(NULL, "1.2.3.4") && !listed(" , ", "1.2.3.4") && listed(" ,1.2.3.4,", "1.2.3.4"));
    chopin__networks n;
    chopin__address  peer = { .family = 0 };
    CHECK_EQ_INT(chopin__guard_networks_init(&n, &heap, "unix", why, sizeof why), CHOPIN_OK);
    CHECK(chopin__guard_contains(&n, &peer));
    chopin__guard_networks_done(&n, &heap);
}

static void bad_networks_are_named(void) {
    static const char *const bad[] = { "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0/8", "localhost", "1.2.3.4:80", "[::1]", "::ffff:1.2.3.4/95",
                                       "10.0.0.0/0008", "*", "1.2.3.4 5.6.7.8" };
    for (size_t i = 0; i < CHOPIN__COUNT(bad); i++) {
        chopin__networks n;
        char list[80];
        snprintf(list, sizeof list, "10.0.0.0/8, %s", bad[i]);
        why[0] = 0;
        if (!CHECK(chopin__guard_networks_init(&n, &heap, list, why, sizeof why) == CHOPIN_INVALID && strstr(why, bad[i]))) printf("  %s\n", bad[i]);
        CHECK(!n.list);
    }
}

/* ---- X-Forwarded-For ---- */
static const char *client(const char *trusted, const char *peer, const char *first, const char *second) {
    static char out[46];
    chopin__networks n;
    if (!CHECK(chopin__guard_networks_init(&n, &heap, trusted, why, sizeof why) == CHOPIN_OK)) return "";
    chopin_str lines[2] = { str(first), str(second) };
    chopin__address a = chopin__guard_client(&n, address(peer), lines, second ? 2 : first ? 1 : 0);
    chopin__guard_format_address(out, &a);
    chopin__guard_networks_done(&n, &heap);
    return out;
}
#define CLIENT(trusted, peer, first, second, want) do { const char *got_ = client(trusted, peer, first, second); \
    if (!CHECK(strcmp(got_, want) == 0)) printf("  line %d: %s, expected %s\n", __LINE__, got_, want); } while (0)

static void client_address_cannot_be_forged(void) {
    // From strangers nothing is believed.
    CLIENT("",           "9.9.9.9", "6.6.6.6", NULL, "9.9.9.9");
    CLIENT("10.0.0.0/8", "9.9.9.9", "6.6.6.6", NULL, "9.9.9.9");
    CLIENT("10.0.0.0/8", "9.9.9.9", "10.0.0.1", "10.0.0.2", "9.9.9.9");
    // Behind our proxy the client's own additions stand to the left of what the proxy wrote.
    CLIENT("10.0.0.0/8", "10.0.0.1", "9.9.9.9", NULL, "9.9.9.9");
    CLIENT("10.0.0.0/8", "10.0.0.1", "6.6.6.6, 9.9.9.9", NULL, "9.9.9.9");
    CLIENT("10.0.0.0/8", "10.0.0.1", "10.0.0.7,6.6.6.6 ,\t9.9.9.9 ", NULL, "9.9.9.9");
    CLIENT("10.0.0.0/8", "10.0.0.1", "6.6.6.6", "9.9.9.9", "9.9.9.9");
    // Chains of our own proxies are walked through, over several lines.
    CLIENT("10.0.0.0/8, 2001:db8::/32", "10.0.0.1", "6.6.6.6, 9.9.9.9", "[2001:db8::5]:443, 10.0.0.2:80", "9.9.9.9");
    CLIENT("10.0.0.0/8", "10.0.0.1", "10.0.0.3, 10.0.0.2", NULL, "10.0.0.3");
    // What is malformed stops the walk where it was last certain.
    CLIENT("10.0.0.0/8", "10.0.0.1", "6.6.6.6, unknown, 10.0.0.2", NULL, "10.0.0.2");
    CLIENT("10.0.0.0/8", "10.0.0.1", "6.6.6.6, , 10.0.0.2", NULL, "10.0.0.2");
    CLIENT("10.0.0.0/8", "10.0.0.1", "6.6.6.6", "garbage", "10.0.0.1");
    CLIENT("10.0.0.0/8", "10.0.0.1", "6.6.6.6,", NULL, "10.0.0.1");
    CLIENT("10.0.0.0/8", "10.0.0.1", "", NULL, "10.0.0.1");
    CLIENT("10.0.0.0/8", "10.0.0.1", ",,,,", NULL, "10.0.0.1");
    CLIENT("10.0.0.0/8", "10.0.0.1", NULL, NULL, "10.0.0.1");
    CLIENT("10.0.0.0/8", "::ffff:10.0.0.1", "::ffff:9.9.9.9", NULL, "9.9.9.9");
}

/* ---- limiter ---- */
static chopin__guard_limiter limiter;
static bool open_limiter(double per_second, double burst, size_t clients) {
    chopin_limit_options o = { .per_second = per_second, .burst = burst, .clients = clients };
    return chopin__guard_limiter_init(&limiter, &heap, &o, 12345) == CHOPIN_OK;
}
static void close_limiter(void) { chopin__guard_limiter_done(&limiter, &heap); }

static void buckets_fill_at_their_rate(void) {
    chopin__address a = address("9.9.9.9"), b = address("9.9.9.8");
    if (!CHECK(open_limiter(10, 3, 4096))) return;
    for (int i = 0; i < 3; i++) CHECK_EQ_INT(chopin__guard_take(&limiter, &a, 5000), 0);
    int64_t wait = chopin__guard_take(&limiter, &a, 5000);
    CHECK(wait >= 100 && wait <= 101);
    CHECK_EQ_INT(chopin__guard_take(&limiter, &b, 5000), 0);        // others are not concerned
    CHECK(chopin__guard_take(&limiter, &a, 5050) > 0);
    CHECK_EQ_INT(chopin__guard_take(&limiter, &a, 5000 + wait), 0);
    CHECK(chopin__guard_take(&limiter, &a, 5000 + wait) > 0);
    for (int i = 0; i < 3; i++) CHECK_EQ_INT(chopin__guard_take(&limiter, &a, 1000000), 0);    // no more than the burst gathers
    CHECK(chopin__guard_take(&limiter, &a, 1000000) > 0);
    CHECK(chopin__guard_take(&limiter, &a, 0) > 0);                 // a clock that goes back gives nothing
    close_limiter();
}

static void waiting_as_told_is_enough(void) {
    static const double rates[] = { 0.01, 0.3, 1, 3, 7, 10, 33.3, 999, 1e6 };
    for (size_t i = 0; i < CHOPIN__COUNT(rates); i++) {
        chopin__address a = address("2001:db8::1");
        int64_t now = 77;
        if (!CHECK(open_limiter(rates[i], 1, 4))) return;
        for (int round = 0; round < 200; round++) {
            int64_t wait = chopin__guard_take(&limiter, &a, now);
            if (round & 1) CHECK(wait > 0); else CHECK_EQ_INT(wait, 0);
            now += wait;
        }
        close_limiter();
    }
}

static void an_ipv6_network_is_one_client(void) {
    chopin__address a = address("2001:db8:0:1::1"), b = address("2001:db8:0:1:ffff::2"), c = address("2001:db8:0:2::1");
    if (!CHECK(open_limiter(1, 1, 64))) return;
    CHECK_EQ_INT(chopin__guard_take(&limiter, &a, 0), 0);
    CHECK(chopin__guard_take(&limiter, &b, 0) > 0);
    CHECK_EQ_INT(chopin__guard_take(&limiter, &c, 0), 0);
    close_limiter();
}

static void limiter_table_is_bounded(void) {
    chopin__address a = { .family = 4 };
    if (!CHECK(open_limiter(1, 1, 100))) return;
    CHECK_EQ_INT(limiter.clients, 128);
    heap.calls = 0;
    for (uint32_t i = 0; i < 1000000; i++) {
        memcpy(a.bytes, &i, 4);
        if (!CHECK_EQ_INT(chopin__guard_take(&limiter, &a, i), 0)) break;
    }
    CHECK_EQ_INT(heap.calls, 0);
    CHECK(chopin__guard_take(&limiter, &a, 999999) > 0);            // the latest is still known
    close_limiter();
}

static void the_stalest_of_a_set_makes_room(void) {
    if (!CHECK(open_limiter(0.001, 1, 4))) return;                  // one set
    chopin__address a[6];
    for (int i = 0; i < 6; i++) a[i] = (chopin__address){ 4, { (uint8_t)(i + 1) } };
    for (int i = 0; i < 4; i++) CHECK_EQ_INT(chopin__guard_take(&limiter, &a[i], 100 + i), 0);
    CHECK(chopin__guard_take(&limiter, &a[0], 110) > 0);            // heard of again: a[1] is now the stalest
    CHECK_EQ_INT(chopin__guard_take(&limiter, &a[4], 111), 0);
    CHECK(chopin__guard_take(&limiter, &a[0], 112) > 0 && chopin__guard_take(&limiter, &a[2], 112) > 0 && chopin__guard_take(&limiter, &a[3], 112) > 0);
    CHECK_EQ_INT(chopin__guard_take(&limiter, &a[1], 113), 0);      // forgotten
    close_limiter();
}

static void limits_are_resolved(void) {
    chopin_limit_options o;
    CHECK(chopin__guard_limit_resolve(NULL, &o) && o.per_second == 10 && o.burst == 20 && o.clients == 4096);
    CHECK(chopin__guard_limit_resolve(&(chopin_limit_options){ .per_second = 0.1, .clients = 1 }, &o) && o.burst == 1 && o.clients == 4);
    CHECK(!chopin__guard_limit_resolve(&(chopin_limit_options){ .per_second = -1 }, &o));
    CHECK(!chopin__guard_limit_resolve(&(chopin_limit_options){ .per_second = (double)NAN }, &o));
    CHECK(!chopin__guard_limit_resolve(&(chopin_limit_options){ .burst = (double)INFINITY }, &o));
    CHECK(!chopin__guard_limit_resolve(&(chopin_limit_options){ .clients = SIZE_MAX }, &o));
    chopin__address a = address("9.9.9.9");
    if (!CHECK(open_limiter(1e-300, 1, 4))) return;
    chopin__guard_take(&limiter, &a, 0);
    CHECK_EQ_INT(chopin__guard_take(&limiter, &a, 0), 1000000000);
    close_limiter();
}

/* ---- origins ---- */
static bool refused(const char *method, const char *site, const char *origin, const char *origins) {
    return chopin__guard_cross_site(str(method), str(site), str(origin), CHOPIN_STR("shop.test"), origins);
}

static void csrf_defaults(void) {
    CHECK(!refused("GET", "cross-site", "https://evil.test", NULL) && !refused("HEAD", "cross-site", NULL, NULL) && !refused("OPTIONS", NULL, "null", NULL));
    CHECK(!refused("POST", "same-origin", "https://shop.test", NULL) && !refused("POST", "none", NULL, NULL) && !refused("POST", "same-origin", "null", NULL));
    CHECK(refused("POST", "cross-site", "https://evil.test", NULL) && refused("POST", "same-site", "https://a.shop.test", NULL) && refused("POST", "", NULL, NULL));
    CHECK(refused("POST", "cross-site", NULL, NULL) && refused("POST", "cross-site", "https://shop.test", NULL) && refused("POST", "none, same-origin", NULL, NULL));
    CHECK(!refused("POST", "cross-site", "https://pay.test", "https://a.test, https://pay.test") && !refused("DELETE", NULL, "https://pay.test", "https://pay.test"));
    CHECK(!refused("POST", NULL, NULL, NULL) && !refused("PUT", NULL, "https://shop.test", NULL) && !refused("PUT", NULL, "http://SHOP.test", NULL));
    CHECK(refused("POST", NULL, "https://evil.test", NULL) && refused("POST", NULL, "null", NULL) && refused("POST", NULL, "null", "*") && refused("POST", NULL, "", NULL));
    CHECK(refused("POST", "cross-site", "null", "null") && refused("get", "cross-site", NULL, NULL) && refused("BREW", NULL, "https://evil.test", NULL));
    CHECK(!refused("POST", "cross-site", "https://any.test", "*"));
}

static void origins_match_exactly(void) {
    const char *list = "https://a.test,  https://b.test:8443";
    CHECK(chopin__guard_origin_listed(list, str("https://a.test")) && chopin__guard_origin_listed(list, str("https://b.test:8443")));
    CHECK(!chopin__guard_origin_listed(list, str("http://a.test")) && !chopin__guard_origin_listed(list, str("https://a.test.evil")));
    CHECK(!chopin__guard_origin_listed(list, str("https://a.tes")) && !chopin__guard_origin_listed(list, str("https://a.test,")));
    CHECK(!chopin__guard_origin_listed(list, str("")) && !chopin__guard_origin_listed("*", str(NULL)) && !chopin__guard_origin_listed(NULL, str("https://a.test")));
    CHECK(!chopin__guard_origin_listed(",", str("")) && chopin__guard_origin_listed("*", str("null")));
    CHECK(chopin__guard_same_origin(str("https://a.test"), str("A.test")) && chopin__guard_same_origin(str("http://a.test:8080"), str("a.test:8080")));
    CHECK(chopin__guard_same_origin(str("https://a.test"), str("a.test:443")) && chopin__guard_same_origin(str("http://[::1]:80"), str("[::1]")));
    CHECK(!chopin__guard_same_origin(str("https://a.test"), str("a.test:80")) && !chopin__guard_same_origin(str("https://a.test:80"), str("a.test")));
    CHECK(!chopin__guard_same_origin(str("ftp://a.test"), str("a.test")) && !chopin__guard_same_origin(str("a.test"), str("a.test")));
    CHECK(!chopin__guard_same_origin(str("https://"), str("")) && !chopin__guard_same_origin(str("https://a.test"), str(NULL)) && !chopin__guard_same_origin(str(NULL), str("a")));
    CHECK(!chopin__guard_same_origin(str("https://:443"), str("")) && !chopin__guard_same_origin(str("https://a.test.evil"), str("a.test")));
}

/* ---- CORS ---- */
static void cors_options_are_checked(void) {
    static const char *const good[] = { "*", "https://a.test", "https://a.test,", "https://a.test, http://localhost:3000", "chrome-extension://abc" };
    static const char *const bad[] = { NULL, "", "a.test", "https://a.test/", "https://", "null", "https://a.test, ,*", "//a.test", "https:a.test" };
    for (size_t i = 0; i < CHOPIN__COUNT(good); i++) CHECK_EQ_INT(chopin__guard_cors_check(&(chopin_cors_options){ .origins = good[i] }), CHOPIN_OK);
    for (size_t i = 0; i < CHOPIN__COUNT(bad); i++) {
        bool invalid = chopin__guard_cors_check(&(chopin_cors_options){ .origins = bad[i] }) == CHOPIN_INVALID;
        if (!CHECK(invalid)) printf("  %s\n", bad[i] ? bad[i] : "NULL");
    }
    CHECK_EQ_INT(chopin__guard_cors_check(&(chopin_cors_options){ .origins = "*", .credentials = true }), CHOPIN_INVALID);
    CHECK_EQ_INT(chopin__guard_cors_check(&(chopin_cors_options){ .origins = "https://a.test, *", .credentials = true }), CHOPIN_INVALID);
    CHECK_EQ_INT(chopin__guard_cors_check(&(chopin_cors_options){ .origins = "https://a.test", .credentials = true }), CHOPIN_OK);
    CHECK_EQ_INT(chopin__guard_cors_check(&(chopin_cors_options){ .origins = "*", .max_age_s = -1 }), CHOPIN_INVALID);
    CHECK_EQ_INT(chopin__guard_cors_check(&(chopin_cors_options){ .origins = "*", .expose = "X\r\nY: z" }), CHOPIN_INVALID);
}

static void cors_replies(void) {
    chopin_cors_options list = { .origins = "https://a.test, https://b.test", .credentials = true, .expose = "X-Total" }, star = { .origins = "*", .headers = "X-Key", .max_age_s = 5 };
    chopin_str none = chopin__absent(), get = CHOPIN_STR("GET"), options = CHOPIN_STR("OPTIONS"), b = CHOPIN_STR("https://b.test"), evil = CHOPIN_STR("https://evil.test");
    chopin__guard_cors_reply r = chopin__guard_cors(&list, get, b, none, none);
    CHECK(!r.preflight && r.vary && r.credentials && !r.methods.ptr && !r.headers.ptr);
    CHECK_STR(r.origin, "https://b.test");
    CHECK_STR(r.expose, "X-Total");
    r = chopin__guard_cors(&list, get, none, none, none);
    CHECK(!r.preflight && r.vary && !r.origin.ptr && !r.credentials);
    r = chopin__guard_cors(&list, options, b, CHOPIN_STR("PUT"), CHOPIN_STR("content-type"));
    CHECK(r.preflight && r.vary && r.credentials && !r.expose.ptr && r.max_age_s == 600);
    CHECK_STR(r.methods, "GET, HEAD, POST, PUT, PATCH, DELETE");
    CHECK_STR(r.headers, "content-type");
    r = chopin__guard_cors(&list, options, evil, CHOPIN_STR("PUT"), none);
    CHECK(r.preflight && r.vary && !r.origin.ptr && !r.methods.ptr && !r.credentials);
    r = chopin__guard_cors(&list, options, b, none, none);
    CHECK(!r.preflight && r.origin.ptr);                            // OPTIONS of its own right
    r = chopin__guard_cors(&star, options, evil, get, CHOPIN_STR("x"));
    CHECK(r.preflight && !r.vary && !r.credentials && r.max_age_s == 5);
    CHECK_STR(r.origin, "*");
    CHECK_STR(r.headers, "X-Key");
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(addresses_have_one_form);
    RUN(sockets_name_their_peer);
    RUN(networks_hold_their_addresses);
    RUN(bad_networks_are_named);
    RUN(client_address_cannot_be_forged);
    RUN(buckets_fill_at_their_rate);
    RUN(waiting_as_told_is_enough);
    RUN(an_ipv6_network_is_one_client);
    RUN(limiter_table_is_bounded);
    RUN(the_stalest_of_a_set_makes_room);
    RUN(limits_are_resolved);
    RUN(csrf_defaults);
    RUN(origins_match_exactly);
    RUN(cors_options_are_checked);
    RUN(cors_replies);
    return TEST_END();
}
