"""PyMongo where the first answer to every retryable write is lost: each write is applied once."""

import pymongo
from pymongo import DeleteOne, InsertOne, UpdateOne

from checks import URL, check, equal, main

ADD = {"$inc": {"n": 1}}

client = pymongo.MongoClient(URL, serverSelectionTimeoutMS=20000)


def fresh(name, count=0):
    """A collection with so many documents."""
    collection = client.retries[name]
    collection.drop()
    if count:
        collection.insert_many([{"_id": number, "n": 0} for number in range(count)])
    return collection


def values(collection):
    """What every document counts, by `_id`."""
    return {found["_id"]: found["n"] for found in collection.find()}


@check
def insert_one():
    collection = fresh("insert_one")
    equal(collection.insert_one({"_id": 1, "n": 0}).inserted_id, 1)
    equal(values(collection), {1: 0})


@check
def insert_many():
    collection = fresh("insert_many")
    collection.insert_many([{"n": number} for number in range(1000)])
    equal(collection.count_documents({}), 1000)
    collection.insert_many([{"n": number} for number in range(1000)], ordered=False)
    equal(collection.count_documents({}), 2000)


@check
def update_one():
    collection = fresh("update_one", 1)
    result = collection.update_one({"_id": 0}, ADD)
    equal((result.matched_count, result.modified_count), (1, 1))
    result = collection.update_one({"_id": 7}, ADD, upsert=True)
    equal(result.upserted_id, 7)
    equal(values(collection), {0: 1, 7: 1})


@check
def replace_one():
    collection = fresh("replace_one", 1)
    result = collection.replace_one({"_id": 0}, {"n": 5})
    equal((result.matched_count, result.modified_count), (1, 1))
    equal(values(collection), {0: 5})


@check
def delete_one():
    collection = fresh("delete_one", 3)
    equal(collection.delete_one({"n": 0}).deleted_count, 1)
    equal(collection.count_documents({}), 2)


@check
def find_one_and_update():
    collection = fresh("find_one_and_update", 1)
    for expected in range(3):
        equal(collection.find_one_and_update({"_id": 0}, ADD), {"_id": 0, "n": expected})


@check
def find_one_and_delete():
    collection = fresh("find_one_and_delete", 3)
    found = collection.find_one_and_delete({"n": 0}, sort=[("_id", 1)])
    equal(found, {"_id": 0, "n": 0})
    equal(values(collection), {1: 0, 2: 0})


@check
def bulk_write():
    collection = fresh("bulk_write", 3)
    result = collection.bulk_write(
        [
            InsertOne({"_id": 3, "n": 0}),
            UpdateOne({"_id": 0}, ADD),
            UpdateOne({"_id": 0}, ADD),
            UpdateOne({"_id": 1}, ADD),
            DeleteOne({"n": 0}),
        ]
    )
    equal((result.inserted_count, result.modified_count, result.deleted_count), (1, 3, 1))
    equal(collection.count_documents({}), 3)
    equal({at: values(collection)[at] for at in (0, 1)}, {0: 2, 1: 1})


@check
def upsert_directive():
    collection = fresh("upsert_directive", 1)
    documents = [{"_id": 0, "n": 5}, {"_id": 1, "n": 6}]
    collection.insert_many(documents, comment="@upsert(_id)")
    equal(values(collection), {0: 5, 1: 6})


main()
