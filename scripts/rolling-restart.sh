#!/usr/bin/env bash
# Restarts pgskein without losing a client: on this host, or on several, one
# after the other, each only when the one before it serves as it did.
#
# It orders RESTART at the console and waits until every slot has a worker of the
# new generation, those of the old one have gone with their clients, and SHOW STATE
# says ready. It asks nothing, and prints what it does, so it can be run by cron.
# doc/deployment.md has more about it.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: rolling-restart.sh [OPTION…] [HOST…]

Without a HOST: the group that --host and --port lead to. {} in the value of an
option stands for the name of the HOST.

  --via COMMAND      runs psql there, such as 'ssh -o BatchMode=yes {}'; without
                     it psql runs here
  --host HOST        folder of the unix socket, or where to connect; /tmp unless
                     given, and with HOST… but without --via {}
  --port PORT        6432 unless given
  --user USER        an administrator of the console; pgskein unless given
  --timeout SECONDS  how long one host may take, 4500 unless given: more than
                     restart_drain_timeout, after which nobody is waited for
  --dry-run          prints what would be run
  --help             prints this

Passwords come from ~/.pgpass or PGPASSWORD where psql runs. Exit codes: 0, all
were restarted; 1, one did not come back or refused, and those after it were
left alone; 2, this was called in a wrong way.
TEXT
}

via=()
host=
port=6432
user=pgskein
timeout=4500
dry_run=
hosts=()

main() {
    parse "$@"
    if ((${#hosts[@]} == 0)); then
        [[ "$host${via[*]-}$port$user" != *'{}'* ]] || misuse 'there is {}, and no HOST for it'
        host="${host:-/tmp}"
        restart 'this host' ''
        return
    fi
    if [[ -z "$host" ]]; then
        host='{}'
        ((${#via[@]} == 0)) || host=/tmp
    fi
    [[ "$host${via[*]-}" == *'{}'* ]] || misuse 'neither --via nor --host has {} for the HOSTs'
    local name
    for name in "${hosts[@]}"; do
        restart "$name" "$name"
    done
}

parse() {
    while (($# > 0)); do
        case "$1" in
        --via | --host | --port | --user | --timeout)
            (($# > 1)) || misuse "$1 needs a value"
            case "$1" in
            --via) read -ra via <<<"$2" ;;
            --host) host="$2" ;;
            --port) port="$2" ;;
            --user) user="$2" ;;
            --timeout) timeout="$2" ;;
            esac
            shift
            ;;
        --dry-run) dry_run=yes ;;
        --help)
            usage
            exit 0
            ;;
        --)
            shift
            hosts+=("$@")
            break
            ;;
        -*) misuse "there is no option $1" ;;
        *) hosts+=("$1") ;;
        esac
        shift
    done
    [[ "$timeout" =~ ^[1-9][0-9]*$ ]] || misuse "--timeout is a number of seconds, not $timeout"
}

# restart LABEL NAME: one host, from the order to its end.
restart() {
    label="$1"
    command=(${via[@]+"${via[@]}"} psql -X -q -w -A -P footer=off -v ON_ERROR_STOP=1
        -h "$host" -p "$port" -U "$user" -d pgskein)
    command=("${command[@]//\{\}/$2}")
    if [[ -n "$dry_run" ]]; then
        say "would run RESTART by: ${command[*]}"
        return
    fi
    local deadline=$((SECONDS + timeout)) answer
    answer="$(ask 'SHOW STATE')" || fail "cannot be asked: $answer"
    is_ready "$answer" || fail 'is not ready, so it is left as it is'
    say 'RESTART'
    answer="$(ask 'RESTART')" || fail "RESTART has failed: $answer"
    wait_restarted "$deadline"
}

# wait_restarted DEADLINE: until only the new generation is there, and ready.
wait_restarted() {
    local silent=0 said='' answer state now
    while true; do
        if answer="$(ask 'SHOW WORKERS')" && state="$(ask 'SHOW STATE')"; then
            silent=0
            now="$(progress <<<"$answer")"
            if [[ "$now" != "$said" ]]; then
                say "$now"
                said="$now"
            fi
            if [[ "$now" != *' old '* && "$now" != *' not ready'* ]] && is_ready "$state"; then
                say 'restarted'
                return
            fi
        else
            silent=$((silent + 1))
            ((silent < MOST_SILENT)) || fail "does not answer any more: $answer"
        fi
        ((SECONDS < $1)) || fail "was not restarted within $timeout s"
        sleep 1
    done
}

# Makes a line of what SHOW WORKERS prints, behind what a login may print.
progress() {
    awk -F'|' '
        !seen && /^worker\|/ { for (i = 1; i <= NF; i++) column[$i] = i; seen = 1; next }
        !seen { next }
        $column["state"] == "dead" { next }
        {
            generation[NR] = $column["generation"]
            state[NR] = $column["state"]
            clients[NR] = $column["clients"]
            if ($column["generation"] > newest) newest = $column["generation"]
        }
        END {
            if (!seen) { print "workers not shown, so not ready"; exit }
            for (row in generation) {
                if (generation[row] < newest) { old++; left += clients[row] }
                else if (state[row] == "ready") ready++
                else starting++
            }
            printf "generation %d: %d workers ready", newest, ready
            if (starting) printf ", %d not ready", starting
            if (old) printf "; %d old ones have %d clients", old, left
            print ""
        }'
}

# is_ready TEXT: whether that is SHOW STATE of a group which is ready.
is_ready() {
    grep -qx 'ready|yes' <<<"$1"
}

# ask COMMAND: runs it at the console and prints what it answers. It goes over
# standard input, so that no shell on the way takes it apart.
ask() {
    "${command[@]}" 2>&1 <<<"$1;"
}

say() {
    echo "$label: $1"
}

fail() {
    echo "$label: $1" >&2
    exit 1
}

misuse() {
    echo "rolling-restart.sh: $1; --help says more" >&2
    exit 2
}

# Questions without an answer, one after the other, after which a host is lost.
readonly MOST_SILENT=10

main "$@"
