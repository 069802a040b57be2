/* auth.h - chopin_auth.h as its tests include it: private to the file, so that only what a test calls is compiled, which takes a quarter of the time. */
#define CHOPIN_AUTH_API static __attribute__((unused))
#define CHOPIN_AUTH_IMPLEMENTATION
#include "../chopin_auth.h"

/* True where an emulator or a sanitizer makes everything slow (TEST_SMALL=1 in the environment): fewer random cases. */
#define SMALL (getenv("TEST_SMALL") != NULL)
