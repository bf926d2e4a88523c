//! The drivers' suites through the port that forwards, to servers that others wrote. What these can't do by
//! themselves is listed with the reason; everything else must pass.

use anyhow::Result;
use twinport_integration::Suite;
use twinport_integration::mongo::{Independent, MongoPort, MongoWorld, drivers};

/// Fewer connections than the suites have clients.
const POOL: usize = 4;

/// Checks that a server can't pass, each with the reason.
type Lacking = &'static [(&'static str, &'static str)];

async fn ferretdb(suite: Suite, lacking: Lacking) -> Result<()> {
    let world = MongoWorld::start().await?;
    let server = Independent::ferretdb(&world).await?;
    run(&world, &server, suite, lacking).await
}

async fn java_server(suite: Suite, lacking: Lacking) -> Result<()> {
    // For its certificates only.
    let world = MongoWorld::start().await?;
    let server = Independent::java().await?;
    run(&world, &server, suite, lacking).await
}

async fn run(
    world: &MongoWorld,
    server: &Independent,
    suite: Suite,
    lacking: Lacking,
) -> Result<()> {
    let port = MongoPort::forwarding(world, &server.url, POOL).await?;
    let result = suite
        .run_lacking(&port.environment(), port.annotated(), lacking)
        .await;
    port.stop().await;
    result
}

macro_rules! suites {
    ($($server:ident { $($name:ident: $suite:expr, $lacking:expr;)* })*) => {
        $(mod $server {
            use super::*;
            $(#[tokio::test]
            async fn $name() -> Result<()> {
                super::$server($suite, $lacking).await
            })*
        })*
    };
}

suites! {
    ferretdb {
        pymongo: drivers::PYMONGO, &[];
        node: drivers::NODE, &[];
        java: drivers::JAVA, &[];
        go: drivers::GO, &[];
        mongosh: drivers::MONGOSH, &[];
    }
    java_server {
        pymongo: drivers::PYMONGO, &[];
        node: drivers::NODE, &[];
        java: drivers::JAVA, &[];
        go: drivers::GO, &[];
        mongosh: drivers::MONGOSH, &[];
    }
}
