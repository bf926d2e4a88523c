//! What a newcomer is shown: how to connect, three annotated queries, and one of them at work.

use anyhow::Context;
use tokio_postgres::NoTls;

use super::stage::{DATABASE, Stage, USER};
use crate::table;

/// Eager loading over two levels: each author with all books, each book with its publisher.
const NESTED: &str = "\
/* @include(books.publisher) */
SELECT id, name FROM authors ORDER BY id";

/// The newest two books of each author, two columns of each.
const LATEST: &str = "\
/* @include(books(order: -published, limit: 2, columns: [title, published])) */
SELECT name FROM authors ORDER BY name";

/// Inserts one row and updates another, and tells which is which.
const UPSERT: &str = "\
/* @upsert(email, inserted: is_new) */
INSERT INTO authors (name, email)
VALUES ('Ada Lindqvist', 'ada@library.example'), ('Farid Aziz', 'farid@library.example')
RETURNING id, name";

pub(super) async fn text(stage: &Stage) -> anyhow::Result<String> {
    let result = run(&stage.url(DATABASE), LATEST)
        .await
        .context("the annotated query failed")?;
    let port = stage.port;
    let url = stage.url(DATABASE);
    let console = stage.url("twinport");
    Ok(format!(
        "\
Twinport is ready, in front of a private Postgres {version} with a small library in it.

Connect through it:

  psql             psql '{url}'
  psycopg          psycopg.connect('{url}')
  asyncpg          await asyncpg.connect('{url}')
  SQLAlchemy       create_engine('{alchemy}')
  node-postgres    new pg.Client('{url}')
  pgjdbc           jdbc:postgresql://127.0.0.1:{port}/{DATABASE}?user={USER}&password={USER}
  pgx              pgx.Connect(ctx, \"{url}\")
  environment      export DATABASE_URL='{url}'

{mongo}

Past it:           psql '{direct}'
Admin console:     psql '{console}' -c 'SHOW POOLS'
Metrics:           curl {admin}/metrics

Three queries to try. The comment is all that differs from what you write today.

Each author with all books, each book with its publisher:

{nested}

Insert or update, told apart:

{upsert}

The newest two books of each author:

{latest}

which has just been run through the port, and answered:

{result}
Stop with Ctrl-C.
",
        mongo = mongo(stage),
        version = stage.database().version(),
        alchemy = url.replacen("postgres://", "postgresql+psycopg://", 1),
        direct = stage.database_url(),
        admin = stage.admin_url(),
        nested = indented(NESTED),
        upsert = indented(UPSERT),
        latest = indented(LATEST),
    ))
}

fn mongo(stage: &Stage) -> String {
    match stage.mongo_url() {
        Ok(url) => format!(
            "\
The same library in MongoDB, from the same database:

  mongosh          mongosh '{url}'
  PyMongo          pymongo.MongoClient('{url}')

Each author with all books, each book with its publisher:

  db.authors.find().sort({{ _id: 1 }}).comment('@include(books.publisher)')"
        ),
        Err(reason) => format!("There is {reason}."),
    }
}

fn indented(sql: &str) -> String {
    sql.lines()
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n")
        + ";"
}

async fn run(url: &str, sql: &str) -> anyhow::Result<String> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let connection = tokio::spawn(connection);
    let answer = client.simple_query(sql).await?;
    drop(client);
    connection.await??;
    Ok(table::render(&answer, "  "))
}
