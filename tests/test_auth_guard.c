/* test_auth_guard.c - the login guard: AUTH.md 3.6 */
#include "auth.h"
#include "test.h"
#include "auth_kit.h"

static chopin_auth_guard g;
static uint64_t table[7 * 8192];
static char name[40], address[60];
static chopin_str account_n(int i) { return (chopin_str){ name, (size_t)sprintf(name, "user%d@example.com", i) }; }
static chopin_str address_n(int i) { return (chopin_str){ address, (size_t)sprintf(address, "10.%d.%d.%d", i >> 16 & 255, i >> 8 & 255, i & 255) }; }

static void fresh(size_t size) { kit_now = KIT_NOW; CHECK_EQ_INT(chopin_auth_guard_init(&g, &(chopin_auth_guard_options){ .memory = table, .size = size }), 0); }
static int ask(chopin_str account, chopin_str from) { return chopin_auth_guard_ask(&g, account, from, kit_now); }
static int fail(chopin_str account, chopin_str from) {
    int rc = ask(account, from);
    if (rc == 0) chopin_auth_guard_failed(&g, account, from, kit_now);
    return rc;
}
static int pass(chopin_str account, chopin_str from) {
    int rc = ask(account, from);
    if (rc == 0) chopin_auth_guard_passed(&g, account, from, kit_now);
    return rc;
}
static const chopin_str bob = { "bob", 3 }, ann = { "ann", 3 }, home = { "192.0.2.1", 9 }, cafe = { "192.0.2.2", 9 };

static void five_failures_close(void) {
    fresh(sizeof table);
    for (int i = 0; i < 5; i++) CHECK_EQ_INT(fail(bob, home), 0);
    CHECK_EQ_INT(ask(bob, home), CHOPIN_AUTH_LIMITED);
    CHECK_EQ_INT(ask(ann, home), CHOPIN_AUTH_LIMITED);                                              // the address is closed for all accounts
    CHECK_EQ_INT(pass(bob, cafe), 0);                                                               // elsewhere bob gets in
    kit_now += 899;
    CHECK_EQ_INT(ask(bob, home), CHOPIN_AUTH_LIMITED);
    kit_now += 1;
    CHECK_EQ_INT(fail(bob, home), 0);
}

static void the_window_moves_on(void) {
    fresh(sizeof table);
    for (int i = 0; i < 4; i++) CHECK_EQ_INT(fail(bob, home), 0);
    kit_now += 300;
    for (int i = 0; i < 4; i++) CHECK_EQ_INT(fail(bob, home), 0);
    CHECK_EQ_INT(ask(bob, home), 0);
    kit_now = KIT_NOW;                                                                              // a clock that goes backwards
    CHECK(ask(bob, home) == 0 || ask(bob, home) == CHOPIN_AUTH_LIMITED);
}

static void a_burst_counts_before_it_fails(void) {
    fresh(sizeof table);
    int open = 0;
    for (int i = 0; i < 100; i++) open += ask(bob, home) == 0;                                      // a hundred guesses at the same time
    CHECK_EQ_INT(open, 5);
}

static void success_wipes_only_its_own(void) {
    fresh(sizeof table);
    for (int i = 0; i < 4; i++) CHECK_EQ_INT(fail(ann, home), 0);
    CHECK_EQ_INT(pass(bob, home), 0);                                                               // the attacker's own account
    CHECK_EQ_INT(fail(ann, home), 0);
    CHECK_EQ_INT(fail(ann, home), CHOPIN_AUTH_LIMITED);
    fresh(sizeof table);
    for (int i = 0; i < 100; i++) CHECK_EQ_INT(pass(bob, home), 0);                                 // logging in is no failure
}

static void the_owner_still_gets_in(void) {
    fresh(sizeof table);
    CHECK_EQ_INT(pass(bob, home), 0);
    for (int i = 0; i < 50; i++) CHECK_EQ_INT(fail(bob, address_n(i)), 0);
    CHECK_EQ_INT(fail(bob, address_n(1000)), CHOPIN_AUTH_LIMITED);
    CHECK_EQ_INT(pass(bob, home), 0);
    CHECK_EQ_INT(ask(bob, cafe), CHOPIN_AUTH_LIMITED);
    CHECK_EQ_INT(pass(ann, cafe), 0);
    kit_now += 900;
    CHECK_EQ_INT(pass(bob, cafe), 0);
}

