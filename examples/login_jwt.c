/* login_jwt.c - accounts with everything around them: sign-up with confirmed address, login with second factor, sessions, access and refresh tokens, roles, reset
 *
 * Build:  cc -O2 -pthread examples/login_jwt.c -o login_jwt
 * Run:    LOGIN_SECRET="$(head -c 32 /dev/urandom | base64)" LOGIN_ADMIN=ann@example.com ./login_jwt
 * Try:    curl -d 'email=ann@example.com' -d 'password=correct horse battery' localhost:8080/signup      (what would be mailed is printed here)
 *         curl -d 'ticket=...' localhost:8080/confirm
 *         curl -c jar -d 'email=ann@example.com' -d 'password=correct horse battery' localhost:8080/login
 *         curl -H 'Authorization: Bearer ...' localhost:8080/api/me ; curl -d 'refresh=...' localhost:8080/refresh
 *         curl -H 'Cookie: __Host-session=...' -H 'Sec-Fetch-Site: same-origin' -X POST localhost:8080/account/totp
 * Users live in a table in memory; a real program has a database there, and fits chopin_auth_store to it as well. No secret has a default. */
#define CHOPIN_IMPLEMENTATION
#include "../chopin.h"
#include "../chopin_auth.h"

#define SHOP(PERMISSION, ROLE)                                    \
    PERMISSION(ORDERS_READ, "orders:read")                        \
    PERMISSION(USERS_EDIT,  "users:edit")                         \
    ROLE(CUSTOMER, "customer", ORDERS_READ)                       \
    ROLE(ADMIN,    "admin", CUSTOMER, USERS_EDIT)
CHOPIN_AUTH_ROLES(shop, SHOP)

#define ISSUER CHOPIN_STR("https://shop.example")
enum { ACCESS_S = 900, USERS = 1000 };

/* ---- users: a row is found by e-mail; the lock is held for moments only, never across a wait ---- */
typedef struct user {
    char    email[CHOPIN_AUTH_USER_MAX + 1], hash[CHOPIN_AUTH_PW_TEXT], totp[CHOPIN_AUTH_TOTP_SECRET], pending[CHOPIN_AUTH_TOTP_SECRET], role[16];
    bool    confirmed;
    int64_t step;                                            /* last TOTP step that was accepted */
} user;
static user users[USERS];
static pthread_mutex_t users_lock = PTHREAD_MUTEX_INITIALIZER;

static chopin_jwk key;
static chopin_jwt_issuer mint;
static chopin_jwt_verifier api;
static chopin_auth_revocation revoked;
static chopin_auth_store store;
static chopin_auth_cookie_ring ring;
static chopin_auth_sessions sessions;
static chopin_auth_refresh refresh;
static chopin_password_pool pool;
static chopin_auth_guard guard;
static chopin_auth_door door;

static chopin_str str(const char *z) { return (chopin_str){ z, strlen(z) }; }

/* The row of `email`, or the first free one when `make`; NULL. The lock is held by the caller. */
static user *user_at(chopin_str email, bool make) {
    if (email.len < 3 || email.len > CHOPIN_AUTH_USER_MAX || memchr(email.ptr, 0, email.len)) return NULL;
    for (int i = 0; i < USERS; i++) {
        if (strlen(users[i].email) == email.len && memcmp(users[i].email, email.ptr, email.len) == 0) return &users[i];
        if (!users[i].email[0]) {
            if (make) memcpy(users[i].email, email.ptr, email.len);
            return make ? &users[i] : NULL;
        }
    }
    return NULL;
}

/* A copy of the row; all empty when there is none, and then everything takes as long. */
static user user_get(chopin_str email) {
    user copy = { .confirmed = true };
    pthread_mutex_lock(&users_lock);
    const user *u = user_at(email, false);
    if (u) copy = *u;
    pthread_mutex_unlock(&users_lock);
    return copy;
}

/* Compare-and-set of the accepted step: of two requests with one code, one gets in. */
static bool user_swap_step(chopin_str email, int64_t from, int64_t to) {
    pthread_mutex_lock(&users_lock);
    user *u = user_at(email, false);
    bool  swapped = u && u->step == from;
    if (swapped) u->step = to;
    pthread_mutex_unlock(&users_lock);
    return swapped;
}

