"""psycopg 3 with prepared statements, in several sessions at once."""

import random

import psycopg
from psycopg import errors
from scenario import DSN, at_once, raises

SESSIONS = 6
done = []


def main():
    with psycopg.connect(DSN, autocommit=True) as connection:
        connection.execute("create table prepared (session int, number int unique)")
    at_once(SESSIONS, session)
    with psycopg.connect(DSN, autocommit=True) as connection:
        rows = connection.execute(
            "select session, count(*), sum(number % 100) from prepared group by 1 order by 1"
        ).fetchall()
        assert rows == [(number, 25, 300) for number in range(SESSIONS)], rows
        connection.execute("drop table prepared")
    print(len(done))


def session(number):
    with psycopg.connect(DSN, autocommit=True) as connection:
        connection.prepare_threshold = number % 3
        by_their_count(connection, number)
        more_than_are_kept(connection, number)
        in_transactions(connection, number)
        many_at_once(connection, number)
        after_errors(connection)
        after_deallocate_all(connection)
        after_discard_all(connection)
    done.append(number)


def by_their_count(connection, number):
    """The first executions are unnamed, the next ones named."""
    for turn in range(8):
        row = connection.execute("select %s::int, %s::text", (turn, f"s{number}")).fetchone()
        assert row == (turn, f"s{number}"), row
        row = connection.execute("select %s::int8 + 1", (turn,), prepare=True).fetchone()
        assert row == (turn + 1,), row
        row = connection.execute("select %s::int8 + 2", (turn,), prepare=False, binary=True).fetchone()
        assert row == (turn + 2,), row


def more_than_are_kept(connection, number):
    """psycopg forgets statements: old ones by DEALLOCATE, new ones by Close."""
    connection.prepared_max = 5
    dice = random.Random(number)
    for _ in range(60):
        which = dice.randrange(15)
        text = f"select {which}, %s::text, {number}"
        row = connection.execute(text, (str(which),), prepare=True).fetchone()
        assert row == (which, str(which), number), row
    connection.prepared_max = 100


def in_transactions(connection, number):
    for turn in range(5):
        with connection.transaction():
            for part in range(5):
                value = 1000 * number + 100 * turn + part
                connection.execute("insert into prepared values (%s, %s)", (number, value), prepare=True)
            inner = lambda: insert_twice(connection, number, 1000 * number + 100 * turn)
            raises(errors.UniqueViolation, inner)
            count = connection.execute(
                "select count(*) from prepared where session = %s", (number,), prepare=True
            ).fetchone()
            assert count == (5 * (turn + 1),), count
    # 5 turns with 0 + 1 + 2 + 3 + 4: the numbers are distinct modulo 100 only within one.
    connection.execute("update prepared set number = number + 10 where session = %s", (number,))


def insert_twice(connection, number, value):
    """Inside of a transaction this is a savepoint that is rolled back."""
    with connection.transaction():
        connection.execute("insert into prepared values (%s, %s)", (number, value), prepare=True)


def many_at_once(connection, number):
    """executemany is a pipeline of one prepared statement."""
    with connection.cursor() as cursor:
        with connection.transaction():
            cursor.execute("create temp table many (a int, b text) on commit drop")
            cursor.executemany("insert into many values (%s, %s)", [(n, f"{number}") for n in range(200)])
            cursor.execute("select count(*), sum(a), max(b) from many")
            assert cursor.fetchone() == (200, 19900, str(number))
        cursor.executemany("select %s::int * 2", [(n,) for n in range(30)], returning=True)
        results = []
        while True:
            results.append(cursor.fetchone()[0])
            if not cursor.nextset():
                break
        assert results == [2 * n for n in range(30)], results


def after_errors(connection):
    """A statement that fails to be prepared leaves no trace, one that fails later stays."""
    for _ in range(3):
        raises(errors.UndefinedTable, lambda: connection.execute("select * from nowhere", prepare=True))
        divide = lambda by: connection.execute("select 10 / %s::int", (by,), prepare=True).fetchone()
        raises(errors.DivisionByZero, lambda: divide(0))
        assert divide(5) == (2,)


def after_deallocate_all(connection):
    for turn in range(3):
        for which in range(4):
            row = connection.execute(f"select {which} + %s::int", (turn,), prepare=True).fetchone()
            assert row == (which + turn,), row
        # New ones know what it means; old ones do so after a ROLLBACK.
        connection.execute("begin")
        connection.execute("rollback")
        connection.execute("deallocate all")


def after_discard_all(connection):
    for turn in range(3):
        row = connection.execute("select 'kept', %s::int", (turn,), prepare=True).fetchone()
        assert row == ("kept", turn), row
        connection.execute("begin")
        connection.execute("rollback")
        connection.execute("discard all")


main()
