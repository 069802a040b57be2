/* build_c.c - the file that implements. Its program plays requests to an app whose routes come from here and from a second file. See build.sh. */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER
#include <stdio.h>
#include <string.h>

#ifdef __cplusplus
#error "this one is C"
#endif

void second_file(chopin_app *app);                           /* build_c2.c or build_cpp.cpp: adds GET /second */

static int sleeps(chopin_ctx *c) {
    chopin_sleep(c, 20);
    return chopin_text(c, 200, "first");
}

static int check(chopin_app *app, const char *path, const char *body) {
    char request[200];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: t\r\n\r\n", path);
    chopin_str reply = chopin_test_request(app, (chopin_str){ request, strlen(request) }, NULL);
    size_t     len = strlen(body);
    if (reply.ptr && reply.len > len && memcmp(reply.ptr, "HTTP/1.1 200 OK\r\n", 17) == 0 && memcmp(reply.ptr + reply.len - len, body, len) == 0) return 0;
    printf("%s: \"%.*s\"\n", path, CHOPIN_FMT(reply));
    return 1;
}

int main(void) {
    chopin_options options = { .workers = 1, .quiet = true, .no_env = true, .no_signals = true };
    chopin_app *app = chopin_new(&options);
    chopin_route(app, "GET", "/first", sleeps, NULL);
    chopin_fixed(app, "/fixed", NULL, "fixed");
    second_file(app);
    int failed = check(app, "/first", "first") + check(app, "/fixed", "fixed") + check(app, "/second?x=%41", "second A");
    chopin_free(app);
    return failed != 0;
}