/* Writes one text of a row; false when there is no such user. */
static bool user_set(chopin_str email, size_t offset, size_t cap, chopin_str value) {
    pthread_mutex_lock(&users_lock);
    user *u = user_at(email, false);
    if (u && value.len < cap) {
        memset((char *)u + offset, 0, cap);
        if (value.len) memcpy((char *)u + offset, value.ptr, value.len);
    }
    pthread_mutex_unlock(&users_lock);
    return u && value.len < cap;
}
#define USER_SET(email, field, value) user_set(email, offsetof(user, field), sizeof((user *)0)->field, value)

static chopin_auth_mask rights_of(void *ctx, chopin_str email) {
    chopin_auth_mask mask = { { 0, 0 } };
    user u = user_get(email);
    (void)ctx;
    (void)chopin_auth_roles_role(&shop, str(u.role), &mask);  // an unknown role grants nothing
    return mask;
}

/* The mail hook: the only place where tickets are shown. */
static void mail(chopin_str to, const char *what, const char *ticket) { printf("mail to %.*s: %s, ticket=%s\n", CHOPIN_FMT(to), what, ticket); fflush(stdout); }

static void on_event(void *ctx, chopin_auth_event event, chopin_str who, chopin_str from) {
    static const char *const names[] = { "", "login", "failure", "limited", "logout", "refresh token used twice: family ended", "rehash" };
    (void)ctx;
    printf("log: %s: %.*s from %.*s\n", names[event], CHOPIN_FMT(who), CHOPIN_FMT(from));
    fflush(stdout);
}

/* ---- sign-up and confirmation: the answers do not tell whether an address is known ---- */
CHOPIN_POST(signup, "/signup") {
    chopin_str email = chopin_form(c, "email"), password = chopin_form(c, "password");
    char hash[CHOPIN_AUTH_PW_TEXT], ticket[CHOPIN_AUTH_SECRET_TEXT];
    if (!email.ptr || !password.ptr) return chopin_fail(c, 400, "email and password, please");
    int rc = chopin_auth_hash_password(c, &pool, password, hash);
    if (rc == CHOPIN_AUTH_SIZE) return chopin_fail(c, 400, "a password has 12 to 1024 bytes");
    if (rc < 0) return rc == CHOPIN_AUTH_BUSY ? CHOPIN_OK : chopin_auth_refuse(c, rc);
    rc = chopin_auth_ticket_new(&store, CHOPIN_STR("confirm"), email, (chopin_str){ NULL, 0 }, 86400, time(NULL), ticket);
    if (rc < 0) return chopin_auth_refuse(c, rc == CHOPIN_AUTH_ARG ? CHOPIN_AUTH_FORMAT : rc);
    const char *admin = getenv("LOGIN_ADMIN");
    pthread_mutex_lock(&users_lock);
    bool  known = user_at(email, false) != NULL;
    user *u = known ? NULL : user_at(email, true);
    if (u) {
        memcpy(u->hash, hash, sizeof u->hash);
        strcpy(u->role, admin && strcmp(admin, u->email) == 0 ? "admin" : "customer");
    }
    pthread_mutex_unlock(&users_lock);
    if (u) mail(email, "confirm your address", ticket);
    return chopin_text(c, 202, "look into your mail\n");
}

CHOPIN_POST(confirm, "/confirm") {
    chopin_auth_record ticket;
    int rc = chopin_auth_ticket_redeem(&store, CHOPIN_STR("confirm"), chopin_form(c, "ticket"), time(NULL), &ticket);
    if (rc < 0) return chopin_auth_refuse(c, rc);
    pthread_mutex_lock(&users_lock);
    user *u = user_at((chopin_str){ ticket.user, ticket.user_len }, false);
    if (u) u->confirmed = true;
    pthread_mutex_unlock(&users_lock);
    return chopin_text(c, 200, "confirmed\n");
}

