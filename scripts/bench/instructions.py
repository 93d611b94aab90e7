"""User instructions per transaction, counted by callgrind."""

import glob
import os
import re
import sys

import loads
from report import Section

FEW, MANY = 500, 3500

COUNTED = ("simple", "extended", "prepared, session mode", "prepared, transaction mode")


def measure(bench):
    """Counts whole runs of two lengths: what differs is the transactions alone."""
    rows = []
    for load in COUNTED:
        counts = {}
        for kind in ("pgbouncer", "pgskein"):
            print(f"callgrind: {kind}, {load}", file=sys.stderr)
            mode, arguments = loads.of(bench, kind, load)
            few = run(bench, kind, mode, f"{arguments} -c 1 -t {FEW}")
            many = run(bench, kind, mode, f"{arguments} -c 1 -t {MANY}")
            counts[kind] = (many - few) / (MANY - FEW)
        ratio = counts["pgskein"] / counts["pgbouncer"]
        rows.append([load, f"{counts['pgbouncer']:,.0f}", f"{counts['pgskein']:,.0f}", f"{ratio:.3f}"])
    result = Section(
        "User instructions per transaction",
        [
            "valgrind --tool=callgrind --trace-children=yes pgskein pooler.ini  # one worker",
            f"pgbench -n -S -c 1 -t {FEW}, then the same in another run with -t {MANY}",
        ],
    )
    result.text = (
        f"One client, one worker. Instructions of all processes from start to end, of a run of {MANY} "
        f"transactions less those of a run of {FEW}, divided by the {MANY - FEW} between them. "
        + loads.remark(bench)
    )
    result.add_table(["load", "PgBouncer", "pgskein, 1 worker", "ratio"], rows)
    return result


def run(bench, kind, mode, arguments):
    """Instructions of all processes of a pooler that lives for one load."""
    out = f"{bench.folder}/callgrind.{kind}"
    for old in glob.glob(f"{out}.*"):
        os.unlink(old)
    # Else the random generator of TLS begins, whose work is not twice the same.
    plain = {"server_tls_sslmode": "disable"}
    with bench.start(kind, mode, 1, callgrind_out=out, settings=plain) as pooler:
        bench.pgbench(pooler.port, arguments)
    total = 0
    for name in glob.glob(f"{out}.*"):
        with open(name, encoding="utf-8", errors="replace") as file:
            total += sum(int(n) for n in re.findall(r"^(?:totals|summary): (\d+)", file.read(), re.M)[:1])
    if total == 0:
        raise SystemExit(f"callgrind counted nothing for {kind}")
    return total
