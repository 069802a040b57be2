/* kit.h - what the tests of the upper rooms share: play text to an app and look at the replies. Include it behind the implementation and test.h. */
#ifndef CHOPIN_TEST_KIT_H
#define CHOPIN_TEST_KIT_H
#include <string.h>

#ifndef KIT_BACKEND
#define KIT_BACKEND "epoll"                  // the tests of real sockets are built once for each backend
#endif

/* Options of a silent app that ignores the environment. */
static inline chopin_options kit_options(void) { return (chopin_options){ .workers = 1, .quiet = true, .no_env = true, .no_signals = true, .backend = KIT_BACKEND }; }

/* Plays `bytes` in full; the reply lasts until the next call. */
static inline chopin_str kit_play(chopin_app *app, chopin_str bytes) { return chopin_test_request(app, bytes, NULL); }
static inline chopin_str kit_play_z(chopin_app *app, const char *bytes) { return kit_play(app, (chopin_str){ bytes, strlen(bytes) }); }

/* How often `needle` stands in `hay`. */
static inline int kit_count(chopin_str hay, const char *needle) {
    int    n = 0;
    size_t len = strlen(needle);
    for (size_t i = 0; hay.ptr && i + len <= hay.len; i++) n += memcmp(hay.ptr + i, needle, len) == 0;
    return n;
}
static inline bool kit_has(chopin_str hay, const char *needle) { return kit_count(hay, needle) > 0; }

/* The status of the first reply; 0 if there is none. */
static inline int kit_status(chopin_str reply) {
    return reply.ptr && reply.len > 12 && memcmp(reply.ptr, "HTTP/1.1 ", 9) == 0 ? (reply.ptr[9] - '0') * 100 + (reply.ptr[10] - '0') * 10 + reply.ptr[11] - '0' : 0;
}

/* What stands behind the first blank line. */
static inline chopin_str kit_body(chopin_str reply) {
    for (size_t i = 0; reply.ptr && i + 4 <= reply.len; i++) {
        if (memcmp(reply.ptr + i, "\r\n\r\n", 4) == 0) return (chopin_str){ reply.ptr + i + 4, reply.len - i - 4 };
    }
    return (chopin_str){ NULL, 0 };
}
#endif