/* ---- tokens: access tokens of one session share a jti, so that logging out revokes all of them ---- */
static void jti_of(const chopin_auth_record *session, char out[23]) {
    int n = chopin_base64url_encode((chopin_str){ (const char *)session->family, 16 }, out, 22);
    out[n > 0 ? n : 0] = 0;
}

static int answer_tokens(chopin_ctx *c, const chopin_auth_record *session, const char *refresh_token) {
    char access[1024], jti[23], extra[64];
    chopin_str email = { session->user, session->user_len };
    user u = user_get(email);
    jti_of(session, jti);
    snprintf(extra, sizeof extra, "{\"roles\":[\"%s\"]}", u.role);
    int n = chopin_jwt_issue(&mint, &(chopin_jwt_claims){ .sub = email, .jti = str(jti), .ttl_s = ACCESS_S, .extra = str(extra) }, access, sizeof access);
    if (n < 0) return chopin_auth_refuse(c, n);
    return chopin_jsonf(c, 200, "{access:%q,refresh:%s,expires_in:%d}", (chopin_str){ access, (size_t)n }, refresh_token, (int)ACCESS_S);
}

CHOPIN_POST(login, "/login") {
    chopin_str email = chopin_form(c, "email");
    user u = user_get(email);
    char id[CHOPIN_AUTH_SECRET_TEXT], token[CHOPIN_AUTH_SECRET_TEXT];
    chopin_auth_record session;
    chopin_auth_attempt a = { .account = email, .stored = str(u.hash), .password = chopin_form(c, "password"), .verified = u.confirmed, .totp = str(u.totp), .code = chopin_form(c, "code"), .step = u.step };
    if (chopin_auth_login(c, &door, &a)) return CHOPIN_OK;
    if (a.step != u.step && !user_swap_step(email, u.step, a.step)) return chopin_auth_refuse(c, CHOPIN_AUTH_REPLAY);
    if (a.new_hash.len) (void)USER_SET(email, hash, a.new_hash);
    if (chopin_auth_begin(c, &sessions, email, id)) return CHOPIN_OK;
    int rc = chopin_auth_refresh_issue(&refresh, email, str(id), token);
    if (rc == 0) rc = chopin_auth_session_check(&sessions, str(id), &session);
    return rc < 0 ? chopin_auth_refuse(c, rc) : answer_tokens(c, &session, token);
}

CHOPIN_POST(refresh_tokens, "/refresh") {
    char next[CHOPIN_AUTH_SECRET_TEXT];
    chopin_auth_record who;
    int rc = chopin_auth_refresh_rotate(&refresh, chopin_form(c, "refresh"), next, &who);
    return rc < 0 ? chopin_auth_refuse(c, rc) : answer_tokens(c, &who, next);
}

/* ---- with a session cookie; chopin_auth_session() also refuses requests from other sites ---- */
static int signed_in(chopin_ctx *c) { return chopin_auth_session(c, &sessions); }

CHOPIN_POST(logout, "/account/logout") {
    char jti[23];
    jti_of(chopin_auth_me(c)->record, jti);
    int rc = chopin_auth_revoke(&revoked, ISSUER, str(jti), time(NULL) + ACCESS_S);
    return rc < 0 ? chopin_auth_refuse(c, rc) : chopin_auth_logout(c, &sessions);
}

CHOPIN_POST(totp_setup, "/account/totp") {                    // show it once, enable after a first good code
    char secret[CHOPIN_AUTH_TOTP_SECRET], uri[512];
    chopin_str email = chopin_auth_me(c)->sub;
    if (chopin_totp_secret(secret) < 0) return chopin_auth_refuse(c, CHOPIN_AUTH_RANDOM);
    int n = chopin_totp_uri(CHOPIN_STR("Shop"), email, secret, uri, sizeof uri);
    if (n < 0) return chopin_auth_refuse(c, n);
    (void)USER_SET(email, pending, str(secret));
    return chopin_textf(c, 200, "%s\n", uri);
}

