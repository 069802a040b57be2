/* build_pg_a.c - one of two files linked together: this one holds the implementation. See build_pg.sh. */
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include "../chopin_pg.h"                                      /* twice is once */
