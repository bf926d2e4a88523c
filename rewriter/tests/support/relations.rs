//! The relations that the cases and the fuzz target use.

use twinport_rewriter::mongo::{Relation, Relations, Through};

/// collection, name, target, local, foreign, whether it is to-many
type Plain = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    bool,
);

const PLAIN: &[Plain] = &[
    ("books", "author", "authors", "author_id", "_id", false),
    (
        "books",
        "publisher",
        "publishers",
        "meta.publisher_code",
        "code",
        false,
    ),
    ("books", "tags", "tags", "tag_ids", "_id", true),
    ("books", "reviews", "reviews", "_id", "book.$id", true),
    ("authors", "books", "books", "_id", "author_id", true),
    ("authors", "profile", "profiles", "_id", "author_id", false),
    (
        "publishers",
        "books",
        "books",
        "code",
        "meta.publisher_code",
        true,
    ),
    ("tags", "books", "books", "_id", "tag_ids", true),
    ("reviews", "book", "books", "book.$id", "_id", false),
    (
        "reviews",
        "critics",
        "authors",
        "critic_links.$id",
        "_id",
        true,
    ),
    (
        "employees",
        "manager",
        "employees",
        "manager_id",
        "_id",
        false,
    ),
    (
        "employees",
        "reports",
        "employees",
        "_id",
        "manager_id",
        true,
    ),
    ("employees", "Team", "teams", "team", "_id", false),
];

/// collection, name, target, key here, key there, collection between, its fields
const JOINED: &[[&str; 8]] = &[
    [
        "books",
        "genres",
        "genres",
        "_id",
        "_id",
        "book_genres",
        "book_id",
        "genre_id",
    ],
    [
        "genres",
        "books",
        "books",
        "_id",
        "_id",
        "book_genres",
        "genre_id",
        "book_id",
    ],
    [
        "publishers",
        "fairs",
        "fairs",
        "code",
        "name",
        "stands",
        "publisher",
        "fair",
    ],
];

pub(crate) fn relations() -> Relations {
    let mut relations = Relations::new();
    for (collection, name, target, local, foreign, many) in PLAIN {
        let relation = Relation {
            name: (*name).to_owned(),
            target: (*target).to_owned(),
            local: (*local).to_owned(),
            foreign: (*foreign).to_owned(),
            many: *many,
            through: None,
        };
        relations.add(collection, relation).unwrap();
    }
    for [collection, name, target, local, foreign, between, near, far] in JOINED {
        let relation = Relation {
            name: (*name).to_owned(),
            target: (*target).to_owned(),
            local: (*local).to_owned(),
            foreign: (*foreign).to_owned(),
            many: true,
            through: Some(Through {
                collection: (*between).to_owned(),
                local: (*near).to_owned(),
                foreign: (*far).to_owned(),
            }),
        };
        relations.add(collection, relation).unwrap();
    }
    relations
}
