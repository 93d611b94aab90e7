"""What else psycopg 3 does in a session: COPY, cursors on the server, cancel, async."""

import asyncio

import psycopg
from psycopg import errors
from scenario import DSN, at_once, raises, repeated

SESSIONS = 6
done = []


def main():
    with psycopg.connect(DSN, autocommit=True) as connection:
        connection.execute("create table copied (session int, number int, text text)")
    at_once(SESSIONS, session)
    asyncio.run(asynchronous())
    with psycopg.connect(DSN, autocommit=True) as connection:
        rows = connection.execute("select session, count(*) from copied group by 1 order by 1").fetchall()
        assert rows == [(number, 1200) for number in range(SESSIONS)], rows
        connection.execute("drop table copied")
    print(len(done))


def session(number):
    with psycopg.connect(DSN, autocommit=True) as connection:
        connection.prepare_threshold = 0
        copy_in(connection, number)
        copy_out(connection, number)
        failing_copies(connection, number)
        cursors_on_the_server(connection, number)
        cancel(connection, number)
    done.append(number)


def copy_in(connection, number):
    for turn in range(2):
        before = connection.execute("select %s::int", (turn,)).fetchone()
        with connection.cursor() as cursor, cursor.copy("copy copied from stdin") as copy:
            for n in range(300):
                copy.write_row((number, n, "x" * (n % 300)))
        with connection.cursor() as cursor:
            with cursor.copy("copy copied from stdin (format binary)") as copy:
                copy.set_types(["int4", "int4", "text"])
                for n in range(300):
                    copy.write_row((number, n, "y" * (n % 300)))
        assert before == (turn,)


def copy_out(connection, number):
    text = "copy (select number, text from copied where session = %s order by text, number) to stdout"
    with connection.cursor() as cursor, cursor.copy(text % number) as copy:
        rows = list(copy.rows())
    assert len(rows) == 1200, len(rows)
    assert rows[-1] == ("299", "y" * 299), rows[-1]
    with connection.transaction():
        # One that stops reading early.
        with connection.cursor() as cursor, cursor.copy("copy (select generate_series(1, 1000)) to stdout") as copy:
            assert copy.read_row() == ("1",)
            for _ in copy:
                pass
        assert connection.execute("select %s::text", ("after",)).fetchone() == ("after",)


def failing_copies(connection, number):
    def wrong_row():
        with connection.cursor() as cursor, cursor.copy("copy copied from stdin") as copy:
            copy.write_row((number, 1, "good"))
            copy.write("not a row\n")

    def given_up():
        with connection.cursor() as cursor, cursor.copy("copy copied from stdin") as copy:
            copy.write_row((number, 1, "good"))
            raise ZeroDivisionError

    def fails_on_the_way():
        with connection.cursor() as cursor:
            with cursor.copy("copy (select 1 / (5000 - n) from generate_series(1, 9000) n) to stdout") as copy:
                for _ in copy:
                    pass

    for _ in range(2):
        raises(errors.DataError, wrong_row)
        raises((ZeroDivisionError, errors.QueryCanceled), given_up)
        raises(errors.DivisionByZero, fails_on_the_way)
        assert connection.execute("select %s::int", (number,)).fetchone() == (number,)


def cursors_on_the_server(connection, number):
    for binary in (False, True):
        with connection.transaction():
            with connection.cursor("named", binary=binary) as cursor:
                cursor.execute("select n, %s::int from generate_series(1, 500) n", (number,))
                cursor.itersize = 70
                rows = list(cursor)
            assert rows == [(n, number) for n in range(1, 501)]
            with connection.cursor("scrolls", scrollable=True) as cursor:
                cursor.execute("select n from generate_series(1, 100) n")
                cursor.scroll(49)
                assert cursor.fetchone() == (50,)
                cursor.scroll(-10)
                assert cursor.fetchmany(2) == [(41,), (42,)]
    # Row by row, as libpq hands them out.
    with connection.cursor() as cursor:
        rows = list(cursor.stream("select n, %s::int from generate_series(1, 300) n", (number,)))
    assert rows == [(n, number) for n in range(1, 301)]


def cancel(connection, number):
    """Cancels the query of this session and no other."""
    for _ in range(2):
        with repeated(connection.cancel):
            raises(errors.QueryCanceled, lambda: connection.execute("select pg_sleep(30), %s::int", (number,)))
        assert connection.execute("select %s::int", (number,)).fetchone() == (number,)


async def asynchronous():
    """Many sessions in one thread."""

    async def one(number):
        async with await psycopg.AsyncConnection.connect(DSN, autocommit=True) as connection:
            connection.prepare_threshold = 1
            for turn in range(10):
                cursor = await connection.execute("select %s::int, %s::int", (number, turn))
                assert await cursor.fetchone() == (number, turn)
            async with connection.pipeline():
                cursors = [await connection.execute("select %s::int + %s::int", (number, n)) for n in range(20)]
            for n, cursor in enumerate(cursors):
                assert await cursor.fetchone() == (number + n,)

    await asyncio.gather(*(one(number) for number in range(20)))


main()
