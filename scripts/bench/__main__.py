"""Measures pgskein side by side with PgBouncer and writes a document."""

import os
import signal
import sys

import cancels
import handoff
import instructions
import limits
import load
import logins
import memory
import report
import syscalls
import tls
from programs import Bench

PARTS = {
    "load": load.measure,
    "instructions": instructions.measure,
    "calls": syscalls.measure,
    "memory": memory.measure,
    "limits": limits.measure,
    "handoff": handoff.measure,
    "cancels": cancels.measure,
    "tls": tls.measure,
    "logins": logins.measure,
}


def main():
    # So that whoever ends it leaves no server behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    parts = os.environ.get("BENCH_PARTS", ",".join(PARTS)).split(",")
    output = os.environ.get("BENCH_OUTPUT", "doc/benchmarks.md")
    with Bench() as bench:
        sections = [PARTS[part](bench) for part in parts]
        text = report.document(bench, sections)
    with open(output, "w", encoding="utf-8") as file:
        file.write(text)
    print(text)
    print(f"written to {output}", file=sys.stderr)


main()
