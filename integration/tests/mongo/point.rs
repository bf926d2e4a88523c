//! A document read by its `_id` straight from the table is the one that the extension gives.

use anyhow::{Context, Result, ensure};
use twinport_integration::USER;
use twinport_integration::mongo::{MongoWorld, OTHER};
use twinport_wire::mongo::bson::oid::ObjectId;
use twinport_wire::mongo::bson::raw::{RawArrayBuf, RawDocument, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::spec::BinarySubtype;
use twinport_wire::mongo::bson::{Binary, Bson, DateTime, doc, rawdoc};

use super::commands::{begins, commit, goes_on};
use super::raw::Raw;
use super::support::{OWN_ROLES, Scene, Wants, code, page};

#[path = "point/groups.rs"]
mod groups;
#[path = "point/inserts.rs"]
mod inserts;
#[path = "point/together.rs"]
mod together;

/// Every user works by its own role, on one connection.
const OWN: Wants<'_> = Wants {
    pool: 1,
    ..OWN_ROLES
};

async fn scene() -> Result<Scene> {
    Scene::with(OWN).await
}

/// Documents enough for the table to be read without the extension, with `_id` from 0 on.
async fn fill(client: &mut Raw, collection: &str) -> Result<()> {
    let pad = "x".repeat(1000);
    let documents: RawArrayBuf = (0..200_i32)
        .map(|id| rawdoc! { "_id": id, "in": collection, "pad": &*pad })
        .collect();
    let insert = rawdoc! { "insert": collection, "documents": documents, "$db": "test" };
    client.run(&insert).await?;
    Ok(())
}

fn find(collection: &str, id: impl Into<Bson>) -> Result<RawDocumentBuf> {
    let find =
        doc! { "find": collection, "filter": { "_id": id.into() }, "limit": 1, "$db": "test" };
    Ok(RawDocumentBuf::try_from(&find)?)
}

/// The last statement that a user's connection has run.
async fn last(scene: &Scene, user: &str) -> Result<String> {
    let sql = "SELECT query FROM pg_stat_activity
        WHERE application_name = 'twinport-mongo' AND usename = $1
        ORDER BY query_start DESC LIMIT 1";
    Ok(scene.admin.query_one(sql, &[&user]).await?.get(0))
}

/// Whether it read from a table.
async fn was_direct(scene: &Scene, user: &str) -> Result<bool> {
    let query = last(scene, user).await?;
    Ok(query.contains("FROM documentdb_data.documents_"))
}

/// The answer to a find that may be read from the table, compared with the extension's; what no one has to look at
/// makes it the extension's.
async fn same(client: &mut Raw, find: &RawDocument) -> Result<RawDocumentBuf> {
    let ours = client.ask(find).await?;
    let mut other = find.to_owned();
    other.append(cstr!("skip"), 0);
    let theirs = client.ask(&other).await?;
    ensure!(ours == theirs, "{find:?} gave {ours:?}, and not {theirs:?}");
    Ok(ours)
}

/// Reads until it is read from the table.
async fn warm(scene: &Scene, client: &mut Raw, collection: &str) -> Result<()> {
    for _ in 0..3 {
        same(client, &find(collection, 1)?).await?;
    }
    client.run(&find(collection, 1)?).await?;
    ensure!(was_direct(scene, USER).await?, "not read from the table");
    Ok(())
}

