#!/usr/bin/env bash
# pg.sh - `tests/pg.sh CMD...` runs CMD beside a throwaway PostgreSQL server, and pgbouncer before it when that is installed.
#
# As root the servers run as postgres, else nobody; all files stand in one short folder under TMPDIR (/tmp), which is gone at the end, however
# this script ends: a keeper waits for our end of a pipe to close, so `kill -9` cleans up as well. Its status is CMD's; 77 when there is no
# PostgreSQL (0 with CHOPIN_PG_OPTIONAL=1), after a line that begins with SKIPPED. CMD finds in its environment:
#
#   CHOPIN_PG_URL            superuser `tester`, trust, unix socket           DATABASE_URL is the same
#   CHOPIN_PG_TCP_URL        the same on 127.0.0.1, sslmode=disable
#   CHOPIN_PG_MD5_URL  CHOPIN_PG_CLEAR_URL  CHOPIN_PG_SCRAM_URL               roles r_md5 r_clear r_scram, on TCP, clear, with CHOPIN_PG_PASSWORD
#   CHOPIN_PG_PREP_URL       r_prep: a password that SASLprep changes
#   CHOPIN_PG_FEW_URL        r_few: one connection at most (53300)
#   CHOPIN_PG_TLS_URL        r_tls: TLS only, verify-full with CHOPIN_PG_CA   empty without openssl or a server with TLS
#   CHOPIN_PG_CERT  CHOPIN_PG_KEY                                             the client certificate of r_cert, who has no password
#   CHOPIN_PG_BOUNCER_URL    pgbouncer: transaction mode, a pool of one       empty without pgbouncer
#   CHOPIN_PG_SESSION_URL    pgbouncer: session mode, a pool of one
#   CHOPIN_PG_SPARE_URL      a second server, not running: `$CHOPIN_PG_CTL start`, `stop [smart|fast|immediate]`, `restart [mode]`, `pid`, `crash`
#   CHOPIN_PG_SOCKETS CHOPIN_PG_PORT CHOPIN_PG_SPARE_PORT CHOPIN_PG_BIN CHOPIN_PG_VERSION CHOPIN_PG_LOG
set -uo pipefail

password='s3cret/pa:ss@w%rd'
encoded='s3cret%2Fpa%3Ass%40w%25rd'

say()  { printf 'pg.sh: %s\n' "$*" >&2; }
skip() { printf 'SKIPPED %s\n' "$*"; [ "${CHOPIN_PG_OPTIONAL:-0}" = 1 ] && exit 0; exit 77; }

# ---- what there is -----------------------------------------------------------------------------------------------------------------------------

find_bin() {                                                # the folder of initdb: PATH, else the newest of Debian's
    local found
    found=$(command -v initdb) && found=$(dirname "$(readlink -f "$found")") || found=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
    [ -x "$found/initdb" ] && [ -x "$found/postgres" ] && printf '%s' "$found"
}

find_user() {                                               # whom the servers run as; nothing when we are not root
    [ "$(id -u)" -eq 0 ] || return 0
    id -u postgres >/dev/null 2>&1 && { printf postgres; return; }
    printf nobody
}

free_port() {                                               # one that nobody answers on; `start` tries another one should it be taken meanwhile
    local port
    for _ in {1..50}; do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { printf '%s' "$port"; return; }
    done
    return 1
}

# ---- files -------------------------------------------------------------------------------------------------------------------------------------

certificates() {                                            # an authority, a server for localhost and 127.0.0.1, a client; false when that fails
    command -v openssl >/dev/null && "$bin/pg_config" --configure 2>/dev/null | grep -q -e '--with-openssl' -e '--with-ssl' || return 1
    (
        cd "$dir" && umask 077
        new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
        sign()    { openssl req -new -key "$1.key" -subj "/CN=$2" |
                    openssl x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -sha256 -extfile <(printf 'subjectAltName=%s' "$3") -out "$1.crt"; }
        new_key ca && openssl req -x509 -new -key ca.key -days 30 -sha256 -subj /CN=chopin-test-authority -out ca.crt &&
        new_key server && sign server localhost DNS:localhost,IP:127.0.0.1 &&
        new_key client && sign client r_cert DNS:client
    ) >"$dir/openssl.log" 2>&1
}

