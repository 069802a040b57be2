#!/bin/sh
# build_auth.sh - chopin_auth.h under every way to build it: compilers, standards, optimizers, switches, beside chopin.h, for 32 bits, from C++; its symbols and its text.
# Each line of output but the last is a failure, or names a compiler that is not there. The last one counts.
cd "$(dirname "$0")" || exit 1
out=$(mktemp -d) || exit 1
trap 'rm -rf "$out"' EXIT INT TERM
passed=0 failed=0

strict="-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wredundant-decls -Wundef -Wcast-align -Werror"
strict_cpp="-Wall -Wextra -Wshadow -Wconversion -pedantic -Werror"
frames="-Wframe-larger-than=4096"               # of optimised builds: the stacks of fibers are small

# expect STATUS NAME COMMANDS: STATUS is ok, or a text that must be in the output of a failure
expect() {
    if sh -ec "$3" >"$out/log" 2>&1; then got=ok; else got=failed; fi
    if { [ "$1" = ok ] && [ $got = ok ]; } || { [ "$1" != ok ] && [ $got = failed ] && grep -qF -- "$1" "$out/log"; }; then passed=$((passed + 1)); return; fi
    failed=$((failed + 1))
    echo "FAILED $2"
    head -n 15 "$out/log"
}
two_files() {   # name, compiler and flags: implementation and declarations, linked and run
    expect ok "$1" "$2 -c build_auth.c -o $out/c.o; $2 -DDECLARE_ONLY -c build_auth.c -o $out/c2.o; $2 $out/c.o $out/c2.o -o $out/two -pthread; $out/two"
}

compiles() {    # the same, without code
    expect ok "$1" "$2 -fsyntax-only build_auth.c; $2 -DDECLARE_ONLY -fsyntax-only build_auth.c"
}

for cc in gcc clang; do
    command -v $cc >/dev/null || { echo "skipped $cc: not installed"; continue; }
    two_files "$cc c11 -O2"             "$cc -std=c11 -O2 $strict $frames"
    two_files "$cc portable"            "$cc -std=c11 -O1 -DCHOPIN_AUTH_NO_SIMD -DCHOPIN_AUTH_NO_INT128 -DCHOPIN_AUTH_SMALL $strict"
    compiles  "$cc gnu17, no asserts"   "$cc -std=gnu17 -Os -DNDEBUG -D_GNU_SOURCE $strict"
    compiles  "$cc all left out"        "$cc -std=c11 -DCHOPIN_AUTH_NO_RSA -DCHOPIN_AUTH_NO_P256 -DCHOPIN_AUTH_NO_ED25519 -DCHOPIN_AUTH_NO_ARGON2 -DCHOPIN_AUTH_NO_SCRYPT -DCHOPIN_AUTH_NO_BCRYPT $strict"
    compiles  "$cc RSA to 8192 bits"    "$cc -std=c11 -DCHOPIN_AUTH_RSA_MAX=8192 $strict"
    compiles  "$cc beside chopin.h"     "$cc -std=c11 -DBESIDE_HTTP -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -pedantic -Werror"
done
two_files "gcc c11 -O0" "gcc -std=c11 -O0 -g $strict"
if echo 'int main(void) { return 0; }' | gcc -m32 -x c - -o "$out/m32" 2>/dev/null; then
    two_files "gcc 32-bit" "gcc -m32 -isystem /usr/include/x86_64-linux-gnu -std=c11 -O2 $strict $frames"
else echo "skipped 32-bit: not installed"; fi
two_files "cc alone, both headers" "cc -DBESIDE_HTTP"

# C++ sees declarations and links with C
sh -c "cc -O1 -c build_auth.c -o $out/c.o"
for cxx in g++ clang++; do
    command -v $cxx >/dev/null || { echo "skipped $cxx: not installed"; continue; }
    for standard in c++17 c++20; do expect ok "$cxx $standard" "$cxx -std=$standard $strict_cpp -c build_auth.cpp -o $out/cpp.o; $cxx $out/c.o $out/cpp.o -o $out/cpp -pthread; $out/cpp"; done
    expect "the implementation is C11" "$cxx refuses to implement" "$cxx -std=c++17 -DCHOPIN_AUTH_IMPLEMENTATION -fsyntax-only build_auth.cpp"
