"""What it takes, and brings, that connections move between workers."""

import os
import random
import statistics
import sys
import time

from report import Section, quartiles
from wire import connect, number, rows, table

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "9"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "3"))
# Sessions of one worker at a restart.
SESSIONS = int(os.environ.get("BENCH_SESSIONS", "1000"))

LEND = "-S -c 12 -j 1"


def measure(bench):
    result = Section(
        "Connections that move between workers",
        ["BENCH_PARTS=handoff make bench", f"pgbench -n {LEND} -T {SECONDS}  # servers that are lent"],
    )
    result.text = (
        f"Clients: how many the worker with the most has of 50 that were opened one after the other, in parts "
        f"of the mean of 4 workers; and how long a login took, of those 50 and 150 more. Lent servers: a pool "
        f"of 1 and 12 clients; opened is what PostgreSQL counts as new sessions meanwhile, pgbench's own "
        f"go through the pooler. {ROUNDS} rounds, interleaved. Pause: 2 workers with {SESSIONS:,} sessions each are "
        "restarted, while one session after the other runs `select 1`; the longest answer."
    )
    accepts(bench, result)
    lent(bench, result)
    pauses(bench, result)
    return result


def accepts(bench, result):
    names = {"balance = 0": 0, "balance = 1": 1}
    uneven, logins = {name: [] for name in names}, {name: [] for name in names}
    for number_ in range(ROUNDS):
        print(f"balance: round {number_ + 1} of {ROUNDS}", file=sys.stderr)
        for name, balance in names.items():
            with bench.start("pgskein", "transaction", 4, settings={"balance": balance}) as pooler:
                # The first login opens a server.
                clients = [connect(pooler.port)]
                rows(clients[0], "select 1")
                times = []
                for _ in range(199):
                    start = time.perf_counter()
                    clients.append(connect(pooler.port))
                    times.append((time.perf_counter() - start) * 1e6)
                    if len(clients) == 50:
                        uneven[name].append(busiest(pooler))
                logins[name].append(statistics.median(times))
                close(clients)
    head = ["", "busiest ÷ mean: median (quartiles)", "µs for a login: median of medians (quartiles)"]
    result.add_table(
        head, [[name, quartiles(uneven[name], 2), quartiles(logins[name], 0)] for name in names]
    )


def busiest(pooler):
    console = connect(pooler.port, "pgskein")
    clients = [int(row["clients"]) for row in table(console, "SHOW WORKERS")]
    console.close()
    return max(clients) / statistics.mean(clients)


def lent(bench, result):
    rates = {1: [], 3: []}
    opened = {1: [], 3: []}
    server = connect(bench.port)
    for number_ in range(ROUNDS):
        print(f"lent servers: round {number_ + 1} of {ROUNDS}", file=sys.stderr)
        for workers in rates:
            with bench.start("pgskein", "transaction", workers, settings={"default_pool_size": 1}) as pooler:
                bench.pgbench(pooler.port, f"{LEND} -t 20")
                before = sessions(server)
                _, rate = bench.pgbench(pooler.port, f"{LEND} -T {SECONDS}")
                rates[workers].append(rate)
                opened[workers].append(sessions(server) - before)
    server.close()
    ratios = [many / one for many, one in zip(rates[3], rates[1])]
    result.add_table(
        ["pool of 1", "transactions per second: median (quartiles)", "of 1 worker's: median (quartiles)", "opened, at most"],
        [
            ["1 worker", quartiles(rates[1], 0), "1.00", max(opened[1])],
            ["3 workers", quartiles(rates[3], 0), quartiles(ratios, 2), max(opened[3])],
        ],
    )


def sessions(server):
    """Sessions that PostgreSQL has begun so far, in the database."""
    rows(server, "select pg_stat_clear_snapshot()")
    return number(server, "select sessions from pg_stat_database where datname = 'postgres'")


def pauses(bench, result):
    kinds = [("idle", False), ("restarted", True)]
    longest = {name: [] for name, _ in kinds}
    moved = []
    settings = {"goaway_rate": 0}
    for number_ in range(min(ROUNDS, 5)):
        print(f"pause: round {number_ + 1}", file=sys.stderr)
        with bench.start("pgskein", "transaction", 2, settings=settings) as pooler:
            clients = [connect(pooler.port) for _ in range(2 * SESSIONS)]
            console = connect(pooler.port, "pgskein")
            for name, restarts in kinds:
                if restarts:
                    before = pooler.pids()[1:]
                    console.sendall(b"Q\0\0\0\x0dRESTART;\0")
                longest[name].append(ping(clients, pooler, before if restarts else []))
            moved.append(sum(1 for client in clients if alive(client)))
            close(clients)
    result.add_table(
        ["workers", f"longest answer in ms: median (quartiles)", "sessions left, at least"],
        [
            ["left alone", quartiles(longest["idle"], 1), 2 * SESSIONS],
            ["restarted", quartiles(longest["restarted"], 1), min(moved)],
        ],
    )


def ping(clients, pooler, old):
    """The longest answer in ms, for some time and until these processes are gone."""
    longest, start = 0.0, time.monotonic()
    while time.monotonic() < start + SECONDS or set(old) & set(pooler.pids()):
        if time.monotonic() > start + 60:
            raise SystemExit("workers that were to be replaced are still there")
        for client in random.sample(clients, 50):
            begun = time.perf_counter()
            rows(client, "select 1")
            longest = max(longest, (time.perf_counter() - begun) * 1e3)
    return longest


def alive(client):
    return rows(client, "select 1") == [["1"]]


def close(clients):
    for client in clients:
        client.close()
