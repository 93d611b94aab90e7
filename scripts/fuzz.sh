#!/usr/bin/env bash
# Fuzzes every parser, one after the other, and fails when one of them does.
#
# usage: scripts/fuzz.sh [SECONDS] [TARGET...]
#
# 60 seconds for each target if not told otherwise; the targets are the files
# in tests/fuzz/fuzz_targets. What makes one fail goes to
# target/fuzz/found/TARGET, inputs that reach new code go to
# target/fuzz/corpus/TARGET; the seeds in tests/fuzz/corpus are only read. To
# run one input again, or to make it smaller:
#
#   target/fuzz/*/release/TARGET target/fuzz/found/TARGET/crash-...
#   target/fuzz/*/release/TARGET -minimize_crash=1 -runs=10000 CRASH
#
# A stable toolchain is enough: coverage needs no unstable flag, only the
# sanitizers do, which have little to find in crates without unsafe code. The
# build has assertions and overflow checks.
set -euo pipefail

cd "$(dirname "$0")/.."
readonly SEEDS=tests/fuzz/corpus
cargo="${CARGO:-cargo}"
out="${CARGO_TARGET_DIR:-target}/fuzz"
triple="$(rustc -vV | sed -n 's/^host: //p')"
failed=()

main() {
    local seconds="${1:-60}" target targets=("${@:2}")
    [[ "$seconds" =~ ^[1-9][0-9]*$ ]] || die "not a number of seconds: $seconds"
    if ((${#targets[@]} == 0)); then
        mapfile -t targets < <(basename -s .rs tests/fuzz/fuzz_targets/*.rs)
    fi
    build
    for target in "${targets[@]}"; do
        fuzz "$target" "$seconds" || failed+=("$target")
    done
    if ((${#failed[@]} > 0)); then
        die "failed: ${failed[*]}"
    fi
}

build() {
    command -v c++ >/dev/null || die "libFuzzer needs a C++ compiler: install g++"
    "$cargo" fuzz --version >/dev/null 2>&1 || "$cargo" install cargo-fuzz --locked
    mkdir -p "$out"
    out="$(cd "$out" && pwd)"
    "$cargo" fuzz build --fuzz-dir tests/fuzz --sanitizer none \
        --target "$triple" --target-dir "$out"
}

# fuzz TARGET SECONDS: says what it did, or what made it fail
fuzz() {
    local target="$1" seconds="$2" found="$out/found/$1" log="$out/$1.log"
    mkdir -p "$found" "$out/corpus/$target"
    printf '%s: %s s ... ' "$target" "$seconds"
    if "$out/$triple/release/$target" \
        -max_total_time="$seconds" -max_len=16384 -timeout=10 -rss_limit_mb=1024 \
        -print_final_stats=1 -artifact_prefix="$found/" \
        "$out/corpus/$target" "$SEEDS/$target" >"$log" 2>&1; then
        printf '%s inputs, no failure\n' \
            "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
    else
        printf 'FAILED\n'
        tail -n 40 "$log" >&2
        return 1
    fi
}

die() {
    echo "fuzz.sh: $*" >&2
    exit 1
}

main "$@"
