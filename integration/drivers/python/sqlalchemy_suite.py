"""SQLAlchemy 2 against the port, by psycopg and by asyncpg.

Annotations go the way SQLAlchemy users send comments: `prefix_with` on a
statement, and an event that adds one to every statement of an execution with
the option `annotation`.
"""

import asyncio
import datetime
import json
import ssl
import uuid
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, ENUM, JSON, JSONB
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload

from checks import CA, SINGLE_URL, URL, Parts, annotated, check, equal, main


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str]
    books: Mapped[list["Book"]] = relationship(back_populates="author", order_by="Book.id")


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("authors.id"))
    title: Mapped[str]
    price: Mapped[Decimal | None]
    author: Mapped[Author] = relationship(back_populates="books")


types = sa.Table(
    "types",
    Base.metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("num", sa.Numeric),
    sa.Column("bytes", BYTEA),
    sa.Column("at", sa.DateTime(timezone=True)),
    sa.Column("uid", sa.Uuid),
    sa.Column("ints", ARRAY(sa.Integer)),
    sa.Column("doc", JSONB),
    sa.Column("mood", ENUM("calm", "keen", "Very Keen", name="mood", create_type=False)),
    sa.Column("nothing", sa.Text),
)
scratch = sa.Table("scratch", Base.metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("body", sa.Text))

VALUES = {
    "num": Decimal("12345678901234567890.000000000123"),
    "bytes": bytes(range(256)),
    "at": datetime.datetime(2024, 2, 29, 23, 59, 59, 123456, datetime.timezone.utc),
    "uid": uuid.UUID("c0ffee00-0000-4000-8000-000000000001"),
    "ints": [1, None, 3],
    "doc": {"a": [1, 2.5, None]},
    "mood": "Very Keen",
    "nothing": None,
}


def engine(url=URL, **options):
    made = sa.create_engine(url.replace("postgres://", "postgresql+psycopg://"), **options)

    @event.listens_for(made, "before_cursor_execute", retval=True)
    def annotate(connection, cursor, statement, parameters, context, many):
        note = context.execution_options.get("annotation") if context else None
        return (f"/* {note} */ {statement}" if note else statement), parameters

    return made


def async_engine(url=URL, **options):
    parts = Parts(url)
    target = sa.URL.create(
        "postgresql+asyncpg", parts.user, parts.password, parts.host, parts.port, parts.database
    )
    context = ssl.create_default_context(cafile=CA)
    return create_async_engine(target, connect_args={"ssl": context}, **options)


@check
def connect_and_introspect():
    made = engine()
    with made.connect() as connection:
        equal(connection.scalar(sa.text("SELECT current_user")), "app")
    inspector = sa.inspect(made)
    assert {"authors", "books", "types"} <= set(inspector.get_table_names())
    keys = inspector.get_foreign_keys("book_tags")
    equal(sorted(key["referred_table"] for key in keys), ["books", "tags"])
    made.dispose()


@check
def types_round_trip():
    made = engine()
    with made.begin() as connection:
        number = connection.scalar(sa.insert(types).values(VALUES).returning(types.c.id))
        row = connection.execute(sa.select(types).where(types.c.id == number)).mappings().one()
        equal({name: row[name] for name in VALUES}, VALUES)
    made.dispose()


@check
def orm_session():
    made = engine()
    with Session(made) as session:
        author = Author(name="New", email="orm@example.org", books=[Book(title="One", price=Decimal("1.50"))])
        session.add(author)
        session.flush()
        try:
            with session.begin_nested():
                session.add(Author(name="Twin", email="orm@example.org"))
        except sa.exc.IntegrityError:
            pass
        found = session.scalars(
            sa.select(Author).options(selectinload(Author.books)).where(Author.email == "orm@example.org")
        ).one()
        equal([book.title for book in found.books], ["One"])
        session.rollback()
        equal(session.scalar(sa.select(sa.func.count()).where(Author.email == "orm@example.org")), 0)
    made.dispose()


@check
def bulk_insert_with_returning():
    made = engine()
    with made.begin() as connection:
        connection.execute(sa.delete(scratch))
        rows = [{"id": number, "body": "x"} for number in range(2500)]
        got = connection.scalars(sa.insert(scratch).returning(scratch.c.id, sort_by_parameter_order=True), rows).all()
        equal(got, list(range(2500)))
        connection.rollback()
    made.dispose()


