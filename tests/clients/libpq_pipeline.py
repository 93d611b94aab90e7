"""libpq's own pipelines, as bare as psycopg gives them."""

import select

from psycopg import pq
from scenario import DSN, NEW, at_once

SESSIONS = 6
OK = pq.ExecStatus.TUPLES_OK
DONE = pq.ExecStatus.COMMAND_OK
ERROR = pq.ExecStatus.FATAL_ERROR
SKIPPED = pq.ExecStatus.PIPELINE_ABORTED
SYNC = pq.ExecStatus.PIPELINE_SYNC
done = []


def main():
    at_once(SESSIONS, session)
    print(len(done))


def session(number):
    connection = pq.PGconn.connect(DSN.encode())
    assert connection.status == pq.ConnStatus.OK, connection.error_message
    connection.nonblocking = 1
    connection.enter_pipeline_mode()
    for turn in range(5):
        names_of_our_own(connection, number, turn)
        error_in_the_middle(connection, number)
        error_while_preparing(connection)
        errors_between_syncs(connection)
        flush_without_sync(connection)
        long_flight(connection)
        forgotten_and_used_again(connection)
    connection.exit_pipeline_mode()
    connection.finish()
    done.append(number)


def names_of_our_own(connection, number, turn):
    """Prepared, described and run in one flight, run again in the next ones."""
    name = b"turn %d" % turn
    connection.send_prepare(name, b"select $1::int + %d, $2::text" % number)
    connection.send_describe_prepared(name)
    connection.send_query_prepared(name, [b"1", b"one"])
    sync(connection)
    assert result(connection).status == DONE
    described = result(connection)
    assert (described.nparams, described.nfields) == (2, 2)
    assert (described.param_type(0), described.param_type(1)) == (23, 25)
    assert row(connection) == [b"%d" % (number + 1), b"one"]
    synced(connection)
    for n in range(3):
        connection.send_query_prepared(name, [b"%d" % n, b"again"])
        sync(connection)
        assert row(connection) == [b"%d" % (number + n), b"again"]
        synced(connection)
    connection.send_describe_prepared(name)
    sync(connection)
    assert result(connection).nparams == 2
    synced(connection)


def error_in_the_middle(connection, number):
    connection.send_query_params(b"select 'before', $1::int", [b"1"])
    connection.send_query_params(b"select 1 / $1::int", [b"0"])
    connection.send_query_params(b"select 'after'", [])
    connection.send_prepare(b"never", b"select 'never'")
    connection.send_query_prepared(b"never", [])
    sync(connection)
    connection.send_query_params(b"select 'next', $1::int", [b"%d" % number])
    connection.send_query_prepared(b"never", [])
    sync(connection)
    assert row(connection) == [b"before", b"1"]
    failed(connection, b"22012")
    for _ in range(3):
        assert result(connection).status == SKIPPED
    synced(connection)
    assert row(connection) == [b"next", b"%d" % number]
    # Its Parse was skipped.
    failed(connection, b"26000")
    synced(connection)


def error_while_preparing(connection):
    connection.send_prepare(b"bad", b"select no_such_column")
    connection.send_query_prepared(b"bad", [])
    sync(connection)
    failed(connection, b"42703")
    assert result(connection).status == SKIPPED
    synced(connection)
    # The name is free.
    connection.send_prepare(b"bad", b"select 'good now'")
    connection.send_query_prepared(b"bad", [])
    sync(connection)
    assert result(connection).status == DONE
    assert row(connection) == [b"good now"]
    synced(connection)
    # And now it is not.
    connection.send_prepare(b"bad", b"select 'twice'")
    sync(connection)
    failed(connection, b"42P05")
    synced(connection)
    connection.send_query_prepared(b"bad", [])
    forget(connection, b"bad")
    sync(connection)
    assert row(connection) == [b"good now"]
    assert result(connection).status == DONE
    synced(connection)


def errors_between_syncs(connection):
    """Twenty flights in one write, every third of which fails."""
    for n in range(20):
        connection.send_query_params(b"select 6 / ($1::int % 3)", [b"%d" % n])
        connection.send_query_params(b"select $1::int", [b"%d" % n])
        connection.pipeline_sync()
    sync_nothing(connection)
    for n in range(20):
        if n % 3 == 0:
            failed(connection, b"22012")
            assert result(connection).status == SKIPPED
        else:
            assert row(connection) == [b"%d" % (6 // (n % 3))]
            assert row(connection) == [b"%d" % n]
        synced(connection)


def flush_without_sync(connection):
    """The answers come although no Sync was sent."""
    connection.send_prepare(b"flushed", b"select 'flushed', $1::int")
    for n in range(3):
        connection.send_query_prepared(b"flushed", [b"%d" % n])
        connection.send_flush_request()
        sync_nothing(connection)
        if n == 0:
            assert result(connection).status == DONE
        assert row(connection) == [b"flushed", b"%d" % n]
    forget(connection, b"flushed")
    sync(connection)
    assert result(connection).status == DONE
    synced(connection)


def long_flight(connection):
    """More than any buffer on the way holds, in both directions."""
    big = b"x" * 100_000
    for n in range(30):
        connection.send_query_params(b"select $1::int, $2::text", [b"%d" % n, big])
    sync(connection)
    for n in range(30):
        assert row(connection) == [b"%d" % n, big]
    synced(connection)


def forgotten_and_used_again(connection):
    for text in (b"select 'one'", b"select 'two', 2"):
        connection.send_prepare(b"reused", text)
        connection.send_query_prepared(b"reused", [])
        forget(connection, b"reused")
        sync(connection)
        assert result(connection).status == DONE
        assert row(connection)[0] == text[8:11]
        assert result(connection).status == DONE
        synced(connection)
    connection.send_query_prepared(b"reused", [])
    sync(connection)
    failed(connection, b"26000")
    synced(connection)


def forget(connection, name):
    """libpq has Close since version 17; before, there was but SQL."""
    if NEW:
        connection.send_close_prepared(name)
    else:
        connection.send_query_params(b"deallocate " + name, [])


def sync(connection):
    connection.pipeline_sync()
    sync_nothing(connection)


def sync_nothing(connection):
    """Writes what is queued, reading meanwhile so that nobody waits for the other."""
    while connection.flush():
        readable, _, _ = select.select([connection.socket], [connection.socket], [], 20)
        if readable:
            connection.consume_input()


def result(connection):
    """The one result of the query that is next in the queue."""
    found = next_result(connection)
    assert found is not None, connection.error_message
    assert next_result(connection) is None
    return found


def synced(connection):
    found = next_result(connection)
    assert found is not None and found.status == SYNC, found and found.status


def next_result(connection):
    """Waits outside of libpq: inside, psycopg would let no other thread run."""
    while connection.is_busy():
        assert select.select([connection.socket], [], [], 20)[0], "no answer"
        connection.consume_input()
    return connection.get_result()


def row(connection):
    found = result(connection)
    assert found.status == OK, (found.status, found.error_message)
    assert found.ntuples == 1
    return [found.get_value(0, column) for column in range(found.nfields)]


def failed(connection, sqlstate):
    found = result(connection)
    assert found.status == ERROR, found.status
    assert found.error_field(pq.DiagnosticField.SQLSTATE) == sqlstate, found.error_message


main()
