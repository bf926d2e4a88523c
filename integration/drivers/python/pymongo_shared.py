"""What PyMongo's checks share: clients, empty collections, expected errors."""

import os

import pymongo
from pymongo.errors import OperationFailure

from checks import URL, equal

OTHER_URL = os.environ["TWINPORT_TEST_OTHER_URL"]
DATABASE = "pymongo"


def connect(url=URL, **options):
    options.setdefault("serverSelectionTimeoutMS", 10000)
    return pymongo.MongoClient(url, **options)


def fresh(client, name):
    """An empty collection of that name."""
    collection = client[DATABASE][name]
    collection.drop()
    return collection


def refused(code, function, *arguments, error=OperationFailure, **options):
    """Expects a server error with this code; gives the error."""
    try:
        function(*arguments, **options)
    except error as raised:
        equal(raised.code, code, f"code of {raised}")
        return raised
    raise AssertionError(f"expected an error with code {code}")
