"""A storm of logins, and how long the loop of a pooler is away from everybody else."""

import glob
import os
import re
import sys
import threading
import time

import certificates
import storm
from load import ROUNDS
from report import Section, quartiles

COUNT = 500

KINDS = {
    "trust": (None, "trust"),
    "SCRAM": (None, "scram-sha-256"),
    "TLS, ECDSA P-256": ("ECDSA P-256", "trust"),
    "TLS, RSA-2048": ("RSA-2048", "trust"),
    "TLS, ECDSA P-256, SCRAM": ("ECDSA P-256", "scram-sha-256"),
}

POOLERS = {"PgBouncer": "pgbouncer", "pgskein, 1 worker": "pgskein"}


def measure(bench):
    samples = {(kind, name): [] for kind in KINDS for name in POOLERS}
    for number in range(ROUNDS):
        print(f"logins: round {number + 1} of {ROUNDS}", file=sys.stderr)
        names = list(POOLERS) if number % 2 == 0 else list(reversed(POOLERS))
        for kind in KINDS:
            for name in names:
                samples[kind, name].append(sample(bench, POOLERS[name], *KINDS[kind]))
    rows = []
    for kind in KINDS:
        for name in POOLERS:
            columns = list(zip(*samples[kind, name]))
            rows.append([kind, name, *[quartiles(column, 1) for column in columns]])
    result = Section(
        "A storm of logins",
        [
            "strace -ff --seccomp-bpf -ttt -T -e trace=epoll_wait pgskein pooler.ini  # one worker",
            f"# {COUNT} clients, of which all do one step of their login, then all the next",
        ],
    )
    result.text = (
        f"{ROUNDS} rounds, interleaved: medians, with the quartiles in parentheses. A turn of the loop is "
        "what lies between two waits for events, and the longest is that of the whole storm. Meanwhile a "
        "client that is there already sends one small query after the other; its slowest answer is shown. "
        "With SCRAM the password stands in auth_file as it is, of which PgBouncer derives a secret at every "
        "login, and pgskein once. The clients are one process, of Python, which takes a good part of the time."
    )
    head = ["logins", "pooler", "longest turn, ms", "slowest query of another, ms", "all logged in after, ms"]
    result.add_table(head, rows)
    return result


def sample(bench, kind, certificate, auth_type):
    """Milliseconds: the longest turn, the slowest answer, the whole storm."""
    trace = os.path.join(bench.folder, "turns")
    for old in glob.glob(f"{trace}.*"):
        os.unlink(old)
    settings = {"auth_type": auth_type, "listen_backlog": 1024, "max_client_conn": 2000}
    if certificate:
        settings.update(certificates.settings(bench, certificate))
        settings["client_tls_sslmode"] = "allow"
    users = f'"{storm.USER}" "{storm.PASSWORD}"\n'
    database = "host=127.0.0.1 user=postgres"
    with bench.start(kind, settings=settings, traced_to=trace, users=users, database=database) as pooler:
        # One is there before, and what is derived once is derived.
        other = storm.storm(pooler.port, 1, False)[0]
        other.socket.settimeout(60)
        slowest = Slowest(other)
        began, wall = time.monotonic(), time.time()
        logins = storm.storm(pooler.port, COUNT, bool(certificate))
        took = time.monotonic() - began
        slowest.end()
        for login in logins:
            login.socket.close()
        other.socket.close()
    return longest_turn(trace, wall, wall + took) * 1e3, slowest.seconds * 1e3, took * 1e3


class Slowest(threading.Thread):
    """Sends queries and keeps how long the slowest answer took."""

    def __init__(self, login):
        super().__init__()
        self.login, self.seconds, self.ended = login, 0.0, False
        self.start()

    def run(self):
        while not self.ended:
            began = time.monotonic()
            self.login.send(b"Q\0\0\0\x0dselect 1\0")
            self.login.wait()
            self.seconds = max(self.seconds, time.monotonic() - began)
            time.sleep(0.001)

    def end(self):
        self.ended = True
        self.join()


def longest_turn(trace, begin, end):
    """Seconds between the end of one wait and the beginning of the next."""
    waits = [turns(path, begin, end) for path in glob.glob(f"{trace}.*")]
    # The process that serves waits most often.
    busiest = max(waits, key=len, default=[])
    if not busiest:
        raise SystemExit("strace has seen no turn")
    return max(busiest)


def turns(path, begin, end):
    found, last = [], None
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            wait = re.match(r"(\d+\.\d+) epoll_p?wait2?\(.*<(\d+\.\d+)>$", line)
            if not wait:
                continue
            at, took = float(wait.group(1)), float(wait.group(2))
            if last is not None and begin <= last <= end:
                found.append(at - last)
            last = at + took
    return found
