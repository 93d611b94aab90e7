"""For how long PostgreSQL shows more connections than the limit of a pool."""

import os
import signal
import subprocess
import sys
import time

from programs import program
from report import Section
from wire import connect, number

SECONDS = int(os.environ.get("BENCH_SECONDS", "3")) * 2
WORKERS = 4

# Name, limit, arguments of pgbench, and how often a worker is killed, in seconds.
LOADS = [
    ("32 clients", 1, "-S -c 32", None),
    ("32 clients", 4, "-S -c 32", None),
    ("16 clients, a connection for each transaction", 4, "-S -C -c 16", None),
    ("32 clients, a worker killed twice a second", 4, "-S -c 32", 0.5),
]

OPEN = (
    "select count(*) from pg_stat_activity "
    "where backend_type = 'client backend' and application_name <> 'sampler'"
)


def measure(bench):
    """Counts the connections of PostgreSQL as often as it answers, under each load."""
    rows = []
    for name, limit, arguments, kill in LOADS:
        print(f"limits: {name}, pool_size {limit}", file=sys.stderr)
        settings = {"default_pool_size": limit}
        with bench.start("pgskein", "transaction", WORKERS, settings=settings) as pooler:
            samples = sample(bench, pooler, arguments, kill)
        total, longest = over(samples, limit)
        most = max(count for _, count in samples)
        rows.append(
            [name, limit, f"{len(samples):,}", most, f"{total * 1e3:.1f}", f"{longest * 1e3:.1f}"]
        )
    commands = sorted({f"pgbench -n {arguments} -j 1  # through {WORKERS} workers" for _, _, arguments, _ in LOADS})
    result = Section("Limits as PostgreSQL sees them", commands)
    result.text = (
        f"`pg_stat_activity` is asked for its client backends again and again for {SECONDS} s. A "
        "sample over `pool_size` counts until the next one. Where nothing dies, 50 ms are the aim; "
        "what a killed worker leaves may be seen for up to `lease_linger`, 5 s."
    )
    head = ["load", "`pool_size`", "samples", "most connections", "ms over it in all", "ms over it at once"]
    result.add_table(head, rows)
    return result


def sample(bench, pooler, arguments, kill):
    """Times and counts, while pgbench runs and workers are killed."""
    server = connect(bench.port)
    samples = []
    load = None
    start = time.monotonic()
    next_kill = start + kill if kill else None
    while (now := time.monotonic()) < start + SECONDS:
        # A killed worker takes its clients along.
        if load is None or load.poll() is not None:
            load = begin(bench, pooler, arguments)
        if next_kill and now >= next_kill:
            next_kill = now + kill
            os.kill(pooler.worker(), signal.SIGKILL)
        samples.append((now, number(server, OPEN)))
    load.terminate()
    load.wait()
    server.close()
    return samples


def begin(bench, pooler, arguments):
    command = [program("pgbench"), "-n", *arguments.split(), "-j", "1", "-T", str(SECONDS)]
    return subprocess.Popen(
        bench.unprivileged + command + bench.address(pooler.port),
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def over(samples, limit):
    """Seconds over the limit, in all and at once."""
    total = longest = current = 0.0
    for (at, count), (until, _) in zip(samples, samples[1:]):
        current = current + until - at if count > limit else 0.0
        total += until - at if count > limit else 0.0
        longest = max(longest, current)
    return total, longest