roles() {                                                   # one statement a line: the single-user server reads it that way
    cat <<SQL
set password_encryption = 'md5'; create role r_md5 login password '$password';
set password_encryption = 'scram-sha-256'; create role r_clear login password '$password'; create role r_scram login password '$password';
create role r_prep login password U&'I\00ADX\2168'; create role r_tls login password '$password'; create role r_cert login; create role r_few login connection limit 1;
grant all on schema public to public;
SQL
}

settings() {
    cat <<CONF
listen_addresses = '127.0.0.1,::1'
unix_socket_directories = '$dir'
max_connections = 100
shared_buffers = 64MB
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
jit = off
max_wal_size = 1GB
max_prepared_transactions = 5
logging_collector = off
log_line_prefix = '%m [%p] %u '
timezone = 'UTC'
lc_messages = 'C'
CONF
    [ "$tls" = 1 ] && printf "ssl = on\nssl_cert_file = '%s/server.crt'\nssl_key_file = '%s/server.key'\nssl_ca_file = '%s/ca.crt'\n" "$dir" "$dir" "$dir"
}

access() {
    printf 'local all r_md5 md5\nlocal all r_clear password\nlocal all r_scram,r_prep scram-sha-256\n'
    [ "$tls" = 1 ] && printf 'hostssl all r_cert all cert\nhostssl all r_tls all scram-sha-256\n'
    printf 'host all r_tls,r_cert all reject\nhost all r_md5 all md5\nhost all r_clear all password\nhost all r_scram,r_prep all scram-sha-256\n'
    printf 'local all all trust\nhost all all 127.0.0.1/32 trust\nhost all all ::1/128 trust\n'
}

bouncer() {
    cat <<CONF
[databases]
postgres = host=$dir port=$port dbname=postgres user=tester
session  = host=$dir port=$port dbname=postgres user=tester pool_mode=session
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $bouncer_port
unix_socket_dir = $dir
auth_type = any
pool_mode = transaction
default_pool_size = 1
max_client_conn = 200
server_lifetime = 3600
logfile = $dir/bouncer.log
pidfile = $dir/bouncer.pid
CONF
}

# A small program of its own, so that tests can stop, crash and start the spare server.
control() {
    cat <<CTL
#!/usr/bin/env bash
cd "$dir" || exit 1
pid() { head -1 spare/postmaster.pid 2>/dev/null; }
up()  { local n; for n in {1..400}; do grep -q '^ready' spare/postmaster.pid 2>/dev/null && return 0; sleep 0.02; done; return 1; }
gone() { local n; for n in {1..1000}; do grep -q '^State:.*[^Z] (' "/proc/\$1/status" 2>/dev/null || return 0; sleep 0.02; done; return 1; }
start() { kill -0 "\$(pid)" 2>/dev/null && return 0; rm -f spare/postmaster.pid
          setsid $as "$bin/postgres" -D spare -p $spare_port >>spare.log 2>&1 </dev/null & up; }
stop()  { local signal=INT p; p=\$(pid); [ -n "\$p" ] || return 0
          case \${1:-fast} in smart) signal=TERM;; immediate) signal=QUIT;; esac
          kill -\$signal "\$p" 2>/dev/null; gone "\$p"; }
case \$1 in
    start)   start ;;
    stop)    stop "\${2:-fast}" ;;
    restart) stop "\${2:-fast}"; start ;;
    crash)   p=\$(pid); [ -n "\$p" ] && { kids=\$(pgrep -P "\$p"); kill -9 "\$p" \$kids; gone "\$p"; for k in \$kids; do gone "\$k"; done; } 2>/dev/null; rm -f spare/postmaster.pid ;;
    pid)     pid ;;
    *)       echo "\$0: start, stop [smart|fast|immediate], restart [mode], crash, pid" >&2; exit 2 ;;
esac
CTL
}

# ---- life --------------------------------------------------------------------------------------------------------------------------------------

