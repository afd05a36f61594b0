#!/bin/sh
# What the official image does with these variables, as far as the stack uses it.
set -eu
bin=$(echo /usr/lib/postgresql/*/bin)
install -d -o postgres -g postgres -m 0700 "$PGDATA"
run() { setpriv --reuid postgres --regid postgres --init-groups "$@"; }
if [ ! -e "$PGDATA/PG_VERSION" ]; then
    run "$bin/initdb" -D "$PGDATA" --auth-host=scram-sha-256 --auth-local=trust -E UTF8 --locale=C.UTF-8 >/dev/null
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    run "$bin/pg_ctl" -D "$PGDATA" -o "-c listen_addresses=''" -w start >/dev/null
    run psql -q -d postgres -c "CREATE ROLE $POSTGRES_USER SUPERUSER LOGIN PASSWORD '$(cat "$POSTGRES_PASSWORD_FILE")'" \
        -c "CREATE DATABASE $POSTGRES_DB OWNER $POSTGRES_USER"
    run "$bin/pg_ctl" -D "$PGDATA" -w stop >/dev/null
fi
exec setpriv --reuid postgres --regid postgres --init-groups "$bin/postgres" -D "$PGDATA" -c listen_addresses='*'
