//! `explain` looks and never touches.

use anyhow::Result;
use twinport_wire::mongo::bson::raw::cstr;
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
