/* fuzz_auth_cookie.c - cookies, CSRF tokens and API keys: no text but those we made passes.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined fuzz_auth_cookie.c -o fuzz && ./fuzz        gcc -g -O1 -fsanitize=address,undefined -DFUZZ_MAIN fuzz_auth_cookie.c -o fuzz && ./fuzz 60 */
#include "auth.h"
#ifdef FUZZ_MAIN
static const char *const seeds[] = { "", "AQEAAAAAZVPxAA", "AgEAAAAAZVPxAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "sk_AAAAAAAAAAAAAAAA_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA_AAAAAAA" };
#endif
#include "fuzz_auth_kit.h"

static chopin_auth_cookie_ring ring;
static chopin_auth_record records[16];
static chopin_auth_memory memory;
static chopin_auth_store store;
static char made[4][200];                                                /* signed, sealed, CSRF, API key */
static const chopin_auth_cookie written = { { "c", 1 }, { "p", 1 }, 2000000000 }, reading = { { "c", 1 }, { "p", 1 }, 1 };

static void prepare(void) {
    static const chopin_auth_cookie_key keys[] = { { 1, { "0123456789abcdef0123456789abcdef", 32 } } };
    MUST(chopin_auth_cookie_ring_init(&ring, keys, 1) == 0 && chopin_auth_store_init(&store, &memory, records, sizeof records) == 0);
    MUST(chopin_auth_cookie_sign(&ring, &written, CHOPIN_STR("value"), made[0], 200) > 0 && chopin_auth_cookie_seal(&ring, &written, CHOPIN_STR("value"), made[1], 200) > 0);
    MUST(chopin_auth_csrf_token(&ring, CHOPIN_STR("session"), made[2]) == 0 && chopin_auth_apikey_new(&store, CHOPIN_STR("sk"), CHOPIN_STR("u"), CHOPIN_STR(""), 0, 0, made[3]) > 0);
}

static void ask(const char *text, size_t n) {
    char out[4000];
    chopin_auth_record r;
    const bool passed[4] = { chopin_auth_cookie_open(&ring, &reading, (chopin_str){ text, n }, out, sizeof out) >= 0, chopin_auth_cookie_unseal(&ring, &reading, (chopin_str){ text, n }, out, sizeof out) >= 0,
        chopin_auth_csrf_check(&ring, CHOPIN_STR("session"), (chopin_str){ text, n }) == 0, chopin_auth_apikey_check(&store, (chopin_str){ text, n }, 1, &r) == 0 };
    for (int i = 0; i < 4; i++) MUST(passed[i] == (strlen(made[i]) == n && memcmp(made[i], text, n) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char text[260];
    if (!ring.count) prepare();
    if (size > 4000) return 0;
    ask((const char *)data, size);
    for (int i = 0; i < 4 && size >= 2; i++) {                           // one of ours, changed where the input says
        size_t n = strlen(made[i]);
        memcpy(text, made[i], n);
        for (size_t k = 0; k + 1 < size && k < 8; k += 2) text[data[k] % n] = (char)(text[data[k] % n] ^ (data[k + 1] & 0x7f));
        ask(text, n);
        ask(text, data[0] % (n + 1));
    }
    return 0;
}
