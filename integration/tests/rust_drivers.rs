//! tokio-postgres and sqlx, straight to the server and through the port, on the oldest and the
//! newest supported server.

#[path = "rust_drivers/sqlx.rs"]
mod sqlx_suite;
#[path = "rust_drivers/tokio_postgres.rs"]
mod tokio_postgres_suite;

use anyhow::Result;
use twinport_integration::{Port, Target, World};

async fn run<F: Future<Output = Result<()>>>(
    major: u32,
    through_port: bool,
    suite: impl FnOnce(Target) -> F,
) -> Result<()> {
    let world = World::start(major).await?;
    if !through_port {
        return suite(world.direct()).await;
    }
    let port = Port::start(&world, 4).await?;
    let result = suite(port.target()).await;
    port.stop().await;
    result
}

macro_rules! suites {
    ($($name:ident: $suite:path,)*) => {
        $(mod $name {
            use super::*;

            #[tokio::test]
            async fn direct_15() -> Result<()> {
                run(15, false, $suite).await
            }

            #[tokio::test]
            async fn direct_18() -> Result<()> {
                run(18, false, $suite).await
            }

            #[tokio::test]
            async fn port_15() -> Result<()> {
                run(15, true, $suite).await
            }

            #[tokio::test]
            async fn port_18() -> Result<()> {
                run(18, true, $suite).await
            }
        })*
    };
}

suites! {
    sqlx: sqlx_suite::suite,
    tokio_postgres: tokio_postgres_suite::suite,
}
