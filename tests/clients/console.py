"""psycopg, asyncpg and pg8000 at the console, each in its own protocol."""

import asyncio
import decimal

import asyncpg
import pg8000
import psycopg
from scenario import PORT, raises

DSN = f"host=127.0.0.1 port={PORT} user=postgres dbname=pgbouncer connect_timeout=20"
done = []


def with_psycopg():
    # Without autocommit it sends BEGIN by itself.
    for autocommit in (True, False):
        with psycopg.connect(DSN, autocommit=autocommit) as connection:
            for binary in (False, True):
                cursor = connection.cursor(binary=binary, row_factory=psycopg.rows.dict_row)
                pools = cursor.execute("show pools", prepare=True).fetchall()
                check_pools(pools)
                state = cursor.execute("-- what is it doing\nSHOW STATE").fetchall()
                assert state[0] == {"key": "active", "value": "yes"}, state
            raises(psycopg.Error, lambda: connection.execute("show nothing"))
            connection.rollback()
            assert connection.execute("select 1", prepare=True).fetchone() == (1,)
    done.append("psycopg")


async def with_asyncpg():
    # All that comes is binary; the cache keeps statements by name.
    connection = await asyncpg.connect(
        host="127.0.0.1", port=PORT, user="postgres", database="pgbouncer", timeout=20
    )
    for _ in range(3):
        check_pools([dict(row) for row in await connection.fetch("SHOW POOLS")])
        names = [row["list"] for row in await connection.fetch("SHOW LISTS")]
        assert names[0] == "databases", names
        # One row, of a result that has more.
        first = await connection.fetchrow("SHOW LISTS")
        assert (first["list"], type(first["items"])) == ("databases", int), first
        # Sums of the group are numeric.
        totals = {row["name"]: row["value"] for row in await connection.fetch("SHOW TOTALS")}
        assert isinstance(totals["total_query_count"], decimal.Decimal), totals
        workers = await connection.fetch("SHOW WORKERS")
        assert [row["worker"] for row in workers] == [1, 2], workers
        try:
            await connection.fetch("SHOW NOTHING")
            raise AssertionError("no error")
        except asyncpg.PostgresError as error:
            assert "invalid command" in str(error), error
        assert await connection.fetchval("SELECT 1") == 1
        assert await connection.execute("RELOAD") == "RELOAD"
    await connection.close()
    done.append("asyncpg")


def with_pg8000():
    connection = pg8000.connect(
        user="postgres", host="127.0.0.1", port=PORT, database="pgbouncer"
    )
    cursor = connection.cursor()
    for _ in range(2):
        cursor.execute("show pools")
        names = [column[0] for column in cursor.description]
        names = [name.decode() if isinstance(name, bytes) else name for name in names]
        check_pools([dict(zip(names, row)) for row in cursor.fetchall()])
    connection.rollback()
    connection.close()
    done.append("pg8000")


def check_pools(pools):
    (own,) = [row for row in pools if row["database"] == "pgbouncer"]
    assert own["pool_mode"] == "statement", own
    assert (own["cl_active"] >= 1, own["sv_active"]) == (True, 0), own
    (ours,) = [row for row in pools if row["database"] == "postgres"]
    assert ours["cl_active"] == 3, ours


with_psycopg()
asyncio.run(with_asyncpg())
with_pg8000()
print(" ".join(done))
