//! Directives on SQL for Postgres.

mod statement;
mod token;

use std::time::Duration;

use crate::directive::{Directive, Located, parse_at};
use crate::error::Error;
use crate::{Context, Rewrite};
use statement::Statement;

/// Carries out the directives in a statement's annotations, or in those of several statements with
/// semicolons between.
///
/// Statements without an annotation, and those with none but `@timeout`, keep their text byte for byte. In a
/// text of several statements the shortest `@timeout` is reported, as the server runs them in one go.
///
/// # Errors
///
/// If an annotation is malformed, names something that doesn't exist, or can't be carried out on its
/// statement. Positions count the characters of `sql`.
pub fn rewrite(sql: &str, cx: &Context<'_>) -> Result<Rewrite, Error> {
    run(sql, cx).map_err(|error| error.within(sql))
}

/// The stages: tokens, statements with their annotations, directives, edits, text.
fn run(sql: &str, cx: &Context<'_>) -> Result<Rewrite, Error> {
    let tokens = token::tokens(sql, cx.standard_conforming_strings)?;
    let mut edits = Vec::new();
    let mut timeout = None;
    for statement in statement::split(sql, &tokens)? {
        let directives = directives_of(sql, &statement)?;
        apply(&statement, directives, cx, &mut edits, &mut timeout)?;
    }
    Ok(Rewrite {
        sql: splice(sql, edits),
        timeout,
    })
}

/// An insertion at a byte of the original text.
struct Edit {
    at: usize,
    text: String,
}

fn directives_of(sql: &str, statement: &Statement<'_>) -> Result<Vec<Located>, Error> {
    let mut directives = Vec::new();
    for comment in &statement.annotations {
        let text = sql.get(comment.clone()).unwrap_or_default();
        directives.extend(parse_at(text, comment.start)?);
    }
    Ok(directives)
}

fn apply(
    _statement: &Statement<'_>,
    directives: Vec<Located>,
    _cx: &Context<'_>,
    _edits: &mut Vec<Edit>,
    timeout: &mut Option<Duration>,
) -> Result<(), Error> {
    use crate::error::ErrorKind;
    for Located { directive, at } in directives {
        match directive {
            Directive::Timeout(limit) => {
                *timeout = Some(timeout.map_or(limit, |shorter: Duration| shorter.min(limit)));
            }
            Directive::Include(_) | Directive::Upsert(_) => {
                let message = "the directive is recognised but not built yet";
                return Err(Error::new(ErrorKind::NotSupported, message).at(at));
            }
        }
    }
    Ok(())
}

/// The text with all edits made; edits at one place keep their order.
fn splice(sql: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|edit| edit.at);
    let added: usize = edits.iter().map(|edit| edit.text.len()).sum();
    let mut out = String::with_capacity(sql.len() + added);
    let mut done = 0;
    for edit in edits {
        out.push_str(sql.get(done..edit.at).unwrap_or_default());
        out.push_str(&edit.text);
        done = edit.at;
    }
    out.push_str(sql.get(done..).unwrap_or_default());
    out
}
