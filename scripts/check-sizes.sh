#!/usr/bin/env bash
# Fails when a source file has more than 500 lines.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly MOST=500

status=0
while IFS= read -r -d '' file; do
    lines="$(wc -l <"$file")"
    if ((lines > MOST)); then
        echo "$file: $lines lines, at most $MOST" >&2
        status=1
    fi
done < <(find crates tests -name target -prune -o -name '*.rs' -print0)
exit "$status"