done
printf '#include <stdio.h>\n#define CHOPIN_AUTH_IMPLEMENTATION\n#include "%s/../chopin_auth.h"\n' "$PWD" >"$out/late.c"
expect "its implementation must come before the first system header" "too late after stdio.h" "cc -std=c11 -fsyntax-only $out/late.c"

# Each switch takes its code out: no name of the room's arithmetic is left, and the text shrinks.
cc -std=c11 -O0 -c build_auth.c -o "$out/all.o"
text() { size "$1" | awk 'NR == 2 { print $1 }'; }
for pair in NO_RSA:rsa_private NO_P256:p256_mul NO_ED25519:ed25519_make NO_ARGON2:argon2_fill NO_SCRYPT:scrypt_ NO_BCRYPT:bcrypt_ NO_SIMD:shani; do
    cc -std=c11 -O0 -DCHOPIN_AUTH_"${pair%%:*}" -c build_auth.c -o "$out/less.o" 2>"$out/less.log"
    expect ok "CHOPIN_AUTH_${pair%%:*} removes code" "nm $out/all.o | grep -q 'chopin_auth__.*${pair#*:}'; ! nm $out/less.o | grep 'chopin_auth__.*${pair#*:}'; [ $(text "$out/less.o") -lt $(text "$out/all.o") ]"
done

# Names: what is visible is chopin_ and a word of the closed list of AUTH.md or chopin_auth_; what is private chopin_auth__; macros CHOPIN_; one writable object.
public='^(chopin_(sha256|sha384|sha512|blake2b|hmac|hkdf|pbkdf2|argon2|scrypt|bcrypt|ed25519|p256|rsa|base64url|base32|jwk|jwks|jws|jwt|hotp|totp|pkce|password|auth)(_[a-z0-9_]+)?|main)$'
expect ok "public names" "! nm $out/all.o | awk '\$2 ~ /^[TDBRC]\$/ { print \$3 }' | grep -vE '$public|chopin_auth__'"
expect ok "no private name is visible" "! nm $out/all.o | awk '\$2 ~ /^[TDBRC]\$/' | grep chopin_auth__"
expect ok "private names" "! nm $out/all.o | awk '\$2 == \"t\" { print \$3 }' | grep -vE '^chopin_auth__|^__get_cpuid|[.](cold|part|constprop)'"
expect ok "one writable object" "nm $out/all.o | awk '\$2 == \"b\" || \$2 == \"B\" { print \$3 }' >$out/bss; echo chopin_auth__cpu_word | diff - $out/bss"
printf '#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n' | cc -std=c11 -dM -E - | sort >"$out/before"
printf '#include "%s/../chopin_auth.h"\n' "$PWD" | cc -std=c11 -dM -E - | sort >"$out/after"
expect ok "macros of the declarations" "! comm -13 $out/before $out/after | grep -vE '^#define CHOPIN_(AUTH_[A-Z0-9_]+|STR|STR_DEFINED|FMT|HMAC|AUTH)'"

# One of each hash, and no MAC is compared byte by byte.
one() { [ "$(grep -c "$1" ../chopin_auth.h)" = 1 ] || echo "$1"; }
expect ok "one copy of each hash" "[ -z '$(one 0x6a09e667,; one 0x6a09e667f3bcc908; one 0xcbbb9d5dc1059ed8; one 0x67452301,; one 0x428a2f98,)' ]"
expect ok "no MAC is compared with memcmp" "! grep -nE 'memcmp\([^)]*(mac|tag|digest|ours)\b' ../chopin_auth.h"

echo "$passed passed, $failed failed"
[ $failed = 0 ]