/// Keys that are hard to compare.
fn odd() -> Vec<Bson> {
    let binary = |subtype, bytes: &[u8]| Binary {
        subtype,
        bytes: bytes.to_vec(),
    };
    vec![
        Bson::Int32(-1),
        Bson::Int32(0),
        Bson::Int64(1),
        Bson::Int64(1 << 53),
        Bson::Int64((1 << 53) + 1),
        Bson::Int64(i64::MAX),
        Bson::Double(1.0),
        Bson::Double(1.5),
        Bson::Double(0.0),
        Bson::Double(-0.0),
        Bson::Double(9_007_199_254_740_992.0),
        Bson::Double(9_223_372_036_854_775_807.0),
        Bson::Double(f64::NAN),
        Bson::Double(-f64::NAN),
        Bson::Double(f64::INFINITY),
        Bson::Double(f64::NEG_INFINITY),
        Bson::Double(f64::MIN_POSITIVE / 2.0),
        "1000".into(),
        String::new().into(),
        "a\0b".into(),
        "$a".into(),
        "ä".into(),
        "a\u{308}".into(),
        "x".repeat(5000).into(),
        Bson::Boolean(false),
        Bson::Boolean(true),
        Bson::DateTime(DateTime::from_millis(0)),
        Bson::DateTime(DateTime::from_millis(-1)),
        ObjectId::from_bytes([0; 12]).into(),
        ObjectId::from_bytes([7; 12]).into(),
        Bson::Binary(binary(BinarySubtype::Generic, b"")),
        Bson::Binary(binary(BinarySubtype::Generic, b"abc")),
        Bson::Binary(binary(BinarySubtype::Uuid, &[1; 16])),
        Bson::Binary(binary(BinarySubtype::UserDefined(0x80), b"abc")),
        Bson::Decimal128("1".parse().unwrap_or_else(|_| unreachable!())),
        Bson::Decimal128("2.5".parse().unwrap_or_else(|_| unreachable!())),
        Bson::Null,
        Bson::Document(doc! { "a": 1 }),
        Bson::Document(doc! {}),
        Bson::Symbol("1000".to_owned()),
        Bson::MinKey,
        Bson::MaxKey,
    ]
}

