//! Relations that the database tells of: registered models and `$jsonSchema`, on both backends.

use anyhow::{Context, Result, ensure};
use futures_util::TryStreamExt;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::ErrorKind;
use mongodb::{Client, Database};
use twinport_integration::eventually;
use twinport_integration::mongo::{Front, OTHER, OTHER_PASSWORD};
use twinport_integration::{PASSWORD, USER};

use super::shop::at;
use super::support::{Scene, Wants};

const MODELS: &str = "twinport.models";

/// A relation that the settings tell of.
const SHOP: &str = r#"
    [mongo.relations.books.shop]
    target = "shops"
    kind = "one"
    local = "shop_id"
"#;

/// A proxy that forwards to a port of ours.
async fn forwarding(scene: &Scene) -> Result<Front> {
    let settings = format!(
        r#"
        [postgres]
        listen = []
        [admin]
        http = "off"
        [users.{USER}]
        password = "{PASSWORD}"
        [mongo]
        listen = ["127.0.0.1:0"]
        upstream = "mongodb://{USER}:{PASSWORD}@127.0.0.1:{}/?directConnection=true"
        {SHOP}
        "#,
        scene.port
    );
    Front::of(&settings).await
}

async fn client(port: u16, user: &str, password: &str) -> Result<Client> {
    let url = format!("mongodb://{user}:{password}@127.0.0.1:{port}/");
    Ok(Client::with_uri_str(url).await?)
}

/// A scene whose settings tell of it.
async fn scene(own_roles: bool) -> Result<Scene> {
    Scene::with(Wants {
        mongo_lines: SHOP,
        own_roles,
        ..Wants::default()
    })
    .await
}

async fn find(database: &Database, collection: &str, comment: &str) -> Result<Vec<Document>> {
    let collection = database.collection::<Document>(collection);
    let cursor = collection.find(doc! {}).sort(doc! { "_id": 1 });
    let found = cursor.comment(comment).await?.try_collect().await;
    found.with_context(|| comment.to_owned())
}

/// What is at a path of each document that is found.
async fn seen(
    database: &Database,
    collection: &str,
    comment: &str,
    path: &str,
) -> Result<Vec<Bson>> {
    let found = find(database, collection, comment).await?;
    Ok(found.iter().map(|document| at(document, path)).collect())
}

/// The code and the words of the error that a directive must get.
async fn refused(database: &Database, collection: &str, comment: &str) -> Result<(i32, String)> {
    let error = find(database, collection, comment).await.err();
    let error = error.with_context(|| format!("{comment} was served"))?;
    let error = error.downcast::<mongodb::error::Error>()?;
    match *error.kind {
        ErrorKind::Command(error) => Ok((error.code, error.message)),
        other => anyhow::bail!("{comment}: {other}"),
    }
}

async fn register(database: &Database, id: &str, relations: Document) -> Result<()> {
    let models = database.collection::<Document>(MODELS);
    let model = doc! { "_id": id, "relations": relations };
    models
        .replace_one(doc! { "_id": id }, model)
        .upsert(true)
        .await?;
    Ok(())
}

/// Everything that both backends must do alike.
async fn tells(client: &Client) -> Result<()> {
    let database = client.database("told");
    fill(&database).await?;
    schemas(&database).await?;
    models(&database).await?;
    wrong_ones(&database).await?;
    transactions(client, &database).await
}

async fn fill(database: &Database) -> Result<()> {
    let schema = doc! { "$jsonSchema": { "bsonType": "object", "required": ["title"], "properties": {
        "title": { "bsonType": "string", "description": "a text, such as @ref(x)" },
        "author_id": { "bsonType": ["int", "null"], "description": "@ref(authors)" },
        "tag_ids": { "bsonType": "array", "items": { "bsonType": "int", "description": "@ref(tags)" } },
        "shop_id": { "description": "@ref(shops, name: seller)" },
        "publisher": { "bsonType": "object", "properties": {
            "$ref": { "enum": ["publishers"] }, "$id": { "bsonType": "string" } } },
    } } };
    database
        .create_collection("books")
        .validator(schema)
        .await
        .context("a schema with annotations")?;
    let books = [
        doc! { "_id": 1, "title": "t1", "author_id": 1, "tag_ids": [1, 2], "shop_id": 7,
        "publisher": { "$ref": "publishers", "$id": "p" } },
        doc! { "_id": 2, "title": "t2", "author_id": 1, "tag_ids": [] },
        doc! { "_id": 3, "title": "t3", "author_id": null, "tag_ids": [2] },
    ];
    database.collection("books").insert_many(books).await?;
    for (collection, document) in [
        ("authors", doc! { "_id": 1, "name": "Ann" }),
        ("authors", doc! { "_id": 2, "name": "Ben" }),
        ("tags", doc! { "_id": 1, "name": "new" }),
        ("tags", doc! { "_id": 2, "name": "old" }),
        ("shops", doc! { "_id": 7, "city": "Gdynia" }),
        ("publishers", doc! { "_id": "p", "name": "Press" }),
    ] {
        database.collection(collection).insert_one(document).await?;
    }
    Ok(())
}

