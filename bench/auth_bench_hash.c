/* Hashes, MACs and key derivation beside OpenSSL, nettle, libsodium, libargon2 and libxcrypt, interleaved in one run.
 *
 *     cc -O2 bench/auth_bench_hash.c -o bench_hash -lcrypto -lnettle -lsodium -largon2 -lcrypt && taskset -c 1 ./bench_hash [WORD in the item's name]
 *
 * Contenders of an item take turns, the order rotates, outputs are compared first; printed are medians: user cycles by perf_event_open where the kernel
 * lets us, else time-stamp counter ticks, and thread CPU time beside them (page faults count there). Judge by the ratio to the best peer, not by the clock. */
#define CHOPIN_AUTH_IMPLEMENTATION
#include "../chopin_auth.h"
#include <argon2.h>
#include <crypt.h>
#include <linux/perf_event.h>
#include <nettle/hmac.h>
#include <nettle/pbkdf2.h>
#include <nettle/sha2.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
#include <sodium.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>

static uint8_t data[65536], out[64];
static char *room;
static const size_t room_size = (size_t)140 << 20;
static int rc, counter = -1;
static chopin_hmac key;
static struct hmac_sha256_ctx nettle_key;
static crypto_auth_hmacsha256_state sodium_key;
static HMAC_CTX *openssl_key;

/* ---- measuring ---- */
static void counter_open(void) {
    struct perf_event_attr a = { .type = PERF_TYPE_HARDWARE, .size = sizeof a, .config = PERF_COUNT_HW_CPU_CYCLES, .exclude_kernel = 1, .exclude_hv = 1 };
    counter = (int)syscall(SYS_perf_event_open, &a, 0, -1, -1, 0);
}
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
#define BYTES(n) chopin_auth__str(data, n)
static void c_sha256(size_t n)      { chopin_sha256(BYTES(n), out); }
static void o_sha256(size_t n)      { SHA256_CTX c; SHA256_Init(&c); SHA256_Update(&c, data, n); SHA256_Final(out, &c); }
static void n_sha256(size_t n)      { struct sha256_ctx c; sha256_init(&c); sha256_update(&c, n, data); sha256_digest(&c, 32, out); }
static void s_sha256(size_t n)      { crypto_hash_sha256(out, data, n); }
static void c_sha512(size_t n)      { chopin_sha512(BYTES(n), out); }
static void o_sha512(size_t n)      { SHA512_CTX c; SHA512_Init(&c); SHA512_Update(&c, data, n); SHA512_Final(out, &c); }
static void n_sha512(size_t n)      { struct sha512_ctx c; sha512_init(&c); sha512_update(&c, n, data); sha512_digest(&c, 64, out); }
static void s_sha512(size_t n)      { crypto_hash_sha512(out, data, n); }
static void c_hmac(size_t n)        { chopin_hmac_sign(&key, BYTES(n), out); }
static void n_hmac(size_t n)        { hmac_sha256_update(&nettle_key, n, data); hmac_sha256_digest(&nettle_key, 32, out); }
static void o_hmac(size_t n)        { unsigned len; HMAC_Init_ex(openssl_key, NULL, 0, NULL, NULL); HMAC_Update(openssl_key, data, n); HMAC_Final(openssl_key, out, &len); }
static void s_hmac(size_t n)        { crypto_auth_hmacsha256_state c = sodium_key; crypto_auth_hmacsha256_update(&c, data, n); crypto_auth_hmacsha256_final(&c, out); }
static void c_pbkdf256(size_t n)    { rc = chopin_pbkdf2_raw(CHOPIN_AUTH_SHA256, CHOPIN_STR("password"), CHOPIN_STR("saltsalt"), (uint32_t)n, out, 32); }
static void o_pbkdf256(size_t n)    { PKCS5_PBKDF2_HMAC("password", 8, (const uint8_t *)"saltsalt", 8, (int)n, EVP_sha256(), 32, out); }
static void n_pbkdf256(size_t n)    { pbkdf2_hmac_sha256(8, (const uint8_t *)"password", (unsigned)n, 8, (const uint8_t *)"saltsalt", 32, out); }
static void c_pbkdf512(size_t n)    { rc = chopin_pbkdf2_raw(CHOPIN_AUTH_SHA512, CHOPIN_STR("password"), CHOPIN_STR("saltsalt"), (uint32_t)n, out, 64); }
static void o_pbkdf512(size_t n)    { PKCS5_PBKDF2_HMAC("password", 8, (const uint8_t *)"saltsalt", 8, (int)n, EVP_sha512(), 64, out); }
static void argon2_in(void *arena) {
    chopin_argon2_options o = { .kind = CHOPIN_AUTH_ARGON2ID, .m_kib = 19456, .t = 2, .p = 1 };
    rc = chopin_argon2_raw(&o, CHOPIN_STR("password"), CHOPIN_STR("saltsaltsaltsalt"), out, 32, arena, room_size);
}
static void c_argon2(size_t n)      { (void)n; argon2_in(room); }
static void c_argon2_own(size_t n)  { (void)n; argon2_in(NULL); }
static void a_argon2(size_t n)      { (void)n; rc = argon2id_hash_raw(2, 19456, 1, "password", 8, "saltsaltsaltsalt", 16, out, 32); }
static void s_argon2(size_t n)      { (void)n; rc = crypto_pwhash(out, 32, "password", 8, (const uint8_t *)"saltsaltsaltsalt", 2, 19456u * 1024, crypto_pwhash_ALG_ARGON2ID13); }
static void c_scrypt(size_t n)      { rc = chopin_scrypt_raw(CHOPIN_STR("password"), CHOPIN_STR("saltsalt"), (uint32_t)n, 8, 1, out, 32, room, room_size); }
static void s_scrypt(size_t n)      { rc = crypto_pwhash_scryptsalsa208sha256_ll((const uint8_t *)"password", 8, (const uint8_t *)"saltsalt", 8, UINT64_C(1) << n, 8, 1, out, 32); }
static void o_scrypt(size_t n)      { rc = !EVP_PBE_scrypt("password", 8, (const uint8_t *)"saltsalt", 8, UINT64_C(1) << n, 8, 1, (uint64_t)256 << 20, out, 32); }
static const uint8_t bcrypt_salt[16] = { 1, 2, 3 };
static void c_bcrypt(size_t n)      { rc = chopin_bcrypt_raw(CHOPIN_STR("password"), bcrypt_salt, (uint32_t)n, out, room, room_size); }
static void x_bcrypt(size_t n) {
    static struct crypt_data d;
    char setting[40];
    snprintf(setting, sizeof setting, "$2b$%02zu$", n);
    rc = chopin_auth__bcrypt64_encode(chopin_auth__str(bcrypt_salt, 16), setting + 7, 22);
    setting[29] = 0;
    char *hash = crypt_r("password", setting, &d);
    rc = hash ? chopin_auth__bcrypt64_decode(chopin_auth__str(hash + 29, 31), out, 23) : -1;
}
static char text[600];
static void c_base64(size_t n)      { rc = chopin_base64url_encode(BYTES(n), text, sizeof text); rc = chopin_base64url_decode(chopin_auth__str(text, (size_t)rc), (uint8_t *)text + 300, 300); }
static void s_base64(size_t n)      { size_t got; sodium_bin2base64(text, sizeof text, data, n, sodium_base64_VARIANT_URLSAFE_NO_PADDING); rc = sodium_base642bin((uint8_t *)text + 300, 300, text, strlen(text), NULL, &got, NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING); }

