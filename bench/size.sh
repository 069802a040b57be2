#!/bin/bash
# size.sh - how small it is: text, compile time, memory at start, memory of an idle connection
#
#     bench/size.sh              examples/hello.c, and text of examples/hello_jwt.c
#     CC=clang bench/size.sh     by another compiler
#     IDLE=2000 bench/size.sh    fewer idle connections than 10,000
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cc=${CC:-cc}
wanted=${IDLE:-10000}
small="-Os -ffunction-sections -fdata-sections -Wl,--gc-sections -s"
dir=$(mktemp -d)
server=""
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$dir"' EXIT

die() { echo "size: $*" >&2; exit 1; }

# Debian's package when root, else advice.
need() {
    command -v "$1" >/dev/null && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        { apt-get -qq update && apt-get -qq install -y "$2"; } >/dev/null
    fi
    command -v "$1" >/dev/null || die "$1 is missing: apt-get install $2"
}

# Seconds that a command takes.
seconds() {
    local TIMEFORMAT=%R
    { time "$@" >&2; } 2>&1 | tail -1
}

free_port() {
    local port
    for port in $(shuf -i 20000-32000 -n 50); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
    done
    die "no free port"
}

wait_for() {
    for _ in $(seq 200); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
        kill -0 "$server" 2>/dev/null || die "the server ended: $(cat "$dir/log")"
        sleep 0.02
    done
    die "the server does not listen"
}

# A line of the exact account in KiB; VmRSS in /proc/PID/status may be off by some dozen pages.
memory() { awk -v name="$1:" '$1 == name { print $2 }' "/proc/$server/smaps_rollup"; }

need "${cc%% *}" gcc
need size binutils

# ---- text and compile time
# shellcheck disable=SC2086    # flags and compiler are several words
hello() { $cc $1 -pthread "$root/examples/hello.c" -o "$dir/$2" || die "examples/hello.c does not build"; }
small_s=$(seconds hello "$small" hello)
fast_s=$(seconds hello -O2 hello_O2)
text=$(size "$dir/hello" | awk 'NR == 2 { print $1 }')
text_O2=$(size "$dir/hello_O2" | awk 'NR == 2 { print $1 }')
# shellcheck disable=SC2086
$cc $small "$root/examples/hello_jwt.c" -o "$dir/hello_jwt" || die "examples/hello_jwt.c does not build"
text_jwt=$(size "$dir/hello_jwt" | awk 'NR == 2 { print $1 }')
[ "$text_jwt" -lt 40000 ] || die "hello_jwt.c has $text_jwt bytes of text: more than 40,000"

# ---- memory at start
ulimit -n "$(ulimit -Hn)"
[ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -gt $((wanted + 100)) ] || wanted=$(($(ulimit -n) - 100))
port=$(free_port)
"$dir/hello" --listen "127.0.0.1:$port" --workers 1 >"$dir/log" 2>&1 &
server=$!
wait_for "$port"
start=$(memory Rss)
start_own=$(memory Private_Dirty)

# ---- memory of idle connections: the program holds them until its input ends
$cc -O2 "$root/bench/idle.c" -o "$dir/idle"
mkfifo "$dir/hold"
"$dir/idle" -p "$port" -u /hello/you -n "$wanted" <"$dir/hold" >"$dir/ready" 2>&1 &
exec 4>"$dir/hold"
for _ in $(seq 600); do grep -q ready "$dir/ready" && break; sleep 0.1; done
grep -qx "ready $wanted" "$dir/ready" || die "idle connections: $(cat "$dir/ready")"
idle=$(memory Rss)
exec 4>&-

cat <<TABLE
| $($cc --version | head -1) | |
|---|---:|
| text, hello.c with $small | $text bytes |
| text, hello.c with -O2 | $text_O2 bytes |
| text, hello_jwt.c (chopin_auth.h alone) with $small | $text_jwt bytes |
| compile time, small build | $small_s s |
| compile time, -O2 | $fast_s s |
| resident at start, one worker | $start KiB |
| of it written by the process itself | $start_own KiB |
| resident for each of $wanted idle connections | $(((idle - start) * 1024 / wanted)) bytes |
TABLE
