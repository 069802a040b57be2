# common.sh - what run.sh, check.sh and soak.sh share: building, running and counting. Sourced, from the root of the tree.
strict="-std=c11 -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -pedantic -Werror"
passed=0
failed=0

say() { printf '%s\n' "$*"; }

# excerpt LOG: its beginning and its end, without the sanitizers' maps of memory.
excerpt() {
    grep -vE '^ *(=>|  )0x[0-9a-f]+: |^Shadow byte|^  [A-Z][a-z ]+:  +[0-9a-f]{2}|^  Partially' "$1" |
        awk 'NR <= 45 { print; next } { last[NR % 15] = $0 } END { if (NR > 60) print "..."; for (i = (NR > 60 ? NR - 14 : 46); i <= NR; i++) print last[i % 15] }' |
        cut -c1-300 | sed 's/^/    /'
}

# claim NAME STATUS [LOG]: one more test, passed when the status is 0.
claim() {
    if [ "$2" -eq 0 ]; then passed=$((passed + 1)); return 0; fi
    failed=$((failed + 1))
    say "FAILED $1"
    if [ -s "${3:-}" ]; then excerpt "$3"; fi
    return 1
}

# Tests that use real sockets run once for each backend.
on_sockets="test_worker test_fiber test_security test_websocket"
# Tests of what needs zlib run once more with it.
on_zlib="test_compress test_stream test_ws test_websocket"

# LEFT_OUT: those whose name matches it are not counted among all (check.sh runs the tests of chopin_auth.h in its own way). Those of chopin_pg.h: run_pg.sh.
all_tests() { printf '%s\n' tests/test_*.c | sed 's|.*/||; s|\.c$||' | grep -vE "^test_pg_|${LEFT_OUT:-^$}"; }
auth_tests() { printf '%s\n' tests/test_auth_*.c | sed 's|.*/||; s|\.c$||' | grep -vE "${1:-^$}"; }

# build_all FOLDER COMPILER FLAGS...: every tests/test_*.c into FOLDER, two at a time; FOLDER/X.build holds what the compiler said.
# Those on sockets once more, for io_uring, into FOLDER/uring; those with zlib into FOLDER/zlib.
build_all() {
    local folder=$1; shift
    build_names "$folder" "$(all_tests)" "$@"
    build_names "$folder/uring" "$on_sockets" "$@" '-DKIT_BACKEND="uring"'
    LIBS=-lz build_names "$folder/zlib" "$on_zlib" "$@" -DCHOPIN_WITH_ZLIB
}
build_names() {
    local folder=$1 names=$2; shift 2
    mkdir -p "$folder"
    printf '%s\n' $names |
        xargs -P 2 -I{} sh -c 'rm -f "$0/{}"; "$@" tests/{}.c -o "$0/{}" -pthread -lm $LIBS >"$0/{}.build" 2>&1 || rm -f "$0/{}"' "$folder" "$@"
}

# build_examples FOLDER COMPILER FLAGS...: every example into FOLDER, two at a time. HASHING: one more flag for those that hash passwords.
example_names() { printf '%s\n' examples/*.c | sed 's|.*/||; s|\.c$||'; }
build_examples() {
    local folder=$1; shift
    mkdir -p "$folder"
    example_names | xargs -P 2 -I{} sh -c 'rm -f "$0/{}"; "$@" $(grep -q chopin_auth.h examples/{}.c && echo "${HASHING:-}") -pthread examples/{}.c -o "$0/{}" -lm >"$0/{}.build" 2>&1 || rm -f "$0/{}"' "$folder" "$@"
}

# count NAME STATUS LOG SECONDS: adds a program's last line to the sum; without such a line it counts as one failure.
count() {
    local line p f
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$3" | tail -1)
    if [ -z "$line" ]; then claim "$1 ended with status $2 before its last line" 1 "$3"; return; fi
    p=${line%% *} f=${line#*, } f=${f%% *}
    [ "$2" -ne 0 ] && [ "$f" -eq 0 ] && f=1            # passed everything, then died: a leak, a sanitizer
    passed=$((passed + p)) failed=$((failed + f))
    printf '  %-28s %5d passed, %d failed, %s s\n' "$1" "$p" "$f" "$4"
    if [ "$f" -gt 0 ]; then grep -vxF "$line" "$3" >"$3.rest"; excerpt "$3.rest"; fi
}

# run_job NAME LOG COMMAND...: with a deadline, so that a test that hangs is a failure and not a hang. LOG.end holds how it ended.
run_job() {
    local name=$1 log=$2 status=0 from=$SECONDS; shift 2
    timeout -k 5 "${TEST_TIMEOUT:-120}" "$@" >"$log" 2>&1 </dev/null || status=$?
    [ "$status" -eq 124 ] && say "$name: stopped after ${TEST_TIMEOUT:-120} s" >>"$log"
    say "$status $((SECONDS - from))" >"$log.end"
}
count_job() {
    local status seconds
    read -r status seconds <"$2.end"
    count "$1" "$status" "$2" "$seconds"
}
run_one() { run_job "$@"; count_job "$@"; }

# enqueue NAME LOG COMMAND...: for run_queue, which runs two at a time and counts in order.
queue=()
enqueue() { local line; printf -v line '%q ' "$@"; queue+=("$line"); }
run_queue() {
    local job
    for job in "${queue[@]}"; do
        while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n; done
        eval "run_job $job" &
    done
    wait
    for job in "${queue[@]}"; do eval "count_job $job"; done
    queue=()
}

# queue_all FOLDER LABEL [PREFIX...]: every test built there; PREFIX stands before the program (valgrind).
queue_all() {
    local folder=$1 label=$2; shift 2
    queue_names "$folder" "$label" "$(all_tests)" "$@"
    queue_names "$folder/uring" "$label"uring: "$on_sockets" "$@"
    queue_names "$folder/zlib" "$label"zlib: "$on_zlib" "$@"
}
queue_names() {
    local folder=$1 label=$2 names=$3 name; shift 3
    for name in $names; do
        if [ -x "$folder/$name" ]; then enqueue "$label$name" "$folder/$name.log" "$@" "$folder/$name"
        else claim "$label$name does not compile" 1 "$folder/$name.build"; fi
    done
}

# run_browser NAME LOG FOLDER: the examples built there, in Chromium, if that is there.
run_browser() {
    local why
    if why=$(tests/browser.mjs --ready 2>&1); then run_one "$1" "$2" tests/browser.mjs "$3"
    else say "  $1 skipped: $why"; fi
}

# The last line, and the exit status.
end() {
    say "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}
