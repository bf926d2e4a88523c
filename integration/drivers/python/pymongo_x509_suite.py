"""PyMongo against a MongoDB port that lets nobody in but by certificate."""

import os
from urllib.parse import quote

from pymongo.errors import ServerSelectionTimeoutError

from checks import URL, check, equal, main
from pymongo_shared import DATABASE, connect, fresh, refused

OWN = os.environ["TWINPORT_TEST_CERTIFICATE"]
MAPPED = os.environ["TWINPORT_TEST_MAPPED_CERTIFICATE"]
FOREIGN = os.environ["TWINPORT_TEST_FOREIGN_CERTIFICATE"]


def log_in(certificate=None, user=None, **options):
    """A client that logs in by X.509."""
    url = URL.replace("mongodb://", f"mongodb://{quote(user)}@") if user else URL
    if certificate:
        options["tlsCertificateKeyFile"] = certificate
    return connect(url, authMechanism="MONGODB-X509", **options)


def who(client):
    users = client.admin.command("connectionStatus")["authInfo"]["authenticatedUsers"]
    return [user["user"] for user in users]


@check
def certificate_logs_in():
    with log_in(OWN) as client:
        equal(who(client), ["app"])
        books = fresh(client, "books")
        books.insert_many([{"_id": n} for n in range(250)])
        equal([book["_id"] for book in books.find(batch_size=100).sort("_id", 1)], list(range(250)))
        with client.start_session() as session, session.start_transaction():
            books.insert_one({"_id": 250}, session=session)
        equal(books.count_documents({}), 251)


@check
def subject_names_the_user():
    for subject in ("CN=app", "CN=app,OU=shop,O=Library"):
        with log_in(OWN, subject) as client:
            equal(who(client), ["app"], subject)


@check
def mapped_certificate_logs_in():
    for user in ("app", None):
        with log_in(MAPPED, user) as client:
            equal(who(client), ["app"])
            client[DATABASE].books.find_one()


@check
def another_user_refused():
    for certificate, user in ((OWN, "other"), (OWN, "CN=other"), (MAPPED, "other")):
        with log_in(certificate, user) as client:
            refused(18, client.admin.command, "ping")


@check
def missing_certificate_refused():
    for user in (None, "app"):
        with log_in(user=user) as client:
            refused(18, client.admin.command, "ping")


@check
def foreign_certificate_refused():
    with log_in(FOREIGN, serverSelectionTimeoutMS=2000) as client:
        try:
            client.admin.command("ping")
        except ServerSelectionTimeoutError:
            return
        raise AssertionError("another authority's certificate was taken")


@check
def certificate_alone_is_no_login():
    with connect(URL, tlsCertificateKeyFile=OWN) as client:
        refused(13, client[DATABASE].books.find_one)


@check
def password_refused():
    url = URL.replace("mongodb://", "mongodb://app:app-secret@")
    for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-1"):
        with connect(url, tlsCertificateKeyFile=OWN, authMechanism=mechanism) as client:
            refused(18, client.admin.command, "ping")


if __name__ == "__main__":
    main()
