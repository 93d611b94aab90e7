"""pg8000, Debian's old one and the current one."""

import io

import pg8000
from scenario import NEW, PORT, at_once, raises

SESSIONS = 6
done = []


def connect():
    options = {"timeout": 60} if NEW else {}
    return pg8000.connect(user="postgres", host="127.0.0.1", port=PORT, database="postgres", **options)


def main():
    connection = connect()
    execute(connection, "create table pg8000 (session int, number int, text text)")
    connection.commit()
    at_once(SESSIONS, session)
    rows = execute(connection, "select session, count(*) from pg8000 group by 1 order by 1")
    assert [tuple(row) for row in rows] == [(number, 260) for number in range(SESSIONS)], rows
    execute(connection, "drop table pg8000")
    connection.commit()
    connection.close()
    print(len(done))


def session(number):
    connection = connect()
    for turn in range(5):
        for which in range(8):
            # The same text again: old ones keep it prepared by name.
            rows = execute(connection, f"select {which}, cast(%s as int), cast(%s as text)", (number, f"t{turn}"))
            assert [list(row) for row in rows] == [[which, number, f"t{turn}"]], rows
        connection.commit()
    many(connection, number)
    copies(connection, number)
    failures(connection, number)
    autocommit(connection, number)
    if NEW:
        native(number)
    connection.close()
    done.append(number)


def execute(connection, text, arguments=()):
    cursor = connection.cursor()
    cursor.execute(text, arguments)
    return cursor.fetchall() if cursor.description else None


def many(connection, number):
    cursor = connection.cursor()
    cursor.executemany("insert into pg8000 values (%s, %s, 'many')", [(number, n) for n in range(60)])
    connection.commit()
    cursor.execute("insert into pg8000 values (%s, 0, 'lost')", (number,))
    connection.rollback()


def copies(connection, number):
    cursor = connection.cursor()
    lines = "".join(f"{number}\t{n}\t{'c' * (n % 100)}\n" for n in range(200))
    cursor.execute("copy pg8000 from stdin", stream=io.BytesIO(lines.encode()))
    connection.commit()
    out = io.BytesIO()
    cursor.execute(f"copy (select * from pg8000 where session = {number} order by text, number) to stdout", stream=out)
    connection.commit()
    found = out.getvalue().decode().splitlines()
    assert len(found) == 260, len(found)
    assert found[0] == f"{number}\t0\t", found[0]
    connection.commit()


def failures(connection, number):
    failed = pg8000.DatabaseError if NEW else pg8000.ProgrammingError
    for text in ("select no_such_column", "select 1 / 0"):
        for _ in range(3):
            error = raises(failed, lambda: execute(connection, text))
            assert any(code in str(error) for code in ("42703", "22012")), error
            # In a transaction that has failed.
            error = raises(failed, lambda: execute(connection, "select 1"))
            assert "25P02" in str(error), error
            connection.rollback()
            rows = execute(connection, "select cast(%s as int)", (number,))
            assert [list(row) for row in rows] == [[number]]
            connection.commit()


def autocommit(connection, number):
    connection.autocommit = True
    for turn in range(10):
        rows = execute(connection, "select cast(%s as int) + cast(%s as int)", (number, turn))
        assert [list(row) for row in rows] == [[number + turn]]
    connection.autocommit = False


def native(number):
    """The interface of its own has statements that are prepared and closed."""
    from pg8000.native import Connection

    with Connection("postgres", host="127.0.0.1", port=PORT, database="postgres", timeout=60) as connection:
        for turn in range(5):
            one = connection.prepare("select cast(:n as int) + 1")
            two = connection.prepare(f"select 'two', {number}, cast(:t as text)")
            for n in range(4):
                assert one.run(n=n) == [[n + 1]]
                assert two.run(t=f"t{n}") == [["two", number, f"t{n}"]]
            one.close()
            # Its place is used again.
            three = connection.prepare("select 'three', cast(:n as int)")
            assert three.run(n=number) == [["three", number]]
            assert two.run(t="still") == [["two", number, "still"]]
            three.close()
            two.close()
            connection.run("deallocate all")
            assert connection.run("select cast(:n as int)", n=turn) == [[turn]]


main()
