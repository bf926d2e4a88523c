//! What all contenders of the MongoDB port stand on: a Postgres with DocumentDB, and each server in front of it.

use std::{
    env, fmt, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use mongodb::{
    Client,
    bson::{Document, doc},
    options::ClientOptions,
};
use serde::Serialize;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use twinport_embedded::{Options, Server};

use crate::{
    flags::Plan,
    rival::{Tools, free_port, launch, twinport},
};

/// The user of all contenders, its password and the Postgres database.
pub(super) const NAME: &str = "bench";

/// The database of the collections.
pub(super) const DATABASE: &str = "library";

/// Documents in `items`.
pub(super) const ITEMS: i32 = 10_000;

const AUTHORS: i32 = 1_000;
const BOOKS_EACH: i32 = 10;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Contender {
    /// Ours, on Postgres.
    Twinport,
    FerretDb,
    /// Ours, in front of FerretDB.
    Forwarding,
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Twinport => "Twinport on Postgres",
            Self::FerretDb => "FerretDB on the same",
            Self::Forwarding => "Twinport forwarding to FerretDB",
        })
    }
}

/// A server that is up, and a driver that is connected to it.
pub(super) struct Rival {
    pub(super) contender: Contender,
    pub(super) client: Client,
    pub(super) pid: u32,
    pub(super) port: u16,
    pub(super) asks_for_password: bool,
    _child: Child,
}

/// All of it; gone when dropped.
pub(super) struct Stage {
    pub(super) rivals: Vec<Rival>,
    _server: Server,
    _folder: TempDir,
}

impl Stage {
    /// Starts the servers and fills the collections. Without FerretDB ours goes alone.
    pub(super) async fn prepare(tools: &Tools, plan: &Plan) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("twinport-benches-")?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let server = server().await?;
        let port = server.port();
        let upstream =
            format!("postgres://{NAME}:{NAME}@127.0.0.1:{port}/postgres?sslmode=disable");
        let mut rivals =
            vec![ours(Contender::Twinport, &upstream, tools, plan, folder.path()).await?];
        match ferretdb(plan) {
            None => eprintln!(
                "FerretDB is not installed, so it is left out: \
                 go install github.com/FerretDB/FerretDB/v2/cmd/ferretdb@v2.7.0"
            ),
            Some(binary) => {
                let (peer, port) = theirs(&binary, &upstream, folder.path()).await?;
                rivals.push(peer);
                let url = format!("mongodb://127.0.0.1:{port}/");
                let ours = ours(Contender::Forwarding, &url, tools, plan, folder.path()).await?;
                rivals.push(ours);
            }
        }
        let first = rivals.first().context("there is nobody to measure")?;
        fill(&first.client.database(DATABASE)).await?;
        // The statistics decide how documents are looked up.
        server
            .client("postgres")
            .await?
            .batch_execute("ANALYZE")
            .await?;
        Ok(Self {
            rivals,
            _server: server,
            _folder: folder,
        })
    }
}

async fn server() -> anyhow::Result<Server> {
    let options = Options {
        major: Some(18),
        documentdb: Some("postgres".into()),
        ..Options::for_tests()
    };
    let options = options
        .set("max_connections", "200")
        .set("shared_buffers", "512MB");
    let server = Server::start(options)
        .await
        .context("scripts/setup-postgres-18.sh brings a Postgres that has DocumentDB")?;
    let admin = server.client("postgres").await?;
    admin
        .batch_execute("CREATE EXTENSION IF NOT EXISTS documentdb CASCADE")
        .await?;
    // FerretDB reads the server's settings at its start.
    let role = format!("CREATE ROLE {NAME} SUPERUSER LOGIN PASSWORD '{NAME}'");
    admin.batch_execute(&role).await?;
    Ok(server)
}

