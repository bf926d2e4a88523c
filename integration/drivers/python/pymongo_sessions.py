"""PyMongo's sessions, transactions, retried writes, and what its async client does."""

import asyncio
import threading

import pymongo
from bson import Int64
from pymongo.errors import DuplicateKeyError, OperationFailure
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from checks import URL, check, equal
from pymongo_shared import DATABASE, OTHER_URL, connect, fresh



@check
def transaction_commit():
    with connect() as client, client.start_session() as session:
        accounts = fresh(client, "accounts")
        accounts.insert_many([{"_id": 1, "sum": 10}, {"_id": 2, "sum": 0}])
        options = {"read_concern": ReadConcern("snapshot"), "write_concern": WriteConcern("majority")}
        with session.start_transaction(**options):
            accounts.update_one({"_id": 1}, {"$inc": {"sum": -4}}, session=session)
            accounts.update_one({"_id": 2}, {"$inc": {"sum": 4}}, session=session)
            equal(accounts.find_one({"_id": 2}, session=session)["sum"], 4)
            equal(accounts.find_one({"_id": 2})["sum"], 0, "seen from outside")
        equal(accounts.find_one({"_id": 2})["sum"], 4)
        session.commit_transaction()

        def move(session):
            accounts.insert_one({"_id": 3}, session=session)
            return "moved"

        equal(session.with_transaction(move), "moved")
        equal(accounts.count_documents({}), 3)


@check
def transaction_abort():
    with connect() as client, client.start_session() as session:
        accounts = fresh(client, "accounts")
        accounts.insert_one({"_id": 1})
        session.start_transaction()
        accounts.insert_one({"_id": 2}, session=session)
        session.abort_transaction()
        equal(accounts.count_documents({}), 1)
        try:
            with session.start_transaction():
                accounts.insert_one({"_id": 3}, session=session)
                accounts.insert_one({"_id": 1}, session=session)
        except DuplicateKeyError:
            pass
        else:
            raise AssertionError("a duplicate was inserted")
        equal(accounts.count_documents({}), 1)
        with session.start_transaction():
            accounts.insert_one({"_id": 4}, session=session)
        equal(accounts.count_documents({}), 2)


@check
def transaction_cursor():
    with connect() as client, client.start_session() as session:
        many = client[DATABASE].many
        with session.start_transaction():
            found = [each["_id"] for each in many.find(session=session, batch_size=100).sort("_id", 1)]
        equal(found, list(range(1000)))


@check
def transaction_left_open():
    client = connect()
    accounts = fresh(client, "left")
    accounts.insert_one({"_id": 1})
    session = client.start_session()
    session.start_transaction()
    accounts.update_one({"_id": 1}, {"$set": {"x": 1}}, session=session)
    session.end_session()
    equal(accounts.update_one({"_id": 1}, {"$set": {"y": 1}}).modified_count, 1)
    equal(accounts.find_one(), {"_id": 1, "y": 1})
    client.close()


