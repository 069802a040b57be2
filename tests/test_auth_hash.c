/* SHA-1, SHA-256, SHA-384, SHA-512, BLAKE2b: vectors on every path, whole and in pieces, at every alignment, against guard pages */
#include "auth.h"
#include "test.h"
#include "vectors.h"
#include "paths.h"
#include "guard.h"

static uint8_t data[4096 + 64];
static void fill(void) { for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 131 + (i >> 8) * 7 + 3); }

/* One hash as these tests see it. BLAKE2b stands in as 0. */
static size_t size_of(int hash) { return hash == 0 ? 64 : chopin_auth__hash_size((chopin_auth_hash)hash); }
static void whole(int hash, chopin_str in, uint8_t *out) {
    switch (hash) {
    case 0: chopin_blake2b(in, out); break;
    case CHOPIN_AUTH_SHA256: chopin_sha256(in, out); break;
    case CHOPIN_AUTH_SHA384: chopin_sha384(in, out); break;
    case CHOPIN_AUTH_SHA512: chopin_sha512(in, out); break;
    default: chopin_auth__hash_all((chopin_auth_hash)hash, in, out);
    }
}
typedef struct any { int hash; chopin_blake2b_ctx b; chopin_sha256_ctx n; chopin_sha512_ctx w; chopin_auth__hasher h; } any;
static void any_init(any *a, int hash) {
    a->hash = hash;
    if (hash == 0) CHECK_EQ_INT(chopin_blake2b_init(&a->b, 64, (chopin_str){ NULL, 0 }), 0);
    else if (hash == CHOPIN_AUTH_SHA256) chopin_sha256_init(&a->n);
    else if (hash == CHOPIN_AUTH_SHA384) chopin_sha384_init(&a->w);
    else if (hash == CHOPIN_AUTH_SHA512) chopin_sha512_init(&a->w);
    else chopin_auth__hash_init(&a->h, (chopin_auth_hash)hash);
}
static void any_update(any *a, chopin_str in) {
    if (a->hash == 0) chopin_blake2b_update(&a->b, in);
    else if (a->hash == CHOPIN_AUTH_SHA256) chopin_sha256_update(&a->n, in);
    else if (a->hash == CHOPIN_AUTH_SHA384) chopin_sha384_update(&a->w, in);
    else if (a->hash == CHOPIN_AUTH_SHA512) chopin_sha512_update(&a->w, in);
    else chopin_auth__hash_update(&a->h, in);
}
static void any_final(any *a, uint8_t *out) {
    if (a->hash == 0) chopin_blake2b_final(&a->b, out);
    else if (a->hash == CHOPIN_AUTH_SHA256) chopin_sha256_final(&a->n, out);
    else if (a->hash == CHOPIN_AUTH_SHA384) chopin_sha384_final(&a->w, out);
    else if (a->hash == CHOPIN_AUTH_SHA512) chopin_sha512_final(&a->w, out);
    else chopin_auth__hash_final(&a->h, out);
}
enum { FIRST = 0, LAST = CHOPIN_AUTH_SHA1 };

static void in_pieces(int hash, chopin_str in, const uint8_t *want) {
    uint8_t out[64];
    any a;
    for (size_t cut = 0; cut <= in.len; cut++) {
        any_init(&a, hash);
        any_update(&a, (chopin_str){ in.ptr, cut });
        any_update(&a, (chopin_str){ NULL, 0 });
        any_update(&a, (chopin_str){ in.ptr + cut, in.len - cut });
        any_final(&a, out);
        if (!CHECK(memcmp(out, want, size_of(hash)) == 0)) { printf("hash %d, %zu bytes cut at %zu\n", hash, in.len, cut); return; }
    }
    for (size_t step = 1; step < 10 && step <= in.len; step++) {
        any_init(&a, hash);
        for (size_t at = 0; at < in.len; at += step) any_update(&a, (chopin_str){ in.ptr + at, chopin_auth__min(step, in.len - at) });
        any_final(&a, out);
        CHECK(memcmp(out, want, size_of(hash)) == 0);
    }
}

static int hash_named(const char *name) {
    return strcmp(name, "sha1") == 0 ? CHOPIN_AUTH_SHA1 : strcmp(name, "sha256") == 0 ? CHOPIN_AUTH_SHA256 : strcmp(name, "sha384") == 0 ? CHOPIN_AUTH_SHA384 : CHOPIN_AUTH_SHA512;
}

