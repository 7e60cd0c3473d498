#!/bin/sh
# Makes the database on the first start, then becomes the server.
set -eu
PATH=/usr/lib/postgresql/15/bin:$PATH
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --auth-host=scram-sha-256 --no-sync --locale=C.UTF-8 >/dev/null
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  echo "create database $POSTGRES_DB" | postgres --single -j -c log_min_messages=error postgres >/dev/null
fi
exec postgres -c listen_addresses='*' -c jit=off -c unix_socket_directories=/tmp "$@"
