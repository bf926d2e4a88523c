//! Every MongoDB driver's suite through the port, on Postgres with DocumentDB.

#[path = "mongo_drivers/rust.rs"]
mod rust_suite;

use anyhow::Result;
use twinport_integration::mongo::{Certificates, MongoPort, MongoWorld, drivers};
use twinport_integration::{PASSWORD, Suite, USER};

/// Fewer connections than the suites have clients.
const POOL: usize = 4;

async fn port(suite: Suite) -> Result<()> {
    let world = MongoWorld::start().await?;
    let port = MongoPort::start(&world, POOL).await?;
    let result = suite.run_in(&port.environment()).await;
    port.stop().await;
    result
}

macro_rules! suites {
    ($($name:ident: $suite:expr,)*) => {
        $(#[tokio::test]
        async fn $name() -> Result<()> {
            port($suite).await
        })*
    };
}

suites! {
    pymongo: drivers::PYMONGO,
    node: drivers::NODE,
    mongoose: drivers::MONGOOSE,
    mongosh: drivers::MONGOSH,
    go: drivers::GO,
    java: drivers::JAVA,
    beanie: drivers::BEANIE,
    mongoengine: drivers::MONGOENGINE,
    morphia: drivers::MORPHIA,
}

/// Through a port that forwards to a port on DocumentDB, with TLS and SCRAM on each of the ways.
async fn chained(run: impl AsyncFnOnce(&MongoPort) -> Result<()>) -> Result<()> {
    let world = MongoWorld::start().await?;
    let behind = MongoPort::start(&world, POOL).await?;
    let url = behind.url(USER, PASSWORD);
    let port = MongoPort::forwarding(&world, &url, POOL).await?;
    let result = run(&port).await;
    port.stop().await;
    behind.stop().await;
    result
}

/// Suites one after another, for they use the same names.
async fn row(port: &MongoPort, suites: &[Suite]) -> Result<()> {
    for suite in suites {
        suite.run_in(&port.environment()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn drivers_forwarded() -> Result<()> {
    chained(async |port| {
        let all = [drivers::PYMONGO, drivers::NODE, drivers::GO, drivers::JAVA];
        tokio::try_join!(
            async {
                row(port, &all).await?;
                rust_suite::suite(port, &[]).await
            },
            row(port, &[drivers::MONGOSH])
        )
        .map(drop)
    })
    .await
}

#[tokio::test]
async fn mappers_forwarded() -> Result<()> {
    chained(async |port| {
        tokio::try_join!(
            row(port, &[drivers::MONGOOSE, drivers::MORPHIA]),
            row(port, &[drivers::BEANIE, drivers::MONGOENGINE])
        )
        .map(drop)
    })
    .await
}

#[tokio::test]
async fn rust() -> Result<()> {
    let world = MongoWorld::start().await?;
    let port = MongoPort::start(&world, POOL).await?;
    let result = rust_suite::suite(&port, &[]).await;
    port.stop().await;
    result
}

#[tokio::test]
async fn by_certificate() -> Result<()> {
    let world = MongoWorld::start().await?;
    let port = MongoPort::by_certificate(&world, POOL).await?;
    let certificates = Certificates::write(&world)?;
    let environment = certificates.environment(&port);
    let result = tokio::try_join!(
        drivers::PYMONGO_X509.run_in(&environment),
        drivers::NODE_X509.run_in(&environment),
        rust_suite::by_certificate(&port, &certificates),
    )
    .map(drop);
    port.stop().await;
    result
}
