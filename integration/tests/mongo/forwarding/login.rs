//! Logging in upstream, at a port of our own that demands it.

use twinport_integration::mongo::{MongoPort, MongoWorld};
use twinport_integration::{PASSWORD, USER};

use super::*;

/// What the first command through a forwarding port gives.
async fn first(url: &str) -> Result<RawDocumentBuf> {
    let front = Front::to(url, "").await?;
    let answer = front.client().await?.ask(&find()).await;
    front.stop().await;
    answer
}

#[tokio::test]
async fn by_password() -> Result<()> {
    let world = MongoWorld::start().await?;
    let behind = MongoPort::start(&world, 4).await?;
    let right = behind.url(USER, PASSWORD);
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-1"] {
        let answer = first(&format!("{right}&authMechanism={mechanism}")).await?;
        assert_eq!(answer.get_f64("ok")?, 1.0, "{mechanism}: {answer:?}");
    }
    assert_eq!(first(&right).await?.get_f64("ok")?, 1.0);
    let refused = first(&behind.url(USER, "not-it")).await?;
    assert_eq!(code(&refused), 13, "{refused:?}");
    let message = refused.get_str("errmsg")?;
    assert!(message.contains("refused our login"), "{message}");
    assert!(!message.contains("not-it"), "{message}");
    behind.stop().await;
    Ok(())
}
