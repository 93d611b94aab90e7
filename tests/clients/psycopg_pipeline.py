"""psycopg 3 in pipeline mode, in several sessions at once."""

import psycopg
from psycopg import errors
from scenario import DSN, at_once, raises

SESSIONS = 6
done = []


def main():
    with psycopg.connect(DSN, autocommit=True) as connection:
        connection.execute("create table piped (session int, number int)")
    at_once(SESSIONS, session)
    with psycopg.connect(DSN, autocommit=True) as connection:
        rows = connection.execute("select session, count(*) from piped group by 1 order by 1").fetchall()
        assert rows == [(number, 80) for number in range(SESSIONS)], rows
        connection.execute("drop table piped")
    print(len(done))


def session(number):
    with psycopg.connect(DSN, autocommit=True) as connection:
        connection.prepare_threshold = number % 3
        answers_in_order(connection, number)
        more_than_are_kept(connection, number)
        transactions(connection, number)
        error_in_the_middle(connection)
        thousands(connection)
    done.append(number)


def answers_in_order(connection, number):
    for turn in range(5):
        with connection.pipeline() as pipeline:
            cursors = [connection.execute("select %s::int, %s::int", (n, number)) for n in range(20)]
            cursors.append(connection.execute(f"select 'turn {turn}', %s::text", ("x" * 9000,)))
            pipeline.sync()
            assert [c.fetchone() for c in cursors[:20]] == [(n, number) for n in range(20)]
            assert cursors[20].fetchone() == (f"turn {turn}", "x" * 9000)


def more_than_are_kept(connection, number):
    connection.prepared_max = 5
    for _ in range(3):
        with connection.pipeline():
            cursors = [
                connection.execute(f"select {n % 17}, %s::int", (number,), prepare=True) for n in range(51)
            ]
        assert [c.fetchone() for c in cursors] == [(n % 17, number) for n in range(51)]
    connection.prepared_max = 100


def transactions(connection, number):
    for turn in range(4):
        with connection.pipeline(), connection.transaction():
            for part in range(20):
                connection.execute("insert into piped values (%s, %s)", (number, part), prepare=True)
            count = connection.execute(
                "select count(*) from piped where session = %s", (number,), prepare=True
            )
        assert count.fetchone() == (20 * (turn + 1),)


def error_in_the_middle(connection):
    """What follows an error up to the next Sync is skipped."""
    for bad, error in (
        ("select 1 / %s::int", errors.DivisionByZero),
        ("select no_such_column + %s::int", errors.UndefinedColumn),
    ):
        for prepare in (True, False):
            raises(error, lambda: flight_with(connection, bad, prepare))
            row = connection.execute("select 'after', %s::int", (4,), prepare=prepare).fetchone()
            assert row == ("after", 4), row


def flight_with(connection, bad, prepare):
    with connection.pipeline():
        before = connection.execute("select 'before', %s::int", (1,), prepare=prepare)
        assert before.fetchone() == ("before", 1)
        connection.execute(bad, (0,), prepare=prepare)
        for n in range(5):
            connection.execute("insert into piped values (-1, %s)", (n,), prepare=prepare)


def thousands(connection):
    with connection.pipeline():
        cursors = [connection.execute("select %s::int, %s::text", (n, f"t{n}")) for n in range(2000)]
    for n, cursor in enumerate(cursors):
        assert cursor.fetchone() == (n, f"t{n}")


main()
