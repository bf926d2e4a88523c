//! Annotated command in, command out, both as extended JSON: one snapshot for each file of cases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

#[path = "support/commands.rs"]
mod commands;
#[path = "support/relations.rs"]
mod relations;

use std::fmt::Write;

use bson::raw::{RawDocument, RawDocumentBuf};
use bson::{Document, rawdoc};
use commands::Case;
use twinport_rewriter::Error;
use twinport_rewriter::mongo::{
    Answer, Context, Rewrite, Sections, Sequence, UniqueIndex, insert_answer, read,
};

fn run(
    body: &RawDocument,
    sections: &[Sequence<'_>],
    indexes: &[UniqueIndex],
) -> Result<Option<Rewrite>, Error> {
    let relations = relations::relations();
    let cx = Context {
        relations: &relations,
        unique_indexes: indexes,
    };
    read(body, sections)?
        .map(|request| request.rewrite(&cx))
        .transpose()
}

fn indexes(case: &Case) -> Vec<UniqueIndex> {
    let read = |text: &String| UniqueIndex::read(&commands::raw(text)).unwrap();
    case.indexes.iter().filter_map(read).collect()
}

fn run_case(case: &Case) -> Result<Option<Rewrite>, Error> {
    let (body, section) = (case.body(), case.section());
    let sections: Vec<Sequence<'_>> = section
        .iter()
        .map(|documents| Sequence {
            identifier: "documents",
            documents,
        })
        .collect();
    run(&body, &sections, &indexes(case))
}

fn json(document: &RawDocument) -> String {
    let document = Document::try_from(document).expect("what is sent is well formed");
    serde_json::to_string(&document).unwrap()
}

/// A command on several lines: one for each stage of its pipeline.
fn shown_body(body: &RawDocument) -> String {
    let Ok(pipeline) = body.get_array("pipeline") else {
        return json(body);
    };
    let mut out = String::new();
    for element in body.iter() {
        let (name, value) = element.unwrap();
        if name.as_str() != "pipeline" {
            let field: RawDocumentBuf = [(name, value)].into_iter().collect();
            let text = json(&field);
            let _ = writeln!(out, "{}", &text[1..text.len() - 1]);
            continue;
        }
        out.push_str("\"pipeline\":\n");
        for stage in pipeline {
            let _ = writeln!(out, "  {}", json(stage.unwrap().as_document().unwrap()));
        }
    }
    out.trim_end().to_owned()
}

fn split(mut bytes: &[u8]) -> Vec<&RawDocument> {
    let mut documents = Vec::new();
    while let Some(length) = bytes.first_chunk::<4>() {
        let (document, rest) = bytes.split_at(i32::from_le_bytes(*length) as usize);
        documents.push(RawDocument::from_bytes(document).unwrap());
        bytes = rest;
    }
    documents
}

fn shown(case: &Case) -> String {
    let mut out = format!("== {}\n{}", case.name, case.command);
    for index in &case.indexes {
        let _ = writeln!(out, "index: {index}");
    }
    for document in case.documents.iter().flatten() {
        let _ = writeln!(out, "document: {document}");
    }
    match run_case(case) {
        Ok(None) => out.push_str("--> (no directive)\n"),
        Ok(Some(rewrite)) => {
            let _ = writeln!(out, "-->\n{}", shown_body(&rewrite.body));
            if let Sections::Updates(section) = &rewrite.sections {
                for update in split(section) {
                    let _ = writeln!(out, "update: {}", json(update));
                }
            }
            if rewrite.answer != Answer::AsItIs {
                let _ = writeln!(out, "answer: {:?}", rewrite.answer);
            }
            if let Some(timeout) = rewrite.timeout {
                let _ = writeln!(out, "timeout: {timeout:?}");
            }
            for lookup in &rewrite.lookups {
                let _ = writeln!(out, "looks up: {}.{}", lookup.collection, lookup.field);
            }
        }
        Err(error) => {
            let (code, name) = (error.mongo_code(), error.mongo_code_name());
            let _ = writeln!(out, "--> {code} {name}: {}", error.message());
            if let Some(position) = error.position() {
                let body = case.body();
                let comment = twinport_rewriter::mongo::annotation(&body).unwrap();
                let from: String = comment.chars().skip(position - 1).take(12).collect();
                let _ = writeln!(out, "at {position}: {from:?}");
            }
            if let Some(hint) = error.hint() {
                let _ = writeln!(out, "hint: {hint}");
            }
        }
    }
    out
}

/// A test for each file of cases.
macro_rules! files {
    ($($name:ident),+ $(,)?) => {
        $(
            #[test]
            fn $name() {
                let cases = commands::read(include_str!(concat!("cases/", stringify!($name), ".txt")));
                assert!(!cases.is_empty());
                let text: Vec<String> = cases.iter().map(shown).collect();
                insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
                    insta::assert_snapshot!(stringify!($name), text.join("\n"));
                });
            }
        )+
    };
}

files! {
    mongo_aggregate,
    mongo_find,
    mongo_include,
    mongo_refused,
    mongo_upsert,
    mongo_where,
}

#[test]
fn an_update_without_a_count_is_answered_as_it_is() {
    let refused = rawdoc! { "ok": 0.0, "errmsg": "no", "code": 13 };
    assert_eq!(insert_answer(&refused).unwrap(), refused);
}

#[test]
fn write_errors_keep_their_places() {
    let update = rawdoc! { "n": 3, "nModified": 0, "upserted": [{ "index": 1, "_id": 5 }, { "index": 2, "_id": 6 }],
    "writeErrors": [{ "index": 3, "code": 11000 }], "ok": 1.0, "$clusterTime": { "a": 1 } };
    let insert = insert_answer(&update).unwrap();
    assert_eq!(
        insert,
        rawdoc! { "n": 3,
        "upsert": { "inserted": [{ "index": 1, "_id": 5 }, { "index": 2, "_id": 6 }], "matched": 1_i64, "modified": 0_i64 },
        "writeErrors": [{ "index": 3, "code": 11000 }], "ok": 1.0, "$clusterTime": { "a": 1 } }
    );
}

#[test]
fn a_section_that_ends_inside_a_document_is_refused() {
    let body = rawdoc! { "insert": "people", "comment": "@upsert(_id)" };
    let whole = rawdoc! { "_id": 1 }.into_bytes();
    for end in 1..whole.len() {
        let sections = [Sequence {
            identifier: "documents",
            documents: &whole[..end],
        }];
        assert!(run(&body, &sections, &[]).unwrap_err().is_syntax());
    }
}
