//! What `[mongo.relations]` amounts to.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use twinport_config::{MongoRelation, MongoThrough, Settings, diff};

const BASE: &str = "[mongo]\nupstream = 'postgres://h/docs'\n[users.u]\npassword = 'x'\n";

fn settings(text: &str) -> Settings {
    Settings::parse(&format!("{BASE}{text}"), "relations.toml")
        .unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn keys_default_to_the_id() {
    let settings = settings(
        "[mongo.relations.books.author]\ntarget = 'authors'\nkind = 'one'\nlocal = 'author.$id'\n\
         [mongo.relations.authors.books]\ntarget = 'books'\nkind = 'many'\nforeign = 'author.$id'\n\
         [mongo.relations.books.tags]\ntarget = 'tags'\nkind = 'many'\nthrough = 'book_tags'\n\
         through_local = 'book_id'\nthrough_foreign = 'tag_id'",
    );
    let relation = |collection: &str, name: &str, target: &str| MongoRelation {
        collection: collection.to_owned(),
        name: name.to_owned(),
        target: target.to_owned(),
        local: "_id".to_owned(),
        foreign: "_id".to_owned(),
        many: true,
        through: None,
    };
    let books = MongoRelation {
        foreign: "author.$id".to_owned(),
        ..relation("authors", "books", "books")
    };
    let author = MongoRelation {
        local: "author.$id".to_owned(),
        many: false,
        ..relation("books", "author", "authors")
    };
    let tags = MongoRelation {
        through: Some(MongoThrough {
            collection: "book_tags".to_owned(),
            local: "book_id".to_owned(),
            foreign: "tag_id".to_owned(),
        }),
        ..relation("books", "tags", "tags")
    };
    assert_eq!(settings.mongo.unwrap().relations, [books, author, tags]);
}

#[test]
fn a_changed_relation_is_a_live_change() {
    let text = "[mongo.relations.\"my.books\".author]\ntarget = 'authors'\nkind = 'one'\nlocal = 'author_id'";
    let (old, new) = (
        settings(text),
        settings(&text.replace("author_id", "writer_id")),
    );
    let changes = diff(&old, &new);
    let shown: Vec<String> = changes.changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        ["mongo.relations.\"my.books\".author.local: author_id -> writer_id"]
    );
    assert_eq!(changes.needs_restart().count(), 0);
}
