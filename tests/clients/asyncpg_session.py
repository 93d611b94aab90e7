"""asyncpg, which prepares everything and keeps what it prepared."""

import asyncio
import io

import asyncpg
from scenario import NEW, PORT

SESSIONS = 6
ERRORS = asyncpg.exceptions


def connect(**options):
    return asyncpg.connect(
        host="127.0.0.1", port=PORT, user="postgres", database="postgres", timeout=20, **options
    )


async def main():
    setup = await connect()
    await setup.execute(
        "create type mood as enum ('sad', 'happy');"
        "create type pair as (number int, mood mood);"
        "create table async (session int, number int, text text)"
    )
    done = await asyncio.gather(*(session(number) for number in range(SESSIONS)))
    await with_a_pool()
    await setup.execute("drop table async; drop type pair; drop type mood")
    await setup.close()
    print(sum(done))


async def session(number):
    # New ones use no names at 0; a small cache closes all the time.
    size = [0, 3, 100][number % 3]
    connection = await connect(statement_cache_size=size)
    await cached(connection, number)
    await prepared(connection, number)
    if number < 3:
        await types(connection, number)
    await transactions(connection, number)
    await copies(connection, number)
    await failures(connection, number)
    await cancelled(connection, number)
    if number % 2:
        await reset(connection, number, unnamed=NEW and size == 0)
    await connection.close()
    return 1


async def cached(connection, number):
    for turn in range(3):
        for which in range(10):
            row = await connection.fetchrow(f"select {which}, $1::int, $2::text", number, f"turn {turn}")
            assert tuple(row) == (which, number, f"turn {turn}"), row
            assert await connection.fetchval(f"select $1::int8 + {which}", number) == number + which
    await connection.executemany("insert into async values ($1, $2, 'many')", [(number, n) for n in range(50)])
    query = "select count(*) from async where session = $1 and text = 'many'"
    assert await connection.fetchval(query, number) == 50
    if NEW:
        rows = await connection.fetchmany("select $1::int * 2", [(n,) for n in range(20)])
        assert [row[0] for row in rows] == [2 * n for n in range(20)]


async def prepared(connection, number):
    first = await connection.prepare("select $1::int + $2::int")
    second = await connection.prepare(f"select 'mine', {number}, $1::text")
    assert [p.name for p in first.get_parameters()] == ["int4", "int4"]
    assert [a.type.name for a in second.get_attributes()] == ["text", "int4", "text"]
    for n in range(5):
        assert await first.fetchval(n, number) == n + number
        assert tuple(await second.fetchrow(str(n))) == ("mine", number, str(n))
    async with connection.transaction():
        numbers = [r[0] async for r in connection.cursor("select generate_series(1, $1::int)", 120, prefetch=50)]
        assert numbers == list(range(1, 121))
        cursor = await first.cursor(1, 2)
        assert (await cursor.fetchrow())[0] == 3
    # What is dropped is closed, and its place is used again.
    del first, second
    third = await connection.prepare("select 'third', $1::int")
    assert tuple(await third.fetchrow(number)) == ("third", number)


async def types(connection, number):
    """For a type that it does not know, asyncpg asks the catalogue in the middle."""
    assert await connection.fetchval("select $1::mood", "happy") == "happy"
    pair = await connection.fetchval("select row($1::int, 'sad')::pair", number)
    assert tuple(pair) == (number, "sad"), pair
    pairs = await connection.fetchval("select array[row(1, 'sad'), row($1::int, 'happy')]::pair[]", number)
    assert [tuple(p) for p in pairs] == [(1, "sad"), (number, "happy")]
    await connection.set_type_codec("json", encoder=str, decoder=lambda text: ("json", text), schema="pg_catalog")
    assert await connection.fetchval("select '[1]'::json") == ("json", "[1]")
    # It forgets them, and has to ask again.
    await connection.reload_schema_state()
    assert await connection.fetchval("select array[$1::mood]", "sad") == ["sad"]


