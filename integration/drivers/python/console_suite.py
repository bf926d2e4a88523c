"""psycopg at the admin console: simple and extended protocol, with and without transactions."""

import psycopg
from psycopg.rows import dict_row

from checks import URL, check, equal, main

SHOWS = ["CLIENTS", "CONFIG", "DATABASES", "HELP", "LISTS", "POOLS", "SERVERS", "STATS", "STATS_TOTALS", "USERS", "VERSION"]


def connect(**options):
    return psycopg.connect(URL, row_factory=dict_row, **options)


@check
def every_show():
    with connect(autocommit=True) as console:
        for subject in SHOWS:
            rows = console.execute(f"SHOW {subject}").fetchall()
            assert rows, subject
        equal(list(rows[0]), ["version"])


@check
def numbers_are_numbers():
    with connect(autocommit=True) as console:
        for binary in (False, True):
            lists = console.execute("SHOW LISTS", binary=binary).fetchall()
            equal([row["items"] for row in lists if row["list"] == "databases"], [1])


@check
def wrong_command_then_usable():
    with connect(autocommit=True) as console:
        for wrong in ("SHOW POOL", "SELECT 1"):
            try:
                console.execute(wrong)
                raise AssertionError(f"{wrong} was taken")
            except psycopg.errors.SyntaxError as error:
                assert error.diag.message_hint
        equal(len(console.execute("SHOW VERSION").fetchall()), 1)


@check
def several_commands_at_once():
    with connect(autocommit=True, cursor_factory=psycopg.ClientCursor) as console:
        cursor = console.execute("SHOW VERSION; SHOW LISTS")
        equal(list(cursor.fetchone()), ["version"])
        equal(cursor.nextset(), True)
        equal(list(cursor.fetchone()), ["list", "items"])


@check
def both_protocols():
    for factory in (psycopg.Cursor, psycopg.ClientCursor):
        with connect(autocommit=True, cursor_factory=factory) as console:
            for _ in range(7):
                equal(console.execute("SHOW POOLS", prepare=factory is psycopg.Cursor).description[0].name, "database")
    with connect(autocommit=True) as console, console.pipeline():
        cursors = [console.execute("SHOW VERSION") for _ in range(5)]
        equal([len(cursor.fetchall()) for cursor in cursors], [1] * 5)


@check
def transactions_of_the_driver():
    with connect() as console:
        equal(len(console.execute("SHOW VERSION").fetchall()), 1)
        console.commit()
        console.execute("SHOW LISTS")
        console.rollback()


if __name__ == "__main__":
    main()