#[tokio::test]
async fn odd_keys_are_found_as_the_extension_finds_them() -> Result<()> {
    let scene = scene().await?;
    let mut client = scene.client().await?;
    for collection in ["c", "empty"] {
        fill(&mut client, collection).await?;
    }
    let all = rawdoc! { "delete": "empty", "deletes": [{ "q": {}, "limit": 0 }], "$db": "test" };
    client.run(&all).await?;
    let mut kept = 0;
    for (number, id) in (0_i32..).zip(odd()) {
        let insert =
            doc! { "insert": "c", "documents": [{ "_id": id, "number": number }], "$db": "test" };
        let answer = client.ask(&RawDocumentBuf::try_from(&insert)?).await?;
        kept += answer.get_i32("n").unwrap_or_default();
    }
    ensure!(kept > 20, "only {kept} of the keys were taken");
    warm(&scene, &mut client, "c").await?;
    let mut found = 0;
    for id in odd()
        .into_iter()
        .chain([Bson::Int32(5000), "absent".into()])
    {
        for collection in ["c", "empty"] {
            for filter in [doc! { "_id": &id }, doc! { "_id": { "$eq": &id } }] {
                let find = doc! { "find": collection, "filter": filter, "$db": "test" };
                let answer = same(&mut client, &RawDocumentBuf::try_from(&find)?).await?;
                found += page(&answer).map_or(0, |page| page.len());
            }
        }
    }
    ensure!(found > 60, "only {found} were found");
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_table_is_read_again_after_it_was_locked() -> Result<()> {
    let world = MongoWorld::start().await?;
    let admin = world.server.client("postgres").await?;
    let soon = format!("ALTER ROLE {USER} SET lock_timeout = '300ms'");
    admin.batch_execute(&soon).await?;
    let scene = Scene::before(world, OWN).await?;
    let mut client = scene.client().await?;
    fill(&mut client, "c").await?;
    warm(&scene, &mut client, "c").await?;
    let lock = scene.lock("c").await?;
    let refused = client.ask(&find("c", 1)?).await?;
    assert_eq!(code(&refused), 112, "{refused:?}");
    lock.batch_execute("ROLLBACK").await?;
    client.run(&find("c", 1)?).await?;
    ensure!(was_direct(&scene, USER).await?, "not read from the table");
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn options_are_heeded_on_either_way() -> Result<()> {
    let scene = scene().await?;
    let mut client = scene.client().await?;
    fill(&mut client, "c").await?;
    warm(&scene, &mut client, "c").await?;
    let options = [
        (true, doc! {}),
        (true, doc! { "limit": 1, "singleBatch": true }),
        (true, doc! { "limit": 5_i64, "batchSize": 2 }),
        (
            true,
            doc! { "limit": 0, "comment": "why", "maxTimeMS": 9000 },
        ),
        (
            true,
            doc! { "readConcern": { "level": "majority" }, "lsid": { "id": Bson::from(ObjectId::new()) } },
        ),
        (false, doc! { "limit": -1 }),
        (false, doc! { "limit": "1" }),
        (false, doc! { "batchSize": -1 }),
        (false, doc! { "projection": { "in": 1 } }),
        (false, doc! { "sort": { "in": 1 } }),
        (false, doc! { "hint": "absent" }),
        (false, doc! { "returnKey": true }),
        (false, doc! { "maxTimeMS": -1 }),
        (false, doc! { "readConcern": { "level": "linearizable" } }),
        (false, doc! { "nonsense": 1 }),
    ];
    for (direct, options) in options {
        for id in [7, 7000] {
            let mut command = doc! { "find": "c", "filter": { "_id": id }, "$db": "test" };
            command.extend(options.clone());
            let find = RawDocumentBuf::try_from(&command)?;
            let answer = same(&mut client, &find).await?;
            client.ask(&find).await?;
            if direct {
                ensure!(
                    was_direct(&scene, USER).await?,
                    "{find:?}: not from the table"
                );
                ensure!(code(&answer) == 0, "{find:?}: {answer:?}");
            } else {
                ensure!(!was_direct(&scene, USER).await?, "{find:?}: from the table");
            }
        }
    }
    let lock = scene.lock("c").await?;
    let late = rawdoc! { "find": "c", "filter": { "_id": 1 }, "maxTimeMS": 300, "$db": "test" };
    assert_eq!(code(&client.ask(&late).await?), 50);
    drop(lock);
    same(&mut client, &find("c", 1)?).await?;
    scene.stop().await;
    Ok(())
}

/// What is done to a collection, and how many documents with the key 1 there are after it.
enum Change {
    /// By commands, of the database that is named.
    Commands(&'static str, Vec<RawDocumentBuf>, usize),
    /// By the server's administrator.
    Sql(String, usize),
}

impl Change {
    /// Makes it, by another client; how many documents with the key 1 there are then.
    async fn make(self, scene: &Scene, changing: &mut Raw) -> Result<usize> {
        match self {
            Self::Commands(database, commands, expected) => {
                for mut command in commands {
                    command.append(cstr!("$db"), database);
                    changing.run(&command).await?;
                }
                Ok(expected)
            }
            Self::Sql(sql, expected) => {
                scene.admin.execute(&sql, &[]).await?;
                Ok(expected)
            }
        }
    }
}

/// Changes of the collection `c` beside which there is `d`.
fn change(number: usize, c: &str, d: &str) -> Option<Change> {
    let renamed = rawdoc! { "renameCollection": format!("test.{c}"), "to": format!("test.{c}x") };
    let back = rawdoc! { "renameCollection": format!("test.{d}"), "to": format!("test.{c}") };
    let dropped = rawdoc! { "drop": c };
    let one = rawdoc! { "insert": c, "documents": [{ "_id": 1, "new": true }] };
    let view = rawdoc! { "create": c, "viewOn": d, "pipeline": [] };
    let narrow =
        rawdoc! { "create": c, "viewOn": d, "pipeline": [{ "$match": { "_id": { "$gt": 1 } } }] };
    let deleted = rawdoc! { "delete": c, "deletes": [{ "q": { "_id": 1 }, "limit": 1 }] };
    let replaced =
        rawdoc! { "update": c, "updates": [{ "q": { "_id": 1 }, "u": { "in": "new" } }] };
    let sharded = format!(
        "SELECT documentdb_api.shard_collection('test', '{c}',
            documentdb_core.bson_json_to_bson('{{ \"_id\": \"hashed\" }}'), false)"
    );
    Some(match number {
        0 => Change::Commands("test", vec![dropped], 0),
        1 => Change::Commands("test", vec![dropped, one], 1),
        2 => Change::Commands("test", vec![dropped, view], 1),
        3 => Change::Commands("test", vec![dropped, narrow], 0),
        4 => Change::Commands("admin", vec![renamed], 0),
        5 => Change::Commands("admin", vec![renamed, back], 1),
        6 => Change::Commands("test", vec![deleted], 0),
        7 => Change::Commands("test", vec![replaced], 1),
        8 => Change::Sql(sharded, 1),
        9 => Change::Sql(
            format!("SELECT documentdb_api.drop_collection('test', '{c}')"),
            0,
        ),
        10 => Change::Commands("test", vec![rawdoc! { "dropDatabase": 1 }], 0),
        _ => return None,
    })
}

#[tokio::test]
async fn a_collection_that_changes_is_read_as_it_is() -> Result<()> {
    let scene = scene().await?;
    let mut client = scene.client().await?;
    let mut changing = scene.other().await?;
    for number in 0.. {
        let (c, d) = (format!("c{number}"), format!("d{number}"));
        let Some(change) = change(number, &c, &d) else {
            break;
        };
        for collection in [&c, &d] {
            fill(&mut client, collection).await?;
        }
        warm(&scene, &mut client, &c).await?;
        let expected = change.make(&scene, &mut changing).await?;
        for _ in 0..3 {
            let answer = same(&mut client, &find(&c, 1)?).await?;
            let found = page(&answer)?.len();
            ensure!(found == expected, "change {number}: {answer:?}");
        }
    }
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn one_made_anew_is_read_from_its_own_table() -> Result<()> {
    let scene = scene().await?;
    let mut client = scene.client().await?;
    fill(&mut client, "c").await?;
    warm(&scene, &mut client, "c").await?;
    client.run(&rawdoc! { "drop": "c", "$db": "test" }).await?;
    same(&mut client, &find("c", 1)?).await?;
    fill(&mut client, "c").await?;
    warm(&scene, &mut client, "c").await?;
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn nobody_reads_what_he_may_not() -> Result<()> {
    let scene = scene().await?;
    let mut client = scene.client().await?;
    let mut other = scene.other().await?;
    fill(&mut client, "c").await?;
    warm(&scene, &mut client, "c").await?;
    for _ in 0..3 {
        same(&mut other, &find("c", 1)?).await?;
    }
    ensure!(
        was_direct_last(&scene, &mut other).await?,
        "not read from the table"
    );
    let revoke = format!("REVOKE documentdb_admin_role FROM {OTHER}");
    scene.admin.batch_execute(&revoke).await?;
    for _ in 0..3 {
        let answer = same(&mut other, &find("c", 1)?).await?;
        ensure!(code(&answer) == 13, "{answer:?}");
    }
    warm(&scene, &mut client, "c").await?;
    scene.stop().await;
    Ok(())
}

async fn was_direct_last(scene: &Scene, other: &mut Raw) -> Result<bool> {
    other.run(&find("c", 1)?).await?;
    was_direct(scene, OTHER).await
}

#[tokio::test]
async fn a_transaction_reads_what_it_has_written() -> Result<()> {
    let scene = Scene::with(Wants {
        pool: 2,
        ..Wants::default()
    })
    .await?;
    let mut client = scene.client().await?;
    let mut outside = scene.client().await?;
    fill(&mut client, "c").await?;
    for _ in 0..3 {
        same(&mut outside, &find("c", 1)?).await?;
    }
    let insert = rawdoc! { "insert": "c", "documents": [{ "_id": 777 }], "$db": "test" };
    client.run(&begins(insert, 1, 1)).await?;
    let mine = client.run(&goes_on(find("c", 777)?, 1, 1)).await?;
    assert_eq!(page(&mine)?.len(), 1);
    let theirs = same(&mut outside, &find("c", 777)?).await?;
    assert_eq!(page(&theirs)?.len(), 0);
    client.run(&commit(1, 1)).await?;
    let theirs = same(&mut outside, &find("c", 777)?).await?;
    let found = page(&theirs)?;
    assert_eq!(found.first().context("none")?.get_i32("_id")?, 777);
    scene.stop().await;
    Ok(())
}
