"""Cancel requests: what wrong ones cost others, and how long good ones take."""

import os
import socket
import statistics
import struct
import subprocess
import sys
import time

from programs import free_port, wait_until
from report import Section, quartiles
from wire import answer, connect, number, rows

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "9"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "3"))
# Wrong cancel requests a second, and the processes that send them.
RATE = int(os.environ.get("BENCH_CANCELS", "10000"))
SENDERS = 2

RUNNING = "select count(*) from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active'"

FLOOD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "flood.py")


def measure(bench):
    result = Section("Cancel requests", ["BENCH_PARTS=cancels make bench"])
    result.text = (
        f"Wrong keys: {RATE:,} a second are meant to be sent by {SENDERS} processes at the lowest priority, each "
        "over a connection of its own that is closed at once, while one client runs `select 1` again and again; "
        f"{ROUNDS} rounds of {SECONDS} s without and {SECONDS} s with them. Their processor time is that of a flood with nothing "
        "else, divided by how many were sent. Everything shares the machine, the senders too, which reach what is left of "
        "it. A good one, below: from the beginning of its connect until the client whose query runs has the error; the "
        "other host is another group, whose line in `[peers]` names `peer_listen`."
    )
    wrong(bench, result)
    good(bench, result)
    return result


def wrong(bench, result):
    poolers = {"PgBouncer": ("pgbouncer", 1), "pgskein, 2 workers": ("pgskein", 2)}
    found = {name: {"without": [], "with": [], "ratio": [], "rate": [], "cost": []} for name in poolers}
    for round_ in range(ROUNDS):
        print(f"wrong cancels: round {round_ + 1} of {ROUNDS}", file=sys.stderr)
        for name, (kind, workers) in poolers.items():
            with bench.start(kind, "transaction", workers, settings={"listen_backlog": 4096}) as pooler:
                client = connect(pooler.port)
                warm_up(client)
                without = p99(client, SECONDS)
                senders = flood(pooler.port)
                time.sleep(0.5)
                under = p99(client, SECONDS)
                sent = end(senders)
                used = pooler.processor_seconds()
                alone = end(flood(pooler.port))
                # What is still queued would be missing.
                time.sleep(0.5)
                used = pooler.processor_seconds() - used
                client.close()
            found[name]["without"].append(without)
            found[name]["with"].append(under)
            found[name]["ratio"].append(under / without)
            found[name]["rate"].append(sent / (SECONDS + 1))
            found[name]["cost"].append(used / alone * 1e6)
    head = [
        "",
        "wrong ones sent a second: median (quartiles)",
        "p99 without, µs",
        "p99 with, µs",
        "ratio",
        "µs of the pooler's processor time for each",
    ]
    columns = {"rate": 0, "without": 0, "with": 0, "ratio": 2, "cost": 1}
    result.add_table(
        head,
        [[name, *(quartiles(of[key], digits) for key, digits in columns.items())] for name, of in found.items()],
    )


def flood(port):
    command = ["nice", "-n", "19", sys.executable, FLOOD, str(port), str(RATE // SENDERS), str(SECONDS + 1)]
    return [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(SENDERS)]


def end(senders):
    """Waits for their ends; how many they have sent."""
    return sum(int(sender.communicate()[0]) for sender in senders)


def warm_up(client):
    for _ in range(200):
        rows(client, "select 1")


def p99(client, seconds):
    """Of the answers to `select 1` in this time, in microseconds."""
    times, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.perf_counter()
        rows(client, "select 1")
        times.append((time.perf_counter() - start) * 1e6)
    return statistics.quantiles(times, n=100)[98]


def good(bench, result):
    """Latencies of cancels that begin at the same worker, at a sibling, at another host."""
    other = free_port()
    ways = {"same worker": [], "sibling": [], "other host": []}
    # `balance` would pass on who comes.
    ours = {"balance": 0, "peer_id": 1, "peer_listen": f"127.0.0.1:{other}"}
    with bench.start("pgskein", "transaction", 2, settings=ours) as here:
        theirs = {"balance": 0, "peer_id": 2}
        peers = f"1 = host=127.0.0.1 port={other} kind=pgskein"
        with bench.start("pgskein", "transaction", 2, settings=theirs, peers=peers) as there:
            server = connect(bench.port)
            for _ in range(ROUNDS * 10):
                for way, times in ways.items():
                    times.append(latency(server, here, there, way))
            server.close()
    head = ["the request reaches", "µs until the error: median (quartiles)", "nine of ten are below"]
    result.add_table(
        head,
        [[way, quartiles(times, 0), f"{statistics.quantiles(times, n=10)[8]:,.0f}"] for way, times in ways.items()],
    )


def latency(server, here, there, way):
    client, key = log_in(here.port)
    query = b"select pg_sleep(60)\0"
    client.sendall(b"Q" + struct.pack("!i", len(query) + 4) + query)
    wait_until(lambda: number(server, RUNNING) == 1, "the query to run")
    request = None
    while not request:
        source = source_port(here.port, key[0], way == "same worker") if way != "other host" else 0
        start = time.perf_counter()
        try:
            request = from_port(there.port if way == "other host" else here.port, source)
        except OSError:
            # Somebody else has taken the port.
            continue
    request.sendall(struct.pack("!2i", 16, 80877102) + key)
    said = b""
    client.settimeout(30)
    while b"C57014\0" not in said:
        part = client.recv(65536)
        if not part or b"SELECT 1\0" in part:
            raise SystemExit(f"no cancel: {way}: {said + part!r}")
        said += part
    taken = (time.perf_counter() - start) * 1e6
    client.close()
    request.close()
    return taken


def log_in(port, source=0):
    """A connection that is logged in, and its cancel key."""
    client = from_port(port, source)
    body = struct.pack("!i", 196608) + b"user\0postgres\0database\0postgres\0\0"
    client.sendall(struct.pack("!i", len(body) + 4) + body)
    key = next(body for tag, body in answer(client) if tag == b"K")
    return client, key


def source_port(port, slot, same):
    """A port from which connections reach this worker, or another one."""
    while True:
        client, key = log_in(port)
        source = client.getsockname()[1]
        # A reset leaves nothing behind that keeps the port.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        if (key[0] == slot) == same:
            return source


def from_port(port, source):
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if source:
        client.bind(("127.0.0.1", source))
    client.connect(("127.0.0.1", port))
    return client
