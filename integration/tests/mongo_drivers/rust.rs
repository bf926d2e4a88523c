//! The Rust driver.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use futures_util::TryStreamExt;
use futures_util::future::{BoxFuture, FutureExt};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, Timestamp, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{ClientOptions, Compressor, IndexOptions};
use mongodb::{Client, Collection, Database, IndexModel};
use twinport_integration::mongo::{Certificates, MongoPort, OTHER, OTHER_PASSWORD};
use twinport_integration::{Lacking, PASSWORD, USER};

const DATABASE: &str = "rust";

async fn connect(port: &MongoPort, user: &str, password: &str) -> Result<Client> {
    Ok(Client::with_uri_str(port.url(user, password)).await?)
}

async fn fresh(client: &Client, name: &str) -> Result<Collection<Document>> {
    emptied(&client.database(DATABASE), name).await
}

/// Before MongoDB 7.0 what isn't there can't be dropped.
async fn emptied(database: &Database, name: &str) -> Result<Collection<Document>> {
    let collection = database.collection(name);
    let there = database.list_collection_names().await?;
    if there.iter().any(|there| there == name) {
        collection.drop().await?;
    }
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

/// Everything that the driver is asked to do. What a server can't is listed, and must fail.
pub(crate) async fn suite(port: &MongoPort, lacking: &[Lacking]) -> Result<()> {
    let client = connect(port, USER, PASSWORD).await?;
    let checks: Vec<(&str, BoxFuture<'_, Result<()>>)> = vec![
        ("logins", logins(port).boxed()),
        ("basics", basics(&client).boxed()),
        ("types", types(&client).boxed()),
        ("cursors", cursors(port, &client).boxed()),
        ("bulk", bulk(&client).boxed()),
        ("duplicates", duplicates(&client).boxed()),
        ("transactions", transactions(&client).boxed()),
        ("retried_write", retried_write(port, &client).boxed()),
        ("compression", compression(port).boxed()),
        ("include", include(&client).boxed()),
        ("upsert", upsert(&client).boxed()),
    ];
    let mut left = lacking.to_vec();
    for (name, check) in checks {
        let lacks = |lack: &mut Lacking| matches!(lack, Lacking::Fails(fails, _) if *fails == name);
        let may_fail = left.extract_if(.., lacks).count() > 0;
        match check.await {
            Err(error) if !may_fail => return Err(error.context(name)),
            Ok(()) if may_fail => bail!("{name} passes, though it is listed"),
            Ok(()) | Err(_) => {}
        }
    }
    ensure!(left.is_empty(), "there is no check for {left:?}");
    Ok(())
}

/// At a port that demands certificates.
pub(crate) async fn by_certificate(port: &MongoPort, files: &Certificates) -> Result<()> {
    let url = format!(
        "{}&authMechanism=MONGODB-X509&serverSelectionTimeoutMS=2000",
        port.open_url()
    );
    let shown = |file: &Path| format!("{url}&tlsCertificateKeyFile={}", file.display());
    for file in [&files.own, &files.mapped] {
        let client = Client::with_uri_str(shown(file)).await?;
        let status = client.database("admin");
        let status = status.run_command(doc! { "connectionStatus": 1 }).await?;
        let users = status.get_document("authInfo")?;
        let users = users.get_array("authenticatedUsers")?;
        ensure!(
            *users == [doc! { "user": USER, "db": "admin" }.into()],
            "{users:?}"
        );
        basics(&client).await?;
    }
    let client = Client::with_uri_str(&url).await?;
    let error = ping(&client).await.err().context("without a certificate")?;
    ensure!(
        matches!(*error.kind, ErrorKind::Authentication { .. }),
        "{error}"
    );
    let client = Client::with_uri_str(shown(&files.foreign)).await?;
    let error = ping(&client).await.err();
    let error = error.context("with another authority's certificate")?;
    ensure!(
        matches!(*error.kind, ErrorKind::ServerSelection { .. }),
        "{error}"
    );
    Ok(())
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
    let command = doc! { "getMore": id, "collection": "many", "batchSize": 10 };
    let error = theirs.database(DATABASE).run_command(command.clone()).await;
    let refused = error.as_ref().err().and_then(code);
    ensure!(matches!(refused, Some(13 | 43)), "{error:?}");
    client.database(DATABASE).run_command(command).await?;
    Ok(())
}

async fn bulk(client: &Client) -> Result<()> {
    let many = fresh(client, "bulk").await?;
    many.insert_many(ids(250)).await?;
    // The third of four is refused: ordered, the fourth is not tried.
    let four = [250, 251, 7, 252].map(|id| doc! { "_id": id });
    for (ordered, count) in [(true, 252), (false, 253)] {
        many.delete_many(doc! { "_id": { "$gte": 250 } }).await?;
        let inserted = many.insert_many(&four).ordered(ordered).await;
        let refused = inserted.as_ref().err().and_then(code);
        ensure!(refused == Some(11000), "{inserted:?}");
        ensure!(many.count_documents(doc! {}).await? == count);
    }
    let change = doc! { "$set": { "odd": true } };
    let updated = many
        .update_many(doc! { "_id": { "$mod": [2, 1] } }, change)
        .await?;
    ensure!(updated.modified_count == 126, "{updated:?}");
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

/// A numbered write that comes three times is applied once.
async fn retried_write(port: &MongoPort, client: &Client) -> Result<()> {
    let retried = fresh(client, "retried").await?;
    retried.insert_one(doc! { "_id": 1, "n": 0 }).await?;
    // The driver numbers a session's writes itself, and so has to be told not to.
    let url = format!("{}&retryWrites=false", port.url(USER, PASSWORD));
    let repeating = Client::with_uri_str(url).await?;
    let mut session = repeating.start_session().await?;
    let command = doc! {
        "update": "retried",
        "updates": [{ "q": { "_id": 1 }, "u": { "$inc": { "n": 1 } } }],
        "txnNumber": 1_i64,
    };
    for _ in 0..3 {
        let database = repeating.database(DATABASE);
        let run = database.run_command(command.clone());
        let answer = run.session(&mut session).await?;
        ensure!(answer.get_i32("nModified")? == 1, "{answer:?}");
    }
    let found = retried.find_one(doc! {}).await?;
    ensure!(found == Some(doc! { "_id": 1, "n": 1 }), "{found:?}");
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

async fn include(client: &Client) -> Result<()> {
    let library = client.database("library");
    let authors = emptied(&library, "authors").await?;
    let books = emptied(&library, "books").await?;
    authors
        .insert_many([doc! { "_id": 1 }, doc! { "_id": 2 }])
        .await?;
    let titles = ["Mort", "Eric"];
    books
        .insert_many(titles.map(|title| doc! { "_id": title, "author_id": 1 }))
        .await?;
    let found = authors
        .find(doc! {})
        .sort(doc! { "_id": 1 })
        .comment("@include(books(order: _id))");
    let found: Vec<Document> = found.await?.try_collect().await?;
    let book = |title: &str| Bson::from(doc! { "_id": title, "author_id": 1 });
    let expected = [
        doc! { "_id": 1, "books": [book("Eric"), book("Mort")] },
        doc! { "_id": 2, "books": [] },
    ];
    ensure!(found == expected, "{found:?}");
    let one = books
        .find_one(doc! { "_id": "Mort" })
        .comment("@include(author)");
    let author = one.await?.unwrap_or_default();
    ensure!(
        author.get_document("author")? == &doc! { "_id": 1 },
        "{author:?}"
    );
    Ok(())
}

async fn upsert(client: &Client) -> Result<()> {
    let people = fresh(client, "upserted").await?;
    let unique = IndexOptions::builder().unique(true).build();
    let index = IndexModel::builder()
        .keys(doc! { "email": 1 })
        .options(unique);
    people.create_index(index.build()).await?;
    for n in [1, 2] {
        people
            .insert_one(doc! { "email": "a", "n": n })
            .comment("@upsert(email)")
            .await?;
    }
    let found: Vec<Document> = people.find(doc! {}).await?.try_collect().await?;
    let numbers = found.iter().map(|each| each.get_i32("n"));
    let numbers: Vec<i32> = numbers.collect::<Result<_, _>>()?;
    ensure!(numbers == [2], "{found:?}");
    Ok(())
}
