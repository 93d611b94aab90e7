"""psycopg 3 cancels over TLS, which libpq can from version 17 on.

Its arguments are the file of the authority and how TLS is begun.
"""

import psycopg
from psycopg import errors
from scenario import ARGUMENTS, DSN, raises, repeated

ROOT, NEGOTIATION = ARGUMENTS
WAY = f"sslmode=verify-full sslrootcert={ROOT} sslnegotiation={NEGOTIATION}"

with psycopg.connect(f"{DSN} {WAY}", autocommit=True) as connection:
    with repeated(connection.cancel_safe):
        raises(errors.QueryCanceled, lambda: connection.execute("select pg_sleep(30)"))
    assert connection.execute("select 1").fetchone() == (1,)
