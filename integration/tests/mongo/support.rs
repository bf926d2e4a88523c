//! A world with a proxy before it, as the tests of the MongoDB port want it.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio_postgres::Client;
use twinport::Running;
use twinport_integration::mongo::{Front, MongoWorld, OTHER, OTHER_PASSWORD};
use twinport_integration::{PASSWORD, USER, eventually};
use twinport_mongo::wing::Wing;
use twinport_wire::mongo::bson::raw::{RawArrayBuf, RawDocument, RawDocumentBuf};
use twinport_wire::mongo::bson::spec::BinarySubtype;
use twinport_wire::mongo::bson::{RawBinaryRef, RawBsonRef, rawdoc};

use super::raw::Raw;

/// What a test wants other than by default.
#[derive(Clone, Copy)]
pub(crate) struct Wants<'a> {
    /// The most connections to the server.
    pub(crate) pool: usize,
    /// Further lines of `[pool]`.
    pub(crate) pool_lines: &'a str,
    /// Further lines of `[mongo]`.
    pub(crate) mongo_lines: &'a str,
    /// The port where the server is to be found.
    pub(crate) server: Option<u16>,
    /// Every client works by its own role, and not by the superuser.
    pub(crate) own_roles: bool,
}

impl Default for Wants<'_> {
    fn default() -> Self {
        DEFAULT
    }
}

const DEFAULT: Wants<'_> = Wants {
    pool: 4,
    pool_lines: "",
    mongo_lines: "",
    server: None,
    own_roles: false,
};

/// Every client works by its own role.
pub(crate) const OWN_ROLES: Wants<'_> = Wants {
    own_roles: true,
    ..DEFAULT
};

/// Has `other` only read.
pub(crate) const OTHER_READS: &str = "REVOKE documentdb_admin_role FROM other; \
     GRANT documentdb_readonly_role TO other; GRANT pg_read_all_data TO other";

/// All share one connection.
pub(crate) const ONE_CONNECTION: Wants<'_> = Wants { pool: 1, ..DEFAULT };

/// A server, a proxy before it, and a client that looks at the server from behind.
pub(crate) struct Scene {
    // Before the world, whose server would wait for it.
    pub(crate) running: Running,
    /// A superuser, straight to the server.
    pub(crate) admin: Client,
    /// The server.
    pub(crate) world: MongoWorld,
    /// Where the MongoDB port is.
    pub(crate) port: u16,
}

impl Scene {
    pub(crate) async fn new() -> Result<Self> {
        Self::with(Wants::default()).await
    }

    pub(crate) async fn with(wants: Wants<'_>) -> Result<Self> {
        Self::before(MongoWorld::start().await?, wants).await
    }

    /// A proxy before a server that runs already.
    pub(crate) async fn before(world: MongoWorld, wants: Wants<'_>) -> Result<Self> {
        let admin = world.server.client("postgres").await?;
        let Front { running, port } = Front::of(&settings(&world, wants)).await?;
        Ok(Self {
            port,
            running,
            admin,
            world,
        })
    }

    /// A client that has not logged in.
    pub(crate) async fn stranger(&self) -> Result<Raw> {
        Raw::connect(self.port).await
    }

    /// A client that has.
    pub(crate) async fn client(&self) -> Result<Raw> {
        let mut client = self.stranger().await?;
        client.log_in(USER, PASSWORD).await?;
        Ok(client)
    }

    /// Another user's client.
    pub(crate) async fn other(&self) -> Result<Raw> {
        let mut client = self.stranger().await?;
        client.log_in(OTHER, OTHER_PASSWORD).await?;
        Ok(client)
    }

    pub(crate) fn wing(&self) -> Result<&Wing> {
        let wing = self.running.mongo_wing().context("no MongoDB port")?;
        Ok(wing)
    }

    /// Fills a collection of the database `test` with documents that have `_id` and `v` from 0 on.
    pub(crate) async fn fill(&self, collection: &str, count: i32) -> Result<()> {
        let documents: RawArrayBuf = (0..count).map(|v| rawdoc! { "_id": v, "v": v }).collect();
        let insert = rawdoc! { "insert": collection, "documents": documents, "$db": "test" };
        self.client().await?.run(&insert).await?;
        Ok(())
    }

    /// How many documents a collection of the database `test` has.
    pub(crate) async fn count(&self, collection: &str) -> Result<i32> {
        let count = rawdoc! { "count": collection, "query": {}, "$db": "test" };
        Ok(self.client().await?.run(&count).await?.get_i32("n")?)
    }

