#!/usr/bin/env bash
# Measures pgskein side by side with PgBouncer and writes doc/benchmarks.md.
#
#   BENCH_ROUNDS   interleaved rounds of each load, 9 unless given
#   BENCH_SECONDS  length of one load, 3 unless given
#   BENCH_CLIENTS  clients of pgbench, 16 unless given
#   BENCH_IDLE     idle clients of which the memory is measured, 5000 unless given
#   BENCH_SESSIONS sessions of a worker that is restarted, 1000 unless given
#   BENCH_PARTS    what to measure: load,instructions,calls,memory,limits,handoff,
#                  cancels,tls,logins unless given
#   BENCH_CANCELS  wrong cancel requests a second, 10000 unless given
#   BENCH_OUTPUT   the document to write, doc/benchmarks.md unless given
#   PGSKEIN        the program, target/release/pgskein unless given
#   PGBOUNCER      the other one, that of scripts/pgbouncer.sh unless given; where
#                  there is none, Debian's
set -euo pipefail
cd "$(dirname "$0")/.."

# Thousands of clients need as many descriptors, here and in the poolers.
ulimit -n "$(ulimit -Hn)"
export PYTHONDONTWRITEBYTECODE=1
target="${CARGO_TARGET_DIR:-target}"
export PGSKEIN="${PGSKEIN:-$target/release/pgskein}"
export PGBOUNCER="${PGBOUNCER:-$target/tools/pgbouncer}"
exec python3 scripts/bench
