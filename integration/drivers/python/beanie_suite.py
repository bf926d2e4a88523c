"""Beanie, an ODM over PyMongo's async client, against the MongoDB port."""

import asyncio
import datetime
from decimal import Decimal

import pymongo
from beanie import DecimalAnnotation, Document, Indexed, Link, WriteRules, init_beanie
from beanie.operators import In, Set
from pymongo.errors import DuplicateKeyError

from checks import URL, check, equal, main


class Publisher(Document):
    name: str


class Book(Document):
    title: Indexed(str, unique=True)
    price: DecimalAnnotation = Decimal("1.10")
    published: datetime.date = datetime.date(1987, 11, 12)
    tags: list[str] = []
    publisher: Link[Publisher] | None = None

    class Settings:
        use_revision = False


async def started():
    client = pymongo.AsyncMongoClient(URL, serverSelectionTimeoutMS=10000)
    await client.drop_database("beanie")
    await init_beanie(database=client["beanie"], document_models=[Publisher, Book])
    return client


@check
async def indexes_at_start():
    async with await started():
        names = await Book.get_pymongo_collection().index_information()
        equal(sorted(names), ["_id_", "title_1"])


@check
async def documents_and_changes():
    async with await started():
        book = Book(title="Mort", tags=["death"])
        await book.insert()
        found = await Book.get(book.id)
        equal((found.title, found.price, found.published), ("Mort", Decimal("1.10"), book.published))
        await found.set({Book.price: Decimal("2.20")})
        await Book.find_one(Book.title == "Mort").update(Set({Book.tags: ["a", "b"]}))
        again = await Book.find_one(Book.title == "Mort")
        equal((again.price, again.tags), (Decimal("2.20"), ["a", "b"]))
        again.title = "Eric"
        await again.replace()
        equal(await Book.find(Book.title == "Eric").count(), 1)
        await again.delete()
        equal(await Book.count(), 0)


@check
async def many_and_queries():
    async with await started():
        await Book.insert_many([Book(title=f"{number:03}") for number in range(300)])
        page = await Book.find().sort("-title").skip(10).limit(2).to_list()
        equal([book.title for book in page], ["289", "288"])
        equal(await Book.find(In(Book.title, ["001", "002", "x"])).count(), 2)
        found = [book.title async for book in Book.find_all(batch_size=20)]
        equal(len(found), 300)
        sums = await Book.aggregate([{"$group": {"_id": None, "n": {"$sum": 1}}}]).to_list()
        equal(sums, [{"_id": None, "n": 300}])


@check
async def duplicate_key():
    async with await started():
        await Book(title="Mort").insert()
        try:
            await Book(title="Mort").insert()
        except DuplicateKeyError as error:
            equal(error.code, 11000)
        else:
            raise AssertionError("a duplicate was inserted")


@check
async def links():
    async with await started():
        book = Book(title="Mort", publisher=Publisher(name="Gollancz"))
        await book.save(link_rule=WriteRules.WRITE)
        fetched = await Book.find_one(Book.title == "Mort", fetch_links=True)
        equal(fetched.publisher.name, "Gollancz")
        bare = await Book.find_one(Book.title == "Mort")
        await bare.fetch_link(Book.publisher)
        equal(bare.publisher.name, "Gollancz")


@check
async def upsert():
    async with await started():
        for number in range(2):
            await Book.find_one(Book.title == "Mort").upsert(
                Set({Book.tags: [str(number)]}), on_insert=Book(title="Mort")
            )
        equal((await Book.find_one()).tags, ["1"])


@check
async def transaction():
    async with await started() as client:
        async with client.start_session() as session:
            async with await session.start_transaction():
                await Book(title="kept").insert(session=session)
            await session.start_transaction()
            await Book(title="undone").insert(session=session)
            await session.abort_transaction()
        equal([book.title for book in await Book.find_all().to_list()], ["kept"])


@check
async def concurrent_tasks():
    async with await started():
        await Publisher(name="counter").insert()
        await asyncio.gather(*(Book(title=str(number)).insert() for number in range(50)))
        equal(await Book.count(), 50)


if __name__ == "__main__":
    main()
