#!/bin/sh
# build.sh - the header under every way to build it: compilers, standards, optimizers, switches, linkers, machines.
# Each line of output below is a failure, but for the last one, which counts. Compilers that are not installed are skipped.
#     tests/build.sh            all
#     tests/build.sh WORD...    only cases whose name holds one of the words, and none of those given as -WORD
cd "$(dirname "$0")" || exit 1
out=$(mktemp -d) || exit 1
trap 'rm -rf "$out"' EXIT INT TERM
passed=0 failed=0 skipped=0 words="" others=""
for word; do case $word in -*) others="$others ${word#-}" ;; *) words="$words $word" ;; esac; done

strict="-Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -pedantic -Werror"
strict_cpp="-std=c++17 -Wall -Wextra -Wshadow -Wconversion -pedantic -Werror"
header=${CHOPIN_HEADER:-../chopin.h}
define="'-DCHOPIN_HEADER=\"$header\"'"

have() { command -v "$1" >/dev/null 2>&1; }

wanted() {
    for word in $others; do case $1 in *"$word"*) return 1 ;; esac; done
    [ -z "$words" ] && return 0
    for word in $words; do case $1 in *"$word"*) return 0 ;; esac; done
    return 1
}

# expect STATUS NAME COMMANDS: runs them in a shell of their own; STATUS is ok, or a text that must be in the output of a failure
expect() {
    want=$1 name=$2
    wanted "$name" || return
    if sh -ec "$3" >"$out/log" 2>&1; then got=ok; else got=failed; fi
    if [ "$want" = ok ] && [ $got = ok ]; then passed=$((passed + 1)); return; fi
    if [ "$want" != ok ] && [ $got = failed ] && grep -qF -- "$want" "$out/log"; then passed=$((passed + 1)); return; fi
    failed=$((failed + 1))
    echo "FAILED $name"
    head -n 15 "$out/log"
}
try() { expect ok "$@"; }
skip() { wanted "$1" && skipped=$((skipped + 1)) && echo "skipped $1: not installed"; }

# implementation and declarations, compiled and linked as two files, and run
two_files() {   # name compiler flags libraries
    try "$1" "$2 $3 $define -c build_c.c -o $out/c.o; $2 $3 $define -c build_c2.c -o $out/c2.o; $2 $3 $out/c.o $out/c2.o -o $out/two -pthread $4; $out/two"
}

for cc in gcc clang; do
    have $cc || { skip "$cc"; continue; }
    two_files "$cc c11 -O0"   $cc "-std=c11 -O0 -g $strict"
    two_files "$cc c11 -O2"   $cc "-std=c11 -O2 $strict"
    two_files "$cc gnu11 -O1" $cc "-std=gnu11 -O1 -D_GNU_SOURCE -fno-omit-frame-pointer $strict"
    two_files "$cc c17 -Os no asserts" $cc "-std=c17 -Os -DNDEBUG $strict"
    two_files "$cc no fibers" $cc "-std=c11 -O1 -DCHOPIN_NO_FIBERS $strict"
    two_files "$cc ucontext"  $cc "-std=c11 -O1 -DCHOPIN_FIBER_UCONTEXT $strict"
    two_files "$cc no simd"   $cc "-std=c11 -O1 -DCHOPIN_NO_SIMD $strict"
    two_files "$cc no uring"  $cc "-std=c11 -O1 -DCHOPIN_NO_URING $strict"
    two_files "$cc both"      $cc "-std=c11 -O0 -DCHOPIN_NO_FIBERS -DCHOPIN_NO_SIMD $strict"
    try "$cc implementation among hostile macros" "$cc -std=c11 $strict '-Dmin(a,b)=hostile' '-Dmax(a,b)=hostile' -DERROR=hostile -DDEBUG=hostile -DINFO=hostile -DWARNING=hostile -Dnear=hostile -Dfar=hostile $define -fsyntax-only build_c.c"
    try "$cc declarations in C11 are clean on their own" "$cc -std=c11 $strict -Wundef -Wmissing-prototypes -Wredundant-decls -Wold-style-definition $define -fsyntax-only build_c2.c"
done

have gcc   && two_files "gcc hardened" gcc "-std=c11 -O2 -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIE -pie $strict"
have gcc   && two_files "gcc asan, ubsan" gcc "-std=c11 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined"
have clang && two_files "clang tsan" clang "-std=c11 -O1 -g -fsanitize=thread"
[ -e /usr/include/valgrind/valgrind.h ] && two_files "valgrind requests" cc "-std=c11 -O1 -DCHOPIN_WITH_VALGRIND $strict"
two_files "cc alone" cc ""

