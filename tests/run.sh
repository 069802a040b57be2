#!/usr/bin/env bash
# run.sh - `make test`: every tests/test_*.c, the examples, live.py and live_auth.py against real servers, run_pg.sh. Last line: N passed, N failed.
set -uo pipefail
cd "$(dirname "$0")/.."
. tests/common.sh
. tests/run_pg.sh
tests/install.sh test || exit 1
cc=${CC:-cc}
out=build/tests

say "building"
# At -O0, which compiles fastest; but these count long, and -O1 more than pays for itself.
heavy="test_auth_kdf test_auth_password test_auth_der test_auth_rsa test_auth_p256"
LEFT_OUT="^($(echo $heavy | tr ' ' '|'))\$" build_all $out $cc $strict -O0 -g
build_names $out "$heavy" $cc $strict -O1 -g
build_examples build/examples $cc $strict -O0 -g
for name in $(example_names); do
    [ -x build/examples/$name ]
    claim "examples/$name.c compiles without a warning" $? build/examples/$name.build
done
say "running"
export TEST_TIMEOUT=240
for backend in epoll uring; do enqueue "live.py $backend" $out/live-$backend.log python3 tests/live.py --backend $backend build/examples; done
queue_all $out ""
enqueue "interop_auth.py" $out/interop_auth.log python3 tests/interop_auth.py build/examples
enqueue "live_auth.py" $out/live_auth.log python3 tests/live_auth.py build/examples
run_queue
run_browser browser.mjs $out/browser.log build/examples
run_pg
end
