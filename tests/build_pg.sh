#!/bin/sh
# build_pg.sh - chopin_pg.h under every compiler, language and switch there is here; without warnings, linked from two files, run; and the map at its top
# names the rooms it has, in their order.
#     tests/build_pg.sh [HEADER]
set -u
here=$(cd "$(dirname "$0")" && pwd)
header=${1:-$here/../chopin_pg.h}
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
passed=0 failed=0
check() {                                                      # check NAME COMMAND...: the command must succeed
    name=$1; shift
    if "$@" >"$dir/log" 2>&1; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED $name"; head -5 "$dir/log"; fi
}
warnings='-Wall -Wextra -Wshadow -Wconversion -pedantic -Werror'
define=-DCHOPIN_PG_HEADER=\"$header\"
ssl=; printf '#include <openssl/ssl.h>\n' | cc -E - >/dev/null 2>&1 && ssl='-DCHOPIN_PG_OPENSSL'

for cc in gcc clang; do
    command -v $cc >/dev/null || continue
    for flags in "-std=c11" "-std=gnu11 -O2 -funsigned-char" "-std=c11 -Os -DNDEBUG" ${ssl:+"-std=c11 $ssl"}; do
        check "$cc $flags" $cc $flags -Wstrict-prototypes $warnings "$define" -c "$here/build_pg_a.c" -o "$dir/a.o"
        case $flags in *OPENSSL*) libs='-lssl -lcrypto' define_b=$ssl ;; *) libs= define_b= ;; esac
        check "$cc $flags, plain include" $cc -std=c11 -Wstrict-prototypes $warnings $define_b "$define" -c "$here/build_pg_b.c" -o "$dir/b.o"
        check "$cc $flags, linked" $cc "$dir/a.o" "$dir/b.o" $libs -o "$dir/app"
        check "$cc $flags, run" "$dir/app"
        case $cc$flags in gcc*-O2*|gcc*-Os*) continue ;; gcc*) cxx=g++ ;; clang*-O2*|clang*-Os*) continue ;; *) cxx=clang++ ;; esac
        if command -v $cxx >/dev/null; then                    # the declarations do not change with the level
            for std in c++17 c++20; do
                check "$cxx -std=$std" "$cxx" -std=$std $warnings $define_b "$define" -x c++ -c "$here/build_pg_b.c" -o "$dir/bxx.o"
                check "$cxx -std=$std, linked with C" "$cxx" "$dir/a.o" "$dir/bxx.o" $libs -o "$dir/appxx"
                check "$cxx -std=$std, run" "$dir/appxx"
            done
        fi
    done
    printf '#include <stdio.h>\n#define CHOPIN_PG_IMPLEMENTATION\n#include CHOPIN_PG_HEADER\n' >"$dir/late.c"
    $cc -std=c11 "$define" -fsyntax-only "$dir/late.c" 2>&1 | grep -q 'must come before the first system header'
    check "$cc: too late is said" test $? -eq 0
    printf '#define CHOPIN_PG_IMPLEMENTATION\n#include CHOPIN_PG_HEADER\n' >"$dir/impl.cpp"
    $cc -x c++ "$define" -fsyntax-only "$dir/impl.cpp" 2>&1 | grep -q 'put it into a .c file'
    check "$cc: no implementation in C++" test $? -eq 0
done

# The map: tags of the left column, then of the right one, are the banners of the rooms.
sed -n '/^   MAP OF THIS FILE/,/^   COMPILE-TIME/p' "$header" >"$dir/map"
{ sed -n 's/^       >>\([a-z]*\) .*/\1/p' "$dir/map"; sed -n 's/^.*[^ ].*  >>\([a-z]*\) .*/\1/p; s/^ \{30,\}>>\([a-z]*\) .*/\1/p' "$dir/map"; } | sort >"$dir/named"
grep '^   >>[a-z]*   ' "$header" | sed 's/^   >>\([a-z]*\) .*/\1/' | sort >"$dir/rooms"
check "the map names the rooms" diff "$dir/named" "$dir/rooms"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
