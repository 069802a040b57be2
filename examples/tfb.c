/* tfb.c - /plaintext and /json as the TechEmpower rules want them: Server and Date in each reply, the JSON text made anew for each request.
   cc -O2 -pthread examples/tfb.c -o tfb && ./tfb
   Try: curl -i http://127.0.0.1:8080/plaintext      curl -i http://127.0.0.1:8080/json
        wrk -t1 -c64 -d5 http://127.0.0.1:8080/plaintext */
#define CHOPIN_IMPLEMENTATION
#include "../chopin.h"

CHOPIN_GET(plaintext, "/plaintext") { return chopin_bytes_static(c, 200, "text/plain", CHOPIN_STR("Hello, World!")); }
CHOPIN_GET(json,      "/json")      { return chopin_jsonf(c, 200, "{message:%s}", "Hello, World!"); }

int main(int argc, char **argv) { return chopin_main(argc, argv, NULL); }
