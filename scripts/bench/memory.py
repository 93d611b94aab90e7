"""Memory of idle clients."""

import os
import resource
import socket
import struct
import sys
import time

from report import Section

WANTED = int(os.environ.get("BENCH_IDLE", "5000"))


def measure(bench):
    """Compares the memory of a pooler without clients and with many idle ones."""
    clients = min(WANTED, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)
    rows = []
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
        rows.append([name, f"{before / 1024:,.0f}", f"{after / 1024:,.0f}", f"{each:,.0f}"])
    result = Section(f"Memory of {clients:,} idle clients", ["BENCH_PARTS=memory make bench"])
    result.text = (
        "PSS of all processes from `/proc/PID/smaps_rollup`. Each client has logged in and run "
        "`select 1` once, in transaction mode. What the kernel keeps for a socket is not in it."
    )
    result.add_table(["pooler", "KiB before", "KiB with them", "bytes for each"], rows)
    return result


def idle_client(port):
    """A connection that has logged in and run one query."""
    client = socket.create_connection(("127.0.0.1", port))
    body = struct.pack("!i", 196608) + b"user\0postgres\0database\0postgres\0\0"
    client.sendall(struct.pack("!i", len(body) + 4) + body)
    read_until_ready(client)
    query = b"select 1\0"
    client.sendall(b"Q" + struct.pack("!i", len(query) + 4) + query)
    read_until_ready(client)
    return client


def read_until_ready(client):
    """Reads up to ReadyForQuery, which is always the last message of an answer."""
    inbox = b""
    while True:
        part = client.recv(8192)
        if not part:
            raise SystemExit(f"a client was closed: {inbox!r}")
        inbox += part
        if inbox[-6:-1] == b"Z\0\0\0\x05":
            return
        if inbox[:1] == b"E":
            raise SystemExit(f"a client was refused: {inbox!r}")
