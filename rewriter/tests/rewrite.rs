//! Annotated statement in, statement out: one snapshot for each file of cases.
//!
//! The same cases are run on a server by the integration tests.

#[path = "support/cases.rs"]
mod cases;
#[path = "support/catalog.rs"]
mod catalog;

use std::fmt::Write;

use cases::Case;
use orm_schema::Catalog;
use twinport_rewriter::pg::{JsonColumns, rewrite_with};
use twinport_rewriter::{Context, Error, Rewrite};

fn run(case: &Case, catalog: &Catalog) -> Result<Rewrite, Error> {
    let cx = Context {
        catalog,
        search_path: &case.path,
        server_version: case.version.unwrap_or(150_000),
        standard_conforming_strings: !case.legacy_strings,
    };
    rewrite_with(&case.statement, &cx, case.json.unwrap_or(JsonColumns::Cast))
}

fn shown(case: &Case, result: Result<Rewrite, Error>) -> String {
    let mut out = format!("== {}\n{}\n", case.name, case.statement);
    match result {
        Ok(Rewrite {
            sql,
            timeout,
            text_as_json,
            folds,
        }) => {
            let sql = if sql == case.statement {
                "(unchanged)"
            } else {
                sql.as_str()
            };
            let _ = writeln!(out, "-->\n{sql}");
            if let Some(timeout) = timeout {
                let _ = writeln!(out, "timeout: {timeout:?}");
            }
            if text_as_json > 0 {
                let _ = writeln!(out, "text as json: {text_as_json}");
            }
            for fold in folds {
                let _ = writeln!(out, "fold: {fold}");
            }
        }
        Err(error) => {
            let _ = writeln!(out, "--> {}: {}", error.sqlstate(), error.message());
            if let Some(position) = error.position() {
                let from: String = case.statement.chars().skip(position - 1).take(12).collect();
                let _ = writeln!(out, "at {position}: {from:?}");
            }
            if let Some(hint) = error.hint() {
                let _ = writeln!(out, "hint: {hint}");
            }
        }
    }
    out
}

fn check(name: &str, cases: &[Case]) {
    let catalog = catalog::catalog();
    assert!(!cases.is_empty());
    for case in cases {
        let runs = [&case.params, &case.expect, &case.after, &case.state];
        let refused = run(case, &catalog).is_err();
        assert!(
            !refused || runs.iter().all(|part| part.is_none()),
            "{} is refused",
            case.name
        );
    }
    let text: Vec<String> = cases
        .iter()
        .map(|case| shown(case, run(case, &catalog)))
        .collect();
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, text.join("\n"));
    });
}

/// A test for each file of cases.
macro_rules! files {
    ($($name:ident),+ $(,)?) => {
        $(
            #[test]
            fn $name() {
                let file = include_str!(concat!("cases/", stringify!($name), ".sql"));
                check(stringify!($name), &cases::read(file).expect("the file is well formed"));
            }
        )+
    };
}

files! {
    annotations,
    include_clauses,
    include_names,
    include_packed,
    include_refused,
    include_to_many,
    include_to_one,
    timeout,
    upsert,
    upsert_refused,
}
