//! Odd keys, and commands whose result `@include` must not change without a word.

use anyhow::Result;
use futures_util::TryStreamExt;
use mongodb::Database;
use mongodb::bson::{Bson, Document, doc};

use crate::Open;

/// Further relations: DBRefs in lists, keys in lists, a relation that goes by a join collection.
pub(crate) const RELATIONS: &str = r#"
    [mongo.relations.people.linked]
    target = "links"
    kind = "many"
    foreign = "to.$id"
    [mongo.relations.links.person]
    target = "people"
    kind = "one"
    local = "from.$id"
    [mongo.relations.links.owner]
    target = "people"
    kind = "one"
    local = "owner_id"
    [mongo.relations.people.coded]
    target = "links"
    kind = "many"
    local = "code"
    foreign = "codes"
    [mongo.relations.links.friends]
    target = "people"
    kind = "many"
    through = "friendships"
    through_local = "link"
    through_foreign = "person"
"#;

fn dbref(collection: &str, id: i32) -> Document {
    doc! { "$ref": collection, "$id": id }
}

async fn fill(open: &Open) -> Result<&Database> {
    let database = &open.database;
    for name in ["people", "links", "friendships"] {
        database.collection::<Document>(name).drop().await?;
    }
    let people = database.collection::<Document>("people");
    people
        .insert_many([
            doc! { "_id": 1, "name": "Ann", "code": "a" },
            doc! { "_id": 2, "name": "Bob" },
            doc! { "_id": Bson::Null, "name": "Nobody" },
        ])
        .await?;
    let elsewhere = doc! { "$ref": "people", "$id": 1, "$db": "elsewhere" };
    let here = doc! { "$ref": "people", "$id": 1, "$db": database.name() };
    let links = database.collection::<Document>("links");
    links
        .insert_many([
            doc! { "_id": 1, "to": [dbref("pets", 1), dbref("people", 2)], "from": elsewhere.clone(), "codes": ["a", null] },
            doc! { "_id": 2, "to": [elsewhere], "from": here, "owner_id": 1, "codes": "a" },
            doc! { "_id": 3, "to": dbref("people", 1), "from": dbref("people", 2), "owner_id": null },
            doc! { "_id": 4, "codes": null, "title": "four" },
        ])
        .await?;
    Ok(database)
}

/// The identifiers of what a relation has found, by those of the documents.
async fn found(open: &Open, collection: &str, relation: &str) -> Result<Vec<(Bson, Vec<Bson>)>> {
    let collection = open.database.collection::<Document>(collection);
    let find = collection.find(doc! {}).sort(doc! { "_id": 1 });
    let find = find.comment(format!("@include({relation})"));
    let all: Vec<Document> = find.await?.try_collect().await?;
    let id = |document: &Document| document.get("_id").cloned().unwrap_or(Bson::Undefined);
    let each = all.iter().map(|document| {
        let mut ids: Vec<Bson> = match document.get(relation) {
            Some(Bson::Array(list)) => {
                let documents = list.iter().filter_map(Bson::as_document);
                documents.map(id).collect()
            }
            Some(Bson::Document(one)) => vec![id(one)],
            _ => Vec::new(),
        };
        ids.sort_by_key(ToString::to_string);
        (id(document), ids)
    });
    Ok(each.collect())
}

fn ids(of: i32, found: &[i32]) -> (Bson, Vec<Bson>) {
    (of.into(), found.iter().map(|&id| id.into()).collect())
}

#[tokio::test]
async fn a_dbref_leads_where_all_of_it_leads() -> Result<()> {
    let open = Open::new().await?;
    fill(&open).await?;
    let linked = found(&open, "people", "linked").await?;
    assert_eq!(linked, [(Bson::Null, vec![]), ids(1, &[3]), ids(2, &[1])]);
    let people = found(&open, "links", "person").await?;
    assert_eq!(
        people,
        [ids(1, &[]), ids(2, &[1]), ids(3, &[2]), ids(4, &[])]
    );
    Ok(())
}

