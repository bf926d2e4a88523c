//! The private server with the small library in it, as tables and, where the DocumentDB extension
//! can be had, as MongoDB collections.

use anyhow::Context;
use twinport_embedded::{Finder, Server};

use super::{
    Options,
    stage::{DATABASE, USER},
};

const TABLES: &str = include_str!("../../sample/library.sql");
const COLLECTIONS: &str = include_str!("../../sample/collections.sql");
const EXTENSION: &str = "documentdb";

pub(super) struct Library {
    pub(super) server: Server,
    /// Why there are no collections, if there are none.
    pub(super) collections: Result<(), String>,
}

impl Library {
    pub(super) async fn open(options: &Options) -> anyhow::Result<Self> {
        let (server, mut collections) = start(options).await?;
        load_tables(&server)
            .await
            .context("cannot load the sample schema")?;
        if collections.is_ok() {
            collections = load_collections(&server).await.map_err(|error| {
                format!("no MongoDB port: cannot set up the DocumentDB extension: {error:#}")
            });
        }
        Ok(Self {
            server,
            collections,
        })
    }
}

/// A server with the extension's libraries if that can be, else one without.
async fn start(options: &Options) -> anyhow::Result<(Server, Result<(), String>)> {
    let mut wanted = twinport_embedded::Options {
        major: options.postgres_version.or_else(|| kept_version(options)),
        data: options.data.clone(),
        port: options.database_port,
        superuser: USER.into(),
        password: USER.into(),
        ..twinport_embedded::Options::default()
    };
    let plain = wanted.clone();
    let Some(installation) = wanted.finder.find_with(EXTENSION, wanted.major) else {
        let server = Server::start(plain).await?;
        let reason = format!(
            "no MongoDB port: Postgres {} in {} has no DocumentDB extension; \
             scripts/setup-postgres-18.sh brings a Postgres 18 that has",
            server.version(),
            server.installation().bin.display()
        );
        return Ok((server, Err(reason)));
    };
    wanted.finder = Finder::in_folders([installation.bin]);
    wanted.documentdb = Some(DATABASE.into());
    match Server::start(wanted).await {
        Ok(server) => Ok((server, Ok(()))),
        Err(error) if error.is_start() && !error.is_port_taken() => {
            let reason = format!("no MongoDB port: with the DocumentDB extension, {error}");
            Ok((Server::start(plain).await?, Err(reason)))
        }
        Err(error) => Err(error.into()),
    }
}

/// The major version that a kept folder needs.
fn kept_version(options: &Options) -> Option<u32> {
    let file = options.data.as_ref()?.join("PG_VERSION");
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// A kept folder has the database from before, with whatever was done to it.
async fn load_tables(server: &Server) -> anyhow::Result<()> {
    let client = server.client("postgres").await?;
    let known = client
        .query_opt("SELECT FROM pg_database WHERE datname = $1", &[&DATABASE])
        .await?;
    if known.is_some() {
        return Ok(());
    }
    client
        .batch_execute(&format!("CREATE DATABASE {DATABASE}"))
        .await?;
    server.client(DATABASE).await?.batch_execute(TABLES).await?;
    Ok(())
}

/// The tables' rows as documents, unless there are documents from before.
async fn load_collections(server: &Server) -> anyhow::Result<()> {
    let client = server.client(DATABASE).await?;
    client
        .batch_execute("CREATE EXTENSION IF NOT EXISTS documentdb CASCADE")
        .await?;
    let known = client
        .query_opt(
            "SELECT FROM documentdb_api_catalog.collections WHERE database_name = $1 LIMIT 1",
            &[&DATABASE],
        )
        .await?;
    if known.is_none() {
        client.batch_execute(COLLECTIONS).await?;
    }
    Ok(())
}
