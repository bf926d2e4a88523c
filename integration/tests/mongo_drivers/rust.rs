//! The Rust driver.

use anyhow::{Context, Result, ensure};
use futures_util::TryStreamExt;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, Timestamp, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{ClientOptions, Compressor, IndexOptions};
use mongodb::{Client, Collection, IndexModel};
use twinport_integration::mongo::{MongoPort, OTHER, OTHER_PASSWORD};
use twinport_integration::{PASSWORD, USER};

const DATABASE: &str = "rust";

async fn connect(port: &MongoPort, user: &str, password: &str) -> Result<Client> {
    Ok(Client::with_uri_str(port.url(user, password)).await?)
}

async fn fresh(client: &Client, name: &str) -> Result<Collection<Document>> {
    let collection = client.database(DATABASE).collection(name);
    collection.drop().await?;
    Ok(collection)
}

async fn ping(client: &Client) -> Result<Document, Error> {
    let admin = client.database("admin");
    admin.run_command(doc! { "ping": 1 }).await
}

fn code(error: &Error) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(failure) => Some(failure.code),
        ErrorKind::Write(mongodb::error::WriteFailure::WriteError(failure)) => Some(failure.code),
        ErrorKind::InsertMany(failure) => Some(failure.write_errors.as_ref()?.first()?.code),
        _ => None,
    }
}

fn ids(count: i32) -> Vec<Document> {
    (0..count).map(|id| doc! { "_id": id }).collect()
}

/// Everything that the driver is asked to do.
pub(crate) async fn suite(port: &MongoPort) -> Result<()> {
    let client = connect(port, USER, PASSWORD).await?;
    logins(port).await.context("logins")?;
    basics(&client).await.context("basics")?;
    types(&client).await.context("types")?;
    cursors(port, &client).await.context("cursors")?;
    duplicates(&client).await.context("duplicates")?;
    transactions(&client).await.context("transactions")?;
    compression(port).await.context("compression")
}

async fn logins(port: &MongoPort) -> Result<()> {
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-1"] {
        let url = format!("{}&authMechanism={mechanism}", port.url(USER, PASSWORD));
        let client = Client::with_uri_str(url).await?;
        ensure!(ping(&client).await?.get_f64("ok")? == 1.0);
    }
    let client = connect(port, USER, "not-it").await?;
    let error = ping(&client).await.err().context("a wrong password")?;
    ensure!(
        matches!(*error.kind, ErrorKind::Authentication { .. }),
        "{error}"
    );
    Ok(())
}

async fn basics(client: &Client) -> Result<()> {
    let books = fresh(client, "books").await?;
    books.insert_one(doc! { "_id": 1, "title": "Mort" }).await?;
    let change = doc! { "$set": { "price": 8 } };
    let updated = books.update_one(doc! { "_id": 1 }, change).await?;
    ensure!((updated.matched_count, updated.modified_count) == (1, 1));
    let found = books.find_one(doc! { "title": "Mort" }).await?;
    ensure!(found == Some(doc! { "_id": 1, "title": "Mort", "price": 8 }));
    let stages = vec![doc! { "$group": { "_id": null, "sum": { "$sum": "$price" } } }];
    let sums: Vec<Document> = books.aggregate(stages).await?.try_collect().await?;
    ensure!(sums == [doc! { "_id": null, "sum": 8 }], "{sums:?}");
    ensure!(books.count_documents(doc! {}).await? == 1);
    ensure!(books.delete_many(doc! {}).await?.deleted_count == 1);
    Ok(())
}

async fn types(client: &Client) -> Result<()> {
    let types = fresh(client, "types").await?;
    let sent = doc! {
        "_id": 1,
        "double": 0.1,
        "string": "grün \0",
        "document": { "a": { "b": {} } },
        "array": [1, "two", [Bson::Null]],
        "binary": Binary { subtype: BinarySubtype::UserDefined(128), bytes: vec![0, 255] },
        "id": ObjectId::new(),
        "yes": true,
        "date": DateTime::from_millis(-62_135_596_800_000),
        "nothing": Bson::Null,
        "code": Bson::JavaScriptCode("f()".to_owned()),
        "symbol": Bson::Symbol("s".to_owned()),
        "int": -1,
        "timestamp": Timestamp { time: 1_700_000_000, increment: 7 },
        "long": i64::MAX,
        "decimal": "1.2300E+5".parse::<mongodb::bson::Decimal128>()?,
        "least": Bson::MinKey,
        "most": Bson::MaxKey,
    };
    types.insert_one(&sent).await?;
    let found = types.find_one(doc! { "_id": 1 }).await?;
    ensure!(found.as_ref() == Some(&sent), "{found:?}");
    Ok(())
}

