//! `explain` looks and never touches.

use anyhow::Result;
use twinport_wire::mongo::bson::raw::{RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::rawdoc;

use super::support::{Scene, code, page};

#[tokio::test]
async fn explain_of_a_pipeline_that_writes_writes_nothing() -> Result<()> {
    let scene = Scene::new().await?;
    scene.fill("c", 5).await?;
    let mut client = scene.client().await?;
    let precious =
        rawdoc! { "insert": "target", "documents": [{ "_id": "precious" }], "$db": "test" };
    client.run(&precious).await?;
    let verbosities = [
        None,
        Some("queryPlanner"),
        Some("executionStats"),
        Some("allPlansExecution"),
    ];
    for verbosity in verbosities {
        for stage in [
            rawdoc! { "$out": "target" },
            rawdoc! { "$merge": { "into": "target" } },
        ] {
            let mut explain = rawdoc! {
                "explain": { "aggregate": "c", "pipeline": [{ "$match": {} }, stage], "cursor": {} },
            };
            if let Some(verbosity) = verbosity {
                explain.append(cstr!("verbosity"), verbosity);
            }
            explain.append(cstr!("$db"), "test");
            let refused = client.ask(&explain).await?;
            assert_eq!(code(&refused), 115, "{refused:?}");
            let find = rawdoc! { "find": "target", "$db": "test" };
            let answer = client.run(&find).await?;
            let kept = page(&answer)?;
            assert_eq!(kept, [&*rawdoc! { "_id": "precious" }], "{verbosity:?}");
        }
        let mut reads = rawdoc! {
            "explain": { "aggregate": "c", "pipeline": [{ "$match": {} }], "cursor": {} },
        };
        if let Some(verbosity) = verbosity {
            reads.append(cstr!("verbosity"), verbosity);
        }
        reads.append(cstr!("$db"), "test");
        client.run(&reads).await?;
    }
    scene.stop().await;
    Ok(())
}

/// A command that explains another, as this verbosity has it.
fn explain(command: &RawDocumentBuf, verbosity: &str) -> RawDocumentBuf {
    rawdoc! { "explain": command.clone(), "verbosity": verbosity, "$db": "test" }
}

#[tokio::test]
async fn explain_of_a_write_tells_what_it_would_do() -> Result<()> {
    let scene = Scene::new().await?;
    scene.fill("c", 10).await?;
    let mut client = scene.client().await?;
    let find = rawdoc! { "find": "c", "sort": { "_id": 1 }, "$db": "test" };
    let before = client.run(&find).await?;
    let change = rawdoc! { "$set": { "v": 100 } };
    let some = rawdoc! { "v": { "$gte": 4 } };
    let none = rawdoc! { "v": 40 };
    let writes = [
        (
            ("UPDATE", 0, "nMatched", 1),
            rawdoc! { "update": "c", "updates": [{ "q": some.clone(), "u": change.clone() }] },
        ),
        (
            ("UPDATE", 0, "nMatched", 6),
            rawdoc! { "update": "c", "updates": [{ "q": some.clone(), "u": change.clone(), "multi": true }] },
        ),
        (
            ("UPDATE", 0, "nWouldUpsert", 1),
            rawdoc! { "update": "c", "updates": [{ "q": none.clone(), "u": change.clone(), "upsert": true }] },
        ),
        (
            ("DELETE", 0, "nWouldDelete", 1),
            rawdoc! { "delete": "c", "deletes": [{ "q": some.clone(), "limit": 1 }] },
        ),
        (
            ("DELETE", 0, "nWouldDelete", 6),
            rawdoc! { "delete": "c", "deletes": [{ "q": some.clone(), "limit": 0 }] },
        ),
        (
            ("UPDATE", 1, "nMatched", 1),
            rawdoc! { "findAndModify": "c", "query": some.clone(), "sort": { "v": -1 }, "update": change.clone() },
        ),
        (
            ("UPDATE", 0, "nWouldUpsert", 1),
            rawdoc! { "findAndModify": "c", "query": none, "update": change.clone(), "upsert": true },
        ),
        (
            ("DELETE", 1, "nWouldDelete", 1),
            rawdoc! { "findandmodify": "c", "remove": true },
        ),
        (
            ("DELETE", 0, "nWouldDelete", 0),
            rawdoc! { "delete": "nowhere", "deletes": [{ "q": {}, "limit": 0 }] },
        ),
    ];
    for ((stage, returned, what, count), write) in writes {
        let plan = client.run(&explain(&write, "queryPlanner")).await?;
        let winning = plan
            .get_document("queryPlanner")?
            .get_document("winningPlan")?;
        assert_eq!(winning.get_str("stage")?, stage, "{plan:?}");
        assert!(winning.get_document("inputStage")?.get_str("stage").is_ok());
        assert!(plan.get("executionStats")?.is_none(), "{plan:?}");
        for verbosity in ["executionStats", "allPlansExecution"] {
            let ran = client.run(&explain(&write, verbosity)).await?;
            let statistics = ran.get_document("executionStats")?;
            assert_eq!(statistics.get_i32("nReturned")?, returned, "{ran:?}");
            let stages = statistics.get_document("executionStages")?;
            assert_eq!(stages.get_str("stage")?, stage);
            assert_eq!(stages.get_i32(what)?, count, "{write:?}: {stages:?}");
        }
    }
    let wrong = [
        (
            16,
            rawdoc! { "delete": "c", "deletes": [{ "q": {}, "limit": 0 }, { "q": {}, "limit": 0 }] },
        ),
        (40_414, rawdoc! { "update": "c" }),
        (
            40_414,
            rawdoc! { "update": "c", "updates": [{ "u": change.clone() }] },
        ),
        (
            14,
            rawdoc! { "findAndModify": "c", "query": 5, "remove": true },
        ),
        (115, rawdoc! { "insert": "c", "documents": [{}] }),
    ];
    for (expected, write) in wrong {
        let refused = client.ask(&explain(&write, "executionStats")).await?;
        assert_eq!(code(&refused), expected, "{write:?}: {refused:?}");
    }
    assert_eq!(client.run(&find).await?, before, "something was written");
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_run_tells_what_was_looked_at() -> Result<()> {
    let scene = Scene::new().await?;
    scene.fill("c", 200).await?;
    let mut client = scene.client().await?;
    let index = rawdoc! {
        "createIndexes": "c", "indexes": [{ "key": { "v": 1 }, "name": "v_1" }], "$db": "test",
    };
    client.run(&index).await?;
    let by_index = rawdoc! { "v": { "$gte": 190 } };
    let runs = [
        ((0, 200, 200), rawdoc! { "find": "c" }),
        (
            (0, 200, 2),
            rawdoc! { "find": "c", "filter": { "w": null }, "skip": 198 },
        ),
        ((0, 200, 0), rawdoc! { "find": "c", "filter": { "w": 1 } }),
        ((1, 1, 1), rawdoc! { "find": "c", "filter": { "_id": 7 } }),
        (
            (10, 10, 10),
            rawdoc! { "find": "c", "filter": by_index.clone() },
        ),
        (
            (10, 10, 0),
            rawdoc! { "aggregate": "c", "pipeline": [{ "$match": { "v": { "$gte": 190 }, "w": 1 } }], "cursor": {} },
        ),
        (
            (10, 10, 1),
            rawdoc! { "count": "c", "query": by_index.clone() },
        ),
        (
            (10, 10, 0),
            rawdoc! { "delete": "c", "deletes": [{ "q": by_index, "limit": 0 }] },
        ),
    ];
    for ((keys, documents, returned), command) in runs {
        let ran = client.run(&explain(&command, "executionStats")).await?;
        let statistics = ran.get_document("executionStats")?;
        let found = (
            statistics.get_i32("totalKeysExamined")?,
            statistics.get_i32("totalDocsExamined")?,
            statistics.get_i32("nReturned")?,
        );
        assert_eq!(found, (keys, documents, returned), "{command:?}: {ran:?}");
        assert!(statistics.get_i32("executionTimeMillis")? >= 0);
    }
    scene.stop().await;
    Ok(())
}
