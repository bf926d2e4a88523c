"""psycopg 3 against the port: sync, async and pipeline mode."""

import asyncio
import datetime
import threading
import time
import uuid
from decimal import Decimal

import psycopg
from psycopg.types.enum import EnumInfo, register_enum
from psycopg.types.json import Jsonb

from checks import SINGLE_URL, URL, annotated, check, equal, main, with_password

UTC = datetime.timezone.utc
VALUES = {
    "num": Decimal("12345678901234567890.000000000123"),
    "bytes": bytes(range(256)),
    "at": datetime.datetime(2024, 2, 29, 23, 59, 59, 123456, UTC),
    "day": datetime.date(1969, 3, 1),
    "flag": True,
    "big": -(2**63),
    "real8": 0.1,
    "uid": uuid.UUID("c0ffee00-0000-4000-8000-000000000001"),
    "ints": [1, None, 3],
    "texts": ['a"b', "c,d", "", "NULL", "é"],
    "nothing": None,
}


def connect(url=URL, **options):
    return psycopg.connect(url, connect_timeout=10, **options)


def round_trip(connection, binary):
    mark = "%b" if binary else "%t"
    names = list(VALUES)
    cursor = connection.cursor(binary=binary)
    sql = (
        f"INSERT INTO types ({', '.join(names)}, doc, mood, moods) "
        f"VALUES ({', '.join([mark] * len(names))}, {mark}, 'Very Keen', '{{calm,NULL}}') "
        f"RETURNING {', '.join(names)}, doc, mood::text, moods::text[]"
    )
    document = {"a": [1, 2.5, None], "k": "é\"'"}
    row = cursor.execute(sql, [*VALUES.values(), Jsonb(document)]).fetchone()
    for name, expected, got in zip(names, VALUES.values(), row):
        equal(got, expected, name)
    equal(row[-3:], (document, "Very Keen", ["calm", None]), "doc, mood, moods")


@check
def connect_scram_tls():
    with connect(require_auth="scram-sha-256", channel_binding="require") as connection:
        equal(connection.pgconn.ssl_in_use, True, "TLS in use")
        equal(connection.execute("SELECT current_user").fetchone(), ("app",))


@check
def wrong_password_refused():
    try:
        connect(with_password(URL, "not-it")).close()
    except psycopg.OperationalError as error:
        assert "authentication failed" in str(error), error
    else:
        raise AssertionError("a wrong password was let in")


@check
def types_text():
    with connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        round_trip(connection, binary=False)


@check
def types_binary():
    with connect() as connection:
        round_trip(connection, binary=True)


@check
def enum_type():
    with connect() as connection:
        register_enum(EnumInfo.fetch(connection, "mood"), connection)
        row = connection.execute("SELECT 'Very Keen'::mood, '{calm}'::mood[]").fetchone()
        equal(type(row[0]).__name__, "Mood")
        equal((row[0].name, [mood.name for mood in row[1]]), ("Very Keen", ["calm"]))


@check
def prepared_reuse():
    clients = [connect(autocommit=True) for _ in range(9)]
    for turn in range(4):
        for number, client in enumerate(clients):
            sql = f"SELECT %s::int + {number % 3}, title FROM books WHERE id = %s"
            row = client.execute(sql, (turn, 4), prepare=True).fetchone()
            equal(row, (turn + number % 3, "Small Gods"))
    for client in clients:
        client.close()


@check
def deallocate_by_sql():
    with connect(autocommit=True) as connection:
        connection.execute("PREPARE mine AS SELECT 41 + $1::int")
        equal(connection.execute("EXECUTE mine(1)").fetchone(), (42,))
        connection.execute("DEALLOCATE mine")
        try:
            connection.execute("EXECUTE mine(1)")
        except psycopg.errors.InvalidSqlStatementName:
            pass
        else:
            raise AssertionError("a deallocated statement ran")
        for _ in range(3):
            connection.execute("SELECT %s::text", ("a",), prepare=True)
            connection.execute("DEALLOCATE ALL")


