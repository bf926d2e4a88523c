//! What is read of a real server's schema, on the oldest and the newest supported one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use orm_schema::{
    Catalog, Generated, Identity, KeyAction, RelationKind, Table, TableKind, TypeCategory, TypeKind,
};
use tokio_postgres::Client;
use twinport_embedded::{Options, Server};
use twinport_migrations::introspect::pg;

const SCHEMA: &str = include_str!("introspect/schema.sql");

async fn start(major: u32) -> (Server, Client) {
    let server = Server::start(Options {
        major: Some(major),
        ..Options::for_tests()
    })
    .await
    .unwrap();
    let client = server.client("postgres").await.unwrap();
    (server, client)
}

fn table<'a>(catalog: &'a Catalog, name: &str) -> &'a Table {
    let (schema, name) = name.split_once('.').unwrap_or(("public", name));
    catalog.resolve(Some(schema), name, &[]).expect(name)
}

/// A column's type as `name category (modifier)`.
fn type_of(table: &Table, column: &str) -> String {
    let data_type = &table.column(column).expect(column).data_type;
    let mut text = format!(
        "{}.{} {:?}",
        data_type.schema, data_type.name, data_type.category
    );
    if let Some(modifier) = data_type.modifier {
        text += &format!(" {modifier}");
    }
    text
}

/// The relations of a table as `name: kind target`, sorted.
fn relations(catalog: &Catalog, name: &str) -> Vec<String> {
    let mut found: Vec<_> = catalog
        .relations_of(table(catalog, name).id)
        .iter()
        .map(|relation| {
            let kind = match &relation.kind {
                RelationKind::BelongsTo => "belongs to",
                RelationKind::HasMany => "has many",
                RelationKind::HasOne => "has one",
                RelationKind::ManyToMany(_) => "many to many",
            };
            format!(
                "{}: {kind} {}",
                relation.name,
                catalog.table(relation.target).unwrap().name
            )
        })
        .collect();
    found.sort();
    found
}

async fn reads_tables(major: u32) {
    let (_server, client) = start(major).await;
    client.batch_execute(SCHEMA).await.unwrap();
    let catalog = pg::introspect(&client).await.unwrap();

    let mut names: Vec<_> = catalog
        .tables()
        .map(|table| format!("{}.{}", table.schema, table.name))
        .collect();
    names.sort();
    assert_eq!(
        names.join(" "),
        "Odd Place.Order Odd Place.line public.author public.author_count \
        public.book public.book_tag public.event public.event_2025 public.event_note \
        public.happy_author public.publisher public.tag"
    );

    let kind = |name| table(&catalog, name).kind;
    assert_eq!(kind("author"), TableKind::Table);
    assert_eq!(kind("event"), TableKind::PartitionedTable);
    assert_eq!(kind("event_2025"), TableKind::Table);
    assert_eq!(kind("happy_author"), TableKind::View);
    assert_eq!(kind("author_count"), TableKind::MaterializedView);

    assert!(table(&catalog, "author").row_security);
    assert!(!table(&catalog, "book").row_security);

    let odd = table(&catalog, "Odd Place.Order");
    let columns: Vec<_> = odd
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    assert_eq!(columns, ["select", "from", "a\"b", "Where"]);
    assert_eq!(odd.primary_key.as_deref().unwrap(), ["from", "select"]);
    assert_eq!(table(&catalog, "happy_author").primary_key, None);
}

async fn reads_columns(major: u32) {
    let (_server, client) = start(major).await;
    client.batch_execute(SCHEMA).await.unwrap();
    let catalog = pg::introspect(&client).await.unwrap();
    let author = table(&catalog, "author");

    assert!(author.column("dropped").is_none());
    for (column, expected) in [
        ("id", "pg_catalog.int8 Scalar"),
        ("current_mood", "public.mood Enum"),
        ("ranking", "public.rank Domain"),
        ("home", "public.address Composite"),
        ("tags", "pg_catalog._text Array"),
        ("moods", "public._mood Array"),
        ("price", "pg_catalog.numeric Scalar 655366"),
        ("document", "pg_catalog.jsonb Jsonb"),
        ("raw", "pg_catalog.json Json"),
        ("lived", "pg_catalog.daterange Range"),
        ("spans", "public.span Range"),
    ] {
        assert_eq!(type_of(author, column), expected, "{column}");
    }

    let column = |table: &'static str, name| {
        orm_schema::Catalog::resolve(&catalog, Some("public"), table, &[])
            .unwrap()
            .column(name)
            .unwrap()
    };
    assert!(column("author", "name").not_null);
    assert!(!column("author", "mentor_id").not_null);
    assert!(
        column("author", "ranking").not_null,
        "the domain refuses NULL"
    );
    assert!(column("author", "tags").has_default);
    assert!(!column("author", "name").has_default);
    assert!(column("book", "id").has_default);
    assert_eq!(column("publisher", "id").identity, Some(Identity::Always));
    assert_eq!(column("author", "id").identity, Some(Identity::ByDefault));
    assert_eq!(column("author", "shout").generated, Some(Generated::Stored));
    assert!(!column("author", "shout").has_default);
}

