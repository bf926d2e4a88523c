"""PyMongo against the MongoDB port: sync and async."""

import os
import threading

from pymongo.errors import OperationFailure

# Their checks come first.
import pymongo_documents  # noqa: F401
import pymongo_sessions  # noqa: F401
from checks import CA, URL, annotated, check, equal, main, with_password
from pymongo_shared import DATABASE, connect, fresh, refused



@check
def connect_scram_tls():
    with connect(authMechanism="SCRAM-SHA-256") as client:
        equal(client.admin.command("ping")["ok"], 1.0)
        users = client.admin.command("connectionStatus")["authInfo"]["authenticatedUsers"]
        equal([user["user"] for user in users], ["app"])


@check
def connect_scram_sha_1():
    with connect(authMechanism="SCRAM-SHA-1") as client:
        equal(client.admin.command("ping")["ok"], 1.0)


@check
def wrong_password_refused():
    for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-1"):
        with connect(with_password(URL, "not-it"), authMechanism=mechanism) as client:
            refused(18, client.admin.command, "ping")


@check
def no_login_no_answer():
    port = URL.rsplit(":", 1)[1].split("/")[0]
    with connect(f"mongodb://localhost:{port}/?tls=true&tlsCAFile={CA}") as client:
        client.admin.command("hello")
        refused(13, client[DATABASE].books.find_one)


@check
def who_is_there():
    with connect() as client:
        hello = client.admin.command("hello")
        equal((hello["isWritablePrimary"], hello["msg"]), (True, "isdbgrid"))
        assert hello["maxWireVersion"] >= 9, hello
        assert "setName" not in hello and "hosts" not in hello, hello
        assert client.server_info()["version"]
        for command in ("hostInfo", "serverStatus", "getCmdLineOpts", "whatsmyuri", "buildInfo"):
            equal(client.admin.command(command)["ok"], 1.0, command)
        refused(59, client.admin.command, "noSuchCommand")


@check
def compression():
    for name in ("snappy", "zlib", "zstd"):
        with connect(compressors=name) as client:
            packed = fresh(client, "packed")
            texts = ["a" * 100_000, os.urandom(50_000).hex(), ""]
            packed.insert_many([{"_id": n, "text": text} for n, text in enumerate(texts)])
            equal([each["text"] for each in packed.find().sort("_id", 1)], texts, name)
            agreed = client.admin.command("hello", compression=[name])["compression"]
            equal(agreed, [name])


@check
def max_time():
    with connect() as client:
        slow = client[DATABASE].many
        crossed = [{"$lookup": {"from": "many", "pipeline": [], "as": "all"}}, {"$unwind": "$all"}]
        stages = crossed + [{"$group": {"_id": None, "n": {"$sum": {"$add": ["$_id", "$all._id"]}}}}]
        refused(50, lambda: list(slow.aggregate(stages, maxTimeMS=20)))
        equal(slow.find_one({"_id": 1}, max_time_ms=5000), {"_id": 1})


@check
def more_clients_than_connections():
    def work():
        with connect(maxPoolSize=4) as client:
            for _ in range(20):
                equal(client[DATABASE].many.find_one({"_id": 7}), {"_id": 7})

    failures = []

    def guarded():
        try:
            work()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    equal(failures, [])


@check
def plain_comments_pass():
    with connect() as client:
        many = client[DATABASE].many
        equal(many.find_one({"_id": 1}, comment="by hand"), {"_id": 1})
        equal(many.find_one({"_id": 1}, comment={"a": 1}), {"_id": 1})
        equal(len(list(many.aggregate([{"$limit": 2}], comment="x"))), 2)


def library(client):
    """Authors and their books, as the settings relate them."""
    database = client["library"]
    database.authors.drop()
    database.books.drop()
    database.authors.insert_many([{"_id": 1, "name": "Terry"}, {"_id": 2, "name": "Nobody"}])
    titles = ["Mort", "Small Gods", "Eric"]
    books = [{"_id": n, "title": title, "author_id": 1} for n, title in enumerate(titles)]
    database.books.insert_many(books)
    return database


@annotated
def include_to_many():
    with connect() as client:
        database = library(client)
        found = list(database.authors.find(comment="@include(books(order: title))").sort("_id", 1))
        titles = [[book["title"] for book in each["books"]] for each in found]
        equal(titles, [["Eric", "Mort", "Small Gods"], []])


@annotated
def include_to_one():
    with connect() as client:
        database = library(client)
        found = database.books.find_one({"_id": 0}, comment="@include(author)")
        equal(found["author"], {"_id": 1, "name": "Terry"})
        found = list(database.books.aggregate([{"$sort": {"_id": 1}}], comment="@include(author)"))
        equal([each["author"]["name"] for each in found], ["Terry"] * 3)


@annotated
def include_of_nothing_known():
    with connect() as client:
        database = library(client)
        try:
            database.authors.find_one(comment="@include(boks)")
        except OperationFailure as error:
            assert "books" in str(error), error
        else:
            raise AssertionError("an unknown relation was included")


@annotated
def upsert():
    with connect() as client:
        people = fresh(client, "upserted")
        people.create_index("email", unique=True)
        people.insert_one({"email": "a@b.c", "n": 1}, comment="@upsert(email)")
        people.insert_many(
            [{"email": "a@b.c", "n": 2}, {"email": "d@e.f", "n": 3}], comment="@upsert(email)"
        )
        found = {each["email"]: each["n"] for each in people.find()}
        equal(found, {"a@b.c": 2, "d@e.f": 3})


if __name__ == "__main__":
    main()
