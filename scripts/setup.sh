#!/usr/bin/env bash
# Installs what the repository's commands need and does not find here.
#
# usage: scripts/setup.sh run|test|bench|fuzz
#
# Silent when nothing is missing. Packages come from Debian through apt-get, as
# root or with sudo; clients that Debian does not have, see scripts/clients.sh,
# go below the folder of cargo's results. Rust 1.88 or later is taken as it is
# found: the toolchain of a stable Debian may be too old for this project.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly NEEDED_RUST=1.88

purpose="${1:-test}"
missing=()
updated=0

main() {
    have cc || missing+=(gcc libc6-dev)
    have cargo || rust_package
    have_postgresql || missing+=(postgresql postgresql-client)
    case "$purpose" in
    run) ;;
    test)
        have psql || missing+=(postgresql-client)
        have python3 || missing+=(python3)
        debian_python_has psycopg psycopg2 asyncpg pg8000 yaml ||
            missing+=(python3-psycopg python3-psycopg2 python3-asyncpg python3-pg8000 python3-yaml)
        # What Debian splits off from Python, to install further packages with.
        system_python_has ensurepip || missing+=(python3-venv)
        have_pgbouncer || missing+=(pgbouncer)
        # To build a newer one.
        have make || missing+=(make)
        have pkg-config || missing+=(pkg-config)
        has_library libevent || missing+=(libevent-dev)
        has_library openssl || missing+=(libssl-dev)
        have curl || missing+=(curl)
        have_haproxy || missing+=(haproxy)
        have slapd || [[ -x /usr/sbin/slapd ]] || missing+=(slapd)
        # Services of PAM that scenarios make are of its modules.
        compgen -G '/lib/*/security/pam_exec.so' >/dev/null || missing+=(libpam-modules)
        have node || missing+=(nodejs)
        have npm || missing+=(npm)
        # It checks the unit, and needs no running systemd for that.
        have systemd-analyze || missing+=(systemd)
        ;;
    bench)
        have python3 || missing+=(python3)
        have valgrind || missing+=(valgrind)
        have strace || missing+=(strace)
        have_pgbouncer || missing+=(pgbouncer)
        have make || missing+=(make)
        have pkg-config || missing+=(pkg-config)
        has_library libevent || missing+=(libevent-dev)
        has_library openssl || missing+=(libssl-dev)
        ;;
    fuzz)
        have c++ || missing+=(g++)
        ;;
    *)
        die "unknown purpose: $purpose"
        ;;
    esac
    if ((${#missing[@]} > 0)); then
        install_missing
    fi
    check_rust
    case "$purpose" in
    test)
        scripts/clients.sh
        scripts/pgbouncer.sh
        ;;
    bench) scripts/pgbouncer.sh || echo "setup: the benchmark takes Debian's PgBouncer" >&2 ;;
    esac
}

have() {
    command -v "$1" >/dev/null 2>&1
}

have_postgresql() {
    have postgres || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null
}

have_pgbouncer() {
    have pgbouncer || [[ -x /usr/sbin/pgbouncer ]]
}

have_haproxy() {
    have haproxy || [[ -x /usr/sbin/haproxy ]]
}

has_library() {
    have pkg-config && pkg-config --exists "$1"
}

debian_python_has() {
    local imports
    imports="import $(IFS=,; echo "$*")"
    python3 -c "$imports" 2>/dev/null || /usr/bin/python3 -c "$imports" 2>/dev/null
}

# Asks the one that scripts/clients.sh takes.
system_python_has() {
    if [[ -x /usr/bin/python3 ]]; then
        /usr/bin/python3 -c "import $1" 2>/dev/null
    else
        python3 -c "import $1" 2>/dev/null
    fi
}

# Debian's rustup brings a current toolchain; its own cargo may be too old.
rust_package() {
    have apt-get || return 0
    update_lists
    if [[ -n "$(candidate rustup)" ]]; then
        missing+=(rustup)
    elif version_at_least "$(candidate cargo)" "$NEEDED_RUST"; then
        missing+=(cargo rustc rustfmt rust-clippy)
    fi
}

# The version of a package that could be installed, empty when there is none.
candidate() {
    apt-cache policy "$1" | sed -n 's/^ *Candidate: \([0-9][^+~-]*\).*/\1/p'
}

update_lists() {
    if ((updated == 0)); then
        with_rights apt-get update -qq || die "could not read the package lists"
        updated=1
    fi
}

with_rights() {
    if ((EUID == 0)); then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "root or sudo is needed to install what is missing here:" \
            "${missing[*]:-a toolchain for Rust}"
    fi
}

install_missing() {
    have apt-get || die "missing here, and there is no apt-get: ${missing[*]}"
    update_lists
    echo "installing ${missing[*]}" >&2
    local log
    log="$(mktemp)"
    # Debian would start a server of its own; the tests start theirs.
    if ! with_rights env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        die "could not install: ${missing[*]}"
    fi
    rm -f "$log"
}

check_rust() {
    if have rustup && ! cargo --version >/dev/null 2>&1; then
        rustup --quiet default stable >&2 || true
    fi
    local found
    found="$(cargo --version 2>/dev/null | awk '{print $2}')" || true
    if [[ -z "$found" ]] || ! version_at_least "$found" "$NEEDED_RUST"; then
        die "Rust $NEEDED_RUST or later is needed with cargo, rustfmt and clippy, and ${found:-none} is here:" \
            "install a current stable toolchain with rustup"
    fi
}

version_at_least() {
    [[ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" == "$2" ]]
}

die() {
    echo "setup: $*" >&2
    exit 1
}

main
