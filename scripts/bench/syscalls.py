"""System calls per transaction of the process that passes bytes on."""

import re
import signal
import subprocess
import sys
import time

from report import Section

COUNT = 12000
CLIENTS = (1, 32)
KINDS = {
    "reads": ("read", "recvfrom", "recvmsg", "readv"),
    "writes": ("write", "sendto", "sendmsg", "writev"),
    "waits": ("epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll"),
}


def measure(bench):
    """Counts with strace while pgbench runs a fixed number of transactions."""
    rows = []
    for clients in CLIENTS:
        for kind, name in (("pgbouncer", "PgBouncer"), ("pgskein", "pgskein, 1 worker")):
            for protocol in ("simple", "extended", "prepared"):
                if protocol == "prepared" and kind == "pgbouncer" and not bench.pgbouncer_prepares:
                    continue
                print(f"strace: {kind}, {protocol}, {clients} clients", file=sys.stderr)
                calls = count(bench, kind, f"-S -M {protocol} -c {clients} -j 1 -t {COUNT // clients}")
                done = COUNT // clients * clients
                sums = [sum(calls.pop(c, 0) for c in names) / done for names in KINDS.values()]
                rest = sum(calls.values()) / done
                rows.append([clients, protocol, name, *[f"{n:.2f}" for n in [*sums, rest]]])
    result = Section(
        "System calls per transaction",
        [
            "strace -f -c -p WORKER",
            f"pgbench -n -S -c CLIENTS -j 1 -t N  # {COUNT} transactions in all",
        ],
    )
    result.text = "Logins and their ends are in the figures too: a few calls for each client. All in transaction mode."
    result.add_table(["clients", "protocol", "pooler", *KINDS, "others"], rows)
    return result


def count(bench, kind, arguments):
    """Calls by name."""
    out = f"{bench.folder}/strace"
    with bench.start(kind) as pooler:
        bench.pgbench(pooler.port, "-S -c 32 -j 1 -t 10")
        tracer = subprocess.Popen(
            ["strace", "-f", "-c", "-o", out, "-p", str(pooler.worker())],
            stderr=subprocess.PIPE,
            text=True,
        )
        # It says so once it has attached.
        tracer.stderr.readline()
        bench.pgbench(pooler.port, arguments)
        time.sleep(0.2)
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
    with open(out, encoding="ascii") as file:
        lines = [line.split() for line in file if re.match(r" *\d+\.\d+ ", line)]
    return {fields[-1]: int(fields[3]) for fields in lines if fields[-1] != "total"}