    /// Keeps everybody from a collection of the database `test` until the client that comes back
    /// is dropped.
    pub(crate) async fn lock(&self, collection: &str) -> Result<Client> {
        let sql = "SELECT collection_id FROM documentdb_api_catalog.collections
            WHERE database_name = 'test' AND collection_name = $1";
        let id: i64 = self.admin.query_one(sql, &[&collection]).await?.get(0);
        let locking = self.world.server.client("postgres").await?;
        let lock = format!("BEGIN; LOCK TABLE documentdb_data.documents_{id}");
        locking.batch_execute(&lock).await?;
        Ok(locking)
    }

    /// How many of the proxy's statements wait for a lock.
    pub(crate) async fn locked(&self) -> Result<i64> {
        let sql = "SELECT count(*) FROM pg_stat_activity
            WHERE application_name = 'twinport-mongo' AND wait_event_type = 'Lock'";
        Ok(self.admin.query_one(sql, &[]).await?.get(0))
    }

    /// Waits until just this many of the proxy's statements wait for a lock.
    pub(crate) async fn until_locked(&self, count: i64) -> Result<()> {
        let what = format!("{count} wait for the lock");
        eventually(&what, async || Ok(self.locked().await? == count)).await
    }

    /// How many of the proxy's connections have a transaction open or a statement running.
    pub(crate) async fn busy(&self) -> Result<i64> {
        let sql = "SELECT count(*) FROM pg_stat_activity
            WHERE application_name = 'twinport-mongo' AND state <> 'idle'";
        Ok(self.admin.query_one(sql, &[]).await?.get(0))
    }

    /// How many connections the proxy holds to the server.
    #[allow(dead_code, reason = "the tests of memory and of many clients use it")]
    pub(crate) async fn upstream(&self) -> Result<i64> {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'twinport%'";
        Ok(self.admin.query_one(sql, &[]).await?.get(0))
    }

    /// How many files of cursors the server keeps.
    pub(crate) async fn files(&self) -> Result<i64> {
        let sql = "SELECT count(*) FROM pg_ls_dir('pg_documentdb_cursor_files', true, false)";
        Ok(self.admin.query_one(sql, &[]).await?.get(0))
    }

    pub(crate) async fn stop(self) {
        self.running.finish(Duration::from_secs(1)).await;
    }
}

/// SCRAM without TLS on both sides.
fn settings(world: &MongoWorld, wants: Wants<'_>) -> String {
    let server = &world.server;
    let who = if wants.own_roles {
        String::new()
    } else {
        format!("{}:{}@", server.superuser(), server.password())
    };
    let port = wants.server.unwrap_or(server.port());
    let Wants {
        pool,
        pool_lines,
        mongo_lines,
        ..
    } = wants;
    format!(
        r#"
        [postgres]
        listen = ["127.0.0.1:0"]
        [admin]
        http = "off"
        users = ["{USER}"]
        [users.{USER}]
        password = "{PASSWORD}"
        [users.{OTHER}]
        password = "{OTHER_PASSWORD}"
        [pool]
        size = {pool}
        {pool_lines}
        [mongo]
        listen = ["127.0.0.1:0"]
        upstream = "postgres://{who}127.0.0.1:{port}/postgres?sslmode=disable"
        {mongo_lines}
        "#
    )
}

/// A session's `lsid`; other bytes are another session.
pub(crate) fn session(byte: u8) -> RawDocumentBuf {
    let id = RawBinaryRef {
        subtype: BinarySubtype::Uuid,
        bytes: &[byte; 16],
    };
    rawdoc! { "id": RawBsonRef::Binary(id) }
}

/// The code of an answer that is an error; 0 if it is none.
pub(crate) fn code(answer: &RawDocument) -> i32 {
    match answer.get_f64("ok") {
        Ok(1.0) => 0,
        _ => answer.get_i32("code").unwrap_or(-1),
    }
}

/// The labels of an error.
pub(crate) fn labels(answer: &RawDocument) -> Vec<&str> {
    let labels = answer.get_array("errorLabels").ok();
    let labels = labels.into_iter().flatten().flatten();
    labels.filter_map(|label| label.as_str()).collect()
}

/// The documents of a cursor's page.
pub(crate) fn page(answer: &RawDocument) -> Result<Vec<&RawDocument>> {
    let cursor = answer.get_document("cursor")?;
    let batch = cursor
        .get_array("firstBatch")
        .or_else(|_| cursor.get_array("nextBatch"))?;
    let documents = batch.into_iter().map(|each| {
        let each = each?.as_document();
        each.context("a batch of other than documents")
    });
    documents.collect()
}

/// The number of a cursor; 0 if it is at its end.
pub(crate) fn cursor_of(answer: &RawDocument) -> Result<i64> {
    Ok(answer.get_document("cursor")?.get_i64("id")?)
}
