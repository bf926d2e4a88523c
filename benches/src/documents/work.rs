//! What the clients of the MongoDB port do over and over.

use std::fmt;

use anyhow::ensure;
use futures_util::TryStreamExt;
use mongodb::{
    Collection, Database,
    bson::{Document, RawDocumentBuf, doc},
};
use serde::Serialize;

use super::stage::{Contender, ITEMS};

/// One operation, by so many clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Work {
    FindOne {
        clients: usize,
    },
    /// By a client that only sends bytes and waits.
    BareFindOne,
    FindMany,
    InsertOne {
        clients: usize,
    },
    /// By such a client, too.
    BareInsertOne,
    InsertMany,
    Include,
    Lookup,
    NPlusOne,
}

/// Documents that `FindMany` and `InsertMany` move.
const MANY: i32 = 1_000;

impl Work {
    pub(crate) const ALL: [Self; 11] = [
        Self::FindOne { clients: 1 },
        Self::FindOne { clients: 10 },
        Self::BareFindOne,
        Self::FindMany,
        Self::InsertOne { clients: 1 },
        Self::InsertOne { clients: 10 },
        Self::BareInsertOne,
        Self::InsertMany,
        Self::Include,
        Self::Lookup,
        Self::NPlusOne,
    ];

    pub(super) fn clients(self) -> usize {
        match self {
            Self::FindOne { clients } | Self::InsertOne { clients } => clients,
            _ => 1,
        }
    }

    /// Whether a contender can do it: a directive needs a Twinport.
    pub(super) fn suits(self, contender: Contender) -> bool {
        self != Self::Include || contender != Contender::FerretDb
    }

    /// Empties what is inserted into.
    pub(super) async fn prepare(self, database: &Database) -> anyhow::Result<()> {
        if matches!(
            self,
            Self::InsertOne { .. } | Self::BareInsertOne | Self::InsertMany
        ) {
            let inserted = database.collection::<Document>("inserted");
            inserted.drop().await?;
            inserted.insert_one(doc! { "first": true }).await?;
        }
        Ok(())
    }

    /// Does it once; an answer of another size than it must have is an error.
    pub(super) async fn once(
        self,
        database: &Database,
        client: usize,
        turn: usize,
    ) -> anyhow::Result<()> {
        let raw = |name: &str| database.collection::<RawDocumentBuf>(name);
        let turn = i32::try_from(turn).unwrap_or_default();
        match self {
            Self::FindOne { .. } | Self::BareFindOne => {
                // A stride that meets every document.
                let id = turn.wrapping_mul(7_919).rem_euclid(ITEMS);
                let found = raw("items").find_one(doc! { "_id": id }).await?;
                ensure!(found.is_some(), "there is no item {id}");
            }
            Self::FindMany => {
                let filter = doc! { "_id": { "$lt": MANY } };
                expect(&raw("items"), filter, None, MANY).await?;
            }
            Self::InsertOne { .. } | Self::BareInsertOne => {
                let document = item(client, turn);
                database.collection("inserted").insert_one(document).await?;
            }
            Self::InsertMany => {
                let documents = (0..MANY).map(|_| item(client, turn));
                let inserted = database.collection("inserted");
                inserted.insert_many(documents).await?;
            }
            Self::Include => {
                expect(&raw("authors"), doc! {}, Some("@include(books)"), MANY).await?;
            }
            Self::Lookup => {
                let lookup = doc! { "$lookup": { "from": "books", "localField": "_id",
                "foreignField": "author_id", "as": "books" } };
                let cursor = raw("authors")
                    .aggregate([lookup])
                    .batch_size(10_000)
                    .await?;
                let found: Vec<Document> = cursor.try_collect().await?;
                ensure!(found.len() == 1_000, "{} authors", found.len());
            }
            Self::NPlusOne => {
                let authors = database.collection::<Document>("authors");
                let authors: Vec<_> = authors.find(doc! {}).await?.try_collect().await?;
                for author in authors {
                    let filter = doc! { "author_id": author.get_i32("_id")? };
                    expect(&raw("books"), filter, None, 10).await?;
                }
            }
        }
        Ok(())
    }
}

pub(super) fn item(client: usize, turn: i32) -> Document {
    let client = i64::try_from(client).unwrap_or_default();
    doc! { "client": client, "turn": turn, "price": f64::from(turn) / 7.0, "tags": ["new", "red", "small"],
    "note": "x".repeat(64) }
}

/// Reads all that a find gives.
async fn expect(
    collection: &Collection<RawDocumentBuf>,
    filter: Document,
    comment: Option<&str>,
    wanted: i32,
) -> anyhow::Result<()> {
    let mut find = collection.find(filter).batch_size(10_000);
    if let Some(comment) = comment {
        find = find.comment(comment);
    }
    let found: Vec<_> = find.await?.try_collect().await?;
    ensure!(
        i32::try_from(found.len()) == Ok(wanted),
        "{} documents instead of {wanted}",
        found.len()
    );
    Ok(())
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FindOne { clients } => write!(f, "mongo/find one/{clients}"),
            Self::BareFindOne => f.write_str("mongo/find one, bare client/1"),
            Self::FindMany => f.write_str("mongo/find 1,000"),
            Self::InsertOne { clients } => write!(f, "mongo/insert one/{clients}"),
            Self::BareInsertOne => f.write_str("mongo/insert one, bare client/1"),
            Self::InsertMany => f.write_str("mongo/insert 1,000"),
            Self::Include => f.write_str("mongo/1,000 × 10 by @include"),
            Self::Lookup => f.write_str("mongo/1,000 × 10 by $lookup"),
            Self::NPlusOne => f.write_str("mongo/1,000 × 10 by N+1"),
        }
    }
}
