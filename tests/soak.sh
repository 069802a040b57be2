#!/usr/bin/env bash
# soak.sh - `make soak`: SOAK_MINUTES (60) of mixed load on kitchen_sink with its memory and descriptors watched, then as long of fuzzing, then the long counts of chopin_auth.h and chopin_pg.h.
set -uo pipefail
cd "$(dirname "$0")/.."
. tests/common.sh
. tests/run_pg.sh
tests/install.sh check || exit 1
minutes=${SOAK_MINUTES:-60}
out=build/soak
mkdir -p $out
${CC:-cc} -O2 -g -pthread examples/kitchen_sink.c -o $out/kitchen_sink -lm || exit 1

$out/kitchen_sink --listen 127.0.0.1:0 2>$out/log &
server=$!
trap 'kill $server 2>/dev/null' EXIT
for _ in $(seq 100); do
    port=$(sed -n 's/.*listening on .*port \([0-9]*\).*/\1/p' $out/log)
    [ -n "$port" ] && break
    sleep 0.1
done
[ -n "$port" ] || { claim "the server starts" 1 $out/log; end; exit 1; }

rss() { awk '/^VmRSS/ { print $2 }' /proc/$server/status; }
descriptors() { ls /proc/$server/fd | wc -l; }
load() {                                    # load SECONDS: each route in turn
    local path
    for path in /plaintext /json /user/7 "/query?x=%41" /sleep/3 /large/300000 /group/deep /offload /post /early-hints /nope /panic; do
        wrk -t1 -c64 -d"$1"s --timeout 20s "http://127.0.0.1:$port$path" >$out/wrk.log 2>&1
        grep -q 'Socket errors' $out/wrk.log && { say "$path:"; cat $out/wrk.log; return 1; }
    done
    wrk -t1 -c64 -d"$1"s -H 'Connection: close' "http://127.0.0.1:$port/plaintext" >$out/wrk.log 2>&1
}

load 2
sleep 2
before=$(rss) fds=$(descriptors) errors=0 until=$((SECONDS + 60 * minutes))
while [ $SECONDS -lt $until ]; do
    load 5 || errors=$((errors + 1))
    say "  resident $(rss) KiB, $(descriptors) descriptors"
done
sleep 2
claim "$minutes minutes of load without a socket error" $errors
claim "resident memory $before KiB before, $(rss) KiB after: within 4 MiB" $(( $(rss) > before + 4096 ))
claim "descriptors $fds before, $(descriptors) after: the same" $(( $(descriptors) > fds ))
kill $server
wait $server
claim "ends with 0" $?
FUZZ_SECONDS=$((minutes * 60)) tests/check.sh fuzz >$out/fuzz.log 2>&1
claim "$minutes minutes of each fuzzer" $? $out/fuzz.log

# chopin_auth.h: the long counts, and every level of optimisation.
AUTH_CASES=100000 LEVELS="-O0 -O1 -O2 -O3 -Os" tests/check.sh auth-diff auth-ct >$out/auth.log 2>&1
claim "100,000 cases beside other libraries; constant time at five levels" $? $out/auth.log
for name in test_auth_ed25519 test_auth_p256; do
    ${CC:-cc} -O2 tests/$name.c -o $out/$name -lm && CHOPIN_TEST_LONG=1 $out/$name >$out/$name.log 2>&1
    claim "a million random cases of $name" $? $out/$name.log
done
soak_pg
end
