/* test_auth_roles.c - permissions, roles, claims: AUTH.md 3.6 */
#include "auth.h"
#include "test.h"
#include "auth_kit.h"

#define SHOP(PERMISSION, ROLE)                                    \
    ROLE(ADMIN, "admin", CLERK, USERS_EDIT)                       \
    PERMISSION(ORDERS_READ,  "orders:read")                       \
    PERMISSION(ORDERS_WRITE, "orders:write")                      \
    PERMISSION(ORDERSX,      "ordersx:read")                      \
    PERMISSION(USERS_EDIT,   "users:edit")                        \
    ROLE(CLERK, "clerk", READER, ORDERS_WRITE)                    \
    ROLE(READER, "reader", ORDERS_READ)
CHOPIN_AUTH_ROLES(shop, SHOP)

#define RING(PERMISSION, ROLE) PERMISSION(RA, "a") ROLE(R1, "r1", R2) ROLE(R2, "r2", R3) ROLE(R3, "r3", R1, RA) ROLE(R4, "r4", RA)
CHOPIN_AUTH_ROLES(ring, RING)
#define SELF(PERMISSION, ROLE) PERMISSION(SA, "a") ROLE(S1, "s1", S1)
CHOPIN_AUTH_ROLES(self, SELF)
#define TWICE(PERMISSION, ROLE) PERMISSION(TA, "a") PERMISSION(TB, "a") ROLE(T1, "t1", TA)
CHOPIN_AUTH_ROLES(twice, TWICE)
#define STAR(PERMISSION, ROLE) PERMISSION(STA, "a:*") ROLE(ST1, "st1", STA)
CHOPIN_AUTH_ROLES(star, STAR)

#define P8(P, x) P(x##0, #x "0") P(x##1, #x "1") P(x##2, #x "2") P(x##3, #x "3") P(x##4, #x "4") P(x##5, #x "5") P(x##6, #x "6") P(x##7, #x "7")
#define P64(P, x) P8(P, x##a) P8(P, x##b) P8(P, x##c) P8(P, x##d) P8(P, x##e) P8(P, x##f) P8(P, x##g) P8(P, x##h)
#define WIDE(PERMISSION, ROLE) P64(PERMISSION, m) P64(PERMISSION, n) ROLE(LAST, "last", nh7)
CHOPIN_AUTH_ROLES(wide, WIDE)
#define WIDER(PERMISSION, ROLE) P64(PERMISSION, o) P64(PERMISSION, p) PERMISSION(TOO_MANY, "too") ROLE(LAST2, "last", TOO_MANY)
CHOPIN_AUTH_ROLES(wider, WIDER)

static chopin_auth_mask grants(const char *claims) {
    static char room[4000];
    static char payload[3000];
    chopin_jwk key = kit_key('k', "");
    chopin_jwt_verifier v;
    chopin_jwt me;
    chopin_jwt_verifier_options o = { .key = &key, .iss = CHOPIN_STR("me"), .aud = CHOPIN_STR("us"), .clock = kit_clock };
    CHECK_EQ_INT(chopin_jwt_verifier_init(&v, &o), 0);
    snprintf(payload, sizeof payload, "{" KIT_CLAIMS ",%s}", claims);
    CHECK_EQ_INT(chopin_jwt_verify(&v, kit_token(KIT_HEADER, payload), room, sizeof room, &me), 0);
    return chopin_auth_roles_grants(&shop, &me);
}
static int set_of(chopin_auth_mask m) {
    return chopin_auth_can(&m, ORDERS_READ) | chopin_auth_can(&m, ORDERS_WRITE) << 1 | chopin_auth_can(&m, USERS_EDIT) << 2 | chopin_auth_can(&m, ORDERSX) << 3;
}

