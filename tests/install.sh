#!/usr/bin/env bash
# install.sh [test|check|bench] - installs what that make target lacks: by apt-get when root, else says what to install.
set -euo pipefail
cd "$(dirname "$0")/.."
playwright=1.64.1                           # drives Chromium; a package of npm's
wanted=${1:-test}
missing=()                                  # Debian package names

need() { command -v "$1" >/dev/null || missing+=("$2"); }
fetch() {
    local log status=0
    echo "installing: $*"
    log=$(mktemp)
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"; } >"$log" 2>&1 || status=$?
    if [ $status -ne 0 ]; then
        tail -20 "$log" >&2
        echo "could not install $*" >&2
    fi
    rm -f "$log"
    return $status
}
builds() { echo 'int main(void) { return 0; }' | "$@" -x c - -o /dev/null 2>/dev/null; }

builds "${CC:-cc}" || missing+=(gcc libc6-dev)
need make make
need python3 python3
need curl curl
need wrk wrk
need strace strace
echo '#include <zlib.h>' | "${CC:-cc}" -E -x c - >/dev/null 2>&1 || missing+=(zlib1g-dev)
need openssl openssl
if [ "$wanted" = check ]; then
    need g++ g++
    need clang clang
    need valgrind valgrind
    need llvm-symbolizer llvm
    # For chopin_auth.h: libraries to compare with, and other machines. gcc-multilib would remove the cross compilers; the package with the version does not.
    for pair in openssl/evp.h:libssl-dev sodium.h:libsodium-dev argon2.h:libargon2-dev nettle/sha2.h:nettle-dev crypt.h:libcrypt-dev; do
        [ -e /usr/include/${pair%%:*} ] || missing+=("${pair#*:}")
    done
    /usr/bin/python3 -c 'import jwt, cryptography' 2>/dev/null || missing+=(python3-jwt python3-cryptography)
    builds gcc -m32 || missing+=("gcc-$(gcc -dumpversion | cut -d. -f1)-multilib")
    need qemu-s390x qemu-user
    for triple in aarch64-linux-gnu arm-linux-gnueabihf s390x-linux-gnu; do need $triple-gcc gcc-$triple; done
    # The run time of clang's sanitizers and of libFuzzer is a package of its own, named after the version.
    if ! command -v clang >/dev/null; then
        major=$(apt-cache show clang 2>/dev/null | sed -n 's/^Version: [0-9]*:\?\([0-9]*\).*/\1/p' | head -1)
        missing+=("libclang-rt-${major:-14}-dev")
    elif ! echo 'int LLVMFuzzerTestOneInput(const unsigned char *p, unsigned long n) { return p && n ? 0 : 0; }' |
         clang -fsanitize=fuzzer,address -x c - -o /dev/null 2>/dev/null; then
        missing+=("libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev")
    fi
fi

if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "missing: ${missing[*]}   (Debian's names; as root: apt-get install ${missing[*]})" >&2
        exit 1
    fi
    fetch "${missing[@]}" || exit 1
fi

# What tests/browser.mjs wants. Without it that test is skipped, so nothing here is a failure.
if [ "$wanted" != bench ]; then
    missing=()
    need chromium chromium
    need node nodejs
    need npm npm
    if [ ${#missing[@]} -gt 0 ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then fetch "${missing[@]}" || true; fi
    if command -v npm >/dev/null && [ ! -e build/node/node_modules/playwright-core ]; then
        mkdir -p build/node
        timeout 120 npm install --prefix build/node --no-audit --no-fund --ignore-scripts "playwright-core@$playwright" >build/node/npm.log 2>&1 || true
    fi
fi

# The WebSocket client that most people use; a test is skipped without it.
npm_ws() {
    [ -e build/npm/node_modules/ws ] && return
    command -v npm >/dev/null || { echo "no npm: the test with the npm package ws will be skipped"; return; }
    mkdir -p build/npm
    timeout 60 npm install --silent --no-audit --no-fund --ignore-scripts --prefix build/npm ws@8.18.0 >/dev/null 2>&1 ||
        echo "npm cannot be reached: the test with its package ws will be skipped"
}
[ "$wanted" = bench ] || npm_ws
exit 0
