//! The rewriting of MongoDB commands, on any bytes, with a few relations.

#![no_main]

#[path = "../../tests/support/relations.rs"]
mod relations;

use std::sync::LazyLock;

use bson::raw::RawDocument;
use libfuzzer_sys::fuzz_target;
use twinport_rewriter::mongo::{
    Context, Relations, Schemas, Sequence, annotation, insert_answer, read,
};

static RELATIONS: LazyLock<Relations> = LazyLock::new(relations::relations);

fuzz_target!(|input: (&[u8], &[u8])| {
    let (body, documents) = input;
    let Ok(body) = RawDocument::from_bytes(body) else {
        return;
    };
    let _ = insert_answer(body);
    let mut schemas = Schemas::default();
    schemas.read("shop", "books", body);
    schemas.relate(&mut Relations::new());
    let sections = [Sequence {
        identifier: "documents",
        documents,
    }];
    let cx = Context {
        relations: &RELATIONS,
        unique_indexes: &[],
    };
    let rewritten =
        read(body, &sections).and_then(|request| request.map(|request| request.rewrite(&cx)).transpose());
    if let Err(error) = rewritten {
        let length = annotation(body).map_or(0, |comment| comment.chars().count());
        let position = error.position().unwrap_or(1);
        assert!((1..=length + 1).contains(&position));
    }
});
