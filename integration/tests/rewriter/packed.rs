//! What is packed gives, byte by byte, the JSON that the server writes.

use anyhow::{Context as _, Result, ensure};
use tokio_postgres::Client;
use twinport_embedded::{Options, Server};
use twinport_rewriter::Context;
use twinport_rewriter::pg::fold::Fold;
use twinport_rewriter::pg::{JsonColumns, rewrite_with};

use super::cases::{self, Case};
use super::{Answer, FILES, SCHEMA, ask_exactly, catalog, compare, server_version};

#[tokio::test]
async fn packed_columns_become_the_same_json() -> Result<()> {
    let server = Server::start(Options::for_tests()).await?;
    let client = server.client("postgres").await?;
    client.batch_execute(SCHEMA).await?;
    client
        .batch_execute("SET timezone = 'America/New_York'")
        .await?;
    let catalog = catalog::catalog();
    let server_version = server_version(&client).await?;
    let (mut compared, mut failures) = (0, Vec::new());
    for (file, text) in FILES {
        for case in cases::read(text).map_err(anyhow::Error::msg)? {
            let cx = Context {
                catalog: &catalog,
                search_path: &case.path,
                server_version,
                standard_conforming_strings: !case.legacy_strings,
            };
            let rewritten = |json| rewrite_with(&case.statement, &cx, json);
            let (Ok(alone), Ok(packed)) =
                (rewritten(JsonColumns::Text), rewritten(JsonColumns::Packed))
            else {
                continue;
            };
            ensure!(packed.folds.len() == alone.text_as_json, "{}", case.name);
            if packed.folds.is_empty() {
                continue;
            }
            compared += 1;
            let wanted = answer_of(&client, &case, &alone.sql).await?;
            let mut found = answer_of(&client, &case, &packed.sql).await?;
            fold(&mut found, &packed.folds)?;
            if let Err(problem) = compare(&found, &wanted) {
                failures.push(format!("{file}: {}: {problem:#}", case.name));
            }
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    ensure!(compared >= 50, "only {compared} cases were compared");
    Ok(())
}

/// The rows of a case's statement.
async fn answer_of(client: &Client, case: &Case, sql: &str) -> Result<Answer> {
    let path = case.path.join(", ");
    client
        .batch_execute(&format!(
            "BEGIN; SET LOCAL search_path = {path}; PREPARE p AS {sql}"
        ))
        .await
        .with_context(|| sql.to_owned())?;
    let execute = match sql.contains('$') {
        true => format!("EXECUTE p({})", case.params.as_deref().unwrap_or("1")),
        false => "EXECUTE p".to_owned(),
    };
    let answer = ask_exactly(client, &execute)
        .await
        .with_context(|| sql.to_owned())?;
    client.batch_execute("ROLLBACK; DEALLOCATE ALL").await?;
    Ok(answer)
}

/// Folds the packed columns, which came as text.
fn fold(answer: &mut Answer, folds: &[Fold]) -> Result<()> {
    for row in &mut answer.rows {
        let kept = row.len() - folds.len();
        for (value, fold) in row.iter_mut().skip(kept).zip(folds) {
            let packed = value.as_deref().map(bytes).transpose()?;
            let mut json = Vec::new();
            let is_there = fold.json(packed.as_deref(), &mut json)?;
            *value = is_there.then(|| String::from_utf8(json)).transpose()?;
        }
    }
    Ok(())
}

/// The bytes of a `bytea` in text format.
fn bytes(text: &str) -> Result<Vec<u8>> {
    let digits = text.strip_prefix("\\x").context("no bytea")?;
    (0..digits.len())
        .step_by(2)
        .map(|at| {
            Ok(u8::from_str_radix(
                digits.get(at..at + 2).context("half a byte")?,
                16,
            )?)
        })
        .collect()
}
