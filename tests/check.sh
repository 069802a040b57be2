#!/usr/bin/env bash
# check.sh [PART...] - `make check`: what `make test` runs, under sanitizers, valgrind and other compilers, and the fuzzers. Under 25 minutes.
#   Parts, all by default: style build gcc-asan clang-asan clang-tsan gcc-tsan valgrind live-asan live-tsan whole
#     auth-build auth-asan auth-tsan auth-machines auth-ct auth-diff pg-build pg-asan pg-tsan pg-machines fuzz      (pg-: run_pg.sh)
# Last line: N passed, N failed.
set -uo pipefail
cd "$(dirname "$0")/.."
. tests/common.sh
. tests/run_pg.sh
tests/install.sh check || exit 1
out=build/check
mkdir -p $out
export TEST_TIMEOUT=300
export ASAN_OPTIONS=detect_stack_use_after_return=0:allow_user_segv_handler=1:handle_abort=0 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=halt_on_error=0:exitcode=66
asan="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
tsan="-fsanitize=thread -fno-omit-frame-pointer"

# ---- rules that a script can check ----

# The map in the first comment names each room, in the order of the banners; it stands in columns, to be read downwards.
map_matches_banners() {
    local header bad=0
    for header in chopin*.h; do map_matches_banners_of "$header" || { echo "$header"; bad=1; }; done
    return $bad
}
map_matches_banners_of() {
    local map banners
    map=$(awk '/MAP OF THIS FILE/ { on = 1 } /COMPILE-TIME SWITCHES/ { exit }
               on && match($0, /^ +>>[a-z0-9]+/) { left = left substr($0, RSTART, RLENGTH) " "; rest = substr($0, RLENGTH + 1)
                                                   if (match(rest, />>[a-z0-9]+/)) right = right substr(rest, RSTART, RLENGTH) " " }
               END { print left right }' "$1" | tr -s ' ' '\n' | grep .)
    banners=$(awk '/^\/\* =====/ { getline; print }' "$1" | grep -oE '^ *>>[a-z0-9]+' | tr -d ' ')
    [ -n "$map" ] && diff <(echo "$map") <(echo "$banners")
}

# A prototype of a static function, on one line or several: `static` at the margin, and a `;` before any `{` or `=`. Macro lines of the API half
# (CHOPIN_ROUTE must declare its handler first) end in a backslash.
no_forward_declarations() {
    awk '/^static / && !/\\$/ { text = $0
             while (text !~ /[;{=]/ && (getline more) > 0) text = text " " more
             sub(/\/\/.*/, "", text); gsub(/_Atomic\([^)]*\)/, "", text)
             if (text ~ /\(/ && match(text, /[;{=]/) && substr(text, RSTART, 1) == ";" && text !~ /\(\*/) { print FILENAME ":" FNR ": " text; bad = 1 } }
         END { exit bad }' chopin*.h
}

# README's program is examples/hello.c without its comment.
readme_program_is_hello() {
    diff <(awk '/^```c$/ { n++; next } /^```$/ { if (n == 1) exit } n == 1' README.md) <(awk 'past; /\*\/$/ { past = 1 }' examples/hello.c)
}

# Every example opens with a comment that holds the command that builds it, and that command works.
example_builds_as_it_says() {
    local command
    command=$(head -3 "$1" | grep -oE 'cc -O2 -pthread [^&]*' | head -1)
    if [ -z "$command" ]; then echo "$1: no command in its first comment"; return 1; fi
    ${command/ -o / -o $out/} || { echo "$1: $command"; return 1; }
}
examples_build_as_they_say() {
    export out
    export -f example_builds_as_it_says
    printf '%s\n' examples/*.c | xargs -P 2 -I{} bash -c 'example_builds_as_it_says {}'
}

make_installs_and_uninstalls() {
    local root=$PWD/$out/root header
    rm -rf "$root"
    make -s install DESTDIR="$root" PREFIX=/usr || return 1
    for header in chopin*.h; do cmp "$header" "$root/usr/include/$header" || return 1; done
    make -s uninstall DESTDIR="$root" PREFIX=/usr && [ -z "$(ls "$root/usr/include")" ]
}

licence_stands_at_the_end_of_each_header() {
    local header bad=0
    for header in chopin*.h; do
        diff <(grep -v '^$' LICENSE | sed 's/^ *//') <(tail -60 "$header" | sed 's|^[/* ]*||; s|[ ]*\*/$||' | grep -v '^$' | sed -n '/^This software is available/,$p') >/dev/null ||
            grep -qi 'alternative b' <(tail -60 "$header") || { echo "$header"; bad=1; }
    done
    return $bad
}

part_style() {
    local rule
    for rule in map_matches_banners no_forward_declarations readme_program_is_hello examples_build_as_they_say make_installs_and_uninstalls licence_stands_at_the_end_of_each_header; do
        "$rule" >$out/$rule.log 2>&1
        claim $rule $? $out/$rule.log
    done
}

part_build() {
    enqueue "build.sh gcc"    $out/build_gcc.log   tests/build.sh gcc g++
    enqueue "build.sh clang"  $out/build_clang.log tests/build.sh clang
    enqueue "build.sh others" $out/build_other.log tests/build.sh -gcc -g++ -clang
    run_queue
}

# ---- tests under tools ----

# Sanitized programs are built at -O0: compiling takes a third of what -O1 takes, which is most of a run, and the sanitizers see more, not less.

# tests_under NAME COMPILER FLAGS: all tests, built so.
tests_under() {
    local name=$1; shift
    LEFT_OUT=^test_auth_ build_all $out/$name "$@" -O0 -g
    LEFT_OUT=^test_auth_ queue_all $out/$name "$name "
    run_queue
}
part_gcc_asan()   { tests_under gcc-asan   gcc   $asan; }
part_clang_asan() { tests_under clang-asan clang $asan; }
part_clang_tsan() { tests_under clang-tsan clang $tsan; }

# The other compiler's view of threads: only those tests that have any.
part_gcc_tsan() {
    build_names $out/gcc-tsan "$on_sockets" gcc $tsan -O0 -g
    build_names $out/gcc-tsan/uring "$on_sockets" gcc $tsan -O0 -g '-DKIT_BACKEND="uring"'
    queue_names $out/gcc-tsan "gcc-tsan " "$on_sockets"
    queue_names $out/gcc-tsan/uring "gcc-tsan uring:" "$on_sockets"
    run_queue
}

# At -O0: an optimizer may test an unset value whose outcome does not matter, which valgrind cannot know. What faults on purpose is left out (valgrind
# reports each), and test_worker with it.
part_valgrind() {
    local name names tests="test_http1 test_body test_guard test_json test_response test_memory test_time test_server test_security test_conn test_fiber"
    build_names $out/valgrind "$tests" gcc -O0 -g -DCHOPIN_WITH_VALGRIND -DCHOPIN_NO_SIMD
    for name in $tests; do
        names=""
        [ $name = test_fiber ] && names=$(grep -oE 'RUN\([a-z0-9_]+\)' tests/$name.c | sed 's/RUN(//; s/)//' | grep -vE 'overflow|retired|crash|null_write|abort|every_exit|containment|build_behaves')
        if [ ! -x $out/valgrind/$name ]; then claim "valgrind $name does not compile" 1 $out/valgrind/$name.build; continue; fi
        enqueue "valgrind $name" $out/valgrind/$name.log valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite $out/valgrind/$name $names
    done
    run_queue
}

# live_under NAME COMPILER FLAGS: the examples, built so, under curl, raw sockets, wrk and a browser; the sanitizer must stay silent.
live_under() {
    local name=$1 backend one; shift
    HASHING=-O1 build_examples $out/$name "$@" -O0 -g
    for one in $(example_names); do [ -x $out/$name/$one ] || claim "$name $one compiles" 1 $out/$name/$one.build; done
    for backend in epoll uring; do
        enqueue "$name $backend" $out/$name-$backend.log python3 tests/live.py --sanitized --backend $backend --load-seconds 3 $out/$name
    done
    enqueue "$name live_auth" $out/$name-auth.log python3 tests/live_auth.py --sanitized $out/$name
    run_queue
    run_browser "$name browser" $out/$name-browser.log $out/$name
}
part_live_asan() { live_under live-asan clang $asan; }
part_live_tsan() { live_under live-tsan clang $tsan; }

# ---- chopin_auth.h: tests of its own kind. TEST_SMALL cuts random cases where machines are slow; the long counts are soak.sh's ----

# auth_under NAME TESTS COMPILER FLAGS: these tests, built so, and run two at a time; RUN_BY stands before the program (an emulator).
auth_under() {
    local name=$1 tests=$2 one; shift 2
    build_names $out/$name "$tests" "$@"
    printf '%s\n' $tests | TEST_SMALL=1 xargs -P 2 -I{} sh -c 'folder=$0; from=$(date +%s)
        timeout -k 5 "$TEST_TIMEOUT" $RUN_BY "$folder/{}" >"$folder/{}.log" 2>&1 </dev/null; echo "$? $(($(date +%s) - from))" >"$folder/{}.end"' $out/$name
    for one in $tests; do
        if [ -x $out/$name/$one ]; then count "$name $one" $(cat $out/$name/$one.end | sed "s|^\([0-9]*\) |\1 $out/$name/$one.log |"); else claim "$name $one does not compile" 1 $out/$name/$one.build; fi
    done
}
on_chopin="glue|chopin$"                                # they compile chopin.h too, which takes a sanitizer half a minute
part_auth_build() { run_one build_auth.sh $out/build_auth.log tests/build_auth.sh; }
part_auth_asan() {
    auth_under auth-clang-asan "$(auth_tests "$on_chopin")" clang $strict $asan -fsanitize=implicit-conversion -fno-sanitize-recover=implicit-conversion -O1 -g
    auth_under auth-gcc-asan "test_auth_glue test_auth_chopin" gcc $asan -O0 -g
}
part_auth_tsan() { auth_under auth-tsan "test_auth_jwk test_auth_otp test_auth_password test_auth_revocation test_auth_session" clang $tsan -O1 -g; }

# Portable code on this machine, then others: 32 bits, and under qemu one with SHA-2 instructions, one with 32 bits, one that is big-endian: there only
# the rooms that know of bytes and words.
part_auth_machines() {
    local name compiler emulator
    auth_under auth-portable "$(auth_tests "$on_chopin")" gcc -std=c11 -Os -DCHOPIN_AUTH_NO_SIMD -DCHOPIN_AUTH_NO_INT128
    auth_under auth-m32 "$(auth_tests "$on_chopin")" gcc -std=c11 -m32 -isystem /usr/include/x86_64-linux-gnu -O1
    while read -r name compiler emulator; do
        export RUN_BY="$emulator"
        auth_under "auth-$name" "$(auth_tests "$on_chopin|password|guard|roles|session")" $compiler -std=c11 -O1
    done <<END
aarch64 aarch64-linux-gnu-gcc qemu-aarch64 -cpu max -L /usr/aarch64-linux-gnu
armhf arm-linux-gnueabihf-gcc qemu-arm -L /usr/arm-linux-gnueabihf
s390x s390x-linux-gnu-gcc qemu-s390x -L /usr/s390x-linux-gnu
END
    unset RUN_BY
}

# Constant time in short form, at one level; `make ct` goes through five.
part_auth_ct() { TEST_TIMEOUT=600 CT_FOLDER=$PWD/$out/ct LEVELS="${LEVELS:--O2}" run_one ct.sh $out/ct.log tests/ct.sh; }

# Beside OpenSSL, libsodium, libargon2, libxcrypt and nettle. Cases: AUTH_CASES of a fast primitive, a fiftieth of a slow one.
part_auth_diff() {
    local cases=${AUTH_CASES:-20000}
    mkdir -p $out/diff
    cc -O2 tests/diff_auth_hash.c -o $out/diff/hash -lcrypto -lnettle -lsodium -largon2 -lcrypt >$out/diff/hash.build 2>&1 || claim "diff_auth_hash.c compiles" 1 $out/diff/hash.build
    cc -O2 tests/diff_auth_pk.c -o $out/diff/pk -lcrypto -lsodium >$out/diff/pk.build 2>&1 || claim "diff_auth_pk.c compiles" 1 $out/diff/pk.build
    DIFF_FAST=$cases DIFF_SLOW=$((cases / 50)) TEST_TIMEOUT=3600 run_one "diff_auth_hash $cases" $out/diff/hash.log $out/diff/hash
    TEST_TIMEOUT=3600 run_one "diff_auth_pk $cases" $out/diff/pk.log $out/diff/pk $cases
}

# Large files from their first byte to their last: too slow for `make test`.
part_whole() {
    local backend
    mkdir -p $out/whole
    gcc -O2 -pthread examples/kitchen_sink.c -o $out/whole/kitchen_sink -lm >$out/whole.build 2>&1
    for backend in epoll uring; do
        run_one "whole $backend" $out/whole-$backend.log python3 tests/live.py --whole --backend $backend $out/whole five_gibibytes_arrive_in_bounded_memory two_gibibytes_are_taken_in_bounded_memory
    done
}

# ---- fuzzers ----

# fuzz SOURCE SECONDS: libFuzzer, seeded, so that two runs do the same; findings stay in build/check.
fuzz() {
    local name scalar="" status=0
    name=$(basename "$1" .c)
    if grep -q FUZZ_SCALAR "$1"; then                    # compares with a second build of itself
        scalar=$out/$name.scalar.o
        clang -g -O1 -w -DFUZZ_SCALAR -DCHOPIN_NO_SIMD -DCHOPIN_API=static -fsanitize=address,undefined -c "$1" -o "$scalar" >$out/$name.build 2>&1 || return 1
    fi
    clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -I. "$1" $scalar -o $out/$name -pthread -lm >$out/$name.build 2>&1 || { cat $out/$name.build; return 1; }
    mkdir -p $out/$name.corpus
    $out/$name -seed=1 -max_total_time="$2" -max_len=4096 -timeout=20 -rss_limit_mb=2048 -artifact_prefix=$out/$name. -print_final_stats=1 $out/$name.corpus || status=$?
    return $status
}
part_fuzz() {
    local source seconds=${FUZZ_SECONDS:-6} jobs=()
    for source in tests/fuzz_*.c; do
        fuzz "$source" "$seconds" >$out/$(basename "$source" .c).log 2>&1 &
        jobs+=("$!:$source")
        [ $(( ${#jobs[@]} % 2 )) -eq 0 ] && finish_fuzzers "${jobs[@]}" && jobs=()
    done
    finish_fuzzers "${jobs[@]}"
}
finish_fuzzers() {
    local job status
    for job; do
        status=0; wait "${job%%:*}" || status=$?
        claim "${job#*:} finds nothing in ${FUZZ_SECONDS:-6} s" $status $out/$(basename "${job#*:}" .c).log
    done
    return 0
}

# ---- all of it ----

for part in ${*:-style build gcc-asan clang-asan clang-tsan gcc-tsan valgrind live-asan live-tsan whole auth-build auth-asan auth-tsan auth-machines auth-ct auth-diff pg-build pg-asan pg-tsan pg-machines fuzz}; do
    from=$SECONDS
    say "$part"
    "part_${part//-/_}"
    say "  $((SECONDS - from)) s"
done
end
