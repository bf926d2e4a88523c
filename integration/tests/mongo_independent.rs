//! The drivers' suites through the port that forwards, to servers that others wrote. What these can't do by
//! themselves is listed with the reason; everything else must pass.

#[path = "mongo_drivers/rust.rs"]
#[allow(dead_code, reason = "the tests of the port use the rest")]
mod rust_suite;

use anyhow::Result;
use futures_util::TryStreamExt as _;
use mongodb::bson::{Document, doc};
use mongodb::options::IndexOptions;
use mongodb::{Client, Collection, IndexModel};
use twinport_integration::Lacking::{Fails, Hangs};
use twinport_integration::mongo::{Independent, MongoPort, MongoWorld, drivers};
use twinport_integration::{Lacking, PASSWORD, Suite, USER};

/// Fewer connections than the suites have clients.
const POOL: usize = 4;

/// The mappers' check of transactions, where there are none.
const MAPPERS_LACK: &[Lacking] = &[Fails("transactions", NO_TRANSACTIONS)];
const NO_TRANSACTIONS: &str =
    "FerretDB has no transactions: it carries their commands out one by one";
const APPLIED_TWICE: &str = "FerretDB keeps no record of writes by their number";
const OTHER_WORDS: &str = "FerretDB has another text for duplicate keys, without E11000";

async fn ferretdb(suite: Suite, lacking: &[Lacking]) -> Result<()> {
    let world = MongoWorld::start().await?;
    let server = Independent::ferretdb(&world).await?;
    let port = MongoPort::forwarding(&world, &server.url, POOL).await?;
    let result = on(&port, suite, lacking).await;
    port.stop().await;
    result
}

async fn on(port: &MongoPort, suite: Suite, lacking: &[Lacking]) -> Result<()> {
    suite.run_lacking(&port.environment(), lacking).await
}

#[tokio::test]
async fn pymongo_on_ferretdb() -> Result<()> {
    let lacking = &[
        Fails("async_transaction", NO_TRANSACTIONS),
        Fails("transaction_abort", NO_TRANSACTIONS),
        Fails("transaction_commit", NO_TRANSACTIONS),
        Fails("transaction_conflict", NO_TRANSACTIONS),
        Fails("transaction_cursor", NO_TRANSACTIONS),
        Fails("transaction_left_open", NO_TRANSACTIONS),
        Fails("retried_write_is_applied_once", APPLIED_TWICE),
        Fails("duplicate_key", OTHER_WORDS),
        Fails(
            "indexes",
            "FerretDB answers 1, not 11000, to a unique index over equal values",
        ),
        Fails(
            "bulk_unordered",
            "FerretDB announces batches of 100,000 writes and takes 25,000",
        ),
        Fails(
            "collections_and_databases",
            "FerretDB lets a collection be made that is there",
        ),
        Fails("validators", "FerretDB passes over validators"),
    ];
    ferretdb(drivers::PYMONGO, lacking).await
}

#[tokio::test]
async fn node_on_ferretdb() -> Result<()> {
    let lacking = &[
        Fails("transaction_commit_and_abort", NO_TRANSACTIONS),
        Fails("retryable_write", APPLIED_TWICE),
        Fails("indexes_and_duplicate_key", OTHER_WORDS),
    ];
    ferretdb(drivers::NODE, lacking).await
}

#[tokio::test]
async fn mongosh_on_ferretdb() -> Result<()> {
    ferretdb(drivers::MONGOSH, &[Fails("transaction", NO_TRANSACTIONS)]).await
}

#[tokio::test]
async fn java_on_ferretdb() -> Result<()> {
    let lacking = &[Fails("transaction_commit_and_abort", NO_TRANSACTIONS)];
    ferretdb(drivers::JAVA, lacking).await
}

#[tokio::test]
async fn go_on_ferretdb() -> Result<()> {
    let lacking = &[Fails("transaction_commit_and_abort", NO_TRANSACTIONS)];
    ferretdb(drivers::GO, lacking).await
}

