//! What is asked for beside the work itself: read and write concerns, and fields that are given twice.

use anyhow::Result;
use twinport_wire::mongo::Sequence;
use twinport_wire::mongo::bson::raw::{RawDocument, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::{RawBson, rawdoc};
use twinport_wire::mongo::message::build;

use super::raw::Raw;
use super::support::{Scene, code, session};

async fn counted(client: &mut Raw) -> Result<i32> {
    let count = rawdoc! { "count": "c", "query": {}, "$db": "test" };
    Ok(client.run(&count).await?.get_i32("n")?)
}

/// Sends a command with sections beside it.
async fn beside(
    client: &mut Raw,
    body: &RawDocument,
    sections: &[(&str, &RawDocument)],
) -> Result<RawDocumentBuf> {
    let sections = sections.iter().map(|(identifier, document)| Sequence {
        identifier,
        bytes: document.as_bytes(),
    });
    let mut bytes = Vec::new();
    build::request(&mut bytes, 1, 0, body, sections);
    client.write(&bytes).await?;
    client.read().await
}

#[tokio::test]
async fn a_field_that_is_given_twice_is_refused() -> Result<()> {
    let scene = Scene::new().await?;
    scene.fill("c", 3).await?;
    let mut client = scene.client().await?;
    let cases = [
        rawdoc! { "insert": "c", "documents": [{ "_id": 7 }], "documents": [{ "_id": 8 }], "$db": "test" },
        rawdoc! { "delete": "c", "deletes": [{ "q": { "_id": 9 }, "limit": 0 }],
        "deletes": [{ "q": {}, "limit": 0 }], "$db": "test" },
        rawdoc! { "find": "c", "filter": { "_id": 1 }, "filter": {}, "$db": "test" },
        rawdoc! { "find": "c", "lsid": session(1), "lsid": session(2), "$db": "test" },
        rawdoc! { "insert": "c", "documents": [{ "_id": 7 }], "documents": [{ "_id": 8 }],
        "comment": "@upsert(_id)", "$db": "test" },
    ];
    for body in &cases {
        let refused = client.ask(body).await?;
        assert_eq!(code(&refused), 40_413, "{body:?} gave {refused:?}");
    }
    let one = rawdoc! { "_id": 7 };
    let bare = rawdoc! { "insert": "c", "$db": "test" };
    let twice = beside(
        &mut client,
        &bare,
        &[("documents", &one), ("documents", &one)],
    )
    .await?;
    assert_eq!(code(&twice), 40_431, "{twice:?}");
    let inside = rawdoc! { "insert": "c", "documents": [{ "_id": 8 }], "$db": "test" };
    let both = beside(&mut client, &inside, &[("documents", &one)]).await?;
    assert_eq!(code(&both), 40_433, "{both:?}");
    assert_eq!(counted(&mut client).await?, 3);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_write_concern_that_one_server_can_not_meet_is_told() -> Result<()> {
    let scene = Scene::new().await?;
    scene.fill("c", 1).await?;
    let mut client = scene.client().await?;
    let mut id = 100;
    let mut insert = |w: RawBson| {
        id += 1;
        let mut concern = RawDocumentBuf::new();
        concern.append(cstr!("w"), w);
        rawdoc! {
            "insert": "c", "documents": [{ "_id": id }], "writeConcern": concern,
            "lsid": session(1), "txnNumber": i64::from(id), "$db": "test",
        }
    };
    for w in [
        RawBson::Int32(1),
        RawBson::Int64(0),
        RawBson::Double(1.0),
        "majority".into(),
    ] {
        let answer = client.run(&insert(w)).await?;
        assert!(answer.get("writeConcernError")?.is_none(), "{answer:?}");
    }
    // The write is carried out, once, and that it is nowhere else is told beside.
    for (w, expected) in [(RawBson::Int32(5), 100), ("nearby".into(), 79)] {
        let command = insert(w);
        for _ in 0..2 {
            let answer = client.run(&command).await?;
            assert_eq!(answer.get_i32("n")?, 1, "{answer:?}");
            let told = answer.get_document("writeConcernError")?;
            assert_eq!(told.get_i32("code")?, expected, "{told:?}");
        }
    }
    assert_eq!(counted(&mut client).await?, 7);
    for w in [
        RawBson::Int32(51),
        RawBson::Int32(-1),
        RawBson::Boolean(true),
    ] {
        let refused = client.ask(&insert(w)).await?;
        assert_eq!(code(&refused), 9, "{refused:?}");
    }
    assert_eq!(counted(&mut client).await?, 7);
    let drop = rawdoc! { "drop": "c", "writeConcern": { "w": 2 }, "$db": "test" };
    let answer = client.run(&drop).await?;
    assert_eq!(
        answer.get_document("writeConcernError")?.get_i32("code")?,
        100
    );
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_transactions_write_concern_is_its_commits() -> Result<()> {
    let scene = Scene::new().await?;
    scene.fill("c", 1).await?;
    let mut client = scene.client().await?;
    let part = |mut body: RawDocumentBuf, starts: bool, w: Option<i32>| {
        body.append(cstr!("lsid"), session(1));
        body.append(cstr!("txnNumber"), 1_i64);
        body.append(cstr!("autocommit"), false);
        if starts {
            body.append(cstr!("startTransaction"), true);
        }
        if let Some(w) = w {
            body.append(cstr!("writeConcern"), rawdoc! { "w": w });
        }
        body.append(cstr!("$db"), "admin");
        body
    };
    let insert = || rawdoc! { "insert": "c", "documents": [{ "_id": 8 }] };
    let refused = client.ask(&part(insert(), true, Some(1))).await?;
    assert_eq!(code(&refused), 72, "{refused:?}");
    client.run(&part(insert(), true, None)).await?;
    let commit = part(rawdoc! { "commitTransaction": 1 }, false, Some(3));
    for _ in 0..2 {
        let answer = client.run(&commit).await?;
        let told = answer.get_document("writeConcernError")?;
        assert_eq!(told.get_i32("code")?, 100, "{answer:?}");
    }
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_read_concern_of_no_level_is_refused() -> Result<()> {
    let scene = Scene::new().await?;
    scene.fill("c", 1).await?;
    let mut client = scene.client().await?;
    let mut find = async |concern: RawDocumentBuf| {
        let find = rawdoc! { "find": "c", "readConcern": concern, "$db": "test" };
        anyhow::Ok(code(&client.ask(&find).await?))
    };
    assert_eq!(find(rawdoc! { "level": "bogus" }).await?, 2);
    assert_eq!(find(rawdoc! { "level": "Majority" }).await?, 2);
    assert_eq!(find(rawdoc! { "level": 1 }).await?, 14);
    for level in ["local", "available", "majority", "linearizable"] {
        assert_eq!(find(rawdoc! { "level": level }).await?, 0, "{level}");
    }
    assert_eq!(find(rawdoc! {}).await?, 0);
    scene.stop().await;
    Ok(())
}