stop_pid_file() {                                           # the pid on the first line of a file, if that process is still one of ours
    local pid n; pid=$(head -1 "$1" 2>/dev/null)
    [ -n "$pid" ] && grep -q "$2" "/proc/$pid/cmdline" 2>/dev/null || return 0
    kill -CONT "$pid" 2>/dev/null
    kill -"$3" "$pid" 2>/dev/null
    for n in {1..250}; do grep -q '^State:.*[^Z] (' "/proc/$pid/status" 2>/dev/null || return 0; sleep 0.02; done
    pkill -9 -P "$pid" 2>/dev/null
    kill -9 "$pid" 2>/dev/null
}

clean_up() {
    cd / || return
    local command; command=$(cat "$dir/command.pid" 2>/dev/null) && kill -TERM "$command" 2>/dev/null      # only after a `kill -9` of ours
    stop_pid_file "$dir/bouncer.pid" pgbouncer INT
    stop_pid_file "$dir/data/postmaster.pid" postgres QUIT
    stop_pid_file "$dir/spare/postmaster.pid" postgres QUIT
    [ -n "${CHOPIN_PG_KEEP_LOG:-}" ] && cat "$dir"/*.log >"$CHOPIN_PG_KEEP_LOG" 2>/dev/null
    rm -rf "$dir"
}

fail() { say "$1"; [ -s "${2:-}" ] && tail -20 "$2" >&2; exit 1; }

start_main() {                                              # tries other ports when ours was taken by somebody faster
    local n try
    for try in 1 2 3; do
        setsid $as "$bin/postgres" -D "$dir/data" -p "$port" >>"$dir/main.log" 2>&1 </dev/null 9>&- &
        local pid=$!
        for n in {1..500}; do
            grep -q '^ready' "$dir/data/postmaster.pid" 2>/dev/null && return 0
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.01
        done
        port=$(free_port) || break
    done
    fail "the server does not start" "$dir/main.log"
}

start_bouncer() {
    [ -n "$pgbouncer" ] || return 1
    bouncer >"$dir/bouncer.ini"
    setsid $as "$pgbouncer" -q -d "$dir/bouncer.ini" >>"$dir/bouncer.out" 2>&1 </dev/null 9>&-
    local n
    for n in {1..200}; do [ -S "$dir/.s.PGSQL.$bouncer_port" ] && return 0; sleep 0.01; done
    say "pgbouncer does not start; its tests are left out"
    return 1
}

# ---- from here on it happens -------------------------------------------------------------------------------------------------------------------

[ $# -gt 0 ] || { sed -n '2,24s/^# \{0,1\}//p' "$0"; exit 2; }
bin=$(find_bin) || skip "PostgreSQL is not installed (no initdb in PATH or /usr/lib/postgresql/*/bin): nothing that needs a server was tested"
user=$(find_user)
pgbouncer=$(command -v pgbouncer || ls /usr/sbin/pgbouncer 2>/dev/null)
as=""
if [ -n "$user" ]; then
    if command -v setpriv >/dev/null; then as="setpriv --reuid=$user --regid=$(id -g $user) --clear-groups --"
    else as="runuser -u $user --"; fi
fi

