#!/bin/sh
# The first start of the official image, as far as docker-compose.yml uses it: make the data folder,
# run the scripts of /docker-entrypoint-initdb.d on a server that listens on its socket only, start.
set -eu

if [ "$1" != postgres ]; then
    exec "$@"
fi
if [ "$(id -u)" = 0 ]; then
    chown -R postgres:postgres "$PGDATA"
    exec gosu postgres "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    : "${POSTGRES_PASSWORD:?is needed to make the data folder}"
    export POSTGRES_USER="${POSTGRES_USER:-postgres}"
    export PGPASSWORD="$POSTGRES_PASSWORD"
    chmod 700 "$PGDATA"
    passwords=$(mktemp)
    printf '%s\n' "$POSTGRES_PASSWORD" >"$passwords"
    # The words of POSTGRES_INITDB_ARGS are options.
    # shellcheck disable=SC2086
    initdb --pgdata "$PGDATA" --username "$POSTGRES_USER" --pwfile "$passwords" \
        ${POSTGRES_INITDB_ARGS:-}
    rm "$passwords"
    printf '\nhost all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
    pg_ctl --pgdata "$PGDATA" --wait start \
        --options="-c listen_addresses='' -c unix_socket_directories=/var/run/postgresql"
    for script in /docker-entrypoint-initdb.d/*.sh; do
        [ -e "$script" ] || continue
        echo "running $script"
        if [ -x "$script" ]; then "$script"; else . "$script"; fi
    done
    pg_ctl --pgdata "$PGDATA" --mode fast --wait stop
    unset PGPASSWORD
fi
exec "$@" -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql
