#!/usr/bin/env bash
# Builds a PgBouncer that has prepared statements and peers, for the benchmark and
# the scenarios, and puts it to TARGET/tools/pgbouncer, where TARGET is
# CARGO_TARGET_DIR, or target.
#
# The source is that of a newer Debian, from the mirror that apt uses here; the
# lists of packages that apt has are left alone. Silent when there is one. It
# fails, and says why, where there is none to be had.
set -euo pipefail
cd "$(dirname "$0")/.."

# PgBouncer 1.24 is in it.
readonly RELEASE=trixie
tools="${CARGO_TARGET_DIR:-target}/tools"
folder=

main() {
    mkdir -p "$tools"
    tools="$(cd "$tools" && pwd)"
    exec 9>"$tools/.lock"
    flock 9
    if [[ -x "$tools/pgbouncer" ]] || newer_is_installed; then
        return
    fi
    echo "building PgBouncer of Debian $RELEASE" >&2
    folder="$(mktemp -d)"
    trap 'rm -rf "$folder"' EXIT
    fetch
    build
    install -m 755 "$folder/source/pgbouncer" "$tools/pgbouncer"
}

# Debian's own has prepared statements if it is 1.21 or later.
newer_is_installed() {
    local found
    found="$(PATH="$PATH:/usr/sbin" pgbouncer --version 2>/dev/null | awk 'NR == 1 { print $2 }')"
    [[ -n "$found" && "$(printf '1.21\n%s\n' "$found" | sort -V | head -n 1)" == 1.21 ]]
}

# An apt of its own, with nothing but the sources of the other release.
fetch() {
    local mirror
    mirror="$(apt-get indextargets --format '$(REPO_URI)' \
        'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)"
    [[ -n "$mirror" ]] || die "apt has no mirror of Debian here"
    mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial" "$folder/source"
    echo "deb-src $mirror $RELEASE main" >"$folder/sources.list"
    local apt=(apt-get
        -o "Dir::Etc::SourceList=$folder/sources.list" -o Dir::Etc::SourceParts=-
        -o "Dir::State::Lists=$folder/lists" -o "Dir::Cache=$folder/cache"
        -o APT::Sandbox::User= -o Acquire::Retries=3)
    run "${apt[@]}" update
    (cd "$folder" && run "${apt[@]}" source --download-only pgbouncer)
}

build() {
    run tar -xf "$folder"/pgbouncer_*.orig.tar.gz -C "$folder/source" --strip-components 1
    cd "$folder/source"
    run ./configure --without-cares
    run make pgbouncer
    cd - >/dev/null
}

# run COMMAND...: what it prints is shown only when it fails
run() {
    "$@" >"$folder/log" 2>&1 9>&- || {
        tail -n 20 "$folder/log" >&2
        die "failed: $*"
    }
}

die() {
    echo "pgbouncer: $*" >&2
    exit 1
}

main
