"""Processor time per transaction and transactions per second, in interleaved rounds."""

import os
import sys
import time

import loads
from loads import LOADS
from report import Section, quartiles

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "9"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "3"))
CLIENTS = int(os.environ.get("BENCH_CLIENTS", "16"))

def measure(bench):
    """Runs every load against every pooler in turn, and that again for each round."""
    cores = len(os.sched_getaffinity(0))
    poolers = {
        "PgBouncer": ("pgbouncer", 1),
        "pgskein, 1 worker": ("pgskein", 1),
        f"pgskein, {max(cores, 2)} workers": ("pgskein", max(cores, 2)),
    }
    samples = {(load, name): [] for load in LOADS for name in poolers}
    for number in range(ROUNDS):
        print(f"round {number + 1} of {ROUNDS}", file=sys.stderr)
        for load in LOADS:
            # Whoever comes first in one round comes last in the next.
            names = list(poolers) if number % 2 == 0 else list(reversed(poolers))
            for name in names:
                kind, workers = poolers[name]
                mode, arguments = loads.of(bench, kind, load)
                with bench.start(kind, mode, workers) as pooler:
                    samples[load, name].append(sample(bench, pooler, arguments))
    return section(bench, samples, list(poolers))


def sample(bench, pooler, arguments):
    """Microseconds of processor time per transaction, and transactions per second."""
    bench.pgbench(pooler.port, f"{arguments} -c {CLIENTS} -j 1 -t 20")
    before = pooler.processor_seconds()
    start = time.monotonic()
    count, _ = bench.pgbench(pooler.port, f"{arguments} -c {CLIENTS} -j 1 -T {SECONDS}")
    seconds = time.monotonic() - start
    used = pooler.processor_seconds() - before
    return used / count * 1e6, count / seconds


def section(bench, samples, names):
    base = names[0]
    time_rows, rate_rows = [], []
    for load in LOADS:
        for name in names:
            times = [time for time, _ in samples[load, name]]
            rates = [rate for _, rate in samples[load, name]]
            # Each round against PgBouncer's of the same round.
            of_base = samples[load, base]
            time_ratios = [a / b[0] for a, b in zip(times, of_base)]
            rate_ratios = [a / b[1] for a, b in zip(rates, of_base)]
            time_rows.append([load, name, quartiles(times, 2), quartiles(time_ratios, 3)])
            rate_rows.append([load, name, quartiles(rates, 0), quartiles(rate_ratios, 3)])
    command = [f"pgbench -n {a} -c {CLIENTS} -j 1 -T {SECONDS}  # {l}" for l, (_, a) in LOADS.items()]
    head = ["load", "pooler", "{}: median (quartiles)", "of PgBouncer's: median (quartiles)"]
    result = Section("Processor time and throughput", command)
    result.text = (
        f"{ROUNDS} rounds, interleaved. Processor time is utime + stime of all processes of the "
        "pooler from `/proc/PID/stat`, divided by the transactions that pgbench counted. A ratio is "
        "taken within its round. pgbench, PostgreSQL and the pooler share the machine. "
        + loads.remark(bench)
    )
    result.add_table([h.format("µs per transaction") for h in head], time_rows)
    result.add_table([h.format("transactions per second") for h in head], rate_rows)
    return result
