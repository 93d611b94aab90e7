"""psycopg 3 behind a balancer: bursts of cancels, each sent while its query runs."""

import threading
import time

import psycopg
from scenario import ARGUMENTS, DSN

SERVER, BURSTS, SIZE = int(ARGUMENTS[0]), int(ARGUMENTS[1]), int(ARGUMENTS[2])
done = []


def main():
    server = psycopg.connect(f"host=127.0.0.1 port={SERVER} user=postgres dbname=postgres", autocommit=True)
    connections = [psycopg.connect(DSN, autocommit=True) for _ in range(SIZE)]
    for burst in range(BURSTS):
        query = f"select pg_sleep(60) -- psycopg {burst}"
        running = [start(run, connection, query) for connection in connections]
        wait_running(server, query)
        cancels = [start(connection.cancel) for connection in connections]
        for thread in cancels + running:
            thread.join(30)
    print(len(done))


def run(connection, query):
    try:
        connection.execute(query)
    except psycopg.errors.QueryCanceled:
        assert connection.execute("select 'not cancelled'").fetchone() == ("not cancelled",)
        done.append(query)


def wait_running(server, query):
    until = time.monotonic() + 30
    count = "select count(*) from pg_stat_activity where state = 'active' and query = %s"
    while server.execute(count, (query,)).fetchone() != (SIZE,):
        assert time.monotonic() < until, "not all queries run"
        time.sleep(0.01)


def start(what, *arguments):
    thread = threading.Thread(target=what, args=arguments, daemon=True)
    thread.start()
    return thread


main()