async fn ours(
    contender: Contender,
    upstream: &str,
    tools: &Tools,
    plan: &Plan,
    folder: &Path,
) -> anyhow::Result<Rival> {
    let port = free_port()?;
    let settings = format!(
        r#"workers = {workers}

[postgres]
listen = []

[mongo]
listen = ["127.0.0.1:{port}"]
upstream = "{upstream}"

[mongo.relations.authors.books]
target = "books"
kind = "many"
foreign = "author_id"

[pool]
size = {pool}

[users.{NAME}]
password = "{NAME}"

[admin]
http = "off"

[log]
level = "warn"
"#,
        workers = plan.workers,
        pool = plan.pool,
    );
    let file = folder.join(format!("twinport-{port}.toml"));
    fs::write(&file, settings)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    let command = twinport::with_settings(&tools.twinport, &file);
    let url = format!("mongodb://{NAME}:{NAME}@127.0.0.1:{port}/?authSource=admin");
    rival(contender, command, port, &url, folder).await
}

async fn theirs(binary: &Path, upstream: &str, folder: &Path) -> anyhow::Result<(Rival, u16)> {
    let port = free_port()?;
    let mut command = Command::new(binary);
    command
        .arg(format!("--postgresql-url={upstream}"))
        .arg(format!("--listen-addr=127.0.0.1:{port}"))
        .arg(format!("--state-dir={}", folder.display()))
        .args(["--no-auth", "--telemetry=disable", "--log-level=error"])
        .arg("--debug-addr=-");
    let url = format!("mongodb://127.0.0.1:{port}/");
    let rival = rival(Contender::FerretDb, command, port, &url, folder).await?;
    Ok((rival, port))
}

async fn rival(
    contender: Contender,
    command: Command,
    port: u16,
    url: &str,
    folder: &Path,
) -> anyhow::Result<Rival> {
    let log = folder.join(format!("{port}.log"));
    let child = launch(&contender.to_string(), command, port, &log).await?;
    let mut options = ClientOptions::parse(url).await?;
    options.max_pool_size = Some(100);
    Ok(Rival {
        contender,
        client: Client::with_options(options)?,
        pid: child.id().context("it has ended")?,
        port,
        asks_for_password: contender != Contender::FerretDb,
        _child: child,
    })
}

/// Where FerretDB is.
fn ferretdb(plan: &Plan) -> Option<PathBuf> {
    if let Some(path) = &plan.ferretdb {
        return path.is_file().then(|| path.clone());
    }
    let home = env::home_dir().map(|home| home.join("go"));
    let go = env::var_os("GOPATH").map(PathBuf::from).or(home);
    let paths = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&paths)
        .chain(go.map(|go| go.join("bin")))
        .map(|folder| folder.join("ferretdb"))
        .find(|path| path.is_file())
}

/// 10,000 items of about 200 bytes, 1,000 authors with 10 books each.
async fn fill(database: &mongodb::Database) -> anyhow::Result<()> {
    let item = |id: i32| {
        doc! { "_id": id, "name": format!("item {id}"), "price": f64::from(id) / 7.0, "stock": id % 100,
        "tags": ["new", "red", "small"], "note": "x".repeat(64) }
    };
    insert(database, "items", (0..ITEMS).map(item)).await?;
    let author =
        |id: i32| doc! { "_id": id, "name": format!("author {id}"), "born": 1900 + id % 100 };
    insert(database, "authors", (0..AUTHORS).map(author)).await?;
    let book = |id: i32| {
        doc! { "_id": id, "author_id": id / BOOKS_EACH, "title": format!("book {id}"),
        "published": 1950 + id % 70, "price": f64::from(id) / 9.0 }
    };
    insert(database, "books", (0..AUTHORS * BOOKS_EACH).map(book)).await?;
    let index = mongodb::IndexModel::builder()
        .keys(doc! { "author_id": 1 })
        .build();
    let books = database.collection::<Document>("books");
    books.create_index(index).await?;
    Ok(())
}

async fn insert(
    database: &mongodb::Database,
    name: &str,
    documents: impl Iterator<Item = Document>,
) -> anyhow::Result<()> {
    let documents: Vec<_> = documents.collect();
    let collection = database.collection::<Document>(name);
    for chunk in documents.chunks(1_000) {
        collection.insert_many(chunk).await?;
    }
    Ok(())
}
