# run_pg.sh - chopin_pg.h's part of `make test` and `make check`. Sourced by run.sh and check.sh, after common.sh; uses $out.
# Suites on a server are run by pg.sh, which starts throwaway ones. Where PostgreSQL cannot be had they are SKIPPED, and `make check` fails, unless
# CHOPIN_PG_OPTIONAL=1 says that this is known.
pg_pure="test_pg_bytes test_pg_hash test_pg_error test_pg_wire test_pg_dsn test_pg_auth test_pg_value test_pg_param test_pg_glue"
pg_hostile="test_pg_tls test_pg_hostile"
pg_served="test_pg_conn test_pg_copy test_pg_listen test_pg_tx test_pg_pool test_pg_fibers test_pg_types test_pg_peers test_pg_http test_pg_tfb"
pg_alone="test_pg_server"                               # fills its server and crashes it: nobody else is there meanwhile

pg_install() {
    tests/install_pg.sh
    pg_ssl=""; printf '#include <openssl/ssl.h>\n' | ${CC:-cc} -E - >/dev/null 2>&1 && pg_ssl="-DCHOPIN_PG_OPENSSL"
    pg_libpq=$(pg_config --includedir 2>/dev/null)
}

# pg_build FOLDER TESTS COMPILER FLAGS...: two at a time.
pg_build() {
    local folder=$1 tests=$2; shift 2
    LIBS="${pg_ssl:+-lssl -lcrypto}" build_names "$folder" "$(printf '%s\n' $tests | grep -v peers)" "$@" $pg_ssl
    case $tests in *peers*) [ -n "$pg_libpq" ] && LIBS="-lpq" build_names "$folder" test_pg_peers "$@" -I"$pg_libpq" ;; esac
    true
}

# pg_lane FOLDER PROGRAMS...: one after the other; FOLDER/X.log and FOLDER/X.end (status and seconds) tell how it went.
pg_lane() {
    local folder=$1 name from; shift
    for name; do
        [ -x "$folder/$name" ] || continue
        from=$(date +%s)
        timeout -k 5 "${TEST_TIMEOUT:-120}" ${RUN_BY:-} "$folder/$name" >"$folder/$name.log" 2>&1 </dev/null
        echo "$? $(($(date +%s) - from))" >"$folder/$name.end"
    done
}

# pg_count FOLDER LABEL PROGRAMS...: adds up what a lane left.
pg_count() {
    local folder=$1 label=$2 name status seconds; shift 2
    for name; do
        if [ "$name" = test_pg_peers ] && [ -z "$pg_libpq" ]; then pg_skipped "$label$name: libpq-dev is not installed"
        elif [ ! -x "$folder/$name" ]; then claim "$label$name does not compile" 1 "$folder/$name.build"
        elif ! read -r status seconds 2>/dev/null <"$folder/$name.end"; then claim "$label$name was not run" 1 "$folder/server.log"
        else count "$label$name" "$status" "$folder/$name.log" "$seconds"; fi
    done
}
pg_skipped() {
    say "  SKIPPED $1"
    if [ "${PG_MUST:-0}" = 1 ] && [ "${CHOPIN_PG_OPTIONAL:-0}" != 1 ]; then claim "$1 (CHOPIN_PG_OPTIONAL=1 allows it)" 1; fi
}

# pg_on_server FOLDER PROGRAMS...: the same beside a server of their own. pg_count_served FOLDER LABEL PROGRAMS...: counts them.
pg_on_server() {
    local folder=$1 name; shift
    for name; do rm -f "$folder/$name.end"; done
    export -f pg_lane
    CHOPIN_PG_OPTIONAL=0 tests/pg.sh bash -c 'pg_lane "$@"' lane "$folder" "$@" >"$folder/server.log" 2>&1
    echo $? >"$folder/server.end"
}
pg_count_served() {
    local folder=$1 label=$2; shift 2
    if [ "$(cat "$folder/server.end")" -eq 77 ]; then pg_skipped "$label$*: $(sed 's/^SKIPPED //' "$folder/server.log")"
    else pg_count "$folder" "$label" "$@"; fi
}

