/* Ed25519, ES256 and RSA, raw messages of 100 bytes, beside OpenSSL and libsodium, interleaved in one run.
 *
 *     cc -O2 bench/auth_bench_pk.c -o bench_pk -lcrypto -lsodium && taskset -c 1 ./bench_pk [WORD in the item's name]
 *
 * Contenders of an item take turns and the order rotates; each one's signature is first verified by another. Printed are medians of 15: user cycles by
 * perf_event_open where the kernel lets us, else ticks of the time-stamp counter, brought to core cycles by a loop of known length; and thread CPU time.
 * OpenSSL is called as its own `openssl speed` does, with contexts made anew each time (EVP), and for ES256 also through its low-level calls.
 * Judge by the ratio to the best peer. */
#define CHOPIN_AUTH_IMPLEMENTATION
#include "../chopin_auth.h"
#define OPENSSL_SUPPRESS_DEPRECATED
#include <linux/perf_event.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <sodium.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>

enum { ROUNDS = 15 };
static uint8_t message[100] = { 1, 2, 3 }, ours[512], theirs[512], scratch[512];
static size_t size, theirs_size;
static chopin_jwk key, fast;
static EVP_PKEY *evp;
static uint8_t sodium_pk[32], sodium_sk[64], hash[32];
static EC_KEY *ec;
static int counter = -1;
static double per_tick = 1;                                          // core cycles of one tick of the time-stamp counter
static _Alignas(16) uint8_t table[CHOPIN_AUTH_JWK_TABLE];

static void must(bool ok, const char *what) { if (!ok) { fprintf(stderr, "bench: %s failed\n", what); exit(1); } }
#define MESSAGE ((chopin_str){ (char *)message, sizeof message })

/* ---- measuring ---- */
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
static void calibrate(void) {
    struct perf_event_attr a = { .type = PERF_TYPE_HARDWARE, .size = sizeof a, .config = PERF_COUNT_HW_CPU_CYCLES, .exclude_kernel = 1, .exclude_hv = 1 };
    counter = (int)syscall(SYS_perf_event_open, &a, 0, -1, -1, 0);
#if defined(__x86_64__)
    if (counter >= 0) return;
    double best = 0;
    for (int round = 0; round < 9; round++) {                        // 64-bit multiplications in a chain take three cycles each, on all x86-64 of the last 15 years
        uint64_t x = 3, t = cycles();
        for (int i = 0; i < 1000000; i++) __asm__ volatile("imulq %0, %0\n\timulq %0, %0\n\timulq %0, %0\n\timulq %0, %0" : "+r"(x));
        double now = 12000000.0 / (double)(cycles() - t);
        if (now > best) best = now;
    }
    per_tick = best;
#endif
}

/* ---- contenders ---- */
static void our_sign(void)   { must(chopin_auth__jwk_sign(&key, MESSAGE, scratch, sizeof scratch) > 0, "sign"); }
static void our_verify(void) { must(chopin_auth__jwk_verify(&key, MESSAGE, (chopin_str){ (char *)ours, size }) == 0, "verify"); }
static void our_table(void)  { must(chopin_auth__jwk_verify(&fast, MESSAGE, (chopin_str){ (char *)ours, size }) == 0, "verify with table"); }
static EVP_MD_CTX *their_context(bool sign) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *options;
    const EVP_MD *md = key.alg == CHOPIN_AUTH_EDDSA ? NULL : EVP_sha256();
    must((sign ? EVP_DigestSignInit(ctx, &options, md, NULL, evp) : EVP_DigestVerifyInit(ctx, &options, md, NULL, evp)) == 1, "EVP init");
    if (key.alg == CHOPIN_AUTH_PS256) must(EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) == 1 && EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST) == 1, "EVP PSS");
    return ctx;
}
static void evp_sign(void) {
    size_t n = sizeof theirs;
    EVP_MD_CTX *ctx = their_context(true);
    must(EVP_DigestSign(ctx, theirs, &n, message, sizeof message) == 1, "EVP sign");
    theirs_size = n;
    EVP_MD_CTX_free(ctx);
}
static void evp_verify(void) {
    EVP_MD_CTX *ctx = their_context(false);
    must(EVP_DigestVerify(ctx, theirs, theirs_size, message, sizeof message) == 1, "EVP verify");
    EVP_MD_CTX_free(ctx);
}
static void low_sign(void) {
    unsigned n;
    SHA256(message, sizeof message, hash);
    must(ECDSA_sign(0, hash, 32, scratch, &n, ec) == 1, "ECDSA_sign");
}
static void low_verify(void) {
    SHA256(message, sizeof message, hash);
    must(ECDSA_verify(0, hash, 32, theirs, (int)theirs_size, ec) == 1, "ECDSA_verify");
}
static void sodium_sign(void)   { crypto_sign_detached(scratch, NULL, message, sizeof message, sodium_sk); }
static void sodium_verify(void) { must(crypto_sign_verify_detached(ours, message, sizeof message, sodium_pk) == 0, "libsodium verify"); }

/* ---- the table of items ---- */
typedef struct contender { const char *name; void (*run)(void); } contender;
static int by_value(const void *a, const void *b) { double x = *(const double *)a, y = *(const double *)b; return (x > y) - (x < y); }
static double median(double *v) { qsort(v, ROUNDS, sizeof *v, by_value); return v[ROUNDS / 2]; }

