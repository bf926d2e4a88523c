use orm_schema::{CatalogBuilder, TableBuilder};
use twinport_rewriter::Context;
use twinport_rewriter::pg::{JsonColumns, rewrite_with};
use twinport_wire::pg::backend::build;

use super::*;

/// What becomes of authors' books, of which `id` and `title` are asked for.
pub(crate) fn folds() -> Vec<Fold> {
    let catalog = CatalogBuilder::new()
        .table(
            TableBuilder::new("author")
                .column("id", "int4")
                .key(&["id"]),
        )
        .table(
            TableBuilder::new("book")
                .column("id", "int4")
                .column("title", "text")
                .column("author_id", "int4")
                .key(&["id"])
                .references(&["author_id"], "author", &["id"]),
        )
        .build();
    let context = Context {
        catalog: &catalog,
        search_path: &["public".to_owned()],
        server_version: 150_000,
        standard_conforming_strings: true,
    };
    let sql = "/* @include(books(columns: [id, title])) */ SELECT id FROM author";
    rewrite_with(sql, &context, JsonColumns::Packed)
        .map(|rewrite| rewrite.folds)
        .unwrap_or_default()
}

/// Books as the server packs them.
pub(crate) fn packed(books: &[(i64, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (id, title) in books {
        out.push(1);
        out.extend(id.to_be_bytes());
        out.extend(title.as_bytes());
        out.extend([0, 1]);
    }
    out
}

pub(crate) fn data_row(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut out = Vec::new();
    build::data_row(&mut out, values);
    out
}

fn folded(frame: &[u8]) -> Result<Vec<u8>, Unfolded> {
    let mut out = b"before".to_vec();
    let result = row(frame, &folds(), &mut Vec::new(), &mut out);
    let out = out.strip_prefix(b"before").unwrap().to_vec();
    assert!(result.is_ok() || out.is_empty());
    result.map(|()| out)
}

const JSON: &[u8] = br#"[{"id":1,"title":"a \"b\\"},{"id":-2,"title":""}]"#;

#[test]
fn every_format_gives_the_same_json() {
    let binary = packed(&[(1, "a \"b\\"), (-2, "")]);
    let hex: String = binary.iter().map(|byte| format!("{byte:02x}")).collect();
    let hex = format!("\\x{hex}");
    let mut escaped = Vec::new();
    for byte in &binary {
        match byte {
            b'\\' => escaped.extend(b"\\\\"),
            b' '..=b'~' => escaped.push(*byte),
            other => escaped.extend(format!("\\{other:03o}").bytes()),
        }
    }
    let wanted = data_row(&[Some(b"7"), None, Some(JSON)]);
    for value in [&binary, hex.as_bytes(), &escaped] {
        let frame = data_row(&[Some(b"7"), None, Some(value)]);
        assert_eq!(folded(&frame).unwrap(), wanted);
    }
}

#[test]
fn no_rows_give_an_empty_list() {
    let frame = data_row(&[None, None]);
    assert_eq!(folded(&frame).unwrap(), data_row(&[None, Some(b"[]")]));
}

#[test]
fn what_the_statement_did_not_pack_is_refused() {
    let binary = packed(&[(1, "a")]);
    let whole = data_row(&[Some(b"7"), Some(&binary)]);
    assert!(folded(&whole).is_ok());
    for end in HEADER..whole.len() {
        let cut = whole.get(..end).unwrap();
        assert!(matches!(folded(cut), Err(Unfolded::Malformed(_))), "{end}");
    }
    for value in [&b"\\x0"[..], b"\\x0g", b"\\1", b"\\400", b"\\ ", b"x"] {
        let frame = data_row(&[Some(value)]);
        assert!(
            matches!(folded(&frame), Err(Unfolded::Malformed(_))),
            "{value:?}"
        );
    }
    assert!(folded(&data_row(&[])).is_err());
}
