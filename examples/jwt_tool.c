/* jwt_tool.c - a small command over chopin_auth.h: makes keys, issues and verifies tokens, hashes and checks passwords
 *
 * Build:  cc -O2 -pthread examples/jwt_tool.c -o jwt_tool
 * Try:    ./jwt_tool key EdDSA 2026-11 >key.jwk ; ./jwt_tool public key.jwk
 *         ./jwt_tool issue key.jwk iss=https://id.example aud=orders sub=42 ttl=900 'extra={"roles":["clerk"]}' >token
 *         ./jwt_tool verify key.jwk iss=https://id.example aud=orders <token
 *         printf 'correct horse battery' | ./jwt_tool hash          (and: ./jwt_tool check '$argon2id$...')
 * Secrets come by file or standard input, never as arguments, which everybody on the machine can read. There is no command that shows a token without
 * verifying it. Exit status: 0 good, 1 refused, 2 called wrongly. */
#define CHOPIN_AUTH_IMPLEMENTATION
#include "../chopin_auth.h"

#include <sys/stat.h>

static chopin_str str(const char *z) { return (chopin_str){ z, strlen(z) }; }

static int failed(const char *what, int rc) {
    fprintf(stderr, "jwt_tool: %s: %s (%s)\n", what, chopin_auth_text(rc), chopin_auth_name(rc));
    return 1;
}

/* What is in `f`, without the newline at its end; absent when it does not fit. */
static chopin_str read_all(FILE *f, char *room, size_t cap) {
    size_t n = f ? fread(room, 1, cap, f) : cap;
    if (f && f != stdin) fclose(f);
    if (n == cap) return (chopin_str){ NULL, 0 };
    while (n > 0 && (room[n - 1] == '\n' || room[n - 1] == '\r')) n--;
    return (chopin_str){ room, n };
}

/* The value of name=value among the arguments. */
static chopin_str option(char **argv, const char *name) {
    size_t n = strlen(name);
    for (; *argv; argv++) {
        if (strncmp(*argv, name, n) == 0 && (*argv)[n] == '=') return str(*argv + n + 1);
    }
    return (chopin_str){ NULL, 0 };
}

/* ---- keys ---- */

/* A JWK whose private half is `name`: the public JWK with one member more. */
static int print_private(const chopin_jwk *key, const char *name, const uint8_t secret[32]) {
    char json[1024], text[64];
    int  n = chopin_jwk_public_json(key, json, sizeof json), len = chopin_base64url_encode((chopin_str){ (const char *)secret, 32 }, text, sizeof text);
    if (n < 0 || len < 0) return failed("key", n < 0 ? n : len);
    printf("%.*s,\"%s\":\"%.*s\"}\n", n - 1, json, name, len, text);
    chopin_auth_wipe(text, sizeof text);
    return 0;
}

static int print_oct(const char *alg, const char *kid, const uint8_t secret[32]) {
    char text[64];
    int  len = chopin_base64url_encode((chopin_str){ (const char *)secret, 32 }, text, sizeof text);
    if (strpbrk(kid, "\"\\")) { fprintf(stderr, "jwt_tool: no quotes or backslashes in a kid, please\n"); return 2; }
    printf("{\"kty\":\"oct\",\"alg\":\"%s\",\"kid\":\"%s\",\"k\":\"%.*s\"}\n", alg, kid, len, text);
    chopin_auth_wipe(text, sizeof text);
    return 0;
}

static int make_key(const char *alg, const char *kid) {
    uint8_t secret[32];
    chopin_jwk key;
    int rc = chopin_auth_random(secret, sizeof secret), result;
    if (rc < 0) return failed("key", rc);
    if (strcmp(alg, "HS256") == 0) return print_oct(alg, kid, secret);
    bool ed = strcmp(alg, "EdDSA") == 0;
    if (!ed && strcmp(alg, "ES256") != 0) { fprintf(stderr, "jwt_tool: makes HS256, ES256 and EdDSA keys; for RSA: openssl genpkey -algorithm RSA\n"); return 2; }
    rc = ed ? chopin_jwk_ed25519(&key, str(kid), secret) : chopin_jwk_p256(&key, str(kid), secret);
    result = rc < 0 ? failed("key", rc) : print_private(&key, "d", secret);
    chopin_auth_wipe(secret, sizeof secret);
    chopin_jwk_done(&key);
    return result;
}