@check
def transaction_and_savepoint():
    with connect(autocommit=True) as connection:
        connection.execute("DELETE FROM scratch")
        with connection.transaction():
            connection.execute("INSERT INTO scratch VALUES (1, 'kept')")
            try:
                with connection.transaction():
                    connection.execute("INSERT INTO scratch VALUES (2, 'undone')")
                    connection.execute("INSERT INTO scratch VALUES (1, 'twice')")
            except psycopg.errors.UniqueViolation:
                pass
            connection.execute("INSERT INTO scratch VALUES (3, 'kept')")
        equal(connection.execute("SELECT array_agg(id ORDER BY id) FROM scratch").fetchone(), ([1, 3],))
        try:
            with connection.transaction():
                connection.execute("DELETE FROM scratch")
                raise KeyError("undo")
        except KeyError:
            pass
        equal(connection.execute("SELECT count(*) FROM scratch").fetchone(), (2,))


@check
def error_then_usable():
    with connect() as connection:
        try:
            connection.execute("SELECT 1 / (%s::int)", (0,))
        except psycopg.errors.DivisionByZero:
            pass
        equal(connection.info.transaction_status.name, "INERROR")
        try:
            connection.execute("SELECT 1")
        except psycopg.errors.InFailedSqlTransaction:
            pass
        else:
            raise AssertionError("a failed transaction went on")
        connection.rollback()
        try:
            connection.execute("SELECT nope FROM books")
        except psycopg.errors.UndefinedColumn as error:
            equal(error.diag.statement_position, "8", "position")
        connection.rollback()
        equal(connection.execute("SELECT 1").fetchone(), (1,))


