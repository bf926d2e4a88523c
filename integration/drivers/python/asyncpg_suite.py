"""asyncpg against the port: binary formats, prepared statements, its pool."""

import asyncio
import datetime
import io
import json
import time
import uuid
from decimal import Decimal

import asyncpg

from checks import SINGLE_URL, URL, annotated, check, equal, main, with_password

UTC = datetime.timezone.utc


async def connect(url=URL, **options):
    return await asyncpg.connect(url, timeout=10, **options)


@check
async def connect_scram_tls():
    connection = await connect()
    assert connection._transport.get_extra_info("cipher"), "no TLS"
    equal(await connection.fetchval("SELECT current_user"), "app")
    assert connection.get_server_version().major >= 15
    await connection.close()


@check
async def wrong_password_refused():
    try:
        await connect(with_password(URL, "not-it"))
    except asyncpg.InvalidPasswordError:
        return
    raise AssertionError("a wrong password was let in")


@check
async def types_binary():
    connection = await connect()
    values = {
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
        "doc": '{"a": [1, 2.5, null]}',
        "mood": "Very Keen",
        "moods": ["calm", None],
        "nothing": None,
    }
    marks = ", ".join(f"${number}" for number in range(1, len(values) + 1))
    row = await connection.fetchrow(
        f"INSERT INTO types ({', '.join(values)}) VALUES ({marks}) RETURNING {', '.join(values)}",
        *values.values(),
    )
    equal(dict(row), values)
    await connection.close()


@check
async def prepared_reuse():
    clients = [await connect() for _ in range(9)]

    async def use(number, client):
        statement = await client.prepare(f"SELECT $1::int + {number % 3} AS sum, title FROM books WHERE id = $2")
        for turn in range(5):
            row = await statement.fetchrow(turn, 4)
            equal(tuple(row), (turn + number % 3, "Small Gods"))
            equal(await client.fetchval("SELECT $1::text", str(number)), str(number))

    await asyncio.gather(*(use(number, client) for number, client in enumerate(clients)))
    for client in clients:
        await client.close()


@check
async def statement_after_schema_change():
    connection = await connect()
    await connection.execute("CREATE TABLE changing (a int); INSERT INTO changing VALUES (1)")
    try:
        equal(tuple(await connection.fetchrow("SELECT * FROM changing")), (1,))
        other = await connect()
        await other.execute("ALTER TABLE changing ADD COLUMN b text DEFAULT 'new'")
        await other.close()
        equal(tuple(await connection.fetchrow("SELECT * FROM changing")), (1, "new"))
    finally:
        await connection.execute("DROP TABLE changing")
        await connection.close()


@check
async def transaction_and_savepoint():
    connection = await connect()
    await connection.execute("DELETE FROM scratch")
    async with connection.transaction(isolation="serializable"):
        await connection.execute("INSERT INTO scratch VALUES (1, 'kept')")
        try:
            async with connection.transaction():
                await connection.execute("INSERT INTO scratch VALUES (2, 'undone')")
                await connection.execute("INSERT INTO scratch VALUES (1, 'twice')")
        except asyncpg.UniqueViolationError:
            pass
        await connection.execute("INSERT INTO scratch VALUES (3, 'kept')")
    equal(await connection.fetchval("SELECT array_agg(id ORDER BY id) FROM scratch"), [1, 3])
    await connection.close()


@check
async def error_then_usable():
    connection = await connect()
    try:
        await connection.fetch("SELECT 1 / $1::int", 0)
    except asyncpg.DivisionByZeroError:
        pass
    try:
        await connection.fetch("SELECT nope FROM books")
    except asyncpg.UndefinedColumnError as error:
        equal(error.position, "8", "position")
    equal(await connection.fetchval("SELECT 1"), 1)
    await connection.close()


@check
async def copy_in_and_out():
    connection = await connect()
    await connection.execute("DELETE FROM scratch")
    rows = [(number, f"row {number}\t\\ é\n") for number in range(5000)]
    equal(await connection.copy_records_to_table("scratch", records=rows), "COPY 5000")
    out = io.BytesIO()
    await connection.copy_from_query("SELECT id FROM scratch ORDER BY id", output=out)
    equal(out.getvalue().split(), [str(number).encode() for number in range(5000)])
    try:
        await connection.copy_to_table("scratch", source=io.BytesIO(b"bad\n"))
    except (asyncpg.BadCopyFileFormatError, asyncpg.InvalidTextRepresentationError):
        pass
    equal(await connection.fetchval("SELECT count(*) FROM scratch"), 5000)
    await connection.execute("DELETE FROM scratch")
    await connection.close()


