"""psycopg 3 changes a password at the server: the new one serves at once, the
old one no more, also where it was tried in vain before."""

import sys

import psycopg
from scenario import DSN

user, old, new, direct = sys.argv[2:6]


def log_in(password):
    return psycopg.connect(f"{DSN} user={user} password={password}", autocommit=True)


def who(session):
    return session.execute("select current_user").fetchone()[0]


with (
    psycopg.connect(f"host=127.0.0.1 port={direct} user=postgres dbname=postgres", autocommit=True) as server,
    log_in(old) as session,
):
    assert who(session) == user
    server.execute(f"alter role {user} password '{new}'")
    server.execute("select pg_terminate_backend(pid, 10000) from pg_stat_activity where usename = %s", (user,))
    try:
        while True:
            # The end of its server may not have been seen yet.
            who(session)
    except psycopg.Error as error:
        assert "password authentication failed" in str(error), error
    try:
        log_in(old).close()
    except psycopg.OperationalError as error:
        assert "authentication failed" in str(error), error
    else:
        raise AssertionError("the old password serves")
    with log_in(new) as fresh:
        assert who(fresh) == user
print("changed")
