"""psycopg 3 without prepared statements, in both protocols."""

import psycopg
from scenario import DSN, raises

with psycopg.connect(DSN, autocommit=True, prepare_threshold=None) as connection:
    for number in range(50):
        row = connection.execute("select %s::int, %s::text", (number, "x" * number)).fetchone()
        assert row == (number, "x" * number), row
    with connection.transaction():
        connection.execute("create temp table t (a int) on commit drop")
        with connection.cursor().copy("copy t from stdin") as copy:
            for number in range(1000):
                copy.write_row((number,))
        assert connection.execute("select sum(a) from t").fetchone() == (499500,)
    raises(psycopg.errors.DivisionByZero, lambda: connection.execute("select 1/0"))
    print(connection.execute("select 42").fetchone()[0])