async fn schemas(database: &Database) -> Result<()> {
    let names = seen(database, "books", "@include(author)", "author.name").await?;
    assert_eq!(names, ["Ann".into(), "Ann".into(), Bson::Null]);
    // There and back, nested, and beside what the settings say.
    let comment = "@include(books(order: _id).tags(columns: [name]), books.shop)";
    let found = find(database, "authors", comment).await?;
    let books = found.first().context("no author")?.get_array("books")?;
    let tags: Vec<Bson> = books
        .iter()
        .filter_map(|book| Some(at(book.as_document()?, "tags")))
        .collect();
    let two: Vec<Bson> = vec![doc! { "name": "new" }.into(), doc! { "name": "old" }.into()];
    assert_eq!(tags, [Bson::Array(two), Bson::Array(Vec::new())]);
    let cities = seen(database, "books", "@include(shop)", "shop.city").await?;
    assert_eq!(cities, ["Gdynia".into(), Bson::Null, Bson::Null]);
    // The settings have a name for this way already.
    let (code, words) = refused(database, "books", "@include(seller)").await?;
    ensure!(code == 2 && words.contains("has no relation"), "{words}");
    let presses = seen(database, "books", "@include(publisher)", "publisher.name").await?;
    assert_eq!(presses, ["Press".into(), Bson::Null, Bson::Null]);
    // A schema that changes is seen at once: the way back is named now.
    let schema = doc! { "$jsonSchema": { "properties": {
    "author_id": { "description": "@ref(authors, name: writer, inverse: works)" } } } };
    database
        .run_command(doc! { "collMod": "books", "validator": schema })
        .await?;
    let names = seen(database, "books", "@include(writer)", "writer.name").await?;
    assert_eq!(names, ["Ann".into(), "Ann".into(), Bson::Null]);
    let (code, words) = refused(database, "books", "@include(author)").await?;
    ensure!(code == 2 && words.contains("writer"), "{words}");
    Ok(())
}

async fn models(database: &Database) -> Result<()> {
    // Over the schema's: another way under the same name, and the same way under another name.
    let writer = doc! { "target": "tags", "kind": "many", "local": "tag_ids" };
    let creator = doc! { "target": "authors", "kind": "one", "local": "author_id" };
    register(
        database,
        "books",
        doc! { "writer": writer, "creator": creator },
    )
    .await?;
    let names = seen(database, "books", "@include(creator)", "creator.name").await?;
    assert_eq!(names, ["Ann".into(), "Ann".into(), Bson::Null]);
    let found = find(database, "books", "@include(writer)").await?;
    let writers = found
        .iter()
        .map(|book| book.get_array("writer").map(Vec::len));
    assert_eq!(writers.collect::<Result<Vec<_>, _>>()?, [2, 0, 1]);
    // Below the settings'.
    let shop = doc! { "target": "tags", "kind": "many", "local": "tag_ids" };
    register(
        database,
        "books",
        doc! { "shop": shop, "labels": {
        "target": "tags", "kind": "many", "local": "tag_ids" } },
    )
    .await?;
    let cities = seen(database, "books", "@include(labels, shop)", "shop.city").await?;
    assert_eq!(cities, ["Gdynia".into(), Bson::Null, Bson::Null]);
    // Gone, with the document, at once.
    let models = database.collection::<Document>(MODELS);
    models.delete_one(doc! { "_id": "books" }).await?;
    let (_, words) = refused(database, "books", "@include(labels)").await?;
    ensure!(words.contains("no relation \"labels\""), "{words}");
    Ok(())
}