dir=$(mktemp -d "${TMPDIR:-/tmp}/pgXXXXXX") || exit 1
if [ ${#dir} -gt 80 ]; then rmdir "$dir"; dir=$(mktemp -d /tmp/pgXXXXXX) || exit 1; fi     # a socket path ends at 107 bytes
if [ -n "$user" ]; then chown "$user" "$dir"; fi
chmod 755 "$dir"
mkfifo "$dir/alive"
( trap '' INT TERM HUP QUIT; read -r _ <"$dir/alive"; clean_up ) >/dev/null 2>&1 &
keeper=$!
exec 9>"$dir/alive"                                         # open until this process ends, in whatever way; children close theirs
trap 'exec 9>&-; wait $keeper 2>/dev/null' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

tls=0
certificates && tls=1
port=$(free_port) && spare_port=$(free_port) && bouncer_port=$(free_port) || fail "no free port"
printf '%s\n' "$password" >"$dir/pwfile"
if [ -n "$user" ]; then chown "$user" "$dir"/* 2>/dev/null; fi
locale=C; locale -a 2>/dev/null | grep -qi '^c\.utf-\?8$' && locale=C.UTF-8
(cd "$dir" && $as "$bin/initdb" -D data -U tester -A scram-sha-256 --pwfile=pwfile -N -E UTF8 --locale=$locale --no-instructions) >"$dir/initdb.log" 2>&1 9>&- ||
    fail "initdb failed" "$dir/initdb.log"
settings >>"$dir/data/postgresql.conf"
access >"$dir/data/pg_hba.conf"
roles | $as "$bin/postgres" --single -D "$dir/data" postgres >"$dir/roles.log" 2>&1 9>&-
grep -qE 'ERROR|FATAL|PANIC' "$dir/roles.log" && fail "the roles could not be made" "$dir/roles.log"
cp -rp "$dir/data" "$dir/spare"
start_main
start_bouncer && have_bouncer=1 || have_bouncer=0
control >"$dir/ctl" && chmod 755 "$dir/ctl"
: >"$dir/spare.log"; if [ -n "$user" ]; then chown "$user" "$dir/spare.log"; fi

for name in $(compgen -e PG); do unset "$name"; done       # PGHOST and its kin would change what the tests mean
tcp="127.0.0.1:$port/postgres?sslmode=disable"
export CHOPIN_PG_URL="postgresql://tester@/postgres?host=$dir&port=$port"
export DATABASE_URL=$CHOPIN_PG_URL
export CHOPIN_PG_TCP_URL="postgresql://tester@$tcp"
export CHOPIN_PG_PASSWORD=$password
export CHOPIN_PG_MD5_URL="postgresql://r_md5:$encoded@$tcp"
export CHOPIN_PG_CLEAR_URL="postgresql://r_clear:$encoded@$tcp"
export CHOPIN_PG_SCRAM_URL="postgresql://r_scram:$encoded@$tcp"
export CHOPIN_PG_PREP_URL="postgresql://r_prep:I%C2%ADX%E2%85%A8@$tcp"
export CHOPIN_PG_FEW_URL="postgresql://r_few@$tcp"
export CHOPIN_PG_TLS_URL="" CHOPIN_PG_CA="" CHOPIN_PG_CERT="" CHOPIN_PG_KEY=""
if [ "$tls" = 1 ]; then
    mkdir "$dir/client.d" && cp "$dir/ca.crt" "$dir/client.crt" "$dir/client.key" "$dir/client.d/" && chmod 600 "$dir"/client.d/client.key && chmod 644 "$dir/client.d/ca.crt"
    if [ -n "$user" ]; then chown -R "$(id -u)" "$dir/client.d"; fi
    CHOPIN_PG_CA=$dir/client.d/ca.crt CHOPIN_PG_CERT=$dir/client.d/client.crt CHOPIN_PG_KEY=$dir/client.d/client.key
    CHOPIN_PG_TLS_URL="postgresql://r_tls:$encoded@localhost:$port/postgres?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert=$CHOPIN_PG_CA"
fi
export CHOPIN_PG_BOUNCER_URL="" CHOPIN_PG_SESSION_URL=""
if [ "$have_bouncer" = 1 ]; then
    CHOPIN_PG_BOUNCER_URL="postgresql://tester@/postgres?host=$dir&port=$bouncer_port"
    CHOPIN_PG_SESSION_URL="postgresql://tester@/session?host=$dir&port=$bouncer_port"
fi
export CHOPIN_PG_SPARE_URL="postgresql://tester@/postgres?host=$dir&port=$spare_port"
export CHOPIN_PG_CTL=$dir/ctl CHOPIN_PG_SOCKETS=$dir CHOPIN_PG_PORT=$port CHOPIN_PG_SPARE_PORT=$spare_port CHOPIN_PG_BIN=$bin
export CHOPIN_PG_VERSION; CHOPIN_PG_VERSION=$("$bin/postgres" -V | grep -oE '[0-9]+' | head -1)
export CHOPIN_PG_LOG=$dir/main.log

"$@" 9>&- &                                                 # in the background, so that a signal to us ends it at once
command=$!
printf '%s\n' $command >"$dir/command.pid"
trap 'kill -INT $command 2>/dev/null; wait $command 2>/dev/null; exit 130' INT
trap 'kill -TERM $command 2>/dev/null; wait $command 2>/dev/null; exit 143' TERM HUP
wait $command
status=$?
rm -f "$dir/command.pid"
exit $status