static void fips180_examples(void) {
    vec v;
    uint8_t out[64];
    EACH_PATH(path) {
        for (vec_open(&v, "rfc/fips180_sha.json"); vec_next(&v, NULL);) {
            chopin_str msg = vec_hex(&v, "msg"), md = vec_hex(&v, "md");
            int hash = hash_named(v.section);
            any a;
            if (!CHECK(md.len == size_of(hash))) continue;
            any_init(&a, hash);
            for (long long i = vec_int(&v, "repeat"); i > 0; i--) any_update(&a, msg);
            any_final(&a, out);
            CHECK(memcmp(out, md.ptr, md.len) == 0);
            if (vec_int(&v, "repeat") == 1) in_pieces(hash, guard_copy(0, msg.ptr, msg.len), (const uint8_t *)md.ptr);
        }
        vec_close(&v, 13);
    }
}

static void cavp_file(const char *name, int hash, int cases) {
    vec v;
    uint8_t out[64];
    EACH_PATH(path) {
        for (vec_open(&v, name); vec_next(&v, NULL);) {
            chopin_str msg = vec_hex(&v, "Msg"), md = vec_hex(&v, "MD");
            msg.len = (size_t)vec_int(&v, "Len") / 8;
            chopin_str at_end = guard_copy(0, msg.ptr, msg.len);
            whole(hash, at_end, out);
            CHECK(md.len == size_of(hash) && memcmp(out, md.ptr, md.len) == 0);
            in_pieces(hash, at_end, (const uint8_t *)md.ptr);
        }
        vec_close(&v, cases);
    }
}
static void cavp_sha256(void) { cavp_file("cavp/SHA256ShortMsg.rsp", CHOPIN_AUTH_SHA256, 65); }
static void cavp_sha384(void) { cavp_file("cavp/SHA384ShortMsg.rsp", CHOPIN_AUTH_SHA384, 129); }
static void cavp_sha512(void) { cavp_file("cavp/SHA512ShortMsg.rsp", CHOPIN_AUTH_SHA512, 129); }

/* seq() of RFC 7693 appendix E. */
static void seq(uint8_t *out, size_t n, uint32_t seed) {
    uint32_t a = 0xDEAD4BADu * seed, b = 1, t;
    for (size_t i = 0; i < n; i++) t = a + b, a = b, b = t, out[i] = (uint8_t)(t >> 24);
}

static void blake2b_rfc7693(void) {
    static const size_t outs[] = { 20, 32, 48, 64 }, ins[] = { 0, 3, 128, 129, 255, 1024 };
    vec v;
    uint8_t in[1024], key[64], md[64], out[64];
    chopin_blake2b_ctx all, c;
    vec_open(&v, "rfc/rfc7693_blake2b.json");
    CHECK(vec_next(&v, "blake2b"));
    chopin_str msg = vec_hex(&v, "msg"), want = vec_hex(&v, "md");
    chopin_blake2b(msg, out);
    CHECK(memcmp(out, want.ptr, 64) == 0);
    CHECK(vec_next(&v, "selftest"));
    CHECK_EQ_INT(chopin_blake2b_init(&all, 32, (chopin_str){ NULL, 0 }), 0);
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 6; j++) {
            for (int keyed = 0; keyed < 2; keyed++) {
                seq(in, ins[j], (uint32_t)ins[j]);
                seq(key, outs[i], (uint32_t)outs[i]);
                CHECK_EQ_INT(chopin_blake2b_init(&c, outs[i], chopin_auth__str(key, keyed ? outs[i] : 0)), 0);
                chopin_blake2b_update(&c, chopin_auth__str(in, ins[j]));
                chopin_blake2b_final(&c, md);
                chopin_blake2b_update(&all, chopin_auth__str(md, outs[i]));
            }
        }
    }
    chopin_blake2b_final(&all, out);
    want = vec_hex(&v, "md");
    CHECK(memcmp(out, want.ptr, 32) == 0);
    vec_close(&v, 2);
}

static void blake2b_checks_sizes(void) {
    chopin_blake2b_ctx c;
    CHECK_EQ_INT(chopin_blake2b_init(&c, 0, (chopin_str){ NULL, 0 }), CHOPIN_AUTH_SIZE);
    CHECK_EQ_INT(chopin_blake2b_init(&c, 65, (chopin_str){ NULL, 0 }), CHOPIN_AUTH_SIZE);
    CHECK_EQ_INT(chopin_blake2b_init(&c, 32, chopin_auth__str(data, 65)), CHOPIN_AUTH_SIZE);
    CHECK_EQ_INT(chopin_blake2b_init(&c, 64, chopin_auth__str(data, 64)), 0);
}