typedef struct contender { const char *name; void (*run)(size_t); unsigned cpu; } contender;
#define ALL (~0u)
static const struct item { const char *name; size_t n; int inner, rounds; double per; size_t compare; contender who[7]; } items[] = {
    { "SHA-256 64 KiB, per byte", 65536, 4, 15, 65536, 32, { { "chopin", c_sha256, ALL }, { "chopin portable", c_sha256, 0 }, { "openssl", o_sha256, ALL }, { "nettle", n_sha256, ALL }, { "libsodium", s_sha256, ALL } } },
    { "SHA-512 64 KiB, per byte", 65536, 4, 15, 65536, 64, { { "chopin", c_sha512, ALL }, { "chopin portable", c_sha512, 0 }, { "openssl", o_sha512, ALL }, { "nettle", n_sha512, ALL }, { "libsodium", s_sha512, ALL } } },
    { "SHA-256 64 B", 64, 500, 15, 1, 32, { { "chopin", c_sha256, ALL }, { "openssl", o_sha256, ALL }, { "nettle", n_sha256, ALL }, { "libsodium", s_sha256, ALL } } },
    { "HMAC-SHA-256 keyed, 64 B", 64, 500, 15, 1, 32, { { "chopin", c_hmac, ALL }, { "nettle", n_hmac, ALL }, { "openssl", o_hmac, ALL }, { "libsodium", s_hmac, ALL } } },
    { "HMAC-SHA-256 keyed, 1 KiB", 1024, 100, 15, 1, 32, { { "chopin", c_hmac, ALL }, { "nettle", n_hmac, ALL }, { "openssl", o_hmac, ALL }, { "libsodium", s_hmac, ALL } } },
    { "PBKDF2-SHA-256, 4096", 4096, 1, 15, 1, 32, { { "chopin", c_pbkdf256, ALL }, { "chopin portable", c_pbkdf256, 0 }, { "nettle", n_pbkdf256, ALL }, { "openssl", o_pbkdf256, ALL } } },
    { "PBKDF2-SHA-256, 600000", 600000, 1, 3, 1, 32, { { "chopin", c_pbkdf256, ALL }, { "nettle", n_pbkdf256, ALL } } },
    { "PBKDF2-SHA-512, 4096", 4096, 1, 15, 1, 64, { { "chopin", c_pbkdf512, ALL }, { "chopin portable", c_pbkdf512, 0 }, { "openssl", o_pbkdf512, ALL } } },
    { "Argon2id 19456/2/1", 0, 1, 15, 1, 32, { { "chopin, kept arena", c_argon2, ALL }, { "chopin, own arena", c_argon2_own, ALL }, { "chopin portable", c_argon2, 0 }, { "libargon2", a_argon2, ALL }, { "libsodium", s_argon2, ALL } } },
    { "scrypt 2^17/8/1", 17, 1, 5, 1, 32, { { "chopin", c_scrypt, ALL }, { "libsodium", s_scrypt, ALL }, { "openssl", o_scrypt, ALL } } },
    { "bcrypt cost 10", 10, 1, 9, 1, 23, { { "chopin", c_bcrypt, ALL }, { "libxcrypt", x_bcrypt, ALL } } },
    { "base64url 200 B, there and back", 200, 100, 15, 1, 0, { { "chopin", c_base64, ALL }, { "libsodium", s_base64, ALL } } }
};

