//! The rewriter's cases on a real server: each rewritten statement gives what a plain, naive one gives.

#[path = "../../rewriter/tests/support/cases.rs"]
mod cases;
#[path = "../../rewriter/tests/support/catalog.rs"]
mod catalog;
#[path = "rewriter/packed.rs"]
mod packed;

use anyhow::{Context as _, Result, ensure};
use cases::Case;
use orm_schema::Catalog;
use tokio_postgres::{Client, SimpleQueryMessage};
use twinport_embedded::{Options, Server};
use twinport_rewriter::pg::{JsonColumns, rewrite_with};

const SCHEMA: &str = include_str!("../../rewriter/tests/support/schema.sql");

const FILES: &[(&str, &str)] = &[
    (
        "annotations",
        include_str!("../../rewriter/tests/cases/annotations.sql"),
    ),
    (
        "include_clauses",
        include_str!("../../rewriter/tests/cases/include_clauses.sql"),
    ),
    (
        "include_names",
        include_str!("../../rewriter/tests/cases/include_names.sql"),
    ),
    (
        "include_packed",
        include_str!("../../rewriter/tests/cases/include_packed.sql"),
    ),
    (
        "include_refused",
        include_str!("../../rewriter/tests/cases/include_refused.sql"),
    ),
    (
        "include_to_many",
        include_str!("../../rewriter/tests/cases/include_to_many.sql"),
    ),
    (
        "include_to_one",
        include_str!("../../rewriter/tests/cases/include_to_one.sql"),
    ),
    (
        "timeout",
        include_str!("../../rewriter/tests/cases/timeout.sql"),
    ),
    (
        "upsert",
        include_str!("../../rewriter/tests/cases/upsert.sql"),
    ),
    (
        "upsert_refused",
        include_str!("../../rewriter/tests/cases/upsert_refused.sql"),
    ),
];

/// A result: the columns' names, then rows of values.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    columns: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
}

#[tokio::test]
async fn rewritten_statements_give_the_naive_answer() -> Result<()> {
    let server = Server::start(Options::for_tests()).await?;
    let client = server.client("postgres").await?;
    client.batch_execute(SCHEMA).await?;
    let catalog = catalog::catalog();
    let version = server_version(&client).await?;
    let (mut compared, mut failures) = (0, Vec::new());
    for (file, text) in FILES {
        for case in cases::read(text).map_err(anyhow::Error::msg)? {
            // As the server understands it, and as it would be written for an older one.
            let version = case.version.unwrap_or(version).min(version);
            let outcome = run(&client, &catalog, &case, version).await;
            compared += usize::from(case.expect.is_some() || case.state.is_some());
            if let Err(problem) = outcome {
                failures.push(format!("{file}: {}: {problem:#}", case.name));
            }
            client.batch_execute("ROLLBACK; DEALLOCATE ALL").await?;
        }
    }
    ensure!(
        failures.is_empty(),
        "{} cases differ:\n{}",
        failures.len(),
        failures.join("\n\n")
    );
    ensure!(compared >= 60, "only {compared} cases were compared");
    Ok(())
}

async fn server_version(client: &Client) -> Result<u32> {
    let row = client.query_one("SHOW server_version_num", &[]).await?;
    Ok(row.get::<_, &str>(0).parse()?)
}

/// Runs one case in a transaction that is left open.
async fn run(client: &Client, catalog: &Catalog, case: &Case, version: u32) -> Result<()> {
    let cx = twinport_rewriter::Context {
        catalog,
        search_path: &case.path,
        server_version: version,
        standard_conforming_strings: !case.legacy_strings,
    };
    let json = case.json.unwrap_or(JsonColumns::Cast);
    let Ok(rewritten) = rewrite_with(&case.statement, &cx, json) else {
        return Ok(());
    };
    let path = case.path.join(", ");
    client
        .batch_execute(&format!("BEGIN; SET LOCAL search_path = {path}"))
        .await?;
    let sql = match &case.params {
        None => rewritten.sql,
        Some(params) => {
            client
                .batch_execute(&format!("PREPARE p AS {}", rewritten.sql))
                .await?;
            format!("EXECUTE p({params})")
        }
    };
    let answer = ask(client, &sql).await.with_context(|| sql.clone())?;
    if let Some(after) = &case.after {
        let state = case
            .state
            .as_ref()
            .context("\"# after\" needs \"# state\"")?;
        compare(&ask(client, after).await?, &ask(client, state).await?)?;
    }
    // The plain statement sees the rows as they were before.
    client.batch_execute("ROLLBACK; BEGIN").await?;
    match &case.expect {
        Some(expect) => compare(&answer, &ask(client, expect).await?).context(sql),
        None => Ok(()),
    }
}

