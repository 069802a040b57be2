/* build_attr_b.c - attribute routes in a file that nobody refers to. See build_attr_a.c. */
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER

CHOPIN_GET(from_b, "/b") { return chopin_text(c, 200, "/b"); }
CHOPIN_POST(posted_to_b, "/b") { return chopin_text(c, 200, "posted"); }
CHOPIN_ROUTE("PURGE", purged_in_b, "/b") { return chopin_empty(c, 204); }
