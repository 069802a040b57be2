/* fuzz_auth_phc.c - stored hash strings: what is accepted writes itself again, byte for byte, and is within the limits. Nothing is hashed here.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined fuzz_auth_phc.c -o fuzz && ./fuzz        gcc -g -O1 -fsanitize=address,undefined -DFUZZ_MAIN fuzz_auth_phc.c -o fuzz && ./fuzz 60 */
#include "auth.h"
#ifdef FUZZ_MAIN
static const char *const seeds[] = { "$argon2id$v=19$m=19456,t=2,p=1$4lP+NNvlcPOLbHB8S6PAdQ$SsbN+RAp5MRPHem7XMgnoQTuZtrdiH7CPhH6BhzhzaE", "$argon2i$v=19$m=64,t=1,p=1,keyid=cDE$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA",
    "$scrypt$ln=14,r=8,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA", "$pbkdf2-sha256$i=600000,l=32$AAECAwQFBgcICQoLDA0ODw$7xdxRO7JQgy8EJPSqLNEqSvFBtDU7JwCjdGfgyTYweY", "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "$2y$10$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui" };
#endif
#include "fuzz_auth_kit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    chopin_auth__pw h;
    char again[600];
    if (chopin_auth__pw_parse((chopin_str){ (const char *)data, size }, &h) < 0) return 0;
    MUST(size <= CHOPIN_AUTH_PW_STORED && chopin_auth__pw_limits(&h.p) == 0 && chopin_auth__pw_arena(&h.p) <= ((size_t)256 << 20) + (1 << 20) * 17);
    MUST(h.salt_len >= 8 && h.salt_len <= 48 && h.tag_len >= 16 && h.tag_len <= 64);
    int n = chopin_auth__pw_format(&h, again, sizeof again);
    MUST(n > 0);
    bool alias = data[1] == '2' && data[2] != 'b', no_length = data[1] == 'p' && !memmem(data, size, ",l=", 3);       // two forms that are read and never written
    if (!alias && !no_length) MUST((size_t)n == size && memcmp(again, data, size) == 0);
    return 0;
}