CHOPIN_POST(totp_enable, "/account/totp/enable") {
    chopin_str email = chopin_auth_me(c)->sub;
    char codes[CHOPIN_AUTH_RECOVERY_CODES][CHOPIN_AUTH_RECOVERY_TEXT];
    user u = user_get(email);
    int64_t step = u.step;
    int rc = u.pending[0] ? chopin_totp_verify(NULL, str(u.pending), chopin_form(c, "code"), time(NULL), &step) : CHOPIN_AUTH_MISMATCH;
    if (rc == 0 && !user_swap_step(email, u.step, step)) rc = CHOPIN_AUTH_REPLAY;
    if (rc == 0) rc = chopin_auth_recovery_new(&store, email, time(NULL), codes);
    if (rc < 0) return chopin_auth_refuse(c, rc);
    (void)USER_SET(email, totp, str(u.pending));
    (void)USER_SET(email, pending, CHOPIN_STR(""));
    chopin_str list = chopin_printf(c, "recovery codes, each good once:\n");
    for (int i = 0; i < CHOPIN_AUTH_RECOVERY_CODES && list.ptr; i++) list = chopin_printf(c, "%.*s%s\n", CHOPIN_FMT(list), codes[i]);
    return chopin_bytes(c, 200, "text/plain; charset=utf-8", list);
}

CHOPIN_POST(totp_disable, "/account/totp/disable") {          // takes a code, so that a stolen session cannot do it
    chopin_str email = chopin_auth_me(c)->sub;
    user u = user_get(email);
    int64_t step = u.step;
    int rc = u.totp[0] ? chopin_totp_verify(NULL, str(u.totp), chopin_form(c, "code"), time(NULL), &step) : CHOPIN_AUTH_MISMATCH;
    if (rc == 0 && !user_swap_step(email, u.step, step)) rc = CHOPIN_AUTH_REPLAY;
    if (rc == 0) (void)USER_SET(email, totp, CHOPIN_STR(""));
    return rc < 0 ? chopin_auth_refuse(c, rc) : chopin_empty(c, 204);
}

/* ---- forgotten passwords: same status, body and work for known and unknown addresses ---- */
CHOPIN_POST(reset_ask, "/reset/ask") {
    char ticket[CHOPIN_AUTH_SECRET_TEXT];
    chopin_str email = chopin_form(c, "email");
    user u = user_get(email);
    chopin_str owner = u.email[0] ? email : CHOPIN_STR("nobody");
    int rc = chopin_auth_ticket_new(&store, CHOPIN_STR("reset"), owner, (chopin_str){ NULL, 0 }, 3600, time(NULL), ticket);
    if (rc < 0) return chopin_auth_refuse(c, rc);
    if (u.email[0]) mail(email, "set a new password", ticket);
    return chopin_text(c, 202, "look into your mail\n");
}

CHOPIN_POST(reset, "/reset") {
    chopin_auth_record ticket;
    char hash[CHOPIN_AUTH_PW_TEXT];
    int rc = chopin_auth_hash_password(c, &pool, chopin_form(c, "password"), hash);      // first: a password too short must not burn the ticket
    if (rc == CHOPIN_AUTH_SIZE) return chopin_fail(c, 400, "a password has 12 to 1024 bytes");
    if (rc < 0) return rc == CHOPIN_AUTH_BUSY ? CHOPIN_OK : chopin_auth_refuse(c, rc);
    rc = chopin_auth_ticket_redeem(&store, CHOPIN_STR("reset"), chopin_form(c, "ticket"), time(NULL), &ticket);
    if (rc < 0) return chopin_auth_refuse(c, rc);
    chopin_str email = { ticket.user, ticket.user_len };
    if (!USER_SET(email, hash, str(hash))) return chopin_auth_refuse(c, CHOPIN_AUTH_MISMATCH);
    rc = chopin_auth_session_end_all(&sessions, email);       // whoever was in is out: cookies, refresh tokens, access tokens
    if (rc == 0) rc = chopin_auth_revoke_subject(&revoked, ISSUER, email, 0, ACCESS_S);
    return rc < 0 ? chopin_auth_refuse(c, rc) : chopin_empty(c, 204);
}

/* ---- with an access token ---- */
static int guarded(chopin_ctx *c) { return chopin_auth_bearer(c, &api); }

