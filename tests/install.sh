#!/usr/bin/env bash
# install.sh [test|check|bench] - installs what that make target lacks: by apt-get when root, else says what to install.
set -euo pipefail
wanted=${1:-test}
missing=()                                  # Debian package names

need() { command -v "$1" >/dev/null || missing+=("$2"); }
builds() { echo 'int main(void) { return 0; }' | "$@" -x c - -o /dev/null 2>/dev/null; }

builds "${CC:-cc}" || missing+=(gcc libc6-dev)
need make make
need python3 python3
need curl curl
need wrk wrk
need strace strace
if [ "$wanted" = check ]; then
    need g++ g++
    need clang clang
    need valgrind valgrind
    need llvm-symbolizer llvm
    # The run time of clang's sanitizers and of libFuzzer is a package of its own, named after the version.
    if ! command -v clang >/dev/null; then
        major=$(apt-cache show clang 2>/dev/null | sed -n 's/^Version: [0-9]*:\?\([0-9]*\).*/\1/p' | head -1)
        missing+=("libclang-rt-${major:-14}-dev")
    elif ! echo 'int LLVMFuzzerTestOneInput(const unsigned char *p, unsigned long n) { return p && n ? 0 : 0; }' |
         clang -fsanitize=fuzzer,address -x c - -o /dev/null 2>/dev/null; then
        missing+=("libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev")
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
npm_ws

[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing: ${missing[*]}   (Debian's names; as root: apt-get install ${missing[*]})" >&2
    exit 1
fi
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt-get update -q && apt-get install -q -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -20 "$log" >&2
    echo "could not install ${missing[*]}" >&2
    exit 1
fi