@check
def copy_in_and_out():
    rows = [(number, f"row {number}\t\\ é\n") for number in range(5000)]
    with connect() as connection:
        connection.execute("DELETE FROM scratch")
        with connection.cursor().copy("COPY scratch FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        with connection.cursor().copy("COPY (SELECT id, body FROM scratch ORDER BY id) TO STDOUT (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            equal(list(copy.rows()), rows)
        connection.rollback()


@check
def copy_in_error_then_usable():
    with connect(autocommit=True) as connection:
        connection.execute("DELETE FROM scratch")
        try:
            with connection.cursor().copy("COPY scratch FROM STDIN") as copy:
                copy.write_row((1, "a"))
                for _ in range(2000):
                    copy.write_row(("not a number", "b" * 100))
        except psycopg.errors.InvalidTextRepresentation:
            pass
        else:
            raise AssertionError("bad rows were copied")
        try:
            with connection.cursor().copy("COPY scratch FROM STDIN") as copy:
                copy.write_row((1, "a"))
                raise KeyError("the client gives up")
        except (KeyError, psycopg.errors.QueryCanceled):
            pass
        equal(connection.execute("SELECT count(*) FROM scratch").fetchone(), (0,))


@check
def cancel():
    with connect(autocommit=True) as connection:
        timer = threading.Timer(0.3, connection.cancel_safe)
        timer.start()
        began = time.monotonic()
        try:
            connection.execute("SELECT pg_sleep(30)")
        except psycopg.errors.QueryCanceled:
            pass
        else:
            raise AssertionError("the query was not cancelled")
        finally:
            timer.join()
        assert time.monotonic() - began < 5, "the cancel was slow"
        equal(connection.execute("SELECT 1").fetchone(), (1,))


@check
def settings_apart():
    with connect(SINGLE_URL, autocommit=True) as a, connect(SINGLE_URL, autocommit=True) as b:
        for client, schema, zone in ((a, "tenant_a", "Asia/Tokyo"), (b, "tenant_b", "America/Lima")):
            client.execute(f"SET search_path = {schema}")
            client.execute("SELECT set_config('TimeZone', %s, false)", (zone,))
        for _ in range(3):
            for client, owner, zone in ((a, "a", "Asia/Tokyo"), (b, "b", "America/Lima")):
                equal(client.execute("SELECT owner FROM secrets", prepare=True).fetchone(), (owner,))
                equal(client.execute("SHOW TimeZone").fetchone(), (zone,))
                equal(client.info.parameter_status("TimeZone"), zone, "reported TimeZone")
        a.execute("RESET search_path")
        equal(a.execute("SHOW search_path").fetchone(), ('"$user", public',))
        equal(b.execute("SHOW search_path").fetchone(), ("tenant_b",))


@check
def startup_options():
    with connect(SINGLE_URL, application_name="first", options="-c search_path=tenant_a -c statement_timeout=7s") as a:
        with connect(SINGLE_URL, application_name="second", autocommit=True) as b:
            equal(a.execute("SELECT owner, current_setting('application_name') FROM secrets").fetchone(), ("a", "first"))
            a.commit()
            sql = "SELECT current_setting('statement_timeout'), current_setting('application_name')"
            equal(b.execute(sql).fetchone(), ("0", "second"))
            equal(a.execute(sql).fetchone(), ("7s", "first"))


@check
def set_local_and_rollback():
    with connect(SINGLE_URL) as a, connect(SINGLE_URL, autocommit=True) as b:
        a.execute("SET search_path = tenant_a")
        a.rollback()
        equal(a.execute("SHOW search_path").fetchone(), ('"$user", public',))
        a.execute("SET LOCAL search_path = tenant_b")
        equal(a.execute("SELECT owner FROM secrets").fetchone(), ("b",))
        a.commit()
        equal(a.execute("SHOW search_path").fetchone(), ('"$user", public',))
        a.commit()
        equal(b.execute("SHOW search_path").fetchone(), ('"$user", public',))


@check
def temporary_table():
    with connect(autocommit=True) as connection:
        connection.execute("CREATE TEMPORARY TABLE mine (id int)")
        connection.execute("INSERT INTO mine VALUES (1), (2)")
        equal(connection.execute("SELECT count(*) FROM mine").fetchone(), (2,))
        connection.execute("DROP TABLE mine")


@check
def listen_notify():
    with connect(autocommit=True) as listener, connect(autocommit=True) as speaker:
        listener.execute("LISTEN news")
        speaker.execute("SELECT pg_notify('news', 'hello')")
        heard = [note.payload for note in listener.notifies(timeout=5, stop_after=1)]
        equal(heard, ["hello"])
        listener.execute("UNLISTEN news")


@check
def server_side_cursor():
    with connect() as connection, connection.cursor("far") as cursor:
        cursor.itersize = 7
        cursor.execute("SELECT n FROM generate_series(1, 100) AS n")
        equal([row[0] for row in cursor], list(range(1, 101)))


@check
def stream_row_by_row():
    with connect() as connection:
        rows = connection.cursor().stream("SELECT n FROM generate_series(1, 20000) AS n")
        equal(sum(row[0] for row in rows), 200010000)


@check
def several_statements_in_one_query():
    with connect(autocommit=True) as connection:
        cursor = connection.execute("SELECT 1; SELECT 2, 3; CREATE TEMPORARY TABLE t (a int) ON COMMIT DROP")
        equal(cursor.fetchone(), (1,))
        cursor.nextset()
        equal(cursor.fetchone(), (2, 3))


@check
def pipeline():
    with connect(autocommit=True) as connection:
        connection.execute("DELETE FROM scratch")
        with connection.pipeline():
            for number in range(200):
                connection.execute("INSERT INTO scratch VALUES (%s, %s)", (number, "x"), prepare=True)
            cursor = connection.execute("SELECT count(*), max(id) FROM scratch")
        equal(cursor.fetchone(), (200, 199))
        connection.execute("DELETE FROM scratch")


@check
def pipeline_error_then_usable():
    with connect(autocommit=True) as connection:
        cursors = []
        try:
            with connection.pipeline() as line:
                cursors.append(connection.execute("SELECT 1"))
                connection.execute("SELECT 1 / %s::int", (0,))
                connection.execute("SELECT 2")
                line.sync()
                cursors.append(connection.execute("SELECT 3"))
        except psycopg.errors.DivisionByZero:
            pass
        else:
            raise AssertionError("the error in the pipeline was lost")
        equal(connection.execute("SELECT 4").fetchone(), (4,))


@check
async def async_queries():
    async def one(number):
        async with await psycopg.AsyncConnection.connect(URL) as connection:
            for turn in range(5):
                cursor = await connection.execute("SELECT %s::int * 10 + %s", (number, turn), prepare=True)
                equal(await cursor.fetchone(), (number * 10 + turn,))
                await connection.commit()

    await asyncio.gather(*(one(number) for number in range(12)))


@check
async def async_cancel():
    async with await psycopg.AsyncConnection.connect(URL, autocommit=True) as connection:
        task = asyncio.create_task(connection.execute("SELECT pg_sleep(30)"))
        await asyncio.sleep(0.3)
        await connection.cancel_safe(timeout=5)
        try:
            await asyncio.wait_for(task, 5)
        except psycopg.errors.QueryCanceled:
            pass
        else:
            raise AssertionError("the query was not cancelled")
        equal(await (await connection.execute("SELECT 1")).fetchone(), (1,))


@check
async def async_copy_and_pipeline():
    async with await psycopg.AsyncConnection.connect(URL) as connection:
        await connection.execute("DELETE FROM scratch")
        async with connection.cursor().copy("COPY scratch FROM STDIN") as copy:
            for number in range(1000):
                await copy.write_row((number, "x"))
        async with connection.pipeline():
            first = await connection.execute("SELECT count(*) FROM scratch")
            second = await connection.execute("SELECT %s", ("é",))
        equal((await first.fetchone(), await second.fetchone()), ((1000,), ("é",)))
        await connection.rollback()


@annotated
def include():
    with connect() as connection:
        rows = connection.execute("/* @include(books) */ SELECT id, name FROM authors WHERE id <= 4 ORDER BY id").fetchall()
        equal([row[0] for row in rows], [1, 2, 3, 4])
        equal(sorted(book["title"] for book in rows[1][2]), ["Mort", "Small Gods"])
        equal(rows[3][2], [])


@annotated
def include_with_parameters():
    sql = "/* @include(books(order: -published, limit: 1).publisher) */ SELECT id, name FROM authors WHERE id = ANY(%s) ORDER BY id"
    with connect(autocommit=True) as connection:
        for binary in (False, True):
            for _ in range(7):
                rows = connection.execute(sql, ([1, 2],), prepare=True, binary=binary).fetchall()
                equal([[book["title"] for book in row[2]] for row in rows], [["Always Coming Home"], ["Small Gods"]])
                equal(rows[0][2][0]["publisher"], None)
                equal(rows[1][2][0]["publisher"]["name"], "Gollancz")


@annotated
def include_in_a_pipeline():
    with connect(autocommit=True) as connection:
        with connection.pipeline():
            first = connection.execute("/* @include(publisher) */ SELECT id, title FROM books WHERE id = %s", (4,))
            second = connection.execute("SELECT 5")
        equal(first.fetchone()[2]["city"], "London")
        equal(second.fetchone(), (5,))


@annotated
def include_of_nothing_known():
    with connect(autocommit=True) as connection:
        try:
            connection.execute("/* @include(boks) */ SELECT id FROM authors")
        except psycopg.errors.Error as error:
            assert error.sqlstate in ("42703", "42P01"), error.sqlstate
            assert "books" in (error.diag.message_hint or ""), error.diag.message_hint
            assert error.diag.statement_position, "no position"
        else:
            raise AssertionError("an unknown relation was let through")
        equal(connection.execute("SELECT 1").fetchone(), (1,))


@annotated
def upsert():
    sql = "/* @upsert(email) */ INSERT INTO authors (name, email) VALUES (%s, %s) RETURNING id"
    with connect() as connection:
        first = connection.execute(sql, ("First", "psycopg@example.org")).fetchone()[0]
        second = connection.execute(sql, ("Second", "psycopg@example.org")).fetchone()[0]
        equal(second, first, "id of the same row")
        row = connection.execute("SELECT name FROM authors WHERE email = 'psycopg@example.org'").fetchall()
        equal(row, [("Second",)])
        connection.rollback()


@annotated
def upsert_many():
    sql = "/* @upsert(email) */ INSERT INTO authors (name, email) VALUES (%s, %s)"
    with connect() as connection:
        people = [(f"n{number}", f"many{number % 10}@example.org") for number in range(30)]
        connection.cursor().executemany(sql, people)
        row = connection.execute("SELECT count(*), min(name), max(name) FROM authors WHERE email LIKE 'many%'").fetchone()
        equal(row, (10, "n20", "n29"))
        connection.rollback()


if __name__ == "__main__":
    main()