# What `make test` runs; random parts in short form. The suite that has a server of its own mostly waits, so it runs while the others are built.
run_pg() {
    local all="$out/pg" alone="$out/pg_alone" job
    say "chopin_pg.h"
    pg_install
    export CHOPIN_TEST_VALUES="${CHOPIN_TEST_VALUES:-100}" CHOPIN_TEST_SEEDS="${CHOPIN_TEST_SEEDS:-1}" CHOPIN_TEST_STRIDE="${CHOPIN_TEST_STRIDE:-4}"
    pg_build "$alone" "$pg_alone" "${CC:-cc}" $strict -O0 -g
    pg_on_server "$alone" $pg_alone &
    job=$!
    pg_build "$all" "$pg_pure $pg_hostile $pg_served" "${CC:-cc}" $strict -O0 -g
    pg_lane "$all" $pg_pure $pg_hostile
    pg_on_server "$all" $pg_served
    wait $job
    pg_count "$all" "" $pg_pure $pg_hostile
    pg_count_served "$all" "" $pg_served
    pg_count_served "$alone" "" $pg_alone
    if [ -n "$pg_libpq" ]; then
        LIBS=-lpq build_names "$all" diff_pg_dsn "${CC:-cc}" $strict -O0 -g -I"$pg_libpq"
        pg_lane "$all" diff_pg_dsn; pg_count "$all" "" diff_pg_dsn
    fi
}

# ---- make check ------------------------------------------------------------------------------------------------------------------------------------

# Every compiler, language and switch; what may stand behind the SQL.
part_pg_build() {
    run_one build_pg.sh $out/build_pg.log tests/build_pg.sh
    run_one pg_params_compile.sh $out/pg_params.log tests/pg_params_compile.sh
}

# pg_under NAME TESTS TESTS_ON_A_SERVER COMPILER FLAGS...
pg_under() {
    local folder=$out/$1 label="$1 " tests=$2 served=$3; shift 3
    pg_build "$folder" "$tests $served" "$@"
    if [ -n "$served" ]; then pg_on_server "$folder" $served & fi
    pg_lane "$folder" $tests
    wait
    pg_count "$folder" "$label" $tests
    if [ -n "$served" ]; then pg_count_served "$folder" "$label" $served; fi
}
pg_short() { PG_MUST=1; pg_install; export CHOPIN_TEST_VALUES=40 CHOPIN_TEST_SEEDS=1 CHOPIN_TEST_STRIDE=$1 CHOPIN_TEST_QUERIES=20000; }
part_pg_asan() {
    pg_short 16
    pg_under pg-clang-asan "$pg_pure $pg_hostile" "$pg_served" clang $asan -O0 -g
    pg_under pg-gcc-asan "" "$pg_alone" gcc $asan -O0 -g
}
part_pg_tsan() { pg_short 16; pg_under pg-tsan "" "test_pg_http test_pg_server" clang $tsan -O0 -g; }

# Other machines: 32 bits, and one that is big-endian; only the rooms that know of bytes and words.
# Flags under which C evaluates a float as a float: the tests compare with constants.
part_pg_machines() {
    local name compiler emulator tests="test_pg_bytes test_pg_hash test_pg_error test_pg_wire test_pg_dsn test_pg_auth test_pg_value test_pg_param"
    pg_short 16
    pg_ssl="" pg_under pg-m32 "$tests" "" gcc -std=c11 -m32 -msse2 -mfpmath=sse -isystem /usr/include/x86_64-linux-gnu -O1
    while read -r name compiler emulator; do
        if ! command -v $compiler >/dev/null || ! command -v ${emulator%% *} >/dev/null; then pg_skipped "$name: no $compiler or no ${emulator%% *}"; continue; fi
        pg_ssl="" RUN_BY="$emulator" pg_under "pg-$name" "$tests" "" $compiler -std=gnu11 -O1
    done <<END
armhf arm-linux-gnueabihf-gcc qemu-arm -L /usr/arm-linux-gnueabihf
s390x s390x-linux-gnu-gcc qemu-s390x -L /usr/s390x-linux-gnu
END
}

# ---- make soak: ten million queries, a minute of random deadlines, every offset, many values --------------------------------------------------------
soak_pg() {
    PG_MUST=1; pg_install
    export CHOPIN_TEST_LONG=1 CHOPIN_TEST_QUERIES="${CHOPIN_TEST_QUERIES:-10000000}" CHOPIN_TEST_SEEDS=100 CHOPIN_TEST_VALUES=5000 CHOPIN_TEST_STRIDE=1
    pg_build "$out/pg" "$pg_hostile $pg_served $pg_alone" "${CC:-cc}" -O2 -g
    TEST_TIMEOUT=3600 pg_lane "$out/pg" $pg_hostile; pg_count "$out/pg" "long " $pg_hostile
    TEST_TIMEOUT=3600 pg_on_server "$out/pg" $pg_served $pg_alone; pg_count_served "$out/pg" "long " $pg_served $pg_alone
}
