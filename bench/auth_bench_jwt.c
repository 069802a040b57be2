/* HS256 tokens of 304 bytes with 8 claims, issued and verified, beside libjwt (Debian's 1.10), interleaved in one run.
 *
 *     cc -O2 bench/auth_bench_jwt.c -o bench_jwt -ljwt && taskset -c 1 ./bench_jwt
 *
 * Both sides do the whole work of a server: signature, then all claims parsed, iss, aud, exp, nbf and iat checked, sub read. The tokens of each are first verified by the
 * other. Contenders take turns and the order rotates; printed are medians of 15: user cycles by perf_event_open where the kernel lets us, else time-stamp
 * ticks, and thread CPU time. Judge by the ratio. `issue with jti` asks the system for 128 random bits, which costs one system call: a row of its own. */
#define CHOPIN_AUTH_IMPLEMENTATION
#include "../chopin_auth.h"
#include <jwt.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>

enum { ROUNDS = 15, BATCH = 2000 };
static const char secret[] = "0123456789abcdef0123456789abcdef";
static chopin_jwk key;
static chopin_jwt_issuer mint;
static chopin_jwt_verifier api;
static char ours[2048], theirs[2048], room[2048], out[2048];
static size_t ours_len, theirs_len;
static int counter = -1;

static int64_t now(void *ctx) { (void)ctx; return 1700000000; }
static void must(bool ok, const char *what) { if (!ok) { fprintf(stderr, "bench: %s failed\n", what); exit(1); } }

static uint64_t cycles(void) {
    uint64_t v = 0;
    if (counter >= 0 && read(counter, &v, sizeof v) == sizeof v) return v;
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
#endif
}
static double cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* ---- contenders ---- */
static const chopin_jwt_claims claims = { .sub = { "user-4242", 9 }, .jti = { "AAAAAAAAAAAAAAAAAAAAAA", 22 }, .scope = { "orders:read orders", 18 }, .extra = { "{\"n\":\"Ada L\"}", 13 } };
static void our_issue(void) { must(chopin_jwt_issue(&mint, &claims, out, sizeof out) > 0, "issue"); }
static void our_issue_random(void) {
    chopin_jwt_claims c = claims;
    c.jti = (chopin_str){ NULL, 0 };
    must(chopin_jwt_issue(&mint, &c, out, sizeof out) > 0, "issue");
}
static void our_verify(void) {
    chopin_jwt me;
    must(chopin_jwt_verify(&api, (chopin_str){ ours, ours_len }, room, sizeof room, &me) == 0 && me.sub.len == 9, "verify");
}
static char *their_token(void) {
    jwt_t *t = NULL;
    must(jwt_new(&t) == 0 && jwt_set_alg(t, JWT_ALG_HS256, (const unsigned char *)secret, 32) == 0, "libjwt");
    jwt_add_grant(t, "iss", "https://id.example");
    jwt_add_grant(t, "aud", "orders");
    jwt_add_grant(t, "sub", "user-4242");
    jwt_add_grant(t, "jti", "AAAAAAAAAAAAAAAAAAAAAA");
    jwt_add_grant_int(t, "iat", 1700000000);
    jwt_add_grant_int(t, "exp", 1700000900);
    jwt_add_grant(t, "scope", "orders:read orders");
    jwt_add_grant(t, "n", "Ada L");
    char *text = jwt_encode_str(t);
    jwt_free(t);
    return text;
}
static void their_issue(void) {
    char *text = their_token();
    must(text != NULL, "libjwt issue");
    free(text);
}
static void their_verify(void) {
    jwt_t *t = NULL;
    must(jwt_decode(&t, theirs, (const unsigned char *)secret, 32) == 0 && jwt_get_alg(t) == JWT_ALG_HS256, "libjwt decode");
    must(strcmp(jwt_get_grant(t, "iss"), "https://id.example") == 0 && strcmp(jwt_get_grant(t, "aud"), "orders") == 0, "libjwt names");
    must(jwt_get_grant_int(t, "exp") > 1700000000 && jwt_get_grant_int(t, "iat") <= 1700000000 && strlen(jwt_get_grant(t, "sub")) == 9, "libjwt times");
    jwt_free(t);
}
static void bare_hmac(void) { chopin_hmac_sign(&key.u.hmac, (chopin_str){ ours, ours_len - 44 }, (uint8_t *)out); }

