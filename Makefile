# For users `cc` is the build system; this file is for those who work on Chopin itself.
# CC, CFLAGS, PREFIX and DESTDIR are honoured:  make CC=clang CFLAGS='-O3 -march=native'

CC      ?= cc
CFLAGS  ?= -O2 -g
PREFIX  ?= /usr/local
HEADERS := chopin.h $(wildcard chopin_pg.h chopin_auth.h)
PROGRAMS := $(patsubst examples/%.c,build/%,$(wildcard examples/*.c))
export CC CFLAGS

all: $(PROGRAMS)        ## the examples, into build/ (this is what plain `make` does)

build/%: examples/%.c $(HEADERS)
	@mkdir -p build
	$(CC) $(CFLAGS) -pthread $< -o $@ $(LDFLAGS) -lm

run: build/hello        ## serve examples/hello.c on 127.0.0.1:8080 (ctrl-C ends it)
	@echo "try: curl http://127.0.0.1:8080/hello/world"
	@build/hello

test:                   ## all tests; installs what they lack; under 5 minutes
	@tests/run.sh

check:                  ## the same under ASan, UBSan, TSan, valgrind, two compilers, and fuzzers; under 25 minutes
	@tests/check.sh

fuzz:                   ## each fuzzer for FUZZ_SECONDS (60)
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-60} tests/check.sh fuzz

soak:                   ## SOAK_MINUTES (60) of load, with memory watched, and of fuzzing
	@tests/soak.sh

bench:                  ## bench_web, bench_auth, bench_pg and bench_tfb, about 90 minutes; fails if one of the last three misses a bar
	@failed=0; for part in bench_web bench_auth bench_pg bench_tfb; do $(MAKE) --no-print-directory $$part || failed=1; done; exit $$failed

bench_web:              ## against a floor and other servers, about 75 minutes; PEERS="name=command with {port}" adds one
	@bench/run.py $${PEERS:+--peers "$$PEERS"}

ct:                     ## constant time of chopin_auth.h: secrets undefined under valgrind and MSan, two compilers, five levels; 5 minutes
	@tests/install.sh check && tests/ct.sh

bench_auth:             ## chopin_auth.h beside OpenSSL, nettle, libsodium, libargon2, libjwt; about 5 minutes
	@bench/auth.py

bench_pg:               ## chopin_pg.h beside libpq and a floor, on a server of its own; about 7 minutes
	@bench/pg.py

bench_tfb:              ## /db of examples/tfb.c beside its parts and beside Fastify with postgres (npm); about 2 minutes
	@bench/tfb_db.py

size:                   ## text, memory at start, memory of an idle connection
	@bench/size.sh

install: $(HEADERS)     ## the headers, into $(DESTDIR)$(PREFIX)/include
	install -d $(DESTDIR)$(PREFIX)/include
	install -m 644 $(HEADERS) $(DESTDIR)$(PREFIX)/include

uninstall:              ## takes them away again
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/include/,$(HEADERS))

clean:                  ## removes build/
	rm -rf build

help:                   ## this list
	@awk -F':.*## ' '/^[a-z_]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

.PHONY: all run test check fuzz soak ct bench bench_web bench_auth bench_pg bench_tfb size install uninstall clean help
