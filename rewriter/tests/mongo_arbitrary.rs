//! Arbitrary input: nothing panics, and what is not annotated is not touched.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

#[path = "support/relations.rs"]
mod relations;

use bson::raw::{RawArrayBuf, RawDocument, RawDocumentBuf};
use bson::{RawBson, rawdoc};
use proptest::prelude::*;
use twinport_rewriter::mongo::{
    Context, Relations, Schemas, Sequence, UniqueIndex, annotation, insert_answer, read,
};

/// Keys that commands, stages and documents have.
const KEYS: &[&str] = &[
    "find",
    "aggregate",
    "insert",
    "explain",
    "update",
    "filter",
    "sort",
    "projection",
    "pipeline",
    "documents",
    "limit",
    "skip",
    "batchSize",
    "singleBatch",
    "hint",
    "tailable",
    "maxTimeMS",
    "cursor",
    "_id",
    "email",
    "books",
    "author",
    "author_id",
    "$match",
    "$project",
    "$set",
    "$unset",
    "$unwind",
    "$lookup",
    "$natural",
    "$slice",
    "as",
    "path",
    "n",
    "upserted",
    "nModified",
    "properties",
    "items",
    "enum",
    "$ref",
    "$id",
    "$db",
    "a.b",
    "$",
    "",
];

const TEXTS: &[&str] = &[
    "books",
    "authors",
    "people",
    "$books",
    "x",
    "",
    "@include(books)",
];

const COMMENTS: &[&str] = &[
    "@include(books)",
    "@include(author)",
    "@include(books(order: -a, limit: 2, where: \"a > 1 and not b like 'x%'\", columns: [a]).publisher)",
    "@include(tags, genres, reviews, publisher) @timeout(2s)",
    "@upsert(email)",
    "@upsert",
    "@upsert(_id, keep: [a])",
    "@timeout(1s)",
    "@",
];

const HEADS: &[&str] = &["find", "aggregate", "insert", "explain", "count", "getMore"];

fn value() -> impl Strategy<Value = RawBson> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(RawBson::Int32),
        (-2..3_i64).prop_map(RawBson::Int64),
        any::<f64>().prop_map(RawBson::Double),
        any::<bool>().prop_map(RawBson::Boolean),
        Just(RawBson::Null),
        prop::sample::select(TEXTS).prop_map(|text| RawBson::String(text.to_owned())),
        prop::sample::select(COMMENTS).prop_map(|text| RawBson::String(text.to_owned())),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| RawBson::Array(items.into_iter().collect::<RawArrayBuf>())),
            fields(inner).prop_map(RawBson::Document),
        ]
    })
}

fn fields(values: impl Strategy<Value = RawBson>) -> impl Strategy<Value = RawDocumentBuf> {
    prop::collection::vec((prop::sample::select(KEYS), values), 0..5).prop_map(|fields| {
        let mut document = RawDocumentBuf::new();
        for (key, value) in fields {
            document.append(<&bson::raw::CStr>::try_from(key).unwrap(), value);
        }
        document
    })
}

/// A command that looks like one, with a comment that may be an annotation.
fn command() -> impl Strategy<Value = RawDocumentBuf> {
    let head = (
        prop::sample::select(HEADS),
        value(),
        prop::sample::select(TEXTS),
        any::<bool>(),
    );
    let comment = prop_oneof![
        prop::sample::select(COMMENTS).prop_map(str::to_owned),
        any::<String>().prop_map(|text| format!("@include({text}")),
    ];
    (head, fields(value()), comment).prop_map(
        |((name, given, collection, plain), rest, comment)| {
            let mut document = RawDocumentBuf::new();
            let given = if plain {
                RawBson::String(collection.to_owned())
            } else {
                given
            };
            document.append(<&bson::raw::CStr>::try_from(name).unwrap(), given);
            for element in rest.iter_elements().flatten() {
                document.append(element.key(), element.value().unwrap());
            }
            document.append(bson::raw::cstr!("comment"), comment);
            document
        },
    )
}

fn run(body: &RawDocument, section: Option<&[u8]>) {
    let relations = relations::relations();
    let index = UniqueIndex::read(&rawdoc! { "key": { "email": 1 }, "name": "e", "unique": true });
    let indexes = [index.unwrap().unwrap()];
    let cx = Context {
        relations: &relations,
        unique_indexes: &indexes,
    };
    let sections: Vec<Sequence<'_>> = section
        .iter()
        .map(|documents| Sequence {
            identifier: "documents",
            documents,
        })
        .collect();
    let comment = annotation(body);
    let result = read(body, &sections)
        .and_then(|request| request.map(|request| request.rewrite(&cx)).transpose());
    match result {
        Ok(None) => assert_eq!(comment, None),
        // What comes out can be read to its end.
        Ok(Some(rewrite)) => assert!(rewrite.body.iter().all(|element| element.is_ok())),
        Err(error) => {
            let length = comment
                .expect("only an annotation can be wrong")
                .chars()
                .count();
            let position = error.position().unwrap_or(1);
            assert!((1..=length + 1).contains(&position), "{position}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn rewriting_commands_never_panics(body in command(), documents in fields(value()), section in any::<bool>()) {
        run(&body, section.then(|| documents.as_bytes()));
    }

    #[test]
    fn broken_bytes_never_panic(body in command(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = body.into_bytes();
        // The length before and the zero behind are looked at by whoever finds the command.
        let inner = bytes.len() - 5;
        bytes[4 + at.index(inner)] = byte;
        if let Ok(broken) = RawDocument::from_bytes(&bytes) {
            run_broken(broken);
        }
    }

    #[test]
    fn any_validator_is_read(properties in fields(value()), items in fields(value()), text in "@ref\\(?[a-z.:, \"]{0,12}\\)?") {
        let key = rawdoc! { "description": text, "properties": properties.clone() };
        let list = rawdoc! { "bsonType": "array", "items": items };
        let schema = rawdoc! { "properties": { "key_id": key, "list": list, "own": { "properties": properties } } };
        let mut schemas = Schemas::default();
        schemas.read("shop", "books", &rawdoc! { "$jsonSchema": schema });
        schemas.relate(&mut Relations::new());
    }

    #[test]
    fn any_answer_is_reshaped_or_refused(answer in fields(value())) {
        let _ = insert_answer(&answer);
    }
}

/// As [`run`], without a look at what comes out: BSON that is broken inside values goes on as it came.
fn run_broken(body: &RawDocument) {
    let relations = relations::relations();
    let cx = Context {
        relations: &relations,
        unique_indexes: &[],
    };
    if let Ok(Some(request)) = read(body, &[]) {
        let _ = request.rewrite(&cx);
    }
}
