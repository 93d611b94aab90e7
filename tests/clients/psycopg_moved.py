"""psycopg 3 with prepared statements and settings, while the pooler restarts."""

import time

import psycopg
from scenario import ARGUMENTS, DSN, at_once

SESSIONS = 6
SECONDS = float(ARGUMENTS[0])
done = []


def main():
    at_once(SESSIONS, session)
    print(len(done))


def session(number):
    name = f"moved {number}"
    with psycopg.connect(DSN, autocommit=True, application_name=name) as connection:
        connection.execute("set timezone to 'Asia/Tokyo'")
        settings = "current_setting('TimeZone'), current_setting('application_name')"
        until = time.monotonic() + SECONDS
        turn = 0
        while time.monotonic() < until:
            turn += 1
            row = connection.execute(
                f"select %s::int8, %s::text, {settings}", (turn, f"s{number}"), prepare=True
            ).fetchone()
            assert row == (turn, f"s{number}", "Asia/Tokyo", name), row
            # One of a few that are prepared as they come along.
            row = connection.execute(f"select {turn % 7}, %s::int8", (turn,), prepare=True).fetchone()
            assert row == (turn % 7, turn), row
            with connection.transaction():
                lock = connection.execute("select txid_current()", prepare=True).fetchone()
                again = connection.execute("select txid_current()", prepare=True).fetchone()
                assert lock == again
        asked = connection.info.parameter_status("disconnect_requested")
        assert asked == "off", asked
        assert turn > 10, turn
    done.append(number)


main()