async fn wrong_ones(database: &Database) -> Result<()> {
    let author = doc! { "target": "authors", "kind": "onee", "local": "author_id" };
    register(database, "books", doc! { "author": author }).await?;
    let (code, words) = refused(database, "books", "@include(author)").await?;
    ensure!(code == 2, "{code}");
    for part in [
        "twinport.models \"books\"",
        "relations.author.kind",
        "did you mean `one`?",
    ] {
        ensure!(words.contains(part), "{part}: {words}");
    }
    // Neither the schema's, which the model was meant to replace; but all else goes on.
    let (_, words) = refused(database, "books", "@include(writer)").await?;
    ensure!(words.contains("relations.author.kind"), "{words}");
    assert_eq!(
        seen(database, "books", "@include(shop)", "shop.city")
            .await?
            .len(),
        3
    );
    let works = find(database, "authors", "@include(works)").await?;
    assert_eq!(works.len(), 2);
    assert_eq!(find(database, "books", "").await?.len(), 3);
    let models = database.collection::<Document>(MODELS);
    models.delete_many(doc! {}).await?;
    let schema =
        doc! { "$jsonSchema": { "properties": { "book_id": { "description": "@reff(books)" } } } };
    database
        .create_collection("reviews")
        .validator(schema)
        .await?;
    let (_, words) = refused(database, "reviews", "@include(book)").await?;
    for part in ["\"reviews\"", "book_id", "Did you mean \"ref\"?"] {
        ensure!(words.contains(part), "{part}: {words}");
    }
    Ok(())
}

/// What a transaction has registered holds when it is committed.
async fn transactions(client: &Client, database: &Database) -> Result<()> {
    refused(database, "books", "@include(labels)").await?;
    let mut session = client.start_session().await?;
    session.start_transaction().await?;
    let labels = doc! { "labels": { "target": "tags", "kind": "many", "local": "tag_ids" } };
    database
        .collection(MODELS)
        .insert_one(doc! { "_id": "books", "relations": labels })
        .session(&mut session)
        .await?;
    refused(database, "books", "@include(labels)").await?;
    session.commit_transaction().await?;
    assert_eq!(find(database, "books", "@include(labels)").await?.len(), 3);
    Ok(())
}

#[tokio::test]
async fn on_postgres_with_documentdb() -> Result<()> {
    let scene = scene(false).await?;
    tells(&client(scene.port, USER, PASSWORD).await?).await?;
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn where_commands_are_forwarded() -> Result<()> {
    let behind = Scene::new().await?;
    let front = forwarding(&behind).await?;
    tells(&client(front.port, USER, PASSWORD).await?).await?;
    // What changed past this port is found as soon as somebody looks for it.
    let past = client(behind.port, USER, PASSWORD).await?.database("told");
    let here = client(front.port, USER, PASSWORD).await?.database("told");
    refused(&here, "shops", "@include(books)").await?;
    let books = doc! { "target": "books", "kind": "many", "foreign": "shop_id" };
    register(&past, "shops", doc! { "books": books }).await?;
    eventually("a model that was registered elsewhere", async || {
        Ok(find(&here, "shops", "@include(books)").await.is_ok())
    })
    .await?;
    front.stop().await;
    behind.stop().await;
    Ok(())
}

/// Each user reads by its own role, and is told what that may not read.
#[tokio::test]
async fn users_see_what_they_may_read() -> Result<()> {
    let scene = scene(true).await?;
    let mine = client(scene.port, USER, PASSWORD).await?.database("told");
    let others = client(scene.port, OTHER, OTHER_PASSWORD)
        .await?
        .database("told");
    fill(&mine).await?;
    assert_eq!(find(&mine, "books", "@include(author)").await?.len(), 3);
    assert_eq!(find(&others, "books", "@include(author)").await?.len(), 3);
    let labels = doc! { "labels": { "target": "tags", "kind": "many", "local": "tag_ids" } };
    register(&mine, "books", labels).await?;
    assert_eq!(find(&others, "books", "@include(labels)").await?.len(), 3);
    // From here on the other may not see what the models are: what was read for the first is not shown to it.
    let id = "SELECT collection_id FROM documentdb_api_catalog.collections
        WHERE database_name = 'told' AND collection_name = $1";
    let id: i64 = scene.admin.query_one(id, &[&MODELS]).await?.get(0);
    let hide = format!(
        "REVOKE ALL ON documentdb_data.documents_{id}
         FROM documentdb_admin_role, documentdb_readonly_role, documentdb_readwrite_role, PUBLIC;
         GRANT ALL ON documentdb_data.documents_{id} TO {USER}"
    );
    scene.admin.batch_execute(&hide).await?;
    others
        .run_command(doc! { "create": "anything" })
        .await
        .context("which makes what is known old")?;
    assert_eq!(find(&mine, "books", "@include(labels)").await?.len(), 3);
    let (_, words) = refused(&others, "books", "@include(labels)").await?;
    ensure!(
        words.contains("twinport.models can't be read by this user"),
        "{words}"
    );
    // What the settings say needs nobody's leave.
    assert_eq!(find(&others, "books", "@include(shop)").await?.len(), 3);
    assert_eq!(find(&mine, "books", "@include(labels)").await?.len(), 3);
    scene.stop().await;
    Ok(())
}
