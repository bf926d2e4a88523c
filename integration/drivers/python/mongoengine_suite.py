"""MongoEngine, a synchronous ODM over PyMongo, against the MongoDB port."""

import datetime
from decimal import Decimal

import mongoengine
from mongoengine import (
    CASCADE,
    BinaryField,
    DateTimeField,
    Decimal128Field,
    DictField,
    Document,
    EmbeddedDocument,
    EmbeddedDocumentField,
    EmbeddedDocumentListField,
    FileField,
    FloatField,
    GeoPointField,
    IntField,
    ListField,
    LongField,
    ReferenceField,
    SequenceField,
    StringField,
    UUIDField,
)
from mongoengine.errors import NotUniqueError, ValidationError
from mongoengine.queryset.visitor import Q
from pymongo.errors import OperationFailure

from checks import URL, annotated, check, equal, main


class Address(EmbeddedDocument):
    city = StringField()
    street = StringField()


class Publisher(Document):
    name = StringField(required=True, unique=True)
    address = EmbeddedDocumentField(Address)


class Title(Document):
    name = StringField(required=True, max_length=50)
    price = Decimal128Field(default=Decimal("1.10"))
    year = IntField()
    tags = ListField(StringField())
    publisher = ReferenceField(Publisher, reverse_delete_rule=CASCADE)
    meta = {
        "indexes": ["-year", {"fields": ["publisher", "name"], "unique": True, "sparse": True}],
        "ordering": ["name"],
    }


class Kinds(Document):
    number = SequenceField(primary_key=True)
    text = StringField()
    large = LongField()
    real = FloatField()
    at = DateTimeField()
    bytes = BinaryField()
    uuid = UUIDField()
    place = GeoPointField()
    any = DictField()
    absent = StringField()


class Stored(Document):
    content = FileField()


class Seen(EmbeddedDocument):
    """A document that `@include` brought."""

    id = IntField(db_field="_id")
    title = StringField()
    name = StringField()
    author_id = IntField()


class Author(Document):
    id = IntField(primary_key=True)
    name = StringField()
    books = EmbeddedDocumentListField(Seen)
    meta = {"collection": "authors"}


class Book(Document):
    id = IntField(primary_key=True)
    title = StringField(unique=True)
    author_id = IntField()
    author = EmbeddedDocumentField(Seen)
    meta = {"collection": "books"}


def fresh():
    """Empty collections, with their indexes."""
    for model in (Publisher, Title, Kinds, Stored, Author, Book):
        model.drop_collection()
        model.ensure_indexes()
    Kinds.number.set_next_value(0)


def published():
    """A publisher with three titles."""
    fresh()
    publisher = Publisher(name="Gollancz", address=Address(city="London")).save()
    for name, year in (("Mort", 1987), ("Eric", 1990), ("Sourcery", 1988)):
        Title(name=name, year=year, tags=[name[0], "fantasy"], publisher=publisher).save()
    return publisher


@check
def indexes_at_start():
    fresh()
    names = Title._get_collection().index_information()
    equal(sorted(names), ["_id_", "publisher_1_name_1", "year_-1"])
    equal(Title.compare_indexes(), {"missing": [], "extra": []})


def how_many(kind):
    """By a condition: without one FerretDB goes by what the last ANALYZE has seen."""
    return kind.objects(pk__ne=None).count()


@check
def documents_and_changes():
    publisher = published()
    title = Title.objects.get(name="Mort")
    equal((title.price, title.publisher), (Decimal("1.10"), publisher))
    title.price = Decimal("2.20")
    title.tags.append("death")
    title.save()
    title.reload()
    equal((title.price, title.tags), (Decimal("2.20"), ["M", "fantasy", "death"]))
    equal(Title.objects(name="Mort").update_one(inc__year=1, pull__tags="M"), 1)
    equal(title.modify(set__name="Death's Apprentice"), True)
    equal((title.year, title.tags), (1988, ["fantasy", "death"]))
    publisher.update(address__street="Orion House")
    publisher.reload()
    equal((publisher.address.city, publisher.address.street), ("London", "Orion House"))
    title.delete()
    equal(how_many(Title), 2)
    equal(Title.objects(year__gte=1990).delete(), 1)


@check
def types_round_trip():
    fresh()
    sent = {
        "text": "grün \U0001f418",
        "large": 2**62,
        "real": 0.1,
        "at": datetime.datetime(2024, 2, 29, 23, 59, 59, 123000),
        "bytes": b"\x00\xff",
        "uuid": "00000000-0000-0000-0000-00000000002a",
        "place": [1.5, -2.5],
        "any": {"a": {"b": [1, None, True]}},
    }
    equal([Kinds(**sent).save().number for _ in range(2)], [1, 2])
    found = Kinds.objects.get(number=2)
    for name, value in sent.items():
        got = getattr(found, name)
        equal(str(got) if name == "uuid" else got, value, name)
    equal(found.absent, None)


