"""The document that the figures end up in."""

import os
import platform
import re
import statistics
import subprocess

from programs import program

HEAD = """\
# Benchmarks

pgskein side by side with PgBouncer, on one machine, in one run of `make bench`, which wrote this
document. Compare the ratios, not the figures: those depend on the machine.

"""


class Section:
    """A heading, the commands, a remark, and tables."""

    def __init__(self, title, commands):
        self.title = title
        self.commands = commands
        self.text = ""
        self.tables = []

    def add_table(self, head, rows):
        self.tables.append((head, rows))

    def render(self):
        parts = [f"## {self.title}\n", "```sh\n" + "\n".join(self.commands) + "\n```\n", self.text + "\n"]
        for head, rows in self.tables:
            parts.append(table(head, rows))
        return "\n".join(parts)


def document(bench, sections):
    rows = [
        ["processor", f"{processor()}, {len(os.sched_getaffinity(0))} cores"],
        ["kernel", f"{platform.system()} {platform.release()}"],
        ["PostgreSQL", version([program("postgres"), "--version"])],
        ["PgBouncer", version([bench.pgbouncer, "--version"])],
        ["pgskein", version([bench.pgskein, "--version"])],
    ]
    parts = [HEAD + table(["", ""], rows)]
    parts += [section.render() for section in sections]
    return "\n".join(parts)


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def quartiles(values, digits):
    """Median, with the quartiles in parentheses."""
    if len(values) < 2:
        return f"{values[0]:,.{digits}f}"
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:,.{digits}f} ({low:,.{digits}f}–{high:,.{digits}f})"


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        found = re.search(r"^model name\s*: (.*)$", file.read(), re.M)
    return found.group(1) if found else platform.machine()


def version(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).splitlines()[0]
