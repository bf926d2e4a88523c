//! Reads the schema of a Postgres database (14 or newer) from `pg_catalog`.
//!
//! All queries are sent at once and unnamed: one round trip, and no trace in a pooler's session.

mod assemble;
mod body;
mod fingerprint;
mod query;
mod traces;
mod trees;
mod types;
mod words;

use futures_util::future;
use orm_schema::Catalog;
use tokio_postgres::{GenericClient, Row, types::FromSqlOwned};

use crate::Error;

pub use fingerprint::{fingerprint, traces_fingerprint};
pub use traces::{Material, Trace, Traces, Uses, session_traces};

/// Reads all tables, columns, keys, indexes and types that are no part of the system and not
/// temporary. The catalog's version is the [`fingerprint`] from before the reading, so that a
/// change in the midst of it shows at the next comparison.
///
/// # Errors
/// What the server or the connection says.
pub async fn introspect(client: &impl GenericClient) -> Result<Catalog, Error> {
    // A connection answers in the order of the first polls, which `join` keeps.
    let (version, types, tables, columns, indexes, foreign_keys) = future::try_join4(
        fingerprint(client),
        rows(client, query::TYPES),
        rows(client, query::TABLES),
        future::try_join3(
            rows(client, query::COLUMNS),
            rows(client, query::INDEXES),
            rows(client, query::FOREIGN_KEYS),
        ),
    )
    .await
    .map(|(version, types, tables, (columns, indexes, keys))| {
        (version, types, tables, columns, indexes, keys)
    })?;
    let columns = assemble::columns(&columns)?;
    let (types, known) = types::read(&types, &columns)?;
    let tables = assemble::tables(&tables, &columns, &indexes, &foreign_keys, &known)?;
    Ok(Catalog::new(version, tables, types))
}

/// The schemas that unqualified names are looked up in, first to last: those of `search_path` that
/// exist, without the implicit ones.
///
/// # Errors
/// What the server or the connection says.
pub async fn search_path(client: &impl GenericClient) -> Result<Vec<String>, Error> {
    let found = rows(client, "SELECT current_schemas(false)::text[]").await?;
    found
        .first()
        .map_or_else(|| Ok(Vec::new()), |row| get(row, 0))
}

async fn rows(client: &impl GenericClient, sql: &str) -> Result<Vec<Row>, Error> {
    Ok(client.query_typed(sql, &[]).await?)
}

fn get<T: FromSqlOwned>(row: &Row, index: usize) -> Result<T, Error> {
    Ok(row.try_get(index)?)
}