/* Every split of 300 bytes, in and out at a guard page. */
static void every_split_of_300_bytes(void) {
    uint8_t want[64];
    EACH_PATH(path) {
        for (int hash = FIRST; hash <= LAST; hash++) {
            chopin_str in = guard_copy(0, data, 300);
            uint8_t *out = guard_room(1, size_of(hash));
            whole(hash, in, want);
            whole(hash, in, out);
            CHECK(memcmp(out, want, size_of(hash)) == 0);
            in_pieces(hash, in, want);
        }
    }
}

/* All lengths around blocks, all 16 alignments, all paths: the same digest. */
static void paths_and_alignments_agree(void) {
    static uint8_t first[5][600][64];
    bool have = false;
    EACH_PATH(path) {
        for (int hash = FIRST; hash <= LAST; hash++) {
            for (size_t n = 0; n < 600; n++) {
                for (size_t align = 0; align < 16; align++) {
                    uint8_t place[16 + 600], out[16 + 64];
                    memcpy(place + align, data, n);
                    whole(hash, chopin_auth__str(place + align, n), out + align);
                    if (!have && align == 0) memcpy(first[hash][n], out, size_of(hash));
                    CHECK(memcmp(out + align, first[hash][n], size_of(hash)) == 0);
                    if (SMALL && n % 16 != 0) break;
                }
            }
        }
        have = true;
    }
}

/* More than 4 GiB (where size_t can say so): the length field counts bits in 64 and 128 bits. The counters are set by hand; a real run would take a minute. */
static void hash_lengths_do_not_wrap(void) {
    static const uint64_t totals[] = { UINT64_C(1) << 29, UINT64_C(1) << 32, (UINT64_C(1) << 32) + 128, UINT64_C(1) << 60, UINT64_C(1) << 61, UINT64_C(0x2000000000000080) };
    for (size_t i = 0; i < sizeof totals / sizeof *totals; i++) {
        uint8_t tail[128] = { 0 }, out[64], want[64];
        chopin_sha256_ctx n, n2;
        chopin_sha512_ctx w, w2;
        chopin_sha256_init(&n), chopin_sha256_init(&n2);
        n.total = totals[i];
        chopin_sha256_update(&n, CHOPIN_STR("x"));
        chopin_sha256_final(&n, out);
        tail[0] = 'x', tail[1] = 0x80;
        chopin_auth__store64be(tail + 56, (totals[i] + 1) << 3);
        chopin_auth__sha256_blocks(n2.state, tail, 1);
        for (int j = 0; j < 8; j++) chopin_auth__store32be(want + 4 * j, n2.state[j]);
        CHECK(memcmp(out, want, 32) == 0);
        chopin_sha512_init(&w), chopin_sha512_init(&w2);
        w.total = totals[i];
        chopin_sha512_update(&w, CHOPIN_STR("x"));
        chopin_sha512_final(&w, out);
        chopin_auth__store64be(tail + 56, 0);
        chopin_auth__store64be(tail + 112, (totals[i] + 1) >> 61), chopin_auth__store64be(tail + 120, (totals[i] + 1) << 3);
        chopin_auth__sha512_blocks(w2.state, tail, 1);
        for (int j = 0; j < 8; j++) chopin_auth__store64be(want + 8 * j, w2.state[j]);
        CHECK(memcmp(out, want, 64) == 0);
    }
}

static void contexts_are_wiped(void) {
    static const uint8_t zero[sizeof(any)];
    uint8_t out[64];
    any a;
    for (int hash = FIRST; hash <= LAST; hash++) {
        memset(&a, 0, sizeof a);
        any_init(&a, hash);
        any_update(&a, chopin_auth__str(data, 200));
        any_final(&a, out);
        CHECK(memcmp(&a.n, zero, sizeof a.n) == 0 && memcmp(&a.w, zero, sizeof a.w) == 0 && memcmp(&a.b, zero, sizeof a.b) == 0 && memcmp(&a.h.c, zero, sizeof a.h.c.narrow) == 0);
    }
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    fill();
    RUN(fips180_examples);
    RUN(cavp_sha256);
    RUN(cavp_sha384);
    RUN(cavp_sha512);
    RUN(blake2b_rfc7693);
    RUN(blake2b_checks_sizes);
    RUN(every_split_of_300_bytes);
    RUN(paths_and_alignments_agree);
    RUN(hash_lengths_do_not_wrap);
    RUN(contexts_are_wiped);
    return TEST_END();
}
