/* hello.c - the smallest server: one route that registers itself.
   cc -O2 -pthread examples/hello.c -o hello && ./hello
   Try: curl http://127.0.0.1:8080/hello/world      ./hello --help */
#define CHOPIN_IMPLEMENTATION
#include "../chopin.h"

CHOPIN_GET(hello, "/hello/:name") {
    return chopin_textf(c, 200, "Hello, %.*s!\n", CHOPIN_FMT(chopin_param(c, "name")));
}

int main(int argc, char **argv) { return chopin_main(argc, argv, NULL); }
