"""The programs that are measured, and those that they need."""

import glob
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

TICKS = os.sysconf("SC_CLK_TCK")


class Bench:
    """A folder with a throw-away PostgreSQL, in front of which poolers start."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="pgskein-bench-")
        os.chmod(self.folder, 0o755)
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        # Neither PostgreSQL nor a pooler runs as root.
        self.unprivileged = []
        if os.geteuid() == 0:
            self.unprivileged = "setpriv --reuid postgres --regid postgres --init-groups".split()
        self.give(self.folder)
        self.port = free_port()
        self.server = None
        self.pgskein = self.take(os.environ["PGSKEIN"], "pgskein")
        debians = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
        newer = os.environ["PGBOUNCER"]
        self.pgbouncer = self.take(newer if os.path.exists(newer) else debians, "pgbouncer")
        # Since 1.21.
        self.pgbouncer_prepares = self.version(self.pgbouncer) >= (1, 21)

    def __enter__(self):
        data = os.path.join(self.folder, "data")
        self.run([program("initdb"), "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"])
        self.server = subprocess.Popen(
            self.unprivileged
            + [program("postgres"), "-D", data, "-k", self.folder, "-p", str(self.port)]
            + ["-h", "127.0.0.1", "-c", "fsync=off", "-c", "max_connections=200"],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=open(os.path.join(self.folder, "postgresql.log"), "w"),
        )
        wait_for_port(self.port)
        wait_until(lambda: self.psql_works(), "PostgreSQL")
        self.run([program("pgbench"), "-i", "-q", *self.address(self.port)])
        return self

    def __exit__(self, *_):
        if self.server:
            self.server.send_signal(signal.SIGINT)
            self.server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def take(self, path, name):
        """Copies a program: the checkout may lie where that user cannot go."""
        copy = os.path.join(self.folder, name)
        shutil.copy(path, copy)
        os.chmod(copy, 0o755)
        return copy

    def version(self, path):
        """The first two numbers of a program's version."""
        text = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
        return tuple(int(part) for part in re.search(r"(\d+)\.(\d+)", text).groups())

    def address(self, port):
        """Arguments that make PostgreSQL's programs connect to `port`."""
        return ["-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "postgres"]

    def run(self, command):
        """Runs a command to its end and returns what it printed."""
        done = subprocess.run(
            self.unprivileged + command, cwd="/", capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def pgbench(self, port, arguments):
        """Runs pgbench; returns transactions and seconds without connecting."""
        command = [program("pgbench"), "-n", *arguments.split(), *self.address(port)]
        text = self.run(command)
        count = int(re.search(r"actually processed: (\d+)", text).group(1))
        failed = int(re.search(r"failed transactions: (\d+)", text).group(1))
        if failed:
            raise SystemExit(f"{failed} failed transactions: {text}")
        rate = float(re.search(r"tps = ([\d.]+)", text).group(1))
        return count, rate

    def psql_works(self):
        command = [program("psql"), "-XAtc", "select 1", *self.address(self.port)]
        done = subprocess.run(command, capture_output=True, cwd="/", check=False)
        return done.returncode == 0

    def give(self, path):
        if self.unprivileged:
            shutil.chown(path, "postgres", "postgres")

    def start(self, kind, mode="transaction", workers=1, callgrind_out=None, settings=None, **more):
        """Starts a pooler of this kind, `pgskein` or `pgbouncer`."""
        return Pooler(self, kind, mode, workers, callgrind_out, settings or {}, **more)


class Pooler:
    """A running pooler."""

    def __init__(self, bench, kind, mode, workers, callgrind_out, settings, peers="", users="",
                 database="host=127.0.0.1", traced_to=None):
        self.bench = bench
        self.traced = traced_to is not None
        self.port = free_port()
        self.folder = tempfile.mkdtemp(prefix=f"{kind}-", dir=bench.folder)
        bench.give(self.folder)
        self.write("users.txt", '"postgres" ""\n' + users)
        ini = self.write_ini(kind, mode, workers, settings, peers, database)
        binary = bench.pgskein if kind == "pgskein" else bench.pgbouncer
        wrapper = []
        if callgrind_out:
            wrapper = ["valgrind", "--tool=callgrind"]
            # A process that writes its title over its arguments would write
            # over valgrind's: those come from a file.
            options = f"--callgrind-out-file={callgrind_out}.%p --trace-children=yes\n"
            os.chmod(self.write(".valgrindrc", options), 0o644)
        if traced_to:
            # Nothing else is held up than waits for events.
            wrapper = ["strace", "-ff", "--seccomp-bpf", "-ttt", "-T", "-o", traced_to]
            wrapper += ["-e", "trace=epoll_wait,epoll_pwait,epoll_pwait2"]
        self.process = subprocess.Popen(
            bench.unprivileged + wrapper + [binary, "-q", ini],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=open(os.path.join(self.folder, "stderr"), "w"),
            start_new_session=True,
        )
        wait_for_port(self.port, self.process)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def write_ini(self, kind, mode, workers, more, peers, database):
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": self.folder,
            "logfile": f"{self.folder}/log",
            "auth_type": "trust",
            "auth_file": f"{self.folder}/users.txt",
            "admin_users": "postgres",
            "pool_mode": mode,
            "max_client_conn": 10000,
            "default_pool_size": 40,
            # What costs time and has nothing to do with passing bytes on.
            "log_connections": 0,
            "log_disconnections": 0,
            "log_stats": 0,
        }
        if kind == "pgskein" or self.bench.pgbouncer_prepares:
            settings["max_prepared_statements"] = 200
        if kind == "pgskein":
            settings["workers"] = workers
            settings["runtime_dir"] = f"{self.folder}/run"
        settings.update(more)
        lines = [f"{name} = {value}\n" for name, value in settings.items()]
        text = f"[databases]\n* = {database} port={self.bench.port}\n[pgbouncer]\n"
        if peers:
            lines.append(f"[peers]\n{peers}\n")
        return self.write("pooler.ini", text + "".join(lines))

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        self.bench.give(path)
        return path

    def stop(self):
        """Ends it; what it leaves behind is killed."""
        if self.process.poll() is None:
            # Without clients both end at once. Older PgBouncers know no SIGQUIT.
            # strace heeds none, and ends after it.
            traced = children(self.process.pid) if self.traced else []
            os.kill((traced or [self.process.pid])[0], signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    def pids(self):
        """Its processes, the first one first."""
        return [self.process.pid, *children(self.process.pid)]

    def worker(self):
        """The process that passes bytes on, where there is one."""
        return self.pids()[-1]

    def processor_seconds(self):
        """User and system time of all its processes, dead children included."""
        fields = [stat(pid) for pid in self.pids()]
        ticks = sum(int(f[11]) + int(f[12]) for f in fields)
        # Those that were waited for are in the first one's account.
        ticks += int(fields[0][13]) + int(fields[0][14])
        return ticks / TICKS

    def proportional_memory(self):
        """PSS of all its processes, in bytes."""
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                total += int(re.search(r"^Pss: +(\d+) kB", file.read(), re.M).group(1))
        return total * 1024


def program(name):
    """A program of PostgreSQL: the newest of Debian's, else the one in PATH."""
    found = glob.glob(f"/usr/lib/postgresql/*/bin/{name}")
    found.sort(key=lambda path: [int(part) for part in re.findall(r"\d+", path)])
    return found[-1] if found else name


def stat(pid):
    """Fields of /proc/PID/stat from the state on."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rsplit(") ", 1)[1].split()


def children(pid):
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if int(stat(name)[1]) == pid:
                    found.append(int(name))
            except (FileNotFoundError, ProcessLookupError):
                pass
    return sorted(found)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, process=None):
    def accepts():
        if process and process.poll() is not None:
            raise SystemExit(f"a program ended at once, with {process.returncode}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(accepts, f"port {port}")


def wait_until(condition, what):
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"still waiting for {what}")
        time.sleep(0.05)
