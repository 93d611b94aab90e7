"""psycopg 3 logs in as who the arguments say, or is refused as they say."""

import sys

import psycopg
from scenario import DSN

user, password, expected = sys.argv[2:5]
try:
    with psycopg.connect(f"{DSN} user={user} password={password}") as connection:
        print(connection.execute("select current_user").fetchone()[0])
except psycopg.OperationalError as error:
    assert expected in str(error), error
    print("refused")