async fn reads_types(major: u32) {
    let (_server, client) = start(major).await;
    client.batch_execute(SCHEMA).await.unwrap();
    let catalog = pg::introspect(&client).await.unwrap();
    let author = table(&catalog, "author");
    let id = |column| author.column(column).unwrap().data_type.id;
    let kind = |id| &catalog.type_def(id).unwrap().kind;

    let TypeKind::Enum { labels } = kind(id("current_mood")) else {
        unreachable!()
    };
    assert_eq!(labels, &["sad", "bored", "so-so", "happy"]);
    assert_eq!(
        kind(id("moods")),
        &TypeKind::Array {
            element: id("current_mood")
        }
    );
    let TypeKind::Domain {
        base,
        not_null: true,
    } = kind(id("ranking"))
    else {
        unreachable!()
    };
    let TypeKind::Domain {
        base,
        not_null: false,
    } = kind(*base)
    else {
        unreachable!()
    };
    assert_eq!(base.0, 23, "int4");
    let TypeKind::Composite { fields } = kind(id("home")) else {
        unreachable!()
    };
    let fields: Vec<_> = fields
        .iter()
        .map(|field| {
            (
                field.name.as_str(),
                field.data_type.name.as_str(),
                field.data_type.modifier,
            )
        })
        .collect();
    assert_eq!(
        fields,
        [
            ("street", "text", None),
            ("zip", "varchar", Some(14)),
            ("moods", "_mood", None)
        ]
    );
    let TypeKind::Range { subtype } = kind(id("spans")) else {
        unreachable!()
    };
    assert_eq!(subtype.0, 20, "int8");
    assert!(matches!(kind(id("tags")), TypeKind::Array { element } if element.0 == 25));

    let row = catalog
        .types()
        .find(|def| def.schema == "public" && def.name == "tag")
        .unwrap();
    let TypeKind::Composite { fields } = &row.kind else {
        unreachable!()
    };
    assert_eq!(fields[0].data_type.category, TypeCategory::Scalar);
    assert!(
        catalog.types().all(|def| def.name != "pg_class"),
        "no row types of the system's"
    );
}

async fn reads_indexes(major: u32) {
    let (_server, client) = start(major).await;
    client.batch_execute(SCHEMA).await.unwrap();
    let catalog = pg::introspect(&client).await.unwrap();
    let index = |table_name, name: &str| {
        table(&catalog, table_name)
            .indexes
            .iter()
            .find(|index| index.name == name)
            .expect(name)
    };

    assert_eq!(table(&catalog, "author").indexes[0].name, "author_pkey");
    let lower = index("author", "author_lower");
    assert!(lower.unique && lower.has_expressions && lower.columns.is_empty());
    let happy = index("author", "author_happy");
    assert!(happy.unique && !happy.has_expressions);
    assert_eq!(happy.columns, ["name"], "INCLUDE is no key");
    assert_eq!(
        happy.predicate.as_deref(),
        Some("(current_mood = 'happy'::mood)")
    );
    let mentor = index("author", "author_mentor");
    assert!(!mentor.unique);
    assert_eq!(mentor.columns, ["mentor_id", "name"]);
    assert!(index("book", "book_isbn_key").nulls_not_distinct);
    assert!(!index("book", "book_pkey").nulls_not_distinct);
    assert!(index("book", "at_position").deferrable);
    assert!(!index("book", "book_isbn_key").deferrable);
    assert_eq!(
        index("book_tag", "book_tag_pkey").columns,
        ["tag_name", "book_id"]
    );
    assert_eq!(
        table(&catalog, "event").primary_key.as_deref().unwrap(),
        ["id", "at"]
    );
    assert_eq!(
        table(&catalog, "event_2025")
            .primary_key
            .as_deref()
            .unwrap(),
        ["id", "at"]
    );
}