/* ---- measuring ---- */
typedef struct contender { const char *name; void (*run)(void); double cycles[ROUNDS], ns[ROUNDS]; } contender;
static int by_size(const void *a, const void *b) { double x = *(const double *)a, y = *(const double *)b; return (x > y) - (x < y); }
static void measure(contender *c, int round) {
    double   from_ns = cpu_ns();
    uint64_t from = cycles();
    for (int i = 0; i < BATCH; i++) c->run();
    c->cycles[round] = (double)(cycles() - from) / BATCH;
    c->ns[round] = (cpu_ns() - from_ns) / BATCH;
}
static void setup(void) {
    must(chopin_jwk_hmac(&key, CHOPIN_AUTH_HS256, (chopin_str){ NULL, 0 }, (chopin_str){ secret, 32 }) == 0, "key");
    must(chopin_jwt_issuer_init(&mint, &(chopin_jwt_issuer_options){ .key = &key, .iss = CHOPIN_STR("https://id.example"), .aud = CHOPIN_STR("orders"), .typ = CHOPIN_STR("JWT"), .clock = now }) == 0, "issuer");
    must(chopin_jwt_verifier_init(&api, &(chopin_jwt_verifier_options){ .key = &key, .iss = CHOPIN_STR("https://id.example"), .aud = CHOPIN_STR("orders"), .typ = CHOPIN_STR("JWT"), .clock = now }) == 0, "verifier");
    ours_len = (size_t)chopin_jwt_issue(&mint, &claims, ours, sizeof ours - 1);
    char *text = their_token();
    theirs_len = strlen(text);
    memcpy(theirs, text, theirs_len + 1);
    free(text);
    chopin_jwt me;                                                       // each verifies what the other has issued
    jwt_t *t = NULL;
    must(chopin_jwt_verify(&api, (chopin_str){ theirs, theirs_len }, room, sizeof room, &me) == 0, "our verdict on libjwt's token");
    must(jwt_decode(&t, ours, (const unsigned char *)secret, 32) == 0, "libjwt's verdict on our token");
    jwt_free(t);
}

int main(void) {
    static contender all[] = { { .name = "chopin issue", .run = our_issue }, { .name = "libjwt issue", .run = their_issue }, { .name = "chopin verify", .run = our_verify }, { .name = "libjwt verify", .run = their_verify },
        { .name = "chopin issue with jti", .run = our_issue_random }, { .name = "the bare HMAC", .run = bare_hmac } };
    const int count = (int)CHOPIN_AUTH__COUNT(all);
    struct perf_event_attr a = { .type = PERF_TYPE_HARDWARE, .size = sizeof a, .config = PERF_COUNT_HW_CPU_CYCLES, .exclude_kernel = 1, .exclude_hv = 1 };
    struct utsname u;
    counter = (int)syscall(SYS_perf_event_open, &a, 0, -1, -1, 0);
    uname(&u);
    setup();
    printf("%s %s, compiler %s, %s; tokens of %zu bytes (ours) and %zu (libjwt)\n", u.sysname, u.release, __VERSION__, counter >= 0 ? "user cycles" : "time-stamp ticks", ours_len, theirs_len);
    for (int round = -1; round < ROUNDS; round++) {                      // the first one warms up
        for (int i = 0; i < count; i++) measure(&all[(i + round + 1) % count], round < 0 ? 0 : round);
    }
    for (int i = 0; i < count; i++) {
        qsort(all[i].cycles, ROUNDS, sizeof(double), by_size);
        qsort(all[i].ns, ROUNDS, sizeof(double), by_size);
        printf("%-24s %9.0f cycles %9.0f ns\n", all[i].name, all[i].cycles[ROUNDS / 2], all[i].ns[ROUNDS / 2]);
    }
    printf("ratio libjwt/chopin: issue %.1f, verify %.1f\n", all[1].cycles[ROUNDS / 2] / all[0].cycles[ROUNDS / 2], all[3].cycles[ROUNDS / 2] / all[2].cycles[ROUNDS / 2]);
    return 0;
}