#[tokio::test]
async fn keys_that_are_not_there_lead_nowhere_and_no_other_is_lost() -> Result<()> {
    let open = Open::new().await?;
    fill(&open).await?;
    let coded = found(&open, "people", "coded").await?;
    assert_eq!(coded, [(Bson::Null, vec![]), ids(1, &[1, 2]), ids(2, &[])]);
    let owners = found(&open, "links", "owner").await?;
    assert_eq!(
        owners,
        [ids(1, &[]), ids(2, &[1]), ids(3, &[]), ids(4, &[])]
    );
    let friends = found(&open, "links", "friends").await?;
    let nobody: Vec<_> = (1..=4).map(|id| ids(id, &[])).collect();
    assert_eq!(friends, nobody);
    Ok(())
}

#[tokio::test]
async fn what_a_stage_computes_from_a_relation_is_there() -> Result<()> {
    let open = Open::new().await?;
    let links = fill(&open).await?.collection::<Document>("links");
    let stages = [
        doc! { "$project": { "a": "$owner.name" } },
        doc! { "$project": { "owner_id": 1, "a": "$owner.name" } },
        doc! { "$addFields": { "a": "$owner.name" } },
        doc! { "$set": { "a": { "$concat": ["$$ROOT.owner.name", ""] } } },
    ];
    for stage in stages {
        let pipeline = [doc! { "$match": { "_id": 2 } }, stage.clone()];
        let aggregate = links.aggregate(pipeline).comment("@include(owner)");
        let all: Vec<Document> = aggregate.await?.try_collect().await?;
        let name = all.first().and_then(|first| first.get_str("a").ok());
        assert_eq!(name, Some("Ann"), "{stage}: {all:?}");
    }
    let uses = doc! { "$expr": { "$eq": ["$owner.name", "Ann"] } };
    let refused = links.find(uses.clone()).comment("@include(owner)").await;
    assert!(refused.is_err(), "it would match nothing");
    let pipeline = [doc! { "$match": uses }];
    let refused = links.aggregate(pipeline).comment("@include(owner)").await;
    assert!(refused.is_err(), "it would match nothing");
    Ok(())
}

#[tokio::test]
async fn what_the_database_would_pass_over_is_refused() -> Result<()> {
    let open = Open::new().await?;
    let links = fill(&open).await?.collection::<Document>("links");
    let backwards = links.find(doc! {}).sort(doc! { "$natural": -1 });
    assert!(backwards.comment("@include(owner)").await.is_err());
    let forwards = links.find(doc! {}).sort(doc! { "$natural": 1 });
    let all: Vec<Document> = forwards
        .comment("@include(owner)")
        .await?
        .try_collect()
        .await?;
    assert_eq!(all.len(), 4);
    let command = doc! {
        "find": "links", "collation": { "locale": "en", "strength": 2 }, "comment": "@include(owner)",
    };
    assert!(open.database.run_command(command).await.is_err());
    Ok(())
}

#[tokio::test]
async fn what_is_known_of_a_document_needs_named_fields_beside_it() -> Result<()> {
    let open = Open::new().await?;
    let links = fill(&open).await?.collection::<Document>("links");
    let index = doc! {
        "createIndexes": "links", "indexes": [{ "key": { "title": "text" }, "name": "t" }],
    };
    open.database.run_command(index).await?;
    let find = |more: Document| {
        let mut projection = doc! { "score": { "$meta": "textScore" } };
        projection.extend(more);
        let filter = doc! { "$text": { "$search": "four" } };
        links.find(filter).projection(projection)
    };
    // Servers differ in what such a find keeps.
    for more in [doc! {}, doc! { "codes": 0 }] {
        assert!(find(more).comment("@include(owner)").await.is_err());
    }
    let named = || find(doc! { "title": 1 });
    let plain: Vec<Document> = named().await?.try_collect().await?;
    let included = named().comment("@include(owner)").await?;
    let included: Vec<Document> = included.try_collect().await?;
    let mut expected = plain.first().cloned().unwrap_or_default();
    expected.insert("owner", Bson::Null);
    assert_eq!(included, [expected]);
    Ok(())
}