#[tokio::test]
async fn rust_on_ferretdb() -> Result<()> {
    let world = MongoWorld::start().await?;
    let server = Independent::ferretdb(&world).await?;
    let port = MongoPort::forwarding(&world, &server.url, POOL).await?;
    let lacking = [
        Fails("transactions", NO_TRANSACTIONS),
        Fails("retried_write", APPLIED_TWICE),
    ];
    let result = rust_suite::suite(&port, &lacking).await;
    port.stop().await;
    result
}

/// Each in a database of its own.
#[tokio::test]
async fn mappers_on_ferretdb() -> Result<()> {
    let world = MongoWorld::start().await?;
    let server = Independent::ferretdb(&world).await?;
    let port = MongoPort::forwarding(&world, &server.url, POOL).await?;
    let result = tokio::try_join!(
        on(&port, drivers::MONGOOSE, MAPPERS_LACK),
        on(&port, drivers::MORPHIA, MAPPERS_LACK),
        on(
            &port,
            drivers::BEANIE,
            &[Fails("transaction", NO_TRANSACTIONS)]
        ),
        // MongoEngine has no transactions itself.
        on(&port, drivers::MONGOENGINE, &[]),
    )
    .map(drop);
    port.stop().await;
    result
}

const NO_SESSIONS: &str = "mongo-java-server has no sessions";
const COUNTS_REFUSED: &str = "mongo-java-server counts inserts that it refuses as done";
const NO_SCOPES: &str = "mongo-java-server hangs up on code with a scope";
const NO_EXPLAIN: &str = "mongo-java-server has no explain";
const OLD_LOOKUP: &str = "mongo-java-server's $lookup takes fields or a pipeline, not both";

const PYMONGO_ON_JAVA: &[Lacking] = &[
    Hangs(
        "max_time",
        "mongo-java-server passes over maxTimeMS, and works for an hour on a $lookup of 1,000 times 1,000 documents",
    ),
    Fails("types_round_trip", NO_SCOPES),
    Fails(
        "large_documents",
        "mongo-java-server answers with messages of more than 48 MB",
    ),
    Fails("filters_sorts_projections", NO_EXPLAIN),
    Fails("bulk_ordered", COUNTS_REFUSED),
    Fails("bulk_unordered", COUNTS_REFUSED),
    Fails(
        "indexes",
        "mongo-java-server looks for other collections' indexes when it drops all of one",
    ),
    Fails(
        "collections_and_databases",
        "mongo-java-server has no views",
    ),
    Fails("validators", "mongo-java-server passes over validators"),
    Fails("transaction_commit", NO_SESSIONS),
    Fails("transaction_abort", NO_SESSIONS),
    Fails("transaction_cursor", NO_SESSIONS),
    Fails("transaction_left_open", NO_SESSIONS),
    Fails("transaction_conflict", NO_SESSIONS),
    Fails("async_transaction", NO_SESSIONS),
    Fails("sessions", NO_SESSIONS),
    Fails("retried_write_is_applied_once", NO_SESSIONS),
    Fails("two_users_kept_apart", NO_SESSIONS),
    Fails(
        "unacknowledged_writes",
        "mongo-java-server hangs up after a write that wants no answer",
    ),
    Fails("include_to_many", OLD_LOOKUP),
];

const NODE_ON_JAVA: &[Lacking] = &[
    Fails("types_round_trip", NO_SCOPES),
    Fails("bulk_ordered_and_unordered", COUNTS_REFUSED),
    Fails("transaction_commit_and_abort", NO_SESSIONS),
    Fails("retryable_write", NO_SESSIONS),
    Fails("include", OLD_LOOKUP),
];

const COMPILED_ON_JAVA: &[Lacking] = &[
    Fails("types_round_trip", NO_SCOPES),
    Fails("transaction_commit_and_abort", NO_SESSIONS),
];

const RUST_ON_JAVA: &[Lacking] = &[
    Fails("types", "mongo-java-server hangs up on symbols"),
    Fails("transactions", NO_SESSIONS),
    Fails("retried_write", NO_SESSIONS),
    Fails("include", OLD_LOOKUP),
];