fn compare(found: &Answer, wanted: &Answer) -> Result<()> {
    ensure!(found == wanted, "\n   found {found:?}\n  wanted {wanted:?}");
    Ok(())
}

/// The rows of a statement, blanks in JSON left out.
async fn ask(client: &Client, sql: &str) -> Result<Answer> {
    let mut answer = ask_exactly(client, sql).await?;
    for value in answer.rows.iter_mut().flatten().flatten() {
        *value = compact(value);
    }
    Ok(answer)
}

/// The rows of a statement by the simple protocol, so that every value is text.
async fn ask_exactly(client: &Client, sql: &str) -> Result<Answer> {
    let mut answer = Answer {
        columns: Vec::new(),
        rows: Vec::new(),
    };
    for message in client.simple_query(sql).await? {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                answer.columns = columns
                    .iter()
                    .map(|column| column.name().to_owned())
                    .collect();
            }
            SimpleQueryMessage::Row(row) => {
                let values = (0..row.len())
                    .map(|index| row.get(index).map(str::to_owned))
                    .collect();
                answer.rows.push(values);
            }
            _ => {}
        }
    }
    Ok(answer)
}

/// A JSON text without the blanks between its tokens; any other text as it is.
fn compact(text: &str) -> String {
    if !text.starts_with(['{', '[']) {
        return text.to_owned();
    }
    let (mut out, mut in_string, mut escaped) = (String::new(), false, false);
    for letter in text.chars() {
        if in_string {
            in_string = escaped || letter != '"';
            escaped = !escaped && letter == '\\';
        } else if letter == '"' {
            in_string = true;
        } else if letter.is_ascii_whitespace() {
            continue;
        }
        out.push(letter);
    }
    out
}

/// Every derived column of `sample` against `to_json`, value by value, also under settings that change how types
/// are written.
#[tokio::test]
async fn values_are_written_as_to_json_writes_them() -> Result<()> {
    let server = Server::start(Options::for_tests()).await?;
    let client = server.client("postgres").await?;
    client.batch_execute(SCHEMA).await?;
    let catalog = catalog::catalog();
    let cx = twinport_rewriter::Context {
        catalog: &catalog,
        search_path: &["public".to_owned()],
        server_version: server_version(&client).await?,
        standard_conforming_strings: true,
    };
    let statement = "/* @include(samples(order: id)) */ SELECT id FROM author WHERE id = 1";
    let rewritten = twinport_rewriter::pg::rewrite(statement, &cx)?;
    let naive = "SELECT a.id, (SELECT json_agg(s ORDER BY s.id) FROM sample s WHERE s.author_id = a.id) \
                 AS samples FROM author a WHERE a.id = 1";
    for settings in [
        "SET datestyle = 'German, DMY'; SET timezone = 'Asia/Kathmandu'; SET intervalstyle = 'iso_8601'",
        "SET extra_float_digits = -5; SET bytea_output = 'escape'; SET standard_conforming_strings = off; \
         SET escape_string_warning = off",
    ] {
        client.batch_execute(settings).await?;
        compare(
            &ask(&client, &rewritten.sql).await?,
            &ask(&client, naive).await?,
        )
        .context(settings)?;
    }
    Ok(())
}

/// The catalog read from the server gives the same statements as the one made by hand for the snapshots.
#[tokio::test]
async fn the_introspected_catalog_gives_the_same_statements() -> Result<()> {
    let server = Server::start(Options::for_tests()).await?;
    let client = server.client("postgres").await?;
    client.batch_execute(SCHEMA).await?;
    let by_hand = catalog::catalog();
    let introspected = twinport_migrations::introspect::pg::introspect(&client).await?;
    for (file, text) in FILES {
        for case in cases::read(text).map_err(anyhow::Error::msg)? {
            let rewritten = |catalog| {
                let cx = twinport_rewriter::Context {
                    catalog,
                    search_path: &case.path,
                    server_version: 150_000,
                    standard_conforming_strings: !case.legacy_strings,
                };
                twinport_rewriter::pg::rewrite(&case.statement, &cx)
                    .map_err(|error| (error.sqlstate(), error.position()))
            };
            let (wanted, found) = (rewritten(&by_hand), rewritten(&introspected));
            ensure!(
                found == wanted,
                "{file}: {}:\n{found:?}\n{wanted:?}",
                case.name
            );
        }
    }
    Ok(())
}
