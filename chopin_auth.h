/* chopin_auth.h - v0.1.0 - tokens, passwords, roles and the cryptography under them, in one C file - MIT or public domain, see end of file

   Do this in ONE .c file (best: a two-line chopin_auth.c), include it plainly elsewhere:
       #define CHOPIN_AUTH_IMPLEMENTATION
       #include "chopin_auth.h"
   Build:  cc -O2 app.c chopin_auth.c          (nothing else: no library, no flag for the CPU)

   THE SMALLEST VERIFIER
       static chopin_jwk key; static chopin_jwt_verifier api;
       int setup(chopin_str pem) {
           int rc = chopin_jwk_pem(&key, CHOPIN_AUTH_EDDSA, CHOPIN_STR("2026-11"), pem);        // the algorithm is fixed here, for good
           if (rc < 0) return rc;
           return chopin_jwt_verifier_init(&api, &(chopin_jwt_verifier_options){
               .key = &key, .iss = CHOPIN_STR("https://id.example"), .aud = CHOPIN_STR("orders") });
       }
       int who(chopin_str token, chopin_jwt *me, char room[2048]) { return chopin_jwt_verify(&api, token, room, 2048, me); }   // 0: me is good

   WHAT IT DOES, WHAT IT DOES NOT
   JWS and JWT (HS, RS, PS, ES256, EdDSA) issued and verified under keys that own their algorithm; PEM, JWK and sets of them; revocation, refresh tokens;
   password hashes (Argon2id, scrypt, bcrypt, PBKDF2) with upgrade at login; TOTP; sealed cookies, sessions, CSRF, API keys, tickets, a login guard; roles.
   SHA-2, HMAC, BLAKE2b, HKDF, Ed25519, P-256 and RSA are written here, constant time where a secret is involved (CONSTANT TIME below).
   Never: alg none, JWE, zip, PBES2, JSON serialisation of JWS, X.509 chains, fetching of keys, P-521, secp256k1, Ed448, MD5, general-purpose encryption.

   MAP OF THIS FILE
   Declarations: chopin_str, status, basics; hashes, MACs, key derivation; keys; tokens, passwords, web, roles; glue to chopin.h. Then, if implemented
   here, rooms; each calls only rooms above it, and what must reach upwards is a function pointer:
       >>platform    system includes, compiler, statuses     >>json         strict JSON reader, pure
       >>cpu         which instructions may be used          >>jwk          keys and sets of them, PEM and JSON
       >>ct          masks, compare, wipe                    >>jws          compact signatures
       >>bytes       loads, stores, base64, base32, hex      >>jwt          claims: verifier and issuer
       >>random      the system's random bytes               >>revocation   revoked tokens; refresh families
       >>hash        SHA-1, SHA-2, BLAKE2b                   >>password     hash strings, the pool of arenas, login
       >>mac         HMAC                                    >>otp          HOTP, TOTP, recovery codes
       >>kdf         HKDF, PBKDF2, Argon2, scrypt, bcrypt    >>roles        permissions as bits
       >>cipher      XChaCha20-Poly1305, for cookies         >>seal         signed and sealed cookies
       >>bignum      integers of fixed width                 >>session      sessions, CSRF, API keys, tickets
       >>rsa         PKCS#1 v1.5, PSS                        >>guard        failed logins, counted and bounded
       >>ed25519     EdDSA                                   >>public       what is left of the API; OAuth helpers
       >>p256        ECDSA                                   >>glue         middleware, when chopin.h came first
       >>der         ASN.1 DER, pure

   COMPILE-TIME SWITCHES
       CHOPIN_AUTH_IMPLEMENTATION   implement this header here; CHOPIN_IMPLEMENTATION: all Chopin headers included here
       CHOPIN_AUTH_API              what stands before declarations       (default CHOPIN_API, else extern)
       CHOPIN_AUTH_ASSERT(x)        our own mistakes                      (default: abort with the line unless NDEBUG)
       CHOPIN_AUTH_RSA_MAX          largest RSA modulus in bits           (default 4096, up to 8192)
       CHOPIN_AUTH_NO_RSA _NO_P256 _NO_ED25519 _NO_ARGON2 _NO_SCRYPT _NO_BCRYPT     leave that code out
       CHOPIN_AUTH_SMALL            small before fast: portable hashes as loops      (default with -Os and -Oz)
       CHOPIN_AUTH_UNWIND_TABLES    keep the tables for stack unwinding in gcc's -Os builds too (exceptions, profilers that need them)
       CHOPIN_AUTH_NO_SIMD          portable C only; otherwise SHA-NI, AVX2, ARMv8 SHA-2 and SHA-512 are used where the CPU has them

   MEMORY AND OWNERSHIP
   Objects live in the caller's memory, between `init` and `done`; `done` wipes. Views returned to you point into buffers you gave. No heap call but the
   memory of password hashing, and that only if you gave none. Frames stay under 4 KiB, 8 KiB in all. State of the process: one word, what this CPU can.

   THREADS
   An initialised key, verifier, issuer, role table or HMAC key is not changed by use: share it freely. Contexts (_init, _update, _final) belong to one thread.

   ERRORS
   Calls that can fail give 0 or a length, or a negative CHOPIN_AUTH_* status: chopin_auth_text() says what to change, chopin_auth_http() which answer
   the client gets. Ignoring one is a compiler warning. A call that fails leaves its output zero or untouched, never half done.

   CONSTANT TIME
   No branch, index, division, shift amount or early exit depends on a private key, MAC key, password, nonce or decoded secret; `make ct` checks it for each
   compiler and level. Inherent exceptions stand in the source as CHOPIN_AUTH__PUBLIC(p, n, "why"): bcrypt's S-boxes, Argon2id after its first half pass,
   scrypt's second loop, accept or reject of a nonce, the hash that a secret is looked up by, final verdicts. We assume that multiplying 32 x 32 and
   64 x 64 bits takes constant time.

   LIMITS
   Every number that comes from outside is bounded before memory or time is spent on it; the bounds stand at the declarations.

   TESTING
   chopin_auth__cpu_force() (private) pins a code path; clocks, stores and the random source can be replaced, see the declarations. */

#if (defined(CHOPIN_IMPLEMENTATION) || defined(CHOPIN_AUTH_IMPLEMENTATION)) && !defined(CHOPIN_AUTH_IMPLEMENTED) && !defined(_GNU_SOURCE)
#if defined(_FEATURES_H) || defined(_ERRNO_H) || defined(_STDLIB_H) || defined(_STDIO_H)
#error "chopin_auth.h: its implementation must come before the first system header (it defines _GNU_SOURCE), best in a .c file of its own"
#endif
#define _GNU_SOURCE 1
#endif

#ifndef CHOPIN_AUTH_H
#define CHOPIN_AUTH_H

#define CHOPIN_AUTH_VERSION_MAJOR 0
#define CHOPIN_AUTH_VERSION_MINOR 1
#define CHOPIN_AUTH_VERSION_PATCH 0
#define CHOPIN_AUTH_VERSION "0.1.0"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef CHOPIN_AUTH_API
#ifdef CHOPIN_API
#define CHOPIN_AUTH_API CHOPIN_API
#else
#define CHOPIN_AUTH_API extern
#endif
#endif

/* Stands before the declaration of a call whose status must not be ignored. */
#ifdef __GNUC__
#define CHOPIN_AUTH__CHECKED __attribute__((warn_unused_result))
#else
#define CHOPIN_AUTH__CHECKED
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- chopin_str: bytes that belong to somebody else (the same block stands in every Chopin header) ---- */
#ifndef CHOPIN_STR_DEFINED
#define CHOPIN_STR_DEFINED
/* A view: `len` bytes at `ptr`, not terminated by a NUL. Absent: .ptr is NULL. Empty: .ptr is set, .len is 0. */
typedef struct chopin_str {
    const char *ptr;
    size_t      len;
} chopin_str;
#ifdef __cplusplus
#define CHOPIN_STR(literal) (chopin_str{ "" literal, sizeof(literal) - 1 })
#else
#define CHOPIN_STR(literal) ((chopin_str){ "" literal, sizeof(literal) - 1 })
#endif
/* For printf's "%.*s". The argument is evaluated twice: it must have no side effect. */
#define CHOPIN_FMT(str) (int)(str).len, (str).ptr ? (str).ptr : ""
#endif

/* ---- status: 0 or a length is good, failures are negative. Columns: name, number, HTTP status, RFC 6750 word, text ---- */
#define CHOPIN_AUTH_STATUSES(X)                                                                                                          \
    X(OK,           0, 200, "",                   "no error")                                                                            \
    X(MALFORMED,   -1, 400, "invalid_request",    "the request carries two credentials or a broken header: send exactly one")            \
    X(MISSING,     -2, 401, "",                   "no credential came with the request")                                                 \
    X(FORMAT,      -3, 401, "invalid_token",      "not in the expected form (see the rules of that format)")                             \
    X(SIZE,        -4, 401, "invalid_token",      "longer or shorter than allowed (see the limits at the declaration)")                  \
    X(ALG,         -5, 401, "invalid_token",      "the token's algorithm is not the one of the key")                                     \
    X(KEY_ID,      -6, 401, "invalid_token",      "no key with this kid is loaded (load a newer key set)")                               \
    X(CRITICAL,    -7, 401, "invalid_token",      "the header demands something that is not understood or not allowed")                  \
    X(TYPE,        -8, 401, "invalid_token",      "typ says that the token serves another purpose")                                      \
    X(SIGNATURE,   -9, 401, "invalid_token",      "the signature or MAC does not match")                                                 \
    X(EXPIRED,    -10, 401, "invalid_token",      "expired (exp, or older than the maximum age)")                                        \
    X(EARLY,      -11, 401, "invalid_token",      "not valid yet (nbf or iat lies ahead: check the clocks)")                             \
    X(ISSUER,     -12, 401, "invalid_token",      "iss is not the configured issuer")                                                    \
    X(AUDIENCE,   -13, 401, "invalid_token",      "aud does not name us")                                                                \
    X(CLAIM,      -14, 401, "invalid_token",      "a required claim is missing or of the wrong type")                                    \
    X(REVOKED,    -15, 401, "invalid_token",      "revoked")                                                                             \
    X(MISMATCH,   -16, 401, "invalid_token",      "the password or code is not right")                                                   \
    X(REPLAY,     -17, 401, "invalid_token",      "used before: codes, tickets and refresh tokens work once")                            \
    X(HASH,       -18, 401, "invalid_token",      "the stored hash cannot be read: deny and log it (tell the client MISMATCH)")          \
    X(FORBIDDEN,  -19, 403, "insufficient_scope", "a needed permission, role or scope was not granted")                                  \
    X(CSRF,       -20, 403, "",                   "the request did not come from our own pages (origin, or missing token)")              \
    X(UNVERIFIED, -21, 403, "",                   "the account's address has not been confirmed yet")                                    \
    X(LIMITED,    -22, 429, "",                   "too many failures: wait and try again")                                               \
    X(CONFIG,     -23, 500, "",                   "a required option is missing or contradicts another one")                             \
    X(KEY,        -24, 500, "",                   "the key is damaged, inconsistent or of another kind")                                 \
    X(WEAK_KEY,   -25, 500, "",                   "the key is too short or weak (HS256 needs 32 bytes, RSA 2048 bits)")                  \
    X(UNSUPPORTED,-26, 500, "",                   "a standard form that is left out on purpose, or by a CHOPIN_AUTH_NO_ switch")         \
    X(LIMIT,      -27, 500, "",                   "over a hard limit (cost parameters, table size): see the declaration")                \
    X(BUFFER,     -28, 500, "",                   "the output buffer is too small; nothing was written")                                 \
    X(ARG,        -29, 500, "",                   "an argument is not valid")                                                            \
    X(BUSY,       -30, 503, "",                   "all password arenas are in use: try again shortly")                                   \
    X(RANDOM,     -31, 503, "",                   "the system gave no random bytes; nothing was issued")                                 \
    X(STORE,      -32, 503, "",                   "the store did not answer; access is denied")                                          \
    X(MEMORY,     -33, 503, "",                   "no memory for this password hash")

typedef enum chopin_auth_status {
#define CHOPIN_AUTH__ENUM(name, value, http, word, text) CHOPIN_AUTH_##name = (value),
    CHOPIN_AUTH_STATUSES(CHOPIN_AUTH__ENUM)
#undef CHOPIN_AUTH__ENUM
    CHOPIN_AUTH_STATUS_LAST_ = 0
} chopin_auth_status;

/* Of a status, or of any result (a length counts as OK): the HTTP status to answer with, its name without prefix ("EXPIRED"), and its text. Never NULL;
 * unknown numbers are 500, "UNKNOWN". Any thread. */
CHOPIN_AUTH_API int         chopin_auth_http(int status);
CHOPIN_AUTH_API const char *chopin_auth_name(int status);
CHOPIN_AUTH_API const char *chopin_auth_text(int status);

/* CHOPIN_AUTH_VERSION of the implementation that was linked. */
CHOPIN_AUTH_API const char *chopin_auth_version(void);

/* ---- basics ---- */

/* Fills out[n] from the system's random source: getrandom(), getentropy() or /dev/urandom, with no state of ours, so fork is safe. May wait once, early at
 * boot, until the source is seeded. 0, or RANDOM with out zeroed: then issue nothing. Any thread. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_random(void *out, size_t n);

/* Are the first n bytes the same? Takes the same time wherever they differ. n is public; n == 0 gives true. Compare lengths first. */
CHOPIN_AUTH_API bool chopin_auth_equal(const void *a, const void *b, size_t n);

/* Zeroes p[n] in a way the compiler keeps. NULL with n == 0 is fine. */
CHOPIN_AUTH_API void chopin_auth_wipe(void *p, size_t n);

/* base64url without padding (RFC 4648 section 5). One spelling per value: other bytes, `=`, spaces, set unused bits are FORMAT. Time depends on the length
 * alone, so secrets may pass. Returns the length written; BUFFER when cap is less (nothing written); FORMAT (what was written is zeroed again). `in` and
 * `out` must not overlap. The sizes: chopin_base64url_size(n) characters for n bytes, 0 when that does not fit an int. */
CHOPIN_AUTH_API size_t chopin_base64url_size(size_t n);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_base64url_encode(chopin_str in, char *out, size_t cap);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_base64url_decode(chopin_str in, uint8_t *out, size_t cap);

/* base32, upper case, without padding (RFC 4648 section 6): the spelling of TOTP secrets. The same rules as above; lower case is FORMAT. */
CHOPIN_AUTH_API size_t chopin_base32_size(size_t n);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_base32_encode(chopin_str in, char *out, size_t cap);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_base32_decode(chopin_str in, uint8_t *out, size_t cap);

/* ---- hashes ----
 * Inputs may be absent or empty. A context is used init, update any number of times, final; final wipes it. Nothing fails. Any thread, one at a time. */

/* SHA1 is for HOTP and TOTP alone, no public hash call takes it. */
typedef enum chopin_auth_hash { CHOPIN_AUTH_SHA256 = 1, CHOPIN_AUTH_SHA384, CHOPIN_AUTH_SHA512, CHOPIN_AUTH_SHA1 } chopin_auth_hash;

/* The size of the largest digest in bytes, for buffers that take any of them. */
#define CHOPIN_AUTH_HASH_MAX 64

typedef struct chopin_sha256_ctx {
    uint32_t state[8];
    uint64_t total;                 /* bytes so far */
    uint8_t  block[64];             /* the last total % 64 of them wait here */
} chopin_sha256_ctx;

typedef struct chopin_sha512_ctx {  /* of SHA-384 too */
    uint64_t state[8];
    uint64_t total;
    uint8_t  block[128];
} chopin_sha512_ctx;

CHOPIN_AUTH_API void chopin_sha256(chopin_str in, uint8_t out[32]);
CHOPIN_AUTH_API void chopin_sha256_init(chopin_sha256_ctx *c);
CHOPIN_AUTH_API void chopin_sha256_update(chopin_sha256_ctx *c, chopin_str in);
CHOPIN_AUTH_API void chopin_sha256_final(chopin_sha256_ctx *c, uint8_t out[32]);

CHOPIN_AUTH_API void chopin_sha384(chopin_str in, uint8_t out[48]);
CHOPIN_AUTH_API void chopin_sha384_init(chopin_sha512_ctx *c);
CHOPIN_AUTH_API void chopin_sha384_update(chopin_sha512_ctx *c, chopin_str in);
CHOPIN_AUTH_API void chopin_sha384_final(chopin_sha512_ctx *c, uint8_t out[48]);

CHOPIN_AUTH_API void chopin_sha512(chopin_str in, uint8_t out[64]);
CHOPIN_AUTH_API void chopin_sha512_init(chopin_sha512_ctx *c);
CHOPIN_AUTH_API void chopin_sha512_update(chopin_sha512_ctx *c, chopin_str in);
CHOPIN_AUTH_API void chopin_sha512_final(chopin_sha512_ctx *c, uint8_t out[64]);

/* BLAKE2b (RFC 7693) of 1 to 64 bytes, with a key of 0 to 64. init: SIZE when either is not; the one-shot form gives 64 bytes, unkeyed. */
typedef struct chopin_blake2b_ctx {
    uint64_t state[8];
    uint64_t total;
    size_t   size;                  /* of the digest */
    size_t   fill;                  /* bytes in block; a full one waits until more come */
    uint8_t  block[128];
} chopin_blake2b_ctx;

CHOPIN_AUTH_API void chopin_blake2b(chopin_str in, uint8_t out[64]);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_blake2b_init(chopin_blake2b_ctx *c, size_t size, chopin_str key);
CHOPIN_AUTH_API void chopin_blake2b_update(chopin_blake2b_ctx *c, chopin_str in);
CHOPIN_AUTH_API void chopin_blake2b_final(chopin_blake2b_ctx *c, uint8_t *out);

/* ---- HMAC (RFC 2104) with a prepared key ----
 *     chopin_hmac k;
 *     if (chopin_hmac_key(&k, CHOPIN_AUTH_SHA256, secret) < 0) ...
 *     chopin_hmac_sign(&k, message, mac);                  // mac takes the hash's size: 32, 48 or 64 bytes
 *     if (chopin_hmac_check(&k, message, received) < 0) ... */
typedef union chopin_hmac_state { uint32_t narrow[8]; uint64_t wide[8]; } chopin_hmac_state;   /* private */

typedef struct chopin_hmac {        /* both pads already absorbed; not changed by use, share it freely */
    chopin_auth_hash  hash;
    chopin_hmac_state inner, outer;
} chopin_hmac;

typedef struct chopin_auth_hash_ctx {
    chopin_auth_hash hash;
    union { chopin_sha256_ctx narrow; chopin_sha512_ctx wide; } c;
} chopin_auth_hash_ctx;

typedef struct chopin_hmac_ctx {    /* one message in pieces; `key` must outlive it */
    const chopin_hmac   *key;
    chopin_auth_hash_ctx h;
} chopin_hmac_ctx;

/* Any length of secret; a token key's minimum is the business of chopin_jwk_hmac(). ARG: an unknown hash; UNSUPPORTED: SHA1. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_hmac_key(chopin_hmac *k, chopin_auth_hash hash, chopin_str secret);
CHOPIN_AUTH_API void chopin_hmac_sign(const chopin_hmac *k, chopin_str message, uint8_t *out);

/* 0, SIZE when mac is not exactly the hash's size, else SIGNATURE. The compare takes the same time wherever it differs. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_hmac_check(const chopin_hmac *k, chopin_str message, chopin_str mac);
CHOPIN_AUTH_API void chopin_hmac_init(chopin_hmac_ctx *c, const chopin_hmac *k);
CHOPIN_AUTH_API void chopin_hmac_update(chopin_hmac_ctx *c, chopin_str in);
CHOPIN_AUTH_API void chopin_hmac_final(chopin_hmac_ctx *c, uint8_t *out);
CHOPIN_AUTH_API void chopin_hmac_done(chopin_hmac *k);

/* ---- key derivation ----
 * On failure out is zeroed (when it is not NULL), so that a missed check cannot turn into a constant key that looks random. n == 0 is SIZE.
 * An unknown hash is ARG, SHA1 UNSUPPORTED. */

/* HKDF (RFC 5869). prk takes the hash's size. expand: SIZE when n is over 255 digests or prk is shorter than one. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_hkdf_extract(chopin_auth_hash hash, chopin_str salt, chopin_str ikm, uint8_t *prk);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_hkdf_expand(chopin_auth_hash hash, chopin_str prk, chopin_str info, uint8_t *out, size_t n);

/* PBKDF2-HMAC (RFC 8018). LIMIT: rounds not in 1 .. CHOPIN_AUTH_PBKDF2_MAX. SIZE: n over 2^20. */
#define CHOPIN_AUTH_PBKDF2_MAX 5000000u
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_pbkdf2_raw(chopin_auth_hash hash, chopin_str password, chopin_str salt, uint32_t rounds, uint8_t *out, size_t n);

/* The memory-hard ones work in an arena: memory of the caller, aligned to 64 (best: kept, and 2 MiB aligned), that is wiped before they return. With arena
 * NULL they map and unmap one: MEMORY when there is none. BUFFER: arena_size is less than the _arena() function says, which gives 0 for parameters over the
 * limits; the calls then give LIMIT, before anything is allocated or written to the arena. */

/* Argon2 version 0x13 (RFC 9106). Limits: m_kib from 8 * p to 256 MiB, t and p 1 .. 16, m * t at most 1 GiB. SIZE: salt under 8 or over 1024 bytes, n not in
 * 4 .. 1024. Lanes are computed one after the other. */
typedef enum chopin_argon2_kind { CHOPIN_AUTH_ARGON2D = 0, CHOPIN_AUTH_ARGON2I = 1, CHOPIN_AUTH_ARGON2ID = 2 } chopin_argon2_kind;

typedef struct chopin_argon2_options {
    chopin_argon2_kind kind;
    uint32_t           m_kib, t, p;    /* memory in KiB, passes, lanes; no defaults here */
    chopin_str         secret;         /* pepper; may be absent */
    chopin_str         data;           /* associated data; may be absent */
} chopin_argon2_options;

CHOPIN_AUTH_API size_t chopin_argon2_arena(uint32_t m_kib, uint32_t t, uint32_t p);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_argon2_raw(const chopin_argon2_options *o, chopin_str password, chopin_str salt, uint8_t *out, size_t n, void *arena, size_t arena_size);

/* scrypt (RFC 7914) with N = 2^log_n. Limits: log_n 1 .. 24, r 1 .. 64, p 1 .. 16, 128 * N * r at most 256 MiB. SIZE: n over 2^20. */
CHOPIN_AUTH_API size_t chopin_scrypt_arena(uint32_t log_n, uint32_t r, uint32_t p);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_scrypt_raw(chopin_str password, chopin_str salt, uint32_t log_n, uint32_t r, uint32_t p, uint8_t *out, size_t n, void *arena, size_t arena_size);

/* bcrypt, as in $2b$: the password's bytes up to 72, and a NUL behind them. LIMIT: cost not in 4 .. 14. SIZE: a password over 72 bytes; FORMAT: one with a NUL
 * inside. Arena: chopin_bcrypt_arena() bytes, a little over 4 KiB. */
CHOPIN_AUTH_API size_t chopin_bcrypt_arena(void);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_bcrypt_raw(chopin_str password, const uint8_t salt[16], uint32_t cost, uint8_t out[23], void *arena, size_t arena_size);

/* ---- keys ----
 * A chopin_jwk is made by a constructor that fixes exactly one algorithm; every later call goes by what the key says, never by what a token says. Key objects
 * live in the caller's memory, are not changed by use (share them freely between threads), may be copied by assignment, and are wiped by chopin_jwk_done().
 * After a constructor failed the object is all zero, and every call refuses it with ARG.
 *
 *     chopin_jwk key;
 *     int rc = chopin_jwk_pem(&key, CHOPIN_AUTH_ES256, CHOPIN_STR("2026-11"), pem);
 *
 * Statuses of constructors: KEY (damaged, inconsistent, of another kind), WEAK_KEY (too short, factorable, of small order), UNSUPPORTED (a form or curve we do
 * not take, or left out by a CHOPIN_AUTH_NO_ switch), FORMAT (not even PEM or JSON), SIZE (over a limit of this page), ARG (alg is not of this kind).
 * Numbers are big-endian bytes. kid is optional, at most CHOPIN_AUTH_KID_MAX bytes of printable ASCII, and copied; SIZE or ARG otherwise. */
typedef enum chopin_auth_alg {
    CHOPIN_AUTH_HS256 = 1, CHOPIN_AUTH_HS384, CHOPIN_AUTH_HS512,
    CHOPIN_AUTH_RS256, CHOPIN_AUTH_RS384, CHOPIN_AUTH_RS512,
    CHOPIN_AUTH_PS256, CHOPIN_AUTH_PS384, CHOPIN_AUTH_PS512,
    CHOPIN_AUTH_ES256,
    CHOPIN_AUTH_EDDSA                   /* Ed25519; tokens may spell it EdDSA or Ed25519 */
} chopin_auth_alg;

#ifndef CHOPIN_AUTH_RSA_MAX
#define CHOPIN_AUTH_RSA_MAX 4096        /* bits of the largest modulus; all files of a program must agree */
#endif
#if CHOPIN_AUTH_RSA_MAX < 2048 || CHOPIN_AUTH_RSA_MAX > 8192 || CHOPIN_AUTH_RSA_MAX % 256
#error "chopin_auth.h: CHOPIN_AUTH_RSA_MAX must be 2048 to 8192 and divisible by 256"
#endif
#define CHOPIN_AUTH_RSA_SIGN_MAX 4096   /* bits of the largest modulus we sign with */

#define CHOPIN_AUTH_KID_MAX   128       /* bytes */
#define CHOPIN_AUTH_PEM_MAX   16384     /* bytes of a PEM file, DER container or single JWK */
#define CHOPIN_AUTH_JWKS_MAX  65536     /* bytes of a key set's text */
#define CHOPIN_AUTH_JWKS_KEYS 32        /* keys of a set */
#define CHOPIN_AUTH_JWK_TABLE 30720     /* bytes that chopin_jwk_table() wants */
#define CHOPIN_AUTH_SIGNATURE_MAX (CHOPIN_AUTH_RSA_MAX / 8)   /* bytes of the longest signature */

/* Whole numbers in words of 64 bits, least significant first. All of these are private. */
typedef struct chopin_auth__ed25519_key {
    uint64_t x[5], y[5];                /* the negated public point, affine, five limbs of 51 bits */
    uint64_t scalar[4];                 /* secret */
    uint8_t  prefix[32];                /* secret: the half of the seed's hash that makes nonces */
    uint8_t  bytes[32];                 /* the public key as RFC 8032 writes it */
} chopin_auth__ed25519_key;

typedef struct chopin_auth__p256_key {
    uint64_t x[4], y[4];                /* the public point, affine, in Montgomery form */
    uint64_t d[4];                      /* secret */
} chopin_auth__p256_key;

typedef struct chopin_auth__rsa_key {
    uint64_t n[CHOPIN_AUTH_RSA_MAX / 64], rr[CHOPIN_AUTH_RSA_MAX / 64];   /* modulus; R^2 mod n */
    uint64_t p[CHOPIN_AUTH_RSA_SIGN_MAX / 128], q[CHOPIN_AUTH_RSA_SIGN_MAX / 128];             /* secret, as all below but e and the sizes */
    uint64_t dp[CHOPIN_AUTH_RSA_SIGN_MAX / 128], dq[CHOPIN_AUTH_RSA_SIGN_MAX / 128], qi[CHOPIN_AUTH_RSA_SIGN_MAX / 128];
    uint64_t n0;                        /* -1 / n mod 2^64 */
    uint32_t e, bits, limbs, half;      /* half: limbs of p and of q */
} chopin_auth__rsa_key;

typedef struct chopin_jwk {
    chopin_auth_alg alg;                /* read it, do not write it */
    bool            secret;             /* it can sign */
    bool            low_s;              /* ES256: sign with s <= n/2 and refuse others; yours to set after the constructor (default off) */
    uint8_t         kid_len;
    char            kid[CHOPIN_AUTH_KID_MAX];
    const struct chopin_auth__jwk_kind *kind;   /* what this kind of key can do; NULL: no key */
    const void     *table;              /* of chopin_jwk_table() */
    union {
        chopin_hmac              hmac;
        chopin_auth__ed25519_key ed25519;
        chopin_auth__p256_key    p256;
#ifndef CHOPIN_AUTH_NO_RSA
        chopin_auth__rsa_key     rsa;
#endif
    } u;
} chopin_jwk;

/* HS256, 384, 512 under `secret`, which needs 32, 48 or 64 bytes at least (WEAK_KEY) and should come from chopin_auth_random(). */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwk_hmac(chopin_jwk *key, chopin_auth_alg alg, chopin_str kid, chopin_str secret);

/* The same for a secret that is text, as out of an environment variable: HKDF makes the key of it. Still 32 bytes at least, and no less guessable than it is. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwk_hmac_text(chopin_jwk *key, chopin_auth_alg alg, chopin_str kid, chopin_str text);

/* Ed25519 from its 32-byte seed, or from a public key: canonical, on the curve (KEY) and not of small order (WEAK_KEY). */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwk_ed25519(chopin_jwk *key, chopin_str kid, const uint8_t seed[32]);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwk_ed25519_public(chopin_jwk *key, chopin_str kid, const uint8_t point[32]);

/* ES256 from the private number d, 1 <= d < n, or from the two coordinates of a public point, which must lie on the curve. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwk_p256(chopin_jwk *key, chopin_str kid, const uint8_t d[32]);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwk_p256_public(chopin_jwk *key, chopin_str kid, const uint8_t x[32], const uint8_t y[32]);

/* RSA: alg is one of RS256 to PS512. Sound means: 2048 bits to CHOPIN_AUTH_RSA_MAX (4096 for private keys), n and e odd, 3 <= e < 2^32, no prime factor
 * below 1000 and no ROCA fingerprint (WEAK_KEY), and of a private key all eight numbers, consistent with one another (KEY). */
typedef struct chopin_rsa_parts {
    chopin_str n, e, d, p, q, dp, dq, qi;
} chopin_rsa_parts;
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwk_rsa(chopin_jwk *key, chopin_auth_alg alg, chopin_str kid, const chopin_rsa_parts *parts);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwk_rsa_public(chopin_jwk *key, chopin_auth_alg alg, chopin_str kid, chopin_str n, chopin_str e);

/* What `openssl genpkey`, `openssl pkey` and `ssh-keygen -m PEM` write: PUBLIC KEY (SPKI), PRIVATE KEY (PKCS#8), RSA PUBLIC KEY and RSA PRIVATE KEY (PKCS#1),
 * EC PRIVATE KEY (SEC1); the same in bare DER. One block, nothing but white space around it; LF or CRLF, final newline optional. Encrypted keys, certificates
 * and compressed points are UNSUPPORTED. A private half without its public one recomputes it; with a foreign one it is KEY. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwk_pem(chopin_jwk *key, chopin_auth_alg alg, chopin_str kid, chopin_str pem_or_der);

/* A JWK (RFC 7517) of kty oct, RSA, EC P-256 or OKP Ed25519, public or private; its kid is taken. alg is what you expect: another one in the JWK is ALG.
 * alg 0: the JWK or its curve must say it, else ALG. `use` other than sig and `key_ops` without sign or verify are KEY. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwk_json(chopin_jwk *key, chopin_auth_alg alg, chopin_str json);

/* Spends CHOPIN_AUTH_JWK_TABLE bytes at `memory` (aligned to 16, outliving the key and every copy of it) on making verification under this Ed25519 or P-256 key
 * about twice as fast; takes about a millisecond. The verdicts stay the same. UNSUPPORTED: HMAC and RSA keys. BUFFER: size is less. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwk_table(chopin_jwk *key, void *memory, size_t size);

/* SHA-256 thumbprint of the public key (RFC 7638), the usual kid of keys that have none. UNSUPPORTED for HMAC keys, whose thumbprint would be a hash of the
 * secret. chopin_base64url_encode() spells it. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwk_thumbprint(const chopin_jwk *key, uint8_t out[32]);

/* The public half as a JWK with alg, use and kid: its length, or BUFFER, or UNSUPPORTED for HMAC keys. Never a secret. Not terminated by a NUL. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwk_public_json(const chopin_jwk *key, char *out, size_t cap);

CHOPIN_AUTH_API void chopin_jwk_done(chopin_jwk *key);

/* ---- signatures on raw bytes; ARG when the key is of another kind or cannot sign ---- */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_ed25519_sign(const chopin_jwk *key, chopin_str message, uint8_t signature[64]);

/* 0; SIZE when it is not 64 bytes; SIGNATURE. Strict: S below L, R canonical and not of small order, the equation without cofactor. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_ed25519_verify(const chopin_jwk *key, chopin_str message, chopin_str signature);

/* ECDSA with SHA-256; the signature is r and s, 32 bytes each, as in tokens; DER is taken nowhere. Nonces follow RFC 6979 with fresh random bytes mixed in, so
 * two signatures of one message differ; RANDOM when there are none. (r, n - s) verifies whenever (r, s) does, unless low_s: never use one as an identity. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_p256_sign(const chopin_jwk *key, chopin_str message, uint8_t signature[64]);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_p256_verify(const chopin_jwk *key, chopin_str message, chopin_str signature);

/* PKCS#1 v1.5 or PSS, hash and all, as the key's algorithm says; PSS salt has the hash's length. sign: the modulus' length, or BUFFER, or KEY when the result did
 * not verify (a fault in the computation), with `signature` zeroed. verify: 0; SIZE when it is not exactly the modulus' length; SIGNATURE. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_rsa_sign(const chopin_jwk *key, chopin_str message, uint8_t *signature, size_t cap);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_rsa_verify(const chopin_jwk *key, chopin_str message, chopin_str signature);

/* ---- key sets: an identity provider's keys, or your own, old and new side by side ----
 *     static chopin_jwks idp;                                           // some 160 KiB: two sets, one in use and one being loaded; keep it static
 *     chopin_jwks_init(&idp, NULL);
 *     if (chopin_jwks_wants_refresh(&idp, now)) rc = chopin_jwks_load(&idp, fetched_text, now);      // in a periodic job
 *
 * Any thread may find keys while one loads: it sees the old set or the new one, never a mix. */
#ifdef __cplusplus
#define CHOPIN_AUTH__ATOMIC(type) type      /* the implementation is C; sizes are the same */
#else
#define CHOPIN_AUTH__ATOMIC(type) _Atomic(type)
#endif

typedef struct chopin_jwks_options {
    chopin_auth_alg rsa_alg;            /* of RSA keys that do not say their own  (default RS256) */
} chopin_jwks_options;

typedef struct chopin_auth__jwks_slot {
    CHOPIN_AUTH__ATOMIC(uint32_t) readers;
    uint32_t   count, skipped;
    chopin_jwk keys[CHOPIN_AUTH_JWKS_KEYS];
} chopin_auth__jwks_slot;

typedef struct chopin_jwks {
    chopin_jwks_options options;
    CHOPIN_AUTH__ATOMIC(uint32_t) active;   /* which slot is in use */
    CHOPIN_AUTH__ATOMIC(uint32_t) writing;  /* somebody loads */
    CHOPIN_AUTH__ATOMIC(uint32_t) missed;   /* an unknown kid was asked for */
    CHOPIN_AUTH__ATOMIC(uint32_t) loaded_s, asked_s;   /* Unix seconds; 0: never */
    chopin_auth__jwks_slot slots[2];
} chopin_jwks;

/* options may be NULL. ARG: rsa_alg is not an RSA algorithm. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwks_init(chopin_jwks *set, const chopin_jwks_options *options);

/* Replaces the whole set by a JWK set's text, or nothing: two usable keys of one kid, symmetric and public keys together, over 32 keys: KEY; over 64 KiB: SIZE;
 * not a key set: FORMAT; readers still use the set before the last, or another thread loads: BUSY, try again later.
 * Keys of unknown kinds, for other uses, or damaged are skipped. Returns how many keys are usable, which may be 0. now_s: Unix seconds. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwks_load(chopin_jwks *set, chopin_str json, int64_t now_s);

/* Adds a copy of one of your own keys; the same rules. Returns how many keys there are. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwks_add(chopin_jwks *set, const chopin_jwk *key);

/* The key of that kid, compared byte for byte; an absent kid finds the only key of a set of one. 0, and *key stays valid until you release it, which you must,
 * or a later load will say BUSY. KEY_ID: no such key, *key is NULL; an absent kid does not count as unknown in wants_refresh. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwks_find(chopin_jwks *set, chopin_str kid, const chopin_jwk **key);
CHOPIN_AUTH_API void chopin_jwks_release(chopin_jwks *set, const chopin_jwk *key);

/* Is it time to fetch? True when nothing was loaded yet, the set is older than ten minutes, or an unknown kid was asked for; at most once every 30 s. */
CHOPIN_AUTH_API bool chopin_jwks_wants_refresh(chopin_jwks *set, int64_t now_s);

/* Keys in use, and how many the last load skipped. */
CHOPIN_AUTH_API int chopin_jwks_count(chopin_jwks *set, int *skipped);

/* {"keys":[...]} with the public halves of all: the length, BUFFER, or UNSUPPORTED if there is an HMAC key among them. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwks_public_json(chopin_jwks *set, char *out, size_t cap);

/* Wipes; no other thread may use the set any more. */
CHOPIN_AUTH_API void chopin_jwks_done(chopin_jwks *set);

/* ---- tokens ---- */

/* As an option's text: "any will do". Writing it is a decision; leaving the option out is CONFIG. */
#define CHOPIN_AUTH_ANY CHOPIN_STR("*")

#define CHOPIN_AUTH_TOKEN_MAX    65536  /* bytes of a token, whatever options say */
#define CHOPIN_AUTH_HEADER_MAX   1024   /* bytes of its decoded header */
#define CHOPIN_AUTH_LIFETIME_S   86400  /* of a token without exp, from iat, unless max_age_s says otherwise */

/* Seconds since 1970 for whoever asks; NULL stands for time(). */
typedef int64_t (*chopin_auth_clock)(void *ctx);

/* ---- JWS (RFC 7515), compact form: any payload under a signature ----
 * sign: the token's length, BUFFER, ARG (a key that cannot sign). verify: 0, and *payload is a view into `room`, which needs 3/4 of the token; else absent.
 * Refusals: SIZE, FORMAT, ALG (not the key's), KEY_ID (both carry a kid and they differ), CRITICAL (crit, zip, enc), SIGNATURE. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jws_sign(const chopin_jwk *key, chopin_str payload, char *out, size_t cap);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jws_verify(const chopin_jwk *key, chopin_str token, char *room, size_t cap, chopin_str *payload);

/* Detached (RFC 7515 appendix F): the payload travels apart and the token is `header..signature`. `unencoded`: b64=false of RFC 7797, the payload is signed as it
 * is. Verifying takes both kinds, as the signed header says; the ordinary call above refuses both. What is signed is put together in `out` (which needs the size of
 * the ordinary token) or `room` (the token and 4/3 of the payload): BUFFER. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jws_sign_detached(const chopin_jwk *key, chopin_str payload, bool unencoded, char *out, size_t cap);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jws_verify_detached(const chopin_jwk *key, chopin_str token, chopin_str payload, char *room, size_t cap);

/* ---- JWT (RFC 7519) ---- */

typedef struct chopin_auth_revocation chopin_auth_revocation;   /* see below */

typedef struct chopin_jwt_verifier_options {
    const chopin_jwk *key;              /* one key ... */
    chopin_jwks      *keys;             /* ... or a set; exactly one of the two */
    chopin_str  iss;                    /* required, compared byte for byte; or CHOPIN_AUTH_ANY */
    chopin_str  aud;                    /* required: one of the token's audiences; or CHOPIN_AUTH_ANY */
    chopin_str  typ;                    /* header typ, any case, without application/  (default "at+jwt"); "JWT" also takes tokens without; or CHOPIN_AUTH_ANY */
    chopin_str  sub;                    /* compared when set */
    chopin_str  nonce;                  /* compared when set: ID tokens of OpenID Connect */
    const char *const *require;         /* NULL-terminated list of further claims that must be there and not null */
    bool        no_exp;                 /* exp may be missing: iat is required then, and a lifetime of max_age_s bounds the token */
    int64_t     max_age_s;              /* seconds since iat, which is then required  (default: unbounded; CHOPIN_AUTH_LIFETIME_S without exp) */
    int         leeway_s;               /* for clocks that differ, at most 300; -1 is none  (default 30) */
    size_t      max_token;              /* bytes                         (default 8192, at most CHOPIN_AUTH_TOKEN_MAX) */
    bool        refuse_header_keys;     /* jwk, jku, x5u, x5c, x5t in the header are CRITICAL instead of ignored */
    chopin_auth_revocation *revocation; /* asked last; jti becomes required */
    chopin_auth_clock clock;            /* (default time()) */
    void       *clock_ctx;
    const struct chopin_auth_roles *roles;   /* glue: what chopin_auth_need() asks; may be NULL */
} chopin_jwt_verifier_options;

/* Immutable once initialised; share it between threads. Texts and keys of the options are borrowed and must outlive it. */
typedef struct chopin_jwt_verifier {
    chopin_jwt_verifier_options o;      /* private, defaults resolved */
    const char *problem;                /* after CONFIG: which field, and what to do; else NULL */
} chopin_jwt_verifier;

/* A verified token: views into the room. All zero unless chopin_jwt_verify() returned 0. Absent claims are absent views and 0. */
typedef struct chopin_jwt {
    chopin_str iss, sub, jti, scope, kid;
    chopin_str aud;                     /* the audience that matched; with CHOPIN_AUTH_ANY the first one */
    int64_t    exp, nbf, iat;           /* Unix seconds, fractions rounded as in the checks */
    chopin_auth_alg alg;
    chopin_str claims;                  /* private: what the getters read */
} chopin_jwt;

/* 0, or CONFIG with v->problem: iss, aud or key missing, key and keys both set, leeway or max_token out of range. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwt_verifier_init(chopin_jwt_verifier *v, const chopin_jwt_verifier_options *options);

/* Checks everything about `token`, then fills *out. `room` must outlive *out; 3/4 of the token's length suffices (else BUFFER). No heap, no state.
 * Refusals: SIZE FORMAT ALG KEY_ID CRITICAL SIGNATURE TYPE CLAIM ISSUER AUDIENCE EXPIRED EARLY REVOKED STORE. Any thread. See examples/jwt_tool.c. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwt_verify(const chopin_jwt_verifier *v, chopin_str token, char *room, size_t cap, chopin_jwt *out);

/* A claim by name. 0; CLAIM: there, but of another type; MISSING: not there. _i64: a whole number up to 2^53; _f64: the nearest double; _raw: an object, array,
 * number or word as JSON text, as it was written. On failure *out is zero. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwt_str (const chopin_jwt *t, const char *name, chopin_str *out);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwt_i64 (const chopin_jwt *t, const char *name, int64_t *out);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwt_f64 (const chopin_jwt *t, const char *name, double *out);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwt_bool(const chopin_jwt *t, const char *name, bool *out);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwt_raw (const chopin_jwt *t, const char *name, chopin_str *out);
CHOPIN_AUTH_API bool chopin_jwt_has(const chopin_jwt *t, const char *name);

typedef struct chopin_jwt_issuer_options {
    const chopin_jwk *key;              /* can sign */
    chopin_str  iss;                    /* required */
    chopin_str  aud;                    /* required; or CHOPIN_AUTH_ANY: claims bring it, or there is none */
    chopin_str  typ;                    /* (default "at+jwt") */
    int64_t     ttl_s;                  /* lifetime                      (default 900) */
    bool        ed25519_name;           /* header says Ed25519 (RFC 9864) instead of EdDSA */
    chopin_auth_clock clock;            /* (default time()) */
    void       *clock_ctx;
} chopin_jwt_issuer_options;

typedef struct chopin_jwt_issuer {
    chopin_jwt_issuer_options o;        /* private */
    const char *problem;                /* as in the verifier */
    uint16_t    head_len;
    char        head[512];              /* the encoded header and its dot */
} chopin_jwt_issuer;

typedef struct chopin_jwt_claims {
    chopin_str  sub;
    chopin_str  aud;                    /* (default: the issuer's) */
    chopin_str  jti;                    /* (default: 128 random bits) */
    chopin_str  scope;                  /* words with blanks between them */
    chopin_str  nonce;
    int64_t     ttl_s;                  /* (default: the issuer's) */
    int64_t     nbf;                    /* Unix seconds; 0: none */
    chopin_str  extra;                  /* further claims, a JSON object: checked, may not repeat ours, written as it is */
} chopin_jwt_claims;

/* 0, or CONFIG with i->problem. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwt_issuer_init(chopin_jwt_issuer *i, const chopin_jwt_issuer_options *options);

/* The token's length; BUFFER (nothing written); CLAIM (extra is not an object, repeats a claim of ours, or a text is not UTF-8); RANDOM; SIZE. Any thread. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_jwt_issue(const chopin_jwt_issuer *i, const chopin_jwt_claims *claims, char *out, size_t cap);

/* ---- revocation: single tokens by (iss, jti), or all tokens of (iss, sub) issued up to a time ----
 * The built-in table is fixed memory of yours with lock-free readers. Another store is three hooks, keyed by 32 bytes (a SHA-256 of issuer and id). */
typedef struct chopin_auth_revocation_hooks {
    void    *store;                     /* first argument of each */
    int    (*put)    (void *store, const uint8_t id[32], int64_t until, int64_t before); /* keep until then; `before` is 0 for single tokens. 0, LIMIT or STORE */
    int    (*revoked)(void *store, const uint8_t id[32], int64_t now);                    /* a single token: 1, 0, or STORE */
    int64_t(*before) (void *store, const uint8_t id[32], int64_t now);                    /* a subject: the latest `before` put, 0, or STORE */
} chopin_auth_revocation_hooks;

typedef struct chopin_auth__revocation_slot {   /* private; all words atomic, so that readers need no lock */
    CHOPIN_AUTH__ATOMIC(uint64_t) version;      /* odd while it is written */
    CHOPIN_AUTH__ATOMIC(uint64_t) id[4], until, before;
} chopin_auth__revocation_slot;

struct chopin_auth_revocation {         /* private */
    chopin_auth_revocation_hooks hooks;
    chopin_auth_clock clock;
    void    *clock_ctx;
    chopin_auth__revocation_slot *slots;
    size_t   sets;
    uint64_t seed[5];
    CHOPIN_AUTH__ATOMIC(uint32_t) writing;
};

typedef struct chopin_auth_revocation_options {
    void    *memory;                    /* the table, aligned to 8 ... */
    size_t   size;                      /* ... and its bytes: CHOPIN_AUTH_REVOCATION_ENTRY each, at most 65,536 entries are used */
    chopin_auth_revocation_hooks hooks; /* or another store */
    chopin_auth_clock clock;            /* (default time()) */
    void    *clock_ctx;
} chopin_auth_revocation_options;
#define CHOPIN_AUTH_REVOCATION_ENTRY sizeof(chopin_auth__revocation_slot)

/* 0; CONFIG: neither memory for 16 entries nor all three hooks, or both; RANDOM. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_revocation_init(chopin_auth_revocation *r, const chopin_auth_revocation_options *options);

/* From now on the token (iss, jti) is refused, until exp and the largest leeway have passed. LIMIT: the table is full and nothing was dropped; STORE. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_revoke(chopin_auth_revocation *r, chopin_str iss, chopin_str jti, int64_t exp);

/* Refuses every token of (iss, sub) with iat up to and including `at` (0: now) or without iat. longest_s: the longest lifetime of such a token (0: 24 h). */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_revoke_subject(chopin_auth_revocation *r, chopin_str iss, chopin_str sub, int64_t at, int64_t longest_s);

/* 0, REVOKED, CLAIM (no jti to ask for), or STORE: deny. chopin_jwt_verify() asks this itself. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_revoked(chopin_auth_revocation *r, const chopin_jwt *token, int64_t now);

/* ---- the store behind refresh tokens, sessions, API keys, tickets and recovery codes ----
 * One table of records, whose key is a hash: who steals it can use nothing. Hooks of your own (PostgreSQL, say), or chopin_auth_store_init() over your memory. */
typedef enum chopin_auth_kind {
    CHOPIN_AUTH_REFRESH = 1, CHOPIN_AUTH_SESSION, CHOPIN_AUTH_APIKEY, CHOPIN_AUTH_TICKET, CHOPIN_AUTH_RECOVERY
} chopin_auth_kind;

#define CHOPIN_AUTH_USER_MAX 128        /* bytes of a user's key */
#define CHOPIN_AUTH_DATA_MAX 256        /* bytes that an API key's scopes or a ticket's text may take */
#define CHOPIN_AUTH_PER_USER 100        /* live records a user may have of one kind: a further one replaces his oldest */

typedef struct chopin_auth_record {
    uint8_t  id[32];                    /* primary key: hash of the secret (of the public half for API keys) and its kind */
    uint8_t  family[32];                /* what one login led to: its session and every refresh token after it */
    uint8_t  owner[32];                 /* hash of user */
    uint8_t  check[32];                 /* API keys: hash of the secret half */
    int64_t  created, used, expires;    /* Unix seconds */
    uint8_t  kind;                      /* chopin_auth_kind */
    uint8_t  spent;                     /* rotated or redeemed; kept until it expires, so that a second use is seen */
    uint16_t user_len, data_len;
    char     user[CHOPIN_AUTH_USER_MAX];
    char     data[CHOPIN_AUTH_DATA_MAX];
} chopin_auth_record;

typedef struct chopin_auth_store {
    void *ctx;
    int (*put) (void *ctx, const chopin_auth_record *r, int64_t now);                        /* inserts, or replaces the record of that id. 0, LIMIT or STORE */
    int (*get) (void *ctx, const uint8_t id[32], int64_t now, chopin_auth_record *out);      /* 1, 0: none, or STORE */
    int (*swap)(void *ctx, const uint8_t id[32], int64_t now, const chopin_auth_record *by); /* atomically: not spent becomes spent with used = now, and `by`, unless NULL, is put
                                                                                                (under the same id it replaces): 1. Spent already or not there: 0. LIMIT or STORE */
    int (*drop)(void *ctx, const uint8_t group[32], uint8_t kind);                           /* removes all whose id, family or owner this is; kind 0: of every kind. 0 or STORE */
} chopin_auth_store;

typedef struct chopin_auth_memory {     /* private: the built-in store */
    chopin_auth_record *records;
    size_t   sets;
    uint64_t seed[5];
    CHOPIN_AUTH__ATOMIC(uint32_t) lock;
    uint32_t owners[1024];              /* records by a hash of their owner, so that only who holds many costs a look at all */
} chopin_auth_memory;

/* Makes a store of `memory` (aligned to 8, at least 16 records). Full: LIMIT, nobody else's record is dropped. Gone with the process. 0, CONFIG, RANDOM. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_store_init(chopin_auth_store *s, chopin_auth_memory *m, void *memory, size_t size);

/* What happened, for a device log or an alarm. Called on the thread it happened on; must not block. */
typedef enum chopin_auth_event {
    CHOPIN_AUTH_EV_LOGIN = 1, CHOPIN_AUTH_EV_FAILURE, CHOPIN_AUTH_EV_LIMITED, CHOPIN_AUTH_EV_LOGOUT, CHOPIN_AUTH_EV_REUSE, CHOPIN_AUTH_EV_REHASH
} chopin_auth_event;
typedef void (*chopin_auth_event_hook)(void *ctx, chopin_auth_event event, chopin_str user, chopin_str address);

#define CHOPIN_AUTH_SECRET_TEXT 44      /* 256 random bits as base64url, and a NUL: refresh tokens, session ids, tickets */

/* ---- refresh tokens: opaque, rotated at each use; one that comes back kills its family ---- */
typedef struct chopin_auth_refresh {    /* options; fill it, then use it. Shared freely */
    const chopin_auth_store *store;
    int64_t ttl_s;                      /* of each token                 (default 30 days) */
    int64_t grace_s;                    /* a token used this short a time ago is refused without alarm: two tabs at once  (default 0) */
    chopin_auth_event_hook on_event;    /* EV_REUSE */
    void   *event_ctx;
    chopin_auth_clock clock;            /* (default time()) */
    void   *clock_ctx;
} chopin_auth_refresh;

/* A first token for `user`; its family is that of the session id `with` (absent: one of its own). 0; ARG, CONFIG, RANDOM, LIMIT, STORE. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_refresh_issue(const chopin_auth_refresh *r, chopin_str user, chopin_str with, char out[CHOPIN_AUTH_SECRET_TEXT]);

/* Takes `token` and gives its successor and its user (*who: .user, .user_len). FORMAT, MISMATCH (unknown), EXPIRED, REPLAY (used before: the family is dead now,
 * unless within grace_s), RANDOM, STORE. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_refresh_rotate(const chopin_auth_refresh *r, chopin_str token, char out[CHOPIN_AUTH_SECRET_TEXT], chopin_auth_record *who);

/* Ends the family of `token`: logout. 0 also for tokens that are unknown. FORMAT, STORE. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_refresh_end(const chopin_auth_refresh *r, chopin_str token);

/* ---- passwords ---- */
typedef enum chopin_password_kind {
    CHOPIN_AUTH_PW_ARGON2ID = 1, CHOPIN_AUTH_PW_ARGON2I, CHOPIN_AUTH_PW_SCRYPT, CHOPIN_AUTH_PW_PBKDF2_SHA256, CHOPIN_AUTH_PW_PBKDF2_SHA512, CHOPIN_AUTH_PW_BCRYPT
} chopin_password_kind;

typedef struct chopin_password_params { /* zero is CHOPIN_AUTH_PW_DEFAULT */
    chopin_password_kind kind;
    uint32_t m_kib, t, p;               /* Argon2; p of scrypt too */
    uint32_t log_n, r;                  /* scrypt */
    uint32_t rounds;                    /* PBKDF2; bcrypt: the cost */
} chopin_password_params;
#define CHOPIN_AUTH_PW_DEFAULT { CHOPIN_AUTH_PW_ARGON2ID, 19456, 2, 1, 0, 0, 0 }    /* OWASP's first choice */
#define CHOPIN_AUTH_PW_STRONG  { CHOPIN_AUTH_PW_ARGON2ID, 65536, 3, 4, 0, 0, 0 }    /* RFC 9106's second choice */

#define CHOPIN_AUTH_PW_TEXT     256     /* room for any hash string we write, with a NUL */
#define CHOPIN_AUTH_PW_STORED   512     /* longest stored string we read */
#define CHOPIN_AUTH_PW_BYTES    1024    /* longest password by default */
#define CHOPIN_AUTH_PW_BYTES_CAP 4096   /* ... and whatever options say */
#define CHOPIN_AUTH_PW_ARENAS   64

typedef struct chopin_auth_pepper {     /* a secret that is not in the database; its id is, in the hash string */
    chopin_str id;                      /* 1 to 8 bytes */
    chopin_str secret;                  /* 16 to 64 bytes */
} chopin_auth_pepper;

typedef struct chopin_password_options {
    chopin_password_params params;      /* for new hashes               (default CHOPIN_AUTH_PW_DEFAULT) */
    int      arenas;                    /* hashes at the same time, at most 64  (default 2) */
    uint32_t arena_kib;                 /* largest stored hash we can verify  (default: what params need, at least 64 MiB + a bit; what is not used is not touched) */
    void    *memory;                    /* memory for all arenas, aligned to 64 (size: arenas * bytes of one)  (default: mapped) */
    size_t   memory_size;
    const chopin_auth_pepper *peppers;  /* Argon2 only; the first one is used for new hashes, all are for verifying */
    size_t   peppers_count;
    size_t   min_bytes, max_bytes;      /* of a new password            (default 12, 1024) */
    bool     bcrypt_truncate;           /* imported bcrypt hashes of passwords over 72 bytes: compare the first 72 */
    bool     lock_memory;               /* mlock the arenas */
    int    (*breached)(void *ctx, chopin_str password);   /* 1: known to thieves, then hashing is FORBIDDEN; 0; negative status */
    void    *breached_ctx;
} chopin_password_options;

typedef struct chopin_password_pool {   /* private */
    chopin_password_options o;
    size_t   arena_size;
    uint8_t *memory;
    size_t   mapped;
    const char *problem;                /* after CONFIG */
    CHOPIN_AUTH__ATOMIC(uint32_t) busy[CHOPIN_AUTH_PW_ARENAS];
    CHOPIN_AUTH__ATOMIC(uint64_t) hashes;   /* computed so far: what the tests count */
} chopin_password_pool;

/* Maps and touches the arenas: nothing grows afterwards. 0; CONFIG with pool->problem; MEMORY. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_password_pool_init(chopin_password_pool *pool, const chopin_password_options *options);
CHOPIN_AUTH_API void chopin_password_pool_done(chopin_password_pool *pool);

/* All three take 10 to 300 ms: not on a thread that serves others. BUSY: all arenas are taken; answer 503.
 *
 * hash: the string to store, its length returned, terminated by a NUL too. SIZE: under min_bytes or over max_bytes (bcrypt: over 72); FORMAT: bcrypt with a NUL;
 * FORBIDDEN: breached. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_password_hash(chopin_password_pool *pool, chopin_str password, char *out, size_t cap);

/* 0, or MISMATCH, or HASH or LIMIT: the stored string is damaged or over the limits: deny, log it, tell the client MISMATCH. An absent or empty `stored` is an
 * unknown user: MISMATCH. Every refusal costs one hash with today's parameters. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_password_verify(chopin_password_pool *pool, chopin_str stored, chopin_str password);

/* The same, and when the stored parameters, algorithm or pepper are weaker or older than today's: a positive number, the length of the new string to store in
 * new_hash. 0: right, nothing to store. A new hash that fails does not fail the login. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_password_login(chopin_password_pool *pool, chopin_str stored, chopin_str password, char new_hash[CHOPIN_AUTH_PW_TEXT]);

/* ---- one-time passwords: HOTP (RFC 4226), TOTP (RFC 6238) ---- */
#define CHOPIN_AUTH_TOTP_SECRET 33      /* 20 random bytes in base32, and a NUL */

typedef struct chopin_totp_options {    /* NULL or zero: what every authenticator app takes */
    chopin_auth_hash hash;              /* (default CHOPIN_AUTH_SHA1) */
    int digits;                         /* 6 to 8                        (default 6) */
    int period_s;                       /* (default 30) */
    int window;                         /* steps either side, at most 2; -1 is none  (default 1) */
} chopin_totp_options;

/* A fresh secret, as text. 0 or RANDOM. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_totp_secret(char out[CHOPIN_AUTH_TOTP_SECRET]);

/* The otpauth:// text of the QR code: its length, also terminated; ARG (issuer or account empty, or with a colon), BUFFER, FORMAT, WEAK_KEY. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_totp_uri(chopin_str issuer, chopin_str account, const char *secret, char *out, size_t cap);

/* The code of a moment, with a NUL. secret: base32 of 16 bytes or more (WEAK_KEY, FORMAT). */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_totp_at(const chopin_totp_options *o, chopin_str secret, int64_t now, char out[9]);

/* *step is the last step accepted for this user (0: none yet) and becomes the one accepted now: store it, by compare-and-set, before letting him in.
 * 0, MISMATCH, REPLAY (right, but not above *step), FORMAT, WEAK_KEY. All candidates are computed and compared, whichever fits. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_totp_verify(const chopin_totp_options *o, chopin_str secret, chopin_str code, int64_t now, int64_t *step);

/* The same by counter; secret is bytes here. verify looks at `ahead` (at most 50) further counters; *counter becomes the next one to expect. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_hotp_at(chopin_auth_hash hash, chopin_str secret, uint64_t counter, int digits, char out[9]);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_hotp_verify(chopin_auth_hash hash, chopin_str secret, chopin_str code, int ahead, uint64_t *counter);

/* Recovery codes: ten of 80 bits, shown once, each good once. A new set replaces the old one. new: 0, RANDOM, LIMIT, STORE. use: 0, FORMAT, MISMATCH, REPLAY, STORE;
 * letter case and dashes do not matter. */
#define CHOPIN_AUTH_RECOVERY_CODES 10
#define CHOPIN_AUTH_RECOVERY_TEXT  20   /* XXXX-XXXX-XXXX-XXXX and a NUL */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_recovery_new(const chopin_auth_store *s, chopin_str user, int64_t now, char out[CHOPIN_AUTH_RECOVERY_CODES][CHOPIN_AUTH_RECOVERY_TEXT]);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_recovery_use(const chopin_auth_store *s, chopin_str user, chopin_str code, int64_t now);

/* ---- roles and permissions ----
 *     #define SHOP(PERMISSION, ROLE)                                    \
 *         PERMISSION(ORDERS_READ,  "orders:read")                       \
 *         PERMISSION(ORDERS_WRITE, "orders:write")                      \
 *         ROLE(CLERK, "clerk", ORDERS_READ)                             \
 *         ROLE(ADMIN, "admin", CLERK, ORDERS_WRITE)
 *     CHOPIN_AUTH_ROLES(shop, SHOP)
 * makes an enum of the names and a table `shop`. Roles list permissions and other roles in any order; init closes them. In C files only. */
#define CHOPIN_AUTH_PERMISSIONS_MAX 128
typedef struct chopin_auth_mask { uint64_t bits[2]; } chopin_auth_mask;    /* a set of permissions */
typedef struct chopin_auth_role_row { const char *text; const short *has; } chopin_auth_role_row;   /* has: ends with -1; NULL for a permission */

typedef struct chopin_auth_roles {
    const chopin_auth_role_row *permissions, *roles;
    int  permissions_count, roles_count;
    chopin_auth_mask *closed;           /* of each role, after init */
    bool ready;
} chopin_auth_roles;

#define CHOPIN_AUTH__NO_PERMISSION(name, text)
#define CHOPIN_AUTH__NO_ROLE(name, text, ...)
#define CHOPIN_AUTH__ROLE_ID(name, text, ...)     name,
#define CHOPIN_AUTH__PERMISSION_ID(name, text)    name,
#define CHOPIN_AUTH__PERMISSION_ROW(name, text)   { text, NULL },
#define CHOPIN_AUTH__ROLE_ROW(name, text, ...)    { text, (const short[]){ __VA_ARGS__, -1 } },
#define CHOPIN_AUTH__ROLES_FIRST 1000   /* numbers of roles begin here */
#define CHOPIN_AUTH_ROLES(table, LIST)                                                                                                  \
    enum { LIST(CHOPIN_AUTH__PERMISSION_ID, CHOPIN_AUTH__NO_ROLE) table##_permissions_end_ };                                           \
    enum { table##_roles_begin_ = CHOPIN_AUTH__ROLES_FIRST - 1, LIST(CHOPIN_AUTH__NO_PERMISSION, CHOPIN_AUTH__ROLE_ID) table##_roles_end_ }; \
    static const chopin_auth_role_row table##_permissions_[] = { LIST(CHOPIN_AUTH__PERMISSION_ROW, CHOPIN_AUTH__NO_ROLE) { NULL, NULL } }; \
    static const chopin_auth_role_row table##_roles_[] = { LIST(CHOPIN_AUTH__NO_PERMISSION, CHOPIN_AUTH__ROLE_ROW) { NULL, NULL } };     \
    static chopin_auth_mask table##_closed_[table##_roles_end_ - CHOPIN_AUTH__ROLES_FIRST + 1];                                         \
    static chopin_auth_roles table = { table##_permissions_, table##_roles_, table##_permissions_end_, table##_roles_end_ - CHOPIN_AUTH__ROLES_FIRST, table##_closed_, false };

/* Closes the table, once, before use. CONFIG: a cycle, over 128 permissions, a text that is empty, repeated or holds a blank or '*'. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_roles_init(chopin_auth_roles *roles);

/* Add what a role's or a permission's text stands for; "orders:*" is every permission that begins "orders:". False: unknown, nothing was added. */
CHOPIN_AUTH_API bool chopin_auth_roles_role(const chopin_auth_roles *roles, chopin_str text, chopin_auth_mask *mask);
CHOPIN_AUTH_API bool chopin_auth_roles_permission(const chopin_auth_roles *roles, chopin_str text, chopin_auth_mask *mask);

/* What a verified token grants: `roles` are roles, `scope`, `scp` and `permissions` are permissions, each a string of words or a list of strings. Unknown words grant nothing. */
CHOPIN_AUTH_API chopin_auth_mask chopin_auth_roles_grants(const chopin_auth_roles *roles, const chopin_jwt *token);

/* Is a permission of the enum in the set? */
CHOPIN_AUTH_API bool chopin_auth_can(const chopin_auth_mask *mask, int permission);

/* ---- signed and sealed cookies ---- */
#define CHOPIN_AUTH_COOKIE_KEYS  8
#define CHOPIN_AUTH_COOKIE_VALUE 3072   /* longest value, in bytes */

typedef struct chopin_auth_cookie_key { uint8_t id; chopin_str secret; } chopin_auth_cookie_key;   /* 32 bytes at least; the secret is not kept, a key made of it is */

typedef struct chopin_auth_cookie_ring {/* private */
    int     count;
    uint8_t id[CHOPIN_AUTH_COOKIE_KEYS];
    uint8_t key[CHOPIN_AUTH_COOKIE_KEYS][32];
} chopin_auth_cookie_ring;

typedef struct chopin_auth_cookie {     /* what a value is bound to */
    chopin_str name, purpose;           /* at most 64 bytes each; purpose may be absent */
    int64_t    expires;                 /* Unix seconds; when reading: the present time */
} chopin_auth_cookie;

/* keys[0] writes, all read; ids must differ. 0, CONFIG (none, over 8, an id twice), WEAK_KEY (under 32 bytes). */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_cookie_ring_init(chopin_auth_cookie_ring *ring, const chopin_auth_cookie_key *keys, int count);
CHOPIN_AUTH_API void chopin_auth_cookie_ring_done(chopin_auth_cookie_ring *ring);

/* sign: the value can be read by everyone, forged by nobody. seal: not read either (XChaCha20-Poly1305). Cookie-safe text of that length, with a NUL behind it.
 * open, unseal: the value's length, in `out`. ARG, SIZE, BUFFER, RANDOM; reading: FORMAT, KEY_ID (key not in the ring), SIGNATURE, EXPIRED. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_cookie_sign  (const chopin_auth_cookie_ring *ring, const chopin_auth_cookie *c, chopin_str value, char *out, size_t cap);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_cookie_open  (const chopin_auth_cookie_ring *ring, const chopin_auth_cookie *c, chopin_str text, char *out, size_t cap);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_cookie_seal  (const chopin_auth_cookie_ring *ring, const chopin_auth_cookie *c, chopin_str value, char *out, size_t cap);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_cookie_unseal(const chopin_auth_cookie_ring *ring, const chopin_auth_cookie *c, chopin_str text, char *out, size_t cap);

/* ---- sessions, CSRF tokens, API keys, tickets ---- */
typedef struct chopin_auth_sessions {   /* options; fill it, then use it. Shared freely */
    const chopin_auth_store *store;
    const chopin_auth_cookie_ring *ring;/* for CSRF tokens */
    int64_t     idle_s;                 /* (default 1800) */
    int64_t     absolute_s;             /* (default 43200) */
    const char *cookie;                 /* (default "__Host-session") */
    chopin_str  origins;                /* "https://shop.example, ...": our own, for CSRF when the browser sends no Sec-Fetch-Site */
    bool        always_token;           /* unsafe requests need the CSRF token even when the browser vouches for the origin */
    const chopin_auth_roles *roles;     /* glue: what chopin_auth_need() asks */
    chopin_auth_mask (*grants)(void *ctx, chopin_str user);   /* glue: the rights of a signed-in user  (default: none) */
    void       *grants_ctx;
    chopin_auth_event_hook on_event;
    void       *event_ctx;
    chopin_auth_clock clock;            /* (default time()) */
    void       *clock_ctx;
} chopin_auth_sessions;

/* new: at login. check: 0 and the record; MISMATCH (unknown or ended), EXPIRED (idle or absolute), FORMAT, STORE. renew: the same session under a new id, at every
 * change of rights; the old id is dead at once. end: this session and its refresh tokens. end_all: every session and refresh token of a user. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_session_new(const chopin_auth_sessions *s, chopin_str user, char out[CHOPIN_AUTH_SECRET_TEXT]);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_session_check(const chopin_auth_sessions *s, chopin_str id, chopin_auth_record *out);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_session_renew(const chopin_auth_sessions *s, chopin_str id, char out[CHOPIN_AUTH_SECRET_TEXT]);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_session_end(const chopin_auth_sessions *s, chopin_str id);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_session_end_all(const chopin_auth_sessions *s, chopin_str user);

/* A token for forms, bound to a session id; a new one each time (so that compression betrays nothing). token: 0, ARG, RANDOM. check: 0 or CSRF. */
#define CHOPIN_AUTH_CSRF_TEXT 67        /* with a NUL */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_csrf_token(const chopin_auth_cookie_ring *ring, chopin_str session, char out[CHOPIN_AUTH_CSRF_TEXT]);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_csrf_check(const chopin_auth_cookie_ring *ring, chopin_str session, chopin_str token);

/* What an unsafe request says of where it came from. 0: from us; CSRF: from elsewhere; MISSING: it does not say, a token must. Absent views for absent headers. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_csrf_origin(chopin_str sec_fetch_site, chopin_str origin, chopin_str our_origins);

/* prefix_id_secret_checksum. new: shown once, of that length; ttl_s 0: for good (until dropped by its id, which is record.id). check: SIZE, FORMAT (checksum: no look at the store),
 * MISMATCH, EXPIRED, STORE; 0 and the record, whose data are the scopes. prefix: 1 to 16 letters, digits. */
#define CHOPIN_AUTH_APIKEY_TEXT 100
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_apikey_new(const chopin_auth_store *s, chopin_str prefix, chopin_str user, chopin_str scopes, int64_t ttl_s, int64_t now, char out[CHOPIN_AUTH_APIKEY_TEXT]);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_apikey_check(const chopin_auth_store *s, chopin_str key, int64_t now, chopin_auth_record *out);

/* Works once, for one purpose ("reset", "confirm", "oauth state"), until it expires. data: what redeeming gives back, may be absent. ttl_s 0: an hour.
 * redeem: FORMAT, MISMATCH (unknown, or another purpose), EXPIRED, REPLAY, STORE. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_ticket_new(const chopin_auth_store *s, chopin_str purpose, chopin_str user, chopin_str data, int64_t ttl_s, int64_t now, char out[CHOPIN_AUTH_SECRET_TEXT]);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_ticket_redeem(const chopin_auth_store *s, chopin_str purpose, chopin_str ticket, int64_t now, chopin_auth_record *out);

/* ---- login guard: failures counted per address, per (account, address) and per account, in bounded memory ---- */
typedef struct chopin_auth_guard_options {
    void   *memory;                     /* the table, aligned to 8 ... */
    size_t  size;                       /* ... CHOPIN_AUTH_GUARD_ENTRY bytes an entry, at most 65,536 are used, at least 64 */
    int     failures;                   /* of an address or a pair, then it is closed  (default 5) */
    int     account_failures;           /* of an account from anywhere, then only known addresses may try  (default 50) */
    int64_t within_s;                   /* counted over this time        (default 300) */
    int64_t closed_s;                   /* (default 900) */
    int64_t known_s;                    /* an address that logged in stays known  (default 90 days) */
} chopin_auth_guard_options;

typedef struct chopin_auth__guard_entry {   /* private */
    uint64_t key[2];
    int64_t  since, until;              /* first failure of this window; when the entry is of no use any more */
    int64_t  closed;                    /* closed until then */
    uint32_t count, kind;
} chopin_auth__guard_entry;
#define CHOPIN_AUTH_GUARD_ENTRY sizeof(chopin_auth__guard_entry)

typedef struct chopin_auth_guard {      /* private */
    chopin_auth_guard_options o;
    size_t   sets;
    uint8_t  seed[32];
    CHOPIN_AUTH__ATOMIC(uint32_t) lock;
} chopin_auth_guard;

/* 0, CONFIG, RANDOM. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_guard_init(chopin_auth_guard *g, const chopin_auth_guard_options *options);

/* May this attempt go on? 0 or LIMITED. address: the client's, as text; IPv6 counts by its /64. Any thread. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_guard_ask(chopin_auth_guard *g, chopin_str account, chopin_str address, int64_t now);

/* Call exactly one after each attempt: a wrong code is a failure like a wrong password, an unknown account like a known one. */
CHOPIN_AUTH_API void chopin_auth_guard_failed(chopin_auth_guard *g, chopin_str account, chopin_str address, int64_t now);
CHOPIN_AUTH_API void chopin_auth_guard_passed(chopin_auth_guard *g, chopin_str account, chopin_str address, int64_t now);

/* ---- OAuth: PKCE (RFC 7636, S256 only), the authorization URL; the token exchange is your HTTP client's. state and nonce: chopin_auth_ticket_new() ---- */
#define CHOPIN_AUTH_PKCE_TEXT 44        /* verifier or challenge, with a NUL */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_pkce_new(char verifier[CHOPIN_AUTH_PKCE_TEXT]);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_pkce_challenge(chopin_str verifier, char out[CHOPIN_AUTH_PKCE_TEXT]);   /* FORMAT: not 43 to 128 unreserved characters */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_pkce_check(chopin_str verifier, chopin_str challenge);                  /* 0, FORMAT, MISMATCH */

typedef struct chopin_auth_oauth {
    chopin_str endpoint;                /* https://id.example/authorize; may have a query */
    chopin_str client_id, redirect_uri, scope, state, nonce, challenge;   /* nonce may be absent, all others are required (ARG) */
} chopin_auth_oauth;
/* The URL to send the browser to: its length, with a NUL behind it; ARG, BUFFER. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_oauth_url(const chopin_auth_oauth *o, char *out, size_t cap);
#ifdef CHOPIN_H
/* ---- glue to chopin.h, when that was included first ----
 * Middleware is yours, three lines each, because it names your objects:
 *
 *     static int guarded(chopin_ctx *c)   { return chopin_auth_bearer(c, &api); }      // chopin_use(app, "/api", guarded)
 *     static int signed_in(chopin_ctx *c) { return chopin_auth_session(c, &sessions); }       // chopin_use(app, "/account", signed_in): also checks CSRF
 *
 * Each either answers (401, 403, 400, 503 as problem+json, with WWW-Authenticate where RFC 6750 wants it) or goes on with chopin_next(). A credential is verified once
 * per request, whoever asks how often. They keep their state where chopin_set_user() puts things: what you had there is chopin_auth_me(c)->user, and what you put there
 * instead of it later (a pointer to a struct of yours, please) makes the request anonymous again. Exactly one credential may come: two are 400; one in the query string is never read. See examples/login_jwt.c. */

/* Who is asking, once a middleware below let him through. */
typedef struct chopin_auth_who {
    chopin_str sub;                     /* the token's subject, the session's or API key's user */
    chopin_auth_mask can;               /* rights, when there are roles */
    const chopin_auth_roles *roles;
    const chopin_jwt *jwt;              /* of a bearer token, else NULL */
    const chopin_auth_record *record;   /* of a session or an API key, else NULL */
    chopin_str session;                 /* the session id as the cookie has it, else absent */
    chopin_str scope;                   /* words of the token's scope or of the API key */
    void *user;                         /* what chopin_user() gave before: its place is taken by this room */
} chopin_auth_who;

/* Authorization: Bearer (in any case). */
CHOPIN_AUTH_API int chopin_auth_bearer(chopin_ctx *c, const chopin_jwt_verifier *v);

/* The session cookie; unsafe methods must pass chopin_auth_csrf(). */
CHOPIN_AUTH_API int chopin_auth_session(chopin_ctx *c, const chopin_auth_sessions *s);

/* X-API-Key; its scopes are permissions of `roles`, which may be NULL. */
CHOPIN_AUTH_API int chopin_auth_api_key(chopin_ctx *c, const chopin_auth_store *s, const chopin_auth_roles *roles);

/* For forms before login: unsafe methods must come from our own origins, or carry the token X-CSRF-Token (or the form field `csrf`) of this session cookie. */
CHOPIN_AUTH_API int chopin_auth_csrf(chopin_ctx *c, const chopin_auth_sessions *s);

/* In handlers. 0: go on. Otherwise 401 or 403 has been answered: return CHOPIN_OK. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_need(chopin_ctx *c, int permission);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_need_role(chopin_ctx *c, const char *role);      /* everything that role may */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_need_scope(chopin_ctx *c, const char *scope);    /* this word in scope */

/* Who is asking; NULL: nobody that a middleware has let through. Lives as long as the request. */
CHOPIN_AUTH_API const chopin_auth_who *chopin_auth_me(chopin_ctx *c);

/* Answers with a status of this header: HTTP status, WWW-Authenticate, problem+json; details only where they help no attacker. Returns 0. */
CHOPIN_AUTH_API int chopin_auth_refuse(chopin_ctx *c, int status);

typedef struct chopin_auth_door {       /* what a login goes through; fill it, then use it */
    chopin_password_pool *pool;
    chopin_auth_guard    *guard;
    const chopin_auth_store *recovery;  /* recovery codes pass instead of a TOTP code  (default: they do not) */
    const chopin_totp_options *totp;    /* (default NULL: the usual) */
    chopin_auth_event_hook on_event;
    void *event_ctx;
    chopin_auth_clock clock;            /* (default time()) */
    void *clock_ctx;
} chopin_auth_door;

typedef struct chopin_auth_attempt {
    chopin_str account;                 /* as typed: e-mail or name */
    chopin_str stored;                  /* hash string; absent for an unknown account: takes as long */
    chopin_str password;
    bool       verified;                /* address confirmed; else UNVERIFIED, after the password was right */
    chopin_str totp;                    /* base32 secret; absent: no second factor */
    chopin_str code;                    /* what was typed: TOTP or recovery code */
    int64_t    step;                    /* in: last accepted step; out: the one accepted now. Store it by compare-and-set */
    chopin_str new_hash;                /* out: store it when .len is not 0; lives as long as the request */
} chopin_auth_attempt;

/* Guard, password (off the loop; a full queue or busy arenas: 503), confirmation, second factor. 0: he is in. Else answered: return CHOPIN_OK. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_login(chopin_ctx *c, const chopin_auth_door *door, chopin_auth_attempt *a);

/* New session for `user`, its cookie set, an old session of this browser ended; answers 204 unless something was answered or you answer before: then call
 * chopin_auth_begin(), which sets the cookie and answers nothing unless it fails. begin: 0, or answered already. */
CHOPIN_AUTH_API int chopin_auth_start(chopin_ctx *c, const chopin_auth_sessions *s, chopin_str user);
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_begin(chopin_ctx *c, const chopin_auth_sessions *s, chopin_str user, char id[CHOPIN_AUTH_SECRET_TEXT]);

/* The session is dead in the store, with its refresh tokens; the cookie is deleted; 204. */
CHOPIN_AUTH_API int chopin_auth_logout(chopin_ctx *c, const chopin_auth_sessions *s);

/* Password work off the loop, for sign-up and change of password: as chopin_password_hash(), or BUSY with 503 answered. */
CHOPIN_AUTH_API CHOPIN_AUTH__CHECKED int chopin_auth_hash_password(chopin_ctx *c, chopin_password_pool *pool, chopin_str password, char out[CHOPIN_AUTH_PW_TEXT]);
#endif /* CHOPIN_H */

#ifdef __cplusplus
}
#endif
#endif /* CHOPIN_AUTH_H */

#if (defined(CHOPIN_IMPLEMENTATION) || defined(CHOPIN_AUTH_IMPLEMENTATION)) && !defined(CHOPIN_AUTH_IMPLEMENTED)
#define CHOPIN_AUTH_IMPLEMENTED
#ifdef __cplusplus
#error "chopin_auth.h: the implementation is C11: put it into a .c file of its own (declarations work from C++)"
#endif

/* ==========================================================================================================
   >>platform   system includes, what the compiler can do, the table of statuses
   Everything below asks this room, not the compiler or the system, for these things.
   ========================================================================================================== */
/* Built for size, the unwinding tables of this file go where debuggers find them and `strip` removes them (.debug_frame): they are a tenth of a small program. */
#if defined(__OPTIMIZE_SIZE__) && defined(__GNUC__) && !defined(__clang__) && !defined(__EXCEPTIONS) && !defined(CHOPIN_AUTH_UNWIND_TABLES)
#if defined(__x86_64__) || defined(__i386__) || defined(__aarch64__) || defined(__riscv)
__asm__(".cfi_sections .debug_frame");
#endif
#endif

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__) || defined(__APPLE__)
#include <sys/random.h>
#endif
#if !defined(CHOPIN_AUTH_NO_SIMD) && defined(__GNUC__)
#if defined(__x86_64__)
#define CHOPIN_AUTH__X86 1
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && (!defined(__clang__) || __clang_major__ >= 16 || defined(__ARM_FEATURE_SHA512))
#define CHOPIN_AUTH__ARM 1
#include <arm_neon.h>
#if defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif
#endif
#endif

#if defined(__OPTIMIZE_SIZE__) && !defined(CHOPIN_AUTH_SMALL)
#define CHOPIN_AUTH_SMALL 1
#endif
#if defined(CHOPIN_AUTH__X86) && !defined(CHOPIN_AUTH_SMALL)
#define CHOPIN_AUTH__HASH_BMI2 1                                 // rorx pays in unrolled rounds only
#endif

#ifndef CHOPIN_AUTH_ASSERT
#ifdef NDEBUG
#define CHOPIN_AUTH_ASSERT(condition) ((void)0)
#else
#define CHOPIN_AUTH_ASSERT(condition) ((condition) ? (void)0 : chopin_auth__assert_failed(__LINE__))
#endif
/* Says where, not what: the texts of assert() are a good part of a small program. */
static inline __attribute__((noreturn, cold, unused)) void chopin_auth__assert_failed(int line) {
    fprintf(stderr, "chopin_auth.h:%d: assertion failed (version " CHOPIN_AUTH_VERSION ")\n", line);
    abort();
}
#endif

#define CHOPIN_AUTH__COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define CHOPIN_AUTH__NOINLINE     __attribute__((noinline))
#define CHOPIN_AUTH__INLINE       static inline __attribute__((always_inline))
#define CHOPIN_AUTH__UNUSED       __attribute__((unused))    /* not every switch combination uses each helper */
#define CHOPIN_AUTH__TARGET(name) __attribute__((target(name)))

/* 64 x 64 -> 128 bits. CHOPIN_AUTH_NO_INT128 forces the twin for 32-bit machines, for tests. */
#if defined(__SIZEOF_INT128__) && !defined(CHOPIN_AUTH_NO_INT128)
#define CHOPIN_AUTH__INT128 1
__extension__ typedef unsigned __int128 chopin_auth__u128;
#endif

/* Where a value that came from a secret stops being one: `why` says why the world may know it. The constant-time test replaces this macro. */
#ifndef CHOPIN_AUTH__PUBLIC
#define CHOPIN_AUTH__PUBLIC(p, n, why) ((void)(p), (void)(n))
#endif

CHOPIN_AUTH__INLINE CHOPIN_AUTH__UNUSED chopin_str chopin_auth__str(const void *ptr, size_t len) { return (chopin_str){ ptr, len }; }
CHOPIN_AUTH__INLINE CHOPIN_AUTH__UNUSED size_t chopin_auth__min(size_t a, size_t b) { return a < b ? a : b; }

/* Checked sums and products of lengths that somebody else chose: false when the result does not fit, and then it is not written. */
static inline CHOPIN_AUTH__UNUSED bool chopin_auth__add_ok(size_t a, size_t b, size_t *sum) {
    size_t wide;
    if (__builtin_add_overflow(a, b, &wide)) return false;
    *sum = wide;
    return true;
}
static inline CHOPIN_AUTH__UNUSED bool chopin_auth__mul_ok(size_t a, size_t b, size_t *product) {
    size_t wide;
    if (__builtin_mul_overflow(a, b, &wide)) return false;
    *product = wide;
    return true;
}

/* ---- statuses ---- */
typedef struct chopin_auth__status_row { int value, http; const char *name, *word, *text; } chopin_auth__status_row;

static const chopin_auth__status_row *chopin_auth__status_find(int status) {
    static const chopin_auth__status_row rows[] = {
#define CHOPIN_AUTH__ROW(name, value, http, word, text) { value, http, #name, word, text },
        CHOPIN_AUTH_STATUSES(CHOPIN_AUTH__ROW)
#undef CHOPIN_AUTH__ROW
        { 1, 500, "UNKNOWN", "", "not a chopin_auth status" }
    };
    size_t row = status > 0 ? 0 : (size_t)0 - (size_t)status;                 // the rows stand in the order of their numbers (tested)
    return &rows[chopin_auth__min(row, CHOPIN_AUTH__COUNT(rows) - 1)];
}

int         chopin_auth_http(int status) { return chopin_auth__status_find(status)->http; }
const char *chopin_auth_name(int status) { return chopin_auth__status_find(status)->name; }
const char *chopin_auth_text(int status) { return chopin_auth__status_find(status)->text; }
const char *chopin_auth_version(void)    { return CHOPIN_AUTH_VERSION; }

/* The error word of RFC 6750 section 3.1 for WWW-Authenticate; empty when none applies. */
static inline CHOPIN_AUTH__UNUSED const char *chopin_auth__status_word(int status) { return chopin_auth__status_find(status)->word; }

/* ==========================================================================================================
   >>cpu   which instructions may be used
   One word, filled on first use; every thread would write the same, so a relaxed store will do. CPUID and its like
   are asked, never compile flags: a debugger may hide what it cannot run. A room that has several paths chooses by
   chopin_auth__cpu() on entry; the portable one is always there.
   ========================================================================================================== */
enum {
    CHOPIN_AUTH__CPU_KNOWN  = 1,
    CHOPIN_AUTH__CPU_SHANI  = 2,       /* with SSSE3 and SSE4.1 */
    CHOPIN_AUTH__CPU_AVX2   = 4,
    CHOPIN_AUTH__CPU_BMI2   = 8,       /* mulx, rorx; with BMI1 (andn) */
    CHOPIN_AUTH__CPU_ADX    = 16,
    CHOPIN_AUTH__CPU_SHA2   = 32,      /* ARMv8 */
    CHOPIN_AUTH__CPU_SHA512 = 64
};
static _Atomic unsigned chopin_auth__cpu_word;

#if defined(CHOPIN_AUTH__X86)
static unsigned chopin_auth__cpu_found(void) {
    unsigned a = 0, b = 0, c = 0, d = 0, low, high, word = 0, features;
    if (!__get_cpuid(1, &a, &b, &features, &d) || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    if ((b & bit_SHA) && (features & bit_SSSE3) && (features & bit_SSE4_1)) word |= CHOPIN_AUTH__CPU_SHANI;
    if ((b & bit_BMI2) && (b & bit_BMI)) word |= CHOPIN_AUTH__CPU_BMI2;
    if (b & bit_ADX) word |= CHOPIN_AUTH__CPU_ADX;
    if (!(features & bit_OSXSAVE) || !(b & bit_AVX2)) return word;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 6) == 6 ? word | CHOPIN_AUTH__CPU_AVX2 : word;                  // the kernel saves these registers
}
#elif defined(CHOPIN_AUTH__ARM) && defined(__linux__)
static unsigned chopin_auth__cpu_found(void) {
    unsigned long caps = getauxval(AT_HWCAP);
    return ((caps & 1ul << 6) ? CHOPIN_AUTH__CPU_SHA2 : 0u) | ((caps & 1ul << 21) ? CHOPIN_AUTH__CPU_SHA512 : 0u);   // HWCAP_SHA2, HWCAP_SHA512
}
#elif defined(CHOPIN_AUTH__ARM) && defined(__APPLE__)
static unsigned chopin_auth__cpu_found(void) {
    int yes = 0;
    size_t size = sizeof yes;
    bool wide = sysctlbyname("hw.optional.armv8_2_sha512", &yes, &size, NULL, 0) == 0 && yes != 0;
    return CHOPIN_AUTH__CPU_SHA2 | (wide ? CHOPIN_AUTH__CPU_SHA512 : 0u);         // SHA-2 came with the first of these CPUs
}
#else
static unsigned chopin_auth__cpu_found(void) { return 0; }
#endif

static CHOPIN_AUTH__NOINLINE unsigned chopin_auth__cpu_ask(void) {
    unsigned word = CHOPIN_AUTH__CPU_KNOWN | chopin_auth__cpu_found();
    atomic_store_explicit(&chopin_auth__cpu_word, word, memory_order_relaxed);
    return word;
}

static inline unsigned chopin_auth__cpu(void) {
    unsigned word = atomic_load_explicit(&chopin_auth__cpu_word, memory_order_relaxed);
    return __builtin_expect(word != 0, 1) ? word : chopin_auth__cpu_ask();
}

/* For tests: from now on use only what is both here and in `allowed` (0: portable code; ~0u: everything). Returns what that is, without KNOWN. */
static inline CHOPIN_AUTH__UNUSED unsigned chopin_auth__cpu_force(unsigned allowed) {
    unsigned word = chopin_auth__cpu_found() & allowed;
    atomic_store_explicit(&chopin_auth__cpu_word, word | CHOPIN_AUTH__CPU_KNOWN, memory_order_relaxed);
    return word;
}

/* ==========================================================================================================
   >>ct   constant time: masks, compare, wipe
   A mask is all ones or all zeros. Each one passes a barrier, behind which the compiler does not know that it has only
   two values: otherwise it may turn the arithmetic back into the branch that we avoided.
   ========================================================================================================== */
#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
#define CHOPIN_AUTH__NO_ASM_BARRIER 1                        // it takes every operand of an asm for a use
#endif
#endif
#if defined(__GNUC__) && !defined(CHOPIN_AUTH__NO_ASM_BARRIER)
CHOPIN_AUTH__INLINE uint32_t chopin_auth__barrier32(uint32_t v) { __asm__("" : "+r"(v)); return v; }
CHOPIN_AUTH__INLINE uint64_t chopin_auth__barrier64(uint64_t v) { __asm__("" : "+r"(v)); return v; }
#else
static inline uint32_t chopin_auth__barrier32(uint32_t v) { volatile uint32_t seen = v; return seen; }
static inline uint64_t chopin_auth__barrier64(uint64_t v) { volatile uint64_t seen = v; return seen; }
#endif

/* All ones when v != 0; when v == 0; when a == b; when a < b (all of them on full words). */
CHOPIN_AUTH__INLINE CHOPIN_AUTH__UNUSED uint32_t chopin_auth__mask_nonzero32(uint32_t v) { return chopin_auth__barrier32(0u - ((v | (0u - v)) >> 31)); }
CHOPIN_AUTH__INLINE CHOPIN_AUTH__UNUSED uint32_t chopin_auth__mask_zero32(uint32_t v) { return ~chopin_auth__mask_nonzero32(v); }
CHOPIN_AUTH__INLINE CHOPIN_AUTH__UNUSED uint32_t chopin_auth__mask_equal32(uint32_t a, uint32_t b) { return chopin_auth__mask_zero32(a ^ b); }
CHOPIN_AUTH__INLINE CHOPIN_AUTH__UNUSED uint32_t chopin_auth__mask_less32(uint32_t a, uint32_t b) {
    return chopin_auth__barrier32(0u - (((~a & b) | (~(a ^ b) & (a - b))) >> 31));
}
CHOPIN_AUTH__INLINE CHOPIN_AUTH__UNUSED uint64_t chopin_auth__mask_nonzero64(uint64_t v) { return chopin_auth__barrier64(UINT64_C(0) - ((v | (UINT64_C(0) - v)) >> 63)); }
CHOPIN_AUTH__INLINE CHOPIN_AUTH__UNUSED uint64_t chopin_auth__mask_zero64(uint64_t v) { return ~chopin_auth__mask_nonzero64(v); }
CHOPIN_AUTH__INLINE CHOPIN_AUTH__UNUSED uint64_t chopin_auth__mask_equal64(uint64_t a, uint64_t b) { return chopin_auth__mask_zero64(a ^ b); }

/* A bit (0 or 1) as a mask; mask ? a : b. */
CHOPIN_AUTH__INLINE CHOPIN_AUTH__UNUSED uint32_t chopin_auth__mask_bit32(uint32_t bit) { return chopin_auth__barrier32(0u - bit); }
CHOPIN_AUTH__INLINE CHOPIN_AUTH__UNUSED uint64_t chopin_auth__mask_bit64(uint64_t bit) { return chopin_auth__barrier64(UINT64_C(0) - bit); }
CHOPIN_AUTH__INLINE CHOPIN_AUTH__UNUSED uint32_t chopin_auth__select32(uint32_t mask, uint32_t a, uint32_t b) { return b ^ (mask & (a ^ b)); }
CHOPIN_AUTH__INLINE CHOPIN_AUTH__UNUSED uint64_t chopin_auth__select64(uint64_t mask, uint64_t a, uint64_t b) { return b ^ (mask & (a ^ b)); }

/* The bytes in which a and b differ, as bits of one word: 0 when none does. Secret; the caller decides what of it becomes public. */
static uint32_t chopin_auth__differ(const void *a, const void *b, size_t n) {
    const uint8_t *p = a, *q = b;
    uint32_t differ = 0;
    for (size_t i = 0; i < n; i++) differ |= chopin_auth__barrier32((uint32_t)(p[i] ^ q[i]));
    return differ;
}

/* Is there a zero byte in s? As long for each place. */
static CHOPIN_AUTH__UNUSED bool chopin_auth__has_nul(chopin_str s) {
    uint32_t found = 0;
    for (size_t i = 0; i < s.len; i++) found |= chopin_auth__mask_zero32((uint8_t)s.ptr[i]);
    CHOPIN_AUTH__PUBLIC(&found, sizeof found, "that a password is refused");
    return found != 0;
}

bool chopin_auth_equal(const void *a, const void *b, size_t n) {
    uint32_t same = chopin_auth__mask_zero32(chopin_auth__differ(a, b, n)) & 1;
    CHOPIN_AUTH__PUBLIC(&same, sizeof same, "the verdict of a comparison");
    return same != 0;
}

void chopin_auth_wipe(void *p, size_t n) {
#ifdef __GNUC__
    if (n > 0) memset(p, 0, n);
    __asm__ volatile("" : : "r"(p) : "memory");              // whoever is behind this may read it, so the memset stays
#else
    for (volatile uint8_t *byte = p; n > 0; n--) *byte++ = 0;
#endif
}

/* What a function called just before may have spilled: words of a secret state that it could not name. */
static CHOPIN_AUTH__NOINLINE void chopin_auth__burn(void) {
    uint8_t below[512];
    chopin_auth_wipe(below, sizeof below);
}

/* ==========================================================================================================
   >>bytes   loads and stores by byte order; base64, base32, hex
   The codecs carry secrets (JWK members, cookies, TOTP seeds): they look nothing up by a character. base64 works on eight
   characters in one word: every byte lane asks "at least k?" by an addition that cannot leave its lane, and the answers,
   spread to masks, pick the offset of the character's class.
   ========================================================================================================== */
static inline CHOPIN_AUTH__UNUSED uint32_t chopin_auth__load32le(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline CHOPIN_AUTH__UNUSED uint32_t chopin_auth__load32be(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}
static inline CHOPIN_AUTH__UNUSED uint64_t chopin_auth__load64le(const uint8_t *p) {
    return (uint64_t)chopin_auth__load32le(p) | (uint64_t)chopin_auth__load32le(p + 4) << 32;
}
static inline CHOPIN_AUTH__UNUSED uint64_t chopin_auth__load64be(const uint8_t *p) {
    return (uint64_t)chopin_auth__load32be(p) << 32 | (uint64_t)chopin_auth__load32be(p + 4);
}
static inline CHOPIN_AUTH__UNUSED void chopin_auth__store16be(uint8_t *p, uint16_t v) { p[0] = (uint8_t)(v >> 8), p[1] = (uint8_t)v; }
static inline CHOPIN_AUTH__UNUSED void chopin_auth__store32le(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)v, p[1] = (uint8_t)(v >> 8), p[2] = (uint8_t)(v >> 16), p[3] = (uint8_t)(v >> 24);
}
static inline CHOPIN_AUTH__UNUSED void chopin_auth__store32be(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 24), p[1] = (uint8_t)(v >> 16), p[2] = (uint8_t)(v >> 8), p[3] = (uint8_t)v;
}
static inline CHOPIN_AUTH__UNUSED void chopin_auth__store64le(uint8_t *p, uint64_t v) {
    chopin_auth__store32le(p, (uint32_t)v), chopin_auth__store32le(p + 4, (uint32_t)(v >> 32));
}
static inline CHOPIN_AUTH__UNUSED void chopin_auth__store64be(uint8_t *p, uint64_t v) {
    chopin_auth__store32be(p, (uint32_t)(v >> 32)), chopin_auth__store32be(p + 4, (uint32_t)v);
}

/* A size that a codec returns as int, or 0 when it would not fit one. Text is longer than what it stands for, so too many bytes are seen at once. */
static size_t chopin_auth__coded_size(size_t n, unsigned bits) {
    if (n > INT_MAX) return 0;
    uint64_t size = ((uint64_t)n * 8 + bits - 1) / bits;
    return size > INT_MAX ? 0 : (size_t)size;
}

/* ---- base64: eight lanes of one byte, the first character in the top lane ---- */
#define CHOPIN_AUTH__LANES(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Bytes are below 128. Full lanes where the byte is >= low; where low <= byte <= high; where it is `ch`. */
CHOPIN_AUTH__INLINE uint64_t chopin_auth__lanes_from(uint64_t v, unsigned low) {
    uint64_t top = (v + CHOPIN_AUTH__LANES((uint64_t)(0x80 - low))) & CHOPIN_AUTH__LANES(0x80);
    return chopin_auth__barrier64((top << 1) - (top >> 7));
}
CHOPIN_AUTH__INLINE uint64_t chopin_auth__lanes_in(uint64_t v, unsigned low, unsigned high) {
    return chopin_auth__lanes_from(v, low) & ~chopin_auth__lanes_from(v, high + 1);
}

/* The two alphabets differ in the last two characters only: `last` is "-_" or "+/". */
static uint64_t chopin_auth__base64_values(uint64_t text, const char last[2], uint64_t *bad) {
    uint64_t v = text & CHOPIN_AUTH__LANES(0x7f);
    uint64_t upper = chopin_auth__lanes_in(v, 'A', 'Z'), lower = chopin_auth__lanes_in(v, 'a', 'z'), digit = chopin_auth__lanes_in(v, '0', '9');
    uint64_t is62 = chopin_auth__lanes_in(v, (unsigned)last[0], (unsigned)last[0]), is63 = chopin_auth__lanes_in(v, (unsigned)last[1], (unsigned)last[1]);
    *bad |= (text ^ v) | ~(upper | lower | digit | is62 | is63);
    v &= upper | lower | digit;                              // now no lane can borrow or carry
    v -= (upper & CHOPIN_AUTH__LANES('A')) | (lower & CHOPIN_AUTH__LANES('a' - 26));
    v += digit & CHOPIN_AUTH__LANES(52 - '0');
    return v | (is62 & CHOPIN_AUTH__LANES(62)) | (is63 & CHOPIN_AUTH__LANES(63));
}

/* Eight values of six bits become 48 bits at the top of the word, halving the gaps three times; and back. */
static uint64_t chopin_auth__base64_pack(uint64_t v) {
    v = (v & UINT64_C(0x003f003f003f003f)) | (v & UINT64_C(0x3f003f003f003f00)) >> 2;
    v = (v & UINT64_C(0x00000fff00000fff)) | (v & UINT64_C(0x0fff00000fff0000)) >> 4;
    return (v & UINT64_C(0x0000000000ffffff)) << 16 | (v & UINT64_C(0x00ffffff00000000)) << 8;
}
static uint64_t chopin_auth__base64_spread(uint64_t v) {
    v = (v >> 16 & UINT64_C(0xffffff)) | (v >> 8 & UINT64_C(0x00ffffff00000000));
    v = (v & UINT64_C(0x00000fff00000fff)) | (v & UINT64_C(0x00fff00000fff000)) << 4;
    return (v & UINT64_C(0x003f003f003f003f)) | (v & UINT64_C(0x0fc00fc00fc00fc0)) << 2;
}

static uint64_t chopin_auth__base64_text(uint64_t v, const char last[2]) {
    uint64_t from26 = chopin_auth__lanes_from(v, 26), from52 = chopin_auth__lanes_from(v, 52), is62 = chopin_auth__lanes_in(v, 62, 62), is63 = chopin_auth__lanes_from(v, 63);
    v += CHOPIN_AUTH__LANES('A') + (from26 & CHOPIN_AUTH__LANES('a' - 26 - 'A'));
    v -= from52 & CHOPIN_AUTH__LANES('a' - 26 - '0' + 52);
    return (v & ~(is62 | is63)) | (is62 & CHOPIN_AUTH__LANES((uint64_t)last[0])) | (is63 & CHOPIN_AUTH__LANES((uint64_t)last[1]));
}

static void chopin_auth__base64_encode_all(const uint8_t *in, size_t n, char *out, const char last[2]) {
    uint8_t block[8];
    for (; n >= 8; in += 6, out += 8, n -= 6) {              // reads eight, uses six
        chopin_auth__store64be((uint8_t *)out, chopin_auth__base64_text(chopin_auth__base64_spread(chopin_auth__load64be(in)), last));
    }
    while (n > 0) {
        size_t now = chopin_auth__min(n, 6);
        memset(block, 0, sizeof block);
        memcpy(block, in, now);
        chopin_auth__store64be(block, chopin_auth__base64_text(chopin_auth__base64_spread(chopin_auth__load64be(block)), last));
        memcpy(out, block, (now * 8 + 5) / 6);
        in += now, out += (now * 8 + 5) / 6, n -= now;
    }
    chopin_auth_wipe(block, sizeof block);
}

/* Writes n * 6 / 8 bytes; gives what was wrong with them, 0 if nothing: secret bytes, but whether they are well formed is not. */
static uint64_t chopin_auth__base64_decode_all(const char *in, size_t n, uint8_t *out, const char last[2]) {
    uint64_t bad = 0, bits;
    uint8_t block[8];
    for (; n >= 8; in += 8, out += 6, n -= 8) {
        bits = chopin_auth__base64_pack(chopin_auth__base64_values(chopin_auth__load64be((const uint8_t *)in), last, &bad));
        chopin_auth__store32be(out, (uint32_t)(bits >> 32)), chopin_auth__store16be(out + 4, (uint16_t)(bits >> 16));
    }
    if (n > 0) {
        memset(block, 'A', sizeof block);                    // the value 0: then all bits beyond the last byte must be 0
        memcpy(block, in, n);
        bits = chopin_auth__base64_pack(chopin_auth__base64_values(chopin_auth__load64be(block), last, &bad));
        bad |= bits << (n * 6 / 8 * 8);
        chopin_auth__store64be(block, bits);
        memcpy(out, block, n * 6 / 8);
        chopin_auth_wipe(block, sizeof block);
    }
    return bad;
}

static int chopin_auth__base64_decode_checked(chopin_str in, const char last[2], uint8_t *out, size_t cap) {
    size_t n = in.len / 4 * 3 + in.len % 4 * 3 / 4;
    if (in.len % 4 == 1) return CHOPIN_AUTH_FORMAT;
    if (n > cap || n > INT_MAX) return CHOPIN_AUTH_BUFFER;
    if (in.len == 0) return 0;
    uint64_t bad = chopin_auth__mask_nonzero64(chopin_auth__base64_decode_all(in.ptr, in.len, out, last));
    CHOPIN_AUTH__PUBLIC(&bad, sizeof bad, "whether a text is base64");
    if (bad == 0) return (int)n;
    if (n > 0) chopin_auth_wipe(out, n);
    return CHOPIN_AUTH_FORMAT;
}

size_t chopin_base64url_size(size_t n) { return chopin_auth__coded_size(n, 6); }

int chopin_base64url_encode(chopin_str in, char *out, size_t cap) {
    size_t n = chopin_base64url_size(in.len);
    if (n > cap || (n == 0 && in.len > 0)) return CHOPIN_AUTH_BUFFER;
    if (in.len > 0) chopin_auth__base64_encode_all((const uint8_t *)in.ptr, in.len, out, "-_");
    return (int)n;
}

int chopin_base64url_decode(chopin_str in, uint8_t *out, size_t cap) { return chopin_auth__base64_decode_checked(in, "-_", out, cap); }

/* The standard alphabet, for PEM (padded) and PHC strings (not padded). As strict as base64url: padding is there exactly when it must be. */
static inline CHOPIN_AUTH__UNUSED int chopin_auth__base64_encode(chopin_str in, bool padded, char *out, size_t cap) {
    size_t n = chopin_base64url_size(in.len), all = padded ? (n + 3) / 4 * 4 : n;
    if (all > cap || all > INT_MAX || (n == 0 && in.len > 0)) return CHOPIN_AUTH_BUFFER;
    if (in.len > 0) chopin_auth__base64_encode_all((const uint8_t *)in.ptr, in.len, out, "+/");
    while (n < all) out[n++] = '=';
    return (int)n;
}

static inline CHOPIN_AUTH__UNUSED int chopin_auth__base64_decode(chopin_str in, bool padded, uint8_t *out, size_t cap) {
    if (padded && in.len % 4 != 0) return CHOPIN_AUTH_FORMAT;
    for (int i = 0; padded && i < 2 && in.len > 0 && in.ptr[in.len - 1] == '='; i++) in.len--;      // a third one is not in the alphabet
    return chopin_auth__base64_decode_checked(in, "+/", out, cap);
}

/* ---- base32 and hex: short things, one character at a time ---- */

/* All ones when low <= ch <= high. */
CHOPIN_AUTH__INLINE uint32_t chopin_auth__char_in(uint32_t ch, uint32_t low, uint32_t high) {
    return chopin_auth__barrier32(0u - (~((ch - low) | (high - ch)) >> 31));
}

/* The value of a character in an alphabet of letters from `letter` on, and digits whose first one has the value `of_digit`; bad ones set *bad. */
static uint32_t chopin_auth__char_value(char text, char letter, uint32_t letters, uint32_t of_letter, char digit, uint32_t digits, uint32_t of_digit, uint32_t *bad) {
    uint32_t ch = (uint8_t)text, first = (uint8_t)letter, zero = (uint8_t)digit;
    uint32_t is_letter = chopin_auth__char_in(ch, first, first + letters - 1), is_digit = chopin_auth__char_in(ch, zero, zero + digits - 1);
    *bad |= ~(is_letter | is_digit);
    return (is_letter & (ch - first + of_letter)) | (is_digit & (ch - zero + of_digit));
}

/* `bad` of a decoder becomes its verdict; what was written goes away. */
static int chopin_auth__coded_verdict(uint32_t bad, uint8_t *out, size_t n) {
    bad = chopin_auth__mask_nonzero32(bad);
    CHOPIN_AUTH__PUBLIC(&bad, sizeof bad, "whether a text is in its alphabet");
    if (bad == 0) return (int)n;
    if (n > 0) chopin_auth_wipe(out, n);
    return CHOPIN_AUTH_FORMAT;
}

size_t chopin_base32_size(size_t n) { return chopin_auth__coded_size(n, 5); }

static char chopin_auth__base32_char(uint32_t value) {
    uint32_t digit = chopin_auth__char_in(value, 26, 31);
    return (char)(value + chopin_auth__select32(digit, '2' - 26, 'A'));
}

int chopin_base32_encode(chopin_str in, char *out, size_t cap) {
    size_t n = chopin_base32_size(in.len), next = 0;
    if (n > cap || (n == 0 && in.len > 0)) return CHOPIN_AUTH_BUFFER;
    uint32_t bits = 0, have = 0;                             // the low `have` bits of `bits` wait to be written
    for (size_t i = 0; i < n; i++, have -= 5) {
        if (have < 5) bits = bits << 8 | (next < in.len ? (uint8_t)in.ptr[next] : 0), next++, have += 8;
        out[i] = chopin_auth__base32_char(bits >> (have - 5) & 31);
    }
    return (int)n;
}

int chopin_base32_decode(chopin_str in, uint8_t *out, size_t cap) {
    size_t n = in.len / 8 * 5 + in.len % 8 * 5 / 8, at = 0;
    if ((UINT32_C(0x4a) >> in.len % 8 & 1) != 0) return CHOPIN_AUTH_FORMAT;        // 1, 3 or 6 characters are no whole bytes
    if (n > cap || n > INT_MAX) return CHOPIN_AUTH_BUFFER;
    uint32_t bits = 0, have = 0, bad = 0;
    for (size_t i = 0; i < in.len; i++) {
        bits = bits << 5 | chopin_auth__char_value(in.ptr[i], 'A', 26, 0, '2', 6, 26, &bad);
        have += 5;
        if (have >= 8) out[at++] = (uint8_t)(bits >> (have - 8)), have -= 8;
    }
    bad |= bits & ((1u << have) - 1);                        // unused bits
    return chopin_auth__coded_verdict(bad, out, n);
}

/* Lower case. */
static inline CHOPIN_AUTH__UNUSED int chopin_auth__hex_encode(chopin_str in, char *out, size_t cap) {
    if (in.len > INT_MAX / 2 || in.len * 2 > cap) return CHOPIN_AUTH_BUFFER;
    for (size_t i = 0; i < in.len * 2; i++) {
        uint32_t value = (uint32_t)((uint8_t)in.ptr[i / 2] >> (i % 2 ? 0 : 4)) & 15;
        out[i] = (char)(value + chopin_auth__select32(chopin_auth__char_in(value, 10, 15), 'a' - 10, '0'));
    }
    return (int)(in.len * 2);
}

/* Lower case only: one spelling. */
static inline CHOPIN_AUTH__UNUSED int chopin_auth__hex_decode(chopin_str in, uint8_t *out, size_t cap) {
    uint32_t bad = 0;
    if (in.len % 2 != 0) return CHOPIN_AUTH_FORMAT;
    if (in.len / 2 > cap || in.len / 2 > INT_MAX) return CHOPIN_AUTH_BUFFER;
    for (size_t i = 0; i < in.len; i += 2) {
        uint32_t high = chopin_auth__char_value(in.ptr[i], 'a', 6, 10, '0', 10, 0, &bad);
        out[i / 2] = (uint8_t)(high << 4 | chopin_auth__char_value(in.ptr[i + 1], 'a', 6, 10, '0', 10, 0, &bad));
    }
    return chopin_auth__coded_verdict(bad, out, in.len / 2);
}

/* ==========================================================================================================
   >>random   the system's random bytes
   No generator and no buffer of our own: nothing to seed, nothing that a fork could duplicate. An interrupted or short
   read goes on; any other failure is RANDOM, with the output zeroed, and whoever asked issues nothing.
   ========================================================================================================== */
static bool chopin_auth__random_device(uint8_t *out, size_t n) {
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat what;
    bool ok = fd >= 0 && fstat(fd, &what) == 0 && S_ISCHR(what.st_mode);          // a plain file in a chroot is not a source
    while (ok && n > 0) {
        ssize_t got = read(fd, out, chopin_auth__min(n, 1u << 20));
        if (got > 0) out += got, n -= (size_t)got;
        ok = got > 0 || (got < 0 && errno == EINTR);
    }
    if (fd >= 0) close(fd);
    return ok;
}

#if defined(__linux__)
static bool chopin_auth__random_system(uint8_t *out, size_t n) {
    while (n > 0) {
        ssize_t got = getrandom(out, chopin_auth__min(n, 1u << 20), 0);           // 0: waits for the seed at boot, then never
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && (errno == ENOSYS || errno == EPERM)) return chopin_auth__random_device(out, n);   // an old kernel, a strict sandbox
        if (got <= 0) return false;
        out += got, n -= (size_t)got;
    }
    return true;
}
#elif defined(__APPLE__) || defined(__OpenBSD__) || defined(__FreeBSD__) || defined(__NetBSD__)
static bool chopin_auth__random_system(uint8_t *out, size_t n) {
    for (size_t step; n > 0; out += step, n -= step) {
        step = chopin_auth__min(n, 256);                                          // getentropy() takes no more at once
        if (getentropy(out, step) != 0) return chopin_auth__random_device(out, n);
    }
    return true;
}
#else
static bool chopin_auth__random_system(uint8_t *out, size_t n) { return chopin_auth__random_device(out, n); }
#endif

#ifndef CHOPIN_AUTH__RANDOM_SOURCE                                                  // tests put a source of their own here, one that can fail
#define CHOPIN_AUTH__RANDOM_SOURCE(out, n) chopin_auth__random_system(out, n)
#endif

int chopin_auth_random(void *out, size_t n) {
    if (n == 0 || CHOPIN_AUTH__RANDOM_SOURCE(out, n)) return CHOPIN_AUTH_OK;
    chopin_auth_wipe(out, n);
    return CHOPIN_AUTH_RANDOM;
}

/* ==========================================================================================================
   >>hash   SHA-256, SHA-384, SHA-512 (FIPS 180-4), SHA-1 for one-time passwords, BLAKE2b (RFC 7693)
   Each hash is three parts: a function that takes whole blocks, one for each path; a choice among them; and the buffer
   that cuts input to blocks, written once for each block size. Contexts are wiped by final, schedules by the paths.
   The portable paths exist as unrolled rounds and, for CHOPIN_AUTH_SMALL, as loops of a tenth of their size.
   ========================================================================================================== */
typedef void chopin_auth__narrow_blocks(uint32_t state[8], const uint8_t *p, size_t n);     // blocks of 64 bytes: SHA-1, SHA-256
typedef void chopin_auth__wide_blocks(uint64_t state[8], const uint8_t *p, size_t n);       // blocks of 128 bytes: SHA-384, SHA-512

CHOPIN_AUTH__INLINE uint32_t chopin_auth__ror32(uint32_t v, unsigned by) { return v >> by | v << (32 - by); }
CHOPIN_AUTH__INLINE uint64_t chopin_auth__ror64(uint64_t v, unsigned by) { return v >> by | v << (64 - by); }

/* ---- SHA-256, portable ---- */
static const uint32_t chopin_auth__sha256_start[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19
};
static const uint32_t chopin_auth__sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
};

#ifdef CHOPIN_AUTH_SMALL
CHOPIN_AUTH__INLINE uint32_t chopin_auth__sha256_next(const uint32_t w[16], int i) {
    uint32_t x = w[(i + 1) & 15], y = w[(i + 14) & 15];
    return w[i & 15] + w[(i + 9) & 15] + (chopin_auth__ror32(x, 7) ^ chopin_auth__ror32(x, 18) ^ x >> 3) + (chopin_auth__ror32(y, 17) ^ chopin_auth__ror32(y, 19) ^ y >> 10);
}
CHOPIN_AUTH__INLINE void chopin_auth__sha256_rounds(uint32_t s[8], uint32_t w[16]) {
    uint32_t a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7];
    for (int i = 0; i < 64; i++) {
        if (i >= 16) w[i & 15] = chopin_auth__sha256_next(w, i);
        h += chopin_auth__sha256_k[i] + w[i & 15] + (chopin_auth__ror32(e, 6) ^ chopin_auth__ror32(e, 11) ^ chopin_auth__ror32(e, 25)) + (g ^ (e & (f ^ g)));
        uint32_t next = h + (chopin_auth__ror32(a, 2) ^ chopin_auth__ror32(a, 13) ^ chopin_auth__ror32(a, 22)) + (b ^ ((a ^ b) & (b ^ c)));
        d += h, h = g, g = f, f = e, e = d, d = c, c = b, b = a, a = next;
    }
    s[0] += a, s[1] += b, s[2] += c, s[3] += d, s[4] += e, s[5] += f, s[6] += g, s[7] += h;
}
#else
/* One round without moving the eight words: the caller renames them. Majority is b ^ ((a ^ b) & (b ^ c)), and a ^ b is the next round's b ^ c. */
#define CHOPIN_AUTH__SHA256_ROUND(a, b, c, d, e, f, g, h, i)                                                                     \
    both = a ^ b;                                                                                                                \
    h += k[i] + w[i] + (chopin_auth__ror32(e, 6) ^ chopin_auth__ror32(e, 11) ^ chopin_auth__ror32(e, 25)) + (g ^ (e & (f ^ g))); \
    d += h;                                                                                                                      \
    last &= both;                                                                                                                \
    h += (chopin_auth__ror32(a, 2) ^ chopin_auth__ror32(a, 13) ^ chopin_auth__ror32(a, 22)) + (b ^ last);                        \
    last = both

/* The same, after making the next word of the schedule, of which only sixteen are kept. */
#define CHOPIN_AUTH__SHA256_NEXT(a, b, c, d, e, f, g, h, i)                                                                                     \
    w[i] += w[((i) + 9) & 15] + (chopin_auth__ror32(w[((i) + 1) & 15], 7) ^ chopin_auth__ror32(w[((i) + 1) & 15], 18) ^ w[((i) + 1) & 15] >> 3) \
        + (chopin_auth__ror32(w[((i) + 14) & 15], 17) ^ chopin_auth__ror32(w[((i) + 14) & 15], 19) ^ w[((i) + 14) & 15] >> 10);                 \
    CHOPIN_AUTH__SHA256_ROUND(a, b, c, d, e, f, g, h, i)

#define CHOPIN_AUTH__SHA2_EIGHT(ROUND, i)                                           \
    ROUND(a, b, c, d, e, f, g, h, (i) + 0); ROUND(h, a, b, c, d, e, f, g, (i) + 1); \
    ROUND(g, h, a, b, c, d, e, f, (i) + 2); ROUND(f, g, h, a, b, c, d, e, (i) + 3); \
    ROUND(e, f, g, h, a, b, c, d, (i) + 4); ROUND(d, e, f, g, h, a, b, c, (i) + 5); \
    ROUND(c, d, e, f, g, h, a, b, (i) + 6); ROUND(b, c, d, e, f, g, h, a, (i) + 7)

CHOPIN_AUTH__INLINE void chopin_auth__sha256_rounds(uint32_t s[8], uint32_t w[16]) {
    const uint32_t *k = chopin_auth__sha256_k;
    uint32_t a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7], last = b ^ c, both;
    CHOPIN_AUTH__SHA2_EIGHT(CHOPIN_AUTH__SHA256_ROUND, 0);
    CHOPIN_AUTH__SHA2_EIGHT(CHOPIN_AUTH__SHA256_ROUND, 8);
    for (int i = 16; i < 64; i += 16) {
        k += 16;
        CHOPIN_AUTH__SHA2_EIGHT(CHOPIN_AUTH__SHA256_NEXT, 0);
        CHOPIN_AUTH__SHA2_EIGHT(CHOPIN_AUTH__SHA256_NEXT, 8);
    }
    s[0] += a, s[1] += b, s[2] += c, s[3] += d, s[4] += e, s[5] += f, s[6] += g, s[7] += h;
}
#endif

CHOPIN_AUTH__INLINE void chopin_auth__sha256_blocks_body(uint32_t state[8], const uint8_t *p, size_t n) {
    uint32_t w[16];
    for (; n > 0; n--, p += 64) {
        for (int i = 0; i < 16; i++) w[i] = chopin_auth__load32be(p + 4 * i);
        chopin_auth__sha256_rounds(state, w);
    }
    chopin_auth_wipe(w, sizeof w);
}

static CHOPIN_AUTH__NOINLINE void chopin_auth__sha256_blocks_plain(uint32_t state[8], const uint8_t *p, size_t n) { chopin_auth__sha256_blocks_body(state, p, n); }

#if defined(CHOPIN_AUTH__HASH_BMI2)
static CHOPIN_AUTH__TARGET("bmi,bmi2") void chopin_auth__sha256_blocks_bmi2(uint32_t state[8], const uint8_t *p, size_t n) {
    chopin_auth__sha256_blocks_body(state, p, n);
}
#endif

#if defined(CHOPIN_AUTH__X86)
/* ---- SHA-256 by SHA-NI: the instructions want the words as (F E B A) and (H G D C), lowest first ---- */
typedef struct chopin_auth__shani { __m128i abef, cdgh; } chopin_auth__shani;
#define CHOPIN_AUTH__SHANI static inline __attribute__((always_inline, target("sha,sse4.1,ssse3")))

CHOPIN_AUTH__SHANI chopin_auth__shani chopin_auth__shani_load(const uint32_t state[8]) {
    __m128i low  = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)state), 0xb1);
    __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)(state + 4)), 0x1b);
    return (chopin_auth__shani){ _mm_alignr_epi8(low, high, 8), _mm_blend_epi16(high, low, 0xf0) };
}

/* The words in their natural order, four and four. */
CHOPIN_AUTH__SHANI __m128i chopin_auth__shani_low(chopin_auth__shani s) {
    return _mm_shuffle_epi32(_mm_unpackhi_epi64(s.cdgh, s.abef), 0x1b);
}
CHOPIN_AUTH__SHANI __m128i chopin_auth__shani_high(chopin_auth__shani s) {
    return _mm_shuffle_epi32(_mm_unpacklo_epi64(s.cdgh, s.abef), 0x1b);
}

CHOPIN_AUTH__SHANI void chopin_auth__shani_store(uint32_t state[8], chopin_auth__shani s) {
    _mm_storeu_si128((__m128i *)(void *)state, chopin_auth__shani_low(s));
    _mm_storeu_si128((__m128i *)(void *)(state + 4), chopin_auth__shani_high(s));
}

CHOPIN_AUTH__SHANI chopin_auth__shani chopin_auth__shani_four(chopin_auth__shani s, __m128i w, int round) {
    w = _mm_add_epi32(w, _mm_loadu_si128((const __m128i *)(const void *)(chopin_auth__sha256_k + round)));
    s.cdgh = _mm_sha256rnds2_epu32(s.cdgh, s.abef, w);
    s.abef = _mm_sha256rnds2_epu32(s.abef, s.cdgh, _mm_shuffle_epi32(w, 0x0e));
    return s;
}

CHOPIN_AUTH__SHANI __m128i chopin_auth__shani_next(__m128i w0, __m128i w1, __m128i w2, __m128i w3) {
    return _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4)), w3);
}

CHOPIN_AUTH__SHANI chopin_auth__shani chopin_auth__shani_block(chopin_auth__shani from, __m128i w0, __m128i w1, __m128i w2, __m128i w3) {
    chopin_auth__shani s = from;
    for (int i = 0;; i += 16) {
        s = chopin_auth__shani_four(s, w0, i);
        s = chopin_auth__shani_four(s, w1, i + 4);
        s = chopin_auth__shani_four(s, w2, i + 8);
        s = chopin_auth__shani_four(s, w3, i + 12);
        if (i == 48) break;
        w0 = chopin_auth__shani_next(w0, w1, w2, w3);
        w1 = chopin_auth__shani_next(w1, w2, w3, w0);
        w2 = chopin_auth__shani_next(w2, w3, w0, w1);
        w3 = chopin_auth__shani_next(w3, w0, w1, w2);
    }
    return (chopin_auth__shani){ _mm_add_epi32(from.abef, s.abef), _mm_add_epi32(from.cdgh, s.cdgh) };
}

CHOPIN_AUTH__SHANI __m128i chopin_auth__shani_words(const uint8_t *p) {
    const __m128i order = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)p), order);
}

static CHOPIN_AUTH__TARGET("sha,sse4.1,ssse3") void chopin_auth__sha256_blocks_shani(uint32_t state[8], const uint8_t *p, size_t n) {
    chopin_auth__shani s = chopin_auth__shani_load(state);
    for (; n > 0; n--, p += 64) {
        s = chopin_auth__shani_block(s, chopin_auth__shani_words(p), chopin_auth__shani_words(p + 16), chopin_auth__shani_words(p + 32), chopin_auth__shani_words(p + 48));
    }
    chopin_auth__shani_store(state, s);
}
#endif

#if defined(CHOPIN_AUTH__ARM)
/* ---- SHA-256 by the ARMv8 instructions: words in natural order, abcd and efgh ---- */
typedef struct chopin_auth__armsha { uint32x4_t abcd, efgh; } chopin_auth__armsha;
#define CHOPIN_AUTH__ARMSHA static inline __attribute__((always_inline, target("+crypto")))

CHOPIN_AUTH__ARMSHA chopin_auth__armsha chopin_auth__armsha_four(chopin_auth__armsha s, uint32x4_t w, int round) {
    w = vaddq_u32(w, vld1q_u32(chopin_auth__sha256_k + round));
    return (chopin_auth__armsha){ vsha256hq_u32(s.abcd, s.efgh, w), vsha256h2q_u32(s.efgh, s.abcd, w) };
}

CHOPIN_AUTH__ARMSHA uint32x4_t chopin_auth__armsha_next(uint32x4_t w0, uint32x4_t w1, uint32x4_t w2, uint32x4_t w3) {
    return vsha256su1q_u32(vsha256su0q_u32(w0, w1), w2, w3);
}

CHOPIN_AUTH__ARMSHA chopin_auth__armsha chopin_auth__armsha_block(chopin_auth__armsha from, uint32x4_t w0, uint32x4_t w1, uint32x4_t w2, uint32x4_t w3) {
    chopin_auth__armsha s = from;
    for (int i = 0;; i += 16) {
        s = chopin_auth__armsha_four(s, w0, i);
        s = chopin_auth__armsha_four(s, w1, i + 4);
        s = chopin_auth__armsha_four(s, w2, i + 8);
        s = chopin_auth__armsha_four(s, w3, i + 12);
        if (i == 48) break;
        w0 = chopin_auth__armsha_next(w0, w1, w2, w3);
        w1 = chopin_auth__armsha_next(w1, w2, w3, w0);
        w2 = chopin_auth__armsha_next(w2, w3, w0, w1);
        w3 = chopin_auth__armsha_next(w3, w0, w1, w2);
    }
    return (chopin_auth__armsha){ vaddq_u32(from.abcd, s.abcd), vaddq_u32(from.efgh, s.efgh) };
}

CHOPIN_AUTH__ARMSHA uint32x4_t chopin_auth__armsha_words(const uint8_t *p) { return vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(p))); }

static CHOPIN_AUTH__TARGET("+crypto") void chopin_auth__sha256_blocks_arm(uint32_t state[8], const uint8_t *p, size_t n) {
    chopin_auth__armsha s = { vld1q_u32(state), vld1q_u32(state + 4) };
    for (; n > 0; n--, p += 64) {
        s = chopin_auth__armsha_block(s, chopin_auth__armsha_words(p), chopin_auth__armsha_words(p + 16), chopin_auth__armsha_words(p + 32), chopin_auth__armsha_words(p + 48));
    }
    vst1q_u32(state, s.abcd), vst1q_u32(state + 4, s.efgh);
}
#endif

static void chopin_auth__sha256_blocks(uint32_t state[8], const uint8_t *p, size_t n) {
#if defined(CHOPIN_AUTH__X86)
    if (chopin_auth__cpu() & CHOPIN_AUTH__CPU_SHANI) { chopin_auth__sha256_blocks_shani(state, p, n); return; }
#endif
#if defined(CHOPIN_AUTH__HASH_BMI2)
    if (chopin_auth__cpu() & CHOPIN_AUTH__CPU_BMI2) { chopin_auth__sha256_blocks_bmi2(state, p, n); chopin_auth__burn(); return; }
#elif defined(CHOPIN_AUTH__ARM)
    if (chopin_auth__cpu() & CHOPIN_AUTH__CPU_SHA2) { chopin_auth__sha256_blocks_arm(state, p, n); return; }
#endif
    chopin_auth__sha256_blocks_plain(state, p, n);
    chopin_auth__burn();
}

/* ---- SHA-384 and SHA-512 ---- */
static const uint64_t chopin_auth__sha384_start[8] = {
    UINT64_C(0xcbbb9d5dc1059ed8), UINT64_C(0x629a292a367cd507), UINT64_C(0x9159015a3070dd17), UINT64_C(0x152fecd8f70e5939),
    UINT64_C(0x67332667ffc00b31), UINT64_C(0x8eb44a8768581511), UINT64_C(0xdb0c2e0d64f98fa7), UINT64_C(0x47b5481dbefa4fa4)
};
static const uint64_t chopin_auth__sha512_start[8] = {
    UINT64_C(0x6a09e667f3bcc908), UINT64_C(0xbb67ae8584caa73b), UINT64_C(0x3c6ef372fe94f82b), UINT64_C(0xa54ff53a5f1d36f1),
    UINT64_C(0x510e527fade682d1), UINT64_C(0x9b05688c2b3e6c1f), UINT64_C(0x1f83d9abfb41bd6b), UINT64_C(0x5be0cd19137e2179)
};
static const uint64_t chopin_auth__sha512_k[80] = {
    UINT64_C(0x428a2f98d728ae22), UINT64_C(0x7137449123ef65cd), UINT64_C(0xb5c0fbcfec4d3b2f), UINT64_C(0xe9b5dba58189dbbc),
    UINT64_C(0x3956c25bf348b538), UINT64_C(0x59f111f1b605d019), UINT64_C(0x923f82a4af194f9b), UINT64_C(0xab1c5ed5da6d8118),
    UINT64_C(0xd807aa98a3030242), UINT64_C(0x12835b0145706fbe), UINT64_C(0x243185be4ee4b28c), UINT64_C(0x550c7dc3d5ffb4e2),
    UINT64_C(0x72be5d74f27b896f), UINT64_C(0x80deb1fe3b1696b1), UINT64_C(0x9bdc06a725c71235), UINT64_C(0xc19bf174cf692694),
    UINT64_C(0xe49b69c19ef14ad2), UINT64_C(0xefbe4786384f25e3), UINT64_C(0x0fc19dc68b8cd5b5), UINT64_C(0x240ca1cc77ac9c65),
    UINT64_C(0x2de92c6f592b0275), UINT64_C(0x4a7484aa6ea6e483), UINT64_C(0x5cb0a9dcbd41fbd4), UINT64_C(0x76f988da831153b5),
    UINT64_C(0x983e5152ee66dfab), UINT64_C(0xa831c66d2db43210), UINT64_C(0xb00327c898fb213f), UINT64_C(0xbf597fc7beef0ee4),
    UINT64_C(0xc6e00bf33da88fc2), UINT64_C(0xd5a79147930aa725), UINT64_C(0x06ca6351e003826f), UINT64_C(0x142929670a0e6e70),
    UINT64_C(0x27b70a8546d22ffc), UINT64_C(0x2e1b21385c26c926), UINT64_C(0x4d2c6dfc5ac42aed), UINT64_C(0x53380d139d95b3df),
    UINT64_C(0x650a73548baf63de), UINT64_C(0x766a0abb3c77b2a8), UINT64_C(0x81c2c92e47edaee6), UINT64_C(0x92722c851482353b),
    UINT64_C(0xa2bfe8a14cf10364), UINT64_C(0xa81a664bbc423001), UINT64_C(0xc24b8b70d0f89791), UINT64_C(0xc76c51a30654be30),
    UINT64_C(0xd192e819d6ef5218), UINT64_C(0xd69906245565a910), UINT64_C(0xf40e35855771202a), UINT64_C(0x106aa07032bbd1b8),
    UINT64_C(0x19a4c116b8d2d0c8), UINT64_C(0x1e376c085141ab53), UINT64_C(0x2748774cdf8eeb99), UINT64_C(0x34b0bcb5e19b48a8),
    UINT64_C(0x391c0cb3c5c95a63), UINT64_C(0x4ed8aa4ae3418acb), UINT64_C(0x5b9cca4f7763e373), UINT64_C(0x682e6ff3d6b2b8a3),
    UINT64_C(0x748f82ee5defb2fc), UINT64_C(0x78a5636f43172f60), UINT64_C(0x84c87814a1f0ab72), UINT64_C(0x8cc702081a6439ec),
    UINT64_C(0x90befffa23631e28), UINT64_C(0xa4506cebde82bde9), UINT64_C(0xbef9a3f7b2c67915), UINT64_C(0xc67178f2e372532b),
    UINT64_C(0xca273eceea26619c), UINT64_C(0xd186b8c721c0c207), UINT64_C(0xeada7dd6cde0eb1e), UINT64_C(0xf57d4f7fee6ed178),
    UINT64_C(0x06f067aa72176fba), UINT64_C(0x0a637dc5a2c898a6), UINT64_C(0x113f9804bef90dae), UINT64_C(0x1b710b35131c471b),
    UINT64_C(0x28db77f523047d84), UINT64_C(0x32caab7b40c72493), UINT64_C(0x3c9ebe0a15c9bebc), UINT64_C(0x431d67c49c100d4c),
    UINT64_C(0x4cc5d4becb3e42b6), UINT64_C(0x597f299cfc657e2a), UINT64_C(0x5fcb6fab3ad6faec), UINT64_C(0x6c44198c4a475817)
};

#ifdef CHOPIN_AUTH_SMALL
CHOPIN_AUTH__INLINE uint64_t chopin_auth__sha512_next(const uint64_t w[16], int i) {
    uint64_t x = w[(i + 1) & 15], y = w[(i + 14) & 15];
    return w[i & 15] + w[(i + 9) & 15] + (chopin_auth__ror64(x, 1) ^ chopin_auth__ror64(x, 8) ^ x >> 7) + (chopin_auth__ror64(y, 19) ^ chopin_auth__ror64(y, 61) ^ y >> 6);
}
CHOPIN_AUTH__INLINE void chopin_auth__sha512_rounds(uint64_t s[8], uint64_t w[16]) {
    uint64_t a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7];
    for (int i = 0; i < 80; i++) {
        if (i >= 16) w[i & 15] = chopin_auth__sha512_next(w, i);
        h += chopin_auth__sha512_k[i] + w[i & 15] + (chopin_auth__ror64(e, 14) ^ chopin_auth__ror64(e, 18) ^ chopin_auth__ror64(e, 41)) + (g ^ (e & (f ^ g)));
        uint64_t next = h + (chopin_auth__ror64(a, 28) ^ chopin_auth__ror64(a, 34) ^ chopin_auth__ror64(a, 39)) + (b ^ ((a ^ b) & (b ^ c)));
        d += h, h = g, g = f, f = e, e = d, d = c, c = b, b = a, a = next;
    }
    s[0] += a, s[1] += b, s[2] += c, s[3] += d, s[4] += e, s[5] += f, s[6] += g, s[7] += h;
}
#else
#define CHOPIN_AUTH__SHA512_ROUND(a, b, c, d, e, f, g, h, i)                                                                      \
    both = a ^ b;                                                                                                                 \
    h += k[i] + w[i] + (chopin_auth__ror64(e, 14) ^ chopin_auth__ror64(e, 18) ^ chopin_auth__ror64(e, 41)) + (g ^ (e & (f ^ g))); \
    d += h;                                                                                                                       \
    last &= both;                                                                                                                 \
    h += (chopin_auth__ror64(a, 28) ^ chopin_auth__ror64(a, 34) ^ chopin_auth__ror64(a, 39)) + (b ^ last);                        \
    last = both

#define CHOPIN_AUTH__SHA512_NEXT(a, b, c, d, e, f, g, h, i)                                                                                    \
    w[i] += w[((i) + 9) & 15] + (chopin_auth__ror64(w[((i) + 1) & 15], 1) ^ chopin_auth__ror64(w[((i) + 1) & 15], 8) ^ w[((i) + 1) & 15] >> 7) \
        + (chopin_auth__ror64(w[((i) + 14) & 15], 19) ^ chopin_auth__ror64(w[((i) + 14) & 15], 61) ^ w[((i) + 14) & 15] >> 6);                 \
    CHOPIN_AUTH__SHA512_ROUND(a, b, c, d, e, f, g, h, i)

CHOPIN_AUTH__INLINE void chopin_auth__sha512_rounds(uint64_t s[8], uint64_t w[16]) {
    const uint64_t *k = chopin_auth__sha512_k;
    uint64_t a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7], last = b ^ c, both;
    CHOPIN_AUTH__SHA2_EIGHT(CHOPIN_AUTH__SHA512_ROUND, 0);
    CHOPIN_AUTH__SHA2_EIGHT(CHOPIN_AUTH__SHA512_ROUND, 8);
    for (int i = 16; i < 80; i += 16) {
        k += 16;
        CHOPIN_AUTH__SHA2_EIGHT(CHOPIN_AUTH__SHA512_NEXT, 0);
        CHOPIN_AUTH__SHA2_EIGHT(CHOPIN_AUTH__SHA512_NEXT, 8);
    }
    s[0] += a, s[1] += b, s[2] += c, s[3] += d, s[4] += e, s[5] += f, s[6] += g, s[7] += h;
}
#endif

CHOPIN_AUTH__INLINE void chopin_auth__sha512_blocks_body(uint64_t state[8], const uint8_t *p, size_t n) {
    uint64_t w[16];
    for (; n > 0; n--, p += 128) {
        for (int i = 0; i < 16; i++) w[i] = chopin_auth__load64be(p + 8 * i);
        chopin_auth__sha512_rounds(state, w);
    }
    chopin_auth_wipe(w, sizeof w);
}

static CHOPIN_AUTH__NOINLINE void chopin_auth__sha512_blocks_plain(uint64_t state[8], const uint8_t *p, size_t n) { chopin_auth__sha512_blocks_body(state, p, n); }

#if defined(CHOPIN_AUTH__HASH_BMI2)
static CHOPIN_AUTH__TARGET("bmi,bmi2") void chopin_auth__sha512_blocks_bmi2(uint64_t state[8], const uint8_t *p, size_t n) {
    chopin_auth__sha512_blocks_body(state, p, n);
}
#endif

#if defined(CHOPIN_AUTH__ARM)
/* Two rounds: s holds ab, cd, ef, gh; the new ab takes the place of gh, the new ef that of cd, and the caller renames. */
static inline __attribute__((always_inline, target("arch=armv8.2-a+sha3"))) void chopin_auth__armsha512_two(const uint64x2_t *ab, uint64x2_t *cd, const uint64x2_t *ef, uint64x2_t *gh, uint64x2_t w, int round) {
    w = vaddq_u64(w, vld1q_u64(chopin_auth__sha512_k + round));
    w = vaddq_u64(vextq_u64(w, w, 1), *gh);
    w = vsha512hq_u64(w, vextq_u64(*ef, *gh, 1), vextq_u64(*cd, *ef, 1));
    *gh = vsha512h2q_u64(w, *cd, *ab);
    *cd = vaddq_u64(*cd, w);
}

static CHOPIN_AUTH__TARGET("arch=armv8.2-a+sha3") void chopin_auth__armsha512_block(uint64_t s[8], uint64x2_t w[8]) {
    uint64x2_t ab = vld1q_u64(s), cd = vld1q_u64(s + 2), ef = vld1q_u64(s + 4), gh = vld1q_u64(s + 6);
    for (int i = 0; i < 80; i += 8) {
        uint64x2_t *v = w + (i & 8) / 2;                     // four of the eight pairs, and where the others begin
        uint64x2_t *other = w + (~i & 8) / 2;
        chopin_auth__armsha512_two(&ab, &cd, &ef, &gh, v[0], i);
        chopin_auth__armsha512_two(&gh, &ab, &cd, &ef, v[1], i + 2);
        chopin_auth__armsha512_two(&ef, &gh, &ab, &cd, v[2], i + 4);
        chopin_auth__armsha512_two(&cd, &ef, &gh, &ab, v[3], i + 6);
        v[0] = vsha512su1q_u64(vsha512su0q_u64(v[0], v[1]), other[3], vextq_u64(other[0], other[1], 1));
        v[1] = vsha512su1q_u64(vsha512su0q_u64(v[1], v[2]), v[0], vextq_u64(other[1], other[2], 1));
        v[2] = vsha512su1q_u64(vsha512su0q_u64(v[2], v[3]), v[1], vextq_u64(other[2], other[3], 1));
        v[3] = vsha512su1q_u64(vsha512su0q_u64(v[3], other[0]), v[2], vextq_u64(other[3], v[0], 1));
    }
    vst1q_u64(s, vaddq_u64(vld1q_u64(s), ab)), vst1q_u64(s + 2, vaddq_u64(vld1q_u64(s + 2), cd));
    vst1q_u64(s + 4, vaddq_u64(vld1q_u64(s + 4), ef)), vst1q_u64(s + 6, vaddq_u64(vld1q_u64(s + 6), gh));
}

static CHOPIN_AUTH__TARGET("arch=armv8.2-a+sha3") void chopin_auth__sha512_blocks_arm(uint64_t state[8], const uint8_t *p, size_t n) {
    uint64x2_t w[8];
    for (; n > 0; n--, p += 128) {
        for (int i = 0; i < 8; i++) w[i] = vreinterpretq_u64_u8(vrev64q_u8(vld1q_u8(p + 16 * i)));
        chopin_auth__armsha512_block(state, w);
    }
    chopin_auth_wipe(w, sizeof w);
}
#endif

static void chopin_auth__sha512_blocks(uint64_t state[8], const uint8_t *p, size_t n) {
#if defined(CHOPIN_AUTH__HASH_BMI2)
    if (chopin_auth__cpu() & CHOPIN_AUTH__CPU_BMI2) { chopin_auth__sha512_blocks_bmi2(state, p, n); chopin_auth__burn(); return; }
#elif defined(CHOPIN_AUTH__ARM)
    if (chopin_auth__cpu() & CHOPIN_AUTH__CPU_SHA512) { chopin_auth__sha512_blocks_arm(state, p, n); return; }
#endif
    chopin_auth__sha512_blocks_plain(state, p, n);
    chopin_auth__burn();
}

/* ---- SHA-1: for one-time passwords only, so it may be slow and small ---- */
static const uint32_t chopin_auth__sha1_start[8] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0, 0, 0, 0 };

static uint32_t chopin_auth__sha1_mix(int round, uint32_t b, uint32_t c, uint32_t d) {
    if (round < 20) return (d ^ (b & (c ^ d))) + 0x5a827999;
    if (round < 40) return (b ^ c ^ d) + 0x6ed9eba1;
    return round < 60 ? ((b & c) | (d & (b | c))) + 0x8f1bbcdc : (b ^ c ^ d) + 0xca62c1d6;
}

static void chopin_auth__sha1_block(uint32_t s[8], const uint8_t *p) {
    uint32_t a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], w[16];
    for (int i = 0; i < 16; i++) w[i] = chopin_auth__load32be(p + 4 * i);
    for (int i = 0; i < 80; i++) {
        if (i >= 16) w[i & 15] = chopin_auth__ror32(w[(i - 3) & 15] ^ w[(i - 8) & 15] ^ w[(i - 14) & 15] ^ w[i & 15], 31);
        uint32_t next = chopin_auth__ror32(a, 27) + chopin_auth__sha1_mix(i, b, c, d) + e + w[i & 15];
        e = d, d = c, c = chopin_auth__ror32(b, 2), b = a, a = next;
    }
    s[0] += a, s[1] += b, s[2] += c, s[3] += d, s[4] += e;
    chopin_auth_wipe(w, sizeof w);
}

static void chopin_auth__sha1_blocks(uint32_t state[8], const uint8_t *p, size_t n) {
    for (; n > 0; n--, p += 64) chopin_auth__sha1_block(state, p);
}

/* ---- input cut to blocks, and the padding of FIPS 180-4 section 5.1; digests are cut from the state ---- */
static void chopin_auth__narrow_update(chopin_sha256_ctx *c, chopin_str in, chopin_auth__narrow_blocks *blocks) {
    const uint8_t *p = (const uint8_t *)in.ptr;
    size_t fill = (size_t)(c->total & 63), n = in.len;
    if (n == 0) return;
    c->total += n;
    if (fill > 0) {
        size_t take = chopin_auth__min(64 - fill, n);
        memcpy(c->block + fill, p, take);
        p += take, n -= take;
        if (fill + take < 64) return;
        blocks(c->state, c->block, 1);
    }
    if (n >= 64) blocks(c->state, p, n / 64);
    if (n % 64 > 0) memcpy(c->block, p + n / 64 * 64, n % 64);
}

/* Padding and the last block, or two: then the state is the digest. */
static void chopin_auth__narrow_end(chopin_sha256_ctx *c, chopin_auth__narrow_blocks *blocks) {
    size_t fill = (size_t)(c->total & 63);
    c->block[fill++] = 0x80;
    if (fill > 56) {
        memset(c->block + fill, 0, 64 - fill);
        blocks(c->state, c->block, 1);
        fill = 0;
    }
    memset(c->block + fill, 0, 56 - fill);
    chopin_auth__store64be(c->block + 56, c->total << 3);
    blocks(c->state, c->block, 1);
}

static void chopin_auth__narrow_final(chopin_sha256_ctx *c, uint8_t *out, size_t size, chopin_auth__narrow_blocks *blocks) {
    chopin_auth__narrow_end(c, blocks);
    for (size_t i = 0; i < size / 4; i++) chopin_auth__store32be(out + 4 * i, c->state[i]);
    chopin_auth_wipe(c, sizeof *c);
}

static void chopin_auth__wide_update(chopin_sha512_ctx *c, chopin_str in) {
    const uint8_t *p = (const uint8_t *)in.ptr;
    size_t fill = (size_t)(c->total & 127), n = in.len;
    if (n == 0) return;
    c->total += n;
    if (fill > 0) {
        size_t take = chopin_auth__min(128 - fill, n);
        memcpy(c->block + fill, p, take);
        p += take, n -= take;
        if (fill + take < 128) return;
        chopin_auth__sha512_blocks(c->state, c->block, 1);
    }
    if (n >= 128) chopin_auth__sha512_blocks(c->state, p, n / 128);
    if (n % 128 > 0) memcpy(c->block, p + n / 128 * 128, n % 128);
}

static void chopin_auth__wide_end(chopin_sha512_ctx *c) {
    size_t fill = (size_t)(c->total & 127);
    c->block[fill++] = 0x80;
    if (fill > 112) {
        memset(c->block + fill, 0, 128 - fill);
        chopin_auth__sha512_blocks(c->state, c->block, 1);
        fill = 0;
    }
    memset(c->block + fill, 0, 112 - fill);
    chopin_auth__store64be(c->block + 112, c->total >> 61);  // the length has 128 bits and counts bits
    chopin_auth__store64be(c->block + 120, c->total << 3);
    chopin_auth__sha512_blocks(c->state, c->block, 1);
}

static void chopin_auth__wide_final(chopin_sha512_ctx *c, uint8_t *out, size_t size) {
    chopin_auth__wide_end(c);
    for (size_t i = 0; i < size / 8; i++) chopin_auth__store64be(out + 8 * i, c->state[i]);
    chopin_auth_wipe(c, sizeof *c);
}

void chopin_sha256_init(chopin_sha256_ctx *c) {
    memcpy(c->state, chopin_auth__sha256_start, sizeof c->state);
    c->total = 0;
}
void chopin_sha256_update(chopin_sha256_ctx *c, chopin_str in)    { chopin_auth__narrow_update(c, in, chopin_auth__sha256_blocks); }
void chopin_sha256_final(chopin_sha256_ctx *c, uint8_t out[32])   { chopin_auth__narrow_final(c, out, 32, chopin_auth__sha256_blocks); }
void chopin_sha256(chopin_str in, uint8_t out[32]) {
    chopin_sha256_ctx c;
    chopin_sha256_init(&c);
    chopin_sha256_update(&c, in);
    chopin_sha256_final(&c, out);
}

void chopin_sha384_init(chopin_sha512_ctx *c) {
    memcpy(c->state, chopin_auth__sha384_start, sizeof c->state);
    c->total = 0;
}
void chopin_sha384_update(chopin_sha512_ctx *c, chopin_str in)    { chopin_auth__wide_update(c, in); }
void chopin_sha384_final(chopin_sha512_ctx *c, uint8_t out[48])   { chopin_auth__wide_final(c, out, 48); }
void chopin_sha384(chopin_str in, uint8_t out[48]) {
    chopin_sha512_ctx c;
    chopin_sha384_init(&c);
    chopin_sha384_update(&c, in);
    chopin_sha384_final(&c, out);
}

void chopin_sha512_init(chopin_sha512_ctx *c) {
    memcpy(c->state, chopin_auth__sha512_start, sizeof c->state);
    c->total = 0;
}
void chopin_sha512_update(chopin_sha512_ctx *c, chopin_str in)    { chopin_auth__wide_update(c, in); }
void chopin_sha512_final(chopin_sha512_ctx *c, uint8_t out[64])   { chopin_auth__wide_final(c, out, 64); }
void chopin_sha512(chopin_str in, uint8_t out[64]) {
    chopin_sha512_ctx c;
    chopin_sha512_init(&c);
    chopin_sha512_update(&c, in);
    chopin_sha512_final(&c, out);
}

/* ---- any hash, chosen at run time ---- */
typedef struct chopin_auth_hash_ctx chopin_auth__hasher;

static bool   chopin_auth__hash_wide(chopin_auth_hash hash)  { return hash == CHOPIN_AUTH_SHA384 || hash == CHOPIN_AUTH_SHA512; }
static size_t chopin_auth__hash_block(chopin_auth_hash hash) { return chopin_auth__hash_wide(hash) ? 128 : 64; }

/* 0: no such hash. */
static size_t chopin_auth__hash_size(chopin_auth_hash hash) {
    switch (hash) {
    case CHOPIN_AUTH_SHA256: return 32;
    case CHOPIN_AUTH_SHA384: return 48;
    case CHOPIN_AUTH_SHA512: return 64;
    case CHOPIN_AUTH_SHA1:   return 20;
    }
    return 0;
}

static void chopin_auth__hash_init(chopin_auth__hasher *h, chopin_auth_hash hash) {
    CHOPIN_AUTH_ASSERT(chopin_auth__hash_size(hash) != 0);
    h->hash = hash;
    if (hash == CHOPIN_AUTH_SHA384) {
        chopin_sha384_init(&h->c.wide);
    } else if (hash == CHOPIN_AUTH_SHA512) {
        chopin_sha512_init(&h->c.wide);
    } else {
        chopin_sha256_init(&h->c.narrow);
        if (hash == CHOPIN_AUTH_SHA1) memcpy(h->c.narrow.state, chopin_auth__sha1_start, sizeof chopin_auth__sha1_start);
    }
}

static void chopin_auth__hash_update(chopin_auth__hasher *h, chopin_str in) {
    if (chopin_auth__hash_wide(h->hash)) chopin_auth__wide_update(&h->c.wide, in);
    else chopin_auth__narrow_update(&h->c.narrow, in, h->hash == CHOPIN_AUTH_SHA1 ? chopin_auth__sha1_blocks : chopin_auth__sha256_blocks);
}

static void chopin_auth__hash_final(chopin_auth__hasher *h, uint8_t *out) {
    size_t size = chopin_auth__hash_size(h->hash);
    if (chopin_auth__hash_wide(h->hash)) chopin_auth__wide_final(&h->c.wide, out, size);
    else chopin_auth__narrow_final(&h->c.narrow, out, size, h->hash == CHOPIN_AUTH_SHA1 ? chopin_auth__sha1_blocks : chopin_auth__sha256_blocks);
}

static CHOPIN_AUTH__UNUSED void chopin_auth__hash_all(chopin_auth_hash hash, chopin_str in, uint8_t *out) {
    chopin_auth__hasher h;
    chopin_auth__hash_init(&h, hash);
    chopin_auth__hash_update(&h, in);
    chopin_auth__hash_final(&h, out);
}

/* ---- BLAKE2b ---- */
static const uint8_t chopin_auth__blake2b_order[10][16] = {
    {  0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15 }, { 14, 10,  4,  8,  9, 15, 13,  6,  1, 12,  0,  2, 11,  7,  5,  3 },
    { 11,  8, 12,  0,  5,  2, 15, 13, 10, 14,  3,  6,  7,  1,  9,  4 }, {  7,  9,  3,  1, 13, 12, 11, 14,  2,  6,  5, 10,  4,  0, 15,  8 },
    {  9,  0,  5,  7,  2,  4, 10, 15, 14,  1, 11, 12,  6,  8,  3, 13 }, {  2, 12,  6, 10,  0, 11,  8,  3,  4, 13,  7,  5, 15, 14,  1,  9 },
    { 12,  5,  1, 15, 14, 13,  4, 10,  0,  7,  6,  3,  9,  2,  8, 11 }, { 13, 11,  7, 14, 12,  1,  3,  9,  5,  0, 15,  4,  8,  6,  2, 10 },
    {  6, 15, 14,  9, 11,  3,  0,  8, 12,  2, 13,  7,  1,  4, 10,  5 }, { 10,  2,  8,  4,  7,  6,  1,  5, 15, 11,  9, 14,  3, 12, 13,  0 }
};

CHOPIN_AUTH__INLINE void chopin_auth__blake2b_mix(uint64_t v[16], int a, int b, int c, int d, uint64_t x, uint64_t y) {
    v[a] += v[b] + x, v[d] = chopin_auth__ror64(v[d] ^ v[a], 32);
    v[c] += v[d],     v[b] = chopin_auth__ror64(v[b] ^ v[c], 24);
    v[a] += v[b] + y, v[d] = chopin_auth__ror64(v[d] ^ v[a], 16);
    v[c] += v[d],     v[b] = chopin_auth__ror64(v[b] ^ v[c], 63);
}

static void chopin_auth__blake2b_round(uint64_t v[16], const uint64_t m[16], const uint8_t order[16]) {
    for (int i = 0; i < 4; i++) chopin_auth__blake2b_mix(v, i, i + 4, i + 8, i + 12, m[order[2 * i]], m[order[2 * i + 1]]);
    for (int i = 0; i < 4; i++) chopin_auth__blake2b_mix(v, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, m[order[8 + 2 * i]], m[order[9 + 2 * i]]);
}

static void chopin_auth__blake2b_compress(chopin_blake2b_ctx *c, const uint8_t *block, bool last) {
    uint64_t v[16], m[16];
    for (int i = 0; i < 16; i++) m[i] = chopin_auth__load64le(block + 8 * i);
    memcpy(v, c->state, sizeof c->state);
    memcpy(v + 8, chopin_auth__sha512_start, sizeof chopin_auth__sha512_start);    // the same constants (RFC 7693 section 2.6)
    v[12] ^= c->total;                                       // the counter's upper half stays 0: nobody hashes 2^64 bytes
    if (last) v[14] = ~v[14];
    for (int i = 0; i < 12; i++) chopin_auth__blake2b_round(v, m, chopin_auth__blake2b_order[i % 10]);
    for (int i = 0; i < 8; i++) c->state[i] ^= v[i] ^ v[i + 8];
    chopin_auth_wipe(v, sizeof v);
    chopin_auth_wipe(m, sizeof m);
}

int chopin_blake2b_init(chopin_blake2b_ctx *c, size_t size, chopin_str key) {
    memset(c, 0, sizeof *c);
    if (size < 1 || size > 64 || key.len > 64) return CHOPIN_AUTH_SIZE;
    memcpy(c->state, chopin_auth__sha512_start, sizeof c->state);
    c->state[0] ^= UINT64_C(0x01010000) ^ (uint64_t)key.len << 8 ^ (uint64_t)size;
    c->size = size;
    if (key.len > 0) {                                       // a block of its own, filled up with zeros
        memcpy(c->block, key.ptr, key.len);
        c->fill = sizeof c->block;
    }
    return CHOPIN_AUTH_OK;
}

void chopin_blake2b_update(chopin_blake2b_ctx *c, chopin_str in) {
    const uint8_t *p = (const uint8_t *)in.ptr;
    for (size_t n = in.len, take; n > 0; p += take, n -= take) {
        if (c->fill == sizeof c->block) {                    // more follows, so this was not the last block
            c->total += c->fill;
            chopin_auth__blake2b_compress(c, c->block, false);
            c->fill = 0;
        }
        take = chopin_auth__min(sizeof c->block - c->fill, n);
        memcpy(c->block + c->fill, p, take);
        c->fill += take;
    }
}

void chopin_blake2b_final(chopin_blake2b_ctx *c, uint8_t *out) {
    uint8_t digest[64];
    c->total += c->fill;
    memset(c->block + c->fill, 0, sizeof c->block - c->fill);
    chopin_auth__blake2b_compress(c, c->block, true);
    for (int i = 0; i < 8; i++) chopin_auth__store64le(digest + 8 * i, c->state[i]);
    memcpy(out, digest, c->size);
    chopin_auth_wipe(digest, sizeof digest);
    chopin_auth_wipe(c, sizeof *c);
}

void chopin_blake2b(chopin_str in, uint8_t out[64]) {
    chopin_blake2b_ctx c;
    if (chopin_blake2b_init(&c, 64, chopin_auth__str(NULL, 0)) != CHOPIN_AUTH_OK) return;    // cannot be
    chopin_blake2b_update(&c, in);
    chopin_blake2b_final(&c, out);
}

/* ==========================================================================================================
   >>mac   HMAC (RFC 2104)
   A key is the two hash states behind its pads. A message then costs its own blocks and two more, and one that is
   handed over whole is hashed from where it lies.
   ========================================================================================================== */
/* The state of `h` after exactly one block of secret ^ pad. */
static void chopin_auth__hmac_pad(chopin_hmac *k, chopin_hmac_state *state, const uint8_t secret[128], uint8_t pad) {
    uint8_t block[128];
    chopin_auth__hasher h;
    for (size_t i = 0; i < sizeof block; i++) block[i] = secret[i] ^ pad;
    chopin_auth__hash_init(&h, k->hash);
    chopin_auth__hash_update(&h, chopin_auth__str(block, chopin_auth__hash_block(k->hash)));
    if (chopin_auth__hash_wide(k->hash)) memcpy(state->wide, h.c.wide.state, sizeof state->wide);
    else memcpy(state->narrow, h.c.narrow.state, sizeof state->narrow);
    chopin_auth_wipe(block, sizeof block);
    chopin_auth_wipe(&h, sizeof h);
}

/* For any hash, SHA-1 too: the hash must be one of ours. */
static void chopin_auth__hmac_key(chopin_hmac *k, chopin_auth_hash hash, chopin_str secret) {
    uint8_t block[128] = { 0 };
    memset(k, 0, sizeof *k);
    k->hash = hash;
    if (secret.len > chopin_auth__hash_block(hash)) chopin_auth__hash_all(hash, secret, block);
    else if (secret.len > 0) memcpy(block, secret.ptr, secret.len);
    chopin_auth__hmac_pad(k, &k->inner, block, 0x36);
    chopin_auth__hmac_pad(k, &k->outer, block, 0x5c);
    chopin_auth_wipe(block, sizeof block);
}

/* What every public call says to a hash: 0, ARG or UNSUPPORTED. */
static int chopin_auth__hash_allowed(chopin_auth_hash hash) {
    if (chopin_auth__hash_size(hash) == 0) return CHOPIN_AUTH_ARG;
    return hash == CHOPIN_AUTH_SHA1 ? CHOPIN_AUTH_UNSUPPORTED : CHOPIN_AUTH_OK;
}

int chopin_hmac_key(chopin_hmac *k, chopin_auth_hash hash, chopin_str secret) {
    int rc = chopin_auth__hash_allowed(hash);
    memset(k, 0, sizeof *k);
    if (rc == CHOPIN_AUTH_OK) chopin_auth__hmac_key(k, hash, secret);
    return rc;
}

static void chopin_auth__hmac_load(chopin_auth__hasher *h, const chopin_hmac *k, const chopin_hmac_state *state) {
    CHOPIN_AUTH_ASSERT(chopin_auth__hash_size(k->hash) != 0);    // a key that was never made, or whose status was ignored
    h->hash = k->hash;
    if (chopin_auth__hash_wide(k->hash)) {
        memcpy(h->c.wide.state, state->wide, sizeof state->wide);
        h->c.wide.total = 128;
    } else {
        memcpy(h->c.narrow.state, state->narrow, sizeof state->narrow);
        h->c.narrow.total = 64;
    }
}

/* The end of the inner hash, whose digest goes into the one block of the outer one without leaving the context. */
static void chopin_auth__hmac_close_narrow(const chopin_hmac *k, chopin_sha256_ctx *c, uint8_t *out, chopin_auth__narrow_blocks *blocks) {
    size_t size = chopin_auth__hash_size(k->hash);
    chopin_auth__narrow_end(c, blocks);
    for (size_t i = 0; i < size / 4; i++) chopin_auth__store32be(c->block + 4 * i, c->state[i]);
    memcpy(c->state, k->outer.narrow, sizeof c->state);
    c->total = 64 + size;
    chopin_auth__narrow_final(c, out, size, blocks);
}

static void chopin_auth__hmac_close_wide(const chopin_hmac *k, chopin_sha512_ctx *c, uint8_t *out) {
    size_t size = chopin_auth__hash_size(k->hash);
    chopin_auth__wide_end(c);
    for (size_t i = 0; i < size / 8; i++) chopin_auth__store64be(c->block + 8 * i, c->state[i]);
    memcpy(c->state, k->outer.wide, sizeof c->state);
    c->total = 128 + size;
    chopin_auth__wide_final(c, out, size);
}

static void chopin_auth__hmac_close(const chopin_hmac *k, chopin_auth__hasher *h, uint8_t *out) {
    if (chopin_auth__hash_wide(k->hash)) chopin_auth__hmac_close_wide(k, &h->c.wide, out);
    else chopin_auth__hmac_close_narrow(k, &h->c.narrow, out, k->hash == CHOPIN_AUTH_SHA1 ? chopin_auth__sha1_blocks : chopin_auth__sha256_blocks);
}

void chopin_hmac_sign(const chopin_hmac *k, chopin_str message, uint8_t *out) {
    chopin_auth__hasher h;
    chopin_auth__hmac_load(&h, k, &k->inner);
    chopin_auth__hash_update(&h, message);
    chopin_auth__hmac_close(k, &h, out);
}

int chopin_hmac_check(const chopin_hmac *k, chopin_str message, chopin_str mac) {
    uint8_t ours[CHOPIN_AUTH_HASH_MAX];
    size_t size = chopin_auth__hash_size(k->hash);
    if (size == 0 || mac.len != size) return CHOPIN_AUTH_SIZE;
    chopin_hmac_sign(k, message, ours);
    bool same = chopin_auth_equal(ours, mac.ptr, size);
    chopin_auth_wipe(ours, sizeof ours);
    return same ? CHOPIN_AUTH_OK : CHOPIN_AUTH_SIGNATURE;
}

void chopin_hmac_init(chopin_hmac_ctx *c, const chopin_hmac *k) {
    c->key = k;
    chopin_auth__hmac_load(&c->h, k, &k->inner);
}
void chopin_hmac_update(chopin_hmac_ctx *c, chopin_str in) { chopin_auth__hash_update(&c->h, in); }
void chopin_hmac_final(chopin_hmac_ctx *c, uint8_t *out) {
    chopin_auth__hmac_close(c->key, &c->h, out);
}
void chopin_hmac_done(chopin_hmac *k) { chopin_auth_wipe(k, sizeof *k); }

/* ==========================================================================================================
   >>kdf   HKDF (RFC 5869), PBKDF2 (RFC 8018), Argon2 (RFC 9106), scrypt (RFC 7914), bcrypt
   The memory-hard ones do all their work in one arena, so nothing big is ever on the stack. Their limits stand in one
   function each, the one that says how large the arena must be: whoever asks for the size has asked for permission.
   ========================================================================================================== */

/* A key-derivation call failed: no caller shall find something in `out` that looks like a key. */
static int chopin_auth__kdf_refuse(uint8_t *out, size_t n, int rc) {
    if (out && n > 0) chopin_auth_wipe(out, n);
    return rc;
}

/* ---- HKDF ---- */
int chopin_hkdf_extract(chopin_auth_hash hash, chopin_str salt, chopin_str ikm, uint8_t *prk) {
    chopin_hmac k;
    int rc = chopin_hmac_key(&k, hash, salt);                // an absent salt is a block of zeros, as HMAC fills it up
    if (rc < 0) return chopin_auth__kdf_refuse(prk, chopin_auth__hash_size(hash), rc);
    chopin_hmac_sign(&k, ikm, prk);
    chopin_hmac_done(&k);
    return CHOPIN_AUTH_OK;
}

static void chopin_auth__hkdf_blocks(const chopin_hmac *k, chopin_str info, uint8_t *out, size_t n) {
    uint8_t block[CHOPIN_AUTH_HASH_MAX], count = 0;
    size_t size = chopin_auth__hash_size(k->hash), take;
    chopin_hmac_ctx c;
    for (; n > 0; out += take, n -= take) {
        chopin_hmac_init(&c, k);
        chopin_hmac_update(&c, chopin_auth__str(block, count > 0 ? size : 0));
        chopin_hmac_update(&c, info);
        count++;
        chopin_hmac_update(&c, chopin_auth__str(&count, 1));
        chopin_hmac_final(&c, block);
        take = chopin_auth__min(size, n);
        memcpy(out, block, take);
    }
    chopin_auth_wipe(block, sizeof block);
}

int chopin_hkdf_expand(chopin_auth_hash hash, chopin_str prk, chopin_str info, uint8_t *out, size_t n) {
    chopin_hmac k;
    size_t size = chopin_auth__hash_size(hash);
    int rc = chopin_auth__hash_allowed(hash);
    if (rc == CHOPIN_AUTH_OK && (n == 0 || n > 255 * size || prk.len < size)) rc = CHOPIN_AUTH_SIZE;
    if (rc == CHOPIN_AUTH_OK) rc = chopin_hmac_key(&k, hash, prk);
    if (rc != CHOPIN_AUTH_OK) return chopin_auth__kdf_refuse(out, n, rc);
    chopin_auth__hkdf_blocks(&k, info, out, n);
    chopin_hmac_done(&k);
    return CHOPIN_AUTH_OK;
}

/* ---- PBKDF2: u is the last HMAC, t the sum of all, both as state words; `rounds` more are added ---- */

/* The second block of both hashes: a digest and its filling never change place, so it is prepared once. */
static void chopin_auth__pbkdf2_narrow_rounds(const chopin_hmac *k, uint32_t u[8], uint32_t t[8], uint32_t rounds) {
    chopin_auth__narrow_blocks *blocks = k->hash == CHOPIN_AUTH_SHA1 ? chopin_auth__sha1_blocks : chopin_auth__sha256_blocks;
    size_t words = chopin_auth__hash_size(k->hash) / 4;
    uint8_t block[64] = { 0 };
    block[4 * words] = 0x80;
    chopin_auth__store32be(block + 60, (uint32_t)(8 * (64 + 4 * words)));
    for (; rounds > 0; rounds--) {
        for (size_t i = 0; i < words; i++) chopin_auth__store32be(block + 4 * i, u[i]);
        memcpy(u, k->inner.narrow, sizeof k->inner.narrow);
        blocks(u, block, 1);
        for (size_t i = 0; i < words; i++) chopin_auth__store32be(block + 4 * i, u[i]);
        memcpy(u, k->outer.narrow, sizeof k->outer.narrow);
        blocks(u, block, 1);
        for (size_t i = 0; i < words; i++) t[i] ^= u[i];
    }
    chopin_auth_wipe(block, sizeof block);
}

/* The digest in w becomes the next one: words all the way, since nothing here is read or written as bytes. */
CHOPIN_AUTH__INLINE void chopin_auth__pbkdf2_wide_step(uint64_t u[8], uint64_t w[16], const uint64_t start[8], size_t words) {
    for (size_t i = 0; i < 8; i++) w[i] = i < words ? u[i] : 0, u[i] = start[i];
    for (size_t i = 8; i < 16; i++) w[i] = 0;
    w[words] = UINT64_C(1) << 63;
    w[15] = 8 * (128 + 8 * words);
    chopin_auth__sha512_rounds(u, w);
}

CHOPIN_AUTH__INLINE void chopin_auth__pbkdf2_wide_body(const chopin_hmac *k, uint64_t u[8], uint64_t t[8], uint32_t rounds) {
    size_t words = chopin_auth__hash_size(k->hash) / 8;
    uint64_t w[16];
    for (uint64_t half = 0; half < 2 * (uint64_t)rounds; half++) {
        chopin_auth__pbkdf2_wide_step(u, w, half % 2 ? k->outer.wide : k->inner.wide, words);
        for (size_t i = 0; i < 8 && half % 2; i++) t[i] ^= u[i];
    }
    chopin_auth_wipe(w, sizeof w);
}

#if defined(CHOPIN_AUTH__HASH_BMI2)
static CHOPIN_AUTH__TARGET("bmi,bmi2") void chopin_auth__pbkdf2_wide_bmi2(const chopin_hmac *k, uint64_t u[8], uint64_t t[8], uint32_t rounds) {
    chopin_auth__pbkdf2_wide_body(k, u, t, rounds);
}
#elif defined(CHOPIN_AUTH__ARM)
static void chopin_auth__pbkdf2_wide_arm(const chopin_hmac *k, uint64_t u[8], uint64_t t[8], uint32_t rounds) {
    size_t words = chopin_auth__hash_size(k->hash) / 8;
    uint8_t block[128] = { 0 };
    block[8 * words] = 0x80;
    chopin_auth__store32be(block + 124, (uint32_t)(8 * (128 + 8 * words)));
    for (uint64_t half = 0; half < 2 * (uint64_t)rounds; half++) {
        for (size_t i = 0; i < words; i++) chopin_auth__store64be(block + 8 * i, u[i]);
        memcpy(u, half % 2 ? k->outer.wide : k->inner.wide, sizeof k->inner.wide);
        chopin_auth__sha512_blocks_arm(u, block, 1);
        for (size_t i = 0; i < 8 && half % 2; i++) t[i] ^= u[i];
    }
    chopin_auth_wipe(block, sizeof block);
}
#endif

static void chopin_auth__pbkdf2_wide_rounds(const chopin_hmac *k, uint64_t u[8], uint64_t t[8], uint32_t rounds) {
#if defined(CHOPIN_AUTH__HASH_BMI2)
    if (chopin_auth__cpu() & CHOPIN_AUTH__CPU_BMI2) { chopin_auth__pbkdf2_wide_bmi2(k, u, t, rounds); return; }
#elif defined(CHOPIN_AUTH__ARM)
    if (chopin_auth__cpu() & CHOPIN_AUTH__CPU_SHA512) { chopin_auth__pbkdf2_wide_arm(k, u, t, rounds); return; }
#endif
    chopin_auth__pbkdf2_wide_body(k, u, t, rounds);
}

#if defined(CHOPIN_AUTH__X86)
/* SHA-256 without leaving the registers: digest words become message words by two shuffles. */
static CHOPIN_AUTH__TARGET("sha,sse4.1,ssse3") void chopin_auth__pbkdf2_shani_rounds(const chopin_hmac *k, uint32_t u[8], uint32_t t[8], uint32_t rounds) {
    const __m128i end = _mm_set_epi32(0, 0, 0, INT32_MIN), size = _mm_set_epi32(8 * (64 + 32), 0, 0, 0);
    chopin_auth__shani inner = chopin_auth__shani_load(k->inner.narrow), outer = chopin_auth__shani_load(k->outer.narrow);
    chopin_auth__shani s = chopin_auth__shani_load(u), sum = chopin_auth__shani_load(t);
    for (; rounds > 0; rounds--) {
        s = chopin_auth__shani_block(inner, chopin_auth__shani_low(s), chopin_auth__shani_high(s), end, size);
        s = chopin_auth__shani_block(outer, chopin_auth__shani_low(s), chopin_auth__shani_high(s), end, size);
        sum.abef = _mm_xor_si128(sum.abef, s.abef);
        sum.cdgh = _mm_xor_si128(sum.cdgh, s.cdgh);
    }
    chopin_auth__shani_store(t, sum);
}
#elif defined(CHOPIN_AUTH__ARM)
static CHOPIN_AUTH__TARGET("+crypto") void chopin_auth__pbkdf2_arm_rounds(const chopin_hmac *k, uint32_t u[8], uint32_t t[8], uint32_t rounds) {
    const uint32x4_t end = { 0x80000000u, 0, 0, 0 }, size = { 0, 0, 0, 8 * (64 + 32) };
    chopin_auth__armsha inner = { vld1q_u32(k->inner.narrow), vld1q_u32(k->inner.narrow + 4) }, outer = { vld1q_u32(k->outer.narrow), vld1q_u32(k->outer.narrow + 4) };
    chopin_auth__armsha s = { vld1q_u32(u), vld1q_u32(u + 4) }, sum = { vld1q_u32(t), vld1q_u32(t + 4) };
    for (; rounds > 0; rounds--) {
        s = chopin_auth__armsha_block(inner, s.abcd, s.efgh, end, size);
        s = chopin_auth__armsha_block(outer, s.abcd, s.efgh, end, size);
        sum.abcd = veorq_u32(sum.abcd, s.abcd), sum.efgh = veorq_u32(sum.efgh, s.efgh);
    }
    vst1q_u32(t, sum.abcd), vst1q_u32(t + 4, sum.efgh);
}
#endif

static void chopin_auth__pbkdf2_narrow(const chopin_hmac *k, uint8_t digest[64], uint32_t rounds) {
    uint32_t u[8] = { 0 }, t[8];
    size_t words = chopin_auth__hash_size(k->hash) / 4;
    for (size_t i = 0; i < words; i++) u[i] = chopin_auth__load32be(digest + 4 * i);
    memcpy(t, u, sizeof t);
#if defined(CHOPIN_AUTH__X86)
    if (k->hash == CHOPIN_AUTH_SHA256 && (chopin_auth__cpu() & CHOPIN_AUTH__CPU_SHANI)) chopin_auth__pbkdf2_shani_rounds(k, u, t, rounds);
    else
#elif defined(CHOPIN_AUTH__ARM)
    if (k->hash == CHOPIN_AUTH_SHA256 && (chopin_auth__cpu() & CHOPIN_AUTH__CPU_SHA2)) chopin_auth__pbkdf2_arm_rounds(k, u, t, rounds);
    else
#endif
        chopin_auth__pbkdf2_narrow_rounds(k, u, t, rounds);
    for (size_t i = 0; i < words; i++) chopin_auth__store32be(digest + 4 * i, t[i]);
    chopin_auth_wipe(u, sizeof u);
    chopin_auth_wipe(t, sizeof t);
}

static void chopin_auth__pbkdf2_wide(const chopin_hmac *k, uint8_t digest[64], uint32_t rounds) {
    uint64_t u[8] = { 0 }, t[8];
    size_t words = chopin_auth__hash_size(k->hash) / 8;
    for (size_t i = 0; i < words; i++) u[i] = chopin_auth__load64be(digest + 8 * i);
    memcpy(t, u, sizeof t);
    chopin_auth__pbkdf2_wide_rounds(k, u, t, rounds);
    for (size_t i = 0; i < words; i++) chopin_auth__store64be(digest + 8 * i, t[i]);
    chopin_auth_wipe(u, sizeof u);
    chopin_auth_wipe(t, sizeof t);
}

/* Under a prepared key of any hash; the arguments are checked. */
static void chopin_auth__pbkdf2(const chopin_hmac *k, chopin_str salt, uint32_t rounds, uint8_t *out, size_t n) {
    uint8_t digest[CHOPIN_AUTH_HASH_MAX], number[4];
    size_t take;
    chopin_hmac_ctx c;
    for (uint32_t i = 1; n > 0; i++, out += take, n -= take) {
        chopin_auth__store32be(number, i);
        chopin_hmac_init(&c, k);
        chopin_hmac_update(&c, salt);
        chopin_hmac_update(&c, chopin_auth__str(number, sizeof number));
        chopin_hmac_final(&c, digest);
        if (chopin_auth__hash_wide(k->hash)) chopin_auth__pbkdf2_wide(k, digest, rounds - 1);
        else chopin_auth__pbkdf2_narrow(k, digest, rounds - 1);
        take = chopin_auth__min(chopin_auth__hash_size(k->hash), n);
        memcpy(out, digest, take);
    }
    chopin_auth_wipe(digest, sizeof digest);
}

int chopin_pbkdf2_raw(chopin_auth_hash hash, chopin_str password, chopin_str salt, uint32_t rounds, uint8_t *out, size_t n) {
    chopin_hmac k;
    int rc = chopin_auth__hash_allowed(hash);
    if (rc == CHOPIN_AUTH_OK && (rounds < 1 || rounds > CHOPIN_AUTH_PBKDF2_MAX)) rc = CHOPIN_AUTH_LIMIT;
    if (rc == CHOPIN_AUTH_OK && (n == 0 || n > 1u << 20)) rc = CHOPIN_AUTH_SIZE;
    if (rc == CHOPIN_AUTH_OK) rc = chopin_hmac_key(&k, hash, password);
    if (rc < 0) return chopin_auth__kdf_refuse(out, n, rc);
    chopin_auth__pbkdf2(&k, salt, rounds, out, n);
    chopin_hmac_done(&k);
    return CHOPIN_AUTH_OK;
}

/* ---- arenas ---- */
#define CHOPIN_AUTH__HUGE ((size_t)2 << 20)

static size_t chopin_auth__arena_round(size_t size) {
    size_t unit = size >= CHOPIN_AUTH__HUGE ? CHOPIN_AUTH__HUGE : (size_t)65536;     // a multiple of every page size we know
    return (size + unit - 1) / unit * unit;
}

/* Memory for secrets: large ones 2 MiB aligned with huge pages asked for, never in a core dump. NULL: there is none. */
static void *chopin_auth__arena_map(size_t size) {
    size_t whole = chopin_auth__arena_round(size), unit = whole >= CHOPIN_AUTH__HUGE ? CHOPIN_AUTH__HUGE : (size_t)65536;
    char *all = mmap(NULL, whole + unit, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if ((void *)all == MAP_FAILED) return NULL;
    size_t before = (unit - (size_t)((uintptr_t)all % unit)) % unit;
    if (before > 0) munmap(all, before);
    munmap(all + before + whole, unit - before);
#ifdef MADV_HUGEPAGE
    if (unit == CHOPIN_AUTH__HUGE) madvise(all + before, whole, MADV_HUGEPAGE);
#endif
#ifdef MADV_DONTDUMP
    madvise(all + before, whole, MADV_DONTDUMP);
#endif
    return all + before;
}

static void chopin_auth__arena_unmap(void *p, size_t size) {
    if (p) munmap(p, chopin_auth__arena_round(size));
}

/* The caller's arena, or one of our own for this call. Its end wipes the former and returns the latter, whose pages the system clears. */
typedef struct chopin_auth__arena { void *p; size_t size; bool ours; } chopin_auth__arena;

static CHOPIN_AUTH__UNUSED int chopin_auth__arena_begin(chopin_auth__arena *a, void *arena, size_t size, size_t need) {
    *a = (chopin_auth__arena){ arena, need, arena == NULL };
    if (need == 0) return CHOPIN_AUTH_LIMIT;
    if (arena && (uintptr_t)arena % 64 != 0) return CHOPIN_AUTH_ARG;
    if (arena) return size < need ? CHOPIN_AUTH_BUFFER : CHOPIN_AUTH_OK;
    a->p = chopin_auth__arena_map(need);
    return a->p ? CHOPIN_AUTH_OK : CHOPIN_AUTH_MEMORY;
}

static CHOPIN_AUTH__UNUSED void chopin_auth__arena_end(chopin_auth__arena *a) {
    if (a->ours) chopin_auth__arena_unmap(a->p, a->size);
    else chopin_auth_wipe(a->p, a->size);
}

#ifndef CHOPIN_AUTH_NO_ARGON2
/* ---- Argon2. Words of a block are in native order; only what enters and leaves is little-endian ---- */
typedef struct chopin_auth__argon2_block { uint64_t w[128]; } chopin_auth__argon2_block;

typedef struct chopin_auth__argon2 chopin_auth__argon2;
struct chopin_auth__argon2 {
    chopin_auth__argon2_block *memory;         // lane after lane
    chopin_auth__argon2_block *zero, *input, *addresses, *work;
    uint32_t kind, passes, lanes, lane, segment, blocks;    // lane and segment: their lengths in blocks
    void (*fill)(const chopin_auth__argon2_block *previous, const chopin_auth__argon2_block *reference, chopin_auth__argon2_block *out, chopin_auth__argon2_block *work, bool add);
};

typedef struct chopin_auth__argon2_place { uint32_t pass, lane, slice, index; } chopin_auth__argon2_place;

/* H' of RFC 9106 3.3: a digest of any length. */
static void chopin_auth__argon2_long_hash(chopin_str in, uint8_t *out, uint32_t n) {
    uint8_t size[4], v[64];
    uint32_t now = n <= 64 ? n : 64;
    chopin_blake2b_ctx c;
    chopin_auth__store32le(size, n);
    int rc = chopin_blake2b_init(&c, now, chopin_auth__str(NULL, 0));
    chopin_blake2b_update(&c, chopin_auth__str(size, sizeof size));
    chopin_blake2b_update(&c, in);
    chopin_blake2b_final(&c, v);
    for (; rc == CHOPIN_AUTH_OK && n > 64; out += 32) {      // half of each digest leaves, all of the last
        memcpy(out, v, 32);
        n -= 32;
        now = n <= 64 ? n : 64;
        rc = chopin_blake2b_init(&c, now, chopin_auth__str(NULL, 0));
        chopin_blake2b_update(&c, chopin_auth__str(v, 64));
        chopin_blake2b_final(&c, v);
    }
    memcpy(out, v, now);
    chopin_auth_wipe(v, sizeof v);
}

static void chopin_auth__argon2_put32(chopin_blake2b_ctx *c, uint32_t v) {
    uint8_t bytes[4];
    chopin_auth__store32le(bytes, v);
    chopin_blake2b_update(c, chopin_auth__str(bytes, sizeof bytes));
}
static void chopin_auth__argon2_put(chopin_blake2b_ctx *c, chopin_str in) {
    chopin_auth__argon2_put32(c, (uint32_t)in.len);
    chopin_blake2b_update(c, in);
}

/* H0 of RFC 9106 3.2: all parameters and inputs in one digest. */
static void chopin_auth__argon2_first_hash(const chopin_argon2_options *o, chopin_str password, chopin_str salt, size_t n, uint8_t out[64]) {
    const uint32_t numbers[6] = { o->p, (uint32_t)n, o->m_kib, o->t, 0x13, (uint32_t)o->kind };
    chopin_blake2b_ctx c;
    if (chopin_blake2b_init(&c, 64, chopin_auth__str(NULL, 0)) != CHOPIN_AUTH_OK) return;     // cannot be
    for (int i = 0; i < 6; i++) chopin_auth__argon2_put32(&c, numbers[i]);
    chopin_auth__argon2_put(&c, password);
    chopin_auth__argon2_put(&c, salt);
    chopin_auth__argon2_put(&c, o->secret);
    chopin_auth__argon2_put(&c, o->data);
    chopin_blake2b_final(&c, out);
}

/* The first two blocks of every lane. */
static void chopin_auth__argon2_start(chopin_auth__argon2 *a, const uint8_t h0[64]) {
    uint8_t seed[72], *bytes = (uint8_t *)a->input->w;       // a scratch block; rewritten before it serves its purpose
    memcpy(seed, h0, 64);
    for (uint32_t i = 0; i < 2 * a->lanes; i++) {
        chopin_auth__argon2_block *b = a->memory + (size_t)(i / 2) * a->lane + i % 2;
        chopin_auth__store32le(seed + 64, i % 2);
        chopin_auth__store32le(seed + 68, i / 2);
        chopin_auth__argon2_long_hash(chopin_auth__str(seed, sizeof seed), bytes, 1024);
        for (int j = 0; j < 128; j++) b->w[j] = chopin_auth__load64le(bytes + 8 * j);
    }
    chopin_auth_wipe(seed, sizeof seed);
}

/* The permutation P on sixteen words: BLAKE2b's round with a multiplication in its additions. */
CHOPIN_AUTH__INLINE uint64_t chopin_auth__argon2_add(uint64_t a, uint64_t b) { return a + b + 2 * (uint64_t)(uint32_t)a * (uint32_t)b; }

#define CHOPIN_AUTH__ARGON2_MIX(a, b, c, d)                                                                     \
    a = chopin_auth__argon2_add(a, b), d = chopin_auth__ror64(d ^ a, 32);                                       \
    c = chopin_auth__argon2_add(c, d), b = chopin_auth__ror64(b ^ c, 24);                                       \
    a = chopin_auth__argon2_add(a, b), d = chopin_auth__ror64(d ^ a, 16);                                       \
    c = chopin_auth__argon2_add(c, d), b = chopin_auth__ror64(b ^ c, 63)

/* Words at w, w + 1, then `step` further on the next two, and so on. */
CHOPIN_AUTH__INLINE void chopin_auth__argon2_permute(uint64_t *w, size_t step) {
    uint64_t *q = w + step, *r = q + step, *s = r + step, *t = s + step, *u = t + step, *v = u + step, *x = v + step;
    uint64_t a0 = w[0], a1 = w[1], a2 = q[0], a3 = q[1], b0 = r[0], b1 = r[1], b2 = s[0], b3 = s[1];
    uint64_t c0 = t[0], c1 = t[1], c2 = u[0], c3 = u[1], d0 = v[0], d1 = v[1], d2 = x[0], d3 = x[1];
    CHOPIN_AUTH__ARGON2_MIX(a0, b0, c0, d0);
    CHOPIN_AUTH__ARGON2_MIX(a1, b1, c1, d1);
    CHOPIN_AUTH__ARGON2_MIX(a2, b2, c2, d2);
    CHOPIN_AUTH__ARGON2_MIX(a3, b3, c3, d3);
    CHOPIN_AUTH__ARGON2_MIX(a0, b1, c2, d3);
    CHOPIN_AUTH__ARGON2_MIX(a1, b2, c3, d0);
    CHOPIN_AUTH__ARGON2_MIX(a2, b3, c0, d1);
    CHOPIN_AUTH__ARGON2_MIX(a3, b0, c1, d2);
    w[0] = a0, w[1] = a1, q[0] = a2, q[1] = a3, r[0] = b0, r[1] = b1, s[0] = b2, s[1] = b3;
    t[0] = c0, t[1] = c1, u[0] = c2, u[1] = c3, v[0] = d0, v[1] = d1, x[0] = d2, x[1] = d3;
}

/* G of RFC 9106 3.5; `add`: in later passes the old block is added to the new one. `out` may be `reference`; `work` is in the arena, so it need not be wiped
 * block by block. */
static void chopin_auth__argon2_fill_plain(const chopin_auth__argon2_block *previous, const chopin_auth__argon2_block *reference, chopin_auth__argon2_block *out, chopin_auth__argon2_block *work, bool add) {
    uint64_t *z = work->w;
    for (int i = 0; i < 128; i++) z[i] = previous->w[i] ^ reference->w[i];
    for (int i = 0; i < 8; i++) chopin_auth__argon2_permute(z + 16 * i, 2);
    for (int i = 0; i < 8; i++) chopin_auth__argon2_permute(z + 2 * i, 16);
    for (int i = 0; i < 128; i++) out->w[i] = z[i] ^ previous->w[i] ^ reference->w[i] ^ (add ? out->w[i] : 0);
}

#if defined(CHOPIN_AUTH__X86)
#define CHOPIN_AUTH__AVX2 static inline __attribute__((always_inline, target("avx2")))

CHOPIN_AUTH__AVX2 __m256i chopin_auth__argon2_wide_add(__m256i a, __m256i b) {
    __m256i product = _mm256_mul_epu32(a, b);
    return _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(product, product));
}

/* Four MIXes side by side, each lane of 64 bits one of them; the two halves of a round differ only in how lanes meet. */
CHOPIN_AUTH__AVX2 void chopin_auth__argon2_wide_mix(__m256i *a, __m256i *b, __m256i *c, __m256i *d) {
    const __m256i by24 = _mm256_setr_epi8(3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10, 3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10);
    const __m256i by16 = _mm256_setr_epi8(2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9, 2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9);
    *a = chopin_auth__argon2_wide_add(*a, *b), *d = _mm256_shuffle_epi32(_mm256_xor_si256(*d, *a), 0xb1);
    *c = chopin_auth__argon2_wide_add(*c, *d), *b = _mm256_shuffle_epi8(_mm256_xor_si256(*b, *c), by24);
    *a = chopin_auth__argon2_wide_add(*a, *b), *d = _mm256_shuffle_epi8(_mm256_xor_si256(*d, *a), by16);
    *c = chopin_auth__argon2_wide_add(*c, *d), *b = _mm256_xor_si256(*b, *c);
    *b = _mm256_xor_si256(_mm256_srli_epi64(*b, 63), _mm256_add_epi64(*b, *b));
}

/* Two rows of sixteen words, four registers each: the diagonals are lanes turned within a register, left by 0x39 and right by 0x93. */
CHOPIN_AUTH__AVX2 void chopin_auth__argon2_wide_rows(__m256i *q) {
    chopin_auth__argon2_wide_mix(q, q + 1, q + 2, q + 3);
    chopin_auth__argon2_wide_mix(q + 4, q + 5, q + 6, q + 7);
    q[1] = _mm256_permute4x64_epi64(q[1], 0x39), q[2] = _mm256_permute4x64_epi64(q[2], 0x4e), q[3] = _mm256_permute4x64_epi64(q[3], 0x93);
    q[5] = _mm256_permute4x64_epi64(q[5], 0x39), q[6] = _mm256_permute4x64_epi64(q[6], 0x4e), q[7] = _mm256_permute4x64_epi64(q[7], 0x93);
    chopin_auth__argon2_wide_mix(q, q + 1, q + 2, q + 3);
    chopin_auth__argon2_wide_mix(q + 4, q + 5, q + 6, q + 7);
    q[1] = _mm256_permute4x64_epi64(q[1], 0x93), q[2] = _mm256_permute4x64_epi64(q[2], 0x4e), q[3] = _mm256_permute4x64_epi64(q[3], 0x39);
    q[5] = _mm256_permute4x64_epi64(q[5], 0x93), q[6] = _mm256_permute4x64_epi64(q[6], 0x4e), q[7] = _mm256_permute4x64_epi64(q[7], 0x39);
}

/* Two columns: register i holds words 2i and 2i + 1 of both, so the diagonals are lanes that change registers. */
CHOPIN_AUTH__AVX2 void chopin_auth__argon2_wide_columns(__m256i *q) {
    __m256i t;
    chopin_auth__argon2_wide_mix(q, q + 2, q + 4, q + 6);
    chopin_auth__argon2_wide_mix(q + 1, q + 3, q + 5, q + 7);
    t = _mm256_alignr_epi8(q[3], q[2], 8), q[3] = _mm256_alignr_epi8(q[2], q[3], 8), q[2] = t;
    t = _mm256_alignr_epi8(q[6], q[7], 8), q[7] = _mm256_alignr_epi8(q[7], q[6], 8), q[6] = t;
    chopin_auth__argon2_wide_mix(q, q + 2, q + 5, q + 6);
    chopin_auth__argon2_wide_mix(q + 1, q + 3, q + 4, q + 7);
    t = _mm256_alignr_epi8(q[2], q[3], 8), q[3] = _mm256_alignr_epi8(q[3], q[2], 8), q[2] = t;
    t = _mm256_alignr_epi8(q[7], q[6], 8), q[7] = _mm256_alignr_epi8(q[6], q[7], 8), q[6] = t;
}

/* Eight registers that the compiler must keep as such: every index is a constant. */
#define CHOPIN_AUTH__ARGON2_EIGHT(DO) DO(0); DO(1); DO(2); DO(3); DO(4); DO(5); DO(6); DO(7)

static CHOPIN_AUTH__TARGET("avx2") void chopin_auth__argon2_fill_avx2(const chopin_auth__argon2_block *previous, const chopin_auth__argon2_block *reference, chopin_auth__argon2_block *out, chopin_auth__argon2_block *work, bool add) {
    const __m256i *p = (const __m256i *)(const void *)previous, *r = (const __m256i *)(const void *)reference;
    __m256i *to = (__m256i *)(void *)out, *z = (__m256i *)(void *)work, q[8];
#define CHOPIN_AUTH__LOAD(j)  q[j] = _mm256_xor_si256(_mm256_load_si256(p + i + (j)), _mm256_load_si256(r + i + (j)))
#define CHOPIN_AUTH__KEEP(j)  _mm256_store_si256(z + i + (j), q[j])
#define CHOPIN_AUTH__TAKE(j)  q[j] = _mm256_load_si256(z + i + 4 * (j))
#define CHOPIN_AUTH__FEED(j)  q[j] = _mm256_xor_si256(q[j], _mm256_xor_si256(_mm256_load_si256(p + i + 4 * (j)), _mm256_load_si256(r + i + 4 * (j))))
#define CHOPIN_AUTH__ADD(j)   q[j] = _mm256_xor_si256(q[j], _mm256_load_si256(to + i + 4 * (j)))
#define CHOPIN_AUTH__STORE(j) _mm256_store_si256(to + i + 4 * (j), q[j])
    for (int i = 0; i < 32; i += 8) {
        CHOPIN_AUTH__ARGON2_EIGHT(CHOPIN_AUTH__LOAD);
        chopin_auth__argon2_wide_rows(q);
        CHOPIN_AUTH__ARGON2_EIGHT(CHOPIN_AUTH__KEEP);
    }
    for (int i = 0; i < 4; i++) {
        CHOPIN_AUTH__ARGON2_EIGHT(CHOPIN_AUTH__TAKE);
        chopin_auth__argon2_wide_columns(q);
        CHOPIN_AUTH__ARGON2_EIGHT(CHOPIN_AUTH__FEED);
        if (add) { CHOPIN_AUTH__ARGON2_EIGHT(CHOPIN_AUTH__ADD); }
        CHOPIN_AUTH__ARGON2_EIGHT(CHOPIN_AUTH__STORE);
    }
#undef CHOPIN_AUTH__LOAD
#undef CHOPIN_AUTH__KEEP
#undef CHOPIN_AUTH__TAKE
#undef CHOPIN_AUTH__FEED
#undef CHOPIN_AUTH__ADD
#undef CHOPIN_AUTH__STORE
}
#endif

/* The next 128 addresses of a segment that must not depend on the password (RFC 9106 3.4.1.2). */
static void chopin_auth__argon2_next_addresses(const chopin_auth__argon2 *a) {
    a->input->w[6]++;
    a->fill(a->zero, a->input, a->addresses, a->work, false);
    a->fill(a->zero, a->addresses, a->addresses, a->work, false);
}

static void chopin_auth__argon2_first_addresses(const chopin_auth__argon2 *a, const chopin_auth__argon2_place *at) {
    const uint64_t seven[7] = { at->pass, at->lane, at->slice, a->blocks, a->passes, a->kind, 0 };
    memset(a->zero, 0, sizeof *a->zero);
    memset(a->input, 0, sizeof *a->input);
    memcpy(a->input->w, seven, sizeof seven);
}

/* The block that `j` names, seen from `at` (RFC 9106 3.4.2). */
static size_t chopin_auth__argon2_reference(const chopin_auth__argon2 *a, const chopin_auth__argon2_place *at, uint64_t j) {
    uint32_t lane = at->pass == 0 && at->slice == 0 ? at->lane : (uint32_t)(j >> 32) % a->lanes;
    uint32_t done = at->pass == 0 ? at->slice * a->segment : a->lane - a->segment;         // finished blocks of every lane
    uint32_t area = lane == at->lane ? done + at->index - 1 : done - (at->index == 0);
    uint64_t x = (j & 0xffffffff) * (j & 0xffffffff) >> 32;
    uint32_t from_end = (uint32_t)((uint64_t)area * x >> 32) + 1;
    uint32_t first = at->pass == 0 || at->slice == 3 ? 0 : (at->slice + 1) * a->segment;
    uint32_t place = first + area - from_end;
    return (size_t)lane * a->lane + (place < a->lane ? place : place - a->lane);
}

static void chopin_auth__argon2_segment(const chopin_auth__argon2 *a, chopin_auth__argon2_place at) {
    bool blind = a->kind == CHOPIN_AUTH_ARGON2I || (a->kind == CHOPIN_AUTH_ARGON2ID && at.pass == 0 && at.slice < 2);
    size_t base = (size_t)at.lane * a->lane, now = (size_t)at.slice * a->segment;
    at.index = at.pass == 0 && at.slice == 0 ? 2 : 0;        // two blocks of each lane are there from the start
    if (blind) chopin_auth__argon2_first_addresses(a, &at);
    for (uint32_t first = at.index; at.index < a->segment; at.index++) {
        chopin_auth__argon2_block *out = a->memory + base + now + at.index;
        chopin_auth__argon2_block *previous = now + at.index > 0 ? out - 1 : a->memory + base + a->lane - 1;
        if (blind && (at.index % 128 == 0 || at.index == first)) chopin_auth__argon2_next_addresses(a);
        uint64_t j = blind ? a->addresses->w[at.index % 128] : previous->w[0];
        CHOPIN_AUTH__PUBLIC(&j, sizeof j, "Argon2d, and Argon2id after its first half pass, choose blocks by the password");
        a->fill(previous, a->memory + chopin_auth__argon2_reference(a, &at, j), out, a->work, at.pass > 0);
    }
}

static void chopin_auth__argon2_run(const chopin_auth__argon2 *a) {
    for (uint32_t pass = 0; pass < a->passes; pass++) {
        for (uint32_t slice = 0; slice < 4; slice++) {
            for (uint32_t lane = 0; lane < a->lanes; lane++) chopin_auth__argon2_segment(a, (chopin_auth__argon2_place){ pass, lane, slice, 0 });
        }
    }
}

static void chopin_auth__argon2_finish(const chopin_auth__argon2 *a, uint8_t *out, size_t n) {
    chopin_auth__argon2_block *sum = a->memory + a->lane - 1;
    uint8_t *bytes = (uint8_t *)a->input->w;
    for (uint32_t lane = 1; lane < a->lanes; lane++) {
        for (int i = 0; i < 128; i++) sum->w[i] ^= a->memory[(size_t)(lane + 1) * a->lane - 1].w[i];
    }
    for (int i = 0; i < 128; i++) chopin_auth__store64le(bytes + 8 * i, sum->w[i]);
    chopin_auth__argon2_long_hash(chopin_auth__str(bytes, 1024), out, (uint32_t)n);
}

size_t chopin_argon2_arena(uint32_t m_kib, uint32_t t, uint32_t p) {
    if (p < 1 || p > 16 || t < 1 || t > 16 || m_kib < 8 * p || m_kib > 256u << 10 || (uint64_t)m_kib * t > 1u << 20) return 0;
    return ((size_t)m_kib / (4 * p) * (4 * p) + 4) * sizeof(chopin_auth__argon2_block);
}

static int chopin_auth__argon2_check(const chopin_argon2_options *o, chopin_str password, chopin_str salt, size_t n) {
    if (o->kind != CHOPIN_AUTH_ARGON2D && o->kind != CHOPIN_AUTH_ARGON2I && o->kind != CHOPIN_AUTH_ARGON2ID) return CHOPIN_AUTH_ARG;
    if (salt.len < 8 || salt.len > 1024 || n < 4 || n > 1024) return CHOPIN_AUTH_SIZE;
    bool fits = password.len <= UINT32_MAX && o->secret.len <= UINT32_MAX && o->data.len <= UINT32_MAX;
    return fits ? CHOPIN_AUTH_OK : CHOPIN_AUTH_SIZE;
}

static void chopin_auth__argon2_lay_out(chopin_auth__argon2 *a, const chopin_argon2_options *o, void *arena) {
    a->kind = (uint32_t)o->kind, a->passes = o->t, a->lanes = o->p;
    a->segment = o->m_kib / (4 * o->p), a->lane = 4 * a->segment, a->blocks = a->lane * a->lanes;
    a->memory = arena;
    a->zero = a->memory + a->blocks, a->input = a->zero + 1, a->addresses = a->zero + 2, a->work = a->zero + 3;
    a->fill = chopin_auth__argon2_fill_plain;
#if defined(CHOPIN_AUTH__X86)
    if (chopin_auth__cpu() & CHOPIN_AUTH__CPU_AVX2) a->fill = chopin_auth__argon2_fill_avx2;
#endif
}

int chopin_argon2_raw(const chopin_argon2_options *o, chopin_str password, chopin_str salt, uint8_t *out, size_t n, void *arena, size_t arena_size) {
    uint8_t h0[64];
    chopin_auth__argon2 a;
    chopin_auth__arena room;
    int rc = chopin_auth__argon2_check(o, password, salt, n);
    if (rc == CHOPIN_AUTH_OK) rc = chopin_auth__arena_begin(&room, arena, arena_size, chopin_argon2_arena(o->m_kib, o->t, o->p));
    if (rc < 0) return chopin_auth__kdf_refuse(out, n, rc);
    chopin_auth__argon2_lay_out(&a, o, room.p);
    chopin_auth__argon2_first_hash(o, password, salt, n, h0);
    chopin_auth__argon2_start(&a, h0);
    chopin_auth__argon2_run(&a);
    chopin_auth__argon2_finish(&a, out, n);
    chopin_auth_wipe(h0, sizeof h0);
    chopin_auth__arena_end(&room);
    return CHOPIN_AUTH_OK;
}
#endif

#ifndef CHOPIN_AUTH_NO_SCRYPT
/* ---- scrypt ----
 * A chunk is the sixteen words of one Salsa20 state. They are kept along the diagonals (0 5 10 15, 4 9 14 3, 8 13 2 7, 12 1 6 11) from the first load to
 * the last store, because a round then is four vectors that only turn; word 0, which steers the second loop, stays first. */
static const uint8_t chopin_auth__scrypt_place[16] = { 0, 5, 10, 15, 4, 9, 14, 3, 8, 13, 2, 7, 12, 1, 6, 11 };

typedef struct chopin_auth__scrypt_chunk { uint32_t w[16]; } chopin_auth__scrypt_chunk;

#if defined(CHOPIN_AUTH__X86)
/* SSE2 belongs to every x86-64: nothing to ask for. */
CHOPIN_AUTH__INLINE __m128i chopin_auth__scrypt_turn(__m128i v, __m128i a, __m128i b, int by) {
    __m128i sum = _mm_add_epi32(a, b);
    return _mm_xor_si128(_mm_xor_si128(v, _mm_slli_epi32(sum, by)), _mm_srli_epi32(sum, 32 - by));
}

CHOPIN_AUTH__INLINE void chopin_auth__scrypt_salsa(__m128i x[4]) {
    __m128i a = x[0], b = x[1], c = x[2], d = x[3];
    for (int i = 0; i < 8; i += 2) {
        b = chopin_auth__scrypt_turn(b, a, d, 7), c = chopin_auth__scrypt_turn(c, b, a, 9);
        d = chopin_auth__scrypt_turn(d, c, b, 13), a = chopin_auth__scrypt_turn(a, d, c, 18);
        b = _mm_shuffle_epi32(b, 0x93), c = _mm_shuffle_epi32(c, 0x4e), d = _mm_shuffle_epi32(d, 0x39);
        d = chopin_auth__scrypt_turn(d, a, b, 7), c = chopin_auth__scrypt_turn(c, d, a, 9);
        b = chopin_auth__scrypt_turn(b, c, d, 13), a = chopin_auth__scrypt_turn(a, b, c, 18);
        b = _mm_shuffle_epi32(b, 0x39), c = _mm_shuffle_epi32(c, 0x4e), d = _mm_shuffle_epi32(d, 0x93);
    }
    x[0] = _mm_add_epi32(x[0], a), x[1] = _mm_add_epi32(x[1], b), x[2] = _mm_add_epi32(x[2], c), x[3] = _mm_add_epi32(x[3], d);
}

/* BlockMix of in ^ also (also NULL: of in): 2r chunks; even ones go to the first half of out, odd ones to the second. */
static void chopin_auth__scrypt_mix(const chopin_auth__scrypt_chunk *in, const chopin_auth__scrypt_chunk *also, chopin_auth__scrypt_chunk *out, uint32_t r) {
    __m128i x[4];
    for (uint32_t n = 0; n <= 2 * r; n++) {                  // the first turn only loads the last chunk
        size_t from = n == 0 ? 2 * r - 1 : n - 1;
        for (int i = 0; i < 4; i++) {
            __m128i v = _mm_load_si128((const __m128i *)(const void *)in[from].w + i);
            if (also) v = _mm_xor_si128(v, _mm_load_si128((const __m128i *)(const void *)also[from].w + i));
            x[i] = n == 0 ? v : _mm_xor_si128(x[i], v);
        }
        if (n == 0) continue;
        chopin_auth__scrypt_salsa(x);
        for (int i = 0; i < 4; i++) _mm_store_si128((__m128i *)(void *)out[(from & 1) * r + from / 2].w + i, x[i]);
    }
}
#else
CHOPIN_AUTH__INLINE uint32_t chopin_auth__scrypt_turn(uint32_t a, uint32_t b, unsigned by) { return chopin_auth__ror32(a + b, 32 - by); }

/* One round on vectors of four, of which b, c, d are read and written turned by tb, tc, td lanes. */
CHOPIN_AUTH__INLINE void chopin_auth__scrypt_round(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d, int tb, int tc, int td) {
    for (int i = 0; i < 4; i++) {
        uint32_t *q = b + (i + tb) % 4, *r = c + (i + tc) % 4, *s = d + (i + td) % 4;
        *q ^= chopin_auth__scrypt_turn(a[i], *s, 7);
        *r ^= chopin_auth__scrypt_turn(*q, a[i], 9);
        *s ^= chopin_auth__scrypt_turn(*r, *q, 13);
        a[i] ^= chopin_auth__scrypt_turn(*s, *r, 18);
    }
}

static void chopin_auth__scrypt_salsa(uint32_t x[16]) {
    uint32_t v[16];
    memcpy(v, x, sizeof v);
    for (int i = 0; i < 8; i += 2) {
        chopin_auth__scrypt_round(v, v + 4, v + 8, v + 12, 0, 0, 0);     // columns
        chopin_auth__scrypt_round(v, v + 12, v + 8, v + 4, 1, 2, 3);     // rows
    }
    for (int i = 0; i < 16; i++) x[i] += v[i];
    chopin_auth_wipe(v, sizeof v);
}

/* BlockMix of in ^ also (also NULL: of in): 2r chunks; even ones go to the first half of out, odd ones to the second. */
static void chopin_auth__scrypt_mix(const chopin_auth__scrypt_chunk *in, const chopin_auth__scrypt_chunk *also, chopin_auth__scrypt_chunk *out, uint32_t r) {
    uint32_t x[16];
    for (uint32_t n = 0; n <= 2 * r; n++) {                  // the first turn only loads the last chunk
        size_t from = n == 0 ? 2 * r - 1 : n - 1;
        for (int i = 0; i < 16; i++) x[i] = (n == 0 ? 0 : x[i]) ^ in[from].w[i] ^ (also ? also[from].w[i] : 0);
        if (n == 0) continue;
        chopin_auth__scrypt_salsa(x);
        memcpy(out[(from & 1) * r + from / 2].w, x, sizeof x);
    }
    chopin_auth_wipe(x, sizeof x);
}
#endif

/* The chunk that the last word-0 of x points to; its index becomes visible. */
static size_t chopin_auth__scrypt_choose(const chopin_auth__scrypt_chunk *x, uint32_t r, size_t n) {
    uint32_t j = x[2 * r - 1].w[0] & (uint32_t)(n - 1);
    CHOPIN_AUTH__PUBLIC(&j, sizeof j, "scrypt's second loop chooses blocks by the password");
    return (size_t)j * 2 * r;
}

/* ROMix: v is a room of n blocks, x and y one block each; N is even, so two steps a turn leave the result in x. */
static void chopin_auth__scrypt_romix(chopin_auth__scrypt_chunk *x, chopin_auth__scrypt_chunk *y, chopin_auth__scrypt_chunk *v, size_t n, uint32_t r) {
    size_t chunks = 2 * (size_t)r;
    memcpy(v, x, chunks * sizeof *v);
    for (size_t i = 1; i < n; i++) chopin_auth__scrypt_mix(v + (i - 1) * chunks, NULL, v + i * chunks, r);
    chopin_auth__scrypt_mix(v + (n - 1) * chunks, NULL, x, r);
    for (size_t i = 0; i < n; i += 2) {
        chopin_auth__scrypt_mix(x, v + chopin_auth__scrypt_choose(x, r, n), y, r);
        chopin_auth__scrypt_mix(y, v + chopin_auth__scrypt_choose(y, r, n), x, r);
    }
}

static void chopin_auth__scrypt_load(chopin_auth__scrypt_chunk *x, const uint8_t *bytes, uint32_t r) {
    for (size_t i = 0; i < 2 * (size_t)r; i++) {
        for (int j = 0; j < 16; j++) x[i].w[j] = chopin_auth__load32le(bytes + 64 * i + 4 * (size_t)chopin_auth__scrypt_place[j]);
    }
}
static void chopin_auth__scrypt_store(const chopin_auth__scrypt_chunk *x, uint8_t *bytes, uint32_t r) {
    for (size_t i = 0; i < 2 * (size_t)r; i++) {
        for (int j = 0; j < 16; j++) chopin_auth__store32le(bytes + 64 * i + 4 * (size_t)chopin_auth__scrypt_place[j], x[i].w[j]);
    }
}

/* In the arena: p blocks of bytes, x, y, and N blocks more, all of 128 * r. */
size_t chopin_scrypt_arena(uint32_t log_n, uint32_t r, uint32_t p) {
    if (log_n < 1 || log_n > 24 || r < 1 || r > 512 || p < 1 || p > 16 || log_n >= 16 * r) return 0;     // N < 2^(16 r): RFC 7914 section 2
    uint64_t blocks = UINT64_C(128) * r << log_n;
    return blocks > 256u << 20 ? 0 : (size_t)blocks + 128 * (size_t)r * (p + 2);
}

int chopin_scrypt_raw(chopin_str password, chopin_str salt, uint32_t log_n, uint32_t r, uint32_t p, uint8_t *out, size_t n, void *arena, size_t arena_size) {
    chopin_auth__arena room;
    chopin_hmac k;
    int rc = n == 0 || n > 1u << 20 ? CHOPIN_AUTH_SIZE : CHOPIN_AUTH_OK;
    if (rc == CHOPIN_AUTH_OK) rc = chopin_auth__arena_begin(&room, arena, arena_size, chopin_scrypt_arena(log_n, r, p));
    if (rc < 0) return chopin_auth__kdf_refuse(out, n, rc);
    size_t block = 128 * (size_t)r;
    uint8_t *bytes = room.p;
    chopin_auth__scrypt_chunk *x = (chopin_auth__scrypt_chunk *)room.p + 2 * (size_t)r * p, *y = x + 2 * (size_t)r;
    chopin_auth__hmac_key(&k, CHOPIN_AUTH_SHA256, password);
    chopin_auth__pbkdf2(&k, salt, 1, bytes, p * block);
    for (uint32_t i = 0; i < p; i++) {
        chopin_auth__scrypt_load(x, bytes + i * block, r);
        chopin_auth__scrypt_romix(x, y, y + 2 * (size_t)r, (size_t)1 << log_n, r);
        chopin_auth__scrypt_store(x, bytes + i * block, r);
    }
    chopin_auth__pbkdf2(&k, chopin_auth__str(bytes, p * block), 1, out, n);
    chopin_hmac_done(&k);
    chopin_auth__arena_end(&room);
    return CHOPIN_AUTH_OK;
}
#endif

#ifndef CHOPIN_AUTH_NO_BCRYPT
/* ---- bcrypt: Blowfish with a slow key schedule (Provos and Mazieres 1999). All state lies in the arena ---- */
typedef struct chopin_auth__bcrypt {
    uint32_t p[18], s[4 * 256];                               // in this order, as the digits of pi fill them
    uint32_t key[18], salt[18];                              // both repeated to the length of p
} chopin_auth__bcrypt;

static const uint32_t chopin_auth__bcrypt_pi[18 + 4 * 256] = {
    0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0x082efa98, 0xec4e6c89, 0x452821e6, 0x38d01377, 0xbe5466cf, 0x34e90c6c, 0xc0ac29b7, 0xc97c50dd,
    0x3f84d5b5, 0xb5470917, 0x9216d5d9, 0x8979fb1b, 0xd1310ba6, 0x98dfb5ac, 0x2ffd72db, 0xd01adfb7, 0xb8e1afed, 0x6a267e96, 0xba7c9045, 0xf12c7f99, 0x24a19947, 0xb3916cf7,
    0x0801f2e2, 0x858efc16, 0x636920d8, 0x71574e69, 0xa458fea3, 0xf4933d7e, 0x0d95748f, 0x728eb658, 0x718bcd58, 0x82154aee, 0x7b54a41d, 0xc25a59b5, 0x9c30d539, 0x2af26013,
    0xc5d1b023, 0x286085f0, 0xca417918, 0xb8db38ef, 0x8e79dcb0, 0x603a180e, 0x6c9e0e8b, 0xb01e8a3e, 0xd71577c1, 0xbd314b27, 0x78af2fda, 0x55605c60, 0xe65525f3, 0xaa55ab94,
    0x57489862, 0x63e81440, 0x55ca396a, 0x2aab10b6, 0xb4cc5c34, 0x1141e8ce, 0xa15486af, 0x7c72e993, 0xb3ee1411, 0x636fbc2a, 0x2ba9c55d, 0x741831f6, 0xce5c3e16, 0x9b87931e,
    0xafd6ba33, 0x6c24cf5c, 0x7a325381, 0x28958677, 0x3b8f4898, 0x6b4bb9af, 0xc4bfe81b, 0x66282193, 0x61d809cc, 0xfb21a991, 0x487cac60, 0x5dec8032, 0xef845d5d, 0xe98575b1,
    0xdc262302, 0xeb651b88, 0x23893e81, 0xd396acc5, 0x0f6d6ff3, 0x83f44239, 0x2e0b4482, 0xa4842004, 0x69c8f04a, 0x9e1f9b5e, 0x21c66842, 0xf6e96c9a, 0x670c9c61, 0xabd388f0,
    0x6a51a0d2, 0xd8542f68, 0x960fa728, 0xab5133a3, 0x6eef0b6c, 0x137a3be4, 0xba3bf050, 0x7efb2a98, 0xa1f1651d, 0x39af0176, 0x66ca593e, 0x82430e88, 0x8cee8619, 0x456f9fb4,
    0x7d84a5c3, 0x3b8b5ebe, 0xe06f75d8, 0x85c12073, 0x401a449f, 0x56c16aa6, 0x4ed3aa62, 0x363f7706, 0x1bfedf72, 0x429b023d, 0x37d0d724, 0xd00a1248, 0xdb0fead3, 0x49f1c09b,
    0x075372c9, 0x80991b7b, 0x25d479d8, 0xf6e8def7, 0xe3fe501a, 0xb6794c3b, 0x976ce0bd, 0x04c006ba, 0xc1a94fb6, 0x409f60c4, 0x5e5c9ec2, 0x196a2463, 0x68fb6faf, 0x3e6c53b5,
    0x1339b2eb, 0x3b52ec6f, 0x6dfc511f, 0x9b30952c, 0xcc814544, 0xaf5ebd09, 0xbee3d004, 0xde334afd, 0x660f2807, 0x192e4bb3, 0xc0cba857, 0x45c8740f, 0xd20b5f39, 0xb9d3fbdb,
    0x5579c0bd, 0x1a60320a, 0xd6a100c6, 0x402c7279, 0x679f25fe, 0xfb1fa3cc, 0x8ea5e9f8, 0xdb3222f8, 0x3c7516df, 0xfd616b15, 0x2f501ec8, 0xad0552ab, 0x323db5fa, 0xfd238760,
    0x53317b48, 0x3e00df82, 0x9e5c57bb, 0xca6f8ca0, 0x1a87562e, 0xdf1769db, 0xd542a8f6, 0x287effc3, 0xac6732c6, 0x8c4f5573, 0x695b27b0, 0xbbca58c8, 0xe1ffa35d, 0xb8f011a0,
    0x10fa3d98, 0xfd2183b8, 0x4afcb56c, 0x2dd1d35b, 0x9a53e479, 0xb6f84565, 0xd28e49bc, 0x4bfb9790, 0xe1ddf2da, 0xa4cb7e33, 0x62fb1341, 0xcee4c6e8, 0xef20cada, 0x36774c01,
    0xd07e9efe, 0x2bf11fb4, 0x95dbda4d, 0xae909198, 0xeaad8e71, 0x6b93d5a0, 0xd08ed1d0, 0xafc725e0, 0x8e3c5b2f, 0x8e7594b7, 0x8ff6e2fb, 0xf2122b64, 0x8888b812, 0x900df01c,
    0x4fad5ea0, 0x688fc31c, 0xd1cff191, 0xb3a8c1ad, 0x2f2f2218, 0xbe0e1777, 0xea752dfe, 0x8b021fa1, 0xe5a0cc0f, 0xb56f74e8, 0x18acf3d6, 0xce89e299, 0xb4a84fe0, 0xfd13e0b7,
    0x7cc43b81, 0xd2ada8d9, 0x165fa266, 0x80957705, 0x93cc7314, 0x211a1477, 0xe6ad2065, 0x77b5fa86, 0xc75442f5, 0xfb9d35cf, 0xebcdaf0c, 0x7b3e89a0, 0xd6411bd3, 0xae1e7e49,
    0x00250e2d, 0x2071b35e, 0x226800bb, 0x57b8e0af, 0x2464369b, 0xf009b91e, 0x5563911d, 0x59dfa6aa, 0x78c14389, 0xd95a537f, 0x207d5ba2, 0x02e5b9c5, 0x83260376, 0x6295cfa9,
    0x11c81968, 0x4e734a41, 0xb3472dca, 0x7b14a94a, 0x1b510052, 0x9a532915, 0xd60f573f, 0xbc9bc6e4, 0x2b60a476, 0x81e67400, 0x08ba6fb5, 0x571be91f, 0xf296ec6b, 0x2a0dd915,
    0xb6636521, 0xe7b9f9b6, 0xff34052e, 0xc5855664, 0x53b02d5d, 0xa99f8fa1, 0x08ba4799, 0x6e85076a, 0x4b7a70e9, 0xb5b32944, 0xdb75092e, 0xc4192623, 0xad6ea6b0, 0x49a7df7d,
    0x9cee60b8, 0x8fedb266, 0xecaa8c71, 0x699a17ff, 0x5664526c, 0xc2b19ee1, 0x193602a5, 0x75094c29, 0xa0591340, 0xe4183a3e, 0x3f54989a, 0x5b429d65, 0x6b8fe4d6, 0x99f73fd6,
    0xa1d29c07, 0xefe830f5, 0x4d2d38e6, 0xf0255dc1, 0x4cdd2086, 0x8470eb26, 0x6382e9c6, 0x021ecc5e, 0x09686b3f, 0x3ebaefc9, 0x3c971814, 0x6b6a70a1, 0x687f3584, 0x52a0e286,
    0xb79c5305, 0xaa500737, 0x3e07841c, 0x7fdeae5c, 0x8e7d44ec, 0x5716f2b8, 0xb03ada37, 0xf0500c0d, 0xf01c1f04, 0x0200b3ff, 0xae0cf51a, 0x3cb574b2, 0x25837a58, 0xdc0921bd,
    0xd19113f9, 0x7ca92ff6, 0x94324773, 0x22f54701, 0x3ae5e581, 0x37c2dadc, 0xc8b57634, 0x9af3dda7, 0xa9446146, 0x0fd0030e, 0xecc8c73e, 0xa4751e41, 0xe238cd99, 0x3bea0e2f,
    0x3280bba1, 0x183eb331, 0x4e548b38, 0x4f6db908, 0x6f420d03, 0xf60a04bf, 0x2cb81290, 0x24977c79, 0x5679b072, 0xbcaf89af, 0xde9a771f, 0xd9930810, 0xb38bae12, 0xdccf3f2e,
    0x5512721f, 0x2e6b7124, 0x501adde6, 0x9f84cd87, 0x7a584718, 0x7408da17, 0xbc9f9abc, 0xe94b7d8c, 0xec7aec3a, 0xdb851dfa, 0x63094366, 0xc464c3d2, 0xef1c1847, 0x3215d908,
    0xdd433b37, 0x24c2ba16, 0x12a14d43, 0x2a65c451, 0x50940002, 0x133ae4dd, 0x71dff89e, 0x10314e55, 0x81ac77d6, 0x5f11199b, 0x043556f1, 0xd7a3c76b, 0x3c11183b, 0x5924a509,
    0xf28fe6ed, 0x97f1fbfa, 0x9ebabf2c, 0x1e153c6e, 0x86e34570, 0xeae96fb1, 0x860e5e0a, 0x5a3e2ab3, 0x771fe71c, 0x4e3d06fa, 0x2965dcb9, 0x99e71d0f, 0x803e89d6, 0x5266c825,
    0x2e4cc978, 0x9c10b36a, 0xc6150eba, 0x94e2ea78, 0xa5fc3c53, 0x1e0a2df4, 0xf2f74ea7, 0x361d2b3d, 0x1939260f, 0x19c27960, 0x5223a708, 0xf71312b6, 0xebadfe6e, 0xeac31f66,
    0xe3bc4595, 0xa67bc883, 0xb17f37d1, 0x018cff28, 0xc332ddef, 0xbe6c5aa5, 0x65582185, 0x68ab9802, 0xeecea50f, 0xdb2f953b, 0x2aef7dad, 0x5b6e2f84, 0x1521b628, 0x29076170,
    0xecdd4775, 0x619f1510, 0x13cca830, 0xeb61bd96, 0x0334fe1e, 0xaa0363cf, 0xb5735c90, 0x4c70a239, 0xd59e9e0b, 0xcbaade14, 0xeecc86bc, 0x60622ca7, 0x9cab5cab, 0xb2f3846e,
    0x648b1eaf, 0x19bdf0ca, 0xa02369b9, 0x655abb50, 0x40685a32, 0x3c2ab4b3, 0x319ee9d5, 0xc021b8f7, 0x9b540b19, 0x875fa099, 0x95f7997e, 0x623d7da8, 0xf837889a, 0x97e32d77,
    0x11ed935f, 0x16681281, 0x0e358829, 0xc7e61fd6, 0x96dedfa1, 0x7858ba99, 0x57f584a5, 0x1b227263, 0x9b83c3ff, 0x1ac24696, 0xcdb30aeb, 0x532e3054, 0x8fd948e4, 0x6dbc3128,
    0x58ebf2ef, 0x34c6ffea, 0xfe28ed61, 0xee7c3c73, 0x5d4a14d9, 0xe864b7e3, 0x42105d14, 0x203e13e0, 0x45eee2b6, 0xa3aaabea, 0xdb6c4f15, 0xfacb4fd0, 0xc742f442, 0xef6abbb5,
    0x654f3b1d, 0x41cd2105, 0xd81e799e, 0x86854dc7, 0xe44b476a, 0x3d816250, 0xcf62a1f2, 0x5b8d2646, 0xfc8883a0, 0xc1c7b6a3, 0x7f1524c3, 0x69cb7492, 0x47848a0b, 0x5692b285,
    0x095bbf00, 0xad19489d, 0x1462b174, 0x23820e00, 0x58428d2a, 0x0c55f5ea, 0x1dadf43e, 0x233f7061, 0x3372f092, 0x8d937e41, 0xd65fecf1, 0x6c223bdb, 0x7cde3759, 0xcbee7460,
    0x4085f2a7, 0xce77326e, 0xa6078084, 0x19f8509e, 0xe8efd855, 0x61d99735, 0xa969a7aa, 0xc50c06c2, 0x5a04abfc, 0x800bcadc, 0x9e447a2e, 0xc3453484, 0xfdd56705, 0x0e1e9ec9,
    0xdb73dbd3, 0x105588cd, 0x675fda79, 0xe3674340, 0xc5c43465, 0x713e38d8, 0x3d28f89e, 0xf16dff20, 0x153e21e7, 0x8fb03d4a, 0xe6e39f2b, 0xdb83adf7, 0xe93d5a68, 0x948140f7,
    0xf64c261c, 0x94692934, 0x411520f7, 0x7602d4f7, 0xbcf46b2e, 0xd4a20068, 0xd4082471, 0x3320f46a, 0x43b7d4b7, 0x500061af, 0x1e39f62e, 0x97244546, 0x14214f74, 0xbf8b8840,
    0x4d95fc1d, 0x96b591af, 0x70f4ddd3, 0x66a02f45, 0xbfbc09ec, 0x03bd9785, 0x7fac6dd0, 0x31cb8504, 0x96eb27b3, 0x55fd3941, 0xda2547e6, 0xabca0a9a, 0x28507825, 0x530429f4,
    0x0a2c86da, 0xe9b66dfb, 0x68dc1462, 0xd7486900, 0x680ec0a4, 0x27a18dee, 0x4f3ffea2, 0xe887ad8c, 0xb58ce006, 0x7af4d6b6, 0xaace1e7c, 0xd3375fec, 0xce78a399, 0x406b2a42,
    0x20fe9e35, 0xd9f385b9, 0xee39d7ab, 0x3b124e8b, 0x1dc9faf7, 0x4b6d1856, 0x26a36631, 0xeae397b2, 0x3a6efa74, 0xdd5b4332, 0x6841e7f7, 0xca7820fb, 0xfb0af54e, 0xd8feb397,
    0x454056ac, 0xba489527, 0x55533a3a, 0x20838d87, 0xfe6ba9b7, 0xd096954b, 0x55a867bc, 0xa1159a58, 0xcca92963, 0x99e1db33, 0xa62a4a56, 0x3f3125f9, 0x5ef47e1c, 0x9029317c,
    0xfdf8e802, 0x04272f70, 0x80bb155c, 0x05282ce3, 0x95c11548, 0xe4c66d22, 0x48c1133f, 0xc70f86dc, 0x07f9c9ee, 0x41041f0f, 0x404779a4, 0x5d886e17, 0x325f51eb, 0xd59bc0d1,
    0xf2bcc18f, 0x41113564, 0x257b7834, 0x602a9c60, 0xdff8e8a3, 0x1f636c1b, 0x0e12b4c2, 0x02e1329e, 0xaf664fd1, 0xcad18115, 0x6b2395e0, 0x333e92e1, 0x3b240b62, 0xeebeb922,
    0x85b2a20e, 0xe6ba0d99, 0xde720c8c, 0x2da2f728, 0xd0127845, 0x95b794fd, 0x647d0862, 0xe7ccf5f0, 0x5449a36f, 0x877d48fa, 0xc39dfd27, 0xf33e8d1e, 0x0a476341, 0x992eff74,
    0x3a6f6eab, 0xf4f8fd37, 0xa812dc60, 0xa1ebddf8, 0x991be14c, 0xdb6e6b0d, 0xc67b5510, 0x6d672c37, 0x2765d43b, 0xdcd0e804, 0xf1290dc7, 0xcc00ffa3, 0xb5390f92, 0x690fed0b,
    0x667b9ffb, 0xcedb7d9c, 0xa091cf0b, 0xd9155ea3, 0xbb132f88, 0x515bad24, 0x7b9479bf, 0x763bd6eb, 0x37392eb3, 0xcc115979, 0x8026e297, 0xf42e312d, 0x6842ada7, 0xc66a2b3b,
    0x12754ccc, 0x782ef11c, 0x6a124237, 0xb79251e7, 0x06a1bbe6, 0x4bfb6350, 0x1a6b1018, 0x11caedfa, 0x3d25bdd8, 0xe2e1c3c9, 0x44421659, 0x0a121386, 0xd90cec6e, 0xd5abea2a,
    0x64af674e, 0xda86a85f, 0xbebfe988, 0x64e4c3fe, 0x9dbc8057, 0xf0f7c086, 0x60787bf8, 0x6003604d, 0xd1fd8346, 0xf6381fb0, 0x7745ae04, 0xd736fccc, 0x83426b33, 0xf01eab71,
    0xb0804187, 0x3c005e5f, 0x77a057be, 0xbde8ae24, 0x55464299, 0xbf582e61, 0x4e58f48f, 0xf2ddfda2, 0xf474ef38, 0x8789bdc2, 0x5366f9c3, 0xc8b38e74, 0xb475f255, 0x46fcd9b9,
    0x7aeb2661, 0x8b1ddf84, 0x846a0e79, 0x915f95e2, 0x466e598e, 0x20b45770, 0x8cd55591, 0xc902de4c, 0xb90bace1, 0xbb8205d0, 0x11a86248, 0x7574a99e, 0xb77f19b6, 0xe0a9dc09,
    0x662d09a1, 0xc4324633, 0xe85a1f02, 0x09f0be8c, 0x4a99a025, 0x1d6efe10, 0x1ab93d1d, 0x0ba5a4df, 0xa186f20f, 0x2868f169, 0xdcb7da83, 0x573906fe, 0xa1e2ce9b, 0x4fcd7f52,
    0x50115e01, 0xa70683fa, 0xa002b5c4, 0x0de6d027, 0x9af88c27, 0x773f8641, 0xc3604c06, 0x61a806b5, 0xf0177a28, 0xc0f586e0, 0x006058aa, 0x30dc7d62, 0x11e69ed7, 0x2338ea63,
    0x53c2dd94, 0xc2c21634, 0xbbcbee56, 0x90bcb6de, 0xebfc7da1, 0xce591d76, 0x6f05e409, 0x4b7c0188, 0x39720a3d, 0x7c927c24, 0x86e3725f, 0x724d9db9, 0x1ac15bb4, 0xd39eb8fc,
    0xed545578, 0x08fca5b5, 0xd83d7cd3, 0x4dad0fc4, 0x1e50ef5e, 0xb161e6f8, 0xa28514d9, 0x6c51133c, 0x6fd5c7e7, 0x56e14ec4, 0x362abfce, 0xddc6c837, 0xd79a3234, 0x92638212,
    0x670efa8e, 0x406000e0, 0x3a39ce37, 0xd3faf5cf, 0xabc27737, 0x5ac52d1b, 0x5cb0679e, 0x4fa33742, 0xd3822740, 0x99bc9bbe, 0xd5118e9d, 0xbf0f7315, 0xd62d1c7e, 0xc700c47b,
    0xb78c1b6b, 0x21a19045, 0xb26eb1be, 0x6a366eb4, 0x5748ab2f, 0xbc946e79, 0xc6a376d2, 0x6549c2c8, 0x530ff8ee, 0x468dde7d, 0xd5730a1d, 0x4cd04dc6, 0x2939bbdb, 0xa9ba4650,
    0xac9526e8, 0xbe5ee304, 0xa1fad5f0, 0x6a2d519a, 0x63ef8ce2, 0x9a86ee22, 0xc089c2b8, 0x43242ef6, 0xa51e03aa, 0x9cf2d0a4, 0x83c061ba, 0x9be96a4d, 0x8fe51550, 0xba645bd6,
    0x2826a2f9, 0xa73a3ae1, 0x4ba99586, 0xef5562e9, 0xc72fefd3, 0xf752f7da, 0x3f046f69, 0x77fa0a59, 0x80e4a915, 0x87b08601, 0x9b09e6ad, 0x3b3ee593, 0xe990fd5a, 0x9e34d797,
    0x2cf0b7d9, 0x022b8b51, 0x96d5ac3a, 0x017da67d, 0xd1cf3ed6, 0x7c7d2d28, 0x1f9f25cf, 0xadf2b89b, 0x5ad6b472, 0x5a88f54c, 0xe029ac71, 0xe019a5e6, 0x47b0acfd, 0xed93fa9b,
    0xe8d3c48d, 0x283b57cc, 0xf8d56629, 0x79132e28, 0x785f0191, 0xed756055, 0xf7960e44, 0xe3d35e8c, 0x15056dd4, 0x88f46dba, 0x03a16125, 0x0564f0bd, 0xc3eb9e15, 0x3c9057a2,
    0x97271aec, 0xa93a072a, 0x1b3f6d9b, 0x1e6321f5, 0xf59c66fb, 0x26dcf319, 0x7533d928, 0xb155fdf5, 0x03563482, 0x8aba3cbb, 0x28517711, 0xc20ad9f8, 0xabcc5167, 0xccad925f,
    0x4de81751, 0x3830dc8e, 0x379d5862, 0x9320f991, 0xea7a90c2, 0xfb3e7bce, 0x5121ce64, 0x774fbe32, 0xa8b6e37e, 0xc3293d46, 0x48de5369, 0x6413e680, 0xa2ae0810, 0xdd6db224,
    0x69852dfd, 0x09072166, 0xb39a460a, 0x6445c0dd, 0x586cdecf, 0x1c20c8ae, 0x5bbef7dd, 0x1b588d40, 0xccd2017f, 0x6bb4e3bb, 0xdda26a7e, 0x3a59ff45, 0x3e350a44, 0xbcb4cdd5,
    0x72eacea8, 0xfa6484bb, 0x8d6612ae, 0xbf3c6f47, 0xd29be463, 0x542f5d9e, 0xaec2771b, 0xf64e6370, 0x740e0d8d, 0xe75b1357, 0xf8721671, 0xaf537d5d, 0x4040cb08, 0x4eb4e2cc,
    0x34d2466a, 0x0115af84, 0xe1b00428, 0x95983a1d, 0x06b89fb4, 0xce6ea048, 0x6f3f3b82, 0x3520ab82, 0x011a1d4b, 0x277227f8, 0x611560b1, 0xe7933fdc, 0xbb3a792b, 0x344525bd,
    0xa08839e1, 0x51ce794b, 0x2f32c9b7, 0xa01fbac9, 0xe01cc87e, 0xbcc7d1f6, 0xcf0111c3, 0xa1e8aac7, 0x1a908749, 0xd44fbd9a, 0xd0dadecb, 0xd50ada38, 0x0339c32a, 0xc6913667,
    0x8df9317c, 0xe0b12b4f, 0xf79e59b7, 0x43f5bb3a, 0xf2d519ff, 0x27d9459c, 0xbf97222c, 0x15e6fc2a, 0x0f91fc71, 0x9b941525, 0xfae59361, 0xceb69ceb, 0xc2a86459, 0x12baa8d1,
    0xb6c1075e, 0xe3056a0c, 0x10d25065, 0xcb03a442, 0xe0ec6e0e, 0x1698db3b, 0x4c98a0be, 0x3278e964, 0x9f1f9532, 0xe0d392df, 0xd3a0342b, 0x8971f21e, 0x1b0a7441, 0x4ba3348c,
    0xc5be7120, 0xc37632d8, 0xdf359f8d, 0x9b992f2e, 0xe60b6f47, 0x0fe3f11d, 0xe54cda54, 0x1edad891, 0xce6279cf, 0xcd3e7e6f, 0x1618b166, 0xfd2c1d05, 0x848fd2c5, 0xf6fb2299,
    0xf523f357, 0xa6327623, 0x93a83531, 0x56cccd02, 0xacf08162, 0x5a75ebb5, 0x6e163697, 0x88d273cc, 0xde966292, 0x81b949d0, 0x4c50901b, 0x71c65614, 0xe6c6c7bd, 0x327a140a,
    0x45e1d006, 0xc3f27b9a, 0xc9aa53fd, 0x62a80f00, 0xbb25bfe2, 0x35bdd2f6, 0x71126905, 0xb2040222, 0xb6cbcf7c, 0xcd769c2b, 0x53113ec0, 0x1640e3d3, 0x38abbd60, 0x2547adf0,
    0xba38209c, 0xf746ce76, 0x77afa1c5, 0x20756060, 0x85cbfe4e, 0x8ae88dd8, 0x7aaaf9b0, 0x4cf9aa7e, 0x1948c25c, 0x02fb8a8c, 0x01c36ae4, 0xd6ebe1f9, 0x90d4f869, 0xa65cdea0,
    0x3f09252d, 0xc208e69f, 0xb74e6132, 0xce77e25b, 0x578fdfe3, 0x3ac372e6
};

/* Two rounds; l takes the first word of p before them. */
#define CHOPIN_AUTH__BCRYPT_HALF(l, r, i) r ^= p[i] ^ (((s[l >> 24] + s[256 + (l >> 16 & 255)]) ^ s[512 + (l >> 8 & 255)]) + s[768 + (l & 255)])
#define CHOPIN_AUTH__BCRYPT_ROUNDS(l, r, i) CHOPIN_AUTH__BCRYPT_HALF(l, r, i); CHOPIN_AUTH__BCRYPT_HALF(r, l, i + 1)

CHOPIN_AUTH__INLINE void chopin_auth__bcrypt_cipher(const uint32_t *p, const uint32_t *s, uint32_t *left, uint32_t *right) {
    uint32_t l = *left ^ p[0], r = *right;
    CHOPIN_AUTH__BCRYPT_ROUNDS(l, r, 1);
    CHOPIN_AUTH__BCRYPT_ROUNDS(l, r, 3);
    CHOPIN_AUTH__BCRYPT_ROUNDS(l, r, 5);
    CHOPIN_AUTH__BCRYPT_ROUNDS(l, r, 7);
    CHOPIN_AUTH__BCRYPT_ROUNDS(l, r, 9);
    CHOPIN_AUTH__BCRYPT_ROUNDS(l, r, 11);
    CHOPIN_AUTH__BCRYPT_ROUNDS(l, r, 13);
    CHOPIN_AUTH__BCRYPT_ROUNDS(l, r, 15);
    *left = r ^ p[17], *right = l;
}

/* ExpandKey: `key` into p, then every pair of words by encryption of the last pair, mixed with the salt when there is one. */
CHOPIN_AUTH__INLINE void chopin_auth__bcrypt_expand_with(chopin_auth__bcrypt *b, const uint32_t key[18], const uint32_t *salt) {
    uint32_t *p = b->p, *s = b->s, l = 0, r = 0;
    for (int i = 0; i < 18; i++) p[i] ^= key[i];
    for (int i = 0; i < 18 + 1024; i += 2) {
        if (salt) l ^= salt[i % 4], r ^= salt[i % 4 + 1];
        chopin_auth__bcrypt_cipher(p, s, &l, &r);
        uint32_t *to = i < 18 ? p + i : s + i - 18;
        to[0] = l, to[1] = r;
    }
}
static void chopin_auth__bcrypt_expand(chopin_auth__bcrypt *b, const uint32_t key[18]) { chopin_auth__bcrypt_expand_with(b, key, NULL); }

/* Password and its NUL, over and over, to 72 bytes; the salt likewise. */
static void chopin_auth__bcrypt_words(uint32_t out[18], const uint8_t *bytes, size_t n) {
    for (size_t i = 0; i < 72; i++) out[i / 4] = out[i / 4] << 8 | bytes[i % n];
}

static void chopin_auth__bcrypt_run(chopin_auth__bcrypt *b, uint32_t cost, uint8_t out[23]) {
    static const uint8_t magic[25] = "OrpheanBeholderScryDoubt";
    uint8_t text[24];
    CHOPIN_AUTH__PUBLIC(b->key, sizeof b->key, "Blowfish looks its boxes up by the key");
    memcpy(b->p, chopin_auth__bcrypt_pi, sizeof b->p);
    memcpy(b->s, chopin_auth__bcrypt_pi + 18, sizeof b->s);
    chopin_auth__bcrypt_expand_with(b, b->key, b->salt);
    for (uint32_t i = 0; i < 1u << cost; i++) {
        chopin_auth__bcrypt_expand(b, b->key);
        chopin_auth__bcrypt_expand(b, b->salt);
    }
    for (int i = 0; i < 24; i += 8) {
        uint32_t l = chopin_auth__load32be(magic + i), r = chopin_auth__load32be(magic + i + 4);
        for (int j = 0; j < 64; j++) chopin_auth__bcrypt_cipher(b->p, b->s, &l, &r);
        chopin_auth__store32be(text + i, l), chopin_auth__store32be(text + i + 4, r);
    }
    memcpy(out, text, 23);                                   // the first implementation dropped the last byte, and so do all
    chopin_auth_wipe(text, sizeof text);
}

size_t chopin_bcrypt_arena(void) { return sizeof(chopin_auth__bcrypt); }

int chopin_bcrypt_raw(chopin_str password, const uint8_t salt[16], uint32_t cost, uint8_t out[23], void *arena, size_t arena_size) {
    chopin_auth__arena room;
    uint8_t key[73] = { 0 };
    int rc = cost < 4 || cost > 14 ? CHOPIN_AUTH_LIMIT : password.len > 72 ? CHOPIN_AUTH_SIZE : CHOPIN_AUTH_OK;
    if (rc == CHOPIN_AUTH_OK && chopin_auth__has_nul(password)) rc = CHOPIN_AUTH_FORMAT;
    if (rc == CHOPIN_AUTH_OK) rc = chopin_auth__arena_begin(&room, arena, arena_size, chopin_bcrypt_arena());
    if (rc < 0) return chopin_auth__kdf_refuse(out, 23, rc);
    chopin_auth__bcrypt *b = room.p;
    if (password.len > 0) memcpy(key, password.ptr, password.len);
    chopin_auth__bcrypt_words(b->key, key, password.len + 1);
    chopin_auth__bcrypt_words(b->salt, salt, 16);
    chopin_auth__bcrypt_run(b, cost, out);
    chopin_auth_wipe(key, sizeof key);
    chopin_auth__arena_end(&room);
    return CHOPIN_AUTH_OK;
}

/* bcrypt's base64: `./A-Za-z0-9`, unpadded. It is the standard alphabet with other faces, so it is translated and coded as that. */
static char chopin_auth__bcrypt64_face(char text, bool to_ours) {
    static const char theirs[65] = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    static const char ours[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *from = to_ours ? theirs : ours;
    uint32_t found = 0;                                      // no character leaves 0, which no alphabet has
    for (int i = 0; i < 64; i++) found |= chopin_auth__mask_equal32((uint8_t)text, (uint8_t)from[i]) & (uint8_t)(to_ours ? ours : theirs)[i];
    return (char)found;
}

/* Salts have 16 bytes in 22 characters, digests 23 in 31. Length, BUFFER or FORMAT as base64url's; n at most 48. */
static inline CHOPIN_AUTH__UNUSED int chopin_auth__bcrypt64_encode(chopin_str in, char *out, size_t cap) {
    int n = chopin_auth__base64_encode(in, false, out, cap);
    for (int i = 0; i < n; i++) out[i] = chopin_auth__bcrypt64_face(out[i], false);
    return n;
}
static inline CHOPIN_AUTH__UNUSED int chopin_auth__bcrypt64_decode(chopin_str in, uint8_t *out, size_t cap) {
    char text[64];
    if (in.len > sizeof text) return CHOPIN_AUTH_FORMAT;
    for (size_t i = 0; i < in.len; i++) text[i] = chopin_auth__bcrypt64_face(in.ptr[i], true);
    int n = chopin_auth__base64_decode(chopin_auth__str(text, in.len), false, out, cap);
    chopin_auth_wipe(text, sizeof text);
    return n;
}
#endif

/* ==========================================================================================================
   >>cipher   XChaCha20-Poly1305 (RFC 8439, draft-irtf-cfrg-xchacha-03), private: it seals cookies and nothing else
   A cookie is a few hundred bytes, so this is plain C: one block of key stream at a time, Poly1305 in five limbs of 26
   bits, whose products fit 64 bits everywhere.
   ========================================================================================================== */
CHOPIN_AUTH__INLINE void chopin_auth__chacha_quarter(uint32_t x[16], int a, int b, int c, int d) {
    x[a] += x[b], x[d] = chopin_auth__ror32(x[d] ^ x[a], 16);
    x[c] += x[d], x[b] = chopin_auth__ror32(x[b] ^ x[c], 20);
    x[a] += x[b], x[d] = chopin_auth__ror32(x[d] ^ x[a], 24);
    x[c] += x[d], x[b] = chopin_auth__ror32(x[b] ^ x[c], 25);
}

static void chopin_auth__chacha_rounds(uint32_t x[16]) {
    for (int i = 0; i < 10; i++) {
        for (int j = 0; j < 4; j++) chopin_auth__chacha_quarter(x, j, 4 + j, 8 + j, 12 + j);
        for (int j = 0; j < 4; j++) chopin_auth__chacha_quarter(x, j, 4 + (j + 1) % 4, 8 + (j + 2) % 4, 12 + (j + 3) % 4);
    }
}

/* "expand 32-byte k", the key, and sixteen bytes that are counter and nonce. */
static void chopin_auth__chacha_start(uint32_t x[16], const uint8_t key[32], const uint8_t rest[16]) {
    x[0] = 0x61707865, x[1] = 0x3320646e, x[2] = 0x79622d32, x[3] = 0x6b206574;
    for (int i = 0; i < 8; i++) x[4 + i] = chopin_auth__load32le(key + 4 * i);
    for (int i = 0; i < 4; i++) x[12 + i] = chopin_auth__load32le(rest + 4 * i);
}

/* One block of key stream: the state after the rounds and the state before, added. */
static void chopin_auth__chacha_block(const uint32_t start[16], uint8_t out[64]) {
    uint32_t x[16];
    memcpy(x, start, sizeof x);
    chopin_auth__chacha_rounds(x);
    for (int i = 0; i < 16; i++) chopin_auth__store32le(out + 4 * i, x[i] + start[i]);
    chopin_auth_wipe(x, sizeof x);
}

/* HChaCha20: a key for the longer nonce, from its first sixteen bytes. */
static void chopin_auth__hchacha(const uint8_t key[32], const uint8_t nonce[16], uint8_t out[32]) {
    uint32_t x[16];
    chopin_auth__chacha_start(x, key, nonce);
    chopin_auth__chacha_rounds(x);
    for (int i = 0; i < 4; i++) chopin_auth__store32le(out + 4 * i, x[i]), chopin_auth__store32le(out + 16 + 4 * i, x[12 + i]);
    chopin_auth_wipe(x, sizeof x);
}

/* ---- Poly1305: h and r below 2^130 in limbs of 26 bits; r is clamped, so sums of five products stay below 2^59 ---- */
typedef struct chopin_auth__poly { uint32_t r[5], h[5]; uint8_t end[16]; } chopin_auth__poly;

static void chopin_auth__poly_split(uint32_t limb[5], const uint8_t p[16]) {
    limb[0] = chopin_auth__load32le(p) & 0x3ffffff;
    limb[1] = chopin_auth__load32le(p + 3) >> 2 & 0x3ffffff;
    limb[2] = chopin_auth__load32le(p + 6) >> 4 & 0x3ffffff;
    limb[3] = chopin_auth__load32le(p + 9) >> 6 & 0x3ffffff;
    limb[4] = chopin_auth__load32le(p + 12) >> 8;
}

static void chopin_auth__poly_init(chopin_auth__poly *c, const uint8_t key[32]) {
    uint8_t clamped[16];
    memset(c->h, 0, sizeof c->h);
    memcpy(clamped, key, 16);
    for (int i = 3; i < 16; i += 4) clamped[i] &= 15;
    for (int i = 4; i < 16; i += 4) clamped[i] &= 252;
    chopin_auth__poly_split(c->r, clamped);
    memcpy(c->end, key + 16, 16);
    chopin_auth_wipe(clamped, sizeof clamped);
}

/* h = h * r modulo 2^130 - 5: what leaves at the top comes back five times at the bottom. */
static void chopin_auth__poly_multiply(chopin_auth__poly *c) {
    uint64_t d[5] = { 0 }, carry = 0;
    for (int i = 0; i < 5; i++) {
        for (int j = 0; j < 5; j++) d[(i + j) % 5] += (uint64_t)c->h[i] * (c->r[j] * (i + j < 5 ? 1u : 5u));
    }
    for (int i = 0; i < 5; i++) {
        d[i] += carry;
        c->h[i] = (uint32_t)d[i] & 0x3ffffff, carry = d[i] >> 26;
    }
    carry = c->h[0] + carry * 5;                             // below 2^39
    c->h[0] = (uint32_t)carry & 0x3ffffff, c->h[1] += (uint32_t)(carry >> 26);      // h[1] may exceed 26 bits a little
    chopin_auth_wipe(d, sizeof d);
}

/* Whole blocks; the last one is filled up with zeros, as the AEAD wants it. */
static void chopin_auth__poly_update(chopin_auth__poly *c, const uint8_t *p, size_t n) {
    uint8_t block[16];
    uint32_t m[5];
    for (size_t take; n > 0; p += take, n -= take) {
        take = chopin_auth__min(n, 16);
        memset(block, 0, sizeof block);
        memcpy(block, p, take);
        chopin_auth__poly_split(m, block);
        m[4] |= 1u << 24;                                    // the bit above the block
        for (int i = 0; i < 5; i++) c->h[i] += m[i];
        chopin_auth__poly_multiply(c);
    }
}

static void chopin_auth__poly_carry(uint32_t h[5]) {
    for (int i = 0; i < 4; i++) h[i + 1] += h[i] >> 26, h[i] &= 0x3ffffff;
    h[0] += (h[4] >> 26) * 5, h[4] &= 0x3ffffff;
    h[1] += h[0] >> 26, h[0] &= 0x3ffffff;
}

/* h or h - p, whichever is in range; plus the second half of the key, modulo 2^128. */
static void chopin_auth__poly_final(chopin_auth__poly *c, uint8_t out[16]) {
    uint32_t less[5], word[4], carry = 5, keep;
    uint64_t sum = 0;
    chopin_auth__poly_carry(c->h);
    chopin_auth__poly_carry(c->h);
    for (int i = 0; i < 5; i++) less[i] = c->h[i] + carry, carry = less[i] >> 26, less[i] &= 0x3ffffff;     // h + 5: overflows 2^130 when h >= p
    keep = chopin_auth__mask_zero32(carry);
    for (int i = 0; i < 5; i++) less[i] = chopin_auth__select32(keep, c->h[i], less[i]);
    word[0] = less[0] | less[1] << 26, word[1] = less[1] >> 6 | less[2] << 20, word[2] = less[2] >> 12 | less[3] << 14, word[3] = less[3] >> 18 | less[4] << 8;
    for (int i = 0; i < 4; i++, sum >>= 32) {
        sum += (uint64_t)word[i] + chopin_auth__load32le(c->end + 4 * i);
        chopin_auth__store32le(out + 4 * i, (uint32_t)sum);
    }
    chopin_auth_wipe(c, sizeof *c);
    chopin_auth_wipe(less, sizeof less);
    chopin_auth_wipe(word, sizeof word);
}

/* ---- the AEAD ---- */
static void chopin_auth__xchacha_start(uint32_t start[16], const uint8_t key[32], const uint8_t nonce[24]) {
    uint8_t subkey[32], rest[16] = { 0 };                    // counter 0, four zero bytes, the last eight of the nonce
    chopin_auth__hchacha(key, nonce, subkey);
    memcpy(rest + 8, nonce + 16, 8);
    chopin_auth__chacha_start(start, subkey, rest);
    chopin_auth_wipe(subkey, sizeof subkey);
}

static void chopin_auth__xchacha_tag(const uint32_t start[16], chopin_str aad, chopin_str sealed, uint8_t tag[16]) {
    uint8_t block[64], sizes[16];
    chopin_auth__poly c;
    chopin_auth__chacha_block(start, block);                 // block 0 of the stream is Poly1305's key
    chopin_auth__poly_init(&c, block);
    chopin_auth__poly_update(&c, (const uint8_t *)aad.ptr, aad.len);
    chopin_auth__poly_update(&c, (const uint8_t *)sealed.ptr, sealed.len);
    chopin_auth__store64le(sizes, aad.len), chopin_auth__store64le(sizes + 8, sealed.len);
    chopin_auth__poly_update(&c, sizes, sizeof sizes);
    chopin_auth__poly_final(&c, tag);
    chopin_auth_wipe(block, sizeof block);
}

static void chopin_auth__xchacha_stream(uint32_t start[16], const uint8_t *in, size_t n, uint8_t *out) {
    uint8_t block[64];
    for (size_t take; n > 0; in += take, out += take, n -= take) {
        start[12]++;                                         // 32 bits: 256 GiB, which no cookie reaches
        chopin_auth__chacha_block(start, block);
        take = chopin_auth__min(n, sizeof block);
        for (size_t i = 0; i < take; i++) out[i] = in[i] ^ block[i];
    }
    chopin_auth_wipe(block, sizeof block);
}

/* Writes text.len + 16 bytes: the encrypted text and the tag. `out` may be where the text is. */
static CHOPIN_AUTH__UNUSED void chopin_auth__xchacha_seal(const uint8_t key[32], const uint8_t nonce[24], chopin_str aad, chopin_str text, uint8_t *out) {
    uint32_t start[16];
    chopin_auth__xchacha_start(start, key, nonce);
    chopin_auth__xchacha_stream(start, (const uint8_t *)text.ptr, text.len, out);
    start[12] = 0;
    chopin_auth__xchacha_tag(start, aad, chopin_auth__str(out, text.len), out + text.len);
    chopin_auth_wipe(start, sizeof start);
}

/* The other way: 0 and sealed.len - 16 bytes in `out`, or SIZE, or SIGNATURE with nothing written. `out` may be where the sealed bytes are. */
static CHOPIN_AUTH__UNUSED int chopin_auth__xchacha_open(const uint8_t key[32], const uint8_t nonce[24], chopin_str aad, chopin_str sealed, uint8_t *out) {
    uint32_t start[16];
    uint8_t tag[16];
    if (sealed.len < 16) return CHOPIN_AUTH_SIZE;
    size_t n = sealed.len - 16;
    chopin_auth__xchacha_start(start, key, nonce);
    chopin_auth__xchacha_tag(start, aad, chopin_auth__str(sealed.ptr, n), tag);
    bool same = chopin_auth_equal(tag, sealed.ptr + n, sizeof tag);
    if (same) chopin_auth__xchacha_stream(start, (const uint8_t *)sealed.ptr, n, out);
    chopin_auth_wipe(start, sizeof start);
    chopin_auth_wipe(tag, sizeof tag);
    return same ? CHOPIN_AUTH_OK : CHOPIN_AUTH_SIGNATURE;
}

/* ==========================================================================================================
   >>bignum   integers of fixed width: words of 64 bits, least significant first
   Three layers: products of two words; arithmetic modulo a prime of 256 bits (the group orders of Ed25519 and P-256);
   Montgomery multiplication of any even length (RSA). Lengths and moduli are public, all values may be secret, and
   none of them steers a branch or an index. Montgomery form of x is x * R mod m, with R = 2^64 to the number of words.
   ========================================================================================================== */
#if !defined(CHOPIN_AUTH_NO_RSA) || !defined(CHOPIN_AUTH_NO_P256) || !defined(CHOPIN_AUTH_NO_ED25519)

/* A few chains of carries are written out for x86-64: compilers spend two to three times the instructions on them. CHOPIN_AUTH_NO_ASM leaves them to the
 * compiler; so do -O0, which has no registers to spare, and MemorySanitizer, which cannot follow secrets through assembly. */
#if defined(__x86_64__) && defined(CHOPIN_AUTH__INT128) && defined(__OPTIMIZE__) && !defined(CHOPIN_AUTH_NO_ASM)
#define CHOPIN_AUTH__ASM 1
#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
#undef CHOPIN_AUTH__ASM
#endif
#endif
#endif

/* ---- two words wide: the compiler's type where it has one, else a pair made of 32-bit products ---- */
#ifdef CHOPIN_AUTH__INT128
typedef chopin_auth__u128 chopin_auth__wide;

CHOPIN_AUTH__INLINE chopin_auth__wide chopin_auth__wide_mul(uint64_t a, uint64_t b)              { return (chopin_auth__wide)a * b; }
CHOPIN_AUTH__INLINE chopin_auth__wide chopin_auth__wide_add(chopin_auth__wide w, uint64_t a)     { return w + a; }
CHOPIN_AUTH__INLINE chopin_auth__wide chopin_auth__wide_sum(chopin_auth__wide v, chopin_auth__wide w) { return v + w; }
CHOPIN_AUTH__INLINE uint64_t          chopin_auth__wide_low(chopin_auth__wide w)                 { return (uint64_t)w; }
CHOPIN_AUTH__INLINE uint64_t          chopin_auth__wide_high(chopin_auth__wide w)                { return (uint64_t)(w >> 64); }
#else
typedef struct chopin_auth__wide { uint64_t low, high; } chopin_auth__wide;

/* The carry of a + b = sum without a comparison, which some compilers turn into a branch. */
CHOPIN_AUTH__INLINE uint64_t chopin_auth__wide_carry(uint64_t a, uint64_t b, uint64_t sum) { return ((a & b) | ((a | b) & ~sum)) >> 63; }

static inline chopin_auth__wide chopin_auth__wide_mul(uint64_t a, uint64_t b) {
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t low = a0 * b0, middle = a1 * b0 + (low >> 32), other = a0 * b1 + (uint32_t)middle;
    return (chopin_auth__wide){ other << 32 | (uint32_t)low, a1 * b1 + (middle >> 32) + (other >> 32) };
}
static inline chopin_auth__wide chopin_auth__wide_add(chopin_auth__wide w, uint64_t a) {
    uint64_t low = w.low + a;
    return (chopin_auth__wide){ low, w.high + chopin_auth__wide_carry(w.low, a, low) };
}
static inline chopin_auth__wide chopin_auth__wide_sum(chopin_auth__wide v, chopin_auth__wide w) {
    chopin_auth__wide sum = chopin_auth__wide_add(v, w.low);
    sum.high += w.high;
    return sum;
}
CHOPIN_AUTH__INLINE uint64_t chopin_auth__wide_low(chopin_auth__wide w)  { return w.low; }
CHOPIN_AUTH__INLINE uint64_t chopin_auth__wide_high(chopin_auth__wide w) { return w.high; }
#endif

/* One step of each school method: the low word is returned, the rest is the next step's carry. a * b + c + carry cannot overflow two words. */
CHOPIN_AUTH__INLINE uint64_t chopin_auth__bignum_mac(uint64_t *carry, uint64_t a, uint64_t b, uint64_t c) {
#ifdef CHOPIN_AUTH__ASM
    uint64_t low, high;
    __asm__("mulq %3\n\taddq %4, %0\n\tadcq $0, %1\n\taddq %5, %0\n\tadcq $0, %1"
            : "=&a"(low), "=&d"(high) : "0"(a), "r"(b), "r"(c), "r"(*carry) : "cc");
    *carry = high;
    return low;
#else
    chopin_auth__wide w = chopin_auth__wide_add(chopin_auth__wide_add(chopin_auth__wide_mul(a, b), c), *carry);
    *carry = chopin_auth__wide_high(w);
    return chopin_auth__wide_low(w);
#endif
}
CHOPIN_AUTH__INLINE uint64_t chopin_auth__bignum_addc(uint64_t *carry, uint64_t a, uint64_t b) {
#ifdef CHOPIN_AUTH__INT128
    chopin_auth__wide w = (chopin_auth__wide)a + b + *carry;
    *carry = (uint64_t)(w >> 64);
    return (uint64_t)w;
#else
    chopin_auth__wide w = chopin_auth__wide_add(chopin_auth__wide_add((chopin_auth__wide){ a, 0 }, b), *carry);
    *carry = w.high;
    return w.low;
#endif
}
CHOPIN_AUTH__INLINE uint64_t chopin_auth__bignum_subb(uint64_t *borrow, uint64_t a, uint64_t b) {
#ifdef CHOPIN_AUTH__INT128
    chopin_auth__wide w = (chopin_auth__wide)a - b - *borrow;
    *borrow = (uint64_t)(w >> 64) & 1;
    return (uint64_t)w;
#else
    uint64_t first = a - b, last = first - *borrow;
    *borrow = ((~a & b) | (~(a ^ b) & first)) >> 63 | (~first & last) >> 63;   // the second one: 0 - 1
    return last;
#endif
}

/* r = a - b, r = a + b; the borrow or carry out is returned. r may be a or b. */
static uint64_t chopin_auth__bignum_sub(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n) {
    uint64_t borrow = 0;
    for (size_t i = 0; i < n; i++) r[i] = chopin_auth__bignum_subb(&borrow, a[i], b[i]);
    return borrow;
}
static uint64_t chopin_auth__bignum_add(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n) {
    uint64_t carry = 0;
    for (size_t i = 0; i < n; i++) r[i] = chopin_auth__bignum_addc(&carry, a[i], b[i]);
    return carry;
}

/* r = mask ? a : r */
static void chopin_auth__bignum_copy_if(uint64_t mask, uint64_t *r, const uint64_t *a, size_t n) {
    for (size_t i = 0; i < n; i++) r[i] = chopin_auth__select64(mask, a[i], r[i]);
}

/* Is a < b, a == 0, a == b? As bits, computed over all words. */
static uint64_t chopin_auth__bignum_less(const uint64_t *a, const uint64_t *b, size_t n) {
    uint64_t borrow = 0;
    for (size_t i = 0; i < n; i++) (void)chopin_auth__bignum_subb(&borrow, a[i], b[i]);
    return borrow;
}
static uint64_t chopin_auth__bignum_zero(const uint64_t *a, size_t n) {
    uint64_t all = 0;
    for (size_t i = 0; i < n; i++) all |= a[i];
    return chopin_auth__mask_zero64(all) & 1;
}
static CHOPIN_AUTH__UNUSED uint64_t chopin_auth__bignum_same(const uint64_t *a, const uint64_t *b, size_t n) {
    uint64_t all = 0;
    for (size_t i = 0; i < n; i++) all |= a[i] ^ b[i];
    return chopin_auth__mask_zero64(all) & 1;
}

/* Big-endian bytes to n words and back. load: false when the number does not fit; leading zeros are fine. */
static CHOPIN_AUTH__UNUSED bool chopin_auth__bignum_load(uint64_t *r, size_t n, chopin_str bytes) {
    uint8_t over = 0;
    memset(r, 0, n * sizeof *r);
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t byte = (uint8_t)bytes.ptr[bytes.len - 1 - i];
        if (i / 8 < n) r[i / 8] |= (uint64_t)byte << (i % 8 * 8);
        else           over |= byte;
    }
    CHOPIN_AUTH__PUBLIC(&over, sizeof over, "whether a number has the width of its key");
    return over == 0;
}
static CHOPIN_AUTH__UNUSED void chopin_auth__bignum_store(uint8_t *out, size_t size, const uint64_t *a) {
    for (size_t i = 0; i < size; i++) out[size - 1 - i] = (uint8_t)(a[i / 8] >> (i % 8 * 8));
}

/* ---- products of four words ---- */

/* t += a * b; the fifth word is returned */
CHOPIN_AUTH__INLINE uint64_t chopin_auth__bignum_row4(uint64_t t[4], const uint64_t a[4], uint64_t b) {
#ifdef CHOPIN_AUTH__ASM
    uint64_t t0 = t[0], t1 = t[1], t2 = t[2], t3 = t[3], carry, high, low = a[0];
    __asm__("mulq %[b]\n\taddq %%rax, %[t0]\n\tadcq $0, %%rdx\n\tmovq %[a1], %%rax\n\tmovq %%rdx, %[c]\n\t"
            "mulq %[b]\n\taddq %[c], %[t1]\n\tadcq $0, %%rdx\n\taddq %%rax, %[t1]\n\tmovq %[a2], %%rax\n\tadcq $0, %%rdx\n\tmovq %%rdx, %[c]\n\t"
            "mulq %[b]\n\taddq %[c], %[t2]\n\tadcq $0, %%rdx\n\taddq %%rax, %[t2]\n\tmovq %[a3], %%rax\n\tadcq $0, %%rdx\n\tmovq %%rdx, %[c]\n\t"
            "mulq %[b]\n\taddq %[c], %[t3]\n\tadcq $0, %%rdx\n\taddq %%rax, %[t3]\n\tadcq $0, %%rdx"
            : [t0] "+&r"(t0), [t1] "+&r"(t1), [t2] "+&r"(t2), [t3] "+&r"(t3), [c] "=&r"(carry), "=&d"(high), "+&a"(low)
            : [b] "r"(b), [a1] "m"(a[1]), [a2] "m"(a[2]), [a3] "m"(a[3]) : "cc");
    t[0] = t0, t[1] = t1, t[2] = t2, t[3] = t3;
    return high;
#else
    uint64_t c = 0;
    t[0] = chopin_auth__bignum_mac(&c, a[0], b, t[0]), t[1] = chopin_auth__bignum_mac(&c, a[1], b, t[1]);
    t[2] = chopin_auth__bignum_mac(&c, a[2], b, t[2]), t[3] = chopin_auth__bignum_mac(&c, a[3], b, t[3]);
    return c;
#endif
}

/* t = a * b; indices are written out so that the words can live in registers. */
CHOPIN_AUTH__INLINE uint64_t chopin_auth__bignum_first(uint64_t *carry, uint64_t a, uint64_t b) {       // a * b + carry
    chopin_auth__wide w = chopin_auth__wide_add(chopin_auth__wide_mul(a, b), *carry);
    *carry = chopin_auth__wide_high(w);
    return chopin_auth__wide_low(w);
}
CHOPIN_AUTH__INLINE void chopin_auth__bignum_mul4(uint64_t t[8], const uint64_t a[4], const uint64_t b[4]) {
    uint64_t c = 0;
    t[0] = chopin_auth__bignum_first(&c, a[0], b[0]), t[1] = chopin_auth__bignum_first(&c, a[1], b[0]);
    t[2] = chopin_auth__bignum_first(&c, a[2], b[0]), t[3] = chopin_auth__bignum_first(&c, a[3], b[0]), t[4] = c;
    t[5] = chopin_auth__bignum_row4(t + 1, a, b[1]);
    t[6] = chopin_auth__bignum_row4(t + 2, a, b[2]);
    t[7] = chopin_auth__bignum_row4(t + 3, a, b[3]);
}

/* t = a * a: each product of two different words once, then twice that plus the squares of the words */
#ifdef CHOPIN_AUTH__ASM
CHOPIN_AUTH__INLINE void chopin_auth__bignum_sqr4(uint64_t t[8], const uint64_t a[4]) {
    uint64_t t0, t1, t2, t3, t4, t5, t6, t7, c;
    __asm__("movq 0(%[a]), %%rax\n\tmulq 8(%[a])\n\tmovq %%rax, %[t1]\n\tmovq %%rdx, %[t2]\n\t"
            "movq 0(%[a]), %%rax\n\tmulq 16(%[a])\n\taddq %%rax, %[t2]\n\tadcq $0, %%rdx\n\tmovq %%rdx, %[t3]\n\t"
            "movq 0(%[a]), %%rax\n\tmulq 24(%[a])\n\taddq %%rax, %[t3]\n\tadcq $0, %%rdx\n\tmovq %%rdx, %[t4]\n\t"
            "movq 8(%[a]), %%rax\n\tmulq 16(%[a])\n\txorl %k[t5], %k[t5]\n\taddq %%rax, %[t3]\n\tadcq %%rdx, %[t4]\n\tadcq $0, %[t5]\n\t"
            "movq 8(%[a]), %%rax\n\tmulq 24(%[a])\n\taddq %%rax, %[t4]\n\tadcq %%rdx, %[t5]\n\t"
            "movq 16(%[a]), %%rax\n\tmulq 24(%[a])\n\taddq %%rax, %[t5]\n\tadcq $0, %%rdx\n\tmovq %%rdx, %[t6]\n\t"
            "xorl %k[t7], %k[t7]\n\taddq %[t1], %[t1]\n\tadcq %[t2], %[t2]\n\tadcq %[t3], %[t3]\n\tadcq %[t4], %[t4]\n\t"
            "adcq %[t5], %[t5]\n\tadcq %[t6], %[t6]\n\tadcq $0, %[t7]\n\t"
            "movq 0(%[a]), %%rax\n\tmulq %%rax\n\tmovq %%rax, %[t0]\n\taddq %%rdx, %[t1]\n\tsbbq %[c], %[c]\n\t"
            "movq 8(%[a]), %%rax\n\tmulq %%rax\n\tnegq %[c]\n\tadcq %%rax, %[t2]\n\tadcq %%rdx, %[t3]\n\tsbbq %[c], %[c]\n\t"
            "movq 16(%[a]), %%rax\n\tmulq %%rax\n\tnegq %[c]\n\tadcq %%rax, %[t4]\n\tadcq %%rdx, %[t5]\n\tsbbq %[c], %[c]\n\t"
            "movq 24(%[a]), %%rax\n\tmulq %%rax\n\tnegq %[c]\n\tadcq %%rax, %[t6]\n\tadcq %%rdx, %[t7]"
            : [t0] "=&r"(t0), [t1] "=&r"(t1), [t2] "=&r"(t2), [t3] "=&r"(t3), [t4] "=&r"(t4), [t5] "=&r"(t5), [t6] "=&r"(t6), [t7] "=&r"(t7), [c] "=&r"(c)
            : [a] "r"(a), "m"(a[0]), "m"(a[1]), "m"(a[2]), "m"(a[3]) : "rax", "rdx", "cc");
    t[0] = t0, t[1] = t1, t[2] = t2, t[3] = t3, t[4] = t4, t[5] = t5, t[6] = t6, t[7] = t7;
}
#else
CHOPIN_AUTH__INLINE void chopin_auth__bignum_twice2(uint64_t t[2], uint64_t a, uint64_t *top, uint64_t *carry) {
    uint64_t c = 0, low = t[0] << 1 | *top, high = t[1] << 1 | t[0] >> 63;
    *top = t[1] >> 63;
    low  = chopin_auth__bignum_mac(&c, a, a, low);
    t[0] = chopin_auth__bignum_addc(carry, low, 0);
    t[1] = chopin_auth__bignum_addc(carry, high, c);
}
CHOPIN_AUTH__INLINE void chopin_auth__bignum_sqr4(uint64_t t[8], const uint64_t a[4]) {
    uint64_t a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3], c = 0, carry = 0, top = 0;
    t[1] = chopin_auth__bignum_mac(&c, a0, a1, 0), t[2] = chopin_auth__bignum_mac(&c, a0, a2, 0), t[3] = chopin_auth__bignum_mac(&c, a0, a3, 0), t[4] = c, c = 0;
    t[3] = chopin_auth__bignum_mac(&c, a1, a2, t[3]), t[4] = chopin_auth__bignum_mac(&c, a1, a3, t[4]), t[5] = c, c = 0;
    t[5] = chopin_auth__bignum_mac(&c, a2, a3, t[5]), t[6] = c, t[0] = t[7] = 0;
    chopin_auth__bignum_twice2(t, a0, &top, &carry), chopin_auth__bignum_twice2(t + 2, a1, &top, &carry);
    chopin_auth__bignum_twice2(t + 4, a2, &top, &carry), chopin_auth__bignum_twice2(t + 6, a3, &top, &carry);
}
#endif

#if !defined(CHOPIN_AUTH_NO_P256) || !defined(CHOPIN_AUTH_NO_ED25519)
/* ---- four words ---- */

/* r = t - m if that is not negative, else t; t has the fifth word `high`, and is below 2m. */
CHOPIN_AUTH__INLINE void chopin_auth__bignum_trim4(uint64_t r[4], const uint64_t t[4], uint64_t high, const uint64_t m[4]) {
#ifdef CHOPIN_AUTH__ASM
    uint64_t d0 = t[0], d1 = t[1], d2 = t[2], d3 = t[3], t0 = d0, t1 = d1, t2 = d2, t3 = d3;
    __asm__("subq %9, %0\n\tsbbq %10, %1\n\tsbbq %11, %2\n\tsbbq %12, %3\n\tsbbq $0, %4\n\t"
            "cmovcq %5, %0\n\tcmovcq %6, %1\n\tcmovcq %7, %2\n\tcmovcq %8, %3"
            : "+&r"(d0), "+&r"(d1), "+&r"(d2), "+&r"(d3), "+&r"(high) : "r"(t0), "r"(t1), "r"(t2), "r"(t3), "m"(m[0]), "m"(m[1]), "m"(m[2]), "m"(m[3]) : "cc");
    r[0] = d0, r[1] = d1, r[2] = d2, r[3] = d3;
#else
    uint64_t borrow = 0;
    uint64_t d0 = chopin_auth__bignum_subb(&borrow, t[0], m[0]), d1 = chopin_auth__bignum_subb(&borrow, t[1], m[1]);
    uint64_t d2 = chopin_auth__bignum_subb(&borrow, t[2], m[2]), d3 = chopin_auth__bignum_subb(&borrow, t[3], m[3]);
    uint64_t keep = chopin_auth__mask_bit64(borrow & (high ^ 1));
    r[0] = chopin_auth__select64(keep, t[0], d0), r[1] = chopin_auth__select64(keep, t[1], d1);
    r[2] = chopin_auth__select64(keep, t[2], d2), r[3] = chopin_auth__select64(keep, t[3], d3);
#endif
}

/* r = a + b and r = a - b; the carry or borrow out, as 0 or 1, is returned */
CHOPIN_AUTH__INLINE uint64_t chopin_auth__bignum_add4(uint64_t r[4], const uint64_t a[4], const uint64_t b[4]) {
#ifdef CHOPIN_AUTH__ASM
    uint64_t r0 = a[0], r1 = a[1], r2 = a[2], r3 = a[3], carry = 0;
    __asm__("addq %5, %0\n\tadcq %6, %1\n\tadcq %7, %2\n\tadcq %8, %3\n\tadcq $0, %4"
            : "+&r"(r0), "+&r"(r1), "+&r"(r2), "+&r"(r3), "+&r"(carry) : "rm"(b[0]), "rm"(b[1]), "rm"(b[2]), "rm"(b[3]) : "cc");
    r[0] = r0, r[1] = r1, r[2] = r2, r[3] = r3;
    return carry;
#else
    uint64_t carry = 0;
    r[0] = chopin_auth__bignum_addc(&carry, a[0], b[0]), r[1] = chopin_auth__bignum_addc(&carry, a[1], b[1]);
    r[2] = chopin_auth__bignum_addc(&carry, a[2], b[2]), r[3] = chopin_auth__bignum_addc(&carry, a[3], b[3]);
    return carry;
#endif
}
CHOPIN_AUTH__INLINE uint64_t chopin_auth__bignum_sub4(uint64_t r[4], const uint64_t a[4], const uint64_t b[4]) {
#ifdef CHOPIN_AUTH__ASM
    uint64_t r0 = a[0], r1 = a[1], r2 = a[2], r3 = a[3], borrow = 0;
    __asm__("subq %5, %0\n\tsbbq %6, %1\n\tsbbq %7, %2\n\tsbbq %8, %3\n\tadcq $0, %4"
            : "+&r"(r0), "+&r"(r1), "+&r"(r2), "+&r"(r3), "+&r"(borrow) : "rm"(b[0]), "rm"(b[1]), "rm"(b[2]), "rm"(b[3]) : "cc");
    r[0] = r0, r[1] = r1, r[2] = r2, r[3] = r3;
    return borrow;
#else
    uint64_t borrow = 0;
    r[0] = chopin_auth__bignum_subb(&borrow, a[0], b[0]), r[1] = chopin_auth__bignum_subb(&borrow, a[1], b[1]);
    r[2] = chopin_auth__bignum_subb(&borrow, a[2], b[2]), r[3] = chopin_auth__bignum_subb(&borrow, a[3], b[3]);
    return borrow;
#endif
}
#endif

#if !defined(CHOPIN_AUTH_NO_P256) || !defined(CHOPIN_AUTH_NO_ED25519)
/* ---- scalars written with signed digits ---- */

/* k < 2^255 as the sum of d[i] * 16^i, -8 <= d[i] <= 8, in constant time */
static void chopin_auth__bignum_signed16(int8_t d[64], const uint64_t k[4]) {
    uint32_t carry = 0;
    for (size_t i = 0; i < 64; i++) {
        uint32_t four = ((uint32_t)(k[i / 16] >> (i % 16 * 4)) & 15) + carry;
        carry = i < 63 ? (four + 8) >> 4 : 0;
        d[i] = (int8_t)((int32_t)four - (int32_t)(carry << 4));
    }
}

/* |d| and a mask that says whether d is negative */
CHOPIN_AUTH__INLINE uint64_t chopin_auth__bignum_split_digit(int8_t d, uint64_t *negative) {
    uint64_t wide = (uint64_t)(int64_t)d, sign = wide >> 63;
    *negative = chopin_auth__mask_bit64(sign);
    return (wide ^ *negative) + sign;
}

/* The w bits of k from bit i on; zeros above bit 255. */
static uint32_t chopin_auth__bignum_bits(const uint64_t k[4], size_t i, unsigned w) {
    uint64_t bits = i < 256 ? k[i / 64] >> (i % 64) : 0;
    if (i % 64 + w > 64 && i / 64 < 3) bits |= k[i / 64 + 1] << (64 - i % 64);
    return (uint32_t)bits & ((1u << w) - 1);
}

/* Public k as the sum of d[i] * 2^i, each d[i] zero or odd and below 2^(w-1) in size, with w - 1 zeros at least behind each one; w <= 8 */
static void chopin_auth__bignum_naf(int8_t d[257], const uint64_t k[4], unsigned w) {
    uint32_t carry = 0;
    memset(d, 0, 257);
    for (size_t i = 0; i < 257;) {
        if (chopin_auth__bignum_bits(k, i, 1) == carry) { i++; continue; }
        uint32_t digit = chopin_auth__bignum_bits(k, i, w) + carry;
        carry = digit >> (w - 1) & 1;
        d[i] = (int8_t)((int32_t)digit - (int32_t)(carry << w));
        i += w;
    }
}

/* ---- modulo a prime m of 253 to 256 bits, the order of a group ---- */
typedef struct chopin_auth__mod256 {
    uint64_t m[4], rr[4], m0;           // rr: R^2 mod m; m0: -1 / m mod 2^64
} chopin_auth__mod256;

/* Adds the multiple of m that clears t[0]; `high` is the carry above t[4]. */
CHOPIN_AUTH__INLINE void chopin_auth__mod256_clear(uint64_t t[5], const chopin_auth__mod256 *mod, uint64_t *high) {
    uint64_t c = chopin_auth__bignum_row4(t, mod->m, t[0] * mod->m0);
    t[4] = chopin_auth__bignum_addc(high, t[4], c);
}
CHOPIN_AUTH__INLINE void chopin_auth__mod256_montgomery(uint64_t r[4], uint64_t t[8], const chopin_auth__mod256 *mod) {
    uint64_t high = 0;
    chopin_auth__mod256_clear(t, mod, &high), chopin_auth__mod256_clear(t + 1, mod, &high);
    chopin_auth__mod256_clear(t + 2, mod, &high), chopin_auth__mod256_clear(t + 3, mod, &high);
    chopin_auth__bignum_trim4(r, t + 4, high, mod->m);
}

/* r = a * b / R mod m, below m. One of a and b must be below m, the other may be any four words. r may be either. */
static void chopin_auth__mod256_mul(uint64_t r[4], const uint64_t a[4], const uint64_t b[4], const chopin_auth__mod256 *mod) {
    uint64_t t[8];
    chopin_auth__bignum_mul4(t, a, b);
    chopin_auth__mod256_montgomery(r, t, mod);
}
static CHOPIN_AUTH__UNUSED void chopin_auth__mod256_sqr(uint64_t r[4], const uint64_t a[4], const chopin_auth__mod256 *mod) {
    uint64_t t[8];
    chopin_auth__bignum_sqr4(t, a);
    chopin_auth__mod256_montgomery(r, t, mod);
}

/* r = a + b mod m, both below m */
static void chopin_auth__mod256_add(uint64_t r[4], const uint64_t a[4], const uint64_t b[4], const chopin_auth__mod256 *mod) {
    uint64_t sum[4], high = chopin_auth__bignum_add4(sum, a, b);
    chopin_auth__bignum_trim4(r, sum, high, mod->m);
}

/* r = a mod m, a being any four words */
static CHOPIN_AUTH__UNUSED void chopin_auth__mod256_reduce(uint64_t r[4], const uint64_t a[4], const chopin_auth__mod256 *mod) {
    static const uint64_t one[4] = { 1 };
    uint64_t t[4];
    chopin_auth__mod256_mul(t, a, mod->rr, mod);
    chopin_auth__mod256_mul(r, t, one, mod);
}

/* r = 1 / a in Montgomery form, by a^(m-2) (Fermat), four bits of that public exponent at a time. 0 gives 0. */
static CHOPIN_AUTH__UNUSED void chopin_auth__mod256_invert(uint64_t r[4], const uint64_t a[4], const chopin_auth__mod256 *mod) {
    uint64_t power[16][4], x[4];
    memcpy(power[1], a, sizeof power[1]);
    for (size_t i = 2; i < 16; i++) chopin_auth__mod256_mul(power[i], power[i - 1], a, mod);
    memcpy(x, power[mod->m[3] >> 60], sizeof x);             // both orders have their highest bit in the highest four
    for (size_t i = 63; i-- > 0;) {
        size_t four = ((i < 16 ? mod->m[0] - 2 : mod->m[i / 16]) >> (i % 16 * 4)) & 15;   // m - 2 borrows nothing: m[0] is large
        for (int n = 0; n < 4; n++) chopin_auth__mod256_sqr(x, x, mod);
        if (four) chopin_auth__mod256_mul(x, x, power[four], mod);
    }
    memcpy(r, x, sizeof x);
    chopin_auth_wipe(power, sizeof power);
    chopin_auth_wipe(x, sizeof x);
}
#endif

#ifndef CHOPIN_AUTH_NO_RSA
/* ---- modulo an odd m of any number of words that four divides ---- */

#ifdef CHOPIN_AUTH__ASM
/* t[0 .. n) += a * b, the word above is returned; for CPUs with ADX and BMI2. Low halves are added along one carry flag, high halves along the other, and
 * nothing between touches either: lea counts, jrcxz looks. */
static uint64_t chopin_auth__mont_row_adx(uint64_t *t, const uint64_t *a, size_t n, uint64_t b) {
    uint64_t high, x, y, z, turns = n / 4;
    __asm__ volatile("xorl %k[h], %k[h]\n"                                    // and both flags are 0
            "1:\n\t"
            "mulxq 0(%[a]), %[x], %[y]\n\tadcxq %[h], %[x]\n\tadoxq 0(%[t]), %[x]\n\tmovq %[x], 0(%[t])\n\t"
            "mulxq 8(%[a]), %[x], %[z]\n\tadcxq %[y], %[x]\n\tadoxq 8(%[t]), %[x]\n\tmovq %[x], 8(%[t])\n\t"
            "mulxq 16(%[a]), %[x], %[y]\n\tadcxq %[z], %[x]\n\tadoxq 16(%[t]), %[x]\n\tmovq %[x], 16(%[t])\n\t"
            "mulxq 24(%[a]), %[x], %[h]\n\tadcxq %[y], %[x]\n\tadoxq 24(%[t]), %[x]\n\tmovq %[x], 24(%[t])\n\t"
            "leaq 32(%[a]), %[a]\n\tleaq 32(%[t]), %[t]\n\tleaq -1(%%rcx), %%rcx\n\tjrcxz 2f\n\tjmp 1b\n"
            "2:\n\t"
            "movl $0, %k[x]\n\tadcxq %[x], %[h]\n\tadoxq %[x], %[h]"
            : [a] "+r"(a), [t] "+r"(t), "+c"(turns), [h] "=&r"(high), [x] "=&r"(x), [y] "=&r"(y), [z] "=&r"(z) : "d"(b) : "cc", "memory");
    return high;
}
#endif

/* t[0 .. n+2) += a * (b0 + b1 * 2^64) + carry * 2^(64 n); the carry out is returned. Without ADX two rows of the school method go at once, one word apart: their
 * carries do not wait for one another, which is what limits a single row. */
static uint64_t chopin_auth__mont_rows(uint64_t *t, const uint64_t *a, size_t n, uint64_t b0, uint64_t b1, uint64_t carry) {
    uint64_t c0 = 0, c1 = 0, before = 0, sum;                // before: a[j - 1]; the second row starts with a product by 0
#ifdef CHOPIN_AUTH__ASM
    const unsigned need = CHOPIN_AUTH__CPU_ADX | CHOPIN_AUTH__CPU_BMI2;
    if ((chopin_auth__cpu() & need) == need) {
        c0 = chopin_auth__mont_row_adx(t, a, n, b0);
        t[n] = chopin_auth__bignum_addc(&carry, t[n], c0);
        c1 = chopin_auth__mont_row_adx(t + 1, a, n, b1);
        t[n + 1] = chopin_auth__bignum_addc(&carry, t[n + 1], c1);
        return carry;
    }
#endif
#define CHOPIN_AUTH__MONT_STEP(k)                                                     \
    sum = chopin_auth__bignum_mac(&c0, a[j + (k)], b0, t[j + (k)]);                    \
    t[j + (k)] = chopin_auth__bignum_mac(&c1, (k) ? a[j + (k) - 1] : before, b1, sum);
    for (size_t j = 0; j < n; j += 4) {
        CHOPIN_AUTH__MONT_STEP(0)
        CHOPIN_AUTH__MONT_STEP(1)
        CHOPIN_AUTH__MONT_STEP(2)
        CHOPIN_AUTH__MONT_STEP(3)
        before = a[j + 3];
    }
#undef CHOPIN_AUTH__MONT_STEP
    sum = chopin_auth__bignum_addc(&carry, t[n], c0);
    t[n] = chopin_auth__bignum_mac(&c1, before, b1, sum);
    t[n + 1] = chopin_auth__bignum_addc(&carry, t[n + 1], c1);
    return carry;
}

/* t = a * b and t = a * a, 2n words */
static void chopin_auth__mont_product(uint64_t *t, const uint64_t *a, const uint64_t *b, size_t n) {
    memset(t, 0, 2 * n * sizeof *t);
    for (size_t i = 0; i < n; i += 2) (void)chopin_auth__mont_rows(t + i, a, n, b[i], b[i + 1], 0);
}
static void chopin_auth__mont_square(uint64_t *t, const uint64_t *a, size_t n) {
    uint64_t carry = 0, top = 0, square[8];
    memset(t, 0, 2 * n * sizeof *t);                         // products of words of different groups of four, each once
    for (size_t i = 0; i + 4 < n; i += 4) {
        (void)chopin_auth__mont_rows(t + 2 * i + 4, a + i + 4, n - i - 4, a[i], a[i + 1], 0);
        (void)chopin_auth__mont_rows(t + 2 * i + 6, a + i + 4, n - i - 4, a[i + 2], a[i + 3], 0);
    }
    for (size_t i = 0; i < n; i += 4) {                      // twice that, plus the squares of the groups
        chopin_auth__bignum_sqr4(square, a + i);
        for (size_t j = 0; j < 8; j++) {
            uint64_t w = t[2 * i + j];
            t[2 * i + j] = chopin_auth__bignum_addc(&carry, w << 1 | top, square[j]);
            top = w >> 63;
        }
    }
}

/* r = t / R mod m, below m, of t < m * R, which is used up. m0 is -1 / m mod 2^64. */
static void chopin_auth__mont_reduce(uint64_t *r, uint64_t *t, const uint64_t *m, uint64_t m0, size_t n) {
    uint64_t carry = 0;
    for (size_t i = 0; i < n; i += 2) {
        uint64_t c = 0, q0 = t[i] * m0;                      // the multiples of m that clear the two lowest words
        (void)chopin_auth__bignum_mac(&c, q0, m[0], t[i]);
        uint64_t q1 = chopin_auth__bignum_mac(&c, q0, m[1], t[i + 1]) * m0;
        carry = chopin_auth__mont_rows(t + i, m, n, q0, q1, carry);
    }
    uint64_t borrow = chopin_auth__bignum_sub(t, t + n, m, n);
    chopin_auth__bignum_copy_if(chopin_auth__mask_bit64(borrow & (carry ^ 1)), t, t + n, n);
    memcpy(r, t, n * sizeof *r);
}

/* A modulus with what its multiplications need. t: scratch of 2n words. */
typedef struct chopin_auth__mont {
    const uint64_t *m;
    uint64_t       *t;
    uint64_t        m0;
    size_t          n;
} chopin_auth__mont;

/* r = a * b / R mod m; one of a and b below m, the other may be any n words. r may be either. */
static void chopin_auth__mont_mul(const chopin_auth__mont *mod, uint64_t *r, const uint64_t *a, const uint64_t *b) {
    chopin_auth__mont_product(mod->t, a, b, mod->n);
    chopin_auth__mont_reduce(r, mod->t, mod->m, mod->m0, mod->n);
}
static void chopin_auth__mont_sqr(const chopin_auth__mont *mod, uint64_t *r, const uint64_t *a) {
    chopin_auth__mont_square(mod->t, a, mod->n);
    chopin_auth__mont_reduce(r, mod->t, mod->m, mod->m0, mod->n);
}

/* -1 / m mod 2^64 by Newton's iteration: each turn doubles the number of right bits, and m itself is right to three. */
static uint64_t chopin_auth__mont_m0(uint64_t m) {
    uint64_t x = m;
    for (int i = 0; i < 5; i++) x *= 2 - m * x;
    return 0 - x;
}

/* r = 2r mod m */
static void chopin_auth__mont_double(const chopin_auth__mont *mod, uint64_t *r) {
    uint64_t *d = mod->t, top = chopin_auth__bignum_add(r, r, r, mod->n), borrow = chopin_auth__bignum_sub(d, r, mod->m, mod->n);
    chopin_auth__bignum_copy_if(chopin_auth__mask_bit64((borrow ^ 1) | top), r, d, mod->n);
}

/* r = R^2 mod m. Doubling 1 until it is 2^k * R with k = 2n gives a number that six and more squarings turn into R * R: n words are 64n bits,
 * and 2^(2n) in Montgomery form, raised to the 32nd power, is 2^(64n) in Montgomery form. */
static void chopin_auth__mont_rr(const chopin_auth__mont *mod, uint64_t *r) {
    size_t n = mod->n;
    memset(r, 0, n * sizeof *r);
    r[0] = 1;
    for (size_t i = 0; i < 66 * n; i++) chopin_auth__mont_double(mod, r);
    for (int i = 0; i < 5; i++) chopin_auth__mont_sqr(mod, r, r);
}
#endif
#endif
/* ==========================================================================================================
   >>rsa   PKCS#1 v1.5 and PSS signatures (RFC 8017)
   Verifying: the one block that the message should have given is built and compared; nothing is parsed. Signing: by the two primes, in constant time, and the
   result is verified before it leaves. Numbers of n have key->limbs words, those of p and q key->half; both are multiples of four.
   ========================================================================================================== */
#ifndef CHOPIN_AUTH_NO_RSA
#define CHOPIN_AUTH__RSA_LIMBS (CHOPIN_AUTH_RSA_MAX / 64)
#define CHOPIN_AUTH__RSA_BYTES (CHOPIN_AUTH_RSA_MAX / 8)
#define CHOPIN_AUTH__RSA_HALF  (CHOPIN_AUTH_RSA_SIGN_MAX / 128)

/* ---- is this a key? ---- */
static uint32_t chopin_auth__rsa_mod_small(const chopin_auth__rsa_key *key, uint32_t f) {
    uint64_t rest = 0;
    for (size_t i = key->limbs; i-- > 0;) {
        rest = (rest << 32 | key->n[i] >> 32) % f;
        rest = (rest << 32 | (uint32_t)key->n[i]) % f;
    }
    return (uint32_t)rest;
}
static bool chopin_auth__rsa_small_prime(uint32_t f) {
    for (uint32_t i = 3; i * i <= f; i += 2) if (f % i == 0) return false;
    return true;
}

/* Primes of the ROCA generator (CVE-2017-15361) are powers of 65537 modulo every small prime, hence so is n; by chance n is with probability 2^-27. */
static bool chopin_auth__rsa_is_power(uint32_t rest, uint32_t f) {
    uint32_t power = 1;
    for (uint32_t i = 1; i < f; i++, power = (uint32_t)((uint64_t)power * 65537 % f)) if (power == rest) return true;
    return false;
}
static bool chopin_auth__rsa_is_weak(const chopin_auth__rsa_key *key) {
    bool roca = true;
    for (uint32_t f = 3; f < 1000; f += 2) {
        if (!chopin_auth__rsa_small_prime(f)) continue;
        uint32_t rest = chopin_auth__rsa_mod_small(key, f);
        if (rest == 0) return true;
        if (f <= 167) roca = roca && chopin_auth__rsa_is_power(rest, f);
    }
    return roca;
}

static chopin_str chopin_auth__rsa_trim(chopin_str number) {
    while (number.len > 0 && number.ptr[0] == 0) number.ptr++, number.len--;
    return number;
}

/* The modulus with what its multiplications need; t has 2 * limbs words. */
static chopin_auth__mont chopin_auth__rsa_modulus(const chopin_auth__rsa_key *key, uint64_t *t) {
    return (chopin_auth__mont){ key->n, t, key->n0, key->limbs };
}

static int chopin_auth__rsa_from_public(chopin_auth__rsa_key *key, chopin_str n, chopin_str e) {
    uint64_t t[2 * CHOPIN_AUTH__RSA_LIMBS], exponent;
    n = chopin_auth__rsa_trim(n), e = chopin_auth__rsa_trim(e);
    if (n.len > CHOPIN_AUTH__RSA_BYTES) return CHOPIN_AUTH_UNSUPPORTED;
    if (n.len == 0 || !chopin_auth__bignum_load(key->n, CHOPIN_AUTH__RSA_LIMBS, n)) return CHOPIN_AUTH_KEY;
    key->bits = (uint32_t)n.len * 8;
    for (uint8_t top = (uint8_t)n.ptr[0]; top < 128; top = (uint8_t)(top << 1)) key->bits--;
    key->limbs = (key->bits + 255) / 256 * 4;
    if (key->bits < 2048) return CHOPIN_AUTH_WEAK_KEY;
    if (!(key->n[0] & 1) || !chopin_auth__bignum_load(&exponent, 1, e) || exponent >> 32 || exponent < 3 || !(exponent & 1)) return CHOPIN_AUTH_KEY;
    if (chopin_auth__rsa_is_weak(key)) return CHOPIN_AUTH_WEAK_KEY;
    key->e  = (uint32_t)exponent;
    key->n0 = chopin_auth__mont_m0(key->n[0]);
    chopin_auth__mont mod = chopin_auth__rsa_modulus(key, t);
    chopin_auth__mont_rr(&mod, key->rr);
    return CHOPIN_AUTH_OK;
}

/* r = x mod m, bit by bit; x has xn words, m has n and is not 0. Constant time, for numbers met once in a key's life. */
static void chopin_auth__rsa_remainder(uint64_t *r, const uint64_t *x, size_t xn, const uint64_t *m, size_t n) {
    uint64_t d[CHOPIN_AUTH__RSA_HALF];
    memset(r, 0, n * sizeof *r);
    for (size_t i = xn * 64; i-- > 0;) {
        uint64_t top = chopin_auth__bignum_add(r, r, r, n);
        r[0] |= x[i / 64] >> (i % 64) & 1;
        uint64_t borrow = chopin_auth__bignum_sub(d, r, m, n);
        chopin_auth__bignum_copy_if(chopin_auth__mask_bit64(top | (borrow ^ 1)), r, d, n);
    }
    chopin_auth_wipe(d, sizeof d);
}

/* d mod (p - 1) = dp and e * dp mod (p - 1) = 1? As a bit. */
static uint64_t chopin_auth__rsa_exponent_fits(const chopin_auth__rsa_key *key, const uint64_t *d, const uint64_t *p, const uint64_t *dp) {
    uint64_t m[CHOPIN_AUTH__RSA_HALF], r[CHOPIN_AUTH__RSA_HALF], product[CHOPIN_AUTH__RSA_HALF + 1], carry = 0;
    size_t n = key->half;
    memcpy(m, p, n * sizeof *m);
    m[0] &= ~UINT64_C(1);                                    // p is odd
    chopin_auth__rsa_remainder(r, d, key->limbs, m, n);
    uint64_t fits = chopin_auth__bignum_same(r, dp, n);
    for (size_t i = 0; i < n; i++) product[i] = chopin_auth__bignum_mac(&carry, dp[i], key->e, 0);
    product[n] = carry;
    chopin_auth__rsa_remainder(r, product, n + 1, m, n);
    r[0] ^= 1;
    fits &= chopin_auth__bignum_zero(r, n);
    chopin_auth_wipe(m, sizeof m), chopin_auth_wipe(r, sizeof r), chopin_auth_wipe(product, sizeof product);
    return fits;
}

/* p * q = n, both odd, and qi * q mod p = 1? As a bit. */
static uint64_t chopin_auth__rsa_primes_fit(const chopin_auth__rsa_key *key) {
    uint64_t product[2 * CHOPIN_AUTH__RSA_HALF], rr[CHOPIN_AUTH__RSA_HALF], x[CHOPIN_AUTH__RSA_HALF];
    size_t n = key->half;
    chopin_auth__mont_product(product, key->p, key->q, n);
    uint64_t fits = key->p[0] & key->q[0] & 1 & chopin_auth__bignum_same(product, key->n, chopin_auth__min(2 * n, key->limbs));
    if (2 * n > key->limbs) fits &= chopin_auth__bignum_zero(product + key->limbs, 2 * n - key->limbs);
    else                    fits &= (uint64_t)(2 * n == key->limbs);
    fits &= chopin_auth__bignum_less(key->qi, key->p, n);
    chopin_auth__mont mod = { key->p, product, chopin_auth__mont_m0(key->p[0]), n };
    chopin_auth__mont_rr(&mod, rr);
    chopin_auth__mont_mul(&mod, x, key->q, rr);
    chopin_auth__mont_mul(&mod, x, x, key->qi);
    x[0] ^= 1;
    fits &= chopin_auth__bignum_zero(x, n);
    chopin_auth_wipe(product, sizeof product), chopin_auth_wipe(rr, sizeof rr), chopin_auth_wipe(x, sizeof x);
    return fits;
}

static int chopin_auth__rsa_from_parts(chopin_auth__rsa_key *key, const chopin_rsa_parts *s) {
    uint64_t d[CHOPIN_AUTH_RSA_SIGN_MAX / 64];
    int rc = chopin_auth__rsa_from_public(key, s->n, s->e);
    if (rc < 0) return rc;
    if (key->bits > CHOPIN_AUTH_RSA_SIGN_MAX) return CHOPIN_AUTH_UNSUPPORTED;
    size_t longest = chopin_auth__rsa_trim(s->p).len, other = chopin_auth__rsa_trim(s->q).len;
    if (other > longest) longest = other;
    key->half = (uint32_t)((longest + 31) / 32 * 4);
    if (longest == 0 || key->half > CHOPIN_AUTH__RSA_HALF) return CHOPIN_AUTH_KEY;
    if (!chopin_auth__bignum_load(key->p, key->half, s->p)   || !chopin_auth__bignum_load(key->q, key->half, s->q)   || !chopin_auth__bignum_load(key->dp, key->half, s->dp) ||
        !chopin_auth__bignum_load(key->dq, key->half, s->dq) || !chopin_auth__bignum_load(key->qi, key->half, s->qi) || !chopin_auth__bignum_load(d, key->limbs, s->d)) return CHOPIN_AUTH_KEY;
    uint64_t fits = chopin_auth__rsa_primes_fit(key);
    CHOPIN_AUTH__PUBLIC(&fits, sizeof fits, "whether a private key is consistent");
    if (fits) fits = chopin_auth__rsa_exponent_fits(key, d, key->p, key->dp) & chopin_auth__rsa_exponent_fits(key, d, key->q, key->dq);
    CHOPIN_AUTH__PUBLIC(&fits, sizeof fits, "whether a private key is consistent");
    chopin_auth_wipe(d, sizeof d);
    return fits ? CHOPIN_AUTH_OK : CHOPIN_AUTH_KEY;
}

/* ---- the two operations ---- */

/* r = s^e mod n, both having key->limbs words, s < n; e is public. The last factor is s itself, not its Montgomery form, which ends that form. */
static void chopin_auth__rsa_public(const chopin_auth__rsa_key *key, uint64_t *r, const uint64_t *s) {
    uint64_t t[2 * CHOPIN_AUTH__RSA_LIMBS], x[CHOPIN_AUTH__RSA_LIMBS];
    chopin_auth__mont mod = chopin_auth__rsa_modulus(key, t);
    int bit = 31;
    while (!(key->e >> bit & 1)) bit--;
    chopin_auth__mont_mul(&mod, x, s, key->rr);
    memcpy(r, x, key->limbs * sizeof *r);
    while (--bit > 0) {
        chopin_auth__mont_sqr(&mod, r, r);
        if (key->e >> bit & 1) chopin_auth__mont_mul(&mod, r, r, x);
    }
    chopin_auth__mont_sqr(&mod, r, r);
    chopin_auth__mont_mul(&mod, r, r, s);
    chopin_auth_wipe(t, sizeof t), chopin_auth_wipe(x, sizeof x);        // signing comes by here too
}

/* w bits of k from bit i on */
static uint64_t chopin_auth__rsa_window(const uint64_t *k, size_t n, size_t i, unsigned w) {
    uint64_t bits = k[i / 64] >> (i % 64);
    if (i % 64 + w > 64 && i / 64 + 1 < n) bits |= k[i / 64 + 1] << (64 - i % 64);
    return bits & ((UINT64_C(1) << w) - 1);
}

/* r = x^k mod m in Montgomery form, m, x and k secret, n words each: w bits of k at a time, of a table that is read whole each time. `one` is R mod m. */
static void chopin_auth__rsa_power(const chopin_auth__mont *mod, uint64_t *r, const uint64_t *x, const uint64_t *one, const uint64_t *k) {
    uint64_t table[16 * CHOPIN_AUTH__RSA_HALF / 2], factor[CHOPIN_AUTH__RSA_HALF];
    size_t n = mod->n;
    unsigned w = 2 * n <= CHOPIN_AUTH__RSA_HALF ? 4 : 3;     // what 16 entries of half the length, or 8 of the whole, take
    memcpy(table, one, n * sizeof *table);
    for (size_t i = 1; i < (size_t)1 << w; i++) chopin_auth__mont_mul(mod, table + i * n, table + (i - 1) * n, x);
    memcpy(r, one, n * sizeof *r);
    for (size_t i = (64 * n + w - 1) / w; i-- > 0;) {
        uint64_t digit = chopin_auth__rsa_window(k, n, i * w, w);
        for (unsigned j = 0; j < w; j++) chopin_auth__mont_sqr(mod, r, r);
        memset(factor, 0, sizeof factor);
        for (size_t j = 0; j < (size_t)1 << w; j++) {
            uint64_t mask = chopin_auth__mask_equal64(digit, j);
            for (size_t l = 0; l < n; l++) factor[l] |= mask & table[j * n + l];
        }
        chopin_auth__mont_mul(mod, r, r, factor);
    }
    chopin_auth_wipe(table, sizeof table), chopin_auth_wipe(factor, sizeof factor);
}

/* r = m^dp mod p in Montgomery form, m having key->limbs words. A first reduction divides m by R, so two multiplications by R^2 make the Montgomery form. */
static void chopin_auth__rsa_half(const chopin_auth__rsa_key *key, uint64_t *r, const uint64_t *m, const chopin_auth__mont *mod, const uint64_t *rr, const uint64_t *exponent) {
    uint64_t x[CHOPIN_AUTH__RSA_HALF], one[CHOPIN_AUTH__RSA_HALF] = { 1 };
    memset(mod->t, 0, 2 * mod->n * sizeof *mod->t);
    memcpy(mod->t, m, chopin_auth__min(2 * mod->n, key->limbs) * sizeof *mod->t);
    chopin_auth__mont_reduce(x, mod->t, mod->m, mod->m0, mod->n);
    chopin_auth__mont_mul(mod, x, x, rr);
    chopin_auth__mont_mul(mod, x, x, rr);
    chopin_auth__mont_mul(mod, one, one, rr);
    chopin_auth__rsa_power(mod, r, x, one, exponent);
    chopin_auth_wipe(x, sizeof x), chopin_auth_wipe(one, sizeof one);
}

/* s = m^d mod n by the Chinese remainder theorem: sq = m^dq mod q, h = (m^dp - sq) qi mod p, s = sq + h q. p's residues stay in Montgomery form until the
 * multiplication by qi, which is not in it, ends it. */
static void chopin_auth__rsa_private(const chopin_auth__rsa_key *key, uint64_t *s, const uint64_t *m) {
    uint64_t t[2 * CHOPIN_AUTH__RSA_HALF], rr[CHOPIN_AUTH__RSA_HALF], h[CHOPIN_AUTH__RSA_HALF], sq[CHOPIN_AUTH__RSA_HALF], d[CHOPIN_AUTH__RSA_HALF] = { 1 };
    size_t n = key->half;
    chopin_auth__mont mod = { key->q, t, chopin_auth__mont_m0(key->q[0]), n };
    chopin_auth__mont_rr(&mod, rr);
    chopin_auth__rsa_half(key, sq, m, &mod, rr, key->dq);
    chopin_auth__mont_mul(&mod, sq, sq, d);                  // out of Montgomery form
    mod.m = key->p, mod.m0 = chopin_auth__mont_m0(key->p[0]);
    chopin_auth__mont_rr(&mod, rr);
    chopin_auth__rsa_half(key, h, m, &mod, rr, key->dp);
    chopin_auth__mont_mul(&mod, d, sq, rr);
    uint64_t borrow = chopin_auth__bignum_sub(h, h, d, n);
    (void)chopin_auth__bignum_add(d, h, key->p, n);
    chopin_auth__bignum_copy_if(chopin_auth__mask_bit64(borrow), h, d, n);
    chopin_auth__mont_mul(&mod, h, h, key->qi);
    chopin_auth__mont_product(t, h, key->q, n);
    uint64_t carry = chopin_auth__bignum_add(t, t, sq, n);
    for (size_t i = n; i < 2 * n; i++) t[i] = chopin_auth__bignum_addc(&carry, t[i], 0);
    memset(s, 0, key->limbs * sizeof *s);
    memcpy(s, t, chopin_auth__min(2 * n, key->limbs) * sizeof *s);
    chopin_auth_wipe(t, sizeof t), chopin_auth_wipe(rr, sizeof rr), chopin_auth_wipe(h, sizeof h), chopin_auth_wipe(sq, sizeof sq), chopin_auth_wipe(d, sizeof d);
}

/* ---- the two paddings; a block has `size` bytes, the modulus' length ---- */

/* RFC 8017 section 9.2: 00 01 ff .. ff 00, the name of the hash in DER, the hash */
static void chopin_auth__rsa_pkcs1_block(uint8_t *block, size_t size, chopin_auth_hash hash, const uint8_t *digest) {
    size_t n = chopin_auth__hash_size(hash);
    const uint8_t name[19] = { 0x30, (uint8_t)(17 + n), 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
                               hash == CHOPIN_AUTH_SHA256 ? 1 : hash == CHOPIN_AUTH_SHA384 ? 2 : 3, 0x05, 0x00, 0x04, (uint8_t)n };
    memset(block, 0xff, size);
    block[0] = 0, block[1] = 1, block[size - n - sizeof name - 1] = 0;
    memcpy(block + size - n - sizeof name, name, sizeof name);
    memcpy(block + size - n, digest, n);
}

/* out ^= MGF1(seed), n bytes (RFC 8017 appendix B.2.1); the seed is a digest of the same hash */
static void chopin_auth__rsa_mgf1(uint8_t *out, size_t n, chopin_auth_hash hash, const uint8_t *seed) {
    uint8_t digest[CHOPIN_AUTH_HASH_MAX], counter[4];
    size_t size = chopin_auth__hash_size(hash);
    for (uint32_t i = 0; n > 0; i++) {
        chopin_auth__hasher h;
        chopin_auth__store32be(counter, i);
        chopin_auth__hash_init(&h, hash);
        chopin_auth__hash_update(&h, chopin_auth__str(seed, size));
        chopin_auth__hash_update(&h, chopin_auth__str(counter, 4));
        chopin_auth__hash_final(&h, digest);
        size_t some = chopin_auth__min(n, size);
        for (size_t j = 0; j < some; j++) out[j] ^= digest[j];
        out += some, n -= some;
    }
}

/* H of RFC 8017 section 9.1: the hash of eight zeros, the message's hash and the salt */
static void chopin_auth__rsa_pss_hash(uint8_t *out, chopin_auth_hash hash, const uint8_t *digest, const uint8_t *salt) {
    static const uint8_t zeros[8];
    size_t size = chopin_auth__hash_size(hash);
    chopin_auth__hasher h;
    chopin_auth__hash_init(&h, hash);
    chopin_auth__hash_update(&h, chopin_auth__str(zeros, 8));
    chopin_auth__hash_update(&h, chopin_auth__str(digest, size));
    chopin_auth__hash_update(&h, chopin_auth__str(salt, size));
    chopin_auth__hash_final(&h, out);
}

/* Where the encoded message of bits - 1 bits starts in the block, and which bits of its first byte it may use */
static size_t chopin_auth__rsa_pss_start(uint32_t bits, uint8_t *mask) {
    *mask = (uint8_t)(0xff >> ((8 - (bits - 1) % 8) % 8));
    return (bits - 1) % 8 == 0;
}

/* zeros 01 salt (masked by H), H, bc */
static void chopin_auth__rsa_pss_block(uint8_t *block, uint32_t bits, chopin_auth_hash hash, const uint8_t *digest, const uint8_t *salt) {
    uint8_t mask;
    size_t size = (bits + 7) / 8, n = chopin_auth__hash_size(hash), start = chopin_auth__rsa_pss_start(bits, &mask), h = size - n - 1;
    memset(block, 0, size);
    block[h - n - 1] = 1;
    memcpy(block + h - n, salt, n);
    chopin_auth__rsa_pss_hash(block + h, hash, digest, salt);
    block[size - 1] = 0xbc;
    chopin_auth__rsa_mgf1(block + start, h - start, hash, block + h);
    block[start] &= mask;
}

/* Unmasks the block in place, then checks all of it. Public data. */
static bool chopin_auth__rsa_pss_good(uint8_t *block, uint32_t bits, chopin_auth_hash hash, const uint8_t *digest) {
    uint8_t mask, expected[CHOPIN_AUTH_HASH_MAX];
    size_t size = (bits + 7) / 8, n = chopin_auth__hash_size(hash), start = chopin_auth__rsa_pss_start(bits, &mask), h = size - n - 1, i = start;
    if ((start && block[0]) || (block[start] & (uint8_t)~mask) || block[size - 1] != 0xbc) return false;
    chopin_auth__rsa_mgf1(block + start, h - start, hash, block + h);
    block[start] &= mask;
    while (i < h - n - 1 && block[i] == 0) i++;
    if (i != h - n - 1 || block[i] != 1) return false;
    chopin_auth__rsa_pss_hash(expected, hash, digest, block + h - n);
    return memcmp(expected, block + h, n) == 0;
}

/* ---- signatures ---- */
static int chopin_auth__rsa_check(const chopin_auth__rsa_key *key, bool pss, chopin_auth_hash hash, chopin_str message, const uint8_t *signature) {
    uint64_t s[CHOPIN_AUTH__RSA_LIMBS], m[CHOPIN_AUTH__RSA_LIMBS];
    uint8_t block[CHOPIN_AUTH__RSA_BYTES], expected[CHOPIN_AUTH__RSA_BYTES], digest[CHOPIN_AUTH_HASH_MAX];
    size_t size = (key->bits + 7) / 8;
    if (!chopin_auth__bignum_load(s, key->limbs, chopin_auth__str(signature, size)) || !chopin_auth__bignum_less(s, key->n, key->limbs)) return CHOPIN_AUTH_SIGNATURE;
    chopin_auth__rsa_public(key, m, s);
    chopin_auth__bignum_store(block, size, m);
    chopin_auth__hash_all(hash, message, digest);
    if (pss) return chopin_auth__rsa_pss_good(block, key->bits, hash, digest) ? CHOPIN_AUTH_OK : CHOPIN_AUTH_SIGNATURE;
    chopin_auth__rsa_pkcs1_block(expected, size, hash, digest);
    return memcmp(block, expected, size) == 0 ? CHOPIN_AUTH_OK : CHOPIN_AUTH_SIGNATURE;
}

/* Signs a finished block. A fault while computing one half would give away the primes, so the signature must verify before anybody sees it. */
static int chopin_auth__rsa_sign_block(const chopin_auth__rsa_key *key, const uint8_t *block, uint8_t *signature) {
    uint64_t m[CHOPIN_AUTH__RSA_LIMBS], s[CHOPIN_AUTH__RSA_LIMBS], again[CHOPIN_AUTH__RSA_LIMBS];
    size_t size = (key->bits + 7) / 8;
    bool fits = chopin_auth__bignum_load(m, key->limbs, chopin_auth__str(block, size));
    chopin_auth__rsa_private(key, s, m);
    chopin_auth__rsa_public(key, again, s);
    bool good = fits && chopin_auth_equal(m, again, key->limbs * sizeof *m);
    if (good) chopin_auth__bignum_store(signature, size, s);
    else memset(signature, 0, size);
    CHOPIN_AUTH__PUBLIC(signature, size, "the signature");
    chopin_auth_wipe(m, sizeof m), chopin_auth_wipe(s, sizeof s), chopin_auth_wipe(again, sizeof again);
    return good ? (int)size : CHOPIN_AUTH_KEY;
}
static int chopin_auth__rsa_make(const chopin_auth__rsa_key *key, bool pss, chopin_auth_hash hash, chopin_str message, uint8_t *signature) {
    uint8_t block[CHOPIN_AUTH__RSA_BYTES], digest[CHOPIN_AUTH_HASH_MAX], salt[CHOPIN_AUTH_HASH_MAX];
    chopin_auth__hash_all(hash, message, digest);
    if (!pss) {
        chopin_auth__rsa_pkcs1_block(block, (key->bits + 7) / 8, hash, digest);
    } else {
        if (chopin_auth_random(salt, chopin_auth__hash_size(hash)) < 0) return CHOPIN_AUTH_RANDOM;
        chopin_auth__rsa_pss_block(block, key->bits, hash, digest, salt);
    }
    return chopin_auth__rsa_sign_block(key, block, signature);
}
#endif
/* ==========================================================================================================
   >>ed25519   EdDSA over edwards25519 (RFC 8032), strict
   A field element has five limbs of 51 bits, value = sum of v[i] * 2^(51 i) mod p = 2^255 - 19. Products and `load` give limbs below 2^52; a sum of two of
   those, or a difference, stays below 2^54, and products take limbs up to 2^54. Points are (X, Y, Z, T), x = X/Z, y = Y/Z, T = XY/Z; the addition law is
   complete, so no point needs a case of its own. Signing and making keys touch all entries of a table and take no branch; verifying works on public data.
   ========================================================================================================== */
#ifndef CHOPIN_AUTH_NO_ED25519
typedef struct chopin_auth__ed25519_fe { uint64_t v[5]; } chopin_auth__ed25519_fe;
typedef struct chopin_auth__ed25519_point { chopin_auth__ed25519_fe x, y, z, t; } chopin_auth__ed25519_point;
typedef struct chopin_auth__ed25519_affine { chopin_auth__ed25519_fe sum, difference, product; } chopin_auth__ed25519_affine;   // y + x, y - x, 2dxy
typedef struct chopin_auth__ed25519_cached { chopin_auth__ed25519_affine a; chopin_auth__ed25519_fe z; } chopin_auth__ed25519_cached;   // as above, times Z; 2Z

#define CHOPIN_AUTH__51 ((UINT64_C(1) << 51) - 1)

/* Tests define CHOPIN_AUTH_CHECK_BOUNDS to have the sizes of limbs asserted. Never otherwise: limbs may be secret. */
#ifdef CHOPIN_AUTH_CHECK_BOUNDS
#define CHOPIN_AUTH__LIMBS_UP_TO(x, low, other) CHOPIN_AUTH_ASSERT((x)->v[0] <= (low) && (x)->v[1] <= (other) && (x)->v[2] <= (other) && (x)->v[3] <= (other) && (x)->v[4] <= (other))
#else
#define CHOPIN_AUTH__LIMBS_UP_TO(x, low, other) ((void)0)
#endif

static const chopin_auth__mod256 chopin_auth__ed25519_order = {
    { 0x5812631a5cf5d3ed, 0x14def9dea2f79cd6, 0x0000000000000000, 0x1000000000000000 },
    { 0xa40611e3449c0f01, 0xd00e1ba768859347, 0xceec73d217f5be65, 0x0399411b7c309a3d }, 0xd2b51da312547e1b
};
static const chopin_auth__ed25519_fe chopin_auth__ed25519_d     = { { 0x34dca135978a3, 0x1a8283b156ebd, 0x5e7a26001c029, 0x739c663a03cbb, 0x52036cee2b6ff } };
static const chopin_auth__ed25519_fe chopin_auth__ed25519_2d    = { { 0x69b9426b2f159, 0x35050762add7a, 0x3cf44c0038052, 0x6738cc7407977, 0x2406d9dc56dff } };
static const chopin_auth__ed25519_fe chopin_auth__ed25519_root  = { { 0x61b274a0ea0b0, 0x0d5a5fc8f189d, 0x7ef5e9cbd0c60, 0x78595a6804c9e, 0x2b8324804fc1d } };   // of -1

/* d * 2^(32 g) times the base point, in row g, column d - 1 (tests/tools/make_tables.py) */
static const chopin_auth__ed25519_affine chopin_auth__ed25519_base[8][8] = {
    {
        { { { 0x493c6f58c3b85, 0x0df7181c325f7, 0x0f50b0b3e4cb7, 0x5329385a44c32, 0x07cf9d3a33d4b } },
          { { 0x03905d740913e, 0x0ba2817d673a2, 0x23e2827f4e67c, 0x133d2e0c21a34, 0x44fd2f9298f81 } },
          { { 0x11205877aaa68, 0x479955893d579, 0x50d66309b67a0, 0x2d42d0dbee5ee, 0x6f117b689f0c6 } } },
        { { { 0x4e7fc933c71d7, 0x2cf41feb6b244, 0x7581c0a7d1a76, 0x7172d534d32f0, 0x590c063fa87d2 } },
          { { 0x1a56042b4d5a8, 0x189cc159ed153, 0x5b8deaa3cae04, 0x2aaf04f11b5d8, 0x6bb595a669c92 } },
          { { 0x2a8b3a59b7a5f, 0x3abb359ef087f, 0x4f5a8c4db05af, 0x5b9a807d04205, 0x701af5b13ea50 } } },
        { { { 0x5b0a84cee9730, 0x61d10c97155e4, 0x4059cc8096a10, 0x47a608da8014f, 0x7a164e1b9a80f } },
          { { 0x11fe8a4fcd265, 0x7bcb8374faacc, 0x52f5af4ef4d4f, 0x5314098f98d10, 0x2ab91587555bd } },
          { { 0x6933f0dd0d889, 0x44386bb4c4295, 0x3cb6d3162508c, 0x26368b872a2c6, 0x5a2826af12b9b } } },
        { { { 0x351b98efc099f, 0x68fbfa4a7050e, 0x42a49959d971b, 0x393e51a469efd, 0x680e910321e58 } },
          { { 0x6050a056818bf, 0x62acc1f5532bf, 0x28141ccc9fa25, 0x24d61f471e683, 0x27933f4c7445a } },
          { { 0x3fbe9c476ff09, 0x0af6b982e4b42, 0x0ad1251ba78e5, 0x715aeedee7c88, 0x7f9d0cbf63553 } } },
        { { { 0x2bc4408a5bb33, 0x078ebdda05442, 0x2ffb112354123, 0x375ee8df5862d, 0x2945ccf146e20 } },
          { { 0x182c3a447d6ba, 0x22964e536eff2, 0x192821f540053, 0x2f9f19e788e5c, 0x154a7e73eb1b5 } },
          { { 0x3dbf1812a8285, 0x0fa17ba3f9797, 0x6f69cb49c3820, 0x34d5a0db3858d, 0x43aabe696b3bb } } },
        { { { 0x4eeeb77157131, 0x1201915f10741, 0x1669cda6c9c56, 0x45ec032db346d, 0x51e57bb6a2cc3 } },
          { { 0x006b67b7d8ca4, 0x084fa44e72933, 0x1154ee55d6f8a, 0x4425d842e7390, 0x38b64c41ae417 } },
          { { 0x4326702ea4b71, 0x06834376030b5, 0x0ef0512f9c380, 0x0f1a9f2512584, 0x10b8e91a9f0d6 } } },
        { { { 0x25cd0944ea3bf, 0x75673b81a4d63, 0x150b925d1c0d4, 0x13f38d9294114, 0x461bea69283c9 } },
          { { 0x72c9aaa3221b1, 0x267774474f74d, 0x064b0e9b28085, 0x3f04ef53b27c9, 0x1d6edd5d2e531 } },
          { { 0x36dc801b8b3a2, 0x0e0a7d4935e30, 0x1deb7cecc0d7d, 0x053a94e20dd2c, 0x7a9fbb1c6a0f9 } } },
        { { { 0x7596604dd3e8f, 0x6fc510e058b36, 0x3670c8db2cc0d, 0x297d899ce332f, 0x0915e76061bce } },
          { { 0x75dedf39234d9, 0x01c36ab1f3c54, 0x0f08fee58f5da, 0x0e19613a0d637, 0x3a9024a1320e0 } },
          { { 0x1f5d9c9a2911a, 0x7117994fafcf8, 0x2d8a8cae28dc5, 0x74ab1b2090c87, 0x26907c5c2ecc4 } } },
    },
    {
        { { { 0x5b69f7b85c5e8, 0x17a2d175650ec, 0x4cc3e6dbfc19e, 0x73e1d3873be0e, 0x3a5f6d51b0af8 } },
          { { 0x68756a60dac5f, 0x55d757b8aec26, 0x3383df45f80bd, 0x6783f8c9f96a6, 0x20234a7789ecd } },
          { { 0x20db67178b252, 0x73aa3da2c0eda, 0x79045c01c70d3, 0x1b37b15251059, 0x7cd682353cffe } } },
        { { { 0x5cd6068acf4f3, 0x3079afc7a74cc, 0x58097650b64b4, 0x47fabac9c4e99, 0x3ef0253b2b2cd } },
          { { 0x1a45bd887fab6, 0x65748076dc17c, 0x5b98000aa11a8, 0x4a1ecc9080974, 0x2838c8863bdc0 } },
          { { 0x3b0cf4a465030, 0x022b8aef57a2d, 0x2ad0677e925ad, 0x4094167d7457a, 0x21dcb8a606a82 } } },
        { { { 0x500fabe7731ba, 0x7cc53c3113351, 0x7cf65fe080d81, 0x3c5d966011ba1, 0x5d840dbf6c6f6 } },
          { { 0x004468c9d9fc8, 0x5da8554796b8c, 0x3b8be70950025, 0x6d5892da6a609, 0x0bc3d08194a31 } },
          { { 0x6380d309fe18b, 0x4d73c2cb8ee0d, 0x6b882adbac0b6, 0x36eabdddd4cbe, 0x3a4276232ac19 } } },
        { { { 0x0c172db447ecb, 0x3f8c505b7a77f, 0x6a857f97f3f10, 0x4fcc0567fe03a, 0x0770c9e824e1a } },
          { { 0x2432c8a7084fa, 0x47bf73ca8a968, 0x1639176262867, 0x5e8df4f8010ce, 0x1ff177cea16de } },
          { { 0x1d99a45b5b5fd, 0x523674f2499ec, 0x0f8fa26182613, 0x58f7398048c98, 0x39f264fd41500 } } },
        { { { 0x34aabfe097be1, 0x43bfc03253a33, 0x29bc7fe91b7f3, 0x0a761e4844a16, 0x65c621272c35f } },
          { { 0x53417dbe7e29c, 0x54573827394f5, 0x565eea6f650dd, 0x42050748dc749, 0x1712d73468889 } },
          { { 0x389f8ce3193dd, 0x2d424b8177ce5, 0x073fa0d3440cd, 0x139020cd49e97, 0x22f9800ab19ce } } },
        { { { 0x29fdd9a6efdac, 0x7c694a9282840, 0x6f7cdeee44b3a, 0x55a3207b25cc3, 0x4171a4d38598c } },
          { { 0x2368a3e9ef8cb, 0x454aa08e2ac0b, 0x490923f8fa700, 0x372aa9ea4582f, 0x13f416cd64762 } },
          { { 0x758aa99c94c8c, 0x5f6001700ff44, 0x7694e488c01bd, 0x0d5fde948eed6, 0x508214fa574bd } } },
        { { { 0x215bb53d003d6, 0x1179e792ca8c3, 0x1a0e96ac840a2, 0x22393e2bb3ab6, 0x3a7758a4c86cb } },
          { { 0x269153ed6fe4b, 0x72a23aef89840, 0x052be5299699c, 0x3a5e5ef132316, 0x22f960ec6faba } },
          { { 0x111f693ae5076, 0x3e3bfaa94ca90, 0x445799476b887, 0x24a0912464879, 0x5d9fd15f8de7f } } },
        { { { 0x44d2aeed7521e, 0x50865d2c2a7e4, 0x2705b5238ea40, 0x46c70b25d3b97, 0x3bc187fa47eb9 } },
          { { 0x408d36d63727f, 0x5faf8f6a66062, 0x2bb892da8de6b, 0x769d4f0c7e2e6, 0x332f35914f8fb } },
          { { 0x70115ea86c20c, 0x16d88da24ada8, 0x1980622662adf, 0x501ebbc195a9d, 0x450d81ce906fb } } },
    },
    {
        { { { 0x265e777d1f515, 0x0f1f54c1e39a5, 0x2f01b95522646, 0x4fdd8db9dde6d, 0x654878cba97cc } },
          { { 0x38ec78df6b0fe, 0x13caebea36a22, 0x5ebc6e54e5f6a, 0x32804903d0eb8, 0x2102fdba2b20d } },
          { { 0x6e405055ce6a1, 0x5024a35a532d3, 0x1f69054daf29d, 0x15d1d0d7a8bd5, 0x0ad725db29ecb } } },
        { { { 0x7bc0c9b056f85, 0x51cfebffaffd8, 0x44abbe94df549, 0x7ecbbd7e33121, 0x4f675f5302399 } },
          { { 0x267b1834e2457, 0x6ae19c378bb88, 0x7457b5ed9d512, 0x3280d783d05fb, 0x4aefcffb71a03 } },
          { { 0x536360415171e, 0x2313309077865, 0x251444334afbc, 0x2b0c3853756e8, 0x0bccbb72a2a86 } } },
        { { { 0x55e4c50fe1296, 0x05fdd13efc30d, 0x1c0c6c380e5ee, 0x3e11de3fb62a8, 0x6678fd69108f3 } },
          { { 0x6962feab1a9c8, 0x6aca28fb9a30b, 0x56db7ca1b9f98, 0x39f58497018dd, 0x4024f0ab59d6b } },
          { { 0x6fa31636863c2, 0x10ae5a67e42b0, 0x27abbf01fda31, 0x380a7b9e64fbc, 0x2d42e2108ead4 } } },
        { { { 0x17b0d0f537593, 0x16263c0c9842e, 0x4ab827e4539a4, 0x6370ddb43d73a, 0x420bf3a79b423 } },
          { { 0x5131594dfd29b, 0x3a627e98d52fe, 0x1154041855661, 0x19175d09f8384, 0x676b2608b8d2d } },
          { { 0x0ba651c5b2b47, 0x5862363701027, 0x0c4d6c219c6db, 0x0f03dff8658de, 0x745d2ffa9c0cf } } },
        { { { 0x6df5721d34e6a, 0x4f32f767a0c06, 0x1d5abeac76e20, 0x41ce9e104e1e4, 0x06e15be54c1dc } },
          { { 0x25a1e2bc9c8bd, 0x104c8f3b037ea, 0x405576fa96c98, 0x2e86a88e3876f, 0x1ae23ceb960cf } },
          { { 0x25d871932994a, 0x6b9d63b560b6e, 0x2df2814c8d472, 0x0fbbee20aa4ed, 0x58ded861278ec } } },
        { { { 0x35ba8b6c2c9a8, 0x1dea58b3185bf, 0x4b455cd23bbbe, 0x5ec19c04883f8, 0x08ba696b531d5 } },
          { { 0x73793f266c55c, 0x0b988a9c93b02, 0x09b0ea32325db, 0x37cae71c17c5e, 0x2ff39de85485f } },
          { { 0x53eeec3efc57a, 0x2fa9fe9022efd, 0x699c72c138154, 0x72a751ebd1ff8, 0x120633b4947cf } } },
        { { { 0x531474912100a, 0x5afcdf7c0d057, 0x7a9e71b788ded, 0x5ef708f3b0c88, 0x07433be3cb393 } },
          { { 0x4987891610042, 0x79d9d7f5d0172, 0x3c293013b9ec4, 0x0c2b85f39caca, 0x35d30a99b4d59 } },
          { { 0x144c05ce997f4, 0x4960b8a347fef, 0x1da11f15d74f7, 0x54fac19c0fead, 0x2d873ede7af6d } } },
        { { { 0x202e14e5df981, 0x2ea02bc3eb54c, 0x38875b2883564, 0x1298c513ae9dd, 0x0543618a01600 } },
          { { 0x2316443373409, 0x5de95503b22af, 0x699201beae2df, 0x3db5849ff737a, 0x2e773654707fa } },
          { { 0x2bdf4974c23c1, 0x4b3b9c8d261bd, 0x26ae8b2a9bc28, 0x3068210165c51, 0x4b1443362d079 } } },
    },
    {
        { { { 0x0639c12ddb0a4, 0x6180490cd7ab3, 0x3f3918297467c, 0x74568be1781ac, 0x07a195152e095 } },
          { { 0x7a9c59c2ec4de, 0x7e9f09e79652d, 0x6a3e422f22d86, 0x2ae8e3b836c8b, 0x63b795fc7ad32 } },
          { { 0x68f02389e5fc8, 0x059f1bc877506, 0x504990e410cec, 0x09bd7d0feaee2, 0x3e8fe83d032f0 } } },
        { { { 0x04c8de8efd13c, 0x1c67c06e6210e, 0x183378f7f146a, 0x64352ceaed289, 0x22d60899a6258 } },
          { { 0x315b90570a294, 0x60ce108a925f1, 0x6eff61253c909, 0x003ef0e2d70b0, 0x75ba3b797fac4 } },
          { { 0x1dbc070cdd196, 0x16d8fb1534c47, 0x500498183fa2a, 0x72f59c423de75, 0x0904d07b87779 } } },
        { { { 0x22d6648f940b9, 0x197a5a1873e86, 0x207e4c41a54bc, 0x5360b3b4bd6d0, 0x6240aacebaf72 } },
          { { 0x61fd4ddba919c, 0x7d8e991b55699, 0x61b31473cc76c, 0x7039631e631d6, 0x43e2143fbc1dd } },
          { { 0x4749c5ba295a0, 0x37946fa4b5f06, 0x724c5ab5a51f1, 0x65633789dd3f3, 0x56bdaf238db40 } } },
        { { { 0x0d36cc19d3bb2, 0x6ec4470d72262, 0x6853d7018a9ae, 0x3aa3e4dc2c8eb, 0x03aa31507e1e5 } },
          { { 0x2b9e3f53533eb, 0x2add727a806c5, 0x56955c8ce15a3, 0x18c4f070a290e, 0x1d24a86d83741 } },
          { { 0x47648ffd4ce1f, 0x60a9591839e9d, 0x424d5f38117ab, 0x42cc46912c10e, 0x43b261dc9aeb4 } } },
        { { { 0x13d8b6c951364, 0x4c0017e8f632a, 0x53e559e53f9c4, 0x4b20146886eea, 0x02b4d5e242940 } },
          { { 0x31e1988bb79bb, 0x7b82f46b3bcab, 0x0f7a8ce827b41, 0x5e15816177130, 0x326055cf5b276 } },
          { { 0x155cb28d18df2, 0x0c30d9ca11694, 0x2090e27ab3119, 0x208624e7a49b6, 0x27a6c809ae5d3 } } },
        { { { 0x4270ac43d6954, 0x2ed4cd95659a5, 0x75c0db37528f9, 0x2ccbcfd2c9234, 0x221503603d8c2 } },
          { { 0x6ebcd1f0db188, 0x74ceb4b7d1174, 0x7d56168df4f5c, 0x0bf79176fd18a, 0x2cb67174ff60a } },
          { { 0x6cdf9390be1d0, 0x08e519c7e2b3d, 0x253c3d2a50881, 0x21b41448e333d, 0x7b1df4b73890f } } },
        { { { 0x6221807f8f58c, 0x3fa92813a8be5, 0x6da98c38d5572, 0x01ed95554468f, 0x68698245d352e } },
          { { 0x2f2e0b3b2a224, 0x0c56aa22c1c92, 0x5fdec39f1b278, 0x4c90af5c7f106, 0x61fcef2658fc5 } },
          { { 0x15d852a18187a, 0x270dbb59afb76, 0x7db120bcf92ab, 0x0e7a25d714087, 0x46cf4c473daf0 } } },
        { { { 0x46ea7f1498140, 0x70725690a8427, 0x0a73ae9f079fb, 0x2dd924461c62b, 0x1065aae50d8cc } },
          { { 0x525ed9ec4e5f9, 0x022d20660684c, 0x7972b70397b68, 0x7a03958d3f965, 0x29387bcd14eb5 } },
          { { 0x44525df200d57, 0x2d7f94ce94385, 0x60d00c170ecb7, 0x38b0503f3d8f0, 0x69a198e64f1ce } } },
    },
    {
        { { { 0x304bfacad8ea2, 0x502917d108b07, 0x043176ca6dd0f, 0x5d5158f2c1d84, 0x2b5449e58eb3b } },
          { { 0x27562eb3dbe47, 0x291d7b4170be7, 0x5d1ca67dfa8e1, 0x2a88061f298a2, 0x1304e9e71627d } },
          { { 0x014d26adc9cfe, 0x7f1691ba16f13, 0x5e71828f06eac, 0x349ed07f0fffc, 0x4468de2d7c2dd } } },
        { { { 0x2d8c6f86307ce, 0x6286ba1850973, 0x5e9dcb08444d4, 0x1a96a543362b2, 0x5da6427e63247 } },
          { { 0x3355e9419469e, 0x1847bb8ea8a37, 0x1fe6588cf9b71, 0x6b1c9d2db6b22, 0x6cce7c6ffb44b } },
          { { 0x4c688deac22ca, 0x6f775c3ff0352, 0x565603ee419bb, 0x6544456c61c46, 0x58f29abfe79f2 } } },
        { { { 0x264bf710ecdf6, 0x708c58527896b, 0x42ceae6c53394, 0x4381b21e82b6a, 0x6af93724185b4 } },
          { { 0x6cfab8de73e68, 0x3e6efced4bd21, 0x0056609500dbe, 0x71b7824ad85df, 0x577629c4a7f41 } },
          { { 0x0024509c6a888, 0x2696ab12e6644, 0x0cca27f4b80d8, 0x0c7c1f11b119e, 0x701f25bb0caec } } },
        { { { 0x0f6d97cbec113, 0x4ce97fb7c93a3, 0x139835a11281b, 0x728907ada9156, 0x720a5bc050955 } },
          { { 0x0b0f8e4616ced, 0x1d3c4b50fb875, 0x2f29673dc0198, 0x5f4b0f1830ffa, 0x2e0c92bfbdc40 } },
          { { 0x709439b805a35, 0x6ec48557f8187, 0x08a4d1ba13a2c, 0x076348a0bf9ae, 0x0e9b9cbb144ef } } },
        { { { 0x69bd55db1beee, 0x6e14e47f731bd, 0x1a35e47270eac, 0x66f225478df8e, 0x366d44191cfd3 } },
          { { 0x2d48ffb5720ad, 0x57b7f21a1df77, 0x5550effba0645, 0x5ec6a4098a931, 0x221104eb3f337 } },
          { { 0x41743f2bc8c14, 0x796b0ad8773c7, 0x29fee5cbb689b, 0x122665c178734, 0x4167a4e6bc593 } } },
        { { { 0x62665f8ce8fee, 0x29d101ac59857, 0x4d93bbba59ffc, 0x17b7897373f17, 0x34b33370cb7ed } },
          { { 0x39d2876f62700, 0x001cecd1d6c87, 0x7f01a11747675, 0x2350da5a18190, 0x7938bb7e22552 } },
          { { 0x591ee8681d6cc, 0x39db0b4ea79b8, 0x202220f380842, 0x2f276ba42e0ac, 0x1176fc6e2dfe6 } } },
        { { { 0x0e28949770eb8, 0x5559e88147b72, 0x35e1e6e63ef30, 0x35b109aa7ff6f, 0x1f6a3e54f2690 } },
          { { 0x76cd05b9c619b, 0x69654b0901695, 0x7a53710b77f27, 0x79a1ea7d28175, 0x08fc3a4c677d5 } },
          { { 0x4c199d30734ea, 0x6c622cb9acc14, 0x5660a55030216, 0x068f1199f11fb, 0x4f2fad0116b90 } } },
        { { { 0x4d91db73bb638, 0x55f82538112c5, 0x6d85a279815de, 0x740b7b0cd9cf9, 0x3451995f2944e } },
          { { 0x6b24194ae4e54, 0x2230afded8897, 0x23412617d5071, 0x3d5d30f35969b, 0x445484a4972ef } },
          { { 0x2fcd09fea7d7c, 0x296126b9ed22a, 0x4a171012a05b2, 0x1db92c74d5523, 0x10b89ca604289 } } },
    },
    {
        { { { 0x6bffb305b2f51, 0x5b112b2d712dd, 0x35774974fe4e2, 0x04af87a96e3a3, 0x57968290bb3a0 } },
          { { 0x7974e8c58aedc, 0x7757e083488c6, 0x601c62ae7bc8b, 0x45370c2ecab74, 0x2f1b78fab143a } },
          { { 0x2b8430a20e101, 0x1a49e1d88fee3, 0x38bbb47ce4d96, 0x1f0e7ba84d437, 0x7dc43e35dc2aa } } },
        { { { 0x02a5c273e9718, 0x32bc9dfb28b4f, 0x48df4f8d5db1a, 0x54c87976c028f, 0x044fb81d82d50 } },
          { { 0x66665887dd9c3, 0x629760a6ab0b2, 0x481e6c7243e6c, 0x097e37046fc77, 0x7ef72016758cc } },
          { { 0x718c5a907e3d9, 0x3b9c98c6b383b, 0x006ed255eccdc, 0x6976538229a59, 0x7f79823f9c30d } } },
        { { { 0x41ff068f587ba, 0x1c00a191bcd53, 0x7b56f9c209e25, 0x3781e5fccaabe, 0x64a9b0431c06d } },
          { { 0x4d239a3b513e8, 0x29723f51b1066, 0x642f4cf04d9c3, 0x4da095aa09b7a, 0x0a4e0373d784d } },
          { { 0x3d6a15b7d2919, 0x41aa75046a5d6, 0x691751ec2d3da, 0x23638ab6721c4, 0x071a7d0ace183 } } },
        { { { 0x4355220e14431, 0x0e1362a283981, 0x2757cd8359654, 0x2e9cd7ab10d90, 0x7c69bcf761775 } },
          { { 0x72daac887ba0b, 0x0b7f4ac5dda60, 0x3bdda2c0498a4, 0x74e67aa180160, 0x2c3bcc7146ea7 } },
          { { 0x0d7eb04e8295f, 0x4a5ea1e6fa0fe, 0x45e635c436c60, 0x28ef4a8d4d18b, 0x6f5a9a7322aca } } },
        { { { 0x1d4eba3d944be, 0x0100f15f3dce5, 0x61a700e367825, 0x5922292ab3d23, 0x02ab9680ee8d3 } },
          { { 0x1000c2f41c6c5, 0x0219fdf737174, 0x314727f127de7, 0x7e5277d23b81e, 0x494e21a2e147a } },
          { { 0x48a85dde50d9a, 0x1c1f734493df4, 0x47bdb64866889, 0x59a7d048f8eec, 0x6b5d76cbea46b } } },
        { { { 0x141171e782522, 0x6806d26da7c1f, 0x3f31d1bc79ab9, 0x09f20459f5168, 0x16fb869c03dd3 } },
          { { 0x7556cec0cd994, 0x5eb9a03b7510a, 0x50ad1dd91cb71, 0x1aa5780b48a47, 0x0ae333f685277 } },
          { { 0x6199733b60962, 0x69b157c266511, 0x64740f893f1ca, 0x03aa408fbf684, 0x3f81e38b8f70d } } },
        { { { 0x37f355f17c824, 0x07ae85334815b, 0x7e3abddd2e48f, 0x61eeabe1f45e5, 0x0ad3e2d34cded } },
          { { 0x10fcc7ed9affe, 0x4248cb0e96ff2, 0x4311c115172e2, 0x4c9d41cbf6925, 0x50510fc104f50 } },
          { { 0x40fc5336e249d, 0x3386639fb2de1, 0x7bbf871d17b78, 0x75f796b7e8004, 0x127c158bf0fa1 } } },
        { { { 0x28fc4ae51b974, 0x26e89bfd2dbd4, 0x4e122a07665cf, 0x7cab1203405c3, 0x4ed82479d167d } },
          { { 0x17c422e9879a2, 0x28a5946c8fec3, 0x53ab32e912b77, 0x7b44da09fe0a5, 0x354ef87d07ef4 } },
          { { 0x3b52260c5d975, 0x79d6836171fdc, 0x7d994f140d4bb, 0x1b6c404561854, 0x302d92d205392 } } },
    },
    {
        { { { 0x5cc9dc80c1ac0, 0x683671486d4cd, 0x76f5f1a5e8173, 0x6d5d3f5f9df4a, 0x7da0b8f68d7e7 } },
          { { 0x02014385675a6, 0x6155fb53d1def, 0x37ea32e89927c, 0x059a668f5a82e, 0x46115aba1d4dc } },
          { { 0x71953c3b5da76, 0x6642233d37a81, 0x2c9658076b1bd, 0x5a581e63010ff, 0x5a5f887e83674 } } },
        { { { 0x628d3a0a643b9, 0x01cd8640c93d2, 0x0b7b0cad70f2c, 0x3864da98144be, 0x43e37ae2d5d1c } },
          { { 0x301cf70a13d11, 0x2a6a1ba1891ec, 0x2f291fb3f3ae0, 0x21a7b814bea52, 0x3669b656e44d1 } },
          { { 0x63f06eda6e133, 0x233342758070f, 0x098e0459cc075, 0x4df5ead6c7c1b, 0x6a21e6cd4fd5e } } },
        { { { 0x129126699b2e3, 0x0ee11a2603de8, 0x60ac2f5c74c21, 0x59b192a196808, 0x45371b07001e8 } },
          { { 0x6170a3046e65f, 0x5401a46a49e38, 0x20add5561c4a8, 0x7abb4edde9e46, 0x586bf9f1a195f } },
          { { 0x3088d5ef8790b, 0x38c2126fcb4db, 0x685bae149e3c3, 0x0bcd601a4e930, 0x0eafb03790e52 } } },
        { { { 0x0805e0f75ae1d, 0x464cc59860a28, 0x248e5b7b00bef, 0x5d99675ef8f75, 0x44ae3344c5435 } },
          { { 0x555c13748042f, 0x4d041754232c0, 0x521b430866907, 0x3308e40fb9c39, 0x309acc675a02c } },
          { { 0x289b9bba543ee, 0x3ab592e28539e, 0x64d82abcdd83a, 0x3c78ec172e327, 0x62d5221b7f946 } } },
        { { { 0x5d4263af77a3c, 0x23fdd2289aeb0, 0x7dc64f77eb9ec, 0x01bd28338402c, 0x14f29a5383922 } },
          { { 0x4299c18d0936d, 0x5914183418a49, 0x52a18c721aed5, 0x2b151ba82976d, 0x5c0efde4bc754 } },
          { { 0x17edc25b2d7f5, 0x37336a6081bee, 0x7b5318887e5c3, 0x49f6d491a5be1, 0x5e72365c7bee0 } } },
        { { { 0x339062f08b33e, 0x4bbf3e657cfb2, 0x67af7f56e5967, 0x4dbd67f9ed68f, 0x70b20555cb734 } },
          { { 0x3fc074571217f, 0x3a0d29b2b6aeb, 0x06478ccdde59d, 0x55e4d051bddfa, 0x77f1104c47b4e } },
          { { 0x113c555112c4c, 0x7535103f9b7ca, 0x140ed1d9a2108, 0x02522333bc2af, 0x0e34398f4a064 } } },
        { { { 0x30b093e4b1928, 0x1ce7e7ec80312, 0x4e575bdf78f84, 0x61f7a190bed39, 0x6f8aded6ca379 } },
          { { 0x522d93ecebde8, 0x024f045e0f6cf, 0x16db63426cfa1, 0x1b93a1fd30fd8, 0x5e5405368a362 } },
          { { 0x0123dfdb7b29a, 0x4344356523c68, 0x79a527921ee5f, 0x74bfccb3e817e, 0x780de72ec8d3d } } },
        { { { 0x7eaf300f42772, 0x5455188354ce3, 0x4dcca4a3dcbac, 0x3d314d0bfebcb, 0x1defc6ad32b58 } },
          { { 0x28545089ae7bc, 0x1e38fe9a0c15c, 0x12046e0e2377b, 0x6721c560aa885, 0x0eb28bf671928 } },
          { { 0x3be1aef5195a7, 0x6f22f62bdb5eb, 0x39768b8523049, 0x43394c8fbfdbd, 0x467d201bf8dd2 } } },
    },
    {
        { { { 0x600c9193b877f, 0x21c1b8a0d7765, 0x379927fb38ea2, 0x70d7679dbe01b, 0x5f46040898de9 } },
          { { 0x58845832fcedb, 0x135cd7f0c6e73, 0x53ffbdfe8e35b, 0x22f195e06e55b, 0x73937e8814bce } },
          { { 0x37116297bf48d, 0x45a9e0d069720, 0x25af71aa744ec, 0x41af0cb8aaba3, 0x2cf8a4e891d5e } } },
        { { { 0x5487e17d06ba2, 0x3872a032d6596, 0x65e28c09348e0, 0x27b6bb2ce40c2, 0x7a6f7f2891d6a } },
          { { 0x3fd8707110f67, 0x26f8716a92db2, 0x1cdaa1b753027, 0x504be58b52661, 0x2049bd6e58252 } },
          { { 0x1fd8d6a9aef49, 0x7cb67b7216fa1, 0x67aff53c3b982, 0x20ea610da9628, 0x6011aadfc5459 } } },
        { { { 0x6d0c802cbf890, 0x141bfed554c7b, 0x6dbb667ef4263, 0x58f3126857edc, 0x69ce18b779340 } },
          { { 0x7926dcf95f83c, 0x42e25120e2bec, 0x63de96df1fa15, 0x4f06b50f3f9cc, 0x6fc5cc1b0b62f } },
          { { 0x75528b29879cb, 0x79a8fd2125a3d, 0x27c8d4b746ab8, 0x0f8893f02210c, 0x15596b3ae5710 } } },
        { { { 0x731167e5124ca, 0x17b38e8bbe13f, 0x3d55b942f9056, 0x09c1495be913f, 0x3aa4e241afb6d } },
          { { 0x739d23f9179a2, 0x632fadbb9e8c4, 0x7c8522bfe0c48, 0x6ed0983ef5aa9, 0x0d2237687b5f4 } },
          { { 0x138bf2a3305f5, 0x1f45d24d86598, 0x5274bad2160fe, 0x1b6041d58d12a, 0x32fcaa6e4687a } } },
        { { { 0x7a4732787ccdf, 0x11e427c7f0640, 0x03659385f8c64, 0x5f4ead9766bfb, 0x746f6336c2600 } },
          { { 0x56e8dc57d9af5, 0x5b3be17be4f78, 0x3bf928cf82f4b, 0x52e55600a6f11, 0x4627e9cefebd6 } },
          { { 0x2f345ab6c971c, 0x653286e63e7e9, 0x51061b78a23ad, 0x14999acb54501, 0x7b4917007ed66 } } },
        { { { 0x41b28dd53a2dd, 0x37be85f87ea86, 0x74be3d2a85e41, 0x1be87fac96ca6, 0x1d03620fe08cd } },
          { { 0x5fb5cab84b064, 0x2513e778285b0, 0x457383125e043, 0x6bda3b56e223d, 0x122ba376f844f } },
          { { 0x232cda2b4e554, 0x0422ba30ff840, 0x751e7667b43f5, 0x6261755da5f3e, 0x02c70bf52b68e } } },
        { { { 0x532bf458d72e1, 0x40f96e796b59c, 0x22ef79d6f9da3, 0x501ab67beca77, 0x6b0697e3feb43 } },
          { { 0x7ec4b5d0b2fbb, 0x200e910595450, 0x742057105715e, 0x2f07022530f60, 0x26334f0a409ef } },
          { { 0x0f04adf62a3c0, 0x5e0edb48bb6d9, 0x7c34aa4fbc003, 0x7d74e4e5cac24, 0x1cc37f43441b2 } } },
        { { { 0x656f1c9ceaeb9, 0x7031cacad5aec, 0x1308cd0716c57, 0x41c1373941942, 0x3a346f772f196 } },
          { { 0x7565a5cc7324f, 0x01ca0d5244a11, 0x116b067418713, 0x0a57d8c55edae, 0x6c6809c103803 } },
          { { 0x55112e2da6ac8, 0x6363d0a3dba5a, 0x319c98ba6f40c, 0x2e84b03a36ec7, 0x05911b9f6ef7c } } },
    },
};

/* ---- the field ---- */
CHOPIN_AUTH__INLINE void chopin_auth__ed25519_add(chopin_auth__ed25519_fe *r, const chopin_auth__ed25519_fe *a, const chopin_auth__ed25519_fe *b) {
    r->v[0] = a->v[0] + b->v[0], r->v[1] = a->v[1] + b->v[1], r->v[2] = a->v[2] + b->v[2], r->v[3] = a->v[3] + b->v[3], r->v[4] = a->v[4] + b->v[4];
}

/* a - b + 4p; no limb of b may exceed one of 4p, 2^53 - 76 */
CHOPIN_AUTH__INLINE void chopin_auth__ed25519_sub(chopin_auth__ed25519_fe *r, const chopin_auth__ed25519_fe *a, const chopin_auth__ed25519_fe *b) {
    const uint64_t low = 0x1fffffffffffb4, other = 0x1ffffffffffffc;
    CHOPIN_AUTH__LIMBS_UP_TO(b, low, other);
    r->v[0] = a->v[0] + low - b->v[0], r->v[1] = a->v[1] + other - b->v[1], r->v[2] = a->v[2] + other - b->v[2];
    r->v[3] = a->v[3] + other - b->v[3], r->v[4] = a->v[4] + other - b->v[4];
}

/* Five sums of products, brought to limbs of 51 bits. They are below 2^114.6, the last one below 2^110.4, so 19 times its carry fits a word. */
CHOPIN_AUTH__INLINE uint64_t chopin_auth__ed25519_limb(chopin_auth__wide *w, uint64_t carry) {
    *w = chopin_auth__wide_add(*w, carry);
    return chopin_auth__wide_high(*w) << 13 | chopin_auth__wide_low(*w) >> 51;
}
CHOPIN_AUTH__INLINE void chopin_auth__ed25519_carry(chopin_auth__ed25519_fe *r, chopin_auth__wide w[5]) {
    uint64_t carry = chopin_auth__ed25519_limb(&w[0], 0);
    carry = chopin_auth__ed25519_limb(&w[1], carry);
    carry = chopin_auth__ed25519_limb(&w[2], carry);
    carry = chopin_auth__ed25519_limb(&w[3], carry);
    carry = chopin_auth__ed25519_limb(&w[4], carry);
    uint64_t low = (chopin_auth__wide_low(w[0]) & CHOPIN_AUTH__51) + 19 * carry;
    r->v[0] = low & CHOPIN_AUTH__51;
    r->v[1] = (chopin_auth__wide_low(w[1]) & CHOPIN_AUTH__51) + (low >> 51);
    r->v[2] = chopin_auth__wide_low(w[2]) & CHOPIN_AUTH__51;
    r->v[3] = chopin_auth__wide_low(w[3]) & CHOPIN_AUTH__51;
    r->v[4] = chopin_auth__wide_low(w[4]) & CHOPIN_AUTH__51;
}

#define CHOPIN_AUTH__P(x, y)    chopin_auth__wide_mul((x), (y))
#define CHOPIN_AUTH__S(w, x, y) chopin_auth__wide_sum((w), chopin_auth__wide_mul((x), (y)))
static void chopin_auth__ed25519_mul(chopin_auth__ed25519_fe *r, const chopin_auth__ed25519_fe *x, const chopin_auth__ed25519_fe *y) {
    uint64_t a0 = x->v[0], a1 = x->v[1], a2 = x->v[2], a3 = x->v[3], a4 = x->v[4];
    uint64_t b0 = y->v[0], b1 = y->v[1], b2 = y->v[2], b3 = y->v[3], b4 = y->v[4];
    uint64_t c1 = 19 * b1, c2 = 19 * b2, c3 = 19 * b3, c4 = 19 * b4;      // 2^255 = 19
    CHOPIN_AUTH__LIMBS_UP_TO(x, UINT64_C(1) << 54, UINT64_C(1) << 54);
    CHOPIN_AUTH__LIMBS_UP_TO(y, UINT64_C(1) << 54, UINT64_C(1) << 54);
    chopin_auth__wide w[5] = {
        CHOPIN_AUTH__S(CHOPIN_AUTH__S(CHOPIN_AUTH__S(CHOPIN_AUTH__S(CHOPIN_AUTH__P(a0, b0), a1, c4), a2, c3), a3, c2), a4, c1),
        CHOPIN_AUTH__S(CHOPIN_AUTH__S(CHOPIN_AUTH__S(CHOPIN_AUTH__S(CHOPIN_AUTH__P(a0, b1), a1, b0), a2, c4), a3, c3), a4, c2),
        CHOPIN_AUTH__S(CHOPIN_AUTH__S(CHOPIN_AUTH__S(CHOPIN_AUTH__S(CHOPIN_AUTH__P(a0, b2), a1, b1), a2, b0), a3, c4), a4, c3),
        CHOPIN_AUTH__S(CHOPIN_AUTH__S(CHOPIN_AUTH__S(CHOPIN_AUTH__S(CHOPIN_AUTH__P(a0, b3), a1, b2), a2, b1), a3, b0), a4, c4),
        CHOPIN_AUTH__S(CHOPIN_AUTH__S(CHOPIN_AUTH__S(CHOPIN_AUTH__S(CHOPIN_AUTH__P(a0, b4), a1, b3), a2, b2), a3, b1), a4, b0)
    };
    chopin_auth__ed25519_carry(r, w);
}
static void chopin_auth__ed25519_sqr(chopin_auth__ed25519_fe *r, const chopin_auth__ed25519_fe *x) {
    uint64_t a0 = x->v[0], a1 = x->v[1], a2 = x->v[2], a3 = x->v[3], a4 = x->v[4];
    uint64_t d0 = 2 * a0, d1 = 2 * a1, c3 = 19 * a3, c4 = 19 * a4, e3 = 2 * c3, e4 = 2 * c4;
    CHOPIN_AUTH__LIMBS_UP_TO(x, UINT64_C(1) << 54, UINT64_C(1) << 54);
    chopin_auth__wide w[5] = {
        CHOPIN_AUTH__S(CHOPIN_AUTH__S(CHOPIN_AUTH__P(a0, a0), a1, e4), a2, e3),
        CHOPIN_AUTH__S(CHOPIN_AUTH__S(CHOPIN_AUTH__P(d0, a1), a2, e4), a3, c3),
        CHOPIN_AUTH__S(CHOPIN_AUTH__S(CHOPIN_AUTH__P(d0, a2), a1, a1), a3, e4),
        CHOPIN_AUTH__S(CHOPIN_AUTH__S(CHOPIN_AUTH__P(d0, a3), d1, a2), a4, c4),
        CHOPIN_AUTH__S(CHOPIN_AUTH__S(CHOPIN_AUTH__P(d0, a4), d1, a3), a2, a2)
    };
    chopin_auth__ed25519_carry(r, w);
}
#undef CHOPIN_AUTH__P
#undef CHOPIN_AUTH__S

static void chopin_auth__ed25519_sqr_n(chopin_auth__ed25519_fe *r, const chopin_auth__ed25519_fe *x, int n) {
    chopin_auth__ed25519_sqr(r, x);
    while (--n > 0) chopin_auth__ed25519_sqr(r, r);
}

/* r = x^(2^250 - 1), and x^11 on the way: the common part of the two exponents below */
static void chopin_auth__ed25519_power(chopin_auth__ed25519_fe *r, chopin_auth__ed25519_fe *x11, const chopin_auth__ed25519_fe *x) {
    chopin_auth__ed25519_fe a, b, c;
    chopin_auth__ed25519_sqr(&a, x);                                                          // 2
    chopin_auth__ed25519_sqr_n(&b, &a, 2), chopin_auth__ed25519_mul(&b, &b, x);               // 9
    chopin_auth__ed25519_mul(x11, &b, &a);                                                    // 11
    chopin_auth__ed25519_sqr(&a, x11), chopin_auth__ed25519_mul(&b, &a, &b);                  // 2^5 - 1
    chopin_auth__ed25519_sqr_n(&a, &b, 5),   chopin_auth__ed25519_mul(&b, &a, &b);            // 2^10 - 1
    chopin_auth__ed25519_sqr_n(&a, &b, 10),  chopin_auth__ed25519_mul(&c, &a, &b);            // 2^20 - 1
    chopin_auth__ed25519_sqr_n(&a, &c, 20),  chopin_auth__ed25519_mul(&a, &a, &c);            // 2^40 - 1
    chopin_auth__ed25519_sqr_n(&a, &a, 10),  chopin_auth__ed25519_mul(&b, &a, &b);            // 2^50 - 1
    chopin_auth__ed25519_sqr_n(&a, &b, 50),  chopin_auth__ed25519_mul(&c, &a, &b);            // 2^100 - 1
    chopin_auth__ed25519_sqr_n(&a, &c, 100), chopin_auth__ed25519_mul(&a, &a, &c);            // 2^200 - 1
    chopin_auth__ed25519_sqr_n(&a, &a, 50),  chopin_auth__ed25519_mul(r, &a, &b);             // 2^250 - 1
}

/* r = 1 / x = x^(2^255 - 21); 0 gives 0 */
static void chopin_auth__ed25519_invert(chopin_auth__ed25519_fe *r, const chopin_auth__ed25519_fe *x) {
    chopin_auth__ed25519_fe a, x11;
    chopin_auth__ed25519_power(&a, &x11, x);
    chopin_auth__ed25519_sqr_n(&a, &a, 5);
    chopin_auth__ed25519_mul(r, &a, &x11);
}

static chopin_auth__ed25519_fe chopin_auth__ed25519_load(const uint8_t in[32]) {             // 255 bits; the highest one is somebody else's
    uint64_t w0 = chopin_auth__load64le(in), w1 = chopin_auth__load64le(in + 8), w2 = chopin_auth__load64le(in + 16), w3 = chopin_auth__load64le(in + 24);
    return (chopin_auth__ed25519_fe){ { w0 & CHOPIN_AUTH__51, (w0 >> 51 | w1 << 13) & CHOPIN_AUTH__51, (w1 >> 38 | w2 << 26) & CHOPIN_AUTH__51,
                                        (w2 >> 25 | w3 << 39) & CHOPIN_AUTH__51, w3 >> 12 & CHOPIN_AUTH__51 } };
}

/* One pass of carries: limbs up to 2^63 in, below 2^51 + 2^17 out */
static void chopin_auth__ed25519_settle(chopin_auth__ed25519_fe *x) {
    uint64_t carry = 0;
    for (size_t i = 0; i < 5; i++) {
        x->v[i] += carry;
        carry = x->v[i] >> 51;
        x->v[i] &= CHOPIN_AUTH__51;
    }
    x->v[0] += 19 * carry;
}

/* The one spelling of x: below p. After two passes x < 2^255 + 2^17 or so; it is p or more exactly when x + 19 has bit 255. */
static void chopin_auth__ed25519_store(uint8_t out[32], const chopin_auth__ed25519_fe *in) {
    chopin_auth__ed25519_fe x = *in;
    chopin_auth__ed25519_settle(&x);
    chopin_auth__ed25519_settle(&x);
    uint64_t over = (x.v[0] + 19) >> 51;
    for (size_t i = 1; i < 5; i++) over = (x.v[i] + over) >> 51;
    x.v[0] += 19 * over;
    for (size_t i = 0; i < 4; i++) x.v[i + 1] += x.v[i] >> 51, x.v[i] &= CHOPIN_AUTH__51;
    x.v[4] &= CHOPIN_AUTH__51;
    chopin_auth__store64le(out,      x.v[0] | x.v[1] << 51);
    chopin_auth__store64le(out + 8,  x.v[1] >> 13 | x.v[2] << 38);
    chopin_auth__store64le(out + 16, x.v[2] >> 26 | x.v[3] << 25);
    chopin_auth__store64le(out + 24, x.v[3] >> 39 | x.v[4] << 12);
}

/* x - y == 0, of public values */
static bool chopin_auth__ed25519_same(const chopin_auth__ed25519_fe *x, const chopin_auth__ed25519_fe *y) {
    static const uint8_t zero[32];
    chopin_auth__ed25519_fe d;
    uint8_t bytes[32];
    chopin_auth__ed25519_sub(&d, x, y);
    chopin_auth__ed25519_store(bytes, &d);
    return memcmp(bytes, zero, 32) == 0;
}

/* ---- points ---- */
static const chopin_auth__ed25519_point chopin_auth__ed25519_identity = { { { 0 } }, { { 1 } }, { { 1 } }, { { 0 } } };

CHOPIN_AUTH__INLINE void chopin_auth__ed25519_finish(chopin_auth__ed25519_point *r, const chopin_auth__ed25519_fe *e, const chopin_auth__ed25519_fe *f,
                                                     const chopin_auth__ed25519_fe *g, const chopin_auth__ed25519_fe *h, bool want_t) {
    chopin_auth__ed25519_mul(&r->x, e, f);
    chopin_auth__ed25519_mul(&r->y, g, h);
    chopin_auth__ed25519_mul(&r->z, f, g);
    if (want_t) chopin_auth__ed25519_mul(&r->t, e, h);
}

/* r = 2p. T is read by additions only: do without it when a doubling follows. */
static void chopin_auth__ed25519_double(chopin_auth__ed25519_point *r, const chopin_auth__ed25519_point *p, bool want_t) {
    chopin_auth__ed25519_fe a, b, c, e, f, g, h;
    chopin_auth__ed25519_sqr(&a, &p->x);
    chopin_auth__ed25519_sqr(&b, &p->y);
    chopin_auth__ed25519_sqr(&c, &p->z);
    chopin_auth__ed25519_add(&e, &p->x, &p->y);
    chopin_auth__ed25519_sqr(&e, &e);
    chopin_auth__ed25519_add(&h, &a, &b);
    chopin_auth__ed25519_sub(&e, &h, &e);
    chopin_auth__ed25519_sub(&g, &a, &b);
    chopin_auth__ed25519_add(&c, &c, &c);
    chopin_auth__ed25519_add(&f, &c, &g);
    chopin_auth__ed25519_finish(r, &e, &f, &g, &h, want_t);
}

/* r = p + q or, minus being set, p - q; twice_z: 2 Zp Zq */
CHOPIN_AUTH__INLINE void chopin_auth__ed25519_sum(chopin_auth__ed25519_point *r, const chopin_auth__ed25519_point *p, const chopin_auth__ed25519_affine *q,
                                                  const chopin_auth__ed25519_fe *twice_z, bool minus) {
    chopin_auth__ed25519_fe a, b, c, e, f, g, h;
    chopin_auth__ed25519_sub(&a, &p->y, &p->x);
    chopin_auth__ed25519_mul(&a, &a, minus ? &q->sum : &q->difference);
    chopin_auth__ed25519_add(&b, &p->y, &p->x);
    chopin_auth__ed25519_mul(&b, &b, minus ? &q->difference : &q->sum);
    chopin_auth__ed25519_mul(&c, &p->t, &q->product);
    chopin_auth__ed25519_sub(&e, &b, &a);
    chopin_auth__ed25519_add(&h, &b, &a);
    chopin_auth__ed25519_sub(minus ? &g : &f, twice_z, &c);
    chopin_auth__ed25519_add(minus ? &f : &g, twice_z, &c);
    chopin_auth__ed25519_finish(r, &e, &f, &g, &h, true);
}
static void chopin_auth__ed25519_add_affine(chopin_auth__ed25519_point *r, const chopin_auth__ed25519_affine *q, bool minus) {
    chopin_auth__ed25519_fe z;
    chopin_auth__ed25519_add(&z, &r->z, &r->z);
    chopin_auth__ed25519_sum(r, r, q, &z, minus);
}
static void chopin_auth__ed25519_add_cached(chopin_auth__ed25519_point *r, const chopin_auth__ed25519_cached *q, bool minus) {
    chopin_auth__ed25519_fe z;
    chopin_auth__ed25519_mul(&z, &r->z, &q->z);
    chopin_auth__ed25519_sum(r, r, &q->a, &z, minus);
}
static void chopin_auth__ed25519_cache(chopin_auth__ed25519_cached *r, const chopin_auth__ed25519_point *p) {
    chopin_auth__ed25519_add(&r->a.sum, &p->y, &p->x);
    chopin_auth__ed25519_sub(&r->a.difference, &p->y, &p->x);
    chopin_auth__ed25519_mul(&r->a.product, &p->t, &chopin_auth__ed25519_2d);
    chopin_auth__ed25519_add(&r->z, &p->z, &p->z);
}

/* x = X/Z, y = Y/Z; the point as 32 bytes: y, and the lowest bit of x on top */
static void chopin_auth__ed25519_to_affine(const chopin_auth__ed25519_point *p, chopin_auth__ed25519_fe *x, chopin_auth__ed25519_fe *y) {
    chopin_auth__ed25519_fe inverse;
    chopin_auth__ed25519_invert(&inverse, &p->z);
    chopin_auth__ed25519_mul(x, &p->x, &inverse);
    chopin_auth__ed25519_mul(y, &p->y, &inverse);
}
static void chopin_auth__ed25519_encode(uint8_t out[32], const chopin_auth__ed25519_fe *x, const chopin_auth__ed25519_fe *y) {
    uint8_t sign[32];
    chopin_auth__ed25519_store(sign, x);
    chopin_auth__ed25519_store(out, y);
    out[31] |= (uint8_t)(sign[0] << 7);
}

/* x of the curve point with this y: sqrt(u / v), u = y^2 - 1, v = d y^2 + 1, by one power (RFC 8032 section 5.1.3). False: there is none. */
static bool chopin_auth__ed25519_find_x(chopin_auth__ed25519_fe *x, const chopin_auth__ed25519_fe *y) {
    static const chopin_auth__ed25519_fe one = { { 1 } };
    chopin_auth__ed25519_fe u, v, v3, t, check;
    chopin_auth__ed25519_sqr(&u, y);
    chopin_auth__ed25519_mul(&v, &u, &chopin_auth__ed25519_d);
    chopin_auth__ed25519_sub(&u, &u, &one), chopin_auth__ed25519_settle(&u);                  // it is subtracted below
    chopin_auth__ed25519_add(&v, &v, &one);
    chopin_auth__ed25519_sqr(&v3, &v), chopin_auth__ed25519_mul(&v3, &v3, &v);                // v^3
    chopin_auth__ed25519_sqr(&t, &v3), chopin_auth__ed25519_mul(&t, &t, &v), chopin_auth__ed25519_mul(&t, &t, &u);   // u v^7
    chopin_auth__ed25519_power(&check, x, &t);                                                // t^((p - 5) / 8), the exponent being 2^252 - 3
    chopin_auth__ed25519_sqr_n(&check, &check, 2), chopin_auth__ed25519_mul(&t, &check, &t);
    chopin_auth__ed25519_mul(x, &t, &v3), chopin_auth__ed25519_mul(x, x, &u);
    chopin_auth__ed25519_sqr(&check, x), chopin_auth__ed25519_mul(&check, &check, &v);        // is v x^2 = u, or -u?
    if (chopin_auth__ed25519_same(&check, &u)) return true;
    chopin_auth__ed25519_mul(x, x, &chopin_auth__ed25519_root);
    chopin_auth__ed25519_sqr(&check, x), chopin_auth__ed25519_mul(&check, &check, &v);
    return chopin_auth__ed25519_same(&check, &u);
}

/* The point that 32 public bytes spell. False: y is not below p, no such point, or -0. */
static bool chopin_auth__ed25519_decode(chopin_auth__ed25519_point *p, const uint8_t in[32]) {
    static const chopin_auth__ed25519_fe zero;
    uint8_t again[32];
    *p = chopin_auth__ed25519_identity;
    p->y = chopin_auth__ed25519_load(in);
    if (!chopin_auth__ed25519_find_x(&p->x, &p->y)) return false;
    chopin_auth__ed25519_encode(again, &p->x, &p->y);
    if ((again[31] ^ in[31]) >> 7) chopin_auth__ed25519_sub(&p->x, &zero, &p->x), chopin_auth__ed25519_settle(&p->x);
    chopin_auth__ed25519_encode(again, &p->x, &p->y);
    chopin_auth__ed25519_mul(&p->t, &p->x, &p->y);
    return memcmp(again, in, 32) == 0;
}

/* Is 8p the neutral point? For public points. */
static bool chopin_auth__ed25519_small_order(const chopin_auth__ed25519_point *p) {
    chopin_auth__ed25519_point eight;
    chopin_auth__ed25519_double(&eight, p, false);
    chopin_auth__ed25519_double(&eight, &eight, false);
    chopin_auth__ed25519_double(&eight, &eight, false);
    return chopin_auth__ed25519_same(&eight.x, &chopin_auth__ed25519_identity.x) && chopin_auth__ed25519_same(&eight.y, &eight.z);
}

/* ---- multiplying ---- */

/* The multiple of a row of the table that a secret digit asks for: all entries are read, the wanted one is kept. */
CHOPIN_AUTH__INLINE void chopin_auth__ed25519_keep(chopin_auth__ed25519_fe *r, uint64_t mask, const chopin_auth__ed25519_fe *a) {
    r->v[0] |= mask & a->v[0], r->v[1] |= mask & a->v[1], r->v[2] |= mask & a->v[2], r->v[3] |= mask & a->v[3], r->v[4] |= mask & a->v[4];
}
static void chopin_auth__ed25519_choose(chopin_auth__ed25519_affine *r, const chopin_auth__ed25519_affine row[8], int8_t digit) {
    static const chopin_auth__ed25519_fe zero;
    uint64_t negative, size = chopin_auth__bignum_split_digit(digit, &negative);
    chopin_auth__ed25519_fe sum = zero, difference = zero, product = zero, minus;
    sum.v[0] = difference.v[0] = chopin_auth__mask_zero64(size) & 1;      // the neutral point
    for (uint64_t i = 0; i < 8; i++) {
        uint64_t mask = chopin_auth__mask_equal64(size, i + 1);
        chopin_auth__ed25519_keep(&sum, mask, &row[i].sum);
        chopin_auth__ed25519_keep(&difference, mask, &row[i].difference);
        chopin_auth__ed25519_keep(&product, mask, &row[i].product);
    }
    chopin_auth__ed25519_sub(&minus, &zero, &product);
    for (size_t i = 0; i < 5; i++) {
        r->sum.v[i]        = chopin_auth__select64(negative, difference.v[i], sum.v[i]);
        r->difference.v[i] = chopin_auth__select64(negative, sum.v[i], difference.v[i]);
        r->product.v[i]    = chopin_auth__select64(negative, minus.v[i], product.v[i]);
    }
}

/* r = k times the base point, k secret and below 2^255: digit 8 g + j belongs to row g, after 4 j more doublings. */
static void chopin_auth__ed25519_base_mul(chopin_auth__ed25519_point *r, const uint64_t k[4]) {
    int8_t digits[64];
    chopin_auth__ed25519_affine entry;
    chopin_auth__bignum_signed16(digits, k);
    *r = chopin_auth__ed25519_identity;
    for (size_t j = 8; j-- > 0;) {
        for (int i = 0; i < 4 && j < 7; i++) chopin_auth__ed25519_double(r, r, i == 3);
        for (size_t g = 0; g < 8; g++) {
            chopin_auth__ed25519_choose(&entry, chopin_auth__ed25519_base[g], digits[8 * g + j]);
            chopin_auth__ed25519_add_affine(r, &entry, false);
        }
    }
    chopin_auth_wipe(digits, sizeof digits);
    chopin_auth_wipe(&entry, sizeof entry);
}

/* r = s * base + h * p, all public, p by its odd multiples: 256 doublings */
static void chopin_auth__ed25519_two_mul(chopin_auth__ed25519_point *r, const uint64_t s[4], const uint64_t h[4], const chopin_auth__ed25519_point *p) {
    int8_t of_s[257], of_h[257];
    chopin_auth__ed25519_cached odd[8], twice;
    chopin_auth__ed25519_point q;
    chopin_auth__bignum_naf(of_s, s, 4);
    chopin_auth__bignum_naf(of_h, h, 5);
    chopin_auth__ed25519_double(&q, p, true);
    chopin_auth__ed25519_cache(&twice, &q), q = *p, chopin_auth__ed25519_cache(&odd[0], &q);
    for (size_t i = 1; i < 8; i++) chopin_auth__ed25519_add_cached(&q, &twice, false), chopin_auth__ed25519_cache(&odd[i], &q);
    *r = chopin_auth__ed25519_identity;
    for (size_t i = 257; i-- > 0;) {
        chopin_auth__ed25519_double(r, r, (of_s[i] | of_h[i]) != 0);
        if (of_s[i]) chopin_auth__ed25519_add_affine(r, &chopin_auth__ed25519_base[0][abs(of_s[i]) - 1], of_s[i] < 0);
        if (of_h[i]) chopin_auth__ed25519_add_cached(r, &odd[abs(of_h[i]) / 2], of_h[i] < 0);
    }
}

/* The same with a table of p: row g has the odd multiples up to 127 of 2^(64 g) p. 65 doublings; a digit at place 256 belongs to the last row. */
typedef struct chopin_auth__ed25519_table { chopin_auth__ed25519_affine row[4][64]; } chopin_auth__ed25519_table;

static void chopin_auth__ed25519_table_mul(chopin_auth__ed25519_point *r, const uint64_t s[4], const uint64_t h[4], const chopin_auth__ed25519_table *table) {
    int8_t of_s[257], of_h[257];
    chopin_auth__bignum_naf(of_s, s, 4);
    chopin_auth__bignum_naf(of_h, h, 8);
    *r = chopin_auth__ed25519_identity;
    for (size_t j = 65; j-- > 0;) {
        chopin_auth__ed25519_double(r, r, true);
        for (size_t g = j < 64 ? 0 : 3; g < 4; g++) {
            int digit = of_s[64 * g + j];
            if (digit) chopin_auth__ed25519_add_affine(r, &chopin_auth__ed25519_base[2 * g][abs(digit) - 1], digit < 0);
            digit = of_h[64 * g + j];
            if (digit) chopin_auth__ed25519_add_affine(r, &table->row[g][abs(digit) / 2], digit < 0);
        }
    }
}

static void chopin_auth__ed25519_table_entry(chopin_auth__ed25519_affine *r, const chopin_auth__ed25519_point *p) {
    chopin_auth__ed25519_point q = chopin_auth__ed25519_identity;
    chopin_auth__ed25519_cached c;
    chopin_auth__ed25519_to_affine(p, &q.x, &q.y);
    chopin_auth__ed25519_mul(&q.t, &q.x, &q.y);
    chopin_auth__ed25519_cache(&c, &q);
    *r = c.a;
}
static void chopin_auth__ed25519_table_fill(chopin_auth__ed25519_table *table, const chopin_auth__ed25519_point *p) {
    chopin_auth__ed25519_point row = *p, q;
    chopin_auth__ed25519_cached twice;
    for (size_t g = 0; g < 4; g++) {
        chopin_auth__ed25519_double(&q, &row, true);
        chopin_auth__ed25519_cache(&twice, &q);
        q = row;
        for (size_t i = 0; i < 64; i++, chopin_auth__ed25519_add_cached(&q, &twice, false)) chopin_auth__ed25519_table_entry(&table->row[g][i], &q);
        for (int i = 0; i < 64; i++) chopin_auth__ed25519_double(&row, &row, i == 63);
    }
}

/* ---- keys and signatures ---- */

/* SHA-512 of up to three pieces, modulo the order of the group: h = high * 2^256 + low */
static void chopin_auth__ed25519_hash(uint64_t r[4], chopin_str a, chopin_str b, chopin_str c) {
    chopin_sha512_ctx sha;
    uint8_t out[64];
    uint64_t low[4], high[4];
    chopin_sha512_init(&sha);
    chopin_sha512_update(&sha, a), chopin_sha512_update(&sha, b), chopin_sha512_update(&sha, c);
    chopin_sha512_final(&sha, out);
    for (size_t i = 0; i < 4; i++) low[i] = chopin_auth__load64le(out + 8 * i), high[i] = chopin_auth__load64le(out + 32 + 8 * i);
    chopin_auth__mod256_reduce(low, low, &chopin_auth__ed25519_order);
    chopin_auth__mod256_mul(high, high, chopin_auth__ed25519_order.rr, &chopin_auth__ed25519_order);
    chopin_auth__mod256_add(r, low, high, &chopin_auth__ed25519_order);
    chopin_auth_wipe(out, sizeof out), chopin_auth_wipe(low, sizeof low), chopin_auth_wipe(high, sizeof high);
}

static void chopin_auth__ed25519_from_seed(chopin_auth__ed25519_key *key, const uint8_t seed[32]) {
    static const chopin_auth__ed25519_fe zero;
    uint8_t hash[64];
    chopin_auth__ed25519_point p;
    chopin_auth__ed25519_fe x, y;
    chopin_sha512(chopin_auth__str(seed, 32), hash);
    hash[0] &= 248, hash[31] = (uint8_t)((hash[31] & 127) | 64);
    for (size_t i = 0; i < 4; i++) key->scalar[i] = chopin_auth__load64le(hash + 8 * i);
    memcpy(key->prefix, hash + 32, 32);
    chopin_auth__ed25519_base_mul(&p, key->scalar);
    chopin_auth__mod256_reduce(key->scalar, key->scalar, &chopin_auth__ed25519_order);
    chopin_auth__ed25519_to_affine(&p, &x, &y);
    chopin_auth__ed25519_encode(key->bytes, &x, &y);
    CHOPIN_AUTH__PUBLIC(key->bytes, 32, "the public key");
    chopin_auth__ed25519_sub(&x, &zero, &x), chopin_auth__ed25519_settle(&x);
    memcpy(key->x, x.v, sizeof key->x), memcpy(key->y, y.v, sizeof key->y);
    CHOPIN_AUTH__PUBLIC(key->x, sizeof key->x + sizeof key->y, "the public key");
    chopin_auth_wipe(hash, sizeof hash), chopin_auth_wipe(&p, sizeof p);
}

/* The negated public point, for verifying */
static chopin_auth__ed25519_point chopin_auth__ed25519_minus_a(const chopin_auth__ed25519_key *key) {
    chopin_auth__ed25519_point p = chopin_auth__ed25519_identity;
    memcpy(p.x.v, key->x, sizeof p.x), memcpy(p.y.v, key->y, sizeof p.y);
    chopin_auth__ed25519_mul(&p.t, &p.x, &p.y);
    return p;
}

static int chopin_auth__ed25519_from_public(chopin_auth__ed25519_key *key, const uint8_t bytes[32]) {
    static const chopin_auth__ed25519_fe zero;
    chopin_auth__ed25519_point p;
    if (!chopin_auth__ed25519_decode(&p, bytes)) return CHOPIN_AUTH_KEY;
    if (chopin_auth__ed25519_small_order(&p)) return CHOPIN_AUTH_WEAK_KEY;
    chopin_auth__ed25519_sub(&p.x, &zero, &p.x), chopin_auth__ed25519_settle(&p.x);
    memcpy(key->x, p.x.v, sizeof key->x), memcpy(key->y, p.y.v, sizeof key->y);
    memcpy(key->bytes, bytes, 32);
    return CHOPIN_AUTH_OK;
}

/* RFC 8032 section 5.1.6: r from prefix and message, R = r B, S = r + H(R, A, message) * a. Multiplying by 2^256 in between undoes Montgomery's division. */
static void chopin_auth__ed25519_make(const chopin_auth__ed25519_key *key, chopin_str message, uint8_t signature[64]) {
    uint64_t r[4], h[4];
    chopin_auth__ed25519_point p;
    chopin_auth__ed25519_fe x, y;
    chopin_auth__ed25519_hash(r, chopin_auth__str(key->prefix, 32), message, chopin_auth__str(NULL, 0));
    chopin_auth__ed25519_base_mul(&p, r);
    chopin_auth__ed25519_to_affine(&p, &x, &y);
    chopin_auth__ed25519_encode(signature, &x, &y);
    CHOPIN_AUTH__PUBLIC(signature, 32, "R, half of the signature");
    chopin_auth__ed25519_hash(h, chopin_auth__str(signature, 32), chopin_auth__str(key->bytes, 32), message);
    chopin_auth__mod256_mul(h, h, chopin_auth__ed25519_order.rr, &chopin_auth__ed25519_order);
    chopin_auth__mod256_mul(h, h, key->scalar, &chopin_auth__ed25519_order);
    chopin_auth__mod256_add(h, h, r, &chopin_auth__ed25519_order);
    for (size_t i = 0; i < 4; i++) chopin_auth__store64le(signature + 32 + 8 * i, h[i]);
    CHOPIN_AUTH__PUBLIC(signature + 32, 32, "S, half of the signature");
    chopin_auth_wipe(r, sizeof r), chopin_auth_wipe(&p, sizeof p), chopin_auth_wipe(&x, sizeof x), chopin_auth_wipe(&y, sizeof y);
}

/* S B = R + H(R, A, message) A, computed as R = S B + h (-A) and compared as bytes, so R must be canonical; then R must not be of small order. */
static int chopin_auth__ed25519_check(const chopin_auth__ed25519_key *key, const void *table, chopin_str message, const uint8_t signature[64]) {
    uint64_t s[4], h[4];
    uint8_t bytes[32];
    chopin_auth__ed25519_point p, minus_a;
    chopin_auth__ed25519_fe x, y;
    for (size_t i = 0; i < 4; i++) s[i] = chopin_auth__load64le(signature + 32 + 8 * i);
    if (!chopin_auth__bignum_less(s, chopin_auth__ed25519_order.m, 4)) return CHOPIN_AUTH_SIGNATURE;
    chopin_auth__ed25519_hash(h, chopin_auth__str(signature, 32), chopin_auth__str(key->bytes, 32), message);
    if (table) chopin_auth__ed25519_table_mul(&p, s, h, table);
    else minus_a = chopin_auth__ed25519_minus_a(key), chopin_auth__ed25519_two_mul(&p, s, h, &minus_a);
    chopin_auth__ed25519_to_affine(&p, &x, &y);
    chopin_auth__ed25519_encode(bytes, &x, &y);
    if (memcmp(bytes, signature, 32) != 0 || chopin_auth__ed25519_small_order(&p)) return CHOPIN_AUTH_SIGNATURE;
    return CHOPIN_AUTH_OK;
}
#endif
/* ==========================================================================================================
   >>p256   ECDSA over P-256 with SHA-256 (FIPS 186-5, RFC 6979)
   Field elements are four words below p in Montgomery form. Two kinds of points: signing and making keys use homogeneous coordinates with the complete
   formulas of Renes, Costello and Batina (2015), where no sum is a special case, and read whole tables; verifying works on public data in Jacobian
   coordinates, which are faster and have special cases.
   ========================================================================================================== */
#ifndef CHOPIN_AUTH_NO_P256
typedef struct chopin_auth__p256_affine { uint64_t x[4], y[4]; } chopin_auth__p256_affine;
typedef struct chopin_auth__p256_point  { uint64_t x[4], y[4], z[4]; } chopin_auth__p256_point;

static const uint64_t chopin_auth__p256_p[4]   = { 0xffffffffffffffff, 0x00000000ffffffff, 0x0000000000000000, 0xffffffff00000001 };
static const uint64_t chopin_auth__p256_rr[4]  = { 0x0000000000000003, 0xfffffffbffffffff, 0xfffffffffffffffe, 0x00000004fffffffd };
static const uint64_t chopin_auth__p256_one[4] = { 0x0000000000000001, 0xffffffff00000000, 0xffffffffffffffff, 0x00000000fffffffe };
static const uint64_t chopin_auth__p256_b[4]   = { 0xd89cdf6229c4bddf, 0xacf005cd78843090, 0xe5a220abf7212ed6, 0xdc30061d04874834 };
static const chopin_auth__mod256 chopin_auth__p256_order = {
    { 0xf3b9cac2fc632551, 0xbce6faada7179e84, 0xffffffffffffffff, 0xffffffff00000000 },
    { 0x83244c95be79eea2, 0x4699799c49bd6fa6, 0x2845b2392b6bec59, 0x66e12d94f3d95620 }, 0xccd1c8aaee00bc4f
};

/* d * 2^(32 g) times the base point, in row g, column d - 1 (tests/tools/make_tables.py) */
static const chopin_auth__p256_affine chopin_auth__p256_base[8][8] = {
    {
        { { 0x79e730d418a9143c, 0x75ba95fc5fedb601, 0x79fb732b77622510, 0x18905f76a53755c6 },
          { 0xddf25357ce95560a, 0x8b4ab8e4ba19e45c, 0xd2e88688dd21f325, 0x8571ff1825885d85 } },
        { { 0x850046d410ddd64d, 0xaa6ae3c1a433827d, 0x732205038d1490d9, 0xf6bb32e43dcf3a3b },
          { 0x2f3648d361bee1a5, 0x152cd7cbeb236ff8, 0x19a8fb0e92042dbe, 0x78c577510a5b8a3b } },
        { { 0xffac3f904eebc127, 0xb027f84a087d81fb, 0x66ad77dd87cbbc98, 0x26936a3fb6ff747e },
          { 0xb04c5c1fc983a7eb, 0x583e47ad0861fe1a, 0x788208311a2ee98e, 0xd5f06a29e587cc07 } },
        { { 0x74b0b50d46918dcc, 0x4650a6edc623c173, 0x0cdaacace8100af2, 0x577362f541b0176b },
          { 0x2d96f24ce4cbaba6, 0x17628471fad6f447, 0x6b6c36dee5ddd22e, 0x84b14c394c5ab863 } },
        { { 0xbe1b8aaec45c61f5, 0x90ec649a94b9537d, 0x941cb5aad076c20c, 0xc9079605890523c8 },
          { 0xeb309b4ae7ba4f10, 0x73c568efe5eb882b, 0x3540a9877e7a1f68, 0x73a076bb2dd1e916 } },
        { { 0x403947373e77664a, 0x55ae744f346cee3e, 0xd50a961a5b17a3ad, 0x13074b5954213673 },
          { 0x93d36220d377e44b, 0x299c2b53adff14b5, 0xf424d44cef639f11, 0xa4c9916d4a07f75f } },
        { { 0x0746354ea0173b4f, 0x2bd20213d23c00f7, 0xf43eaab50c23bb08, 0x13ba5119c3123e03 },
          { 0x2847d0303f5b9d4d, 0x6742f2f25da67bdd, 0xef933bdc77c94195, 0xeaedd9156e240867 } },
        { { 0x27f14cd19499a78f, 0x462ab5c56f9b3455, 0x8f90f02af02cfc6b, 0xb763891eb265230d },
          { 0xf59da3a9532d4977, 0x21e3327dcf9eba15, 0x123c7b84be60bbf0, 0x56ec12f27706df76 } },
    },
    {
        { { 0x202886024147519a, 0xd0981eac26b372f0, 0xa9d4a7caa785ebc8, 0xd953c50ddbdf58e9 },
          { 0x9d6361ccfd590f8f, 0x72e9626b44e6c917, 0x7fd9611022eb64cf, 0x863ebb7e9eb288f3 } },
        { { 0x877b7cf5678a31b0, 0xd50301ae3998b620, 0x734257c5c00fb396, 0xf9fb18a004e672a6 },
          { 0xff8bd8ebe8758851, 0x1e64e4c65d99ba44, 0x4b8eaedf7dfd93b7, 0xba2f2a9804e76b8c } },
        { { 0xa18f07e0e90fb21e, 0x00fd2b80bba7fca1, 0x20387f2795cd67b5, 0x5b89a4e7d39707f7 },
          { 0x8f83ad3f894407ce, 0xa0025b946c226132, 0xc79563c7f906c13b, 0x5f548f314e7bb025 } },
        { { 0x0ee6d3a7c35d8794, 0x042e65580356bae5, 0x9f59698d643322fd, 0x9379ae1550a61967 },
          { 0x64b9ae62fcc9981e, 0xaed3d6316d2934c6, 0x2454b3025e4e65eb, 0xab09f647f9950428 } },
        { { 0xc1b3d3d331b85f09, 0x0f45354aa88ae64a, 0xa8b626d32fec50fd, 0x1bdcfbd4e828834f },
          { 0xe45a2866cd522539, 0xfa9d4732810f7ab3, 0xd8c1d6b4c905f293, 0x10ac80473461b597 } },
        { { 0xe2c815366d91cd2c, 0x40a2beeadaa3f0e4, 0xfb167a592441e083, 0x004675e9e9240347 },
          { 0x7848aaff840e446e, 0x9f9f258fea308f72, 0x50f12899639bfad9, 0x0939ae63205c0af6 } },
        { { 0xbbb175146fc627e2, 0xa0569bc591573a51, 0xa7016d9e358243d5, 0x0dac0c56ac1d6692 },
          { 0x993833b5da590d5f, 0xa8067803de817491, 0x65b4f2124dbf75d0, 0xcc960232ccf80cfb } },
        { { 0xb2083a1222248acc, 0x1f6ec0ef3264e366, 0x5659b7045afdee28, 0x7a823a40e6430bb5 },
          { 0x24592a04e1900a79, 0xcde09d4ac9ee6576, 0x52b6463f4b5ea54a, 0x1efe9ed3d3ca65a7 } },
    },
    {
        { { 0x4f922fc516a0d2bb, 0x0d5cc16c1a623499, 0x9241cf3a57c62c8b, 0x2f5e6961fd1b667f },
          { 0x5c15c70bf5a01797, 0x3d20b44d60956192, 0x04911b37071fdb52, 0xf648f9168d6f0f7b } },
        { { 0x027cc8b8fac61d9a, 0x7d25e062e3c6fe8a, 0xe08805bfe5bff503, 0x13271e6c6ff632f7 },
          { 0x55dca6c0232f76a5, 0x8957c32d701ef426, 0xee728bcba10a5178, 0x5ea60411b62c5173 } },
        { { 0x4090914bb5def996, 0x1cb69c83233dd1e7, 0xc1e9c1d39b3d5e76, 0x1f3338edfccf6012 },
          { 0xb1e95d0d2f5378a8, 0xacf4c2c72f00cd21, 0x6e984240eb5fe290, 0xd66c038d248088ae } },
        { { 0x9ad5462bb4d8bc50, 0x181c0b16a9195770, 0xebd4fe1c78412a68, 0xae0341bcc0dff48c },
          { 0xb6bc45cf7003e866, 0xf11a6dea8a24a41b, 0x5407151ad04c24c2, 0x62c9d27dda5b7b68 } },
        { { 0xd4992b30614c0900, 0xda98d121bd00c24b, 0x7f534dc87ec4bfa1, 0x4a5ff67437dc34bc },
          { 0x68c196b81d7ea1d7, 0x38cf289380a6d208, 0xfd56cd09e3cbbd6e, 0xec72e27e4205a5b6 } },
        { { 0x32865719a8afd30b, 0x867983288a826dce, 0xdf04e891c4a8fbe0, 0xbb6b6e1bebf56ad3 },
          { 0x0a695b11471f1ff0, 0xd76c3389be15baf0, 0x018edb95be96c43e, 0xf2beaaf490794158 } },
        { { 0xe8b97932b88756dd, 0xed4e8652f17e3e61, 0xc2dd14993ee1c4a4, 0xc0aaee17597f8c0e },
          { 0x15c4edb96c168af3, 0x6563c7bfb39ae875, 0xadfadb6f20adb436, 0xad55e8c99a042ac0 } },
        { { 0x0a50b12e523b8bf6, 0x8009eb5b8f910c1b, 0xf535af824a167588, 0x0f835f9cfb2a2abd },
          { 0xf59b29312afceb62, 0xc797df2a169d383f, 0xeb3f5fb066ac02b0, 0x029d4c6fdaa2d0ca } },
    },
    {
        { { 0x4fe7ee31b0e63d34, 0xf4600572a9e54fab, 0xc0493334d5e7b5a4, 0x8589fb9206d54831 },
          { 0xaa70f5cc6583553a, 0x0879094ae25649e5, 0xcc90450710044652, 0xebb0696d02541c4f } },
        { { 0x758c1a3ea2dee7a6, 0xdcde2f3c734b2284, 0xaba445d24eaba6ad, 0x35aaf66876cee0a7 },
          { 0x7e0b04a9e5aa049a, 0xe74083ad91103e84, 0xbeb183ce40afecc3, 0x6b89de9fea043f7a } },
        { { 0xb99f0e0399375235, 0x7614c847b9917970, 0xfec93ce9524ec067, 0xe40e7bf89b122520 },
          { 0xb5670631ee4c4774, 0x6f03847a3b04914c, 0xc96e9429dc9dd226, 0x43489b6c8c57c1f8 } },
        { { 0x0e299d23fe67ba66, 0x9145076093cf2f34, 0xf45b5ea997fcf913, 0x5be008438bd7ddda },
          { 0x358c3e05d53ff04d, 0xbf7ccdc35de91ef7, 0xad684dbfb69ec1a0, 0x367e7cf2801fd997 } },
        { { 0x46ffd227cc2338fb, 0x89ff6fa990e26153, 0xbe570779331a0076, 0x43d241c506e1f3af },
          { 0xfdcdb97dde9b62a3, 0x6a06e984a0ae30ea, 0xc9bf16804fbddf7d, 0x170471a2d36163c4 } },
        { { 0xff5ba8ae3113655e, 0xfa2c6e2b57b83180, 0x1c48271977e0eabe, 0xf9f3c555337fea97 },
          { 0x340f7022a42581cb, 0xe1de0bc218f710e3, 0xee640adef62e5aa8, 0x16b2389149428940 } },
        { { 0x361619e455950cc3, 0xc71d665c56b66bb8, 0xea034b34afac6d84, 0xa987f832e5e4c7e3 },
          { 0xa07427727a79a6a7, 0x56e5d017e26d6c23, 0x7e50b97638167e10, 0xaa6c81efe88aa84e } },
        { { 0x0ca1f3b7b0dc8595, 0x27de46089f1d9f2e, 0x1af3bf39badd82a7, 0x79356a7965862448 },
          { 0xc0602345f5f9a052, 0x1a8b0f89139a42f9, 0xb53eee42844d40fc, 0x93b0bfe54e5b6368 } },
    },
    {
        { { 0x62a8c244bfe20925, 0x91c19ac38fdce867, 0x5a96a5d5dd387063, 0x61d587d421d324f6 },
          { 0xe87673a2a37173ea, 0x2384800853778b65, 0x10f8441e05bab43e, 0xfa11fe124621efbe } },
        { { 0x23f949feb8a24a20, 0x17ebfed1f52ca53f, 0x9b691bbebcfb4853, 0x5617ff6b6278a05d },
          { 0x241b34c5e3c99ebd, 0xfc64242e1784156a, 0x4206482f695d67df, 0xb967ce0eee27c011 } },
        { { 0xc0f734a3b2335834, 0x9526205a90ef6860, 0xcb8be71704e2bb0d, 0x2418871e02f383fa },
          { 0xd71776814082c157, 0xcc914ad029c20073, 0xf186c1ebe587e728, 0x6fdb3c2261bcd5fd } },
        { { 0xb4480f0441c23fa3, 0xb4712eb0c1989a2e, 0x3ccbba0f93a29ca7, 0x6e205c14d619428c },
          { 0x90db7957b3641686, 0x0432691d45ac8b4e, 0x07a759acf64e0350, 0x0514d89c9c972517 } },
        { { 0xcc7c4c1c2cf9d7c1, 0x1320886aee95e5ab, 0xbb7b9056beae170c, 0xc8a5b250dbc0d662 },
          { 0x4ed81432c11d2303, 0x7da669121f03769f, 0x3ac7a5fd84539828, 0x14dada943bccdd02 } },
        { { 0x7bb4f7aaf0dcbc49, 0x7de551f970bbb45b, 0xcfd0f3e49f2ca2e5, 0xece587091f5c76ef },
          { 0x32920edd167d79ae, 0x039df8a2fa7d7ec1, 0xf46206c0bb30af91, 0x1ff5e2f522676b59 } },
        { { 0x51b90651cbae2f70, 0xefc4bc0593aaa8eb, 0x8ecd8689dd1df499, 0x1aee99a822f367a5 },
          { 0x95d485b9ae8274c5, 0x6c14d4457d30b39c, 0xbafea90bbcc1ef81, 0x7c5f317aa459a2ed } },
        { { 0xe3b22c6bc4fe3c39, 0xba4a81536c7bebdf, 0xf23ab6b725693459, 0x53bc377014922b11 },
          { 0x4645c8ab5afc60db, 0xaa02235520b9f2a3, 0x52a2954cce0fc507, 0x8c2731bb7ce1c2e7 } },
    },
    {
        { { 0xd433e50f6d3549cf, 0x6f33696ffacd665e, 0x695bfdacce11fcb4, 0x810ee252af7c9860 },
          { 0x65450fe17159bb2c, 0xf7dfbebe758b357b, 0x2b057e74d69fea72, 0xd485717a92731745 } },
        { { 0x896c42e8ee36860c, 0xdaf04dfd4113c22d, 0x1adbb7b744104213, 0xe5fd5fa11fd394ea },
          { 0x68235d941a4e0551, 0x6772cfbe18d10151, 0x276071e309984523, 0xe4e879de5a56ba98 } },
        { { 0x6c8d0aa9b898fd52, 0x2fb38a57be9af1a7, 0xe1f2b9a93b4f03f8, 0x2b1aad44c3f0cc6f },
          { 0x58b5332e7cf2c084, 0x1c57d96f0367d26d, 0x2297eabdfa6e4a8d, 0x65a947ee4a0e2b6a } },
        { { 0xaaafafb0285b9491, 0x01a0be881e4c705e, 0xff1d4f5d2ad9caab, 0x6e349a4ac37a233f },
          { 0xcf1c12464a1c6a16, 0xd99e6b6629383260, 0xea3d43665f6d5471, 0x36974d04ff8cc89b } },
        { { 0xf535b616fdd5b854, 0x592549c85728719f, 0xe231468606921cad, 0x98c8ce34311b1ef8 },
          { 0x28b937e7e9090b36, 0x67fc3ab90bf7bbb7, 0x12337097a9d87974, 0x3e5adca1f970e3fe } },
        { { 0xc26c49a1cfe89d80, 0xb42c026dda9c8371, 0xca6c013adad066d2, 0xfb8f722856a4f3ee },
          { 0x08b579ecd850935b, 0x34c1a74cd631e1b3, 0xcb5fe596ac198534, 0x39ff21f6e1f24f25 } },
        { { 0xcdcc68a7b3f85ff0, 0xacd21cdd1a888044, 0xb6719b2e05dbe894, 0xfae1d3d88b8260d4 },
          { 0xedfedece8a1c5d92, 0xbca01a94dc52077e, 0xc085549c16dd13ed, 0xdc5c3bae495ebaad } },
        { { 0x27f29e148f929057, 0x7a64ae06c0c853df, 0x256cd18358e9c5ce, 0x9d9cce82ded092a5 },
          { 0xcc6e59796e93b7c7, 0xe1e4709231bb9e27, 0xb70b3083aa9e29a0, 0xbf181a753785e644 } },
    },
    {
        { { 0x56f8410ef4f8b16a, 0x97241afec47b266a, 0x0a406b8e6d9c87c1, 0x803f3e02cd42ab1b },
          { 0x7f0309a804dbec69, 0xa83b85f73bbad05f, 0xc6097273ad8e197f, 0xc097440e5067adc1 } },
        { { 0x3f747fa0b311898c, 0xe2a272e4cd0eac65, 0x4bba5851f914d0bc, 0x7a1a9660c4a43ee3 },
          { 0xe5a367cea1c8cde9, 0x9d958ba97271abe3, 0xf3ff7eb63d1615cd, 0xa2280dcef5ae20b0 } },
        { { 0x266344a43794f8dc, 0xdcca923a483c5c36, 0x2d6b6bbf3f9d10a0, 0xb320c5ca81d9bdf3 },
          { 0x620e28ff47b50a95, 0x933e3b01cef03371, 0xf081bf8599100153, 0x183be9a0c3a8c8d6 } },
        { { 0xb6c185c341dca566, 0x7de7fedad8622aa3, 0x99e84d92901b6dfb, 0x30a02b0e7c4ad288 },
          { 0xc7c81daa2fd3cf36, 0xd1319547df89e59f, 0xb2be8184cd496733, 0xd5f449eb93d3412b } },
        { { 0x25470fabe085116b, 0x04a4337587285310, 0x4e39187ee2bfd52f, 0x36166b447d9ebc74 },
          { 0x92ad433cfd4b322c, 0x726aa817ba79ab51, 0xf96eacd8c1db15eb, 0xfaf71e910476be63 } },
        { { 0xd74e9bdac97e6516, 0x88779360c230f49e, 0xa6ec1de31e74ea49, 0x581dcee53fb645a2 },
          { 0xbaef23918f483f14, 0x6d2dddfcd137d13b, 0x54cde50ed2743a42, 0x89a34fc5e4d97e67 } },
        { { 0x72cfd2e949dee168, 0x1ae052233e2af239, 0x009e75be1d94066a, 0x6cca31c738abf413 },
          { 0xb50bd61d9bc49908, 0x4a9b4a8cf5e2bc1e, 0xeb6cc5f7946f83ac, 0x27da93fcebffab28 } },
        { { 0xc492ec644cd8f64c, 0x58a2d790279d7b51, 0x0ced1fc51fc75256, 0x3e658aed8f433017 },
          { 0x0b61942e05da59eb, 0xba3d60a30ddc3722, 0x7c311cd1742e7f87, 0x6473ffeef6b01b6e } },
    },
    {
        { { 0xe3417bc035d0b34a, 0x440b386b8327c0a7, 0x8fb7262dac0362d1, 0x2c41114ce0cdf943 },
          { 0x2ba5cef1ad95a0b1, 0xc09b37a867d54362, 0x26d6cdd201e486c9, 0x20477abf42ff9297 } },
        { { 0xa004dcb3292a9287, 0xddc15cf677b092c7, 0x083a8464806c0605, 0x4a68df703db997b0 },
          { 0x9c134e4505bf7dd0, 0xa4e63d398ccf7f8c, 0xa6e6517f41b5f8af, 0xaa8b9342ad7bc1cc } },
        { { 0x126f35b51e706ad9, 0xb99cebb4c3a9ebdf, 0xa75389afbf608d90, 0x76113c4fc6c89858 },
          { 0x80de8eb097e2b5aa, 0x7e1022cc63b91304, 0x3bdab6056ccc066c, 0x33cbb144b2edf900 } },
        { { 0xc41764717af715d2, 0xe2f7f594d0134a96, 0x2c1873efa41ec956, 0xe4e7b4f677821304 },
          { 0xe5c8ff9788d5374a, 0x2b915e6380823d5b, 0xea6bc755b2ee8fe2, 0x6657624ce7112651 } },
        { { 0x157af101dace5aca, 0xc4fdbcf211a6a267, 0xdaddf340c49c8609, 0x97e49f52e9604a65 },
          { 0x9be8e790937e2ad5, 0x846e2508326e17f1, 0x3f38007a0bbbc0dc, 0xcf03603fb11e16d6 } },
        { { 0xd6f800e07442f1d5, 0x475607d166e0e3ab, 0x82807f16b7c64047, 0x8858e1e3a749883d },
          { 0x5859120b8231ee10, 0x1b80e7eb638a1ece, 0xcb72525ac6aa73a4, 0xa7cdea3d844423ac } },
        { { 0x5ed0c007f8ae7c38, 0x6db07a5c3d740192, 0xbe5e9c2a5fe36db3, 0xd5b9d57a76e95046 },
          { 0x54ac32e78eba20f2, 0xef11ca8f71b9a352, 0x305e373eff98a658, 0xffe5a100823eb667 } },
        { { 0x57477b11e51732d2, 0xdfd6eb282538fc0e, 0x5c43b0cc3b39eec5, 0x6af12778cb36cc57 },
          { 0x70b0852d06c425ae, 0x6df92f8c5c221b9b, 0x6c8d4f9ece826d9c, 0xf59aba7bb49359c3 } },
    },
};

/* ---- the field ---- */

/* Clears t0 by adding q * p with q = t0, for -1/p mod 2^64 is 1. p is 2^256 - 2^224 + 2^192 + 2^96 - 1, so this adds q * 2^32 from t1 on and q * (2^64 - 2^32 + 1)
 * from t3 on. What goes above t3 takes the place of t0 and fits it. */
#ifdef CHOPIN_AUTH__ASM
#define CHOPIN_AUTH__P256_CLEAR(t0, t1, t2, t3)                                                                                                     \
    __asm__("movq %[a], %[l]\n\tmovq %[a], %[h]\n\tshlq $32, %[l]\n\tshrq $32, %[h]\n\tmovq %[a], %[x]\n\tsubq %[l], %[x]\n\tsbbq %[h], %[a]\n\t"   \
            "addq %[l], %[b]\n\tadcq %[h], %[c]\n\tadcq %[x], %[d]\n\tadcq $0, %[a]"                                                              \
            : [a] "+&r"(t0), [b] "+&r"(t1), [c] "+&r"(t2), [d] "+&r"(t3), [l] "=&r"(low), [h] "=&r"(high), [x] "=&r"(x) : : "cc")
#else
#define CHOPIN_AUTH__P256_CLEAR(t0, t1, t2, t3)                                                                                                     \
    (x = 0, low = t0 << 32, high = t0 >> 32, t1 = chopin_auth__bignum_addc(&x, t1, low), t2 = chopin_auth__bignum_addc(&x, t2, high),                \
     t3 = chopin_auth__bignum_mac(&x, t0, 0xffffffff00000001, t3), t0 = x)
#endif

/* r = t / 2^256 mod p: the lower half is cleared, and what it became is added to the upper one. */
CHOPIN_AUTH__INLINE void chopin_auth__p256_reduce(uint64_t r[4], const uint64_t t[8]) {
    uint64_t t0 = t[0], t1 = t[1], t2 = t[2], t3 = t[3], low, high, x;
    CHOPIN_AUTH__P256_CLEAR(t0, t1, t2, t3);
    CHOPIN_AUTH__P256_CLEAR(t1, t2, t3, t0);
    CHOPIN_AUTH__P256_CLEAR(t2, t3, t0, t1);
    CHOPIN_AUTH__P256_CLEAR(t3, t0, t1, t2);
    uint64_t half[4] = { t0, t1, t2, t3 }, sum[4], carry = chopin_auth__bignum_add4(sum, t + 4, half);
    chopin_auth__bignum_trim4(r, sum, carry, chopin_auth__p256_p);
}
static void chopin_auth__p256_mul(uint64_t r[4], const uint64_t a[4], const uint64_t b[4]) {
    uint64_t t[8];
    chopin_auth__bignum_mul4(t, a, b);
    chopin_auth__p256_reduce(r, t);
}
static void chopin_auth__p256_sqr(uint64_t r[4], const uint64_t a[4]) {
    uint64_t t[8];
    chopin_auth__bignum_sqr4(t, a);
    chopin_auth__p256_reduce(r, t);
}
CHOPIN_AUTH__INLINE void chopin_auth__p256_add(uint64_t r[4], const uint64_t a[4], const uint64_t b[4]) {
    uint64_t t[4], carry = chopin_auth__bignum_add4(t, a, b);
    chopin_auth__bignum_trim4(r, t, carry, chopin_auth__p256_p);
}
CHOPIN_AUTH__INLINE void chopin_auth__p256_sub(uint64_t r[4], const uint64_t a[4], const uint64_t b[4]) {
    uint64_t t[4], mask = chopin_auth__mask_bit64(chopin_auth__bignum_sub4(t, a, b));
    const uint64_t p[4] = { mask, mask >> 32, 0, mask & 0xffffffff00000001 };            // comes back when that was negative
    (void)chopin_auth__bignum_add4(r, t, p);
}
static void chopin_auth__p256_triple(uint64_t r[4], const uint64_t a[4]) {
    uint64_t t[4];
    chopin_auth__p256_add(t, a, a);
    chopin_auth__p256_add(r, t, a);
}
static void chopin_auth__p256_sqr_n(uint64_t r[4], const uint64_t a[4], int n) {
    chopin_auth__p256_sqr(r, a);
    while (--n > 0) chopin_auth__p256_sqr(r, r);
}

/* r = 1 / a = a^(p-2); 0 gives 0. xN is a^(2^N - 1). */
static void chopin_auth__p256_invert(uint64_t r[4], const uint64_t a[4]) {
    uint64_t x2[4], x4[4], x8[4], x16[4], x30[4], x32[4], t[4];
    chopin_auth__p256_sqr(t, a),             chopin_auth__p256_mul(x2, t, a);
    chopin_auth__p256_sqr_n(t, x2, 2),       chopin_auth__p256_mul(x4, t, x2);
    chopin_auth__p256_sqr_n(t, x4, 4),       chopin_auth__p256_mul(x8, t, x4);
    chopin_auth__p256_sqr_n(t, x8, 8),       chopin_auth__p256_mul(x16, t, x8);
    chopin_auth__p256_sqr_n(t, x8, 4),       chopin_auth__p256_mul(x30, t, x4);          // 12
    chopin_auth__p256_sqr_n(t, x16, 12),     chopin_auth__p256_mul(x30, t, x30);         // 28
    chopin_auth__p256_sqr_n(t, x30, 2),      chopin_auth__p256_mul(x30, t, x2);          // 30
    chopin_auth__p256_sqr_n(t, x30, 2),      chopin_auth__p256_mul(x32, t, x2);
    chopin_auth__p256_sqr_n(t, x32, 32),     chopin_auth__p256_mul(t, t, a);             // ffffffff 00000001
    chopin_auth__p256_sqr_n(t, t, 128),      chopin_auth__p256_mul(t, t, x32);           // 00000000 00000000 00000000 ffffffff
    chopin_auth__p256_sqr_n(t, t, 32),       chopin_auth__p256_mul(t, t, x32);           // ffffffff
    chopin_auth__p256_sqr_n(t, t, 30),       chopin_auth__p256_mul(t, t, x30);           // fffffffd
    chopin_auth__p256_sqr_n(t, t, 2),        chopin_auth__p256_mul(r, t, a);
}

/* ---- secret points: X/Z, Y/Z; the neutral one is (0, 1, 0) ---- */

/* The second half of both formulas below. With xx, yy, zz the products of like coordinates, and xy, yz, xz the crosswise sums: u = 3 (xz - b zz),
 * v = 3 (b xz - 3 zz - xx), w = 3 (xx - zz); then X = xy (yy + u) - yz v, Y = (yy + u)(yy - u) + w v, Z = yz (yy - u) + xy w. */
typedef struct chopin_auth__p256_parts { uint64_t xx[4], yy[4], zz[4], xy[4], yz[4], xz[4]; } chopin_auth__p256_parts;

static void chopin_auth__p256_combine(chopin_auth__p256_point *r, chopin_auth__p256_parts *s) {
    uint64_t u[4], v[4], w[4], t[4];
    chopin_auth__p256_mul(t, chopin_auth__p256_b, s->zz),  chopin_auth__p256_sub(t, s->xz, t),   chopin_auth__p256_triple(u, t);
    chopin_auth__p256_triple(w, s->zz);
    chopin_auth__p256_mul(v, chopin_auth__p256_b, s->xz),  chopin_auth__p256_sub(v, v, w),       chopin_auth__p256_sub(v, v, s->xx), chopin_auth__p256_triple(v, v);
    chopin_auth__p256_triple(t, s->xx),                    chopin_auth__p256_sub(w, t, w);
    chopin_auth__p256_add(t, s->yy, u),                    chopin_auth__p256_sub(u, s->yy, u);  // t = yy + u, u = yy - u
    chopin_auth__p256_mul(r->x, s->xy, t),  chopin_auth__p256_mul(s->zz, s->yz, v), chopin_auth__p256_sub(r->x, r->x, s->zz);
    chopin_auth__p256_mul(r->y, t, u),      chopin_auth__p256_mul(s->zz, w, v),     chopin_auth__p256_add(r->y, r->y, s->zz);
    chopin_auth__p256_mul(r->z, s->yz, u),  chopin_auth__p256_mul(s->zz, s->xy, w), chopin_auth__p256_add(r->z, r->z, s->zz);
}
static void chopin_auth__p256_twice(chopin_auth__p256_point *p) {
    chopin_auth__p256_parts s;
    chopin_auth__p256_sqr(s.xx, p->x), chopin_auth__p256_sqr(s.yy, p->y), chopin_auth__p256_sqr(s.zz, p->z);
    chopin_auth__p256_mul(s.xy, p->x, p->y), chopin_auth__p256_add(s.xy, s.xy, s.xy);
    chopin_auth__p256_mul(s.yz, p->y, p->z), chopin_auth__p256_add(s.yz, s.yz, s.yz);
    chopin_auth__p256_mul(s.xz, p->x, p->z), chopin_auth__p256_add(s.xz, s.xz, s.xz);
    chopin_auth__p256_combine(p, &s);
}
static void chopin_auth__p256_plus(chopin_auth__p256_point *r, const chopin_auth__p256_point *p, const chopin_auth__p256_affine *q) {
    chopin_auth__p256_parts s;
    uint64_t t[4];
    chopin_auth__p256_mul(s.xx, p->x, q->x), chopin_auth__p256_mul(s.yy, p->y, q->y);
    memcpy(s.zz, p->z, sizeof s.zz);
    chopin_auth__p256_add(s.xy, p->x, p->y), chopin_auth__p256_add(t, q->x, q->y), chopin_auth__p256_mul(s.xy, s.xy, t);
    chopin_auth__p256_sub(s.xy, s.xy, s.xx), chopin_auth__p256_sub(s.xy, s.xy, s.yy);
    chopin_auth__p256_mul(s.yz, q->y, p->z), chopin_auth__p256_add(s.yz, s.yz, p->y);
    chopin_auth__p256_mul(s.xz, q->x, p->z), chopin_auth__p256_add(s.xz, s.xz, p->x);
    chopin_auth__p256_combine(r, &s);
}

/* The multiple of a row of the table that a secret digit, not 0, asks for: all entries are read. */
static void chopin_auth__p256_choose(chopin_auth__p256_affine *r, const chopin_auth__p256_affine row[8], uint64_t size, uint64_t negative) {
    static const uint64_t zero[4];
    uint64_t minus[4];
    memset(r, 0, sizeof *r);
    for (uint64_t i = 0; i < 8; i++) {
        uint64_t mask = chopin_auth__mask_equal64(size, i + 1);
        for (size_t w = 0; w < 4; w++) r->x[w] |= mask & row[i].x[w], r->y[w] |= mask & row[i].y[w];
    }
    chopin_auth__p256_sub(minus, zero, r->y);
    chopin_auth__bignum_copy_if(negative, r->y, minus, 4);
}

/* r = k times the base point, k secret and below the order. Signed digits want less than 2^255, so from there on n - k is taken, and the result negated. */
static void chopin_auth__p256_base_mul(chopin_auth__p256_point *r, const uint64_t k[4]) {
    static const uint64_t zero[4];
    uint64_t least[4], minus[4], large = chopin_auth__mask_bit64(k[3] >> 63), negative;
    int8_t digits[64];
    chopin_auth__p256_affine entry;
    chopin_auth__p256_point sum;
    (void)chopin_auth__bignum_sub(least, chopin_auth__p256_order.m, k, 4);
    chopin_auth__bignum_copy_if(~large, least, k, 4);
    chopin_auth__bignum_signed16(digits, least);
    memset(r, 0, sizeof *r);
    memcpy(r->y, chopin_auth__p256_one, sizeof r->y);
    for (size_t j = 8; j-- > 0;) {
        for (int i = 0; i < 4 && j < 7; i++) chopin_auth__p256_twice(r);
        for (size_t g = 0; g < 8; g++) {
            uint64_t size = chopin_auth__bignum_split_digit(digits[8 * g + j], &negative), some = chopin_auth__mask_nonzero64(size);
            chopin_auth__p256_choose(&entry, chopin_auth__p256_base[g], size, negative);
            chopin_auth__p256_plus(&sum, r, &entry);
            chopin_auth__bignum_copy_if(some, r->x, sum.x, 4), chopin_auth__bignum_copy_if(some, r->y, sum.y, 4), chopin_auth__bignum_copy_if(some, r->z, sum.z, 4);
        }
    }
    chopin_auth__p256_sub(minus, zero, r->y);
    chopin_auth__bignum_copy_if(large, r->y, minus, 4);
    chopin_auth_wipe(least, sizeof least), chopin_auth_wipe(digits, sizeof digits), chopin_auth_wipe(&entry, sizeof entry), chopin_auth_wipe(&sum, sizeof sum);
}

/* ---- public points: X/Z^2, Y/Z^3; the neutral one has Z = 0 ---- */
static void chopin_auth__p256_double(chopin_auth__p256_point *r, const chopin_auth__p256_point *p) {
    uint64_t zz[4], yy[4], s[4], m[4], t[4];
    chopin_auth__p256_sqr(zz, p->z), chopin_auth__p256_sqr(yy, p->y);
    chopin_auth__p256_mul(s, p->x, yy);
    chopin_auth__p256_sub(m, p->x, zz), chopin_auth__p256_add(t, p->x, zz), chopin_auth__p256_mul(m, m, t), chopin_auth__p256_triple(m, m);
    chopin_auth__p256_mul(r->z, p->y, p->z), chopin_auth__p256_add(r->z, r->z, r->z);
    chopin_auth__p256_add(s, s, s), chopin_auth__p256_add(s, s, s);                      // 4 x y^2
    chopin_auth__p256_sqr(r->x, m), chopin_auth__p256_sub(r->x, r->x, s), chopin_auth__p256_sub(r->x, r->x, s);
    chopin_auth__p256_add(yy, yy, yy), chopin_auth__p256_sqr(yy, yy), chopin_auth__p256_add(yy, yy, yy);   // 8 y^4
    chopin_auth__p256_sub(s, s, r->x), chopin_auth__p256_mul(s, s, m), chopin_auth__p256_sub(r->y, s, yy);
}

/* r += (x, y), or (x, -y); z is NULL for 1 */
static void chopin_auth__p256_join(chopin_auth__p256_point *r, const uint64_t x[4], const uint64_t y[4], const uint64_t *z, bool minus) {
    static const uint64_t zero[4];
    uint64_t u1[4], s1[4], h[4], d[4], t[4], negated[4];
    if (minus) chopin_auth__p256_sub(negated, zero, y), y = negated;
    if (chopin_auth__bignum_zero(r->z, 4)) {
        memcpy(r->x, x, sizeof r->x), memcpy(r->y, y, sizeof r->y), memcpy(r->z, z ? z : chopin_auth__p256_one, sizeof r->z);
        return;
    }
    chopin_auth__p256_sqr(t, r->z), chopin_auth__p256_mul(h, x, t);                      // u2
    chopin_auth__p256_mul(t, t, r->z), chopin_auth__p256_mul(d, y, t);                   // s2
    memcpy(u1, r->x, sizeof u1), memcpy(s1, r->y, sizeof s1);
    if (z) {
        chopin_auth__p256_sqr(t, z), chopin_auth__p256_mul(u1, u1, t);
        chopin_auth__p256_mul(t, t, z), chopin_auth__p256_mul(s1, s1, t);
    }
    chopin_auth__p256_sub(h, h, u1), chopin_auth__p256_sub(d, d, s1);
    if (chopin_auth__bignum_zero(h, 4)) {                                                // the same point, or the opposite one
        if (chopin_auth__bignum_zero(d, 4)) chopin_auth__p256_double(r, r);
        else memset(r->z, 0, sizeof r->z);
        return;
    }
    chopin_auth__p256_mul(r->z, r->z, h);
    if (z) chopin_auth__p256_mul(r->z, r->z, z);
    chopin_auth__p256_sqr(t, h), chopin_auth__p256_mul(u1, u1, t), chopin_auth__p256_mul(h, h, t);      // u1 h^2, h^3
    chopin_auth__p256_sqr(r->x, d), chopin_auth__p256_sub(r->x, r->x, h), chopin_auth__p256_sub(r->x, r->x, u1), chopin_auth__p256_sub(r->x, r->x, u1);
    chopin_auth__p256_sub(u1, u1, r->x), chopin_auth__p256_mul(u1, u1, d), chopin_auth__p256_mul(s1, s1, h), chopin_auth__p256_sub(r->y, u1, s1);
}

static void chopin_auth__p256_join_base(chopin_auth__p256_point *r, size_t row, int digit) {
    const chopin_auth__p256_affine *q = &chopin_auth__p256_base[row][abs(digit) - 1];
    chopin_auth__p256_join(r, q->x, q->y, NULL, digit < 0);
}

/* r = a * base + b * p, all public, p by its odd multiples: 256 doublings */
static void chopin_auth__p256_two_mul(chopin_auth__p256_point *r, const uint64_t a[4], const uint64_t b[4], const chopin_auth__p256_key *key) {
    int8_t of_a[257], of_b[257];
    chopin_auth__p256_point odd[8], twice;
    chopin_auth__bignum_naf(of_a, a, 4);
    chopin_auth__bignum_naf(of_b, b, 5);
    memcpy(odd[0].x, key->x, sizeof odd[0].x), memcpy(odd[0].y, key->y, sizeof odd[0].y), memcpy(odd[0].z, chopin_auth__p256_one, sizeof odd[0].z);
    chopin_auth__p256_double(&twice, &odd[0]);
    for (size_t i = 1; i < 8; i++) odd[i] = odd[i - 1], chopin_auth__p256_join(&odd[i], twice.x, twice.y, twice.z, false);
    memset(r, 0, sizeof *r);
    for (size_t i = 257; i-- > 0;) {
        chopin_auth__p256_double(r, r);
        if (of_a[i]) chopin_auth__p256_join_base(r, 0, of_a[i]);
        if (of_b[i]) chopin_auth__p256_join(r, odd[abs(of_b[i]) / 2].x, odd[abs(of_b[i]) / 2].y, odd[abs(of_b[i]) / 2].z, of_b[i] < 0);
    }
}

/* The same with a table of p: row g has the odd multiples up to 127 of 2^(64 g) p. 65 doublings; a digit at place 256 belongs to the last row. */
typedef struct chopin_auth__p256_table { chopin_auth__p256_affine row[4][64]; } chopin_auth__p256_table;

static void chopin_auth__p256_table_mul(chopin_auth__p256_point *r, const uint64_t a[4], const uint64_t b[4], const chopin_auth__p256_table *table) {
    int8_t of_a[257], of_b[257];
    chopin_auth__bignum_naf(of_a, a, 4);
    chopin_auth__bignum_naf(of_b, b, 8);
    memset(r, 0, sizeof *r);
    for (size_t j = 65; j-- > 0;) {
        chopin_auth__p256_double(r, r);
        for (size_t g = j < 64 ? 0 : 3; g < 4; g++) {
            int digit = of_b[64 * g + j];
            if (of_a[64 * g + j]) chopin_auth__p256_join_base(r, 2 * g, of_a[64 * g + j]);
            if (digit) chopin_auth__p256_join(r, table->row[g][abs(digit) / 2].x, table->row[g][abs(digit) / 2].y, NULL, digit < 0);
        }
    }
}

static void chopin_auth__p256_table_entry(chopin_auth__p256_affine *r, const chopin_auth__p256_point *p) {
    uint64_t inverse[4], square[4];
    chopin_auth__p256_invert(inverse, p->z);
    chopin_auth__p256_sqr(square, inverse);
    chopin_auth__p256_mul(r->x, p->x, square);
    chopin_auth__p256_mul(square, square, inverse);
    chopin_auth__p256_mul(r->y, p->y, square);
}
static void chopin_auth__p256_table_fill(chopin_auth__p256_table *table, const chopin_auth__p256_key *key) {
    chopin_auth__p256_point row, q, twice;
    memcpy(row.x, key->x, sizeof row.x), memcpy(row.y, key->y, sizeof row.y), memcpy(row.z, chopin_auth__p256_one, sizeof row.z);
    for (size_t g = 0; g < 4; g++) {
        chopin_auth__p256_double(&twice, &row);
        q = row;
        for (size_t i = 0; i < 64; i++, chopin_auth__p256_join(&q, twice.x, twice.y, twice.z, false)) chopin_auth__p256_table_entry(&table->row[g][i], &q);
        for (int i = 0; i < 64; i++) chopin_auth__p256_double(&row, &row);
    }
}

/* ---- keys ---- */
static void chopin_auth__p256_load(uint64_t r[4], const uint8_t in[32]) {
    for (size_t i = 0; i < 4; i++) r[i] = chopin_auth__load64be(in + 24 - 8 * i);
}
static void chopin_auth__p256_store(uint8_t out[32], const uint64_t a[4]) {
    for (size_t i = 0; i < 4; i++) chopin_auth__store64be(out + 24 - 8 * i, a[i]);
}

/* Out of Montgomery form, as bytes */
static void chopin_auth__p256_store_field(uint8_t out[32], const uint64_t a[4]) {
    static const uint64_t one[4] = { 1 };
    uint64_t plain[4];
    chopin_auth__p256_mul(plain, a, one);
    chopin_auth__p256_store(out, plain);
}

/* The public point: coordinates below p that satisfy y^2 = x^3 - 3x + b. (0, 0), a spelling of infinity elsewhere, does not. */
static int chopin_auth__p256_from_public(chopin_auth__p256_key *key, const uint8_t x[32], const uint8_t y[32]) {
    uint64_t a[4], b[4], t[4];
    chopin_auth__p256_load(a, x);
    chopin_auth__p256_load(b, y);
    if (!chopin_auth__bignum_less(a, chopin_auth__p256_p, 4) || !chopin_auth__bignum_less(b, chopin_auth__p256_p, 4)) return CHOPIN_AUTH_KEY;
    chopin_auth__p256_mul(key->x, a, chopin_auth__p256_rr);
    chopin_auth__p256_mul(key->y, b, chopin_auth__p256_rr);
    chopin_auth__p256_sqr(a, key->x), chopin_auth__p256_mul(a, a, key->x);
    chopin_auth__p256_triple(t, key->x), chopin_auth__p256_sub(a, a, t), chopin_auth__p256_add(a, a, chopin_auth__p256_b);
    chopin_auth__p256_sqr(b, key->y);
    return memcmp(a, b, sizeof a) == 0 ? CHOPIN_AUTH_OK : CHOPIN_AUTH_KEY;
}

/* 1 <= k < n, as a bit that is public: a private key that is not is refused, a nonce is drawn again */
static bool chopin_auth__p256_in_range(const uint64_t k[4]) {
    uint64_t good = chopin_auth__bignum_less(k, chopin_auth__p256_order.m, 4) & (chopin_auth__bignum_zero(k, 4) ^ 1);
    CHOPIN_AUTH__PUBLIC(&good, sizeof good, "whether a number can be a private key or nonce");
    return good != 0;
}

static int chopin_auth__p256_from_secret(chopin_auth__p256_key *key, const uint8_t d[32]) {
    chopin_auth__p256_point q;
    uint64_t inverse[4];
    chopin_auth__p256_load(key->d, d);
    if (!chopin_auth__p256_in_range(key->d)) return CHOPIN_AUTH_KEY;
    chopin_auth__p256_base_mul(&q, key->d);
    chopin_auth__p256_invert(inverse, q.z);
    chopin_auth__p256_mul(key->x, q.x, inverse);
    chopin_auth__p256_mul(key->y, q.y, inverse);
    CHOPIN_AUTH__PUBLIC(key->x, sizeof key->x + sizeof key->y, "the public key");
    chopin_auth_wipe(&q, sizeof q), chopin_auth_wipe(inverse, sizeof inverse);
    return CHOPIN_AUTH_OK;
}

/* ---- nonces: the generator of RFC 6979 section 3.2; `extra` is k' of its section 3.6, random bytes that are mixed in (none: the plain values) ---- */
typedef struct chopin_auth__p256_nonces { chopin_hmac key; uint8_t v[32]; } chopin_auth__p256_nonces;

static void chopin_auth__p256_nonce_mac(const chopin_auth__p256_nonces *n, uint8_t out[32], const uint8_t *tag, const chopin_str more[3]) {
    chopin_hmac_ctx c;
    chopin_hmac_init(&c, &n->key);
    chopin_hmac_update(&c, chopin_auth__str(n->v, 32));
    if (tag) chopin_hmac_update(&c, chopin_auth__str(tag, 1));
    for (size_t i = 0; more && i < 3; i++) chopin_hmac_update(&c, more[i]);
    chopin_hmac_final(&c, out);
}
static void chopin_auth__p256_nonce_turn(chopin_auth__p256_nonces *n, uint8_t tag, const chopin_str more[3]) {
    uint8_t k[32];
    chopin_auth__p256_nonce_mac(n, k, &tag, more);
    int rc = chopin_hmac_key(&n->key, CHOPIN_AUTH_SHA256, chopin_auth__str(k, 32));
    (void)rc;                                                // SHA-256 is there
    chopin_auth__p256_nonce_mac(n, n->v, NULL, NULL);
    chopin_auth_wipe(k, sizeof k);
}
static void chopin_auth__p256_nonces_init(chopin_auth__p256_nonces *n, const uint64_t d[4], const uint64_t z[4], chopin_str extra) {
    uint8_t secret[32] = { 0 }, digest[32], k[32] = { 0 };
    chopin_str more[3] = { chopin_auth__str(secret, 32), chopin_auth__str(digest, 32), extra };
    chopin_auth__p256_store(secret, d);
    chopin_auth__p256_store(digest, z);
    memset(n->v, 1, sizeof n->v);
    int rc = chopin_hmac_key(&n->key, CHOPIN_AUTH_SHA256, chopin_auth__str(k, 32));
    (void)rc;
    chopin_auth__p256_nonce_turn(n, 0, more);
    chopin_auth__p256_nonce_turn(n, 1, more);
    chopin_auth_wipe(secret, sizeof secret);
}
static void chopin_auth__p256_nonce(chopin_auth__p256_nonces *n, uint64_t k[4]) {
    for (;;) {
        chopin_auth__p256_nonce_mac(n, n->v, NULL, NULL);
        chopin_auth__p256_load(k, n->v);
        if (chopin_auth__p256_in_range(k)) return;           // missed once in 2^32
        chopin_auth__p256_nonce_turn(n, 0, NULL);
    }
}

/* ---- signatures ---- */

/* The hash as a number modulo n; it has as many bits as n, so nothing is cut off. */
static void chopin_auth__p256_hash(uint64_t z[4], chopin_str message) {
    uint8_t hash[32];
    uint64_t t[4];
    chopin_sha256(message, hash);
    chopin_auth__p256_load(t, hash);
    chopin_auth__bignum_trim4(z, t, 0, chopin_auth__p256_order.m);
}

/* Is 2 s > n? For public s below n. */
static bool chopin_auth__p256_high(const uint64_t s[4]) {
    uint64_t rest[4];
    (void)chopin_auth__bignum_sub(rest, chopin_auth__p256_order.m, s, 4);
    return chopin_auth__bignum_less(rest, s, 4) != 0;
}

/* r = x of k times the base point, mod n; s = (z + r d) / k mod n. False: one of them is 0, draw another k. */
static bool chopin_auth__p256_sign_with(const uint64_t d[4], const uint64_t z[4], const uint64_t k[4], uint64_t r[4], uint64_t s[4]) {
    static const uint64_t one[4] = { 1 };
    const chopin_auth__mod256 *n = &chopin_auth__p256_order;
    chopin_auth__p256_point p;
    uint64_t t[4];
    chopin_auth__p256_base_mul(&p, k);
    chopin_auth__p256_invert(t, p.z);
    chopin_auth__p256_mul(t, p.x, t);
    chopin_auth__p256_mul(t, t, one);
    chopin_auth__bignum_trim4(r, t, 0, n->m);
    chopin_auth__mod256_mul(t, d, n->rr, n), chopin_auth__mod256_mul(s, r, t, n), chopin_auth__mod256_add(s, s, z, n);
    chopin_auth__mod256_mul(t, k, n->rr, n), chopin_auth__mod256_invert(t, t, n), chopin_auth__mod256_mul(s, s, t, n);
    chopin_auth_wipe(&p, sizeof p), chopin_auth_wipe(t, sizeof t);
    CHOPIN_AUTH__PUBLIC(r, 32, "r, half of the signature");
    CHOPIN_AUTH__PUBLIC(s, 32, "s, half of the signature");
    return !chopin_auth__bignum_zero(r, 4) && !chopin_auth__bignum_zero(s, 4);
}
static void chopin_auth__p256_make(const chopin_auth__p256_key *key, bool low_s, chopin_str message, chopin_str extra, uint8_t signature[64]) {
    chopin_auth__p256_nonces nonces;
    uint64_t z[4], k[4], r[4], s[4];
    chopin_auth__p256_hash(z, message);
    chopin_auth__p256_nonces_init(&nonces, key->d, z, extra);
    chopin_auth__p256_nonce(&nonces, k);
    while (!chopin_auth__p256_sign_with(key->d, z, k, r, s)) chopin_auth__p256_nonce_turn(&nonces, 0, NULL), chopin_auth__p256_nonce(&nonces, k);
    if (low_s && chopin_auth__p256_high(s)) (void)chopin_auth__bignum_sub(s, chopin_auth__p256_order.m, s, 4);
    chopin_auth__p256_store(signature, r);
    chopin_auth__p256_store(signature + 32, s);
    chopin_auth_wipe(&nonces, sizeof nonces), chopin_auth_wipe(k, sizeof k);
}

/* The zero bits at the low end of a public word, at most 63 of them */
static unsigned chopin_auth__p256_zeros(uint64_t w) {
#ifdef __GNUC__
    return w ? (unsigned)__builtin_ctzll(w) : 63;
#else
    unsigned c = 0;
    while (c < 63 && !(w >> c & 1)) c++;
    return c;
#endif
}

/* Takes all factors of two out of u != 0 and into r, which has room for them; how many there were */
static unsigned chopin_auth__p256_make_odd(uint64_t r[4], uint64_t u[4]) {
    unsigned all = 0;
    while (!(u[0] & 1)) {
        unsigned c = chopin_auth__p256_zeros(u[0]);
        r[3] = r[3] << c | r[2] >> (64 - c), r[2] = r[2] << c | r[1] >> (64 - c), r[1] = r[1] << c | r[0] >> (64 - c), r[0] <<= c;
        u[0] = u[0] >> c | u[1] << (64 - c), u[1] = u[1] >> c | u[2] << (64 - c), u[2] = u[2] >> c | u[3] << (64 - c), u[3] >>= c;
        all += c;
    }
    return all;
}

/* out = 2^256 / a mod n, that is 1/a in Montgomery form, for public a, 0 < a < n. Kaliski's almost inverse: u and v shrink from n and a by subtraction and halving,
 * as in Euclid's algorithm, while n = u s + v r, a r = -u 2^k and a s = v 2^k mod n hold: a factor of two taken out of u or v goes into s or r. When u = v = 1,
 * s is 2^k / a with k from 255 to 511, and a multiplication by 2^(512-k) / 2^256 mends the power of two. */
static void chopin_auth__p256_invert_public(uint64_t out[4], const uint64_t a[4]) {
    const chopin_auth__mod256 *n = &chopin_auth__p256_order;
    uint64_t u[4], v[4], d[4], r[4] = { 0 }, s[4] = { 1 }, power[4] = { 0 };
    memcpy(u, n->m, sizeof u), memcpy(v, a, sizeof v);
    unsigned k = chopin_auth__p256_make_odd(r, v);
    for (;;) {
        uint64_t less = chopin_auth__bignum_sub4(d, u, v);
        if (chopin_auth__bignum_zero(d, 4)) break;
        if (less) (void)chopin_auth__bignum_sub4(v, v, u), (void)chopin_auth__bignum_add4(s, s, r), k += chopin_auth__p256_make_odd(r, v);
        else      memcpy(u, d, sizeof u),                  (void)chopin_auth__bignum_add4(r, r, s), k += chopin_auth__p256_make_odd(s, u);
    }
    for (; k < 257; k++) chopin_auth__mod256_add(s, s, s, n);
    power[(512 - k) / 64] = UINT64_C(1) << (512 - k) % 64;
    chopin_auth__mod256_mul(out, power, s, n);
}

/* Is x, a number below 2^256, congruent mod p to the x coordinate of p? X = x Z^2 saves the inversion. */
static bool chopin_auth__p256_has_x(const chopin_auth__p256_point *p, const uint64_t x[4]) {
    uint64_t t[4], zz[4];
    chopin_auth__p256_mul(t, x, chopin_auth__p256_rr);
    chopin_auth__p256_sqr(zz, p->z);
    chopin_auth__p256_mul(t, t, zz);
    return memcmp(t, p->x, sizeof t) == 0;
}

/* x mod n = r has the solutions r and, when it is below p, r + n. */
static int chopin_auth__p256_check(const chopin_auth__p256_key *key, bool low_s, const void *table, chopin_str message, const uint8_t signature[64]) {
    const chopin_auth__mod256 *n = &chopin_auth__p256_order;
    uint64_t r[4], s[4], z[4], inverse[4];
    chopin_auth__p256_point p;
    chopin_auth__p256_load(r, signature);
    chopin_auth__p256_load(s, signature + 32);
    if (!chopin_auth__p256_in_range(r) || !chopin_auth__p256_in_range(s) || (low_s && chopin_auth__p256_high(s))) return CHOPIN_AUTH_SIGNATURE;
    chopin_auth__p256_hash(z, message);
    chopin_auth__p256_invert_public(inverse, s);
    chopin_auth__mod256_mul(z, z, inverse, n), chopin_auth__mod256_mul(s, r, inverse, n);
    if (table) chopin_auth__p256_table_mul(&p, z, s, table);
    else       chopin_auth__p256_two_mul(&p, z, s, key);
    if (chopin_auth__bignum_zero(p.z, 4)) return CHOPIN_AUTH_SIGNATURE;
    if (chopin_auth__p256_has_x(&p, r)) return CHOPIN_AUTH_OK;
    uint64_t carry = chopin_auth__bignum_add(r, r, n->m, 4);
    if (carry || !chopin_auth__bignum_less(r, chopin_auth__p256_p, 4)) return CHOPIN_AUTH_SIGNATURE;
    return chopin_auth__p256_has_x(&p, r) ? CHOPIN_AUTH_OK : CHOPIN_AUTH_SIGNATURE;
}
#endif
/* ==========================================================================================================
   >>der   what key files hold: PEM around DER around numbers (RFC 7468, 5280, 5958, 8017, 5915, 8410)
   Pure: bytes in, views out. DER has one spelling for everything, and only that one is read: definite and shortest lengths, shortest integers, nothing left
   over. The shape of a key file is fixed, so the readers follow it step by step and anything else is not a key.
   ========================================================================================================== */

/* What was found in a container; views into it. kty 0: nothing. */
typedef struct chopin_auth__der_key {
    enum { CHOPIN_AUTH__DER_RSA = 1, CHOPIN_AUTH__DER_P256, CHOPIN_AUTH__DER_ED25519 } kind;
    bool             secret;
    chopin_rsa_parts rsa;               // n and e, and the rest when secret
    chopin_str       d;                 // P-256: the private number; Ed25519: the seed
    chopin_str       point;             // P-256: 04 x y; Ed25519: 32 bytes; absent when a private key does not say
} chopin_auth__der_key;

#define CHOPIN_AUTH__DER_MAX 3072       // bytes; a private key of 4096 bits has 2400

/* The next element of *in, which must have this tag; its contents. False: it does not, or is not DER. */
static bool chopin_auth__der_take(chopin_str *in, uint8_t tag, chopin_str *body) {
    const uint8_t *p = (const uint8_t *)in->ptr;
    size_t head = 2, len;
    if (in->len < 2 || p[0] != tag) return false;
    len = p[1];
    if (len == 0x81 && in->len >= 3) {
        len = p[2], head = 3;
        if (len < 128) return false;
    } else if (len == 0x82 && in->len >= 4) {
        len = (size_t)p[2] << 8 | p[3], head = 4;
        if (len < 256) return false;
    } else if (len >= 128) {
        return false;                                        // indefinite, longer than we read, or cut off
    }
    if (in->len - head < len) return false;
    *body = chopin_auth__str(in->ptr + head, len);
    in->ptr += head + len, in->len -= head + len;
    return true;
}
static bool chopin_auth__der_next_is(chopin_str in, uint8_t tag) { return in.len > 0 && (uint8_t)in.ptr[0] == tag; }

/* An INTEGER that is not negative, without its sign byte; 0 is one byte. */
static bool chopin_auth__der_number(chopin_str *in, chopin_str *number) {
    if (!chopin_auth__der_take(in, 0x02, number) || number->len == 0) return false;
    const uint8_t *p = (const uint8_t *)number->ptr;
    if (p[0] & 0x80) return false;
    if (p[0] == 0 && number->len > 1) {
        if (!(p[1] & 0x80)) return false;                    // a needless zero
        number->ptr++, number->len--;
    }
    return true;
}
static bool chopin_auth__der_small(chopin_str *in, uint8_t value) {
    chopin_str number;
    return chopin_auth__der_number(in, &number) && number.len == 1 && (uint8_t)number.ptr[0] == value;
}

/* A BIT STRING of whole bytes */
static bool chopin_auth__der_bits(chopin_str *in, uint8_t tag, chopin_str *bytes) {
    if (!chopin_auth__der_take(in, tag, bytes) || bytes->len < 1 || bytes->ptr[0] != 0) return false;
    bytes->ptr++, bytes->len--;
    return true;
}
static bool chopin_auth__der_equal(chopin_str a, const void *b, size_t n) { return a.len == n && memcmp(a.ptr, b, n) == 0; }

/* ---- algorithm identifiers ---- */
static int chopin_auth__der_curve(chopin_str body) {
    static const uint8_t p256[] = { 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 };
    chopin_str curve;
    if (chopin_auth__der_next_is(body, 0x30)) return CHOPIN_AUTH_UNSUPPORTED;    // parameters spelt out
    if (!chopin_auth__der_take(&body, 0x06, &curve) || body.len) return CHOPIN_AUTH_KEY;
    return chopin_auth__der_equal(curve, p256, sizeof p256) ? CHOPIN_AUTH__DER_P256 : CHOPIN_AUTH_UNSUPPORTED;
}

/* SEQUENCE { OID, parameters }: the kind of key, or a status. Each kind has one right form of parameters. */
static int chopin_auth__der_algorithm(chopin_str *in) {
    static const uint8_t rsa[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01 }, ec[] = { 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01 }, ed25519[] = { 0x2b, 0x65, 0x70 };
    static const uint8_t null[] = { 0x05, 0x00 };
    chopin_str body, oid;
    if (!chopin_auth__der_take(in, 0x30, &body) || !chopin_auth__der_take(&body, 0x06, &oid)) return CHOPIN_AUTH_KEY;
    if (chopin_auth__der_equal(oid, rsa, sizeof rsa))         return chopin_auth__der_equal(body, null, sizeof null) ? CHOPIN_AUTH__DER_RSA : CHOPIN_AUTH_KEY;
    if (chopin_auth__der_equal(oid, ed25519, sizeof ed25519)) return body.len == 0 ? CHOPIN_AUTH__DER_ED25519 : CHOPIN_AUTH_KEY;
    if (chopin_auth__der_equal(oid, ec, sizeof ec))           return chopin_auth__der_curve(body);
    return CHOPIN_AUTH_UNSUPPORTED;
}

/* ---- the inner forms ---- */
static int chopin_auth__der_rsa_public(chopin_auth__der_key *key, chopin_str in) {
    chopin_str body;
    key->kind = CHOPIN_AUTH__DER_RSA;
    if (!chopin_auth__der_take(&in, 0x30, &body) || in.len) return CHOPIN_AUTH_KEY;
    if (!chopin_auth__der_number(&body, &key->rsa.n) || !chopin_auth__der_number(&body, &key->rsa.e) || body.len) return CHOPIN_AUTH_KEY;
    return CHOPIN_AUTH_OK;
}
static int chopin_auth__der_rsa_private(chopin_auth__der_key *key, chopin_str in) {
    chopin_rsa_parts *r = &key->rsa;
    chopin_str body;
    key->kind = CHOPIN_AUTH__DER_RSA, key->secret = true;
    if (!chopin_auth__der_take(&in, 0x30, &body) || in.len || !chopin_auth__der_small(&body, 0)) return CHOPIN_AUTH_KEY;     // version 1 has more primes
    chopin_str *const numbers[] = { &r->n, &r->e, &r->d, &r->p, &r->q, &r->dp, &r->dq, &r->qi };
    for (size_t i = 0; i < CHOPIN_AUTH__COUNT(numbers); i++) if (!chopin_auth__der_number(&body, numbers[i])) return CHOPIN_AUTH_KEY;
    return body.len ? CHOPIN_AUTH_KEY : CHOPIN_AUTH_OK;
}

/* ECPrivateKey; the curve may be said here, around it, or in both places. */
static int chopin_auth__der_ec_private(chopin_auth__der_key *key, chopin_str in, bool curve_known) {
    chopin_str body, part;
    key->kind = CHOPIN_AUTH__DER_P256, key->secret = true;
    if (!chopin_auth__der_take(&in, 0x30, &body) || in.len || !chopin_auth__der_small(&body, 1) || !chopin_auth__der_take(&body, 0x04, &key->d)) return CHOPIN_AUTH_KEY;
    if (chopin_auth__der_next_is(body, 0xa0)) {
        if (!chopin_auth__der_take(&body, 0xa0, &part)) return CHOPIN_AUTH_KEY;
        int rc = chopin_auth__der_curve(part);
        if (rc < 0) return rc;
        curve_known = true;
    }
    if (chopin_auth__der_next_is(body, 0xa1)) {
        if (!chopin_auth__der_take(&body, 0xa1, &part) || !chopin_auth__der_bits(&part, 0x03, &key->point) || part.len) return CHOPIN_AUTH_KEY;
    }
    return body.len || !curve_known || key->d.len != 32 ? CHOPIN_AUTH_KEY : CHOPIN_AUTH_OK;
}

/* ---- the outer forms ---- */

/* SubjectPublicKeyInfo */
static int chopin_auth__der_spki(chopin_auth__der_key *key, chopin_str in) {
    chopin_str body, bits;
    if (!chopin_auth__der_take(&in, 0x30, &body) || in.len) return CHOPIN_AUTH_KEY;
    int kind = chopin_auth__der_algorithm(&body);
    if (kind < 0) return kind;
    if (!chopin_auth__der_bits(&body, 0x03, &bits) || body.len) return CHOPIN_AUTH_KEY;
    if (kind == CHOPIN_AUTH__DER_RSA) return chopin_auth__der_rsa_public(key, bits);
    key->kind = kind == CHOPIN_AUTH__DER_P256 ? CHOPIN_AUTH__DER_P256 : CHOPIN_AUTH__DER_ED25519;
    key->point = bits;
    return CHOPIN_AUTH_OK;
}

/* PrivateKeyInfo of PKCS#8; version 1 adds the public key (RFC 5958). Attributes are skipped. */
static int chopin_auth__der_pkcs8(chopin_auth__der_key *key, chopin_str in) {
    chopin_str body, version, octets, skipped, point = { NULL, 0 };
    if (!chopin_auth__der_take(&in, 0x30, &body) || in.len || !chopin_auth__der_number(&body, &version) || version.len != 1 || (uint8_t)version.ptr[0] > 1) return CHOPIN_AUTH_KEY;
    int kind = chopin_auth__der_algorithm(&body);
    if (kind < 0) return kind;
    if (!chopin_auth__der_take(&body, 0x04, &octets)) return CHOPIN_AUTH_KEY;
    if (chopin_auth__der_next_is(body, 0xa0) && !chopin_auth__der_take(&body, 0xa0, &skipped)) return CHOPIN_AUTH_KEY;
    if (version.ptr[0] == 1 && chopin_auth__der_next_is(body, 0x81) && !chopin_auth__der_bits(&body, 0x81, &point)) return CHOPIN_AUTH_KEY;
    if (body.len) return CHOPIN_AUTH_KEY;
    if (kind == CHOPIN_AUTH__DER_RSA)  return point.ptr ? CHOPIN_AUTH_KEY : chopin_auth__der_rsa_private(key, octets);
    if (kind == CHOPIN_AUTH__DER_P256) {
        int rc = chopin_auth__der_ec_private(key, octets, true);
        if (rc < 0 || !point.ptr) return rc;
        if (key->point.ptr && !chopin_auth__der_equal(point, key->point.ptr, key->point.len)) return CHOPIN_AUTH_KEY;
        key->point = point;
        return CHOPIN_AUTH_OK;
    }
    key->kind = CHOPIN_AUTH__DER_ED25519, key->secret = true, key->point = point;
    return chopin_auth__der_take(&octets, 0x04, &key->d) && octets.len == 0 && key->d.len == 32 ? CHOPIN_AUTH_OK : CHOPIN_AUTH_KEY;
}

/* Bare DER says by its first two elements which form it has. */
static int chopin_auth__der_any(chopin_auth__der_key *key, chopin_str in) {
    chopin_str whole = in, body, first;
    if (!chopin_auth__der_take(&in, 0x30, &body)) return CHOPIN_AUTH_KEY;
    if (chopin_auth__der_next_is(body, 0x30)) return chopin_auth__der_spki(key, whole);
    if (!chopin_auth__der_number(&body, &first)) return CHOPIN_AUTH_KEY;
    if (chopin_auth__der_next_is(body, 0x30)) return chopin_auth__der_pkcs8(key, whole);
    if (chopin_auth__der_next_is(body, 0x04)) return chopin_auth__der_ec_private(key, whole, false);
    return first.len == 1 ? chopin_auth__der_rsa_private(key, whole) : chopin_auth__der_rsa_public(key, whole);
}

/* ---- PEM: one block, a label we know, lines of base64 of any width ---- */
static chopin_str chopin_auth__der_strip(chopin_str s) {
    while (s.len > 0 && strchr(" \t\r\n", s.ptr[0]) && s.ptr[0])                 s.ptr++, s.len--;
    while (s.len > 0 && strchr(" \t\r\n", s.ptr[s.len - 1]) && s.ptr[s.len - 1]) s.len--;
    return s;
}

/* Cuts the next line off; it ends with LF, CRLF, or the text. */
static chopin_str chopin_auth__der_line(chopin_str *text) {
    const char *end = memchr(text->ptr, '\n', text->len);
    size_t len = end ? (size_t)(end - text->ptr) : text->len;
    chopin_str line = { text->ptr, len };
    text->ptr += end ? len + 1 : len, text->len -= end ? len + 1 : len;
    if (line.len > 0 && line.ptr[line.len - 1] == '\r') line.len--;
    return line;
}

typedef int (*chopin_auth__der_reader)(chopin_auth__der_key *key, chopin_str in);

static int chopin_auth__der_sec1(chopin_auth__der_key *key, chopin_str in) { return chopin_auth__der_ec_private(key, in, false); }

/* "-----BEGIN label-----", and the END line that belongs to it in `last`. NULL: not such a line, or a label we have no reader for. */
static chopin_auth__der_reader chopin_auth__der_label(chopin_str line, const char **last) {
    static const struct { const char *begin, *end; chopin_auth__der_reader read; } labels[] = {
        { "-----BEGIN PUBLIC KEY-----",      "-----END PUBLIC KEY-----",      chopin_auth__der_spki },
        { "-----BEGIN PRIVATE KEY-----",     "-----END PRIVATE KEY-----",     chopin_auth__der_pkcs8 },
        { "-----BEGIN RSA PUBLIC KEY-----",  "-----END RSA PUBLIC KEY-----",  chopin_auth__der_rsa_public },
        { "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----", chopin_auth__der_rsa_private },
        { "-----BEGIN EC PRIVATE KEY-----",  "-----END EC PRIVATE KEY-----",  chopin_auth__der_sec1 }
    };
    for (size_t i = 0; i < CHOPIN_AUTH__COUNT(labels); i++) {
        *last = labels[i].end;
        if (chopin_auth__der_equal(line, labels[i].begin, strlen(labels[i].begin))) return labels[i].read;
    }
    return NULL;
}

/* The block's bytes: the length, or a status. Only the last line may be padded, and all but the last end between two groups of four. */
static int chopin_auth__der_lines(chopin_str *text, const char *last, uint8_t *out, size_t cap) {
    size_t n = 0;
    bool padded = false;
    while (text->len > 0) {
        chopin_str line = chopin_auth__der_line(text);
        if (chopin_auth__der_equal(line, last, strlen(last))) return n > 0 ? (int)n : CHOPIN_AUTH_FORMAT;
        if (line.len == 0 || padded) return CHOPIN_AUTH_FORMAT;
        if (memchr(line.ptr, ':', line.len)) return CHOPIN_AUTH_UNSUPPORTED;      // "Proc-Type: 4,ENCRYPTED"
        int rc = chopin_auth__base64_decode(line, true, out + n, cap - n);
        if (rc < 0) return rc == CHOPIN_AUTH_BUFFER ? CHOPIN_AUTH_SIZE : rc;
        padded = line.ptr[line.len - 1] == '=';
        n += (size_t)rc;
    }
    return CHOPIN_AUTH_FORMAT;
}

/* The key in a PEM text. `room` takes its bytes, which the views in *key point to; wipe it. */
static int chopin_auth__der_pem(chopin_auth__der_key *key, chopin_str text, uint8_t room[CHOPIN_AUTH__DER_MAX]) {
    const char *last;
    text = chopin_auth__der_strip(text);
    chopin_str line = chopin_auth__der_line(&text);
    if (line.len < 11 || memcmp(line.ptr, "-----BEGIN ", 11) != 0) return CHOPIN_AUTH_FORMAT;
    chopin_auth__der_reader read = chopin_auth__der_label(line, &last);
    if (!read) return CHOPIN_AUTH_UNSUPPORTED;
    int n = chopin_auth__der_lines(&text, last, room, CHOPIN_AUTH__DER_MAX);
    if (n < 0) return n;
    return text.len ? CHOPIN_AUTH_FORMAT : read(key, chopin_auth__str(room, (size_t)n));
}

/* PEM, or bare DER, which begins with 0x30, a digit in PEM's eyes. */
static int chopin_auth__der_read(chopin_auth__der_key *key, chopin_str text, uint8_t room[CHOPIN_AUTH__DER_MAX]) {
    memset(key, 0, sizeof *key);
    if (!text.ptr || text.len == 0) return CHOPIN_AUTH_FORMAT;
    if (text.len > CHOPIN_AUTH_PEM_MAX) return CHOPIN_AUTH_SIZE;
    return text.ptr[0] == 0x30 ? chopin_auth__der_any(key, text) : chopin_auth__der_pem(key, text, room);
}
/* ==========================================================================================================
   >>json   strict reader for RFC 8259 texts of tokens and keys: walks over the members of one object or the items of one array
   Everything below the level that is walked is checked in passing and handed out as the bytes it was written with; walking it is another walk.
   Duplicate names (compared after unescaping), nesting over 8, more than 64 members, bad UTF-8, lone surrogates and trailing bytes are FORMAT.
   Pure: no recursion, no heap; only strings with escapes need memory, in a room of the caller or in place.
   ========================================================================================================== */

#define CHOPIN_AUTH__JSON_DEPTH   8      /* the outermost value is level 1 */
#define CHOPIN_AUTH__JSON_MEMBERS 64     /* of one object */
#define CHOPIN_AUTH__JSON_EXACT   INT64_C(9007199254740992)   /* 2^53: integers up to here mean the same to every reader */

typedef enum chopin_auth__json_type {
    CHOPIN_AUTH__JSON_NULL = 1, CHOPIN_AUTH__JSON_FALSE, CHOPIN_AUTH__JSON_TRUE, CHOPIN_AUTH__JSON_NUMBER, CHOPIN_AUTH__JSON_STRING,
    CHOPIN_AUTH__JSON_ARRAY, CHOPIN_AUTH__JSON_OBJECT
} chopin_auth__json_type;

typedef struct chopin_auth__json_value {
    chopin_str name;                    // of a member: decoded when it fits 32 bytes, else as written (which then equals no known name)
    chopin_str raw_name;                // as written, without the quotes
    chopin_str text;                    // a string: its characters, decoded; anything else: the bytes as written
    chopin_auth__json_type type;
    bool       nul;                     // a string that holds U+0000
} chopin_auth__json_value;

typedef struct chopin_auth__json_names { // those of one object so far, for finding the second of a kind
    uint64_t filter;                    // a bit for each first and last byte and length seen: most new names need no comparison
    unsigned count;
    uint32_t at[CHOPIN_AUTH__JSON_MEMBERS];   // where each name's first byte stands
} chopin_auth__json_names;

typedef struct chopin_auth__json {
    const uint8_t *start, *at, *end;
    uint8_t *room, *room_end;           // where decoded strings go; none when in_place
    bool     object;                    // what is walked: an object, else an array
    bool     begun, done;
    bool     in_place;                  // strings with escapes become 0xfe, characters, 0xff ... in the text itself
    bool     again;                     // the text has been read in place before
    bool     as_written;                // strings with escapes stay as they are: for checking only
    char     name[32];                  // the decoded form of a name that has escapes
    chopin_auth__json_names names;
} chopin_auth__json;

static inline const uint8_t *chopin_auth__json_space(const uint8_t *p, const uint8_t *end) {
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) p++;
    return p;
}

/* Past the characters that need no second look: ASCII but for controls, quote and backslash. Eight at once while that goes. */
static inline const uint8_t *chopin_auth__json_plain(const uint8_t *p, const uint8_t *end) {
    const uint64_t ones = UINT64_C(0x0101010101010101);
    for (uint64_t w; end - p >= 8; p += 8) {
        memcpy(&w, p, sizeof w);
        uint64_t quote = w ^ ones * '"', slash = w ^ ones * '\\';
        if ((w | (w - ones * 0x20) | (quote - ones) | (slash - ones)) & ones * 0x80) break;   // false alarms are only slow
    }
    while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\') p++;
    return p;
}

/* Past one well-formed UTF-8 sequence of two to four bytes (RFC 3629), or NULL. */
static const uint8_t *chopin_auth__json_utf8(const uint8_t *p, const uint8_t *end) {
    ptrdiff_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || end - p < n || (p[1] & 0xc0) != 0x80) return NULL;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f)) return NULL;   // overlong; surrogates
    if ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)) return NULL;   // overlong; over U+10FFFF
    if (n > 2 && (p[2] & 0xc0) != 0x80) return NULL;
    if (n > 3 && (p[3] & 0xc0) != 0x80) return NULL;
    return p + n;
}

/* The four hex digits at p, or a value above 0xffff. */
static uint32_t chopin_auth__json_hex4(const uint8_t *p, const uint8_t *end) {
    uint32_t value = 0;
    if (end - p < 4) return UINT32_MAX;
    for (int i = 0; i < 4; i++) {
        uint8_t  low = p[i] | 0x20;
        uint32_t digit = p[i] >= '0' && p[i] <= '9' ? (uint32_t)(p[i] - '0') : low >= 'a' && low <= 'f' ? (uint32_t)(low - 'a' + 10) : UINT32_MAX;
        if (digit > 15) return UINT32_MAX;
        value = value << 4 | digit;
    }
    return value;
}

/* Past the escape at p (which is a backslash), its code point in *point; NULL when it is none. */
static const uint8_t *chopin_auth__json_escape(const uint8_t *p, const uint8_t *end, uint32_t *point) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (end - p < 2) return NULL;
    if (p[1] != 'u') {
        const char *hit = p[1] ? strchr(from, p[1]) : NULL;
        if (!hit) return NULL;
        *point = (uint32_t)to[hit - from];
        return p + 2;
    }
    uint32_t high = chopin_auth__json_hex4(p + 2, end);
    if (high > 0xffff || (high >= 0xdc00 && high < 0xe000)) return NULL;
    *point = high;
    if (high < 0xd800 || high >= 0xe000) return p + 6;
    if (end - p < 12 || p[6] != '\\' || p[7] != 'u') return NULL;    // RFC 8259 7: the other half of the pair must follow
    uint32_t low = chopin_auth__json_hex4(p + 8, end);
    if (low < 0xdc00 || low >= 0xe000) return NULL;
    *point = 0x10000 + ((high - 0xd800) << 10 | (low - 0xdc00));
    return p + 12;
}

/* Past the string whose opening quote is at p, or NULL. *escaped and *nul are raised, never lowered. */
static const uint8_t *chopin_auth__json_string(const uint8_t *p, const uint8_t *end, bool *escaped, bool *nul) {
    for (p++; (p = chopin_auth__json_plain(p, end)) < end;) {
        if (*p == '"') return p + 1;
        if (*p == '\\') {
            uint32_t point = 1;
            p = chopin_auth__json_escape(p, end, &point);
            *escaped = true;
            if (point == 0) *nul = true;
        } else {
            p = *p >= 0x80 ? chopin_auth__json_utf8(p, end) : NULL;
        }
        if (!p) return NULL;
    }
    return NULL;
}

static const uint8_t *chopin_auth__json_digits(const uint8_t *p, const uint8_t *end) {
    const uint8_t *first = p;
    while (p < end && *p >= '0' && *p <= '9') p++;
    return p > first ? p : NULL;
}

/* Past the number at p, or NULL: RFC 8259 6, which knows no plus, no leading zero and no bare point. */
static const uint8_t *chopin_auth__json_number(const uint8_t *p, const uint8_t *end) {
    if (p < end && *p == '-') p++;
    const uint8_t *first = p;
    p = chopin_auth__json_digits(p, end);
    if (!p || (*first == '0' && p - first > 1)) return NULL;
    if (p < end && *p == '.') p = chopin_auth__json_digits(p + 1, end);
    if (p && p < end && (*p | 0x20) == 'e') {
        p++;
        if (p < end && (*p == '+' || *p == '-')) p++;
        p = chopin_auth__json_digits(p, end);
    }
    return p;
}

static const uint8_t *chopin_auth__json_word(const uint8_t *p, const uint8_t *end, const char *word, size_t len) {
    return (size_t)(end - p) >= len && memcmp(p, word, len) == 0 ? p + len : NULL;
}

/* Past the value at p if it is a number or a word, and what it is. */
static const uint8_t *chopin_auth__json_scalar(const uint8_t *p, const uint8_t *end, chopin_auth__json_type *type) {
    if (*p == 't') { *type = CHOPIN_AUTH__JSON_TRUE; return chopin_auth__json_word(p, end, "true", 4); }
    if (*p == 'f') { *type = CHOPIN_AUTH__JSON_FALSE; return chopin_auth__json_word(p, end, "false", 5); }
    if (*p == 'n') { *type = CHOPIN_AUTH__JSON_NULL; return chopin_auth__json_word(p, end, "null", 4); }
    *type = CHOPIN_AUTH__JSON_NUMBER;
    return chopin_auth__json_number(p, end);
}

/* ---- code points: for what has escapes, after it was found to be well formed ---- */

/* The code point at *p, escape or UTF-8, moving *p past it. `escapes`: a backslash begins an escape. */
static uint32_t chopin_auth__json_point(const uint8_t **p, const uint8_t *end, bool escapes) {
    const uint8_t *s = *p;
    uint32_t point = s[0];
    if (escapes && point == '\\') {
        const uint8_t *next = chopin_auth__json_escape(s, end, &point);
        *p = next ? next : end;
        return point;
    }
    int more = point >= 0xf0 ? 3 : point >= 0xe0 ? 2 : point >= 0xc0 ? 1 : 0;
    if (more) point &= 0x3fu >> more;
    for (s++; more > 0 && s < end; more--) point = point << 6 | (*s++ & 0x3fu);
    *p = s;
    return point;
}

static size_t chopin_auth__json_put(uint8_t *out, uint32_t point) {
    static const uint8_t lead[5] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    if (point < 0x80) { out[0] = (uint8_t)point; return 1; }
    size_t n = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; point >>= 6) out[i] = (uint8_t)(0x80 | (point & 0x3f));
    out[0] = (uint8_t)(lead[n] | point);
    return n;
}

/* Decodes [p, end) to `out`, which may be p itself: nothing grows. Gives the length. */
static size_t chopin_auth__json_decode(const uint8_t *p, const uint8_t *end, uint8_t *out) {
    uint8_t *first = out;
    while (p < end) {
        if (*p != '\\') *out++ = *p++;
        else            out += chopin_auth__json_put(out, chopin_auth__json_point(&p, end, true));
    }
    return (size_t)(out - first);
}

/* Is `raw`, a string as written, the text `plain` (which is as it is, unless `escapes`)? */
static bool chopin_auth__json_same(chopin_str raw, chopin_str plain, bool escapes) {
    const uint8_t *a = (const uint8_t *)raw.ptr, *a_end = a + raw.len, *b = (const uint8_t *)plain.ptr, *b_end = b + plain.len;
    while (a < a_end && b < b_end) {
        if (chopin_auth__json_point(&a, a_end, true) != chopin_auth__json_point(&b, b_end, escapes)) return false;
    }
    return a == a_end && b == b_end;
}

/* ---- names that came before ---- */

/* The raw name that starts at `at`; it has been checked, so its end is there. */
static chopin_str chopin_auth__json_name_at(const uint8_t *at) {
    const uint8_t *p = at;
    while (*p != '"') p += *p == '\\' ? 2 : 1;
    return (chopin_str){ (const char *)at, (size_t)(p - at) };
}

static bool chopin_auth__json_seen(const chopin_auth__json_names *n, const uint8_t *start, chopin_str name, bool escaped) {
    for (unsigned i = 0; i < n->count; i++) {
        chopin_str old = chopin_auth__json_name_at(start + n->at[i]);
        if (old.len == name.len && (name.len == 0 || memcmp(old.ptr, name.ptr, name.len) == 0)) return true;
        bool other = escaped || (old.len && memchr(old.ptr, '\\', old.len));
        if (other && chopin_auth__json_same(name, old, true)) return true;
    }
    return false;
}

/* Remembers a name; false when it is there already or one too many. */
static bool chopin_auth__json_remember(chopin_auth__json_names *n, const uint8_t *start, chopin_str name, bool escaped) {
    unsigned mix = name.len ? (uint8_t)name.ptr[0] * 5u + (uint8_t)name.ptr[name.len - 1] * 11u + (unsigned)name.len : 0;
    uint64_t bit = escaped ? UINT64_MAX : UINT64_C(1) << (mix & 63);   // an escaped name may equal any other
    if (n->count == CHOPIN_AUTH__JSON_MEMBERS) return false;
    if ((n->filter & bit) && chopin_auth__json_seen(n, start, name, escaped)) return false;
    n->filter |= bit;
    n->at[n->count++] = (uint32_t)((const uint8_t *)name.ptr - start);
    return true;
}

/* Past the name and colon at p, the name remembered; NULL when that is not what stands there. */
static const uint8_t *chopin_auth__json_key(chopin_auth__json_names *n, const uint8_t *start, const uint8_t *p, const uint8_t *end, chopin_str *name, bool *escaped) {
    const uint8_t *first = p + 1;
    bool nul = false;
    *escaped = false;
    p = p < end && *p == '"' ? chopin_auth__json_string(p, end, escaped, &nul) : NULL;
    if (!p) return NULL;
    *name = (chopin_str){ (const char *)first, (size_t)(p - 1 - first) };
    if (!chopin_auth__json_remember(n, start, *name, *escaped)) return NULL;
    p = chopin_auth__json_space(p, end);
    return p < end && *p == ':' ? chopin_auth__json_space(p + 1, end) : NULL;
}

/* ---- what is nested: checked and passed over ---- */

typedef struct chopin_auth__json_nest {
    unsigned depth;                                                     // open levels below the walked one
    bool     object[CHOPIN_AUTH__JSON_DEPTH];
    chopin_auth__json_names names[CHOPIN_AUTH__JSON_DEPTH - 1];
} chopin_auth__json_nest;

static bool chopin_auth__json_enter(chopin_auth__json_nest *s, bool object) {
    if (s->depth == CHOPIN_AUTH__JSON_DEPTH - 1) return false;
    s->object[s->depth] = object;
    s->names[s->depth].filter = 0;
    s->names[s->depth].count = 0;
    s->depth++;
    return true;
}

/* Past the start of a value: a whole scalar or string, or the bracket that opens a level. *opened says which. */
static const uint8_t *chopin_auth__json_begin(chopin_auth__json_nest *s, const uint8_t *p, const uint8_t *end, bool *opened) {
    chopin_auth__json_type type;
    bool ignored = false;
    *opened = false;
    if (p >= end) return NULL;
    if (*p == '"') return chopin_auth__json_string(p, end, &ignored, &ignored);
    if (*p != '{' && *p != '[') return chopin_auth__json_scalar(p, end, &type);
    *opened = true;
    return chopin_auth__json_enter(s, *p == '{') ? chopin_auth__json_space(p + 1, end) : NULL;
}

/* Past the brackets that close here, up to where the next name or value begins or where the outermost bracket has closed. */
static const uint8_t *chopin_auth__json_close(chopin_auth__json_nest *s, const uint8_t *p, const uint8_t *end, bool opened) {
    while (s->depth > 0) {
        if (p >= end) return NULL;
        if (*p == (s->object[s->depth - 1] ? '}' : ']')) {
            p++;
            s->depth--;
            if (s->depth) p = chopin_auth__json_space(p, end);
        } else {
            if (opened) return p;                                       // just entered: its first name or value
            return *p == ',' ? chopin_auth__json_space(p + 1, end) : NULL;
        }
        opened = false;
    }
    return p;
}

/* Past the object or array at p, every byte of it checked; NULL when it is not well formed. */
static const uint8_t *chopin_auth__json_skip(const uint8_t *p, const uint8_t *end) {
    const uint8_t *start = p;
    chopin_auth__json_nest nest;
    chopin_str name;
    bool       opened, escaped;
    nest.depth = 0;
    do {
        if (nest.depth && nest.object[nest.depth - 1]) {
            p = chopin_auth__json_key(&nest.names[nest.depth - 1], start, p, end, &name, &escaped);
            if (!p) return NULL;
        }
        p = chopin_auth__json_begin(&nest, p, end, &opened);
        if (p && !opened) p = chopin_auth__json_space(p, end);
        if (p) p = chopin_auth__json_close(&nest, p, end, opened);
    } while (p && nest.depth);
    return p;
}

/* ---- the walk ---- */

static int chopin_auth__json_open(chopin_auth__json *j, chopin_str text, bool object) {
    j->start = (const uint8_t *)text.ptr;
    j->end = j->start + text.len;
    j->room = j->room_end = NULL;
    j->object = object;
    j->begun = j->done = j->in_place = j->again = j->as_written = false;
    j->names.filter = 0;
    j->names.count = 0;
    if (!text.ptr || text.len > INT32_MAX) return CHOPIN_AUTH_FORMAT;
    j->at = chopin_auth__json_space(j->start, j->end);
    if (j->at == j->end || *j->at != (object ? '{' : '[')) return CHOPIN_AUTH_FORMAT;
    j->at = chopin_auth__json_space(j->at + 1, j->end);
    return 0;
}

/* Begins to walk over `text`, an object (or an array). Strings with escapes are decoded into `room`, which may be NULL: they are BUFFER then.
 * 0 or FORMAT. What a walk gives may be trusted only after it has ended with 0. */
static int chopin_auth__json_object(chopin_auth__json *j, chopin_str text, char *room, size_t cap) {
    int rc = chopin_auth__json_open(j, text, true);
    j->room = (uint8_t *)room;
    j->room_end = room ? j->room + cap : NULL;
    return rc;
}

static int chopin_auth__json_array(chopin_auth__json *j, chopin_str text, char *room, size_t cap) {
    int rc = chopin_auth__json_open(j, text, false);
    j->room = (uint8_t *)room;
    j->room_end = room ? j->room + cap : NULL;
    return rc;
}

/* The same over an object in the caller's memory: decoded strings stay where they were written, in a private form that only _again() reads. */
static int chopin_auth__json_in_place(chopin_auth__json *j, char *text, size_t len) {
    int rc = chopin_auth__json_open(j, (chopin_str){ text, len }, true);
    j->in_place = true;
    return rc;
}

/* The same for checking alone: strings stay as they were written. */
static int chopin_auth__json_check(chopin_auth__json *j, chopin_str text) {
    int rc = chopin_auth__json_open(j, text, true);
    j->as_written = true;
    return rc;
}

static int chopin_auth__json_again(chopin_auth__json *j, chopin_str text) {
    int rc = chopin_auth__json_open(j, text, true);
    j->again = true;
    return rc;
}

/* A string that an earlier walk decoded in place: 0xfe, characters, one or more 0xff. Neither byte occurs in UTF-8. */
static const uint8_t *chopin_auth__json_decoded(const uint8_t *p, const uint8_t *end, chopin_auth__json_value *v) {
    const uint8_t *stop = memchr(p, 0xff, (size_t)(end - p));
    if (!stop) return NULL;
    v->text = (chopin_str){ (const char *)p + 1, (size_t)(stop - p - 1) };
    v->type = CHOPIN_AUTH__JSON_STRING;
    v->nul = v->text.len && memchr(v->text.ptr, 0, v->text.len) != NULL;
    while (stop < end && *stop == 0xff) stop++;
    return stop;
}

/* Decodes the string [first, last), quotes not included, to where this walk keeps them. 0 or BUFFER. */
static int chopin_auth__json_store(chopin_auth__json *j, const uint8_t *first, const uint8_t *last, chopin_str *text) {
    size_t   len = (size_t)(last - first);
    uint8_t *out = j->in_place ? (uint8_t *)(uintptr_t)first : j->room;      // in place: the text is the caller's, and writable
    if (!out || (!j->in_place && (size_t)(j->room_end - j->room) < len)) return CHOPIN_AUTH_BUFFER;
    size_t n = chopin_auth__json_decode(first, last, out);
    *text = (chopin_str){ (const char *)out, n };
    if (!j->in_place) { j->room += n; return 0; }
    out[-1] = 0xfe;
    memset(out + n, 0xff, len - n + 1);                                 // to the closing quote
    return 0;
}

/* Past the string at p, its characters in v->text; NULL with the status in *rc. */
static const uint8_t *chopin_auth__json_take(chopin_auth__json *j, const uint8_t *p, chopin_auth__json_value *v, int *rc) {
    bool escaped = false;
    const uint8_t *after = chopin_auth__json_string(p, j->end, &escaped, &v->nul);
    if (!after) return NULL;
    v->type = CHOPIN_AUTH__JSON_STRING;
    v->text = (chopin_str){ (const char *)p + 1, (size_t)(after - p - 2) };
    if (escaped && !j->as_written && (*rc = chopin_auth__json_store(j, p + 1, after - 1, &v->text)) < 0) return NULL;
    *rc = CHOPIN_AUTH_FORMAT;
    return after;
}

static const uint8_t *chopin_auth__json_value_at(chopin_auth__json *j, const uint8_t *p, chopin_auth__json_value *v, int *rc) {
    const uint8_t *after;
    v->nul = false;
    if (p >= j->end) return NULL;
    if (*p == '"') return chopin_auth__json_take(j, p, v, rc);
    if (*p == 0xfe && j->again) return chopin_auth__json_decoded(p, j->end, v);
    if (*p == '{' || *p == '[') {
        v->type = *p == '{' ? CHOPIN_AUTH__JSON_OBJECT : CHOPIN_AUTH__JSON_ARRAY;
        after = chopin_auth__json_skip(p, j->end);
    } else {
        after = chopin_auth__json_scalar(p, j->end, &v->type);
    }
    if (after) v->text = (chopin_str){ (const char *)p, (size_t)(after - p) };
    return after;
}

/* The name as callers compare it: decoded if that fits. */
static chopin_str chopin_auth__json_shown(chopin_auth__json *j, chopin_str raw, bool escaped) {
    uint8_t *out = (uint8_t *)j->name;
    if (!escaped || raw.len > sizeof j->name * 6) return raw;           // \uXXXX: six bytes for at least one
    uint8_t decoded[sizeof j->name * 6];
    size_t  n = chopin_auth__json_decode((const uint8_t *)raw.ptr, (const uint8_t *)raw.ptr + raw.len, decoded);
    if (n > sizeof j->name) return raw;
    memcpy(out, decoded, n);
    return (chopin_str){ j->name, n };
}

/* The closing bracket of the walked value: blanks may follow, nothing else. */
static int chopin_auth__json_finish(chopin_auth__json *j) {
    j->done = true;
    j->at = chopin_auth__json_space(j->at + 1, j->end);
    return j->at == j->end ? 0 : CHOPIN_AUTH_FORMAT;
}

/* The next member or item: 1. At the end of a well-formed text: 0. Else FORMAT, or BUFFER when the room is too small. v->name lives until the next call. */
static int chopin_auth__json_next(chopin_auth__json *j, chopin_auth__json_value *v) {
    const uint8_t *p = j->at;
    int  rc = CHOPIN_AUTH_FORMAT;
    bool escaped = false;
    if (j->done || p >= j->end) return CHOPIN_AUTH_FORMAT;
    if (*p == (j->object ? '}' : ']')) return chopin_auth__json_finish(j);
    if (j->begun) {
        if (*p != ',') return CHOPIN_AUTH_FORMAT;
        p = chopin_auth__json_space(p + 1, j->end);
    }
    j->begun = true;
    if (j->object) {
        p = chopin_auth__json_key(&j->names, j->start, p, j->end, &v->raw_name, &escaped);
        if (!p) return CHOPIN_AUTH_FORMAT;
        v->name = chopin_auth__json_shown(j, v->raw_name, escaped);
    }
    p = chopin_auth__json_value_at(j, p, v, &rc);
    if (!p) return rc;
    j->at = chopin_auth__json_space(p, j->end);
    return 1;
}

/* ---- numbers: text to values, without libc and its locale ---- */

typedef struct chopin_auth__json_decimal { // digits d1 d2 ... of 0.d1d2... x 10^point
    const uint8_t *at, *end;            // the text from its first digit that is not 0; may hold a '.'
    int64_t point;
    bool    minus;
} chopin_auth__json_decimal;

/* The exponent behind 'e', clamped: beyond a million nothing changes any more. */
static int64_t chopin_auth__json_exponent(const uint8_t *p, const uint8_t *end) {
    bool    minus = p < end && *p == '-';
    int64_t value = 0;
    if (p < end && (*p == '-' || *p == '+')) p++;
    for (; p < end; p++) value = value > 1000000 ? value : value * 10 + (*p - '0');
    return minus ? -value : value;
}

/* Takes a well-formed number apart. */
static chopin_auth__json_decimal chopin_auth__json_split(chopin_str text) {
    const uint8_t *p = (const uint8_t *)text.ptr, *end = p + text.len, *e = p;
    chopin_auth__json_decimal d = { NULL, NULL, 0, p < end && *p == '-' };
    if (d.minus) p++;
    for (e = p; e < end && (*e | 0x20) != 'e'; e++) {}
    const uint8_t *dot = p < e ? memchr(p, '.', (size_t)(e - p)) : NULL;
    d.point = dot ? dot - p : e - p;
    for (; p < e && (*p == '0' || *p == '.'); p++) {
        if (*p == '0') d.point--;
    }
    d.at = p;
    d.end = e;
    d.point = p == e ? 0 : d.point + (e < end ? chopin_auth__json_exponent(e + 1, end) : 0);
    return d;
}

/* The number rounded towards zero, and whether that left something out. False above 2^53. */
static bool chopin_auth__json_whole(chopin_str text, int64_t *whole, bool *fraction) {
    chopin_auth__json_decimal d = chopin_auth__json_split(text);
    int64_t value = 0, left = d.point;
    *fraction = false;
    for (const uint8_t *p = d.at; p < d.end; p++) {
        if (*p == '.') continue;
        if (left-- > 0) value = value * 10 + (*p - '0');
        else if (*p != '0') *fraction = true;
        if (value > CHOPIN_AUTH__JSON_EXACT) return false;
    }
    for (; value && left > 0; left--) {
        value *= 10;
        if (value > CHOPIN_AUTH__JSON_EXACT) return false;
    }
    *whole = d.minus ? -value : value;
    return true;
}

/* An integer from -2^53 to 2^53, also written 1e3 or 5.0; false otherwise. */
static bool chopin_auth__json_integer(chopin_str text, int64_t *out) {
    bool fraction;
    return chopin_auth__json_whole(text, out, &fraction) && !fraction;
}

/* Whole numbers of up to 4,096 bits: enough for both sides of a comparison with the middle between two doubles. */
#define CHOPIN_AUTH__JSON_LIMBS  128
#define CHOPIN_AUTH__JSON_DIGITS 770     /* no double and no middle between two has more significant digits */
typedef struct chopin_auth__json_big { uint32_t limb[CHOPIN_AUTH__JSON_LIMBS]; size_t n; } chopin_auth__json_big;

static void chopin_auth__json_big_mul(chopin_auth__json_big *b, uint32_t factor, uint32_t add) {
    uint64_t carry = add;
    for (size_t i = 0; i < b->n; i++) {
        carry += (uint64_t)b->limb[i] * factor;
        b->limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry && b->n < CHOPIN_AUTH__JSON_LIMBS) b->limb[b->n++] = (uint32_t)carry;
}

static void chopin_auth__json_big_pow10(chopin_auth__json_big *b, int64_t exponent) {
    for (; exponent >= 9; exponent -= 9) chopin_auth__json_big_mul(b, 1000000000u, 0);
    for (; exponent > 0; exponent--) chopin_auth__json_big_mul(b, 10, 0);
}

static void chopin_auth__json_big_pow2(chopin_auth__json_big *b, int64_t exponent) {
    size_t words = (size_t)exponent / 32;
    if (b->n == 0 || b->n + words > CHOPIN_AUTH__JSON_LIMBS) return;
    memmove(b->limb + words, b->limb, b->n * sizeof b->limb[0]);
    memset(b->limb, 0, words * sizeof b->limb[0]);
    b->n += words;
    chopin_auth__json_big_mul(b, 1u << (exponent % 32), 0);
}

static int chopin_auth__json_big_compare(const chopin_auth__json_big *a, const chopin_auth__json_big *b) {
    if (a->n != b->n) return a->n < b->n ? -1 : 1;
    for (size_t i = a->n; i-- > 0;) {
        if (a->limb[i] != b->limb[i]) return a->limb[i] < b->limb[i] ? -1 : 1;
    }
    return 0;
}

/* Compares |d| with m x 2^e, exactly: all factors go to the side where they are positive powers. */
static int chopin_auth__json_against(const chopin_auth__json_decimal *d, uint64_t m, int64_t e) {
    chopin_auth__json_big a = { { 0 }, 0 }, b = { { (uint32_t)m, (uint32_t)(m >> 32) }, m >> 32 ? 2 : m ? 1 : 0 };
    int64_t taken = 0;
    bool    more = false;
    for (const uint8_t *p = d->at; p < d->end; p++) {
        if (*p == '.') continue;
        if (taken < CHOPIN_AUTH__JSON_DIGITS) { chopin_auth__json_big_mul(&a, 10, (uint32_t)(*p - '0')); taken++; }
        else if (*p != '0') more = true;
    }
    int64_t ten = d->point - taken;
    if (ten >= 0) chopin_auth__json_big_pow10(&a, ten);
    else          chopin_auth__json_big_pow10(&b, -ten);
    if (e >= 0) chopin_auth__json_big_pow2(&b, e);
    else        chopin_auth__json_big_pow2(&a, -e);
    int order = chopin_auth__json_big_compare(&a, &b);
    return order == 0 && more ? 1 : order;
}

/* |d| is at least `bits`, a double as an integer, rounded to nearest with ties to even? Compares with the middle below it. */
static bool chopin_auth__json_reaches(const chopin_auth__json_decimal *d, uint64_t bits) {
    uint64_t below = bits - 1, m = below & UINT64_C(0xfffffffffffff);
    int64_t  e = (int64_t)(below >> 52);
    if (e) m |= UINT64_C(1) << 52;
    else   e = 1;
    int order = chopin_auth__json_against(d, 2 * m + 1, e - 1076);
    return order > 0 || (order == 0 && (bits & 1) == 0);
}

/* The nearest double. False when there is none, as for 1e400. Bisection over the bit patterns: slow, exact, and nothing a token needs in a hurry. */
static bool chopin_auth__json_double(chopin_str text, double *out) {
    chopin_auth__json_decimal d = chopin_auth__json_split(text);
    int64_t  whole;
    uint64_t low = 0, high = UINT64_C(0x7ff0000000000000);              // low is reached, high (infinity) may be
    if (chopin_auth__json_integer(text, &whole) && whole != 0) { *out = (double)whole; return true; }
    if (d.at == d.end || d.point < -400) { *out = d.minus ? -0.0 : 0.0; return true; }
    if (d.point > 400 || chopin_auth__json_reaches(&d, high)) return false;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (chopin_auth__json_reaches(&d, middle)) low = middle;
        else                                       high = middle;
    }
    if (d.minus) low |= UINT64_C(1) << 63;
    memcpy(out, &low, sizeof low);
    return true;
}
/* ==========================================================================================================
   >>jwk   keys that own their algorithm; PEM, JWK and sets of them
   A kind of key is a table of functions which its constructor writes into the key, so a program contains only the algorithms whose constructors it calls, and
   no call can take one kind's bytes for another's.
   ========================================================================================================== */
typedef struct chopin_auth__jwk_out { char *out; size_t cap, len; } chopin_auth__jwk_out;     // len may pass cap: then nothing of it counts

struct chopin_auth__jwk_kind {
    int  (*sign)(const chopin_jwk *key, chopin_str message, uint8_t *signature, size_t cap);    // length or status
    int  (*verify)(const chopin_jwk *key, chopin_str message, chopin_str signature);            // 0 or status
    void (*members)(const chopin_jwk *key, chopin_auth__jwk_out *t);       // of the public JWK that RFC 7638 hashes, in its order; NULL: there is no public half
    int  (*table)(const chopin_jwk *key, void *memory);                 // fills chopin_jwk_table(); NULL: has none
};

static bool chopin_auth__alg_in(chopin_auth_alg alg, chopin_auth_alg first, chopin_auth_alg last) { return alg >= first && alg <= last; }
static bool chopin_auth__alg_is_rsa(chopin_auth_alg alg) { return chopin_auth__alg_in(alg, CHOPIN_AUTH_RS256, CHOPIN_AUTH_PS512); }

/* The three hashes stand in the same order in each family. */
static chopin_auth_hash chopin_auth__alg_hash(chopin_auth_alg alg) {
    return (chopin_auth_hash)(CHOPIN_AUTH_SHA256 + (alg - CHOPIN_AUTH_HS256) % 3);
}

static const char *chopin_auth__alg_name(chopin_auth_alg alg) {
    static const char names[][6] = { "", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "EdDSA" };
    return names[(size_t)alg < CHOPIN_AUTH__COUNT(names) ? (size_t)alg : 0];
}
static bool chopin_auth__jwk_text_is(chopin_str s, const char *z) { return s.len == strlen(z) && memcmp(s.ptr, z, s.len) == 0; }

/* 0: not one of ours */
static chopin_auth_alg chopin_auth__alg_of(chopin_str name) {
    for (int alg = CHOPIN_AUTH_HS256; alg <= CHOPIN_AUTH_EDDSA; alg++) {
        if (chopin_auth__jwk_text_is(name, chopin_auth__alg_name((chopin_auth_alg)alg))) return (chopin_auth_alg)alg;
    }
    return chopin_auth__jwk_text_is(name, "Ed25519") ? CHOPIN_AUTH_EDDSA : (chopin_auth_alg)0;
}

/* ---- writing ---- */
static void chopin_auth__jwk_put(chopin_auth__jwk_out *t, const char *s, size_t n) {
    if (t->cap >= n && t->len <= t->cap - n) memcpy(t->out + t->len, s, n);
    t->len += n;
}
static void chopin_auth__jwk_put_z(chopin_auth__jwk_out *t, const char *z) { chopin_auth__jwk_put(t, z, strlen(z)); }

static CHOPIN_AUTH__UNUSED void chopin_auth__jwk_put_base64url(chopin_auth__jwk_out *t, const uint8_t *bytes, size_t n) {
    size_t size = chopin_base64url_size(n);
    if (t->cap >= size && t->len <= t->cap - size && chopin_base64url_encode(chopin_auth__str(bytes, n), t->out + t->len, size) < 0) t->len = t->cap;
    t->len += size;
}

/* kid holds printable ASCII only, see chopin_auth__jwk_begin() */
static void chopin_auth__jwk_put_quoted(chopin_auth__jwk_out *t, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '"' || s[i] == '\\') chopin_auth__jwk_put_z(t, "\\");
        chopin_auth__jwk_put(t, s + i, 1);
    }
}

/* ---- beginnings and ends of all constructors ---- */
void chopin_jwk_done(chopin_jwk *key) {
    if (key) chopin_auth_wipe(key, sizeof *key);
}

static int chopin_auth__jwk_begin(chopin_jwk *key, chopin_str kid) {
    if (!key) return CHOPIN_AUTH_ARG;
    memset(key, 0, sizeof *key);
    if (kid.len > CHOPIN_AUTH_KID_MAX) return CHOPIN_AUTH_SIZE;
    for (size_t i = 0; i < kid.len; i++) if (kid.ptr[i] < 0x20 || kid.ptr[i] > 0x7e) return CHOPIN_AUTH_ARG;
    if (kid.len > 0) memcpy(key->kid, kid.ptr, kid.len);
    key->kid_len = (uint8_t)kid.len;
    return CHOPIN_AUTH_OK;
}
static int chopin_auth__jwk_end(chopin_jwk *key, int rc, chopin_auth_alg alg, const struct chopin_auth__jwk_kind *kind, bool secret) {
    if (rc < 0) { chopin_jwk_done(key); return rc; }
    key->alg = alg, key->kind = kind, key->secret = secret;
    return CHOPIN_AUTH_OK;
}

/* All that is left of the constructors of an algorithm that a CHOPIN_AUTH_NO_ switch took out */
static CHOPIN_AUTH__UNUSED int chopin_auth__jwk_left_out(chopin_jwk *key) { chopin_jwk_done(key); return CHOPIN_AUTH_UNSUPPORTED; }

/* What jws calls */
static CHOPIN_AUTH__UNUSED int chopin_auth__jwk_sign(const chopin_jwk *key, chopin_str message, uint8_t *signature, size_t cap) {
    if (!key || !key->kind || !key->secret || !signature || (!message.ptr && message.len)) return CHOPIN_AUTH_ARG;
    return key->kind->sign(key, message, signature, cap);
}
static CHOPIN_AUTH__UNUSED int chopin_auth__jwk_verify(const chopin_jwk *key, chopin_str message, chopin_str signature) {
    if (!key || !key->kind || (!message.ptr && message.len) || (!signature.ptr && signature.len)) return CHOPIN_AUTH_ARG;
    return key->kind->verify(key, message, signature);
}

/* ---- HMAC ---- */
static int chopin_auth__jwk_hmac_sign(const chopin_jwk *key, chopin_str message, uint8_t *signature, size_t cap) {
    size_t size = chopin_auth__hash_size(key->u.hmac.hash);
    if (cap < size) return CHOPIN_AUTH_BUFFER;
    chopin_hmac_sign(&key->u.hmac, message, signature);
    return (int)size;
}
static int chopin_auth__jwk_hmac_verify(const chopin_jwk *key, chopin_str message, chopin_str signature) {
    return chopin_hmac_check(&key->u.hmac, message, signature);
}
static const struct chopin_auth__jwk_kind chopin_auth__jwk_hmac_kind = { chopin_auth__jwk_hmac_sign, chopin_auth__jwk_hmac_verify, NULL, NULL };

int chopin_jwk_hmac(chopin_jwk *key, chopin_auth_alg alg, chopin_str kid, chopin_str secret) {
    int rc = chopin_auth__jwk_begin(key, kid);
    if (rc < 0) return key ? chopin_auth__jwk_end(key, rc, alg, NULL, false) : rc;
    if (!chopin_auth__alg_in(alg, CHOPIN_AUTH_HS256, CHOPIN_AUTH_HS512) || (!secret.ptr && secret.len)) rc = CHOPIN_AUTH_ARG;
    else if (secret.len < chopin_auth__hash_size(chopin_auth__alg_hash(alg)))                           rc = CHOPIN_AUTH_WEAK_KEY;
    else rc = chopin_hmac_key(&key->u.hmac, chopin_auth__alg_hash(alg), secret);
    return chopin_auth__jwk_end(key, rc, alg, &chopin_auth__jwk_hmac_kind, true);
}

int chopin_jwk_hmac_text(chopin_jwk *key, chopin_auth_alg alg, chopin_str kid, chopin_str text) {
    uint8_t prk[CHOPIN_AUTH_HASH_MAX] = { 0 }, secret[CHOPIN_AUTH_HASH_MAX] = { 0 };
    chopin_auth_hash hash = chopin_auth__alg_hash(alg);
    int rc = CHOPIN_AUTH_ARG;
    if (key && chopin_auth__alg_in(alg, CHOPIN_AUTH_HS256, CHOPIN_AUTH_HS512)) rc = text.ptr && text.len >= 32 ? CHOPIN_AUTH_OK : CHOPIN_AUTH_WEAK_KEY;
    if (rc == 0) rc = chopin_hkdf_extract(hash, CHOPIN_STR("chopin_jwk_hmac_text"), text, prk);
    if (rc == 0) rc = chopin_hkdf_expand(hash, chopin_auth__str(prk, chopin_auth__hash_size(hash)), chopin_auth__str(chopin_auth__alg_name(alg), 5), secret, chopin_auth__hash_size(hash));
    if (rc == 0) rc = chopin_jwk_hmac(key, alg, kid, chopin_auth__str(secret, chopin_auth__hash_size(hash)));
    else if (key) chopin_jwk_done(key);
    chopin_auth_wipe(prk, sizeof prk), chopin_auth_wipe(secret, sizeof secret);
    return rc;
}

/* ---- Ed25519 ---- */
#ifndef CHOPIN_AUTH_NO_ED25519
static int chopin_auth__jwk_ed25519_sign(const chopin_jwk *key, chopin_str message, uint8_t *signature, size_t cap) {
    if (cap < 64) return CHOPIN_AUTH_BUFFER;
    chopin_auth__ed25519_make(&key->u.ed25519, message, signature);
    return 64;
}
static int chopin_auth__jwk_ed25519_verify(const chopin_jwk *key, chopin_str message, chopin_str signature) {
    if (signature.len != 64) return CHOPIN_AUTH_SIZE;
    return chopin_auth__ed25519_check(&key->u.ed25519, key->table, message, (const uint8_t *)signature.ptr);
}
static void chopin_auth__jwk_ed25519_members(const chopin_jwk *key, chopin_auth__jwk_out *t) {
    chopin_auth__jwk_put_z(t, "\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"");
    chopin_auth__jwk_put_base64url(t, key->u.ed25519.bytes, 32);
    chopin_auth__jwk_put_z(t, "\"");
}
static int chopin_auth__jwk_ed25519_table(const chopin_jwk *key, void *memory) {
    chopin_auth__ed25519_point p = chopin_auth__ed25519_minus_a(&key->u.ed25519);
    chopin_auth__ed25519_table_fill(memory, &p);
    return CHOPIN_AUTH_OK;
}
static const struct chopin_auth__jwk_kind chopin_auth__jwk_ed25519_kind = {
    chopin_auth__jwk_ed25519_sign, chopin_auth__jwk_ed25519_verify, chopin_auth__jwk_ed25519_members, chopin_auth__jwk_ed25519_table
};

int chopin_jwk_ed25519(chopin_jwk *key, chopin_str kid, const uint8_t seed[32]) {
    int rc = chopin_auth__jwk_begin(key, kid);
    if (!key) return rc;
    if (rc == 0 && !seed) rc = CHOPIN_AUTH_ARG;
    if (rc == 0) chopin_auth__ed25519_from_seed(&key->u.ed25519, seed);
    return chopin_auth__jwk_end(key, rc, CHOPIN_AUTH_EDDSA, &chopin_auth__jwk_ed25519_kind, true);
}
int chopin_jwk_ed25519_public(chopin_jwk *key, chopin_str kid, const uint8_t point[32]) {
    int rc = chopin_auth__jwk_begin(key, kid);
    if (!key) return rc;
    if (rc == 0) rc = point ? chopin_auth__ed25519_from_public(&key->u.ed25519, point) : CHOPIN_AUTH_ARG;
    return chopin_auth__jwk_end(key, rc, CHOPIN_AUTH_EDDSA, &chopin_auth__jwk_ed25519_kind, false);
}
int chopin_ed25519_sign(const chopin_jwk *key, chopin_str message, uint8_t signature[64]) {
    if (!key || key->kind != &chopin_auth__jwk_ed25519_kind) return CHOPIN_AUTH_ARG;
    int rc = chopin_auth__jwk_sign(key, message, signature, 64);
    return rc < 0 ? rc : 0;
}
int chopin_ed25519_verify(const chopin_jwk *key, chopin_str message, chopin_str signature) {
    return key && key->kind == &chopin_auth__jwk_ed25519_kind ? chopin_auth__jwk_verify(key, message, signature) : CHOPIN_AUTH_ARG;
}
#else
int chopin_jwk_ed25519(chopin_jwk *key, chopin_str kid, const uint8_t seed[32])         { (void)kid, (void)seed; return chopin_auth__jwk_left_out(key); }
int chopin_jwk_ed25519_public(chopin_jwk *key, chopin_str kid, const uint8_t point[32]) { (void)kid, (void)point; return chopin_auth__jwk_left_out(key); }
int chopin_ed25519_sign(const chopin_jwk *key, chopin_str message, uint8_t signature[64])        { (void)key, (void)message, (void)signature; return CHOPIN_AUTH_UNSUPPORTED; }
int chopin_ed25519_verify(const chopin_jwk *key, chopin_str message, chopin_str signature)       { (void)key, (void)message, (void)signature; return CHOPIN_AUTH_UNSUPPORTED; }
#endif

/* ---- ES256 ---- */
#ifndef CHOPIN_AUTH_NO_P256
static int chopin_auth__jwk_p256_sign(const chopin_jwk *key, chopin_str message, uint8_t *signature, size_t cap) {
    uint8_t fresh[32];
    if (cap < 64) return CHOPIN_AUTH_BUFFER;
    if (chopin_auth_random(fresh, sizeof fresh) < 0) return CHOPIN_AUTH_RANDOM;
    chopin_auth__p256_make(&key->u.p256, key->low_s, message, chopin_auth__str(fresh, sizeof fresh), signature);
    chopin_auth_wipe(fresh, sizeof fresh);
    return 64;
}
static int chopin_auth__jwk_p256_verify(const chopin_jwk *key, chopin_str message, chopin_str signature) {
    if (signature.len != 64) return CHOPIN_AUTH_SIZE;
    return chopin_auth__p256_check(&key->u.p256, key->low_s, key->table, message, (const uint8_t *)signature.ptr);
}
static void chopin_auth__jwk_p256_members(const chopin_jwk *key, chopin_auth__jwk_out *t) {
    uint8_t coordinate[32];
    chopin_auth__p256_store_field(coordinate, key->u.p256.x);
    chopin_auth__jwk_put_z(t, "\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"");
    chopin_auth__jwk_put_base64url(t, coordinate, 32);
    chopin_auth__p256_store_field(coordinate, key->u.p256.y);
    chopin_auth__jwk_put_z(t, "\",\"y\":\"");
    chopin_auth__jwk_put_base64url(t, coordinate, 32);
    chopin_auth__jwk_put_z(t, "\"");
}
static int chopin_auth__jwk_p256_table(const chopin_jwk *key, void *memory) {
    chopin_auth__p256_table_fill(memory, &key->u.p256);
    return CHOPIN_AUTH_OK;
}
static const struct chopin_auth__jwk_kind chopin_auth__jwk_p256_kind = {
    chopin_auth__jwk_p256_sign, chopin_auth__jwk_p256_verify, chopin_auth__jwk_p256_members, chopin_auth__jwk_p256_table
};

int chopin_jwk_p256(chopin_jwk *key, chopin_str kid, const uint8_t d[32]) {
    int rc = chopin_auth__jwk_begin(key, kid);
    if (!key) return rc;
    if (rc == 0) rc = d ? chopin_auth__p256_from_secret(&key->u.p256, d) : CHOPIN_AUTH_ARG;
    return chopin_auth__jwk_end(key, rc, CHOPIN_AUTH_ES256, &chopin_auth__jwk_p256_kind, true);
}
int chopin_jwk_p256_public(chopin_jwk *key, chopin_str kid, const uint8_t x[32], const uint8_t y[32]) {
    int rc = chopin_auth__jwk_begin(key, kid);
    if (!key) return rc;
    if (rc == 0) rc = x && y ? chopin_auth__p256_from_public(&key->u.p256, x, y) : CHOPIN_AUTH_ARG;
    return chopin_auth__jwk_end(key, rc, CHOPIN_AUTH_ES256, &chopin_auth__jwk_p256_kind, false);
}
int chopin_p256_sign(const chopin_jwk *key, chopin_str message, uint8_t signature[64]) {
    if (!key || key->kind != &chopin_auth__jwk_p256_kind) return CHOPIN_AUTH_ARG;
    int rc = chopin_auth__jwk_sign(key, message, signature, 64);
    return rc < 0 ? rc : 0;
}
int chopin_p256_verify(const chopin_jwk *key, chopin_str message, chopin_str signature) {
    return key && key->kind == &chopin_auth__jwk_p256_kind ? chopin_auth__jwk_verify(key, message, signature) : CHOPIN_AUTH_ARG;
}
#else
int chopin_jwk_p256(chopin_jwk *key, chopin_str kid, const uint8_t d[32])                             { (void)kid, (void)d; return chopin_auth__jwk_left_out(key); }
int chopin_jwk_p256_public(chopin_jwk *key, chopin_str kid, const uint8_t x[32], const uint8_t y[32]) { (void)kid, (void)x, (void)y; return chopin_auth__jwk_left_out(key); }
int chopin_p256_sign(const chopin_jwk *key, chopin_str message, uint8_t signature[64])       { (void)key, (void)message, (void)signature; return CHOPIN_AUTH_UNSUPPORTED; }
int chopin_p256_verify(const chopin_jwk *key, chopin_str message, chopin_str signature)      { (void)key, (void)message, (void)signature; return CHOPIN_AUTH_UNSUPPORTED; }
#endif

/* ---- RSA ---- */
#ifndef CHOPIN_AUTH_NO_RSA
static bool chopin_auth__jwk_is_pss(const chopin_jwk *key) { return key->alg >= CHOPIN_AUTH_PS256; }

static int chopin_auth__jwk_rsa_sign(const chopin_jwk *key, chopin_str message, uint8_t *signature, size_t cap) {
    if (cap < (key->u.rsa.bits + 7) / 8) return CHOPIN_AUTH_BUFFER;
    return chopin_auth__rsa_make(&key->u.rsa, chopin_auth__jwk_is_pss(key), chopin_auth__alg_hash(key->alg), message, signature);
}
static int chopin_auth__jwk_rsa_verify(const chopin_jwk *key, chopin_str message, chopin_str signature) {
    if (signature.len != (key->u.rsa.bits + 7) / 8) return CHOPIN_AUTH_SIZE;
    return chopin_auth__rsa_check(&key->u.rsa, chopin_auth__jwk_is_pss(key), chopin_auth__alg_hash(key->alg), message, (const uint8_t *)signature.ptr);
}
static void chopin_auth__jwk_rsa_members(const chopin_jwk *key, chopin_auth__jwk_out *t) {
    uint8_t number[CHOPIN_AUTH__RSA_BYTES];
    uint64_t e = key->u.rsa.e;
    size_t bytes = e >> 24 ? 4 : e >> 16 ? 3 : e >> 8 ? 2 : 1, size = (key->u.rsa.bits + 7) / 8;
    chopin_auth__bignum_store(number, bytes, &e);
    chopin_auth__jwk_put_z(t, "\"e\":\"");
    chopin_auth__jwk_put_base64url(t, number, bytes);
    chopin_auth__bignum_store(number, size, key->u.rsa.n);
    chopin_auth__jwk_put_z(t, "\",\"kty\":\"RSA\",\"n\":\"");
    chopin_auth__jwk_put_base64url(t, number, size);
    chopin_auth__jwk_put_z(t, "\"");
}
static const struct chopin_auth__jwk_kind chopin_auth__jwk_rsa_kind = { chopin_auth__jwk_rsa_sign, chopin_auth__jwk_rsa_verify, chopin_auth__jwk_rsa_members, NULL };

int chopin_jwk_rsa(chopin_jwk *key, chopin_auth_alg alg, chopin_str kid, const chopin_rsa_parts *parts) {
    int rc = chopin_auth__jwk_begin(key, kid);
    if (!key) return rc;
    if (rc == 0) rc = parts && chopin_auth__alg_is_rsa(alg) ? chopin_auth__rsa_from_parts(&key->u.rsa, parts) : CHOPIN_AUTH_ARG;
    return chopin_auth__jwk_end(key, rc, alg, &chopin_auth__jwk_rsa_kind, true);
}
int chopin_jwk_rsa_public(chopin_jwk *key, chopin_auth_alg alg, chopin_str kid, chopin_str n, chopin_str e) {
    int rc = chopin_auth__jwk_begin(key, kid);
    if (!key) return rc;
    if (rc == 0) rc = chopin_auth__alg_is_rsa(alg) ? chopin_auth__rsa_from_public(&key->u.rsa, n, e) : CHOPIN_AUTH_ARG;
    return chopin_auth__jwk_end(key, rc, alg, &chopin_auth__jwk_rsa_kind, false);
}
int chopin_rsa_sign(const chopin_jwk *key, chopin_str message, uint8_t *signature, size_t cap) {
    return key && key->kind == &chopin_auth__jwk_rsa_kind ? chopin_auth__jwk_sign(key, message, signature, cap) : CHOPIN_AUTH_ARG;
}
int chopin_rsa_verify(const chopin_jwk *key, chopin_str message, chopin_str signature) {
    return key && key->kind == &chopin_auth__jwk_rsa_kind ? chopin_auth__jwk_verify(key, message, signature) : CHOPIN_AUTH_ARG;
}
#else
int chopin_jwk_rsa(chopin_jwk *key, chopin_auth_alg alg, chopin_str kid, const chopin_rsa_parts *parts)         { (void)alg, (void)kid, (void)parts; return chopin_auth__jwk_left_out(key); }
int chopin_jwk_rsa_public(chopin_jwk *key, chopin_auth_alg alg, chopin_str kid, chopin_str n, chopin_str e)     { (void)alg, (void)kid, (void)n, (void)e; return chopin_auth__jwk_left_out(key); }
int chopin_rsa_sign(const chopin_jwk *key, chopin_str message, uint8_t *signature, size_t cap)  { (void)key, (void)message, (void)signature, (void)cap; return CHOPIN_AUTH_UNSUPPORTED; }
int chopin_rsa_verify(const chopin_jwk *key, chopin_str message, chopin_str signature)          { (void)key, (void)message, (void)signature; return CHOPIN_AUTH_UNSUPPORTED; }
#endif

/* ---- PEM and DER ---- */

/* Does the public half that came along belong to the secret one? P-256 points come as 04 x y; 02, 03, 06 and 07 begin the compressed and hybrid forms. */
static int chopin_auth__jwk_from_p256(chopin_jwk *key, chopin_str kid, const chopin_auth__der_key *in) {
    const uint8_t *p = (const uint8_t *)in->point.ptr;
    if (p && in->point.len > 0 && (p[0] == 2 || p[0] == 3 || p[0] == 6 || p[0] == 7)) return CHOPIN_AUTH_UNSUPPORTED;
    if (p && (in->point.len != 65 || p[0] != 4)) return CHOPIN_AUTH_KEY;
    if (!in->secret) return chopin_jwk_p256_public(key, kid, p + 1, p + 33);
    int rc = chopin_jwk_p256(key, kid, (const uint8_t *)in->d.ptr);
#ifndef CHOPIN_AUTH_NO_P256
    chopin_auth__p256_key other;
    if (rc == 0 && p) rc = chopin_auth__p256_from_public(&other, p + 1, p + 33);
    if (rc == 0 && p && (memcmp(other.x, key->u.p256.x, sizeof other.x) || memcmp(other.y, key->u.p256.y, sizeof other.y))) rc = CHOPIN_AUTH_KEY;
#endif
    return rc;
}
static int chopin_auth__jwk_from_ed25519(chopin_jwk *key, chopin_str kid, const chopin_auth__der_key *in) {
    if (in->point.ptr && in->point.len != 32) return CHOPIN_AUTH_KEY;
    if (!in->secret) return chopin_jwk_ed25519_public(key, kid, (const uint8_t *)in->point.ptr);
    int rc = chopin_jwk_ed25519(key, kid, (const uint8_t *)in->d.ptr);
    if (rc == 0 && in->point.ptr && memcmp(in->point.ptr, key->u.ed25519.bytes, 32) != 0) rc = CHOPIN_AUTH_KEY;
    return rc;
}
static int chopin_auth__jwk_from_parts(chopin_jwk *key, chopin_auth_alg alg, chopin_str kid, const chopin_auth__der_key *in) {
    switch (in->kind) {
    case CHOPIN_AUTH__DER_RSA:
        if (!chopin_auth__alg_is_rsa(alg)) return CHOPIN_AUTH_KEY;
        return in->secret ? chopin_jwk_rsa(key, alg, kid, &in->rsa) : chopin_jwk_rsa_public(key, alg, kid, in->rsa.n, in->rsa.e);
    case CHOPIN_AUTH__DER_P256:    return alg == CHOPIN_AUTH_ES256 ? chopin_auth__jwk_from_p256(key, kid, in) : CHOPIN_AUTH_KEY;
    case CHOPIN_AUTH__DER_ED25519: return alg == CHOPIN_AUTH_EDDSA ? chopin_auth__jwk_from_ed25519(key, kid, in) : CHOPIN_AUTH_KEY;
    }
    return CHOPIN_AUTH_KEY;
}

int chopin_jwk_pem(chopin_jwk *key, chopin_auth_alg alg, chopin_str kid, chopin_str pem_or_der) {
    uint8_t room[CHOPIN_AUTH__DER_MAX];
    chopin_auth__der_key found;
    int rc = chopin_auth__jwk_begin(key, kid);
    if (!key) return rc;
    if (rc == 0 && !chopin_auth__alg_in(alg, CHOPIN_AUTH_RS256, CHOPIN_AUTH_EDDSA)) rc = CHOPIN_AUTH_ARG;
    if (rc == 0) rc = chopin_auth__der_read(&found, pem_or_der, room);
    if (rc == 0) rc = chopin_auth__jwk_from_parts(key, alg, kid, &found);
    chopin_auth_wipe(room, sizeof room);
    if (rc < 0) chopin_jwk_done(key);
    return rc;
}

/* ---- JWK (RFC 7517, 7518 section 6, 8037) ---- */
typedef struct chopin_auth__jwk_members { // views into the text, or into the room for strings with escapes
    chopin_str kty, crv, alg, use, key_ops, kid, k, n, e, d, p, q, dp, dq, qi, x, y;
    bool       more_primes;             // `oth`
    char       room[512];
} chopin_auth__jwk_members;

/* Known members are strings without U+0000, but for key_ops, an array. */
static int chopin_auth__jwk_member(chopin_auth__jwk_members *m, const chopin_auth__json_value *v) {
    const struct { const char *name; chopin_str *at; } known[] = {
        { "kty", &m->kty }, { "crv", &m->crv }, { "alg", &m->alg }, { "use", &m->use }, { "key_ops", &m->key_ops }, { "kid", &m->kid }, { "k", &m->k },
        { "n", &m->n }, { "e", &m->e }, { "d", &m->d }, { "p", &m->p }, { "q", &m->q }, { "dp", &m->dp }, { "dq", &m->dq }, { "qi", &m->qi }, { "x", &m->x }, { "y", &m->y }
    };
    if (chopin_auth__jwk_text_is(v->name, "oth")) m->more_primes = true;
    for (size_t i = 0; i < CHOPIN_AUTH__COUNT(known); i++) {
        if (!chopin_auth__jwk_text_is(v->name, known[i].name)) continue;
        if (v->nul || v->type != (known[i].at == &m->key_ops ? CHOPIN_AUTH__JSON_ARRAY : CHOPIN_AUTH__JSON_STRING)) return CHOPIN_AUTH_KEY;
        *known[i].at = v->text;
    }
    return CHOPIN_AUTH_OK;
}

/* The whole object is read before anything is said about it: FORMAT (or BUFFER, for absurd escapes) wins over KEY. */
static int chopin_auth__jwk_read(chopin_auth__jwk_members *m, chopin_str json) {
    chopin_auth__json j;
    chopin_auth__json_value v;
    int kept = 0;
    memset(m, 0, sizeof *m);
    int rc = chopin_auth__json_object(&j, json, m->room, sizeof m->room);
    while (rc >= 0 && (rc = chopin_auth__json_next(&j, &v)) == 1) {
        int one = chopin_auth__jwk_member(m, &v);
        if (one < 0) kept = one;
    }
    if (rc < 0) return rc == CHOPIN_AUTH_BUFFER ? CHOPIN_AUTH_SIZE : rc;
    return kept < 0 || m->kty.ptr ? kept : CHOPIN_AUTH_KEY;
}

/* `use` and `key_ops`: for signatures? */
static bool chopin_auth__jwk_may(const chopin_auth__jwk_members *m) {
    chopin_auth__json j;
    chopin_auth__json_value v;
    bool found = false;
    if (m->use.ptr && !chopin_auth__jwk_text_is(m->use, "sig")) return false;
    if (!m->key_ops.ptr) return true;
    int rc = chopin_auth__json_array(&j, m->key_ops, NULL, 0);
    while (rc >= 0 && (rc = chopin_auth__json_next(&j, &v)) == 1) {
        if (v.type != CHOPIN_AUTH__JSON_STRING) return false;
        if (chopin_auth__jwk_text_is(v.text, "verify") || (m->d.ptr && chopin_auth__jwk_text_is(v.text, "sign"))) found = true;
    }
    return rc == 0 && found;
}

/* The numbers of a JWK, decoded into one room that the views then point into. Integers of RSA have no leading zero (RFC 7518 section 2). */
typedef struct chopin_auth__jwk_numbers { uint8_t *at, *end; int rc; } chopin_auth__jwk_numbers;

static chopin_str chopin_auth__jwk_number(chopin_auth__jwk_numbers *s, chopin_str text, size_t size) {
    chopin_str out = { (const char *)s->at, 0 };
    int n = text.ptr ? chopin_base64url_decode(text, s->at, (size_t)(s->end - s->at)) : CHOPIN_AUTH_KEY;
    if (n <= 0 || (size ? (size_t)n != size : s->at[0] == 0)) { if (s->rc == 0) s->rc = CHOPIN_AUTH_KEY; return out; }
    out.len = (size_t)n;
    s->at += n;
    return out;
}

static int chopin_auth__jwk_json_rsa(chopin_jwk *key, chopin_auth_alg alg, const chopin_auth__jwk_members *m) {
    uint8_t room[CHOPIN_AUTH_RSA_MAX / 8 + 4 + CHOPIN_AUTH_RSA_SIGN_MAX / 8 + 5 * CHOPIN_AUTH_RSA_SIGN_MAX / 16 + 8];
    chopin_auth__jwk_numbers s = { room, room + sizeof room, 0 };
    chopin_rsa_parts parts = { .n = chopin_auth__jwk_number(&s, m->n, 0) };
    parts.e = chopin_auth__jwk_number(&s, m->e, 0);
    bool secret = m->d.ptr != NULL;
    if (m->more_primes || (secret && !m->p.ptr)) return CHOPIN_AUTH_UNSUPPORTED;     // d alone would have to be factored with
    if (secret) {
        parts.d  = chopin_auth__jwk_number(&s, m->d, 0),  parts.p  = chopin_auth__jwk_number(&s, m->p, 0),  parts.q  = chopin_auth__jwk_number(&s, m->q, 0);
        parts.dp = chopin_auth__jwk_number(&s, m->dp, 0), parts.dq = chopin_auth__jwk_number(&s, m->dq, 0), parts.qi = chopin_auth__jwk_number(&s, m->qi, 0);
    }
    int rc = s.rc;
    if (rc == 0) rc = secret ? chopin_jwk_rsa(key, alg, m->kid, &parts) : chopin_jwk_rsa_public(key, alg, m->kid, parts.n, parts.e);
    chopin_auth_wipe(room, sizeof room);
    return rc;
}

static int chopin_auth__jwk_json_point(chopin_jwk *key, const chopin_auth__jwk_members *m, bool p256) {
    uint8_t room[97];
    chopin_auth__der_key in = { .kind = p256 ? CHOPIN_AUTH__DER_P256 : CHOPIN_AUTH__DER_ED25519, .secret = m->d.ptr != NULL };
    chopin_auth__jwk_numbers s = { room + p256, room + sizeof room, 0 };
    room[0] = 4;
    if (m->x.ptr || m->y.ptr || !in.secret) {
        in.point = chopin_auth__str(room, p256 ? 65 : 32);
        (void)chopin_auth__jwk_number(&s, m->x, 32);
        if (p256) (void)chopin_auth__jwk_number(&s, m->y, 32);
    }
    if (in.secret) in.d = chopin_auth__jwk_number(&s, m->d, 32);
    int rc = s.rc;
    if (rc == 0) rc = p256 ? chopin_auth__jwk_from_p256(key, m->kid, &in) : chopin_auth__jwk_from_ed25519(key, m->kid, &in);
    chopin_auth_wipe(room, sizeof room);
    return rc;
}

static int chopin_auth__jwk_json_oct(chopin_jwk *key, chopin_auth_alg alg, const chopin_auth__jwk_members *m) {
    uint8_t room[1024];
    chopin_auth__jwk_numbers s = { room, room + sizeof room, 0 };
    int n = m->k.ptr ? chopin_base64url_decode(m->k, room, sizeof room) : CHOPIN_AUTH_KEY;
    s.rc = n < 0 ? CHOPIN_AUTH_KEY : chopin_jwk_hmac(key, alg, m->kid, chopin_auth__str(room, (size_t)n));
    chopin_auth_wipe(room, sizeof room);
    return s.rc;
}

/* The algorithm of a key that says `own`, in a family of first to last, when the caller wants `want` (0: has no wish). ALG: there is none that fits both. */
static int chopin_auth__jwk_choose(const chopin_auth__jwk_members *m, chopin_auth_alg want, chopin_auth_alg first, chopin_auth_alg last) {
    chopin_auth_alg own = m->alg.ptr ? chopin_auth__alg_of(m->alg) : (chopin_auth_alg)0;
    if (m->alg.ptr && !chopin_auth__alg_in(own, first, last)) return CHOPIN_AUTH_ALG;
    if (!own) own = first == last ? first : want;
    if ((want && own != want) || !chopin_auth__alg_in(own, first, last)) return CHOPIN_AUTH_ALG;
    return (int)own;
}

/* One JWK's members to a key. */
static int chopin_auth__jwk_build(chopin_jwk *key, chopin_auth_alg want, const chopin_auth__jwk_members *m) {
    int alg = CHOPIN_AUTH_UNSUPPORTED;
    bool rsa = chopin_auth__jwk_text_is(m->kty, "RSA"), oct = chopin_auth__jwk_text_is(m->kty, "oct");
    bool p256 = chopin_auth__jwk_text_is(m->kty, "EC") && chopin_auth__jwk_text_is(m->crv, "P-256");
    bool okp  = chopin_auth__jwk_text_is(m->kty, "OKP") && chopin_auth__jwk_text_is(m->crv, "Ed25519");
    if (!chopin_auth__jwk_may(m)) return CHOPIN_AUTH_KEY;
    if (rsa)  alg = chopin_auth__jwk_choose(m, want, CHOPIN_AUTH_RS256, CHOPIN_AUTH_PS512);
    if (oct)  alg = chopin_auth__jwk_choose(m, want, CHOPIN_AUTH_HS256, CHOPIN_AUTH_HS512);
    if (p256) alg = chopin_auth__jwk_choose(m, want, CHOPIN_AUTH_ES256, CHOPIN_AUTH_ES256);
    if (okp)  alg = chopin_auth__jwk_choose(m, want, CHOPIN_AUTH_EDDSA, CHOPIN_AUTH_EDDSA);
    if (alg < 0) return alg;
    if (rsa) return chopin_auth__jwk_json_rsa(key, (chopin_auth_alg)alg, m);
    if (oct) return chopin_auth__jwk_json_oct(key, (chopin_auth_alg)alg, m);
    return chopin_auth__jwk_json_point(key, m, p256);
}

int chopin_jwk_json(chopin_jwk *key, chopin_auth_alg alg, chopin_str json) {
    chopin_auth__jwk_members m;
    if (!key) return CHOPIN_AUTH_ARG;
    memset(key, 0, sizeof *key);
    if (alg != 0 && !chopin_auth__alg_in(alg, CHOPIN_AUTH_HS256, CHOPIN_AUTH_EDDSA)) return CHOPIN_AUTH_ARG;
    if (json.len > CHOPIN_AUTH_PEM_MAX) return CHOPIN_AUTH_SIZE;
    int rc = chopin_auth__jwk_read(&m, json);
    if (rc == 0) rc = chopin_auth__jwk_build(key, alg, &m);
    if (rc < 0) chopin_jwk_done(key);
    chopin_auth_wipe(&m, sizeof m);
    return rc;
}

/* ---- what a key can tell about itself ---- */
static int chopin_auth__jwk_out_end(const chopin_auth__jwk_out *t) { return t->len > t->cap || t->len > INT_MAX ? CHOPIN_AUTH_BUFFER : (int)t->len; }

int chopin_jwk_table(chopin_jwk *key, void *memory, size_t size) {
    if (!key || !key->kind || !memory || (uintptr_t)memory % 16 != 0) return CHOPIN_AUTH_ARG;
    if (!key->kind->table) return CHOPIN_AUTH_UNSUPPORTED;
    if (size < CHOPIN_AUTH_JWK_TABLE) return CHOPIN_AUTH_BUFFER;
    int rc = key->kind->table(key, memory);
    if (rc == 0) key->table = memory;
    return rc;
}

int chopin_jwk_thumbprint(const chopin_jwk *key, uint8_t out[32]) {
    char room[64 + (CHOPIN_AUTH_RSA_MAX / 8 + 2) / 3 * 4];
    chopin_auth__jwk_out t = { room, sizeof room, 0 };
    if (!key || !key->kind || !out) return CHOPIN_AUTH_ARG;
    if (!key->kind->members) return CHOPIN_AUTH_UNSUPPORTED;
    chopin_auth__jwk_put_z(&t, "{");
    key->kind->members(key, &t);
    chopin_auth__jwk_put_z(&t, "}");
    chopin_sha256(chopin_auth__str(room, t.len), out);
    return CHOPIN_AUTH_OK;
}

static void chopin_auth__jwk_write(const chopin_jwk *key, chopin_auth__jwk_out *t) {
    chopin_auth__jwk_put_z(t, "{\"alg\":\"");
    chopin_auth__jwk_put_z(t, chopin_auth__alg_name(key->alg));
    chopin_auth__jwk_put_z(t, "\",");
    key->kind->members(key, t);
    if (key->kid_len) {
        chopin_auth__jwk_put_z(t, ",\"kid\":\"");
        chopin_auth__jwk_put_quoted(t, key->kid, key->kid_len);
        chopin_auth__jwk_put_z(t, "\"");
    }
    chopin_auth__jwk_put_z(t, ",\"use\":\"sig\"}");
}

/* Written twice: the first time for its length only, so that nothing is written when it does not fit. */
int chopin_jwk_public_json(const chopin_jwk *key, char *out, size_t cap) {
    chopin_auth__jwk_out t = { NULL, 0, 0 };
    if (!key || !key->kind || (!out && cap)) return CHOPIN_AUTH_ARG;
    if (!key->kind->members) return CHOPIN_AUTH_UNSUPPORTED;
    chopin_auth__jwk_write(key, &t);
    if (t.len > cap) return CHOPIN_AUTH_BUFFER;
    t = (chopin_auth__jwk_out){ out, cap, 0 };
    chopin_auth__jwk_write(key, &t);
    return chopin_auth__jwk_out_end(&t);
}

/* ---- sets ----
 * Two slots. Readers count themselves into the active one and look again whether it still is; a writer fills the other one, once nobody reads it any more, and
 * makes it the active one. All sequentially consistent: whoever counted in before the writer looked is seen by it, whoever came later sees the new number. */
int chopin_jwks_init(chopin_jwks *set, const chopin_jwks_options *options) {
    if (!set || (options && options->rsa_alg && !chopin_auth__alg_is_rsa(options->rsa_alg))) return CHOPIN_AUTH_ARG;
    memset(set, 0, sizeof *set);
    set->options.rsa_alg = options && options->rsa_alg ? options->rsa_alg : CHOPIN_AUTH_RS256;
    return CHOPIN_AUTH_OK;
}
void chopin_jwks_done(chopin_jwks *set) {
    if (set) chopin_auth_wipe(set, sizeof *set);
}

static chopin_auth__jwks_slot *chopin_auth__jwks_hold(chopin_jwks *set) {
    for (;;) {
        uint32_t active = atomic_load(&set->active) & 1;
        atomic_fetch_add(&set->slots[active].readers, 1);
        if ((atomic_load(&set->active) & 1) == active) return &set->slots[active];
        atomic_fetch_sub(&set->slots[active].readers, 1);
    }
}
static void chopin_auth__jwks_drop(chopin_auth__jwks_slot *slot) { atomic_fetch_sub(&slot->readers, 1); }

/* The slot to fill, empty; NULL: busy. Ended by _publish. */
static chopin_auth__jwks_slot *chopin_auth__jwks_begin(chopin_jwks *set) {
    uint32_t idle = 0;
    if (!atomic_compare_exchange_strong(&set->writing, &idle, 1)) return NULL;
    chopin_auth__jwks_slot *slot = &set->slots[(atomic_load(&set->active) & 1) ^ 1];
    if (atomic_load(&slot->readers) != 0) { atomic_store(&set->writing, 0); return NULL; }
    slot->count = slot->skipped = 0;
    chopin_auth_wipe(slot->keys, sizeof slot->keys);
    return slot;
}
static int chopin_auth__jwks_publish(chopin_jwks *set, const chopin_auth__jwks_slot *slot, int rc) {
    int count = (int)slot->count;
    if (rc >= 0) atomic_store(&set->active, (uint32_t)(slot == &set->slots[1]));
    atomic_store(&set->writing, 0);
    return rc < 0 ? rc : count;
}

/* May this key, the last one of the slot, stand beside the others? */
static int chopin_auth__jwks_fits(const chopin_auth__jwks_slot *slot) {
    const chopin_jwk *last = &slot->keys[slot->count - 1];
    for (uint32_t i = 0; i + 1 < slot->count; i++) {
        const chopin_jwk *k = &slot->keys[i];
        if (!k->kind->members != !last->kind->members) return CHOPIN_AUTH_KEY;                          // symmetric and public keys together
        if (k->kid_len && k->kid_len == last->kid_len && memcmp(k->kid, last->kid, k->kid_len) == 0) return CHOPIN_AUTH_KEY;
    }
    return CHOPIN_AUTH_OK;
}

/* One key of a set's text: taken, or counted as skipped. A refusal is for the whole set. kinds: bit 0 symmetric, bit 1 public ones seen, usable or not. */
static int chopin_auth__jwks_take(chopin_jwks *set, chopin_auth__jwks_slot *slot, chopin_str json, unsigned *kinds) {
    chopin_auth__jwk_members m;
    chopin_jwk *key = &slot->keys[slot->count];
    int rc = chopin_auth__jwk_read(&m, json);
    if (rc == CHOPIN_AUTH_FORMAT) return rc;
    if (rc == 0) {
        *kinds |= chopin_auth__jwk_text_is(m.kty, "oct") ? 1u : chopin_auth__jwk_text_is(m.kty, "RSA") || chopin_auth__jwk_text_is(m.kty, "EC") || chopin_auth__jwk_text_is(m.kty, "OKP") ? 2u : 0u;
        bool plain_rsa = chopin_auth__jwk_text_is(m.kty, "RSA") && !m.alg.ptr;
        rc = chopin_auth__jwk_build(key, plain_rsa ? set->options.rsa_alg : (chopin_auth_alg)0, &m);
    }
    chopin_auth_wipe(&m, sizeof m);
    if (*kinds == 3) return CHOPIN_AUTH_KEY;
    if (rc < 0) { chopin_jwk_done(key); slot->skipped++; return CHOPIN_AUTH_OK; }
    slot->count++;
    return chopin_auth__jwks_fits(slot);
}

static int chopin_auth__jwks_array(chopin_jwks *set, chopin_auth__jwks_slot *slot, chopin_str json) {
    chopin_auth__json j;
    chopin_auth__json_value v;
    unsigned kinds = 0;
    uint32_t total = 0;
    int rc = chopin_auth__json_array(&j, json, NULL, 0);
    while (rc >= 0 && (rc = chopin_auth__json_next(&j, &v)) == 1) {
        if (v.type != CHOPIN_AUTH__JSON_OBJECT) return CHOPIN_AUTH_FORMAT;
        if (++total > CHOPIN_AUTH_JWKS_KEYS) return CHOPIN_AUTH_KEY;
        int one = chopin_auth__jwks_take(set, slot, v.text, &kinds);
        if (one < 0) return one;
    }
    return rc < 0 ? CHOPIN_AUTH_FORMAT : CHOPIN_AUTH_OK;
}

static int chopin_auth__jwks_read(chopin_jwks *set, chopin_auth__jwks_slot *slot, chopin_str json) {
    chopin_auth__json j;
    chopin_auth__json_value v;
    chopin_str keys = { NULL, 0 };
    int rc = chopin_auth__json_object(&j, json, NULL, 0);
    while (rc >= 0 && (rc = chopin_auth__json_next(&j, &v)) == 1) {
        if (chopin_auth__jwk_text_is(v.name, "keys")) keys = v.type == CHOPIN_AUTH__JSON_ARRAY ? v.text : keys;
    }
    if (rc < 0 || !keys.ptr) return CHOPIN_AUTH_FORMAT;
    return chopin_auth__jwks_array(set, slot, keys);
}

static uint32_t chopin_auth__jwks_seconds(int64_t now_s) { return now_s <= 0 ? 1 : now_s > UINT32_MAX ? UINT32_MAX : (uint32_t)now_s; }

int chopin_jwks_load(chopin_jwks *set, chopin_str json, int64_t now_s) {
    if (!set || !set->options.rsa_alg || !json.ptr) return CHOPIN_AUTH_ARG;
    if (json.len > CHOPIN_AUTH_JWKS_MAX) return CHOPIN_AUTH_SIZE;
    chopin_auth__jwks_slot *slot = chopin_auth__jwks_begin(set);
    if (!slot) return CHOPIN_AUTH_BUSY;
    int rc = chopin_auth__jwks_read(set, slot, json);
    if (rc == 0) atomic_store(&set->loaded_s, chopin_auth__jwks_seconds(now_s)), atomic_store(&set->missed, 0);
    return chopin_auth__jwks_publish(set, slot, rc);
}

int chopin_jwks_add(chopin_jwks *set, const chopin_jwk *key) {
    if (!set || !set->options.rsa_alg || !key || !key->kind) return CHOPIN_AUTH_ARG;
    chopin_auth__jwks_slot *slot = chopin_auth__jwks_begin(set), *old;
    if (!slot) return CHOPIN_AUTH_BUSY;
    old = slot == set->slots ? slot + 1 : slot - 1;
    slot->count = old->count, slot->skipped = old->skipped;
    memcpy(slot->keys, old->keys, sizeof slot->keys);
    if (slot->count == CHOPIN_AUTH_JWKS_KEYS) return chopin_auth__jwks_publish(set, slot, CHOPIN_AUTH_KEY);
    slot->keys[slot->count++] = *key;
    return chopin_auth__jwks_publish(set, slot, chopin_auth__jwks_fits(slot));
}

int chopin_jwks_find(chopin_jwks *set, chopin_str kid, const chopin_jwk **key) {
    if (!set || !key) return CHOPIN_AUTH_ARG;
    chopin_auth__jwks_slot *slot = chopin_auth__jwks_hold(set);
    *key = NULL;
    if (!kid.ptr && slot->count == 1) *key = slot->keys;
    for (uint32_t i = 0; kid.ptr && i < slot->count; i++) {
        if (slot->keys[i].kid_len == kid.len && kid.len && memcmp(slot->keys[i].kid, kid.ptr, kid.len) == 0) *key = &slot->keys[i];
    }
    if (*key) return CHOPIN_AUTH_OK;
    chopin_auth__jwks_drop(slot);
    if (kid.ptr) atomic_store(&set->missed, 1);
    return CHOPIN_AUTH_KEY_ID;
}
void chopin_jwks_release(chopin_jwks *set, const chopin_jwk *key) {
    if (set && key) chopin_auth__jwks_drop(key >= set->slots[1].keys && key < set->slots[1].keys + CHOPIN_AUTH_JWKS_KEYS ? &set->slots[1] : &set->slots[0]);
}

bool chopin_jwks_wants_refresh(chopin_jwks *set, int64_t now_s) {
    if (!set) return false;
    uint32_t now = chopin_auth__jwks_seconds(now_s), loaded = atomic_load(&set->loaded_s), asked = atomic_load(&set->asked_s);
    bool stale = !loaded || now < loaded || now - loaded >= 600;
    if (!stale && !atomic_load(&set->missed)) return false;
    if (asked && now >= asked && now - asked < 30) return false;
    return atomic_compare_exchange_strong(&set->asked_s, &asked, now);       // one of several callers
}

int chopin_jwks_count(chopin_jwks *set, int *skipped) {
    if (!set) return 0;
    chopin_auth__jwks_slot *slot = chopin_auth__jwks_hold(set);
    int count = (int)slot->count;
    if (skipped) *skipped = (int)slot->skipped;
    chopin_auth__jwks_drop(slot);
    return count;
}

static int chopin_auth__jwks_write(const chopin_auth__jwks_slot *slot, chopin_auth__jwk_out *t) {
    chopin_auth__jwk_put_z(t, "{\"keys\":[");
    for (uint32_t i = 0; i < slot->count; i++) {
        if (!slot->keys[i].kind->members) return CHOPIN_AUTH_UNSUPPORTED;
        if (i > 0) chopin_auth__jwk_put_z(t, ",");
        chopin_auth__jwk_write(&slot->keys[i], t);
    }
    chopin_auth__jwk_put_z(t, "]}");
    return CHOPIN_AUTH_OK;
}
int chopin_jwks_public_json(chopin_jwks *set, char *out, size_t cap) {
    chopin_auth__jwk_out t = { NULL, 0, 0 };
    if (!set || (!out && cap)) return CHOPIN_AUTH_ARG;
    chopin_auth__jwks_slot *slot = chopin_auth__jwks_hold(set);
    int rc = chopin_auth__jwks_write(slot, &t);
    if (rc == 0 && t.len > cap) rc = CHOPIN_AUTH_BUFFER;
    t = (chopin_auth__jwk_out){ out, cap, 0 };
    if (rc == 0) rc = chopin_auth__jwks_write(slot, &t);
    chopin_auth__jwks_drop(slot);
    return rc < 0 ? rc : chopin_auth__jwk_out_end(&t);
}

/* ==========================================================================================================
   >>jws   compact JSON web signatures (RFC 7515): cut, header, key, signature, in this order
   Of a header only alg and kid are used before the signature was good, and they are compared, never looked up by.
   ========================================================================================================== */
static int64_t chopin_auth__now(chopin_auth_clock clock, void *ctx) { return clock ? clock(ctx) : (int64_t)time(NULL); }

static inline bool chopin_auth__same(chopin_str a, chopin_str b) { return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0); }
static inline bool chopin_auth__is(chopin_str a, const char *z) { return chopin_auth__same(a, chopin_auth__str(z, strlen(z))); }
static inline bool chopin_auth__any(chopin_str option) { return option.len == 1 && option.ptr[0] == '*'; }

typedef struct chopin_auth__jws {
    chopin_str head, body, mac;         // the three segments, encoded
    chopin_str covered;                 // what is signed: head '.' body
    chopin_str alg, kid, typ;           // of the header; absent when it has none
    bool       crit, b64, plain;        // there is a crit; it is ["b64"]; b64 is false
    bool       has_b64;
    bool       keys;                    // it carries keys or addresses of keys
    bool       foreign;                 // enc, zip, p2c: not a signature at all
} chopin_auth__jws;

/* Exactly three segments, two dots. */
static int chopin_auth__jws_cut(chopin_auth__jws *t, chopin_str token, size_t max) {
    memset(t, 0, sizeof *t);
    if (token.len > max) return CHOPIN_AUTH_SIZE;
    const char *one = token.len ? memchr(token.ptr, '.', token.len) : NULL;
    if (!one) return CHOPIN_AUTH_FORMAT;
    const char *end = token.ptr + token.len, *two = memchr(one + 1, '.', (size_t)(end - one - 1));
    if (!two || memchr(two + 1, '.', (size_t)(end - two - 1))) return CHOPIN_AUTH_FORMAT;
    t->head = chopin_auth__str(token.ptr, (size_t)(one - token.ptr));
    t->body = chopin_auth__str(one + 1, (size_t)(two - one - 1));
    t->mac = chopin_auth__str(two + 1, (size_t)(end - two - 1));
    t->covered = chopin_auth__str(token.ptr, (size_t)(two - token.ptr));
    return t->head.len ? 0 : CHOPIN_AUTH_FORMAT;
}

/* crit must be a list of distinct names; the one we know is b64. Anything else is as good as unknown: the caller refuses it either way. */
static void chopin_auth__jws_crit(chopin_auth__jws *t, const chopin_auth__json_value *v) {
    chopin_auth__json list;
    chopin_auth__json_value item;
    char room[8];
    int  count = 0, rc;
    bool only = true;
    t->crit = true;
    if (v->type != CHOPIN_AUTH__JSON_ARRAY || chopin_auth__json_array(&list, v->text, room, sizeof room) < 0) return;
    while ((rc = chopin_auth__json_next(&list, &item)) == 1) {
        count++;
        only = only && item.type == CHOPIN_AUTH__JSON_STRING && chopin_auth__is(item.text, "b64");
    }
    t->b64 = rc == 0 && count == 1 && only;
}

static int chopin_auth__jws_string(const chopin_auth__json_value *v, chopin_str *out) {
    if (v->type != CHOPIN_AUTH__JSON_STRING || v->nul) return CHOPIN_AUTH_FORMAT;
    *out = v->text;
    return 0;
}

/* One member of the header. 0 or FORMAT. */
static int chopin_auth__jws_member(chopin_auth__jws *t, const chopin_auth__json_value *v) {
    static const char *const keys[] = { "jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256" }, *const foreign[] = { "enc", "zip", "p2c", "p2s" };
    if (v->name.len < 3) return 0;
    switch (v->name.ptr[0]) {
    case 'a': return chopin_auth__is(v->name, "alg") ? chopin_auth__jws_string(v, &t->alg) : 0;
    case 't': return chopin_auth__is(v->name, "typ") ? chopin_auth__jws_string(v, &t->typ) : 0;
    case 'k': return chopin_auth__is(v->name, "kid") ? chopin_auth__jws_string(v, &t->kid) : 0;
    case 'c': if (chopin_auth__is(v->name, "crit")) chopin_auth__jws_crit(t, v);
              return 0;
    case 'b': if (!chopin_auth__is(v->name, "b64")) return 0;
              t->has_b64 = true;
              t->plain = v->type == CHOPIN_AUTH__JSON_FALSE;
              return t->plain || v->type == CHOPIN_AUTH__JSON_TRUE ? 0 : CHOPIN_AUTH_FORMAT;
    default: break;
    }
    for (size_t i = 0; i < CHOPIN_AUTH__COUNT(keys); i++) t->keys |= chopin_auth__is(v->name, keys[i]);
    for (size_t i = 0; i < CHOPIN_AUTH__COUNT(foreign); i++) t->foreign |= chopin_auth__is(v->name, foreign[i]);
    return 0;
}

/* Decodes the header into `room` and reads all of it. `used`: how much of the room it took, also on failure. */
static int chopin_auth__jws_header(chopin_auth__jws *t, char *room, size_t cap, size_t *used) {
    chopin_auth__json j;
    chopin_auth__json_value v;
    size_t size = t->head.len / 4 * 3 + t->head.len % 4 * 3 / 4;
    *used = 0;
    if (size > CHOPIN_AUTH_HEADER_MAX) return CHOPIN_AUTH_SIZE;
    int rc = chopin_base64url_decode(t->head, (uint8_t *)room, cap);
    if (rc < 0) return rc;
    *used = size;
    rc = chopin_auth__json_in_place(&j, room, size);
    while (rc >= 0 && (rc = chopin_auth__json_next(&j, &v)) == 1) rc = chopin_auth__jws_member(t, &v);
    if (rc < 0) return rc;
    return t->alg.ptr ? 0 : CHOPIN_AUTH_FORMAT;
}

/* What a header may demand. b64=false is for the detached call, and only when crit names it (RFC 7797 6). */
static int chopin_auth__jws_demands(const chopin_auth__jws *t, bool detached, bool refuse_keys) {
    if (t->foreign || (refuse_keys && t->keys)) return CHOPIN_AUTH_CRITICAL;
    if (!detached) return t->crit || t->has_b64 ? CHOPIN_AUTH_CRITICAL : 0;
    if (t->crit && !(t->b64 && t->has_b64)) return CHOPIN_AUTH_CRITICAL;
    return t->plain && !t->crit ? CHOPIN_AUTH_CRITICAL : 0;
}

/* The token agrees with the key, or it is refused: byte for byte, with the one alias of RFC 9864. */
static int chopin_auth__jws_fits(const chopin_auth__jws *t, const chopin_jwk *key) {
    if (!key || !key->alg) return CHOPIN_AUTH_ARG;
    bool alias = key->alg == CHOPIN_AUTH_EDDSA && chopin_auth__is(t->alg, "Ed25519");
    if (!alias && !chopin_auth__is(t->alg, chopin_auth__alg_name(key->alg))) return CHOPIN_AUTH_ALG;
    if (t->kid.ptr && t->kid.len > CHOPIN_AUTH_KID_MAX) return CHOPIN_AUTH_KEY_ID;
    if (t->kid.ptr && key->kid_len && !chopin_auth__same(t->kid, chopin_auth__str(key->kid, key->kid_len))) return CHOPIN_AUTH_KEY_ID;
    return 0;
}

/* The signature over `covered`. 0, FORMAT or SIGNATURE. */
static int chopin_auth__jws_check(const chopin_auth__jws *t, const chopin_jwk *key, chopin_str covered) {
    uint8_t mac[CHOPIN_AUTH_SIGNATURE_MAX];
    int n = chopin_base64url_decode(t->mac, mac, sizeof mac);
    if (n < 0) return n == CHOPIN_AUTH_BUFFER ? CHOPIN_AUTH_SIGNATURE : n;
    int rc = chopin_auth__jwk_verify(key, covered, chopin_auth__str(mac, (size_t)n));
    return rc == CHOPIN_AUTH_SIZE ? CHOPIN_AUTH_SIGNATURE : rc;
}

/* Key found, agreed with, and the signature good: by one key, or by the set's key of that kid. */
static int chopin_auth__jws_verify_by(const chopin_auth__jws *t, const chopin_jwk *key, chopin_jwks *set, chopin_auth_alg *alg) {
    int rc = 0;
    if (t->kid.ptr && t->kid.len > CHOPIN_AUTH_KID_MAX) return CHOPIN_AUTH_KEY_ID;
    if (set) rc = chopin_jwks_find(set, t->kid, &key);
    if (rc == 0) rc = chopin_auth__jws_fits(t, key);
    if (rc == 0) rc = chopin_auth__jws_check(t, key, t->covered);
    if (rc == 0) *alg = key->alg;
    if (set && key) chopin_jwks_release(set, key);
    return rc;
}

/* ---- signing ---- */

/* Text as it stands between quotes in JSON; gives its length, writes when `out` is not NULL. For names and printable ASCII. */
static size_t chopin_auth__jws_quote(const char *text, size_t len, char *out) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"' || text[i] == '\\') { if (out) out[n] = '\\'; n++; }
        if (out) out[n] = text[i];
        n++;
    }
    return n;
}

static size_t chopin_auth__jws_add(char *out, size_t at, const char *z) {
    size_t n = strlen(z);
    memcpy(out + at, z, n);
    return at + n;
}

/* The header's JSON: alg, then typ and kid if there are any, then what an unencoded payload needs. Gives its length; 400 bytes suffice with a typ of up to 64. */
static size_t chopin_auth__jws_compose(const chopin_jwk *key, const char *alg, chopin_str typ, bool unencoded, char *out) {
    size_t n = chopin_auth__jws_add(out, 0, "{\"alg\":\"");
    n = chopin_auth__jws_add(out, n, alg);
    if (typ.len) {
        n = chopin_auth__jws_add(out, n, "\",\"typ\":\"");
        n += chopin_auth__jws_quote(typ.ptr, typ.len, out + n);
    }
    if (key->kid_len) {
        n = chopin_auth__jws_add(out, n, "\",\"kid\":\"");
        n += chopin_auth__jws_quote(key->kid, key->kid_len, out + n);
    }
    return chopin_auth__jws_add(out, n, unencoded ? "\",\"b64\":false,\"crit\":[\"b64\"]}" : "\"}");
}

/* How long a signature of this key is, in bytes. */
static size_t chopin_auth__jws_size(const chopin_jwk *key) {
    switch (key->alg) {
    case CHOPIN_AUTH_HS256: return 32;
    case CHOPIN_AUTH_HS384: return 48;
    case CHOPIN_AUTH_HS512: case CHOPIN_AUTH_ES256: case CHOPIN_AUTH_EDDSA: return 64;
#ifndef CHOPIN_AUTH_NO_RSA
    default: return (key->u.rsa.bits + 7) / 8;
#else
    default: return 0;
#endif
    }
}

/* out[0..covered) is what is signed; the dot and the signature go to out + at, which has the room. The token's length. */
static int chopin_auth__jws_seal(const chopin_jwk *key, char *out, size_t covered, size_t at) {
    uint8_t mac[CHOPIN_AUTH_SIGNATURE_MAX];
    int n = chopin_auth__jwk_sign(key, chopin_auth__str(out, covered), mac, sizeof mac);
    if (n < 0) return n;
    out[at] = '.';
    n = chopin_base64url_encode(chopin_auth__str(mac, (size_t)n), out + at + 1, chopin_base64url_size((size_t)n));
    return n < 0 ? n : (int)at + 1 + n;
}

/* Header, payload (encoded or as it is) and signature. In *head: the length of the encoded header. */
static int chopin_auth__jws_make(const chopin_jwk *key, chopin_str payload, bool unencoded, char *out, size_t cap, size_t *head) {
    char json[400];
    if (!key || !key->alg || !key->secret) return CHOPIN_AUTH_ARG;
    size_t n = chopin_auth__jws_compose(key, chopin_auth__alg_name(key->alg), (chopin_str){ NULL, 0 }, unencoded, json);
    size_t body = unencoded ? payload.len : chopin_base64url_size(payload.len);
    size_t mac = chopin_base64url_size(chopin_auth__jws_size(key)), all;
    *head = chopin_base64url_size(n);
    if (body == 0 && payload.len) return CHOPIN_AUTH_SIZE;
    if (!chopin_auth__add_ok(*head + 2 + mac, body, &all) || all > INT_MAX) return CHOPIN_AUTH_SIZE;
    if (all > cap) return CHOPIN_AUTH_BUFFER;
    int rc = chopin_base64url_encode(chopin_auth__str(json, n), out, *head);
    out[*head] = '.';
    if (rc >= 0 && unencoded && body) memcpy(out + *head + 1, payload.ptr, body);
    if (rc >= 0 && !unencoded) rc = chopin_base64url_encode(payload, out + *head + 1, body);
    return rc < 0 ? rc : chopin_auth__jws_seal(key, out, *head + 1 + body, *head + 1 + body);
}

static int chopin_auth__jws_sign(const chopin_jwk *key, chopin_str payload, char *out, size_t cap) {
    size_t head;
    return chopin_auth__jws_make(key, payload, false, out, cap, &head);
}

/* As above, then the payload is taken out of the middle. */
static int chopin_auth__jws_sign_detached(const chopin_jwk *key, chopin_str payload, bool unencoded, char *out, size_t cap) {
    size_t head;
    int    n = chopin_auth__jws_make(key, payload, unencoded, out, cap, &head);
    if (n < 0) return n;
    size_t mac = chopin_base64url_size(chopin_auth__jws_size(key));
    memmove(out + head + 2, out + (size_t)n - mac, mac);
    out[head + 1] = '.';
    return (int)(head + 2 + mac);
}

/* ---- verifying ---- */

static int chopin_auth__jws_verify(const chopin_jwk *key, chopin_str token, char *room, size_t cap, chopin_str *payload) {
    chopin_auth__jws t;
    chopin_auth_alg  alg;
    size_t used = 0;
    *payload = (chopin_str){ NULL, 0 };
    int rc = chopin_auth__jws_cut(&t, token, CHOPIN_AUTH_TOKEN_MAX);
    if (rc == 0 && t.head.len / 4 * 3 + t.head.len % 4 * 3 / 4 + t.body.len / 4 * 3 + t.body.len % 4 * 3 / 4 > cap) return CHOPIN_AUTH_BUFFER;
    if (rc == 0) rc = chopin_auth__jws_header(&t, room, cap, &used);
    if (rc == 0) rc = chopin_auth__jws_demands(&t, false, false);
    if (rc == 0) rc = chopin_auth__jws_verify_by(&t, key, NULL, &alg);
    int n = rc == 0 ? chopin_base64url_decode(t.body, (uint8_t *)room + used, cap - used) : rc;
    if (n >= 0) *payload = chopin_auth__str(room + used, (size_t)n);
    else memset(room, 0, used);
    return n < 0 ? n : 0;
}

static int chopin_auth__jws_verify_detached(const chopin_jwk *key, chopin_str token, chopin_str payload, char *room, size_t cap) {
    chopin_auth__jws t;
    char   header[CHOPIN_AUTH_HEADER_MAX];
    size_t used, all;
    int    rc = chopin_auth__jws_cut(&t, token, CHOPIN_AUTH_TOKEN_MAX);
    if (rc == 0 && t.body.len) rc = CHOPIN_AUTH_FORMAT;
    if (rc == 0) rc = chopin_auth__jws_header(&t, header, sizeof header, &used);
    if (rc == 0) rc = chopin_auth__jws_demands(&t, true, false);
    if (rc == 0) rc = chopin_auth__jws_fits(&t, key);
    if (rc < 0) return rc;
    size_t body = t.plain ? payload.len : chopin_base64url_size(payload.len);
    if ((body == 0 && payload.len) || !chopin_auth__add_ok(t.head.len + 1, body, &all)) return CHOPIN_AUTH_SIZE;
    if (all > cap) return CHOPIN_AUTH_BUFFER;
    memcpy(room, t.head.ptr, t.head.len);
    room[t.head.len] = '.';
    if (t.plain && body) memcpy(room + t.head.len + 1, payload.ptr, body);
    if (!t.plain) rc = chopin_base64url_encode(payload, room + t.head.len + 1, body);
    return rc < 0 ? rc : chopin_auth__jws_check(&t, key, chopin_auth__str(room, all));
}

/* ==========================================================================================================
   >>jwt   claims (RFC 7519): one pass over the payload after the signature was good, then the rules; issuing, written straight into base64url
   ========================================================================================================== */

typedef struct chopin_auth__jwt_read {  // what one pass over the claims found
    chopin_jwt t;
    chopin_str nonce;
    bool has_exp, has_nbf, has_iat, has_aud, aud_fits;
} chopin_auth__jwt_read;

/* ---- reading claims ---- */

/* NumericDate: a number from 0 to 2^53; a fraction is legal and rounds as the check wants it. */
static int chopin_auth__jwt_time(const chopin_auth__json_value *v, bool up, int64_t *out, bool *has) {
    int64_t whole;
    bool    fraction;
    if (v->type != CHOPIN_AUTH__JSON_NUMBER || v->text.ptr[0] == '-') return CHOPIN_AUTH_CLAIM;
    if (!chopin_auth__json_whole(v->text, &whole, &fraction)) return CHOPIN_AUTH_CLAIM;
    *out = whole + (fraction && up);
    *has = true;
    return 0;
}

static int chopin_auth__jwt_text(const chopin_auth__json_value *v, chopin_str *out) {
    if (v->type != CHOPIN_AUTH__JSON_STRING) return CHOPIN_AUTH_CLAIM;
    if (v->nul) return CHOPIN_AUTH_FORMAT;
    *out = v->text;
    return 0;
}

/* A list of 1 to 16 strings. Names we know are at most 64 bytes here; a longer one with escapes is nobody's. */
static int chopin_auth__jwt_audiences(const chopin_auth__json_value *v, chopin_str ours, chopin_auth__jwt_read *r) {
    chopin_auth__json list;
    chopin_auth__json_value item;
    int count = 0, rc = chopin_auth__json_array(&list, v->text, NULL, 0);
    list.as_written = true;
    while (rc >= 0 && (rc = chopin_auth__json_next(&list, &item)) == 1) {
        if (item.type != CHOPIN_AUTH__JSON_STRING || ++count > 16) return CHOPIN_AUTH_CLAIM;
        if (item.nul) return CHOPIN_AUTH_FORMAT;
        bool escaped = item.text.len && memchr(item.text.ptr, '\\', item.text.len);
        if (escaped ? chopin_auth__json_same(item.text, ours, false) : chopin_auth__same(item.text, ours)) r->aud_fits = true, r->t.aud = ours;
        if (count == 1 && !escaped && chopin_auth__any(ours)) r->t.aud = item.text;
    }
    return rc < 0 ? rc : count ? 0 : CHOPIN_AUTH_CLAIM;
}

static int chopin_auth__jwt_audience(const chopin_auth__json_value *v, chopin_str ours, chopin_auth__jwt_read *r) {
    r->has_aud = true;
    if (v->type == CHOPIN_AUTH__JSON_ARRAY) return chopin_auth__jwt_audiences(v, ours, r);
    int rc = chopin_auth__jwt_text(v, &r->t.aud);
    r->aud_fits = rc == 0 && chopin_auth__same(r->t.aud, ours);
    return rc;
}

/* Words that grant rights may hold no NUL, in a string or in a list. What else is no word grants nothing. */
static int chopin_auth__jwt_words(const chopin_auth__json_value *v) {
    chopin_auth__json list;
    chopin_auth__json_value item;
    if (v->type == CHOPIN_AUTH__JSON_STRING) return v->nul ? CHOPIN_AUTH_FORMAT : 0;
    if (v->type != CHOPIN_AUTH__JSON_ARRAY || !memchr(v->text.ptr, '\\', v->text.len)) return 0;
    int rc = chopin_auth__json_array(&list, v->text, NULL, 0);
    list.as_written = true;
    while (rc >= 0 && (rc = chopin_auth__json_next(&list, &item)) == 1) {
        if (item.type == CHOPIN_AUTH__JSON_STRING && item.nul) return CHOPIN_AUTH_FORMAT;
    }
    return rc;
}

static int chopin_auth__jwt_three(const chopin_auth__json_value *v, chopin_str aud, chopin_auth__jwt_read *r) {
    switch (v->name.ptr[0]) {
    case 'i': if (memcmp(v->name.ptr, "iss", 3) == 0) return chopin_auth__jwt_text(v, &r->t.iss);
              return memcmp(v->name.ptr, "iat", 3) == 0 ? chopin_auth__jwt_time(v, true, &r->t.iat, &r->has_iat) : 0;
    case 's': if (memcmp(v->name.ptr, "scp", 3) == 0) return chopin_auth__jwt_words(v);
              return memcmp(v->name.ptr, "sub", 3) == 0 ? chopin_auth__jwt_text(v, &r->t.sub) : 0;
    case 'a': return memcmp(v->name.ptr, "aud", 3) == 0 ? chopin_auth__jwt_audience(v, aud, r) : 0;
    case 'e': return memcmp(v->name.ptr, "exp", 3) == 0 ? chopin_auth__jwt_time(v, false, &r->t.exp, &r->has_exp) : 0;
    case 'n': return memcmp(v->name.ptr, "nbf", 3) == 0 ? chopin_auth__jwt_time(v, true, &r->t.nbf, &r->has_nbf) : 0;
    case 'j': return memcmp(v->name.ptr, "jti", 3) == 0 ? chopin_auth__jwt_text(v, &r->t.jti) : 0;
    default:  return 0;
    }
}

static int chopin_auth__jwt_member(const chopin_auth__json_value *v, chopin_str aud, chopin_auth__jwt_read *r) {
    if (v->name.len == 3) return chopin_auth__jwt_three(v, aud, r);
    if (v->name.len != 5 && v->name.len != 11) return 0;
    if (chopin_auth__is(v->name, "nonce")) return chopin_auth__jwt_text(v, &r->nonce);
    if (chopin_auth__is(v->name, "roles") || chopin_auth__is(v->name, "permissions")) return chopin_auth__jwt_words(v);
    if (!chopin_auth__is(v->name, "scope")) return 0;
    if (v->type == CHOPIN_AUTH__JSON_STRING && !v->nul) r->t.scope = v->text;    // some servers send a list: the roles room reads that
    return chopin_auth__jwt_words(v);
}

static int chopin_auth__jwt_claims(char *json, size_t len, chopin_str aud, chopin_auth__jwt_read *r) {
    chopin_auth__json j;
    chopin_auth__json_value v;
    int rc = chopin_auth__json_in_place(&j, json, len);
    while (rc >= 0 && (rc = chopin_auth__json_next(&j, &v)) == 1) rc = chopin_auth__jwt_member(&v, aud, r);
    r->t.claims = chopin_auth__str(json, len);
    return rc;
}

/* ---- getters ---- */

/* 1 with the value, or 0. The text was checked when the token was verified. */
static int chopin_auth__jwt_find(const chopin_jwt *t, const char *name, chopin_auth__json_value *v) {
    chopin_auth__json j;
    chopin_str wanted = chopin_auth__str(name, strlen(name));
    if (!t->claims.ptr || chopin_auth__json_again(&j, t->claims) < 0) return 0;
    while (chopin_auth__json_next(&j, v) == 1) {
        bool escaped = v->raw_name.len && memchr(v->raw_name.ptr, '\\', v->raw_name.len);
        if (escaped ? chopin_auth__json_same(v->raw_name, wanted, false) : chopin_auth__same(v->raw_name, wanted)) return 1;
    }
    return 0;
}

/* 0 with the value if it is of that type. */
static int chopin_auth__jwt_typed(const chopin_jwt *t, const char *name, chopin_auth__json_type type, chopin_auth__json_value *v) {
    if (!chopin_auth__jwt_find(t, name, v)) return CHOPIN_AUTH_MISSING;
    return v->type == type ? 0 : CHOPIN_AUTH_CLAIM;
}

/* ---- the rules ---- */

/* Sums that stay at the end of the range instead of wrapping. `b` is not negative. */
static inline int64_t chopin_auth__jwt_add(int64_t a, int64_t b) { return a > INT64_MAX - b ? INT64_MAX : a + b; }

/* typ is compared without regard to case and without `application/` (RFC 7515 4.1.9). */
static bool chopin_auth__jwt_typ_is(chopin_str typ, chopin_str wanted) {
    static const char prefix[] = "application/";
    size_t skip = sizeof prefix - 1;
    bool   full = typ.len > skip;
    for (size_t i = 0; full && i < skip; i++) full = (typ.ptr[i] >= 'A' && typ.ptr[i] <= 'Z' ? typ.ptr[i] | 0x20 : typ.ptr[i]) == prefix[i];
    if (full) typ = chopin_auth__str(typ.ptr + skip, typ.len - skip);
    if (typ.len != wanted.len) return false;
    for (size_t i = 0; i < typ.len; i++) {
        int a = typ.ptr[i], b = wanted.ptr[i];
        if ((a >= 'A' && a <= 'Z' ? a | 0x20 : a) != (b >= 'A' && b <= 'Z' ? b | 0x20 : b)) return false;
    }
    return true;
}

static bool chopin_auth__jwt_typ(const chopin_jwt_verifier_options *o, chopin_str typ) {
    if (chopin_auth__any(o->typ)) return true;
    if (!typ.ptr) return chopin_auth__jwt_typ_is(o->typ, CHOPIN_STR("JWT"));
    return chopin_auth__jwt_typ_is(typ, o->typ);
}

/* Valid while now < exp + leeway, nbf <= now + leeway, iat <= now + leeway; age counts from iat. */
static int chopin_auth__jwt_times(const chopin_jwt_verifier_options *o, const chopin_auth__jwt_read *r, int64_t now) {
    int64_t leeway = o->leeway_s;
    if (!r->has_exp && !o->no_exp) return CHOPIN_AUTH_CLAIM;
    if (!r->has_iat && (o->max_age_s || !r->has_exp)) return CHOPIN_AUTH_CLAIM;
    if (r->has_exp && now >= chopin_auth__jwt_add(r->t.exp, leeway)) return CHOPIN_AUTH_EXPIRED;
    if (r->has_nbf && r->t.nbf > chopin_auth__jwt_add(now, leeway)) return CHOPIN_AUTH_EARLY;
    if (r->has_iat && r->t.iat > chopin_auth__jwt_add(now, leeway)) return CHOPIN_AUTH_EARLY;
    int64_t age = o->max_age_s ? o->max_age_s : r->has_exp ? 0 : CHOPIN_AUTH_LIFETIME_S;
    if (age && now >= chopin_auth__jwt_add(chopin_auth__jwt_add(r->t.iat, age), leeway)) return CHOPIN_AUTH_EXPIRED;
    return 0;
}

static int chopin_auth__jwt_names(const chopin_jwt_verifier_options *o, const chopin_auth__jwt_read *r) {
    if (!chopin_auth__any(o->iss)) {
        if (!r->t.iss.ptr) return CHOPIN_AUTH_CLAIM;
        if (!chopin_auth__same(r->t.iss, o->iss)) return CHOPIN_AUTH_ISSUER;
    }
    if (!chopin_auth__any(o->aud)) {
        if (!r->has_aud) return CHOPIN_AUTH_CLAIM;
        if (!r->aud_fits) return CHOPIN_AUTH_AUDIENCE;
    }
    if (o->sub.ptr && !(r->t.sub.ptr && chopin_auth__same(r->t.sub, o->sub))) return CHOPIN_AUTH_CLAIM;
    if (o->nonce.ptr && !(r->nonce.ptr && chopin_auth__same(r->nonce, o->nonce))) return CHOPIN_AUTH_CLAIM;
    return o->revocation && !r->t.jti.ptr ? CHOPIN_AUTH_CLAIM : 0;
}

static int chopin_auth__jwt_required(const chopin_jwt_verifier_options *o, const chopin_jwt *t) {
    chopin_auth__json_value v;
    for (const char *const *name = o->require; name && *name; name++) {
        if (!chopin_auth__jwt_find(t, *name, &v) || v.type == CHOPIN_AUTH__JSON_NULL) return CHOPIN_AUTH_CLAIM;
    }
    return 0;
}

static int chopin_auth__jwt_rules(const chopin_jwt_verifier_options *o, const chopin_auth__jws *s, const chopin_auth__jwt_read *r, int64_t now) {
    int rc = chopin_auth__jwt_typ(o, s->typ) ? 0 : CHOPIN_AUTH_TYPE;
    if (rc == 0) rc = chopin_auth__jwt_names(o, r);
    if (rc == 0) rc = chopin_auth__jwt_times(o, r, now);
    return rc == 0 ? chopin_auth__jwt_required(o, &r->t) : rc;
}

/* ---- verifying ---- */

/* Signature, claims, rules: everything but revocation. */
static int chopin_auth__jwt_open(const chopin_jwt_verifier_options *o, chopin_auth__jws *s, char *room, size_t cap, int64_t now, chopin_auth__jwt_read *r) {
    size_t used;
    int rc = chopin_auth__jws_header(s, room, cap, &used);
    if (rc == 0) rc = chopin_auth__jws_demands(s, false, o->refuse_header_keys);
    if (rc == 0) rc = chopin_auth__jws_verify_by(s, o->key, o->keys, &r->t.alg);
    if (rc < 0) return rc;
    int n = chopin_base64url_decode(s->body, (uint8_t *)room + used, cap - used);
    rc = n < 0 ? n : chopin_auth__jwt_claims(room + used, (size_t)n, o->aud, r);
    r->t.kid = s->kid;
    return rc < 0 ? rc : chopin_auth__jwt_rules(o, s, r, now);
}

static int chopin_auth__jwt_verify(const chopin_jwt_verifier *v, chopin_str token, char *room, size_t cap, int64_t now, chopin_jwt *out) {
    chopin_auth__jws s;
    chopin_auth__jwt_read r;
    int rc = chopin_auth__jws_cut(&s, token, v->o.max_token);
    if (rc < 0) return rc;
    size_t need = s.head.len / 4 * 3 + s.head.len % 4 * 3 / 4 + s.body.len / 4 * 3 + s.body.len % 4 * 3 / 4;
    if (need > cap) return s.head.len > CHOPIN_AUTH_HEADER_MAX * 2 ? CHOPIN_AUTH_SIZE : CHOPIN_AUTH_BUFFER;
    memset(&r, 0, sizeof r);
    rc = chopin_auth__jwt_open(&v->o, &s, room, need, now, &r);
    if (rc == 0) *out = r.t;
    else memset(room, 0, need);                                         // nothing unverified leaves
    return rc;
}

static int chopin_auth__jwt_config(const char **problem, const char *text) {
    *problem = text;
    return text ? CHOPIN_AUTH_CONFIG : 0;
}

static const char *chopin_auth__jwt_verifier_problem(const chopin_jwt_verifier_options *o) {
    if (!o->key && !o->keys) return "set key, or keys";
    if (o->key && o->keys) return "set key or keys, not both";
    if (o->key && !o->key->alg) return "key: its constructor has failed";
    if (!o->iss.len) return "set iss, or CHOPIN_AUTH_ANY to accept every issuer";
    if (!o->aud.len) return "set aud, or CHOPIN_AUTH_ANY to accept tokens for every audience";
    if (o->leeway_s < -1 || o->leeway_s > 300) return "leeway_s must be at most 300 (-1: none)";
    if (o->max_age_s < 0) return "max_age_s must not be negative";
    return o->max_token > CHOPIN_AUTH_TOKEN_MAX ? "max_token must be at most CHOPIN_AUTH_TOKEN_MAX" : NULL;
}

/* Seconds out of options: 0 is the default, -1 is none. */
static int chopin_auth__jwt_leeway(int given) { return given == 0 ? 30 : given < 0 ? 0 : given; }

/* ---- writing JSON straight into base64url: counted first, so that nothing is written when it does not fit ---- */
typedef struct chopin_auth__jwt_writer {
    char   *out;                        // where the next whole chunk goes; NULL: count only
    size_t  n, fill;                    // bytes of JSON so far; of them in the chunk
    bool    bad;                        // a text was not UTF-8
    uint8_t chunk[240];                 // a multiple of 3
} chopin_auth__jwt_writer;

static void chopin_auth__jwt_flush(chopin_auth__jwt_writer *w) {
    size_t n = chopin_base64url_size(w->fill);
    if (chopin_base64url_encode(chopin_auth__str(w->chunk, w->fill), w->out, n) >= 0) w->out += n;
    w->fill = 0;
}

static void chopin_auth__jwt_put(chopin_auth__jwt_writer *w, const char *text, size_t len) {
    w->n += len;
    while (w->out && len > 0) {
        size_t now = chopin_auth__min(len, sizeof w->chunk - w->fill);
        memcpy(w->chunk + w->fill, text, now);
        w->fill += now;
        text += now;
        len -= now;
        if (w->fill == sizeof w->chunk) chopin_auth__jwt_flush(w);
    }
}

/* One character that plain text may not hold: an escape, or a UTF-8 sequence as it is. Past it, or the end with w->bad. */
static const uint8_t *chopin_auth__jwt_odd(chopin_auth__jwt_writer *w, const uint8_t *p, const uint8_t *end) {
    static const char hex[] = "0123456789abcdef";
    char escape[6] = { '\\', 'u', '0', '0', hex[*p >> 4], hex[*p & 15] };
    if (*p < 0x20) { chopin_auth__jwt_put(w, escape, 6); return p + 1; }
    if (*p < 0x80) { escape[1] = (char)*p; chopin_auth__jwt_put(w, escape, 2); return p + 1; }
    const uint8_t *next = chopin_auth__json_utf8(p, end);
    if (next) chopin_auth__jwt_put(w, (const char *)p, (size_t)(next - p));
    else w->bad = true;
    return next ? next : end;
}

/* `lead`, which ends with the opening quote, then the text and the closing quote; nothing for an absent text. */
static void chopin_auth__jwt_member_text(chopin_auth__jwt_writer *w, const char *lead, size_t lead_len, chopin_str text) {
    if (!text.ptr) return;
    const uint8_t *p = (const uint8_t *)text.ptr, *end = p + text.len;
    chopin_auth__jwt_put(w, lead, lead_len);
    while (p < end) {
        const uint8_t *stop = chopin_auth__json_plain(p, end);
        chopin_auth__jwt_put(w, (const char *)p, (size_t)(stop - p));
        p = stop < end ? chopin_auth__jwt_odd(w, stop, end) : end;
        if (stop < end && *stop == 0) w->bad = true;                    // no NUL in a claim: our own verifier would refuse it
    }
    chopin_auth__jwt_put(w, "\"", 1);
}

static void chopin_auth__jwt_member_time(chopin_auth__jwt_writer *w, const char *lead, size_t lead_len, int64_t value) {
    char digits[20];
    size_t at = sizeof digits;
    chopin_auth__jwt_put(w, lead, lead_len);
    do digits[--at] = (char)('0' + value % 10); while ((value /= 10) > 0);
    chopin_auth__jwt_put(w, digits + at, sizeof digits - at);
}

/* ---- issuing ---- */

typedef struct chopin_auth__jwt_ticket { // one token to be: what all its claims are
    chopin_str iss, aud, sub, jti, scope, nonce, extra;   // extra: without its braces
    int64_t iat, exp, nbf;
} chopin_auth__jwt_ticket;

#define CHOPIN_AUTH__LEAD(text) text, sizeof(text) - 1
static void chopin_auth__jwt_write(chopin_auth__jwt_writer *w, const chopin_auth__jwt_ticket *k) {
    chopin_auth__jwt_member_text(w, CHOPIN_AUTH__LEAD("{\"iss\":\""), k->iss);
    chopin_auth__jwt_member_text(w, CHOPIN_AUTH__LEAD(",\"aud\":\""), k->aud);
    chopin_auth__jwt_member_text(w, CHOPIN_AUTH__LEAD(",\"sub\":\""), k->sub);
    chopin_auth__jwt_member_text(w, CHOPIN_AUTH__LEAD(",\"jti\":\""), k->jti);
    chopin_auth__jwt_member_time(w, CHOPIN_AUTH__LEAD(",\"iat\":"), k->iat);
    chopin_auth__jwt_member_time(w, CHOPIN_AUTH__LEAD(",\"exp\":"), k->exp);
    if (k->nbf) chopin_auth__jwt_member_time(w, CHOPIN_AUTH__LEAD(",\"nbf\":"), k->nbf);
    chopin_auth__jwt_member_text(w, CHOPIN_AUTH__LEAD(",\"scope\":\""), k->scope);
    chopin_auth__jwt_member_text(w, CHOPIN_AUTH__LEAD(",\"nonce\":\""), k->nonce);
    if (k->extra.len) {
        chopin_auth__jwt_put(w, ",", 1);
        chopin_auth__jwt_put(w, k->extra.ptr, k->extra.len);
    }
    chopin_auth__jwt_put(w, "}", 1);
}

/* Is `extra` an object that repeats no claim of ours? Its inside goes to *inner. */
static int chopin_auth__jwt_extra(chopin_str extra, chopin_str *inner) {
    static const char *const ours[] = { "iss", "aud", "sub", "jti", "iat", "exp", "nbf", "scope", "nonce" };
    chopin_auth__json j;
    chopin_auth__json_value v;
    int members = 0, rc = chopin_auth__json_check(&j, extra);
    while (rc >= 0 && (rc = chopin_auth__json_next(&j, &v)) == 1) {
        for (size_t i = 0; i < CHOPIN_AUTH__COUNT(ours); i++) {
            if (chopin_auth__is(v.name, ours[i])) return CHOPIN_AUTH_CLAIM;
        }
        members++;
    }
    if (rc < 0 || members > CHOPIN_AUTH__JSON_MEMBERS - (int)CHOPIN_AUTH__COUNT(ours)) return CHOPIN_AUTH_CLAIM;
    const char *from = extra.ptr, *to = extra.ptr + extra.len;
    while (*from != '{') from++;
    while (to[-1] != '}') to--;
    *inner = members ? chopin_auth__str(from + 1, (size_t)(to - from - 2)) : (chopin_str){ NULL, 0 };
    return 0;
}

static int chopin_auth__jwt_fill(const chopin_jwt_issuer_options *o, const chopin_jwt_claims *c, char jti[22], chopin_auth__jwt_ticket *k) {
    uint8_t random[16];
    int rc = 0;
    *k = (chopin_auth__jwt_ticket){ .iss = o->iss, .aud = c->aud.ptr ? c->aud : o->aud, .sub = c->sub, .jti = c->jti, .scope = c->scope, .nonce = c->nonce, .nbf = c->nbf };
    if (!c->aud.ptr && chopin_auth__any(o->aud)) k->aud = (chopin_str){ NULL, 0 };
    k->iat = chopin_auth__now(o->clock, o->clock_ctx);
    int64_t ttl = c->ttl_s ? c->ttl_s : o->ttl_s;
    if (k->iat < 0 || ttl < 0 || c->nbf < 0) return CHOPIN_AUTH_ARG;
    k->exp = chopin_auth__jwt_add(k->iat, ttl);
    if (k->exp > CHOPIN_AUTH__JSON_EXACT || k->nbf > CHOPIN_AUTH__JSON_EXACT) return CHOPIN_AUTH_ARG;
    if (c->extra.ptr) rc = chopin_auth__jwt_extra(c->extra, &k->extra);
    if (rc < 0 || c->jti.ptr) return rc;
    rc = chopin_auth_random(random, sizeof random);
    if (rc == 0) rc = chopin_base64url_encode(chopin_auth__str(random, sizeof random), jti, 22);
    k->jti = chopin_auth__str(jti, 22);
    return rc < 0 ? rc : 0;
}

static int chopin_auth__jwt_issue(const chopin_jwt_issuer *i, const chopin_jwt_claims *c, char *out, size_t cap) {
    chopin_auth__jwt_ticket k;
    chopin_auth__jwt_writer w;
    char jti[22];
    int  rc = i->head_len ? chopin_auth__jwt_fill(&i->o, c, jti, &k) : CHOPIN_AUTH_CONFIG;
    if (rc < 0) return rc;
    w.out = NULL, w.n = w.fill = 0, w.bad = false;
    chopin_auth__jwt_write(&w, &k);
    size_t body = chopin_base64url_size(w.n), all = i->head_len + body + 1 + chopin_base64url_size(chopin_auth__jws_size(i->o.key));
    if (w.bad) return CHOPIN_AUTH_CLAIM;
    if (w.n > CHOPIN_AUTH_TOKEN_MAX || all > CHOPIN_AUTH_TOKEN_MAX) return CHOPIN_AUTH_SIZE;
    if (all > cap) return CHOPIN_AUTH_BUFFER;
    memcpy(out, i->head, i->head_len);
    w.out = out + i->head_len, w.n = 0;
    chopin_auth__jwt_write(&w, &k);
    chopin_auth__jwt_flush(&w);
    rc = chopin_auth__jws_seal(i->o.key, out, i->head_len + body, i->head_len + body);
    if (rc < 0) memset(out, 0, all);
    return rc;
}

static const char *chopin_auth__jwt_issuer_problem(const chopin_jwt_issuer_options *o) {
    if (!o->key || !o->key->alg) return "set key";
    if (!o->key->secret) return "key: it must be able to sign, this one is public";
    if (!o->iss.len || chopin_auth__any(o->iss)) return "set iss: the name under which tokens are issued";
    if (!o->aud.len) return "set aud, or CHOPIN_AUTH_ANY when claims bring it";
    if (o->ttl_s < 0) return "ttl_s must not be negative";
    return o->typ.len > 64 ? "typ must be at most 64 bytes" : NULL;
}

/* The header never changes: encoded once. */
static int chopin_auth__jwt_head(chopin_jwt_issuer *i) {
    char json[400];
    const char *alg = i->o.ed25519_name && i->o.key->alg == CHOPIN_AUTH_EDDSA ? "Ed25519" : chopin_auth__alg_name(i->o.key->alg);
    for (size_t at = 0; at < i->o.typ.len; at++) {
        if ((uint8_t)i->o.typ.ptr[at] < 0x20 || (uint8_t)i->o.typ.ptr[at] > 0x7e) return chopin_auth__jwt_config(&i->problem, "typ must be printable ASCII");
    }
    size_t n = chopin_auth__jws_compose(i->o.key, alg, i->o.typ, false, json);
    int    rc = chopin_base64url_encode(chopin_auth__str(json, n), i->head, sizeof i->head - 1);
    if (rc < 0) return chopin_auth__jwt_config(&i->problem, "typ and kid are too long together");
    i->head[rc] = '.';
    i->head_len = (uint16_t)(rc + 1);
    return 0;
}

/* ==========================================================================================================
   >>revocation   revoked tokens in a table with lock-free readers; the store of secrets by their hash; refresh tokens
   Both tables are sets of eight entries; a key belongs to two of them, chosen by a seeded hash, so that nobody outside can aim at one.
   ========================================================================================================== */

#define CHOPIN_AUTH__WAYS 8
#define CHOPIN_AUTH__ENTRIES 65536

/* ---- text into a caller's buffer: counts on when it is full, then nothing was written that counts ---- */
typedef struct chopin_auth__text { char *out; size_t cap, n; } chopin_auth__text;

static void chopin_auth__text_add(chopin_auth__text *t, chopin_str s) {
    if (s.len && t->n < t->cap && s.len <= t->cap - t->n) memcpy(t->out + t->n, s.ptr, s.len);
    t->n = t->n > SIZE_MAX - s.len ? SIZE_MAX : t->n + s.len;
}
static void chopin_auth__text_z(chopin_auth__text *t, const char *z) { chopin_auth__text_add(t, chopin_auth__str(z, strlen(z))); }

/* Percent-encoded (RFC 3986), everything but unreserved characters. */
static void chopin_auth__text_percent(chopin_auth__text *t, chopin_str s) {
    static const char hex[] = "0123456789ABCDEF", more[] = "-._~";
    for (size_t i = 0; i < s.len; i++) {
        unsigned ch = (uint8_t)s.ptr[i];
        bool     safe = (ch >= '0' && ch <= '9') || ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'z') || (ch && strchr(more, (int)ch));
        char     code[3] = { '%', hex[ch >> 4], hex[ch & 15] };
        chopin_auth__text_add(t, safe ? chopin_auth__str(s.ptr + i, 1) : chopin_auth__str(code, 3));
    }
}

static void chopin_auth__text_number(chopin_auth__text *t, uint64_t value) {
    char   digits[20];
    size_t at = sizeof digits;
    do digits[--at] = (char)('0' + value % 10); while ((value /= 10) > 0);
    chopin_auth__text_add(t, chopin_auth__str(digits + at, sizeof digits - at));
}

/* The length, with a NUL behind it; or BUFFER, and what was written is zeroed. */
static int chopin_auth__text_end(chopin_auth__text *t) {
    if (t->n >= t->cap || t->n > INT_MAX) {
        if (t->cap) chopin_auth_wipe(t->out, chopin_auth__min(t->cap, t->n));
        return CHOPIN_AUTH_BUFFER;
    }
    t->out[t->n] = 0;
    return (int)t->n;
}

/* ---- hashing with a purpose, lengths first so that no two inputs run into one another ---- */
static void chopin_auth__digest(const char *purpose, chopin_str a, chopin_str b, chopin_str c, uint8_t out[32]) {
    chopin_str parts[4] = { chopin_auth__str(purpose, strlen(purpose)), a, b, c };
    chopin_sha256_ctx h;
    uint8_t len[8];
    chopin_sha256_init(&h);
    for (int i = 0; i < 4; i++) {
        chopin_auth__store64be(len, parts[i].len);
        chopin_sha256_update(&h, chopin_auth__str(len, sizeof len));
        chopin_sha256_update(&h, parts[i]);
    }
    chopin_sha256_final(&h, out);
}

/* 256 random bits as text. 0 or RANDOM. */
static int chopin_auth__secret_new(char out[CHOPIN_AUTH_SECRET_TEXT]) {
    uint8_t random[32];
    int rc = chopin_auth_random(random, sizeof random);
    memset(out, 0, CHOPIN_AUTH_SECRET_TEXT);
    if (rc == 0) rc = chopin_base64url_encode(chopin_auth__str(random, sizeof random), out, CHOPIN_AUTH_SECRET_TEXT);
    chopin_auth_wipe(random, sizeof random);
    return rc < 0 ? rc : 0;
}

/* What such a text is known by. 0 or FORMAT. */
static int chopin_auth__secret_id(const char *purpose, chopin_str text, uint8_t id[32]) {
    uint8_t bytes[32];
    int n = text.len == CHOPIN_AUTH_SECRET_TEXT - 1 ? chopin_base64url_decode(text, bytes, sizeof bytes) : CHOPIN_AUTH_FORMAT;
    if (n < 0) return CHOPIN_AUTH_FORMAT;
    chopin_auth__digest(purpose, chopin_auth__str(bytes, sizeof bytes), (chopin_str){ NULL, 0 }, (chopin_str){ NULL, 0 }, id);
    CHOPIN_AUTH__PUBLIC(id, 32, "the hash that a secret is stored and looked up by");
    chopin_auth_wipe(bytes, sizeof bytes);
    return 0;
}

/* ---- where a key lives ---- */

/* Two sets for a 32-byte key, by multiplication with secret odd numbers. */
static void chopin_auth__sets_of(const uint64_t seed[5], size_t sets, const uint8_t id[32], size_t at[2]) {
    uint64_t mix = seed[4];
    for (int i = 0; i < 4; i++) {
        mix ^= (chopin_auth__load64le(id + 8 * i) + seed[i]) * (seed[(i + 1) & 3] | 1);
        mix = (mix ^ mix >> 29) * UINT64_C(0x9e3779b97f4a7c15);
    }
    at[0] = (size_t)((mix >> 32) % sets);
    at[1] = (size_t)((mix & 0xffffffff) % sets);
}

/* A short critical section: nobody waits for the system inside. */
static void chopin_auth__lock(_Atomic(uint32_t) *lock) {
    while (atomic_exchange_explicit(lock, 1, memory_order_acquire)) {
        while (atomic_load_explicit(lock, memory_order_relaxed)) {}
    }
}
static void chopin_auth__unlock(_Atomic(uint32_t) *lock) { atomic_store_explicit(lock, 0, memory_order_release); }

/* ---- the table of revoked tokens ---- */

typedef struct chopin_auth__revoked_entry { uint64_t id[4], until, before; } chopin_auth__revoked_entry;

/* One slot as it was at one moment: versions are even and the same before and after. */
static chopin_auth__revoked_entry chopin_auth__revocation_read(chopin_auth__revocation_slot *s) {
    chopin_auth__revoked_entry e;
    uint64_t before, after;
    do {
        before = atomic_load_explicit(&s->version, memory_order_acquire);
        for (int i = 0; i < 4; i++) e.id[i] = atomic_load_explicit(&s->id[i], memory_order_relaxed);
        e.until = atomic_load_explicit(&s->until, memory_order_relaxed);
        e.before = atomic_load_explicit(&s->before, memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        after = atomic_load_explicit(&s->version, memory_order_relaxed);
    } while (before != after || (before & 1));
    return e;
}

static void chopin_auth__revocation_write(chopin_auth__revocation_slot *s, const chopin_auth__revoked_entry *e) {
    uint64_t version = atomic_load_explicit(&s->version, memory_order_relaxed);
    atomic_store_explicit(&s->version, version + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    for (int i = 0; i < 4; i++) atomic_store_explicit(&s->id[i], e->id[i], memory_order_relaxed);
    atomic_store_explicit(&s->until, e->until, memory_order_relaxed);
    atomic_store_explicit(&s->before, e->before, memory_order_relaxed);
    atomic_store_explicit(&s->version, version + 2, memory_order_release);
}

/* The slot of `id`, its content in *e; or NULL, with in *room a slot that is free at `now`. */
static chopin_auth__revocation_slot *chopin_auth__revocation_slot_of(chopin_auth_revocation *r, const uint64_t id[4], const size_t sets[2], int64_t now,
                                                                     chopin_auth__revoked_entry *e, chopin_auth__revocation_slot **room) {
    *room = NULL;
    for (size_t i = 0; i < 2 * CHOPIN_AUTH__WAYS; i++) {
        chopin_auth__revocation_slot *s = r->slots + sets[i / CHOPIN_AUTH__WAYS] * CHOPIN_AUTH__WAYS + i % CHOPIN_AUTH__WAYS;
        *e = chopin_auth__revocation_read(s);
        if (memcmp(e->id, id, sizeof e->id) == 0 && e->until) return s;
        if (!*room && (int64_t)e->until <= now) *room = s;
    }
    return NULL;
}

static void chopin_auth__revocation_words(const uint8_t id[32], uint64_t words[4]) {
    for (int i = 0; i < 4; i++) words[i] = chopin_auth__load64le(id + 8 * i);
}

static int chopin_auth__revocation_put(void *store, const uint8_t id[32], int64_t until, int64_t before) {
    chopin_auth_revocation *r = store;
    chopin_auth__revoked_entry e, fresh = { { 0 }, (uint64_t)until, (uint64_t)before };
    chopin_auth__revocation_slot *room;
    int64_t now = chopin_auth__now(r->clock, r->clock_ctx);
    size_t  sets[2];
    if (until <= now) return 0;                                          // no token of it can pass any more
    chopin_auth__revocation_words(id, fresh.id);
    chopin_auth__sets_of(r->seed, r->sets, id, sets);
    chopin_auth__lock(&r->writing);
    chopin_auth__revocation_slot *s = chopin_auth__revocation_slot_of(r, fresh.id, sets, now, &e, &room);
    if (s) {                                                             // only ever longer and stricter
        if (e.until > fresh.until) fresh.until = e.until;
        if (e.before > fresh.before) fresh.before = e.before;
    }
    if (!s) s = room;
    if (s) chopin_auth__revocation_write(s, &fresh);
    chopin_auth__unlock(&r->writing);
    return s ? 0 : CHOPIN_AUTH_LIMIT;
}

/* The entry of `id` if it still counts at `now`. */
static bool chopin_auth__revocation_get(chopin_auth_revocation *r, const uint8_t id[32], int64_t now, chopin_auth__revoked_entry *e) {
    chopin_auth__revocation_slot *room;
    uint64_t words[4];
    size_t   sets[2];
    chopin_auth__revocation_words(id, words);
    chopin_auth__sets_of(r->seed, r->sets, id, sets);
    return chopin_auth__revocation_slot_of(r, words, sets, now, e, &room) && (int64_t)e->until > now;
}

static int chopin_auth__revocation_revoked(void *store, const uint8_t id[32], int64_t now) {
    chopin_auth__revoked_entry e;
    return chopin_auth__revocation_get(store, id, now, &e) ? 1 : 0;
}

static int64_t chopin_auth__revocation_before(void *store, const uint8_t id[32], int64_t now) {
    chopin_auth__revoked_entry e;
    return chopin_auth__revocation_get(store, id, now, &e) ? (int64_t)e.before : 0;
}

int chopin_auth_revocation_init(chopin_auth_revocation *r, const chopin_auth_revocation_options *o) {
    bool hooks = o->hooks.put && o->hooks.revoked && o->hooks.before, any = o->hooks.put || o->hooks.revoked || o->hooks.before;
    size_t entries = chopin_auth__min(o->size / CHOPIN_AUTH_REVOCATION_ENTRY, CHOPIN_AUTH__ENTRIES);
    memset(r, 0, sizeof *r);
    r->clock = o->clock, r->clock_ctx = o->clock_ctx;
    if (any != hooks || any == (o->memory != NULL)) return CHOPIN_AUTH_CONFIG;
    r->hooks = o->hooks;
    if (hooks) return 0;
    if (entries < 2 * CHOPIN_AUTH__WAYS || (uintptr_t)o->memory % 8) return CHOPIN_AUTH_CONFIG;
    r->slots = o->memory;
    r->sets = entries / CHOPIN_AUTH__WAYS;
    memset(o->memory, 0, r->sets * CHOPIN_AUTH__WAYS * CHOPIN_AUTH_REVOCATION_ENTRY);
    r->hooks = (chopin_auth_revocation_hooks){ r, chopin_auth__revocation_put, chopin_auth__revocation_revoked, chopin_auth__revocation_before };
    return chopin_auth_random(r->seed, sizeof r->seed);
}

/* ---- revoking and asking ---- */
#define CHOPIN_AUTH__LONGEST_LEEWAY 300

static int64_t chopin_auth__until(int64_t exp) { return chopin_auth__jwt_add(exp, CHOPIN_AUTH__LONGEST_LEEWAY); }

int chopin_auth_revoke(chopin_auth_revocation *r, chopin_str iss, chopin_str jti, int64_t exp) {
    uint8_t id[32];
    if (!r->hooks.put) return CHOPIN_AUTH_CONFIG;
    if (!jti.ptr) return CHOPIN_AUTH_ARG;
    chopin_auth__digest("chopin revoked jti", iss, jti, (chopin_str){ NULL, 0 }, id);
    return r->hooks.put(r->hooks.store, id, exp > 0 ? chopin_auth__until(exp) : INT64_MAX, 0);
}

int chopin_auth_revoke_subject(chopin_auth_revocation *r, chopin_str iss, chopin_str sub, int64_t at, int64_t longest_s) {
    uint8_t id[32];
    if (!r->hooks.put) return CHOPIN_AUTH_CONFIG;
    if (!sub.len || longest_s < 0 || at < 0) return CHOPIN_AUTH_ARG;
    if (at == 0) at = chopin_auth__now(r->clock, r->clock_ctx);
    chopin_auth__digest("chopin revoked sub", iss, sub, (chopin_str){ NULL, 0 }, id);
    return r->hooks.put(r->hooks.store, id, chopin_auth__until(chopin_auth__jwt_add(at, longest_s ? longest_s : 86400)), at);
}

int chopin_auth_revoked(chopin_auth_revocation *r, const chopin_jwt *token, int64_t now) {
    uint8_t id[32];
    if (!r->hooks.revoked) return CHOPIN_AUTH_STORE;
    if (!token->jti.ptr) return CHOPIN_AUTH_CLAIM;
    chopin_auth__digest("chopin revoked jti", token->iss, token->jti, (chopin_str){ NULL, 0 }, id);
    int hit = r->hooks.revoked(r->hooks.store, id, now);
    if (hit) return hit < 0 ? CHOPIN_AUTH_STORE : CHOPIN_AUTH_REVOKED;
    if (!token->sub.len) return 0;
    chopin_auth__digest("chopin revoked sub", token->iss, token->sub, (chopin_str){ NULL, 0 }, id);
    int64_t before = r->hooks.before(r->hooks.store, id, now);
    if (before < 0) return CHOPIN_AUTH_STORE;
    return before > 0 && token->iat <= before ? CHOPIN_AUTH_REVOKED : 0;
}

/* ---- the built-in store of records ---- */

static bool chopin_auth__store_free(const chopin_auth_record *r, int64_t now) { return r->kind == 0 || r->expires <= now; }

/* The record of `id`, or NULL, with in *room a free one. */
static chopin_auth_record *chopin_auth__store_find(chopin_auth_memory *m, const uint8_t id[32], int64_t now, chopin_auth_record **room) {
    size_t sets[2];
    *room = NULL;
    chopin_auth__sets_of(m->seed, m->sets, id, sets);
    for (size_t i = 0; i < 2 * CHOPIN_AUTH__WAYS; i++) {
        chopin_auth_record *r = m->records + sets[i / CHOPIN_AUTH__WAYS] * CHOPIN_AUTH__WAYS + i % CHOPIN_AUTH__WAYS;
        if (r->kind && memcmp(r->id, id, 32) == 0) return r;
        if (!*room && chopin_auth__store_free(r, now)) *room = r;
    }
    return NULL;
}

/* How many records have owners that share a place with this one: never fewer than he has. */
static uint32_t *chopin_auth__store_owners(chopin_auth_memory *m, const uint8_t owner[32]) {
    return &m->owners[(chopin_auth__load64le(owner) ^ m->seed[0]) * (m->seed[1] | 1) >> 54];
}
static void chopin_auth__store_clear(chopin_auth_memory *m, chopin_auth_record *r) {
    if (r->kind) --*chopin_auth__store_owners(m, r->owner);
    chopin_auth_wipe(r, sizeof *r);
}

/* A user's oldest live record of a kind goes when he has CHOPIN_AUTH_PER_USER of them: he can crowd out nobody else. */
static void chopin_auth__store_make_room(chopin_auth_memory *m, const chopin_auth_record *fresh, int64_t now) {
    chopin_auth_record *oldest = NULL;
    int count = 0;
    if (*chopin_auth__store_owners(m, fresh->owner) < CHOPIN_AUTH_PER_USER) return;
    for (size_t i = 0; i < m->sets * CHOPIN_AUTH__WAYS; i++) {
        chopin_auth_record *r = m->records + i;
        if (r->kind != fresh->kind || chopin_auth__store_free(r, now) || r->spent || memcmp(r->owner, fresh->owner, 32) != 0) continue;
        count++;
        if (!oldest || r->used < oldest->used) oldest = r;
    }
    if (count >= CHOPIN_AUTH_PER_USER) chopin_auth__store_clear(m, oldest);
}

static int chopin_auth__store_insert(chopin_auth_memory *m, const chopin_auth_record *r, int64_t now) {
    chopin_auth_record *room, *at = chopin_auth__store_find(m, r->id, now, &room);
    if (!at) {
        chopin_auth__store_make_room(m, r, now);
        at = chopin_auth__store_find(m, r->id, now, &room);
    }
    if (!at) at = room;
    if (!at) return CHOPIN_AUTH_LIMIT;
    chopin_auth__store_clear(m, at);
    *at = *r;
    ++*chopin_auth__store_owners(m, r->owner);
    return 0;
}

static int chopin_auth__store_put(void *ctx, const chopin_auth_record *r, int64_t now) {
    chopin_auth_memory *m = ctx;
    chopin_auth__lock(&m->lock);
    int rc = chopin_auth__store_insert(m, r, now);
    chopin_auth__unlock(&m->lock);
    return rc;
}

static int chopin_auth__store_get(void *ctx, const uint8_t id[32], int64_t now, chopin_auth_record *out) {
    chopin_auth_memory *m = ctx;
    chopin_auth_record *room;
    chopin_auth__lock(&m->lock);
    chopin_auth_record *at = chopin_auth__store_find(m, id, now, &room);
    if (at) *out = *at;
    chopin_auth__unlock(&m->lock);
    return at ? 1 : 0;
}

static int chopin_auth__store_swap(void *ctx, const uint8_t id[32], int64_t now, const chopin_auth_record *by) {
    chopin_auth_memory *m = ctx;
    chopin_auth_record *room;
    int rc = 0;
    chopin_auth__lock(&m->lock);
    chopin_auth_record *at = chopin_auth__store_find(m, id, now, &room);
    if (at && !at->spent) {
        at->spent = 1;                                                   // first, so that the successor does not count it
        rc = by ? chopin_auth__store_insert(m, by, now) : 0;
        if (rc < 0) at->spent = 0;
        else at->used = now, rc = 1;
    }
    chopin_auth__unlock(&m->lock);
    return rc;
}

static int chopin_auth__store_drop(void *ctx, const uint8_t group[32], uint8_t kind) {
    chopin_auth_memory *m = ctx;
    chopin_auth__lock(&m->lock);
    for (size_t i = 0; i < m->sets * CHOPIN_AUTH__WAYS; i++) {
        chopin_auth_record *r = m->records + i;
        bool hit = r->kind && (!kind || r->kind == kind);
        if (hit && (memcmp(r->id, group, 32) == 0 || memcmp(r->family, group, 32) == 0 || memcmp(r->owner, group, 32) == 0)) chopin_auth__store_clear(m, r);
    }
    chopin_auth__unlock(&m->lock);
    return 0;
}

int chopin_auth_store_init(chopin_auth_store *s, chopin_auth_memory *m, void *memory, size_t size) {
    memset(s, 0, sizeof *s);
    memset(m, 0, sizeof *m);
    if (!memory || (uintptr_t)memory % 8 || size / sizeof(chopin_auth_record) < 2 * CHOPIN_AUTH__WAYS) return CHOPIN_AUTH_CONFIG;
    m->records = memory;
    m->sets = size / sizeof(chopin_auth_record) / CHOPIN_AUTH__WAYS;
    memset(memory, 0, m->sets * CHOPIN_AUTH__WAYS * sizeof(chopin_auth_record));
    int rc = chopin_auth_random(m->seed, sizeof m->seed);
    if (rc == 0) *s = (chopin_auth_store){ m, chopin_auth__store_put, chopin_auth__store_get, chopin_auth__store_swap, chopin_auth__store_drop };
    return rc;
}

/* ---- records of any kind ---- */

static void chopin_auth__owner(chopin_str user, uint8_t out[32]) { chopin_auth__digest("chopin owner", user, (chopin_str){ NULL, 0 }, (chopin_str){ NULL, 0 }, out); }

/* A fresh record; ARG when user or data do not fit. */
static int chopin_auth__record(chopin_auth_record *r, chopin_auth_kind kind, chopin_str user, chopin_str data, int64_t now, int64_t ttl_s) {
    memset(r, 0, sizeof *r);
    if (!user.len || user.len > sizeof r->user || data.len > sizeof r->data || ttl_s < 0 || now < 0) return CHOPIN_AUTH_ARG;
    r->kind = (uint8_t)kind;
    r->created = r->used = now;
    r->expires = chopin_auth__jwt_add(now, ttl_s);
    r->user_len = (uint16_t)user.len;
    r->data_len = (uint16_t)data.len;
    memcpy(r->user, user.ptr, user.len);
    if (data.len) memcpy(r->data, data.ptr, data.len);
    chopin_auth__owner(user, r->owner);
    return 0;
}

/* Only what a hook may say. */
static int chopin_auth__store_status(int rc) { return rc >= 0 || rc == CHOPIN_AUTH_LIMIT ? rc : CHOPIN_AUTH_STORE; }
static int chopin_auth__put(const chopin_auth_store *s, const chopin_auth_record *r, int64_t now) { return chopin_auth__store_status(s->put(s->ctx, r, now)); }
static int chopin_auth__get(const chopin_auth_store *s, const uint8_t id[32], int64_t now, chopin_auth_record *out) {
    int rc = chopin_auth__store_status(s->get(s->ctx, id, now, out));
    if (rc <= 0) memset(out, 0, sizeof *out);
    return rc;
}
static int chopin_auth__swap(const chopin_auth_store *s, const uint8_t id[32], int64_t now, const chopin_auth_record *by) { return chopin_auth__store_status(s->swap(s->ctx, id, now, by)); }
static int chopin_auth__drop(const chopin_auth_store *s, const uint8_t group[32], uint8_t kind) { return chopin_auth__store_status(s->drop(s->ctx, group, kind)); }

static bool chopin_auth__store_ok(const chopin_auth_store *s) { return s && s->put && s->get && s->swap && s->drop; }

/* ---- refresh tokens ---- */
#define CHOPIN_AUTH__REFRESH_TTL 2592000

/* A new token and its record. */
static int chopin_auth__refresh_make(const chopin_auth_refresh *r, chopin_str user, int64_t now, char out[CHOPIN_AUTH_SECRET_TEXT], chopin_auth_record *rec) {
    int rc = chopin_auth__record(rec, CHOPIN_AUTH_REFRESH, user, (chopin_str){ NULL, 0 }, now, r->ttl_s ? r->ttl_s : CHOPIN_AUTH__REFRESH_TTL);
    if (rc == 0) rc = chopin_auth__secret_new(out);
    if (rc == 0) rc = chopin_auth__secret_id("chopin refresh", chopin_auth__str(out, CHOPIN_AUTH_SECRET_TEXT - 1), rec->id);
    return rc;
}

int chopin_auth_refresh_issue(const chopin_auth_refresh *r, chopin_str user, chopin_str with, char out[CHOPIN_AUTH_SECRET_TEXT]) {
    chopin_auth_record rec;
    int64_t now = chopin_auth__now(r->clock, r->clock_ctx);
    memset(out, 0, CHOPIN_AUTH_SECRET_TEXT);
    int rc = chopin_auth__store_ok(r->store) ? chopin_auth__refresh_make(r, user, now, out, &rec) : CHOPIN_AUTH_CONFIG;
    if (rc == 0) memcpy(rec.family, rec.id, 32);
    if (rc == 0 && with.ptr) {                                           // the session's family, which outlives changes of its id
        chopin_auth_record session;
        uint8_t id[32];
        rc = chopin_auth__secret_id("chopin session", with, id);
        if (rc == 0) rc = chopin_auth__get(r->store, id, now, &session);
        if (rc == 1) memcpy(rec.family, session.family, 32);
        rc = rc == 1 ? 0 : rc == 0 ? CHOPIN_AUTH_MISMATCH : rc;
    }
    if (rc == 0) rc = chopin_auth__put(r->store, &rec, now);
    if (rc < 0) chopin_auth_wipe(out, CHOPIN_AUTH_SECRET_TEXT);
    return rc;
}

/* Somebody holds a copy: end everything that came of that login, and say so. */
static int chopin_auth__refresh_reuse(const chopin_auth_refresh *r, const chopin_auth_record *old, int64_t now) {
    if (r->grace_s > 0 && now - old->used <= r->grace_s) return CHOPIN_AUTH_REPLAY;
    int rc = chopin_auth__drop(r->store, old->family, 0);
    if (r->on_event) r->on_event(r->event_ctx, CHOPIN_AUTH_EV_REUSE, chopin_auth__str(old->user, old->user_len), (chopin_str){ NULL, 0 });
    return rc < 0 ? rc : CHOPIN_AUTH_REPLAY;
}

static int chopin_auth__refresh_take(const chopin_auth_refresh *r, chopin_str token, int64_t now, chopin_auth_record *old) {
    uint8_t id[32];
    int rc = chopin_auth__secret_id("chopin refresh", token, id);
    if (rc == 0) rc = chopin_auth__get(r->store, id, now, old);
    if (rc <= 0) return rc < 0 ? rc : CHOPIN_AUTH_MISMATCH;
    if (old->spent) return chopin_auth__refresh_reuse(r, old, now);
    return old->expires <= now ? CHOPIN_AUTH_EXPIRED : 0;
}

int chopin_auth_refresh_rotate(const chopin_auth_refresh *r, chopin_str token, char out[CHOPIN_AUTH_SECRET_TEXT], chopin_auth_record *who) {
    chopin_auth_record fresh;
    int64_t now = chopin_auth__now(r->clock, r->clock_ctx);
    memset(out, 0, CHOPIN_AUTH_SECRET_TEXT);
    memset(who, 0, sizeof *who);
    int rc = chopin_auth__store_ok(r->store) ? chopin_auth__refresh_take(r, token, now, who) : CHOPIN_AUTH_CONFIG;
    if (rc == 0) rc = chopin_auth__refresh_make(r, chopin_auth__str(who->user, who->user_len), now, out, &fresh);
    if (rc == 0) {
        memcpy(fresh.family, who->family, 32);
        rc = chopin_auth__swap(r->store, who->id, now, &fresh);
        if (rc == 0) rc = chopin_auth__refresh_take(r, token, now, who) == 0 ? CHOPIN_AUTH_STORE : CHOPIN_AUTH_REPLAY;   // another client was faster: that is reuse
    }
    if (rc == 1) *who = fresh;
    else chopin_auth_wipe(out, CHOPIN_AUTH_SECRET_TEXT), memset(who, 0, sizeof *who);
    return rc == 1 ? 0 : rc;
}

int chopin_auth_refresh_end(const chopin_auth_refresh *r, chopin_str token) {
    chopin_auth_record old;
    uint8_t id[32];
    int64_t now = chopin_auth__now(r->clock, r->clock_ctx);
    if (!chopin_auth__store_ok(r->store)) return CHOPIN_AUTH_CONFIG;
    int rc = chopin_auth__secret_id("chopin refresh", token, id);
    if (rc == 0) rc = chopin_auth__get(r->store, id, now, &old);
    return rc == 1 ? chopin_auth__drop(r->store, old.family, 0) : rc;
}

/* ==========================================================================================================
   >>password   hash strings, the pool of arenas, one call for a login
   A stored string is parsed whole and its numbers are bounded before an arena is touched. Whatever a login is refused for, one hash with today's
   parameters was computed. Strings: PHC form for Argon2, scrypt and PBKDF2, modular crypt form for bcrypt.
   ========================================================================================================== */

#define CHOPIN_AUTH__PW_TAG 64           /* longest tag and salt, in bytes */

typedef struct chopin_auth__pw {        // a hash string taken apart, or about to be written
    chopin_password_params p;
    uint8_t salt[CHOPIN_AUTH__PW_TAG], tag[CHOPIN_AUTH__PW_TAG], keyid[8];
    size_t  salt_len, tag_len, keyid_len;
} chopin_auth__pw;

/* ---- limits: the same for what we hash and for what we verify ---- */

static int chopin_auth__pw_limits(const chopin_password_params *p) {
    switch (p->kind) {
    case CHOPIN_AUTH_PW_ARGON2ID: case CHOPIN_AUTH_PW_ARGON2I:
#ifndef CHOPIN_AUTH_NO_ARGON2
        return chopin_argon2_arena(p->m_kib, p->t, p->p) ? 0 : CHOPIN_AUTH_LIMIT;
#else
        return CHOPIN_AUTH_UNSUPPORTED;
#endif
    case CHOPIN_AUTH_PW_SCRYPT:
#ifndef CHOPIN_AUTH_NO_SCRYPT
        return chopin_scrypt_arena(p->log_n, p->r, p->p) ? 0 : CHOPIN_AUTH_LIMIT;
#else
        return CHOPIN_AUTH_UNSUPPORTED;
#endif
    case CHOPIN_AUTH_PW_PBKDF2_SHA256: case CHOPIN_AUTH_PW_PBKDF2_SHA512: return p->rounds >= 1 && p->rounds <= CHOPIN_AUTH_PBKDF2_MAX ? 0 : CHOPIN_AUTH_LIMIT;
    case CHOPIN_AUTH_PW_BCRYPT:
#ifndef CHOPIN_AUTH_NO_BCRYPT
        return p->rounds >= 4 && p->rounds <= 14 ? 0 : CHOPIN_AUTH_LIMIT;
#else
        return CHOPIN_AUTH_UNSUPPORTED;
#endif
    default: return CHOPIN_AUTH_ARG;
    }
}

/* Bytes of arena, for parameters within the limits. */
static size_t chopin_auth__pw_arena(const chopin_password_params *p) {
    switch (p->kind) {
#ifndef CHOPIN_AUTH_NO_ARGON2
    case CHOPIN_AUTH_PW_ARGON2ID: case CHOPIN_AUTH_PW_ARGON2I: return chopin_argon2_arena(p->m_kib, p->t, p->p);
#endif
#ifndef CHOPIN_AUTH_NO_SCRYPT
    case CHOPIN_AUTH_PW_SCRYPT: return chopin_scrypt_arena(p->log_n, p->r, p->p);
#endif
#ifndef CHOPIN_AUTH_NO_BCRYPT
    case CHOPIN_AUTH_PW_BCRYPT: return chopin_bcrypt_arena();
#endif
    default: return 64;
    }
}

static bool chopin_auth__pw_is_argon2(chopin_password_kind kind) { return kind == CHOPIN_AUTH_PW_ARGON2ID || kind == CHOPIN_AUTH_PW_ARGON2I; }

/* ---- reading: each helper moves *s forward or says no ---- */

static bool chopin_auth__pw_take(chopin_str *s, const char *z) {
    size_t n = strlen(z);
    if (s->len < n || memcmp(s->ptr, z, n) != 0) return false;
    *s = chopin_auth__str(s->ptr + n, s->len - n);
    return true;
}

/* Decimal digits without a leading zero, up to 2^32 - 1. */
static bool chopin_auth__pw_number(chopin_str *s, uint32_t *out) {
    uint64_t value = 0;
    size_t   n = 0;
    for (; n < s->len && s->ptr[n] >= '0' && s->ptr[n] <= '9' && n < 11; n++) value = value * 10 + (uint64_t)(s->ptr[n] - '0');
    if (n == 0 || n > 10 || value > UINT32_MAX || (n > 1 && s->ptr[0] == '0')) return false;
    *out = (uint32_t)value;
    *s = chopin_auth__str(s->ptr + n, s->len - n);
    return true;
}

/* base64 without padding up to the next '$' or ',' or the end. */
static bool chopin_auth__pw_bytes(chopin_str *s, uint8_t *out, size_t cap, size_t *len) {
    size_t n = 0;
    while (n < s->len && s->ptr[n] != '$' && s->ptr[n] != ',') n++;
    int rc = chopin_auth__base64_decode(chopin_auth__str(s->ptr, n), false, out, cap);
    if (rc < 0) return false;
    *len = (size_t)rc;
    *s = chopin_auth__str(s->ptr + n, s->len - n);
    return true;
}

/* `$salt$tag` and then nothing. */
static bool chopin_auth__pw_tail(chopin_str s, chopin_auth__pw *h) {
    if (!chopin_auth__pw_take(&s, "$") || !chopin_auth__pw_bytes(&s, h->salt, sizeof h->salt, &h->salt_len)) return false;
    if (!chopin_auth__pw_take(&s, "$") || !chopin_auth__pw_bytes(&s, h->tag, sizeof h->tag, &h->tag_len)) return false;
    return s.len == 0 && h->salt_len >= 8 && h->salt_len <= 48 && h->tag_len >= 16;
}

static bool chopin_auth__pw_read_argon2(chopin_str s, chopin_auth__pw *h) {
    chopin_password_params *p = &h->p;
    if (!chopin_auth__pw_take(&s, "v=19$m=") || !chopin_auth__pw_number(&s, &p->m_kib)) return false;
    if (!chopin_auth__pw_take(&s, ",t=") || !chopin_auth__pw_number(&s, &p->t)) return false;
    if (!chopin_auth__pw_take(&s, ",p=") || !chopin_auth__pw_number(&s, &p->p)) return false;
    if (chopin_auth__pw_take(&s, ",keyid=") && (!chopin_auth__pw_bytes(&s, h->keyid, sizeof h->keyid, &h->keyid_len) || h->keyid_len == 0)) return false;
    return chopin_auth__pw_tail(s, h);
}

static bool chopin_auth__pw_read_scrypt(chopin_str s, chopin_auth__pw *h) {
    if (!chopin_auth__pw_take(&s, "ln=") || !chopin_auth__pw_number(&s, &h->p.log_n)) return false;
    if (!chopin_auth__pw_take(&s, ",r=") || !chopin_auth__pw_number(&s, &h->p.r)) return false;
    if (!chopin_auth__pw_take(&s, ",p=") || !chopin_auth__pw_number(&s, &h->p.p)) return false;
    return chopin_auth__pw_tail(s, h);
}

static bool chopin_auth__pw_read_pbkdf2(chopin_str s, chopin_auth__pw *h) {
    uint32_t length = 0;                                                 // l, which may be missing, is the tag's
    if (!chopin_auth__pw_take(&s, "i=") || !chopin_auth__pw_number(&s, &h->p.rounds)) return false;
    bool said = chopin_auth__pw_take(&s, ",l=");
    if (said && !chopin_auth__pw_number(&s, &length)) return false;
    return chopin_auth__pw_tail(s, h) && (!said || length == h->tag_len);
}

/* bcrypt's own base64: ./A-Za-z0-9, from the top bit down. Decodes `chars` of them, 3/4 of that in bytes; unused bits must be 0. */
static bool chopin_auth__pw_radix64(const char *text, size_t chars, uint8_t *out) {
    uint32_t bits = 0, have = 0, bad = 0;
    for (size_t i = 0; i < chars; i++) {
        uint32_t ch = (uint8_t)text[i];
        uint32_t dot = chopin_auth__char_in(ch, '.', '/'), upper = chopin_auth__char_in(ch, 'A', 'Z'), lower = chopin_auth__char_in(ch, 'a', 'z'), digit = chopin_auth__char_in(ch, '0', '9');
        uint32_t value = (dot & (ch - '.')) | (upper & (ch - 'A' + 2)) | (lower & (ch - 'a' + 28)) | (digit & (ch - '0' + 54));
        bad |= ~(dot | upper | lower | digit);
        bits = bits << 6 | (value & 63);
        have += 6;
        if (have >= 8) *out++ = (uint8_t)(bits >> (have -= 8));
    }
    bad |= bits & ((1u << have) - 1);
    bad = chopin_auth__mask_nonzero32(bad);
    CHOPIN_AUTH__PUBLIC(&bad, sizeof bad, "whether a stored hash is well formed");
    return bad == 0;
}

static void chopin_auth__pw_radix64_put(const uint8_t *in, size_t n, char *out) {
    uint32_t bits = 0, have = 0;
    for (size_t i = 0, at = 0; i < (n * 8 + 5) / 6; i++, have -= 6) {
        if (have < 6) bits = bits << 8 | (at < n ? in[at] : 0), at++, have += 8;
        uint32_t v = bits >> (have - 6) & 63;
        uint32_t upper = chopin_auth__char_in(v, 2, 27), lower = chopin_auth__char_in(v, 28, 53), digit = chopin_auth__char_in(v, 54, 63);
        out[i] = (char)(v + ((~(upper | lower | digit) & '.') | (upper & ('A' - 2)) | (lower & ('a' - 28)) | (digit & (0u + '0' - 54))));
    }
}

/* What follows `$2a$`, `$2b$` or `$2y$`: two digits of cost, salt, tag. */
static bool chopin_auth__pw_read_bcrypt(chopin_str s, chopin_auth__pw *h) {
    if (s.len != 56 || s.ptr[0] < '0' || s.ptr[0] > '9' || s.ptr[1] < '0' || s.ptr[1] > '9' || s.ptr[2] != '$') return false;
    h->p.rounds = (uint32_t)(s.ptr[0] - '0') * 10 + (uint32_t)(s.ptr[1] - '0');
    h->salt_len = 16;
    h->tag_len = 23;
    return chopin_auth__pw_radix64(s.ptr + 3, 22, h->salt) && chopin_auth__pw_radix64(s.ptr + 25, 31, h->tag);
}

/* 0; HASH: not a string we write or read; LIMIT, UNSUPPORTED. Nothing was allocated. */
static int chopin_auth__pw_parse(chopin_str s, chopin_auth__pw *h) {
    static const struct { const char *lead; chopin_password_kind kind; bool (*read)(chopin_str, chopin_auth__pw *); } forms[] = {
        { "$argon2id$", CHOPIN_AUTH_PW_ARGON2ID, chopin_auth__pw_read_argon2 }, { "$argon2i$", CHOPIN_AUTH_PW_ARGON2I, chopin_auth__pw_read_argon2 },
        { "$scrypt$", CHOPIN_AUTH_PW_SCRYPT, chopin_auth__pw_read_scrypt }, { "$pbkdf2-sha256$", CHOPIN_AUTH_PW_PBKDF2_SHA256, chopin_auth__pw_read_pbkdf2 },
        { "$pbkdf2-sha512$", CHOPIN_AUTH_PW_PBKDF2_SHA512, chopin_auth__pw_read_pbkdf2 }, { "$2b$", CHOPIN_AUTH_PW_BCRYPT, chopin_auth__pw_read_bcrypt },
        { "$2a$", CHOPIN_AUTH_PW_BCRYPT, chopin_auth__pw_read_bcrypt }, { "$2y$", CHOPIN_AUTH_PW_BCRYPT, chopin_auth__pw_read_bcrypt }
    };
    memset(h, 0, sizeof *h);
    if (s.len == 0 || s.len > CHOPIN_AUTH_PW_STORED) return CHOPIN_AUTH_HASH;
    for (size_t i = 0; i < CHOPIN_AUTH__COUNT(forms); i++) {
        chopin_str rest = s;
        if (!chopin_auth__pw_take(&rest, forms[i].lead)) continue;
        h->p.kind = forms[i].kind;
        return forms[i].read(rest, h) ? chopin_auth__pw_limits(&h->p) : CHOPIN_AUTH_HASH;
    }
    return chopin_auth__pw_take(&s, "$2x$") || chopin_auth__pw_take(&s, "$argon2d$") ? CHOPIN_AUTH_UNSUPPORTED : CHOPIN_AUTH_HASH;
}

/* ---- writing ---- */

static void chopin_auth__pw_put_bytes(chopin_auth__text *t, const uint8_t *bytes, size_t n) {
    char text[CHOPIN_AUTH__PW_TAG * 4 / 3 + 4];
    int  len = chopin_auth__base64_encode(chopin_auth__str(bytes, n), false, text, sizeof text);
    chopin_auth__text_add(t, chopin_auth__str(text, len > 0 ? (size_t)len : 0));
}

static void chopin_auth__pw_put_number(chopin_auth__text *t, const char *lead, uint32_t value) {
    chopin_auth__text_z(t, lead);
    chopin_auth__text_number(t, value);
}

static void chopin_auth__pw_put_params(chopin_auth__text *t, const chopin_auth__pw *h) {
    switch (h->p.kind) {
    case CHOPIN_AUTH_PW_SCRYPT:
        chopin_auth__pw_put_number(t, "$scrypt$ln=", h->p.log_n);
        chopin_auth__pw_put_number(t, ",r=", h->p.r);
        chopin_auth__pw_put_number(t, ",p=", h->p.p);
        break;
    case CHOPIN_AUTH_PW_PBKDF2_SHA256: case CHOPIN_AUTH_PW_PBKDF2_SHA512:
        chopin_auth__pw_put_number(t, h->p.kind == CHOPIN_AUTH_PW_PBKDF2_SHA256 ? "$pbkdf2-sha256$i=" : "$pbkdf2-sha512$i=", h->p.rounds);
        chopin_auth__pw_put_number(t, ",l=", (uint32_t)h->tag_len);
        break;
    default:
        chopin_auth__pw_put_number(t, h->p.kind == CHOPIN_AUTH_PW_ARGON2I ? "$argon2i$v=19$m=" : "$argon2id$v=19$m=", h->p.m_kib);
        chopin_auth__pw_put_number(t, ",t=", h->p.t);
        chopin_auth__pw_put_number(t, ",p=", h->p.p);
        if (h->keyid_len) chopin_auth__text_z(t, ",keyid=");
        chopin_auth__pw_put_bytes(t, h->keyid, h->keyid_len);
    }
}

static int chopin_auth__pw_format(const chopin_auth__pw *h, char *out, size_t cap) {
    chopin_auth__text t = { out, cap, 0 };
    if (h->p.kind == CHOPIN_AUTH_PW_BCRYPT) {
        char text[60] = { '$', '2', 'b', '$', (char)('0' + h->p.rounds / 10), (char)('0' + h->p.rounds % 10), '$' };
        chopin_auth__pw_radix64_put(h->salt, 16, text + 7);
        chopin_auth__pw_radix64_put(h->tag, 23, text + 29);
        chopin_auth__text_add(&t, chopin_auth__str(text, sizeof text));
        return chopin_auth__text_end(&t);
    }
    chopin_auth__pw_put_params(&t, h);
    chopin_auth__text_z(&t, "$");
    chopin_auth__pw_put_bytes(&t, h->salt, h->salt_len);
    chopin_auth__text_z(&t, "$");
    chopin_auth__pw_put_bytes(&t, h->tag, h->tag_len);
    return chopin_auth__text_end(&t);
}

/* ---- the pool ---- */

static int chopin_auth__pool_take(chopin_password_pool *pool) {
    for (int i = 0; i < pool->o.arenas; i++) {
        uint32_t idle = 0;
        if (atomic_compare_exchange_strong_explicit(&pool->busy[i], &idle, 1, memory_order_acquire, memory_order_relaxed)) return i;
    }
    return CHOPIN_AUTH_BUSY;
}

static void chopin_auth__pool_give(chopin_password_pool *pool, int arena) { atomic_store_explicit(&pool->busy[arena], 0, memory_order_release); }

static const char *chopin_auth__pool_problem(const chopin_password_options *o) {
    if (o->arenas < 0 || o->arenas > CHOPIN_AUTH_PW_ARENAS) return "arenas must be 1 to 64";
    if (o->params.kind && chopin_auth__pw_limits(&o->params) < 0) return "params are over the limits, or left out by a CHOPIN_AUTH_NO_ switch";
    if (o->max_bytes > CHOPIN_AUTH_PW_BYTES_CAP) return "max_bytes must be at most 4096";
    if (o->peppers_count && !o->peppers) return "peppers_count without peppers";
    if (o->peppers_count && o->params.kind && !chopin_auth__pw_is_argon2(o->params.kind)) return "peppers need Argon2 params";
    for (size_t i = 0; i < o->peppers_count; i++) {
        const chopin_auth_pepper *p = &o->peppers[i];
        if (!p->id.len || p->id.len > 8 || p->secret.len < 16 || p->secret.len > 64) return "a pepper's id has 1 to 8 bytes, its secret 16 to 64";
        for (size_t k = 0; k < i; k++) {
            if (chopin_auth__same(p->id, o->peppers[k].id)) return "two peppers have the same id";
        }
    }
    return NULL;
}

/* Aligned to 2 MiB with huge pages asked for, touched, kept out of cores. */
static int chopin_auth__pool_map(chopin_password_pool *pool, size_t bytes, size_t touch) {
    const size_t huge = (size_t)2 << 20;
    size_t size;
    if (!chopin_auth__add_ok(bytes, huge, &size)) return CHOPIN_AUTH_MEMORY;
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    if (at == MAP_FAILED) return CHOPIN_AUTH_MEMORY;
    size_t skip = (huge - (uintptr_t)at % huge) % huge;
    if (skip) munmap(at, skip);
    if (skip < huge) munmap((uint8_t *)at + skip + bytes, huge - skip);
    pool->memory = (uint8_t *)at + skip;
    pool->mapped = bytes;
#ifdef MADV_HUGEPAGE
    (void)madvise(pool->memory, bytes, MADV_HUGEPAGE);
#endif
#ifdef MADV_DONTDUMP
    (void)madvise(pool->memory, bytes, MADV_DONTDUMP);
#endif
    if (pool->o.lock_memory && mlock(pool->memory, bytes) != 0) return CHOPIN_AUTH_MEMORY;
    for (int i = 0; i < pool->o.arenas; i++) memset(pool->memory + (size_t)i * pool->arena_size, 0, touch);
    return 0;
}

/* Defaults, once. */
static void chopin_auth__pool_resolve(chopin_password_pool *pool) {
    chopin_password_options *o = &pool->o;
    if (!o->params.kind) o->params = (chopin_password_params)CHOPIN_AUTH_PW_DEFAULT;
    if (!o->arenas) o->arenas = 2;
    if (!o->min_bytes) o->min_bytes = 12;
    if (!o->max_bytes) o->max_bytes = CHOPIN_AUTH_PW_BYTES;
    size_t largest = o->arena_kib ? (size_t)o->arena_kib * 1024 : ((size_t)64 << 20) + 65536, need = chopin_auth__pw_arena(&o->params);
    pool->arena_size = ((largest > need ? largest : need) + 4095) / 4096 * 4096;
}

int chopin_password_pool_init(chopin_password_pool *pool, const chopin_password_options *options) {
    size_t all;
    memset(pool, 0, sizeof *pool);
    int rc = chopin_auth__jwt_config(&pool->problem, chopin_auth__pool_problem(options));
    if (rc < 0) return rc;
    pool->o = *options;
    chopin_auth__pool_resolve(pool);
    if (chopin_auth__pw_limits(&pool->o.params) < 0) return chopin_auth__jwt_config(&pool->problem, "params: the default needs Argon2, which was left out");
    if (pool->o.memory) {                                                // the caller's: as much as each arena gets
        pool->arena_size = pool->o.memory_size / (size_t)pool->o.arenas / 64 * 64;
        pool->memory = pool->o.memory;
        bool fits = (uintptr_t)pool->memory % 64 == 0 && pool->arena_size >= chopin_auth__pw_arena(&pool->o.params);
        return chopin_auth__jwt_config(&pool->problem, fits ? NULL : "memory must be aligned to 64 and hold an arena for each of arenas");
    }
    if (!chopin_auth__mul_ok(pool->arena_size, (size_t)pool->o.arenas, &all)) return CHOPIN_AUTH_MEMORY;
    rc = chopin_auth__pool_map(pool, all, chopin_auth__pw_arena(&pool->o.params));
    if (rc < 0) chopin_password_pool_done(pool);
    return rc;
}

void chopin_password_pool_done(chopin_password_pool *pool) {
    if (pool->mapped) munmap(pool->memory, pool->mapped);
    chopin_auth_wipe(pool, sizeof *pool);
}

/* ---- one hash ---- */

static CHOPIN_AUTH__UNUSED const chopin_auth_pepper *chopin_auth__pw_pepper(const chopin_password_options *o, const chopin_auth__pw *h) {
    for (size_t i = 0; i < o->peppers_count; i++) {
        if (chopin_auth__same(o->peppers[i].id, chopin_auth__str(h->keyid, h->keyid_len))) return &o->peppers[i];
    }
    return NULL;
}

/* bcrypt stops at 72 bytes and at a NUL: instead of comparing less than was typed, we refuse. */
static int chopin_auth__pw_bcrypt_fits(const chopin_password_options *o, chopin_str *password) {
    if (chopin_auth__has_nul(*password)) return CHOPIN_AUTH_FORMAT;
    if (password->len <= 72) return 0;
    if (!o->bcrypt_truncate) return CHOPIN_AUTH_SIZE;
    password->len = 72;
    return 0;
}

static int chopin_auth__pw_derive(const chopin_password_options *o, const chopin_auth__pw *h, chopin_str password, uint8_t *tag, void *arena, size_t size) {
    chopin_str salt = chopin_auth__str(h->salt, h->salt_len);
    (void)o; (void)arena; (void)size;
    switch (h->p.kind) {
#ifndef CHOPIN_AUTH_NO_ARGON2
    case CHOPIN_AUTH_PW_ARGON2ID: case CHOPIN_AUTH_PW_ARGON2I: {
        const chopin_auth_pepper *pepper = h->keyid_len ? chopin_auth__pw_pepper(o, h) : NULL;
        chopin_argon2_options a = { .kind = h->p.kind == CHOPIN_AUTH_PW_ARGON2I ? CHOPIN_AUTH_ARGON2I : CHOPIN_AUTH_ARGON2ID, .m_kib = h->p.m_kib, .t = h->p.t, .p = h->p.p };
        if (h->keyid_len && !pepper) return CHOPIN_AUTH_MISMATCH;
        if (pepper) a.secret = pepper->secret;
        return chopin_argon2_raw(&a, password, salt, tag, h->tag_len, arena, size);
    }
#endif
#ifndef CHOPIN_AUTH_NO_SCRYPT
    case CHOPIN_AUTH_PW_SCRYPT: return chopin_scrypt_raw(password, salt, h->p.log_n, h->p.r, h->p.p, tag, h->tag_len, arena, size);
#endif
#ifndef CHOPIN_AUTH_NO_BCRYPT
    case CHOPIN_AUTH_PW_BCRYPT: return chopin_bcrypt_raw(password, h->salt, h->p.rounds, tag, arena, size);
#endif
    case CHOPIN_AUTH_PW_PBKDF2_SHA256: return chopin_pbkdf2_raw(CHOPIN_AUTH_SHA256, password, salt, h->p.rounds, tag, h->tag_len);
    case CHOPIN_AUTH_PW_PBKDF2_SHA512: return chopin_pbkdf2_raw(CHOPIN_AUTH_SHA512, password, salt, h->p.rounds, tag, h->tag_len);
    default: return CHOPIN_AUTH_ARG;
    }
}

static void *chopin_auth__pool_arena(chopin_password_pool *pool, int arena) { return pool->memory + (size_t)arena * pool->arena_size; }

/* Computes the tag of `h` into tag, in an arena that was taken. */
static int chopin_auth__pw_compute(chopin_password_pool *pool, int arena, const chopin_auth__pw *h, chopin_str password, uint8_t tag[CHOPIN_AUTH__PW_TAG]) {
    size_t need = chopin_auth__pw_arena(&h->p);
    if (need > pool->arena_size) return CHOPIN_AUTH_LIMIT;
    if (h->p.kind == CHOPIN_AUTH_PW_BCRYPT) {
        int rc = chopin_auth__pw_bcrypt_fits(&pool->o, &password);
        if (rc < 0) return rc;
    }
    int rc = chopin_auth__pw_derive(&pool->o, h, password, tag, chopin_auth__pool_arena(pool, arena), pool->arena_size);
    if (rc == 0) atomic_fetch_add_explicit(&pool->hashes, 1, memory_order_relaxed);
    return rc;
}

/* Today's parameters, salt fresh, tag still to be computed. */
static int chopin_auth__pw_today(const chopin_password_pool *pool, chopin_auth__pw *h) {
    memset(h, 0, sizeof *h);
    h->p = pool->o.params;
    h->salt_len = 16;
    h->tag_len = h->p.kind == CHOPIN_AUTH_PW_BCRYPT ? 23 : h->p.kind == CHOPIN_AUTH_PW_PBKDF2_SHA512 ? 64 : 32;
    if (pool->o.peppers_count) {
        h->keyid_len = pool->o.peppers[0].id.len;
        memcpy(h->keyid, pool->o.peppers[0].id.ptr, h->keyid_len);
    }
    return chopin_auth_random(h->salt, 16);
}

static int chopin_auth__pw_new(chopin_password_pool *pool, int arena, chopin_str password, char *out, size_t cap) {
    chopin_auth__pw h;
    int rc = chopin_auth__pw_today(pool, &h);
    if (rc == 0 && h.p.kind == CHOPIN_AUTH_PW_BCRYPT && password.len > 72) rc = CHOPIN_AUTH_SIZE;   // a new hash never cuts
    if (rc == 0) rc = chopin_auth__pw_compute(pool, arena, &h, password, h.tag);
    if (rc == 0) rc = chopin_auth__pw_format(&h, out, cap);
    chopin_auth_wipe(&h, sizeof h);
    return rc;
}

/* What a refusal costs: today's hash of nothing in particular. */
static void chopin_auth__pw_dummy(chopin_password_pool *pool, int arena) {
    chopin_auth__pw h;
    memset(&h, 0, sizeof h);
    if (chopin_auth__pw_today(pool, &h) < 0) memset(h.salt, 1, 16);      // the result is thrown away
    if (chopin_auth__pw_compute(pool, arena, &h, CHOPIN_STR("nobody's"), h.tag) < 0) h.tag[0] = 0;
    chopin_auth_wipe(&h, sizeof h);
}

/* ---- verifying ---- */

/* 0, or why not; *computed: a hash of the stored parameters was made. */
static int chopin_auth__pw_matches(chopin_password_pool *pool, int arena, const chopin_auth__pw *h, chopin_str password, bool *computed) {
    uint8_t tag[CHOPIN_AUTH__PW_TAG];
    int rc = chopin_auth__pw_compute(pool, arena, h, password, tag);
    *computed = rc == 0;
    if (rc == 0 && !chopin_auth_equal(tag, h->tag, h->tag_len)) rc = CHOPIN_AUTH_MISMATCH;
    chopin_auth_wipe(tag, sizeof tag);
    return rc == CHOPIN_AUTH_FORMAT || rc == CHOPIN_AUTH_SIZE ? CHOPIN_AUTH_MISMATCH : rc;      // bcrypt's refusals
}

static bool chopin_auth__pw_weaker(const chopin_password_pool *pool, const chopin_auth__pw *h) {
    const chopin_password_params *a = &h->p, *b = &pool->o.params;
    if (a->kind != b->kind || h->salt_len < 16 || (h->p.kind != CHOPIN_AUTH_PW_BCRYPT && h->tag_len < 32)) return true;
    if (pool->o.peppers_count && !chopin_auth__same(chopin_auth__str(h->keyid, h->keyid_len), pool->o.peppers[0].id)) return true;
    if (chopin_auth__pw_is_argon2(a->kind)) return a->m_kib < b->m_kib || a->t < b->t || a->p < b->p;
    if (a->kind == CHOPIN_AUTH_PW_SCRYPT) return a->log_n < b->log_n || a->r < b->r || a->p < b->p;
    return a->rounds < b->rounds;
}

/* 0, 1: right but weak, or the refusal. Exactly one hash is computed whatever happens, unless the refusal is BUSY. */
static int chopin_auth__pw_verify(chopin_password_pool *pool, int arena, chopin_str stored, chopin_str password) {
    chopin_auth__pw h;
    bool computed = false;
    int  rc = stored.len ? chopin_auth__pw_parse(stored, &h) : CHOPIN_AUTH_MISMATCH;
    if (rc == CHOPIN_AUTH_UNSUPPORTED) rc = CHOPIN_AUTH_HASH;
    if (rc == 0 && (password.len == 0 || password.len > pool->o.max_bytes)) rc = CHOPIN_AUTH_MISMATCH;
    if (rc == 0) rc = chopin_auth__pw_matches(pool, arena, &h, password, &computed);
    if (!computed) chopin_auth__pw_dummy(pool, arena);
    if (rc == 0 && chopin_auth__pw_weaker(pool, &h)) rc = 1;
    if (stored.len) chopin_auth_wipe(&h, sizeof h);
    return rc;
}

int chopin_password_verify(chopin_password_pool *pool, chopin_str stored, chopin_str password) {
    int arena = pool->arena_size ? chopin_auth__pool_take(pool) : CHOPIN_AUTH_CONFIG;
    if (arena < 0) return arena;
    int rc = chopin_auth__pw_verify(pool, arena, stored, password);
    chopin_auth__pool_give(pool, arena);
    return rc > 0 ? 0 : rc;
}

int chopin_password_login(chopin_password_pool *pool, chopin_str stored, chopin_str password, char new_hash[CHOPIN_AUTH_PW_TEXT]) {
    int arena = pool->arena_size ? chopin_auth__pool_take(pool) : CHOPIN_AUTH_CONFIG;
    memset(new_hash, 0, CHOPIN_AUTH_PW_TEXT);
    if (arena < 0) return arena;
    int rc = chopin_auth__pw_verify(pool, arena, stored, password);
    if (rc == 1) {
        rc = chopin_auth__pw_new(pool, arena, password, new_hash, CHOPIN_AUTH_PW_TEXT);
        if (rc < 0) rc = 0, memset(new_hash, 0, CHOPIN_AUTH_PW_TEXT);
    }
    chopin_auth__pool_give(pool, arena);
    return rc;
}

int chopin_password_hash(chopin_password_pool *pool, chopin_str password, char *out, size_t cap) {
    if (!pool->arena_size) return CHOPIN_AUTH_CONFIG;
    if (password.len < pool->o.min_bytes || password.len > pool->o.max_bytes) return CHOPIN_AUTH_SIZE;
    if (pool->o.params.kind == CHOPIN_AUTH_PW_BCRYPT && password.len > 72) return CHOPIN_AUTH_SIZE;
    if (pool->o.params.kind == CHOPIN_AUTH_PW_BCRYPT && chopin_auth__has_nul(password)) return CHOPIN_AUTH_FORMAT;
    int rc = pool->o.breached ? pool->o.breached(pool->o.breached_ctx, password) : 0;
    if (rc != 0) return rc < 0 ? rc : CHOPIN_AUTH_FORBIDDEN;
    int arena = chopin_auth__pool_take(pool);
    if (arena < 0) return arena;
    rc = chopin_auth__pw_new(pool, arena, password, out, cap);
    chopin_auth__pool_give(pool, arena);
    return rc;
}

/* ==========================================================================================================
   >>otp   one-time passwords by counter (RFC 4226) and by time (RFC 6238); recovery codes
   A verified code is a step that is spent: without the last accepted step there is no verifying.
   ========================================================================================================== */

#define CHOPIN_AUTH__OTP_SECRET_MAX 128

static int chopin_auth__otp_digits(chopin_auth_hash hash, size_t secret, int digits) {
    if (!chopin_auth__hash_size(hash) || digits < 6 || digits > 8) return CHOPIN_AUTH_ARG;
    return secret < 16 ? CHOPIN_AUTH_WEAK_KEY : 0;
}

/* The code of one counter, as `digits` characters. */
static void chopin_auth__otp_code(const chopin_hmac *key, uint64_t counter, int digits, char *out) {
    uint8_t moving[8], mac[CHOPIN_AUTH_HASH_MAX];
    chopin_auth__store64be(moving, counter);
    chopin_hmac_sign(key, chopin_auth__str(moving, sizeof moving), mac);
    uint32_t at = mac[chopin_auth__hash_size(key->hash) - 1] & 15, word = 0;
    for (uint32_t i = 0; i < 16 + 4 && i < sizeof mac; i++) {            // all candidates are read: the offset is secret
        word = word << 8 | mac[i];
        uint32_t here = chopin_auth__mask_equal32(i, at + 3);
        moving[0] = (uint8_t)chopin_auth__select32(here, word >> 24 & 0x7f, moving[0]);
        moving[1] = (uint8_t)chopin_auth__select32(here, word >> 16 & 0xff, moving[1]);
        moving[2] = (uint8_t)chopin_auth__select32(here, word >> 8 & 0xff, moving[2]);
        moving[3] = (uint8_t)chopin_auth__select32(here, word & 0xff, moving[3]);
    }
    uint32_t value = chopin_auth__load32be(moving);
    for (int i = digits; i-- > 0; value /= 10) out[i] = (char)('0' + value % 10);      // by a constant: a multiplication
    chopin_auth_wipe(mac, sizeof mac);
    chopin_auth_wipe(moving, sizeof moving);
}

int chopin_hotp_at(chopin_auth_hash hash, chopin_str secret, uint64_t counter, int digits, char out[9]) {
    chopin_hmac key;
    int rc = chopin_auth__otp_digits(hash, secret.len, digits);
    memset(out, 0, 9);
    if (rc < 0) return rc;
    chopin_auth__hmac_key(&key, hash, secret);
    chopin_auth__otp_code(&key, counter, digits, out);
    chopin_hmac_done(&key);
    return 0;
}

/* Digits only, as many as asked for. */
static bool chopin_auth__otp_form(chopin_str code, int digits) {
    if (code.len != (size_t)digits) return false;
    for (size_t i = 0; i < code.len; i++) {
        if (code.ptr[i] < '0' || code.ptr[i] > '9') return false;
    }
    return true;
}

/* Compares `code` with that of each counter from `first` on; every one is computed. The last that fits (or UINT64_MAX) and how many fit above `last`. */
static uint64_t chopin_auth__otp_search(const chopin_hmac *key, chopin_str code, uint64_t first, int count, uint64_t *hits) {
    uint64_t found = UINT64_MAX;
    char ours[9] = { 0 };
    *hits = 0;
    for (int i = 0; i < count; i++) {
        chopin_auth__otp_code(key, first + (uint64_t)i, (int)code.len, ours);
        bool same = chopin_auth_equal(ours, code.ptr, code.len);
        *hits |= (uint64_t)same << i;
        found = same ? first + (uint64_t)i : found;
    }
    chopin_auth_wipe(ours, sizeof ours);
    return found;
}

int chopin_hotp_verify(chopin_auth_hash hash, chopin_str secret, chopin_str code, int ahead, uint64_t *counter) {
    chopin_hmac key;
    uint64_t hits;
    int rc = chopin_auth__otp_digits(hash, secret.len, code.len >= 6 && code.len <= 8 ? (int)code.len : 6);
    if (rc < 0) return rc;
    if (ahead < 0 || ahead > 50) return CHOPIN_AUTH_ARG;
    if (!chopin_auth__otp_form(code, (int)chopin_auth__min(code.len, 8)) || code.len < 6) return CHOPIN_AUTH_FORMAT;
    chopin_auth__hmac_key(&key, hash, secret);
    uint64_t found = chopin_auth__otp_search(&key, code, *counter, ahead + 1, &hits);
    chopin_hmac_done(&key);
    if (!hits) return CHOPIN_AUTH_MISMATCH;
    *counter = found + 1;
    return 0;
}

/* ---- by time ---- */

static int chopin_auth__totp_resolve(const chopin_totp_options *given, chopin_totp_options *o) {
    *o = given ? *given : (chopin_totp_options){ (chopin_auth_hash)0, 0, 0, 0 };
    if (!o->hash) o->hash = CHOPIN_AUTH_SHA1;
    if (!o->digits) o->digits = 6;
    if (!o->period_s) o->period_s = 30;
    o->window = o->window == 0 ? 1 : o->window < 0 ? 0 : o->window;
    return o->period_s < 0 || o->window > 2 ? CHOPIN_AUTH_ARG : 0;
}

/* Options, secret and digits checked; the key made. */
static int chopin_auth__totp_key(const chopin_totp_options *given, chopin_str secret, chopin_totp_options *o, chopin_hmac *key) {
    uint8_t bytes[CHOPIN_AUTH__OTP_SECRET_MAX];
    int rc = chopin_auth__totp_resolve(given, o);
    memset(key, 0, sizeof *key);
    int n = rc == 0 ? chopin_base32_decode(secret, bytes, sizeof bytes) : rc;
    if (n == CHOPIN_AUTH_BUFFER) n = CHOPIN_AUTH_SIZE;
    if (n >= 0) rc = chopin_auth__otp_digits(o->hash, (size_t)n, o->digits);
    if (n >= 0 && rc == 0) chopin_auth__hmac_key(key, o->hash, chopin_auth__str(bytes, (size_t)n));
    chopin_auth_wipe(bytes, sizeof bytes);
    return n < 0 ? n : rc;
}

int chopin_totp_at(const chopin_totp_options *given, chopin_str secret, int64_t now, char out[9]) {
    chopin_totp_options o;
    chopin_hmac key;
    memset(out, 0, 9);
    int rc = now < 0 ? CHOPIN_AUTH_ARG : chopin_auth__totp_key(given, secret, &o, &key);
    if (rc < 0) return rc;
    chopin_auth__otp_code(&key, (uint64_t)(now / o.period_s), o.digits, out);
    chopin_hmac_done(&key);
    return 0;
}

/* Steps above the last accepted one are welcome; a right code at or below it was used before. */
int chopin_totp_verify(const chopin_totp_options *given, chopin_str secret, chopin_str code, int64_t now, int64_t *step) {
    chopin_totp_options o;
    chopin_hmac key;
    uint64_t hits;
    int rc = now < 0 || *step < 0 ? CHOPIN_AUTH_ARG : chopin_auth__totp_key(given, secret, &o, &key);
    if (rc < 0) return rc;
    int64_t first = now / o.period_s - o.window;
    if (first < 0) first = 0;
    rc = chopin_auth__otp_form(code, o.digits) ? 0 : CHOPIN_AUTH_FORMAT;
    if (rc == 0) {
        int64_t found = (int64_t)chopin_auth__otp_search(&key, code, (uint64_t)first, 2 * o.window + 1, &hits);
        rc = !hits ? CHOPIN_AUTH_MISMATCH : found <= *step ? CHOPIN_AUTH_REPLAY : 0;
        if (rc == 0) *step = found;
    }
    chopin_hmac_done(&key);
    return rc;
}

int chopin_totp_secret(char out[CHOPIN_AUTH_TOTP_SECRET]) {
    uint8_t random[20];
    int rc = chopin_auth_random(random, sizeof random);
    memset(out, 0, CHOPIN_AUTH_TOTP_SECRET);
    if (rc == 0) rc = chopin_base32_encode(chopin_auth__str(random, sizeof random), out, CHOPIN_AUTH_TOTP_SECRET);
    chopin_auth_wipe(random, sizeof random);
    return rc < 0 ? rc : 0;
}

int chopin_totp_uri(chopin_str issuer, chopin_str account, const char *secret, char *out, size_t cap) {
    chopin_auth__text t = { out, cap, 0 };
    chopin_str text = chopin_auth__str(secret, strlen(secret));
    uint8_t bytes[CHOPIN_AUTH__OTP_SECRET_MAX];
    int n = chopin_base32_decode(text, bytes, sizeof bytes);
    chopin_auth_wipe(bytes, sizeof bytes);
    if (n < 16) return n < 0 ? CHOPIN_AUTH_FORMAT : CHOPIN_AUTH_WEAK_KEY;
    if (!issuer.len || !account.len || memchr(issuer.ptr, ':', issuer.len) || memchr(account.ptr, ':', account.len)) return CHOPIN_AUTH_ARG;
    chopin_auth__text_z(&t, "otpauth://totp/");
    chopin_auth__text_percent(&t, issuer);
    chopin_auth__text_z(&t, ":");
    chopin_auth__text_percent(&t, account);
    chopin_auth__text_z(&t, "?secret=");
    chopin_auth__text_add(&t, text);
    chopin_auth__text_z(&t, "&issuer=");
    chopin_auth__text_percent(&t, issuer);
    chopin_auth__text_z(&t, "&algorithm=SHA1&digits=6&period=30");
    return chopin_auth__text_end(&t);
}

/* ---- recovery codes: ten bytes each; what is stored is a hash of user and bytes ---- */
#define CHOPIN_AUTH__RECOVERY_BYTES 10
#define CHOPIN_AUTH__RECOVERY_TTL   (INT64_C(3650) * 86400)

static void chopin_auth__recovery_id(chopin_str user, const uint8_t bytes[CHOPIN_AUTH__RECOVERY_BYTES], uint8_t id[32]) {
    chopin_auth__digest("chopin recovery", user, chopin_auth__str(bytes, CHOPIN_AUTH__RECOVERY_BYTES), (chopin_str){ NULL, 0 }, id);
}

/* One code: its text in `out`, its record in the store. */
static int chopin_auth__recovery_make(const chopin_auth_store *s, chopin_str user, int64_t now, char out[CHOPIN_AUTH_RECOVERY_TEXT]) {
    uint8_t bytes[CHOPIN_AUTH__RECOVERY_BYTES];
    char    text[16];
    chopin_auth_record r;
    int rc = chopin_auth__record(&r, CHOPIN_AUTH_RECOVERY, user, (chopin_str){ NULL, 0 }, now, CHOPIN_AUTH__RECOVERY_TTL);
    if (rc == 0) rc = chopin_auth_random(bytes, sizeof bytes);
    if (rc == 0) rc = chopin_base32_encode(chopin_auth__str(bytes, sizeof bytes), text, sizeof text);
    if (rc < 0) return rc;
    for (size_t i = 0, at = 0; i < 16; i++) {
        if (i && i % 4 == 0) out[at++] = '-';
        out[at++] = text[i];
    }
    out[CHOPIN_AUTH_RECOVERY_TEXT - 1] = 0;
    chopin_auth__recovery_id(user, bytes, r.id);
    memcpy(r.family, r.id, 32);
    chopin_auth_wipe(bytes, sizeof bytes);
    chopin_auth_wipe(text, sizeof text);
    return chopin_auth__put(s, &r, now);
}

int chopin_auth_recovery_new(const chopin_auth_store *s, chopin_str user, int64_t now, char out[CHOPIN_AUTH_RECOVERY_CODES][CHOPIN_AUTH_RECOVERY_TEXT]) {
    uint8_t owner[32];
    memset(out, 0, (size_t)CHOPIN_AUTH_RECOVERY_CODES * CHOPIN_AUTH_RECOVERY_TEXT);
    if (!chopin_auth__store_ok(s)) return CHOPIN_AUTH_CONFIG;
    if (!user.len) return CHOPIN_AUTH_ARG;
    chopin_auth__owner(user, owner);
    int rc = chopin_auth__drop(s, owner, CHOPIN_AUTH_RECOVERY);
    for (int i = 0; rc == 0 && i < CHOPIN_AUTH_RECOVERY_CODES; i++) rc = chopin_auth__recovery_make(s, user, now, out[i]);
    if (rc < 0) chopin_auth_wipe(out, (size_t)CHOPIN_AUTH_RECOVERY_CODES * CHOPIN_AUTH_RECOVERY_TEXT);
    return rc;
}

/* Sixteen base32 characters out of what somebody typed. */
static int chopin_auth__recovery_read(chopin_str code, uint8_t bytes[CHOPIN_AUTH__RECOVERY_BYTES]) {
    char   text[16];
    size_t n = 0;
    for (size_t i = 0; i < code.len; i++) {
        char ch = code.ptr[i];
        if (ch == '-' || ch == ' ') continue;
        if (n == sizeof text) return CHOPIN_AUTH_FORMAT;
        text[n++] = ch >= 'a' && ch <= 'z' ? (char)(ch - 'a' + 'A') : ch;
    }
    int rc = n == sizeof text ? chopin_base32_decode(chopin_auth__str(text, n), bytes, CHOPIN_AUTH__RECOVERY_BYTES) : CHOPIN_AUTH_FORMAT;
    chopin_auth_wipe(text, sizeof text);
    return rc < 0 ? CHOPIN_AUTH_FORMAT : 0;
}

int chopin_auth_recovery_use(const chopin_auth_store *s, chopin_str user, chopin_str code, int64_t now) {
    uint8_t bytes[CHOPIN_AUTH__RECOVERY_BYTES], id[32];
    chopin_auth_record r;
    if (!chopin_auth__store_ok(s)) return CHOPIN_AUTH_CONFIG;
    if (code.len > 64) return CHOPIN_AUTH_FORMAT;
    int rc = chopin_auth__recovery_read(code, bytes);
    if (rc < 0) return rc;
    chopin_auth__recovery_id(user, bytes, id);
    chopin_auth_wipe(bytes, sizeof bytes);
    rc = chopin_auth__get(s, id, now, &r);
    if (rc <= 0) return rc < 0 ? rc : CHOPIN_AUTH_MISMATCH;
    if (r.kind != CHOPIN_AUTH_RECOVERY) return CHOPIN_AUTH_MISMATCH;
    rc = chopin_auth__swap(s, id, now, NULL);                            // of two at the same time one wins
    return rc == 1 ? 0 : rc == 0 ? CHOPIN_AUTH_REPLAY : rc;
}

/* ==========================================================================================================
   >>roles   permissions as bits, roles as closed sets of them
   ========================================================================================================== */

static void chopin_auth__mask_set(chopin_auth_mask *m, int bit) { m->bits[bit / 64] |= UINT64_C(1) << (bit % 64); }
static void chopin_auth__mask_add(chopin_auth_mask *m, const chopin_auth_mask *other) {
    m->bits[0] |= other->bits[0];
    m->bits[1] |= other->bits[1];
}

bool chopin_auth_can(const chopin_auth_mask *mask, int permission) {
    return permission >= 0 && permission < CHOPIN_AUTH_PERMISSIONS_MAX && (mask->bits[permission / 64] >> (permission % 64) & 1);
}

/* A word that can stand in a scope, once in its list. */
static bool chopin_auth__roles_word(const chopin_auth_role_row *rows, int at) {
    const char *text = rows[at].text;
    if (!*text || strpbrk(text, " *\"\\\t\r\n")) return false;
    for (int i = 0; i < at; i++) {
        if (strcmp(rows[i].text, text) == 0) return false;
    }
    return true;
}

/* What role `at` lists, with what the roles in it have by now. False: it lists what is neither. */
static bool chopin_auth__roles_gather(const chopin_auth_roles *r, int at, chopin_auth_mask *mask) {
    for (const short *has = r->roles[at].has; *has >= 0; has++) {
        int role = *has - CHOPIN_AUTH__ROLES_FIRST;
        if (role >= 0 && role < r->roles_count) chopin_auth__mask_add(mask, &r->closed[role]);
        else if (*has < r->permissions_count)   chopin_auth__mask_set(mask, *has);
        else return false;
    }
    return true;
}

/* Can `from` be reached from itself? Depth-first would recurse: instead a role is done once all it lists is; what never gets done is in a cycle. */
static bool chopin_auth__roles_acyclic(const chopin_auth_roles *r) {
    uint64_t done[4] = { 0 };
    for (int round = 0, left = r->roles_count; left > 0; round++) {
        int before = left;
        for (int i = 0; i < r->roles_count; i++) {
            bool ready = !(done[i / 64] >> (i % 64) & 1);
            for (const short *has = r->roles[i].has; ready && *has >= 0; has++) {
                int role = *has - CHOPIN_AUTH__ROLES_FIRST;
                if (role >= 0 && role < r->roles_count) ready = done[role / 64] >> (role % 64) & 1;
            }
            if (ready) done[i / 64] |= UINT64_C(1) << (i % 64), left--;
        }
        if (left == before) return false;
    }
    return true;
}

int chopin_auth_roles_init(chopin_auth_roles *r) {
    r->ready = false;
    if (r->permissions_count > CHOPIN_AUTH_PERMISSIONS_MAX || r->roles_count > 256) return CHOPIN_AUTH_CONFIG;
    for (int i = 0; i < r->permissions_count; i++) {
        if (!chopin_auth__roles_word(r->permissions, i)) return CHOPIN_AUTH_CONFIG;
    }
    for (int i = 0; i < r->roles_count; i++) {
        if (!chopin_auth__roles_word(r->roles, i)) return CHOPIN_AUTH_CONFIG;
        r->closed[i] = (chopin_auth_mask){ { 0, 0 } };
    }
    if (!chopin_auth__roles_acyclic(r)) return CHOPIN_AUTH_CONFIG;
    for (int round = 0; round < r->roles_count; round++) {               // each round closes one more level
        for (int i = 0; i < r->roles_count; i++) {
            if (!chopin_auth__roles_gather(r, i, &r->closed[i])) return CHOPIN_AUTH_CONFIG;
        }
    }
    r->ready = true;
    return 0;
}

bool chopin_auth_roles_role(const chopin_auth_roles *r, chopin_str text, chopin_auth_mask *mask) {
    for (int i = 0; r->ready && i < r->roles_count; i++) {
        if (!chopin_auth__is(text, r->roles[i].text)) continue;
        chopin_auth__mask_add(mask, &r->closed[i]);
        return true;
    }
    return false;
}

bool chopin_auth_roles_permission(const chopin_auth_roles *r, chopin_str text, chopin_auth_mask *mask) {
    bool wild = text.len > 2 && text.ptr[text.len - 1] == '*' && text.ptr[text.len - 2] == ':', hit = false;
    for (int i = 0; r->ready && i < r->permissions_count; i++) {
        const char *known = r->permissions[i].text;
        if (wild ? strncmp(known, text.ptr, text.len - 1) != 0 : !chopin_auth__is(text, known)) continue;
        chopin_auth__mask_set(mask, i);
        hit = true;
    }
    return hit;
}

/* ---- from claims ---- */

static void chopin_auth__roles_one(const chopin_auth_roles *r, bool role, chopin_str word, chopin_auth_mask *mask) {
    if (role) (void)chopin_auth_roles_role(r, word, mask);
    else      (void)chopin_auth_roles_permission(r, word, mask);
}

/* Words with blanks between them. */
static void chopin_auth__roles_words(const chopin_auth_roles *r, bool role, chopin_str text, chopin_auth_mask *mask) {
    while (text.len > 0) {
        const char *blank = memchr(text.ptr, ' ', text.len);
        size_t n = blank ? (size_t)(blank - text.ptr) : text.len;
        if (n) chopin_auth__roles_one(r, role, chopin_auth__str(text.ptr, n), mask);
        n += blank != NULL;
        text = chopin_auth__str(text.ptr + n, text.len - n);
    }
}

/* A list of strings, each one word. What is no string grants nothing; a word too long for the room neither, nor what follows it. */
static void chopin_auth__roles_list(const chopin_auth_roles *r, bool role, chopin_str text, chopin_auth_mask *mask) {
    char room[256];
    chopin_auth__json list;
    chopin_auth__json_value item;
    if (chopin_auth__json_array(&list, text, room, sizeof room) < 0) return;
    while (chopin_auth__json_next(&list, &item) == 1) {
        if (item.type == CHOPIN_AUTH__JSON_STRING && item.text.len) chopin_auth__roles_one(r, role, item.text, mask);
        list.room = (uint8_t *)room;                                     // each word is forgotten again
    }
}

chopin_auth_mask chopin_auth_roles_grants(const chopin_auth_roles *r, const chopin_jwt *token) {
    static const char *const names[] = { "roles", "scope", "scp", "permissions" };
    chopin_auth_mask mask = { { 0, 0 } };
    chopin_auth__json_value v;
    for (size_t i = 0; i < CHOPIN_AUTH__COUNT(names); i++) {
        if (!chopin_auth__jwt_find(token, names[i], &v)) continue;
        if (v.type == CHOPIN_AUTH__JSON_STRING) chopin_auth__roles_words(r, i == 0, v.text, &mask);
        if (v.type == CHOPIN_AUTH__JSON_ARRAY)  chopin_auth__roles_list(r, i == 0, v.text, &mask);
    }
    return mask;
}

/* ==========================================================================================================
   >>seal   signed and sealed cookies
   Text is base64url of: version, key id, expiry (8 bytes), then value and HMAC-SHA-256, or nonce, encrypted value and tag. Name and purpose are in the
   key: each pair has one of its own, made by HKDF, so a value is good for nothing under another name.
   ========================================================================================================== */

#define CHOPIN_AUTH__SEAL_HEAD  10
#define CHOPIN_AUTH__SEAL_BYTES (CHOPIN_AUTH__SEAL_HEAD + 24 + CHOPIN_AUTH_COOKIE_VALUE + 32)
enum { CHOPIN_AUTH__SEAL_SIGNED = 1, CHOPIN_AUTH__SEAL_SEALED = 2, CHOPIN_AUTH__SEAL_CSRF = 3 };

int chopin_auth_cookie_ring_init(chopin_auth_cookie_ring *ring, const chopin_auth_cookie_key *keys, int count) {
    memset(ring, 0, sizeof *ring);
    int rc = keys && count >= 1 && count <= CHOPIN_AUTH_COOKIE_KEYS ? 0 : CHOPIN_AUTH_CONFIG;
    for (int i = 0; rc == 0 && i < count; i++) {
        for (int k = 0; k < i; k++) rc = keys[k].id == keys[i].id ? CHOPIN_AUTH_CONFIG : rc;
        if (rc == 0 && keys[i].secret.len < 32) rc = CHOPIN_AUTH_WEAK_KEY;
        if (rc == 0) rc = chopin_hkdf_extract(CHOPIN_AUTH_SHA256, CHOPIN_STR("chopin cookie ring"), keys[i].secret, ring->key[i]);
        ring->id[i] = keys[i].id;
    }
    ring->count = rc == 0 ? count : 0;
    if (rc < 0) chopin_auth_wipe(ring, sizeof *ring);
    return rc;
}

void chopin_auth_cookie_ring_done(chopin_auth_cookie_ring *ring) { chopin_auth_wipe(ring, sizeof *ring); }

/* The key of one name, purpose and way of use. */
static int chopin_auth__seal_key(const uint8_t root[32], uint8_t version, chopin_str name, chopin_str purpose, uint8_t out[32]) {
    char info[160];
    chopin_auth__text t = { info, sizeof info, 0 };
    char lengths[3] = { (char)version, (char)name.len, (char)purpose.len };
    if (!name.len || name.len > 64 || purpose.len > 64) return CHOPIN_AUTH_ARG;
    chopin_auth__text_z(&t, "chopin cookie");
    chopin_auth__text_add(&t, chopin_auth__str(lengths, sizeof lengths));
    chopin_auth__text_add(&t, name);
    chopin_auth__text_add(&t, purpose);
    return chopin_hkdf_expand(CHOPIN_AUTH_SHA256, chopin_auth__str(root, 32), chopin_auth__str(info, t.n), out, 32);
}

/* The same as a MAC key. */
static int chopin_auth__seal_mac(const uint8_t root[32], uint8_t version, chopin_str name, chopin_str purpose, chopin_hmac *mac) {
    uint8_t key[32];
    int rc = chopin_auth__seal_key(root, version, name, purpose, key);
    if (rc == 0) rc = chopin_hmac_key(mac, CHOPIN_AUTH_SHA256, chopin_auth__str(key, sizeof key));
    chopin_auth_wipe(key, sizeof key);
    return rc;
}

static void chopin_auth__seal_head(const chopin_auth_cookie_ring *ring, uint8_t version, int64_t expires, uint8_t out[CHOPIN_AUTH__SEAL_HEAD]) {
    out[0] = version;
    out[1] = ring->id[0];
    chopin_auth__store64be(out + 2, (uint64_t)expires);
}

/* What every call that writes asks first. */
static int chopin_auth__seal_may(const chopin_auth_cookie_ring *ring, const chopin_auth_cookie *c, size_t value, size_t bytes, size_t cap) {
    if (ring->count < 1) return CHOPIN_AUTH_CONFIG;
    if (c->expires <= 0 || !c->name.len || c->name.len > 64 || c->purpose.len > 64) return CHOPIN_AUTH_ARG;
    if (value > CHOPIN_AUTH_COOKIE_VALUE) return CHOPIN_AUTH_SIZE;
    return chopin_base64url_size(bytes) < cap ? 0 : CHOPIN_AUTH_BUFFER;
}

static int chopin_auth__seal_text(const uint8_t *bytes, size_t n, char *out, size_t cap) {
    int rc = chopin_base64url_encode(chopin_auth__str(bytes, n), out, cap - 1);
    if (rc >= 0) out[rc] = 0;
    return rc;
}

int chopin_auth_cookie_sign(const chopin_auth_cookie_ring *ring, const chopin_auth_cookie *c, chopin_str value, char *out, size_t cap) {
    uint8_t bytes[CHOPIN_AUTH__SEAL_BYTES];
    chopin_hmac mac;
    size_t n = CHOPIN_AUTH__SEAL_HEAD + value.len;
    int rc = chopin_auth__seal_may(ring, c, value.len, n + 32, cap);
    if (rc == 0) rc = chopin_auth__seal_mac(ring->key[0], CHOPIN_AUTH__SEAL_SIGNED, c->name, c->purpose, &mac);
    if (rc < 0) return rc;
    chopin_auth__seal_head(ring, CHOPIN_AUTH__SEAL_SIGNED, c->expires, bytes);
    if (value.len) memcpy(bytes + CHOPIN_AUTH__SEAL_HEAD, value.ptr, value.len);
    chopin_hmac_sign(&mac, chopin_auth__str(bytes, n), bytes + n);
    chopin_hmac_done(&mac);
    return chopin_auth__seal_text(bytes, n + 32, out, cap);
}

int chopin_auth_cookie_seal(const chopin_auth_cookie_ring *ring, const chopin_auth_cookie *c, chopin_str value, char *out, size_t cap) {
    uint8_t bytes[CHOPIN_AUTH__SEAL_BYTES], key[32], *nonce = bytes + CHOPIN_AUTH__SEAL_HEAD, *text = nonce + 24;
    size_t n = CHOPIN_AUTH__SEAL_HEAD + 24 + value.len + 16;
    int rc = chopin_auth__seal_may(ring, c, value.len, n, cap);
    if (rc == 0) rc = chopin_auth__seal_key(ring->key[0], CHOPIN_AUTH__SEAL_SEALED, c->name, c->purpose, key);
    if (rc == 0) rc = chopin_auth_random(nonce, 24);
    if (rc < 0) return rc;
    chopin_auth__seal_head(ring, CHOPIN_AUTH__SEAL_SEALED, c->expires, bytes);
    chopin_auth__xchacha_seal(key, nonce, chopin_auth__str(bytes, CHOPIN_AUTH__SEAL_HEAD), value, text);
    rc = chopin_auth__seal_text(bytes, n, out, cap);
    chopin_auth_wipe(key, sizeof key);
    return rc;
}

/* ---- reading ---- */

/* Decodes and looks at the head: version, a key of the ring. Gives the number of bytes; *root is that key. */
static int chopin_auth__seal_read(const chopin_auth_cookie_ring *ring, uint8_t version, size_t least, chopin_str text, uint8_t bytes[CHOPIN_AUTH__SEAL_BYTES], const uint8_t **root) {
    if (ring->count < 1) return CHOPIN_AUTH_CONFIG;
    int n = text.len <= chopin_base64url_size(CHOPIN_AUTH__SEAL_BYTES) ? chopin_base64url_decode(text, bytes, CHOPIN_AUTH__SEAL_BYTES) : CHOPIN_AUTH_SIZE;
    if (n == CHOPIN_AUTH_BUFFER) return CHOPIN_AUTH_SIZE;
    if (n < 0) return n;
    if ((size_t)n < least || bytes[0] != version) return CHOPIN_AUTH_FORMAT;
    for (int i = 0; i < ring->count; i++) {
        if (ring->id[i] == bytes[1]) { *root = ring->key[i]; return n; }
    }
    return CHOPIN_AUTH_KEY_ID;
}

/* After the MAC was good: the expiry, against c->expires, which is now. */
static int chopin_auth__seal_fresh(const chopin_auth_cookie *c, const uint8_t *bytes) {
    return c->expires >= 0 && chopin_auth__load64be(bytes + 2) > (uint64_t)c->expires ? 0 : CHOPIN_AUTH_EXPIRED;
}

int chopin_auth_cookie_open(const chopin_auth_cookie_ring *ring, const chopin_auth_cookie *c, chopin_str text, char *out, size_t cap) {
    uint8_t bytes[CHOPIN_AUTH__SEAL_BYTES];
    const uint8_t *root;
    chopin_hmac mac;
    int n = chopin_auth__seal_read(ring, CHOPIN_AUTH__SEAL_SIGNED, CHOPIN_AUTH__SEAL_HEAD + 32, text, bytes, &root);
    if (n < 0) return n;
    size_t covered = (size_t)n - 32, value = covered - CHOPIN_AUTH__SEAL_HEAD;
    int rc = chopin_auth__seal_mac(root, CHOPIN_AUTH__SEAL_SIGNED, c->name, c->purpose, &mac);
    if (rc < 0) return rc;
    rc = chopin_hmac_check(&mac, chopin_auth__str(bytes, covered), chopin_auth__str(bytes + covered, 32));
    chopin_hmac_done(&mac);
    if (rc == 0) rc = chopin_auth__seal_fresh(c, bytes);
    if (rc == 0 && value > cap) rc = CHOPIN_AUTH_BUFFER;
    if (rc == 0 && value) memcpy(out, bytes + CHOPIN_AUTH__SEAL_HEAD, value);
    return rc < 0 ? rc : (int)value;
}

int chopin_auth_cookie_unseal(const chopin_auth_cookie_ring *ring, const chopin_auth_cookie *c, chopin_str text, char *out, size_t cap) {
    uint8_t bytes[CHOPIN_AUTH__SEAL_BYTES], key[32], *nonce = bytes + CHOPIN_AUTH__SEAL_HEAD, *sealed = nonce + 24;
    const uint8_t *root;
    int n = chopin_auth__seal_read(ring, CHOPIN_AUTH__SEAL_SEALED, CHOPIN_AUTH__SEAL_HEAD + 24 + 16, text, bytes, &root);
    if (n < 0) return n;
    size_t size = (size_t)n - CHOPIN_AUTH__SEAL_HEAD - 24, value = size - 16;
    int rc = chopin_auth__seal_key(root, CHOPIN_AUTH__SEAL_SEALED, c->name, c->purpose, key);
    if (rc == 0) rc = chopin_auth__xchacha_open(key, nonce, chopin_auth__str(bytes, CHOPIN_AUTH__SEAL_HEAD), chopin_auth__str(sealed, size), sealed);
    if (rc == 0) rc = chopin_auth__seal_fresh(c, bytes);
    if (rc == 0 && value > cap) rc = CHOPIN_AUTH_BUFFER;
    if (rc == 0 && value) memcpy(out, sealed, value);
    chopin_auth_wipe(bytes, sizeof bytes);
    chopin_auth_wipe(key, sizeof key);
    return rc < 0 ? rc : (int)value;
}

/* ---- CSRF tokens: key id, 128 random bits, HMAC over session id and those, each behind its length ---- */
#define CHOPIN_AUTH__CSRF_BYTES (1 + 16 + 32)

static int chopin_auth__csrf_mac(const uint8_t root[32], chopin_str session, const uint8_t random[16], uint8_t out[32]) {
    chopin_hmac mac;
    uint8_t bytes[32];
    chopin_auth__digest("chopin csrf", session, chopin_auth__str(random, 16), (chopin_str){ NULL, 0 }, bytes);
    int rc = chopin_auth__seal_mac(root, CHOPIN_AUTH__SEAL_CSRF, CHOPIN_STR("csrf"), (chopin_str){ NULL, 0 }, &mac);
    if (rc < 0) return rc;
    chopin_hmac_sign(&mac, chopin_auth__str(bytes, sizeof bytes), out);
    chopin_hmac_done(&mac);
    return 0;
}

int chopin_auth_csrf_token(const chopin_auth_cookie_ring *ring, chopin_str session, char out[CHOPIN_AUTH_CSRF_TEXT]) {
    uint8_t bytes[CHOPIN_AUTH__CSRF_BYTES];
    memset(out, 0, CHOPIN_AUTH_CSRF_TEXT);
    if (!ring || ring->count < 1 || !session.len) return CHOPIN_AUTH_ARG;
    bytes[0] = ring->id[0];
    int rc = chopin_auth_random(bytes + 1, 16);
    if (rc == 0) rc = chopin_auth__csrf_mac(ring->key[0], session, bytes + 1, bytes + 17);
    if (rc == 0) rc = chopin_base64url_encode(chopin_auth__str(bytes, sizeof bytes), out, CHOPIN_AUTH_CSRF_TEXT);
    return rc < 0 ? rc : 0;
}

int chopin_auth_csrf_check(const chopin_auth_cookie_ring *ring, chopin_str session, chopin_str token) {
    uint8_t bytes[CHOPIN_AUTH__CSRF_BYTES], ours[32];
    int n = ring && session.len ? chopin_base64url_decode(token, bytes, sizeof bytes) : CHOPIN_AUTH_CSRF;
    if (n != (int)sizeof bytes) return CHOPIN_AUTH_CSRF;
    for (int i = 0; i < ring->count; i++) {
        if (ring->id[i] != bytes[0]) continue;
        if (chopin_auth__csrf_mac(ring->key[i], session, bytes + 1, ours) < 0) return CHOPIN_AUTH_CSRF;
        return chopin_auth_equal(ours, bytes + 17, 32) ? 0 : CHOPIN_AUTH_CSRF;
    }
    return CHOPIN_AUTH_CSRF;
}

/* The next of a list with commas or blanks between; absent at the end. */
static chopin_str chopin_auth__listed(chopin_str *rest) {
    size_t n = 0;
    while (rest->len && (rest->ptr[0] == ' ' || rest->ptr[0] == ',')) *rest = chopin_auth__str(rest->ptr + 1, rest->len - 1);
    while (n < rest->len && rest->ptr[n] != ' ' && rest->ptr[n] != ',') n++;
    chopin_str word = chopin_auth__str(n ? rest->ptr : NULL, n);
    if (n) *rest = chopin_auth__str(rest->ptr + n, rest->len - n);
    return word;
}

int chopin_auth_csrf_origin(chopin_str sec_fetch_site, chopin_str origin, chopin_str our_origins) {
    if (sec_fetch_site.ptr) return chopin_auth__is(sec_fetch_site, "same-origin") || chopin_auth__is(sec_fetch_site, "none") ? 0 : CHOPIN_AUTH_CSRF;
    if (!origin.ptr) return CHOPIN_AUTH_MISSING;
    for (chopin_str ours; (ours = chopin_auth__listed(&our_origins)).ptr;) {
        if (chopin_auth__same(origin, ours) && !chopin_auth__is(origin, "null")) return 0;
    }
    return CHOPIN_AUTH_CSRF;
}

/* ==========================================================================================================
   >>session   sessions, API keys, tickets: secrets handed out once and known by their hash
   ========================================================================================================== */

#define CHOPIN_AUTH__IDLE_S     1800
#define CHOPIN_AUTH__ABSOLUTE_S 43200

static int64_t chopin_auth__session_idle(const chopin_auth_sessions *s) { return s->idle_s > 0 ? s->idle_s : CHOPIN_AUTH__IDLE_S; }

/* A fresh id and its record; the family is its own until somebody says otherwise. */
static int chopin_auth__session_make(const chopin_auth_sessions *s, chopin_str user, int64_t now, char out[CHOPIN_AUTH_SECRET_TEXT], chopin_auth_record *r) {
    int rc = chopin_auth__record(r, CHOPIN_AUTH_SESSION, user, (chopin_str){ NULL, 0 }, now, s->absolute_s > 0 ? s->absolute_s : CHOPIN_AUTH__ABSOLUTE_S);
    if (rc == 0) rc = chopin_auth__secret_new(out);
    if (rc == 0) rc = chopin_auth__secret_id("chopin session", chopin_auth__str(out, CHOPIN_AUTH_SECRET_TEXT - 1), r->id);
    memcpy(r->family, r->id, 32);
    return rc;
}

int chopin_auth_session_new(const chopin_auth_sessions *s, chopin_str user, char out[CHOPIN_AUTH_SECRET_TEXT]) {
    chopin_auth_record r;
    int64_t now = chopin_auth__now(s->clock, s->clock_ctx);
    memset(out, 0, CHOPIN_AUTH_SECRET_TEXT);
    int rc = chopin_auth__store_ok(s->store) ? chopin_auth__session_make(s, user, now, out, &r) : CHOPIN_AUTH_CONFIG;
    if (rc == 0) rc = chopin_auth__put(s->store, &r, now);
    if (rc < 0) chopin_auth_wipe(out, CHOPIN_AUTH_SECRET_TEXT);
    return rc;
}

/* The live record of an id. */
static int chopin_auth__session_get(const chopin_auth_sessions *s, chopin_str id, int64_t now, chopin_auth_record *out) {
    uint8_t key[32];
    memset(out, 0, sizeof *out);
    int rc = chopin_auth__store_ok(s->store) ? chopin_auth__secret_id("chopin session", id, key) : CHOPIN_AUTH_CONFIG;
    if (rc == 0) rc = chopin_auth__get(s->store, key, now, out);
    if (rc < 0) return rc;
    bool dead = rc == 0 || out->kind != CHOPIN_AUTH_SESSION || out->spent, old = out->expires <= now || now - out->used >= chopin_auth__session_idle(s);
    rc = dead ? CHOPIN_AUTH_MISMATCH : old ? CHOPIN_AUTH_EXPIRED : 0;
    if (rc < 0) memset(out, 0, sizeof *out);
    return rc;
}

/* Use is written down at most once a minute (an eighth of idle_s, if that is less): by a swap, so that a session ended meanwhile stays ended. */
int chopin_auth_session_check(const chopin_auth_sessions *s, chopin_str id, chopin_auth_record *out) {
    int64_t now = chopin_auth__now(s->clock, s->clock_ctx), idle = chopin_auth__session_idle(s), step = idle / 8 < 60 ? idle / 8 : 60;
    int rc = chopin_auth__session_get(s, id, now, out);
    if (rc < 0 || now - out->used < step) return rc;
    out->used = now;
    rc = chopin_auth__swap(s->store, out->id, now, out);
    if (rc == 1) return 0;
    memset(out, 0, sizeof *out);
    return rc == 0 ? CHOPIN_AUTH_MISMATCH : rc;
}

int chopin_auth_session_renew(const chopin_auth_sessions *s, chopin_str id, char out[CHOPIN_AUTH_SECRET_TEXT]) {
    chopin_auth_record old, r;
    int64_t now = chopin_auth__now(s->clock, s->clock_ctx);
    memset(out, 0, CHOPIN_AUTH_SECRET_TEXT);
    int rc = chopin_auth__session_get(s, id, now, &old);
    if (rc == 0) rc = chopin_auth__session_make(s, chopin_auth__str(old.user, old.user_len), now, out, &r);
    if (rc == 0) {
        memcpy(r.family, old.family, 32);
        r.created = old.created;
        r.expires = old.expires;                                         // a new id is not a longer life
        rc = chopin_auth__swap(s->store, old.id, now, &r);
        rc = rc == 1 ? 0 : rc == 0 ? CHOPIN_AUTH_MISMATCH : rc;
    }
    if (rc < 0) chopin_auth_wipe(out, CHOPIN_AUTH_SECRET_TEXT);
    return rc;
}

int chopin_auth_session_end(const chopin_auth_sessions *s, chopin_str id) {
    chopin_auth_record r;
    uint8_t key[32];
    int64_t now = chopin_auth__now(s->clock, s->clock_ctx);
    int rc = chopin_auth__store_ok(s->store) ? chopin_auth__secret_id("chopin session", id, key) : CHOPIN_AUTH_CONFIG;
    if (rc == 0) rc = chopin_auth__get(s->store, key, now, &r);
    return rc == 1 ? chopin_auth__drop(s->store, r.family, 0) : rc;
}

int chopin_auth_session_end_all(const chopin_auth_sessions *s, chopin_str user) {
    uint8_t owner[32];
    if (!chopin_auth__store_ok(s->store)) return CHOPIN_AUTH_CONFIG;
    if (!user.len) return CHOPIN_AUTH_ARG;
    chopin_auth__owner(user, owner);
    int sessions = chopin_auth__drop(s->store, owner, CHOPIN_AUTH_SESSION), refresh = chopin_auth__drop(s->store, owner, CHOPIN_AUTH_REFRESH);
    return sessions < 0 ? sessions : refresh < 0 ? refresh : 0;
}

/* ---- API keys: prefix_ID_SECRET_CHECK, the last three in base32 ---- */
#define CHOPIN_AUTH__APIKEY_ID     10    /* bytes: 16 characters */
#define CHOPIN_AUTH__APIKEY_SECRET 32    /* 52 characters */
#define CHOPIN_AUTH__APIKEY_CHECK  4     /* 7 characters */

static void chopin_auth__apikey_base32(chopin_auth__text *t, const uint8_t *bytes, size_t n) {
    char text[56];
    int  len = chopin_base32_encode(chopin_auth__str(bytes, n), text, sizeof text);
    chopin_auth__text_add(t, chopin_auth__str(text, len > 0 ? (size_t)len : 0));
    chopin_auth_wipe(text, sizeof text);
}

/* For typing errors and scanners, not a secret: four bytes of a hash of all that stands before it. */
static void chopin_auth__apikey_check(chopin_str text, uint8_t check[32]) { chopin_auth__digest("chopin apikey check", text, (chopin_str){ NULL, 0 }, (chopin_str){ NULL, 0 }, check); }

static void chopin_auth__apikey_ids(chopin_str prefix, const uint8_t *id, const uint8_t *secret, uint8_t key[32], uint8_t check[32]) {
    chopin_str public_id = chopin_auth__str(id, CHOPIN_AUTH__APIKEY_ID);
    chopin_auth__digest("chopin apikey", prefix, public_id, (chopin_str){ NULL, 0 }, key);
    chopin_auth__digest("chopin apikey secret", prefix, public_id, chopin_auth__str(secret, CHOPIN_AUTH__APIKEY_SECRET), check);
}

static bool chopin_auth__apikey_prefix(chopin_str prefix) {
    bool fine = prefix.len >= 1 && prefix.len <= 16;
    for (size_t i = 0; fine && i < prefix.len; i++) {
        char ch = prefix.ptr[i];
        fine = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9');
    }
    return fine;
}

static int chopin_auth__apikey_write(chopin_str prefix, const uint8_t *random, char out[CHOPIN_AUTH_APIKEY_TEXT]) {
    chopin_auth__text t = { out, CHOPIN_AUTH_APIKEY_TEXT, 0 };
    uint8_t check[32];
    chopin_auth__text_add(&t, prefix);
    chopin_auth__text_z(&t, "_");
    chopin_auth__apikey_base32(&t, random, CHOPIN_AUTH__APIKEY_ID);
    chopin_auth__text_z(&t, "_");
    chopin_auth__apikey_base32(&t, random + CHOPIN_AUTH__APIKEY_ID, CHOPIN_AUTH__APIKEY_SECRET);
    chopin_auth__apikey_check(chopin_auth__str(out, t.n), check);
    chopin_auth__text_z(&t, "_");
    chopin_auth__apikey_base32(&t, check, CHOPIN_AUTH__APIKEY_CHECK);
    return chopin_auth__text_end(&t);
}

int chopin_auth_apikey_new(const chopin_auth_store *s, chopin_str prefix, chopin_str user, chopin_str scopes, int64_t ttl_s, int64_t now, char out[CHOPIN_AUTH_APIKEY_TEXT]) {
    uint8_t random[CHOPIN_AUTH__APIKEY_ID + CHOPIN_AUTH__APIKEY_SECRET];
    chopin_auth_record r;
    memset(out, 0, CHOPIN_AUTH_APIKEY_TEXT);
    if (!chopin_auth__store_ok(s)) return CHOPIN_AUTH_CONFIG;
    if (!chopin_auth__apikey_prefix(prefix)) return CHOPIN_AUTH_ARG;
    int rc = chopin_auth__record(&r, CHOPIN_AUTH_APIKEY, user, scopes, now, ttl_s);
    if (ttl_s == 0) r.expires = INT64_MAX;
    if (rc == 0) rc = chopin_auth_random(random, sizeof random);
    if (rc < 0) return rc;
    chopin_auth__apikey_ids(prefix, random, random + CHOPIN_AUTH__APIKEY_ID, r.id, r.check);
    memcpy(r.family, r.id, 32);
    int n = chopin_auth__apikey_write(prefix, random, out);
    chopin_auth_wipe(random, sizeof random);
    rc = n < 0 ? n : chopin_auth__put(s, &r, now);
    if (rc < 0) chopin_auth_wipe(out, CHOPIN_AUTH_APIKEY_TEXT);
    return rc < 0 ? rc : n;
}

/* The next part up to '_' or the end, decoded to exactly n bytes. */
static bool chopin_auth__apikey_part(chopin_str *rest, uint8_t *out, size_t n) {
    size_t len = chopin_base32_size(n);
    if (rest->len < len + 1 || rest->ptr[0] != '_') return false;
    int got = chopin_base32_decode(chopin_auth__str(rest->ptr + 1, len), out, n);
    *rest = chopin_auth__str(rest->ptr + 1 + len, rest->len - 1 - len);
    return got == (int)n;
}

/* Everything that can be told without the store. */
static int chopin_auth__apikey_read(chopin_str key, uint8_t id[32], uint8_t check[32]) {
    uint8_t random[CHOPIN_AUTH__APIKEY_ID + CHOPIN_AUTH__APIKEY_SECRET], sum[CHOPIN_AUTH__APIKEY_CHECK], ours[32];
    if (key.len >= CHOPIN_AUTH_APIKEY_TEXT) return CHOPIN_AUTH_SIZE;
    const char *bar = key.len ? memchr(key.ptr, '_', key.len) : NULL;
    chopin_str  prefix = chopin_auth__str(key.ptr, bar ? (size_t)(bar - key.ptr) : 0), rest = chopin_auth__str(key.ptr + prefix.len, key.len - prefix.len);
    if (!chopin_auth__apikey_prefix(prefix)) return CHOPIN_AUTH_FORMAT;
    if (!chopin_auth__apikey_part(&rest, random, CHOPIN_AUTH__APIKEY_ID)) return CHOPIN_AUTH_FORMAT;
    if (!chopin_auth__apikey_part(&rest, random + CHOPIN_AUTH__APIKEY_ID, CHOPIN_AUTH__APIKEY_SECRET)) return CHOPIN_AUTH_FORMAT;
    chopin_auth__apikey_check(chopin_auth__str(key.ptr, key.len - rest.len), ours);
    if (!chopin_auth__apikey_part(&rest, sum, sizeof sum) || rest.len || !chopin_auth_equal(sum, ours, sizeof sum)) return CHOPIN_AUTH_FORMAT;
    chopin_auth__apikey_ids(prefix, random, random + CHOPIN_AUTH__APIKEY_ID, id, check);
    chopin_auth_wipe(random, sizeof random);
    return 0;
}

int chopin_auth_apikey_check(const chopin_auth_store *s, chopin_str key, int64_t now, chopin_auth_record *out) {
    uint8_t id[32], check[32];
    memset(out, 0, sizeof *out);
    int rc = chopin_auth__store_ok(s) ? chopin_auth__apikey_read(key, id, check) : CHOPIN_AUTH_CONFIG;
    if (rc == 0) rc = chopin_auth__get(s, id, now, out);
    if (rc < 0) return rc;
    bool right = chopin_auth_equal(check, out->check, 32);               // also when there is none: its check is all zero
    if (rc == 0 || !right || out->kind != CHOPIN_AUTH_APIKEY || out->spent) rc = CHOPIN_AUTH_MISMATCH;
    else rc = out->expires <= now ? CHOPIN_AUTH_EXPIRED : 0;
    if (rc < 0) memset(out, 0, sizeof *out);
    return rc;
}

/* ---- tickets ---- */

/* Purpose and text make the id: under another purpose it is an unknown ticket. */
static int chopin_auth__ticket_id(chopin_str purpose, chopin_str ticket, uint8_t id[32]) {
    uint8_t inner[32];
    int rc = chopin_auth__secret_id("chopin ticket", ticket, inner);
    if (rc == 0) chopin_auth__digest("chopin ticket for", purpose, chopin_auth__str(inner, sizeof inner), (chopin_str){ NULL, 0 }, id);
    chopin_auth_wipe(inner, sizeof inner);
    return rc;
}

int chopin_auth_ticket_new(const chopin_auth_store *s, chopin_str purpose, chopin_str user, chopin_str data, int64_t ttl_s, int64_t now, char out[CHOPIN_AUTH_SECRET_TEXT]) {
    chopin_auth_record r;
    memset(out, 0, CHOPIN_AUTH_SECRET_TEXT);
    if (!chopin_auth__store_ok(s)) return CHOPIN_AUTH_CONFIG;
    if (!purpose.len) return CHOPIN_AUTH_ARG;
    int rc = chopin_auth__record(&r, CHOPIN_AUTH_TICKET, user, data, now, ttl_s ? ttl_s : 3600);
    if (rc == 0) rc = chopin_auth__secret_new(out);
    if (rc == 0) rc = chopin_auth__ticket_id(purpose, chopin_auth__str(out, CHOPIN_AUTH_SECRET_TEXT - 1), r.id);
    memcpy(r.family, r.id, 32);
    if (rc == 0) rc = chopin_auth__put(s, &r, now);
    if (rc < 0) chopin_auth_wipe(out, CHOPIN_AUTH_SECRET_TEXT);
    return rc;
}

int chopin_auth_ticket_redeem(const chopin_auth_store *s, chopin_str purpose, chopin_str ticket, int64_t now, chopin_auth_record *out) {
    uint8_t id[32];
    memset(out, 0, sizeof *out);
    int rc = chopin_auth__store_ok(s) ? chopin_auth__ticket_id(purpose, ticket, id) : CHOPIN_AUTH_CONFIG;
    if (rc == 0) rc = chopin_auth__get(s, id, now, out);
    if (rc < 0) return rc;
    if (rc == 0 || out->kind != CHOPIN_AUTH_TICKET) rc = CHOPIN_AUTH_MISMATCH;
    else rc = out->spent ? CHOPIN_AUTH_REPLAY : out->expires <= now ? CHOPIN_AUTH_EXPIRED : 0;
    if (rc == 0) {
        rc = chopin_auth__swap(s, id, now, NULL);
        rc = rc == 1 ? 0 : rc == 0 ? CHOPIN_AUTH_REPLAY : rc;
    }
    if (rc < 0) memset(out, 0, sizeof *out);
    return rc;
}

/* ==========================================================================================================
   >>guard   failed logins, counted in bounded memory
   An attempt counts as a failure from the moment it is let through until it has passed, so a burst of guesses at the same time counts too. An address is
   closed after a few of them, and so one address makes only a few records: it cannot push out those of others.
   ========================================================================================================== */

enum { CHOPIN_AUTH__GUARD_ADDRESS = 1, CHOPIN_AUTH__GUARD_PAIR, CHOPIN_AUTH__GUARD_ACCOUNT, CHOPIN_AUTH__GUARD_KNOWN };
#define CHOPIN_AUTH__GUARD_KNOWN_WAYS 6  /* of the eight entries of a set, those that known addresses may hold */

int chopin_auth_guard_init(chopin_auth_guard *g, const chopin_auth_guard_options *options) {
    size_t entries = chopin_auth__min(options->size / CHOPIN_AUTH_GUARD_ENTRY, CHOPIN_AUTH__ENTRIES);
    memset(g, 0, sizeof *g);
    if (!options->memory || (uintptr_t)options->memory % 8 || entries < 64) return CHOPIN_AUTH_CONFIG;
    if (options->failures < 0 || options->account_failures < 0 || options->within_s < 0 || options->closed_s < 0 || options->known_s < 0) return CHOPIN_AUTH_CONFIG;
    g->o = *options;
    if (!g->o.failures) g->o.failures = 5;
    if (!g->o.account_failures) g->o.account_failures = 50;
    if (!g->o.within_s) g->o.within_s = 300;
    if (!g->o.closed_s) g->o.closed_s = 900;
    if (!g->o.known_s) g->o.known_s = INT64_C(90) * 86400;
    int rc = chopin_auth_random(g->seed, sizeof g->seed);
    memset(g->o.memory, 0, entries * CHOPIN_AUTH_GUARD_ENTRY);
    g->sets = rc == 0 ? entries / CHOPIN_AUTH__WAYS : 0;
    return rc;
}

/* ---- addresses: IPv6 by its /64, IPv4 inside IPv6 as IPv4 ---- */

/* The first four groups of an IPv6 text, eight bytes; false when it is not one. */
static bool chopin_auth__guard_network(chopin_str text, uint8_t out[8]) {
    uint32_t groups[8] = { 0 }, value = 0;
    int count = 0, gap = -1, digits = 0;
    for (size_t i = 0; i <= text.len; i++) {
        int ch = i < text.len ? text.ptr[i] : ':', low = ch | 0x20;
        if (ch == ':') {
            bool twice = i + 1 < text.len && text.ptr[i] == ':' && text.ptr[i + 1] == ':';
            if (digits) { if (count == 8) return false; groups[count++] = value; }
            if (twice) { if (gap >= 0) return false; gap = count; i++; }
            value = 0, digits = 0;
            continue;
        }
        if (!((ch >= '0' && ch <= '9') || (low >= 'a' && low <= 'f')) || ++digits > 4) return false;
        value = value << 4 | (uint32_t)(ch <= '9' ? ch - '0' : low - 'a' + 10);
    }
    if (gap < 0 ? count != 8 : count > 7) return false;
    for (int i = 0; i < 4; i++) {
        int from = gap < 0 || i < gap ? i : i - (8 - count);             // behind the gap stand the last groups
        uint32_t group = gap >= 0 && i >= gap && from < gap ? 0 : groups[from];
        out[2 * i] = (uint8_t)(group >> 8);
        out[2 * i + 1] = (uint8_t)group;
    }
    return true;
}

/* What an address counts as; `room` may be used. */
static chopin_str chopin_auth__guard_address(chopin_str address, uint8_t room[8]) {
    const char *zone = address.len ? memchr(address.ptr, '%', address.len) : NULL;
    if (zone) address.len = (size_t)(zone - address.ptr);
    if (!address.len || !memchr(address.ptr, ':', address.len)) return address;
    for (size_t i = address.len; memchr(address.ptr, '.', address.len) && i-- > 0;) {
        if (address.ptr[i] == ':') return chopin_auth__str(address.ptr + i + 1, address.len - i - 1);      // ::ffff:192.0.2.1
    }
    return chopin_auth__guard_network(address, room) ? chopin_auth__str(room, 8) : address;
}

/* ---- the table ---- */
typedef struct chopin_auth__guard_key { uint64_t word[2]; size_t sets[2]; uint32_t kind; } chopin_auth__guard_key;

static chopin_auth__guard_key chopin_auth__guard_key_of(const chopin_auth_guard *g, uint32_t kind, chopin_str account, chopin_str address) {
    chopin_auth__guard_key k = { { 0, 0 }, { 0, 0 }, kind };
    uint8_t hash[32], seed[33], room[8];
    bool by_account = kind != CHOPIN_AUTH__GUARD_ADDRESS, by_address = kind != CHOPIN_AUTH__GUARD_ACCOUNT;
    memcpy(seed, g->seed, 32);
    seed[32] = (uint8_t)kind;
    chopin_auth__digest("chopin guard", chopin_auth__str(seed, sizeof seed), by_account ? account : (chopin_str){ NULL, 0 },
                        by_address ? chopin_auth__guard_address(address, room) : (chopin_str){ NULL, 0 }, hash);
    k.word[0] = chopin_auth__load64le(hash);
    k.word[1] = chopin_auth__load64le(hash + 8);
    k.sets[0] = (size_t)(chopin_auth__load64le(hash + 16) % g->sets);
    k.sets[1] = (size_t)(chopin_auth__load64le(hash + 24) % g->sets);
    return k;
}

static chopin_auth__guard_entry *chopin_auth__guard_at(const chopin_auth_guard *g, const chopin_auth__guard_key *k, size_t i) {
    return (chopin_auth__guard_entry *)g->o.memory + k->sets[i / CHOPIN_AUTH__WAYS] * CHOPIN_AUTH__WAYS + i % CHOPIN_AUTH__WAYS;
}

/* The entry that still counts, or NULL. */
static chopin_auth__guard_entry *chopin_auth__guard_find(const chopin_auth_guard *g, const chopin_auth__guard_key *k, int64_t now) {
    for (size_t i = 0; i < 2 * CHOPIN_AUTH__WAYS; i++) {
        chopin_auth__guard_entry *e = chopin_auth__guard_at(g, k, i);
        if (e->kind == k->kind && e->key[0] == k->word[0] && e->key[1] == k->word[1]) return e->until > now ? e : NULL;
    }
    return NULL;
}

/* Which entry goes first when all are in use: the one least worth keeping. Known addresses give way to each other only. */
static uint64_t chopin_auth__guard_worth(const chopin_auth__guard_entry *e, uint32_t kind, int64_t now) {
    if (e->kind == 0 || e->until <= now) return 0;
    bool known = e->kind == CHOPIN_AUTH__GUARD_KNOWN;
    if (known != (kind == CHOPIN_AUTH__GUARD_KNOWN)) return known ? UINT64_MAX : (uint64_t)1 << 62 | (uint64_t)(e->until - now);
    return (e->closed > now ? (uint64_t)1 << 61 : 0) + (uint64_t)(e->until - now);
}

/* A cleared entry for the key. NULL: only known addresses stand there. */
static chopin_auth__guard_entry *chopin_auth__guard_make(const chopin_auth_guard *g, const chopin_auth__guard_key *k, int64_t now) {
    chopin_auth__guard_entry *least = NULL;
    uint64_t worth = UINT64_MAX;
    int known[2] = { 0, 0 };
    for (size_t i = 0; i < 2 * CHOPIN_AUTH__WAYS; i++) {
        chopin_auth__guard_entry *e = chopin_auth__guard_at(g, k, i);
        known[i / CHOPIN_AUTH__WAYS] += e->kind == CHOPIN_AUTH__GUARD_KNOWN && e->until > now;
    }
    for (size_t i = 0; i < 2 * CHOPIN_AUTH__WAYS; i++) {
        chopin_auth__guard_entry *e = chopin_auth__guard_at(g, k, i);
        bool full = k->kind == CHOPIN_AUTH__GUARD_KNOWN && known[i / CHOPIN_AUTH__WAYS] >= CHOPIN_AUTH__GUARD_KNOWN_WAYS && !(e->kind == CHOPIN_AUTH__GUARD_KNOWN && e->until > now);
        uint64_t w = full ? UINT64_MAX : chopin_auth__guard_worth(e, k->kind, now);
        if (w < worth) worth = w, least = e;
    }
    if (least) *least = (chopin_auth__guard_entry){ .key = { k->word[0], k->word[1] }, .kind = k->kind, .since = now };
    return least;
}

/* ---- the rules ---- */

static int chopin_auth__guard_limit(const chopin_auth_guard *g, uint32_t kind) { return kind == CHOPIN_AUTH__GUARD_ACCOUNT ? g->o.account_failures : g->o.failures; }

/* Closed, or as many attempts under way as may fail? */
static bool chopin_auth__guard_shut(const chopin_auth_guard *g, const chopin_auth__guard_key *k, int64_t now) {
    const chopin_auth__guard_entry *e = chopin_auth__guard_find(g, k, now);
    if (!e) return false;
    if (e->closed > now) return true;
    return now - e->since < g->o.within_s && e->count >= (uint32_t)chopin_auth__guard_limit(g, k->kind);
}

/* One attempt more. */
static void chopin_auth__guard_count(const chopin_auth_guard *g, const chopin_auth__guard_key *k, int64_t now) {
    chopin_auth__guard_entry *e = chopin_auth__guard_find(g, k, now);
    if (!e) e = chopin_auth__guard_make(g, k, now);
    if (!e) return;
    if (now - e->since >= g->o.within_s || now < e->since) e->since = now, e->count = 0;
    if (e->count < UINT32_MAX) e->count++;
    if (e->until < e->since + g->o.within_s) e->until = e->since + g->o.within_s;
}

/* A failure stands; at the limit the door closes. */
static void chopin_auth__guard_fail(const chopin_auth_guard *g, const chopin_auth__guard_key *k, int64_t now) {
    chopin_auth__guard_entry *e = chopin_auth__guard_find(g, k, now);
    if (!e || e->count < (uint32_t)chopin_auth__guard_limit(g, k->kind)) return;
    e->closed = now + g->o.closed_s;
    if (e->until < e->closed) e->until = e->closed;
}

int chopin_auth_guard_ask(chopin_auth_guard *g, chopin_str account, chopin_str address, int64_t now) {
    if (!g->sets) return CHOPIN_AUTH_CONFIG;
    chopin_auth__guard_key by_address = chopin_auth__guard_key_of(g, CHOPIN_AUTH__GUARD_ADDRESS, account, address);
    chopin_auth__guard_key by_pair = chopin_auth__guard_key_of(g, CHOPIN_AUTH__GUARD_PAIR, account, address);
    chopin_auth__guard_key by_account = chopin_auth__guard_key_of(g, CHOPIN_AUTH__GUARD_ACCOUNT, account, address);
    chopin_auth__guard_key known = chopin_auth__guard_key_of(g, CHOPIN_AUTH__GUARD_KNOWN, account, address);
    chopin_auth__lock(&g->lock);
    bool shut = chopin_auth__guard_shut(g, &by_address, now) || chopin_auth__guard_shut(g, &by_pair, now)
             || (chopin_auth__guard_shut(g, &by_account, now) && !chopin_auth__guard_find(g, &known, now));
    if (!shut) {
        chopin_auth__guard_count(g, &by_address, now);
        chopin_auth__guard_count(g, &by_pair, now);
        chopin_auth__guard_count(g, &by_account, now);
    }
    chopin_auth__unlock(&g->lock);
    return shut ? CHOPIN_AUTH_LIMITED : 0;
}

void chopin_auth_guard_failed(chopin_auth_guard *g, chopin_str account, chopin_str address, int64_t now) {
    for (uint32_t kind = CHOPIN_AUTH__GUARD_ADDRESS; g->sets && kind <= CHOPIN_AUTH__GUARD_ACCOUNT; kind++) {
        chopin_auth__guard_key k = chopin_auth__guard_key_of(g, kind, account, address);
        chopin_auth__lock(&g->lock);
        chopin_auth__guard_fail(g, &k, now);
        chopin_auth__unlock(&g->lock);
    }
}

/* An attempt that did not take place after all: the counts lose it. */
static CHOPIN_AUTH__UNUSED void chopin_auth__guard_back(chopin_auth_guard *g, chopin_str account, chopin_str address, int64_t now) {
    for (uint32_t kind = CHOPIN_AUTH__GUARD_ADDRESS; g->sets && kind <= CHOPIN_AUTH__GUARD_ACCOUNT; kind++) {
        chopin_auth__guard_key k = chopin_auth__guard_key_of(g, kind, account, address);
        chopin_auth__lock(&g->lock);
        chopin_auth__guard_entry *e = chopin_auth__guard_find(g, &k, now);
        if (e && e->count) e->count--;
        chopin_auth__unlock(&g->lock);
    }
}

/* The attempt is taken back: the pair starts anew, address and account only lose this one, or an attacker's own login would wipe his record. */
void chopin_auth_guard_passed(chopin_auth_guard *g, chopin_str account, chopin_str address, int64_t now) {
    for (uint32_t kind = CHOPIN_AUTH__GUARD_ADDRESS; g->sets && kind <= CHOPIN_AUTH__GUARD_KNOWN; kind++) {
        chopin_auth__guard_key k = chopin_auth__guard_key_of(g, kind, account, address);
        chopin_auth__lock(&g->lock);
        chopin_auth__guard_entry *e = chopin_auth__guard_find(g, &k, now);
        if (kind == CHOPIN_AUTH__GUARD_KNOWN && !e) e = chopin_auth__guard_make(g, &k, now);
        if (e && kind == CHOPIN_AUTH__GUARD_KNOWN) e->until = now + g->o.known_s;
        else if (e && kind == CHOPIN_AUTH__GUARD_PAIR) memset(e, 0, sizeof *e);
        else if (e && e->count) e->count--;
        chopin_auth__unlock(&g->lock);
    }
}

/* ==========================================================================================================
   >>public   what is left of the API: arguments checked, one room called; OAuth helpers
   ========================================================================================================== */

int chopin_jws_sign(const chopin_jwk *key, chopin_str payload, char *out, size_t cap) { return chopin_auth__jws_sign(key, payload, out, cap); }

int chopin_jws_verify(const chopin_jwk *key, chopin_str token, char *room, size_t cap, chopin_str *payload) {
    return chopin_auth__jws_verify(key, token, room, cap, payload);
}

int chopin_jws_sign_detached(const chopin_jwk *key, chopin_str payload, bool unencoded, char *out, size_t cap) {
    return chopin_auth__jws_sign_detached(key, payload, unencoded, out, cap);
}

int chopin_jws_verify_detached(const chopin_jwk *key, chopin_str token, chopin_str payload, char *room, size_t cap) {
    return chopin_auth__jws_verify_detached(key, token, payload, room, cap);
}

int chopin_jwt_verifier_init(chopin_jwt_verifier *v, const chopin_jwt_verifier_options *options) {
    memset(v, 0, sizeof *v);
    int rc = chopin_auth__jwt_config(&v->problem, chopin_auth__jwt_verifier_problem(options));
    if (rc < 0) return rc;
    v->o = *options;
    if (!v->o.typ.len) v->o.typ = CHOPIN_STR("at+jwt");
    if (!v->o.max_token) v->o.max_token = 8192;
    v->o.leeway_s = chopin_auth__jwt_leeway(options->leeway_s);
    return 0;
}

int chopin_jwt_verify(const chopin_jwt_verifier *v, chopin_str token, char *room, size_t cap, chopin_jwt *out) {
    memset(out, 0, sizeof *out);
    if (!v->o.max_token) return CHOPIN_AUTH_CONFIG;                       // its init was not called, or has failed
    int64_t now = chopin_auth__now(v->o.clock, v->o.clock_ctx);
    int rc = chopin_auth__jwt_verify(v, token, room, cap, now, out);
    if (rc == 0 && v->o.revocation) rc = chopin_auth_revoked(v->o.revocation, out, now);
    if (rc < 0) memset(out, 0, sizeof *out);
    return rc;
}

int chopin_jwt_str(const chopin_jwt *t, const char *name, chopin_str *out) {
    chopin_auth__json_value v;
    int rc = chopin_auth__jwt_typed(t, name, CHOPIN_AUTH__JSON_STRING, &v);
    *out = rc == 0 ? v.text : (chopin_str){ NULL, 0 };
    return rc;
}

int chopin_jwt_i64(const chopin_jwt *t, const char *name, int64_t *out) {
    chopin_auth__json_value v;
    int rc = chopin_auth__jwt_typed(t, name, CHOPIN_AUTH__JSON_NUMBER, &v);
    *out = 0;
    return rc == 0 && !chopin_auth__json_integer(v.text, out) ? CHOPIN_AUTH_CLAIM : rc;
}

int chopin_jwt_f64(const chopin_jwt *t, const char *name, double *out) {
    chopin_auth__json_value v;
    int rc = chopin_auth__jwt_typed(t, name, CHOPIN_AUTH__JSON_NUMBER, &v);
    *out = 0;
    return rc == 0 && !chopin_auth__json_double(v.text, out) ? CHOPIN_AUTH_CLAIM : rc;
}

int chopin_jwt_bool(const chopin_jwt *t, const char *name, bool *out) {
    chopin_auth__json_value v;
    *out = false;
    if (!chopin_auth__jwt_find(t, name, &v)) return CHOPIN_AUTH_MISSING;
    *out = v.type == CHOPIN_AUTH__JSON_TRUE;
    return *out || v.type == CHOPIN_AUTH__JSON_FALSE ? 0 : CHOPIN_AUTH_CLAIM;
}

int chopin_jwt_raw(const chopin_jwt *t, const char *name, chopin_str *out) {
    chopin_auth__json_value v;
    *out = (chopin_str){ NULL, 0 };
    if (!chopin_auth__jwt_find(t, name, &v)) return CHOPIN_AUTH_MISSING;
    if (v.type == CHOPIN_AUTH__JSON_STRING) return CHOPIN_AUTH_CLAIM;
    *out = v.text;
    return 0;
}

bool chopin_jwt_has(const chopin_jwt *t, const char *name) {
    chopin_auth__json_value v;
    return chopin_auth__jwt_find(t, name, &v) == 1;
}

int chopin_jwt_issuer_init(chopin_jwt_issuer *i, const chopin_jwt_issuer_options *options) {
    memset(i, 0, sizeof *i);
    int rc = chopin_auth__jwt_config(&i->problem, chopin_auth__jwt_issuer_problem(options));
    if (rc < 0) return rc;
    i->o = *options;
    if (!i->o.typ.len) i->o.typ = CHOPIN_STR("at+jwt");
    if (!i->o.ttl_s) i->o.ttl_s = 900;
    return chopin_auth__jwt_head(i);
}

int chopin_jwt_issue(const chopin_jwt_issuer *i, const chopin_jwt_claims *claims, char *out, size_t cap) {
    return chopin_auth__jwt_issue(i, claims, out, cap);
}

/* ---- PKCE and the authorization URL ---- */

static bool chopin_auth__unreserved(char ch) {
    return (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == '-' || ch == '.' || ch == '_' || ch == '~';
}

int chopin_pkce_new(char verifier[CHOPIN_AUTH_PKCE_TEXT]) { return chopin_auth__secret_new(verifier); }

int chopin_pkce_challenge(chopin_str verifier, char out[CHOPIN_AUTH_PKCE_TEXT]) {
    uint8_t hash[32];
    if (verifier.len < 43 || verifier.len > 128) return CHOPIN_AUTH_FORMAT;
    for (size_t i = 0; i < verifier.len; i++) {
        if (!chopin_auth__unreserved(verifier.ptr[i])) return CHOPIN_AUTH_FORMAT;
    }
    chopin_sha256(verifier, hash);
    int n = chopin_base64url_encode(chopin_auth__str(hash, sizeof hash), out, CHOPIN_AUTH_PKCE_TEXT);
    out[43] = 0;
    return n < 0 ? n : 0;
}

int chopin_pkce_check(chopin_str verifier, chopin_str challenge) {
    char ours[CHOPIN_AUTH_PKCE_TEXT];
    int  rc = chopin_pkce_challenge(verifier, ours);
    if (rc < 0) return rc;
    return challenge.len == 43 && chopin_auth_equal(ours, challenge.ptr, 43) ? 0 : CHOPIN_AUTH_MISMATCH;
}

int chopin_auth_oauth_url(const chopin_auth_oauth *o, char *out, size_t cap) {
    const struct { const char *name; chopin_str value; bool may_miss; } parts[] = {
        { "client_id=", o->client_id, false }, { "&redirect_uri=", o->redirect_uri, false }, { "&scope=", o->scope, false }, { "&state=", o->state, false },
        { "&nonce=", o->nonce, true }, { "&code_challenge=", o->challenge, false }
    };
    chopin_auth__text w = { out, cap, 0 };
    if (!o->endpoint.len || o->challenge.len != 43) return CHOPIN_AUTH_ARG;
    chopin_auth__text_add(&w, o->endpoint);
    chopin_auth__text_z(&w, memchr(o->endpoint.ptr, '?', o->endpoint.len) ? "&response_type=code&" : "?response_type=code&");
    for (size_t i = 0; i < CHOPIN_AUTH__COUNT(parts); i++) {
        if (!parts[i].value.len && !parts[i].may_miss) return CHOPIN_AUTH_ARG;
        if (!parts[i].value.len) continue;
        chopin_auth__text_z(&w, parts[i].name);
        chopin_auth__text_percent(&w, parts[i].value);
    }
    chopin_auth__text_z(&w, "&code_challenge_method=S256");
    return chopin_auth__text_end(&w);
}

#ifdef CHOPIN_H
/* ==========================================================================================================
   >>glue   middleware and login for chopin.h
   Who is asking hangs in the request's user slot (chopin_set_user), behind a mark that tells our state from yours; what stood there before is in
   chopin_auth_me()->user. Password work runs on the offload threads.
   ========================================================================================================== */

typedef struct chopin_auth__state {
    const char *mark;                   // chopin_auth__state_mark: this slot is ours
    chopin_auth_who who;
    const void *by;                     // the verifier or store that let the request through
    chopin_jwt  jwt;
    chopin_auth_record record;
} chopin_auth__state;

static const char chopin_auth__state_mark[] = "chopin_auth";

static chopin_auth__state *chopin_auth__state_of(chopin_ctx *c) {
    chopin_auth__state *s = chopin_user(c);
    return s && s->mark == chopin_auth__state_mark ? s : NULL;
}

const chopin_auth_who *chopin_auth_me(chopin_ctx *c) {
    chopin_auth__state *s = chopin_auth__state_of(c);
    return s && s->by ? &s->who : NULL;
}

/* The state of this request, made on first use. NULL: no memory, and the request ends with 503. */
static chopin_auth__state *chopin_auth__state_make(chopin_ctx *c) {
    chopin_auth__state *s = chopin_auth__state_of(c);
    if (s) return s;
    s = chopin_alloc(c, sizeof *s);
    if (!s) return NULL;
    s->mark = chopin_auth__state_mark;
    s->who.user = chopin_user(c);
    chopin_set_user(c, s);
    return s;
}

/* ---- refusing ---- */

/* What a client may know: not whether the stored hash was bad or a code was used before. */
static int chopin_auth__glue_voice(int status) {
    bool same = status == CHOPIN_AUTH_HASH || status == CHOPIN_AUTH_LIMIT || status == CHOPIN_AUTH_REPLAY;
    return same ? CHOPIN_AUTH_MISMATCH : status;
}

static int chopin_auth__glue_refuse(chopin_ctx *c, int status, const char *scope) {
    status = chopin_auth__glue_voice(status);
    int http = chopin_auth_http(status);
    const char *word = status == CHOPIN_AUTH_MISMATCH ? "" : chopin_auth__status_word(status);
    if (scope)                            (void)chopin_setf(c, "WWW-Authenticate", "Bearer error=\"%s\", scope=\"%s\"", word, scope);
    else if (*word)                       (void)chopin_setf(c, "WWW-Authenticate", "Bearer error=\"%s\"", word);
    else if (http == 401)                 (void)chopin_set(c, "WWW-Authenticate", "Bearer");
    if (status == CHOPIN_AUTH_BUSY)       (void)chopin_set(c, "Retry-After", "1");
    if (status == CHOPIN_AUTH_LIMITED)    (void)chopin_set(c, "Retry-After", "900");
    (void)chopin_set(c, "Cache-Control", "no-store");
    return chopin_fail(c, http, chopin_auth_text(status));
}

int chopin_auth_refuse(chopin_ctx *c, int status) { return chopin_auth__glue_refuse(c, status < 0 ? status : CHOPIN_AUTH_ARG, NULL); }

/* ---- one credential a request ---- */

static const char *chopin_auth__glue_cookie(const chopin_auth_sessions *s) { return s && s->cookie ? s->cookie : "__Host-session"; }

/* 0, or MALFORMED: two credentials, or one of them twice. */
static int chopin_auth__glue_single(chopin_ctx *c, const char *cookie) {
    int count = chopin_cookie(c, cookie).ptr != NULL;
    for (size_t i = 0; i < 2; i++) {
        count += chopin_header_nth(c, "authorization", i).ptr != NULL;
        count += chopin_header_nth(c, "x-api-key", i).ptr != NULL;
    }
    return count > 1 ? CHOPIN_AUTH_MALFORMED : 0;
}

/* The token behind `Bearer`, which may be written in any case (RFC 9110 11.1). Absent with MISSING or MALFORMED in *rc. */
static chopin_str chopin_auth__glue_bearer(chopin_ctx *c, int *rc) {
    static const char scheme[] = "bearer";
    chopin_str value = chopin_header_of(c, CHOPIN_H_AUTHORIZATION), none = { NULL, 0 };
    *rc = CHOPIN_AUTH_MISSING;
    if (value.len < sizeof scheme - 1) return none;
    for (size_t i = 0; i < sizeof scheme - 1; i++) {
        if ((value.ptr[i] | 0x20) != scheme[i]) return none;
    }
    size_t at = sizeof scheme - 1;
    if (at < value.len && value.ptr[at] != ' ') return none;             // another scheme that begins like ours
    while (at < value.len && value.ptr[at] == ' ') at++;
    *rc = at < value.len ? 0 : CHOPIN_AUTH_MALFORMED;
    return at < value.len ? chopin_auth__str(value.ptr + at, value.len - at) : none;
}

/* ---- bearer tokens ---- */

static int chopin_auth__glue_verify(chopin_ctx *c, chopin_auth__state *s, const chopin_jwt_verifier *v) {
    int rc;
    chopin_str token = chopin_auth__glue_bearer(c, &rc);
    if (chopin_auth__glue_single(c, chopin_auth__glue_cookie(NULL)) < 0) return CHOPIN_AUTH_MALFORMED;
    if (rc < 0) return rc;
    if (token.len > v->o.max_token) return CHOPIN_AUTH_SIZE;
    size_t cap = token.len / 4 * 3 + 3;
    char  *room = chopin_alloc(c, cap);
    if (!room) return CHOPIN_AUTH_MEMORY;
    return chopin_jwt_verify(v, token, room, cap, &s->jwt);
}

int chopin_auth_bearer(chopin_ctx *c, const chopin_jwt_verifier *v) {
    chopin_auth__state *s = chopin_auth__state_make(c);
    if (!s) return chopin_auth_refuse(c, CHOPIN_AUTH_MEMORY);
    if (s->by == v) return chopin_next(c);                               // an outer middleware has verified it
    int rc = chopin_auth__glue_verify(c, s, v);
    if (rc < 0) return chopin_auth_refuse(c, rc);
    s->by = v;
    s->who.sub = s->jwt.sub;
    s->who.jwt = &s->jwt;
    s->who.record = NULL;
    s->who.roles = v->o.roles;
    s->who.scope = s->jwt.scope;
    if (!s->who.scope.ptr && chopin_jwt_str(&s->jwt, "scp", &s->who.scope) < 0) s->who.scope = (chopin_str){ NULL, 0 };
    s->who.can = v->o.roles ? chopin_auth_roles_grants(v->o.roles, &s->jwt) : (chopin_auth_mask){ { 0, 0 } };
    return chopin_next(c);
}

/* ---- CSRF ---- */

static bool chopin_auth__glue_safe(chopin_str method) {
    return chopin_auth__is(method, "GET") || chopin_auth__is(method, "HEAD") || chopin_auth__is(method, "OPTIONS") || chopin_auth__is(method, "TRACE");
}

/* The CSRF token of header or form; reading the form may park. */
static chopin_str chopin_auth__glue_csrf_token(chopin_ctx *c) {
    static const char form[] = "application/x-www-form-urlencoded";
    chopin_str token = chopin_header(c, "x-csrf-token"), type = chopin_header_of(c, CHOPIN_H_CONTENT_TYPE);
    if (token.ptr || type.len < sizeof form - 1) return token;
    for (size_t i = 0; i < sizeof form - 1; i++) {
        char ch = type.ptr[i] >= 'A' && type.ptr[i] <= 'Z' ? (char)(type.ptr[i] | 0x20) : type.ptr[i];
        if (ch != form[i]) return token;
    }
    return chopin_form(c, "csrf");
}

/* 0 or CSRF. */
static int chopin_auth__glue_csrf(chopin_ctx *c, const chopin_auth_sessions *s, chopin_str session) {
    if (chopin_auth__glue_safe(chopin_method(c))) return 0;
    int rc = chopin_auth_csrf_origin(chopin_header_of(c, CHOPIN_H_SEC_FETCH_SITE), chopin_header_of(c, CHOPIN_H_ORIGIN), s->origins);
    if (rc == CHOPIN_AUTH_CSRF || (rc == 0 && !s->always_token)) return rc;
    if (!s->ring || !session.len) return CHOPIN_AUTH_CSRF;
    return chopin_auth_csrf_check(s->ring, session, chopin_auth__glue_csrf_token(c));
}

int chopin_auth_csrf(chopin_ctx *c, const chopin_auth_sessions *s) {
    int rc = chopin_auth__glue_csrf(c, s, chopin_cookie(c, chopin_auth__glue_cookie(s)));
    if (rc < 0) return chopin_reply_status(c) ? CHOPIN_OK : chopin_auth_refuse(c, rc);
    return chopin_next(c);
}

/* ---- sessions ---- */

static int chopin_auth__glue_session(chopin_ctx *c, chopin_auth__state *state, const chopin_auth_sessions *s) {
    chopin_str id = chopin_cookie(c, chopin_auth__glue_cookie(s));
    int rc = chopin_auth__glue_single(c, chopin_auth__glue_cookie(s));
    if (rc == 0 && !id.ptr) rc = CHOPIN_AUTH_MISSING;
    if (rc == 0) rc = chopin_auth_session_check(s, id, &state->record);
    if (rc == 0) rc = chopin_auth__glue_csrf(c, s, id);
    state->who.session = rc == 0 ? id : (chopin_str){ NULL, 0 };
    return rc;
}

int chopin_auth_session(chopin_ctx *c, const chopin_auth_sessions *s) {
    chopin_auth__state *state = chopin_auth__state_make(c);
    if (!state) return chopin_auth_refuse(c, CHOPIN_AUTH_MEMORY);
    if (state->by == s) return chopin_next(c);
    int rc = chopin_auth__glue_session(c, state, s);
    if (rc < 0) return chopin_reply_status(c) ? CHOPIN_OK : chopin_auth_refuse(c, rc);
    state->by = s;
    state->who.sub = chopin_auth__str(state->record.user, state->record.user_len);
    state->who.jwt = NULL;
    state->who.record = &state->record;
    state->who.roles = s->roles;
    state->who.can = s->grants ? s->grants(s->grants_ctx, state->who.sub) : (chopin_auth_mask){ { 0, 0 } };
    return chopin_next(c);
}

static int chopin_auth__glue_event(chopin_auth_event_hook hook, void *ctx, chopin_ctx *c, chopin_auth_event event, chopin_str user) {
    if (hook) hook(ctx, event, user, chopin_client_address(c));
    return 0;
}

/* 0, or refused. */
static int chopin_auth__glue_new_session(chopin_ctx *c, const chopin_auth_sessions *s, chopin_str user, char id[CHOPIN_AUTH_SECRET_TEXT]) {
    chopin_str old = chopin_cookie(c, chopin_auth__glue_cookie(s));
    if (old.ptr) {
        int rc = chopin_auth_session_end(s, old);                        // what an attacker may have planted ends here; not an id at all: nothing to end
        if (rc < 0 && rc != CHOPIN_AUTH_FORMAT) return rc;
    }
    return chopin_auth_session_new(s, user, id);
}

int chopin_auth_begin(chopin_ctx *c, const chopin_auth_sessions *s, chopin_str user, char id[CHOPIN_AUTH_SECRET_TEXT]) {
    int rc = chopin_auth__glue_new_session(c, s, user, id);
    if (rc == 0 && chopin_set_cookie(c, chopin_auth__glue_cookie(s), id, &(chopin_cookie_options){ .max_age_s = 0 }) < 0) rc = CHOPIN_AUTH_CONFIG;
    if (rc == 0) (void)chopin_set(c, "Cache-Control", "no-store");
    if (rc < 0) (void)chopin_auth_refuse(c, rc);
    return rc;
}

int chopin_auth_start(chopin_ctx *c, const chopin_auth_sessions *s, chopin_str user) {
    char id[CHOPIN_AUTH_SECRET_TEXT];
    int  rc = chopin_auth_begin(c, s, user, id);
    chopin_auth_wipe(id, sizeof id);
    return rc < 0 ? CHOPIN_OK : chopin_empty(c, 204);
}

int chopin_auth_logout(chopin_ctx *c, const chopin_auth_sessions *s) {
    chopin_str id = chopin_cookie(c, chopin_auth__glue_cookie(s));
    const chopin_auth_who *me = chopin_auth_me(c);
    int rc = id.ptr ? chopin_auth_session_end(s, id) : 0;
    if (rc < 0 && rc != CHOPIN_AUTH_FORMAT) return chopin_auth_refuse(c, rc);
    chopin_auth__glue_event(s->on_event, s->event_ctx, c, CHOPIN_AUTH_EV_LOGOUT, me ? me->sub : (chopin_str){ NULL, 0 });
    (void)chopin_set_cookie(c, chopin_auth__glue_cookie(s), "", &(chopin_cookie_options){ .max_age_s = -1 });
    (void)chopin_set(c, "Cache-Control", "no-store");
    return chopin_empty(c, 204);
}

/* ---- API keys ---- */

static int chopin_auth__glue_key(chopin_ctx *c, const chopin_auth_store *s, chopin_auth__state *state) {
    chopin_str key = chopin_header(c, "x-api-key");
    int rc = chopin_auth__glue_single(c, chopin_auth__glue_cookie(NULL));
    if (rc == 0 && !key.ptr) rc = CHOPIN_AUTH_MISSING;
    return rc == 0 ? chopin_auth_apikey_check(s, key, chopin_auth__now(NULL, NULL), &state->record) : rc;
}

int chopin_auth_api_key(chopin_ctx *c, const chopin_auth_store *s, const chopin_auth_roles *roles) {
    chopin_auth__state *state = chopin_auth__state_make(c);
    if (!state) return chopin_auth_refuse(c, CHOPIN_AUTH_MEMORY);
    if (state->by == s) return chopin_next(c);
    int rc = chopin_auth__glue_key(c, s, state);
    if (rc < 0) return chopin_auth_refuse(c, rc);
    state->by = s;
    state->who.sub = chopin_auth__str(state->record.user, state->record.user_len);
    state->who.jwt = NULL;
    state->who.record = &state->record;
    state->who.roles = roles;
    state->who.scope = chopin_auth__str(state->record.data, state->record.data_len);
    state->who.can = (chopin_auth_mask){ { 0, 0 } };
    if (roles) chopin_auth__roles_words(roles, false, state->who.scope, &state->who.can);
    return chopin_next(c);
}

/* ---- rights ---- */

int chopin_auth_need(chopin_ctx *c, int permission) {
    const chopin_auth_who *me = chopin_auth_me(c);
    if (!me) { (void)chopin_auth_refuse(c, CHOPIN_AUTH_MISSING); return CHOPIN_AUTH_MISSING; }
    if (chopin_auth_can(&me->can, permission)) return 0;
    bool named = me->roles && permission >= 0 && permission < me->roles->permissions_count;
    (void)chopin_auth__glue_refuse(c, CHOPIN_AUTH_FORBIDDEN, named ? me->roles->permissions[permission].text : NULL);
    return CHOPIN_AUTH_FORBIDDEN;
}

/* A role that may nothing is nobody's: everybody would have all of it. */
int chopin_auth_need_role(chopin_ctx *c, const char *role) {
    const chopin_auth_who *me = chopin_auth_me(c);
    chopin_auth_mask all = { { 0, 0 } };
    if (!me) { (void)chopin_auth_refuse(c, CHOPIN_AUTH_MISSING); return CHOPIN_AUTH_MISSING; }
    bool known = me->roles && chopin_auth_roles_role(me->roles, chopin_auth__str(role, strlen(role)), &all) && (all.bits[0] | all.bits[1]);
    if (known && (all.bits[0] & ~me->can.bits[0]) == 0 && (all.bits[1] & ~me->can.bits[1]) == 0) return 0;
    (void)chopin_auth_refuse(c, CHOPIN_AUTH_FORBIDDEN);
    return CHOPIN_AUTH_FORBIDDEN;
}

int chopin_auth_need_scope(chopin_ctx *c, const char *scope) {
    const chopin_auth_who *me = chopin_auth_me(c);
    if (!me) { (void)chopin_auth_refuse(c, CHOPIN_AUTH_MISSING); return CHOPIN_AUTH_MISSING; }
    chopin_str rest = me->scope;
    for (chopin_str word; (word = chopin_auth__listed(&rest)).ptr;) {
        if (chopin_auth__is(word, scope)) return 0;
    }
    (void)chopin_auth__glue_refuse(c, CHOPIN_AUTH_FORBIDDEN, scope);
    return CHOPIN_AUTH_FORBIDDEN;
}

/* ---- passwords: on the offload threads ---- */

typedef struct chopin_auth__job {
    chopin_password_pool *pool;
    chopin_str stored, password;
    char      *out;                     // CHOPIN_AUTH_PW_TEXT bytes
    int        rc;
} chopin_auth__job;

static int chopin_auth__job_login(void *arg) {
    chopin_auth__job *job = arg;
    job->rc = chopin_password_login(job->pool, job->stored, job->password, job->out);
    return 0;
}

static int chopin_auth__job_hash(void *arg) {
    chopin_auth__job *job = arg;
    job->rc = chopin_password_hash(job->pool, job->password, job->out, CHOPIN_AUTH_PW_TEXT);
    return 0;
}

int chopin_auth_hash_password(chopin_ctx *c, chopin_password_pool *pool, chopin_str password, char out[CHOPIN_AUTH_PW_TEXT]) {
    chopin_auth__job job = { .pool = pool, .password = password, .out = out };
    memset(out, 0, CHOPIN_AUTH_PW_TEXT);
    if (chopin_offload(c, chopin_auth__job_hash, &job) != 0) return CHOPIN_AUTH_BUSY;        // 503 has been answered, or nobody waits any more
    if (job.rc == CHOPIN_AUTH_BUSY) (void)chopin_auth_refuse(c, CHOPIN_AUTH_BUSY);
    return job.rc;
}

/* The second factor of an account whose password was right. A code of digits only is TOTP, anything else a recovery code. */
static int chopin_auth__glue_second(const chopin_auth_door *door, chopin_auth_attempt *a, int64_t now) {
    if (!a->totp.len) return 0;
    bool digits = a->code.len >= 6 && a->code.len <= 8;
    for (size_t i = 0; digits && i < a->code.len; i++) digits = a->code.ptr[i] >= '0' && a->code.ptr[i] <= '9';
    if (digits) return chopin_totp_verify(door->totp, a->totp, a->code, now, &a->step);
    return door->recovery && a->code.len ? chopin_auth_recovery_use(door->recovery, a->account, a->code, now) : CHOPIN_AUTH_MISMATCH;
}

/* Faults of ours or of the store are told as such; everything that is about the credentials has one voice. */
static bool chopin_auth__glue_ours(int rc) {
    return rc == CHOPIN_AUTH_BUSY || rc == CHOPIN_AUTH_STORE || rc == CHOPIN_AUTH_RANDOM || rc == CHOPIN_AUTH_MEMORY || rc == CHOPIN_AUTH_CONFIG;
}

static int chopin_auth__glue_judge(chopin_ctx *c, const chopin_auth_door *door, chopin_auth_attempt *a, int rc, int64_t now) {
    chopin_str address = chopin_client_address(c);
    if (rc >= 0) {
        int second = chopin_auth__glue_second(door, a, now);
        if (second < 0) rc = second;
    }
    if (rc >= 0 && a->verified) {
        chopin_auth_guard_passed(door->guard, a->account, address, now);
        return chopin_auth__glue_event(door->on_event, door->event_ctx, c, CHOPIN_AUTH_EV_LOGIN, a->account);
    }
    if (rc >= 0 || chopin_auth__glue_ours(rc)) {
        chopin_auth__guard_back(door->guard, a->account, address, now);
        rc = rc >= 0 ? CHOPIN_AUTH_UNVERIFIED : rc;
    } else {
        chopin_auth_guard_failed(door->guard, a->account, address, now);
        chopin_auth__glue_event(door->on_event, door->event_ctx, c, CHOPIN_AUTH_EV_FAILURE, a->account);
        rc = CHOPIN_AUTH_MISMATCH;
    }
    (void)chopin_auth_refuse(c, rc);
    return rc;
}

int chopin_auth_login(chopin_ctx *c, const chopin_auth_door *door, chopin_auth_attempt *a) {
    int64_t now = chopin_auth__now(door->clock, door->clock_ctx);
    chopin_str address = chopin_client_address(c);
    chopin_auth__job job = { .pool = door->pool, .stored = a->stored, .password = a->password, .out = chopin_alloc(c, CHOPIN_AUTH_PW_TEXT) };
    a->new_hash = (chopin_str){ NULL, 0 };
    int rc = !door->pool || !door->guard ? CHOPIN_AUTH_CONFIG : !job.out ? CHOPIN_AUTH_MEMORY : chopin_auth_guard_ask(door->guard, a->account, address, now);
    if (rc < 0) {
        if (rc == CHOPIN_AUTH_LIMITED) chopin_auth__glue_event(door->on_event, door->event_ctx, c, CHOPIN_AUTH_EV_LIMITED, a->account);
        (void)chopin_auth_refuse(c, rc);
        return rc;
    }
    if (chopin_offload(c, chopin_auth__job_login, &job) != 0) {          // the queue was full (503 has been answered), or nobody waits any more
        chopin_auth__guard_back(door->guard, a->account, address, now);
        return CHOPIN_AUTH_BUSY;
    }
    rc = chopin_auth__glue_judge(c, door, a, job.rc, now);
    if (rc == 0 && job.rc > 0) {
        a->new_hash = chopin_auth__str(job.out, (size_t)job.rc);
        chopin_auth__glue_event(door->on_event, door->event_ctx, c, CHOPIN_AUTH_EV_REHASH, a->account);
    }
    return rc;
}

#endif /* CHOPIN_H */

#endif /* CHOPIN_AUTH_IMPLEMENTED */

/*
This software is available under two licences: choose whichever you prefer.

------------------------------------------------------------------------------
ALTERNATIVE A - MIT License
Copyright (c) 2026 the Chopin authors

Permission is hereby granted, free of charge, to any person obtaining a copy of
this software and associated documentation files (the "Software"), to deal in
the Software without restriction, including without limitation the rights to
use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies
of the Software, and to permit persons to whom the Software is furnished to do
so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.

------------------------------------------------------------------------------
ALTERNATIVE B - Public Domain (www.unlicense.org)

This is free and unencumbered software released into the public domain.
Anyone is free to copy, modify, publish, use, compile, sell, or distribute this
software, either in source code form or as a compiled binary, for any purpose,
commercial or non-commercial, and by any means.

In jurisdictions that recognize copyright laws, the author or authors of this
software dedicate any and all copyright interest in the software to the public
domain. We make this dedication for the benefit of the public at large and to
the detriment of our heirs and successors. We intend this dedication to be an
overt act of relinquishment in perpetuity of all present and future rights to
this software under copyright law.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN
ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION
WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
*/
