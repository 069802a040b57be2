#!/bin/sh
# ct.sh [FILE...] - constant time, for each compiler and level: every tests/ct_auth_*.c (or those named) under valgrind with undefined secrets, then under
# clang's MemorySanitizer. Each program must also find its planted leak. CC_LIST, LEVELS narrow it: CC_LIST=gcc LEVELS=-O2 sh tests/ct.sh tests/ct_auth_hash.c
cd "$(dirname "$0")/.." || exit 1
passed=0 failed=0
folder=${CT_FOLDER:-$(mktemp -d)}
mkdir -p "$folder"
# one NAME PROGRAM...: the cases must be clean, the leak must not.
one() {
    name=$1; shift
    if "$@" >"$folder/log" 2>&1; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED $name"; head -40 "$folder/log"; fi
    if "$@" leak >"$folder/log" 2>&1; then failed=$((failed + 1)); echo "FAILED $name: the planted leak was not found"; else passed=$((passed + 1)); fi
}
for source in ${*:-tests/ct_auth_*.c}; do
    base=$(basename "$source" .c)
    for cc in ${CC_LIST:-gcc clang}; do
        for level in ${LEVELS:--O0 -O1 -O2 -O3 -Os}; do
            if $cc -std=c11 -g -w $level -DCT_VALGRIND "$source" -o "$folder/$base" 2>"$folder/log"; then
                one "$base $cc $level valgrind" valgrind -q --error-exitcode=99 --leak-check=no "$folder/$base"
            else failed=$((failed + 1)); echo "FAILED $base $cc $level does not compile"; head -20 "$folder/log"; fi
            [ "$cc" = clang ] || continue
            if clang -std=c11 -g -w $level -fsanitize=memory -fno-sanitize-recover=all "$source" -o "$folder/$base" 2>"$folder/log"; then
                one "$base clang $level MemorySanitizer" "$folder/$base"
            else failed=$((failed + 1)); echo "FAILED $base clang $level -fsanitize=memory does not compile"; head -20 "$folder/log"; fi
        done
    done
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