async fn cursors(port: &MongoPort, client: &Client) -> Result<()> {
    let many = fresh(client, "many").await?;
    many.insert_many(ids(1000)).await?;
    for size in [2, 101, 1000] {
        let cursor = many.find(doc! {}).batch_size(size).sort(doc! { "_id": 1 });
        let found: Vec<Document> = cursor.await?.try_collect().await?;
        ensure!(found == ids(1000), "batches of {size}: {}", found.len());
    }
    let mut cursor = many.find(doc! {}).batch_size(10).await?;
    ensure!(cursor.advance().await?);
    let theirs = connect(port, OTHER, OTHER_PASSWORD).await?;
    let find = doc! { "find": "many", "batchSize": 10 };
    let answer = client.database(DATABASE).run_command(find).await?;
    let id = answer.get_document("cursor")?.get_i64("id")?;
    let command = doc! { "getMore": id, "collection": "many" };
    let error = theirs.database(DATABASE).run_command(command.clone()).await;
    let refused = error.as_ref().err().and_then(code);
    ensure!(matches!(refused, Some(13 | 43)), "{error:?}");
    client.database(DATABASE).run_command(command).await?;
    Ok(())
}

async fn duplicates(client: &Client) -> Result<()> {
    let people = fresh(client, "people").await?;
    let unique = IndexOptions::builder().unique(true).build();
    let index = IndexModel::builder()
        .keys(doc! { "email": 1 })
        .options(unique);
    people.create_index(index.build()).await?;
    people.insert_one(doc! { "email": "a" }).await?;
    let inserted = people.insert_one(doc! { "email": "a" }).await;
    let refused = inserted.as_ref().err().and_then(code);
    ensure!(refused == Some(11000), "{inserted:?}");
    let documents = [
        doc! { "email": "b" },
        doc! { "email": "a" },
        doc! { "email": "c" },
    ];
    let inserted = people.insert_many(&documents).ordered(false).await;
    let refused = inserted.as_ref().err().and_then(code);
    ensure!(refused == Some(11000), "{inserted:?}");
    ensure!(people.count_documents(doc! {}).await? == 3);
    ensure!(people.list_index_names().await? == ["_id_", "email_1"]);
    Ok(())
}

async fn transactions(client: &Client) -> Result<()> {
    let accounts = fresh(client, "accounts").await?;
    accounts.insert_one(doc! { "_id": 1 }).await?;
    let mut session = client.start_session().await?;
    session.start_transaction().await?;
    let insert = accounts.insert_one(doc! { "_id": 2 });
    insert.session(&mut session).await?;
    ensure!(accounts.count_documents(doc! {}).await? == 1);
    session.commit_transaction().await?;
    session.start_transaction().await?;
    let insert = accounts.insert_one(doc! { "_id": 3 });
    insert.session(&mut session).await?;
    session.abort_transaction().await?;
    ensure!(accounts.count_documents(doc! {}).await? == 2);
    Ok(())
}

async fn compression(port: &MongoPort) -> Result<()> {
    for compressor in [Compressor::Snappy, Compressor::Zlib { level: None }] {
        let mut options = ClientOptions::parse(port.url(USER, PASSWORD)).await?;
        options.compressors = Some(vec![compressor]);
        let client = Client::with_options(options)?;
        let packed = fresh(&client, "packed").await?;
        let document = doc! { "_id": 1, "text": "a".repeat(100_000) };
        packed.insert_one(&document).await?;
        ensure!(packed.find_one(doc! {}).await? == Some(document));
    }
    Ok(())
}
