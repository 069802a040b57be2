/* fuzz_auth_base64.c - base64url, base64 and base32: accepted text re-encodes to itself, byte for byte.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined fuzz_auth_base64.c -o fuzz && ./fuzz        gcc -g -O1 -fsanitize=address,undefined -DFUZZ_MAIN fuzz_auth_base64.c -o fuzz && ./fuzz 60 */
#include "auth.h"
#ifdef FUZZ_MAIN
static const char *const seeds[] = { "", "AA", "AAA", "AAAA", "-_-_", "+/+/", "Zm9vYmFy", "Zm9vYg==", "MZXW6YTBOI", "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9" };
#endif
#include "fuzz_auth_kit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t bytes[5000];
    static char again[8000];
    chopin_str in = { (const char *)data, size };
    if (size > 4000) return 0;
    int n = chopin_base64url_decode(in, bytes, sizeof bytes);
    if (n >= 0) MUST(chopin_base64url_encode((chopin_str){ (char *)bytes, (size_t)n }, again, sizeof again) == (int)size && memcmp(again, data, size) == 0);
    if (n > 0) MUST(chopin_base64url_decode(in, bytes, (size_t)n - 1) == CHOPIN_AUTH_BUFFER);
    for (int padded = 0; padded < 2; padded++) {
        n = chopin_auth__base64_decode(in, padded == 1, bytes, sizeof bytes);
        if (n >= 0) MUST(chopin_auth__base64_encode((chopin_str){ (char *)bytes, (size_t)n }, padded == 1, again, sizeof again) == (int)size && memcmp(again, data, size) == 0);
    }
    n = chopin_base32_decode(in, bytes, sizeof bytes);
    if (n >= 0) MUST(chopin_base32_encode((chopin_str){ (char *)bytes, (size_t)n }, again, sizeof again) == (int)size && memcmp(again, data, size) == 0);
    n = chopin_base64url_encode(in, again, sizeof again);
    MUST(n >= 0 && chopin_base64url_decode((chopin_str){ again, (size_t)n }, bytes, sizeof bytes) == (int)size && (size == 0 || memcmp(bytes, data, size) == 0));
    return 0;
}