CHOPIN_GET(me, "/api/me") {
    const chopin_auth_who *who = chopin_auth_me(c);
    return chopin_jsonf(c, 200, "{sub:%q,orders_read:%b,users_edit:%b}", who->sub, (int)chopin_auth_can(&who->can, ORDERS_READ), (int)chopin_auth_can(&who->can, USERS_EDIT));
}

CHOPIN_GET(orders, "/api/orders") {
    if (chopin_auth_need(c, ORDERS_READ)) return CHOPIN_OK;
    return chopin_text(c, 200, "three apples\n");
}

CHOPIN_POST(set_role, "/api/users/:email/role") {             // the next request with an old token is 401: no cache to wait for
    chopin_auth_mask ignored = { { 0, 0 } };
    chopin_str email = chopin_param(c, "email"), role = chopin_form(c, "role");
    if (chopin_auth_need(c, USERS_EDIT)) return CHOPIN_OK;
    if (!role.ptr || !chopin_auth_roles_role(&shop, role, &ignored)) return chopin_fail(c, 400, "no such role");
    if (!USER_SET(email, role, role)) return chopin_fail(c, 404, "no such user");
    int rc = chopin_auth_revoke_subject(&revoked, ISSUER, email, 0, ACCESS_S);
    return rc < 0 ? chopin_auth_refuse(c, rc) : chopin_empty(c, 204);
}

/* ---- start: everything that can fail does so here, with its name ---- */
static int setup(chopin_str secret) {
    static chopin_auth_record records[8192];
    static chopin_auth_memory memory;
    static uint64_t revoked_table[7 * 8192], guard_table[7 * 8192];
    int rc = chopin_jwk_hmac_text(&key, CHOPIN_AUTH_HS256, CHOPIN_STR("1"), secret);
    if (rc == 0) rc = chopin_auth_cookie_ring_init(&ring, &(chopin_auth_cookie_key){ 1, secret }, 1);
    if (rc == 0) rc = chopin_auth_roles_init(&shop);
    if (rc == 0) rc = chopin_auth_revocation_init(&revoked, &(chopin_auth_revocation_options){ .memory = revoked_table, .size = sizeof revoked_table });
    if (rc == 0) rc = chopin_auth_store_init(&store, &memory, records, sizeof records);
    if (rc == 0) rc = chopin_auth_guard_init(&guard, &(chopin_auth_guard_options){ .memory = guard_table, .size = sizeof guard_table });
    if (rc == 0) rc = chopin_password_pool_init(&pool, &(chopin_password_options){ .arenas = 4 });
    if (rc == 0) rc = chopin_jwt_issuer_init(&mint, &(chopin_jwt_issuer_options){ .key = &key, .iss = ISSUER, .aud = CHOPIN_STR("shop") });
    if (rc == 0) rc = chopin_jwt_verifier_init(&api, &(chopin_jwt_verifier_options){ .key = &key, .iss = ISSUER, .aud = CHOPIN_STR("shop"), .revocation = &revoked, .roles = &shop });
    sessions = (chopin_auth_sessions){ .store = &store, .ring = &ring, .origins = CHOPIN_STR("https://shop.example"), .roles = &shop, .grants = rights_of, .on_event = on_event };
    refresh = (chopin_auth_refresh){ .store = &store, .on_event = on_event };
    door = (chopin_auth_door){ .pool = &pool, .guard = &guard, .recovery = &store, .on_event = on_event };
    return rc;
}

int main(int argc, char **argv) {
    const char *secret = getenv("LOGIN_SECRET");
    int rc = secret ? setup(str(secret)) : CHOPIN_AUTH_MISSING;
    if (rc < 0) {
        fprintf(stderr, "login_jwt: %s\n", secret ? chopin_auth_text(rc) : "set LOGIN_SECRET to 32 random bytes or more; there is no default");
        return 1;
    }
    chopin_app *app = chopin_new(&(chopin_options){ .max_body = 16384 });
    if (!app) return 1;
    chopin_use(app, "/account", signed_in);
    chopin_use(app, "/api", guarded);
    return chopin_main(argc, argv, app);
}