@check
def queries():
    published()
    equal([each.name for each in Title.objects], ["Eric", "Mort", "Sourcery"])
    page = Title.objects.order_by("-year").skip(1).limit(1).only("name")
    equal([(each.name, each.year) for each in page], [("Sourcery", None)])
    either = Title.objects(Q(name__istartswith="mo") | Q(year__gt=1989, tags="fantasy"))
    equal(sorted(either.distinct("name")), ["Eric", "Mort"])
    equal(Title.objects(tags__in=["M", "E"]).count(), 2)
    equal(Title.objects.sum("year"), 5965)
    equal(Title.objects(name="none").first(), None)
    equal(Title.objects(name="Mort").explain()["ok"], 1.0)


@check
def cursor_over_batches():
    fresh()
    Title.objects.insert([Title(name=f"{number:03}", year=number) for number in range(300)])
    equal([each.year for each in Title.objects.batch_size(20)], list(range(300)))
    equal([each["year"] for each in Title.objects.as_pymongo().no_cache().batch_size(7)], list(range(300)))


@check
def aggregation():
    published()
    stages = [{"$group": {"_id": "$publisher", "least": {"$min": "$year"}, "n": {"$sum": 1}}}]
    found = list(Title.objects(year__lt=1990).aggregate(stages))
    equal([(each["least"], each["n"]) for each in found], [(1987, 2)])


@check
def references():
    publisher = published()
    equal({each.publisher.name for each in Title.objects.select_related()}, {"Gollancz"})
    equal(Title.objects(publisher=publisher).count(), 3)
    equal({key: each.name for key, each in Publisher.objects.in_bulk([publisher.id]).items()}, {publisher.id: "Gollancz"})
    publisher.delete()
    equal(how_many(Title), 0, "titles of a publisher that is gone")


@check
def duplicates_and_validation():
    published()
    try:
        Publisher(name="Gollancz").save()
    except NotUniqueError:
        pass
    else:
        raise AssertionError("a duplicate was saved")
    try:
        Title(name="x" * 51).save()
    except ValidationError:
        pass
    else:
        raise AssertionError("an invalid document was saved")
    equal((how_many(Publisher), how_many(Title)), (1, 3))


@check
def upserts():
    fresh()
    for number in range(2):
        Publisher.objects(name="Corgi").update_one(set__address=Address(city=str(number)), upsert=True)
    found = Publisher.objects(name="Doubleday").modify(
        upsert=True, new=True, set_on_insert__address=Address(city="New York")
    )
    equal(found.address.city, "New York")
    equal([each.address.city for each in Publisher.objects.order_by("name")], ["1", "New York"])


@check
def files():
    fresh()
    content = bytes(range(256)) * 2000
    stored = Stored()
    stored.content.put(content, content_type="application/octet-stream")
    stored.save()
    found = Stored.objects.first()
    equal((found.content.read(), found.content.content_type), (content, "application/octet-stream"))
    found.content.delete()
    found.save()
    equal(Stored.objects.first().content.read(), None)


@check
def plain_comments_pass():
    published()
    equal(Title.objects(year=1987).comment("for the list").first().name, "Mort")


def library():
    """Authors and their books, as the settings relate them."""
    fresh()
    Author._get_collection().insert_many([{"_id": 1, "name": "Terry"}, {"_id": 2, "name": "Nobody"}])
    titles = ["Mort", "Small Gods", "Eric"]
    Book.objects.insert([Book(id=n, title=title, author_id=1) for n, title in enumerate(titles)])


@annotated
def include():
    library()
    found = Author.objects.order_by("id").comment("@include(books(order: title))")
    equal([[book.title for book in each.books] for each in found], [["Eric", "Mort", "Small Gods"], []])
    book = Book.objects(title="Mort").comment("@include(author)").first()
    equal((book.author.id, book.author.name), (1, "Terry"))
    some = Book.objects.order_by("id").batch_size(1).comment("@include(author)")
    equal([each.author.name for each in some], ["Terry"] * 3)
    stages = [{"$match": {"title": "Eric"}}]
    equal([each["author"]["name"] for each in Book.objects.aggregate(stages, comment="@include(author)")], ["Terry"])


@annotated
def include_of_nothing_known():
    library()
    try:
        list(Author.objects.comment("@include(boks)"))
    except (OperationFailure, mongoengine.errors.OperationError) as error:
        assert "books" in str(error), error
    else:
        raise AssertionError("an unknown relation was included")


@annotated
def upsert():
    # Its own inserts take no comment; those of the collection below do.
    library()
    books = [Book(id=0, title="Mort", author_id=2), Book(id=7, title="Faust", author_id=2)]
    Book._get_collection().insert_many([book.to_mongo() for book in books], comment="@upsert(_id)")
    found = {each.title: each.author_id for each in Book.objects}
    equal(found, {"Mort": 2, "Small Gods": 1, "Eric": 1, "Faust": 2})


if __name__ == "__main__":
    mongoengine.connect("mongoengine", host=URL, serverSelectionTimeoutMS=10000, uuidRepresentation="standard")
    main()
