#!/usr/bin/env bash
# Runs the pooler on port 6432 in front of a throw-away PostgreSQL, until Ctrl-C.
#
#   PGSKEIN_DATABASE  a PostgreSQL to use instead, such as `host=db1 port=5432`
#   PGSKEIN_PORT      port of the pooler, 6432 unless given
#   PGSKEIN_SETTINGS  further lines for the ini file
#
# As root, both run as `postgres`, because neither runs as root.
set -euo pipefail
cd "$(dirname "$0")/.."

port="${PGSKEIN_PORT:-6432}"
folder=
server=
pooler=
as_user=()

main() {
    make --no-print-directory build PROFILE=release
    trap finish EXIT
    trap ':' INT TERM
    folder="$(mktemp -d "${TMPDIR:-/tmp}/pgskein-run.XXXXXX")"
    chmod 755 "$folder"
    if ((EUID == 0)); then
        as_user=(setpriv --reuid postgres --regid postgres --init-groups)
        chown postgres: "$folder"
    fi

    local database="${PGSKEIN_DATABASE:-}"
    if [[ -z "$database" ]]; then
        start_server
        database="host=$folder port=$port"
    fi
    write_ini "$database"
    # The checkout may lie where that user cannot go.
    install -m 755 "${CARGO_TARGET_DIR:-target}/release/pgskein" "$folder/pgskein"

    cat <<TEXT

pgskein listens on port $port, in front of PostgreSQL ($database). Try:

  psql -h 127.0.0.1 -p $port -U postgres postgres
  psql -h 127.0.0.1 -p $port -U postgres pgskein -c 'show workers'
  pgbench -i -h 127.0.0.1 -p $port -U postgres postgres
  pgbench -S -c 16 -T 5 -h 127.0.0.1 -p $port -U postgres postgres

Ctrl-C ends it.

TEXT
    # Job control gives the pooler a process group of its own, so that Ctrl-C is
    # passed on once and in order: first the pooler ends, then the server.
    set -m
    "${as_user[@]}" "$folder/pgskein" "$folder/pgskein.ini" &
    pooler=$!
    set +m
    local status=0
    wait "$pooler" || status=$?
    if ((status > 128)); then
        # Interrupted by our own signal: the pooler still runs, and finish() ends it.
        status=0
    else
        pooler=
    fi
    exit "$status"
}

# A server without durability whose socket is in the folder, on no TCP port.
start_server() {
    local bin
    bin="$(server_folder)"
    (cd / && "${as_user[@]}" "${bin}initdb" -D "$folder/data" -U postgres -A trust \
        --no-sync -E UTF8 >"$folder/initdb.log" 2>&1) || {
        cat "$folder/initdb.log" >&2
        exit 1
    }
    set -m
    (cd / && exec "${as_user[@]}" "${bin}postgres" -D "$folder/data" -k "$folder" -p "$port" \
        -c listen_addresses= -c fsync=off -c max_connections=300 >"$folder/postgresql.log" 2>&1) &
    server=$!
    set +m
    for _ in $(seq 150); do
        "${bin}pg_isready" -q -h "$folder" -p "$port" && return
        sleep 0.1
    done
    tail -n 20 "$folder/postgresql.log" >&2
    exit 1
}

# Folder of PostgreSQL's programs with a slash at its end, empty when in PATH.
server_folder() {
    local newest
    newest="$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -n 1)" || true
    echo "${newest%initdb}"
}

write_ini() {
    cat >"$folder/pgskein.ini" <<INI
[databases]
* = $1

[pgskein]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir = $folder/sockets
runtime_dir = $folder/state
auth_type = trust
auth_file = $folder/users.txt
admin_users = postgres
pool_mode = transaction
max_client_conn = 1000
${PGSKEIN_SETTINGS:-}
INI
    echo '"postgres" ""' >"$folder/users.txt"
    mkdir "$folder/sockets"
    if ((EUID == 0)); then
        chown -R postgres: "$folder/sockets" "$folder/pgskein.ini" "$folder/users.txt"
    fi
}

finish() {
    trap '' INT TERM
    if [[ -n "$pooler" ]]; then
        kill -QUIT "$pooler" 2>/dev/null || true
        wait "$pooler" 2>/dev/null || true
    fi
    if [[ -n "$server" ]]; then
        kill -INT "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    [[ -z "$folder" ]] || rm -rf "$folder"
}

main
