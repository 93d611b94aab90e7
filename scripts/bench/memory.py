"""Memory of idle clients."""

import os
import resource
import sys
import time

from report import Section
from wire import connect, rows

WANTED = int(os.environ.get("BENCH_IDLE", "5000"))


def measure(bench):
    """Compares the memory of a pooler without clients and with many idle ones."""
    clients = min(WANTED, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)
    measured = []
    for kind, name, workers in (
        ("pgbouncer", "PgBouncer", 1),
        ("pgskein", "pgskein, 1 worker", 1),
        ("pgskein", "pgskein, 4 workers", 4),
    ):
        print(f"memory: {name}", file=sys.stderr)
        with bench.start(kind, "transaction", workers) as pooler:
            # What is made with the first client is not a client's.
            first = [idle_client(pooler.port) for _ in range(8)]
            time.sleep(0.5)
            before = pooler.proportional_memory()
            idle = [idle_client(pooler.port) for _ in range(clients)]
            time.sleep(1)
            after = pooler.proportional_memory()
            for client in first + idle:
                client.close()
        each = (after - before) / clients
        measured.append([name, f"{before / 1024:,.0f}", f"{after / 1024:,.0f}", f"{each:,.0f}"])
    result = Section(f"Memory of {clients:,} idle clients", ["BENCH_PARTS=memory make bench"])
    result.text = (
        "PSS of all processes from `/proc/PID/smaps_rollup`. Each client has logged in and run "
        "`select 1` once, in transaction mode. What the kernel keeps for a socket is not in it."
    )
    result.add_table(["pooler", "KiB before", "KiB with them", "bytes for each"], measured)
    return result


def idle_client(port):
    """A connection that has logged in and run one query."""
    client = connect(port)
    rows(client, "select 1")
    return client