async fn reads_foreign_keys(major: u32) {
    let (_server, client) = start(major).await;
    client.batch_execute(SCHEMA).await.unwrap();
    let catalog = pg::introspect(&client).await.unwrap();
    let keys = |name: &str| {
        let describe = |key: &orm_schema::ForeignKey| {
            let target = catalog.table(key.references).unwrap();
            format!(
                "{}: {} -> {} {} {:?} {:?}",
                key.name,
                key.columns.join(","),
                target.name,
                key.referenced_columns.join(","),
                key.on_delete,
                key.on_update
            )
        };
        table(&catalog, name)
            .foreign_keys
            .iter()
            .map(describe)
            .collect::<Vec<_>>()
    };

    assert_eq!(
        keys("author"),
        ["author_mentor_id_fkey: mentor_id -> author id SetNull NoAction"]
    );
    assert_eq!(
        keys("book"),
        [
            "book_author_id_fkey: author_id -> author id Cascade Restrict",
            "book_editor_id_fkey: editor_id -> author id SetDefault NoAction",
            "published: publisher_id -> publisher id NoAction NoAction",
        ]
    );
    assert_eq!(
        keys("Odd Place.line"),
        ["line_s_f_fkey: s,f -> Order select,from NoAction NoAction"]
    );
    assert_eq!(
        keys("event"),
        ["event_author_id_fkey: author_id -> author id NoAction NoAction"]
    );
    assert!(
        keys("event_2025").is_empty(),
        "the parent's key stands for it"
    );
    assert_eq!(
        keys("event_note"),
        ["event_note_event_id_event_at_fkey: event_id,event_at -> event id,at NoAction NoAction"]
    );
    let cascade = &table(&catalog, "book_tag").foreign_keys[1];
    assert_eq!(
        (cascade.on_delete, cascade.on_update),
        (KeyAction::NoAction, KeyAction::Cascade)
    );
    assert!(
        relations(&catalog, "tag").contains(&"books: many to many book".to_owned()),
        "{:?}",
        relations(&catalog, "tag")
    );
}

async fn tells_changes(major: u32) {
    let (server, client) = start(major).await;
    client.batch_execute(SCHEMA).await.unwrap();
    let other = server.client("postgres").await.unwrap();
    let mut last = pg::fingerprint(&client).await.unwrap();
    assert_eq!(pg::introspect(&client).await.unwrap().version(), last);

    for change in [
        "CREATE TABLE fresh (id int)",
        "ALTER TABLE fresh ADD COLUMN n int",
        "ALTER TABLE fresh RENAME COLUMN n TO m",
        "ALTER TABLE fresh ALTER m TYPE bigint",
        "ALTER TABLE fresh ALTER m SET NOT NULL",
        "ALTER TABLE fresh ALTER m SET DEFAULT 4",
        "CREATE UNIQUE INDEX fresh_m ON fresh (m)",
        "DROP INDEX fresh_m",
        "ALTER TABLE fresh ADD PRIMARY KEY (id)",
        "ALTER TABLE fresh ADD FOREIGN KEY (m) REFERENCES author ON DELETE CASCADE",
        "ALTER TABLE fresh DROP CONSTRAINT fresh_m_fkey",
        "ALTER TABLE fresh ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE fresh RENAME TO old",
        "CREATE SCHEMA elsewhere; ALTER TABLE old SET SCHEMA elsewhere",
        "ALTER SCHEMA elsewhere RENAME TO nowhere",
        "ALTER TABLE nowhere.old DROP COLUMN m",
        "DROP TABLE nowhere.old",
        "ALTER TYPE mood ADD VALUE 'mad'",
        "ALTER TYPE mood RENAME VALUE 'mad' TO 'glad'",
        "ALTER DOMAIN positive SET NOT NULL",
        "ALTER TYPE address ADD ATTRIBUTE country text",
        "CREATE VIEW v AS SELECT 1 AS one",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2'",
    ] {
        other.batch_execute(change).await.unwrap();
        let now = pg::fingerprint(&client).await.unwrap();
        assert_ne!(now, last, "{change}");
        last = now;
    }
    for nothing in [
        "INSERT INTO tag VALUES ('new')",
        "ANALYZE",
        "VACUUM",
        "TRUNCATE tag CASCADE",
        "CREATE TEMPORARY TABLE passing (id int PRIMARY KEY, name mood)",
        "BEGIN; CREATE TABLE undone (id int); ROLLBACK",
    ] {
        other.batch_execute(nothing).await.unwrap();
        assert_eq!(pg::fingerprint(&client).await.unwrap(), last, "{nothing}");
    }
}