/* A JWK file, or PEM together with alg=NAME. */
static int load_key(const char *path, char **argv, chopin_jwk *key) {
    static char text[CHOPIN_AUTH_PEM_MAX + 1];
    static const char *const names[] = { "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "EdDSA" };
    chopin_str file = read_all(fopen(path, "rb"), text, sizeof text), wanted = option(argv, "alg");
    chopin_auth_alg alg = (chopin_auth_alg)0;
    for (int i = 0; i < 11; i++) {
        if (wanted.ptr && strcmp(wanted.ptr, names[i]) == 0) alg = (chopin_auth_alg)(CHOPIN_AUTH_HS256 + i);
    }
    if (!file.ptr || (wanted.ptr && !alg)) { fprintf(stderr, "jwt_tool: %s: cannot be read, or alg is unknown\n", path); return 1; }
    int rc = file.len && file.ptr[0] == '{' ? chopin_jwk_json(key, alg, file) : chopin_jwk_pem(key, alg, option(argv, "kid"), file);
    chopin_auth_wipe(text, sizeof text);
    return rc < 0 ? failed(path, rc) : 0;
}

static int print_public(const chopin_jwk *key) {
    char json[4096];
    int  n = chopin_jwk_public_json(key, json, sizeof json);
    if (n < 0) return failed("public", n);
    printf("%.*s\n", n, json);
    return 0;
}

/* ---- tokens ---- */

static int issue(const chopin_jwk *key, char **argv) {
    static char token[CHOPIN_AUTH_TOKEN_MAX];
    chopin_jwt_issuer mint;
    chopin_str ttl = option(argv, "ttl");
    int rc = chopin_jwt_issuer_init(&mint, &(chopin_jwt_issuer_options){ .key = key, .iss = option(argv, "iss"), .aud = option(argv, "aud"), .typ = option(argv, "typ") });
    if (rc < 0) { fprintf(stderr, "jwt_tool: %s\n", mint.problem); return 2; }
    chopin_jwt_claims claims = { .sub = option(argv, "sub"), .scope = option(argv, "scope"), .extra = option(argv, "extra"), .ttl_s = ttl.ptr ? strtoll(ttl.ptr, NULL, 10) : 0 };
    int n = chopin_jwt_issue(&mint, &claims, token, sizeof token);
    if (n < 0) return failed("issue", n);
    printf("%.*s\n", n, token);
    return 0;
}

static int verify(const chopin_jwk *key, char **argv) {
    static char token[CHOPIN_AUTH_TOKEN_MAX + 2], room[CHOPIN_AUTH_TOKEN_MAX];
    chopin_jwt_verifier v;
    chopin_jwt me;
    int rc = chopin_jwt_verifier_init(&v, &(chopin_jwt_verifier_options){ .key = key, .iss = option(argv, "iss"), .aud = option(argv, "aud"), .typ = option(argv, "typ"), .max_token = CHOPIN_AUTH_TOKEN_MAX });
    if (rc < 0) { fprintf(stderr, "jwt_tool: %s\n", v.problem); return 2; }
    rc = chopin_jwt_verify(&v, read_all(stdin, token, sizeof token), room, sizeof room, &me);
    if (rc < 0) return failed("verify", rc);
    printf("good: sub %.*s, iss %.*s, aud %.*s, jti %.*s, scope %.*s, until %lld\n", CHOPIN_FMT(me.sub), CHOPIN_FMT(me.iss), CHOPIN_FMT(me.aud), CHOPIN_FMT(me.jti), CHOPIN_FMT(me.scope), (long long)me.exp);
    return 0;
}

/* ---- passwords ---- */

static int with_password(const char *stored) {
    static char typed[CHOPIN_AUTH_PW_BYTES_CAP];
    char hash[CHOPIN_AUTH_PW_TEXT];
    chopin_password_pool pool;
    int rc = chopin_password_pool_init(&pool, &(chopin_password_options){ .arenas = 1 });
    if (rc < 0) return failed("pool", rc);
    chopin_str password = read_all(stdin, typed, sizeof typed);
    rc = stored ? chopin_password_login(&pool, str(stored), password, hash) : chopin_password_hash(&pool, password, hash, sizeof hash);
    chopin_auth_wipe(typed, sizeof typed);
    chopin_password_pool_done(&pool);
    if (rc < 0) return failed(stored ? "check" : "hash", rc);
    if (!stored || rc > 0) printf("%s%s\n", stored ? "right; its parameters are old, store this instead: " : "", hash);
    else puts("right");
    return 0;
}

int main(int argc, char **argv) {
    const char *verb = argc > 1 ? argv[1] : "";
    chopin_jwk  key;
    if (strcmp(verb, "key") == 0 && argc >= 3) return make_key(argv[2], argc > 3 ? argv[3] : "");
    if (strcmp(verb, "hash") == 0) return with_password(NULL);
    if (strcmp(verb, "check") == 0 && argc == 3) return with_password(argv[2]);
    bool known = strcmp(verb, "public") == 0 || strcmp(verb, "issue") == 0 || strcmp(verb, "verify") == 0;
    if (!known || argc < 3) {
        fprintf(stderr, "usage: jwt_tool key ALG [KID] | public KEY | issue KEY iss=.. aud=.. [sub= scope= ttl= typ= extra=] | verify KEY iss=.. aud=.. [typ=] | hash | check HASH\n"
                        "       KEY is a JWK file, or PEM together with alg=NAME\n");
        return 2;
    }
    if (load_key(argv[2], argv + 3, &key) != 0) return 1;
    int result = strcmp(verb, "public") == 0 ? print_public(&key) : strcmp(verb, "issue") == 0 ? issue(&key, argv + 3) : verify(&key, argv + 3);
    chopin_jwk_done(&key);
    return result;
}