static void guard_is_bounded(void) {
    fresh(sizeof table);
    for (int i = 0; i < 5; i++) CHECK_EQ_INT(fail(bob, cafe), 0);
    int limited = 0, many = SMALL ? 50000 : 1000000;
    for (int i = 0; i < many; i++) limited += fail(account_n(i), home) == CHOPIN_AUTH_LIMITED;   // a million accounts from one address
    CHECK_EQ_INT(limited, many - 5);
    CHECK_EQ_INT(ask(bob, cafe), CHOPIN_AUTH_LIMITED);                                              // the other record is still there
    size_t used = 0;
    for (size_t i = 0; i < g.sets * 8; i++) used += ((chopin_auth__guard_entry *)g.o.memory)[i].kind != 0;
    CHECK(used <= 3 + 1 + 10 + 5);
    CHECK_EQ_INT(pass(ann, cafe), CHOPIN_AUTH_LIMITED);
    fresh(64 * CHOPIN_AUTH_GUARD_ENTRY);                                                            // far more addresses than entries: it still works
    CHECK_EQ_INT(pass(bob, home), 0);
    for (int i = 0; i < 20000; i++) (void)!fail(account_n(i), address_n(i));
    CHECK_EQ_INT(chopin_auth__guard_find(&g, &(chopin_auth__guard_key){ .kind = 9 }, kit_now) == NULL, 1);
    chopin_auth__guard_key known = chopin_auth__guard_key_of(&g, CHOPIN_AUTH__GUARD_KNOWN, bob, home);
    CHECK(chopin_auth__guard_find(&g, &known, kit_now) != NULL);                                    // strangers never push out a known address
}

static void addresses_count_by_network(void) {
    static const struct { const char *a, *b; bool same; } rows[] = {
        { "2001:db8::1", "2001:db8::2", true }, { "2001:db8::1", "2001:db8:0:0:ffff::1", true }, { "2001:db8::1", "2001:db8:0:1::1", false }, { "2001:DB8::1", "2001:db8::9", true }, { "fe80::1%eth0", "fe80::2", true },
        { "::1", "::2", true }, { "1::", "1::5", true }, { "1:2:3:4:5:6:7:8", "1:2:3:4::", true }, { "1:2:3::4:5", "1:2:3:0:9:9:9:9", true }, { "::ffff:192.0.2.1", "192.0.2.1", true }, { "::ffff:192.0.2.1", "192.0.2.2", false }, { "192.0.2.1", "192.0.2.10", false } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t x[8], y[8];
        chopin_str a = chopin_auth__guard_address(kit_z(rows[i].a), x), b = chopin_auth__guard_address(kit_z(rows[i].b), y);
        if (!CHECK(chopin_auth__same(a, b) == rows[i].same)) printf("  %s %s\n", rows[i].a, rows[i].b);
    }
    uint8_t x[8];
    static const char *const odd[] = { ":", ":::", "1:2", "g::1", "1::2::3", "12345::", "1:2:3:4:5:6:7:8:9", "%", "", ":1:2:3:4:5:6:7:8:" };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) (void)chopin_auth__guard_address(kit_z(odd[i]), x);       // nothing but no harm
}

static void guard_needs_memory(void) {
    CHECK_EQ_INT(chopin_auth_guard_init(&g, &(chopin_auth_guard_options){ .memory = NULL }), CHOPIN_AUTH_CONFIG);
    CHECK_EQ_INT(ask(bob, home), CHOPIN_AUTH_CONFIG);
    CHECK_EQ_INT(chopin_auth_guard_init(&g, &(chopin_auth_guard_options){ .memory = table, .size = 100 }), CHOPIN_AUTH_CONFIG);
    CHECK_EQ_INT(chopin_auth_guard_init(&g, &(chopin_auth_guard_options){ .memory = table, .size = sizeof table, .failures = -1 }), CHOPIN_AUTH_CONFIG);
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(five_failures_close);
    RUN(the_window_moves_on);
    RUN(a_burst_counts_before_it_fails);
    RUN(success_wipes_only_its_own);
    RUN(the_owner_still_gets_in);
    RUN(guard_is_bounded);
    RUN(addresses_count_by_network);
    RUN(guard_needs_memory);
    return TEST_END();
}