async fn reads_the_search_path(major: u32) {
    let (_server, client) = start(major).await;
    assert_eq!(pg::search_path(&client).await.unwrap(), ["public"]);
    client
        .batch_execute(
            "CREATE SCHEMA tenant; SET search_path TO missing, tenant, pg_catalog, public",
        )
        .await
        .unwrap();
    assert_eq!(
        pg::search_path(&client).await.unwrap(),
        ["tenant", "pg_catalog", "public"]
    );
}

async fn finds_functions_with_state(major: u32) {
    let (_server, client) = start(major).await;
    client
        .batch_execute(
            "CREATE FUNCTION plain(a int) RETURNS int LANGUAGE sql AS 'SELECT a + 1';
             CREATE FUNCTION standard() RETURNS text LANGUAGE sql
                 BEGIN ATOMIC SELECT set_config('app.user', 'x', false); END;
             CREATE FUNCTION \"Tenant\"(name text) RETURNS void LANGUAGE plpgsql AS
                 $$ BEGIN EXECUTE 'SET search_path TO ' || quote_ident(name); END $$;
             CREATE FUNCTION caller() RETURNS void LANGUAGE sql AS 'SELECT \"Tenant\"(''a'')';
             CREATE PROCEDURE locking() LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM pg_advisory_lock(1); END $$;",
        )
        .await
        .unwrap();
    client
        .batch_execute(
            "CREATE VIEW seen AS SELECT set_config('app.viewed', 'x', false);
             CREATE VIEW upper_seen AS SELECT * FROM seen;
             CREATE VIEW plain_seen AS SELECT plain(1);
             CREATE TABLE fired (a int DEFAULT 1);
             CREATE TABLE quiet (a int DEFAULT plain(2));
             CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM set_config('app.fired', 'x', false); RETURN NEW; END $$;
             CREATE TRIGGER fire BEFORE INSERT ON fired FOR EACH ROW EXECUTE FUNCTION fire();
             CREATE TABLE filled (a text DEFAULT standard());
             CREATE AGGREGATE plain_sum(int) (SFUNC = int4pl, STYPE = int);
             CREATE DOMAIN small AS int CHECK (plain(VALUE) < 10);",
        )
        .await
        .unwrap();
    let traces = pg::session_traces(&client, None).await.unwrap().judge();
    let builtin = traces.builtin.as_ref().unwrap();
    let mut found: Vec<_> = traces.stateful.keys().map(String::as_str).collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "caller",
            "filled",
            "fire",
            "fired",
            "locking",
            "seen",
            "standard",
            "tenant",
            "upper_seen"
        ]
    );
    assert_eq!(traces.everywhere, pg::Trace::NONE);
    for name in ["plain", "plain_sum", "small"] {
        assert!(traces.harmless.iter().any(|known| known == name), "{name}");
    }
    for name in ["count", "values", "int4"] {
        assert!(builtin.contains(name), "{name}");
    }
    let texts = traces.texts.join(" ");
    for name in ["app.user", "app.viewed", "app.fired"] {
        assert!(texts.contains(name), "{name}");
    }
    let before = pg::traces_fingerprint(&client).await.unwrap();
    client
        .batch_execute("CREATE DOMAIN marked AS text CHECK (standard() = VALUE)")
        .await
        .unwrap();
    assert_ne!(pg::traces_fingerprint(&client).await.unwrap(), before);
    let traces = pg::session_traces(&client, Some(traces.version))
        .await
        .unwrap()
        .judge();
    assert_eq!(traces.everywhere, pg::Trace::SESSION);
}

macro_rules! on_every_server {
    ($($test:ident)*) => {
        mod on_15 {
            $(#[tokio::test]
            async fn $test() {
                super::$test(15).await;
            })*
        }
        mod on_18 {
            $(#[tokio::test]
            async fn $test() {
                super::$test(18).await;
            })*
        }
    };
}

on_every_server! {
    reads_tables
    reads_columns
    reads_types
    reads_indexes
    reads_foreign_keys
    tells_changes
    reads_the_search_path
    finds_functions_with_state
}
