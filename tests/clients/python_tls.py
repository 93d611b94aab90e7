"""psycopg2, asyncpg and pg8000 over TLS with all that is verified.

Its arguments are the file of the authority and that of another one.
"""

import asyncio
import ssl

import asyncpg
import pg8000
from scenario import ARGUMENTS, DSN, NEW, PORT, raises

ROOT, STRANGER = ARGUMENTS
TEXT = "x" * 300_000
done = []


def main():
    asyncio.run(with_asyncpg())
    with_pg8000()
    if not NEW:
        with_psycopg2()
    print(len(done))


async def with_asyncpg():
    async def connect(root):
        context = ssl.create_default_context(cafile=root)
        return await asyncpg.connect(
            host="127.0.0.1", port=PORT, user="postgres", database="postgres", ssl=context, timeout=20
        )

    connection = await connect(ROOT)
    for turn in range(20):
        assert await connection.fetchval("select $1::int", turn) == turn
    assert await connection.fetchval("select $1::text", TEXT) == TEXT
    try:
        # It sends a cancel request, over TLS as well.
        await connection.execute("select pg_sleep(30)", timeout=0.5)
        raise AssertionError("no time-out")
    except asyncio.TimeoutError:
        pass
    assert await connection.fetchval("select 1") == 1
    await connection.close()
    try:
        await connect(STRANGER)
        raise AssertionError("a stranger was believed")
    except ssl.SSLCertVerificationError:
        pass
    done.append("asyncpg")


def with_pg8000():
    def connect(root):
        # Old ones do not verify whose certificate it is.
        options = {"ssl_context": ssl.create_default_context(cafile=root)} if NEW else {"ssl": True}
        return pg8000.connect(user="postgres", host="127.0.0.1", port=PORT, database="postgres", **options)

    connection = connect(ROOT)
    cursor = connection.cursor()
    for turn in range(20):
        cursor.execute("select cast(%s as int)", (turn,))
        assert [list(row) for row in cursor.fetchall()] == [[turn]]
    cursor.execute("select cast(%s as text)", (TEXT,))
    assert [list(row) for row in cursor.fetchall()] == [[TEXT]]
    connection.close()
    if NEW:
        raises(Exception, lambda: connect(STRANGER))
    done.append("pg8000")


def with_psycopg2():
    import psycopg2

    def connect(root):
        return psycopg2.connect(f"{DSN} sslmode=verify-full sslrootcert={root}")

    connection = connect(ROOT)
    with connection, connection.cursor() as cursor:
        for turn in range(20):
            cursor.execute("select %s", (turn,))
            assert cursor.fetchone() == (turn,)
        cursor.execute("select %s", (TEXT,))
        assert cursor.fetchone() == (TEXT,)
    connection.close()
    error = raises(psycopg2.OperationalError, lambda: connect(STRANGER))
    assert "certificate verify failed" in str(error), error
    done.append("psycopg2")


main()
