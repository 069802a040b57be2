/* fuzz_pg_auth.c - logins with servers of any kind, and SASLprep on any password.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined fuzz_pg_auth.c -o fuzz_pg_auth && ./fuzz_pg_auth -max_total_time=60
 *
 * First byte: even, a login; odd, a password to prepare. Second: the setup. Then messages: kind, length, bytes, in which '$' stands for our nonce and '!' for
 * the signature the server should send. A login may end well only on the ways that the setup allows, and never without the server's proof once SCRAM began. */
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"

static const char nonce[] = "fuzzfuzzfuzzfuzzfuzzfuzz";

static size_t expand(uint8_t *out, size_t cap, const uint8_t *data, size_t len, const chopin_pg__auth *a) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        char text[48];
        size_t m = 1;
        text[0] = (char)data[i];
        if (data[i] == '$') memcpy(text, nonce, m = sizeof nonce - 1);
        if (data[i] == '!') m = chopin_pg__base64_encode(chopin_pg__str(a->server_signature, 32), text);
        if (n + m > cap) break;
        memcpy(out + n, text, m);
        n += m;
    }
    return n;
}

static void fuzz_login(const uint8_t *data, size_t len) {
    static chopin_pg__scram_cache cache;
    chopin_pg__auth *a = malloc(sizeof *a);
    chopin_pg_error  e;
    unsigned flags = *data;
    bool     scram = false, proven = false, sent = false;
    chopin_pg__auth_setup s = { .user = CHOPIN_STR("u"), .password = CHOPIN_STR("p\xc3\xa4ss"), .max_iterations = 20, .cache = flags & 1 ? &cache : NULL, .tls = flags & 2, .clear_allowed = flags & 4,
        .bind_hash_len = flags & 8 ? 32 : 0, .binding = (chopin_pg__binding)((flags >> 4) % 3), .require_auth = flags & 64 ? CHOPIN_PG__AUTH_SCRAM : CHOPIN_PG__AUTH_ANY };
    chopin_pg__error_init(&e, NULL);
    chopin_pg__auth_init(a, &s);
    data++;
    len--;
    int rc = CHOPIN_PG__AUTH_MORE;
    while (len >= 2 && rc > 0) {
        size_t   n = chopin_pg__min(data[1], len - 2);
        uint8_t  body[4 + 2048], *copy;
        chopin_pg__store32(body, data[0] & 15);
        n = expand(body + 4, 2048, data + 2, n, a);
        copy = malloc(4 + n);
        memcpy(copy, body, 4 + n);
        chopin_pg__auth_state before = a->state;
        rc = chopin_pg__auth_input(a, copy, 4 + n, &e);
        free(copy);
        while (rc == CHOPIN_PG__AUTH_WORK) rc = chopin_pg__auth_work(a, 7);
        if (a->state == CHOPIN_PG__AUTH_FIRST && before == CHOPIN_PG__AUTH_START) { scram = true; memcpy(a->proof + a->nonce_at, nonce, sizeof nonce - 1); }
        proven |= a->state == CHOPIN_PG__AUTH_PROVEN;
        sent |= a->state == CHOPIN_PG__AUTH_SENT;
        if (rc == CHOPIN_PG__AUTH_SEND && (!a->out_len || a->out_len > sizeof a->message)) abort();
        if (rc == CHOPIN_PG__AUTH_SEND && s.require_auth == CHOPIN_PG__AUTH_SCRAM && !scram) abort();
        if (rc == CHOPIN_PG__AUTH_OK && ((scram && !proven) || (s.require_auth == CHOPIN_PG__AUTH_SCRAM && !proven))) abort();
        if (rc == CHOPIN_PG__AUTH_OK && s.binding == CHOPIN_PG__BINDING_REQUIRE && !(proven && a->plus && s.tls && s.bind_hash_len)) abort();
        if (rc < 0 && (e.status != rc || !e.why || strstr(e.why, "p\xc3\xa4ss"))) abort();
        size_t used = 2 + chopin_pg__min(data[1], len - 2);
        data += used;
        len -= used;
    }
    chopin_pg__auth_done(a);
    free(a);
}

static void fuzz_prep(const uint8_t *data, size_t len) {
    char *copy = malloc(len ? len : 1), *once = malloc(4 * CHOPIN_PG__PREP_MAX), *twice = malloc(4 * CHOPIN_PG__PREP_MAX);
    if (len) memcpy(copy, data, len);
    chopin_str in = chopin_pg__str(copy, len), out = chopin_pg__saslprep(in, once);
    if (out.ptr == once) {
        if (!chopin_pg__utf8_ok(in) || !chopin_pg__utf8_ok(out) || !out.len || out.len > 4 * CHOPIN_PG__PREP_MAX) abort();
        chopin_str again = chopin_pg__saslprep(out, twice);
        if (!chopin_pg__equal(again, out)) abort();          // what is prepared stays as it is
    } else if (out.ptr != copy || out.len != len) {
        abort();
    }
    free(copy);
    free(once);
    free(twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    if (len < 2) return 0;
    if (data[0] & 1) fuzz_prep(data + 1, len - 1);
    else             fuzz_login(data + 1, len - 1);
    return 0;
}