@check
async def cursor_in_transaction():
    connection = await connect()
    async with connection.transaction():
        seen = [row[0] async for row in connection.cursor("SELECT n FROM generate_series(1, 100) AS n", prefetch=7)]
    equal(seen, list(range(1, 101)))
    await connection.close()


@check
async def cancel_by_timeout():
    connection = await connect()
    began = time.monotonic()
    try:
        await connection.execute("SELECT pg_sleep(30)", timeout=0.3)
    except asyncio.TimeoutError:
        pass
    else:
        raise AssertionError("the query was not cancelled")
    assert time.monotonic() - began < 5, "the cancel was slow"
    equal(await connection.fetchval("SELECT 1"), 1)
    await connection.close()


@check
async def settings_apart():
    a = await connect(SINGLE_URL, server_settings={"search_path": "tenant_a"})
    b = await connect(SINGLE_URL, server_settings={"search_path": "tenant_b"})
    await b.execute("SET TimeZone = 'America/Lima'")
    for _ in range(3):
        for client, owner in ((a, "a"), (b, "b")):
            equal(await client.fetchval("SELECT owner FROM secrets"), owner)
    equal(b.get_settings().TimeZone, "America/Lima")
    assert a.get_settings().TimeZone != "America/Lima"
    await a.close()
    await b.close()


@check
async def pool_resets_its_clients():
    async with asyncpg.create_pool(URL, min_size=2, max_size=8) as pool:

        async def one(number):
            async with pool.acquire() as connection:
                await connection.execute(f"SET application_name = 'worker {number}'")
                await asyncio.sleep(0.01)
                equal(await connection.fetchval("SHOW application_name"), f"worker {number}")

        await asyncio.gather(*(one(number) for number in range(30)))
        async with pool.acquire() as connection:
            name = await connection.fetchval("SHOW application_name")
            assert not name.startswith("worker"), name


@check
async def listen_notify():
    listener, speaker = await connect(), await connect()
    heard = asyncio.get_running_loop().create_future()
    await listener.add_listener("news", lambda *note: heard.set_result(note[2:]))
    await speaker.execute("NOTIFY news, 'hello'")
    equal(await asyncio.wait_for(heard, 5), ("news", "hello"))
    await listener.close()
    await speaker.close()


@check
async def executemany():
    connection = await connect()
    await connection.execute("DELETE FROM scratch")
    await connection.executemany("INSERT INTO scratch VALUES ($1, $2)", [(number, "x") for number in range(1000)])
    equal(await connection.fetchval("SELECT count(*) FROM scratch"), 1000)
    await connection.execute("DELETE FROM scratch")
    await connection.close()


@annotated
async def include():
    connection = await connect()
    await connection.set_type_codec("json", encoder=str, decoder=json.loads, schema="pg_catalog")
    sql = "/* @include(books(order: id)) */ SELECT id, name FROM authors WHERE id = ANY($1) ORDER BY id"
    for _ in range(3):
        rows = await connection.fetch(sql, [2, 4])
        equal([tuple(row.keys()) for row in rows], [("id", "name", "books")] * 2)
        equal([book["title"] for book in rows[0]["books"]], ["Small Gods", "Mort"])
        equal(rows[1]["books"], [])
    await connection.close()


@annotated
async def include_of_nothing_known():
    connection = await connect()
    try:
        await connection.fetch("/* @include(boks) */ SELECT id FROM authors")
    except asyncpg.PostgresError as error:
        assert error.sqlstate in ("42703", "42P01"), error.sqlstate
    else:
        raise AssertionError("an unknown relation was let through")
    equal(await connection.fetchval("SELECT 1"), 1)
    await connection.close()


@annotated
async def upsert():
    connection = await connect()
    sql = "/* @upsert(email) */ INSERT INTO authors (name, email) VALUES ($1, $2) RETURNING id"
    first = await connection.fetchval(sql, "First", "asyncpg@example.org")
    second = await connection.fetchval(sql, "Second", "asyncpg@example.org")
    equal(second, first, "id of the same row")
    equal(await connection.fetchval("SELECT name FROM authors WHERE id = $1", first), "Second")
    await connection.execute("DELETE FROM authors WHERE id = $1", first)
    await connection.close()


if __name__ == "__main__":
    main()