@check
def error_then_usable():
    made = engine(pool_size=1)
    for _ in range(2):
        with made.connect() as connection:
            try:
                connection.execute(sa.text("SELECT 1 / :zero"), {"zero": 0})
            except sa.exc.DBAPIError:
                connection.rollback()
            equal(connection.scalar(sa.text("SELECT 1")), 1)
    made.dispose()


@check
def settings_apart():
    a, b = engine(SINGLE_URL, pool_size=1), engine(SINGLE_URL, pool_size=1)
    with a.connect() as one, b.connect() as two:
        for connection, schema in ((one, "tenant_a"), (two, "tenant_b")):
            connection.execute(sa.text(f"SET search_path = {schema}"))
            connection.commit()
        for _ in range(6):
            for connection, owner in ((one, "a"), (two, "b")):
                equal(connection.scalar(sa.text("SELECT owner FROM secrets")), owner)
                connection.commit()
    a.dispose()
    b.dispose()


@check
def isolation_levels():
    made = engine()
    with made.connect().execution_options(isolation_level="SERIALIZABLE") as connection:
        equal(connection.scalar(sa.text("SHOW transaction_isolation")), "serializable")
    with made.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        equal(connection.scalar(sa.text("SHOW transaction_isolation")), "read committed")
    made.dispose()


@check
async def asyncpg_types_round_trip():
    made = async_engine()
    async with made.begin() as connection:
        number = await connection.scalar(sa.insert(types).values(VALUES).returning(types.c.id))
        row = (await connection.execute(sa.select(types).where(types.c.id == number))).mappings().one()
        equal({name: row[name] for name in VALUES}, VALUES)
    await made.dispose()


@check
async def asyncpg_many_sessions():
    made = async_engine(pool_size=12)

    async def one(number):
        for turn in range(4):
            async with AsyncSession(made) as session:
                author = await session.get(Author, 1 + number % 3)
                title = await session.scalar(sa.select(Book.title).where(Book.id == 4))
                equal((author.id, title), (1 + number % 3, "Small Gods"))

    await asyncio.gather(*(one(number) for number in range(12)))
    await made.dispose()


@check
async def asyncpg_stream():
    made = async_engine()
    async with made.connect() as connection:
        result = await connection.stream(sa.text("SELECT n FROM generate_series(1, 1000) AS n"))
        equal([row.n async for row in result], list(range(1, 1001)))
    await made.dispose()


@annotated
def include_by_prefix():
    made = engine()
    statement = (
        sa.select(Author.id, Author.name, sa.literal_column("1").label("one"))
        .prefix_with("/* @include(books(order: id)) */")
        .where(Author.id == 2)
    )
    with made.connect() as connection:
        row = connection.execute(statement).one()
        equal([book["title"] for book in row.books], ["Small Gods", "Mort"])
        equal(row.one, 1)
    made.dispose()


@annotated
def include_by_event_into_the_orm():
    made = engine()
    statement = sa.text("SELECT id, name, email FROM authors WHERE id = :id").columns(
        Author.id, Author.name, Author.email, sa.column("books", JSON)
    )
    with Session(made) as session:
        row = session.execute(statement, {"id": 2}, execution_options={"annotation": "@include(books)"}).one()
        equal(sorted(book["title"] for book in row.books), ["Mort", "Small Gods"])
    made.dispose()


@annotated
def upsert_by_prefix():
    made = engine()
    statement = sa.insert(Author).prefix_with("/* @upsert(email) */").returning(Author.id)
    with made.connect() as connection:
        ids = [
            connection.scalar(statement, {"name": name, "email": "sqlalchemy@example.org"})
            for name in ("First", "Second")
        ]
        equal(ids[0], ids[1], "id of the same row")
        equal(connection.scalar(sa.select(Author.name).where(Author.id == ids[0])), "Second")
        connection.rollback()
    made.dispose()


@annotated
async def asyncpg_include_and_upsert():
    made = async_engine()
    async with made.connect() as connection:
        statement = sa.select(Author.id, Author.name).prefix_with("/* @include(books) */").where(Author.id == 2)
        row = (await connection.execute(statement)).one()
        books = row.books
        if isinstance(books, str):
            books = json.loads(books)
        equal(sorted(book["title"] for book in books), ["Mort", "Small Gods"])
        statement = sa.insert(Author).prefix_with("/* @upsert(email) */").returning(Author.id)
        ids = [
            await connection.scalar(statement, {"name": name, "email": "sqlalchemy-async@example.org"})
            for name in ("First", "Second")
        ]
        equal(ids[0], ids[1], "id of the same row")
        await connection.rollback()
    await made.dispose()


if __name__ == "__main__":
    main()
