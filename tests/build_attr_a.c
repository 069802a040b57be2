/* build_attr_a.c - attribute routes here and in build_attr_b.c. Arguments: the paths that must answer with their own name; exit 1 if one does not. See build.sh. */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER
#include <stdio.h>
#include <string.h>

CHOPIN_GET(from_a, "/a") { return chopin_text(c, 200, "/a"); }
CHOPIN_GET(last_of_a, "/z") { return chopin_text(c, 200, "/z"); }

int main(int argc, char **argv) {
    int failed = 0;
    chopin_options options = { .workers = 1, .quiet = true, .no_env = true, .no_signals = true };
    chopin_app *app = chopin_new(&options);
    if (chopin_mount_all(app) != CHOPIN_OK) return 2;
    for (int i = 1; i < argc; i++) {
        char request[200];
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: t\r\n\r\n", argv[i]);
        chopin_str reply = chopin_test_request(app, (chopin_str){ request, strlen(request) }, NULL);
        size_t     len = strlen(argv[i]);
        bool ok = reply.ptr && reply.len > len && memcmp(reply.ptr, "HTTP/1.1 200", 12) == 0 && memcmp(reply.ptr + reply.len - len, argv[i], len) == 0;
        if (!ok) { printf("no route %s\n", argv[i]); failed = 1; }
    }
    chopin_free(app);
    return failed;
}