async def transactions(connection, number):
    for turn in range(3):
        async with connection.transaction():
            await connection.execute("insert into async values ($1, $2, 'kept')", number, turn)
            try:
                async with connection.transaction():
                    await connection.execute("insert into async values ($1, $2, 'lost')", number, turn)
                    await connection.fetchval("select 1 / $1::int", 0)
            except ERRORS.DivisionByZeroError:
                pass
            query = "select text, count(*) from async where session = $1 and text <> 'many' group by 1"
            assert [tuple(r) for r in await connection.fetch(query, number)] == [("kept", turn + 1)]
    try:
        async with connection.transaction(isolation="serializable", readonly=True):
            await connection.execute("insert into async values ($1, 0, 'lost')", number)
    except ERRORS.ReadOnlySQLTransactionError:
        pass
    await connection.execute("delete from async where session = $1", number)


async def copies(connection, number):
    rows = [(number, n, "c" * (n % 200)) for n in range(400)]
    await connection.copy_records_to_table("async", records=rows)
    out = io.BytesIO()
    status = await connection.copy_from_query(
        "select number, text from async where session = $1 order by number", number, output=out, format="csv"
    )
    assert status == "COPY 400", status
    lines = out.getvalue().decode().splitlines()
    assert lines[399] == "399," + "c" * 199, lines[399]
    await connection.execute("delete from async where session = $1", number)
    out.seek(0)
    status = await connection.copy_to_table("async", source=out, columns=["number", "text"], format="csv")
    assert status == "COPY 400", status
    try:
        await connection.copy_to_table("async", source=io.BytesIO(b"not,a,row,of,this\n"), format="csv")
        raise AssertionError("a bad row was taken")
    except ERRORS.BadCopyFileFormatError:
        pass
    assert await connection.fetchval("select $1::int", number) == number


async def failures(connection, number):
    for query, error, arguments in (
        ("select no_such_column", ERRORS.UndefinedColumnError, ()),
        ("select 1 / $1::int", ERRORS.DivisionByZeroError, (0,)),
        ("select $1::int", ERRORS.DataError, ("no number",)),
    ):
        for _ in range(3):
            try:
                await connection.fetchval(query, *arguments)
                raise AssertionError(query)
            except error:
                pass
    assert await connection.fetchval("select 6 / $1::int", 3) == 2


async def cancelled(connection, number):
    """A time-out of asyncpg is a CancelRequest."""
    for _ in range(2):
        try:
            await connection.fetchval("select pg_sleep(30), $1::int", number, timeout=0.2)
            raise AssertionError("not cancelled")
        except asyncio.TimeoutError:
            pass
        assert await connection.fetchval("select $1::int", number) == number


async def reset(connection, number, unnamed):
    """What a pool of asyncpg does between its users, and what ends every name."""
    await connection.reset()
    assert await connection.fetchval("select 'reset', $1::int", number) == "reset"
    for forget in ("deallocate all", "discard all"):
        before = await connection.prepare(f"select 'before {forget}', $1::int")
        assert await before.fetchval(number) == f"before {forget}"
        await connection.execute(forget)
        # asyncpg does not see it. PostgreSQL knows the name no more, if it is one.
        try:
            assert await before.fetchval(number) == f"before {forget}"
            assert unnamed, f"a name outlived {forget}"
        except ERRORS.InvalidSQLStatementNameError:
            assert not unnamed
        after = await connection.prepare(f"select 'after {forget}', $1::int")
        assert await after.fetchval(number) == f"after {forget}"


async def with_a_pool():
    pool = await asyncpg.create_pool(
        host="127.0.0.1", port=PORT, user="postgres", database="postgres", min_size=3, max_size=8
    )

    async def one(number):
        async with pool.acquire() as connection:
            async with connection.transaction():
                return await connection.fetchval("select $1::int * 2", number)

    assert await asyncio.gather(*(one(n) for n in range(60))) == [2 * n for n in range(60)]
    await pool.close()


asyncio.run(main())