@check
def transaction_conflict():
    with connect() as client, client.start_session() as one, client.start_session() as two:
        accounts = fresh(client, "conflict")
        accounts.insert_one({"_id": 1, "n": 0})

        def add(session):
            value = accounts.find_one({"_id": 1}, session=session)["n"]
            accounts.update_one({"_id": 1}, {"$set": {"n": value + 1}}, session=session)

        def work(session):
            for _ in range(5):
                session.with_transaction(add, read_concern=ReadConcern("snapshot"))

        threads = [threading.Thread(target=work, args=(session,)) for session in (one, two)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(50)
        equal(accounts.find_one()["n"], 10)


@check
def sessions():
    with connect() as client:
        many = client[DATABASE].many
        with client.start_session(causal_consistency=True) as session:
            equal(many.find_one({"_id": 5}, session=session), {"_id": 5})
            equal(many.count_documents({"_id": {"$lt": 3}}, session=session), 3)
            key = session.session_id
        equal(client.admin.command("endSessions", [key])["ok"], 1.0)
        key = client.admin.command("startSession")["id"]
        equal(client.admin.command("refreshSessions", [key])["ok"], 1.0)
        equal(client.admin.command("killSessions", [key])["ok"], 1.0)


@check
def retried_write_is_applied_once():
    # The driver numbers the writes of a session itself, so the repeated ones get a client of their own.
    with connect() as client, connect() as repeater, repeater.start_session() as session:
        retried = fresh(client, "retried")
        retried.insert_one({"_id": 1, "n": 0})
        database = repeater[DATABASE]

        def again(number, name, **options):
            return database.command(name, "retried", session=session, txnNumber=Int64(number), **options)

        updates = [{"q": {"_id": 1}, "u": {"$inc": {"n": 1}}}]
        first = again(1, "update", updates=updates)
        equal((first["n"], first["nModified"]), (1, 1))
        second = again(1, "update", updates=updates)
        equal((second["n"], second["nModified"]), (1, 1))
        equal(retried.find_one()["n"], 1)
        for _ in range(2):
            equal(again(2, "insert", documents=[{"_id": 2}])["n"], 1)
        for _ in range(2):
            equal(again(3, "delete", deletes=[{"q": {"_id": 2}, "limit": 1}])["n"], 1)
        for _ in range(2):
            answer = again(4, "findAndModify", query={"_id": 1}, update={"$inc": {"n": 1}}, new=True)
            equal(answer["value"]["n"], 2)
        again(5, "update", updates=updates)
        equal(retried.find_one()["n"], 3)


@check
def unacknowledged_writes():
    with connect(maxPoolSize=1) as client:
        quiet = fresh(client, "quiet")
        silent = quiet.with_options(write_concern=WriteConcern(w=0))
        for number in range(20):
            silent.insert_one({"_id": number})
        silent.insert_one({"_id": 1})
        equal(quiet.count_documents({}), 20)


@check
def two_users_kept_apart():
    with connect() as ours, connect(OTHER_URL) as theirs:
        users = theirs.admin.command("connectionStatus")["authInfo"]["authenticatedUsers"]
        equal([user["user"] for user in users], ["other"])
        many = ours[DATABASE].many
        cursor = many.find(batch_size=10).sort("_id", 1)
        next(cursor)
        try:
            theirs[DATABASE].command("getMore", Int64(cursor.cursor_id), collection="many")
        except OperationFailure as error:
            assert error.code in (13, 43), error
        else:
            raise AssertionError("a cursor answered another user")
        theirs[DATABASE].command("killCursors", "many", cursors=[cursor.cursor_id])
        equal(sum(1 for _ in cursor), 999, "rest of a cursor that another user tried to kill")
        with ours.start_session() as session, theirs.start_session() as stolen:
            session.start_transaction()
            ours[DATABASE].apart.insert_one({"n": 1}, session=session)
            # The driver puts the lsid into every command by itself.
            own, stolen._server_session = stolen._server_session, session._server_session
            equal(stolen.session_id, session.session_id)
            inside = {"txnNumber": Int64(session._transaction_id), "autocommit": False}
            try:
                theirs[DATABASE].command({"find": "apart", **inside}, session=stolen)
            except OperationFailure as error:
                assert error.code in (13, 251), error
            else:
                raise AssertionError("a transaction answered another user")
            finally:
                stolen._server_session = own
                session.abort_transaction()
        ours[DATABASE].apart.drop()


@check
async def async_queries():
    async with pymongo.AsyncMongoClient(URL) as client:
        collection = client[DATABASE]["async"]
        await collection.drop()
        await collection.insert_many([{"_id": n} for n in range(500)])

        async def count():
            return len([each async for each in collection.find(batch_size=50)])

        equal(await asyncio.gather(*(count() for _ in range(10))), [500] * 10)


@check
async def async_transaction():
    async with pymongo.AsyncMongoClient(URL) as client:
        collection = client[DATABASE]["async_txn"]
        await collection.drop()
        await collection.insert_one({"_id": 0})
        async with client.start_session() as session:
            async with await session.start_transaction():
                await collection.insert_one({"_id": 1}, session=session)
            await session.start_transaction()
            await collection.insert_one({"_id": 2}, session=session)
            await session.abort_transaction()
        equal(await collection.count_documents({}), 2)
