#!/bin/sh
# pg_params_compile.sh - what may stand behind the SQL: each C type we know compiles, as C11 and as C++17, and each other one does not.
cd "$(dirname "$0")" || exit 1
out=$(mktemp -d) || exit 1
trap 'rm -rf "$out"' EXIT INT TERM
header=${CHOPIN_PG_HEADER:-$PWD/../chopin_pg.h}
passed=0 failed=0

# expect good|bad NAME COMPILER STANDARD DECLARATION EXPRESSION
expect() {
    case $4 in c++*) ext=cpp ;; *) ext=c ;; esac
    printf '#include "%s"\nvoid run(chopin_pg *db);\nvoid run(chopin_pg *db) { %s; chopin_pg_exec(db, "select $1", %s); }\n' "$header" "$5" "$6" >"$out/t.$ext"
    got=bad
    "$3" "-std=$4" -Wall -Wextra -Wshadow -Wconversion -pedantic -Werror -c "$out/t.$ext" -o "$out/t.o" 2>"$out/log" && got=good
    if [ $got = "$1" ]; then passed=$((passed + 1)); return; fi
    failed=$((failed + 1))
    echo "FAILED $2 ($3 $4): $got"
    head -5 "$out/log"
}

both() {
    for pair in gcc:c11 clang:c11 g++:c++17 clang++:c++17; do
        command -v "${pair%:*}" >/dev/null && expect "$1" "$2" "${pair%:*}" "${pair#*:}" "$3" "$4"
    done
}

both good integers   'short a = 1; unsigned char b = 2; unsigned long long c = 3; signed char d = 4; const long e = 5' 'a, b, c, d, e'
both good floats     'float a = 1; const double b = 2; volatile double c = 3' 'a, b, c'
both good bools      'bool a = true; const bool b = false' 'a, b'
both good texts      'char a[3] = "a"; const char *b = a; char *c = a; const chopin_str d = CHOPIN_STR("x")' 'a, b, c, d, "literal"'
both good structs    'chopin_time a = { 1 }; chopin_date b = { 1 }; const chopin_uuid c = { { 0 } }; chopin_interval d = { 1, 2, 3 }; chopin_clock e = { 1, 2, true }' 'a, b, c, d, e'
both good more       'chopin_inet a = { { 0 }, 4, 32, false }; chopin_mac b = { { 0 }, 6 }; chopin_point c = { 1, 2 }; chopin_bits d = { (const uint8_t *)"", 0 }' 'a, b, c, d'
both good params     'int32_t a[] = { 1 }' 'CHOPIN_PG_NULL, chopin_pg_i32s(a, 1), chopin_pg_as_array(CHOPIN_PG_ARGS(1, CHOPIN_PG_NULL)), chopin_pg_as_json(CHOPIN_STR("1"))'
both bad  pointer    'int a = 1' '&a'
both bad  void_ptr   'void *a = 0' 'a'
both bad  bytes_ptr  'unsigned char a[2] = { 0 }' 'a'
both bad  char       'char a = 1' 'a'
both bad  long_dbl   'long double a = 1' 'a'
both bad  structure  'struct s { int x; } a = { 1 }' 'a'
both bad  function   '' 'run'
both bad  rows       'chopin_pg_rows *a = 0' 'a'
both bad  status     '' 'db'
echo "$passed passed, $failed failed"
[ $failed = 0 ]
