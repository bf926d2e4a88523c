//! The catalog of `schema.sql`.

use orm_schema::{
    Catalog, CatalogBuilder, Identity, TableBuilder, TableKind, TypeCategory, TypeDef, TypeId,
    TypeKind,
};

/// The catalog that `schema.sql` makes.
pub(crate) fn catalog() -> Catalog {
    let tables = library().into_iter().chain(odd_names()).chain(upserts());
    tables
        .fold(
            CatalogBuilder::new().enumeration("mood", &["calm", "so \"so\""]),
            CatalogBuilder::table,
        )
        .type_def(
            TypeDef {
                id: TypeId(90_000),
                schema: "public".to_owned(),
                name: "pages".to_owned(),
                kind: TypeKind::Domain {
                    base: TypeId(23),
                    not_null: false,
                },
            },
            TypeCategory::Domain,
        )
        .build()
}

fn library() -> Vec<TableBuilder> {
    vec![
        TableBuilder::new("publisher")
            .column("id", "int4")
            .column("name", "text")
            .key(&["id"]),
        TableBuilder::new("author")
            .column("id", "int4")
            .column("name", "text")
            .column("born", "date")
            .key(&["id"]),
        TableBuilder::new("book")
            .column("id", "int4")
            .column("author_id", "int4")
            .column("publisher_id", "int4")
            .column("title", "text")
            .column("price", "numeric")
            .column("pages", "pages")
            .column("published", "timestamptz")
            .key(&["id"])
            .index(&["author_id"])
            .index(&["publisher_id"])
            .references(&["author_id"], "author", &["id"])
            .references(&["publisher_id"], "publisher", &["id"]),
        TableBuilder::new("tag")
            .column("id", "int4")
            .column("name", "text")
            .key(&["id"]),
        TableBuilder::new("book_tag")
            .column("book_id", "int4")
            .column("tag_id", "int4")
            .key(&["book_id", "tag_id"])
            .references(&["book_id"], "book", &["id"])
            .references(&["tag_id"], "tag", &["id"]),
        TableBuilder::new("review")
            .column("id", "int4")
            .column("book_id", "int4")
            .column("stars", "int4")
            .column("body", "text")
            .key(&["id"])
            .references(&["book_id"], "book", &["id"]),
        TableBuilder::new("profile")
            .column("author_id", "int4")
            .column("bio", "jsonb")
            .key(&["author_id"])
            .references(&["author_id"], "author", &["id"]),
        TableBuilder::new("employee")
            .column("id", "int4")
            .column("name", "text")
            .column("manager_id", "int4")
            .key(&["id"])
            .index(&["manager_id"])
            .references(&["manager_id"], "employee", &["id"]),
        TableBuilder::new("person")
            .column("id", "int4")
            .column("name", "text")
            .key(&["id"]),
        TableBuilder::new("message")
            .column("id", "int4")
            .column("sender_id", "int4")
            .column("recipient_id", "int4")
            .column("body", "text")
            .key(&["id"])
            .index(&["sender_id"])
            .index(&["recipient_id"])
            .references(&["sender_id"], "person", &["id"])
            .references(&["recipient_id"], "person", &["id"]),
        sample(),
    ]
}

fn sample() -> TableBuilder {
    let columns = [
        ("id", "int4"),
        ("author_id", "int4"),
        ("small", "int2"),
        ("big", "int8"),
        ("yes", "bool"),
        ("f4", "float4"),
        ("f8", "float8"),
        ("num", "numeric"),
        ("txt", "text"),
        ("vc", "varchar"),
        ("fixed", "bpchar"),
        ("day", "date"),
        ("at", "timestamp"),
        ("atz", "timestamptz"),
        ("clock", "time"),
        ("span", "interval"),
        ("uid", "uuid"),
        ("raw", "bytea"),
        ("j", "json"),
        ("jb", "jsonb"),
        ("ints", "int4[]"),
        ("texts", "text[]"),
        ("feeling", "mood"),
        ("size", "pages"),
        ("slots", "int4range"),
    ];
    columns
        .into_iter()
        .fold(TableBuilder::new("sample"), |table, (name, kind)| {
            table.column(name, kind)
        })
        .key(&["id"])
        .index(&["author_id"])
        .references(&["author_id"], "author", &["id"])
}

fn odd_names() -> Vec<TableBuilder> {
    vec![
        TableBuilder::new("user")
            .column("id", "int4")
            .column("group", "text")
            .key(&["id"]),
        TableBuilder::new("order")
            .column("select", "int4")
            .column("user", "int4")
            .column("desc", "text")
            .column("a \"b'\\c", "text")
            .key(&["select"])
            .index(&["user"])
            .references(&["user"], "user", &["id"]),
        TableBuilder::new("Item List")
            .column("Item Id", "int4")
            .column("ownerId", "int4")
            .column("Size", "int4")
            .key(&["Item Id"])
            .references(&["ownerId"], "author", &["id"]),
        TableBuilder::new("shop.warehouse")
            .column("region", "text")
            .column("code", "int4")
            .column("city", "text")
            .key(&["region", "code"]),
        TableBuilder::new("shop.stock")
            .column("region", "text")
            .column("warehouse_code", "int4")
            .column("sku", "text")
            .column("quantity", "int4")
            .key(&["region", "warehouse_code", "sku"])
            .references(
                &["region", "warehouse_code"],
                "warehouse",
                &["region", "code"],
            ),
        TableBuilder::new("shop.book")
            .column("id", "int4")
            .column("title", "text")
            .key(&["id"]),
    ]
}

fn upserts() -> Vec<TableBuilder> {
    vec![
        TableBuilder::new("account")
            .column("id", "int4")
            .identity(Identity::Always)
            .column("email", "text")
            .column("name", "text")
            .column("visits", "int4")
            .with_default()
            .column("key", "text")
            .generated()
            .key(&["id"])
            .unique(&["email"]),
        TableBuilder::new("member")
            .column("id", "int4")
            .identity(Identity::ByDefault)
            .column("email", "text")
            .column("name", "text")
            .key(&["id"])
            .unique(&["email"]),
        TableBuilder::new("price_list")
            .column("sku", "text")
            .column("region", "text")
            .with_default()
            .column("cents", "int4")
            .column("note", "text")
            .unique(&["sku", "region"]),
        TableBuilder::new("two_keys")
            .column("a", "int4")
            .column("b", "int4")
            .column("c", "int4")
            .unique(&["a"])
            .unique(&["b"]),
        TableBuilder::new("keyless")
            .column("a", "int4")
            .column("b", "int4")
            .unique_where(&["a"], "b > 0"),
        TableBuilder::new("event")
            .kind(TableKind::PartitionedTable)
            .column("id", "int4")
            .column("day", "int4")
            .column("book_id", "int4")
            .key(&["id"])
            .references(&["book_id"], "book", &["id"]),
        TableBuilder::new("Odd Table")
            .column("Key", "int4")
            .column("order", "int4")
            .column("Quoted \"x\"", "int4")
            .key(&["Key"]),
    ]
}