static void item(const char *name, const char *only, int batch, const contender *c, int count) {
    static double spent[4][ROUNDS], time_of[4][ROUNDS];
    double first = 0;
    if (only && !strstr(name, only)) return;
    for (int round = 0; round < ROUNDS; round++) {
        for (int turn = 0; turn < count; turn++) {
            int who = (turn + round) % count;
            double before = cpu_ns();
            uint64_t start = cycles();
            for (int i = 0; i < batch; i++) c[who].run();
            spent[who][round] = (double)(cycles() - start) / batch * per_tick, time_of[who][round] = (cpu_ns() - before) / batch;
        }
    }
    for (int who = 0; who < count; who++) {
        double m = median(spent[who]), t = median(time_of[who]);
        if (who == 0) first = m;
        printf("%-22s %-22s %10.1f k  %9.2f us   chopin is %.2f of it\n", name, c[who].name, m / 1e3, t / 1e3, first / m);
    }
}

static void ed25519(const char *only) {
    uint8_t seed[32] = { 9 };
    must(chopin_jwk_ed25519(&key, CHOPIN_STR(""), seed) == 0, "key");
    fast = key;
    must(chopin_jwk_table(&fast, table, sizeof table) == 0, "table");
    crypto_sign_seed_keypair(sodium_pk, sodium_sk, seed);
    evp = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32);
    size = (size_t)chopin_auth__jwk_sign(&key, MESSAGE, ours, sizeof ours);
    evp_sign();
    must(memcmp(ours, theirs, 64) == 0, "the same signature");
    item("Ed25519 verify", only, 100, (contender[]){ { "chopin", our_verify }, { "libsodium", sodium_verify }, { "OpenSSL EVP", evp_verify } }, 3);
    item("Ed25519 verify, table", only, 100, (contender[]){ { "chopin, table", our_table }, { "libsodium", sodium_verify } }, 2);
    item("Ed25519 sign", only, 200, (contender[]){ { "chopin", our_sign }, { "libsodium", sodium_sign }, { "OpenSSL EVP", evp_sign } }, 3);
}
static void p256(const char *only) {
    uint8_t d[32] = { 9 };
    must(chopin_jwk_p256(&key, CHOPIN_STR(""), d) == 0, "key");
    fast = key;
    must(chopin_jwk_table(&fast, table, sizeof table) == 0, "table");
    ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
    BIGNUM *n = BN_bin2bn(d, 32, NULL);
    EC_POINT *p = EC_POINT_new(EC_KEY_get0_group(ec));
    EC_POINT_mul(EC_KEY_get0_group(ec), p, n, NULL, NULL, NULL), EC_KEY_set_private_key(ec, n), EC_KEY_set_public_key(ec, p);
    evp = EVP_PKEY_new();
    EVP_PKEY_set1_EC_KEY(evp, ec);
    size = (size_t)chopin_auth__jwk_sign(&key, MESSAGE, ours, sizeof ours);
    evp_sign();
    item("ES256 verify", only, 100, (contender[]){ { "chopin", our_verify }, { "OpenSSL low level", low_verify }, { "OpenSSL EVP", evp_verify } }, 3);
    item("ES256 verify, table", only, 100, (contender[]){ { "chopin, table", our_table }, { "OpenSSL low level", low_verify } }, 2);
    item("ES256 sign", only, 100, (contender[]){ { "chopin", our_sign }, { "OpenSSL low level", low_sign }, { "OpenSSL EVP", evp_sign } }, 3);
}
static void rsa(const char *only, chopin_auth_alg alg, const char *file, const char *verify, const char *sign) {
    static const char *const folders[] = { "tests/vectors/keys/", "../tests/vectors/keys/" };
    char path[256], text[8192];
    FILE *f = NULL;
    for (int i = 0; i < 2 && !f; i++) snprintf(path, sizeof path, "%s%s", folders[i], file), f = fopen(path, "rb");
    must(f != NULL, "key file");
    size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    must(chopin_jwk_pem(&key, alg, CHOPIN_STR(""), (chopin_str){ text, n }) == 0, "key");
    BIO *bio = BIO_new_mem_buf(text, (int)n);
    evp = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    size = (size_t)chopin_auth__jwk_sign(&key, MESSAGE, ours, sizeof ours);
    evp_sign();
    must(chopin_auth__jwk_verify(&key, MESSAGE, (chopin_str){ (char *)theirs, theirs_size }) == 0, "their signature");
    item(verify, only, 100, (contender[]){ { "chopin", our_verify }, { "OpenSSL EVP", evp_verify } }, 2);
    item(sign, only, 3, (contender[]){ { "chopin", our_sign }, { "OpenSSL EVP", evp_sign } }, 2);
    BIO_free(bio);
}

int main(int argc, char **argv) {
    const char *only = argc > 1 ? argv[1] : NULL;
    struct utsname u;
    uname(&u);
    must(sodium_init() >= 0, "libsodium");
    calibrate();
    printf("%s %s, compiler %s, path 0x%x, %s\n", u.sysname, u.release, __VERSION__, chopin_auth__cpu(), counter >= 0 ? "user cycles" : "ticks brought to core cycles");
    ed25519(only), p256(only);
    rsa(only, CHOPIN_AUTH_RS256, "rsa2048.pem", "RS256-2048 verify", "RS256-2048 sign");
    rsa(only, CHOPIN_AUTH_PS256, "rsa2048.pem", "PS256-2048 verify", "PS256-2048 sign");
    rsa(only, CHOPIN_AUTH_RS256, "rsa4096.pem", "RS256-4096 verify", "RS256-4096 sign");
    return 0;
}