/// It speaks MongoDB 3.6's protocol, at which the drivers themselves would turn back.
#[tokio::test]
async fn drivers_on_mongo_java_server() -> Result<()> {
    let world = MongoWorld::start().await?;
    let server = Independent::java().await?;
    let port = MongoPort::forwarding(&world, &server.url, POOL).await?;
    let one_after_another = async {
        rust_suite::suite(&port, RUST_ON_JAVA).await?;
        on(&port, drivers::PYMONGO, PYMONGO_ON_JAVA).await?;
        on(&port, drivers::NODE, NODE_ON_JAVA).await?;
        on(&port, drivers::JAVA, COMPILED_ON_JAVA).await?;
        on(&port, drivers::GO, COMPILED_ON_JAVA).await
    };
    let mongosh = [
        Fails("lists", NO_EXPLAIN),
        Fails("transaction", NO_SESSIONS),
        Fails("include", OLD_LOOKUP),
    ];
    let beside = on(&port, drivers::MONGOSH, &mongosh);
    let result = tokio::try_join!(one_after_another, beside).map(drop);
    port.stop().await;
    result
}

/// mongo-java-server speaks MongoDB 3.6's protocol and has neither users nor sessions: what is left must work with
/// a driver of today.
#[tokio::test]
async fn the_rust_driver_on_mongo_java_server() -> Result<()> {
    let world = MongoWorld::start().await?;
    let mut server = Independent::java().await?;
    let port = MongoPort::forwarding(&world, &server.url, POOL).await?;
    let client = Client::with_uri_str(port.url(USER, PASSWORD)).await?;
    let books: Collection<Document> = client.database("library").collection("books");
    let many = (0..250).map(|id| doc! { "_id": id, "shelf": id % 7, "title": format!("b{id}") });
    assert_eq!(books.insert_many(many).await?.inserted_ids.len(), 250);
    let found: Vec<Document> = books
        .find(doc! { "_id": { "$gte": 50 } })
        .sort(doc! { "_id": -1 })
        .batch_size(30)
        .await?
        .try_collect()
        .await?;
    assert_eq!(found.len(), 200);
    assert_eq!(
        found.first().and_then(|first| first.get_i32("_id").ok()),
        Some(249)
    );
    let changed = books
        .update_many(doc! { "shelf": 3 }, doc! { "$set": { "sold": true } })
        .await?;
    assert_eq!(changed.modified_count, 36);
    let shelves: Vec<Document> = books
        .aggregate([
            doc! { "$match": { "sold": true } },
            doc! { "$group": { "_id": "$shelf", "n": { "$sum": 1 } } },
        ])
        .await?
        .try_collect()
        .await?;
    assert_eq!(shelves, [doc! { "_id": 3, "n": 36 }]);
    let unique = IndexOptions::builder().unique(true).build();
    let index = IndexModel::builder()
        .keys(doc! { "title": 1 })
        .options(unique)
        .build();
    books.create_index(index).await?;
    let twice = books.insert_one(doc! { "title": "b1" }).await;
    let refused = twice
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(refused.contains("E11000"), "{refused}");
    assert_eq!(
        books
            .delete_many(doc! { "sold": true })
            .await?
            .deleted_count,
        36
    );
    assert_eq!(books.count_documents(doc! {}).await?, 214);
    // Relations that the database tells of.
    let database = client.database("library");
    let marks = doc! { "target": "marks", "kind": "many", "local": "shelf" };
    database
        .collection("twinport.models")
        .insert_one(doc! { "_id": "books", "relations": { "marks": marks } })
        .await?;
    database
        .collection("marks")
        .insert_one(doc! { "_id": 5, "name": "five" })
        .await?;
    let marked = books
        .find_one(doc! { "shelf": 5 })
        .comment("@include(marks)");
    let marked = marked.await?.unwrap_or_default();
    let five = doc! { "_id": 5, "name": "five" };
    assert_eq!(marked.get_array("marks")?, &[five.into()]);
    let unknown = books.find_one(doc! {}).comment("@include(mark)").await;
    let told = unknown
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(told.contains("has no relation \"mark\""), "{told}");
    // It is gone, and that is told at once.
    server.kill().await?;
    let gone = books.find_one(doc! {}).await;
    let told = gone
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(told.contains("can't be reached"), "{told}");
    port.stop().await;
    Ok(())
}