static void roles_close_and_never_widen(void) {
    static const struct { const char *claims; int set; } rows[] = {
        { "\"roles\":[\"reader\"]", 1 }, { "\"roles\":[\"clerk\"]", 3 }, { "\"roles\":[\"admin\"]", 7 }, { "\"roles\":\"reader\"", 1 }, { "\"roles\":\"x admin\"", 7 }, { "\"roles\":[\"\\u0061dmin\"]", 7 },
        { "\"roles\":[\"root\"]", 0 }, { "\"roles\":[\"Admin\"]", 0 }, { "\"roles\":[\"admi\",\"adminn\",\"\"]", 0 }, { "\"roles\":[1,null,[\"admin\"],{\"admin\":1}]", 0 }, { "\"roles\":{\"admin\":true}", 0 }, { "\"roles\":[\"*\"]", 0 },
        { "\"roles\":[\"orders:read\"]", 0 }, { "\"scope\":\"orders:read users:edit\"", 5 }, { "\"scope\":\"admin\"", 0 }, { "\"scp\":[\"orders:write\"]", 2 }, { "\"scp\":\"orders:write\"", 2 }, { "\"permissions\":[\"users:edit\",\"none:such\"]", 4 },
        { "\"scope\":\"orders:*\"", 3 }, { "\"scope\":\"orders*\"", 0 }, { "\"scope\":\"*\"", 0 }, { "\"scope\":\":*\"", 0 }, { "\"scope\":\"ord:*\"", 0 }, { "\"scope\":\"orders:r*\"", 0 }, { "\"scope\":\"orders:\"", 0 }, { "\"scope\":\"orders:**\"", 0 },
        { "\"roles\":[\"reader\"],\"scope\":\"users:edit\"", 5 }, { "\"other\":[\"admin\"]", 0 }, { "\"scope\":\"orders:read,users:edit\"", 0 } };
    CHECK_EQ_INT(chopin_auth_roles_init(&shop), 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) if (!CHECK_EQ_INT(set_of(grants(rows[i].claims)), rows[i].set)) printf("  %s\n", rows[i].claims);
    chopin_auth_mask m = { { 0, 0 } };
    CHECK(!chopin_auth_roles_role(&shop, CHOPIN_STR("root"), &m) && !chopin_auth_roles_permission(&shop, CHOPIN_STR("x:*"), &m) && set_of(m) == 0);
    CHECK(chopin_auth_roles_role(&shop, CHOPIN_STR("clerk"), &m) && set_of(m) == 3);
}

static void faulty_tables_do_not_start(void) {
    chopin_auth_mask m = { { 0, 0 } };
    CHECK_EQ_INT(chopin_auth_roles_init(&ring), CHOPIN_AUTH_CONFIG);
    CHECK_EQ_INT(chopin_auth_roles_init(&self), CHOPIN_AUTH_CONFIG);
    CHECK_EQ_INT(chopin_auth_roles_init(&twice), CHOPIN_AUTH_CONFIG);
    CHECK_EQ_INT(chopin_auth_roles_init(&star), CHOPIN_AUTH_CONFIG);
    CHECK_EQ_INT(chopin_auth_roles_init(&wider), CHOPIN_AUTH_CONFIG);
    CHECK(!chopin_auth_roles_role(&ring, CHOPIN_STR("r4"), &m));                            // a table that did not close grants nothing
}

static void bit_127_works(void) {
    chopin_auth_mask m = { { 0, 0 } };
    CHECK_EQ_INT(chopin_auth_roles_init(&wide), 0);
    CHECK(nh7 == 127 && chopin_auth_roles_role(&wide, CHOPIN_STR("last"), &m));
    CHECK(chopin_auth_can(&m, nh7) && !chopin_auth_can(&m, mh7) && !chopin_auth_can(&m, ma0));
    CHECK(!chopin_auth_can(&m, 128) && !chopin_auth_can(&m, -1) && !chopin_auth_can(&m, LAST));
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(roles_close_and_never_widen);
    RUN(faulty_tables_do_not_start);
    RUN(bit_127_works);
    return TEST_END();
}