static int ascending(const void *a, const void *b) { return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b); }
static double median(double *v, int n) { qsort(v, (size_t)n, sizeof *v, ascending); return v[n / 2]; }

static bool agree(const struct item *it, int count) {
    uint8_t first[64];
    for (int i = 0; i < count; i++) {
        chopin_auth__cpu_force(it->who[i].cpu);
        it->who[i].run(it->n);
        if (i == 0) memcpy(first, out, 64);
        if (rc < 0 || memcmp(first, out, it->compare) != 0) { printf("%s: %s differs\n", it->name, it->who[i].name); return false; }
    }
    return true;
}

static void measure(const struct item *it) {
    static double cyc[7][16], ns[7][16];
    int count = 0;
    while (count < 7 && it->who[count].run) count++;
    if (!agree(it, count)) return;
    for (int round = 0; round < it->rounds; round++) {
        for (int turn = 0; turn < count; turn++) {
            int i = (turn + round) % count;
            chopin_auth__cpu_force(it->who[i].cpu);
            double t = cpu_ns();
            uint64_t c = cycles();
            for (int j = 0; j < it->inner; j++) it->who[i].run(it->n);
            cyc[i][round] = (double)(cycles() - c) / it->inner / it->per;
            ns[i][round] = (cpu_ns() - t) / it->inner / it->per;
        }
    }
    double best_peer = 0;
    printf("%s\n", it->name);
    for (int i = count - 1; i >= 0; i--) {
        double c = median(cyc[i], it->rounds);
        if (strncmp(it->who[i].name, "chopin", 6) != 0 && (best_peer == 0 || c < best_peer)) best_peer = c;
    }
    for (int i = 0; i < count; i++) {
        double c = median(cyc[i], it->rounds), t = median(ns[i], it->rounds);
        printf("    %-20s %14.2f cycles %14.2f ns   %5.2f of the best peer\n", it->who[i].name, c, t, c / best_peer);
    }
}

int main(int argc, char **argv) {
    struct utsname u;
    unsigned found = chopin_auth__cpu_force(ALL);
    uname(&u);
    if (sodium_init() < 0) return 1;
    room = chopin_auth__arena_map(room_size);
    if (!room) return 1;
    memset(room, 1, room_size);
    counter_open();
    rc = chopin_hmac_key(&key, CHOPIN_AUTH_SHA256, CHOPIN_STR("a key of 32 bytes, as for HS256!"));
    hmac_sha256_set_key(&nettle_key, 32, (const uint8_t *)"a key of 32 bytes, as for HS256!");
    crypto_auth_hmacsha256_init(&sodium_key, (const uint8_t *)"a key of 32 bytes, as for HS256!", 32);
    openssl_key = HMAC_CTX_new();
    HMAC_Init_ex(openssl_key, "a key of 32 bytes, as for HS256!", 32, EVP_sha256(), NULL);
    printf("%s %s, compiler %s, path bits %x, %s\n", u.sysname, u.release, __VERSION__, found, counter >= 0 ? "user cycles" : "time-stamp ticks (perf_event_open refused)");
    for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
        if (argc < 2 || strstr(items[i].name, argv[1])) measure(&items[i]);
    }
    HMAC_CTX_free(openssl_key);
    chopin_auth__arena_unmap(room, room_size);
    return 0;
}
