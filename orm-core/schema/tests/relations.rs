//! The names and kinds of relations that follow from foreign keys.

#![cfg(test)]

use orm_schema::{
    Catalog, CatalogBuilder, ColumnPair, Relation, RelationError, RelationKind, Table,
    TableBuilder, derive_relations,
};

fn table(name: &str) -> TableBuilder {
    TableBuilder::new(name).column("id", "int4").key(&["id"])
}

fn keyed(name: &str, column: &str, target: &str) -> TableBuilder {
    table(name)
        .column(column, "int4")
        .references(&[column], target, &["id"])
}

fn build<const N: usize>(tables: [TableBuilder; N]) -> Catalog {
    tables
        .into_iter()
        .fold(CatalogBuilder::new(), CatalogBuilder::table)
        .build()
}

fn find<'c>(catalog: &'c Catalog, name: &str) -> &'c Table {
    let (schema, name) = name.split_once('.').unwrap_or(("public", name));
    catalog
        .resolve(Some(schema), name, &[])
        .expect("the table exists")
}

/// The relations of a table: "name kind target", in order.
fn relations(catalog: &Catalog, name: &str) -> Vec<String> {
    catalog
        .relations_of(find(catalog, name).id)
        .iter()
        .map(|relation| {
            let kind = match relation.kind {
                RelationKind::BelongsTo => "belongs-to",
                RelationKind::HasMany => "has-many",
                RelationKind::HasOne => "has-one",
                RelationKind::ManyToMany(_) => "many-to-many",
            };
            let target = &catalog
                .table(relation.target)
                .expect("the target exists")
                .name;
            format!("{} {kind} {target}", relation.name)
        })
        .collect()
}

#[test]
fn singular_and_plural_tables() {
    let catalog = build([table("author"), keyed("book", "author_id", "author")]);
    assert_eq!(relations(&catalog, "book"), ["author belongs-to author"]);
    assert_eq!(relations(&catalog, "author"), ["books has-many book"]);

    let catalog = build([table("authors"), keyed("books", "author_id", "authors")]);
    assert_eq!(relations(&catalog, "books"), ["author belongs-to authors"]);
    assert_eq!(relations(&catalog, "authors"), ["books has-many books"]);
}

#[test]
fn camel_case() {
    let catalog = build([table("Author"), keyed("BookReview", "authorId", "Author")]);
    assert_eq!(
        relations(&catalog, "BookReview"),
        ["author belongs-to Author"]
    );
    assert_eq!(
        relations(&catalog, "Author"),
        ["BookReviews has-many BookReview"]
    );
}

#[test]
fn a_unique_key_gives_has_one() {
    let profiles = keyed("profiles", "author_id", "author").unique(&["author_id"]);
    let catalog = build([table("author"), profiles]);
    assert_eq!(relations(&catalog, "author"), ["profile has-one profiles"]);
}

#[test]
fn a_partial_unique_index_gives_has_many() {
    let profiles = keyed("profiles", "author_id", "author").unique_where(&["author_id"], "active");
    let catalog = build([table("author"), profiles]);
    assert_eq!(
        relations(&catalog, "author"),
        ["profiles has-many profiles"]
    );
}

#[test]
fn self_reference() {
    let catalog = build([keyed("employee", "manager_id", "employee")]);
    assert_eq!(
        relations(&catalog, "employee"),
        ["manager belongs-to employee", "employees has-many employee"]
    );
}

#[test]
fn several_keys_between_the_same_tables() {
    let message = keyed("message", "sender_id", "person")
        .column("recipient_id", "int4")
        .references(&["recipient_id"], "person", &["id"]);
    let catalog = build([table("person"), message]);
    assert_eq!(
        relations(&catalog, "person"),
        [
            "recipient_messages has-many message",
            "sender_messages has-many message"
        ]
    );

    let book = keyed("book", "author_id", "author")
        .column("editor_id", "int4")
        .references(&["editor_id"], "author", &["id"]);
    let catalog = build([table("author"), book]);
    assert_eq!(
        relations(&catalog, "author"),
        ["books has-many book", "editor_books has-many book"],
        "the key that names the table keeps the plain name"
    );
}

fn join(name: &str, near: (&str, &str), far: (&str, &str)) -> TableBuilder {
    TableBuilder::new(name)
        .column(near.0, "int4")
        .column(far.0, "int4")
        .column("since", "date")
        .key(&[near.0, far.0])
        .references(&[near.0], near.1, &["id"])
        .references(&[far.0], far.1, &["id"])
}

