"""What the programs for drivers of Python have in common."""

import contextlib
import os
import sys
import threading

PORT = int(sys.argv[1])
ARGUMENTS = sys.argv[2:]
NEW = os.environ["DRIVERS"] == "new"
DSN = f"host=127.0.0.1 port={PORT} user=postgres dbname=postgres connect_timeout=20"


def at_once(count, work):
    """Calls `work(number)` in so many threads; raises what one of them raised."""
    failures = []

    def guarded(number):
        try:
            work(number)
        except BaseException as error:  # whatever it is, it has to be seen
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def raises(error, work):
    """Makes sure that `work` raises this error; returns it."""
    try:
        work()
    except error as raised:
        return raised
    raise AssertionError(f"no {error}")


@contextlib.contextmanager
def repeated(work, seconds=0.1):
    """Calls `work` again and again until the block has ended, and not after."""
    ended = threading.Event()

    def repeat():
        while not ended.wait(seconds):
            work()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
