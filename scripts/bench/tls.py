"""TLS of clients: throughput, connects and bulk data, in interleaved rounds."""

import os
import signal
import subprocess
import sys
import time

import certificates
from load import CLIENTS, ROUNDS, SECONDS
from programs import program
from report import Section, quartiles

LOADS = {
    "simple": ("ECDSA P-256", "-S -M simple"),
    "extended": ("ECDSA P-256", "-S -M extended"),
    "connect for each, ECDSA P-256": ("ECDSA P-256", "-S -M simple -C"),
    "connect for each, RSA-2048": ("RSA-2048", "-S -M simple -C"),
}

# Lines of 1000 bytes.
LINES = 100_000
MEGABYTES = LINES * 1000 / 1e6

COPIES = {
    "COPY TO": f"copy (select repeat('x', 999) from generate_series(1, {LINES})) to stdout",
    "COPY FROM": "copy sink from stdin",
}

POOLERS = {"PgBouncer": "pgbouncer", "pgskein, 1 worker": "pgskein"}


def measure(bench):
    """Runs every load against every pooler in turn, and that again for each round."""
    # libpq's, of pgbench and of psql; they need not look for certificates where they may not.
    before = dict(os.environ)
    os.environ.update(PGSSLMODE="require", HOME=bench.folder)
    try:
        return measure_encrypted(bench)
    finally:
        os.environ.clear()
        os.environ.update(before)


def measure_encrypted(bench):
    lines = os.path.join(bench.folder, "lines")
    with open(lines, "w", encoding="ascii") as file:
        file.write(("x" * 999 + "\n") * LINES)
    bench.give(lines)
    make = "create unlogged table sink (line text) with (autovacuum_enabled = off)"
    direct = {**os.environ, "PGSSLMODE": "disable"}
    subprocess.run([program("psql"), "-qc", make, *bench.address(bench.port)], env=direct, check=True)
    samples = {(load, name): [] for load in [*LOADS, *COPIES] for name in POOLERS}
    for number in range(ROUNDS):
        print(f"TLS: round {number + 1} of {ROUNDS}", file=sys.stderr)
        names = list(POOLERS) if number % 2 == 0 else list(reversed(POOLERS))
        for load, (kind, arguments) in LOADS.items():
            for name in names:
                with start(bench, POOLERS[name], kind) as pooler:
                    samples[load, name].append(transactions(bench, pooler, arguments))
        for copy, statement in COPIES.items():
            for name in names:
                with start(bench, POOLERS[name], "ECDSA P-256") as pooler:
                    samples[copy, name].append(megabytes(bench, pooler, statement, lines))
    calls = {(c, n): count_reads(bench, POOLERS[n], COPIES[c], lines) for c in COPIES for n in POOLERS}
    return section(samples, calls)


def start(bench, kind, certificate):
    return bench.start(kind, settings=certificates.settings(bench, certificate))


def transactions(bench, pooler, arguments):
    """Microseconds of processor time per transaction, and transactions per second."""
    bench.pgbench(pooler.port, f"{arguments} -c {CLIENTS} -j 1 -t 20")
    before, began = pooler.processor_seconds(), time.monotonic()
    count, _ = bench.pgbench(pooler.port, f"{arguments} -c {CLIENTS} -j 1 -T {SECONDS}")
    seconds = time.monotonic() - began
    return (pooler.processor_seconds() - before) / count * 1e6, count / seconds


def megabytes(bench, pooler, statement, lines):
    """Microseconds of processor time per megabyte, and megabytes per second."""
    before, began = pooler.processor_seconds(), time.monotonic()
    copy(bench, pooler, statement, lines)
    seconds = time.monotonic() - began
    return (pooler.processor_seconds() - before) / MEGABYTES * 1e6, MEGABYTES / seconds


def copy(bench, pooler, statement, lines):
    command = [program("psql"), "-X", "-q", "-c", "truncate sink", "-c", statement]
    with open(lines, "rb") as file:
        subprocess.run(
            command + bench.address(pooler.port), stdin=file, stdout=subprocess.DEVNULL, check=True
        )


def count_reads(bench, kind, statement, lines):
    """Reads and writes of the pooler for each megabyte."""
    out = f"{bench.folder}/strace.copy"
    with start(bench, kind, "ECDSA P-256") as pooler:
        check(bench, pooler)
        tracer = subprocess.Popen(
            ["strace", "-f", "-c", "-o", out, "-p", str(pooler.worker())],
            stderr=subprocess.PIPE,
            text=True,
        )
        # It says so once it has attached.
        tracer.stderr.readline()
        copy(bench, pooler, statement, lines)
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
    counts = {"reads": 0, "writes": 0}
    with open(out, encoding="ascii") as file:
        for line in file:
            fields = line.split()
            if fields and fields[-1] in ("read", "recvfrom", "recvmsg", "readv"):
                counts["reads"] += int(fields[3])
            if fields and fields[-1] in ("write", "sendto", "sendmsg", "writev"):
                counts["writes"] += int(fields[3])
    return [f"{count / MEGABYTES:.0f}" for count in counts.values()]


def check(bench, pooler):
    """Sees that nobody is compared with another cipher."""
    command = [program("psql"), "-XAt", "-c", "show clients", *bench.address(pooler.port)[:-1], "pgbouncer"]
    shown = bench.run(command)
    if certificates.AGREED not in shown:
        raise SystemExit(f"not {certificates.AGREED}: {shown}")


def section(samples, calls):
    base = next(iter(POOLERS))
    tables = []
    for which in (0, 1):
        for loads in (LOADS, COPIES):
            rows = []
            for load in loads:
                for name in POOLERS:
                    values = [sample[which] for sample in samples[load, name]]
                    of_base = [sample[which] for sample in samples[load, base]]
                    ratios = [a / b for a, b in zip(values, of_base)]
                    digits = 0 if which == 1 else 2
                    row = [load, name, quartiles(values, digits), quartiles(ratios, 3)]
                    rows.append(row + (calls[load, name] if which == 0 and loads is COPIES else []))
            tables.append(rows)
    time_rows, bulk_time_rows, rate_rows, bulk_rate_rows = tables
    ratio = "of PgBouncer's: median (quartiles)"
    result = Section(
        "TLS of clients",
        [f"PGSSLMODE=require pgbench -n {a} -c {CLIENTS} -j 1 -T {SECONDS}  # {l}" for l, (_, a) in LOADS.items()]
        + [f'PGSSLMODE=require psql -c "{statement}"' for statement in COPIES.values()],
    )
    result.text = (
        f"{ROUNDS} rounds, interleaved, measured as above. Both with TLS 1.3, "
        "TLS_AES_256_GCM_SHA384, X25519 and the same certificate; servers are not encrypted, and no session is "
        f"resumed, as libpq does not. What is copied are {MEGABYTES:.0f} MB."
    )
    head = ["load", "pooler"]
    result.add_table([*head, "µs per transaction: median (quartiles)", ratio], time_rows)
    result.add_table([*head, "transactions per second: median (quartiles)", ratio], rate_rows)
    bulk = [*head, "µs per MB: median (quartiles)", ratio, "reads per MB", "writes per MB"]
    result.add_table(bulk, bulk_time_rows)
    result.add_table([*head, "MB per second: median (quartiles)", ratio], bulk_rate_rows)
    return result
