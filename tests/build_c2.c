/* build_c2.c - a file that only declares, in a program that has taken every pretty name for a macro. See build.sh. */
#define min(a, b)    hostile
#define max(a, b)    hostile
#define near         hostile
#define far          hostile
#define small        hostile
#define interface    hostile
#undef unix
#undef linux
#define unix         hostile
#define linux        hostile
#define ERROR        hostile
#define DEBUG        hostile
#define INFO         hostile
#define WARNING      hostile
#define OK           hostile
#define GONE         hostile
#define TIMEOUT      hostile
#define MEMORY       hostile
#define INVALID      hostile
#define STATE        hostile
#define MISSING      hostile
#define HOST         hostile
#define DATE         hostile
#define RANGE        hostile
#define ORIGIN       hostile
#define READ         hostile
#define WRITE        hostile
#define DELETE       hostile
#define X(a, b, c)   hostile
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER
#include CHOPIN_HEADER                                       /* twice is once */

#if defined(_STDIO_H) || defined(_STDLIB_H) || defined(_STRING_H) || defined(_PTHREAD_H)
#error "the API half includes more than it needs"
#endif

void second_file(chopin_app *app);

static int second(chopin_ctx *c) {
    chopin_str x = chopin_query(c, "x");
    return chopin_textf(c, 200, "second %.*s", CHOPIN_FMT(x));
}

void second_file(chopin_app *app) {
    const chopin_route_options options = { .max_body = 100 };
    chopin_route(app, "GET", "/second", second, &options);
}
