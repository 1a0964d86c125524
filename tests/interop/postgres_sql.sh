#!/usr/bin/env bash
# Applies the schema to a throw-away PostgreSQL and prepares every statement on it:
# the proof that the SQL is portable. Needs Debian's `postgresql`; no network, no port.
set -euo pipefail
cd "$(dirname "$0")/../.."

bin=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
if [[ -z $bin ]]; then
    echo "PostgreSQL is missing: apt-get install postgresql" >&2
    exit 1
fi

dir=$(mktemp -d)
# PostgreSQL refuses to run as root.
as_postgres() { "$@"; }
if [[ $(id -u) -eq 0 ]]; then
    chown postgres "$dir"
    as_postgres() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
fi
stop() {
    as_postgres "$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$dir"
}
trap stop EXIT

cargo test --quiet --lib modules::sql::tests::print_sql -- --ignored --nocapture |
    sed -n '/^-- stonechat sql begins/,/^-- stonechat sql ends/p' >"$dir/all.sql"
statements=$(grep -c '^PREPARE ' "$dir/all.sql")
if [[ $statements -eq 0 ]]; then
    echo "no statements printed" >&2
    exit 1
fi

cd "$dir"
as_postgres "$bin/initdb" -D "$dir/data" -A trust -U postgres --locale=C --encoding=UTF8 >/dev/null
as_postgres "$bin/pg_ctl" -D "$dir/data" -w -l "$dir/log" \
    -o "-c listen_addresses='' -c unix_socket_directories='$dir' -c fsync=off" start >/dev/null
as_postgres "$bin/psql" -X -q -h "$dir" -U postgres -v ON_ERROR_STOP=1 -f - postgres <"$dir/all.sql"
echo "PostgreSQL took the schema and prepared $statements statements"