#[test]
fn join_tables() {
    let catalog = build([
        table("book"),
        table("tag"),
        join("book_tag", ("book_id", "book"), ("tag_id", "tag")),
    ]);
    assert_eq!(
        relations(&catalog, "book"),
        ["book_tags has-many book_tag", "tags many-to-many tag"]
    );
    let book = find(&catalog, "book");
    let tags = catalog.relation(book.id, "tags").expect("tags");
    let pair = |local: &str, remote: &str| ColumnPair {
        local: local.into(),
        remote: remote.into(),
    };
    assert_eq!(tags.pairs, [pair("id", "book_id")]);
    match &tags.kind {
        RelationKind::ManyToMany(via) => assert_eq!(via.pairs, [pair("tag_id", "id")]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_join_tables_between_the_same_tables_are_told_apart() {
    let catalog = build([
        table("book"),
        table("tag"),
        join("book_tag", ("book_id", "book"), ("tag_id", "tag")),
        join("suggestion", ("book_id", "book"), ("tag_id", "tag")),
    ]);
    let names = relations(&catalog, "book");
    assert!(
        names.contains(&"book_tag_tags many-to-many tag".to_owned()),
        "{names:?}"
    );
    assert!(
        names.contains(&"suggestion_tags many-to-many tag".to_owned()),
        "{names:?}"
    );
}

#[test]
fn a_table_joined_to_itself() {
    let catalog = build([
        table("user"),
        join("follow", ("follower_id", "user"), ("followee_id", "user")),
    ]);
    let names = relations(&catalog, "user");
    assert!(
        names.contains(&"followees many-to-many user".to_owned()),
        "{names:?}"
    );
    assert!(
        names.contains(&"followers many-to-many user".to_owned()),
        "{names:?}"
    );
}

#[test]
fn a_wider_key_is_no_join_table() {
    let line = TableBuilder::new("line")
        .column("order_id", "int4")
        .column("item_id", "int4")
        .column("number", "int4")
        .key(&["order_id", "item_id", "number"])
        .references(&["order_id"], "order", &["id"])
        .references(&["item_id"], "item", &["id"]);
    let catalog = build([table("order"), table("item"), line]);
    assert_eq!(relations(&catalog, "order"), ["lines has-many line"]);
}

#[test]
fn composite_keys() {
    let warehouse = TableBuilder::new("warehouse")
        .column("region", "text")
        .column("code", "int4")
        .key(&["region", "code"]);
    let stock = table("stock")
        .column("region", "text")
        .column("warehouse_code", "int4")
        .references(
            &["region", "warehouse_code"],
            "warehouse",
            &["region", "code"],
        );
    let catalog = build([warehouse, stock]);
    assert_eq!(
        relations(&catalog, "stock"),
        ["warehouse belongs-to warehouse"]
    );
    let relation = catalog
        .relation(find(&catalog, "stock").id, "warehouse")
        .expect("warehouse");
    assert_eq!(relation.pairs.len(), 2);
}

#[test]
fn names_never_collide() {
    // The key's column has the target's name, and both tables have columns in the way.
    let order = table("order")
        .column("user", "int4")
        .references(&["user"], "user", &["id"]);
    let user = table("user")
        .column("orders", "int4")
        .column("public_orders", "int4");
    let catalog = build([user, order]);
    assert_eq!(relations(&catalog, "order"), ["user_rel belongs-to user"]);
    assert_eq!(relations(&catalog, "user"), ["orders_rel has-many order"]);
}

#[test]
fn tables_of_other_schemas_come_second() {
    let catalog = build([
        table("author"),
        keyed("archive.book", "author_id", "public.author"),
        keyed("book", "author_id", "author"),
    ]);
    let author = find(&catalog, "author");
    let own = catalog.relation(author.id, "books").expect("books");
    assert_eq!(catalog.table(own.target).expect("book").schema, "public");
    assert_eq!(
        relations(&catalog, "author"),
        ["books has-many book", "author_books has-many book"]
    );
}

#[test]
fn the_order_of_tables_does_not_matter() {
    let catalog = build([
        table("author"),
        table("tag"),
        keyed("book", "author_id", "author"),
        keyed("archive.book", "author_id", "public.author"),
        join("book_tag", ("book_id", "book"), ("tag_id", "tag")),
        join("other_tag", ("book_id", "book"), ("tag_id", "tag")),
    ]);
    let mut tables: Vec<Table> = catalog.tables().cloned().collect();
    tables.sort_by_key(|table| table.id);
    let forward = derive_relations(&tables);
    tables.reverse();
    assert_eq!(forward, derive_relations(&tables));
}

#[test]
fn a_key_to_an_unknown_table_is_skipped() {
    let catalog = build([keyed("book", "author_id", "nowhere.author")]);
    assert!(relations(&catalog, "book").is_empty());
}

#[test]
fn relations_can_be_added_and_replaced() {
    let mut catalog = build([table("author"), table("book").column("writer", "int4")]);
    let (author, book) = (find(&catalog, "author").id, find(&catalog, "book").id);
    let relation = |name: &str, local: &str| Relation {
        name: name.to_owned(),
        kind: RelationKind::BelongsTo,
        target: author,
        pairs: vec![ColumnPair {
            local: local.to_owned(),
            remote: "id".to_owned(),
        }],
    };
    catalog
        .add_relation(book, relation("author", "writer"))
        .expect("it fits");
    catalog
        .add_relation(book, relation("author", "id"))
        .expect("it replaces");
    assert_eq!(catalog.relations_of(book).len(), 1);
    assert_eq!(
        catalog.relation(book, "author").expect("author").pairs[0].local,
        "id"
    );
    assert_eq!(
        catalog.add_relation(book, relation("writer", "writer")),
        Err(RelationError::NameTaken("writer".to_owned()))
    );
    assert_eq!(
        catalog.add_relation(book, relation("x", "nothing")),
        Err(RelationError::NoSuchColumn("nothing".to_owned()))
    );
}

#[test]
fn search_path() {
    let catalog = build([
        table("book"),
        table("shop.book"),
        table("pg_catalog.pg_class"),
    ]);
    let path = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    let schema = |name: &str, path: &[String]| {
        catalog
            .resolve(None, name, path)
            .map(|table| table.schema.clone())
    };
    assert_eq!(
        schema("book", &path(&["shop", "public"])).as_deref(),
        Some("shop")
    );
    assert_eq!(
        schema("book", &path(&["nowhere", "public"])).as_deref(),
        Some("public")
    );
    assert_eq!(schema("book", &[]), None);
    assert_eq!(schema("pg_class", &[]).as_deref(), Some("pg_catalog"));
    assert!(catalog.resolve(Some("shop"), "book", &[]).is_some());
}