# C++ sees declarations and links with C
{ wanted g++ || wanted clang++; } && sh -c "cc -O1 $define -c build_c.c -o $out/c.o"
for cxx in g++ clang++; do
    have $cxx || { skip "$cxx"; continue; }
    for standard in c++17 c++20; do
        try "$cxx $standard" "$cxx $strict_cpp -std=$standard $define -c build_cpp.cpp -o $out/cpp.o; $cxx $out/c.o $out/cpp.o -o $out/cpp -pthread; $out/cpp"
    done
    expect "the implementation is C11" "$cxx refuses to implement" "$cxx -std=c++17 -DCHOPIN_IMPLEMENTATION $define -fsyntax-only build_cpp.cpp"
done

# order of inclusion
for first in stdio.h stdlib.h errno.h stdint.h pthread.h; do
    printf '#include <%s>\n#define CHOPIN_IMPLEMENTATION\n#include "%s"\n' $first "$(realpath "$header")" >"$out/late.c"
    expect "its implementation must come before the first system header" "too late after $first" "cc -std=c11 -fsyntax-only $out/late.c"
done
printf '#define CHOPIN_HTTP_IMPLEMENTATION\n#include "%s"\n#include "%s"\n#include <stdio.h>\nint main(void) { return 0; }\n' "$(realpath "$header")" "$(realpath "$header")" >"$out/other.c"
try "the other switch, and twice" "cc -std=c11 $strict $out/other.c -o $out/other -pthread; $out/other"
printf 'int a(void);\n#include "%s"\nint a(void) { return chopin_main(0, 0, 0); }\n' "$(realpath "$header")" >"$out/plain.c"
expect "chopin_main" "declarations do not implement" "cc $out/plain.c -shared -fPIC -Wl,-z,defs -o $out/plain.so"

# attribute_routes_survive_linking
link() {        # name compiler flags: of a.o and b.o
    try "attribute routes: $1" "$2 $3 -o $out/attr -pthread; $out/attr /a /b /z"
}
for cc in gcc clang; do
    have $cc && wanted "attribute routes: $cc" || continue
    a=$out/a.o b=$out/b.o lib=$out/libb.a files="$define build_attr_a.c build_attr_b.c" linker=
    [ $cc = clang ] && linker=-fuse-ld=lld
    sh -c "$cc -O1 -ffunction-sections -fdata-sections $define -c build_attr_a.c -o $a; $cc -O1 -fPIC -ffunction-sections -fdata-sections $define -c build_attr_b.c -o $b"
    rm -f "$lib"; ar rcs "$lib" "$b"
    $cc -shared "$b" -o "$out/libattr.so"
    link "$cc two files"   $cc "$a $b"
    link "$cc other order" $cc "$b $a"
    link "$cc gc-sections" $cc "$a $b -Wl,--gc-sections"
    link "$cc asan"        $cc "-O1 -g -fsanitize=address,undefined $files"
    link "$cc whole archive" $cc "$a -Wl,--whole-archive $lib -Wl,--no-whole-archive"
    link "$cc shared library" $cc "-rdynamic $a -Wl,--no-as-needed $out/libattr.so -Wl,-rpath,$out"
    if [ $cc = gcc ] || have ld.lld; then link "$cc lto" $cc "-O2 -flto $linker -ffunction-sections -Wl,--gc-sections $files"; else skip "$cc lto"; fi
    expect "no route /b" "attribute routes: $cc an archive that nobody refers to is left out, as documented" "$cc $a $lib -o $out/attr -pthread; $out/attr /a /z; $out/attr /b"
done

# other machines; programs run if qemu-user is here
machine() {     # name compiler qemu flags further-tests
    have "$2" || { skip "$1"; return; }
    run=":"
    have "$3" && run=$3
    [ "$3" = none ] && run=
    try "$1" "$2 -std=c11 -O2 -static $4 $strict $define build_c.c build_c2.c -o $out/cross -pthread; $run $out/cross"
    try "$1 no fibers" "$2 -std=c11 -O0 -static -DCHOPIN_NO_FIBERS $4 $strict $define build_c.c build_c2.c -o $out/cross -pthread; $run $out/cross"
    for test in test_server ${5:-}; do
        [ "$run" = : ] || try "$1 $test" "$2 -std=c11 -O1 -static $4 $define $test.c -o $out/cross -pthread -lm; $run $out/cross"
    done
}
machine aarch64 aarch64-linux-gnu-gcc   qemu-aarch64 "" test_fiber
machine arm     arm-linux-gnueabihf-gcc qemu-arm     "" test_fiber
machine riscv64 riscv64-linux-gnu-gcc   qemu-riscv64 "" test_fiber
have s390x-linux-gnu-gcc && machine s390x s390x-linux-gnu-gcc qemu-s390x
if echo 'int main(void) { return 0; }' | cc -m32 -static -x c - -o "$out/m32" 2>/dev/null; then machine "x86 32-bit" cc none -m32; else skip "x86 32-bit"; fi

[ $skipped = 0 ] || echo "$skipped skipped"
echo "$passed passed, $failed failed"
[ $failed = 0 ]
