#!/usr/bin/env bash
# install_pg.sh - PostgreSQL and what the tests of chopin_pg.h want beside it: by apt-get when root, else says what to install. It never fails: what cannot
# be had is skipped by the tests. Nothing starts: services of Debian's packages are held back while they install, and no cluster is made.
missing=()
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing+=(postgresql)
command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ] || missing+=(pgbouncer)
command -v pg_config >/dev/null || missing+=(libpq-dev)
command -v openssl >/dev/null || missing+=(openssl)
command -v pkill >/dev/null || missing+=(procps)
printf '#include <openssl/ssl.h>\n' | "${CC:-cc}" -E - >/dev/null 2>&1 || missing+=(libssl-dev)
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "some tests of chopin_pg.h need: ${missing[*]}   (Debian's names; as root: apt-get install ${missing[*]})" >&2
    exit 0
fi
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
policy=/usr/sbin/policy-rc.d                    # Debian asks it before a package starts a service; 101: do not
[ -e $policy ] && policy="" || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy; }
cluster=/etc/postgresql-common/createcluster.conf
[ -e $cluster ] || { mkdir -p ${cluster%/*} && echo 'create_main_cluster = false' >$cluster; }
trap '[ -z "$policy" ] || rm -f $policy; rm -f "$log"' EXIT
if ! { apt-get update -q && apt-get install -q -y --no-install-recommends -o Dpkg::Options::=--force-confold "${missing[@]}"; } >"$log" 2>&1; then
    tail -5 "$log" >&2
    echo "could not install ${missing[*]}: what needs them is skipped" >&2
fi
exit 0
