"""psycopg 3 over TLS with all that is verified: by SSLRequest, directly, and cancels.

Its argument is the file of the authority.
"""

import psycopg
from psycopg import errors
from scenario import ARGUMENTS, DSN, at_once, raises, repeated

SESSIONS = 4
VERIFIED = f"{DSN} sslmode=verify-full sslrootcert={ARGUMENTS[0]}"
# libpq knows direct TLS from version 17 on.
WAYS = ["", " sslnegotiation=direct"] if psycopg.pq.version() >= 170000 else [""]
done = []


def main():
    for way in WAYS:
        at_once(SESSIONS, lambda number: session(VERIFIED + way, number))
    print(len(done) // len(WAYS))


def session(dsn, number):
    with psycopg.connect(dsn, autocommit=True) as connection:
        assert connection.pgconn.ssl_in_use
        connection.prepare_threshold = 1
        for turn in range(20):
            assert connection.execute("select %s::int, %s::int", (number, turn)).fetchone() == (number, turn)
        text = "x" * 300_000
        assert connection.execute("select %s::text", (text,)).fetchone() == (text,)
        with connection.cursor() as cursor, cursor.copy("copy (select generate_series(1, 20000)) to stdout") as copy:
            assert sum(1 for _ in copy.rows()) == 20000
        with repeated(connection.cancel):
            raises(errors.QueryCanceled, lambda: connection.execute("select pg_sleep(30)"))
        assert connection.execute("select %s::int", (number,)).fetchone() == (number,)
    done.append(number)


main()
